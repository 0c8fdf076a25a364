//! What is on an image or a card: the disk, its filesystems, the system, who can log in, what the first boot will do, and
//! what somebody should be warned of. Nothing is written.
//!
//! ```text
//! open ──▶ Subject ──▶ inspect ──▶ Inspected      map.rs        table, partitions, filesystems
//!                                                 boot.rs       kernels, boards, command line
//!                                                 accounts.rs, network.rs, ssh.rs
//!                                                 carried.rs    the first boot, customisation
//!                                                 secrets.rs    plain text where everybody reads it
//!                                                 warning.rs    what is wrong
//! ```
//!
//! The image is believed nothing: texts are read up to 1 MiB, directories up to some thousand names. A part that cannot
//! be read says so in its place ([`Told::Unread`]), and the others are told all the same.

mod accounts;
mod boot;
mod carried;
mod look;
mod map;
mod network;
mod secrets;
mod ssh;
mod warning;

use std::path::Path;
use std::sync::Arc;

use serde::Serialize;

use super::Error;
use super::disk::{self, Tree};
use super::facts::{DPKG, DPKG_ARCH, ELF_HEAD_LEN, arch_of, issue_of, value_of};
use super::layout::slice;
use crate::base::{ByteLen, Interrupt, Progress};
use crate::block::{Device, Overlay, ReadAt, Slice};
use crate::image::table::Partition;
use crate::plan::Marker;
use crate::sink::disks;
use crate::source::Cache;

pub use accounts::{Password, User};
pub use boot::{Board, Boot};
pub use carried::{Step, Trace};
pub use look::Told;
pub use map::{Filesystem, Part, Range, Stretch, Table, stretches};
pub use network::{Fixed, Network, Wifi};
pub use ssh::Ssh;
pub use warning::{Note, Warning};

use look::{Look, Unread};
use map::Map;

/// What an unclean journal changes beyond this moves from memory to a temporary file.
const MEMORY_BYTES: u64 = 64 << 20;
/// Filesystems that are opened: a table may name one and the same a hundred times.
const OPENED_MAX: usize = 16;
/// Kernels that are told.
const KERNELS_MAX: usize = 64;

/// What is to be looked at, open for reading.
pub struct Subject {
    device: Arc<dyn ReadAt + Send + Sync>,
    notes: Vec<Note>,
}

/// Everything that was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Inspected {
    /// How long the disk is.
    pub len_bytes: u64,
    /// Its partition table; `None` when there is none.
    pub table: Told<Option<Table>>,
    /// The partitions by number, or the whole disk.
    pub partitions: Vec<Part>,
    /// The room that no partition has.
    pub free: Vec<Range>,
    /// What is on the boot partition.
    pub boot: Told<Boot>,
    /// What is on the root partition.
    pub system: Told<System>,
    /// What the first boot will do.
    pub first_boot: Told<Vec<Step>>,
    /// What customisation it carries.
    pub customised: Told<Vec<Trace>>,
    /// What is wrong or dangerous.
    pub warnings: Vec<Warning>,
    /// What is worth knowing.
    pub notes: Vec<Note>,
}

/// What is on the root partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct System {
    /// Its number; `None` for a filesystem without a disk.
    pub partition: Option<u32>,
    /// `/etc/os-release`; `None` when there is none.
    pub release: Told<Option<Release>>,
    /// `/etc/rpi-issue`, which pi-gen writes; `None` when there is none.
    pub issue: Told<Option<Issue>>,
    /// `/etc/cardpress-release`: what it was pressed as; `None` when there is none.
    pub marker: Told<Option<Marker>>,
    /// `arm64` or `armhf`.
    pub architecture: Told<&'static str>,
    /// The kernels whose modules are there.
    pub kernels: Told<Vec<String>>,
    /// What it is called.
    pub host_name: Told<Option<String>>,
    /// `set`, `empty`, `uninitialized` or `missing`.
    pub machine_id: Told<&'static str>,
    /// People and root.
    pub users: Told<Vec<User>>,
    /// How it gets onto the net.
    pub network: Told<Network>,
    /// The ssh server.
    pub ssh: Told<Ssh>,
}

/// What os-release(5) says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Release {
    /// `ID`
    pub id: String,
    /// `PRETTY_NAME`, or what there is instead.
    pub name: String,
    /// `VERSION_ID`
    pub version: Option<String>,
    /// `VERSION_CODENAME`
    pub codename: Option<String>,
}

