//! Files by the number of their inode: what compares two filesystems meets names that no path can hold, and asks where
//! a file lies before it reads it.

use std::ops::Range;

use super::Filesystem;
use super::edit::check_regular;
use super::error::Error;
use super::features::{compat, incompat};
use super::file::is_short_link;
use super::inode::{FileKind, Inode, ROOT};
use super::mapping::Mapping;

/// Where all that makes a file lies, in bytes of the device. Two filesystems that [read alike](Filesystem::reads_like)
/// and have the same bytes in all of it have the same file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Footprint {
    /// What it is.
    pub kind: FileKind,
    /// Its slot in the inode table.
    pub slot: Range<u64>,
    /// Its extent tree or block map, and its extended attributes, as far as they are outside the slot.
    pub extra: Vec<Range<u64>>,
    /// Its content, or that of a directory; what is not in it reads as zeros.
    pub data: Vec<DataRun>,
}

/// A piece of a file's content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataRun {
    /// Where in the file it begins, in bytes.
    pub at: u64,
    /// Where on the device it lies.
    pub range: Range<u64>,
}

impl Filesystem<'_> {
    /// The number of the root directory's inode.
    pub const ROOT: u32 = ROOT;

    /// Do the same bytes mean the same in both, inode for inode? Where the inodes lie, their footprints tell.
    #[must_use]
    pub fn reads_like(&self, other: &Self) -> bool {
        let meaning = |fs: &Self| {
            let superblock = &fs.store.superblock;
            let features = superblock.features();
            // The seed is compared as it is, wherever it is kept.
            let incompat = features.incompat & !incompat::CSUM_SEED;
            (
                (superblock.block_len, superblock.inode_len, superblock.checksums()),
                (incompat, features.ro_compat, features.has_compat(compat::DIR_INDEX)),
            )
        };
        meaning(self) == meaning(other)
    }

    /// The names of all features that it has.
    #[must_use]
    pub fn features(&self) -> Vec<String> {
        self.store.superblock.features().all().0
    }

    /// Where the file with inode `number` lies.
    ///
    /// # Errors
    /// [`Error::Corrupt`], [`Error::Refused`] for what cannot be read, [`Error::Device`].
    pub fn footprint(&self, number: u32) -> Result<Footprint, Error> {
        let store = &self.store;
        let inode = store.inode(number)?;
        let kind = inode.kind()?;
        let block_len = store.block_len() as u64;
        let bytes = |first: u64, len: u64| {
            let start = first.saturating_mul(block_len);
            start..start.saturating_add(len.saturating_mul(block_len))
        };
        let slot = self.slot(number)?;
        let mapping = if has_blocks(&inode, kind, store.block_len()) {
            Mapping::read(store, &inode)?
        } else {
            Mapping::default()
        };
        let mut extra: Vec<_> = mapping.tree.iter().map(|block| bytes(*block, 1)).collect();
        if inode.xattr_block() != 0 {
            extra.push(bytes(inode.xattr_block(), 1));
        }
        let written = mapping.runs.iter().filter(|run| !run.unwritten);
        let data = written.map(|run| DataRun {
            at: run.logical.saturating_mul(block_len),
            range: bytes(run.physical, run.len),
        });
        Ok(Footprint { kind, slot, extra, data: data.collect() })
    }

    /// The slot of inode `number` as it is.
    ///
    /// # Errors
    /// [`Error::Corrupt`], [`Error::Device`].
    pub fn inode_bytes(&self, number: u32) -> Result<Vec<u8>, Error> {
        let (block, at) = self.store.inode_place(number)?;
        let mut raw = vec![0; self.store.superblock.inode_len];
        self.store.read_data(block, at, &mut raw)?;
        Ok(raw)
    }

    /// Where the slot of inode `number` lies, in bytes of the device.
    ///
    /// # Errors
    /// [`Error::Corrupt`]
    pub fn slot(&self, number: u32) -> Result<Range<u64>, Error> {
        self.store.check_inode_number(number)?;
        let (block, at) = self.store.inode_place(number)?;
        let start = block.saturating_mul(self.store.block_len() as u64).saturating_add(at);
        Ok(start..start.saturating_add(self.store.superblock.inode_len as u64))
    }

    /// As [`Self::read_at`], for the file with inode `number`.
    ///
    /// # Errors
    /// [`Error::IsADirectory`], [`Error::WrongKind`], [`Error::Corrupt`], [`Error::Refused`], [`Error::Device`].
    pub fn read_inode_at(&self, number: u32, offset: u64, buf: &mut [u8]) -> Result<usize, Error> {
        let inode = self.store.inode(number)?;
        check_regular(&inode, &format_args!("inode {number}"))?;
        self.store.read_part(&inode, offset, buf)
    }
}

/// Not those whose `i_block` holds something else: short symlinks, devices.
fn has_blocks(inode: &Inode, kind: FileKind, block_len: usize) -> bool {
    match kind {
        FileKind::Regular | FileKind::Directory => true,
        FileKind::Symlink => !is_short_link(inode, block_len),
        _ => false,
    }
}
