//! The index of a large directory: which blocks may hold a name (kernel `fs/ext4/namei.c`, `dx_…`).
//!
//! Block 0 is the root: `.` and `..`, of which the second hides the index. Its entries lead to blocks of names, or,
//! one level down, to nodes that do. An entry is a hash and a block number; the block holds the names from that
//! hash up to the next entry's. The first entry's hash is implied, for there the limit and the count are kept.
//! An entry's hash with bit 0 set means that names of just this hash began in the block before.
//!
//! Every read is checked: a spoilt index is an error, never a wrong answer, and takes no more reads than it has nodes.

use std::collections::BTreeSet;

use super::dir::{self, DirError, DirFormat, Entry};

/// What of an index a block is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum IndexKind {
    /// Block 0.
    Root,
    /// Any other.
    Node,
}

/// Where the root says how it hashes: {reserved 4, hash version 1, length of this 1, levels 1, flags 1}.
const ROOT_INFO_AT: usize = 24;
const ROOT_INFO_LEN: usize = 8;
/// Hash and block number.
const ENTRY_LEN: usize = 8;
/// The upper bits are not part of a block number (`dx_get_block`).
const BLOCK_MASK: u32 = 0x0fff_ffff;
/// A directory may have a root and one level of nodes; a third level needs `large_dir`.
const MOST_LEVELS: u8 = 1;
/// Of a hash: the block goes on with names of the hash that the block before ended with.
const CONTINUES: u32 = 1;

impl IndexKind {
    /// Where the entries begin.
    fn entries_at(self) -> usize {
        match self {
            Self::Root => ROOT_INFO_AT + ROOT_INFO_LEN,
            Self::Node => 8,
        }
    }

    /// How many entries there is room for. With checksums the last place is the tail's.
    fn limit(self, format: &DirFormat) -> usize {
        let places = format.block_len.saturating_sub(self.entries_at()) / ENTRY_LEN;
        places - usize::from(format.checksum_seed.is_some())
    }
}

/// What of an index `block` is, as far as its own bytes can tell: with checksums an entry that reaches the block's
/// end leaves no room for a tail of names. Without, nothing can, and no one needs to know.
pub(super) fn index_kind(format: &DirFormat, block: &[u8]) -> Option<IndexKind> {
    format.checksum_seed?;
    let first_len = dir::u16_at(block, 4);
    if first_len == format.block_len && dir::u32_at(block, 0) == 0 {
        Some(IndexKind::Node)
    } else if first_len == 12 && dir::u16_at(block, 16) == format.block_len - 12 {
        Some(IndexKind::Root)
    } else {
        None
    }
}

/// Checks limit, count and checksum; block numbers in errors are unknown here, so 0.
pub(super) fn check_stamp(format: &DirFormat, block: &[u8], kind: IndexKind) -> Result<(), DirError> {
    check_counts(format, block, kind, 0).map(|_| ())
}

/// Renews the checksum of a block of the index.
pub(super) fn stamp(format: &DirFormat, block: &mut [u8], kind: IndexKind) {
    if let Some((at, checksum)) = checksum(format, block, kind) {
        dir::put(block, at, &checksum.to_le_bytes());
    }
}

/// Where the checksum is kept, and what it should be: over the entries in use, then over the tail with the
/// checksum as 0. The tail's first word is covered whatever it holds.
fn checksum(format: &DirFormat, block: &[u8], kind: IndexKind) -> Option<(usize, u32)> {
    let seed = format.checksum_seed?;
    let entries_at = kind.entries_at();
    let tail_at = entries_at + kind.limit(format) * ENTRY_LEN;
    let used = entries_at + dir::u16_at(block, entries_at + 2) * ENTRY_LEN;
    let entries = dir::crc32c_on(seed, block.get(..used).unwrap_or_default());
    let tail = dir::crc32c_on(entries, block.get(tail_at..tail_at + 4).unwrap_or_default());
    Some((tail_at + 4, dir::crc32c_on(tail, &[0; 4])))
}

