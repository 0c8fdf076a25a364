//! Family 7, extent trees: headers, checksums, order, bounds.

use super::super::bytes::{u16_at, u32_at};
use super::super::checksum::crc32c;
use super::super::error::Error;
use super::blocks::Mapped;
use super::inodes::{RawInode, Type, VERITY};
use super::{Checker, Run};
use crate::image::findings::Place;

const MAGIC: u16 = 0xf30a;
const HEADER_LEN: usize = 12;
const ENTRY_LEN: usize = 12;
/// A run of more blocks than this is not written, and longer by this.
const WRITTEN_MAX: u16 = 32768;

/// The first twelve bytes of a node.
#[derive(Clone, Copy, Debug)]
pub(super) struct Header {
    magic: u16,
    entries: u16,
    max: u16,
    depth: u16,
}

impl Header {
    pub(super) fn read(node: &[u8]) -> Self {
        Self {
            magic: u16_at(node, 0),
            entries: u16_at(node, 2),
            max: u16_at(node, 4),
            depth: u16_at(node, 6),
        }
    }

    /// Whether this can be the header of a node of `len` bytes, where one or two entries may be left for a tail.
    pub(super) fn is_possible(self, len: usize) -> bool {
        let most = len.saturating_sub(HEADER_LEN) / ENTRY_LEN;
        let max = usize::from(self.max);
        self.magic == MAGIC && self.entries <= self.max && max <= most && max + 2 >= most
    }
}

/// The block of a tree that has only one, the first.
pub(super) fn only_block(root: &[u8]) -> Option<u64> {
    let header = Header::read(root);
    let is_one = header.is_possible(root.len()) && header.entries == 1 && header.depth == 0;
    let entry = Entry::read(root, 0);
    let (len, _) = entry.run();
    (is_one && entry.logical == 0 && len == 1).then_some(entry.start_of_run())
}

/// Twelve bytes that are a run or the way to another node.
struct Entry {
    logical: u64,
    words: [u32; 2],
}

impl Entry {
    fn read(node: &[u8], index: usize) -> Self {
        let at = HEADER_LEN + index * ENTRY_LEN;
        Self { logical: u64::from(u32_at(node, at)), words: [u32_at(node, at + 4), u32_at(node, at + 8)] }
    }

    /// The length of a run, and whether it has been written.
    fn run(&self) -> (u64, bool) {
        let [len, _] = halves(self.words[0]);
        if len <= WRITTEN_MAX { (u64::from(len), true) } else { (u64::from(len - WRITTEN_MAX), false) }
    }

    fn start_of_run(&self) -> u64 {
        let [_, high] = halves(self.words[0]);
        u64::from(high) << 32 | u64::from(self.words[1])
    }

    fn child(&self) -> u64 {
        let [high, _] = halves(self.words[1]);
        u64::from(high) << 32 | u64::from(self.words[0])
    }
}

/// The low and the high half.
fn halves(word: u32) -> [u16; 2] {
    let [a, b, c, d] = word.to_le_bytes();
    [u16::from_le_bytes([a, b]), u16::from_le_bytes([c, d])]
}

/// A walk through the tree of one inode.
struct Walk<'i> {
    inode: &'i RawInode<'i>,
    depth: u16,
    /// The last block that its size reaches, or all ones when it is empty.
    last_of_size: u64,
    /// The first logical block that a run may still have.
    next: u64,
}

/// Where a node is and what it may hold.
struct Node {
    level: u16,
    /// The block it is in; `None` in the inode.
    block: Option<u64>,
    /// The first logical block it may have.
    first: u64,
    /// The last one; 0 for no bound, as for the root.
    last: u64,
    /// The logical block behind the node, as its parent says.
    end: u32,
}

