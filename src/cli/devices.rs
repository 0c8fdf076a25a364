//! `cardpress devices`

use serde_json::{Value, json};

use crate::base::ByteLen;
use crate::image::table::Label;
use crate::sink::disks::{self, Contents, Disk, Signature};

use super::args::Global;
use super::report::{Failure, plural};
use super::ui::{self, Ui};

pub(super) const HELP: &str = "\
Examples:
  cardpress devices         what could be flashed, and what not
  sudo cardpress devices    also what is on them, where only root may read it
  cardpress devices --json | jq -r '.[] | select(.is_candidate) | .path'

A card that the desktop mounts when it is put in has to be unmounted first: `umount /dev/sdb1`, or `udisksctl unmount \
--block-device /dev/sdb1`. Disks that cannot be taken out are refused unless --allow-fixed-disk is given to the verb that \
writes. On macOS and Windows this was never tried; there the reason beside a card names the command that frees it.";

pub(super) fn run(global: &Global, ui: &Ui) -> Result<(), Failure> {
    let disks = disks::list().map_err(|error| Failure::Other(error.into()))?;
    let (cards, others): (Vec<&Disk>, Vec<&Disk>) = disks.iter().partition(|disk| disk.is_candidate());
    if cards.is_empty() {
        ui.say(
            "no card that could be flashed: put one into a reader, or plug the reader in; if it is listed below, \
             the reason is beside it",
        );
    }
    if let Some(why) = unread(&cards) {
        ui.say(&format!("what is on the cards cannot be read ({why}); `sudo cardpress devices` shows more"));
    }
    if global.json {
        let all: Vec<Value> = cards.iter().chain(&others).map(|disk| to_json(disk)).collect();
        return ui::print(&format!("{}\n", Value::Array(all)));
    }
    ui::print(&to_text(&cards, &others))
}

/// Why the first card that cannot be read cannot.
fn unread<'d>(cards: &[&'d Disk]) -> Option<&'d str> {
    cards.iter().find_map(|disk| match &disk.contents {
        Contents::Unread(why) => Some(why.as_str()),
        Contents::Read { .. } => None,
    })
}

/// A table of the cards, then each other disk with its reasons below.
fn to_text(cards: &[&Disk], others: &[&Disk]) -> String {
    let mut text = String::new();
    if !cards.is_empty() {
        let mut rows = vec![["DEVICE", "SIZE", "BUS", "MODEL", "SERIAL", "HOLDS"].map(str::to_owned)];
        rows.extend(cards.iter().map(|disk| row(disk)));
        text += &table(&rows);
    }
    if !others.is_empty() {
        let count = others.len();
        let blank = if cards.is_empty() { "" } else { "\n" };
        text += &format!("{blank}{count} other {}, not to be flashed:\n", plural(count, "device"));
    }
    for disk in others {
        text += &format!("{disk}\n");
        for obstacle in disk.obstacles(false) {
            text += &format!("  {obstacle}\n");
        }
    }
    text
}

fn row(disk: &Disk) -> [String; 6] {
    let or_dash = |text: &str| if text.is_empty() { "-".to_owned() } else { text.to_owned() };
    [
        disk.path.display().to_string(),
        ByteLen(disk.len_bytes).to_string(),
        disk.transport.name().to_owned(),
        or_dash(&disk.model),
        or_dash(&disk.serial),
        disk.contents.to_string(),
    ]
}

fn table(rows: &[[String; 6]]) -> String {
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..6).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (nth, (cell, width)) in row.iter().zip(&widths).enumerate() {
            // Lengths to the right, so that they can be compared.
            line += &if nth == 1 { format!("{cell:>width$}  ") } else { format!("{cell:<width$}  ") };
        }
        text += line.trim_end();
        text.push('\n');
    }
    text
}

fn to_json(disk: &Disk) -> Value {
    let (major, minor) = disk.number;
    let signature = |signature: &Option<Signature>| {
        signature.as_ref().map(|signature| json!({ "kind": signature.kind.name(), "label": signature.label }))
    };
    let contents = match &disk.contents {
        Contents::Unread(why) => json!({ "unread": why }),
        Contents::Read { table, whole, partitions } => {
            let partitions = partitions.iter().map(|partition| {
                json!({
                    "path": partition.path.to_string_lossy(),
                    "number": partition.number,
                    "start_bytes": partition.start_bytes,
                    "len_bytes": partition.len_bytes,
                    "holds": signature(&partition.holds),
                })
            });
            json!({
                "table": table.map(|label| if label == Label::Mbr { "mbr" } else { "gpt" }),
                "whole": signature(whole),
                "partitions": partitions.collect::<Vec<_>>(),
            })
        }
    };
    let obstacles = disk.obstacles(false);
    let obstacles = obstacles.iter().map(|obstacle| {
        let text = obstacle.to_string();
        json!({ "reason": obstacle.name(), "text": text })
    });
    let mounts =
        disk.mounts.iter().map(|(device, on)| json!({ "device": device.to_string_lossy(), "on": on }));
    json!({
        "path": disk.path.to_string_lossy(),
        "is_candidate": disk.is_candidate(),
        "obstacles": obstacles.collect::<Vec<_>>(),
        "identity": disk.to_string(),
        "len_bytes": disk.len_bytes,
        "model": disk.model,
        "serial": disk.serial,
        "transport": disk.transport.name(),
        "is_removable": disk.is_removable,
        "number": { "major": major, "minor": minor },
        "sequence": disk.sequence,
        "contents": contents,
        "mounts": mounts.collect::<Vec<_>>(),
    })
}
