//! Families 5 and 6, the inodes: one pass over the tables, each inode judged for itself. Deleted ones are looked at as
//! far as e2fsck does. What lies behind the inodes that were ever used is not read.

use super::super::bytes::{u16_at, u32_at};
use super::super::checksum::crc32c;
use super::super::error::Error;
use super::super::features::{compat, incompat};
use super::blocks::Mapped;
use super::geometry::{Geometry, HUGE_FILE};
use super::journal::OwnFile;
use super::{Checker, block_error};
use crate::base::is_zero;
use crate::image::findings::Place;

/// Bytes of an inode table read at a time.
const CHUNK: u64 = 1 << 18;

const BAD_BLOCKS: u32 = 1;
pub(super) const ROOT: u32 = 2;
const BOOT_LOADER: u32 = 5;
pub(super) const RESIZE: u32 = 7;
pub(super) const JOURNAL: u32 = 8;

const IMMUTABLE: u32 = 0x10;
const APPEND: u32 = 0x20;
pub(super) const ENCRYPTED: u32 = 0x800;
pub(super) const INDEX: u32 = 0x1000;
const IMAGIC: u32 = 0x2000;
pub(super) const HUGE: u32 = 0x4_0000;
pub(super) const EXTENTS: u32 = 0x8_0000;
pub(super) const VERITY: u32 = 0x10_0000;
const INLINE_DATA: u32 = 0x1000_0000;
const CASEFOLD: u32 = 0x4000_0000;

/// What `i_mode` says an inode is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Type {
    Fifo,
    CharDevice,
    Directory,
    BlockDevice,
    Regular,
    Symlink,
    Socket,
}

impl Type {
    fn of(mode: u16) -> Option<Self> {
        match mode & 0xf000 {
            0x1000 => Some(Self::Fifo),
            0x2000 => Some(Self::CharDevice),
            0x4000 => Some(Self::Directory),
            0x6000 => Some(Self::BlockDevice),
            0x8000 => Some(Self::Regular),
            0xa000 => Some(Self::Symlink),
            0xc000 => Some(Self::Socket),
            _ => None,
        }
    }

    /// What a directory entry calls it.
    fn entry(self) -> u8 {
        match self {
            Self::Regular => 1,
            Self::Directory => 2,
            Self::CharDevice => 3,
            Self::BlockDevice => 4,
            Self::Fifo => 5,
            Self::Socket => 6,
            Self::Symlink => 7,
        }
    }
}

/// An inode as it is on disk.
pub(super) struct RawInode<'a> {
    pub(super) number: u32,
    pub(super) raw: &'a [u8],
}

