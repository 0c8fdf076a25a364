//! `/etc/dhcpcd.conf` (dhcpcd.conf(5)): an `interface` block at the end, one per interface of ours.
//!
//! A block lasts to the next `interface`, so the end of the file is the only place that changes nothing else.

use super::Interface;
use crate::plan::resolve::draft::Draft;
use crate::plan::resolve::hosts::{BEGIN, END, without};

const PATH: &str = "/etc/dhcpcd.conf";

pub(in crate::plan::resolve) fn write(interface: &Interface, draft: &mut Draft) {
    let text = draft.text(PATH).unwrap_or_default();
    let begin = format!("{BEGIN} {}", interface.name);
    let mut lines: Vec<String> = without(&text, &begin).lines().map(str::to_owned).collect();
    lines.push(begin);
    lines.extend(block(interface));
    lines.push(END.to_owned());
    draft.write(PATH, format!("{}\n", lines.join("\n")));
    if interface.gateway(false).is_some() {
        draft.warn("dhcpcd takes no static IPv6 router: the default route comes from router advertisements");
    }
}

fn block(interface: &Interface) -> Vec<String> {
    let mut lines = vec![format!("interface {}", interface.name)];
    lines.extend(interface.v4().map(|net| format!("static ip_address={net}")));
    lines.extend(interface.v6().map(|net| format!("static ip6_address={net}")));
    lines.extend(interface.gateway(true).map(|gateway| format!("static routers={gateway}")));
    if !interface.dns.is_empty() {
        let servers: Vec<String> = interface.dns.iter().map(ToString::to_string).collect();
        lines.push(format!("static domain_name_servers={}", servers.join(" ")));
    }
    if !interface.search.is_empty() {
        lines.push(format!("static domain_search={}", interface.search.join(" ")));
    }
    lines
}
