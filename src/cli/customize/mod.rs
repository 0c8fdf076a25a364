//! `cardpress customize`

mod profile;

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context as _, anyhow};
use clap::{ArgGroup, Args, ValueEnum};
use serde_json::{Value, json};

use crate::base::ByteLen;
use crate::build::in_place::{How, InPlace};
use crate::build::{self, Alone, EditEntry};
use crate::plan::profile::{Faults, Laid, load};
use crate::plan::{Cluster, NodePlan, Seed, host_keys};
use crate::sink::{self, Packing};

use super::args::Global;
use super::flash::{self, Flash};
use super::report::{Failure, Flaw, plural};
use super::subject::{Opening, Source, WithFile, is_url, jobs, open_with, seed, source_date_epoch};
use super::ui::{self, Ui};
use profile::{Base, Written};

const HELP: &str = "\
Examples:
  cardpress customize raspios-lite-arm64 --output pi.img --hostname pi \\
      --user ops --ssh-key ~/.ssh/id_ed25519.pub
  cardpress customize raspios.img.xz --device /dev/sdb --user ops \\
      --ssh-key ~/.ssh/id_ed25519.pub --address 192.168.1.20/24 \\
      --gateway 192.168.1.1 --dns 192.168.1.1
  cardpress customize raspios.img.xz --output pi.img.xz --user ops \\
      --password-file pw --ssh --wifi home --wifi-password-file wifi-pw \\
      --country GB
  cardpress customize raspios.img.xz --output pi.img \\
      --cmdline-add cgroup_enable=memory --config-txt gpu_mem=16 \\
      --config-txt '[pi5]dtparam=pciex1' --file motd:/etc/motd:0644 \\
      --enable fstrim.timer --first-boot setup.sh
  cardpress customize raspios.img.xz --output pi.img --recipe docker \\
      --set 'keyboard={layout=\"us\", variant=\"intl\"}'
  cardpress customize pi.img --in-place --timezone Europe/London
  cardpress customize raspios.img.xz --user ops \\
      --ssh-key ~/.ssh/id_ed25519.pub --save-profile pi.toml

Every run makes new host keys and identifiers, so that no two cards are the same machine. With --save-profile they come \
from the seed beside the profile, and `cardpress build` presses the same image again.

Exit status: 0 done; 1 failed, target untouched; 2 a flag that is none, or does not go with the image; 3 refused as \
unsafe; 4 failed, target left incomplete.";

/// What is said of the one node that comes out.
#[derive(Clone, Debug, Args)]
#[command(after_help = HELP)]
#[command(group = ArgGroup::new("target").args(["output", "device", "in_place"]))]
#[command(group = ArgGroup::new("what").required(true).multiple(true).args(["output", "device", "in_place", "save_profile"]))]
pub(super) struct Customize {
    /// The image: a file (.img, .img.xz, .img.gz, .img.zst, .zip), an address, or a name that `cardpress images` shows.
    pub(super) image: String,

    /// Write the image to this file; .img.xz, .img.zst and .img.gz compress. A .bmap for bmaptool comes beside it.
    #[arg(long, short, value_name = "FILE", help_heading = "Where it goes")]
    output: Option<PathBuf>,

    /// Write it onto this card. `cardpress devices` shows which there are.
    #[arg(long, value_name = "DEVICE", help_heading = "Where it goes")]
    device: Option<PathBuf>,

    /// Change IMAGE itself, a raw image: whole or not at all, also when the power goes. Or a card, /dev/sdb: only what
    /// changes is written; pulled out half-way, it has to be flashed anew.
    #[arg(long, help_heading = "Where it goes")]
    in_place: bool,

    /// Write the profile that says the same.
    #[arg(long, value_name = "FILE", help_heading = "Where it goes")]
    save_profile: Option<PathBuf>,

    /// Replace files that are there already.
    #[arg(long, help_heading = "Where it goes")]
    force: bool,

    /// Do not ask before a card is written.
    #[arg(long, short, help_heading = "Where it goes")]
    yes: bool,

