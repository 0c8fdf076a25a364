//! Lists kept in the cache: one file for each URL, `catalogue/SHA256-OF-URL.json`.
//!
//! A file appears whole, by renaming, so processes need not know of each other: the last one wins, and all are right.
//! One that is damaged is as good as none. Only what could be read as a list is kept.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::list::{self, Found};
use super::{BoxError, DOCUMENT_LEN_MAX, Error, FRESH, Options, Web, chain};
use crate::base::{Civil, Interrupt, Sha256Digest};
use crate::block::host;
use crate::source::net::Document;

const PART_PREFIX: &str = "fetch-";
const PART_SUFFIX: &str = ".part";
/// A document within JSON may take six bytes for one.
const RECORD_LEN_MAX: u64 = 7 * DOCUMENT_LEN_MAX;

/// The kept lists, and the way to newer ones.
pub(super) struct Store<'s> {
    dir: PathBuf,
    options: &'s Options<'s>,
    web: &'s dyn Web,
    interrupt: &'s Interrupt,
}

/// A kept list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Record {
    url: String,
    etag: Option<String>,
    /// When it was last known to be the newest: seconds since 1970.
    fetched_seconds: u64,
    /// Of the document.
    sha256: String,
    document: String,
}

/// Reads the list in the file at `path`.
pub(super) fn read_file(path: &Path) -> Result<Found, Error> {
    let failed = |source| Error::Read { path: path.to_owned(), source };
    let origin = || path.display().to_string();
    let bytes = read_at_most(path, DOCUMENT_LEN_MAX).map_err(failed)?;
    let bytes = bytes.ok_or_else(|| Error::TooLong { origin: origin() })?;
    list::parse(&bytes, 1).map_err(|reason| Error::NotAList { origin: origin(), reason })
}

/// All of a file; `None` when it is longer.
fn read_at_most(path: &Path, len_max: u64) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    let count = File::open(path)?.take(len_max.saturating_add(1)).read_to_end(&mut bytes)?;
    Ok((count as u64 <= len_max).then_some(bytes))
}

impl<'s> Store<'s> {
    pub(super) fn new(options: &'s Options<'s>, web: &'s dyn Web, interrupt: &'s Interrupt) -> Self {
        Self { dir: options.cache_dir.join("catalogue"), options, web, interrupt }
    }

    /// The list at the first of `urls` that has one, and which that was.
    pub(super) fn first_of(&self, urls: &[&str], notes: &mut Vec<String>) -> Result<(String, Found), Error> {
        let may_use_kept = !self.options.refresh && !self.options.offline;
        for url in urls.iter().filter(|_| may_use_kept) {
            if let Some((_, found)) = self.kept(url, 1).filter(|(record, _)| self.is_fresh(record)) {
                return Ok(((*url).to_owned(), found));
            }
        }
        let mut failed = None;
        for url in urls.iter().filter(|_| !self.options.offline) {
            self.interrupt.check()?;
            match self.fetch(url, 1, notes) {
                Ok(found) => return Ok(((*url).to_owned(), found)),
                Err(source) => {
                    self.interrupt.check()?;
                    notes.push(format!("cannot fetch the catalogue `{url}`: {}", chain(&*source)));
                    failed.get_or_insert(source);
                }
            }
        }
        let url = urls.first().copied().unwrap_or_default().to_owned();
        let kept = urls.iter().filter_map(|url| Some((*url, self.kept(url, 1)?)));
        match (kept.max_by_key(|(_, (record, _))| record.fetched_seconds), failed) {
            (Some((url, (record, found))), _) => {
                notes.push(format!("using the catalogue {}", self.age(&record)));
                Ok((url.to_owned(), found))
            }
            (None, Some(source)) => Err(Error::Fetch { url, source }),
            (None, None) => Err(Error::Offline { url, dir: self.dir.clone() }),
        }
    }

    /// The sublist at `url`, new or not.
    pub(super) fn document(&self, url: &str, depth: usize, notes: &mut Vec<String>) -> Result<Found, Error> {
        self.interrupt.check()?;
        let kept = self.kept(url, depth);
        let (kept, failed) = match kept {
            Some((record, found)) if !self.options.refresh && self.is_fresh(&record) => return Ok(found),
            kept if self.options.offline => (kept, None),
            kept => match self.fetch(url, depth, notes) {
                Ok(found) => return Ok(found),
                Err(source) => (kept, Some(source)),
            },
        };
        self.interrupt.check()?;
        match (kept, failed) {
            (Some((record, found)), failed) => {
                if let Some(source) = failed {
                    let age = self.age(&record);
                    notes.push(format!("cannot fetch `{url}`, using it {age}: {}", chain(&*source)));
                }
                Ok(found)
            }
            (None, Some(source)) => Err(Error::Fetch { url: url.to_owned(), source }),
            (None, None) => Err(Error::Offline { url: url.to_owned(), dir: self.dir.clone() }),
        }
    }

