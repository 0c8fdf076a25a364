//! `sudo = "password" | "nopasswd" | false`: group sudo, and a file of our own in `/etc/sudoers.d`.
//!
//! Raspberry Pi OS up to early 2026 lets `pi` do all without a password by `/etc/sudoers.d/010_pi-nopasswd`
//! (raspberrypi-sys-mods); sudo reads no file there with a dot in its name (sudoers(5)).

use super::Context;
use super::draft::Draft;
use super::users::join;
use crate::plan::{Content, Owner, Sudo, User};

const SHIPPED: &str = "/etc/sudoers.d/010_pi-nopasswd";

/// As `userconf` does: the shipped rule speaks of the new name.
pub(super) fn rename(old: &str, new: &str, draft: &mut Draft) {
    let Some(text) = draft.text(SHIPPED) else { return };
    let line = |line: &str| match line.strip_prefix(old) {
        Some(rest) if rest.starts_with([' ', '\t']) => format!("{new}{rest}\n"),
        _ => format!("{line}\n"),
    };
    let renamed: String = text.lines().map(line).collect();
    draft.write(SHIPPED, renamed);
}

pub(super) fn apply(context: &Context, user: &User, draft: &mut Draft) {
    let name = user.name.as_str();
    match user.sudo {
        None => return,
        Some(Sudo::No) => draft.accounts.remove_member("sudo", name),
        Some(Sudo::Password | Sudo::NoPassword) => join(context, "sudo", name, draft),
    }
    let file = format!("/etc/sudoers.d/010_{}-nopasswd", name.replace('.', "_"));
    if user.sudo == Some(Sudo::NoPassword) {
        if !grants(SHIPPED, name, draft) {
            let rule = Content::text(format!("{name} ALL=(ALL) NOPASSWD: ALL\n"));
            draft.write_with(&file, rule, Some(0o440), Some(Owner::ROOT));
        }
        return;
    }
    for path in [SHIPPED, file.as_str()] {
        if grants(path, name, draft) {
            draft.remove(path);
        }
    }
}

/// Does a rule in `path` begin with `name`?
fn grants(path: &str, name: &str, draft: &mut Draft) -> bool {
    let text = draft.text(path).unwrap_or_default();
    text.lines().any(|line| line.split_whitespace().next() == Some(name))
}