/// What pi-gen says of the image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Issue {
    /// The first line.
    pub line: String,
    /// The date in it.
    pub reference: Option<String>,
    /// `lite`, `desktop` or `full`.
    pub variant: Option<&'static str>,
}

/// Opens an image of any form, or a whole disk; nobody is kept from using either.
///
/// # Errors
/// [`Error::Disks`] for a device; else as for [`disk::device_to_read`].
pub fn open(
    path: &Path,
    cache: &Cache,
    progress: &dyn Progress,
    interrupt: &Interrupt,
) -> Result<Subject, Error> {
    if is_device(path) {
        let (disk, whole) =
            disks::open_to_read(path).map_err(|source| Error::Disks { source: Box::new(source) })?;
        let mounted = disk.mounts.iter().take(1);
        let notes = mounted
            .map(|(device, on)| Note::Mounted { device: device.display().to_string(), on: on.clone() });
        return Ok(Subject { device: Arc::new(whole), notes: notes.collect() });
    }
    let (device, is_unfinished) = disk::device_to_read(path, cache, progress, interrupt)?;
    Ok(Subject { device, notes: is_unfinished.then_some(Note::Unfinished).into_iter().collect() })
}

/// Neither a file nor a folder: a node of /dev, or on Windows a name that no folder has.
fn is_device(path: &Path) -> bool {
    match path.metadata() {
        Ok(there) => !there.is_file() && !there.is_dir(),
        Err(_) => cfg!(windows) && path.to_string_lossy().starts_with(r"\\.\"),
    }
}

/// Looks at everything.
///
/// # Errors
/// When the device cannot be read at all.
pub fn inspect(subject: Subject) -> Result<Inspected, Error> {
    let Subject { device, mut notes } = subject;
    let len_bytes = device.len_bytes();
    let mut warnings = Vec::new();
    let mut map = Map::read(&device, &mut warnings)?;
    // A journal may have to be replayed before anything can be read.
    let overlay = Overlay::spilling(device, std::env::temp_dir(), MEMORY_BYTES);
    let (mut boot_at, mut root_at) = (map.role("boot"), map.role("root"));
    // A filesystem is what it is, whatever the table says of it.
    boot_at = boot_at.filter(|at| kind_of(&map, *at).starts_with("FAT"));
    root_at = root_at.filter(|at| kind_of(&map, *at).starts_with("ext"));
    let mut slices: Vec<Option<Slice<&Overlay<_>>>> = Vec::new();
    for partition in &map.partitions {
        slices.push(part_slice(&overlay, partition.as_ref()).ok());
    }
    let mut trees: Vec<Result<Tree<'_>, Unread>> = Vec::new();
    for (at, (part, slice)) in map.parts.iter_mut().zip(&slices).enumerate() {
        let is_opened = at < OPENED_MAX || part.role.is_some();
        let tree = match is_opened {
            true => open_part(part, slice.as_ref().map(|slice| slice as &dyn Device), &mut notes),
            false => Err(Unread(format!("only the first {OPENED_MAX} are opened"))),
        };
        state(part, tree.as_ref().err().filter(|_| is_opened), &mut warnings);
        trees.push(tree);
    }
    let look = |at: Option<usize>, wanted: &str| match at.and_then(|at| trees.get(at)) {
        Some(Ok(tree)) => Ok(Look(tree)),
        Some(Err(unread)) => Err(unread.clone()),
        None => Err(Unread(format!("there is no {wanted} filesystem"))),
    };
    let (boot_look, root_look) = (look(boot_at, "boot (FAT)"), look(root_at, "root (ext4)"));
    let number = |at: Option<usize>| at.and_then(|at| map.parts.get(at)).and_then(|part| part.number);

    let boot = boot_look.as_ref().map_err(Unread::clone).and_then(|look| boot::read(look, number(boot_at)));
    let command_line = boot.as_ref().ok().and_then(|boot| boot.command_line.known().cloned().flatten());
    let command_line = command_line.unwrap_or_default();
    boot::check(&command_line, &mut warnings);
    if let Ok(look) = &boot_look {
        // What cannot be read tells nobody a secret.
        secrets::find(|name| look.text(&format!("/{name}")).ok().flatten(), &mut warnings);
    }
    check_names(&map, &command_line, root_look.as_ref().ok(), &mut warnings);
    fullness(&map, boot_at, root_at, &mut warnings);
    let (boot_ref, root_ref) = (boot_look.as_ref().ok(), root_look.as_ref().ok());
    let any = match (boot_ref, root_ref) {
        (None, None) => Err(Unread("there is neither a boot nor a root filesystem".to_owned())),
        _ => Ok(()),
    };
    let first_boot = any.clone().and_then(|()| carried::first_boot(boot_ref, root_ref, &command_line));
    let customised = any.and_then(|()| carried::traces(boot_ref, root_ref));
    let system = root_look
        .as_ref()
        .map_err(Unread::clone)
        .map(|look| system(look, number(root_at), boot_ref, &command_line, &mut warnings, &mut notes));
    let free = map::free(&map.parts, len_bytes);
    Ok(Inspected {
        len_bytes,
        table: map.table.clone(),
        partitions: map.parts.clone(),
        free,
        boot: boot.into(),
        system: system.into(),
        first_boot: first_boot.into(),
        customised: customised.into(),
        warnings,
        notes,
    })
}

fn kind_of(map: &Map, at: usize) -> &str {
    let holds = map.parts.get(at).and_then(|part| part.holds.known());
    holds.and_then(Option::as_ref).map_or("", |known| known.kind.as_str())
}

fn part_slice<'o, B: ReadAt>(
    overlay: &'o Overlay<B>,
    partition: Option<&Partition>,
) -> Result<Slice<&'o Overlay<B>>, Error> {
    match partition {
        Some(partition) => slice(overlay, partition),
        None => Ok(Slice::new(overlay, 0, overlay.len_bytes())?),
    }
}

