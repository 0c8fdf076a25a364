//! `cardpress boot`

use std::net::{IpAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use clap::{ArgGroup, Args, ValueEnum};
use ipnet::{IpNet, Ipv4Net};

use crate::base::ByteLen;
use crate::build::boot::{Machine, Start, Wishes, card_len};
use crate::build::disk::{Disk, Part};
use crate::build::inspect;
use crate::build::{self, Alone};
use crate::plan::Cluster;
use crate::source::{self, Cache};

use super::args::Global;
use super::report::Failure;
use super::subject::{Inputs, Prepared, Subject, cache_folder, prepare, source_date_epoch};
use super::ui::Ui;

const HELP: &str = "\
Examples:
  cardpress boot out/home/worker1.img              here; Ctrl-A X ends it
  cardpress boot --node home.toml:worker1 --ssh    pressed for this; then
                                                   ssh -p 2222 ops@127.0.0.1
  cardpress boot raspios.img.xz --machine raspi3b  as a Pi 3

Wants QEMU: on Debian the packages qemu-system-arm and qemu-utils, with Homebrew qemu. Nothing is written to the image: what \
the machine writes is gone when it ends. What it is: a `virt` machine where the image's kernel can be started by one, as those \
of Debian, else the Pi 3B, 2B or Zero that the boot partition has a kernel for. No emulated Pi has Wi-Fi or Bluetooth, none reads \
config.txt or overlays, and it is many times slower than a Pi, unless the host is an ARM machine itself.";

#[derive(Clone, Debug, Args)]
#[command(after_help = HELP)]
#[command(group = ArgGroup::new("what").required(true).args(["image", "node"]))]
pub(super) struct Boot {
    /// The image: .img, .img.xz, .img.gz, .img.zst or .zip.
    image: Option<PathBuf>,

    /// A node of a profile.
    #[arg(long, value_name = "PROFILE:NAME", value_parser = node)]
    node: Option<(PathBuf, String)>,

    /// Let ssh in by this port of this machine [default: 2222].
    #[arg(long, value_name = "PORT", num_args = 0..=1, require_equals = true, default_missing_value = "2222")]
    ssh: Option<u16>,

    /// Which machine to be [default: what suits the image's kernel].
    #[arg(long, value_enum)]
    machine: Option<Board>,

    /// Memory of a virt machine; boards have what they have.
    #[arg(long, value_name = "SIZE", default_value = "1GiB")]
    memory: ByteLen,

    /// Processors of a virt machine.
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=8))]
    processors: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Board {
    /// No board: fastest, for kernels that know it.
    Virt,
    /// Pi Zero.
    Raspi0,
    /// Pi 2B.
    Raspi2b,
    /// Pi 3B.
    Raspi3b,
    /// Pi 4B: without network.
    Raspi4b,
}

impl From<Board> for Machine {
    fn from(board: Board) -> Self {
        match board {
            Board::Virt => Self::Virt,
            Board::Raspi0 => Self::Raspi0,
            Board::Raspi2b => Self::Raspi2b,
            Board::Raspi3b => Self::Raspi3b,
            Board::Raspi4b => Self::Raspi4b,
        }
    }
}

fn node(word: &str) -> Result<(PathBuf, String), String> {
    match word.rsplit_once(':') {
        Some((profile, name)) if !profile.is_empty() && !name.is_empty() => {
            Ok((profile.into(), name.to_owned()))
        }
        _ => Err(format!("found `{word}`, wanted PROFILE:NAME such as home.toml:worker1")),
    }
}

/// An image to be started, and what is known of it.
struct Subjected {
    image: PathBuf,
    user: Option<String>,
    network: Option<Network>,
}

/// Its own address, and its router where that is known.
type Network = (IpNet, Option<IpAddr>);

