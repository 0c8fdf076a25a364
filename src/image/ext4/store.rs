//! Metadata as values: what was changed is held here until [`Store::commit`] lays it down in one order.
//!
//! Every change goes through a function that first keeps the old value, so an edit that fails is taken back whole
//! ([`Store::roll_back`]). Blocks of file content do not pass through here.

use std::collections::BTreeMap;
use std::mem;

use super::alloc::Blocks;
use super::bitmap::Bitmap;
use super::checksum;
use super::error::{Error, corrupt};
use super::group::Group;
use super::inode::{Inode, ROOT};
use super::superblock::{self, Superblock};
use crate::base::is_zero;
use crate::block::Device;

/// The metadata of one filesystem: the device, and over it what is not laid down yet.
pub(super) struct Store<'d> {
    device: &'d dyn Device,
    pub(super) superblock: Superblock,
    groups: Vec<Group>,
    pub(super) block_bitmaps: BTreeMap<u32, Bitmap>,
    pub(super) inode_bitmaps: BTreeMap<u32, Bitmap>,
    inodes: BTreeMap<u32, Inode>,
    blocks: BTreeMap<u64, Vec<u8>>,
    /// Where the filesystem's own structures lie, ascending and apart: `(start, end)`.
    system: Vec<(u64, u64)>,
    /// What the device holds of them, to tell what changed.
    laid_down: (Superblock, Vec<Group>),
    undo: Undo,
    /// Whether the present edit wrote over content that was there before it, which cannot be taken back. Content in
    /// blocks that were free is no harm.
    pub(super) wrote_content: bool,
}

/// The values from before the present edit, kept at the first change of each; `None`: was not held.
#[derive(Default)]
struct Undo {
    superblock: Option<Superblock>,
    groups: BTreeMap<u32, Group>,
    block_bitmaps: BTreeMap<u32, Bitmap>,
    inode_bitmaps: BTreeMap<u32, Bitmap>,
    inodes: BTreeMap<u32, Option<Inode>>,
    blocks: BTreeMap<u64, Option<Vec<u8>>>,
}

impl<'d> Store<'d> {
    /// Reads superblock and descriptors, and checks them.
    pub(super) fn open(device: &'d dyn Device) -> Result<Self, Error> {
        let superblock = Superblock::parse(read_superblock(device)?, device.len_bytes())?;
        Self::with(device, superblock)
    }

    /// As [`Self::open`], but lets through what can only be read; [`Superblock::check_writable`] tells.
    pub(super) fn open_to_read(device: &'d dyn Device) -> Result<Self, Error> {
        let superblock = Superblock::parse_to_read(read_superblock(device)?, device.len_bytes())?;
        let store = Self::with(device, superblock)?;
        store.check_settled()?;
        Ok(store)
    }

    /// As [`Self::open`], whatever the state: for recovery.
    pub(super) fn open_in_any_state(device: &'d dyn Device) -> Result<Self, Error> {
        let superblock = Superblock::parse_in_any_state(read_superblock(device)?, device.len_bytes())?;
        Self::with(device, superblock)
    }

    /// A filesystem that is only just being made: nothing of it is on the device.
    pub(super) fn create(
        device: &'d dyn Device,
        superblock: Superblock,
        groups: Vec<Group>,
    ) -> Result<Self, Error> {
        let system = system_ranges(&superblock, &groups)?;
        Ok(Self::holding(device, superblock, groups, system, Vec::new()))
    }

    fn with(device: &'d dyn Device, mut superblock: Superblock) -> Result<Self, Error> {
        let groups = read_groups(device, &superblock)?;
        // The kernel keeps the totals lazily; the groups are right.
        superblock.set_free_blocks(groups.iter().map(|group| u64::from(group.free_blocks())).sum());
        superblock.set_free_inodes(
            groups.iter().fold(0, |sum: u32, group| sum.saturating_add(group.free_inodes())),
        );
        let system = system_ranges(&superblock, &groups)?;
        let laid_down = groups.clone();
        Ok(Self::holding(device, superblock, groups, system, laid_down))
    }

    fn holding(
        device: &'d dyn Device,
        superblock: Superblock,
        groups: Vec<Group>,
        system: Vec<(u64, u64)>,
        laid_down: Vec<Group>,
    ) -> Self {
        Self {
            device,
            laid_down: (superblock.clone(), laid_down),
            superblock,
            groups,
            block_bitmaps: BTreeMap::new(),
            inode_bitmaps: BTreeMap::new(),
            inodes: BTreeMap::new(),
            blocks: BTreeMap::new(),
            system,
            undo: Undo::default(),
            wrote_content: false,
        }
    }

