//! Between `fatfs`, which reads and writes a few bytes at a time, and the device: a cache of pages, and a guard.
//!
//! `fatfs` believes every cluster number it finds in a FAT and would compute with it until arithmetic fails, and
//! it follows a directory whose chain is a ring for ever. So an entry that leads out of the filesystem ends the
//! read with an error, and so does a reader that does not stop.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::rc::Rc;

use super::layout::{Layout, Next, u32_le};
use crate::block::{self, Device};

const PAGE_LEN: usize = 4096;
const PAGE_LEN_U64: u64 = PAGE_LEN as u64;
/// 8 MiB: both FATs of the largest boot partition there is, and its directories.
const PAGES_MAX: usize = 2048;
/// Reads that one operation may make. The largest directory (65536 entries, 12 reads each) scanned a few times,
/// and a FAT of a million entries, stay below; a ring does not.
const READS_MAX: u64 = 4 << 20;

/// A device behind a cache. Writes go through.
pub(super) struct Pages<'d> {
    device: &'d dyn Device,
    layout: Layout,
    pages: RefCell<HashMap<u64, Box<[u8; PAGE_LEN]>>>,
    reads_left: Cell<u64>,
    /// A read of this operation met damage, so nothing more is written: `fatfs` frees a chain that it cannot
    /// read on for ever.
    damaged: Cell<bool>,
    /// What `fatfs` is to read as FSInfo's next free cluster, which is found faster than it would find it.
    next_free: Cell<Option<u32>>,
    /// Where the first sector of zeros was written since it was last asked for: the cluster of a new directory.
    first_zeroed: Cell<Option<u64>>,
}

impl<'d> Pages<'d> {
    pub(super) fn new(device: &'d dyn Device, layout: Layout) -> Self {
        let reads_left = Cell::new(READS_MAX);
        Self {
            device,
            layout,
            pages: RefCell::default(),
            reads_left,
            damaged: Cell::new(false),
            next_free: Cell::new(None),
            first_zeroed: Cell::new(None),
        }
    }

