//! Family 1, the superblock: whether its numbers can be, and what follows from them. Everything behind rests on these
//! bounds, so a superblock with impossible numbers ends the check.

use super::super::bytes::{field, u16_at, u32_at};
use super::super::checksum::{Checksums, crc32c};
use super::super::error::Error;
use super::super::features::{FeatureNames, Features, compat, incompat, ro_compat};
use super::super::superblock::{LEN, OFFSET};
use crate::block::ReadAt;
use crate::image::findings::{Findings, Place};

const MAGIC: u16 = 0xef53;
const STATE_CLEAN: u16 = 1;
const STATE_ERRORS: u16 = 2;
const HURD: u32 = 1;
/// The numbers of blocks and inodes in a group are kept in 16 bits.
const PER_GROUP_MAX: u64 = 1 << 16;

const KNOWN_COMPAT: u32 = 0x1
    | compat::HAS_JOURNAL
    | EXT_ATTR
    | compat::RESIZE_INODE
    | compat::DIR_INDEX
    | compat::SPARSE_SUPER2
    | 0x400 // fast_commit
    | compat::STABLE_INODES
    | compat::ORPHAN_FILE;
const KNOWN_INCOMPAT: u32 = incompat::FILETYPE
    | incompat::RECOVER
    | incompat::EXTENTS
    | incompat::BIT64
    | incompat::FLEX_BG
    | incompat::CSUM_SEED;
const KNOWN_RO_COMPAT: u32 = ro_compat::SPARSE_SUPER
    | ro_compat::LARGE_FILE
    | HUGE_FILE
    | ro_compat::GDT_CSUM
    | ro_compat::DIR_NLINK
    | 0x40 // extra_isize
    | ro_compat::METADATA_CSUM
    | ro_compat::ORPHAN_PRESENT;

pub(super) const EXT_ATTR: u32 = 0x8;
pub(super) const HUGE_FILE: u32 = 0x8;

/// The superblock's place in findings.
pub(super) const SUPERBLOCK: Place = Place::only("superblock");

/// A superblock whose numbers are possible.
#[derive(Clone, Debug)]
pub(super) struct Geometry {
    raw: Vec<u8>,
    pub(super) features: Features,
    pub(super) checksums: Checksums,
    pub(super) block_len: usize,
    pub(super) log_block_len: u32,
    pub(super) blocks_count: u64,
    pub(super) first_data_block: u64,
    pub(super) blocks_per_group: u64,
    pub(super) inodes_per_group: u32,
    pub(super) inodes_count: u32,
    pub(super) groups_count: u32,
    pub(super) inode_len: usize,
    pub(super) first_inode: u32,
    pub(super) descriptor_len: usize,
    /// What the descriptors take.
    pub(super) descriptor_blocks: u64,
    /// What one inode table takes.
    pub(super) table_blocks: u64,
}

/// Reads the superblock at byte `offset`.
pub(super) fn read_raw(device: &dyn ReadAt, offset: u64) -> Result<Vec<u8>, Error> {
    let mut raw = vec![0; LEN];
    device.read_at(offset, &mut raw).map_err(|source| Error::Device { block: 0, source })?;
    Ok(raw)
}

impl Geometry {
    /// Judges the superblock. `None` when its numbers are so wrong that nothing else can be looked at; the findings then
    /// say so.
    pub(super) fn read(device: &dyn ReadAt, findings: &mut Findings) -> Result<Option<Self>, Error> {
        let raw = read_raw(device, OFFSET)?;
        let magic = u16_at(&raw, 0x38);
        if magic != MAGIC {
            return Err(Error::NotExt4 { magic });
        }
        let features = features(&raw);
        check_own_checksum(&raw, features, findings);
        let is_whole = findings.is_empty();
        let unknown = unknown(&raw, features);
        if !unknown.0.is_empty() {
            if is_whole {
                return Err(Error::Unsupported(unknown));
            }
            findings.add(SUPERBLOCK, "set of features", unknown, "known ones");
            return Ok(None);
        }
        let before = findings.count();
        let geometry = Self::judge(raw, features, device.len_bytes(), findings);
        Ok(geometry.filter(|_| findings.count() == before))
    }

