//! `cardpress build`

use std::path::PathBuf;

use std::time::Instant;

use anyhow::anyhow;
use clap::{Args, ValueEnum};

use crate::base::ByteLen;
use crate::build::{self, Made, Output, Pressed, Shard};
use crate::plan::NodePlan;
use crate::sink::Packing;

use super::args::Global;
use super::report::{Failure, plural};
use super::subject::{Prepared, Subject, jobs, prepare, read_profile, source_date_epoch};
use super::ui::{self, Ui};

const HELP: &str = "\
Examples:
  cardpress build home.toml                     out/home/NODE.img for every node
  cardpress build home.toml --node worker1      this one alone
  cardpress build home.toml --format img.xz     compressed
  cardpress build home.toml --image base.img    from an image that is here
  cardpress build home.toml --shard 3/16        the third sixteenth of the nodes
  cardpress build --locked --json home.toml     in CI";

#[derive(Clone, Debug, Args)]
#[command(after_help = HELP)]
pub(super) struct Build {
    #[command(flatten)]
    pub(super) subject: Subject,

    /// Where images go, in a folder named after the cluster.
    #[arg(long, value_name = "DIR", default_value = "out")]
    pub(super) out: PathBuf,

    /// What is written; `none` presses and checks in memory only.
    #[arg(long, value_enum, default_value_t = Format::Img)]
    pub(super) format: Format,

    /// How hard to compress, as xz, zstd and gzip count it [default: 6 for xz and gzip, 3 for zstd].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=19))]
    pub(super) level: Option<u32>,

    /// How many nodes at a time [default: `jobs` of the user's config.toml, else one per processor, at
    /// most 8].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub(super) jobs: Option<u16>,

    /// Press only part I of N: every Nth node from the Ith on. Writes manifest-I-of-N.json.
    #[arg(long, value_name = "I/N", conflicts_with = "nodes")]
    pub(super) shard: Option<Shard>,

    /// Press nothing: join the manifests of all shards in the folder of the cluster to manifest.json.
    #[arg(long, conflicts_with_all = ["nodes", "shard", "sha256", "format", "jobs"])]
    pub(super) merge_manifests: bool,

    /// Put the SHA-256 of each file into the manifest; reads every file once more.
    #[arg(long)]
    pub(super) sha256: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// A raw image, as sparse as the base.
    Img,
    /// Compressed: `xz -dc` and Raspberry Pi Imager read it. Takes over what the base's own archive has compressed.
    #[value(name = "img.xz")]
    Xz,
    /// Compressed, larger than xz and much faster.
    #[value(name = "img.zst")]
    Zst,
    /// Compressed, for what reads neither.
    #[value(name = "img.gz")]
    Gz,
    /// Nothing.
    None,
}

pub(super) fn run(args: &Build, global: &Global, ui: &Ui) -> Result<(), Failure> {
    let began = Instant::now();
    if args.merge_manifests {
        return merge(args, global, ui);
    }
    let epoch_seconds = source_date_epoch()?;
    let Prepared { laid, seed, opened, mut plans } =
        prepare(&args.subject, args.format == Format::Xz, global, ui)?;
    if let Some(shard) = args.shard {
        plans = shard.choose(plans);
        ui.say(&format!(
            "part {shard}: {} of {} {}",
            plans.len(),
            laid.cluster.nodes.len(),
            plural(laid.cluster.nodes.len(), "node")
        ));
    }
    let release = &opened.facts.release;
    ui.say(&format!(
        "base: {}, {}{}",
        release.pretty_name,
        opened.facts.arch.name(),
        release.reference.as_ref().map_or_else(String::new, |date| format!(", of {date}")),
    ));
    for warning in warnings(&plans) {
        ui.say(&warning);
    }
    let folder = (args.format != Format::None).then(|| args.out.join(&laid.cluster.name));
    let packing =
        packing(args.format).map(|packing| (packing, args.level.unwrap_or(packing.default_level())));
    if args.level.is_some() && packing.is_none() {
        return Err(Failure::Usage(anyhow!(
            "found --level without compression, wanted --format img.xz, img.zst or img.gz"
        )));
    }
    let output = Output {
        folder: folder.clone(),
        packing,
        name: None,
        jobs: jobs(args.jobs, global),
        shard: args.shard,
        whole_sha256: args.sha256,
        epoch_seconds,
        host_files: laid.files(Some(&opened.facts), &seed),
    };
    let (manifest, pressed) = build::press(&laid.cluster, &opened, &plans, &output, ui, &ui.interrupt)?;
    for pressed in &pressed {
        ui.say(&line(pressed));
    }
    let count = pressed.len();
    let place = folder.map_or_else(|| "nowhere, as asked".to_owned(), |folder| folder.display().to_string());
    let seconds = began.elapsed().as_secs_f64();
    let next = if args.format == Format::None { "" } else { "; README.md there says how to go on" };
    ui.say(&format!("pressed {count} {} in {seconds:.1} s into {place}{next}", plural(count, "node")));
    if global.json { ui::print(&manifest.to_json()) } else { Ok(()) }
}

