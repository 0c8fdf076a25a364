//! The network of a layer: the wired interface, `[wifi]`, `[[hosts]]`, and addresses as they are written.

use std::net::IpAddr;

use ipnet::IpNet;

use super::super::cluster::{HostsLine, WifiKey};
use super::account::{secret_table, secret_text};
use super::layer::{Layer, WifiLayer, words};
use super::range::Pattern;
use super::reader::{Fields, Reader};
use super::value::{At, Kind, Value};
use super::word::{self, Wrong};
use crate::base::Secret;

/// `address`: none of them is `dhcp`.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct AddressWords {
    pub(super) words: Vec<At<Pattern>>,
}

/// The settings of the wired interface, `wifi` and `hosts`.
pub(super) fn read(reader: &mut Reader<'_>, fields: &mut Fields<'_>, layer: &mut Layer) {
    layer.interface = fields.get("interface").and_then(|value| reader.word(value, word::interface));
    layer.gateways = fields.get("gateway").map(|value| one_per_family(reader, value, word::address, is_v4));
    layer.dns = words(reader, fields.get("dns"), word::address);
    layer.search = words(reader, fields.get("search"), word::domain);
    layer.wifi = fields.get("wifi").and_then(|value| wifi(reader, value));
    if let Some(value) = fields.get("hosts") {
        layer.hosts = reader.list(value, hosts_line);
    }
}

fn is_v4(address: &IpAddr) -> bool {
    address.is_ipv4()
}

pub(super) fn is_v4_net(net: &IpNet) -> bool {
    net.addr().is_ipv4()
}

/// One word, or a list with at most one for IPv4 and one for IPv6.
pub(super) fn one_per_family<T>(
    reader: &mut Reader<'_>,
    value: &Value,
    read: fn(&str) -> Result<T, Wrong>,
    is_v4: fn(&T) -> bool,
) -> Vec<At<T>> {
    let found = reader.one_or_many(value, |reader, item| reader.word(item, read));
    second_of_family(reader, &found, is_v4);
    found
}

fn second_of_family<T>(reader: &mut Reader<'_>, found: &[At<T>], is_v4: fn(&T) -> bool) {
    for v4 in [true, false] {
        let family = if v4 { "IPv4" } else { "IPv6" };
        if let Some(second) = found.iter().filter(|item| is_v4(&item.value) == v4).nth(1) {
            reader.fault(&second.place, format!("found a second one for {family}, wanted one at most"));
        }
    }
}

/// `"dhcp"`, an address, a CIDR, a range of them, or a list of one for each family.
pub(super) fn address_words(reader: &mut Reader<'_>, value: &Value) -> Option<AddressWords> {
    if matches!(&value.kind, Kind::Text(text) if text == "dhcp") {
        return Some(AddressWords { words: Vec::new() });
    }
    let words = reader.one_or_many(value, |reader, item| {
        let word = reader.word(item, Pattern::parse)?;
        // Every word of a range is checked with the node it is for; the first one shows the shape.
        reader.judge(&word.place, written_address(&word.value.word(0)))?;
        Some(word)
    });
    second_of_family(
        reader,
        &words,
        |word| matches!(written_address(&word.word(0)), Ok((ip, _)) if ip.is_ipv4()),
    );
    Some(AddressWords { words })
}

/// An address with its prefix, if it has one.
pub(super) fn written_address(text: &str) -> Result<(IpAddr, Option<u8>), Wrong> {
    if let Ok(net) = text.parse::<IpNet>() {
        return Ok((net.addr(), Some(net.prefix_len())));
    }
    let wanted = "an IP address, one with prefix, or `dhcp`";
    text.parse().map(|address| (address, None)).map_err(|_| Wrong::found(text, wanted))
}

fn wifi(reader: &mut Reader<'_>, value: &Value) -> Option<At<WifiLayer>> {
    let mut fields = reader.table(value)?;
    // A bad word is noted; what stands in for it keeps it from being missed as well.
    let stand_in = |value: &Value| At { value: String::new(), place: value.place.clone() };
    let mut wifi = WifiLayer {
        ssid: fields.get("ssid").map(|value| reader.word(value, word::ssid).unwrap_or(stand_in(value))),
        hidden: fields.get("hidden").and_then(|value| reader.flag(value)),
        country: fields
            .get("country")
            .map(|value| reader.word(value, word::country).unwrap_or(stand_in(value))),
        address: fields.get("address").and_then(|value| address_words(reader, value)),
        key: None,
    };
    let passphrase = fields.entry("passphrase");
    let psk = fields.entry("psk");
    if let (Some(_), Some(psk)) = (passphrase, psk) {
        reader.fault(&psk.key.place, "found both `passphrase` and `psk` in `wifi`, wanted one of them");
    }
    let passphrase = passphrase.and_then(|entry| wifi_key(reader, &entry.value, false));
    let psk = psk.and_then(|entry| wifi_key(reader, &entry.value, true));
    wifi.key = passphrase.or(psk);
    fields.finish(reader);
    Some(At { value: wifi, place: value.place.clone() })
}

fn wifi_key(reader: &mut Reader<'_>, value: &Value, psk: bool) -> Option<At<WifiKey>> {
    let mut fields = secret_table(reader, value, "a secret")?;
    let entry = fields.need_one_of(reader, &["file", "env"]);
    fields.finish(reader);
    let secret = secret_text(reader, entry?)?;
    let key = if psk { psk_of(secret) } else { passphrase_of(secret) };
    reader.judge(&value.place, key)
}

/// 8 to 63 printable ASCII characters: IEEE 802.11 annex J.4.
fn passphrase_of(secret: Secret<String>) -> Result<WifiKey, Wrong> {
    let text = secret.expose();
    if (8..=63).contains(&text.len()) && text.bytes().all(|b| (0x20..=0x7e).contains(&b)) {
        return Ok(WifiKey::Passphrase(secret));
    }
    let found = match text.chars().count() {
        length @ 8..=63 => format!("found a passphrase of {length} characters, not all of them ASCII"),
        64 => {
            return Err(Wrong::new("found a passphrase of 64 characters, wanted 8 to 63")
                .help("a key of 64 hexadecimal digits goes under `psk`"));
        }
        length => format!("found a passphrase of {length} characters"),
    };
    Err(Wrong::new(format!("{found}, wanted 8 to 63 printable ASCII characters")))
}

fn psk_of(secret: Secret<String>) -> Result<WifiKey, Wrong> {
    let text = secret.expose();
    if text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Ok(WifiKey::Psk(secret));
    }
    let length = text.chars().count();
    Err(Wrong::new(format!("found a key of {length} characters, wanted 64 hexadecimal digits"))
        .help("a passphrase goes under `passphrase`"))
}

fn hosts_line(reader: &mut Reader<'_>, value: &Value) -> Option<At<HostsLine>> {
    let mut fields = reader.table(value)?;
    let address = fields.need(reader, "address").and_then(|value| reader.word(value, word::address));
    let names = match fields.need(reader, "names") {
        Some(value) => {
            let names = reader.one_or_many(value, |reader, item| reader.word(item, word::domain));
            if matches!(&value.kind, Kind::Array(items) if items.is_empty()) {
                reader.fault(&value.place, "found no name, wanted at least one");
            }
            names
        }
        None => Vec::new(),
    };
    fields.finish(reader);
    let names = names.into_iter().map(|name| name.value).collect();
    Some(At { value: HostsLine { address: address?.value, names }, place: value.place.clone() })
}
