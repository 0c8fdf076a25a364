//! The log: what it holds, how it is made and done. All integers little-endian.
//!
//! | bytes     | header                                          |
//! |-----------|-------------------------------------------------|
//! | 0..16     | `cardpress redo 1`                              |
//! | 16..24    | the length of the target before                 |
//! | 24..32    | the length of the target after                  |
//!
//! | bytes     | a record, any number of them, ascending         |
//! |-----------|-------------------------------------------------|
//! | 0..8      | where in the target                             |
//! | 8..12     | how many bytes: 1 to 1 MiB                      |
//! | 12..16    | CRC-32C of the new bytes                        |
//! | 16..      | CRC-32C of each sector of 512 bytes as it was; past the old end it was zero |
//! | then      | the new bytes                                   |
//!
//! | bytes     | what is in the target already, behind the records, ascending |
//! |-----------|-------------------------------------------------|
//! | 0..8      | where in the target                             |
//! | 8..12     | how many bytes: 1 to 1 MiB, and the highest bit |
//! | 12..16    | CRC-32C of the bytes there                      |
//!
//! | bytes     | trailer                                         |
//! |-----------|-------------------------------------------------|
//! | 0..8      | the number of both together                     |
//! | 8..16     | the length of the whole log                     |
//! | 16..48    | SHA-256 of everything before                    |

use std::io;

use crc32c::crc32c;

use super::super::overlay::{BLOCK_LEN, BLOCK_LEN_U64};
use super::super::{Extent, Overlay, ReadAt};
use super::direct::{self, Direct};
use super::{Error, Site};
use crate::base::{Interrupt, Sha256Digest, Sha256Hasher};

const MAGIC: &[u8; 16] = b"cardpress redo 1";
const HEADER_LEN: u64 = 32;
const RECORD_LEN: u64 = 16;
const TRAILER_LEN: u64 = 48;
/// The smallest piece that a disk writes whole.
const SECTOR: usize = 512;
/// A whole number of blocks and sectors; what is read, written and held at a time.
pub(super) const PIECE: u64 = 1 << 20;
/// Of a length: the bytes are in the target already.
const IS_DIRECT: u32 = 1 << 31;

/// What lay beside the target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settled {
    /// No log.
    Clean,
    /// The unfinished changes were done to the end.
    Finished,
    /// A log that never became whole; nothing but spare room of the target had been touched.
    Discarded,
}

/// New bytes for the target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Record {
    /// Where in the target.
    pub(super) offset: u64,
    pub(super) len: u64,
    /// Where the new bytes are in the log.
    pub(super) log_at: u64,
    crc: u32,
}

/// A whole log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Log {
    len_before: u64,
    pub(super) len_after: u64,
    /// Ascending and apart.
    pub(super) records: Vec<Record>,
    /// Ascending and apart.
    direct: Vec<Direct>,
}

/// What is beside a target, looked at and not touched.
#[derive(Debug)]
pub(super) enum Found {
    /// No log.
    Nothing,
    /// One that never became whole.
    Torn,
    /// One that is to be done.
    Whole(Log),
}

pub(super) fn failed(site: &dyn Site, action: &'static str, on_log: bool) -> impl Fn(io::Error) -> Error {
    let path = if on_log { site.log_path() } else { site.target_path() }.to_owned();
    move |source| Error::Io { action, path: path.clone(), source }
}

pub(super) fn to_usize(len: u64) -> usize {
    usize::try_from(len).unwrap_or(usize::MAX)
}

/// Changes the target to what `overlay` says; whether there was anything to change. Past the return of this function
/// the change lasts. Blocks that are as they were are left out.
///
/// `spare` are the ranges of the target, ascending and apart, that nobody needs as they are: they may come to hold
/// anything while the change has not happened. New bytes for them are written straight there, and only when something
/// else changes too, for else they stay spare.
///
/// # Errors
/// Any [`Error`]; the target is as it was, but for `spare`, except with [`Error::Incomplete`].
pub fn commit<B: ReadAt>(
    site: &dyn Site,
    overlay: &Overlay<B>,
    spare: &[Extent],
    interrupt: &Interrupt,
) -> Result<bool, Error> {
    let mut writer = Writer::new(site, overlay.len_bytes())?;
    let written = write(&mut writer, overlay, spare, interrupt).and_then(|()| writer.finish());
    match written {
        // A change that cannot be made must not come back with the next opening.
        Err(error) => {
            if writer.begun {
                let _ = site.remove_log();
            }
            Err(error)
        }
        Ok(None) => Ok(false),
        Ok(Some(log)) => apply(site, &log).map(|()| true),
    }
}

