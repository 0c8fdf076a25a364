//! An image that is looked into, or changed in place: a whole disk, or one filesystem without a disk around it.
//!
//! ```text
//! Disk::open_to_read    raw, or packed in any way that `build` reads ─┐
//! Disk::open_to_write   raw alone, locked                            ─┴▶ Overlay ─▶ Tree ─▶ Volume (ext4, FAT)
//!                                                      Disk::commit ◀── block::redo
//! ```
//!
//! Whatever is done goes into the overlay; only [`Disk::commit`] touches the file, whole or not at all. It alone knows
//! both what a filesystem is and how files are changed, and so which blocks may be written without a log: `spare.rs`.

mod archive;
mod job;
mod local;
mod spare;
mod stat;
mod tree;
pub(super) mod volume;
mod walk;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::base::{ByteLen, Interrupt, Progress, Sha256Digest};
use crate::block::redo::{self, Settled, Target};
use crate::block::{Device, Extent, FileDevice, Overlay, ReadAt, Slice};
use crate::image::table::{self, Partition, Table};
use crate::source::{self, Cache, Format};

use super::Error;
use super::layout::{boot_and_root, grow_last, slice};
use tree::Mounted;
use volume::Volume;
pub(super) use volume::probe;

pub use crate::block::redo::Error as InPlaceError;
pub use crate::image::ext4::{FileKind, Timestamp, Xattr};
pub use archive::Archive;
pub use job::Job;
pub use local::{Input, write_local};
pub use stat::{Listed, Stat, Usage};
pub use tree::Tree;
pub use walk::{Found, Walk};

/// Edits beyond this move from memory to a temporary file.
const MEMORY_BYTES: u64 = 64 << 20;

/// From here on content for free blocks is not logged. Less is logged faster than one more sync takes.
const STRAIGHT_BYTES: u64 = 4 << 20;

/// Which part of an image paths are about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Part {
    /// All of it, as the running system sees it: the boot partition is where the image's fstab mounts it.
    #[default]
    System,
    /// The boot partition alone.
    Boot,
    /// The root partition alone.
    Root,
    /// The partition with this number alone.
    Number(u32),
}

/// A filesystem that can be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// ext4 with the features that are usual today.
    Ext4,
    /// FAT32.
    Fat32,
}

/// An opened image.
pub struct Disk {
    path: PathBuf,
    overlay: Overlay<Arc<dyn ReadAt + Send + Sync>>,
    /// `None` when it is only read.
    target: Option<Target>,
    part: Part,
    now: Timestamp,
    /// Said to the user when everything went well.
    notes: std::cell::RefCell<Vec<String>>,
}

impl Disk {
    /// Opens an image, raw or packed, to look into it. Nothing on the disk changes but the cache, where packed ones are
    /// unpacked.
    ///
    /// # Errors
    /// [`Error::Host`], [`Error::Image`], [`Error::InPlace`] while somebody else changes it.
    pub fn open_to_read(
        path: &Path,
        part: Part,
        cache: &Cache,
        progress: &dyn Progress,
        interrupt: &Interrupt,
    ) -> Result<Self, Error> {
        let (device, is_unfinished) = device_to_read(path, cache, progress, interrupt)?;
        let mut notes = Vec::new();
        if is_unfinished {
            notes.push(format!("{} has unfinished changes: reading it with them", path.display()));
        }
        let overlay = Overlay::spilling(device, std::env::temp_dir(), MEMORY_BYTES);
        let now = Timestamp::default();
        let notes = notes.into();
        Ok(Self { path: path.to_owned(), overlay, target: None, part, now, notes })
    }

    /// Opens a raw image to change it in place. What is changed gets the time `now`.
    ///
    /// # Errors
    /// [`Error::Packed`], [`Error::Host`], [`Error::Image`], [`Error::InPlace`].
    pub fn open_to_write(path: &Path, part: Part, now: Timestamp) -> Result<Self, Error> {
        let (target, notes) = open_target(path)?;
        let device: Arc<dyn ReadAt + Send + Sync> = Arc::new(target.device().map_err(in_place(path))?);
        let folder = path.canonicalize().ok().and_then(|path| Some(path.parent()?.to_owned()));
        let folder = folder.unwrap_or_else(std::env::temp_dir);
        let overlay = Overlay::spilling(device, folder, MEMORY_BYTES);
        let notes = notes.into();
        Ok(Self { path: path.to_owned(), overlay, target: Some(target), part, now, notes })
    }

    /// What the user should hear, since the last time that was asked.
    pub fn take_notes(&self) -> Vec<String> {
        self.notes.take()
    }

