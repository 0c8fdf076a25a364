//! `[user.NAME]`: the shipped account renamed, others made, as `userconf` and `adduser` would.
//!
//! The profile's first user takes over the account with uid 1000, unless a user of the profile bears that
//! account's own name. Renaming does what userconf-pi's `userconf` does: passwd, group, shadow, gshadow, subuid,
//! subgid, `/etc/sudoers.d/010_pi-nopasswd`, and the home moves.

use super::accounts::NewAccount;
use super::draft::Draft;
use super::fault::nearest;
use super::{Context, Problem, crypt, sudo};
use crate::plan::{Content, Owner, Password, User};

/// Files of `/etc/skel` that a new home gets, where the image has them.
pub(super) const SKEL: [&str; 6] =
    [".bash_aliases", ".bash_logout", ".bashrc", ".profile", ".vimrc", ".zshrc"];

/// The last Debian whose crypt(3) is glibc's own: no `$y$` before libxcrypt (bullseye).
const LAST_WITH_GLIBC_CRYPT: u32 = 10;

pub(super) fn apply(context: &Context, draft: &mut Draft) {
    let users = &context.settings().users;
    if users.is_empty() {
        return;
    }
    if !draft.accounts.has_passwd() {
        draft.fault(Problem::NoFile { path: String::from("/etc/passwd"), needed_for: "the user" });
        return;
    }
    for (index, user) in users.iter().enumerate() {
        if bad_text(user, draft) {
            continue;
        }
        let first = context.first_user().filter(|first| users.iter().all(|user| user.name != first.name));
        match first {
            _ if draft.accounts.user(&user.name).is_some() => {}
            Some(first) if index == 0 && user.uid.is_none_or(|uid| uid == first.uid) => {
                rename(&first.name, &user.name, draft);
            }
            _ => create(context, user, draft),
        }
        if draft.accounts.user(&user.name).is_some() {
            configure(context, user, draft);
        }
    }
}

/// Anything that would break a line of passwd.
fn bad_text(user: &User, draft: &mut Draft) -> bool {
    let texts = [(Some(&user.full_name), "GECOS"), (Some(&user.shell), "the shell field")];
    for (text, place) in texts.into_iter().filter_map(|(text, place)| Some((text?.as_ref()?, place))) {
        if text.contains(|c: char| c == ':' || c.is_control()) {
            let why = "a colon or control character would break the line";
            draft.fault(Problem::BadValue { value: text.escape_debug().to_string(), place, why });
            return true;
        }
    }
    false
}

fn rename(old: &str, new: &str, draft: &mut Draft) {
    if draft.accounts.group_id(new).is_some() {
        let by = String::from("the image has such a group");
        draft.fault(Problem::Taken { what: "group", name: new.to_owned(), by });
        return;
    }
    let Some(account) = draft.accounts.user(old) else {
        draft.fault(Problem::Missing { what: "user", name: old.to_owned(), nearest: None });
        return;
    };
    draft.accounts.rename_user(old, new);
    sudo::rename(old, new, draft);
    let (old_home, new_home) = (format!("/home/{old}"), format!("/home/{new}"));
    if account.home != old_home {
        return;
    }
    if draft.exists(&new_home) {
        let by = String::from("the image has such a directory");
        draft.fault(Problem::Taken { what: "home", name: new_home, by });
        return;
    }
    draft.accounts.set_home(new, &new_home);
    if draft.in_image(&old_home) {
        draft.rename(&old_home, &new_home);
    } else {
        draft.make_directory(&new_home, 0o755, account.owner);
    }
}

fn create(context: &Context, user: &User, draft: &mut Draft) {
    let name = user.name.as_str();
    if draft.accounts.group_id(name).is_some() {
        let by = String::from("the image has such a group");
        draft.fault(Problem::Taken { what: "group", name: name.to_owned(), by });
        return;
    }
    if let Some(uid) = user.uid
        && let Some(other) = draft.accounts.user_with_uid(uid)
    {
        let by = format!("by `{other}`");
        draft.fault(Problem::Taken { what: "uid", name: uid.to_string(), by });
        return;
    }
    let Some(owner) = draft.accounts.free_owner(user.uid) else {
        draft.fault(Problem::NoneFree("user or group number"));
        return;
    };
    let home = format!("/home/{name}");
    draft.accounts.add_user(&NewAccount { name, owner, home: &home, shell: "/bin/bash" });
    let mode = home_mode(context, draft);
    draft.make_directory(&home, mode, owner);
    for file in SKEL {
        let (from, to) = (format!("/etc/skel/{file}"), format!("{home}/{file}"));
        if let Some(bytes) = draft.bytes(&from).filter(|_| !draft.exists(&to)) {
            let mode = draft.mode(&from);
            draft.write_with(&to, Content::Plain(bytes.into()), mode, Some(owner));
        }
    }
}

/// `DIR_MODE` of adduser.conf(5), else that release's default: 0700 since bookworm, 0755 before.
pub(super) fn home_mode(context: &Context, draft: &mut Draft) -> u16 {
    let default = if context.facts.release.version >= 12 { 0o700 } else { 0o755 };
    let text = draft.text("/etc/adduser.conf").unwrap_or_default();
    let value = text.lines().find_map(|line| line.trim().strip_prefix("DIR_MODE="));
    value.and_then(|octal| u16::from_str_radix(octal.trim_matches('"'), 8).ok()).unwrap_or(default) & 0o7777
}

