//! One process makes an image, the others wait for it and use it.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Cache, NOTE_PREFIX, NOTE_SUFFIX, remove_if_there};
use crate::base::{Interrupt, Progress};
use crate::source::error::Error;
use crate::source::net::record_path;

/// Between two looks at a lock that another process holds.
const PATIENCE: Duration = Duration::from_millis(50);
/// Nothing is left half done for longer by a process that lives.
const AGE_MAX: Duration = Duration::from_secs(60 * 60);
const LOCK_SUFFIX: &str = ".lock";
pub(super) const IMAGE_SUFFIX: &str = ".img.part";
const ARCHIVE_SUFFIX: &str = ".part";

/// Keeps other processes from making the same image. The system lets go of it when the process ends, however it ends.
#[derive(Debug)]
pub(in crate::source) struct Lock {
    cache: Cache,
    key: String,
    #[cfg_attr(not(unix), expect(dead_code, reason = "held, not read"))]
    file: File,
}

/// An image being unpacked; gone when dropped.
#[derive(Debug)]
pub(in crate::source) struct Part {
    path: PathBuf,
    file: File,
    is_kept: bool,
}

impl Part {
    pub(in crate::source) fn file(&self) -> &File {
        &self.file
    }

    /// Gives it its name.
    pub(super) fn persist(mut self, path: &Path) -> io::Result<()> {
        fs::rename(&self.path, path)?;
        self.is_kept = true;
        Ok(())
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        if !self.is_kept {
            let _ = fs::remove_file(&self.path);
        }
    }
}

impl Lock {
    /// Where the archive is downloaded to; what a killed process left there is the beginning of it.
    pub(in crate::source) fn archive_path(&self) -> PathBuf {
        self.cache.dir.join(format!("{}{ARCHIVE_SUFFIX}", self.key))
    }

    /// How much of the archive is there.
    pub(in crate::source) fn archive_len(&self) -> u64 {
        fs::metadata(self.archive_path()).map_or(0, |metadata| metadata.len())
    }

    /// Removes what was downloaded of the archive.
    pub(in crate::source) fn remove_archive(&self) -> Result<(), Error> {
        self.cache.remove_archive_part(&self.key).map_err(self.cache.failed("clean"))
    }

    /// An empty file to unpack into.
    pub(in crate::source) fn image_part(&self) -> Result<Part, Error> {
        let path = self.cache.dir.join(format!("{}{IMAGE_SUFFIX}", self.key));
        let created = remove_if_there(&path)
            .and_then(|()| File::options().read(true).write(true).create_new(true).open(&path));
        let file = created.map_err(self.cache.failed("create a file in"))?;
        Ok(Part { path, file, is_kept: false })
    }
}

#[cfg(unix)]
impl Drop for Lock {
    fn drop(&mut self) {
        // While the file is locked nobody else believes in it, so it can go. Who waits for it sees that it went.
        let path = self.cache.dir.join(format!("{}{LOCK_SUFFIX}", self.key));
        if is_at(&self.file, &path) {
            let _ = fs::remove_file(path);
        }
    }
}

/// Is it still the file of that name?
#[cfg(unix)]
fn is_at(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    let place = |metadata: fs::Metadata| (metadata.dev(), metadata.ino());
    file.metadata().ok().map(place) == fs::metadata(path).ok().map(place)
}

#[cfg(not(unix))]
fn is_at(_file: &File, _path: &Path) -> bool {
    true
}

impl Cache {
    /// Waits for its turn to make the image of this key; removes what dead processes left that nobody can use.
    pub(in crate::source) fn lock(
        &self,
        key: &str,
        progress: &dyn Progress,
        interrupt: &Interrupt,
    ) -> Result<Lock, Error> {
        fs::create_dir_all(&self.dir).map_err(self.failed("create"))?;
        let mut is_told = false;
        let lock = loop {
            if let Some(lock) = self.try_lock(key)? {
                break lock;
            }
            if !is_told {
                progress.note("another cardpress is getting this image: waiting for it");
                is_told = true;
            }
            interrupt.check()?;
            std::thread::sleep(PATIENCE);
        };
        self.sweep(key);
        Ok(lock)
    }

    /// The lock of this key, if nobody has it.
    pub(super) fn try_lock(&self, key: &str) -> Result<Option<Lock>, Error> {
        let path = self.dir.join(format!("{key}{LOCK_SUFFIX}"));
        loop {
            let file = fs::OpenOptions::new().create(true).truncate(false).write(true).open(&path);
            let file = file.map_err(self.failed("open a lock in"))?;
            match file.try_lock() {
                Ok(()) if is_at(&file, &path) => {
                    return Ok(Some(Lock { cache: self.clone(), key: key.to_owned(), file }));
                }
                // Its last holder removed it between our opening and our locking.
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Ok(None),
                Err(TryLockError::Error(source)) => return Err(self.failed("lock")(source)),
            }
        }
    }

    /// Removes the images of dead processes, and their records that never were.
    fn sweep(&self, own_key: &str) {
        for entry in fs::read_dir(&self.dir).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            match name.strip_suffix(IMAGE_SUFFIX) {
                Some(key) if key != own_key => {
                    if let Ok(Some(_lock)) = self.try_lock(key) {
                        let _ = fs::remove_file(entry.path());
                    }
                }
                None if name.starts_with(NOTE_PREFIX) && name.ends_with(NOTE_SUFFIX) && is_old(&entry) => {
                    let _ = fs::remove_file(entry.path());
                }
                _ => {}
            }
        }
    }

    /// The keys of archives that were not downloaded to the end, and how much of each is there.
    pub(super) fn archive_parts(&self) -> Vec<(String, u64)> {
        let mut parts = Vec::new();
        for entry in fs::read_dir(&self.dir).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let is_image = name.ends_with(IMAGE_SUFFIX) || name.starts_with(NOTE_PREFIX);
            if let (Some(key), false, Ok(metadata)) =
                (name.strip_suffix(ARCHIVE_SUFFIX), is_image, entry.metadata())
            {
                parts.push((key.to_owned(), metadata.len()));
            }
        }
        parts.sort_unstable();
        parts
    }

    pub(super) fn remove_archive_part(&self, key: &str) -> io::Result<()> {
        let path = self.dir.join(format!("{key}{ARCHIVE_SUFFIX}"));
        // The record last: without the file it says nothing.
        remove_if_there(&path)?;
        remove_if_there(&record_path(&path))
    }
}

/// Was it last written so long ago that nobody is at work on it any more?
pub(super) fn is_old(entry: &fs::DirEntry) -> bool {
    let written = entry.metadata().and_then(|metadata| metadata.modified());
    written.is_ok_and(|written| written.elapsed().is_ok_and(|age| age > AGE_MAX))
}
