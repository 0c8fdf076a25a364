use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::process::{Command, Stdio};
use std::sync::Mutex;

use super::*;

/// A disk of 9 MiB and 1000 bytes: a table's mark, data, a long hole, data that packs badly.
fn image() -> Vec<u8> {
    let mut image = vec![0; (9 << 20) + 1000];
    image[510..512].copy_from_slice(&[0x55, 0xaa]);
    image[4096..20_000].fill(7);
    let mut state = 1_u64;
    for byte in &mut image[7 << 20..] {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        *byte = (state >> 56) as u8;
    }
    image
}

/// Writes down which jobs were announced.
#[derive(Default)]
struct Jobs(Mutex<Vec<String>>);

impl Progress for Jobs {
    fn start(&self, what: &str, _total_bytes: Option<u64>) {
        self.0.lock().unwrap().push(what.to_owned());
    }
    fn advance(&self, _bytes: u64) {}
    fn finish(&self) {}
}

/// A folder with a cache, and files put there by the test.
struct World {
    dir: tempfile::TempDir,
    cache: Cache,
}

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::at(dir.path().join("cache"));
        Self { dir, cache }
    }

    fn put(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.dir.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }

    fn open(&self, path: &Path) -> Result<BaseImage, Error> {
        open_base(&LocalImage::at(path), &self.cache, &crate::base::Silent, &Interrupt::default())
    }

    /// Opens, and says which jobs that took.
    fn jobs_to_open(&self, path: &Path) -> Vec<String> {
        let jobs = Jobs::default();
        open_base(&LocalImage::at(path), &self.cache, &jobs, &Interrupt::default()).unwrap();
        jobs.0.into_inner().unwrap()
    }

    /// What is in the cache besides the notes on files.
    fn held(&self) -> Vec<String> {
        let Ok(entries) = std::fs::read_dir(self.cache.dir()) else { return Vec::new() };
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| !name.starts_with("seen-")).collect()
    }
}

/// What a tool makes of `input`, by way of its standard streams.
fn pack(program: &str, args: &[&str], input: &[u8]) -> Vec<u8> {
    let mut file = tempfile::tempfile().unwrap();
    io::Write::write_all(&mut file, input).unwrap();
    io::Seek::rewind(&mut file).unwrap();
    let output = Command::new(program).args(args).stdin(Stdio::from(file)).output();
    let output = output.unwrap_or_else(|error| panic!("{program} is not installed: {error}"));
    assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

fn xz(args: &[&str], input: &[u8]) -> Vec<u8> {
    pack("xz", &[&["--stdout", "-1"], args].concat(), input)
}

fn zip(members: &[(&str, &[u8])], args: &[&str]) -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    for (name, bytes) in members {
        let path = dir.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }
    let mut zip = Command::new("zip");
    zip.current_dir(dir.path()).args(["-q", "-r", "-1"]).args(args).args(["out.zip", "."]);
    assert!(zip.output().expect("zip is installed").status.success());
    std::fs::read(dir.path().join("out.zip")).unwrap()
}

/// Every archive that holds `image()`.
fn archives() -> Vec<(&'static str, Vec<u8>)> {
    let image = image();
    let (one, two) = image.split_at(5 << 20);
    let padded = [xz(&[], one), vec![0; 8], xz(&["--check=sha256"], two), vec![0; 4]].concat();
    vec![
        ("xz of many blocks", xz(&["-T0", "--block-size=1MiB"], &image)),
        ("xz of one block", xz(&["-T1"], &image)),
        ("xz of two streams", [xz(&[], one), xz(&["-T0", "--block-size=1MiB"], two)].concat()),
        ("xz with stream padding", padded),
        ("xz without check", xz(&["--check=none"], &image)),
        ("gzip", pack("gzip", &["-c", "-1"], &image)),
        ("gzip of two members", [pack("gzip", &["-c"], one), pack("gzip", &["-c"], two)].concat()),
        ("gzip with zeros after", [pack("gzip", &["-c", "-1"], &image), vec![0; 700]].concat()),
        ("zstd", pack("zstd", &["-q", "-c"], &image)),
        ("zstd of two frames", [pack("zstd", &["-q", "-c"], one), pack("zstd", &["-q", "-c"], two)].concat()),
        ("zip", zip(&[("readme.txt", b"hello"), ("a.IMG", &image)], &[])),
        ("zip, stored", zip(&[("dir/a.img", &image), ("__MACOSX/a.img", b"shadow")], &["-0"])),
        ("zip by pipe", pack("zip", &["-q", "-", "-"], &image)),
    ]
}

