//! systemd units enabled, disabled and masked as `systemctl` would, offline.
//!
//! Enabling follows the unit's own `[Install]` section (systemd.unit(5)): a link in `TARGET.wants` or
//! `TARGET.requires` and one per `Alias=`. What is set here is also said in a preset file, so that no later
//! preset run (first boot, `systemctl preset`) undoes it.

use super::draft::Draft;
use super::fault::nearest;
use super::{Context, Problem};

/// Where units are, the stronger first.
pub(super) const UNIT_DIRS: [&str; 3] =
    ["/etc/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system"];
const ETC: &str = "/etc/systemd/system";
pub(super) const PRESET: &str = "/etc/systemd/system-preset/00-cardpress.preset";
/// Where links to a unit are looked for when it is disabled.
pub(super) const WANTS_DIRS: [&str; 22] = [
    "basic.target.wants",
    "bluetooth.target.wants",
    "cloud-init.target.wants",
    "default.target.wants",
    "display-manager.service.wants",
    "getty.target.wants",
    "graphical.target.wants",
    "halt.target.wants",
    "local-fs.target.wants",
    "multi-user.target.requires",
    "multi-user.target.wants",
    "network-online.target.wants",
    "network.target.wants",
    "paths.target.wants",
    "poweroff.target.wants",
    "reboot.target.wants",
    "remote-fs.target.wants",
    "sockets.target.wants",
    "sysinit.target.requires",
    "sysinit.target.wants",
    "time-sync.target.wants",
    "timers.target.wants",
];

pub(super) fn apply(context: &Context, draft: &mut Draft) {
    let settings = context.settings();
    for unit in &settings.units_enable {
        enable(unit, context, draft);
    }
    for unit in &settings.units_disable {
        if !is_known(unit, draft) && !context.installs_packages() {
            missing(unit, draft);
            continue;
        }
        disable(unit, draft);
    }
    for unit in &settings.units_mask {
        mask(unit, draft);
    }
}

/// Links the unit where its `[Install]` section says.
pub(super) fn enable(unit: &str, context: &Context, draft: &mut Draft) {
    if !is_unit_name(unit, draft) {
        return;
    }
    if draft.link_text(&format!("{ETC}/{unit}")).as_deref() == Some("/dev/null") {
        draft.remove(&format!("{ETC}/{unit}"));
    }
    preset("enable", unit, draft);
    // An `Also=` may name a unit that names this one.
    let mut seen = vec![unit.to_owned()];
    let mut next = 0;
    while let Some(unit) = seen.get(next).cloned() {
        next += 1;
        let Some((path, text)) = find(&unit, draft) else {
            if next > 1 {
                draft.warn(format!("`{unit}`, which belongs to it by Also=, is left as it is"));
            } else if context.installs_packages() {
                draft
                    .warn(format!("`{unit}` is not in the image: enabled at first boot, after the packages"));
                draft.late_units.push(unit);
            } else {
                missing(&unit, draft);
            }
            continue;
        };
        let install = Install::parse(&text);
        if install.is_empty() && next == 1 {
            draft.warn(format!("`{unit}` has no [Install] section: it is started by others or not at all"));
        }
        link_all(&unit, &path, &install, draft);
        for also in install.also {
            if !seen.contains(&also) && seen.len() < 32 {
                seen.push(also);
            }
        }
    }
}

fn link_all(unit: &str, path: &str, install: &Install, draft: &mut Draft) {
    let (prefix, instance) = match unit.rsplit_once('.').map(|(stem, _)| stem).unwrap_or(unit).split_once('@')
    {
        Some((prefix, instance)) => (Some(prefix), instance),
        None => (None, ""),
    };
    // A bare template is enabled as its default instance (systemd.unit(5), DefaultInstance=).
    let name = match (prefix, instance, &install.default_instance) {
        (Some(prefix), "", Some(default)) => {
            unit.replacen(&format!("{prefix}@"), &format!("{prefix}@{default}"), 1)
        }
        _ => unit.to_owned(),
    };
    let places = [(&install.wanted_by, "wants"), (&install.required_by, "requires")];
    for (targets, kind) in places {
        for target in targets.iter() {
            let target = target.replace("%i", instance);
            link(&format!("{ETC}/{target}.{kind}/{name}"), path, draft);
        }
    }
    for alias in &install.alias {
        let alias = alias.replace("%i", instance);
        if alias != unit {
            link(&format!("{ETC}/{alias}"), path, draft);
        }
    }
}

/// A link that leads to the same unit already may stay: `/lib` and `/usr/lib` are one place on newer images.
fn link(at: &str, path: &str, draft: &mut Draft) {
    let name = |path: &str| path.rsplit('/').next().map(str::to_owned);
    if draft.link_text(at).is_none_or(|old| name(&old) != name(path)) {
        draft.symlink(at, path);
    }
}

/// Takes away every link that would start it. A template without an instance takes all its instances along.
pub(super) fn disable(unit: &str, draft: &mut Draft) {
    if !is_unit_name(unit, draft) {
        return;
    }
    preset("disable", unit, draft);
    unlink(unit, draft);
}

