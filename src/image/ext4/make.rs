//! Making a filesystem: empty, with today's features, and as mke2fs would have it.
//!
//! ```text
//! first group of 16   superblock, descriptors, reserved   16 block bitmaps   16 inode bitmaps   16 inode tables   root …
//! the other 15        [copies of the first three, in groups 1 and powers of 3, 5, 7]   free …
//! ```
//!
//! What is computed from the length is in `geometry`; here the parts are laid down by the same code that edits them.
//! Groups that nothing lies in stay unwritten (`BLOCK_UNINIT`, `INODE_UNINIT`), so a large filesystem costs little.
//! The same options on a device of the same length give the same bytes wherever anything is written.
//!
//! Oracles: `mke2fs` and `dumpe2fs` for the numbers, `e2fsck -fn`, a mount. Left out: features to choose, blocks of
//! 64 KiB, more than 2^32 blocks, a journal elsewhere.

mod geometry;

use super::bitmap::Bitmap;
use super::bytes::{high32, low32, put};
use super::error::{Error, corrupt};
use super::group::{BLOCK_UNINIT, Group, INODE_UNINIT, INODE_ZEROED};
use super::inode::{FileKind, Inode, ROOT};
use super::mapping::{Mapping, Run};
use super::store::Store;
use super::superblock::{NewSuperblock, Superblock};
use super::{Filesystem, NewAttributes, Timestamp, journal, orphan};
use crate::base::ImagePath;
use crate::block::Device;
use geometry::Geometry;

const JOURNAL: u32 = 8;
/// Room for names of what a checker finds without one, set aside because it may not be able to allocate.
const LOST_AND_FOUND_LEN: u64 = 16 << 10;
/// But no more blocks than this (`EXT2_NDIR_BLOCKS`).
const LOST_AND_FOUND_BLOCKS: u64 = 12;

/// What a new filesystem is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MakeOptions {
    /// Up to 16 bytes.
    pub label: String,
    /// Names the filesystem.
    pub uuid: [u8; 16],
    /// What names are hashed with in directories: any secret number.
    pub hash_seed: [u8; 16],
    /// 1024, 2048 or 4096 bytes; `None`: 1024 below 512 MiB, else 4096.
    pub block_len: Option<u32>,
    /// A power of two from 128 to the block length. Below 256 there are no times past 2038.
    pub inode_len: u32,
    /// How many bytes of the filesystem there are for each inode; `None`: as mke2fs, by the length (16 KiB from 512 MiB
    /// to 4 TiB).
    pub bytes_per_inode: Option<u64>,
    /// How much is kept for root, up to 50.
    pub reserved_percent: u32,
    /// When everything in it was made.
    pub time: Timestamp,
    /// Whether it has a journal. One of less than 2048 blocks has none anyway.
    pub journal: bool,
    /// The device is known to hold zero bytes from end to end. Otherwise the journal is cleared, and the kernel clears
    /// inode tables when it has mounted the filesystem.
    pub is_zero: bool,
}

impl Default for MakeOptions {
    fn default() -> Self {
        Self {
            label: String::new(),
            uuid: [0; 16],
            hash_seed: [0; 16],
            block_len: None,
            inode_len: 256,
            bytes_per_inode: None,
            reserved_percent: 5,
            time: Timestamp::default(),
            journal: true,
            is_zero: false,
        }
    }
}

/// Makes an ext4 filesystem that fills `device`, or a little less when the rest would be too short for a group. What
/// was there is gone.
///
/// # Errors
/// [`Error::Unmakeable`] before anything is written, [`Error::BadLength`] for the label, [`Error::Device`].
pub fn make(device: &dyn Device, options: &MakeOptions) -> Result<(), Error> {
    let geometry = Geometry::of(device.len_bytes(), options)?;
    let mut superblock = Superblock::new(&NewSuperblock {
        block_len: geometry.block_len,
        blocks_count: geometry.blocks_count,
        kept_blocks: geometry.kept_blocks,
        inodes_per_group: geometry.inodes_per_group,
        inode_len: options.inode_len,
        reserved_gdt_blocks: geometry.reserved_gdt_blocks,
        has_journal: geometry.journal_blocks > 0,
        uuid: options.uuid,
        hash_seed: options.hash_seed,
        time: options.time.seconds,
    })?;
    superblock.set_label(&options.label)?;
    let store = new_store(device, superblock, &geometry, options.is_zero)?;
    let mut filesystem = Filesystem::with(store);
    filesystem.set_clock(options.time);
    filesystem.edit(|fs| fs.fill(&geometry, options))?;
    filesystem.backups = true;
    filesystem.commit()
}

