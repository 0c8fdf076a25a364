//! Where the format changes its form: many subdirectories, large files, deep trees, unwritten extents, far times.

use super::support::{DIR, FILE, Image, Shape, path, pattern};
use crate::image::ext4::{Error, Filesystem, Timestamp};

const LIMIT: u64 = 1 << 24;

/// Makes subdirectories until one fails or there are `count`.
fn subdirectories(fs: &mut Filesystem<'_>, count: u32) -> Result<(), Error> {
    fs.mkdir(&path("/many"), DIR)?;
    (0..count).try_for_each(|number| fs.mkdir(&path(&format!("/many/{number}")), DIR))
}

#[test]
fn a_directory_of_65000_subdirectories_stops_counting_them() {
    let args = ["-b1024", "-I128", "-N66000", "-g8192", "-O^has_journal,metadata_csum"];
    let image = Image::with(&args, "100M");
    image.edit(|fs| {
        subdirectories(fs, 65_005).unwrap();
        assert_eq!(fs.stat(&path("/many"), true).unwrap().links, 1);
        fs.remove(&path("/many/7")).unwrap();
        fs.rename(&path("/many/8"), &path("/eight")).unwrap();
        fs.rename(&path("/many/9"), &path("/many/10")).unwrap();
        assert_eq!(fs.stat(&path("/many"), true).unwrap().links, 1);
        assert_eq!(fs.read_dir(&path("/many")).unwrap().len(), 65_002);
    });
    image.check("with dir_nlink");
}

#[test]
fn without_dir_nlink_a_directory_of_65000_links_is_full() {
    let image = Image::with(&["-b1024", "-O^has_journal,^dir_nlink,metadata_csum"], "8M");
    image.edit(|fs| subdirectories(fs, 10).unwrap());
    // As if it had as many more as take long to make.
    image.spoil("sif /many links_count 64995");
    image.edit(|fs| {
        let more = |number| fs.mkdir(&path(&format!("/many/more-{number}")), DIR);
        let error = (0..10).try_for_each(more).unwrap_err();
        assert!(matches!(error, Error::TooManyLinks { links: 64_999, .. }), "{error}");
        fs.mkdir(&path("/other"), DIR).unwrap();
        let error = fs.rename(&path("/other"), &path("/many/other")).unwrap_err();
        assert!(matches!(error, Error::TooManyLinks { .. }), "{error}");
        // One in place of another is no more.
        fs.rename(&path("/other"), &path("/many/5")).unwrap();
    });
    let made = 64_999 - 64_995;
    image.spoil(&format!("sif /many links_count {}", 2 + 10 + made));
    image.check("with the count of what is there");
}

#[test]
fn a_directory_whose_links_are_spoilt_takes_no_more() {
    let image = Image::with(&["-b1024", "-O^has_journal,^metadata_csum"], "8M");
    image.edit(|fs| fs.mkdir(&path("/moved"), DIR).unwrap());
    image.spoil("sif /etc links_count 65535");
    image.edit(|fs| {
        fs.rename(&path("/moved"), &path("/etc/moved")).unwrap();
        // Too many to count.
        assert_eq!(fs.stat(&path("/etc"), true).unwrap().links, 1);
    });
}

#[test]
fn the_first_file_of_two_gibibytes_sets_the_feature() {
    for args in [
        &["-b4096", "-O^large_file,^resize_inode,metadata_csum"][..],
        &["-b1024", "-O^large_file,^extent,^64bit"],
    ] {
        for by_writing in [false, true] {
            let image = Image::with(args, "48M");
            let features = || image.debugfs("show_super_stats -h");
            image.edit(|fs| {
                fs.write_file(&path("/sparse"), b"", FILE).unwrap();
                fs.truncate(&path("/sparse"), (1 << 31) - 1).unwrap();
            });
            assert!(!features().contains("large_file"), "{args:?}");
            image.edit(|fs| match by_writing {
                true => fs.append(&path("/sparse"), b"1").unwrap(),
                false => fs.truncate(&path("/sparse"), 1 << 31).unwrap(),
            });
            image.check("with a large file");
            assert!(features().contains("large_file"), "{args:?}");
        }
    }
}

