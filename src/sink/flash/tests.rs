use std::sync::LazyLock;

use super::faulty::{Faults, Faulty, next_random};
use super::*;
use crate::base::{Interrupted, Silent};
use crate::block::Memory;

mod capacity;
mod cuts;
mod faults;
mod patch;
mod resume;
mod whole;

const MIB: u64 = 1 << 20;
const IMAGE_LEN: u64 = 3 * MIB + 512 * 37;
const CARD_LEN: u64 = 5 * MIB;

/// Small, so that a small image has many pieces.
const SMALL: Shape = Shape { piece_len: 32 << 10, writers: 2 };

fn extent(offset: u64, len_bytes: u64) -> Extent {
    Extent { offset, len_bytes }
}

/// Bytes that repeat nowhere near.
fn noise(len: u64, seed: u64) -> Vec<u8> {
    let mut random = seed;
    let mut bytes = vec![0; usize::try_from(len).unwrap()];
    for seven in bytes.chunks_mut(7) {
        random = next_random(random);
        seven.copy_from_slice(&random.to_le_bytes()[1..=seven.len()]);
    }
    bytes
}

/// Noise with a partition table, and zeros where a file could be: they are to be written like all else.
fn image_bytes(len: u64, seed: u64) -> Vec<u8> {
    let mut bytes = noise(len, seed);
    // One entry, type 0x83, from sector 2048 on, then the signature (UEFI 2.10, 5.2.1).
    bytes[446..510].fill(0);
    bytes[446..462].copy_from_slice(&[0, 0, 2, 0, 0x83, 0, 0, 0, 0, 8, 0, 0, 0, 8, 0, 0]);
    bytes[510..512].copy_from_slice(&[0x55, 0xaa]);
    if let Some(zeros) = bytes.get_mut(2 << 20..(2 << 20) + 200_000) {
        zeros.fill(0);
    }
    bytes
}

/// Most of the image: the table, ranges in and across the head, neighbours, an odd one, the end.
fn most() -> Vec<Extent> {
    vec![
        extent(0, 512),
        extent(8192, 300_000),
        extent(MIB - 100, 300),
        extent(MIB + 200_000, 100_000),
        extent(MIB + 300_000, 50_000),
        extent(2 * MIB - 512, 250_001),
        extent(IMAGE_LEN - 70_000, 70_000),
    ]
}

/// What most tests flash. Made once: they ask for it at every step of a flash.
fn image() -> Vec<u8> {
    static IMAGE: LazyLock<Vec<u8>> = LazyLock::new(|| image_bytes(IMAGE_LEN, 1));
    IMAGE.clone()
}

/// A card that held something else, a disk or nothing.
fn old_card(bootable: bool) -> Vec<u8> {
    static DISK: LazyLock<Vec<u8>> = LazyLock::new(|| image_bytes(CARD_LEN, 99));
    if bootable { DISK.clone() } else { vec![0; usize::try_from(CARD_LEN).unwrap()] }
}

fn has_table(card: &[u8]) -> bool {
    card[510..512] == [0x55, 0xaa]
}

fn range_of(extent: Extent) -> std::ops::Range<usize> {
    usize::try_from(extent.offset).unwrap()..usize::try_from(end_of(extent)).unwrap()
}

/// The first mapped range that is not as in the image.
fn wrong(card: &[u8], image: &[u8], mapped: &[Extent]) -> Option<Extent> {
    mapped.iter().copied().find(|extent| card[range_of(*extent)] != image[range_of(*extent)])
}

/// Everything a test may turn.
#[derive(Clone, Debug)]
struct Run {
    shape: Shape,
    verify: bool,
    resume: bool,
    rewrites: u32,
    interrupt: Interrupt,
}

impl Default for Run {
    fn default() -> Self {
        let interrupt = Interrupt::default();
        Self { shape: SMALL, verify: true, resume: false, rewrites: REWRITES, interrupt }
    }
}

impl Run {
    fn flash(&self, card: &Faulty, image: &[u8], mapped: &[Extent]) -> Result<Flashed, Failed> {
        let options = Options {
            verify: self.verify,
            resume: self.resume,
            rewrites: self.rewrites,
            interrupt: &self.interrupt,
            progress: &Silent,
        };
        flash_in(self.shape, card, &Memory::new(image.to_vec()), mapped, options)
    }

    /// The same image onto a card with these faults: what came of it, and what is on the card.
    fn flash_old(&self, bootable: bool, faults: Faults) -> (Result<Flashed, Failed>, Vec<u8>) {
        let card = Faulty::new(old_card(bootable), 512, faults);
        let flashed = self.flash(&card, &image(), &most());
        (flashed, card.into_bytes())
    }
}

/// The card is whole, as it was, or no disk; and the failure says which.
fn check_left(failed: &Failed, card: &[u8], old: &[u8], context: &str) {
    match failed.left {
        Left::Untouched => assert!(card == old, "{context}: touched"),
        Left::Unbootable => assert!(!has_table(card), "{context}: it has a table"),
        Left::Unknown => assert!(
            card == old || !has_table(card) || wrong(card, &image(), &most()).is_none(),
            "{context}: it has a table and not the image"
        ),
    }
}
