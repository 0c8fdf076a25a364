//! The profile of bare nodes, with a comment for whatever one may want next.

use std::net::Ipv4Addr;

use super::ask::{Answers, Nodes};

/// A string of TOML.
pub(super) fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

pub(super) fn profile(answers: &Answers) -> String {
    let Answers { subnet, gateway, user, .. } = answers;
    let name = quoted(answers.name.as_deref().unwrap_or("home"));
    let os = quoted(answers.os.as_deref().unwrap_or("raspios-lite-arm64"));
    let timezone = match &answers.timezone {
        Some(zone) => format!("timezone = {}", quoted(zone)),
        None => "# timezone = \"Europe/London\"".to_owned(),
    };
    let key = match &answers.key {
        Some(key) => format!("ssh-keys = [{}]", quoted(key)),
        None => "# Without a key nobody can log in: `ssh-keygen -t ed25519` makes one.\n\
                 # ssh-keys = [\"file:~/.ssh/id_ed25519.pub\"]"
            .to_owned(),
    };
    let nodes = nodes(answers);
    format!(
        "# What every card will be. `cardpress plan` shows it as a diff, `cardpress build` makes the images,\n\
         # `cardpress flash` writes the cards. Every key: docs/profile.md, or `cardpress schema`.\n\
         schema = 1\n\n\
         [image]\n\
         # As `cardpress images` lists it: the newest, then pinned in cardpress.lock. Or path = \"FILE\", or url = \"https://…\".\n\
         os = {os}\n\
         # Grow the root filesystem now; without it a node fills its card when it first boots.\n\
         # grow = \"8GiB\"\n\n\
         [cluster]\n\
         name = {name}\n\
         # Nodes are reached as NAME, NAME.local and NAME.lan.\n\
         domain = \"lan\"\n\
         subnet = \"{subnet}\"\n\
         gateway = \"{gateway}\"\n\
         dns = [\"{gateway}\"]\n\
         # Every node may log in to every other one.\n\
         ssh-between-nodes = true\n\n\
         # What all nodes have in common. `[role.NAME]` and `[[node]]` take the same keys, and win.\n\
         [defaults]\n\
         {timezone}\n\
         # locale = \"en_GB.UTF-8\"\n\
         ssh.enable = true\n\
         ssh.password-login = false\n\
         # What the nodes are for: `cardpress recipes` lists docker, k3s, nfs-client, …\n\
         # recipes = [\"docker\"]\n\
         # Debian packages, installed when a node first boots and has found the network.\n\
         # package = [\"jq\"]\n\n\
         [defaults.user.{user}]\n\
         {key}\n\
         # Becomes root without a password; \"password\" asks for one.\n\
         sudo = \"nopasswd\"\n\n\
         # Wi-Fi besides the wire. The password is one line in a file of its own.\n\
         # [defaults.wifi]\n\
         # ssid = \"home\"\n\
         # country = \"GB\"\n\
         # passphrase = {{ file = \"wifi.password\" }}\n\n\
         # Runs once on every node.\n\
         # [[defaults.first-boot]]\n\
         # name = \"hello\"\n\
         # script = \"\"\"\n\
         # #!/bin/sh\n\
         # logger \"first boot\"\n\
         # \"\"\"\n\
         {nodes}"
    )
}

fn nodes(answers: &Answers) -> String {
    let first = answers.address_from;
    let [a, b, c, d] = first.octets();
    match &answers.nodes {
        Nodes::Count(1) => format!("\n[[node]]\nname = \"node1\"\naddress = \"{first}\"\n"),
        Nodes::Count(count) => format!(
            "\n# {count} nodes at once: node1 is {first}, and so on.\n[[node]]\nname = \"node[1-{count}]\"\n\
             address = \"{a}.{b}.{c}.[{d}-{}]\"\n",
            u32::from(d).saturating_add(count - 1)
        ),
        Nodes::Named(names) => (u32::from(first)..)
            .zip(names)
            .map(|(address, name)| {
                format!("\n[[node]]\nname = {}\naddress = \"{}\"\n", quoted(name), Ipv4Addr::from(address))
            })
            .collect(),
    }
}
