//! ssh: the server on or off, who may log in how, host keys that are known beforehand, keys between nodes.
//!
//! Host keys are ours alone: other keys that an image carries are shared by everyone who has that image and go.
//! What would make new ones at first boot is stopped (see [`keep_host_keys`]).

use super::draft::Draft;
use super::hosts::{self, BEGIN, END, without_fence};
use super::{Context, Problem, units, users};
use crate::plan::{Content, FirstBoot, Owner};

/// What raspberrypi-sys-mods' first boot runs, since its `firstboot` script exists (20220901).
pub(super) const REGENERATE: &str = "/usr/lib/raspberrypi-sys-mods/regenerate_ssh_host_keys";
const HOST_KEY: &str = "/etc/ssh/ssh_host_ed25519_key";
const DROP_IN: &str = "/etc/ssh/sshd_config.d/10-cardpress.conf";
/// bullseye.
const LAST_WITH_CHALLENGE_RESPONSE: u32 = 11;
const SSHD_CONFIG: &str = "/etc/ssh/sshd_config";

pub(super) fn apply(context: &Context, draft: &mut Draft) {
    if let Some(problem) = &context.keys.problem {
        draft.fault(problem.clone());
    }
    let comes_later = context.settings().packages.iter().any(|name| name == "openssh-server");
    let server = draft.in_image(SSHD_CONFIG) || draft.in_image("/usr/sbin/sshd");
    match context.settings().ssh_enable {
        // Debian's package enables its own service when it is installed.
        Some(true) if !server && comes_later => {}
        Some(true) => units::enable("ssh.service", context, draft),
        Some(false) => {
            units::disable("ssh.service", draft);
            if units::is_known("ssh.socket", draft) {
                units::disable("ssh.socket", draft);
            }
        }
        None => {}
    }
    if server || comes_later {
        password_login(context, draft);
        host_keys(context, draft);
        keep_host_keys(context, draft);
    }
    known_hosts(context, draft);
    between_nodes(context, draft);
}

/// sshd takes the first value it meets (sshd_config(5)), and Debian's file includes the directory at its top.
fn password_login(context: &Context, draft: &mut Draft) {
    let Some(allowed) = context.settings().ssh_password_login else { return };
    let main = draft.text(SSHD_CONFIG).unwrap_or_default();
    let includes = |line: &str| {
        let mut words = line.split_whitespace();
        words.next().is_some_and(|word| word.eq_ignore_ascii_case("include"))
            && words.any(|path| path.starts_with("/etc/ssh/sshd_config.d/"))
    };
    let mut wanted = vec![("PasswordAuthentication", if allowed { "yes" } else { "no" })];
    if !allowed {
        // The other way of asking for a password, renamed in OpenSSH 8.7; bullseye has 8.4, bookworm 9.2.
        let old_name = context.facts.release.version <= LAST_WITH_CHALLENGE_RESPONSE;
        let name = if old_name { "ChallengeResponseAuthentication" } else { "KbdInteractiveAuthentication" };
        wanted.push((name, "no"));
    }
    if main.is_empty() || main.lines().any(includes) {
        let text: String = wanted.iter().map(|(key, value)| format!("{key} {value}\n")).collect();
        draft.write(DROP_IN, text);
    } else {
        let edited = wanted.iter().fold(main, |text, (key, value)| set_keyword(&text, key, value));
        draft.write(SSHD_CONFIG, edited);
    }
}

/// Sets a keyword in the part of sshd_config that holds for everyone, which ends at the first `Match`.
fn set_keyword(text: &str, keyword: &str, value: &str) -> String {
    let word = |line: &str| {
        line.split(|c: char| c.is_whitespace() || c == '=').find(|w| !w.is_empty()).map(str::to_lowercase)
    };
    let lines: Vec<&str> = text.lines().collect();
    let global = lines.iter().position(|line| word(line).as_deref() == Some("match")).unwrap_or(lines.len());
    let is_set = |line: &str| word(line).as_deref() == Some(&keyword.to_lowercase());
    let is_comment = |line: &str| line.strip_prefix('#').is_some_and(is_set);
    let (head, tail) = lines.split_at(global);
    let place =
        head.iter().position(|line| is_set(line)).or_else(|| head.iter().position(|line| is_comment(line)));
    let mut out: Vec<String> = Vec::new();
    for (index, line) in head.iter().enumerate() {
        if Some(index) == place {
            out.push(format!("{keyword} {value}"));
        } else if !is_set(line) {
            out.push((*line).to_owned());
        }
    }
    if place.is_none() {
        out.push(format!("{keyword} {value}"));
    }
    out.extend(tail.iter().map(|line| (*line).to_owned()));
    format!("{}\n", out.join("\n"))
}

