//! What can be read and written at an offset.

use std::cell::RefCell;
use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;

use super::host;

/// Why bytes could not be had. Offsets are in bytes from the start of the device that was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The system failed to read.
    #[error("cannot read {len} bytes at offset {offset}")]
    Read {
        /// Where.
        offset: u64,
        /// How many.
        len: usize,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The system failed to write.
    #[error("cannot write {len} bytes at offset {offset}")]
    Write {
        /// Where.
        offset: u64,
        /// How many.
        len: usize,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Edits that were too many for memory could not be kept in a file.
    #[error("cannot keep edits in a temporary file in `{}`", .folder.display())]
    Spill {
        /// Where the file was to be.
        folder: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The range leaves the device.
    #[error("{len} bytes at offset {offset} reach past the end at {device_len}")]
    OutOfBounds {
        /// Where.
        offset: u64,
        /// How many.
        len: u64,
        /// The length of the device.
        device_len: u64,
    },
}

impl Error {
    /// Refuses a range that leaves a device of `device_len` bytes.
    ///
    /// # Errors
    /// [`Error::OutOfBounds`]
    pub fn check_bounds(offset: u64, len: usize, device_len: u64) -> Result<(), Self> {
        let len = u64::try_from(len).unwrap_or(u64::MAX);
        match offset.checked_add(len) {
            Some(end) if end <= device_len => Ok(()),
            _ => Err(Self::OutOfBounds { offset, len, device_len }),
        }
    }
}

/// Bytes that can be read at any offset; whole reads only.
pub trait ReadAt {
    /// The length in bytes.
    fn len_bytes(&self) -> u64;

    /// Fills `buf` with the bytes from `offset` on.
    ///
    /// # Errors
    /// [`Error::OutOfBounds`] when the range leaves the device, [`Error::Read`] when the system fails.
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<(), Error>;

    /// The file of the host that holds these bytes, each where it is here; `None` where there is none such.
    fn host_file(&self) -> Option<&File> {
        None
    }
}

/// A [`ReadAt`] that can be written too. Takes `&self`, like a file: two filesystems may stand on one device.
pub trait Device: ReadAt {
    /// Puts `bytes` at `offset`. The length of the device does not change.
    ///
    /// # Errors
    /// [`Error::OutOfBounds`] when the range leaves the device, [`Error::Write`] when the system fails.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<(), Error>;
}

impl<T: ReadAt + ?Sized> ReadAt for &T {
    fn len_bytes(&self) -> u64 {
        (**self).len_bytes()
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<(), Error> {
        (**self).read_at(offset, buf)
    }

    fn host_file(&self) -> Option<&File> {
        (**self).host_file()
    }
}

impl<T: ReadAt + ?Sized> ReadAt for Rc<T> {
    fn len_bytes(&self) -> u64 {
        (**self).len_bytes()
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<(), Error> {
        (**self).read_at(offset, buf)
    }
}

impl<T: ReadAt + ?Sized> ReadAt for Arc<T> {
    fn len_bytes(&self) -> u64 {
        (**self).len_bytes()
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<(), Error> {
        (**self).read_at(offset, buf)
    }

    fn host_file(&self) -> Option<&File> {
        (**self).host_file()
    }
}

impl<T: Device + ?Sized> Device for &T {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<(), Error> {
        (**self).write_at(offset, bytes)
    }
}

/// A file on the host, read only.
#[derive(Debug)]
pub struct FileDevice {
    file: File,
    len_bytes: u64,
}

impl FileDevice {
    /// Takes an open file at the length it has now.
    ///
    /// # Errors
    /// What the system says when asked for the length.
    pub fn new(file: File) -> io::Result<Self> {
        let len_bytes = file.metadata()?.len();
        Ok(Self { file, len_bytes })
    }

    /// The file behind.
    #[must_use]
    pub fn file(&self) -> &File {
        &self.file
    }
}

impl ReadAt for FileDevice {
    fn len_bytes(&self) -> u64 {
        self.len_bytes
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<(), Error> {
        Error::check_bounds(offset, buf.len(), self.len_bytes)?;
        let len = buf.len();
        host::read_exact_at(&self.file, buf, offset).map_err(|source| Error::Read { offset, len, source })
    }

    fn host_file(&self) -> Option<&File> {
        Some(&self.file)
    }
}

/// A device in memory: for tests, and for filesystems built from nothing.
#[derive(Clone, Debug, Default)]
pub struct Memory(RefCell<Vec<u8>>);

impl Memory {
    /// A device that holds `bytes`.
    #[must_use]
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(RefCell::new(bytes))
    }

    /// Gives the bytes back.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.0.into_inner()
    }
}

impl ReadAt for Memory {
    fn len_bytes(&self) -> u64 {
        self.0.borrow().len() as u64
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<(), Error> {
        let bytes = self.0.borrow();
        Error::check_bounds(offset, buf.len(), bytes.len() as u64)?;
        // In bounds of a Vec, so it fits usize.
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        buf.copy_from_slice(&bytes[start..start + buf.len()]);
        Ok(())
    }
}

impl Device for Memory {
    fn write_at(&self, offset: u64, source: &[u8]) -> Result<(), Error> {
        let mut bytes = self.0.borrow_mut();
        Error::check_bounds(offset, source.len(), bytes.len() as u64)?;
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        bytes[start..start + source.len()].copy_from_slice(source);
        Ok(())
    }
}
