//! Files of the host as numbered bytes: reading and writing at an offset, holes, room. Where systems differ, this is
//! the place; those that know no holes see everything as data.

use std::fs::File;
use std::io;
use std::path::Path;

use super::Extent;

/// Fills `buf` from `offset`, wherever the file's position is.
///
/// # Errors
/// What the system says; `UnexpectedEof` when the file ends before.
#[cfg(unix)]
pub fn read_exact_at(file: &File, buf: &mut [u8], offset: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, buf, offset)
}

/// Fills `buf` from `offset`, wherever the file's position is.
///
/// # Errors
/// What the system says; `UnexpectedEof` when the file ends before.
#[cfg(windows)]
pub fn read_exact_at(file: &File, mut buf: &mut [u8], mut offset: u64) -> io::Result<()> {
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

/// Reads what there is at `offset`, wherever the file's position is; 0 at the end.
///
/// # Errors
/// What the system says.
#[cfg(unix)]
pub fn read_some_at(file: &File, buf: &mut [u8], offset: u64) -> io::Result<usize> {
    std::os::unix::fs::FileExt::read_at(file, buf, offset)
}

/// Reads what there is at `offset`, wherever the file's position is; 0 at the end.
///
/// # Errors
/// What the system says.
#[cfg(windows)]
pub fn read_some_at(file: &File, buf: &mut [u8], offset: u64) -> io::Result<usize> {
    std::os::windows::fs::FileExt::seek_read(file, buf, offset)
}

/// Writes all of `bytes` at `offset`, wherever the file's position is.
///
/// # Errors
/// What the system says.
#[cfg(unix)]
pub fn write_all_at(file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::write_all_at(file, bytes, offset)
}

/// Writes all of `bytes` at `offset`, wherever the file's position is.
///
/// # Errors
/// What the system says.
#[cfg(windows)]
pub fn write_all_at(file: &File, mut bytes: &[u8], mut offset: u64) -> io::Result<()> {
    while !bytes.is_empty() {
        let count = std::os::windows::fs::FileExt::seek_write(file, bytes, offset)?;
        bytes = &bytes[count..];
        offset += count as u64;
    }
    Ok(())
}

/// The runs of the first `len_bytes` of `file` that are not holes, ascending.
///
/// # Errors
/// What the system says.
#[cfg(unix)]
pub fn data_extents(file: &File, len_bytes: u64) -> io::Result<Vec<Extent>> {
    use rustix::fs::{SeekFrom, seek};
    use rustix::io::Errno;
    let mut extents = Vec::new();
    let mut from = 0;
    while from < len_bytes {
        let offset = match seek(file, SeekFrom::Data(from)) {
            Ok(offset) => offset,
            Err(Errno::NXIO) => break,
            Err(Errno::INVAL | Errno::OPNOTSUPP) => return Ok(vec![Extent { offset: 0, len_bytes }]),
            Err(error) => return Err(error.into()),
        };
        let end = seek(file, SeekFrom::Hole(offset))?.min(len_bytes);
        if end <= offset {
            break;
        }
        extents.push(Extent { offset, len_bytes: end - offset });
        from = end;
    }
    Ok(extents)
}

/// The runs of the first `len_bytes` of `file` that are not holes: all, as this system tells none.
///
/// # Errors
/// None.
#[cfg(not(unix))]
pub fn data_extents(_file: &File, len_bytes: u64) -> io::Result<Vec<Extent>> {
    Ok(if len_bytes == 0 { Vec::new() } else { vec![Extent { offset: 0, len_bytes }] })
}

/// Is `[offset, offset + len_bytes)`, which is inside the file, surely all hole, and so zero?
#[cfg(unix)]
#[must_use]
pub fn is_hole(file: &File, offset: u64, len_bytes: u64) -> bool {
    use rustix::fs::{SeekFrom, seek};
    match seek(file, SeekFrom::Data(offset)) {
        Ok(data) => data >= offset.saturating_add(len_bytes),
        // No data up to the end.
        Err(error) => error == rustix::io::Errno::NXIO,
    }
}

/// Is `[offset, offset + len_bytes)` surely all hole? This system tells of none.
#[cfg(not(unix))]
#[must_use]
pub fn is_hole(_file: &File, _offset: u64, _len_bytes: u64) -> bool {
    false
}

/// Makes a change of the names in `folder` last. Not everywhere can a directory be synced; where not, it lasts anyway.
///
/// # Errors
/// What the system says.
pub fn sync_folder(folder: &Path) -> io::Result<()> {
    if !cfg!(unix) {
        return Ok(());
    }
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    match File::open(folder)?.sync_all() {
        Err(error) if error.kind() != io::ErrorKind::InvalidInput => Err(error),
        _ => Ok(()),
    }
}

/// The bytes an ordinary user may still write below `dir`; `None` when the system does not say.
#[must_use]
pub fn free_bytes(dir: &Path) -> Option<u64> {
    #[cfg(unix)]
    {
        let stat = rustix::fs::statvfs(dir).ok()?;
        stat.f_bavail.checked_mul(stat.f_frsize)
    }
    #[cfg(not(unix))]
    {
        let _ = dir;
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hole_is_told_from_data_and_never_the_other_way_round() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(4 << 20).unwrap();
        write_all_at(&file, &[1], 1 << 20).unwrap();
        // A system that tells of no holes says no everywhere.
        let told = is_hole(&file, 2 << 20, 2 << 20);
        assert_eq!(is_hole(&file, 0, 1 << 20), told);
        assert!(!is_hole(&file, 0, (1 << 20) + 1));
        assert!(!is_hole(&file, 1 << 20, 1));
    }
}