    pub(super) fn block_len(&self) -> usize {
        self.superblock.block_len
    }

    /// Starts an edit.
    pub(super) fn begin(&mut self) {
        self.undo = Undo::default();
        self.wrote_content = false;
    }

    /// Takes back what was changed since [`Self::begin`].
    pub(super) fn roll_back(&mut self) {
        let undo = mem::take(&mut self.undo);
        if let Some(superblock) = undo.superblock {
            self.superblock = superblock;
        }
        for (number, group) in undo.groups {
            if let Some(place) = self.groups.get_mut(index(number)) {
                *place = group;
            }
        }
        self.block_bitmaps.extend(undo.block_bitmaps);
        self.inode_bitmaps.extend(undo.inode_bitmaps);
        restore(&mut self.inodes, undo.inodes);
        restore(&mut self.blocks, undo.blocks);
    }

    /// The superblock, to change.
    pub(super) fn superblock_mut(&mut self) -> &mut Superblock {
        self.undo.superblock.get_or_insert_with(|| self.superblock.clone());
        &mut self.superblock
    }

    pub(super) fn groups_count(&self) -> u32 {
        self.superblock.groups_count
    }

    pub(super) fn group(&self, number: u32) -> Result<&Group, Error> {
        self.groups.get(index(number)).ok_or_else(|| corrupt(format!("there is no group {number}")))
    }

    /// A descriptor, to change.
    pub(super) fn group_mut(&mut self, number: u32) -> Result<&mut Group, Error> {
        let group = self
            .groups
            .get_mut(index(number))
            .ok_or_else(|| corrupt(format!("there is no group {number}")))?;
        self.undo.groups.entry(number).or_insert_with(|| group.clone());
        Ok(group)
    }

    /// A loaded block bitmap, to change.
    pub(super) fn block_bitmap_mut(&mut self, group: u32) -> Result<&mut Bitmap, Error> {
        to_change(&mut self.block_bitmaps, &mut self.undo.block_bitmaps, group)
    }

    /// A loaded inode bitmap, to change.
    pub(super) fn inode_bitmap_mut(&mut self, group: u32) -> Result<&mut Bitmap, Error> {
        to_change(&mut self.inode_bitmaps, &mut self.undo.inode_bitmaps, group)
    }

    /// Whether `[start, start + len)` lies inside the filesystem and off its own structures.
    pub(super) fn check_data(&self, start: u64, len: u64, owner: u32) -> Result<(), Error> {
        let end = start.checked_add(len).filter(|end| *end <= self.superblock.blocks_count);
        let Some(end) = end.filter(|_| start >= self.superblock.first_data_block && start > 0) else {
            let found = format!("inode {owner} has blocks {start} and {len} on");
            return Err(corrupt(format!("{found}, of {}", self.superblock.blocks_count)));
        };
        let next = self.system.partition_point(|range| range.1 <= start);
        match self.system.get(next) {
            Some(range) if range.0 < end => Err(corrupt(format!(
                "inode {owner} has blocks {start} to {end}, metadata begins at {}",
                range.0
            ))),
            _ => Ok(()),
        }
    }

    /// The filesystem's own ranges that touch `[start, end)`, cut to it.
    pub(super) fn system_within(&self, start: u64, end: u64) -> impl Iterator<Item = (u64, u64)> {
        let first = self.system.partition_point(|range| range.1 <= start);
        self.system
            .iter()
            .skip(first)
            .take_while(move |range| range.0 < end)
            .map(move |range| (range.0.max(start), range.1.min(end)))
    }

    /// A block as it will be. The number has been checked by whoever found it; the device checks it again.
    pub(super) fn read_block(&self, block: u64) -> Result<Vec<u8>, Error> {
        if let Some(bytes) = self.blocks.get(&block) {
            return Ok(bytes.clone());
        }
        let mut bytes = vec![0; self.block_len()];
        self.read_data(block, 0, &mut bytes)?;
        Ok(bytes)
    }

    /// Metadata that fills a block: of a directory, an extent tree, extended attributes.
    pub(super) fn put_block(&mut self, block: u64, bytes: Vec<u8>) {
        let before = self.blocks.insert(block, bytes);
        self.undo.blocks.entry(block).or_insert(before);
    }

    /// The block is no metadata any more.
    pub(super) fn forget_block(&mut self, block: u64) {
        if let Some(before) = self.blocks.remove(&block) {
            self.undo.blocks.entry(block).or_insert(Some(before));
        }
    }

