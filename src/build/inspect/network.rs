//! How the system gets onto the net: who brings it up, which addresses are fixed, which radio networks it knows.
//!
//! The files of four programs are looked at, each read as far as these questions go: dhcpcd.conf(5) with
//! wpa_supplicant.conf(5), nm-settings-keyfile(5), interfaces(5), netplan's YAML. No pass phrase is read.

use serde::Serialize;

use super::boot::words;
use super::look::{Look, Unread};
use crate::build::facts::network_by;
use crate::plan::NetworkStack;

/// Told at most, of each.
const TOLD_MAX: usize = 64;

/// What is set up.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Network {
    /// `dhcpcd`, `NetworkManager`, `netplan`, `ifupdown`; `None` when none of them was found.
    pub stack: Option<&'static str>,
    /// Interfaces with addresses of their own.
    pub fixed: Vec<Fixed>,
    /// Radio networks by name.
    pub wifi: Vec<Wifi>,
    /// The country whose rules the radio keeps, as two letters.
    pub wifi_country: Option<String>,
}

/// Addresses that were written down.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Fixed {
    /// `eth0`; the name of the connection where it is for any.
    pub interface: String,
    /// With or without the length of their prefix, as the file has them.
    pub addresses: Vec<String>,
    /// Which file says so.
    pub file: String,
}

/// A radio network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Wifi {
    /// Its name (SSID).
    pub name: String,
    /// Which file says so.
    pub file: String,
}

/// What a file says.
#[derive(Debug, Default, PartialEq, Eq)]
struct Said {
    /// Interface and address, one at a time.
    addresses: Vec<(String, String)>,
    ssids: Vec<String>,
    country: Option<String>,
}

/// Reads what is set up. `command_line` is the kernel's.
pub(super) fn read(look: &Look<'_, '_>, command_line: &str) -> Result<Network, Unread> {
    let stack = match network_by(|path| look.exists(path))? {
        NetworkStack::Dhcpcd => Some("dhcpcd"),
        NetworkStack::NetworkManager => Some("NetworkManager"),
        NetworkStack::Netplan => Some("netplan"),
        NetworkStack::Unknown if look.exists("/sbin/ifup")? => Some("ifupdown"),
        NetworkStack::Unknown => None,
    };
    let mut network = Network { stack, ..Network::default() };
    let mut add = |path: String, parse: fn(&str) -> Said| {
        if let Some(text) = look.text(&path)? {
            network.add(path, parse(&text));
        }
        Ok::<(), Unread>(())
    };
    add("/etc/dhcpcd.conf".to_owned(), dhcpcd)?;
    add("/etc/wpa_supplicant/wpa_supplicant.conf".to_owned(), wpa_supplicant)?;
    add("/etc/network/interfaces".to_owned(), interfaces)?;
    for path in look.paths("/etc/network/interfaces.d", "")?.into_iter().take(TOLD_MAX) {
        add(path, interfaces)?;
    }
    for path in look.paths("/etc/NetworkManager/system-connections", "")?.into_iter().take(TOLD_MAX) {
        add(path, keyfile)?;
    }
    for path in look.paths("/etc/netplan", ".yaml")?.into_iter().take(TOLD_MAX) {
        add(path, netplan)?;
    }
    let by_kernel = words(command_line).find_map(|word| word.strip_prefix("cfg80211.ieee80211_regdom="));
    if let Some(country) = by_kernel {
        network.wifi_country = Some(country.to_owned());
    }
    Ok(network)
}

impl Network {
    fn add(&mut self, file: String, said: Said) {
        for (interface, address) in said.addresses.into_iter().take(TOLD_MAX) {
            match self.fixed.last_mut().filter(|last| last.file == file && last.interface == interface) {
                Some(last) => last.addresses.push(address),
                None => self.fixed.push(Fixed { interface, addresses: vec![address], file: file.clone() }),
            }
        }
        let names = said.ssids.into_iter().take(TOLD_MAX);
        self.wifi.extend(names.map(|name| Wifi { name, file: file.clone() }));
        self.wifi_country = self.wifi_country.take().or(said.country);
    }
}

/// Lines without comments and blanks, trimmed.
fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'))
}

fn unquoted(text: &str) -> String {
    let text = text.trim();
    let quoted = |mark: char| text.strip_prefix(mark)?.strip_suffix(mark);
    quoted('"').or_else(|| quoted('\'')).unwrap_or(text).to_owned()
}