#[test]
fn every_kind_of_archive_gives_the_same_image_once() {
    let image = image();
    for (kind, archive) in archives() {
        let world = World::new();
        if kind == "zip by pipe" {
            // Its member is called `-`.
            let path = world.put("base", &archive);
            assert!(matches!(world.open(&path), Err(Error::Unsupported { .. })), "{kind}");
            continue;
        }
        let path = world.put("base", &archive);
        let base = world.open(&path).unwrap_or_else(|error| panic!("{kind}: {error:?}"));
        assert!(std::fs::read(&base.path).unwrap() == image, "{kind}");
        assert_eq!(base.len_bytes, image.len() as u64, "{kind}");
        assert_eq!(base.archive_sha256, Some(Sha256Digest::of(&archive)), "{kind}");
        assert_eq!(base.archive_len, archive.len() as u64, "{kind}");
        assert_eq!(base.image_sha256, Some(Sha256Digest::of(&image)), "{kind}");
        let chunks: Vec<Sha256Digest> = image.chunks(256 << 10).map(Sha256Digest::of).collect();
        assert_eq!(base.digests.chunks(), chunks, "{kind}");
        assert!(base.file.metadata().unwrap().blocks() * 512 < 4 << 20, "{kind}: the holes were filled");
        assert_eq!(world.jobs_to_open(&path), [""; 0], "{kind}: done again");
        let copy = world.put("copy", &archive);
        assert_eq!(world.jobs_to_open(&copy), ["hash the file"], "{kind}: unpacked again");
        assert_eq!(world.held().len(), 2, "{kind}");
    }
}

#[test]
fn a_raw_image_is_used_where_it_is_and_hashed_once() {
    let world = World::new();
    let path = world.put("base.zip", &image()); // the name does not decide
    let base = world.open(&path).unwrap();
    assert_eq!((base.archive_sha256, base.image_sha256), (None, None));
    let hashed = LocalImage { is_hashed: true, ..LocalImage::at(&path) };
    let base = open_base(&hashed, &world.cache, &crate::base::Silent, &Interrupt::default()).unwrap();
    assert_eq!(
        (base.archive_sha256, base.image_sha256),
        (Some(Sha256Digest::of(&image())), base.archive_sha256)
    );
    assert_eq!(base.path, path.canonicalize().unwrap());
    let chunks: Vec<Sha256Digest> = image().chunks(256 << 10).map(Sha256Digest::of).collect();
    assert_eq!(base.digests.chunks(), chunks);
    assert_eq!(world.jobs_to_open(&path), [""; 0]);
    std::fs::File::options().write(true).open(&path).unwrap().set_len(8 << 20).unwrap();
    assert_eq!(world.jobs_to_open(&path), ["hash the base image"]);
    assert_eq!(world.held(), [""; 0]);
}

#[test]
fn raw_and_packed_have_the_same_digests() {
    let world = World::new();
    let raw = world.open(&world.put("a", &image())).unwrap();
    let packed = world.open(&world.put("b", &xz(&[], &image()))).unwrap();
    assert_eq!(raw.digests.root(), packed.digests.root());
}

#[test]
fn a_file_with_another_digest_than_expected_is_refused_and_leaves_nothing() {
    let world = World::new();
    let archive = xz(&[], &image());
    for (path, bytes) in [(world.put("a.xz", &archive), archive), (world.put("a.img", &image()), image())] {
        let open = |expected| {
            let image = LocalImage { sha256: Some(expected), ..LocalImage::at(&path) };
            open_base(&image, &world.cache, &crate::base::Silent, &Interrupt::default())
        };
        let wrong = Sha256Digest::of(b"another");
        assert!(matches!(open(wrong), Err(Error::Digest { wanted, .. }) if wanted == wrong));
        assert_eq!(world.held(), [""; 0]);
        assert_eq!(open(Sha256Digest::of(&bytes)).unwrap().archive_sha256, Some(Sha256Digest::of(&bytes)));
        assert!(matches!(open(wrong), Err(Error::Digest { .. })));
        let _ = std::fs::remove_dir_all(world.cache.dir());
    }
}

