//! Flashes that succeed, or are refused before anything was written.

use proptest::prelude::*;

use super::*;

#[test]
fn what_is_mapped_is_on_the_card_and_the_rest_is_as_it_was() {
    let image = image();
    let (flashed, card) = Run::default().flash_old(true, Faults::default());
    let flashed = flashed.unwrap();
    assert_eq!(wrong(&card, &image, &most()), None);
    let old = old_card(true);
    let free = range_of(extent(MIB + 400_000, 200_000));
    assert!(card[free.clone()] == old[free]);
    // The mapped ranges are some 770 KB, of which 300 KB are in the first MiB.
    assert!((MIB + 400_000..MIB + 600_000).contains(&flashed.written_bytes), "{flashed:?}");
    assert_eq!((flashed.verified_bytes, flashed.skipped_bytes), (flashed.written_bytes, 0));
    assert_eq!(flashed.rewritten, []);
    assert!(card[(4 << 20)..].iter().all(|byte| *byte == 0), "the last MiB");
}

#[test]
fn the_first_block_is_written_first_and_last_and_alone() {
    for block_len in [512, 4096] {
        let card = Faulty::new(old_card(true), block_len, Faults::default());
        Run::default().flash(&card, &image(), &most()).unwrap();
        let writes = card.seen().writes;
        let block = extent(0, block_len as u64);
        assert_eq!((writes.first(), writes.last()), (Some(&block), Some(&block)));
        let head = writes.iter().rposition(|write| write.offset < MIB && *write != block).unwrap();
        assert!(head >= writes.len() - 3, "the head comes last");
    }
}

#[test]
fn without_verification_next_to_nothing_is_read() {
    let card = Faulty::new(old_card(true), 512, Faults::default());
    let run = Run { verify: false, ..Run::default() };
    let flashed = run.flash(&card, &image(), &most()).unwrap();
    assert_eq!(flashed.verified_bytes, 0);
    // The first block before and after it was zeroed, the first MiB after, and three marks.
    assert_eq!(card.seen().reads, 6);
    assert_eq!(wrong(&card.into_bytes(), &image(), &most()), None);
}

#[test]
fn a_card_too_small_is_refused_untouched() {
    let image = image();
    let old = noise(IMAGE_LEN - 512, 3);
    let card = Faulty::new(old.clone(), 512, Faults::default());
    let failed = Run::default().flash(&card, &image, &most()).unwrap_err();
    assert_eq!(failed.left, Left::Untouched);
    assert!(
        matches!(failed.error, Error::TooSmall { card_bytes, image_bytes }
            if card_bytes == IMAGE_LEN - 512 && image_bytes == IMAGE_LEN),
        "{failed:?}"
    );
    assert!(card.into_bytes() == old);
}

#[test]
fn ranges_outside_the_image_are_refused_untouched() {
    let card = Faulty::new(old_card(true), 512, Faults::default());
    let mapped = [extent(0, 512), extent(IMAGE_LEN - 1, 2)];
    let failed = Run::default().flash(&card, &image(), &mapped).unwrap_err();
    assert_eq!(failed.left, Left::Untouched);
    assert!(matches!(failed.error, Error::Mapped { .. }));
    assert!(card.into_bytes() == old_card(true));
}

#[test]
fn an_interrupt_from_before_leaves_the_card_untouched() {
    let run = Run::default();
    run.interrupt.raise();
    let (flashed, card) = run.flash_old(true, Faults::default());
    let failed = flashed.unwrap_err();
    assert_eq!(failed.left, Left::Untouched);
    assert!(matches!(failed.error, Error::Interrupted(_)));
    assert!(card == old_card(true));
}

/// An image that cannot be read to its end.
struct Torn(Memory);

