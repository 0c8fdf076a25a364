//! The real program and cards: loop devices, which are block devices all the same. They need root.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::loops::Loop;
use crate::support::tools::{Mount, may_attach, must, text, tool, unmount};
use crate::support::world::{Run, World, profile, small_base};
use cardpress::base::is_zero;

const MIB: u64 = 1 << 20;
const CARD_LEN: u64 = 264 * MIB;
const NODES: [(&str, &str); 8] = [
    ("n1", "192.168.7.11"),
    ("n2", "192.168.7.12"),
    ("n3", "192.168.7.13"),
    ("n4", "192.168.7.14"),
    ("n5", "192.168.7.15"),
    ("n6", "192.168.7.16"),
    ("n7", "192.168.7.17"),
    ("n8", "192.168.7.18"),
];

/// A card that held something else: bytes that are neither zero nor alike.
fn used_card(len_bytes: u64) -> Loop {
    let card = Loop::new(len_bytes);
    let file = fs::File::options().write(true).open(card.file()).unwrap();
    let mut state = 7_u64;
    let piece: Vec<u8> = (0..MIB)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            u8::try_from(state >> 56).unwrap() | 1
        })
        .collect();
    for mib in 0..len_bytes / MIB {
        file.write_all_at(&piece, mib * MIB).unwrap();
    }
    // The table of an earlier disk: a partition that ends with the card.
    let mut table = [0; 512];
    let sectors = u32::try_from(len_bytes / 512 - 2048).unwrap().to_le_bytes();
    table[446..462].copy_from_slice(&[
        0, 0, 0, 0, 0x83, 0, 0, 0, 0, 8, 0, 0, sectors[0], sectors[1], sectors[2], sectors[3],
    ]);
    table[510..].copy_from_slice(&[0x55, 0xaa]);
    file.write_all_at(&table, 0).unwrap();
    file.sync_all().unwrap();
    card
}

/// What is on the card, read anew.
fn contents(card: &Loop) -> Vec<u8> {
    tool("blockdev", &["--flushbufs", text(card.path())]);
    fs::read(card.path()).unwrap()
}

fn flash(world: &World, words: &[&str]) -> Run {
    world.run(&[&["flash", "--yes", "--allow-fixed-disk"], words].concat())
}

/// The ranges of bytes that a map names.
fn mapped(map: &Path) -> Vec<std::ops::Range<usize>> {
    let text = fs::read_to_string(map).unwrap();
    let ranges = text.lines().filter_map(|line| line.split_once("\"> ")?.1.strip_suffix(" </Range>"));
    ranges
        .map(|blocks| {
            let (first, last) = blocks.split_once('-').unwrap_or((blocks, blocks));
            first.parse::<usize>().unwrap() * 4096..(last.parse::<usize>().unwrap() + 1) * 4096
        })
        .collect()
}

/// Is every byte that the image needs on the card?
#[track_caller]
fn holds(card: &[u8], world: &World, node: &str) {
    let image = fs::read(world.path(&format!("out/test/{node}.img"))).unwrap();
    for range in mapped(&world.path(&format!("out/test/{node}.bmap"))) {
        let range = range.start..range.end.min(image.len());
        assert!(card[range.clone()] == image[range.clone()], "{node}: bytes {range:?} differ");
    }
}

/// What e2fsck, fsck.fat and sfdisk say of the card.
#[track_caller]
fn is_sound(card: &Loop) {
    must("sfdisk", ["--verify", text(card.path())]);
    must("fsck.fat", ["-n", text(partition(card, 0).path())]);
    must("e2fsck", ["-fn", text(partition(card, 1).path())]);
}

/// A partition, by what sfdisk says of it: not every machine makes nodes for the partitions of loop devices.
fn partition(card: &Loop, index: usize) -> Loop {
    let table = tool("sfdisk", &["--json", text(card.path())]);
    let table: serde_json::Value = serde_json::from_str(&table).unwrap();
    let part = &table["partitiontable"]["partitions"][index];
    let bytes = |key: &str| part[key].as_u64().unwrap() * 512;
    let (offset, len) = (format!("--offset={}", bytes("start")), format!("--sizelimit={}", bytes("size")));
    Loop::over(card.path(), &[&offset, &len, "--read-only"])
}

fn has_table(card: &[u8]) -> bool {
    card[510..512] == [0x55, 0xaa]
}

