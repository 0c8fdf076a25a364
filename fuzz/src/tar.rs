//! Tar archives unpacked into an image: the seed is what we pack ourselves, spoilt in its headers and records.

use std::io::Cursor;
use std::path::PathBuf;
use std::sync::OnceLock;

use cardpress::base::{ImagePath, Interrupt, Silent};
use cardpress::block::Memory;
use cardpress::build::Error;
use cardpress::build::disk::{Archive, Disk, Job, Part, Timestamp, Tree};
use cardpress::image::ext4::check;

use crate::{Seed, ext4, get};

const BLOCK: usize = 512;
/// Place and type of a header's fields: POSIX.1-2024, pax, "ustar Interchange Format".
const CHECKSUM: std::ops::Range<usize> = 148..156;
const TYPE: usize = 156;

/// What all runs share: an image, where it lies, and the archive of it.
struct Ground {
    image: Vec<u8>,
    path: PathBuf,
    archive: Seed,
}

fn with_image<T>(
    path: &PathBuf,
    work: impl FnOnce(&mut Tree<'_>, &mut Job<'_>) -> Result<T, Error>,
) -> (Disk, Result<T, Error>) {
    let interrupt = Interrupt::default();
    let disk = Disk::open_to_write(path, Part::System, Timestamp::default()).unwrap();
    let done = disk.with_tree(|tree| work(tree, &mut Job::new("fuzzing", &Silent, &interrupt)));
    (disk, done)
}

fn ground() -> Ground {
    let image = ext4::plain();
    // In memory where the system has such a folder: every run writes it.
    let folder = PathBuf::from("/dev/shm");
    let folder = if folder.is_dir() { folder } else { std::env::temp_dir() };
    let path = folder.join(format!("cardpress-fuzz-{}.img", std::process::id()));
    std::fs::write(&path, &image).unwrap();
    let mut archive = Vec::new();
    with_image(&path, |tree, job| {
        tree.hard_link(&ext4::path("/etc/hostname"), &ext4::path("/etc/hostname-too"))?;
        // Names that are too long for a header; a few of the hundred will do.
        for number in 5..=100 {
            tree.remove(&ext4::path(&format!("/many/{number:0100}")), false)?;
        }
        tree.pack(&ImagePath::root(), &mut archive, job)
    })
    .1
    .unwrap();
    let windows = headers(&archive).into_iter().map(|(at, len)| at..at + len).collect();
    Ground { image, path, archive: Seed { bytes: archive, windows } }
}

/// Where headers are, and how long they are with the records that some of them head.
fn headers(archive: &[u8]) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(header) = archive.get(at..at + BLOCK).filter(|header| header[0] != 0) {
        let digits = String::from_utf8_lossy(&header[124..135]);
        let len = usize::from_str_radix(digits.trim_matches(['\0', ' ']), 8).unwrap_or(0);
        let padded = len.next_multiple_of(BLOCK);
        found.push((at, if header[TYPE] == b'x' { BLOCK + len } else { BLOCK }));
        at += BLOCK + padded;
    }
    found
}

/// One run.
pub fn run(input: &[u8]) {
    static GROUND: OnceLock<Ground> = OnceLock::new();
    let ground = GROUND.get_or_init(ground);
    let [flags, patches @ ..] = input else { return };
    let spoilt = ground.archive.spoil(patches);
    let mut archive = get(&spoilt, 0, ground.archive.bytes.len());
    // A wrong sum is refused at once, and says nothing of what comes behind it.
    if flags & 1 == 0 {
        for window in &ground.archive.windows {
            let header = &mut archive[window.start..window.start + BLOCK];
            header[CHECKSUM].fill(b' ');
            let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
            header[CHECKSUM].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        }
    }
    if flags & 2 != 0 {
        archive.truncate(archive.len() / 2);
    }
    let (disk, unpacked) = with_image(&ground.path, |tree, job| {
        let archive = Archive::of("archive".as_ref(), Cursor::new(archive))?;
        let into = ext4::path(if flags & 4 == 0 { "/" } else { "/deep" });
        let notes = tree.unpack(&into, archive, job)?;
        tree.pack(&ImagePath::root(), &mut std::io::sink(), job)?;
        Ok(notes)
    });
    // What failed is thrown away, as the program does.
    if unpacked.is_ok() {
        disk.commit(&Interrupt::default()).unwrap();
        let after = std::fs::read(&ground.path).unwrap();
        let report = check(&Memory::new(after)).expect("what was opened before");
        assert!(report.is_sound(), "unpacking made it unsound: {:#?}", report.findings);
        std::fs::write(&ground.path, &ground.image).unwrap();
    }
}