    /// Opens the filesystems, hands them to `work`, and lays what it changed into the overlay.
    ///
    /// # Errors
    /// What `work` says; [`Error::Table`], [`Error::NoPartition`], [`Error::Ext4`], [`Error::Fat`].
    pub fn with_tree<T, E: From<Error>>(
        &self,
        work: impl FnOnce(&mut Tree<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        let (root, boot) = self.partitions()?;
        let mut say = |note| self.notes.borrow_mut().push(note);
        // Opened after what they borrow, and so dropped before.
        let root_slice = self.slice(root.as_ref())?;
        let boot_slice = self.slice(boot.as_ref())?;
        let root = Volume::open(&root_slice, root.map(|root| root.number), self.time(), &mut say)?;
        let mounted = match (boot, root.boot_mount()?) {
            (Some(boot), Some(at)) => {
                let volume = Volume::open(&boot_slice, Some(boot.number), self.time(), &mut say)?;
                Some(Mounted { at, volume })
            }
            _ => None,
        };
        let mut tree = Tree::new(root, mounted);
        let done = work(&mut tree)?;
        tree.flush()?;
        Ok(done)
    }

    /// The image as it is, without what was done.
    pub(super) fn device(&self) -> &Arc<dyn ReadAt + Send + Sync> {
        self.overlay.base()
    }

    /// Which part of it was opened.
    pub(super) fn part(&self) -> Part {
        self.part
    }

    /// Where the image may differ from [`Self::device`]: what was done, the recovery of a journal among it.
    pub(super) fn edited(&self) -> Vec<Extent> {
        self.overlay.dirty_extents()
    }

    /// What changes get; `None` when there can be none.
    fn time(&self) -> Option<Timestamp> {
        self.target.as_ref().map(|_| self.now)
    }

    /// The partition whose root is `/`, and the one that may be mounted below; neither for a bare filesystem.
    fn partitions(&self) -> Result<(Option<Partition>, Option<Partition>), Error> {
        let table = match Table::open(&self.overlay) {
            Ok(table) => table,
            Err(error @ table::Error::Missing { .. }) => {
                return match (volume::probe(&self.overlay)?, self.part) {
                    (None, _) => {
                        Err(Error::NoFilesystem { path: self.path.clone(), source: Box::new(error) })
                    }
                    (Some(_), Part::System) => Ok((None, None)),
                    (Some(kind), _) => Err(Error::Bare { path: self.path.clone(), kind }),
                };
            }
            Err(error) => return Err(error.into()),
        };
        let (boot, root) = boot_and_root(&table);
        match self.part {
            Part::Number(number) => match table.partition(number) {
                Ok(partition) => Ok((Some(partition.clone()), None)),
                Err(table::Error::NoPartition { number, present }) => {
                    Err(Error::NoSuchPartition { wanted: number.to_string(), present })
                }
                Err(error) => Err(error.into()),
            },
            Part::Boot => Ok((Some(boot?), None)),
            Part::Root => Ok((Some(root?), None)),
            Part::System => match (root, boot) {
                (Ok(root), boot) => Ok((Some(root), boot.ok())),
                // A disk with nothing but a FAT partition on it.
                (Err(_), Ok(boot)) => Ok((Some(boot), None)),
                (Err(error), Err(_)) => Err(error),
            },
        }
    }

    /// Makes the image, the partition and its filesystem longer: the image has `wanted` bytes afterwards, and the
    /// partition, which must be the last, ends where it does.
    ///
    /// # Errors
    /// [`Error::NoGrowing`], [`Error::NotOnFat`], or as for [`Self::with_tree`].
    pub fn grow(&self, wanted: ByteLen) -> Result<(), Error> {
        let before = ByteLen(self.overlay.len_bytes());
        match self.partitions()?.0 {
            None => {
                if wanted < before {
                    let reason = "nothing is ever cut off".to_owned();
                    return Err(Error::NoGrowing { image: before, wanted, reason });
                }
                self.overlay.grow(wanted.0);
                self.grow_volume(None, before.0)
            }
            Some(partition) => {
                let table = Table::open(&self.overlay)?;
                let zero_from = before.0.saturating_sub(partition.start_bytes);
                grow_last(&self.overlay, &table, &partition, wanted)?;
                let partition = Table::open(&self.overlay)?.partition(partition.number)?.clone();
                self.grow_volume(Some(&partition), zero_from)
            }
        }
    }

    /// The bytes of a partition, or of a bare filesystem.
    fn slice(
        &self,
        partition: Option<&Partition>,
    ) -> Result<Slice<&Overlay<Arc<dyn ReadAt + Send + Sync>>>, Error> {
        match partition {
            Some(partition) => slice(&self.overlay, partition),
            None => Ok(Slice::new(&self.overlay, 0, self.overlay.len_bytes())?),
        }
    }

    fn grow_volume(&self, partition: Option<&Partition>, zero_from: u64) -> Result<(), Error> {
        let device = self.slice(partition)?;
        let number = partition.map(|partition| partition.number);
        let mut say = |note| self.notes.borrow_mut().push(note);
        let mut volume = Volume::open(&device, number, self.time(), &mut say)?;
        volume.grow(device.len_bytes(), zero_from)?;
        volume.flush()
    }

    /// Makes a filesystem in a bare file. Its UUID is drawn, unless `fixed` asks for one that follows from the time and
    /// the length.
    ///
    /// # Errors
    /// [`Error::HasTable`], or what keeps it from being made.
    pub fn make(&self, kind: Kind, fixed: bool) -> Result<(), Error> {
        match Table::open(&self.overlay) {
            Err(table::Error::Missing { .. }) if self.part == Part::System => {}
            Err(table::Error::Device(error)) => return Err(error.into()),
            _ => return Err(Error::HasTable { path: self.path.clone() }),
        }
        let mut seed = [0; 32];
        if fixed {
            let text = format!("{} {}", self.now.seconds, self.overlay.len_bytes());
            seed = Sha256Digest::of(text.as_bytes()).0;
        } else {
            getrandom::fill(&mut seed).map_err(|error| Error::Host {
                verb: "read",
                path: "/dev/urandom".into(),
                source: std::io::Error::other(error),
            })?;
        }
        let device = self.slice(None)?;
        volume::make(&device, kind, self.now, &seed)
    }

    /// Changes the file to what the overlay says, whole or not at all; whether there was anything to change. Blocks that
    /// are free in its ext4 filesystems may change before the rest does.
    ///
    /// # Errors
    /// [`Error::InPlace`]
    pub fn commit(self, interrupt: &Interrupt) -> Result<bool, Error> {
        let Some(target) = &self.target else { return Ok(false) };
        commit_target(target, &self.path, &self.overlay, interrupt)
    }
}

/// Changes the file behind `target` to what `overlay`, which lies over it, says.
///
/// # Errors
/// [`Error::InPlace`]
pub(super) fn commit_target<B: ReadAt>(
    target: &Target,
    path: &Path,
    overlay: &Overlay<B>,
    interrupt: &Interrupt,
) -> Result<bool, Error> {
    let is_much = overlay.dirty_bytes() >= STRAIGHT_BYTES;
    let spare = if is_much { spare::ranges(overlay.base()) } else { Vec::new() };
    target.commit(overlay, &spare, interrupt).map_err(in_place(path))
}

/// Opens a raw image to be changed in place, and what the user should hear of changes that had been cut off.
///
/// # Errors
/// [`Error::Packed`], [`Error::Host`], [`Error::Image`], [`Error::InPlace`].
pub(super) fn open_target(path: &Path) -> Result<(Target, Vec<String>), Error> {
    match source::format_of(path).map_err(not_opened(path))? {
        Format::Raw => {}
        format => return Err(Error::Packed { path: path.to_owned(), format: format.name() }),
    }
    let (target, settled) = Target::open(path).map_err(in_place(path))?;
    let notes = match settled {
        Settled::Clean => Vec::new(),
        Settled::Finished => vec![format!("{}: finished changes that had been cut off", path.display())],
        Settled::Discarded => {
            vec![format!("{}: threw away the beginning of changes that had been cut off", path.display())]
        }
    };
    Ok((target, notes))
}

/// Opens one filesystem to be looked into: `device` is all of partition `number`, over something that nobody minds being
/// written to, for an unclean journal is replayed. `say` hears of that.
///
/// # Errors
/// [`Error::UnknownFilesystem`], [`Error::Ext4`], [`Error::Fat`].
pub(super) fn look_into<'d>(
    device: &'d dyn Device,
    number: Option<u32>,
    say: &mut dyn FnMut(String),
) -> Result<Tree<'d>, Error> {
    Ok(Tree::new(Volume::open(device, number, None, say)?, None))
}

