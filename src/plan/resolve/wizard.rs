//! The first-boot wizard of userconf-pi, ended as its own `cancel-rename` ends it, once a user is set.

use super::Context;
use super::draft::Draft;
use super::units;

pub(super) const UNIT: &str = "userconfig.service";
const WIZARD_USER: &str = "rpi-first-boot-wizard";
/// What `rename-user` left behind at image export.
pub(super) const LEFTOVERS: [&str; 4] = [
    "/etc/ssh/sshd_config.d/rename_user.conf",
    "/etc/sudoers.d/010_wiz-nopasswd",
    "/etc/xdg/autostart/piwiz.desktop",
    "/var/lib/userconf-pi/autologin",
];
pub(super) const LIGHTDM: &str = "/etc/lightdm/lightdm.conf";
pub(super) const AUTOLOGIN: &str = "/etc/systemd/system/getty@tty1.service.d/autologin.conf";

pub(super) fn apply(context: &Context, draft: &mut Draft) {
    let user = context.settings().users.first().map(|user| user.name.clone());
    let Some(user) = user else {
        if units::is_known(UNIT, draft) {
            draft.warn("no user is set: the image's wizard will ask for one on a screen");
        }
        return;
    };
    if let Some(old) = context.first_user().map(|first| first.name.as_str()).filter(|old| *old != user)
        && draft.accounts.user(old).is_none()
    {
        autologin(old, &user, draft);
    }
    if !units::is_known(UNIT, draft) {
        return;
    }
    units::mask(UNIT, draft);
    LEFTOVERS.iter().for_each(|path| draft.remove(path));
    if units::find("getty@tty1.service", draft).is_some() {
        units::enable("getty@tty1.service", context, draft);
    }
    if draft.accounts.user(WIZARD_USER).is_some() {
        draft.accounts.remove_user(WIZARD_USER);
        draft.remove(&format!("/home/{WIZARD_USER}"));
        autologin(WIZARD_USER, &user, draft);
    }
}

/// Where an image logs somebody in by itself, it is the renamed user from now on.
fn autologin(old: &str, new: &str, draft: &mut Draft) {
    for (path, before) in [(LIGHTDM, "autologin-user="), (AUTOLOGIN, "--autologin ")] {
        let Some(text) = draft.text(path) else { continue };
        let (old, new) = (format!("{before}{old}"), format!("{before}{new}"));
        let line = |line: &str| match line.find(&old).and_then(|at| line.get(at + old.len()..)) {
            // `pi` is the beginning of `pipe`.
            Some(rest) if rest.starts_with(|c: char| c.is_alphanumeric() || "-_.".contains(c)) => {
                format!("{line}\n")
            }
            _ => format!("{}\n", line.replacen(&old, &new, 1)),
        };
        let edited: String = text.lines().map(line).collect();
        if edited != text {
            draft.write(path, edited);
        }
    }
}