#[test]
fn cut_short_archives_are_refused_and_leave_nothing() {
    for (kind, archive) in archives() {
        if kind.contains("two") || kind.contains("zeros") || kind.contains("padding") || kind.contains("pipe")
        {
            continue; // half of it may be whole
        }
        for len in [archive.len() - 1, archive.len() / 2, 20] {
            let world = World::new();
            let path = world.put("base", &archive[..len]);
            let error = world.open(&path).expect_err(kind);
            let is_zip = kind.starts_with("zip");
            match error {
                Error::Truncated { offset, .. } => assert_eq!(offset, len as u64, "{kind}"),
                Error::Corrupt { .. } if is_zip => {}
                other => panic!("{kind} cut to {len}: {other:?}"),
            }
            assert_eq!(world.held(), [""; 0], "{kind}");
        }
    }
}

#[test]
fn spoilt_archives_are_refused_and_leave_nothing() {
    for (kind, archive) in archives() {
        if kind == "xz without check" || kind == "zip by pipe" {
            continue;
        }
        for place in [3, 2] {
            let world = World::new();
            let mut spoilt = archive.clone();
            let at = archive.len() * 2 / place - 2000;
            let at = at.min(archive.len() - 3000);
            spoilt[at] ^= 0x55;
            let path = world.put("base", &spoilt);
            match world.open(&path) {
                Err(Error::Corrupt { .. }) => {}
                other => panic!("{kind} spoilt at {at}: {other:?}"),
            }
            assert_eq!(world.held(), [""; 0], "{kind}");
        }
    }
}

#[test]
fn what_follows_an_archive_is_refused_with_its_place() {
    for (program, args) in [("xz", vec!["-c", "-1"]), ("gzip", vec!["-c", "-1"]), ("zstd", vec!["-q", "-c"])]
    {
        let world = World::new();
        let archive = pack(program, &args, &image());
        let path = world.put("base", &[&archive[..], b"junkjunk"].concat());
        match world.open(&path) {
            Err(Error::Trailing { offset, .. }) if program != "zstd" => {
                assert_eq!(offset, archive.len() as u64)
            }
            Err(Error::Trailing { .. }) => {}
            other => panic!("{program}: {other:?}"),
        }
        assert_eq!(world.held(), [""; 0], "{program}");
    }
}

#[test]
fn what_is_no_image_is_refused_and_leaves_nothing() {
    let zeros = vec![0; 1 << 20];
    let inner = xz(&[], &image());
    let cases: [(&str, Vec<u8>); 6] = [
        ("zeros", zeros.clone()),
        ("packed zeros", xz(&[], &zeros)),
        ("an archive in an archive", pack("gzip", &["-c"], &inner)),
        ("a short text", b"hello".to_vec()),
        ("nothing", Vec::new()),
        ("packed nothing", xz(&[], b"")),
    ];
    for (kind, bytes) in cases {
        let world = World::new();
        let path = world.put("base.img", &bytes);
        assert!(matches!(world.open(&path), Err(Error::NotAnImage { .. })), "{kind}");
        assert_eq!(world.held(), [""; 0], "{kind}");
    }
    let world = World::new();
    for bytes in [&b"<!DOCTYPE html><html>"[..], b"BZh91AY&SY"] {
        let path = world.put("base.img", bytes);
        assert!(matches!(world.open(&path), Err(Error::Unsupported { .. })));
    }
    assert!(matches!(world.open(world.dir.path()), Err(Error::NotAFile(_))));
    assert!(matches!(world.open(&world.dir.path().join("none")), Err(Error::Io { action: "open", .. })));
}

#[test]
fn a_zip_without_exactly_one_plain_image_is_refused() {
    let image = image();
    let cases = [
        ("none", zip(&[("a.txt", b"x")], &[])),
        ("two", zip(&[("a.img", &image), ("b.img", &image)], &[])),
        ("encrypted", zip(&[("a.img", &image)], &["-P", "secret"])),
    ];
    for (kind, archive) in cases {
        let world = World::new();
        match world.open(&world.put("base.zip", &archive)) {
            Err(Error::Unsupported { found, .. }) => assert!(found.contains("zip"), "{kind}: {found}"),
            other => panic!("{kind}: {other:?}"),
        }
    }
}

