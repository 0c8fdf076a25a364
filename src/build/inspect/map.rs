//! The disk: its table, what lies where, and what each filesystem says of itself.

use serde::Serialize;

use super::look::{Told, Unread};
use super::warning::Warning;
use crate::block::ReadAt;
use crate::build::Error;
use crate::build::disk::{Usage, probe};
use crate::build::layout::slice;
use crate::image::table::{self, Kind, Label, Partition, TypeId};
use crate::image::{ext4, fat};
use crate::sink::disks;

/// More are not told: a GPT of this program has 1024 at most, and nobody reads them.
const PARTITIONS_MAX: usize = 128;

/// A partition table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Table {
    /// `mbr` or `gpt`.
    pub kind: &'static str,
    /// What the kernel calls the disk (`PTUUID`): 8 hexadecimal digits, or a GUID.
    pub disk_id: String,
}

/// A partition, or the whole disk where it has no table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Part {
    /// Its number; `None` for the whole disk.
    pub number: Option<u32>,
    /// `boot` or `root`, for those two.
    pub role: Option<&'static str>,
    /// Where it begins.
    pub start_bytes: u64,
    /// How long it is.
    pub len_bytes: u64,
    /// The type as the table has it: `0x0c`, or a GUID.
    #[serde(rename = "type")]
    pub type_id: Option<String>,
    /// What `PARTUUID=` calls it.
    pub partuuid: Option<String>,
    /// What is in it; nothing known when `None`.
    pub holds: Told<Option<Filesystem>>,
}

/// A filesystem, or what is in its place. What a kind does not have, or we cannot read, is `None`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Filesystem {
    /// `ext4`, `FAT32`, `swap`, `btrfs` …
    pub kind: String,
    /// Its label.
    pub label: Option<String>,
    /// Its UUID, or the serial of a FAT.
    pub uuid: Option<String>,
    /// All of it; of a FAT what its clusters hold.
    pub len_bytes: Option<u64>,
    /// What is free.
    pub free_bytes: Option<u64>,
    /// How many inodes there are.
    pub inodes: Option<u32>,
    /// How many of them are free.
    pub free_inodes: Option<u32>,
    /// `clean`, `needs recovery` …
    pub state: Option<&'static str>,
    /// How often it was mounted since it was last checked.
    pub mounts: Option<u16>,
    /// When it was last written, in seconds since 1970.
    pub written_seconds: Option<i64>,
    /// The names of its features.
    pub features: Vec<String>,
}

/// A run of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Range {
    /// Where it begins.
    pub start_bytes: u64,
    /// How long it is.
    pub len_bytes: u64,
}

/// A stretch of the disk from its beginning to its end: a partition, or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stretch {
    /// How long it is; what lies behind another partition's begin is that one's.
    pub len_bytes: u64,
    /// Which of the parts; `None` for room that no partition has.
    pub part: Option<usize>,
}

/// The table and the partitions, by number; the whole disk where there is no table.
pub(super) struct Map {
    pub(super) table: Told<Option<Table>>,
    pub(super) parts: Vec<Part>,
    /// Of the same parts; `None` for the whole disk.
    pub(super) partitions: Vec<Option<Partition>>,
}

impl Map {
    /// Reads the table, and what is in each partition.
    ///
    /// # Errors
    /// When the first sector cannot be read.
    pub(super) fn read(device: &dyn ReadAt, warnings: &mut Vec<Warning>) -> Result<Self, Error> {
        let report = match table::check(device) {
            // The first block of an ext4 filesystem may hold anything, `55 aa` too.
            Ok(report) if !report.partitions.is_empty() || !report.outside.is_empty() => report,
            Ok(report) if probe(device)?.is_none() => report,
            Ok(_) | Err(table::Error::Missing { .. }) => return Self::whole(device),
            Err(table::Error::Device(error)) => return Err(error.into()),
            Err(error) => {
                let Unread(unread) = Error::from(error).into();
                return Ok(Self {
                    table: Told::Unread { unread },
                    parts: Vec::new(),
                    partitions: Vec::new(),
                });
            }
        };
        faults(&report, device.len_bytes(), warnings);
        let kind = match report.label {
            Label::Mbr => "mbr",
            Label::Gpt => "gpt",
        };
        let inside = report.partitions.len();
        let mut partitions = [report.partitions, report.outside].concat();
        partitions.truncate(PARTITIONS_MAX);
        let boot = partitions.iter().take(inside).find(|partition| partition.kind == Kind::Fat);
        let boot = boot.map(|partition| partition.number);
        let mut linux = partitions.iter().take(inside).filter(|partition| partition.kind == Kind::Linux);
        let after = boot.unwrap_or(0);
        let root = linux.clone().find(|partition| partition.number > after).or_else(|| linux.next());
        let root = root.map(|partition| partition.number);
        let parts = partitions.iter().enumerate().map(|(at, partition)| Part {
            number: Some(partition.number),
            role: match Some(partition.number) {
                number if number == boot => Some("boot"),
                number if number == root => Some("root"),
                _ => None,
            },
            start_bytes: partition.start_bytes,
            len_bytes: partition.len_bytes,
            type_id: Some(match partition.type_id {
                TypeId::Mbr(byte) => format!("0x{byte:02x}"),
                TypeId::Gpt(guid) => guid.to_string(),
            }),
            partuuid: Some(partition.partuuid.clone()),
            holds: match at < inside {
                true => {
                    slice(device, partition).map_err(Unread::from).and_then(|slice| filesystem(&slice)).into()
                }
                false => Told::Unread { unread: "it does not lie inside the disk".to_owned() },
            },
        });
        let mut parts: Vec<(Part, Partition)> = parts.zip(partitions.iter().cloned()).collect();
        parts.sort_by_key(|(part, _)| part.number);
        let (parts, partitions) = parts.into_iter().map(|(part, known)| (part, Some(known))).unzip();
        let table = Told::Known(Some(Table { kind, disk_id: report.disk_id }));
        Ok(Self { table, parts, partitions })
    }