    /// Do not read a card back.
    #[arg(long, help_heading = "Where it goes")]
    no_verify: bool,

    /// Take a disk that cannot be taken out, too.
    #[arg(long, help_heading = "Where it goes")]
    allow_fixed_disk: bool,

    /// Take the seed of all secrets from this file [default: a new one; with --save-profile .cardpress/seed beside it].
    #[arg(long, env = "CARDPRESS_SEED_FILE", value_name = "FILE", help_heading = "Where it goes")]
    seed_file: Option<PathBuf>,

    /// Its name in the network [default: raspberrypi].
    #[arg(long, value_name = "NAME", help_heading = "Name and network")]
    hostname: Option<String>,

    /// Its domain, such as lan.
    #[arg(long, value_name = "DOMAIN", help_heading = "Name and network")]
    domain: Option<String>,

    /// A static address of the wired interface with its prefix: 192.168.1.20/24; may be repeated, for IPv6 [default: DHCP].
    #[arg(long = "address", value_name = "CIDR", help_heading = "Name and network")]
    addresses: Vec<String>,

    /// The router; may be repeated, for IPv6.
    #[arg(long = "gateway", value_name = "ADDRESS", help_heading = "Name and network")]
    gateways: Vec<String>,

    /// A name server; may be repeated.
    #[arg(long, value_name = "ADDRESS", help_heading = "Name and network")]
    dns: Vec<String>,

    /// The wired interface [default: eth0].
    #[arg(long, value_name = "NAME", help_heading = "Name and network")]
    interface: Option<String>,

    /// The name of a wireless net to join.
    #[arg(long, value_name = "SSID", requires = "country", help_heading = "Name and network")]
    wifi: Option<String>,

    /// The file that holds its passphrase. Only a key made from it gets into the image.
    #[arg(long, value_name = "FILE", requires = "wifi", help_heading = "Name and network")]
    wifi_password_file: Option<PathBuf>,

    /// Where the radio is to be lawful: GB, DE, US and so on.
    #[arg(long, value_name = "CC", requires = "wifi", help_heading = "Name and network")]
    country: Option<String>,

    /// The net does not announce itself.
    #[arg(long, requires = "wifi", help_heading = "Name and network")]
    wifi_hidden: bool,

    /// A static address of the wireless interface [default: DHCP].
    #[arg(long = "wifi-address", value_name = "CIDR", requires = "wifi", help_heading = "Name and network")]
    wifi_addresses: Vec<String>,

    /// The account to log in as: the image's own first account gets this name, or a new one is made. Without
    /// --password-file it logs in by key alone, and sudo asks for no password.
    #[arg(long, value_name = "NAME", help_heading = "Access")]
    user: Option<String>,

    /// The file that holds its password, or nothing but a line break after it.
    #[arg(long, value_name = "FILE", requires = "user", help_heading = "Access")]
    password_file: Option<PathBuf>,

    /// A public key that may log in: its file, or the whole line; may be repeated. Switches ssh on, and login by password
    /// over ssh off.
    #[arg(long = "ssh-key", value_name = "FILE|KEY", requires = "user", help_heading = "Access")]
    ssh_keys: Vec<String>,

    /// Switch ssh on.
    #[arg(long, help_heading = "Access")]
    ssh: bool,

    /// Let passwords log in over ssh.
    #[arg(long, help_heading = "Access")]
    ssh_password_login: bool,

    /// What sudo asks the account for [default: what the image has; without --password-file, nothing].
    #[arg(long, value_enum, value_name = "WHAT", requires = "user", help_heading = "Access")]
    sudo: Option<Sudo>,

    /// A group the account is in, too; may be repeated.
    #[arg(long = "group", value_name = "NAME", requires = "user", help_heading = "Access")]
    groups: Vec<String>,

    /// The time zone, as Area/City: Europe/London.
    #[arg(long, value_name = "ZONE", help_heading = "System")]
    timezone: Option<String>,

