use std::path::Path;
use std::process::Command;

use super::*;
use crate::block::{Memory, Overlay, ReadAt as _};

const TIME: u64 = 1_700_000_000;

/// A filesystem by `mkfs.fat`, with `config.txt`, `cmdline.txt` and `overlays/vc4.dtbo` by mtools.
fn by_mkfs(mib: u64, options: &[&str]) -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    let image = dir.path().join("fat.img");
    std::fs::File::create(&image).unwrap().set_len(mib << 20).unwrap();
    let mut mkfs = Command::new("mkfs.fat");
    run(mkfs.args(["--invariant", "-n", "BOOTFS", "-i", "1A2B3C4D"]).args(options).arg(&image));
    let local = dir.path().join("local");
    for (name, bytes) in [("config.txt", &b"arm_64bit=1\n"[..]), ("cmdline.txt", b"root=x\n")] {
        std::fs::write(&local, bytes).unwrap();
        run(Command::new("mcopy").arg("-i").arg(&image).arg(&local).arg(format!("::{name}")));
    }
    run(Command::new("mmd").arg("-i").arg(&image).arg("::overlays"));
    std::fs::write(&local, vec![7; 100_000]).unwrap();
    run(Command::new("mcopy").arg("-i").arg(&image).arg(&local).arg("::overlays/vc4-kms-v3d.dtbo"));
    std::fs::read(&image).unwrap()
}

fn run(command: &mut Command) -> String {
    let output =
        command.env("LC_ALL", "C").env("TZ", "UTC").output().expect("dosfstools and mtools are installed");
    let text =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {text}");
    text
}

/// `fsck.fat -n` finds nothing, not even something to repair; then what mtools reads.
fn check_with_oracles(image: &[u8], files: &[(&str, &[u8])]) {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), image).unwrap();
    let verdict = run(Command::new("fsck.fat").arg("-n").arg("-v").arg(file.path()));
    for word in ["dirty", "wrong", "Wrong", "Reclaim", "differ", "Bad", "bad ", "truncat"] {
        assert!(!verdict.contains(word), "{verdict}");
    }
    for (path, bytes) in files {
        assert_eq!(mtools_read(file.path(), path), *bytes, "{path}");
    }
}

fn mtools_read(image: &Path, path: &str) -> Vec<u8> {
    let output = Command::new("mtype").arg("-i").arg(image).arg(format!("::{path}")).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

fn open(device: &dyn Device) -> Result<Fat<'_>, Error> {
    Fat::open(device, FatTime::from_epoch_seconds(TIME))
}

/// The shapes Raspberry Pi OS has had: FAT16, FAT32 with 4 sectors, FAT32 with 1 sector to the cluster.
fn shapes() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("FAT16", by_mkfs(16, &["-F", "16", "-s", "4"])),
        ("FAT32 -s 4", by_mkfs(160, &["-F", "32", "-s", "4"])),
        ("FAT32 -s 1", by_mkfs(48, &["-F", "32", "-s", "1"])),
    ]
}

#[test]
fn edits_satisfy_fsck_and_mtools_on_every_shape() {
    for (shape, image) in shapes() {
        let device = Overlay::new(Memory::new(image));
        let fat = open(&device).unwrap();
        assert_eq!((fat.volume_id(), fat.label()), (0x1a2b_3c4d, Some("BOOTFS")), "{shape}");
        assert_eq!(fat.read_file("CMDLINE.TXT", 100).unwrap(), b"root=x\n");
        assert_eq!(fat.read_file("overlays/vc4-kms-v3d.dtbo", 1 << 20).unwrap(), vec![7; 100_000]);
        let long = vec![9; 70_001];
        fat.write_file("cmdline.txt", b"root=y quiet\n").unwrap();
        fat.write_file("config.txt", &long).unwrap();
        fat.write_file("a/deep/er/A long name.with dots.txt", b"hello").unwrap();
        for number in 0..60 {
            fat.write_file(&format!("overlays/some-overlay-{number}.dtbo"), &[1; 3000]).unwrap();
        }
        fat.remove("overlays/vc4-kms-v3d.dtbo").unwrap();
        fat.write_file("empty", b"").unwrap();
        fat.set_volume_id(0xcafe_0001).unwrap();
        let names: Vec<String> = fat.read_dir("").unwrap().into_iter().map(|entry| entry.name).collect();
        assert_eq!(names, ["a", "cmdline.txt", "config.txt", "empty", "overlays"], "{shape}");
        fat.close().unwrap();

        let mut bytes = vec![0; usize::try_from(device.len_bytes()).unwrap()];
        device.read_at(0, &mut bytes).unwrap();
        let files: [(&str, &[u8]); 4] = [
            ("cmdline.txt", b"root=y quiet\n"),
            ("config.txt", &long),
            ("a/deep/er/A long name.with dots.txt", b"hello"),
            ("overlays/some-overlay-59.dtbo", &[1; 3000]),
        ];
        check_with_oracles(&bytes, &files);
        let again = Memory::new(bytes);
        assert_eq!(open(&again).unwrap().volume_id(), 0xcafe_0001, "{shape}");
    }
}

