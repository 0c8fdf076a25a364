//! Trees as tar archives: out of an image, and into it.
//!
//! ```text
//! Tree::pack     walk ─▶ write.rs (one member as bytes) ─▶ a stream
//! Tree::unpack   a stream ─▶ read.rs (one member at a time) ─▶ place.rs (where it may go) ─▶ edits
//! ```
//!
//! Of the `tar` crate only the header of 512 bytes is used. Its reader takes extensions of any length into memory, and
//! ends their records at line breaks, which binary values have.
//!
//! Spec: POSIX.1-2024, pax, "pax Interchange Format"; GNU tar 1.35, "Basic Tar Format", for long names, and its
//! `SCHILY.xattr.` records. Oracle: GNU tar. Left out: sparse files (holes are zeros), archives in several volumes.

mod pack;
mod place;
mod read;
mod unpack;
mod write;

pub use unpack::Archive;

/// All lengths are rounded up to it.
const BLOCK_LEN: usize = 512;
/// What begins the name of a record with an extended attribute.
const XATTR: &str = "SCHILY.xattr.";
