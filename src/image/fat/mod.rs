//! A FAT16 or FAT32 filesystem: files by path.
//!
//! The work is done by `fatfs`; what is here keeps hostile images away from it (see `layout`, `tree` and
//! `pages`), makes it fast, and takes the clock out. Paths have no leading `/`, names are compared as FAT
//! compares them, without case, and keep the case they were written with.
//!
//! Oracles: `fsck.fat -n`, mtools. Left out on purpose: FAT12, exFAT, sectors other than 512 bytes, attributes.

mod change;
mod check;
mod layout;
mod make;
mod pages;
mod slots;
mod space;
mod time;
mod tree;

use std::cell::Cell;
use std::io::{self, Read as _};
use std::rc::Rc;

use fatfs::{FileSystem, FsOptions};

use crate::block::{self, Device};

pub use self::change::Content;
pub use self::check::{Report, check};
use self::layout::{Layout, Next, u32_le};
pub use self::make::{MakeOptions, make};
use self::pages::{Damage, Pages, Stream};
pub use self::space::{is_clean, used_ranges};
pub use self::time::FatTime;

/// Entries that one directory can have: FAT 1.03 §6.
const ENTRIES_MAX: usize = 65_536;

/// Why a FAT filesystem could not be read or changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The device failed.
    #[error("the device under the FAT filesystem failed")]
    Device(#[from] block::Error),
    /// The bytes contradict each other.
    #[error("corrupt FAT: {0}")]
    Corrupt(String),
    /// Sound perhaps, but not for us.
    #[error("unsupported FAT: {0}")]
    Unsupported(String),
    /// Nothing has this name.
    #[error("`{0}` does not exist")]
    NotFound(String),
    /// A directory where a file was wanted, or the other way round.
    #[error("`{path}` is {found}, wanted {wanted}")]
    WrongKind {
        /// Where.
        path: String,
        /// What is there.
        found: &'static str,
        /// What the operation needs.
        wanted: &'static str,
    },
    /// A name that FAT cannot hold.
    #[error("`{}` is no name for FAT: {reason}", .path.escape_debug())]
    Name {
        /// The path.
        path: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A directory that was to be replaced and still holds something.
    #[error("directory `{0}` is not empty")]
    NotEmpty(String),
    /// A directory cannot be moved below itself.
    #[error("`{from}` cannot be moved to `{to}`, which is below it")]
    IntoItself {
        /// What was to be moved.
        from: String,
        /// Where to.
        to: String,
    },
    /// A volume label that FAT cannot hold.
    #[error("`{}` is no label for FAT: {reason}", .label.escape_debug())]
    Label {
        /// The label.
        label: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// What was to be written could not be read to its end.
    #[error("cannot read what is to be written")]
    Source(#[source] io::Error),
    /// Larger than the reader is ready to take, or than a file can be.
    #[error("`{path}` has {len_bytes} bytes, wanted {limit} at most")]
    TooLarge {
        /// Where.
        path: String,
        /// Its length.
        len_bytes: u64,
        /// The limit.
        limit: u64,
    },
    /// Not enough free clusters. Nothing has been written.
    #[error(
        "no space for `{path}`: {missing_bytes} bytes are missing, {needed_bytes} needed, {free_bytes} free"
    )]
    NoSpace {
        /// What was to be written.
        path: String,
        /// What it takes beyond what it has, in whole clusters.
        needed_bytes: u64,
        /// What is free.
        free_bytes: u64,
        /// The difference.
        missing_bytes: u64,
    },
    /// `fatfs` refused.
    #[error("cannot {action} `{path}`")]
    Io {
        /// What was done.
        action: &'static str,
        /// Where.
        path: String,
        /// What it said.
        #[source]
        source: io::Error,
    },
}

/// A file or directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its long name, or the short one when it has no other.
    pub name: String,
    /// Is it a directory?
    pub is_dir: bool,
    /// Its length; 0 for a directory.
    pub len_bytes: u64,
    /// When it was last changed, in seconds since 1970, its clock taken for UTC; 0 for the root.
    pub modified_seconds: i64,
}

type Dir<'f, 'd> = fatfs::Dir<'f, Stream<'d>>;

