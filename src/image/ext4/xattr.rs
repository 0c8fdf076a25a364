//! Extended attributes where they are stored: behind the extra fields of the inode while there is room, then in one
//! block, which several inodes may share.
//!
//! ```text
//! in the inode   magic (4 bytes), entries …, four zero bytes, … values      offsets count from the first entry
//! block          header (32 bytes), entries …, four zero bytes, … values    offsets count from the block
//! ```
//!
//! - An entry names its attribute by the number of a prefix and the rest of the name. Values lie from the end
//!   downwards, in multiples of 4 bytes. In a block entries are sorted, and hashed so that equal blocks can be found.
//! - A block with other owners is copied before it is changed, and given back with its last owner.
//! - Attributes with a prefix that nobody knows are carried along.
//!
//! Spec: Linux `Documentation/filesystems/ext4/attributes.rst`, `fs/ext4/xattr.c`. Left out: values in inodes of their
//! own (`ea_inode`), and looking for an equal block to share.

use super::alloc::Blocks;
use super::bytes::{low16, put, u16_at, u32_at};
use super::checksum::crc32c;
use super::error::{Error, corrupt};
use super::features::FeatureNames;
use super::inode::Inode;
use super::store::Store;

const MAGIC: u32 = 0xea02_0000;
const MAGIC_LEN: usize = 4;
const HEADER_LEN: usize = 32;
const ENTRY_LEN: usize = 16;
/// `security.`, and the attribute that the kernel drops too when a file is written to.
const INDEX_SECURITY: u8 = 6;
const CAPABILITY: &[u8] = b"capability";

/// One attribute: the number of its prefix, the rest of its name, its value, and its hash as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Attribute {
    pub(super) index: u8,
    pub(super) name: Vec<u8>,
    pub(super) value: Vec<u8>,
    hash: u32,
}

impl Attribute {
    fn is(&self, index: u8, name: &[u8]) -> bool {
        self.index == index && self.name == name
    }

    fn entry_len(&self) -> usize {
        ENTRY_LEN + self.name.len().next_multiple_of(4)
    }

    /// `e_hash`: over the bytes of the name, then over the words of the value.
    fn computed_hash(&self) -> u32 {
        let hash = self.name.iter().fold(0_u32, |hash, byte| hash.rotate_left(5) ^ u32::from(*byte));
        self.value.chunks(4).fold(hash, |hash, chunk| {
            let mut word = [0; 4];
            word[..chunk.len()].copy_from_slice(chunk);
            hash.rotate_left(16) ^ u32::from_le_bytes(word)
        })
    }
}

/// Reads the attributes of `area`: entries from byte `first` on, value offsets counted from `base`.
fn parse(area: &[u8], first: usize, base: usize, owner: u32) -> Result<Vec<Attribute>, Error> {
    let fault = || corrupt(format!("extended attributes of inode {owner} leave their room"));
    let mut attributes = Vec::new();
    let mut at = first;
    // Four zero bytes, or the end of the area, end the list.
    while at + 4 <= area.len() && u32_at(area, at) != 0 {
        let name_len = usize::from(area.get(at).copied().unwrap_or(0));
        let len = ENTRY_LEN + name_len.next_multiple_of(4);
        let entry = area.get(at..at + len).ok_or_else(fault)?;
        if u32_at(entry, 4) != 0 {
            return Err(Error::Unsupported(FeatureNames(vec![String::from("ea_inode")])));
        }
        let start = base + usize::from(u16_at(entry, 2));
        let value_len = usize::try_from(u32_at(entry, 8)).unwrap_or(usize::MAX);
        let end = start.checked_add(value_len).ok_or_else(fault)?;
        let value = if value_len == 0 { &[] } else { area.get(start..end).ok_or_else(fault)? };
        attributes.push(Attribute {
            index: entry.get(1).copied().unwrap_or(0),
            name: entry.get(ENTRY_LEN..ENTRY_LEN + name_len).unwrap_or_default().to_vec(),
            value: value.to_vec(),
            hash: u32_at(entry, 12),
        });
        at += len;
    }
    Ok(attributes)
}

