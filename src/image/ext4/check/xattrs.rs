//! Family 11, extended attributes: entries that neither overlap nor leave their room, hashes, checksum, owners.

use std::collections::btree_map::Entry as Slot;

use super::super::bytes::{u16_at, u32_at};
use super::super::checksum::crc32c;
use super::super::error::Error;
use super::Checker;
use super::geometry::EXT_ATTR;
use super::inodes::RawInode;
use crate::image::findings::Place;

const MAGIC: u32 = 0xea02_0000;
const HEADER_LEN: usize = 32;
const ENTRY_LEN: usize = 16;
/// The longest value.
const VALUE_MAX: usize = 1 << 16;

/// One attribute, as its entry has it.
struct Entry<'a> {
    raw: &'a [u8],
    name: &'a [u8],
}

impl<'a> Entry<'a> {
    /// The entry at byte `at`; `None` if it leaves `area`.
    fn read(area: &'a [u8], at: usize) -> Option<Self> {
        let raw = area.get(at..at.checked_add(ENTRY_LEN)?)?;
        let name_len = usize::from(*raw.first()?);
        let name = area.get(at + ENTRY_LEN..at + ENTRY_LEN + name_len)?;
        Some(Self { raw, name })
    }

    fn len(&self) -> usize {
        ENTRY_LEN + self.name.len().next_multiple_of(4)
    }

    fn name_index(&self) -> u8 {
        self.raw.get(1).copied().unwrap_or(0)
    }

    fn value_at(&self) -> usize {
        usize::from(u16_at(self.raw, 2))
    }

    fn value_inode(&self) -> u32 {
        u32_at(self.raw, 4)
    }

    fn value_len(&self) -> usize {
        usize::try_from(u32_at(self.raw, 8)).unwrap_or(usize::MAX)
    }

    fn hash(&self) -> u32 {
        u32_at(self.raw, 12)
    }

    /// Whether the stored hash is that of the name and of `value`, padded to words. The bytes of names count as
    /// signed or as unsigned, as it was where they were written.
    fn is_hashed(&self, value: &[u8]) -> bool {
        let hash = |widen: fn(u8) -> u32| {
            let name = self.name.iter().fold(0_u32, |hash, byte| hash.rotate_left(5) ^ widen(*byte));
            value.chunks(4).fold(name, |hash, word| hash.rotate_left(16) ^ u32_at(word, 0))
        };
        self.hash() == hash(u32::from)
            || self.hash() == hash(|byte| i32::from(byte.cast_signed()).cast_unsigned())
    }
}

/// What of an area is taken: `(start, end)`, apart from each other.
struct Room {
    taken: Vec<(usize, usize)>,
    len: usize,
}

impl Room {
    /// Takes `len` bytes from `start` on; whether they were there and free.
    fn take(&mut self, start: usize, len: usize) -> bool {
        let Some(end) = start.checked_add(len).filter(|end| *end <= self.len) else { return false };
        if len == 0 || self.taken.iter().any(|taken| taken.0 < end && start < taken.1) {
            return false;
        }
        self.taken.push((start, end));
        true
    }
}

