//! The workers that compress, and what they have compressed.
//!
//! A node's thread asks for pieces ([`Pool::common`], [`Pool::own`]) and waits for them ([`Pool::wait`]); workers take
//! what is asked for, in an order of their own. A piece that several nodes want is compressed once.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::codec::{Codec, Source};
use super::prefix::Prefix;
use super::store::{RunReader, Runs, Store};
use super::xz::Block;
use super::{Archive, Error};
use crate::base::Interrupt;
use crate::block::{FileDevice, ReadAt as _, host};

/// Between two looks at the interrupt while waiting.
const LOOK: Duration = Duration::from_millis(50);

/// A compressed piece.
#[derive(Clone, Debug)]
pub(super) struct Piece {
    /// What stands around the bytes, and what the index wants to know.
    pub(super) block: Block,
    pub(super) bytes: Bytes,
}

/// Where compressed bytes are.
#[derive(Clone, Debug)]
pub(super) enum Bytes {
    Memory(Vec<u8>),
    Stored(Runs),
    /// There already, in the archive.
    Archived(Prefix),
}

/// A piece that is there or will be. Dropped before a worker came to it, nobody compresses it.
pub(super) type Ticket = Arc<OnceLock<Result<Piece, Arc<Error>>>>;

/// What all nodes share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Common {
    Base { offset: u64, len: u64 },
    Zeros { len: u64 },
    Start(Prefix),
}

#[derive(Debug, Default)]
struct State {
    /// Taken first: they are short, and are in memory until they are done.
    own: VecDeque<(Vec<u8>, Ticket)>,
    /// The longest first, so that no worker comes to one last and alone.
    common: BinaryHeap<(u64, Reverse<Common>)>,
    known: HashMap<Common, Ticket>,
}

#[derive(Debug)]
struct Shared {
    codec: Codec,
    base: Arc<FileDevice>,
    archive: Option<Arc<Archive>>,
    store: Store,
    folder: PathBuf,
    state: Mutex<State>,
    /// There is something to do.
    asked: Condvar,
    /// Something was done.
    done: Condvar,
    stop: Interrupt,
}

/// Workers; they end with it.
#[derive(Debug)]
pub(super) struct Pool {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
}

impl Pool {
    pub(super) fn new(
        codec: Codec,
        base: Arc<FileDevice>,
        archive: Option<Arc<Archive>>,
        jobs: usize,
        folder: &Path,
    ) -> Result<Self, Error> {
        let failed = |action| move |source| Error::Io { action, path: folder.to_owned(), source };
        let shared = Arc::new(Shared {
            codec,
            base,
            archive,
            store: Store::new(folder).map_err(failed("make a temporary file in"))?,
            folder: folder.to_owned(),
            state: Mutex::default(),
            asked: Condvar::new(),
            done: Condvar::new(),
            stop: Interrupt::default(),
        });
        let mut pool = Self { shared, workers: Vec::new() };
        for _ in 0..jobs.max(1) {
            let shared = Arc::clone(&pool.shared);
            let worker = thread::Builder::new()
                .name("pack".to_owned())
                .spawn(move || shared.work())
                .map_err(failed("start a thread for"))?;
            pool.workers.push(worker);
        }
        Ok(pool)
    }

    pub(super) fn store(&self) -> &Store {
        &self.shared.store
    }

    /// How many pieces of its own a node may have asked for at a time: enough for every worker and some to spare, as
    /// each is in memory.
    pub(super) fn own_max(&self) -> usize {
        self.workers.len() + 4
    }

    /// Asks for a piece of the base, or of the zeros behind it.
    pub(super) fn common(&self, offset: u64, len: u64) -> Ticket {
        let base = &self.shared.base;
        let is_zero = offset >= base.len_bytes() || host::is_hole(base.file(), offset, len);
        let piece = if is_zero { Common::Zeros { len } } else { Common::Base { offset, len } };
        self.ask(piece, len)
    }

    /// Asks for the start of a block of the archive.
    pub(super) fn start(&self, prefix: Prefix) -> Ticket {
        self.ask(Common::Start(prefix), prefix.len)
    }

    fn ask(&self, piece: Common, len: u64) -> Ticket {
        let mut state = self.shared.lock();
        if let Some(ticket) = state.known.get(&piece) {
            return Arc::clone(ticket);
        }
        let ticket = Ticket::default();
        state.known.insert(piece, Arc::clone(&ticket));
        state.common.push((len, Reverse(piece)));
        self.shared.asked.notify_one();
        ticket
    }

    /// Asks for a piece of these bytes.
    pub(super) fn own(&self, bytes: Vec<u8>) -> Ticket {
        let ticket = Ticket::default();
        self.shared.lock().own.push_back((bytes, Arc::clone(&ticket)));
        self.shared.asked.notify_one();
        ticket
    }

