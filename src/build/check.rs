//! Judges an image as a whole: its partition table and the filesystems in it, each by the layer that knows it.

use std::fs::File;
use std::path::Path;

use super::Error;
use super::layout::slice;
use crate::base::{Interrupt, Progress};
use crate::block::{FileDevice, ReadAt};
pub use crate::image::findings::Findings;
pub use crate::image::table::Label;
use crate::image::table::{self, Kind, Partition};
use crate::image::{ext4, fat};
use crate::source::{self, Cache};

/// Which partitions are judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// All, and the table.
    All,
    /// The FAT partition that the firmware reads: the first.
    Boot,
    /// The first Linux partition behind it.
    Root,
    /// The one with this number.
    Number(u32),
}

/// What was found in an image.
#[derive(Debug)]
pub struct Judged {
    /// The partition table; `None` in an image without one, and when one partition was asked for.
    pub table: Option<table::Report>,
    /// The filesystems.
    pub parts: Vec<Part>,
}

impl Judged {
    /// Whether nothing is wrong, and everything that should hold a filesystem could be judged.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        let is_table_sound = self.table.as_ref().is_none_or(|table| table.findings.is_empty());
        is_table_sound && self.parts.iter().all(Part::is_sound)
    }
}

/// A partition, or the image itself when it has none.
#[derive(Debug)]
pub struct Part {
    /// Its number; `None` for the image itself.
    pub number: Option<u32>,
    /// `boot` or `root`, for those two.
    pub role: Option<&'static str>,
    /// What it is and what was found in it.
    pub verdict: Verdict,
}

impl Part {
    fn is_sound(&self) -> bool {
        match &self.verdict {
            Verdict::Ext4(report) => report.is_sound(),
            Verdict::Fat(report) => report.is_sound(),
            Verdict::Unjudged { is_wanted, .. } => !is_wanted,
        }
    }

    /// What is wrong with it.
    #[must_use]
    pub fn findings(&self) -> Option<&Findings> {
        match &self.verdict {
            Verdict::Ext4(report) => Some(&report.findings),
            Verdict::Fat(report) => Some(&report.findings),
            Verdict::Unjudged { .. } => None,
        }
    }
}

/// What was found in a partition.
#[derive(Debug)]
pub enum Verdict {
    /// An ext4 filesystem.
    Ext4(ext4::Report),
    /// A FAT filesystem.
    Fat(fat::Report),
    /// Nothing that we can judge.
    Unjudged {
        /// Why not.
        reason: String,
        /// By its type it should hold a filesystem that we can.
        is_wanted: bool,
    },
}

/// Opens the image in the file at `path`, of any form that `build` takes, to be looked at and not written to.
///
/// # Errors
/// When the file cannot be read or unpacked.
pub fn open(
    path: &Path,
    cache: &Cache,
    progress: &dyn Progress,
    interrupt: &Interrupt,
) -> Result<FileDevice, Error> {
    let failed = |source| Error::Base { path: path.to_owned(), source: Box::new(source) };
    let file: File = source::open_to_look(path, cache, progress, interrupt).map_err(failed)?;
    FileDevice::new(file)
        .map_err(|source| failed(source::Error::Io { action: "open", path: path.to_owned(), source }))
}

/// Judges the image on `device`: a disk, or a filesystem without one around it.
///
/// # Errors
/// When there is neither, when the partition asked for is not there, or when the device fails.
pub fn check(device: &dyn ReadAt, which: Which) -> Result<Judged, Error> {
    let table = match table::check(device) {
        Ok(table) if !table.partitions.is_empty() || !has_ext4(device)? => table,
        Err(error) if !matches!(error, table::Error::Missing { .. }) => return Err(error.into()),
        missing => {
            let verdict = if has_ext4(device)? {
                check_ext4(device, true)?
            } else if has_fat(device)? {
                check_fat(device)?
            } else {
                return Err(missing.err().map_or_else(|| Error::NotAnOs("it is empty".into()), Error::from));
            };
            return Ok(Judged { table: None, parts: vec![Part { number: None, role: None, verdict }] });
        }
    };
    let boot = table.partitions.iter().find(|partition| partition.kind == Kind::Fat);
    let boot = boot.map_or(0, |partition| partition.number);
    let root = table
        .partitions
        .iter()
        .find(|partition| partition.kind == Kind::Linux && partition.number > boot)
        .map_or(0, |partition| partition.number);
    let is_asked = |partition: &Partition| match which {
        Which::All => true,
        Which::Boot => partition.number == boot,
        Which::Root => partition.number == root,
        Which::Number(number) => partition.number == number,
    };
    let mut parts = Vec::new();
    for partition in table.partitions.iter().filter(|partition| is_asked(partition)) {
        let number = partition.number;
        let role = if number == boot {
            Some("boot")
        } else if number == root {
            Some("root")
        } else {
            None
        };
        let verdict = check_partition(device, partition)?;
        parts.push(Part { number: Some(number), role, verdict });
    }
    if parts.is_empty() && which != Which::All {
        let wanted = match which {
            Which::Number(number) => number.to_string(),
            Which::Boot => String::from("boot"),
            _ => String::from("root"),
        };
        let present = table.partitions.iter().map(|partition| partition.number).collect();
        return Err(Error::NoSuchPartition { wanted, present });
    }
    Ok(Judged { table: (which == Which::All).then_some(table), parts })
}

fn check_partition(device: &dyn ReadAt, partition: &Partition) -> Result<Verdict, Error> {
    let slice = slice(device, partition)?;
    match partition.kind {
        Kind::Fat => check_fat(&slice),
        Kind::Linux => check_ext4(&slice, true),
        Kind::Other if has_ext4(&slice)? => check_ext4(&slice, false),
        Kind::Other => Ok(Verdict::Unjudged {
            reason: String::from("of a type that holds neither FAT nor ext4"),
            is_wanted: false,
        }),
    }
}

fn check_ext4(device: &dyn ReadAt, is_wanted: bool) -> Result<Verdict, Error> {
    match ext4::check(device) {
        Ok(report) => Ok(Verdict::Ext4(report)),
        Err(ext4::Error::Device { source, .. }) => Err(source.into()),
        Err(error) => Ok(Verdict::Unjudged { reason: error.to_string(), is_wanted }),
    }
}

fn check_fat(device: &dyn ReadAt) -> Result<Verdict, Error> {
    match fat::check(device) {
        Ok(report) => Ok(Verdict::Fat(report)),
        Err(fat::Error::Device(source)) => Err(source.into()),
        Err(error) => Ok(Verdict::Unjudged { reason: error.to_string(), is_wanted: true }),
    }
}

/// Whether the mark of ext4 is where it should be.
fn has_ext4(device: &dyn ReadAt) -> Result<bool, Error> {
    let mut magic = [0; 2];
    if device.len_bytes() < 2048 {
        return Ok(false);
    }
    device.read_at(1080, &mut magic)?;
    Ok(magic == [0x53, 0xef])
}

/// Whether the first sector says that it is one of FAT.
fn has_fat(device: &dyn ReadAt) -> Result<bool, Error> {
    let mut sector = [0; 512];
    if device.len_bytes() < 512 {
        return Ok(false);
    }
    device.read_at(0, &mut sector)?;
    Ok(sector[54..].starts_with(b"FAT") || sector[82..].starts_with(b"FAT32"))
}
