//! Which block devices there are, what is on them, and why most of them must not be written to.
//!
//! What a system tells is asked through [`System`]. Linux is asked in full: sysfs, the mounts and the swaps of the
//! kernel, and the first blocks of every disk that can be read. macOS and Windows are asked through programs of theirs;
//! what these say is understood by plain functions from text to disks, which are tested on every system. What is found is
//! a snapshot: [`super::Card::take`] looks again once nobody else can take the device.
//!
//! Names, models and labels were written by others. They are shown without control characters and cut when long.

#[cfg(any(test, target_os = "macos", windows))]
mod ask;
#[cfg_attr(not(target_os = "linux"), allow(dead_code, reason = "only Linux reads the disks themselves"))]
mod contents;
#[cfg(target_os = "linux")]
mod linux;
#[cfg(any(test, target_os = "macos"))]
mod macos;
#[cfg(not(any(target_os = "linux", target_os = "macos", windows)))]
mod other;
mod read;
mod wait;
#[cfg(any(test, windows))]
mod windows;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use crate::base::{ByteLen, Interrupt, Interrupted};
use crate::image::table::Label;

pub use contents::{Kind, Signature, probe};
#[cfg(target_os = "linux")]
pub use linux::Linux;
#[cfg(target_os = "linux")]
use linux::Linux as Here;
#[cfg(target_os = "macos")]
pub use macos::MacOs;
#[cfg(target_os = "macos")]
use macos::MacOs as Here;
#[cfg(target_os = "macos")]
pub(super) use macos::raw_node;
#[cfg(not(any(target_os = "linux", target_os = "macos", windows)))]
pub use other::Other;
#[cfg(not(any(target_os = "linux", target_os = "macos", windows)))]
use other::Other as Here;
pub use read::{Whole, open_to_read};
#[cfg(windows)]
pub use windows::Windows;
#[cfg(windows)]
use windows::Windows as Here;

/// What a disk is called here.
const EXAMPLE: &str = match () {
    () if cfg!(target_os = "macos") => "/dev/disk4",
    () if cfg!(windows) => r"\\.\PhysicalDrive2",
    () => "/dev/sdb",
};

