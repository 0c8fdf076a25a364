//! The file that grows, and the record beside it that says what it is the beginning of.
//!
//! The bytes are believed only together with their record. So an old file is emptied before its record is replaced,
//! and a record is whole before the first byte of its file: wherever a process dies, what is left is either the
//! beginning of the file in the record, or it is empty.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use reqwest::header::HeaderValue;
use serde::{Deserialize, Serialize};

use super::error::Error;
use crate::block::host;

/// Far more than any record of ours.
const RECORD_LEN_MAX: u64 = 64 << 10;

/// The record beside a partial file.
pub(in crate::source) fn record_path(partial: &Path) -> PathBuf {
    with_suffix(partial, ".json")
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut path = path.as_os_str().to_owned();
    path.push(suffix);
    path.into()
}

/// What is known of a file on a server.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Known {
    /// Where it was asked for.
    pub(super) url: String,
    pub(super) etag: Option<String>,
    pub(super) last_modified: Option<String>,
    /// Which of the two names this very file. Without one the file cannot be resumed.
    pub(super) validator: Option<String>,
    /// How long the whole file is.
    pub(super) total_bytes: Option<u64>,
}

/// A file that grows.
#[derive(Debug)]
pub(super) struct Partial {
    path: PathBuf,
    file: File,
    len_bytes: u64,
    known: Known,
}

impl Partial {
    /// What an earlier run left at `path` of the file at `url`; empty where that is nothing, or nothing one could go
    /// on with.
    pub(super) fn open(path: &Path, url: &str) -> Result<Self, Error> {
        let failed = |source| Error::of_file("open", path, source);
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(path).map_err(failed)?;
        let len_bytes = file.metadata().map_err(failed)?.len();
        let known = read_record(&record_path(path)).filter(|known| known.url == url).filter(|known| {
            known.validator.as_deref().is_some_and(|text| HeaderValue::from_str(text).is_ok())
                && known.total_bytes.is_none_or(|total| len_bytes <= total)
        });
        let is_known = known.is_some();
        let mut partial = Self { path: path.to_owned(), file, len_bytes, known: known.unwrap_or_default() };
        if !is_known {
            partial.empty()?;
        }
        Ok(partial)
    }

    /// How much is there.
    pub(super) fn len_bytes(&self) -> u64 {
        self.len_bytes
    }

    pub(super) fn known(&self) -> &Known {
        &self.known
    }

    /// The server would not go on: the next request is for the whole file. The bytes stay until there is one.
    pub(super) fn give_up_resuming(&mut self) {
        self.known.validator = None;
    }

    /// The server told the length only later.
    pub(super) fn set_total(&mut self, total_bytes: u64) {
        self.known.total_bytes = Some(total_bytes);
    }

    /// Begins a file from the start.
    pub(super) fn begin(&mut self, known: Known) -> Result<(), Error> {
        self.empty()?;
        write_record(&record_path(&self.path), &known)?;
        self.known = known;
        Ok(())
    }

    /// Forgets what came so far, on the disk before anything else.
    pub(super) fn empty(&mut self) -> Result<(), Error> {
        if self.len_bytes > 0 {
            let emptied = self.file.set_len(0).and_then(|()| self.file.sync_all());
            emptied.map_err(|source| Error::of_file("empty", &self.path, source))?;
            self.len_bytes = 0;
        }
        Ok(())
    }

    pub(super) fn append(&mut self, bytes: &[u8]) -> Result<(), Error> {
        host::write_all_at(&self.file, bytes, self.len_bytes)
            .map_err(|source| Error::of_file("write", &self.path, source))?;
        self.len_bytes += bytes.len() as u64;
        Ok(())
    }
}

/// Reads a record; one that cannot be read says nothing.
fn read_record(path: &Path) -> Option<Known> {
    let mut bytes = Vec::new();
    File::open(path).ok()?.take(RECORD_LEN_MAX).read_to_end(&mut bytes).ok()?;
    serde_json::from_slice(&bytes).ok()
}

/// Writes a record so that there is always the old one or the new one. Always by way of the same name, so that what
/// a killed process leaves is used up by the next.
fn write_record(path: &Path, known: &Known) -> Result<(), Error> {
    let fresh = with_suffix(path, ".new");
    let written = serde_json::to_vec(known).map_err(io::Error::from).and_then(|bytes| {
        let mut file = File::create(&fresh)?;
        file.write_all(&bytes)?;
        file.sync_all()?;
        fs::rename(&fresh, path)
    });
    written.map_err(|source| Error::of_file("write", path, source))
}

