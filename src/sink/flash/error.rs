//! What can go wrong with a flash, and what it leaves behind.

use std::io;

use crate::base::{ByteLen, Interrupted};
use crate::block::{self, Extent};

/// Why a card did not become the image.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The image does not fit.
    #[error(
        "the card holds {card_bytes} bytes ({}), the image takes {image_bytes} ({})",
        ByteLen(*.card_bytes), ByteLen(*.image_bytes)
    )]
    TooSmall {
        /// What the card can take, in whole blocks.
        card_bytes: u64,
        /// What the image takes, rounded up to blocks of the card.
        image_bytes: u64,
    },
    /// No card has such blocks.
    #[error("the card says its blocks are {found} bytes, wanted a power of two from 512 to 65536")]
    BlockLen {
        /// What it says.
        found: usize,
    },
    /// The ranges to write are not ranges of the image, or not ascending.
    #[error(
        "cannot map {} bytes at offset {} of the image: wanted a range from {from} on that ends by {image_bytes}",
        .extent.len_bytes, .extent.offset
    )]
    Mapped {
        /// The first one that is wrong.
        extent: Extent,
        /// Where the one before it ended.
        from: u64,
        /// How long the image is.
        image_bytes: u64,
    },
    /// The image could not be read.
    #[error("cannot read the image to be flashed")]
    Image(#[from] block::Error),
    /// The card does not take a write.
    #[error("cannot write {len} bytes at offset {offset} of the card")]
    Write {
        /// Where.
        offset: u64,
        /// How many.
        len: usize,
        /// What the system said; [`io::ErrorKind::WriteZero`] when no block went through.
        #[source]
        source: io::Error,
    },
    /// The card could not be read before the image was on it; later, a read that fails counts as bad bytes.
    #[error("cannot read {len} bytes at offset {offset} of the card")]
    Read {
        /// Where.
        offset: u64,
        /// How many.
        len: usize,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The card did not confirm that what was written is there to stay.
    #[error("the card did not confirm what was written")]
    Sync(#[source] io::Error),
    /// Writes seem to work and change nothing. Cards do so at the end of their life, and with the lock switch on in
    /// readers that do not look at it.
    #[error("the card takes writes and changes nothing: it is worn out, or locked")]
    IgnoresWrites,
    /// The card is smaller than it says.
    #[error(
        "the card says it holds {claimed_bytes} bytes ({}), and loses what is written past {real_bytes} ({}): \
         it is a fake",
        ByteLen(*.claimed_bytes), ByteLen(*.real_bytes)
    )]
    Fake {
        /// What it says.
        claimed_bytes: u64,
        /// About how much of it is there, at the most.
        real_bytes: u64,
    },
    /// What was written reads back otherwise, or not at all, again and again.
    #[error(
        "{} range(s) of the card do not keep what is written, the first {} bytes at offset {}; \
         rewritten {rewrites} time(s)",
        .extents.len(), first(.extents).len_bytes, first(.extents).offset
    )]
    Unverified {
        /// Where, ascending; offsets on the card, which are those of the image.
        extents: Vec<Extent>,
        /// How often they were written again.
        rewrites: u32,
    },
    /// So much reads back otherwise that writing it again is no use.
    #[error(
        "at least {} ranges of the card do not keep what is written, the first {} bytes at offset {}: \
         the card is broken",
        .extents.len(), first(.extents).len_bytes, first(.extents).offset
    )]
    Broken {
        /// Where, ascending, as far as looked.
        extents: Vec<Extent>,
    },
    /// The user asked to stop.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
}

fn first(extents: &[Extent]) -> Extent {
    extents.first().copied().unwrap_or(Extent { offset: 0, len_bytes: 0 })
}

/// What a failed flash left on the card.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Left {
    /// What was there before.
    Untouched,
    /// Parts of the image without a partition table: nothing boots from it, nothing mounts it.
    Unbootable,
    /// Parts of the image, and whether it has a partition table could not be found out or changed.
    Unknown,
}

/// A flash that failed.
#[derive(Debug, thiserror::Error)]
#[error("{}", self.left.as_str())]
pub struct Failed {
    /// What is on the card now.
    pub left: Left,
    /// Why.
    #[source]
    pub error: Error,
}

impl Left {
    fn as_str(self) -> &'static str {
        match self {
            Self::Untouched => "the card was not touched",
            Self::Unbootable => {
                "the card is left incomplete; it has no partition table, so nothing boots from it"
            }
            Self::Unknown => {
                "the card is left incomplete, perhaps with a partition table: do not boot from it"
            }
        }
    }
}
