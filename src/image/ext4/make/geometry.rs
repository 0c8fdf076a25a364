//! The numbers of a new filesystem, from its length, and where its structures lie.
//!
//! As mke2fs and libext2fs decide them: `misc/mke2fs.c`, `mke2fs.conf`, `lib/ext2fs/{initialize,mkjournal,orphan}.c`.

use super::super::error::Error;
use super::super::superblock::{FLEX_GROUPS, Superblock, is_sparse_backup};
use super::MakeOptions;

const MIB: u64 = 1 << 20;
const TIB: u64 = 1 << 40;
const DESCRIPTOR_LEN: u64 = 64;
/// A last group with less than its structures and this much is left away.
const TAIL_BLOCKS: u64 = 50;
/// The kernel's pages; a filesystem ends with one.
const PAGE_LEN: u64 = 4096;

/// What follows from the length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Geometry {
    pub(super) block_len: u32,
    pub(super) blocks_count: u64,
    pub(super) inodes_per_group: u32,
    inode_len: u64,
    /// For root.
    pub(super) kept_blocks: u64,
    pub(super) reserved_gdt_blocks: u64,
    /// 0 when there is no journal.
    pub(super) journal_blocks: u64,
    pub(super) orphan_blocks: u64,
}

impl Geometry {
    pub(super) fn of(len_bytes: u64, options: &MakeOptions) -> Result<Self, Error> {
        let block_len = options.block_len.unwrap_or(if len_bytes < 512 * MIB { 1024 } else { 4096 });
        if !matches!(block_len, 1024 | 2048 | 4096) {
            return Err(unmakeable(len_bytes, "blocks have 1024, 2048 or 4096 bytes"));
        }
        if !options.inode_len.is_power_of_two() || !(128..=block_len).contains(&options.inode_len) {
            return Err(unmakeable(len_bytes, "inodes have a power of two from 128 to the block length"));
        }
        if options.reserved_percent > 50 {
            return Err(unmakeable(len_bytes, "at most 50 percent can be kept for root"));
        }
        let block = u64::from(block_len);
        let per_inode = options.bytes_per_inode.unwrap_or_else(|| bytes_per_inode(len_bytes)).max(block);
        let mut blocks_count = len_bytes / PAGE_LEN * (PAGE_LEN / block);
        if blocks_count > u64::from(u32::MAX) {
            return Err(unmakeable(len_bytes, "blocks are numbered with 32 bits"));
        }
        let kept_of_all = blocks_count * u64::from(options.reserved_percent) / 100;
        let all_blocks = blocks_count;
        // At least one that is nobody's own.
        let inodes = (blocks_count * block / per_inode).max(12);
        // At most twice: the second time the last group is whole.
        loop {
            let geometry = Self::with_blocks(block, blocks_count, inodes, options);
            let geometry = geometry.ok_or_else(|| unmakeable(len_bytes, "it would hold nothing"))?;
            let past = geometry.tail_blocks();
            if past == 0 {
                let kept_blocks = kept_of_all * blocks_count / all_blocks;
                return Ok(Self { kept_blocks, ..geometry });
            }
            blocks_count -= past;
        }
    }

    /// `None` when it is too short, or has more inodes than numbers for them.
    fn with_blocks(block: u64, blocks_count: u64, inodes: u64, options: &MakeOptions) -> Option<Self> {
        let first = u64::from(block == 1024);
        let per_group = block * 8;
        let groups = blocks_count.checked_sub(first)?.div_ceil(per_group);
        let inode_len = u64::from(options.inode_len);
        // A bitmap of one block, and 16 bits for the count in a descriptor.
        let most = per_group.min((1 << 16) - block / inode_len);
        let wanted = inodes.div_ceil(groups.max(1)).min(most).min(u64::from(u32::MAX) / groups.max(1));
        // Tables of whole blocks, and counts of whole bytes in the bitmap.
        let table_blocks = (wanted * inode_len).div_ceil(block);
        let inodes_per_group = (table_blocks * block / inode_len).max(8) / 8 * 8;
        if groups == 0 || inodes_per_group * groups < 16 || inodes_per_group * groups > u64::from(u32::MAX) {
            return None;
        }
        let journal_blocks = if options.journal { journal_blocks(blocks_count) } else { 0 };
        let geometry = Self {
            block_len: u32::try_from(block).ok()?,
            blocks_count,
            inodes_per_group: u32::try_from(inodes_per_group).ok()?,
            inode_len,
            kept_blocks: 0,
            reserved_gdt_blocks: reserved_gdt_blocks(block, blocks_count, first, per_group, groups),
            journal_blocks,
            orphan_blocks: orphan_blocks(blocks_count),
        };
        // A single group must hold everything; of more, each has room for its own structures.
        let overhead = geometry.overhead(true);
        let len = per_group.min(blocks_count - first);
        (len >= overhead + TAIL_BLOCKS.max(LEAST_BLOCKS)).then_some(geometry)
    }

    fn groups(&self) -> u64 {
        (self.blocks_count - self.first()).div_ceil(self.per_group())
    }

    fn first(&self) -> u64 {
        u64::from(self.block_len == 1024)
    }

    fn per_group(&self) -> u64 {
        u64::from(self.block_len) * 8
    }

