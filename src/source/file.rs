//! A base image in a file that the user has.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;
use std::time::SystemTime;

use super::cache::{self, Cache};
use super::error::Error;
use super::signature::{Detached, Keys, SIGNATURE_LEN_MAX, SIGNATURE_SUFFIX};
use super::{BaseImage, Format, IMAGE_LEN_MAX, Wanted, XzArchive, check_head, decode, format, raw, stamp};
use crate::base::{ChunkDigests, Interrupt, Progress, Sha256Digest};
use crate::block::redo;

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

/// A base image in a file, and what it must be.
#[derive(Clone, Copy, Debug)]
pub struct LocalImage<'l> {
    /// The file.
    pub path: &'l Path,
    /// What it must hash to, packed as it is.
    pub sha256: Option<Sha256Digest>,
    /// A file with OpenPGP keys, one of which must have signed it: the signature is the file beside it with `.sig` after
    /// its name.
    pub signed_by: Option<&'l Path>,
    /// Are both digests asked for, also of a raw image, where the chunks would do?
    pub is_hashed: bool,
}

impl<'l> LocalImage<'l> {
    /// The image at `path`, whatever it is.
    #[must_use]
    pub fn at(path: &'l Path) -> Self {
        Self { path, sha256: None, signed_by: None, is_hashed: false }
    }
}

/// Opens an image, unpacking it into `cache` unless that has been done before. Changes of a raw image that were cut off
/// are finished first.
///
/// # Errors
/// Any [`Error`]; then nothing stays in the cache.
pub fn open_base(
    image: &LocalImage<'_>,
    cache: &Cache,
    progress: &dyn Progress,
    interrupt: &Interrupt,
) -> Result<BaseImage, Error> {
    let keys = image.signed_by.map(Keys::read).transpose()?;
    let LocalImage { path, sha256: expected, is_hashed, .. } = *image;
    let is_hashed = is_hashed || expected.is_some();
    Opening {
        path,
        cache,
        expected,
        keys: keys.as_ref(),
        is_hashed,
        wanted: Wanted::Disk,
        progress,
        interrupt,
    }
    .open()
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
    let (expected, keys, is_hashed, wanted) = (None, None, false, Wanted::Anything);
    Opening { path, cache, expected, keys, is_hashed, wanted, progress, interrupt }.open()
}

/// What was asked for.
#[derive(Clone, Copy)]
struct Opening<'o> {
    path: &'o Path,
    cache: &'o Cache,
    expected: Option<Sha256Digest>,
    /// One of which must have signed it.
    keys: Option<&'o Keys>,
    /// Is the digest of a raw image asked for, too?
    is_hashed: bool,
    wanted: Wanted,
    progress: &'o dyn Progress,
    interrupt: &'o Interrupt,
}

impl Opening<'_> {
    fn open(&self) -> Result<BaseImage, Error> {
        let path = self.path;
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
        let len_bytes = metadata.len();
        let given = Given {
            asked: *self,
            canonical: &canonical,
            file: &file,
            len_bytes,
            stamp: stamp::stamp(&metadata),
            format,
        };
        log::info!("`{}`: {format:?}, {len_bytes} bytes", canonical.display());
        given.check_signature()?;
        if format != Format::Raw {
            return given.open_archive();
        }
        check_head(path, format, self.wanted, &head)?;
        let (digests, sha256) = given.digest_raw()?;
        Ok(BaseImage {
            path: canonical,
            len_bytes,
            archive_len: len_bytes,
            archive_sha256: sha256,
            image_sha256: sha256,
            digests,
            file,
            archive: None,
        })
    }
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
    asked: Opening<'g>,
    canonical: &'g Path,
    file: &'g File,
    len_bytes: u64,
    stamp: String,
    format: Format,
}

