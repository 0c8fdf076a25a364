//! The long part: pieces of the image written, read back, and written again where they do not stay.
//!
//! The image is read in the calling thread, which is the only one that may; a few writers hash and write, so that the
//! card has the next command while one is under way. Memory is the buffers, however long the image is.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Mutex, PoisonError};
use std::thread;

use super::error::Error;
use super::layout::read_image;
use super::target::{Buffer, Target};
use super::{Options, Shape};
use crate::base::{Interrupt, Interrupted, Sha256Digest};
use crate::block::{Extent, ReadAt};

/// When more pieces than this are bad the card is broken; with a few hundred it would only take long to say so.
const MAX_BAD: usize = 256;

/// A piece of the image on the card.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    /// Where.
    pub(super) extent: Extent,
    /// What the image holds there; not asked when nothing will be verified.
    digest: Option<Sha256Digest>,
    /// It was handed to the medium; else the medium had it already.
    pub(super) written: bool,
}

struct Job {
    index: usize,
    extent: Extent,
    buffer: Buffer,
}

struct Done {
    index: usize,
    buffer: Buffer,
    outcome: Result<Piece, Error>,
}

/// Writes the pieces of the image, and with `options.resume` only those that are not there yet. What is known of each,
/// in order.
///
/// # Errors
/// [`Error::Image`], [`Error::Write`], [`Error::Interrupted`]; what was begun is waited for.
pub(super) fn write(
    target: Target<'_>,
    image: &dyn ReadAt,
    pieces: &[Extent],
    options: Options<'_>,
    shape: Shape,
) -> Result<Vec<Piece>, Error> {
    // Raised here when the work failed: what is queued is then dropped, not written.
    let stop = options.interrupt.child();
    // Neither queue can be longer than there are buffers.
    let (jobs, queue) = mpsc::channel::<Job>();
    let queue = Mutex::new(queue);
    let (reports, done) = mpsc::channel::<Done>();
    thread::scope(|scope| {
        for _ in 0..shape.writers {
            let reports = reports.clone();
            scope.spawn(|| run_writer(target, &queue, reports, options, &stop));
        }
        drop(reports);
        let written = feed(image, pieces, jobs, &done, options, shape);
        if written.is_err() {
            stop.raise();
        }
        written
    })
}

/// Hands out pieces and takes back what became of them.
fn feed(
    image: &dyn ReadAt,
    pieces: &[Extent],
    jobs: Sender<Job>,
    done: &Receiver<Done>,
    options: Options<'_>,
    shape: Shape,
) -> Result<Vec<Piece>, Error> {
    let mut settled = Vec::with_capacity(pieces.len());
    let mut settle = |done: Done| {
        let piece = done.outcome?;
        options.progress.advance(piece.extent.len_bytes);
        settled.push((done.index, piece));
        Ok::<_, Error>(done.buffer)
    };
    let mut unused = shape.buffers();
    for (index, extent) in pieces.iter().enumerate() {
        options.interrupt.check()?;
        let mut buffer = if unused > 0 {
            unused -= 1;
            Buffer::of(shape.piece_len)
        } else {
            // Writers only end before the queue does when one panicked, which the scope passes on.
            settle(done.recv().map_err(|_| Interrupted)?)?
        };
        read_image(image, extent.offset, buffer.first_mut(extent.len_bytes))?;
        jobs.send(Job { index, extent: *extent, buffer }).map_err(|_| Interrupted)?;
    }
    drop(jobs);
    for done in done {
        settle(done)?;
    }
    settled.sort_unstable_by_key(|(index, _)| *index);
    Ok(settled.into_iter().map(|(_, piece)| piece).collect())
}

fn run_writer(
    target: Target<'_>,
    queue: &Mutex<Receiver<Job>>,
    reports: Sender<Done>,
    options: Options<'_>,
    stop: &Interrupt,
) {
    let mut found = None;
    loop {
        let job = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(Job { index, extent, buffer }) = job else { return };
        let bytes = buffer.first(extent.len_bytes);
        let outcome = stop.check().map_err(Error::from).and_then(|()| {
            let digest = options.verify.then(|| Sha256Digest::of(bytes));
            if options.resume {
                let found = found.get_or_insert_with(|| Buffer::new(buffer.bytes().len()));
                let found = found.first_mut(extent.len_bytes);
                // What cannot be read is not right.
                if target.read(extent.offset, found).is_ok() && found == bytes {
                    return Ok(Piece { extent, digest, written: false });
                }
            }
            target.write(extent.offset, bytes)?;
            Ok(Piece { extent, digest, written: true })
        });
        if reports.send(Done { index, buffer, outcome }).is_err() {
            return;
        }
    }
}

