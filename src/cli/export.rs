//! `cardpress export`

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use serde_json::json;

use crate::build::{write_host_file, write_host_files};
use crate::plan::profile::lay_outside;
use crate::plan::{Cluster, HostFile};

use super::args::Global;
use super::report::{Failure, plural};
use super::subject::{Inputs, Opening, Subject, open_base, read_profile, seed};
use super::ui::{self, Ui};

const HELP: &str = "\
Examples:
  cardpress export swarm.toml ssh-config --output ~/.ssh/swarm
  cardpress export swarm.toml known-hosts >> ~/.ssh/known_hosts
  cardpress export swarm.toml hosts | sudo tee --append /etc/hosts
  cardpress export swarm.toml --all swarm               all, into a folder
  cardpress export swarm.toml --all swarm --with-base   as `build` writes it

`Include ~/.ssh/swarm` at the top of ~/.ssh/config lets plain ssh know the nodes. The Ansible inventory wants known_hosts beside it; the ssh_config stands alone. `--json` prints path and content.";

#[derive(Clone, Debug, Args)]
#[command(
    after_help = HELP,
    override_usage = "cardpress export [OPTIONS] <PROFILE> <WHAT>\n       cardpress export [OPTIONS] <PROFILE> --all <DIR>"
)]
#[command(group = clap::ArgGroup::new("extent").required(true).args(["what", "all"]))]
pub(super) struct Export {
    /// The profile.
    pub(super) profile: PathBuf,

    /// Which file; it goes to standard output.
    #[arg(value_enum)]
    pub(super) what: Option<Exported>,

    /// Write it to this file instead.
    #[arg(long, value_name = "FILE", conflicts_with = "all")]
    pub(super) output: Option<PathBuf>,

    /// Write all of them into this folder, under their own names.
    #[arg(long, value_name = "DIR")]
    pub(super) all: Option<PathBuf>,

    /// Look into the base image as `build` does: for its account, its release, its partitions. So do --image and --locked.
    #[arg(long)]
    pub(super) with_base: bool,

    #[command(flatten)]
    pub(super) inputs: Inputs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Exported {
    /// inventory.yaml: groups from roles; with known_hosts beside it.
    Ansible,
    /// ssh_config: for `ssh -F` or Include.
    SshConfig,
    /// known_hosts: every node's host key under all its names and addresses.
    KnownHosts,
    /// hosts: lines for /etc/hosts.
    Hosts,
    /// nodes.json: targets for file_sd_configs.
    Prometheus,
    /// README.md: who is who, how to log in, what to do first.
    Readme,
    /// cluster.html: the same to look at, and labels to print.
    Html,
}

impl Exported {
    /// What it is called in the folder of the cluster.
    pub(super) fn path(self) -> &'static str {
        match self {
            Self::Ansible => "inventory.yaml",
            Self::SshConfig => "ssh_config",
            Self::KnownHosts => "known_hosts",
            Self::Hosts => "hosts",
            Self::Prometheus => "prometheus/nodes.json",
            Self::Readme => "README.md",
            Self::Html => "cluster.html",
        }
    }
}

pub(super) fn run(args: &Export, global: &Global, ui: &Ui) -> Result<(), Failure> {
    let files = files(args, global, ui)?;
    if let Some(folder) = &args.all {
        let written = write_host_files(folder, &files)?;
        ui.say(&format!(
            "wrote {} {} into {}",
            written.len(),
            plural(written.len(), "file"),
            folder.display()
        ));
        if global.json {
            return print_files(&written);
        }
        return Ok(());
    }
    let wanted = args.what.map(|what| what.path());
    let Some(file) = files.iter().find(|file| Some(file.path.as_str()) == wanted) else {
        // clap has seen to it that there is a word, and every word has its file.
        return Err(Failure::Usage(anyhow::anyhow!("found nothing to export, wanted a word or --all")));
    };
    match &args.output {
        Some(path) => {
            write_host_file(path, file)?;
            ui.say(&format!("wrote {}", path.display()));
            if global.json { print_files(std::slice::from_ref(path)) } else { Ok(()) }
        }
        None if global.json => {
            let content = String::from_utf8_lossy(file.content.bytes());
            ui::print_object(json!({ "path": file.path, "content": content }))
        }
        None => ui::print_bytes(file.content.bytes()),
    }
}

/// Which files were written.
fn print_files(written: &[PathBuf]) -> Result<(), Failure> {
    let list: Vec<_> = written.iter().map(|path| path.display().to_string()).collect();
    ui::print_object(json!({ "files": list }))
}

fn files(args: &Export, global: &Global, ui: &Ui) -> Result<Vec<HostFile>, Failure> {
    let cluster = read_profile(&args.profile, ui)?;
    let Export { profile, inputs, .. } = args;
    if args.with_base || inputs.image.is_some() || inputs.locked {
        let subject = Subject { profile: profile.clone(), nodes: Vec::new(), inputs: inputs.clone() };
        let Opening { laid, seed, opened } = open_base(&subject, cluster, false, global, ui)?;
        return Ok(laid.files(Some(&opened.facts), &seed));
    }
    let seed = seed(profile, inputs.seed_file.as_deref())?;
    warn_of_unknown_accounts(&cluster, ui);
    let laid = lay_outside(&cluster, &seed).map_err(Failure::Profile)?;
    Ok(laid.files(None, &seed))
}

fn warn_of_unknown_accounts(cluster: &Cluster, ui: &Ui) {
    let nameless = cluster.nodes.iter().filter(|node| node.settings.users.is_empty());
    let names: Vec<&str> = nameless.map(|node| node.name.as_str()).collect();
    if !names.is_empty() {
        ui.say(&format!(
            "warning: {}: the profile names no user, so the account to log in as is left out; --with-base asks the image",
            names.join(", ")
        ));
    }
}
