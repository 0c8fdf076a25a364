//! The partition table of a disk image: MBR or GPT, sectors of 512 bytes.
//!
//! What is read is checked before it is believed: every partition lies inside the device and none overlaps
//! another. Extended MBR partitions (types `05`, `0f`, `85`) are refused, so there are no logical ones; so is a
//! hybrid MBR, one that has other entries beside a protective one.
//!
//! Spec: UEFI 2.10 §5.2 (MBR), §5.3 (GPT). Oracle: `sfdisk --json`.

mod check;
mod gpt;
mod mbr;

use uuid::Uuid;

use crate::block::{self, Device, ReadAt};

pub use check::{Report, check};

/// Bytes in a sector, on every medium these images are for.
pub const SECTOR_LEN: u64 = 512;

/// Why there is no usable partition table. Offsets are in bytes from the start of the image.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The device failed.
    #[error("cannot read or write the partition table")]
    Device(#[from] block::Error),
    /// Nothing of the kind is there.
    #[error("no partition table: found {found} at offset {offset}, wanted an MBR or GPT")]
    Missing {
        /// Where a table or its mark should have been.
        offset: u64,
        /// What is there instead.
        found: String,
    },
    /// There is one that we do not read.
    #[error("unsupported partition table: {0}")]
    Unsupported(String),
    /// There is one that contradicts itself or the image.
    #[error("corrupt partition table: {0}")]
    Corrupt(String),
    /// The gpt crate could not read it.
    #[error("corrupt GPT at offset {offset}")]
    Gpt {
        /// Where the header is.
        offset: u64,
        /// What it said.
        #[source]
        source: ::gpt::GptError,
    },
    /// A partition reaches past the end.
    #[error(
        "partition {number} ends at byte {end_bytes}, past the end of the image at {device_len}: the image is cut short"
    )]
    PastEnd {
        /// Which partition.
        number: u32,
        /// Where it ends.
        end_bytes: u64,
        /// How long the image is.
        device_len: u64,
    },
    /// Two partitions share bytes.
    #[error("partitions {first} and {second} overlap")]
    Overlap {
        /// The one that begins first.
        first: u32,
        /// The other.
        second: u32,
    },
    /// No such partition.
    #[error("no partition {number}; there are {present:?}")]
    NoPartition {
        /// The one asked for.
        number: u32,
        /// Those that are there.
        present: Vec<u32>,
    },
    /// A new length that cannot be.
    #[error("partition {number} cannot be {len_bytes} bytes long: {reason}")]
    Length {
        /// Which partition.
        number: u32,
        /// The length asked for.
        len_bytes: u64,
        /// Why not.
        reason: String,
    },
}

/// Which kind of table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Label {
    /// The classic one, in sector 0.
    Mbr,
    /// The one with GUIDs, from sector 1 on and again at the end.
    Gpt,
}

/// What a partition says it is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A FAT filesystem, or GPT's basic data and EFI system partitions, which hold one.
    Fat,
    /// A Linux filesystem.
    Linux,
    /// Anything else.
    Other,
}

/// The type as written in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TypeId {
    /// A byte in an MBR.
    Mbr(u8),
    /// A GUID in a GPT.
    Gpt(Uuid),
}

/// A partition, inside the device and apart from all others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partition {
    /// As the kernel counts: 1 is the first slot of the table.
    pub number: u32,
    /// Where it begins.
    pub start_bytes: u64,
    /// How long it is; never 0.
    pub len_bytes: u64,
    /// What it is for.
    pub kind: Kind,
    /// The same, as written in the table.
    pub type_id: TypeId,
    /// What `PARTUUID=` calls it: `1a2b3c4d-02`, or a GUID in lower case.
    pub partuuid: String,
}

/// A partition table that has been checked against its device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    label: Label,
    disk_id: Option<u32>,
    partitions: Vec<Partition>,
}

impl Table {
    /// Reads and checks the table.
    ///
    /// # Errors
    /// Every [`Error`] but the last two.
    pub fn open(device: &dyn ReadAt) -> Result<Self, Error> {
        let sector = mbr::read(device)?;
        let entries = mbr::entries(&sector);
        if entries.iter().any(|entry| entry.kind == mbr::PROTECTIVE) {
            mbr::check_protective(&entries)?;
            let partitions = gpt::read_partitions(device)?;
            check_layout(&partitions, device.len_bytes())?;
            return Ok(Self { label: Label::Gpt, disk_id: None, partitions });
        }
        let partitions = mbr::partitions(&sector, &entries)?;
        check_layout(&partitions, device.len_bytes())?;
        Ok(Self { label: Label::Mbr, disk_id: Some(mbr::disk_id(&sector)), partitions })
    }

    /// Which kind of table it is.
    #[must_use]
    pub fn label(&self) -> Label {
        self.label
    }

    /// The partitions, by number.
    #[must_use]
    pub fn partitions(&self) -> &[Partition] {
        &self.partitions
    }

