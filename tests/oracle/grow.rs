//! An image that was grown offline, before the judges we did not write.

use std::fs::{self, File};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use cardpress::base::{ChunkDigests, Sha256Digest, is_zero};
use serde_json::Value;

use crate::support::tools::tool;
use crate::support::world::{Run, World, profile, small_base};

const LEN: u64 = 1 << 30;

fn press(world: &World, grow: &str, more: &str, words: &[&str]) -> Run {
    let grow = format!("grow = {grow:?}\n[cluster]");
    let text = profile(&[("n1", "192.168.7.11")], more).replacen("[cluster]", &grow, 1);
    world.write("seed", &"5e".repeat(32));
    world.write("cluster.toml", &text);
    world.run(&[&["build", "cluster.toml", "--seed-file", "seed", "--json"], words].concat())
}

/// A node of 1 GiB: the world it is in, and its image.
fn grown() -> (World, PathBuf) {
    let world = World::new();
    press(&world, "1GiB", "", &[]).succeeded();
    let image = world.path("out/test/n1.img");
    (world, image)
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Start and length of the root partition in bytes, as sfdisk reads the table.
fn root_range(image: &Path) -> (u64, u64) {
    let table: Value = serde_json::from_str(&tool("sfdisk", &["--json", text(image)])).unwrap();
    let number = |key: &str| table["partitiontable"]["partitions"][1][key].as_u64().unwrap() * 512;
    (number("start"), number("size"))
}

/// The root filesystem in a file of its own, holes left out.
fn root_of(image: &Path, world: &World) -> PathBuf {
    let (start, len) = root_range(image);
    let path = world.path("root.ext4");
    let mut source = File::open(image).unwrap();
    let mut target = File::create(&path).unwrap();
    target.set_len(len).unwrap();
    let mut piece = vec![0; 1 << 20];
    for at in (0..len).step_by(1 << 20) {
        let piece = &mut piece[..usize::try_from((len - at).min(1 << 20)).unwrap()];
        source.seek(SeekFrom::Start(start + at)).unwrap();
        source.read_exact(piece).unwrap();
        if !is_zero(piece) {
            target.seek(SeekFrom::Start(at)).unwrap();
            target.write_all(piece).unwrap();
        }
    }
    path
}

fn check(root: &Path) {
    let said = tool("e2fsck", &["-fn", text(root)]);
    assert!(!said.contains("Fix?") && !said.contains("FIXED") && !said.contains("? no"), "{said}");
}

#[test]
fn table_and_filesystem_go_to_the_end_of_a_grown_image_to_sfdisk_and_e2fsck() {
    let (world, image) = grown();
    assert_eq!(fs::metadata(&image).unwrap().len(), LEN);
    let (start, len) = root_range(&image);
    assert_eq!(start + len, LEN);
    let said = tool("sfdisk", &["--verify", text(&image)]);
    assert!(said.contains("No errors detected"), "{said}");
    let root = root_of(&image, &world);
    check(&root);
    let stats = tool("debugfs", &["-R", "stats", text(&root)]);
    let count = |name: &str| -> u64 {
        stats.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim().parse().unwrap()
    };
    let block_len = count("Block size:");
    assert_eq!(count("Block count:"), len / block_len);
    assert_eq!(tool("debugfs", &["-R", "cat /etc/hostname", text(&root)]), "n1\n");
}

#[cfg(unix)]
#[test]
fn a_grown_image_stays_sparse_and_its_digest_is_that_of_its_bytes() {
    use std::os::unix::fs::MetadataExt as _;
    let (world, image) = grown();
    let shorter = World::new();
    shorter.write("cluster.toml", &profile(&[("n1", "192.168.7.11")], ""));
    shorter.run(&["build", "cluster.toml"]).succeeded();
    let taken = |path: &Path| fs::metadata(path).unwrap().blocks() * 512;
    let (long, short) = (taken(&image), taken(&shorter.path("out/test/n1.img")));
    assert!(long < short + (4 << 20), "{long} bytes on disk, {short} without growing");

    let manifest = fs::read(world.path("out/test/manifest.json")).unwrap();
    let manifest: Value = serde_json::from_slice(&manifest).unwrap();
    let mut file = File::open(&image).unwrap();
    let mut chunks = Vec::new();
    for _ in 0..LEN / ChunkDigests::CHUNK_LEN {
        let mut chunk = vec![0; usize::try_from(ChunkDigests::CHUNK_LEN).unwrap()];
        file.read_exact(&mut chunk).unwrap();
        chunks.push(Sha256Digest::of(&chunk));
    }
    let root = ChunkDigests::new(LEN, chunks).unwrap().root().to_string();
    assert_eq!(manifest["nodes"][0]["digest"], root.as_str());
    assert_eq!(manifest["nodes"][0]["len_bytes"], LEN);
}

#[test]
fn files_that_need_the_new_room_are_written_into_it() {
    let world = World::new();
    File::create(world.path("big")).unwrap().set_len(500 << 20).unwrap();
    let more = "[[defaults.file]]\npath = \"/opt/big\"\nsource = \"big\"\n";
    press(&world, "1GiB", more, &[]).succeeded();
    let root = root_of(&world.path("out/test/n1.img"), &world);
    check(&root);
    let stat = tool("debugfs", &["-R", "stat /opt/big", text(&root)]);
    assert!(stat.contains("Size: 524288000"), "{stat}");
}

#[test]
fn an_image_that_would_shrink_or_end_inside_a_sector_is_a_fault_of_the_profile() {
    for grow in ["1MiB", "1073741825"] {
        let world = World::new();
        let run = press(&world, grow, "", &[]);
        assert_eq!(run.status, 2, "{}", run.err);
        assert!(run.err.contains("image.grow") && run.err.contains("512"), "{}", run.err);
        assert!(!world.path("out/test/n1.img").exists());
    }
}

/// The small base unpacked, `more` bytes longer, with what `script` makes of its table.
fn with_table(world: &World, more: u64, arguments: &[&str], script: &str) -> PathBuf {
    use std::process::{Command, Stdio};
    let path = world.path("base.img");
    let unpacked = Command::new("xz").arg("-dc").arg(small_base()).output().unwrap();
    assert!(unpacked.status.success());
    fs::write(&path, unpacked.stdout).unwrap();
    let file = File::options().write(true).open(&path).unwrap();
    file.set_len(file.metadata().unwrap().len() + more).unwrap();
    let mut sfdisk = Command::new("/usr/sbin/sfdisk")
        .args(["--quiet", "--no-reread", "--no-tell-kernel", "--wipe=never"])
        .args(arguments)
        .arg(&path)
        .stdin(Stdio::piped())
        .spawn()
        .expect("cannot run sfdisk; `make oracles` installs it");
    sfdisk.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
    assert!(sfdisk.wait().unwrap().success());
    path
}

#[test]
fn a_gpt_is_grown_with_its_backup() {
    let world = World::new();
    let plain = with_table(&world, 0, &[], "");
    let table: Value = serde_json::from_str(&tool("sfdisk", &["--json", text(&plain)])).unwrap();
    let number =
        |index: usize, key: &str| table["partitiontable"]["partitions"][index][key].as_u64().unwrap();
    let line = |index, kind| {
        format!("start={}, size={}, type={kind}\n", number(index, "start"), number(index, "size"))
    };
    let script = String::from("label: gpt\n") + &line(0, "uefi") + &line(1, "linux");
    let base = with_table(&world, 1 << 20, &[], &script);
    press(&world, "1GiB", "", &["--image", text(&base)]).succeeded();
    let image = world.path("out/test/n1.img");
    let (start, len) = root_range(&image);
    // One of its own for every node, or two cards in one machine would be one.
    let guid = |image: &Path| tool("sfdisk", &["--part-uuid", text(image), "2"]);
    assert_ne!(guid(&image), guid(&base));
    // 33 sectors hold the backup of the table.
    assert_eq!((start + len, fs::metadata(&image).unwrap().len()), (LEN - 33 * 512, LEN));
    let said = tool("sfdisk", &["--verify", text(&image)]);
    assert!(said.contains("No errors detected"), "{said}");
    check(&root_of(&image, &world));
}

#[test]
fn a_root_with_a_partition_behind_it_is_refused() {
    let world = World::new();
    let base = with_table(&world, 16 << 20, &["--append"], "size=8MiB, type=83\n");
    let run = press(&world, "1GiB", "", &["--image", text(&base)]);
    assert_eq!(run.status, 1, "{}", run.err);
    assert!(run.err.contains("partition 3 lies behind partition 2"), "{}", run.err);
    assert!(!world.path("out/test/n1.img").exists());
}

/// The kernel mounts it and writes into all of it, resize2fs grows it further, the kernel writes on.
#[cfg(target_os = "linux")]
#[test]
fn the_kernel_writes_into_a_grown_filesystem_and_resize2fs_grows_it_on() {
    use crate::support::tools::{Mount, may_attach};
    if !may_attach() {
        return;
    }
    let (world, image) = grown();
    let root = root_of(&image, &world);
    let content = |number: u8| vec![number; 10 << 20];
    let mount = Mount::new(&root, "loop");
    for number in 0..60 {
        let dir = mount.path().join(format!("srv/{number}"));
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join("file"), content(number)).unwrap();
    }
    mount.unmount();
    check(&root);

    File::options().write(true).open(&root).unwrap().set_len(3 << 30).unwrap();
    tool("resize2fs", &["-f", text(&root)]);
    check(&root);
    let mount = Mount::new(&root, "loop");
    for number in 0..60 {
        let found = fs::read(mount.path().join(format!("srv/{number}/file"))).unwrap();
        assert!(found == content(number), "file {number} differs");
    }
    fs::write(mount.path().join("srv/last"), vec![7; 700 << 20]).unwrap();
    mount.unmount();
    check(&root);
    assert!(tool("debugfs", &["-R", "stat /srv/last", text(&root)]).contains("Size: 734003200"));
}