/// Why disks could not be looked at.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The system failed.
    #[error("cannot {action} `{}`", .path.display())]
    Io {
        /// What was done.
        action: &'static str,
        /// Where.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A list of the kernel's cannot be understood, so nobody knows what is in use.
    #[error("`{}` has the line `{line}`, wanted {wanted}", .path.display())]
    Malformed {
        /// Which list.
        path: PathBuf,
        /// The line, without control characters.
        line: String,
        /// What it should be like.
        wanted: &'static str,
    },
    /// A file, a folder or the like.
    #[error("`{}` is {found}, wanted a block device such as `{EXAMPLE}`", .path.display())]
    NotBlockDevice {
        /// The path asked for.
        path: PathBuf,
        /// What is there.
        found: &'static str,
    },
    /// The kernel does not know the device behind a node.
    #[error("`{}` names block device {major}:{minor}, which this system does not have", .path.display())]
    NoSuchDevice {
        /// The path asked for.
        path: PathBuf,
        /// Its driver.
        major: u32,
        /// Which of the driver's devices.
        minor: u32,
    },
    /// It names no disk that the system's list has.
    #[error("`{}` is no disk of this system, wanted one such as `{EXAMPLE}`", .0.display())]
    Unknown(PathBuf),
    /// A program of the system that knows its disks failed, or cannot be understood, so nobody knows what is in use.
    #[error("cannot list disks: `{}` {what}", .program.display())]
    Program {
        /// Which.
        program: PathBuf,
        /// What went wrong, without control characters.
        what: String,
    },
    /// More than one card appeared at once.
    #[error("found {} new cards ({}), wanted one", .0.len(), list_paths(.0))]
    Several(Vec<PathBuf>),
    /// A partition, or what is made of disks.
    #[error("`{}` is no whole disk: {obstacle}", .path.display())]
    NotWhole {
        /// The path asked for.
        path: PathBuf,
        /// What it is.
        obstacle: Obstacle,
    },
    /// We may not read it.
    #[error("not permitted to read `{}`; wanted {advice}", .path.display())]
    Denied {
        /// The device.
        path: PathBuf,
        /// What would give access.
        advice: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Not on this system.
    #[error("cannot {0} on this system: found {os}, wanted Linux, macOS or Windows", os = std::env::consts::OS)]
    NotBuilt(&'static str),
    /// The user asked to stop.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
}

/// What a system knows of its disks.
pub trait System {
    /// All whole disks there are, the ones that must not be touched included, by name. Partitions, what is made of
    /// other disks (LVM, RAID), and loop devices without a file are left out.
    ///
    /// `look_into` says whether the disks' first blocks are read, too; without, every [`Disk::contents`] is `Unread`.
    ///
    /// # Errors
    /// When it is not known what is in use. A disk that cannot be read is listed with [`Contents::Unread`].
    fn list(&self, look_into: bool) -> Result<Vec<Disk>, Error>;

    /// The block device at `path`, which may be a link, or a partition: then that is an [`Obstacle`].
    ///
    /// # Errors
    /// When it is no block device, or it is not known what is in use.
    fn find(&self, path: &Path) -> Result<Disk, Error>;
}

/// A block device, as it was at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disk {
    /// `/dev/sdb`
    pub path: PathBuf,
    /// What the kernel calls it: `sdb`.
    pub name: String,
    /// Driver and device: the kernel's major and minor number.
    pub number: (u32, u32),
    /// Counts up with every device and every medium that appears, where the kernel tells (Linux 5.15): the same
    /// device with the same number has not been pulled or changed.
    pub sequence: Option<u64>,
    /// 0 when a reader is empty.
    pub len_bytes: u64,
    /// The logical block in bytes, where the list tells it; Linux is asked once the device is open.
    pub block_len: Option<u32>,
    /// Maker and model; empty when unknown. For a loop device the file behind it.
    pub model: String,
    /// Of a card reader it is the reader's, not the card's. Empty when unknown.
    pub serial: String,
    /// The medium can be taken out, as the device says of itself. Cards in a slot on the board say that they cannot.
    pub is_removable: bool,
    /// How it is attached.
    pub transport: Transport,
    /// What is on it.
    pub contents: Contents,
    /// The places where it, or a partition of it, is mounted: node and mount point.
    pub mounts: Vec<(PathBuf, String)>,
    /// Why it must not be written to, but for what options allow; see [`Self::obstacles`].
    pub(crate) found: Vec<Obstacle>,
}

/// How a disk is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// A stick, a disk in a USB enclosure, most card readers.
    Usb,
    /// An SD card in a slot.
    Mmc,
    /// A chip on a board that speaks the same protocol as cards.
    Emmc,
    /// A fast disk on PCI Express.
    Nvme,
    /// A disk on a SATA cable.
    Sata,
    /// Another SCSI disk: SAS, iSCSI, Fibre Channel, a virtual machine's.
    Scsi,
    /// A virtual machine's disk.
    Virtio,
    /// A file that the kernel shows as a disk.
    Loop,
    /// Memory, network and others.
    Other,
}

impl Transport {
    /// One word: `usb`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Usb => "usb",
            Self::Mmc => "mmc",
            Self::Emmc => "emmc",
            Self::Nvme => "nvme",
            Self::Sata => "sata",
            Self::Scsi => "scsi",
            Self::Virtio => "virtio",
            Self::Loop => "loop",
            Self::Other => "other",
        }
    }
}

/// What is on a disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Contents {
    /// Nobody looked, or nobody could, and why.
    Unread(String),
    /// The first blocks were read.
    Read {
        /// Which kind of partition table there is, if any that we understand.
        table: Option<Label>,
        /// What is on the disk itself, beside or instead of partitions.
        whole: Option<Signature>,
        /// What is in the partitions: those of the table, else those the kernel knows.
        partitions: Vec<Partition>,
    },
}

/// A part of a disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partition {
    /// `/dev/sdb1`
    pub path: PathBuf,
    /// As the kernel counts, from 1.
    pub number: u32,
    /// Where it begins; 0 on macOS, which does not tell.
    pub start_bytes: u64,
    /// How long it is.
    pub len_bytes: u64,
    /// What is in it, if it is known.
    pub holds: Option<Signature>,
}