#[test]
fn reading_writes_nothing() {
    for (shape, image) in shapes() {
        let device = Overlay::new(Memory::new(image));
        let fat = open(&device).unwrap();
        fat.read_dir("overlays").unwrap();
        fat.read_file("config.txt", 1000).unwrap();
        fat.close().unwrap();
        assert_eq!(device.dirty_extents(), [], "{shape}");
    }
}

#[test]
fn the_same_edits_give_the_same_bytes() {
    let image = by_mkfs(16, &["-F", "16"]);
    let edited = || {
        let device = Memory::new(image.clone());
        let fat = open(&device).unwrap();
        fat.write_file("dir/new.txt", b"new").unwrap();
        fat.close().unwrap();
        device.into_bytes()
    };
    assert_eq!(edited(), edited());
}

#[test]
fn a_file_that_does_not_fit_is_refused_before_anything_is_written() {
    for (shape, image) in shapes() {
        let device = Overlay::new(Memory::new(image));
        let fat = open(&device).unwrap();
        let free = fat.free_bytes().unwrap();
        let bytes = vec![1; usize::try_from(free).unwrap() + 5000];
        match fat.write_file("new.bin", &bytes) {
            Err(Error::NoSpace { missing_bytes, free_bytes, .. }) => {
                assert_eq!(free_bytes, free, "{shape}");
                assert!((5000..50_000).contains(&missing_bytes), "{shape}: {missing_bytes}");
            }
            other => panic!("{shape}: {other:?}"),
        }
        fat.close().unwrap();
        assert_eq!(device.dirty_extents(), [], "{shape}");
    }
}

#[test]
fn what_cannot_be_is_refused_by_name() {
    let device = Memory::new(by_mkfs(16, &["-F", "16"]));
    let fat = open(&device).unwrap();
    assert!(matches!(fat.read_file("none.txt", 9), Err(Error::NotFound(_))));
    assert!(matches!(fat.read_file("overlays", 9), Err(Error::WrongKind { .. })));
    assert!(matches!(fat.read_file("config.txt", 3), Err(Error::TooLarge { len_bytes: 12, .. })));
    assert!(matches!(fat.write_file("overlays", b""), Err(Error::WrongKind { .. })));
    assert!(matches!(fat.write_file("config.txt/x", b""), Err(Error::WrongKind { .. })));
    assert!(matches!(fat.write_file("a:b", b""), Err(Error::Name { .. })));
    assert!(matches!(fat.write_file("../x", b""), Err(Error::Name { .. })));
    assert!(!fat.exists("nowhere/x").unwrap());
    assert!(fat.stat("OVERLAYS").unwrap().unwrap().is_dir);
}

