//! Every path that planning looks at: asked for before the image is opened, then what its own files lead to.

use std::collections::BTreeSet;

use super::{apt, growth, known, ssh, units, users, wizard};
use crate::base::ImagePath;
use crate::plan::{Cluster, Node, OsFacts, Settings};

/// Asked for on every image.
const ALWAYS: &[&str] = &[
    "/bin",
    "/boot/cmdline.txt",
    "/boot/config.txt",
    "/boot/firmware/cmdline.txt",
    "/boot/firmware/config.txt",
    "/etc/NetworkManager/system-connections",
    "/etc/adduser.conf",
    "/etc/cardpress-release",
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
    "/lib",
    "/sbin",
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
/// may be in. [`more_paths`] follows.
#[must_use]
pub fn wanted_paths(cluster: &Cluster) -> Vec<ImagePath> {
    let mut paths: BTreeSet<String> = ALWAYS.iter().map(|&path| path.to_owned()).collect();
    let fixed = [ssh::REGENERATE, units::PRESET, wizard::LIGHTDM, wizard::AUTOLOGIN];
    paths.extend(fixed.into_iter().chain(wizard::LEFTOVERS).chain(units::UNIT_DIRS).map(str::to_owned));
    paths.extend(units::WANTS_DIRS.iter().map(|dir| format!("/etc/systemd/system/{dir}")));
    UNITS.iter().for_each(|unit| add_unit(unit, &mut paths));
    paths.extend(users::SKEL.iter().map(|name| format!("/etc/skel/{name}")));
    add_home("/home/pi", &mut paths);
    for node in &cluster.nodes {
        add_settings(&node.settings, &mut paths);
    }
    to_paths(paths)
}

/// What can be asked for only once the first answers are there: homes as passwd has them, and units that other
/// units name with `Also=`. To be asked again as long as it names something new.
#[must_use]
pub fn more_paths(cluster: &Cluster, facts: &OsFacts) -> Vec<ImagePath> {
    let mut paths = BTreeSet::new();
    let mut texts: Vec<&str> = Vec::new();
    for unit in UNITS {
        texts.extend(unit_texts(unit, facts));
    }
    for Node { settings, .. } in &cluster.nodes {
        for unit in &settings.units_enable {
            texts.extend(unit_texts(unit, facts));
        }
        add_own_homes(settings, facts, &mut paths);
        known::more(settings, &facts.tree, &mut paths);
    }
    // `Also=` of what was asked for in the round before is known by the units it led to.
    let mut seen = BTreeSet::new();
    while let Some(text) = texts.pop() {
        for also in units::also(text) {
            if seen.len() < 64 && seen.insert(also.clone()) {
                texts.extend(unit_texts(&also, facts));
                add_unit(&also, &mut paths);
            }
        }
    }
    to_paths(paths)
}

/// The texts of a unit that are known so far.
fn unit_texts<'f>(unit: &str, facts: &'f OsFacts) -> Vec<&'f str> {
    let mut places = BTreeSet::new();
    add_unit(unit, &mut places);
    places.iter().filter_map(|path| facts.tree.text(path)).collect()
}

/// Homes where passwd has them, and every directory on the way to a path of the profile in a home: whether it is
/// there decides who it will belong to. What is in the home of a new name may come from that of the shipped user.
fn add_own_homes(settings: &Settings, facts: &OsFacts, paths: &mut BTreeSet<String>) {
    let mut homes: Vec<ImagePath> = Vec::new();
    let passwd = facts.tree.text("/etc/passwd").unwrap_or_default();
    for line in passwd.lines() {
        let fields: Vec<&str> = line.split(':').collect();
        let [name, _, uid, _, _, home, ..] = fields[..] else { continue };
        let named = settings.users.iter().any(|user| user.name == name);
        if named || uid.parse().is_ok_and(|uid: u32| uid >= 1000) {
            homes.extend(home.parse::<ImagePath>().ok().filter(|home| *home != ImagePath::root()));
        }
        if named || uid == "1000" {
            add_home(home, paths);
        }
    }
    homes.extend(settings.users.iter().filter_map(|user| format!("/home/{}", user.name).parse().ok()));
    let files = settings.files.iter().map(|file| &file.path);
    let directories = settings.directories.iter().map(|directory| &directory.path);
    for path in files.chain(directories).chain(settings.symlinks.iter().map(|link| &link.path)) {
        let Some(inside) = homes.iter().find_map(|home| path.below(home)) else { continue };
        for home in &homes {
            let mut next = home.join(inside).ok();
            while let Some(dir) = next.filter(|dir| dir.below(home).is_some()) {
                paths.insert(dir.to_string());
                next = dir.parent();
            }
        }
    }
}

/// Sorted. Where /usr may be merged, both spellings.
fn to_paths(mut paths: BTreeSet<String>) -> Vec<ImagePath> {
    let merged = |path: &&String| ["/bin/", "/lib/", "/sbin/"].iter().any(|top| path.starts_with(top));
    let twins: Vec<String> = paths.iter().filter(merged).map(|path| format!("/usr{path}")).collect();
    paths.extend(twins);
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
        add_home(&format!("/home/{}", user.name), paths);
        paths.insert(format!("/etc/sudoers.d/010_{}-nopasswd", user.name.replace('.', "_")));
        paths.extend(user.shell.clone());
    }
    paths.extend(known::wanted(settings));
    paths.extend(settings.fstab.iter().map(|line| line.mount.clone()).filter(|mount| mount.starts_with('/')));
    paths.extend(settings.files.iter().map(|file| file.path.to_string()));
    paths.extend(settings.directories.iter().map(|directory| directory.path.to_string()));
    paths.extend(settings.symlinks.iter().map(|link| link.path.to_string()));
    paths.extend(settings.apt.iter().map(|source| apt::sources_path(&source.name)));
    paths.extend(settings.removals.iter().map(ToString::to_string));
}

fn add_unit(unit: &str, paths: &mut BTreeSet<String>) {
    for name in std::iter::once(unit.to_owned()).chain(units::template_of(unit)) {
        paths.extend(units::UNIT_DIRS.iter().map(|dir| format!("{dir}/{name}")));
    }
}

fn add_home(home: &str, paths: &mut BTreeSet<String>) {
    let names = [".ssh", ".ssh/authorized_keys", ".ssh/id_ed25519", ".ssh/id_ed25519.pub"];
    paths.extend(names.iter().chain(&users::SKEL).map(|name| format!("{home}/{name}")));
    paths.insert(home.to_owned());
}