    /// The language and its customs, as en_GB.UTF-8.
    #[arg(long, value_name = "LOCALE", help_heading = "System")]
    locale: Option<String>,

    /// The layout of a keyboard plugged in, as gb.
    #[arg(long, value_name = "LAYOUT", help_heading = "System")]
    keyboard: Option<String>,

    /// A word for the kernel command line; may be repeated, as all below.
    #[arg(long, value_name = "WORD", help_heading = "System")]
    cmdline_add: Vec<String>,

    /// A word to take off it: quiet; a key takes every KEY=VALUE of it off.
    #[arg(long, value_name = "WORD", help_heading = "System")]
    cmdline_remove: Vec<String>,

    /// A setting of the firmware: gpu_mem=16, or under a filter '[pi5]dtparam=pciex1'.
    #[arg(long, value_name = "[FILTER]K=V", help_heading = "System")]
    config_txt: Vec<String>,

    /// A kernel setting: net.ipv4.ip_forward=1.
    #[arg(long, value_name = "K=V", help_heading = "System")]
    sysctl: Vec<String>,

    /// A kernel module to load.
    #[arg(long = "module", value_name = "NAME", help_heading = "System")]
    modules: Vec<String>,

    /// A Debian package, installed at first boot.
    #[arg(long = "package", value_name = "NAME", help_heading = "System")]
    packages: Vec<String>,

    /// A unit of systemd to start at boot.
    #[arg(long, value_name = "UNIT", help_heading = "System")]
    enable: Vec<String>,

    /// A unit not to start at boot.
    #[arg(long, value_name = "UNIT", help_heading = "System")]
    disable: Vec<String>,

    /// A unit that nothing may start, not even by hand.
    #[arg(long, value_name = "UNIT", help_heading = "System")]
    mask: Vec<String>,

    /// A file to put in: SRC:/DST, and perhaps its mode and owner: motd:/etc/motd:0644:root:root.
    #[arg(long = "file", value_name = "SRC:DST[:MODE[:OWNER]]", help_heading = "System")]
    files: Vec<String>,

    /// A path to remove.
    #[arg(long = "remove", value_name = "PATH", help_heading = "System")]
    removals: Vec<String>,

    /// A script that runs once, when the node first boots; in this order.
    #[arg(long, value_name = "SCRIPT", help_heading = "System")]
    first_boot: Vec<PathBuf>,

    /// Those scripts wait for the network.
    #[arg(long, requires = "first_boot", help_heading = "System")]
    first_boot_network: bool,

    /// A recipe: docker, k3s/server and so on. `cardpress recipes` lists them.
    #[arg(long = "recipe", value_name = "NAME", help_heading = "System")]
    recipes: Vec<String>,

    /// Make the root filesystem and the image so long: 8GiB; for --device also `card`: as long as the card.
    #[arg(long, value_name = "SIZE", help_heading = "System")]
    grow: Option<String>,

    /// Anything else a [[node]] of a profile can say, in TOML: 'locale="en_GB.UTF-8"'.
    #[arg(long, value_name = "KEY=VALUE", help_heading = "System")]
    set: Vec<String>,

    /// A profile whose [defaults] lie under all this: settings kept in git, say.
    #[arg(long, value_name = "PROFILE", help_heading = "System")]
    extends: Option<PathBuf>,
}

/// What sudo asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Sudo {
    /// The account's password.
    Password,
    /// Nothing.
    Nopasswd,
    /// The account may not use it.
    None,
}

impl Sudo {
    fn in_profile(self) -> &'static str {
        match self {
            Self::Password => "\"password\"",
            Self::Nopasswd => "\"nopasswd\"",
            Self::None => "false",
        }
    }
}

