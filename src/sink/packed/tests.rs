use std::io::Read as _;
use std::process::Command;

use super::super::file::tests::Mounted;
use super::cut::Part as Piece;
use super::*;
use crate::base::Silent;
use crate::block::{Device as _, Overlay};

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
/// Every format at a level that is quick.
const ALL: [Packing; 3] = [Packing::Xz, Packing::Zstd, Packing::Gzip];

/// Bytes that compress to about a half, other ones for each seed.
fn noise(seed: u64, len: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::new();
    while (bytes.len() as u64) < len {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let word = state.to_le_bytes();
        bytes.extend(&word[4..]);
        bytes.extend(b"text");
    }
    bytes.truncate(usize::try_from(len).unwrap());
    bytes
}

/// 9 MiB and a bit: data, a hole of 3 MiB, zeros that are no hole, data.
fn write_base(dir: &Path) -> (std::path::PathBuf, Arc<FileDevice>) {
    let path = dir.join("base.img");
    let file = File::options().create(true).truncate(true).read(true).write(true).open(&path).unwrap();
    host::write_all_at(&file, &noise(1, 2 * MIB + 300), 0).unwrap();
    host::write_all_at(&file, &vec![0; 1 << 20], 6 * MIB).unwrap();
    host::write_all_at(&file, &noise(2, 2 * MIB + 777), 7 * MIB).unwrap();
    (path, Arc::new(FileDevice::new(file).unwrap()))
}

/// The blocks of a real `.xz` file, as `xz --list` tells them.
fn archive_of(path: &Path, check: Check) -> Archive {
    let output = Command::new("xz").args(["--robot", "--list", "-vv"]).arg(path).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let block = |line: &str| {
        let words: Vec<&str> = line.split('\t').collect();
        let number = |index: usize| words[index].parse::<u64>().unwrap();
        let check_len = [0, 4, 8, 32][check as usize];
        ArchiveBlock {
            archive_offset: number(4),
            unpadded_len: number(11) + number(13) + check_len,
            offset: number(5),
            len_bytes: number(7),
        }
    };
    let blocks = text.lines().filter(|line| line.starts_with("block")).map(block).collect();
    Archive { file: File::open(path).unwrap(), check, blocks }
}

fn unpack(packing: Packing, bytes: &[u8]) -> Vec<u8> {
    let mut raw = Vec::new();
    match packing {
        Packing::Xz => xz2::read::XzDecoder::new_multi_decoder(bytes).read_to_end(&mut raw),
        Packing::Zstd => zstd::stream::read::Decoder::new(bytes).unwrap().read_to_end(&mut raw),
        Packing::Gzip => flate2::read::MultiGzDecoder::new(bytes).read_to_end(&mut raw),
    }
    .unwrap();
    raw
}

fn packer(
    base: &Arc<FileDevice>,
    packing: Packing,
    jobs: usize,
    archive: Option<Archive>,
    dir: &Path,
) -> Packer {
    let options = PackerOptions { packing, level: 1, jobs, archive, folder: dir };
    Packer::new(Arc::clone(base), options).unwrap()
}

/// Presses one node; the file's bytes, and what they were made of.
fn press(packer: &Packer, node: &dyn ReadAt, dirty: &[Extent], dir: &Path) -> (Vec<u8>, Packed) {
    let interrupt = Interrupt::default();
    let target = tempfile::Builder::new().tempfile_in(dir).unwrap().into_temp_path();
    let options = Options { secret: false, reflink: false, interrupt: &interrupt, progress: &Silent };
    let staged = packer.stage(node, dirty, &target, options).unwrap();
    let packed = staged.packed();
    staged.commit().unwrap();
    (std::fs::read(&target).unwrap(), packed)
}

/// Presses a node and sees that what comes out is the node.
fn check(packer: &Packer, node: &Overlay<Arc<FileDevice>>, dir: &Path) -> (Vec<u8>, Packed) {
    let (bytes, packed) = press(packer, node, &node.dirty_extents(), dir);
    let mut wanted = vec![0; usize::try_from(node.len_bytes()).unwrap()];
    node.read_at(0, &mut wanted).unwrap();
    assert!(unpack(packer.codec.packing, &bytes) == wanted, "{packed:?}");
    assert_eq!(packed.packed_bytes, bytes.len() as u64);
    assert_eq!(packed.len_bytes, packed.spliced_bytes + packed.common_bytes + packed.own_bytes);
    (bytes, packed)
}