/// Whether the attributes fit an area of `len` bytes whose entries begin at byte `first`.
fn fit(len: usize, first: usize, attributes: &[Attribute]) -> bool {
    let taken: usize = attributes
        .iter()
        .map(|attribute| attribute.entry_len() + attribute.value.len().next_multiple_of(4))
        .sum();
    first + taken + 4 <= len
}

/// Writes the attributes into `area`, where they must [`fit`]: values from its end downwards.
fn lay_out(area: &mut [u8], first: usize, base: usize, attributes: &[Attribute]) {
    if let Some(place) = area.get_mut(first..) {
        place.fill(0);
    }
    let mut at = first;
    let mut end = area.len();
    for attribute in attributes {
        let name_len = u8::try_from(attribute.name.len()).unwrap_or(u8::MAX);
        put(area, at, &[name_len, attribute.index]);
        if !attribute.value.is_empty() {
            end = end.saturating_sub(attribute.value.len().next_multiple_of(4));
            let offset = u32::try_from(end.saturating_sub(base)).unwrap_or(0);
            put(area, at + 2, &low16(offset).to_le_bytes());
            put(area, end, &attribute.value);
        }
        put(area, at + 8, &u32::try_from(attribute.value.len()).unwrap_or(0).to_le_bytes());
        put(area, at + 12, &attribute.hash.to_le_bytes());
        put(area, at + ENTRY_LEN, &attribute.name);
        at += attribute.entry_len();
    }
}

