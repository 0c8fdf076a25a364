//! What can be typed, and the help that teaches it.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::FalseyValueParser;
use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::base::ByteLen;
use crate::build::Shard;
use crate::build::disk::Part;

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

/// Options of every verb.
#[derive(Clone, Debug, Args)]
pub(super) struct Global {
    /// Print data as JSON on standard output; progress and notes as JSON, one object a line, on standard error.
    #[arg(long, global = true)]
    pub(super) json: bool,

    /// Say nothing but errors.
    #[arg(long, short, global = true)]
    pub(super) quiet: bool,

    /// Where downloaded and unpacked images are kept [default: the user's cache directory].
    #[arg(long, global = true, env = "CARDPRESS_CACHE", value_name = "DIR")]
    pub(super) cache: Option<PathBuf>,

    /// The catalogue of images: a list as Raspberry Pi Imager reads it [default: `catalogue` of the user's config.toml,
    /// else the one Raspberry Pi publishes].
    #[arg(long, global = true, env = "CARDPRESS_CATALOGUE", value_name = "URL|FILE")]
    pub(super) catalogue: Option<String>,

    /// Ask nothing of the network: what is in the cache must do.
    #[arg(long, global = true, env = "CARDPRESS_OFFLINE", value_parser = FalseyValueParser::new())]
    pub(super) offline: bool,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Show which images there are to press from.
    ///
    /// Lists Raspberry Pi OS in the catalogue that Raspberry Pi publishes for its own imager, under names that stay the
    /// same: `raspios-lite-arm64` is the newest 64-bit Lite, and with a date behind it one release and no other. Such a
    /// name goes into a profile as `image.os`. The catalogue is kept in the cache, and asked for again after a day.
    #[command(after_help = IMAGES_HELP)]
    Images(Images),
    /// Download images into the cache, verified and unpacked.
    ///
    /// Everything after works with the network off. A download that was cut off goes on where it stopped, also after
    /// a crash; what is not as catalogue, profile or lock say is removed. Prints where each raw image is.
    #[command(after_help = FETCH_HELP)]
    Fetch(Fetch),
    /// Pin the image that a profile names, in cardpress.lock beside it.
    ///
    /// `plan` and `build` pin an image, too, when they first meet it, and use the same from then on; with --locked they
    /// take nothing that is not pinned. Keep the lock with the profile.
    #[command(after_help = LOCK_HELP)]
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
    #[command(after_help = EXPORT_HELP)]
    Export(Export),
    /// Write cards: each node its own, several at once, or one image onto all.
    ///
    /// Takes each card for itself alone, shows what is on it and has its name typed, and refuses what is mounted, in
    /// use, part of the running system, write-protected, too small, or no card. Only what the image uses is written, and
    /// then read back from the medium. Until the last moment a card has no partition table: pulled out half-way, it
    /// does not half-boot.
    #[command(after_help = FLASH_HELP)]
    Flash(Flash),
    /// List the recipes, or explain one: what it does, its parts and parameters.
    ///
    /// A recipe says what a piece of software needs on a node: `recipes = ["docker"]` in `[defaults]`, a role or a node.
    /// Folders in `recipes/` beside the profile are recipes, too, and win over those of the same name here.
    #[command(after_help = RECIPES_HELP)]
    Recipes(Recipes),
    /// Look into an image or edit it in place: files, directories, attributes, filesystems.
    ///
    /// IMAGE is a disk image or a bare ext4 or FAT filesystem. Commands that only read take packed images too
    /// (.xz, .gz, .zst, .zip) and change nothing. The others change a raw image in place, all of them or none:
    /// whatever fails, and whenever the power goes, the image is as it was before or as it was to be.
    #[command(after_help = FS_HELP)]
    Fs(Fs),
    /// Judge an image: is every structure in it sound?
    ///
    /// Looks at the partition table (MBR, or GPT and its backup), at every structure of the FAT and ext4 filesystems,
    /// and at how they fit together, as `fsck.fat -n` and `e2fsck -fn` would. Prints a line for each partition and one
    /// for each thing that is wrong: where it is, what is there, what was wanted. Writes nothing to the image, so it may
    /// be read-only; it may also be an archive, or a filesystem without a partition table.
    #[command(after_help = CHECK_HELP)]
    Check(Check),
    /// Show which cards could be flashed, and why other disks could not.
    ///
    /// Changes nothing. Cards, sticks and disks on USB that nobody uses come first, with what is on them; below, every
    /// other disk with each reason why it must not be written to: it is mounted, the running system is on it, it belongs
    /// to a RAID and so on. A partition is never offered, only the disk it is on.
    #[command(after_help = DEVICES_HELP)]
    Devices,
    /// What was downloaded and unpacked: show it, check it, remove it.
    Cache(Cache),
}