    /// Reads file content, past the metadata held here: `buf` from byte `at` of `block` on.
    pub(super) fn read_data(&self, block: u64, at: u64, buf: &mut [u8]) -> Result<(), Error> {
        let offset = self.offset(block, at)?;
        self.device.read_at(offset, buf).map_err(|source| Error::Device { block, source })
    }

    /// Writes file content at once: only when nothing else of the edit can fail any more.
    pub(super) fn write_content(&mut self, block: u64, at: u64, bytes: &[u8]) -> Result<(), Error> {
        self.wrote_content |= !self.was_free(block, at, bytes.len());
        self.write_data(block, at, bytes)
    }

    /// Writes zeros wherever something else is; `zeros` says how many at a time.
    pub(super) fn write_zeros(&self, blocks: Blocks, zeros: &[u8]) -> Result<(), Error> {
        let step = (zeros.len() / self.block_len()).max(1) as u64;
        let mut held = zeros.to_vec();
        let end = blocks.start.saturating_add(blocks.len);
        let mut at = blocks.start;
        while at < end {
            let count = step.min(end - at);
            let len = usize::try_from(count).unwrap_or(1) * self.block_len();
            let held = held.get_mut(..len).unwrap_or_default();
            self.read_data(at, 0, held)?;
            if !is_zero(held) {
                self.write_data(at, 0, zeros.get(..len).unwrap_or_default())?;
            }
            at += count;
        }
        Ok(())
    }

    /// Whether all blocks of these bytes were free before the present edit.
    fn was_free(&self, block: u64, at: u64, len_bytes: usize) -> bool {
        let block_len = self.block_len() as u64;
        let first = block + at / block_len;
        let end = block + (at + len_bytes as u64).div_ceil(block_len);
        (first..end).all(|block| {
            let (group, bit) = self.superblock.group_of_block(block);
            let before = self.undo.block_bitmaps.get(&group).or_else(|| self.block_bitmaps.get(&group));
            before.is_some_and(|bitmap| !bitmap.is_set(bit))
        })
    }

    /// Writes at once, past all that is held here.
    pub(super) fn write_data(&self, block: u64, at: u64, bytes: &[u8]) -> Result<(), Error> {
        let offset = self.offset(block, at)?;
        self.device.write_at(offset, bytes).map_err(|source| Error::Device { block, source })
    }

    fn offset(&self, block: u64, at: u64) -> Result<u64, Error> {
        let start = block.checked_mul(self.block_len() as u64);
        start
            .and_then(|start| start.checked_add(at))
            .ok_or_else(|| corrupt(format!("there is no block {block}")))
    }

    /// Whether an entry of a directory may name `inode`.
    pub(super) fn check_inode_number(&self, inode: u32) -> Result<(), Error> {
        let superblock = &self.superblock;
        let usable = inode == ROOT || inode >= superblock.first_inode();
        if usable && inode <= superblock.inodes_count && superblock.orphan_inode() != Some(inode) {
            return Ok(());
        }
        Err(corrupt(format!(
            "an entry names inode {inode}, wanted one of the usable {}",
            superblock.inodes_count
        )))
    }

    /// An inode in use, as it will be.
    pub(super) fn inode(&self, number: u32) -> Result<Inode, Error> {
        self.check_inode_number(number)?;
        let inode = self.any_inode(number)?;
        if inode.links() == 0 {
            return Err(corrupt(format!("an entry names inode {number}, which is free")));
        }
        Ok(inode)
    }

    /// An inode as it will be, in use or not, the filesystem's own among them.
    pub(super) fn any_inode(&self, number: u32) -> Result<Inode, Error> {
        if let Some(inode) = self.inodes.get(&number) {
            return Ok(inode.clone());
        }
        let (block, at) = self.inode_place(number)?;
        let mut raw = vec![0; self.superblock.inode_len];
        self.read_data(block, at, &mut raw)?;
        Inode::parse(number, raw, self.superblock.checksums())
    }

    pub(super) fn put_inode(&mut self, inode: Inode) {
        let number = inode.number;
        let before = self.inodes.insert(number, inode);
        self.undo.inodes.entry(number).or_insert(before);
    }

    /// The block of the inode table that holds `inode`, and the byte in it.
    pub(super) fn inode_place(&self, inode: u32) -> Result<(u64, u64), Error> {
        let (group, slot) = self.superblock.group_of_inode(inode);
        let at = u64::from(slot) * self.superblock.inode_len as u64;
        let block_len = self.block_len() as u64;
        Ok((self.group(group)?.inode_table() + at / block_len, at % block_len))
    }

