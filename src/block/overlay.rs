//! A copy-on-write overlay: reads fall through to the base, writes stay here.
//!
//! A node is its base plus these blocks. Memory is what was written, in whole blocks of 4 KiB, and nothing else.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

use super::device::{Device, Error, ReadAt};

/// The unit of copying. 4 KiB: the block of the root filesystem, so that an edit of one copies just that.
const BLOCK_LEN: usize = 4096;
const BLOCK_LEN_U64: u64 = BLOCK_LEN as u64;

type Block = Box<[u8; BLOCK_LEN]>;

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
    blocks: RefCell<BTreeMap<u64, Block>>,
}

impl<B: ReadAt> Overlay<B> {
    /// An overlay that reads like `base`.
    pub fn new(base: B) -> Self {
        let len_bytes = Cell::new(base.len_bytes());
        Self { base, len_bytes, blocks: RefCell::default() }
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

    /// How many bytes of memory the edits take.
    #[must_use]
    pub fn dirty_bytes(&self) -> u64 {
        self.blocks.borrow().len() as u64 * BLOCK_LEN_U64
    }

    /// The runs of bytes that may differ from the base, ascending, apart from each other, inside the device.
    #[must_use]
    pub fn dirty_extents(&self) -> Vec<Extent> {
        let mut extents: Vec<Extent> = Vec::new();
        for number in self.blocks.borrow().keys() {
            let offset = number * BLOCK_LEN_U64;
            let len_bytes = BLOCK_LEN_U64.min(self.len_bytes.get() - offset);
            match extents.last_mut() {
                Some(last) if last.offset + last.len_bytes == offset => last.len_bytes += len_bytes,
                _ => extents.push(Extent { offset, len_bytes }),
            }
        }
        extents
    }

    /// What the base holds of block `number`; zero past its end.
    fn read_base(&self, number: u64) -> Result<Block, Error> {
        let mut block = Box::new([0; BLOCK_LEN]);
        self.read_base_at(number * BLOCK_LEN_U64, &mut block[..])?;
        Ok(block)
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
            let block = match blocks.entry(number) {
                std::collections::btree_map::Entry::Occupied(entry) => entry.into_mut(),
                std::collections::btree_map::Entry::Vacant(entry) if len == BLOCK_LEN => {
                    entry.insert(Box::new([0; BLOCK_LEN]))
                }
                std::collections::btree_map::Entry::Vacant(entry) => entry.insert(self.read_base(number)?),
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
