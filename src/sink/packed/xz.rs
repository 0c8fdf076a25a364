//! The parts of an `.xz` file around the compressed data: one stream of blocks that are decoded on their own.
//!
//! ```text
//! stream header │ block: header, LZMA2 data, padding to 4, check │ … │ index: lengths of every block │ stream footer
//! ```
//!
//! Blocks state their lengths in their headers, so that decoders with several threads can use them.
//!
//! Spec: The .xz File Format 1.2.1; integers little-endian. Oracle: `xz --test`, `xz --list`.

use std::io;
use std::sync::LazyLock;

use xz2::stream::{Action, Filters, LzmaOptions, Status, Stream};

use super::prefix::Prefix;
use crate::base::Sha256Hasher;

/// How an `.xz` file checks each block, §2.1.1.2.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Check {
    /// Not at all.
    None,
    /// CRC-32 as in zlib.
    Crc32,
    /// CRC-64 of ECMA-182, what `xz` takes.
    Crc64,
    /// SHA-256.
    Sha256,
}

impl Check {
    /// The check with this number in a stream's flags; `None` for those that no program writes.
    #[must_use]
    pub fn from_id(id: u8) -> Option<Self> {
        [Self::None, Self::Crc32, Self::Crc64, Self::Sha256].into_iter().find(|check| check.id() == id)
    }

    fn id(self) -> u8 {
        match self {
            Self::None => 0,
            Self::Crc32 => 1,
            Self::Crc64 => 4,
            Self::Sha256 => 10,
        }
    }

    fn hasher(self) -> CheckHasher {
        match self {
            Self::None => CheckHasher::None,
            Self::Crc32 => CheckHasher::Crc32(flate2::Crc::new()),
            Self::Crc64 => CheckHasher::Crc64(u64::MAX),
            Self::Sha256 => CheckHasher::Sha256(Sha256Hasher::default()),
        }
    }
}

enum CheckHasher {
    None,
    Crc32(flate2::Crc),
    Crc64(u64),
    Sha256(Sha256Hasher),
}

impl CheckHasher {
    fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::None => {}
            Self::Crc32(crc) => crc.update(bytes),
            Self::Crc64(crc) => *crc = crc64(*crc, bytes),
            Self::Sha256(hasher) => hasher.update(bytes),
        }
    }

    fn finish(self) -> Vec<u8> {
        match self {
            Self::None => Vec::new(),
            Self::Crc32(crc) => crc.sum().to_le_bytes().to_vec(),
            Self::Crc64(crc) => (!crc).to_le_bytes().to_vec(),
            Self::Sha256(hasher) => hasher.finish().0.to_vec(),
        }
    }
}

/// §6: the polynomial of ECMA-182, bits reversed.
fn crc64(mut crc: u64, bytes: &[u8]) -> u64 {
    static TABLE: LazyLock<[u64; 256]> = LazyLock::new(|| {
        std::array::from_fn(|byte| {
            (0..8).fold(byte as u64, |crc, _| (crc >> 1) ^ ((crc & 1) * 0xc96c_5795_d787_0f42))
        })
    });
    let table = &*TABLE;
    for byte in bytes {
        crc = table[usize::from(crc.to_le_bytes()[0] ^ byte)] ^ (crc >> 8);
    }
    crc
}

fn crc32(bytes: &[u8]) -> [u8; 4] {
    let mut crc = flate2::Crc::new();
    crc.update(bytes);
    crc.sum().to_le_bytes()
}

/// A multibyte integer, §1.2: seven bits a byte, low ones first.
fn put_number(to: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        to.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    to.push(value.to_le_bytes()[0]);
}

fn pad(to: &mut Vec<u8>) {
    to.resize(to.len().next_multiple_of(4), 0);
}

/// The dictionary of each level, lzma(7) `lzma_lzma_preset`.
pub(super) fn dict_len(level: u32) -> u64 {
    let log2 = [18, 20, 21, 22, 22, 23, 23, 24, 25, 26];
    1 << log2[usize::try_from(level).unwrap_or(9).min(9)]
}

/// A block around LZMA2 data.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Block {
    /// Stands before the data.
    pub(super) header: Vec<u8>,
    /// Stands behind it: padding and check.
    pub(super) trailer: Vec<u8>,
    /// For the index: header, data and check, without the padding.
    pub(super) unpadded_len: u64,
}

