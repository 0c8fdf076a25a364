//! Filesystems that were left in use: what we make of them, next to what the kernel and e2fsck make of copies.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, symlink};
use std::path::Path;

use cardpress::block::Memory;
use cardpress::image::ext4::{self, Filesystem, Recovered};

use crate::support::tools::{Mount, Workspace, may_attach, mounted, run, text, tool};

/// What is in a tree: length, mode, links, time and content by path.
type Tree = BTreeMap<String, (u64, u32, u64, i64, Vec<u8>)>;

fn walk(root: &Path) -> Tree {
    let mut tree = Tree::new();
    let mut left = vec![root.to_owned()];
    while let Some(path) = left.pop() {
        let meta = fs::symlink_metadata(&path).unwrap();
        let content = if meta.is_dir() {
            left.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            Vec::new()
        } else if meta.is_symlink() {
            text(&fs::read_link(&path).unwrap()).as_bytes().to_vec()
        } else {
            fs::read(&path).unwrap()
        };
        let name = text(path.strip_prefix(root).unwrap()).to_owned();
        tree.insert(name, (meta.len(), meta.mode(), meta.nlink(), meta.mtime(), content));
    }
    tree
}

/// Recovers what is in `image`, and puts it back.
fn recover(image: &Path) -> Recovered {
    let device = Memory::new(fs::read(image).unwrap());
    let recovered = ext4::recover(&device).unwrap_or_else(|error| panic!("{}: {error}", image.display()));
    Filesystem::open(&device).unwrap();
    assert_eq!(ext4::recover(&device).unwrap(), Recovered::default(), "nothing is left to do");
    fs::write(image, device.into_bytes()).unwrap();
    recovered
}

fn judge(image: &Path) {
    let said = run("e2fsck", ["-fn", text(image)]);
    let repairs = ["Fix?", "Clear?", "FIXED", "? no", "WARNING", "recover"];
    assert!(said.status == 0 && !repairs.iter().any(|word| said.text.contains(word)), "{}", said.text);
}

/// The lines of the superblock that tell the totals and what is left to do.
fn totals(image: &Path) -> Vec<String> {
    let wanted =
        ["Free blocks:", "Free inodes:", "Filesystem state:", "Filesystem features:", "First orphan"];
    let said = tool("dumpe2fs", &["-h", text(image)]);
    said.lines().filter(|line| wanted.iter().any(|word| line.starts_with(word))).map(str::to_owned).collect()
}

fn copy(from: &Path, to: &Path) {
    tool("cp", &["--sparse=always", text(from), text(to)]);
}

struct Shape {
    name: &'static str,
    mke2fs: &'static [&'static str],
    mount: &'static str,
}

const SHAPES: &[Shape] = &[
    Shape {
        name: "trixie",
        mke2fs: &["-b4096", "-O^64bit,metadata_csum,orphan_file"],
        mount: "data=ordered",
    },
    Shape {
        name: "64bit",
        mke2fs: &["-b4096", "-O64bit,metadata_csum"],
        mount: "journal_async_commit,data=writeback",
    },
    Shape { name: "bullseye", mke2fs: &["-b4096", "-O^64bit,^metadata_csum"], mount: "data=ordered" },
    Shape {
        name: "checksum-v1",
        mke2fs: &["-b1024", "-O^metadata_csum"],
        mount: "journal_async_commit,data=writeback",
    },
    Shape { name: "1k", mke2fs: &["-b1024", "-O64bit,metadata_csum,orphan_file"], mount: "data=ordered" },
    Shape { name: "escaped", mke2fs: &["-b4096", "-Ometadata_csum"], mount: "data=journal" },
    Shape {
        name: "escaped-1k",
        mke2fs: &["-b1024", "-O^metadata_csum,^extent,^64bit"],
        mount: "data=journal",
    },
];

/// Fills the mounted filesystem, deletes much of it again and holds some of it open; ends when all of it is in the
/// journal and the image was copied to `dirty`.
fn use_it(root: &Path, image: &Path, dirty: &Path) {
    let magic = 0xc03b_3998_u32.to_be_bytes();
    // A file that was changed takes everything else to the journal with it.
    let settle = || {
        let mut file = File::options().append(true).create(true).open(root.join("settle")).unwrap();
        file.write_all(b"settled\n").unwrap();
        file.sync_all().unwrap();
    };
    for round in 0..6 {
        for dir in 0..12 {
            let dir = root.join(format!("dir{round}-{dir}"));
            fs::create_dir(&dir).unwrap();
            for file in 0..25 {
                fs::write(dir.join(format!("{file}-{:x<60}", "name")), magic.repeat(file * 20)).unwrap();
            }
        }
        settle();
        // Blocks of directories that were logged, given back and taken again: revoke records.
        if round % 2 == 1 {
            for dir in 0..12 {
                fs::remove_dir_all(root.join(format!("dir{}-{dir}", round - 1))).unwrap();
            }
            settle();
            fs::write(root.join(format!("big{round}")), magic.repeat(400_000)).unwrap();
        }
    }
    symlink("target".repeat(20), root.join("link")).unwrap();
    let mut held = Vec::new();
    for number in 0..20 {
        let path = root.join(format!("held{number}"));
        let mut file = File::create(&path).unwrap();
        file.write_all(&magic.repeat(30_000 * (number % 2))).unwrap();
        fs::remove_file(&path).unwrap();
        held.push(file);
    }
    settle();
    copy(image, dirty);
}