fn packing(format: Format) -> Option<Packing> {
    match format {
        Format::Img | Format::None => None,
        Format::Xz => Some(Packing::Xz),
        Format::Zst => Some(Packing::Zstd),
        Format::Gz => Some(Packing::Gzip),
    }
}

fn merge(args: &Build, global: &Global, ui: &Ui) -> Result<(), Failure> {
    let cluster = read_profile(&args.subject.profile, ui)?;
    let folder = args.out.join(&cluster.name);
    let manifest = build::merge_manifests(&cluster, &folder)?;
    let count = manifest.nodes.len();
    ui.say(&format!(
        "joined {count} {} in {}",
        plural(count, "node"),
        folder.join("manifest.json").display()
    ));
    if global.json { ui::print(&manifest.to_json()) } else { Ok(()) }
}

/// Each warning once, with the nodes it is about.
fn warnings(plans: &[NodePlan]) -> Vec<String> {
    let mut by_text: Vec<(&str, Vec<&str>)> = Vec::new();
    for plan in plans {
        for warning in &plan.warnings {
            match by_text.iter_mut().find(|(known, _)| known == warning) {
                Some((_, nodes)) => nodes.push(&plan.node),
                None => by_text.push((warning, vec![&plan.node])),
            }
        }
    }
    by_text
        .into_iter()
        .map(|(text, nodes)| match nodes.len() {
            count if count > 1 && count == plans.len() => format!("warning: every node: {text}"),
            _ => format!("warning: {}: {text}", nodes.join(", ")),
        })
        .collect()
}

fn line(pressed: &Pressed) -> String {
    let entry = &pressed.entry;
    format!(
        "  {}: {} edits, {} differ from the base, {}, read back and found as planned",
        entry.name,
        entry.edits.len(),
        ByteLen(pressed.dirty_bytes),
        made(pressed.made),
    )
}

fn made(made: Made) -> String {
    match made {
        Made::Nothing => "not written".to_owned(),
        Made::Shared => "shares the rest with it".to_owned(),
        Made::Copied => "copied the rest".to_owned(),
        Made::Packed(packed) => format!(
            "{} compressed for it, {} with the others, {} taken from the archive, {} in all",
            ByteLen(packed.own_bytes),
            ByteLen(packed.common_bytes),
            ByteLen(packed.spliced_bytes),
            ByteLen(packed.packed_bytes),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_warning_about_several_nodes_is_said_once() {
        let plan = |node: &str, warnings: &[&str]| NodePlan {
            node: node.to_owned(),
            edits: Vec::new(),
            warnings: warnings.iter().map(|text| (*text).to_owned()).collect(),
        };
        let plans = [plan("a", &["x", "y"]), plan("b", &["x", "z"]), plan("c", &["x", "y"])];
        assert_eq!(warnings(&plans), ["warning: every node: x", "warning: a, c: y", "warning: b: z"]);
        assert_eq!(warnings(&plans[1..2]), ["warning: b: x", "warning: b: z"]);
    }
}
