//! What the bytes mean: partition tables and filesystems. Has not heard of Raspberry Pi.

pub mod fat;
pub mod table;
