//! A packed stream as what is in it: for what is read once and from anywhere, and is no image.

use std::io::{BufRead, Cursor, Read};
use std::path::Path;

use xz2::stream::{CONCATENATED, Stream};

use super::decode::{XZ_MEMORY, ZSTD_WINDOW_LOG};
use super::error::Error;
use super::format::{self, Format};

/// Where POSIX tar headers have their mark: such a file is not packed, whatever its first name looks like.
const TAR_MARK: (usize, &[u8]) = (257, b"ustar");

/// What `input` unpacks to when it is gzip, xz or zstd; else `input` as it is. Whether it was packed is told too. `path`
/// is for messages.
///
/// # Errors
/// [`Error::Unsupported`] for what is packed in another way, [`Error::Io`].
pub fn unpacked<'r>(path: &Path, mut input: impl BufRead + 'r) -> Result<(Box<dyn Read + 'r>, bool), Error> {
    let failed = |source| Error::Io { action: "read", path: path.to_owned(), source };
    let unsupported = |found: &str| Error::Unsupported { path: path.to_owned(), found: found.to_owned() };
    let mut head = Vec::new();
    (&mut input).take(512).read_to_end(&mut head).map_err(failed)?;
    let (at, mark) = TAR_MARK;
    let format = match head.get(at..at + mark.len()) {
        Some(found) if found == mark => Format::Raw,
        _ => format::of_head(&head).map_err(unsupported)?,
    };
    let input = Cursor::new(head).chain(input);
    let stream: Box<dyn Read + 'r> = match format {
        Format::Raw => return Ok((Box::new(input), false)),
        Format::Zip => return Err(unsupported("a zip archive")),
        Format::Gz => Box::new(flate2::bufread::MultiGzDecoder::new(input)),
        Format::Xz => {
            let stream = Stream::new_stream_decoder(XZ_MEMORY, CONCATENATED);
            let stream = stream.map_err(|error| failed(error.into()))?;
            Box::new(xz2::bufread::XzDecoder::new_stream(input, stream))
        }
        Format::Zst => {
            let mut decoder = zstd::stream::read::Decoder::with_buffer(input).map_err(failed)?;
            decoder.window_log_max(ZSTD_WINDOW_LOG).map_err(failed)?;
            Box::new(decoder)
        }
    };
    Ok((stream, true))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn read(bytes: &[u8]) -> Result<(Vec<u8>, bool), Error> {
        let (mut stream, is_packed) = unpacked(Path::new("x"), bytes)?;
        let mut content = Vec::new();
        stream.read_to_end(&mut content).unwrap();
        Ok((content, is_packed))
    }

    #[test]
    fn what_is_packed_is_told_by_its_first_bytes() {
        let content = b"content ".repeat(1000);
        let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gz.write_all(&content).unwrap();
        let mut xz = xz2::write::XzEncoder::new(Vec::new(), 1);
        xz.write_all(&content).unwrap();
        let zst = zstd::encode_all(&content[..], 1).unwrap();
        for packed in [gz.finish().unwrap(), xz.finish().unwrap(), zst] {
            assert_eq!(read(&packed).unwrap(), (content.clone(), true));
        }
        assert_eq!(read(&content).unwrap(), (content, false));
        assert_eq!(read(b"").unwrap(), (Vec::new(), false));
        for (head, found) in [(&b"BZh91AY"[..], "bzip2"), (b"PK\x03\x04", "zip")] {
            assert!(read(head).unwrap_err().to_string().contains(found));
        }
        // A first name may be anything.
        let mut tar = vec![0; 512];
        tar[..3].copy_from_slice(b"BZh");
        tar[257..262].copy_from_slice(b"ustar");
        assert_eq!(read(&tar).unwrap(), (tar, false));
    }
}
