//! Judges a partition table: MBR, or GPT with its backup. What of it can be used is given too, so that filesystems can
//! be judged behind a faulty table.
//!
//! Spec: UEFI 2.10 §5.2 (MBR), §5.3 (GPT). Oracle: `sfdisk --verify`, all whose findings are found. Left out: CHS; what lies in an extended partition,
//! which is refused.

use std::collections::HashSet;

use uuid::Uuid;

use super::{Error, Label, Partition, SECTOR_LEN, TypeId, gpt, mbr};
use crate::block::ReadAt;
use crate::image::findings::{Findings, Place};

const TABLE: Place = Place::only("partition table");
const HEADER_LEN: u64 = 92;
const ENTRY_LEN: u64 = 128;
/// What [`super::Table`] reads at most.
const ENTRIES_MAX: u64 = 1024;

/// What was found in a partition table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Which kind it is.
    pub label: Label,
    /// Everything that is wrong.
    pub findings: Findings,
    /// What the kernel calls the disk (`PTUUID`): 8 hexadecimal digits, or a GUID in lower case. Empty when no header of a
    /// GPT is of use.
    pub disk_id: String,
    /// The partitions that lie inside the device, by number.
    pub partitions: Vec<Partition>,
    /// Those that leave it.
    pub outside: Vec<Partition>,
}

/// Judges the partition table of `device`. Writes nothing.
///
/// # Errors
/// [`Error::Missing`] when there is none; [`Error::Unsupported`]; [`Error::Device`]. Whatever is wrong with a table is no
/// error but a finding.
pub fn check(device: &dyn ReadAt) -> Result<Report, Error> {
    let sector = mbr::read(device)?;
    let entries = mbr::entries(&sector);
    let mut findings = Findings::default();
    let is_gpt = entries.iter().any(|entry| entry.kind == mbr::PROTECTIVE);
    let (label, (disk_id, all)) = if is_gpt {
        mbr::check_protective(&entries)?;
        check_protective(device, &entries, &mut findings);
        (Label::Gpt, check_gpt(device, &mut findings)?)
    } else {
        let disk_id = format!("{:08x}", mbr::disk_id(&sector));
        (Label::Mbr, (disk_id, check_mbr(&sector, &entries, &mut findings)?))
    };
    if all.is_empty() {
        findings.add(TABLE, "number of partitions", 0, "at least 1");
    }
    let (partitions, outside) = check_layout(all, device.len_bytes(), &mut findings);
    Ok(Report { label, findings, disk_id, partitions, outside })
}

fn check_mbr(
    sector: &mbr::Sector,
    entries: &[mbr::Entry; 4],
    findings: &mut Findings,
) -> Result<Vec<Partition>, Error> {
    let mut partitions = Vec::new();
    for (number, entry) in (1_u32..).zip(entries) {
        let place = Place::nth("partition", number);
        if !matches!(entry.flag(), 0 | 0x80) {
            findings.add(place, "flag", format_args!("{:#04x}", entry.flag()), "0x00 or 0x80");
        }
        if matches!(entry.kind, 0x05 | 0x0f | 0x85) {
            return Err(Error::Unsupported(format!("partition {number} is an extended one")));
        }
        let (start, count) = entry.sectors();
        if entry.kind == 0 {
            continue;
        }
        if start == 0 || count == 0 {
            findings.add(place, "sectors", format_args!("{count} from {start} on"), "some, behind the table");
            continue;
        }
        partitions.push(mbr::partition(number, entry, mbr::disk_id(sector)));
    }
    Ok(partitions)
}

/// Sorts out what leaves the device, and tells of what shares bytes.
fn check_layout(
    all: Vec<Partition>,
    device_len: u64,
    findings: &mut Findings,
) -> (Vec<Partition>, Vec<Partition>) {
    let mut inside: Vec<Partition> = Vec::new();
    let mut outside = Vec::new();
    for partition in all {
        let end = partition.start_bytes.saturating_add(partition.len_bytes);
        let place = Place::nth("partition", partition.number);
        if end > device_len {
            findings.add(place, "end", end, format_args!("at most {device_len}, the end of the image"));
            outside.push(partition);
            continue;
        }
        for other in &inside {
            let other_end = other.start_bytes + other.len_bytes;
            if partition.start_bytes < other_end && other.start_bytes < end {
                findings.add(
                    place,
                    "range",
                    format_args!("shared with partition {}", other.number),
                    "its own",
                );
            }
        }
        inside.push(partition);
    }
    (inside, outside)
}