#[test]
fn a_file_in_thousands_of_pieces_grows_and_shrinks_step_by_step() {
    let image = Image::with(&["-b1024", "-Ometadata_csum"], "40M");
    let mut free = 0;
    image.edit(|fs| {
        free = fs.free_blocks();
        fs.write_file(&path("/a"), b"", FILE).unwrap();
        fs.write_file(&path("/b"), b"", FILE).unwrap();
        // Two files grown by turns: each gets every other block.
        for number in 0..1_500_u32 {
            for (file, byte) in [("/a", 1), ("/b", 2)] {
                let block = [&number.to_le_bytes()[..], &[byte; 1020]].concat();
                fs.append(&path(file), &block).unwrap();
            }
        }
    });
    image.check("grown");
    let tree = image.debugfs("ex /a");
    assert!(
        tree.lines().nth(1).unwrap().trim().starts_with("0/ 2"),
        "a tree of two levels below its root: {tree}"
    );
    for left in [1_000_u64, 350, 84, 5, 4, 1, 0] {
        image.edit(|fs| {
            let len = left * 1024 - u64::from(left > 0);
            fs.truncate(&path("/a"), len).unwrap();
            let content = fs.read_file(&path("/a"), LIMIT).unwrap();
            assert_eq!(content.len() as u64, len);
            for (number, block) in (0_u32..).zip(content.chunks(1024)) {
                assert_eq!(block[..4], number.to_le_bytes(), "{left}");
            }
        });
        image.check("cut");
    }
    image.edit(|fs| {
        assert_eq!(fs.read_file(&path("/b"), LIMIT).unwrap().len(), 1_500 * 1024);
        fs.remove(&path("/a")).unwrap();
        fs.remove(&path("/b")).unwrap();
        assert_eq!(fs.free_blocks(), free);
    });
    image.check("removed");
}

/// A file of 5000 bytes with blocks 0 to 40 unwritten but the first and second.
fn with_unwritten_tail() -> Image {
    let image = Image::with(&["-b1024", "-Ometadata_csum"], "16M");
    image.edit(|fs| fs.write_file(&path("/file"), &pattern(2_000), FILE).unwrap());
    image.spoil("fallocate /file 2 40");
    image.spoil("sif /file size 30000");
    image.check("with unwritten blocks");
    assert!(image.debugfs("ex /file").contains("Uninit"));
    image
}

