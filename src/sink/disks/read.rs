//! A disk that is only looked at: nothing is taken, so it may be mounted and in use.

use std::fs::File;
use std::path::Path;

use super::{Disk, Error, Obstacle, access_to, find};
use crate::block::{self, ReadAt, host};

/// A block device to look at; asked for its length as a file it would say 0.
#[derive(Debug)]
pub struct Whole {
    file: File,
    len_bytes: u64,
}

impl Whole {
    /// Takes an open device, which has this length.
    pub(super) fn new(file: File, len_bytes: u64) -> Self {
        Self { file, len_bytes }
    }
}

impl ReadAt for Whole {
    fn len_bytes(&self) -> u64 {
        self.len_bytes
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<(), block::Error> {
        block::Error::check_bounds(offset, buf.len(), self.len_bytes)?;
        let len = buf.len();
        let failed = |source| block::Error::Read { offset, len, source };
        host::read_exact_at(&self.file, buf, offset).map_err(failed)
    }
}

/// Opens the whole disk at `path` for reading, and tells what is known of it.
///
/// # Errors
/// [`Error::NotBlockDevice`], [`Error::NotWhole`], [`Error::Denied`]; [`Error::Io`], also when there is no medium; else as
/// for [`find`].
pub fn open_to_read(path: &Path) -> Result<(Disk, Whole), Error> {
    let disk = find(path)?;
    let whole = |obstacle: &&Obstacle| matches!(obstacle, Obstacle::NotWhole { .. } | Obstacle::NotADisk(_));
    if let Some(obstacle) = disk.found.iter().find(whole) {
        return Err(Error::NotWhole { path: path.to_owned(), obstacle: obstacle.clone() });
    }
    let failed = |source: std::io::Error| match source.kind() {
        std::io::ErrorKind::PermissionDenied => {
            Error::Denied { path: path.to_owned(), advice: access_to(path), source }
        }
        _ => Error::Io { action: "open", path: path.to_owned(), source },
    };
    let file = File::open(&disk.path).map_err(failed)?;
    if disk.len_bytes == 0 {
        let source = std::io::Error::other("there is no medium in it");
        return Err(Error::Io { action: "read", path: path.to_owned(), source });
    }
    let whole = Whole::new(file, disk.len_bytes);
    Ok((disk, whole))
}
