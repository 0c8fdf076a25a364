//! Judges an image as a whole: its partition table and the filesystems in it, each by the layer that knows it.

use super::Error;
use super::disk::{Part, probe};
use super::layout::slice;
use crate::block::ReadAt;
pub use crate::image::fat::Report as FatReport;
pub use crate::image::findings::Findings;
pub use crate::image::table::Label;
use crate::image::table::{self, Kind, Partition};
use crate::image::{ext4, fat};

/// What was found in an image.
#[derive(Debug)]
pub struct Judged {
    /// The partition table; `None` in an image without one, and when one partition was asked for.
    pub table: Option<table::Report>,
    /// The filesystems.
    pub parts: Vec<JudgedPart>,
}

impl Judged {
    /// Whether nothing is wrong, and everything that should hold a filesystem could be judged.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        let is_table_sound = self.table.as_ref().is_none_or(|table| table.findings.is_empty());
        is_table_sound && self.parts.iter().all(JudgedPart::is_sound)
    }
}

/// A partition, or the image itself when it has none.
#[derive(Debug)]
pub struct JudgedPart {
    /// Its number; `None` for the image itself.
    pub number: Option<u32>,
    /// `boot` or `root`, for those two.
    pub role: Option<&'static str>,
    /// What it is and what was found in it.
    pub verdict: Verdict,
}

impl JudgedPart {
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

/// Judges the image on `device`: a disk, or a filesystem without one around it.
///
/// # Errors
/// When there is neither, when the partition asked for is not there, or when the device fails.
pub fn check(device: &dyn ReadAt, which: Part) -> Result<Judged, Error> {
    let table = match table::check(device) {
        Ok(table) if !table.partitions.is_empty() || probe(device)? != Some("ext4") => table,
        Err(error) if !matches!(error, table::Error::Missing { .. }) => return Err(error.into()),
        missing => {
            let verdict = if probe(device)? == Some("ext4") {
                check_ext4(device, true)?
            } else if probe(device)?.is_some() {
                check_fat(device)?
            } else {
                return Err(missing.err().map_or_else(|| Error::NotAnOs("it is empty".into()), Error::from));
            };
            return Ok(Judged { table: None, parts: vec![JudgedPart { number: None, role: None, verdict }] });
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
        Part::System => true,
        Part::Boot => partition.number == boot,
        Part::Root => partition.number == root,
        Part::Number(number) => partition.number == number,
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
        parts.push(JudgedPart { number: Some(number), role, verdict });
    }
    if parts.is_empty() && which != Part::System {
        let wanted = match which {
            Part::Number(number) => number.to_string(),
            Part::Boot => String::from("boot"),
            _ => String::from("root"),
        };
        let present = table.partitions.iter().map(|partition| partition.number).collect();
        return Err(Error::NoSuchPartition { wanted, present });
    }
    Ok(Judged { table: (which == Part::System).then_some(table), parts })
}

fn check_partition(device: &dyn ReadAt, partition: &Partition) -> Result<Verdict, Error> {
    let slice = slice(device, partition)?;
    match partition.kind {
        Kind::Fat => check_fat(&slice),
        Kind::Linux => check_ext4(&slice, true),
        Kind::Other if probe(&slice)? == Some("ext4") => check_ext4(&slice, false),
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
