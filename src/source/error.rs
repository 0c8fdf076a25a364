//! Why there is no base image.

use std::io;
use std::path::{Path, PathBuf};

use super::{IMAGE_LEN_MAX, net, signature};
use crate::base::{ByteLen, Interrupted, Sha256Digest};
use crate::block::redo;

/// Why there is no base image. A `path` may be the URL of an archive.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The system failed on the file that was named.
    #[error("cannot {action} `{}`", .path.display())]
    Io {
        /// What was done.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The system failed on the cache.
    #[error("cannot {action} the cache `{}`", .dir.display())]
    Cache {
        /// What was done.
        action: &'static str,
        /// The cache.
        dir: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The system failed to write what was unpacked.
    #[error("cannot write the image unpacked from `{}`", .path.display())]
    Unpack {
        /// The archive.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A directory, a device or the like.
    #[error("`{}` is no regular file", .0.display())]
    NotAFile(PathBuf),
    /// Another file than the one that was asked for.
    #[error("`{}` has SHA-256 {found}, wanted {wanted}", .path.display())]
    Digest {
        /// The file.
        path: PathBuf,
        /// Its digest.
        found: Sha256Digest,
        /// The one asked for.
        wanted: Sha256Digest,
    },
    /// The archive is the right one, or nothing says which it is, and its image is another.
    #[error("the image in `{}` has SHA-256 {found}, wanted {wanted}", .path.display())]
    ImageDigest {
        /// The file or URL of the archive.
        path: PathBuf,
        /// The digest of the raw image.
        found: Sha256Digest,
        /// The one asked for.
        wanted: Sha256Digest,
    },
    /// The same for its length.
    #[error("the image in `{}` is {found_bytes} bytes long, wanted {wanted_bytes}", .path.display())]
    ImageLen {
        /// The file or URL of the archive.
        path: PathBuf,
        /// The length of the raw image.
        found_bytes: u64,
        /// The one asked for.
        wanted_bytes: u64,
    },
    /// What is in it is no disk.
    #[error(
        "`{}` ({format}) holds no disk image: found {found} at offset {offset}, wanted 55 aa", .path.display()
    )]
    NotAnImage {
        /// The file.
        path: PathBuf,
        /// How it is packed.
        format: &'static str,
        /// Where, in the unpacked image.
        offset: u64,
        /// What is there.
        found: String,
    },
    /// A format, or a variety of one, that we do not read.
    #[error(
        "`{}` is {found}, wanted a raw image, xz, gzip, zstd, or a zip archive with one `.img` in it", .path.display()
    )]
    Unsupported {
        /// The file.
        path: PathBuf,
        /// What it is.
        found: String,
    },
    /// The archive contradicts itself.
    #[error(
        "corrupt {format} archive `{}`: {reason}{}", .path.display(),
        .offset.map(|offset| format!(", near offset {offset}")).unwrap_or_default()
    )]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// How it is packed.
        format: &'static str,
        /// How much of it had been taken.
        offset: Option<u64>,
        /// What is wrong.
        reason: String,
        /// What the decoder said.
        #[source]
        source: Option<io::Error>,
    },
    /// The archive ends too early.
    #[error(
        "{format} archive `{}` is cut short: found its end at offset {offset}, wanted more data", .path.display()
    )]
    Truncated {
        /// The file.
        path: PathBuf,
        /// How it is packed.
        format: &'static str,
        /// Its length.
        offset: u64,
    },
    /// Something follows the archive.
    #[error("{format} archive `{}`: found `{found}` at offset {offset}, wanted the end", .path.display())]
    Trailing {
        /// The file.
        path: PathBuf,
        /// How it is packed.
        format: &'static str,
        /// Where the archive ends.
        offset: u64,
        /// What follows.
        found: String,
    },
    /// Longer than any image, or than it was announced.
    #[error("`{}` unpacks to more than {}", .path.display(), ByteLen(*.limit))]
    TooLong {
        /// The file.
        path: PathBuf,
        /// The limit.
        limit: u64,
    },
    /// The cache's disk is too full, which showed only while unpacking.
    #[error(
        "no space in `{}` to unpack `{}`: it takes more than the {} that are free", .dir.display(), .path.display(),
        ByteLen(*.free_bytes)
    )]
    Full {
        /// The file.
        path: PathBuf,
        /// The cache.
        dir: PathBuf,
        /// What was free before.
        free_bytes: u64,
    },
    /// The cache's disk is too full.
    #[error(
        "no space in `{}` to unpack `{}`: {} needed, {} free, {} missing", .dir.display(), .path.display(),
        ByteLen(*.needed_bytes), ByteLen(*.free_bytes), ByteLen(.needed_bytes.saturating_sub(*.free_bytes))
    )]
    NoSpace {
        /// The archive.
        path: PathBuf,
        /// The cache.
        dir: PathBuf,
        /// What the archive says it unpacks to.
        needed_bytes: u64,
        /// What is free.
        free_bytes: u64,
    },
    /// The file changed under us.
    #[error("`{}` was changed while it was read", .0.display())]
    Changed(PathBuf),
    /// Changes in place are under way, or cannot be finished.
    #[error("cannot read `{}` as it is", .path.display())]
    InPlace {
        /// The image.
        path: PathBuf,
        /// Why.
        #[source]
        source: Box<redo::Error>,
    },
    /// It is not signed as it should be.
    #[error(transparent)]
    Signature(signature::Error),
    /// A signature was asked for, and nobody publishes one.
    #[error("there is no signature `{url}`: the server answered {status}")]
    NoSignature {
        /// Where it was looked for.
        url: String,
        /// Number and meaning.
        status: String,
    },
    /// It could not be downloaded.
    #[error(transparent)]
    Net(net::Error),
    /// The user asked to stop.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
}

impl From<signature::Error> for Error {
    fn from(error: signature::Error) -> Self {
        match error {
            signature::Error::Interrupted(interrupted) => Self::Interrupted(interrupted),
            error => Self::Signature(error),
        }
    }
}

impl From<net::Error> for Error {
    fn from(error: net::Error) -> Self {
        match error {
            net::Error::Interrupted(interrupted) => Self::Interrupted(interrupted),
            error => Self::Net(error),
        }
    }
}

impl Error {
    /// What was too long for the room there is, rather than for any image, says so.
    pub(super) fn or_full(self, dir: &Path) -> Self {
        match self {
            Self::TooLong { path, limit } if limit < IMAGE_LEN_MAX => {
                Self::Full { path, dir: dir.to_owned(), free_bytes: limit }
            }
            error => error,
        }
    }
}
