//! What stands on what: from mounts, swaps and running volumes down to disks.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use super::super::{Disk, Obstacle, Partition, clean};
use super::mounts::{self, Mount};
use super::nodes::{self, Node, is_numbered, text};
use super::{Error, Linux, attributes};

/// Without these the running system would stop, or not start again; so would it for everything below them.
const SYSTEM: [&str; 5] = ["/boot", "/efi", "/usr", "/var", "/nix"];

/// A snapshot of all block devices and of what is in use.
#[derive(Debug)]
pub(super) struct Stack {
    linux: Linux,
    nodes: BTreeMap<String, Node>,
    mounts: Vec<Mount>,
    /// Devices swapped to.
    swaps: Vec<String>,
    /// The devices of each mounted btrfs.
    btrfs: Vec<Vec<String>>,
}

impl Stack {
    /// Takes the snapshot.
    ///
    /// # Errors
    /// When a list of the kernel's cannot be read.
    pub(super) fn read(linux: &Linux) -> Result<Self, Error> {
        let nodes = nodes::read(&linux.sys)?;
        let mounts = mounts::mounts(&linux.proc.join("self/mountinfo"))?;
        let swaps = mounts::swaps(&linux.proc.join("swaps"))?;
        let btrfs = std::fs::read_dir(linux.sys.join("fs/btrfs")).into_iter().flatten().flatten();
        let btrfs = btrfs.map(|entry| nodes::names(&entry.path().join("devices"))).collect();
        let mut stack = Self { linux: linux.clone(), nodes, mounts, swaps: Vec::new(), btrfs };
        stack.swaps = swaps.iter().filter_map(|path| stack.resolve(path)).collect();
        Ok(stack)
    }

    pub(super) fn nodes(&self) -> impl Iterator<Item = &Node> {
        self.nodes.values()
    }

    pub(super) fn by_number(&self, number: (u32, u32)) -> Option<&Node> {
        self.nodes.values().find(|node| node.number == number)
    }

    /// The numbers of a disk and its parts.
    pub(super) fn numbers(&self, disk: &Disk) -> Vec<(u32, u32)> {
        let parts = self.nodes.get(&disk.name).map(|node| self.parts(node)).unwrap_or_default();
        let parts = parts.iter().filter_map(|part| self.nodes.get(part)).map(|node| node.number);
        let mut numbers: Vec<(u32, u32)> = parts.collect();
        numbers.push(disk.number);
        numbers
    }

    /// Is it a disk that somebody could mean?
    pub(super) fn is_listed(&self, node: &Node) -> bool {
        let is = |prefix| is_numbered(node.name.as_bytes(), prefix);
        let is_memory = is("ram") || is("zram");
        let is_unused = node.len_bytes == 0 && (is("loop") || is("nbd"));
        self.not_whole(node).is_none() && !is_memory && !is_unused
    }

    /// The partitions of a disk that the kernel knows, by number.
    pub(super) fn partitions(&self, disk: &Node) -> Vec<Partition> {
        let mut partitions: Vec<Partition> = self
            .nodes()
            .filter(|node| node.parent.as_ref() == Some(&disk.name))
            .filter_map(|node| {
                Some(Partition {
                    path: self.linux.path_of(&node.name),
                    number: node.partition?,
                    start_bytes: node.start_bytes,
                    len_bytes: node.len_bytes,
                    holds: None,
                })
            })
            .collect();
        partitions.sort_by_key(|partition| partition.number);
        partitions
    }

    /// Why it is no whole disk.
    pub(super) fn not_whole(&self, node: &Node) -> Option<Obstacle> {
        let what = match (node.partition, &node.parent) {
            (Some(number), _) => format!("partition {number} of a disk"),
            (_, Some(parent)) => format!("a part of {} that has a name of its own", self.path(parent)),
            _ if node.is_hidden => "one of several ways to a disk".to_owned(),
            _ if !node.slaves.is_empty() || is_made(node) => kind_of_holder(node),
            _ => return None,
        };
        let disks = self.disks_below(&node.name).into_iter().filter(|disk| *disk != node.name);
        Some(Obstacle::NotWhole { what, disks: disks.map(|disk| self.linux.path_of(&disk)).collect() })
    }

