//! What differs between systems: shared blocks, copies inside the kernel, permission bits. Linux first; elsewhere the plain way.

use std::fs::File;
use std::io;

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

/// Lets the disk begin with what was just written, instead of all at once when the file is synced: copying and
/// writing then overlap. On Linux this advice starts the writing and keeps nothing in memory.
#[cfg(target_os = "linux")]
pub(super) fn start_writing(file: &File, offset: u64, len: u64) {
    let len = std::num::NonZeroU64::new(len);
    // Advice: where it is not taken, the sync takes longer.
    let _ = rustix::fs::fadvise(file, offset, len, rustix::fs::Advice::DontNeed);
}

#[cfg(not(target_os = "linux"))]
pub(super) fn start_writing(_file: &File, _offset: u64, _len: u64) {}

/// Makes `to` share all blocks of `from`; `false` when this filesystem cannot.
#[cfg(target_os = "linux")]
pub(super) fn reflink(from: &File, to: &File) -> bool {
    rustix::fs::ioctl_ficlone(to, from).is_ok()
}

#[cfg(not(target_os = "linux"))]
pub(super) fn reflink(from: &File, to: &File) -> bool {
    reflink_copy::reflink_file(from, to).is_ok()
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