impl RawInode<'_> {
    pub(super) fn mode(&self) -> u16 {
        u16_at(self.raw, 0x00)
    }

    pub(super) fn kind(&self) -> Option<Type> {
        Type::of(self.mode())
    }

    pub(super) fn size(&self) -> u64 {
        u64::from(self.size_high()) << 32 | u64::from(u32_at(self.raw, 0x04))
    }

    pub(super) fn size_high(&self) -> u32 {
        u32_at(self.raw, 0x6c)
    }

    fn dtime(&self) -> u32 {
        u32_at(self.raw, 0x14)
    }

    pub(super) fn links(&self) -> u16 {
        u16_at(self.raw, 0x1a)
    }

    /// `i_blocks` without its high part.
    pub(super) fn sectors(&self) -> u32 {
        u32_at(self.raw, 0x1c)
    }

    pub(super) fn sectors_high(&self) -> u16 {
        u16_at(self.raw, 0x74)
    }

    pub(super) fn flags(&self) -> u32 {
        u32_at(self.raw, 0x20)
    }

    pub(super) fn has(&self, flag: u32) -> bool {
        self.flags() & flag != 0
    }

    /// The 60 bytes of `i_block`.
    pub(super) fn i_block(&self) -> &[u8] {
        self.raw.get(0x28..0x64).unwrap_or_default()
    }

    /// One of the fifteen block pointers.
    pub(super) fn pointer(&self, index: usize) -> u32 {
        u32_at(self.i_block(), index * 4)
    }

    pub(super) fn generation(&self) -> u32 {
        u32_at(self.raw, 0x64)
    }

    pub(super) fn xattr_block(&self, fs: &Geometry) -> u64 {
        let high = if fs.is_64bit() { u16_at(self.raw, 0x76) } else { 0 };
        u64::from(high) << 32 | u64::from(u32_at(self.raw, 0x68))
    }

    /// `i_extra_isize`; 0 where inodes have 128 bytes.
    pub(super) fn extra_len(&self) -> usize {
        if self.raw.len() > 128 { usize::from(u16_at(self.raw, 0x80)) } else { 0 }
    }

    pub(super) fn place(&self) -> Place {
        Place::nth("inode", self.number)
    }

    /// A symlink whose text is in `i_block`, by its length.
    pub(super) fn is_fast_symlink(&self) -> bool {
        self.kind() == Some(Type::Symlink) && self.size() > 0 && self.size() < 60
    }

    /// The checksum stored and the one computed; equal without checksums, and in an inode of zeroes.
    fn checksum(&self, fs: &Geometry) -> (u32, u32) {
        let Some(seed) = fs.checksums.inode_seed(self.number, self.generation()) else { return (0, 0) };
        let has_high = self.extra_len() >= 4;
        let low = u32::from(u16_at(self.raw, 0x7c));
        let part = |from: usize, to: usize| self.raw.get(from..to).unwrap_or_default();
        let mut computed = crc32c(crc32c(seed, part(0, 0x7c)), &[0, 0]);
        let stored = if has_high {
            computed = crc32c(crc32c(computed, part(0x7e, 0x82)), &[0, 0]);
            computed = crc32c(computed, part(0x84, self.raw.len()));
            u32::from(u16_at(self.raw, 0x82)) << 16 | low
        } else {
            computed = crc32c(computed, part(0x7e, self.raw.len())) & 0xffff;
            low
        };
        let is_empty = is_zero(part(0, 128));
        if is_empty { (0, 0) } else { (stored, computed) }
    }
}

