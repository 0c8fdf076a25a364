//! What the bytes of a disk mean: its partition table and the filesystems in it.
//!
//! Writes only into a device it is handed, and never outside of it. Has not heard of nodes, profiles or Raspberry Pi.

pub mod ext4;
pub mod fat;
pub mod findings;
pub mod table;