#[test]
fn unwritten_blocks_read_as_zeros_until_they_are_written() {
    let wanted = |change: fn(&mut Vec<u8>)| {
        let mut content = pattern(2_000);
        content.resize(30_000, 0);
        change(&mut content);
        content
    };
    type Edit = fn(&mut Filesystem<'_>);
    type Change = fn(&mut Vec<u8>);
    let cases: [(Edit, Change); 6] = [
        (|_| {}, |_| {}),
        (|fs| fs.append(&path("/file"), &[7; 20_000]).unwrap(), |content| content.extend([7; 20_000])),
        (
            |fs| fs.write_at(&path("/file"), 10_100, b"inside").unwrap(),
            |content| {
                content[10_100..10_106].copy_from_slice(b"inside");
            },
        ),
        (
            |fs| fs.write_at(&path("/file"), 1_900, &[8; 3_000]).unwrap(),
            |content| content[1_900..4_900].fill(8),
        ),
        (|fs| fs.truncate(&path("/file"), 20_001).unwrap(), |content| content.truncate(20_001)),
        (
            |fs| {
                fs.truncate(&path("/file"), 50_000).unwrap();
                fs.write_at(&path("/file"), 49_000, b"far").unwrap();
            },
            |content| {
                content.resize(50_000, 0);
                content[49_000..49_003].copy_from_slice(b"far");
            },
        ),
    ];
    for (number, (edit, change)) in cases.into_iter().enumerate() {
        let image = with_unwritten_tail();
        // What an unwritten block holds must not show.
        let blocks = image.debugfs("blocks /file");
        let mut bytes = image.bytes();
        for block in blocks.split_whitespace().skip(2) {
            let at = block.parse::<usize>().unwrap() * 1024;
            bytes[at..at + 1024].fill(0xee);
        }
        std::fs::write(image.path(), bytes).unwrap();
        image.edit(|fs| {
            edit(fs);
            let content = fs.read_file(&path("/file"), LIMIT).unwrap();
            assert!(content == wanted(change), "case {number}");
        });
        image.check("after the edit");
        assert!(image.debugfs_bytes("cat /file") == wanted(change), "case {number}");
        image.edit(|fs| fs.remove(&path("/file")).unwrap());
        image.check("removed");
    }
}

#[test]
fn old_block_maps_reach_the_triple_indirect_block() {
    let image = Image::with(&["-b1024", "-O^extent,^64bit,^metadata_csum"], "40M");
    // Direct, single, double, triple: and the last block before each border.
    let (single, double, triple) = (12, 12 + 256, 12 + 256 + 65_536);
    let places =
        [0, single - 1, single, double - 1, double, double + 700, triple - 1, triple, triple + 70_000];
    let mut free = 0;
    image.edit(|fs| {
        free = fs.free_blocks();
        fs.write_file(&path("/map"), b"", FILE).unwrap();
        for place in places {
            fs.write_at(&path("/map"), place * 1024 + 100, &place.to_le_bytes()).unwrap();
        }
        fs.append(&path("/map"), &pattern(5_000)).unwrap();
    });
    image.check("with a triple indirect block");
    assert!(image.debugfs("stat /map").contains("(TIND)"));
    let end = (triple + 70_000) * 1024 + 108;
    let holds = |fs: &Filesystem<'_>, below: u64| {
        for place in places.into_iter().filter(|place| place * 1024 + 108 <= below) {
            let mut buf = [0xee; 1024];
            fs.read_at(&path("/map"), place * 1024, &mut buf).unwrap();
            assert_eq!((&buf[..100], &buf[100..108]), (&[0; 100][..], &place.to_le_bytes()[..]), "{place}");
        }
    };
    image.edit(|fs| {
        let mut tail = vec![0; 6_000];
        assert_eq!(fs.read_at(&path("/map"), end, &mut tail).unwrap(), 5_000);
        assert!(tail[..5_000] == pattern(5_000));
        holds(fs, end);
    });
    for cut in [triple + 1, triple, double + 701, double + 1, double, single + 1, single, 1, 0] {
        image.edit(|fs| {
            fs.truncate(&path("/map"), cut * 1024).unwrap();
            holds(fs, cut * 1024);
        });
        image.check("cut");
    }
    image.edit(|fs| {
        fs.write_at(&path("/map"), triple * 1024, b"again").unwrap();
        fs.remove(&path("/map")).unwrap();
        assert_eq!(fs.free_blocks(), free);
    });
    image.check("removed");
}

#[test]
fn times_reach_as_far_as_the_inode_has_room() {
    let times: [(i64, &str); 5] = [
        (-1_000_000_000, "1938-04-24"),
        (0, "1970-01-01"),
        (4_102_444_800, "2100-01-01"),
        (7_258_118_400, "2200-01-01"),
        (13_569_465_600, "2400-01-01"),
    ];
    for (inode_len, is_wide) in [("-I128", false), ("-I256", true), ("-I512", true)] {
        for block_len in ["-b1024", "-b2048", "-b4096"] {
            let image = Image::make(&Shape("times", Box::leak(Box::new([block_len, inode_len])), "16M"));
            for (seconds, date) in times {
                let time = Timestamp { seconds, nanoseconds: 987_654_321 };
                let mut kept = time;
                if !is_wide {
                    kept = Timestamp { seconds: seconds.min(i64::from(i32::MAX)), nanoseconds: 0 };
                }
                image.edit(|fs| {
                    fs.set_clock(time);
                    fs.set_times(&path("/etc/big"), time, time).unwrap();
                    let stat = fs.stat(&path("/etc/big"), true).unwrap();
                    assert_eq!((stat.accessed, stat.modified, stat.changed), (kept, kept, kept));
                    // The superblock must not be from the future.
                    fs.set_clock(Timestamp { seconds: 1_700_000_000, nanoseconds: 0 });
                });
                image.check(date);
                let stat = image.debugfs("stat /etc/big");
                if is_wide {
                    assert!(
                        stat.contains(&format!("mtime: 0x{:08x}:", seconds & 0xffff_ffff)),
                        "{date}: {stat}"
                    );
                } else if seconds <= 0 {
                    assert!(stat.contains(&format!("mtime: 0x{:08x} --", seconds & 0xffff_ffff)), "{stat}");
                }
            }
        }
    }
}
