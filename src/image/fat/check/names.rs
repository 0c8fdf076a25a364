//! Names in FAT directories: which short names can be, and long ones in the entries before them.

use crate::image::findings::{Findings, Place};

/// Set by patched kernels on entries without a short name.
const NO_SHORT_NAME: u8 = 0x20;
/// Marks the first entry of a long name, which holds its end.
const LAST: u8 = 0x40;
const SLOTS: u8 = 0x1f;

/// What is wrong with a short name. `case` is byte 12 of the entry.
pub(super) fn name_fault(name: &[u8; 11], case: u8, has_long: bool) -> Option<&'static str> {
    if case & NO_SHORT_NAME != 0 {
        return (!has_long).then_some("missing, without a long one");
    }
    let [first, ..] = name;
    if *first == b' ' {
        return Some("one that begins with a space");
    }
    // 05 stands for e5, which would mean a deleted entry.
    let is_control = |index: usize, byte: u8| byte < b' ' && !(index == 0 && byte == 0x05) || byte == 0x7f;
    let is_bad = |(index, byte): (usize, &u8)| is_control(index, *byte) || b"*?<>|\"\\/:.".contains(byte);
    name.iter().enumerate().any(is_bad).then_some("one with a character that cannot be")
}

/// Whether a label can be one.
pub(super) fn is_label(label: &[u8; 11]) -> bool {
    let is_bad = |byte: &u8| {
        *byte < 0x20 || matches!(*byte, 0x22 | 0x2a..=0x2c | 0x2e | 0x2f | 0x3a..=0x3f | 0x5b..=0x5d | 0x7c)
    };
    label.first() != Some(&b' ') && !label.iter().any(is_bad)
}

/// The checksum of a short name that its long one carries.
fn sum(name: &[u8; 11]) -> u8 {
    name.iter().fold(0_u8, |sum, byte| sum.rotate_right(1).wrapping_add(*byte))
}

/// A long name that is being read, from its last piece to the first.
#[derive(Default)]
pub(super) struct LongName {
    /// How many pieces are still to come, and the checksum they share.
    open: Option<(u8, u8)>,
}

impl LongName {
    /// Takes the next piece.
    pub(super) fn add(&mut self, raw: &[u8], place: Place, findings: &mut Findings) {
        let byte = |at: usize| raw.get(at).copied().unwrap_or(0);
        let (id, sum) = (byte(0), byte(13));
        let slot = id & SLOTS;
        if matches!(self.open, Some((0, _))) {
            self.end(place, findings);
        }
        if id & LAST != 0 && slot != 0 {
            if self.open.is_some() {
                findings.add(place, "long name", "begun within another", "one after the other");
            }
            self.open = Some((slot, sum));
        }
        match self.open {
            Some((left, wanted)) if left == slot => {
                if sum != wanted {
                    findings.add(
                        place,
                        "checksum of a long name",
                        format_args!("{sum:#04x}"),
                        format_args!("{wanted:#04x}"),
                    );
                }
                self.open = Some((left.saturating_sub(1), wanted));
            }
            open => {
                let wanted = open.map_or(0, |(left, _)| left);
                findings.add(
                    place,
                    "piece of a long name",
                    slot,
                    format_args!("{wanted}, in order from the last"),
                );
                self.open = None;
                return;
            }
        }
        let is_clear = byte(12) == 0 && byte(26) == 0 && byte(27) == 0;
        if !is_clear {
            findings.add(place, "reserved fields of a long name", "not zero", "zero");
        }
    }

    /// The short name that the long one belongs to; whether there is a long one.
    pub(super) fn take(&mut self, name: [u8; 11], place: Place, findings: &mut Findings) -> bool {
        let Some((left, stored)) = self.open.take() else { return false };
        if left > 0 {
            findings.add(place, "pieces of a long name before it", format_args!("{left} short"), "all");
            return false;
        }
        let computed = sum(&name);
        if stored != computed {
            findings.add(
                place,
                "checksum of its long name",
                format_args!("{stored:#04x}"),
                format_args!("{computed:#04x}"),
            );
            return false;
        }
        true
    }

    /// No short name follows.
    pub(super) fn end(&mut self, place: Place, findings: &mut Findings) {
        if self.open.take().is_some() {
            findings.add(place, "long name before it", "without a short one", "one with a short one");
        }
    }
}
