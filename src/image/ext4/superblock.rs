//! The superblock: 1024 bytes at byte 1024, where every count and offset begins. All integers little-endian.
//!
//! Spec: Linux `Documentation/filesystems/ext4/super.rst`. Checked once, in [`Superblock::parse`]; the arithmetic
//! elsewhere rests on those bounds. Backups are rewritten for another UUID, label or length.

use super::bytes::{field, high32, low32, put, u16_at, u32_at};
use super::checksum::{Checksums, crc32c};
use super::error::{Error, Refusal, corrupt};
use super::features::{FeatureNames, Features, compat, incompat, ro_compat};

mod fresh;
mod state;

pub(super) use fresh::{FLEX_GROUPS, NewSuperblock};

/// Where it lies, whatever the block size, and how long it is.
pub(super) const OFFSET: u64 = 1024;
pub(super) const LEN: usize = 1024;

const MAGIC: u16 = 0xef53;
const STATE_CLEAN: u16 = 1;
const STATE_ERRORS: u16 = 2;
/// Names are hashed with `unsigned char`, as mke2fs does on arm (`s_flags`).
const FLAG_UNSIGNED_HASH: u32 = 2;
const LABEL_LEN: usize = 16;

/// The superblock as it will be written, with the geometry taken out once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Superblock {
    raw: Vec<u8>,
    pub(super) block_len: usize,
    pub(super) blocks_count: u64,
    pub(super) first_data_block: u64,
    pub(super) blocks_per_group: u32,
    pub(super) inodes_per_group: u32,
    pub(super) inodes_count: u32,
    pub(super) inode_len: usize,
    pub(super) descriptor_len: usize,
    pub(super) groups_count: u32,
}

impl Superblock {
    /// Checks the geometry and the gate: features, state, checksum. `device_len` bounds the block count.
    pub(super) fn parse(raw: Vec<u8>, device_len: u64) -> Result<Self, Error> {
        let superblock = Self::parse_past(raw, device_len, Features::in_the_way)?;
        superblock.check_writable()?;
        Ok(superblock)
    }

    /// As [`Self::parse`], but lets through what can only be read.
    pub(super) fn parse_to_read(raw: Vec<u8>, device_len: u64) -> Result<Self, Error> {
        Self::parse_past(raw, device_len, Features::in_the_way_of_reading)
    }

    /// As [`Self::parse`], but for the state: for who is about to put it right.
    pub(super) fn parse_in_any_state(raw: Vec<u8>, device_len: u64) -> Result<Self, Error> {
        Self::parse_past(raw, device_len, Features::in_the_way)
    }

    /// What forbids to write this filesystem, if anything does.
    pub(super) fn check_writable(&self) -> Result<(), Error> {
        let in_the_way = self.features().in_the_way();
        if in_the_way.0.is_empty() { self.check_state() } else { Err(Error::Unsupported(in_the_way)) }
    }

    fn parse_past(
        raw: Vec<u8>,
        device_len: u64,
        in_the_way: impl Fn(Features) -> FeatureNames,
    ) -> Result<Self, Error> {
        let magic = u16_at(&raw, 0x38);
        if magic != MAGIC {
            return Err(Error::NotExt4 { magic });
        }
        let features = Features {
            compat: u32_at(&raw, 0x5c),
            incompat: u32_at(&raw, 0x60),
            ro_compat: u32_at(&raw, 0x64),
        };
        if u32_at(&raw, 0x4c) == 0 {
            return Err(corrupt("revision is 0, wanted 1 (dynamic)"));
        }
        let stored = u32_at(&raw, 0x3fc);
        let computed = crc32c(!0, raw.get(..0x3fc).unwrap_or_default());
        if features.has_ro_compat(ro_compat::METADATA_CSUM) && stored != computed {
            return Err(corrupt(format!("superblock checksum is {stored:#010x}, computed {computed:#010x}")));
        }
        let in_the_way = in_the_way(features);
        if !in_the_way.0.is_empty() {
            return Err(Error::Unsupported(in_the_way));
        }
        Self::geometry(raw, features, device_len)
    }

