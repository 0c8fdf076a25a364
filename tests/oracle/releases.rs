//! One image per generation, made here, pressed by the real program and read by programs we did not write.

use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::support::shapes::{
    EXT4_2017, EXT4_JESSIE, GPT_BOOT, GPT_ROOT, REGENERATE_UNIT, Shape, cmdline, cut, text,
};
use crate::support::tools::{tool, unpacked};
use crate::support::world::{PUBLIC_KEY, Run, World};

const INIT_RESIZE: &str = "quiet init=/usr/lib/raspi-config/init_resize.sh";
const FIRSTBOOT: &str = "quiet init=/usr/lib/raspberrypi-sys-mods/firstboot";

/// Two nodes over `base.img` that ask for what every release does in its own way.
const PROFILE: &str = r##"schema = 1
[image]
path = "base.img"
[cluster]
name = "test"
domain = "lan"
subnet = "192.168.7.0/24"
gateway = "192.168.7.1"
dns = ["192.168.7.1"]
ssh-between-nodes = true
[defaults]
timezone = "Europe/London"
ssh.enable = true
ssh.password-login = false
cmdline.add = ["cgroup_enable=memory"]
[defaults.user.ops]
ssh-keys = ["PUBLIC_KEY"]
password = { file = "password" }
groups = ["sudo"]
sudo = "nopasswd"
[[defaults.file]]
path = "/etc/motd"
content = "pressed\n"
[[defaults.first-boot]]
name = "hello"
script = """#!/bin/sh
logger hello
"""
[[node]]
name = "n1"
address = "192.168.7.11"
[[node]]
name = "n2"
address = "192.168.7.12"
"##;

/// A net that needs a key; the key is IEEE 802.11-2016 annex J.4.2's first.
const WIFI: &str =
    "[defaults.wifi]\nssid = \"IEEE\"\npassphrase = { file = \"net-password\" }\ncountry = \"GB\"\n";
const PSK: &str = "f42c6fc52df0ebef9ebb4b90b38a5f902e83fe1b135a70e23aed762e9710a12e";

/// A built cluster; node n1 with its partitions cut out.
struct Pressed {
    world: World,
    boot: PathBuf,
    root: PathBuf,
    manifest: Value,
    err: String,
}

fn world(more: &str) -> World {
    let world = World::new();
    world.write("seed", &"5e".repeat(32));
    world.write("password", "correct horse battery staple\n");
    world.write("net-password", "password\n");
    world.write("cluster.toml", &(PROFILE.replace("PUBLIC_KEY", PUBLIC_KEY) + more));
    world
}

fn build(world: &World) -> Run {
    world.run(&["build", "cluster.toml", "--seed-file", "seed", "--json"])
}

/// Makes, builds, and has both filesystems of both nodes judged.
fn press(shape: &Shape, more: &str) -> Pressed {
    let world = world(more);
    let base = fs::read(shape.make(&world, "base.img")).unwrap();
    let run = build(&world).succeeded();
    assert!(fs::read(world.path("base.img")).unwrap() == base, "the base was changed");
    let manifest: Value = serde_json::from_str(&run.out).unwrap();
    for node in ["n2", "n1"] {
        let (boot, root) = cut(&world.path(&format!("out/test/{node}.img")), &world);
        let said = tool("e2fsck", &["-fn", text(&root)]);
        assert!(!said.contains("Fix?") && !said.contains("FIXED"), "{node}: {said}");
        tool("fsck.fat", &["-n", text(&boot)]);
    }
    let (boot, root) = (world.path("n1.fat"), world.path("n1.ext4"));
    Pressed { world, boot, root, manifest, err: run.err }
}

impl Pressed {
    /// The text of a file of the root partition, links followed.
    fn cat(&self, path: &str) -> String {
        tool("debugfs", &["-R", &format!("cat {path}"), text(&self.root)])
    }

    fn stat(&self, path: &str) -> String {
        tool("debugfs", &["-R", &format!("stat {path}"), text(&self.root)])
    }

    fn exists(&self, path: &str) -> bool {
        self.stat(path).contains("Inode:")
    }

    #[track_caller]
    fn has_mode(&self, path: &str, mode: &str, user: &str) {
        let stat = self.stat(path);
        let fields: Vec<&str> = stat.split_whitespace().collect();
        let after = |word| fields.iter().position(|field| *field == word).map(|at| fields[at + 1]);
        assert_eq!((after("Mode:"), after("User:")), (Some(mode), Some(user)), "{path}: {stat}");
    }

    #[track_caller]
    fn links_to(&self, path: &str, target: &str) {
        let stat = self.stat(path);
        assert!(stat.contains(&format!("Fast link dest: \"{target}\"")), "{path}: {stat}");
    }

    #[track_caller]
    fn masks(&self, unit: &str) {
        self.links_to(&format!("/etc/systemd/system/{unit}"), "/dev/null");
        assert!(!self.exists(&format!("/etc/systemd/system/multi-user.target.wants/{unit}")), "{unit}");
    }