pub(super) fn run(args: &Customize, global: &Global, ui: &Ui) -> Result<(), Failure> {
    let began = Instant::now();
    let here = std::env::current_dir().context("cannot tell the current folder")?;
    let path =
        args.save_profile.as_deref().map_or_else(|| here.join("customize.toml"), |path| here.join(path));
    // Of a profile that is not saved, nothing is: neither seed nor lock.
    let nowhere = tempfile::tempdir().context("cannot make a temporary folder")?;
    let beside = if args.save_profile.is_some() { path.clone() } else { nowhere.path().join("profile") };
    let written = profile::write(args, &base(&args.image)?, &path, &here)
        .map_err(|message| Failure::Usage(anyhow!(message)))?;
    let cluster = read(&written, ui)?;
    refuse_existing(args)?;
    let session = Session { args, global, ui, written, beside, epoch_seconds: source_date_epoch()? };
    let seed = session.seed()?;
    let told = match (&args.output, &args.device) {
        (Some(file), _) => session.to_file(&cluster, seed, file)?,
        (None, Some(device)) => session.to_card(cluster, seed, device)?,
        (None, None) if args.in_place => session.in_place(&cluster, &seed)?,
        (None, None) => Value::Null,
    };
    session.save_profile()?;
    if !told.is_null() {
        ui.say(&format!("done in {:.1} s", began.elapsed().as_secs_f64()));
    }
    if global.json { ui::print(&format!("{told}\n")) } else { Ok(()) }
}

/// A file is one; what looks like an address is one; the rest are names of the catalogue.
fn base(image: &str) -> Result<Base<'_>, Failure> {
    let path = Path::new(image);
    if is_url(image) {
        Ok(Base::Url(image))
    } else if path.exists() {
        Ok(Base::Path(path))
    } else if image.contains(['/', '\\']) || path.extension().is_some_and(is_ending) {
        Err(Failure::Other(anyhow!("cannot read `{image}`: there is no such file")))
    } else {
        Ok(Base::Os(image))
    }
}

fn is_ending(extension: &std::ffi::OsStr) -> bool {
    ["img", "xz", "gz", "zst", "zip"].iter().any(|known| extension.eq_ignore_ascii_case(known))
}

/// The node that the flags mean.
fn read(written: &Written, ui: &Ui) -> Result<Cluster, Failure> {
    let loaded = load(&written.path, &WithFile { path: &written.path, text: &written.text })
        .map_err(|faults| in_flags(written, faults))?;
    for warning in &loaded.warnings {
        let flag = written.flag_of(warning).unwrap_or_default();
        ui.say(&format!("warning: {flag}: {}", warning.message));
    }
    match loaded.cluster.nodes.as_slice() {
        [_] => Ok(loaded.cluster),
        nodes => Err(Failure::Usage(anyhow!(
            "--hostname and --extends make {} nodes, wanted one: `cardpress build` is for several",
            nodes.len()
        ))),
    }
}

/// The faults of what the flags have written, in terms of flags; those of other files with their lines.
fn in_flags(written: &Written, faults: Faults) -> Failure {
    let flaws: Option<Vec<Flaw>> = faults
        .as_slice()
        .iter()
        .map(|fault| {
            let flag = written.flag_of(fault)?;
            let (message, help) = match &fault.alone {
                Some(alone) => (&alone.message, &alone.help),
                None => (&fault.message, &fault.help),
            };
            Some(Flaw { text: format!("{flag}: {message}"), hint: help.clone() })
        })
        .collect();
    flaws.map_or_else(|| Failure::Profile(faults), Failure::Flags)
}

/// What does not go with the image, without talk of a profile and its nodes.
fn in_flags_alone(error: build::Error) -> Failure {
    let build::Error::Plan(faults) = error else { return error.into() };
    let flaws = faults
        .0
        .iter()
        .map(|fault| Flaw { text: format!("{}: {}", fault.section, fault.problem), hint: None });
    Failure::Flags(flaws.collect())
}

