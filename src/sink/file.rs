//! A pressed image as a raw file: it appears whole or not at all.
//!
//! The base is shared (reflink) where the filesystem can, else its data is copied and its holes left out; then
//! the edited blocks go over it. All under a hidden name beside the target, which a rename replaces last.

use std::fmt;
use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tempfile::NamedTempFile;

use super::sys;
use crate::base::{ByteLen, Interrupt, Interrupted, Progress, is_zero};
use crate::block::{self, Extent, ReadAt, host};

/// Copied between two looks at the interrupt.
const PIECE: u64 = 16 << 20;
/// Copied through memory at a time, where the kernel cannot.
const BUFFER: u64 = 1 << 20;
/// How hidden files end that have no final name yet.
const PART_SUFFIX: &str = ".part";

/// Why an image did not come to be. The target is as it was.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The system failed.
    #[error("cannot {action} `{}`", .path.display())]
    Io {
        /// What was done.
        action: &'static str,
        /// Where.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The disk is too full, seen before anything was written or by the write that failed.
    #[error(
        "no space for `{}`: {} needed, {} free, {} missing", .path.display(), ByteLen(*.needed_bytes),
        ByteLen(*.free_bytes), ByteLen(.needed_bytes.saturating_sub(*.free_bytes))
    )]
    NoSpace {
        /// What was to be written.
        path: PathBuf,
        /// What it takes.
        needed_bytes: u64,
        /// What is free.
        free_bytes: u64,
    },
    /// The edited blocks could not be read.
    #[error("cannot read the edited image")]
    Edited(#[from] block::Error),
    /// A compressor failed, or what it wrote to.
    #[error("cannot compress to {format}")]
    Compress {
        /// The format.
        format: &'static str,
        /// What it said.
        #[source]
        source: io::Error,
    },
    /// What a compressor made is not what it was given.
    #[error("compressed {format} data does not decode to what was compressed: the memory may be faulty")]
    Miscompressed {
        /// The format.
        format: &'static str,
        /// What the decoder said, unless it gave other bytes.
        #[source]
        source: Option<io::Error>,
    },
    /// The blocks of an archive are not those of the base.
    #[error("the archive is not that of the base, by {what}: found {found}, wanted {wanted}")]
    Archive {
        /// What is wrong.
        what: &'static str,
        /// What the archive says.
        found: u64,
        /// What it should say.
        wanted: u64,
    },
    /// A piece that several images share could not be compressed.
    #[error(transparent)]
    Piece(Arc<Error>),
    /// The user asked to stop.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
}

/// How an image is written.
#[derive(Clone, Copy)]
pub struct Options<'o> {
    /// The image holds secrets: only its owner may read it.
    pub secret: bool,
    /// Share blocks with the base where the filesystem can.
    pub reflink: bool,
    /// Looked at between pieces.
    pub interrupt: &'o Interrupt,
    /// Hears of the bytes of the image that are done, as many in all as it is long.
    pub progress: &'o dyn Progress,
}

impl fmt::Debug for Options<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { secret, reflink, .. } = self;
        write!(f, "Options {{ secret: {secret}, reflink: {reflink}, .. }}")
    }
}

/// How the base got into the image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Copy {
    /// It shares the blocks of the base.
    Reflink,
    /// Its data was copied, its holes are holes.
    Sparse,
}

/// How an image came about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pressed {
    /// How the base got into it.
    pub how: Copy,
    /// How long it is.
    pub len_bytes: u64,
    /// How many bytes of the base were copied.
    pub base_bytes: u64,
    /// How many bytes of edits were written.
    pub edited_bytes: u64,
}

/// An image that is written and on the disk but has no name yet. Dropped, it is gone.
#[derive(Debug)]
pub struct Staged {
    part: NamedTempFile,
    target: PathBuf,
    pressed: Pressed,
}

impl Staged {
    /// The hidden file, to be read back.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.part.path()
    }

    /// How it came about.
    #[must_use]
    pub fn pressed(&self) -> Pressed {
        self.pressed
    }

    /// Gives the image its name. What had that name before is replaced.
    ///
    /// # Errors
    /// [`Error::Io`]; the target is as it was.
    pub fn commit(self) -> Result<(), Error> {
        let target = self.target;
        let failed = |source| Error::Io { action: "rename to", path: target.clone(), source };
        self.part.persist(&target).map_err(|error| failed(error.error))?;
        let _ = host::sync_folder(parent_of(&target));
        Ok(())
    }
}

