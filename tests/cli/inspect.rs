//! `cardpress inspect`: what is told of an image, that each warning has its cause, and that nothing is written.

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::{FileExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::support::loops::Loop;
use crate::support::shapes::{EXT4_2017, Shape};
use crate::support::tools::{may_attach, text, tool};
use crate::support::world::{World, profile, small_base};

/// Where the partitions of a shape begin: 4 MiB, and behind a boot partition of 36 MiB.
const BOOT_AT: u64 = 8192 * 512;
const ROOT_AT: u64 = (8192 + 73_728) * 512;

const HEX: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

fn shape() -> Shape {
    Shape::raspios(12, "bookworm", "arm64", "2023-10-10", "")
}

#[track_caller]
fn inspect(world: &World, image: &str) -> Value {
    let run = world.run(&["inspect", "--json", image]).succeeded();
    serde_json::from_str(&run.out).unwrap()
}

#[track_caller]
fn names(told: &Value, key: &str) -> Vec<String> {
    let list = told[key].as_array().unwrap().iter();
    list.map(|remark| remark["name"].as_str().unwrap().to_owned()).collect()
}

/// The first of the warnings of an image that was made with their causes; without them there are none.
#[track_caller]
fn with_and_without(
    wanted: &[&str],
    with: impl FnOnce(&mut Shape),
    without: impl FnOnce(&mut Shape),
) -> Value {
    let world = World::in_memory();
    let mut sound = shape();
    without(&mut sound);
    sound.make(&world, "sound.img");
    assert_eq!(names(&inspect(&world, "sound.img"), "warnings"), [""; 0]);
    let mut spoilt = shape();
    with(&mut spoilt);
    spoilt.make(&world, "spoilt.img");
    let told = inspect(&world, "spoilt.img");
    assert_eq!(names(&told, "warnings"), wanted, "{}", told["warnings"]);
    told["warnings"][0]["text"].clone()
}

/// The same for bytes of the finished image: those at `at` become `bytes`.
#[track_caller]
fn spoilt(world: &World, at: u64, bytes: &[u8]) -> Value {
    let image = shape().make(world, "disk.img");
    assert_eq!(names(&inspect(world, "disk.img"), "warnings"), [""; 0]);
    File::options().write(true).open(image).unwrap().write_all_at(bytes, at).unwrap();
    inspect(world, "disk.img")
}

#[test]
fn inspect_tells_people_of_disk_system_and_first_boot() {
    let world = World::new();
    let run = world.run(&["inspect", text(&small_base())]).succeeded();
    for words in [
        "small-base.img.xz: 256 MiB, MBR, disk id 6d1c0de5\n",
        "  1  boot  FAT32 `bootfs`, 39.3 MiB free of 39.3 MiB\n           40 MiB from 8 MiB, type 0x0c",
        "  2  root  ext4 `rootfs`",
        "PARTUUID 6d1c0de5-01",
        "UUID 2f6dd5a1-0c3e-4b8e-9a57-3a1e5c7d9b10, clean, last written 2026-06-18 00:00:00 UTC\n",
        "metadata_csum_seed",
        "8 MiB: in no partition\n",
        "\nrelease       Debian GNU/Linux 13 (trixie) [debian]\n              Raspberry Pi reference 2026-06-18 (lite)\n",
        "\narchitecture  arm64\n",
        "\nhost name     raspberrypi\n",
        "pi (uid 1000): no password, sudo, shell /usr/sbin/nologin\n",
        "\nnetwork       NetworkManager\n",
        "\nssh           off; takes passwords; no host keys yet\n",
        "Raspberry Pi 5, 500, CM5 (kernel_2712.img, kernel8.img)\n",
        "\nfirst boot    resize: grows the root partition",
        "\ncustomised    nothing found\n",
    ] {
        assert!(run.out.contains(words), "{words}\n{}", run.out);
    }
    let bar = run.out.lines().nth(1).unwrap();
    assert!(bar.starts_with("[..|1-") && bar.contains("|2###") && bar.ends_with("---]"), "{bar}");
    assert_eq!(bar.len(), 76);
    assert!(!run.out.contains("warnings"), "{}", run.out);
    assert!(run.out.lines().all(|line| line.chars().count() <= 100), "{}", run.out);
}

/// What the page shows is what the program says.
#[test]
fn inspect_json_is_as_documented() {
    let world = World::new();
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/inspect.md");
    let page = fs::read_to_string(page).unwrap();
    let sample = page.split("```json\n").nth(1).and_then(|rest| rest.split("```").next()).expect("a sample");
    let sample: Value = serde_json::from_str(sample).unwrap();
    let mut told = inspect(&world, text(&small_base()));
    assert_eq!(told["schema"], 1);
    told["image"] = "small-base.img.xz".into();
    assert_eq!(told, sample, "{}", serde_json::to_string_pretty(&told).unwrap());
}

#[test]
fn inspect_knows_a_pressed_node_again() {
    let world = World::new();
    let more = "[[defaults.first-boot]]\nname = \"hello\"\nscript = \"#!/bin/sh\\n\"\n\
                [defaults.wifi]\nssid = \"my net\"\npassphrase = { env = \"PHRASE\" }\ncountry = \"GB\"\n";
    world.write("p.toml", &profile(&[("alpha", "192.168.7.11"), ("beta", "192.168.7.12")], more));
    let output = world
        .command(&["build", "p.toml", "--node", "beta"])
        .env("PHRASE", "a long phrase")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let told = inspect(&world, "out/test/beta.img");
    assert_eq!(names(&told, "warnings"), [""; 0], "{}", told["warnings"]);
    let system = &told["system"];
    assert_eq!(system["host_name"], "beta");
    assert_eq!(system["ssh"]["is_enabled"], true);
    assert_eq!(system["ssh"]["host_keys"], serde_json::json!(["ed25519"]));
    let fixed = &system["network"]["fixed"][0];
    assert_eq!((&fixed["interface"], &fixed["addresses"][0]), (&"eth0".into(), &"192.168.7.12/24".into()));
    assert_eq!(system["network"]["wifi"][0]["name"], "my net");
    assert_eq!(system["network"]["wifi_country"], "GB");
    let users = system["users"].as_array().unwrap();
    let ops = users.iter().find(|user| user["name"] == "ops").expect("the user of the profile");
    assert_eq!((&ops["is_sudoer"], &ops["authorized_keys"]), (&true.into(), &2.into()), "{ops}");
    let traces = told["customised"].as_array().unwrap();
    assert!(traces.iter().all(|trace| trace["by"] == "cardpress"), "{}", told["customised"]);
    let what: Vec<&str> = traces.iter().filter_map(|trace| trace["what"].as_str()).collect();
    assert!(what.contains(&"pressed as node beta of cluster test"), "{what:?}");
    let manifest: Value =
        serde_json::from_slice(&fs::read(world.path("out/test/manifest.json")).unwrap()).unwrap();
    let base = small_base().file_name().unwrap().to_str().unwrap().to_owned();
    let marker = serde_json::json!({
        "node": "beta", "cluster": "test", "base": base, "base_digest": manifest["base"]["digest"],
    });
    assert_eq!(system["marker"], marker);
    let shown = world.run(&["inspect", "out/test/beta.img"]).succeeded().out;
    assert!(shown.contains("\npressed as    node beta of cluster test, from "), "{shown}");
    assert!(what.contains(&"first-boot steps: 01-hello"), "{what:?}");
    assert!(what.contains(&"names of the cluster: alpha, beta"), "{what:?}");
    let steps = told["first_boot"].as_array().unwrap();
    assert!(steps.iter().any(|step| step["by"] == "cardpress-first-boot.service"), "{}", told["first_boot"]);
    assert!(!told.to_string().contains("a long phrase"));
}

#[test]
fn inspect_warns_of_a_second_line_in_cmdline_txt() {
    let line = "console=tty1 root=PARTUUID=0badcafe-02 rootwait\n";
    with_and_without(
        &["cmdline-lines"],
        |shape| {
            shape.boot("cmdline.txt", &format!("{line}cgroup_enable=memory\n"));
        },
        |shape| {
            shape.boot("cmdline.txt", &format!("{line}\n"));
        },
    );
}

#[test]
fn inspect_warns_of_a_passphrase_on_the_boot_partition_and_not_of_its_hash() {
    let conf = |psk: &str| format!("country=GB\nnetwork={{\n\tssid=\"n\"\n\tpsk={psk}\n}}\n");
    let said = with_and_without(
        &["plaintext-secret"],
        |shape| {
            shape.boot("wpa_supplicant.conf", &conf("\"a long phrase\""));
        },
        |shape| {
            shape.boot("wpa_supplicant.conf", &conf(HEX));
        },
    );
    let wanted = "wpa_supplicant.conf on the boot partition has a Wi-Fi passphrase in plain text (line 4)";
    assert_eq!(said, wanted);
}

#[test]
fn inspect_warns_of_plain_secrets_of_imager_and_cloud_init() {
    let put = |shape: &mut Shape, phrase: &str, passwd: &str| {
        let net = format!("wifis:\n  wlan0:\n    access-points:\n      n:\n        password: \"{phrase}\"\n");
        let helper = "/usr/lib/raspberrypi-sys-mods/imager_custom";
        shape
            .boot("firstrun.sh", &format!("#!/bin/bash\n{helper} set_wlan 'n' '{phrase}' 'GB'\n"))
            .boot("user-data", &format!("#cloud-config\nuser:\n  name: ann\n  {passwd}\n"))
            .boot("network-config", &net);
    };
    with_and_without(
        &["plaintext-secret"; 3],
        |shape| put(shape, "a long phrase", "plain_text_passwd: secret"),
        |shape| put(shape, HEX, "passwd: \"$6$salt$hash\""),
    );
}

#[test]
fn inspect_warns_of_private_keys_that_everybody_can_read() {
    let put = |shape: &mut Shape, of_host: u32, of_user: u32| {
        shape
            .file_as("/etc/ssh/ssh_host_ed25519_key", "key", of_host, 0)
            .file_as("/home/pi/.ssh/id_rsa", "key", of_user, 1000)
            .file_as("/home/pi/.ssh/id_rsa.pub", "key", 0o644, 1000);
    };
    let said = with_and_without(
        &["readable-key"; 2],
        |shape| put(shape, 0o644, 0o604),
        |shape| put(shape, 0o600, 0o600),
    );
    assert_eq!(said, "the private key /etc/ssh/ssh_host_ed25519_key is readable by everybody (mode 0644)");
}

fn shadow(shape: &mut Shape, hash: &str) {
    let text = format!("root:*:19000:0:99999:7:::\npi:{hash}:19000:0:99999:7:::\n");
    shape.file_as("/etc/shadow", &text, 0o640, 0);
}

#[test]
fn inspect_warns_of_the_password_that_everybody_knows() {
    let hash =
        |password: &str| tool("openssl", &["passwd", "-6", "-salt", "saltsalt", password]).trim().to_owned();
    let (known, own) = (hash("raspberry"), hash("another"));
    let said =
        with_and_without(&["default-password"], |shape| shadow(shape, &known), |shape| shadow(shape, &own));
    assert_eq!(said, "`pi` has the well-known password `raspberry`");
    // With ssh on, everybody on the net can use it; not where it takes keys only.
    let world = World::in_memory();
    for (login, wanted) in [
        ("yes", "`pi` has the well-known password `raspberry`, and ssh takes it"),
        ("no", said.as_str().unwrap()),
    ] {
        let mut open = shape();
        shadow(&mut open, &known);
        open.boot("ssh", "")
            .file("/etc/ssh/sshd_config.d/1.conf", &format!("PasswordAuthentication {login}\n"));
        open.make(&world, "open.img");
        assert_eq!(inspect(&world, "open.img")["warnings"][0]["text"], wanted);
    }
}

#[test]
fn inspect_warns_of_a_login_without_a_password() {
    with_and_without(&["empty-password"], |shape| shadow(shape, ""), |shape| shadow(shape, "*"));
}

#[test]
fn inspect_warns_of_a_boot_partition_that_is_nearly_full() {
    let size = |mib: usize| "x".repeat(mib << 20);
    with_and_without(
        &["boot-full"],
        |shape| {
            shape.boot("big", &size(33));
        },
        |shape| {
            shape.boot("big", &size(20));
        },
    );
}

#[test]
fn inspect_warns_of_a_root_filesystem_that_is_nearly_full() {
    let size = |mib: usize| "x".repeat(mib << 20);
    with_and_without(
        &["root-full"],
        |shape| {
            shape.file("/big", &size(26));
        },
        |shape| {
            shape.file("/big", &size(16));
        },
    );
}

#[test]
fn inspect_warns_of_filesystems_that_were_not_unmounted() {
    let world = World::in_memory();
    // ClnShutBitMask in the second entry of the FAT, which begins behind 32 sectors.
    let told = spoilt(&world, BOOT_AT + 32 * 512 + 7, &[0x07]);
    assert_eq!(told["warnings"][0]["text"], "partition 1 is not clean: it was not unmounted cleanly");
    assert_eq!(names(&told, "warnings"), ["not-clean"]);

    // s_state; without checksums, so that nothing else is wrong.
    let mut old = shape();
    old.features = EXT4_2017;
    old.make(&world, "clean.img");
    assert_eq!(names(&inspect(&world, "clean.img"), "warnings"), [""; 0]);
    old.make_spoilt(&world, "unclean.img", |root| root[1024 + 0x3a] = 0);
    let told = inspect(&world, "unclean.img");
    assert_eq!(names(&told, "warnings"), ["not-clean"], "{}", told["warnings"]);
    assert_eq!(told["partitions"][1]["holds"]["state"], "not unmounted cleanly");
}

#[test]
fn inspect_tells_the_rest_when_the_root_cannot_be_read() {
    let world = World::in_memory();
    // The label: the checksum of the superblock is wrong then.
    let told = spoilt(&world, ROOT_AT + 1024 + 0x78, b"X");
    assert_eq!(names(&told, "warnings"), ["unreadable"]);
    let why = told["system"]["unread"].as_str().unwrap();
    assert!(why.contains("superblock checksum"), "{why}");
    assert_eq!(told["partitions"][1]["holds"]["label"], "Xootfs");
    assert_eq!(told["boot"]["partition"], 1);
    assert!(told["customised"].is_array() && told["first_boot"].is_array());
    let run = world.run(&["inspect", "disk.img"]).succeeded();
    assert!(run.out.contains("\nsystem        not read: "), "{}", run.out);
}

#[test]
fn inspect_warns_of_a_partition_that_was_cut_short() {
    let world = World::in_memory();
    let image = shape().make(&world, "disk.img");
    assert_eq!(names(&inspect(&world, "disk.img"), "warnings"), [""; 0]);
    let len = fs::metadata(&image).unwrap().len() - 512;
    File::options().write(true).open(&image).unwrap().set_len(len).unwrap();
    let told = inspect(&world, "disk.img");
    assert_eq!(names(&told, "warnings"), ["outside-disk"], "{}", told["warnings"]);
    assert_eq!(told["partitions"][1]["holds"]["unread"], "it does not lie inside the disk");
    assert_eq!(told["boot"]["partition"], 1);
}

#[test]
fn inspect_warns_of_partitions_that_overlap() {
    // Sectors of the second entry: it begins a sector early and ends where it did.
    let world = World::in_memory();
    let start = u32::try_from(ROOT_AT / 512 - 1).unwrap();
    let told = spoilt(&world, 446 + 16 + 8, &start.to_le_bytes());
    assert_eq!(told["warnings"][0]["name"], "overlap");
    assert_eq!(told["warnings"][0]["text"], "partitions 1 and 2 overlap: writing to one destroys the other");
    world.run(&["inspect", "disk.img"]).succeeded();
}

#[test]
fn inspect_warns_of_other_faults_of_the_table() {
    let world = World::in_memory();
    let told = spoilt(&world, 446, &[0x12]);
    assert_eq!(names(&told, "warnings"), ["table"]);
    let said = told["warnings"][0]["text"].as_str().unwrap();
    assert!(said.contains("partition 1: flag is 0x12, wanted 0x00 or 0x80"), "{said}");
}

#[test]
fn inspect_warns_of_a_root_that_is_on_another_disk() {
    let world = World::in_memory();
    // The disk id, which the names of the partitions come from.
    let told = spoilt(&world, 440, &[0x11]);
    assert_eq!(names(&told, "warnings"), ["foreign-root"; 3], "{}", told["warnings"]);
    assert_eq!(
        told["warnings"][0]["text"],
        "cmdline.txt names PARTUUID=0badcafe-02 for /, which is not on this disk: it will not start"
    );
}

#[test]
fn inspect_notes_what_copies_would_share() {
    let world = World::in_memory();
    shape().make(&world, "disk.img");
    assert_eq!(names(&inspect(&world, "disk.img"), "notes"), [""; 0]);
    let mut used = shape();
    used.file("/etc/machine-id", "0123456789abcdef0123456789abcdef\n");
    used.file_as("/etc/ssh/ssh_host_rsa_key", "key", 0o600, 0);
    used.make(&world, "used.img");
    let told = inspect(&world, "used.img");
    assert_eq!(names(&told, "notes"), ["host-keys", "machine-id"]);
    assert_eq!(names(&told, "warnings"), [""; 0]);
}

#[test]
fn inspect_finds_what_imager_and_cloud_init_were_told() {
    let world = World::in_memory();
    let mut shape =
        Shape::raspios(12, "bookworm", "arm64", "2023-10-10", "init=/usr/lib/raspberrypi-sys-mods/firstboot");
    let line =
        "root=PARTUUID=0badcafe-02 systemd.run=/boot/firstrun.sh systemd.unit=kernel-command-line.target\n";
    shape
        .boot("cmdline.txt", line)
        .boot("firstrun.sh", "#!/bin/bash\n")
        .boot("custom.toml", "config_version = 1\n");
    shape
        .boot("userconf.txt", "ann:$6$salt$hash\n")
        .boot("user-data", "#cloud-config\n# nothing\n")
        .boot("ssh", "");
    shape.make(&world, "disk.img");
    let told = inspect(&world, "disk.img");
    let paths: Vec<&str> =
        told["customised"].as_array().unwrap().iter().filter_map(|trace| trace["path"].as_str()).collect();
    assert_eq!(paths, ["firstrun.sh", "custom.toml", "userconf.txt", "ssh"]);
    let steps: Vec<&str> =
        told["first_boot"].as_array().unwrap().iter().filter_map(|step| step["by"].as_str()).collect();
    assert!(steps.contains(&"/boot/firstrun.sh") && steps.contains(&"userconfig.service"), "{steps:?}");
    assert_eq!(told["system"]["ssh"]["is_asked_for"], true);
}

#[test]
fn inspect_believes_no_marker() {
    let marker = "/etc/cardpress-release";
    for (content, wanted) in [
        ("CARDPRESS_NODE=\"\u{1b}[2J\"\nCARDPRESS_BASE_DIGEST=\"\u{7}\"\n".to_owned(), Some("\u{fffd}[2J")),
        (format!("CARDPRESS_NODE=n\n{}", "x".repeat(3 << 20)), None),
        ("CARDPRESS_NODE=\n".to_owned(), None),
    ] {
        let world = World::in_memory();
        let mut spoilt = shape();
        spoilt.file(marker, &content);
        spoilt.make(&world, "disk.img");
        let told = inspect(&world, "disk.img");
        assert_eq!(told["system"]["marker"]["node"].as_str(), wanted);
        assert_eq!(told["system"]["marker"]["base_digest"], Value::Null);
        assert_eq!(told["customised"].as_array().unwrap().is_empty(), wanted.is_none());
        let shown = world.run(&["inspect", "disk.img"]).succeeded().out;
        assert!(!shown.contains('\u{1b}') && shown.contains("\npressed as ") == wanted.is_some(), "{shown}");
    }
}

#[test]
fn inspect_describes_what_is_no_raspberry_pi_os() {
    let world = World::in_memory();
    // Debian of another kind, on a GPT.
    let mut debian = Shape::debian(12, "bookworm", "amd64", "/boot/firmware");
    debian.gpt("");
    debian.make(&world, "debian.img");
    let told = inspect(&world, "debian.img");
    assert_eq!((&told["table"]["kind"], &told["system"]["issue"]), (&"gpt".into(), &Value::Null));
    assert_eq!(names(&told, "warnings"), [""; 0], "{}", told["warnings"]);
    let why = told["system"]["architecture"]["unread"].as_str().unwrap();
    assert!(why.contains("class 2 for machine 62"), "{why}");
    assert_eq!(told["boot"]["boards"], serde_json::json!([]));

    // Nothing at all, and something that is only known by name.
    fs::write(world.path("zeros.img"), vec![0; 1 << 20]).unwrap();
    let told = inspect(&world, "zeros.img");
    assert_eq!((&told["table"], &told["partitions"]), (&Value::Null, &serde_json::json!([])));
    assert_eq!(told["free"][0]["len_bytes"], 1 << 20);
    assert_eq!(told["boot"]["unread"], "there is no boot (FAT) filesystem");
    let run = world.run(&["inspect", "zeros.img"]).succeeded();
    assert!(run.out.contains("no partition table and no filesystem that is known here"), "{}", run.out);
    let mut luks = vec![0; 1 << 20];
    luks[..8].copy_from_slice(b"LUKS\xba\xbe\0\x02");
    fs::write(world.path("luks.img"), luks).unwrap();
    let told = inspect(&world, "luks.img");
    assert_eq!(told["partitions"][0]["holds"]["kind"], "LUKS encryption");

    // A filesystem without a disk.
    File::create(world.path("ext4")).unwrap().set_len(16 << 20).unwrap();
    tool("mke2fs", &["-q", "-F", "-text4", "-L", "alone", text(&world.path("ext4"))]);
    let told = inspect(&world, "ext4");
    assert_eq!(told["partitions"][0]["holds"]["label"], "alone");
    assert_eq!((&told["partitions"][0]["number"], &told["system"]["release"]), (&Value::Null, &Value::Null));
}

#[test]
fn inspect_shows_names_of_the_image_so_that_they_steer_no_terminal() {
    let world = World::in_memory();
    let mut shape = shape();
    shape
        .file("/etc/hostname", "evil\x1b]0;title\x07\n")
        .boot("cmdline.txt", "a\x1b[31mb root=PARTUUID=0badcafe-02\n");
    shape.make(&world, "disk.img");
    let run = world.run(&["inspect", "disk.img"]).succeeded();
    assert!(!run.out.contains(['\x1b', '\x07']), "{}", run.out);
    assert!(run.out.contains("host name     evil\\u{1b}]0;title\\u{7}\n"), "{}", run.out);
    assert!(run.out.contains("a\\u{1b}[31mb"), "{}", run.out);
}

#[test]
fn inspect_writes_nothing_to_the_image() {
    let world = World::in_memory();
    let image = shape().make(&world, "disk.img");
    fs::set_permissions(&image, fs::Permissions::from_mode(0o444)).unwrap();
    let before = fs::read(&image).unwrap();
    let told = inspect(&world, "disk.img");
    assert_eq!(told["system"]["network"]["stack"], "NetworkManager");
    assert!(fs::read(&image).unwrap() == before);
    let run = world.run(&["inspect", "disk.img", "--svg", "./disk.img"]);
    assert_eq!(run.status, 2, "{}", run.err);
    assert!(run.err.contains("would replace what is looked at"), "{}", run.err);
    assert!(fs::read(&image).unwrap() == before);
}

#[test]
fn inspect_draws_a_picture_that_stands_alone() {
    let world = World::in_memory();
    let image = shape().make(&world, "a <b> & c.img");
    world.run(&["fs", text(&image), "set-label", "<&\"'>"]).succeeded();
    let run = world.run(&["inspect", "a <b> & c.img", "--svg", "map.svg"]).succeeded();
    assert!(run.err.contains("wrote map.svg"), "{}", run.err);
    let picture = fs::read_to_string(world.path("map.svg")).unwrap();
    let document = roxmltree::Document::parse(&picture).expect("well-formed XML");
    let root = document.root_element();
    // In percent it would be a stamp in a page.
    assert!(root.attribute("width").unwrap().parse::<u32>().is_ok(), "{picture}");
    let child =
        |name: &str| root.children().find(|node| node.has_tag_name(("http://www.w3.org/2000/svg", name)));
    assert_eq!(child("title").unwrap().text(), Some("a <b> & c.img: 72 MiB"));
    let about = child("desc").unwrap().text().unwrap();
    assert!(
        about.contains("1 BOOT (FAT32), boot: 36 MiB from 4 MiB") && about.contains("2 <&\"'> (ext4), root"),
        "{about}"
    );
    for word in ["prefers-color-scheme:dark", "role=\"img\"", "aria-labelledby=\"title desc\""] {
        assert!(picture.contains(word), "{word}");
    }
    // Nothing is fetched.
    assert_eq!(picture.matches("http").count(), 1, "{picture}");
    let run = world.run(&["inspect", "a <b> & c.img", "--svg", "missing/map.svg"]);
    assert_eq!(run.status, 1);
    assert!(run.err.contains("missing/map.svg"), "{}", run.err);
}

#[test]
fn inspect_refuses_what_it_cannot_understand_as_usage() {
    let world = World::new();
    for words in [&["inspect"][..], &["inspect", "a", "b"], &["inspect", "--wrong", "a"]] {
        assert_eq!(world.run(words).status, 2, "{words:?}");
    }
    fs::create_dir(world.path("folder")).unwrap();
    for what in ["nothing.img", "folder", "/dev/null"] {
        let run = world.run(&["inspect", what]);
        assert_eq!(run.status, 1, "{what}: {}", run.out);
        assert!(run.err.contains(what) && run.out.is_empty(), "{}", run.err);
    }
    let help = world.run(&["inspect", "--help"]).succeeded().out;
    assert!(
        help.contains("Exit status: 0 it was read, also with warnings; 1 it cannot be read at all"),
        "{help}"
    );
}

#[test]
fn inspect_reads_a_whole_disk_and_no_partition_of_one() {
    if !may_attach() {
        return;
    }
    let world = World::new();
    let image: PathBuf = shape().make(&world, "disk.img");
    let before = fs::read(&image).unwrap();
    let device = Loop::over(&image, &["--partscan", "--read-only"]);
    let mut of_device = inspect(&world, text(device.path()));
    of_device["image"] = "disk.img".into();
    assert_eq!(of_device, inspect(&world, "disk.img"));
    let partition = device.partition(2);
    if partition.exists() {
        let run = world.run(&["inspect", text(&partition)]);
        assert_eq!(run.status, 1, "{}", run.out);
        assert!(run.err.contains("is no whole disk: it is a partition"), "{}", run.err);
    } else {
        let _ = writeln!(std::io::stderr(), "SKIPPED: no nodes for partitions");
    }
    assert!(fs::read(&image).unwrap() == before);
}
