//! Compressed images at the price of what differs.
//!
//! An image is cut into pieces that are compressed on their own: blocks of one xz stream, zstd frames, gzip members.
//! What a node does not touch is compressed once for all nodes, or taken as it stands from the archive that the base
//! came in. Only short pieces around the node's edits are compressed for it.
//!
//! ```text
//! archive   │ block 0              │ block 1              │ block 2              │
//! node      │ spliced              │ common     │own│com.│ │ spliced              │ common (grown) │
//! ```
//!
//! The bytes depend on the base, the layout of its archive, the level and the node's edits, never on other nodes or on
//! the number of threads. Every piece is decoded again and compared before it is used.
//!
//! Memory: an encoder for each job, at xz level 6 about 94 MiB; compressed pieces of all nodes are in a temporary file.

use std::collections::VecDeque;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::file::{Error, Options, Part, check_space, full_or};
use super::sys;
use crate::base::{Interrupt, Progress};
use crate::block::{self, Extent, FileDevice, ReadAt, host};

use codec::Codec;
use cut::{Cut, Kind};
use pool::{Bytes, Piece, Pool, Ticket};
pub use xz::Check;

mod codec;
mod cut;
mod pool;
mod prefix;
mod store;
mod xz;

/// Between two looks at what the workers have done.
const LOOKS_APART: Duration = Duration::from_millis(200);

/// Written at once.
const BUFFER_LEN: usize = 1 << 20;

/// The format of a compressed image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Packing {
    /// One stream of several blocks, with their lengths in an index.
    Xz,
    /// Frames one after another, each with its length and a checksum.
    Zstd,
    /// Members one after another.
    Gzip,
}

impl Packing {
    /// The level that the format's own program takes unasked.
    #[must_use]
    pub fn default_level(self) -> u32 {
        match self {
            Self::Xz | Self::Gzip => 6,
            Self::Zstd => 3,
        }
    }

    /// The highest level: 9, and for zstd 19, above which more memory is needed to decode.
    #[must_use]
    pub fn max_level(self) -> u32 {
        match self {
            Self::Xz | Self::Gzip => 9,
            Self::Zstd => 19,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Xz => "xz",
            Self::Zstd => "zstd",
            Self::Gzip => "gzip",
        }
    }
}

/// The archive that the base came in: one `.xz` stream of several blocks, verified when it was unpacked.
#[derive(Debug)]
pub struct Archive {
    /// Open for reading.
    pub file: File,
    /// The check of its blocks, and then of ours.
    pub check: Check,
    /// Its blocks in order; together they are the base.
    pub blocks: Vec<ArchiveBlock>,
}

/// One block of an [`Archive`]. Lengths and offsets are in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ArchiveBlock {
    /// Where it begins in the archive.
    pub archive_offset: u64,
    /// How long it is there: header, data and check. Padding to a multiple of four follows.
    pub unpadded_len: u64,
    /// Where it begins in the base.
    pub offset: u64,
    /// How long it is there.
    pub len_bytes: u64,
}

impl ArchiveBlock {
    fn padded_len(&self) -> u64 {
        self.unpadded_len.next_multiple_of(4)
    }
}

/// What an image was made of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Packed {
    /// How long the image is.
    pub len_bytes: u64,
    /// How long the compressed file is.
    pub packed_bytes: u64,
    /// How many bytes of the image stand in it as in the archive.
    pub spliced_bytes: u64,
    /// How many bytes of the image were compressed once for all nodes.
    pub common_bytes: u64,
    /// How many bytes of the image were compressed for this node.
    pub own_bytes: u64,
}

/// A compressed image that is written and on the disk but has no name yet. Dropped, it is gone.
#[derive(Debug)]
pub struct StagedPacked {
    part: Part,
    mode: u32,
    packed: Packed,
}

