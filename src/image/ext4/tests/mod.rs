//! Filesystems made by mke2fs, edited by us, judged by e2fsck and debugfs.

mod edits;
mod gate;
mod kept;
mod spoilt;
mod support;
