//! An image onto a card: a card pulled out half-way never half-boots, and what is there at the end was read back.
//!
//! 1. The first block is zeroed: the card has no partition table from here to the end of step 5. Zeroed are then the
//!    rest of the first MiB and, where the image does not reach, the last: the backup of a GPT and marks of arrays.
//! 2. Is all of the card there (`probe.rs`)?
//! 3. What the image maps past the first MiB is written (`bulk.rs`), and no more than that. What lies between is free
//!    space to the new filesystem, which never reads it before it writes it; so what the card held before stays there
//!    and cannot be seen through the filesystem. Zeros that are mapped are written as zeros: the filesystem counts on
//!    reading them (a file's contents, an inode table), and the card held something else.
//! 4. After a sync it is read from the medium and compared by digest with what was handed to it; what differs is read
//!    from the image again and rewritten, some times.
//! 5. The first MiB but for its first block: written, synced, verified. Then the first block alone: with the sector
//!    that makes it all a disk, in one write that a card does wholly or not at all.
//!
//! Stopped anywhere, by the user, an error or the power, the first block is what it was before step 1 with all else
//! as it was too, or it is zero, or all is there. There is no file on the host to resume from: a resumed flash reads
//! the card, and leaves what is right.

use std::fmt;

use crate::base::{Interrupt, Progress};
use crate::block::{self, Extent, ReadAt};
use crate::sink::Medium;

mod bulk;
mod error;
mod layout;
mod probe;
mod reader;
mod target;

pub use error::{Error, Failed, Left};

use layout::{HEAD_LEN, Layout, end_of, read_image};
pub use reader::Reader;
use target::{Buffer, Target};

/// How an image is brought onto a card.
#[derive(Clone, Copy)]
pub struct Options<'o> {
    /// Read everything back and compare.
    pub verify: bool,
    /// Leave what is right already, as a flash that was interrupted has left it.
    pub resume: bool,
    /// How often a range that reads back otherwise is written again; [`REWRITES`] is a good number.
    pub rewrites: u32,
    /// Looked at between pieces, until the first block is written.
    pub interrupt: &'o Interrupt,
    /// Hears of bytes written, then of bytes verified.
    pub progress: &'o dyn Progress,
}

impl fmt::Debug for Options<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { verify, resume, rewrites, .. } = self;
        write!(f, "Options {{ verify: {verify}, resume: {resume}, rewrites: {rewrites}, .. }}")
    }
}

/// A card replaces a bad page by a spare one when it is written; when it has not managed to in three goes, it will not.
pub const REWRITES: u32 = 3;

/// What a flash did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flashed {
    /// Bytes of the image that were written, and the first MiB. Not counted: zeros at the end, marks, rewrites.
    pub written_bytes: u64,
    /// Bytes that a resumed flash found right and left.
    pub skipped_bytes: u64,
    /// Bytes that were read from the medium and were right: those written, when verified, and those skipped.
    pub verified_bytes: u64,
    /// What had to be written again to stay, ascending.
    pub rewritten: Vec<Extent>,
}

/// How the work is cut.
#[derive(Clone, Copy, Debug)]
struct Shape {
    /// The most that is written at once; a power of two, a multiple of every block a card may have.
    piece_len: u64,
    /// Threads that write, and later read: so many commands are under way.
    writers: usize,
}

impl Shape {
    /// One for each writer, and one more for each to go on with.
    fn buffers(self) -> usize {
        self.writers * 2
    }
}

/// 8 MiB for a card, and 4 more when it is resumed or verified. Measured on a device of 40 MB/s and 1 ms a command, with
/// an image that is decoded at 60 MB/s: one writer keeps it busy for 72 to 91 % of the time, two or four for 96 to 99 %,
/// and on a host with more to do than it can, four get 30 MB/s where two get 21. With 256 KiB the commands cost 15 %;
/// 4 MiB are no faster than 1 MiB. On a loop device over a disk, all of a 400 MiB image takes 0.41 s where
/// `dd bs=4M oflag=direct conv=fsync` takes 0.59 s (medians of six, in turns), and 1.5 s with verification.
const SHAPE: Shape = Shape { piece_len: 1 << 20, writers: 4 };

/// Brings the `mapped` ranges of `image` onto `medium`; ascending, apart from each other or touching. The rest of the
/// card stays as it is, but for the first and the last MiB, which are zero where the image does not map them, for what
/// lies in a gap of less than 64 KiB between two ranges or in the same 4 KiB as one, which becomes as in the image, and
/// for eleven places of 4 KiB, which may become zero.
///
/// `image` is read in the calling thread only.
///
/// # Errors
/// [`Failed`], which says what is on the card now.
pub fn flash(
    medium: &dyn Medium,
    image: &dyn ReadAt,
    mapped: &[Extent],
    options: Options<'_>,
) -> Result<Flashed, Failed> {
    flash_in(SHAPE, medium, image, mapped, options)
}

