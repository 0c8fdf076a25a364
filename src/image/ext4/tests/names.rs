//! Names that take the place of others, and nodes.

use super::support::{DIR, FILE, Image, SHAPES, path};
use crate::image::ext4::{Error, FileKind, NewAttributes, NodeKind};

#[test]
fn a_rename_replaces_what_it_may() {
    for shape in SHAPES {
        let image = Image::make(shape);
        image.edit(|fs| {
            let free = (fs.free_blocks(), fs.free_inodes());
            fs.write_file(&path("/a"), &[1; 9_000], FILE).unwrap();
            fs.write_file(&path("/b"), &[2; 5_000], FILE).unwrap();
            fs.hard_link(&path("/b"), &path("/etc/b")).unwrap();
            fs.symlink(&path("/s"), b"b", 0, 0).unwrap();
            fs.mkdir_all(&path("/d/inner"), DIR).unwrap();
            fs.mkdir(&path("/e"), DIR).unwrap();
            // Onto a file in another directory, which keeps its second name.
            fs.rename(&path("/a"), &path("/etc/b")).unwrap();
            assert_eq!(fs.read_file(&path("/etc/b"), 9_000).unwrap(), [1; 9_000], "{}", shape.0);
            assert_eq!(fs.stat(&path("/b"), true).unwrap().links, 1);
            // Onto a symlink, not through it; onto itself, by two names: nothing happens.
            fs.hard_link(&path("/b"), &path("/c")).unwrap();
            fs.rename(&path("/b"), &path("/c")).unwrap();
            assert_eq!(fs.stat(&path("/b"), true).unwrap().links, 2);
            fs.rename(&path("/b"), &path("/s")).unwrap();
            assert_eq!(fs.stat(&path("/s"), false).unwrap().kind, FileKind::Regular);
            // A directory onto an empty one, in its own parent and in another.
            fs.rename(&path("/d"), &path("/e")).unwrap();
            fs.mkdir(&path("/etc/long/e"), DIR).unwrap();
            let links = fs.stat(&path("/"), true).unwrap().links;
            fs.rename(&path("/e"), &path("/etc/long/e")).unwrap();
            assert_eq!(fs.stat(&path("/"), true).unwrap().links, links - 1);
            assert_eq!(fs.stat(&path("/etc/long"), true).unwrap().links, 3);
            assert!(fs.exists(&path("/etc/long/e/inner"), true).unwrap());

            for name in ["/etc/b", "/c", "/s"] {
                fs.remove(&path(name)).unwrap();
            }
            fs.remove_all(&path("/etc/long/e")).unwrap();
            assert_eq!((fs.free_blocks(), fs.free_inodes()), free, "{}", shape.0);
        });
        image.check(shape.0);
    }
}

#[test]
fn a_rename_refuses_what_rename_2_refuses() {
    let image = Image::make(&SHAPES[1]);
    image.edit(|fs| {
        fs.mkdir_all(&path("/d/inner"), DIR).unwrap();
        let mut rename = |from: &str, to: &str| fs.rename(&path(from), &path(to)).unwrap_err();
        assert!(matches!(rename("/d", "/etc"), Error::NotEmpty { .. }));
        assert!(matches!(rename("/d", "/etc/hostname"), Error::NotADirectory { .. }));
        assert!(matches!(rename("/etc/hostname", "/d"), Error::IsADirectory { .. }));
        assert!(matches!(rename("/d/inner", "/d"), Error::NotEmpty { .. }));
        assert!(matches!(rename("/d", "/d/inner"), Error::IntoItself { .. }));
        assert!(matches!(rename("/d", "/d/new"), Error::IntoItself { .. }));
        assert!(matches!(rename("/d", "/"), Error::IsRoot));
        assert!(matches!(rename("/", "/d"), Error::IsRoot));
        assert!(matches!(rename("/none", "/etc/hostname"), Error::NotFound { .. }));
    });
    image.check("after refusals");
}

#[test]
fn nodes_of_every_kind_are_made_linked_and_removed() {
    let nodes = [
        ("/etc/fifo", NodeKind::Fifo, "FIFO"),
        ("/etc/socket", NodeKind::Socket, "socket"),
        ("/etc/null", NodeKind::CharacterDevice { major: 1, minor: 3 }, "character special"),
        ("/etc/disk", NodeKind::BlockDevice { major: 259, minor: 65_540 }, "block special"),
    ];
    let new = NewAttributes { mode: 0o620, uid: 5, gid: 70_000 };
    for shape in SHAPES {
        let image = Image::make(shape);
        let mut free = (0, 0);
        image.edit(|fs| {
            free = (fs.free_blocks(), fs.free_inodes());
            for (name, kind, _) in nodes {
                fs.make_node(&path(name), kind, new).unwrap();
                assert!(matches!(fs.make_node(&path(name), kind, new), Err(Error::Exists { .. })));
            }
            fs.hard_link(&path("/etc/null"), &path("/zero")).unwrap();
            fs.rename(&path("/etc/fifo"), &path("/etc/disk2")).unwrap();
            let huge = NodeKind::BlockDevice { major: 4096, minor: 0 };
            let error = fs.make_node(&path("/huge"), huge, new).unwrap_err();
            assert!(matches!(error, Error::DeviceNumber { major: 4096, .. }), "{error}");
        });
        image.check(shape.0);
        for (name, _, said) in nodes.iter().skip(1) {
            let stat = image.debugfs(&format!("stat {name}"));
            assert!(stat.contains(&format!("Type: {said}")), "{}: {stat}", shape.0);
        }
        assert!(image.debugfs("stat /etc/null").contains("Device major/minor number: 01:03"));
        image.edit(|fs| {
            let stat = fs.stat(&path("/etc/disk"), true).unwrap();
            assert_eq!((stat.kind, stat.device), (FileKind::BlockDevice, Some((259, 65_540))));
            assert_eq!((stat.mode, stat.uid, stat.gid), (0o620, 5, 70_000));
            assert_eq!(fs.stat(&path("/zero"), true).unwrap().device, Some((1, 3)));
            assert_eq!(fs.stat(&path("/etc/disk2"), true).unwrap().device, None);
            for name in ["/etc/disk2", "/etc/socket", "/etc/null", "/etc/disk", "/zero"] {
                fs.remove(&path(name)).unwrap();
            }
            assert_eq!((fs.free_blocks(), fs.free_inodes()), free, "{}", shape.0);
        });
        image.check(shape.0);
    }
}