    /// A file of the boot partition.
    fn boot(&self, name: &str) -> String {
        tool("mtype", &["-i", text(&self.boot), &format!("::{name}")])
    }

    fn table(&self, node: &str) -> Value {
        let image = self.world.path(&format!("out/test/{node}.img"));
        serde_json::from_str::<Value>(&tool("sfdisk", &["--json", text(&image)])).unwrap()["partitiontable"]
            .take()
    }

    /// One a line.
    fn warnings(&self) -> String {
        let warnings = self.manifest["nodes"][0]["warnings"].as_array().cloned().unwrap_or_default();
        warnings.iter().map(|warning| format!("{warning}\n")).collect()
    }

    /// What holds on every release.
    #[track_caller]
    fn is_n1(&self, lib: &str) {
        assert_eq!(self.cat("/etc/hostname"), "n1\n");
        assert!(self.cat("/etc/hosts").contains("192.168.7.12"), "{}", self.cat("/etc/hosts"));
        assert_eq!(self.cat("/etc/motd"), "pressed\n");
        assert_eq!(self.cat("/etc/timezone"), "Europe/London\n");
        self.links_to("/etc/localtime", "/usr/share/zoneinfo/Europe/London");
        let id = self.cat("/etc/machine-id");
        assert_eq!(id.trim_end().len(), 32, "{id:?}");
        // The account was renamed, not added.
        let passwd = self.cat("/etc/passwd");
        assert!(passwd.contains("\nops:x:1000:1000:,,,:/home/ops:/bin/bash\n"), "{passwd}");
        assert!(!passwd.contains("\npi:"), "{passwd}");
        assert!(self.cat("/etc/shadow").contains("\nops:$6$"), "no password was set");
        self.has_mode("/etc/shadow", "0640", "0");
        assert!(self.cat("/home/ops/.bashrc").contains("pi's own") && !self.exists("/home/pi"));
        assert!(self.cat("/home/ops/.ssh/authorized_keys").contains(PUBLIC_KEY));
        self.has_mode("/home/ops/.ssh", "0700", "1000");
        self.has_mode("/home/ops/.ssh/authorized_keys", "0600", "1000");
        // Either the image's own rule speaks of the new name, or there is one of ours.
        let rules = ["pi", "ops"].map(|name| format!("/etc/sudoers.d/010_{name}-nopasswd"));
        let rule = rules.iter().find(|path| self.exists(path)).unwrap();
        assert_eq!(self.cat(rule), "ops ALL=(ALL) NOPASSWD: ALL\n");
        self.has_mode(rule, "0440", "0");
        let unit = "cardpress-first-boot.service";
        self.links_to(
            &format!("/etc/systemd/system/multi-user.target.wants/{unit}"),
            &format!("/etc/systemd/system/{unit}"),
        );
        self.has_mode("/usr/local/lib/cardpress/first-boot.d/01-hello", "0700", "0");
        self.has_mode("/usr/local/lib/cardpress/first-boot", "0755", "0");
        // ssh: on, with keys of our own that nothing makes anew.
        let unit = format!("{lib}/systemd/system/ssh.service");
        self.links_to("/etc/systemd/system/multi-user.target.wants/ssh.service", &unit);
        self.has_mode("/etc/ssh/ssh_host_ed25519_key", "0600", "0");
        let cmdline = self.boot("cmdline.txt");
        assert_eq!(cmdline.lines().count(), 1, "{cmdline}");
        assert!(cmdline.contains(" cgroup_enable=memory"), "{cmdline}");
    }

    /// Partition table, fstab and command line name the same disk, another than the base's and than n2's.
    #[track_caller]
    fn ids_are_in_step(&self, fat: &str) {
        let id = |node| self.table(node)["id"].as_str().unwrap().trim_start_matches("0x").to_owned();
        let n1 = id("n1");
        assert!(n1 != id("n2") && n1 != "0badcafe", "{n1}");
        let fstab = self.cat("/etc/fstab");
        assert!(fstab.contains(&format!("PARTUUID={n1}-01  {fat} ")), "{fstab}");
        assert!(fstab.contains(&format!("PARTUUID={n1}-02  / ")), "{fstab}");
        assert!(self.boot("cmdline.txt").contains(&format!(" root=PARTUUID={n1}-02 ")));
    }

    /// dhcpcd and wpa_supplicant were told.
    #[track_caller]
    fn dhcpcd_is_told(&self) {
        let dhcpcd = self.cat("/etc/dhcpcd.conf");
        assert!(dhcpcd.starts_with("hostname\nclientid\n"), "{dhcpcd}");
        for line in [
            "interface eth0",
            "static ip_address=192.168.7.11/24",
            "static routers=192.168.7.1",
            "static domain_name_servers=192.168.7.1",
        ] {
            assert!(dhcpcd.lines().any(|other| other == line), "{line} is missing: {dhcpcd}");
        }
        self.has_mode("/etc/dhcpcd.conf", "0664", "0");
        let wpa = self.cat("/etc/wpa_supplicant/wpa_supplicant.conf");
        assert!(wpa.contains("country=GB\n") && wpa.contains("ssid=\"IEEE\"") && wpa.contains(PSK), "{wpa}");
        self.has_mode("/etc/wpa_supplicant/wpa_supplicant.conf", "0600", "0");
        assert!(!self.exists("/etc/NetworkManager/system-connections/cardpress-eth0.nmconnection"));
    }

