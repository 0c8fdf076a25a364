//! Extended attributes: kept as they are, except that a file with new content loses its capabilities, and that the
//! block which holds them is given back with its last owner.
//!
//! They lie behind the extra fields of the inode (4 bytes of magic, then entries; value offsets count from the first
//! entry) or in one block (32 bytes of header; offsets count from the block), which several inodes may share.
//! Spec: Linux `Documentation/filesystems/ext4/attributes.rst`. Left out: values in inodes of their own (`ea_inode`,
//! refused by the gate), setting attributes, and inheriting a parent's default ACL.

use super::alloc::Blocks;
use super::bytes::{low16, put, u16_at, u32_at};
use super::checksum::crc32c;
use super::error::{Error, corrupt};
use super::inode::Inode;
use super::store::Store;

const MAGIC: u32 = 0xea02_0000;
const HEADER_LEN: usize = 32;
const ENTRY_LEN: usize = 16;
/// `security.`, and the attribute that the kernel drops too when a file is written to.
const INDEX_SECURITY: u8 = 6;
const CAPABILITY: &[u8] = b"capability";

/// One attribute: its entry as stored, name and hash included, and the value.
struct Attribute {
    entry: Vec<u8>,
    value: Vec<u8>,
}

impl Attribute {
    fn is_capability(&self) -> bool {
        self.entry.get(1) == Some(&INDEX_SECURITY) && self.name() == CAPABILITY
    }

    fn name(&self) -> &[u8] {
        let len = usize::from(self.entry.first().copied().unwrap_or(0));
        self.entry.get(ENTRY_LEN..ENTRY_LEN + len).unwrap_or_default()
    }

    fn hash(&self) -> u32 {
        u32_at(&self.entry, 12)
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
        let entry = area.get(at..at + len).ok_or_else(fault)?.to_vec();
        let start = base + usize::from(u16_at(&entry, 2));
        let value_len = usize::try_from(u32_at(&entry, 8)).unwrap_or(usize::MAX);
        let end = start.checked_add(value_len).ok_or_else(fault)?;
        let value = if value_len == 0 { &[] } else { area.get(start..end).ok_or_else(fault)? };
        attributes.push(Attribute { entry, value: value.to_vec() });
        at += len;
    }
    Ok(attributes)
}

/// Writes the attributes into `area`, values from its end downwards. They fit, being fewer than before.
fn lay_out(area: &mut [u8], first: usize, base: usize, attributes: &[Attribute]) {
    if let Some(place) = area.get_mut(first..) {
        place.fill(0);
    }
    let mut at = first;
    let mut end = area.len();
    for attribute in attributes {
        let mut entry = attribute.entry.clone();
        let start = end.saturating_sub(attribute.value.len().next_multiple_of(4));
        if !attribute.value.is_empty() {
            end = start;
            let offset = u32::try_from(start.saturating_sub(base)).unwrap_or(0);
            put(&mut entry, 2, &low16(offset).to_le_bytes());
            put(area, start, &attribute.value);
        }
        put(area, at, &entry);
        at += entry.len();
    }
}

impl Store<'_> {
    /// Takes `security.capability` off a file whose content changes. The caller puts the inode back, and counts its
    /// blocks.
    pub(super) fn drop_capability(&mut self, inode: &mut Inode) -> Result<(), Error> {
        let number = inode.number;
        if u32_at(inode.tail(), 0) == MAGIC {
            let mut attributes = parse(inode.tail(), 4, 4, number)?;
            let before = attributes.len();
            attributes.retain(|attribute| !attribute.is_capability());
            if attributes.is_empty() {
                inode.tail_mut().fill(0);
            } else if attributes.len() < before {
                lay_out(inode.tail_mut(), 4, 4, &attributes);
            }
        }
        if inode.xattr_block() == 0 {
            return Ok(());
        }
        let mut block = self.read_xattr_block(inode)?;
        let mut attributes = parse(&block, HEADER_LEN, 0, number)?;
        let before = attributes.len();
        attributes.retain(|attribute| !attribute.is_capability());
        if attributes.len() == before {
            return Ok(());
        }
        self.release_xattr_block(inode)?;
        if attributes.is_empty() {
            return Ok(());
        }
        let (group, _) = self.superblock.group_of_inode(number);
        let goal = self.superblock.group_start(group);
        let place = self.allocate_blocks(1, goal)?.first().map(|blocks| blocks.start);
        let place = place.ok_or_else(|| corrupt("allocation gave no block"))?;
        lay_out(&mut block, HEADER_LEN, 0, &attributes);
        put(&mut block, 4, &1_u32.to_le_bytes());
        put(&mut block, 12, &block_hash(&attributes).to_le_bytes());
        self.put_xattr_block(place, block);
        inode.set_xattr_block(place);
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

/// `h_hash`, by which the kernel finds equal blocks to share; 0 when an entry has no hash.
fn block_hash(attributes: &[Attribute]) -> u32 {
    if attributes.iter().any(|attribute| attribute.hash() == 0) {
        return 0;
    }
    attributes.iter().fold(0_u32, |hash, attribute| hash.rotate_left(16) ^ attribute.hash())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attribute(index: u8, name: &[u8], value: &[u8]) -> Attribute {
        let mut entry = vec![0; ENTRY_LEN + name.len().next_multiple_of(4)];
        put(&mut entry, 0, &[u8::try_from(name.len()).unwrap(), index]);
        put(&mut entry, 8, &value.len().to_le_bytes()[..4]);
        put(&mut entry, ENTRY_LEN, name);
        Attribute { entry, value: value.to_vec() }
    }

    #[test]
    fn attributes_survive_being_laid_out_again() {
        let attributes = [attribute(1, b"user", b"value"), attribute(6, b"capability", &[1; 20])];
        for (first, base) in [(4, 4), (HEADER_LEN, 0)] {
            let mut area = vec![0xff; 128];
            lay_out(&mut area, first, base, &attributes);
            let read = parse(&area, first, base, 12).unwrap();
            assert_eq!(read.len(), 2);
            assert_eq!((read[0].name(), &read[0].value[..]), (&b"user"[..], &b"value"[..]));
            assert!(!read[0].is_capability() && read[1].is_capability());
            assert_eq!(read[1].value, [1; 20]);
        }
    }

    #[test]
    fn an_attribute_that_leaves_its_room_is_corrupt() {
        let mut area = vec![0; 64];
        lay_out(&mut area, 4, 4, &[attribute(1, b"user", b"value")]);
        put(&mut area, 4 + 2, &60_u16.to_le_bytes());
        assert!(matches!(parse(&area, 4, 4, 12), Err(Error::Corrupt(_))));
    }
}
