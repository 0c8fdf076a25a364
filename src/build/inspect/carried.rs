//! What an image will do by itself when it is first started, and what customisation it carries already: ours, Imager's,
//! cloud-init's.

use serde::Serialize;

use super::boot::words;
use super::look::{Look, Unread};
use super::ssh::is_enabled;
use crate::build::facts::first_boot_of;
use crate::plan::{FirstBoot, HOSTS_BEGIN, HOSTS_END, Marker};

/// Nodes of a cluster that are told by name.
const NODES_MAX: usize = 100;

/// Something that happens on the first boot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Step {
    /// The word of the command line, the unit or the file that brings it about.
    pub by: String,
    /// What it does.
    pub what: &'static str,
}

/// A trace of somebody who has changed the image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Trace {
    /// `cardpress`, `imager`, `cloud-init`, `user`.
    pub by: &'static str,
    /// What was found.
    pub what: String,
    /// Where: a path of the system, or a file of the boot partition, whose path has no `/` in front.
    pub path: String,
}

/// Units that are there for the first boot only.
const UNITS: [(&str, &str); 6] = [
    ("userconfig.service", "asks for the first user, or takes him from userconf.txt"),
    ("regenerate_ssh_host_keys.service", "makes ssh host keys"),
    ("sshd-keygen.service", "makes the ssh host keys that are missing"),
    ("rpi-resize.service", "grows the root filesystem"),
    ("cardpress-first-boot.service", "runs the first-boot steps that cardpress put in"),
    ("resize2fs_once.service", "grows the root filesystem"),
];

/// Files of the boot partition that the first boot takes up: name, whose, what.
const BOOT_FILES: [(&str, &str, &str); 10] = [
    ("firstrun.sh", "imager", "a script that runs once"),
    ("custom.toml", "imager", "settings, for bullseye and bookworm"),
    ("rpi-preseed.toml", "imager", "settings"),
    ("userconf.txt", "user", "the first user"),
    ("userconf", "user", "the first user"),
    ("ssh", "user", "turns ssh on"),
    ("ssh.txt", "user", "turns ssh on"),
    ("wpa_supplicant.conf", "user", "Wi-Fi, up to bullseye"),
    ("user-data", "cloud-init", "settings"),
    ("network-config", "cloud-init", "the network"),
];

/// What cardpress leaves, and in whose words it is told.
const OURS: [(&str, &str); 7] = [
    ("/usr/local/lib/cardpress", "first-boot steps"),
    ("/etc/ssh/sshd_config.d/10-cardpress.conf", "settings of ssh"),
    ("/etc/systemd/system-preset/00-cardpress.preset", "units on and off"),
    ("/etc/netplan/90-cardpress.yaml", "the network"),
    ("/etc/sysctl.d/90-cardpress.conf", "settings of the kernel"),
    ("/etc/modules-load.d/cardpress.conf", "modules of the kernel"),
    ("/var/lib/cardpress", "the state of the first boot: it was started"),
];

/// What happens on the first boot. Either partition may be missing.
pub(super) fn first_boot(
    boot: Option<&Look<'_, '_>>,
    root: Option<&Look<'_, '_>>,
    command_line: &str,
) -> Result<Vec<Step>, Unread> {
    let mut steps = Vec::new();
    let mut step = |by: &str, what| steps.push(Step { by: by.to_owned(), what });
    let grows = "grows the root partition and its filesystem, and draws a new disk id";
    match first_boot_of(command_line.lines().next().unwrap_or_default()) {
        FirstBoot::InitResize => step("init_resize.sh", grows),
        FirstBoot::SysModsFirstboot => step(
            "firstboot",
            "grows the root partition and its filesystem, draws a new disk id, and makes ssh host keys",
        ),
        FirstBoot::ResizeWord => step("resize", grows),
        FirstBoot::None => {}
    }
    if let Some(word) = words(command_line).find_map(|word| word.strip_prefix("systemd.run=")) {
        step(word, "runs instead of the system, once");
    }
    if let Some(root) = root {
        for (unit, what) in UNITS {
            if is_enabled(root, unit)? {
                step(unit, what);
            }
        }
        if root.exists("/etc/init.d/resize2fs_once")? {
            step("resize2fs_once", "grows the root filesystem");
        }
        let is_off = root.exists("/etc/cloud/cloud-init.disabled")?
            || words(command_line).any(|word| word == "cloud-init=disabled");
        if root.exists("/usr/bin/cloud-init")? && !is_off {
            step("cloud-init", "takes up user-data and network-config of the boot partition");
        }
    }
    if let Some(boot) = boot {
        for name in ["ssh", "ssh.txt"] {
            if boot.exists(&format!("/{name}"))? {
                step(name, "turns ssh on");
            }
        }
    }
    Ok(steps)
}

