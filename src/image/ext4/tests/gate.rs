//! What is refused, and by which name.

use super::support::{FILE, Image, SHAPES, Shape, path, pattern};
use crate::block::Memory;
use crate::image::ext4::{Error, Filesystem, Refusal};

fn refusal(bytes: Vec<u8>) -> Error {
    let device = Memory::new(bytes);
    match Filesystem::open(&device) {
        Ok(_) => panic!("it was let through"),
        Err(error) => error,
    }
}

/// Does an edit of each kind, which must all give the error that opening for them gives.
fn refuses_edits(fs: &mut Filesystem<'_>, wanted: &Error, what: &str) {
    let hostname = path("/etc/hostname");
    let errors = [
        fs.write_file(&hostname, b"x", FILE).unwrap_err(),
        fs.write_from(&hostname, &mut &b"x"[..], 1, FILE).unwrap_err(),
        fs.mkdir(&path("/new"), FILE).unwrap_err(),
        fs.rename(&hostname, &path("/moved")).unwrap_err(),
        fs.remove_all(&path("/etc")).unwrap_err(),
        fs.set_mode(&hostname, 0o600).unwrap_err(),
        fs.set_xattr(&hostname, b"user.x", b"x").unwrap_err(),
        fs.set_uuid([1; 16]).unwrap_err(),
        fs.set_label("x").unwrap_err(),
        fs.set_reserved_blocks(5).unwrap_err(),
        fs.zero_free().unwrap_err(),
        fs.grow(1 << 20, 0).unwrap_err(),
    ];
    for error in errors {
        assert_eq!(error.to_string(), wanted.to_string(), "{what}");
    }
}

/// What a feature that forbids writing leaves readable.
#[derive(PartialEq)]
enum Readable {
    All,
    /// All but what the feature marks.
    Unmarked,
    Nothing,
}

#[test]
fn features_that_cannot_be_written_are_refused_by_name_and_read_past_where_that_is_safe() {
    let features = [
        ("bigalloc", "bigalloc", Readable::All),
        ("bigalloc,^metadata_csum", "bigalloc", Readable::All),
        ("quota", "quota", Readable::All),
        ("project", "project", Readable::All),
        ("verity", "verity", Readable::All),
        ("mmp", "mmp", Readable::All),
        ("ea_inode", "ea_inode", Readable::All),
        ("encrypt", "encrypt", Readable::All),
        ("casefold", "casefold", Readable::All),
        ("inline_data", "inline_data", Readable::Unmarked),
        ("meta_bg,^resize_inode", "meta_bg", Readable::Nothing),
        ("large_dir", "large_dir", Readable::Nothing),
    ];
    for (feature, name, readable) in features {
        for block_len in ["-b1024", "-b4096"] {
            let what = format!("{feature} {block_len}");
            let image = Image::with(&[block_len, "-O", feature], "32M");
            let device = Memory::new(image.bytes());
            let refused = refusal(image.bytes());
            match &refused {
                Error::Unsupported(names) => assert!(names.0.iter().any(|n| n == name), "{what}: {names}"),
                error => panic!("{what}: {error}"),
            }
            let mut fs = match Filesystem::open_to_read(&device) {
                Ok(fs) => fs,
                Err(error) => {
                    assert_eq!(error.to_string(), format!("unsupported ext4 feature: {name}"), "{what}");
                    assert!(readable == Readable::Nothing, "{what}");
                    continue;
                }
            };
            let hostname = fs.read_file(&path("/etc/hostname"), 99);
            if readable == Readable::Unmarked {
                let flag = match hostname {
                    Err(Error::Refused(Refusal::InodeFlag { flag, .. })) => flag,
                    other => panic!("{what}: {other:?}"),
                };
                assert_eq!(flag, name, "{what}");
            } else {
                assert!(readable == Readable::All, "{what}");
                assert_eq!(hostname.unwrap(), b"raspberrypi\n", "{what}");
                assert!(fs.read_file(&path("/etc/big"), 1 << 20).unwrap() == pattern(700_000), "{what}");
                assert_eq!(fs.read_dir(&path("/etc/long")).unwrap().len(), 20, "{what}");
            }
            assert!(fs.read_dir(&path("/")).unwrap().len() > 4, "{what}");
            let shown = image.debugfs("show_super_stats -h");
            assert!(shown.contains(&format!("Block count:              {}\n", fs.len_blocks())), "{shown}");
            assert!(shown.contains(&format!("Free blocks:              {}\n", fs.free_blocks())), "{shown}");
            refuses_edits(&mut fs, &refused, &what);
            fs.commit().unwrap();
            drop(fs);
            assert!(device.into_bytes() == image.bytes(), "{what}");
        }
    }
}

#[test]
fn unknown_features_are_refused_by_their_number() {
    let image = Image::make(&Shape("plain", &["-b1024", "-O^metadata_csum"], "16M"));
    for (at, name, is_readable) in [
        (0x5c, "compat 0x80000000", true),
        (0x60, "incompat 0x80000000", false),
        (0x64, "ro_compat 0x80000000", true),
    ] {
        let mut bytes = image.bytes();
        bytes[1024 + at + 3] |= 0x80;
        let refused = refusal(bytes.clone());
        assert_eq!(refused.to_string(), format!("unsupported ext4 feature: {name}"));
        let device = Memory::new(bytes);
        match Filesystem::open_to_read(&device) {
            Ok(mut fs) => {
                assert!(is_readable, "{name}");
                assert_eq!(fs.read_file(&path("/etc/hostname"), 99).unwrap(), b"raspberrypi\n");
                refuses_edits(&mut fs, &refused, name);
            }
            Err(error) => {
                assert!(!is_readable, "{name}");
                assert_eq!(error.to_string(), refused.to_string());
            }
        }
    }
}

