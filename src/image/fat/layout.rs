//! The boot sector of a FAT filesystem: where things are.
//!
//! | bytes     | name in the specification | here            |
//! |-----------|---------------------------|-----------------|
//! | 11..13    | `BPB_BytsPerSec`          | must be 512     |
//! | 13        | `BPB_SecPerClus`          | power of two    |
//! | 14..16    | `BPB_RsvdSecCnt`          | where FATs begin|
//! | 16        | `BPB_NumFATs`             | 1 or 2          |
//! | 17..19    | `BPB_RootEntCnt`          | 0 for FAT32     |
//! | 19, 32    | `BPB_TotSec16`, `32`      | the length      |
//! | 22, 36    | `BPB_FATSz16`, `32`       | one FAT         |
//! | 44..48    | `BPB_RootClus`            | FAT32           |
//! | 48, 50    | `BPB_FSInfo`, `BkBootSec` | FAT32           |
//! | 39 or 67  | `BS_VolID`                | the serial      |
//!
//! Spec: Microsoft FAT 1.03 §3.1, §3.5. The kind is told by the number of clusters and by nothing else.

use super::Error;
use crate::block::ReadAt;

const SECTOR_LEN: u64 = 512;
/// Below this a filesystem is FAT12, which no boot partition of these boards is.
const FAT16_CLUSTERS_MIN: u64 = 4085;
const FAT32_CLUSTERS_MIN: u64 = 65_525;
const FAT32_CLUSTERS_MAX: u64 = 0x0fff_fff5;

/// Where things are, in bytes from the start of the filesystem, all of it inside the partition.
#[derive(Clone, Copy, Debug)]
pub(super) struct Layout {
    pub(super) is_fat32: bool,
    pub(super) cluster_len: u64,
    pub(super) cluster_count: u32,
    pub(super) fat_start: u64,
    pub(super) fat_len: u64,
    pub(super) fat_count: u64,
    /// FAT16: the root directory; FAT32: empty.
    pub(super) root_start: u64,
    pub(super) root_len: u64,
    pub(super) root_cluster: u32,
    pub(super) data_start: u64,
    pub(super) fs_info_at: Option<u64>,
    pub(super) backup_at: Option<u64>,
    pub(super) volume_id: u32,
}

impl Layout {
    pub(super) fn read(device: &dyn ReadAt) -> Result<Self, Error> {
        let mut sector = [0; 512];
        if device.len_bytes() < SECTOR_LEN {
            return Err(corrupt("partition length", device.len_bytes(), "512 bytes or more"));
        }
        device.read_at(0, &mut sector)?;
        let u16_at = |at: usize| u64::from(u16::from_le_bytes([sector[at], sector[at + 1]]));
        let u32_at = |at: usize| u64::from(u32_le(&sector, at));
        let signature = u16_at(510);
        if signature != 0xaa55 {
            return Err(corrupt("boot sector mark at 510", signature, "0xaa55"));
        }
        if u16_at(11) != SECTOR_LEN {
            return Err(corrupt("bytes per sector", u16_at(11), "512"));
        }
        let bpb_sec_per_clus = u64::from(sector[13]);
        if !bpb_sec_per_clus.is_power_of_two() || bpb_sec_per_clus > 128 {
            return Err(corrupt("sectors per cluster", bpb_sec_per_clus, "a power of two up to 128"));
        }
        let reserved = u16_at(14);
        if reserved == 0 {
            return Err(corrupt("reserved sectors", 0, "1 or more"));
        }
        let fat_count = u64::from(sector[16]);
        if !matches!(fat_count, 1 | 2) {
            return Err(corrupt("number of FATs", fat_count, "1 or 2"));
        }
        let claims_fat32 = u16_at(22) == 0;
        let fat_sectors = if claims_fat32 { u32_at(36) } else { u16_at(22) };
        let root_entries = u16_at(17);
        let total = match (u16_at(19), u32_at(32)) {
            (0, total) | (total, 0) => total,
            (total, _) => return Err(corrupt("16-bit sector count beside a 32-bit one", total, "0")),
        };
        if total * SECTOR_LEN > device.len_bytes() {
            let wanted = "no more than the partition has";
            return Err(corrupt("length in sectors", total, wanted));
        }
        let root_sectors = (root_entries * 32).div_ceil(SECTOR_LEN);
        let data_sector = reserved + fat_count * fat_sectors + root_sectors;
        let clusters = total.saturating_sub(data_sector) / bpb_sec_per_clus;
        let is_fat32 = clusters >= FAT32_CLUSTERS_MIN;
        if clusters < FAT16_CLUSTERS_MIN {
            return Err(Error::Unsupported(format!(
                "FAT12: found {clusters} clusters, wanted {FAT16_CLUSTERS_MIN} or more"
            )));
        }
        if clusters > FAT32_CLUSTERS_MAX {
            return Err(corrupt("cluster count", clusters, "no more than FAT32 can number"));
        }
        if is_fat32 != claims_fat32 || is_fat32 != (root_entries == 0) {
            // Linux, fatfs and Windows would not agree on what this is.
            return Err(Error::Unsupported(format!(
                "{clusters} clusters make it FAT{}, its other fields say FAT{}",
                if is_fat32 { 32 } else { 16 },
                if claims_fat32 { 32 } else { 16 }
            )));
        }
        let entry_len = if is_fat32 { 4 } else { 2 };
        if fat_sectors * SECTOR_LEN < (clusters + 2) * entry_len {
            return Err(corrupt("FAT length in sectors", fat_sectors, "room for every cluster"));
        }
        let root_cluster = if is_fat32 { u32_le(&sector, 44) } else { 0 };
        if is_fat32 && !(2..clusters + 2).contains(&u64::from(root_cluster)) {
            return Err(corrupt(
                "first cluster of the root",
                u64::from(root_cluster),
                "a cluster of this filesystem",
            ));
        }
        if is_fat32 && (u16_at(40) & 0x80 != 0 || u16_at(42) != 0) {
            return Err(Error::Unsupported("FAT32 with a single active FAT, or of a later version".into()));
        }
        let reserved_sector = |at: usize| {
            Some(u16_at(at))
                .filter(|number| is_fat32 && (1..reserved).contains(number))
                .map(|n| n * SECTOR_LEN)
        };
        if is_fat32 && reserved_sector(48).is_none() {
            return Err(corrupt("FSInfo sector", u16_at(48), "a reserved sector"));
        }
        Ok(Self {
            is_fat32,
            cluster_len: bpb_sec_per_clus * SECTOR_LEN,
            // At most FAT32_CLUSTERS_MAX.
            cluster_count: u32::try_from(clusters).unwrap_or(0),
            fat_start: reserved * SECTOR_LEN,
            fat_len: fat_sectors * SECTOR_LEN,
            fat_count,
            root_start: (reserved + fat_count * fat_sectors) * SECTOR_LEN,
            root_len: root_entries * 32,
            root_cluster,
            data_start: data_sector * SECTOR_LEN,
            fs_info_at: reserved_sector(48),
            backup_at: reserved_sector(50),
            volume_id: u32_le(&sector, if is_fat32 { 67 } else { 39 }),
        })
    }