pub(super) fn run(args: &Boot, global: &Global, ui: &Ui) -> Result<(), Failure> {
    // Where images are cached there is room for one.
    let cache_folder = cache_folder(global)?;
    std::fs::create_dir_all(&cache_folder)
        .with_context(|| format!("cannot make `{}`", cache_folder.display()))?;
    let cache = Cache::at(cache_folder.clone());
    let folder = tempfile::Builder::new().prefix(".boot-").tempdir_in(&cache_folder);
    let folder = folder.with_context(|| format!("cannot make a folder in `{}`", cache_folder.display()))?;
    let subject = match (&args.node, &args.image) {
        (Some((profile, name)), _) => press(profile, name, folder.path(), global, ui)?,
        (None, image) => {
            let image = unpacked(image.as_deref().unwrap_or(Path::new("")), &cache, ui)?;
            let (user, network) = what_it_says(&image, &cache, ui)?;
            Subjected { image, user, network }
        }
    };
    let disk = Disk::open_to_read(&subject.image, Part::System, &cache, ui, &ui.interrupt)?;
    let start = Start::take(&disk, args.machine.map(Machine::from), folder.path())?;
    drop(disk);
    let len_bytes = std::fs::metadata(&subject.image)
        .with_context(|| format!("cannot look at `{}`", subject.image.display()))?
        .len();
    let card = folder.path().join("card.qcow2");
    make_card(&subject.image, &card, card_len(start.machine, len_bytes))?;
    let ssh_port = args.ssh.filter(|_| start.has_network());
    let wishes = Wishes {
        memory_mib: u32::try_from(args.memory.0 >> 20).unwrap_or(u32::MAX),
        processors: args.processors,
        ssh_port,
        network: subject.network,
    };
    ui.say(&format!("a {} machine: {}", start.machine.name(), start.machine.lacks()));
    match (args.ssh, ssh_port) {
        (Some(_), Some(port)) => {
            check_port(port)?;
            let user = subject.user.as_deref().unwrap_or("USER");
            ui.say(&format!("once it runs: ssh -p {port} {user}@127.0.0.1"));
        }
        (Some(_), None) => ui.say("this machine has no network: there is no ssh"),
        (None, _) => {}
    }
    ui.say("Ctrl-A X ends it; nothing that it writes is kept");
    let mut command = Command::new(start.program());
    command.args(start.words(&card, &wishes));
    let child = command.spawn().map_err(|error| missing(start.program(), error))?;
    let status = wait(child, ui)?;
    if status.success() { Ok(()) } else { Err(anyhow!("`{}` ended with {status}", start.program()).into()) }
}

/// Presses one node into `folder`.
fn press(profile: &Path, name: &str, folder: &Path, global: &Global, ui: &Ui) -> Result<Subjected, Failure> {
    let seed_file = std::env::var_os("CARDPRESS_SEED_FILE").map(PathBuf::from);
    let inputs = Inputs { seed_file, ..Inputs::default() };
    let subject = Subject { profile: profile.to_owned(), nodes: vec![name.to_owned()], inputs };
    let Prepared { laid, opened, plans, .. } = prepare(&subject, false, global, ui)?;
    let plan = plans.first().ok_or_else(|| anyhow!("there is no node `{name}`"))?;
    let image = folder.join("node.img");
    let how = Alone { file: &image, packing: None, jobs: 1, epoch_seconds: source_date_epoch()? };
    build::press_alone(&opened, plan, how, ui, &ui.interrupt)?;
    let Cluster { nodes, gateways, .. } = &laid.cluster;
    let node = nodes.iter().find(|node| node.name == name);
    let is_v4 = |address: &&IpAddr| address.is_ipv4();
    let network = node.and_then(|node| {
        let own = node.addresses.iter().find(|net| net.addr().is_ipv4())?;
        let router =
            node.settings.network.gateways.iter().find(is_v4).or_else(|| gateways.iter().find(is_v4));
        Some((*own, router.copied()))
    });
    let user = node.and_then(|node| node.settings.users.first()).map(|user| user.name.clone());
    Ok(Subjected { image, user, network })
}