fn write<B: ReadAt>(
    writer: &mut Writer<'_>,
    overlay: &Overlay<B>,
    spare: &[Extent],
    interrupt: &Interrupt,
) -> Result<(), Error> {
    let (direct, logged) = direct::split(overlay.dirty_extents(), spare, writer.log.len_before);
    for extent in logged {
        let end = extent.offset + extent.len_bytes;
        let mut at = extent.offset;
        while at < end {
            interrupt.check()?;
            let len = (end - at).min(PIECE);
            let mut new = vec![0; to_usize(len)];
            overlay.read_at(at, &mut new)?;
            let old = writer.read_old(at, to_usize(len))?;
            for (start, stop) in changed_runs(&old, &new) {
                if let (Some(old), Some(new)) = (old.get(start..stop), new.get(start..stop)) {
                    writer.add(at + start as u64, old, new)?;
                }
            }
            at += len;
        }
    }
    interrupt.check()?;
    if writer.begun {
        writer.add_direct(direct::write(writer.site, overlay, &direct, interrupt)?)
    } else {
        Ok(())
    }
}

/// The runs of blocks that differ, as byte ranges.
pub(super) fn changed_runs(old: &[u8], new: &[u8]) -> Vec<(usize, usize)> {
    let mut runs: Vec<(usize, usize)> = Vec::new();
    for (number, (before, after)) in old.chunks(BLOCK_LEN).zip(new.chunks(BLOCK_LEN)).enumerate() {
        let start = number * BLOCK_LEN;
        match runs.last_mut() {
            _ if before == after => {}
            Some(run) if run.1 == start => run.1 += after.len(),
            _ => runs.push((start, start + after.len())),
        }
    }
    runs
}

/// A log being made. The file comes into being with the first record.
struct Writer<'s> {
    site: &'s dyn Site,
    log: Log,
    at: u64,
    hasher: Sha256Hasher,
    begun: bool,
    /// Not written yet.
    buffer: Vec<u8>,
}

impl<'s> Writer<'s> {
    fn new(site: &'s dyn Site, len_after: u64) -> Result<Self, Error> {
        let len_before = site.target_len().map_err(failed(site, "ask the length of", false))?;
        let log = Log { len_before, len_after, records: Vec::new(), direct: Vec::new() };
        Ok(Self { site, log, at: 0, hasher: Sha256Hasher::default(), begun: false, buffer: Vec::new() })
    }

    fn read_old(&self, offset: u64, len: usize) -> Result<Vec<u8>, Error> {
        read_target(self.site, self.log.len_before, offset, len)
    }

    fn begin(&mut self) -> Result<(), Error> {
        if self.begun {
            return Ok(());
        }
        self.site.create_log().map_err(failed(self.site, "create", true))?;
        self.begun = true;
        let [before, after] = [self.log.len_before, self.log.len_after].map(u64::to_le_bytes);
        self.put(&[&MAGIC[..], &before, &after])
    }

    fn add(&mut self, offset: u64, old: &[u8], new: &[u8]) -> Result<(), Error> {
        self.begin()?;
        let (crc, sums) = (crc32c(new), sector_sums(old));
        let len = new.len() as u64;
        // At most PIECE.
        let len_field = u32::try_from(len).unwrap_or(u32::MAX).to_le_bytes();
        self.put(&[&offset.to_le_bytes(), &len_field, &crc.to_le_bytes(), &sums])?;
        self.log.records.push(Record { offset, len, log_at: self.at, crc });
        self.put(&[new])
    }

    /// What the target holds already, past all records.
    fn add_direct(&mut self, direct: Vec<Direct>) -> Result<(), Error> {
        for piece in &direct {
            // At most PIECE.
            let len_field = u32::try_from(piece.len).unwrap_or(u32::MAX) | IS_DIRECT;
            let fields = [len_field, piece.crc].map(u32::to_le_bytes);
            self.put(&[&piece.offset.to_le_bytes(), &fields[0], &fields[1]])?;
        }
        self.log.direct = direct;
        Ok(())
    }

