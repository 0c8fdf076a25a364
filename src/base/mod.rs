//! Nouns with units that every layer shares: digests, paths inside an image, lengths, zeros, secrets, progress, which
//! kinds of system there are.
//!
//! Never does I/O, knows no format. A helper enters here when two layers need it, never in hope.

mod chunks;
mod date;
mod digest;
mod interrupt;
mod os;
mod path;
mod progress;
mod secret;
mod size;
mod zeros;

pub use chunks::ChunkDigests;
pub use date::Civil;
pub use digest::{Sha256Digest, Sha256Hasher, hex};
pub use interrupt::{Interrupt, Interrupted};
pub use os::{Arch, Variant};
pub use path::{ImagePath, ImagePathError};
pub use progress::{Progress, Silent};
pub use secret::Secret;
pub use size::{ByteLen, ByteLenError};
pub use zeros::is_zero;
