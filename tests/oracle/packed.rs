//! Compressed images before the programs that will read them, and maps before bmaptool.

use cardpress::base::Silent;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;

use cardpress::base::{ChunkDigests, Interrupt, Sha256Digest, is_zero};
use cardpress::block::{Device as _, Extent, FileDevice, Overlay, ReadAt as _};
use cardpress::sink::{self, Archive, ArchiveBlock, Check, Packed, Packer, PackerOptions, Packing};

use crate::support::tools::{Workspace, must, run, text, tool};

const MIB: u64 = 1 << 20;

/// So many bytes of what real systems are made of: programs and libraries of this one, one after another, each on
/// whole blocks as a filesystem would have them. A quarter of it is a hole.
fn real_image(path: &Path, len: u64) -> Arc<FileDevice> {
    let mut folders = vec![PathBuf::from("/usr/share"), PathBuf::from("/usr/bin"), PathBuf::from("/usr/lib")];
    let mut image = File::create(path).unwrap();
    let mut at = 0;
    while at < len * 3 / 4 {
        let folder = folders.pop().expect("this system is too small for the test");
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        let mut entries: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
        entries.sort();
        for entry in entries {
            let kind = entry.symlink_metadata().unwrap().file_type();
            if kind.is_dir() {
                folders.push(entry);
            } else if kind.is_file()
                && at < len * 3 / 4
                && let Ok(mut bytes) = fs::read(&entry)
            {
                bytes.truncate(4 << 20);
                bytes.resize(bytes.len().next_multiple_of(4096), 0);
                image.write_all(&bytes).unwrap();
                at += bytes.len() as u64;
            }
        }
    }
    image.set_len(len).unwrap();
    Arc::new(FileDevice::new(File::open(path).unwrap()).unwrap())
}

fn node(base: &Arc<FileDevice>, edits: &[u64]) -> Overlay<Arc<FileDevice>> {
    let overlay = Overlay::new(Arc::clone(base));
    for edit in edits {
        overlay.write_at(*edit, format!("edited at {edit}").as_bytes()).unwrap();
    }
    overlay
}

/// The blocks of an `.xz` file as `xz --list` tells them.
fn archive_of(path: &Path, check: Check) -> Archive {
    let check_len = match check {
        Check::None => 0,
        Check::Crc32 => 4,
        Check::Crc64 => 8,
        Check::Sha256 => 32,
    };
    let block = |line: &str| {
        let words: Vec<&str> = line.split('\t').collect();
        let number = |index: usize| words[index].parse::<u64>().unwrap();
        ArchiveBlock {
            archive_offset: number(4),
            unpadded_len: number(11) + number(13) + check_len,
            offset: number(5),
            len_bytes: number(7),
        }
    };
    let list = tool("xz", &["--robot", "--list", "-vv", text(path)]);
    let blocks = list.lines().filter(|line| line.starts_with("block")).map(block).collect();
    Archive { file: File::open(path).unwrap(), check, blocks }
}

fn packer(
    base: &Arc<FileDevice>,
    packing: Packing,
    level: u32,
    jobs: usize,
    archive: Option<Archive>,
) -> Packer {
    let folder = std::env::temp_dir();
    let options = PackerOptions { packing, level, jobs, archive, folder: &folder };
    Packer::new(Arc::clone(base), options).unwrap()
}

fn press(packer: &Packer, node: &Overlay<Arc<FileDevice>>, target: &Path) -> Packed {
    let interrupt = Interrupt::default();
    let options = sink::Options { secret: false, reflink: false, interrupt: &interrupt, progress: &Silent };
    let staged = packer.stage(node, &node.dirty_extents(), target, options).unwrap();
    let packed = staged.packed();
    staged.commit().unwrap();
    packed
}

fn bytes_of(node: &Overlay<Arc<FileDevice>>) -> Vec<u8> {
    let mut bytes = vec![0; usize::try_from(node.len_bytes()).unwrap()];
    node.read_at(0, &mut bytes).unwrap();
    bytes
}

