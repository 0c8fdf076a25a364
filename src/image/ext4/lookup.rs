//! What a listing wants to know of every name: asked by inode, for a name need not be one that a path can hold.

use super::error::Error;
use super::inode::{FileKind, Inode};
use super::{Filesystem, Stat};

impl Filesystem<'_> {
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
        Ok((to_stat(&inode)?, target))
    }

    /// How many inodes there are.
    #[must_use]
    pub fn inodes(&self) -> u32 {
        self.store.superblock.inodes_count
    }
}

pub(super) fn to_stat(inode: &Inode) -> Result<Stat, Error> {
    Ok(Stat {
        inode: inode.number,
        kind: inode.kind()?,
        mode: inode.mode(),
        uid: inode.uid(),
        gid: inode.gid(),
        len_bytes: inode.size(),
        links: inode.links(),
        accessed: inode.accessed(),
        modified: inode.modified(),
        changed: inode.changed(),
    })
}

// BEGIN SHIM
impl Filesystem<'_> {
    /// shim
    pub fn read_at(
        &self,
        path: &crate::base::ImagePath,
        offset: u64,
        buf: &mut [u8],
    ) -> Result<usize, Error> {
        let all = self.read_file(path, u64::MAX)?;
        let rest = all.get(usize::try_from(offset).unwrap_or(usize::MAX)..).unwrap_or_default();
        let count = rest.len().min(buf.len());
        buf[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }
    /// shim
    pub fn write_from(
        &mut self,
        path: &crate::base::ImagePath,
        source: &mut dyn std::io::Read,
        _len: u64,
        new: super::NewAttributes,
    ) -> Result<(), Error> {
        let mut all = Vec::new();
        let _ = source.read_to_end(&mut all);
        self.write_file(path, &all, new)
    }
}
// END SHIM