    /// Takes the geometry out, every number in its bounds.
    fn geometry(raw: Vec<u8>, features: Features, device_len: u64) -> Result<Self, Error> {
        let log_block_len = u32_at(&raw, 0x18);
        match log_block_len {
            0..=2 => {}
            // The format knows them, Linux only where pages are as long.
            3..=6 => {
                let name = format!("blocks of {} bytes", 1024 << log_block_len);
                return Err(Error::Unsupported(FeatureNames(vec![name])));
            }
            _ => {
                return Err(corrupt(format!(
                    "log block size is {log_block_len}, wanted 0 to 2 (1 to 4 KiB)"
                )));
            }
        }
        let block_len = 1024_usize << log_block_len;
        let log_cluster_len = u32_at(&raw, 0x1c);
        let has_clusters = features.has_ro_compat(ro_compat::BIGALLOC);
        if log_cluster_len != log_block_len && !has_clusters {
            return Err(corrupt("cluster size differs from block size without bigalloc"));
        }
        // `EXT2_MAX_CLUSTER_LOG_SIZE`, less the 10 bits of a KiB.
        if log_cluster_len < log_block_len || log_cluster_len > 19 {
            return Err(corrupt(format!("log cluster size is {log_cluster_len}")));
        }
        let cluster_blocks = 1_u32 << (log_cluster_len - log_block_len);
        let high = if features.has_incompat(incompat::BIT64) { u32_at(&raw, 0x150) } else { 0 };
        let blocks_count = u64::from(high) << 32 | u64::from(u32_at(&raw, 0x04));
        let first_data_block = u64::from(u32_at(&raw, 0x14));
        let wanted_first = u64::from(block_len == 1024 && log_cluster_len == 0);
        let held_blocks = device_len / block_len as u64;
        if first_data_block != wanted_first || blocks_count <= first_data_block || blocks_count > held_blocks
        {
            let found = format!("{blocks_count} blocks, the first being {first_data_block}");
            return Err(corrupt(format!(
                "{found}; wanted {wanted_first} as the first and at most {held_blocks}"
            )));
        }
        let blocks_per_group = u32_at(&raw, 0x20);
        let inodes_per_group = u32_at(&raw, 0x28);
        let bits = u32::try_from(block_len * 8).unwrap_or(u32::MAX);
        let most_blocks = bits.saturating_mul(cluster_blocks);
        for (what, count, most) in
            [("blocks", blocks_per_group, most_blocks), ("inodes", inodes_per_group, bits)]
        {
            if count == 0 || count % 8 != 0 || count > most {
                return Err(corrupt(format!(
                    "{count} {what} per group, wanted a multiple of 8 up to {most}"
                )));
            }
        }
        let inode_len = usize::from(u16_at(&raw, 0x58));
        if !inode_len.is_power_of_two() || inode_len < 128 || inode_len > block_len {
            return Err(corrupt(format!(
                "inode size is {inode_len}, wanted a power of 2 from 128 to {block_len}"
            )));
        }
        let descriptor_len =
            if features.has_incompat(incompat::BIT64) { usize::from(u16_at(&raw, 0xfe)) } else { 32 };
        if descriptor_len > 64 && descriptor_len.is_power_of_two() && descriptor_len <= 1024 {
            let name = format!("group descriptors of {descriptor_len} bytes");
            return Err(Error::Unsupported(FeatureNames(vec![name])));
        }
        if descriptor_len != 32 && descriptor_len != 64 {
            return Err(corrupt(format!("descriptor size is {descriptor_len}, wanted 32 or 64")));
        }
        let groups = (blocks_count - first_data_block).div_ceil(u64::from(blocks_per_group));
        let inodes_count = u32_at(&raw, 0x00);
        if groups.checked_mul(u64::from(inodes_per_group)) != Some(u64::from(inodes_count)) {
            let found = format!("{inodes_count} inodes in {groups} groups");
            return Err(corrupt(format!("{found}, wanted {inodes_per_group} in each")));
        }
        let groups_count = u32::try_from(groups).map_err(|_| corrupt(format!("{groups} groups")))?;
        let superblock = Self {
            raw,
            block_len,
            blocks_count,
            first_data_block,
            blocks_per_group,
            inodes_per_group,
            inodes_count,
            inode_len,
            descriptor_len,
            groups_count,
        };
        let first_inode = superblock.first_inode();
        if first_inode < 11 || first_inode > inodes_count {
            return Err(corrupt(format!("first inode is {first_inode}, wanted 11 to {inodes_count}")));
        }
        Ok(superblock)
    }