    /// Where it and its parts are mounted.
    pub(super) fn mounts(&self, disk: &Node) -> Vec<(PathBuf, String)> {
        let parts = self.parts(disk);
        let mut all: Vec<(PathBuf, String)> = Vec::new();
        for mount in &self.mounts {
            for device in self.devices(mount).iter().filter(|device| parts.contains(device)) {
                let told = (self.linux.path_of(device), shown(&mount.on));
                if !all.contains(&told) {
                    all.push(told);
                }
            }
        }
        all
    }

    /// Everything it and its parts are used for.
    pub(super) fn uses(&self, disk: &Node) -> Vec<Obstacle> {
        let parts = self.parts(disk);
        let mut uses = Vec::new();
        let system = self.system_mounts(&disk.name);
        if !system.is_empty() {
            uses.push(Obstacle::System { mounts: system.clone() });
        }
        let mounts = self.mounts(disk).into_iter().filter(|(_, on)| !system.contains(on));
        uses.extend(mounts.map(|(device, on)| Obstacle::Mounted { device, on, advice: None }));
        for part in &parts {
            let device = self.linux.path_of(part);
            if self.swaps.contains(part) {
                uses.push(Obstacle::Swap { device: device.clone() });
            }
            // A btrfs of several devices whose mount is not ours to see.
            let has_mount = uses
                .iter()
                .any(|told| matches!(told, Obstacle::Mounted { device: told, .. } if *told == device));
            if system.is_empty() && !has_mount && self.btrfs.iter().flatten().any(|name| name == part) {
                uses.push(Obstacle::Mounted {
                    device: device.clone(),
                    on: "a place not seen from here (btrfs)".to_owned(),
                    advice: None,
                });
            }
            for by in self.holders(part) {
                let what = self.nodes.get(&by).map_or_else(|| "another device".to_owned(), kind_of_holder);
                uses.push(Obstacle::Held { device: device.clone(), by: self.linux.path_of(&by), what });
            }
        }
        uses
    }

    /// What is made of a device: what sysfs shows, and loop devices.
    fn holders(&self, name: &str) -> Vec<String> {
        let own = self.nodes.get(name).into_iter().flat_map(|node| node.holders.clone());
        let loops = self.nodes().filter(|node| {
            node.backing.as_ref().and_then(|path| self.resolve(path)).is_some_and(|backing| backing == name)
        });
        let all: BTreeSet<String> = own.chain(loops.map(|node| node.name.clone())).collect();
        all.into_iter().collect()
    }

    /// The disk, its partitions and whatever else is a part of it, by name.
    fn parts(&self, disk: &Node) -> Vec<String> {
        let parts =
            self.nodes().filter(|node| node.name == disk.name || node.parent.as_ref() == Some(&disk.name));
        parts.map(|node| node.name.clone()).collect()
    }

    /// The mount points of the running system that stand on this device, however many layers are between.
    fn system_mounts(&self, name: &str) -> Vec<String> {
        let mut on: Vec<String> = Vec::new();
        for (nth, mount) in self.mounts.iter().enumerate() {
            let is_system =
                mount.on == Path::new("/") || SYSTEM.iter().any(|place| mount.on.starts_with(place));
            let told = shown(&mount.on);
            if is_system && !on.contains(&told) && self.below_mount(nth).contains(name) {
                on.push(told);
            }
        }
        on
    }

    /// The disks a mount stands on.
    fn below_mount(&self, nth: usize) -> BTreeSet<String> {
        let mut walk = Walk::default();
        self.walk_mount(nth, &mut walk);
        walk.disks
    }

    /// The disks a device stands on; itself, if on nothing.
    fn disks_below(&self, name: &str) -> BTreeSet<String> {
        let mut walk = Walk::default();
        self.walk_device(name, &mut walk);
        walk.disks
    }

    fn walk_mount(&self, nth: usize, walk: &mut Walk) {
        let Some(mount) = self.mounts.get(nth).filter(|_| walk.mounts.insert(nth)) else { return };
        for device in self.devices(mount) {
            self.walk_device(&device, walk);
        }
        for layer in &mount.layers {
            self.walk_file(layer, walk);
        }
    }

    fn walk_device(&self, name: &str, walk: &mut Walk) {
        if !walk.devices.insert(name.to_owned()) {
            return;
        }
        let Some(node) = self.nodes.get(name) else { return };
        let below: Vec<&String> = node.parent.iter().chain(&node.slaves).collect();
        if below.is_empty() {
            walk.disks.insert(name.to_owned());
        }
        for device in below {
            self.walk_device(device, walk);
        }
        match node.backing.as_deref() {
            None => {}
            Some(path) => match self.resolve(path) {
                Some(device) => self.walk_device(&device, walk),
                None => self.walk_file(path, walk),
            },
        }
    }

