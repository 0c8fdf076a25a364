//! A fixed series of edits on every shape.

use std::fs;
use std::process::Command;

use super::support::{DIR, FILE, Image, SHAPES, Shape, output, path, pattern, run};
use crate::block::Memory;
use crate::image::ext4::{Error, FileKind, Filesystem, NewAttributes, Timestamp};

/// 2026-11-21.
const NOW: Timestamp = Timestamp { seconds: 1_795_219_200, nanoseconds: 5 };
const LIMIT: u64 = 1 << 24;

fn series(fs: &mut Filesystem<'_>) {
    fs.set_clock(NOW);
    fs.write_file(&path("/etc/hostname"), b"node-1\n", FILE).unwrap();
    fs.write_file(
        &path("/link/new"),
        b"through a link\n",
        NewAttributes { mode: 0o600, uid: 70_000, gid: 5 },
    )
    .unwrap();
    fs.write_file(&path("/big"), &pattern(3_000_000), FILE).unwrap();
    fs.write_file(&path("/empty"), b"", FILE).unwrap();
    fs.mkdir_all(&path("/home/pi/.ssh"), DIR).unwrap();
    fs.symlink(&path("/short"), b"etc/hostname", 0, 0).unwrap();
    fs.symlink(&path("/exact"), &[b'x'; 59], 0, 0).unwrap();
    fs.symlink(&path("/long"), &[b'y'; 60], 0, 0).unwrap();
    fs.symlink(&path("/longer"), &[b'z'; 500], 0, 0).unwrap();
    fs.hard_link(&path("/etc/hostname"), &path("/home/pi/name")).unwrap();
    fs.write_file(&path("/etc/big"), &pattern(90_000), FILE).unwrap();
    fs.append(&path("/etc/big"), &pattern(50_001)).unwrap();
    fs.write_at(&path("/holes"), 0, b"").unwrap_err();
    fs.write_file(&path("/holes"), b"", FILE).unwrap();
    for at in 0..40 {
        fs.write_at(&path("/holes"), at * 20_000, b"island").unwrap();
    }
    fs.truncate(&path("/holes"), 500_123).unwrap();
    fs.truncate(&path("/holes"), 900_000).unwrap();
    for number in 0..600 {
        fs.write_file(&path(&format!("/home/pi/file-{number}-ä")), format!("{number}").as_bytes(), FILE)
            .unwrap();
    }
    for number in (0..600).step_by(3) {
        fs.remove(&path(&format!("/home/pi/file-{number}-ä"))).unwrap();
    }
    fs.mkdir(&path("/moved"), DIR).unwrap();
    fs.rename(&path("/home/pi"), &path("/moved/pi")).unwrap();
    fs.rename(&path("/moved/pi/file-1-ä"), &path("/moved/pi/renamed")).unwrap();
    fs.set_mode(&path("/moved/pi"), 0o2750).unwrap();
    fs.set_owner(&path("/moved/pi"), 1000, 100_000).unwrap();
    fs.set_times(&path("/big"), Timestamp { seconds: 1, nanoseconds: 2 }, NOW).unwrap();
    fs.remove_all(&path("/etc/long")).unwrap();
    fs.remove(&path("/exact")).unwrap();
    fs.remove(&path("/long")).unwrap();
}

#[test]
fn every_shape_takes_the_series_and_stays_sound() {
    for shape in SHAPES {
        let image = Image::make(shape);
        image.edit(series);
        image.check(shape.0);
        assert_eq!(image.debugfs("cat /etc/hostname"), "node-1\n", "{}", shape.0);
        assert!(image.debugfs_bytes("cat /big") == pattern(3_000_000), "{}", shape.0);
        let big = [pattern(90_000), pattern(50_001)].concat();
        assert!(image.debugfs_bytes("cat /etc/big") == big, "{}", shape.0);
        assert_eq!(image.debugfs("cat /moved/pi/file-598-ä"), "598", "{}", shape.0);
        let stat = image.debugfs("stat /etc/new");
        assert!(stat.contains("Mode:  0600") && stat.contains("Links: 1"), "{}: {stat}", shape.0);
        read_back(&image, shape);
    }
}

