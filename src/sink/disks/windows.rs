//! Windows: what PowerShell's storage commands tell, as JSON. Written from their documents; never run on Windows.
//!
//! | asked                | for |
//! |----------------------|-----|
//! | `Get-Disk`           | disks, their length, bus and model; which of them Windows runs from |
//! | `Win32_DiskDrive`    | whether the medium can be taken out |
//! | `Get-Partition`, `Get-Volume` | what is on them, and where it can be reached |
//! | `Win32_PageFileUsage` | what is swapped to |
//!
//! Windows does not let anybody write into a volume with a mounted filesystem, and mounts every filesystem it knows as
//! soon as somebody looks. To lock volumes takes `DeviceIoControl`, which cannot be called without unsafe code. So a disk
//! with any volume on it is refused, with the command that empties it: without partitions there is nothing to mount.
//!
//! Documents: MSFT_Disk, MSFT_Partition and MSFT_Volume in Microsoft's Windows Storage Management API; "Blocking Direct
//! Write Operations to Volumes and Disks" in its driver documents.

#[cfg(windows)]
mod live;

use std::path::PathBuf;

use serde::{Deserialize, Deserializer};

use super::{Contents, Disk, Error, Kind, Obstacle, Partition, Signature, Transport, clean};
use crate::image::table::Label;

#[cfg(windows)]
pub use live::Windows;

/// Single quotes only, so that it survives every command line. Numbers that enumerations hide behind names are made words
/// here; both are understood.
#[cfg_attr(not(windows), allow(dead_code, reason = "only Windows is asked"))]
const SCRIPT: &str = "\
$ErrorActionPreference = 'Stop'; $ProgressPreference = 'SilentlyContinue'; \
[Console]::OutputEncoding = New-Object System.Text.UTF8Encoding $false; \
@{ \
Disks = @(Get-Disk | Select-Object Number, FriendlyName, SerialNumber, Size, LogicalSectorSize, IsBoot, IsSystem, \
IsReadOnly, @{n='BusType';e={[string]$_.BusType}}, @{n='PartitionStyle';e={[string]$_.PartitionStyle}}); \
Drives = @(Get-CimInstance Win32_DiskDrive | Select-Object Index, MediaType); \
Partitions = @(Get-Partition | Select-Object DiskNumber, PartitionNumber, Offset, Size, MbrType, GptType, \
@{n='AccessPaths';e={@($_.AccessPaths)}}); \
Volumes = @(Get-Volume | Select-Object Path, FileSystem, FileSystemLabel); \
PageFiles = @(Get-CimInstance Win32_PageFileUsage | ForEach-Object { [string]$_.Name }) \
} | ConvertTo-Json -Depth 4 -Compress";

