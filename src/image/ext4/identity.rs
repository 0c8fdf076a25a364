//! What tells one filesystem from another: the UUID and the label. Both stand in the copies of the superblock too.

use super::Filesystem;
use super::error::{Error, Refusal};
use super::features::compat;

impl Filesystem<'_> {
    /// Gives the filesystem another UUID.
    ///
    /// Under `metadata_csum` all checksums grow from the UUID; they stay as they are, and the old seed is stored
    /// (feature `metadata_csum_seed`, read by Linux since 4.4). Under `uninit_bg` the descriptors get new checksums.
    ///
    /// # Errors
    /// [`Error::Refused`] when the feature `stable_inodes` forbids it, [`Error::Poisoned`].
    pub fn set_uuid(&mut self, uuid: [u8; 16]) -> Result<(), Error> {
        self.edit(|fs| {
            if fs.store.superblock.features().has_compat(compat::STABLE_INODES) {
                return Err(Error::Refused(Refusal::StableInodes));
            }
            if fs.uuid() != uuid {
                fs.store.superblock_mut().set_uuid(uuid);
                fs.backups = true;
            }
            Ok(())
        })
    }

    /// Gives the filesystem another label, of up to 16 bytes.
    ///
    /// # Errors
    /// [`Error::BadLength`], [`Error::Poisoned`].
    pub fn set_label(&mut self, label: &str) -> Result<(), Error> {
        self.edit(|fs| {
            if fs.label() != label {
                fs.store.superblock_mut().set_label(label)?;
                fs.backups = true;
            }
            Ok(())
        })
    }
}
