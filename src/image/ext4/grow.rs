//! Growing: new groups behind the last one, and a longer table of their descriptors.
//!
//! ```text
//! new group   [superblock, descriptors, reserved]  block bitmap  inode bitmap  inode table  free …
//!             only where the format has a copy
//! ```
//!
//! - Every new group keeps its metadata to itself. With `flex_bg` it could lie packed in one group of sixteen, as
//!   resize2fs has it; the format does not ask for it, and this is the layout with nothing to go wrong.
//! - Where descriptors carry checksums, the bitmaps of new groups stay unwritten (`BLOCK_UNINIT`, `INODE_UNINIT`),
//!   and tables are left as they are. Otherwise bitmaps are written, and tables zeroed where they are not zero.
//! - The table grows into the blocks that the resize inode holds for it. Without them it ends with its last block:
//!   moving inode tables out of its way is not done here.
//! - With `sparse_super2` the two copies stay where they are; resize2fs moves the second to the new last group.
//!
//! Cost: a few blocks for each group, and the reserved blocks. Spec: Linux
//! `Documentation/filesystems/ext4/blockgroup.rst`, `fs/ext4/resize.c`. Oracles: `e2fsck -fn`, `resize2fs`.

use std::ops::Range;

use super::Filesystem;
use super::bitmap::Bitmap;
use super::bytes::u32_at;
use super::error::{Error, corrupt};
use super::features::compat;
use super::group::{BLOCK_UNINIT, Group, INODE_UNINIT, INODE_ZEROED};
use super::inode::Timestamp;
use super::store::Store;
use super::superblock::Superblock;
use crate::base::is_zero;

/// A last group with less than its metadata and this much is not worth it (`adjust_fs_info` of resize2fs).
const TAIL_BLOCKS: u64 = 50;
/// Bytes of an inode table read at a time; whole inodes.
const CHUNK: u64 = 1 << 18;

/// A group that is to be, and its bitmaps where they are to be written.
struct NewGroup {
    descriptor: Group,
    block_bitmap: Option<Bitmap>,
    inode_bitmap: Option<Bitmap>,
}

impl Filesystem<'_> {
    /// Grows the filesystem to `len_blocks`, or to a little less when the rest would be too short for a group of
    /// its own; returns the length it has then. From block `zero_from` on the device is known to hold zero bytes;
    /// what lies before is looked at.
    ///
    /// # Errors
    /// [`Error::Shrink`], [`Error::GrowLimit`], [`Error::Corrupt`], [`Error::Device`], [`Error::Poisoned`].
    pub fn grow(&mut self, len_blocks: u64, zero_from: u64) -> Result<u64, Error> {
        self.edit(|fs| {
            let mut after = target(&fs.store.superblock, len_blocks, fs.store.device_blocks())?;
            if after.blocks_count == fs.store.superblock.blocks_count {
                return Ok(after.blocks_count);
            }
            let inodes = fs.store.superblock.inodes_count;
            fs.store.lift_deletion_times(inodes..after.inodes_count, fs.clock)?;
            fs.store.grow_resize_inode(&after)?;
            let gained = fs.store.fill_last_group(&after)?;
            let first = fs.store.groups_count();
            let mut new = Vec::new();
            for group in first..after.groups_count {
                new.push(fs.store.new_group(&after, group, zero_from)?);
            }
            let free_blocks: u64 = new.iter().map(|new| u64::from(new.descriptor.free_blocks())).sum();
            after.set_free_blocks(fs.store.superblock.free_blocks() + gained + free_blocks);
            let free_inodes = (after.groups_count - first).saturating_mul(after.inodes_per_group);
            after.set_free_inodes(fs.store.superblock.free_inodes().saturating_add(free_inodes));
            let len_blocks = after.blocks_count;
            let descriptors = new.iter().map(|new| new.descriptor.clone()).collect();
            fs.store.extend(after, descriptors)?;
            for (group, new) in (first..).zip(new) {
                fs.store.block_bitmaps.extend(new.block_bitmap.map(|bitmap| (group, bitmap)));
                fs.store.inode_bitmaps.extend(new.inode_bitmap.map(|bitmap| (group, bitmap)));
            }
            fs.backups = true;
            Ok(len_blocks)
        })
    }
}