    /// Takes the numbers out, each in its bounds; some of them only if the others are.
    fn judge(raw: Vec<u8>, features: Features, device_len: u64, findings: &mut Findings) -> Option<Self> {
        let log_block_len = u32_at(&raw, 0x18);
        findings.compare(SUPERBLOCK, "cluster size (log)", u32_at(&raw, 0x1c), log_block_len);
        findings.compare(SUPERBLOCK, "number of clusters per group", u32_at(&raw, 0x24), u32_at(&raw, 0x20));
        if log_block_len > 2 {
            findings.add(SUPERBLOCK, "block size (log)", log_block_len, "0 to 2");
            return None;
        }
        let block_len = 1024_usize << log_block_len;
        let block_len_wide = block_len as u64;
        let is_64bit = features.has_incompat(incompat::BIT64);
        let high = if is_64bit { u32_at(&raw, 0x150) } else { 0 };
        let blocks_count = u64::from(high) << 32 | u64::from(u32_at(&raw, 0x04));
        let first_data_block = u64::from(u32_at(&raw, 0x14));
        findings.compare(SUPERBLOCK, "first data block", first_data_block, u64::from(log_block_len == 0));
        let held = device_len / block_len_wide;
        if blocks_count <= first_data_block || blocks_count > held {
            findings.add(
                SUPERBLOCK,
                "number of blocks",
                blocks_count,
                format_args!("at most {held}, which the device has"),
            );
            return None;
        }
        let inode_len = usize::from(u16_at(&raw, 0x58));
        if !inode_len.is_power_of_two() || inode_len < 128 || inode_len > block_len {
            findings.add(
                SUPERBLOCK,
                "inode size",
                inode_len,
                format_args!("a power of 2 from 128 to {block_len}"),
            );
            return None;
        }
        let inodes_per_block = (block_len / inode_len) as u64;
        let blocks_per_group = u64::from(u32_at(&raw, 0x20));
        let bits = block_len_wide * 8;
        check_per_group(
            "number of blocks per group",
            blocks_per_group,
            8,
            bits.min(PER_GROUP_MAX - 8),
            findings,
        );
        let inodes_per_group = u32_at(&raw, 0x28);
        let most = bits
            .min(PER_GROUP_MAX - inodes_per_block)
            .min(inodes_per_block * blocks_per_group.saturating_sub(4));
        check_per_group(
            "number of inodes per group",
            u64::from(inodes_per_group),
            inodes_per_block.max(8),
            most,
            findings,
        );
        let descriptor_len = u16_at(&raw, 0xfe);
        let is_possible = if is_64bit {
            descriptor_len.is_power_of_two() && (64..=1024).contains(&descriptor_len)
        } else {
            (descriptor_len == 0 || descriptor_len.is_power_of_two()) && descriptor_len <= 1024
        };
        if !is_possible {
            findings.add(SUPERBLOCK, "descriptor size", descriptor_len, "a power of 2 from 64 to 1024");
        }
        if !findings.is_empty() && (blocks_per_group == 0 || !is_possible) {
            return None;
        }
        let descriptor_len = if is_64bit { usize::from(descriptor_len) } else { 32 };
        let groups = (blocks_count - first_data_block).div_ceil(blocks_per_group);
        let inodes_count = u32_at(&raw, 0x00);
        let wanted = groups.saturating_mul(u64::from(inodes_per_group));
        findings.compare(SUPERBLOCK, "number of inodes", u64::from(inodes_count), wanted);
        let groups_count = u32::try_from(groups).ok()?;
        let first_inode = u32_at(&raw, 0x54);
        if first_inode < 11 || first_inode > inodes_count {
            findings.add(SUPERBLOCK, "first inode", first_inode, format_args!("11 to {inodes_count}"));
        }
        let checksums = checksums(&raw, features);
        let table_len = u64::from(inodes_per_group) * inode_len as u64;
        let descriptor_blocks = (groups * descriptor_len as u64).div_ceil(block_len_wide);
        let end = first_data_block + 1 + descriptor_blocks;
        if end > blocks_count {
            findings.add(
                SUPERBLOCK,
                "end of the descriptors",
                end,
                format_args!("at most {blocks_count}, the end"),
            );
        }
        Some(Self {
            features,
            checksums,
            block_len,
            log_block_len,
            blocks_count,
            first_data_block,
            blocks_per_group,
            inodes_per_group,
            inodes_count,
            groups_count,
            inode_len,
            first_inode,
            descriptor_len,
            descriptor_blocks,
            table_blocks: table_len.div_ceil(block_len_wide),
            raw,
        })
    }