/// The first account of an image, and the address that is written down for its first wired interface.
fn what_it_says(image: &Path, cache: &Cache, ui: &Ui) -> Result<(Option<String>, Option<Network>), Failure> {
    let inspected = inspect::inspect(inspect::open(image, cache, ui, &ui.interrupt)?)?;
    let Some(system) = inspected.system.known() else { return Ok((None, None)) };
    let users = system.users.known().map_or(&[][..], Vec::as_slice);
    let user = users.iter().find(|user| user.uid != 0).map(|user| user.name.clone());
    let fixed = system.network.known().map_or(&[][..], |network| network.fixed.as_slice());
    let mut wired = fixed.iter().filter(|fixed| !fixed.interface.starts_with("wlan"));
    let address =
        wired.find_map(|fixed| fixed.addresses.iter().find_map(|text| text.parse::<Ipv4Net>().ok()));
    Ok((user, address.map(|own| (IpNet::V4(own), None))))
}

/// The raw image: the file itself, or what the cache has of it.
fn unpacked(image: &Path, cache: &Cache, ui: &Ui) -> Result<PathBuf, Failure> {
    let failed = |error: source::Error| Failure::Other(error.into());
    if source::format_of(image).map_err(failed)? == source::Format::Raw {
        let whole = image.canonicalize();
        return Ok(whole.with_context(|| format!("cannot look at `{}`", image.display()))?);
    }
    let unpacked = source::open_any(image, cache, ui, &ui.interrupt).map_err(failed)?;
    let path = &unpacked.path;
    Ok(path.canonicalize().with_context(|| format!("cannot look at `{}`", path.display()))?)
}

/// A card that reads as the image does and keeps to itself what is written to it.
fn make_card(image: &Path, card: &Path, len_bytes: u64) -> Result<(), Failure> {
    let program = "qemu-img";
    let mut command = Command::new(program);
    command
        .args(["create", "-q", "-f", "qcow2", "-F", "raw", "-b"])
        .arg(image)
        .arg(card)
        .arg(len_bytes.to_string());
    let output = command.stdin(Stdio::null()).output().map_err(|error| missing(program, error))?;
    if output.status.success() {
        return Ok(());
    }
    Err(anyhow!("`{program}` failed: {}", String::from_utf8_lossy(&output.stderr).trim()).into())
}

fn missing(program: &str, error: std::io::Error) -> Failure {
    let is_missing = error.kind() == std::io::ErrorKind::NotFound;
    let error = anyhow::Error::new(error).context(format!("cannot start `{program}`"));
    if is_missing {
        return error
            .context("QEMU is not installed: on Debian the packages qemu-system-arm and qemu-utils, with Homebrew qemu")
            .into();
    }
    error.into()
}

fn check_port(port: u16) -> Result<(), Failure> {
    match TcpListener::bind(("127.0.0.1", port)) {
        Ok(_) => Ok(()),
        Err(error) => {
            let what = format!("port {port} of this machine is not free: --ssh=PORT names another");
            Err(anyhow::Error::new(error).context(what).into())
        }
    }
}

/// Until the machine ends, or is told to by whoever ends us.
fn wait(mut child: Child, ui: &Ui) -> Result<ExitStatus, Failure> {
    loop {
        if let Some(status) = child.try_wait().context("cannot wait for QEMU")? {
            return Ok(status);
        }
        if let Err(interrupted) = ui.interrupt.check() {
            end(&mut child);
            return Err(Failure::Other(interrupted.into()));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Asked to end, QEMU sets the terminal right again.
#[cfg(unix)]
fn end(child: &mut Child) {
    let id = i32::try_from(child.id()).ok().and_then(rustix::process::Pid::from_raw);
    if let Some(id) = id {
        let _ = rustix::process::kill_process(id, rustix::process::Signal::TERM);
    }
    let _ = child.wait();
}

#[cfg(not(unix))]
fn end(child: &mut Child) {
    let _ = child.kill();
    let _ = child.wait();
}