/// How many entries are in use.
fn check_counts(format: &DirFormat, block: &[u8], kind: IndexKind, number: u32) -> Result<usize, DirError> {
    let at = kind.entries_at();
    let (limit, count) = (kind.limit(format), dir::u16_at(block, at + 2));
    let found = dir::u16_at(block, at);
    if found != limit {
        return Err(DirError::Limit { block: number, found, wanted: limit });
    }
    if !(1..=limit).contains(&count) {
        return Err(DirError::Count { block: number, found: count, limit });
    }
    if let Some((at, wanted)) = checksum(format, block, kind) {
        let found = dir::u32_at(block, at);
        if found != wanted {
            return Err(DirError::IndexChecksum { block: number, found, wanted });
        }
    }
    Ok(count)
}

/// One pointer of an index.
#[derive(Clone, Copy, Debug)]
struct Pointer {
    /// The least hash below; bit 0 as stored.
    hash: u32,
    /// Logical block of the directory.
    block: u32,
}

/// The pointers of a block of the index whose hashes lie in `least..=most`.
fn pointers(
    format: &DirFormat,
    block: &[u8],
    kind: IndexKind,
    number: u32,
    block_count: u32,
    (least, most): (u32, u32),
) -> Result<Vec<Pointer>, DirError> {
    let count = check_counts(format, block, kind, number)?;
    let mut pointers: Vec<Pointer> = Vec::with_capacity(count);
    let mut floor = least;
    for index in 0..count {
        let at = kind.entries_at() + index * ENTRY_LEN;
        let hash = if index == 0 { least } else { dir::u32_at(block, at) };
        let found = dir::u32_at(block, at + 4) & BLOCK_MASK;
        if hash & !CONTINUES < floor & !CONTINUES || hash & !CONTINUES > most & !CONTINUES {
            return Err(DirError::HashOrder { block: number, found: hash, least: floor, most });
        }
        if found == 0 || found >= block_count {
            return Err(DirError::Child { block: number, found, last: block_count.saturating_sub(1) });
        }
        pointers.push(Pointer { hash, block: found });
        floor = hash;
    }
    Ok(pointers)
}

/// The root as far as it has been checked.
struct Root {
    hash_version: u8,
    has_nodes: bool,
    pointers: Vec<Pointer>,
}

fn root(format: &DirFormat, block_count: u32, block: &[u8]) -> Result<Root, DirError> {
    dir::check_len(format, block)?;
    // The dots' lengths and names; with checksums also limit, count and checksum.
    let dots = dir::parse_block(format, block)?;
    if dots.len() != 2 || dir::u16_at(block, 4) != 12 || dir::u16_at(block, 16) != format.block_len - 12 {
        let found = u32::try_from(dots.len()).unwrap_or(u32::MAX);
        return Err(DirError::Root { field: "entries", found, wanted: "`.` and `..` over the whole block" });
    }
    let info = |at| dir::u8_at(block, ROOT_INFO_AT + at);
    let (hash_version, levels) = (info(4), info(6));
    for (field, found, is_sound, wanted) in [
        ("the reserved word", dir::u32_at(block, ROOT_INFO_AT), dir::u32_at(block, ROOT_INFO_AT) == 0, "0"),
        ("the info's length", info(5).into(), info(5) == 8, "8"),
        ("the levels below it", levels.into(), levels <= MOST_LEVELS, "0 or 1"),
        // Bit 0 means an incompatible index (`dx_probe`).
        ("its flags", info(7).into(), info(7) & 1 == 0, "bit 0 clear"),
    ] {
        if !is_sound {
            return Err(DirError::Root { field, found, wanted });
        }
    }
    format.hash(hash_version, b"probe")?;
    let pointers = pointers(format, block, IndexKind::Root, 0, block_count, (0, u32::MAX))?;
    Ok(Root { hash_version, has_nodes: levels > 0, pointers })
}

