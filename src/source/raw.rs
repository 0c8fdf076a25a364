//! The unpacked image: written with holes, hashed in chunks on all cores.

use std::fs::File;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use crate::base::{ChunkDigests, Interrupt, Progress, Sha256Digest, Sha256Hasher, is_zero};
use crate::block::host;

const CHUNK_LEN: usize = 256 << 10;
const _: () = assert!(CHUNK_LEN as u64 == ChunkDigests::CHUNK_LEN);
/// Runs of zeros this long become holes.
const HOLE_LEN: usize = 4096;

/// One core when the system does not say.
pub(super) fn cores() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

type Job = (u64, Vec<u8>);

/// What the whole digest is made from, in order.
enum Piece {
    Chunk(u64, Vec<u8>),
    Zeros(usize),
}

/// Threads that hash and hand the buffers back. Every chunk goes through one thread, which digests the image as a
/// whole, to one of several, which digest it for itself.
struct Hashers {
    pieces: SyncSender<Piece>,
    done: Receiver<(u64, Sha256Digest, Vec<u8>)>,
    whole: JoinHandle<Sha256Digest>,
    threads: Vec<JoinHandle<()>>,
}

impl Hashers {
    fn start() -> Self {
        let (pieces, in_order) = sync_channel::<Piece>(2);
        let (jobs, queue) = sync_channel::<Job>(1);
        let queue = Arc::new(Mutex::new(queue));
        let (results, done) = channel();
        let threads = (0..cores())
            .map(|_| {
                let (queue, results) = (Arc::clone(&queue), results.clone());
                thread::spawn(move || hash_all(&queue, &results))
            })
            .collect();
        let whole = thread::spawn(move || hash_whole(&in_order, &jobs));
        Self { pieces, done, whole, threads }
    }
}

fn hash_whole(pieces: &Receiver<Piece>, jobs: &SyncSender<Job>) -> Sha256Digest {
    let zeros = [0; HOLE_LEN];
    let mut hasher = Sha256Hasher::default();
    for piece in pieces {
        match piece {
            Piece::Chunk(index, bytes) => {
                hasher.update(&bytes);
                if jobs.send((index, bytes)).is_err() {
                    break;
                }
            }
            Piece::Zeros(len) => {
                for at in (0..len).step_by(HOLE_LEN) {
                    hasher.update(&zeros[..HOLE_LEN.min(len - at)]);
                }
            }
        }
    }
    hasher.finish()
}

fn hash_all(queue: &Mutex<Receiver<Job>>, results: &Sender<(u64, Sha256Digest, Vec<u8>)>) {
    loop {
        let job = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok((index, bytes)) = job else { return };
        let digest = Sha256Digest::of(&bytes);
        if results.send((index, digest, bytes)).is_err() {
            return;
        }
    }
}

/// The digests of a raw image.
#[derive(Debug)]
pub(super) struct RawDigests {
    pub(super) chunks: ChunkDigests,
    /// Of the image as a whole.
    pub(super) sha256: Sha256Digest,
}

/// Takes the unpacked bytes in order.
pub(super) struct RawWriter<'f> {
    file: &'f File,
    hashers: Hashers,
    digests: Vec<(u64, Sha256Digest)>,
    spare: Vec<Vec<u8>>,
    chunk: Vec<u8>,
    index: u64,
    head: Vec<u8>,
}

impl<'f> RawWriter<'f> {
    /// Writes to `file`, which is empty: what is zero is not written.
    pub(super) fn new(file: &'f File) -> Self {
        let chunk = Vec::with_capacity(CHUNK_LEN);
        let hashers = Hashers::start();
        Self { file, hashers, digests: Vec::new(), spare: Vec::new(), chunk, index: 0, head: Vec::new() }
    }

    /// How much has come.
    pub(super) fn len_bytes(&self) -> u64 {
        self.index * ChunkDigests::CHUNK_LEN + self.chunk.len() as u64
    }

    /// The first bytes, at most 512.
    pub(super) fn head(&self) -> &[u8] {
        &self.head
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let wanted = 512_usize.saturating_sub(self.head.len()).min(bytes.len());
        self.head.extend_from_slice(&bytes[..wanted]);
        let mut rest = bytes;
        while !rest.is_empty() {
            let (piece, after) = rest.split_at(rest.len().min(CHUNK_LEN - self.chunk.len()));
            self.chunk.extend_from_slice(piece);
            rest = after;
            if self.chunk.len() == CHUNK_LEN {
                self.end_chunk()?;
            }
        }
        Ok(())
    }