/// Why a device must not be written to. Each is a sentence of its own.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Obstacle {
    /// It is a part of a disk, or made of others.
    #[error("it is {what}, wanted a whole disk{}", hint_disks(.disks))]
    NotWhole {
        /// What it is.
        what: String,
        /// The disks it stands on.
        disks: Vec<PathBuf>,
    },
    /// No disk at all.
    #[error("it is {0}")]
    NotADisk(&'static str),
    /// The system stands on it.
    #[error("the running system is on it: {}", .mounts.join(", "))]
    System {
        /// Where what is on it is mounted: `/`, `/boot/firmware`.
        mounts: Vec<String>,
    },
    /// It, or a partition, is mounted.
    #[error("{} is mounted on {on}{}", .device.display(), hint(.advice))]
    Mounted {
        /// Which.
        device: PathBuf,
        /// Where.
        on: String,
        /// What to do about it, where the system has a command for a whole disk.
        advice: Option<String>,
    },
    /// It, or a partition, is swapped to.
    #[error("{} is in use as swap", .device.display())]
    Swap {
        /// Which.
        device: PathBuf,
    },
    /// It, or a partition, is part of a device that is running: LVM, RAID, encryption, a loop device.
    #[error("{} is in use by {} ({what})", .device.display(), .by.display())]
    Held {
        /// Which.
        device: PathBuf,
        /// The device made of it.
        by: PathBuf,
        /// What that is.
        what: String,
    },
    /// It, or a partition, belongs to something that may be running without the kernel's telling, or may run
    /// again.
    #[error(
        "{} belongs to {}; if that is not needed any more, {} frees it",
        .device.display(), .kind.name(), frees(.device)
    )]
    Member {
        /// Which.
        device: PathBuf,
        /// What its first blocks say.
        kind: Kind,
    },
    /// A switch on the card, or the driver, forbids writing.
    #[error("it is write-protected; SD cards and their adapters have a switch at the side")]
    ReadOnly,
    /// An empty reader.
    #[error("there is no medium in it")]
    NoMedium,
    /// It cannot be taken out, and is not on USB or a slot for cards.
    #[error("it is a fixed disk ({}), which only --allow-fixed-disk takes", .0.name())]
    Fixed(Transport),
    /// It cannot hold what is to be written.
    #[error("it is too small: {} there, {} needed", ByteLen(*.len_bytes), ByteLen(*.needed_bytes))]
    TooSmall {
        /// Its length.
        len_bytes: u64,
        /// What is needed.
        needed_bytes: u64,
    },
}

impl Obstacle {
    /// One word for programs: `mounted`.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::NotWhole { .. } => "not-whole",
            Self::NotADisk(_) => "not-a-disk",
            Self::System { .. } => "system",
            Self::Mounted { .. } => "mounted",
            Self::Swap { .. } => "swap",
            Self::Held { .. } => "held",
            Self::Member { .. } => "member",
            Self::ReadOnly => "read-only",
            Self::NoMedium => "no-medium",
            Self::Fixed(_) => "fixed",
            Self::TooSmall { .. } => "too-small",
        }
    }
}

impl Disk {
    /// Everything that forbids writing to it, the weightiest first. `allow_fixed` is the user's word that a disk that
    /// cannot be taken out is meant.
    #[must_use]
    pub fn obstacles(&self, allow_fixed: bool) -> Vec<Obstacle> {
        let mut all = self.found.clone();
        // Beside what no option takes, an option is no advice.
        let is_never = |found: &Obstacle| is_another_thing(found) || matches!(found, Obstacle::System { .. });
        if !allow_fixed && !self.is_card_like() && !self.found.iter().any(is_never) {
            all.push(Obstacle::Fixed(self.transport));
        }
        all
    }

    /// Is there nothing that forbids writing to it?
    #[must_use]
    pub fn is_candidate(&self) -> bool {
        self.obstacles(false).is_empty()
    }

    /// Refuses what is longer than the disk.
    #[must_use]
    pub fn too_small(&self, needed_bytes: u64) -> Option<Obstacle> {
        let len_bytes = self.len_bytes;
        (len_bytes < needed_bytes).then_some(Obstacle::TooSmall { len_bytes, needed_bytes })
    }

    /// Can it be taken out, as far as the system knows: a card, a stick, a disk on USB?
    #[must_use]
    pub fn is_card_like(&self) -> bool {
        self.is_removable || matches!(self.transport, Transport::Usb | Transport::Mmc)
    }

    /// Are both the same device with the same medium in it?
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        // Who mounted or wrote something meanwhile did not make it another disk.
        let key = |disk: &Self| {
            let Self { name, number, sequence, len_bytes, model, serial, .. } = disk;
            (name.clone(), *number, *sequence, *len_bytes, model.clone(), serial.clone())
        };
        key(self) == key(other)
    }
}

/// A line by which the user knows it again: `/dev/sdb: Generic SD/MMC, serial 058F63666485, 29.7 GiB, removable, usb;
/// holds: MBR, bootfs (FAT32), rootfs (ext4)`
impl fmt::Display for Disk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let model = if self.model.is_empty() { "unknown model" } else { &self.model };
        write!(f, "{}: {model}", self.path.display())?;
        if !self.serial.is_empty() {
            write!(f, ", serial {}", self.serial)?;
        }
        if self.len_bytes > 0 {
            write!(f, ", {}", ByteLen(self.len_bytes))?;
        }
        write!(f, "{}, {}", if self.is_removable { ", removable" } else { "" }, self.transport.name())?;
        if self.len_bytes == 0 { write!(f, "; empty") } else { write!(f, "; holds: {}", self.contents) }
    }
}

