//! Family 8, directories: the entries of every block, their checksum, and that no name is there twice.

use std::hash::{BuildHasher as _, RandomState};

use super::super::bytes::{u16_at, u32_at};
use super::super::checksum::crc32c;
use super::super::error::Error;
use super::super::features::{incompat, ro_compat};
use super::super::group::INODE_UNINIT;
use super::index::Index;
use super::inodes::ROOT;
use super::{Checker, Directory};
use crate::image::findings::Place;

/// What ends a leaf under `metadata_csum`: an entry without a name, of this type, with the checksum.
const TAIL_LEN: usize = 12;
const TAIL_TYPE: u8 = 0xde;
const HEADER_LEN: usize = 8;
const SHORTEST: usize = 12;
/// Names of one directory that are compared with each other; behind these, a name may be there twice.
const NAMES_COMPARED: usize = 1 << 22;

/// An entry of a directory.
pub(super) struct Entry<'a> {
    pub(super) inode: u32,
    len: usize,
    kind: u8,
    name: &'a [u8],
    /// The two bytes behind the name, where `.` and `..` end.
    after_name: u8,
}

impl<'a> Entry<'a> {
    /// The entry at byte `at`. `None` if it leaves `area` or is shorter than its name.
    fn read(area: &'a [u8], at: usize) -> Option<Self> {
        let raw = area.get(at..)?;
        let [name_len, kind] = [*raw.get(6)?, *raw.get(7)?];
        let len = usize::from(u16_at(raw, 4));
        let least = (HEADER_LEN + usize::from(name_len)).next_multiple_of(4).max(SHORTEST);
        let name = raw.get(HEADER_LEN..HEADER_LEN + usize::from(name_len))?;
        if len < least || len > raw.len() || !len.is_multiple_of(4) {
            return None;
        }
        let after_name = raw.get(HEADER_LEN + usize::from(name_len)).copied().unwrap_or(0);
        Some(Self { inode: u32_at(raw, 0), len, kind, name, after_name })
    }
}

/// One block of a directory.
pub(super) struct Block<'a> {
    pub(super) bytes: &'a [u8],
    /// Which of the directory's it is.
    pub(super) logical: u64,
    /// Where it is on the device.
    pub(super) start: u64,
}

/// The names of a directory by a hash that nobody can foresee, to find those that are there twice.
struct Names {
    state: RandomState,
    hashes: Vec<u64>,
}

