//! Cards that are smaller than they say.

use super::*;

/// Says 16 MiB.
const CLAIMED: u64 = 16 * MIB;

fn flash_fake(faults: Faults) -> (Error, Vec<Extent>) {
    let card = Faulty::new(noise(CLAIMED, 4), 512, faults);
    let failed = Run::default().flash(&card, &image(), &most()).unwrap_err();
    assert_eq!(failed.left, Left::Unbootable);
    let writes = card.seen().writes;
    assert!(!has_table(&card.into_bytes()));
    (failed.error, writes)
}

fn check_real(error: &Error, real: u64, writes: &[Extent]) {
    let Error::Fake { claimed_bytes, real_bytes } = *error else { panic!("{real}: {error:?}") };
    assert_eq!(claimed_bytes, CLAIMED);
    // To the MiB, and a mark half of which is there is there.
    assert!((real - 4096..=real + MIB).contains(&real_bytes), "{real}: {real_bytes}");
    // A handful of marks, first MiBs and the search: no piece of the image.
    assert!(writes.len() < 60, "{} writes", writes.len());
    assert!(writes.iter().all(|write| write.len_bytes != SMALL.piece_len), "bulk was written");
}

#[test]
fn a_card_that_drops_what_is_past_its_end_is_a_fake_of_that_size() {
    for real in [2 * MIB, 3 * MIB, 5 * MIB + 4096, 8 * MIB, 8 * MIB + 512, 15 * MIB, CLAIMED - 4096] {
        for fill in [0, 0xff] {
            let (error, writes) = flash_fake(Faults { drops_from: Some((real, fill)), ..Faults::default() });
            check_real(&error, real, &writes);
        }
    }
}

#[test]
fn a_card_that_wraps_around_at_a_power_of_two_is_a_fake_of_that_size() {
    for real in [2 * MIB, 4 * MIB, 8 * MIB] {
        let (error, writes) = flash_fake(Faults { wraps_at: Some(real), ..Faults::default() });
        check_real(&error, real, &writes);
    }
}

#[test]
fn a_card_that_wraps_around_elsewhere_is_found_when_its_marks_meet() {
    // 8 MiB and 2 MiB are the same place to a card of 3 MiB; the end is in the first MiB of one of 5 MiB.
    for real in [3 * MIB, 5 * MIB] {
        let (error, _) = flash_fake(Faults { wraps_at: Some(real), ..Faults::default() });
        assert!(matches!(error, Error::Fake { .. }), "{real}: {error:?}");
    }
}

#[test]
fn a_card_that_wraps_around_unnoticed_is_found_when_the_image_reaches_past_its_end() {
    let real = 7 * MIB;
    let image = image_bytes(12 * MIB, 1);
    // Over the first MiB, and over pieces that are then written again: which spoils what had been right.
    for mapped in [[extent(0, 2 * MIB), extent(7 * MIB, MIB)], [extent(0, 5 * MIB), extent(8 * MIB, 2 * MIB)]]
    {
        let faults = Faults { wraps_at: Some(real), ..Faults::default() };
        let card = Faulty::new(noise(CLAIMED, 4), 512, faults);
        let shape = Shape { piece_len: 64 << 10, writers: 2 };
        let failed = Run { shape, ..Run::default() }.flash(&card, &image, &mapped).unwrap_err();
        assert!(matches!(failed.error, Error::Unverified { .. }), "{mapped:?}: {failed:?}");
        assert!(!has_table(&card.into_bytes()));
    }
}

#[test]
fn a_bad_sector_under_a_mark_is_no_fake() {
    let faults = Faults { spoils: Some((8 * MIB + 100, 0..usize::MAX)), ..Faults::default() };
    let card = Faulty::new(noise(CLAIMED, 4), 512, faults);
    Run::default().flash(&card, &image(), &most()).unwrap();
}

#[test]
fn marks_are_gone_afterwards() {
    let card = Faulty::new(noise(CLAIMED, 4), 512, Faults::default());
    Run::default().flash(&card, &image(), &most()).unwrap();
    let card = card.into_bytes();
    assert!(!card.windows(16).any(|bytes| bytes == b"cardpress asks: "));
    // In free space, and at the end.
    for place in [4 << 20, 8 << 20, (16 << 20) - 4096] {
        assert!(card[place..place + 4096].iter().all(|byte| *byte == 0));
    }
}

#[test]
fn a_mark_of_which_the_image_covers_a_part_is_gone_too() {
    // The card ends 3584 bytes after the image, within the last 4 KiB.
    let image = image_bytes(2 * MIB + 512, 1);
    for resume in [false, true] {
        let card = Faulty::new(noise(2 * MIB + 4096, 4), 512, Faults::default());
        Run { resume, ..Run::default() }.flash(&card, &image, &[extent(MIB, MIB + 512)]).unwrap();
        let card = card.into_bytes();
        assert!(card[1 << 20..image.len()] == image[1 << 20..]);
        assert!(card[image.len()..].iter().all(|byte| *byte == 0), "resume: {resume}");
    }
}
