//! `/etc/hosts`: this node at 127.0.1.1 as Debian has it, then every node with a static address, then `[[hosts]]`.
//!
//! Ours stand between two comment lines and are replaced as a whole. Nodes on DHCP are left out: nobody knows
//! where they will be.

use std::net::IpAddr;

use super::Context;
use super::draft::Draft;
use crate::plan::{Cluster, Node};

/// The line before those that are ours.
pub const BEGIN: &str = "# cardpress begin";
/// The line behind them.
pub const END: &str = "# cardpress end";

pub(super) fn apply(context: &Context, draft: &mut Draft) {
    let Context { node, cluster, .. } = context;
    let before =
        draft.text("/etc/hosts").unwrap_or_else(|| String::from("127.0.0.1\tlocalhost\n::1\t\tlocalhost\n"));
    let own = format!("127.0.1.1\t{}", own_names(node, cluster).join(" "));

    let mut lines: Vec<String> = Vec::new();
    let mut own_is_in = false;
    for line in without_fence(&before).lines() {
        if line.split_whitespace().next() != Some("127.0.1.1") {
            lines.push(line.to_owned());
        } else if !own_is_in {
            lines.push(own.clone());
            own_is_in = true;
        }
    }
    if !own_is_in {
        lines.push(own);
    }

    let mut ours: Vec<String> = Vec::new();
    for other in &cluster.nodes {
        let names = names(other, cluster).join(" ");
        ours.extend(addresses(other).map(|address| format!("{address}\t{names}")));
    }
    for line in &node.settings.hosts {
        ours.push(format!("{}\t{}", line.address, line.names.join(" ")));
    }
    if !ours.is_empty() {
        lines.push(BEGIN.to_owned());
        lines.extend(ours);
        lines.push(END.to_owned());
    }
    draft.write("/etc/hosts", format!("{}\n", lines.join("\n")));
}

/// The static addresses of a node, wired before wireless.
pub(in crate::plan) fn addresses(node: &Node) -> impl Iterator<Item = IpAddr> {
    let wireless = node.settings.wifi.iter().flat_map(|wifi| &wifi.addresses);
    node.addresses.iter().chain(wireless).map(ipnet::IpNet::addr)
}

/// Short, `.local` and domain name.
pub(in crate::plan) fn names(node: &Node, cluster: &Cluster) -> Vec<String> {
    let mut names = vec![node.name.clone()];
    if cluster.domain.as_deref() != Some("local") {
        names.push(format!("{}.local", node.name));
    }
    names.extend(cluster.domain.iter().map(|domain| format!("{}.{domain}", node.name)));
    names
}

/// The first name is what `hostname --fqdn` says, so the domain name comes first.
fn own_names(node: &Node, cluster: &Cluster) -> Vec<String> {
    let mut names: Vec<String> =
        cluster.domain.iter().map(|domain| format!("{}.{domain}", node.name)).collect();
    names.push(node.name.clone());
    names
}

/// `text` without what an earlier press put between the comment lines.
pub(super) fn without_fence(text: &str) -> String {
    without(text, BEGIN)
}

/// `text` without what stands from each line `begin` to the next [`END`]. Without an end there is no fence:
/// somebody has edited the file, and what follows may be theirs.
pub(super) fn without(text: &str, begin: &str) -> String {
    let mut kept = String::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let mut rest = lines.clone();
        if line.trim() == begin && rest.any(|line| line.trim() == END) {
            lines = rest;
            continue;
        }
        kept.push_str(line);
        kept.push('\n');
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_fenced_on_both_sides_is_cut_out() {
        assert_eq!(without("a\nX\nb\n# cardpress end\nc\n", "X"), "a\nc\n");
        assert_eq!(without("a\nX\nb\n", "X"), "a\nX\nb\n");
    }
}
