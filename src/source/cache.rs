//! What was unpacked once: a folder of raw images, each under the digest of the archive it came in.
//!
//! | file                  | holds                                                                     |
//! |-----------------------|---------------------------------------------------------------------------|
//! | `DIGEST.img`          | the raw image, with holes                                                 |
//! | `DIGEST.xz`           | the archive itself, where it has blocks that compressed nodes can take over |
//! | `DIGEST.json`         | its digests, lengths, origin and stamp; written last, so without it there is no image; its date is that of the last use |
//! | `at-….json`           | which archive an address held when it was last fetched                    |
//! | `seen-….json`         | what a file given by the user was when it was read: its stamp, digests    |
//! | `KEY.part`, `KEY.part.json` | an archive being downloaded, and what it is; any later run goes on with it |
//! | `KEY.img.part`        | an image being unpacked; left behind by a killed process, removed by the next |
//! | `KEY.lock`            | held by the process that makes an image: [`Lock`]                         |
//! | `catalogue/`          | published lists                                                           |
//!
//! An image is believed while its file has the stamp (length, times, inode) it had when it was last known to be whole;
//! else its digests are taken again, and what does not have them is removed and made again. Records appear whole, by
//! renaming, so processes need not know of each other to read.

mod keep;
mod lock;

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};
use tempfile::NamedTempFile;

use super::error::Error;
use super::raw::{self, RawDigests};
use super::{BaseImage, XzArchive, decode, stamp};
use crate::base::{ChunkDigests, Interrupt, Progress, Sha256Digest};
use crate::block::host;

pub use self::keep::{Condition, Pruned, Stored};
pub(super) use self::lock::{Lock, Part};

/// Of an archive that is kept.
const ARCHIVE_SUFFIX: &str = ".xz";
/// Of a record being written.
const NOTE_PREFIX: &str = "note-";
const NOTE_SUFFIX: &str = ".part";

/// A folder for unpacked images.
#[derive(Clone, Debug)]
pub struct Cache {
    dir: PathBuf,
}

/// An unpacked image in the cache.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) file: File,
    pub(super) path: PathBuf,
    pub(super) archive: Sha256Digest,
    pub(super) archive_len: u64,
    pub(super) image: RawDigests,
    /// The fingerprint of the OpenPGP key whose signature of the archive was checked.
    pub(super) signed_by: Option<String>,
    /// Does the archive have blocks that can be taken over?
    pub(super) has_blocks: bool,
    /// The archive, where it has and was kept.
    pub(super) kept: Option<XzArchive>,
}

impl Held {
    pub(super) fn into_base(self) -> BaseImage {
        BaseImage {
            file: self.file,
            path: self.path,
            len_bytes: self.image.chunks.len_bytes(),
            archive_len: self.archive_len,
            archive_sha256: Some(self.archive),
            image_sha256: Some(self.image.sha256),
            digests: self.image.chunks,
            archive: self.kept,
        }
    }
}

/// What is to be known of an image that enters the cache.
pub(super) struct Entry {
    pub(super) archive: Sha256Digest,
    pub(super) archive_len: u64,
    pub(super) image: RawDigests,
    /// Does it have blocks that can be taken over?
    pub(super) has_blocks: bool,
    /// A URL, or a path.
    pub(super) origin: String,
    pub(super) signed_by: Option<String>,
}

#[derive(Clone, Serialize, Deserialize)]
struct Record {
    archive_len: u64,
    image_len: u64,
    image_sha256: String,
    chunks: Vec<String>,
    /// Of the image, when it was last known to be whole.
    stamp: String,
    has_blocks: bool,
    /// Of the archive, the same, where it was kept.
    archive_stamp: Option<String>,
    origin: String,
    signed_by: Option<String>,
}

impl Record {
    fn digests(&self) -> Option<RawDigests> {
        let chunks = to_digests(self.image_len, &self.chunks)?;
        Some(RawDigests { chunks, sha256: self.image_sha256.parse().ok()? })
    }
}

/// Which archive an address held.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct At {
    pub(super) url: String,
    pub(super) etag: Option<String>,
    pub(super) archive_sha256: String,
}

