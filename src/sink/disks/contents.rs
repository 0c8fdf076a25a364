//! What the first blocks of a disk say is on it: a partition table, and filesystems and the like by their magic numbers.
//!
//! Meant for the eyes of the user, and to notice members of a RAID and the like, of which the kernel tells nothing while
//! they are not running. It says what something claims to be, not whether it is sound.
//!
//! Where the numbers are: the on-disk formats' own documents, as util-linux's libblkid looks for them.

use std::fmt;
use std::path::{Path, PathBuf};

use super::{Contents, Partition, clean};
use crate::block::{Error, ReadAt, Slice};
use crate::image::table::Table;

/// Read of each partition at once: as far as the superblock of btrfs, which is the last of those that come first.
const HEAD_LEN: u64 = 68 << 10;
/// Where the second half of a ZFS label is, and how long: its uberblocks.
const ZFS_AT: u64 = 128 << 10;
const ZFS_LEN: u64 = 128 << 10;
/// A GPT can have 128; who has more is shown the first.
const PARTITIONS_MAX: usize = 128;

/// What a filesystem, or what is in its place, says it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    /// What it is.
    pub kind: Kind,
    /// The name it was given, without control characters.
    pub label: Option<String>,
}

/// `rootfs (ext4)`
impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.label {
            Some(label) => write!(f, "{label} ({})", self.kind.name()),
            None => f.write_str(self.kind.name()),
        }
    }
}

/// What can be on a disk or in a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Kind {
    Ext2,
    Ext3,
    Ext4,
    Fat12,
    Fat16,
    Fat32,
    ExFat,
    Ntfs,
    Btrfs,
    Xfs,
    F2fs,
    Squashfs,
    Iso9660,
    Swap,
    Luks,
    Lvm,
    Raid,
    Zfs,
    Bcache,
    Hfs,
    Apfs,
    CoreStorage,
    AppleRaid,
    DynamicDisk,
    StorageSpace,
}

impl Kind {
    /// The usual name: `FAT32`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Ext2 => "ext2",
            Self::Ext3 => "ext3",
            Self::Ext4 => "ext4",
            Self::Fat12 => "FAT12",
            Self::Fat16 => "FAT16",
            Self::Fat32 => "FAT32",
            Self::ExFat => "exFAT",
            Self::Ntfs => "NTFS",
            Self::Btrfs => "btrfs",
            Self::Xfs => "XFS",
            Self::F2fs => "F2FS",
            Self::Squashfs => "squashfs",
            Self::Iso9660 => "ISO 9660",
            Self::Swap => "swap",
            Self::Luks => "LUKS encryption",
            Self::Lvm => "an LVM volume group",
            Self::Raid => "a Linux RAID",
            Self::Zfs => "a ZFS pool",
            Self::Bcache => "bcache",
            Self::Hfs => "HFS+",
            Self::Apfs => "APFS",
            Self::CoreStorage => "Apple CoreStorage",
            Self::AppleRaid => "an Apple RAID",
            Self::DynamicDisk => "a Windows dynamic disk",
            Self::StorageSpace => "a Windows storage pool",
        }
    }

    /// Is it a part of something larger, which may be at work, or at work again after the next start?
    #[must_use]
    pub fn is_member(self) -> bool {
        let is_linux = matches!(self, Self::Luks | Self::Lvm | Self::Raid | Self::Zfs | Self::Bcache);
        let is_apple = matches!(self, Self::CoreStorage | Self::AppleRaid);
        is_linux || is_apple || matches!(self, Self::DynamicDisk | Self::StorageSpace)
    }
}