    /// What is wrong with the rest of the superblock, none of which stops the check.
    pub(super) fn check_rest(&self, findings: &mut Findings) {
        let mut wanted = |is_right: bool, what: &str, found: u64, wanted: &str| {
            if !is_right {
                findings.add(SUPERBLOCK, what, found, wanted);
            }
        };
        let kept = self.wide(0x08, 0x154);
        wanted(kept <= self.blocks_count / 2, "number of reserved blocks", kept, "at most half of all");
        let reserved = self.reserved_gdt_blocks();
        wanted(
            reserved <= self.block_len as u64 / 4,
            "number of blocks reserved for descriptors",
            reserved,
            "at most a block of pointers",
        );
        if !self.features.has_compat(compat::RESIZE_INODE) {
            wanted(
                reserved == 0,
                "number of blocks reserved for descriptors",
                reserved,
                "0 (no resize_inode)",
            );
        }
        let flex = u64::from(self.u32(0x174) & 0xff);
        wanted(flex <= 31, "size of a flex group (log)", flex, "at most 31");
        if self.inode_len > 128 {
            let most = self.inode_len as u64 - 128;
            for (at, what) in [(0x15c, "s_min_extra_isize"), (0x15e, "s_want_extra_isize")] {
                let len = u64::from(u16_at(&self.raw, at));
                let is_right = len == 0 || ((4..=most).contains(&len) && len.is_multiple_of(4));
                wanted(is_right, what, len, "a multiple of 4 that fits behind the first 128 bytes");
            }
        }
        for (at, what) in [(0x240, "user"), (0x244, "group"), (0x26c, "project")] {
            let inode = self.u32(at);
            if matches!(inode, 1 | 2 | 5..=10) || inode > self.inodes_count {
                findings.add(
                    SUPERBLOCK,
                    format_args!("inode of {what} quota"),
                    inode,
                    "none, or one for that",
                );
            }
        }
        self.check_feature_pairs(findings);
        self.check_state(findings);
    }

    fn check_feature_pairs(&self, findings: &mut Findings) {
        let features = self.features;
        let has_checksums = features.has_ro_compat(ro_compat::METADATA_CSUM);
        let mut wanted = |is_right: bool, found: &str, wanted: &str| {
            if !is_right {
                findings.add(SUPERBLOCK, "set of features", found, wanted);
            }
        };
        let both = has_checksums && features.has_ro_compat(ro_compat::GDT_CSUM);
        wanted(!both, "metadata_csum and uninit_bg", "one of them");
        let seed = features.has_incompat(incompat::CSUM_SEED);
        wanted(!seed || has_checksums, "metadata_csum_seed", "metadata_csum with it");
        let is_64bit = features.has_incompat(incompat::BIT64);
        wanted(!is_64bit || features.has_incompat(incompat::EXTENTS), "64bit", "extents with it");
        let has_journal = features.has_compat(compat::HAS_JOURNAL);
        let orphan_file = features.has_compat(compat::ORPHAN_FILE);
        wanted(!orphan_file || has_journal, "orphan_file", "has_journal with it");
    }

    /// What tells that somebody has not finished. e2fsck looks at these only when it may repair.
    fn check_state(&self, findings: &mut Findings) {
        let state = u16_at(&self.raw, 0x3a);
        if self.features.has_incompat(incompat::RECOVER) {
            findings.add(SUPERBLOCK, "journal", "needed for recovery", "an empty one");
        }
        if state & STATE_CLEAN == 0 {
            findings.add(SUPERBLOCK, "state", format_args!("{state:#06x} (not unmounted cleanly)"), "0x0001");
        }
        if state & STATE_ERRORS != 0 {
            findings.add(
                SUPERBLOCK,
                "state",
                format_args!("{state:#06x} (the kernel found errors)"),
                "0x0001",
            );
        }
        findings.compare(SUPERBLOCK, "first of the orphaned inodes", self.u32(0xe8), 0);
        if self.features.has_ro_compat(ro_compat::ORPHAN_PRESENT) {
            findings.add(SUPERBLOCK, "orphan file", "in use", "not in use");
        }
    }

    pub(super) fn u32(&self, at: usize) -> u32 {
        u32_at(&self.raw, at)
    }

    pub(super) fn u8(&self, at: usize) -> u8 {
        self.raw.get(at).copied().unwrap_or(0)
    }

    pub(super) fn bytes<const N: usize>(&self, at: usize) -> [u8; N] {
        field(&self.raw, at).unwrap_or([0; N])
    }

    /// A count whose high half is there with `64bit` only.
    pub(super) fn wide(&self, low: usize, high: usize) -> u64 {
        let high = if self.is_64bit() { self.u32(high) } else { 0 };
        u64::from(high) << 32 | u64::from(self.u32(low))
    }

    pub(super) fn is_64bit(&self) -> bool {
        self.features.has_incompat(incompat::BIT64)
    }

    pub(super) fn has_extents(&self) -> bool {
        self.features.has_incompat(incompat::EXTENTS)
    }

    pub(super) fn reserved_gdt_blocks(&self) -> u64 {
        u64::from(u16_at(&self.raw, 0xce))
    }

    /// The inode of the orphan file as the superblock has it, whether or not there is one.
    pub(super) fn orphan_inode(&self) -> u32 {
        self.u32(0x280)
    }

    pub(super) fn uuid(&self) -> [u8; 16] {
        self.bytes(0x68)
    }

