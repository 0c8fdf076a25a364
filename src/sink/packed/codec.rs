//! One piece of an image to compressed bytes that can stand alone, and back to see that it was right.

use std::io::{self, Read, Write};
use std::sync::Arc;

use xz2::stream::Stream;

use super::prefix::Prefix;
use super::xz::{self, Block, Check};
use super::{Error, Packing};
use crate::base::{Interrupt, Interrupted, is_zero};
use crate::block::{FileDevice, ReadAt};

const BUFFER_LEN: usize = 256 << 10;

/// What a piece is made of; can be read again and again.
#[derive(Debug)]
pub(super) enum Source {
    /// A node's own bytes.
    Bytes(Vec<u8>),
    /// Bytes of the base.
    Base {
        /// The base.
        device: Arc<FileDevice>,
        /// Where the piece begins.
        offset: u64,
        /// How long it is; it is inside the base.
        len: u64,
    },
    /// So many zeros.
    Zeros(u64),
}

impl Source {
    pub(super) fn len(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::Base { len, .. } | Self::Zeros(len) => *len,
        }
    }

    /// Reads what fits from byte `at` on; 0 at the end.
    fn read(&self, at: u64, buf: &mut [u8]) -> Result<usize, crate::block::Error> {
        let len = usize::try_from(self.len().saturating_sub(at)).unwrap_or(usize::MAX).min(buf.len());
        let buf = &mut buf[..len];
        match self {
            Self::Bytes(bytes) => {
                let start = usize::try_from(at).unwrap_or(usize::MAX);
                bytes.get(start..).unwrap_or_default().read_exact(buf).unwrap_or(());
            }
            Self::Base { device, offset, .. } => device.read_at(offset + at, buf)?,
            Self::Zeros(_) => buf.fill(0),
        }
        Ok(len)
    }

    /// Is it zero all through? Stops at the first byte that is not.
    pub(super) fn is_zero(&self) -> Result<bool, Error> {
        let mut buffer = vec![0; BUFFER_LEN];
        let mut at = 0;
        loop {
            let len = self.read(at, &mut buffer)?;
            if len == 0 || is_zero(&buffer[..len]) {
                at += len as u64;
            } else {
                return Ok(false);
            }
            if len == 0 {
                return Ok(true);
            }
        }
    }
}

/// How pieces are compressed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Codec {
    pub(super) packing: Packing,
    pub(super) level: u32,
    /// Of xz only.
    pub(super) check: Check,
}

impl Codec {
    /// Into how long pieces an untouched image is cut.
    pub(super) fn grid_len(self) -> u64 {
        match self.packing {
            // Where `xz --threads=0` cuts, xz(1) `--block-size`.
            Packing::Xz => (3 * xz::dict_len(self.level)).max(1 << 20),
            Packing::Zstd => 8 << 20,
            Packing::Gzip => 1 << 20,
        }
    }

    /// Compresses `source` into `write`. For xz there is something to stand around it.
    pub(super) fn pack(
        self,
        source: &Source,
        write: &mut dyn Write,
        stop: &Interrupt,
    ) -> Result<Block, Error> {
        self.reading(source, stop, |reader| self.pack_from(reader, write))
    }

    /// What stands around the start of an archive's block. `source` is what it decodes to.
    pub(super) fn frame(self, prefix: &Prefix, source: &Source, stop: &Interrupt) -> Result<Block, Error> {
        self.reading(source, stop, |reader| xz::frame(self.check, prefix, |buf| reader.read(buf)))
    }

