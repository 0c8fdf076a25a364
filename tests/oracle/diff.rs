//! `cardpress diff` beside the kernel: both images mounted, walked and read with system calls, and compared by a
//! program that knows nothing of blocks.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::{
    FileExt as _, FileTypeExt as _, MetadataExt as _, PermissionsExt as _, chown, symlink,
};
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::support::tools::{Mount, may_attach, must, text, tool};
use crate::support::world::World;

/// All that is compared of a file: kind, mode, owner, device, link target, content, extended attributes.
type Seen = (&'static str, u32, (u32, u32), u64, Vec<u8>, BTreeMap<String, Vec<u8>>);

/// Every path below `root` as the kernel has it.
fn seen(root: &Path, below: &Path, all: &mut BTreeMap<String, Seen>) {
    let metadata = fs::symlink_metadata(below).unwrap();
    let kind = metadata.file_type();
    let (word, content) = if kind.is_dir() {
        ("directory", Vec::new())
    } else if kind.is_symlink() {
        ("symlink", fs::read_link(below).unwrap().into_os_string().into_encoded_bytes())
    } else if kind.is_file() {
        ("file", fs::read(below).unwrap())
    } else if kind.is_fifo() {
        ("fifo", Vec::new())
    } else {
        ("device", Vec::new())
    };
    let mut xattrs = BTreeMap::new();
    if !kind.is_symlink() {
        let mut names = vec![0; 1 << 16];
        let len = rustix::fs::llistxattr(below, &mut names[..]).unwrap();
        for name in names[..len].split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
            let mut value = vec![0; 1 << 16];
            let len = rustix::fs::lgetxattr(below, name, &mut value[..]).unwrap();
            xattrs.insert(String::from_utf8_lossy(name).into_owned(), value[..len].to_vec());
        }
    }
    let path = format!("/{}", text(below.strip_prefix(root).unwrap()));
    let owner = (metadata.uid(), metadata.gid());
    all.insert(path, (word, metadata.mode() & 0o7777, owner, metadata.rdev(), content, xattrs));
    if kind.is_dir() {
        for entry in fs::read_dir(below).unwrap() {
            seen(root, &entry.unwrap().path(), all);
        }
    }
}

fn kernel(image: &Path) -> BTreeMap<String, Seen> {
    let mount = Mount::new(image, "ro,noload,loop");
    let mut all = BTreeMap::new();
    seen(mount.path(), mount.path(), &mut all);
    mount.unmount();
    all
}

/// What the kernel's view makes of two images: path and `added`, `removed` or `changed`.
fn wanted(one: &Path, other: &Path) -> BTreeMap<String, &'static str> {
    let (before, after) = (kernel(one), kernel(other));
    let mut all = BTreeMap::new();
    for (path, seen) in &before {
        match after.get(path) {
            None => drop(all.insert(path.clone(), "removed")),
            Some(now) if now != seen => drop(all.insert(path.clone(), "changed")),
            Some(_) => {}
        }
    }
    all.extend(after.keys().filter(|path| !before.contains_key(*path)).map(|path| (path.clone(), "added")));
    all
}

/// What `cardpress diff` says, with its short cuts and without.
fn told(world: &World, one: &Path, other: &Path) -> BTreeMap<String, String> {
    let run = |more: &[&str]| {
        let run = world.run(&[&["diff", text(one), text(other), "--json"], more].concat());
        assert!(matches!(run.status, 0 | 1), "{}{}", run.out, run.err);
        run
    };
    let short = run(&[]);
    assert_eq!(short.out, run(&["--plain"]).out);
    let told: Value = serde_json::from_str(&short.out).unwrap();
    assert_eq!(told["same"] == true, short.status == 0);
    let files = told["files"].as_array().unwrap().iter();
    let word = |file: &Value, key: &str| file[key].as_str().unwrap().to_owned();
    files.map(|file| (word(file, "path"), word(file, "change"))).collect()
}

#[track_caller]
fn agree(world: &World, one: &Path, other: &Path) -> usize {
    let wanted: BTreeMap<String, String> =
        wanted(one, other).into_iter().map(|(path, word)| (path, word.to_owned())).collect();
    let told = told(world, one, other);
    assert_eq!(told, wanted);
    wanted.len()
}

