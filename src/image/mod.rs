//! What the bytes of an image mean: filesystems, read and edited in place.
//!
//! Works on any [`block::Device`](crate::block::Device) and has not heard of Raspberry Pi.

pub mod ext4;
