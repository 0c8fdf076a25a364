//! The block devices in sysfs, read once: numbers, lengths, who is part of whom.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::OpenOptions;
use std::io::Read as _;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use super::super::Error;

/// Of an attribute; the kernel's have a page at most.
const ATTRIBUTE_MAX: u64 = 4096;
/// sysfs counts in these, whatever the device's own sector is.
const SECTOR_LEN: u64 = 512;

/// A block device: a disk, a partition, or what is made of them.
#[derive(Clone, Debug)]
pub(super) struct Node {
    /// As sysfs writes it.
    pub(super) name: String,
    /// Its folder, without links.
    pub(super) dir: PathBuf,
    pub(super) number: (u32, u32),
    pub(super) len_bytes: u64,
    /// The disk whose part it is: a partition's, or an eMMC's whose boot areas are devices of their own.
    pub(super) parent: Option<String>,
    /// Its number, when it is a partition.
    pub(super) partition: Option<u32>,
    /// Where a partition begins.
    pub(super) start_bytes: u64,
    /// What it is made of.
    pub(super) slaves: Vec<String>,
    /// What is made of it.
    pub(super) holders: Vec<String>,
    /// The file or device behind a loop device.
    pub(super) backing: Option<PathBuf>,
    /// A path to a disk that is to be used by another name.
    pub(super) is_hidden: bool,
}

/// Reads all of them. One that goes away meanwhile is left out.
///
/// # Errors
/// [`Error::Io`] when there is no list.
pub(super) fn read(sys: &Path) -> Result<BTreeMap<String, Node>, Error> {
    let class = sys.join("class/block");
    let failed = |source| Error::Io { action: "list the devices in", path: class.clone(), source };
    let mut nodes = BTreeMap::new();
    for entry in std::fs::read_dir(&class).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name();
        let Some(name) = name.to_str().filter(|name| is_name(name)) else { continue };
        nodes.extend(read_one(&class.join(name), name).map(|node| (name.to_owned(), node)));
    }
    let dirs: BTreeMap<PathBuf, String> =
        nodes.values().map(|node| (node.dir.clone(), node.name.clone())).collect();
    for node in nodes.values_mut() {
        node.parent = node.dir.parent().and_then(|dir| dirs.get(dir)).cloned();
    }
    Ok(nodes)
}

/// What the kernel gives block devices for names, and nothing that leads out of a folder.
fn is_name(name: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.!:".contains(c);
    !name.is_empty() && name.chars().all(is_plain) && !name.contains("..") && !name.starts_with('!')
}

fn read_one(link: &Path, name: &str) -> Option<Node> {
    let dir = link.canonicalize().ok()?;
    let (major, minor) = text(&dir, "dev")?.split_once(':').map(|(a, b)| (a.to_owned(), b.to_owned()))?;
    let sectors = |attribute| number(&dir, attribute).and_then(|count| count.checked_mul(SECTOR_LEN));
    Some(Node {
        name: name.to_owned(),
        number: (major.parse().ok()?, minor.parse().ok()?),
        len_bytes: sectors("size").unwrap_or(0),
        parent: None,
        partition: number(&dir, "partition").and_then(|number| u32::try_from(number).ok()),
        start_bytes: sectors("start").unwrap_or(0),
        slaves: names(&dir.join("slaves")),
        holders: names(&dir.join("holders")),
        backing: bytes(&dir, "loop/backing_file").and_then(backing_path),
        is_hidden: number(&dir, "hidden") == Some(1),
        dir,
    })
}

/// A file that has lost its name keeps a mark behind it.
fn backing_path(mut bytes: Vec<u8>) -> Option<PathBuf> {
    while bytes.last() == Some(&b'\n') {
        bytes.pop();
    }
    let path = bytes.strip_suffix(b" (deleted)").unwrap_or(&bytes);
    path.starts_with(b"/").then(|| PathBuf::from(OsString::from_vec(path.to_vec())))
}

/// The entries of a folder that can be devices; none when there is no folder.
pub(super) fn names(dir: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(dir) else { return Vec::new() };
    let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    let mut names: Vec<String> = names.filter(|name| is_name(name)).collect();
    names.sort();
    names
}

/// An attribute as it is; `None` when it is not there or cannot be read.
pub(super) fn bytes(dir: &Path, attribute: &str) -> Option<Vec<u8>> {
    // Never waits, whatever lies there.
    let nonblock = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).ok()?;
    let file = OpenOptions::new().read(true).custom_flags(nonblock).open(dir.join(attribute)).ok()?;
    let mut bytes = Vec::new();
    file.take(ATTRIBUTE_MAX).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

/// An attribute that is a word.
pub(super) fn text(dir: &Path, attribute: &str) -> Option<String> {
    Some(String::from_utf8(bytes(dir, attribute)?).ok()?.trim().to_owned())
}

/// An attribute that is a number.
pub(super) fn number(dir: &Path, attribute: &str) -> Option<u64> {
    text(dir, attribute)?.parse().ok()
}

/// Is this the name of a device that has this prefix and then only digits?
pub(super) fn is_numbered(name: &[u8], prefix: &str) -> bool {
    let digits = name.strip_prefix(prefix.as_bytes()).unwrap_or_default();
    !digits.is_empty() && digits.iter().all(u8::is_ascii_digit)
}

/// Does a folder of this kind lead to the device, such as `usb1`?
pub(super) fn is_below(node: &Node, prefix: &str) -> bool {
    node.dir.iter().any(|part| is_numbered(part.as_bytes(), prefix))
}
