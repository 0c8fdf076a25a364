//! What differs between systems: holes, shared blocks, free space. Linux first; elsewhere the plain way.

use std::fs::File;
use std::io;
use std::path::Path;

/// A run of bytes that is not a hole.
pub(super) struct Data {
    pub(super) start: u64,
    pub(super) end: u64,
}

/// The next data of `file` at or after `from`; `None` when only a hole is left. A system without holes says that
/// everything is data.
#[cfg(unix)]
pub(super) fn next_data(file: &File, from: u64, len: u64) -> io::Result<Option<Data>> {
    use rustix::fs::{SeekFrom, seek};
    use rustix::io::Errno;
    if from >= len {
        return Ok(None);
    }
    let start = match seek(file, SeekFrom::Data(from)) {
        Ok(start) => start,
        Err(Errno::NXIO) => return Ok(None),
        Err(Errno::INVAL | Errno::OPNOTSUPP) => return Ok(Some(Data { start: from, end: len })),
        Err(error) => return Err(error.into()),
    };
    let end = seek(file, SeekFrom::Hole(start))?.min(len);
    Ok((start < end).then_some(Data { start, end }))
}

#[cfg(not(unix))]
pub(super) fn next_data(_file: &File, from: u64, len: u64) -> io::Result<Option<Data>> {
    Ok((from < len).then_some(Data { start: from, end: len }))
}

/// Copies up to `len` bytes at the same place of another file inside the kernel; how many it was. An error may
/// just mean that these two filesystems cannot.
#[cfg(target_os = "linux")]
pub(super) fn copy_range(from: &File, to: &File, at: u64, len: u64) -> io::Result<u64> {
    let (mut read_at, mut write_at) = (at, at);
    let len = usize::try_from(len).unwrap_or(usize::MAX);
    let count = rustix::fs::copy_file_range(from, Some(&mut read_at), to, Some(&mut write_at), len)?;
    Ok(count as u64)
}

#[cfg(not(target_os = "linux"))]
pub(super) fn copy_range(_from: &File, _to: &File, _at: u64, _len: u64) -> io::Result<u64> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Makes `to` share all blocks of `from`; `false` when this filesystem cannot.
#[cfg(target_os = "linux")]
pub(super) fn reflink(from: &File, to: &File) -> bool {
    rustix::fs::ioctl_ficlone(to, from).is_ok()
}

#[cfg(not(target_os = "linux"))]
pub(super) fn reflink(from: &File, to: &File) -> bool {
    reflink_copy::reflink_file(from, to).is_ok()
}

/// The bytes an ordinary user may still write below `dir`; `None` when the system does not say.
#[cfg(unix)]
pub(super) fn free_bytes(dir: &Path) -> Option<u64> {
    let stat = rustix::fs::statvfs(dir).ok()?;
    stat.f_bavail.checked_mul(stat.f_frsize)
}

#[cfg(not(unix))]
pub(super) fn free_bytes(_dir: &Path) -> Option<u64> {
    None
}

/// Permission bits, where there are any.
#[cfg(unix)]
pub(super) fn set_mode(file: &File, mode: u32) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    file.set_permissions(std::fs::Permissions::from_mode(mode))
}

#[cfg(not(unix))]
pub(super) fn set_mode(_file: &File, _mode: u32) -> io::Result<()> {
    Ok(())
}

/// Writes all of `bytes` at `offset`, wherever the file's position is.
#[cfg(unix)]
pub(super) fn write_all_at(file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::write_all_at(file, bytes, offset)
}

#[cfg(windows)]
pub(super) fn write_all_at(file: &File, mut bytes: &[u8], mut offset: u64) -> io::Result<()> {
    while !bytes.is_empty() {
        let count = std::os::windows::fs::FileExt::seek_write(file, bytes, offset)?;
        bytes = &bytes[count..];
        offset += count as u64;
    }
    Ok(())
}

/// Fills `buf` from `offset`, wherever the file's position is.
#[cfg(unix)]
pub(super) fn read_exact_at(file: &File, buf: &mut [u8], offset: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, buf, offset)
}

#[cfg(windows)]
pub(super) fn read_exact_at(file: &File, mut buf: &mut [u8], mut offset: u64) -> io::Result<()> {
    while !buf.is_empty() {
        let count = std::os::windows::fs::FileExt::seek_read(file, buf, offset)?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        buf = &mut buf[count..];
        offset += count as u64;
    }
    Ok(())
}

/// Makes a rename in `dir` last. Not everywhere can a directory be synced; where not, the rename lasts anyway.
pub(super) fn sync_dir(dir: &Path) {
    if cfg!(unix)
        && let Ok(dir) = File::open(dir)
    {
        let _ = dir.sync_all();
    }
}
