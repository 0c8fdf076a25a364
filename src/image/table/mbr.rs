//! The MBR: the first 512 bytes of an image. All integers little-endian.
//!
//! | bytes    | holds                                            |
//! |----------|--------------------------------------------------|
//! | 440..444 | disk identifier                                  |
//! | 446..510 | four entries: flag, CHS, type, CHS, start, count |
//! | 510..512 | `55 aa`                                          |
//!
//! CHS is neither read nor written: no firmware of these boards looks at it.

use super::{Error, Kind, Partition, SECTOR_LEN, TypeId};
use crate::base::is_zero;
use crate::block::{Device, ReadAt};

/// Where the disk identifier is.
pub(super) const DISK_ID_AT: u64 = 440;
/// The type of the entry that hides a GPT from old tools.
pub(super) const PROTECTIVE: u8 = 0xee;

const ENTRIES_AT: usize = 446;
const ENTRY_LEN: usize = 16;
const SIGNATURE_AT: u64 = 510;
const SIGNATURE: [u8; 2] = [0x55, 0xaa];

/// A sector in memory.
pub(super) type Sector = [u8; 512];

/// One of the four slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    flag: u8,
    pub(super) kind: u8,
    start_sector: u32,
    sector_count: u32,
}

impl Entry {
    pub(super) fn flag(&self) -> u8 {
        self.flag
    }

    /// The first sector and how many there are.
    pub(super) fn sectors(&self) -> (u32, u32) {
        (self.start_sector, self.sector_count)
    }
}

/// Reads the first sector and sees that it is an MBR and not a filesystem's boot sector.
pub(super) fn read(device: &dyn ReadAt) -> Result<Sector, Error> {
    let mut sector = [0; 512];
    if device.len_bytes() < SECTOR_LEN {
        let found = format!("an image of {} bytes", device.len_bytes());
        return Err(Error::Missing { offset: 0, found });
    }
    device.read_at(0, &mut sector)?;
    if sector[510..] != SIGNATURE {
        let (offset, found) = foreign(device, &sector)?;
        return Err(Error::Missing { offset, found });
    }
    // A FAT boot sector carries 55 aa too; its entries would be boot code.
    let is_fat = &sector[54..59] == b"FAT16" || &sector[54..59] == b"FAT12" || &sector[82..87] == b"FAT32";
    let is_ntfs = &sector[3..7] == b"NTFS" || &sector[3..8] == b"EXFAT";
    if is_fat || is_ntfs {
        let found = String::from("the boot sector of a filesystem (FAT or NTFS without a disk around it)");
        return Err(Error::Missing { offset: 0, found });
    }
    Ok(sector)
}

/// What an image without `55 aa` seems to be, and where that shows.
fn foreign(device: &dyn ReadAt, sector: &Sector) -> Result<(u64, String), Error> {
    let head = sector.trim_ascii_start();
    if head.first() == Some(&b'<') {
        return Ok((0, "a web page".into()));
    }
    if has_at(device, 1080, &[0x53, 0xef])? {
        return Ok((1080, "an ext2, ext3 or ext4 filesystem without a disk around it".into()));
    }
    if has_at(device, 32_769, b"CD001")? {
        return Ok((32_769, "a CD or DVD image (ISO 9660)".into()));
    }
    if is_zero(sector) {
        return Ok((0, "512 zero bytes".into()));
    }
    Ok((SIGNATURE_AT, format!("{:02x} {:02x}", sector[510], sector[511])))
}

fn has_at(device: &dyn ReadAt, offset: u64, mark: &[u8]) -> Result<bool, Error> {
    let mut found = [0; 8];
    let found = &mut found[..mark.len().min(8)];
    if device.len_bytes() < offset + 8 {
        return Ok(false);
    }
    device.read_at(offset, found)?;
    Ok(found == mark)
}

fn u32_le(sector: &Sector, at: usize) -> u32 {
    sector.get(at..at + 4).and_then(|bytes| bytes.try_into().ok()).map_or(0, u32::from_le_bytes)
}