    /// A disk without a table: a filesystem over all of it, or nothing that we know.
    fn whole(device: &dyn ReadAt) -> Result<Self, Error> {
        let holds: Told<Option<Filesystem>> = filesystem(device).into();
        let mut map = Self { table: Told::Known(None), parts: Vec::new(), partitions: Vec::new() };
        if holds != Told::Known(None) {
            let role = match &holds {
                Told::Known(Some(known)) if known.kind.starts_with("ext") => Some("root"),
                Told::Known(Some(known)) if known.kind.starts_with("FAT") => Some("boot"),
                _ => None,
            };
            let len_bytes = device.len_bytes();
            let (number, type_id, partuuid) = (None, None, None);
            map.parts.push(Part { number, role, start_bytes: 0, len_bytes, type_id, partuuid, holds });
            map.partitions.push(None);
        }
        Ok(map)
    }

    /// The part with this role.
    pub(super) fn role(&self, role: &str) -> Option<usize> {
        self.parts.iter().position(|part| part.role == Some(role))
    }
}

/// What is wrong with the table itself.
fn faults(report: &table::Report, len_bytes: u64, warnings: &mut Vec<Warning>) {
    for partition in &report.outside {
        let end_bytes = partition.start_bytes.saturating_add(partition.len_bytes);
        warnings.push(Warning::OutsideDisk { number: partition.number, end_bytes, len_bytes });
    }
    let mut by_start: Vec<&Partition> = report.partitions.iter().collect();
    by_start.sort_by_key(|partition| (partition.start_bytes, partition.number));
    let mut furthest: Option<(u64, u32)> = None;
    for partition in by_start {
        if let Some((_, first)) = furthest.filter(|(end, _)| *end > partition.start_bytes) {
            warnings.push(Warning::Overlap { first, second: partition.number });
        }
        let end = (partition.start_bytes.saturating_add(partition.len_bytes), partition.number);
        furthest = furthest.max(Some(end));
    }
    let is_told = |what: &str| matches!(what, "end" | "range");
    let others = report.findings.kept().iter();
    let others = others.filter(|finding| !(finding.place.structure == "partition" && is_told(&finding.what)));
    warnings.extend(others.take(PARTITIONS_MAX).map(|finding| Warning::Table(finding.to_string())));
}

/// What fills `device`.
fn filesystem(device: &dyn ReadAt) -> Result<Option<Filesystem>, Unread> {
    match probe(device)? {
        Some("ext4") => ext(device).map(Some),
        Some(_) => match fat_of(device) {
            Ok(known) => Ok(Some(known)),
            // FAT12 and the like: told by name at least.
            Err(unread) => other(device)?.map_or(Err(unread), |known| Ok(Some(known))),
        },
        None => other(device),
    }
}

fn other(device: &dyn ReadAt) -> Result<Option<Filesystem>, Unread> {
    let found = disks::probe(device).map_err(Error::from)?;
    Ok(found.map(|signature| Filesystem {
        kind: signature.kind.name().to_owned(),
        label: signature.label,
        ..Filesystem::default()
    }))
}