/// An open FAT filesystem. [`close`](Fat::close) it, or what `fatfs` still holds may fail unheard.
pub struct Fat<'d> {
    // First, so that it is dropped first: it writes through the pages.
    fs: FileSystem<Stream<'d>>,
    pages: Rc<Pages<'d>>,
    layout: Layout,
    volume_id: Cell<u32>,
    label: Option<String>,
    time: FatTime,
    /// Below it, as far as known, no cluster is free.
    scan_from: Cell<u32>,
}

impl std::fmt::Debug for Fat<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fat").field("layout", &self.layout).finish_non_exhaustive()
    }
}

impl<'d> Fat<'d> {
    /// Opens the filesystem that fills `device`. Files changed through it get `time`.
    ///
    /// # Errors
    /// [`Error::Corrupt`], [`Error::Unsupported`], [`Error::Device`].
    pub fn open(device: &'d dyn Device, time: FatTime) -> Result<Self, Error> {
        let layout = Layout::read(device)?;
        let pages = Rc::new(Pages::new(device, layout));
        let label = tree::check(&pages, &layout)?;
        let scan_from = Cell::new(hint(&pages, &layout)?);
        let (_, first_free) = count_free(device, &layout, scan_from.get(), 1)?;
        if let Some(first) = first_free {
            scan_from.set(first);
            pages.set_next_free(Some(first));
        }
        let options = FsOptions::new().time_provider(time.provider()).update_accessed_date(false);
        let fs = FileSystem::new(Stream::new(Rc::clone(&pages)), options)
            .map_err(|source| fault("open", "/", source))?;
        pages.set_next_free(None);
        let volume_id = Cell::new(layout.volume_id);
        Ok(Self { fs, pages, layout, volume_id, label, time, scan_from })
    }

    /// The serial number that `blkid` shows as `UUID="1A2B-3C4D"`.
    #[must_use]
    pub fn volume_id(&self) -> u32 {
        self.volume_id.get()
    }

    /// Sets the serial number, in the boot sector and in its backup.
    ///
    /// # Errors
    /// [`Error::Device`]
    pub fn set_volume_id(&self, volume_id: u32) -> Result<(), Error> {
        let field_at = self.layout.volume_id_at();
        self.pages.write(field_at, &volume_id.to_le_bytes())?;
        if let Some(backup_at) = self.layout.backup_at {
            let mut mark = [0; 2];
            self.pages.read(backup_at + 510, &mut mark)?;
            if mark == [0x55, 0xaa] {
                self.pages.write(backup_at + field_at, &volume_id.to_le_bytes())?;
            }
        }
        self.volume_id.set(volume_id);
        Ok(())
    }

    /// Whether it is FAT32 and not FAT16.
    #[must_use]
    pub fn is_fat32(&self) -> bool {
        self.layout.is_fat32
    }

    /// The bytes in all clusters.
    #[must_use]
    pub fn data_bytes(&self) -> u64 {
        u64::from(self.layout.cluster_count) * self.layout.cluster_len
    }

    /// The volume label, as its entry in the root directory has it.
    #[must_use]
    pub fn label(&self) -> Option<&str> {
        self.label.as_deref()
    }

    /// The bytes in free clusters; counts them.
    ///
    /// # Errors
    /// [`Error::Device`]
    pub fn free_bytes(&self) -> Result<u64, Error> {
        let (free, _) = count_free(self.pages.device(), &self.layout, 2, u32::MAX)?;
        Ok(u64::from(free) * self.layout.cluster_len)
    }

    /// What is at `path`; `None` when nothing is. The root is a directory without a name.
    ///
    /// # Errors
    /// [`Error::Corrupt`], [`Error::Device`], [`Error::WrongKind`] when the path leads through a file.
    pub fn stat(&self, path: &str) -> Result<Option<Entry>, Error> {
        self.pages.begin();
        if names(path).next().is_none() {
            return Ok(Some(Entry { name: String::new(), is_dir: true, len_bytes: 0, modified_seconds: 0 }));
        }
        Ok(self.find(path)?.map(|entry| to_entry(&entry)))
    }

    /// Is anything at `path`?
    ///
    /// # Errors
    /// As for [`stat`](Self::stat).
    pub fn exists(&self, path: &str) -> Result<bool, Error> {
        Ok(self.stat(path)?.is_some())
    }