    #[track_caller]
    fn network_manager_is_told(&self) {
        let dir = "/etc/NetworkManager/system-connections";
        let wired = self.cat(&format!("{dir}/cardpress-eth0.nmconnection"));
        assert!(wired.contains("address1=192.168.7.11/24\ngateway=192.168.7.1\n"), "{wired}");
        self.has_mode(&format!("{dir}/cardpress-eth0.nmconnection"), "0600", "0");
        self.has_mode(dir, "0700", "0");
    }
}

#[test]
fn jessie_with_its_device_names_and_a_unit_that_deletes_itself() {
    for features in [EXT4_JESSIE, EXT4_2017] {
        jessie(features);
    }
}

fn jessie(features: &'static str) {
    let mut shape = Shape::raspios(8, "jessie", "armhf", "2016-11-25", INIT_RESIZE);
    shape.features = features;
    shape.fat_bits = 16;
    shape
        .named("/dev/mmcblk0p1", "/dev/mmcblk0p2", INIT_RESIZE)
        .without("/lib/systemd/system/regenerate_ssh_host_keys.service")
        .file("/etc/systemd/system/regenerate_ssh_host_keys.service", REGENERATE_UNIT)
        .link(
            "/etc/systemd/system/multi-user.target.wants/regenerate_ssh_host_keys.service",
            "/etc/systemd/system/regenerate_ssh_host_keys.service",
        )
        .file_as(
            "/etc/shadow",
            "root:*:17000:0:99999:7:::\npi:$6$saltsalt$made.up:17000:0:99999:7:::\n",
            0o640,
            0,
        )
        // One id on every card: what the image shipped with must go.
        .file("/etc/machine-id", "0123456789abcdef0123456789abcdef\n")
        .file("/var/lib/dbus/machine-id", "0123456789abcdef0123456789abcdef\n")
        .file("/etc/ssh/sshd_config", "Port 22\n#PasswordAuthentication yes\nUsePAM yes\n");
    let node = press(&shape, WIFI);
    node.is_n1("/lib");
    node.dhcpcd_is_told();
    node.masks("regenerate_ssh_host_keys.service");
    assert!(!node.cat("/etc/machine-id").contains("0123456789abcdef"));
    assert!(!node.exists("/var/lib/dbus/machine-id"));
    assert_eq!(
        node.cat("/etc/ssh/sshd_config"),
        "Port 22\nPasswordAuthentication no\nUsePAM yes\nChallengeResponseAuthentication no\n"
    );
    assert!(!node.cat("/etc/shadow").contains("made.up"));
    let line = node.boot("cmdline.txt");
    assert!(line.contains(" root=/dev/mmcblk0p2 ") && line.contains(INIT_RESIZE), "{line}");
    assert!(node.cat("/etc/fstab").contains("/dev/mmcblk0p1  /boot "), "{}", node.cat("/etc/fstab"));
    assert_eq!(node.manifest["base"]["release"], "raspbian GNU/Linux 8 (jessie)");
}

#[test]
fn stretch_in_blocks_of_1_kib() {
    let mut shape = Shape::raspios(9, "stretch", "armhf", "2019-04-08", INIT_RESIZE);
    shape.features = EXT4_2017;
    shape.block_len = 1024;
    let node = press(&shape, WIFI);
    node.is_n1("/lib");
    node.ids_are_in_step("/boot");
    node.dhcpcd_is_told();
    node.masks("regenerate_ssh_host_keys.service");
    assert!(node.boot("cmdline.txt").contains(INIT_RESIZE));
}

#[test]
fn buster() {
    let mut shape = Shape::raspios(10, "buster", "armhf", "2021-05-07", INIT_RESIZE);
    shape.features = EXT4_2017;
    let node = press(&shape, WIFI);
    node.is_n1("/lib");
    node.ids_are_in_step("/boot");
    node.dhcpcd_is_told();
    node.masks("regenerate_ssh_host_keys.service");
    assert!(node.boot("cmdline.txt").contains(INIT_RESIZE));
    assert_eq!(node.warnings(), "");
}

