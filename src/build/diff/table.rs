//! What differs above the files: the partition table, the filesystems, and partitions that are only bytes to us.

use std::ops::Range;

use super::ranges::{Ranges, differ_in};
use super::side::{Image as _, Part as Opened, Side};
use crate::base::Interrupt;
use crate::block::ReadAt;
use crate::build::Error;
use crate::build::disk::volume::Filesystem;
use crate::build::disk::{Disk, Part, Tree};
use crate::image::table::{self, Label, Partition, Table, TypeId};

/// Where the GUID of a GPT's disk lies: the header is in sector 1. UEFI 2.10, table 5.5.
const DISK_GUID_AT: u64 = table::SECTOR_LEN + 56;

/// Something that differs, as text on both sides; `None` where there is no such thing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fact {
    /// What it is: `disk id`, `partition 2 length`, `UUID`.
    pub what: String,
    /// In the first image.
    pub before: Option<String>,
    /// In the second.
    pub after: Option<String>,
}

/// A filesystem that is not the same on both sides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilesystemDiff {
    /// Where it is mounted.
    pub mounted_on: String,
    /// How they differ.
    pub facts: Vec<Fact>,
}

/// A partition whose files are not compared, and which does not hold the same bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartitionDiff {
    /// As the kernel counts.
    pub number: u32,
}

/// All that differs above the files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overview {
    /// The length of the image and its partition table. Nothing where only one partition is compared.
    pub table: Vec<Fact>,
    /// The filesystems that differ.
    pub filesystems: Vec<FilesystemDiff>,
    /// Other partitions that differ.
    pub partitions: Vec<PartitionDiff>,
}

impl Overview {
    /// Is there nothing in it?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.table.is_empty() && self.filesystems.is_empty() && self.partitions.is_empty()
    }
}

/// Both images, and where their bytes may differ.
pub(super) struct Images<'i> {
    pub(super) one: &'i Disk,
    pub(super) other: &'i Disk,
    pub(super) ranges: &'i Ranges,
    pub(super) interrupt: &'i Interrupt,
}

/// Their partition tables; `None` for a bare filesystem.
pub(super) struct Tables {
    one: (Option<Table>, u64),
    other: (Option<Table>, u64),
}

impl Tables {
    pub(super) fn sides<'t, 'd, 'e>(
        &self,
        one: &'t Tree<'d>,
        other: &'t Tree<'e>,
    ) -> (Side<'t, 'd>, Side<'t, 'e>) {
        (
            Side::new(one, |number| range_of(&self.one, number)),
            Side::new(other, |number| range_of(&self.other, number)),
        )
    }
}

fn range_of((table, len_bytes): &(Option<Table>, u64), number: Option<u32>) -> Range<u64> {
    let partition = table.as_ref().zip(number).and_then(|(table, number)| table.partition(number).ok());
    partition.map_or(0..*len_bytes, bytes_of)
}

fn bytes_of(partition: &Partition) -> Range<u64> {
    partition.start_bytes..partition.start_bytes.saturating_add(partition.len_bytes)
}

