//! Who can log in: passwd(5), shadow(5), group(5), and the keys in their homes.

use serde::Serialize;

use super::look::{Look, Unread};
use super::warning::Warning;
use crate::plan::is_hash_of;

/// The password of every image up to January 2022, with user `pi`.
const DEFAULT_PASSWORD: &str = "raspberry";
/// From here on users are people; `nobody` is none.
const FIRST_UID: u32 = 1000;
const NOBODY: u32 = 65_534;
/// More are not told.
const USERS_MAX: usize = 64;
/// Comparing a password takes time, and whoever wrote the hash says how much.
const COMPARED_MAX: usize = 4;

/// An account of a person, or root.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct User {
    /// Its name.
    pub name: String,
    /// 0 for root, else 1000 or more.
    pub uid: u32,
    /// The groups it is in beside its own.
    pub groups: Vec<String>,
    /// Is it in `sudo`?
    pub is_sudoer: bool,
    /// What it logs in with.
    pub password: Password,
    /// How many keys its `authorized_keys` has.
    pub authorized_keys: usize,
    /// Where it lives.
    pub home: String,
    /// Its shell.
    pub shell: String,
}

/// What an account logs in with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Password {
    /// There is none, and so no way in by password.
    None,
    /// There is one, but it is not taken.
    Locked,
    /// None is asked for.
    Empty,
    /// The well-known one.
    Default,
    /// There is one.
    Set,
    /// shadow has no line for it.
    Unknown,
}

/// Reads the accounts. Empty and well-known passwords are told, and keys that everybody can read.
pub(super) fn read(
    look: &Look<'_, '_>,
    by_ssh: bool,
    warnings: &mut Vec<Warning>,
) -> Result<Vec<User>, Unread> {
    let passwd = look.text("/etc/passwd")?.ok_or_else(|| Unread("there is no /etc/passwd".to_owned()))?;
    let shadow = look.text("/etc/shadow")?.unwrap_or_default();
    let group = look.text("/etc/group")?.unwrap_or_default();
    let mut users = parse(&passwd, &shadow, &group);
    for user in &mut users {
        if !user.home.starts_with('/') || user.home == "/" {
            continue;
        }
        let ssh = format!("{}/.ssh", user.home);
        // A home that is no usable path holds no keys.
        let keys = look.text(&format!("{ssh}/authorized_keys")).ok().flatten().unwrap_or_default();
        user.authorized_keys = count_keys(&keys);
        for (name, listed) in look.list(&ssh).unwrap_or_default() {
            let is_key = name.starts_with("id_") && !name.ends_with(".pub");
            if is_key && listed.stat.mode & 0o004 != 0 && listed.target.is_none() {
                let (path, mode) = (format!("{ssh}/{name}"), listed.stat.mode);
                warnings.push(Warning::ReadableKey { path, mode });
            }
        }
    }
    for user in &users {
        let name = user.name.clone();
        match user.password {
            Password::Empty => warnings.push(Warning::EmptyPassword { user: name }),
            Password::Default => {
                warnings.push(Warning::DefaultPassword { user: name, password: DEFAULT_PASSWORD, by_ssh });
            }
            _ => {}
        }
    }
    Ok(users)
}

