//! Why a node could not be pressed.

use std::path::PathBuf;

use crate::base::{ByteLen, ImagePath, Interrupted, Sha256Digest};
use crate::block::redo;
use crate::image::{ext4, fat, table};
use crate::source::catalogue;
use crate::{block, plan, sink, source};

/// Why a build stopped. Unless a variant says otherwise, no target was touched.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The base image could not be opened or unpacked.
    #[error("cannot use the base image {}", path.display())]
    Base {
        /// The file as the user named it, or the URL.
        path: PathBuf,
        /// Why.
        #[source]
        source: Box<source::Error>,
    },
    /// The catalogue could not be read, or has no such image.
    #[error(transparent)]
    Catalogue(Box<catalogue::Error>),
    /// The lock is no lock.
    #[error("{}:{line}: {reason}", path.display())]
    BadLock {
        /// The lock.
        path: PathBuf,
        /// The line at fault, counted from one.
        line: usize,
        /// What was found, what was wanted.
        reason: String,
    },
    /// Only what is in the lock was to be used.
    #[error("`{name}` is not in `{}`", path.display())]
    NotLocked {
        /// What the profile calls the image.
        name: String,
        /// The lock.
        path: PathBuf,
    },
    /// Profile and lock contradict each other.
    #[error("the profile wants `{name}` with SHA-256 {wanted}, `{}` has it with {found}", path.display())]
    LockDiffers {
        /// What the profile calls the image.
        name: String,
        /// The lock.
        path: PathBuf,
        /// What the lock says.
        found: Sha256Digest,
        /// What the profile says.
        wanted: Sha256Digest,
    },
    /// Nobody says what the image is.
    #[error("what `{name}` is could not be found out")]
    Unsettled {
        /// What the profile calls the image.
        name: String,
    },
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
    /// A recipe or a template is wrong, or not for this image.
    #[error("the recipes of the profile cannot be used on this image")]
    Recipes(#[source] Box<plan::profile::Faults>),
    /// No node has this name.
    #[error("the profile has no node `{name}`; {known}")]
    NoSuchNode {
        /// What was asked for.
        name: String,
        /// The nearest name, or all there are.
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
    /// The archive of the base is not what it was when its digest was taken.
    #[error("the base image `{0}` was changed while nodes were pressed from it")]
    BaseChanged(String),
    /// No map of an image can be made: a fault of this program.
    #[error("cannot make the map of the image")]
    Bmap(#[from] sink::BmapError),
    /// A card did not become its image.
    #[error("cannot flash it{}", spoilt(.names))]
    Flash {
        /// Some of the files that lie where the card does not keep what is written; empty when it is something else.
        names: Vec<String>,
        /// What was left on the card, and why.
        #[source]
        source: Box<sink::flash::Failed>,
    },
    /// The manifests of the shards do not make a whole.
    #[error("cannot join the manifests in {}: found {found}", folder.display())]
    Shards {
        /// Where they are.
        folder: PathBuf,
        /// What is there.
        found: String,
    },
    /// A manifest is none.
    #[error("{} is no manifest of this version", path.display())]
    BadManifest {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: serde_json::Error,
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
    #[error("cannot grow the image of {} bytes to {}: {reason}", image.0, wanted.0)]
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
    /// An image could not be read or unpacked.
    #[error("cannot open the image {}", path.display())]
    Image {
        /// The image.
        path: PathBuf,
        /// Why.
        #[source]
        source: Box<source::Error>,
    },
    /// An image could not be opened for a change in place, or changed.
    #[error("cannot use {} in place", path.display())]
    InPlace {
        /// The image.
        path: PathBuf,
        /// Why. [`redo::Error::Incomplete`] is the one after which it is not as it was.
        #[source]
        source: Box<redo::Error>,
    },
    /// An archive was to be changed.
    #[error("{} is packed ({format}): only a raw image can be changed in place", path.display())]
    Packed {
        /// The archive.
        path: PathBuf,
        /// How it is packed.
        format: &'static str,
    },
    /// No machine of the emulator can start it.
    #[error("found nothing that an emulated machine can start; wanted {}", tried.join(", or "))]
    NotBootable {
        /// What was looked for.
        tried: Vec<String>,
    },
    /// Neither a partition table nor a filesystem.
    #[error("{} holds neither a partition table nor an ext4 or FAT filesystem", path.display())]
    NoFilesystem {
        /// The image.
        path: PathBuf,
        /// Why it is no disk.
        #[source]
        source: Box<table::Error>,
    },
    /// A partition was named, and there are none.
    #[error("{} is a bare {kind} filesystem and has no partitions", path.display())]
    Bare {
        /// The image.
        path: PathBuf,
        /// `ext4` or `FAT`.
        kind: &'static str,
    },
    /// A partition with something else on it.
    #[error("{place} holds no ext4 or FAT filesystem")]
    UnknownFilesystem {
        /// `partition 2` or `the image`.
        place: String,
    },
    /// An ext4 filesystem is no use.
    #[error("cannot use the ext4 filesystem of {place}")]
    Ext4 {
        /// `partition 2` or `the image`.
        place: String,
        /// Why.
        #[source]
        source: Box<ext4::Error>,
    },
    /// A FAT filesystem is no use.
    #[error("cannot use the FAT filesystem of {place}")]
    Fat {
        /// `partition 1` or `the image`.
        place: String,
        /// Why.
        #[source]
        source: Box<fat::Error>,
    },
    /// A path of an ext4 filesystem could not be read or changed.
    #[error("cannot {verb} {path}")]
    Ext4Path {
        /// What was tried.
        verb: &'static str,
        /// Where.
        path: ImagePath,
        /// Why.
        #[source]
        source: Box<ext4::Error>,
    },
    /// A path of a FAT filesystem could not be read or changed.
    #[error("cannot {verb} {path}")]
    FatPath {
        /// What was tried.
        verb: &'static str,
        /// Where.
        path: ImagePath,
        /// Why.
        #[source]
        source: Box<fat::Error>,
    },
    /// FAT has no such thing.
    #[error("{path} is on a FAT filesystem, which has no {what}")]
    FatHasNo {
        /// Where.
        path: ImagePath,
        /// `symlinks`, `modes`, …
        what: &'static str,
    },
    /// Nothing is there.
    #[error("cannot {verb} {path}: it does not exist")]
    NoSuchPath {
        /// What was tried.
        verb: &'static str,
        /// Where.
        path: ImagePath,
    },
    /// A path was to be compared, and the way to it cannot be read.
    #[error("cannot compare {path}: {reason}")]
    Uncomparable {
        /// Where.
        path: ImagePath,
        /// What the filesystem said.
        reason: String,
    },
    /// It has other attributes, or none.
    #[error("{path} has no extended attribute `{}`", name.escape_debug())]
    NoAttribute {
        /// Where.
        path: ImagePath,
        /// The one that was asked for.
        name: String,
    },
    /// Something is there already.
    #[error("cannot {verb} {path}: it already exists")]
    PathExists {
        /// What was tried.
        verb: &'static str,
        /// Where.
        path: ImagePath,
    },
    /// The directory that it was to be in is none.
    #[error("cannot {verb} {path}: its directory is {found}")]
    NoDirectory {
        /// What was tried.
        verb: &'static str,
        /// Where.
        path: ImagePath,
        /// `missing` or `no directory`.
        found: &'static str,
    },
    /// A directory was to be removed like a file.
    #[error("cannot remove {path}: it is a directory")]
    IsDirectory {
        /// Where.
        path: ImagePath,
    },
    /// Another filesystem is mounted there or below.
    #[error("{path} cannot be removed or replaced: the boot partition is mounted there")]
    Mounted {
        /// Where.
        path: ImagePath,
    },
    /// A filesystem of a kind that is never grown.
    #[error("{place} holds a FAT filesystem, which cannot be grown")]
    CannotGrow {
        /// `partition 1` or `the image`.
        place: String,
    },
    /// A filesystem was to be made over a partition table.
    #[error("{} has a partition table: a filesystem is made in a file of its own only", path.display())]
    HasTable {
        /// The image.
        path: PathBuf,
    },
    /// A word that does not fit what it is for.
    #[error("found `{found}`, wanted {wanted}")]
    BadWord {
        /// The word.
        found: String,
        /// What it should have been.
        wanted: &'static str,
    },
    /// A device could not be looked at.
    #[error(transparent)]
    Disks {
        /// Why.
        source: Box<sink::disks::Error>,
    },
    /// What was to be written could not be read to its end.
    #[error("cannot read what is to be written")]
    Input(#[source] std::io::Error),
    /// A name below a directory cannot be looked at.
    #[error("cannot go on at {path}: {reason}")]
    Unwalkable {
        /// Where; what is no text in it is escaped.
        path: String,
        /// Why not.
        reason: &'static str,
    },
    /// Something else where only a directory will do.
    #[error("cannot {verb} {path}: it is no directory")]
    NotADirectory {
        /// What was tried.
        verb: &'static str,
        /// Where.
        path: ImagePath,
    },
    /// A directory of the host where a file is wanted.
    #[error("cannot {verb} {}: it is a directory", path.display())]
    HostDirectory {
        /// `read` or `write`.
        verb: &'static str,
        /// Which.
        path: PathBuf,
    },
    /// A directory of the image where a file is wanted.
    #[error("cannot read {path}: it is a directory")]
    DirectoryAsFile {
        /// Where.
        path: ImagePath,
    },
    /// The archive could not be written.
    #[error("cannot write the archive")]
    Output(#[source] std::io::Error),
    /// The archive is none, or says what it cannot mean.
    #[error("cannot read the archive: {place}: {reason}")]
    BadArchive {
        /// The member, or how far into the archive.
        place: String,
        /// What was found, what was wanted.
        reason: String,
    },
    /// A member of an archive could not be unpacked. Nothing of the archive has been.
    #[error("cannot unpack `{name}`")]
    Unpack {
        /// Its name, escaped.
        name: String,
        /// Why.
        #[source]
        source: Box<Error>,
    },
    /// A member of an archive is not for this place.
    #[error("{0}")]
    UnfitMember(String),
}

/// So many nodes are named where another one was meant.
const TOLD_NODES: usize = 12;

impl Error {
    /// A name that is none of `known`.
    #[must_use]
    pub fn no_such_node<'k>(name: &str, known: impl Iterator<Item = &'k str> + Clone) -> Self {
        let near = plan::profile::nearest(name, known.clone());
        let near = near.map_or_else(String::new, |near| format!("did you mean `{near}`? "));
        let count = known.clone().count();
        let shown = known.take(TOLD_NODES).collect::<Vec<_>>().join(", ");
        let more = count.saturating_sub(TOLD_NODES);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        Self::NoSuchNode { name: name.to_owned(), known: format!("{near}it has {shown}{more}") }
    }
}

fn spoilt(names: &[String]) -> String {
    if names.is_empty() { String::new() } else { format!(": bad where {} would be", names.join(", ")) }
}
