//! Which bytes of two images may differ, found without looking at what they mean. Holes of both and blocks that both
//! share are not read; the rest is read once, by all processors.

use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use crate::base::{Interrupt, Progress};
use crate::block::{self, Extent, ReadAt, host, shared};
use crate::build::Error;

/// A device that several threads may read.
pub(super) type Source = dyn ReadAt + Send + Sync;

/// Read and compared at a time: twice that stays in a processor's cache.
const PIECE_LEN: usize = 256 << 10;
/// How exactly a difference is told: the block of most filesystems.
const BLOCK_LEN: usize = 4096;
/// Reading less than this takes no time worth a progress bar.
const TELLING_BYTES: u64 = 512 << 20;
/// Ranges beyond this many are joined over ever wider gaps: 16 MiB of memory.
const RANGES_MAX: usize = 1 << 20;
/// Readers beyond this only wait for the disk.
const THREADS_MAX: usize = 8;

/// Runs of bytes, ascending and apart: none outside them differs, what is inside may.
#[derive(Debug, Default)]
pub(super) struct Ranges {
    list: Vec<Range<u64>>,
    /// Runs no further apart than this are one.
    gap: u64,
}

impl Ranges {
    /// Adds a run that begins no earlier than the last one.
    fn push(&mut self, range: Range<u64>) {
        if range.is_empty() {
            return;
        }
        if let Some(last) =
            self.list.last_mut().filter(|last| range.start <= last.end.saturating_add(self.gap))
        {
            last.end = last.end.max(range.end);
            return;
        }
        self.list.push(range);
        if self.list.len() > RANGES_MAX {
            self.gap = (self.gap * 2).max(BLOCK_LEN as u64);
            for range in std::mem::take(&mut self.list) {
                self.push(range);
            }
        }
    }

    /// The runs in `list`, which are in any order.
    pub(super) fn of(mut list: Vec<Range<u64>>) -> Self {
        list.sort_unstable_by_key(|range| range.start);
        let mut ranges = Self::default();
        list.into_iter().for_each(|range| ranges.push(range));
        ranges
    }

    pub(super) fn into_list(self) -> Vec<Range<u64>> {
        self.list
    }

    /// These, and `extents`.
    pub(super) fn and(self, extents: impl IntoIterator<Item = Extent>) -> Self {
        let more = extents.into_iter().map(|extent| range_of(&extent));
        Self::of(self.list.into_iter().chain(more).collect())
    }

    /// May anything in `range` differ?
    pub(super) fn touch(&self, range: &Range<u64>) -> bool {
        self.within(range).next().is_some()
    }

    /// The parts of `range` that may differ.
    pub(super) fn within(&self, range: &Range<u64>) -> impl Iterator<Item = Range<u64>> {
        let (start, end) = (range.start, range.end);
        let first = self.list.partition_point(|known| known.end <= start);
        self.list
            .iter()
            .skip(first)
            .take_while(move |known| known.start < end)
            .map(move |known| known.start.max(start)..known.end.min(end))
            .filter(|part| !part.is_empty())
    }
}

fn range_of(extent: &Extent) -> Range<u64> {
    extent.offset..extent.offset.saturating_add(extent.len_bytes)
}

/// Compares two devices byte by byte; what only the longer one has differs.
pub(super) fn differing(
    one: &Source,
    other: &Source,
    progress: &dyn Progress,
    interrupt: &Interrupt,
) -> Result<Ranges, Error> {
    let (short, long) = (one.len_bytes().min(other.len_bytes()), one.len_bytes().max(other.len_bytes()));
    let todo = to_read(one, other, short)?;
    let total: u64 = todo.iter().map(|range| range.end - range.start).sum();
    let is_told = total >= TELLING_BYTES;
    if is_told {
        progress.start("compare blocks", Some(total));
    }
    let advance = |bytes| {
        if is_told {
            progress.advance(bytes)
        }
    };
    let work = Mutex::new(Pieces { ranges: todo.into_iter(), left: 0..0 });
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(THREADS_MAX);
    let found: Result<Vec<Ranges>, Error> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|_| scope.spawn(|| compare_pieces(one, other, &work, &advance, interrupt)))
            .collect();
        workers
            .into_iter()
            .map(|worker| worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect()
    });
    if is_told {
        progress.finish();
    }
    let mut list: Vec<Range<u64>> = found?.into_iter().flat_map(|ranges| ranges.list).collect();
    list.push(short..long);
    Ok(Ranges::of(list))
}