#[test]
fn a_directory_in_a_ring_and_a_chain_that_leaves_are_corrupt() {
    let sound = by_mkfs(48, &["-F", "32", "-s", "1"]);
    let layout = Layout::read(&Memory::new(sound.clone())).unwrap();
    let with_entry = |cluster: u32, value: u32| {
        let mut image = sound.clone();
        let at = usize::try_from(layout.fat_start).unwrap() + cluster as usize * 4;
        image[at..at + 4].copy_from_slice(&value.to_le_bytes());
        Memory::new(image)
    };
    let root = layout.root_cluster;
    for value in [root, 1, 0x0800_0000] {
        let device = with_entry(root, value);
        assert!(matches!(open(&device), Err(Error::Corrupt(_))), "{value:#x}");
    }
    // The 100 kB file leads out of the filesystem half-way: reading it is refused, the rest is not.
    let chain = (2..layout.cluster_count).find(|cluster| {
        let at = usize::try_from(layout.fat_start).unwrap() + *cluster as usize * 4;
        (0..50).all(|step| u32_le(&sound, at + step * 4) == cluster + u32::try_from(step).unwrap() + 1)
    });
    let device = with_entry(chain.unwrap() + 20, 0x00f0_0000);
    let fat = open(&device).unwrap();
    assert_eq!(fat.read_file("config.txt", 100).unwrap(), b"arm_64bit=1\n");
    let read = fat.read_file("overlays/vc4-kms-v3d.dtbo", 1 << 20);
    assert!(matches!(&read, Err(Error::Corrupt(message)) if message.contains("0xf00000")), "{read:?}");
}

#[test]
fn a_spoilt_boot_sector_never_panics() {
    let sound = by_mkfs(16, &["-F", "16"]);
    for at in (11..90).chain([510, 511]) {
        for value in [0x00, 0x01, 0x7f, 0x80, 0xff] {
            let mut image = sound.clone();
            image[at] = value;
            let device = Memory::new(image);
            if let Ok(fat) = open(&device) {
                let _ = fat.read_file("config.txt", 100);
                let _ = fat.write_file("config.txt", b"x");
                let _ = fat.close();
            }
        }
    }
}

/// Boot sector, FATs and directories with a few bytes changed at random: an error or an answer, no panic, no end
/// that does not come.
#[test]
fn spoilt_metadata_never_panics_or_hangs() {
    let mut random = 1_u64;
    let mut next = |below: usize| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(random >> 33).unwrap() % below
    };
    for (_, sound) in shapes() {
        let sound = Memory::new(sound);
        let layout = Layout::read(&sound).unwrap();
        let fat_start = usize::try_from(layout.fat_start).unwrap();
        let data_start = usize::try_from(layout.data_start).unwrap();
        let root_start = usize::try_from(layout.root_start).unwrap();
        let places = [
            (0, 90),
            (fat_start, 800),
            (root_start - 400, 400),
            (data_start, 4096),
            (488 + 512, 8),
            (root_start, 512),
        ];
        for _ in 0..400 {
            let device = Overlay::new(&sound);
            for _ in 0..=next(3) {
                let (start, len) = places[next(places.len())];
                let value = [0, 1, 2, 3, 0x7f, 0xff, 0xf7, 0xe5][next(8)];
                device.write_at((start + next(len)) as u64, &[value]).unwrap();
            }
            let Ok(fat) = open(&device) else { continue };
            let _ = fat.read_dir("overlays");
            let _ = fat.read_file("overlays/vc4-kms-v3d.dtbo", 1 << 20);
            let _ = fat.write_file("config.txt", &[5; 9000]);
            let _ = fat.write_file("overlays/new/name.txt", &[6; 9000]);
            let _ = fat.remove("overlays");
            let _ = fat.write_file("cmdline.txt", &[6; 9000]);
            let _ = fat.close();
        }
    }
}