const RECIPES_HELP: &str = "\
Examples:
  cardpress recipes                       every recipe, with one line
  cardpress recipes slurm                 its parts and parameters, ready to be copied into a profile
  cardpress recipes --profile my/rack.toml   with those in my/recipes/";

/// `cardpress recipes`
#[derive(Debug, Args)]
pub(super) struct Recipes {
    /// The one to explain.
    pub(super) name: Option<String>,

    /// The profile whose own recipes are listed, too [default: those in ./recipes].
    #[arg(long, value_name = "PROFILE")]
    pub(super) profile: Option<PathBuf>,
}

const DEVICES_HELP: &str = "\
Examples:
  cardpress devices         what could be flashed, and what not
  sudo cardpress devices    also what is on them, where only root may read it
  cardpress devices --json | jq -r '.[] | select(.is_candidate) | .path'

A card that the desktop mounts when it is put in has to be unmounted first: `umount /dev/sdb1`, or `udisksctl unmount \
--block-device /dev/sdb1`. Disks that cannot be taken out are refused unless --allow-fixed-disk is given to the verb that \
writes. On macOS and Windows this was never tried; there the reason beside a card names the command that frees it.";

const IMAGES_HELP: &str = "\
Examples:
  cardpress images                            every Raspberry Pi OS
  cardpress images --arch arm64 --variant lite
  cardpress images --all                      what others publish, too
  cardpress images --json | jq -r '.[0].url'  all that is known of each
  cardpress images --catalogue list.json      from a list of your own, or a mirror's URL

Names: raspios[-oldstable][-lite|-full]-arm64|armhf[@YYYY-MM-DD]. Without lite or full it has a desktop; oldstable is the \
release before the current one. Of what others publish, the name is made from the one they show.

The user's config.toml (on Linux in ~/.config/cardpress; CARDPRESS_CONFIG names another) may say where the catalogue \
is: catalogue = \"https://mirror.example/list.json\", or a file.";

#[derive(Clone, Debug, Args)]
pub(super) struct Images {
    /// Only images for these processors: armhf is 32-bit and runs on every Pi, arm64 is 64-bit.
    #[arg(long, value_enum)]
    pub(super) arch: Option<Arch>,

    /// Only this much of Raspberry Pi OS.
    #[arg(long, value_enum)]
    pub(super) variant: Option<Variant>,

    /// Also what is not Raspberry Pi OS.
    #[arg(long)]
    pub(super) all: bool,

