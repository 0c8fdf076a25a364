//! A card in memory that fails on purpose.

use std::io;
use std::ops::Range;
use std::sync::Mutex;

use crate::base::Interrupt;
use crate::block::Extent;
use crate::sink::{BUFFER_ALIGN, Medium};

/// What power cuts tear apart.
const SECTOR_LEN: usize = 512;

/// What goes wrong. Operations are counted from 0.
#[derive(Clone, Debug, Default)]
pub(super) struct Faults {
    /// These writes fail and change nothing.
    pub(super) writes: Range<usize>,
    /// These reads fail.
    pub(super) reads: Range<usize>,
    /// These syncs fail.
    pub(super) syncs: Range<usize>,
    /// No read or write does more blocks than this at once.
    pub(super) blocks_at_once: Option<usize>,
    /// The byte there turns out wrong in these of the writes over it.
    pub(super) spoils: Option<(u64, Range<usize>)>,
    /// Reads over the byte there fail until it was written so many times.
    pub(super) unreadable: Option<(u64, usize)>,
    /// Offsets are taken modulo this.
    pub(super) wraps_at: Option<u64>,
    /// Writes from here on are dropped, and it reads as this byte.
    pub(super) drops_from: Option<(u64, u8)>,
    /// The power goes with this write or sync, and this seed says which sectors made it that were not synced.
    pub(super) cut: Option<(usize, u64)>,
    /// Raised with this write or sync.
    pub(super) interrupt: Option<(usize, Interrupt)>,
    /// Writes and syncs work and change nothing.
    pub(super) ignores_writes: bool,
}

/// What happened.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    pub(super) writes: Vec<Extent>,
    pub(super) reads: usize,
    pub(super) syncs: usize,
    /// How often the spoilt byte was written, and the unreadable one.
    over_fault: usize,
}

struct State {
    bytes: Vec<u8>,
    /// What a power cut would leave for sure; only kept when there is to be one.
    lasting: Vec<u8>,
    pending: Vec<(usize, Vec<u8>)>,
    dead: bool,
    seen: Seen,
}

pub(super) struct Faulty {
    len_bytes: u64,
    block_len: usize,
    faults: Faults,
    state: Mutex<State>,
}

impl Faulty {
    pub(super) fn new(bytes: Vec<u8>, block_len: usize, faults: Faults) -> Self {
        let lasting = if faults.cut.is_some() { bytes.clone() } else { Vec::new() };
        let len_bytes = bytes.len() as u64;
        let state = State { bytes, lasting, pending: Vec::new(), dead: false, seen: Seen::default() };
        Self { len_bytes, block_len, faults, state: Mutex::new(state) }
    }

    pub(super) fn seen(&self) -> Seen {
        self.state.lock().unwrap().seen.clone()
    }

    /// What is on it once the power is back.
    pub(super) fn into_bytes(self) -> Vec<u8> {
        let state = self.state.into_inner().unwrap();
        if state.dead { state.lasting } else { state.bytes }
    }

    fn check_contract(&self, offset: u64, bytes: &[u8]) {
        assert_eq!(offset % self.block_len as u64, 0, "offset {offset}");
        assert_eq!(bytes.len() % self.block_len, 0, "{} bytes", bytes.len());
        assert_eq!(bytes.as_ptr().align_offset(BUFFER_ALIGN), 0, "the buffer at {:?}", bytes.as_ptr());
        assert!(offset + bytes.len() as u64 <= self.len_bytes, "{} bytes at {offset}", bytes.len());
        assert!(!bytes.is_empty());
    }

    fn at_once(&self, len: usize) -> usize {
        self.faults.blocks_at_once.map_or(len, |blocks| len.min(blocks * self.block_len))
    }

