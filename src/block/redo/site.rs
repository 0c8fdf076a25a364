//! A target and the place of its log. A trait, so that tests can cut the power between any two steps.

use std::cell::RefCell;
use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use super::super::host;

/// How the names of logs end.
const SUFFIX: &str = ".cardpress-redo";

/// Where the log of `target` lies, whose path leads through no symlink.
#[must_use]
pub fn log_path(target: &Path) -> PathBuf {
    let mut name = OsString::from(".");
    name.push(target.file_name().unwrap_or_default());
    name.push(SUFFIX);
    target.with_file_name(name)
}

/// Every step on the way of a change. What was written may be lost, in part and in any order, until it is synced.
pub trait Site {
    /// The target, for messages.
    fn target_path(&self) -> &Path;
    /// Its log, for messages.
    fn log_path(&self) -> &Path;

    /// The length of the target.
    ///
    /// # Errors
    /// What the system says; so for all that follow.
    fn target_len(&self) -> io::Result<u64>;
    /// Fills `buf` from `offset` of the target.
    ///
    /// # Errors
    /// See above.
    fn read_target(&self, offset: u64, buf: &mut [u8]) -> io::Result<()>;
    /// Puts `bytes` at `offset` of the target.
    ///
    /// # Errors
    /// See above.
    fn write_target(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;
    /// Makes the target longer.
    ///
    /// # Errors
    /// See above.
    fn set_target_len(&self, len_bytes: u64) -> io::Result<()>;
    /// Makes all that was done to the target last.
    ///
    /// # Errors
    /// See above.
    fn sync_target(&self) -> io::Result<()>;

    /// The length of the log; `None` when there is none.
    ///
    /// # Errors
    /// See above.
    fn log_len(&self) -> io::Result<Option<u64>>;
    /// Fills `buf` from `offset` of the log.
    ///
    /// # Errors
    /// See above.
    fn read_log(&self, offset: u64, buf: &mut [u8]) -> io::Result<()>;
    /// Begins a log; there must be none.
    ///
    /// # Errors
    /// See above.
    fn create_log(&self) -> io::Result<()>;
    /// Puts `bytes` at `offset` of the log.
    ///
    /// # Errors
    /// See above.
    fn write_log(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;
    /// Makes the log last, and its name.
    ///
    /// # Errors
    /// See above.
    fn sync_log(&self) -> io::Result<()>;
    /// Removes the log, and makes that last.
    ///
    /// # Errors
    /// See above.
    fn remove_log(&self) -> io::Result<()>;
}

/// A file of the host.
#[derive(Debug)]
pub struct Host {
    target: File,
    target_path: PathBuf,
    log_path: PathBuf,
    /// Open when it was read or written.
    log: RefCell<Option<File>>,
}

impl Host {
    /// The file `target`, which is at `path`, without symlinks on the way.
    #[must_use]
    pub fn new(target: File, path: PathBuf) -> Self {
        let log_path = log_path(&path);
        Self { target, target_path: path, log_path, log: RefCell::new(None) }
    }

    /// The target.
    #[must_use]
    pub fn target(&self) -> &File {
        &self.target
    }

    /// The log, open for reading.
    pub(super) fn into_log(self) -> io::Result<File> {
        match self.log.take() {
            Some(log) => Ok(log),
            None => self.open_log(),
        }
    }

    fn with_log<T>(&self, work: impl FnOnce(&File) -> io::Result<T>) -> io::Result<T> {
        let mut log = self.log.borrow_mut();
        match &mut *log {
            Some(log) => work(log),
            none => work(none.insert(self.open_log()?)),
        }
    }

    /// Opens a log that is there. In a folder where everybody may write, somebody else could lay one beside an image
    /// to have it changed; so it must belong to who runs this, to who owns the target, or to root.
    fn open_log(&self) -> io::Result<File> {
        let mut options = OpenOptions::new();
        options.read(true);
        #[cfg(unix)]
        {
            use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
            let flags = rustix::fs::OFlags::NOFOLLOW.bits();
            options.custom_flags(i32::try_from(flags).unwrap_or(0));
            let log = options.open(&self.log_path)?;
            let trusted = [0, self.target.metadata()?.uid(), rustix::process::geteuid().as_raw()];
            if !trusted.contains(&log.metadata()?.uid()) {
                let message = "it belongs to another user, who may not change the image";
                return Err(io::Error::new(io::ErrorKind::PermissionDenied, message));
            }
            Ok(log)
        }
        #[cfg(not(unix))]
        options.open(&self.log_path)
    }

    fn sync_folder(&self) -> io::Result<()> {
        self.log_path.parent().map_or(Ok(()), host::sync_folder)
    }
}

impl Site for Host {
    fn target_path(&self) -> &Path {
        &self.target_path
    }

    fn log_path(&self) -> &Path {
        &self.log_path
    }

    fn target_len(&self) -> io::Result<u64> {
        Ok(self.target.metadata()?.len())
    }

    fn read_target(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        // Free room of an image is mostly holes, which the system would first fill with zeros to be read.
        if host::is_hole(&self.target, offset, buf.len() as u64) {
            buf.fill(0);
            return Ok(());
        }
        host::read_exact_at(&self.target, buf, offset)
    }

    fn write_target(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        host::write_all_at(&self.target, bytes, offset)
    }

    fn set_target_len(&self, len_bytes: u64) -> io::Result<()> {
        self.target.set_len(len_bytes)
    }

    fn sync_target(&self) -> io::Result<()> {
        self.target.sync_all()
    }

    fn log_len(&self) -> io::Result<Option<u64>> {
        match self.with_log(|log| log.metadata()) {
            Ok(metadata) => Ok(Some(metadata.len())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn read_log(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        self.with_log(|log| host::read_exact_at(log, buf, offset))
    }

    fn create_log(&self) -> io::Result<()> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(true);
        #[cfg(unix)]
        {
            // It holds what the target holds, so nobody may read it who may not read that.
            use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
            options.mode(self.target.metadata()?.mode() & 0o666);
        }
        *self.log.borrow_mut() = Some(options.open(&self.log_path)?);
        Ok(())
    }

    fn write_log(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.with_log(|log| host::write_all_at(log, bytes, offset))
    }

    fn sync_log(&self) -> io::Result<()> {
        self.with_log(File::sync_all)?;
        self.sync_folder()
    }

    fn remove_log(&self) -> io::Result<()> {
        *self.log.borrow_mut() = None;
        std::fs::remove_file(&self.log_path)?;
        self.sync_folder()
    }
}
