//! Filesystems made by mke2fs, edited by us, judged by e2fsck and debugfs.

mod content;
mod corrupt;
mod edits;
mod gate;
#[cfg(unix)]
mod grow;
mod kept;
mod limits;
#[cfg(unix)]
mod make;
mod names;
mod recover;
mod space;
mod spoilt;
mod support;
mod xattrs;