impl Store<'_> {
    /// All attributes of an inode: those in it, then those in its block.
    pub(super) fn attributes(&self, inode: &Inode) -> Result<Vec<Attribute>, Error> {
        let mut attributes = inner(inode)?;
        attributes.extend(self.outer(inode)?);
        Ok(attributes)
    }

    /// The value of one attribute.
    pub(super) fn attribute(&self, inode: &Inode, index: u8, name: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        let found = self.attributes(inode)?.into_iter().find(|attribute| attribute.is(index, name));
        Ok(found.map(|attribute| attribute.value))
    }

    /// Gives an attribute a value, or takes it away; says whether it was there. `None` for the answer: there is no
    /// room, and nothing was changed. The caller puts the inode back.
    pub(super) fn set_attribute(
        &mut self,
        inode: &mut Inode,
        index: u8,
        name: &[u8],
        value: Option<&[u8]>,
    ) -> Result<Option<bool>, Error> {
        let old = (inner(inode)?, self.outer(inode)?);
        let mut new = old.clone();
        new.0.retain(|attribute| !attribute.is(index, name));
        new.1.retain(|attribute| !attribute.is(index, name));
        let was_there = (new.0.len(), new.1.len()) != (old.0.len(), old.1.len());
        if let Some(value) = value {
            let added = Attribute { index, name: name.to_vec(), value: value.to_vec(), hash: 0 };
            new.0.push(added);
            if !fit(inode.tail().len(), MAGIC_LEN, &new.0) {
                let added = new.0.pop().into_iter();
                new.1.extend(added.map(|added| Attribute { hash: added.computed_hash(), ..added }));
                new.1.sort_by(|a, b| (a.index, a.name.len(), &a.name).cmp(&(b.index, b.name.len(), &b.name)));
                if !fit(self.block_len(), HEADER_LEN, &new.1) {
                    return Ok(None);
                }
            }
        }
        if new.0 != old.0 {
            put_inner(inode, &new.0)?;
        }
        if new.1 != old.1 {
            self.put_outer(inode, &new.1)?;
        }
        Ok(Some(was_there))
    }

    /// Takes `security.capability` off a file whose content changes. The caller puts the inode back.
    pub(super) fn drop_capability(&mut self, inode: &mut Inode) -> Result<(), Error> {
        self.set_attribute(inode, INDEX_SECURITY, CAPABILITY, None).map(drop)
    }

    /// The attributes in the inode's block.
    fn outer(&self, inode: &Inode) -> Result<Vec<Attribute>, Error> {
        if inode.xattr_block() == 0 {
            return Ok(Vec::new());
        }
        parse(&self.read_xattr_block(inode)?, HEADER_LEN, 0, inode.number)
    }

    /// Lets the inode have these attributes in a block of its own, or no block.
    fn put_outer(&mut self, inode: &mut Inode, attributes: &[Attribute]) -> Result<(), Error> {
        if !fit(self.block_len(), HEADER_LEN, attributes) {
            return Err(overlap(inode));
        }
        let sectors = self.block_len() as u64 / 512;
        let mut place = inode.xattr_block();
        let is_shared = place != 0 && u32_at(&self.read_xattr_block(inode)?, 4) > 1;
        if place != 0 && (is_shared || attributes.is_empty()) {
            self.release_xattr_block(inode)?;
            inode.set_sectors(inode.sectors().saturating_sub(sectors))?;
            place = 0;
        }
        if attributes.is_empty() {
            return Ok(());
        }
        if place == 0 {
            let (group, _) = self.superblock.group_of_inode(inode.number);
            let goal = self.superblock.group_start(group);
            let taken = self.allocate_blocks(1, goal)?.first().map(|blocks| blocks.start);
            place = taken.ok_or_else(|| corrupt("allocation gave no block"))?;
            inode.set_xattr_block(place);
            inode.set_sectors(inode.sectors().saturating_add(sectors))?;
        }
        let mut block = vec![0; self.block_len()];
        lay_out(&mut block, HEADER_LEN, 0, attributes);
        put(&mut block, 0, &MAGIC.to_le_bytes());
        put(&mut block, 4, &1_u32.to_le_bytes());
        put(&mut block, 8, &1_u32.to_le_bytes());
        put(&mut block, 12, &block_hash(attributes).to_le_bytes());
        self.put_xattr_block(place, block);
        Ok(())
    }

    /// The inode lets go of its attribute block, which is given back with the last one.
    pub(super) fn release_xattr_block(&mut self, inode: &mut Inode) -> Result<(), Error> {
        let place = inode.xattr_block();
        if place == 0 {
            return Ok(());
        }
        let mut block = self.read_xattr_block(inode)?;
        let owners = u32_at(&block, 4);
        inode.set_xattr_block(0);
        if owners <= 1 {
            return self.free_blocks(Blocks { start: place, len: 1 });
        }
        put(&mut block, 4, &(owners - 1).to_le_bytes());
        self.put_xattr_block(place, block);
        Ok(())
    }

    fn read_xattr_block(&self, inode: &Inode) -> Result<Vec<u8>, Error> {
        let place = inode.xattr_block();
        self.check_data(place, 1, inode.number)?;
        let block = self.read_block(place)?;
        let (magic, owners, blocks) = (u32_at(&block, 0), u32_at(&block, 4), u32_at(&block, 8));
        if magic != MAGIC || owners == 0 || blocks != 1 {
            let found = format!("magic {magic:#010x}, {owners} owners, {blocks} blocks");
            return Err(corrupt(format!("attribute block {place} has {found}")));
        }
        let stored = u32_at(&block, 16);
        match self.xattr_checksum(place, &block) {
            Some(computed) if computed != stored => Err(corrupt(format!(
                "attribute block {place} checksum is {stored:#x}, computed {computed:#x}"
            ))),
            _ => Ok(block),
        }
    }

    fn put_xattr_block(&mut self, place: u64, mut block: Vec<u8>) {
        if let Some(checksum) = self.xattr_checksum(place, &block) {
            put(&mut block, 16, &checksum.to_le_bytes());
        }
        self.put_block(place, block);
    }

    fn xattr_checksum(&self, place: u64, block: &[u8]) -> Option<u32> {
        let seed = crc32c(self.superblock.checksums().seed()?, &place.to_le_bytes());
        let before = crc32c(seed, block.get(..16).unwrap_or_default());
        Some(crc32c(crc32c(before, &[0; 4]), block.get(20..).unwrap_or_default()))
    }
}

