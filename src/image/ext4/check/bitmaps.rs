//! Families 4 and 5, the bitmaps: what they say is in use is what was found in use, and all counts of what is free agree.

use super::super::checksum::crc32c;
use super::super::error::Error;
use super::super::group::{BLOCK_UNINIT, Group, INODE_UNINIT};
use super::Checker;
use super::geometry::SUPERBLOCK;
use super::groups::descriptor;
use super::marks::Bits;
use crate::image::findings::Place;

/// One bitmap: what is found in it and what should be.
struct Compared<'b> {
    place: Place,
    thing: &'static str,
    /// The number of what bit 0 stands for.
    first: u64,
    /// How many bits mean something.
    len: u64,
    found: &'b [u8],
    wanted: &'b [u8],
}

impl Compared<'_> {
    fn bit(bytes: &[u8], index: u64) -> bool {
        let byte = usize::try_from(index / 8).ok().and_then(|at| bytes.get(at)).copied().unwrap_or(0);
        byte >> (index % 8) & 1 == 1
    }

    /// How many bits are clear in what was found.
    fn free(&self) -> u64 {
        let whole = usize::try_from(self.len / 8).unwrap_or(0);
        let bytes: u64 = self.found.iter().take(whole).map(|byte| u64::from(byte.count_zeros())).sum();
        let rest = (self.len / 8 * 8..self.len).filter(|index| !Self::bit(self.found, *index)).count();
        bytes + rest as u64
    }
}

