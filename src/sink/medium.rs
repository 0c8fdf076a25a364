//! What a flash writes to: a card, or in tests something that fails on purpose.

use std::io;
use std::sync::Arc;

/// A block device. Reads and writes pass by the page cache: what is read comes from the medium, and what was written
/// may be lost until the next [`Self::sync`].
///
/// Offsets and lengths are multiples of [`Self::block_len`], and the buffers begin at addresses that are multiples of
/// [`BUFFER_ALIGN`] (open(2), `O_DIRECT`).
pub trait Medium: Sync {
    /// The length in bytes, as the device tells it.
    fn len_bytes(&self) -> u64;

    /// The logical block in bytes, mostly 512: what can be read or written at once at the least.
    fn block_len(&self) -> usize;

    /// Writes some of `bytes` at `offset`, perhaps not all; how many it was.
    ///
    /// # Errors
    /// What the system says.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<usize>;

    /// Reads some bytes from `offset` on, perhaps not as many as `buf` takes; 0 at the end.
    ///
    /// # Errors
    /// What the system says.
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize>;

    /// What was written before lasts from now on, whatever happens to the power.
    ///
    /// # Errors
    /// What the system says. What was written since the last sync may or may not be there.
    fn sync(&self) -> io::Result<()>;
}

impl<M: Medium + ?Sized + Send> Medium for Arc<M> {
    fn len_bytes(&self) -> u64 {
        (**self).len_bytes()
    }

    fn block_len(&self) -> usize {
        (**self).block_len()
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<usize> {
        (**self).write_at(offset, bytes)
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        (**self).read_at(offset, buf)
    }

    fn sync(&self) -> io::Result<()> {
        (**self).sync()
    }
}

/// Addresses that suit every device for direct I/O: a page.
pub const BUFFER_ALIGN: usize = 4096;