/// Opens the filesystem of a part, and completes what is known of it.
fn open_part<'d>(
    part: &mut Part,
    device: Option<&'d dyn Device>,
    notes: &mut Vec<Note>,
) -> Result<Tree<'d>, Unread> {
    let known = match &mut part.holds {
        Told::Known(Some(known)) => known,
        Told::Known(None) => return Err(Unread("it holds nothing that is known here".to_owned())),
        Told::Unread { unread } => return Err(Unread(unread.clone())),
    };
    if !is_ours(known) {
        return Err(Unread(format!("it holds {}, of which only the name is known here", known.kind)));
    }
    let device = device.ok_or_else(|| Unread("it does not lie inside the disk".to_owned()))?;
    let opened = disk::look_into(device, part.number, &mut |note| notes.push(Note::Recovered(note)));
    let tree = opened?;
    if let Some(usage) = tree.usage()?.first() {
        known.opened(usage);
    }
    Ok(tree)
}

/// Is it one of those that are opened?
fn is_ours(known: &Filesystem) -> bool {
    known.kind.starts_with("ext") || known.kind.starts_with("FAT")
}

/// Warns of a filesystem that is not at rest, or that was to be opened and could not be.
fn state(part: &Part, failed: Option<&Unread>, warnings: &mut Vec<Warning>) {
    let place =
        part.number.map_or_else(|| "the filesystem".to_owned(), |number| format!("partition {number}"));
    let known = part.holds.known().and_then(Option::as_ref);
    match known.and_then(|known| known.state) {
        Some(state) if state != "clean" => {
            let state = match state {
                "not unmounted cleanly" => "was not unmounted cleanly",
                state => state,
            };
            warnings.push(Warning::NotClean { place, state });
        }
        _ => {
            if let (Some(Unread(why)), true) = (failed, known.is_some_and(is_ours)) {
                warnings.push(Warning::Unreadable { place, why: why.clone() });
            }
        }
    }
}

/// Nearly full is what has less than a tenth free, on the boot partition, or a twentieth.
fn fullness(map: &Map, boot_at: Option<usize>, root_at: Option<usize>, warnings: &mut Vec<Warning>) {
    let known = |at: Option<usize>| map.parts.get(at?)?.holds.known()?.as_ref();
    for (at, share, is_boot) in [(boot_at, 10, true), (root_at, 20, false)] {
        let Some((len, free)) = known(at).and_then(|known| Some((known.len_bytes?, known.free_bytes?)))
        else {
            continue;
        };
        if free < len / share {
            let (free, len) = (ByteLen(free), ByteLen(len));
            warnings.push(match is_boot {
                true => Warning::BootFull { free, len },
                false => Warning::RootFull { free, len },
            });
        }
    }
}

