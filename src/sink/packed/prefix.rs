//! The start of an archive's block as a block of its own.
//!
//! LZMA2 is a run of chunks, each with its lengths in front. A chunk needs those before it and none behind it: so where
//! only the end of a block was edited, its first chunks can be taken as they stand, with an end mark behind them. They
//! need no compressing, only another check.
//!
//! Spec: The .xz File Format 1.2.1 §3.1 and §5.3.1; for the chunks liblzma's `lzma2_decoder.c`.

use std::fs::File;

use super::ArchiveBlock;
use crate::block::host;

/// Shorter ones are not worth a block.
const LEN_MIN: u64 = 256 << 10;

/// The first chunks of an archive's block. Offsets and lengths are in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Prefix {
    /// Where the first chunk is in the archive.
    pub(super) archive_offset: u64,
    /// How long the chunks are there.
    pub(super) packed_len: u64,
    /// Where their bytes begin in the base.
    pub(super) offset: u64,
    /// How many these are.
    pub(super) len: u64,
    /// The properties of the filter, as the header states them.
    pub(super) dict_size: u8,
}

/// The chunks of `block` that end `len_max` bytes into it or before; `None` when they are few, and when the block is
/// packed in a way that cannot be cut.
pub(super) fn find(archive: &File, block: &ArchiveBlock, len_max: u64) -> Option<Prefix> {
    let start = block.archive_offset;
    let header_len = (u64::from(read::<1>(archive, start)?[0]) + 1) * 4;
    let dict_size = only_lzma2(archive, start, header_len)?;
    let data = start + header_len;
    let data_max = block.unpadded_len.checked_sub(header_len)?;
    let (mut packed_len, mut len) = (0, 0);
    loop {
        let [control, high, low, packed_high, packed_low] = read(archive, data.checked_add(packed_len)?)?;
        let low = u64::from(u16::from_be_bytes([high, low])) + 1;
        let packed = u64::from(u16::from_be_bytes([packed_high, packed_low])) + 1;
        let (chunk_len, chunk_packed_len) = match control {
            1 | 2 => (low, 3 + low),
            0x80.. => {
                let properties_len = u64::from(control >= 0xc0);
                ((u64::from(control & 0x1f) << 16) + low, 5 + properties_len + packed)
            }
            _ => break,
        };
        if len + chunk_len > len_max || packed_len + chunk_packed_len > data_max {
            break;
        }
        len += chunk_len;
        packed_len += chunk_packed_len;
    }
    let prefix = Prefix { archive_offset: data, packed_len, offset: block.offset, len, dict_size };
    (len >= LEN_MIN).then_some(prefix)
}

/// The properties of the only filter of a block, if that is LZMA2.
fn only_lzma2(archive: &File, start: u64, header_len: u64) -> Option<u8> {
    let mut header = vec![0; usize::try_from(header_len).ok()?];
    host::read_exact_at(archive, &mut header, start).ok()?;
    let flags = *header.get(1)?;
    let mut rest = header.get(2..)?;
    // How many filters there are, less one, and whether the two lengths are there.
    for present in [flags & 0x40 != 0, flags & 0x80 != 0] {
        if present {
            let len = rest.iter().position(|byte| byte & 0x80 == 0)? + 1;
            rest = rest.get(len..)?;
        }
    }
    match rest {
        [0x21, 1, dict_size, ..] if flags & 3 == 0 => Some(*dict_size),
        _ => None,
    }
}

fn read<const LEN: usize>(file: &File, offset: u64) -> Option<[u8; LEN]> {
    let mut bytes = [0; LEN];
    host::read_exact_at(file, &mut bytes, offset).ok()?;
    Some(bytes)
}
