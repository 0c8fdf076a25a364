//! From the bytes of a file to OpenPGP packets: RFC 9580 §4 (packets) and §6 (ASCII armor).
//!
//! Allocates no more than a small multiple of what it is given. Left out: lengths that are not stated up front, which
//! only messages have; the checksum of armor, which says nothing that a signature does not.

use std::io::Read as _;

use pgp::armor::{Dearmor, DearmorOptions};
use pgp::packet::{Packet, PacketHeader};
use pgp::types::{PacketLength, Tag};

/// Where a block of armor begins.
const BEGIN: &[u8] = b"-----BEGIN ";

/// Packets of messages, the only ones that may leave their length open.
const DATA: &[Tag] = &[
    Tag::CompressedData,
    Tag::LiteralData,
    Tag::SymEncryptedData,
    Tag::SymEncryptedProtectedData,
    Tag::GnupgAeadData,
];

/// Why there are no packets.
#[derive(Debug)]
pub(super) enum Trouble {
    /// The file is something else: what.
    Other(String),
    /// It holds armor, but with another label.
    Label(String),
    /// It cannot be read: why and where.
    Broken(String),
}

/// The binary content of a file that may be armored: every block in it, or the file itself. Text around the blocks
/// does not matter.
pub(super) fn unarmor(bytes: &[u8], label: &str) -> Result<Vec<Vec<u8>>, Trouble> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    if bytes.first().is_some_and(|first| first & 0x80 != 0) {
        return Ok(vec![bytes.to_owned()]);
    }
    let mut blocks = Vec::new();
    let mut offset = 0_usize;
    for line in bytes.split_inclusive(|&byte| byte == b'\n') {
        if let Some(rest) = line.strip_prefix(BEGIN) {
            let found = String::from_utf8_lossy(rest).trim_end().trim_end_matches('-').to_owned();
            if found != label {
                return Err(Trouble::Label(found));
            }
            let block = bytes.get(offset..).unwrap_or_default();
            blocks.push(
                decode(block).map_err(|reason| {
                    Trouble::Broken(format!("damaged armor at offset {offset}: {reason}"))
                })?,
            );
        }
        offset += line.len();
    }
    if blocks.is_empty() { Err(Trouble::Other(describe(bytes))) } else { Ok(blocks) }
}

fn decode(block: &[u8]) -> Result<Vec<u8>, String> {
    let mut content = Vec::new();
    let options = DearmorOptions::new().set_limit(block.len());
    Dearmor::with_options(block, options).read_to_end(&mut content).map_err(|error| error.to_string())?;
    Ok(content)
}

/// What a file is that is neither armor nor packets.
fn describe(bytes: &[u8]) -> String {
    let text = bytes.trim_ascii();
    if text.is_empty() {
        return "empty".to_owned();
    }
    if text.first() == Some(&b'<') {
        return "a web page".to_owned();
    }
    let start = text.get(..text.len().min(40)).unwrap_or_default();
    if start.iter().all(|byte| byte.is_ascii_graphic() || byte.is_ascii_whitespace()) {
        let line = start.split(|&byte| byte == b'\n').next().unwrap_or_default();
        return format!("text that begins with `{}`", String::from_utf8_lossy(line).trim_end());
    }
    let first: Vec<String> = bytes.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
    format!("data that begins with {}", first.join(" "))
}

/// A packet whose content nobody has looked at.
#[derive(Clone, Copy, Debug)]
pub(super) struct Raw<'b> {
    /// Where it begins in the binary content.
    offset: usize,
    header: PacketHeader,
    pub(super) body: &'b [u8],
}

impl Raw<'_> {
    pub(super) fn tag(&self) -> Tag {
        self.header.tag()
    }

    /// What the packet says, all of it understood.
    pub(super) fn parse(&self) -> Result<Packet, String> {
        Packet::from_reader(self.header, self.body).map_err(|error| {
            let reason = match error {
                pgp::errors::Error::InvalidPacketContent { source } => source.to_string(),
                error => error.to_string(),
            };
            self.fault(&reason)
        })
    }

    /// Something about this packet, for a message.
    pub(super) fn fault(&self, reason: &str) -> String {
        format!("{:?} packet at offset {}: {reason}", self.tag(), self.offset)
    }
}

/// Cuts binary content into packets.
pub(super) fn split(bytes: &[u8]) -> Result<Vec<Raw<'_>>, String> {
    let mut packets = Vec::new();
    let mut rest = bytes;
    while !rest.is_empty() {
        let offset = bytes.len() - rest.len();
        let header = PacketHeader::try_from_reader(&mut rest)
            .map_err(|error| format!("found no packet at offset {offset}: {error}"))?;
        let len = match header.packet_length() {
            PacketLength::Fixed(len) => usize::try_from(len).unwrap_or(usize::MAX),
            // A message, to the end of the file: told from other files by this packet.
            _ if DATA.contains(&header.tag()) => rest.len(),
            _ => return Err(format!("found a packet of unstated length at offset {offset}")),
        };
        let Some((body, after)) = rest.split_at_checked(len) else {
            return Err(format!("found {} bytes of a packet at offset {offset}, wanted {len}", rest.len()));
        };
        packets.push(Raw { offset, header, body });
        rest = after;
    }
    Ok(packets)
}
