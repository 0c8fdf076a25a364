use crate::support::tools::{must, text, tool};
use crate::support::world::{PUBLIC_KEY, Run, World, small_base};

fn customize(world: &World, words: &[&str]) -> Run {
    let base = small_base();
    world.run(&[&["customize", text(&base)], words].concat())
}

fn on(world: &World, image: &str, path: &str) -> String {
    world.run(&["fs", image, "cat", path]).succeeded().out
}

/// A world with what flags name.
fn world() -> World {
    let world = World::new();
    world.write("id.pub", &format!("{PUBLIC_KEY}\n"));
    world.write("password", "correct horse battery staple\n");
    world.write("motd", "hello\n");
    world.write("setup.sh", "#!/bin/sh\necho ready\n");
    world
}

#[test]
fn every_flag_ends_up_in_the_image() {
    let world = world();
    let run = customize(
        &world,
        &[
            "--output",
            "pi.img",
            "--hostname",
            "pi4",
            "--domain",
            "lan",
            "--address",
            "192.168.1.20/24",
            "--gateway",
            "192.168.1.1",
            "--dns",
            "192.168.1.1",
            "--dns",
            "9.9.9.9",
            "--wifi",
            "home",
            "--wifi-password-file",
            "password",
            "--country",
            "GB",
            "--user",
            "ops",
            "--password-file",
            "password",
            "--ssh-key",
            "id.pub",
            "--group",
            "sudo",
            "--sudo",
            "nopasswd",
            "--timezone",
            "Europe/London",
            "--locale",
            "en_GB.UTF-8",
            "--keyboard",
            "gb",
            "--cmdline-add",
            "cgroup_enable=memory",
            "--cmdline-remove",
            "quiet",
            "--config-txt",
            "gpu_mem=16",
            "--config-txt",
            "[pi5]dtparam=pciex1",
            "--config-txt",
            "[pi5]dtparam=pciex1_gen=3",
            "--file",
            "motd:/etc/motd:0640:root:ops",
            "--first-boot",
            "setup.sh",
            "--sysctl",
            "net.ipv4.ip_forward=1",
            "--module",
            "overlay",
            "--package",
            "jq",
            "--enable",
            "ssh",
            "--remove",
            "/etc/issue.net",
            "--set",
            "hosts=[{address=\"10.0.0.9\", names=[\"nas\"]}]",
            "--grow",
            "300MiB",
        ],
    )
    .succeeded();
    assert!(run.err.contains("once it runs: ssh ops@192.168.1.20\n"), "{}", run.err);
    assert!(run.err.contains("it will show the host key ssh-ed25519 "), "{}", run.err);
    for (path, wanted) in [
        ("/etc/hostname", "pi4\n"),
        ("/etc/hosts", "127.0.1.1\tpi4.lan pi4"),
        ("/etc/hosts", "10.0.0.9\tnas"),
        ("/home/ops/.ssh/authorized_keys", PUBLIC_KEY),
        ("/etc/passwd", "ops:x:1000:"),
        ("/etc/timezone", "Europe/London"),
        ("/etc/default/keyboard", "XKBLAYOUT=\"gb\""),
        ("/boot/firmware/cmdline.txt", "cgroup_enable=memory"),
        ("/boot/firmware/cmdline.txt", "cfg80211.ieee80211_regdom=GB"),
        ("/boot/firmware/config.txt", "gpu_mem=16"),
        ("/boot/firmware/config.txt", "[pi5]\ndtparam=pciex1\ndtparam=pciex1_gen=3\n"),
        ("/etc/motd", "hello\n"),
        ("/etc/sysctl.d/90-cardpress.conf", "net.ipv4.ip_forward"),
        ("/etc/modules-load.d/cardpress.conf", "overlay"),
        ("/usr/local/lib/cardpress/first-boot.d/02-setup", "echo ready"),
    ] {
        let found = on(&world, "pi.img", path);
        assert!(found.contains(wanted), "{path} holds\n{found}\nwanted {wanted}");
    }
    let motd = world.run(&["fs", "pi.img", "stat", "/etc/motd"]).succeeded().out;
    assert!(motd.contains("0640") && motd.contains("owner: 0:1000"), "{motd}");
    let image = world.path("pi.img");
    assert_eq!(std::fs::metadata(&image).unwrap().len(), 300 << 20);
    assert!(!on(&world, "pi.img", "/etc/shadow").contains("correct horse"), "a password was written out");
    world.run(&["check", "pi.img"]).succeeded();
    let table = tool("sfdisk", &["--json", text(&image)]);
    let table: serde_json::Value = serde_json::from_str(&table).unwrap();
    let sectors = table["partitiontable"]["partitions"][1]["start"].as_u64().unwrap();
    let root = world.path("root.img");
    let bytes = std::fs::read(&image).unwrap();
    std::fs::write(&root, &bytes[usize::try_from(sectors * 512).unwrap()..]).unwrap();
    must("e2fsck", ["-fn", text(&root)]);
}

