//! What of an image must be on a card: everything but the free blocks of its filesystems.
//!
//! Told in the chunks whose digests are known anyway (256 KiB): so a `.bmap` costs no reading, and a card is written in
//! long runs. Free blocks may hold anything, as neither FAT nor ext4 shows a file what it did not write: ext4 reads
//! a block as zero until the file has written it, and the structures that a new filesystem leaves uninitialised lie
//! in blocks that count as used.

use crate::base::ChunkDigests;
use crate::block::{Device, Extent, Slice};
use crate::image::table::{Kind, Partition, Table};
use crate::image::{ext4, fat};

use super::Error;

/// Which chunks of [`ChunkDigests::CHUNK_LEN`] hold something, ascending. A filesystem that cannot be read is needed
/// whole, as is what lies outside all partitions.
pub(super) fn mapped_chunks(device: &dyn Device, table: &Table) -> Result<Vec<u64>, Error> {
    let mut partitions: Vec<&Partition> = table.partitions().iter().collect();
    partitions.sort_by_key(|partition| partition.start_bytes);
    let mut chunks = Chunks::default();
    let mut at = 0;
    for partition in partitions {
        // What lies before it, then what it uses.
        chunks.add(at, partition.start_bytes.saturating_sub(at));
        for used in used_ranges(device, partition)? {
            chunks.add(partition.start_bytes + used.offset, used.len_bytes);
        }
        at = at.max(partition.start_bytes + partition.len_bytes);
    }
    chunks.add(at, device.len_bytes().saturating_sub(at));
    Ok(chunks.numbers)
}

/// The bytes of the chunks, ascending, apart from each other, ending with the image.
pub(super) fn extents(chunks: &[u64], len_bytes: u64) -> Vec<Extent> {
    let mut extents: Vec<Extent> = Vec::new();
    for number in chunks {
        let offset = number * ChunkDigests::CHUNK_LEN;
        let chunk_len = ChunkDigests::CHUNK_LEN.min(len_bytes.saturating_sub(offset));
        match extents.last_mut() {
            Some(last) if last.offset + last.len_bytes == offset => last.len_bytes += chunk_len,
            _ => extents.push(Extent { offset, len_bytes: chunk_len }),
        }
    }
    extents
}

fn used_ranges(device: &dyn Device, partition: &Partition) -> Result<Vec<Extent>, Error> {
    let slice = Slice::new(device, partition.start_bytes, partition.len_bytes)?;
    let whole = vec![Extent { offset: 0, len_bytes: partition.len_bytes }];
    Ok(match partition.kind {
        Kind::Fat => fat::used_ranges(&slice).unwrap_or(whole),
        Kind::Linux => ext4::Filesystem::open_to_read(&slice)
            .and_then(|filesystem| filesystem.free_ranges())
            .map_or(whole, |free| between(&free, partition.len_bytes)),
        Kind::Other => whole,
    })
}

/// What `free` leaves of `[0, len_bytes)`.
fn between(free: &[Extent], len_bytes: u64) -> Vec<Extent> {
    let mut used = Vec::new();
    let mut at = 0;
    for range in free.iter().chain([&Extent { offset: len_bytes, len_bytes: 0 }]) {
        if range.offset > at {
            used.push(Extent { offset: at, len_bytes: range.offset - at });
        }
        at = range.offset + range.len_bytes;
    }
    used
}

/// Numbers of chunks, each once; told in ascending order of the bytes.
#[derive(Default)]
struct Chunks {
    numbers: Vec<u64>,
}

impl Chunks {
    fn add(&mut self, offset: u64, len_bytes: u64) {
        let first = offset / ChunkDigests::CHUNK_LEN;
        let end = (offset + len_bytes).div_ceil(ChunkDigests::CHUNK_LEN);
        let known = self.numbers.last().map_or(0, |last| last + 1);
        if len_bytes > 0 {
            self.numbers.extend(first.max(known)..end);
        }
    }
}
