//! Directory blocks: chains of entries, edited in place (kernel `Documentation/filesystems/ext4/directory.rst`).
//!
//! Pure functions over one block's bytes. Which blocks a directory has, and which of them may hold a name, is for
//! the caller and for [`super::htree`] to say.

use super::{hash, htree};

/// How the directories of one filesystem look, and the seed of the one in hand.
#[derive(Clone, Debug)]
pub(super) struct DirFormat {
    /// Bytes in a block.
    pub block_len: usize,
    /// Entries tell the type of their inode (incompatible feature `filetype`).
    pub has_filetype: bool,
    /// With `metadata_csum`: crc32c of the filesystem's seed, the directory's inode number and generation, not
    /// inverted at the end.
    pub checksum_seed: Option<u32>,
    /// Directories may have an index (feature `dir_index`).
    pub indexable: bool,
    /// For new indices (`s_def_hash_version`).
    pub hash_version: u8,
    /// Names are hashed as unsigned bytes (flag 2 of `s_flags`).
    pub hash_unsigned: bool,
    /// `s_hash_seed`.
    pub hash_seed: [u32; 4],
}

/// A name and what it stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// 1 to 255 bytes, neither `/` nor NUL.
    pub name: Vec<u8>,
    /// Never 0.
    pub inode: u32,
    /// `EXT4_FT_…`; 0 where the filesystem does not keep it.
    pub file_type: u8,
}

/// Why a directory cannot be read or written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum DirError {
    /// Not a block of this filesystem.
    #[error("found a directory block of {found} bytes, wanted {wanted}")]
    BlockLen { found: usize, wanted: usize },
    /// The chain of entries is broken.
    #[error("entry at byte {offset}: found length {found}, wanted a multiple of 4 from {least} to {most}")]
    RecLen { offset: usize, found: usize, least: usize, most: usize },
    /// What follows an entry is too short to be one.
    #[error("entry at byte {offset}: found {found} bytes after it, wanted none or at least 12")]
    Remainder { offset: usize, found: usize },
    /// A name that no file can have.
    #[error("entry at byte {offset}: found the illegal name `{}`", .name.escape_ascii())]
    Name { offset: usize, name: Vec<u8> },
    /// With checksums every block ends in an entry that is none.
    #[error("found the block's tail {found:02x?}, wanted {TAIL:02x?}")]
    Tail { found: [u8; 8] },
    /// Of entries.
    #[error("found the checksum {found:#010x}, wanted {wanted:#010x}")]
    Checksum { found: u32, wanted: u32 },
    /// A block of the index holds no names.
    #[error("found a block of the index, wanted one of names")]
    IndexBlock,
    /// A new entry that cannot be.
    #[error("new entry `{}` of inode {inode}: the name or the number is illegal", .name.escape_ascii())]
    NewEntry { name: Vec<u8>, inode: u32 },
    /// One name, two entries.
    #[error("found two entries named `{}`", .name.escape_ascii())]
    Duplicate { name: Vec<u8> },
    /// Nobody knows how to hash.
    #[error("found the hash version {found}, wanted 0, 1 or 2")]
    HashVersion { found: u8 },
    /// The index does not begin as one.
    #[error("index root: found {found} in {field}, wanted {wanted}")]
    Root { field: &'static str, found: u32, wanted: &'static str },
    /// The index's inner block does not begin as one.
    #[error("index block {block}: found the entry length {found}, wanted the whole block")]
    Node { block: u32, found: usize },
    /// An index block has room for another number of entries.
    #[error("index block {block}: found the limit {found}, wanted {wanted}")]
    Limit { block: u32, found: usize, wanted: usize },
    /// An index block has no entries, or more than it has room for.
    #[error("index block {block}: found {found} entries, wanted 1 to {limit}")]
    Count { block: u32, found: usize, limit: usize },
    /// Of an index block.
    #[error("index block {block}: found the checksum {found:#010x}, wanted {wanted:#010x}")]
    IndexChecksum { block: u32, found: u32, wanted: u32 },
    /// The hashes of an index must not fall, nor leave the range that its parent gives.
    #[error("index block {block}: found the hash {found:#010x}, wanted {least:#010x} to {most:#010x}")]
    HashOrder { block: u32, found: u32, least: u32, most: u32 },
    /// An index points at a block that the directory has not, or at its root.
    #[error("index block {block}: found the block number {found}, wanted 1 to {last}")]
    Child { block: u32, found: u32, last: u32 },
    /// An index points twice at a block.
    #[error("index block {block}: found a second pointer to block {found}")]
    Repeated { block: u32, found: u32 },
    /// Two levels of index are not enough.
    #[error("the directory needs {leaves} blocks of names, of which an index has room for {most}")]
    TooLarge { leaves: usize, most: usize },
}