#[cfg(test)]
mod tests {
    use super::*;

    const URL: &str = "http://a/b";

    fn known() -> Known {
        Known {
            url: URL.to_owned(),
            etag: Some("\"e\"".to_owned()),
            validator: Some("\"e\"".to_owned()),
            total_bytes: Some(10),
            ..Known::default()
        }
    }

    /// A folder with a partial file of six bytes in it, as a killed process leaves it.
    fn left_behind() -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file.part");
        let mut partial = Partial::open(&path, URL).unwrap();
        partial.begin(known()).unwrap();
        partial.append(b"abc").unwrap();
        partial.append(b"def").unwrap();
        (dir, path)
    }

    #[test]
    fn what_was_left_behind_is_found_again() {
        let (_dir, path) = left_behind();
        let mut partial = Partial::open(&path, URL).unwrap();
        assert_eq!((partial.len_bytes(), partial.known()), (6, &known()));
        partial.append(b"g").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"abcdefg");
    }

    #[test]
    fn bytes_without_a_record_that_fits_are_not_believed() {
        type Spoil = fn(&Path);
        let spoil: [(&str, Spoil); 7] = [
            ("no record", |path| fs::remove_file(record_path(path)).unwrap()),
            ("an empty record", |path| fs::write(record_path(path), b"").unwrap()),
            ("garbage", |path| fs::write(record_path(path), b"{\"url\":").unwrap()),
            ("another url", |path| {
                write_record(&record_path(path), &Known { url: "http://a/c".to_owned(), ..known() }).unwrap();
            }),
            ("no validator", |path| {
                write_record(&record_path(path), &Known { validator: None, ..known() }).unwrap();
            }),
            ("a validator that is no header", |path| {
                let validator = Some("\"a\r\nb\"".to_owned());
                write_record(&record_path(path), &Known { validator, ..known() }).unwrap();
            }),
            ("more bytes than there are", |path| {
                write_record(&record_path(path), &Known { total_bytes: Some(5), ..known() }).unwrap();
            }),
        ];
        for (what, spoil) in spoil {
            let (_dir, path) = left_behind();
            spoil(&path);
            let partial = Partial::open(&path, URL).unwrap();
            assert_eq!((partial.len_bytes(), partial.known()), (0, &Known::default()), "{what}");
            assert_eq!(fs::metadata(&path).unwrap().len(), 0, "{what}");
        }
    }

    #[test]
    fn an_old_file_is_gone_before_the_record_of_a_new_one_is_there() {
        let (_dir, path) = left_behind();
        // The record cannot be replaced: a folder is in the way.
        fs::create_dir(with_suffix(&record_path(&path), ".new")).unwrap();
        let mut partial = Partial::open(&path, URL).unwrap();
        let begun = partial.begin(Known { validator: Some("\"f\"".to_owned()), ..known() });
        assert!(matches!(begun, Err(Error::File { action: "write", .. })));
        assert_eq!(fs::metadata(&path).unwrap().len(), 0);
        assert_eq!(read_record(&record_path(&path)), Some(known()));
    }

    #[test]
    fn a_half_written_record_of_a_killed_process_is_in_nobodys_way() {
        let (_dir, path) = left_behind();
        fs::write(with_suffix(&record_path(&path), ".new"), b"{\"ur").unwrap();
        let mut partial = Partial::open(&path, URL).unwrap();
        assert_eq!(partial.len_bytes(), 6);
        partial.begin(known()).unwrap();
        assert!(!with_suffix(&record_path(&path), ".new").exists());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_full_disk_is_called_by_its_name() {
        let file = OpenOptions::new().write(true).open("/dev/full").unwrap();
        let path = PathBuf::from("/somewhere/file.part");
        let mut partial = Partial { path: path.clone(), file, len_bytes: 0, known: known() };
        let error = partial.append(b"abc").unwrap_err();
        assert!(matches!(&error, Error::NoSpace { path: named, .. } if *named == path), "{error:?}");
        assert_eq!(partial.len_bytes(), 0);
    }
}