#[test]
fn an_archive_that_unpacks_without_end_is_refused_early() {
    // 65 GiB of zeros would take xz a while to make; its index can be asked what it says.
    let world = World::new();
    let path = world.put("base.xz", &xz(&["-T0", "--block-size=1MiB"], &image()));
    let file = File::open(path).unwrap();
    assert_eq!(format::stated_len(&file, Format::Xz), Some(image().len() as u64));
    let path = world.put("base.zst", &{
        let file = world.put("raw", &image());
        pack("zstd", &["-q", "-c", file.to_str().unwrap()], b"")
    });
    assert_eq!(format::stated_len(&File::open(path).unwrap(), Format::Zst), Some(image().len() as u64));

    let path = world.put("bomb.gz", &pack("gzip", &["-c"], &image()));
    let file = File::open(&path).unwrap();
    let target = tempfile::tempfile().unwrap();
    let (progress, interrupt) = (crate::base::Silent, Interrupt::default());
    let job = decode::Job {
        path: &path,
        file: &file,
        arriving: None,
        wanted: super::Wanted::Disk,
        format: Format::Gz,
        limit: 1 << 20,
        progress: &progress,
        interrupt: &interrupt,
    };
    let result = job.unpack(&mut raw::RawWriter::new(&target));
    assert!(matches!(result, Err(Error::TooLong { limit: 0x10_0000, .. })), "{result:?}");
}

#[test]
fn a_spoilt_cache_entry_is_noticed_and_made_again() {
    let world = World::new();
    let path = world.put("base.xz", &xz(&[], &image()));
    let entry = world.open(&path).unwrap().path;
    let record = entry.with_extension("json");
    let unpack = ["unpack the base image"];
    File::options().write(true).open(&entry).unwrap().set_len(1000).unwrap();
    let made_again = |jobs: Vec<String>| jobs.iter().any(|job| unpack.contains(&job.as_str()));
    assert!(made_again(world.jobs_to_open(&path)), "a cut image");
    assert!(std::fs::read(&entry).unwrap() == image());
    std::fs::write(&record, b"{").unwrap();
    assert!(made_again(world.jobs_to_open(&path)), "a cut record");
    std::fs::remove_file(&entry).unwrap();
    assert!(made_again(world.jobs_to_open(&path)), "no image");
    assert_eq!(world.jobs_to_open(&path), [""; 0]);
}

#[test]
fn a_cached_image_that_was_touched_is_judged_by_its_digests() {
    let world = World::new();
    let path = world.put("base.xz", &xz(&[], &image()));
    let entry = world.open(&path).unwrap().path;
    let spoil = |offset: u64, byte: u8| {
        let file = File::options().write(true).open(&entry).unwrap();
        crate::block::host::write_all_at(&file, &[byte], offset).unwrap();
    };
    spoil(5000, 7);
    assert_eq!(world.jobs_to_open(&path), ["check the cached image"], "touched, and still whole");
    assert_eq!(world.jobs_to_open(&path), [""; 0], "known to be whole again");
    spoil(5000, 8);
    let again = ["check the cached image", "unpack the base image"];
    assert_eq!(world.jobs_to_open(&path), again, "one byte is another");
    assert!(std::fs::read(&entry).unwrap() == image());
}

#[test]
fn what_a_killed_process_left_is_removed() {
    let world = World::new();
    std::fs::create_dir_all(world.cache.dir()).unwrap();
    let left = world.cache.dir().join("file-abc.img.part");
    std::fs::write(&left, b"half").unwrap();
    let taken = world.cache.dir().join("file-def.img.part");
    std::fs::write(&taken, b"half").unwrap();
    let lock = File::create(world.cache.dir().join("file-def.lock")).unwrap();
    lock.lock().unwrap();
    world.open(&world.put("base.xz", &xz(&[], &image()))).unwrap();
    assert!(!left.exists());
    assert!(taken.exists(), "another process is at work on it");
}

