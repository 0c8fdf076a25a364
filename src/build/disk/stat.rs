//! What is told of files and filesystems, of whichever kind they are.

use serde::Serialize;

use super::{FileKind, Timestamp};
use crate::image::{ext4, fat};

/// What vfat shows for everything: FAT has no modes and no owners.
const FAT_MODE: u16 = 0o755;

/// What is known of a file without its content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stat {
    /// What it is.
    pub kind: FileKind,
    /// The 12 permission bits; on FAT what a mount would show.
    pub mode: u16,
    /// The user it belongs to.
    pub uid: u32,
    /// The group it belongs to.
    pub gid: u32,
    /// Its length.
    pub len_bytes: u64,
    /// What it takes on the disk.
    pub allocated_bytes: u64,
    /// The numbers of a device: major, minor.
    pub device: Option<(u32, u32)>,
    /// How many names it has.
    pub links: u16,
    /// The number of its inode; FAT has none.
    pub inode: Option<u32>,
    /// When it was last read; FAT does not tell, so it is the next here.
    pub accessed: Timestamp,
    /// When its content last changed.
    pub modified: Timestamp,
    /// When anything of it last changed.
    pub changed: Timestamp,
}

/// A name in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Any bytes but `/` and NUL.
    pub name: Vec<u8>,
    /// What it stands for.
    pub stat: Stat,
    /// The text of a symlink.
    pub target: Option<Vec<u8>>,
}

/// How full a filesystem is. All lengths in bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Usage {
    /// The partition it is on; `None` for a bare filesystem.
    pub partition: Option<u32>,
    /// `ext4`, `FAT16` or `FAT32`.
    pub kind: &'static str,
    /// Where it is mounted.
    pub mounted_on: String,
    /// Its label.
    pub label: String,
    /// Its UUID, or the serial of a FAT.
    pub uuid: String,
    /// All of it; of a FAT what its clusters hold.
    pub len_bytes: u64,
    /// What is taken.
    pub used_bytes: u64,
    /// What is free, what is kept for root included.
    pub free_bytes: u64,
    /// How many inodes there are; FAT has none.
    pub inodes: Option<u32>,
    /// How many of them are free.
    pub free_inodes: Option<u32>,
}

impl Stat {
    pub(in crate::build) fn of_ext4(stat: &ext4::Stat) -> Self {
        Self {
            kind: stat.kind,
            mode: stat.mode,
            uid: stat.uid,
            gid: stat.gid,
            len_bytes: stat.len_bytes,
            allocated_bytes: stat.allocated_bytes,
            device: stat.device,
            links: stat.links,
            inode: Some(stat.inode),
            accessed: stat.accessed,
            modified: stat.modified,
            changed: stat.changed,
        }
    }

    pub(in crate::build) fn of_fat(entry: &fat::Entry, allocated_bytes: u64) -> Self {
        let time = Timestamp { seconds: entry.modified_seconds, nanoseconds: 0 };
        Self {
            kind: if entry.is_dir { FileKind::Directory } else { FileKind::Regular },
            mode: FAT_MODE,
            uid: 0,
            gid: 0,
            len_bytes: entry.len_bytes,
            allocated_bytes,
            device: None,
            links: 1,
            inode: None,
            accessed: time,
            modified: time,
            changed: time,
        }
    }
}
