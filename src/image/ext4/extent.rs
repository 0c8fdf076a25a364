//! Extent trees: read at any depth, written bottom-up from sorted runs.
//!
//! A node is a 12-byte header and 12-byte entries; the root lies in `i_block` and has 4, other nodes fill a block and
//! end, behind their last possible entry, in a checksum. Spec: Linux `Documentation/filesystems/ext4/ifork.rst`.
//! Writing anew what changed is simpler than splitting nodes in place, and the same runs always give the same tree.

use super::bytes::{field, high32, low32, put, u16_at, u32_at};
use super::checksum::crc32c;
use super::error::{Error, corrupt};
use super::inode::Inode;
use super::mapping::{Mapping, Run};
use super::store::Store;

const MAGIC: u16 = 0xf30a;
const HEADER_LEN: usize = 12;
const ENTRY_LEN: usize = 12;
const ROOT_MAX: usize = 4;
/// The kernel's bound (`EXT4_MAX_EXTENT_DEPTH`): 5 levels reach every file block.
const MAX_DEPTH: u16 = 5;
/// A longer `ee_len` means an unwritten extent of so much less.
const MAX_LEN: u64 = 32_768;

/// Reads the whole tree.
pub(super) fn read(store: &Store<'_>, inode: &Inode) -> Result<Mapping, Error> {
    let root = inode.i_block();
    let depth = u16_at(&root, 6);
    if depth > MAX_DEPTH {
        return Err(corrupt(format!("inode {} has an extent tree {depth} levels deep", inode.number)));
    }
    let mut reader = Reader { store, inode, mapping: Mapping::default(), next: 0 };
    reader.node(&root, depth, ROOT_MAX)?;
    Ok(reader.mapping)
}

struct Reader<'s, 'd> {
    store: &'s Store<'d>,
    inode: &'s Inode,
    mapping: Mapping,
    /// The first file block that may come next: it only grows, so no node is met twice.
    next: u64,
}

impl Reader<'_, '_> {
    fn node(&mut self, node: &[u8], depth: u16, room: usize) -> Result<(), Error> {
        let number = self.inode.number;
        let (magic, count, max) =
            (u16_at(node, 0), usize::from(u16_at(node, 2)), usize::from(u16_at(node, 4)));
        if magic != MAGIC || u16_at(node, 6) != depth || max > room || count > max {
            let found = format!("magic {magic:#06x}, {count} of {max} entries, depth {}", u16_at(node, 6));
            return Err(corrupt(format!("extent node of inode {number} has {found}, wanted depth {depth}")));
        }
        if count == 0 && (depth > 0 || room > ROOT_MAX) {
            return Err(corrupt(format!("extent node of inode {number} is empty")));
        }
        for entry in node.get(HEADER_LEN..).unwrap_or_default().chunks_exact(ENTRY_LEN).take(count) {
            let logical = u64::from(u32_at(entry, 0));
            if logical < self.next {
                let found = format!("extent of inode {number} begins at file block {logical}");
                return Err(corrupt(format!("{found}, wanted {} or later", self.next)));
            }
            if depth > 0 { self.child(entry, depth)? } else { self.extent(entry, logical)? }
        }
        Ok(())
    }

    fn child(&mut self, entry: &[u8], depth: u16) -> Result<(), Error> {
        let block = u64::from(u16_at(entry, 8)) << 32 | u64::from(u32_at(entry, 4));
        self.store.check_data(block, 1, self.inode.number)?;
        let node = self.store.read_block(block)?;
        let max = usize::from(u16_at(&node, 4));
        let room = room(self.store.block_len());
        if max > room {
            return Err(corrupt(format!("extent block {block} has room for {max} entries, wanted {room}")));
        }
        if let Some(seed) = seed(self.store, self.inode) {
            let (at, computed) = checksum(seed, &node, max);
            let stored = u32_at(&node, at);
            if stored != computed {
                return Err(corrupt(format!(
                    "extent block {block} checksum is {stored:#x}, computed {computed:#x}"
                )));
            }
        }
        self.mapping.tree.push(block);
        self.node(&node, depth - 1, room)
    }

    fn extent(&mut self, entry: &[u8], logical: u64) -> Result<(), Error> {
        let ee_len = u64::from(u16_at(entry, 4));
        let unwritten = ee_len > MAX_LEN;
        let len = if unwritten { ee_len - MAX_LEN } else { ee_len };
        let physical = u64::from(u16_at(entry, 6)) << 32 | u64::from(u32_at(entry, 8));
        if len == 0 || logical + len > 1 << 32 {
            let found = format!("an extent of {len} blocks at {logical}");
            return Err(corrupt(format!("inode {} has {found}", self.inode.number)));
        }
        self.store.check_data(physical, len, self.inode.number)?;
        self.next = logical + len;
        self.mapping.push(Run { logical, physical, len, unwritten });
        Ok(())
    }
}

/// How many entries a block has room for.
fn room(block_len: usize) -> usize {
    (block_len - HEADER_LEN) / ENTRY_LEN
}

