//! Files of the host on their way into an image and out of it.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;

use super::{FileKind, Tree};
use crate::base::{ImagePath, Interrupt, Interrupted};
use crate::build::Error;
use crate::sink;

/// A file of the host, to be read once.
pub struct Input {
    file: File,
    /// How much it has to give.
    pub len_bytes: u64,
    interrupt: Interrupt,
}

impl Input {
    /// Opens a file. What does not know its length, such as a pipe, is first read into a temporary file.
    ///
    /// # Errors
    /// [`Error::Host`], [`Error::HostDirectory`].
    pub fn open(path: &Path, interrupt: &Interrupt) -> Result<Self, Error> {
        let host = |verb| move |source| Error::Host { verb, path: path.to_owned(), source };
        let mut file = File::open(path).map_err(host("open"))?;
        let metadata = file.metadata().map_err(host("open"))?;
        if metadata.is_dir() {
            return Err(Error::HostDirectory { verb: "read", path: path.to_owned() });
        }
        let mut len_bytes = metadata.len();
        if !metadata.is_file() {
            let mut spool = tempfile::tempfile().map_err(host("read"))?;
            len_bytes = io::copy(&mut file, &mut spool).map_err(host("read"))?;
            io::Seek::rewind(&mut spool).map_err(host("read"))?;
            file = spool;
        }
        Ok(Self { file, len_bytes, interrupt: interrupt.clone() })
    }
}

impl Read for Input {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        // Not ErrorKind::Interrupted: who reads would try again.
        self.interrupt.check().map_err(|Interrupted| io::Error::other(Interrupted))?;
        self.file.read(buf)
    }
}

impl Tree<'_> {
    /// Copies the file at `path` to the host, where it appears whole or not at all, with its permission bits but
    /// without set-user-id and the like. A device or pipe of the host is written to as it is.
    ///
    /// # Errors
    /// [`Error::DirectoryAsFile`], or as for [`Tree::read`] and [`write_local`].
    pub fn get(&self, path: &ImagePath, local: &Path, interrupt: &Interrupt) -> Result<(), Error> {
        let host = |source| Error::Host { verb: "write", path: local.to_owned(), source };
        let stat = self.stat(path, true)?;
        if stat.kind == FileKind::Directory {
            return Err(Error::DirectoryAsFile { path: path.clone() });
        }
        let mode = u32::from(stat.mode & 0o777);
        write_local(local, mode, |out| {
            self.read(path, &mut |piece| {
                interrupt.check()?;
                out.write_all(piece).map_err(host)
            })
        })
    }
}

/// Lets `fill` write a file of the host, which appears whole or not at all, with this mode. A device or pipe of the host
/// is written to as it is.
///
/// # Errors
/// [`Error::Sink`], [`Error::Host`], [`Error::HostDirectory`], or what `fill` says.
pub fn write_local<T>(
    local: &Path,
    mode: u32,
    fill: impl FnOnce(&mut dyn Write) -> Result<T, Error>,
) -> Result<T, Error> {
    match std::fs::metadata(local) {
        Ok(there) if there.is_dir() => Err(Error::HostDirectory { verb: "write", path: local.to_owned() }),
        Ok(there) if !there.is_file() => {
            let host = |source| Error::Host { verb: "write", path: local.to_owned(), source };
            fill(&mut File::options().write(true).open(local).map_err(host)?)
        }
        _ => {
            let failed = |source| Error::Sink { path: local.to_owned(), source: Box::new(source) };
            let mut part = sink::Part::beside(local).map_err(failed)?;
            let done = fill(&mut part)?;
            part.commit(mode).map_err(failed)?;
            Ok(done)
        }
    }
}