    /// Where the serial number is in a boot sector.
    pub(super) fn volume_id_at(&self) -> u64 {
        if self.is_fat32 { 67 } else { 39 }
    }

    /// Does the second entry of the FAT say that it was unmounted, and nothing in the boot sector that it was not?
    /// FAT 1.03 §4.1 (`ClnShutBitMask`); `BS_Reserved1`, where Windows and Linux keep a dirty bit too.
    pub(super) fn is_clean(&self, second_entry: u32, boot_sector: &[u8]) -> bool {
        let (clean, flags_at) = if self.is_fat32 { (0x0800_0000, 65) } else { (0x8000, 37) };
        second_entry & clean != 0 && boot_sector.get(flags_at).copied().unwrap_or(0) & 1 == 0
    }

    /// Bytes of an entry in the FAT.
    pub(super) fn entry_len(&self) -> u64 {
        if self.is_fat32 { 4 } else { 2 }
    }

    /// Is this the number of a cluster?
    pub(super) fn is_cluster(&self, number: u32) -> bool {
        (2..self.cluster_count.saturating_add(2)).contains(&number)
    }

    /// What an entry of the FAT means.
    pub(super) fn next(&self, raw: u32) -> Next {
        let (value, bad) =
            if self.is_fat32 { (raw & 0x0fff_ffff, 0x0fff_fff7) } else { (raw & 0xffff, 0xfff7) };
        match value {
            0 => Next::Free,
            value if value >= bad => Next::End,
            value if self.is_cluster(value) => Next::Cluster(value),
            value => Next::Outside(value),
        }
    }

    /// Where a cluster is.
    pub(super) fn cluster_at(&self, number: u32) -> u64 {
        self.data_start + u64::from(number.saturating_sub(2)) * self.cluster_len
    }
}

/// The meaning of an entry of the FAT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    Free,
    /// Last of its chain, or bad.
    End,
    Cluster(u32),
    /// No cluster of this filesystem.
    Outside(u32),
}

pub(super) fn u32_le(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 4).and_then(|bytes| bytes.try_into().ok()).map_or(0, u32::from_le_bytes)
}

fn corrupt(what: &str, found: u64, wanted: &str) -> Error {
    Error::Corrupt(format!("{what}: found {found}, wanted {wanted}"))
}