#[test]
fn bullseye_of_2022_01_with_pi_and_its_password() {
    let mut shape = Shape::raspios(11, "bullseye", "armhf", "2022-01-28", INIT_RESIZE);
    shape.features = EXT4_2017;
    shape.binary("/usr/sbin/NetworkManager", "armhf").file_as(
        "/etc/shadow",
        "root:*:19000:0:99999:7:::\npi:$6$saltsalt$raspberry:19000:0:99999:7:::\n",
        0o640,
        0,
    );
    let node = press(&shape, WIFI);
    node.is_n1("/usr/lib");
    node.ids_are_in_step("/boot");
    node.dhcpcd_is_told();
    node.masks("regenerate_ssh_host_keys.service");
    assert!(!node.cat("/etc/shadow").contains("$raspberry"));
    assert!(node.boot("cmdline.txt").contains(INIT_RESIZE));
}

#[test]
fn bullseye_since_2022_09_on_both_architectures() {
    for arch in ["armhf", "arm64"] {
        let mut shape = Shape::raspios(11, "bullseye", arch, "2024-07-04", FIRSTBOOT);
        shape.binary("/usr/sbin/NetworkManager", arch);
        let node = press(&shape, WIFI);
        node.is_n1("/usr/lib");
        node.ids_are_in_step("/boot");
        node.dhcpcd_is_told();
        node.keeps_its_host_keys_through_firstboot();
        assert_eq!(node.manifest["base"]["architecture"], arch);
    }
}

impl Pressed {
    /// `firstboot` still grows and draws ids, but the helper it calls no longer deletes keys; the wizard is over.
    #[track_caller]
    fn keeps_its_host_keys_through_firstboot(&self) {
        assert!(self.boot("cmdline.txt").contains(FIRSTBOOT));
        let helper = "/usr/lib/raspberrypi-sys-mods/regenerate_ssh_host_keys";
        assert!(!self.cat(helper).contains("rm -f"), "{}", self.cat(helper));
        self.has_mode(helper, "0755", "0");
        self.masks("regenerate_ssh_host_keys.service");
        self.masks("userconfig.service");
        assert!(!self.exists("/etc/ssh/sshd_config.d/rename_user.conf"));
        assert!(self.exists("/etc/systemd/system/getty.target.wants/getty@tty1.service"));
        assert_eq!(
            self.cat("/etc/ssh/sshd_config.d/10-cardpress.conf").lines().next(),
            Some("PasswordAuthentication no")
        );
    }
}

#[test]
fn bookworm_of_2023_10_whose_boot_cmdline_is_a_link_into_the_fat() {
    for arch in ["armhf", "arm64"] {
        let mut shape = Shape::raspios(12, "bookworm", arch, "2023-10-10", FIRSTBOOT);
        shape
            .link("/boot/cmdline.txt", "firmware/cmdline.txt")
            .link("/boot/config.txt", "firmware/config.txt")
            .link("/boot/overlays", "firmware/overlays");
        let more = "[[defaults.file]]\npath = \"/boot/config.txt\"\ncontent = \"arm_64bit=1\\n\"\n\
            [[defaults.file]]\npath = \"/boot/overlays/own.dtbo\"\ncontent = \"overlay\"\n\
            [[defaults.symlink]]\npath = \"/etc/config.txt\"\ntarget = \"/boot/firmware/config.txt\"\n";
        let node = press(&shape, &format!("{WIFI}{more}"));
        node.is_n1("/usr/lib");
        node.ids_are_in_step("/boot/firmware");
        node.network_manager_is_told();
        node.keeps_its_host_keys_through_firstboot();
        // Written through the link, on to the other filesystem.
        node.links_to("/boot/config.txt", "firmware/config.txt");
        assert_eq!(node.boot("config.txt"), "arm_64bit=1\n");
        assert_eq!(node.boot("overlays/own.dtbo"), "overlay");
        node.links_to("/etc/config.txt", "/boot/firmware/config.txt");
        assert!(!node.exists("/boot/firmware/config.txt"), "written below the mount point");
        let wifi = node.cat("/etc/NetworkManager/system-connections/cardpress-wlan0.nmconnection");
        assert!(wifi.contains("ssid=IEEE") && wifi.contains(PSK), "{wifi}");
        let state = node.cat("/var/lib/NetworkManager/NetworkManager.state");
        assert!(state.contains("WirelessEnabled=true"), "{state}");
    }
}

#[test]
fn trixie_as_the_fixture_has_it() {
    let world = world(WIFI);
    let fixture = crate::support::world::small_base();
    let run =
        world.run(&["build", "cluster.toml", "--seed-file", "seed", "--json", "--image", text(&fixture)]);
    let manifest = serde_json::from_str(&run.succeeded().out).unwrap();
    let (boot, root) = cut(&world.path("out/test/n1.img"), &world);
    let node = Pressed { world, boot, root, manifest, err: String::new() };
    node.network_manager_is_told();
    assert!(node.exists("/etc/cloud/cloud-init.disabled"));
    assert!(
        node.cat("/etc/passwd").contains("\nops:x:1000:1000:,,,:/home/ops:/bin/bash\n"),
        "nologin stayed"
    );
    assert_eq!(node.cat("/etc/machine-id").trim_end().len(), 32);
    let growfs = "systemd-growfs-root.service";
    node.links_to(
        &format!("/etc/systemd/system/local-fs.target.wants/{growfs}"),
        &format!("/usr/lib/systemd/system/{growfs}"),
    );
    node.masks("rpi-resize.service");
    node.masks("regenerate_ssh_host_keys.service");
    node.masks("userconfig.service");
    let line = node.boot("cmdline.txt");
    assert!(line.split_whitespace().any(|token| token == "resize"), "{line}");
}