/// The superblock of the filesystem grown to `wanted` blocks, free counts aside.
fn target(now: &Superblock, wanted: u64, device_blocks: u64) -> Result<Superblock, Error> {
    let blocks = now.blocks_count;
    if wanted < blocks {
        return Err(Error::Shrink { blocks, wanted_blocks: wanted });
    }
    let has_reserved = now.features().has_compat(compat::RESIZE_INODE);
    let reserved = if has_reserved { now.reserved_gdt_blocks() } else { 0 };
    let table_groups = (now.gdt_blocks() + reserved) * now.descriptors_per_block();
    let groups_end = |groups: u64| now.group_start(u32::try_from(groups).unwrap_or(u32::MAX));
    let limits = [
        (device_blocks, "the device ends there"),
        (u64::from(u32::MAX), "blocks are numbered with 32 bits"),
        (groups_end(u64::from(u32::MAX / now.inodes_per_group)), "inodes are numbered with 32 bits"),
        (groups_end(table_groups), "the table of group descriptors has no room to grow (resize_inode)"),
    ];
    if let Some((limit, reason)) = limits.into_iter().find(|(limit, _)| wanted > *limit) {
        return Err(Error::GrowLimit { wanted_blocks: wanted, limit_blocks: limit.max(blocks), reason });
    }
    let mut after = with_len(now, wanted);
    let last = after.groups_count.saturating_sub(1);
    let len = u64::from(after.group_len(last));
    let is_new = last >= now.groups_count;
    if is_new && len < u64::from(now.blocks_per_group) && len < overhead(&after, last) + TAIL_BLOCKS {
        after = with_len(now, after.group_start(last));
    }
    // The largest overhead that a group can have: one with copies.
    let most = 2 + after.inode_table_blocks() + after.backup_len();
    if after.groups_count > now.groups_count && most > u64::from(now.blocks_per_group) {
        let found = format!("a group of {} blocks", now.blocks_per_group);
        return Err(corrupt(format!("{found} has no room for its metadata of {most}")));
    }
    Ok(after)
}

/// The superblock with another length, where reserved blocks make room for a longer table.
fn with_len(now: &Superblock, blocks: u64) -> Superblock {
    let mut after = now.clone();
    after.set_blocks_count(blocks);
    let taken = after.gdt_blocks().saturating_sub(now.gdt_blocks());
    after.set_reserved_gdt_blocks(now.reserved_gdt_blocks().saturating_sub(taken));
    after
}

/// How many blocks of a new group are metadata.
fn overhead(superblock: &Superblock, group: u32) -> u64 {
    let backup_len = if superblock.has_backup(group) { superblock.backup_len() } else { 0 };
    backup_len + 2 + superblock.inode_table_blocks()
}