/// A node with edits at these offsets.
fn node(base: &Arc<FileDevice>, edits: &[u64]) -> Overlay<Arc<FileDevice>> {
    let overlay = Overlay::new(Arc::clone(base));
    for edit in edits {
        overlay.write_at(*edit, format!("edited at {edit}").as_bytes()).unwrap();
    }
    overlay
}

/// The base packed by the real `xz` in blocks that no border of ours fits.
fn pack_with_xz(base: &Path, check: Check) -> Archive {
    let name = ["none", "crc32", "crc64", "sha256"][check as usize];
    let packed = base.with_extension(name);
    let output = Command::new("xz")
        .args(["-1", "--threads=2", "--block-size=1500001", "--stdout", "--check", name])
        .arg(base)
        .output()
        .unwrap();
    assert!(output.status.success());
    std::fs::write(&packed, output.stdout).unwrap();
    archive_of(&packed, check)
}

const CHECKS: [Check; 4] = [Check::None, Check::Crc32, Check::Crc64, Check::Sha256];

#[test]
fn parts_cover_the_image_and_only_those_with_edits_are_the_nodes_own() {
    let mut state = 1_u64;
    let mut random = |below: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    for _ in 0..300 {
        let (base_len, grown) = (random(20 * MIB), random(2) * random(9 * MIB));
        let len = base_len + grown;
        let mut dirty = Vec::new();
        let mut at = random(MIB);
        while at + 10_000 < len {
            let len_bytes = 1 + random(10_000);
            dirty.push(Extent { offset: at, len_bytes });
            at += len_bytes + 1 + random(3 * MIB);
        }
        let mut blocks = Vec::new();
        let mut offset = 0;
        while offset < base_len {
            let len_bytes = (1 + random(5 * MIB)).min(base_len - offset);
            blocks.push(ArchiveBlock { archive_offset: 0, unpadded_len: 0, offset, len_bytes });
            offset += len_bytes;
        }
        let archive = Archive { file: tempfile::tempfile().unwrap(), check: Check::None, blocks };
        let archive = (random(2) == 0).then_some(&archive);
        let parts = Cut { base_len, len, archive, grid_len: 2 * MIB, dirty: &dirty }.parts();
        let mut end = 0;
        for Piece { offset, len, kind } in parts {
            assert_eq!(offset, end);
            end += len;
            let touched = dirty
                .iter()
                .any(|dirty| dirty.offset < offset + len && offset < dirty.offset + dirty.len_bytes);
            assert_eq!(touched, kind == Kind::Own, "{offset} {len}");
            assert!(
                len <= match kind {
                    Kind::Own => 128 * KIB,
                    Kind::Common => 2 * MIB,
                    Kind::Spliced(_) | Kind::Start(_) => u64::MAX,
                }
            );
            assert!(offset < base_len || matches!(kind, Kind::Own | Kind::Common));
            assert!(end <= base_len || offset >= base_len, "base and grown end are mixed");
        }
        assert_eq!(end, len);
    }
}

#[test]
fn every_format_gives_back_the_edited_image() {
    let dir = tempfile::tempdir().unwrap();
    let (_, base) = write_base(dir.path());
    let len = base.len_bytes();
    for packing in ALL {
        let packer = packer(&base, packing, 2, None, dir.path());
        let untouched = check(&packer, &node(&base, &[]), dir.path()).1;
        assert_eq!((untouched.own_bytes, untouched.common_bytes), (0, len));
        // First and last bytes, both sides of borders, the hole, the zeros, and edits that are zero.
        for edits in [
            vec![0],
            vec![len - 20],
            vec![64 * KIB - 1, 256 * KIB - 8, MIB],
            vec![MIB - 1, 3 * MIB - 1, 4 * MIB, 6 * MIB + 9, 7 * MIB - 4],
            (0..40).map(|number| number * 240_007).collect(),
        ] {
            let packed = check(&packer, &node(&base, &edits), dir.path()).1;
            assert!(packed.own_bytes <= edits.len() as u64 * 256 * KIB);
        }
        let zeroed = node(&base, &[]);
        zeroed.write_at(100, &vec![0; 700_000]).unwrap();
        check(&packer, &zeroed, dir.path());
    }
}

#[test]
fn the_shortest_images_are_images_too() {
    let dir = tempfile::tempdir().unwrap();
    for packing in ALL {
        for len in [0, 1, 4096, 64 * KIB + 1] {
            let file = tempfile::tempfile().unwrap();
            host::write_all_at(&file, &noise(len, len), 0).unwrap();
            let base = Arc::new(FileDevice::new(file).unwrap());
            let packer = packer(&base, packing, 1, None, dir.path());
            let node = node(&base, &[]);
            check(&packer, &node, dir.path());
            node.grow(len + 1);
            node.write_at(len, b"x").unwrap();
            check(&packer, &node, dir.path());
        }
    }
}

