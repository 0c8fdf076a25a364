//! Orphans: inodes that somebody had open, or was about to cut, when the filesystem was left. Those without a name
//! are freed, the others are cut to their length.
//!
//! ```text
//! classic       s_last_orphan ─▶ inode ─ i_dtime ─▶ inode ─ i_dtime ─▶ … 0
//! orphan_file   blocks of inode numbers, 0 for a free place; each ends in [magic, checksum]
//! ```
//!
//! Spec: Linux `Documentation/filesystems/ext4/orphan.rst`; `fs/ext4/orphan.c`.

use std::collections::BTreeSet;

use super::Filesystem;
use super::bytes::{put, u32_at};
use super::checksum::crc32c;
use super::error::{Error, corrupt};
use super::inode::Inode;
use super::mapping::Mapping;
use super::store::Store;

/// At the end of a block of the orphan file: magic number and checksum.
const TAIL_LEN: usize = 8;
const MAGIC: u32 = 0x0b10_ca04;

/// An empty block of the orphan file `inode`, to lie at `place`.
pub(super) fn empty_block(store: &Store<'_>, inode: &Inode, place: u64) -> Vec<u8> {
    let mut block = vec![0; store.block_len()];
    let tail = store.block_len() - TAIL_LEN;
    put(&mut block, tail, &MAGIC.to_le_bytes());
    let checksum = checksum(store, inode, place, &block).unwrap_or(0);
    put(&mut block, tail + 4, &checksum.to_le_bytes());
    block
}

/// Of all but the tail, going on from where the block lies.
fn checksum(store: &Store<'_>, inode: &Inode, place: u64, block: &[u8]) -> Option<u32> {
    let seed = store.superblock.checksums().inode_seed(inode.number, inode.generation())?;
    let body = block.get(..block.len().saturating_sub(TAIL_LEN)).unwrap_or_default();
    Some(crc32c(crc32c(seed, &place.to_le_bytes()), body))
}

impl Filesystem<'_> {
    /// Deals with every orphan; returns how many there were.
    pub(super) fn clear_orphans(&mut self) -> Result<u32, Error> {
        let (orphans, file) = self.store.orphans()?;
        // No edit is taken while the superblock names orphans; nothing of this is laid down before all is done.
        self.store.superblock_mut().clear_orphans();
        for number in &orphans {
            self.edit(|fs| fs.clear_orphan(*number))?;
        }
        self.edit(|fs| {
            if let Some((inode, places)) = file {
                for place in places {
                    let block = empty_block(&fs.store, &inode, place);
                    fs.store.put_block(place, block);
                }
            }
            Ok(())
        })?;
        Ok(u32::try_from(orphans.len()).unwrap_or(u32::MAX))
    }

    fn clear_orphan(&mut self, number: u32) -> Result<(), Error> {
        let mut inode = self.store.any_inode(number)?;
        if inode.links() == 0 {
            return self.release(inode);
        }
        inode.check_editable()?;
        inode.set_deleted(0);
        self.store.put_inode(inode.clone());
        if self.has_mapping(&inode, inode.kind()?) {
            let size = inode.size();
            self.store.truncate(&mut inode, size)?;
        }
        Ok(())
    }
}

/// The orphan file, and which of its blocks name somebody.
type OrphanFile = Option<(Inode, Vec<u64>)>;

impl Store<'_> {
    /// The numbers of all orphans.
    fn orphans(&self) -> Result<(Vec<u32>, OrphanFile), Error> {
        let mut met = BTreeSet::new();
        let mut orphans = Vec::new();
        let mut next = self.superblock.last_orphan();
        while next != 0 {
            self.check_inode_number(next)?;
            if !met.insert(next) {
                return Err(corrupt(format!("the chain of orphans comes back to inode {next}")));
            }
            orphans.push(next);
            next = self.any_inode(next)?.deleted();
        }
        let file = match self.superblock.orphan_inode() {
            Some(number) if self.superblock.has_orphan_present() => number,
            _ => return Ok((orphans, None)),
        };
        if file < self.superblock.first_inode() || file > self.superblock.inodes_count {
            return Err(corrupt(format!("the orphan file is inode {file}, which is not there")));
        }
        let file = self.any_inode(file)?;
        let mapping = Mapping::read(self, &file)?;
        let mut places = Vec::new();
        let runs = mapping.runs.iter().map(super::mapping::Run::blocks);
        for place in runs.flat_map(|run| run.start..run.start + run.len) {
            let block = self.read_orphan_block(&file, place)?;
            let named: Vec<u32> = block.chunks_exact(4).map(|entry| u32_at(entry, 0)).collect();
            for number in named.iter().copied().filter(|number| *number != 0) {
                self.check_inode_number(number)?;
                if met.insert(number) {
                    orphans.push(number);
                }
            }
            if named.iter().any(|number| *number != 0) {
                places.push(place);
            }
        }
        Ok((orphans, Some((file, places))))
    }

    /// The entries of a block of the orphan file.
    fn read_orphan_block(&self, file: &Inode, place: u64) -> Result<Vec<u8>, Error> {
        let mut block = self.read_block(place)?;
        let tail = block.len() - TAIL_LEN;
        let (magic, stored) = (u32_at(&block, tail), u32_at(&block, tail + 4));
        let computed = checksum(self, file, place, &block);
        if magic != MAGIC || computed.is_some_and(|computed| computed != stored) {
            let found = format!("magic {magic:#010x} and checksum {stored:#x}");
            return Err(corrupt(format!("block {place} of the orphan file has {found}")));
        }
        block.truncate(tail);
        Ok(block)
    }
}