impl ReadAt for Torn {
    fn len_bytes(&self) -> u64 {
        self.0.len_bytes()
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<(), crate::block::Error> {
        let end = offset + buf.len() as u64;
        crate::block::Error::check_bounds(offset, buf.len(), 3 * MIB.min(end))?;
        self.0.read_at(offset, buf)
    }
}

#[test]
fn an_image_that_cannot_be_read_leaves_no_table() {
    let card = Faulty::new(old_card(true), 512, Faults::default());
    let (interrupt, progress) = (Interrupt::default(), Silent);
    let options =
        Options { verify: true, resume: false, rewrites: 3, interrupt: &interrupt, progress: &progress };
    let image = Torn(Memory::new(image()));
    let failed = flash(&card, &image, &most(), options).unwrap_err();
    assert_eq!(failed.left, Left::Unbootable);
    assert!(matches!(failed.error, Error::Image(_)), "{failed:?}");
    assert!(!has_table(&card.into_bytes()));
}

#[test]
fn images_and_cards_shorter_than_a_mebibyte_work_too() {
    for (image_len, card_len) in [(512, 4096), (512, 512), (100 << 10, 100 << 10), (1 << 20, 1 << 20)] {
        let image = image_bytes(image_len, 5);
        let card = Faulty::new(noise(card_len, 6), 512, Faults::default());
        Run::default().flash(&card, &image, &[extent(0, image_len)]).unwrap();
        let card = card.into_bytes();
        assert!(card[..image.len()] == image, "{image_len} onto {card_len}");
        assert!(card[image.len()..].iter().all(|byte| *byte == 0), "the first MiB is zero elsewhere");
    }
}

#[test]
fn an_image_of_which_nothing_is_mapped_leaves_zeros_for_a_first_mebibyte() {
    let card = Faulty::new(old_card(true), 512, Faults::default());
    Run::default().flash(&card, &image(), &[]).unwrap();
    assert!(card.into_bytes()[..1 << 20].iter().all(|byte| *byte == 0));
}

#[test]
fn short_writes_and_reads_are_continued() {
    for block_len in [512, 4096] {
        for blocks in [1, 2, 3, 7, 8, 9, 100] {
            let faults = Faults { blocks_at_once: Some(blocks), ..Faults::default() };
            let card = Faulty::new(old_card(true), block_len, faults);
            Run::default().flash(&card, &image(), &most()).unwrap();
            let wrong = wrong(&card.into_bytes(), &image(), &most());
            assert_eq!(wrong, None, "{blocks} blocks of {block_len} at once");
        }
    }
}

#[test]
fn a_card_that_writes_nothing_and_says_no_error_is_an_error() {
    let (flashed, card) =
        Run::default().flash_old(true, Faults { blocks_at_once: Some(0), ..Faults::default() });
    let failed = flashed.unwrap_err();
    assert!(matches!(&failed.error, Error::Write { offset: 0, source, .. }
        if source.kind() == std::io::ErrorKind::WriteZero));
    assert!(card == old_card(true));
}

/// Some ranges of an image, ascending, some of them touching.
fn ranges(image_len: u64) -> impl Strategy<Value = Vec<Extent>> {
    proptest::collection::vec((0..image_len, 0..200_000_u64, 0..4_u32), 0..12).prop_map(move |parts| {
        let mut starts: Vec<_> = parts;
        starts.sort_unstable();
        let mut ranges: Vec<Extent> = Vec::new();
        for (start, len, touch) in starts {
            let from = ranges.last().map_or(0, |last| end_of(*last));
            let start = if touch == 0 { from } else { start.max(from) };
            let len = len.min(image_len - start);
            ranges.push(extent(start, len));
        }
        ranges
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    #[test]
    fn whatever_was_there_mapped_bytes_become_the_image_and_others_stay_or_are_zero_or_the_image(
        (image_len, mapped) in (1..7000_u64).prop_flat_map(|sectors| {
            (Just(sectors * 512), ranges(sectors * 512))
        }),
        spare in prop_oneof![Just(0), 0..5000_u64],
        (block_len, old, resume, verify) in
            (prop_oneof![Just(512_usize), Just(4096)], 0..4_u64, any::<bool>(), any::<bool>()),
        (writers, piece_len) in (1..4_usize, prop_oneof![Just(16_u64 << 10), Just(1 << 20)]),
        blocks_at_once in prop_oneof![Just(None), (8..300_usize).prop_map(Some)],
    ) {
        let image = image_bytes(image_len.max(512), 1);
        let card_len = (image_len + spare * 512).next_multiple_of(4096);
        let old = match old {
            0 => vec![0; usize::try_from(card_len).unwrap()],
            // Partly right already.
            1 => {
                let mut old = noise(card_len, 2);
                old[..image.len() / 2].copy_from_slice(&image[..image.len() / 2]);
                old
            }
            seed => noise(card_len, seed),
        };
        let card = Faulty::new(old.clone(), block_len, Faults { blocks_at_once, ..Faults::default() });
        let run = Run { shape: Shape { piece_len, writers }, verify, resume, ..Run::default() };
        run.flash(&card, &image, &mapped).unwrap();
        let card = card.into_bytes();
        prop_assert_eq!(wrong(&card, &image, &mapped), None);
        for (at, byte) in card.iter().enumerate() {
            let allowed = *byte == 0 || *byte == old[at] || image.get(at) == Some(byte);
            prop_assert!(allowed, "byte {}", at);
        }
    }
}