/// Reads from the medium what was written, and writes again what reads otherwise. The pieces that had to be, ascending.
///
/// # Errors
/// [`Error::Unverified`] for what stays bad, [`Error::Broken`] when it is too much; [`Error::Image`],
/// [`Error::Write`], [`Error::Sync`], [`Error::Interrupted`]
pub(super) fn verify(
    target: Target<'_>,
    image: &dyn ReadAt,
    pieces: &[Piece],
    options: Options<'_>,
    shape: Shape,
) -> Result<Vec<Extent>, Error> {
    let mut rewritten = Vec::new();
    let mut bad = find_bad(target, pieces, options, shape, |piece| piece.written)?;
    for _ in 0..options.rewrites {
        if bad.is_empty() {
            break;
        }
        options.progress.note(&format!("writing {} bad range(s) again, and reading everything", bad.len()));
        rewrite(target, image, &bad, options)?;
        rewritten.append(&mut bad);
        // All of it: on a card that puts two places into one, what was rewritten is over something that was right.
        bad = find_bad(target, pieces, options, shape, |_| true)?;
    }
    if !bad.is_empty() {
        let units = differing(target, image, &bad, options)?;
        let extents = if units.is_empty() { bad } else { units };
        return Err(Error::Unverified { extents, rewrites: options.rewrites });
    }
    rewritten.sort_unstable_by_key(|extent| extent.offset);
    rewritten.dedup();
    Ok(rewritten)
}

/// The pieces looked at that read otherwise or not at all, ascending.
fn find_bad(
    target: Target<'_>,
    pieces: &[Piece],
    options: Options<'_>,
    shape: Shape,
    is_looked_at: impl Fn(&Piece) -> bool + Sync,
) -> Result<Vec<Extent>, Error> {
    let next = AtomicUsize::new(0);
    let bad = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..shape.writers {
            scope.spawn(|| {
                let mut buffer = Buffer::of(shape.piece_len);
                while options.interrupt.check().is_ok() {
                    let Some(piece) = pieces.get(next.fetch_add(1, Ordering::Relaxed)) else { return };
                    if is_looked_at(piece) && !reads_right(target, piece, &mut buffer) {
                        let mut bad = bad.lock().unwrap_or_else(PoisonError::into_inner);
                        bad.push(piece.extent);
                        if bad.len() > MAX_BAD {
                            return;
                        }
                    }
                    options.progress.advance(piece.extent.len_bytes);
                }
            });
        }
    });
    options.interrupt.check()?;
    let mut bad = bad.into_inner().unwrap_or_else(PoisonError::into_inner);
    bad.sort_unstable_by_key(|extent: &Extent| extent.offset);
    if bad.len() > MAX_BAD { Err(Error::Broken { extents: bad }) } else { Ok(bad) }
}

fn reads_right(target: Target<'_>, piece: &Piece, buffer: &mut Buffer) -> bool {
    let found = buffer.first_mut(piece.extent.len_bytes);
    target.read(piece.extent.offset, found).is_ok() && Some(Sha256Digest::of(found)) == piece.digest
}

/// Writes ranges of the image once more; none is longer than a piece.
fn rewrite(
    target: Target<'_>,
    image: &dyn ReadAt,
    extents: &[Extent],
    options: Options<'_>,
) -> Result<(), Error> {
    for extent in extents {
        options.interrupt.check()?;
        let mut buffer = Buffer::of(extent.len_bytes);
        read_image(image, extent.offset, buffer.bytes_mut())?;
        target.write(extent.offset, buffer.bytes())?;
    }
    target.sync()
}

/// What of these ranges the medium does not have as the image has it, to the unit.
fn differing(
    target: Target<'_>,
    image: &dyn ReadAt,
    extents: &[Extent],
    options: Options<'_>,
) -> Result<Vec<Extent>, Error> {
    let mut differing = Vec::new();
    for extent in extents {
        options.interrupt.check()?;
        let mut wanted = Buffer::of(extent.len_bytes);
        read_image(image, extent.offset, wanted.bytes_mut())?;
        differing.extend(target.differing(extent.offset, wanted.bytes()));
    }
    Ok(differing)
}