#[test]
fn a_grown_image_ends_in_zeros_that_cost_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (_, base) = write_base(dir.path());
    for packing in ALL {
        let packer = packer(&base, packing, 2, None, dir.path());
        let stored = || packer.pool.store().file().metadata().unwrap().len();
        check(&packer, &node(&base, &[5]), dir.path());
        let before = stored();
        let grown = node(&base, &[5]);
        grown.grow(base.len_bytes() + 200 * MIB + 5);
        check(&packer, &grown, dir.path());
        // One piece for all of them, and the shorter last one.
        let zeros = stored() - before;
        assert!(zeros < 100_000, "{packing:?}: {zeros} bytes for zeros");
        grown.write_at(base.len_bytes() - 3, b"across the old end").unwrap();
        grown.write_at(base.len_bytes() + 200 * MIB, b"end").unwrap();
        check(&packer, &grown, dir.path());
    }
}

#[test]
fn blocks_of_an_archive_are_taken_as_they_stand() {
    let dir = tempfile::tempdir().unwrap();
    let (path, base) = write_base(dir.path());
    for check_type in CHECKS {
        let archive = pack_with_xz(&path, check_type);
        assert_eq!(archive.blocks.len(), 7);
        let (second, third) = (archive.blocks[1], archive.blocks[2]);
        let packer = packer(&base, Packing::Xz, 2, Some(archive), dir.path());
        let (untouched, packed) = check(&packer, &node(&base, &[]), dir.path());
        assert_eq!(packed.spliced_bytes, base.len_bytes());
        let archive =
            std::fs::read(path.with_extension(["none", "crc32", "crc64", "sha256"][check_type as usize]))
                .unwrap();
        assert!(untouched == archive, "{check_type:?}: an untouched image is its archive");
        // The last byte of one block and the first of the next.
        let both = node(&base, &[third.offset - 1]);
        let packed = check(&packer, &both, dir.path()).1;
        // All others, and of the second one the chunks before the edit.
        let others = base.len_bytes() - second.len_bytes - third.len_bytes;
        assert!((others + 500_000..others + second.len_bytes).contains(&packed.spliced_bytes), "{packed:?}");
        both.grow(base.len_bytes() + 3 * MIB + 1);
        check(&packer, &both, dir.path());
    }
}

#[test]
fn nodes_whose_first_edits_differ_share_what_is_behind_them() {
    let dir = tempfile::tempdir().unwrap();
    let (path, base) = write_base(dir.path());
    let packed = path.with_extension("xz");
    // One block, and so none that is untouched.
    let script = "xz -1 -T1 -c \"$1\" > \"$2\"";
    let status = Command::new("sh").args(["-c", script, "sh"]).args([&path, &packed]).status().unwrap();
    assert!(status.success());
    let archive = archive_of(&packed, Check::Crc64);
    let len = base.len_bytes();
    let parts = |first: u64| {
        let dirty = [first, 8 * MIB].map(|offset| Extent { offset, len_bytes: 10 });
        Cut { base_len: len, len, archive: Some(&archive), grid_len: 4 * MIB, dirty: &dirty }.parts()
    };
    let (one, other) = (parts(MIB), parts(1_500_000));
    for parts in [&one, &other] {
        assert!(matches!(parts[0].kind, Kind::Start(_)) && parts[0].len > 700_000, "{parts:?}");
        assert!(parts[1..].iter().all(|part| !matches!(part.kind, Kind::Start(_))));
    }
    let behind = |parts: &[Piece]| -> Vec<Piece> {
        parts.iter().copied().filter(|part| part.offset >= 2 * MIB).collect()
    };
    assert_eq!(behind(&one), behind(&other));
}