    /// The filesystem that a file is on: the mount with the longest path above it.
    fn walk_file(&self, path: &Path, walk: &mut Walk) {
        let depth = |mount: &Mount| mount.on.iter().count();
        let above = || self.mounts.iter().enumerate().filter(|(_, mount)| path.starts_with(&mount.on));
        let deepest = above().map(|(_, mount)| depth(mount)).max();
        // Several may be mounted on one place, and the file be in any of them.
        let nearest: Vec<usize> =
            above().filter(|(_, mount)| Some(depth(mount)) == deepest).map(|(nth, _)| nth).collect();
        for nth in nearest {
            self.walk_mount(nth, walk);
        }
    }

    /// The devices that a mount names itself.
    fn devices(&self, mount: &Mount) -> Vec<String> {
        if let Some(node) = self.by_number(mount.number) {
            return vec![node.name.clone()];
        }
        // Filesystems of several devices, and those outside the kernel, show a number of their own.
        let sources = mount.source.as_os_str().as_bytes().split(|byte| *byte == b':');
        let sources = sources.map(|source| PathBuf::from(std::ffi::OsStr::from_bytes(source)));
        let named: Vec<String> = sources.filter_map(|source| self.resolve(&source)).collect();
        if mount.filesystem != "btrfs" {
            return named;
        }
        let group = self.btrfs.iter().find(|group| group.iter().any(|device| named.contains(device)));
        group.cloned().unwrap_or(named)
    }

    /// Which device a path names, links followed: `/dev/mapper/vg-root` is `dm-0`.
    fn resolve(&self, path: &Path) -> Option<String> {
        let inside = path.strip_prefix("/dev").ok()?;
        let named = |inside: &Path| {
            let name = inside.to_str()?.replace('/', "!");
            self.nodes.contains_key(&name).then_some(name)
        };
        let Ok(real) = self.linux.dev.join(inside).canonicalize() else { return named(inside) };
        let metadata = real.metadata().ok()?;
        if metadata.file_type().is_block_device() {
            let number = (rustix::fs::major(metadata.rdev()), rustix::fs::minor(metadata.rdev()));
            return self.by_number(number).map(|node| node.name.clone());
        }
        named(real.strip_prefix(self.linux.dev.canonicalize().ok()?).ok()?)
    }

    fn path(&self, name: &str) -> String {
        self.linux.path_of(name).display().to_string()
    }
}

/// Where a walk down has been, so that it ends whatever the links say.
#[derive(Default)]
struct Walk {
    mounts: BTreeSet<usize>,
    devices: BTreeSet<String>,
    disks: BTreeSet<String>,
}

/// A mount point, fit to be shown.
fn shown(on: &Path) -> String {
    on.display().to_string().chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

/// Is it made of others by its name, also when it says of none?
fn is_made(node: &Node) -> bool {
    let is = |prefix| is_numbered(node.name.as_bytes(), prefix);
    is("dm-") || is("md") || node.name.starts_with("md_") || is("bcache")
}

/// What something is that is made of other devices.
fn kind_of_holder(node: &Node) -> String {
    let dm = clean(&nodes::bytes(&node.dir, "dm/name").unwrap_or_default());
    let uuid = text(&node.dir, "dm/uuid").unwrap_or_default();
    let level = clean(&nodes::bytes(&node.dir, "md/level").unwrap_or_default());
    match () {
        () if uuid.starts_with("LVM-") => format!("LVM volume {dm}"),
        () if uuid.starts_with("CRYPT-") => format!("encrypted volume {dm}"),
        () if uuid.starts_with("mpath-") => format!("disk with several ways {dm}"),
        () if !dm.is_empty() => format!("device mapper volume {dm}"),
        () if !level.is_empty() => format!("RAID, {level}"),
        () if node.name.starts_with("md") => "RAID".to_owned(),
        () if node.name.starts_with("bcache") => "bcache".to_owned(),
        () if attributes::transport(node) == super::super::Transport::Loop => "loop device".to_owned(),
        () => "another device".to_owned(),
    }
}