/// Numbers that are always the same: the multiplier is Knuth's, of MMIX.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }

    fn bytes(&mut self, limit: u64) -> Vec<u8> {
        let first = self.below(256);
        (0..self.below(limit)).map(|nth| u8::try_from((first + nth * nth) % 251).unwrap()).collect()
    }
}

/// A tree of `count` files of all kinds, in directories three deep.
fn plant(root: &Path, dice: &mut Dice, count: u64) {
    for nth in 0..count {
        let folder = root.join(format!("d{}/e{}/f{}", dice.below(4), dice.below(3), dice.below(2)));
        fs::create_dir_all(&folder).unwrap();
        let path = folder.join(format!("n{nth}"));
        match dice.below(12) {
            0 => symlink(format!("../target-{nth}"), &path).unwrap(),
            1 => symlink("long/".repeat(30), &path).unwrap(),
            2 => drop(tool("mkfifo", &[text(&path)])),
            3 => drop(tool("mknod", &[text(&path), "c", "1", "3"])),
            4 => File::create(&path).unwrap().write_all_at(b"behind a hole", 50_000 + nth).unwrap(),
            _ => fs::write(&path, dice.bytes(20_000)).unwrap(),
        }
    }
}

/// Every path below `root`, without the root itself and lost+found, in the order of names.
fn paths(root: &Path) -> Vec<PathBuf> {
    let mut all = BTreeMap::new();
    seen(root, root, &mut all);
    let kept = all.keys().filter(|path| *path != "/" && *path != "/lost+found");
    kept.map(|path| root.join(&path[1..])).collect()
}

/// One edit of a random file, as a running system might do it.
fn disturb(root: &Path, dice: &mut Dice) {
    let paths = paths(root);
    let path = &paths[usize::try_from(dice.below(paths.len() as u64)).unwrap()];
    let metadata = fs::symlink_metadata(path).unwrap();
    let is_file = metadata.is_file();
    match dice.below(12) {
        0 if metadata.is_dir() => fs::remove_dir_all(path).unwrap(),
        0 | 1 if !metadata.is_dir() => fs::remove_file(path).unwrap(),
        2 if !metadata.is_symlink() => {
            let mode = u32::try_from(dice.below(0o1000)).unwrap();
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        }
        3 if !metadata.is_symlink() => {
            chown(path, Some(u32::try_from(dice.below(70_000)).unwrap()), None).unwrap()
        }
        // A byte somewhere, the length and the inode stay.
        4 | 5 if is_file && metadata.len() > 0 => {
            let at = dice.below(metadata.len());
            File::options().write(true).open(path).unwrap().write_all_at(b"?", at).unwrap();
        }
        6 if is_file => fs::write(path, dice.bytes(20_000)).unwrap(),
        7 if is_file => File::options().append(true).open(path).unwrap().write_all(b"more").unwrap(),
        8 if is_file => {
            rustix::fs::lsetxattr(path, "user.test", b"value", rustix::fs::XattrFlags::empty()).unwrap();
        }
        9 => fs::rename(path, path.with_extension("moved")).unwrap(),
        // The same content in another inode is no difference.
        10 if is_file => {
            let copy = path.with_extension("copy");
            tool("cp", &["--archive", text(path), text(&copy)]);
            fs::rename(copy, path).unwrap();
        }
        // Neither are times.
        _ => drop(tool("touch", &["--no-dereference", "--date=@5", text(path)])),
    }
}

#[test]
fn diff_sees_what_the_kernel_sees_whatever_was_edited() {
    if !may_attach() {
        return;
    }
    let mut found = 0;
    for (seed, words) in [
        (1, &["-b", "1024"][..]),
        (2, &["-b", "4096", "-O", "^metadata_csum"]),
        (3, &["-b", "1024", "-O", "^extents,^64bit,^dir_index"]),
        (4, &["-b", "2048", "-I", "128"]),
    ] {
        let world = World::in_memory();
        let (one, other) = (world.path("a.img"), world.path("b.img"));
        must("mke2fs", [&["-q", "-t", "ext4"], words, &[text(&one), "24M"]].concat());
        let mut dice = Dice(seed);
        let mount = Mount::new(&one, "loop");
        plant(mount.path(), &mut dice, 60);
        mount.unmount();
        fs::copy(&one, &other).unwrap();
        assert_eq!(agree(&world, &one, &other), 0);
        for _ in 0..3 {
            let mount = Mount::new(&other, "loop");
            (0..6).for_each(|_| disturb(mount.path(), &mut dice));
            mount.unmount();
            found += agree(&world, &one, &other);
        }
    }
    assert!(found > 40, "only {found} differences were made");
}