fn dhcpcd(text: &str) -> Said {
    let mut said = Said::default();
    let mut interface = "every interface";
    for line in lines(text) {
        if let Some(name) = line.strip_prefix("interface ") {
            interface = name.trim();
        }
        let fixed =
            line.strip_prefix("static ip_address=").or_else(|| line.strip_prefix("static ip6_address="));
        said.addresses.extend(fixed.map(|address| (interface.to_owned(), address.trim().to_owned())));
    }
    said
}

fn wpa_supplicant(text: &str) -> Said {
    let mut said = Said::default();
    for line in lines(text) {
        match line.split_once('=') {
            Some(("ssid", name)) => said.ssids.push(unquoted(name)),
            Some(("country", code)) => said.country = Some(unquoted(code)),
            _ => {}
        }
    }
    said
}

fn interfaces(text: &str) -> Said {
    let mut said = Said::default();
    let mut interface = None;
    for line in lines(text) {
        match line.split_ascii_whitespace().collect::<Vec<_>>()[..] {
            ["iface", name, _, "static"] => interface = Some(name),
            ["iface" | "auto" | "mapping" | "source" | "source-directory", ..] => interface = None,
            ["address", address] => {
                said.addresses.extend(interface.map(|name| (name.to_owned(), address.to_owned())));
            }
            ["wpa-ssid", ..] => said.ssids.extend(line.split_once(' ').map(|(_, name)| unquoted(name))),
            _ => {}
        }
    }
    said
}

fn keyfile(text: &str) -> Said {
    let mut said = Said::default();
    let (mut section, mut interface, mut id) = ("", None, None);
    let mut addresses = Vec::new();
    for line in lines(text) {
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            section = name;
        }
        let Some((key, value)) = line.split_once('=') else { continue };
        match (section, key.trim()) {
            ("connection", "interface-name") => interface = Some(value.trim()),
            ("connection", "id") => id = Some(value.trim()),
            ("wifi" | "802-11-wireless", "ssid") => said.ssids.push(ssid(value.trim())),
            // `address1=192.0.2.21/24,192.0.2.1`: a gateway may follow.
            ("ipv4" | "ipv6", key) if is_numbered(key, "address") => {
                addresses.extend(value.split(',').next().map(str::trim).map(str::to_owned));
            }
            _ => {}
        }
    }
    let name = interface.or(id).unwrap_or("every interface");
    said.addresses = addresses.into_iter().map(|address| (name.to_owned(), address)).collect();
    said
}

fn is_numbered(key: &str, prefix: &str) -> bool {
    key.strip_prefix(prefix).is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))
}

/// A name that is no plain text stands there as its bytes: `101;120;`.
fn ssid(value: &str) -> String {
    let bytes: Option<Vec<u8>> = value
        .strip_suffix(';')
        .map(|list| list.split(';').map(|byte| byte.parse().ok()).collect())
        .unwrap_or(None);
    bytes.map_or_else(|| value.to_owned(), |bytes| String::from_utf8_lossy(&bytes).into_owned())
}

/// netplan's YAML, and cloud-init's network-config: the keys by how far they are set in.
fn netplan(text: &str) -> Said {
    let mut said = Said::default();
    // How far each key on the way here is set in, and the key.
    let mut way: Vec<(usize, String)> = Vec::new();
    for line in text.lines() {
        let line = line.split(" #").next().unwrap_or_default().trim_end();
        let inner = line.trim_start();
        if inner.is_empty() || inner.starts_with('#') {
            continue;
        }
        let indent = line.len() - inner.len();
        if let Some(item) = inner.strip_prefix("- ") {
            // The items of a list may stand as far out as its key.
            while way.last().is_some_and(|(at, _)| *at > indent) {
                way.pop();
            }
            if let Some(interface) = addresses_of(&way) {
                said.addresses.push((interface.to_owned(), unquoted(item.trim_end_matches(':'))));
            }
            continue;
        }
        while way.last().is_some_and(|(at, _)| *at >= indent) {
            way.pop();
        }
        let Some((key, value)) = key_and_value(inner) else { continue };
        if way.last().is_some_and(|(_, above)| above == "access-points") {
            said.ssids.push(key.clone());
        }
        if key == "regulatory-domain" {
            said.country = Some(unquoted(value));
        }
        way.push((indent, key));
        let list = value.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        if let (Some(interface), Some(list)) = (addresses_of(&way), list) {
            let items = list.split(',').map(unquoted).filter(|item| !item.is_empty());
            said.addresses.extend(items.map(|item| (interface.to_owned(), item)));
        }
    }
    said
}

