//! A card changed where it is: what is not named stays, and at no moment is there a table over half a change.

use std::sync::Arc;

use super::*;
use crate::block::{Device as _, Overlay};

/// Where the change lies: in the head, across its end, and further on, across blocks.
const CHANGES: [(u64, usize); 5] =
    [(446, 64), (70_000, 9_000), (MIB - 10, 5_000), (2 * MIB + 77, 300_000), (CARD_LEN - 600, 500)];

fn changed(old: &[u8]) -> Vec<u8> {
    let mut new = old.to_vec();
    for (offset, len) in CHANGES {
        let start = usize::try_from(offset).unwrap();
        new[start..start + len].copy_from_slice(&noise(len as u64, offset));
    }
    new
}

fn patch_old(faults: Faults, interrupt: &Interrupt) -> (Result<Flashed, Failed>, Vec<Extent>, Vec<u8>) {
    let card = Arc::new(Faulty::new(old_card(true), 512, faults));
    let overlay = Overlay::new(Reader::new(Arc::clone(&card)));
    for (offset, len) in CHANGES {
        overlay.write_at(offset, &noise(len as u64, offset)).unwrap();
    }
    let dirty = overlay.dirty_extents();
    let options = Options { verify: true, resume: false, rewrites: REWRITES, interrupt, progress: &Silent };
    let patched = patch(card.as_ref(), &overlay, &dirty, options);
    drop(overlay);
    let writes = card.seen().writes;
    (patched, writes, Arc::into_inner(card).unwrap().into_bytes())
}

#[test]
fn only_what_changes_and_the_head_are_written() {
    let (patched, writes, card) = patch_old(Faults::default(), &Interrupt::default());
    patched.unwrap();
    assert!(card == changed(&old_card(true)));
    let written: u64 = writes.iter().map(|extent| extent.len_bytes).sum();
    assert!(written < 2 * MIB, "{written} bytes were written");
    assert_eq!(writes.last().unwrap(), &extent(0, 512), "the first block comes last");
}

#[test]
fn no_power_cut_leaves_a_table_over_half_a_change() {
    let (old, new) = (old_card(true), changed(&old_card(true)));
    for seed in [0, 1, 2, 3] {
        let mut bare = 0;
        let steps = (0..1000).take_while(|step| {
            let faults = Faults { cut: Some((*step, seed)), ..Faults::default() };
            let (patched, _, card) = patch_old(faults, &Interrupt::default());
            if !has_table(&card) {
                bare += 1;
            } else {
                assert!(card == old || card == new, "cut at {step}, seed {seed}");
            }
            patched.is_err()
        });
        let steps = steps.count();
        assert!((8..1000).contains(&steps) && bare > 3, "{steps} steps, {bare} of them without a table");
    }
}

#[test]
fn once_begun_it_is_not_interrupted_and_before_nothing_is_touched() {
    let interrupt = Interrupt::default();
    let faults = Faults { interrupt: Some((2, interrupt.clone())), ..Faults::default() };
    let (patched, _, card) = patch_old(faults, &interrupt);
    patched.unwrap();
    assert!(card == changed(&old_card(true)));
    // It is still raised.
    let (patched, writes, card) = patch_old(Faults::default(), &interrupt);
    assert_eq!(patched.unwrap_err().left, Left::Untouched);
    assert!(writes.is_empty() && card == old_card(true));
}
