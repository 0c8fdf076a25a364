//! Family 3, the resize inode: holds the blocks reserved for more descriptors, and their copies in other groups.
//!
//! Its only pointer leads to a block that lists the reserved blocks behind the descriptors; each of these lists its own
//! copies. e2fsck compares the first quarter of them; the kernel all, before it grows a filesystem.

use super::super::bytes::u32_at;
use super::super::error::Error;
use super::super::features::compat;
use super::Checker;
use super::inodes::{RESIZE, RawInode, Type};
use crate::image::findings::Place;

const DOUBLE: usize = 13;

impl Checker<'_> {
    pub(super) fn check_resize_inode(&mut self) -> Result<(), Error> {
        let Some(raw) = self.read_inode(RESIZE)? else { return Ok(()) };
        let inode = RawInode { number: RESIZE, raw: &raw };
        let place = Place::only("resize inode");
        let pointers = (0..15).filter(|index| inode.pointer(*index) != 0);
        if !self.fs.features.has_compat(compat::RESIZE_INODE) {
            if pointers.count() > 0 {
                self.findings.add(
                    place,
                    "list of blocks",
                    "not empty",
                    "empty without the feature resize_inode",
                );
            }
            return Ok(());
        }
        let block = u64::from(inode.pointer(DOUBLE));
        let is_possible = pointers.eq([DOUBLE])
            && inode.links() > 0
            && inode.kind() == Some(Type::Regular)
            && self.fs.holds(block);
        if !is_possible {
            self.findings.add(place, "form", "another", "a file with one doubly indirect pointer");
            return Ok(());
        }
        let list = self.read_block(block)?;
        let slots = self.fs.block_len as u64 / 4;
        let copies: Vec<u64> =
            (1..self.fs.groups_count).filter(|group| self.fs.has_copy(*group)).map(u64::from).collect();
        for nth in 0..self.fs.reserved_gdt_blocks().min(slots) {
            let index = self.fs.descriptor_blocks + nth;
            let reserved = self.fs.first_data_block + 1 + index;
            let slot = usize::try_from(index % slots).unwrap_or(0) * 4;
            let found = u64::from(u32_at(&list, slot));
            if found != reserved {
                self.findings.add(place.byte(slot as u64), "reserved block", found, reserved);
                continue;
            }
            if reserved >= self.fs.blocks_count {
                continue;
            }
            let listed = self.read_block(reserved)?;
            for (at, group) in (0_usize..).step_by(4).zip(&copies) {
                let (found, wanted) =
                    (u64::from(u32_at(&listed, at)), reserved + group * self.fs.blocks_per_group);
                if found != wanted {
                    let place = Place::nth("block reserved for descriptors", reserved).byte(at as u64);
                    self.findings.add(place, "copy", found, wanted);
                    break;
                }
            }
        }
        Ok(())
    }
}
