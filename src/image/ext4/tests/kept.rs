//! What an edit must keep, or carry over: extended attributes, old block maps, deep trees.

use std::process::Command;

use super::support::{FILE, Image, SHAPES, Shape, path, pattern};
use crate::image::ext4::{Error, Timestamp};

const LIMIT: u64 = 1 << 24;

#[test]
fn a_rewritten_file_keeps_its_attributes_but_its_capabilities() {
    for shape in SHAPES {
        let image = Image::make(shape);
        image.spoil("ea_set /etc/hostname security.capability secret");
        image.spoil("ea_set /etc/hostname user.kept yes");
        // Too long for the inode, so it goes to a block.
        image.spoil(&format!("ea_set /etc/hostname user.long {}", "l".repeat(600)));
        image.spoil(&format!("ea_set /etc/big security.capability {}", "c".repeat(600)));
        image.spoil("ea_set /etc/long security.selinux label");
        image.check("after ea_set");
        image.edit(|fs| {
            fs.write_file(&path("/etc/hostname"), b"node-1\n", FILE).unwrap();
            fs.append(&path("/etc/big"), b"more").unwrap();
        });
        image.check(shape.0);
        let list = image.debugfs("ea_list /etc/hostname");
        assert!(list.contains("user.kept") && list.contains("user.long"), "{}: {list}", shape.0);
        assert!(!list.contains("capability"), "{}: {list}", shape.0);
        assert!(!image.debugfs("ea_list /etc/big").contains("capability"), "{}", shape.0);
        image.edit(|fs| {
            fs.remove(&path("/etc/hostname")).unwrap();
            fs.remove_all(&path("/etc")).unwrap();
        });
        image.check(shape.0);
    }
}

#[test]
fn files_with_block_maps_are_read_and_edited_where_new_ones_get_extents() {
    for args in
        [&["-b1024", "-O^extent,^64bit,^metadata_csum"][..], &["-b1024", "-O^extent,^64bit,metadata_csum"]]
    {
        let image = Image::make(&Shape("was-ext3", args, "40M"));
        let status =
            Command::new("tune2fs").args(["-O", "extent"]).arg(image.path()).output().unwrap().status;
        assert!(status.success());
        image.check("with extents");
        image.edit(|fs| {
            assert!(fs.read_file(&path("/etc/big"), LIMIT).unwrap() == pattern(700_000));
            fs.write_at(&path("/etc/big"), 699_000, &pattern(100_000)).unwrap();
            fs.write_file(&path("/etc/long/new"), b"new", FILE).unwrap();
            fs.remove_all(&path("/etc/long")).unwrap();
        });
        image.check("after the edits");
        let big = [&pattern(700_000)[..699_000], &pattern(100_000)].concat();
        assert!(image.debugfs_bytes("cat /etc/big") == big);
    }
}

#[test]
fn a_file_of_many_islands_gets_a_deep_tree_and_loses_it_again() {
    for shape in [&SHAPES[0], &SHAPES[1], &SHAPES[8]] {
        let image = Image::make(shape);
        let mut before = 0;
        image.edit(|fs| {
            before = fs.free_blocks();
            fs.write_file(&path("/islands"), b"", FILE).unwrap();
            let step = u64::from(fs.block_len()) * 2;
            for number in 0..700 {
                fs.write_at(&path("/islands"), number * step, &number.to_le_bytes()).unwrap();
            }
        });
        image.check(shape.0);
        image.edit(|fs| {
            let step = u64::from(fs.block_len()) * 2;
            let content = fs.read_file(&path("/islands"), LIMIT).unwrap();
            for (number, at) in (0..700_u64).zip((0..).step_by(usize::try_from(step).unwrap())) {
                assert_eq!(content[at..at + 8], number.to_le_bytes(), "{}", shape.0);
            }
            fs.truncate(&path("/islands"), step * 3).unwrap();
        });
        image.check(shape.0);
        image.edit(|fs| {
            fs.remove(&path("/islands")).unwrap();
            assert_eq!(fs.free_blocks(), before, "{}", shape.0);
        });
        image.check(shape.0);
    }
}

#[test]
fn the_end_of_a_cut_file_does_not_come_back() {
    let image = Image::make(&SHAPES[1]);
    image.edit(|fs| {
        fs.write_file(&path("/cut"), &[b'x'; 5000], FILE).unwrap();
        fs.truncate(&path("/cut"), 10).unwrap();
        fs.truncate(&path("/cut"), 4096).unwrap();
        fs.write_at(&path("/cut"), 6000, b"end").unwrap();
        let mut wanted = vec![0; 6003];
        wanted[..10].fill(b'x');
        wanted[6000..].copy_from_slice(b"end");
        assert_eq!(fs.read_file(&path("/cut"), LIMIT).unwrap(), wanted);
    });
    image.check("after the cut");
}

#[test]
fn a_file_past_two_gigabytes_sets_the_feature() {
    let image = Image::make(&Shape("small-files", &["-b4096", "-O^large_file,metadata_csum"], "48M"));
    image.edit(|fs| {
        fs.write_file(&path("/sparse"), b"", FILE).unwrap();
        fs.truncate(&path("/sparse"), (1 << 31) - 1).unwrap();
        fs.write_at(&path("/sparse"), 3 << 30, b"far").unwrap();
        let error = fs.truncate(&path("/sparse"), 1 << 50).unwrap_err();
        assert!(matches!(error, Error::FileTooLarge { .. }), "{error}");
        assert!(matches!(fs.read_file(&path("/sparse"), LIMIT), Err(Error::TooLong { .. })));
    });
    image.check("with a large file");
}

#[test]
fn a_failed_edit_is_taken_back_and_the_next_one_works() {
    let image = Image::make(&SHAPES[2]);
    image.edit(|fs| {
        fs.set_clock(Timestamp { seconds: 1_795_219_200, nanoseconds: 0 });
        let before = (fs.free_blocks(), fs.free_inodes());
        // The directories are made before the name that is too long for a link is looked at.
        assert!(matches!(fs.symlink(&path("/new"), &[b'x'; 5000], 0, 0), Err(Error::BadLength { .. })));
        assert!(matches!(fs.rename(&path("/etc"), &path("/etc/long/x")), Err(Error::IntoItself { .. })));
        assert!(matches!(fs.hard_link(&path("/etc"), &path("/x")), Err(Error::IsADirectory { .. })));
        assert!(matches!(fs.remove(&path("/etc")), Err(Error::NotEmpty { .. })));
        assert!(matches!(fs.remove(&path("/")), Err(Error::IsRoot)));
        assert_eq!((fs.free_blocks(), fs.free_inodes()), before);
        assert!(!fs.exists(&path("/new"), false).unwrap());
        fs.symlink(&path("/new"), b"etc", 0, 0).unwrap();
    });
    image.check("after the failures");
}