/// Inode, length, name length and type: what comes before a name.
const HEADER_LEN: usize = 8;
/// The shortest entry, that of a name of up to 4 bytes.
const LEAST_LEN: usize = 12;
/// With checksums a block ends in this, then the checksum: an entry of inode 0, 12 bytes long, with a type that no
/// file has.
const TAIL: [u8; 8] = [0, 0, 0, 0, 12, 0, 0, 0xde];
const TAIL_LEN: usize = 12;
/// `EXT4_FT_DIR`.
const TYPE_DIRECTORY: u8 = 2;

impl DirFormat {
    /// The bytes of a block that may hold entries.
    pub(super) fn entries_len(&self) -> usize {
        self.block_len.saturating_sub(if self.checksum_seed.is_some() { TAIL_LEN } else { 0 })
    }

    /// The hash by which an index of `version` (as its root says) orders `name`.
    pub(super) fn hash(&self, version: u8, name: &[u8]) -> Result<(u32, u32), DirError> {
        if version >= hash::UNSIGNED {
            return Err(DirError::HashVersion { found: version });
        }
        let unsigned = if self.hash_unsigned { hash::UNSIGNED } else { 0 };
        hash::name_hash(version + unsigned, self.hash_seed, name)
    }

    /// An entry's type as this filesystem keeps it.
    fn stored_type(&self, file_type: u8) -> u8 {
        if self.has_filetype { file_type } else { 0 }
    }
}

/// The live entries of any block of a directory, `.` and `..` included. A block of the index has none but these.
///
/// # Errors
/// What is wrong with the block: the chain of entries, a name, the checksum.
pub(super) fn parse_block(format: &DirFormat, block: &[u8]) -> Result<Vec<Entry>, DirError> {
    let live = slots(format, block)?.into_iter().filter(|slot| slot.inode != 0);
    Ok(live
        .map(|slot| Entry { name: slot.name.to_vec(), inode: slot.inode, file_type: slot.file_type })
        .collect())
}

/// The live entry of `name` in a block, which is checked whole.
///
/// # Errors
/// As for [`parse_block`].
pub(super) fn find(format: &DirFormat, block: &[u8], name: &[u8]) -> Result<Option<Entry>, DirError> {
    let found = slots(format, block)?.into_iter().find(|slot| slot.inode != 0 && slot.name == name);
    Ok(found.map(|slot| Entry { name: name.to_vec(), inode: slot.inode, file_type: slot.file_type }))
}

/// Puts `entry` where it first fits into a block of names; `false`, and no change, when it fits nowhere.
///
/// Without checksums a block of an index looks like an empty one of names: only offer blocks that are not.
///
/// # Errors
/// As for [`parse_block`]; an entry that cannot be, or that is there already.
pub(super) fn insert(format: &DirFormat, block: &mut [u8], entry: &Entry) -> Result<bool, DirError> {
    check_new(entry)?;
    refuse_index(format, block)?;
    let needed = entry_len(entry.name.len());
    let slots = slots(format, block)?;
    if slots.iter().any(|slot| slot.inode != 0 && slot.name == entry.name) {
        return Err(DirError::Duplicate { name: entry.name.clone() });
    }
    let room = slots.iter().find(|slot| slot.rec_len - slot.used_len() >= needed);
    let Some((offset, used_len, rec_len)) = room.map(|slot| (slot.offset, slot.used_len(), slot.rec_len))
    else {
        return Ok(false);
    };
    if used_len > 0 {
        put_u16(block, offset + 4, used_len);
    }
    put_entry(format, block, offset + used_len, rec_len - used_len, entry);
    stamp(format, block);
    Ok(true)
}