impl Checker<'_> {
    pub(super) fn check_bitmaps(&mut self) -> Result<(), Error> {
        let uninitialised = self.uninitialised_blocks();
        let mut directories = vec![0_u32; self.groups.len()];
        for directory in &self.directories {
            let group = usize::try_from(self.fs.group_of_inode(directory.inode)).unwrap_or(usize::MAX);
            if let Some(count) = directories.get_mut(group) {
                *count += 1;
            }
        }
        let (mut free_blocks, mut free_inodes) = (0_u64, 0_u64);
        for (number, directories) in (0..self.fs.groups_count).zip(directories) {
            let Some(described) = usize::try_from(number).ok().and_then(|at| self.groups.get(at)) else {
                continue;
            };
            let (group, has_blocks, has_inodes) =
                (described.group.clone(), described.is_block_bitmap_inside, described.is_inode_bitmap_inside);
            let place = descriptor(number);
            let used_directories = group.used_directories();
            self.findings.compare(place, "number of directories", used_directories, directories);
            if has_blocks {
                free_blocks += self.check_block_bitmap(number, &group, &uninitialised)?;
            }
            if has_inodes {
                free_inodes += self.check_inode_bitmap(number, &group)?;
            }
        }
        let stored = self.fs.wide(0x0c, 0x158);
        self.findings.compare(SUPERBLOCK, "number of free blocks", stored, free_blocks);
        let stored = u64::from(self.fs.u32(0x10));
        self.findings.compare(SUPERBLOCK, "number of free inodes", stored, free_inodes);
        Ok(())
    }

    /// What a bitmap that was never written stands for: the blocks of the structures of all such groups.
    fn uninitialised_blocks(&self) -> Bits {
        let first = self.fs.first_data_block;
        let mut bits = Bits::new(self.fs.blocks_count - first);
        if self.fs.checksums.cover_descriptors() {
            for (number, described) in (0..).zip(&self.groups) {
                if described.group.has_flag(BLOCK_UNINIT) {
                    for (start, len) in self.own_blocks(number) {
                        bits.set_range(start.saturating_sub(first), len);
                    }
                }
            }
        }
        bits
    }

    /// Gives the number of free blocks.
    fn check_block_bitmap(&mut self, number: u32, group: &Group, uninitialised: &Bits) -> Result<u64, Error> {
        let place = Place::nth("block bitmap of group", number);
        let per_group = self.fs.blocks_per_group;
        let start = u64::from(number) * per_group;
        let wanted = self.claimed.packed(start, per_group);
        let is_written = !(self.fs.checksums.cover_descriptors() && group.has_flag(BLOCK_UNINIT));
        let found = if is_written {
            self.read_block(group.block_bitmap())?
        } else {
            uninitialised.packed(start, per_group)
        };
        let len = self.fs.group_len(number);
        if is_written {
            self.check_bitmap_checksum(place, &found, per_group, |sum| group.block_bitmap_matches(sum));
            self.check_padding(place, &found, len);
        }
        let first = self.fs.group_start(number);
        let compared = Compared { place, thing: "block", first, len, found: &found, wanted: &wanted };
        Ok(self.compare_bitmap(&compared, "number of free blocks", number, u64::from(group.free_blocks())))
    }

    /// Gives the number of free inodes.
    fn check_inode_bitmap(&mut self, number: u32, group: &Group) -> Result<u64, Error> {
        let place = Place::nth("inode bitmap of group", number);
        let per_group = u64::from(self.fs.inodes_per_group);
        let start = u64::from(number) * per_group;
        let wanted = self.used.packed(start, per_group);
        let is_written = !(self.fs.checksums.cover_descriptors() && group.has_flag(INODE_UNINIT));
        let found = if is_written { self.read_block(group.inode_bitmap())? } else { vec![0; wanted.len()] };
        if is_written {
            self.check_bitmap_checksum(place, &found, per_group, |sum| group.inode_bitmap_matches(sum));
            self.check_padding(place, &found, per_group);
        }
        let compared = Compared {
            place,
            thing: "inode",
            first: start + 1,
            len: per_group,
            found: &found,
            wanted: &wanted,
        };
        Ok(self.compare_bitmap(&compared, "number of free inodes", number, u64::from(group.free_inodes())))
    }

    fn check_bitmap_checksum(
        &mut self,
        place: Place,
        bitmap: &[u8],
        bits: u64,
        matches: impl Fn(u32) -> bool,
    ) {
        if let Some(seed) = self.fs.checksums.seed() {
            let len = usize::try_from(bits / 8).unwrap_or(0);
            let computed = crc32c(seed, bitmap.get(..len).unwrap_or_default());
            if !matches(computed) {
                let wanted = format!("{computed:#010x} or its low half");
                self.findings.add(place, "checksum in the descriptor", "another", wanted);
            }
        }
    }

    /// Bits that stand for nothing are set.
    fn check_padding(&mut self, place: Place, bitmap: &[u8], len: u64) {
        let bits = bitmap.len() as u64 * 8;
        if let Some(clear) = (len..bits).find(|index| !Compared::bit(bitmap, *index)) {
            self.findings.add(place.byte(clear / 8), "padding", "clear", "set");
        }
    }

    /// Compares bit by bit, and the count in the descriptor with the bits. Gives how many are clear.
    fn compare_bitmap(&mut self, compared: &Compared<'_>, what: &str, group: u32, stored: u64) -> u64 {
        let whole = usize::try_from(compared.len.div_ceil(8)).unwrap_or(0);
        if compared.found.get(..whole) != compared.wanted.get(..whole) {
            let mut index = 0;
            while index < compared.len {
                let differs = |index: u64| {
                    Compared::bit(compared.found, index) != Compared::bit(compared.wanted, index)
                };
                if !differs(index) {
                    index += 1;
                    continue;
                }
                let is_set = Compared::bit(compared.found, index);
                let same = |index: &u64| {
                    *index < compared.len
                        && differs(*index)
                        && Compared::bit(compared.found, *index) == is_set
                };
                let end = (index..).find(|index| !same(index)).unwrap_or(compared.len);
                let range = (compared.first + index, compared.first + end - 1);
                let (found, wanted) = if is_set { ("in use", "free") } else { ("free", "in use") };
                let what = match range {
                    (first, last) if first == last => format!("{} {first}", compared.thing),
                    (first, last) => format!("{} {first} to {last}", compared.thing),
                };
                self.findings.add(compared.place, what, found, wanted);
                index = end;
            }
        }
        let free = compared.free();
        self.findings.compare(descriptor(group), what, stored, free);
        free
    }
}
