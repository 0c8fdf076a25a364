//! ext4: an editor, not a driver. The filesystem is opened alone and offline, edits are decided in memory, and
//! [`Filesystem::commit`] lays them down.
//!
//! ```text
//! edit.rs, identity.rs   what can be done: write, mkdir, link, rename, remove, owner, times, UUID, label
//! node.rs                devices, named pipes, sockets
//! attributes.rs          extended attributes, mode         ─ acl.rs
//! lookup.rs, restore.rs  read and changed by inode, not by path
//! make.rs                a new filesystem
//! grow.rs                a longer filesystem            ─ resize_inode.rs
//! recover.rs             what an unclean end left behind ─ journal.rs, orphan.rs
//! space.rs               what is kept for root, what is in use, zeros in what is not
//! check.rs               is all of it sound?            ─ check/, which shares hardly more than the checksums
//! path.rs                paths, with symlinks inside the image ─ lookup.rs, by_inode.rs: by number
//! directory.rs           directories as files of entries    ─ dir.rs (one block), htree.rs (the index), hash.rs
//! file.rs, xattr.rs      content, extended attributes
//! mapping.rs             which blocks a file has            ─ extent.rs, block_map.rs
//! alloc.rs, bitmap.rs    taking and giving back
//! store.rs               metadata as values, undo, commit   ─ superblock.rs, group.rs, inode.rs, checksum.rs
//! features.rs, settled.rs    the gates for writing and for reading
//! describe.rs            what a superblock says, whether it can be believed or not
//! ```
//!
//! - All integers on disk are little-endian. A block has 1, 2 or 4 KiB; the superblock lies at byte 1024, the group
//!   descriptors in the block after it, everything else where a descriptor, an inode or a tree says.
//! - [`Filesystem::open`] is the gate: features, state and checksums decide whether there is an editor at all. What
//!   is read later is compared with its checksum and with the bounds of the filesystem.
//! - An edit is done whole or not at all: what fails half-way is taken back, and where that is impossible (the device
//!   fails while content is written) the filesystem takes no more edits.
//! - The same edits on the same filesystem give the same bytes; the host's clock is never asked
//!   ([`Filesystem::set_clock`]).
//!
//! Spec: Linux `Documentation/filesystems/ext4`. Oracle: `e2fsck -fn`. Left out: writing through the journal (a clean one
//! is empty and stays so), quota, encryption, inline data, big clusters and the rest of what [`Error::Unsupported`] names;
//! shrinking; copies of superblock and descriptors, but for another UUID, label or length.

mod acl;
mod alloc;
mod attributes;
mod bitmap;
mod block_map;
mod by_inode;
mod bytes;
mod check;
mod checksum;
mod describe;
mod dir;
mod directory;
mod edit;
mod error;
mod extent;
mod features;
mod file;
mod group;
mod grow;
mod hash;
mod htree;
mod identity;
mod inode;
mod journal;
mod lookup;
mod make;
mod mapping;
mod node;
mod orphan;
mod owners;
mod path;
mod recover;
mod resize_inode;
mod restore;
mod settled;
mod space;
mod store;
mod superblock;
#[cfg(test)]
mod tests;
mod xattr;

pub use attributes::Xattr;
pub use by_inode::{DataRun, Footprint};
pub use check::{Report, check};
pub use describe::{Described, State, describe};
pub use error::{Corrupt, Error, Refusal};
pub use features::FeatureNames;
pub use inode::{FileKind, Timestamp};
pub use lookup::Content;
pub use make::{MakeOptions, make};
pub use node::NodeKind;
pub use recover::{Recovered, recover};
pub use restore::Attributes;

use crate::base::ImagePath;
use crate::block::Device;
use store::Store;

/// A filesystem open for reading and editing. Content is written at once, metadata by [`Self::commit`]: what must be
/// able to go back wants an overlay as the device.
pub struct Filesystem<'d> {
    store: Store<'d>,
    clock: Timestamp,
    /// The copies of the superblock are to be rewritten too.
    backups: bool,
    poisoned: bool,
}

