//! `cardpress images`

use std::collections::BTreeSet;

use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use crate::base::{ByteLen, Sha256Digest};
use crate::source::catalogue::{self as list, Entry, Scope};

use super::args::Global;
use super::catalogue;
use super::report::Failure;
use super::style;
use super::ui::{self, Ui};

const HELP: &str = "\
Examples:
  cardpress images                            every Raspberry Pi OS
  cardpress images --arch arm64 --variant lite
  cardpress images --all                      what others publish, too
  cardpress images --json | jq -r '.[0].url'  all that is known of each
  cardpress images --catalogue list.json      a list of your own

Names: raspios[-oldstable][-lite|-full]-arm64|armhf[@YYYY-MM-DD]. Without lite or full it has a desktop; oldstable is the \
release before the current one. Of what others publish, the name is made from the one they show.

The user's config.toml (on Linux in ~/.config/cardpress; CARDPRESS_CONFIG names another) may say where the catalogue \
is: catalogue = \"https://mirror.example/list.json\", or a file.";

#[derive(Clone, Debug, Args)]
#[command(after_help = HELP)]
pub(super) struct Images {
    /// Only images for these processors: armhf is 32-bit and runs on every Pi, arm64 is 64-bit.
    #[arg(long, value_enum)]
    pub(super) arch: Option<Arch>,

    /// Only this much of Raspberry Pi OS.
    #[arg(long, value_enum)]
    pub(super) variant: Option<Variant>,

    /// Also what is not Raspberry Pi OS.
    #[arg(long)]
    pub(super) all: bool,

    /// Ask for a newer catalogue, however new the kept one is.
    #[arg(long, conflicts_with = "offline")]
    pub(super) refresh: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Arch {
    /// 32-bit.
    Armhf,
    /// 64-bit.
    Arm64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Variant {
    /// No desktop.
    Lite,
    /// A desktop.
    Desktop,
    /// A desktop and recommended programs.
    Full,
}

pub(super) fn run(args: &Images, global: &Global, ui: &Ui) -> Result<(), Failure> {
    let scope = if args.all { Scope::All } else { Scope::RaspiOs };
    let catalogue = catalogue::load(global, ui, scope, args.refresh)?;
    let entries: Vec<&Entry> = catalogue.entries.iter().filter(|entry| is_wanted(entry, args)).collect();
    if entries.is_empty() {
        let hint = if args.all { "" } else { "; --all shows what is not Raspberry Pi OS" };
        ui.say(&format!("no such image in `{}`{hint}", catalogue.origin));
    }
    if global.json {
        let entries: Vec<Value> = entries.iter().map(|entry| to_json(entry)).collect();
        return ui::print(&format!("{}\n", Value::Array(entries)));
    }
    ui::print_painted(&style::table(&to_table(&entries)))
}

fn is_wanted(entry: &Entry, args: &Images) -> bool {
    (args.all || entry.is_raspios)
        && args.arch.is_none_or(|arch| entry.architecture == Some(arch.into()))
        && args.variant.is_none_or(|variant| entry.variant == Some(variant.into()))
}

impl From<Arch> for list::Arch {
    fn from(arch: Arch) -> Self {
        match arch {
            Arch::Armhf => Self::Armhf,
            Arch::Arm64 => Self::Arm64,
        }
    }
}

impl From<Variant> for list::Variant {
    fn from(variant: Variant) -> Self {
        match variant {
            Variant::Lite => Self::Lite,
            Variant::Desktop => Self::Desktop,
            Variant::Full => Self::Full,
        }
    }
}

fn to_table(entries: &[&Entry]) -> String {
    if entries.is_empty() {
        return String::new();
    }
    let len = |len: Option<u64>| len.map_or_else(dash, |len| ByteLen(len).to_string());
    let mut rows = vec![["IMAGE", "RELEASE", "DATE", "DOWNLOAD", "UNPACKED", "BOARDS"].map(str::to_owned)];
    rows.extend(entries.iter().map(|entry| {
        [
            entry.id.clone(),
            entry.release.clone().unwrap_or_else(dash),
            entry.release_date.clone().unwrap_or_else(dash),
            len(entry.archive_len),
            len(entry.extract_len),
            boards(&entry.devices),
        ]
    }));
    let widths: Vec<usize> = (0..6)
        .map(|column| rows.iter().filter_map(|row| row.get(column)).map(String::len).max().unwrap_or(0))
        .collect();
    let mut text = String::new();
    for row in &rows {
        let mut line = String::new();
        for (nth, (cell, width)) in row.iter().zip(&widths).enumerate() {
            // Lengths to the right, so that they can be compared.
            line +=
                &if matches!(nth, 3 | 4) { format!("{cell:>width$}  ") } else { format!("{cell:<width$}  ") };
        }
        text += line.trim_end();
        text.push('\n');
    }
    text
}

fn dash() -> String {
    "-".to_owned()
}

/// `Pi 3 4 5` of `pi3-64bit`, `pi4-64bit` and `pi5-64bit`.
fn boards(devices: &[String]) -> String {
    let numbers: BTreeSet<u32> =
        devices.iter().filter_map(|tag| tag.strip_prefix("pi")?.split('-').next()?.parse().ok()).collect();
    match numbers.len() {
        0 => dash(),
        _ => numbers.iter().fold("Pi".to_owned(), |text, number| format!("{text} {number}")),
    }
}

fn to_json(entry: &Entry) -> Value {
    let digest = |digest: Option<Sha256Digest>| digest.map(|digest| digest.to_string());
    json!({
        "id": entry.id,
        "dated_id": entry.dated_id(),
        "name": entry.name,
        "description": entry.description,
        "url": entry.url,
        "release": entry.release,
        "release_date": entry.release_date,
        "archive_len": entry.archive_len,
        "image_len": entry.extract_len,
        "archive_sha256": digest(entry.archive_sha256),
        "image_sha256": digest(entry.image_sha256),
        "architecture": entry.architecture.map(list::Arch::name),
        "variant": entry.variant.map(list::Variant::name),
        "is_raspios": entry.is_raspios,
        "is_oldstable": entry.is_oldstable,
        "devices": entry.devices,
        "init_format": entry.init_format,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boards_are_shown_by_their_numbers() {
        for (tags, shown) in [
            (&["pi5-64bit", "pi4-64bit", "pi4-32bit"][..], "Pi 4 5"),
            (&["pi500-64bit", "pi1-32bit"], "Pi 1 500"),
            (&["cm5-64bit"], "-"),
            (&[], "-"),
        ] {
            let tags: Vec<String> = tags.iter().map(|tag| (*tag).to_owned()).collect();
            assert_eq!(boards(&tags), shown);
        }
    }
}
