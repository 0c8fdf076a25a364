//! Images from a server that misbehaves, into a cache that stays sound.

use std::fs;
use std::io::Write as _;
use std::sync::Mutex;
use std::time::Duration;

use super::*;
use crate::base::Interrupt;
use crate::source::net::tests::quick;
use crate::source::server::{Reply, Server};
use crate::source::{Cache, Client};

const FILE: &str = "/os/image.img.xz";
const SUMS: &str = "/os/image.img.xz.sha256";
const TAG: &str = "\"one\"";

/// A disk of 3 MiB and a bit: a table's mark, a hole, data that packs badly.
fn image(seed: u64) -> Vec<u8> {
    let mut image = vec![0; (3 << 20) + 1000];
    let mut state = seed;
    for byte in &mut image[2 << 20..] {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        *byte = (state >> 56) as u8;
    }
    image[510..512].copy_from_slice(&[0x55, 0xaa]);
    image
}

fn xz(image: &[u8]) -> Vec<u8> {
    let mut packer = xz2::write::XzEncoder::new(Vec::new(), 1);
    packer.write_all(image).unwrap();
    packer.finish().unwrap()
}

fn gz(image: &[u8]) -> Vec<u8> {
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packer.write_all(image).unwrap();
    packer.finish().unwrap()
}

fn zip(image: &[u8]) -> Vec<u8> {
    let mut packer = zip::ZipWriter::new(io::Cursor::new(Vec::new()));
    packer.start_file("a.img", zip::write::SimpleFileOptions::default()).unwrap();
    packer.write_all(image).unwrap();
    packer.finish().unwrap().into_inner()
}

/// Writes down what the user reads.
#[derive(Default)]
struct Notes(Mutex<Vec<String>>);

impl Progress for Notes {
    fn start(&self, _what: &str, _total_bytes: Option<u64>) {}
    fn advance(&self, _bytes: u64) {}
    fn finish(&self) {}
    fn note(&self, text: &str) {
        self.0.lock().unwrap().push(text.to_owned());
    }
}

struct World {
    server: Server,
    client: Client,
    dir: tempfile::TempDir,
    cache: Cache,
    notes: Notes,
    interrupt: Interrupt,
}

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::at(dir.path().join("cache"));
        let client = Client::new(quick(), false).unwrap();
        let (notes, interrupt) = (Notes::default(), Interrupt::default());
        Self { server: Server::start(), client, dir, cache, notes, interrupt }
    }

    fn with(reply: Reply) -> Self {
        let world = Self::new();
        world.server.serve(FILE, reply);
        world
    }

    fn tools(&self) -> Tools<'_> {
        let Self { client, cache, interrupt, notes, .. } = self;
        Tools { cache, client, progress: notes, interrupt }
    }

    /// The image at the address, of which nothing is known.
    fn unknown(&self) -> RemoteImage {
        RemoteImage::at(&self.server.url(FILE))
    }

    /// The image at the address, of which everything is known.
    fn known(&self, archive: &[u8], image: &[u8]) -> RemoteImage {
        RemoteImage {
            archive_len: Some(archive.len() as u64),
            archive_sha256: Some(Sha256Digest::of(archive)),
            image_len: Some(image.len() as u64),
            image_sha256: Some(Sha256Digest::of(image)),
            ..self.unknown()
        }
    }

    fn open(&self, image: &RemoteImage) -> Result<BaseImage, Error> {
        open_remote(image, self.tools())
    }

    /// Opens, and sees that it is this very image and that nothing but it is left in the cache.
    fn opens(&self, wanted: &RemoteImage, image: &[u8], what: &str) {
        let base = self.open(wanted).unwrap_or_else(|error| panic!("{what}: {error:?}"));
        assert!(fs::read(&base.path).unwrap() == image, "{what}");
        assert_eq!(base.image_sha256, Some(Sha256Digest::of(image)), "{what}");
        let chunks: Vec<Sha256Digest> = image.chunks(256 << 10).map(Sha256Digest::of).collect();
        assert_eq!(base.digests.chunks(), chunks, "{what}");
        assert_eq!(self.parts(), [""; 0], "{what}");
        assert_eq!(self.cache.list().len(), 1, "{what}");
    }

    /// What in the cache is not finished.
    fn parts(&self) -> Vec<String> {
        let names = fs::read_dir(self.cache.dir()).into_iter().flatten();
        let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name.contains(".part") || name.ends_with(".lock")).collect()
    }

    fn notes(&self) -> String {
        self.notes.0.lock().unwrap().join("\n")
    }
}

