//! Which blocks a file has: runs, sorted and apart, whatever way they are kept on disk.
//!
//! Read from an extent tree or an old block map, changed as a list, written back whole: as an extent tree, or as a
//! block map where the filesystem has no extents.

use super::alloc::Blocks;
use super::error::{Error, corrupt};
use super::features::incompat;
use super::inode::{FLAG_EXTENTS, Inode};
use super::store::Store;
use super::{block_map, extent};

/// File blocks `logical` to `logical + len`, which lie at `physical` and on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) logical: u64,
    pub(super) physical: u64,
    pub(super) len: u64,
    /// Allocated, but reads as zeros.
    pub(super) unwritten: bool,
}

impl Run {
    /// The first file block after it.
    pub(super) fn end(&self) -> u64 {
        self.logical.saturating_add(self.len)
    }

    /// Where it lies.
    pub(super) fn blocks(&self) -> Blocks {
        Blocks { start: self.physical, len: self.len }
    }

    /// The part of it in file blocks `from..to`; `None` when there is none.
    pub(super) fn cut(&self, from: u64, to: u64) -> Option<Self> {
        let (start, end) = (self.logical.max(from), self.end().min(to));
        let physical = self.physical + start.saturating_sub(self.logical);
        (start < end).then(|| Self { logical: start, physical, len: end - start, unwritten: self.unwritten })
    }
}

/// The blocks of one file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Mapping {
    /// The content, ascending.
    pub(super) runs: Vec<Run>,
    /// The blocks of the tree or map itself.
    pub(super) tree: Vec<u64>,
}

impl Mapping {
    /// Reads the blocks of a file, directory or long symlink. All of them are inside the filesystem and off its
    /// own structures.
    pub(super) fn read(store: &Store<'_>, inode: &Inode) -> Result<Self, Error> {
        inode.check_readable()?;
        if inode.has_flag(FLAG_EXTENTS) { extent::read(store, inode) } else { block_map::read(store, inode) }
    }

    /// Adds a run at the end, joined to the last where they touch.
    pub(super) fn push(&mut self, run: Run) {
        match self.runs.last_mut() {
            Some(last)
                if last.end() == run.logical
                    && last.physical + last.len == run.physical
                    && last.unwritten == run.unwritten =>
            {
                last.len += run.len;
            }
            _ => self.runs.push(run),
        }
    }

    /// The run that holds file block `logical`.
    pub(super) fn find(&self, logical: u64) -> Option<&Run> {
        let next = self.runs.partition_point(|run| run.end() <= logical);
        self.runs.get(next).filter(|run| run.logical <= logical)
    }

    /// Where file block `logical` lies; `None` for a hole.
    pub(super) fn physical(&self, logical: u64) -> Option<u64> {
        self.find(logical).map(|run| run.physical + (logical - run.logical))
    }

    /// How many blocks hold content.
    pub(super) fn data_blocks(&self) -> u64 {
        self.runs.iter().map(|run| run.len).sum()
    }

    /// Where the next block of the file had best lie.
    pub(super) fn goal(&self, store: &Store<'_>, inode: &Inode) -> u64 {
        let last = self.runs.last().map(|run| run.physical + run.len);
        last.unwrap_or_else(|| {
            let (group, _) = store.superblock.group_of_inode(inode.number);
            store.superblock.group_start(group)
        })
    }

    /// Writes `runs` into the inode in place of what it had; the blocks of the old tree (`self.tree`) are used
    /// again, and what is missing or over is taken or given back. Content blocks are for the caller to give back.
    pub(super) fn write(mut self, store: &mut Store<'_>, inode: &mut Inode) -> Result<(), Error> {
        let runs = std::mem::take(&mut self.runs);
        runs.into_iter().for_each(|run| self.push(run));
        let extents = store.superblock.features().has_incompat(incompat::EXTENTS);
        let needed = if extents {
            extent::tree_blocks(&self.runs, store.block_len())
        } else {
            block_map::tree_blocks(&self.runs, store.block_len())
        };
        self.fit_tree(store, inode, needed)?;
        let i_block = if extents {
            extent::build(store, inode, &self.runs, &self.tree)?
        } else {
            block_map::build(store, &self.runs, &self.tree)?
        };
        inode.set_i_block(&i_block);
        inode.set_flag(FLAG_EXTENTS, extents);
        let blocks = self.data_blocks() + needed + u64::from(inode.xattr_block() != 0);
        inode.set_sectors(blocks * (store.block_len() as u64 / 512))
    }

    /// Makes `self.tree` exactly `needed` blocks.
    fn fit_tree(&mut self, store: &mut Store<'_>, inode: &Inode, needed: u64) -> Result<(), Error> {
        while self.tree.len() as u64 > needed {
            if let Some(block) = self.tree.pop() {
                store.free_blocks(Blocks { start: block, len: 1 })?;
            }
        }
        let missing = needed - self.tree.len() as u64;
        for blocks in store.allocate_blocks(missing, self.goal(store, inode))? {
            self.tree.extend(blocks.start..blocks.start + blocks.len);
        }
        if self.tree.len() as u64 == needed {
            Ok(())
        } else {
            Err(corrupt("allocation gave another number of blocks"))
        }
    }
}

/// The longest file that this filesystem can hold.
pub(super) fn max_len_bytes(store: &Store<'_>) -> u64 {
    let blocks = if store.superblock.features().has_incompat(incompat::EXTENTS) {
        u64::from(u32::MAX) // file blocks are numbered in 32 bits
    } else {
        block_map::max_blocks(store.block_len())
    };
    blocks * store.block_len() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(logical: u64, physical: u64, len: u64) -> Run {
        Run { logical, physical, len, unwritten: false }
    }

    #[test]
    fn runs_that_touch_on_both_sides_become_one() {
        let mut mapping = Mapping::default();
        [run(0, 100, 2), run(2, 102, 3), run(5, 200, 1), run(7, 201, 1)]
            .into_iter()
            .for_each(|run| mapping.push(run));
        assert_eq!(mapping.runs, [run(0, 100, 5), run(5, 200, 1), run(7, 201, 1)]);
        assert_eq!((mapping.physical(4), mapping.physical(6), mapping.physical(8)), (Some(104), None, None));
    }

    #[test]
    fn a_run_is_cut_to_a_range() {
        assert_eq!(run(10, 100, 5).cut(12, 99), Some(run(12, 102, 3)));
        assert_eq!(run(10, 100, 5).cut(0, 11), Some(run(10, 100, 1)));
        assert_eq!(run(10, 100, 5).cut(15, 20), None);
    }
}
