//! `known_hosts` (sshd(8), "SSH_KNOWN_HOSTS FILE FORMAT") and `ssh_config` (ssh_config(5)).
//!
//! ssh takes a relative `UserKnownHostsFile` from the folder it is called in, a relative `Include` from `~/.ssh`, and
//! has no word for the folder of the file it reads. An absolute path would make the file another one on every machine.
//! So the configuration needs no `known_hosts`: each host's key is in it, said by `KnownHostsCommand` under the name
//! that `HostKeyAlias` fixes. That came with OpenSSH 8.5 (2021); an older ssh passes over it, has no key, and refuses.

use super::view::View;

pub(super) fn known_hosts(view: &View) -> String {
    let mut text = format!("# The nodes of cluster {}, by cardpress.\n", view.cluster.name);
    for node in &view.nodes {
        let mut names = node.names.clone();
        names.extend(node.addresses.iter().map(ToString::to_string));
        text += &format!("{} {}\n", names.join(","), node.host_key);
    }
    text
}

pub(super) fn config(view: &View) -> String {
    let first = view.nodes.first().map_or("NODE", |node| node.name);
    let mut text = format!(
        "# The nodes of cluster {}, by cardpress. The host keys are in here: no other file is needed.\n\
         #   ssh -F ssh_config {first}\n\
         # or, at the top of ~/.ssh/config, Include and the full path of this file; then: ssh {first}\n\
         # An OpenSSH older than 8.5 also wants: -o UserKnownHostsFile=known_hosts\n\
         IgnoreUnknown KnownHostsCommand\n",
        view.cluster.name
    );
    for node in &view.nodes {
        text += &format!("\nHost {}\n    HostName {}\n", node.names.join(" "), node.reached_at());
        if let Some(user) = node.user {
            text += &format!("    User {user}\n");
        }
        text += &format!(
            "    HostKeyAlias {name}\n    StrictHostKeyChecking yes\n    UserKnownHostsFile /dev/null\n    \
             KnownHostsCommand /bin/sh -c \"echo {name} {key}\"\n",
            name = node.name,
            key = node.host_key
        );
    }
    text
}