    /// All of a file, when it has no more than `limit` bytes.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::WrongKind`], [`Error::TooLarge`]; [`Error::Corrupt`] when its clusters end
    /// before its length.
    pub fn read_file(&self, path: &str, limit: u64) -> Result<Vec<u8>, Error> {
        self.pages.begin();
        let entry = self.find(path)?.ok_or_else(|| Error::NotFound(path.to_owned()))?;
        if entry.is_dir() {
            return Err(change::not_a_file(path));
        }
        let len_bytes = entry.len();
        if len_bytes > limit {
            return Err(Error::TooLarge { path: path.to_owned(), len_bytes, limit });
        }
        let mut bytes = Vec::new();
        entry.to_file().read_to_end(&mut bytes).map_err(|source| fault("read", path, source))?;
        if bytes.len() as u64 != len_bytes {
            return Err(Error::Corrupt(format!("`{path}` ends after {} of {len_bytes} bytes", bytes.len())));
        }
        Ok(bytes)
    }

    /// What is in a directory, sorted by name; `""` is the root.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::WrongKind`], [`Error::Corrupt`], [`Error::Device`].
    pub fn read_dir(&self, path: &str) -> Result<Vec<Entry>, Error> {
        self.pages.begin();
        let dir = self.dir(path)?.ok_or_else(|| Error::NotFound(path.to_owned()))?;
        let mut entries = Vec::new();
        for entry in dir.iter() {
            let entry = to_entry(&entry.map_err(|source| fault("list", path, source))?);
            if entries.len() >= ENTRIES_MAX {
                return Err(Error::Corrupt(format!("`{path}` has more than {ENTRIES_MAX} entries")));
            }
            if entry.name != "." && entry.name != ".." {
                entries.push(entry);
            }
        }
        entries.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(entries)
    }

    /// The file holds exactly `bytes` afterwards; missing directories are made. The name of an existing file
    /// keeps its case.
    ///
    /// # Errors
    /// [`Error::NoSpace`], [`Error::Name`], [`Error::WrongKind`], before anything is written; else
    /// [`Error::Device`] and [`Error::Corrupt`].
    pub fn write_file(&self, path: &str, bytes: &[u8]) -> Result<(), Error> {
        let mut source = bytes;
        self.write_from(path, &mut source, bytes.len() as u64)
    }

    /// The directory exists afterwards, and every one above it.
    ///
    /// # Errors
    /// As for [`write_file`](Self::write_file).
    pub fn make_dir(&self, path: &str) -> Result<(), Error> {
        check_path(path)?;
        if self.stat(path)?.is_none() {
            self.check_space(path, 1, None)?;
        }
        self.make_dirs(path)
    }

    /// Removes a file, or a directory with all that is in it.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Device`], [`Error::Corrupt`].
    pub fn remove(&self, path: &str) -> Result<(), Error> {
        check_path(path)?;
        let entry = self.stat(path)?.ok_or_else(|| Error::NotFound(path.to_owned()))?;
        if entry.is_dir {
            for child in self.read_dir(path)? {
                // Such a name would lead back to where we are.
                if child.name.is_empty() || child.name.contains('/') {
                    return Err(Error::Corrupt(format!("`{path}` has an entry named `{}`", child.name)));
                }
                self.remove(&format!("{path}/{}", child.name))?;
            }
        }
        self.pages.begin();
        self.scan_from.set(2);
        self.fs.root_dir().remove(path).map_err(|source| fault("remove", path, source))
    }

    /// Writes what is still held back: the count of free clusters, and that the filesystem is clean.
    ///
    /// # Errors
    /// [`Error::Device`]
    pub fn close(self) -> Result<(), Error> {
        let Self { fs, pages, layout, .. } = self;
        pages.begin();
        fs.unmount().map_err(|source| fault("close", "/", source))?;
        let Some(fs_info_at) = layout.fs_info_at else { return Ok(()) };
        let mut free_count = [0; 4];
        pages.read(fs_info_at + 488, &mut free_count)?;
        let free_count = u32::from_le_bytes(free_count);
        if free_count > layout.cluster_count && free_count != u32::MAX {
            // The base lied about it; "unknown" is true.
            pages.write(fs_info_at + 488, &u32::MAX.to_le_bytes())?;
        }
        Ok(())
    }