impl Checker<'_> {
    pub(super) fn walk_extents(&mut self, inode: &RawInode<'_>, mapped: &mut Mapped) -> Result<(), Error> {
        let root = inode.i_block();
        let header = Header::read(root);
        if !header.is_possible(root.len()) {
            self.findings.add(inode.place(), "extent tree", "without a possible header", "one");
            return Ok(());
        }
        if header.depth > self.deepest() {
            let most = format!("at most {}", self.deepest());
            self.findings.add(inode.place(), "depth of the extent tree", header.depth, most);
            return Ok(());
        }
        if header.depth > 0 && header.entries == 0 {
            self.findings.add(inode.place(), "extent tree", "empty with a depth", "of depth 0 when empty");
        }
        let blocks = inode.size().div_ceil(self.fs.block_len as u64);
        let end = u32::try_from(blocks & 0xffff_ffff).unwrap_or(0);
        let mut walk = Walk { inode, depth: header.depth, last_of_size: blocks.wrapping_sub(1), next: 0 };
        let node = Node { level: 0, block: None, first: 0, last: 0, end };
        self.walk_node(&mut walk, root, &node, mapped)
    }

    /// The deepest tree that 2^32 blocks can need.
    fn deepest(&self) -> u16 {
        let per_block = (self.fs.block_len.saturating_sub(HEADER_LEN)) / ENTRY_LEN;
        let bits = per_block.checked_ilog2().unwrap_or(1).max(1);
        u16::try_from(1 + (31 - 2) / bits).unwrap_or(5)
    }

    /// Checks the entries of a node, and what is below. Recursion is as deep as [`Self::deepest`] lets trees be.
    fn walk_node(
        &mut self,
        walk: &mut Walk<'_>,
        bytes: &[u8],
        node: &Node,
        mapped: &mut Mapped,
    ) -> Result<(), Error> {
        let entries = usize::from(Header::read(bytes).entries);
        let is_leaf = node.level == walk.depth;
        let mut first = node.first;
        for index in 0..entries {
            let entry = Entry::read(bytes, index);
            let offset = (HEADER_LEN + index * ENTRY_LEN) as u64;
            let place = match node.block {
                Some(block) => Place::nth("extent block", block).byte(offset),
                None => walk.inode.place().byte(0x28 + offset),
            };
            if is_leaf {
                let bounds = Node { first, ..*node };
                if self.check_run(walk, &entry, &bounds, place, mapped) {
                    first = entry.logical + entry.run().0 - 1;
                }
                continue;
            }
            let end = if index + 1 < entries {
                u32_at(bytes, HEADER_LEN + (index + 1) * ENTRY_LEN)
            } else {
                node.end
            };
            // As in libext2fs the length is a number of 32 bits, which may wrap.
            let low = u32::try_from(entry.logical).unwrap_or(0);
            let last = (entry.logical + u64::from(end.wrapping_sub(low))).wrapping_sub(1);
            let is_outside = node.last != 0 && last > node.last;
            if !self.fs.holds(entry.child()) {
                self.findings.add(place, "extent block", entry.child(), "one of the filesystem's");
            } else if entry.logical < first {
                self.findings.add(
                    place,
                    "first logical block",
                    entry.logical,
                    format_args!("at least {first}"),
                );
            } else if is_outside {
                self.findings.add(place, "last logical block", last, format_args!("at most {}", node.last));
            } else {
                let below = Node {
                    level: node.level + 1,
                    block: Some(entry.child()),
                    first: entry.logical,
                    last,
                    end,
                };
                self.walk_below(walk, &below, place, mapped)?;
            }
        }
        Ok(())
    }

    /// Claims, reads and checks a node in a block.
    fn walk_below(
        &mut self,
        walk: &mut Walk<'_>,
        node: &Node,
        parent: Place,
        mapped: &mut Mapped,
    ) -> Result<(), Error> {
        let Some(block) = node.block else { return Ok(()) };
        mapped.count += 1;
        if !self.claim(block, 1, "extent tree", parent) {
            return Ok(());
        }
        let bytes = self.read_block(block)?;
        let place = Place::nth("extent block", block);
        let header = Header::read(&bytes);
        if !header.is_possible(bytes.len()) || header.entries == 0 {
            self.findings.add(place, "header", "impossible or of an empty node", "one with entries");
            return Ok(());
        }
        self.findings.compare(place, "depth", header.depth, walk.depth - node.level);
        if let Some(seed) = self.fs.checksums.inode_seed(walk.inode.number, walk.inode.generation()) {
            let at = HEADER_LEN + usize::from(header.max) * ENTRY_LEN;
            let computed = crc32c(seed, bytes.get(..at).unwrap_or_default());
            let stored = u32_at(&bytes, at);
            if stored != computed {
                let (stored, computed) = (format!("{stored:#010x}"), format!("{computed:#010x}"));
                self.findings.add(place, "checksum", stored, computed);
            }
        }
        self.findings.compare(place, "first logical block", Entry::read(&bytes, 0).logical, node.first);
        self.walk_node(walk, &bytes, node, mapped)
    }

    /// Checks a run and claims it; whether it counts.
    fn check_run(
        &mut self,
        walk: &mut Walk<'_>,
        entry: &Entry,
        node: &Node,
        place: Place,
        mapped: &mut Mapped,
    ) -> bool {
        let (len, is_written) = entry.run();
        let (logical, start) = (entry.logical, entry.start_of_run());
        let is_directory = walk.inode.kind() == Some(Type::Directory);
        let end = logical + len;
        let last = end.wrapping_sub(1);
        // Blocks past the end of a file are there for what is to be written to it.
        let may_be_past = last > walk.last_of_size && (!is_written || walk.inode.has(VERITY));
        let most_of_directory = 1 << (21 - self.fs.log_block_len);
        let findings = &mut self.findings;
        if !self.fs.holds(start) || start + len > self.fs.blocks_count {
            findings.add(place, "run", format_args!("{len} blocks from {start} on"), "inside the filesystem");
        } else if logical < node.first || (logical < walk.next && len > 0) {
            findings.add(place, "first logical block", logical, format_args!("at least {}", walk.next));
        } else if node.last != 0 && last > node.last && !may_be_past {
            findings.add(place, "last logical block", last, format_args!("at most {}", node.last));
        } else if len == 0 {
            findings.add(place, "length of a run", 0, "at least 1");
        } else if is_directory && end > most_of_directory {
            findings.add(
                place,
                "end of a directory",
                end,
                format_args!("at most {most_of_directory} blocks"),
            );
        } else {
            walk.next = walk.next.max(end);
            if is_directory && !is_written {
                findings.add(place, "run of a directory", "unwritten", "written");
            }
            if is_directory && mapped.len_blocks < logical {
                findings.add(place, "first logical block", logical, mapped.len_blocks);
            }
            self.map_run(walk.inode, Run { logical, start, len }, mapped);
            if !is_directory && is_written {
                mapped.last_written = Some(last);
            }
            return true;
        }
        false
    }
}
