//! What was found, for people.

use std::fmt::Write as _;

use super::bar::{self, Marks};
use crate::base::{ByteLen, Civil};
use crate::build::inspect::{
    Boot, Filesystem, Inspected, Network, Part, Password, Release, Ssh, Step, System, Told, Trace, User,
};
use crate::cli::fs;
use crate::cli::report::plural;
use crate::plan::Marker;

/// Where the values of a list begin.
const INDENT: usize = 14;
/// Lines are broken before they reach it, where they can be.
const WIDTH: usize = 100;

/// All of it. `name` is what the user called it.
pub(super) fn draw(name: &str, inspected: &Inspected, marks: Marks) -> String {
    let mut page = Page(String::new());
    page.line(&format!("{}: {}, {}", visible(name), ByteLen(inspected.len_bytes), table(inspected)));
    page.line(&bar::draw(inspected, marks));
    for part in &inspected.partitions {
        page.part(part);
    }
    let unused: u64 = inspected.free.iter().map(|range| range.len_bytes).sum();
    if unused > 0 {
        page.line(&format!("{}: in no partition", ByteLen(unused)));
    }
    page.line("");
    page.system(inspected);
    page.boot(inspected);
    page.list("first boot", &inspected.first_boot, "nothing", |step: &Step| {
        format!("{}: {}", visible(&step.by), step.what)
    });
    page.list("customised", &inspected.customised, "nothing found", |trace: &Trace| {
        format!("{}: {} ({})", trace.by, visible(&trace.what), visible(&trace.path))
    });
    for (heading, lines) in [
        ("warnings", inspected.warnings.iter().map(ToString::to_string).collect::<Vec<_>>()),
        ("notes", inspected.notes.iter().map(ToString::to_string).collect()),
    ] {
        if !lines.is_empty() {
            page.line(&format!("\n{heading}:"));
        }
        for line in lines {
            page.item(&visible(&line));
        }
    }
    page.0
}

fn visible(text: &str) -> String {
    fs::visible(text.as_bytes())
}

fn table(inspected: &Inspected) -> String {
    match &inspected.table {
        Told::Known(Some(table)) => {
            let id = if table.disk_id.is_empty() { "unknown" } else { &table.disk_id };
            format!("{}, disk id {id}", table.kind.to_uppercase())
        }
        Told::Known(None) if inspected.partitions.is_empty() => {
            "no partition table and no filesystem that is known here".to_owned()
        }
        Told::Known(None) => "a filesystem without a partition table".to_owned(),
        Told::Unread { unread } => format!("partition table not read: {}", visible(unread)),
    }
}

struct Page(String);

impl Page {
    fn line(&mut self, line: &str) {
        self.0.push_str(line);
        self.0.push('\n');
    }

    /// `  * text`, broken where it is long.
    fn item(&mut self, text: &str) {
        self.broken("  * ", text, 4);
    }

    /// `key           value`
    fn value(&mut self, key: &str, value: &str) {
        self.broken(&format!("{key:<INDENT$}"), value, INDENT);
    }

    fn broken(&mut self, begin: &str, text: &str, indent: usize) {
        let mut line = begin.to_owned();
        let mut used = begin.chars().count();
        let mut is_first = true;
        for word in text.split(' ') {
            let len = word.chars().count();
            if !is_first && used + 1 + len > WIDTH {
                self.line(line.trim_end());
                line = " ".repeat(indent);
                used = indent;
                is_first = true;
            }
            if !is_first {
                line.push(' ');
                used += 1;
            }
            line.push_str(word);
            used += len;
            is_first = false;
        }
        self.line(line.trim_end());
    }

    /// One value a line, the key before the first.
    fn values(&mut self, key: &str, values: &[String]) {
        for (nth, value) in values.iter().enumerate() {
            self.value(if nth == 0 { key } else { "" }, value);
        }
    }

    fn list<T>(&mut self, key: &str, told: &Told<Vec<T>>, none: &str, show: impl Fn(&T) -> String) {
        match told {
            Told::Known(list) if list.is_empty() => self.value(key, none),
            Told::Known(list) => self.values(key, &list.iter().map(show).collect::<Vec<_>>()),
            Told::Unread { unread } => self.unread(key, unread),
        }
    }

    fn unread(&mut self, key: &str, why: &str) {
        self.value(key, &format!("not read: {}", visible(why)));
    }

