//! The GPT: header in sector 1, entries behind it, and both again, mirrored, at the end of the disk.
//!
//! Read with the `gpt` crate, once what would make it panic or take any amount of memory has been excluded.
//! Written here: that crate packs the entries together, and so would renumber partitions.

use std::io::{self, Read, Seek, SeekFrom, Write};

use gpt::GptConfig;
use gpt::disk::LogicalBlockSize;
use gpt::partition_types;
use uuid::Uuid;

use super::{Error, Kind, Partition, SECTOR_LEN, TypeId};
use crate::block::{Device, ReadAt};

const HEADER_AT: u64 = SECTOR_LEN;
const HEADER_LEN: usize = 92;
const ENTRY_LEN: u32 = 128;
/// Linux, `sgdisk` and all images make 128; this is what any may ask for.
const ENTRY_COUNT_MAX: u32 = 1024;

/// The fields of a header that decide where things are. UEFI 2.10, table 5.5.
struct Header([u8; HEADER_LEN]);

impl Header {
    fn read(device: &dyn ReadAt) -> Result<Self, Error> {
        let mut bytes = [0; HEADER_LEN];
        device.read_at(HEADER_AT, &mut bytes)?;
        let header = Self(bytes);
        if &header.0[..8] != b"EFI PART" {
            let found = format!("`{}`", header.0[..8].escape_ascii());
            return Err(Error::Missing { offset: HEADER_AT, found });
        }
        let len = header.u32(12);
        if len != 92 {
            // UEFI allows up to a sector; nobody writes more, and what more there is would be lost.
            return Err(Error::Unsupported(format!("a GPT header of {len} bytes, wanted 92")));
        }
        let sound = crc32(&header.with_crc(0).0);
        if header.u32(16) != sound {
            let found = header.u32(16);
            return Err(Error::Corrupt(format!(
                "GPT header with checksum {found:#010x}, wanted {sound:#010x}"
            )));
        }
        if header.entry_count() == 0 || header.entry_count() > ENTRY_COUNT_MAX || header.u32(84) != ENTRY_LEN
        {
            return Err(Error::Unsupported(format!(
                "a GPT with {} entries of {} bytes, wanted 1 to {ENTRY_COUNT_MAX} of {ENTRY_LEN}",
                header.entry_count(),
                header.u32(84)
            )));
        }
        Ok(header)
    }

    fn u32(&self, at: usize) -> u32 {
        self.0.get(at..at + 4).and_then(|bytes| bytes.try_into().ok()).map_or(0, u32::from_le_bytes)
    }

    fn u64(&self, at: usize) -> u64 {
        self.0.get(at..at + 8).and_then(|bytes| bytes.try_into().ok()).map_or(0, u64::from_le_bytes)
    }

    fn set_u64(&mut self, at: usize, value: u64) {
        self.0[at..at + 8].copy_from_slice(&value.to_le_bytes());
    }

    fn set_u32(&mut self, at: usize, value: u32) {
        self.0[at..at + 4].copy_from_slice(&value.to_le_bytes());
    }

    fn with_crc(&self, crc: u32) -> Self {
        let mut header = Self(self.0);
        header.set_u32(16, crc);
        header
    }

    /// The sector that holds this header, checksum made right.
    fn to_sector(&self) -> [u8; 512] {
        let sealed = self.with_crc(crc32(&self.with_crc(0).0));
        let mut sector = [0; 512];
        sector[..HEADER_LEN].copy_from_slice(&sealed.0);
        sector
    }

    fn entries_at(&self) -> Result<u64, Error> {
        let sector = self.u64(72);
        sector
            .checked_mul(SECTOR_LEN)
            .ok_or_else(|| Error::Corrupt(format!("GPT entries at sector {sector}")))
    }

    fn entry_count(&self) -> u32 {
        self.u32(80)
    }

    /// What the entries take, in bytes; at most 128 KiB.
    fn entries_len(&self) -> usize {
        (self.entry_count() * ENTRY_LEN) as usize
    }