/// Takes the entry of `name` out of a block of names; `false` when it is not there.
///
/// # Errors
/// As for [`parse_block`]; `.` and `..` stay.
pub(super) fn remove(format: &DirFormat, block: &mut [u8], name: &[u8]) -> Result<bool, DirError> {
    if is_dot(name) {
        return Err(DirError::NewEntry { name: name.to_vec(), inode: 0 });
    }
    refuse_index(format, block)?;
    let slots = slots(format, block)?;
    let Some(at) = slots.iter().position(|slot| slot.inode != 0 && slot.name == name) else {
        return Ok(false);
    };
    let Some((offset, rec_len)) = slots.get(at).map(|slot| (slot.offset, slot.rec_len)) else {
        return Ok(false);
    };
    let before = at.checked_sub(1).and_then(|at| slots.get(at)).map(|slot| (slot.offset, slot.rec_len));
    match before {
        Some((before, before_len)) => {
            put_u16(block, before + 4, before_len + rec_len);
            fill(block, offset, rec_len);
        }
        // Nothing before it could take the room: an entry of inode 0 does.
        None => {
            fill(block, offset, rec_len);
            put_u16(block, offset + 4, rec_len);
        }
    }
    stamp(format, block);
    Ok(true)
}

/// Lets the entry of `name` stand for another inode; `false` when it is not there. Also for `..`, in an index's
/// root as well.
///
/// # Errors
/// As for [`parse_block`]; the inode 0.
pub(super) fn set_inode(
    format: &DirFormat,
    block: &mut [u8],
    name: &[u8],
    inode: u32,
    file_type: u8,
) -> Result<bool, DirError> {
    if inode == 0 {
        return Err(DirError::NewEntry { name: name.to_vec(), inode });
    }
    let found = slots(format, block)?
        .iter()
        .find(|slot| slot.inode != 0 && slot.name == name)
        .map(|slot| slot.offset);
    let Some(offset) = found else {
        return Ok(false);
    };
    put(block, offset, &inode.to_le_bytes());
    put(block, offset + 7, &[format.stored_type(file_type)]);
    match htree::index_kind(format, block) {
        Some(kind) => htree::stamp(format, block, kind),
        None => stamp(format, block),
    }
    Ok(true)
}

/// The only block of a new directory.
pub(super) fn first_block(format: &DirFormat, own_inode: u32, parent_inode: u32) -> Vec<u8> {
    let mut block = vec![0; format.block_len];
    put_dots(format, &mut block, own_inode, parent_inode, format.entries_len());
    stamp(format, &mut block);
    block
}

/// A block without names.
pub(super) fn empty_block(format: &DirFormat) -> Vec<u8> {
    let mut block = vec![0; format.block_len];
    put_u16(&mut block, 4, format.entries_len());
    stamp(format, &mut block);
    block
}

/// Writes `.` and `..`, which together reach `end`.
pub(super) fn put_dots(format: &DirFormat, block: &mut [u8], own_inode: u32, parent_inode: u32, end: usize) {
    for (offset, rec_len, name, inode) in [
        (0, LEAST_LEN, b".".as_slice(), own_inode),
        (LEAST_LEN, end - LEAST_LEN, b"..".as_slice(), parent_inode),
    ] {
        let entry = Entry { name: name.to_vec(), inode, file_type: TYPE_DIRECTORY };
        put_entry(format, block, offset, rec_len, &entry);
    }
}