    /// Sees that writing `len_bytes` to `path` will find its clusters.
    fn check_space(&self, path: &str, len_bytes: u64, old_len: Option<u64>) -> Result<(), Error> {
        let cluster_len = self.layout.cluster_len;
        let mut needed = len_bytes.div_ceil(cluster_len);
        needed = needed.saturating_sub(old_len.unwrap_or(0).div_ceil(cluster_len));
        if old_len.is_none() {
            needed += self.clusters_for_names(path)?;
        }
        let wanted = u32::try_from(needed).unwrap_or(u32::MAX);
        let (free, first) = count_free(self.pages.device(), &self.layout, self.scan_from.get(), wanted)?;
        if let Some(first) = first {
            self.scan_from.set(first);
        }
        if u64::from(free) >= needed {
            return Ok(());
        }
        let (needed_bytes, free_bytes) = (needed * cluster_len, u64::from(free) * cluster_len);
        let missing_bytes = needed_bytes - free_bytes;
        Err(Error::NoSpace { path: path.to_owned(), needed_bytes, free_bytes, missing_bytes })
    }

    /// What new names on the way to `path` may take: a cluster for each new directory, and what its parent grows.
    fn clusters_for_names(&self, path: &str) -> Result<u64, Error> {
        let mut clusters = 0;
        let mut so_far = String::new();
        for name in names(path) {
            so_far = if so_far.is_empty() { name.to_owned() } else { format!("{so_far}/{name}") };
            if clusters == 0 && self.find(&so_far)?.is_some() {
                continue;
            }
            let slots = name.encode_utf16().count().div_ceil(13) as u64 + 1;
            clusters += 1 + (slots * 32).div_ceil(self.layout.cluster_len);
        }
        // The last one is the file, whose clusters are counted already.
        Ok(clusters.saturating_sub(1))
    }

    fn make_dirs(&self, path: &str) -> Result<(), Error> {
        let mut so_far = String::new();
        for name in names(path) {
            so_far = if so_far.is_empty() { name.to_owned() } else { format!("{so_far}/{name}") };
            match self.stat(&so_far)? {
                Some(entry) if entry.is_dir => {}
                Some(_) => {
                    return Err(change::not_a_directory(&so_far));
                }
                None => {
                    self.pages.take_first_zeroed();
                    self.fs
                        .root_dir()
                        .create_dir(&so_far)
                        .map_err(|source| fault("make", &so_far, source))?;
                    self.mend_dots(&so_far)?;
                }
            }
        }
        Ok(())
    }

    /// `fatfs` 0.3 gives `.` and `..` long names, and lets `..` point at the root by number; `fsck.fat` deletes
    /// the ones and changes the other. FAT 1.03 §6.5: two short entries, and 0 for the root.
    fn mend_dots(&self, path: &str) -> Result<(), Error> {
        let failed = || Error::Corrupt(format!("the new directory `{path}` is not as fatfs makes them"));
        let at = self.pages.take_first_zeroed().ok_or_else(failed)?;
        let mut slots = [0; 128];
        self.pages.read(at, &mut slots)?;
        if &slots[32..43] != b".          " || &slots[96..107] != b"..         " {
            return Err(failed());
        }
        let mut mended = [0; 128];
        mended[..32].copy_from_slice(&slots[32..64]);
        mended[32..64].copy_from_slice(&slots[96..]);
        let parent = u32::from(u16::from_le_bytes([mended[52], mended[53]])) << 16
            | u32::from(u16::from_le_bytes([mended[58], mended[59]]));
        if self.layout.is_fat32 && parent == self.layout.root_cluster {
            mended[52..54].fill(0);
            mended[58..60].fill(0);
        }
        Ok(self.pages.write(at, &mended)?)
    }

    /// The directory at `path`; `None` when nothing is there.
    fn dir(&self, path: &str) -> Result<Option<Dir<'_, 'd>>, Error> {
        let mut dir = self.fs.root_dir();
        for name in names(path) {
            match find_in(&dir, name, path)? {
                None => return Ok(None),
                Some(entry) if entry.is_dir() => dir = entry.to_dir(),
                Some(_) => {
                    return Err(change::not_a_directory(path));
                }
            }
        }
        Ok(Some(dir))
    }

    fn find(&self, path: &str) -> Result<Option<fatfs::DirEntry<'_, Stream<'d>>>, Error> {
        let path = path.trim_matches('/');
        let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
        match self.dir(parent)? {
            Some(dir) => find_in(&dir, name, path),
            None => Ok(None),
        }
    }
}

