//! `cardpress check`: a line for each partition and finding, and the exit status.

use std::fs::{self, File};
use std::os::unix::fs::{FileExt as _, PermissionsExt as _};
use std::path::PathBuf;

use crate::support::shapes::Shape;
use crate::support::tools::{text, tool};
use crate::support::world::{World, small_base};

/// Where partition 2 of a shape begins: 4 MiB, and a boot partition of 36 MiB.
const ROOT_AT: u64 = (8192 + 73_728) * 512;

fn image(world: &World) -> PathBuf {
    Shape::raspios(12, "bookworm", "arm64", "2023-10-10", "").make(world, "disk.img")
}

fn spoil(image: &PathBuf, at: u64, byte: u8) {
    let file = File::options().read(true).write(true).open(image).unwrap();
    let mut old = [0];
    file.read_exact_at(&mut old, at).unwrap();
    file.write_all_at(&[old[0] ^ byte], at).unwrap();
}

#[test]
fn check_says_of_a_sound_archive_that_it_is() {
    let world = World::new();
    let run = world.run(&["check", text(&small_base())]).succeeded();
    let lines: Vec<&str> = run.out.lines().collect();
    assert_eq!(lines.len(), 3, "{}", run.out);
    assert_eq!(lines[0], "partition table: MBR, sound");
    assert!(lines[1].starts_with("partition 1 (boot): FAT") && lines[1].ends_with(", sound"), "{}", lines[1]);
    assert!(
        lines[2].starts_with("partition 2 (root): ext4, ") && lines[2].ends_with(", sound"),
        "{}",
        lines[2]
    );
}

#[test]
fn check_needs_no_right_to_write() {
    let world = World::new();
    let image = image(&world);
    fs::set_permissions(&image, fs::Permissions::from_mode(0o444)).unwrap();
    let before = fs::read(&image).unwrap();
    let run = world.run(&["check", "disk.img", "--json"]).succeeded();
    let told: serde_json::Value = serde_json::from_str(&run.out).unwrap();
    assert_eq!((&told["sound"], &told["table"]["kind"]), (&true.into(), &"mbr".into()));
    assert_eq!(told["partitions"][1]["kind"], "ext4");
    assert!(fs::read(&image).unwrap() == before);
}

#[test]
fn check_tells_what_is_wrong_and_exits_with_1() {
    let world = World::new();
    let image = image(&world);
    // i_links_count of the root directory, in the table that the first descriptor names.
    let mut table = [0; 4];
    File::open(&image).unwrap().read_exact_at(&mut table, ROOT_AT + 4096 + 8).unwrap();
    spoil(&image, ROOT_AT + u64::from(u32::from_le_bytes(table)) * 4096 + 256 + 0x1a, 1);
    let run = world.run(&["check", "disk.img"]);
    assert_eq!(run.status, 1, "{}", run.out);
    assert!(
        run.out.contains("partition 1 (boot): FAT32, ") && run.out.contains(" files, sound\n"),
        "{}",
        run.out
    );
    assert!(run.out.contains("  inode 2: number of links is "), "{}", run.out);
    assert!(run.err.is_empty(), "{}", run.err);

    let run = world.run(&["check", "disk.img", "--partition", "boot"]).succeeded();
    assert_eq!(run.out.lines().count(), 1, "{}", run.out);
    let run = world.run(&["check", "disk.img", "--partition", "2", "--json"]);
    assert_eq!(run.status, 1);
    let told: serde_json::Value = serde_json::from_str(&run.out).unwrap();
    let structures = told["partitions"][0]["findings"].as_array().unwrap().iter();
    let inodes: Vec<_> = structures.filter(|finding| finding["structure"] == "inode").collect();
    assert!(inodes.iter().any(|finding| finding["number"] == 2), "{told}");
}

#[test]
fn check_takes_a_filesystem_without_a_disk_around_it() {
    let world = World::new();
    let (ext4, fat) = (world.path("ext4"), world.path("fat"));
    File::create(&ext4).unwrap().set_len(16 << 20).unwrap();
    tool("mke2fs", &["-q", "-F", "-text4", text(&ext4)]);
    File::create(&fat).unwrap().set_len(16 << 20).unwrap();
    tool("mkfs.fat", &["-F", "16", "-s", "4", text(&fat)]);
    let run = world.run(&["check", "ext4"]).succeeded();
    assert_eq!(run.out, "filesystem: ext4, 11 files, sound\n");
    let run = world.run(&["check", "fat"]).succeeded();
    assert_eq!(run.out, "filesystem: FAT16, 0 files, sound\n");
}

#[test]
fn check_judges_the_table_and_its_backup() {
    let world = World::new();
    let mut shape = Shape::raspios(12, "bookworm", "arm64", "2023-10-10", "");
    shape.gpt("");
    let image = shape.make(&world, "disk.img");
    world.run(&["check", "disk.img"]).succeeded();
    let len = fs::metadata(&image).unwrap().len();
    // A byte of the backup's GUID of the disk.
    spoil(&image, len - 512 + 60, 1);
    let run = world.run(&["check", "disk.img"]);
    assert_eq!(run.status, 1);
    assert!(
        run.out.starts_with("partition table: GPT, not sound\n  backup GPT header: checksum is "),
        "{}",
        run.out
    );
}

#[test]
fn check_refuses_what_it_cannot_understand_as_usage() {
    let world = World::new();
    image(&world);
    for words in [
        &["check"][..],
        &["check", "disk.img", "--partition", "rooot"],
        &["check", "disk.img", "--partition", "7"],
    ] {
        let run = world.run(words);
        assert_eq!(run.status, 2, "{words:?}: {}{}", run.out, run.err);
    }
    let run = world.run(&["check", "nothing.img"]);
    assert_eq!(run.status, 1);
    assert!(run.err.contains("nothing.img"), "{}", run.err);
    let help = world.run(&["check", "--help"]).succeeded().out;
    assert!(help.contains("Exit status: 0 everything is sound; 1 something is not"), "{help}");
}
