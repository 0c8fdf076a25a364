//! The unpacked length of an `.xz` file, from the indexes at the end of its streams.
//!
//! Spec: The .xz File Format 1.2.1, §2.1.2 (stream footer), §4 (index). Only for telling early what will not fit:
//! whatever is odd gives no length, and decoding says why.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};

/// An index of a million blocks takes some 8 MB; no image has so many.
const INDEX_MAX: u64 = 16 << 20;
const STREAMS_MAX: usize = 1024;

/// The sum over all streams; `None` when the indexes are not sound.
pub(super) fn unpacked_len(file: &File) -> Option<u64> {
    let mut end = file.metadata().ok()?.len();
    let mut total = 0_u64;
    for _ in 0..STREAMS_MAX {
        end = before_padding(file, end)?;
        let footer = read(file, end.checked_sub(12)?, 12)?;
        if footer.get(10..)? != b"YZ" {
            return None;
        }
        let backward = u32::from_le_bytes(footer.get(4..8)?.try_into().ok()?);
        let index_len = (u64::from(backward) + 1) * 4;
        if index_len > INDEX_MAX {
            return None;
        }
        let index_at = end.checked_sub(12)?.checked_sub(index_len)?;
        let (packed, unpacked) = sums(&read(file, index_at, index_len)?)?;
        total = total.checked_add(unpacked)?;
        end = index_at.checked_sub(packed)?.checked_sub(12)?;
        if end == 0 {
            return Some(total);
        }
    }
    None
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
    let mut file = file;
    let mut bytes = vec![0; usize::try_from(len).ok()?];
    file.seek(SeekFrom::Start(at)).ok()?;
    file.read_exact(&mut bytes).ok()?;
    Some(bytes)
}

/// The sums of packed lengths, padded to four, and of unpacked lengths.
fn sums(index: &[u8]) -> Option<(u64, u64)> {
    let mut rest = index.strip_prefix(&[0])?;
    let count = number(&mut rest)?;
    let (mut packed, mut unpacked) = (0_u64, 0_u64);
    for _ in 0..count {
        packed = packed.checked_add(number(&mut rest)?.checked_next_multiple_of(4)?)?;
        unpacked = unpacked.checked_add(number(&mut rest)?)?;
    }
    Some((packed, unpacked))
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
