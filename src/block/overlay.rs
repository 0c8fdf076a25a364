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
        self.dirty_blocks().len() as u64 * BLOCK_LEN_U64
    }

    /// The numbers of all edited blocks, ascending.
    fn dirty_blocks(&self) -> Vec<u64> {
        let mut numbers: Vec<u64> = self.blocks.borrow().keys().copied().collect();
        if let Some(spill) = &self.spill {
            numbers.extend(spill.borrow().numbers());
            numbers.sort_unstable();
            numbers.dedup();
        }
        numbers
    }

    /// The runs of bytes that may differ from the base, ascending, apart from each other, inside the device.
    #[must_use]
    pub fn dirty_extents(&self) -> Vec<Extent> {
        let mut extents: Vec<Extent> = Vec::new();
        for number in self.dirty_blocks() {
            let offset = number * BLOCK_LEN_U64;
            let len_bytes = BLOCK_LEN_U64.min(self.len_bytes.get() - offset);
            match extents.last_mut() {
                Some(last) if last.offset + last.len_bytes == offset => last.len_bytes += len_bytes,
                _ => extents.push(Extent { offset, len_bytes }),
            }
        }
        extents
    }

    /// Block `number` as it was before it came into memory; zero past the end of the base.
    fn read_below(&self, number: u64) -> Result<Block, Error> {
        let mut block = Box::new([0; BLOCK_LEN]);
        let offset = number * BLOCK_LEN_U64;
        match &self.spill {
            Some(spill) if spill.borrow().holds(number) => self.read_spilled_at(offset, &mut block[..])?,
            _ => self.read_base_at(offset, &mut block[..])?,
        }
        Ok(block)
    }

    /// Puts what was spilled over `buf`.
    fn read_spilled_at(&self, offset: u64, buf: &mut [u8]) -> Result<(), Error> {
        let Some(spill) = &self.spill else { return Ok(()) };
        let len = buf.len();
        spill.borrow().read_over(offset, buf).map_err(|source| Error::Read { offset, len, source })
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
        let first = offset / BLOCK_LEN_U64;
        let end = offset + buf.len() as u64;
        // One read of the base for the whole range, then the edited blocks over it.
        let covered = blocks.range(first..=first).next().is_some_and(|_| end <= (first + 1) * BLOCK_LEN_U64);
        if !covered {
            self.read_base_at(offset, buf)?;
            self.read_spilled_at(offset, buf)?;
        }
        for (number, block) in blocks.range(first..end.div_ceil(BLOCK_LEN_U64).max(first)) {
            let block_start = number * BLOCK_LEN_U64;
            let from = offset.max(block_start);
            let to = end.min(block_start + BLOCK_LEN_U64);
            let len = usize::try_from(to - from).unwrap_or(0);
            let in_block = usize::try_from(from - block_start).unwrap_or(0);
            let in_buf = usize::try_from(from - offset).unwrap_or(0);
            buf[in_buf..in_buf + len].copy_from_slice(&block[in_block..in_block + len]);
        }
        Ok(())
    }
}

impl<B: ReadAt> Device for Overlay<B> {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<(), Error> {
        Error::check_bounds(offset, bytes.len(), self.len_bytes.get())?;
        let mut blocks = self.blocks.borrow_mut();
        let mut rest = bytes;
        for (number, start, len) in pieces(offset, bytes.len()) {
            let (piece, after) = rest.split_at(len);
            rest = after;
            if self.spill.is_some() && !blocks.contains_key(&number) {
                self.make_room(&mut blocks)?;
            }
            let block = match blocks.entry(number) {
                Entry::Occupied(entry) => entry.into_mut(),
                Entry::Vacant(entry) if len == BLOCK_LEN => entry.insert(Box::new([0; BLOCK_LEN])),
                Entry::Vacant(entry) => entry.insert(self.read_below(number)?),
            };
            block[start..start + len].copy_from_slice(piece);
        }
        Ok(())
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
                let len = usize::try_from((state >> 20) % 9000 % (40 * BLOCK_LEN_U64 - offset)).unwrap();
                device.write_at(offset, &vec![u8::try_from(round % 251).unwrap(); len]).unwrap();
            }
        }
        assert_eq!(spilling.dirty_extents(), plain.dirty_extents());
        assert_eq!(spilling.dirty_bytes(), plain.dirty_bytes());
        assert!(spilling.blocks.borrow().len() <= 2);
        for offset in (0..39 * BLOCK_LEN_U64).step_by(1777) {
            for len in [1, 100, 5000, 20_000] {
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