/// What is known of a file without its content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stat {
    /// The number of its inode.
    pub inode: u32,
    /// What it is.
    pub kind: FileKind,
    /// The 12 permission bits.
    pub mode: u16,
    /// The user it belongs to.
    pub uid: u32,
    /// The group it belongs to.
    pub gid: u32,
    /// Its length; of a symlink that of its target.
    pub len_bytes: u64,
    /// What it takes on the device, its extents and extended attributes included.
    pub allocated_bytes: u64,
    /// Of a device its number, major and minor.
    pub device: Option<(u32, u32)>,
    /// How many names it has; of a directory 2 and its subdirectories, or 1 when they are too many to count.
    pub links: u16,
    /// When it was last read.
    pub accessed: Timestamp,
    /// When its content last changed.
    pub modified: Timestamp,
    /// When its inode last changed.
    pub changed: Timestamp,
}

/// A name in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirEntry {
    /// Any bytes but `/` and NUL.
    pub name: Vec<u8>,
    /// The number of the inode it stands for.
    pub inode: u32,
    /// What that is.
    pub kind: FileKind,
}

/// What a new file or directory gets; ignored for what exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NewAttributes {
    /// The 12 permission bits. In a directory with a default access control list only what that allows is given.
    pub mode: u16,
    /// The user it belongs to.
    pub uid: u32,
    /// The group it belongs to.
    pub gid: u32,
}

impl<'d> Filesystem<'d> {
    /// Opens the filesystem that fills `device`, or as much of it as it says.
    ///
    /// # Errors
    /// [`Error::NotExt4`]; [`Error::Unsupported`] with the names of features that cannot be written;
    /// [`Error::Refused`] when it was not unmounted cleanly; [`Error::Corrupt`].
    pub fn open(device: &'d dyn Device) -> Result<Self, Error> {
        Store::open(device).map(Self::with)
    }

    /// Opens whatever can be read without being misread, whether it can be edited or not: an unclean state, features
    /// that only writers need to know, and those that mark the files they concern, which are refused one by one. Each
    /// edit gives the error that [`Self::open`] would have given.
    ///
    /// # Errors
    /// [`Error::NotExt4`]; [`Error::Unsupported`] with the names of features that change what everything means;
    /// [`Error::Refused`] when the journal holds changes that are not in place, or another host may be writing;
    /// [`Error::Corrupt`].
    pub fn open_to_read(device: &'d dyn Device) -> Result<Self, Error> {
        Store::open_to_read(device).map(Self::with)
    }

    fn with(store: Store<'d>) -> Self {
        let clock = Timestamp { seconds: store.superblock.write_time(), nanoseconds: 0 };
        Self { store, clock, backups: false, poisoned: false }
    }

    /// The UUID.
    #[must_use]
    pub fn uuid(&self) -> [u8; 16] {
        self.store.superblock.uuid()
    }

    /// The label; what is not UTF-8 in it is replaced.
    #[must_use]
    pub fn label(&self) -> String {
        self.store.superblock.label()
    }

    /// The length of a block in bytes.
    #[must_use]
    pub fn block_len(&self) -> u32 {
        u32::try_from(self.store.block_len()).unwrap_or(u32::MAX)
    }

    /// How many blocks there are.
    #[must_use]
    pub fn len_blocks(&self) -> u64 {
        self.store.superblock.blocks_count
    }

    /// How many blocks are free, those kept for root included.
    #[must_use]
    pub fn free_blocks(&self) -> u64 {
        self.store.superblock.free_blocks().saturating_mul(self.store.superblock.cluster_blocks())
    }

    /// How many inodes are free.
    #[must_use]
    pub fn free_inodes(&self) -> u32 {
        self.store.superblock.free_inodes()
    }

    /// When the filesystem was last written, in seconds since 1970.
    #[must_use]
    pub fn write_time(&self) -> i64 {
        self.store.superblock.write_time()
    }

    /// The time given to what is created or changed from now on. At first it is [`Self::write_time`].
    pub fn set_clock(&mut self, now: Timestamp) {
        self.clock = now;
    }

