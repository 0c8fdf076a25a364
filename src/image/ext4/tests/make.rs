//! Filesystems made by us, judged by e2fsck, compared with what mke2fs makes, edited and grown.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::grow::{OnFile, edit, grow};
use super::support::{DIR, FILE, output, path, pattern, run};
use crate::block::Memory;
use crate::image::ext4::{Error, Filesystem, MakeOptions, Timestamp, make};

const MIB: u64 = 1 << 20;

fn options() -> MakeOptions {
    MakeOptions {
        label: String::from("made"),
        uuid: [0x11; 16],
        hash_seed: [0x22; 16],
        time: Timestamp { seconds: 1_700_000_000, nanoseconds: 0 },
        is_zero: true,
        ..MakeOptions::default()
    }
}

/// A filesystem in a sparse file.
fn made(dir: &Path, len_bytes: u64, options: &MakeOptions) -> PathBuf {
    let image = dir.join("made");
    let _ = std::fs::remove_file(&image);
    let file = File::options().read(true).write(true).create_new(true).open(&image).unwrap();
    file.set_len(len_bytes).unwrap();
    make(&OnFile(file), options).unwrap();
    image
}

fn check(image: &Path, what: &str) {
    let output = output(Command::new("e2fsck").arg("-fn").arg(image));
    let said =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let repairs = ["Fix?", "Clear?", "FIXED", "? no", "WARNING"];
    assert!(output.status.success() && !repairs.iter().any(|word| said.contains(word)), "{what}: {said}");
}

/// What `dumpe2fs -h` prints that follows from length and options.
fn facts(image: &Path) -> Vec<String> {
    let names = [
        "Filesystem volume name",
        "Filesystem UUID",
        "Filesystem features",
        "Default mount options",
        "Filesystem state",
        "Errors behavior",
        "Inode count",
        "Block count",
        "Reserved block count",
        "Overhead clusters",
        "Free blocks",
        "Free inodes",
        "First block",
        "Block size",
        "Group descriptor size",
        "Reserved GDT blocks",
        "Blocks per group",
        "Inodes per group",
        "Inode blocks per group",
        "Flex block group size",
        "Maximum mount count",
        "Check interval",
        "First inode",
        "Inode size",
        "Required extra isize",
        "Desired extra isize",
        "Journal inode",
        "Default directory hash",
        "Directory Hash Seed",
        "Journal backup",
        "Checksum type",
        "Checksum seed",
        "Orphan file inode",
        "Journal features",
        "Total journal blocks",
        "Journal sequence",
        "Journal start",
    ];
    let printed = run(Command::new("dumpe2fs").arg("-h").arg(image)).stdout;
    let printed = String::from_utf8(printed).unwrap();
    let is_fact = |line: &&str| names.iter().any(|name| line.starts_with(&format!("{name}:")));
    printed.lines().filter(is_fact).map(str::to_owned).collect()
}

/// mke2fs with the same features.
fn mke2fs(dir: &Path, len_bytes: u64, more: &[&str]) -> PathBuf {
    let image = dir.join("mke2fs");
    let _ = std::fs::remove_file(&image);
    File::create(&image).unwrap().set_len(len_bytes).unwrap();
    let mut command = Command::new("mke2fs");
    command.args(["-q", "-t", "ext4", "-F", "-L", "made", "-U", "11111111-1111-1111-1111-111111111111"]);
    command.args(["-E", "hash_seed=22222222-2222-2222-2222-222222222222"]).args(more).arg(&image);
    run(&mut command);
    image
}

#[test]
fn what_is_made_is_sound_and_has_the_numbers_of_mke2fs() {
    let dir = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
    let features = "orphan_file,metadata_csum_seed";
    for len_bytes in [
        8 * MIB,
        9 * MIB + 4096 + 777,
        16 * MIB + 100 * 1024,
        33 * MIB - 1024,
        100 * MIB,
        511 * MIB + 12_288,
        512 * MIB,
        600 * MIB,
        (1 << 30) + 7 * 4096,
        3 * (1 << 30) + 129 * MIB,
        8 << 30,
        (17 << 30) + 5 * MIB,
        64 << 30,
    ] {
        let ours = made(dir.path(), len_bytes, &options());
        check(&ours, &format!("{len_bytes} bytes"));
        let theirs = mke2fs(dir.path(), len_bytes, &["-O", features]);
        assert_eq!(facts(&ours), facts(&theirs), "{len_bytes} bytes");
    }
}

#[test]
fn other_blocks_and_inodes_are_made_as_mke2fs_makes_them() {
    let dir = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
    let none = "^has_journal,^orphan_file,metadata_csum_seed";
    let with = "orphan_file,metadata_csum_seed";
    let base = options();
    for (len_bytes, options, more) in [
        (40 * MIB, MakeOptions { block_len: Some(4096), ..base.clone() }, vec!["-O", with, "-b4096"]),
        (700 * MIB, MakeOptions { block_len: Some(1024), ..base.clone() }, vec!["-O", with, "-b1024"]),
        (300 * MIB, MakeOptions { block_len: Some(2048), ..base.clone() }, vec!["-O", with, "-b2048"]),
        (90 * MIB, MakeOptions { inode_len: 512, ..base.clone() }, vec!["-O", with, "-I512"]),
        (90 * MIB, MakeOptions { journal: false, ..base.clone() }, vec!["-O", none]),
        (90 * MIB, MakeOptions { bytes_per_inode: Some(1024), ..base.clone() }, vec!["-O", with, "-i1024"]),
        (2 << 30, MakeOptions { bytes_per_inode: Some(4096), ..base.clone() }, vec!["-O", with, "-i4096"]),
        (
            1 << 30,
            MakeOptions { bytes_per_inode: Some(1 << 20), ..base.clone() },
            vec!["-O", with, "-i1048576"],
        ),
        (90 * MIB, MakeOptions { reserved_percent: 0, ..base.clone() }, vec!["-O", with, "-m0"]),
        (3 * MIB, base.clone(), vec!["-O", with]),
        (2 * MIB, MakeOptions { journal: false, ..base.clone() }, vec!["-O", none]),
    ] {
        let what = format!("{len_bytes} bytes, {more:?}");
        let ours = made(dir.path(), len_bytes, &options);
        check(&ours, &what);
        assert_eq!(facts(&ours), facts(&mke2fs(dir.path(), len_bytes, &more)), "{what}");
    }
    let small = made(dir.path(), 90 * MIB, &MakeOptions { inode_len: 128, ..base });
    check(&small, "inodes of 128 bytes");
}

