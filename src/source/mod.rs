//! Where base images come from: a file the user has, raw or packed, unpacked once into a cache; and what there is to
//! download: the [`catalogue`].
//!
//! Knows no nodes and no partitions. A base is opened for reading only.

#[cfg_attr(not(test), expect(dead_code, reason = "the decoder will wait for it"))]
mod arrival;
mod cache;
pub mod catalogue;
mod decode;
mod format;
/// Files from the network.
#[cfg_attr(
    not(test),
    expect(dead_code, unused_imports, reason = "the catalogue and the cache will fetch with it")
)]
pub mod net;
mod raw;
#[cfg_attr(not(test), expect(dead_code, reason = "downloads will be checked with it"))]
pub mod signature;
mod stamp;
mod xz_index;

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use crate::base::{ByteLen, ChunkDigests, Interrupt, Interrupted, Progress, Sha256Digest};
use crate::block::redo;

pub use self::cache::Cache;
pub use self::format::Format;

/// No card that a Raspberry Pi image is made for is worth unpacking more: 64 GiB.
const IMAGE_LEN_MAX: u64 = 64 << 30;

/// Why there is no base image.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The system failed on the file that was named.
    #[error("cannot {action} `{}`", .path.display())]
    Io {
        /// What was done.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The system failed on the cache.
    #[error("cannot {action} the cache `{}`", .dir.display())]
    Cache {
        /// What was done.
        action: &'static str,
        /// The cache.
        dir: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The system failed to write what was unpacked.
    #[error("cannot write the image unpacked from `{}`", .path.display())]
    Unpack {
        /// The archive.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A directory, a device or the like.
    #[error("`{}` is no regular file", .0.display())]
    NotAFile(PathBuf),
    /// Another file than the one that was asked for.
    #[error("`{}` has SHA-256 {found}, wanted {wanted}", .path.display())]
    Digest {
        /// The file.
        path: PathBuf,
        /// Its digest.
        found: Sha256Digest,
        /// The one asked for.
        wanted: Sha256Digest,
    },
    /// What is in it is no disk.
    #[error(
        "`{}` ({format}) holds no disk image: found {found} at offset {offset}, wanted 55 aa", .path.display()
    )]
    NotAnImage {
        /// The file.
        path: PathBuf,
        /// How it is packed.
        format: &'static str,
        /// Where, in the unpacked image.
        offset: u64,
        /// What is there.
        found: String,
    },
    /// A format, or a variety of one, that we do not read.
    #[error(
        "`{}` is {found}, wanted a raw image, xz, gzip, zstd, or a zip archive with one `.img` in it", .path.display()
    )]
    Unsupported {
        /// The file.
        path: PathBuf,
        /// What it is.
        found: String,
    },
    /// The archive contradicts itself.
    #[error(
        "corrupt {format} archive `{}`: {reason}{}", .path.display(),
        .offset.map(|offset| format!(", near offset {offset}")).unwrap_or_default()
    )]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// How it is packed.
        format: &'static str,
        /// How much of it had been taken.
        offset: Option<u64>,
        /// What is wrong.
        reason: String,
        /// What the decoder said.
        #[source]
        source: Option<io::Error>,
    },
    /// The archive ends too early.
    #[error(
        "{format} archive `{}` is cut short: found its end at offset {offset}, wanted more data", .path.display()
    )]
    Truncated {
        /// The file.
        path: PathBuf,
        /// How it is packed.
        format: &'static str,
        /// Its length.
        offset: u64,
    },
    /// Something follows the archive.
    #[error("{format} archive `{}`: found `{found}` at offset {offset}, wanted the end", .path.display())]
    Trailing {
        /// The file.
        path: PathBuf,
        /// How it is packed.
        format: &'static str,
        /// Where the archive ends.
        offset: u64,
        /// What follows.
        found: String,
    },
    /// Longer than any image, or than the disk has room for.
    #[error("`{}` unpacks to more than {}", .path.display(), ByteLen(*.limit))]
    TooLong {
        /// The file.
        path: PathBuf,
        /// The limit.
        limit: u64,
    },
    /// The cache's disk is too full.
    #[error(
        "no space in `{}` to unpack `{}`: {} needed, {} free, {} missing", .dir.display(), .path.display(),
        ByteLen(*.needed_bytes), ByteLen(*.free_bytes), ByteLen(.needed_bytes.saturating_sub(*.free_bytes))
    )]
    NoSpace {
        /// The archive.
        path: PathBuf,
        /// The cache.
        dir: PathBuf,
        /// What the archive says it unpacks to.
        needed_bytes: u64,
        /// What is free.
        free_bytes: u64,
    },
    /// The file changed under us.
    #[error("`{}` was changed while it was read", .0.display())]
    Changed(PathBuf),
    /// Changes in place are under way, or cannot be finished.
    #[error("cannot read `{}` as it is", .path.display())]
    InPlace {
        /// The image.
        path: PathBuf,
        /// Why.
        #[source]
        source: Box<redo::Error>,
    },
    /// The user asked to stop.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
}