/// What was done to the image. Files that cloud-init ships with nothing but comments in them are no trace.
pub(super) fn traces(boot: Option<&Look<'_, '_>>, root: Option<&Look<'_, '_>>) -> Result<Vec<Trace>, Unread> {
    let mut traces = Vec::new();
    if let Some(root) = root {
        ours(root, &mut traces)?;
        let path = "/etc/NetworkManager/system-connections/preconfigured.nmconnection";
        if root.exists(path)? {
            let what = "a Wi-Fi connection".to_owned();
            traces.push(Trace { by: "imager", what, path: path.to_owned() });
        }
    }
    if let Some(boot) = boot {
        for (name, by, what) in BOOT_FILES {
            let path = format!("/{name}");
            let says_something = match by {
                "cloud-init" => boot.text(&path)?.is_some_and(|text| has_settings(&text)),
                _ => boot.exists(&path)?,
            };
            if says_something {
                traces.push(Trace { by, what: what.to_owned(), path: name.to_owned() });
            }
        }
    }
    Ok(traces)
}

fn has_settings(text: &str) -> bool {
    text.lines().map(str::trim).any(|line| !line.is_empty() && !line.starts_with('#'))
}

/// What the image says that it was pressed as.
pub(super) fn marker(root: &Look<'_, '_>) -> Result<Option<Marker>, Unread> {
    Ok(Marker::parse(&root.head(Marker::PATH, Marker::HEAD_LEN)?))
}

fn ours(root: &Look<'_, '_>, traces: &mut Vec<Trace>) -> Result<(), Unread> {
    let mut trace = |what: String, path: &str| {
        traces.push(Trace { by: "cardpress", what, path: path.to_owned() });
    };
    if let Some(marker) = marker(root)? {
        let of_cluster = marker.cluster.map_or_else(String::new, |cluster| format!(" of cluster {cluster}"));
        trace(format!("pressed as node {}{of_cluster}", marker.node), Marker::PATH);
    }
    for (path, what) in OURS {
        if !root.exists(path)? {
            continue;
        }
        let steps = root.list(&format!("{path}/first-boot.d"))?;
        let names: Vec<&str> = steps.iter().map(|(name, _)| name.as_str()).collect();
        trace(if names.is_empty() { what.to_owned() } else { format!("{what}: {}", names.join(", ")) }, path);
    }
    for path in root.paths("/etc/NetworkManager/system-connections", ".nmconnection")? {
        if path.rsplit('/').next().is_some_and(|name| name.starts_with("cardpress-")) {
            trace("a connection".to_owned(), &path);
        }
    }
    let hosts = root.text("/etc/hosts")?.unwrap_or_default();
    let names = fenced(&hosts).filter_map(|line| line.split_ascii_whitespace().nth(1));
    let names: Vec<&str> = names.take(NODES_MAX).collect();
    if !names.is_empty() {
        trace(format!("names of the cluster: {}", names.join(", ")), "/etc/hosts");
    }
    let disabled = "/etc/cloud/cloud-init.disabled";
    if root.text(disabled)?.unwrap_or_default().contains("made by cardpress") {
        trace("cloud-init is off".to_owned(), disabled);
    }
    Ok(())
}

/// The lines that are ours in a file of others.
fn fenced(text: &str) -> impl Iterator<Item = &str> {
    text.lines().skip_while(|line| *line != HOSTS_BEGIN).skip(1).take_while(|line| *line != HOSTS_END)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_ours_stands_between_two_lines() {
        let text =
            "127.0.0.1 localhost\n# cardpress begin\n192.0.2.1 a a.lan\n# cardpress end\n192.0.2.2 b\n";
        assert_eq!(fenced(text).collect::<Vec<_>>(), ["192.0.2.1 a a.lan"]);
        assert_eq!(fenced("192.0.2.2 b\n").count(), 0);
    }

    #[test]
    fn a_file_of_comments_says_nothing() {
        assert!(!has_settings("#cloud-config\n\n  # user: ann\n"));
        assert!(has_settings("#cloud-config\nhostname: a\n"));
    }
}
