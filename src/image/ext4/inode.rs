//! Inodes: 128 bytes that every ext2 had, and with larger inodes the extra fields from 0x80 on.
//!
//! Spec: Linux `Documentation/filesystems/ext4/inodes.rst`.

use std::fmt;

use super::bytes::{field, high16, high32, low16, low32, put, u16_at, u32_at};
use super::checksum::{Checksums, crc32c};
use super::error::{Error, Refusal, corrupt};
use crate::base::is_zero;

/// The root directory.
pub(super) const ROOT: u32 = 2;

pub(super) const FLAG_INDEX: u32 = 0x1000;
pub(super) const FLAG_EXTENTS: u32 = 0x8_0000;

/// Flags that forbid an edit, or change what the bytes mean in a way not supported here.
const FORBIDDING_FLAGS: [(u32, &str); 9] = [
    (0x4, "compressed"),
    (0x10, "immutable"),
    (0x20, "append-only"),
    (0x800, "encrypted"),
    (0x4_0000, "huge_file"),
    (0x10_0000, "verity"),
    (0x20_0000, "ea_inode"),
    (0x1000_0000, "inline_data"),
    (0x4000_0000, "casefold"),
];
/// Those of them that forbid reading too.
const UNREADABLE_FLAGS: u32 = 0x4 | 0x800 | 0x1000_0000 | 0x4000_0000;

/// What a file is, from the top bits of `i_mode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileKind {
    /// A regular file.
    Regular,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// A character device.
    CharacterDevice,
    /// A block device.
    BlockDevice,
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
}

impl FileKind {
    /// The kind, from a mode as `stat` gives it.
    fn from_mode(mode: u16) -> Option<Self> {
        Some(match mode & 0xf000 {
            0x8000 => Self::Regular,
            0x4000 => Self::Directory,
            0xa000 => Self::Symlink,
            0x2000 => Self::CharacterDevice,
            0x6000 => Self::BlockDevice,
            0x1000 => Self::Fifo,
            0xc000 => Self::Socket,
            _ => return None,
        })
    }

    fn mode_bits(self) -> u16 {
        match self {
            Self::Regular => 0x8000,
            Self::Directory => 0x4000,
            Self::Symlink => 0xa000,
            Self::CharacterDevice => 0x2000,
            Self::BlockDevice => 0x6000,
            Self::Fifo => 0x1000,
            Self::Socket => 0xc000,
        }
    }

    /// The type byte of a directory entry.
    pub(super) fn entry_type(self) -> u8 {
        match self {
            Self::Regular => 1,
            Self::Directory => 2,
            Self::CharacterDevice => 3,
            Self::BlockDevice => 4,
            Self::Fifo => 5,
            Self::Socket => 6,
            Self::Symlink => 7,
        }
    }

    /// The kind, from the type byte of a directory entry.
    pub(super) fn from_entry_type(byte: u8) -> Option<Self> {
        Some(match byte {
            1 => Self::Regular,
            2 => Self::Directory,
            3 => Self::CharacterDevice,
            4 => Self::BlockDevice,
            5 => Self::Fifo,
            6 => Self::Socket,
            7 => Self::Symlink,
            _ => return None,
        })
    }
}

impl fmt::Display for FileKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Regular => "regular file",
            Self::Directory => "directory",
            Self::Symlink => "symlink",
            Self::CharacterDevice => "character device",
            Self::BlockDevice => "block device",
            Self::Fifo => "named pipe",
            Self::Socket => "socket",
        })
    }
}

/// A moment: seconds since 1970 and nanoseconds. ext4 holds -2^31 to 2^34 seconds; 128-byte inodes whole seconds
/// up to 2^31. What is outside is moved to the nearest that fits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timestamp {
    /// Whole seconds, rounded down.
    pub seconds: i64,
    /// And this much more.
    pub nanoseconds: u32,
}

/// Where a time lies: the seconds, and the extra word with two more bits of them and the nanoseconds.
#[derive(Clone, Copy)]
struct TimeField(usize, usize);

const ACCESSED: TimeField = TimeField(0x08, 0x8c);
const CHANGED: TimeField = TimeField(0x0c, 0x84);
const MODIFIED: TimeField = TimeField(0x10, 0x88);
const CREATED: TimeField = TimeField(0x90, 0x94);

/// An inode as it will be written, checksum aside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Inode {
    pub(super) number: u32,
    raw: Vec<u8>,
}