#[test]
fn the_saved_profile_builds_the_same_image() {
    let world = world();
    let flags = ["--hostname", "pi4", "--user", "ops", "--ssh-key", "id.pub", "--file", "motd:/etc/motd"];
    std::fs::create_dir(world.path("kept")).unwrap();
    customize(&world, &[&["--output", "pi.img", "--save-profile", "kept/pi4.toml"], &flags[..]].concat())
        .succeeded();
    world.run(&["build", "kept/pi4.toml"]).succeeded();
    let [customized, built] =
        ["pi.img", "out/pi4/pi4.img"].map(|path| std::fs::read(world.path(path)).unwrap());
    assert!(customized == built, "the two images differ");
    // The folder of the profile is where its paths begin.
    let profile = std::fs::read_to_string(world.path("kept/pi4.toml")).unwrap();
    assert!(profile.contains("name = \"pi4\""), "{profile}");
}

#[test]
fn a_profile_alone_may_be_asked_for_and_no_image_is_opened() {
    let world = world();
    let run = world
        .run(&["customize", "raspios-lite-arm64", "--save-profile", "p.toml", "--user", "ops", "--offline"])
        .succeeded();
    assert!(!run.err.contains("pressing"), "{}", run.err);
    let profile = std::fs::read_to_string(world.path("p.toml")).unwrap();
    assert!(profile.contains("os = \"raspios-lite-arm64\""), "{profile}");
}

#[test]
fn two_runs_without_a_seed_are_two_machines_and_with_one_the_same() {
    let world = world();
    let key = |run: &Run| {
        let told: serde_json::Value = serde_json::from_str(&run.out).unwrap();
        told["host_key"].as_str().unwrap().to_owned()
    };
    let one = customize(&world, &["--output", "a.img", "--json"]).succeeded();
    let other = customize(&world, &["--output", "b.img", "--json"]).succeeded();
    assert_ne!(key(&one), key(&other));
    assert!(!world.path(".cardpress").exists(), "a seed was left behind");
    assert!(!world.path("cardpress.lock").exists(), "a lock was left behind");
    world.write("seed", &format!("{}\n", "5a".repeat(32)));
    let one = customize(&world, &["--output", "c.img", "--json", "--seed-file", "seed"]).succeeded();
    let other = customize(&world, &["--output", "d.img", "--json", "--seed-file", "seed"]).succeeded();
    assert_eq!(key(&one), key(&other));
    assert!(std::fs::read(world.path("c.img")).unwrap() == std::fs::read(world.path("d.img")).unwrap());
}

#[test]
fn a_raw_image_is_changed_in_place_and_is_sound() {
    let world = world();
    customize(&world, &["--output", "pi.img", "--hostname", "before"]).succeeded();
    let before = std::fs::metadata(world.path("pi.img")).unwrap().len();
    let words =
        ["customize", "pi.img", "--in-place", "--hostname", "after", "--user", "ops", "--ssh-key", "id.pub"];
    world.run(&words).succeeded();
    assert_eq!(on(&world, "pi.img", "/etc/hostname"), "after\n");
    // Another node from the same base.
    let marker = on(&world, "pi.img", "/etc/cardpress-release");
    assert!(marker.contains("CARDPRESS_NODE=\"after\"\nCARDPRESS_BASE=\"small-base"), "{marker}");
    assert!(marker.contains("\nCARDPRESS_BASE_DIGEST=\"") && !marker.contains("before"), "{marker}");
    assert_eq!(std::fs::metadata(world.path("pi.img")).unwrap().len(), before);
    world.run(&["check", "pi.img"]).succeeded();
    assert!(!world.path(".pi.img.cardpress-redo").exists());
}

#[test]
fn in_place_on_an_archive_is_refused_and_the_archive_stays() {
    let world = world();
    std::fs::copy(small_base(), world.path("base.img.xz")).unwrap();
    let before = std::fs::read(world.path("base.img.xz")).unwrap();
    let run = world.run(&["customize", "base.img.xz", "--in-place", "--hostname", "x"]);
    assert_eq!(run.status, 1, "{}", run.err);
    assert!(run.err.contains("base.img.xz") && run.err.contains("xz"), "{}", run.err);
    assert!(std::fs::read(world.path("base.img.xz")).unwrap() == before);
}

#[test]
fn compressed_outputs_are_told_by_their_names_and_hold_the_same_image() {
    let world = world();
    world.write("seed", &format!("{}\n", "5a".repeat(32)));
    for name in ["pi.img", "pi.img.xz", "pi.img.zst", "pi.img.gz"] {
        customize(&world, &["--output", name, "--seed-file", "seed", "--hostname", "pi4"]).succeeded();
    }
    let unpack = |tool: &str, name: &str| must(tool, ["-dk", "-f", text(&world.path(name))]);
    let raw = std::fs::read(world.path("pi.img")).unwrap();
    for (tool, name) in [("xz", "pi.img.xz"), ("gzip", "pi.img.gz")] {
        std::fs::remove_file(world.path("pi.img")).unwrap();
        unpack(tool, name);
        assert!(std::fs::read(world.path("pi.img")).unwrap() == raw, "{name} holds another image");
    }
    let run = customize(&world, &["--output", "pi.raw"]);
    assert_eq!(run.status, 2);
    assert!(run.err.contains("found `pi.raw`, wanted a name that ends in .img"), "{}", run.err);
}

