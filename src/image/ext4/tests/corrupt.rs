//! One field spoilt at a time: what reading, editing or recovering then says. Nothing is laid down.

use super::support::{FILE, Image, Shape, path, pattern};
use super::xattrs::named_acl;
use crate::block::Memory;
use crate::image::ext4::{Error, Filesystem, Refusal, check, recover};

type Work = fn(&mut Filesystem<'_>) -> Result<(), Error>;

/// Nothing but the spoilt field can be found wrong.
const PLAIN: Shape = Shape("plain", &["-b1024", "-O^metadata_csum,^uninit_bg,64bit,^orphan_file"], "16M");
const CHECKED: Shape = Shape("checked", &["-b1024", "-Ometadata_csum,orphan_file"], "16M");

/// What opening `bytes`, or then `work`, fails with.
fn failure(bytes: Vec<u8>, work: Work) -> Error {
    let device = Memory::new(bytes.clone());
    let error = match Filesystem::open(&device) {
        Ok(mut fs) => work(&mut fs).expect_err("it was let through"),
        Err(error) => error,
    };
    assert!(device.into_bytes() == bytes, "{error}");
    error
}

/// As [`failure`], of bytes that our check must call unsound too, or refuse.
#[track_caller]
fn corrupt(bytes: Vec<u8>, work: Work, words: &str) {
    let report = check(&Memory::new(bytes.clone()));
    assert!(!report.is_ok_and(|report| report.is_sound()), "our check finds nothing; wanted `{words}`");
    says(&failure(bytes, work), words);
}

#[track_caller]
fn says(error: &Error, words: &str) {
    assert!(error.to_string().contains(words), "found `{error}`, wanted `{words}`");
}

fn put(bytes: &mut [u8], at: usize, new: &[u8]) {
    bytes[at..at + new.len()].copy_from_slice(new);
}

/// Where `pattern` first stands.
fn find(bytes: &[u8], pattern: &[u8]) -> usize {
    bytes.windows(pattern.len()).position(|window| window == pattern).expect("it is there")
}

#[test]
fn every_number_of_the_superblock_has_its_bounds() {
    let sound = Image::make(&PLAIN).bytes();
    let cases: [(usize, &[u8], &str); 13] = [
        (0x4c, &[0], "revision is 0"),
        (0x18, &[9], "log block size is 9"),
        (0x1c, &[3], "cluster size differs"),
        (0x14, &[0], "wanted 1 as the first"),
        (0x20, &8191_u32.to_le_bytes(), "8191 blocks per group, wanted a multiple of 8"),
        (0x20, &0_u32.to_le_bytes(), "0 blocks per group"),
        (0x28, &16_384_u32.to_le_bytes(), "16384 inodes per group"),
        (0x28, &8_u32.to_le_bytes(), "wanted 8 in each"),
        (0x58, &200_u16.to_le_bytes(), "inode size is 200"),
        (0x58, &2048_u16.to_le_bytes(), "inode size is 2048"),
        (0xfe, &128_u16.to_le_bytes(), "unsupported ext4 feature: group descriptors of 128 bytes"),
        (0xfe, &40_u16.to_le_bytes(), "descriptor size is 40"),
        (0x54, &5_u32.to_le_bytes(), "first inode is 5"),
    ];
    for (at, new, words) in cases {
        let mut bytes = sound.clone();
        put(&mut bytes, 1024 + at, new);
        corrupt(bytes, |_| Ok(()), words);
    }
    // With clusters, their length too.
    let mut bytes = sound;
    (bytes[1024 + 0x64 + 1], bytes[1024 + 0x1c]) = (bytes[1024 + 0x65] | 2, 40);
    let device = Memory::new(bytes);
    says(&Filesystem::open_to_read(&device).err().unwrap(), "log cluster size is 40");
}

#[test]
fn a_spoilt_inode_is_told_by_what_is_wrong_with_it() {
    let read_big: Work = |fs| fs.read_file(&path("/etc/big"), 1 << 20).map(drop);
    let read_link: Work = |fs| fs.read_link(&path("/absolute")).map(drop);
    let list_long: Work = |fs| fs.read_dir(&path("/etc/long")).map(drop);
    let stat: Work = |fs| fs.stat(&path("/etc/hostname"), true).map(drop);
    let link: Work = |fs| fs.hard_link(&path("/etc/hostname"), &path("/again"));
    let cases: [(&[&str], Work, &str); 14] = [
        (&["sif /etc/big block[1] 0x00060004"], read_big, "6 levels deep"),
        (&["sif /etc/big block[0] 0x0001f30b"], read_big, "magic 0xf30b"),
        (&["sif /etc/big block[0] 0xf30a", "sif /etc/big block[1] 0x00010004"], read_big, "is empty"),
        (&["sif /etc/big block[4] 0"], read_big, "an extent of 0 blocks at 0"),
        (
            &["sif /etc/big block[0] 0x0002f30a", "sif /etc/big block[6] 0"],
            read_big,
            "begins at file block 0, wanted",
        ),
        (&["sif /absolute size 4000"], read_link, "has 4000 bytes"),
        (&["sif /absolute size 20"], read_link, "an empty target or a NUL in it"),
        (&["sif /etc/long size 1000"], list_long, "and not all of them in blocks"),
        (&["sif /etc/hostname extra_isize 250"], stat, "claims 250 extra bytes"),
        (&["sif /etc/hostname links_count 0"], stat, "which is free"),
        (&["sif /etc/hostname links_count 65000"], link, "65000"),
        (&["link <2> /etc/root"], |fs| fs.remove_all(&path("/etc/root")), "names the root directory"),
        (&["unlink /etc/long/.."], |fs| fs.rename(&path("/etc/long"), &path("/long")), "has no `..`"),
        // One inode more is free, and one less.
        (&["freei /etc/hostname", "seti <2000>"], |fs| fs.remove(&path("/etc/hostname")), "is free already"),
    ];
    for (requests, work, words) in cases {
        let image = Image::make(&PLAIN);
        requests.iter().for_each(|request| image.spoil(request));
        corrupt(image.bytes(), work, words);
    }
}

#[test]
fn a_tree_of_extents_vouches_for_its_blocks() {
    for (shape, at, words) in [(&PLAIN, 5, "has room for"), (&CHECKED, 12 + 4, "checksum is")] {
        let image = Image::make(shape);
        image.edit(|fs| {
            fs.write_file(&path("/holey"), b"", FILE).unwrap();
            for number in 0..20 {
                fs.write_at(&path("/holey"), number * 8192, b"piece").unwrap();
            }
        });
        image.check(shape.0);
        let mut bytes = image.bytes();
        let leaf = |at: &usize| bytes[*at..].starts_with(&[0x0a, 0xf3, 20, 0]);
        let block = (0..bytes.len()).step_by(1024).find(leaf).expect("a block of extents");
        bytes[block + at] ^= 0x80;
        corrupt(bytes, |fs| fs.read_file(&path("/holey"), 1 << 20).map(drop), words);
    }
}

#[test]
fn bitmaps_agree_with_their_checksums_and_counts() {
    let write: Work = |fs| fs.write_file(&path("/etc/new"), &pattern(9000), FILE);
    let sound = Image::make(&CHECKED).bytes();
    // The first descriptor says where the bitmaps of its group are.
    for (at, words) in [(0, "block bitmap of group 0"), (4, "inode bitmap of group 0")] {
        let mut bytes = sound.clone();
        let block: [u8; 4] = bytes[2048 + at..2048 + at + 4].try_into().unwrap();
        let start = usize::try_from(u32::from_le_bytes(block)).unwrap() * 1024;
        bytes[start] ^= 1;
        corrupt(bytes, write, words);
    }
    let image = Image::make(&PLAIN);
    image.spoil("set_bg 0 free_inodes_count 7");
    corrupt(image.bytes(), write, "group 0 claims 7 free inodes");
}

/// Three attributes of 300 bytes in a block of their own, and where that is.
fn with_attributes(shape: &Shape) -> (Vec<u8>, usize) {
    let image = Image::make(shape);
    image.edit(|fs| {
        for name in ["user.one", "user.six", "user.two"] {
            fs.set_xattr(&path("/etc/hostname"), name.as_bytes(), &pattern(300)).unwrap();
        }
    });
    image.check(shape.0);
    let said = image.debugfs("stat /etc/hostname");
    let block = said.split_once("File ACL: ").and_then(|(_, rest)| rest.split_whitespace().next()).unwrap();
    (image.bytes(), block.parse::<usize>().unwrap() * 1024)
}

#[test]
fn a_spoilt_block_of_attributes_is_told() {
    let read: Work = |fs| fs.xattrs(&path("/etc/hostname")).map(drop);
    let (sound, block) = with_attributes(&PLAIN);
    let mut bytes = sound.clone();
    bytes[block] = 9;
    corrupt(bytes, read, "has magic 0xea020009");
    // The values of the second and the third begin where they did and end where the first does.
    let mut bytes = sound.clone();
    put(&mut bytes, block + 32 + 20 + 8, &600_u32.to_le_bytes());
    put(&mut bytes, block + 32 + 40 + 8, &900_u32.to_le_bytes());
    corrupt(bytes, |fs| fs.remove_xattr(&path("/etc/hostname"), b"user.one"), "overlap");

    let (mut bytes, block) = with_attributes(&CHECKED);
    bytes[block + 1023] ^= 1;
    corrupt(bytes, read, "checksum is");
}

#[test]
fn an_attribute_with_an_unknown_prefix_is_not_shown_and_not_lost() {
    let (mut bytes, block) = with_attributes(&PLAIN);
    bytes[block + 32 + 40 + 1] = 8;
    let device = Memory::new(bytes);
    let mut fs = Filesystem::open(&device).unwrap();
    let hostname = path("/etc/hostname");
    assert_eq!(fs.xattrs(&hostname).unwrap().len(), 2);
    fs.remove_xattr(&hostname, b"user.one").unwrap();
    // What it was is set already, and nothing is touched.
    fs.set_xattr(&hostname, b"user.six", &pattern(300)).unwrap();
    fs.commit().unwrap();
    drop(fs);
    let bytes = device.into_bytes();
    for (at, index, name) in [(32, 1, b"six"), (52, 8, b"two")] {
        let entry = &bytes[block + at..block + at + 20];
        assert_eq!((&entry[..2], &entry[16..19]), (&[3, index][..], &name[..]));
    }
}

#[test]
fn an_access_control_list_that_is_none_is_told_to_readers_and_editors() {
    let image = Image::make(&PLAIN);
    image.edit(|fs| {
        fs.set_xattr(&path("/etc/hostname"), b"system.posix_acl_access", &named_acl()).unwrap();
    });
    let sound = image.bytes();
    let list = find(&sound, &[1, 0, 0, 0, 1, 0, 6, 0, 2, 0, 7, 0, 0xe8, 3, 0, 0]);
    let works: [Work; 3] = [
        |fs| fs.xattrs(&path("/etc/hostname")).map(drop),
        |fs| fs.xattr(&path("/etc/hostname"), b"system.posix_acl_access").map(drop),
        |fs| fs.set_mode(&path("/etc/hostname"), 0o600),
    ];
    for (at, new, words) in [(0, 2, "it is not of version 1"), (4, 0x40, "an entry has an unknown tag")] {
        let mut bytes = sound.clone();
        bytes[list + at] = new;
        works.iter().for_each(|work| says(&failure(bytes.clone(), *work), words));
    }
}

#[test]
fn a_spoilt_journal_or_orphan_file_is_not_replayed() {
    let image = Image::make(&PLAIN);
    image.spoil("feature needs_recovery");
    let sound = image.bytes();
    let fails = |bytes: Vec<u8>, words: &str| {
        let device = Memory::new(bytes.clone());
        assert!(!check(&device).is_ok_and(|report| report.is_sound()), "our check: {words}");
        says(&recover(&device).unwrap_err(), words);
        assert!(device.into_bytes() == bytes, "{words}");
    };
    let journal = find(&sound, &[0xc0, 0x3b, 0x39, 0x98, 0, 0, 0, 4]);
    let cases: [(usize, u32, &str); 7] = [
        (0, 0, "the journal begins with 0x00000000 of type 4"),
        (4, 7, "of type 7"),
        (0x0c, 2048, "journal blocks have 2048 bytes, wanted 1024"),
        (0x10, 1 << 16, "its file holds"),
        (0x14, 0, "the journal has a log of blocks 0"),
        (0x1c, 1 << 16, "the log begins at block 65536"),
        (0x28, 0x18, "two kinds of checksums"),
    ];
    for (at, new, words) in cases {
        let mut bytes = sound.clone();
        put(&mut bytes, journal + at, &new.to_be_bytes());
        fails(bytes, words);
    }
    for (number, words) in [(99_999_u32, "which is not there"), (2, "is no file in use")] {
        let mut bytes = sound.clone();
        put(&mut bytes, 1024 + 0xe0, &number.to_le_bytes());
        fails(bytes, words);
    }
    let mut bytes = sound;
    bytes[1024 + 0x3a] = 0;
    let device = Memory::new(bytes);
    let error = recover(&device).unwrap_err();
    assert!(matches!(error, Error::Refused(Refusal::Unclean { state: 0 })), "{error}");

    let image = Image::make(&CHECKED);
    image.spoil("feature orphan_present");
    let mut bytes = image.bytes();
    let tail = find(&bytes, &0x0b10_ca04_u32.to_le_bytes());
    bytes[tail + 4] ^= 1;
    fails(bytes, "of the orphan file has magic 0x0b10ca04");
}

#[test]
fn what_stands_in_the_way_of_one_edit_only_is_told() {
    let image = Image::make(&PLAIN);
    image.spoil("feature stable_inodes");
    let error = failure(image.bytes(), |fs| fs.set_uuid([9; 16]));
    assert!(matches!(error, Error::Refused(Refusal::StableInodes)), "{error}");

    let image = Image::make(&CHECKED);
    image.spoil("feature uninit_bg");
    says(&failure(image.bytes(), |_| Ok(())), "uninit_bg together with metadata_csum");

    let image = Image::with(&["-b1024", "-Obigalloc"], "16M");
    let device = Memory::new(image.bytes());
    let fs = Filesystem::open_to_read(&device).unwrap();
    says(&fs.used_ranges().unwrap_err(), "bigalloc");

    let image = Image::make(&PLAIN);
    image.spoil("sif <7> blocks 6");
    let mut bytes = image.bytes();
    bytes.resize(32 << 20, 0);
    corrupt(bytes, |fs| fs.grow(32 << 10, 16 << 10).map(drop), "the resize inode counts 6 sectors");
}

#[test]
fn paths_that_lead_nowhere_are_told_apart() {
    let image = Image::make(&PLAIN);
    image.edit(|fs| fs.symlink(&path("/far"), "x".repeat(300).as_bytes(), 0, 0).unwrap());
    let device = Memory::new(image.bytes());
    let mut fs = Filesystem::open(&device).unwrap();
    let error = fs.read_file(&path("/far"), 9).unwrap_err();
    assert!(matches!(error, Error::UnusablePath { .. }), "{error}");
    let error = fs.mkdir(&path("/"), FILE).unwrap_err();
    assert!(matches!(error, Error::Exists { .. }), "{error}");
    let error = fs.mkdir_all(&path("/etc/hostname"), FILE).unwrap_err();
    assert!(matches!(error, Error::NotADirectory { .. }), "{error}");
}
