//! Blocks of an overlay that memory has no room for: in a temporary file without a name, gone with its process.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::PathBuf;

use super::host;
use super::overlay::{BLOCK_LEN, BLOCK_LEN_U64, Block};

/// Written at a time.
const PIECE_LEN: usize = 1 << 20;

/// Where blocks go, and which are there.
#[derive(Debug)]
pub(super) struct Spill {
    folder: PathBuf,
    limit_blocks: usize,
    /// Made when first needed.
    file: Option<File>,
    /// By the number of a block: its place in the file, in blocks.
    slots: BTreeMap<u64, u64>,
}

impl Spill {
    /// A place in `folder` for what is more than `limit_bytes`.
    pub(super) fn new(folder: PathBuf, limit_bytes: u64) -> Self {
        let limit_blocks = usize::try_from(limit_bytes / BLOCK_LEN_U64).unwrap_or(usize::MAX).max(1);
        Self { folder, limit_blocks, file: None, slots: BTreeMap::new() }
    }

    pub(super) fn folder(&self) -> &std::path::Path {
        &self.folder
    }

    /// Are so many blocks in memory too many?
    pub(super) fn is_due(&self, blocks: usize) -> bool {
        blocks >= self.limit_blocks
    }

    pub(super) fn holds(&self, number: u64) -> bool {
        self.slots.contains_key(&number)
    }

    pub(super) fn numbers(&self) -> impl Iterator<Item = u64> {
        self.slots.keys().copied()
    }

    /// Takes all of `blocks`; one that was here before is replaced.
    pub(super) fn take(&mut self, blocks: &mut BTreeMap<u64, Block>) -> io::Result<()> {
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(tempfile::tempfile_in(&self.folder)?),
        };
        let mut run = Vec::new();
        let mut run_slot = 0;
        for (number, block) in blocks.iter() {
            let next = self.slots.len() as u64;
            let slot = *self.slots.entry(*number).or_insert(next);
            let follows = run_slot + (run.len() / BLOCK_LEN) as u64 == slot;
            if !run.is_empty() && (!follows || run.len() >= PIECE_LEN) {
                host::write_all_at(file, &run, run_slot * BLOCK_LEN_U64)?;
                run.clear();
            }
            if run.is_empty() {
                run_slot = slot;
            }
            run.extend_from_slice(&block[..]);
        }
        host::write_all_at(file, &run, run_slot * BLOCK_LEN_U64)?;
        blocks.clear();
        Ok(())
    }

    /// Puts what is here of `[offset, offset + buf.len())` over `buf`.
    pub(super) fn read_over(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        let Some(file) = &self.file else { return Ok(()) };
        let end = offset + buf.len() as u64;
        let range = offset / BLOCK_LEN_U64..end.div_ceil(BLOCK_LEN_U64);
        let mut read = |number: u64, slot: u64, count: u64| {
            let start = number * BLOCK_LEN_U64;
            let from = offset.max(start);
            let to = end.min(start + count * BLOCK_LEN_U64);
            let [at, after] =
                [from - offset, to - offset].map(|at| usize::try_from(at).unwrap_or(usize::MAX));
            match buf.get_mut(at..after) {
                Some(piece) => host::read_exact_at(file, piece, slot * BLOCK_LEN_U64 + (from - start)),
                None => Ok(()),
            }
        };
        let mut run: Option<(u64, u64, u64)> = None;
        for (number, slot) in self.slots.range(range) {
            run = match run {
                Some((first, at, count)) if first + count == *number && at + count == *slot => {
                    Some((first, at, count + 1))
                }
                Some((first, at, count)) => {
                    read(first, at, count)?;
                    Some((*number, *slot, 1))
                }
                None => Some((*number, *slot, 1)),
            };
        }
        run.map_or(Ok(()), |(first, at, count)| read(first, at, count))
    }
}