/// A raw image to press from, open for reading.
#[derive(Debug)]
pub struct BaseImage {
    /// The raw image: the file that was named, or what was unpacked from it.
    pub file: File,
    /// Where it is.
    pub path: PathBuf,
    /// Its length.
    pub len_bytes: u64,
    /// How the file that was named is packed.
    pub format: Format,
    /// The digest of the file that was named. `None` for a raw image, unless it was asked for: its chunks say as
    /// much and are hashed faster.
    pub archive_sha256: Option<Sha256Digest>,
    /// The digests of the raw image.
    pub digests: ChunkDigests,
}

/// How the file at `path` is packed.
///
/// # Errors
/// [`Error::Io`], [`Error::NotAFile`], [`Error::Unsupported`].
pub fn format_of(path: &Path) -> Result<Format, Error> {
    let failed = |action| move |source| Error::Io { action, path: path.to_owned(), source };
    if !path.metadata().map_err(failed("open"))?.is_file() {
        return Err(Error::NotAFile(path.to_owned()));
    }
    let file = File::open(path).map_err(failed("open"))?;
    let head = format::read_head(&file).map_err(failed("read"))?;
    format::of_head(&head)
        .map_err(|found| Error::Unsupported { path: path.to_owned(), found: found.to_owned() })
}

/// Opens the image in the file at `path`, unpacking it into `cache` unless that has been done before. With
/// `expected`, the file that was named must have this digest. Changes of a raw image that were cut off are finished
/// first.
///
/// # Errors
/// Any [`Error`]; then nothing stays in the cache.
pub fn open_base(
    path: &Path,
    cache: &Cache,
    expected: Option<Sha256Digest>,
    progress: &dyn Progress,
    interrupt: &Interrupt,
) -> Result<BaseImage, Error> {
    open(path, cache, expected, Wanted::Disk, progress, interrupt)
}

/// Opens a file as [`open_base`] does, whatever is in it: a disk, a filesystem, anything.
///
/// # Errors
/// As for [`open_base`].
pub fn open_any(
    path: &Path,
    cache: &Cache,
    progress: &dyn Progress,
    interrupt: &Interrupt,
) -> Result<BaseImage, Error> {
    open(path, cache, None, Wanted::Anything, progress, interrupt)
}

/// What an image has to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wanted {
    Disk,
    Anything,
}

