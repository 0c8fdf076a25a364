//! Where pressed images go, and other files that are made new. It knows no nodes.

mod file;
mod medium;
mod sys;

pub use file::{
    Copy, Error, Options, Part, Pressed, Staged, check_room_for, remove_leftovers, stage, write_atomically,
};
pub use medium::{BUFFER_ALIGN, Medium};
