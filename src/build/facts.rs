//! Asks a base image what it is. Everything comes from the image; its file name is never looked at.

use uuid::Uuid;

use crate::base::ImagePath;
use crate::plan::{
    Arch, FileFact, FirstBoot, FirstUser, Found, NetworkStack, OsFacts, Owner, PartitionFact, PartitionUse,
    Release, Tree, Variant,
};

use super::Error;
use super::layout::{Layout, boot_mount_in};
use super::system::{Kind, System};

/// Configuration files are small; what is larger than this is no text that a plan could edit.
const TEXT_LIMIT_BYTES: u64 = 1 << 20;

/// Codenames by `VERSION_ID`, for jessie, whose os-release names no codename.
const CODENAMES: [(u32, &str); 6] =
    [(8, "jessie"), (9, "stretch"), (10, "buster"), (11, "bullseye"), (12, "bookworm"), (13, "trixie")];

/// Reads what there is to know, and everything at `wanted`. Mounts the boot partition where fstab says.
pub(super) fn read(
    system: &mut System<'_>,
    layout: &Layout,
    image_len_bytes: u64,
    wanted: &[ImagePath],
) -> Result<OsFacts, Error> {
    let boot_mount = boot_mount(system)?;
    system.mount_boot(boot_mount.clone());
    let mut tree = Tree::default();
    read_more(system, &mut tree, wanted)?;
    Ok(OsFacts {
        release: release(system)?,
        arch: arch(system)?,
        boot_mount,
        network: network(system)?,
        first_user: first_user(system)?,
        cloud_init: exists(system, "/usr/bin/cloud-init")?,
        first_boot: first_boot(system)?,
        disk_id: layout.table.disk_id(),
        partition_guids: layout.table.guids(),
        root_uuid: Uuid::from_bytes(system.root_uuid()),
        boot_serial: system.boot_serial(),
        image_len_bytes,
        digest: None,
        partitions: partitions(layout),
        tree,
    })
}

fn partitions(layout: &Layout) -> Vec<PartitionFact> {
    let used_for = |number: u32| match number {
        _ if number == layout.boot.number => PartitionUse::Boot,
        _ if number == layout.root.number => PartitionUse::Root,
        _ => PartitionUse::Other,
    };
    let mut partitions: Vec<PartitionFact> = layout
        .table
        .partitions()
        .iter()
        .map(|partition| PartitionFact {
            number: partition.number,
            used_for: used_for(partition.number),
            start_bytes: partition.start_bytes,
            len_bytes: partition.len_bytes,
        })
        .collect();
    partitions.sort_by_key(|partition| partition.start_bytes);
    partitions
}

/// Reads what is at `wanted` into `tree`.
pub(super) fn read_more(system: &mut System<'_>, tree: &mut Tree, wanted: &[ImagePath]) -> Result<(), Error> {
    for path in wanted {
        if let Some(found) = find(system, path)? {
            tree.insert(path.clone(), found);
        }
    }
    Ok(())
}

/// What is at `path`, links told and followed.
fn find(system: &mut System<'_>, path: &ImagePath) -> Result<Option<Found>, Error> {
    let link = system.read_link(path)?;
    let Some((kind, mode, Owner { uid, gid }, len_bytes)) = system.stat(path, true)? else {
        return Ok(link.map(|link| Found { link: Some(link), target: None }));
    };
    let target = match kind {
        Kind::File if len_bytes <= TEXT_LIMIT_BYTES => {
            FileFact::File { content: system.read_file(path, TEXT_LIMIT_BYTES)?, mode, uid, gid }
        }
        Kind::Directory => FileFact::Directory { names: system.read_dir(path)?, mode, uid, gid },
        Kind::File | Kind::Symlink | Kind::Other => FileFact::Other,
    };
    Ok(Some(Found { link, target: Some(target) }))
}

fn at(path: &str) -> Result<ImagePath, Error> {
    path.parse().map_err(|error: crate::base::ImagePathError| Error::NotAnOs(error.to_string()))
}

fn exists(system: &System<'_>, path: &str) -> Result<bool, Error> {
    Ok(system.stat(&at(path)?, true)?.is_some())
}