/// Debian's own image: names for labels, none of Raspberry Pi's pieces.
fn plain_debian() -> Shape {
    let mut shape = Shape::debian(12, "bookworm", "arm64", "/boot/firmware");
    shape.named("LABEL=RASPIFIRM", "LABEL=RASPIROOT", "");
    shape
}

#[test]
fn plain_debian_with_network_manager() {
    let mut shape = plain_debian();
    shape.network_manager("arm64");
    let node = press(&shape, WIFI);
    node.is_n1("/usr/lib");
    node.network_manager_is_told();
    assert!(node.cat("/etc/fstab").contains("LABEL=RASPIFIRM  /boot/firmware "));
    assert!(node.boot("cmdline.txt").contains(" root=LABEL=RASPIROOT "));
    for path in ["/etc/cloud", "/usr/lib/raspberrypi-sys-mods", "/etc/systemd/system/userconfig.service"] {
        assert!(!node.exists(path), "{path}");
    }
    assert_eq!(node.warnings(), "");
}

#[test]
fn plain_debian_with_netplan_alone() {
    let mut shape = plain_debian();
    shape.binary("/usr/sbin/netplan", "arm64");
    let node = press(&shape, WIFI);
    node.is_n1("/usr/lib");
    let yaml = node.cat("/etc/netplan/90-cardpress.yaml");
    for wanted in ["    eth0:\n", "addresses: [\"192.168.7.11/24\"]", "    wlan0:\n", PSK] {
        assert!(yaml.contains(wanted), "{wanted} is missing: {yaml}");
    }
    node.has_mode("/etc/netplan/90-cardpress.yaml", "0600", "0");
    // What netplan itself makes of it: units for both interfaces.
    let root = node.world.path("netplan");
    node.world.write("netplan/etc/netplan/90-cardpress.yaml", &yaml);
    let said = unpacked("generate").args(["--root-dir", text(&root)]).output().expect("run `make oracles`");
    assert!(said.status.success(), "netplan: {}", String::from_utf8_lossy(&said.stderr));
    let wired = std::fs::read_to_string(root.join("run/systemd/network/10-netplan-eth0.network")).unwrap();
    assert!(wired.contains("Address=192.168.7.11/24"), "{wired}");
    assert!(root.join("run/netplan/wpa-wlan0.conf").exists(), "netplan made nothing of the wireless net");
}

#[test]
fn ifupdown_alone_cannot_have_a_static_address_and_says_so() {
    let world = world("");
    plain_debian()
        .file("/etc/network/interfaces", "auto lo\niface lo inet loopback\n")
        .make(&world, "base.img");
    let run = build(&world);
    assert_eq!(run.status, 2, "{}", run.err);
    assert!(run.err.contains("brings up its network in no way known"), "{}", run.err);
    assert!(!world.path("out").exists());
}

#[test]
fn a_gpt_gets_guids_of_its_own_and_all_that_names_them_follows() {
    let mut shape = Shape::raspios(12, "bookworm", "arm64", "2024-11-19", FIRSTBOOT);
    shape.gpt(FIRSTBOOT);
    let node = press(&shape, "");
    node.is_n1("/usr/lib");
    let table = node.table("n1");
    assert_eq!(table["label"], "gpt");
    let fstab = node.cat("/etc/fstab");
    let guid = |index: usize| table["partitions"][index]["uuid"].as_str().unwrap().to_lowercase();
    for (index, shipped) in [GPT_BOOT, GPT_ROOT].into_iter().enumerate() {
        assert_ne!(guid(index), shipped);
        assert!(fstab.contains(&format!("PARTUUID={}  /", guid(index))), "{fstab}");
        assert!(!fstab.contains(shipped), "{fstab}");
    }
    assert!(node.boot("cmdline.txt").contains(&format!(" root=PARTUUID={} ", guid(1))));
    tool("sfdisk", &["--verify", text(&node.world.path("out/test/n1.img"))]);
}

