//! Profiles without faults, and what they mean.

use std::path::PathBuf;

use super::*;
use crate::base::{ByteLen, Secret};
use crate::plan::*;

/// The sketch of the design, less its recipes.
const SKETCH: &str = r##"
schema = 1
extends = ["common.toml"]

[image]
os = "raspios-lite-arm64"
grow = "8GiB"

[cluster]
name = "swarm"
domain = "lan"
subnet = "192.168.1.0/24"
gateway = "192.168.1.1"
dns = ["192.168.1.1"]
ssh-between-nodes = true

[defaults]
timezone = "Europe/London"
locale = "en_GB.UTF-8"
keyboard = "gb"
ssh.enable = true
ssh.password-login = false
cmdline.add = ["cgroup_enable=cpuset", "cgroup_memory=1", "cgroup_enable=memory"]

[defaults.user.pi]
ssh-keys = ["file:~/.ssh/id_ed25519.pub"]
password = { hash = "HASH" }
groups = ["sudo"]

[[defaults.file]]
path = "/etc/motd"
content = "part of {{ cluster.name }}\n"
mode = "0644"
owner = "root:root"

[[defaults.first-boot]]
name = "hello"
script = "#!/bin/sh\nlogger hello\n"
needs-network = false

[role.manager]

[role.worker]

[[node]]
name = "manager1"
role = "manager"
address = "192.168.1.200"

[[node]]
name = "worker[1-7]"
role = "worker"
address = "192.168.1.[201-207]"
"##;

fn sketch() -> World {
    World::with(&SKETCH.replace("HASH", HASH))
        .file("/p/common.toml", "schema = 1\n")
        .file("/home/me/.ssh/id_ed25519.pub", format!("{KEY}\n"))
}

#[test]
fn the_sketch_of_the_design_means_eight_nodes() {
    let Loaded { cluster, warnings, files } = sketch().loaded();
    assert_eq!(warnings.len(), 0);
    assert_eq!(
        files,
        ["/p/cluster.toml", "/p/common.toml", "/home/me/.ssh/id_ed25519.pub"].map(PathBuf::from)
    );
    assert_eq!(cluster.name, "swarm");
    assert_eq!(cluster.domain.as_deref(), Some("lan"));
    assert_eq!(cluster.subnets, ["192.168.1.0/24".parse().unwrap()]);
    assert_eq!(cluster.gateways, ["192.168.1.1".parse::<std::net::IpAddr>().unwrap()]);
    assert_eq!(cluster.dns, cluster.gateways);
    assert!(cluster.ssh_between_nodes);
    assert_eq!(cluster.image.source, ImageSource::Os("raspios-lite-arm64".into()));
    assert_eq!(cluster.image.grow, Some(Growth::To(ByteLen(8 << 30))));
    let nodes: Vec<String> = cluster
        .nodes
        .iter()
        .map(|node| format!("{} {} {}", node.name, node.role.as_deref().unwrap_or("-"), node.addresses[0]))
        .collect();
    assert_eq!(nodes[0], "manager1 manager 192.168.1.200/24");
    assert_eq!(nodes[1], "worker1 worker 192.168.1.201/24");
    assert_eq!(nodes[7], "worker7 worker 192.168.1.207/24");
    assert_eq!(nodes.len(), 8);
}

#[test]
fn an_image_may_be_named_in_three_ways_and_pinned_in_each() {
    let digest = "a".repeat(64);
    for (source, meant) in [
        ("os = \"raspios-lite-arm64@2026-06-18\"", ImageSource::Os("raspios-lite-arm64@2026-06-18".into())),
        (
            "url = \"https://example.invalid/a.img.xz\"",
            ImageSource::Url("https://example.invalid/a.img.xz".into()),
        ),
        ("path = \"base.img\"", ImageSource::Path("/p/base.img".into())),
    ] {
        let image = format!("{source}\nsha256 = \"{digest}\"\nsigned-by = \"~/raspios.asc\"");
        let image = World::with(&one_node("").replace("path = \"base.img\"", &image)).loaded().cluster.image;
        let expected = ImageChoice {
            source: meant,
            sha256: digest.parse().ok(),
            signed_by: Some("/home/me/raspios.asc".into()),
            grow: None,
        };
        assert_eq!(image, expected);
    }
}