/// Do the devices differ in `range`, which lies in both? Only what `ranges` says is read.
pub(super) fn differ_in(
    one: &Source,
    other: &Source,
    ranges: &Ranges,
    range: &Range<u64>,
    interrupt: &Interrupt,
) -> Result<bool, Error> {
    let (mut here, mut there) = (vec![0; PIECE_LEN], vec![0; PIECE_LEN]);
    let pieces = Pieces { ranges: ranges.within(range).collect::<Vec<_>>().into_iter(), left: 0..0 };
    for piece in pieces {
        interrupt.check()?;
        if read_both(one, other, &piece, &mut here, &mut there)?.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// What has to be read to know: where one of them is no hole, and they do not share it.
fn to_read(one: &Source, other: &Source, len_bytes: u64) -> Result<Vec<Range<u64>>, Error> {
    let mut data = data_ranges(one, len_bytes)?;
    data.extend(data_ranges(other, len_bytes)?);
    let shared = match (one.host_file(), other.host_file()) {
        (Some(one), Some(other)) => shared::shared_extents(one, other),
        _ => Vec::new(),
    };
    let mut todo = Vec::new();
    let mut known = shared.iter().map(range_of).peekable();
    for range in Ranges::of(data).list {
        let mut at = range.start;
        while let Some(same) = known.peek().filter(|same| same.start < range.end) {
            if same.start > at {
                todo.push(at..same.start);
            }
            at = at.max(same.end);
            if same.end > range.end {
                break;
            }
            known.next();
        }
        if at < range.end {
            todo.push(at..range.end);
        }
    }
    Ok(todo)
}

fn data_ranges(device: &Source, len_bytes: u64) -> Result<Vec<Range<u64>>, Error> {
    let Some(file) = device.host_file() else { return Ok(std::iter::once(0..len_bytes).collect()) };
    let extents = host::data_extents(file, len_bytes).map_err(|source| block::Error::Read {
        offset: 0,
        len: 0,
        source,
    })?;
    Ok(extents.iter().map(range_of).collect())
}

/// Ranges, cut into pieces that are read at once.
struct Pieces {
    ranges: std::vec::IntoIter<Range<u64>>,
    left: Range<u64>,
}

impl Iterator for Pieces {
    type Item = Range<u64>;

    fn next(&mut self) -> Option<Range<u64>> {
        while self.left.is_empty() {
            self.left = self.ranges.next()?;
        }
        let end = self.left.end.min(self.left.start.saturating_add(PIECE_LEN as u64));
        let piece = self.left.start..end;
        self.left.start = end;
        Some(piece)
    }
}

/// Takes pieces until there are none.
fn compare_pieces(
    one: &Source,
    other: &Source,
    work: &Mutex<Pieces>,
    advance: &(dyn Fn(u64) + Sync),
    interrupt: &Interrupt,
) -> Result<Ranges, Error> {
    let (mut here, mut there) = (vec![0; PIECE_LEN], vec![0; PIECE_LEN]);
    let mut found = Ranges::default();
    loop {
        interrupt.check()?;
        let Some(piece) = work.lock().unwrap_or_else(PoisonError::into_inner).next() else {
            return Ok(found);
        };
        if let Some((here, there)) = read_both(one, other, &piece, &mut here, &mut there)? {
            let mut at = piece.start;
            for (here, there) in here.chunks(BLOCK_LEN).zip(there.chunks(BLOCK_LEN)) {
                let end = at + here.len() as u64;
                if here != there {
                    found.push(at..end);
                }
                at = end;
            }
        }
        advance(piece.end - piece.start);
    }
}

/// A piece as it is in both.
type Unlike<'b> = (&'b [u8], &'b [u8]);

/// Reads a piece from both; `None` when it is the same.
fn read_both<'b>(
    one: &Source,
    other: &Source,
    piece: &Range<u64>,
    here: &'b mut [u8],
    there: &'b mut [u8],
) -> Result<Option<Unlike<'b>>, Error> {
    let len = usize::try_from(piece.end - piece.start).unwrap_or(usize::MAX);
    let (len_here, len_there) = (len.min(here.len()), len.min(there.len()));
    let (here, there) = (&mut here[..len_here], &mut there[..len_there]);
    one.read_at(piece.start, here)?;
    other.read_at(piece.start, there)?;
    Ok((here != there).then_some((here, there)))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;
    use crate::base::Silent;
    use crate::block::FileDevice;

    fn device(bytes: &[u8]) -> FileDevice {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        FileDevice::new(file).unwrap()
    }

    /// Begin and end of each run that differs.
    fn compared(one: &FileDevice, other: &FileDevice) -> Vec<(u64, u64)> {
        let list = differing(one, other, &Silent, &Interrupt::default()).unwrap().list;
        list.into_iter().map(|range| (range.start, range.end)).collect()
    }

    #[test]
    fn a_byte_is_found_wherever_it_differs() {
        let bytes = vec![1; 3 * PIECE_LEN + 100];
        let one = device(&bytes);
        assert_eq!(compared(&one, &device(&bytes)), []);
        for at in [0, BLOCK_LEN - 1, BLOCK_LEN, PIECE_LEN - 1, PIECE_LEN, 3 * PIECE_LEN, bytes.len() - 1] {
            let mut changed = bytes.clone();
            changed[at] = 2;
            let start = (at - at % BLOCK_LEN) as u64;
            let end = (start + BLOCK_LEN as u64).min(bytes.len() as u64);
            assert_eq!(compared(&one, &device(&changed)), [(start, end)], "{at}");
        }
    }

    #[test]
    fn a_hole_is_the_same_as_zeros_and_not_as_data() {
        let len = 8 * PIECE_LEN as u64;
        let hole = tempfile::tempfile().unwrap();
        hole.set_len(len).unwrap();
        let hole = FileDevice::new(hole).unwrap();
        let mut bytes = vec![0; 8 * PIECE_LEN];
        assert_eq!(compared(&hole, &device(&bytes)), []);
        bytes[5 * PIECE_LEN] = 1;
        let start = 5 * PIECE_LEN as u64;
        assert_eq!(compared(&hole, &device(&bytes)), [(start, start + BLOCK_LEN as u64)]);
        assert_eq!(compared(&device(&bytes), &hole), [(start, start + BLOCK_LEN as u64)]);
    }

    #[test]
    fn what_only_the_longer_one_has_differs() {
        let bytes = vec![1; 10_000];
        assert_eq!(compared(&device(&bytes), &device(&bytes[..9000])), [(9000, 10_000)]);
    }

    #[test]
    fn a_range_may_differ_where_it_meets_one_that_does() {
        let ranges = Ranges::of(vec![100..200, 300..400]);
        for (range, touched) in
            [(0..100, false), (0..101, true), (199..300, true), (200..300, false), (399..900, true)]
        {
            assert_eq!(ranges.touch(&range), touched, "{range:?}");
        }
        assert_eq!(ranges.within(&(150..310)).collect::<Vec<_>>(), [150..200, 300..310]);
        let more = ranges.and([Extent { offset: 200, len_bytes: 50 }]);
        assert_eq!(more.list, [100..250, 300..400]);
    }

    #[test]
    fn too_many_ranges_are_joined_and_none_is_lost() {
        let mut ranges = Ranges::default();
        let all = (RANGES_MAX as u64 + 10) * 8192;
        (0..all / 8192).for_each(|nth| ranges.push(nth * 8192..nth * 8192 + 4096));
        assert!(ranges.list.len() <= RANGES_MAX, "{}", ranges.list.len());
        assert!((0..all / 8192).step_by(4099).all(|nth| ranges.touch(&(nth * 8192..nth * 8192 + 1))));
    }

    #[test]
    fn comparing_stops_when_asked_to() {
        let interrupt = Interrupt::default();
        interrupt.raise();
        let (one, other) = (device(&[1; 5000]), device(&[1; 5000]));
        assert!(matches!(differing(&one, &other, &Silent, &interrupt), Err(Error::Interrupted(_))));
    }
}