fn find_in<'f, 'd>(
    dir: &Dir<'f, 'd>,
    name: &str,
    path: &str,
) -> Result<Option<fatfs::DirEntry<'f, Stream<'d>>>, Error> {
    let name = name.to_uppercase();
    for entry in dir.iter() {
        let entry = entry.map_err(|source| fault("look up", path, source))?;
        if entry.file_name().to_uppercase() == name || entry.short_file_name().to_uppercase() == name {
            return Ok(Some(entry));
        }
    }
    Ok(None)
}

fn to_entry(entry: &fatfs::DirEntry<'_, Stream<'_>>) -> Entry {
    let is_dir = entry.is_dir();
    let modified_seconds = time::epoch_seconds(entry.modified());
    Entry {
        name: entry.file_name(),
        is_dir,
        len_bytes: if is_dir { 0 } else { entry.len() },
        modified_seconds,
    }
}

fn names(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter(|name| !name.is_empty())
}

/// Refuses names before `fatfs` does, which first allocates. FAT 1.03 §7: the characters of a long name.
fn check_path(path: &str) -> Result<(), Error> {
    let refuse = |reason| Err(Error::Name { path: path.to_owned(), reason });
    if names(path).next().is_none() {
        return refuse("it is empty");
    }
    for name in names(path) {
        if matches!(name, "." | "..") || name.ends_with(['.', ' ']) {
            return refuse("a name ends with a dot or a space");
        }
        if name.len() > 255 {
            return refuse("a name is longer than 255 bytes");
        }
        if name.chars().any(|c| c.is_control() || "\"*:<>?\\|".contains(c) || u32::from(c) > 0xffff) {
            return refuse("a name has one of \" * : < > ? \\ | or a character FAT does not know");
        }
    }
    Ok(())
}

/// Where `FSInfo` says that free clusters begin; the first cluster when it does not say.
fn hint(pages: &Pages<'_>, layout: &Layout) -> Result<u32, Error> {
    let Some(fs_info_at) = layout.fs_info_at else { return Ok(2) };
    let mut raw = [0; 4];
    pages.read(fs_info_at + 492, &mut raw)?;
    Ok(Some(u32::from_le_bytes(raw)).filter(|cluster| layout.is_cluster(*cluster)).unwrap_or(2))
}

/// Counts free clusters from `start` on and round to it again, up to `wanted`; also the first one found.
fn count_free(
    device: &dyn Device,
    layout: &Layout,
    start: u32,
    wanted: u32,
) -> Result<(u32, Option<u32>), Error> {
    const PIECE: usize = 16 << 10;
    let entry_len = if layout.is_fat32 { 4 } else { 2 };
    let end = layout.cluster_count.saturating_add(2);
    let start = start.clamp(2, end);
    let mut bytes = vec![0; PIECE];
    let (mut free, mut first) = (0, None);
    for (from, to) in [(start, end), (2, start)] {
        let mut cluster = from;
        while cluster < to && free < wanted {
            let count = ((to - cluster) as usize).min(PIECE / entry_len);
            let piece = &mut bytes[..count * entry_len];
            device.read_at(layout.fat_start + u64::from(cluster) * entry_len as u64, piece)?;
            for entry in piece.chunks_exact(entry_len) {
                let raw = if entry_len == 4 {
                    u32_le(entry, 0)
                } else {
                    u32::from(u16::from_le_bytes([entry[0], entry[1]]))
                };
                if layout.next(raw) == Next::Free && free < wanted {
                    free += 1;
                    first = first.or(Some(cluster));
                }
                cluster += 1;
            }
        }
    }
    Ok((free, first))
}

/// Tells our own errors, which went through `fatfs` as `io::Error`, from its own.
fn fault(action: &'static str, path: &str, source: io::Error) -> Error {
    if source.get_ref().is_some_and(|inner| inner.is::<block::Error>()) {
        return match source.downcast::<block::Error>() {
            Ok(error) => Error::Device(error),
            Err(source) => Error::Io { action, path: path.to_owned(), source },
        };
    }
    if let Some(Damage(message)) = source.get_ref().and_then(|inner| inner.downcast_ref::<Damage>()) {
        return Error::Corrupt(message.clone());
    }
    Error::Io { action, path: path.to_owned(), source }
}

#[cfg(test)]
mod tests;