    /// How many blocks of a group are structures.
    fn overhead(&self, has_backup: bool) -> u64 {
        let table = (u64::from(self.inodes_per_group) * self.inode_len).div_ceil(u64::from(self.block_len));
        let descriptors = (self.groups() * DESCRIPTOR_LEN).div_ceil(u64::from(self.block_len));
        2 + table + if has_backup { 1 + descriptors + self.reserved_gdt_blocks } else { 0 }
    }

    /// How many blocks the last group has when that is too few for a group of its own.
    fn tail_blocks(&self) -> u64 {
        let last = self.groups() - 1;
        let len = (self.blocks_count - self.first()) % self.per_group();
        let has_backup = u32::try_from(last).is_ok_and(is_sparse_backup);
        if last > 0 && len < self.overhead(has_backup) + TAIL_BLOCKS { len } else { 0 }
    }

    /// Where each group has its block bitmap, inode bitmap and inode table.
    pub(super) fn places(&self, superblock: &Superblock) -> Vec<(u64, u64, u64)> {
        let mut places = Vec::new();
        let count = superblock.groups_count;
        for first in (0..count).step_by(usize::try_from(FLEX_GROUPS).unwrap_or(1)) {
            let end = first.saturating_add(FLEX_GROUPS).min(count);
            match packed(superblock, first, end) {
                Some(packed) => places.extend(packed),
                None => places.extend((first..end).map(|group| own(superblock, group))),
            }
        }
        places
    }
}

/// The structures of groups `first..end` one after the other from the first group on; `None` when they do not fit
/// between the copies of the superblock.
fn packed(superblock: &Superblock, first: u32, end: u32) -> Option<Vec<(u64, u64, u64)>> {
    let mut copies: Vec<(u64, u64)> = Vec::new();
    for group in (first..end).filter(|group| superblock.has_backup(*group)) {
        let start = superblock.group_start(group);
        copies.push((start, start + superblock.backup_len()));
    }
    let last = end - 1;
    let limit = superblock.group_start(last) + u64::from(superblock.group_len(last));
    let mut at = superblock.group_start(first);
    let mut take = |len: u64| {
        while let Some(copy) = copies.iter().find(|copy| copy.0 < at + len && at < copy.1) {
            at = copy.1;
        }
        let start = at;
        at += len;
        (at <= limit).then_some(start)
    };
    let mut row = |len: u64| (first..end).map(|_| take(len)).collect::<Option<Vec<u64>>>();
    let (blocks, inodes, tables) = (row(1)?, row(1)?, row(superblock.inode_table_blocks())?);
    Some(
        blocks
            .into_iter()
            .zip(inodes)
            .zip(tables)
            .map(|((block, inode), table)| (block, inode, table))
            .collect(),
    )
}

/// The structures of `group` in itself.
fn own(superblock: &Superblock, group: u32) -> (u64, u64, u64) {
    let copy = if superblock.has_backup(group) { superblock.backup_len() } else { 0 };
    let start = superblock.group_start(group) + copy;
    (start, start + 1, start + 2)
}

/// The root directory, `lost+found`, the resize inode's block, and something to spare.
const LEAST_BLOCKS: u64 = 32;

fn unmakeable(len_bytes: u64, reason: &'static str) -> Error {
    Error::Unmakeable { len_bytes, reason }
}

/// `inode_ratio` of the filesystem types `floppy`, `small`, none, `big` and `huge`.
fn bytes_per_inode(len_bytes: u64) -> u64 {
    match len_bytes {
        len if len < 3 * MIB => 8192,
        len if len < 512 * MIB => 4096,
        len if len < 4 * TIB => 16 << 10,
        len if len < 16 * TIB => 32 << 10,
        _ => 64 << 10,
    }
}

/// `ext2fs_default_journal_size`.
fn journal_blocks(blocks_count: u64) -> u64 {
    match blocks_count {
        count if count < 2048 => 0,
        count if count < 32 << 10 => 1024,
        count if count < 256 << 10 => 4096,
        count if count < 512 << 10 => 8192,
        count if count < 4096 << 10 => 16 << 10,
        count if count < 8192 << 10 => 32 << 10,
        count if count < 16_384 << 10 => 64 << 10,
        count if count < 32_768 << 10 => 128 << 10,
        _ => 256 << 10,
    }
}

/// `ext2fs_default_orphan_file_blocks`.
fn orphan_blocks(blocks_count: u64) -> u64 {
    match blocks_count {
        count if count < 128 << 10 => 32,
        count if count < 2 << 20 => count / 4096,
        _ => 512,
    }
}

/// Room for the descriptors of a filesystem 1024 times as long (`calc_reserved_gdt_blocks`).
fn reserved_gdt_blocks(block: u64, blocks_count: u64, first: u64, per_group: u64, groups: u64) -> u64 {
    let most = u64::from(u32::MAX);
    let blocks = if blocks_count < most / 1024 { blocks_count * 1024 } else { most };
    let per_block = block / DESCRIPTOR_LEN;
    let wanted = (blocks - first).div_ceil(per_group).div_ceil(per_block);
    wanted.saturating_sub(groups.div_ceil(per_block)).min(block / 4)
}
