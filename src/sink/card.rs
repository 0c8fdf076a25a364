//! A card that is ours alone: taken exclusively, past the page cache, and only after everything that forbids it was looked
//! for once more. There is no way to take one with less.

#[cfg_attr(target_os = "linux", path = "card/linux.rs")]
#[cfg_attr(target_os = "macos", path = "card/macos.rs")]
#[cfg_attr(windows, path = "card/windows.rs")]
#[cfg_attr(not(any(target_os = "linux", target_os = "macos", windows)), path = "card/other.rs")]
mod os;

use std::fs::File;
use std::io;
use std::path::PathBuf;

use super::Medium;
use super::disks::{self, Disk, Obstacle};

/// Why a device was not taken. Nothing was written to it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// It must not be written to.
    #[error("refused to write to `{}`: {}", .path.display(), list(.obstacles))]
    Refused {
        /// The device.
        path: PathBuf,
        /// Why; never empty.
        obstacles: Vec<Obstacle>,
    },
    /// Somebody else has it for himself.
    #[error("`{}` is in use{}", .path.display(), in_words(.by))]
    Busy {
        /// The device.
        path: PathBuf,
        /// Who may have it, as far as can be seen from here.
        by: Vec<String>,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// We may not write to it.
    #[error("not permitted to write to `{}`; wanted {advice}", .path.display())]
    Denied {
        /// The device.
        path: PathBuf,
        /// What would give access.
        advice: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// It is not the device any more that was looked at.
    #[error("`{}` was changed meanwhile: found {found}, wanted {wanted}", .path.display())]
    Changed {
        /// The device.
        path: PathBuf,
        /// What is there now.
        found: String,
        /// What was there.
        wanted: String,
    },
    /// The system failed.
    #[error("cannot {action} `{}`", .path.display())]
    Io {
        /// What was done.
        action: &'static str,
        /// The device.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// It is not known whether it may be taken.
    #[error(transparent)]
    Disks(#[from] disks::Error),
}

impl Error {
    /// Was it refused because writing could harm something, rather than failed? Exit status 3.
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        matches!(self, Self::Refused { .. } | Self::Busy { .. } | Self::Changed { .. })
    }
}

/// What the user wants of a card.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Also a disk that cannot be taken out.
    pub allow_fixed_disk: bool,
    /// How long it must be at the least; 0 for whatever it is.
    pub needed_bytes: u64,
}

/// A device that nobody else can mount or take as long as this lives. Dropped, it is free.
#[derive(Debug)]
pub struct Card {
    file: File,
    disk: Disk,
    block_len: usize,
}

impl Card {
    /// Takes the device that `disk` was, if it still is and nothing forbids it.
    ///
    /// # Errors
    /// [`Error::Refused`] and [`Error::Busy`] when it could harm something, [`Error::Changed`] when it is another one by
    /// now, [`Error::Denied`], [`Error::Io`], [`Error::Disks`].
    pub fn take(disk: &Disk, options: Options) -> Result<Self, Error> {
        check(disk, options)?;
        let path = &disk.path;
        let failed = |action| move |source| Error::Io { action, path: path.clone(), source };
        let file = os::open(disk).map_err(|source| why(disk, source))?;
        os::check_open(&file, disk)?;
        // From here on nobody can mount it or build upon it: what is free now stays free.
        check(disk, options)?;
        let block_len = block_len(&file, disk).map_err(failed("ask the logical block of"))?;
        log::info!("`{}` is taken, its logical block {block_len} bytes", path.display());
        Ok(Self { file, disk: disk.clone(), block_len })
    }

    /// What it was known to be when it was taken.
    #[must_use]
    pub fn disk(&self) -> &Disk {
        &self.disk
    }

    /// The system's word for misaligned direct I/O is a bare "invalid argument".
    fn explain(&self, error: io::Error, offset: u64, buf: &[u8]) -> io::Error {
        let (len, block) = (buf.len(), self.block_len);
        let is_aligned = offset.is_multiple_of(block as u64)
            && len.is_multiple_of(block)
            && buf.as_ptr().addr().is_multiple_of(block);
        if error.kind() != io::ErrorKind::InvalidInput || is_aligned {
            return error;
        }
        io::Error::new(
            io::ErrorKind::InvalidInput,
            format!(
                "{error}: found {len} bytes at offset {offset} from address {:p}, wanted multiples of {block}",
                buf.as_ptr()
            ),
        )
    }
}

impl Medium for Card {
    fn len_bytes(&self) -> u64 {
        self.disk.len_bytes
    }

    fn block_len(&self) -> usize {
        self.block_len
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<usize> {
        write_some(&self.file, offset, bytes).map_err(|error| self.explain(error, offset, bytes))
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        crate::block::host::read_some_at(&self.file, buf, offset)
            .map_err(|error| self.explain(error, offset, buf))
    }

    fn sync(&self) -> io::Result<()> {
        os::sync(&self.file)
    }
}

/// Looks at the device again: is it the same, and is nothing in the way?
fn check(disk: &Disk, options: Options) -> Result<(), Error> {
    let now = disks::find(&disk.path)?;
    if !now.is_same(disk) {
        let told = |disk: &Disk| {
            let (major, minor) = disk.number;
            let sequence = disk.sequence.map_or_else(String::new, |number| format!(", medium {number}"));
            format!("{} {}, {} bytes, {major}:{minor}{sequence}", disk.model, disk.serial, disk.len_bytes)
        };
        return Err(Error::Changed { path: disk.path.clone(), found: told(&now), wanted: told(disk) });
    }
    let mut obstacles = now.obstacles(options.allow_fixed_disk);
    let is_there = !obstacles.contains(&Obstacle::NoMedium);
    obstacles.extend(now.too_small(options.needed_bytes).filter(|_| is_there));
    if obstacles.is_empty() { Ok(()) } else { Err(Error::Refused { path: disk.path.clone(), obstacles }) }
}

fn block_len(file: &File, disk: &Disk) -> io::Result<usize> {
    let len = os::block_len(file, disk)?;
    usize::try_from(len)
        .ok()
        .filter(|len| len.is_power_of_two())
        .ok_or_else(|| io::Error::other(format!("found {len} bytes, wanted a power of two")))
}

#[cfg(unix)]
fn write_some(file: &File, offset: u64, bytes: &[u8]) -> io::Result<usize> {
    std::os::unix::fs::FileExt::write_at(file, bytes, offset)
}

#[cfg(windows)]
fn write_some(file: &File, offset: u64, bytes: &[u8]) -> io::Result<usize> {
    std::os::windows::fs::FileExt::seek_write(file, bytes, offset)
}

/// What the kernel's answer to opening means.
fn why(disk: &Disk, source: io::Error) -> Error {
    let path = disk.path.clone();
    match source.kind() {
        _ if os::is_busy(&source) => Error::Busy { path, by: disks::users(disk), source },
        io::ErrorKind::PermissionDenied => Error::Denied { advice: disks::access_to(&path), path, source },
        io::ErrorKind::ReadOnlyFilesystem => Error::Refused { path, obstacles: vec![Obstacle::ReadOnly] },
        _ if os::is_no_medium(&source) => Error::Refused { path, obstacles: vec![Obstacle::NoMedium] },
        _ => Error::Io { action: "open for direct I/O", path, source },
    }
}

fn list(obstacles: &[Obstacle]) -> String {
    let told: Vec<String> = obstacles.iter().map(Obstacle::to_string).collect();
    told.join("; ")
}

fn in_words(users: &[String]) -> String {
    if users.is_empty() { String::new() } else { format!(": {}", users.join("; ")) }
}
