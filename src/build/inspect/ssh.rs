//! The ssh server: is it on, does it take passwords, has it keys of its own? sshd_config(5).

use serde::Serialize;

use super::look::{Look, Unread};
use super::warning::{Note, Warning};

const CONFIG: &str = "/etc/ssh/sshd_config";
/// Files that one configuration may take in.
const INCLUDED_MAX: usize = 64;
const UNITS: &str = "/etc/systemd/system";

/// The ssh server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Ssh {
    /// Is there one?
    pub is_installed: bool,
    /// Does it start with the system?
    pub is_enabled: bool,
    /// Will the next boot turn it on, because of a file `ssh` on the boot partition?
    pub is_asked_for: bool,
    /// Does it take passwords?
    pub password_login: bool,
    /// The kinds of its own keys: `ed25519`.
    pub host_keys: Vec<String>,
}

/// Reads what there is to know. `is_asked_for` is what the boot partition says.
pub(super) fn read(
    look: &Look<'_, '_>,
    is_asked_for: bool,
    warnings: &mut Vec<Warning>,
    notes: &mut Vec<Note>,
) -> Result<Ssh, Unread> {
    let mut host_keys = Vec::new();
    for (name, listed) in look.list("/etc/ssh")? {
        let kind = name.strip_prefix("ssh_host_").and_then(|rest| rest.strip_suffix("_key"));
        let Some(kind) = kind else { continue };
        if listed.stat.mode & 0o004 != 0 && listed.target.is_none() {
            let (path, mode) = (format!("/etc/ssh/{name}"), listed.stat.mode);
            warnings.push(Warning::ReadableKey { path, mode });
        }
        host_keys.push(kind.to_owned());
    }
    notes.extend((!host_keys.is_empty()).then_some(Note::HostKeys));
    Ok(Ssh {
        is_installed: look.exists("/usr/sbin/sshd")?,
        is_enabled: is_enabled(look, "ssh.service")? || is_enabled(look, "ssh.socket")?,
        is_asked_for,
        password_login: password_login(look)?,
        host_keys,
    })
}

/// Does a unit start with the system? A mask wins over everything.
pub(super) fn is_enabled(look: &Look<'_, '_>, unit: &str) -> Result<bool, Unread> {
    if look.link(&format!("{UNITS}/{unit}"))?.as_deref() == Some("/dev/null") {
        return Ok(false);
    }
    for target in ["multi-user", "sockets", "sysinit", "basic", "graphical", "default", "cloud-init"] {
        if look.is_there(&format!("{UNITS}/{target}.target.wants/{unit}"))? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn password_login(look: &Look<'_, '_>) -> Result<bool, Unread> {
    let config = look.text(CONFIG)?.unwrap_or_default();
    let mut left = INCLUDED_MAX;
    let found = first_word(&config, &mut |pattern| {
        // As Debian has it; a pattern with a star elsewhere is not followed.
        let pattern =
            if pattern.starts_with('/') { pattern.to_owned() } else { format!("/etc/ssh/{pattern}") };
        let paths = match pattern.rsplit_once("/*") {
            Some((directory, suffix)) if !directory.contains('*') && !suffix.contains('*') => {
                look.paths(directory, suffix).unwrap_or_default()
            }
            Some(_) => Vec::new(),
            None => vec![pattern],
        };
        let paths = paths.into_iter().take(left).collect::<Vec<_>>();
        left -= paths.len();
        paths.iter().filter_map(|path| look.text(path).ok().flatten()).collect()
    });
    // sshd's own default.
    Ok(found.unwrap_or(true))
}

/// The first `PasswordAuthentication` counts; what stands below `Match` is for some only.
fn first_word(config: &str, include: &mut dyn FnMut(&str) -> Vec<String>) -> Option<bool> {
    for line in config.lines() {
        let line = line.trim();
        let mut words =
            line.split(|c: char| c.is_ascii_whitespace() || c == '=').filter(|word| !word.is_empty());
        let key = words.next().unwrap_or_default().to_ascii_lowercase();
        match (key.as_str(), words.next().map(|word| word.trim_matches('"'))) {
            ("match", _) => return None,
            ("passwordauthentication", Some(word)) => return Some(!word.eq_ignore_ascii_case("no")),
            ("include", Some(pattern)) => {
                // One level: a file that is taken in takes in no others here.
                let found = include(pattern);
                let found = found.iter().find_map(|text| first_word(text, &mut |_| Vec::new()));
                if found.is_some() {
                    return found;
                }
            }
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_word_on_passwords_counts() {
        let drop_in = |pattern: &str| {
            assert_eq!(pattern, "/etc/ssh/sshd_config.d/*.conf");
            vec!["# nothing\n".to_owned(), "PasswordAuthentication no\n".to_owned()]
        };
        let include = "Include /etc/ssh/sshd_config.d/*.conf\nPasswordAuthentication yes\n";
        for (config, wanted) in [
            ("", None),
            ("#PasswordAuthentication no\n", None),
            ("passwordauthentication=NO\nPasswordAuthentication yes\n", Some(false)),
            ("Match User ann\n PasswordAuthentication no\n", None),
            ("PasswordAuthentication yes\nInclude /etc/ssh/sshd_config.d/*.conf\n", Some(true)),
            (include, Some(false)),
        ] {
            assert_eq!(first_word(config, &mut drop_in.clone()), wanted, "{config}");
        }
    }
}