    /// The array of entries.
    fn read_entries(&self, device: &dyn ReadAt) -> Result<Vec<u8>, Error> {
        let mut entries = vec![0; self.entries_len()];
        device.read_at(self.entries_at()?, &mut entries)?;
        Ok(entries)
    }

    /// Behind it, at the end of the device, are the backup of the entries and that of the header.
    fn last_usable(&self, device: &dyn ReadAt) -> u64 {
        let entries_sectors = (self.entries_len() as u64).div_ceil(SECTOR_LEN);
        last_sector(device).saturating_sub(entries_sectors + 1)
    }
}

pub(super) fn last_sector(device: &dyn ReadAt) -> u64 {
    (device.len_bytes() / SECTOR_LEN).saturating_sub(1)
}

pub(super) fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = flate2::Crc::new();
    crc.update(bytes);
    crc.sum()
}

/// The used entries as partitions.
pub(super) fn read_partitions(device: &dyn ReadAt) -> Result<Vec<Partition>, Error> {
    let header = Header::read(device)?;
    let table = GptConfig::new()
        .writable(false)
        .logical_block_size(LogicalBlockSize::Lb512)
        .open_from_device(Stream { device, position: 0 })
        .map_err(|source| Error::Gpt { offset: HEADER_AT, source })?;
    let (first_usable, last_usable) = (header.u64(40), header.u64(48));
    let mut partitions = Vec::new();
    for (number, entry) in table.partitions().iter().filter(|(_, entry)| entry.is_used()) {
        let sector_count = entry.last_lba.checked_sub(entry.first_lba).and_then(|count| count.checked_add(1));
        let start_bytes = entry.first_lba.checked_mul(SECTOR_LEN);
        let len_bytes = sector_count.and_then(|count| count.checked_mul(SECTOR_LEN));
        let (Some(start_bytes), Some(len_bytes)) = (start_bytes, len_bytes) else {
            return Err(Error::Corrupt(format!(
                "partition {number} goes from sector {} to {}",
                entry.first_lba, entry.last_lba
            )));
        };
        if entry.first_lba < first_usable || entry.last_lba > last_usable {
            return Err(Error::Corrupt(format!(
                "partition {number} goes from sector {} to {}, outside of {first_usable} to {last_usable}",
                entry.first_lba, entry.last_lba
            )));
        }
        let type_guid = entry.part_type_guid.guid;
        let kind = kind_of(&type_guid);
        partitions.push(Partition {
            number: *number,
            start_bytes,
            len_bytes,
            kind,
            type_id: TypeId::Gpt(type_guid),
            partuuid: entry.part_guid.to_string(),
        });
    }
    if partitions.is_empty() {
        return Err(Error::Missing {
            offset: header.entries_at()?,
            found: "a GPT without partitions".into(),
        });
    }
    Ok(partitions)
}

/// What a partition of this type is for.
pub(super) fn kind_of(guid: &uuid::Uuid) -> Kind {
    if *guid == partition_types::LINUX_FS.guid || is_linux_root(guid) {
        Kind::Linux
    } else if *guid == partition_types::BASIC.guid || *guid == partition_types::EFI.guid {
        Kind::Fat
    } else {
        Kind::Other
    }
}

/// Root partitions for the processors of these boards have types of their own (discoverable partitions).
fn is_linux_root(guid: &uuid::Uuid) -> bool {
    *guid == partition_types::LINUX_ROOT_ARM_64.guid || *guid == partition_types::LINUX_ROOT_ARM_32.guid
}

/// The last sector that a partition can have on the device as long as it is now.
pub(super) fn last_usable(device: &dyn ReadAt) -> Result<u64, Error> {
    Ok(Header::read(device)?.last_usable(device))
}

/// Rewrites the length of one entry.
pub(super) fn write_len(device: &dyn Device, partition: &Partition) -> Result<(), Error> {
    let header = Header::read(device)?;
    let last_usable = header.last_usable(device);
    let last_lba = (partition.start_bytes + partition.len_bytes) / SECTOR_LEN - 1;
    if last_lba > last_usable {
        return Err(Error::Length {
            number: partition.number,
            len_bytes: partition.len_bytes,
            reason: format!(
                "it would end in sector {last_lba}, and the backup of the table leaves {last_usable} as the last"
            ),
        });
    }
    let mut entries = header.read_entries(device)?;
    set_field(&mut entries, partition.number, 40, &last_lba.to_le_bytes())?;
    write(device, header, &entries)
}