impl Given<'_> {
    /// Is the file signed as it should be? What is known of it already is not looked at again.
    fn check_signature(&self) -> Result<(), Error> {
        let Opening { path, progress, interrupt, .. } = self.asked;
        let Some(keys) = self.asked.keys else { return Ok(()) };
        let mut seen = self.recall();
        if seen.signed_by.as_ref().is_some_and(|fingerprint| keys.hold(fingerprint)) {
            return Ok(());
        }
        let mut beside = path.as_os_str().to_owned();
        beside.push(SIGNATURE_SUFFIX);
        let (name, mut bytes) = (Path::new(&beside).display().to_string(), Vec::new());
        let read = File::open(&beside)
            .and_then(|file| file.take(SIGNATURE_LEN_MAX as u64 + 1).read_to_end(&mut bytes));
        read.map_err(|source| Error::Io { action: "read the signature", path: beside.into(), source })?;
        let signature = Detached { name: &name, bytes: &bytes };
        let signer = keys.verify(self.file, signature, SystemTime::now(), interrupt, progress)?;
        seen.signed_by = Some(signer.to_string());
        self.remember(&seen)
    }

    /// The digests of a raw image that is used where it is.
    fn digest_raw(&self) -> Result<(ChunkDigests, Option<Sha256Digest>), Error> {
        let Opening { progress, interrupt, .. } = self.asked;
        let mut seen = self.recall();
        let known = seen.digests.is_some() && (!self.asked.is_hashed || seen.sha256.is_some());
        if seen.digests.is_none() {
            progress.start("hash the base image", Some(self.len_bytes));
            let digests = raw::digest_file(self.file, progress, interrupt);
            progress.finish();
            interrupt.check()?;
            seen.digests = Some(digests.map_err(|source| self.failed("read", source))?);
        }
        if self.asked.is_hashed && seen.sha256.is_none() {
            seen.sha256 = Some(self.hash()?);
        }
        if !known {
            self.remember(&seen)?;
        }
        if let Some(sha256) = seen.sha256 {
            self.check_expected(sha256)?;
        }
        let digests = seen.digests.ok_or_else(|| Error::Changed(self.asked.path.to_owned()))?;
        Ok((digests, seen.sha256))
    }

    fn open_archive(&self) -> Result<BaseImage, Error> {
        let Opening { cache, progress, interrupt, .. } = self.asked;
        if let Some(base) = self.open_unpacked()? {
            return Ok(base);
        }
        let lock = cache.lock(&cache::key_of_path(self.canonical), progress, interrupt)?;
        // Another process may have done it while we waited.
        if let Some(base) = self.open_unpacked()? {
            return Ok(base);
        }
        if self.recall().sha256.is_none() && cache.may_hold(self.len_bytes) {
            let sha256 = self.hash()?;
            self.check_expected(sha256)?;
            self.remember(&cache::Seen { sha256: Some(sha256), ..self.recall() })?;
            if let Some(base) = self.open_unpacked()? {
                return Ok(base);
            }
        }
        let limit = self.check_space()?;
        let part = lock.image_part()?;
        let (sha256, image) = self.unpack(part.file(), limit)?;
        self.check_expected(sha256)?;
        let entry = cache::Entry {
            archive: sha256,
            archive_len: self.len_bytes,
            image,
            has_blocks: XzArchive::of(self.file).is_some(),
            origin: self.canonical.display().to_string(),
            signed_by: None,
        };
        let held = cache.install(part, entry, None)?;
        self.remember(&cache::Seen { sha256: Some(sha256), ..self.recall() })?;
        Ok(self.base_of(held))
    }

    /// The image in the cache, when the archive is known and its image is whole.
    fn open_unpacked(&self) -> Result<Option<BaseImage>, Error> {
        let Some(sha256) = self.recall().sha256 else { return Ok(None) };
        self.check_expected(sha256)?;
        let held = self.asked.cache.find(sha256, self.asked.progress, self.asked.interrupt)?;
        Ok(held.map(|held| self.base_of(held)))
    }

    /// The archive is the file that was named, whether the cache has one or not.
    fn base_of(&self, held: cache::Held) -> BaseImage {
        BaseImage { archive: XzArchive::of(self.file), ..held.into_base() }
    }

    /// How long the image may get; refuses early what will not fit.
    fn check_space(&self) -> Result<u64, Error> {
        let Opening { path, cache, .. } = self.asked;
        let free_bytes = cache.free_bytes().unwrap_or(IMAGE_LEN_MAX);
        if let Some(needed_bytes) = format::stated_len(self.file, self.format) {
            if needed_bytes > IMAGE_LEN_MAX {
                return Err(Error::TooLong { path: path.to_owned(), limit: IMAGE_LEN_MAX });
            }
            if needed_bytes > free_bytes {
                let (path, dir) = (path.to_owned(), cache.dir().to_owned());
                return Err(Error::NoSpace { path, dir, needed_bytes, free_bytes });
            }
        }
        Ok(IMAGE_LEN_MAX.min(free_bytes))
    }

    fn unpack(&self, part: &File, limit: u64) -> Result<(Sha256Digest, raw::RawDigests), Error> {
        let Opening { path, wanted, progress, .. } = self.asked;
        let mut out = raw::RawWriter::new(part);
        progress.start("unpack the base image", Some(self.len_bytes));
        let unpacked = self.job(limit).unpack(&mut out);
        progress.finish();
        let sha256 = unpacked.map_err(|error| error.or_full(self.asked.cache.dir()))?;
        check_head(path, self.format, wanted, out.head())?;
        let digests = out.finish().map_err(|source| Error::Unpack { path: path.to_owned(), source })?;
        Ok((sha256, digests))
    }

    fn hash(&self) -> Result<Sha256Digest, Error> {
        let Opening { progress, interrupt, .. } = self.asked;
        progress.start("hash the file", Some(self.len_bytes));
        let digest = self.job(0).hash();
        progress.finish();
        interrupt.check()?;
        digest
    }

    fn job(&self, limit: u64) -> decode::Job<'_> {
        let Opening { path, wanted, progress, interrupt, .. } = self.asked;
        let (file, format) = (self.file, self.format);
        decode::Job { path, file, arriving: None, format, limit, wanted, progress, interrupt }
    }

    fn check_expected(&self, found: Sha256Digest) -> Result<(), Error> {
        match self.asked.expected {
            Some(wanted) if wanted != found => {
                Err(Error::Digest { path: self.asked.path.to_owned(), found, wanted })
            }
            _ => Ok(()),
        }
    }

    fn recall(&self) -> cache::Seen {
        self.asked.cache.recall(self.canonical, &self.stamp)
    }

    /// Notes what was found out, unless the file changed meanwhile.
    fn remember(&self, seen: &cache::Seen) -> Result<(), Error> {
        let metadata = self.file.metadata().map_err(|source| self.failed("open", source))?;
        if stamp::stamp(&metadata) != self.stamp {
            return Err(Error::Changed(self.asked.path.to_owned()));
        }
        self.asked.cache.remember(self.canonical, &self.stamp, seen)
    }

    fn failed(&self, action: &'static str, source: io::Error) -> Error {
        Error::Io { action, path: self.asked.path.to_owned(), source }
    }
}
