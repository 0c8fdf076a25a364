//! Directories as files of entries: found, added, removed. What a block looks like is told by [`dir`], which block a
//! name belongs to by [`htree`].

use std::collections::BTreeSet;

use super::dir::{self, DirFormat, Entry};
use super::error::{Error, corrupt};
use super::features::{compat, incompat};
use super::htree;
use super::inode::{FLAG_INDEX, Inode};
use super::mapping::Mapping;
use super::store::Store;

/// An open directory: its format and where its blocks lie.
struct Directory {
    number: u32,
    format: DirFormat,
    mapping: Mapping,
    blocks_count: u32,
    is_indexed: bool,
}

impl Directory {
    fn open(store: &Store<'_>, inode: &Inode) -> Result<Self, Error> {
        let superblock = &store.superblock;
        let features = superblock.features();
        let block_len = store.block_len() as u64;
        let mapping = Mapping::read(store, inode)?;
        let blocks = inode.size() / block_len;
        let contiguous =
            mapping.runs.iter().try_fold(0, |next, run| (run.logical == next).then(|| run.end()));
        let written = mapping.runs.iter().all(|run| !run.unwritten);
        if !inode.size().is_multiple_of(block_len)
            || blocks == 0
            || !written
            || contiguous.is_none_or(|end| end < blocks)
        {
            let found = format!("directory inode {} has {} bytes", inode.number, inode.size());
            return Err(corrupt(format!("{found}, and not all of them in blocks")));
        }
        let format = DirFormat {
            block_len: store.block_len(),
            has_filetype: features.has_incompat(incompat::FILETYPE),
            checksum_seed: superblock.checksums().inode_seed(inode.number, inode.generation()),
            indexable: features.has_compat(compat::DIR_INDEX),
            hash_version: superblock.hash_version(),
            hash_unsigned: superblock.hash_unsigned(),
            hash_seed: superblock.hash_seed(),
        };
        Ok(Self {
            number: inode.number,
            is_indexed: format.indexable && inode.has_flag(FLAG_INDEX),
            format,
            mapping,
            // i_size of a directory has 32 bits.
            blocks_count: u32::try_from(blocks).unwrap_or(u32::MAX),
        })
    }

    fn physical(&self, logical: u32) -> Result<u64, Error> {
        let physical = self.mapping.physical(u64::from(logical));
        physical.ok_or_else(|| corrupt(format!("directory inode {} has no block {logical}", self.number)))
    }

    fn read(&self, store: &Store<'_>, logical: u32) -> Result<Vec<u8>, Error> {
        store.read_block(self.physical(logical)?)
    }

    /// The blocks where `name` may be, or may be put.
    fn candidates(&self, store: &Store<'_>, name: &[u8]) -> Result<Vec<u32>, Error> {
        if self.is_indexed {
            htree::leaves(&self.format, self.blocks_count, &mut |block| self.read(store, block), name)
        } else {
            Ok((0..self.blocks_count).collect())
        }
    }

    /// All live entries but `.` and `..`, and the inode of `..`.
    fn entries(&self, store: &Store<'_>) -> Result<(Vec<Entry>, u32), Error> {
        let index = if self.is_indexed {
            htree::index_blocks(&self.format, self.blocks_count, &mut |block| self.read(store, block))?
        } else {
            BTreeSet::new()
        };
        let mut entries = Vec::new();
        for logical in (0..self.blocks_count).filter(|block| *block == 0 || !index.contains(block)) {
            entries.extend(dir::parse_block(&self.format, &self.read(store, logical)?)?);
        }
        let parent = entries.iter().find(|entry| entry.name == b"..").map(|entry| entry.inode);
        let parent = parent.ok_or_else(|| corrupt(format!("directory inode {} has no `..`", self.number)))?;
        entries.retain(|entry| entry.name != b"." && entry.name != b"..");
        Ok((entries, parent))
    }
}