    /// Waits until the piece is there; `meanwhile` is called now and then.
    pub(super) fn wait<'t>(
        &self,
        ticket: &'t Ticket,
        interrupt: &Interrupt,
        mut meanwhile: impl FnMut(),
    ) -> Result<&'t Piece, Error> {
        let mut state = self.shared.lock();
        loop {
            match ticket.get() {
                Some(Ok(piece)) => return Ok(piece),
                Some(Err(error)) => return Err(Error::Piece(Arc::clone(error))),
                None => interrupt.check()?,
            }
            meanwhile();
            if self.workers.iter().any(JoinHandle::is_finished) {
                let source = io::Error::other("a thread that compresses has ended");
                return Err(Error::Compress { format: self.shared.codec.packing.name(), source });
            }
            state = self.shared.done.wait_timeout(state, LOOK).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        // Under the lock, so that no worker goes to sleep between its look and this.
        let state = self.shared.lock();
        self.shared.stop.raise();
        self.shared.asked.notify_all();
        drop(state);
        for worker in self.workers.drain(..) {
            let _ = worker.join();
        }
    }
}

enum Task {
    Own(Vec<u8>, Ticket),
    Common(Common, Ticket),
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self) {
        while let Some(task) = self.next() {
            match task {
                // Else its node has gone.
                Task::Own(bytes, ticket) if Arc::strong_count(&ticket) > 1 => {
                    let _ = ticket.set(self.pack_own(bytes).map_err(Arc::new));
                }
                Task::Own(..) => {}
                Task::Common(piece, ticket) => {
                    ticket.get_or_init(|| self.pack_common(piece));
                }
            }
            // Under the lock, so that no node goes to sleep between its look and this.
            let _state = self.lock();
            self.done.notify_all();
        }
    }

    /// The next task, as soon as there is one; `None` at the end.
    fn next(&self) -> Option<Task> {
        let mut state = self.lock();
        loop {
            self.stop.check().ok()?;
            if let Some((bytes, ticket)) = state.own.pop_front() {
                return Some(Task::Own(bytes, ticket));
            }
            if let Some((_, Reverse(piece))) = state.common.pop() {
                let ticket = Arc::clone(state.known.entry(piece).or_default());
                return Some(Task::Common(piece, ticket));
            }
            state = self.asked.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn pack_own(&self, bytes: Vec<u8>) -> Result<Piece, Error> {
        let source = Source::Bytes(bytes);
        let mut packed = Vec::new();
        let block = self.codec.pack(&source, &mut packed, &self.stop)?;
        self.codec.verify(&source, &block, &mut packed.as_slice(), &self.stop)?;
        Ok(Piece { block, bytes: Bytes::Memory(packed) })
    }

    fn pack_common(&self, piece: Common) -> Result<Piece, Arc<Error>> {
        let (offset, len) = match piece {
            Common::Zeros { len } => return self.pack_stored(&Source::Zeros(len)).map_err(Arc::new),
            Common::Start(prefix) => return self.take_start(prefix).map_err(Arc::new),
            Common::Base { offset, len } => (offset, len),
        };
        let source = self.base_source(offset, len);
        if !source.is_zero().map_err(Arc::new)? {
            return self.pack_stored(&source).map_err(Arc::new);
        }
        // Zeros that are no hole. Whoever comes first packs them; the others wait here for what takes a moment.
        let zeros = Arc::clone(self.lock().known.entry(Common::Zeros { len }).or_default());
        let packed = zeros.get_or_init(|| self.pack_stored(&Source::Zeros(len)).map_err(Arc::new));
        packed.as_ref().map_err(Arc::clone).cloned()
    }

    fn base_source(&self, offset: u64, len: u64) -> Source {
        Source::Base { device: Arc::clone(&self.base), offset, len }
    }

    fn take_start(&self, prefix: Prefix) -> Result<Piece, Error> {
        let source = self.base_source(prefix.offset, prefix.len);
        let block = self.codec.frame(&prefix, &source, &self.stop)?;
        if let Some(archive) = &self.archive {
            let mut packed = RunReader::new(&archive.file, prefix.archive_offset, prefix.packed_len);
            self.codec.verify(&source, &block, &mut packed, &self.stop)?;
        }
        Ok(Piece { block, bytes: Bytes::Archived(prefix) })
    }

    fn pack_stored(&self, source: &Source) -> Result<Piece, Error> {
        let mut writer = self.store.writer();
        let packed = self.codec.pack(source, &mut writer, &self.stop);
        let full = |error| match error {
            Error::Compress { source: cause, .. } if cause.kind() == io::ErrorKind::StorageFull => {
                let free_bytes = host::free_bytes(&self.folder).unwrap_or(0);
                Error::NoSpace { path: self.folder.clone(), needed_bytes: source.len(), free_bytes }
            }
            error => error,
        };
        let block = packed.map_err(full)?;
        let failed = |source| Error::Compress { format: self.codec.packing.name(), source };
        let runs = writer.finish().map_err(failed).map_err(full)?;
        self.codec.verify(source, &block, &mut self.store.reader(&runs), &self.stop)?;
        Ok(Piece { block, bytes: Bytes::Stored(runs) })
    }
}