/// Changes a card to what `image` says, which is an overlay over the card itself: writes the `dirty` ranges, and nothing
/// else but the first MiB, in the order of [`flash()`]. Pulled out half-way, the card has no partition table; so from the
/// first write on it cannot be stopped.
///
/// # Errors
/// As for [`flash()`].
pub fn patch(
    medium: &dyn Medium,
    image: &dyn ReadAt,
    dirty: &[Extent],
    options: Options<'_>,
) -> Result<Flashed, Failed> {
    let untouched = |error: Error| Failed { left: Left::Untouched, error };
    options.interrupt.check().map_err(|interrupted| untouched(interrupted.into()))?;
    // Read before it is zeroed on the card.
    let mut head = vec![0; usize::try_from(HEAD_LEN.min(image.len_bytes())).unwrap_or(0)];
    image.read_at(0, &mut head).map_err(|error| untouched(error.into()))?;
    let head_len = head.len() as u64;
    let body = dirty.iter().filter(|extent| end_of(**extent) > head_len).map(|extent| {
        let offset = extent.offset.max(head_len);
        Extent { offset, len_bytes: end_of(*extent) - offset }
    });
    let mapped: Vec<Extent> =
        std::iter::once(Extent { offset: 0, len_bytes: head_len }).chain(body).collect();
    let never = Interrupt::default();
    let options = Options { interrupt: &never, resume: false, ..options };
    run(SHAPE, medium, &WithHead { head, image }, &mapped, options, Manner::Patch)
}

/// An image whose start is in memory.
struct WithHead<'i> {
    head: Vec<u8>,
    image: &'i dyn ReadAt,
}

impl ReadAt for WithHead<'_> {
    fn len_bytes(&self) -> u64 {
        self.image.len_bytes()
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<(), block::Error> {
        let held = usize::try_from(offset).ok().and_then(|start| self.head.get(start..)).unwrap_or(&[]);
        let (from_head, rest) = buf.split_at_mut(held.len().min(buf.len()));
        from_head.copy_from_slice(&held[..from_head.len()]);
        if rest.is_empty() { Ok(()) } else { self.image.read_at(offset + from_head.len() as u64, rest) }
    }
}

/// What a card holds beforehand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manner {
    /// Nothing that is to stay.
    Flash,
    /// All that is not written.
    Patch,
}

fn flash_in(
    shape: Shape,
    medium: &dyn Medium,
    image: &dyn ReadAt,
    mapped: &[Extent],
    options: Options<'_>,
) -> Result<Flashed, Failed> {
    run(shape, medium, image, mapped, options, Manner::Flash)
}

fn run(
    shape: Shape,
    medium: &dyn Medium,
    image: &dyn ReadAt,
    mapped: &[Extent],
    options: Options<'_>,
    manner: Manner,
) -> Result<Flashed, Failed> {
    let untouched = |error| Failed { left: Left::Untouched, error };
    let layout =
        Layout::new(medium.len_bytes(), medium.block_len(), image.len_bytes(), mapped).map_err(untouched)?;
    let target = Target::new(medium, layout.unit_len);
    let mut first = Buffer::new(target.block_len());
    // A block that cannot be read may well be written; then there is nothing to compare it with.
    let before = target.read(0, first.bytes_mut()).is_ok().then_some(first);
    options.interrupt.check().map_err(|interrupted| untouched(interrupted.into()))?;

    let mut flash = Flash { target, layout, image, options, shape, manner, before, stage: Stage::Removing };
    flash.run().map_err(|error| Failed { left: flash.clean_up(), error })
}

/// What is known of the first block of the card, which decides whether it is a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// It is being zeroed.
    Removing,
    /// It is zero and will be whatever happens.
    Removed,
    /// That, and the rest of the first MiB is being written.
    Head,
    /// It is being written.
    First,
}

struct Flash<'f> {
    target: Target<'f>,
    layout: Layout,
    image: &'f dyn ReadAt,
    options: Options<'f>,
    shape: Shape,
    manner: Manner,
    /// The first block as it was.
    before: Option<Buffer>,
    stage: Stage,
}