/// Looks at a disk. `path` is its node, `kernel` the partitions that the kernel knows: they are told when the table is
/// none that we read.
///
/// # Errors
/// When the first blocks cannot be read.
pub(super) fn look(device: &dyn ReadAt, path: &Path, kernel: &[Partition]) -> Result<Contents, Error> {
    let whole = probe(device)?;
    let (table, mut partitions) = match Table::open(device) {
        Ok(table) => {
            let partitions = table.partitions().iter().map(|partition| Partition {
                path: partition_path(path, partition.number),
                number: partition.number,
                start_bytes: partition.start_bytes,
                len_bytes: partition.len_bytes,
                holds: None,
            });
            (Some(table.label()), partitions.take(PARTITIONS_MAX).collect())
        }
        Err(_) => (None, kernel.to_vec()),
    };
    // The first sector of a FAT can pass for a table without partitions.
    let table = table.filter(|_| whole.is_none() || !partitions.is_empty());
    for partition in &mut partitions {
        // One that is damaged must not hide the others.
        let window = Slice::new(device, partition.start_bytes, partition.len_bytes).ok();
        partition.holds = window.and_then(|window| probe(&window).ok().flatten());
    }
    Ok(Contents::Read { table, whole, partitions })
}

/// `/dev/sdb1`, `/dev/mmcblk0p1`
fn partition_path(disk: &Path, number: u32) -> PathBuf {
    let mut name = disk.as_os_str().to_owned();
    let ends_in_digit = name.as_encoded_bytes().last().is_some_and(u8::is_ascii_digit);
    name.push(format!("{}{number}", if ends_in_digit { "p" } else { "" }));
    name.into()
}

/// What is here, a member of something larger before a filesystem: RAID 1 looks like the filesystem it holds.
///
/// # Errors
/// When the first blocks cannot be read.
pub fn probe(device: &dyn ReadAt) -> Result<Option<Signature>, Error> {
    let len_bytes = device.len_bytes();
    let head = read(device, 0, HEAD_LEN.min(len_bytes))?;
    if let Some(found) = member_at_start(&head).or_else(|| raid_at_end(device)) {
        return Ok(Some(found));
    }
    if let Some(found) = filesystem(&head) {
        return Ok(Some(found));
    }
    let zfs = if len_bytes >= ZFS_AT + ZFS_LEN { read(device, ZFS_AT, ZFS_LEN)? } else { Vec::new() };
    // Uberblocks are 1 KiB or more apart and begin with their number, in the byte order of who wrote it.
    let is_zfs = zfs.chunks(1024).any(|block| {
        let magic = block.first_chunk().copied().unwrap_or_default();
        u64::from_le_bytes(magic) == 0x00ba_b10c || u64::from_be_bytes(magic) == 0x00ba_b10c
    });
    Ok(is_zfs.then(|| plain(Kind::Zfs)))
}

fn read(device: &dyn ReadAt, at: u64, len: u64) -> Result<Vec<u8>, Error> {
    let mut bytes = vec![0; usize::try_from(len).unwrap_or(0)];
    device.read_at(at, &mut bytes)?;
    Ok(bytes)
}

fn member_at_start(head: &[u8]) -> Option<Signature> {
    const BCACHE: [u8; 16] = *b"\xc6\x85\x73\xf6\x4e\x1a\x45\xca\x82\x65\xf5\x7f\x48\xba\x6d\x81";
    if has(head, 0, b"LUKS\xba\xbe") {
        return Some(Signature { kind: Kind::Luks, label: None });
    }
    // The label is in one of the first four sectors.
    if (0..4).any(|sector| has(head, sector * 512, b"LABELONE") && has(head, sector * 512 + 24, b"LVM2 001"))
    {
        return Some(plain(Kind::Lvm));
    }
    // Version 1.1 and 1.2.
    if [0, 4096].into_iter().any(|at| is_raid(head.get(at..))) {
        return Some(plain(Kind::Raid));
    }
    has(head, 4096 + 24, &BCACHE).then(|| plain(Kind::Bcache))
}

