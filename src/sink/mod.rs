//! Where pressed images go, and other files that are made new. It knows no nodes.

mod bmap;
mod file;
mod medium;
mod packed;
mod sys;

pub use bmap::{BMAP_BLOCK_LEN, BmapError, bmap};
pub use file::{Copy, Error, Options, Part, Pressed, Staged, remove_leftovers, stage, write_atomically};
pub use medium::{BUFFER_ALIGN, Medium};
pub use packed::{Archive, ArchiveBlock, Check, Packed, Packer, PackerOptions, Packing, StagedPacked};
