//! What a listing or a copy of a tree wants to know: asked by inode, for a name need not be one that a path can hold.

use super::attributes::listed;
use super::error::{Error, corrupt};
use super::features::ro_compat;
use super::inode::{FileKind, Inode};
use super::mapping::Mapping;
use super::node::device_number;
use super::{DirEntry, Filesystem, Stat, Xattr};

/// `EXT4_HUGE_FILE_FL`: `i_blocks` counts blocks of the filesystem, not of 512 bytes.
const FLAG_HUGE_FILE: u32 = 0x4_0000;

/// The content of a regular file, from its beginning on.
pub struct Content<'f, 'd> {
    filesystem: &'f Filesystem<'d>,
    inode: Inode,
    mapping: Mapping,
    offset: u64,
}

impl Content<'_, '_> {
    /// Fills `buf` from where the last call ended, and says with how much: less than asked for only at the end.
    ///
    /// # Errors
    /// [`Error::Device`]
    pub fn read(&mut self, buf: &mut [u8]) -> Result<usize, Error> {
        let count = self.filesystem.store.read_mapped(&self.inode, &self.mapping, self.offset, buf)?;
        self.offset += count as u64;
        Ok(count)
    }
}

impl<'d> Filesystem<'d> {
    /// What inode `number` is, which an entry of a directory names; of a symlink the text too.
    ///
    /// # Errors
    /// [`Error::Corrupt`], [`Error::Device`], [`Error::Refused`].
    pub fn describe(&self, number: u32) -> Result<(Stat, Option<Vec<u8>>), Error> {
        let inode = self.store.inode(number)?;
        let target = match inode.kind()? {
            FileKind::Symlink => Some(self.store.read_link(&inode)?),
            _ => None,
        };
        Ok((self.to_stat(&inode)?, target))
    }

    /// The names in the directory that is inode `number`, without `.` and `..`, in no order.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when it is no directory, or as for [`Self::describe`].
    pub fn read_dir_of(&self, number: u32) -> Result<Vec<DirEntry>, Error> {
        let inode = self.store.inode(number)?;
        if !inode.is_directory() {
            return Err(corrupt(format!("inode {number} is no directory")));
        }
        self.names_in(&inode)
    }

    /// The content of the regular file that is inode `number`.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when it is no regular file, or as for [`Self::describe`].
    pub fn content_of(&self, number: u32) -> Result<Content<'_, 'd>, Error> {
        let inode = self.store.inode(number)?;
        if inode.kind()? != FileKind::Regular {
            return Err(corrupt(format!("inode {number} is no regular file")));
        }
        let mapping = Mapping::read(&self.store, &inode)?;
        Ok(Content { filesystem: self, inode, mapping, offset: 0 })
    }

    /// The extended attributes of inode `number`, as [`Self::xattrs`] has them; of a symlink its own.
    ///
    /// # Errors
    /// As for [`Self::xattrs`].
    pub fn xattrs_of(&self, number: u32) -> Result<Vec<Xattr>, Error> {
        listed(&self.store, &self.store.inode(number)?)
    }

    /// How many inodes there are.
    #[must_use]
    pub fn inodes(&self) -> u32 {
        self.store.superblock.inodes_count
    }

    pub(super) fn names_in(&self, directory: &Inode) -> Result<Vec<DirEntry>, Error> {
        let entries = self.store.entries(directory)?.into_iter();
        entries
            .map(|entry| {
                let kind = match FileKind::from_entry_type(entry.file_type) {
                    Some(kind) => kind,
                    // Without the feature `filetype` only the inode tells.
                    None => self.store.inode(entry.inode)?.kind()?,
                };
                Ok(DirEntry { name: entry.name, inode: entry.inode, kind })
            })
            .collect()
    }

    pub(super) fn to_stat(&self, inode: &Inode) -> Result<Stat, Error> {
        Ok(Stat {
            inode: inode.number,
            kind: inode.kind()?,
            mode: inode.mode(),
            uid: inode.uid(),
            gid: inode.gid(),
            len_bytes: inode.size(),
            allocated_bytes: self.allocated_bytes(inode),
            device: device_number(inode)?,
            links: inode.links(),
            accessed: inode.accessed(),
            modified: inode.modified(),
            changed: inode.changed(),
        })
    }

    /// Linux, `ext4_inode_blocks`: the upper half counts only with `huge_file`, and what the unit is says a flag.
    fn allocated_bytes(&self, inode: &Inode) -> u64 {
        if !self.store.superblock.features().has_ro_compat(ro_compat::HUGE_FILE) {
            return (inode.sectors() & u64::from(u32::MAX)).saturating_mul(512);
        }
        let is_huge = inode.has_flag(FLAG_HUGE_FILE);
        let unit = if is_huge { self.store.block_len() as u64 } else { 512 };
        inode.sectors().saturating_mul(unit)
    }
}