/// Fills a zeroed block with `entries`, from `offset` on; they must fit.
pub(super) fn put_chain(format: &DirFormat, block: &mut [u8], mut offset: usize, entries: &[Entry]) {
    let end = format.entries_len();
    for (at, entry) in entries.iter().enumerate() {
        let is_last = at + 1 == entries.len();
        let rec_len = if is_last { end.saturating_sub(offset) } else { entry_len(entry.name.len()) };
        put_entry(format, block, offset, rec_len, entry);
        offset += rec_len;
    }
    stamp(format, block);
}

/// The bytes that an entry with a name of `name_len` bytes takes.
pub(super) fn entry_len(name_len: usize) -> usize {
    (HEADER_LEN + name_len).next_multiple_of(4)
}

/// Refuses what must not enter a directory.
pub(super) fn check_new(entry: &Entry) -> Result<(), DirError> {
    if entry.inode == 0 || !is_legal(&entry.name) || is_dot(&entry.name) {
        return Err(DirError::NewEntry { name: entry.name.clone(), inode: entry.inode });
    }
    Ok(())
}

fn is_legal(name: &[u8]) -> bool {
    (1..=255).contains(&name.len()) && !name.contains(&b'/') && !name.contains(&0)
}

fn is_dot(name: &[u8]) -> bool {
    name == b"." || name == b".."
}

/// With checksums a block of the index has its own kind of tail, so it can be told.
fn refuse_index(format: &DirFormat, block: &[u8]) -> Result<(), DirError> {
    match htree::index_kind(format, block) {
        Some(_) => Err(DirError::IndexBlock),
        None => Ok(()),
    }
}

/// One link of the chain, dead or alive.
struct Slot<'b> {
    offset: usize,
    rec_len: usize,
    inode: u32,
    file_type: u8,
    name: &'b [u8],
}

impl Slot<'_> {
    /// What of its length a new neighbour cannot have.
    fn used_len(&self) -> usize {
        if self.inode == 0 { 0 } else { entry_len(self.name.len()) }
    }
}

/// Follows the chain to its end. Everything is checked: an edit must never carry a fault on.
fn slots<'b>(format: &DirFormat, block: &'b [u8]) -> Result<Vec<Slot<'b>>, DirError> {
    check_len(format, block)?;
    let end = match htree::index_kind(format, block) {
        Some(kind) => {
            htree::check_stamp(format, block, kind)?;
            format.block_len
        }
        None => {
            check_tail(format, block)?;
            format.entries_len()
        }
    };
    let mut slots: Vec<Slot<'b>> = Vec::new();
    let mut offset = 0;
    while offset < end {
        let slot = slot_at(format, block, offset, end)?;
        let follows_dot = matches!(slots.as_slice(), [first] if first.inode != 0 && first.name == b".");
        let is_misplaced = match slot.name {
            b"." => offset != 0,
            b".." => !follows_dot,
            _ => false,
        };
        if slot.inode != 0 && (is_misplaced || !is_legal(slot.name)) {
            return Err(DirError::Name { offset, name: slot.name.to_vec() });
        }
        offset += slot.rec_len;
        slots.push(slot);
    }
    Ok(slots)
}

fn slot_at<'b>(format: &DirFormat, block: &'b [u8], offset: usize, end: usize) -> Result<Slot<'b>, DirError> {
    let [name_len, file_type] = chunk(block, offset + 6);
    // Without types, theirs would be the upper half of the name's length, which never needs it. The kernel does not read
    // it, nor does it clear it in a new directory whose block it still had in its cache.
    let name_len = usize::from(name_len);
    let found = u16_at(block, offset + 4);
    let (least, most) = (entry_len(name_len).max(LEAST_LEN), end - offset);
    if found < least || found > most || !found.is_multiple_of(4) {
        return Err(DirError::RecLen { offset, found, least, most });
    }
    let after = most - found;
    if after != 0 && after < LEAST_LEN {
        return Err(DirError::Remainder { offset, found: after });
    }
    let from = offset + HEADER_LEN;
    let name = block.get(from..from + name_len).unwrap_or_default();
    Ok(Slot {
        offset,
        rec_len: found,
        inode: u32_at(block, offset),
        file_type: format.stored_type(file_type),
        name,
    })
}

