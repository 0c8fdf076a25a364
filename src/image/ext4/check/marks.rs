//! What is remembered of every block and inode: a bit, or a small number in pages that are made when one is needed.

/// One bit for each of `len` things numbered from 0.
#[derive(Debug)]
pub(super) struct Bits {
    bytes: Vec<u8>,
    len: u64,
}

impl Bits {
    pub(super) fn new(len: u64) -> Self {
        Self { bytes: vec![0; usize::try_from(len.div_ceil(8)).unwrap_or(0)], len }
    }

    pub(super) fn get(&self, index: u64) -> bool {
        let byte = usize::try_from(index / 8).ok().and_then(|at| self.bytes.get(at)).copied().unwrap_or(0);
        index < self.len && byte >> (index % 8) & 1 == 1
    }

    /// Sets a bit; says whether it was clear. A bit past the end is not.
    pub(super) fn set(&mut self, index: u64) -> bool {
        if index >= self.len || self.get(index) {
            return false;
        }
        if let Some(byte) = usize::try_from(index / 8).ok().and_then(|at| self.bytes.get_mut(at)) {
            *byte |= 1 << (index % 8);
        }
        true
    }

    /// Sets `count` bits from `start` on; gives the first that was set already.
    pub(super) fn set_range(&mut self, start: u64, count: u64) -> Option<u64> {
        let mut twice = None;
        let end = start.saturating_add(count).min(self.len);
        let mut index = start;
        while index < end {
            // Whole bytes at once: an image is mostly long runs.
            let byte = usize::try_from(index / 8).ok().and_then(|at| self.bytes.get_mut(at));
            if index.is_multiple_of(8)
                && end - index >= 8
                && let Some(byte @ 0) = byte
            {
                *byte = 0xff;
                index += 8;
                continue;
            }
            if !self.set(index) && twice.is_none() {
                twice = Some(index);
            }
            index += 1;
        }
        twice
    }

    /// The `count` bits from `start` on, which is a multiple of 8, packed as a bitmap on disk is. Past the end they are
    /// clear.
    pub(super) fn packed(&self, start: u64, count: u64) -> Vec<u8> {
        let from = usize::try_from(start / 8).unwrap_or(usize::MAX);
        let len = usize::try_from(count.div_ceil(8)).unwrap_or(0);
        self.bytes.iter().skip(from).copied().chain(std::iter::repeat(0)).take(len).collect()
    }

    pub(super) fn count(&self) -> u64 {
        self.bytes.iter().map(|byte| u64::from(byte.count_ones())).sum()
    }
}

const PAGE: usize = 4096;

/// A small number for each of `len` things numbered from 0; 0 at first.
#[derive(Debug)]
pub(super) struct Pages<T> {
    pages: Vec<Option<Box<[T]>>>,
}

impl<T: Copy + Default> Pages<T> {
    pub(super) fn new(len: u64) -> Self {
        let pages = usize::try_from(len.div_ceil(PAGE as u64)).unwrap_or(0);
        Self { pages: (0..pages).map(|_| None).collect() }
    }

    pub(super) fn get(&self, index: u32) -> T {
        let (page, at) = split(index);
        let page = self.pages.get(page).and_then(Option::as_ref);
        page.and_then(|page| page.get(at)).copied().unwrap_or_default()
    }

    /// Puts a number. One past the end is dropped.
    pub(super) fn put(&mut self, index: u32, value: T) {
        let (page, at) = split(index);
        if let Some(page) = self.pages.get_mut(page) {
            let page = page.get_or_insert_with(|| vec![T::default(); PAGE].into_boxed_slice());
            if let Some(place) = page.get_mut(at) {
                *place = value;
            }
        }
    }
}

fn split(index: u32) -> (usize, usize) {
    let index = usize::try_from(index).unwrap_or(usize::MAX);
    (index / PAGE, index % PAGE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_that_meets_another_tells_where() {
        let mut bits = Bits::new(100);
        assert_eq!(bits.set_range(3, 50), None);
        assert_eq!((bits.get(2), bits.get(3), bits.get(52), bits.get(53)), (false, true, true, false));
        assert_eq!(bits.set_range(50, 10), Some(50));
        assert_eq!(bits.count(), 57);
        assert!(!bits.set(100) && !bits.get(100));
        assert_eq!(bits.set_range(96, 1 << 40), None);
        assert_eq!(bits.packed(96, 16), [0x0f, 0]);
        assert_eq!(bits.packed(0, 16), [0xf8, 0xff]);
    }

    #[test]
    fn numbers_past_the_end_are_dropped() {
        let mut numbers = Pages::<u16>::new(5000);
        numbers.put(4999, 7);
        numbers.put(u32::MAX, 9);
        assert_eq!((numbers.get(4999), numbers.get(0), numbers.get(u32::MAX)), (7, 0, 0));
    }
}
