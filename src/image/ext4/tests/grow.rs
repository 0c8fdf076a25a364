//! Filesystems grown by us, judged by e2fsck, and compared with what resize2fs makes of a copy.

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::process::Command;

use super::spoilt::Dice;
use super::support::{DIR, FILE, Image, SHAPES, Shape, path, pattern, run};
use crate::block::{self, Device, Memory, Overlay, ReadAt};
use crate::image::ext4::{Error, Filesystem};

const MIB: u64 = 1 << 20;

/// A file of the host: large ones are sparse.
pub(super) struct OnFile(pub(super) File);

impl ReadAt for OnFile {
    fn len_bytes(&self) -> u64 {
        self.0.metadata().unwrap().len()
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<(), block::Error> {
        self.0.read_exact_at(buf, offset).unwrap();
        Ok(())
    }
}

impl Device for OnFile {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<(), block::Error> {
        block::Error::check_bounds(offset, bytes.len(), self.len_bytes())?;
        self.0.write_all_at(bytes, offset).unwrap();
        Ok(())
    }
}

/// Makes the file longer, grows the filesystem in it, then does `work`.
pub(super) fn grow(image: &Path, len_bytes: u64, work: impl FnOnce(&mut Filesystem<'_>)) {
    let file = File::options().read(true).write(true).open(image).unwrap();
    let old_len = file.metadata().unwrap().len();
    file.set_len(len_bytes.max(old_len)).unwrap();
    edit(image, |filesystem| {
        let block_len = u64::from(filesystem.block_len());
        let wanted = len_bytes / block_len;
        let len = filesystem.grow(wanted, old_len.div_ceil(block_len)).unwrap();
        assert!(len == filesystem.len_blocks() && len <= wanted);
        work(filesystem);
    });
}

/// Opens, edits and commits in place: these images are too large to be held in memory.
pub(super) fn edit(image: &Path, work: impl FnOnce(&mut Filesystem<'_>)) {
    let device = OnFile(File::options().read(true).write(true).open(image).unwrap());
    let mut filesystem = Filesystem::open(&device).unwrap();
    work(&mut filesystem);
    filesystem.commit().unwrap();
}

/// The counts that `dumpe2fs -h` prints.
fn counts(image: &Path) -> Vec<(&'static str, u64)> {
    let printed = run(Command::new("dumpe2fs").arg("-h").arg(image)).stdout;
    let printed = String::from_utf8(printed).unwrap();
    let count = |name| {
        let line = printed.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        (name, line.map_or(0, |count| count.trim().parse().unwrap()))
    };
    let names = [
        "Block count",
        "Inode count",
        "Reserved GDT blocks",
        "Reserved block count",
        "Free inodes",
        "Free blocks",
    ];
    names.map(count).to_vec()
}

/// What resize2fs makes of a copy of `image`.
fn resized(image: &Image, len_bytes: u64, block_len: u64) -> Vec<(&'static str, u64)> {
    let copy = image.path().with_extension("resized");
    run(Command::new("cp").arg("--sparse=always").arg(image.path()).arg(&copy));
    File::options().write(true).open(&copy).unwrap().set_len(len_bytes).unwrap();
    // A number without a unit counts blocks.
    run(Command::new("resize2fs").arg("-f").arg(&copy).arg((len_bytes / block_len).to_string()));
    let counts = counts(&copy);
    fs::remove_file(copy).unwrap();
    counts
}

fn block_len(shape: &Shape) -> u64 {
    match shape.1[0] {
        "-b1024" => 1024,
        "-b2048" => 2048,
        _ => 4096,
    }
}

fn write_some(filesystem: &mut Filesystem<'_>, name: &str) {
    let top = path(&format!("/{name}"));
    filesystem.mkdir(&top, DIR).unwrap();
    for number in 0..20 {
        let file = path(&format!("/{name}/{number}"));
        filesystem.write_file(&file, &pattern(number * 10_000), FILE).unwrap();
    }
}

#[test]
fn every_shape_grows_as_with_resize2fs_and_can_be_edited_and_grown_again() {
    let mut differing = Vec::new();
    for shape in SHAPES {
        let image = Image::make(shape);
        let old_len = image.bytes().len() as u64;
        let can_grow_its_table = !shape.1.iter().any(|word| word.contains("^resize_inode"));
        let most = if can_grow_its_table { 90 * MIB + 512 } else { 60 * MIB };
        // Inside the last group; a tail too short; a few groups; odd lengths.
        for (step, more) in [3 * MIB, 8 * MIB + 70 * 1024, 50 * MIB, most].into_iter().enumerate() {
            let wanted = resized(&image, old_len + more, block_len(shape));
            let name = format!("{} + {more}", shape.0);
            grow(&image.path(), old_len + more, |filesystem| {
                if step == 2 {
                    write_some(filesystem, "together");
                }
            });
            image.check(&name);
            let mut found = counts(&image.path());
            if shape.0 == "sparse_super2" {
                // resize2fs moves the second backup to the last group, and does not always free its former place.
                found[5] = wanted[5];
            }
            if step != 2 && found != wanted {
                differing.push(format!("{name}: {found:?}, resize2fs {wanted:?}"));
            }
            edit(&image.path(), |filesystem| write_some(filesystem, &format!("after{step}")));
            image.check(&format!("{name}, edited"));
        }
        assert_eq!(image.debugfs("cat /etc/hostname"), "raspberrypi\n");
        assert_eq!(image.debugfs_bytes("cat /etc/big"), pattern(700_000));
        assert_eq!(image.debugfs_bytes("cat /after3/19"), pattern(190_000));
    }
    assert!(differing.is_empty(), "{}", differing.join("\n"));
}

/// Few reserved blocks, so that they come to an end. 1 KiB blocks of 32 descriptors: one for each 256 MiB.
const SHORT_OF_RESERVED: [Shape; 4] = [
    Shape("csum", &["-b1024", "-Eresize=1048576", "-O^64bit,metadata_csum"], "40M"),
    Shape("gdt_csum", &["-b1024", "-Eresize=1048576", "-O^64bit,^metadata_csum,uninit_bg"], "40M"),
    Shape("no checksums", &["-b1024", "-Eresize=1048576", "-O^64bit,^metadata_csum,^uninit_bg"], "40M"),
    Shape("64bit", &["-b1024", "-Eresize=524288", "-O64bit,metadata_csum"], "40M"),
];

#[test]
fn the_descriptor_table_takes_reserved_blocks_until_there_are_none() {
    for shape in &SHORT_OF_RESERVED {
        let image = Image::make(shape);
        let per_block = if shape.0 == "64bit" { 128 * MIB } else { 256 * MIB };
        for len in [per_block - MIB, per_block + 10 * MIB, 3 * per_block + 300 * 1024, 4 * per_block] {
            let name = format!("{} to {len}", shape.0);
            let wanted = resized(&image, len, 1024);
            grow(&image.path(), len, |_| {});
            image.check(&name);
            let found = counts(&image.path());
            assert_eq!(found, wanted, "{name}");
        }
        assert_eq!(counts(&image.path())[2], ("Reserved GDT blocks", 0), "{}", shape.0);
        let limit = 4 * per_block / 1024 + 1;
        let device = Memory::new(vec![0; usize::try_from(5 * per_block).unwrap()]);
        device.write_at(0, &image.bytes()).unwrap();
        let refused = Filesystem::open(&device).unwrap().grow(5 * per_block / 1024, 0);
        assert!(
            matches!(refused, Err(Error::GrowLimit { limit_blocks, .. }) if limit_blocks == limit),
            "{}: {refused:?}",
            shape.0
        );
    }
}

/// Every copy of the superblock is the first one but for its group and checksum, every copy of the table the same.
fn check_backups(shape: &Shape, image: &Image, len: u64) {
    let file = File::open(image.path()).unwrap();
    let read = |offset: u64, len: usize| {
        let mut bytes = vec![0; len];
        file.read_exact_at(&mut bytes, offset).unwrap();
        bytes
    };
    let groups = len.div_ceil(32768 * 4096);
    // 32 or 64 bytes for each group, to the end of the block.
    let descriptor_len = if shape.0 == "64bit" { 64 } else { 32 };
    let table_len = usize::try_from((groups * descriptor_len).next_multiple_of(4096)).unwrap();
    let (superblock, table) = (read(1024, 1024), read(4096, table_len));
    for group in [1, 3, 5, 7, 9, 25, 27, 49, 81, 125, 243] {
        let start = group * 32768 * 4096;
        let copy = read(start, 1024);
        assert!(
            copy[..0x5a] == superblock[..0x5a] && copy[0x5c..0x3fc] == superblock[0x5c..0x3fc],
            "{group}"
        );
        assert_eq!(copy[0x5a..0x5c], u16::try_from(group).unwrap().to_le_bytes());
        assert!(read(start + 4096, table_len) == table, "{}: table in group {group}", shape.0);
        let place = format!("superblock={}", group * 32768);
        run(Command::new("dumpe2fs").args(["-h", "-o", &place, "-o", "blocksize=4096"]).arg(image.path()));
    }
}

#[test]
fn growing_by_tens_of_gibibytes_writes_a_few_blocks_for_each_group() {
    let shapes = [
        Shape(
            "trixie",
            &["-b4096", "-O^64bit,^huge_file,metadata_csum,metadata_csum_seed,orphan_file"],
            "600M",
        ),
        Shape("bullseye", &["-b4096", "-O^64bit,^huge_file,^metadata_csum"], "600M"),
        Shape("64bit", &["-b4096", "-O64bit,metadata_csum"], "600M"),
    ];
    for (shape, most_blocks) in shapes.iter().zip([800, 1400, 800]) {
        let image = Image::make(shape);
        let len = 33 << 30;
        let wanted = resized(&image, len, 4096);
        let file = File::options().read(true).write(true).open(image.path()).unwrap();
        let overlay = Overlay::new(OnFile(file));
        let old_len = overlay.len_bytes();
        overlay.grow(len);
        let mut filesystem = Filesystem::open(&overlay).unwrap();
        filesystem.grow(len / 4096, old_len / 4096).unwrap();
        filesystem.commit().unwrap();
        let dirty = overlay.dirty_bytes() / 4096;
        assert!(dirty < most_blocks, "{}: {dirty} blocks", shape.0);
        let file = File::options().write(true).open(image.path()).unwrap();
        for extent in overlay.dirty_extents() {
            let mut bytes = vec![0; usize::try_from(extent.len_bytes).unwrap()];
            overlay.read_at(extent.offset, &mut bytes).unwrap();
            file.write_all_at(&bytes, extent.offset).unwrap();
        }
        file.set_len(len).unwrap();
        image.check(shape.0);
        assert_eq!(counts(&image.path()), wanted, "{}", shape.0);
        check_backups(shape, &image, len);
    }
}

#[test]
fn what_lies_behind_the_filesystem_never_shows_through() {
    for shape in SHAPES {
        let image = Image::make(shape);
        let block_len = block_len(shape);
        let mut bytes = image.bytes();
        bytes.resize(bytes.len() + (70 << 20), 0xa5);
        let device = Memory::new(bytes);
        let blocks = device.len_bytes() / block_len;
        let mut filesystem = Filesystem::open(&device).unwrap();
        filesystem.grow(blocks, blocks).unwrap();
        filesystem.commit().unwrap();
        fs::write(image.path(), device.into_bytes()).unwrap();
        image.check(shape.0);
        image.edit(|filesystem| write_some(filesystem, "after"));
        image.check(&format!("{}, edited", shape.0));
    }
}

#[test]
fn a_length_that_cannot_be_changes_nothing() {
    let image = Image::make(&SHAPES[0]);
    let device = Memory::new(image.bytes());
    let mut filesystem = Filesystem::open(&device).unwrap();
    let blocks = filesystem.len_blocks();
    assert!(matches!(filesystem.grow(blocks - 1, 0), Err(Error::Shrink { .. })));
    assert!(matches!(
        filesystem.grow(blocks + 1, 0),
        Err(Error::GrowLimit { limit_blocks, reason: "the device ends there", .. }) if limit_blocks == blocks
    ));
    assert_eq!(filesystem.grow(blocks, 0).unwrap(), blocks);
    filesystem.commit().unwrap();
    assert_eq!(device.into_bytes(), image.bytes());
}

#[test]
fn a_spoilt_resize_inode_is_told_and_nothing_is_changed() {
    let image = Image::make(&SHAPES[0]);
    image.spoil("set_inode_field <7> block[DIND] 30000");
    let mut bytes = image.bytes();
    bytes.resize(100 << 20, 0);
    let device = Memory::new(bytes.clone());
    let mut filesystem = Filesystem::open(&device).unwrap();
    assert!(matches!(filesystem.grow(100 << 10, 0), Err(Error::Corrupt(_))));
    filesystem.commit().unwrap();
    assert_eq!(device.into_bytes(), bytes);
}

/// Geometries that nobody asks for by accident.
const ODD: [Shape; 12] = [
    Shape("tiny groups", &["-b4096", "-g512", "-Ometadata_csum,^64bit"], "30M"),
    Shape("tiny groups, 64bit", &["-b4096", "-g512", "-Ometadata_csum,64bit"], "30M"),
    Shape("tiny groups of 1k", &["-b1024", "-g1024", "-O^metadata_csum,^64bit", "-Eresize=1048576"], "30M"),
    Shape("odd groups", &["-b1024", "-g3000", "-N4567", "-Ometadata_csum"], "30M"),
    Shape("many inodes", &["-b1024", "-i1024", "-O^metadata_csum,uninit_bg"], "30M"),
    Shape("few inodes", &["-b4096", "-g1024", "-N100", "-Ometadata_csum"], "30M"),
    Shape("huge inodes", &["-b4096", "-I4096", "-g2048", "-N1000", "-Ometadata_csum"], "30M"),
    Shape("all kept for root", &["-b2048", "-m50", "-O64bit,^metadata_csum,^uninit_bg"], "30M"),
    Shape("nothing kept", &["-b2048", "-m0", "-O^64bit,metadata_csum"], "30M"),
    Shape("one flex group", &["-b1024", "-G1024", "-Ometadata_csum"], "30M"),
    Shape("packed", &["-b4096", "-g1024", "-Epacked_meta_blocks=1", "-Ometadata_csum"], "30M"),
    Shape("ext3", &["-b1024", "-O^extent,^flex_bg,^metadata_csum,^uninit_bg,^64bit,^dir_nlink"], "30M"),
];

#[test]
fn odd_geometries_grow_by_odd_steps() {
    let mut dice = Dice(1121);
    let mut differing = Vec::new();
    for shape in &ODD {
        let image = Image::make(shape);
        let mut len = image.bytes().len();
        for step in 0..4 {
            len += (1 << 20) + dice.below(100 << 20);
            let len_bytes = u64::try_from(len).unwrap() / 512 * 512;
            let name = format!("{} to {len_bytes}", shape.0);
            let wanted = resized(&image, len_bytes, block_len(shape));
            grow(&image.path(), len_bytes, |_| {});
            image.check(&name);
            let found = counts(&image.path());
            if found != wanted {
                differing.push(format!("{name}: {found:?}, resize2fs {wanted:?}"));
            }
            if shape.0 != "few inodes" {
                edit(&image.path(), |filesystem| write_some(filesystem, &format!("after{step}")));
                image.check(&format!("{name}, edited"));
            }
        }
    }
    assert!(differing.is_empty(), "{}", differing.join("\n"));
}

#[test]
fn no_spoilt_byte_makes_growing_panic() {
    let shapes = [
        Shape("spoilt", &["-b1024", "-g1024", "-O^metadata_csum,^uninit_bg,^has_journal,^64bit"], "4M"),
        Shape("spoilt 64bit", &["-b1024", "-g1024", "-O^metadata_csum,^uninit_bg,^has_journal,64bit"], "4M"),
    ];
    for shape in &shapes {
        let mut sound = Image::make(shape).bytes();
        // Superblock, descriptors, reserved blocks.
        let used: Vec<usize> = (1024..300_000).filter(|at| sound[*at] != 0).collect();
        sound.resize(14 << 20, 0);
        let mut dice = Dice(2026);
        for _ in 0..400 {
            let mut bytes = sound.clone();
            for _ in 0..=dice.below(3) {
                let at = used[dice.below(used.len())];
                bytes[at] = u8::try_from(dice.below(256)).unwrap();
            }
            let device = Memory::new(bytes);
            if let Ok(mut filesystem) = Filesystem::open(&device) {
                let blocks = device.len_bytes() / u64::from(filesystem.block_len());
                let _: Result<u64, Error> = filesystem.grow(blocks, 0);
                let _: Result<(), Error> = filesystem.commit();
            }
        }
    }
}

#[test]
fn a_short_resize_inode_is_as_long_as_its_blocks_after_growing() {
    // A length that holds the blocks of one group, and not those of a second.
    let image = Image::with(&["-b1024", "-N256", "-E", "resize=200M"], "4M");
    image.spoil("sif <7> size 327424");
    image.check("with a short resize inode");
    grow(&image.path(), 64 * MIB, |_| ());
    image.check("after growing");
}

/// One without checksums, where every inode table is read whole, and one where only what was used is.
const CLOCKLESS: [Shape; 2] = [
    Shape("no checksums", &["-b1024", "-N256", "-O^metadata_csum,^uninit_bg,^64bit"], "4M"),
    Shape("checksums", &["-b1024", "-N256", "-Ometadata_csum"], "4M"),
];

#[test]
fn a_deletion_time_that_becomes_the_number_of_an_inode_is_no_orphan_after_growing() {
    for shape in &CLOCKLESS {
        let image = Image::make(shape);
        // Reserved, and free; 700 is past the 256 inodes, and one of the 2048 that there will be.
        image.edit(|fs| fs.write_file(&path("/gone"), b"", FILE).unwrap());
        let inode = image.debugfs("stat /gone").split_whitespace().nth(1).unwrap().to_owned();
        image.spoil("rm /gone");
        for number in ["10", &inode] {
            image.spoil(&format!("sif <{number}> dtime @700"));
        }
        image.check("with low deletion times");
        grow(&image.path(), 64 * MIB, |_| ());
        image.check(shape.0);
        let dtime = image.debugfs("stat <10>");
        assert!(dtime.contains("dtime: 0x6") && !dtime.contains("1970 dtime"), "{dtime}");
    }
}