impl StagedPacked {
    /// The hidden file, to be read back.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.part.path()
    }

    /// What it was made of.
    #[must_use]
    pub fn packed(&self) -> Packed {
        self.packed
    }

    /// Gives the image its name. What had that name before is replaced.
    ///
    /// # Errors
    /// [`Error::Io`]; the target is as it was.
    pub fn commit(self) -> Result<(), Error> {
        self.part.commit(self.mode)
    }
}

/// Compresses the images of one run; all its threads share it. Its own threads end when it is dropped.
#[derive(Debug)]
pub struct Packer {
    codec: Codec,
    base_len: u64,
    archive: Option<Arc<Archive>>,
    pool: Pool,
}

/// How a [`Packer`] works.
#[derive(Debug)]
pub struct PackerOptions<'o> {
    /// The format.
    pub packing: Packing,
    /// From 0 (zstd: 1) to [`Packing::max_level`]; what is above counts as that.
    pub level: u32,
    /// How many pieces are compressed at a time; 0 counts as 1.
    pub jobs: usize,
    /// The archive that the base came in, to take blocks from; of use for xz only.
    pub archive: Option<Archive>,
    /// Where a temporary file may be: what nodes share, compressed.
    pub folder: &'o Path,
}

impl Packer {
    /// Starts the threads.
    ///
    /// # Errors
    /// [`Error::Archive`] when the archive's blocks are not those of `base`, [`Error::Io`].
    pub fn new(base: Arc<FileDevice>, options: PackerOptions<'_>) -> Result<Self, Error> {
        let PackerOptions { packing, level, jobs, archive, folder } = options;
        let archive = archive.filter(|_| packing == Packing::Xz).map(Arc::new);
        if let Some(archive) = &archive {
            check_archive(archive, base.len_bytes(), folder)?;
        }
        let check = archive.as_ref().map_or(Check::Crc64, |archive| archive.check);
        let codec = Codec { packing, level: level.min(packing.max_level()), check };
        let base_len = base.len_bytes();
        let pool = Pool::new(codec, base, archive.clone(), jobs, folder)?;
        Ok(Self { codec, base_len, archive, pool })
    }

    /// Writes `edited`, compressed, beside `target`. `edited` is the base but for `dirty` (ascending, apart from each
    /// other); when it is longer than the base, what is neither in the base nor dirty is zero. It must not be shorter.
    ///
    /// # Errors
    /// [`Error::NoSpace`], [`Error::Io`], [`Error::Edited`], [`Error::Compress`], [`Error::Miscompressed`],
    /// [`Error::Piece`], [`Error::Interrupted`]; the target is as it was and nothing is left beside it.
    pub fn stage(
        &self,
        edited: &dyn ReadAt,
        dirty: &[Extent],
        target: &Path,
        options: Options<'_>,
    ) -> Result<StagedPacked, Error> {
        let base_len = usize::try_from(self.base_len).unwrap_or(usize::MAX);
        block::Error::check_bounds(0, base_len, edited.len_bytes())?;
        let mode = if options.secret { 0o600 } else { 0o644 };
        let part = Part::beside(target)?;
        let failed = |action| move |source| Error::Io { action, path: target.to_owned(), source };
        sys::set_mode(part.file(), mode).map_err(failed("set the mode of"))?;
        let output = Output { file: part.file(), target, at: 0, buffer: Vec::new() };
        let image = Image { packer: self, edited, options, output, blocks: Vec::new() };
        let packed = image.write(dirty)?;
        // Without it a power cut after the rename could leave a name with holes where the data should be.
        part.file()
            .sync_all()
            .map_err(|source| full_or(target, packed.packed_bytes, failed("sync"), source))?;
        options.interrupt.check()?;
        Ok(StagedPacked { part, mode, packed })
    }
}

