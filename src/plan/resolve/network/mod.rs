//! Static addresses, gateways and name servers, in the form that the image's own stack reads.
//!
//! DHCP is what every stack does by itself, so a node without address gets a file only when it sets name servers
//! or search domains of its own; the cluster's are for nodes with static addresses.

pub(super) mod dhcpcd;
pub(super) mod keyfile;
pub(super) mod netplan;

use std::net::IpAddr;

use ipnet::IpNet;

use super::draft::Draft;
use super::{Context, Problem};
use crate::plan::NetworkStack;

/// What `build::facts` looks for, said when nothing was found.
pub(super) const LOOKED_FOR: &str = "/etc/dhcpcd.conf, /usr/sbin/NetworkManager, /usr/sbin/netplan";

/// One interface as every stack must be told.
pub(super) struct Interface {
    pub(super) name: String,
    /// Empty: DHCP.
    pub(super) addresses: Vec<IpNet>,
    pub(super) gateways: Vec<IpAddr>,
    pub(super) dns: Vec<IpAddr>,
    pub(super) search: Vec<String>,
}

impl Interface {
    /// Gateways, name servers and domains belong to the interface with the static address; the wired one first.
    pub(super) fn new(name: &str, addresses: &[IpNet], context: &Context) -> Self {
        let own = &context.settings().network;
        let cluster = context.cluster;
        let is_static = !addresses.is_empty();
        let or = |own: &[IpAddr], cluster: &[IpAddr]| match own {
            [] if is_static => cluster.to_vec(),
            own => own.to_vec(),
        };
        let reachable =
            |gateway: &IpAddr| addresses.iter().any(|net| net.addr().is_ipv4() == gateway.is_ipv4());
        let gateways = or(&own.gateways, &cluster.gateways).into_iter().filter(reachable).collect();
        let search = match own.search.as_slice() {
            [] if is_static => cluster.domain.iter().cloned().collect(),
            own => own.to_vec(),
        };
        Self {
            name: name.to_owned(),
            addresses: addresses.to_vec(),
            gateways,
            dns: or(&own.dns, &cluster.dns),
            search,
        }
    }

    pub(super) fn wired(context: &Context) -> Self {
        let name = context.settings().network.interface.as_deref().unwrap_or("eth0");
        Self::new(name, &context.node.addresses, context)
    }

    /// Would DHCP alone do the same?
    pub(super) fn is_plain_dhcp(&self) -> bool {
        self.addresses.is_empty() && self.dns.is_empty() && self.search.is_empty()
    }

    pub(super) fn v4(&self) -> Option<&IpNet> {
        self.addresses.iter().find(|net| net.addr().is_ipv4())
    }

    pub(super) fn v6(&self) -> Option<&IpNet> {
        self.addresses.iter().find(|net| net.addr().is_ipv6())
    }

    pub(super) fn gateway(&self, v4: bool) -> Option<IpAddr> {
        self.gateways.iter().copied().find(|gateway| gateway.is_ipv4() == v4)
    }

    pub(super) fn dns(&self, v4: bool) -> impl Iterator<Item = &IpAddr> {
        self.dns.iter().filter(move |server| server.is_ipv4() == v4)
    }
}

pub(super) fn apply(context: &Context, draft: &mut Draft) {
    let interface = Interface::wired(context);
    if interface.is_plain_dhcp() {
        return;
    }
    let name = interface.name.as_str();
    // IFNAMSIZ of the kernel, less the NUL; and nothing that means something in any of the three formats.
    let sound = (1..=15).contains(&name.len())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
    if !sound {
        let why = "an interface has 1 to 15 letters, digits, `-`, `_` or `.`";
        draft.fault(Problem::BadValue { value: name.escape_debug().to_string(), place: "interface", why });
        return;
    }
    match context.facts.network {
        NetworkStack::Dhcpcd => dhcpcd::write(&interface, draft),
        NetworkStack::NetworkManager => keyfile::write_wired(&interface, context, draft),
        NetworkStack::Netplan => netplan::write(&[interface], None, draft),
        NetworkStack::Unknown => draft.fault(Problem::NoNetworkStack { looked_for: LOOKED_FOR }),
    }
}
