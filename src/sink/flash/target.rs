//! Whole reads and writes over a medium that may do less at a time than it was asked for.

use std::io;

use super::error::Error;
use super::layout::end_of;
use crate::block::Extent;
use crate::sink::{BUFFER_ALIGN, Medium};

/// What is zeroed at a time.
const ZEROS_LEN: usize = 1 << 20;

/// Bytes that begin at a page, as direct I/O wants them.
#[derive(Debug)]
pub(super) struct Buffer {
    spare: Vec<u8>,
    start: usize,
    len: usize,
}

impl Buffer {
    /// `len` zeros.
    pub(super) fn new(len: usize) -> Self {
        let spare = vec![0; len + BUFFER_ALIGN];
        // Never more than the alignment, so that the bytes always fit.
        let start = spare.as_ptr().align_offset(BUFFER_ALIGN).min(BUFFER_ALIGN);
        Self { spare, start, len }
    }

    /// `len` zeros for a length of a piece, which is far below what memory can hold.
    pub(super) fn of(len_bytes: u64) -> Self {
        Self::new(usize::try_from(len_bytes).unwrap_or(0))
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.spare[self.start..][..self.len]
    }

    pub(super) fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.spare[self.start..][..self.len]
    }

    /// The first `len_bytes` of them, or all when there are fewer.
    pub(super) fn first(&self, len_bytes: u64) -> &[u8] {
        &self.bytes()[..self.fitting(len_bytes)]
    }

    pub(super) fn first_mut(&mut self, len_bytes: u64) -> &mut [u8] {
        let len = self.fitting(len_bytes);
        &mut self.bytes_mut()[..len]
    }

    fn fitting(&self, len_bytes: u64) -> usize {
        usize::try_from(len_bytes).unwrap_or(usize::MAX).min(self.len)
    }
}

/// A medium, and what it wants of offsets and lengths.
#[derive(Clone, Copy)]
pub(super) struct Target<'m> {
    medium: &'m dyn Medium,
    block_len: usize,
    unit_len: u64,
}

impl<'m> Target<'m> {
    pub(super) fn new(medium: &'m dyn Medium, unit_len: u64) -> Self {
        Self { medium, block_len: medium.block_len(), unit_len }
    }

    /// What the medium takes at the least, and the most that can be trusted to be written whole or not at all.
    pub(super) fn block_len(&self) -> usize {
        self.block_len
    }

    /// Writes all of `bytes`.
    ///
    /// # Errors
    /// [`Error::Write`]
    pub(super) fn write(&self, offset: u64, bytes: &[u8]) -> Result<(), Error> {
        let len = bytes.len();
        self.write_all(offset, bytes).map_err(|source| Error::Write { offset, len, source })
    }

    fn write_all(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let (mut at, mut rest) = (offset, bytes);
        while !rest.is_empty() {
            // After a short write the rest may begin inside a page.
            let outside = rest.as_ptr().align_offset(BUFFER_ALIGN);
            let written = if outside == 0 {
                self.medium.write_at(at, rest)
            } else {
                let mut step = Buffer::new(outside.min(rest.len()).min(BUFFER_ALIGN));
                let len = step.len;
                step.bytes_mut().copy_from_slice(&rest[..len]);
                self.medium.write_at(at, step.bytes())
            };
            match written {
                Ok(count) => {
                    let count = self.whole_blocks(count, rest.len()).ok_or(io::ErrorKind::WriteZero)?;
                    (at, rest) = (at + count as u64, &rest[count..]);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Fills `buf` from the medium.
    ///
    /// # Errors
    /// What the system says, or an end where the card should go on.
    pub(super) fn read(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        let (mut at, mut rest) = (offset, buf);
        while !rest.is_empty() {
            let outside = rest.as_ptr().align_offset(BUFFER_ALIGN);
            let read = if outside == 0 {
                self.medium.read_at(at, rest)
            } else {
                let mut step = Buffer::new(outside.min(rest.len()).min(BUFFER_ALIGN));
                let read = self.medium.read_at(at, step.bytes_mut());
                rest[..step.len].copy_from_slice(step.bytes());
                read
            };
            match read {
                Ok(count) => {
                    let count = self.whole_blocks(count, rest.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
                    (at, rest) = (at + count as u64, &mut rest[count..]);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// How much of what was done counts: whole blocks, so that the rest can be asked for at a block; nothing is none.
    fn whole_blocks(&self, count: usize, asked: usize) -> Option<usize> {
        let count = count.min(asked);
        Some(count - count % self.block_len).filter(|count| *count > 0)
    }

    /// # Errors
    /// [`Error::Sync`]
    pub(super) fn sync(&self) -> Result<(), Error> {
        self.medium.sync().map_err(Error::Sync)
    }

    /// Writes zeros. They are written, not discarded: what a card reads after a discard is its own affair (JESD84
    /// leaves it to the device, SCSI to LBPRZ), and the new filesystem must never show what the card held before.
    ///
    /// # Errors
    /// [`Error::Write`]
    pub(super) fn zero(&self, extent: Extent) -> Result<(), Error> {
        let zeros = Buffer::of(extent.len_bytes.min(ZEROS_LEN as u64));
        let mut at = extent.offset;
        while at < end_of(extent) {
            let piece = zeros.first(end_of(extent) - at);
            self.write(at, piece)?;
            at += piece.len() as u64;
        }
        Ok(())
    }

    /// Writes `bytes` so that they last, reads them back from the medium when `verify`, and writes them again up to
    /// `rewrites` times while they read back otherwise. How often that was.
    ///
    /// # Errors
    /// [`Error::Write`], [`Error::Sync`], [`Error::Unverified`]
    pub(super) fn put(&self, offset: u64, bytes: &[u8], verify: bool, rewrites: u32) -> Result<u32, Error> {
        let mut bad = Vec::new();
        for rewritten in 0..=rewrites {
            self.write(offset, bytes)?;
            self.sync()?;
            if verify {
                bad = self.differing(offset, bytes);
            }
            if bad.is_empty() {
                return Ok(rewritten);
            }
        }
        Err(Error::Unverified { extents: bad, rewrites })
    }

    /// The units that do not read as `wanted`, or not at all, ascending, neighbours joined.
    pub(super) fn differing(&self, offset: u64, wanted: &[u8]) -> Vec<Extent> {
        let mut found = Buffer::new(wanted.len());
        let whole = self.read(offset, found.bytes_mut()).is_ok();
        if whole && found.bytes() == wanted {
            return Vec::new();
        }
        let mut differing: Vec<Extent> = Vec::new();
        let (mut at, mut wanted) = (offset, wanted);
        let mut unit = Buffer::of(self.unit_len);
        while !wanted.is_empty() {
            let (now, after) =
                wanted.split_at(unit.fitting(self.unit_len - at % self.unit_len).min(wanted.len()));
            // One by one: what lies around a sector that cannot be read may be sound.
            let read = unit.first_mut(now.len() as u64);
            if self.read(at, read).is_err() || read != now {
                let extent = Extent { offset: at, len_bytes: now.len() as u64 };
                match differing.last_mut() {
                    Some(last) if end_of(*last) == at => last.len_bytes += extent.len_bytes,
                    _ => differing.push(extent),
                }
            }
            (at, wanted) = (at + now.len() as u64, after);
        }
        differing
    }
}