/// The groups, empty but for the filesystem's own structures.
fn new_store<'d>(
    device: &'d dyn Device,
    superblock: Superblock,
    geometry: &Geometry,
    is_zero: bool,
) -> Result<Store<'d>, Error> {
    let mut groups = Vec::new();
    for (block_bitmap, inode_bitmap, inode_table) in geometry.places(&superblock) {
        let mut group = Group::new(vec![0; superblock.descriptor_len]);
        group.set_places(block_bitmap, inode_bitmap, inode_table);
        group.set_free_inodes(superblock.inodes_per_group);
        group.set_itable_unused(superblock.inodes_per_group);
        group.set_flag(BLOCK_UNINIT);
        group.set_flag(INODE_UNINIT);
        if is_zero {
            group.set_flag(INODE_ZEROED);
        }
        groups.push(group);
    }
    let mut store = Store::create(device, superblock, groups)?;
    store.count_free()?;
    Ok(store)
}

impl Filesystem<'_> {
    /// Everything that is in a filesystem when it is new.
    fn fill(&mut self, geometry: &Geometry, options: &MakeOptions) -> Result<(), Error> {
        self.store.write_bitmaps()?;
        self.store.reserve_inodes(options.is_zero)?;
        self.clear_front();
        self.make_root()?;
        if geometry.reserved_gdt_blocks > 0 {
            self.store.make_resize_inode(options.time)?;
        }
        if geometry.journal_blocks > 0 {
            self.make_journal(geometry, options)?;
            self.make_orphan_file(geometry.orphan_blocks)?;
        }
        self.store.note_overhead(geometry.journal_blocks);
        Ok(())
    }

    /// Nothing of what was there before may be left where somebody would look for a filesystem, nor behind the
    /// descriptors.
    fn clear_front(&mut self) {
        let zeros = vec![0; self.store.block_len()];
        let superblock = &self.store.superblock;
        let table_end = superblock.first_data_block + 1 + superblock.gdt_blocks();
        for block in 0..table_end {
            self.store.put_block(block, zeros.clone());
        }
    }

    /// The root directory, and `lost+found` in it.
    fn make_root(&mut self) -> Result<(), Error> {
        let mut root = self.own_inode(ROOT, FileKind::Directory, 0o755);
        root.set_links(2);
        self.store.init_directory(&mut root, ROOT)?;
        self.store.put_inode(root);
        let directories = self.store.group(0)?.used_directories();
        self.store.group_mut(0)?.set_used_directories(directories + 1);

        let name = ImagePath::root().join("lost+found").map_err(|_| corrupt("lost+found is no name"))?;
        let slot = self.store.slot(&name, false)?;
        let new = NewAttributes { mode: 0o700, uid: 0, gid: 0 };
        let mut directory = self.create(slot, FileKind::Directory, new)?;
        let blocks = (LOST_AND_FOUND_LEN / self.store.block_len() as u64).min(LOST_AND_FOUND_BLOCKS);
        self.store.extend_directory(&mut directory, blocks)?;
        self.store.put_inode(directory);
        Ok(())
    }

    fn own_inode(&self, number: u32, kind: FileKind, mode: u16) -> Inode {
        let superblock = &self.store.superblock;
        let mut inode =
            Inode::new(number, superblock.inode_len, superblock.want_extra_isize(), kind, self.clock);
        inode.set_mode(mode);
        inode.set_links(1);
        inode
    }

    /// Gives a new file `count` blocks near `goal`.
    fn give_blocks(&mut self, inode: &mut Inode, count: u64, goal: u64) -> Result<Mapping, Error> {
        let mut mapping = Mapping::default();
        let mut logical = 0;
        for blocks in self.store.allocate_blocks(count, goal)? {
            mapping.push(Run { logical, physical: blocks.start, len: blocks.len, unwritten: false });
            logical += blocks.len;
        }
        mapping.clone().write(&mut self.store, inode)?;
        inode.set_size(count * self.store.block_len() as u64);
        Ok(mapping)
    }

    fn make_journal(&mut self, geometry: &Geometry, options: &MakeOptions) -> Result<(), Error> {
        let mut inode = self.own_inode(JOURNAL, FileKind::Regular, 0o600);
        // In the middle, which is never far.
        let goal = self.store.superblock.group_start(self.store.groups_count() / 2);
        let mapping = self.give_blocks(&mut inode, geometry.journal_blocks, goal)?;
        if !options.is_zero {
            // A log begins where it finds no block of its own: what is there must not look like one.
            let zeros = vec![0; 64 * self.store.block_len()];
            for run in &mapping.runs {
                self.store.write_zeros(run.blocks(), &zeros)?;
            }
        }
        let place = mapping.physical(0).ok_or_else(|| corrupt("the journal has no first block"))?;
        let mut block = vec![0; self.store.block_len()];
        let maxlen = low32(geometry.journal_blocks);
        let words = [(0x00, journal::MAGIC), (0x04, 4), (0x0c, geometry.block_len), (0x10, maxlen)];
        // First block of the log, first sequence number, one user.
        for (at, word) in words.into_iter().chain([(0x14, 1), (0x18, 1), (0x40, 1)]) {
            put(&mut block, at, &word.to_be_bytes());
        }
        put(&mut block, 0x30, &options.uuid);
        self.store.put_block(place, block);
        self.store.superblock_mut().set_journal_backup(&inode.i_block(), inode.size());
        self.store.put_inode(inode);
        Ok(())
    }

    fn make_orphan_file(&mut self, count: u64) -> Result<(), Error> {
        let number = self.store.allocate_inode(ROOT, false)?;
        let mut inode = self.own_inode(number, FileKind::Regular, 0o600);
        let mapping = self.give_blocks(&mut inode, count, 0)?;
        for place in mapping.runs.iter().flat_map(|run| run.physical..run.physical + run.len) {
            let block = orphan::empty_block(&self.store, &inode, place);
            self.store.put_block(place, block);
        }
        self.store.superblock_mut().set_orphan_inode(number);
        self.store.put_inode(inode);
        Ok(())
    }
}

