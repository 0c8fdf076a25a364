//! Extended attributes: set, read, removed, in the inode and in a block, alone and shared.

use super::support::{DIR, FILE, Image, SHAPES, Shape, path, pattern};
use crate::block::Memory;
use crate::image::ext4::{Error, Filesystem, Xattr};

/// Around what the inode has room for, and what needs a block.
const LENGTHS: [usize; 8] = [0, 1, 3, 40, 60, 61, 150, 500];

fn name(len: usize) -> Vec<u8> {
    format!("user.of-{len}").into_bytes()
}

/// user::rw-, user:1000:rwx, group::r--, mask::rwx, other::---, in the form of system calls.
pub(super) fn named_acl() -> Vec<u8> {
    let entries: [(u16, u16, u32); 5] = [(1, 6, !0), (2, 7, 1000), (4, 4, !0), (0x10, 7, !0), (0x20, 0, !0)];
    let mut bytes = 2_u32.to_le_bytes().to_vec();
    for (tag, permissions, id) in entries {
        bytes.extend(tag.to_le_bytes());
        bytes.extend(permissions.to_le_bytes());
        bytes.extend(id.to_le_bytes());
    }
    bytes
}

#[test]
fn attributes_of_many_lengths_come_and_go_in_every_shape() {
    for shape in SHAPES {
        let image = Image::make(shape);
        let hostname = path("/etc/hostname");
        // A block of 1 KiB has no room for all of them.
        let lengths =
            if shape.0.contains("1k") || shape.1.contains(&"-b1024") { &LENGTHS[..7] } else { &LENGTHS };
        let mut free = 0;
        image.edit(|fs| {
            free = fs.free_blocks();
            for len in lengths {
                fs.set_xattr(&hostname, &name(*len), &pattern(*len)).unwrap();
            }
            fs.set_xattr(&hostname, b"trusted.t", b"t").unwrap();
            fs.set_xattr(&path("/etc"), b"security.selinux", b"of a directory\0").unwrap();
            fs.set_xattr(&path("/etc/big"), b"user.big", &pattern(700)).unwrap();
        });
        image.check(shape.0);
        let said = image.debugfs("ea_list /etc/hostname");
        for len in lengths {
            assert!(said.contains(&format!("user.of-{len} ({len})")), "{}: {said}", shape.0);
        }
        let out = tempfile::NamedTempFile::new().unwrap();
        image.debugfs(&format!("ea_get -f {} /etc/big user.big", out.path().display()));
        assert!(std::fs::read(out.path()).unwrap() == pattern(700), "{}", shape.0);
        image.edit(|fs| {
            let mut wanted: Vec<Xattr> =
                lengths.iter().map(|len| Xattr { name: name(*len), value: pattern(*len) }).collect();
            wanted.push(Xattr { name: b"trusted.t".to_vec(), value: b"t".to_vec() });
            wanted.sort_unstable();
            assert_eq!(fs.xattrs(&hostname).unwrap(), wanted, "{}", shape.0);
            // Longer, shorter, and gone: all that was in the block comes last.
            fs.set_xattr(&hostname, &name(1), &pattern(90)).unwrap();
            fs.set_xattr(&hostname, &name(150), b"short").unwrap();
            for len in lengths {
                fs.remove_xattr(&hostname, &name(*len)).unwrap();
            }
            fs.remove_xattr(&hostname, b"trusted.t").unwrap();
            assert_eq!(fs.xattrs(&hostname).unwrap(), []);
            let error = fs.remove_xattr(&hostname, b"trusted.t").unwrap_err();
            assert!(matches!(error, Error::NoXattr { .. }), "{error}");
            fs.remove_xattr(&path("/etc"), b"security.selinux").unwrap();
            fs.remove_xattr(&path("/etc/big"), b"user.big").unwrap();
            assert_eq!(fs.free_blocks(), free, "{}", shape.0);
        });
        image.check(shape.0);
    }
}

