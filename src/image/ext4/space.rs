//! The room in a filesystem: how much only root may use, which of it is in use, and zeros where it is not.

use super::Filesystem;
use super::bitmap::Bitmap;
use super::error::Error;
use super::features::{FeatureNames, ro_compat};
use super::store::Store;
use crate::block::Extent;

/// How much is looked at, and zeroed, at a time.
const PIECE_LEN: usize = 1 << 20;

impl Filesystem<'_> {
    /// Keeps `blocks` for root alone, up to half of all (`s_r_blocks_count`; e2fsck wants no more).
    ///
    /// # Errors
    /// [`Error::TooManyReserved`], [`Error::Poisoned`].
    pub fn set_reserved_blocks(&mut self, blocks: u64) -> Result<(), Error> {
        self.edit(|fs| {
            let superblock = &fs.store.superblock;
            let limit_blocks = superblock.blocks_count / 2;
            if blocks > limit_blocks {
                return Err(Error::TooManyReserved { blocks, limit_blocks });
            }
            if superblock.kept_blocks() != blocks {
                fs.store.superblock_mut().set_kept_blocks(blocks);
                fs.backups = true;
            }
            Ok(())
        })
    }

    /// How many blocks only root may use.
    #[must_use]
    pub fn reserved_blocks(&self) -> u64 {
        self.store.superblock.kept_blocks()
    }

    /// Commits, then writes zeros to every free block that holds anything else; returns how many those were. An image
    /// packs the better, and what was removed cannot be read from it.
    ///
    /// # Errors
    /// As for [`Self::commit`]; [`Error::Corrupt`] for a bitmap.
    pub fn zero_free(&mut self) -> Result<u64, Error> {
        self.store.superblock.check_writable()?;
        // What only memory says is free is still in use on the device.
        self.commit()?;
        let block_len = self.store.block_len();
        let mut buffer = vec![0; PIECE_LEN];
        let mut zeroed = 0;
        for (start, len) in self.store.runs(false)? {
            let most = (PIECE_LEN / block_len) as u64;
            for first in (start..start + len).step_by(PIECE_LEN / block_len) {
                let count = most.min(start + len - first);
                let held = usize::try_from(count).unwrap_or(0) * block_len;
                zeroed += self.store.zero(first, buffer.get_mut(..held).unwrap_or_default())?;
            }
        }
        Ok(zeroed)
    }

    /// Which bytes of the device the filesystem uses, from its beginning: ascending, apart from each other. All else
    /// of its length may hold anything.
    ///
    /// # Errors
    /// [`Error::Unsupported`] with `bigalloc`; [`Error::Corrupt`] for a bitmap; [`Error::Device`].
    pub fn used_ranges(&self) -> Result<Vec<Extent>, Error> {
        let block_len = self.store.block_len() as u64;
        let mut runs = self.store.runs(true)?;
        // With blocks of 1 KiB the groups begin behind the boot sector's block.
        let before = self.store.superblock.first_data_block;
        match runs.first_mut() {
            Some(first) if before > 0 && first.0 == before => *first = (0, first.1 + before),
            _ if before > 0 => runs.insert(0, (0, before)),
            _ => {}
        }
        let extent = |(start, len)| Extent { offset: start * block_len, len_bytes: len * block_len };
        Ok(runs.into_iter().map(extent).collect())
    }

    /// Which bytes of the device the filesystem does not need, in whole blocks: ascending, apart from each other. What
    /// [`Self::used_ranges`] leaves over, and never a part of the filesystem's own structures, whatever a bitmap says.
    ///
    /// # Errors
    /// As for [`Self::used_ranges`].
    pub fn free_ranges(&self) -> Result<Vec<Extent>, Error> {
        let block_len = self.store.block_len() as u64;
        let mut ranges = Vec::new();
        for (start, len) in self.store.runs(false)? {
            let end = start + len;
            let mut at = start;
            for (from, to) in self.store.system_within(start, end).chain([(end, end)]) {
                if from > at {
                    ranges.push(Extent { offset: at * block_len, len_bytes: (from - at) * block_len });
                }
                at = to;
            }
        }
        Ok(ranges)
    }
}

impl Store<'_> {
    /// The runs of blocks in use, or of free ones, over all groups: first block and length.
    fn runs(&self, used: bool) -> Result<Vec<(u64, u64)>, Error> {
        if self.superblock.features().has_ro_compat(ro_compat::BIGALLOC) {
            return Err(Error::Unsupported(FeatureNames(vec![String::from("bigalloc")])));
        }
        let mut runs: Vec<(u64, u64)> = Vec::new();
        for group in 0..self.groups_count() {
            let loaded;
            let bitmap = match self.block_bitmaps.get(&group) {
                Some(bitmap) => bitmap,
                None => {
                    loaded = self.load_block_bitmap(group)?;
                    &loaded
                }
            };
            let start = self.superblock.group_start(group);
            for (bit, len) in bits(bitmap, self.superblock.group_len(group), used) {
                let block = start + u64::from(bit);
                match runs.last_mut() {
                    Some(last) if last.0 + last.1 == block => last.1 += u64::from(len),
                    _ => runs.push((block, u64::from(len))),
                }
            }
        }
        Ok(runs)
    }

    /// Zeros the blocks from `first` on that fill `buf`, where they are not zero; returns how many were not.
    fn zero(&self, first: u64, buf: &mut [u8]) -> Result<u64, Error> {
        self.read_data(first, 0, buf)?;
        let zeros = vec![0; self.block_len()];
        let mut zeroed = 0;
        for (block, bytes) in (first..).zip(buf.chunks(self.block_len())) {
            if *bytes != zeros[..] {
                self.write_data(block, 0, &zeros)?;
                zeroed += 1;
            }
        }
        Ok(zeroed)
    }
}

/// The runs of set bits, or of clear ones, among the first `len`.
fn bits(bitmap: &Bitmap, len: u32, used: bool) -> Vec<(u32, u32)> {
    let mut runs = Vec::new();
    let mut at = 0;
    while let Some((start, free)) = bitmap.next_free(at, len, len) {
        if used && start > at {
            runs.push((at, start - at));
        } else if !used {
            runs.push((start, free));
        }
        at = start.saturating_add(free.max(1));
    }
    if used && at < len {
        runs.push((at, len - at));
    }
    runs
}
