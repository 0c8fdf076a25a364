//! What was unpacked once: a folder of raw images named by the digest of their archive.
//!
//! | file              | holds                                                                 |
//! |-------------------|-----------------------------------------------------------------------|
//! | `DIGEST.img`      | the raw image, with holes                                             |
//! | `DIGEST.json`     | lengths and chunk digests; written last, so without it there is no image |
//! | `seen-….json`     | what a file given by the user was when it was read: its stamp, digests |
//! | `unpack-….part`   | an image being unpacked; left behind by a killed process, removed by the next |
//! | `lock`            | held while unpacking                                                  |

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tempfile::NamedTempFile;

use super::Error;
use crate::base::{ChunkDigests, Interrupt, Sha256Digest};
use crate::block::host;

const PART_PREFIX: &str = "unpack-";
const PART_SUFFIX: &str = ".part";
/// Between two looks at a lock that another process holds.
const PATIENCE: Duration = Duration::from_millis(50);

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
    pub(super) digests: ChunkDigests,
}

/// Keeps other processes from unpacking.
pub(super) struct Lock(#[expect(dead_code, reason = "held, not read")] File);

#[derive(Serialize, Deserialize)]
struct EntryRecord {
    archive_len: u64,
    image_len: u64,
    chunks: Vec<String>,
}

/// What is remembered of a file that the user named.
#[derive(Serialize, Deserialize)]
struct SeenRecord {
    path: String,
    stamp: String,
    sha256: Option<String>,
    image_len: Option<u64>,
    chunks: Option<Vec<String>>,
}

/// The same, with its texts read.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    /// The digest of the whole file.
    pub(super) sha256: Option<Sha256Digest>,
    /// The chunks of a raw image.
    pub(super) digests: Option<ChunkDigests>,
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
        Seen { sha256: record.sha256.and_then(|text| text.parse().ok()), digests }
    }

    /// Notes what was found out about the file at `path`.
    pub(super) fn remember(&self, path: &Path, stamp: &str, seen: &Seen) -> Result<(), Error> {
        let record = SeenRecord {
            path: path.to_string_lossy().into_owned(),
            stamp: stamp.to_owned(),
            sha256: seen.sha256.map(|digest| digest.to_string()),
            image_len: seen.digests.as_ref().map(ChunkDigests::len_bytes),
            chunks: seen.digests.as_ref().map(to_texts),
        };
        self.write_json(&self.seen_path(path), &record)
    }

    fn seen_path(&self, path: &Path) -> PathBuf {
        self.dir.join(format!("seen-{}.json", Sha256Digest::of(path.as_os_str().as_encoded_bytes())))
    }

    /// The image unpacked from the archive with this digest; `None` when there is none or it is not whole.
    pub(super) fn find(&self, archive: Sha256Digest) -> Option<Held> {
        let record: EntryRecord = read_json(&self.dir.join(format!("{archive}.json")))?;
        let digests = to_digests(record.image_len, &record.chunks)?;
        let path = self.dir.join(format!("{archive}.img"));
        let file = File::open(&path).ok()?;
        (file.metadata().ok()?.len() == record.image_len).then_some(Held { file, path, digests })
    }

    /// Was an archive of this length unpacked? Then hashing it first is likely to save unpacking it.
    pub(super) fn may_hold(&self, archive_len: u64) -> bool {
        let Ok(entries) = fs::read_dir(&self.dir) else { return false };
        entries.flatten().any(|entry| {
            let name = entry.file_name();
            let is_entry = name.to_string_lossy().strip_suffix(".json").is_some_and(|stem| stem.len() == 64);
            is_entry && read_json::<EntryRecord>(&entry.path()).is_some_and(|r| r.archive_len == archive_len)
        })
    }

    /// Waits for its turn to unpack; removes what dead processes left.
    pub(super) fn lock(&self, interrupt: &Interrupt) -> Result<Lock, Error> {
        fs::create_dir_all(&self.dir).map_err(self.failed("create"))?;
        let path = self.dir.join("lock");
        let file = fs::OpenOptions::new().create(true).truncate(false).write(true).open(&path);
        let file = file.map_err(self.failed("open the lock of"))?;
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) => {
                    interrupt.check()?;
                    std::thread::sleep(PATIENCE);
                }
                Err(TryLockError::Error(source)) => return Err(self.failed("lock")(source)),
            }
        }
        // Who holds the lock is the only one with such a file.
        for entry in fs::read_dir(&self.dir).map_err(self.failed("list"))?.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.starts_with(PART_PREFIX) && name.ends_with(PART_SUFFIX) {
                let _ = fs::remove_file(entry.path());
            }
        }
        Ok(Lock(file))
    }

    /// A file to unpack into; gone when dropped.
    pub(super) fn part(&self, _lock: &Lock) -> Result<NamedTempFile, Error> {
        let mut builder = tempfile::Builder::new();
        let part = builder.prefix(PART_PREFIX).suffix(PART_SUFFIX).tempfile_in(&self.dir);
        part.map_err(self.failed("create a file in"))
    }

    /// Makes an unpacked image an entry, whole.
    pub(super) fn install(
        &self,
        part: NamedTempFile,
        archive: Sha256Digest,
        archive_len: u64,
        digests: ChunkDigests,
    ) -> Result<Held, Error> {
        part.as_file().sync_all().map_err(self.failed("sync a file in"))?;
        let path = self.dir.join(format!("{archive}.img"));
        let record_path = self.dir.join(format!("{archive}.json"));
        // An entry that was found not whole loses its record first.
        match fs::remove_file(&record_path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(self.failed("clean")(error)),
            _ => {}
        }
        part.persist(&path).map_err(|error| self.failed("rename a file in")(error.error))?;
        let chunks = to_texts(&digests);
        let record = EntryRecord { archive_len, image_len: digests.len_bytes(), chunks };
        self.write_json(&record_path, &record)?;
        let file = File::open(&path).map_err(self.failed("open a file in"))?;
        Ok(Held { file, path, digests })
    }

    /// The bytes that fit into the cache; `None` when the system does not say.
    pub(super) fn free_bytes(&self) -> Option<u64> {
        host::free_bytes(&self.dir)
    }

    fn write_json(&self, path: &Path, record: &impl Serialize) -> Result<(), Error> {
        fs::create_dir_all(&self.dir).map_err(self.failed("create"))?;
        let mut part = NamedTempFile::new_in(&self.dir).map_err(self.failed("create a file in"))?;
        serde_json::to_writer(io::BufWriter::new(part.as_file_mut()), record)
            .map_err(|error| self.failed("write a file in")(error.into()))?;
        part.as_file().sync_all().map_err(self.failed("sync a file in"))?;
        part.persist(path).map_err(|error| self.failed("rename a file in")(error.error))?;
        Ok(())
    }

    fn failed(&self, action: &'static str) -> impl Fn(io::Error) -> Error + '_ {
        move |source| Error::Cache { action, dir: self.dir.clone(), source }
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
