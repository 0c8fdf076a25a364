//! Numbered bytes: devices, windows on them, and the copy-on-write overlay that every edit goes into.
//!
//! Knows nothing of partitions or files. A base image is only ever a [`ReadAt`], so nothing here can write to it but
//! [`redo`], which is what changes a file in place.

mod device;
pub mod host;
mod overlay;
pub mod redo;
pub mod shared;
mod slice;
mod spill;

pub use device::{Device, Error, FileDevice, Memory, ReadAt};
pub use overlay::{Extent, Overlay};
pub use slice::Slice;
