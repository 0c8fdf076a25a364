//! Content that is streamed in and read in parts, and what is left when that fails half-way.

use std::cell::Cell;
use std::io::{self, Read};

use super::support::{FILE, Image, SHAPES, path, pattern};
use crate::block::{self, Device, Memory, ReadAt};
use crate::image::ext4::{Error, Filesystem};

const LIMIT: u64 = 1 << 24;

/// Gives so many bytes in odd pieces, then an end or an error; never asked for more than 1 MiB at a time.
struct Source {
    content: Vec<u8>,
    at: usize,
    fails: bool,
}

impl Source {
    fn new(content: Vec<u8>, fails: bool) -> Self {
        Self { content, at: 0, fails }
    }
}

impl Read for Source {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        assert!(buf.len() <= 1 << 20, "asked for {} bytes at once", buf.len());
        let len = buf.len().min(7_777).min(self.content.len() - self.at);
        if len == 0 && self.fails {
            return Err(io::Error::other("the source broke"));
        }
        buf[..len].copy_from_slice(&self.content[self.at..self.at + len]);
        self.at += len;
        Ok(len)
    }
}

/// A device whose writes fail once so many were done.
struct Failing {
    device: Memory,
    writes_left: Cell<u32>,
}

impl ReadAt for Failing {
    fn len_bytes(&self) -> u64 {
        self.device.len_bytes()
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<(), block::Error> {
        self.device.read_at(offset, buf)
    }
}

impl Device for Failing {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<(), block::Error> {
        let Some(left) = self.writes_left.get().checked_sub(1) else {
            let source = io::Error::other("the device broke");
            return Err(block::Error::Write { offset, len: bytes.len(), source });
        };
        self.writes_left.set(left);
        self.device.write_at(offset, bytes)
    }
}

#[test]
fn streamed_content_arrives_whole_in_new_files_and_old_ones() {
    for shape in SHAPES {
        let image = Image::make(shape);
        image.edit(|fs| {
            let block_len = usize::try_from(fs.block_len()).unwrap();
            for len in [0, 1, block_len - 1, block_len, block_len + 1, 2_500_003] {
                for file in ["/etc/new", "/etc/big"] {
                    // More than asked for: the rest is not taken.
                    let mut source = Source::new(pattern(len + 10), false);
                    fs.write_from(&path(file), &mut source, len as u64, FILE).unwrap();
                    assert_eq!(source.at, len, "{}", shape.0);
                    assert!(fs.read_file(&path(file), LIMIT).unwrap() == pattern(len), "{}: {len}", shape.0);
                }
            }
        });
        image.check(shape.0);
        assert!(image.debugfs_bytes("cat /etc/big") == pattern(2_500_003), "{}", shape.0);
    }
}

#[test]
fn a_source_that_ends_early_or_fails_changes_nothing() {
    for shape in SHAPES {
        let image = Image::make(shape);
        image.edit(|fs| {
            let before = (fs.free_blocks(), fs.free_inodes());
            for (fails, kind) in [(false, io::ErrorKind::UnexpectedEof), (true, io::ErrorKind::Other)] {
                for file in ["/etc/new", "/etc/big"] {
                    let mut source = Source::new(pattern(1_300_000), fails);
                    match fs.write_from(&path(file), &mut source, 1_300_001, FILE) {
                        Err(Error::Content { read_bytes: 1_300_000, len_bytes: 1_300_001, source }) => {
                            assert_eq!(source.kind(), kind);
                        }
                        done => panic!("{}: {done:?}", shape.0),
                    }
                }
            }
            assert_eq!((fs.free_blocks(), fs.free_inodes()), before);
            assert!(!fs.exists(&path("/etc/new"), true).unwrap());
            assert!(fs.read_file(&path("/etc/big"), LIMIT).unwrap() == pattern(700_000));
            fs.append(&path("/etc/big"), b"still in use").unwrap();
        });
        image.check(shape.0);
        let wanted = [&pattern(700_000)[..], b"still in use"].concat();
        assert!(image.debugfs_bytes("cat /etc/big") == wanted, "{}", shape.0);
    }
}

#[test]
fn a_device_that_fails_under_free_blocks_does_no_harm_and_under_old_content_ends_editing() {
    let image = Image::make(&SHAPES[1]);
    let failing = |writes| Failing { device: Memory::new(image.bytes()), writes_left: Cell::new(writes) };
    let device = failing(1);
    let mut fs = Filesystem::open(&device).unwrap();
    let error = fs.write_from(&path("/etc/big"), &mut &pattern(3_000_000)[..], 3_000_000, FILE).unwrap_err();
    assert!(matches!(error, Error::Device { .. }), "{error}");
    assert!(fs.write_file(&path("/etc/new"), &pattern(9_000), FILE).is_err());
    assert!(fs.read_file(&path("/etc/big"), LIMIT).unwrap() == pattern(700_000));
    fs.set_mode(&path("/etc/big"), 0o600).unwrap();

    let device = failing(0);
    let mut fs = Filesystem::open(&device).unwrap();
    let error = fs.write_at(&path("/etc/big"), 5, b"over old content").unwrap_err();
    assert!(matches!(error, Error::Device { .. }), "{error}");
    assert!(matches!(fs.set_mode(&path("/etc/big"), 0o600), Err(Error::Poisoned)));
}

#[test]
fn content_without_room_beside_the_old_one_is_refused_before_it_is_read() {
    let image = Image::make(&SHAPES[1]);
    image.edit(|fs| {
        let len = (fs.free_blocks() + 1) * u64::from(fs.block_len());
        let mut source = Source::new(Vec::new(), true);
        let error = fs.write_from(&path("/etc/big"), &mut source, len, FILE).unwrap_err();
        assert!(matches!(error, Error::NoSpace { .. }), "{error}");
    });
    image.check("after a refusal");
}

#[test]
fn any_part_of_a_file_can_be_read() {
    for shape in [&SHAPES[0], &SHAPES[1], &SHAPES[8]] {
        let image = Image::make(shape);
        image.edit(|fs| {
            let file = path("/holes");
            fs.write_file(&file, b"", FILE).unwrap();
            for at in [0, 9_000, 60_000, 60_500, 123_456] {
                fs.write_at(&file, at, &pattern(3_000)).unwrap();
            }
            fs.truncate(&file, 140_000).unwrap();
            let whole = fs.read_file(&file, LIMIT).unwrap();
            for offset in (0..141_000_usize).step_by(1_371) {
                for len in [0, 1, 1_024, 5_000, 150_000] {
                    let mut buf = vec![0xee; len];
                    let read = fs.read_at(&file, offset as u64, &mut buf).unwrap();
                    let wanted = &whole[offset.min(whole.len())..(offset + len).min(whole.len())];
                    assert!(&buf[..read] == wanted, "{}: {len} bytes at {offset}", shape.0);
                    assert!(buf[read..].iter().all(|byte| *byte == 0xee));
                }
            }
            assert_eq!(fs.read_at(&file, u64::MAX, &mut [0; 9]).unwrap(), 0);
        });
    }
}