    /// Whether a block can be one of a file.
    pub(super) fn holds(&self, block: u64) -> bool {
        block != 0 && block >= self.first_data_block && block < self.blocks_count
    }

    pub(super) fn group_start(&self, group: u32) -> u64 {
        self.first_data_block + u64::from(group) * self.blocks_per_group
    }

    /// How many blocks `group` has; fewer in the last one.
    pub(super) fn group_len(&self, group: u32) -> u64 {
        self.blocks_count.saturating_sub(self.group_start(group)).min(self.blocks_per_group)
    }

    pub(super) fn is_last(&self, group: u32) -> bool {
        group.checked_add(1) == Some(self.groups_count)
    }

    /// The group of an inode; inodes count from 1.
    pub(super) fn group_of_inode(&self, inode: u32) -> u32 {
        inode.saturating_sub(1).checked_div(self.inodes_per_group).unwrap_or(0)
    }

    /// Whether `group` begins with a copy of the superblock and of the descriptors.
    pub(super) fn has_copy(&self, group: u32) -> bool {
        if group == 0 {
            true
        } else if self.features.has_compat(compat::SPARSE_SUPER2) {
            group == self.u32(0x24c) || group == self.u32(0x250)
        } else if self.features.has_ro_compat(ro_compat::SPARSE_SUPER) {
            group == 1 || [3, 5, 7].iter().any(|base| is_power_of(group, *base))
        } else {
            true
        }
    }

    /// How many blocks the superblock, the descriptors and the blocks reserved for more of them take at the start of a
    /// group with a copy.
    pub(super) fn copy_len(&self) -> u64 {
        1 + self.descriptor_blocks + self.reserved_gdt_blocks()
    }
}

pub(super) fn features(raw: &[u8]) -> Features {
    Features { compat: u32_at(raw, 0x5c), incompat: u32_at(raw, 0x60), ro_compat: u32_at(raw, 0x64) }
}

fn checksums(raw: &[u8], features: Features) -> Checksums {
    if features.has_ro_compat(ro_compat::METADATA_CSUM) {
        let uuid: [u8; 16] = field(raw, 0x68).unwrap_or_default();
        let is_stored = features.has_incompat(incompat::CSUM_SEED);
        Checksums::Metadata { seed: if is_stored { u32_at(raw, 0x270) } else { crc32c(!0, &uuid) } }
    } else if features.has_ro_compat(ro_compat::GDT_CSUM) {
        Checksums::Descriptors
    } else {
        Checksums::Absent
    }
}

fn check_own_checksum(raw: &[u8], features: Features, findings: &mut Findings) {
    if features.has_ro_compat(ro_compat::METADATA_CSUM) {
        let kind = raw.get(0x175).copied().unwrap_or(0);
        findings.compare(SUPERBLOCK, "kind of checksums", kind, 1);
        let computed = crc32c(!0, raw.get(..0x3fc).unwrap_or_default());
        let stored = u32_at(raw, 0x3fc);
        if stored != computed {
            findings.add(
                SUPERBLOCK,
                "checksum",
                format_args!("{stored:#010x}"),
                format_args!("{computed:#010x}"),
            );
        }
    }
}

/// What this check does not know, by name.
fn unknown(raw: &[u8], features: Features) -> FeatureNames {
    let rest = Features {
        compat: features.compat & !KNOWN_COMPAT,
        incompat: features.incompat & !KNOWN_INCOMPAT,
        ro_compat: features.ro_compat & !KNOWN_RO_COMPAT,
    };
    let mut names = rest.in_the_way();
    if names.0.is_empty() && (rest.compat | rest.incompat | rest.ro_compat) != 0 {
        names.0.push(format!("{:#x}, {:#x}, {:#x}", rest.compat, rest.incompat, rest.ro_compat));
    }
    let revision = u32_at(raw, 0x4c);
    if revision != 1 {
        names.0.push(format!("revision {revision}"));
    }
    if u32_at(raw, 0x48) == HURD {
        names.0.push(String::from("inodes of the Hurd"));
    }
    let log_block_len = u32_at(raw, 0x18);
    if (3..=6).contains(&log_block_len) && u32_at(raw, 0x1c) == log_block_len {
        names.0.push(format!("blocks of {} KiB", 1 << log_block_len));
    }
    names
}

fn check_per_group(what: &str, found: u64, least: u64, most: u64, findings: &mut Findings) {
    if found < least || found > most || !found.is_multiple_of(8) {
        findings.add(SUPERBLOCK, what, found, format_args!("a multiple of 8 from {least} to {most}"));
    }
}

fn is_power_of(number: u32, base: u32) -> bool {
    let mut power = Some(base);
    while let Some(reached) = power.filter(|reached| *reached < number) {
        power = reached.checked_mul(base);
    }
    power == Some(number)
}