/// What is remembered of a file that the user named.
#[derive(Serialize, Deserialize)]
struct SeenRecord {
    path: String,
    stamp: String,
    sha256: Option<String>,
    image_len: Option<u64>,
    chunks: Option<Vec<String>>,
    signed_by: Option<String>,
}

/// The same, with its texts read.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    /// The digest of the whole file.
    pub(super) sha256: Option<Sha256Digest>,
    /// The chunks of a raw image.
    pub(super) digests: Option<ChunkDigests>,
    /// The fingerprint of the OpenPGP key whose signature was checked.
    pub(super) signed_by: Option<String>,
}

/// The key of what is made from a file of the user's.
pub(super) fn key_of_path(path: &Path) -> String {
    format!("file-{}", Sha256Digest::of(path.as_os_str().as_encoded_bytes()))
}

/// The key of what is made from an archive: its digest, or else its address.
pub(super) fn key_of_archive(archive: Option<Sha256Digest>, url: &str) -> String {
    archive.map_or_else(
        || format!("url-{}", Sha256Digest::of(url.as_bytes())),
        |archive| format!("get-{archive}"),
    )
}

impl Cache {
    /// The cache in `dir`, which is made when first needed.
    #[must_use]
    pub fn at(dir: PathBuf) -> Self {
        Self { dir }
    }

    /// Where it is.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// What is known of the file at `path`, if it is still as it was.
    pub(super) fn recall(&self, path: &Path, stamp: &str) -> Seen {
        let record: Option<SeenRecord> = read_json(&self.seen_path(path));
        let Some(record) =
            record.filter(|record| record.stamp == stamp && *record.path == path.to_string_lossy())
        else {
            return Seen::default();
        };
        let digests = record.image_len.zip(record.chunks).and_then(|(len, chunks)| to_digests(len, &chunks));
        let sha256 = record.sha256.and_then(|text| text.parse().ok());
        Seen { sha256, digests, signed_by: record.signed_by }
    }

    /// Notes what was found out about the file at `path`.
    pub(super) fn remember(&self, path: &Path, stamp: &str, seen: &Seen) -> Result<(), Error> {
        let record = SeenRecord {
            path: path.to_string_lossy().into_owned(),
            stamp: stamp.to_owned(),
            sha256: seen.sha256.map(|digest| digest.to_string()),
            image_len: seen.digests.as_ref().map(ChunkDigests::len_bytes),
            chunks: seen.digests.as_ref().map(to_texts),
            signed_by: seen.signed_by.clone(),
        };
        self.write_json(&self.seen_path(path), &record)
    }

    fn seen_path(&self, path: &Path) -> PathBuf {
        self.dir.join(format!("seen-{}.json", Sha256Digest::of(path.as_os_str().as_encoded_bytes())))
    }

    /// Which archive was at `url` when it was last fetched.
    pub(super) fn archive_at(&self, url: &str) -> Option<At> {
        read_json(&self.at_path(url)).filter(|at: &At| at.url == url)
    }

    pub(super) fn note_archive_at(&self, at: &At) -> Result<(), Error> {
        self.write_json(&self.at_path(&at.url), at)
    }

    fn at_path(&self, url: &str) -> PathBuf {
        self.dir.join(format!("at-{}.json", Sha256Digest::of(url.as_bytes())))
    }

    fn record_path(&self, archive: Sha256Digest) -> PathBuf {
        self.dir.join(format!("{archive}.json"))
    }

    fn image_path(&self, archive: Sha256Digest) -> PathBuf {
        self.dir.join(format!("{archive}.img"))
    }

    fn archive_path(&self, archive: Sha256Digest) -> PathBuf {
        self.dir.join(format!("{archive}{ARCHIVE_SUFFIX}"))
    }