    /// `path` with every symlink on the way resolved inside the image, the last one too if `follow_last` says so.
    /// What does not exist is kept as it is written.
    ///
    /// # Errors
    /// [`Error::SymlinkLoop`], [`Error::NotADirectory`] on the way, [`Error::UnusablePath`], or the image's faults.
    pub fn canonical(&self, path: &ImagePath, follow_last: bool) -> Result<ImagePath, Error> {
        self.store.walk(path, follow_last)?.path(path)
    }

    /// Whether there is something at `path`. A symlink that leads nowhere exists only unfollowed.
    ///
    /// # Errors
    /// As for [`Self::canonical`].
    pub fn exists(&self, path: &ImagePath, follow_last: bool) -> Result<bool, Error> {
        Ok(self.store.walk(path, follow_last)?.inode().is_some())
    }

    /// What is at `path`.
    ///
    /// # Errors
    /// [`Error::NotFound`], or as for [`Self::canonical`].
    pub fn stat(&self, path: &ImagePath, follow_last: bool) -> Result<Stat, Error> {
        self.to_stat(&self.store.locate(path, follow_last)?)
    }

    /// All of the regular file at `path`; symlinks are followed.
    ///
    /// # Errors
    /// [`Error::TooLong`] past `limit_bytes`, [`Error::NotFound`], [`Error::IsADirectory`], [`Error::WrongKind`], or
    /// as for [`Self::canonical`].
    pub fn read_file(&self, path: &ImagePath, limit_bytes: u64) -> Result<Vec<u8>, Error> {
        let inode = self.store.locate(path, true)?;
        edit::check_regular(&inode, path)?;
        let len_bytes = inode.size();
        if len_bytes > limit_bytes {
            return Err(Error::TooLong { path: path.to_string(), len_bytes, limit_bytes });
        }
        self.store.read_content(&inode)
    }

    /// Fills `buf` with the content of the regular file at `path` from byte `offset` on; gives how many bytes there
    /// were, fewer than asked for only at the end of the file. Symlinks are followed.
    ///
    /// # Errors
    /// As for [`Self::read_file`], but never [`Error::TooLong`].
    pub fn read_at(&self, path: &ImagePath, offset: u64, buf: &mut [u8]) -> Result<usize, Error> {
        let inode = self.store.locate(path, true)?;
        edit::check_regular(&inode, path)?;
        self.store.read_part(&inode, offset, buf)
    }

    /// The text of the symlink at `path`.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::WrongKind`], or as for [`Self::canonical`].
    pub fn read_link(&self, path: &ImagePath) -> Result<Vec<u8>, Error> {
        let inode = self.store.locate(path, false)?;
        let found = inode.kind()?;
        if found != FileKind::Symlink {
            return Err(Error::WrongKind { path: path.to_string(), found, wanted: FileKind::Symlink });
        }
        self.store.read_link(&inode)
    }

    /// The names in the directory at `path`, without `.` and `..`, in no order; symlinks are followed.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::NotADirectory`], or as for [`Self::canonical`].
    pub fn read_dir(&self, path: &ImagePath) -> Result<Vec<DirEntry>, Error> {
        let inode = self.store.locate(path, true)?;
        if !inode.is_directory() {
            return Err(Error::NotADirectory { path: path.to_string() });
        }
        self.names_in(&inode)
    }

    /// Lays all edits down; the filesystem stays usable. Writes nothing when nothing was edited.
    ///
    /// # Errors
    /// [`Error::Poisoned`]; [`Error::Device`], after which the device holds part of the edits.
    pub fn commit(&mut self) -> Result<(), Error> {
        if self.poisoned {
            return Err(Error::Poisoned);
        }
        if !self.store.is_dirty() {
            return Ok(());
        }
        self.store.begin();
        self.store.superblock_mut().set_write_time(self.clock.seconds);
        self.poisoned = true;
        self.store.commit(self.backups)?;
        self.poisoned = false;
        self.backups = false;
        Ok(())
    }
}
