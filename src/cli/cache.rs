//! `cardpress cache`

use std::time::Duration;

use std::time::{SystemTime, UNIX_EPOCH};

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::base::{ByteLen, Civil};
use crate::source::{self, Condition, Stored};

use super::args::Global;
use super::report::{Failure, plural};
use super::style;
use super::subject::cache_folder;
use super::ui::{self, Ui};

const HELP: &str = "\
Examples:
  cardpress cache list                     what is there, and how large
  cardpress cache prune --older-than 30d   what was not used for 30 days
  cardpress cache prune --max-size 20GiB   until no more is left";

#[derive(Clone, Debug, Args)]
#[command(after_help = HELP)]
pub(super) struct Cache {
    #[command(subcommand)]
    pub(super) what: CacheVerb,
}

#[derive(Clone, Debug, Subcommand)]
pub(super) enum CacheVerb {
    /// Show what is in the cache, the image used last first.
    List,
    /// Remove what was not used for long, what is too much, and what is left of downloads that nobody is at work on.
    Prune(Prune),
    /// Show where the cache is.
    Path,
    /// Read every image through; remove those that are not what they were.
    Verify,
}

#[derive(Clone, Debug, Args)]
pub(super) struct Prune {
    /// Remove images not used for so long: 30d, 12h, 90m.
    #[arg(long, value_name = "AGE", value_parser = age)]
    pub(super) older_than: Option<Duration>,

    /// Remove the images used longest ago until the others take no more than this on the disk: 20GiB; 0 for all.
    #[arg(long, value_name = "SIZE")]
    pub(super) max_size: Option<ByteLen>,
}

/// A number and d, h, m or s.
fn age(text: &str) -> Result<Duration, String> {
    let seconds = [("d", 86_400), ("h", 3600), ("m", 60), ("s", 1)]
        .into_iter()
        .find_map(|(unit, seconds)| text.strip_suffix(unit)?.parse::<u64>().ok()?.checked_mul(seconds));
    seconds
        .map(Duration::from_secs)
        .ok_or_else(|| format!("found `{text}`, wanted an age such as 30d, 12h or 90m"))
}

pub(super) fn run(args: &Cache, global: &Global, ui: &Ui) -> Result<(), Failure> {
    let cache = source::Cache::at(cache_folder(global)?);
    match &args.what {
        CacheVerb::Path if global.json => ui::print(&format!("{}\n", json!(cache.dir()))),
        CacheVerb::Path => ui::print(&format!("{}\n", cache.dir().display())),
        CacheVerb::List => list(&cache, global, ui),
        CacheVerb::Prune(args) => prune(&cache, args, global, ui),
        CacheVerb::Verify => verify(&cache, global, ui),
    }
}

fn list(cache: &source::Cache, global: &Global, ui: &Ui) -> Result<(), Failure> {
    let all = cache.list();
    if global.json {
        return print_all(&all.iter().map(to_json).collect::<Vec<_>>());
    }
    let rows: Vec<[String; 4]> = all.iter().map(row).collect();
    let sum = all.iter().map(|stored| stored.disk_bytes).fold(0, u64::saturating_add);
    if !rows.is_empty() {
        ui::print_painted(&style::table(&table(["LAST USED", "ON DISK", "IMAGE", "FROM"], &rows)))?;
    }
    let count = all.len();
    ui.say(&format!("{count} {}, {} in {}", plural(count, "image"), ByteLen(sum), cache.dir().display()));
    let unfinished = cache.unfinished();
    if !unfinished.is_empty() {
        let bytes = unfinished.iter().copied().fold(0, u64::saturating_add);
        let count = unfinished.len();
        ui.say(&format!("{count} unfinished {}, {}", plural(count, "download"), ByteLen(bytes)));
    }
    Ok(())
}

fn prune(cache: &source::Cache, args: &Prune, global: &Global, ui: &Ui) -> Result<(), Failure> {
    let max_bytes = args.max_size.map(|size| size.0);
    let pruned = cache.prune(args.older_than, max_bytes, SystemTime::now());
    let pruned = pruned.map_err(|error| Failure::Other(error.into()))?;
    for stored in &pruned.images {
        ui.say(&format!("removed {}", stored.origin));
    }
    let (images, leftovers) = (pruned.images.len(), pruned.leftovers);
    ui.say(&format!(
        "{images} {} and {leftovers} {} removed, {} freed",
        plural(images, "image"),
        plural(leftovers, "leftover"),
        ByteLen(pruned.disk_bytes)
    ));
    if !global.json {
        return Ok(());
    }
    let images: Vec<Value> = pruned.images.iter().map(to_json).collect();
    ui::print_object(json!({ "images": images, "leftovers": leftovers, "disk_bytes": pruned.disk_bytes }))
}

fn verify(cache: &source::Cache, global: &Global, ui: &Ui) -> Result<(), Failure> {
    let verified = cache.verify(ui, &ui.interrupt).map_err(|error| Failure::Other(error.into()))?;
    let is_damaged = |condition: Condition| condition == Condition::Damaged;
    if global.json {
        let told = verified.iter().map(|(stored, condition)| {
            let mut told = to_json(stored);
            told["is_whole"] = json!(!is_damaged(*condition));
            told
        });
        print_all(&told.collect::<Vec<_>>())?;
    } else {
        for (stored, condition) in &verified {
            let verdict = if is_damaged(*condition) { "damaged, removed" } else { "whole" };
            ui::print(&format!("{}: {verdict}\n", stored.origin))?;
        }
    }
    if verified.iter().any(|(_, condition)| is_damaged(*condition)) { Err(Failure::Unsound) } else { Ok(()) }
}

fn print_all(all: &[Value]) -> Result<(), Failure> {
    ui::print(&format!("{}\n", Value::Array(all.to_vec())))
}

fn row(stored: &Stored) -> [String; 4] {
    let used = stored.last_used.and_then(|used| used.duration_since(UNIX_EPOCH).ok());
    let used = used.and_then(|since| i64::try_from(since.as_secs()).ok());
    let used = used.map_or_else(|| "-".to_owned(), |seconds| Civil::from_epoch_seconds(seconds).to_string());
    let (disk, image) = (ByteLen(stored.disk_bytes).to_string(), ByteLen(stored.image_len).to_string());
    [used, disk, image, stored.origin.clone()]
}

fn table(head: [&str; 4], rows: &[[String; 4]]) -> String {
    let head = head.map(str::to_owned);
    let all: Vec<&[String; 4]> = std::iter::once(&head).chain(rows).collect();
    let widths: Vec<usize> =
        (0..4).map(|column| all.iter().map(|row| row[column].len()).max().unwrap_or_default()).collect();
    let mut text = String::new();
    for [used, disk, image, origin] in all {
        let (w, d, i) = (widths[0], widths[1], widths[2]);
        text += &format!("{used:w$}  {disk:>d$}  {image:>i$}  {origin}\n");
    }
    text
}

fn to_json(stored: &Stored) -> Value {
    let used = stored.last_used.and_then(|used| used.duration_since(UNIX_EPOCH).ok());
    json!({
        "origin": stored.origin,
        "path": stored.path,
        "archive_sha256": stored.archive_sha256.to_string(),
        "archive_len": stored.archive_len,
        "image_sha256": stored.image_sha256.map(|digest| digest.to_string()),
        "image_len": stored.image_len,
        "disk_bytes": stored.disk_bytes,
        "signed_by": stored.signed_by,
        "last_used_seconds": used.map(|since| since.as_secs()),
    })
}