impl Store<'_> {
    /// The entry of `name`.
    pub(super) fn find_entry(&self, inode: &Inode, name: &[u8]) -> Result<Option<Entry>, Error> {
        let directory = Directory::open(self, inode)?;
        for logical in directory.candidates(self, name)? {
            let found = dir::find(&directory.format, &directory.read(self, logical)?, name)?;
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    /// All entries but `.` and `..`.
    pub(super) fn entries(&self, inode: &Inode) -> Result<Vec<Entry>, Error> {
        Ok(Directory::open(self, inode)?.entries(self)?.0)
    }

    /// Adds an entry whose name is not there yet. The caller puts the inode back.
    pub(super) fn add_entry(&mut self, inode: &mut Inode, entry: Entry) -> Result<(), Error> {
        let directory = Directory::open(self, inode)?;
        for logical in directory.candidates(self, &entry.name)? {
            let mut block = directory.read(self, logical)?;
            if dir::insert(&directory.format, &mut block, &entry)? {
                self.put_block(directory.physical(logical)?, block);
                return Ok(());
            }
        }
        if directory.format.indexable {
            let (mut entries, parent) = directory.entries(self)?;
            entries.push(entry);
            let blocks = htree::pack(&directory.format, inode.number, parent, entries)?;
            return self.write_directory(inode, directory.mapping, blocks);
        }
        self.grow_directory(inode, directory, &entry)
    }

    /// Adds a block with one entry to a directory without an index.
    fn grow_directory(
        &mut self,
        inode: &mut Inode,
        directory: Directory,
        entry: &Entry,
    ) -> Result<(), Error> {
        let mut block = dir::empty_block(&directory.format);
        dir::insert(&directory.format, &mut block, entry)?;
        let last = u64::from(directory.blocks_count);
        let mapping = self.resize_runs(inode, directory.mapping, last + 1)?;
        mapping.clone().write(self, inode)?;
        let physical = mapping.physical(last).ok_or_else(|| corrupt("a directory outgrew its blocks"))?;
        self.put_block(physical, block);
        inode.set_size((last + 1) * self.block_len() as u64);
        Ok(())
    }

    /// Gives a directory without an index empty blocks up to `count`. The caller puts the inode back.
    pub(super) fn extend_directory(&mut self, inode: &mut Inode, count: u64) -> Result<(), Error> {
        let directory = Directory::open(self, inode)?;
        let has = u64::from(directory.blocks_count);
        let block = dir::empty_block(&directory.format);
        let mapping = self.resize_runs(inode, directory.mapping, count.max(has))?;
        mapping.clone().write(self, inode)?;
        for logical in has..count {
            let physical = mapping.physical(logical);
            self.put_block(physical.ok_or_else(|| corrupt("a directory outgrew its blocks"))?, block.clone());
        }
        inode.set_size(count.max(has) * self.block_len() as u64);
        Ok(())
    }

    /// Takes the entry of `name` out.
    pub(super) fn remove_entry(&mut self, inode: &Inode, name: &[u8]) -> Result<(), Error> {
        let directory = Directory::open(self, inode)?;
        for logical in directory.candidates(self, name)? {
            let mut block = directory.read(self, logical)?;
            if dir::remove(&directory.format, &mut block, name)? {
                self.put_block(directory.physical(logical)?, block);
                return Ok(());
            }
        }
        Err(corrupt(format!("directory inode {} lost an entry", inode.number)))
    }

    /// Gives a directory that was moved another parent.
    pub(super) fn set_parent(&mut self, inode: &Inode, parent: u32, file_type: u8) -> Result<(), Error> {
        let directory = Directory::open(self, inode)?;
        let mut block = directory.read(self, 0)?;
        if !dir::set_inode(&directory.format, &mut block, b"..", parent, file_type)? {
            return Err(corrupt(format!("directory inode {} has no `..`", inode.number)));
        }
        self.put_block(directory.physical(0)?, block);
        Ok(())
    }

    /// Gives a new directory its first block.
    pub(super) fn init_directory(&mut self, inode: &mut Inode, parent: u32) -> Result<(), Error> {
        let seed = self.superblock.checksums().inode_seed(inode.number, inode.generation());
        let features = self.superblock.features();
        let format = DirFormat {
            block_len: self.block_len(),
            has_filetype: features.has_incompat(incompat::FILETYPE),
            checksum_seed: seed,
            indexable: false,
            hash_version: 0,
            hash_unsigned: false,
            hash_seed: [0; 4],
        };
        let block = dir::first_block(&format, inode.number, parent);
        self.write_directory(inode, Mapping::default(), vec![block])
    }

    /// Lets the directory consist of `blocks`: an index and its leaves where there are several.
    fn write_directory(
        &mut self,
        inode: &mut Inode,
        old: Mapping,
        blocks: Vec<Vec<u8>>,
    ) -> Result<(), Error> {
        let count = blocks.len() as u64;
        let mapping = self.resize_runs(inode, old, count)?;
        mapping.clone().write(self, inode)?;
        for (logical, block) in (0..).zip(blocks) {
            let physical =
                mapping.physical(logical).ok_or_else(|| corrupt("a directory outgrew its blocks"))?;
            self.put_block(physical, block);
        }
        let indexable = self.superblock.features().has_compat(compat::DIR_INDEX);
        inode.set_flag(FLAG_INDEX, indexable && count > 1);
        inode.set_size(count * self.block_len() as u64);
        Ok(())
    }
}
