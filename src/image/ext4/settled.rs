//! Whether a filesystem that is only to be read is whole as it stands: nothing left in the journal, and nobody else
//! writing to it.

use super::bytes::u32_at;
use super::error::{Error, Refusal};
use super::journal;
use super::mapping::Mapping;
use super::store::Store;

/// `EXT4_MMP_MAGIC`, and the sequence number of a filesystem that nobody has mounted.
const MMP_MAGIC: u32 = 0x004d_4d50;
const MMP_CLEAN: u32 = 0xff4d_4d50;

impl Store<'_> {
    /// Refuses what would read as something that it never was.
    pub(super) fn check_settled(&self) -> Result<(), Error> {
        if self.superblock.needs_recovery() && !self.has_empty_journal()? {
            return Err(Error::Refused(Refusal::NeedsRecovery));
        }
        if let Some(block) = self.superblock.mmp_block() {
            self.check_data(block, 1, 0)?;
            let mmp = self.read_block(block)?;
            let (magic, sequence) = (u32_at(&mmp, 0), u32_at(&mmp, 4));
            if magic != MMP_MAGIC || sequence != MMP_CLEAN {
                return Err(Error::Refused(Refusal::InUse { sequence }));
            }
        }
        Ok(())
    }

    /// Whether the journal lies in the filesystem and says that it holds nothing (`s_start` is 0).
    fn has_empty_journal(&self) -> Result<bool, Error> {
        let number = self.superblock.journal_inode().unwrap_or(0);
        if number == 0 || number > self.superblock.inodes_count {
            return Ok(false);
        }
        let mapping = Mapping::read(self, &self.any_inode(number)?)?;
        let Some(first) = mapping.physical(0) else { return Ok(false) };
        let block = self.read_block(first)?;
        Ok(u32_at(&block, 0).swap_bytes() == journal::MAGIC && u32_at(&block, 0x1c) == 0)
    }
}