/// `MBR, bootfs (FAT32), rootfs (ext4)`
impl fmt::Display for Contents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (table, whole, partitions) = match self {
            Self::Unread(why) => return write!(f, "unknown ({why})"),
            Self::Read { table, whole, partitions } => (table, whole, partitions),
        };
        let mut words: Vec<String> = Vec::new();
        words.extend(table.map(|label| if label == Label::Mbr { "MBR" } else { "GPT" }.to_owned()));
        words.extend(whole.iter().map(Signature::to_string));
        for partition in partitions {
            let holds = partition.holds.as_ref().map(Signature::to_string);
            words.push(holds.unwrap_or_else(|| format!("partition {}", partition.number)));
        }
        if words.is_empty() { f.write_str("nothing known") } else { f.write_str(&words.join(", ")) }
    }
}

/// All whole disks of this machine, with what is on them; see [`System::list`].
///
/// # Errors
/// As for [`System::list`].
pub fn list() -> Result<Vec<Disk>, Error> {
    system().list(true)
}

/// The block device at `path`; see [`System::find`].
///
/// # Errors
/// As for [`System::find`].
pub fn find(path: &Path) -> Result<Disk, Error> {
    system().find(path)
}

/// Waits until a card appears that is not among `known`, or a medium in a reader that was empty there, and stays.
///
/// It may have obstacles: a desktop that mounts every card at once must not make us wait for ever. Only what cannot be
/// a card, a fixed disk, is passed by.
///
/// # Errors
/// [`Error::Several`] when more than one appeared, for which is meant is not guessed; [`Error::Interrupted`]; else as for
/// [`System::list`].
pub fn wait_for_new(known: &[Disk], interrupt: &Interrupt) -> Result<Disk, Error> {
    wait::wait(&system(), known, interrupt, wait::PAUSE)
}

/// The system this program runs on.
#[must_use]
pub fn system() -> impl System {
    Here::default()
}

/// Who may have the disk for himself, in words, as far as can be seen from here.
pub(super) fn users(disk: &Disk) -> Vec<String> {
    #[cfg(target_os = "linux")]
    return Here::default().users(disk);
    #[cfg(not(target_os = "linux"))]
    {
        let _ = disk;
        Vec::new()
    }
}

/// Whose rights open a device, in words.
pub(super) fn access_to(path: &Path) -> String {
    #[cfg(target_os = "linux")]
    return linux::access_to(path);
    #[cfg(not(target_os = "linux"))]
    {
        let _ = path;
        match () {
            () if cfg!(target_os = "macos") => {
                "root (`sudo cardpress …`), and the terminal's access to removable volumes in the privacy settings"
            }
            () => "an administrator's terminal",
        }
        .to_owned()
    }
}

/// Is whether it can be taken out beside the point?
fn is_another_thing(obstacle: &Obstacle) -> bool {
    matches!(obstacle, Obstacle::NotWhole { .. } | Obstacle::NotADisk(_))
}

fn hint(advice: &Option<String>) -> String {
    advice.as_ref().map_or_else(String::new, |advice| format!("; {advice}"))
}

/// What takes away the marks of something larger.
fn frees(device: &Path) -> String {
    match () {
        () if cfg!(target_os = "macos") => "`diskutil eraseDisk free none` of its disk".to_owned(),
        () if cfg!(windows) => "`Clear-Disk -RemoveData` of its disk".to_owned(),
        () => format!("`wipefs --all {}`", device.display()),
    }
}

fn hint_disks(disks: &[PathBuf]) -> String {
    match disks {
        [] => String::new(),
        [disk] => format!("; its disk is {}", disk.display()),
        _ => format!("; its disks are {}", list_paths(disks)),
    }
}

fn list_paths(paths: &[PathBuf]) -> String {
    let names: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
    names.join(", ")
}

/// What others wrote, fit to be shown: letters, digits, ASCII marks, single spaces, 64 characters at most.
pub(crate) fn clean(bytes: &[u8]) -> String {
    let bytes = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
    let text: String = String::from_utf8_lossy(bytes)
        .chars()
        .take(256)
        .map(|c| if c.is_alphanumeric() || c.is_ascii_graphic() || c.is_whitespace() { c } else { '?' })
        .collect();
    let words: Vec<&str> = text.split_whitespace().collect();
    words.join(" ").chars().take(64).collect()
}

#[cfg(test)]
mod tests;