    /// Refuses a filesystem that somebody has not finished with.
    fn check_state(&self) -> Result<(), Error> {
        let state = u16_at(&self.raw, 0x3a);
        let refusal = if self.features().has_incompat(incompat::RECOVER) {
            Refusal::NeedsRecovery
        } else if state & STATE_ERRORS != 0 {
            Refusal::HasErrors { state }
        } else if state & STATE_CLEAN == 0 {
            Refusal::Unclean { state }
        } else if u32_at(&self.raw, 0xe8) != 0 || self.features().has_ro_compat(ro_compat::ORPHAN_PRESENT) {
            Refusal::Orphans
        } else {
            return Ok(());
        };
        Err(Error::Refused(refusal))
    }

    /// How many blocks a bit of a block bitmap stands for; more than 1 with `bigalloc` only, which is not written.
    pub(super) fn cluster_blocks(&self) -> u64 {
        1 << u32_at(&self.raw, 0x1c).saturating_sub(u32_at(&self.raw, 0x18)).min(19)
    }

    /// The first block of the descriptor table, which follows the superblock's.
    pub(super) fn table_start(&self) -> u64 {
        OFFSET / self.block_len as u64 + 1
    }

    /// The block by which hosts that share the device tell each other, with `mmp`.
    pub(super) fn mmp_block(&self) -> Option<u64> {
        let block = u64::from(u32_at(&self.raw, 0x16c)) << 32 | u64::from(u32_at(&self.raw, 0x168));
        self.features().has_incompat(incompat::MMP).then_some(block)
    }

    pub(super) fn features(&self) -> Features {
        Features {
            compat: u32_at(&self.raw, 0x5c),
            incompat: u32_at(&self.raw, 0x60),
            ro_compat: u32_at(&self.raw, 0x64),
        }
    }

    pub(super) fn checksums(&self) -> Checksums {
        let features = self.features();
        if features.has_ro_compat(ro_compat::METADATA_CSUM) {
            let stored = features.has_incompat(incompat::CSUM_SEED);
            Checksums::Metadata {
                seed: if stored { u32_at(&self.raw, 0x270) } else { crc32c(!0, &self.uuid()) },
            }
        } else if features.has_ro_compat(ro_compat::GDT_CSUM) {
            Checksums::Descriptors
        } else {
            Checksums::Absent
        }
    }

    pub(super) fn uuid(&self) -> [u8; 16] {
        field(&self.raw, 0x68).unwrap_or_default()
    }

    /// Another UUID. Under `metadata_csum` the old seed is stored first, so that no checksum but this block's
    /// changes: Linux reads that since 4.4, and `metadata_csum` filesystems of Raspberry Pi OS are younger.
    pub(super) fn set_uuid(&mut self, uuid: [u8; 16]) {
        if let Checksums::Metadata { seed } = self.checksums() {
            put(&mut self.raw, 0x270, &seed.to_le_bytes());
            let incompat = self.features().incompat | incompat::CSUM_SEED;
            put(&mut self.raw, 0x60, &incompat.to_le_bytes());
        }
        put(&mut self.raw, 0x68, &uuid);
    }

    pub(super) fn label(&self) -> String {
        let label: [u8; LABEL_LEN] = field(&self.raw, 0x78).unwrap_or_default();
        let len = label.iter().position(|byte| *byte == 0).unwrap_or(LABEL_LEN);
        String::from_utf8_lossy(&label[..len]).into_owned()
    }

    pub(super) fn set_label(&mut self, label: &str) -> Result<(), Error> {
        if label.len() > LABEL_LEN || label.contains('\0') {
            return Err(Error::BadLength { what: "label", len_bytes: label.len(), limit_bytes: LABEL_LEN });
        }
        put(&mut self.raw, 0x78, &[0; LABEL_LEN]);
        put(&mut self.raw, 0x78, label.as_bytes());
        Ok(())
    }

    pub(super) fn first_inode(&self) -> u32 {
        u32_at(&self.raw, 0x54)
    }

    /// `s_wtime` with the high byte at 0x274.
    pub(super) fn write_time(&self) -> i64 {
        let high = self.raw.get(0x274).copied().unwrap_or(0);
        i64::from(high) << 32 | i64::from(u32_at(&self.raw, 0x30))
    }

    pub(super) fn set_write_time(&mut self, seconds: i64) {
        let seconds = u64::try_from(seconds).unwrap_or(0);
        put(&mut self.raw, 0x30, &low32(seconds).to_le_bytes());
        put(&mut self.raw, 0x274, &high32(seconds).to_le_bytes()[..1]);
    }

