//! Where pressed images go, and other files that are made new. It knows no nodes.

mod file;
pub mod flash;
mod medium;
mod sys;

pub use file::{Copy, Error, Options, Part, Pressed, Staged, remove_leftovers, stage, write_atomically};
pub use medium::{BUFFER_ALIGN, Medium};