impl Inode {
    /// Takes a slot of the inode table after comparing its checksum.
    pub(super) fn parse(number: u32, raw: Vec<u8>, checksums: Checksums) -> Result<Self, Error> {
        let inode = Self { number, raw };
        let extra = inode.extra_isize();
        if !extra.is_multiple_of(4) || 128 + extra > inode.raw.len() {
            return Err(corrupt(format!("inode {number} claims {extra} extra bytes of {}", inode.raw.len())));
        }
        if let Some(computed) = inode.checksum(checksums) {
            let stored = u32::from(u16_at(&inode.raw, 0x82)) << 16 | u32::from(u16_at(&inode.raw, 0x7c));
            let (stored, computed) =
                if extra >= 4 { (stored, computed) } else { (stored & 0xffff, computed & 0xffff) };
            if stored != computed && !is_zero(&inode.raw) {
                let found = format!("inode {number} checksum is {stored:#x}");
                return Err(corrupt(format!("{found}, computed {computed:#x}")));
            }
        }
        Ok(inode)
    }

    /// A fresh inode in a slot of `len` bytes, every byte of it zero that is not set here: what a former owner of
    /// the slot left, such as extended attributes, must not come back.
    pub(super) fn new(number: u32, len: usize, want_extra: u16, kind: FileKind, now: Timestamp) -> Self {
        let mut inode = Self { number, raw: vec![0; len] };
        let room = len.saturating_sub(128);
        let want = usize::from(want_extra);
        // 32 reaches past i_projid, the last field there is.
        let extra = if want >= 4 && want % 4 == 0 && want <= room { want } else { room.min(32) };
        put(&mut inode.raw, 0x80, &extra.to_le_bytes()[..if room >= 2 { 2 } else { 0 }]);
        put(&mut inode.raw, 0x00, &kind.mode_bits().to_le_bytes());
        let generation = crc32c(number, &now.seconds.to_le_bytes());
        put(&mut inode.raw, 0x64, &generation.to_le_bytes());
        for field in [ACCESSED, CHANGED, MODIFIED, CREATED] {
            inode.set_time(field, now);
        }
        inode
    }

    /// The slot of a freed inode: as if it had never been used.
    pub(super) fn empty(number: u32, len: usize) -> Self {
        Self { number, raw: vec![0; len] }
    }

    /// The bytes to write, checksum in place.
    pub(super) fn to_bytes(&self, checksums: Checksums) -> Vec<u8> {
        let mut raw = self.raw.clone();
        if is_zero(&raw) {
            return raw;
        }
        if let Some(checksum) = self.checksum(checksums) {
            put(&mut raw, 0x7c, &low16(checksum).to_le_bytes());
            if self.extra_isize() >= 4 {
                put(&mut raw, 0x82, &high16(checksum).to_le_bytes());
            }
        }
        raw
    }

    fn checksum(&self, checksums: Checksums) -> Option<u32> {
        let seed = checksums.inode_seed(self.number, self.generation())?;
        let mut raw = self.raw.clone();
        put(&mut raw, 0x7c, &[0, 0]);
        if self.extra_isize() >= 4 {
            put(&mut raw, 0x82, &[0, 0]);
        }
        Some(crc32c(seed, &raw))
    }

    /// Refuses what may not be edited.
    pub(super) fn check_editable(&self) -> Result<(), Error> {
        self.check_flags(!0)
    }

    /// Refuses what cannot be read.
    pub(super) fn check_readable(&self) -> Result<(), Error> {
        self.check_flags(UNREADABLE_FLAGS)
    }

    fn check_flags(&self, mask: u32) -> Result<(), Error> {
        match FORBIDDING_FLAGS.iter().find(|(bit, _)| self.flags() & bit & mask != 0) {
            Some((_, flag)) => Err(Error::Refused(Refusal::InodeFlag { inode: self.number, flag })),
            None => Ok(()),
        }
    }

    pub(super) fn kind(&self) -> Result<FileKind, Error> {
        let mode = u16_at(&self.raw, 0);
        FileKind::from_mode(mode).ok_or_else(|| corrupt(format!("inode {} has mode {mode:#o}", self.number)))
    }

    pub(super) fn is_directory(&self) -> bool {
        FileKind::from_mode(u16_at(&self.raw, 0)) == Some(FileKind::Directory)
    }

    /// The 12 permission bits.
    pub(super) fn mode(&self) -> u16 {
        u16_at(&self.raw, 0) & 0o7777
    }

    pub(super) fn set_mode(&mut self, mode: u16) {
        let mode = u16_at(&self.raw, 0) & 0xf000 | mode & 0o7777;
        put(&mut self.raw, 0, &mode.to_le_bytes());
    }