    /// Counts a write or sync, and cuts the power at the one that was asked for.
    fn step(&self, state: &mut State) -> io::Result<()> {
        if state.dead {
            return Err(io::Error::other("no power"));
        }
        let number = state.seen.writes.len() + state.seen.syncs;
        if let Some((_, interrupt)) = self.faults.interrupt.as_ref().filter(|(at, _)| *at == number) {
            interrupt.raise();
        }
        match self.faults.cut {
            Some((at, seed)) if at == number => {
                state.dead = true;
                let mut random = seed;
                for (offset, bytes) in std::mem::take(&mut state.pending) {
                    for (sector, bytes) in bytes.chunks(SECTOR_LEN.max(self.block_len)).enumerate() {
                        random = next_random(random);
                        // All, none, or any.
                        if seed != 0 && (seed == 1 || random >> 63 == 0) {
                            let start = offset + sector * SECTOR_LEN.max(self.block_len);
                            state.lasting[start..start + bytes.len()].copy_from_slice(bytes);
                        }
                    }
                }
                Err(io::Error::other("power cut"))
            }
            _ => Ok(()),
        }
    }
}

pub(super) fn next_random(random: u64) -> u64 {
    random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407)
}

fn covers(offset: u64, len: usize, at: u64) -> bool {
    (offset..offset + len as u64).contains(&at)
}

impl Medium for Faulty {
    fn len_bytes(&self) -> u64 {
        self.len_bytes
    }

    fn block_len(&self) -> usize {
        self.block_len
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<usize> {
        self.check_contract(offset, bytes);
        let mut state = self.state.lock().unwrap();
        let len = self.at_once(bytes.len());
        let at = usize::try_from(self.faults.wraps_at.map_or(offset, |end| offset % end)).unwrap();
        if self.faults.cut.is_some() {
            // The write under way may be there in part, as those before it.
            state.pending.push((at, bytes[..len].to_vec()));
        }
        let stepped = self.step(&mut state);
        let number = state.seen.writes.len();
        state.seen.writes.push(Extent { offset, len_bytes: bytes.len() as u64 });
        stepped?;
        if self.faults.writes.contains(&number) {
            return Err(io::Error::other("bad write"));
        }
        if self.faults.ignores_writes {
            return Ok(len);
        }
        let kept = match self.faults.drops_from {
            Some((end, _)) => usize::try_from(end.saturating_sub(offset)).unwrap().min(len),
            None => len,
        };
        for (number, block) in bytes[..kept].chunks(self.block_len).enumerate() {
            let at = offset + (number * self.block_len) as u64;
            let at = usize::try_from(self.faults.wraps_at.map_or(at, |end| at % end)).unwrap();
            state.bytes[at..at + block.len()].copy_from_slice(block);
        }
        if let Some((at, spoilt)) = self.faults.spoils.as_ref().filter(|(at, _)| covers(offset, kept, *at)) {
            if spoilt.contains(&state.seen.over_fault) {
                state.bytes[usize::try_from(*at).unwrap()] ^= 0x10;
            }
            state.seen.over_fault += 1;
        }
        if self.faults.unreadable.is_some_and(|(at, _)| covers(offset, kept, at)) {
            state.seen.over_fault += 1;
        }
        Ok(len)
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        self.check_contract(offset, buf);
        let mut state = self.state.lock().unwrap();
        let number = state.seen.reads;
        state.seen.reads += 1;
        let len = self.at_once(buf.len());
        let unreadable = self
            .faults
            .unreadable
            .is_some_and(|(at, times)| covers(offset, len, at) && state.seen.over_fault < times);
        if state.dead || self.faults.reads.contains(&number) || unreadable {
            return Err(io::Error::other("bad read"));
        }
        for (number, block) in buf[..len].chunks_mut(self.block_len).enumerate() {
            let at = offset + (number * self.block_len) as u64;
            match self.faults.drops_from {
                Some((end, fill)) if at >= end => block.fill(fill),
                _ => {
                    let at = usize::try_from(self.faults.wraps_at.map_or(at, |end| at % end)).unwrap();
                    block.copy_from_slice(&state.bytes[at..at + block.len()]);
                }
            }
        }
        Ok(len)
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.state.lock().unwrap();
        let stepped = self.step(&mut state);
        let number = state.seen.syncs;
        state.seen.syncs += 1;
        stepped?;
        if self.faults.syncs.contains(&number) {
            return Err(io::Error::other("bad sync"));
        }
        for (offset, bytes) in std::mem::take(&mut state.pending) {
            state.lasting[offset..offset + bytes.len()].copy_from_slice(&bytes);
        }
        Ok(())
    }
}
