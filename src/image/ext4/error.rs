//! Why an ext4 filesystem could not be read or edited, sorted by what the reader would do next.

use std::fmt;

use super::dir::DirError;
use super::features::FeatureNames;
use crate::block;

/// What went wrong. Paths are text because a path on disk need not be one that this program would accept.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The device failed.
    #[error("cannot reach filesystem block {block}")]
    Device {
        /// Which block.
        block: u64,
        /// What the device said.
        #[source]
        source: block::Error,
    },
    /// There is no ext4 filesystem here.
    #[error("not an ext4 filesystem: magic number is {magic:#06x}, wanted 0xef53")]
    NotExt4 {
        /// What is there instead.
        magic: u16,
    },
    /// The bytes contradict themselves or the format.
    #[error("corrupt ext4: {0}")]
    Corrupt(Corrupt),
    /// Sound, but with features that this editor does not write.
    #[error("unsupported ext4 feature: {0}")]
    Unsupported(FeatureNames),
    /// Sound as far as can be seen, but not safe to edit as it is.
    #[error("cannot edit this ext4 filesystem: {0}")]
    Refused(Refusal),
    /// No such file or directory.
    #[error("`{path}` does not exist")]
    NotFound {
        /// Where.
        path: String,
    },
    /// Something is there already.
    #[error("`{path}` already exists")]
    Exists {
        /// Where.
        path: String,
    },
    /// Something on the way, or at the end, is no directory.
    #[error("`{path}` is not a directory")]
    NotADirectory {
        /// Where.
        path: String,
    },
    /// A directory where a file or link is wanted.
    #[error("`{path}` is a directory")]
    IsADirectory {
        /// Where.
        path: String,
    },
    /// Neither a regular file nor what else was wanted.
    #[error("`{path}` is a {found}, wanted a {wanted}")]
    WrongKind {
        /// Where.
        path: String,
        /// What is there.
        found: super::FileKind,
        /// What was wanted.
        wanted: super::FileKind,
    },
    /// A directory that still holds something.
    #[error("directory `{path}` is not empty")]
    NotEmpty {
        /// Where.
        path: String,
    },
    /// Symlinks without end.
    #[error("`{path}` leads through more than {limit} symlinks")]
    SymlinkLoop {
        /// Where it began.
        path: String,
        /// How many are followed.
        limit: usize,
    },
    /// A symlink leads to a name that this program does not write.
    #[error("`{path}` leads to `{target}`, which is not a usable path")]
    UnusablePath {
        /// Where it began.
        path: String,
        /// Where it leads, made printable.
        target: String,
    },
    /// The root directory cannot be removed, replaced or moved.
    #[error("`/` can be neither removed nor replaced")]
    IsRoot,
    /// A directory cannot be moved below itself.
    #[error("`{from}` cannot be moved to `{to}`, which is below it")]
    IntoItself {
        /// What was to be moved.
        from: String,
        /// Where to.
        to: String,
    },
    /// Not enough free blocks. Nothing of the edit was done.
    #[error("no space left: {needed_blocks} blocks needed, {free_blocks} free")]
    NoSpace {
        /// How many blocks the edit still needed.
        needed_blocks: u64,
        /// How many were free.
        free_blocks: u64,
    },
    /// Every inode is in use. Nothing of the edit was done.
    #[error("no inodes left: all {inodes} are in use")]
    NoInodes {
        /// How many there are.
        inodes: u32,
    },
    /// One more link or subdirectory than the format allows.
    #[error("`{path}` has {links} links, and can have no more")]
    TooManyLinks {
        /// Where.
        path: String,
        /// How many it has.
        links: u16,
    },
    /// The file is longer than the caller wants to read.
    #[error("`{path}` has {len_bytes} bytes, more than the {limit_bytes} to be read")]
    TooLong {
        /// Where.
        path: String,
        /// How long it is.
        len_bytes: u64,
        /// How much was allowed.
        limit_bytes: u64,
    },
    /// The file would be longer than this filesystem can hold in one file.
    #[error("a file of {len_bytes} bytes does not fit this filesystem, whose longest has {limit_bytes}")]
    FileTooLarge {
        /// How long it would be.
        len_bytes: u64,
        /// The longest.
        limit_bytes: u64,
    },
    /// The text does not fit where it is stored.
    #[error("{what} of {len_bytes} bytes: 1 to {limit_bytes} are possible")]
    BadLength {
        /// Which text.
        what: &'static str,
        /// How long it is.
        len_bytes: usize,
        /// The longest.
        limit_bytes: usize,
    },
    /// No name of an extended attribute, or one with a prefix that cannot be set here.
    #[error(
        "`{name}` is no name for an extended attribute: wanted user., trusted. or security. and up to 255 bytes in all, system.posix_acl_access or system.posix_acl_default"
    )]
    XattrName {
        /// What was asked for, made printable.
        name: String,
    },
    /// The file does not have that extended attribute.
    #[error("`{path}` has no extended attribute `{name}`")]
    NoXattr {
        /// Where.
        path: String,
        /// Which, made printable.
        name: String,
    },
    /// The extended attribute does not fit beside the others.
    #[error(
        "no room for extended attribute `{name}` of {len_bytes} bytes: all of a file's share its inode and one block of {block_len}"
    )]
    XattrRoom {
        /// Which, made printable.
        name: String,
        /// How long its value is.
        len_bytes: usize,
        /// The length of a block in bytes.
        block_len: usize,
    },
    /// The bytes that were to be an access control list are none.
    #[error("not an access control list: {reason}")]
    BadAcl {
        /// What is wrong.
        reason: &'static str,
    },
    /// What was to become the content of a file could not be read. The edit was taken back.
    #[error("cannot read the new content past {read_bytes} of {len_bytes} bytes")]
    Content {
        /// How much was read.
        read_bytes: u64,
        /// How much there should have been.
        len_bytes: u64,
        /// What the reader said; `UnexpectedEof` when it ended.
        #[source]
        source: std::io::Error,
    },
    /// A device number that does not fit: 12 bits of major, 20 bits of minor.
    #[error("device number {major}:{minor} is too large: up to 4095:1048575 are possible")]
    DeviceNumber {
        /// Which driver.
        major: u32,
        /// Which of its devices.
        minor: u32,
    },
    /// More blocks for root alone than half of them.
    #[error("cannot keep {blocks} blocks for root, only {limit_blocks}")]
    TooManyReserved {
        /// How many were to be kept.
        blocks: u64,
        /// How many can be.
        limit_blocks: u64,
    },
    /// The directory has more names than its index can hold.
    #[error(
        "directory is full: its names take {needed_blocks} blocks, its index has room for {limit_blocks}"
    )]
    DirectoryFull {
        /// How many blocks of names there would be.
        needed_blocks: usize,
        /// How many there can be.
        limit_blocks: usize,
    },
    /// A filesystem that was to become shorter.
    #[error("has {blocks} blocks, cannot shrink to {wanted_blocks}")]
    Shrink {
        /// How many blocks it has.
        blocks: u64,
        /// How many it was to have.
        wanted_blocks: u64,
    },
    /// A length that this filesystem cannot grow to.
    #[error("cannot grow to {wanted_blocks} blocks, only to {limit_blocks}: {reason}")]
    GrowLimit {
        /// How many blocks it was to have.
        wanted_blocks: u64,
        /// How many it can have.
        limit_blocks: u64,
        /// Why no more.
        reason: &'static str,
    },
    /// No filesystem can be made like this.
    #[error("cannot make a filesystem of {len_bytes} bytes: {reason}")]
    Unmakeable {
        /// How long it would be.
        len_bytes: u64,
        /// Why not.
        reason: &'static str,
    },
    /// An earlier edit failed half-way; what is held in memory must not be laid down.
    #[error("an earlier edit of this filesystem failed half-way, so it can no longer be edited")]
    Poisoned,
}