#[test]
fn the_sketch_of_the_design_settles_each_node() {
    let cluster = sketch().loaded().cluster;
    let expected = Settings {
        timezone: Some("Europe/London".into()),
        locale: Some("en_GB.UTF-8".into()),
        keyboard: Some(Keyboard {
            layout: "gb".into(),
            model: None,
            variant: String::new(),
            options: String::new(),
        }),
        ssh_enable: Some(true),
        ssh_password_login: Some(false),
        cmdline_add: ["cgroup_enable=cpuset", "cgroup_memory=1", "cgroup_enable=memory"]
            .map(String::from)
            .to_vec(),
        users: vec![User {
            name: "pi".into(),
            password: Some(Password::Hash(Secret::new(HASH.into()))),
            ssh_keys: vec![KEY.into()],
            groups: vec!["sudo".into()],
            shell: None,
            sudo: None,
            uid: None,
            full_name: None,
        }],
        files: vec![FileSetting {
            path: "/etc/motd".parse().unwrap(),
            content: Content::text("part of {{ cluster.name }}\n"),
            template: None,
            mode: Some(0o644),
            owner: Some(OwnerName { user: "root".into(), group: "root".into() }),
        }],
        first_boot: vec![FirstBootScript {
            name: "hello".into(),
            script: Content::text("#!/bin/sh\nlogger hello\n"),
            needs_network: false,
            needs: None,
        }],
        ..Settings::default()
    };
    cluster.nodes.iter().for_each(|node| assert_eq!(node.settings, expected));
}

#[test]
fn the_example_in_the_repository_is_a_sound_profile() {
    let world = World::with(include_str!("../../../../profiles/cluster.toml"))
        .file("/home/me/.ssh/id_ed25519.pub", KEY);
    let Loaded { cluster, warnings, .. } = world.loaded();
    assert_eq!(warnings.len(), 0, "{warnings:?}");
    assert_eq!(cluster.image.source, ImageSource::Path("/p/raspios.img.xz".into()));
    let names: Vec<&str> = cluster.nodes.iter().map(|node| node.name.as_str()).collect();
    assert_eq!(names, ["control1", "worker1", "worker2", "worker3", "worker4"]);
    let worker = &cluster.nodes[4].settings;
    assert_eq!(worker.cmdline_add.len(), 4);
    assert_eq!(worker.units_mask, ["dphys-swapfile.service"]);
    assert_eq!(worker.sysctl[0], ("fs.inotify.max_user_instances".into(), "1024".into()));
    assert_eq!(worker.config_txt.len(), 6);
    assert_eq!(worker.first_boot[0].script.bytes(), b"#!/bin/sh\nlogger \"pressed, not configured\"\n");
}

/// The settings of the only node of a profile that ends in `more`.
#[track_caller]
fn settings_of(more: &str) -> Settings {
    World::with(&one_node(more)).loaded().cluster.nodes.remove(0).settings
}

#[test]
fn nodes_take_every_way_to_write_an_address() {
    let addresses = |address: &str| -> Vec<String> {
        let profile = one_node(&format!("address = {address}"))
            .replace("\"192.168.1.0/24\"", "[\"192.168.1.0/24\", \"fd00:1::/64\"]");
        let node = World::with(&profile).loaded().cluster.nodes.remove(0);
        node.addresses.iter().map(ToString::to_string).collect()
    };
    assert_eq!(addresses("\"192.168.1.7\""), ["192.168.1.7/24"]);
    assert_eq!(addresses("\"192.168.1.7/24\""), ["192.168.1.7/24"]);
    assert_eq!(addresses("[\"192.168.1.7\", \"fd00:1::7\"]"), ["192.168.1.7/24", "fd00:1::7/64"]);
    assert!(addresses("\"dhcp\"").is_empty());
}

#[test]
fn a_prefix_stands_in_for_a_subnet() {
    let profile = one_node("address = \"10.0.0.5/16\"").replace("subnet = \"192.168.1.0/24\"\n", "");
    assert_eq!(World::with(&profile).loaded().cluster.nodes[0].addresses[0].to_string(), "10.0.0.5/16");
}

#[test]
fn padded_ranges_and_ranges_in_cidrs_are_spelled_out() {
    let profile = one_node("address = \"192.168.1.[9-11]/24\"").replace("pi1", "pi[09-11]");
    let nodes = World::with(&profile).loaded().cluster.nodes;
    let nodes: Vec<String> =
        nodes.iter().map(|node| format!("{} {}", node.name, node.addresses[0])).collect();
    assert_eq!(nodes, ["pi09 192.168.1.9/24", "pi10 192.168.1.10/24", "pi11 192.168.1.11/24"]);
}

