//! `cardpress schema`

use clap::Args;

use crate::plan::profile;

use super::report::Failure;
use super::ui;

const HELP: &str = "\
Examples:
  cardpress schema > cardpress.schema.json

Then `#:schema ./cardpress.schema.json` as the first line of a profile tells editors that know TOML (Taplo, Even Better TOML). \
`cardpress init --schema` does both.";

#[derive(Clone, Debug, Args)]
#[command(after_help = HELP)]
pub(super) struct Schema {
    /// The same as a page to read.
    #[arg(long, hide = true)]
    pub(super) markdown: bool,
}

pub(super) fn run(args: &Schema) -> Result<(), Failure> {
    if args.markdown { ui::print(&profile::reference()) } else { ui::print(&text()) }
}

/// The schema as it is written into a file.
pub(super) fn text() -> String {
    format!("{:#}\n", profile::schema())
}