#[test]
fn the_inode_is_filled_first_and_a_block_then() {
    let image = Image::make(&SHAPES[1]);
    let hostname = path("/etc/hostname");
    image.edit(|fs| {
        let free = fs.free_blocks();
        // 96 bytes behind the extra fields: 4 of magic, 4 at the end, 16 + 4 for the entry.
        fs.set_xattr(&hostname, b"user.abcd", &[1; 68]).unwrap();
        assert_eq!(fs.free_blocks(), free);
        fs.set_xattr(&hostname, b"user.abcd", &[1; 69]).unwrap();
        assert_eq!(fs.free_blocks(), free - 1);
        fs.set_xattr(&hostname, b"user.abcd", &[2; 68]).unwrap();
        assert_eq!(fs.free_blocks(), free);
        // 4096 bytes: 32 of header, 4 at the end, 16 + 4 for the entry.
        fs.set_xattr(&hostname, b"user.abcd", &[3; 4040]).unwrap();
        let error = fs.set_xattr(&hostname, b"user.abcd", &[4; 4041]).unwrap_err();
        assert!(matches!(error, Error::XattrRoom { len_bytes: 4041, block_len: 4096, .. }), "{error}");
        assert_eq!(fs.xattr(&hostname, b"user.abcd").unwrap(), Some(vec![3; 4040]));
        fs.set_xattr(&hostname, b"user.beside", b"in the inode").unwrap();
        assert_eq!(fs.xattr(&hostname, b"user.none").unwrap(), None);
    });
    image.check("with a full block");
}

#[test]
fn names_that_cannot_be_and_places_that_have_none_are_told() {
    let image = Image::make(&SHAPES[0]);
    let device = Memory::new(image.bytes());
    let mut fs = Filesystem::open(&device).unwrap();
    let etc = path("/etc");
    for name in [&b"user."[..], b"plain", b"system.data", b"trusted.\0"] {
        assert!(matches!(fs.set_xattr(&etc, name, b""), Err(Error::XattrName { .. })));
    }
    let error = fs.set_xattr(&path("/etc/hostname"), b"system.posix_acl_default", &named_acl()).unwrap_err();
    assert!(matches!(error, Error::NotADirectory { .. }), "{error}");
    let error = fs.set_xattr(&etc, b"system.posix_acl_access", b"\x02\0\0\0rubbish").unwrap_err();
    assert!(matches!(error, Error::BadAcl { .. }), "{error}");
    fs.commit().unwrap();
    drop(fs);
    assert!(device.into_bytes() == image.bytes());
}

#[test]
fn an_access_control_list_and_the_mode_follow_each_other() {
    for shape in SHAPES {
        let image = Image::make(shape);
        image.edit(|fs| {
            let hostname = path("/etc/hostname");
            let access = b"system.posix_acl_access";
            fs.set_xattr(&hostname, access, &named_acl()).unwrap();
            assert_eq!(fs.stat(&hostname, true).unwrap().mode, 0o670, "{}", shape.0);
            assert_eq!(fs.xattr(&hostname, access).unwrap(), Some(named_acl()));
            fs.set_mode(&hostname, 0o4750).unwrap();
            let mut wanted = named_acl();
            // The owner gets 7, the mask 5.
            (wanted[4 + 2], wanted[4 + 3 * 8 + 2]) = (7, 5);
            assert_eq!(fs.xattr(&hostname, access).unwrap(), Some(wanted));
            assert_eq!(fs.stat(&hostname, true).unwrap().mode, 0o4750);
            // Only what a mode says: kept there.
            let plain: Vec<u8> =
                [&2_u32.to_le_bytes()[..], &named_acl()[4..12], &named_acl()[20..28], &named_acl()[36..]]
                    .concat();
            fs.set_xattr(&path("/etc/big"), access, &plain).unwrap();
            assert_eq!(fs.xattrs(&path("/etc/big")).unwrap(), []);
            assert_eq!(fs.stat(&path("/etc/big"), true).unwrap().mode, 0o640);
        });
        image.check(shape.0);
    }
}

#[test]
fn a_list_that_says_no_more_than_a_mode_goes_with_the_next_mode() {
    // Neither the kernel nor we store one; debugfs and mke2fs -d do.
    let image = Image::make(&SHAPES[0]);
    let value = tempfile::NamedTempFile::new().unwrap();
    let plain = [&named_acl()[..12], &named_acl()[20..28], &named_acl()[36..]].concat();
    std::fs::write(value.path(), &plain).unwrap();
    let name = "system.posix_acl_access";
    image.spoil(&format!("ea_set -f {} /etc/hostname {name}", value.path().display()));
    image.edit(|fs| {
        let hostname = path("/etc/hostname");
        assert_eq!(fs.xattr(&hostname, name.as_bytes()).unwrap(), Some(plain));
        fs.set_mode(&hostname, 0o4751).unwrap();
        assert_eq!(fs.stat(&hostname, true).unwrap().mode, 0o4751);
        assert_eq!(fs.xattrs(&hostname).unwrap(), []);
    });
    image.check("without the list");
}