    /// Asks for the list at `url`, and keeps it.
    fn fetch(&self, url: &str, depth: usize, notes: &mut Vec<String>) -> Result<Found, BoxError> {
        let kept = self.kept(url, depth);
        let etag = kept.as_ref().and_then(|(record, _)| record.etag.as_deref());
        let (record, found) = match (self.web.document(url, etag, DOCUMENT_LEN_MAX)?, kept) {
            (Document::Unchanged, Some((record, found))) if record.etag.is_some() => {
                (Record { fetched_seconds: self.now_seconds(), ..record }, found)
            }
            (Document::Unchanged, _) => return Err("the server says it is unchanged, unasked".into()),
            (Document::Fresh { bytes, etag }, _) => self.judge(url, depth, bytes, etag)?,
        };
        // What cannot be kept can be used.
        if let Err(error) = self.keep(&record) {
            notes.push(chain(&error));
        }
        Ok(found)
    }

    fn judge(
        &self,
        url: &str,
        depth: usize,
        bytes: Vec<u8>,
        etag: Option<String>,
    ) -> Result<(Record, Found), BoxError> {
        let origin = || url.to_owned();
        if bytes.len() as u64 > DOCUMENT_LEN_MAX {
            return Err(Error::TooLong { origin: origin() }.into());
        }
        let not_a_list = |reason| Error::NotAList { origin: origin(), reason };
        let found = list::parse(&bytes, depth).map_err(not_a_list)?;
        let sha256 = Sha256Digest::of(&bytes).to_string();
        let document = String::from_utf8(bytes).map_err(|error| not_a_list(error.to_string()))?;
        let fetched_seconds = self.now_seconds();
        Ok((Record { url: origin(), etag, fetched_seconds, sha256, document }, found))
    }

    /// What is kept of `url`, if it is whole.
    fn kept(&self, url: &str, depth: usize) -> Option<(Record, Found)> {
        let bytes = read_at_most(&self.path(url), RECORD_LEN_MAX).ok()??;
        let record: Record = serde_json::from_slice(&bytes).ok()?;
        let is_whole =
            record.url == url && record.sha256 == Sha256Digest::of(record.document.as_bytes()).to_string();
        let found = list::parse(record.document.as_bytes(), depth).ok().filter(|_| is_whole)?;
        Some((record, found))
    }

    fn keep(&self, record: &Record) -> Result<(), Error> {
        let failed = |source| Error::Keep { path: self.dir.clone(), source };
        fs::create_dir_all(&self.dir).map_err(failed)?;
        self.sweep();
        let mut builder = tempfile::Builder::new();
        let part = builder.prefix(PART_PREFIX).suffix(PART_SUFFIX).tempfile_in(&self.dir);
        let mut part = part.map_err(failed)?;
        let mut writer = io::BufWriter::new(part.as_file_mut());
        serde_json::to_writer(&mut writer, record).map_err(|error| failed(error.into()))?;
        writer.into_inner().map_err(|error| failed(error.into_error()))?.sync_all().map_err(failed)?;
        part.persist(self.path(&record.url)).map_err(|error| failed(error.error))?;
        host::sync_folder(&self.dir).map_err(failed)
    }

    /// Removes what processes left that were killed a day ago.
    fn sweep(&self) {
        for entry in fs::read_dir(&self.dir).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let written = entry.metadata().and_then(|metadata| metadata.modified()).ok();
            let age = written.and_then(|written| self.options.now.duration_since(written).ok());
            if name.starts_with(PART_PREFIX)
                && name.ends_with(PART_SUFFIX)
                && age.is_some_and(|age| age > FRESH)
            {
                let _ = fs::remove_file(entry.path());
            }
        }
    }

    fn path(&self, url: &str) -> PathBuf {
        self.dir.join(format!("{}.json", Sha256Digest::of(url.as_bytes())))
    }

    fn now_seconds(&self) -> u64 {
        self.options.now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
    }

    /// One of the future is not: the clock was wrong then or is now.
    fn is_fresh(&self, record: &Record) -> bool {
        let age = self.now_seconds().checked_sub(record.fetched_seconds);
        age.is_some_and(|age| Duration::from_secs(age) < FRESH)
    }

    /// `of 2026-06-18 10:30:00 UTC, 3 days old`
    fn age(&self, record: &Record) -> String {
        let fetched = record.fetched_seconds;
        let date = Civil::from_epoch_seconds(i64::try_from(fetched).unwrap_or(i64::MAX / 2));
        let age = match self.now_seconds().saturating_sub(fetched) / 3600 {
            0 => String::from("less than an hour old"),
            1 => String::from("1 hour old"),
            hours @ 2..48 => format!("{hours} hours old"),
            hours => format!("{} days old", hours / 24),
        };
        format!("of {date} UTC, {age}")
    }
}
