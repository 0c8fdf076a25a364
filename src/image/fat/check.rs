//! Judges a whole FAT filesystem without believing any of it, as `fsck.fat -n` does: sound or not, and what.
//!
//! - The FAT is read once, a word for each cluster; every cluster is owned by at most one chain, and one that is owned
//!   already is not followed, so no bytes make this loop.
//! - Directories are read to the end of their chains, also behind the entry that ends the list.
//!
//! Oracle: `fsck.fat -n` 4.2, silent or not. The verdict agrees with it, but for these:
//! - The mark `55 aa` of the boot sector is wanted, without which no firmware reads it.
//! - The first entry of the FAT repeats the media byte of the boot sector.
//! - There is one count of sectors, in 16 bits or in 32, and not both.
//! - A count of free clusters that is not known (all ones) is none that is wrong.
//! - What [`super::Fat`] does not read (FAT12, other sectors than 512 bytes, …) is refused and not judged.

mod names;

use std::collections::HashSet;

use super::Error;
use super::layout::{Layout, Next, u32_le};
use crate::block::ReadAt;
use crate::image::findings::{Findings, Place};
use names::{LongName, name_fault};

const ENTRY_LEN: usize = 32;
/// Entries that one directory can have: FAT 1.03 §6.
const ENTRIES_MAX: usize = 65_536;
/// Bytes of the FAT read at a time.
const CHUNK: u64 = 1 << 18;

const VOLUME: u8 = 0x08;
const DIRECTORY: u8 = 0x10;
const LONG_NAME: u8 = 0x0f;
const DELETED: u8 = 0xe5;
const NO_NAME: [u8; 11] = *b"NO NAME    ";

const BOOT: Place = Place::only("boot sector");
const INFO: Place = Place::only("FSInfo sector");

/// What was found in a filesystem.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Everything that is wrong.
    pub findings: Findings,
    /// 16 or 32.
    pub bits: u8,
    /// How many files and directories there are, with the label.
    pub files: u64,
    /// How many clusters there are.
    pub clusters: u32,
    /// How many of them are in use.
    pub used_clusters: u32,
}

impl Report {
    /// Whether nothing is wrong.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.findings.is_empty()
    }
}

/// Judges the filesystem that fills `device`, or as much of it as it says. Writes nothing.
///
/// # Errors
/// [`Error::Unsupported`], of which this can say nothing; [`Error::Device`]. Whatever is wrong with a filesystem is no
/// error but a finding.
pub fn check(device: &dyn ReadAt) -> Result<Report, Error> {
    let layout = match Layout::read(device) {
        Ok(layout) => layout,
        Err(Error::Corrupt(fault)) => {
            let mut findings = Findings::default();
            // `what: found this, wanted that`
            let (what, rest) = fault.split_once(": found ").unwrap_or(("layout", &fault));
            let (found, wanted) = rest.split_once(", wanted ").unwrap_or((rest, "one that can be"));
            findings.add(BOOT, what, found, wanted);
            return Ok(Report { findings, bits: 0, files: 0, clusters: 0, used_clusters: 0 });
        }
        Err(error) => return Err(error),
    };
    let mut sector = vec![0; 512];
    device.read_at(0, &mut sector)?;
    let clusters = layout.cluster_count;
    let mut checker = Checker {
        device,
        layout,
        sector,
        fat: Vec::new(),
        owned: Vec::new(),
        findings: Findings::default(),
        files: 0,
    };
    checker.run()?;
    let used = checker.owned.iter().filter(|owned| **owned).count();
    Ok(Report {
        findings: checker.findings,
        bits: if layout.is_fat32 { 32 } else { 16 },
        files: checker.files,
        clusters,
        used_clusters: u32::try_from(used).unwrap_or(u32::MAX),
    })
}

struct Checker<'d> {
    device: &'d dyn ReadAt,
    layout: Layout,
    sector: Vec<u8>,
    /// The FAT, without the four bits that are reserved in FAT32.
    fat: Vec<u32>,
    /// Clusters that a chain has.
    owned: Vec<bool>,
    findings: Findings,
    files: u64,
}

/// A directory to look into.
struct Directory {
    path: String,
    /// Its first cluster; 0 for the root of FAT16.
    start: u32,
    /// What `..` in it says: 0 for the root.
    parent: u32,
    clusters: Vec<u32>,
    is_root: bool,
}