    pub(super) fn free_blocks(&self) -> u64 {
        self.wide(0x0c, 0x158)
    }

    pub(super) fn set_free_blocks(&mut self, count: u64) {
        self.put_wide(0x0c, 0x158, count);
    }

    pub(super) fn free_inodes(&self) -> u32 {
        u32_at(&self.raw, 0x10)
    }

    pub(super) fn set_free_inodes(&mut self, count: u32) {
        put(&mut self.raw, 0x10, &count.to_le_bytes());
    }

    /// A regular file of 2 GiB or more is there now.
    pub(super) fn set_large_file(&mut self) {
        let ro_compat = self.features().ro_compat | ro_compat::LARGE_FILE;
        put(&mut self.raw, 0x64, &ro_compat.to_le_bytes());
    }

    /// Another length, which is at most 2^32 blocks, and the groups and inodes that go with it. What is kept for root
    /// keeps its share. The free counts are the caller's.
    pub(super) fn set_blocks_count(&mut self, count: u64) {
        let kept = u128::from(self.kept_blocks()) * u128::from(count) / u128::from(self.blocks_count.max(1));
        self.set_kept_blocks(u64::try_from(kept).unwrap_or(0));
        self.put_wide(0x04, 0x150, count);
        let groups = count.saturating_sub(self.first_data_block).div_ceil(u64::from(self.blocks_per_group));
        self.blocks_count = count;
        self.groups_count = u32::try_from(groups).unwrap_or(u32::MAX);
        self.inodes_count = self.groups_count.saturating_mul(self.inodes_per_group);
        put(&mut self.raw, 0x00, &self.inodes_count.to_le_bytes());
        // `s_overhead_clusters`: 0 makes the kernel count anew.
        put(&mut self.raw, 0x248, &[0; 4]);
    }

    /// `s_r_blocks_count`: what only root may use.
    pub(super) fn kept_blocks(&self) -> u64 {
        self.wide(0x08, 0x154)
    }

    pub(super) fn set_kept_blocks(&mut self, count: u64) {
        self.put_wide(0x08, 0x154, count);
    }

    pub(super) fn reserved_gdt_blocks(&self) -> u64 {
        u64::from(u16_at(&self.raw, 0xce))
    }

    pub(super) fn set_reserved_gdt_blocks(&mut self, count: u64) {
        put(&mut self.raw, 0xce, &low32(count).to_le_bytes()[..2]);
    }

    /// How many blocks the superblock and the descriptor table take where they stand, with what is reserved for a
    /// longer table.
    pub(super) fn backup_len(&self) -> u64 {
        1 + self.gdt_blocks() + self.reserved_gdt_blocks()
    }

    /// How many descriptors a block holds.
    pub(super) fn descriptors_per_block(&self) -> u64 {
        (self.block_len / self.descriptor_len) as u64
    }

    /// How many blocks the descriptor table takes.
    pub(super) fn gdt_blocks(&self) -> u64 {
        let len = u64::from(self.groups_count) * self.descriptor_len as u64;
        len.div_ceil(self.block_len as u64)
    }

    /// How many blocks the inode table of one group takes.
    pub(super) fn inode_table_blocks(&self) -> u64 {
        (u64::from(self.inodes_per_group) * self.inode_len as u64).div_ceil(self.block_len as u64)
    }

    /// The first block of `group`.
    pub(super) fn group_start(&self, group: u32) -> u64 {
        self.first_data_block + u64::from(group) * u64::from(self.blocks_per_group)
    }

    /// How many blocks `group` has; fewer in the last one.
    pub(super) fn group_len(&self, group: u32) -> u32 {
        let left = self.blocks_count.saturating_sub(self.group_start(group));
        u32::try_from(left).unwrap_or(u32::MAX).min(self.blocks_per_group)
    }

    /// The group that holds `block`, and which of its blocks that is.
    pub(super) fn group_of_block(&self, block: u64) -> (u32, u32) {
        let past = block.saturating_sub(self.first_data_block);
        let per_group = u64::from(self.blocks_per_group);
        (u32::try_from(past / per_group).unwrap_or(u32::MAX), u32::try_from(past % per_group).unwrap_or(0))
    }