/// The disk identifier.
pub(super) fn disk_id(sector: &Sector) -> u32 {
    u32_le(sector, 440)
}

/// The four slots, used or not.
pub(super) fn entries(sector: &Sector) -> [Entry; 4] {
    [0, 1, 2, 3].map(|slot| {
        let at = ENTRIES_AT + slot * ENTRY_LEN;
        Entry {
            flag: sector[at],
            kind: sector[at + 4],
            start_sector: u32_le(sector, at + 8),
            sector_count: u32_le(sector, at + 12),
        }
    })
}

/// A protective MBR has the one entry; with others beside it the two tables may disagree.
pub(super) fn check_protective(entries: &[Entry; 4]) -> Result<(), Error> {
    let used: Vec<String> =
        entries.iter().filter(|entry| entry.kind != 0).map(|entry| format!("{:#04x}", entry.kind)).collect();
    if used.len() == 1 {
        return Ok(());
    }
    Err(Error::Unsupported(format!(
        "a hybrid MBR: found entries of types {}, wanted 0xee alone",
        used.join(", ")
    )))
}

/// The used slots as partitions.
pub(super) fn partitions(sector: &Sector, entries: &[Entry; 4]) -> Result<Vec<Partition>, Error> {
    let mut partitions = Vec::new();
    for (number, entry) in (1..).zip(entries) {
        let at = ENTRIES_AT + ENTRY_LEN * (partitions.len().min(3));
        if !matches!(entry.flag, 0 | 0x80) {
            let found = format!(
                "partition flag {:#04x} of slot {number}, which is 0x00 or 0x80 in a table",
                entry.flag
            );
            return Err(Error::Missing { offset: at as u64, found });
        }
        match entry.kind {
            0 => continue,
            0x05 | 0x0f | 0x85 => {
                let message = format!("partition {number} is an extended one (type {:#04x})", entry.kind);
                return Err(Error::Unsupported(message));
            }
            _ if entry.start_sector == 0 || entry.sector_count == 0 => {
                return Err(Error::Corrupt(format!(
                    "partition {number} begins at sector {} and has {} sectors",
                    entry.start_sector, entry.sector_count
                )));
            }
            _ => partitions.push(partition(number, entry, disk_id(sector))),
        }
    }
    if partitions.is_empty() {
        return Err(Error::Missing { offset: ENTRIES_AT as u64, found: "four empty slots".into() });
    }
    Ok(partitions)
}

/// A used slot as a partition.
pub(super) fn partition(number: u32, entry: &Entry, disk_id: u32) -> Partition {
    Partition {
        number,
        start_bytes: u64::from(entry.start_sector) * SECTOR_LEN,
        len_bytes: u64::from(entry.sector_count) * SECTOR_LEN,
        kind: kind_of(entry.kind),
        type_id: TypeId::Mbr(entry.kind),
        partuuid: format!("{disk_id:08x}-{number:02x}"),
    }
}

fn kind_of(kind: u8) -> Kind {
    match kind {
        0x01 | 0x04 | 0x06 | 0x0b | 0x0c | 0x0e | 0xef => Kind::Fat,
        0x83 => Kind::Linux,
        _ => Kind::Other,
    }
}

/// Writes the sector count of a partition.
pub(super) fn write_len(device: &dyn Device, partition: &Partition) -> Result<(), Error> {
    let too_long = || Error::Length {
        number: partition.number,
        len_bytes: partition.len_bytes,
        reason: "an MBR counts sectors in 32 bits, so 2 TiB is the end".into(),
    };
    let sector_count = u32::try_from(partition.len_bytes / SECTOR_LEN).map_err(|_| too_long())?;
    // The slot is 1 to 4: it was read from the table.
    let slot = u64::from(partition.number.saturating_sub(1).min(3));
    let at = ENTRIES_AT as u64 + slot * ENTRY_LEN as u64 + 12;
    Ok(device.write_at(at, &sector_count.to_le_bytes())?)
}
