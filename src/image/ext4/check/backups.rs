//! Family 13, the copies of superblock and descriptors: each would do in place of the first. What changes while a
//! filesystem is in use is not compared: nobody keeps it up to date in the copies.

use super::super::bytes::{u16_at, u32_at};
use super::super::checksum::{self, Checksums, crc32c};
use super::super::error::Error;
use super::super::features::ro_compat;
use super::geometry::{features, read_raw};
use super::{Checker, groups};
use crate::image::findings::Place;

/// Fields of the superblock that say where everything is: where, which bits of the word there, and what.
const FIELDS: [(usize, u32, &str); 8] = [
    (0x00, !0, "number of inodes"),
    (0x04, !0, "number of blocks"),
    (0x14, !0, "first data block"),
    (0x18, !0, "block size (log)"),
    (0x20, !0, "number of blocks per group"),
    (0x28, !0, "number of inodes per group"),
    (0x54, !0, "first inode"),
    (0x58, 0xffff, "inode size"),
];
/// Bytes of descriptors compared at most: a copy in every group of a large filesystem would take hours.
const DESCRIPTORS_MAX: u64 = 64 << 20;

impl Checker<'_> {
    pub(super) fn check_backups(&mut self) -> Result<(), Error> {
        let mut read = 0;
        let copies: Vec<u32> = (1..self.fs.groups_count).filter(|group| self.fs.has_copy(*group)).collect();
        for group in copies {
            let start = self.fs.group_start(group);
            if start + 1 + self.fs.descriptor_blocks > self.fs.blocks_count {
                continue;
            }
            self.check_superblock_copy(group, start)?;
            read += self.fs.descriptor_blocks * self.fs.block_len as u64;
            if read <= DESCRIPTORS_MAX {
                self.check_descriptor_copies(group, start)?;
            }
        }
        Ok(())
    }

    fn check_superblock_copy(&mut self, group: u32, start: u64) -> Result<(), Error> {
        let raw = read_raw(self.device, start * self.fs.block_len as u64)?;
        let place = Place::nth("superblock copy in group", group);
        let magic = u16_at(&raw, 0x38);
        if magic != 0xef53 {
            self.findings.add(place, "magic number", format_args!("{magic:#06x}"), "0xef53");
            return Ok(());
        }
        if features(&raw).has_ro_compat(ro_compat::METADATA_CSUM) {
            let computed = crc32c(!0, raw.get(..0x3fc).unwrap_or_default());
            let stored = u32_at(&raw, 0x3fc);
            if stored != computed {
                let found = format!("{stored:#010x}");
                self.findings.add(place, "checksum", found, format_args!("{computed:#010x}"));
            }
        }
        for (at, mask, what) in FIELDS {
            self.findings.compare(place, what, u32_at(&raw, at) & mask, self.fs.u32(at) & mask);
        }
        Ok(())
    }

    fn check_descriptor_copies(&mut self, group: u32, start: u64) -> Result<(), Error> {
        let place = Place::nth("descriptor copies in group", group);
        let copies = groups::read(self.device, &self.fs, start + 1)?;
        for (number, (copy, first)) in (0_u32..).zip(copies.iter().zip(&self.groups)) {
            let places = |group: &super::super::group::Group| {
                [group.block_bitmap(), group.inode_bitmap(), group.inode_table()]
            };
            if places(copy) != places(&first.group) {
                let (found, wanted) = (format!("{:?}", places(copy)), format!("{:?}", places(&first.group)));
                let what = format!("bitmaps and table of group {number}");
                self.findings.add(place, what, found, wanted);
            } else if self.fs.checksums != Checksums::Absent {
                let computed =
                    checksum::of_descriptor(self.fs.checksums, &self.fs.uuid(), number, copy.raw());
                let what = format!("checksum of descriptor {number}");
                self.findings.compare(place, what, copy.checksum(), computed);
            }
        }
        Ok(())
    }
}