    pub(super) fn device(&self) -> &'d dyn Device {
        self.device
    }

    /// An operation begins; it may read so much.
    pub(super) fn begin(&self) {
        self.reads_left.set(READS_MAX);
        self.damaged.set(false);
    }

    pub(super) fn set_next_free(&self, cluster: Option<u32>) {
        self.next_free.set(cluster);
    }

    /// Forgets and gives what was first zeroed.
    pub(super) fn take_first_zeroed(&self) -> Option<u64> {
        self.first_zeroed.take()
    }

    pub(super) fn read(&self, offset: u64, buf: &mut [u8]) -> Result<(), block::Error> {
        block::Error::check_bounds(offset, buf.len(), self.device.len_bytes())?;
        if buf.len() >= PAGE_LEN {
            return self.device.read_at(offset, buf);
        }
        let mut pages = self.pages.borrow_mut();
        let mut done = 0;
        while done < buf.len() {
            let at = offset + done as u64;
            let number = at / PAGE_LEN_U64;
            let start = usize::try_from(at % PAGE_LEN_U64).unwrap_or(0);
            let len = (PAGE_LEN - start).min(buf.len() - done);
            if !pages.contains_key(&number) {
                if pages.len() >= PAGES_MAX {
                    pages.clear(); // all of them are clean
                }
                pages.insert(number, self.load(number)?);
            }
            if let Some(page) = pages.get(&number) {
                buf[done..done + len].copy_from_slice(&page[start..start + len]);
            }
            done += len;
        }
        Ok(())
    }

    fn load(&self, number: u64) -> Result<Box<[u8; PAGE_LEN]>, block::Error> {
        let mut page = Box::new([0; PAGE_LEN]);
        let offset = number * PAGE_LEN_U64;
        let held = self.device.len_bytes().saturating_sub(offset).min(PAGE_LEN_U64);
        let held = usize::try_from(held).unwrap_or(PAGE_LEN);
        self.device.read_at(offset, &mut page[..held])?;
        Ok(page)
    }

    pub(super) fn write(&self, offset: u64, bytes: &[u8]) -> Result<(), block::Error> {
        self.device.write_at(offset, bytes)?;
        let mut pages = self.pages.borrow_mut();
        let mut done = 0;
        while done < bytes.len() {
            let at = offset + done as u64;
            let start = usize::try_from(at % PAGE_LEN_U64).unwrap_or(0);
            let len = (PAGE_LEN - start).min(bytes.len() - done);
            if let Some(page) = pages.get_mut(&(at / PAGE_LEN_U64)) {
                page[start..start + len].copy_from_slice(&bytes[done..done + len]);
            }
            done += len;
        }
        Ok(())
    }

    /// The read that `fatfs` makes.
    fn guarded_read(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        let left = self.reads_left.get();
        self.reads_left
            .set(left.checked_sub(1).ok_or_else(|| corrupt("a directory or chain that never ends"))?);
        self.read(offset, buf).map_err(io::Error::other)?;
        let fats = self.layout.fat_start..self.layout.fat_start + self.layout.fat_len * self.layout.fat_count;
        let is_entry = buf.len() as u64 == self.layout.entry_len();
        if is_entry && fats.contains(&offset) {
            let at = (offset - self.layout.fat_start) % self.layout.fat_len;
            let raw = buf.iter().rev().fold(0_u32, |raw, byte| raw << 8 | u32::from(*byte));
            let cluster = at / self.layout.entry_len();
            if cluster >= 2
                && let Next::Outside(next) = self.layout.next(raw)
            {
                return Err(corrupt(&format!("cluster {cluster:#x} continues at {next:#x}, which is none")));
            }
        }
        if let Some(next_free) = self.next_free.get()
            && self.layout.fs_info_at.is_some_and(|at| offset == at + 492)
            && buf.len() == 4
        {
            buf.copy_from_slice(&next_free.to_le_bytes());
        }
        Ok(())
    }

    /// The entry of a cluster in the first FAT.
    pub(super) fn next(&self, cluster: u32) -> Result<Next, block::Error> {
        let mut raw = [0; 4];
        let len = if self.layout.is_fat32 { 4 } else { 2 };
        self.read(self.layout.fat_start + u64::from(cluster) * len as u64, &mut raw[..len])?;
        Ok(self.layout.next(u32_le(&raw, 0)))
    }
}

/// Damage that shows inside a read which `fatfs` makes; unwrapped again on the way out.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Damage(pub(super) String);

fn corrupt(message: &str) -> io::Error {
    io::Error::other(Damage(message.to_owned()))
}

/// The stream that `fatfs` wants.
pub(super) struct Stream<'d> {
    pages: Rc<Pages<'d>>,
    position: u64,
}

impl<'d> Stream<'d> {
    pub(super) fn new(pages: Rc<Pages<'d>>) -> Self {
        Self { pages, position: 0 }
    }
}

impl Read for Stream<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let left = self.pages.device.len_bytes().saturating_sub(self.position);
        let len = buf.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let read = self.pages.guarded_read(self.position, &mut buf[..len]);
        read.inspect_err(|_| self.pages.damaged.set(true))?;
        self.position += len as u64;
        Ok(len)
    }
}

impl Write for Stream<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.pages.damaged.get() {
            return Err(corrupt("not written to after damage was met"));
        }
        if bytes == [0; 512] && self.pages.first_zeroed.get().is_none() {
            self.pages.first_zeroed.set(Some(self.position));
        }
        self.pages.write(self.position, bytes).map_err(io::Error::other)?;
        self.position += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for Stream<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let position = match to {
            SeekFrom::Start(offset) => Some(offset),
            SeekFrom::Current(delta) => self.position.checked_add_signed(delta),
            SeekFrom::End(delta) => self.pages.device.len_bytes().checked_add_signed(delta),
        };
        self.position = position.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.position)
    }
}