    fn told<T>(&mut self, key: &str, told: &Told<T>, show: impl Fn(&T) -> String) {
        match told {
            Told::Known(known) => self.value(key, &show(known)),
            Told::Unread { unread } => self.unread(key, unread),
        }
    }

    fn part(&mut self, part: &Part) {
        let number = part.number.map_or_else(|| "-".to_owned(), |number| number.to_string());
        let role = part.role.unwrap_or_default();
        let begin = format!("  {number:<2} {role:<5} ");
        let indent = begin.chars().count();
        let mut text = match &part.holds {
            Told::Known(Some(known)) => filesystem(known),
            Told::Known(None) => "nothing that is known here".to_owned(),
            Told::Unread { unread } => format!("not read: {}", visible(unread)),
        };
        self.broken(&begin, &text, indent);
        text = format!("{} from {}", ByteLen(part.len_bytes), ByteLen(part.start_bytes));
        if let Some(type_id) = &part.type_id {
            let _ = write!(text, ", type {type_id}");
        }
        if let Some(partuuid) = &part.partuuid {
            let _ = write!(text, ", PARTUUID {partuuid}");
        }
        self.broken(&" ".repeat(indent), &text, indent);
        let Some(known) = part.holds.known().and_then(Option::as_ref) else { return };
        let details = details(known);
        if !details.is_empty() {
            self.broken(&" ".repeat(indent), &details, indent);
        }
        if !known.features.is_empty() {
            self.broken(&" ".repeat(indent), &format!("features: {}", known.features.join(" ")), indent);
        }
    }

    fn system(&mut self, inspected: &Inspected) {
        let system = match &inspected.system {
            Told::Known(system) => system,
            Told::Unread { unread } => return self.unread("system", unread),
        };
        self.told("release", &system.release, |release| release_text(release.as_ref()));
        if let Told::Known(Some(issue)) = &system.issue {
            let variant = issue.variant.map_or_else(String::new, |variant| format!(" ({variant})"));
            self.value("", &format!("{}{variant}", visible(&issue.line)));
        }
        match &system.marker {
            Told::Known(None) => {}
            told => self.told("pressed as", told, |marker| marker.as_ref().map_or_else(String::new, pressed)),
        }
        self.told("architecture", &system.architecture, |architecture| {
            let kernels = system.kernels.known().filter(|kernels| !kernels.is_empty());
            let kernels = kernels.map(|kernels| {
                let noun = plural(kernels.len(), "kernel");
                format!("; {noun} {}", visible(&kernels.join(", ")))
            });
            format!("{architecture}{}", kernels.unwrap_or_default())
        });
        self.told("host name", &system.host_name, |name| {
            name.as_ref().map_or_else(|| "none".to_owned(), |name| visible(name))
        });
        self.told("machine id", &system.machine_id, |id| (*id).to_owned());
        self.list("users", &system.users, "none", user);
        self.network(system);
        self.told("ssh", &system.ssh, ssh);
    }

    fn network(&mut self, system: &System) {
        let network: &Network = match &system.network {
            Told::Known(network) => network,
            Told::Unread { unread } => return self.unread("network", unread),
        };
        let mut lines = vec![network.stack.unwrap_or("brought up by nobody that is known here").to_owned()];
        for fixed in &network.fixed {
            let addresses = fixed.addresses.join(", ");
            lines.push(visible(&format!("{} has {addresses} ({})", fixed.interface, fixed.file)));
        }
        for wifi in &network.wifi {
            lines.push(visible(&format!("Wi-Fi `{}` ({})", wifi.name, wifi.file)));
        }
        lines
            .extend(network.wifi_country.iter().map(|country| format!("Wi-Fi country {}", visible(country))));
        self.values("network", &lines);
    }