/// The text of a file; `None` when there is none of reasonable length.
fn text(system: &mut System<'_>, path: &str) -> Result<Option<String>, Error> {
    let path = at(path)?;
    match system.stat(&path, true)? {
        Some((Kind::File, _, _, len_bytes)) if len_bytes <= TEXT_LIMIT_BYTES => {
            let bytes = system.read_file(&path, TEXT_LIMIT_BYTES)?;
            Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
        }
        _ => Ok(None),
    }
}

/// The mount point of fstab's first vfat line that is the boot partition's: `/boot/firmware` or `/boot`.
fn boot_mount(system: &mut System<'_>) -> Result<ImagePath, Error> {
    let fstab = text(system, "/etc/fstab")?
        .ok_or_else(|| Error::NotAnOs("the root partition has no /etc/fstab".to_owned()))?;
    match boot_mount_in(&fstab) {
        Some(mount) => at(mount),
        None => {
            Err(Error::NotAnOs("/etc/fstab mounts no vfat partition at /boot or /boot/firmware".to_owned()))
        }
    }
}

fn release(system: &mut System<'_>) -> Result<Release, Error> {
    let os_release = match text(system, "/etc/os-release")? {
        Some(text) => text,
        None => text(system, "/usr/lib/os-release")?
            .ok_or_else(|| Error::NotAnOs("the root partition has no /etc/os-release".to_owned()))?,
    };
    let value = |key: &str| value_of(&os_release, key);
    let id = value("ID").unwrap_or_default();
    let pretty_name = value("PRETTY_NAME").unwrap_or_else(|| id.clone());
    if !matches!(id.as_str(), "debian" | "raspbian") {
        let found = format!("/etc/os-release says ID={id} ({pretty_name}), wanted debian or raspbian");
        return Err(Error::NotAnOs(found));
    }
    let named = value("VERSION_CODENAME");
    let by_name =
        |name: &str| CODENAMES.iter().find(|(_, known)| *known == name).map(|(version, _)| *version);
    let version = value("VERSION_ID")
        .and_then(|version| version.split('.').next()?.parse().ok())
        .or_else(|| by_name(named.as_deref()?))
        .ok_or_else(|| Error::NotAnOs("/etc/os-release tells no release (VERSION_ID)".to_owned()))?;
    if version < CODENAMES[0].0 {
        return Err(Error::NotAnOs(format!(
            "{pretty_name} is older than jessie, the oldest release known here"
        )));
    }
    let by_version =
        CODENAMES.iter().find(|(known, _)| *known == version).map(|(_, name)| (*name).to_owned());
    let codename = named.or(by_version).unwrap_or_else(|| version.to_string());
    let (reference, variant) = issue_of(&text(system, "/etc/rpi-issue")?.unwrap_or_default());
    Ok(Release { id, version, codename, pretty_name, reference, variant })
}

/// The value of `KEY=value` in an os-release, without quotes.
pub(super) fn value_of(os_release: &str, key: &str) -> Option<String> {
    os_release
        .lines()
        .find_map(|line| line.strip_prefix(key)?.strip_prefix('='))
        .map(|value| value.trim().trim_matches(['"', '\'']).to_owned())
}

/// What `/etc/rpi-issue` tells: the date of the image, and by pi-gen's last stage how much is in it.
pub(super) fn issue_of(issue: &str) -> (Option<String>, Option<Variant>) {
    let reference = issue
        .lines()
        .next()
        .and_then(|line| line.strip_prefix("Raspberry Pi reference "))
        .map(|date| date.trim().to_owned());
    let variant = [("stage2", Variant::Lite), ("stage4", Variant::Desktop), ("stage5", Variant::Full)]
        .into_iter()
        .find_map(|(stage, variant)| issue.contains(stage).then_some(variant));
    (reference, variant)
}

/// What tells the architecture first: every Debian has it.
pub(super) const DPKG: &str = "/usr/bin/dpkg";
/// As much of it as [`arch_of`] looks at.
pub(super) const ELF_HEAD_LEN: usize = 20;
/// dpkg's own list of architectures.
pub(super) const DPKG_ARCH: &str = "/var/lib/dpkg/arch";