/// Do the blocks make up the base, and are they in the archive?
fn check_archive(archive: &Archive, base_len: u64, folder: &Path) -> Result<(), Error> {
    let ask =
        |source| Error::Io { action: "ask the length of the archive for", path: folder.to_owned(), source };
    let archive_len = archive.file.metadata().map_err(ask)?.len();
    let wrong = |what, found, wanted| Err(Error::Archive { what, found, wanted });
    let mut offset = 0_u64;
    for block in &archive.blocks {
        if block.offset != offset || block.len_bytes == 0 {
            return wrong("where a block begins", block.offset, offset);
        }
        let end = block
            .unpadded_len
            .checked_next_multiple_of(4)
            .and_then(|len| len.checked_add(block.archive_offset));
        if end.is_none_or(|end| end > archive_len) {
            return wrong("where a block ends", end.unwrap_or(u64::MAX), archive_len);
        }
        offset = offset.saturating_add(block.len_bytes);
    }
    if offset == base_len { Ok(()) } else { wrong("its length", offset, base_len) }
}

/// Tells of shared pieces as they get done. They are written in their order, but the longest are compressed first: told
/// when written, the first would come when all is nearly over.
struct Told<'p> {
    waiting: Vec<(Ticket, u64)>,
    looked: Instant,
    progress: &'p dyn Progress,
}

impl<'p> Told<'p> {
    fn new(progress: &'p dyn Progress) -> Self {
        Self { waiting: Vec::new(), looked: Instant::now(), progress }
    }

    /// Tells, unless it has just been done: there may be thousands of pieces.
    fn look(&mut self) {
        if self.looked.elapsed() >= LOOKS_APART {
            self.looked = Instant::now();
            self.tell();
        }
    }

    fn tell(&mut self) {
        let progress = self.progress;
        self.waiting.retain(|(ticket, len)| {
            let is_done = ticket.get().is_some();
            if is_done {
                progress.advance(*len);
            }
            !is_done
        });
    }
}

/// One image on its way.
struct Image<'i> {
    packer: &'i Packer,
    edited: &'i dyn ReadAt,
    options: Options<'i>,
    output: Output<'i>,
    /// Unpadded and unpacked lengths, for the index of xz.
    blocks: Vec<(u64, u64)>,
}