/// The pointers of the `index`th node below the root.
fn node<E: From<DirError>>(
    format: &DirFormat,
    block_count: u32,
    read: &mut dyn FnMut(u32) -> Result<Vec<u8>, E>,
    root: &Root,
    index: usize,
) -> Result<Vec<Pointer>, E> {
    let Some(pointer) = root.pointers.get(index) else {
        return Ok(Vec::new());
    };
    let most = root.pointers.get(index + 1).map_or(u32::MAX, |next| next.hash);
    let block = read(pointer.block)?;
    dir::check_len(format, &block)?;
    let found = dir::u16_at(&block, 4);
    if found != format.block_len || dir::u32_at(&block, 0) != 0 {
        return Err(DirError::Node { block: pointer.block, found }.into());
    }
    Ok(pointers(format, &block, IndexKind::Node, pointer.block, block_count, (pointer.hash, most))?)
}

/// The blocks that may hold `name`, ascending by hash. The first is where it belongs; more than one only where
/// names of one hash fill more than a block.
///
/// # Errors
/// What is wrong with the index, or what `read` says.
pub(super) fn leaves<E: From<DirError>>(
    format: &DirFormat,
    block_count: u32,
    read: &mut dyn FnMut(u32) -> Result<Vec<u8>, E>,
    name: &[u8],
) -> Result<Vec<u32>, E> {
    let root = root(format, block_count, &read(0)?)?;
    let (wanted, _) = format.hash(root.hash_version, name)?;
    // The last pointer that begins at the hash or before it; one that continues begins just after.
    let last_before = |pointers: &[Pointer]| pointers.partition_point(|p| p.hash <= wanted).saturating_sub(1);
    let continues = |pointer: &Pointer| pointer.hash & !CONTINUES == wanted;

    let at = last_before(&root.pointers);
    if !root.has_nodes {
        return Ok(run(&root.pointers, at, continues));
    }
    let pointers = node(format, block_count, read, &root, at)?;
    let at_leaf = last_before(&pointers);
    let mut leaves = run(&pointers, at_leaf, continues);
    let mut reached_end = at_leaf + leaves.len() == pointers.len();
    let mut seen = BTreeSet::new();
    for index in at + 1.. {
        match root.pointers.get(index) {
            Some(next) if reached_end && continues(next) => {
                if !seen.insert(next.block) {
                    return Err(DirError::Repeated { block: 0, found: next.block }.into());
                }
                let pointers = node(format, block_count, read, &root, index)?;
                let more = run(&pointers, 0, continues);
                reached_end = more.len() == pointers.len();
                leaves.extend(more);
            }
            _ => break,
        }
    }
    Ok(leaves)
}

/// The blocks from the pointer at `at` on, as long as the following ones continue it.
fn run(pointers: &[Pointer], at: usize, continues: impl Fn(&Pointer) -> bool) -> Vec<u32> {
    let first = pointers.get(at).into_iter();
    let more = pointers.iter().skip(at + 1).take_while(|pointer| continues(pointer));
    first.chain(more).map(|pointer| pointer.block).collect()
}

/// The root and the nodes: the blocks of the directory that hold no names.
///
/// # Errors
/// What is wrong with the index, or what `read` says; a block that is pointed at twice.
pub(super) fn index_blocks<E: From<DirError>>(
    format: &DirFormat,
    block_count: u32,
    read: &mut dyn FnMut(u32) -> Result<Vec<u8>, E>,
) -> Result<BTreeSet<u32>, E> {
    let root = root(format, block_count, &read(0)?)?;
    let mut index = BTreeSet::from([0]);
    let mut seen = BTreeSet::from([0]);
    for pointer in &root.pointers {
        if !seen.insert(pointer.block) {
            return Err(DirError::Repeated { block: 0, found: pointer.block }.into());
        }
    }
    if !root.has_nodes {
        return Ok(index);
    }
    for (at, pointer) in root.pointers.iter().enumerate() {
        index.insert(pointer.block);
        for leaf in node(format, block_count, read, &root, at)? {
            if !seen.insert(leaf.block) {
                return Err(DirError::Repeated { block: pointer.block, found: leaf.block }.into());
            }
        }
    }
    Ok(index)
}