#[test]
fn a_filesystem_left_in_use_is_recovered_as_the_kernel_and_e2fsck_do_it() {
    if !may_attach() {
        return;
    }
    let world = Workspace::new();
    for shape in SHAPES {
        let (image, dirty) = (world.path("image"), world.path("dirty"));
        let _ = fs::remove_file(&image);
        let mut arguments = vec!["-q", "-t", "ext4", "-F", "-J", "size=4"];
        arguments.extend(shape.mke2fs);
        arguments.extend([text(&image), "48M"]);
        tool("mke2fs", &arguments);
        let mount = Mount::new(&image, &format!("loop,commit=300,{}", shape.mount));
        use_it(mount.path(), &image, &dirty);
        mount.unmount();
        let (kernel, checker, ours) = (world.path("kernel"), world.path("checker"), world.path("ours"));
        [&kernel, &checker, &ours].into_iter().for_each(|to| copy(&dirty, to));

        // With content in it the small log is emptied too often to hold them for certain.
        if shape.mount != "data=journal" {
            let log = tool("debugfs", &["-R", "logdump -a", text(&dirty)]);
            assert!(log.contains("Revoke FS block"), "{}: nothing was revoked", shape.name);
        }
        let recovered = recover(&ours);
        assert!(recovered.transactions > 0 && recovered.blocks > 0, "{}: {recovered:?}", shape.name);
        // Those held open, and what the kernel was about to cut when the copy was made.
        assert!((20..30).contains(&recovered.orphans), "{}: {recovered:?}", shape.name);
        judge(&ours);
        Mount::new(&kernel, "loop").unmount();
        run("e2fsck", ["-fy", text(&checker)]);
        let found = mounted(&ours, walk);
        assert!(found.len() > 900, "{}: {} files", shape.name, found.len());
        assert!(found == mounted(&kernel, walk), "{}: the kernel has another tree", shape.name);
        assert!(found == mounted(&checker, walk), "{}: e2fsck has another tree", shape.name);
        assert_eq!(totals(&ours), totals(&checker), "{}", shape.name);
    }
}

/// A filesystem, and a script of debugfs that writes to its journal.
fn logged(world: &Workspace, features: &str, script: &str) -> std::path::PathBuf {
    let image = world.path("image");
    let _ = fs::remove_file(&image);
    tool("mke2fs", &["-q", "-t", "ext4", "-F", "-b1024", "-O", features, text(&image), "16M"]);
    let commands = world.path("script");
    fs::write(&commands, script).unwrap();
    tool("debugfs", &["-w", "-f", text(&commands), text(&image)]);
    image
}

#[test]
fn what_debugfs_logs_is_replayed_but_for_what_it_revokes_in_every_format_of_the_log() {
    let world = Workspace::new();
    let content = world.path("content");
    // Three blocks, of which the first looks like one of the journal.
    let mut bytes = vec![0xab; 3 * 1024];
    bytes[..4].copy_from_slice(&0xc03b_3998_u32.to_be_bytes());
    fs::write(&content, &bytes).unwrap();
    let content = text(&content).to_owned();
    for (features, open) in [
        ("^metadata_csum,^64bit", "jo"),
        ("^metadata_csum,64bit", "jo"),
        ("metadata_csum,64bit", "jo -c -v 2"),
        ("metadata_csum,^64bit", "jo -c -v 2"),
        ("metadata_csum,^64bit", "jo -c -v 3"),
        ("metadata_csum,64bit", "jo -c"),
    ] {
        let script = format!(
            "{open}\njw -b 12000-12002 {content}\njw -b 12010-12012 {content}\njw -r 12001,12010\njc\n"
        );
        let image = logged(&world, features, &script);
        let checked = world.path("checked");
        copy(&image, &checked);
        let recovered = recover(&image);
        assert_eq!((recovered.transactions, recovered.blocks), (3, 4), "{features}, {open}");
        judge(&image);
        run("e2fsck", ["-fy", text(&checked)]);
        let (ours, theirs) = (fs::read(&image).unwrap(), fs::read(&checked).unwrap());
        let block = |bytes: &[u8], number: usize| bytes[number * 1024..(number + 1) * 1024].to_vec();
        for number in 12000..12013 {
            assert!(block(&ours, number) == block(&theirs, number), "{features}, {open}: block {number}");
        }
        assert_eq!(block(&ours, 12000), bytes[..1024], "{features}, {open}");
        assert_eq!(block(&ours, 12001), [0; 1024], "{features}, {open}");
        assert_eq!(totals(&image), totals(&checked), "{features}, {open}");
    }
}
