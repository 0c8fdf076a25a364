//! The superblock of a new filesystem.

use super::super::bytes::{high32, low32, put};
use super::super::checksum::crc32c;
use super::super::error::Error;
use super::super::features::{compat, incompat, ro_compat};
use super::{LEN, MAGIC, STATE_CLEAN, Superblock};

/// How many groups keep their structures together (`flex_bg`).
pub(in super::super) const FLEX_GROUPS: u32 = 16;

/// What a new superblock says; the rest of it is always the same.
pub(in super::super) struct NewSuperblock {
    pub(in super::super) block_len: u32,
    pub(in super::super) blocks_count: u64,
    pub(in super::super) kept_blocks: u64,
    pub(in super::super) inodes_per_group: u32,
    pub(in super::super) inode_len: u32,
    pub(in super::super) reserved_gdt_blocks: u64,
    pub(in super::super) has_journal: bool,
    pub(in super::super) uuid: [u8; 16],
    pub(in super::super) hash_seed: [u8; 16],
    /// Seconds since 1970.
    pub(in super::super) time: i64,
}

impl Superblock {
    /// A superblock with today's features, which passes its own checks. Nothing is counted free yet.
    pub(in super::super) fn new(new: &NewSuperblock) -> Result<Self, Error> {
        let mut raw = vec![0; LEN];
        let log_block_len = new.block_len.ilog2() - 10;
        let per_group = new.block_len * 8;
        let first = u32::from(new.block_len == 1024);
        let groups = (new.blocks_count - u64::from(first)).div_ceil(u64::from(per_group));
        let inodes = low32(groups).saturating_mul(new.inodes_per_group);
        let mut word = |at: usize, value: u32| put(&mut raw, at, &value.to_le_bytes());
        word(0x00, inodes);
        word(0x04, low32(new.blocks_count));
        word(0x08, low32(new.kept_blocks));
        word(0x14, first);
        word(0x18, log_block_len);
        word(0x1c, log_block_len);
        word(0x20, per_group);
        word(0x24, per_group);
        word(0x28, new.inodes_per_group);
        word(0x4c, 1); // revision
        word(0x54, 11); // first inode
        word(0x100, 0xc); // default mount options: user_xattr, acl
        word(0x150, high32(new.blocks_count));
        word(0x154, high32(new.kept_blocks));
        word(0x160, super::FLAG_UNSIGNED_HASH); // the same on every host
        word(0x270, crc32c(!0, &new.uuid));
        let wide = new.inode_len > 128;
        let mut compat = compat::EXT_ATTR | compat::RESIZE_INODE | compat::DIR_INDEX;
        if new.has_journal {
            compat |= compat::HAS_JOURNAL | compat::ORPHAN_FILE;
            word(0xe0, 8);
        }
        word(0x5c, compat);
        let structure = incompat::FILETYPE | incompat::EXTENTS | incompat::BIT64 | incompat::FLEX_BG;
        word(0x60, structure | incompat::CSUM_SEED);
        let large = ro_compat::LARGE_FILE | ro_compat::HUGE_FILE | ro_compat::DIR_NLINK;
        let extra = if wide { ro_compat::EXTRA_ISIZE } else { 0 };
        word(0x64, ro_compat::SPARSE_SUPER | large | ro_compat::METADATA_CSUM | extra);
        // Last checked; made.
        let seconds = u64::try_from(new.time).unwrap_or(0);
        word(0x40, low32(seconds));
        word(0x108, low32(seconds));

        let mut half = |at: usize, value: u16| put(&mut raw, at, &value.to_le_bytes());
        half(0x36, 0xffff); // mounts before a check: any number
        half(0x38, MAGIC);
        half(0x3a, STATE_CLEAN);
        half(0x3c, 1); // on errors: continue
        half(0x58, u16::try_from(new.inode_len).unwrap_or(0));
        half(0xce, u16::try_from(new.reserved_gdt_blocks).unwrap_or(0));
        half(0xfe, 64); // descriptor length
        if wide {
            half(0x15c, 32); // extra bytes that every inode has, and that new ones get
            half(0x15e, 32);
        }
        put(&mut raw, 0x68, &new.uuid);
        put(&mut raw, 0xec, &new.hash_seed);
        let flex = u8::try_from(FLEX_GROUPS.ilog2()).unwrap_or(0);
        // Names are hashed by half MD4; groups of a flex group; checksums are CRC-32C.
        for (at, byte) in [(0xfc, 1), (0x174, flex), (0x175, 1)] {
            put(&mut raw, at, &[byte]);
        }
        for at in [0x276, 0x277] {
            put(&mut raw, at, &high32(seconds).to_le_bytes()[..1]);
        }
        let checksum = crc32c(!0, raw.get(..0x3fc).unwrap_or_default());
        put(&mut raw, 0x3fc, &checksum.to_le_bytes());
        let mut superblock = Self::parse(raw, u64::MAX)?;
        superblock.set_write_time(new.time);
        Ok(superblock)
    }

    pub(in super::super) fn put_journal_backup(&mut self, copy: &[u8; 68]) {
        put(&mut self.raw, 0x10c, copy);
        put(&mut self.raw, 0xfd, &[1]);
    }

    pub(in super::super) fn set_orphan_inode(&mut self, number: u32) {
        put(&mut self.raw, 0x280, &number.to_le_bytes());
    }

    /// `s_overhead_clusters`.
    pub(in super::super) fn set_overhead(&mut self, blocks: u32) {
        put(&mut self.raw, 0x248, &blocks.to_le_bytes());
    }
}
