//! A copy-on-write overlay: reads fall through to the base, writes stay here.
//!
//! A node is its base plus these blocks. Memory is what was written, in whole blocks of 4 KiB, and nothing else;
//! an overlay that may have to take more than memory should ([`Overlay::spilling`]) moves it to a temporary file.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::path::PathBuf;

use super::device::{Device, Error, ReadAt};
use super::spill::Spill;

/// The unit of copying. 4 KiB: the block of the root filesystem, so that an edit of one copies just that.
pub(super) const BLOCK_LEN: usize = 4096;
pub(super) const BLOCK_LEN_U64: u64 = BLOCK_LEN as u64;

/// From here on what is written goes past memory, once something had to be spilled: it would be spilled next.
const PAST_MEMORY_LEN: usize = 64 << 10;

pub(super) type Block = Box<[u8; BLOCK_LEN]>;

/// A run of bytes: `[offset, offset + len_bytes)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// Where it begins.
    pub offset: u64,
    /// How long it is; never 0.
    pub len_bytes: u64,
}

/// A writable device over a base that is never written.
#[derive(Debug)]
pub struct Overlay<B> {
    base: B,
    len_bytes: Cell<u64>,
    /// Newer than what was spilled.
    blocks: RefCell<BTreeMap<u64, Block>>,
    spill: Option<RefCell<Spill>>,
}

impl<B: ReadAt> Overlay<B> {
    /// An overlay that reads like `base`.
    pub fn new(base: B) -> Self {
        let len_bytes = Cell::new(base.len_bytes());
        Self { base, len_bytes, blocks: RefCell::default(), spill: None }
    }

    /// The same, but whenever `limit_bytes` of edits are in memory they move to a temporary file without a name in
    /// `folder`.
    pub fn spilling(base: B, folder: PathBuf, limit_bytes: u64) -> Self {
        Self { spill: Some(RefCell::new(Spill::new(folder, limit_bytes))), ..Self::new(base) }
    }

    /// The base as it is, without the edits.
    pub fn base(&self) -> &B {
        &self.base
    }

    /// Makes the device longer; the new bytes are zero and count as clean.
    ///
    /// # Panics
    /// When `len_bytes` is less than the present length: nothing here ever shrinks an image.
    pub fn grow(&self, len_bytes: u64) {
        assert!(len_bytes >= self.len_bytes.get(), "an overlay only grows");
        self.len_bytes.set(len_bytes);
    }

    /// How many bytes the edits take, in memory or spilled.
    #[must_use]
    pub fn dirty_bytes(&self) -> u64 {
        self.dirty_runs().iter().map(|(_, count)| count * BLOCK_LEN_U64).sum()
    }

    /// The edited blocks: first number and how many, ascending, apart from each other.
    fn dirty_runs(&self) -> Vec<(u64, u64)> {
        let mut runs: Vec<(u64, u64)> = self.blocks.borrow().keys().map(|number| (*number, 1)).collect();
        if let Some(spill) = &self.spill {
            runs.extend(spill.borrow().runs());
            runs.sort_unstable();
        }
        let mut joined: Vec<(u64, u64)> = Vec::new();
        for (first, count) in runs {
            match joined.last_mut() {
                Some(last) if last.0 + last.1 >= first => last.1 = last.1.max(first + count - last.0),
                _ => joined.push((first, count)),
            }
        }
        joined
    }

    /// The runs of bytes that may differ from the base, ascending, apart from each other, inside the device.
    #[must_use]
    pub fn dirty_extents(&self) -> Vec<Extent> {
        let extent = |(first, count): (u64, u64)| {
            let offset = first * BLOCK_LEN_U64;
            let len_bytes = (count * BLOCK_LEN_U64).min(self.len_bytes.get() - offset);
            Extent { offset, len_bytes }
        };
        self.dirty_runs().into_iter().map(extent).collect()
    }

    /// Fills `buf` from `offset` on without what is in memory: with what was spilled, and the base where nothing was.
    fn read_below(&self, offset: u64, buf: &mut [u8]) -> Result<(), Error> {
        let Some(spill) = self.spill.as_ref().map(RefCell::borrow).filter(|spill| spill.is_used()) else {
            return self.read_base_at(offset, buf);
        };
        let (mut at, mut rest) = (offset, buf);
        while !rest.is_empty() {
            let (number, start) = (at / BLOCK_LEN_U64, at % BLOCK_LEN_U64);
            let found = spill.find(number);
            let count = match found {
                Some((_, count)) => count,
                None => spill.next_run(number).map_or(u64::MAX, |next| next - number),
            };
            let len = count.saturating_mul(BLOCK_LEN_U64) - start;
            let len = usize::try_from(len).unwrap_or(usize::MAX).min(rest.len());
            let (piece, after) = rest.split_at_mut(len);
            match found {
                Some((slot, _)) => spill
                    .read(slot * BLOCK_LEN_U64 + start, piece)
                    .map_err(|source| Error::Read { offset: at, len, source })?,
                None => self.read_base_at(at, piece)?,
            }
            (at, rest) = (at + len as u64, after);
        }
        Ok(())
    }

