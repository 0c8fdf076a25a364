//! Bitmaps of blocks and inodes: one block each, one bit for each, least significant first; 1 is in use.

use super::checksum::crc32c;

/// One bitmap. Bits past the group's last block or inode are padding and always 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Bitmap {
    bytes: Vec<u8>,
    dirty: bool,
}

impl Bitmap {
    pub(super) fn new(bytes: Vec<u8>) -> Self {
        Self { bytes, dirty: false }
    }

    /// A bitmap that was never written: `len` bits free, the padding set.
    pub(super) fn free(block_len: usize, len: u32) -> Self {
        let mut bitmap = Self::new(vec![0; block_len]);
        let bits = u32::try_from(block_len * 8).unwrap_or(u32::MAX);
        bitmap.set(len, bits.saturating_sub(len), true);
        bitmap.dirty = false;
        bitmap
    }

    /// As [`Self::free`], and to be written.
    pub(super) fn fresh(block_len: usize, len: u32) -> Self {
        Self { dirty: true, ..Self::free(block_len, len) }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(super) fn is_dirty(&self) -> bool {
        self.dirty
    }

    /// It is to be written.
    pub(super) fn set_dirty(&mut self) {
        self.dirty = true;
    }

    pub(super) fn set_clean(&mut self) {
        self.dirty = false;
    }

    /// Of the bits that count: `bits` is the group's full size, even for a shorter last group.
    pub(super) fn checksum(&self, seed: u32, bits: u32) -> u32 {
        let len = usize::try_from(bits / 8).unwrap_or(usize::MAX).min(self.bytes.len());
        crc32c(seed, &self.bytes[..len])
    }

    /// How many of the first `len` bits are 0.
    pub(super) fn count_free(&self, len: u32) -> u32 {
        let whole = usize::try_from(len / 8).unwrap_or(usize::MAX).min(self.bytes.len());
        let in_whole: u32 = self.bytes[..whole].iter().map(|byte| byte.count_zeros()).sum();
        let rest = (len / 8 * 8..len).filter(|bit| !self.is_set(*bit)).count();
        in_whole + u32::try_from(rest).unwrap_or(0)
    }

    /// Whether the bit is 1; past the end it is.
    pub(super) fn is_set(&self, bit: u32) -> bool {
        self.byte(bit).is_none_or(|byte| byte >> (bit % 8) & 1 == 1)
    }

    /// Sets `len` bits from `start` on to `used`; gives the first that was so already.
    pub(super) fn set(&mut self, start: u32, len: u32, used: bool) -> Option<u32> {
        self.dirty = true;
        let mut fault = None;
        for bit in start..start.saturating_add(len) {
            if self.is_set(bit) == used {
                fault.get_or_insert(bit);
            }
            let Some(byte) = self.bytes.get_mut(usize::try_from(bit / 8).unwrap_or(usize::MAX)) else {
                break;
            };
            let mask = 1 << (bit % 8);
            *byte = if used { *byte | mask } else { *byte & !mask };
        }
        fault
    }

    /// The first run of free bits in `from..end`: its start, and its length up to `most`.
    pub(super) fn next_free(&self, from: u32, end: u32, most: u32) -> Option<(u32, u32)> {
        let mut start = from;
        while start < end && self.is_set(start) {
            let skip = if start.is_multiple_of(8) && self.byte(start) == Some(0xff) { 8 } else { 1 };
            start = start.saturating_add(skip);
        }
        if start >= end {
            return None;
        }
        let last = end.min(start.saturating_add(most));
        let len = (start..last).take_while(|bit| !self.is_set(*bit)).count();
        Some((start, u32::try_from(len).unwrap_or(0)))
    }

    /// The first run of `len` free bits in `from..end`.
    pub(super) fn find_run(&self, from: u32, end: u32, len: u32) -> Option<u32> {
        let mut at = from;
        while let Some((start, found)) = self.next_free(at, end, len) {
            if found >= len {
                return Some(start);
            }
            at = start.saturating_add(found.max(1));
        }
        None
    }

    fn byte(&self, bit: u32) -> Option<u8> {
        self.bytes.get(usize::try_from(bit / 8).unwrap_or(usize::MAX)).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fresh_bitmap_has_its_padding_set() {
        let bitmap = Bitmap::free(1024, 1000);
        assert_eq!((bitmap.count_free(1000), bitmap.count_free(8192)), (1000, 1000));
        assert!(!bitmap.is_set(999) && bitmap.is_set(1000) && bitmap.is_set(u32::MAX));
        assert!(!bitmap.is_dirty());
    }

    #[test]
    fn runs_are_found_between_what_is_in_use() {
        let mut bitmap = Bitmap::free(1024, 8192);
        assert_eq!(bitmap.set(0, 20, true), None);
        assert_eq!(bitmap.set(25, 1, true), None);
        assert_eq!(bitmap.next_free(0, 8192, 100), Some((20, 5)));
        assert_eq!(bitmap.find_run(0, 8192, 6), Some(26));
        assert_eq!(bitmap.find_run(0, 30, 6), None);
        assert_eq!(bitmap.next_free(0, 20, 1), None);
    }

    #[test]
    fn setting_what_is_set_is_told() {
        let mut bitmap = Bitmap::free(1024, 8192);
        assert_eq!(bitmap.set(5, 1, true), None);
        assert_eq!(bitmap.set(3, 4, true), Some(5));
        assert_eq!(bitmap.set(2, 4, false), Some(2));
    }
}