/// Nothing is replaced that was not meant to be.
fn refuse_existing(args: &Customize) -> Result<(), Failure> {
    for (flag, file) in [("--output", &args.output), ("--save-profile", &args.save_profile)] {
        let Some(file) = file else { continue };
        let is_image = same_file(file, Path::new(&args.image));
        if is_image {
            return Err(Failure::Refused(anyhow!(
                "{flag} names the image itself, `{}`: --in-place changes it",
                file.display()
            )));
        }
        if file.exists() && !args.force {
            return Err(Failure::Refused(anyhow!(
                "`{}` is there already: --force replaces it",
                file.display()
            )));
        }
    }
    Ok(())
}

fn same_file(one: &Path, other: &Path) -> bool {
    matches!((one.canonicalize(), other.canonicalize()), (Ok(one), Ok(other)) if one == other)
}

/// One call of the verb.
struct Session<'s> {
    args: &'s Customize,
    global: &'s Global,
    ui: &'s Ui,
    written: Written,
    /// What seed and lock lie beside.
    beside: PathBuf,
    epoch_seconds: Option<i64>,
}

impl Session<'_> {
    /// The one beside a profile that is kept; else a new one that nobody keeps.
    fn seed(&self) -> Result<Seed, Failure> {
        seed(&self.beside, self.args.seed_file.as_deref())
    }

    fn open(&self, cluster: &Cluster, seed: Seed, is_archive_wanted: bool) -> Result<Opening, Failure> {
        let mut source = Source::new(&self.beside, None, false, self.global)?;
        source.is_archive_wanted = is_archive_wanted;
        open_with(&source, cluster, seed, self.ui).map_err(|failure| self.in_flags(failure))
    }

    /// Recipes have faults that show only when the image is known.
    fn in_flags(&self, failure: Failure) -> Failure {
        match failure {
            Failure::Profile(faults) => in_flags(&self.written, faults),
            other => other,
        }
    }

    fn to_file(&self, cluster: &Cluster, seed: Seed, file: &Path) -> Result<Value, Failure> {
        let name = file.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let packing = packing(name)?;
        let Opening { laid, seed, opened } = self.open(cluster, seed, packing == Some(Packing::Xz))?;
        let plans = build::plan(&laid.cluster, &opened, &seed).map_err(in_flags_alone)?;
        let plan = self.only(&plans)?;
        let packing = packing.map(|packing| (packing, packing.default_level()));
        let how = Alone { file, packing, jobs: jobs(None, self.global), epoch_seconds: self.epoch_seconds };
        let pressed = build::press_alone(&opened, plan, how, self.ui, &self.ui.interrupt)?;
        self.ui.say(&format!(
            "wrote {}: {}, {} of it changed{}",
            file.display(),
            ByteLen(pressed.entry.len_bytes),
            ByteLen(pressed.dirty_bytes),
            if pressed.entry.secret { "; it holds secrets, and only you may read it" } else { "" },
        ));
        Ok(self.told(file, &laid, &seed, plan))
    }

    fn to_card(&self, cluster: Cluster, seed: Seed, device: &Path) -> Result<Value, Failure> {
        let node = cluster.nodes.first().map(|node| node.name.clone()).unwrap_or_default();
        let open = || self.open(&cluster, seed, false);
        let (opening, plan) = flash::flash_one(&self.flash_options(), &node, device, open, self.ui)?;
        Ok(self.told(device, &opening.laid, &opening.seed, &plan))
    }

    fn flash_options(&self) -> Flash {
        Flash {
            yes: self.args.yes,
            no_verify: self.args.no_verify,
            allow_fixed_disk: self.args.allow_fixed_disk,
            ..Flash::default()
        }
    }

    fn in_place(&self, cluster: &Cluster, seed: &Seed) -> Result<Value, Failure> {
        let file = Path::new(&self.args.image);
        let found = std::fs::metadata(file).with_context(|| {
            format!("--in-place changes a file or a card: cannot look at `{}`", file.display())
        })?;
        let opened = if found.is_file() || found.is_dir() {
            InPlace::open_file(file, cluster, seed)
        } else {
            let card = flash::take_to_change(&self.flash_options(), file, self.ui)?;
            InPlace::open_card(card, cluster, seed)
        };
        let (image, laid) = match opened {
            Err(build::Error::Recipes(faults)) => return Err(in_flags(&self.written, *faults)),
            opened => opened?,
        };
        for note in &image.notes {
            self.ui.say(note);
        }
        let plans = image.plan(&laid.cluster, seed).map_err(in_flags_alone)?;
        let plan = self.only(&plans)?;
        let how = How {
            epoch_seconds: self.epoch_seconds,
            verify: !self.args.no_verify,
            progress: self.ui,
            interrupt: &self.ui.interrupt,
        };
        let dirty_bytes = image.press(plan, how)?;
        self.ui.say(&format!("changed {} of {}", ByteLen(dirty_bytes), file.display()));
        if found.is_file() && plan.is_secret() && may_others_read(file) {
            self.ui.say(&format!("warning: {} holds secrets now, and others may read it", file.display()));
        }
        Ok(self.told(file, &laid, seed, plan))
    }

    /// The plan of the only node, its warnings said.
    fn only<'p>(&self, plans: &'p [NodePlan]) -> Result<&'p NodePlan, Failure> {
        let plan = plans.first().ok_or_else(|| Failure::Other(anyhow!("there is nothing to do")))?;
        for warning in &plan.warnings {
            self.ui.say(&format!("warning: {warning}"));
        }
        Ok(plan)
    }

    /// How to reach the node, as text and as data.
    fn told(&self, target: &Path, laid: &Laid, seed: &Seed, plan: &NodePlan) -> Value {
        let Cluster { nodes, .. } = &laid.cluster;
        let node = nodes.first();
        let name = node.map_or("", |node| node.name.as_str());
        let address = node.and_then(|node| node.addresses.first()).map(|net| net.addr().to_string());
        let user = node.and_then(|node| node.settings.users.first()).map(|user| user.name.clone());
        let host_key = host_keys(&laid.cluster, seed).into_iter().next().map(|(_, key)| key);
        if let (Some(user), Some(true)) = (&user, node.and_then(|node| node.settings.ssh_enable)) {
            let at = address.clone().unwrap_or_else(|| format!("{name}.local"));
            self.ui.say(&format!("once it runs: ssh {user}@{at}"));
        }
        if let Some(key) = &host_key {
            self.ui.say(&format!("it will show the host key {key}"));
        }
        let edits: Vec<EditEntry> = plan.edits.iter().map(EditEntry::from).collect();
        json!({
            "schema": 1,
            "target": target.to_string_lossy(),
            "name": name,
            "address": address,
            "user": user,
            "host_key": host_key,
            "secret": plan.is_secret(),
            "edits": edits,
            "warnings": plan.warnings,
        })
    }

    fn save_profile(&self) -> Result<(), Failure> {
        let Some(path) = &self.args.save_profile else { return Ok(()) };
        sink::write_atomically(path, self.written.text.as_bytes(), 0o644)
            .with_context(|| format!("cannot write `{}`", path.display()))?;
        let count = self.written.text.lines().count();
        self.ui.say(&format!("wrote {}, {count} {}", path.display(), plural(count, "line")));
        Ok(())
    }
}

fn packing(name: &str) -> Result<Option<Packing>, Failure> {
    let endings = [(".img.xz", Packing::Xz), (".img.zst", Packing::Zstd), (".img.gz", Packing::Gzip)];
    if let Some((_, packing)) = endings.into_iter().find(|(ending, _)| name.ends_with(ending)) {
        return Ok(Some(packing));
    }
    if name.ends_with(".img") {
        return Ok(None);
    }
    Err(Failure::Usage(anyhow!(
        "--output: found `{name}`, wanted a name that ends in .img, .img.xz, .img.zst or .img.gz"
    )))
}

#[cfg(unix)]
fn may_others_read(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::metadata(file).is_ok_and(|metadata| metadata.permissions().mode() & 0o077 != 0)
}

#[cfg(not(unix))]
fn may_others_read(_: &Path) -> bool {
    false
}