/// Why a filesystem, or a file in it, is left alone.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The journal holds changes that are not in place yet.
    #[error("its journal needs recovery (it was not unmounted cleanly)")]
    NeedsRecovery,
    /// The state word lacks the clean bit.
    #[error("it was not unmounted cleanly (state {state:#06x})")]
    Unclean {
        /// `s_state`.
        state: u16,
    },
    /// The kernel found errors in it.
    #[error("it is marked as having errors (state {state:#06x})")]
    HasErrors {
        /// `s_state`.
        state: u16,
    },
    /// Files deleted while open are still to be freed.
    #[error("it has orphaned inodes to clean up")]
    Orphans,
    /// The journal ends in fast commits, which are not replayed here.
    #[error("its journal holds fast commits, which only the kernel and e2fsck replay")]
    FastCommits,
    /// The journal is not in the filesystem.
    #[error("its journal is on another device")]
    ExternalJournal,
    /// Another host may be writing to it at this moment.
    #[error("another host has it in use (mmp sequence {sequence:#010x})")]
    InUse {
        /// `mmp_seq`.
        sequence: u32,
    },
    /// The UUID is part of how names are encrypted.
    #[error("feature stable_inodes forbids another UUID")]
    StableInodes,
    /// The inode has a flag that forbids the edit, or that is not understood.
    #[error("inode {inode} has the flag `{flag}`")]
    InodeFlag {
        /// Which inode.
        inode: u32,
        /// Which flag, as `lsattr` or `debugfs` call it.
        flag: &'static str,
    },
}

/// What exactly is corrupt. Opaque outside, exact inside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Corrupt(String);

impl Corrupt {
    /// Says what is wrong, found before wanted.
    pub(super) fn new(what: impl Into<String>) -> Self {
        Self(what.into())
    }
}

impl fmt::Display for Corrupt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<DirError> for Error {
    fn from(error: DirError) -> Self {
        match error {
            DirError::TooLarge { leaves, most } => {
                Self::DirectoryFull { needed_blocks: leaves, limit_blocks: most }
            }
            error => corrupt(format!("directory: {error}")),
        }
    }
}

/// A [`Error::Corrupt`] that says this.
pub(super) fn corrupt(what: impl Into<String>) -> Error {
    Error::Corrupt(Corrupt::new(what))
}