/// Writes `edited`, which is `base` but for `dirty`, beside `target`. When `edited` is longer than `base`, what is
/// neither in the base nor dirty is zero.
///
/// # Errors
/// [`Error::NoSpace`], [`Error::Io`], [`Error::Edited`], [`Error::Interrupted`]; the target is as it was and
/// nothing is left beside it.
pub fn stage(
    base: &File,
    edited: &dyn ReadAt,
    dirty: &[Extent],
    target: &Path,
    options: Options<'_>,
) -> Result<Staged, Error> {
    let failed = |action| move |source| Error::Io { action, path: target.to_owned(), source };
    let base_len = base.metadata().map_err(failed("ask the length of the base of"))?.len();
    let part = part_beside(target).map_err(failed("create"))?;
    let file = part.as_file();
    sys::set_mode(file, if options.secret { 0o600 } else { 0o644 }).map_err(failed("set the mode of"))?;

    let edited_bytes: u64 = dirty.iter().map(|extent| extent.len_bytes).sum();
    let shared = options.reflink && sys::reflink(base, file);
    let base_bytes = if shared {
        check_space(target, edited_bytes)?;
        0
    } else {
        let extents = host::data_extents(base, base_len).map_err(failed("find the data of the base of"))?;
        let base_bytes = extents.iter().map(|data| data.len_bytes).sum();
        check_space(target, base_bytes + edited_bytes)?;
        for data in extents {
            copy_data(base, file, &data, options, target)?;
        }
        base_bytes
    };
    file.set_len(edited.len_bytes()).map_err(failed("set the length of"))?;
    write_edits(file, edited, dirty, options.interrupt, target)?;
    // Without it a power cut after the rename could leave a name with holes where the data should be.
    file.sync_all().map_err(|source| full_or(target, edited_bytes, failed("sync"), source))?;
    options.interrupt.check()?;
    // Holes and edits cost nothing worth telling.
    options.progress.advance(edited.len_bytes().saturating_sub(base_bytes));
    let how = if shared { Copy::Reflink } else { Copy::Sparse };
    log::debug!("`{}`: {how:?}, {base_bytes} bytes copied, {edited_bytes} written", target.display());
    let pressed = Pressed { how, len_bytes: edited.len_bytes(), base_bytes, edited_bytes };
    Ok(Staged { part, target: target.to_owned(), pressed })
}

/// Removes what killed processes left in `folder`: hidden parts that nobody holds a lock on.
///
/// # Errors
/// [`Error::Io`]
pub fn remove_leftovers(folder: &Path) -> Result<(), Error> {
    let failed = |action, path: &Path| {
        let path = path.to_owned();
        move |source| Error::Io { action, path, source }
    };
    for entry in std::fs::read_dir(folder).map_err(failed("list", folder))? {
        let path = entry.map_err(failed("list", folder))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if !name.starts_with('.') || !name.ends_with(PART_SUFFIX) {
            continue;
        }
        // Another process may have finished it meanwhile, and then it is gone by this name.
        let Ok(file) = File::open(&path) else { continue };
        if file.try_lock().is_ok() {
            std::fs::remove_file(&path).map_err(failed("remove", &path))?;
        }
    }
    Ok(())
}

/// A file that is written and has no name yet. Dropped, it is gone.
#[derive(Debug)]
pub struct Part {
    part: NamedTempFile,
    target: PathBuf,
}

impl Part {
    /// Begins a file that is to be `target`, readable by its owner only.
    ///
    /// # Errors
    /// [`Error::Io`]
    pub fn beside(target: &Path) -> Result<Self, Error> {
        let failed = |source| Error::Io { action: "create", path: target.to_owned(), source };
        Ok(Self { part: part_beside(target).map_err(failed)?, target: target.to_owned() })
    }

    pub(super) fn file(&self) -> &File {
        self.part.as_file()
    }

    pub(super) fn path(&self) -> &Path {
        self.part.path()
    }

    /// Gives it its mode and its name. What had that name before is replaced.
    ///
    /// # Errors
    /// [`Error::Io`]; the target is as it was.
    pub fn commit(self, mode: u32) -> Result<(), Error> {
        let Self { part, target } = self;
        let failed = |action| {
            let path = target.clone();
            move |source| Error::Io { action, path, source }
        };
        sys::set_mode(part.as_file(), mode).map_err(failed("set the mode of"))?;
        part.as_file().sync_all().map_err(failed("sync"))?;
        part.persist(&target).map_err(|error| failed("rename to")(error.error))?;
        let _ = host::sync_folder(parent_of(&target));
        Ok(())
    }
}

impl io::Write for Part {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.part.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.part.flush()
    }
}

/// Writes a small file that appears whole or not at all.
///
/// # Errors
/// [`Error::Io`]; the target is as it was.
pub fn write_atomically(path: &Path, bytes: &[u8], mode: u32) -> Result<(), Error> {
    let failed = |source| Error::Io { action: "write", path: path.to_owned(), source };
    let mut part = Part::beside(path)?;
    part.write_all(bytes).map_err(failed)?;
    part.commit(mode)
}