#[test]
fn eight_nodes_go_onto_eight_used_cards_at_once_and_each_is_the_image_that_build_writes() {
    if !may_attach() {
        return;
    }
    let world = World::new();
    world.write("cluster.toml", &profile(&NODES, ""));
    world.run(&["build", "cluster.toml"]).succeeded();
    let cards: Vec<Loop> = NODES.iter().map(|_| used_card(CARD_LEN)).collect();
    let pairs: Vec<String> =
        NODES.iter().zip(&cards).map(|((node, _), card)| format!("{node}={}", text(card.path()))).collect();
    let words: Vec<&str> = pairs.iter().map(String::as_str).collect();
    let run = flash(&world, &[&["--json", "cluster.toml"], &words[..]].concat()).succeeded();
    let told: serde_json::Value = serde_json::from_str(&run.out).unwrap();
    for ((node, _), (card, told)) in NODES.iter().zip(cards.iter().zip(told.as_array().unwrap())) {
        assert_eq!((&told["name"], &told["error"]), (&(*node).into(), &serde_json::Value::Null));
        assert_eq!(told["verified_bytes"], told["written_bytes"]);
        holds(&contents(card), &world, node);
        is_sound(card);
    }
}

#[test]
fn a_blank_card_is_the_image_byte_for_byte_and_an_image_goes_onto_a_card_as_it_is() {
    if !may_attach() {
        return;
    }
    let world = World::new();
    world.write("cluster.toml", &profile(&NODES[..1], ""));
    world.run(&["build", "cluster.toml"]).succeeded();
    let image = fs::read(world.path("out/test/n1.img")).unwrap();
    let (one, other) = (Loop::new(CARD_LEN), Loop::new(CARD_LEN));
    flash(&world, &["cluster.toml", &format!("n1={}", text(one.path()))]).succeeded();
    flash(&world, &["--image", "out/test/n1.img", text(other.path())]).succeeded();
    for card in [&one, &other] {
        let found = contents(card);
        assert!(found[..image.len()] == image, "it differs from the image");
        assert!(is_zero(&found[image.len()..]), "something is behind the image");
    }
}

#[test]
fn a_root_that_grows_with_its_card_fills_it_before_the_first_boot() {
    if !may_attach() {
        return;
    }
    let world = World::new();
    let text_of = profile(&NODES[..1], "").replace("[cluster]", "grow = \"card\"\n[cluster]");
    world.write("cluster.toml", &text_of);
    for len_bytes in [CARD_LEN, 1000 * MIB + 512] {
        let card = used_card(len_bytes);
        flash(&world, &["cluster.toml", &format!("n1={}", text(card.path()))]).succeeded();
        is_sound(&card);
        let root = partition(&card, 1);
        let said = tool("dumpe2fs", &["-h", text(root.path())]);
        let number = |name: &str| -> u64 {
            let line = said.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            line.trim().parse().unwrap()
        };
        let (blocks, block_len) = (number("Block count:"), number("Block size:"));
        assert!(blocks * block_len > len_bytes - 60 * MIB, "{blocks} blocks on a card of {len_bytes}");
        let mount = Mount::new(root.path(), "ro");
        assert_eq!(fs::read_to_string(mount.path().join("etc/hostname")).unwrap(), "n1\n");
        mount.unmount();
    }
}

#[test]
fn what_must_not_be_written_to_is_refused_and_stays_as_it_is() {
    if !may_attach() {
        return;
    }
    let world = World::new();
    world.write("cluster.toml", &profile(&NODES[..2], ""));
    let refused = |card: &Loop, words: &[&str], wanted: &str| {
        let before = contents(card);
        let run = world.run(&[&["flash", "--yes"], words].concat());
        assert_eq!(run.status, 3, "{}", run.err);
        assert!(run.err.contains(wanted), "{}", run.err);
        assert!(contents(card) == before, "it was written to: {wanted}");
    };
    let image = small_base();
    let image = text(&image);

    let card = used_card(CARD_LEN);
    refused(&card, &["--image", image, text(card.path())], "it is a fixed disk (loop)");
    let small = used_card(50 * MIB);
    refused(
        &small,
        &["--allow-fixed-disk", "--image", image, text(small.path())],
        "it is too small: 50 MiB there",
    );
    let protected = Loop::over(card.file(), &["--read-only"]);
    let words = ["--allow-fixed-disk", "--image", image, text(protected.path())];
    refused(&protected, &words, "write-protected");
    drop(protected);

    // Two cards, one of them mounted: neither is begun.
    let mounted = Loop::new(CARD_LEN);
    must("mke2fs", ["-q", "-t", "ext4", text(mounted.path())]);
    let mount = Mount::new(mounted.path(), "ro");
    let pairs = [format!("n1={}", text(card.path())), format!("n2={}", text(mounted.path()))];
    refused(&card, &["--allow-fixed-disk", "cluster.toml", &pairs[0], &pairs[1]], "is mounted on");
    mount.unmount();

    // The disk of the running system is refused whatever is said.
    let root = tool("findmnt", &["--noheadings", "--output", "SOURCE", "--first-only", "/"]);
    if Path::new(root.trim()).exists() {
        let run = flash(&world, &["--image", image, root.trim()]);
        assert_eq!(run.status, 3, "{}", run.err);
        assert!(run.err.contains("the running system is on it"), "{}", run.err);
    }
}

