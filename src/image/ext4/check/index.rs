//! Family 9, the index of a directory: its root and nodes, and that every leaf is in it once, with names whose hashes are
//! those that its entry stands for.

use super::super::bytes::{u16_at, u32_at};
use super::super::checksum::crc32c;
use super::super::hash::{UNSIGNED, name_hash};
use super::Checker;
use super::directories::Block;
use crate::image::findings::Place;

/// Where the root says which hash it is by.
const INFO_AT: usize = 24;
const INFO_LEN: u8 = 8;
/// Where the entries of a node begin.
const NODE_AT: usize = 8;
const ENTRY_LEN: usize = 8;
const TAIL_LEN: usize = 8;
const BLOCK_MASK: u32 = 0x0fff_ffff;
/// Without `large_dir` a root and one level of nodes below.
const LEVELS_MAX: u8 = 1;
const FLAG_SIGNED_OR_NOT: u32 = 2;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Kind {
    #[default]
    Leaf,
    Root,
    Node,
}

/// What is known of one block of an indexed directory.
#[derive(Clone, Debug, Default)]
struct Known {
    kind: Kind,
    parent: usize,
    previous: usize,
    /// The hashes in it: of names, or of the entries of a node.
    least: u32,
    most: u32,
    /// What the entry for it allows.
    first_allowed: u32,
    last_allowed: u32,
    references: u32,
    is_first: bool,
    is_last: bool,
}

/// An index while the blocks of its directory are read, in any order.
pub(super) struct Index {
    blocks: Vec<Known>,
    version: u8,
    levels: u8,
}

impl Index {
    pub(super) fn new(len_blocks: usize) -> Self {
        Self { blocks: vec![Known::default(); len_blocks], version: 0, levels: 0 }
    }

    /// The version of the hash as the root has it.
    pub(super) fn version(&self) -> u8 {
        self.version
    }

    /// Begins with a block; says whether it is a leaf.
    pub(super) fn begin_block(&mut self, block: &Block<'_>, has_checksums: bool) -> bool {
        let Some(known) = self.blocks.get_mut(at(block.logical)) else { return true };
        (known.least, known.most) = (u32::MAX, 0);
        let bytes = block.bytes;
        let limit = (bytes.len() - NODE_AT - if has_checksums { TAIL_LEN } else { 0 }) / ENTRY_LEN;
        if block.logical == 0 {
            known.kind = Kind::Root;
            (known.is_first, known.is_last, known.references) = (true, true, 1);
            self.version = bytes.get(INFO_AT + 4).copied().unwrap_or(0);
            self.levels = bytes.get(INFO_AT + 6).copied().unwrap_or(0);
        } else if u32_at(bytes, 0) == 0
            && usize::from(u16_at(bytes, 4)) == bytes.len()
            && bytes.get(6) == Some(&0)
            && usize::from(u16_at(bytes, NODE_AT)) == limit
        {
            known.kind = Kind::Node;
        }
        known.kind == Kind::Leaf
    }

    pub(super) fn see_name(&mut self, logical: u64, hash: u32) {
        if let Some(known) = self.blocks.get_mut(at(logical)) {
            known.least = known.least.min(hash);
            known.most = known.most.max(hash);
        }
    }

    /// Hands the bounds of the first and last of the blocks of `kind` up to their parents.
    fn hand_up(&mut self, kind: Kind) {
        for index in 0..self.blocks.len() {
            let Some(known) = self.blocks.get(index).filter(|known| known.kind == kind).cloned() else {
                continue;
            };
            let Some(parent) = self.blocks.get_mut(known.parent) else { continue };
            if known.is_last {
                parent.most = known.most;
            }
            if known.is_first {
                parent.least = known.least;
                let previous = parent.previous;
                if previous != 0
                    && let Some(previous) = self.blocks.get_mut(previous)
                {
                    previous.last_allowed = known.least;
                }
            }
        }
    }

    /// How far below the root a block is; more than any tree has when it is not below it.
    fn depth(&self, index: usize) -> usize {
        let mut at = index;
        for depth in 0..8 {
            match self.blocks.get(at) {
                Some(known) if known.kind != Kind::Root => at = known.parent,
                _ => return depth,
            }
        }
        usize::MAX
    }
}