fn read_back(image: &Image, shape: &Shape) {
    let device = Memory::new(image.bytes());
    let fs = Filesystem::open(&device).unwrap();
    let name = shape.0;
    let mut holes = vec![0; 900_000];
    for at in (0..500_123).step_by(20_000) {
        holes[at..at + 6].copy_from_slice(b"island");
    }
    assert!(fs.read_file(&path("/holes"), LIMIT).unwrap() == holes, "{name}");
    assert!(image.debugfs_bytes("cat /holes") == holes, "{name}");
    assert_eq!(fs.read_link(&path("/longer")).unwrap(), [b'z'; 500], "{name}");
    assert_eq!(fs.read_link(&path("/short")).unwrap(), b"etc/hostname", "{name}");
    let stat = fs.stat(&path("/moved/pi"), true).unwrap();
    assert_eq!(
        (stat.kind, stat.mode, stat.uid, stat.gid),
        (FileKind::Directory, 0o2750, 1000, 100_000),
        "{name}"
    );
    assert_eq!(stat.links, 3, "{name}");
    assert_eq!(fs.stat(&path("/etc/hostname"), true).unwrap().links, 2, "{name}");
    assert_eq!(fs.read_dir(&path("/moved/pi")).unwrap().len(), 402, "{name}");
    assert_eq!(fs.read_file(&path("/moved/pi/renamed"), 9).unwrap(), b"1", "{name}");
    assert_eq!(fs.canonical(&path("/out/y"), true).unwrap(), path("/x/y"), "{name}");
    assert_eq!(fs.canonical(&path("/link/none"), true).unwrap(), path("/etc/none"), "{name}");
    assert!(matches!(fs.stat(&path("/loop"), true), Err(Error::SymlinkLoop { .. })), "{name}");
    assert!(matches!(fs.stat(&path("/etc/long"), true), Err(Error::NotFound { .. })), "{name}");
}

#[test]
fn what_was_made_and_removed_again_leaves_the_counts_as_they_were() {
    for shape in SHAPES {
        let image = Image::make(shape);
        let mut before = (0, 0);
        image.edit(|fs| {
            before = (fs.free_blocks(), fs.free_inodes());
            fs.mkdir(&path("/new"), DIR).unwrap();
            for number in 0..300 {
                fs.write_file(&path(&format!("/new/{number}")), &pattern(number * 100), FILE).unwrap();
            }
            fs.remove_all(&path("/new")).unwrap();
            assert_eq!((fs.free_blocks(), fs.free_inodes()), before, "{}", shape.0);
        });
        image.check(shape.0);
    }
}

#[test]
fn another_uuid_and_label_reach_every_copy() {
    for shape in SHAPES {
        let image = Image::make(shape);
        image.edit(|fs| {
            fs.set_uuid([7; 16]).unwrap();
            fs.set_label("pressed").unwrap();
            fs.write_file(&path("/etc/new"), b"after\n", FILE).unwrap();
        });
        image.check(shape.0);
        let device = Memory::new(image.bytes());
        let fs = Filesystem::open(&device).unwrap();
        assert_eq!((fs.uuid(), fs.label().as_str()), ([7; 16], "pressed"), "{}", shape.0);
        let shown = image.debugfs("show_super_stats -h");
        assert!(shown.contains("07070707-0707-0707-0707-070707070707"), "{}: {shown}", shape.0);
    }
}

#[test]
fn a_full_filesystem_says_so_and_is_not_changed() {
    for shape in SHAPES {
        let image = Image::make(shape);
        let device = Memory::new(image.bytes());
        let mut fs = Filesystem::open(&device).unwrap();
        let free = fs.free_blocks();
        let len = usize::try_from((free + 1) * u64::from(fs.block_len())).unwrap();
        let error = fs.write_file(&path("/etc/new"), &vec![1; len], FILE).unwrap_err();
        assert!(matches!(error, Error::NoSpace { .. }), "{}: {error}", shape.0);
        assert_eq!(fs.free_blocks(), free);
        fs.commit().unwrap();
        drop(fs);
        assert!(device.into_bytes() == image.bytes(), "{}", shape.0);
    }
}

