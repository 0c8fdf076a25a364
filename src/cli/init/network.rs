//! The network of this machine, to propose it: nothing is asked of any other program, and no packet is sent.

use std::net::{Ipv4Addr, UdpSocket};

use ipnet::Ipv4Net;

/// Where this machine is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Network {
    pub(super) subnet: Ipv4Net,
    pub(super) gateway: Ipv4Addr,
}

/// The network that leads to the others, where the system tells in a file; that is Linux.
pub(super) fn of_this_machine() -> Option<Network> {
    default_route(&std::fs::read_to_string("/proc/net/route").ok()?)
}

/// Its own address there. Connecting a UDP socket chooses a route, and sends nothing.
pub(super) fn own_address(gateway: Ipv4Addr) -> Option<Ipv4Addr> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    socket.connect((gateway, 9)).ok()?;
    match socket.local_addr().ok()?.ip() {
        std::net::IpAddr::V4(address) => Some(address),
        std::net::IpAddr::V6(_) => None,
    }
}

/// A line of /proc/net/route (Linux net/ipv4/fib_trie.c, `fib_route_seq_show`): addresses as the processor has them.
struct Route<'r> {
    interface: &'r str,
    destination: Ipv4Addr,
    gateway: Ipv4Addr,
    mask: Ipv4Addr,
}

fn routes(text: &str) -> impl Iterator<Item = Route<'_>> {
    text.lines().skip(1).filter_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let address = |index: usize| {
            let number = u32::from_str_radix(fields.get(index)?, 16).ok()?;
            Some(Ipv4Addr::from(number.to_ne_bytes()))
        };
        Some(Route {
            interface: fields.first().copied()?,
            destination: address(1)?,
            gateway: address(2)?,
            mask: address(7)?,
        })
    })
}

/// The first default route with a gateway, and the subnet on its interface that holds the gateway.
fn default_route(text: &str) -> Option<Network> {
    let default = routes(text).find(|route| {
        route.destination.is_unspecified() && route.mask.is_unspecified() && !route.gateway.is_unspecified()
    })?;
    let subnets = routes(text).filter(|route| {
        route.interface == default.interface && route.gateway.is_unspecified() && !route.mask.is_unspecified()
    });
    let subnet = subnets
        .filter_map(|route| Ipv4Net::with_netmask(route.destination, route.mask).ok())
        .find(|subnet| subnet.contains(&default.gateway) && subnet.prefix_len() <= 30)?;
    Some(Network { subnet: subnet.trunc(), gateway: default.gateway })
}

/// A network as an option or an answer names it.
pub(super) fn subnet(text: &str) -> Result<Ipv4Net, String> {
    text.parse::<Ipv4Net>()
        .map(|net| net.trunc())
        .map_err(|_| format!("found `{text}`, wanted a network such as `192.168.1.0/24`"))
}

/// The first of `count` addresses in a row: from .200 on where there is room, else in the upper half; none of them is
/// taken. All in one run of 256, as a range of a profile is.
pub(super) fn free_range(subnet: Ipv4Net, count: u32, taken: &[Ipv4Addr]) -> Option<Ipv4Addr> {
    let (first, last) =
        (u32::from(subnet.network()).checked_add(1)?, u32::from(subnet.broadcast()).checked_sub(1)?);
    // In a large network: the first 256.
    let last = last.min((first | 0xff) - 1);
    let room = last.checked_sub(first)?;
    let usual = first + if room >= 200 { 199 } else { room / 2 };
    let fits = |start: &u32| {
        let Some(end) = start.checked_add(count.saturating_sub(1)) else { return false };
        *start >= first
            && end <= last
            && !taken.iter().any(|address| (*start..=end).contains(&u32::from(*address)))
    };
    // Upwards, then down from there.
    (usual..=last).find(fits).or_else(|| (first..usual).rev().find(fits)).map(Ipv4Addr::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A line as this processor would be shown it.
    fn line(interface: &str, [destination, gateway, mask]: [&str; 3]) -> String {
        let hex =
            |text: &str| format!("{:08X}", u32::from_ne_bytes(text.parse::<Ipv4Addr>().unwrap().octets()));
        format!(
            "{interface}\t{}\t{}\t0003\t0\t0\t100\t{}\t0\t0\t0\n",
            hex(destination),
            hex(gateway),
            hex(mask)
        )
    }

    #[test]
    fn the_subnet_is_that_of_the_interface_with_the_default_route() {
        let none = "0.0.0.0";
        let text = String::from(
            "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n",
        ) + &line("docker0", ["172.17.0.0", none, "255.255.0.0"])
            + &line("wlan0", [none, "10.1.2.254", none])
            + &line("wlan0", ["10.1.2.0", none, "255.255.255.0"]);
        let found = default_route(&text).unwrap();
        assert_eq!(
            (found.subnet.to_string().as_str(), found.gateway),
            ("10.1.2.0/24", Ipv4Addr::new(10, 1, 2, 254))
        );
        assert_eq!(default_route(""), None);
        assert_eq!(default_route("Iface\nwlan0\t0000\n"), None);
        // A gateway that no subnet of its interface holds, as with a tunnel.
        assert_eq!(default_route(&("x\n".to_owned() + &line("tun0", [none, "10.1.2.254", none]))), None);
    }

    #[test]
    fn a_range_avoids_what_is_taken_and_stays_in_the_subnet() {
        let range = |subnet: &str, count, taken: &[&str]| {
            let taken: Vec<Ipv4Addr> = taken.iter().map(|text| text.parse().unwrap()).collect();
            free_range(subnet.parse().unwrap(), count, &taken).map(|first| first.to_string())
        };
        assert_eq!(range("192.168.1.0/24", 8, &["192.168.1.1"]).as_deref(), Some("192.168.1.200"));
        assert_eq!(range("192.168.1.0/24", 8, &["192.168.1.203"]).as_deref(), Some("192.168.1.204"));
        assert_eq!(range("192.168.1.0/24", 100, &["192.168.1.1"]).as_deref(), Some("192.168.1.155"));
        assert_eq!(range("192.168.1.0/28", 4, &["192.168.1.1"]).as_deref(), Some("192.168.1.7"));
        assert_eq!(range("10.0.0.0/8", 4, &["10.0.0.1"]).as_deref(), Some("10.0.0.200"));
        assert_eq!(range("192.168.1.0/24", 254, &["192.168.1.1"]), None);
        assert_eq!(range("192.168.1.0/24", 253, &["192.168.1.1"]).as_deref(), Some("192.168.1.2"));
        for none in ["0.0.0.0/32", "192.168.1.5/32", "192.168.1.4/31", "255.255.255.254/31"] {
            assert_eq!(range(none, 1, &[]), None);
        }
        assert_eq!(range("192.168.1.4/30", 1, &["192.168.1.5"]).as_deref(), Some("192.168.1.6"));
    }
}