impl Store<'_> {
    /// Counts what is free in each group: all but its own structures.
    fn count_free(&mut self) -> Result<(), Error> {
        let mut total = 0;
        for number in 0..self.groups_count() {
            let start = self.superblock.group_start(number);
            let len = u64::from(self.superblock.group_len(number));
            let used: u64 = self.system_within(start, start + len).map(|(from, to)| to - from).sum();
            let free = len.saturating_sub(used);
            total += free;
            self.group_mut(number)?.set_free_blocks(low32(free));
        }
        let inodes = self.superblock.inodes_count;
        let superblock = self.superblock_mut();
        superblock.set_free_blocks(total);
        superblock.set_free_inodes(inodes);
        Ok(())
    }

    /// Block bitmaps are written where a reader could not know them: in the last group, and where structures of other
    /// groups lie.
    fn write_bitmaps(&mut self) -> Result<(), Error> {
        let places: Vec<u64> = (0..self.groups_count())
            .map(|number| {
                let group = self.group(number)?;
                Ok([group.block_bitmap(), group.inode_bitmap(), group.inode_table()])
            })
            .collect::<Result<Vec<_>, Error>>()?
            .into_iter()
            .flatten()
            .collect();
        let table_end = self.superblock.inode_table_blocks().saturating_sub(1);
        let mut groups: Vec<u32> = vec![self.groups_count() - 1];
        for (index, place) in (0..).zip(places) {
            groups.push(self.superblock.group_of_block(place).0);
            // The third of each three is a table, which may reach into the next group.
            if index % 3 == 2 {
                groups.push(self.superblock.group_of_block(place + table_end).0);
            }
        }
        groups.sort_unstable();
        groups.dedup();
        for group in groups {
            self.block_bitmap(group)?;
            self.block_bitmap_mut(group)?.set_dirty();
            self.group_mut(group)?.clear_flag(BLOCK_UNINIT);
        }
        Ok(())
    }

    /// The first inodes of the first group are the filesystem's own.
    fn reserve_inodes(&mut self, is_zero: bool) -> Result<(), Error> {
        let reserved = self.superblock.first_inode() - 1;
        let per_group = self.superblock.inodes_per_group;
        let mut bitmap = Bitmap::fresh(self.block_len(), per_group);
        bitmap.set(0, reserved, true);
        self.inode_bitmaps.insert(0, bitmap);
        let table = self.group(0)?.inode_table();
        if !is_zero {
            for block in table..table + self.superblock.inode_table_blocks() {
                self.put_block(block, vec![0; self.block_len()]);
            }
        }
        let group = self.group_mut(0)?;
        group.clear_flag(INODE_UNINIT);
        group.set_flag(INODE_ZEROED);
        group.set_free_inodes(per_group - reserved);
        group.set_itable_unused(per_group - reserved);
        let free = self.superblock.free_inodes() - reserved;
        self.superblock_mut().set_free_inodes(free);
        Ok(())
    }

    /// Notes what cannot hold files, which the kernel would count at every mount.
    fn note_overhead(&mut self, journal_blocks: u64) {
        let end = self.superblock.blocks_count;
        let system: u64 = self.system_within(0, end).map(|(from, to)| to - from).sum();
        let overhead = self.superblock.first_data_block + system + journal_blocks;
        self.superblock_mut().set_overhead(low32(overhead));
    }
}

impl Superblock {
    /// `s_jnl_blocks`: a copy of where the journal lies, for when its inode is damaged.
    fn set_journal_backup(&mut self, i_block: &[u8; 60], len_bytes: u64) {
        let mut copy = [0; 68];
        put(&mut copy, 0, i_block);
        put(&mut copy, 60, &high32(len_bytes).to_le_bytes());
        put(&mut copy, 64, &low32(len_bytes).to_le_bytes());
        self.put_journal_backup(&copy);
    }
}
