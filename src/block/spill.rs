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
    /// By the number of their first block, apart from each other. A block stays at its place once it has one.
    runs: BTreeMap<u64, Run>,
    /// How much of the file is taken.
    len_blocks: u64,
}

/// Blocks with numbers that follow each other, in places that do.
#[derive(Clone, Copy, Debug)]
struct Run {
    /// The place of the first, in blocks.
    slot: u64,
    count: u64,
}

impl Spill {
    /// A place in `folder` for what is more than `limit_bytes`.
    pub(super) fn new(folder: PathBuf, limit_bytes: u64) -> Self {
        let limit_blocks = usize::try_from(limit_bytes / BLOCK_LEN_U64).unwrap_or(usize::MAX).max(1);
        Self { folder, limit_blocks, file: None, runs: BTreeMap::new(), len_blocks: 0 }
    }

    pub(super) fn folder(&self) -> &std::path::Path {
        &self.folder
    }

    /// Are so many blocks in memory too many?
    pub(super) fn is_due(&self, blocks: usize) -> bool {
        blocks >= self.limit_blocks
    }

    /// Is anything here?
    pub(super) fn is_used(&self) -> bool {
        self.file.is_some()
    }

    /// What is here: first block and how many, ascending.
    pub(super) fn runs(&self) -> impl Iterator<Item = (u64, u64)> {
        self.runs.iter().map(|(number, run)| (*number, run.count))
    }

    /// The place of block `number`, and how many blocks follow from there on in places that follow.
    pub(super) fn find(&self, number: u64) -> Option<(u64, u64)> {
        let (first, run) = self.runs.range(..=number).next_back()?;
        let skip = number - first;
        (skip < run.count).then(|| (run.slot + skip, run.count - skip))
    }

    /// The first block past `number` that is here and whose predecessor is not, or is elsewhere.
    pub(super) fn next_run(&self, number: u64) -> Option<u64> {
        self.runs.range(number.checked_add(1)?..).next().map(|(first, _)| *first)
    }

    /// Takes all of `blocks`; one that was here before is replaced.
    pub(super) fn take(&mut self, blocks: &mut BTreeMap<u64, Block>) -> io::Result<()> {
        let mut bytes = Vec::new();
        let mut first = 0;
        for (number, block) in blocks.iter() {
            let follows = first + (bytes.len() / BLOCK_LEN) as u64 == *number;
            if !follows || bytes.len() >= PIECE_LEN {
                self.put(first, &bytes)?;
                bytes.clear();
            }
            if bytes.is_empty() {
                first = *number;
            }
            bytes.extend_from_slice(&block[..]);
        }
        self.put(first, &bytes)?;
        blocks.clear();
        Ok(())
    }

    /// Takes whole blocks, `first` and those after it; those that were here before are replaced.
    pub(super) fn put(&mut self, first: u64, bytes: &[u8]) -> io::Result<()> {
        let (mut number, mut rest) = (first, bytes);
        while !rest.is_empty() {
            let left = (rest.len() / BLOCK_LEN) as u64;
            let present = self.find(number);
            let gap = self.next_run(number).map_or(left, |next| next - number);
            let (slot, count) = present.unwrap_or((self.len_blocks, gap));
            let count = count.min(left);
            let (piece, after) = rest.split_at(BLOCK_LEN * usize::try_from(count).unwrap_or(usize::MAX));
            host::write_all_at(self.file()?, piece, slot * BLOCK_LEN_U64)?;
            if present.is_none() {
                self.add(number, count);
            }
            (number, rest) = (number + count, after);
        }
        Ok(())
    }

    /// `count` blocks from `number` on, of which none was here, are now at the end of the file.
    fn add(&mut self, number: u64, count: u64) {
        let slot = self.len_blocks;
        self.len_blocks += count;
        match self.runs.range_mut(..number).next_back() {
            Some((first, run)) if first + run.count == number && run.slot + run.count == slot => {
                run.count += count;
            }
            _ => {
                self.runs.insert(number, Run { slot, count });
            }
        }
    }

    /// Fills `buf` from byte `at` of the file on.
    pub(super) fn read(&self, at: u64, buf: &mut [u8]) -> io::Result<()> {
        match &self.file {
            Some(file) => host::read_exact_at(file, buf, at),
            None => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    fn file(&mut self) -> io::Result<&File> {
        match &mut self.file {
            Some(file) => Ok(file),
            none => Ok(none.insert(tempfile::tempfile_in(&self.folder)?)),
        }
    }
}