/// The accounts of people and of root, in the order of passwd.
fn parse(passwd: &str, shadow: &str, group: &str) -> Vec<User> {
    let mut compared = 0;
    let fields = |line: &'_ str| line.split(':').map(str::to_owned).collect::<Vec<_>>();
    let mut users = Vec::new();
    for line in passwd.lines().map(fields) {
        let [name, hash, uid, gid, _, home, shell] = &line[..] else { continue };
        let (Ok(uid), Ok(gid)) = (uid.parse::<u32>(), gid.parse::<u32>()) else { continue };
        if !(uid == 0 || uid >= FIRST_UID && uid != NOBODY) || users.len() >= USERS_MAX {
            continue;
        }
        let hash = match hash.as_str() {
            "x" => shadow.lines().find_map(|line| line.strip_prefix(name.as_str())?.strip_prefix(':')),
            hash => Some(hash),
        };
        let hash = hash.map(|rest| rest.split(':').next().unwrap_or_default());
        let mut groups = Vec::new();
        for line in group.lines().map(fields) {
            let [group, _, number, members] = &line[..] else { continue };
            if members.split(',').any(|member| member == name) || number.parse() == Ok(gid) {
                groups.push(group.clone());
            }
        }
        let is_sudoer = groups.iter().any(|group| group == "sudo");
        groups.retain(|group| group != name);
        users.push(User {
            name: name.clone(),
            uid,
            is_sudoer,
            groups,
            password: hash.map_or(Password::Unknown, |hash| password(hash, &mut compared)),
            authorized_keys: 0,
            home: home.clone(),
            shell: shell.clone(),
        });
    }
    users
}

fn password(hash: &str, compared: &mut usize) -> Password {
    match hash {
        "" => Password::Empty,
        "*" | "!" | "!!" | "!*" | "x" => Password::None,
        _ if hash.starts_with(['!', '*']) => Password::Locked,
        _ if *compared >= COMPARED_MAX => Password::Set,
        _ => {
            *compared += 1;
            let is_default = is_hash_of(hash, DEFAULT_PASSWORD) == Some(true);
            if is_default { Password::Default } else { Password::Set }
        }
    }
}

fn count_keys(text: &str) -> usize {
    text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    const RASPBERRY: &str =
        "$6$saltsalt$677q0O/U8ycKsbBfN68CgcyXcWEbi0J/eUf256PkkeGXfNX3CNnPlwFdNvdBgnSiHDx5X1Xozxf5lg9iVIVVu/";

    #[test]
    fn people_and_root_are_told_with_their_groups() {
        let passwd = "root:x:0:0:root:/root:/bin/bash\ndaemon:x:1:1::/:/usr/sbin/nologin\n\
                      ann:x:1000:1000:,,,:/home/ann:/bin/bash\nnobody:x:65534:65534::/:/bin/false\nfaulty:x\n\
                      bob::70000:100::/home/bob:/bin/sh\n";
        let shadow = "root:*:19000:0:99999:7:::\nann:$6$salt$x:19000:0:99999:7:::\n";
        let group = "root:x:0:\nsudo:x:27:ann,other\nann:x:1000:\nusers:x:100:ann\n";
        let users = parse(passwd, shadow, group);
        let told: Vec<_> = users
            .iter()
            .map(|user| (user.name.as_str(), user.password, user.is_sudoer, user.groups.join(" ")))
            .collect();
        assert_eq!(
            told,
            [
                ("root", Password::None, false, String::new()),
                ("ann", Password::Set, true, "sudo users".to_owned()),
                ("bob", Password::Empty, false, "users".to_owned()),
            ]
        );
    }

    #[test]
    fn a_password_is_told_by_its_field() {
        for (hash, wanted) in [
            ("", Password::Empty),
            ("*", Password::None),
            ("!", Password::None),
            ("!$6$salt$hash", Password::Locked),
            ("$y$j9T$salt$hash", Password::Set),
            (RASPBERRY, Password::Default),
        ] {
            assert_eq!(password(hash, &mut 0), wanted, "{hash}");
        }
        assert_eq!(password(RASPBERRY, &mut COMPARED_MAX.clone()), Password::Set);
        let users = parse("a:x:1000:1000::/:/bin/sh\n", "ab:x:::::::\n", "");
        assert_eq!(users[0].password, Password::Unknown);
    }

    #[test]
    fn keys_are_counted_without_comments() {
        assert_eq!(count_keys("# mine\n\nssh-ed25519 AAAA a\n  ssh-rsa AAAA b\n"), 2);
    }
}