impl Image<'_> {
    fn write(mut self, dirty: &[Extent]) -> Result<Packed, Error> {
        let Packer { codec, base_len, archive, pool } = self.packer;
        let (base_len, len) = (*base_len, self.edited.len_bytes());
        let cut = Cut { base_len, len, archive: archive.as_deref(), grid_len: codec.grid_len(), dirty };
        let parts = cut.parts();
        let mut packed = Packed { len_bytes: len, ..Packed::default() };
        let mut needed_bytes = 0;
        // What is shared is asked for at once, so that no worker waits for this thread.
        let mut common: VecDeque<Ticket> = VecDeque::new();
        let mut told = Told::new(self.options.progress);
        for part in &parts {
            match part.kind {
                Kind::Spliced(block) => {
                    packed.spliced_bytes += part.len;
                    needed_bytes += block.padded_len();
                }
                Kind::Start(prefix) => {
                    packed.spliced_bytes += part.len;
                    needed_bytes += prefix.packed_len;
                    common.push_back(pool.start(prefix));
                }
                Kind::Common => {
                    packed.common_bytes += part.len;
                    common.push_back(pool.common(part.offset, part.len));
                }
                Kind::Own => packed.own_bytes += part.len,
            }
            if let (Kind::Start(_) | Kind::Common, Some(ticket)) = (part.kind, common.back()) {
                told.waiting.push((Arc::clone(ticket), part.len));
            }
        }
        check_space(self.output.target, needed_bytes)?;
        if codec.packing == Packing::Xz {
            self.output.append(&xz::stream_header(codec.check))?;
        }
        let mut ahead = parts.iter().filter(|part| part.kind == Kind::Own);
        let mut own: VecDeque<Ticket> = VecDeque::new();
        for part in &parts {
            self.options.interrupt.check()?;
            while own.len() < pool.own_max()
                && let Some(part) = ahead.next()
            {
                own.push_back(self.ask_own(part)?);
            }
            let ticket = match part.kind {
                Kind::Spliced(block) => {
                    self.splice(&block)?;
                    self.options.progress.advance(part.len);
                    continue;
                }
                Kind::Start(_) | Kind::Common => common.pop_front(),
                Kind::Own => own.pop_front(),
            };
            if let Some(ticket) = ticket {
                let piece = pool.wait(&ticket, self.options.interrupt, || told.look())?;
                self.append(piece, part.len)?;
                if part.kind == Kind::Own {
                    self.options.progress.advance(part.len);
                }
            }
        }
        told.tell();
        if codec.packing == Packing::Xz {
            self.output.append(&xz::stream_end(codec.check, &self.blocks))?;
        }
        packed.packed_bytes = self.output.finish()?;
        Ok(packed)
    }

    fn ask_own(&self, part: &cut::Part) -> Result<Ticket, Error> {
        let mut bytes = vec![0; usize::try_from(part.len).unwrap_or(0)];
        self.edited.read_at(part.offset, &mut bytes)?;
        Ok(self.packer.pool.own(bytes))
    }

    fn splice(&mut self, block: &ArchiveBlock) -> Result<(), Error> {
        let Some(archive) = &self.packer.archive else { return Ok(()) };
        self.blocks.push((block.unpadded_len, block.len_bytes));
        self.output.append_from(
            &archive.file,
            block.archive_offset,
            block.padded_len(),
            self.options.interrupt,
        )
    }

    fn append(&mut self, piece: &Piece, len_bytes: u64) -> Result<(), Error> {
        self.blocks.push((piece.block.unpadded_len, len_bytes));
        self.output.append(&piece.block.header)?;
        match &piece.bytes {
            Bytes::Memory(bytes) => self.output.append(bytes)?,
            Bytes::Stored(runs) => {
                let store = self.packer.pool.store();
                for (offset, len) in runs {
                    self.output.append_from(store.file(), *offset, *len, self.options.interrupt)?;
                }
            }
            Bytes::Archived(prefix) => {
                if let Some(archive) = &self.packer.archive {
                    let (offset, len) = (prefix.archive_offset, prefix.packed_len);
                    self.output.append_from(&archive.file, offset, len, self.options.interrupt)?;
                }
            }
        }
        self.output.append(&piece.block.trailer)
    }
}

/// The file on its way, written in long runs.
struct Output<'o> {
    file: &'o File,
    target: &'o Path,
    /// How much was written.
    at: u64,
    /// What comes next.
    buffer: Vec<u8>,
}

impl Output<'_> {
    fn append(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() < BUFFER_LEN { Ok(()) } else { self.flush() }
    }

    /// Appends a run of another file.
    fn append_from(
        &mut self,
        from: &File,
        offset: u64,
        len: u64,
        interrupt: &Interrupt,
    ) -> Result<(), Error> {
        let mut at = 0;
        while at < len {
            interrupt.check()?;
            let before = self.buffer.len();
            let count =
                usize::try_from(len - at).unwrap_or(BUFFER_LEN).min(BUFFER_LEN.saturating_sub(before).max(1));
            self.buffer.resize(before + count, 0);
            let failed = |source| Error::Io {
                action: "read what is compressed for",
                path: self.target.to_owned(),
                source,
            };
            host::read_exact_at(from, &mut self.buffer[before..], offset + at).map_err(failed)?;
            at += count as u64;
            if self.buffer.len() >= BUFFER_LEN {
                self.flush()?;
            }
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Error> {
        let len = self.buffer.len() as u64;
        let failed = |source| Error::Io { action: "write", path: self.target.to_owned(), source };
        host::write_all_at(self.file, &self.buffer, self.at)
            .map_err(|source| full_or(self.target, len, failed, source))?;
        sys::start_writing(self.file, self.at, len);
        self.at += len;
        self.buffer.clear();
        Ok(())
    }

    /// How long the file is.
    fn finish(&mut self) -> Result<u64, Error> {
        self.flush()?;
        Ok(self.at)
    }
}

#[cfg(test)]
mod tests;