fn ext(device: &dyn ReadAt) -> Result<Filesystem, Unread> {
    let said = ext4::describe(device)
        .map_err(|source| Error::Ext4 { place: "the superblock".to_owned(), source: Box::new(source) })?;
    Ok(Filesystem {
        kind: said.kind.to_owned(),
        label: Some(said.label).filter(|label| !label.is_empty()),
        uuid: Some(uuid::Uuid::from_bytes(said.uuid).to_string()),
        len_bytes: Some(said.len_bytes),
        free_bytes: Some(said.free_bytes.min(said.len_bytes)),
        inodes: Some(said.inodes),
        free_inodes: Some(said.free_inodes),
        state: Some(said.state.name()),
        mounts: Some(said.mounts),
        written_seconds: Some(said.written_seconds),
        features: said.features,
    })
}

/// What the boot sector says; label and free room are known once it is open.
fn fat_of(device: &dyn ReadAt) -> Result<Filesystem, Unread> {
    let failed = |source| Error::Fat { place: "the boot sector".to_owned(), source: Box::new(source) };
    let is_clean = fat::is_clean(device).map_err(failed)?;
    Ok(Filesystem {
        kind: "FAT".to_owned(),
        state: Some(if is_clean { "clean" } else { "not unmounted cleanly" }),
        ..Filesystem::default()
    })
}

impl Filesystem {
    /// What is known now that it was opened: a journal that was replayed may have changed it.
    pub(super) fn opened(&mut self, usage: &Usage) {
        if usage.kind.starts_with("FAT") {
            self.kind = usage.kind.to_owned();
        }
        self.label = Some(usage.label.clone()).filter(|label| !label.is_empty());
        self.uuid = Some(usage.uuid.clone());
        self.len_bytes = Some(usage.len_bytes);
        self.free_bytes = Some(usage.free_bytes.min(usage.len_bytes));
        self.inodes = usage.inodes;
        self.free_inodes = usage.free_inodes;
    }
}

/// The disk from its beginning to its end.
#[must_use]
pub fn stretches(parts: &[Part], len_bytes: u64) -> Vec<Stretch> {
    let mut by_start: Vec<(usize, &Part)> = parts.iter().enumerate().collect();
    by_start.sort_by_key(|(_, part)| part.start_bytes);
    let mut stretches = Vec::new();
    let mut at = 0;
    for (index, part) in by_start {
        let start = part.start_bytes.clamp(at, len_bytes.max(at));
        let end = part.start_bytes.saturating_add(part.len_bytes).clamp(start, len_bytes.max(start));
        if start > at {
            stretches.push(Stretch { len_bytes: start - at, part: None });
        }
        if end > start {
            stretches.push(Stretch { len_bytes: end - start, part: Some(index) });
        }
        at = end;
    }
    if len_bytes > at {
        stretches.push(Stretch { len_bytes: len_bytes - at, part: None });
    }
    stretches
}

/// The room that no partition has.
pub(super) fn free(parts: &[Part], len_bytes: u64) -> Vec<Range> {
    let mut at = 0_u64;
    let mut free = Vec::new();
    for Stretch { len_bytes, part } in stretches(parts, len_bytes) {
        if part.is_none() {
            free.push(Range { start_bytes: at, len_bytes });
        }
        at = at.saturating_add(len_bytes);
    }
    free
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(number: u32, start_bytes: u64, len_bytes: u64) -> Part {
        Part {
            number: Some(number),
            role: None,
            start_bytes,
            len_bytes,
            type_id: None,
            partuuid: None,
            holds: Told::Known(None),
        }
    }

    fn told(parts: &[Part], len_bytes: u64) -> Vec<(u64, Option<u32>)> {
        let stretches = stretches(parts, len_bytes).into_iter();
        stretches
            .map(|Stretch { len_bytes, part }| (len_bytes, part.and_then(|at| parts[at].number)))
            .collect()
    }

    #[test]
    fn stretches_cover_the_disk_once_whatever_the_table_says() {
        for (parts, wanted) in [
            (vec![], vec![(100, None)]),
            (
                vec![part(2, 50, 50), part(1, 10, 20)],
                vec![(10, None), (20, Some(1)), (20, None), (50, Some(2))],
            ),
            // Overlapping, one inside the other, and past the end.
            (vec![part(1, 0, 60), part(2, 40, 30)], vec![(60, Some(1)), (10, Some(2)), (30, None)]),
            (vec![part(1, 0, 60), part(2, 10, 20)], vec![(60, Some(1)), (40, None)]),
            (vec![part(1, 90, u64::MAX), part(2, 200, 5)], vec![(90, None), (10, Some(1))]),
        ] {
            assert_eq!(told(&parts, 100), wanted, "{parts:?}");
        }
        let parts = [part(1, 10, 20)];
        assert_eq!(free(&parts, 30), [Range { start_bytes: 0, len_bytes: 10 }]);
    }
}
