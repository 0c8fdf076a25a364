//! Two images side by side: what differs in their partition tables, their filesystems and every file.
//!
//! ```text
//! ranges.rs   which bytes may differ at all: neither holes nor shared blocks are read ─┐
//! side.rs     one image: files by inode, or by path on FAT                             ├▶ walk.rs ─▶ Change, Change, …
//! table.rs    partition table and filesystems                                          │   content.rs: of one file
//! ```
//!
//! - A file is taken for the same without a look at it only where both images have it in the same inode, its bytes
//!   there are the same, and so is every byte of what that names. Everything else is read and compared, so the answer
//!   never depends on the way: [`Options::plain`] takes no such short cut, and tests compare the two.
//! - Differences are handed out one by one, in the order of the paths, parents first; what is kept is bounded.
//! - What cannot be read is a [`What::Unread`]: the rest is compared all the same.
//!
//! Left out: free blocks, the journal, the numbers of inodes, how many names a file has, when it was read, attributes of
//! lsattr(1).

mod content;
mod ranges;
mod side;
mod table;
mod walk;

use super::Error;
use super::disk::{Disk, Stat};
use crate::base::{ImagePath, Interrupt, Progress, Sha256Digest};
use ranges::Source;
use walk::Walk;

pub use table::{Fact, FilesystemDiff, Overview, PartitionDiff};

/// What is compared, and how much is told of it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options<'o> {
    /// Only this file, or this directory and what is below.
    pub below: Option<&'o ImagePath>,
    /// Also when files were last changed.
    pub times: bool,
    /// Show content of files that look secret.
    pub secrets: bool,
    /// Only whether content differs.
    pub brief: bool,
    /// Compare every file by reading it.
    pub plain: bool,
}

/// What is known of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Kind, mode, owner, length, device, times.
    pub stat: Stat,
    /// The text of a symlink.
    pub target: Option<Vec<u8>>,
}

/// A path at which the images differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// From `/` on, with whatever bytes names have.
    pub path: Vec<u8>,
    /// How.
    pub what: What,
}

/// How a path differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// Only the second image has it.
    Added(Facts),
    /// Only the first image has it.
    Removed(Facts),
    /// Both have it, and not the same.
    Changed(Box<Changed>),
    /// It could not be read, and so not be compared.
    Unread(String),
}

/// A file that is in both.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changed {
    /// As the first image has it.
    pub before: Facts,
    /// As the second has it.
    pub after: Facts,
    /// Of regular files, when what they hold differs.
    pub content: Option<Content>,
    /// The extended attributes that differ, by name.
    pub xattrs: Vec<XattrChange>,
}

/// An extended attribute that differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct XattrChange {
    /// With its prefix.
    pub name: Vec<u8>,
    /// Its value in the first image.
    pub before: Option<Vec<u8>>,
    /// Its value in the second.
    pub after: Option<Vec<u8>>,
}

/// Content that differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// Text, short enough to be shown.
    Text {
        /// Of the first image.
        before: String,
        /// Of the second.
        after: String,
    },
    /// Anything else.
    Bytes {
        /// Of the first image.
        before: Sha256Digest,
        /// Of the second.
        after: Sha256Digest,
    },
    /// It looks secret and is not shown.
    Secret,
    /// More was not asked for.
    Differs,
}

/// How many paths differ.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Only in the second image.
    pub added: u64,
    /// Only in the first.
    pub removed: u64,
    /// In both.
    pub changed: u64,
    /// Not compared.
    pub unread: u64,
}

/// Hears of differences: first of the whole, then of each path.
pub trait Listener {
    /// Why it may stop.
    type Error: From<Error>;

    /// Partition table and filesystems; called once, before all else.
    ///
    /// # Errors
    /// Ends the comparison.
    fn overview(&mut self, overview: &Overview) -> Result<(), Self::Error>;

    /// A path.
    ///
    /// # Errors
    /// Ends the comparison.
    fn change(&mut self, change: &Change) -> Result<(), Self::Error>;
}

/// Compares two opened images; `part` of both was opened. With [`Options::below`] only files are.
///
/// # Errors
/// What keeps an image from being read; [`Error::NoSuchPath`] when neither has [`Options::below`]; [`Error::Interrupted`];
/// what `listener` says.
pub fn compare<L: Listener>(
    one: &Disk,
    other: &Disk,
    options: &Options<'_>,
    listener: &mut L,
    progress: &dyn Progress,
    interrupt: &Interrupt,
) -> Result<Counts, L::Error> {
    let (here, there): (&Source, &Source) = (one.device().as_ref(), other.device().as_ref());
    let ranges = ranges::differing(here, there, progress, interrupt)?;
    one.with_tree(|one_tree| {
        other.with_tree(|other_tree| {
            // Opening may have recovered a journal.
            let ranges = ranges.and(one.edited().into_iter().chain(other.edited()));
            let images = table::Images { one, other, ranges: &ranges, interrupt };
            let tables = images.tables()?;
            let (side, other_side) = tables.sides(one_tree, other_tree);
            let overview = match options.below {
                None => images.overview(&tables, &side, &other_side)?,
                Some(_) => Overview::default(),
            };
            listener.overview(&overview)?;
            let mut walk = Walk::new([&side, &other_side], &ranges, options, interrupt);
            walk.all(&mut |change| listener.change(change))?;
            Ok(walk.counts)
        })
    })
}
