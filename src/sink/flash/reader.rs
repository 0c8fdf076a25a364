//! A medium read at any offset, and never outside what it takes at a time.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::io;

use super::target::{Buffer, Target};
use crate::block::{self, ReadAt};
use crate::sink::Medium;

/// What is read at a time: metadata lies together, and a command costs a card more than these bytes.
const CHUNK_LEN: u64 = 64 << 10;
/// How many chunks are kept: 16 MiB, a few inode tables and directories.
const CHUNKS_MAX: usize = 256;

/// A card as a device to lay an overlay over. What was read is kept for a while: nobody else may write to the card.
pub struct Reader<M> {
    medium: M,
    kept: RefCell<Kept>,
}

#[derive(Default)]
struct Kept {
    chunks: BTreeMap<u64, Buffer>,
    /// The oldest first.
    order: VecDeque<u64>,
}

impl<M: Medium> Reader<M> {
    /// Reads through `medium`.
    pub fn new(medium: M) -> Self {
        Self { medium, kept: RefCell::default() }
    }

    /// Fills `buf` with what the chunk holds from `start` on.
    fn copy(&self, chunk: u64, start: usize, buf: &mut [u8]) -> io::Result<()> {
        let mut kept = self.kept.borrow_mut();
        if !kept.chunks.contains_key(&chunk) {
            let offset = chunk * CHUNK_LEN;
            let mut buffer = Buffer::of(CHUNK_LEN.min(self.len_bytes() - offset));
            Target::new(&self.medium, self.medium.block_len() as u64).read(offset, buffer.bytes_mut())?;
            if kept.order.len() >= CHUNKS_MAX
                && let Some(oldest) = kept.order.pop_front()
            {
                kept.chunks.remove(&oldest);
            }
            kept.chunks.insert(chunk, buffer);
            kept.order.push_back(chunk);
        }
        let bytes = kept.chunks.get(&chunk).and_then(|held| held.bytes().get(start..start + buf.len()));
        buf.copy_from_slice(bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }
}

impl<M: Medium> ReadAt for Reader<M> {
    /// In whole blocks, which is all that can be read.
    fn len_bytes(&self) -> u64 {
        let len = self.medium.len_bytes();
        len - len % self.medium.block_len() as u64
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<(), block::Error> {
        block::Error::check_bounds(offset, buf.len(), self.len_bytes())?;
        let (mut at, mut rest) = (offset, buf);
        while !rest.is_empty() {
            let (chunk, start) = (at / CHUNK_LEN, at % CHUNK_LEN);
            let len = usize::try_from(CHUNK_LEN - start).unwrap_or(0).min(rest.len());
            let (piece, after) = rest.split_at_mut(len);
            self.copy(chunk, usize::try_from(start).unwrap_or(0), piece)
                .map_err(|source| block::Error::Read { offset: at, len, source })?;
            (at, rest) = (at + len as u64, after);
        }
        Ok(())
    }
}