fn seed(store: &Store<'_>, inode: &Inode) -> Option<u32> {
    store.superblock.checksums().inode_seed(inode.number, inode.generation())
}

/// Where the checksum of a node with room for `max` entries lies, and what it is. Unused entries are covered.
fn checksum(seed: u32, node: &[u8], max: usize) -> (usize, u32) {
    let at = HEADER_LEN + max * ENTRY_LEN;
    (at, crc32c(seed, node.get(..at).unwrap_or_default()))
}

/// What an entry of a node needs to be written: `len` is an `ee_len`, and unused in an index.
#[derive(Clone, Copy)]
struct Entry {
    logical: u32,
    physical: u64,
    len: u16,
}

/// Cuts runs into extents, which hold at most 32768 blocks, or 32767 unwritten ones.
fn extents(runs: &[Run]) -> impl Iterator<Item = Entry> {
    runs.iter().flat_map(|run| {
        let (step, mark) = if run.unwritten { (MAX_LEN - 1, MAX_LEN) } else { (MAX_LEN, 0) };
        (0..run.len.div_ceil(step)).map(move |piece| {
            let at = piece * step;
            let len = u16::try_from((run.len - at).min(step) + mark).unwrap_or(0);
            Entry { logical: low32(run.logical + at), physical: run.physical + at, len }
        })
    })
}

/// How many blocks the tree over `runs` takes besides its root.
pub(super) fn tree_blocks(runs: &[Run], block_len: usize) -> u64 {
    let mut entries = extents(runs).count();
    let mut blocks = 0;
    while entries > ROOT_MAX {
        entries = entries.div_ceil(room(block_len));
        blocks += entries as u64;
    }
    blocks
}

/// Writes the tree over `runs` into the blocks of `tree`, as many as [`tree_blocks`] says; gives its root.
pub(super) fn build(
    store: &mut Store<'_>,
    inode: &Inode,
    runs: &[Run],
    tree: &[u64],
) -> Result<[u8; 60], Error> {
    let block_len = store.block_len();
    let seed = seed(store, inode);
    let mut entries: Vec<Entry> = extents(runs).collect();
    let mut free = tree.iter();
    let mut depth = 0;
    while entries.len() > ROOT_MAX {
        let mut above = Vec::with_capacity(entries.len().div_ceil(room(block_len)));
        for chunk in entries.chunks(room(block_len)) {
            let block = *free.next().ok_or_else(|| corrupt("an extent tree outgrew its blocks"))?;
            let mut node = vec![0; block_len];
            fill(&mut node, chunk, room(block_len), depth);
            if let Some(seed) = seed {
                let (at, checksum) = checksum(seed, &node, room(block_len));
                put(&mut node, at, &checksum.to_le_bytes());
            }
            store.put_block(block, node);
            above.push(Entry {
                logical: chunk.first().map_or(0, |entry| entry.logical),
                physical: block,
                len: 0,
            });
        }
        entries = above;
        depth += 1;
    }
    let mut root = [0; 60];
    fill(&mut root, &entries, ROOT_MAX, depth);
    Ok(root)
}

fn fill(node: &mut [u8], entries: &[Entry], max: usize, depth: u16) {
    let header = [usize::from(MAGIC), entries.len(), max, usize::from(depth)];
    for (index, value) in header.into_iter().enumerate() {
        put(node, index * 2, &value.to_le_bytes()[..2]);
    }
    for (index, entry) in entries.iter().enumerate() {
        let at = HEADER_LEN + index * ENTRY_LEN;
        let high: [u8; 2] = field(&high32(entry.physical).to_le_bytes(), 0).unwrap_or_default();
        put(node, at, &entry.logical.to_le_bytes());
        if depth > 0 {
            put(node, at + 4, &low32(entry.physical).to_le_bytes());
            put(node, at + 8, &high);
        } else {
            put(node, at + 4, &entry.len.to_le_bytes());
            put(node, at + 6, &high);
            put(node, at + 8, &low32(entry.physical).to_le_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_runs_are_cut_and_unwritten_ones_are_one_shorter() {
        let run = Run { logical: 5, physical: 100, len: 40_000, unwritten: false };
        let lens =
            |run| extents(&[run]).map(|entry| (entry.logical, entry.physical, entry.len)).collect::<Vec<_>>();
        assert_eq!(lens(run), [(5, 100, 32_768), (32_773, 32_868, 7232)]);
        let run = Run { unwritten: true, ..run };
        assert_eq!(lens(run), [(5, 100, 65_535), (32_772, 32_867, 40_001)]);
    }

    #[test]
    fn a_tree_has_as_many_blocks_as_its_levels_need() {
        let runs = |count| -> Vec<Run> {
            (0..count).map(|at| Run { logical: at * 2, physical: at * 3, len: 1, unwritten: false }).collect()
        };
        for (count, blocks) in [(0, 0), (4, 0), (5, 1), (84, 1), (85, 2), (336, 4), (337, 6)] {
            assert_eq!(tree_blocks(&runs(count), 1024), blocks, "{count} extents");
        }
    }
}
