//! `cardpress init`

mod ask;
mod network;
mod starter;
mod templates;

use std::io::{self, IsTerminal as _};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use anyhow::anyhow;
use clap::Args;
use ipnet::Ipv4Net;
use serde_json::json;

use crate::build::write_host_file;
use crate::plan::profile;
use crate::plan::{Content, HostFile};

use super::args::Global;
use super::report::Failure;
use super::subject::WithFile;
use super::ui::{self, Ui};
use ask::Found;

const HELP: &str = "\
Examples:
  cardpress init                                        asks; makes cluster.toml
  cardpress init --yes --nodes 8 swarm.toml             asks nothing
  cardpress init --nodes control,blue,green --user ada  names of your own
  cardpress init --template docker-swarm swarm.toml     a cluster made ready
  cardpress init --template k3s --nodes 6 --user ada    it with other nodes: the
                                                        first keep their roles

Where standard input is no terminal nothing is asked either: what no option says is proposed, taken and told. The subnet \
and gateway are those of this machine (on Linux; elsewhere 192.168.1.0/24 is proposed), the key is one of ~/.ssh/*.pub. \
The profile is read once more before it is written, so what is written has no fault.";

#[derive(Clone, Debug, Args)]
#[command(after_help = HELP)]
pub(super) struct Init {
    /// Where the profile goes.
    #[arg(default_value = "cluster.toml")]
    pub(super) file: PathBuf,

    /// Begin with this cluster instead of bare nodes; `cluster` shows every key.
    #[arg(long, value_name = "NAME", value_parser = templates::names())]
    pub(super) template: Option<String>,

    /// Name of the cluster, and of the folder its images go to.
    #[arg(long)]
    pub(super) name: Option<String>,

    /// How many nodes, or their names with commas between them. Of a template the first ones have roles of their own.
    #[arg(long, value_name = "N|NAMES")]
    pub(super) nodes: Option<String>,

    /// Which image, as `cardpress images` names it.
    #[arg(long, value_name = "NAME")]
    pub(super) os: Option<String>,

    /// The network of the nodes: 192.168.1.0/24.
    #[arg(long, value_name = "CIDR", value_parser = network::subnet)]
    pub(super) subnet: Option<Ipv4Net>,

    /// The router.
    #[arg(long, value_name = "ADDRESS")]
    pub(super) gateway: Option<Ipv4Addr>,

    /// The address of the first node; the others follow.
    #[arg(long, value_name = "ADDRESS")]
    pub(super) address_from: Option<Ipv4Addr>,

    /// The account to log in as.
    #[arg(long, value_name = "NAME")]
    pub(super) user: Option<String>,

    /// The key that may log in: a .pub file, or the line in it.
    #[arg(long, value_name = "FILE|KEY")]
    pub(super) ssh_key: Option<String>,

    /// Ask nothing.
    #[arg(long, short)]
    pub(super) yes: bool,

    /// Write cardpress.schema.json beside the profile, too, and point to it: editors complete from it.
    #[arg(long)]
    pub(super) schema: bool,

    /// Overwrite a profile that is there.
    #[arg(long)]
    pub(super) force: bool,
}

/// What editors read beside a profile.
const SCHEMA_FILE: &str = "cardpress.schema.json";

pub(super) fn run(args: &Init, global: &Global, ui: &Ui) -> Result<(), Failure> {
    if !args.force && args.file.symlink_metadata().is_ok() {
        let message =
            format!("`{}` is there already, and stays as it is; --force overwrites it", args.file.display());
        return Err(Failure::Usage(anyhow!(message)));
    }
    let found = Found::look();
    let asks = !args.yes && !global.quiet && io::stdin().is_terminal() && io::stderr().is_terminal();
    let mut say = |line: &str| ui.say(line);
    let answers = if asks {
        ask::dialogue(
            args,
            &found,
            &mut |question| ui.ask(question).map_err(|stop| Failure::Other(stop.into())),
            &mut say,
        )?
    } else {
        ask::proposed(args, &found, &mut say)?
    };
    let mut text = match &args.template {
        Some(name) => templates::find(name)?.filled(&args.file, &answers)?,
        None => starter::profile(&answers),
    };
    if args.schema {
        text = format!("#:schema ./{SCHEMA_FILE}\n{text}");
    }
    check(args, &text, ui)?;
    write(&args.file, &text)?;
    let schema = args.schema.then(|| args.file.with_file_name(SCHEMA_FILE));
    if let Some(path) = &schema {
        write(path, &super::schema::text())?;
    }
    let file = args.file.display();
    ui.say(&format!(
        "wrote {file}; `cardpress plan {file}` shows what it does, `cardpress build {file}` does it"
    ));
    if global.json {
        let told = json!({ "profile": args.file, "schema_file": schema, "template": args.template });
        return ui::print_object(told);
    }
    Ok(())
}

/// Reads the profile as if it were there: faults come from what was typed. Files that a template names may still be
/// missing; they are told.
fn check(args: &Init, text: &str, ui: &Ui) -> Result<(), Failure> {
    let path = &args.file;
    let Err(faults) = profile::load(path, &WithFile { path, text }) else { return Ok(()) };
    let may_wait =
        |fault: &profile::Fault| args.template.is_some() && fault.message.starts_with("cannot read `");
    let (missing, faults): (Vec<_>, Vec<_>) = faults.into_iter().partition(may_wait);
    if let Some(fault) = faults.into_iter().next() {
        let help = fault.help.map(|help| format!("; {help}")).unwrap_or_default();
        let error = anyhow!("{}{help}", fault.message);
        return Err(Failure::Usage(error.context("what was given makes no profile; nothing was written")));
    }
    for fault in missing {
        ui.say(&format!("still to be made: {}", fault.message));
    }
    Ok(())
}

fn write(path: &Path, text: &str) -> Result<(), Failure> {
    let name = path.display().to_string();
    Ok(write_host_file(path, &HostFile { path: name, content: Content::text(text), mode: 0o644 })?)
}
