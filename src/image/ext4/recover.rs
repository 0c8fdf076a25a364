//! Recovery: what a mount does first with a filesystem that was not unmounted. The journal is replayed, orphans are
//! cleared, and [`Filesystem::open`] lets it through.
//!
//! Oracles: `e2fsck -fy` and a mount by the kernel, on copies. A filesystem marked as having errors stays so: it wants
//! a checker, not this.

use super::Filesystem;
use super::error::{Error, Refusal};
use super::journal::Journal;
use super::store::Store;
use crate::block::Device;

/// What [`recover`] did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    /// How many transactions were replayed from the journal.
    pub transactions: u32,
    /// How many blocks of the filesystem they changed.
    pub blocks: u64,
    /// How many inodes were freed, or cut to their length.
    pub orphans: u32,
}

/// Replays the journal of the ext4 filesystem on `device` when it needs that, and clears its orphans. Writes to
/// `device` at once, and leaves it half-way when that fails: lay an overlay under it. All zeros, and nothing written,
/// when nothing was to do.
///
/// # Errors
/// [`Error::NotExt4`], [`Error::Unsupported`] as for [`Filesystem::open`], also with features of the journal;
/// [`Error::Refused`] with [`Refusal::HasErrors`], [`Refusal::Unclean`], [`Refusal::ExternalJournal`] or [`Refusal::FastCommits`], or for an
/// orphan's flags; [`Error::Corrupt`]; [`Error::Device`].
pub fn recover(device: &dyn Device) -> Result<Recovered, Error> {
    let store = Store::open_in_any_state(device)?;
    store.superblock.check_sound()?;
    let needs_recovery = store.superblock.needs_recovery();
    let mut recovered = Recovered::default();
    if needs_recovery && let Some(journal) = Journal::open(&store)? {
        if journal.has_errors() {
            let state = store.superblock.state();
            return Err(Error::Refused(Refusal::HasErrors { state }));
        }
        replay(&store, &journal, &mut recovered)?;
    }
    let store = Store::open_in_any_state(device)?;
    store.superblock.check_sound()?;
    let superblock = &store.superblock;
    if !needs_recovery && superblock.last_orphan() == 0 && !superblock.has_orphan_present() {
        return Ok(recovered);
    }
    let mut filesystem = Filesystem::with(store);
    filesystem.store.superblock_mut().clear_needs_recovery();
    recovered.orphans = filesystem.clear_orphans()?;
    filesystem.commit()?;
    Ok(recovered)
}

fn replay(store: &Store<'_>, journal: &Journal, recovered: &mut Recovered) -> Result<(), Error> {
    let replay = journal.read(store)?;
    for (block, copy) in &replay.blocks {
        store.write_data(*block, 0, &journal.content(store, copy)?)?;
    }
    let (place, superblock) = journal.emptied(replay.next_sequence)?;
    store.write_data(place, 0, &superblock)?;
    recovered.transactions = replay.transactions;
    recovered.blocks = replay.blocks.len() as u64;
    Ok(())
}