#[test]
fn every_kind_of_archive_is_fetched_once_whether_much_or_nothing_is_known_of_it() {
    let image = image(1);
    for (kind, archive) in
        [("xz", xz(&image)), ("gzip", gz(&image)), ("zip", zip(&image)), ("raw", image.clone())]
    {
        let world = World::with(Reply::file(&archive).tag(TAG));
        world.opens(&world.known(&archive, &image), &image, kind);
        assert_eq!(world.server.sent_bytes(FILE), archive.len() as u64, "{kind}");
        world.opens(&world.known(&archive, &image), &image, kind);
        assert_eq!(world.server.all_requests().len(), 1, "{kind}: asked again for what is known");

        let world = World::with(Reply::file(&archive).tag(TAG));
        world.opens(&world.unknown(), &image, kind);
        world.opens(&world.unknown(), &image, kind);
        assert_eq!(world.server.sent_bytes(FILE), archive.len() as u64, "{kind}: fetched twice");
        // The same bytes under another name of theirs.
        world.opens(&world.known(&archive, &image), &image, kind);
        assert_eq!(world.server.sent_bytes(FILE), archive.len() as u64, "{kind}: fetched for their name");
    }
}

#[test]
fn wherever_the_connection_breaks_nothing_is_fetched_twice() {
    let image = image(2);
    let archive = xz(&image);
    let mut breaks: Vec<usize> = vec![1, 5, 511, 512, 513, archive.len() - 1];
    breaks.extend((1..12).map(|nth| archive.len() * nth / 12));
    for after in breaks {
        let world = World::new();
        let whole = Reply::file(&archive).tag(TAG);
        world.server.script(FILE, [whole.clone().resets_after(after), whole]);
        world.opens(&world.known(&archive, &image), &image, &format!("reset after {after}"));
        let requests = world.server.requests(FILE);
        let sent = world.server.sent_bytes(FILE);
        // What was on its way when the connection broke may be lost.
        assert!(sent <= (archive.len() + after) as u64, "reset after {after}: {sent} bytes, {requests:?}");
        assert!(requests[1].range.is_some() || after < 600, "reset after {after}: {requests:?}");
    }
}

#[test]
fn a_file_that_changes_between_two_tries_is_taken_as_it_is_at_last() {
    let (old, new) = (image(3), image(4));
    let (old_archive, new_archive) = (xz(&old), xz(&new));
    let world = World::new();
    let after = old_archive.len() / 2;
    world.server.script(
        FILE,
        [Reply::file(&old_archive).tag(TAG).resets_after(after), Reply::file(&new_archive).tag("\"two\"")],
    );
    world.opens(&world.unknown(), &new, "nothing known");
    assert_eq!(world.server.requests(FILE)[1].if_range.as_deref(), Some(TAG));
}

#[test]
fn garbage_from_an_earlier_run_does_not_spoil_what_comes_after_it() {
    // The server has another file than the one whose beginning is there: the decoder has choked on that already.
    let image = image(5);
    let archive = xz(&image);
    let world = World::with(Reply::file(&archive).tag("\"two\""));
    let wanted = world.known(&archive, &image);
    let key = cache::key_of_archive(wanted.archive_sha256, &wanted.url);
    let lock = world.cache.lock(&key, &world.notes, &world.interrupt).unwrap();
    let mut spoilt = archive.clone();
    spoilt[700..3000].fill(9);
    fs::write(lock.archive_path(), &spoilt[..archive.len() / 2]).unwrap();
    let record = serde_json::json!({
        "url": wanted.url, "etag": TAG, "last_modified": null, "validator": TAG, "total_bytes": archive.len()
    });
    fs::write(net::record_path(&lock.archive_path()), record.to_string()).unwrap();
    drop(lock);
    world.opens(&wanted, &image, "another file by now");
}

