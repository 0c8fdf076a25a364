//! What changes files other than replacing them whole: streams, parts, lengths, names.

use std::io::{self, Read, Seek as _, SeekFrom, Write as _};

use super::{Entry, Error, Fat, Stream, check_path, fault, names};

/// Read and written at a time.
const PIECE: usize = 1 << 20;

/// The content of a file, from its beginning on.
pub struct Content<'f, 'd> {
    fat: &'f Fat<'d>,
    file: fatfs::File<'f, Stream<'d>>,
    path: String,
    left: u64,
}

impl Content<'_, '_> {
    /// Fills `buf` from where the last call ended, and says with how much; 0 at the end.
    ///
    /// # Errors
    /// [`Error::Device`]; [`Error::Corrupt`] when the clusters end before the length.
    pub fn read(&mut self, buf: &mut [u8]) -> Result<usize, Error> {
        self.fat.pages.begin();
        let wanted = usize::try_from(self.left).unwrap_or(usize::MAX).min(buf.len());
        let mut done = 0;
        while done < wanted {
            let read = buf.get_mut(done..wanted).map_or(Ok(0), |rest| self.file.read(rest));
            match read.map_err(|source| fault("read", &self.path, source))? {
                0 => {
                    return Err(Error::Corrupt(format!(
                        "`{}` ends {} bytes too early",
                        self.path,
                        self.left - done as u64
                    )));
                }
                count => done += count,
            }
        }
        self.left -= done as u64;
        Ok(done)
    }
}

impl<'d> Fat<'d> {
    /// The content of a file, to be read piece by piece.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::WrongKind`], [`Error::Corrupt`], [`Error::Device`].
    pub fn content(&self, path: &str) -> Result<Content<'_, 'd>, Error> {
        self.pages.begin();
        let entry = self.find(path)?.ok_or_else(|| Error::NotFound(path.to_owned()))?;
        if entry.is_dir() {
            return Err(not_a_file(path));
        }
        Ok(Content { fat: self, left: entry.len(), file: entry.to_file(), path: path.to_owned() })
    }

    /// The file holds exactly the `len_bytes` that `source` gives; missing directories are made. The name of an
    /// existing file keeps its case.
    ///
    /// # Errors
    /// [`Error::NoSpace`], [`Error::Name`], [`Error::WrongKind`], [`Error::TooLarge`] before anything is written;
    /// [`Error::Source`], [`Error::Device`] and [`Error::Corrupt`] later.
    pub fn write_from(&self, path: &str, source: &mut dyn Read, len_bytes: u64) -> Result<(), Error> {
        check_path(path)?;
        let old = self.file(path)?;
        check_len(path, len_bytes)?;
        self.check_space(path, len_bytes, old.map(|entry| entry.len_bytes))?;
        let (parent, _) = path.trim_matches('/').rsplit_once('/').unwrap_or(("", path));
        self.make_dirs(parent)?;
        self.pages.begin();
        let failed = |source| fault("write", path, source);
        let mut file = self.fs.root_dir().create_file(path).map_err(failed)?;
        file.truncate().map_err(failed)?;
        self.fill(&mut file, path, source, len_bytes)?;
        file.flush().map_err(failed)
    }

    /// Puts the `len_bytes` that `source` gives at `offset` of a file that exists. It grows where needed; what then
    /// lies between its old end and `offset` is zero.
    ///
    /// # Errors
    /// As for [`write_from`](Self::write_from), and [`Error::NotFound`].
    pub fn write_at(
        &self,
        path: &str,
        offset: u64,
        source: &mut dyn Read,
        len_bytes: u64,
    ) -> Result<(), Error> {
        let old_len = self.file(path)?.ok_or_else(|| Error::NotFound(path.to_owned()))?.len_bytes;
        let end = offset.saturating_add(len_bytes);
        check_len(path, end)?;
        self.check_space(path, end.max(old_len), Some(old_len))?;
        self.pages.begin();
        let failed = |source| fault("write", path, source);
        let mut file = self.fs.root_dir().open_file(path).map_err(failed)?;
        file.seek(SeekFrom::Start(offset.min(old_len))).map_err(failed)?;
        self.fill(&mut file, path, &mut io::repeat(0), offset.saturating_sub(old_len))?;
        self.fill(&mut file, path, source, len_bytes)?;
        file.flush().map_err(failed)
    }