/// The attributes in the inode itself.
fn inner(inode: &Inode) -> Result<Vec<Attribute>, Error> {
    if u32_at(inode.tail(), 0) != MAGIC {
        return Ok(Vec::new());
    }
    parse(inode.tail(), MAGIC_LEN, MAGIC_LEN, inode.number)
}

fn put_inner(inode: &mut Inode, attributes: &[Attribute]) -> Result<(), Error> {
    if attributes.is_empty() {
        inode.tail_mut().fill(0);
        return Ok(());
    }
    if !fit(inode.tail().len(), MAGIC_LEN, attributes) {
        return Err(overlap(inode));
    }
    lay_out(inode.tail_mut(), MAGIC_LEN, MAGIC_LEN, attributes);
    put(inode.tail_mut(), 0, &MAGIC.to_le_bytes());
    Ok(())
}

/// What was read from a place but does not fit there had values that share bytes.
fn overlap(inode: &Inode) -> Error {
    corrupt(format!("extended attributes of inode {} overlap", inode.number))
}

/// `h_hash`, by which the kernel finds equal blocks to share; 0 when an entry has no hash.
fn block_hash(attributes: &[Attribute]) -> u32 {
    if attributes.iter().any(|attribute| attribute.hash == 0) {
        return 0;
    }
    attributes.iter().fold(0_u32, |hash, attribute| hash.rotate_left(16) ^ attribute.hash)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attribute(index: u8, name: &[u8], value: &[u8]) -> Attribute {
        Attribute { index, name: name.to_vec(), value: value.to_vec(), hash: 7 }
    }

    #[test]
    fn attributes_survive_being_laid_out_again() {
        let attributes = vec![
            attribute(1, b"user", b"value"),
            attribute(1, b"empty", b""),
            attribute(6, b"capability", &[1; 20]),
        ];
        for (first, base) in [(4, 4), (HEADER_LEN, 0)] {
            let mut area = vec![0xff; 160];
            assert!(fit(area.len(), first, &attributes));
            lay_out(&mut area, first, base, &attributes);
            assert_eq!(parse(&area, first, base, 12).unwrap(), attributes);
        }
    }

    #[test]
    fn room_is_counted_to_the_byte() {
        // An entry of 16 + 4, a value of 8, and the end.
        let attributes = [attribute(1, b"user", b"value")];
        assert!(fit(4 + 20 + 8 + 4, 4, &attributes) && !fit(4 + 20 + 8 + 3, 4, &attributes));
        let mut area = vec![0xff; 36];
        lay_out(&mut area, 4, 4, &attributes);
        assert_eq!(parse(&area, 4, 4, 12).unwrap(), attributes);
    }

    #[test]
    fn an_attribute_that_leaves_its_room_is_corrupt() {
        let mut area = vec![0; 64];
        lay_out(&mut area, 4, 4, &[attribute(1, b"user", b"value")]);
        put(&mut area, 4 + 2, &60_u16.to_le_bytes());
        assert!(matches!(parse(&area, 4, 4, 12), Err(Error::Corrupt(_))));
    }

    #[test]
    fn a_value_in_an_inode_of_its_own_is_refused_by_name() {
        let mut area = vec![0; 64];
        lay_out(&mut area, 4, 4, &[attribute(1, b"user", b"value")]);
        put(&mut area, 4 + 4, &12_u32.to_le_bytes());
        assert!(matches!(parse(&area, 4, 4, 12), Err(Error::Unsupported(names)) if names.0 == ["ea_inode"]));
    }
}