/// What holds for new, renamed and found accounts alike.
fn configure(context: &Context, user: &User, draft: &mut Draft) {
    let name = user.name.as_str();
    let Some(account) = draft.accounts.user(name) else { return };
    if let Some(uid) = user.uid.filter(|uid| *uid != account.owner.uid) {
        let by = format!("an existing account keeps its uid, `{name}` has {}", account.owner.uid);
        draft.fault(Problem::Taken { what: "uid", name: uid.to_string(), by });
    }
    if let Some(full_name) = &user.full_name {
        draft.accounts.set_full_name(name, full_name);
    }
    shell(context, user, &account.shell, draft);
    for group in &user.groups {
        join(context, group, name, draft);
    }
    if let Some(hash) = user.password.as_ref().and_then(|password| hash(context, name, password, draft)) {
        draft.accounts.set_hash(name, &hash);
    }
    sudo::apply(context, user, draft);
    authorize(name, &user.ssh_keys, draft);
    let has_keys =
        !user.ssh_keys.is_empty() || draft.exists(&format!("{}/.ssh/authorized_keys", account.home));
    if draft.accounts.has_password(name) == Some(false) && !has_keys {
        draft.warn(format!("`{name}` has neither a password nor an ssh key: nobody can log in as it"));
    }
}

fn shell(context: &Context, user: &User, current: &str, draft: &mut Draft) {
    let is_none = current.is_empty() || current.ends_with("/nologin") || current.ends_with("/false");
    match &user.shell {
        Some(shell) => {
            if !draft.exists(shell) && !context.installs_packages() {
                draft.fault(Problem::Missing { what: "shell", name: shell.clone(), nearest: None });
            }
            draft.accounts.set_shell(&user.name, shell);
        }
        None if is_none => draft.accounts.set_shell(&user.name, "/bin/bash"),
        None => {}
    }
}

/// A group that a package of the profile may bring is made now: its maintainer script will find and keep it.
pub(super) fn join(context: &Context, group: &str, user: &str, draft: &mut Draft) {
    if draft.accounts.group_id(group).is_none() {
        if !context.installs_packages() {
            let names = draft.accounts.group_names();
            let nearest = nearest(group, names.iter().map(String::as_str));
            draft.fault(Problem::Missing { what: "group", name: group.to_owned(), nearest });
            return;
        }
        draft.warn(format!(
            "group `{group}` is not in the image: made as a system group for the packages to find"
        ));
        if draft.accounts.add_system_group(group).is_none() {
            draft.fault(Problem::NoneFree("system group number"));
            return;
        }
    }
    draft.accounts.add_member(group, user);
}

fn hash(context: &Context, name: &str, password: &Password, draft: &mut Draft) -> Option<String> {
    match password {
        // No password matches, and sshd does not take the account for locked, as it would with `!`.
        Password::Locked => Some(String::from("*")),
        Password::Hash(hash) => {
            let hash = hash.expose();
            if !hash.starts_with('$') {
                let why = "a hash begins with `$` and its kind, such as `$6$`";
                draft.fault(Problem::BadValue { value: String::from("***"), place: "/etc/shadow", why });
                return None;
            }
            let kind = format!("${}$", hash.split('$').nth(1).unwrap_or_default());
            if !matches!(kind.as_str(), "$5$" | "$6$")
                && context.facts.release.version <= LAST_WITH_GLIBC_CRYPT
            {
                draft.fault(Problem::HashKind { kind, release: context.facts.release.codename.clone() });
                return None;
            }
            if hash.contains(|c: char| c == ':' || c.is_control()) {
                let why = "a colon or control character would break the line";
                draft.fault(Problem::BadValue { value: kind, place: "/etc/shadow", why });
                return None;
            }
            Some(hash.clone())
        }
        Password::Plain(plain) => {
            let salt: [u8; 12] = context.seed.derive(&format!("password-salt {} {name}", context.node.name));
            Some(crypt::sha512(plain.expose(), salt))
        }
    }
}

/// Adds keys to `~/.ssh/authorized_keys`, with the modes that sshd's StrictModes wants.
pub(super) fn authorize(name: &str, keys: &[String], draft: &mut Draft) {
    let Some(account) = draft.accounts.user(name).filter(|_| !keys.is_empty()) else { return };
    let path = format!("{}/.ssh/authorized_keys", account.home);
    let mut text = draft.text(&path).unwrap_or_default();
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    for key in keys.iter().map(|key| key.trim()) {
        if !text.lines().any(|line| line.trim() == key) {
            text.push_str(key);
            text.push('\n');
        }
    }
    ssh_directory(&account.home, account.owner, draft);
    draft.write_with(&path, Content::text(text), Some(0o600), Some(account.owner));
}

pub(super) fn ssh_directory(home: &str, owner: Owner, draft: &mut Draft) {
    draft.make_directory(&format!("{home}/.ssh"), 0o700, owner);
}