#[test]
fn what_is_there_is_not_replaced_unless_it_is_meant() {
    let world = world();
    world.write("pi.img", "mine");
    let run = customize(&world, &["--output", "pi.img"]);
    assert_eq!((run.status, run.err.contains("--force")), (3, true), "{}", run.err);
    assert_eq!(std::fs::read_to_string(world.path("pi.img")).unwrap(), "mine");
    customize(&world, &["--output", "pi.img", "--force"]).succeeded();
    std::fs::copy(small_base(), world.path("base.img.xz")).unwrap();
    let run = world.run(&["customize", "base.img.xz", "--output", "base.img.xz", "--force"]);
    assert_eq!((run.status, run.err.contains("--in-place")), (3, true), "{}", run.err);
}

#[test]
fn a_faulty_flag_is_named_with_what_was_wanted_and_nothing_is_opened() {
    let world = world();
    for (words, wanted) in [
        (&["--hostname", "my pi"][..], "--hostname: found `my pi`"),
        (&["--user", "a b"], "--user: found `a b`"),
        (&["--address", "192.168.1.300/24"], "--address: found `192.168.1.300/24`"),
        (&["--user", "ops", "--ssh-key", "nokey.pub"], "--ssh-key: cannot read `"),
        (&["--user", "ops", "--ssh-key", "password"], "--ssh-key: found no valid ssh public key"),
        (&["--wifi", "home", "--country", "Britain"], "--country: found `Britain`"),
        (&["--timezone", "London"], "--timezone: found `London`"),
        (&["--config-txt", "gpu_mem"], "--config-txt: found `gpu_mem`, wanted KEY=VALUE"),
        (&["--file", "motd"], "--file: found `motd`, wanted SRC:/DST"),
        (&["--file", "motd:/etc/motd:rw"], "--file: found `rw`"),
        (&["--file", "none:/etc/motd"], "--file: cannot read `"),
        (&["--first-boot", "motd"], "--first-boot: found a script without interpreter"),
        (&["--recipe", "dockr"], "--recipe: there is no recipe `dockr`"),
        (&["--set", "keybord=\"gb\""], "--set: unknown key `keybord`"),
        (&["--set", "timezone"], "--set: found `timezone`, wanted KEY=VALUE"),
        (&["--grow", "lots"], "--grow: found `lots`"),
        (&["--hostname", "pi[1-2]"], "--hostname: found `pi[1-2]`"),
    ] {
        let run = customize(&world, &[&["--output", "pi.img"], words].concat());
        assert_eq!(run.status, 2, "{words:?}: {}", run.err);
        assert!(run.err.contains(wanted), "{words:?}: found\n{}wanted {wanted}", run.err);
        assert!(!run.err.contains("customize.toml"), "it speaks of a profile: {}", run.err);
    }
    assert!(!world.path("pi.img").exists());
}

#[test]
fn what_the_image_does_not_take_is_told_without_a_profile() {
    let world = world();
    let run = customize(&world, &["--output", "pi.img", "--timezone", "Europe/Nowhere"]);
    assert_eq!(run.status, 2);
    assert!(
        run.err.starts_with("hash") || run.err.contains("error: timezone: the image has no time zone"),
        "{}",
        run.err
    );
    assert!(!run.err.contains("profile"), "{}", run.err);
    let run = customize(&world, &["--output", "pi.img", "--timezone", "Europe/Lodnon"]);
    assert!(run.err.contains("no time zone `Europe/Lodnon`; did you mean `Europe/London`?\n"), "{}", run.err);
    assert!(!world.path("pi.img").exists());
}

#[test]
fn recipes_and_settings_kept_in_a_file_may_lie_below_the_flags() {
    let world = world();
    world.write("mine.toml", "schema = 1\n[defaults]\ntimezone = \"Europe/London\"\nkeyboard = \"gb\"\n");
    customize(
        &world,
        &["--output", "pi.img", "--extends", "mine.toml", "--keyboard", "us", "--recipe", "time-sync"],
    )
    .succeeded();
    assert!(on(&world, "pi.img", "/etc/default/keyboard").contains("XKBLAYOUT=\"us\""));
    assert!(on(&world, "pi.img", "/etc/timezone").contains("Europe/London"));
}

#[test]
fn without_a_target_it_says_which_there_are() {
    let world = world();
    let run = customize(&world, &["--hostname", "pi"]);
    assert_eq!(run.status, 2);
    for flag in ["--output", "--device", "--in-place", "--save-profile"] {
        assert!(run.err.contains(flag), "{flag} is not named: {}", run.err);
    }
}