/// Sees `fat` closed, and the image judged.
fn edited(shape: &str, image: Vec<u8>, edit: impl FnOnce(&mut Fat<'_>)) -> Vec<u8> {
    let device = Overlay::new(Memory::new(image));
    let mut fat = open(&device).unwrap();
    edit(&mut fat);
    fat.close().unwrap_or_else(|error| panic!("{shape}: {error}"));
    let mut bytes = vec![0; usize::try_from(device.len_bytes()).unwrap()];
    device.read_at(0, &mut bytes).unwrap();
    bytes
}

#[test]
fn parts_of_files_are_written_where_they_belong() {
    for (shape, image) in shapes() {
        let mut wanted = vec![7_u8; 100_000];
        let after = edited(shape, image, |fat| {
            let path = "overlays/vc4-kms-v3d.dtbo";
            // Inside; over the end; past the end; at the end, which is at the end of a cluster.
            for (offset, len) in [(0_usize, 3), (2047, 2), (99_990, 5000), (110_000, 1), (114_688, 4096)] {
                if wanted.len() < offset + len {
                    wanted.resize(offset + len, 0);
                }
                wanted[offset..offset + len].fill(0xee);
                fat.write_at(path, offset as u64, &mut &vec![0xee; len][..], len as u64).unwrap();
            }
            assert_eq!(fat.read_file(path, 1 << 20).unwrap(), wanted, "{shape}");
            for len in [110_001, 110_000, 65_536, 65_535, 70_000, 1, 0, 5] {
                fat.truncate(path, len as u64).unwrap();
                wanted.resize(len, 0);
                assert_eq!(fat.read_file(path, 1 << 20).unwrap(), wanted, "{shape} {len}");
            }
            fat.truncate("config.txt", 0).unwrap();
            fat.write_at("config.txt", 0, &mut &b"a=b"[..], 3).unwrap();
            let mut content = fat.content("config.txt").unwrap();
            let mut buf = [0; 2];
            assert_eq!(content.read(&mut buf).unwrap(), 2);
            assert_eq!((content.read(&mut buf).unwrap(), buf[0]), (1, b'b'));
            assert_eq!(content.read(&mut buf).unwrap(), 0);
            assert!(matches!(fat.truncate("overlays", 0), Err(Error::WrongKind { .. })));
            assert!(matches!(fat.truncate("gone", 0), Err(Error::NotFound(_))));
            let short = fat.write_from("short", &mut &b"abc"[..], 4);
            assert!(matches!(short, Err(Error::Source(_))), "{short:?}");
            fat.remove("short").unwrap();
        });
        check_with_oracles(&after, &[("config.txt", b"a=b"), ("overlays/vc4-kms-v3d.dtbo", &wanted)]);
    }
}

#[test]
fn names_change_as_rename_2_changes_them() {
    for (shape, image) in shapes() {
        let after = edited(shape, image, |fat| {
            fat.make_dir("one/two").unwrap();
            fat.make_dir("empty").unwrap();
            fat.write_file("one/two/A long name.txt", b"1").unwrap();
            fat.write_file("one/b.txt", b"2").unwrap();
            // Into a subdirectory, out of one, over a file, over an empty directory, only its case.
            fat.rename("cmdline.txt", "one/two/cmdline.txt").unwrap();
            fat.rename("one/two", "moved").unwrap();
            fat.rename("one/b.txt", "config.txt").unwrap();
            fat.rename("one", "EMPTY").unwrap();
            fat.rename("moved", "empty/Moved").unwrap();
            fat.rename("config.txt", "CONFIG.txt").unwrap();
            assert!(fat.read_dir("").unwrap().iter().any(|entry| entry.name == "CONFIG.txt"));
            assert!(matches!(fat.rename("gone", "x"), Err(Error::NotFound(_))));
            assert!(matches!(fat.rename("empty", "Empty/Moved/x"), Err(Error::IntoItself { .. })));
            assert!(matches!(fat.rename("overlays", "config.txt"), Err(Error::WrongKind { .. })));
            assert!(matches!(fat.rename("config.txt", "overlays"), Err(Error::WrongKind { .. })));
            assert!(matches!(fat.rename("empty", "overlays"), Err(Error::NotEmpty(_))));
        });
        let files: [(&str, &[u8]); 3] = [
            ("CONFIG.txt", b"2"),
            ("EMPTY/Moved/cmdline.txt", b"root=x\n"),
            ("EMPTY/Moved/A long name.txt", b"1"),
        ];
        check_with_oracles(&after, &files);
    }
}

#[test]
fn times_and_labels_are_what_mtools_and_fsck_read() {
    for (shape, image) in shapes() {
        let after = edited(shape, image, |fat| {
            let time = FatTime::from_epoch_seconds(1_000_000_000);
            for path in ["config.txt", "overlays", "overlays/vc4-kms-v3d.dtbo"] {
                fat.set_modified(path, time).unwrap();
                assert_eq!(fat.stat(path).unwrap().unwrap().modified_seconds, 1_000_000_000, "{shape}");
            }
            assert!(matches!(fat.set_modified("", time), Err(Error::Name { .. })));
            for wrong in ["twelve chars", "a/b", "caf\u{e9}"] {
                assert!(matches!(fat.set_label(wrong), Err(Error::Label { .. })), "{wrong}");
            }
            fat.set_label("").unwrap();
            fat.set_label("new label").unwrap();
            assert_eq!(fat.label(), Some("NEW LABEL"));
        });
        check_with_oracles(&after, &[("config.txt", b"arm_64bit=1\n")]);
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), &after).unwrap();
        let listing = run(Command::new("mdir").arg("-i").arg(file.path()).arg("::"));
        assert!(listing.contains("is NEW LABEL"), "{listing}");
        assert!(listing.contains("2001-09-09   1:46"), "{listing}");
    }
}

