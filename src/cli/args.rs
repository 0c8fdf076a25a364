//! What can be typed, and the help that teaches it.

use std::path::PathBuf;

use clap::builder::FalseyValueParser;
use clap::{ArgAction, Args, ColorChoice, Parser, Subcommand};

use super::boot::Boot;
use super::build::Build;
use super::cache::Cache;
use super::check::Check;
use super::completions::Completions;
use super::config::Config;
use super::customize::Customize;
use super::diff::Diff;
use super::export::Export;
use super::fetch::Fetch;
use super::flash::Flash;
use super::fs::Fs;
use super::images::Images;
use super::init::Init;
use super::inspect::Inspect;
use super::lock::Lock;
use super::man::Man;
use super::plan::Plan;
use super::recipes::Recipes;
use super::schema::Schema;

/// Press one Raspberry Pi OS image into many: one finished image per node of a cluster.
///
/// A profile (TOML) says what each node will be: host name, address, users, keys, files, first-boot scripts.
/// cardpress patches the image offline, with no root, no loop mount and no virtual machine, reads back what it
/// wrote, and leaves the base image as it was.
#[derive(Debug, Parser)]
#[command(version, propagate_version = true, max_term_width = 100, after_help = AFTER_HELP)]
pub(super) struct Cli {
    #[command(subcommand)]
    pub(super) command: Command,

    #[command(flatten)]
    pub(super) global: Global,
}

const AFTER_HELP: &str = "\
Exit status: 0 done; 1 failed, target untouched; 2 usage or a faulty profile; 3 refused as unsafe; \
4 failed, target left incomplete.";

/// Comes last in the help of a verb, below what is its own.
const GLOBAL: &str = "Options of every command";

/// Options of every verb.
#[derive(Clone, Debug, Args)]
pub(super) struct Global {
    /// Print data as JSON on standard output; progress and notes as JSON, one object a line, on standard error.
    #[arg(long, global = true, help_heading = GLOBAL)]
    pub(super) json: bool,

    /// Say nothing but errors.
    #[arg(long, short, global = true, help_heading = GLOBAL)]
    pub(super) quiet: bool,

    /// Say more on standard error: -v what is opened, downloaded and decided, -vv every step. RUST_LOG wins.
    #[arg(long, short, global = true, help_heading = GLOBAL, action = ArgAction::Count, conflicts_with = "quiet")]
    pub(super) verbose: u8,

    /// When to use colour [default: `color` of the user's config.toml, else on a terminal that has it; NO_COLOR and
    /// CLICOLOR_FORCE are respected].
    #[arg(long, global = true, help_heading = GLOBAL, value_name = "WHEN")]
    pub(super) color: Option<ColorChoice>,

    /// Where downloaded and unpacked images are kept [default: `cache` of the user's config.toml, else the
    /// user's cache directory].
    #[arg(long, global = true, help_heading = GLOBAL, env = "CARDPRESS_CACHE", value_name = "DIR")]
    pub(super) cache: Option<PathBuf>,

    /// The catalogue of images: a list as Raspberry Pi Imager reads it [default: `catalogue` of the user's config.toml,
    /// else the one Raspberry Pi publishes].
    #[arg(long, global = true, help_heading = GLOBAL, env = "CARDPRESS_CATALOGUE", value_name = "URL|FILE")]
    pub(super) catalogue: Option<String>,

    /// Ask nothing of the network: what is in the cache must do.
    #[arg(long, global = true, help_heading = GLOBAL, env = "CARDPRESS_OFFLINE", value_parser = FalseyValueParser::new())]
    pub(super) offline: bool,