/// Compresses what `read` gives, 0 being the end, into `write`: LZMA2 data, and nothing of what stands around it.
/// `len_bytes` is what will come.
pub(super) fn pack(
    level: u32,
    check: Check,
    len_bytes: u64,
    mut read: impl FnMut(&mut [u8]) -> io::Result<usize>,
    write: &mut dyn io::Write,
) -> io::Result<Block> {
    // No distance is longer than the piece: a larger dictionary would be memory for nothing.
    let dict_log2 = len_bytes.clamp(64 << 10, dict_len(level)).next_power_of_two().ilog2();
    let mut options = LzmaOptions::new_preset(level)?;
    options.dict_size(1 << dict_log2);
    let mut filters = Filters::new();
    filters.lzma2(&options);
    let mut stream = Stream::new_raw_encoder(&filters)?;
    let mut hasher = check.hasher();
    let (mut input, mut output) = (vec![0; 256 << 10], vec![0; 64 << 10]);
    let (mut start, mut end, mut at_end) = (0, 0, false);
    loop {
        if start == end && !at_end {
            end = read(&mut input)?;
            (start, at_end) = (0, end == 0);
            hasher.update(&input[..end]);
        }
        let action = if at_end { Action::Finish } else { Action::Run };
        let (in_before, out_before) = (stream.total_in(), stream.total_out());
        let status = stream.process(&input[start..end], &mut output, action)?;
        start += usize::try_from(stream.total_in() - in_before).unwrap_or(0);
        write.write_all(&output[..usize::try_from(stream.total_out() - out_before).unwrap_or(0)])?;
        if status == Status::StreamEnd {
            break;
        }
    }
    if stream.total_in() != len_bytes {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let dict_size = u8::try_from((dict_log2 - 12) * 2).unwrap_or(40);
    Ok(block(stream.total_out(), len_bytes, dict_size, hasher))
}

/// The block around the start of another one's data, whose bytes are those that `read` gives.
pub(super) fn frame(
    check: Check,
    prefix: &Prefix,
    mut read: impl FnMut(&mut [u8]) -> io::Result<usize>,
) -> io::Result<Block> {
    let mut hasher = check.hasher();
    let mut buffer = vec![0; 256 << 10];
    loop {
        let len = read(&mut buffer)?;
        if len == 0 {
            break;
        }
        hasher.update(&buffer[..len]);
    }
    let mut block = block(prefix.packed_len + 1, prefix.len, prefix.dict_size, hasher);
    // The mark that ends LZMA2 data.
    block.trailer.insert(0, 0);
    Ok(block)
}

fn block(packed_len: u64, len_bytes: u64, dict_size: u8, hasher: CheckHasher) -> Block {
    let header = block_header(packed_len, len_bytes, dict_size);
    let check = hasher.finish();
    let unpadded_len = header.len() as u64 + packed_len + check.len() as u64;
    let mut trailer = vec![0; usize::try_from(packed_len.wrapping_neg() % 4).unwrap_or(0)];
    trailer.extend(check);
    Block { header, trailer, unpadded_len }
}

/// §3.1. For `dict_size` see §5.3.1: two for each power of two above 4 KiB.
fn block_header(packed_len: u64, len_bytes: u64, dict_size: u8) -> Vec<u8> {
    // Its length is filled in below; both lengths are there, one filter: LZMA2 (§5.3.1) with one byte of properties.
    let mut header = vec![0, 0xc0];
    put_number(&mut header, packed_len);
    put_number(&mut header, len_bytes);
    header.extend([0x21, 1, dict_size]);
    pad(&mut header);
    // In words, without the CRC, which is the same as with it less one.
    header[0] = u8::try_from(header.len() / 4).unwrap_or(u8::MAX);
    let crc = crc32(&header);
    header.extend(crc);
    header
}

/// §2.1.1.
pub(super) fn stream_header(check: Check) -> Vec<u8> {
    let flags = [0, check.id()];
    let mut header = b"\xfd7zXZ\0".to_vec();
    header.extend(flags);
    header.extend(crc32(&flags));
    header
}

/// The index (§4) and the footer (§2.1.2) for blocks of these unpadded and unpacked lengths.
pub(super) fn stream_end(check: Check, blocks: &[(u64, u64)]) -> Vec<u8> {
    let mut end = vec![0];
    put_number(&mut end, blocks.len() as u64);
    for (unpadded_len, len_bytes) in blocks {
        put_number(&mut end, *unpadded_len);
        put_number(&mut end, *len_bytes);
    }
    pad(&mut end);
    let crc = crc32(&end);
    end.extend(crc);
    // In words less one; 32 bits are enough for an index of 16 GiB.
    let backward_size = u32::try_from(end.len() / 4 - 1).unwrap_or(u32::MAX);
    let mut covered = backward_size.to_le_bytes().to_vec();
    covered.extend([0, check.id()]);
    end.extend(crc32(&covered));
    end.extend(covered);
    end.extend(b"YZ");
    end
}
