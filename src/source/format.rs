//! What kind of file a base image comes in, told by its first bytes and never by its name.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};

/// How the image is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Not at all.
    Raw,
    /// `.img.xz`: releases since April 2022.
    Xz,
    /// `.img.gz`
    Gz,
    /// `.zip` with one image in it: releases before.
    Zip,
    /// `.img.zst`
    Zst,
}

impl Format {
    /// The word for it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Xz => "xz",
            Self::Gz => "gzip",
            Self::Zip => "zip",
            Self::Zst => "zstd",
        }
    }
}

/// Magic numbers at offset 0: what we read, and what we know well enough to name.
const MAGICS: [(&[u8], Result<Format, &str>); 13] = [
    (&[0xfd, b'7', b'z', b'X', b'Z', 0], Ok(Format::Xz)),
    (&[0x1f, 0x8b], Ok(Format::Gz)),
    (b"PK\x03\x04", Ok(Format::Zip)),
    (b"PK\x05\x06", Ok(Format::Zip)),
    (&[0x28, 0xb5, 0x2f, 0xfd], Ok(Format::Zst)),
    (b"BZh", Err("a bzip2 archive")),
    (b"7z\xbc\xaf\x27\x1c", Err("a 7z archive")),
    (b"Rar!", Err("a RAR archive")),
    (b"LZIP", Err("an lzip archive")),
    (&[0x04, 0x22, 0x4d, 0x18], Err("an lz4 archive")),
    (b"QFI\xfb", Err("a QEMU qcow2 image")),
    (b"KDMV", Err("a VMware image")),
    (b"<", Err("a web page")),
];

/// The format of a file that begins with `head`, or the name of one that we do not read.
pub(super) fn of_head(head: &[u8]) -> Result<Format, &'static str> {
    // Skippable zstd frames (RFC 8878 §3.1.2) may come first.
    if let [low, 0x2a, 0x4d, 0x18, ..] = head
        && low & 0xf0 == 0x50
    {
        return Ok(Format::Zst);
    }
    let page = head.trim_ascii_start();
    MAGICS
        .iter()
        .find(|(magic, verdict)| {
            let head = if *verdict == Err("a web page") { page } else { head };
            head.starts_with(magic)
        })
        .map_or(Ok(Format::Raw), |(_, verdict)| *verdict)
}

/// The first bytes of a file, fewer when it is shorter.
pub(super) fn read_head(file: &File) -> io::Result<Vec<u8>> {
    let mut head = Vec::with_capacity(512);
    let mut file = file;
    file.seek(SeekFrom::Start(0))?;
    file.take(512).read_to_end(&mut head)?;
    file.seek(SeekFrom::Start(0))?;
    Ok(head)
}

/// What keeps the first 512 bytes of an unpacked image from being a disk; `None` when they may be one. The rest
/// is for who reads the partition table.
pub(super) fn no_disk(head: &[u8]) -> Option<(u64, String)> {
    match head.get(510..512) {
        Some([0x55, 0xaa]) => None,
        Some(mark) => {
            let what = match of_head(head) {
                Err(name) => format!(" ({name})"),
                Ok(Format::Raw) => String::new(),
                Ok(format) => format!(" (a {} archive)", format.name()),
            };
            Some((510, format!("{:02x} {:02x}{what}", mark[0], mark[1])))
        }
        None => Some((head.len() as u64, "the end".into())),
    }
}

/// The unpacked length that an archive states, where it does and without reading it through.
pub(super) fn stated_len(file: &File, format: Format) -> Option<u64> {
    match format {
        Format::Xz => super::xz_index::unpacked_len(file),
        Format::Zst => {
            let head = read_head(file).ok()?;
            zstd::zstd_safe::get_frame_content_size(&head).ok()?
        }
        Format::Raw | Format::Gz | Format::Zip => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_told_by_their_magic() {
        assert_eq!(of_head(&[0x1f, 0x8b, 8]), Ok(Format::Gz));
        assert_eq!(of_head(&[0x28, 0xb5, 0x2f, 0xfd]), Ok(Format::Zst));
        assert_eq!(of_head(&[0x5f, 0x2a, 0x4d, 0x18]), Ok(Format::Zst));
        assert_eq!(of_head(b"PK\x03\x04"), Ok(Format::Zip));
        assert_eq!(of_head(&[0; 512]), Ok(Format::Raw));
        assert_eq!(of_head(b""), Ok(Format::Raw));
        assert_eq!(of_head(b" \n<html>"), Err("a web page"));
        assert_eq!(of_head(b"BZh91AY"), Err("a bzip2 archive"));
    }

    #[test]
    fn a_disk_has_its_mark() {
        let mut head = vec![0; 512];
        assert_eq!(no_disk(&head), Some((510, "00 00".into())));
        head[510..].copy_from_slice(&[0x55, 0xaa]);
        assert_eq!(no_disk(&head), None);
        assert!(no_disk(&head[..100]).is_some());
    }
}