#[test]
fn a_wrong_digest_names_both_is_tried_once_more_and_leaves_nothing() {
    let (image, other) = (image(6), image(7));
    let (archive, wrong) = (xz(&image), xz(&other));
    let world = World::with(Reply::file(&wrong).tag(TAG));
    let wanted = RemoteImage { archive_len: None, ..world.known(&archive, &image) };
    match world.open(&wanted) {
        Err(Error::Digest { found, wanted, .. }) => {
            assert_eq!((found, wanted), (Sha256Digest::of(&wrong), Sha256Digest::of(&archive)));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(world.server.sent_bytes(FILE), 2 * wrong.len() as u64, "once more");
    assert!(world.notes().contains("fetching it once more"), "{}", world.notes());
    assert!(world.parts().is_empty() && world.cache.list().is_empty(), "{:?}", world.parts());

    // Right the second time, or what cannot even be unpacked the first time.
    for first in [wrong, b"PK\x03\x04 but no archive".repeat(100), vec![0x55; 5000]] {
        let world = World::new();
        world.server.script(FILE, [Reply::file(&first).tag(TAG), Reply::file(&archive).tag("\"two\"")]);
        let wanted = RemoteImage { archive_len: None, ..world.known(&archive, &image) };
        world.opens(&wanted, &image, "right the second time");
    }
}

#[test]
fn the_side_file_says_what_the_image_must_be() {
    let (image, other) = (image(8), image(9));
    let archive = xz(&image);
    let sums = format!("{}  image.img.xz\n", Sha256Digest::of(&archive));
    let world = World::with(Reply::file(&archive));
    world.server.serve(SUMS, Reply::status(200).body(sums.as_bytes()));
    world.opens(&world.unknown(), &image, "as the side file says");

    let world = World::with(Reply::file(&xz(&other)));
    world.server.serve(SUMS, Reply::status(200).body(sums.as_bytes()));
    let error = world.open(&world.unknown()).unwrap_err();
    assert!(matches!(error, Error::Digest { wanted, .. } if wanted == Sha256Digest::of(&archive)), "{error}");
    assert!(world.parts().is_empty() && world.cache.list().is_empty());

    for no_sums in [Reply::page(), Reply::status(403), Reply::status(200).body(b"soon\n")] {
        let world = World::with(Reply::file(&archive));
        world.server.serve(SUMS, no_sums);
        world.opens(&world.unknown(), &image, "no side file");
    }
}

#[test]
fn an_image_that_is_another_than_was_announced_is_refused() {
    let image = image(10);
    let archive = xz(&image);
    let world = World::with(Reply::file(&archive));
    let known = world.known(&archive, &image);
    let len = image.len() as u64;
    let other = Sha256Digest::of(b"other");
    for wanted in [
        RemoteImage { image_len: Some(len + 1), image_sha256: None, ..known.clone() },
        RemoteImage { image_len: Some(len - 1), ..known.clone() },
        RemoteImage { image_sha256: Some(other), ..known.clone() },
        RemoteImage { archive_len: Some(archive.len() as u64 - 1), ..known.clone() },
        RemoteImage { image_len: Some(IMAGE_LEN_MAX + 1), ..known },
    ] {
        let error = world.open(&wanted).unwrap_err();
        let is_told = matches!(
            error,
            Error::ImageLen { .. }
                | Error::ImageDigest { .. }
                | Error::TooLong { .. }
                | Error::Net(net::Error::Length { .. })
        );
        assert!(is_told, "{wanted:?}: {error:?}");
        assert!(world.cache.list().is_empty(), "{wanted:?}");
        assert!(!world.parts().iter().any(|name| name.ends_with(".img.part")), "{wanted:?}");
    }
}

#[test]
fn what_unpacks_without_end_or_to_no_disk_is_refused_before_it_is_fetched_to_the_end() {
    let image = image(11);
    let bomb = gz(&vec![0; 64 << 20]);
    let mut long = gz(&image);
    long.extend(gz(&image)); // two members: the image twice
    for (what, archive) in [
        ("zeros", bomb),
        ("a text", gz(b"hello")),
        ("a web page", b"<html>".to_vec()),
        ("bzip2", b"BZh91AY&SY".repeat(1000)),
        ("twice as long", long),
    ] {
        let world = World::with(Reply::file(&archive));
        let wanted = RemoteImage { image_len: Some(image.len() as u64), ..world.unknown() };
        let error = world.open(&wanted).unwrap_err();
        let is_told = matches!(
            error,
            Error::NotAnImage { .. }
                | Error::Unsupported { .. }
                | Error::TooLong { .. }
                | Error::Net(net::Error::WebPage { .. })
        );
        assert!(is_told, "{what}: {error:?}");
        assert!(world.parts().is_empty() && world.cache.list().is_empty(), "{what}: {:?}", world.parts());
    }
}

#[test]
fn offline_only_what_is_in_the_cache_serves() {
    let image = image(12);
    let archive = xz(&image);
    let world = World::with(Reply::file(&archive).tag(TAG));
    let offline = Client::new(quick(), true).unwrap();
    let tools = Tools { client: &offline, ..world.tools() };
    let (known, unknown) = (world.known(&archive, &image), world.unknown());
    for wanted in [&known, &unknown] {
        let error = open_remote(wanted, tools).unwrap_err();
        assert!(matches!(error, Error::Net(net::Error::Offline { .. })), "{error:?}");
    }
    assert!(world.server.all_requests().is_empty());
    world.opens(&unknown, &image, "online");
    let asked = world.server.all_requests().len();
    for wanted in [&known, &unknown] {
        assert!(fs::read(open_remote(wanted, tools).unwrap().path).unwrap() == image);
    }
    assert_eq!(world.server.all_requests().len(), asked);
    assert!(world.notes().contains("when it was last fetched"), "{}", world.notes());
}

#[test]
fn several_at_once_fetch_once() {
    let image = image(13);
    let archive = xz(&image);
    for _ in 0..10 {
        let world = World::with(Reply::file(&archive).tag(TAG));
        let wanted = world.known(&archive, &image);
        thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    let client = Client::new(quick(), false).unwrap();
                    let tools = Tools { client: &client, ..world.tools() };
                    assert!(fs::read(open_remote(&wanted, tools).unwrap().path).unwrap() == image);
                });
            }
        });
        assert_eq!(world.server.sent_bytes(FILE), archive.len() as u64);
        assert_eq!(world.parts(), [""; 0]);
    }
}

