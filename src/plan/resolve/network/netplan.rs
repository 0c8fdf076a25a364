//! netplan's YAML (`/etc/netplan/90-cardpress.yaml`, 0600), for images where netplan is the only word.
//!
//! Written by hand: every value is either checked to be harmless or a double-quoted scalar (YAML 1.2 §7.3.1).

use super::Interface;
use crate::plan::resolve::draft::Draft;
use crate::plan::{Content, Owner, Wifi};

const PATH: &str = "/etc/netplan/90-cardpress.yaml";

/// The whole file: wired interfaces, and the wireless one with its net and key.
pub(in crate::plan::resolve) fn write(
    wired: &[Interface],
    wireless: Option<(&Interface, &Wifi, Option<&str>)>,
    draft: &mut Draft,
) {
    let mut text = String::from("network:\n  version: 2\n");
    if !wired.is_empty() {
        text.push_str("  ethernets:\n");
        wired.iter().for_each(|interface| text.push_str(&block(interface)));
    }
    let mut secret = false;
    if let Some((interface, wifi, psk)) = wireless {
        secret = psk.is_some();
        text.push_str("  wifis:\n");
        text.push_str(&block(interface));
        text.push_str(&format!("      regulatory-domain: {}\n", quoted(&wifi.country)));
        text.push_str(&format!("      access-points:\n        {}:\n", quoted(&wifi.ssid)));
        if wifi.hidden {
            text.push_str("          hidden: true\n");
        }
        match psk {
            Some(psk) => text.push_str(&format!("          password: {}\n", quoted(psk))),
            None => text.push_str("          auth:\n            key-management: none\n"),
        }
    }
    let content = if secret { Content::secret(text) } else { Content::text(text) };
    draft.write_with(PATH, content, Some(0o600), Some(Owner::ROOT));
}

fn block(interface: &Interface) -> String {
    let mut text = format!("    {}:\n", interface.name);
    let dhcp = interface.addresses.is_empty();
    text.push_str(&format!("      dhcp4: {dhcp}\n"));
    if !dhcp {
        text.push_str("      dhcp6: false\n");
        text.push_str(&format!("      addresses: [{}]\n", list(&interface.addresses)));
    }
    if !interface.gateways.is_empty() {
        text.push_str("      routes:\n");
        for gateway in &interface.gateways {
            text.push_str(&format!(
                "        - to: default\n          via: {}\n",
                quoted(&gateway.to_string())
            ));
        }
    }
    if !interface.dns.is_empty() || !interface.search.is_empty() {
        text.push_str("      nameservers:\n");
        text.push_str(&format!("        addresses: [{}]\n", list(&interface.dns)));
        text.push_str(&format!("        search: [{}]\n", list(&interface.search)));
    }
    if dhcp && !interface.dns.is_empty() {
        text.push_str("      dhcp4-overrides:\n        use-dns: false\n");
    }
    text.push_str("      optional: true\n");
    text
}

fn list<T: ToString>(values: &[T]) -> String {
    values.iter().map(|value| quoted(&value.to_string())).collect::<Vec<_>>().join(", ")
}

fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            c if c.is_control() => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}
