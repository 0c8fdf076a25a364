//! Old block maps: 12 direct pointers in `i_block`, then an indirect, a double and a triple indirect block.
//!
//! Read for files that came from ext3, and written where the filesystem has no extents. A pointer of 0 is a hole.
//! Spec: Linux `Documentation/filesystems/ext4/blockmap.rst`.

use super::bytes::{put, u32_at};
use super::error::{Error, corrupt};
use super::inode::Inode;
use super::mapping::{Mapping, Run};
use super::store::Store;

const DIRECT: u64 = 12;

/// File blocks below one pointer: `level` 0 is a content block, 3 the triple indirect one.
fn span(block_len: usize, level: u32) -> u64 {
    (block_len as u64 / 4).pow(level)
}

/// How many blocks a file can have: bounded by the map, and by a length that `i_blocks` can count.
pub(super) fn max_blocks(block_len: usize) -> u64 {
    let by_map: u64 = DIRECT + (1..=3).map(|level| span(block_len, level)).sum::<u64>();
    by_map.min(u64::from(u32::MAX) / (block_len as u64 / 512))
}

/// The pointers of `i_block`: file block, level below, and place.
fn pointers(block_len: usize) -> impl Iterator<Item = (u64, u32, usize)> {
    let direct = (0..DIRECT).zip(0..).map(|(logical, index)| (logical, 0, index * 4));
    let mut next = DIRECT;
    let indirect = (1..=3).zip([48, 52, 56]).map(move |(level, at)| {
        let logical = next;
        next += span(block_len, level);
        (logical, level, at)
    });
    direct.chain(indirect)
}

/// Reads the whole map.
pub(super) fn read(store: &Store<'_>, inode: &Inode) -> Result<Mapping, Error> {
    let i_block = inode.i_block();
    let mut reader = Reader { store, inode: inode.number, mapping: Mapping::default(), met: 0 };
    for (logical, level, at) in pointers(store.block_len()) {
        reader.pointer(u32_at(&i_block, at), level, logical)?;
    }
    Ok(reader.mapping)
}

struct Reader<'s, 'd> {
    store: &'s Store<'d>,
    inode: u32,
    mapping: Mapping,
    /// Blocks met so far. A map that leads in circles has more than the filesystem.
    met: u64,
}

impl Reader<'_, '_> {
    fn pointer(&mut self, pointer: u32, level: u32, logical: u64) -> Result<(), Error> {
        if pointer == 0 {
            return Ok(());
        }
        let physical = u64::from(pointer);
        self.store.check_data(physical, 1, self.inode)?;
        self.met += 1;
        if self.met > self.store.superblock.blocks_count {
            return Err(corrupt(format!("inode {} maps more blocks than there are", self.inode)));
        }
        if level == 0 {
            self.mapping.push(Run { logical, physical, len: 1, unwritten: false });
            return Ok(());
        }
        self.mapping.tree.push(physical);
        let block = self.store.read_block(physical)?;
        let step = span(self.store.block_len(), level - 1);
        for (index, pointer) in (0..).zip(block.chunks_exact(4)) {
            self.pointer(u32_at(pointer, 0), level - 1, logical + index * step)?;
        }
        Ok(())
    }
}

/// Whether any run touches `len` file blocks from `logical` on.
fn touches(runs: &[Run], logical: u64, len: u64) -> bool {
    let next = runs.partition_point(|run| run.end() <= logical);
    runs.get(next).is_some_and(|run| run.logical < logical + len)
}

/// How many blocks the map over `runs` takes besides `i_block`.
pub(super) fn tree_blocks(runs: &[Run], block_len: usize) -> u64 {
    pointers(block_len).map(|(logical, level, _)| count(runs, block_len, level, logical)).sum()
}

fn count(runs: &[Run], block_len: usize, level: u32, logical: u64) -> u64 {
    if level == 0 || !touches(runs, logical, span(block_len, level)) {
        return 0;
    }
    let step = span(block_len, level - 1);
    let below = if level == 1 { 0 } else { block_len as u64 / 4 };
    1 + (0..below).map(|index| count(runs, block_len, level - 1, logical + index * step)).sum::<u64>()
}

/// Writes the map over `runs` into the blocks of `tree`, as many as [`tree_blocks`] says; gives `i_block`.
pub(super) fn build(store: &mut Store<'_>, runs: &[Run], tree: &[u64]) -> Result<[u8; 60], Error> {
    let mut i_block = [0; 60];
    let mut free = tree.iter();
    for (logical, level, at) in pointers(store.block_len()) {
        let pointer = build_below(store, runs, &mut free, level, logical)?;
        put(&mut i_block, at, &pointer.to_le_bytes());
    }
    Ok(i_block)
}

fn build_below(
    store: &mut Store<'_>,
    runs: &[Run],
    free: &mut std::slice::Iter<'_, u64>,
    level: u32,
    logical: u64,
) -> Result<u32, Error> {
    let block_len = store.block_len();
    if !touches(runs, logical, span(block_len, level)) {
        return Ok(0);
    }
    if level == 0 {
        let next = runs.partition_point(|run| run.end() <= logical);
        let physical = runs.get(next).map_or(0, |run| run.physical + (logical - run.logical));
        return pointer(physical);
    }
    let block = *free.next().ok_or_else(|| corrupt("a block map outgrew its blocks"))?;
    let mut bytes = vec![0; block_len];
    let step = span(block_len, level - 1);
    for (index, at) in (0..).zip((0..block_len).step_by(4)) {
        let pointer = build_below(store, runs, free, level - 1, logical + index * step)?;
        put(&mut bytes, at, &pointer.to_le_bytes());
    }
    store.put_block(block, bytes);
    pointer(block)
}

fn pointer(block: u64) -> Result<u32, Error> {
    u32::try_from(block).map_err(|_| corrupt(format!("block {block} is out of reach of a block map")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_map_takes_an_indirect_block_past_the_twelfth_and_three_past_the_double() {
        let blocks = |len| tree_blocks(&[Run { logical: 0, physical: 1, len, unwritten: false }], 1024);
        assert_eq!((blocks(12), blocks(13), blocks(268)), (0, 1, 1));
        assert_eq!((blocks(269), blocks(524), blocks(525)), (3, 3, 4));
        let hole = [Run { logical: 12 + 256 + 65_536, physical: 1, len: 1, unwritten: false }];
        assert_eq!(tree_blocks(&hole, 1024), 3);
    }
}