/// What the script says.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Told {
    disks: Vec<MsftDisk>,
    drives: Vec<Drive>,
    partitions: Vec<MsftPartition>,
    volumes: Vec<Volume>,
    page_files: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct MsftDisk {
    number: u32,
    #[serde(default, deserialize_with = "or_default")]
    friendly_name: String,
    #[serde(default, deserialize_with = "or_default")]
    serial_number: String,
    #[serde(default, deserialize_with = "or_default")]
    size: u64,
    logical_sector_size: Option<u32>,
    // Not told is not no; who does not tell cannot be written to.
    is_boot: Option<bool>,
    is_system: Option<bool>,
    is_read_only: Option<bool>,
    #[serde(default, deserialize_with = "or_default")]
    bus_type: String,
    #[serde(default, deserialize_with = "or_default")]
    partition_style: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Drive {
    index: u32,
    #[serde(default, deserialize_with = "or_default")]
    media_type: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct MsftPartition {
    disk_number: u32,
    partition_number: u32,
    #[serde(default, deserialize_with = "or_default")]
    offset: u64,
    #[serde(default, deserialize_with = "or_default")]
    size: u64,
    mbr_type: Option<u16>,
    #[serde(default, deserialize_with = "or_default")]
    gpt_type: String,
    /// `E:\`, `C:\mnt\card\`, and for every volume `\\?\Volume{…}\`.
    #[serde(default, deserialize_with = "or_default")]
    access_paths: Vec<Option<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Volume {
    #[serde(default, deserialize_with = "or_default")]
    path: String,
    #[serde(default, deserialize_with = "or_default")]
    file_system: String,
    #[serde(default, deserialize_with = "or_default")]
    file_system_label: String,
}

/// PowerShell writes null for what it does not know.
fn or_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(from: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

impl MsftPartition {
    fn paths(&self) -> impl Iterator<Item = &str> {
        self.access_paths.iter().flatten().map(String::as_str).filter(|path| !path.is_empty())
    }

    /// Where people find it: its letters and folders.
    fn places(&self) -> impl Iterator<Item = &str> {
        self.paths().filter(|path| !path.starts_with(r"\\?\"))
    }
}

/// All disks there are, from what the script says.
fn disks(told: &str) -> Result<Vec<Disk>, Error> {
    let misunderstood = |what: &str| Error::Program {
        program: "powershell".into(),
        what: format!("is not understood: {what}"),
    };
    let told: Told = serde_json::from_str(told.trim_start_matches('\u{feff}'))
        .map_err(|error| misunderstood(&error.to_string()))?;
    if !told.disks.iter().any(|disk| disk.is_boot == Some(true) || disk.is_system == Some(true)) {
        // Then it is not known either which disk must never be written to.
        return Err(misunderstood("it names no disk that Windows runs from"));
    }
    let mut disks: Vec<Disk> = told.disks.iter().map(|disk| told.disk(disk)).collect();
    disks.sort_by_key(|disk| disk.number);
    Ok(disks)
}

impl Told {
    fn disk(&self, disk: &MsftDisk) -> Disk {
        let media = self
            .drives
            .iter()
            .find(|drive| drive.index == disk.number)
            .map(|drive| drive.media_type.as_str());
        let is_removable = media.is_some_and(|media| media.starts_with("Removable"));
        let path = node(disk.number);
        let partitions = self.partitions.iter().filter(|part| part.disk_number == disk.number);
        let parts: Vec<&MsftPartition> = partitions.collect();
        let mounts = parts.iter().flat_map(|part| {
            let device = self.device(part);
            part.places().map(move |place| (device.clone(), place.to_owned()))
        });
        let mut shown = Disk {
            name: format!("PhysicalDrive{}", disk.number),
            path,
            number: (0, disk.number),
            sequence: None,
            len_bytes: disk.size,
            block_len: disk.logical_sector_size,
            model: clean(disk.friendly_name.as_bytes()),
            serial: clean(disk.serial_number.as_bytes()),
            is_removable,
            transport: transport(&disk.bus_type, is_removable),
            contents: self.contents(disk, &parts),
            mounts: mounts.collect(),
            found: Vec::new(),
        };
        shown.found = self.obstacles(disk, &parts, &shown);
        shown
    }

    fn obstacles(&self, disk: &MsftDisk, parts: &[&MsftPartition], shown: &Disk) -> Vec<Obstacle> {
        let mut found = Vec::new();
        if matches!(disk.bus_type.as_str(), "Spaces" | "16") {
            found.push(Obstacle::NotWhole { what: "a storage space".to_owned(), disks: Vec::new() });
        }
        found.extend((disk.size == 0).then_some(Obstacle::NoMedium));
        let is_system = disk.is_boot != Some(false) || disk.is_system != Some(false);
        if is_system {
            let mounts = shown.mounts.iter().map(|(_, place)| place.clone()).collect();
            found.push(Obstacle::System { mounts });
        }
        for part in parts {
            let device = self.device(part);
            let is_swap =
                part.places().any(|place| self.page_files.iter().any(|file| starts_with(file, place)));
            if is_swap && !is_system {
                found.push(Obstacle::Swap { device: device.clone() });
            }
            let member = kind_of_type(part).map(|kind| Obstacle::Member { device: device.clone(), kind });
            found.extend(member);
            // Every volume counts, also one without a letter: whatever looks at it mounts it.
            if !is_system && part.paths().next().is_some() {
                let places: Vec<&str> = part.places().collect();
                let on = if places.is_empty() {
                    "no letter, which Windows mounts all the same".to_owned()
                } else {
                    places.join(", ")
                };
                let advice = shown.is_card_like().then(|| {
                    format!("`Clear-Disk -Number {} -RemoveData`, as an administrator, erases all of it, and then it can be flashed", disk.number)
                });
                found.push(Obstacle::Mounted { device, on, advice });
            }
        }
        found.extend((disk.size > 0 && disk.is_read_only != Some(false)).then_some(Obstacle::ReadOnly));
        found
    }

    fn contents(&self, disk: &MsftDisk, parts: &[&MsftPartition]) -> Contents {
        let table = match disk.partition_style.as_str() {
            "GPT" | "2" => Some(Label::Gpt),
            "MBR" | "1" => Some(Label::Mbr),
            _ => None,
        };
        let partitions = parts.iter().map(|part| Partition {
            path: self.device(part),
            number: part.partition_number,
            start_bytes: part.offset,
            len_bytes: part.size,
            holds: self.signature(part),
        });
        Contents::Read { table, whole: None, partitions: partitions.collect() }
    }

    fn signature(&self, part: &MsftPartition) -> Option<Signature> {
        let volume = self.volumes.iter().find(|volume| part.paths().any(|path| path == volume.path))?;
        let kind = match volume.file_system.as_str() {
            "FAT" => Kind::Fat16,
            "FAT32" => Kind::Fat32,
            "exFAT" => Kind::ExFat,
            "NTFS" => Kind::Ntfs,
            _ => return None,
        };
        let label = clean(volume.file_system_label.as_bytes());
        Some(Signature { kind, label: Some(label).filter(|label| !label.is_empty()) })
    }

    /// The name by which a partition is told; Windows has no node for one.
    fn device(&self, part: &MsftPartition) -> PathBuf {
        PathBuf::from(format!("{} partition {}", node(part.disk_number).display(), part.partition_number))
    }
}

/// Partitions that are parts of something larger.
fn kind_of_type(part: &MsftPartition) -> Option<Kind> {
    match part.gpt_type.to_ascii_lowercase().trim_matches(['{', '}']) {
        "5808c8aa-7e8f-42e0-85d2-e1e90434cfb3" | "af9b60a0-1431-4f62-bc68-3311714a69ad" => {
            Some(Kind::DynamicDisk)
        }
        "e75caf8f-f680-4cee-afa3-b001e56efc2d" => Some(Kind::StorageSpace),
        _ if part.mbr_type == Some(0x42) => Some(Kind::DynamicDisk),
        _ => None,
    }
}

fn starts_with(file: &str, place: &str) -> bool {
    file.get(..place.len()).is_some_and(|start| start.eq_ignore_ascii_case(place))
}

/// MSFT_Disk's BusType, by the name that PowerShell gives it or its number.
fn transport(bus: &str, is_removable: bool) -> Transport {
    match bus {
        "USB" | "7" => Transport::Usb,
        // The chip on a board says so as well; what cannot be taken out is taken for one.
        "SD" | "12" | "MMC" | "13" if is_removable => Transport::Mmc,
        "SD" | "12" | "MMC" | "13" => Transport::Emmc,
        "NVMe" | "17" => Transport::Nvme,
        "SATA" | "11" | "ATA" | "3" | "ATAPI" | "2" => Transport::Sata,
        "SCSI" | "1" | "Fibre Channel" | "6" | "RAID" | "8" | "iSCSI" | "9" | "SAS" | "10" => Transport::Scsi,
        "File Backed Virtual" | "15" => Transport::Loop,
        _ => Transport::Other,
    }
}

fn node(number: u32) -> PathBuf {
    PathBuf::from(format!(r"\\.\PhysicalDrive{number}"))
}

/// The number of the disk at `\\.\PhysicalDrive3`, however it is written.
#[cfg_attr(not(windows), allow(dead_code, reason = "tests ask it"))]
fn number(path: &str) -> Option<u32> {
    let path = path.replace('/', r"\").to_ascii_lowercase();
    let digits = path.strip_prefix(r"\\.\physicaldrive")?;
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?
}

#[cfg(test)]
mod tests;