    fn write_in_memory(
        &self,
        blocks: &mut BTreeMap<u64, Block>,
        offset: u64,
        bytes: &[u8],
    ) -> Result<(), Error> {
        let mut rest = bytes;
        for (number, start, len) in pieces(offset, bytes.len()) {
            let (piece, after) = rest.split_at(len);
            rest = after;
            if self.spill.is_some() && !blocks.contains_key(&number) {
                self.make_room(blocks)?;
            }
            let block = match blocks.entry(number) {
                Entry::Occupied(entry) => entry.into_mut(),
                Entry::Vacant(entry) => {
                    let mut block = Box::new([0; BLOCK_LEN]);
                    if len < BLOCK_LEN {
                        self.read_below(number * BLOCK_LEN_U64, &mut block[..])?;
                    }
                    entry.insert(block)
                }
            };
            block[start..start + len].copy_from_slice(piece);
        }
        Ok(())
    }

    /// Whole blocks, `first` and those after it, past memory into the file; false when they belong into memory.
    fn write_past_memory(
        &self,
        blocks: &mut BTreeMap<u64, Block>,
        first: u64,
        bytes: &[u8],
    ) -> Result<bool, Error> {
        let Some(spill) = &self.spill else { return Ok(false) };
        let mut spill = spill.borrow_mut();
        if !spill.is_used() || bytes.len() < PAST_MEMORY_LEN {
            return Ok(false);
        }
        spill
            .put(first, bytes)
            .map_err(|source| Error::Spill { folder: spill.folder().to_owned(), source })?;
        let end = first + (bytes.len() / BLOCK_LEN) as u64;
        let older: Vec<u64> = blocks.range(first..end).map(|(number, _)| *number).collect();
        for number in older {
            blocks.remove(&number);
        }
        Ok(true)
    }

    /// Makes room in memory for one more block.
    fn make_room(&self, blocks: &mut BTreeMap<u64, Block>) -> Result<(), Error> {
        let Some(spill) = &self.spill else { return Ok(()) };
        let mut spill = spill.borrow_mut();
        if !spill.is_due(blocks.len()) {
            return Ok(());
        }
        spill.take(blocks).map_err(|source| Error::Spill { folder: spill.folder().to_owned(), source })
    }

    /// Reads the base, and zero past its end.
    fn read_base_at(&self, offset: u64, buf: &mut [u8]) -> Result<(), Error> {
        let held = usize::try_from(self.base.len_bytes().saturating_sub(offset)).unwrap_or(usize::MAX);
        let (held, past) = buf.split_at_mut(held.min(buf.len()));
        past.fill(0);
        if held.is_empty() { Ok(()) } else { self.base.read_at(offset, held) }
    }
}

/// Cuts `[offset, offset + len)` at block borders: (block number, start inside it, length).
fn pieces(offset: u64, len: usize) -> impl Iterator<Item = (u64, usize, usize)> {
    let mut offset = offset;
    let mut left = len;
    std::iter::from_fn(move || {
        if left == 0 {
            return None;
        }
        // Less than BLOCK_LEN, so it fits.
        let start = usize::try_from(offset % BLOCK_LEN_U64).unwrap_or(0);
        let len = left.min(BLOCK_LEN - start);
        let piece = (offset / BLOCK_LEN_U64, start, len);
        offset += len as u64;
        left -= len;
        Some(piece)
    })
}

impl<B: ReadAt> ReadAt for Overlay<B> {
    fn len_bytes(&self) -> u64 {
        self.len_bytes.get()
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<(), Error> {
        Error::check_bounds(offset, buf.len(), self.len_bytes.get())?;
        let blocks = self.blocks.borrow();
        let end = offset + buf.len() as u64;
        let (mut at, mut rest) = (offset, buf);
        // What lies between two blocks in memory is read in one go, and what they hide not at all.
        for (number, block) in blocks.range(offset / BLOCK_LEN_U64..end.div_ceil(BLOCK_LEN_U64)) {
            let block_start = number * BLOCK_LEN_U64;
            let before = usize::try_from(block_start.saturating_sub(at)).unwrap_or(0);
            let (below, after) = rest.split_at_mut(before);
            self.read_below(at, below)?;
            at += before as u64;
            let in_block = usize::try_from(at - block_start).unwrap_or(0);
            let (piece, after) = after.split_at_mut(after.len().min(BLOCK_LEN - in_block));
            piece.copy_from_slice(&block[in_block..in_block + piece.len()]);
            (at, rest) = (at + piece.len() as u64, after);
        }
        self.read_below(at, rest)
    }
}

impl<B: ReadAt> Device for Overlay<B> {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<(), Error> {
        Error::check_bounds(offset, bytes.len(), self.len_bytes.get())?;
        let mut blocks = self.blocks.borrow_mut();
        let edge = usize::try_from(offset.wrapping_neg() % BLOCK_LEN_U64).unwrap_or(0);
        let (before, from) = bytes.split_at(edge.min(bytes.len()));
        let (whole, after) = from.split_at(from.len() - from.len() % BLOCK_LEN);
        let first = offset.div_ceil(BLOCK_LEN_U64);
        if !self.write_past_memory(&mut blocks, first, whole)? {
            return self.write_in_memory(&mut blocks, offset, bytes);
        }
        self.write_in_memory(&mut blocks, offset, before)?;
        self.write_in_memory(&mut blocks, first * BLOCK_LEN_U64 + whole.len() as u64, after)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Memory;
    use super::*;

