//! Archives to raw bytes: every format as one loop over one input that counts and hashes what it gives, and waits for
//! more where the archive is still being downloaded.
//!
//! Memory is bounded: xz by a limit given to liblzma, zstd by a limit on the window, the others by their formats.

use std::fs::File;
use std::io::{self, BufRead, Read};
use std::path::Path;
use std::thread;

use xz2::stream::{Action, MtStreamBuilder, Status};
use zip::result::ZipError;

use super::arrival::{Arrival, Next};
use super::error::Error;
use super::format::Format;
use super::raw::{RawWriter, cores};
use crate::base::{Interrupt, Interrupted, Progress, Sha256Digest, Sha256Hasher};
use crate::block::host;

const BUFFER_LEN: usize = 1 << 20;
/// Above it liblzma uses fewer threads: blocks are held whole, and `xz -9` makes them 192 MiB.
const XZ_THREADING_MEMORY: u64 = 512 << 20;
/// Above it a file is refused; `xz -9e` needs 65 MiB.
pub(super) const XZ_MEMORY: u64 = 1 << 30;
/// 2^27, what `zstd` itself takes without being asked.
pub(super) const ZSTD_WINDOW_LOG: u32 = 27;
const XZ_MAGIC: [u8; 6] = [0xfd, b'7', b'z', b'X', b'Z', 0];
const GZ_MAGIC: [u8; 2] = [0x1f, 0x8b];

/// A file that grows while it is read, as far as it belongs to one round.
#[derive(Clone, Copy)]
pub(super) struct Arriving<'a> {
    pub(super) arrival: &'a Arrival,
    pub(super) round: u64,
}

/// What a decoder works under.
pub(super) struct Job<'j> {
    /// The archive, for messages.
    pub(super) path: &'j Path,
    pub(super) file: &'j File,
    /// Is the file still being written? Not for zip, whose directory is at its end.
    pub(super) arriving: Option<Arriving<'j>>,
    pub(super) format: Format,
    /// Longer is refused.
    pub(super) limit: u64,
    pub(super) wanted: super::Wanted,
    pub(super) progress: &'j dyn Progress,
    pub(super) interrupt: &'j Interrupt,
}

/// The digest of a whole file.
pub(super) fn hash_file(
    path: &Path,
    file: &File,
    progress: &dyn Progress,
    interrupt: &Interrupt,
) -> Result<Sha256Digest, Error> {
    let (format, wanted) = (Format::Raw, super::Wanted::Anything);
    Job { path, file, arriving: None, format, limit: 0, wanted, progress, interrupt }.hash()
}