    /// Ask for a newer catalogue, however new the kept one is.
    #[arg(long, conflicts_with = "offline")]
    pub(super) refresh: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Arch {
    /// 32-bit.
    Armhf,
    /// 64-bit.
    Arm64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Variant {
    /// No desktop.
    Lite,
    /// A desktop.
    Desktop,
    /// A desktop and recommended programs.
    Full,
}

const FETCH_HELP: &str = "\
Examples:
  cardpress fetch raspios-lite-arm64             the newest; `cardpress images` shows the names
  cardpress fetch raspios-lite-arm64@2026-06-18  this release
  cardpress fetch swarm.toml                     what the profile names, as cardpress.lock pins it
  cardpress fetch https://example.org/x.img.xz   checked against x.img.xz.sha256 where there is one

Proxies: HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY are respected, as is the system's certificate store.";

#[derive(Clone, Debug, Args)]
pub(super) struct Fetch {
    /// Names of the catalogue, addresses, profiles.
    #[arg(required = true, value_name = "IMAGE|PROFILE")]
    pub(super) what: Vec<String>,

    /// Of profiles, only what is in cardpress.lock.
    #[arg(long)]
    pub(super) locked: bool,
}

const LOCK_HELP: &str = "\
Examples:
  cardpress lock swarm.toml            pin what is not pinned yet
  cardpress lock --update swarm.toml   move on to what the catalogue has now
  cardpress build --locked swarm.toml  in CI: this image or none";

#[derive(Clone, Debug, Args)]
pub(super) struct Lock {
    /// The profiles.
    #[arg(required = true, value_name = "PROFILE")]
    pub(super) profiles: Vec<PathBuf>,

    /// Move on to the newest, however new the kept catalogue is.
    #[arg(long)]
    pub(super) update: bool,
}

#[derive(Clone, Debug, Args)]
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

const FS_HELP: &str = "\
Commands, one as arguments or one a line of a script (POSIX shell quoting, # comments):
  ls [-l] [-R] PATH          cat PATH                 get PATH LOCAL          put LOCAL PATH
  append LOCAL PATH          write-at OFFSET LOCAL PATH                       truncate SIZE PATH
  mkdir [-p] PATH            rm [-r] PATH             mv OLD NEW              ln [-s] TARGET PATH
  chmod OCTAL PATH           chown UID:GID PATH       touch [-d @SECONDS] PATH
  stat [--json] PATH         xattr get|set|rm PATH NAME [VALUE]               df
  grow SIZE                  set-uuid UUID            set-label TEXT          mkfs ext4|fat32 (bare file)

PATH begins with / and is as the running system sees it: /boot/firmware/cmdline.txt is on the boot partition if the \
image's fstab says so. `put` onto an existing file keeps owner, mode and extended attributes except \
security.capability; a new file is 0644, a new directory 0755, both root's. Times are SOURCE_DATE_EPOCH when set, \
else the clock's. SIZE is the new length of the image, as 8GiB. NEW is the whole new name, also when it is a directory.

Exit status: 0 done; 1 failed, image untouched; 2 a command that is none; 3 in use by another process, or refused; \
4 the disk failed while the image was written: the next command on it finishes the changes.";

#[derive(Clone, Debug, Args)]
pub(super) struct Fs {
    /// A disk image, or a filesystem without a partition table.
    pub(super) image: PathBuf,

    /// Only this partition, whose root is then `/`: boot, root or a number [default: all, as the running system
    /// sees them].
    #[arg(long, value_name = "boot|root|N", value_parser = super::fs::part)]
    pub(super) partition: Option<Part>,

    /// Run the commands of this file, `-` for standard input: all of them, or none when one fails.
    #[arg(long, value_name = "FILE", conflicts_with = "command", required_unless_present = "command")]
    pub(super) script: Option<PathBuf>,

    /// One command with its words.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "COMMAND")]
    pub(super) command: Vec<OsString>,
}

/// What `build` and `plan` share.
#[derive(Clone, Debug, Args)]
pub(super) struct Subject {
    /// The profile.
    pub(super) profile: PathBuf,

    /// Only this node; may be repeated.
    #[arg(long = "node", value_name = "NAME")]
    pub(super) nodes: Vec<String>,

    /// Use this base image instead of the one the profile names: .img, .img.xz, .img.gz, .img.zst or .zip.
    #[arg(long, value_name = "FILE")]
    pub(super) image: Option<PathBuf>,

    /// Use the image in cardpress.lock beside the profile, and no other; refuse what is not in it.
    #[arg(long, conflicts_with = "image")]
    pub(super) locked: bool,

    /// Take the seed of all secrets from this file [default: .cardpress/seed beside the profile, made when
    /// missing].
    #[arg(long, env = "CARDPRESS_SEED_FILE", value_name = "FILE")]
    pub(super) seed_file: Option<PathBuf>,
}

#[derive(Clone, Debug, Args)]
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

    /// How many nodes at a time [default: one per processor, at most 8].
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

#[derive(Clone, Debug, Args)]
pub(super) struct Plan {
    #[command(flatten)]
    pub(super) subject: Subject,
}

const EXPORT_HELP: &str = "\
Examples:
  cardpress export swarm.toml ssh-config --output ~/.ssh/swarm     then `Include ~/.ssh/swarm` at the top of ~/.ssh/config
  cardpress export swarm.toml known-hosts >> ~/.ssh/known_hosts
  cardpress export swarm.toml hosts | sudo tee --append /etc/hosts
  cardpress export swarm.toml --all swarm                          all files into the folder swarm
  cardpress export swarm.toml --all swarm --with-base              the same as `build` writes, byte for byte

The Ansible inventory wants known_hosts beside it; the ssh_config stands alone. `--json` prints path and content.";

#[derive(Clone, Debug, Args)]
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

    /// Look into the base image as `build` does: for its account, its release, its partitions.
    #[arg(long)]
    pub(super) with_base: bool,

    /// Look into this base image instead of the one the profile names: .img, .img.xz, .img.gz, .img.zst or .zip.
    #[arg(long, value_name = "FILE")]
    pub(super) image: Option<PathBuf>,

    /// Look into the image in cardpress.lock beside the profile, and no other.
    #[arg(long, conflicts_with = "image")]
    pub(super) locked: bool,

    /// Take the seed of all secrets from this file [default: .cardpress/seed beside the profile, made when
    /// missing].
    #[arg(long, env = "CARDPRESS_SEED_FILE", value_name = "FILE")]
    pub(super) seed_file: Option<PathBuf>,
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

const FLASH_HELP: &str = "\
Examples:
  cardpress devices                                   what there is to write to
  cardpress flash swarm.toml manager1=/dev/sdb worker1=/dev/sdc
  cardpress flash swarm.toml --node worker1 --node worker2   one after another, as the cards are put in
  cardpress flash --image raspios.img.xz /dev/sdb     an image as it is
  cardpress flash --resume swarm.toml worker1=/dev/sdb       go on where one was cut off

With image.grow = \"card\" in the profile the root filesystem fills its card at once, and the first boot does not have to.

Exit status: 0 done; 1 failed, card untouched; 2 usage or a faulty profile; 3 refused as unsafe; 4 failed, card left \
incomplete and without a partition table.";

#[derive(Clone, Debug, Args)]
pub(super) struct Flash {
    /// A profile, and which node goes onto which card; with --image only the cards.
    #[arg(required = true, value_name = "PROFILE NODE=DEVICE|DEVICE")]
    pub(super) words: Vec<String>,

    /// Wait for a card to be put in, and write this node onto it; may be repeated.
    #[arg(long = "node", value_name = "NAME")]
    pub(super) nodes: Vec<String>,

    /// Write this image, raw or packed, as it is.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["nodes", "base", "locked"])]
    pub(super) image: Option<PathBuf>,

    /// Use this base image instead of the one the profile names: .img, .img.xz, .img.gz, .img.zst or .zip.
    #[arg(long, value_name = "FILE")]
    pub(super) base: Option<PathBuf>,

    /// Use the image in cardpress.lock beside the profile, and no other; refuse what is not in it.
    #[arg(long, conflicts_with = "base")]
    pub(super) locked: bool,

    /// Take the seed of all secrets from this file [default: .cardpress/seed beside the profile, made when
    /// missing].
    #[arg(long, env = "CARDPRESS_SEED_FILE", value_name = "FILE")]
    pub(super) seed_file: Option<PathBuf>,

    /// Do not ask.
    #[arg(long, short)]
    pub(super) yes: bool,

    /// Do not read back what was written.
    #[arg(long)]
    pub(super) no_verify: bool,

    /// Read first, and leave what is right already: what a flash that was cut off has written.
    #[arg(long)]
    pub(super) resume: bool,

    /// Take a disk that cannot be taken out, too: not on USB, not in a slot for cards.
    #[arg(long)]
    pub(super) allow_fixed_disk: bool,
}

const CHECK_HELP: &str = "\
Examples:
  cardpress check raspios.img.xz            an image as it was downloaded
  cardpress check out/swarm/worker1.img     one that was pressed
  cardpress check --partition root disk.img one filesystem of it
  cardpress check --json disk.img           every finding as data

Exit status: 0 everything is sound; 1 something is not, or could not be judged; 2 usage.";

#[derive(Clone, Debug, Args)]
pub(super) struct Check {
    /// The image: .img, .img.xz, .img.gz, .img.zst, .zip, or a bare FAT or ext4 filesystem.
    pub(super) image: PathBuf,

    /// Judge only this partition: the one the firmware reads, the one Linux starts from, or one by its number.
    #[arg(long, value_name = "boot|root|N", value_parser = super::fs::part)]
    pub(super) partition: Option<Part>,
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