#[test]
fn the_same_bytes_come_from_any_number_of_threads_and_any_order_of_nodes() {
    let dir = tempfile::tempdir().unwrap();
    let (path, base) = write_base(dir.path());
    pack_with_xz(&path, Check::Crc64);
    let edits: Vec<Vec<u64>> =
        (0..4).map(|one| (0..4).map(|two| one * 300_000 + two * 2_000_003).collect()).collect();
    for packing in ALL {
        let archive =
            || (packing == Packing::Xz).then(|| archive_of(&path.with_extension("crc64"), Check::Crc64));
        let one = packer(&base, packing, 1, archive(), dir.path());
        let wanted: Vec<Vec<u8>> =
            edits.iter().map(|edits| check(&one, &node(&base, edits), dir.path()).0).collect();
        let eight = packer(&base, packing, 8, archive(), dir.path());
        std::thread::scope(|scope| {
            for (edits, wanted) in edits.iter().zip(&wanted).rev() {
                let (eight, base, dir) = (&eight, &base, dir.path());
                scope.spawn(move || {
                    assert!(check(eight, &node(base, edits), dir).0 == *wanted, "{packing:?}");
                });
            }
        });
        let alone = packer(&base, packing, 2, archive(), dir.path());
        assert!(check(&alone, &node(&base, &edits[3]), dir.path()).0 == wanted[3], "{packing:?}");
    }
}

#[test]
fn what_nodes_share_is_compressed_once() {
    let dir = tempfile::tempdir().unwrap();
    let (_, base) = write_base(dir.path());
    for packing in ALL {
        let packer = packer(&base, packing, 2, None, dir.path());
        let stored = || packer.pool.store().file().metadata().unwrap().len();
        check(&packer, &node(&base, &[MIB, 8 * MIB]), dir.path());
        let first = stored();
        let other = node(&base, &[MIB + 1, 8 * MIB + 100]);
        let packed = check(&packer, &other, dir.path()).1;
        assert_eq!(stored(), first, "{packing:?}");
        assert!(first < packed.packed_bytes);
    }
    let left: Vec<_> =
        std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["base.img"], "the temporary file has a name");
}

#[test]
fn an_archive_of_something_else_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (path, base) = write_base(dir.path());
    pack_with_xz(&path, Check::Crc32);
    let spoil: [fn(&mut Vec<ArchiveBlock>); 6] = [
        |blocks| blocks.truncate(6),
        |blocks| blocks.swap(1, 2),
        |blocks| blocks[1].len_bytes += 1,
        |blocks| blocks[1].len_bytes = u64::MAX,
        |blocks| blocks[6].unpadded_len += 1000,
        |blocks| blocks[3].archive_offset = u64::MAX - 5,
    ];
    for spoil in spoil {
        let mut archive = archive_of(&path.with_extension("crc32"), Check::Crc32);
        spoil(&mut archive.blocks);
        let options = PackerOptions {
            packing: Packing::Xz,
            level: 1,
            jobs: 1,
            archive: Some(archive),
            folder: dir.path(),
        };
        assert!(matches!(Packer::new(Arc::clone(&base), options), Err(Error::Archive { .. })));
    }
}

#[test]
fn a_piece_that_does_not_decode_to_its_source_is_found() {
    let source = codec::Source::Bytes(noise(3, 100_000));
    let never = Interrupt::default();
    for packing in ALL {
        for check in CHECKS {
            let codec = Codec { packing, level: 1, check };
            let mut packed = Vec::new();
            let block = codec.pack(&source, &mut packed, &never).unwrap();
            codec.verify(&source, &block, &mut packed.as_slice(), &never).unwrap();
            let mut other = noise(3, 100_000);
            other[99_999] ^= 1;
            let other = codec::Source::Bytes(other);
            let verdict = codec.verify(&other, &block, &mut packed.as_slice(), &never);
            assert!(matches!(verdict, Err(Error::Miscompressed { .. })), "{packing:?} {verdict:?}");
            let middle = packed.len() / 2;
            packed[middle] ^= 1;
            let verdict = codec.verify(&source, &block, &mut packed.as_slice(), &never);
            assert!(matches!(verdict, Err(Error::Miscompressed { .. })), "{packing:?} {verdict:?}");
        }
    }
}

#[test]
fn an_image_that_was_interrupted_or_refused_leaves_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    let (_, base) = write_base(dir.path());
    let packer = packer(&base, Packing::Xz, 1, None, dir.path());
    let interrupt = Interrupt::default();
    interrupt.raise();
    let options = Options { secret: true, reflink: false, interrupt: &interrupt, progress: &Silent };
    let staged = packer.stage(&node(&base, &[1]), &[], &dir.path().join("node.img.xz"), options);
    assert!(matches!(staged, Err(Error::Interrupted(_))));
    let short = Overlay::new(crate::block::Memory::new(vec![0; 5]));
    let options = Options { interrupt: &Interrupt::default(), ..options };
    let staged = packer.stage(&short, &[], &dir.path().join("node.img.xz"), options);
    assert!(matches!(staged, Err(Error::Edited(_))), "shorter than the base");
    drop(packer);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn an_image_with_secrets_is_for_its_owner_only() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().unwrap();
    let (_, base) = write_base(dir.path());
    let packer = packer(&base, Packing::Zstd, 1, None, dir.path());
    let interrupt = Interrupt::default();
    for (secret, mode) in [(true, 0o600), (false, 0o644)] {
        let target = dir.path().join("node.img.zst");
        let options = Options { secret, reflink: false, interrupt: &interrupt, progress: &Silent };
        let staged = packer.stage(&base, &[], &target, options).unwrap();
        assert_eq!(staged.path().metadata().unwrap().permissions().mode() & 0o777, mode);
        staged.commit().unwrap();
        assert_eq!(target.metadata().unwrap().permissions().mode() & 0o777, mode);
    }
}

