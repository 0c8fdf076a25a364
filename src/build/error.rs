//! Why a node could not be pressed.

use std::path::PathBuf;

use crate::base::{ByteLen, ImagePath, Interrupted};
use crate::image::{ext4, fat, table};
use crate::{block, plan, sink, source};

/// Why a build stopped. Unless a variant says otherwise, no target was touched.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The base image could not be opened or unpacked.
    #[error("cannot use the base image {}", path.display())]
    Base {
        /// The file as the user named it.
        path: PathBuf,
        /// Why.
        #[source]
        source: Box<source::Error>,
    },
    /// The profile asks for a base that this version cannot get.
    #[error("the profile names its base image by `{0}`, and this version reads local files only")]
    NoDownload(&'static str),
    /// The partition table is no use.
    #[error("the partition table cannot be used")]
    Table(#[from] table::Error),
    /// A partition that every Raspberry Pi OS image has is not there.
    #[error("found no {wanted} partition in {found}")]
    NoPartition {
        /// `boot (FAT)` or `root (Linux)`.
        wanted: &'static str,
        /// The partitions there are.
        found: String,
    },
    /// A partition that was asked for is not there.
    #[error("found no partition {wanted}, only {present:?}")]
    NoSuchPartition {
        /// `boot`, `root` or a number.
        wanted: String,
        /// The numbers of those that are there.
        present: Vec<u32>,
    },
    /// The root filesystem is no use.
    #[error("partition {partition} (root) cannot be used")]
    Root {
        /// Its number.
        partition: u32,
        /// Why.
        #[source]
        source: Box<ext4::Error>,
    },
    /// The boot filesystem is no use.
    #[error("partition {partition} (boot) cannot be used")]
    Boot {
        /// Its number.
        partition: u32,
        /// Why.
        #[source]
        source: Box<fat::Error>,
    },
    /// The image is sound but is not what this program is for.
    #[error("this is no Raspberry Pi OS or Debian image: {0}")]
    NotAnOs(String),
    /// A path could not be read or changed on the root partition.
    #[error("cannot {verb} {path} on the root partition")]
    RootPath {
        /// What was tried: `read`, `write`, …
        verb: &'static str,
        /// Where.
        path: ImagePath,
        /// Why.
        #[source]
        source: Box<ext4::Error>,
    },
    /// A path could not be read or changed on the boot partition.
    #[error("cannot {verb} {path} on the boot partition")]
    BootPath {
        /// What was tried.
        verb: &'static str,
        /// Where.
        path: ImagePath,
        /// Why.
        #[source]
        source: Box<fat::Error>,
    },
    /// FAT has no such thing.
    #[error("{path} is on the boot partition, where {what} cannot exist")]
    NotOnFat {
        /// Where.
        path: ImagePath,
        /// `a symlink`, …
        what: &'static str,
    },
    /// A symlink of the image leads a secret to where everybody can read it.
    #[error("{path} leads to the boot partition, which has no owners: a secret would be open to everybody")]
    SecretOnBoot {
        /// Where.
        path: ImagePath,
    },
    /// Renaming from one filesystem to the other.
    #[error("cannot rename {from} to {to}: they are on different partitions")]
    AcrossPartitions {
        /// The old name.
        from: ImagePath,
        /// The new name.
        to: ImagePath,
    },
    /// The edits of a node need more room than its root filesystem has.
    #[error(
        "the root filesystem is too small: the edits need {needed}, {free} are free, {} are missing",
        ByteLen(needed.0.saturating_sub(free.0))
    )]
    RootFull {
        /// What all edits together need.
        needed: ByteLen,
        /// What is free.
        free: ByteLen,
    },
    /// The settings do not go with this image.
    #[error("the profile does not fit this image")]
    Plan(#[source] Box<plan::Faults>),
    /// No node has this name.
    #[error("the profile has no node `{name}`; it has {known}")]
    NoSuchNode {
        /// What was asked for.
        name: String,
        /// The names there are.
        known: String,
    },
    /// One node could not be pressed; its target is untouched, nodes that were finished before remain.
    #[error("cannot press node `{node}`")]
    Node {
        /// Which.
        node: String,
        /// Why.
        #[source]
        source: Box<Error>,
    },
    /// Writing failed.
    #[error("cannot write {}", path.display())]
    Sink {
        /// The target.
        path: PathBuf,
        /// Why.
        #[source]
        source: Box<sink::Error>,
    },
    /// What was read back is not what was planned: a fault of this program or of the disk. The image was removed.
    #[error("the pressed image differs from the plan: {0}")]
    Verify(String),
    /// A file beside the profile could not be read or made.
    #[error("cannot {verb} {}", path.display())]
    Host {
        /// `read`, `create`, …
        verb: &'static str,
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The image cannot be given this length.
    #[error("cannot grow the image of {} bytes to the {} of image.grow: {reason}", image.0, wanted.0)]
    NoGrowing {
        /// How long it is.
        image: ByteLen,
        /// How long it was to be.
        wanted: ByteLen,
        /// Why not.
        reason: String,
    },
    /// The bytes of the base could not be had.
    #[error("cannot read the base image")]
    Device(#[from] block::Error),
    /// The seed is no use.
    #[error("{} holds {found}, wanted 64 hexadecimal digits", path.display())]
    BadSeed {
        /// The seed file.
        path: PathBuf,
        /// What it holds, in words.
        found: String,
    },
    /// Ctrl-C.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
}
