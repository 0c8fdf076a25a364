//! Where pressed images go. It alone writes what lasts; it knows no nodes.

mod file;
mod sys;

pub use file::{Copy, Error, Options, Part, Pressed, Staged, remove_leftovers, stage, write_atomically};
