//! `cardpress inspect`

mod bar;
mod svg;
mod text;

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use clap::Args;
use serde::Serialize;

use crate::build::inspect::{self, Inspected};
use crate::build::write_host_bytes;
use crate::source::Cache;

use super::args::Global;
use super::report::Failure;
use super::subject::cache_folder;
use super::ui::{self, Ui};

const HELP: &str = "\
Examples:
  cardpress inspect raspios.img.xz           an image as it was downloaded
  sudo cardpress inspect /dev/sdb            a card; it may be mounted
  cardpress inspect --svg map.svg disk.img   also a picture of the disk
  cardpress inspect --json disk.img | jq '.warnings[].name'

In the bar, # is in use, - is free in a partition, . is in none; small partitions are drawn larger than they are. On a \
terminal blocks are drawn instead.

Exit status: 0 it was read, also with warnings; 1 it cannot be read at all; 2 usage.";

/// The version of the layout of `--json`.
const SCHEMA: u32 = 1;

#[derive(Clone, Debug, Args)]
#[command(after_help = HELP)]
pub(super) struct Inspect {
    /// An image (.img, .img.xz, .img.gz, .img.zst, .zip, or a bare filesystem), or a whole disk such as /dev/sdb.
    #[arg(value_name = "IMAGE|DEVICE")]
    pub(super) image: PathBuf,

    /// Also write a picture of the disk to this file.
    #[arg(long, value_name = "FILE")]
    pub(super) svg: Option<PathBuf>,
}

/// The one object of `--json`.
#[derive(Serialize)]
struct Object<'i> {
    schema: u32,
    image: String,
    #[serde(flatten)]
    inspected: &'i Inspected,
}

/// Do both lead to one place?
fn is_same(one: &Path, other: &Path) -> bool {
    one.canonicalize().is_ok_and(|one| other.canonicalize().is_ok_and(|other| one == other))
}

pub(super) fn run(args: &Inspect, global: &Global, ui: &Ui) -> Result<(), Failure> {
    if let Some(svg) = &args.svg
        && is_same(svg, &args.image)
    {
        let path = svg.display();
        return Err(Failure::Usage(anyhow!(
            "--svg {path} would replace what is looked at; name another file"
        )));
    }
    let cache = Cache::at(cache_folder(global)?);
    let subject = inspect::open(&args.image, &cache, ui, &ui.interrupt)?;
    let inspected = inspect::inspect(subject)?;
    let image = args.image.display().to_string();
    if let Some(path) = &args.svg {
        let name = args.image.file_name().map_or_else(|| image.clone(), |name| name.display().to_string());
        write_host_bytes(path, svg::draw(&name, &inspected).as_bytes())?;
        ui.say(&format!("wrote {}", path.display()));
    }
    if global.json {
        let object = Object { schema: SCHEMA, image, inspected: &inspected };
        let text = serde_json::to_string(&object).context("cannot write JSON")?;
        return ui::print(&format!("{text}\n"));
    }
    let marks = if std::io::stdout().is_terminal() { bar::BLOCKS } else { bar::PLAIN };
    ui::print(&text::draw(&image, &inspected, marks))
}