#[test]
fn a_full_disk_is_told_wherever_it_is_and_nothing_is_left_on_it() {
    let Some(full) = Mounted::tmpfs("size=1m") else { return };
    let dir = tempfile::tempdir().unwrap();
    let (path, base) = write_base(dir.path());
    let (full, free) = (full.0.path().to_owned(), dir.path().to_owned());
    let archive = pack_with_xz(&path, Check::Crc64);
    for (archive, folder, target) in
        [(Some(archive), &free, &full), (None, &free, &full), (None, &full, &free)]
    {
        let spliced = archive.is_some();
        let packer = packer(&base, Packing::Xz, 2, archive, folder);
        let interrupt = Interrupt::default();
        let options = Options { secret: false, reflink: false, interrupt: &interrupt, progress: &Silent };
        let staged = packer.stage(&base, &[], &target.join("node.img.xz"), options);
        let mut error = staged.unwrap_err();
        // What is for all nodes fails for all.
        if let Error::Piece(shared) = error {
            drop(packer);
            error = Arc::into_inner(shared).unwrap();
        }
        match error {
            Error::NoSpace { path, needed_bytes, free_bytes } => {
                assert!(path.starts_with(&full), "{path:?}");
                // Known before the first byte only where nothing is left to be compressed.
                assert!(!spliced || needed_bytes > free_bytes);
            }
            error => panic!("{error:?}"),
        }
        assert_eq!(std::fs::read_dir(&full).unwrap().count(), 0);
    }
}

#[test]
fn shared_pieces_are_told_of_as_they_get_done_not_as_they_are_written() {
    let progress = Counted::default();
    let mut told = Told::new(&progress);
    let tickets: Vec<pool::Ticket> = (0..3).map(|_| pool::Ticket::default()).collect();
    told.waiting = tickets.iter().zip([1, 20, 300]).map(|(ticket, len)| (Arc::clone(ticket), len)).collect();
    let failed = || Err(Arc::new(Error::Piece(Arc::new(Error::Archive { what: "", found: 0, wanted: 0 }))));
    tickets[2].set(failed()).unwrap();
    told.tell();
    told.tell();
    assert_eq!((progress.sum(), told.waiting.len()), (300, 2));
    // Just told of: not yet again.
    tickets[0].set(failed()).unwrap();
    told.looked = Instant::now();
    told.look();
    assert_eq!(progress.sum(), 300);
    told.tell();
    assert_eq!(progress.sum(), 301);
}

#[test]
fn all_of_an_image_is_told_of_in_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let (path, base) = write_base(dir.path());
    for (packing, archive) in [
        (Packing::Gzip, None),
        (Packing::Zstd, None),
        (Packing::Xz, None),
        (Packing::Xz, Some(pack_with_xz(&path, Check::Crc64))),
    ] {
        let packer = packer(&base, packing, 2, archive, dir.path());
        let node = node(&base, &[5_000, 3 << 20]);
        let (progress, interrupt) = (Counted::default(), Interrupt::default());
        let options = Options { secret: false, reflink: false, interrupt: &interrupt, progress: &progress };
        packer.stage(&node, &node.dirty_extents(), &dir.path().join("told"), options).unwrap();
        assert_eq!(progress.sum(), node.len_bytes(), "{packing:?}");
    }
}

#[derive(Default)]
struct Counted(std::sync::atomic::AtomicU64);

impl Counted {
    fn sum(&self) -> u64 {
        self.0.load(std::sync::atomic::Ordering::Relaxed)
    }
}

impl Progress for Counted {
    fn start(&self, _: &str, _: Option<u64>) {}
    fn advance(&self, bytes: u64) {
        self.0.fetch_add(bytes, std::sync::atomic::Ordering::Relaxed);
    }
    fn finish(&self) {}
}
