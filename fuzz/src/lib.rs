//! What the fuzz targets share: small sound images, a way to spoil them, and everything that is then done to them.
//!
//! An input is `[flags] ([place: u16 le] [count: u8] [bytes …]) …`: bytes put at places inside the windows of a target
//! (the superblock, the blocks of directories, …), so that no run is lost on blocks nobody reads. Images without
//! checksums let every spoilt byte through; with the flag for it the checksums of the others are put right. What
//! is asserted must always hold: no panic, no end that never comes, no more memory than libFuzzer allows; and what our
//! own checker calls sound, it still calls sound after edits.
//! Devices refuse what lies outside of them, and an [`Overlay`] never writes its base.

#![forbid(unsafe_code)]

pub mod ext4;
pub mod fat;
pub mod table;
pub mod tar;

use std::ops::Range;

use cardpress::block::{Device as _, Error, Overlay, ReadAt};

/// Bytes that live as long as the program.
#[derive(Clone, Copy)]
pub struct Bytes(pub &'static [u8]);

impl ReadAt for Bytes {
    fn len_bytes(&self) -> u64 {
        self.0.len() as u64
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<(), Error> {
        Error::check_bounds(offset, buf.len(), self.len_bytes())?;
        let start = usize::try_from(offset).unwrap();
        buf.copy_from_slice(&self.0[start..start + buf.len()]);
        Ok(())
    }
}

/// An image to spoil.
pub type Image = Overlay<Bytes>;

/// Which image, and where an input may reach.
pub struct Seed {
    pub bytes: Vec<u8>,
    pub windows: Vec<Range<usize>>,
}

impl Seed {
    /// The image with the bytes of `input` put where it says.
    pub fn spoil(&'static self, input: &[u8]) -> Image {
        let image = Overlay::new(Bytes(&self.bytes));
        let room: usize = self.windows.iter().map(Range::len).sum();
        let mut rest = input;
        while let [low, high, count, after @ ..] = rest {
            let mut at = usize::from(u16::from_le_bytes([*low, *high])) % room.max(1);
            let count = (usize::from(*count) % 16 + 1).min(after.len());
            let (bytes, left) = after.split_at(count);
            rest = left;
            for window in &self.windows {
                if at < window.len() {
                    let start = window.start + at;
                    let bytes = &bytes[..bytes.len().min(window.end - start)];
                    image.write_at(start as u64, bytes).unwrap();
                    break;
                }
                at -= window.len();
            }
        }
        image
    }
}

fn get(image: &Image, at: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    // What is not there reads as zeros.
    let _ = image.read_at(at, &mut bytes);
    bytes
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 4).map_or(0, |bytes| u32::from_le_bytes(bytes.try_into().unwrap()))
}

fn put(image: &Image, at: u64, bytes: &[u8]) {
    let _ = image.write_at(at, bytes);
}