fn shell(script: &str, file: &Path) -> String {
    must("sh", ["-c", script, "sh", text(file)])
}

/// What the format's own program makes of a file.
fn decoded(packing: Packing, file: &Path) -> Vec<u8> {
    let program = match packing {
        Packing::Xz => "xz",
        Packing::Zstd => "zstd",
        Packing::Gzip => "gzip",
    };
    shell(&format!("{program} -t \"$1\" && {program} -dc \"$1\" > \"$1.raw\""), file);
    fs::read(file.with_file_name(format!("{}.raw", file.file_name().unwrap().to_str().unwrap()))).unwrap()
}

#[test]
fn packed_images_decode_to_the_edited_image_and_jobs_and_order_change_no_byte() {
    let work = Workspace::new();
    let base = real_image(&work.path("base.img"), 20 * MIB + 777);
    let nodes: Vec<Overlay<Arc<FileDevice>>> =
        [&[0, 9 * MIB - 3, 9 * MIB + 70_000][..], &[], &[4 * MIB, 19 * MIB]]
            .into_iter()
            .map(|edits| node(&base, edits))
            .collect();
    nodes[2].grow(30 * MIB + 1);
    nodes[2].write_at(30 * MIB, b"!").unwrap();
    for packing in [Packing::Xz, Packing::Zstd, Packing::Gzip] {
        let path = |jobs: usize, index: usize| work.path(&format!("{jobs}-{index}"));
        let one = packer(&base, packing, 1, 1, None);
        for (index, node) in nodes.iter().enumerate() {
            let packed = press(&one, node, &path(1, index));
            assert_eq!(packed.spliced_bytes, 0);
            let file = path(1, index);
            assert!(decoded(packing, &file) == bytes_of(node), "{packing:?}: node {index}");
        }
        // Others in the other order, at once.
        let eight = packer(&base, packing, 1, 8, None);
        thread::scope(|scope| {
            for (index, edits) in [&[0, 9 * MIB - 3, 9 * MIB + 70_000][..], &[]].into_iter().enumerate().rev()
            {
                let (eight, base, path) = (&eight, &base, path(8, index));
                scope.spawn(move || press(eight, &node(base, edits), &path));
            }
        });
        for index in 0..2 {
            assert!(
                fs::read(path(1, index)).unwrap() == fs::read(path(8, index)).unwrap(),
                "{packing:?} {index}"
            );
        }
    }
}

#[test]
fn xz_reads_images_spliced_from_its_own_archives() {
    let work = Workspace::new();
    let base = real_image(&work.path("base.img"), 12 * MIB + 123);
    let node = node(&base, &[3 * MIB - 5, 5 * MIB + 1, 5 * MIB + 900_000]);
    node.grow(13 * MIB);
    let checks =
        [("none", Check::None), ("crc32", Check::Crc32), ("crc64", Check::Crc64), ("sha256", Check::Sha256)];
    for (name, check) in checks {
        let archive = work.path(&format!("{name}.xz"));
        let script = format!("xz -1 -T2 --block-size=1MiB --check={name} -c \"$1\" > {}", text(&archive));
        shell(&script, &work.path("base.img"));
        let packer = packer(&base, Packing::Xz, 1, 2, Some(archive_of(&archive, check)));
        let target = work.path(&format!("{name}-node.xz"));
        let packed = press(&packer, &node, &target);
        assert!(packed.spliced_bytes > 8 * MIB, "{packed:?}");
        assert!(decoded(Packing::Xz, &target) == bytes_of(&node), "{name}");
        let list = tool("xz", &["--robot", "--list", "-vv", text(&target)]);
        let told = list.lines().find(|line| line.starts_with("stream")).unwrap();
        let wanted = ["None", "CRC32", "CRC64", "SHA-256"][check as usize];
        assert_eq!(told.split('\t').nth(8).unwrap(), wanted);
        // Both lengths in every header, which decoders with several threads need.
        assert!(
            list.lines().filter(|line| line.starts_with("block")).all(|line| line.contains("\tcu\t")),
            "{list}"
        );
    }
}