impl Checker<'_> {
    /// Judges the root of the index of `directory`, apart from its entries.
    pub(super) fn check_index_root(&mut self, directory: u32, block: u64, bytes: &[u8]) {
        let place = Place::nth("directory block", block).byte(INFO_AT as u64);
        let field = |at: usize| bytes.get(INFO_AT + at).copied().unwrap_or(0);
        let (version, len, levels, flags) = (field(4), field(5), field(6), field(7));
        let findings = &mut self.findings;
        let what = |part: &str| format!("{part} of the index of directory {directory}");
        findings.compare(place, what("reserved field"), u32_at(bytes, INFO_AT), 0);
        if len < INFO_LEN {
            findings.add(place, what("header length"), len, INFO_LEN);
        }
        if version > 2 {
            findings.add(place, what("hash version"), version, "0 to 2");
        }
        if levels > LEVELS_MAX {
            findings.add(place, what("number of levels"), levels, format_args!("at most {LEVELS_MAX}"));
        }
        if flags & 1 != 0 {
            findings.add(place, what("flags"), flags, "0");
        }
    }

    /// The hash of a name in an index of this version; 0 where there is none such, of which the root tells.
    pub(super) fn name_hash(&self, version: u8, name: &[u8]) -> u32 {
        let is_unsigned = self.fs.u32(0x160) & FLAG_SIGNED_OR_NOT != 0;
        let version = if is_unsigned && version < UNSIGNED { version + UNSIGNED } else { version };
        let seed = [0xec, 0xf0, 0xf4, 0xf8].map(|at| self.fs.u32(at));
        name_hash(version, seed, name).map_or(0, |(major, _)| major)
    }

    /// Reads the entries of the root or of a node.
    pub(super) fn read_index_node(
        &mut self,
        directory: u32,
        block: &Block<'_>,
        index: &mut Index,
        has_checksums: bool,
    ) {
        let bytes = block.bytes;
        let place = Place::nth("directory", directory).byte(block.logical.saturating_mul(bytes.len() as u64));
        let info_len = usize::from(bytes.get(INFO_AT + 5).copied().unwrap_or(0));
        let first = if block.logical == 0 { INFO_AT + info_len } else { NODE_AT };
        let tail_len = if has_checksums { TAIL_LEN } else { 0 };
        let wanted = bytes.len().saturating_sub(tail_len + first) / ENTRY_LEN;
        let (limit, count) = (usize::from(u16_at(bytes, first)), usize::from(u16_at(bytes, first + 2)));
        self.findings.compare(place, "limit of the index", limit, wanted);
        if count == 0 || count > wanted {
            self.findings.add(place, "number of entries of the index", count, format_args!("1 to {wanted}"));
        }
        let count = count.min(wanted);
        let hash_at = |nth: usize| u32_at(bytes, first + nth * ENTRY_LEN) & !1;
        let child_at = |nth: usize| at(u64::from(u32_at(bytes, first + nth * ENTRY_LEN + 4) & BLOCK_MASK));
        let (mut least, mut most, mut before) = (u32::MAX, 0, 0);
        for nth in 0..count {
            let hash = if nth == 0 { 0 } else { hash_at(nth) };
            let child = child_at(nth);
            let blocks = index.blocks.len();
            let Some(known) = index.blocks.get_mut(child) else {
                self.findings.add(
                    place,
                    "block of an index entry",
                    child,
                    format_args!("less than {blocks}"),
                );
                continue;
            };
            if hash < before {
                self.findings.add(
                    place,
                    "hash of an index entry",
                    format_args!("{hash:#010x}"),
                    format_args!("at least {before:#010x}"),
                );
            }
            before = hash;
            known.references += 1;
            if known.references == 1 {
                known.parent = at(block.logical);
            }
            known.previous = nth.checked_sub(1).map_or(0, child_at);
            (least, most) = (least.min(hash), most.max(hash));
            known.first_allowed = hash;
            known.is_first |= nth == 0;
            known.is_last |= nth + 1 == count;
            known.last_allowed = if nth + 1 < count { hash_at(nth + 1) } else { u32::MAX - 1 };
        }
        if let Some(known) = index.blocks.get_mut(at(block.logical)) {
            (known.least, known.most) = (least, most);
        }
    }

    /// Judges an index once all blocks were read.
    pub(super) fn check_index(&mut self, directory: u32, mut index: Index) {
        index.hand_up(Kind::Leaf);
        index.hand_up(Kind::Node);
        let wanted_depth = usize::from(index.levels) + 1;
        for (logical, known) in index.blocks.iter().enumerate() {
            let place = Place::nth("directory", directory).byte((logical * self.fs.block_len) as u64);
            let findings = &mut self.findings;
            if !known.is_first && known.least < known.first_allowed {
                let (found, wanted) = (known.least, known.first_allowed);
                findings.add(
                    place,
                    "least hash",
                    format_args!("{found:#010x}"),
                    format_args!("at least {wanted:#010x}"),
                );
            }
            if logical > 0 && known.most > known.last_allowed {
                let (found, wanted) = (known.most, known.last_allowed);
                findings.add(
                    place,
                    "greatest hash",
                    format_args!("{found:#010x}"),
                    format_args!("at most {wanted:#010x}"),
                );
            }
            if known.kind == Kind::Leaf {
                let depth = index.depth(logical);
                if depth != wanted_depth {
                    findings.add(place, "depth of a leaf", "another", format_args!("{wanted_depth}"));
                }
            }
            findings.compare(place, "number of index entries for the block", known.references, 1);
        }
    }
}

/// The stored and the computed checksum of a block of an index; `None` if it has no room for one.
pub(super) fn checksum(block: &[u8], seed: u32) -> Option<(u32, u32)> {
    let first_len = usize::from(u16_at(block, 4));
    let counts = if first_len == block.len() && u16_at(block, 6) == 0 {
        NODE_AT
    } else if first_len == 12 {
        let is_root = usize::from(u16_at(block, 12 + 4)) == block.len() - 12
            && u32_at(block, INFO_AT) == 0
            && block.get(INFO_AT + 5) == Some(&INFO_LEN);
        is_root.then_some(INFO_AT + usize::from(INFO_LEN))?
    } else {
        return None;
    };
    let most = (block.len() - counts) / ENTRY_LEN;
    let (limit, count) = (usize::from(u16_at(block, counts)), usize::from(u16_at(block, counts + 2)));
    let tail = counts + limit * ENTRY_LEN;
    if limit > most || count > most || tail > block.len() - TAIL_LEN {
        return None;
    }
    let head = crc32c(seed, block.get(..counts + count * ENTRY_LEN)?);
    let computed = crc32c(crc32c(head, block.get(tail..tail + 4)?), &[0; 4]);
    Some((u32_at(block, tail + 4), computed))
}

fn at(logical: u64) -> usize {
    usize::try_from(logical).unwrap_or(usize::MAX)
}