impl Images<'_> {
    pub(super) fn tables(&self) -> Result<Tables, Error> {
        let table = |disk: &Disk| match Table::open(disk.device()) {
            Ok(table) => Ok((Some(table), disk.device().len_bytes())),
            Err(table::Error::Missing { .. }) => Ok((None, disk.device().len_bytes())),
            Err(error) => Err(Error::from(error)),
        };
        Ok(Tables { one: table(self.one)?, other: table(self.other)? })
    }

    pub(super) fn overview(
        &self,
        tables: &Tables,
        one: &Side<'_, '_>,
        other: &Side<'_, '_>,
    ) -> Result<Overview, Error> {
        let mut overview = Overview::default();
        if self.one.part() == Part::System {
            overview.table = facts(
                &self.table_facts(self.one, &tables.one)?,
                &self.table_facts(self.other, &tables.other)?,
            );
            overview.partitions = self.others(tables, one, other)?;
        }
        let before = [filesystem_facts(Some(&one.root))?, filesystem_facts(one.mounted.as_ref())?];
        let after = [filesystem_facts(Some(&other.root))?, filesystem_facts(other.mounted.as_ref())?];
        let mounts = [one.mount(), other.mount()].map(|at| at.map(ToString::to_string));
        let [mount, other_mount] = mounts;
        let places = ["/".to_owned(), mount.or(other_mount).unwrap_or_default()];
        for ((before, after), mounted_on) in before.iter().zip(&after).zip(places) {
            let facts = facts(before, after);
            if !facts.is_empty() {
                overview.filesystems.push(FilesystemDiff { mounted_on, facts });
            }
        }
        Ok(overview)
    }

    fn table_facts(
        &self,
        disk: &Disk,
        (table, len_bytes): &(Option<Table>, u64),
    ) -> Result<Vec<(String, String)>, Error> {
        let mut facts = vec![("length of the image".to_owned(), format!("{len_bytes} bytes"))];
        let Some(table) = table else { return Ok(facts) };
        let label = match table.label() {
            Label::Mbr => "MBR",
            Label::Gpt => "GPT",
        };
        facts.push(("partition table".to_owned(), label.to_owned()));
        match table.disk_id() {
            Some(id) => facts.push(("disk id".to_owned(), format!("{id:08x}"))),
            None => {
                let mut guid = [0; 16];
                disk.device().read_at(DISK_GUID_AT, &mut guid)?;
                facts.push(("disk GUID".to_owned(), uuid::Uuid::from_bytes_le(guid).to_string()));
            }
        }
        for partition in table.partitions() {
            let mut add = |what: &str, value: String| {
                facts.push((format!("partition {}{what}", partition.number), value));
            };
            add(" start", format!("byte {}", partition.start_bytes));
            add(" length", format!("{} bytes", partition.len_bytes));
            match partition.type_id {
                TypeId::Mbr(byte) => add(" type", format!("0x{byte:02x}")),
                TypeId::Gpt(guid) => {
                    add(" type", guid.to_string());
                    add(" GUID", partition.partuuid.clone());
                }
            }
        }
        Ok(facts)
    }

    /// Partitions that are where they were and that nobody opened, but whose bytes differ.
    fn others(
        &self,
        tables: &Tables,
        one: &Side<'_, '_>,
        other: &Side<'_, '_>,
    ) -> Result<Vec<PartitionDiff>, Error> {
        let (Some(before), Some(after)) = (&tables.one.0, &tables.other.0) else { return Ok(Vec::new()) };
        let opened = |partition: &Partition| {
            let number = Some(partition.number);
            one.parts().any(|part| part.volume.number() == number)
                && other.parts().any(|part| part.volume.number() == number)
        };
        let (here, there) = (self.one.device().as_ref(), self.other.device().as_ref());
        let mut partitions = Vec::new();
        for partition in before.partitions().iter().filter(|partition| !opened(partition)) {
            let range = bytes_of(partition);
            let same_place = after.partition(partition.number).is_ok_and(|found| bytes_of(found) == range);
            if same_place && differ_in(here, there, self.ranges, &range, self.interrupt)? {
                partitions.push(PartitionDiff { number: partition.number });
            }
        }
        Ok(partitions)
    }
}

fn filesystem_facts(part: Option<&Opened<'_, '_>>) -> Result<Vec<(String, String)>, Error> {
    let Some(part) = part else { return Ok(Vec::new()) };
    let usage = part.volume.usage(part.at.to_string())?;
    let mut facts = vec![
        ("filesystem".to_owned(), usage.kind.to_owned()),
        ("mounted on".to_owned(), usage.mounted_on),
        ("UUID".to_owned(), usage.uuid),
        ("label".to_owned(), format!("`{}`", usage.label.escape_debug())),
        ("length".to_owned(), format!("{} bytes", usage.len_bytes)),
    ];
    if let Filesystem::Ext4(fs) = part.volume.filesystem() {
        facts.extend(fs.features().into_iter().map(|name| (format!("feature {name}"), "yes".to_owned())));
        facts.push(("inodes".to_owned(), fs.inodes().to_string()));
    }
    Ok(facts)
}

/// What is not the same in both lists.
fn facts(before: &[(String, String)], after: &[(String, String)]) -> Vec<Fact> {
    let find = |list: &[(String, String)], what: &str| {
        list.iter().find(|(known, _)| known == what).map(|(_, value)| value.clone())
    };
    let only_after = after.iter().filter(|(what, _)| find(before, what).is_none());
    let all = before.iter().chain(only_after).map(|(what, _)| Fact {
        what: what.clone(),
        before: find(before, what),
        after: find(after, what),
    });
    all.filter(|fact| fact.before != fact.after).collect()
}