    fn put(&mut self, parts: &[&[u8]]) -> Result<(), Error> {
        for part in parts {
            self.hasher.update(part);
            self.at += part.len() as u64;
            self.buffer.extend_from_slice(part);
        }
        if self.buffer.len() >= to_usize(PIECE) { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), Error> {
        let offset = self.at - self.buffer.len() as u64;
        self.site.write_log(offset, &self.buffer).map_err(failed(self.site, "write", true))?;
        self.buffer.clear();
        Ok(())
    }

    /// Ends the log and makes it last; `None` when nothing changes. This is the moment of the commit.
    fn finish(&mut self) -> Result<Option<Log>, Error> {
        if self.log.len_after != self.log.len_before {
            self.begin()?;
        }
        if !self.begun {
            return Ok(None);
        }
        let count = (self.log.records.len() + self.log.direct.len()) as u64;
        let len = self.at + TRAILER_LEN;
        self.put(&[&count.to_le_bytes(), &len.to_le_bytes()])?;
        let digest = std::mem::take(&mut self.hasher).finish();
        self.buffer.extend_from_slice(&digest.0);
        self.at += 32;
        self.flush()?;
        self.site.sync_log().map_err(failed(self.site, "sync", true))?;
        Ok(Some(self.log.clone()))
    }
}

/// The bytes of the target, and zero past its end.
pub(super) fn read_target(
    site: &dyn Site,
    target_len: u64,
    offset: u64,
    len: usize,
) -> Result<Vec<u8>, Error> {
    let mut bytes = vec![0; len];
    let held = to_usize(target_len.saturating_sub(offset)).min(len);
    if let Some(held) = bytes.get_mut(..held).filter(|held| !held.is_empty()) {
        site.read_target(offset, held).map_err(failed(site, "read", false))?;
    }
    Ok(bytes)
}

/// The CRC-32C of each sector.
fn sector_sums(bytes: &[u8]) -> Vec<u8> {
    bytes.chunks(SECTOR).flat_map(|sector| crc32c(sector).to_le_bytes()).collect()
}

/// Does a whole log; removes it when all of it lasts.
fn apply(site: &dyn Site, log: &Log) -> Result<(), Error> {
    let (target, path) = (site.target_path().to_owned(), site.log_path().to_owned());
    let incomplete = |source| Error::Incomplete { target: target.clone(), log: path.clone(), source };
    let done = || -> io::Result<()> {
        if site.target_len()? < log.len_after {
            site.set_target_len(log.len_after)?;
        }
        for record in &log.records {
            let mut bytes = vec![0; to_usize(record.len)];
            site.read_log(record.log_at, &mut bytes)?;
            if crc32c(&bytes) != record.crc {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "the log changed while it was read"));
            }
            site.write_target(record.offset, &bytes)?;
        }
        site.sync_target()
    };
    done().map_err(incomplete)?;
    site.remove_log().map_err(failed(site, "remove", true))
}

/// Finishes or throws away the log beside the target, whose exclusive lock is held.
///
/// # Errors
/// [`Error::Foreign`], [`Error::Io`], [`Error::Incomplete`].
pub fn settle(site: &dyn Site) -> Result<Settled, Error> {
    match look(site)? {
        Found::Nothing => Ok(Settled::Clean),
        Found::Torn => {
            site.remove_log().map_err(failed(site, "remove", true))?;
            Ok(Settled::Discarded)
        }
        Found::Whole(log) => {
            apply(site, &log)?;
            Ok(Settled::Finished)
        }
    }
}

/// What is beside the target.
///
/// # Errors
/// [`Error::Foreign`], [`Error::Io`].
pub(super) fn look(site: &dyn Site) -> Result<Found, Error> {
    let Some(len) = site.log_len().map_err(failed(site, "open", true))? else { return Ok(Found::Nothing) };
    let Some(log) = read(site, len)? else { return Ok(Found::Torn) };
    check_belongs(site, &log)?;
    Ok(Found::Whole(log))
}