    pub(super) fn uid(&self) -> u32 {
        u32::from(u16_at(&self.raw, 0x78)) << 16 | u32::from(u16_at(&self.raw, 0x02))
    }

    pub(super) fn gid(&self) -> u32 {
        u32::from(u16_at(&self.raw, 0x7a)) << 16 | u32::from(u16_at(&self.raw, 0x18))
    }

    pub(super) fn set_owner(&mut self, uid: u32, gid: u32) {
        for (low, high, id) in [(0x02, 0x78, uid), (0x18, 0x7a, gid)] {
            put(&mut self.raw, low, &low16(id).to_le_bytes());
            put(&mut self.raw, high, &high16(id).to_le_bytes());
        }
    }

    pub(super) fn size(&self) -> u64 {
        // The high half is a directory's only with large_dir, which is refused.
        let high = if self.is_directory() { 0 } else { u32_at(&self.raw, 0x6c) };
        u64::from(high) << 32 | u64::from(u32_at(&self.raw, 0x04))
    }

    pub(super) fn set_size(&mut self, len_bytes: u64) {
        put(&mut self.raw, 0x04, &low32(len_bytes).to_le_bytes());
        put(&mut self.raw, 0x6c, &high32(len_bytes).to_le_bytes());
    }

    pub(super) fn links(&self) -> u16 {
        u16_at(&self.raw, 0x1a)
    }

    pub(super) fn set_links(&mut self, links: u16) {
        put(&mut self.raw, 0x1a, &links.to_le_bytes());
    }

    /// What the inode takes in units of 512 bytes.
    pub(super) fn sectors(&self) -> u64 {
        u64::from(u16_at(&self.raw, 0x74)) << 32 | u64::from(u32_at(&self.raw, 0x1c))
    }

    /// The high half is only there with `huge_file`; what needs it is refused.
    pub(super) fn set_sectors(&mut self, sectors: u64) -> Result<(), Error> {
        let low = u32::try_from(sectors).map_err(|_| Error::FileTooLarge {
            len_bytes: sectors * 512,
            limit_bytes: u64::from(u32::MAX) * 512,
        })?;
        put(&mut self.raw, 0x1c, &low.to_le_bytes());
        put(&mut self.raw, 0x74, &[0, 0]);
        Ok(())
    }

    /// When the inode was deleted; of an orphan, the number of the next one.
    pub(super) fn deleted(&self) -> u32 {
        u32_at(&self.raw, 0x14)
    }

    pub(super) fn set_deleted(&mut self, seconds: u32) {
        put(&mut self.raw, 0x14, &seconds.to_le_bytes());
    }

    pub(super) fn flags(&self) -> u32 {
        u32_at(&self.raw, 0x20)
    }

    pub(super) fn has_flag(&self, flag: u32) -> bool {
        self.flags() & flag != 0
    }

    pub(super) fn set_flag(&mut self, flag: u32, on: bool) {
        let flags = if on { self.flags() | flag } else { self.flags() & !flag };
        put(&mut self.raw, 0x20, &flags.to_le_bytes());
    }

    pub(super) fn generation(&self) -> u32 {
        u32_at(&self.raw, 0x64)
    }

    /// The extended attribute block; 0 when there is none.
    pub(super) fn xattr_block(&self) -> u64 {
        u64::from(u16_at(&self.raw, 0x76)) << 32 | u64::from(u32_at(&self.raw, 0x68))
    }

    pub(super) fn set_xattr_block(&mut self, block: u64) {
        put(&mut self.raw, 0x68, &low32(block).to_le_bytes());
        put(&mut self.raw, 0x76, &high32(block).to_le_bytes()[..2]);
    }

    /// `i_block`: block pointers, the root of the extent tree, or the text of a short symlink.
    pub(super) fn i_block(&self) -> [u8; 60] {
        field(&self.raw, 0x28).unwrap_or([0; 60])
    }

    pub(super) fn set_i_block(&mut self, i_block: &[u8; 60]) {
        put(&mut self.raw, 0x28, i_block);
    }

    /// What lies behind the extra fields: extended attributes, when there are any. Empty without extra fields, as the
    /// kernel has it.
    pub(super) fn tail(&self) -> &[u8] {
        self.tail_start().and_then(|at| self.raw.get(at..)).unwrap_or_default()
    }

    /// As [`Self::tail`], to change.
    pub(super) fn tail_mut(&mut self) -> &mut [u8] {
        self.tail_start().and_then(|at| self.raw.get_mut(at..)).unwrap_or_default()
    }