impl Checker<'_> {
    /// The attributes behind the fields of an inode, if there are any.
    pub(super) fn check_inode_xattrs(&mut self, inode: &RawInode<'_>) {
        let start = 128 + inode.extra_len();
        let area = inode.raw.get(start..).unwrap_or_default();
        if u32_at(area, 0) == MAGIC
            && let Err(found) = inode_fault(area)
        {
            self.findings.add(
                inode.place().byte(start as u64),
                "extended attributes",
                found,
                "entries that fit",
            );
        }
    }

    /// The block of attributes of an inode; whether it has one that counts.
    pub(super) fn check_xattr_block(&mut self, inode: &RawInode<'_>) -> Result<bool, Error> {
        let block = inode.xattr_block(&self.fs);
        if block == 0 {
            return Ok(false);
        }
        let place = inode.place();
        if !self.fs.holds(block) || !self.fs.features.has_compat(EXT_ATTR) {
            self.findings.add(place, "block of extended attributes", block, "one of the filesystem's");
            return Ok(false);
        }
        match self.xattr_blocks.entry(block) {
            Slot::Occupied(mut owners) => {
                owners.get_mut().1 = owners.get().1.saturating_add(1);
                return Ok(true);
            }
            Slot::Vacant(slot) => {
                slot.insert((0, 1));
            }
        }
        self.claim(block, 1, "block of extended attributes", place);
        let bytes = self.read_block(block)?;
        if let Some(owners) = self.xattr_blocks.get_mut(&block) {
            owners.0 = u32_at(&bytes, 4);
        }
        let place = Place::nth("attribute block", block);
        if let Some(seed) = self.fs.checksums.seed() {
            let before = crc32c(crc32c(seed, &block.to_le_bytes()), bytes.get(..16).unwrap_or_default());
            let computed = crc32c(crc32c(before, &[0; 4]), bytes.get(20..).unwrap_or_default());
            let stored = u32_at(&bytes, 16);
            if stored != computed {
                let (stored, computed) = (format!("{stored:#010x}"), format!("{computed:#010x}"));
                self.findings.add(place, "checksum", stored, computed);
            }
        }
        if let Err(found) = block_fault(&bytes) {
            self.findings.add(place, "extended attributes", found, "entries that fit");
        }
        Ok(true)
    }

    /// Compares how many owners attribute blocks claim with how many they have.
    pub(super) fn check_xattr_owners(&mut self) {
        for (block, (stored, counted)) in &self.xattr_blocks {
            self.findings.compare(
                Place::nth("attribute block", *block),
                "number of owners",
                *stored,
                *counted,
            );
        }
    }
}

/// What is wrong with the attributes in an inode: `area` begins with the magic number, and offsets of values count from
/// behind it. The sum of all lengths is bounded, as e2fsck bounds it, apart from where they lie.
fn inode_fault(area: &[u8]) -> Result<(), &'static str> {
    let mut room = Room { taken: vec![(0, 4)], len: area.len() };
    let mut left = area.len() - 4;
    let mut at = 4;
    while left >= ENTRY_LEN && u32_at(area, at) != 0 {
        let entry = Entry::read(area, at).ok_or("an entry that leaves the inode")?;
        if !room.take(at, entry.len()) {
            return Err("an entry that overlaps another");
        }
        left -= ENTRY_LEN;
        let name_len = entry.len() - ENTRY_LEN;
        if name_len > left {
            return Err("a name that is too long");
        }
        left -= name_len;
        if entry.value_inode() != 0 {
            return Err("a value in another inode");
        }
        if entry.value_len() > left {
            return Err("a value that is too long");
        }
        let value = take_value(area, &entry, 4, &mut room)?;
        if entry.hash() != 0 && !entry.is_hashed(value) {
            return Err("an entry with another hash");
        }
        left -= entry.value_len();
        at += entry.len();
    }
    if room.take(at, 4) { Ok(()) } else { Err("a list without an end") }
}

/// What is wrong with a block of attributes.
fn block_fault(block: &[u8]) -> Result<(), &'static str> {
    if u32_at(block, 0) != MAGIC || u32_at(block, 8) != 1 {
        return Err("behind an impossible header");
    }
    let mut room = Room { taken: vec![(0, HEADER_LEN)], len: block.len() };
    let mut at = HEADER_LEN;
    while at < block.len() && u32_at(block, at) != 0 {
        let entry = Entry::read(block, at).ok_or("an entry that leaves the block")?;
        if !room.take(at, entry.len()) {
            return Err("an entry that overlaps another");
        }
        if entry.name_index() == 0 {
            return Err("an entry without a kind of name");
        }
        if entry.value_inode() != 0 {
            return Err("a value in another inode");
        }
        let value_end = entry.value_at().saturating_add(entry.value_len());
        if entry.value_len() > VALUE_MAX || value_end > block.len() {
            return Err("a value that leaves the block");
        }
        if !entry.is_hashed(take_value(block, &entry, 0, &mut room)?) {
            return Err("an entry with another hash");
        }
        at += entry.len();
    }
    if room.take(at, 4) { Ok(()) } else { Err("a list without an end") }
}

/// The value of an entry, padded to words; its offset counts from `base`.
fn take_value<'a>(
    area: &'a [u8],
    entry: &Entry<'_>,
    base: usize,
    room: &mut Room,
) -> Result<&'a [u8], &'static str> {
    let len = entry.value_len().next_multiple_of(4);
    let start = base + entry.value_at();
    if entry.value_len() == 0 {
        return Ok(&[]);
    }
    if !room.take(start, len) {
        return Err("a value that overlaps something");
    }
    area.get(start..start + len).ok_or("a value that leaves its room")
}