/// Opens an image of any form to be read, and says whether changes of it that were cut off are read with it.
///
/// # Errors
/// [`Error::Host`], [`Error::Image`], [`Error::InPlace`] while somebody else changes it.
pub fn device_to_read(
    path: &Path,
    cache: &Cache,
    progress: &dyn Progress,
    interrupt: &Interrupt,
) -> Result<(Arc<dyn ReadAt + Send + Sync>, bool), Error> {
    let failed = not_opened(path);
    if source::format_of(path).map_err(&failed)? == Format::Raw {
        let reader = redo::open_to_read(path).map_err(in_place(path))?;
        let is_unfinished = reader.is_unfinished();
        return Ok((Arc::new(reader), is_unfinished));
    }
    let unpacked = source::open_any(path, cache, progress, interrupt).map_err(&failed)?;
    let host = |source| Error::Host { verb: "read", path: path.to_owned(), source };
    Ok((Arc::new(FileDevice::new(unpacked.file).map_err(host)?), false))
}

fn not_opened(path: &Path) -> impl Fn(source::Error) -> Error {
    let path = path.to_owned();
    move |source| match source {
        source::Error::Io { source, .. } => Error::Host { verb: "open", path: path.clone(), source },
        source::Error::Interrupted(interrupted) => Error::Interrupted(interrupted),
        source => Error::Image { path: path.clone(), source: Box::new(source) },
    }
}

pub(super) fn in_place(path: &Path) -> impl Fn(redo::Error) -> Error {
    let path = path.to_owned();
    move |source| match source {
        redo::Error::Interrupted(interrupted) => Error::Interrupted(interrupted),
        source => Error::InPlace { path: path.clone(), source: Box::new(source) },
    }
}
