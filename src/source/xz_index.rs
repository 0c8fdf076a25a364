//! What the indexes at the end of an `.xz` file say: the unpacked length, and where its blocks are.
//!
//! Spec: The .xz File Format 1.2.1, §2.1.1 (stream header), §2.1.2 (stream footer), §4 (index). Only for telling early
//! what will not fit, and for taking over blocks as they are: whatever is odd gives nothing, and decoding says why.

use std::fs::File;

use crate::block::host;

/// An index of a million blocks takes some 8 MB; no image has so many.
const INDEX_MAX: u64 = 16 << 20;
const STREAMS_MAX: usize = 1024;
/// Stream header and footer, each.
const EDGE_LEN: u64 = 12;

/// The blocks of an archive that is one stream of several.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct XzBlocks {
    /// The type of the check behind each block, by its number in §2.1.1.2.
    pub check: u8,
    /// In order, without gaps in the raw image.
    pub blocks: Vec<XzBlock>,
}

/// A block of an archive. Offsets and lengths in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct XzBlock {
    /// Where it begins in the archive.
    pub archive_offset: u64,
    /// Its length there, without the padding to a multiple of four.
    pub unpadded_len: u64,
    /// Where it begins in the raw image.
    pub offset: u64,
    /// Its length there.
    pub len_bytes: u64,
}

/// The sum over all streams; `None` when the indexes are not sound.
pub(super) fn unpacked_len(file: &File) -> Option<u64> {
    let mut end = file.metadata().ok()?.len();
    let mut total = 0_u64;
    for _ in 0..STREAMS_MAX {
        let stream = Stream::before(file, end)?;
        let len_bytes = stream.records.iter().try_fold(0_u64, |sum, record| sum.checked_add(record.1));
        total = total.checked_add(len_bytes?)?;
        end = stream.start;
        if end == 0 {
            return Some(total);
        }
    }
    None
}

/// Where the blocks are; `None` when there is one only, or several streams, or the index is not sound.
pub(super) fn blocks(file: &File) -> Option<XzBlocks> {
    let stream = Stream::before(file, file.metadata().ok()?.len()).filter(|stream| stream.start == 0)?;
    let (mut archive_offset, mut offset) = (EDGE_LEN, 0_u64);
    let mut blocks = Vec::with_capacity(stream.records.len());
    for (unpadded_len, len_bytes) in stream.records {
        blocks.push(XzBlock { archive_offset, unpadded_len, offset, len_bytes });
        archive_offset = archive_offset.checked_add(unpadded_len.checked_next_multiple_of(4)?)?;
        offset = offset.checked_add(len_bytes)?;
    }
    (blocks.len() > 1).then_some(XzBlocks { check: stream.check, blocks })
}

/// What one stream says of itself.
struct Stream {
    /// Where it begins in the file.
    start: u64,
    check: u8,
    /// Of each block, the unpadded length and the unpacked one.
    records: Vec<(u64, u64)>,
}

impl Stream {
    /// The stream that ends at `end`, padding aside.
    fn before(file: &File, end: u64) -> Option<Self> {
        let end = before_padding(file, end)?;
        let footer = read(file, end.checked_sub(EDGE_LEN)?, EDGE_LEN)?;
        if footer.get(10..)? != b"YZ" || *footer.get(8)? != 0 {
            return None;
        }
        let backward = u32::from_le_bytes(footer.get(4..8)?.try_into().ok()?);
        let index_len = (u64::from(backward) + 1) * 4;
        if index_len > INDEX_MAX {
            return None;
        }
        let index_at = end.checked_sub(EDGE_LEN)?.checked_sub(index_len)?;
        let records = records(&read(file, index_at, index_len)?)?;
        let packed = records
            .iter()
            .try_fold(0_u64, |sum, record| sum.checked_add(record.0.checked_next_multiple_of(4)?));
        let start = index_at.checked_sub(packed?)?.checked_sub(EDGE_LEN)?;
        Some(Self { start, check: *footer.get(9)?, records })
    }
}

/// Stream padding is zero bytes, four at a time.
fn before_padding(file: &File, end: u64) -> Option<u64> {
    let mut end = end;
    for _ in 0..STREAMS_MAX {
        if read(file, end.checked_sub(4)?, 4)? != [0; 4] {
            return Some(end);
        }
        end -= 4;
    }
    None
}

fn read(file: &File, at: u64, len: u64) -> Option<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(len).ok()?];
    host::read_exact_at(file, &mut bytes, at).ok()?;
    Some(bytes)
}

/// Of each block, the unpadded length and the unpacked one.
fn records(index: &[u8]) -> Option<Vec<(u64, u64)>> {
    let mut rest = index.strip_prefix(&[0])?;
    let count = number(&mut rest)?;
    // Each takes two bytes at least, so a lie ends before memory does.
    (0..count).map(|_| Some((number(&mut rest)?, number(&mut rest)?))).collect()
}

/// A multibyte integer, §1.2: seven bits a byte, low ones first.
fn number(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    for shift in (0..63).step_by(7) {
        let (byte, after) = rest.split_first()?;
        *rest = after;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}