/// The log, when it is whole.
fn read(site: &dyn Site, len: u64) -> Result<Option<Log>, Error> {
    let read_failed = failed(site, "read", true);
    if len < HEADER_LEN + TRAILER_LEN {
        return Ok(None);
    }
    let mut trailer = [0; 48];
    site.read_log(len - TRAILER_LEN, &mut trailer).map_err(&read_failed)?;
    let (count, stated_len) = (u64_at(&trailer, 0), u64_at(&trailer, 8));
    if stated_len != len || digest(site, len - 32)?.0 != trailer[16..] {
        return Ok(None);
    }
    let mut header = [0; 32];
    site.read_log(0, &mut header).map_err(&read_failed)?;
    let mut log = Log {
        len_before: u64_at(&header, 16),
        len_after: u64_at(&header, 24),
        records: Vec::new(),
        direct: Vec::new(),
    };
    // From here on only a log made by somebody else can be wrong; it is read as carefully.
    let end = len - TRAILER_LEN;
    let (mut at, mut free_from) = (HEADER_LEN, 0);
    while at < end {
        let mut head = [0; 16];
        if end - at < RECORD_LEN {
            return Ok(None);
        }
        site.read_log(at, &mut head).map_err(&read_failed)?;
        let (offset, len_field, crc) = (u64_at(&head, 0), u32_at(&head, 8), u32_at(&head, 12));
        let (size, is_direct) = (u64::from(len_field & !IS_DIRECT), len_field & IS_DIRECT != 0);
        if is_direct && log.direct.is_empty() {
            free_from = 0;
        }
        let sums_len = size.div_ceil(SECTOR as u64) * 4;
        let log_at = at + RECORD_LEN + sums_len;
        let next = if is_direct { at + RECORD_LEN } else { log_at + size };
        let fits = (1..=PIECE).contains(&size)
            && offset >= free_from
            && offset.is_multiple_of(BLOCK_LEN_U64)
            && offset.checked_add(size).is_some_and(|stop| stop <= log.len_after)
            && (is_direct || log.direct.is_empty())
            && next <= end;
        if !fits {
            return Ok(None);
        }
        if is_direct {
            log.direct.push(Direct { offset, len: size, crc });
        } else {
            log.records.push(Record { offset, len: size, log_at, crc });
        }
        (at, free_from) = (next, offset + size);
    }
    let found = (log.records.len() + log.direct.len()) as u64;
    let sound = header.starts_with(MAGIC) && found == count && log.len_after >= log.len_before;
    Ok(sound.then_some(log))
}

/// SHA-256 of the first `len` bytes of the log.
fn digest(site: &dyn Site, len: u64) -> Result<Sha256Digest, Error> {
    let mut hasher = Sha256Hasher::default();
    let mut piece = vec![0; to_usize(len.min(PIECE))];
    let mut at = 0;
    while at < len {
        piece.truncate(to_usize(len - at));
        site.read_log(at, &mut piece).map_err(failed(site, "read", true))?;
        hasher.update(&piece);
        at += piece.len() as u64;
    }
    Ok(hasher.finish())
}

/// Refuses a log when a sector is neither as it was nor as it will be, or when what was written before the log is not
/// there: then the target is another file, or was changed since.
fn check_belongs(site: &dyn Site, log: &Log) -> Result<(), Error> {
    let foreign = |found: String| {
        let (log, target) = (site.log_path().to_owned(), site.target_path().to_owned());
        Err(Error::Foreign { log, target, found })
    };
    let target_len = site.target_len().map_err(failed(site, "ask the length of", false))?;
    if target_len != log.len_before && target_len != log.len_after {
        return foreign(format!("it has {target_len} bytes, wanted {} or {}", log.len_before, log.len_after));
    }
    for record in &log.records {
        let held = read_target(site, target_len, record.offset, to_usize(record.len))?;
        let mut new = vec![0; to_usize(record.len)];
        site.read_log(record.log_at, &mut new).map_err(failed(site, "read", true))?;
        let mut sums = vec![0; new.len().div_ceil(SECTOR) * 4];
        let sums_at = record.log_at - sums.len() as u64;
        site.read_log(sums_at, &mut sums).map_err(failed(site, "read", true))?;
        let sectors = held.chunks(SECTOR).zip(new.chunks(SECTOR)).zip(sums.chunks(4));
        for (number, ((held, new), sum)) in sectors.enumerate() {
            if held != new && crc32c(held).to_le_bytes() != *sum {
                let at = record.offset + (number * SECTOR) as u64;
                return foreign(format!("the sector at {at} is neither as it was nor as it was to be"));
            }
        }
    }
    if let Some(piece) = direct::first_missing(site, target_len, &log.direct)? {
        return foreign(format!(
            "the {} bytes at {} are not those that were written there",
            piece.len, piece.offset
        ));
    }
    Ok(())
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..at + 8).and_then(|bytes| bytes.try_into().ok()).map_or(0, u64::from_le_bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 4).and_then(|bytes| bytes.try_into().ok()).map_or(0, u32::from_le_bytes)
}