#[test]
fn keyboards_are_a_word_or_a_table() {
    let keyboard =
        settings_of("keyboard = { layout = \"us\", variant = \"intl\", model = \"pc105\" }").keyboard;
    let expected = Keyboard {
        layout: "us".into(),
        model: Some("pc105".into()),
        variant: "intl".into(),
        options: String::new(),
    };
    assert_eq!(keyboard, Some(expected));
}

#[test]
fn config_txt_takes_strings_numbers_booleans_lists_and_removals() {
    let settings = settings_of(
        "[node.config-txt]\nall = { gpu_mem = 16, camera_auto_detect = false, arm_boost = true, \
         dtoverlay = [\"vc4\", \"disable-bt\"], display_auto_detect = { remove = true } }\n\
         [node.config-txt.pi5]\nkernel = \"kernel8.img\"",
    );
    let lines: Vec<String> = settings
        .config_txt
        .iter()
        .map(|line| format!("[{}] {}={}", line.filter, line.key, line.value.as_deref().unwrap_or("(gone)")))
        .collect();
    assert_eq!(
        lines,
        [
            "[all] gpu_mem=16",
            "[all] camera_auto_detect=0",
            "[all] arm_boost=1",
            "[all] dtoverlay=vc4",
            "[all] dtoverlay=disable-bt",
            "[all] display_auto_detect=(gone)",
            "[pi5] kernel=kernel8.img",
        ]
    );
}

#[test]
fn sysctl_keys_may_be_quoted_or_not() {
    let settings = settings_of("[node.sysctl]\nvm.swappiness = 10\n\"net.ipv4.ip_forward\" = \"1\"");
    let expected = [("net.ipv4.ip_forward", "1"), ("vm.swappiness", "10")];
    assert_eq!(settings.sysctl, expected.map(|(key, value)| (key.into(), value.into())));
}

#[test]
fn users_have_keys_of_every_kind_and_a_way_to_sudo() {
    let profile = one_node(&format!(
        "[node.user.zoe]\nssh-keys = [\"{KEY}\", \"file:keys\", \"{KEY}\"]\nsudo = \"password\"\nuid = 1500\n\
         shell = \"/bin/zsh\"\nfull-name = \"Zoë\"\npassword = {{ locked = true }}\n\
         [node.user.adam]\nsudo = false\npassword = {{ file = \"pw\" }}"
    ));
    let keys = format!("# ours\n\n{ECDSA_KEY}\n  \nfrom=\"10.0.0.0/8\" {RSA_KEY}\r\n");
    let world = World::with(&profile).file("/p/keys", keys).file("/p/pw", "correct horse\n");
    let users = world.loaded().cluster.nodes.remove(0).settings.users;
    assert_eq!(users[0].name, "zoe"); // in the order of the file, not of the alphabet
    let limited = format!("from=\"10.0.0.0/8\" {RSA_KEY}");
    assert_eq!(users[0].ssh_keys, [KEY, ECDSA_KEY, &limited]);
    assert_eq!((users[0].sudo, users[0].uid), (Some(Sudo::Password), Some(1500)));
    assert_eq!(users[0].shell.as_deref(), Some("/bin/zsh"));
    assert_eq!(users[0].full_name.as_deref(), Some("Zoë"));
    assert_eq!(users[0].password, Some(Password::Locked));
    assert_eq!(users[1].sudo, Some(Sudo::No));
    assert_eq!(users[1].password, Some(Password::Plain(Secret::new("correct horse".into()))));
}

#[test]
fn wifi_has_a_key_from_elsewhere_and_an_address_of_its_own() {
    let profile = one_node(
        "[node.wifi]\nssid = \"attic\"\ncountry = \"GB\"\nhidden = true\naddress = \"192.168.1.9\"\n\
         passphrase = { env = \"WIFI\" }",
    );
    let wifi =
        World::with(&profile).env("WIFI", "open sesame").loaded().cluster.nodes.remove(0).settings.wifi;
    let expected = Wifi {
        ssid: "attic".into(),
        passphrase: Some(WifiKey::Passphrase(Secret::new("open sesame".into()))),
        hidden: true,
        country: "GB".into(),
        addresses: vec!["192.168.1.9/24".parse().unwrap()],
    };
    assert_eq!(wifi, Some(expected));

    let psk = "0123456789abcdef".repeat(4);
    let profile = one_node("wifi = { ssid = \"attic\", country = \"GB\", psk = { file = \"/run/psk\" } }");
    let wifi = World::with(&profile).file("/run/psk", &psk).loaded().cluster.nodes.remove(0).settings.wifi;
    assert_eq!(wifi.unwrap().passphrase, Some(WifiKey::Psk(Secret::new(psk))));
}

