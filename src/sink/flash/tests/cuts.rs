//! Stopped at every moment: by the power, by the user.

use super::*;

/// Runs `stop` for each write and sync of a flash until there are no more of them; how many there were.
fn at_every_step(mut stop: impl FnMut(usize) -> bool) -> usize {
    let steps = (0..1000).take_while(|step| !stop(*step)).count();
    assert!((30..1000).contains(&steps), "{steps} steps");
    steps
}

#[test]
fn no_power_cut_leaves_a_table_and_not_all_of_its_image() {
    let image = image();
    // Of what was not synced: nothing, all, and any; on a card that was a disk before, and one that was not.
    for (seed, bootable) in [(0, true), (1, true), (2, true), (3, true), (4, false)] {
        let (mut untouched, mut bare, mut whole) = (0, 0, 0);
        at_every_step(|step| {
            let faults = Faults { cut: Some((step, seed)), ..Faults::default() };
            let (flashed, card) = Run::default().flash_old(bootable, faults);
            let Err(failed) = flashed else { return true };
            check_left(&failed, &card, &old_card(bootable), &format!("cut at {step}, seed {seed}"));
            if bootable && card == old_card(true) {
                untouched += 1;
            } else if has_table(&card) {
                assert_eq!(wrong(&card, &image, &most()), None, "cut at {step}, seed {seed}");
                whole += 1;
            } else {
                assert!(card[..512].iter().all(|byte| *byte == 0), "cut at {step}, seed {seed}");
                bare += 1;
            }
            false
        });
        assert!(bare > 25 && untouched <= 2 && whole <= 2, "{untouched} {bare} {whole}");
        // When all that was written stays, it is all there before the last sync says so.
        assert!(whole > 0 || seed != 1, "{untouched} {bare} {whole}");
    }
}

#[test]
fn an_interrupt_at_any_moment_leaves_no_table_or_all() {
    let image = image();
    let mut late = 0;
    at_every_step(|step| {
        let run = Run::default();
        let faults = Faults { interrupt: Some((step, run.interrupt.clone())), ..Faults::default() };
        let (flashed, card) = run.flash_old(true, faults);
        match flashed {
            Err(failed) => {
                assert!(matches!(failed.error, Error::Interrupted(Interrupted)), "at {step}: {failed:?}");
                assert_eq!(failed.left, Left::Unbootable, "at {step}");
                assert!(!has_table(&card), "at {step}");
                false
            }
            Ok(_) => {
                assert_eq!(wrong(&card, &image, &most()), None, "at {step}");
                late += 1;
                // The first block and its sync are not given up any more.
                late == 3
            }
        }
    });
}

#[test]
fn a_card_of_large_blocks_is_cut_no_worse() {
    let image = image();
    at_every_step(|step| {
        let faults = Faults { cut: Some((step, 7)), ..Faults::default() };
        let card = Faulty::new(old_card(true), 4096, faults);
        let shape = Shape { piece_len: 16 << 10, writers: 1 };
        let flashed = Run { shape, ..Run::default() }.flash(&card, &image, &most());
        let card = card.into_bytes();
        let sound = card == old_card(true) || !has_table(&card) || wrong(&card, &image, &most()).is_none();
        assert!(sound, "cut at {step}");
        flashed.is_ok()
    });
}
