//! Linux: block devices from sysfs, what is in use from the kernel's lists of mounts and swaps and from sysfs's holders.
//!
//! | asked                              | for |
//! |------------------------------------|-----|
//! | `/sys/class/block/*`               | devices, their numbers, lengths, partitions, models |
//! | `…/holders`, `…/slaves`, `…/loop`  | what is made of what: LVM, RAID, encryption, loop devices |
//! | `/sys/fs/btrfs/*/devices`          | all devices of a mounted btrfs; the mount names one |
//! | `/proc/self/mountinfo`, `/proc/swaps` | what is mounted and swapped to |
//!
//! Documents: sysfs-block and sysfs-devices-removable in the kernel's `Documentation/ABI`, proc(5).

mod attributes;
mod mounts;
mod nodes;
mod stack;
mod users;

use std::fs::File;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use super::{Contents, Disk, Error, Obstacle, Partition, System, Whole, contents};
use crate::block;
use nodes::Node;
use stack::Stack;

/// A Linux system, by its three windows; tests make their own.
#[derive(Clone, Debug)]
pub struct Linux {
    /// `/sys`
    pub sys: PathBuf,
    /// `/proc`
    pub proc: PathBuf,
    /// `/dev`
    pub dev: PathBuf,
}

impl Default for Linux {
    fn default() -> Self {
        Self { sys: "/sys".into(), proc: "/proc".into(), dev: "/dev".into() }
    }
}

impl System for Linux {
    fn list(&self, look_into: bool) -> Result<Vec<Disk>, Error> {
        let stack = self.snapshot()?;
        let mut nodes: Vec<&Node> = stack.nodes().filter(|node| stack.is_listed(node)).collect();
        // sda before sdaa, mmcblk2 before mmcblk10.
        nodes.sort_by_key(|node| (node.name.len(), &node.name));
        Ok(nodes
            .into_iter()
            .map(|node| self.disk(&stack, node, self.path_of(&node.name), look_into))
            .collect())
    }

    fn find(&self, path: &Path) -> Result<Disk, Error> {
        let failed = |action| move |source| Error::Io { action, path: path.to_owned(), source };
        let real = path.canonicalize().map_err(failed("find"))?;
        let metadata = real.metadata().map_err(failed("look at"))?;
        let kind = metadata.file_type();
        let found = match () {
            () if kind.is_block_device() => "",
            () if kind.is_dir() => "a folder",
            () if kind.is_file() => "a file",
            () if kind.is_char_device() => "a character device",
            () => "no file and no folder",
        };
        if !found.is_empty() {
            return Err(Error::NotBlockDevice { path: path.to_owned(), found });
        }
        let (major, minor) = (rustix::fs::major(metadata.rdev()), rustix::fs::minor(metadata.rdev()));
        let stack = self.snapshot()?;
        let unknown = || Error::NoSuchDevice { path: path.to_owned(), major, minor };
        let node = stack.by_number((major, minor)).ok_or_else(unknown)?;
        Ok(self.disk(&stack, node, real, true))
    }
}

impl Linux {
    /// Everything as it is now. Where no daemon polls, the kernel notices that a card was put in or pulled only when
    /// somebody opens the reader.
    fn snapshot(&self) -> Result<Stack, Error> {
        let stack = Stack::read(self)?;
        let is_reader = |node: &&Node| {
            stack.is_listed(node) && attributes::is_removable(node) && attributes::not_a_disk(node).is_none()
        };
        let readers = stack.nodes().filter(is_reader).map(|node| self.path_of(&node.name));
        let is_device = |path: &PathBuf| path.metadata().is_ok_and(|node| node.file_type().is_block_device());
        let opened = readers.filter(is_device).map(File::open).count();
        if opened == 0 { Ok(stack) } else { Stack::read(self) }
    }

    /// What `/dev` calls it: sysfs writes `!` where a name has a slash.
    fn path_of(&self, name: &str) -> PathBuf {
        self.dev.join(name.replace('!', "/"))
    }

    /// Who may have the disk for himself, in words, as far as can be seen from here.
    #[must_use]
    pub fn users(&self, disk: &Disk) -> Vec<String> {
        users::users(self, disk)
    }

    fn disk(&self, stack: &Stack, node: &Node, path: PathBuf, look_into: bool) -> Disk {
        let not_whole = stack.not_whole(node);
        let not_a_disk = attributes::not_a_disk(node);
        let is_disk = not_whole.is_none() && not_a_disk.is_none();
        let contents = match () {
            () if !look_into => Contents::Unread("nobody looked".to_owned()),
            () if !is_disk => Contents::Unread("no disk".to_owned()),
            () => self.contents(stack, node, &path),
        };
        let mut found: Vec<Obstacle> = Vec::new();
        found.extend(not_whole);
        found.extend(not_a_disk.map(Obstacle::NotADisk));
        found.extend((node.len_bytes == 0).then_some(Obstacle::NoMedium));
        found.extend(stack.uses(node));
        found.extend(members(&path, &contents, &found));
        found.extend((node.len_bytes > 0 && attributes::is_read_only(node)).then_some(Obstacle::ReadOnly));
        Disk {
            path,
            name: node.name.clone(),
            number: node.number,
            sequence: attributes::sequence(node),
            len_bytes: node.len_bytes,
            block_len: None,
            model: attributes::model(node),
            serial: attributes::serial(node),
            is_removable: attributes::is_removable(node),
            transport: attributes::transport(node),
            contents,
            mounts: stack.mounts(node),
            found,
        }
    }

    fn contents(&self, stack: &Stack, node: &Node, path: &Path) -> Contents {
        if node.len_bytes == 0 {
            return Contents::Unread("no medium".to_owned());
        }
        let kernel: Vec<Partition> = stack.partitions(node);
        let read = open(path, node).map_err(|error| error.to_string()).and_then(|device| {
            contents::look(&device, path, &kernel).map_err(|error| match error {
                block::Error::Read { source, .. } => source.to_string(),
                other => other.to_string(),
            })
        });
        read.unwrap_or_else(Contents::Unread)
    }
}

pub(super) use users::access_to;

/// What belongs to something larger that the kernel does not show at work.
fn members(path: &Path, contents: &Contents, found: &[Obstacle]) -> Vec<Obstacle> {
    let Contents::Read { whole, partitions, .. } = contents else { return Vec::new() };
    let whole = whole.iter().map(|whole| (path, whole));
    let parts = partitions.iter().filter_map(|part| Some((part.path.as_path(), part.holds.as_ref()?)));
    let members = whole.chain(parts).filter(|(_, signature)| signature.kind.is_member());
    let is_told = |member: &Path| {
        found.iter().any(|obstacle| matches!(obstacle, Obstacle::Held { device, .. } if device == member))
    };
    members
        .filter(|(member, _)| !is_told(member))
        .map(|(member, signature)| Obstacle::Member { device: member.to_owned(), kind: signature.kind })
        .collect()
}

fn open(path: &Path, node: &Node) -> std::io::Result<Whole> {
    let metadata = path.metadata()?;
    let kind = metadata.file_type();
    let number = (rustix::fs::major(metadata.rdev()), rustix::fs::minor(metadata.rdev()));
    // A file stands for a device where tests made the tree.
    if !kind.is_file() && (!kind.is_block_device() || number != node.number) {
        return Err(std::io::Error::other("its node in /dev is another device"));
    }
    Ok(Whole::new(File::open(path)?, node.len_bytes))
}

#[cfg(test)]
mod tests;