    /// How many blocks the device could hold.
    pub(super) fn device_blocks(&self) -> u64 {
        self.device.len_bytes() / self.block_len() as u64
    }

    /// The filesystem becomes what `after` says, with the groups `new` behind those it has. The last step of an
    /// edit: it fails before anything is changed, and is not taken back.
    pub(super) fn extend(&mut self, after: Superblock, new: Vec<Group>) -> Result<(), Error> {
        let mut groups = self.groups.clone();
        groups.extend(new);
        self.system = system_ranges(&after, &groups)?;
        self.groups = groups;
        *self.superblock_mut() = after;
        Ok(())
    }

    /// Whether anything waits to be laid down.
    pub(super) fn is_dirty(&self) -> bool {
        let bitmaps = self.block_bitmaps.values().chain(self.inode_bitmaps.values());
        !self.inodes.is_empty()
            || !self.blocks.is_empty()
            || self.superblock != self.laid_down.0
            || self.groups != self.laid_down.1
            || bitmaps.into_iter().any(|bitmap| bitmap.is_dirty())
    }

    /// Lays everything down: blocks and inodes, bitmaps, descriptors, the superblock. Each checksum is made when
    /// all that it covers is there. With `backups` the copies of superblock and descriptors follow.
    pub(super) fn commit(&mut self, backups: bool) -> Result<(), Error> {
        for (block, bytes) in &self.blocks {
            self.write_data(*block, 0, bytes)?;
        }
        for (number, inode) in &self.inodes {
            let (block, at) = self.inode_place(*number)?;
            self.write_data(block, at, &inode.to_bytes(self.superblock.checksums()))?;
        }
        self.commit_bitmaps()?;
        self.commit_groups()?;
        if self.superblock != self.laid_down.0 {
            self.write_data(0, superblock::OFFSET, &self.superblock.to_bytes(0))?;
        }
        if backups {
            self.commit_backups()?;
        }
        self.blocks.clear();
        self.inodes.clear();
        self.laid_down = (self.superblock.clone(), self.groups.clone());
        self.undo = Undo::default();
        Ok(())
    }

    fn commit_bitmaps(&mut self) -> Result<(), Error> {
        let seed = self.superblock.checksums().seed();
        for number in 0..self.groups_count() {
            if let Some(bitmap) = self.block_bitmaps.get(&number).filter(|bitmap| bitmap.is_dirty()) {
                let checksum = seed.map(|seed| bitmap.checksum(seed, self.superblock.blocks_per_group));
                self.write_data(self.group(number)?.block_bitmap(), 0, bitmap.bytes())?;
                if let (Some(checksum), Some(group)) = (checksum, self.groups.get_mut(index(number))) {
                    group.set_block_bitmap_checksum(checksum);
                }
            }
            if let Some(bitmap) = self.inode_bitmaps.get(&number).filter(|bitmap| bitmap.is_dirty()) {
                let checksum = seed.map(|seed| bitmap.checksum(seed, self.superblock.inodes_per_group));
                self.write_data(self.group(number)?.inode_bitmap(), 0, bitmap.bytes())?;
                if let (Some(checksum), Some(group)) = (checksum, self.groups.get_mut(index(number))) {
                    group.set_inode_bitmap_checksum(checksum);
                }
            }
        }
        let bitmaps = self.block_bitmaps.values_mut().chain(self.inode_bitmaps.values_mut());
        bitmaps.for_each(Bitmap::set_clean);
        Ok(())
    }

    fn commit_groups(&mut self) -> Result<(), Error> {
        let checksums = self.superblock.checksums();
        let uuid = self.superblock.uuid();
        let table = self.superblock.table_start();
        let len = self.superblock.descriptor_len as u64;
        for number in 0..self.groups_count() {
            let Some(group) = self.groups.get_mut(index(number)) else { continue };
            if checksums.cover_descriptors() {
                group.set_checksum(checksum::of_descriptor(checksums, &uuid, number, group.raw()));
            }
            let group = self.group(number)?;
            if self.laid_down.1.get(index(number)) != Some(group) {
                self.write_data(table, u64::from(number) * len, group.raw())?;
            }
        }
        Ok(())
    }

    /// Rewrites the copies of superblock and descriptor table.
    fn commit_backups(&self) -> Result<(), Error> {
        let mut table: Vec<u8> = self.groups.iter().flat_map(Group::raw).copied().collect();
        // To the end of its last block, which may have held anything when it was a reserved one.
        table.resize(table.len().next_multiple_of(self.block_len()), 0);
        for group in (1..self.groups_count()).filter(|group| self.superblock.has_backup(*group)) {
            let start = self.superblock.group_start(group);
            self.write_data(start, 0, &self.superblock.to_bytes(group))?;
            self.write_data(start + 1, 0, &table)?;
        }
        Ok(())
    }
}