#[test]
fn what_there_is_no_room_for_is_refused_before_it_is_fetched() {
    let image = image(14);
    let archive = xz(&image);
    let world = World::with(Reply::file(&archive));
    fs::create_dir(world.cache.dir()).unwrap();
    let wanted = RemoteImage { archive_len: Some(1 << 60), ..world.known(&archive, &image) };
    let error = world.open(&wanted).unwrap_err();
    assert!(matches!(error, Error::NoSpace { needed_bytes, .. } if needed_bytes > 1 << 60), "{error:?}");
    assert!(world.server.all_requests().is_empty());
}

#[test]
fn an_interrupt_keeps_what_came_and_the_next_run_goes_on_with_it() {
    let image = image(15);
    let archive = xz(&image);
    let world = World::new();
    let half = archive.len() / 2;
    let stop = world.interrupt.clone();
    let whole = Reply::file(&archive).tag(TAG);
    let silent = whole.clone().falls_silent_after(half);
    world.server.route(FILE, move |nth, _| if nth == 0 { silent.clone() } else { whole.clone() });
    thread::scope(|scope| {
        scope.spawn(|| {
            while world.server.sent_bytes(FILE) < half as u64 {
                thread::sleep(Duration::from_millis(5));
            }
            thread::sleep(Duration::from_millis(300));
            stop.raise();
        });
        let error = world.open(&world.known(&archive, &image)).unwrap_err();
        assert!(matches!(error, Error::Interrupted(_)), "{error:?}");
    });
    assert_eq!(world.cache.unfinished(), [half as u64]);
    let interrupt = Interrupt::default();
    let tools = Tools { interrupt: &interrupt, ..world.tools() };
    let base = open_remote(&world.known(&archive, &image), tools).unwrap();
    assert!(fs::read(base.path).unwrap() == image);
    assert_eq!(world.server.sent_bytes(FILE), archive.len() as u64, "not one byte twice");
    assert!(world.dir.path().exists());
}

