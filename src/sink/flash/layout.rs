//! Which bytes of a card a flash writes, decided before the first write.

use super::error::Error;
use crate::block::{self, Extent, ReadAt};

/// The start of the card that is zero while the rest is written: what partition tables, their copies and boot sectors
/// take, and what lies before the first partition by the custom of all partitioning programs.
pub(super) const HEAD_LEN: u64 = 1 << 20;
/// The end of the card that is zeroed where the image does not reach. It may hold the backup of a GPT (33 sectors), and
/// the marks of an array: md 0.90 within 128 KiB and md 1.0 within 12 KiB of the end (md(4)), ZFS within 512 KiB.
const TAIL_LEN: u64 = 1 << 20;
/// Ranges are rounded to this: smaller writes make a card read, change and write its own pages.
const UNIT_LEN: u64 = 4096;
/// A gap up to this is written too, with what the image has there: two commands cost a card more than these bytes.
const BRIDGED_LEN: u64 = 64 << 10;

/// Where things go. Offsets are bytes on the card, which are those of the image.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Layout {
    /// The length of the card in whole blocks.
    pub(super) card_len: u64,
    /// What ranges are rounded to: 4 KiB, or a block of the card where that is more.
    pub(super) unit_len: u64,
    /// How much at the start is written last; [`HEAD_LEN`], or all of a smaller card.
    pub(super) head_len: u64,
    /// What the image maps of the head, to the byte.
    pub(super) head: Vec<Extent>,
    /// What is written past the head, in units, ascending, apart from each other.
    pub(super) body: Vec<Extent>,
    /// What is zeroed at the end.
    pub(super) tail: Vec<Extent>,
}

impl Layout {
    /// # Errors
    /// [`Error::BlockLen`], [`Error::TooSmall`], [`Error::Mapped`]
    pub(super) fn new(
        card_len: u64,
        block_len: usize,
        image_len: u64,
        mapped: &[Extent],
    ) -> Result<Self, Error> {
        if !block_len.is_power_of_two() || !(512..=65536).contains(&block_len) {
            return Err(Error::BlockLen { found: block_len });
        }
        let block_len = block_len as u64;
        let card_len = card_len - card_len % block_len;
        let image_end = image_len.checked_next_multiple_of(block_len).unwrap_or(u64::MAX);
        if image_end > card_len {
            return Err(Error::TooSmall { card_bytes: card_len, image_bytes: image_end });
        }
        let mut from = 0;
        for extent in mapped {
            let end = extent.offset.checked_add(extent.len_bytes);
            match end.filter(|end| extent.offset >= from && *end <= image_len) {
                Some(end) => from = end,
                None => return Err(Error::Mapped { extent: *extent, from, image_bytes: image_len }),
            }
        }

        let unit_len = UNIT_LEN.max(block_len);
        let head_len = HEAD_LEN.min(card_len);
        let head = mapped.iter().filter_map(|extent| clip(*extent, 0, head_len)).collect();
        let body = bridged(mapped.iter().filter_map(|extent| {
            let past_head = clip(*extent, head_len, image_len)?;
            let start = past_head.offset - past_head.offset % unit_len;
            let end = end_of(past_head).next_multiple_of(unit_len).min(image_end);
            Some(Extent { offset: start, len_bytes: end - start })
        }));
        let tail = gaps(&body, card_len.saturating_sub(TAIL_LEN).max(head_len), card_len);
        Ok(Self { card_len, unit_len, head_len, head, body, tail })
    }

    /// The body in pieces: no longer than `piece_len`, and cut where the card's own large blocks begin.
    pub(super) fn pieces(&self, piece_len: u64) -> Vec<Extent> {
        let mut pieces = Vec::new();
        for extent in &self.body {
            let mut at = extent.offset;
            while at < end_of(*extent) {
                let end = (at - at % piece_len).saturating_add(piece_len).min(end_of(*extent));
                pieces.push(Extent { offset: at, len_bytes: end - at });
                at = end;
            }
        }
        pieces
    }

    /// Whether all of a range past the head gets written.
    pub(super) fn covers(&self, extent: Extent) -> bool {
        let next = self.body.partition_point(|mapped| end_of(*mapped) < end_of(extent));
        self.body.get(next).is_some_and(|mapped| mapped.offset <= extent.offset)
    }
}

pub(super) fn end_of(extent: Extent) -> u64 {
    extent.offset + extent.len_bytes
}

/// Reads the image, and zero past its end: a card whose blocks are larger than the image's last one gets a whole block.
pub(super) fn read_image(image: &dyn ReadAt, offset: u64, buf: &mut [u8]) -> Result<(), block::Error> {
    let held = usize::try_from(image.len_bytes().saturating_sub(offset)).unwrap_or(usize::MAX);
    let (held, past) = buf.split_at_mut(held.min(buf.len()));
    past.fill(0);
    if held.is_empty() { Ok(()) } else { image.read_at(offset, held) }
}

/// What of `extent` lies in `[start, end)`.
fn clip(extent: Extent, start: u64, end: u64) -> Option<Extent> {
    let (offset, end) = (extent.offset.max(start), end_of(extent).min(end));
    (offset < end).then(|| Extent { offset, len_bytes: end - offset })
}

/// Ascending ranges, with those joined that overlap or nearly touch.
fn bridged(extents: impl Iterator<Item = Extent>) -> Vec<Extent> {
    let mut joined: Vec<Extent> = Vec::new();
    for extent in extents {
        match joined.last_mut() {
            Some(last) if end_of(*last) + BRIDGED_LEN >= extent.offset => {
                last.len_bytes = last.len_bytes.max(end_of(extent) - last.offset);
            }
            _ => joined.push(extent),
        }
    }
    joined
}

