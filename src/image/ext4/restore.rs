//! Edits of attributes by inode: for what has just been found or made, links among it, which a path would follow.

use super::attributes::{DEFAULT, USER, listed, split_name};
use super::error::Error;
use super::inode::{FileKind, Inode};
use super::{Filesystem, Timestamp, Xattr};

/// Everything of a file but its content, as an archive has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attributes<'a> {
    /// The 12 permission bits. Nothing to a symlink, whose mode stays.
    pub mode: u16,
    /// The user it belongs to.
    pub uid: u32,
    /// The group it belongs to.
    pub gid: u32,
    /// When its content last changed, and when it was last read.
    pub modified: Timestamp,
    /// The extended attributes, in the form of system calls.
    pub xattrs: &'a [Xattr],
    /// Are these all extended attributes it is to have, so that others go?
    pub is_all: bool,
}

impl Filesystem<'_> {
    /// Gives inode `number` these attributes.
    ///
    /// # Errors
    /// As for [`Self::set_xattr`], with the number for a path.
    pub fn restore_of(&mut self, number: u32, attributes: &Attributes<'_>) -> Result<(), Error> {
        self.edit(|fs| {
            let inode = fs.store.inode(number)?;
            fs.change_attributes_in(inode, |fs, inode| {
                inode.set_owner(attributes.uid, attributes.gid);
                if attributes.is_all {
                    fs.drop_others(inode, attributes.xattrs)?;
                }
                if inode.kind()? != FileKind::Symlink {
                    fs.store.change_mode(inode, attributes.mode)?;
                }
                for Xattr { name, value } in attributes.xattrs {
                    let (index, rest) = split_name(name)?;
                    check_takes(inode, index)?;
                    fs.store.put_value(inode, index, rest, value)?;
                }
                inode.set_modified(attributes.modified);
                inode.set_accessed(attributes.modified);
                Ok(())
            })
        })
    }

    /// Sets the 12 permission bits of inode `number`, and those of its access control list.
    ///
    /// # Errors
    /// As for [`Self::set_mode`].
    pub fn set_mode_of(&mut self, number: u32, mode: u16) -> Result<(), Error> {
        self.edit(|fs| {
            let inode = fs.store.inode(number)?;
            fs.change_attributes_in(inode, |fs, inode| fs.store.change_mode(inode, mode))
        })
    }

    /// Sets the owner of inode `number`; of a symlink its own.
    ///
    /// # Errors
    /// As for [`Self::set_owner`].
    pub fn set_owner_of(&mut self, number: u32, uid: u32, gid: u32) -> Result<(), Error> {
        self.change_number(number, |inode| inode.set_owner(uid, gid))
    }

    /// Sets when inode `number` was last read and changed; of a symlink its own.
    ///
    /// # Errors
    /// As for [`Self::set_times`].
    pub fn set_times_of(&mut self, number: u32, time: Timestamp) -> Result<(), Error> {
        self.change_number(number, |inode| {
            inode.set_accessed(time);
            inode.set_modified(time);
        })
    }

    fn change_number(&mut self, number: u32, change: impl FnOnce(&mut Inode)) -> Result<(), Error> {
        self.edit(|fs| {
            let inode = fs.store.inode(number)?;
            fs.change_inode_in(&inode, change)
        })
    }

    /// Takes away every extended attribute that is not one of `kept`.
    fn drop_others(&mut self, inode: &mut Inode, kept: &[Xattr]) -> Result<(), Error> {
        for Xattr { name, .. } in listed(&self.store, inode)? {
            if kept.iter().all(|kept| kept.name != name) {
                let (index, rest) = split_name(&name)?;
                self.store.set_attribute(inode, index, rest, None)?;
            }
        }
        Ok(())
    }
}

/// Whether what it is can have an attribute of this kind, as in the kernel.
fn check_takes(inode: &Inode, index: u8) -> Result<(), Error> {
    let path = || format!("inode {}", inode.number);
    match (index, inode.kind()?) {
        (_, FileKind::Directory) => Ok(()),
        (DEFAULT, _) => Err(Error::NotADirectory { path: path() }),
        (USER, FileKind::Regular) => Ok(()),
        (USER, found) => Err(Error::WrongKind { path: path(), found, wanted: FileKind::Regular }),
        _ => Ok(()),
    }
}