    /// The group that holds `inode`, and which of its inodes that is. Inodes count from 1.
    pub(super) fn group_of_inode(&self, inode: u32) -> (u32, u32) {
        let past = inode.saturating_sub(1);
        (past / self.inodes_per_group, past % self.inodes_per_group)
    }

    /// Whether `group` begins with a copy of the superblock and of the descriptor table.
    pub(super) fn has_backup(&self, group: u32) -> bool {
        let features = self.features();
        if group == 0 {
            true
        } else if features.has_compat(compat::SPARSE_SUPER2) {
            group == u32_at(&self.raw, 0x24c) || group == u32_at(&self.raw, 0x250)
        } else if features.has_ro_compat(ro_compat::SPARSE_SUPER) {
            is_sparse_backup(group)
        } else {
            true
        }
    }

    /// The inode of the orphan file, when there is one.
    pub(super) fn orphan_inode(&self) -> Option<u32> {
        self.features().has_compat(compat::ORPHAN_FILE).then(|| u32_at(&self.raw, 0x280))
    }

    /// `inode` is taken for a file: it is no more one of project quota or of orphans (`s_prj_quota_inum`,
    /// `s_orphan_file_inum`), as it may be called where those features are not. e2fsck looks at the numbers all the same.
    pub(super) fn disown_inode(&mut self, inode: u32) {
        for at in [0x26c, 0x280] {
            if u32_at(&self.raw, at) == inode {
                put(&mut self.raw, at, &[0; 4]);
            }
        }
    }

    pub(super) fn want_extra_isize(&self) -> u16 {
        u16_at(&self.raw, 0x15e)
    }

    pub(super) fn hash_seed(&self) -> [u32; 4] {
        [0xec, 0xf0, 0xf4, 0xf8].map(|at| u32_at(&self.raw, at))
    }

    pub(super) fn hash_version(&self) -> u8 {
        self.raw.get(0xfc).copied().unwrap_or(0)
    }

    pub(super) fn hash_unsigned(&self) -> bool {
        u32_at(&self.raw, 0x160) & FLAG_UNSIGNED_HASH != 0
    }

    /// A count whose high half is there with `64bit` only.
    fn wide(&self, low: usize, high: usize) -> u64 {
        let high = if self.is_64bit() { u32_at(&self.raw, high) } else { 0 };
        u64::from(high) << 32 | u64::from(u32_at(&self.raw, low))
    }

    fn put_wide(&mut self, low: usize, high: usize, count: u64) {
        put(&mut self.raw, low, &low32(count).to_le_bytes());
        if self.is_64bit() {
            put(&mut self.raw, high, &high32(count).to_le_bytes());
        }
    }

    fn is_64bit(&self) -> bool {
        self.features().has_incompat(incompat::BIT64)
    }

    /// The bytes to write as the copy in `group`: each copy names its group and so has its own checksum.
    pub(super) fn to_bytes(&self, group: u32) -> Vec<u8> {
        let mut raw = self.raw.clone();
        // 16 bits of a larger number, as the kernel stores it.
        put(&mut raw, 0x5a, &group.to_le_bytes()[..2]);
        if let Checksums::Metadata { .. } = self.checksums() {
            let checksum = crc32c(!0, &raw[..0x3fc]);
            put(&mut raw, 0x3fc, &checksum.to_le_bytes());
        }
        raw
    }
}

/// Whether `group` has a copy under `sparse_super`.
pub(super) fn is_sparse_backup(group: u32) -> bool {
    group <= 1 || [3, 5, 7].iter().any(|base| is_power(group, *base))
}

fn is_power(number: u32, base: u32) -> bool {
    let mut power = base;
    while power < number {
        match power.checked_mul(base) {
            Some(next) => power = next,
            None => return false,
        }
    }
    power == number
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backups_stand_in_powers_of_three_five_and_seven() {
        let powers: Vec<u32> =
            (2..130).filter(|group| [3, 5, 7].iter().any(|base| is_power(*group, *base))).collect();
        assert_eq!(powers, [3, 5, 7, 9, 25, 27, 49, 81, 125]);
    }

    #[test]
    fn anything_without_the_magic_number_is_no_ext4() {
        assert!(matches!(Superblock::parse(vec![0; LEN], 1 << 20), Err(Error::NotExt4 { magic: 0 })));
        assert!(matches!(Superblock::parse(Vec::new(), 1 << 20), Err(Error::NotExt4 { magic: 0 })));
    }
}
