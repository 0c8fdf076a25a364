//! Group descriptors: where each group keeps its bitmaps and inodes, and how many are free.
//!
//! 32 bytes, or 64 with `64bit`, whose second half holds the high parts. The flags and `itable_unused` mean
//! something only where descriptors carry a checksum. Spec: Linux `Documentation/filesystems/ext4/group_descr.rst`.

use super::bytes::{high16, high32, low16, low32, put, u16_at, u32_at};

/// The inode bitmap was never written: all inodes of the group are free.
pub(super) const INODE_UNINIT: u16 = 1;
/// The block bitmap was never written: only the group's own metadata is in use.
pub(super) const BLOCK_UNINIT: u16 = 2;

/// The inode table holds zero bytes where it was never used, so the kernel need not zero it.
pub(super) const INODE_ZEROED: u16 = 4;

/// One descriptor, as it will be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Group {
    raw: Vec<u8>,
}

impl Group {
    pub(super) fn new(raw: Vec<u8>) -> Self {
        Self { raw }
    }

    pub(super) fn raw(&self) -> &[u8] {
        &self.raw
    }

    pub(super) fn block_bitmap(&self) -> u64 {
        self.wide(0x00, 0x20)
    }

    pub(super) fn inode_bitmap(&self) -> u64 {
        self.wide(0x04, 0x24)
    }

    pub(super) fn inode_table(&self) -> u64 {
        self.wide(0x08, 0x28)
    }

    /// Where the bitmaps and the inode table lie: block bitmap, inode bitmap, table.
    pub(super) fn set_places(&mut self, block_bitmap: u64, inode_bitmap: u64, inode_table: u64) {
        for (low, high, block) in
            [(0x00, 0x20, block_bitmap), (0x04, 0x24, inode_bitmap), (0x08, 0x28, inode_table)]
        {
            put(&mut self.raw, low, &low32(block).to_le_bytes());
            if self.is_wide() {
                put(&mut self.raw, high, &high32(block).to_le_bytes());
            }
        }
    }

    pub(super) fn free_blocks(&self) -> u32 {
        self.count(0x0c, 0x2c)
    }

    pub(super) fn set_free_blocks(&mut self, count: u32) {
        self.set_count(0x0c, 0x2c, count);
    }

    pub(super) fn free_inodes(&self) -> u32 {
        self.count(0x0e, 0x2e)
    }

    pub(super) fn set_free_inodes(&mut self, count: u32) {
        self.set_count(0x0e, 0x2e, count);
    }

    pub(super) fn used_directories(&self) -> u32 {
        self.count(0x10, 0x30)
    }

    pub(super) fn set_used_directories(&mut self, count: u32) {
        self.set_count(0x10, 0x30, count);
    }

    pub(super) fn itable_unused(&self) -> u32 {
        self.count(0x1c, 0x32)
    }

    pub(super) fn set_itable_unused(&mut self, count: u32) {
        self.set_count(0x1c, 0x32, count);
    }

    pub(super) fn has_flag(&self, flag: u16) -> bool {
        u16_at(&self.raw, 0x12) & flag != 0
    }

    pub(super) fn set_flag(&mut self, flag: u16) {
        let flags = u16_at(&self.raw, 0x12) | flag;
        put(&mut self.raw, 0x12, &flags.to_le_bytes());
    }

    pub(super) fn clear_flag(&mut self, flag: u16) {
        let flags = u16_at(&self.raw, 0x12) & !flag;
        put(&mut self.raw, 0x12, &flags.to_le_bytes());
    }

    pub(super) fn checksum(&self) -> u16 {
        u16_at(&self.raw, 0x1e)
    }

    pub(super) fn set_checksum(&mut self, checksum: u16) {
        put(&mut self.raw, 0x1e, &checksum.to_le_bytes());
    }

    /// Whether `checksum` is the stored one of the block bitmap; a short descriptor holds 16 bits of it.
    pub(super) fn block_bitmap_matches(&self, checksum: u32) -> bool {
        self.count(0x18, 0x38) == checksum & self.checksum_mask()
    }

    pub(super) fn set_block_bitmap_checksum(&mut self, checksum: u32) {
        self.set_count(0x18, 0x38, checksum);
    }

    /// As [`Self::block_bitmap_matches`], for the inode bitmap.
    pub(super) fn inode_bitmap_matches(&self, checksum: u32) -> bool {
        self.count(0x1a, 0x3a) == checksum & self.checksum_mask()
    }

    pub(super) fn set_inode_bitmap_checksum(&mut self, checksum: u32) {
        self.set_count(0x1a, 0x3a, checksum);
    }

    fn is_wide(&self) -> bool {
        self.raw.len() >= 64
    }

    fn checksum_mask(&self) -> u32 {
        if self.is_wide() { !0 } else { 0xffff }
    }

    fn wide(&self, low: usize, high: usize) -> u64 {
        let high = if self.is_wide() { u32_at(&self.raw, high) } else { 0 };
        u64::from(high) << 32 | u64::from(u32_at(&self.raw, low))
    }

    fn count(&self, low: usize, high: usize) -> u32 {
        let high = if self.is_wide() { u16_at(&self.raw, high) } else { 0 };
        u32::from(high) << 16 | u32::from(u16_at(&self.raw, low))
    }

    fn set_count(&mut self, low: usize, high: usize, count: u32) {
        put(&mut self.raw, low, &low16(count).to_le_bytes());
        if self.is_wide() {
            put(&mut self.raw, high, &high16(count).to_le_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_descriptor_keeps_high_halves_and_a_short_one_has_none() {
        let mut long = Group::new(vec![1; 64]);
        long.set_free_blocks(0x1_0002);
        long.set_block_bitmap_checksum(0xdead_beef);
        assert_eq!((long.block_bitmap(), long.free_blocks()), (0x0101_0101_0101_0101, 0x1_0002));
        assert!(long.block_bitmap_matches(0xdead_beef) && !long.block_bitmap_matches(0xbeef));

        let mut short = Group::new(vec![1; 32]);
        short.set_block_bitmap_checksum(0xdead_beef);
        assert!(short.block_bitmap_matches(0x1234_beef) && !short.block_bitmap_matches(0xbeee));
        assert_eq!((short.block_bitmap(), short.raw().len()), (0x0101_0101, 32));
    }
}