impl Job<'_> {
    /// Writes the unpacked archive to `out`; gives the digest of the archive.
    pub(super) fn unpack(&self, out: &mut RawWriter<'_>) -> Result<Sha256Digest, Error> {
        if self.format == Format::Zip {
            return self.unzip(out);
        }
        let mut input = Input::new(self);
        match self.format {
            Format::Xz => self.unxz(&mut input, out)?,
            Format::Gz => self.gunzip(&mut input, out)?,
            Format::Zst => self.unzstd(&mut input, out)?,
            _ => self.copy(&mut input, out)?,
        }
        Ok(input.hasher.finish())
    }

    /// What is not packed at all.
    fn copy(&self, input: &mut Input<'_>, out: &mut RawWriter<'_>) -> Result<(), Error> {
        loop {
            let data = self.peek(input)?;
            let len = data.len();
            if len == 0 {
                return Ok(());
            }
            self.put(out, data)?;
            input.consume(len);
        }
    }

    /// Streams one after another, each with padding of four zero bytes at a time after it.
    fn unxz(&self, input: &mut Input<'_>, out: &mut RawWriter<'_>) -> Result<(), Error> {
        loop {
            self.unxz_stream(input, out)?;
            let padding = self.skip_zeros(input)?;
            let rest = self.peek(input)?;
            if padding % 4 != 0 || !(rest.is_empty() || XZ_MAGIC.starts_with(&rest[..rest.len().min(6)])) {
                return Err(self.trailing(input));
            }
            if rest.is_empty() {
                return Ok(());
            }
        }
    }

    fn unxz_stream(&self, input: &mut Input<'_>, out: &mut RawWriter<'_>) -> Result<(), Error> {
        let threads = u32::try_from(cores()).unwrap_or(1);
        let mut builder = MtStreamBuilder::new();
        builder.threads(threads).memlimit_threading(XZ_THREADING_MEMORY).memlimit_stop(XZ_MEMORY);
        let mut stream = builder.decoder().map_err(|error| self.corrupt(0, error.into()))?;
        let mut buffer = vec![0; BUFFER_LEN];
        loop {
            let data = input.fill_buf().map_err(|source| self.unreadable(source))?;
            let at_end = data.is_empty();
            let action = if at_end { Action::Finish } else { Action::Run };
            let (in_before, out_before) = (stream.total_in(), stream.total_out());
            let result = stream.process(data, &mut buffer, action);
            let taken = usize::try_from(stream.total_in() - in_before).unwrap_or(0);
            let made = usize::try_from(stream.total_out() - out_before).unwrap_or(0);
            input.consume(taken);
            let status = result.map_err(|error| match error {
                xz2::stream::Error::MemLimit => self.too_hungry(format!("more than {XZ_MEMORY} bytes")),
                error => self.corrupt(input.offset, error.into()),
            })?;
            self.put(out, &buffer[..made])?;
            match status {
                Status::StreamEnd => return Ok(()),
                _ if at_end && made == 0 => return Err(self.truncated(input.offset)),
                _ => {}
            }
        }
    }

    /// Members one after another; zeros after the last, as tapes leave them.
    fn gunzip(&self, input: &mut Input<'_>, out: &mut RawWriter<'_>) -> Result<(), Error> {
        let mut buffer = vec![0; BUFFER_LEN];
        loop {
            let mut decoder = flate2::bufread::GzDecoder::new(&mut *input);
            loop {
                match decoder.read(&mut buffer) {
                    Ok(0) => break,
                    Ok(len) => self.put(out, &buffer[..len])?,
                    Err(error) => {
                        drop(decoder);
                        return Err(self.corrupt(input.offset, error));
                    }
                }
            }
            drop(decoder);
            let rest = self.peek(input)?;
            if rest.starts_with(&GZ_MAGIC) || *rest == GZ_MAGIC[..1] {
                continue;
            }
            self.skip_zeros(input)?;
            if self.peek(input)?.is_empty() {
                return Ok(());
            }
            return Err(self.trailing(input));
        }
    }

    /// Frames one after another, skippable ones passed over, by the zstd crate.
    fn unzstd(&self, input: &mut Input<'_>, out: &mut RawWriter<'_>) -> Result<(), Error> {
        let mut buffer = vec![0; BUFFER_LEN];
        let mut decoder =
            zstd::stream::read::Decoder::with_buffer(&mut *input).map_err(|error| self.corrupt(0, error))?;
        decoder.window_log_max(ZSTD_WINDOW_LOG).map_err(|error| self.corrupt(0, error))?;
        loop {
            match decoder.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(len) => self.put(out, &buffer[..len])?,
                Err(error) => {
                    drop(decoder);
                    if error.to_string().contains("too much memory") {
                        return Err(self.too_hungry(format!("a window above 2^{ZSTD_WINDOW_LOG} bytes")));
                    }
                    if error.to_string().contains("Unknown frame descriptor") && out.len_bytes() > 0 {
                        return Err(self.trailing(input));
                    }
                    return Err(self.corrupt(input.offset, error));
                }
            }
        }
    }

    /// The one member that is an image. The directory is at the end, so the digest is a second reader's work.
    fn unzip(&self, out: &mut RawWriter<'_>) -> Result<Sha256Digest, Error> {
        let mut archive =
            zip::ZipArchive::new(io::BufReader::new(self.file)).map_err(|error| self.zip(error))?;
        let (index, name) = self.image_in(&mut archive)?;
        thread::scope(|scope| {
            let hashing = scope.spawn(|| self.hash());
            let member = archive.by_index(index).map_err(|error| self.zip(error))?;
            let stated = member.size();
            if stated > self.limit {
                return Err(Error::TooLong { path: self.path.to_owned(), limit: self.limit });
            }
            let mut member = member;
            let mut buffer = vec![0; BUFFER_LEN];
            loop {
                let len = member.read(&mut buffer).map_err(|error| {
                    let reason = format!("member `{name}`");
                    Error::Corrupt {
                        path: self.path.to_owned(),
                        format: "zip",
                        offset: None,
                        reason,
                        source: Some(error),
                    }
                })?;
                if len == 0 {
                    break;
                }
                self.put(out, &buffer[..len])?;
            }
            hashing.join().map_err(|_| self.unreadable(io::Error::other("the hashing thread failed")))?
        })
    }

    fn image_in(
        &self,
        archive: &mut zip::ZipArchive<io::BufReader<&File>>,
    ) -> Result<(usize, String), Error> {
        let mut images = Vec::new();
        for index in 0..archive.len() {
            let member = archive.by_index_raw(index).map_err(|error| self.zip(error))?;
            let name = member.name().map_err(|error| self.zip(error))?.into_owned();
            // macOS adds a shadow of every file below `__MACOSX`.
            let is_image = name.to_lowercase().ends_with(".img") && !name.starts_with("__MACOSX/");
            if is_image && !member.is_dir() {
                if member.encrypted() {
                    return Err(self.unsupported(format!("a zip archive whose `{name}` is encrypted")));
                }
                images.push((index, name));
            }
        }
        let count = images.len();
        match (images.pop(), count) {
            (Some(image), 1) => Ok(image),
            _ => {
                let members = archive.len();
                Err(self.unsupported(format!("a zip archive with {count} images among {members} members")))
            }
        }
    }

    /// The digest of the whole archive, read on its own.
    pub(super) fn hash(&self) -> Result<Sha256Digest, Error> {
        let mut input = Input::new(self);
        loop {
            let len = input.fill_buf().map_err(|source| self.unreadable(source))?.len();
            if len == 0 {
                return Ok(input.hasher.finish());
            }
            input.consume(len);
        }
    }

    fn put(&self, out: &mut RawWriter<'_>, bytes: &[u8]) -> Result<(), Error> {
        self.interrupt.check()?;
        if out.len_bytes() + bytes.len() as u64 > self.limit {
            return Err(Error::TooLong { path: self.path.to_owned(), limit: self.limit });
        }
        let had_head = out.head().len() == 512;
        out.write(bytes).map_err(|source| Error::Unpack { path: self.path.to_owned(), source })?;
        if !had_head && out.head().len() == 512 {
            super::check_head(self.path, self.format, self.wanted, out.head())?;
        }
        Ok(())
    }

    fn skip_zeros(&self, input: &mut Input<'_>) -> Result<u64, Error> {
        let mut skipped = 0;
        loop {
            let data = input.fill_buf().map_err(|source| self.unreadable(source))?;
            let zeros = data.iter().take_while(|byte| **byte == 0).count();
            let go_on = zeros > 0 && zeros == data.len();
            input.consume(zeros);
            skipped += zeros as u64;
            if !go_on {
                return Ok(skipped);
            }
        }
    }

    fn peek<'i>(&self, input: &'i mut Input<'_>) -> Result<&'i [u8], Error> {
        input.fill_buf().map_err(|source| self.unreadable(source))
    }

    fn unreadable(&self, source: io::Error) -> Error {
        if source.get_ref().is_some_and(|inner| inner.is::<Interrupted>()) {
            return Error::Interrupted(Interrupted);
        }
        Error::Io { action: "read", path: self.path.to_owned(), source }
    }

    fn corrupt(&self, offset: u64, source: io::Error) -> Error {
        if source.get_ref().is_some_and(|inner| inner.is::<Interrupted>()) {
            return Error::Interrupted(Interrupted);
        }
        if source.kind() == io::ErrorKind::UnexpectedEof {
            return self.truncated(offset);
        }
        let (format, reason) = (self.format.name(), String::from("its data"));
        Error::Corrupt {
            path: self.path.to_owned(),
            format,
            offset: Some(offset),
            reason,
            source: Some(source),
        }
    }

    fn truncated(&self, offset: u64) -> Error {
        Error::Truncated { path: self.path.to_owned(), format: self.format.name(), offset }
    }

    fn trailing(&self, input: &mut Input<'_>) -> Error {
        let offset = input.offset;
        let next = input.fill_buf().unwrap_or(&[]);
        let found = next[..next.len().min(8)].escape_ascii().to_string();
        Error::Trailing { path: self.path.to_owned(), format: self.format.name(), offset, found }
    }

    fn too_hungry(&self, what: String) -> Error {
        self.unsupported(format!("a {} archive that needs {what} of memory", self.format.name()))
    }

    fn unsupported(&self, found: String) -> Error {
        Error::Unsupported { path: self.path.to_owned(), found }
    }

    fn zip(&self, error: ZipError) -> Error {
        match error {
            ZipError::UnsupportedArchive(what) => self.unsupported(format!("a zip archive with {what}")),
            ZipError::Io(source) => self.corrupt(0, source),
            error => {
                let reason = error.to_string();
                Error::Corrupt {
                    path: self.path.to_owned(),
                    format: "zip",
                    offset: None,
                    reason,
                    source: None,
                }
            }
        }
    }
}