/// Blocks of 1 MiB of the raw image.
fn xz_of_blocks(image: &[u8]) -> Vec<u8> {
    let mut stream = xz2::stream::MtStreamBuilder::new();
    let stream = stream.threads(1).block_size(1 << 20).preset(1).encoder().unwrap();
    let mut packer = xz2::write::XzEncoder::new_stream(Vec::new(), stream);
    packer.write_all(image).unwrap();
    packer.finish().unwrap()
}

#[test]
fn an_archive_of_several_blocks_is_kept_beside_its_image_and_goes_with_it() {
    let image = image(31);
    let archive = xz_of_blocks(&image);
    let world = World::with(Reply::file(&archive).tag(TAG));
    let wanted = RemoteImage { is_archive_wanted: true, ..world.known(&archive, &image) };
    let kept = world.cache.dir().join(format!("{}.xz", Sha256Digest::of(&archive)));
    for what in ["fetched", "in the cache"] {
        world.opens(&wanted, &image, what);
        let index = world.open(&wanted).unwrap().archive.unwrap().index;
        let places: Vec<(u64, u64)> =
            index.blocks.iter().map(|block| (block.offset, block.len_bytes)).collect();
        let (mib, rest) = (1 << 20, image.len() as u64 - (3 << 20));
        assert_eq!(places, [(0, mib), (mib, mib), (2 * mib, mib), (3 * mib, rest)], "{what}");
        for block in &index.blocks {
            // The header of a block tells its length in words of four bytes, less one (§3.1.1); 0 would be an index.
            assert_ne!(archive[usize::try_from(block.archive_offset).unwrap()], 0, "{what}");
        }
        assert!(fs::read(&kept).unwrap() == archive, "{what}");
    }
    assert_eq!(world.server.all_requests().len(), 1);

    // Who does not need it is served without it; who does gets it again, whether it is gone or damaged.
    fs::remove_file(&kept).unwrap();
    world.opens(&world.known(&archive, &image), &image, "without the archive");
    assert_eq!(world.server.all_requests().len(), 1);
    world.opens(&wanted, &image, "gone");
    assert_eq!(world.server.all_requests().len(), 2);
    let mut damaged = archive.clone();
    damaged[5000] ^= 1;
    fs::write(&kept, &damaged).unwrap();
    world.opens(&wanted, &image, "damaged");
    assert_eq!(world.server.all_requests().len(), 3);
    assert!(fs::read(&kept).unwrap() == archive && world.notes().contains("damaged"), "{}", world.notes());

    world.cache.prune(None, Some(0), SystemTime::now()).unwrap();
    assert!(!kept.exists(), "it stays without its image");
}

#[test]
fn an_archive_of_one_block_is_not_kept() {
    let image = image(32);
    let archive = xz(&image);
    let world = World::with(Reply::file(&archive));
    let wanted = RemoteImage { is_archive_wanted: true, ..world.known(&archive, &image) };
    world.opens(&wanted, &image, "fetched");
    world.opens(&wanted, &image, "in the cache");
    assert!(world.open(&wanted).unwrap().archive.is_none());
    assert_eq!(world.server.all_requests().len(), 1);
    let kept = world.cache.dir().join(format!("{}.xz", Sha256Digest::of(&archive)));
    assert!(!kept.exists());
}
