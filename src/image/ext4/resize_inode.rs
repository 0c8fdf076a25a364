//! The resize inode, number 7: holds the blocks behind the group descriptor table, and behind its copies, into which
//! the table can grow.
//!
//! ```text
//! i_block[13] ─▶ one double indirect block ─▶ reserved block k behind the table ─▶ its copies in groups 1, 3, 5, 7, …
//!                slot (table blocks + k) mod pointers       used as an indirect block
//! ```
//!
//! Nothing else is in it, so what it must hold follows from the superblock, and is compared before it is changed.
//! Linux `fs/ext4/resize.c`; `lib/ext2fs/res_gdt.c` of e2fsprogs makes it.

use super::bytes::{low32, put, u32_at};
use super::error::{Error, corrupt};
use super::features::compat;
use super::inode::{FLAG_EXTENTS, FileKind, Inode, Timestamp};
use super::store::Store;
use super::superblock::Superblock;

const RESIZE: u32 = 7;
/// Where `i_block` has the double indirect pointer, its only one.
const DOUBLE_INDIRECT_AT: usize = 13 * 4;

impl Store<'_> {
    /// Makes the resize inode of a new filesystem: all reserved blocks and their copies.
    pub(super) fn make_resize_inode(&mut self, now: Timestamp) -> Result<(), Error> {
        let superblock = self.superblock.clone();
        let reserved = superblock.reserved_gdt_blocks();
        let block_len = self.block_len();
        let pointers = (block_len / 4) as u64;
        let groups = backup_groups(&superblock);
        let goal = superblock.group_start(0);
        let place = self.allocate_blocks(1, goal)?.first().map_or(0, |blocks| blocks.start);
        let mut slots = vec![0; block_len];
        for nth in superblock.gdt_blocks()..superblock.gdt_blocks() + reserved {
            let block = superblock.first_data_block + 1 + nth;
            let mut copies = vec![0; block_len];
            put(&mut copies, 0, &pointers_to(block, &groups, &superblock)?);
            self.put_block(block, copies);
            let slot = usize::try_from(nth % pointers).unwrap_or(0) * 4;
            put(&mut slots, slot, &low32(block).to_le_bytes());
        }
        self.put_block(place, slots);

        let extra = superblock.want_extra_isize();
        let mut inode = Inode::new(RESIZE, superblock.inode_len, extra, FileKind::Regular, now);
        inode.set_mode(0o600);
        inode.set_links(1);
        inode.set_size(full_len(block_len as u64));
        let mut i_block = [0; 60];
        put(&mut i_block, DOUBLE_INDIRECT_AT, &low32(place).to_le_bytes());
        inode.set_i_block(&i_block);
        inode.set_sectors((1 + reserved * (1 + groups.len() as u64)) * (block_len / 512) as u64)?;
        self.put_inode(inode);
        Ok(())
    }

    /// Makes the resize inode what it is to be in the filesystem `after`: blocks that the table grows into leave it,
    /// the others get copies in new groups.
    pub(super) fn grow_resize_inode(&mut self, after: &Superblock) -> Result<(), Error> {
        let now = self.superblock.clone();
        let reserved = now.reserved_gdt_blocks();
        if !now.features().has_compat(compat::RESIZE_INODE) || reserved == 0 {
            return Ok(());
        }
        let pointers = (self.block_len() / 4) as u64;
        let (old, new) = (backup_groups(&now), backup_groups(after));
        if reserved > pointers || new.len() as u64 > pointers {
            return Err(corrupt(format!(
                "{reserved} reserved blocks with {} copies each, wanted up to {pointers}",
                new.len()
            )));
        }
        let mut inode = self.any_inode(RESIZE)?;
        let sectors_per_block = (self.block_len() / 512) as u64;
        let sectors = |reserved: u64, copies: usize| (1 + reserved * (1 + copies as u64)) * sectors_per_block;
        let wanted = sectors(reserved, old.len());
        if inode.has_flag(FLAG_EXTENTS) || inode.sectors() != wanted {
            let found = format!("the resize inode counts {} sectors", inode.sectors());
            return Err(corrupt(format!("{found}, wanted {wanted} and no extents")));
        }
        let double_indirect = u64::from(u32_at(&inode.i_block(), DOUBLE_INDIRECT_AT));
        self.check_data(double_indirect, 1, RESIZE)?;
        let mut slots = self.read_block(double_indirect)?;

        let first_taken = now.gdt_blocks();
        let first_left = after.gdt_blocks();
        for nth in first_taken..first_taken + reserved {
            let block = now.first_data_block + 1 + nth;
            let slot = usize::try_from(nth % pointers).unwrap_or(0) * 4;
            let copies = self.read_block(block)?;
            let is_right = u64::from(u32_at(&slots, slot)) == block
                && copies.starts_with(&pointers_to(block, &old, &now)?);
            if !is_right {
                return Err(corrupt(format!("the resize inode does not hold block {block} and its copies")));
            }
            let mut wanted = vec![0; self.block_len()];
            if nth < first_left {
                put(&mut slots, slot, &[0; 4]);
            } else {
                put(&mut wanted, 0, &pointers_to(block, &new, &now)?);
            }
            if copies != wanted {
                self.put_block(block, wanted);
            }
        }
        if first_left > first_taken {
            self.put_block(double_indirect, slots);
        }
        inode.set_sectors(sectors(after.reserved_gdt_blocks(), new.len()))?;
        // e2fsck minds a length that the blocks of new groups go beyond, not one that nothing reaches.
        inode.set_size(inode.size().max(full_len(self.block_len() as u64)));
        self.put_inode(inode);
        Ok(())
    }
}

/// As long as a file can be whose blocks all have direct, indirect or double indirect pointers.
fn full_len(block_len: u64) -> u64 {
    let pointers = block_len / 4;
    (pointers * pointers + pointers + 12) * block_len
}

/// The groups with a copy of the descriptor table, in the order in which the resize inode lists them.
fn backup_groups(superblock: &Superblock) -> Vec<u32> {
    (1..superblock.groups_count).filter(|group| superblock.has_backup(*group)).collect()
}

/// The list of the copies of `block`.
fn pointers_to(block: u64, groups: &[u32], superblock: &Superblock) -> Result<Vec<u8>, Error> {
    let mut list = Vec::with_capacity(groups.len() * 4);
    for group in groups {
        let copy = block + u64::from(*group) * u64::from(superblock.blocks_per_group);
        let pointer = u32::try_from(copy).map_err(|_| corrupt(format!("a reserved block at {copy}")))?;
        list.extend(pointer.to_le_bytes());
    }
    Ok(list)
}
