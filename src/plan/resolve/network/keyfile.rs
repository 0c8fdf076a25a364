//! NetworkManager profiles: `/etc/NetworkManager/system-connections/*.nmconnection`, 0600 root:root
//! (nm-settings-keyfile(5)). Looser modes are ignored by NetworkManager, so is another owner.

use super::Interface;
use crate::plan::resolve::Context;
use crate::plan::resolve::draft::Draft;
use crate::plan::{Content, Owner, Wifi};

const DIR: &str = "/etc/NetworkManager/system-connections";

pub(in crate::plan::resolve) fn write_wired(interface: &Interface, context: &Context, draft: &mut Draft) {
    let mut text = connection(interface, "ethernet", context);
    text.push_str(&ip(interface));
    place(interface, Content::text(text), draft);
}

/// `psk` is 64 hex digits; `None` is an open net.
pub(in crate::plan::resolve) fn write_wifi(
    interface: &Interface,
    wifi: &Wifi,
    psk: Option<&str>,
    context: &Context,
    draft: &mut Draft,
) {
    let mut text = connection(interface, "wifi", context);
    text.push_str(&format!("\n[wifi]\nmode=infrastructure\nssid={}\n", ssid(&wifi.ssid)));
    if wifi.hidden {
        text.push_str("hidden=true\n");
    }
    if let Some(psk) = psk {
        text.push_str(&format!("\n[wifi-security]\nkey-mgmt=wpa-psk\npsk={psk}\n"));
    }
    text.push_str(&ip(interface));
    let content = if psk.is_some() { Content::secret(text) } else { Content::text(text) };
    place(interface, content, draft);
}

fn place(interface: &Interface, content: Content, draft: &mut Draft) {
    if !draft.is_directory(DIR) {
        draft.make_directory(DIR, 0o700, Owner::ROOT);
    }
    let path = format!("{DIR}/cardpress-{}.nmconnection", interface.name);
    draft.write_with(&path, content, Some(0o600), Some(Owner::ROOT));
}

fn connection(interface: &Interface, kind: &str, context: &Context) -> String {
    let name = &interface.name;
    let uuid = context.seed.derive_uuid(&format!("connection {} {name}", context.node.name));
    // Before any profile that was there already, such as Imager's `preconfigured`.
    format!(
        "[connection]\nid=cardpress-{name}\nuuid={uuid}\ntype={kind}\ninterface-name={name}\nautoconnect-priority=10\n"
    )
}

fn ip(interface: &Interface) -> String {
    let family = |v4: bool, heading: &str| {
        let mut text = format!("\n[{heading}]\n");
        match if v4 { interface.v4() } else { interface.v6() } {
            Some(net) => {
                text.push_str(&format!("method=manual\naddress1={net}\n"));
                if let Some(gateway) = interface.gateway(v4) {
                    text.push_str(&format!("gateway={gateway}\n"));
                }
            }
            None => text.push_str("method=auto\n"),
        }
        let servers: String = interface.dns(v4).map(|server| format!("{server};")).collect();
        if !servers.is_empty() {
            text.push_str(&format!("dns={servers}\n"));
            if interface.addresses.is_empty() {
                text.push_str("ignore-auto-dns=true\n");
            }
        }
        let search: String = interface.search.iter().map(|domain| format!("{domain};")).collect();
        if !search.is_empty() {
            text.push_str(&format!("dns-search={search}\n"));
        }
        if !v4 {
            text.push_str("addr-gen-mode=default\n");
        }
        text
    };
    format!("{}{}\n[proxy]\n", family(true, "ipv4"), family(false, "ipv6"))
}

/// Plain where that cannot be misread, else the list of byte values that the format allows for any SSID.
fn ssid(ssid: &str) -> String {
    let plain = |c: char| c.is_ascii_graphic() && !";\\\"'".contains(c);
    let inner = |c: char| plain(c) || c == ' ';
    // A text of digits and `;` alone would be read as such a list; leading and trailing blanks would be cut.
    let sound = ssid.chars().all(inner) && ssid.starts_with(plain) && ssid.ends_with(plain);
    if sound { ssid.to_owned() } else { ssid.bytes().map(|byte| format!("{byte};")).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ssid_that_could_be_misread_is_written_as_bytes() {
        assert_eq!(ssid("My Net-5"), "My Net-5");
        assert_eq!(ssid("a;b"), "97;59;98;");
        assert_eq!(ssid(" x"), "32;120;");
        assert_eq!(ssid("é"), "195;169;");
    }
}