#[test]
fn blocks_of_64_kib_are_refused_by_name() {
    let image = tempfile::NamedTempFile::new().unwrap();
    let mut command = std::process::Command::new("mke2fs");
    super::support::run(
        command.args(["-q", "-t", "ext4", "-F", "-F", "-b65536"]).arg(image.path()).arg("64M"),
    );
    let device = Memory::new(std::fs::read(image.path()).unwrap());
    for error in [Filesystem::open(&device).err(), Filesystem::open_to_read(&device).err()] {
        assert_eq!(error.unwrap().to_string(), "unsupported ext4 feature: blocks of 65536 bytes");
    }
}

#[test]
fn marked_files_are_refused_one_by_one() {
    let image = Image::make(&Shape("plain", &["-b1024", "-O^metadata_csum"], "16M"));
    image.spoil("sif /etc/hostname flags 0x80800");
    image.spoil("sif /etc/long flags 0x40080000");
    image.spoil("sif /etc/big flags 0x180000");
    let device = Memory::new(image.bytes());
    let mut fs = Filesystem::open(&device).unwrap();
    let flag = |error: Error| match error {
        Error::Refused(Refusal::InodeFlag { flag, .. }) => flag,
        error => panic!("{error}"),
    };
    assert_eq!(flag(fs.read_file(&path("/etc/hostname"), 99).unwrap_err()), "encrypted");
    assert_eq!(flag(fs.read_dir(&path("/etc/long")).unwrap_err()), "casefold");
    // What a Merkle tree vouches for reads like any other file, and is not changed.
    assert!(fs.read_file(&path("/etc/big"), 1 << 20).unwrap() == pattern(700_000));
    assert_eq!(flag(fs.append(&path("/etc/big"), b"x").unwrap_err()), "verity");
    assert_eq!(flag(fs.remove(&path("/etc/hostname")).unwrap_err()), "encrypted");
}

#[test]
fn a_filesystem_that_is_still_in_use_is_refused_and_can_be_read_unless_its_journal_is_full() {
    let plain = Shape("plain", &["-b1024", "-O^metadata_csum"], "16M");
    for (request, wanted) in [
        ("ssv state 0", Refusal::Unclean { state: 0 }),
        ("ssv state 3", Refusal::HasErrors { state: 3 }),
        ("ssv last_orphan 12", Refusal::Orphans),
        ("feature needs_recovery", Refusal::NeedsRecovery),
    ] {
        let image = Image::make(&plain);
        image.spoil(request);
        let refused = refusal(image.bytes());
        match &refused {
            Error::Refused(found) => assert_eq!(*found, wanted),
            error => panic!("{request}: {error}"),
        }
        let device = Memory::new(image.bytes());
        // The journal of the last one is empty all the same.
        let mut fs = Filesystem::open_to_read(&device).unwrap();
        assert_eq!(fs.read_file(&path("/etc/hostname"), 99).unwrap(), b"raspberrypi\n");
        refuses_edits(&mut fs, &refused, request);
    }
}

#[test]
fn a_journal_with_something_in_it_forbids_reading_too() {
    let image = Image::make(&Shape("plain", &["-b1024", "-O^metadata_csum"], "16M"));
    image.spoil("feature needs_recovery");
    let mut bytes = image.bytes();
    let magic = [0xc0, 0x3b, 0x39, 0x98, 0, 0, 0, 4];
    let journal = bytes.windows(8).position(|window| window == magic).unwrap();
    bytes[journal + 0x1f] = 1;
    let device = Memory::new(bytes);
    let error = Filesystem::open_to_read(&device).err().unwrap();
    assert!(matches!(error, Error::Refused(Refusal::NeedsRecovery)), "{error}");
}

#[test]
fn a_filesystem_that_another_host_may_be_writing_is_not_even_read() {
    let image = Image::make(&Shape("shared", &["-b1024", "-Ommp,^metadata_csum"], "16M"));
    let mut bytes = image.bytes();
    assert!(Filesystem::open_to_read(&Memory::new(bytes.clone())).is_ok());
    let clean = *b"PMM\0PMM\xff";
    let mmp = bytes.windows(8).position(|window| window == clean).unwrap();
    bytes[mmp + 4..mmp + 8].copy_from_slice(&[1, 0, 0, 0]);
    let device = Memory::new(bytes);
    let error = Filesystem::open_to_read(&device).err().unwrap();
    assert!(matches!(error, Error::Refused(Refusal::InUse { sequence: 1 })), "{error}");
}

#[test]
fn a_flipped_bit_in_checksummed_metadata_is_corrupt() {
    let image = Image::make(&SHAPES[1]);
    // In the superblock (free inodes), and in the first group descriptor.
    for at in [1024 + 0x10, 4096 + 0x0c] {
        let mut bytes = image.bytes();
        bytes[at] ^= 1;
        assert!(matches!(refusal(bytes), Error::Corrupt(_)), "{at}");
    }
}

#[test]
fn a_filesystem_longer_than_its_device_is_corrupt() {
    let mut bytes = Image::make(&SHAPES[1]).bytes();
    bytes.truncate(bytes.len() - 4096);
    assert!(matches!(refusal(bytes), Error::Corrupt(_)));
}

#[test]
fn an_immutable_file_is_left_alone() {
    let image = Image::make(&SHAPES[3]);
    image.spoil("sif /etc/hostname flags 0x80010");
    image.edit(|fs| {
        let error = fs.write_file(&path("/etc/hostname"), b"x", FILE).unwrap_err();
        assert!(matches!(error, Error::Refused(Refusal::InodeFlag { flag: "immutable", .. })), "{error}");
        assert!(fs.remove(&path("/etc/hostname")).is_err());
    });
}