    fn boot(&mut self, inspected: &Inspected) {
        let boot: &Boot = match &inspected.boot {
            Told::Known(boot) => boot,
            Told::Unread { unread } => return self.unread("boot", unread),
        };
        let mut boards: Vec<String> = boot
            .boards
            .iter()
            .map(|board| format!("{} ({})", board.name, board.kernels.join(", ")))
            .collect();
        if boards.is_empty() {
            let kernels =
                if boot.kernels.is_empty() { "no kernel" } else { "kernels of no board that is known here" };
            boards.push(format!(
                "none: there {} {kernels}",
                if boot.kernels.is_empty() { "is" } else { "are" }
            ));
        } else if boot.device_trees == 0 {
            boards.push("judged by the kernels alone: there are no device trees (*.dtb)".to_owned());
        }
        if !boot.boards.is_empty() && !boot.has_firmware {
            boards.push("without firmware (start*.elf), which boards up to the Pi 4 need".to_owned());
        }
        self.values("boots on", &boards);
        self.told("command line", &boot.command_line, |line| match line {
            Some(line) => line.lines().map(visible).collect::<Vec<_>>().join(" / "),
            None => "there is no cmdline.txt".to_owned(),
        });
    }
}

fn filesystem(known: &Filesystem) -> String {
    let mut text = known.kind.clone();
    if let Some(label) = &known.label {
        let _ = write!(text, " `{}`", visible(label));
    }
    if let (Some(len), Some(free)) = (known.len_bytes, known.free_bytes) {
        let _ = write!(text, ", {} free of {}", ByteLen(free), ByteLen(len));
    }
    if let (Some(inodes), Some(free)) = (known.inodes, known.free_inodes) {
        let _ = write!(text, ", {free} of {inodes} inodes");
    }
    text
}

fn details(known: &Filesystem) -> String {
    let mut words = Vec::new();
    words.extend(known.uuid.as_ref().map(|uuid| format!("UUID {}", visible(uuid))));
    words.extend(known.state.map(str::to_owned));
    if let Some(mounts) = known.mounts.filter(|mounts| *mounts > 0) {
        words.push(format!("mounted {mounts} {} since it was checked", plural(usize::from(mounts), "time")));
    }
    if let Some(seconds) = known.written_seconds.filter(|seconds| *seconds > 0) {
        words.push(format!("last written {} UTC", Civil::from_epoch_seconds(seconds)));
    }
    words.join(", ")
}

fn release_text(release: Option<&Release>) -> String {
    match release {
        None => "unknown: there is no /etc/os-release".to_owned(),
        Some(Release { id, name, codename, .. }) => {
            let codename = codename.as_ref().filter(|codename| !name.contains(codename.as_str()));
            let codename = codename.map_or_else(String::new, |codename| format!(", {codename}"));
            visible(&format!("{name}{codename} [{id}]"))
        }
    }
}

/// `node worker1 of cluster swarm, from raspios-lite-arm64, digest 9f0c…`
fn pressed(marker: &Marker) -> String {
    let mut text = format!("node {}", marker.node);
    if let Some(cluster) = &marker.cluster {
        let _ = write!(text, " of cluster {cluster}");
    }
    match (&marker.base, &marker.base_digest) {
        (Some(base), Some(digest)) => {
            let _ = write!(text, ", from {base}, digest {digest}");
        }
        (Some(only), None) | (None, Some(only)) => {
            let _ = write!(text, ", from {only}");
        }
        (None, None) => {}
    }
    visible(&text)
}

fn user(user: &User) -> String {
    let password = match user.password {
        Password::None => "no password",
        Password::Locked => "password locked",
        Password::Empty => "EMPTY password",
        Password::Default => "the well-known default password",
        Password::Set => "password set",
        Password::Unknown => "no line in shadow",
    };
    let mut text = format!("{} (uid {}): {password}", visible(&user.name), user.uid);
    if user.authorized_keys > 0 {
        let count = user.authorized_keys;
        let _ = write!(text, ", {count} authorised {}", plural(count, "key"));
    }
    if user.is_sudoer {
        text += ", sudo";
    }
    if ["nologin", "false"].iter().any(|shell| user.shell.rsplit('/').next() == Some(shell)) {
        let _ = write!(text, ", shell {}", visible(&user.shell));
    }
    text
}

fn ssh(ssh: &Ssh) -> String {
    if !ssh.is_installed {
        return "not installed".to_owned();
    }
    let state = match (ssh.is_enabled, ssh.is_asked_for) {
        (true, _) => "on",
        (false, true) => "off, but a file on the boot partition turns it on at the next boot",
        (false, false) => "off",
    };
    let login = if ssh.password_login { "takes passwords" } else { "takes keys only" };
    let keys = match &ssh.host_keys[..] {
        [] => "no host keys yet".to_owned(),
        kinds => format!("host keys: {}", visible(&kinds.join(", "))),
    };
    format!("{state}; {login}; {keys}")
}
