//! Lines for the `/etc/hosts` of machines outside the cluster, fenced like those on the nodes.

use super::view::View;

pub(super) fn lines(view: &View) -> String {
    let name = &view.cluster.name;
    let mut text = format!("# cardpress begin {name}\n");
    for node in &view.nodes {
        let names = node.names.join(" ");
        for address in &node.addresses {
            text += &format!("{address}\t{names}\n");
        }
        if node.addresses.is_empty() {
            text += &format!("# {} has its address by DHCP: ask for {}\n", node.name, node.local_name());
        }
    }
    text + &format!("# cardpress end {name}\n")
}
