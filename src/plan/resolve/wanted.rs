//! Every path that planning looks at, asked for before the image is opened.

use std::collections::BTreeSet;

use super::{growth, locale, ssh, units, users, wizard};
use crate::base::ImagePath;
use crate::plan::{Cluster, Settings};

/// Asked for on every image.
const ALWAYS: &[&str] = &[
    "/boot/cmdline.txt",
    "/boot/config.txt",
    "/boot/firmware/cmdline.txt",
    "/boot/firmware/config.txt",
    "/etc/NetworkManager/system-connections",
    "/etc/adduser.conf",
    "/etc/console-setup",
    "/etc/default/keyboard",
    "/etc/default/locale",
    "/etc/dhcpcd.conf",
    "/etc/fstab",
    "/etc/group",
    "/etc/gshadow",
    "/etc/hostname",
    "/etc/hosts",
    "/etc/locale.conf",
    "/etc/locale.gen",
    "/etc/localtime",
    "/etc/machine-id",
    "/etc/netplan/90-cardpress.yaml",
    "/etc/passwd",
    "/etc/shadow",
    "/etc/ssh",
    "/etc/ssh/ssh_host_ed25519_key",
    "/etc/ssh/ssh_host_ed25519_key.pub",
    "/etc/ssh/ssh_known_hosts",
    "/etc/ssh/sshd_config",
    "/etc/ssh/sshd_config.d/10-cardpress.conf",
    "/etc/subgid",
    "/etc/subuid",
    "/etc/sudoers.d/010_pi-nopasswd",
    "/etc/timezone",
    "/etc/wpa_supplicant/wpa_supplicant.conf",
    "/home",
    "/home/pi",
    "/home/rpi-first-boot-wizard",
    "/usr/sbin/sshd",
    "/var/lib/NetworkManager/NetworkManager.state",
    "/var/lib/dbus/machine-id",
    "/var/lib/systemd/credential.secret",
    "/var/lib/systemd/random-seed",
    "/var/lib/systemd/rfkill",
];

/// Units that planning deals with whatever the profile says.
const UNITS: [&str; 8] = [
    "cardpress-first-boot.service",
    "getty@tty1.service",
    "regenerate_ssh_host_keys.service",
    "ssh.service",
    "ssh.socket",
    growth::GROWFS,
    growth::RPI_RESIZE,
    wizard::UNIT,
];

/// Every path whose presence or text [`super::resolve`] looks at, sorted: to be read once into `OsFacts.tree`.
/// Files whole up to 1 MiB, directories' names, links. Knows no image yet, so it names every place that a thing
/// may be in.
#[must_use]
pub fn wanted_paths(cluster: &Cluster) -> Vec<ImagePath> {
    let mut paths: BTreeSet<String> = ALWAYS.iter().map(|&path| path.to_owned()).collect();
    let fixed = [ssh::REGENERATE, units::PRESET, wizard::LIGHTDM, wizard::AUTOLOGIN];
    paths.extend(fixed.into_iter().chain(wizard::LEFTOVERS).chain(units::UNIT_DIRS).map(str::to_owned));
    paths.extend(units::WANTS_DIRS.iter().map(|dir| format!("/etc/systemd/system/{dir}")));
    UNITS.iter().for_each(|unit| add_unit(unit, &mut paths));
    paths.extend(users::SKEL.iter().map(|name| format!("/etc/skel/{name}")));
    add_home("pi", &mut paths);
    for node in &cluster.nodes {
        add_settings(&node.settings, &mut paths);
    }
    // Names come from the profile, which has checked them; one that is no path is a fault of its section.
    let mut paths: Vec<ImagePath> = paths.iter().filter_map(|path| path.parse().ok()).collect();
    paths.sort();
    paths.dedup();
    paths
}

fn add_settings(settings: &Settings, paths: &mut BTreeSet<String>) {
    for unit in settings.units_enable.iter().chain(&settings.units_disable).chain(&settings.units_mask) {
        add_unit(unit, paths);
    }
    for user in &settings.users {
        add_home(&user.name, paths);
        paths.insert(format!("/etc/sudoers.d/010_{}-nopasswd", user.name.replace('.', "_")));
        paths.extend(user.shell.clone());
    }
    paths.extend(settings.timezone.iter().map(|zone| format!("{}/{zone}", locale::ZONES)));
    paths.extend(settings.fstab.iter().map(|line| line.mount.clone()).filter(|mount| mount.starts_with('/')));
    paths.extend(settings.files.iter().map(|file| file.path.to_string()));
    paths.extend(settings.directories.iter().map(|directory| directory.path.to_string()));
    paths.extend(settings.symlinks.iter().map(|link| link.path.to_string()));
    paths.extend(settings.removals.iter().map(ToString::to_string));
}

fn add_unit(unit: &str, paths: &mut BTreeSet<String>) {
    for name in std::iter::once(unit.to_owned()).chain(units::template_of(unit)) {
        paths.extend(units::UNIT_DIRS.iter().map(|dir| format!("{dir}/{name}")));
    }
}

fn add_home(user: &str, paths: &mut BTreeSet<String>) {
    let home = format!("/home/{user}");
    let names = [".ssh", ".ssh/authorized_keys", ".ssh/id_ed25519", ".ssh/id_ed25519.pub"];
    paths.extend(names.iter().chain(&users::SKEL).map(|name| format!("{home}/{name}")));
    paths.insert(home);
}
