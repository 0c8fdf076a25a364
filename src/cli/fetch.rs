//! `cardpress fetch`

use std::path::Path;

use clap::Args;
use serde_json::{Value, json};

use crate::base::{ByteLen, Sha256Digest};
use crate::build::base::{self, Base};
use crate::plan::ImageSource;

use super::args::Global;
use super::report::Failure;
use super::subject::{Source, is_url, read_profile};
use super::ui::{self, Ui};

const HELP: &str = "\
Examples:
  cardpress fetch raspios-lite-arm64             the newest
  cardpress fetch raspios-lite-arm64@2026-06-18  this release
  cardpress fetch swarm.toml                     as pinned in cardpress.lock
  cardpress fetch https://example.org/x.img.xz   a file of somebody's

`cardpress images` shows the names. What comes from an address is checked against ADDRESS.sha256 where there is one.

Proxies: HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY are respected, as is the system's certificate store.";

#[derive(Clone, Debug, Args)]
#[command(after_help = HELP)]
pub(super) struct Fetch {
    /// Names of the catalogue, addresses, profiles.
    #[arg(required = true, value_name = "IMAGE|PROFILE")]
    pub(super) what: Vec<String>,

    /// Of profiles, only what is in cardpress.lock.
    #[arg(long)]
    pub(super) locked: bool,
}

pub(super) fn run(args: &Fetch, global: &Global, ui: &Ui) -> Result<(), Failure> {
    let mut told = Vec::new();
    for what in &args.what {
        let base = fetch(what, args, global, ui)?;
        ui.say(&format!("{what}: {}, {} unpacked", base.name, ByteLen(base.image.len_bytes)));
        if global.json {
            told.push(to_json(what, &base));
        } else {
            ui::print(&format!("{}\n", base.image.path.display()))?;
        }
    }
    if global.json { ui::print(&format!("{}\n", Value::Array(told))) } else { Ok(()) }
}

/// A file is a profile; what looks like an address is one; the rest are names.
fn fetch(what: &str, args: &Fetch, global: &Global, ui: &Ui) -> Result<Base, Failure> {
    let path = Path::new(what);
    let is_url = is_url(what);
    if !is_url && (path.is_file() || path.extension().is_some_and(|extension| extension == "toml")) {
        let cluster = read_profile(path, ui)?;
        let source = Source::new(path, None, args.locked, global)?;
        return Ok(base::open(&cluster.image, &source.bases(ui))?);
    }
    let source = Source::new(Path::new(""), None, false, global)?;
    let image = if is_url { ImageSource::Url(what.to_owned()) } else { ImageSource::Os(what.to_owned()) };
    Ok(base::fetch(&image, &source.bases(ui))?)
}

fn to_json(what: &str, base: &Base) -> Value {
    let digest = |digest: Option<Sha256Digest>| digest.map(|digest| digest.to_string());
    json!({
        "name": what,
        "file": base.name,
        "path": base.image.path,
        "archive_len": base.image.archive_len,
        "archive_sha256": digest(base.image.archive_sha256),
        "image_len": base.image.len_bytes,
        "image_sha256": digest(base.image.image_sha256),
    })
}
