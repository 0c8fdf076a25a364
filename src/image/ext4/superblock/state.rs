//! The fields that tell whether somebody has finished with the filesystem, and what takes them back to rest.

use super::super::bytes::{put, u16_at, u32_at};
use super::super::error::{Error, Refusal};
use super::super::features::{compat, incompat, ro_compat};
use super::{STATE_CLEAN, STATE_ERRORS, Superblock};

/// Orphans were being cleaned up.
const STATE_ORPHANS: u16 = 4;

impl Superblock {
    /// `s_state`.
    pub(in super::super) fn state(&self) -> u16 {
        u16_at(&self.raw, 0x3a)
    }

    /// Refuses what wants a checker: errors were found, or it was in use without a journal.
    pub(in super::super) fn check_sound(&self) -> Result<(), Error> {
        let state = self.state();
        match (state & STATE_ERRORS, state & STATE_CLEAN) {
            (0, 0) => Err(Error::Refused(Refusal::Unclean { state })),
            (0, _) => Ok(()),
            _ => Err(Error::Refused(Refusal::HasErrors { state })),
        }
    }

    /// Whether the journal holds what is not in place yet.
    pub(in super::super) fn needs_recovery(&self) -> bool {
        self.features().has_incompat(incompat::RECOVER)
    }

    pub(in super::super) fn clear_needs_recovery(&mut self) {
        let incompat = self.features().incompat & !incompat::RECOVER;
        put(&mut self.raw, 0x60, &incompat.to_le_bytes());
    }

    /// The inode of the journal; `None` without one, 0 when it is on another device.
    pub(in super::super) fn journal_inode(&self) -> Option<u32> {
        self.features().has_compat(compat::HAS_JOURNAL).then(|| u32_at(&self.raw, 0xe0))
    }

    /// `s_last_orphan`: the first of a chain of orphans; 0 when there is none.
    pub(in super::super) fn last_orphan(&self) -> u32 {
        u32_at(&self.raw, 0xe8)
    }

    /// Whether the orphan file may name orphans.
    pub(in super::super) fn has_orphan_present(&self) -> bool {
        self.features().has_ro_compat(ro_compat::ORPHAN_PRESENT)
    }

    /// All orphans are dealt with.
    pub(in super::super) fn clear_orphans(&mut self) {
        put(&mut self.raw, 0xe8, &[0; 4]);
        let ro_compat = self.features().ro_compat & !ro_compat::ORPHAN_PRESENT;
        put(&mut self.raw, 0x64, &ro_compat.to_le_bytes());
        let state = self.state() & !STATE_ORPHANS;
        put(&mut self.raw, 0x3a, &state.to_le_bytes());
    }
}
