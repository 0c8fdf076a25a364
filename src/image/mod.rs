//! What the bytes mean.

pub mod ext4;