    /// The image unpacked from the archive with this digest; `None` when there is none. One that is not whole is
    /// removed.
    pub(super) fn find(
        &self,
        archive: Sha256Digest,
        progress: &dyn Progress,
        interrupt: &Interrupt,
    ) -> Result<Option<Held>, Error> {
        let record_path = self.record_path(archive);
        let Some(mut record) = read_json::<Record>(&record_path) else {
            log::debug!("cache: nothing of the archive {archive}");
            return Ok(None);
        };
        let path = self.image_path(archive);
        let opened = File::open(&path).and_then(|file| Ok((stamp::stamp(&file.metadata()?), file)));
        let (Some(image), Ok((stamp, file))) = (record.digests(), opened) else { return Ok(None) };
        if stamp == record.stamp {
            // The date is only for whoever wants to know what is not used any more.
            let opened = File::options().write(true).open(&record_path);
            let _ = opened.and_then(|file| file.set_modified(SystemTime::now()));
        } else if is_whole(&file, &image.chunks, progress, interrupt)? {
            record.stamp = stamp;
            self.write_json(&record_path, &record)?;
        } else {
            let (path, origin) = (path.display(), record.origin);
            progress.note(&format!("`{path}`, unpacked from {origin}, is damaged: removed it"));
            self.remove(archive).map_err(self.failed("clean"))?;
            return Ok(None);
        }
        let kept = self.find_archive(archive, &mut record, progress, interrupt)?;
        log::info!("cache: `{}` is {} unpacked", path.display(), record.origin);
        let Record { archive_len, signed_by, has_blocks, .. } = record;
        Ok(Some(Held { file, path, archive, archive_len, image, signed_by, has_blocks, kept }))
    }

    /// The archive itself, where it was kept and is what it was. One that is not is removed.
    fn find_archive(
        &self,
        archive: Sha256Digest,
        record: &mut Record,
        progress: &dyn Progress,
        interrupt: &Interrupt,
    ) -> Result<Option<XzArchive>, Error> {
        let path = self.archive_path(archive);
        let Some(known) = &record.archive_stamp else { return Ok(None) };
        let opened = File::open(&path).and_then(|file| Ok((stamp::stamp(&file.metadata()?), file)));
        let Ok((stamp, file)) = opened else { return Ok(None) };
        if stamp != *known {
            if !is_archive_whole(&path, &file, archive, record.archive_len, progress, interrupt)? {
                progress.note(&format!("`{}` is damaged: removed it", path.display()));
                remove_if_there(&path).map_err(self.failed("clean"))?;
                return Ok(None);
            }
            record.archive_stamp = Some(stamp);
            self.write_json(&self.record_path(archive), record)?;
        }
        Ok(XzArchive::of(&file))
    }

    /// Was an archive of this length unpacked? Then hashing it first is likely to save unpacking it.
    pub(super) fn may_hold(&self, archive_len: u64) -> bool {
        self.records().any(|(_, record)| record.archive_len == archive_len)
    }

    /// Every image by its record.
    fn records(&self) -> impl Iterator<Item = (Sha256Digest, Record)> {
        fs::read_dir(&self.dir).into_iter().flatten().flatten().filter_map(|entry| {
            let name = entry.file_name();
            let archive = name.to_str()?.strip_suffix(".json")?.parse().ok()?;
            Some((archive, read_json(&entry.path())?))
        })
    }

    /// Makes an unpacked image an entry, whole; with it goes the archive at `kept`.
    pub(super) fn install(&self, part: Part, entry: Entry, kept: Option<&Path>) -> Result<Held, Error> {
        part.file().sync_all().map_err(self.failed("sync a file in"))?;
        let path = self.image_path(entry.archive);
        let record_path = self.record_path(entry.archive);
        // An entry that was found not whole loses its record first.
        remove_if_there(&record_path).map_err(self.failed("clean"))?;
        part.persist(&path).map_err(self.failed("rename a file in"))?;
        let kept = kept.map(|part| self.keep_archive(part, entry.archive)).transpose()?.flatten();
        let file = File::open(&path).map_err(self.failed("open a file in"))?;
        let metadata = file.metadata().map_err(self.failed("open a file in"))?;
        let Entry { archive, archive_len, image, has_blocks, origin, signed_by } = entry;
        let record = Record {
            archive_len,
            image_len: image.chunks.len_bytes(),
            image_sha256: image.sha256.to_string(),
            chunks: to_texts(&image.chunks),
            stamp: stamp::stamp(&metadata),
            has_blocks,
            archive_stamp: kept.as_ref().map(|kept| kept.stamp.clone()),
            origin,
            signed_by,
        };
        self.write_json(&record_path, &record)?;
        let signed_by = record.signed_by;
        Ok(Held { file, path, archive, archive_len, image, signed_by, has_blocks, kept })
    }