fn host_keys(context: &Context, draft: &mut Draft) {
    let Some(key) = context.keys.host.get(&context.node.name) else { return };
    for name in draft.names("/etc/ssh") {
        if name.starts_with("ssh_host_") && !name.starts_with("ssh_host_ed25519_key") {
            draft.remove(&format!("/etc/ssh/{name}"));
        }
    }
    let private = Content::secret(key.private.expose().as_bytes());
    draft.write_with(HOST_KEY, private, Some(0o600), Some(Owner::ROOT));
    let public = Content::text(format!("{} root@{}\n", key.public, context.node.name));
    draft.write_with(&format!("{HOST_KEY}.pub"), public, Some(0o644), Some(Owner::ROOT));
}

/// Two pieces of Raspberry Pi OS delete every host key and make new ones on first boot:
///
/// - `regenerate_ssh_host_keys.service`: masked, and its wants links removed.
/// - `firstboot`, which runs as PID 1 before any unit and calls the same helper script. The helper is replaced
///   by one that keeps what is there; so the script goes on to do its other work, the growing included.
fn keep_host_keys(context: &Context, draft: &mut Draft) {
    if units::is_known("regenerate_ssh_host_keys.service", draft) {
        units::mask("regenerate_ssh_host_keys.service", draft);
    }
    if context.facts.first_boot == FirstBoot::SysModsFirstboot && draft.in_image(REGENERATE) {
        draft.write(
            REGENERATE,
            "#!/bin/sh -e\n\
             # cardpress gave this node its host keys; only what is missing altogether is made here.\n\
             if [ ! -s /etc/ssh/ssh_host_ed25519_key ]; then\n\
             \x20 ssh-keygen -A > /dev/null\n\
             fi\n",
        );
    }
}

/// Every node's host key under all its names and addresses, so that the first `ssh` asks no question.
fn known_hosts(context: &Context, draft: &mut Draft) {
    let path = "/etc/ssh/ssh_known_hosts";
    let mut text = without_fence(&draft.text(path).unwrap_or_default());
    text.push_str(&format!("{BEGIN}\n"));
    for node in &context.cluster.nodes {
        let Some(key) = context.keys.host.get(&node.name) else { continue };
        let mut names = hosts::names(node, context.cluster);
        names.extend(hosts::addresses(node).map(|address| address.to_string()));
        text.push_str(&format!("{} {}\n", names.join(","), key.public));
    }
    text.push_str(&format!("{END}\n"));
    draft.write(path, text);
}

/// The node's own key for its first user, and everyone else's key allowed in.
fn between_nodes(context: &Context, draft: &mut Draft) {
    if !context.cluster.ssh_between_nodes {
        return;
    }
    let configured = context.settings().users.first().map(|user| user.name.clone());
    let Some(name) = configured.or_else(|| context.first_user().map(|first| first.name.clone())) else {
        draft.fault(Problem::NobodyToLogIn);
        return;
    };
    let Some(account) = draft.accounts.user(&name) else { return };
    let Some(own) = context.keys.user.get(&context.node.name) else { return };
    users::ssh_directory(&account.home, account.owner, draft);
    let path = format!("{}/.ssh/id_ed25519", account.home);
    let private = Content::secret(own.private.expose().as_bytes());
    draft.write_with(&path, private, Some(0o600), Some(account.owner));
    let public = Content::text(format!("{} cardpress@{}\n", own.public, context.node.name));
    draft.write_with(&format!("{path}.pub"), public, Some(0o644), Some(account.owner));
    let others = context.cluster.nodes.iter().filter(|node| node.name != context.node.name);
    let line = |node: &crate::plan::Node| {
        Some(format!("{} cardpress@{}", context.keys.user.get(&node.name)?.public, node.name))
    };
    let others: Vec<String> = others.filter_map(line).collect();
    users::authorize(&name, &others, draft);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_keyword_takes_the_place_of_its_comment_and_stays_out_of_match_blocks() {
        let text =
            "#PasswordAuthentication yes\nX11Forwarding yes\nMatch User bob\n\tPasswordAuthentication yes\n";
        assert_eq!(
            set_keyword(text, "PasswordAuthentication", "no"),
            "PasswordAuthentication no\nX11Forwarding yes\nMatch User bob\n\tPasswordAuthentication yes\n"
        );
        assert_eq!(set_keyword("Port 22\nMatch all\n", "A", "b"), "Port 22\nA b\nMatch all\n");
        assert_eq!(set_keyword("A=1\na 2\n", "A", "b"), "A b\n");
    }
}