impl Flash<'_> {
    fn run(&mut self) -> Result<Flashed, Error> {
        self.remove_table()?;
        if self.manner == Manner::Flash {
            for extent in &self.layout.tail {
                self.target.zero(*extent)?;
            }
            probe::probe(&self.target, &self.layout, self.options)?;
        }

        let extents = self.layout.pieces(self.shape.piece_len);
        let body_bytes = extents.iter().map(|extent| extent.len_bytes).sum();
        let options = self.options;
        let pieces = watched(options, "writing", body_bytes, || {
            bulk::write(self.target, self.image, &extents, options, self.shape)
        })?;
        self.target.sync()?;
        let mut rewritten = Vec::new();
        if options.verify {
            // It was zero when the body began: whatever is there now was to go elsewhere.
            let zero_len = match self.manner {
                Manner::Flash => self.layout.head_len,
                Manner::Patch => self.target.block_len() as u64,
            };
            let strays = self.target.differing(0, Buffer::of(zero_len).bytes());
            if !strays.is_empty() {
                return Err(Error::Unverified { extents: strays, rewrites: 0 });
            }
            rewritten = watched(options, "verifying", body_bytes, || {
                bulk::verify(self.target, self.image, &pieces, options, self.shape)
            })?;
        }
        options.interrupt.check()?;
        rewritten.splice(0..0, self.write_head()?);

        let skipped = pieces.iter().filter(|piece| !piece.written);
        let skipped_bytes = skipped.map(|piece| piece.extent.len_bytes).sum();
        let total = body_bytes + self.layout.head_len;
        let written_bytes = total - skipped_bytes;
        let verified_bytes = if options.verify { total } else { skipped_bytes };
        Ok(Flashed { written_bytes, skipped_bytes, verified_bytes, rewritten })
    }

    /// Zeroes the first block, and that only: a cut during the write leaves the old disk, or none. Verified always.
    fn remove_table(&mut self) -> Result<(), Error> {
        let zeros = Buffer::new(self.target.block_len());
        let removed = self.target.put(0, zeros.bytes(), true, self.options.rewrites);
        if matches!(removed, Err(Error::Unverified { .. })) && self.reads_as_before() {
            return Err(Error::IgnoresWrites);
        }
        removed?;
        self.stage = Stage::Removed;
        Ok(())
    }

    /// Writes the first MiB, its first block last. What had to be rewritten.
    fn write_head(&mut self) -> Result<Vec<Extent>, Error> {
        let mut head = Buffer::of(self.layout.head_len);
        for extent in &self.layout.head {
            // The head holds its ranges, so this fits.
            let start = usize::try_from(extent.offset).unwrap_or(0);
            let (_, bytes) = head.first_mut(end_of(*extent)).split_at_mut(start);
            read_image(self.image, extent.offset, bytes)?;
        }
        let block_len = self.target.block_len();
        let (first, rest) = head.bytes().split_at(block_len.min(head.bytes().len()));
        let Options { verify, rewrites, .. } = self.options;
        let mut rewritten = Vec::new();

        self.stage = Stage::Head;
        if !rest.is_empty() && self.target.put(block_len as u64, rest, verify, rewrites)? > 0 {
            rewritten.push(Extent { offset: block_len as u64, len_bytes: rest.len() as u64 });
        }
        self.options.interrupt.check()?;
        self.stage = Stage::First;
        if self.target.put(0, first, verify, rewrites)? > 0 {
            rewritten.insert(0, Extent { offset: 0, len_bytes: first.len() as u64 });
        }
        Ok(rewritten)
    }

    /// Makes the card unbootable, where it is not already. What it is then.
    fn clean_up(&self) -> Left {
        let first = Extent { offset: 0, len_bytes: self.target.block_len() as u64 };
        match self.stage {
            // The write that failed first may have changed nothing.
            Stage::Removing if self.reads_as_before() => return Left::Untouched,
            Stage::Removing | Stage::First => {
                let zeroed = self.target.zero(first).and_then(|()| self.target.sync());
                if zeroed.is_err() || self.may_boot() {
                    return Left::Unknown;
                }
            }
            Stage::Removed | Stage::Head => {}
        }
        if matches!(self.stage, Stage::Head | Stage::First) {
            // For order only: without the first block it says nothing to anybody.
            let rest = Extent { offset: 0, len_bytes: self.layout.head_len };
            let _ = self.target.zero(rest).and_then(|()| self.target.sync());
        }
        Left::Unbootable
    }

    fn reads_as_before(&self) -> bool {
        let before = self.before.as_ref();
        before.is_some_and(|before| self.target.differing(0, before.bytes()).is_empty())
    }

    /// Whether the first sector may end like one of a disk or a boot sector: `55 aa` (UEFI 2.10, 5.2.1).
    fn may_boot(&self) -> bool {
        let mut first = Buffer::new(self.target.block_len());
        self.target.read(0, first.bytes_mut()).is_err() || first.bytes().get(510..512) == Some(&[0x55, 0xaa])
    }
}

/// Runs a job of `total_bytes` that tells how far it is.
fn watched<T>(options: Options<'_>, what: &str, total_bytes: u64, job: impl FnOnce() -> T) -> T {
    options.progress.start(what, Some(total_bytes));
    let done = job();
    options.progress.finish();
    done
}

#[cfg(test)]
mod faulty;
#[cfg(test)]
mod tests;