    fn tail_start(&self) -> Option<usize> {
        Some(self.extra_isize()).filter(|extra| *extra > 0).map(|extra| 128 + extra)
    }

    fn extra_isize(&self) -> usize {
        if self.raw.len() > 128 { usize::from(u16_at(&self.raw, 0x80)) } else { 0 }
    }

    pub(super) fn accessed(&self) -> Timestamp {
        self.time(ACCESSED)
    }

    pub(super) fn changed(&self) -> Timestamp {
        self.time(CHANGED)
    }

    pub(super) fn modified(&self) -> Timestamp {
        self.time(MODIFIED)
    }

    pub(super) fn set_accessed(&mut self, time: Timestamp) {
        self.set_time(ACCESSED, time);
    }

    pub(super) fn set_changed(&mut self, time: Timestamp) {
        self.set_time(CHANGED, time);
    }

    pub(super) fn set_modified(&mut self, time: Timestamp) {
        self.set_time(MODIFIED, time);
    }

    fn reaches(&self, at: usize) -> bool {
        at + 4 <= 128 + self.extra_isize()
    }

    fn time(&self, TimeField(at, extra_at): TimeField) -> Timestamp {
        let low = i64::from(u32_at(&self.raw, at).cast_signed());
        if !self.reaches(extra_at) {
            return Timestamp { seconds: low, nanoseconds: 0 };
        }
        let extra = u32_at(&self.raw, extra_at);
        Timestamp { seconds: low + (i64::from(extra & 3) << 32), nanoseconds: extra >> 2 }
    }

    fn set_time(&mut self, TimeField(at, extra_at): TimeField, time: Timestamp) {
        let wide = self.reaches(extra_at);
        if !wide && at >= 128 {
            return;
        }
        let most = if wide { i64::from(i32::MAX) + (3 << 32) } else { i64::from(i32::MAX) };
        let seconds = time.seconds.clamp(i64::from(i32::MIN), most);
        let low = low32(seconds.cast_unsigned());
        put(&mut self.raw, at, &low.to_le_bytes());
        if wide {
            let epoch = (seconds - i64::from(low.cast_signed())) >> 32;
            let extra = low32(epoch.cast_unsigned()) & 3 | time.nanoseconds.min(999_999_999) << 2;
            put(&mut self.raw, extra_at, &extra.to_le_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fresh(len: usize) -> Inode {
        Inode::new(12, len, 32, FileKind::Regular, Timestamp::default())
    }

    #[test]
    fn times_keep_their_epoch_and_nanoseconds_where_there_is_room() {
        for seconds in
            [i64::from(i32::MIN), -1, 0, i64::from(i32::MAX), 1 << 31, 1 << 32, (1 << 33) + 5, 15_032_385_535]
        {
            let time = Timestamp { seconds, nanoseconds: 123_456_789 };
            let mut inode = fresh(256);
            inode.set_modified(time);
            assert_eq!(inode.modified(), time, "{seconds}");
        }
    }

    #[test]
    fn a_small_inode_holds_whole_seconds_up_to_2038() {
        let mut inode = fresh(128);
        inode.set_modified(Timestamp { seconds: 1 << 40, nanoseconds: 5 });
        assert_eq!(inode.modified(), Timestamp { seconds: i64::from(i32::MAX), nanoseconds: 0 });
    }

    #[test]
    fn an_inode_with_a_wrong_checksum_is_corrupt_and_an_empty_slot_is_not() {
        let checksums = Checksums::Metadata { seed: 7 };
        for len in [128, 256, 512] {
            let mut raw = fresh(len).to_bytes(checksums);
            assert!(Inode::parse(12, raw.clone(), checksums).is_ok(), "{len}");
            assert!(matches!(Inode::parse(13, raw.clone(), checksums), Err(Error::Corrupt(_))), "{len}");
            raw[4] ^= 1;
            assert!(matches!(Inode::parse(12, raw, checksums), Err(Error::Corrupt(_))), "{len}");
            assert!(Inode::parse(12, vec![0; len], checksums).is_ok(), "{len}");
        }
    }

    #[test]
    fn owners_have_32_bits_and_mode_keeps_the_kind() {
        let mut inode = fresh(256);
        inode.set_owner(70_000, 80_000);
        inode.set_mode(0o104_755);
        assert_eq!((inode.uid(), inode.gid(), inode.mode()), (70_000, 80_000, 0o4755));
        assert_eq!(inode.kind().unwrap(), FileKind::Regular);
    }
}