#[test]
fn names_by_uuid_follow_the_new_filesystem_ids() {
    let mut shape = plain_debian();
    shape.network_manager("arm64");
    let world = world("");
    // The UUID is known only once the filesystem is made.
    let base = shape.make(&world, "base.img");
    let (_, root) = cut(&base, &world);
    let uuid = |root: &Path| {
        let said = tool("dumpe2fs", &["-h", text(root)]);
        said.lines().find_map(|line| line.strip_prefix("Filesystem UUID:")).unwrap().trim().to_owned()
    };
    let old = uuid(&root);
    tool("debugfs", &["-w", "-R", "rm /etc/fstab", text(&root)]);
    let fstab = format!("UUID={old} / ext4 defaults 0 1\nUUID=2B7F-41C9 /boot/firmware vfat defaults 0 2\n");
    let fstab = world.write("fstab", &fstab);
    let script = world.write("script", &format!("cd /etc\nwrite {} fstab\n", text(&fstab)));
    tool("debugfs", &["-w", "-f", text(&script), text(&root)]);
    put_root(&base, &root);
    build(&world).succeeded();
    let (boot, root) = cut(&world.path("out/test/n1.img"), &world);
    let new = uuid(&root);
    assert_ne!(new, old);
    let serial = tool("minfo", &["-i", text(&boot), "::"]);
    let serial =
        serial.lines().find_map(|line| line.strip_prefix("serial number:")).unwrap().trim().to_owned();
    assert_ne!(serial, "2B7F41C9");
    let found = tool("debugfs", &["-R", "cat /etc/fstab", text(&root)]);
    let serial = format!("{}-{}", &serial[..4], &serial[4..]);
    assert_eq!(
        found,
        format!("UUID={new} / ext4 defaults 0 1\nUUID={serial} /boot/firmware vfat defaults 0 2\n")
    );
}

/// Puts a root filesystem back where it was cut out.
fn put_root(image: &Path, root: &Path) {
    use std::io::{Seek as _, SeekFrom};
    let table: Value = serde_json::from_str(&tool("sfdisk", &["--json", text(image)])).unwrap();
    let start = table["partitiontable"]["partitions"][1]["start"].as_u64().unwrap() * 512;
    let mut file = fs::OpenOptions::new().write(true).open(image).unwrap();
    file.seek(SeekFrom::Start(start)).unwrap();
    file.write_all(&fs::read(root).unwrap()).unwrap();
}

#[test]
fn a_shipped_user_of_another_name_and_home_keeps_its_keys_and_gets_what_is_made_for_it() {
    let mut shape = Shape::raspios(12, "bookworm", "arm64", "2024-11-19", FIRSTBOOT);
    shape
        .file("/etc/passwd", "root:x:0:0:root:/root:/bin/bash\nadmin:x:1000:1000::/data/admin:/bin/bash\n")
        .file("/etc/group", "root:x:0:\nsudo:x:27:admin\nnetdev:x:106:\nadmin:x:1000:\n")
        .file_as("/etc/shadow", "root:*:19000:0:99999:7:::\nadmin:!:19000:0:99999:7:::\n", 0o640, 0)
        .dir("/data/admin", 0o755, 1000)
        .dir("/data/admin/.ssh", 0o700, 1000)
        .dir("/data/admin/.config", 0o710, 1000)
        .file_as("/data/admin/.ssh/authorized_keys", "ssh-ed25519 AAAAold old\n", 0o600, 1000)
        .file(
            "/usr/lib/systemd/system/tool.service",
            "[Install]\nWantedBy=multi-user.target\nAlso=tool.socket\n",
        )
        .file("/usr/lib/systemd/system/tool.socket", "[Install]\nWantedBy=sockets.target\nAlso=tool.timer\n")
        .file("/usr/lib/systemd/system/tool.timer", "[Install]\nWantedBy=timers.target\n");
    let more = r##"
[[defaults.file]]
path = "/data/admin/.config/tool/one"
content = "1"
[[defaults.file]]
path = "/data/admin/.local/share/tool/two"
content = "2"
[[defaults.file]]
path = "/lib/systemd/system/tool.service.d/one.conf"
content = "[Unit]\n"
[[defaults.file]]
path = "/lib/raspberrypi-sys-mods/regenerate_ssh_host_keys"
content = "#!/bin/sh\n"
[[defaults.file]]
path = "/etc/localtime"
content = "TZif2 of our own"
"##;
    let node = press(&shape, &format!("{more}\n[defaults.service]\nenable = [\"tool.service\"]\n"));
    assert!(node.cat("/etc/passwd").contains("\nops:x:1000:1000::/data/admin:/bin/bash\n"));
    let keys = node.cat("/data/admin/.ssh/authorized_keys");
    assert!(keys.starts_with("ssh-ed25519 AAAAold old\n") && keys.contains(PUBLIC_KEY), "{keys}");
    node.has_mode("/data/admin/.config", "0710", "1000");
    for made in [".config/tool", ".local", ".local/share", ".local/share/tool"] {
        node.has_mode(&format!("/data/admin/{made}"), "0755", "1000");
    }
    for link in ["multi-user.target.wants/tool.service", "sockets.target.wants/tool.socket"] {
        assert!(node.exists(&format!("/etc/systemd/system/{link}")), "{link}");
    }
    assert!(node.exists("/etc/systemd/system/timers.target.wants/tool.timer"));
    assert_eq!(node.cat("/usr/lib/systemd/system/tool.service.d/one.conf"), "[Unit]\n");
    assert_eq!(node.cat("/usr/lib/raspberrypi-sys-mods/regenerate_ssh_host_keys"), "#!/bin/sh\n");
    assert_eq!(node.cat("/etc/localtime"), "TZif2 of our own");
    assert!(node.stat("/etc/localtime").contains("Type: regular"));
    assert_eq!(node.cat("/usr/share/zoneinfo/Etc/UTC"), "TZif2 made up\n");
    assert_eq!(node.cat("/usr/share/zoneinfo/Europe/London"), "TZif2 made up\n");
}

