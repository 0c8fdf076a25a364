//! macOS: the raw node of the whole disk, locked. Never run on a Mac.
//!
//! A raw node passes by the buffer cache by itself. `O_EXLOCK` on a disk's node is the exclusive access of the storage
//! drivers (IOMediaBSDClient's `dkopen`, IOStorage.h): it is refused while the disk or a partition is open elsewhere,
//! mounted ones among them, and refuses all others from then on.

use std::fs::File;
use std::io;

use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;

use super::{Disk, Error};
use crate::sink::disks::raw_node;

/// `sys/fcntl.h`
const O_EXLOCK: u32 = 0x20;

/// For us alone, or not at all.
pub(super) fn open(disk: &Disk) -> io::Result<File> {
    // Who holds the lock is not waited for.
    let flags = OFlags::RDWR | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let flags = flags | OFlags::from_bits_retain(O_EXLOCK);
    let file = File::from(rustix::fs::open(raw_node(disk), flags, Mode::empty())?);
    rustix::fs::fcntl_setfl(&file, OFlags::empty())?;
    Ok(file)
}

/// What is open must be what was looked at, whatever its name led to a moment ago.
pub(super) fn check_open(file: &File, disk: &Disk) -> Result<(), Error> {
    let path = &disk.path;
    let failed = |source| Error::Io { action: "look at", path: path.clone(), source };
    let node = rustix::fs::fstat(file).map_err(|error| failed(error.into()))?;
    let number = (rustix::fs::major(node.st_rdev), rustix::fs::minor(node.st_rdev));
    if FileType::from_raw_mode(node.st_mode) == FileType::CharacterDevice && number == disk.number {
        return Ok(());
    }
    let told = |(major, minor)| format!("device {major}:{minor}");
    Err(Error::Changed { path: path.clone(), found: told(number), wanted: told(disk.number) })
}

pub(super) fn block_len(_file: &File, disk: &Disk) -> io::Result<u32> {
    disk.block_len.ok_or_else(|| io::Error::other("`diskutil info` does not tell it"))
}

/// A disk's node may not know `F_FULLFSYNC`, by which `sync_all` asks for the medium; what was written to a raw node has
/// at least reached the device.
pub(super) fn sync(file: &File) -> io::Result<()> {
    let Err(error) = file.sync_all() else { return Ok(()) };
    match Errno::from_io_error(&error) {
        Some(Errno::NOTTY | Errno::NOTSUP | Errno::INVAL) => Ok(rustix::fs::fsync(file)?),
        _ => Err(error),
    }
}

pub(super) fn is_busy(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ResourceBusy | io::ErrorKind::WouldBlock)
}

pub(super) fn is_no_medium(error: &io::Error) -> bool {
    Errno::from_io_error(error) == Some(Errno::NXIO)
}