#[test]
fn files_come_from_content_or_source_and_may_be_secret() {
    let profile = one_node(
        "[[node.file]]\npath = \"/etc/a\"\nsource = \"files/a\"\n\
         [[node.file]]\npath = \"/etc/b\"\nsource = \"~/b\"\nsecret = true\nmode = \"0600\"\nowner = \"pi:1000\"",
    );
    let world = World::with(&profile).file("/p/files/a", [0xff, 0]).file("/home/me/b", "token");
    let files = world.loaded().cluster.nodes.remove(0).settings.files;
    assert_eq!(files[0].content, Content::Plain(vec![0xff, 0].into()));
    assert_eq!((files[0].mode, &files[0].owner), (None, &None));
    assert_eq!(files[1].content, Content::secret("token"));
    assert_eq!(files[1].mode, Some(0o600));
    assert_eq!(files[1].owner, Some(OwnerName { user: "pi".into(), group: "1000".into() }));
}

#[test]
fn the_rest_of_the_tree_is_read() {
    let settings = settings_of(
        "remove = [\"/etc/motd\"]\nmodule = [\"overlay\"]\npackage = [\"vim\"]\ninterface = \"end0\"\n\
         gateway = \"192.168.1.2\"\ndns = [\"9.9.9.9\"]\nsearch = [\"lan\"]\naddress = \"192.168.1.9\"\n\
         service = { enable = [\"a\"], disable = [\"b.timer\"], mask = [\"b.timer\"] }\n\
         hosts = [{ address = \"10.0.0.1\", names = [\"nas.lan\", \"nas\"] }]\n\
         directory = [{ path = \"/srv//x/\", mode = \"1777\" }]\n\
         symlink = [{ path = \"/a\", target = \"b\" }]\n\
         fstab = [{ device = \"tmpfs\", mount = \"/tmp\", type = \"tmpfs\", options = \"size=1G\", pass = 2 }, \
         { device = \"/swap\", mount = \"none\", type = \"swap\" }]",
    );
    assert_eq!(settings.removals[0].as_str(), "/etc/motd");
    assert_eq!((&settings.modules[0][..], &settings.packages[0][..]), ("overlay", "vim"));
    assert_eq!(settings.network.interface.as_deref(), Some("end0"));
    assert_eq!(settings.network.gateways[0].to_string(), "192.168.1.2");
    assert_eq!(settings.network.dns[0].to_string(), "9.9.9.9");
    assert_eq!(settings.network.search, ["lan"]);
    assert_eq!(settings.units_enable, ["a.service"]);
    assert_eq!((&settings.units_disable[0][..], &settings.units_mask[0][..]), ("b.timer", "b.timer"));
    assert_eq!(settings.hosts[0].names, ["nas.lan", "nas"]);
    assert_eq!(
        (settings.directories[0].path.as_str(), settings.directories[0].mode),
        ("/srv/x", Some(0o1777))
    );
    assert_eq!(settings.symlinks[0].target, "b");
    assert_eq!((&settings.fstab[0].options[..], settings.fstab[0].pass), ("size=1G", 2));
    assert_eq!((&settings.fstab[1].options[..], settings.fstab[1].pass), ("defaults", 0));
}

#[test]
fn what_is_hardly_meant_is_a_warning() {
    let profile = one_node("address = \"192.168.1.9/16\"\n[role.idle]").replace("pi1", "Pi1");
    let warnings: Vec<String> =
        World::with(&profile).loaded().warnings.iter().map(|warning| warning.message.clone()).collect();
    assert_eq!(
        warnings,
        [
            "`Pi1` has capitals, which the network does not tell apart",
            "found prefix /16, but the subnet is 192.168.1.0/24",
            "no node has the role `idle`",
        ]
    );
}