fn open(
    path: &Path,
    cache: &Cache,
    expected: Option<Sha256Digest>,
    wanted: Wanted,
    progress: &dyn Progress,
    interrupt: &Interrupt,
) -> Result<BaseImage, Error> {
    let failed = |action| move |source| Error::Io { action, path: path.to_owned(), source };
    let canonical = path.canonicalize().map_err(failed("open"))?;
    if !canonical.metadata().map_err(failed("open"))?.is_file() {
        return Err(Error::NotAFile(path.to_owned()));
    }
    let file = File::open(&canonical).map_err(failed("open"))?;
    share(path, &canonical, &file)?;
    let metadata = file.metadata().map_err(failed("open"))?;
    let head = format::read_head(&file).map_err(failed("read"))?;
    let format = format::of_head(&head)
        .map_err(|found| Error::Unsupported { path: path.to_owned(), found: found.to_owned() })?;
    let given = Given {
        path,
        canonical: &canonical,
        file: &file,
        len_bytes: metadata.len(),
        stamp: stamp::stamp(&metadata),
        format,
        cache,
        expected,
        wanted,
        progress,
        interrupt,
    };
    if format != Format::Raw {
        return given.open_archive();
    }
    check_head(path, format, wanted, &head)?;
    let (digests, archive_sha256) = given.digest_raw()?;
    Ok(BaseImage { path: canonical, len_bytes: metadata.len(), format, archive_sha256, digests, file })
}

/// Finishes changes that were cut off, and sees that nobody changes the image while it is open.
fn share(path: &Path, canonical: &Path, file: &File) -> Result<(), Error> {
    let failed = |source| Error::InPlace { path: path.to_owned(), source: Box::new(source) };
    if redo::log_path(canonical).exists() {
        redo::Target::open(canonical).map_err(failed)?;
    }
    redo::share(file, path).map_err(failed)
}

/// The file that was named, and what to do it with.
struct Given<'g> {
    path: &'g Path,
    canonical: &'g Path,
    file: &'g File,
    len_bytes: u64,
    stamp: String,
    format: Format,
    cache: &'g Cache,
    expected: Option<Sha256Digest>,
    wanted: Wanted,
    progress: &'g dyn Progress,
    interrupt: &'g Interrupt,
}