/// The archive as a stream that counts and hashes what was taken from it.
struct Input<'j> {
    job: &'j Job<'j>,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    /// What has been taken.
    offset: u64,
    read_at: u64,
    hasher: Sha256Hasher,
}

impl<'j> Input<'j> {
    fn new(job: &'j Job<'j>) -> Self {
        let buffer = vec![0; BUFFER_LEN];
        Self { job, buffer, start: 0, end: 0, offset: 0, read_at: 0, hasher: Sha256Hasher::default() }
    }

    /// How much may be read at once: of a file that is still being written, what is there.
    fn wait(&self) -> io::Result<usize> {
        self.job.interrupt.check().map_err(io::Error::other)?;
        let Some(Arriving { arrival, round }) = self.job.arriving else { return Ok(BUFFER_LEN) };
        match arrival.wait(self.read_at, round, self.job.interrupt).map_err(io::Error::other)? {
            Next::Until(len_bytes) => {
                let there_bytes = len_bytes.saturating_sub(self.read_at);
                Ok(usize::try_from(there_bytes).unwrap_or(BUFFER_LEN).min(BUFFER_LEN))
            }
            Next::End => Ok(0),
            // Who runs the download knows better what there is to say.
            Next::Restarted | Next::Failed => Err(io::Error::other("the rest of it did not come")),
        }
    }
}

impl Read for Input<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let data = self.fill_buf()?;
        let len = data.len().min(buf.len());
        buf[..len].copy_from_slice(&data[..len]);
        self.consume(len);
        Ok(len)
    }
}

impl BufRead for Input<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.start == self.end {
            let room = self.wait()?;
            let len = host::read_some_at(self.job.file, &mut self.buffer[..room], self.read_at)?;
            self.hasher.update(&self.buffer[..len]);
            self.job.progress.advance(len as u64);
            self.read_at += len as u64;
            (self.start, self.end) = (0, len);
        }
        Ok(&self.buffer[self.start..self.end])
    }

    fn consume(&mut self, len: usize) {
        self.start = self.end.min(self.start + len);
        self.offset += len as u64;
    }
}
