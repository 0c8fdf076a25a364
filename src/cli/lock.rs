//! `cardpress lock`

use std::path::PathBuf;

use clap::Args;
use serde_json::{Value, json};

use crate::build::base::{self, Locked};
use crate::build::lock_file::{self, Pin};

use super::args::Global;
use super::report::Failure;
use super::subject::{Source, read_profile};
use super::ui::{self, Ui};

const HELP: &str = "\
Examples:
  cardpress lock swarm.toml            pin what is not pinned yet
  cardpress lock --update swarm.toml   move on to what the catalogue has now
  cardpress build --locked swarm.toml  in CI: this image or none";

#[derive(Clone, Debug, Args)]
#[command(after_help = HELP)]
pub(super) struct Lock {
    /// The profiles.
    #[arg(required = true, value_name = "PROFILE")]
    pub(super) profiles: Vec<PathBuf>,

    /// Move on to the newest, however new the kept catalogue is.
    #[arg(long)]
    pub(super) update: bool,
}

pub(super) fn run(args: &Lock, global: &Global, ui: &Ui) -> Result<(), Failure> {
    let mut told = Vec::new();
    for profile in &args.profiles {
        let cluster = read_profile(profile, ui)?;
        let source = Source::new(profile, None, false, global)?;
        let locked = base::lock(&cluster.image, &source.bases(ui), args.update)?;
        ui.say(&format!("{}: {}", lock_file::beside(profile).display(), line(&locked)));
        let before = locked.before.as_ref().map(to_json);
        told.push(json!({ "profile": profile, "before": before, "now": to_json(&locked.now) }));
    }
    if global.json { ui::print(&format!("{}\n", Value::Array(told))) } else { Ok(()) }
}

/// With the keys that the other verbs have for the same; those of the file are words of TOML.
fn to_json(pin: &Pin) -> Value {
    json!({
        "name": pin.name,
        "url": pin.url,
        "release_date": pin.release_date,
        "archive_len": pin.archive_bytes,
        "archive_sha256": pin.archive_sha256.to_string(),
        "image_len": pin.image_bytes,
        "image_sha256": pin.image_sha256.to_string(),
    })
}

/// What became of one image.
fn line(locked: &Locked) -> String {
    let now = &locked.now;
    match &locked.before {
        None => format!("pinned {}, {}", now.name, which(now)),
        Some(before) if before == now => format!("{} stays {}", now.name, which(now)),
        Some(before) => format!("{} was {}, is now {}", now.name, which(before), which(now)),
    }
}

/// The release, or else the digest, which is enough to tell two apart.
fn which(pin: &Pin) -> String {
    let digest = pin.archive_sha256.to_string();
    let start = digest.get(..12).unwrap_or_default();
    pin.release_date
        .as_ref()
        .map_or_else(|| format!("SHA-256 {start}…"), |date| format!("of {date} ({start}…)"))
}