impl Given<'_> {
    /// The digests of a raw image that is used where it is.
    fn digest_raw(&self) -> Result<(ChunkDigests, Option<Sha256Digest>), Error> {
        let mut seen = self.recall();
        let known = seen.digests.is_some() && (self.expected.is_none() || seen.sha256.is_some());
        if seen.digests.is_none() {
            self.progress.start("hash the base image", Some(self.len_bytes));
            let digests = raw::digest_file(self.file, self.progress, self.interrupt);
            self.progress.finish();
            self.interrupt.check()?;
            seen.digests = Some(digests.map_err(|source| self.failed("read", source))?);
        }
        if self.expected.is_some() && seen.sha256.is_none() {
            seen.sha256 = Some(self.hash()?);
        }
        if !known {
            self.remember(&seen)?;
        }
        if let Some(sha256) = seen.sha256 {
            self.check_expected(sha256)?;
        }
        let digests = seen.digests.ok_or_else(|| Error::Changed(self.path.to_owned()))?;
        Ok((digests, seen.sha256))
    }

    fn open_archive(&self) -> Result<BaseImage, Error> {
        if let Some(base) = self.open_unpacked()? {
            return Ok(base);
        }
        let lock = self.cache.lock(self.interrupt)?;
        // Another process may have done it while we waited.
        if let Some(base) = self.open_unpacked()? {
            return Ok(base);
        }
        if self.recall().sha256.is_none() && self.cache.may_hold(self.len_bytes) {
            let sha256 = self.hash()?;
            self.check_expected(sha256)?;
            self.remember(&cache::Seen { sha256: Some(sha256), digests: None })?;
            if let Some(base) = self.open_unpacked()? {
                return Ok(base);
            }
        }
        let limit = self.check_space()?;
        let part = self.cache.part(&lock)?;
        let (sha256, digests) = self.unpack(part.as_file(), limit)?;
        self.check_expected(sha256)?;
        let held = self.cache.install(part, sha256, self.len_bytes, digests)?;
        self.remember(&cache::Seen { sha256: Some(sha256), digests: None })?;
        Ok(self.base(held, sha256))
    }

    /// The image in the cache, when the archive is known and its image is whole.
    fn open_unpacked(&self) -> Result<Option<BaseImage>, Error> {
        let Some(sha256) = self.recall().sha256 else { return Ok(None) };
        self.check_expected(sha256)?;
        Ok(self.cache.find(sha256).map(|held| self.base(held, sha256)))
    }

    fn base(&self, held: cache::Held, archive: Sha256Digest) -> BaseImage {
        BaseImage {
            len_bytes: held.digests.len_bytes(),
            file: held.file,
            path: held.path,
            format: self.format,
            archive_sha256: Some(archive),
            digests: held.digests,
        }
    }

    /// How long the image may get; refuses early what will not fit.
    fn check_space(&self) -> Result<u64, Error> {
        let free_bytes = self.cache.free_bytes().unwrap_or(IMAGE_LEN_MAX);
        if let Some(needed_bytes) = format::stated_len(self.file, self.format) {
            if needed_bytes > IMAGE_LEN_MAX {
                return Err(Error::TooLong { path: self.path.to_owned(), limit: IMAGE_LEN_MAX });
            }
            if needed_bytes > free_bytes {
                let (path, dir) = (self.path.to_owned(), self.cache.dir().to_owned());
                return Err(Error::NoSpace { path, dir, needed_bytes, free_bytes });
            }
        }
        Ok(IMAGE_LEN_MAX.min(free_bytes))
    }

    fn unpack(&self, part: &File, limit: u64) -> Result<(Sha256Digest, ChunkDigests), Error> {
        let mut out = raw::RawWriter::new(part);
        self.progress.start("unpack the base image", Some(self.len_bytes));
        let unpacked = self.job(limit).unpack(&mut out);
        self.progress.finish();
        let sha256 = unpacked?;
        check_head(self.path, self.format, self.wanted, out.head())?;
        let digests = out.finish().map_err(|source| Error::Unpack { path: self.path.to_owned(), source })?;
        Ok((sha256, digests))
    }

    fn hash(&self) -> Result<Sha256Digest, Error> {
        self.progress.start("hash the file", Some(self.len_bytes));
        let digest = self.job(0).hash();
        self.progress.finish();
        self.interrupt.check()?;
        digest
    }

    fn job(&self, limit: u64) -> decode::Job<'_> {
        decode::Job {
            path: self.path,
            file: self.file,
            format: self.format,
            limit,
            wanted: self.wanted,
            progress: self.progress,
            interrupt: self.interrupt,
        }
    }

    fn check_expected(&self, found: Sha256Digest) -> Result<(), Error> {
        match self.expected {
            Some(wanted) if wanted != found => {
                Err(Error::Digest { path: self.path.to_owned(), found, wanted })
            }
            _ => Ok(()),
        }
    }

    fn recall(&self) -> cache::Seen {
        self.cache.recall(self.canonical, &self.stamp)
    }

    /// Notes what was found out, unless the file changed meanwhile.
    fn remember(&self, seen: &cache::Seen) -> Result<(), Error> {
        let metadata = self.file.metadata().map_err(|source| self.failed("open", source))?;
        if stamp::stamp(&metadata) != self.stamp {
            return Err(Error::Changed(self.path.to_owned()));
        }
        self.cache.remember(self.canonical, &self.stamp, seen)
    }

    fn failed(&self, action: &'static str, source: io::Error) -> Error {
        Error::Io { action, path: self.path.to_owned(), source }
    }
}

/// Refuses an image that is no disk, where one is wanted.
fn check_head(path: &Path, format: Format, wanted: Wanted, head: &[u8]) -> Result<(), Error> {
    match format::no_disk(head).filter(|_| wanted == Wanted::Disk) {
        None => Ok(()),
        Some((offset, found)) => {
            Err(Error::NotAnImage { path: path.to_owned(), format: format.name(), offset, found })
        }
    }
}

#[cfg(test)]
mod tests;