    /// What the user's config.toml says.
    #[arg(skip)]
    pub(super) config: Config,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Write a profile to begin with.
    ///
    /// Asks a few questions on a terminal, each with an answer proposed, or takes them as options. Never overwrites a
    /// profile unless told to.
    Init(Init),
    /// Show which images there are to press from.
    ///
    /// Lists Raspberry Pi OS in the catalogue that Raspberry Pi publishes for its own imager, under names that stay the
    /// same: `raspios-lite-arm64` is the newest 64-bit Lite, and with a date behind it one release and no other. Such a
    /// name goes into a profile as `image.os`. The catalogue is kept in the cache, and asked for again after a day.
    Images(Images),
    /// Download images into the cache, verified and unpacked.
    ///
    /// Everything after works with the network off. A download that was cut off goes on where it stopped, also after
    /// a crash; what is not as catalogue, profile or lock say is removed. Prints where each raw image is.
    Fetch(Fetch),
    /// Pin the image that a profile names, in cardpress.lock beside it.
    ///
    /// `plan` and `build` pin an image, too, when they first meet it, and use the same from then on; with --locked they
    /// take nothing that is not pinned. Keep the lock with the profile.
    Lock(Lock),
    /// Show what would change on each node, as a diff; write no image.
    ///
    /// Checks the profile against the base image on the way. Secrets are shown as ***. The seed of all secrets is
    /// made when missing, so that `build` does what was shown.
    Plan(Plan),
    /// Press one image per node.
    ///
    /// Writes OUT/CLUSTER/NODE.img for every node, NODE.bmap for bmaptool, and manifest.json beside them; and what the
    /// workstation needs to use the cluster, as `export` does. Each file appears whole or not at all, an image after it
    /// has been read back and compared with the plan. The same profile, seed and base give the same bytes.
    Build(Build),
    /// Write what the workstation needs: known_hosts, ssh_config, Ansible inventory and the like.
    ///
    /// `build` writes all of it beside the images; this makes it without any. It holds no secret. Looks into no base
    /// image unless told to: where the profile names no user, the account to log in as is then left out, and README and
    /// page say nothing of release and partitions.
    Export(Export),
    /// Write cards: each node its own, several at once, or one image onto all.
    ///
    /// Takes each card for itself alone, shows what is on it and has its name typed, and refuses what is mounted, in
    /// use, part of the running system, write-protected, too small, or no card. Only what the image uses is written, and
    /// then read back from the medium. Until the last moment a card has no partition table: pulled out half-way, it
    /// does not half-boot.
    Flash(Flash),
    /// Make one image or card to measure, without a profile.
    ///
    /// Everything that a profile can say of a node, as flags: name, address, users and keys, Wi-Fi, files, packages,
    /// first-boot scripts. Writes a new image, a card, or changes a raw image in place, with the same care as `build` and
    /// `flash`: no root, read back and compared, whole or not at all.
    Customize(Box<Customize>),
    /// List the recipes, or explain one: what it does, its parts and parameters.
    ///
    /// A recipe says what a piece of software needs on a node: `recipes = ["docker"]` in `[defaults]`, a role or a node.
    /// Folders in `recipes/` beside the profile are recipes, too, and win over those of the same name here.
    Recipes(Recipes),
    /// Say what is on an image or a card: partitions, system, users, network, what the first boot will do.
    ///
    /// Tells which release it is, which boards start from it, who can log in, what customisation it carries, and warns of
    /// what is wrong or dangerous: a secret in plain text, the password that everybody knows, a partition cut short.
    /// Writes nothing to it. What is no Raspberry Pi OS is described as far as it goes.
    Inspect(Inspect),
    /// Look into an image or edit it in place: files, directories, attributes, filesystems.
    ///
    /// IMAGE is a disk image or a bare ext4 or FAT filesystem. Commands that only read take packed images too
    /// (.xz, .gz, .zst, .zip) and change nothing. The others change a raw image in place, all of them or none:
    /// whatever fails, and whenever the power goes, the image is as it was before or as it was to be.
    Fs(Fs),
    /// Try a node before a card is written: start its image in QEMU.
    ///
    /// The console is this terminal. What the machine writes is gone when it ends; the image stays as it is.
    Boot(Boot),
    /// Judge an image: is every structure in it sound?
    ///
    /// Looks at the partition table (MBR, or GPT and its backup), at every structure of the FAT and ext4 filesystems,
    /// and at how they fit together, as `fsck.fat -n` and `e2fsck -fn` would. Prints a line for each partition and one
    /// for each thing that is wrong: where it is, what is there, what was wanted. Writes nothing to the image, so it may
    /// be read-only; it may also be an archive, or a filesystem without a partition table.
    Check(Check),
    /// Compare two images: which files differ, and how.
    ///
    /// Looks at the partition tables, the filesystems and every file: what was added, what was removed, and of the rest
    /// kind, mode, owner, content, link target, device numbers and extended attributes. Text is shown as a diff, unless it
    /// looks secret. Neither image is changed or mounted; what they share on the disk is not even read.
    Diff(Diff),
    /// Show which cards could be flashed, and why other disks could not.
    ///
    /// Changes nothing. Cards, sticks and disks on USB that nobody uses come first, with what is on them; below, every
    /// other disk with each reason why it must not be written to: it is mounted, the running system is on it, it belongs
    /// to a RAID and so on. A partition is never offered, only the disk it is on.
    #[command(after_help = super::devices::HELP)]
    Devices,
    /// What was downloaded and unpacked: show it, check it, remove it.
    Cache(Cache),
    /// Print the JSON Schema of profiles, from which editors complete and check.
    Schema(Schema),
    /// Print what a shell needs to complete commands and options.
    ///
    /// Goes to standard output; the examples say where each shell looks for it.
    Completions(Completions),
    /// Show the manual page, or write one page for each command into a folder.
    Man(Man),
}
