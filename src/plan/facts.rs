//! What a base image says of itself. Read by `build`, from the image and never from its file name.

use std::collections::BTreeMap;

use uuid::Uuid;

use crate::base::{Arch, ImagePath, Sha256Digest, Variant};

/// Everything a plan may depend on besides the profile and the seed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OsFacts {
    /// Which release.
    pub release: Release,
    /// For which processors.
    pub arch: Arch,
    /// Where the boot partition is mounted: `/boot` up to bullseye, `/boot/firmware` since. From fstab.
    pub boot_mount: ImagePath,
    /// Who brings up the network.
    pub network: NetworkStack,
    /// The account with uid 1000, if there is one.
    pub first_user: Option<FirstUser>,
    /// Is cloud-init installed?
    pub cloud_init: bool,
    /// What the image does by itself on its first boot.
    pub first_boot: FirstBoot,
    /// The disk identifier of the partition table; `None` for GPT.
    pub disk_id: Option<u32>,
    /// The partitions' GUIDs by number, lower case; none for MBR, whose `PARTUUID`s come from the disk identifier.
    pub partition_guids: Vec<(u32, Uuid)>,
    /// The UUID of the root filesystem.
    pub root_uuid: Uuid,
    /// The serial number of the boot filesystem.
    pub boot_serial: u32,
    /// The length of the image in bytes.
    pub image_len_bytes: u64,
    /// The digest of its bytes, see [`crate::base::ChunkDigests::root`]; `None` for one that is changed where it is, which is
    /// nobody's base.
    pub digest: Option<Sha256Digest>,
    /// Its partitions, in the order they lie in.
    pub partitions: Vec<PartitionFact>,
    /// The paths that planning asked for, as they are in the image.
    pub tree: Tree,
}

/// A partition of the image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartitionFact {
    /// Its number, from 1.
    pub number: u32,
    /// What it is for.
    pub used_for: PartitionUse,
    /// Where it begins, in bytes from the start of the image.
    pub start_bytes: u64,
    /// How long it is, in bytes.
    pub len_bytes: u64,
}

/// What a partition is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PartitionUse {
    /// What the firmware reads (FAT).
    Boot,
    /// What Linux starts from (ext4).
    Root,
    /// Anything else.
    Other,
}

/// `/etc/os-release` and `/etc/rpi-issue`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Release {
    /// `ID=`: `debian` or `raspbian`.
    pub id: String,
    /// 8 for jessie … 13 for trixie. Decide by features where one shows; this is for messages and for the few
    /// things that leave no trace.
    pub version: u32,
    /// `VERSION_CODENAME=`, or what goes with the version.
    pub codename: String,
    /// `PRETTY_NAME=`.
    pub pretty_name: String,
    /// The date in `/etc/rpi-issue`, `YYYY-MM-DD`; `None` for an image not made by pi-gen.
    pub reference: Option<String>,
    /// The stage named in `/etc/rpi-issue`.
    pub variant: Option<Variant>,
}

/// Who brings up the network, and so which files say how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NetworkStack {
    /// `/etc/dhcpcd.conf`, with `/etc/wpa_supplicant/wpa_supplicant.conf`: Raspberry Pi OS up to bullseye.
    Dhcpcd,
    /// Keyfiles in `/etc/NetworkManager/system-connections`: bookworm, and trixie, where netplan is the store
    /// but a keyfile written by hand is read all the same.
    NetworkManager,
    /// `/etc/netplan/*.yaml` without NetworkManager: Debian's cloud images.
    Netplan,
    /// None of these.
    Unknown,
}

/// An account of the image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FirstUser {
    /// Its name: `pi` as shipped.
    pub name: String,
    /// 1000.
    pub uid: u32,
    /// Its primary group.
    pub gid: u32,
    /// Its home.
    pub home: String,
    /// Its shell.
    pub shell: String,
}

/// What the image's own first boot does, told by the tokens of its cmdline.txt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FirstBoot {
    /// `init=/usr/lib/raspi-config/init_resize.sh`: jessie to bullseye 2022-04. Grows the partition, draws a new
    /// disk id, reboots.
    InitResize,
    /// `init=/usr/lib/raspberrypi-sys-mods/firstboot`: bullseye from 2022-09, bookworm. The same, and makes new
    /// ssh host keys.
    SysModsFirstboot,
    /// The bare word `resize`: trixie. Done in the initramfs, then by systemd units with `ConditionFirstBoot`.
    ResizeWord,
    /// None: no Raspberry Pi OS, or booted before.
    None,
}

/// The parts of the image's tree that planning looks at. Holds what it was asked for and nothing else.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tree(BTreeMap<ImagePath, Found>);

/// What is at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The text of the symlink, when the path itself is one.
    pub link: Option<String>,
    /// What the path leads to, links followed inside the image; `None` when that is missing.
    pub target: Option<FileFact>,
}

/// A file or directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FileFact {
    /// A regular file, whole.
    File {
        /// All its bytes.
        content: Vec<u8>,
        /// Permission bits.
        mode: u16,
        /// Its user.
        uid: u32,
        /// Its group.
        gid: u32,
    },
    /// A directory, with the names in it, sorted.
    Directory {
        /// The names, without `.` and `..`.
        names: Vec<String>,
        /// Permission bits.
        mode: u16,
        /// Its user.
        uid: u32,
        /// Its group.
        gid: u32,
    },
    /// A device, socket or pipe, or a file too large to be a configuration file.
    Other,
}

impl Tree {
    /// Notes what is at `path`.
    pub fn insert(&mut self, path: ImagePath, found: Found) {
        self.0.insert(path, found);
    }

    /// What is at `path`; `None` when nothing is there or it was not asked for.
    #[must_use]
    pub fn get(&self, path: &str) -> Option<&Found> {
        self.0.get(&path.parse().ok()?)
    }

    /// Is anything there, a dangling link included?
    #[must_use]
    pub fn exists(&self, path: &str) -> bool {
        self.get(path).is_some()
    }

    /// The text of a regular file; `None` when there is none or it is not UTF-8.
    #[must_use]
    pub fn text(&self, path: &str) -> Option<&str> {
        match self.get(path)?.target.as_ref()? {
            FileFact::File { content, .. } => std::str::from_utf8(content).ok(),
            _ => None,
        }
    }

    /// The names in a directory, sorted; none when there is no such directory.
    #[must_use]
    pub fn names(&self, path: &str) -> &[String] {
        match self.get(path).and_then(|found| found.target.as_ref()) {
            Some(FileFact::Directory { names, .. }) => names,
            _ => &[],
        }
    }
}
