//! Linux: `O_EXCL` on the whole disk, past the page cache.

use std::fs::File;
use std::io;
use std::io::Seek as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};

use super::{Disk, Error};

/// For us alone: the kernel refuses while the disk or a partition is mounted or in use, and to others from then on.
pub(super) fn open(disk: &Disk) -> io::Result<File> {
    use rustix::fs::{Mode, OFlags};
    let flags = OFlags::RDWR | OFlags::EXCL | OFlags::DIRECT | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    Ok(File::from(rustix::fs::open(&disk.path, flags, Mode::empty())?))
}

/// What is open must be what was looked at, whatever its name led to a moment ago.
pub(super) fn check_open(file: &File, disk: &Disk) -> Result<(), Error> {
    let path = &disk.path;
    let failed = |action| move |source| Error::Io { action, path: path.clone(), source };
    let metadata = file.metadata().map_err(failed("look at"))?;
    let number = (rustix::fs::major(metadata.rdev()), rustix::fs::minor(metadata.rdev()));
    let told = |(major, minor), len_bytes| format!("block device {major}:{minor} with {len_bytes} bytes");
    let mut end = file;
    let len_bytes = end.seek(io::SeekFrom::End(0)).map_err(failed("ask the length of"))?;
    if metadata.file_type().is_block_device() && number == disk.number && len_bytes == disk.len_bytes {
        return Ok(());
    }
    let found =
        if metadata.file_type().is_block_device() { told(number, len_bytes) } else { "a file".into() };
    Err(Error::Changed { path: path.clone(), found, wanted: told(disk.number, disk.len_bytes) })
}

pub(super) fn block_len(file: &File, _disk: &Disk) -> io::Result<u32> {
    Ok(rustix::fs::ioctl_blksszget(file)?)
}

pub(super) fn sync(file: &File) -> io::Result<()> {
    file.sync_all()
}

pub(super) fn is_busy(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::ResourceBusy
}

pub(super) fn is_no_medium(error: &io::Error) -> bool {
    rustix::io::Errno::from_io_error(error) == Some(rustix::io::Errno::NOMEDIUM)
}
