//! Which partition is the boot filesystem and which the root.

use crate::base::ByteLen;
use crate::block::{Overlay, ReadAt, Slice};
use crate::image::table::{self, Kind, Partition, Table, TypeId};

use super::Error;

/// An image laid out as pi-gen does: a FAT partition that the firmware reads, and an ext4 root after it.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    /// The partition table.
    pub(super) table: Table,
    /// The first FAT partition: the firmware looks nowhere else.
    pub(super) boot: Partition,
    /// The first Linux partition after it. pi-gen makes it number 2, and the last.
    pub(super) root: Partition,
}

impl Layout {
    pub(super) fn read(device: &dyn ReadAt) -> Result<Self, Error> {
        let table = Table::open(device)?;
        let (boot, root) = boot_and_root(&table);
        let (boot, root) = (boot?, root?);
        if root.number < boot.number {
            return Err(missing(&table, ROOT));
        }
        Ok(Self { table, boot, root })
    }
}

const BOOT: &str = "boot (FAT)";
const ROOT: &str = "root (Linux)";

/// The first FAT partition, and the first Linux partition behind it, or else the first of all.
pub(super) fn boot_and_root(table: &Table) -> (Result<Partition, Error>, Result<Partition, Error>) {
    let partitions = table.partitions();
    let boot = partitions.iter().find(|partition| partition.kind == Kind::Fat);
    let after = boot.map_or(0, |boot| boot.number);
    let mut linux = partitions.iter().filter(|partition| partition.kind == Kind::Linux);
    let root = linux.clone().find(|partition| partition.number > after).or_else(|| linux.next());
    let found =
        |partition: Option<&Partition>, wanted| partition.cloned().ok_or_else(|| missing(table, wanted));
    (found(boot, BOOT), found(root, ROOT))
}

fn missing(table: &Table, wanted: &'static str) -> Error {
    let shown: Vec<String> = table
        .partitions()
        .iter()
        .map(|p| format!("partition {} ({})", p.number, type_name(p.type_id)))
        .collect();
    let found = if shown.is_empty() { "an empty partition table".to_owned() } else { shown.join(", ") };
    Error::NoPartition { wanted, found }
}

/// Makes the image `wanted` long, and `partition`, which must be the last, end where it does.
pub(super) fn grow_last<B: ReadAt>(
    overlay: &Overlay<B>,
    table: &Table,
    partition: &Partition,
    wanted: ByteLen,
) -> Result<(), Error> {
    let image = ByteLen(overlay.len_bytes());
    let refuse = |reason| Err(Error::NoGrowing { image, wanted, reason });
    if wanted < image {
        return refuse("nothing is ever cut off".to_owned());
    }
    if !wanted.0.is_multiple_of(table::SECTOR_LEN) {
        return refuse(format!("wanted a multiple of {}", table::SECTOR_LEN));
    }
    let behind = table.partitions().iter().find(|other| other.start_bytes > partition.start_bytes);
    if let Some(behind) = behind {
        return refuse(format!("partition {} lies behind partition {}", behind.number, partition.number));
    }
    overlay.grow(wanted.0);
    let end = table::usable_end(overlay)?;
    Ok(table::set_partition_len(overlay, partition.number, end.saturating_sub(partition.start_bytes))?)
}

fn type_name(type_id: TypeId) -> String {
    match type_id {
        TypeId::Mbr(byte) => format!("type 0x{byte:02x}"),
        TypeId::Gpt(guid) => format!("type {guid}"),
    }
}

/// The bytes of one partition.
pub(super) fn slice<'d, D: ReadAt + ?Sized>(
    device: &'d D,
    partition: &Partition,
) -> Result<Slice<&'d D>, Error> {
    Ok(Slice::new(device, partition.start_bytes, partition.len_bytes)?)
}

/// The mount point that an fstab names for the boot partition: that of its first vfat line below `/boot`.
pub(super) fn boot_mount_in(fstab: &str) -> Option<&str> {
    fstab
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>())
        .find(|fields| {
            matches!(fields[..], [device, at, "vfat", ..] if !device.starts_with('#') && at.starts_with("/boot"))
        })
        .and_then(|fields| fields.get(1).copied())
}