impl Store<'_> {
    /// Frees what the last group gets behind its former end; returns how many blocks.
    fn fill_last_group(&mut self, after: &Superblock) -> Result<u64, Error> {
        let last = self.groups_count().saturating_sub(1);
        let (old_len, new_len) = (self.superblock.group_len(last), after.group_len(last));
        let gained = new_len.saturating_sub(old_len);
        if gained == 0 {
            return Ok(0);
        }
        // What was padding was 1.
        self.block_bitmap(last)?;
        self.block_bitmap_mut(last)?.set(old_len, gained, false);
        let descriptor = self.group_mut(last)?;
        descriptor.set_free_blocks(descriptor.free_blocks().saturating_add(gained));
        descriptor.clear_flag(BLOCK_UNINIT);
        Ok(u64::from(gained))
    }

    /// Lays out a new group, all of it free but its metadata.
    fn new_group(&mut self, after: &Superblock, group: u32, zero_from: u64) -> Result<NewGroup, Error> {
        let used = overhead(after, group);
        let table_len = after.inode_table_blocks();
        let table = after.group_start(group) + used - table_len;
        let len = after.group_len(group);
        let used = u32::try_from(used).unwrap_or(u32::MAX);

        let mut descriptor = Group::new(vec![0; after.descriptor_len]);
        descriptor.set_places(table - 2, table - 1, table);
        descriptor.set_free_blocks(len.saturating_sub(used));
        descriptor.set_free_inodes(after.inodes_per_group);
        let covered = after.checksums().cover_descriptors();
        if covered {
            descriptor.set_flag(INODE_UNINIT);
            descriptor.set_itable_unused(after.inodes_per_group);
        }
        let full = self.blocks_not_zero(table, table_len.min(zero_from.saturating_sub(table)), covered)?;
        if covered && full.is_empty() {
            descriptor.set_flag(INODE_ZEROED);
        } else if !covered {
            full.into_iter().for_each(|block| self.put_block(block, vec![0; after.block_len]));
        }
        let is_last = group + 1 == after.groups_count;
        if covered && !is_last {
            descriptor.set_flag(BLOCK_UNINIT);
            return Ok(NewGroup { descriptor, block_bitmap: None, inode_bitmap: None });
        }
        let mut block_bitmap = Bitmap::free(after.block_len, len);
        block_bitmap.set(0, used, true);
        let inode_bitmap = (!covered).then(|| Bitmap::fresh(after.block_len, after.inodes_per_group));
        Ok(NewGroup { descriptor, block_bitmap: Some(block_bitmap), inode_bitmap })
    }

    /// A deletion time that is the number of an inode looks like a link of a chain of orphans to e2fsck, and these
    /// `numbers` are new. An inode with such a time, from a clock that stood, is now said to have been deleted at `now`.
    fn lift_deletion_times(&mut self, numbers: Range<u32>, now: Timestamp) -> Result<(), Error> {
        if numbers.is_empty() {
            return Ok(());
        }
        let seconds = u32::try_from(now.seconds).ok().filter(|seconds| *seconds >= numbers.end);
        for number in self.inodes_deleted_at(&numbers)? {
            let mut inode = self.any_inode(number)?;
            if numbers.contains(&inode.deleted()) {
                inode.set_deleted(seconds.unwrap_or(u32::MAX));
                self.put_inode(inode);
            }
        }
        Ok(())
    }

    /// The inodes with such a deletion time on the device, among those that were ever used.
    fn inodes_deleted_at(&self, times: &Range<u32>) -> Result<Vec<u32>, Error> {
        let mut found = Vec::new();
        let inode_len = self.superblock.inode_len;
        let per_group = self.superblock.inodes_per_group;
        let covered = self.superblock.checksums().cover_descriptors();
        let mut chunk = Vec::new();
        for number in 0..self.groups_count() {
            let group = self.group(number)?;
            let unused = match covered {
                true if group.has_flag(INODE_UNINIT) => per_group,
                true => group.itable_unused(),
                false => 0,
            };
            let table_len = u64::from(per_group.saturating_sub(unused)) * inode_len as u64;
            let mut inode = number.saturating_mul(per_group);
            let mut at = 0;
            while at < table_len {
                chunk.resize(usize::try_from((table_len - at).min(CHUNK)).unwrap_or(0), 0);
                self.read_data(group.inode_table(), at, &mut chunk)?;
                for raw in chunk.chunks_exact(inode_len) {
                    inode = inode.saturating_add(1);
                    if times.contains(&u32_at(raw, 0x14)) {
                        found.push(inode);
                    }
                }
                at += CHUNK;
            }
        }
        Ok(found)
    }

    /// Which of `len` blocks hold something; with `any` the first is enough.
    fn blocks_not_zero(&self, start: u64, len: u64, any: bool) -> Result<Vec<u64>, Error> {
        let mut full = Vec::new();
        let mut bytes = vec![0; self.block_len()];
        for block in start..start + len {
            self.read_data(block, 0, &mut bytes)?;
            if !is_zero(&bytes) {
                full.push(block);
                if any {
                    break;
                }
            }
        }
        Ok(full)
    }
}
