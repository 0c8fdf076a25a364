//! Devices, named pipes and sockets: inodes without blocks. A device has its number in `i_block`.
//!
//! ```text
//! i_block[0]  major << 8 | minor, where both are below 256
//! i_block[1]  else this: minor bits 8 to 19 in bits 20 to 31, major in 8 to 19, minor bits 0 to 7 in 0 to 7
//! ```
//!
//! Linux `include/linux/kdev_t.h`.

use super::bytes::{put, u32_at};
use super::edit::check_free;
use super::error::Error;
use super::inode::{FileKind, Inode};
use super::{Filesystem, NewAttributes};
use crate::base::ImagePath;

const MAJOR_LIMIT: u32 = 0xfff;
const MINOR_LIMIT: u32 = 0xf_ffff;

/// What [`Filesystem::make_node`] makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeKind {
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
    /// A character device.
    CharacterDevice {
        /// Its driver, up to 4095.
        major: u32,
        /// Which of the driver's devices, up to 1048575.
        minor: u32,
    },
    /// A block device.
    BlockDevice {
        /// Its driver, up to 4095.
        major: u32,
        /// Which of the driver's devices, up to 1048575.
        minor: u32,
    },
}

impl NodeKind {
    fn file_kind(self) -> FileKind {
        match self {
            Self::Fifo => FileKind::Fifo,
            Self::Socket => FileKind::Socket,
            Self::CharacterDevice { .. } => FileKind::CharacterDevice,
            Self::BlockDevice { .. } => FileKind::BlockDevice,
        }
    }

    fn device(self) -> Option<(u32, u32)> {
        match self {
            Self::CharacterDevice { major, minor } | Self::BlockDevice { major, minor } => {
                Some((major, minor))
            }
            _ => None,
        }
    }
}

impl Filesystem<'_> {
    /// Makes a device, a named pipe or a socket.
    ///
    /// # Errors
    /// [`Error::Exists`], [`Error::DeviceNumber`], or as for [`Self::write_file`].
    pub fn make_node(&mut self, path: &ImagePath, kind: NodeKind, new: NewAttributes) -> Result<(), Error> {
        self.edit(|fs| {
            let slot = fs.store.slot(path, false)?;
            check_free(&slot, path)?;
            let mut inode = fs.create(slot, kind.file_kind(), new)?;
            if let Some((major, minor)) = kind.device() {
                if major > MAJOR_LIMIT || minor > MINOR_LIMIT {
                    return Err(Error::DeviceNumber { major, minor });
                }
                inode.set_i_block(&encode(major, minor));
                fs.store.put_inode(inode);
            }
            Ok(())
        })
    }
}

fn encode(major: u32, minor: u32) -> [u8; 60] {
    let mut i_block = [0; 60];
    if major < 256 && minor < 256 {
        put(&mut i_block, 0, &(major << 8 | minor).to_le_bytes());
    } else {
        put(&mut i_block, 4, &(minor & 0xff | major << 8 | (minor & !0xff) << 12).to_le_bytes());
    }
    i_block
}

/// The number of a device: major and minor; `None` for anything else.
pub(super) fn device_number(inode: &Inode) -> Result<Option<(u32, u32)>, Error> {
    Ok(match inode.kind()? {
        FileKind::CharacterDevice | FileKind::BlockDevice => Some(decode(&inode.i_block())),
        _ => None,
    })
}

fn decode(i_block: &[u8; 60]) -> (u32, u32) {
    let (short, long) = (u32_at(i_block, 0), u32_at(i_block, 4));
    if short != 0 {
        return (short >> 8 & 0xff, short & 0xff);
    }
    (long >> 8 & MAJOR_LIMIT, long & 0xff | long >> 12 & 0xf_ff00)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn device_numbers_survive_both_forms() {
        for number in [(0, 0), (1, 3), (255, 255), (256, 0), (0, 256), (8, 65_537), (4095, 1_048_575)] {
            assert_eq!(decode(&encode(number.0, number.1)), number);
        }
        assert_eq!(encode(1, 3)[..8], [3, 1, 0, 0, 0, 0, 0, 0]);
        // mknod of 259:259, as Linux stores it.
        assert_eq!(encode(259, 259)[..8], [0, 0, 0, 0, 0x03, 0x03, 0x11, 0x00]);
    }
}