#[test]
fn a_packed_image_is_hardly_longer_than_what_the_formats_own_program_makes() {
    let work = Workspace::new();
    let path = work.path("base.img");
    let base = real_image(&path, 24 * MIB);
    // A few edits close together, as of a folder, and some alone: more than a real node has on so few bytes.
    let node = node(&base, &[7 * MIB, 14 * MIB, 14 * MIB + 5000, 14 * MIB + 150_000, 23 * MIB]);
    let edited = work.path("edited.img");
    fs::write(&edited, bytes_of(&node)).unwrap();
    let archive = work.path("base.img.xz");
    shell(&format!("xz -2 -T2 -c \"$1\" > {}", text(&archive)), &path);
    for (packing, command) in
        [(Packing::Xz, "xz -2 -T2"), (Packing::Zstd, "zstd -q -2 -T2"), (Packing::Gzip, "gzip -2")]
    {
        let wanted: u64 = shell(&format!("{command} -c \"$1\" | wc -c"), &edited).trim().parse().unwrap();
        let spliced = (packing == Packing::Xz).then(|| archive_of(&archive, Check::Crc64));
        // Without the archive, and with it where it is of use.
        for archive in [None].into_iter().chain(spliced.map(Some)) {
            let packed = press(&packer(&base, packing, 2, 2, archive), &node, &work.path("packed"));
            assert!(
                packed.packed_bytes * 100 <= wanted * 103,
                "{packing:?}: {} bytes, {command} {wanted}",
                packed.packed_bytes
            );
        }
    }
}

#[test]
fn bmaptool_copies_by_our_map_and_compares_what_it_copies() {
    let work = Workspace::new();
    let base = real_image(&work.path("base.img"), 9 * MIB + 300);
    let node = node(&base, &[MIB, 8 * MIB]);
    node.grow(10 * MIB + 1000);
    node.write_at(10 * MIB + 990, b"the end").unwrap();
    let bytes = bytes_of(&node);
    let ranges: Vec<(Extent, Sha256Digest)> = (0_u64..)
        .zip(bytes.chunks(256 << 10))
        .filter(|(_, chunk)| !is_zero(chunk))
        .map(|(index, chunk)| {
            let offset = index * ChunkDigests::CHUNK_LEN;
            (Extent { offset, len_bytes: chunk.len() as u64 }, Sha256Digest::of(chunk))
        })
        .collect();
    let map = work.path("node.bmap");
    fs::write(&map, sink::bmap(bytes.len() as u64, &ranges).unwrap()).unwrap();
    let raw = work.path("node.img");
    fs::write(&raw, &bytes).unwrap();
    let mut images = vec![raw.clone()];
    for (packing, suffix) in [(Packing::Xz, "xz"), (Packing::Gzip, "gz")] {
        let image = work.path(&format!("node.img.{suffix}"));
        press(&packer(&base, packing, 1, 2, None), &node, &image);
        images.push(image);
    }
    for image in images {
        let card = work.path("card");
        let _ = fs::remove_file(&card);
        must("bmaptool", ["copy", "--bmap", text(&map), text(&image), text(&card)]);
        let mut copied = fs::read(&card).unwrap();
        // What is not in the map at the end it leaves out.
        copied.resize(bytes.len(), 0);
        assert!(copied == bytes, "{}", image.display());
    }
    // It does look at the digests, of ranges and of the map.
    let mut spoilt = bytes.clone();
    spoilt[700_000] ^= 1;
    fs::write(&raw, spoilt).unwrap();
    let copy = || run("bmaptool", ["copy", "--bmap", text(&map), text(&raw), text(&work.path("card"))]);
    let said = copy();
    assert!(said.status != 0 && said.text.contains("checksum mismatch"), "{}", said.text);
    fs::write(&raw, &bytes).unwrap();
    fs::write(&map, fs::read_to_string(&map).unwrap().replacen("<Range", "<Range ", 1)).unwrap();
    let said = copy();
    assert!(said.status != 0 && said.text.contains("checksum mismatch"), "{}", said.text);
}