impl Checker<'_> {
    pub(super) fn check_inodes(&mut self) -> Result<(), Error> {
        for group in 0..self.fs.groups_count {
            self.check_table(group)?;
        }
        Ok(())
    }

    /// The inodes of a group.
    fn check_table(&mut self, group: u32) -> Result<(), Error> {
        let Some(described) = usize::try_from(group).ok().and_then(|at| self.groups.get(at)) else {
            return Ok(());
        };
        if !described.is_table_inside {
            return Ok(());
        }
        let inode_len = self.fs.inode_len;
        let table = described.group.inode_table();
        let mut at = table * self.fs.block_len as u64;
        let mut left = u64::from(described.inodes_used(&self.fs)) * inode_len as u64;
        let mut number = group * self.fs.inodes_per_group;
        let mut chunk = Vec::new();
        while left > 0 {
            chunk.resize(usize::try_from(left.min(CHUNK)).unwrap_or(0), 0);
            self.device.read_at(at, &mut chunk).map_err(|source| block_error(table, source))?;
            for raw in chunk.chunks(inode_len) {
                number += 1;
                // e2fsck keeps the inode of project quota, also an empty one and without the feature.
                let may_be_empty = number >= self.fs.first_inode && number != self.project_quota_inode();
                let is_empty = may_be_empty && is_zero(raw);
                if !is_empty {
                    self.check_inode(&RawInode { number, raw })?;
                }
            }
            at += chunk.len() as u64;
            left -= chunk.len() as u64;
        }
        Ok(())
    }

    /// Reads one inode, unless its table lies where it cannot.
    pub(super) fn read_inode(&self, number: u32) -> Result<Option<Vec<u8>>, Error> {
        let group = self.fs.group_of_inode(number);
        let described = usize::try_from(group).ok().and_then(|at| self.groups.get(at));
        let Some(described) = described.filter(|described| described.is_table_inside && number > 0) else {
            return Ok(None);
        };
        let table = described.group.inode_table();
        let index = u64::from((number - 1) % self.fs.inodes_per_group);
        let mut raw = vec![0; self.fs.inode_len];
        let at = table * self.fs.block_len as u64 + index * self.fs.inode_len as u64;
        self.device.read_at(at, &mut raw).map_err(|source| block_error(table, source))?;
        Ok(Some(raw))
    }

    fn check_inode(&mut self, inode: &RawInode<'_>) -> Result<(), Error> {
        let (stored, computed) = inode.checksum(&self.fs);
        let place = inode.place();
        if stored != computed {
            self.findings.add(place, "checksum", format_args!("{stored:#x}"), format_args!("{computed:#x}"));
        }
        if inode.dtime() != 0 && inode.dtime() < self.fs.inodes_count && self.may_know_low_times() {
            self.findings.add(
                place,
                "deletion time",
                inode.dtime(),
                "none that is the number of an inode (of orphans)",
            );
        }
        if inode.links() == 0
            && inode.number >= self.fs.first_inode
            && inode.number != self.project_quota_inode()
        {
            if inode.dtime() == 0 && inode.mode() != 0 {
                self.findings.add(place, "deletion time of a deleted inode", 0, "one");
            }
            return Ok(());
        }
        self.stored_links.put(inode.number, inode.links());
        self.check_flags(inode);
        if !self.check_reserved(inode)? || inode.links() == 0 {
            return Ok(());
        }
        if inode.dtime() != 0 {
            self.findings.add(place, "deletion time of an inode in use", inode.dtime(), 0);
        }
        self.mark_used(inode.number);
        self.check_fields(inode);
        self.check_extra(inode);
        self.check_type(inode)?;
        if let Some(kind) = inode.kind() {
            self.types.put(inode.number, kind.entry());
        }
        let mapped = self.check_blocks(inode)?;
        if inode.kind() == Some(Type::Directory) {
            self.remember_directory(inode, &mapped);
        }
        Ok(())
    }

    /// Times of the superblock as small as inode numbers come from a clock that stood: then deletion times do too.
    fn may_know_low_times(&self) -> bool {
        let is_low = |at: usize| (1..self.fs.inodes_count).contains(&self.fs.u32(at));
        !(is_low(0x30) || is_low(0x2c) || is_low(0x108))
    }

    fn project_quota_inode(&self) -> u32 {
        self.fs.u32(0x26c)
    }

    fn mark_used(&mut self, inode: u32) {
        self.used.set(u64::from(inode).saturating_sub(1));
    }

    /// Flags that contradict the features or each other.
    fn check_flags(&mut self, inode: &RawInode<'_>) {
        let has_extents = self.fs.has_extents();
        let mut refuse = |flag: u32, name: &str, wanted: &str| {
            if inode.has(flag) {
                self.findings.add(inode.place(), "flag", name, wanted);
            }
        };
        refuse(CASEFOLD, "CASEFOLD", "none without the feature casefold");
        refuse(INLINE_DATA, "INLINE_DATA", "none without the feature inline_data");
        if !has_extents {
            refuse(EXTENTS, "EXTENTS", "none without the feature extents");
        }
        let is_mapped = matches!(inode.kind(), Some(Type::Regular | Type::Directory));
        let is_looked_at = inode.links() > 0 || matches!(inode.number, BAD_BLOCKS | ROOT | JOURNAL);
        if has_extents && !inode.has(EXTENTS) && is_mapped && is_looked_at {
            let is_tree = super::extents::Header::read(inode.i_block()).is_possible(inode.i_block().len());
            if is_tree {
                self.findings.add(
                    inode.place(),
                    "flag EXTENTS",
                    "missing",
                    "set, for there is an extent tree",
                );
            }
        }
    }

    /// Inodes with a duty. Says whether `inode` is to be looked at as one of a file too.
    fn check_reserved(&mut self, inode: &RawInode<'_>) -> Result<bool, Error> {
        let place = inode.place();
        let number = inode.number;
        let is_clear = inode.links() == 0 && inode.sectors() == 0 && inode.pointer(0) == 0;
        let has_file = if number == BAD_BLOCKS {
            let is_plain = inode.mode() == 0
                && inode.links() == 0
                && u32_at(inode.raw, 0x68) == 0
                && self.owner(inode) == 0;
            if !is_plain {
                self.findings.add(place, "inode of bad blocks", "not clear", "clear but for its blocks");
            }
            self.mark_used(number);
            self.walk_map(inode, &mut Mapped::default())?;
            return Ok(false);
        } else if number == ROOT {
            if inode.kind() != Some(Type::Directory) {
                self.findings.add(place, "root", format_args!("of mode {:#o}", inode.mode()), "a directory");
            }
            return Ok(true);
        } else if number == JOURNAL {
            self.fs.u32(0xe0) == JOURNAL
        } else if number == 3 || number == 4 || number == self.project_quota_inode() {
            false
        } else if number == self.fs.orphan_inode() {
            self.fs.features.has_compat(compat::ORPHAN_FILE)
        } else if number < self.fs.first_inode {
            let is_right = match number {
                BOOT_LOADER => inode.kind() != Some(Type::Directory),
                RESIZE => inode.mode() == 0 || inode.kind() == Some(Type::Regular),
                _ => inode.mode() == 0,
            };
            if !is_right {
                let mode = format!("{:#o}", inode.mode());
                self.findings.add(place, "mode of a reserved inode", mode, "0");
            }
            self.mark_used(number);
            self.check_blocks(inode)?;
            return Ok(false);
        } else {
            return Ok(true);
        };
        self.mark_used(number);
        if has_file {
            if inode.kind() != Some(Type::Regular) {
                self.findings.add(
                    place,
                    "mode",
                    format_args!("{:#o}", inode.mode()),
                    "that of a regular file",
                );
            }
            let mapped = self.check_blocks(inode)?;
            let file = OwnFile::new(inode, mapped, self.runs.len());
            if number == JOURNAL {
                self.journal = Some(file);
            } else {
                self.orphan_file = Some(file);
            }
            return Ok(false);
        }
        if !is_clear {
            self.findings.add(place, "inode without use", "not clear", "clear");
        }
        Ok(true)
    }

    /// User and group in one number.
    fn owner(&self, inode: &RawInode<'_>) -> u32 {
        u32::from(u16_at(inode.raw, 0x02)) | u32::from(u16_at(inode.raw, 0x18)) << 16
    }

    /// Fields that must be clear.
    fn check_fields(&mut self, inode: &RawInode<'_>) {
        let place = inode.place();
        let findings = &mut self.findings;
        findings.compare(place, "i_faddr", u32_at(inode.raw, 0x70), 0);
        if inode.kind() == Some(Type::Directory) {
            findings.compare(place, "high part of a directory's size", inode.size_high(), 0);
        }
        if !self.fs.features.has_incompat(incompat::BIT64) {
            findings.compare(place, "high part of i_file_acl", u16_at(inode.raw, 0x76), 0);
        }
        if !self.fs.features.has_ro_compat(HUGE_FILE) {
            findings.compare(place, "high part of i_blocks", inode.sectors_high(), 0);
        }
        for (flag, name) in [(IMAGIC, "IMAGIC"), (ENCRYPTED, "ENCRYPT")] {
            if inode.has(flag) {
                findings.add(place, "flag", name, "none without the feature");
            }
        }
    }

    /// What is behind the first 128 bytes.
    fn check_extra(&mut self, inode: &RawInode<'_>) {
        if inode.raw.len() == 128 {
            return;
        }
        let most = inode.raw.len() - 128;
        let len = inode.extra_len();
        if len != 0 && (len < 4 || len > most || !len.is_multiple_of(4)) {
            let wanted = format!("a multiple of 4 up to {most}");
            self.findings.add(inode.place(), "i_extra_isize", len, wanted);
            return;
        }
        if len >= most - 4 {
            return;
        }
        self.check_inode_xattrs(inode);
        // Written by kernels before 3.14.8 for times before 1970; means the year 2310.
        for (what, time, extra) in
            [("atime", 0x08, 0x8c), ("ctime", 0x0c, 0x84), ("crtime", 0x90, 0x94), ("mtime", 0x10, 0x88)]
        {
            if u32_at(inode.raw, time) >> 31 == 1 && u32_at(inode.raw, extra) & 3 == 3 {
                self.findings.add(inode.place(), what, "in the 24th century", "before 2310");
            }
        }
    }

    /// What each type of file forbids.
    fn check_type(&mut self, inode: &RawInode<'_>) -> Result<(), Error> {
        let place = inode.place();
        match inode.kind() {
            None => self.findings.add(place, "mode", format_args!("{:#o}", inode.mode()), "that of a file"),
            Some(Type::Regular | Type::Directory) => {}
            Some(Type::Symlink) => {
                if let Err(found) = self.symlink_fault(inode)? {
                    self.findings.add(
                        place,
                        "symlink",
                        found,
                        "one with as many bytes of text as its size says",
                    );
                }
                self.check_immutable(inode);
            }
            Some(_) => {
                if inode.has(INDEX | EXTENTS) {
                    self.findings.add(
                        place,
                        "flags of a device",
                        format_args!("{:#x}", inode.flags()),
                        "none",
                    );
                }
                self.check_immutable(inode);
                self.findings.compare(place, "size of a device", inode.size(), 0);
            }
        }
        Ok(())
    }

    fn check_immutable(&mut self, inode: &RawInode<'_>) {
        if inode.has(IMMUTABLE | APPEND) {
            let found = format!("{:#x}", inode.flags());
            self.findings.add(
                inode.place(),
                "flags",
                found,
                "neither IMMUTABLE nor APPEND, but on plain files",
            );
        }
    }

    /// What is wrong with the text of a symlink.
    fn symlink_fault(&self, inode: &RawInode<'_>) -> Result<Result<(), &'static str>, Error> {
        if inode.size_high() != 0 || inode.size() == 0 || inode.has(INDEX) {
            return Ok(Err("of an impossible size, or indexed"));
        }
        let block;
        let text = if inode.is_fast_symlink() {
            if inode.has(EXTENTS) {
                return Ok(Err("short, with the flag EXTENTS"));
            }
            inode.i_block()
        } else {
            let Some(place) = self.symlink_block(inode) else {
                return Ok(Err("not in one block"));
            };
            block = self.read_block(place)?;
            &block
        };
        let len = text.iter().position(|byte| *byte == 0).unwrap_or(text.len());
        Ok(if len < text.len() && len as u64 == inode.size() { Ok(()) } else { Err("of another length") })
    }

    /// The one block of a long symlink.
    fn symlink_block(&self, inode: &RawInode<'_>) -> Option<u64> {
        let block = if inode.has(EXTENTS) {
            super::extents::only_block(inode.i_block())?
        } else {
            let is_one = (1..15).all(|index| inode.pointer(index) == 0);
            is_one.then(|| u64::from(inode.pointer(0)))?
        };
        self.fs.holds(block).then_some(block)
    }

    fn remember_directory(&mut self, inode: &RawInode<'_>, mapped: &Mapped) {
        self.directories.push(super::Directory {
            inode: inode.number,
            generation: inode.generation(),
            dotdot: 0,
            first_run: mapped.first_run,
            end_run: self.runs.len(),
            len_blocks: mapped.len_blocks,
            is_indexed: inode.has(INDEX),
        });
    }
}