#[test]
fn a_filesystem_filled_to_the_last_block_stays_sound() {
    for shape in SHAPES {
        let image = Image::make(shape);
        image.edit(|fs| {
            let mut number = 0;
            loop {
                let len = usize::try_from(fs.free_blocks() * u64::from(fs.block_len()) / 3).unwrap();
                match fs.write_file(&path(&format!("/fill-{number}")), &vec![1; len.max(1)], FILE) {
                    Ok(()) => number += 1,
                    Err(Error::NoSpace { .. }) => break,
                    Err(error) => panic!("{}: {error}", shape.0),
                }
            }
            assert!(fs.free_blocks() < 4, "{}: {} blocks left", shape.0, fs.free_blocks());
        });
        image.check(shape.0);
    }
}

#[test]
fn every_inode_can_be_used_and_then_none() {
    for args in
        [&["-b1024", "-N200", "-Ometadata_csum"][..], &["-b1024", "-N200", "-O^metadata_csum,uninit_bg"]]
    {
        let image = Image::make(&Shape("few", args, "40M"));
        image.edit(|fs| {
            let mut number = 0;
            let error = loop {
                match fs.write_file(&path(&format!("/{number}")), b"", FILE) {
                    Ok(()) => number += 1,
                    Err(error) => break error,
                }
            };
            assert!(matches!(error, Error::NoInodes { .. }), "{error}");
            assert_eq!(fs.free_inodes(), 0);
        });
        image.check("without free inodes");
    }
}

#[test]
fn the_same_edits_give_the_same_bytes() {
    let image = Image::make(&SHAPES[2]);
    let press = || {
        let device = Memory::new(image.bytes());
        let mut fs = Filesystem::open(&device).unwrap();
        series(&mut fs);
        fs.commit().unwrap();
        drop(fs);
        device.into_bytes()
    };
    assert!(press() == press());
}

#[test]
fn reading_and_an_empty_commit_change_nothing() {
    let image = Image::make(&SHAPES[1]);
    let device = Memory::new(image.bytes());
    let mut fs = Filesystem::open(&device).unwrap();
    fs.read_file(&path("/etc/big"), LIMIT).unwrap();
    assert!(matches!(fs.mkdir(&path("/etc"), DIR), Err(Error::Exists { .. })));
    fs.set_mode(&path("/etc"), fs.stat(&path("/etc"), true).unwrap().mode).unwrap();
    fs.commit().unwrap();
    drop(fs);
    assert!(device.into_bytes() == image.bytes());
}

#[test]
fn an_inode_that_a_missing_feature_calls_its_own_can_be_taken() {
    // Slots of the table that were never used are not looked at.
    let image = Image::with(&["-b1024", "-N256", "-Ometadata_csum"], "4M");
    image.spoil("ssv prj_quota_inum 60");
    image.spoil("ssv orphan_file_inum 70");
    image.check("with numbers of free inodes");
    image.edit(|fs| {
        for number in 0..100 {
            fs.write_file(&path(&format!("/{number}")), b"used", FILE).unwrap();
        }
    });
    image.check("with both used");
    image.edit(|fs| (0..100).for_each(|number| fs.remove(&path(&format!("/{number}"))).unwrap()));
    image.check("with both free again");
}

#[test]
fn the_first_inode_of_a_group_does_not_bring_up_what_lies_behind_it_in_the_table() {
    let image =
        Image::with(&["-b1024", "-N512", "-g4096", "-G1", "-O^has_journal,metadata_csum,^64bit"], "8M");
    // A count of unused slots that means nothing as long as the group is said to be unused whole.
    let script = image.path().with_extension("script");
    fs::write(&script, "set_bg 1 itable_unused 0\nset_bg 1 checksum calc\n").unwrap();
    run(Command::new("debugfs").arg("-w").arg("-f").arg(&script).arg(image.path()));
    let groups = output(Command::new("dumpe2fs").arg(image.path()));
    let groups = String::from_utf8(groups.stdout).unwrap();
    let (_, group) = groups.split_once("Group 1:").unwrap();
    let (_, table) = group.split_once("Inode table at ").unwrap();
    let table: usize = table.split('-').next().unwrap().parse().unwrap();
    let mut bytes = image.bytes();
    bytes[(table + 10) * 1024..][..4096].fill(0x77);
    fs::write(image.path(), bytes).unwrap();
    image.check("with an unused table that is not empty");
    image.edit(|fs| {
        for number in 0..240 {
            fs.write_file(&path(&format!("/{number}")), b"", FILE).unwrap();
        }
        assert!(fs.stat(&path("/239"), true).unwrap().inode > 256);
    });
    image.check("with some of it used");
}
