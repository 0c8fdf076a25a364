//! The edits of files and directories. Each is done whole or not at all.

use std::io::Read;

use super::dir::Entry;
use super::error::{Error, corrupt};
use super::features::ro_compat;
use super::inode::{FileKind, Inode, ROOT};
use super::mapping::Mapping;
use super::path::Slot;
use super::{Filesystem, NewAttributes, Timestamp};
use crate::base::ImagePath;

/// As many links as a file can have (`EXT4_LINK_MAX`); a directory with more subdirectories has 1.
const LINKS_LIMIT: u16 = 65_000;

/// Refuses what is no regular file.
pub(super) fn check_regular(inode: &Inode, path: &impl std::fmt::Display) -> Result<(), Error> {
    let path = || path.to_string();
    match inode.kind()? {
        FileKind::Regular => Ok(()),
        FileKind::Directory => Err(Error::IsADirectory { path: path() }),
        found => Err(Error::WrongKind { path: path(), found, wanted: FileKind::Regular }),
    }
}

impl Filesystem<'_> {
    /// Runs an edit; takes it back when it fails.
    pub(super) fn edit<T>(&mut self, work: impl FnOnce(&mut Self) -> Result<T, Error>) -> Result<T, Error> {
        if self.poisoned {
            return Err(Error::Poisoned);
        }
        self.store.superblock.check_writable()?;
        self.store.begin();
        let done = work(self);
        if done.is_err() {
            self.poisoned = self.store.wrote_content;
            self.store.roll_back();
        }
        done
    }

    /// The file at `path` holds exactly `content` afterwards. A symlink is followed, also to a file that does not exist
    /// yet. An existing file keeps its mode, owner and extended attributes but `security.capability`.
    ///
    /// # Errors
    /// [`Error::NoSpace`] and [`Error::NoInodes`] before anything is changed; [`Error::NotFound`] for the directory;
    /// [`Error::IsADirectory`], [`Error::WrongKind`]; [`Error::Poisoned`]; or as for [`Self::canonical`].
    pub fn write_file(&mut self, path: &ImagePath, content: &[u8], new: NewAttributes) -> Result<(), Error> {
        self.edit(|fs| {
            let (mut inode, old) = fs.file_to_fill(path, new)?;
            fs.store.replace_content(&mut inode, old, content)
        })
    }

    /// As [`Self::write_file`], with content of `len_bytes` that is read as it is written, up to 1 MiB at a time. There
    /// must be room for it beside what the file held before: that is given up only when all has been read.
    ///
    /// # Errors
    /// [`Error::Content`] when `content` fails or ends early, after which all is as it was; or as for
    /// [`Self::write_file`].
    pub fn write_from(
        &mut self,
        path: &ImagePath,
        content: &mut dyn Read,
        len_bytes: u64,
        new: NewAttributes,
    ) -> Result<(), Error> {
        self.edit(|fs| {
            let (mut inode, old) = fs.file_to_fill(path, new)?;
            fs.store.stream_content(&mut inode, old, content, len_bytes)
        })
    }

    /// The file at `path`, made where there is none, and its blocks.
    fn file_to_fill(&mut self, path: &ImagePath, new: NewAttributes) -> Result<(Inode, Mapping), Error> {
        let slot = self.store.slot(path, true).map_err(|error| match error {
            Error::IsRoot => Error::IsADirectory { path: path.to_string() },
            error => error,
        })?;
        match &slot.inode {
            Some(inode) => {
                let inode = self.regular_to_change(inode, path)?;
                let old = Mapping::read(&self.store, &inode)?;
                Ok((inode, old))
            }
            None => Ok((self.create(slot, FileKind::Regular, new)?, Mapping::default())),
        }
    }

    /// Adds `bytes` at the end of the file at `path`, which must exist; symlinks are followed.
    ///
    /// # Errors
    /// As for [`Self::write_file`].
    pub fn append(&mut self, path: &ImagePath, bytes: &[u8]) -> Result<(), Error> {
        self.change_file(path, |fs, inode| fs.store.overwrite(inode, inode.size(), bytes))
    }

    /// Puts `bytes` at `offset` of the file at `path`, which must exist and grows where needed; symlinks are followed.
    ///
    /// # Errors
    /// As for [`Self::write_file`].
    pub fn write_at(&mut self, path: &ImagePath, offset: u64, bytes: &[u8]) -> Result<(), Error> {
        self.change_file(path, |fs, inode| fs.store.overwrite(inode, offset, bytes))
    }

    /// Cuts the file at `path`, or stretches it with zeros that take no blocks; symlinks are followed.
    ///
    /// # Errors
    /// As for [`Self::write_file`].
    pub fn truncate(&mut self, path: &ImagePath, len_bytes: u64) -> Result<(), Error> {
        self.change_file(path, |fs, inode| fs.store.truncate(inode, len_bytes))
    }

    fn change_file(
        &mut self,
        path: &ImagePath,
        change: impl FnOnce(&mut Self, &mut Inode) -> Result<(), Error>,
    ) -> Result<(), Error> {
        self.edit(|fs| {
            let inode = fs.store.locate(path, true)?;
            let mut inode = fs.regular_to_change(&inode, path)?;
            fs.store.put_inode(inode.clone());
            change(fs, &mut inode)
        })
    }

    /// The inode of a regular file whose content is about to change.
    fn regular_to_change(&mut self, inode: &Inode, path: &ImagePath) -> Result<Inode, Error> {
        check_regular(inode, path)?;
        inode.check_editable()?;
        let mut inode = inode.clone();
        self.store.drop_capability(&mut inode)?;
        inode.set_modified(self.clock);
        inode.set_changed(self.clock);
        Ok(inode)
    }

    /// Makes a directory whose parent exists.
    ///
    /// # Errors
    /// [`Error::Exists`], [`Error::TooManyLinks`], or as for [`Self::write_file`].
    pub fn mkdir(&mut self, path: &ImagePath, new: NewAttributes) -> Result<(), Error> {
        self.edit(|fs| {
            let slot = fs.store.slot(path, false).map_err(|error| match error {
                Error::IsRoot => Error::Exists { path: path.to_string() },
                error => error,
            })?;
            check_free(&slot, path)?;
            fs.create(slot, FileKind::Directory, new).map(drop)
        })
    }

    /// Makes a directory and the parents it lacks, all with these attributes; one that exists stays as it is. Symlinks
    /// to directories are followed.
    ///
    /// # Errors
    /// [`Error::NotADirectory`] where something else is in the way, or as for [`Self::mkdir`].
    pub fn mkdir_all(&mut self, path: &ImagePath, new: NewAttributes) -> Result<(), Error> {
        self.edit(|fs| {
            let path = fs.canonical(path, true)?;
            let mut so_far = ImagePath::root();
            for name in path.names() {
                so_far = so_far
                    .join(name)
                    .map_err(|_| Error::UnusablePath { path: path.to_string(), target: name.to_owned() })?;
                let slot = fs.store.slot(&so_far, false)?;
                match &slot.inode {
                    Some(inode) if inode.is_directory() => {}
                    Some(_) => return Err(Error::NotADirectory { path: so_far.to_string() }),
                    None => drop(fs.create(slot, FileKind::Directory, new)?),
                }
            }
            Ok(())
        })
    }

    /// Makes a symlink whose text is `target`, with mode 0777.
    ///
    /// # Errors
    /// [`Error::Exists`], [`Error::BadLength`], or as for [`Self::write_file`].
    pub fn symlink(&mut self, path: &ImagePath, target: &[u8], uid: u32, gid: u32) -> Result<(), Error> {
        self.edit(|fs| {
            let slot = fs.store.slot(path, false)?;
            check_free(&slot, path)?;
            let mut inode = fs.create(slot, FileKind::Symlink, NewAttributes { mode: 0o777, uid, gid })?;
            fs.store.write_link(&mut inode, target)?;
            fs.store.put_inode(inode);
            Ok(())
        })
    }

    /// Gives `existing`, which is no directory, the further name `new`. A symlink gets the name itself.
    ///
    /// # Errors
    /// [`Error::Exists`], [`Error::IsADirectory`], [`Error::TooManyLinks`], or as for [`Self::write_file`].
    pub fn hard_link(&mut self, existing: &ImagePath, new: &ImagePath) -> Result<(), Error> {
        self.edit(|fs| {
            let mut inode = fs.store.locate(existing, false)?;
            if inode.is_directory() {
                return Err(Error::IsADirectory { path: existing.to_string() });
            }
            inode.check_editable()?;
            let slot = fs.store.slot(new, false)?;
            check_free(&slot, new)?;
            if inode.links() >= LINKS_LIMIT {
                return Err(Error::TooManyLinks { path: existing.to_string(), links: inode.links() });
            }
            inode.set_links(inode.links() + 1);
            inode.set_changed(fs.clock);
            fs.enter(slot.directory, slot.name, &inode)?;
            fs.store.put_inode(inode);
            Ok(())
        })
    }

    /// What was `from` is `to` afterwards, in place of what had that name: a directory in place of an empty one,
    /// anything else in place of anything but a directory. Nothing happens when both are names of one file. Neither
    /// name is followed when it is a symlink.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::NotADirectory`], [`Error::IsADirectory`] and [`Error::NotEmpty`] for `to`,
    /// [`Error::IntoItself`], [`Error::IsRoot`], or as for [`Self::write_file`].
    pub fn rename(&mut self, from: &ImagePath, to: &ImagePath) -> Result<(), Error> {
        self.edit(|fs| {
            let source = fs.canonical(from, false)?;
            let target = fs.canonical(to, false)?;
            let old = fs.store.slot(&source, false)?;
            let Some(mut inode) = old.inode else {
                return Err(Error::NotFound { path: from.to_string() });
            };
            inode.check_editable()?;
            if source == target {
                return Ok(());
            }
            if target.below(&source).is_some() {
                return Err(Error::IntoItself { from: from.to_string(), to: to.to_string() });
            }
            let new = fs.store.slot(&target, false)?;
            if let Some(replaced) = new.inode {
                if replaced.number == inode.number {
                    return Ok(());
                }
                fs.check_replaceable(&inode, &replaced, to)?;
                fs.leave(new.directory, &new.name, &replaced)?;
                fs.release(replaced)?;
            }
            inode.set_changed(fs.clock);
            fs.store.put_inode(inode.clone());
            // Looked for again, here and below: the parent may be the directory that was just changed.
            let directory = fs.store.slot(&source, false)?.directory;
            fs.leave(directory, &old.name, &inode)?;
            let new = fs.store.slot(&target, false)?;
            let parent = new.directory.number;
            fs.enter(new.directory, new.name, &inode)?;
            if inode.is_directory() {
                fs.store.set_parent(&inode, parent, FileKind::Directory.entry_type())?;
            }
            Ok(())
        })
    }

    /// Refuses to put `inode` in place of `replaced`, which is at `path`, where rename(2) would.
    fn check_replaceable(&self, inode: &Inode, replaced: &Inode, path: &ImagePath) -> Result<(), Error> {
        let path = || path.to_string();
        match (inode.is_directory(), replaced.is_directory()) {
            (true, false) => Err(Error::NotADirectory { path: path() }),
            (false, true) => Err(Error::IsADirectory { path: path() }),
            (true, true) if !self.store.entries(replaced)?.is_empty() => {
                Err(Error::NotEmpty { path: path() })
            }
            _ => Ok(()),
        }
    }

    /// Removes a file, a symlink or an empty directory.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::NotEmpty`], [`Error::IsRoot`], or as for [`Self::write_file`].
    pub fn remove(&mut self, path: &ImagePath) -> Result<(), Error> {
        self.edit(|fs| {
            let slot = fs.store.slot(path, false)?;
            let Some(inode) = slot.inode else {
                return Err(Error::NotFound { path: path.to_string() });
            };
            if inode.is_directory() && !fs.store.entries(&inode)?.is_empty() {
                return Err(Error::NotEmpty { path: path.to_string() });
            }
            fs.leave(slot.directory, &slot.name, &inode)?;
            fs.release(inode)
        })
    }

    /// Removes what is at `path` and everything below it. Links are removed, not followed.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::IsRoot`], or as for [`Self::write_file`].
    pub fn remove_all(&mut self, path: &ImagePath) -> Result<(), Error> {
        self.edit(|fs| {
            let slot = fs.store.slot(path, false)?;
            let Some(inode) = slot.inode else {
                return Err(Error::NotFound { path: path.to_string() });
            };
            fs.leave(slot.directory, &slot.name, &inode)?;
            fs.release_tree(inode)
        })
    }

    /// Lets go of a whole tree. Each inode is freed when it is met, so a directory met again is found free: that is
    /// corrupt, and no loop.
    fn release_tree(&mut self, top: Inode) -> Result<(), Error> {
        let mut left = vec![top.number];
        while let Some(number) = left.pop() {
            let inode = self.store.inode(number)?;
            if inode.is_directory() {
                left.extend(self.store.entries(&inode)?.into_iter().map(|entry| entry.inode));
            }
            self.release(inode)?;
        }
        Ok(())
    }

    /// Sets the owner of what is at `path`; symlinks are followed. The mode stays, set-user-id bits too.
    ///
    /// # Errors
    /// As for [`Self::set_mode`].
    pub fn set_owner(&mut self, path: &ImagePath, uid: u32, gid: u32) -> Result<(), Error> {
        self.change_inode(path, |inode| inode.set_owner(uid, gid))
    }

    /// Sets the times of what is at `path`; symlinks are followed.
    ///
    /// # Errors
    /// As for [`Self::set_mode`].
    pub fn set_times(
        &mut self,
        path: &ImagePath,
        accessed: Timestamp,
        modified: Timestamp,
    ) -> Result<(), Error> {
        self.change_inode(path, |inode| {
            inode.set_accessed(accessed);
            inode.set_modified(modified);
        })
    }

    /// Changes an inode; one that is the same afterwards is not touched.
    fn change_inode(&mut self, path: &ImagePath, change: impl FnOnce(&mut Inode)) -> Result<(), Error> {
        self.edit(|fs| {
            let before = fs.store.locate(path, true)?;
            fs.change_inode_in(&before, change)
        })
    }

    /// The same for an inode, as a part of an edit.
    pub(super) fn change_inode_in(
        &mut self,
        before: &Inode,
        change: impl FnOnce(&mut Inode),
    ) -> Result<(), Error> {
        before.check_editable()?;
        let mut inode = before.clone();
        change(&mut inode);
        if inode != *before {
            inode.set_changed(self.clock);
            self.store.put_inode(inode);
        }
        Ok(())
    }

    /// A new inode under the free name of `slot`; without content, but a directory has its first block.
    pub(super) fn create(&mut self, slot: Slot, kind: FileKind, new: NewAttributes) -> Result<Inode, Error> {
        let parent = slot.directory.number;
        let is_directory = kind == FileKind::Directory;
        let number = self.store.allocate_inode(parent, is_directory)?;
        let superblock = &self.store.superblock;
        let mut inode =
            Inode::new(number, superblock.inode_len, superblock.want_extra_isize(), kind, self.clock);
        inode.set_mode(new.mode);
        inode.set_owner(new.uid, new.gid);
        inode.set_links(if is_directory { 2 } else { 1 });
        match kind {
            FileKind::Directory => self.store.init_directory(&mut inode, parent)?,
            FileKind::Regular => Mapping::default().write(&mut self.store, &mut inode)?,
            _ => {}
        }
        self.store.inherit_acl(&mut inode, &slot.directory)?;
        self.store.put_inode(inode.clone());
        self.enter(slot.directory, slot.name, &inode)?;
        Ok(inode)
    }

    /// Puts a name into a directory; a subdirectory links back to it.
    fn enter(&mut self, mut directory: Inode, name: Vec<u8>, inode: &Inode) -> Result<(), Error> {
        directory.check_editable()?;
        let has_filetype = self.store.superblock.features().has_incompat(super::features::incompat::FILETYPE);
        let file_type = if has_filetype { inode.kind()?.entry_type() } else { 0 };
        if inode.is_directory() {
            let links = directory.links();
            let many = self.store.superblock.features().has_ro_compat(ro_compat::DIR_NLINK);
            directory.set_links(match links {
                1 => 1,
                links if links < LINKS_LIMIT - 1 => links + 1,
                _ if many => 1,
                links => {
                    let path = String::from_utf8_lossy(&name).into_owned();
                    return Err(Error::TooManyLinks { path, links });
                }
            });
        }
        self.store.add_entry(&mut directory, Entry { name, inode: inode.number, file_type })?;
        self.touch(directory);
        Ok(())
    }

    /// Takes a name out of a directory.
    fn leave(&mut self, mut directory: Inode, name: &[u8], inode: &Inode) -> Result<(), Error> {
        directory.check_editable()?;
        self.store.remove_entry(&directory, name)?;
        // 1 means too many to count, and stays.
        if inode.is_directory() && directory.links() > 2 {
            directory.set_links(directory.links() - 1);
        }
        self.touch(directory);
        Ok(())
    }

    fn touch(&mut self, mut directory: Inode) {
        directory.set_modified(self.clock);
        directory.set_changed(self.clock);
        self.store.put_inode(directory);
    }

    /// Lets go of an inode that lost a name; with its last one everything it holds is freed.
    pub(super) fn release(&mut self, mut inode: Inode) -> Result<(), Error> {
        inode.check_editable()?;
        if inode.number == ROOT {
            return Err(corrupt("an entry names the root directory"));
        }
        let is_directory = inode.is_directory();
        if !is_directory && inode.links() > 1 {
            inode.set_links(inode.links() - 1);
            inode.set_changed(self.clock);
            self.store.put_inode(inode);
            return Ok(());
        }
        if self.has_mapping(&inode, inode.kind()?) {
            self.store.free_content(&inode)?;
        }
        self.store.release_xattr_block(&mut inode)?;
        self.store.free_inode(inode.number, is_directory)?;
        self.store.put_inode(Inode::empty(inode.number, self.store.superblock.inode_len));
        Ok(())
    }

    /// Whether `i_block` leads to blocks: not for devices, nor for a symlink whose text lies there.
    pub(super) fn has_mapping(&self, inode: &Inode, kind: FileKind) -> bool {
        let xattr_sectors = if inode.xattr_block() == 0 { 0 } else { self.store.block_len() as u64 / 512 };
        match kind {
            FileKind::Regular | FileKind::Directory => true,
            FileKind::Symlink => inode.sectors() > xattr_sectors,
            _ => false,
        }
    }
}

pub(super) fn check_free(slot: &Slot, path: &ImagePath) -> Result<(), Error> {
    if slot.inode.is_some() { Err(Error::Exists { path: path.to_string() }) } else { Ok(()) }
}