    /// One partition.
    ///
    /// # Errors
    /// [`Error::NoPartition`]
    pub fn partition(&self, number: u32) -> Result<&Partition, Error> {
        self.partitions.iter().find(|partition| partition.number == number).ok_or_else(|| {
            Error::NoPartition {
                number,
                present: self.partitions.iter().map(|partition| partition.number).collect(),
            }
        })
    }

    /// The GUIDs of a GPT's partitions, by number; none for MBR.
    #[must_use]
    pub fn guids(&self) -> Vec<(u32, Uuid)> {
        let parsed = |partition: &Partition| Some((partition.number, partition.partuuid.parse().ok()?));
        match self.label {
            Label::Mbr => Vec::new(),
            Label::Gpt => self.partitions.iter().filter_map(parsed).collect(),
        }
    }

    /// The disk identifier from which an MBR's `PARTUUID`s are made; `None` for GPT.
    #[must_use]
    pub fn disk_id(&self) -> Option<u32> {
        self.disk_id
    }
}

/// Writes the disk identifier of an MBR, and with it every `PARTUUID` of the disk.
///
/// # Errors
/// [`Error::Unsupported`] when the table is a GPT, else as for [`Table::open`].
pub fn write_disk_id(device: &dyn Device, disk_id: u32) -> Result<(), Error> {
    match Table::open(device)?.label {
        Label::Mbr => Ok(device.write_at(mbr::DISK_ID_AT, &disk_id.to_le_bytes())?),
        Label::Gpt => {
            Err(Error::Unsupported("found a GPT, wanted an MBR, for only that has a disk identifier".into()))
        }
    }
}

/// Writes the GUID of a GPT's disk and those of some of its partitions, which `PARTUUID=` calls them by.
///
/// # Errors
/// [`Error::Unsupported`] when the table is an MBR, [`Error::NoPartition`], else as for [`Table::open`].
pub fn write_guids(device: &dyn Device, disk: Uuid, partitions: &[(u32, Uuid)]) -> Result<(), Error> {
    let table = Table::open(device)?;
    if table.label == Label::Mbr {
        return Err(Error::Unsupported("found an MBR, wanted a GPT, for only that has GUIDs".into()));
    }
    for (number, _) in partitions {
        table.partition(*number)?;
    }
    gpt::write_guids(device, disk, partitions)
}

/// Gives partition `number` a new length. The device has its new length already; the backup of a GPT moves to its
/// new end.
///
/// # Errors
/// [`Error::NoPartition`]; [`Error::Length`] when the length is no whole number of sectors, or the partition
/// would leave the device or meet its neighbour; else as for [`Table::open`].
pub fn set_partition_len(device: &dyn Device, number: u32, len_bytes: u64) -> Result<(), Error> {
    let table = Table::open(device)?;
    let mut wanted = table.partition(number)?.clone();
    let refuse = |reason: String| Error::Length { number, len_bytes, reason };
    if len_bytes == 0 || !len_bytes.is_multiple_of(SECTOR_LEN) {
        return Err(refuse(format!("wanted a multiple of {SECTOR_LEN}")));
    }
    wanted.len_bytes = len_bytes;
    let others = table.partitions.iter().filter(|partition| partition.number != number).cloned();
    let all: Vec<Partition> = others.chain([wanted.clone()]).collect();
    check_layout(&all, device.len_bytes()).map_err(|error| refuse(error.to_string()))?;
    match table.label {
        Label::Mbr => mbr::write_len(device, &wanted),
        Label::Gpt => gpt::write_len(device, &wanted),
    }
}

/// Where a partition can end at most: the end of the device, or what the backup of a GPT leaves before it.
///
/// # Errors
/// As for [`Table::open`].
pub fn usable_end(device: &dyn ReadAt) -> Result<u64, Error> {
    let sectors = match Table::open(device)?.label {
        Label::Mbr => device.len_bytes() / SECTOR_LEN,
        Label::Gpt => gpt::last_usable(device)?.saturating_add(1),
    };
    Ok(sectors * SECTOR_LEN)
}

/// Refuses partitions that leave the device or share bytes.
fn check_layout(partitions: &[Partition], device_len: u64) -> Result<(), Error> {
    let mut by_start: Vec<(u64, u64, u32)> = Vec::with_capacity(partitions.len());
    for partition in partitions {
        let number = partition.number;
        let end_bytes = partition.start_bytes.saturating_add(partition.len_bytes);
        if end_bytes > device_len {
            return Err(Error::PastEnd { number, end_bytes, device_len });
        }
        by_start.push((partition.start_bytes, end_bytes, number));
    }
    by_start.sort_unstable();
    for pair in by_start.windows(2) {
        if let [(_, end, first), (start, _, second)] = pair
            && end > start
        {
            return Err(Error::Overlap { first: *first, second: *second });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
