//! Going on where a flash was stopped.

use super::*;

fn pieces() -> Vec<Extent> {
    Layout::new(CARD_LEN, 512, IMAGE_LEN, &most()).unwrap().pieces(SMALL.piece_len)
}

fn right_pieces(card: &[u8], image: &[u8]) -> Vec<Extent> {
    let right = |piece: &Extent| card[range_of(*piece)] == image[range_of(*piece)];
    pieces().into_iter().filter(right).collect()
}

fn total(extents: &[Extent]) -> u64 {
    extents.iter().map(|extent| extent.len_bytes).sum()
}

/// Resumes on a card in this state: all must be right after, and only what was not is written.
fn check_resume(before: Vec<u8>, context: &str) {
    let image = image();
    let right = right_pieces(&before, &image);
    let card = Faulty::new(before, 512, Faults::default());
    let flashed = Run { resume: true, ..Run::default() }.flash(&card, &image, &most()).unwrap();
    assert_eq!(flashed.skipped_bytes, total(&right), "{context}");
    assert_eq!(flashed.written_bytes, total(&pieces()) - total(&right) + MIB, "{context}");
    assert_eq!(flashed.verified_bytes, total(&pieces()) + MIB, "{context}");
    for write in card.seen().writes {
        // Marks, and what they lie on put back, are shorter than any of these pieces.
        let again = right.iter().any(|piece| piece.offset == write.offset && *piece == write);
        assert!(!again || write.len_bytes == 4096, "{context}: {write:?} was right");
    }
    assert_eq!(wrong(&card.into_bytes(), &image, &most()), None, "{context}");
}

#[test]
fn a_flash_resumed_after_a_cut_at_any_write_writes_what_is_missing() {
    let mut most_skipped = 0;
    for step in 0..1000 {
        for seed in [1, 2] {
            let faults = Faults { cut: Some((step, seed)), ..Faults::default() };
            let (flashed, card) = Run::default().flash_old(true, faults);
            if flashed.is_ok() {
                assert!(most_skipped > total(&pieces()) / 2, "{most_skipped}");
                return;
            }
            most_skipped = most_skipped.max(total(&right_pieces(&card, &image())));
            check_resume(card, &format!("cut at {step}, seed {seed}"));
        }
    }
    panic!("it never ends");
}

#[test]
fn a_finished_card_is_only_read() {
    let (flashed, card) = Run::default().flash_old(true, Faults::default());
    flashed.unwrap();
    check_resume(card, "finished");
}

#[test]
fn a_cut_of_a_resumed_flash_leaves_no_table_either() {
    let image = image();
    let (_, half) = Run::default().flash_old(true, Faults { cut: Some((25, 1)), ..Faults::default() });
    for step in 0..1000 {
        let card = Faulty::new(half.clone(), 512, Faults { cut: Some((step, 3)), ..Faults::default() });
        let flashed = Run { resume: true, ..Run::default() }.flash(&card, &image, &most());
        let card = card.into_bytes();
        assert!(!has_table(&card) || wrong(&card, &image, &most()).is_none(), "cut at {step}");
        if flashed.is_ok() {
            return;
        }
    }
    panic!("it never ends");
}

#[test]
fn a_piece_that_cannot_be_read_is_written() {
    let (flashed, card) = Run::default().flash_old(true, Faults::default());
    flashed.unwrap();
    let at = 2 * MIB + 100_000;
    let card = Faulty::new(card, 512, Faults { unreadable: Some((at, 1)), ..Faults::default() });
    let run = Run { resume: true, ..Run::default() };
    let flashed = run.flash(&card, &image(), &most()).unwrap();
    assert_eq!(flashed.written_bytes, MIB + SMALL.piece_len);
}
