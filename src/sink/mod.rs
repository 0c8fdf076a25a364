//! Where pressed images go: files and cards; and other files that are made new. It knows no nodes.

mod bmap;
pub mod card;
pub mod disks;
mod file;
pub mod flash;
mod medium;
mod packed;
mod sys;

pub use bmap::{BMAP_BLOCK_LEN, BmapError, bmap};
pub use card::Card;
pub use file::{
    Copy, Error, Options, Part, Pressed, Staged, check_free, check_room_for, remove_leftovers, stage,
    write_atomically,
};
pub use medium::{BUFFER_ALIGN, Medium};
pub use packed::{Archive, ArchiveBlock, Check, Packed, Packer, PackerOptions, Packing, StagedPacked};
