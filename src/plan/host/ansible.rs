//! An Ansible inventory in YAML, where `known_hosts` lies beside it: `ansible -i inventory.yaml all -m ping`.
//!
//! A group for each role, under its name, and one for each recipe, under `recipe_` and its name. Ansible wants letters,
//! digits and underscores, no digit first; what else there is becomes an underscore. A role whose name is Ansible's own
//! or a node's gets `role_` before it.

use super::view::View;

/// Names that mean something to Ansible.
const RESERVED: [&str; 2] = ["all", "ungrouped"];

/// Ansible splits it as a shell would, ssh once more as ssh_config(5) does: hence two kinds of quotes, for a folder with
/// spaces.
const SSH_ARGUMENTS: &str = "-o StrictHostKeyChecking=yes -o HostKeyAlias={{ inventory_hostname }} \
                             -o 'UserKnownHostsFile=\"{{ inventory_dir }}/known_hosts\"'";

pub(super) fn inventory(view: &View) -> String {
    let mut text = format!(
        "# The nodes of cluster {}, by cardpress. Keep known_hosts beside this file.\n\
         #   ansible -i inventory.yaml all -m ping\n\
         all:\n  vars:\n    ansible_python_interpreter: \"/usr/bin/python3\"\n    ansible_ssh_common_args: {}\n  \
         hosts:\n",
        view.cluster.name,
        quoted(SSH_ARGUMENTS)
    );
    for node in &view.nodes {
        text += &format!("    {}:\n      ansible_host: {}\n", quoted(node.name), quoted(&node.reached_at()));
        if let Some(user) = node.user {
            text += &format!("      ansible_user: {}\n", quoted(user));
        }
    }
    let is_node = |word: &str| view.nodes.iter().any(|node| node.name == word);
    let groups = view.group_by(|node| {
        let role = node.role.map(|role| role_group(role, is_node));
        let mut groups: Vec<String> = role.into_iter().collect();
        for recipe in &node.recipes {
            let group = format!("recipe_{}", plain(recipe));
            if !groups.contains(&group) {
                groups.push(group);
            }
        }
        groups
    });
    if !groups.is_empty() {
        text += "  children:\n";
    }
    for (group, nodes) in groups {
        text += &format!("    {}:\n      hosts:\n", quoted(&group));
        for node in nodes {
            text += &format!("        {}: {{}}\n", quoted(node.name));
        }
    }
    text
}

fn role_group(role: &str, is_node: impl Fn(&str) -> bool) -> String {
    let group = plain(role);
    let is_taken = RESERVED.contains(&group.as_str()) || is_node(&group);
    if is_taken || group.starts_with(|c: char| c.is_ascii_digit()) { format!("role_{group}") } else { group }
}

fn plain(word: &str) -> String {
    word.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect()
}

/// A double-quoted scalar (YAML 1.2 §7.3.1), whatever is in it. Printable ASCII stands as it is, the rest as numbers:
/// not all that JSON leaves as it is may stand in YAML.
pub(super) fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            ' '..='~' => out.push(c),
            _ if u32::from(c) <= 0xffff => out += &format!("\\u{:04x}", u32::from(c)),
            _ => out += &format!("\\U{:08x}", u32::from(c)),
        }
    }
    out + "\""
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scalar_is_quoted_whatever_is_in_it() {
        assert_eq!(quoted("ops"), r#""ops""#);
        assert_eq!(
            quoted("a\"b\\c: {} #\n\u{7f}é\u{2028}🦀"),
            r#""a\"b\\c: {} #\u000a\u007f\u00e9\u2028\U0001f980""#
        );
    }

    #[test]
    fn a_group_is_named_as_ansible_wants_and_never_like_a_node() {
        let is_node = |word: &str| word == "nas";
        for (role, group) in [
            ("worker", "worker"),
            ("slurm-compute.fast", "slurm_compute_fast"),
            ("all", "role_all"),
            ("nas", "role_nas"),
            ("4gb", "role_4gb"),
        ] {
            assert_eq!(role_group(role, is_node), group);
        }
    }
}
