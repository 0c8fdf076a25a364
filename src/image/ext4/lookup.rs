//! What a listing wants to know of every name: asked by inode, for a name need not be one that a path can hold.

use super::error::Error;
use super::inode::{FileKind, Inode};
use super::node::device_number;
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
        device: device_number(inode)?,
        links: inode.links(),
        accessed: inode.accessed(),
        modified: inode.modified(),
        changed: inode.changed(),
    })
}
