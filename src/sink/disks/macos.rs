//! macOS: what `diskutil` tells, as property lists. Written from its manual and samples of its answers; never run on a Mac.
//!
//! | asked                      | for |
//! |----------------------------|-----|
//! | `diskutil list -plist`     | disks, their partitions, the APFS containers made of them, and where all that is mounted |
//! | `diskutil info -plist DISK` | length, bus, model, and whether it can be taken out or written |
//!
//! An APFS container is shown as a disk of its own that stands on partitions of others (`APFSPhysicalStores`). What is
//! mounted from it is counted to those.

#[cfg(target_os = "macos")]
mod live;
mod plist;

use std::path::PathBuf;

use serde::Deserialize;

use super::{Contents, Disk, Error, Kind, Obstacle, Partition, Signature, Transport, clean};
use crate::image::table::Label;

#[cfg(target_os = "macos")]
pub use live::MacOs;
#[cfg(target_os = "macos")]
pub(in crate::sink) use live::raw_node;

const DISKUTIL: &str = "/usr/sbin/diskutil";
/// How deep disks stand on each other at the most: container, partition, disk.
const STACK_MAX: usize = 8;

/// `diskutil list -plist`
#[derive(Debug, Deserialize)]
struct List {
    #[serde(rename = "AllDisksAndPartitions")]
    entries: Vec<Entry>,
}

/// A disk, a partition or a volume in that list.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    device_identifier: String,
    #[serde(default)]
    content: String,
    #[serde(default)]
    size: u64,
    #[serde(default)]
    volume_name: String,
    #[serde(default)]
    mount_point: String,
    #[serde(default)]
    partitions: Vec<Entry>,
    #[serde(default, rename = "APFSVolumes")]
    volumes: Vec<Entry>,
    #[serde(default, rename = "APFSPhysicalStores")]
    stores: Vec<Store>,
    #[serde(default)]
    mounted_snapshots: Vec<Snapshot>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Store {
    device_identifier: String,
}

/// Since macOS 11 the system itself is mounted as a snapshot of its volume.
#[derive(Clone, Debug, Deserialize)]
struct Snapshot {
    #[serde(default, rename = "SnapshotBSD")]
    device: String,
    #[serde(default, rename = "SnapshotMountPoint")]
    mount_point: String,
}

/// `diskutil info -plist DISK`
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Info {
    #[serde(default)]
    bus_protocol: String,
    #[serde(default)]
    media_name: String,
    #[serde(default, rename = "IORegistryEntryName")]
    registry_name: String,
    #[serde(default)]
    total_size: Option<u64>,
    #[serde(default)]
    size: Option<u64>,
    #[serde(default)]
    device_block_size: Option<u32>,
    #[serde(default)]
    internal: Option<bool>,
    #[serde(default)]
    removable_media: Option<bool>,
    #[serde(default)]
    writable_media: Option<bool>,
    #[serde(default)]
    virtual_or_physical: String,
    #[serde(default)]
    optical_device_type: Option<String>,
}

/// The whole disks in the answer to `diskutil list -plist`, for each of which `diskutil info` is asked.
fn names(list: &str) -> Result<Vec<String>, Error> {
    let list: List = plist::parse(list).map_err(|what| misunderstood("diskutil list", &what))?;
    Ok(list.entries.into_iter().map(|entry| entry.device_identifier).collect())
}

/// All disks there are, APFS containers included, from the answers of `diskutil`: its list, and names with what it told of
/// each.
fn disks(list: &str, infos: &[(String, String)]) -> Result<Vec<Disk>, Error> {
    let list: List = plist::parse(list).map_err(|what| misunderstood("diskutil list", &what))?;
    let mut disks = Vec::new();
    for (name, info) in infos {
        let Some(entry) = list.entries.iter().find(|entry| entry.device_identifier == *name) else {
            continue;
        };
        let info: Info = plist::parse(info).map_err(|what| misunderstood("diskutil info", &what))?;
        disks.push(disk(&list, entry, &info));
    }
    let is_system = |disk: &Disk| disk.found.iter().any(|found| matches!(found, Obstacle::System { .. }));
    if !disks.iter().any(is_system) {
        // Then it is not known either which disk must never be written to.
        return Err(misunderstood("diskutil list", "no disk has `/`"));
    }
    disks.sort_by_key(|disk| disk.number);
    Ok(disks)
}