#[test]
fn a_card_is_written_only_when_its_name_was_typed() {
    if !may_attach() {
        return;
    }
    let world = World::new();
    let (image, card) = (small_base(), used_card(CARD_LEN));
    let before = contents(&card);
    for (answer, status) in [("", 3), ("yes\n", 3), ("loop\n", 3), (&*format!("{}\n", card.name()), 0)] {
        let mut command =
            world.command(&["flash", "--allow-fixed-disk", "--image", text(&image), text(card.path())]);
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(answer.as_bytes()).unwrap();
        let run = Run::of(child.wait_with_output().unwrap());
        assert_eq!(run.status, status, "{answer:?}: {}", run.err);
        assert!(run.err.contains(&format!("Type `{}` to go on", card.name())), "{}", run.err);
        assert_eq!(contents(&card) == before, status != 0, "{answer:?}");
    }
}

#[test]
fn words_that_fit_no_card_are_usage_errors() {
    let world = World::new();
    world.write("cluster.toml", &profile(&NODES[..2], ""));
    for (words, wanted) in [
        (&["cluster.toml"][..], "NODE=DEVICE"),
        (&["cluster.toml", "/dev/null"], "wanted NODE=DEVICE"),
        (&["cluster.toml", "n9=/dev/null"], "no node `n9`"),
        (&["cluster.toml", "--node", "n1", "n2=/dev/null"], "wanted either"),
        (&["--image", "x.img", "n1=/dev/null"], "found `n1=/dev/null`"),
    ] {
        let run = flash(&world, words);
        assert_eq!(run.status, 2, "{words:?}: {}", run.err);
        assert!(run.err.contains(wanted), "{words:?}: {}", run.err);
    }
    // A seed for other calls is nobody's mistake here.
    let words = ["flash", "--yes", "--image", "x.img", "cluster.toml"];
    let run = Run::of(world.command(&words).env("CARDPRESS_SEED_FILE", "seed").output().unwrap());
    assert_eq!(run.status, 1, "{}", run.err);
    assert!(run.err.contains("wanted a block device"), "{}", run.err);
}

/// Killed or interrupted at many moments, a card never has a table over half an image; and what was right is left.
#[test]
fn a_card_whose_flash_was_cut_off_is_no_disk_and_a_resumed_flash_goes_on() {
    if !may_attach() {
        return;
    }
    let world = World::new();
    world.write("cluster.toml", &profile(&NODES[..1], ""));
    world.run(&["build", "cluster.toml"]).succeeded();
    let card = used_card(CARD_LEN);
    let pair = format!("n1={}", text(card.path()));
    let words = ["flash", "--yes", "--allow-fixed-disk", "cluster.toml", &pair];
    let began = Instant::now();
    world.run(&words).succeeded();
    let took = began.elapsed().min(Duration::from_secs(10));
    let (mut without, mut whole, mut resumed, mut skipped) = (0, 0, 0, 0);
    for round in 0..16_u32 {
        // As it was before: another disk.
        let old = used_card(CARD_LEN);
        fs::copy(old.file(), card.file()).unwrap();
        drop(old);
        let before = contents(&card);
        let mut child = world.command(&words).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(took * (round * 7 % 16) / 13);
        let signal = if round % 4 == 3 { "-INT" } else { "-KILL" };
        let _ = Command::new("kill").args([signal, &child.id().to_string()]).output();
        let status = child.wait().unwrap();
        let found = contents(&card);
        if !has_table(&found) {
            without += 1;
            assert!(signal == "-KILL" || status.code() == Some(4), "{status:?}");
        } else if found != before {
            whole += 1;
            holds(&found, &world, "n1");
        }
        if !has_table(&found) && resumed < 4 {
            resumed += 1;
            let run = world.run(&[&words[..], &["--resume", "--json"]].concat()).succeeded();
            let told: serde_json::Value = serde_json::from_str(&run.out).unwrap();
            skipped += told[0]["skipped_bytes"].as_u64().unwrap();
            holds(&contents(&card), &world, "n1");
            is_sound(&card);
        }
    }
    println!(
        "{without} without a table, {whole} whole; {resumed} resumed, which left {skipped} bytes as they were"
    );
    // Where all of it is there, nothing but the first MiB is written again.
    world.run(&words).succeeded();
    let run = world.run(&[&words[..], &["--resume", "--json"]].concat()).succeeded();
    let told: serde_json::Value = serde_json::from_str(&run.out).unwrap();
    assert!(told[0]["written_bytes"].as_u64().unwrap() <= MIB, "{told}");
}

