//! `[sysctl]` and `module`: files of our own in `sysctl.d` (sysctl.d(5)) and `modules-load.d` (modules-load.d(5)).

use super::draft::Draft;
use super::{Context, Problem};

pub(super) fn sysctl(context: &Context, draft: &mut Draft) {
    let settings = &context.settings().sysctl;
    for (key, value) in settings {
        let sound = |c: char| c.is_ascii_alphanumeric() || "._-/*".contains(c);
        if key.is_empty() || !key.chars().all(sound) || value.contains(char::is_control) {
            let value = format!("{} = {}", key.escape_debug(), value.escape_debug());
            draft.fault(Problem::BadValue {
                value,
                place: "sysctl.d",
                why: "it must be one line of `key = value`",
            });
            return;
        }
    }
    if !settings.is_empty() {
        let lines: String = settings.iter().map(|(key, value)| format!("{key} = {value}\n")).collect();
        draft.write("/etc/sysctl.d/90-cardpress.conf", lines);
    }
}

pub(super) fn modules(context: &Context, draft: &mut Draft) {
    let modules = &context.settings().modules;
    for name in modules {
        if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c)) {
            let value = name.escape_debug().to_string();
            draft.fault(Problem::BadValue { value, place: "modules-load.d", why: "it is no module name" });
            return;
        }
    }
    if !modules.is_empty() {
        let lines: String = modules.iter().map(|name| format!("{name}\n")).collect();
        draft.write("/etc/modules-load.d/cardpress.conf", lines);
    }
}
