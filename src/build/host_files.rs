//! Writes what `plan` made for the workstation.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use super::{Error, host_error};
use crate::plan::HostFile;
use crate::sink;

/// Writes every file below `folder`, each whole or not at all. The paths, in the order of `files`.
///
/// # Errors
/// [`Error::Host`], [`Error::Sink`]; files before the one that failed are new.
pub fn write_host_files(folder: &Path, files: &[HostFile]) -> Result<Vec<PathBuf>, Error> {
    let mut written = Vec::new();
    let mut ready = BTreeSet::new();
    for file in files {
        let path = file.path.split('/').fold(folder.to_owned(), |path, part| path.join(part));
        // Once for each folder: that of the images has many names to read.
        if let Some(parent) = path.parent().filter(|parent| ready.insert(parent.to_path_buf())) {
            fs::create_dir_all(parent).map_err(host_error("create the folder", parent))?;
            sink::remove_leftovers(parent).map_err(failed(parent))?;
        }
        write_host_file(&path, file)?;
        written.push(path);
    }
    Ok(written)
}

/// Writes one of them under any name, into a folder that is there.
///
/// # Errors
/// [`Error::Sink`]
pub fn write_host_file(path: &Path, file: &HostFile) -> Result<(), Error> {
    sink::write_atomically(path, file.content.bytes(), file.mode.into()).map_err(failed(path))
}

/// Writes a file that is no secret, whole or not at all.
///
/// # Errors
/// [`Error::Sink`]
pub fn write_host_bytes(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    sink::write_atomically(path, bytes, 0o644).map_err(failed(path))
}

fn failed(path: &Path) -> impl Fn(sink::Error) -> Error + '_ {
    |source| Error::Sink { path: path.to_owned(), source: Box::new(source) }
}
