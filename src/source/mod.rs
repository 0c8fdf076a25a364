//! Where base images come from: a file the user has, or the web; raw or packed, unpacked once into a cache; and what
//! there is to download: the [`catalogue`].
//!
//! ```text
//! file ───────────────────────────────────────▶ decode ─▶ raw ─▶ cache ─▶ BaseImage
//! catalogue ─▶ remote ─▶ net ─▶ partial file ──▶ decode, while it grows
//! ```
//!
//! Knows no nodes and no partitions. A base is opened for reading only.

mod arrival;
mod cache;
pub mod catalogue;
mod decode;
mod error;
mod file;
mod format;
pub mod net;
mod raw;
mod remote;
pub mod signature;
mod stamp;
mod stream;
mod sums;
mod xz_index;

use std::fs::File;
use std::path::{Path, PathBuf};

use crate::base::{ChunkDigests, Interrupt, Progress, Sha256Digest};

pub use self::cache::{Cache, Condition, Pruned, Stored};
pub use self::error::Error;
pub use self::file::{LocalImage, format_of, open_any, open_base};
pub use self::format::Format;
pub use self::net::{Client, Patience, without_secrets};
pub use self::remote::{RemoteImage, open_remote};
pub use self::stream::unpacked;
pub use self::xz_index::{XzBlock, XzBlocks};

/// No card that a Raspberry Pi image is made for is worth unpacking more: 64 GiB.
const IMAGE_LEN_MAX: u64 = 64 << 30;

/// A raw image to press from, open for reading.
#[derive(Debug)]
pub struct BaseImage {
    /// The raw image: the file that was named, or what was unpacked from it.
    pub file: File,
    /// Where it is.
    pub path: PathBuf,
    /// Its length.
    pub len_bytes: u64,
    /// The length of the file that was named, packed or not.
    pub archive_len: u64,
    /// The digest of the file that was named. `None` for a raw image, unless it was asked for: its chunks say as
    /// much and are hashed faster.
    pub archive_sha256: Option<Sha256Digest>,
    /// The digest of the raw image, where it was asked for or came along.
    pub image_sha256: Option<Sha256Digest>,
    /// The digests of the raw image.
    pub digests: ChunkDigests,
    /// The archive, where it is an `.xz` of several blocks that can be taken over as they are.
    pub archive: Option<XzArchive>,
}

/// An archive whose digest is known, open for reading.
#[derive(Debug)]
pub struct XzArchive {
    file: File,
    stamp: String,
    /// Where its blocks are.
    pub index: XzBlocks,
}

impl XzArchive {
    /// Looks at a file that is what it should be now.
    fn of(file: &File) -> Option<Self> {
        let stamp = stamp::stamp(&file.metadata().ok()?);
        Some(Self { file: file.try_clone().ok()?, stamp, index: xz_index::blocks(file)? })
    }

    /// The file.
    #[must_use]
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Is it still as it was when its digest was taken?
    #[must_use]
    pub fn is_unchanged(&self) -> bool {
        self.file.metadata().is_ok_and(|metadata| stamp::stamp(&metadata) == self.stamp)
    }
}

/// What images are fetched with.
#[derive(Clone, Copy)]
pub struct Tools<'t> {
    /// Where they are kept.
    pub cache: &'t Cache,
    /// The way to the network.
    pub client: &'t Client,
    /// Hears how far it is.
    pub progress: &'t dyn Progress,
    /// Stops it.
    pub interrupt: &'t Interrupt,
}

/// What an image has to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wanted {
    Disk,
    Anything,
}

/// Refuses an image that is no disk, where one is wanted.
fn check_head(path: &Path, format: Format, wanted: Wanted, head: &[u8]) -> Result<(), Error> {
    match format::no_disk(head).filter(|_| wanted == Wanted::Disk) {
        None => Ok(()),
        Some((offset, found)) => {
            Err(Error::NotAnImage { path: path.to_owned(), format: format.name(), offset, found })
        }
    }
}

#[cfg(test)]
#[path = "../../tests/support/server.rs"]
mod server;
#[cfg(test)]
mod tests;