#[test]
fn the_cache_tells_what_it_holds_and_lets_go_of_it() {
    use std::time::{Duration, SystemTime};
    let world = World::new();
    let (one, two) =
        (world.put("one.xz", &xz(&[], &image())), world.put("two.gz", &pack("gzip", &["-c"], &image())));
    let bases = [world.open(&one).unwrap(), world.open(&two).unwrap()];
    let listed = world.cache.list();
    let origins: Vec<&str> = listed.iter().map(|stored| stored.origin.as_str()).collect();
    assert_eq!(
        origins,
        [two.canonicalize().unwrap().to_str().unwrap(), one.canonicalize().unwrap().to_str().unwrap()]
    );
    for stored in &listed {
        assert_eq!((stored.image_len, stored.image_sha256), (image().len() as u64, bases[0].image_sha256));
        assert!(stored.disk_bytes > 2 << 20 && stored.disk_bytes < 4 << 20, "{stored:?}");
    }
    let now = SystemTime::now();
    let prune = |age, bytes| world.cache.prune(age, bytes, now + Duration::from_secs(3600)).unwrap();
    assert_eq!(prune(Some(Duration::from_secs(7200)), None), Pruned::default());
    assert_eq!(prune(None, Some(listed[0].disk_bytes * 2)), Pruned::default());
    let pruned = prune(None, Some(listed[0].disk_bytes));
    assert_eq!(pruned.images, listed[1..], "the one used longest ago");
    assert!(!listed[1].path.exists() && listed[0].path.exists());
    std::fs::write(world.cache.dir().join("get-abc.part"), b"the beginning").unwrap();
    assert_eq!(world.cache.unfinished(), [13]);
    std::fs::remove_file(&one).unwrap();
    let pruned = prune(Some(Duration::from_secs(1800)), None);
    assert_eq!(
        (&pruned.images[..], pruned.leftovers),
        (&listed[..1], 2),
        "the image, the download, a note on one.xz"
    );
    assert!(world.cache.list().is_empty() && world.cache.unfinished().is_empty());
    assert_eq!(bases[0].file.metadata().unwrap().len(), image().len() as u64, "who has it open keeps it");
}

#[test]
fn verifying_the_cache_finds_one_bit_and_removes_its_image() {
    let world = World::new();
    let (one, two) =
        (world.put("one.xz", &xz(&[], &image())), world.put("two.gz", &pack("gzip", &["-c"], &image())));
    let (one, two) = (world.open(&one).unwrap(), world.open(&two).unwrap());
    let (kept_date, file) = (
        one.file.metadata().unwrap().modified().unwrap(),
        File::options().write(true).open(&one.path).unwrap(),
    );
    crate::block::host::write_all_at(&file, &[6], 5000).unwrap();
    file.set_modified(kept_date).unwrap();
    let verdicts = world.cache.verify(&crate::base::Silent, &Interrupt::default()).unwrap();
    let told: Vec<_> = verdicts.iter().map(|(stored, condition)| (stored.path.clone(), *condition)).collect();
    assert_eq!(told, [(two.path.clone(), Condition::Whole), (one.path.clone(), Condition::Damaged)]);
    assert_eq!(world.cache.list().len(), 1);
    assert!(!one.path.exists());
}

#[test]
fn two_at_once_unpack_once() {
    let world = World::new();
    let path = world.put("base.xz", &xz(&[], &image()));
    let jobs = Jobs::default();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                open_base(&LocalImage::at(&path), &world.cache, &jobs, &Interrupt::default()).unwrap()
            });
        }
    });
    assert_eq!(jobs.0.into_inner().unwrap(), ["unpack the base image"]);
}

#[test]
fn an_interrupt_stops_and_leaves_nothing() {
    for (kind, archive) in archives() {
        let world = World::new();
        let path = world.put("base", &archive);
        let interrupt = Interrupt::default();
        interrupt.raise();
        let result = open_base(&LocalImage::at(&path), &world.cache, &crate::base::Silent, &interrupt);
        let is_interrupted = matches!(result, Err(Error::Interrupted(_)));
        assert!(is_interrupted || kind == "zip by pipe", "{kind}: {result:?}");
        assert_eq!(world.held(), [""; 0], "{kind}");
    }
}