    /// Cuts a file, or makes it longer with zeros.
    ///
    /// # Errors
    /// As for [`write_at`](Self::write_at).
    pub fn truncate(&self, path: &str, len_bytes: u64) -> Result<(), Error> {
        let old_len = self.file(path)?.ok_or_else(|| Error::NotFound(path.to_owned()))?.len_bytes;
        if len_bytes >= old_len {
            self.write_at(path, len_bytes, &mut io::empty(), 0)?;
        } else {
            self.pages.begin();
            self.scan_from.set(2);
            let failed = |source| fault("truncate", path, source);
            let mut file = self.fs.root_dir().open_file(path).map_err(failed)?;
            file.seek(SeekFrom::Start(len_bytes)).map_err(failed)?;
            file.truncate().map_err(failed)?;
            file.flush().map_err(failed)?;
        }
        self.set_modified(path, self.time)
    }

    /// What was `from` is `to` afterwards. Replaces as rename(2) does: a file by a file, an empty directory by a
    /// directory.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::WrongKind`], [`Error::NotEmpty`], [`Error::IntoItself`], [`Error::Name`],
    /// [`Error::Device`], [`Error::Corrupt`].
    pub fn rename(&self, from: &str, to: &str) -> Result<(), Error> {
        check_path(from)?;
        check_path(to)?;
        let (from, to) = (from.trim_matches('/'), to.trim_matches('/'));
        let source = self.stat(from)?.ok_or_else(|| Error::NotFound(from.to_owned()))?;
        let (old, new) = (upper(from), upper(to));
        if source.is_dir && new.len() > old.len() && new.starts_with(&old) {
            return Err(Error::IntoItself { from: from.to_owned(), to: to.to_owned() });
        }
        if old == new {
            // fatfs sees nothing to do when only the case of the name changes.
            if from == to {
                return Ok(());
            }
            let parent = to.rsplit_once('/').map_or(String::new(), |(parent, _)| format!("{parent}/"));
            let free = (0..).map(|number| format!("{parent}~{number}.tmp"));
            for between in free.take(100) {
                if self.stat(&between)?.is_none() {
                    self.move_entry(from, &between)?;
                    return self.move_entry(&between, to);
                }
            }
            return Err(Error::Name { path: to.to_owned(), reason: "no temporary name is free beside it" });
        }
        if let Some(target) = self.stat(to)? {
            match (source.is_dir, target.is_dir) {
                (false, true) => return Err(not_a_file(to)),
                (true, false) => return Err(not_a_directory(to)),
                (true, true) if !self.read_dir(to)?.is_empty() => return Err(Error::NotEmpty(to.to_owned())),
                _ => self.remove(to)?,
            }
        }
        self.move_entry(from, to)?;
        if source.is_dir { self.set_parent(to) } else { Ok(()) }
    }

    fn move_entry(&self, from: &str, to: &str) -> Result<(), Error> {
        self.pages.begin();
        let root = self.fs.root_dir();
        root.rename(from, &root, to).map_err(|source| fault("rename", from, source))
    }

    /// What is at `path`, which may not be a directory.
    fn file(&self, path: &str) -> Result<Option<Entry>, Error> {
        match self.stat(path)? {
            Some(entry) if entry.is_dir => Err(not_a_file(path)),
            found => Ok(found),
        }
    }

    /// Writes `len_bytes` of `source` where the file is.
    fn fill(
        &self,
        file: &mut fatfs::File<'_, Stream<'d>>,
        path: &str,
        source: &mut dyn Read,
        len_bytes: u64,
    ) -> Result<(), Error> {
        let mut left = len_bytes;
        let mut piece = vec![0; usize::try_from(left).unwrap_or(PIECE).min(PIECE)];
        while left > 0 {
            piece.truncate(usize::try_from(left).unwrap_or(usize::MAX));
            source.read_exact(&mut piece).map_err(Error::Source)?;
            self.pages.begin();
            file.write_all(&piece).map_err(|source| fault("write", path, source))?;
            left -= piece.len() as u64;
        }
        Ok(())
    }
}

fn check_len(path: &str, len_bytes: u64) -> Result<(), Error> {
    let limit = u64::from(u32::MAX);
    if len_bytes > limit {
        return Err(Error::TooLarge { path: path.to_owned(), len_bytes, limit });
    }
    Ok(())
}

pub(super) fn not_a_file(path: &str) -> Error {
    Error::WrongKind { path: path.to_owned(), found: "a directory", wanted: "a file" }
}

pub(super) fn not_a_directory(path: &str) -> Error {
    Error::WrongKind { path: path.to_owned(), found: "a file", wanted: "a directory" }
}

/// The names, as FAT compares them.
fn upper(path: &str) -> Vec<String> {
    names(path).map(str::to_uppercase).collect()
}