/// Rewrites the GUID of the disk and those of the partitions given by number.
pub(super) fn write_guids(device: &dyn Device, disk: Uuid, partitions: &[(u32, Uuid)]) -> Result<(), Error> {
    let mut header = Header::read(device)?;
    header.0[56..72].copy_from_slice(&disk.to_bytes_le());
    let mut entries = header.read_entries(device)?;
    for (number, guid) in partitions {
        set_field(&mut entries, *number, 16, &guid.to_bytes_le())?;
    }
    write(device, header, &entries)
}

/// Puts `bytes` at byte `at` of the entry of partition `number`.
fn set_field(entries: &mut [u8], number: u32, at: usize, bytes: &[u8]) -> Result<(), Error> {
    let start = (number.saturating_sub(1) as usize).saturating_mul(ENTRY_LEN as usize).saturating_add(at);
    let field = entries.get_mut(start..start.saturating_add(bytes.len()));
    let field = field.ok_or_else(|| Error::Corrupt(format!("no entry for partition {number}")))?;
    field.copy_from_slice(bytes);
    Ok(())
}

/// Writes both headers and both arrays of entries, the backups at the end of the device as it is now.
fn write(device: &dyn Device, mut primary: Header, entries: &[u8]) -> Result<(), Error> {
    let last_sector = last_sector(device);
    let last_usable = primary.last_usable(device);
    let entries_at = primary.entries_at()?;
    let old_backup = primary.u64(32);
    primary.set_u64(32, last_sector);
    primary.set_u64(48, last_usable);
    primary.set_u32(88, crc32(entries));
    let mut backup = Header(primary.0);
    backup.set_u64(24, last_sector);
    backup.set_u64(32, primary.u64(24));
    backup.set_u64(72, last_usable + 1);

    if old_backup != last_sector
        && old_backup.checked_mul(SECTOR_LEN).is_some_and(|at| at < device.len_bytes())
    {
        // Two backups would make tools ask which one counts.
        device.write_at(old_backup * SECTOR_LEN, &[0; 512])?;
    }
    device.write_at((last_usable + 1) * SECTOR_LEN, entries)?;
    device.write_at(last_sector * SECTOR_LEN, &backup.to_sector())?;
    device.write_at(entries_at, entries)?;
    device.write_at(HEADER_AT, &primary.to_sector())?;
    write_protective_len(device, last_sector)
}

/// The protective entry covers the disk, as far as 32 bits reach.
fn write_protective_len(device: &dyn Device, last_sector: u64) -> Result<(), Error> {
    let mut sector = [0; 512];
    device.read_at(0, &mut sector)?;
    let slot = (0..4).find(|slot| sector.get(446 + 16 * slot + 4) == Some(&0xee)).unwrap_or(0);
    let count = u32::try_from(last_sector).unwrap_or(u32::MAX);
    Ok(device.write_at((446 + 16 * slot + 12) as u64, &count.to_le_bytes())?)
}

/// A device as the stream that the `gpt` crate wants. Nothing is ever written through it.
struct Stream<'d> {
    device: &'d dyn ReadAt,
    position: u64,
}

impl std::fmt::Debug for Stream<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Stream at {}", self.position)
    }
}

impl Read for Stream<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let left = self.device.len_bytes().saturating_sub(self.position);
        let len = buf.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        self.device.read_at(self.position, &mut buf[..len]).map_err(io::Error::other)?;
        self.position += len as u64;
        Ok(len)
    }
}

impl Seek for Stream<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let position = match to {
            SeekFrom::Start(offset) => Some(offset),
            SeekFrom::Current(delta) => self.position.checked_add_signed(delta),
            SeekFrom::End(delta) => self.device.len_bytes().checked_add_signed(delta),
        };
        self.position = position.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.position)
    }
}

impl Write for Stream<'_> {
    fn write(&mut self, _bytes: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