fn parent_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// A hidden file in the folder of `target`, so that the rename stays on one filesystem; gone when dropped, and
/// locked as long as its process lives, so that [`remove_leftovers`] lets it be.
fn part_beside(target: &Path) -> io::Result<NamedTempFile> {
    let name = target.file_name().ok_or(io::ErrorKind::InvalidFilename)?.to_string_lossy();
    let part = tempfile::Builder::new()
        .prefix(&format!(".{name}."))
        .suffix(PART_SUFFIX)
        .tempfile_in(parent_of(target))?;
    // Some network filesystems know no locks; then only the leftovers of killed processes stay.
    let _ = part.as_file().try_lock();
    Ok(part)
}

/// Is there room in `folder` for `count` images that copy the data of `base`? Where they can share it, always.
///
/// # Errors
/// [`Error::NoSpace`], [`Error::Io`]
pub fn check_room_for(count: usize, base: &File, folder: &Path) -> Result<(), Error> {
    let failed = |action| move |source| Error::Io { action, path: folder.to_owned(), source };
    let probe = folder.join("probe");
    let part = part_beside(&probe).map_err(failed("create a file in"))?;
    if count == 0 || sys::reflink(base, part.as_file()) {
        return Ok(());
    }
    let base_len = base.metadata().map_err(failed("ask the length of the base of"))?.len();
    let data = host::data_extents(base, base_len).map_err(failed("find the data of the base of"))?;
    let image_bytes: u64 = data.iter().map(|data| data.len_bytes).sum();
    let needed_bytes = image_bytes.saturating_mul(count as u64);
    check_free(folder, needed_bytes)
}

/// Is there room in `folder` for so many bytes? Where the system does not tell, there is.
///
/// # Errors
/// [`Error::NoSpace`]
pub fn check_free(folder: &Path, needed_bytes: u64) -> Result<(), Error> {
    match host::free_bytes(folder) {
        Some(free_bytes) if free_bytes < needed_bytes => {
            Err(Error::NoSpace { path: folder.to_owned(), needed_bytes, free_bytes })
        }
        _ => Ok(()),
    }
}

pub(super) fn check_space(target: &Path, needed_bytes: u64) -> Result<(), Error> {
    match host::free_bytes(parent_of(target)) {
        Some(free_bytes) if free_bytes < needed_bytes => {
            Err(Error::NoSpace { path: target.to_owned(), needed_bytes, free_bytes })
        }
        _ => Ok(()),
    }
}

/// A write that failed for want of space says so.
pub(super) fn full_or(
    target: &Path,
    needed_bytes: u64,
    other: impl FnOnce(io::Error) -> Error,
    source: io::Error,
) -> Error {
    if source.kind() != io::ErrorKind::StorageFull {
        return other(source);
    }
    let free_bytes = host::free_bytes(parent_of(target)).unwrap_or(0);
    Error::NoSpace { path: target.to_owned(), needed_bytes, free_bytes }
}

/// Copies one run of data, inside the kernel while that works.
fn copy_data(
    from: &File,
    to: &File,
    data: &Extent,
    options: Options<'_>,
    target: &Path,
) -> Result<(), Error> {
    let mut at = data.offset;
    let end = data.offset + data.len_bytes;
    let mut buffer = Vec::new();
    while at < end {
        options.interrupt.check()?;
        let left = end - at;
        if buffer.is_empty() {
            if let Ok(count @ 1..) = sys::copy_range(from, to, at, left.min(PIECE)) {
                sys::start_writing(to, at, count);
                at += count;
                options.progress.advance(count);
                continue;
            }
            buffer.resize(usize::try_from(BUFFER).unwrap_or(1 << 20), 0);
        }
        let len = usize::try_from(left.min(BUFFER)).unwrap_or(0);
        let piece = &mut buffer[..len];
        let failed = |action| move |source| Error::Io { action, path: target.to_owned(), source };
        host::read_exact_at(from, piece, at).map_err(failed("read the base of"))?;
        host::write_all_at(to, piece, at).map_err(|source| full_or(target, left, failed("write"), source))?;
        at += len as u64;
        options.progress.advance(len as u64);
    }
    Ok(())
}

fn write_edits(
    file: &File,
    edited: &dyn ReadAt,
    dirty: &[Extent],
    interrupt: &Interrupt,
    target: &Path,
) -> Result<(), Error> {
    let mut buffer = vec![0; usize::try_from(BUFFER).unwrap_or(1 << 20)];
    for extent in dirty {
        let end = extent.offset.saturating_add(extent.len_bytes);
        let mut at = extent.offset;
        while at < end {
            interrupt.check()?;
            let len = usize::try_from((end - at).min(BUFFER)).unwrap_or(0);
            let piece = &mut buffer[..len];
            edited.read_at(at, piece)?;
            let failed = |source| Error::Io { action: "write", path: target.to_owned(), source };
            // Zeros where a hole is already: it stays one.
            let is_there = is_zero(piece) && host::is_hole(file, at, len as u64);
            if !is_there {
                host::write_all_at(file, piece, at)
                    .map_err(|source| full_or(target, end - at, failed, source))?;
            }
            at += len as u64;
        }
    }
    Ok(())
}

#[cfg(test)]
pub(super) mod tests;