fn unlink(unit: &str, draft: &mut Draft) {
    for dir in WANTS_DIRS {
        for name in draft.names(&format!("{ETC}/{dir}")) {
            if name == unit || template_of(&name).is_some_and(|template| template == unit) {
                draft.remove(&format!("{ETC}/{dir}/{name}"));
            }
        }
    }
    let Some((_, text)) = find(unit, draft) else { return };
    let names = draft.names(ETC);
    for alias in Install::parse(&text).alias {
        if names.contains(&alias) {
            draft.remove(&format!("{ETC}/{alias}"));
        }
    }
}

/// Nothing can start it. Its links go too, so that unmasking does not bring it back by surprise.
pub(super) fn mask(unit: &str, draft: &mut Draft) {
    if !is_unit_name(unit, draft) {
        return;
    }
    unlink(unit, draft);
    preset("disable", unit, draft);
    draft.symlink(&format!("{ETC}/{unit}"), "/dev/null");
}

/// Does the image, or the draft, have such a unit?
pub(super) fn is_known(unit: &str, draft: &mut Draft) -> bool {
    find(unit, draft).is_some()
        || UNIT_DIRS.iter().any(|dir| draft.names(dir).iter().any(|name| name == unit))
}

/// The path and text of a unit: the instance's own file, else its template.
pub(super) fn find(unit: &str, draft: &mut Draft) -> Option<(String, String)> {
    let template = template_of(unit);
    for name in std::iter::once(unit).chain(template.as_deref()) {
        for dir in UNIT_DIRS {
            let path = format!("{dir}/{name}");
            if let Some(text) = draft.text(&path) {
                return Some((path, text));
            }
        }
    }
    None
}

/// `getty@.service` of `getty@tty1.service`.
pub(super) fn template_of(unit: &str) -> Option<String> {
    let (prefix, rest) = unit.split_once('@')?;
    let (instance, suffix) = rest.rsplit_once('.')?;
    (!instance.is_empty()).then(|| format!("{prefix}@.{suffix}"))
}

fn is_unit_name(unit: &str, draft: &mut Draft) -> bool {
    let sound = !unit.is_empty()
        && unit.contains('.')
        && unit.chars().all(|c| c.is_ascii_alphanumeric() || ":-_.\\@".contains(c));
    if !sound {
        let why = "a unit is letters, digits and `:-_.\\@`, with a suffix such as `.service`";
        draft.fault(Problem::BadValue { value: unit.escape_debug().to_string(), place: "a unit name", why });
    }
    sound
}

fn missing(unit: &str, draft: &mut Draft) {
    let names: Vec<String> = UNIT_DIRS.iter().flat_map(|dir| draft.names(dir)).collect();
    // The suffix, which all units of a kind share, makes none of them like another.
    let stem = unit.rfind('.').map_or(unit, |dot| &unit[..dot]);
    let suffix = &unit[stem.len()..];
    let stems = names.iter().filter_map(|name| name.strip_suffix(suffix));
    let nearest = nearest(stem, stems).map(|stem| stem + suffix);
    draft.fault(Problem::Missing { what: "unit", name: unit.to_owned(), nearest });
}

/// One line of the preset file; the last word on a unit replaces an earlier one.
fn preset(verb: &str, unit: &str, draft: &mut Draft) {
    let before = draft.text(PRESET).unwrap_or_default();
    let other = |line: &&str| line.split_whitespace().nth(1) != Some(unit);
    let mut text: String = before.lines().filter(other).map(|line| format!("{line}\n")).collect();
    text.push_str(&format!("{verb} {unit}\n"));
    draft.write(PRESET, text);
}

/// The units that a unit's text takes along when it is enabled.
pub(super) fn also(text: &str) -> Vec<String> {
    Install::parse(text).also
}

/// The `[Install]` section.
#[derive(Default)]
struct Install {
    wanted_by: Vec<String>,
    required_by: Vec<String>,
    alias: Vec<String>,
    also: Vec<String>,
    default_instance: Option<String>,
}

impl Install {
    fn parse(text: &str) -> Self {
        let mut install = Self::default();
        let mut inside = false;
        for line in text.lines().map(str::trim) {
            if line.starts_with('[') {
                inside = line == "[Install]";
                continue;
            }
            let Some((key, value)) = line.split_once('=').filter(|_| inside && !line.starts_with(['#', ';']))
            else {
                continue;
            };
            let words = value.split_whitespace().map(str::to_owned);
            match key.trim() {
                "WantedBy" => install.wanted_by.extend(words),
                "RequiredBy" => install.required_by.extend(words),
                "Alias" => install.alias.extend(words),
                "Also" => install.also.extend(words),
                "DefaultInstance" => install.default_instance = Some(value.trim().to_owned()),
                _ => {}
            }
        }
        install
    }

    fn is_empty(&self) -> bool {
        self.wanted_by.is_empty()
            && self.required_by.is_empty()
            && self.alias.is_empty()
            && self.also.is_empty()
    }
}