fn misunderstood(question: &str, what: &str) -> Error {
    Error::Program { program: DISKUTIL.into(), what: format!("is not understood ({question}): {what}") }
}

fn disk(list: &List, entry: &Entry, info: &Info) -> Disk {
    let name = &entry.device_identifier;
    let transport = transport(info);
    let len_bytes = info.total_size.or(info.size).unwrap_or(entry.size);
    // An image that is attached says that it can be taken out, and is no card.
    let is_removable = info.removable_media == Some(true) && transport != Transport::Loop;
    let mut disk = Disk {
        path: node(name),
        name: name.clone(),
        number: (0, number(name).unwrap_or(u32::MAX)),
        sequence: None,
        len_bytes,
        block_len: info.device_block_size,
        model: clean(
            if info.media_name.is_empty() { &info.registry_name } else { &info.media_name }.as_bytes(),
        ),
        serial: String::new(),
        is_removable,
        transport,
        contents: contents(entry),
        mounts: mounts(list, entry, STACK_MAX),
        found: Vec::new(),
    };
    disk.found = obstacles(entry, info, &disk);
    disk
}

fn obstacles(entry: &Entry, info: &Info, disk: &Disk) -> Vec<Obstacle> {
    let mut found = Vec::new();
    if !entry.stores.is_empty() {
        let stores = entry.stores.iter().map(|store| node(whole(&store.device_identifier)));
        found.push(Obstacle::NotWhole { what: "an APFS container".to_owned(), disks: stores.collect() });
    }
    if info.optical_device_type.is_some() {
        found.push(Obstacle::NotADisk("an optical drive"));
    }
    found.extend((disk.len_bytes == 0).then_some(Obstacle::NoMedium));
    let (system, others): (Vec<_>, Vec<_>) = disk.mounts.iter().partition(|(_, on)| is_system(on));
    let is_system = !system.is_empty();
    if is_system {
        let mounts = system.into_iter().map(|(_, on)| on.clone()).collect();
        found.push(Obstacle::System { mounts });
    }
    for (device, on) in others {
        let advice = format!("`diskutil unmountDisk {}` unmounts all of it", disk.path.display());
        let advice = (!is_system).then_some(advice);
        found.push(Obstacle::Mounted { device: device.clone(), on: on.clone(), advice });
    }
    for part in std::iter::once(entry).chain(&entry.partitions) {
        let member = kind(&part.content).filter(|kind| kind.is_member());
        let device = node(&part.device_identifier);
        found.extend(member.map(|kind| Obstacle::Member { device, kind }));
    }
    found.extend((info.writable_media == Some(false)).then_some(Obstacle::ReadOnly));
    found
}

/// The running system: its sealed volume, and those that it puts beside that (data, swap, the preboot files).
fn is_system(on: &str) -> bool {
    on == "/" || on == "/private/var/vm" || on.starts_with("/System/Volumes/")
}

/// Where it, its partitions and the containers that stand on them are mounted.
fn mounts(list: &List, entry: &Entry, depth: usize) -> Vec<(PathBuf, String)> {
    let mut all = Vec::new();
    let parts = std::iter::once(entry).chain(&entry.partitions).chain(&entry.volumes);
    for part in parts {
        all.push((&part.device_identifier, &part.mount_point));
        all.extend(part.mounted_snapshots.iter().map(|snapshot| (&snapshot.device, &snapshot.mount_point)));
    }
    all.retain(|(_, on)| !on.is_empty());
    let mut all: Vec<(PathBuf, String)> =
        all.into_iter().map(|(device, on)| (node(device), on.clone())).collect();
    let stands_on = |other: &&Entry| {
        other.stores.iter().any(|store| whole(&store.device_identifier) == entry.device_identifier)
    };
    if depth > 0 {
        for container in list.entries.iter().filter(stands_on) {
            all.extend(mounts(list, container, depth - 1));
        }
    }
    all
}