/// All blocks of a directory that holds `entries` besides its dots. It is indexed exactly if that takes more than
/// one block and the format allows it; leaves then stay a quarter empty, so that later names find room.
///
/// # Errors
/// An entry that cannot be, a name that comes twice, a hash version that nobody knows, more names than an index
/// of two levels can reach.
pub(super) fn pack(
    format: &DirFormat,
    own_inode: u32,
    parent_inode: u32,
    entries: Vec<Entry>,
) -> Result<Vec<Vec<u8>>, DirError> {
    entries.iter().try_for_each(dir::check_new)?;
    let mut entries = hashed(format, entries)?;
    entries.sort_unstable_by(|a, b| (a.0, &a.1.name).cmp(&(b.0, &b.1.name)));
    let pairs = entries.iter().zip(entries.iter().skip(1));
    if let Some((a, _)) = pairs.into_iter().find(|(a, b)| a.1.name == b.1.name) {
        return Err(DirError::Duplicate { name: a.1.name.clone() });
    }
    let total: usize = entries.iter().map(|(_, entry)| dir::entry_len(entry.name.len())).sum();
    if !format.indexable || total <= format.entries_len() - DOTS_LEN {
        let entries = entries.into_iter().map(|(_, entry)| entry).collect();
        return Ok(pack_linear(format, own_inode, parent_inode, entries));
    }
    let root_limit = IndexKind::Root.limit(format);
    let most = root_limit * IndexKind::Node.limit(format);
    let mut leaves = cut(format, &entries, format.entries_len() / 4 * 3);
    if leaves.len() > most {
        leaves = cut(format, &entries, format.entries_len());
    }
    if leaves.len() > most {
        return Err(DirError::TooLarge { leaves: leaves.len(), most });
    }
    Ok(pack_indexed(format, own_inode, parent_inode, leaves))
}

/// `.` and `..` when others follow.
const DOTS_LEN: usize = 24;

type Hashed = ((u32, u32), Entry);

fn hashed(format: &DirFormat, entries: Vec<Entry>) -> Result<Vec<Hashed>, DirError> {
    let hash = |entry: &Entry| {
        if format.indexable { format.hash(format.hash_version, &entry.name) } else { Ok((0, 0)) }
    };
    entries.into_iter().map(|entry| Ok((hash(&entry)?, entry))).collect()
}

/// Without an index: blocks filled one after the other.
fn pack_linear(format: &DirFormat, own_inode: u32, parent_inode: u32, entries: Vec<Entry>) -> Vec<Vec<u8>> {
    let mut first = dir::first_block(format, own_inode, parent_inode);
    let mut blocks = Vec::new();
    let mut rest = entries.as_slice();
    let fitting = |entries: &[Entry], room: usize| {
        let mut used = 0;
        entries
            .iter()
            .take_while(|e| {
                used += dir::entry_len(e.name.len());
                used <= room
            })
            .count()
    };
    let (chain, after) = rest.split_at(fitting(rest, format.entries_len() - DOTS_LEN));
    rest = after;
    if !chain.is_empty() {
        dir::put_dots(format, &mut first, own_inode, parent_inode, DOTS_LEN);
        dir::put_chain(format, &mut first, DOTS_LEN, chain);
    }
    blocks.push(first);
    while !rest.is_empty() {
        // The longest entry has 264 bytes and the smallest block has room for 1012.
        let (chain, after) = rest.split_at(fitting(rest, format.entries_len()).max(1).min(rest.len()));
        rest = after;
        let mut block = vec![0; format.block_len];
        dir::put_chain(format, &mut block, 0, chain);
        blocks.push(block);
    }
    blocks
}

