//! Filesystems made by mke2fs, edited by us, judged by e2fsck and debugfs.

mod edits;
mod gate;
#[cfg(unix)]
mod grow;
mod kept;
#[cfg(unix)]
mod make;
mod recover;
mod spoilt;
mod support;