/// The interface, when the way leads to its own addresses and not to those of its name servers.
fn addresses_of(way: &[(usize, String)]) -> Option<&str> {
    match way {
        [.., (_, above), (_, interface), (_, key)]
            if key == "addresses"
                && matches!(above.as_str(), "ethernets" | "wifis" | "bridges" | "bonds" | "vlans") =>
        {
            Some(interface)
        }
        _ => None,
    }
}

/// `key: value`; the key may be quoted, and have colons in it then.
pub(super) fn key_and_value(line: &str) -> Option<(String, &str)> {
    let mark = line.chars().next().filter(|mark| matches!(mark, '"' | '\''));
    if let Some(mark) = mark {
        let (key, rest) = line.strip_prefix(mark)?.split_once(mark)?;
        return Some((key.to_owned(), rest.trim_start().strip_prefix(':')?.trim()));
    }
    let (key, value) = line.split_once(':')?;
    Some((key.trim().to_owned(), value.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(said: &Said) -> Vec<(&str, &str)> {
        said.addresses.iter().map(|(interface, address)| (interface.as_str(), address.as_str())).collect()
    }

    #[test]
    fn dhcpcd_names_addresses_below_their_interface() {
        let said = dhcpcd(
            "hostname\n#interface eth0\n#static ip_address=10.0.0.1/8\ninterface eth0\nstatic ip_address=192.0.2.21/24\n\
             static routers=192.0.2.1\nstatic ip6_address=2001:db8::21/64\n",
        );
        assert_eq!(pairs(&said), [("eth0", "192.0.2.21/24"), ("eth0", "2001:db8::21/64")]);
    }

    #[test]
    fn wpa_supplicant_names_nets_and_country_and_no_secret() {
        let said = wpa_supplicant("country=GB\nnetwork={\n\tssid=\"my net\"\n\tpsk=\"secret phrase\"\n}\n");
        assert_eq!((said.ssids, said.country), (vec!["my net".to_owned()], Some("GB".to_owned())));
    }

    #[test]
    fn interfaces_tell_what_is_static() {
        let said =
            interfaces("auto eth0\niface eth0 inet static\n  address 192.0.2.3/24\niface eth1 inet dhcp\n");
        assert_eq!(pairs(&said), [("eth0", "192.0.2.3/24")]);
    }

    #[test]
    fn a_keyfile_tells_addresses_and_the_net() {
        let said = keyfile(
            "[connection]\nid=wired\ninterface-name=eth0\n[ipv4]\nmethod=manual\naddress1=192.0.2.21/24,192.0.2.1\n\
             dns=192.0.2.53;\n[ipv6]\naddress1=2001:db8::21/64\naddr-gen-mode=default\n[wifi]\nssid=101;120;\n",
        );
        assert_eq!(pairs(&said), [("eth0", "192.0.2.21/24"), ("eth0", "2001:db8::21/64")]);
        assert_eq!(said.ssids, ["ex"]);
        assert_eq!(keyfile("[wifi]\nssid=a;b\n").ssids, ["a;b"]);
    }

    #[test]
    fn netplan_tells_its_own_addresses_and_not_those_of_name_servers() {
        let text = "network:\n  version: 2\n  ethernets:\n    eth0:\n      addresses: [\"192.0.2.21/24\", '2001:db8::21/64']\n\
                    \x20     nameservers:\n        addresses: [192.0.2.53]\n      routes:\n        - to: default\n          via: 192.0.2.1\n\
                    \x20 wifis:\n    wlan0:\n      addresses:\n      - 192.0.2.22/24\n      regulatory-domain: \"GB\"\n      access-points:\n\
                    \x20       \"a: net\":\n          password: \"secret\"\n        plain:\n          hidden: true\n";
        let said = netplan(text);
        let wanted = [("eth0", "192.0.2.21/24"), ("eth0", "2001:db8::21/64"), ("wlan0", "192.0.2.22/24")];
        assert_eq!(pairs(&said), wanted);
        assert_eq!(
            (said.ssids, said.country),
            (vec!["a: net".to_owned(), "plain".to_owned()], Some("GB".to_owned()))
        );
        assert_eq!(netplan("# all of it\n#  wifis:\n"), Said::default());
    }
}
