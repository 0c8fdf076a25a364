//! Finding, taking and giving back blocks and inodes. Near where they are wanted, in one piece where that is
//! possible, and always the same for the same filesystem.
//!
//! Groups whose bitmaps were never written (`uninit_bg`, `metadata_csum`) get them at the first use.

use super::bitmap::Bitmap;
use super::error::{Error, corrupt};
use super::group::{BLOCK_UNINIT, INODE_UNINIT};
use super::store::Store;

/// `len` blocks from `start` on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Blocks {
    pub(super) start: u64,
    pub(super) len: u64,
}

impl Store<'_> {
    /// Takes `count` blocks, from `goal` on where they are free.
    pub(super) fn allocate_blocks(&mut self, count: u64, goal: u64) -> Result<Vec<Blocks>, Error> {
        let free_blocks = self.superblock.free_blocks();
        if count > free_blocks {
            return Err(Error::NoSpace { needed_blocks: count, free_blocks });
        }
        if count == 0 {
            return Ok(Vec::new());
        }
        if let Some(blocks) = self.find_in_one_piece(count, goal)? {
            self.mark_blocks(blocks, true)?;
            return Ok(vec![blocks]);
        }
        let mut taken: Vec<Blocks> = Vec::new();
        let mut left = count;
        for (group, from) in self.groups_from(goal) {
            let mut at = from;
            let end = self.superblock.group_len(group);
            while left > 0 && self.group(group)?.free_blocks() > 0 {
                let most = u32::try_from(left).unwrap_or(u32::MAX);
                let Some((start, len)) = self.block_bitmap(group)?.next_free(at, end, most) else { break };
                let blocks = Blocks {
                    start: self.superblock.group_start(group) + u64::from(start),
                    len: u64::from(len),
                };
                self.mark_blocks(blocks, true)?;
                left = left.saturating_sub(blocks.len);
                at = start.saturating_add(len);
                match taken.last_mut() {
                    Some(last) if last.start + last.len == blocks.start => last.len += blocks.len,
                    _ => taken.push(blocks),
                }
            }
        }
        if left > 0 {
            return Err(corrupt(format!(
                "{free_blocks} blocks are counted free, {left} of {count} were not found"
            )));
        }
        Ok(taken)
    }

    /// The first group with room for all of it at once.
    fn find_in_one_piece(&mut self, count: u64, goal: u64) -> Result<Option<Blocks>, Error> {
        let Ok(wanted) = u32::try_from(count) else { return Ok(None) };
        for (group, from) in self.groups_from(goal) {
            if self.group(group)?.free_blocks() < wanted {
                continue;
            }
            let end = self.superblock.group_len(group);
            if let Some(start) = self.block_bitmap(group)?.find_run(from, end, wanted) {
                let start = self.superblock.group_start(group) + u64::from(start);
                return Ok(Some(Blocks { start, len: count }));
            }
        }
        Ok(None)
    }

    /// Every group in the order to look, and where to begin in it: the rest of the goal's group, all others, and
    /// the goal's group again.
    fn groups_from(&self, goal: u64) -> impl Iterator<Item = (u32, u32)> + use<> {
        let (group, bit) = self.superblock.group_of_block(goal);
        let (group, bit) = if group < self.groups_count() { (group, bit) } else { (0, 0) };
        let others = (group..self.groups_count()).chain(0..=group).skip(1).map(|group| (group, 0));
        std::iter::once((group, bit)).chain(others)
    }

    /// Gives blocks back.
    pub(super) fn free_blocks(&mut self, blocks: Blocks) -> Result<(), Error> {
        for block in blocks.start..blocks.start.saturating_add(blocks.len) {
            self.forget_block(block);
        }
        self.mark_blocks(blocks, false)
    }

    fn mark_blocks(&mut self, blocks: Blocks, used: bool) -> Result<(), Error> {
        self.check_data(blocks.start, blocks.len, 0)?;
        let mut at = blocks.start;
        let end = blocks.start + blocks.len;
        while at < end {
            let (group, bit) = self.superblock.group_of_block(at);
            let in_group = u64::from(self.superblock.group_len(group).saturating_sub(bit));
            let len = u32::try_from((end - at).min(in_group)).unwrap_or(0);
            if len == 0 {
                return Err(corrupt(format!("block {at} is in no group")));
            }
            self.block_bitmap(group)?;
            if let Some(bit) = self.block_bitmap_mut(group)?.set(bit, len, used) {
                let block = self.superblock.group_start(group) + u64::from(bit);
                let found = if used { "in use" } else { "free" };
                return Err(corrupt(format!("block {block} is {found} already")));
            }
            let descriptor = self.group_mut(group)?;
            let free = descriptor.free_blocks();
            descriptor.set_free_blocks(if used {
                free.saturating_sub(len)
            } else {
                free.saturating_add(len)
            });
            descriptor.clear_flag(BLOCK_UNINIT);
            let total = self.superblock.free_blocks();
            let len = u64::from(len);
            self.superblock_mut().set_free_blocks(if used {
                total.saturating_sub(len)
            } else {
                total.saturating_add(len)
            });
            at += len;
        }
        Ok(())
    }

    /// The block bitmap of `group`, read and compared with its checksum and count the first time.
    pub(super) fn block_bitmap(&mut self, group: u32) -> Result<&Bitmap, Error> {
        if !self.block_bitmaps.contains_key(&group) {
            let bitmap = self.load_block_bitmap(group)?;
            self.block_bitmaps.insert(group, bitmap);
        }
        self.block_bitmaps.get(&group).ok_or_else(|| corrupt(format!("there is no group {group}")))
    }

    pub(super) fn load_block_bitmap(&self, number: u32) -> Result<Bitmap, Error> {
        let group = self.group(number)?;
        let checksums = self.superblock.checksums();
        let len = self.superblock.group_len(number);
        let bitmap = if checksums.cover_descriptors() && group.has_flag(BLOCK_UNINIT) {
            self.implied_block_bitmap(number)
        } else {
            let bitmap = Bitmap::new(self.read_block(group.block_bitmap())?);
            let computed =
                checksums.seed().map(|seed| bitmap.checksum(seed, self.superblock.blocks_per_group));
            if computed.is_some_and(|computed| !group.block_bitmap_matches(computed)) {
                return Err(corrupt(format!("block bitmap of group {number} does not match its checksum")));
            }
            bitmap
        };
        let (counted, claimed) = (bitmap.count_free(len), group.free_blocks());
        if counted != claimed {
            return Err(corrupt(format!(
                "group {number} claims {claimed} free blocks, its bitmap has {counted}"
            )));
        }
        Ok(bitmap)
    }

    /// The bitmap of a group that was never used: metadata that lies in it, its own or another group's.
    fn implied_block_bitmap(&self, number: u32) -> Bitmap {
        let start = self.superblock.group_start(number);
        let len = self.superblock.group_len(number);
        let mut bitmap = Bitmap::free(self.block_len(), len);
        for (from, to) in self.system_within(start, start + u64::from(len)) {
            let bit = u32::try_from(from - start).unwrap_or(u32::MAX);
            bitmap.set(bit, u32::try_from(to - from).unwrap_or(0), true);
        }
        bitmap.set_clean();
        bitmap
    }

    /// Takes an inode, in the group of inode `near` where one is free.
    pub(super) fn allocate_inode(&mut self, near: u32, is_directory: bool) -> Result<u32, Error> {
        let (first, _) = self.superblock.group_of_inode(near);
        for group in (first..self.groups_count()).chain(0..first) {
            if self.group(group)?.free_inodes() == 0 {
                continue;
            }
            let per_group = self.superblock.inodes_per_group;
            let reserved = if group == 0 { self.superblock.first_inode() - 1 } else { 0 };
            let Some((slot, _)) = self.inode_bitmap(group)?.next_free(reserved, per_group, 1) else {
                return Err(corrupt(format!("group {group} counts free inodes, but its bitmap has none")));
            };
            self.mark_inode(group, slot, true, is_directory)?;
            let number = group * per_group + slot + 1;
            self.superblock_mut().disown_inode(number);
            return Ok(number);
        }
        Err(Error::NoInodes { inodes: self.superblock.inodes_count })
    }

    /// Gives an inode back.
    pub(super) fn free_inode(&mut self, inode: u32, is_directory: bool) -> Result<(), Error> {
        let (group, slot) = self.superblock.group_of_inode(inode);
        self.mark_inode(group, slot, false, is_directory)
    }

    fn mark_inode(&mut self, group: u32, slot: u32, used: bool, is_directory: bool) -> Result<(), Error> {
        self.inode_bitmap(group)?;
        if self.inode_bitmap_mut(group)?.set(slot, 1, used).is_some() {
            let found = if used { "in use" } else { "free" };
            return Err(corrupt(format!("inode {slot} of group {group} is {found} already")));
        }
        let per_group = self.superblock.inodes_per_group;
        let covered = self.superblock.checksums().cover_descriptors();
        let descriptor = self.group_mut(group)?;
        let step = |count: u32, up: bool| if up { count.saturating_add(1) } else { count.saturating_sub(1) };
        descriptor.set_free_inodes(step(descriptor.free_inodes(), !used));
        if is_directory {
            descriptor.set_used_directories(step(descriptor.used_directories(), used));
        }
        if covered {
            // Slots past this one were never used. It never grows back, as in the kernel; which does not believe the
            // count of a group that was never used either.
            let unused = per_group.saturating_sub(slot + 1);
            let is_first = descriptor.has_flag(INODE_UNINIT);
            descriptor.clear_flag(INODE_UNINIT);
            if used && (is_first || descriptor.itable_unused() > unused) {
                descriptor.set_itable_unused(unused);
            }
        }
        let total = step(self.superblock.free_inodes(), !used);
        self.superblock_mut().set_free_inodes(total);
        Ok(())
    }

    /// The inode bitmap of `group`, read and compared with its checksum and count the first time.
    fn inode_bitmap(&mut self, group: u32) -> Result<&Bitmap, Error> {
        if !self.inode_bitmaps.contains_key(&group) {
            let bitmap = self.load_inode_bitmap(group)?;
            self.inode_bitmaps.insert(group, bitmap);
        }
        self.inode_bitmaps.get(&group).ok_or_else(|| corrupt(format!("there is no group {group}")))
    }

    fn load_inode_bitmap(&self, number: u32) -> Result<Bitmap, Error> {
        let group = self.group(number)?;
        let checksums = self.superblock.checksums();
        let per_group = self.superblock.inodes_per_group;
        let bitmap = if checksums.cover_descriptors() && group.has_flag(INODE_UNINIT) {
            Bitmap::free(self.block_len(), per_group)
        } else {
            let bitmap = Bitmap::new(self.read_block(group.inode_bitmap())?);
            let computed = checksums.seed().map(|seed| bitmap.checksum(seed, per_group));
            if computed.is_some_and(|computed| !group.inode_bitmap_matches(computed)) {
                return Err(corrupt(format!("inode bitmap of group {number} does not match its checksum")));
            }
            bitmap
        };
        let (counted, claimed) = (bitmap.count_free(per_group), group.free_inodes());
        if counted != claimed {
            return Err(corrupt(format!(
                "group {number} claims {claimed} free inodes, its bitmap has {counted}"
            )));
        }
        Ok(bitmap)
    }
}
