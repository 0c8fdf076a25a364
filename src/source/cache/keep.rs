//! What is in the cache, what of it is sound, and what can go.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::lock::{IMAGE_SUFFIX, is_old};
use super::{ARCHIVE_SUFFIX, Cache, Record, SeenRecord, is_whole, read_json, remove_if_there};
use crate::base::{Interrupt, Progress, Sha256Digest};
use crate::source::error::Error;

/// An image in the cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// The digest of the archive it was unpacked from, which is its name.
    pub archive_sha256: Sha256Digest,
    /// The length of that archive in bytes.
    pub archive_len: u64,
    /// The raw image.
    pub path: PathBuf,
    /// Its length in bytes.
    pub image_len: u64,
    /// Its digest.
    pub image_sha256: Option<Sha256Digest>,
    /// The bytes it takes on the disk, with its archive where that was kept.
    pub disk_bytes: u64,
    /// The URL or file it came from.
    pub origin: String,
    /// The fingerprint of the OpenPGP key whose signature was checked.
    pub signed_by: Option<String>,
    /// When it was last opened; `None` when the system does not say.
    pub last_used: Option<SystemTime>,
}

/// What became of an image that was checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// It has its digests.
    Whole,
    /// It has not, and was removed.
    Damaged,
}

/// What was removed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Images.
    pub images: Vec<Stored>,
    /// Downloads that were not finished and that nobody is at work on, images without a record, notes on files that are
    /// not there any more.
    pub leftovers: usize,
    /// The bytes that they took on the disk.
    pub disk_bytes: u64,
}

impl Cache {
    /// Every image, the one used last first.
    #[must_use]
    pub fn list(&self) -> Vec<Stored> {
        let mut all: Vec<Stored> =
            self.records().filter_map(|(archive, record)| self.stored(archive, record)).collect();
        all.sort_by(|a, b| b.last_used.cmp(&a.last_used).then(a.archive_sha256.cmp(&b.archive_sha256)));
        all
    }

    /// Downloads that were not finished: the bytes that are there of each.
    #[must_use]
    pub fn unfinished(&self) -> Vec<u64> {
        self.archive_parts().into_iter().map(|(_, len_bytes)| len_bytes).collect()
    }

    fn stored(&self, archive: Sha256Digest, record: Record) -> Option<Stored> {
        let path = self.image_path(archive);
        let kept_bytes = fs::metadata(self.archive_path(archive)).map_or(0, |kept| disk_bytes(&kept));
        let disk_bytes = disk_bytes(&fs::metadata(&path).ok()?).saturating_add(kept_bytes);
        let used = fs::metadata(self.record_path(archive)).and_then(|metadata| metadata.modified());
        Some(Stored {
            archive_sha256: archive,
            archive_len: record.archive_len,
            path,
            image_len: record.image_len,
            image_sha256: record.image_sha256.parse().ok(),
            disk_bytes,
            origin: record.origin,
            signed_by: record.signed_by,
            last_used: used.ok(),
        })
    }

    /// Reads every image through; those that are not as they were are removed.
    ///
    /// # Errors
    /// [`Error::Cache`], [`Error::Interrupted`].
    pub fn verify(
        &self,
        progress: &dyn Progress,
        interrupt: &Interrupt,
    ) -> Result<Vec<(Stored, Condition)>, Error> {
        let mut all = Vec::new();
        for stored in self.list() {
            interrupt.check()?;
            let record: Option<Record> = read_json(&self.record_path(stored.archive_sha256));
            // Another process removed it meanwhile.
            let Some(mut record) = record else { continue };
            let Some(digests) = record.digests() else { continue };
            // Read whatever its stamp says.
            record.archive_stamp = record.archive_stamp.map(|_| String::new());
            self.find_archive(stored.archive_sha256, &mut record, progress, interrupt)?;
            let is_sound = match File::open(&stored.path) {
                Ok(file) => is_whole(&file, &digests.chunks, progress, interrupt)?,
                Err(_) => false,
            };
            if !is_sound {
                self.remove(stored.archive_sha256).map_err(self.failed("clean"))?;
            }
            all.push((stored, if is_sound { Condition::Whole } else { Condition::Damaged }));
        }
        Ok(all)
    }

    /// Removes images that were not used for longer than `older_than`, then those used longest ago until the others take
    /// no more than `max_bytes`; and whatever can serve nobody. A process that has an image open keeps what it has.
    ///
    /// # Errors
    /// [`Error::Cache`]
    pub fn prune(
        &self,
        older_than: Option<Duration>,
        max_bytes: Option<u64>,
        now: SystemTime,
    ) -> Result<Pruned, Error> {
        let mut pruned = Pruned::default();
        let mut kept_bytes = 0_u64;
        for stored in self.list() {
            // One of the future is new: a clock was wrong.
            let age = stored.last_used.and_then(|used| now.duration_since(used).ok()).unwrap_or_default();
            let with_it = kept_bytes.saturating_add(stored.disk_bytes);
            if older_than.is_some_and(|limit| age > limit) || max_bytes.is_some_and(|limit| with_it > limit) {
                self.remove(stored.archive_sha256).map_err(self.failed("clean"))?;
                pruned.disk_bytes = pruned.disk_bytes.saturating_add(stored.disk_bytes);
                pruned.images.push(stored);
            } else {
                kept_bytes = with_it;
            }
        }
        // Notes on images that are gone are left over, too.
        self.prune_leftovers(&mut pruned)?;
        Ok(pruned)
    }

    fn prune_leftovers(&self, pruned: &mut Pruned) -> Result<(), Error> {
        for (key, len_bytes) in self.archive_parts() {
            if let Some(_lock) = self.try_lock(&key)? {
                self.remove_archive_part(&key).map_err(self.failed("clean"))?;
                pruned.leftovers += 1;
                pruned.disk_bytes = pruned.disk_bytes.saturating_add(len_bytes);
            }
        }
        let archives: BTreeSet<String> = self.records().map(|(archive, _)| archive.to_string()).collect();
        for entry in fs::read_dir(&self.dir).into_iter().flatten().flatten() {
            let path = entry.path();
            let name = entry.file_name().to_string_lossy().into_owned();
            // Held until it is removed, so that nobody begins it anew meanwhile.
            let mut held = None;
            let is_useless = if let Some(key) = name.strip_suffix(IMAGE_SUFFIX) {
                held = self.try_lock(key)?;
                held.is_some()
            } else if let Some(archive) = name.strip_suffix(".img").or(name.strip_suffix(ARCHIVE_SUFFIX)) {
                // Between the renaming of an image and its record there is a moment without one.
                !archives.contains(archive) && is_old(&entry)
            } else if name.starts_with("seen-") {
                read_json::<SeenRecord>(&path).is_none_or(|seen| !Path::new(&seen.path).exists())
            } else if name.starts_with("at-") {
                read_json::<super::At>(&path).is_none_or(|at| !archives.contains(&at.archive_sha256))
            } else {
                false
            };
            if is_useless {
                let bytes = entry.metadata().map_or(0, |metadata| disk_bytes(&metadata));
                remove_if_there(&path).map_err(self.failed("clean"))?;
                pruned.leftovers += 1;
                pruned.disk_bytes = pruned.disk_bytes.saturating_add(bytes);
            }
            drop(held);
        }
        Ok(())
    }
}

#[cfg(unix)]
fn disk_bytes(metadata: &fs::Metadata) -> u64 {
    std::os::unix::fs::MetadataExt::blocks(metadata).saturating_mul(512)
}

#[cfg(not(unix))]
fn disk_bytes(metadata: &fs::Metadata) -> u64 {
    metadata.len()
}