/// A block of names to be, and the hash that leads to it.
struct Leaf {
    hash: u32,
    entries: Vec<Entry>,
}

/// Cuts sorted entries into leaves of about `target` bytes. Equal hashes stay together while the block has room;
/// a leaf that begins amid them is marked.
fn cut(format: &DirFormat, entries: &[Hashed], target: usize) -> Vec<Leaf> {
    let mut leaves: Vec<Leaf> = Vec::new();
    let mut used = 0;
    let mut last_hash = None;
    for ((hash, _), entry) in entries {
        let len = dir::entry_len(entry.name.len());
        let is_same = last_hash == Some(*hash);
        let is_full = used + len > if is_same { format.entries_len() } else { target };
        match leaves.last_mut() {
            Some(leaf) if !is_full => leaf.entries.push(entry.clone()),
            _ => {
                used = 0;
                let hash = if is_same { hash | CONTINUES } else { *hash };
                leaves.push(Leaf { hash, entries: vec![entry.clone()] });
            }
        }
        used += len;
        last_hash = Some(*hash);
    }
    leaves
}

/// Root, leaves, then nodes: leaf `n` is block `n + 1`.
fn pack_indexed(format: &DirFormat, own_inode: u32, parent_inode: u32, leaves: Vec<Leaf>) -> Vec<Vec<u8>> {
    let number = |index: usize| u32::try_from(index + 1).unwrap_or(BLOCK_MASK);
    let mut blocks = vec![Vec::new()];
    let mut pointers = Vec::with_capacity(leaves.len());
    for (index, leaf) in leaves.iter().enumerate() {
        let mut block = vec![0; format.block_len];
        dir::put_chain(format, &mut block, 0, &leaf.entries);
        blocks.push(block);
        pointers.push(Pointer { hash: leaf.hash, block: number(index) });
    }
    let root_limit = IndexKind::Root.limit(format);
    let levels = u8::from(pointers.len() > root_limit);
    if levels > 0 {
        // As full as leaves are, or fuller where the root would not have room for so many.
        let per_node = (IndexKind::Node.limit(format) / 4 * 3).max(pointers.len().div_ceil(root_limit));
        let mut nodes = Vec::new();
        for chunk in pointers.chunks(per_node) {
            nodes
                .push(Pointer { hash: chunk.first().map_or(0, |p| p.hash), block: number(blocks.len() - 1) });
            let mut block = vec![0; format.block_len];
            dir::put_u16(&mut block, 4, format.block_len);
            put_pointers(format, &mut block, IndexKind::Node, chunk);
            blocks.push(block);
        }
        pointers = nodes;
    }
    let mut root = vec![0; format.block_len];
    dir::put_dots(format, &mut root, own_inode, parent_inode, format.block_len);
    let info = [format.hash_version, ROOT_INFO_LEN.to_le_bytes()[0], levels];
    dir::put(&mut root, ROOT_INFO_AT + 4, &info);
    put_pointers(format, &mut root, IndexKind::Root, &pointers);
    if let Some(first) = blocks.first_mut() {
        *first = root;
    }
    blocks
}

fn put_pointers(format: &DirFormat, block: &mut [u8], kind: IndexKind, pointers: &[Pointer]) {
    for (index, pointer) in pointers.iter().enumerate() {
        let at = kind.entries_at() + index * ENTRY_LEN;
        dir::put(block, at, &pointer.hash.to_le_bytes());
        dir::put(block, at + 4, &pointer.block.to_le_bytes());
    }
    dir::put_u16(block, kind.entries_at(), kind.limit(format));
    dir::put_u16(block, kind.entries_at() + 2, pointers.len());
    stamp(format, block, kind);
}

#[cfg(test)]
mod tests;
