//! Windows: the physical drive, shared with readers only. Never run on Windows.
//!
//! Nobody else can open it for writing then. Filesystems do not open a drive, they write all the same; that there is none
//! on it was looked for ([`crate::sink::disks`]), and is looked for again once it is open.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::windows::fs::OpenOptionsExt as _;

use super::{Disk, Error};

// winnt.h, winbase.h
const FILE_SHARE_READ: u32 = 0x1;
const FILE_FLAG_NO_BUFFERING: u32 = 0x2000_0000;
const FILE_FLAG_WRITE_THROUGH: u32 = 0x8000_0000;
// winerror.h
const ERROR_NOT_READY: i32 = 21;
const ERROR_SHARING_VIOLATION: i32 = 32;
const ERROR_LOCK_VIOLATION: i32 = 33;
const ERROR_BUSY: i32 = 170;

/// For us alone to write, or not at all. Without readers Windows could not list its disks, which the second look needs.
pub(super) fn open(disk: &Disk) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).share_mode(FILE_SHARE_READ);
    options.custom_flags(FILE_FLAG_NO_BUFFERING | FILE_FLAG_WRITE_THROUGH).open(&disk.path)
}

/// A handle does not tell its disk without unsafe code. It stays with the device it was opened for, so the look that
/// follows would find another disk under the same number.
#[allow(clippy::unnecessary_wraps, reason = "other systems can tell")]
pub(super) fn check_open(_file: &File, _disk: &Disk) -> Result<(), Error> {
    Ok(())
}

pub(super) fn block_len(_file: &File, disk: &Disk) -> io::Result<u32> {
    disk.block_len.ok_or_else(|| io::Error::other("`Get-Disk` does not tell it"))
}

pub(super) fn sync(file: &File) -> io::Result<()> {
    file.sync_all()
}

pub(super) fn is_busy(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(ERROR_SHARING_VIOLATION | ERROR_LOCK_VIOLATION | ERROR_BUSY))
}

pub(super) fn is_no_medium(error: &io::Error) -> bool {
    error.raw_os_error() == Some(ERROR_NOT_READY)
}
