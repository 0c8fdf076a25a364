//! Time zone, locale and keyboard, as `raspi-config` and Debian's own tools leave them.

use super::draft::Draft;
use super::known::{self, Unknown};
use super::{Context, Problem};

pub(super) const ZONES: &str = "/usr/share/zoneinfo";
pub(super) const LOCALE_GEN: &str = "/etc/locale.gen";
const CONSOLE_SETUP: &str = "/etc/console-setup";
const AFTER_TMPFILES: &str = "/etc/systemd/system/console-setup.service.d/cardpress.conf";

/// `/etc/localtime` is a link into the zone files (localtime(5)); `/etc/timezone` its name, which Debian keeps.
pub(super) fn timezone(context: &Context, draft: &mut Draft) {
    let Some(zone) = &context.settings().timezone else { return };
    if let Some(Unknown { name, nearest }) = known::unknown_zone(zone, draft) {
        draft.fault(Problem::Missing { what: "time zone", name, nearest });
        return;
    }
    draft.symlink("/etc/localtime", format!("{ZONES}/{zone}"));
    draft.write("/etc/timezone", format!("{zone}\n"));
}

/// `LANG` for all, and the locale among those that are compiled. Since trixie `/etc/default/locale` is a link to
/// `/etc/locale.conf`; the draft writes through it.
pub(super) fn apply(context: &Context, draft: &mut Draft) {
    let Some(locale) = &context.settings().locale else { return };
    let sound = |c: char| c.is_ascii_alphanumeric() || "_.@-".contains(c);
    if locale.is_empty() || !locale.chars().all(sound) {
        let value = locale.escape_debug().to_string();
        draft.fault(Problem::BadValue { value, place: "locale", why: "a locale looks like `en_GB.UTF-8`" });
        return;
    }
    let is_built_in = matches!(locale.as_str(), "C" | "POSIX" | "C.UTF-8" | "C.utf8");
    if let Some(Unknown { name, nearest }) = known::unknown_locale(locale, draft).filter(|_| !is_built_in) {
        draft.fault(Problem::Missing { what: "locale", name, nearest });
        return;
    }
    let file = if draft.in_image("/etc/locale.conf") { "/etc/locale.conf" } else { "/etc/default/locale" };
    let before = draft.text(file).unwrap_or_default();
    draft.write(file, set_assignment(&before, "LANG", locale));
    if is_built_in {
        return;
    }
    let Some(list) = draft.text(LOCALE_GEN) else {
        draft.warn(format!("the image has no {LOCALE_GEN}, so `{locale}` is not compiled there"));
        return;
    };
    if let Some(edited) = uncomment(&list, locale) {
        draft.write(LOCALE_GEN, edited);
        draft.first_boot_steps.push(("locale", String::from("locale-gen")));
    }
}

/// The list with the locale's line made active; `None` when it is active already, and so compiled.
fn uncomment(list: &str, locale: &str) -> Option<String> {
    let names = |line: &str| line.split_whitespace().next() == Some(locale);
    if list.lines().any(names) {
        return None;
    }
    let commented = |line: &str| line.strip_prefix('#').is_some_and(|rest| names(rest.trim_start()));
    let mut found = false;
    let mut out = String::new();
    for line in list.lines() {
        if commented(line) && !found {
            found = true;
            out.push_str(line.trim_start_matches(['#', ' ']));
        } else {
            out.push_str(line);
        }
        out.push('\n');
    }
    if !found {
        let charset =
            locale.split_once('.').map_or("ISO-8859-1", |(_, rest)| rest.split('@').next().unwrap_or(rest));
        out.push_str(&format!("{locale} {charset}\n"));
    }
    Some(out)
}

/// `/etc/default/keyboard` (keyboard(5)); the caches that `setupcon` made of the old one go.
pub(super) fn keyboard(context: &Context, draft: &mut Draft) {
    let Some(keyboard) = &context.settings().keyboard else { return };
    let values = [
        ("XKBMODEL", keyboard.model.as_ref()),
        ("XKBLAYOUT", Some(&keyboard.layout)),
        ("XKBVARIANT", Some(&keyboard.variant)),
        ("XKBOPTIONS", Some(&keyboard.options)),
    ];
    let shipped =
        "XKBMODEL=\"pc105\"\nXKBLAYOUT=\"gb\"\nXKBVARIANT=\"\"\nXKBOPTIONS=\"\"\nBACKSPACE=\"guess\"\n";
    let mut text = draft.text("/etc/default/keyboard").unwrap_or_else(|| shipped.to_owned());
    for (key, value) in values.into_iter().filter_map(|(key, value)| Some((key, value?))) {
        if value.contains(|c: char| !(c.is_ascii_alphanumeric() || "_,:-()+".contains(c))) {
            let value = value.escape_debug().to_string();
            draft.fault(Problem::BadValue {
                value,
                place: "keyboard",
                why: "XKB's names are letters and digits",
            });
            return;
        }
        text = set_assignment(&text, key, &format!("\"{value}\""));
    }
    if let Some(Unknown { name, nearest }) = known::unknown_layout(&keyboard.layout, draft) {
        draft.fault(Problem::Missing { what: "keyboard layout", name, nearest });
        return;
    }
    draft.write("/etc/default/keyboard", text);
    let names = draft.names(CONSOLE_SETUP);
    for name in names.iter().filter(|name| name.starts_with("cached_")) {
        draft.remove(&format!("{CONSOLE_SETUP}/{name}"));
    }
    // The next boot makes the caches anew, in /tmp, which up to bookworm is cleaned at the same time: `setupcon`
    // then fails over its lost file, and the console keeps the old map.
    if !names.is_empty() {
        draft.write(AFTER_TMPFILES, "[Unit]\nAfter=systemd-tmpfiles-setup.service\n");
    }
}

/// `KEY=value` in a file of shell assignments.
fn set_assignment(text: &str, key: &str, value: &str) -> String {
    let is_it = |line: &str| line.trim_start().strip_prefix(key).is_some_and(|rest| rest.starts_with('='));
    let mut out = String::new();
    let mut done = false;
    for line in text.lines() {
        match is_it(line) {
            true if done => continue,
            true => {
                done = true;
                out.push_str(&format!("{key}={value}"));
            }
            false => out.push_str(line),
        }
        out.push('\n');
    }
    if !done {
        out.push_str(&format!("{key}={value}\n"));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_locale_is_made_active_once() {
        let list = "# comment\n# de_DE.UTF-8 UTF-8\nen_GB.UTF-8 UTF-8\n";
        assert_eq!(uncomment(list, "en_GB.UTF-8"), None);
        let active = "# comment\nde_DE.UTF-8 UTF-8\nen_GB.UTF-8 UTF-8\n";
        assert_eq!(uncomment(list, "de_DE.UTF-8").as_deref(), Some(active));
    }

    #[test]
    fn an_assignment_is_replaced_or_added_and_the_rest_kept() {
        assert_eq!(set_assignment("# c\nA=1\nAB=2\nA=3\n", "A", "9"), "# c\nA=9\nAB=2\n");
        assert_eq!(set_assignment("", "A", "9"), "A=9\n");
    }
}
