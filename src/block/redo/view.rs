//! A file opened to be changed, or to be read as it will be.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use super::log::{Found, Log, Settled, commit, look, settle};
use super::{Error, Host, Site as _};
use crate::base::Interrupt;
use crate::block::{self, Extent, FileDevice, Overlay, ReadAt, host};

/// A file that is changed in place; nobody else has it open through here.
#[derive(Debug)]
pub struct Target {
    site: Host,
}

impl Target {
    /// Opens a file, takes its lock, and finishes what was left unfinished.
    ///
    /// # Errors
    /// [`Error::InUse`], [`Error::NotAFile`], [`Error::Foreign`], [`Error::Incomplete`], [`Error::Io`].
    pub fn open(path: &Path) -> Result<(Self, Settled), Error> {
        let failed = |source| Error::Io { action: "open for writing", path: path.to_owned(), source };
        let canonical = regular(path)?;
        let file = OpenOptions::new().read(true).write(true).open(&canonical).map_err(failed)?;
        lock(file.try_lock(), path)?;
        let target = Self { site: Host::new(file, canonical) };
        let settled = settle(&target.site)?;
        Ok((target, settled))
    }

    /// The file as a device to lay an overlay over.
    ///
    /// # Errors
    /// [`Error::Io`]
    pub fn device(&self) -> Result<FileDevice, Error> {
        let failed = |source| Error::Io { action: "open", path: self.site.target_path().to_owned(), source };
        self.site.target().try_clone().and_then(FileDevice::new).map_err(failed)
    }

    /// Changes the file to what `overlay`, which lies over it, says; whether there was anything to change. Nobody needs
    /// what it holds in `spare`.
    ///
    /// # Errors
    /// As for [`commit`].
    pub fn commit<B: ReadAt>(
        &self,
        overlay: &Overlay<B>,
        spare: &[Extent],
        interrupt: &Interrupt,
    ) -> Result<bool, Error> {
        commit(&self.site, overlay, spare, interrupt)
    }
}

/// A process that is being started holds what we have open until it becomes another program; the lock goes now.
impl Drop for Target {
    fn drop(&mut self) {
        let _ = self.site.target().unlock();
    }
}

/// The path without symlinks, when a regular file is there.
fn regular(path: &Path) -> Result<PathBuf, Error> {
    let failed = |source| Error::Io { action: "open", path: path.to_owned(), source };
    let canonical = path.canonicalize().map_err(failed)?;
    if canonical.metadata().map_err(failed)?.is_file() {
        Ok(canonical)
    } else {
        Err(Error::NotAFile(path.to_owned()))
    }
}

/// Some network filesystems know no locks; there only the user can see to it that nobody else writes.
fn lock(taken: Result<(), TryLockError>, path: &Path) -> Result<(), Error> {
    match taken {
        Ok(()) => Ok(()),
        Err(TryLockError::WouldBlock) => Err(Error::InUse(path.to_owned())),
        Err(TryLockError::Error(source)) if source.kind() == io::ErrorKind::Unsupported => Ok(()),
        Err(TryLockError::Error(source)) => Err(Error::Io { action: "lock", path: path.to_owned(), source }),
    }
}

/// Takes the shared lock of an open file, which its clones hold with it: nobody changes it meanwhile.
///
/// # Errors
/// [`Error::InUse`], [`Error::Io`].
pub fn share(file: &File, path: &Path) -> Result<(), Error> {
    lock(file.try_lock_shared(), path)
}

/// A file that is only read, with the changes of a whole log laid over it. Holds the shared lock.
#[derive(Debug)]
pub struct Reader {
    device: FileDevice,
    through: Option<(File, Log)>,
}

/// Opens a file for reading. Neither it nor a log beside it is changed.
///
/// # Errors
/// [`Error::InUse`] while somebody writes; [`Error::NotAFile`], [`Error::Foreign`], [`Error::Io`].
pub fn open_to_read(path: &Path) -> Result<Reader, Error> {
    let failed = |source| Error::Io { action: "open", path: path.to_owned(), source };
    let canonical = regular(path)?;
    let file = File::open(&canonical).map_err(failed)?;
    share(&file, path)?;
    let site = Host::new(file.try_clone().map_err(failed)?, canonical);
    let mut reader = Reader { device: FileDevice::new(file).map_err(failed)?, through: None };
    if let Found::Whole(log) = look(&site)? {
        reader.through = Some((site.into_log().map_err(failed)?, log));
    }
    Ok(reader)
}

/// As for [`Target`].
impl Drop for Reader {
    fn drop(&mut self) {
        let _ = self.device.file().unlock();
    }
}

impl Reader {
    /// Does a log have a say in what is read?
    #[must_use]
    pub fn is_unfinished(&self) -> bool {
        self.through.is_some()
    }

    /// The file behind, as it is.
    #[must_use]
    pub fn file(&self) -> &File {
        self.device.file()
    }
}

impl ReadAt for Reader {
    fn len_bytes(&self) -> u64 {
        self.through.as_ref().map_or(self.device.len_bytes(), |(_, log)| log.len_after)
    }

    fn host_file(&self) -> Option<&File> {
        self.through.is_none().then(|| self.device.file())
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<(), block::Error> {
        let Some((file, log)) = &self.through else { return self.device.read_at(offset, buf) };
        block::Error::check_bounds(offset, buf.len(), log.len_after)?;
        let end = offset + buf.len() as u64;
        let held = self.device.len_bytes().saturating_sub(offset);
        let held = usize::try_from(held).unwrap_or(usize::MAX).min(buf.len());
        let (below, past) = buf.split_at_mut(held);
        past.fill(0);
        if !below.is_empty() {
            self.device.read_at(offset, below)?;
        }
        let first = log.records.partition_point(|record| record.offset + record.len <= offset);
        for record in log.records.iter().skip(first).take_while(|record| record.offset < end) {
            let from = offset.max(record.offset);
            let to = end.min(record.offset + record.len);
            let [at, after] =
                [from - offset, to - offset].map(|at| usize::try_from(at).unwrap_or(usize::MAX));
            if let Some(piece) = buf.get_mut(at..after) {
                let len = piece.len();
                host::read_exact_at(file, piece, record.log_at + (from - record.offset))
                    .map_err(|source| block::Error::Read { offset: from, len, source })?;
            }
        }
        Ok(())
    }
}
