//! The emulator itself is `make boot-test`'s; here stands a stand-in that writes down what it is asked.

use std::os::unix::fs::PermissionsExt as _;

use crate::support::tools::{must, text};
use crate::support::world::{PUBLIC_KEY, Run, World, profile, small_base};

/// A world with a raw image that has these files on its boot partition, and stand-ins for QEMU's programs.
fn world(boot_files: &[&str]) -> World {
    let world = World::new();
    std::fs::copy(small_base(), world.path("base.img.xz")).unwrap();
    must("xz", ["-dk", text(&world.path("base.img.xz"))]);
    world.write("some", "a kernel");
    for name in boot_files {
        world.run(&["fs", "base.img", "put", "some", &format!("/boot/firmware/{name}")]).succeeded();
    }
    for name in ["qemu-system-aarch64", "qemu-system-arm", "qemu-img"] {
        let script = world.write(
            &format!("bin/{name}"),
            &format!("#!/bin/sh\nfor word in \"$@\"; do echo \"$word\" >>{name}.words; done\n\
                      for word in \"$@\"; do case $word in /*/kernel|/*/device-tree) cat \"$word\" >>files || exit 9;; esac; done\n"),
        );
        std::fs::set_permissions(script, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    world
}

fn boot(world: &World, words: &[&str]) -> Run {
    let mut command = world.command(&[&["boot"], words].concat());
    command.env("PATH", format!("{}:/usr/bin:/bin", world.path("bin").display()));
    Run::of(command.output().unwrap())
}

fn words(world: &World, program: &str) -> String {
    std::fs::read_to_string(world.path(&format!("{program}.words"))).unwrap_or_default()
}

#[test]
fn a_raspberry_pi_kernel_gets_a_pi_3_with_its_device_tree_and_a_card_of_a_power_of_two() {
    let world = world(&["kernel8.img", "bcm2710-rpi-3-b.dtb"]);
    let before = std::fs::read(world.path("base.img")).unwrap();
    let run = boot(&world, &["base.img", "--ssh"]).succeeded();
    let asked = words(&world, "qemu-system-aarch64");
    for word in ["raspi3b", "-dtb", "-kernel", "usb-net,netdev=net", "mon:stdio"] {
        assert!(asked.lines().any(|line| line == word), "{word} is not among\n{asked}");
    }
    assert!(asked.contains("hostfwd=tcp:127.0.0.1:2222-:22"), "{asked}");
    assert!(words(&world, "qemu-img").ends_with("\n268435456\n"), "{}", words(&world, "qemu-img"));
    assert_eq!(std::fs::read_to_string(world.path("files")).unwrap(), "a kernela kernel");
    assert!(run.err.contains("no Wi-Fi") && run.err.contains("ssh -p 2222 pi@127.0.0.1"), "{}", run.err);
    assert!(std::fs::read(world.path("base.img")).unwrap() == before, "the image was written to");
}

#[test]
fn a_node_of_a_profile_is_pressed_and_found_at_its_own_address() {
    let world = world(&["kernel8.img", "bcm2710-rpi-3-b.dtb"]);
    let text = profile(&[("n1", "192.168.7.11"), ("n2", "192.168.7.12")], "");
    let text = text.replace(&format!("{:?}", small_base()), "\"base.img\"");
    world.write("cluster.toml", &text);
    let run = boot(&world, &["--node", "cluster.toml:n2", "--ssh=2345"]).succeeded();
    let asked = words(&world, "qemu-system-aarch64");
    assert!(asked.contains("net=192.168.7.0/24,host=192.168.7.1,"), "{asked}");
    assert!(asked.contains("hostfwd=tcp:127.0.0.1:2345-192.168.7.12:22"), "{asked}");
    assert!(run.err.contains("ssh -p 2345 ops@127.0.0.1"), "{}", run.err);
    assert!(!world.path("out").exists());
    let run = boot(&world, &["--node", "cluster.toml:n3"]);
    assert_eq!((run.status, run.err.contains("n3")), (2, true), "{}", run.err);
}

#[test]
fn a_static_address_and_the_account_are_found_in_the_image_itself() {
    let world = world(&["kernel8.img", "bcm2710-rpi-3-b.dtb"]);
    let flags = ["--user", "ops", "--ssh-key", "id.pub", "--address", "10.9.8.7/24", "--gateway", "10.9.8.1"];
    world.write("id.pub", PUBLIC_KEY);
    world.run(&[&["customize", "base.img", "--in-place"], &flags[..]].concat()).succeeded();
    let run = boot(&world, &["base.img", "--ssh=2346"]).succeeded();
    let asked = words(&world, "qemu-system-aarch64");
    assert!(asked.contains("net=10.9.8.0/24,host=10.9.8.1,"), "{asked}");
    assert!(asked.contains("hostfwd=tcp:127.0.0.1:2346-10.9.8.7:22"), "{asked}");
    assert!(run.err.contains("ssh -p 2346 ops@127.0.0.1"), "{}", run.err);
}

#[test]
fn an_image_without_a_kernel_that_can_be_started_says_what_was_looked_for() {
    let world = world(&[]);
    let run = boot(&world, &["base.img"]);
    assert_eq!(run.status, 1);
    for word in ["virtio_blk", "/boot/firmware/kernel8.img", "bcm2710-rpi-3-b.dtb", "kernel7.img"] {
        assert!(run.err.contains(word), "{word} is not in {}", run.err);
    }
    assert_eq!(words(&world, "qemu-img"), "", "an emulator was asked");
}

#[test]
fn an_asked_for_board_without_network_says_that_there_is_no_ssh() {
    let world = world(&["kernel8.img", "bcm2711-rpi-4-b.dtb"]);
    let run = boot(&world, &["base.img", "--machine", "raspi4b", "--ssh"]).succeeded();
    assert!(run.err.contains("there is no ssh"), "{}", run.err);
    assert!(!words(&world, "qemu-system-aarch64").contains("netdev"));
}

#[test]
fn without_qemu_it_says_which_packages_have_it() {
    let world = world(&["kernel8.img", "bcm2710-rpi-3-b.dtb"]);
    let run = Run::of(world.command(&["boot", "base.img"]).env("PATH", world.path("none")).output().unwrap());
    assert_eq!(run.status, 1);
    assert!(run.err.contains("qemu-system-arm and qemu-utils"), "{}", run.err);
}

#[test]
fn what_is_started_must_be_one_thing_and_named_well() {
    let world = World::new();
    assert_eq!(world.run(&["boot"]).status, 2);
    let run = world.run(&["boot", "--node", "cluster.toml"]);
    assert_eq!((run.status, run.err.contains("wanted PROFILE:NAME")), (2, true), "{}", run.err);
}