pub(super) fn check_len(format: &DirFormat, block: &[u8]) -> Result<(), DirError> {
    // 64 KiB blocks would need lengths that 16 bits cannot say; smaller ones than 1 KiB are no ext4.
    if block.len() != format.block_len || !(1024..=32768).contains(&block.len()) {
        return Err(DirError::BlockLen { found: block.len(), wanted: format.block_len });
    }
    Ok(())
}

fn check_tail(format: &DirFormat, block: &[u8]) -> Result<(), DirError> {
    let Some(wanted) = entries_checksum(format, block) else {
        return Ok(());
    };
    let at = format.entries_len();
    let found: [u8; 8] = chunk(block, at);
    if found != TAIL {
        return Err(DirError::Tail { found });
    }
    let found = u32_at(block, at + TAIL.len());
    if found != wanted {
        return Err(DirError::Checksum { found, wanted });
    }
    Ok(())
}

/// Renews the tail of a block of names.
fn stamp(format: &DirFormat, block: &mut [u8]) {
    if let Some(checksum) = entries_checksum(format, block) {
        let at = format.entries_len();
        put(block, at, &TAIL);
        put(block, at + TAIL.len(), &checksum.to_le_bytes());
    }
}

fn entries_checksum(format: &DirFormat, block: &[u8]) -> Option<u32> {
    let seed = format.checksum_seed?;
    Some(crc32c_on(seed, block.get(..format.entries_len()).unwrap_or_default()))
}

/// Carries a crc32c on over `bytes`, as ext4 does: never inverted (the crate inverts before and after).
pub(super) fn crc32c_on(seed: u32, bytes: &[u8]) -> u32 {
    !crc32c::crc32c_append(!seed, bytes)
}

fn put_entry(format: &DirFormat, block: &mut [u8], offset: usize, rec_len: usize, entry: &Entry) {
    fill(block, offset, entry_len(entry.name.len()));
    put(block, offset, &entry.inode.to_le_bytes());
    put_u16(block, offset + 4, rec_len);
    // Legal names have at most 255 bytes.
    put(
        block,
        offset + 6,
        &[u8::try_from(entry.name.len()).unwrap_or(u8::MAX), format.stored_type(entry.file_type)],
    );
    put(block, offset + HEADER_LEN, &entry.name);
}

// Reading past the end gives zero and writing there does nothing; no caller does either, for every offset has been
// checked against the block's length before.

fn chunk<const N: usize>(block: &[u8], at: usize) -> [u8; N] {
    block.get(at..).and_then(<[u8]>::first_chunk).copied().unwrap_or([0; N])
}

pub(super) fn u16_at(block: &[u8], at: usize) -> usize {
    usize::from(u16::from_le_bytes(chunk(block, at)))
}

pub(super) fn u32_at(block: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(chunk(block, at))
}

pub(super) fn u8_at(block: &[u8], at: usize) -> u8 {
    block.get(at).copied().unwrap_or_default()
}

pub(super) fn put(block: &mut [u8], at: usize, bytes: &[u8]) {
    if let Some(room) = block.get_mut(at..at + bytes.len()) {
        room.copy_from_slice(bytes);
    }
}

/// Lengths and counts inside a block of at most 32 KiB fit 16 bits.
pub(super) fn put_u16(block: &mut [u8], at: usize, value: usize) {
    put(block, at, &u16::try_from(value).unwrap_or(u16::MAX).to_le_bytes());
}

fn fill(block: &mut [u8], at: usize, len: usize) {
    if let Some(room) = block.get_mut(at..at + len) {
        room.fill(0);
    }
}

#[cfg(test)]
mod tests;