#[test]
fn a_small_filesystem_goes_without_a_journal_and_a_smaller_one_cannot_be() {
    let dir = tempfile::tempdir().unwrap();
    for kib in [300, 512, 1024, 1900, 2047] {
        let image = made(dir.path(), kib << 10, &options());
        check(&image, &format!("{kib} KiB"));
        assert!(facts(&image).iter().all(|fact| !fact.contains("has_journal")));
    }
    for (len_bytes, change) in [
        (0, options()),
        (4096, options()),
        (60 << 10, options()),
        (8 * MIB, MakeOptions { block_len: Some(8192), ..options() }),
        (8 * MIB, MakeOptions { block_len: Some(0), ..options() }),
        (8 * MIB, MakeOptions { inode_len: 192, ..options() }),
        (8 * MIB, MakeOptions { inode_len: 64, ..options() }),
        (8 * MIB, MakeOptions { reserved_percent: 51, ..options() }),
    ] {
        let device = Memory::new(vec![7; usize::try_from(len_bytes).unwrap()]);
        let error = make(&device, &change).unwrap_err();
        assert!(matches!(error, Error::Unmakeable { .. }), "{error}");
        assert!(device.into_bytes().iter().all(|byte| *byte == 7));
    }
    let device = Memory::new(vec![0; 8 << 20]);
    let long = MakeOptions { label: String::from("seventeen letters"), ..options() };
    assert!(matches!(make(&device, &long), Err(Error::BadLength { .. })));
}

#[test]
fn the_same_options_give_the_same_bytes_whatever_was_there() {
    let options = MakeOptions { is_zero: false, ..options() };
    let len = 12 << 20;
    let clean = Memory::new(vec![0; len]);
    make(&clean, &options).unwrap();
    let clean = clean.into_bytes();
    // Every block looks like the start of a log.
    let mut dirt = vec![0xa5; len];
    for block in dirt.chunks_exact_mut(1024) {
        block[..12].copy_from_slice(&[0xc0, 0x3b, 0x39, 0x98, 0, 0, 0, 2, 0, 0, 0, 1]);
    }
    let dirty = Memory::new(dirt.clone());
    make(&dirty, &options).unwrap();
    let dirty = dirty.into_bytes();
    let dir = tempfile::tempdir().unwrap();
    let image = dir.path().join("image");
    for bytes in [&clean, &dirty] {
        std::fs::write(&image, bytes).unwrap();
        check(&image, "on a used device");
    }
    // Where nothing is written, what was there stays; where something is, it is the same.
    let differs = |at: &usize| dirty[*at..at + 1024] != clean[*at..at + 1024];
    let kept =
        |at: &usize| dirty[*at..at + 1024] == dirt[*at..at + 1024] && clean[*at..at + 1024] == [0; 1024];
    assert!((0..len).step_by(1024).filter(differs).all(|at| kept(&at)));
}

#[test]
fn what_is_made_can_be_filled_emptied_grown_by_us_and_by_resize2fs() {
    let dir = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
    for (len_bytes, larger) in [(12 * MIB, 90 * MIB), (700 * MIB, 40 << 30)] {
        let image = made(dir.path(), len_bytes, &options());
        edit(&image, |fs| {
            fs.mkdir(&path("/many"), DIR).unwrap();
            for number in 0..400 {
                let name = path(&format!("/many/{number:0>120}"));
                fs.write_file(&name, &pattern(number * 10), FILE).unwrap();
            }
        });
        check(&image, "filled");
        let full = |fs: &mut Filesystem<'_>| {
            let left = fs.free_blocks().min(20_000) * u64::from(fs.block_len());
            let error = fs.write_file(&path("/full"), &vec![1; usize::try_from(left).unwrap() + 5000], FILE);
            if fs.free_blocks() < 20_000 {
                assert!(matches!(error, Err(Error::NoSpace { .. })), "{error:?}");
            }
            fs.remove_all(&path("/many")).unwrap();
        };
        edit(&image, full);
        check(&image, "emptied");
        let copy = dir.path().join("copy");
        run(Command::new("cp").arg("--sparse=always").arg(&image).arg(&copy));
        File::options().write(true).open(&copy).unwrap().set_len(larger).unwrap();
        run(Command::new("resize2fs").arg("-f").arg(&copy));
        check(&copy, "grown by resize2fs");
        grow(&image, larger, |fs| fs.write_file(&path("/more"), &[1; 100_000], FILE).unwrap());
        check(&image, "grown by us");
    }
}