/// Found by fuzzing: `remove` went round through the root for ever.
#[test]
fn a_way_up_under_another_name_is_corrupt() {
    let sound = by_mkfs(64, &["-F", "32"]);
    assert!(open(&Memory::new(sound.clone())).is_ok()); // what follows is the only fault
    let dots = sound.windows(12).position(|bytes| bytes == b"..         \x10").unwrap();
    let mut renamed = sound.clone();
    renamed[dots..dots + 11].copy_from_slice(b".A         ");
    // The end of a long name, "x", before the way up: its attributes tell, the rest is for who believes it.
    let mut long = sound.clone();
    long.copy_within(dots..dots + 32, dots + 32);
    long[dots..dots + 32].fill(0);
    long[dots..dots + 3].copy_from_slice(&[0x41, b'x', 0]);
    long[dots + 11] = 0x0f;
    for image in [renamed, long] {
        let error = open(&Memory::new(image)).map(drop).unwrap_err();
        assert!(matches!(&error, Error::Corrupt(what) if what.contains("of a directory")), "{error}");
    }
}

#[test]
fn what_lies_behind_the_end_of_a_directory_is_told() {
    let device = Memory::new(by_mkfs(64, &["-F", "32"]));
    assert!(check(&device).unwrap().is_sound());
    let mut bytes = device.into_bytes();
    let first = bytes.windows(12).position(|bytes| bytes == b"CONFIG  TXT ").unwrap();
    // Its own name is the end now, so that everything behind it is lost.
    bytes[first] = 0;
    let report = check(&Memory::new(bytes)).unwrap();
    let said = report.findings.kept().iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
    assert!(said.contains("entry behind the end of the directory"), "{said}");
}

#[test]
fn what_is_in_use_is_all_that_a_copy_needs() {
    for (shape, image) in shapes() {
        let device = Memory::new(image);
        let fat = open(&device).unwrap();
        fat.write_file("kept.txt", &[5; 30_000]).unwrap();
        fat.remove("config.txt").unwrap();
        let free_bytes = fat.free_bytes().unwrap();
        fat.close().unwrap();
        let used = used_ranges(&device).unwrap();
        let bytes = device.into_bytes();
        let used_bytes: u64 = used.iter().map(|range| range.len_bytes).sum();
        assert_eq!(used_bytes + free_bytes, bytes.len() as u64, "{shape}");
        // What was on the card before is random, and looks like files as little as it looks free.
        let mut card: Vec<u8> = (0..bytes.len()).map(|at| u8::try_from(at * 31 % 251 + 1).unwrap()).collect();
        for range in used {
            let (from, len) =
                (usize::try_from(range.offset).unwrap(), usize::try_from(range.len_bytes).unwrap());
            card[from..from + len].copy_from_slice(&bytes[from..from + len]);
        }
        let files: [(&str, &[u8]); 3] = [
            ("kept.txt", &[5; 30_000]),
            ("cmdline.txt", b"root=x\n"),
            ("overlays/vc4-kms-v3d.dtbo", &[7; 100_000]),
        ];
        check_with_oracles(&card, &files);
    }
}
