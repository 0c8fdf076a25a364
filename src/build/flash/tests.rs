use std::io;
use std::ops::Range;
use std::sync::Mutex;

use super::*;
use crate::base::Silent;
use crate::sink::flash::Left;

/// A card in memory, on which some bytes never stay.
struct Card {
    bytes: Mutex<Vec<u8>>,
    bad: Range<usize>,
}

impl Card {
    fn new(len: usize, bad: Range<usize>) -> Self {
        Self { bytes: Mutex::new(vec![0x5a; len]), bad }
    }
}

impl Medium for Card {
    fn len_bytes(&self) -> u64 {
        self.bytes.lock().unwrap().len() as u64
    }

    fn block_len(&self) -> usize {
        512
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<usize> {
        let at = usize::try_from(offset).unwrap();
        let mut held = self.bytes.lock().unwrap();
        held[at..at + bytes.len()].copy_from_slice(bytes);
        let spoilt = self.bad.start.max(at)..self.bad.end.min(at + bytes.len());
        if !spoilt.is_empty() {
            held[spoilt].fill(0xee);
        }
        Ok(bytes.len())
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        let at = usize::try_from(offset).unwrap();
        buf.copy_from_slice(&self.bytes.lock().unwrap()[at..at + buf.len()]);
        Ok(buf.len())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}

fn small_base(dir: &Path) -> Finished {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/small-base.img.xz");
    Finished::open(&path, &Cache::at(dir.join("cache")), &Silent, &Interrupt::default()).unwrap()
}

fn bytes_of(image: &Finished) -> Vec<u8> {
    let mut bytes = vec![0; usize::try_from(image.len_bytes()).unwrap()];
    image.device.read_at(0, &mut bytes).unwrap();
    bytes
}

fn flash_onto(card: &Card, image: &Finished, interrupt: &Interrupt) -> Result<Flashed, Error> {
    let onto = Onto { verify: true, resume: false, epoch_seconds: None, interrupt };
    let job = Job { medium: card, what: What::Image(image), progress: &Silent };
    flash_all(&[job], onto).remove(0)
}

#[test]
fn a_bad_place_is_told_by_the_file_that_lies_there() {
    let dir = tempfile::tempdir().unwrap();
    let image = small_base(dir.path());
    let bytes = bytes_of(&image);
    let root = Table::open(&Overlay::new(Arc::clone(&image.device))).unwrap().partitions()[1].start_bytes;
    let root = usize::try_from(root).unwrap();
    // A text that only one file has.
    let at = root + bytes[root..].windows(12).position(|window| window == b"PRETTY_NAME=").unwrap();
    let card = Card::new(bytes.len() + (8 << 20), at..at + 1);
    let error = flash_onto(&card, &image, &Interrupt::default()).unwrap_err();
    let Error::Flash { names, source } = &error else { panic!("{error:?}") };
    assert!(names.len() == 1 && names[0].ends_with("os-release"), "{names:?}");
    assert_eq!(source.left, Left::Unbootable);
    assert!(error.to_string().contains("os-release"), "{error}");
    assert_eq!(card.bytes.lock().unwrap()[510..512], [0, 0], "it has a partition table");
}

#[test]
fn every_mapped_byte_is_on_the_card_and_free_blocks_are_not_written() {
    let dir = tempfile::tempdir().unwrap();
    let image = small_base(dir.path());
    let wanted = bytes_of(&image);
    let card = Card::new(wanted.len() + (8 << 20), 0..0);
    let flashed = flash_onto(&card, &image, &Interrupt::default()).unwrap();
    let found = card.bytes.lock().unwrap();
    for range in &image.mapped {
        let start = usize::try_from(range.offset).unwrap();
        let end = start + usize::try_from(range.len_bytes).unwrap();
        assert!(found[start..end] == wanted[start..end], "{range:?}");
    }
    let mapped: u64 = image.mapped.iter().map(|range| range.len_bytes).sum();
    assert!(flashed.written_bytes <= mapped + (1 << 20) && mapped < image.len_bytes() * 3 / 4, "{flashed:?}");
    assert_eq!(flashed.verified_bytes, flashed.written_bytes);
}

#[test]
fn an_interrupted_flash_says_what_it_left() {
    let dir = tempfile::tempdir().unwrap();
    let image = small_base(dir.path());
    let card = Card::new(usize::try_from(image.len_bytes()).unwrap(), 0..0);
    let interrupt = Interrupt::default();
    interrupt.raise();
    let error = flash_onto(&card, &image, &interrupt).unwrap_err();
    assert!(matches!(&error, Error::Flash { source, .. } if source.left == Left::Untouched), "{error:?}");
    assert!(card.bytes.lock().unwrap().iter().all(|byte| *byte == 0x5a));
}