#[test]
fn what_is_made_below_a_default_access_control_list_inherits_it() {
    for shape in SHAPES {
        let image = Image::make(shape);
        image.edit(|fs| {
            fs.mkdir(&path("/shared"), DIR).unwrap();
            fs.set_xattr(&path("/shared"), b"system.posix_acl_default", &named_acl()).unwrap();
            fs.write_file(&path("/shared/file"), b"content", FILE).unwrap();
            fs.mkdir(&path("/shared/dir"), DIR).unwrap();
            fs.symlink(&path("/shared/link"), b"file", 0, 0).unwrap();
        });
        image.check(shape.0);
        image.edit(|fs| {
            assert_eq!(fs.stat(&path("/shared/file"), true).unwrap().mode, 0o640, "{}", shape.0);
            assert_eq!(fs.stat(&path("/shared/dir"), true).unwrap().mode, 0o650, "{}", shape.0);
            let names = |of: &str| -> Vec<Vec<u8>> {
                fs.xattrs(&path(of)).unwrap().into_iter().map(|xattr| xattr.name).collect()
            };
            assert_eq!(names("/shared/file"), [b"system.posix_acl_access"]);
            assert_eq!(names("/shared/dir"), [&b"system.posix_acl_access"[..], b"system.posix_acl_default"]);
            let default = fs.xattr(&path("/shared/dir"), b"system.posix_acl_default").unwrap();
            assert_eq!(default, Some(named_acl()));
        });
    }
}

#[test]
fn a_shared_block_is_copied_before_it_is_changed() {
    for shape in [&SHAPES[0], &SHAPES[2], &SHAPES[3], &SHAPES[10]] {
        let image = Image::make(shape);
        let long = pattern(600);
        image.edit(|fs| {
            fs.write_file(&path("/twin"), b"", FILE).unwrap();
            fs.write_file(&path("/third"), b"", FILE).unwrap();
            fs.set_xattr(&path("/etc/hostname"), b"user.long", &long).unwrap();
        });
        share(&image, "/etc/hostname", &["/twin", "/third"], shape);
        image.edit(|fs| {
            let free = fs.free_blocks();
            for twin in ["/twin", "/third"] {
                assert_eq!(fs.xattr(&path(twin), b"user.long").unwrap().as_ref(), Some(&long));
            }
            fs.set_xattr(&path("/twin"), b"user.also", &[7; 200]).unwrap();
            assert_eq!(fs.free_blocks(), free - 1, "a copy");
            assert_eq!(fs.xattrs(&path("/third")).unwrap().len(), 1);
            fs.remove(&path("/third")).unwrap();
            assert_eq!(fs.xattr(&path("/etc/hostname"), b"user.long").unwrap().as_ref(), Some(&long));
            fs.remove_xattr(&path("/etc/hostname"), b"user.long").unwrap();
            assert_eq!(fs.free_blocks(), free, "the last owner gives it back");
            assert_eq!(fs.xattrs(&path("/twin")).unwrap().len(), 2);
        });
        image.check(shape.0);
    }
}

/// Lets `twins`, which have no blocks, have the attribute block of `owner` too. e2fsck counts the owners.
fn share(image: &Image, owner: &str, twins: &[&str], shape: &Shape) {
    let stat = image.debugfs(&format!("stat {owner}"));
    let block = stat.split_once("File ACL: ").and_then(|(_, rest)| rest.split_whitespace().next()).unwrap();
    assert_ne!(block, "0", "{}: {stat}", shape.0);
    let block_len: u32 = shape.1.iter().find_map(|arg| arg.strip_prefix("-b")).unwrap().parse().unwrap();
    for twin in twins {
        image.spoil(&format!("sif {twin} file_acl {block}"));
        image.spoil(&format!("sif {twin} blocks {}", block_len / 512));
    }
    image.repair();
    image.check("with a shared block");
}