/// The file behind the card is on a filesystem too small for it: from some place on every write fails, as on a card
/// that was pulled out.
#[test]
fn a_card_that_fails_half_way_is_left_without_a_table_while_the_other_is_finished() {
    if !may_attach() {
        return;
    }
    let world = World::new();
    world.write("cluster.toml", &profile(&NODES[..2], ""));
    world.run(&["build", "cluster.toml"]).succeeded();
    let small = tempfile::tempdir().unwrap();
    tool("mount", &["-t", "tmpfs", "-o", "size=20m", "tmpfs", text(small.path())]);
    let backing = small.path().join("card.img");
    fs::File::create(&backing).unwrap().set_len(CARD_LEN).unwrap();
    let failing = Loop::over(&backing, &[]);
    let good = used_card(CARD_LEN);
    let pairs = [format!("n1={}", text(failing.path())), format!("n2={}", text(good.path()))];
    let run = flash(&world, &["cluster.toml", &pairs[0], &pairs[1]]);
    let found = contents(&failing);
    drop(failing);
    let unmounted = unmount(small.path());
    assert_eq!(run.status, 4, "{}", run.err);
    assert!(run.err.contains("n1 on") && run.err.contains("left incomplete"), "{}", run.err);
    assert!(!has_table(&found), "it has a partition table");
    holds(&contents(&good), &world, "n2");
    assert_eq!(unmounted, Ok(()), "{} stays mounted", small.path().display());
}

#[test]
fn a_flashed_card_is_customized_in_place_and_only_what_changes_is_written() {
    if !may_attach() {
        return;
    }
    let world = World::new();
    world.write("cluster.toml", &profile(&NODES[..1], ""));
    let card = used_card(CARD_LEN + 40 * MIB);
    flash(&world, &["cluster.toml", &format!("n1={}", text(card.path()))]).succeeded();
    let before = contents(&card);
    let words = ["customize", text(card.path()), "--in-place", "--hostname", "after", "--grow", "card"];
    let run = world.run(&words);
    assert_eq!((run.status, run.err.contains("--allow-fixed-disk")), (3, true), "{}", run.err);
    let run = world.run(&[&words[..], &["--allow-fixed-disk"]].concat());
    assert_eq!((run.status, run.err.contains("nothing was written")), (3, true), "{}", run.err);
    assert!(contents(&card) == before, "a card that was refused has changed");
    world.run(&[&words[..], &["--allow-fixed-disk", "--yes"]].concat()).succeeded();
    is_sound(&card);
    let after = contents(&card);
    let differing =
        before.chunks(4096).zip(after.chunks(4096)).filter(|(before, after)| before != after).count();
    assert!((1..2000).contains(&differing), "{differing} blocks differ");
    let root = partition(&card, 1);
    let mount = Mount::new(root.path(), "ro");
    assert_eq!(fs::read_to_string(mount.path().join("etc/hostname")).unwrap(), "after\n");
    mount.unmount();
}

#[test]
fn customize_writes_a_card_with_the_guards_of_flashing() {
    if !may_attach() {
        return;
    }
    let world = World::new();
    let card = used_card(CARD_LEN);
    let base = small_base();
    let words = ["customize", text(&base), "--device", text(card.path()), "--hostname", "pi4"];
    let run = world.run(&words);
    assert_eq!(run.status, 3, "{}", run.err);
    world.run(&[&words[..], &["--allow-fixed-disk", "--yes"]].concat()).succeeded();
    is_sound(&card);
    let root = partition(&card, 1);
    let mount = Mount::new(root.path(), "ro");
    assert_eq!(fs::read_to_string(mount.path().join("etc/hostname")).unwrap(), "pi4\n");
    mount.unmount();
}
