//! `cardpress check`

use std::path::PathBuf;

use clap::Args;
use serde_json::{Value, json};

use crate::build::check::{self, FatReport, Findings, Judged, JudgedPart, Label, Verdict};
use crate::build::disk::{self, Part};
use crate::source::Cache;

use super::args::Global;
use super::report::Failure;
use super::subject::cache_folder;
use super::ui::{self, Ui};

const HELP: &str = "\
Examples:
  cardpress check raspios.img.xz             an image as it was downloaded
  cardpress check out/swarm/worker1.img      one that was pressed
  cardpress check --partition root disk.img  one filesystem of it
  cardpress check --json disk.img            every finding as data

Exit status: 0 everything is sound; 1 something is not, or could not be judged; 2 usage.";

#[derive(Clone, Debug, Args)]
#[command(after_help = HELP)]
pub(super) struct Check {
    /// The image: .img, .img.xz, .img.gz, .img.zst, .zip, or a bare FAT or ext4 filesystem.
    pub(super) image: PathBuf,

    /// Judge only this partition: the one the firmware reads, the one Linux starts from, or one by its number.
    #[arg(long, value_name = "boot|root|N", value_parser = super::fs::part)]
    pub(super) partition: Option<Part>,
}

pub(super) fn run(args: &Check, global: &Global, ui: &Ui) -> Result<(), Failure> {
    let cache = Cache::at(cache_folder(global)?);
    let (device, is_unfinished) = disk::device_to_read(&args.image, &cache, ui, &ui.interrupt)?;
    if is_unfinished {
        ui.say(&format!("{} has unfinished changes: judging it with them", args.image.display()));
    }
    let judged = check::check(&device, args.partition.unwrap_or_default())?;
    if global.json {
        ui::print_object(to_json(&judged))?;
    } else if !(global.quiet && judged.is_sound()) {
        ui::print(&to_text(&judged))?;
    }
    if judged.is_sound() { Ok(()) } else { Err(Failure::Unsound) }
}

fn to_text(judged: &Judged) -> String {
    let mut text = String::new();
    if let Some(table) = &judged.table {
        text += &line(&format!("partition table: {}", label(table.label)), &table.findings);
    }
    for part in &judged.parts {
        let name = match (part.number, part.role) {
            (None, _) => String::from("filesystem"),
            (Some(number), None) => format!("partition {number}"),
            (Some(number), Some(role)) => format!("partition {number} ({role})"),
        };
        text += &match &part.verdict {
            Verdict::Ext4(report) => {
                line(&format!("{name}: ext4, {} files", grouped(report.files)), &report.findings)
            }
            Verdict::Fat(report) => {
                let what = format!("{name}: {}, {} files", fat_kind(report), grouped(report.files));
                line(&what, &report.findings)
            }
            Verdict::Unjudged { reason, .. } => format!("{name}: not judged: {reason}\n"),
        };
    }
    text
}

/// The verdict, and a line for each finding.
fn line(what: &str, findings: &Findings) -> String {
    if findings.is_empty() {
        return format!("{what}, sound\n");
    }
    let mut text = format!("{what}, not sound\n");
    for finding in findings.kept() {
        text += &format!("  {finding}\n");
    }
    let more = findings.count().saturating_sub(findings.kept().len() as u64);
    if more > 0 {
        text += &format!("  and {} more\n", grouped(more));
    }
    text
}

fn to_json(judged: &Judged) -> Value {
    let table = judged.table.as_ref().map(|table| {
        let mut told = findings(Some(&table.findings));
        told["kind"] = json!(label(table.label).to_lowercase());
        told
    });
    let parts: Vec<Value> = judged.parts.iter().map(part_to_json).collect();
    json!({ "sound": judged.is_sound(), "table": table, "partitions": parts })
}

/// Every key is in every partition; what a filesystem of its kind has not is null.
fn part_to_json(part: &JudgedPart) -> Value {
    let mut told = findings(part.findings());
    let (mut ext4, mut fat, mut reason) = (None, None, None);
    match &part.verdict {
        Verdict::Ext4(report) => ext4 = Some(report),
        Verdict::Fat(report) => fat = Some(report),
        Verdict::Unjudged { reason: why, .. } => reason = Some(why),
    }
    told["number"] = json!(part.number);
    told["role"] = json!(part.role);
    told["kind"] = json!(fat.map(fat_kind).or(ext4.map(|_| "ext4".to_owned())));
    told["files"] = json!(ext4.map(|report| report.files).or(fat.map(|report| report.files)));
    told["directories"] = json!(ext4.map(|report| report.directories));
    told["blocks"] = json!(ext4.map(|report| report.blocks));
    told["used_blocks"] = json!(ext4.map(|report| report.used_blocks));
    told["clusters"] = json!(fat.map(|report| report.clusters));
    told["used_clusters"] = json!(fat.map(|report| report.used_clusters));
    told["not_judged"] = json!(reason);
    told
}

/// `FAT32`; where it cannot even be told of which bits it is, `FAT`.
fn fat_kind(report: &FatReport) -> String {
    if report.bits == 0 { "FAT".to_owned() } else { format!("FAT{}", report.bits) }
}

/// `sound` is null where nothing was judged.
fn findings(findings: Option<&Findings>) -> Value {
    let kept: Vec<Value> = findings
        .map_or(&[][..], Findings::kept)
        .iter()
        .map(|finding| {
            json!({
                "structure": finding.place.structure,
                "number": finding.place.number,
                "offset": finding.place.offset,
                "what": finding.what,
                "found": finding.found,
                "wanted": finding.wanted,
            })
        })
        .collect();
    json!({
        "sound": findings.map(Findings::is_empty),
        "findings": kept,
        "findings_count": findings.map_or(0, Findings::count),
    })
}

fn label(label: Label) -> &'static str {
    match label {
        Label::Mbr => "MBR",
        Label::Gpt => "GPT",
    }
}

/// `32,647`
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (nth, digit) in digits.chars().enumerate() {
        if nth > 0 && (digits.len() - nth).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::grouped;

    #[test]
    fn thousands_are_set_apart() {
        let told = [0, 999, 1000, 32_647, 1_234_567].map(grouped);
        assert_eq!(told, ["0", "999", "1,000", "32,647", "1,234,567"]);
    }
}