    /// Three blocks and a bit, every byte telling where it is.
    fn base() -> Memory {
        Memory::new((0..3 * BLOCK_LEN + 100).map(|at| u8::try_from(at % 251).unwrap()).collect())
    }

    fn read(device: &dyn ReadAt, offset: u64, len: usize) -> Vec<u8> {
        let mut buf = vec![0; len];
        device.read_at(offset, &mut buf).unwrap();
        buf
    }

    #[test]
    fn an_untouched_overlay_reads_like_its_base() {
        let overlay = Overlay::new(base());
        assert_eq!(read(&overlay, 0, 3 * BLOCK_LEN + 100), base().into_bytes());
        assert_eq!(overlay.dirty_extents(), []);
    }

    #[test]
    fn writes_across_blocks_are_read_back_and_the_base_keeps_its_bytes() {
        for (offset, len) in [(0, 1), (4095, 2), (4096, 4096), (100, 8192), (3 * 4096 + 90, 10), (8191, 4098)]
        {
            let overlay = Overlay::new(base());
            overlay.write_at(offset, &vec![0xaa; len]).unwrap();
            let mut wanted = base().into_bytes();
            wanted[usize::try_from(offset).unwrap()..][..len].fill(0xaa);
            assert_eq!(read(&overlay, 0, wanted.len()), wanted, "{len} bytes at {offset}");
            for start in [0, 1, 4095, 4096, 5000] {
                assert_eq!(
                    read(&overlay, start as u64, 5000),
                    wanted[start..start + 5000],
                    "read at {start}"
                );
            }
            assert_eq!(overlay.base().clone().into_bytes(), base().into_bytes());
        }
    }

    /// Two blocks of memory, so that nearly every write spills.
    #[test]
    fn what_was_spilled_reads_like_what_was_not() {
        let folder = tempfile::tempdir().unwrap();
        let (plain, spilling) =
            (Overlay::new(base()), Overlay::spilling(base(), folder.path().to_owned(), 2 * BLOCK_LEN_U64));
        for device in [&plain, &spilling] {
            device.grow(40 * BLOCK_LEN_U64);
            let mut state = 7_u64;
            for round in 0..400_u64 {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(round);
                let offset = (state >> 33) % (39 * BLOCK_LEN_U64);
                // Some are long enough to go past memory.
                let most = if round % 5 == 0 { 130_000 } else { 9000 };
                let len = usize::try_from((state >> 20) % most % (40 * BLOCK_LEN_U64 - offset)).unwrap();
                device.write_at(offset, &vec![u8::try_from(round % 251).unwrap(); len]).unwrap();
            }
        }
        assert_eq!(spilling.dirty_extents(), plain.dirty_extents());
        assert_eq!(spilling.dirty_bytes(), plain.dirty_bytes());
        assert!(spilling.blocks.borrow().len() <= 2);
        for offset in (0..39 * BLOCK_LEN_U64).step_by(1777) {
            for len in [0, 1, 100, 5000, 20_000, 100_000] {
                let len = len.min(usize::try_from(40 * BLOCK_LEN_U64 - offset).unwrap());
                assert!(read(&spilling, offset, len) == read(&plain, offset, len), "{len} at {offset}");
            }
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "the file has a name");
    }

    #[test]
    fn a_spill_without_a_folder_says_so() {
        let overlay = Overlay::spilling(base(), PathBuf::from("/no/such/folder"), BLOCK_LEN_U64);
        overlay.write_at(0, &[1]).unwrap();
        assert!(matches!(overlay.write_at(BLOCK_LEN_U64, &[1]), Err(Error::Spill { .. })));
    }

    #[test]
    fn dirty_extents_join_neighbours_and_end_with_the_device() {
        let overlay = Overlay::new(base());
        overlay.write_at(4096, &[1]).unwrap();
        overlay.write_at(0, &[1]).unwrap();
        overlay.write_at(3 * 4096, &[1]).unwrap();
        let wanted = [Extent { offset: 0, len_bytes: 8192 }, Extent { offset: 3 * 4096, len_bytes: 100 }];
        assert_eq!(overlay.dirty_extents(), wanted);
        assert_eq!(overlay.dirty_bytes(), 3 * 4096);
    }

    #[test]
    fn a_write_past_the_end_is_refused_until_the_overlay_has_grown() {
        let overlay = Overlay::new(base());
        let end = overlay.len_bytes();
        assert!(overlay.write_at(end - 1, &[1, 2]).is_err());
        overlay.grow(end + 10_000);
        overlay.write_at(end - 1, &[1, 2]).unwrap();
        assert_eq!(read(&overlay, end - 1, 3), [1, 2, 0]);
        assert_eq!(read(&overlay, end + 9_999, 1), [0]);
    }
}