/// Superblocks of version 1.0 and 0.90 stand near the end. That cannot be read: then it is not there.
fn raid_at_end(device: &dyn ReadAt) -> Option<Signature> {
    let len_bytes = device.len_bytes();
    let version_1_0 = (len_bytes / 512).checked_sub(16).map(|sector| (sector & !7) * 512);
    let version_0_90 = (len_bytes & !0xffff).checked_sub(0x1_0000);
    let mut places = [version_1_0, version_0_90].into_iter().flatten();
    let is_there = places.any(|at| is_raid(read(device, at, 512).ok().as_deref()));
    is_there.then(|| plain(Kind::Raid))
}

fn is_raid(superblock: Option<&[u8]>) -> bool {
    let magic = superblock.and_then(|bytes| bytes.first_chunk().copied()).map(u32::from_le_bytes);
    magic == Some(0xa92b_4efc)
}

fn filesystem(head: &[u8]) -> Option<Signature> {
    let named = |kind, at, len| Some(Signature { kind, label: label(head, at, len) });
    if let Some(kind) = ext(head) {
        return named(kind, 1024 + 0x78, 16);
    }
    // The second word of a page that would be code or padding elsewhere; pages of 4 to 64 KiB.
    for page in [4096, 8192, 16384, 32768, 65536] {
        if has(head, page - 10, b"SWAPSPACE2") || has(head, page - 10, b"SWAP-SPACE") {
            return named(Kind::Swap, 1024 + 28, 16);
        }
    }
    if has(head, 65536 + 0x40, b"_BHRfS_M") {
        return named(Kind::Btrfs, 65536 + 0x12b, 256);
    }
    if has(head, 0, b"XFSB") {
        return named(Kind::Xfs, 108, 12);
    }
    if has(head, 1024, &0xf2f5_2010_u32.to_le_bytes()) {
        return Some(plain(Kind::F2fs));
    }
    if has(head, 0, b"hsqs") {
        return Some(plain(Kind::Squashfs));
    }
    if has(head, 32769, b"CD001") {
        return named(Kind::Iso9660, 32769 + 39, 32);
    }
    match () {
        () if !has(head, 510, &[0x55, 0xaa]) => None,
        () if has(head, 3, b"NTFS    ") => Some(plain(Kind::Ntfs)),
        () if has(head, 3, b"EXFAT   ") => Some(plain(Kind::ExFat)),
        () if has(head, 82, b"FAT32   ") => named(Kind::Fat32, 71, 11),
        () if has(head, 54, b"FAT16   ") => named(Kind::Fat16, 43, 11),
        () if has(head, 54, b"FAT12   ") => named(Kind::Fat12, 43, 11),
        () => None,
    }
}

/// Which of its family: by the features that each generation brought (`s_feature_compat`, `s_feature_incompat`).
fn ext(head: &[u8]) -> Option<Kind> {
    const HAS_JOURNAL: u32 = 0x4;
    /// Filetype, needs recovery, a journal's own device, meta_bg: what ext3 knows.
    const INCOMPAT_EXT3: u32 = 0x2 | 0x4 | 0x8 | 0x10;
    if !has(head, 1024 + 0x38, &[0x53, 0xef]) {
        return None;
    }
    let word = |at: usize| head.get(1024 + at..)?.first_chunk().copied().map(u32::from_le_bytes);
    let (compat, incompat) = (word(0x5c)?, word(0x60)?);
    Some(match () {
        () if incompat & !INCOMPAT_EXT3 != 0 => Kind::Ext4,
        () if compat & HAS_JOURNAL != 0 => Kind::Ext3,
        () => Kind::Ext2,
    })
}

fn has(head: &[u8], at: usize, magic: &[u8]) -> bool {
    head.get(at..).is_some_and(|rest| rest.starts_with(magic))
}

fn plain(kind: Kind) -> Signature {
    Signature { kind, label: None }
}

/// The name at a place; FAT writes `NO NAME` for none.
fn label(head: &[u8], at: usize, len: usize) -> Option<String> {
    let text = clean(head.get(at..)?.get(..len)?);
    (!text.is_empty() && text != "NO NAME").then_some(text)
}

#[cfg(test)]
mod tests;
