//! Systems on which no disk can be taken for us alone: none is taken.

use std::fs::File;
use std::io;

use super::{Disk, Error, disks};

pub(super) fn open(_disk: &Disk) -> io::Result<File> {
    Err(io::ErrorKind::Unsupported.into())
}

pub(super) fn check_open(_file: &File, _disk: &Disk) -> Result<(), Error> {
    Err(disks::Error::NotBuilt("take a disk").into())
}

pub(super) fn block_len(_file: &File, _disk: &Disk) -> io::Result<u32> {
    Err(io::ErrorKind::Unsupported.into())
}

pub(super) fn sync(file: &File) -> io::Result<()> {
    file.sync_all()
}

pub(super) fn is_busy(_error: &io::Error) -> bool {
    false
}

pub(super) fn is_no_medium(_error: &io::Error) -> bool {
    false
}
