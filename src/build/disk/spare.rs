//! The room in an image that its filesystems do not use as they stand: what is there may change at any time, and nobody
//! can tell.
//!
//! Asked of the image as it is before any edit, and only of ext4 filesystems that are at rest. One with something in its
//! journal is left out, as its bitmaps are not the ones that a replay will bring back; so is FAT, where large files are
//! rare, and everything outside a partition.

use super::probe;
use crate::block::{Extent, Overlay, ReadAt, Slice};
use crate::image::ext4::Filesystem;
use crate::image::table::{Error, Table};

/// The spare room of `image`, ascending and apart. What cannot be read has none.
pub(super) fn ranges<B: ReadAt>(image: &B) -> Vec<Extent> {
    // Nothing is written to it; an editor wants to be able to.
    let device = Overlay::new(image);
    let mut places: Vec<(u64, u64)> = match Table::open(&device) {
        Ok(table) => table.partitions().iter().map(|part| (part.start_bytes, part.len_bytes)).collect(),
        Err(Error::Missing { .. }) => vec![(0, device.len_bytes())],
        Err(_) => Vec::new(),
    };
    places.sort_unstable();
    places.into_iter().flat_map(|(start, len_bytes)| in_filesystem(&device, start, len_bytes)).collect()
}

fn in_filesystem<B: ReadAt>(device: &Overlay<B>, start: u64, len_bytes: u64) -> Vec<Extent> {
    let Ok(slice) = Slice::new(device, start, len_bytes) else { return Vec::new() };
    let Ok(Some("ext4")) = probe(&slice) else { return Vec::new() };
    let free = Filesystem::open(&slice).and_then(|filesystem| filesystem.free_ranges()).unwrap_or_default();
    free.into_iter().map(|range| Extent { offset: start + range.offset, ..range }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::is_zero;
    use crate::block::Memory;
    use crate::image::ext4::{self, MakeOptions, NewAttributes};

    /// No whole block, as some partition tools have it.
    const START: usize = 2049 * 512;
    const LEN: usize = 24 << 20;

    /// A disk whose only partition holds an ext4 filesystem with a file of 0xa7.
    fn disk() -> Vec<u8> {
        let mut bytes = vec![0; START + LEN + (1 << 20)];
        bytes[450] = 0x83;
        bytes[454..458].copy_from_slice(&2049_u32.to_le_bytes());
        bytes[458..462].copy_from_slice(&u32::try_from(LEN / 512).unwrap().to_le_bytes());
        bytes[510..512].copy_from_slice(&[0x55, 0xaa]);
        let disk = Memory::new(bytes);
        let slice = Slice::new(&disk, START as u64, LEN as u64).unwrap();
        ext4::make(&slice, &MakeOptions::default()).unwrap();
        let mut filesystem = Filesystem::open(&slice).unwrap();
        let new = NewAttributes { mode: 0o644, uid: 0, gid: 0 };
        filesystem.write_file(&"/f".parse().unwrap(), &vec![0xa7; 3 << 20], new).unwrap();
        filesystem.commit().unwrap();
        drop(filesystem);
        disk.into_bytes()
    }

    #[test]
    fn free_blocks_are_told_where_they_are_on_the_disk() {
        let bytes = disk();
        let found = ranges(&Memory::new(bytes.clone()));
        let bare = Memory::new(bytes[START..START + LEN].to_vec());
        let in_bare = ranges(&bare);
        let shifted: Vec<Extent> =
            in_bare.iter().map(|range| Extent { offset: range.offset + START as u64, ..*range }).collect();
        assert_eq!(found, shifted);
        let filesystem = Filesystem::open(&bare).unwrap();
        let free = filesystem.free_blocks() * u64::from(filesystem.block_len());
        assert_eq!(found.iter().map(|range| range.len_bytes).sum::<u64>(), free);
        assert!(free > 10 << 20);
        for range in found {
            let at = usize::try_from(range.offset).unwrap();
            let held = &bytes[at..at + usize::try_from(range.len_bytes).unwrap()];
            assert!(is_zero(held), "{range:?} is in use");
        }
    }

    #[test]
    fn a_filesystem_that_is_not_at_rest_has_no_room_to_spare() {
        let mut bytes = disk();
        let seal = |bytes: &mut [u8]| {
            let sum = !crc32c::crc32c(&bytes[START + 1024..START + 2044]);
            bytes[START + 2044..START + 2048].copy_from_slice(&sum.to_le_bytes());
        };
        seal(&mut bytes);
        assert!(bytes == disk(), "the seal is not the one that ext4 has");
        // EXT4_FEATURE_INCOMPAT_RECOVER
        bytes[START + 1024 + 0x60] |= 4;
        seal(&mut bytes);
        assert_eq!(ranges(&Memory::new(bytes)), []);
        assert_eq!(ranges(&Memory::new(vec![0; 1 << 20])), []);
    }
}