impl Checker<'_> {
    fn run(&mut self) -> Result<(), Error> {
        self.check_backup()?;
        self.read_fat()?;
        self.check_fat();
        let mut left = vec![self.open_root()];
        while let Some(directory) = left.pop() {
            let below = self.check_directory(&directory)?;
            left.extend(below);
        }
        let lost = self.lost_clusters();
        if lost > 0 {
            self.findings.add(Place::only("FAT"), "number of clusters in use by no file", lost, 0);
        }
        self.check_free(lost)
    }

    /// The first two entries, and links that lead nowhere.
    fn check_fat(&mut self) {
        let ones = if self.layout.is_fat32 { 0x0fff_ff00 } else { 0xff00 };
        let media = self.sector.get(21).copied().unwrap_or(0);
        let place = Place::nth("FAT entry", 0_u32);
        let (first, wanted) = (self.entry(0), ones | u32::from(media));
        if first != wanted {
            self.findings.add(place, "value", format_args!("{first:#x}"), format_args!("{wanted:#x}"));
        }
        if !self.layout.is_clean(self.entry(1), &self.sector) {
            self.findings.add(BOOT, "state", "not unmounted cleanly", "clean");
        }
        for number in 2..self.layout.cluster_count.saturating_add(2) {
            if let Next::Outside(next) = self.next(number) {
                let place = Place::nth("FAT entry", number);
                let last = self.layout.cluster_count.saturating_add(1);
                self.findings.add(place, "next cluster", next, format_args!("2 to {last}, or an end"));
            }
        }
    }

    fn entry(&self, number: u32) -> u32 {
        usize::try_from(number).ok().and_then(|at| self.fat.get(at)).copied().unwrap_or(0)
    }

    fn next(&self, number: u32) -> Next {
        self.layout.next(self.entry(number))
    }

    fn is_bad(&self, number: u32) -> bool {
        self.entry(number) == if self.layout.is_fat32 { 0x0fff_fff7 } else { 0xfff7 }
    }

    fn is_owned(&self, number: u32) -> bool {
        usize::try_from(number).ok().and_then(|at| self.owned.get(at)).copied().unwrap_or(false)
    }

    /// The first FAT; the second must be like it.
    fn read_fat(&mut self) -> Result<(), Error> {
        let layout = self.layout;
        let entries = u64::from(layout.cluster_count) + 2;
        let len = entries * layout.entry_len();
        let mut at = 0;
        let mut differs = None;
        while at < len {
            let part = usize::try_from(CHUNK.min(len - at)).unwrap_or(0);
            let mut bytes = vec![0; part];
            self.device.read_at(layout.fat_start + at, &mut bytes)?;
            if layout.fat_count > 1 && differs.is_none() {
                let mut copy = vec![0; part];
                self.device.read_at(layout.fat_start + layout.fat_len + at, &mut copy)?;
                let first = bytes.iter().zip(&copy).position(|(a, b)| a != b);
                differs = first.map(|first| at + first as u64);
            }
            if layout.is_fat32 {
                self.fat.extend(bytes.chunks(4).map(|raw| u32_le(raw, 0) & 0x0fff_ffff));
            } else {
                let value = |raw: &[u8]| raw.try_into().map_or(0, u16::from_le_bytes);
                self.fat.extend(bytes.chunks(2).map(|raw| u32::from(value(raw))));
            }
            at += part as u64;
        }
        self.owned = vec![false; self.fat.len()];
        if let Some(at) = differs {
            self.findings.add(Place::only("second FAT").byte(at), "content", "another", "that of the first");
        }
        Ok(())
    }

    /// The copy of the boot sector, and the marks of the FSInfo sector.
    fn check_backup(&mut self) -> Result<(), Error> {
        if !self.layout.is_fat32 {
            return Ok(());
        }
        match self.layout.backup_at {
            None => self.findings.add(BOOT, "copy of the boot sector", "missing", "in a reserved sector"),
            Some(at) => {
                let mut copy = vec![0; 512];
                self.device.read_at(at, &mut copy)?;
                let first = self.sector.iter().zip(&copy).position(|(a, b)| a != b);
                if let Some(first) = first {
                    let place = Place::only("copy of the boot sector").byte(first as u64);
                    self.findings.add(place, "content", "another", "that of the first");
                }
            }
        }
        Ok(())
    }

    fn check_free(&mut self, lost: u32) -> Result<(), Error> {
        let Some(at) = self.layout.fs_info_at else { return Ok(()) };
        let mut info = vec![0; 512];
        self.device.read_at(at, &mut info)?;
        let mut are_right = true;
        for (at, mark) in [(0, 0x4161_5252), (484, 0x6141_7272), (508, 0xaa55_0000)] {
            let found = u32_le(&info, at);
            if found != mark {
                are_right = false;
                let found = format!("{found:#010x}");
                self.findings.add(INFO.byte(at as u64), "mark", found, format_args!("{mark:#010x}"));
            }
        }
        let numbers = 2..self.layout.cluster_count.saturating_add(2);
        let free = numbers.filter(|number| self.entry(*number) == 0).count();
        // A cluster of no file is as good as free.
        let free = u64::try_from(free).unwrap_or(0) + u64::from(lost);
        let stored = u32_le(&info, 488);
        if are_right && stored != u32::MAX {
            self.findings.compare(INFO.byte(488_u32), "number of free clusters", u64::from(stored), free);
        }
        Ok(())
    }

    fn lost_clusters(&self) -> u32 {
        let numbers = 2..self.layout.cluster_count.saturating_add(2);
        let lost = numbers
            .filter(|number| self.entry(*number) != 0 && !self.is_bad(*number) && !self.is_owned(*number));
        u32::try_from(lost.count()).unwrap_or(u32::MAX)
    }

    fn open_root(&mut self) -> Directory {
        let start = self.layout.root_cluster;
        let clusters = if self.layout.is_fat32 {
            self.claim(start, None, "/", Place::only("root directory"))
        } else {
            Vec::new()
        };
        Directory { path: String::new(), start, parent: 0, clusters, is_root: true }
    }

    /// Takes the clusters of a chain; those of a directory are given, as far as one can be long.
    fn claim(&mut self, start: u32, len_bytes: Option<u32>, path: &str, place: Place) -> Vec<u32> {
        let mut taken = Vec::new();
        let (mut number, mut count) = (start, 0_u64);
        let what = |part: &str| format!("{part} of `{path}`");
        loop {
            if self.entry(number) == 0 || self.is_bad(number) {
                self.findings.add(
                    place,
                    what("chain"),
                    format_args!("through {number}, free or bad"),
                    "in use",
                );
                break;
            }
            if len_bytes.is_some_and(|len| u64::from(len) <= count * self.layout.cluster_len) {
                let len = len_bytes.unwrap_or(0);
                self.findings.add(
                    place,
                    what("chain"),
                    "longer",
                    format_args!("no longer than {len} bytes need"),
                );
                break;
            }
            match usize::try_from(number).ok().and_then(|at| self.owned.get_mut(at)) {
                Some(owned) if !*owned => *owned = true,
                _ => {
                    self.findings.add(
                        place,
                        what("chain"),
                        format_args!("through {number}, another's"),
                        "its own",
                    );
                    break;
                }
            }
            count += 1;
            if len_bytes.is_none() && taken.len() < ENTRIES_MAX {
                taken.push(number);
            }
            match self.next(number) {
                Next::Cluster(next) => number = next,
                _ => break,
            }
        }
        if let Some(len) = len_bytes.filter(|len| u64::from(*len) > count * self.layout.cluster_len) {
            self.findings.add(
                place,
                what("size"),
                len,
                format_args!("at most {}", count * self.layout.cluster_len),
            );
        }
        taken
    }

    /// Checks all entries; gives the directories in it.
    fn check_directory(&mut self, directory: &Directory) -> Result<Vec<Directory>, Error> {
        let mut below = Vec::new();
        let mut long = LongName::default();
        let mut names = HashSet::new();
        let mut label = None;
        let (mut has_ended, mut is_told) = (false, false);
        let pieces: Vec<(u64, u64)> = if directory.clusters.is_empty() && directory.is_root {
            vec![(self.layout.root_start, self.layout.root_len)]
        } else {
            let len = self.layout.cluster_len;
            directory.clusters.iter().map(|number| (self.layout.cluster_at(*number), len)).collect()
        };
        let mut nth = 0;
        for (start, len) in pieces {
            let mut bytes = vec![0; usize::try_from(len).unwrap_or(0)];
            self.device.read_at(start, &mut bytes)?;
            for (index, entry) in bytes.chunks_exact(ENTRY_LEN).enumerate() {
                let place = Place::only("directory entry").byte(start + (index * ENTRY_LEN) as u64);
                let entry = Entry { raw: entry, is_fat32: self.layout.is_fat32 };
                if nth < 2 && !directory.is_root {
                    self.check_dots(directory, &entry, nth, place);
                    nth += 1;
                    continue;
                }
                nth += 1;
                let is_free = matches!(entry.byte(0), 0 | DELETED);
                if !is_free && has_ended && !is_told {
                    is_told = true;
                    // fsck.fat reads on; everybody else sees the end, and loses the clusters of what is behind it.
                    self.findings.add(place, "entry behind the end of the directory", "one in use", "none");
                }
                has_ended |= entry.byte(0) == 0;
                if is_free {
                    long.end(place, &mut self.findings);
                    continue;
                }
                if entry.byte(11) == LONG_NAME {
                    long.add(entry.raw, place, &mut self.findings);
                    continue;
                }
                let has_long = long.take(entry.name(), place, &mut self.findings);
                let is_label = entry.byte(11) & VOLUME != 0;
                if is_label && directory.is_root && !has_ended && label.is_none() {
                    label = Some(entry.name());
                }
                self.files += 1;
                if !is_label {
                    let fault = name_fault(&entry.name(), entry.byte(12), has_long);
                    if let Some(found) = fault {
                        self.findings.add(
                            place,
                            format_args!("short name `{}`", entry.show()),
                            found,
                            "a possible one",
                        );
                    }
                    if !names.insert(entry.name()) {
                        self.findings.add(
                            place,
                            format_args!("short name `{}`", entry.show()),
                            "there twice",
                            "there once",
                        );
                    }
                }
                below.extend(self.check_entry(directory, &entry, place));
            }
        }
        long.end(Place::only("directory entry"), &mut self.findings);
        if directory.is_root {
            self.check_label(label);
        }
        Ok(below)
    }

    /// Checks where a file or directory begins, and takes its clusters.
    fn check_entry(&mut self, directory: &Directory, entry: &Entry<'_>, place: Place) -> Option<Directory> {
        let path = format!("{}/{}", directory.path, entry.show());
        let start = entry.start();
        let is_directory = entry.byte(11) & DIRECTORY != 0;
        let what = format!("first cluster of `{path}`");
        if is_directory {
            self.findings.compare(place, format_args!("size of `{path}`"), entry.size(), 0);
            let is_above = start == 0 || start == directory.start || start == directory.parent;
            if is_above {
                self.findings.add(place, what, start, "none of a directory above");
                return None;
            }
        } else if start == 0 {
            self.findings.compare(place, format_args!("size of `{path}` without clusters"), entry.size(), 0);
            return None;
        }
        if !self.layout.is_cluster(start) {
            let last = self.layout.cluster_count.saturating_add(1);
            self.findings.add(place, what, start, format_args!("2 to {last}"));
            return None;
        }
        let size = (!is_directory).then(|| entry.size());
        let clusters = self.claim(start, size, &path, place);
        let parent = if directory.is_root { 0 } else { directory.start };
        let is_usable = is_directory && !clusters.is_empty();
        is_usable.then_some(Directory { path, start, parent, clusters, is_root: false })
    }

    /// The first two entries of a directory.
    fn check_dots(&mut self, directory: &Directory, entry: &Entry<'_>, nth: usize, place: Place) {
        let (name, start) =
            if nth == 0 { (*b".          ", directory.start) } else { (*b"..         ", directory.parent) };
        let is_right = entry.byte(11) & DIRECTORY != 0
            && entry.start() == start
            && entry.name() == name
            && entry.byte(12) & 0x20 == 0;
        if !is_right {
            let wanted = format!("`{}` with cluster {start}", name.trim_ascii_end().escape_ascii());
            let found = format!("`{}` with cluster {}", entry.show(), entry.start());
            self.findings.add(place, format_args!("entry {nth} of `{}`", directory.path), found, wanted);
        }
    }

    /// The label in the boot sector and the one in the root.
    fn check_label(&mut self, label: Option<[u8; 11]>) {
        let at = if self.layout.is_fat32 { 66 } else { 38 };
        let mut boot = [0; 11];
        if self.sector.get(at) == Some(&0x29)
            && let Some(bytes) = self.sector.get(at + 5..at + 16)
        {
            boot.copy_from_slice(bytes);
        }
        let show = |label: &[u8; 11]| label.trim_ascii_end().escape_ascii().to_string();
        match label {
            None if boot != NO_NAME => {
                self.findings.add(BOOT, "label", show(&boot), "`NO NAME`, for the root has none");
            }
            None => {}
            Some(mut label) => {
                if label[0] == 0x05 {
                    label[0] = DELETED;
                }
                if !names::is_label(&label) {
                    self.findings.add(Place::only("root directory"), "label", show(&label), "a possible one");
                }
                if boot != label {
                    self.findings.add(
                        BOOT,
                        "label",
                        show(&boot),
                        format_args!("`{}`, as in the root", show(&label)),
                    );
                }
            }
        }
    }
}

/// One entry of a directory.
struct Entry<'a> {
    raw: &'a [u8],
    is_fat32: bool,
}

impl Entry<'_> {
    fn byte(&self, at: usize) -> u8 {
        self.raw.get(at).copied().unwrap_or(0)
    }

    fn name(&self) -> [u8; 11] {
        self.raw.get(..11).and_then(|name| name.try_into().ok()).unwrap_or([0; 11])
    }

    fn start(&self) -> u32 {
        let half = |at: usize| u32::from(self.byte(at)) | u32::from(self.byte(at + 1)) << 8;
        half(26) | if self.is_fat32 { half(20) << 16 } else { 0 }
    }

    fn size(&self) -> u32 {
        u32_le(self.raw, 28)
    }

    /// `NAME.EXT`
    fn show(&self) -> String {
        let name = self.name();
        let (stem, extension) = name.split_at(8);
        let stem = stem.trim_ascii_end().escape_ascii().to_string();
        match extension.trim_ascii_end() {
            [] => stem,
            extension => format!("{stem}.{}", extension.escape_ascii()),
        }
    }
}