    fn keep_archive(&self, part: &Path, archive: Sha256Digest) -> Result<Option<XzArchive>, Error> {
        let path = self.archive_path(archive);
        let file = File::open(part).map_err(self.failed("open a file in"))?;
        file.sync_all().map_err(self.failed("sync a file in"))?;
        std::fs::rename(part, &path).map_err(self.failed("rename a file in"))?;
        Ok(XzArchive::of(&file))
    }

    /// Removes an image; first the record, so that there is never one without its image.
    fn remove(&self, archive: Sha256Digest) -> io::Result<()> {
        remove_if_there(&self.record_path(archive))?;
        remove_if_there(&self.archive_path(archive))?;
        remove_if_there(&self.image_path(archive))
    }

    /// The bytes that fit into the cache; `None` when the system does not say.
    pub(super) fn free_bytes(&self) -> Option<u64> {
        host::free_bytes(&self.dir)
    }

    fn write_json(&self, path: &Path, record: &impl Serialize) -> Result<(), Error> {
        fs::create_dir_all(&self.dir).map_err(self.failed("create"))?;
        let mut builder = tempfile::Builder::new();
        let part: io::Result<NamedTempFile> =
            builder.prefix(NOTE_PREFIX).suffix(NOTE_SUFFIX).tempfile_in(&self.dir);
        let mut part = part.map_err(self.failed("create a file in"))?;
        let mut writer = io::BufWriter::new(part.as_file_mut());
        serde_json::to_writer(&mut writer, record)
            .map_err(|error| self.failed("write a file in")(error.into()))?;
        let written = writer.into_inner().map_err(io::IntoInnerError::into_error);
        written.and_then(|file| file.sync_all()).map_err(self.failed("write a file in"))?;
        part.persist(path).map_err(|error| self.failed("rename a file in")(error.error))?;
        host::sync_folder(&self.dir).map_err(self.failed("sync"))
    }

    pub(super) fn failed(&self, action: &'static str) -> impl Fn(io::Error) -> Error + '_ {
        move |source| Error::Cache { action, dir: self.dir.clone(), source }
    }
}

/// Does the file still have its digests?
fn is_whole(
    file: &File,
    digests: &ChunkDigests,
    progress: &dyn Progress,
    interrupt: &Interrupt,
) -> Result<bool, Error> {
    if file.metadata().is_ok_and(|metadata| metadata.len() != digests.len_bytes()) {
        return Ok(false);
    }
    progress.start("check the cached image", Some(digests.len_bytes()));
    let found = raw::digest_file(file, progress, interrupt);
    progress.finish();
    interrupt.check()?;
    // What cannot be read is not whole.
    Ok(found.is_ok_and(|found| found.chunks() == digests.chunks()))
}

/// Does the archive still have its digest?
fn is_archive_whole(
    path: &Path,
    file: &File,
    archive: Sha256Digest,
    len_bytes: u64,
    progress: &dyn Progress,
    interrupt: &Interrupt,
) -> Result<bool, Error> {
    if file.metadata().is_ok_and(|metadata| metadata.len() != len_bytes) {
        return Ok(false);
    }
    progress.start("check the cached archive", Some(len_bytes));
    let found = decode::hash_file(path, file, progress, interrupt);
    progress.finish();
    interrupt.check()?;
    // What cannot be read is not whole.
    Ok(found.is_ok_and(|found| found == archive))
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Reads a record; whatever is wrong with it, it is made again.
fn read_json<T: for<'de> Deserialize<'de>>(path: &Path) -> Option<T> {
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}

fn to_texts(digests: &ChunkDigests) -> Vec<String> {
    digests.chunks().iter().map(Sha256Digest::to_string).collect()
}

fn to_digests(len_bytes: u64, texts: &[String]) -> Option<ChunkDigests> {
    let chunks: Option<Vec<Sha256Digest>> = texts.iter().map(|text| text.parse().ok()).collect();
    ChunkDigests::new(len_bytes, chunks?)
}