#[test]
fn the_same_files_in_another_filesystem_are_no_difference() {
    if !may_attach() {
        return;
    }
    let world = World::in_memory();
    let (one, other) = (world.path("a.img"), world.path("b.img"));
    must("mke2fs", ["-q", "-t", "ext4", "-b", "1024", text(&one), "24M"]);
    let mount = Mount::new(&one, "loop");
    plant(mount.path(), &mut Dice(9), 40);
    must("mke2fs", ["-q", "-t", "ext4", "-b", "4096", "-d", text(mount.path()), text(&other), "32M"]);
    mount.unmount();
    // mke2fs makes a lost+found of its own, which is four blocks long whatever a block is.
    assert_eq!(agree(&world, &one, &other), 0);
    // And in one that was made longer.
    fs::copy(&one, &other).unwrap();
    File::options().write(true).open(&other).unwrap().set_len(64 << 20).unwrap();
    tool("e2fsck", &["-fp", text(&other)]);
    tool("resize2fs", &[text(&other)]);
    assert_eq!(agree(&world, &one, &other), 0);
}

#[test]
fn what_only_the_journal_holds_is_compared() {
    if !may_attach() {
        return;
    }
    let world = World::in_memory();
    let (one, other) = (world.path("a.img"), world.path("b.img"));
    must("mke2fs", ["-q", "-t", "ext4", "-b", "1024", text(&one), "24M"]);
    let mount = Mount::new(&one, "loop");
    fs::write(mount.path().join("old"), "as it was\n").unwrap();
    fs::set_permissions(mount.path().join("old"), fs::Permissions::from_mode(0o644)).unwrap();
    mount.unmount();
    fs::copy(&one, &other).unwrap();
    let mount = Mount::new(&other, "loop");
    fs::set_permissions(mount.path().join("old"), fs::Permissions::from_mode(0o600)).unwrap();
    fs::create_dir(mount.path().join("new")).unwrap();
    // Into the journal, and not yet to where it belongs: as after a power cut.
    File::open(mount.path()).unwrap().sync_all().unwrap();
    let cut = world.path("cut.img");
    fs::copy(&other, &cut).unwrap();
    mount.unmount();
    let wanted =
        [("/new", "added"), ("/old", "changed")].map(|(path, word)| (path.to_owned(), word.to_owned()));
    assert_eq!(told(&world, &one, &cut), BTreeMap::from(wanted));
    assert_eq!(told(&world, &other, &cut), BTreeMap::new());
}

/// Copies that share blocks are not read; what one of them changed is found all the same.
#[test]
fn copies_that_share_blocks_are_compared_without_reading_them() {
    if !may_attach() {
        return;
    }
    let world = World::new();
    let disk = world.path("disk.xfs");
    File::create(&disk).unwrap().set_len(400 << 20).unwrap();
    must("mkfs.xfs", ["-q", "-m", "reflink=1", text(&disk)]);
    let folder = world.path("mounted");
    fs::create_dir(&folder).unwrap();
    tool("mount", &["-o", "loop", text(&disk), text(&folder)]);
    let checked = std::panic::catch_unwind(|| {
        let (one, other) = (folder.join("a.img"), folder.join("b.img"));
        must("mke2fs", ["-q", "-t", "ext4", "-b", "4096", text(&one), "48M"]);
        let mount = Mount::new(&one, "loop");
        plant(mount.path(), &mut Dice(5), 40);
        mount.unmount();
        tool("cp", &["--reflink=always", text(&one), text(&other)]);
        assert_eq!(agree(&world, &one, &other), 0);
        let mount = Mount::new(&other, "loop");
        let mut dice = Dice(6);
        (0..8).for_each(|_| disturb(mount.path(), &mut dice));
        mount.unmount();
        // Nothing is synced here: the page that was changed may still lie over a shared block.
        assert!(agree(&world, &one, &other) > 0);
    });
    crate::support::tools::unmount(&folder).unwrap();
    checked.unwrap();
}