/// What of `[start, end)` no extent covers.
fn gaps(extents: &[Extent], start: u64, end: u64) -> Vec<Extent> {
    let mut gaps = Vec::new();
    let mut at = start;
    for extent in extents {
        gaps.extend(clip(Extent { offset: at, len_bytes: extent.offset.saturating_sub(at) }, start, end));
        at = at.max(end_of(*extent));
    }
    gaps.extend(clip(Extent { offset: at, len_bytes: end.saturating_sub(at) }, start, end));
    gaps
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn extent(offset: u64, len_bytes: u64) -> Extent {
        Extent { offset, len_bytes }
    }

    fn layout(card_len: u64, block_len: usize, image_len: u64, mapped: &[Extent]) -> Layout {
        Layout::new(card_len, block_len, image_len, mapped).unwrap()
    }

    #[test]
    fn ranges_grow_to_units_and_the_head_is_kept_to_the_byte() {
        let mapped = [extent(10, 5), extent(MIB - 10, 20), extent(3 * MIB + 5000, 1)];
        let layout = layout(8 * MIB, 512, 4 * MIB, &mapped);
        assert_eq!(layout.head, [extent(10, 5), extent(MIB - 10, 10)]);
        assert_eq!(layout.body, [extent(MIB, 4096), extent(3 * MIB + 4096, 4096)]);
        assert_eq!(layout.tail, [extent(7 * MIB, MIB)]);
    }

    #[test]
    fn an_image_of_odd_sectors_ends_with_a_block_of_the_card() {
        let image_len = 2 * MIB + 512;
        let mapped = [extent(2 * MIB, 512)];
        assert_eq!(layout(8 * MIB, 512, image_len, &mapped).body, [extent(2 * MIB, 512)]);
        assert_eq!(layout(8 * MIB, 4096, image_len, &mapped).body, [extent(2 * MIB, 4096)]);
        assert_eq!(layout(8 * MIB, 65536, image_len, &mapped).body, [extent(2 * MIB, 65536)]);
        let refused = Layout::new(image_len, 4096, image_len, &mapped).unwrap_err();
        assert!(
            matches!(refused, Error::TooSmall { card_bytes, image_bytes }
                if card_bytes == 2 * MIB && image_bytes == 2 * MIB + 4096),
            "{refused}"
        );
    }

    #[test]
    fn small_gaps_are_bridged_and_large_ones_not() {
        let near = [extent(MIB, 4096), extent(MIB + 4096 + BRIDGED_LEN, 4096)];
        assert_eq!(layout(8 * MIB, 512, 4 * MIB, &near).body, [extent(MIB, 8192 + BRIDGED_LEN)]);
        let far = [extent(MIB, 4096), extent(MIB + 8192 + BRIDGED_LEN, 4096)];
        assert_eq!(layout(8 * MIB, 512, 4 * MIB, &far).body, far);
    }

    #[test]
    fn pieces_end_at_multiples_of_their_length() {
        let layout = layout(8 * MIB, 512, 4 * MIB, &[extent(MIB + 4096, MIB)]);
        let wanted =
            [extent(MIB + 4096, MIB / 2 - 4096), extent(MIB * 3 / 2, MIB / 2), extent(2 * MIB, 4096)];
        assert_eq!(layout.pieces(MIB / 2), wanted);
    }

    #[test]
    fn a_range_is_covered_only_when_all_of_it_is() {
        let layout = layout(8 * MIB, 512, 4 * MIB, &[extent(MIB, MIB), extent(3 * MIB, 4096)]);
        for (offset, len_bytes, covered) in [
            (MIB, MIB, true),
            (2 * MIB - 4096, 4096, true),
            (2 * MIB - 2048, 4096, false),
            (2 * MIB, 4096, false),
            (3 * MIB - 4096, 8192, false),
            (3 * MIB, 4096, true),
            (3 * MIB + 512, 4096, false),
        ] {
            assert_eq!(layout.covers(extent(offset, len_bytes)), covered, "{len_bytes} at {offset}");
        }
    }

    #[test]
    fn what_the_image_maps_at_the_end_is_not_zeroed() {
        let mapped = [extent(0, 1), extent(8 * MIB - MIB / 2, MIB / 4)];
        let layout = layout(8 * MIB, 512, 8 * MIB, &mapped);
        assert_eq!(layout.tail, [extent(7 * MIB, MIB / 2), extent(8 * MIB - MIB / 4, MIB / 4)]);
    }

    #[test]
    fn a_card_smaller_than_the_head_is_all_head() {
        let layout = layout(MIB / 2, 512, 4096, &[extent(0, 4096)]);
        assert_eq!((layout.head_len, layout.body, layout.tail), (MIB / 2, vec![], vec![]));
    }

    #[test]
    fn ranges_out_of_order_or_outside_are_refused() {
        let refused = [
            [extent(0, 10), extent(5, 10)],
            [extent(10, 10), extent(0, 10)],
            [extent(0, 10), extent(4 * MIB - 1, 2)],
            [extent(0, 10), extent(u64::MAX, 2)],
        ];
        for mapped in refused {
            let error = Layout::new(8 * MIB, 512, 4 * MIB, &mapped).unwrap_err();
            assert!(matches!(error, Error::Mapped { extent, .. } if extent == mapped[1]), "{error}");
        }
        for block_len in [0, 256, 513, 131_072] {
            assert!(matches!(Layout::new(8 * MIB, block_len, MIB, &[]), Err(Error::BlockLen { .. })));
        }
    }
}