/// From the ELF header of dpkg; from dpkg's own list where that is no ELF file.
fn arch(system: &mut System<'_>) -> Result<Arch, Error> {
    let dpkg = at(DPKG)?;
    let head = match system.stat(&dpkg, true)? {
        Some((Kind::File, ..)) => system.read_head::<ELF_HEAD_LEN>(&dpkg)?,
        _ => Vec::new(),
    };
    arch_of(&head, &text(system, DPKG_ARCH)?.unwrap_or_default())
}

/// The architecture by the first bytes of dpkg, or else by its list.
pub(super) fn arch_of(header: &[u8], listed: &str) -> Result<Arch, Error> {
    // EI_CLASS at 4, e_machine at 18 (ELF-64 Object File Format; little-endian here). 40: ARM, 183: AArch64.
    if header.len() >= ELF_HEAD_LEN && header.starts_with(b"\x7fELF") {
        return match (header[4], u16::from_le_bytes([header[18], header[19]])) {
            (1, 40) => Ok(Arch::Armhf),
            (2, 183) => Ok(Arch::Arm64),
            (class, machine) => {
                let found = format!("{DPKG} is an ELF file of class {class} for machine {machine}");
                Err(Error::NotAnOs(format!("{found}, wanted ARM (1, 40) or AArch64 (2, 183)")))
            }
        };
    }
    match listed.lines().next() {
        Some("armhf") => Ok(Arch::Armhf),
        Some("arm64") => Ok(Arch::Arm64),
        found => Err(Error::NotAnOs(format!(
            "no architecture found: {DPKG} is no ELF file and {DPKG_ARCH} begins with {found:?}"
        ))),
    }
}

/// By what is installed: bullseye has NetworkManager on board but uses dhcpcd, so dhcpcd decides first. Its
/// configuration alone says nothing: cloud-init brings in `dhcpcd-base`, a program without a unit.
fn network(system: &System<'_>) -> Result<NetworkStack, Error> {
    network_by(|path| exists(system, path))
}

/// The same for whoever can tell what exists.
pub(super) fn network_by<E>(exists: impl Fn(&str) -> Result<bool, E>) -> Result<NetworkStack, E> {
    if exists("/etc/dhcpcd.conf")?
        && (exists("/lib/systemd/system/dhcpcd.service")? || exists("/etc/init.d/dhcpcd")?)
    {
        return Ok(NetworkStack::Dhcpcd);
    }
    if exists("/usr/sbin/NetworkManager")? {
        return Ok(NetworkStack::NetworkManager);
    }
    if exists("/usr/sbin/netplan")? {
        return Ok(NetworkStack::Netplan);
    }
    Ok(NetworkStack::Unknown)
}

fn first_user(system: &mut System<'_>) -> Result<Option<FirstUser>, Error> {
    let passwd = text(system, "/etc/passwd")?
        .ok_or_else(|| Error::NotAnOs("the root partition has no /etc/passwd".to_owned()))?;
    Ok(passwd.lines().find_map(|line| match line.split(':').collect::<Vec<_>>()[..] {
        [name, _, "1000", gid, _, home, shell] => Some(FirstUser {
            name: name.to_owned(),
            uid: 1000,
            gid: gid.parse().ok()?,
            home: home.to_owned(),
            shell: shell.to_owned(),
        }),
        _ => None,
    }))
}

fn first_boot(system: &mut System<'_>) -> Result<FirstBoot, Error> {
    let cmdline = system.read_boot_file("cmdline.txt", TEXT_LIMIT_BYTES)?.unwrap_or_default();
    Ok(first_boot_of(&String::from_utf8_lossy(&cmdline)))
}

/// The same by the words of a cmdline.txt.
pub(super) fn first_boot_of(cmdline: &str) -> FirstBoot {
    let has = |wanted: fn(&str) -> bool| cmdline.split_whitespace().any(wanted);
    if has(|token| token.starts_with("init=") && token.ends_with("/init_resize.sh")) {
        FirstBoot::InitResize
    } else if has(|token| token.starts_with("init=") && token.ends_with("/raspberrypi-sys-mods/firstboot")) {
        FirstBoot::SysModsFirstboot
    } else if has(|token| token == "resize") {
        FirstBoot::ResizeWord
    } else {
        FirstBoot::None
    }
}
