//! Which partition is the boot filesystem and which the root.

use crate::block::{ReadAt, Slice};
use crate::image::table::{Kind, Partition, Table, TypeId};

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
        let partitions = table.partitions();
        let found = || {
            let shown: Vec<String> = partitions
                .iter()
                .map(|p| format!("partition {} ({})", p.number, type_name(p.type_id)))
                .collect();
            if shown.is_empty() { "an empty partition table".to_owned() } else { shown.join(", ") }
        };
        let boot = partitions
            .iter()
            .find(|partition| partition.kind == Kind::Fat)
            .ok_or_else(|| Error::NoPartition { wanted: "boot (FAT)", found: found() })?;
        let root = partitions
            .iter()
            .find(|partition| partition.kind == Kind::Linux && partition.number > boot.number)
            .ok_or_else(|| Error::NoPartition { wanted: "root (Linux)", found: found() })?;
        let (boot, root) = (boot.clone(), root.clone());
        Ok(Self { table, boot, root })
    }
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