/// Compares the partitions that the kernel and fstab are told of with those that are there.
fn check_names(map: &Map, command_line: &str, root: Option<&Look<'_, '_>>, warnings: &mut Vec<Warning>) {
    let mut named = Vec::new();
    let by_kernel = boot::words(command_line).filter_map(|word| word.strip_prefix("root="));
    named.extend(by_kernel.map(|name| ("cmdline.txt", name.to_owned(), "/".to_owned())));
    let fstab = root.and_then(|look| look.text("/etc/fstab").ok().flatten()).unwrap_or_default();
    for line in fstab.lines().map(str::trim).filter(|line| !line.starts_with('#')) {
        let mut fields = line.split_ascii_whitespace();
        if let (Some(name), Some(at)) = (fields.next(), fields.next())
            && (at == "/" || at.starts_with("/boot"))
        {
            named.push(("/etc/fstab", name.to_owned(), at.to_owned()));
        }
    }
    // A filesystem alone cannot know on which disk it will be.
    if !matches!(map.table, Told::Known(Some(_))) {
        return;
    }
    for (file, name, what) in named {
        let (kind, wanted) = name.split_once('=').unwrap_or(("", ""));
        let wanted = wanted.trim_matches('"');
        let is_here = map.parts.iter().any(|part| {
            let uuid = part.holds.known().and_then(Option::as_ref).and_then(|known| known.uuid.as_deref());
            let here = match kind {
                "PARTUUID" => part.partuuid.as_deref(),
                "UUID" => uuid,
                _ => return true,
            };
            here.is_some_and(|here| here.eq_ignore_ascii_case(wanted))
        });
        if !is_here {
            warnings.push(Warning::ForeignRoot { file, name, what });
        }
    }
}

fn system(
    look: &Look<'_, '_>,
    partition: Option<u32>,
    boot: Option<&Look<'_, '_>>,
    command_line: &str,
    warnings: &mut Vec<Warning>,
    notes: &mut Vec<Note>,
) -> System {
    let is_asked_for =
        ["/ssh", "/ssh.txt"].iter().any(|name| boot.is_some_and(|boot| boot.exists(name).unwrap_or(false)));
    let ssh: Told<Ssh> = ssh::read(look, is_asked_for, warnings, notes).into();
    let by_ssh = ssh.known().is_some_and(|ssh| ssh.password_login && (ssh.is_enabled || ssh.is_asked_for));
    let machine_id = machine_id(look);
    notes.extend((machine_id == Ok("set")).then_some(Note::MachineId));
    System {
        partition,
        release: release(look).into(),
        issue: issue(look).into(),
        marker: carried::marker(look).into(),
        architecture: architecture(look).into(),
        kernels: look
            .list("/lib/modules")
            .map(|names| names.into_iter().map(|(name, _)| name).take(KERNELS_MAX).collect())
            .into(),
        host_name: look
            .text("/etc/hostname")
            .map(|text| text.and_then(|text| text.lines().next().map(|line| line.trim().to_owned())))
            .into(),
        machine_id: machine_id.into(),
        users: accounts::read(look, by_ssh, warnings).into(),
        network: network::read(look, command_line).into(),
        ssh,
    }
}

fn release(look: &Look<'_, '_>) -> Result<Option<Release>, Unread> {
    let text = match look.text("/etc/os-release")? {
        Some(text) => Some(text),
        None => look.text("/usr/lib/os-release")?,
    };
    Ok(text.map(|text| {
        let value = |key: &str| value_of(&text, key);
        let id = value("ID").unwrap_or_default();
        let name = value("PRETTY_NAME").or_else(|| value("NAME")).unwrap_or_else(|| id.clone());
        Release { id, name, version: value("VERSION_ID"), codename: value("VERSION_CODENAME") }
    }))
}

fn issue(look: &Look<'_, '_>) -> Result<Option<Issue>, Unread> {
    Ok(look.text("/etc/rpi-issue")?.map(|text| {
        let (reference, variant) = issue_of(&text);
        let line = text.lines().next().unwrap_or_default().to_owned();
        Issue { line, reference, variant: variant.map(crate::base::Variant::name) }
    }))
}

fn architecture(look: &Look<'_, '_>) -> Result<&'static str, Unread> {
    let head = look.head(DPKG, ELF_HEAD_LEN)?;
    let listed = look.text(DPKG_ARCH)?.unwrap_or_default();
    match arch_of(&head, &listed) {
        Ok(arch) => Ok(arch.name()),
        Err(Error::NotAnOs(why)) => Err(Unread(why)),
        Err(error) => Err(error.into()),
    }
}

fn machine_id(look: &Look<'_, '_>) -> Result<&'static str, Unread> {
    Ok(match look.text("/etc/machine-id")?.as_deref().map(str::trim) {
        None => "missing",
        Some("") => "empty",
        Some("uninitialized") => "uninitialized",
        Some(_) => "set",
    })
}