/// A small image for tests of what it is packed in.
fn smallest() -> Shape {
    let mut shape = Shape::raspios(11, "bullseye", "armhf", "2022-04-04", INIT_RESIZE);
    shape.fat_bits = 16;
    shape.file("/usr/share/doc/marker", "read from the archive\n");
    shape
}

#[test]
fn every_container_gives_the_same_nodes_whatever_it_is_called() {
    let world = world("");
    let raw = smallest().make(&world, "base.img");
    let half = fs::metadata(&raw).unwrap().len() / 2;
    let pack = |command: &str| {
        tool("sh", &["-ec", &format!("cd '{}'; {command}", text(raw.parent().unwrap()))]);
    };
    pack("xz -T1 -1 -c base.img > one-block.img.xz");
    pack("xz -T2 -1 --block-size=1MiB -c base.img > many-blocks.img.xz");
    pack(&format!("head -c {half} base.img | xz -1 > streams.img.xz"));
    pack(&format!("tail -c +{} base.img | xz -1 --check=sha256 >> streams.img.xz", half + 1));
    pack(
        "gzip -1 -c base.img > base.img.gz; zstd -q -1 -c base.img > base.img.zst; zip -q -1 base.zip base.img",
    );
    pack("cp one-block.img.xz lie.zip; cp base.zip lie.img; cp base.img lie.img.xz; cp base.img.gz lie");
    let nodes = |file: &str| {
        let run = world
            .run(&["build", "cluster.toml", "--seed-file", "seed", "--json", "--image", file])
            .succeeded();
        let manifest: Value = serde_json::from_str(&run.out).unwrap();
        assert_eq!(manifest["base"]["file"], file);
        let image = fs::read(world.path("out/test/n1.img")).unwrap();
        (manifest["base"]["digest"].clone(), manifest["nodes"].clone(), image)
    };
    let wanted = nodes("base.img");
    for file in [
        "one-block.img.xz",
        "many-blocks.img.xz",
        "streams.img.xz",
        "base.img.gz",
        "base.img.zst",
        "base.zip",
        "lie.zip",
        "lie.img",
        "lie.img.xz",
        "lie",
    ] {
        let found = nodes(file);
        assert_eq!((&found.0, &found.1), (&wanted.0, &wanted.1), "{file}");
        assert!(found.2 == wanted.2, "{file}: other bytes");
    }
}

/// Shown without a clock: what the cache holds is changed by hand, and the change comes out in the next image.
#[test]
fn the_second_run_reads_the_cache_and_not_the_archive_unless_the_cache_was_touched() {
    let world = world("");
    let raw = smallest().make(&world, "base.img");
    tool(
        "sh",
        &["-ec", &format!("cd '{}'; xz -1 base.img; mv base.img.xz base.img", text(raw.parent().unwrap()))],
    );
    let run = |out: &str| {
        let mut command = world.command(&["build", "cluster.toml", "--seed-file", "seed", "--out", out]);
        command.env("CARDPRESS_CACHE", world.path("cache"));
        let said = Run::of(command.output().unwrap()).succeeded().err;
        let (_, root) = cut(&world.path(&format!("{out}/test/n1.img")), &world);
        assert_eq!(
            tool("debugfs", &["-R", "cat /usr/share/doc/marker", text(&root)]),
            "read from the archive\n",
            "{out}"
        );
        said
    };
    assert!(run("first").contains("unpack the base image"));
    let second = run("second");
    assert!(!second.contains("unpack") && !second.contains("hash"), "{second}");
    let held: Vec<PathBuf> = fs::read_dir(world.path("cache"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "img"))
        .collect();
    let [held] = &held[..] else { panic!("{held:?}") };
    overwrite(held, b"read from the archive\n", b"read from the cache..\n");
    let third = run("third");
    assert!(third.contains("is damaged: removed it") && third.contains("unpack the base image"), "{third}");
}

/// Replaces bytes in place, leaving length and times as they were.
fn overwrite(path: &Path, old: &[u8], new: &[u8]) {
    let mut bytes = Vec::new();
    fs::File::open(path).unwrap().read_to_end(&mut bytes).unwrap();
    let at = bytes.windows(old.len()).position(|window| window == old).unwrap();
    bytes[at..at + new.len()].copy_from_slice(new);
    let modified = fs::metadata(path).unwrap().modified().unwrap();
    let mut file = fs::OpenOptions::new().write(true).open(path).unwrap();
    file.write_all(&bytes).unwrap();
    file.set_modified(modified).unwrap();
}

