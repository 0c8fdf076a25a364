//! `[wifi]`: the net, its key as a hash, the country, and the radio unblocked.
//!
//! A passphrase is never stored: WPA2's pre-shared key is PBKDF2-HMAC-SHA1(passphrase, SSID, 4096, 32 bytes)
//! (IEEE 802.11-2016 annex J.4), and all three stacks take it as 64 hex digits. The country goes to cmdline.txt
//! in [`super::cmdline`].

use hmac::Hmac;
use sha1::Sha1;

use super::draft::Draft;
use super::hosts::{BEGIN, END, without_fence};
use super::known::{self, Unknown};
use super::network::{Interface, LOOKED_FOR, keyfile, netplan};
use super::{Context, Problem};
use crate::base::{Secret, hex};
use crate::plan::{Content, NetworkStack, Owner, Wifi, WifiKey};

const WPA: &str = "/etc/wpa_supplicant/wpa_supplicant.conf";
const NM_STATE: &str = "/var/lib/NetworkManager/NetworkManager.state";
const RFKILL: &str = "/var/lib/systemd/rfkill";

pub(super) fn apply(context: &Context, draft: &mut Draft) {
    let Some(wifi) = &context.settings().wifi else { return };
    if !(1..=32).contains(&wifi.ssid.len()) || wifi.ssid.contains(['\0', '\n']) {
        let value = wifi.ssid.escape_debug().to_string();
        draft.fault(Problem::BadValue { value, place: "wifi.ssid", why: "a net's name has 1 to 32 bytes" });
        return;
    }
    if let Some(Unknown { name, nearest }) = known::unknown_country(&wifi.country, draft) {
        draft.fault(Problem::Missing { what: "country", name, nearest });
        return;
    }
    let psk = wifi.passphrase.as_ref().map(|key| psk(key, &wifi.ssid));
    let psk = psk.as_ref().map(|psk| psk.expose().as_str());
    let mut interface = Interface::new("wlan0", &wifi.addresses, context);
    if !context.node.addresses.is_empty() {
        // The wired interface has the default route and the name servers.
        interface.gateways.clear();
        interface.dns.clear();
        interface.search.clear();
    }
    match context.facts.network {
        NetworkStack::Dhcpcd => {
            supplicant(wifi, psk, draft);
            if !interface.addresses.is_empty() {
                super::network::dhcpcd::write(&interface, draft);
            }
        }
        NetworkStack::NetworkManager => keyfile::write_wifi(&interface, wifi, psk, context, draft),
        NetworkStack::Netplan => {
            let wired = [Interface::wired(context)];
            let wired = if wired[0].is_plain_dhcp() { &[] } else { &wired[..] };
            netplan::write(wired, Some((&interface, wifi, psk)), draft);
        }
        NetworkStack::Unknown => draft.fault(Problem::NoNetworkStack { looked_for: LOOKED_FOR }),
    }
    unblock(draft);
}

fn psk(key: &WifiKey, ssid: &str) -> Secret<String> {
    match key {
        WifiKey::Psk(hex) => Secret::new(hex.expose().to_ascii_lowercase()),
        WifiKey::Passphrase(passphrase) => {
            let mut bytes = [0; 32];
            // Fails only for a MAC that takes no key of this length; HMAC takes any.
            let done = pbkdf2::pbkdf2::<Hmac<Sha1>>(
                passphrase.expose().as_bytes(),
                ssid.as_bytes(),
                4096,
                &mut bytes,
            );
            debug_assert!(done.is_ok());
            Secret::new(hex(&bytes))
        }
    }
}

/// `country=` replaced or added at the top, the net at the end (wpa_supplicant.conf(5)).
fn supplicant(wifi: &Wifi, psk: Option<&str>, draft: &mut Draft) {
    let shipped = "ctrl_interface=DIR=/var/run/wpa_supplicant GROUP=netdev\nupdate_config=1\n";
    let before = without_fence(&draft.text(WPA).unwrap_or_else(|| shipped.to_owned()));
    let mut lines: Vec<String> = Vec::new();
    let mut depth = 0_usize;
    let mut settings_end = 0;
    for line in before.lines() {
        let word = line.trim();
        if depth == 0 && word.starts_with("country=") {
            continue;
        }
        if word.ends_with("={") {
            depth += 1;
        } else if word == "}" {
            depth = depth.saturating_sub(1);
        } else if depth == 0 && lines.len() == settings_end && !word.is_empty() {
            settings_end = lines.len() + 1;
        }
        lines.push(line.to_owned());
    }
    lines.insert(settings_end.min(lines.len()), format!("country={}", wifi.country));
    // An unquoted SSID is hex digits: every byte can be said so.
    let plain = wifi.ssid.chars().all(|c| (c.is_ascii_graphic() || c == ' ') && c != '"' && c != '\\');
    let ssid = if plain { format!("\"{}\"", wifi.ssid) } else { hex(wifi.ssid.as_bytes()) };
    lines.push(BEGIN.to_owned());
    lines.push(String::from("network={"));
    lines.push(format!("\tssid={ssid}"));
    if wifi.hidden {
        lines.push(String::from("\tscan_ssid=1"));
    }
    match psk {
        Some(psk) => lines.extend([format!("\tpsk={psk}"), String::from("\tkey_mgmt=WPA-PSK")]),
        None => lines.push(String::from("\tkey_mgmt=NONE")),
    }
    lines.extend(["}", END].map(str::to_owned));
    let text = format!("{}\n", lines.join("\n"));
    draft.write_with(WPA, Content::secret(text), Some(0o600), Some(Owner::ROOT));
}

/// Images ship with the radio off until somebody sets a country; by rfkill's saved state until mid-2024, by
/// NetworkManager's state file since (pi-gen stage2/02-net-tweaks).
fn unblock(draft: &mut Draft) {
    for name in draft.names(RFKILL) {
        if name.ends_with(":wlan") {
            draft.write(&format!("{RFKILL}/{name}"), "0\n");
        }
    }
    let Some(text) = draft.text(NM_STATE) else { return };
    let line = |line: &str| match line.trim().starts_with("WirelessEnabled=") {
        true => String::from("WirelessEnabled=true\n"),
        false => format!("{line}\n"),
    };
    let edited: String = text.lines().map(line).collect();
    draft.write(NM_STATE, edited);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_is_what_the_standard_says() {
        // IEEE 802.11-2016 annex J.4.2, test vector 1.
        let key = WifiKey::Passphrase(Secret::new(String::from("password")));
        assert_eq!(
            psk(&key, "IEEE").expose(),
            "f42c6fc52df0ebef9ebb4b90b38a5f902e83fe1b135a70e23aed762e9710a12e"
        );
    }
}
