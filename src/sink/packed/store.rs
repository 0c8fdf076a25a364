//! Compressed pieces in a temporary file without a name, so that memory need not hold an image's worth of them.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::block::host;

/// Written at once: several workers write at the same time, and small runs would mix their pieces finely.
const RUN_LEN: usize = 1 << 20;

/// Where one piece is: runs of the file, in order.
pub(super) type Runs = Vec<(u64, u64)>;

/// The file. Pieces are only ever added.
#[derive(Debug)]
pub(super) struct Store {
    file: File,
    end: AtomicU64,
}

impl Store {
    pub(super) fn new(folder: &Path) -> io::Result<Self> {
        Ok(Self { file: tempfile::tempfile_in(folder)?, end: AtomicU64::new(0) })
    }

    pub(super) fn file(&self) -> &File {
        &self.file
    }

    pub(super) fn writer(&self) -> Writer<'_> {
        Writer { store: self, runs: Vec::new(), buffer: Vec::new() }
    }

    pub(super) fn reader<'s>(&'s self, runs: &'s [(u64, u64)]) -> Reader<'s> {
        Reader { store: self, runs: runs.iter(), run: RunReader::new(&self.file, 0, 0) }
    }
}

/// Adds one piece.
pub(super) struct Writer<'s> {
    store: &'s Store,
    runs: Runs,
    buffer: Vec<u8>,
}

impl Writer<'_> {
    pub(super) fn finish(mut self) -> io::Result<Runs> {
        self.flush()?;
        Ok(self.runs)
    }
}

impl Write for Writer<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= RUN_LEN {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let len = self.buffer.len() as u64;
        let offset = self.store.end.fetch_add(len, Ordering::Relaxed);
        host::write_all_at(&self.store.file, &self.buffer, offset)?;
        self.buffer.clear();
        self.runs.push((offset, len));
        Ok(())
    }
}

/// Reads one piece back.
pub(super) struct Reader<'s> {
    store: &'s Store,
    runs: std::slice::Iter<'s, (u64, u64)>,
    run: RunReader<'s>,
}

impl Read for Reader<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        while self.run.left == 0
            && let Some((offset, len)) = self.runs.next()
        {
            self.run = RunReader::new(&self.store.file, *offset, *len);
        }
        self.run.read(buf)
    }
}

/// Reads a run of a file.
pub(super) struct RunReader<'f> {
    file: &'f File,
    at: u64,
    left: u64,
}

impl<'f> RunReader<'f> {
    pub(super) fn new(file: &'f File, offset: u64, len: u64) -> Self {
        Self { file, at: offset, left: len }
    }
}

impl Read for RunReader<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let len = usize::try_from(self.left).unwrap_or(usize::MAX).min(buf.len());
        host::read_exact_at(self.file, &mut buf[..len], self.at)?;
        self.at += len as u64;
        self.left -= len as u64;
        Ok(len)
    }
}
