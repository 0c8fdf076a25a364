//! Is all of the card there? Cards are sold that say they hold more than they do.
//!
//! Such a card does one of two things with what is written past its real end: it drops it, or it leaves out the upper
//! bits of the address, so that it goes over what lies lower ("limbo" and "wraparound" in f3's f3probe(1)). So every
//! power of two below the end, ten of them, and the end itself get a mark that names the place; then the first MiB is
//! zeroed, onto which every place falls that wraps at its own power of two. Marks that are gone after that are past the
//! real end.
//!
//! The marks go from the end to the start, and a MiB of zeros after them: what a card keeps in memory it would keep of
//! the last writes, and those are low. They are read after a sync, from the medium. Eleven writes of 4 KiB, as many
//! reads, and as many writes to tidy up: a second on a card that manages 30 small writes in that time.
//!
//! A card that wraps elsewhere than at a power of two, which no chip does by itself, is noticed only where its marks
//! fall onto each other or the first MiB; verification finds it when the image reaches past its real end.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};

use super::Options;
use super::error::Error;
use super::layout::{HEAD_LEN, Layout};
use super::target::{Buffer, Target};
use crate::block::Extent;

/// How many powers of two are asked: from 32 GiB of a 64 GB card down to 64 MiB.
const POWERS: usize = 10;
/// How exact the real size of a fake is told.
const PRECISION: u64 = 1 << 20;
/// Two lines of a mark differ, and a sector holds eight.
const LINE_LEN: usize = 64;

/// Zeroes the first MiB, verified, and sees whether the card keeps what is written up to its end. A flash that is
/// resumed then gets back what was in the places. Otherwise they are zeroed, where nobody is going to write.
///
/// # Errors
/// [`Error::Fake`], [`Error::IgnoresWrites`]; [`Error::Write`], [`Error::Read`], [`Error::Sync`],
/// [`Error::Unverified`]
pub(super) fn probe(target: &Target<'_>, layout: &Layout, options: Options<'_>) -> Result<(), Error> {
    let probe = Probe {
        target,
        unit_len: layout.unit_len,
        head: Extent { offset: 0, len_bytes: layout.head_len },
        // Not the same for two runs: a mark that is still there from the last one proves nothing about this one.
        nonce: RandomState::new().build_hasher().finish(),
    };
    let places = places(layout.card_len, layout.unit_len);
    let mut kept = Vec::new();
    for place in &places {
        let extent = Extent { offset: *place, len_bytes: layout.unit_len };
        let mut before = Buffer::of(layout.unit_len);
        // What cannot be read is written anew anyway.
        if options.resume && target.read(*place, before.bytes_mut()).is_err() {
            before.bytes_mut().fill(0);
        }
        kept.push((*place, before, options.resume || !layout.covers(extent)));
        target.write(*place, probe.mark(*place).bytes())?;
    }
    target.put(0, Buffer::of(layout.head_len).bytes(), true, options.rewrites)?;

    let mut lost = None;
    let mut held = None;
    for place in &places {
        if !probe.holds(*place)? {
            lost = Some(*place);
        }
    }
    for place in places.iter().rev().take_while(|place| lost.is_some_and(|lost| **place < lost)) {
        held = Some(*place);
    }
    if let Some(lost) = lost {
        let real_bytes = probe.real_end(held.unwrap_or(0), lost);
        // Not even right after the first MiB, which may have been zero before.
        if real_bytes <= HEAD_LEN {
            return Err(Error::IgnoresWrites);
        }
        return Err(Error::Fake { claimed_bytes: layout.card_len, real_bytes });
    }
    for (place, before, put_back) in kept {
        if put_back {
            target.write(place, before.bytes())?;
        }
    }
    Ok(())
}

/// Where marks go, from the end to the start; none on a card of hardly more than the first MiB.
fn places(card_len: u64, unit_len: u64) -> Vec<u64> {
    let Some(end) = card_len.checked_sub(unit_len).map(|end| end - end % unit_len) else { return Vec::new() };
    let powers = (0..u64::BITS).rev().map(|bit| 1_u64 << bit);
    let powers = powers.filter(|power| *power >= 2 * HEAD_LEN && *power < end && end - *power >= unit_len);
    let end = Some(end).filter(|end| *end >= 2 * HEAD_LEN);
    end.into_iter().chain(powers.take(POWERS)).collect()
}

struct Probe<'p> {
    target: &'p Target<'p>,
    unit_len: u64,
    head: Extent,
    nonce: u64,
}

impl Probe<'_> {
    /// Lines that name the place. Text, so that none ends like a boot sector, and whoever finds one knows what it is.
    fn mark(&self, place: u64) -> Buffer {
        let mut mark = Buffer::of(self.unit_len);
        for (number, line) in mark.bytes_mut().chunks_exact_mut(LINE_LEN).enumerate() {
            let text = format!("{:016x} {place:016x} {number:04x} cardpress asks: real?", self.nonce);
            line.fill(b'\n');
            line.iter_mut().zip(text.bytes()).for_each(|(to, from)| *to = from);
        }
        mark
    }

    /// Whether the mark is there. Half of it is enough: a bad sector is not what is looked for here.
    fn holds(&self, place: u64) -> Result<bool, Error> {
        let (mark, mut found) = (self.mark(place), Buffer::of(self.unit_len));
        self.target.read(place, found.bytes_mut()).map_err(|source| Error::Read {
            offset: place,
            len: mark.bytes().len(),
            source,
        })?;
        let lines = mark.bytes().chunks_exact(LINE_LEN).zip(found.bytes().chunks_exact(LINE_LEN));
        let (total, same) = (lines.len(), lines.filter(|(mark, found)| mark == found).count());
        Ok(same * 2 >= total)
    }

    /// Narrows down where the card ends, between a place that holds and one that does not. There is time now.
    fn real_end(&self, held: u64, lost: u64) -> u64 {
        let (mut held, mut lost) = (held, lost);
        while lost - held > PRECISION {
            let middle = held + (lost - held) / 2;
            let middle = middle - middle % self.unit_len;
            let written = self.target.write(middle, self.mark(middle).bytes()).is_ok()
                && self.target.zero(self.head).is_ok()
                && self.target.sync().is_ok();
            if written && self.holds(middle).unwrap_or(false) {
                held = middle;
            } else {
                lost = middle;
            }
        }
        lost
    }
}
