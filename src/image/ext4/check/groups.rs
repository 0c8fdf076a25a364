//! Family 2, the group descriptors: where each group keeps its bitmaps and inodes. Also claims the blocks of all these
//! structures, so that whatever else claims one of them is found.

use super::super::checksum::{self, Checksums};
use super::super::error::Error;
use super::super::group::{BLOCK_UNINIT, Group, INODE_UNINIT};
use super::geometry::Geometry;
use super::{Checker, block_error};
use crate::block::ReadAt;
use crate::image::findings::Place;

/// Bytes of descriptors read at a time.
const CHUNK: usize = 1 << 18;

/// The place of a descriptor in findings.
pub(super) fn descriptor(group: u32) -> Place {
    Place::nth("group descriptor", group)
}

/// A descriptor, and which of the structures it points to can be there.
pub(super) struct Described {
    pub(super) group: Group,
    pub(super) is_table_inside: bool,
    pub(super) is_block_bitmap_inside: bool,
    pub(super) is_inode_bitmap_inside: bool,
}

impl Described {
    /// The inodes at the start of the table that may ever have been used.
    pub(super) fn inodes_used(&self, fs: &Geometry) -> u32 {
        if !fs.checksums.cover_descriptors() {
            fs.inodes_per_group
        } else if self.group.has_flag(INODE_UNINIT) {
            0
        } else {
            fs.inodes_per_group.saturating_sub(self.group.itable_unused())
        }
    }
}

/// Reads all descriptors of the table that begins at `block`.
pub(super) fn read(device: &dyn ReadAt, fs: &Geometry, block: u64) -> Result<Vec<Group>, Error> {
    let mut groups = Vec::new();
    let mut left = u64::from(fs.groups_count) * fs.descriptor_len as u64;
    let mut at = block * fs.block_len as u64;
    while left > 0 {
        let len = usize::try_from(left).unwrap_or(CHUNK).min(CHUNK);
        let mut bytes = vec![0; len];
        device.read_at(at, &mut bytes).map_err(|source| Error::Device { block, source })?;
        groups.extend(bytes.chunks(fs.descriptor_len).map(|raw| Group::new(raw.to_vec())));
        at += len as u64;
        left -= len as u64;
    }
    Ok(groups)
}

impl Checker<'_> {
    pub(super) fn check_groups(&mut self) -> Result<(), Error> {
        for (number, group) in (0..).zip(read(self.device, &self.fs, self.fs.first_data_block + 1)?) {
            let described = self.judge(number, group);
            self.groups.push(described);
        }
        for number in 0..self.fs.groups_count {
            self.claim_group(number);
        }
        Ok(())
    }

    fn judge(&mut self, number: u32, group: Group) -> Described {
        let fs = &self.fs;
        let place = descriptor(number);
        let (first, end) = if fs.features.has_incompat(super::super::features::incompat::FLEX_BG) {
            (fs.first_data_block, fs.blocks_count)
        } else {
            (fs.group_start(number), fs.group_start(number) + fs.group_len(number))
        };
        let findings = &mut self.findings;
        let mut is_inside = |what: &str, start: u64, len: u64| {
            let fits = start != 0 && start >= first && start.checked_add(len).is_some_and(|last| last <= end);
            if !fits {
                findings.add(place, what, start, format_args!("{first} to {}", end.saturating_sub(len)));
            }
            fits
        };
        let is_block_bitmap_inside = is_inside("block bitmap", group.block_bitmap(), 1);
        let is_inode_bitmap_inside = is_inside("inode bitmap", group.inode_bitmap(), 1);
        let is_table_inside = is_inside("inode table", group.inode_table(), fs.table_blocks);
        if fs.checksums == Checksums::Absent {
            let is_marked = group.has_flag(BLOCK_UNINIT) || group.has_flag(INODE_UNINIT);
            if is_marked || group.itable_unused() != 0 {
                findings.add(
                    place,
                    "flags",
                    "uninitialised",
                    "none, for without checksums they mean nothing",
                );
            }
        } else {
            let computed = checksum::of_descriptor(fs.checksums, &fs.uuid(), number, group.raw());
            if group.checksum() != computed {
                let (stored, computed) = (format!("{:#06x}", group.checksum()), format!("{computed:#06x}"));
                findings.add(place, "checksum", stored, computed);
            }
            let unused = group.itable_unused();
            let most = group.free_inodes().min(fs.inodes_per_group);
            if unused > most {
                findings.add(place, "bg_itable_unused", unused, format_args!("at most {most}"));
            }
        }
        if fs.is_last(number) && group.has_flag(BLOCK_UNINIT) {
            findings.add(place, "flags", "BLOCK_UNINIT", "none of it in the last group");
        }
        Described { group, is_table_inside, is_block_bitmap_inside, is_inode_bitmap_inside }
    }

    /// Claims what the filesystem itself needs of group `number`.
    fn claim_group(&mut self, number: u32) {
        let Some(described) = usize::try_from(number).ok().and_then(|at| self.groups.get(at)) else { return };
        let (block_bitmap, inode_bitmap, table) =
            (described.group.block_bitmap(), described.group.inode_bitmap(), described.group.inode_table());
        let has =
            (described.is_block_bitmap_inside, described.is_inode_bitmap_inside, described.is_table_inside);
        let place = descriptor(number);
        if self.fs.has_copy(number) {
            let (start, len) = (self.fs.group_start(number), self.fs.copy_len());
            self.claim(start, len, "descriptor table", place);
        }
        if has.2 {
            self.claim(table, self.fs.table_blocks, "inode table", place);
        }
        if has.0 {
            self.claim(block_bitmap, 1, "block bitmap", place);
        }
        if has.1 {
            self.claim(inode_bitmap, 1, "inode bitmap", place);
        }
    }

    /// The blocks of a group that its own structures take, as `BLOCK_UNINIT` means them: `(start, count)`.
    pub(super) fn own_blocks(&self, number: u32) -> Vec<(u64, u64)> {
        let Some(described) = usize::try_from(number).ok().and_then(|at| self.groups.get(at)) else {
            return Vec::new();
        };
        let group = &described.group;
        let mut ranges = vec![
            (group.inode_table(), self.fs.table_blocks),
            (group.block_bitmap(), 1),
            (group.inode_bitmap(), 1),
        ];
        if self.fs.has_copy(number) {
            ranges.push((self.fs.group_start(number), self.fs.copy_len()));
        }
        ranges
    }

    /// A whole block.
    pub(super) fn read_block(&self, block: u64) -> Result<Vec<u8>, Error> {
        let mut bytes = vec![0; self.fs.block_len];
        let at = block.saturating_mul(self.fs.block_len as u64);
        self.device.read_at(at, &mut bytes).map_err(|source| block_error(block, source))?;
        Ok(bytes)
    }
}