    fn end_chunk(&mut self) -> io::Result<()> {
        let index = self.index;
        self.index += 1;
        if is_zero(&self.chunk) {
            self.digests.push((index, ChunkDigests::of_zeros(self.chunk.len() as u64)));
            let zeros = Piece::Zeros(self.chunk.len());
            self.chunk.clear();
            return self.hash(zeros);
        }
        write_sparse(self.file, &self.chunk, index * ChunkDigests::CHUNK_LEN)?;
        for (index, digest, mut buffer) in self.hashers.done.try_iter() {
            self.digests.push((index, digest));
            buffer.clear();
            self.spare.push(buffer);
        }
        let fresh = self.spare.pop().unwrap_or_else(|| Vec::with_capacity(CHUNK_LEN));
        let full = std::mem::replace(&mut self.chunk, fresh);
        self.hash(Piece::Chunk(index, full))
    }

    fn hash(&self, piece: Piece) -> io::Result<()> {
        self.hashers.pieces.send(piece).map_err(|_| io::Error::other("the hashing threads are gone"))
    }

    /// Sets the length, and gives the digests.
    pub(super) fn finish(mut self) -> io::Result<RawDigests> {
        let len_bytes = self.len_bytes();
        if !self.chunk.is_empty() {
            self.end_chunk()?;
        }
        self.file.set_len(len_bytes)?;
        let Hashers { pieces, done, whole, threads } = self.hashers;
        drop(pieces);
        let failed = |_| io::Error::other("a hashing thread failed");
        let sha256 = whole.join().map_err(failed)?;
        for thread in threads {
            thread.join().map_err(failed)?;
        }
        self.digests.extend(done.try_iter().map(|(index, digest, _)| (index, digest)));
        self.digests.sort_unstable_by_key(|(index, _)| *index);
        let digests = self.digests.into_iter().map(|(_, digest)| digest).collect();
        let chunks = ChunkDigests::new(len_bytes, digests);
        let chunks = chunks.ok_or_else(|| io::Error::other("a chunk was not hashed"))?;
        Ok(RawDigests { chunks, sha256 })
    }
}

/// Writes what is not zero.
fn write_sparse(file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
    let mut run_start = None;
    for (number, piece) in bytes.chunks(HOLE_LEN).enumerate() {
        let at = number * HOLE_LEN;
        match (is_zero(piece), run_start) {
            (true, Some(start)) => {
                host::write_all_at(file, &bytes[start..at], offset + start as u64)?;
                run_start = None;
            }
            (false, None) => run_start = Some(at),
            _ => {}
        }
    }
    match run_start {
        Some(start) => host::write_all_at(file, &bytes[start..], offset + start as u64),
        None => Ok(()),
    }
}

/// Hashes a file that is there already; holes cost nothing. Stops early when interrupted, which the caller sees.
pub(super) fn digest_file(
    file: &File,
    progress: &dyn Progress,
    interrupt: &Interrupt,
) -> io::Result<ChunkDigests> {
    let len_bytes = file.metadata()?.len();
    let data = host::data_extents(file, len_bytes)?;
    let next = AtomicU64::new(0);
    let work = || -> io::Result<Vec<(u64, Sha256Digest)>> {
        let mut digests = Vec::new();
        let mut buffer = vec![0; CHUNK_LEN];
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let start = index.saturating_mul(ChunkDigests::CHUNK_LEN);
            if start >= len_bytes || interrupt.check().is_err() {
                return Ok(digests);
            }
            let len = (len_bytes - start).min(ChunkDigests::CHUNK_LEN);
            let next = data.partition_point(|data| data.offset + data.len_bytes <= start);
            let holds_data = data.get(next).is_some_and(|data| data.offset < start + len);
            let digest = if holds_data {
                let piece = &mut buffer[..usize::try_from(len).unwrap_or(CHUNK_LEN)];
                host::read_exact_at(file, piece, start)?;
                if is_zero(piece) { ChunkDigests::of_zeros(len) } else { Sha256Digest::of(piece) }
            } else {
                ChunkDigests::of_zeros(len)
            };
            digests.push((index, digest));
            progress.advance(len);
        }
    };
    let mut digests = Vec::new();
    thread::scope(|scope| -> io::Result<()> {
        let threads: Vec<_> = (0..cores()).map(|_| scope.spawn(work)).collect();
        for thread in threads {
            digests.extend(thread.join().map_err(|_| io::Error::other("a hashing thread failed"))??);
        }
        Ok(())
    })?;
    digests.sort_unstable_by_key(|(index, _)| *index);
    let digests = digests.into_iter().map(|(_, digest)| digest).collect();
    ChunkDigests::new(len_bytes, digests).ok_or_else(|| io::ErrorKind::Interrupted.into())
}
