//! Judges a whole filesystem without believing any of it, as `e2fsck -fn` does: sound or not, and what.
//!
//! ```text
//! geometry.rs      1 superblock              directories.rs   8 entries
//! groups.rs        2 descriptors             index.rs         9 index of a directory
//! resize.rs        3 resize inode            connectivity.rs 10 parents, link counts
//! bitmaps.rs     4 5 bitmaps, free counts    xattrs.rs       11 extended attributes
//! inodes.rs        6 inodes                  journal.rs      12 journal, orphan file
//! blocks.rs        7 sizes, block counts     backups.rs      13 copies of superblock and descriptors
//!   extents.rs, block_map.rs                 marks.rs           what is remembered meanwhile
//! ```
//!
//! - One pass over the inode tables, and with it over the trees of blocks; then the directories by inode; then the
//!   bitmaps. What is remembered is a bit for each block and inode, some bytes for each inode in use and each run of
//!   blocks of a directory, so memory is bounded by the device's length.
//! - Every block is claimed before it is read as part of a tree, and one that is claimed already is not followed: no
//!   bytes make this loop.
//! - The editor's reading of inodes, trees and directories is not used here, so that the one can judge the other.
//!
//! Oracle: `e2fsck -fn`, with which the verdict agrees, but for these:
//! - A filesystem that was not unmounted cleanly, that is marked as having errors, or that needs recovery is not sound.
//! - The copies of superblock and descriptors, the copy of the journal inode's blocks, and all blocks reserved for
//!   descriptors are compared.
//! - A name that a directory holds twice is found even when it is in two blocks.
//! - An extent block must tell its depth, and an index node must have entries, as the kernel wants it.
//! - The host's clock is not asked, so times in the future pass.

mod backups;
mod bitmaps;
mod block_map;
mod blocks;
mod connectivity;
mod directories;
mod extents;
mod geometry;
mod groups;
mod index;
mod inodes;
mod journal;
mod marks;
mod resize;
mod xattrs;

use std::collections::BTreeMap;

use super::error::Error;
use crate::block::{self, ReadAt};
use crate::image::findings::{Findings, Place};
use geometry::Geometry;
use groups::Described;
use journal::OwnFile;
use marks::{Bits, Pages};

/// What was found in a filesystem.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Everything that is wrong.
    pub findings: Findings,
    /// How many inodes are in use, reserved ones included, as e2fsck counts files.
    pub files: u64,
    /// How many of them are directories.
    pub directories: u64,
    /// How many blocks there are.
    pub blocks: u64,
    /// How many of them are in use.
    pub used_blocks: u64,
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
/// [`Error::NotExt4`]; [`Error::Unsupported`] with the names of features that this does not know, of which it can say
/// nothing; [`Error::Device`]. Whatever is wrong with a filesystem is no error but a finding.
pub fn check(device: &dyn ReadAt) -> Result<Report, Error> {
    let mut findings = Findings::default();
    let Some(fs) = Geometry::read(device, &mut findings)? else {
        return Ok(Report { findings, files: 0, directories: 0, blocks: 0, used_blocks: 0 });
    };
    let mut checker = Checker::new(device, fs, findings);
    checker.run()?;
    Ok(Report {
        files: checker.used.count(),
        directories: checker.directories.len() as u64,
        blocks: checker.fs.blocks_count,
        used_blocks: checker.claimed.count(),
        findings: checker.findings,
    })
}

/// A directory as pass 1 leaves it for those that follow.
struct Directory {
    inode: u32,
    generation: u32,
    /// What its `..` says.
    dotdot: u32,
    /// Its runs of blocks: `Checker::runs[first_run..end_run]`.
    first_run: usize,
    end_run: usize,
    /// One more than the last of its blocks that is mapped.
    len_blocks: u64,
    is_indexed: bool,
}

/// Blocks that follow each other in a directory and on the device.
struct Run {
    logical: u64,
    start: u64,
    len: u64,
}

struct Checker<'d> {
    device: &'d dyn ReadAt,
    fs: Geometry,
    findings: Findings,
    groups: Vec<Described>,
    /// Blocks that something has, counted from the first data block.
    claimed: Bits,
    /// Inodes in use, counted from 0.
    used: Bits,
    /// What an entry of each inode must say of its type; 0 where nothing usable is.
    types: Pages<u8>,
    stored_links: Pages<u16>,
    counted_links: Pages<u16>,
    /// By inode, ascending.
    directories: Vec<Directory>,
    /// The directory with an entry for each directory; 0 until it is found.
    parents: Pages<u32>,
    runs: Vec<Run>,
    journal: Option<OwnFile>,
    orphan_file: Option<OwnFile>,
    /// Attribute blocks: how many owners each claims to have, and how many it has.
    xattr_blocks: BTreeMap<u64, (u32, u32)>,
    has_large_file: bool,
}

impl<'d> Checker<'d> {
    fn new(device: &'d dyn ReadAt, fs: Geometry, findings: Findings) -> Self {
        let blocks = fs.blocks_count.saturating_sub(fs.first_data_block);
        let inodes = u64::from(fs.inodes_count);
        Self {
            device,
            findings,
            groups: Vec::new(),
            claimed: Bits::new(blocks),
            used: Bits::new(inodes),
            types: Pages::new(inodes + 1),
            stored_links: Pages::new(inodes + 1),
            counted_links: Pages::new(inodes + 1),
            directories: Vec::new(),
            parents: Pages::new(inodes + 1),
            runs: Vec::new(),
            journal: None,
            orphan_file: None,
            xattr_blocks: BTreeMap::new(),
            has_large_file: false,
            fs,
        }
    }

    fn run(&mut self) -> Result<(), Error> {
        self.fs.check_rest(&mut self.findings);
        self.check_groups()?;
        self.check_resize_inode()?;
        self.check_inodes()?;
        self.check_xattr_owners();
        self.check_journal()?;
        self.check_orphan_file()?;
        self.check_directories()?;
        self.check_connectivity();
        self.check_links()?;
        self.check_bitmaps()?;
        self.check_backups()
    }

    /// Claims blocks for `owner`; whether all of them were free.
    fn claim(&mut self, start: u64, len: u64, what: &str, owner: Place) -> bool {
        let first = self.fs.first_data_block;
        match self.claimed.set_range(start.saturating_sub(first), len) {
            None => true,
            Some(twice) => {
                let block = twice + first;
                self.findings.add(
                    owner,
                    format_args!("{what} with block {block}"),
                    "in use by another",
                    "its own",
                );
                false
            }
        }
    }

    fn is_used(&self, inode: u32) -> bool {
        inode > 0 && self.used.get(u64::from(inode) - 1)
    }
}

fn block_error(block: u64, source: block::Error) -> Error {
    Error::Device { block, source }
}
