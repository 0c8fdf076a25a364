//! Where pressed images go: files and cards; and other files that are made new. It knows no nodes.

pub mod card;
pub mod disks;
mod file;
pub mod flash;
mod medium;
mod sys;

pub use card::Card;
pub use file::{
    Copy, Error, Options, Part, Pressed, Staged, check_room_for, remove_leftovers, stage, write_atomically,
};
pub use medium::{BUFFER_ALIGN, Medium};