/// The entry that hides a GPT covers the disk behind sector 0, or as much of it as 32 bits count.
fn check_protective(device: &dyn ReadAt, entries: &[mbr::Entry; 4], findings: &mut Findings) {
    let Some(entry) = entries.iter().find(|entry| entry.kind == mbr::PROTECTIVE) else { return };
    let (start, count) = entry.sectors();
    let place = Place::only("protective MBR");
    findings.compare(place, "first sector", start, 1);
    let wanted = gpt::last_sector(device);
    if u64::from(count) != wanted && count != u32::MAX {
        findings.add(place, "number of sectors", count, wanted);
    }
}

/// A header as it is on disk.
struct Header {
    raw: [u8; 92],
    /// The sector it was read from.
    at: u64,
}

impl Header {
    fn u32(&self, at: usize) -> u32 {
        self.raw.get(at..at + 4).and_then(|raw| raw.try_into().ok()).map_or(0, u32::from_le_bytes)
    }

    fn u64(&self, at: usize) -> u64 {
        self.raw.get(at..at + 8).and_then(|raw| raw.try_into().ok()).map_or(0, u64::from_le_bytes)
    }

    fn guid(&self) -> Uuid {
        let raw = self.raw.get(56..72).and_then(|raw| raw.try_into().ok());
        raw.map_or(Uuid::nil(), Uuid::from_bytes_le)
    }

    /// Reads and judges the header in sector `at`. `None` when it is of no use.
    fn read(
        device: &dyn ReadAt,
        at: u64,
        place: Place,
        findings: &mut Findings,
    ) -> Result<Option<Self>, Error> {
        let mut raw = [0; 92];
        device.read_at(at.saturating_mul(SECTOR_LEN), &mut raw)?;
        let header = Self { raw, at };
        let before = findings.count();
        if !header.raw.starts_with(b"EFI PART") {
            let found = header.raw.get(..8).unwrap_or_default().escape_ascii().to_string();
            findings.add(place, "mark", format_args!("`{found}`"), "`EFI PART`");
            return Ok(None);
        }
        let len = u64::from(header.u32(12));
        if !(HEADER_LEN..=SECTOR_LEN).contains(&len) {
            findings.add(place, "length", len, format_args!("{HEADER_LEN} to {SECTOR_LEN}"));
            return Ok(None);
        }
        let mut sealed = vec![0; usize::try_from(len).unwrap_or(92)];
        device.read_at(at.saturating_mul(SECTOR_LEN), &mut sealed)?;
        if let Some(field) = sealed.get_mut(16..20) {
            field.fill(0);
        }
        let (stored, computed) = (header.u32(16), gpt::crc32(&sealed));
        if stored != computed {
            findings.add(place, "checksum", format_args!("{stored:#010x}"), format_args!("{computed:#010x}"));
        }
        findings.compare(place, "own sector", header.u64(24), at);
        let (count, entry_len) = (u64::from(header.u32(80)), u64::from(header.u32(84)));
        if entry_len != ENTRY_LEN || !(1..=ENTRIES_MAX).contains(&count) {
            let found = format!("{count} of {entry_len} bytes");
            let wanted = format!("1 to {ENTRIES_MAX} of {ENTRY_LEN}");
            findings.add(place, "array of entries", found, wanted);
        }
        Ok((findings.count() == before).then_some(header))
    }

    /// Reads and judges the entries.
    fn entries(
        &self,
        device: &dyn ReadAt,
        place: Place,
        findings: &mut Findings,
    ) -> Result<Option<Vec<u8>>, Error> {
        let len = u64::from(self.u32(80)) * ENTRY_LEN;
        let start = self.u64(72).saturating_mul(SECTOR_LEN);
        if start.checked_add(len).is_none_or(|end| end > device.len_bytes()) {
            findings.add(place, "sector of the entries", self.u64(72), "inside the image");
            return Ok(None);
        }
        let mut bytes = vec![0; usize::try_from(len).unwrap_or(0)];
        device.read_at(start, &mut bytes)?;
        let (stored, computed) = (self.u32(88), gpt::crc32(&bytes));
        if stored != computed {
            let found = format!("{stored:#010x}");
            findings.add(place, "checksum of the entries", found, format_args!("{computed:#010x}"));
        }
        Ok(Some(bytes))
    }
}