/// Builds from a base that must be refused: exit status, a line that says why, nothing written.
#[track_caller]
fn refused(shape: &Shape, spoil: impl FnOnce(&mut [u8]), status: i32, why: &str) {
    let world = world("");
    shape.make_spoilt(&world, "base.img", spoil);
    let run = build(&world);
    assert_eq!(run.status, status, "{why}: {}{}", run.out, run.err);
    assert!(run.err.lines().any(|line| line.contains(why)), "{why}: {}", run.err);
    assert_eq!(run.out, "");
    assert!(!world.path("out").exists(), "{why}: something was written");
}

fn good() -> Shape {
    let mut shape = Shape::raspios(10, "buster", "armhf", "2021-05-07", INIT_RESIZE);
    shape.features = EXT4_2017;
    shape.fat_bits = 16;
    shape
}

/// Offsets: Linux `Documentation/filesystems/ext4/super.rst`; the superblock begins at 1024.
#[test]
fn root_filesystems_that_are_not_safe_to_edit_are_refused() {
    const STATE: usize = 1024 + 0x3a;
    const INCOMPAT: usize = 1024 + 0x60;
    const LAST_ORPHAN: usize = 1024 + 0xe8;
    refused(&good(), |root| root[INCOMPAT] |= 0x4, 1, "its journal needs recovery");
    refused(&good(), |root| root[STATE] = 0, 1, "it was not unmounted cleanly (state 0x0000)");
    refused(&good(), |root| root[STATE] = 3, 1, "it is marked as having errors");
    refused(&good(), |root| root[LAST_ORPHAN] = 12, 1, "it has orphaned inodes");
    refused(&good(), |root| root[INCOMPAT + 3] |= 0x80, 1, "unsupported ext4 feature: incompat 0x80000000");
    refused(&good(), |root| root[INCOMPAT + 2] |= 0x1, 1, "unsupported ext4 feature: encrypt");
    refused(&good(), |root| root[1024 + 0x38] = 0, 1, "not an ext4 filesystem");
}

#[test]
fn systems_this_is_not_for_are_refused() {
    let wheezy = Shape::raspios(7, "wheezy", "armhf", "2015-05-05", "");
    refused(&wheezy, |_| {}, 1, "older than jessie");
    let mut ubuntu = good();
    ubuntu.file("/usr/lib/os-release", "ID=ubuntu\nVERSION_ID=\"24.04\"\nPRETTY_NAME=\"Ubuntu 24.04\"\n");
    refused(&ubuntu, |_| {}, 1, "ID=ubuntu (Ubuntu 24.04), wanted debian or raspbian");
    let mut x86 = good();
    x86.binary("/usr/bin/dpkg", "amd64");
    refused(&x86, |_| {}, 1, "/usr/bin/dpkg is an ELF file of class 2 for machine 62");
    let mut bare = good();
    bare.without("/etc/fstab");
    refused(&bare, |_| {}, 1, "no /etc/fstab");
    let mut rootless = good();
    rootless.file("/etc/fstab", "proc /proc proc defaults 0 0\nPARTUUID=0badcafe-02 / ext4 defaults 0 1\n");
    refused(&rootless, |_| {}, 1, "/etc/fstab mounts no vfat partition at /boot or /boot/firmware");
}

#[test]
fn an_image_that_has_booted_is_pressed_with_a_warning() {
    let mut shape = Shape::raspios(12, "bookworm", "arm64", "2024-11-19", FIRSTBOOT);
    shape
        .boot("cmdline.txt", &cmdline("PARTUUID=0badcafe-02", ""))
        .file("/etc/machine-id", "0123456789abcdef0123456789abcdef\n")
        .file("/etc/ssh/ssh_host_rsa_key", "shared by every copy\n")
        .file("/var/lib/systemd/random-seed", "shared too\n");
    let node = press(&shape, "");
    assert!(node.warnings().contains("has been booted or changed before"), "{}", node.warnings());
    assert!(node.err.contains("has been booted or changed before"), "{}", node.err);
    assert!(!node.exists("/etc/ssh/ssh_host_rsa_key"));
    assert!(!node.exists("/var/lib/systemd/random-seed"));
    assert!(!node.cat("/etc/machine-id").contains("0123456789abcdef"));
    node.ids_are_in_step("/boot/firmware");
}

/// Some people keep the file on the FAT, to edit it from another machine.
#[test]
fn a_link_that_leads_a_secret_on_to_the_fat_is_not_followed() {
    let mut shape = good();
    shape.without("/etc/wpa_supplicant/wpa_supplicant.conf").link("/etc/wpa_supplicant", "/boot");
    let world = world(WIFI);
    shape.make(&world, "base.img");
    let run = build(&world);
    assert_eq!(run.status, 1, "{}", run.err);
    let why = "/etc/wpa_supplicant/wpa_supplicant.conf leads to the boot partition";
    assert!(run.err.contains(why), "{}", run.err);
    assert!(!world.path("out/test/n1.img").exists() && !world.path("out/test/n2.img").exists());
}
