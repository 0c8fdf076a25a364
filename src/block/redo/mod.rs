//! Changing a file in place, whole or not at all: a redo log beside the target.
//!
//! ```text
//! overlay ──▶ spare room of the target ──sync──┐
//!        └──▶ .NAME.cardpress-redo ────────────┴▶ its end ──sync──▶ target ──sync──▶ log removed
//!             torn: thrown away                   whole: done again by the next opening
//! ```
//!
//! Wherever the power fails, the log is either not whole, and then the target is as it was; or it is, and doing all of it
//! again gives the new content. "As it was" is about what anybody can read in it: whoever commits may name spare room,
//! such as the free blocks of a filesystem before the change, and new bytes for that are written straight there, once,
//! before the log becomes whole. While it is not, nothing in the target leads there. Without spare room it is about every
//! byte, as it always is until [`commit`] begins.
//!
//! A log is done only where it belongs: every sector that it would write holds what it held before, or what the log puts
//! there, and what was written before the log is there.
//!
//! - Who writes holds the exclusive lock of the target ([`Target::open`]) and finishes a log before anything else.
//! - Who reads holds a shared one, changes nothing, and sees the target as it will be once the log is done
//!   ([`open_to_read`]).
//!
//! Format: `log.rs`. Spare room: `direct.rs`, which knows nothing of filesystems. Left out: targets that several names
//! stand for (hard links): the log lies beside one of them.

mod direct;
mod log;
mod site;
mod view;

use std::io;
use std::path::PathBuf;

use crate::base::Interrupted;
use crate::block;

pub use log::{Settled, commit, settle};
pub use site::{Host, Site, log_path};
pub use view::{Reader, Target, open_to_read, share};

/// Why a file could not be changed in place. Unless a variant says otherwise, it is as it was, but for spare room.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The system failed.
    #[error("cannot {action} `{}`", .path.display())]
    Io {
        /// What was done.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Another process holds the lock.
    #[error("`{}` is in use by another process", .0.display())]
    InUse(PathBuf),
    /// A directory, a device or the like.
    #[error("`{}` is no regular file", .0.display())]
    NotAFile(PathBuf),
    /// A whole log, but this file is not what it was made for.
    #[error(
        "`{}` holds unfinished changes, but not of this `{}`: {found}", .log.display(), .target.display()
    )]
    Foreign {
        /// The log.
        log: PathBuf,
        /// The file beside it.
        target: PathBuf,
        /// What does not fit.
        found: String,
    },
    /// The target could not be written to the end. The log is whole and stays.
    #[error(
        "`{}` is incomplete: writing it failed; `{}` holds all of the changes", .target.display(), .log.display()
    )]
    Incomplete {
        /// The file that is half-way.
        target: PathBuf,
        /// The log that will finish it.
        log: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The edits could not be read.
    #[error("cannot read the edits")]
    Edited(#[from] block::Error),
    /// The user asked to stop, before the log was whole.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
}

#[cfg(test)]
mod tests;