/// A group number as an index. Groups fit memory, so their number fits.
fn index(group: u32) -> usize {
    usize::try_from(group).unwrap_or(usize::MAX)
}

fn to_change<'m>(
    bitmaps: &'m mut BTreeMap<u32, Bitmap>,
    undo: &mut BTreeMap<u32, Bitmap>,
    group: u32,
) -> Result<&'m mut Bitmap, Error> {
    let bitmap = bitmaps.get_mut(&group).ok_or_else(|| corrupt(format!("there is no group {group}")))?;
    undo.entry(group).or_insert_with(|| bitmap.clone());
    Ok(bitmap)
}

fn restore<K: Ord, V>(held: &mut BTreeMap<K, V>, undo: BTreeMap<K, Option<V>>) {
    for (key, before) in undo {
        match before {
            Some(before) => held.insert(key, before),
            None => held.remove(&key),
        };
    }
}

fn read_superblock(device: &dyn Device) -> Result<Vec<u8>, Error> {
    let mut raw = vec![0; superblock::LEN];
    device.read_at(superblock::OFFSET, &mut raw).map_err(|source| Error::Device { block: 0, source })?;
    Ok(raw)
}

/// Reads the descriptor table.
fn read_groups(device: &dyn Device, superblock: &Superblock) -> Result<Vec<Group>, Error> {
    let block = superblock.table_start();
    let block_len = superblock.block_len as u64;
    if (block + superblock.gdt_blocks()) > superblock.blocks_count {
        return Err(corrupt(format!(
            "{} group descriptors do not fit the filesystem",
            superblock.groups_count
        )));
    }
    // Less than the device, and at most a few MiB: 32 bytes for each group of 8192 blocks or so.
    let len = usize::try_from(superblock.gdt_blocks() * block_len).unwrap_or(0);
    let mut table = vec![0; len];
    device.read_at(block * block_len, &mut table).map_err(|source| Error::Device { block, source })?;
    let checksums = superblock.checksums();
    let uuid = superblock.uuid();
    let mut groups = Vec::new();
    for (number, raw) in (0..superblock.groups_count).zip(table.chunks_exact(superblock.descriptor_len)) {
        let group = Group::new(raw.to_vec());
        let computed = checksum::of_descriptor(checksums, &uuid, number, raw);
        if checksums.cover_descriptors() && group.checksum() != computed {
            let found = format!("descriptor {number} checksum is {:#06x}", group.checksum());
            return Err(corrupt(format!("{found}, computed {computed:#06x}")));
        }
        let free = (group.free_blocks(), group.free_inodes());
        let most = (superblock.group_len(number), superblock.inodes_per_group);
        if free.0 > most.0 || free.1 > most.1 || group.itable_unused() > most.1 {
            return Err(corrupt(format!("group {number} has {} blocks and {} inodes free", free.0, free.1)));
        }
        groups.push(group);
    }
    Ok(groups)
}

/// Where the filesystem's own structures lie. They must be inside it and apart from each other.
fn system_ranges(superblock: &Superblock, groups: &[Group]) -> Result<Vec<(u64, u64)>, Error> {
    let mut ranges = Vec::with_capacity(groups.len() * 3);
    for (number, group) in (0..superblock.groups_count).zip(groups) {
        if superblock.has_backup(number) {
            let start = superblock.group_start(number).max(superblock.table_start() - 1);
            ranges.push((start, superblock.backup_len()));
        }
        ranges.push((group.block_bitmap(), 1));
        ranges.push((group.inode_bitmap(), 1));
        ranges.push((group.inode_table(), superblock.inode_table_blocks()));
    }
    ranges.sort_unstable();
    let mut joined: Vec<(u64, u64)> = Vec::new();
    for (start, len) in ranges {
        let end = start.checked_add(len).filter(|end| *end <= superblock.blocks_count);
        let last_end = joined.last().map_or(superblock.first_data_block, |last| last.1);
        let Some(end) = end.filter(|_| start >= last_end) else {
            return Err(corrupt(format!(
                "metadata of {len} blocks at {start}, wanted past {last_end} and inside"
            )));
        };
        match joined.last_mut() {
            Some(last) if last.1 == start => last.1 = end,
            _ => joined.push((start, end)),
        }
    }
    Ok(joined)
}
