//! What goes straight into the target before the log is whole: new bytes for its spare room, where it holds none that
//! anybody needs. They are written once, and the log only says what must be there.

use crc32c::crc32c;

use super::super::overlay::{BLOCK_LEN, BLOCK_LEN_U64};
use super::super::{Extent, Overlay, ReadAt};
use super::log::{PIECE, changed_runs, failed, read_target, to_usize};
use super::{Error, Site};
use crate::base::{Interrupt, is_zero};

/// New bytes that are in the target already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Direct {
    /// Where in the target.
    pub(super) offset: u64,
    /// 1 to 1 MiB.
    pub(super) len: u64,
    /// CRC-32C of the bytes.
    pub(super) crc: u32,
}

/// What of `dirty` lies in spare room, in whole blocks below `len_before`, and the rest. Both ascending.
pub(super) fn split(dirty: Vec<Extent>, spare: &[Extent], len_before: u64) -> (Vec<Extent>, Vec<Extent>) {
    let inward = |room: &Extent| {
        let start = room.offset.checked_next_multiple_of(BLOCK_LEN_U64)?;
        let end = room.offset.saturating_add(room.len_bytes).min(len_before) / BLOCK_LEN_U64 * BLOCK_LEN_U64;
        (start < end).then_some((start, end))
    };
    let mut rooms = spare.iter().filter_map(inward).peekable();
    let (mut direct, mut logged) = (Vec::new(), Vec::new());
    for extent in dirty {
        let end = extent.offset + extent.len_bytes;
        let mut at = extent.offset;
        while at < end {
            while rooms.next_if(|room| room.1 <= at).is_some() {}
            let (place, stop) = match rooms.peek() {
                Some((from, to)) if *from <= at => (&mut direct, end.min(*to)),
                Some((from, _)) => (&mut logged, end.min(*from)),
                None => (&mut logged, end),
            };
            place.push(Extent { offset: at, len_bytes: stop - at });
            at = stop;
        }
    }
    (direct, logged)
}

/// Writes what `overlay` holds of `extents` to the target, and makes it last.
pub(super) fn write<B: ReadAt>(
    site: &dyn Site,
    overlay: &Overlay<B>,
    extents: &[Extent],
    interrupt: &Interrupt,
) -> Result<Vec<Direct>, Error> {
    let len_before = site.target_len().map_err(failed(site, "ask the length of", false))?;
    let mut done = Vec::new();
    let mut buf = vec![0; to_usize(PIECE)];
    for extent in extents {
        let end = extent.offset + extent.len_bytes;
        for at in (extent.offset..end).step_by(to_usize(PIECE)) {
            interrupt.check()?;
            let len = (end - at).min(PIECE);
            let new = buf.get_mut(..to_usize(len)).unwrap_or_default();
            overlay.read_at(at, new)?;
            for (start, stop) in worth_writing(site, len_before, at, new)? {
                let bytes = new.get(start..stop).unwrap_or_default();
                site.write_target(at + start as u64, bytes).map_err(failed(site, "write", false))?;
            }
            done.push(Direct { offset: at, len, crc: crc32c(new) });
        }
    }
    if !done.is_empty() {
        site.sync_target().map_err(failed(site, "sync", false))?;
    }
    Ok(done)
}

/// All of it, as a rule. With zeros in it the target is asked, as most of its spare room may be holes, and shall stay
/// so.
fn worth_writing(
    site: &dyn Site,
    len_before: u64,
    at: u64,
    new: &[u8],
) -> Result<Vec<(usize, usize)>, Error> {
    if new.chunks(BLOCK_LEN).any(is_zero) {
        Ok(changed_runs(&read_target(site, len_before, at, new.len())?, new))
    } else {
        Ok(vec![(0, new.len())])
    }
}

/// The first of `direct` that the target does not hold.
pub(super) fn first_missing<'d>(
    site: &dyn Site,
    target_len: u64,
    direct: &'d [Direct],
) -> Result<Option<&'d Direct>, Error> {
    for piece in direct {
        if crc32c(&read_target(site, target_len, piece.offset, to_usize(piece.len))?) != piece.crc {
            return Ok(Some(piece));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn extents(ranges: &[(u64, u64)]) -> Vec<Extent> {
        ranges.iter().map(|(from, to)| Extent { offset: *from, len_bytes: to - from }).collect()
    }

    #[test]
    fn only_whole_blocks_of_spare_room_inside_the_old_length_are_written_straight() {
        let dirty = [(0, 16384), (20480, 40960), (81920, 82000)];
        // Room that begins and ends inside a block, rooms side by side, one past the old end.
        let spare = [(5000, 13000), (24576, 28672), (28672, 33000), (36864, 99999)];
        let (direct, logged) = split(extents(&dirty), &extents(&spare), 39000);
        assert_eq!(direct, extents(&[(8192, 12288), (24576, 28672), (28672, 32768)]));
        assert_eq!(
            logged,
            extents(&[(0, 8192), (12288, 16384), (20480, 24576), (32768, 40960), (81920, 82000)])
        );
        assert_eq!(split(extents(&dirty), &[], 99999), (Vec::new(), extents(&dirty)));
    }
}