fn contents(entry: &Entry) -> Contents {
    let table = match entry.content.as_str() {
        "GUID_partition_scheme" => Some(Label::Gpt),
        "FDisk_partition_scheme" => Some(Label::Mbr),
        _ => None,
    };
    let partitions = entry.partitions.iter().filter_map(|part| {
        Some(Partition {
            path: node(&part.device_identifier),
            number: part.device_identifier.rsplit_once('s')?.1.parse().ok()?,
            // Not told.
            start_bytes: 0,
            len_bytes: part.size,
            holds: signature(part),
        })
    });
    Contents::Read { table, whole: signature(entry), partitions: partitions.collect() }
}

fn signature(entry: &Entry) -> Option<Signature> {
    let label = clean(entry.volume_name.as_bytes());
    Some(Signature { kind: kind(&entry.content)?, label: Some(label).filter(|label| !label.is_empty()) })
}

/// The types of partitions as `diskutil` names them. A type that several filesystems share says nothing.
fn kind(content: &str) -> Option<Kind> {
    Some(match content {
        "DOS_FAT_12" => Kind::Fat12,
        "DOS_FAT_16" | "DOS_FAT_16_S" | "Windows_FAT_16" => Kind::Fat16,
        "DOS_FAT_32" | "Windows_FAT_32" | "EFI" => Kind::Fat32,
        "Apple_HFS" | "Apple_HFSX" | "Apple_Boot" => Kind::Hfs,
        "Apple_APFS" | "Apple_APFS_ISC" | "Apple_APFS_Recovery" => Kind::Apfs,
        "Apple_CoreStorage" => Kind::CoreStorage,
        "Apple_RAID" | "Apple_RAID_Offline" => Kind::AppleRaid,
        "Linux_LVM" => Kind::Lvm,
        "Linux_RAID" => Kind::Raid,
        "Linux_Swap" => Kind::Swap,
        "ZFS" => Kind::Zfs,
        _ => return None,
    })
}

fn transport(info: &Info) -> Transport {
    match info.bus_protocol.as_str() {
        "USB" => Transport::Usb,
        "Secure Digital" => Transport::Mmc,
        "SATA" | "ATA" | "ATAPI" => Transport::Sata,
        "SAS" | "SCSI" | "Fibre Channel Interface" => Transport::Scsi,
        // Also disks on Thunderbolt. "Apple Fabric" is the disk of a Mac with a processor of Apple's.
        "PCI-Express" | "PCI" | "Apple Fabric" => Transport::Nvme,
        "Virtual Interface" if info.internal == Some(true) => Transport::Virtio,
        "Disk Image" | "Virtual Interface" => Transport::Loop,
        _ if info.virtual_or_physical == "Virtual" => Transport::Loop,
        _ => Transport::Other,
    }
}

/// `disk4` of `disk4`, `disk4s1` and `disk4s1s1`.
fn whole(name: &str) -> &str {
    let digits =
        name.strip_prefix("disk").map_or(0, |rest| rest.bytes().take_while(u8::is_ascii_digit).count());
    name.get(.."disk".len() + digits).unwrap_or(name)
}

/// 4 of `disk4`.
fn number(name: &str) -> Option<u32> {
    whole(name).strip_prefix("disk")?.parse().ok()
}

fn node(name: &str) -> PathBuf {
    PathBuf::from(format!("/dev/{name}"))
}

/// The disk that a node in `/dev` is of, by its name: `disk4`, `disk4s1`, and the raw ones, `rdisk4`. A part is found
/// with an obstacle that names the disk.
#[cfg_attr(not(target_os = "macos"), allow(dead_code, reason = "tests ask it"))]
fn pick(disks: Vec<Disk>, node_name: &str) -> Option<Disk> {
    let name = node_name.strip_prefix('r').unwrap_or(node_name);
    let disk = disks.into_iter().find(|disk| disk.name == whole(name))?;
    if disk.name == name {
        return Some(disk);
    }
    let is_container = disk.found.iter().any(|found| matches!(found, Obstacle::NotWhole { .. }));
    let what = if is_container { "an APFS volume" } else { "a partition" }.to_owned();
    let not_whole = Obstacle::NotWhole { what, disks: vec![disk.path.clone()] };
    Some(Disk { path: node(name), name: name.to_owned(), found: vec![not_whole], ..disk })
}

#[cfg(test)]
mod tests;