    fn reading(
        self,
        source: &Source,
        stop: &Interrupt,
        pack: impl FnOnce(&mut Reader<'_>) -> io::Result<Block>,
    ) -> Result<Block, Error> {
        let mut reader = Reader { source, at: 0, stop, failed: None };
        let packed = pack(&mut reader);
        match (packed, reader.failed) {
            (_, Some(error)) => Err(error),
            (Ok(block), None) => Ok(block),
            (Err(source), None) => Err(Error::Compress { format: self.packing.name(), source }),
        }
    }

    fn pack_from(self, reader: &mut Reader<'_>, write: &mut dyn Write) -> io::Result<Block> {
        let len = reader.source.len();
        let (level, none) = (i32::try_from(self.level).unwrap_or(i32::MAX), Block::default());
        match self.packing {
            Packing::Xz => xz::pack(self.level, self.check, len, |buf| reader.read(buf), write),
            Packing::Zstd => {
                let mut encoder = zstd::stream::write::Encoder::new(write, level)?;
                encoder.set_pledged_src_size(Some(len))?;
                encoder.include_contentsize(true)?;
                encoder.include_checksum(true)?;
                io::copy(reader, &mut encoder)?;
                encoder.finish().map(|_| none)
            }
            Packing::Gzip => {
                // No name, no time, and 255 for an unknown system, so that bytes are the same everywhere.
                let header = flate2::GzBuilder::new().mtime(0).operating_system(255);
                let mut encoder = header.write(write, flate2::Compression::new(self.level));
                io::copy(reader, &mut encoder)?;
                encoder.finish().map(|_| none)
            }
        }
    }

    /// Decodes a piece and compares it with what it was made of.
    pub(super) fn verify(
        self,
        source: &Source,
        block: &Block,
        packed: &mut dyn Read,
        stop: &Interrupt,
    ) -> Result<(), Error> {
        let mut reader = Reader { source, at: 0, stop, failed: None };
        let same = match self.packing {
            Packing::Xz => {
                // A whole stream, so that liblzma checks header, index and footer too.
                let (start, end) = (
                    xz::stream_header(self.check),
                    xz::stream_end(self.check, &[(block.unpadded_len, source.len())]),
                );
                let (header, trailer) = (block.header.as_slice(), block.trailer.as_slice());
                let whole = start.chain(header).chain(packed).chain(trailer).chain(end.as_slice());
                Stream::new_stream_decoder(u64::MAX, 0)
                    .map_err(io::Error::from)
                    .and_then(|stream| compare(xz2::read::XzDecoder::new_stream(whole, stream), &mut reader))
            }
            Packing::Zstd => {
                zstd::stream::read::Decoder::new(packed).and_then(|decoder| compare(decoder, &mut reader))
            }
            Packing::Gzip => compare(flate2::read::MultiGzDecoder::new(packed), &mut reader),
        };
        let wrong = |source| Err(Error::Miscompressed { format: self.packing.name(), source });
        match (same, reader.failed) {
            (_, Some(error)) => Err(error),
            (Ok(true), None) => Ok(()),
            (Ok(false), None) => wrong(None),
            (Err(source), None) => wrong(Some(source)),
        }
    }
}

/// Do both give the same bytes, up to the end of both?
fn compare(mut one: impl Read, other: &mut Reader<'_>) -> io::Result<bool> {
    let (mut left, mut right) = (vec![0; BUFFER_LEN], vec![0; BUFFER_LEN]);
    loop {
        let wanted = other.read(&mut right)?;
        if wanted == 0 {
            return Ok(one.read(&mut left)? == 0);
        }
        one.read_exact(&mut left[..wanted])?;
        if left[..wanted] != right[..wanted] {
            return Ok(false);
        }
    }
}

/// A source read from its start, with an eye on the wish to stop. Decoders and encoders know only [`io::Error`]: what
/// failed is kept here.
struct Reader<'s> {
    source: &'s Source,
    at: u64,
    stop: &'s Interrupt,
    failed: Option<Error>,
}

impl Read for Reader<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let read = match self.stop.check() {
            Err(Interrupted) => Err(Error::Interrupted(Interrupted)),
            Ok(()) => self.source.read(self.at, buf).map_err(Error::Edited),
        };
        match read {
            Ok(len) => {
                self.at += len as u64;
                Ok(len)
            }
            Err(error) => {
                self.failed = Some(error);
                Err(io::ErrorKind::Other.into())
            }
        }
    }
}