impl Checker<'_> {
    pub(super) fn check_directories(&mut self) -> Result<(), Error> {
        let mut directories = std::mem::take(&mut self.directories);
        for directory in &mut directories {
            self.check_directory(directory)?;
        }
        self.directories = directories;
        Ok(())
    }

    fn check_directory(&mut self, directory: &mut Directory) -> Result<(), Error> {
        let runs: Vec<(u64, u64, u64)> = self
            .runs
            .get(directory.first_run..directory.end_run)
            .unwrap_or_default()
            .iter()
            .map(|run| (run.logical, run.start, run.len))
            .collect();
        let mapped: u64 = runs.iter().map(|run| run.2).sum();
        // What has holes, or blocks that others have too, is told of already; its index would tell nothing new.
        let mut index = (directory.is_indexed && mapped == directory.len_blocks)
            .then(|| Index::new(usize::try_from(directory.len_blocks).unwrap_or(0)));
        let mut names = Names { state: RandomState::new(), hashes: Vec::new() };
        for (logical, start, len) in runs {
            for nth in 0..len {
                let bytes = self.read_block(start + nth)?;
                let block = Block { bytes: &bytes, logical: logical + nth, start: start + nth };
                self.check_block(directory, &block, index.as_mut(), &mut names);
            }
        }
        names.hashes.sort_unstable();
        let twice = names.hashes.windows(2).filter(|pair| pair.first() == pair.last()).count();
        if twice > 0 {
            let place = Place::nth("directory", directory.inode);
            self.findings.add(place, "number of names that are there twice", twice, 0);
        }
        if let Some(index) = index {
            self.check_index(directory.inode, index);
        }
        Ok(())
    }

    /// Checks the entries of a block, and counts the links they are.
    fn check_block(
        &mut self,
        directory: &mut Directory,
        block: &Block<'_>,
        mut index: Option<&mut Index>,
        names: &mut Names,
    ) {
        let has_checksums = self.fs.features.has_ro_compat(ro_compat::METADATA_CSUM);
        let is_leaf = match index.as_mut() {
            Some(index) => index.begin_block(block, has_checksums),
            None => true,
        };
        let place = Place::nth("directory", directory.inode);
        let first_byte = block.logical.saturating_mul(self.fs.block_len as u64);
        let mut len = block.bytes.len();
        if has_checksums {
            self.check_block_checksum(directory, block, is_leaf);
            if is_leaf {
                len -= TAIL_LEN;
            }
        }
        let area = block.bytes.get(..len).unwrap_or_default();
        let mut at = 0;
        let mut nth = if block.logical == 0 { 0_u32 } else { 2 };
        while at < area.len() {
            let place = place.byte(first_byte + at as u64);
            let Some(entry) = Entry::read(area, at) else {
                self.findings.add(
                    place,
                    "entry",
                    "longer than its room or shorter than its name",
                    "one that fits",
                );
                return;
            };
            self.check_entry(directory, &entry, nth, place);
            if entry.inode != 0 {
                if names.hashes.len() < NAMES_COMPARED {
                    names.hashes.push(names.state.hash_one(entry.name));
                }
                if let Some(index) = index.as_mut() {
                    index.see_name(block.logical, self.name_hash(index.version(), entry.name));
                }
            }
            at += entry.len;
            nth = nth.saturating_add(1);
        }
        if let Some(index) = index
            && !is_leaf
        {
            self.read_index_node(directory.inode, block, index, has_checksums);
        }
    }

    /// Checks an entry that is the `nth` of its directory as far as that matters: 0 is `.`, 1 is `..`.
    fn check_entry(&mut self, directory: &mut Directory, entry: &Entry<'_>, nth: u32, place: Place) {
        let name = entry.name.escape_ascii();
        if nth < 2 {
            self.check_dots(directory, entry, nth, place);
        } else if entry.inode == directory.inode {
            self.findings.add(place, format_args!("entry `{name}`"), "its own directory", "another inode");
        }
        let inode = entry.inode;
        if inode == 0 {
            return;
        }
        let fs = &self.fs;
        let is_file = (inode == ROOT || inode >= fs.first_inode)
            && inode <= fs.inodes_count
            && ![0x240, 0x244, 0x26c, 0x280].iter().any(|at| fs.u32(*at) == inode);
        if !is_file {
            self.findings.add(place, format_args!("inode of `{name}`"), inode, "one of a file");
            return;
        }
        if nth >= 2 {
            let is_possible = !matches!(entry.name, [] | b"." | b"..") && inode != ROOT;
            if !is_possible {
                self.findings.add(
                    place,
                    format_args!("entry `{name}`"),
                    "empty, a dot, or for the root",
                    "a file",
                );
            }
        }
        if !self.may_be_used(inode) || !self.is_used(inode) {
            self.findings.add(
                place,
                format_args!("inode of `{name}`"),
                format_args!("{inode}, not in use"),
                "one in use",
            );
        }
        // 0 says that only the inode knows: always without the feature, and now and then with it.
        let wanted =
            if self.fs.features.has_incompat(incompat::FILETYPE) { self.types.get(inode) } else { 0 };
        if entry.kind != 0 {
            self.findings.compare(place, format_args!("type of `{name}`"), entry.kind, wanted);
        }
        if entry.name.contains(&b'/') || entry.name.contains(&0) {
            self.findings.add(place, "name", format_args!("`{name}`"), "one without `/` and NUL");
        }
        self.counted_links.put(inode, self.counted_links.get(inode).saturating_add(1));
        if nth >= 2 && self.types.get(inode) == 2 {
            match self.parents.get(inode) {
                0 => self.parents.put(inode, directory.inode),
                first => self.findings.add(
                    place,
                    format_args!("directory `{name}`"),
                    format_args!("in directory {first} too"),
                    "in one",
                ),
            }
        }
    }

    fn check_dots(&mut self, directory: &mut Directory, entry: &Entry<'_>, nth: u32, place: Place) {
        let wanted: &[u8] = if nth == 0 { b"." } else { b".." };
        if entry.inode == 0 || entry.name != wanted || entry.after_name != 0 {
            let found = format!("`{}` of inode {}", entry.name.escape_ascii(), entry.inode);
            self.findings.add(place, "entry", found, format_args!("`{}`", wanted.escape_ascii()));
        }
        if nth == 1 {
            directory.dotdot = entry.inode;
            return;
        }
        self.findings.compare(place, "inode of `.`", entry.inode, directory.inode);
        if entry.len > 24 {
            self.findings.add(place, "length of `.`", entry.len, "12");
        }
    }

    /// Whether an inode lies where its group says that some were used.
    fn may_be_used(&self, inode: u32) -> bool {
        let group = self.fs.group_of_inode(inode);
        let described = usize::try_from(group).ok().and_then(|at| self.groups.get(at));
        described.is_some_and(|described| {
            let index = (inode - 1) % self.fs.inodes_per_group;
            !described.group.has_flag(INODE_UNINIT)
                && index < self.fs.inodes_per_group.saturating_sub(described.group.itable_unused())
        })
    }

    /// A leaf has its checksum in a tail; the index has it behind its entries. Without an index flag a block of an
    /// index counts as a leaf, whose tail is then missing.
    fn check_block_checksum(&mut self, directory: &Directory, block: &Block<'_>, is_leaf: bool) {
        let seed = self.fs.checksums.inode_seed(directory.inode, directory.generation);
        let Some(seed) = seed else { return };
        let sums = match tail(block.bytes) {
            Some(at) => {
                let computed = crc32c(seed, block.bytes.get(..at).unwrap_or_default());
                Some((u32_at(block.bytes, at + 8), computed))
            }
            None => super::index::checksum(block.bytes, seed),
        };
        let place = Place::nth("directory block", block.start);
        match sums {
            Some((stored, computed)) if stored == computed => {}
            Some((stored, computed)) => self.findings.add(
                place,
                "checksum",
                format_args!("{stored:#010x}"),
                format_args!("{computed:#010x}"),
            ),
            None if is_leaf => self.findings.add(place, "checksum", "missing", "in the last 12 bytes"),
            None => self.findings.add(place, "checksum", "missing", "behind the index"),
        }
    }
}

/// Where the tail of a leaf begins, if there is one.
fn tail(block: &[u8]) -> Option<usize> {
    let at = block.len().checked_sub(TAIL_LEN)?;
    let mut next = 0;
    while next < at {
        let len = usize::from(u16_at(block, next + 4));
        if len < HEADER_LEN || !len.is_multiple_of(4) {
            return None;
        }
        next += len;
    }
    let is_tail = next == at
        && u32_at(block, at) == 0
        && u16_at(block, at + 4) == 12
        && u16_at(block, at + 6) == u16::from(TAIL_TYPE) << 8;
    is_tail.then_some(at)
}