/// Judges both headers and both arrays; the GUID of the disk and the partitions are those of the first that is of use.
fn check_gpt(device: &dyn ReadAt, findings: &mut Findings) -> Result<(String, Vec<Partition>), Error> {
    let places = [Place::only("GPT header"), Place::only("backup GPT header")];
    let [first_place, second_place] = places;
    let last = gpt::last_sector(device);
    let first = Header::read(device, 1, first_place, findings)?;
    let second_at = first.as_ref().map_or(last, |first| first.u64(32));
    if second_at != last {
        // Where else it is, nobody finds it when the first is lost.
        findings.add(first_place, "sector of the backup", second_at, format_args!("{last}, the last"));
    }
    let second = if second_at <= last && second_at > 1 {
        Header::read(device, second_at, second_place, findings)?
    } else {
        None
    };
    let mut arrays = Vec::new();
    for (header, place) in [(&first, first_place), (&second, second_place)] {
        if let Some(header) = header {
            arrays.extend(header.entries(device, place, findings)?);
        }
    }
    if let (Some(first), Some(second)) = (&first, &second) {
        findings.compare(second_place, "sector of the first", second.u64(32), first.at);
        for (at, what) in [(40, "first usable sector"), (48, "last usable sector")] {
            findings.compare(second_place, what, second.u64(at), first.u64(at));
        }
        if first.guid() != second.guid() {
            findings.add(second_place, "GUID of the disk", "another", "that of the first");
        }
        if let [first, second] = arrays.as_slice()
            && first != second
        {
            findings.add(second_place, "array of entries", "another", "that of the first");
        }
    }
    let header = first.or(second);
    let disk_id = header.as_ref().map_or_else(String::new, |header| header.guid().to_string());
    let usable = header.map(|header| (header.u64(40), header.u64(48)));
    let (Some((first_usable, last_usable)), Some(entries)) = (usable, arrays.first()) else {
        return Ok((disk_id, Vec::new()));
    };
    if first_usable > last_usable || last_usable >= last {
        let found = format!("{first_usable} to {last_usable}");
        findings.add(first_place, "usable sectors", found, format_args!("some before {last}"));
    }
    Ok((disk_id, partitions(entries, first_usable, last_usable, findings)))
}

fn partitions(
    entries: &[u8],
    first_usable: u64,
    last_usable: u64,
    findings: &mut Findings,
) -> Vec<Partition> {
    let mut partitions = Vec::new();
    let mut guids = HashSet::new();
    for (number, raw) in (1_u32..).zip(entries.chunks_exact(128)) {
        let guid = |at: usize| {
            raw.get(at..at + 16).and_then(|raw| raw.try_into().ok()).map_or(Uuid::nil(), Uuid::from_bytes_le)
        };
        let sector =
            |at: usize| raw.get(at..at + 8).and_then(|raw| raw.try_into().ok()).map_or(0, u64::from_le_bytes);
        let kind = guid(0);
        if kind.is_nil() {
            continue;
        }
        let place = Place::nth("partition", number);
        let (start, end) = (sector(32), sector(40));
        if start > end || start < first_usable || end > last_usable {
            let wanted = format!("between {first_usable} and {last_usable}");
            findings.add(place, "sectors", format_args!("{start} to {end}"), wanted);
        }
        if !guids.insert(guid(16)) {
            findings.add(place, "GUID", guid(16), "its own");
        }
        let len = end.checked_sub(start).and_then(|len| len.checked_add(1));
        let len_bytes = len.and_then(|len| len.checked_mul(SECTOR_LEN));
        if let (Some(start_bytes), Some(len_bytes)) = (start.checked_mul(SECTOR_LEN), len_bytes) {
            partitions.push(Partition {
                number,
                start_bytes,
                len_bytes,
                kind: gpt::kind_of(&kind),
                type_id: TypeId::Gpt(kind),
                partuuid: guid(16).to_string(),
            });
        }
    }
    partitions
}
