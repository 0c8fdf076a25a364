//! The journal (jbd2), read to be replayed: a ring of blocks in a file, in which transactions follow each other.
//! All integers in it are **big-endian**.
//!
//! ```text
//! block 0   superblock: where the log begins, and the sequence number of the first transaction there; start 0: empty
//! then      [descriptor: a tag for each block that follows] [blocks …] … [revoke: blocks not to replay] … [commit]
//! ```
//!
//! - A transaction counts when its commit block is there; what follows the last one is what a power cut left.
//! - Nothing is written before everything has been read: of each block only the newest copy is laid down, unless a
//!   revoke record of the same or a later transaction names it. So a damaged copy that a newer one replaces does no
//!   harm here, while the kernel gives up on it.
//! - Memory is bounded by the log: one entry for each tag in it.
//!
//! Spec: Linux `Documentation/filesystems/ext4/journal.rst`; what ends a log and what is an error, as
//! `fs/jbd2/recovery.c` (`do_one_pass`) has it. Left out: fast commits, journals on other devices.

use std::collections::BTreeMap;

use super::bytes::{field, put, u32_at};
use super::checksum::crc32c;
use super::error::{Error, Refusal, corrupt};
use super::features::FeatureNames;
use super::inode::FileKind;
use super::mapping::Mapping;
use super::store::Store;

mod log;

/// `h_magic` (`JBD2_MAGIC_NUMBER`).
pub(super) const MAGIC: u32 = 0xc03b_3998;
const SUPERBLOCK_LEN: usize = 1024;
/// The shortest journal that Linux uses, its superblock counted (`JBD2_MIN_JOURNAL_BLOCKS`).
const MIN_BLOCKS: u32 = 1024;
/// How long the area of fast commits is when the superblock does not say (`JBD2_DEFAULT_FAST_COMMIT_BLOCKS`).
const FAST_COMMIT_BLOCKS: u32 = 256;
/// The tag that a fast commit begins with (`EXT4_FC_TAG_HEAD`), little-endian as the rest of it.
const FAST_COMMIT_HEAD: [u8; 2] = [9, 0];

const COMPAT_CHECKSUM: u32 = 1;
const INCOMPAT_64BIT: u32 = 2;
const INCOMPAT_ASYNC_COMMIT: u32 = 4;
const INCOMPAT_CSUM_V2: u32 = 8;
const INCOMPAT_CSUM_V3: u32 = 0x10;
const INCOMPAT_FAST_COMMIT: u32 = 0x20;
/// These and `revoke` (1), which allows revoke records.
const KNOWN_INCOMPAT: u32 = 0x3f;

/// The big-endian `u32` at byte `at`; past the end it is 0.
fn u32_be(bytes: &[u8], at: usize) -> u32 {
    field(bytes, at).map_or(0, u32::from_be_bytes)
}

/// As [`u32_be`], 64 bits.
fn u64_be(bytes: &[u8], at: usize) -> u64 {
    field(bytes, at).map_or(0, u64::from_be_bytes)
}

/// Of the journal's superblock without it.
fn superblock_checksum(superblock: &[u8]) -> u32 {
    let mut bytes = superblock.to_vec();
    put(&mut bytes, 0xfc, &[0; 4]);
    crc32c(!0, &bytes)
}

/// A journal whose superblock has been checked.
pub(super) struct Journal {
    mapping: Mapping,
    /// Where it lies in the filesystem, ascending: `(start, end)`.
    own: Vec<(u64, u64)>,
    superblock: Vec<u8>,
    block_len: usize,
    /// The log is a ring of the blocks `[first, end)` of the file.
    first: u32,
    end: u32,
    /// Where the log begins; 0 when it is empty.
    start: u32,
    sequence: u32,
    compat: u32,
    incompat: u32,
}

/// What is to be laid down.
pub(super) struct Replay {
    /// Blocks of the filesystem, and the copy of each.
    pub(super) blocks: BTreeMap<u64, LoggedBlock>,
    /// How many transactions the log holds whole.
    pub(super) transactions: u32,
    /// The sequence number that the journal goes on with.
    pub(super) next_sequence: u32,
}

/// The newest copy of a block in the log.
#[derive(Clone, Copy)]
pub(super) struct LoggedBlock {
    /// Which block of the journal.
    log_block: u32,
    sequence: u32,
    /// As the tag has it: 32 bits, 16 of them, or none.
    checksum: u32,
    /// It began with the magic number, which was taken out in the log.
    escaped: bool,
}

impl Journal {
    /// Reads the journal's superblock; `None` when the filesystem has no journal.
    pub(super) fn open(store: &Store<'_>) -> Result<Option<Self>, Error> {
        let number = match store.superblock.journal_inode() {
            None => return Ok(None),
            Some(0) => return Err(Error::Refused(Refusal::ExternalJournal)),
            Some(number) => number,
        };
        if number > store.superblock.inodes_count {
            return Err(corrupt(format!("the journal is inode {number}, which is not there")));
        }
        let inode = store.any_inode(number)?;
        if inode.kind()? != FileKind::Regular || inode.links() == 0 {
            return Err(corrupt(format!("the journal, inode {number}, is no file in use")));
        }
        let mapping = Mapping::read(store, &inode)?;
        let place = mapping.physical(0).ok_or_else(|| corrupt("the journal has no first block"))?;
        let mut superblock = store.read_block(place)?;
        superblock.truncate(SUPERBLOCK_LEN);
        Self::parse(mapping, superblock, store.block_len(), inode.size()).map(Some)
    }

    fn parse(mapping: Mapping, superblock: Vec<u8>, block_len: usize, len_bytes: u64) -> Result<Self, Error> {
        let (magic, kind) = (u32_be(&superblock, 0), u32_be(&superblock, 4));
        if magic != MAGIC || !matches!(kind, 3 | 4) {
            return Err(corrupt(format!("the journal begins with {magic:#010x} of type {kind}")));
        }
        // The old superblock, type 3, has no features.
        let word = |at: usize| if kind == 4 { u32_be(&superblock, at) } else { 0 };
        let (compat, incompat, ro_compat) = (word(0x24), word(0x28), word(0x2c));
        let unknown = [
            ("compat", compat & !COMPAT_CHECKSUM),
            ("incompat", incompat & !KNOWN_INCOMPAT),
            ("ro_compat", ro_compat),
        ];
        let unknown: Vec<String> = unknown
            .iter()
            .filter(|(_, bits)| *bits != 0)
            .map(|(word, bits)| format!("journal {word} {bits:#x}"))
            .collect();
        if !unknown.is_empty() {
            return Err(Error::Unsupported(FeatureNames(unknown)));
        }
        let checksums = [compat & COMPAT_CHECKSUM, incompat & INCOMPAT_CSUM_V2, incompat & INCOMPAT_CSUM_V3];
        if checksums.iter().filter(|bit| **bit != 0).count() > 1 {
            return Err(corrupt("the journal has two kinds of checksums"));
        }
        let maxlen = u32_be(&superblock, 0x10);
        let first = u32_be(&superblock, 0x14);
        let has_fast_commits = incompat & INCOMPAT_FAST_COMMIT != 0;
        let fast_blocks = match u32_be(&superblock, 0x54) {
            _ if !has_fast_commits => 0,
            0 => FAST_COMMIT_BLOCKS,
            blocks => blocks,
        };
        let mut own: Vec<(u64, u64)> =
            mapping.runs.iter().map(|run| (run.physical, run.physical + run.len)).collect();
        own.sort_unstable();
        let journal = Self {
            mapping,
            own,
            block_len,
            first,
            end: maxlen.saturating_sub(fast_blocks),
            start: u32_be(&superblock, 0x1c),
            sequence: u32_be(&superblock, 0x18),
            compat,
            incompat,
            superblock,
        };
        journal.check(len_bytes, maxlen)?;
        Ok(journal)
    }

    fn check(&self, len_bytes: u64, maxlen: u32) -> Result<(), Error> {
        if self.has_checksums() {
            let kind = self.superblock.get(0x50).copied().unwrap_or(0);
            let stored = u32_be(&self.superblock, 0xfc);
            let computed = superblock_checksum(&self.superblock);
            if kind != 4 || stored != computed {
                let found = format!("{stored:#010x} of type {kind}");
                return Err(corrupt(format!(
                    "journal superblock checksum is {found}, computed {computed:#010x} of type 4"
                )));
            }
        }
        let block_len = u32_be(&self.superblock, 0x0c);
        if u64::from(block_len) != self.block_len as u64 {
            return Err(corrupt(format!("journal blocks have {block_len} bytes, wanted {}", self.block_len)));
        }
        let held = len_bytes / self.block_len as u64;
        let is_long_enough = self.first.checked_add(MIN_BLOCKS - 1).is_some_and(|least| least <= self.end);
        if u64::from(maxlen) > held || self.first == 0 || !is_long_enough {
            return Err(corrupt(format!(
                "the journal has a log of blocks {} to {} of {maxlen}, its file holds {held}",
                self.first, self.end
            )));
        }
        if self.start != 0 && !(self.first..self.end).contains(&self.start) {
            return Err(corrupt(format!(
                "the log begins at block {}, wanted {} to {}",
                self.start, self.first, self.end
            )));
        }
        Ok(())
    }

    /// Whether somebody found an error and noted it here only (`s_errno`).
    pub(super) fn has_errors(&self) -> bool {
        u32_be(&self.superblock, 0x20) != 0
    }

    /// Reads the whole log, and says what is to be laid down.
    ///
    /// # Errors
    /// [`Error::Corrupt`] where a transaction is damaged that is not the last, or names a block where there is none;
    /// [`Refusal::FastCommits`].
    pub(super) fn read(&self, store: &Store<'_>) -> Result<Replay, Error> {
        if self.start == 0 {
            let next_sequence = self.sequence.wrapping_add(1);
            return Ok(Replay { blocks: BTreeMap::new(), transactions: 0, next_sequence });
        }
        let end = self.find_end(store)?;
        self.refuse_fast_commits(store, end)?;
        let mut blocks = self.newest_copies(store, end)?;
        self.drop_revoked(store, end, &mut blocks)?;
        for (block, copy) in &blocks {
            let bytes = self.read_block(store, copy.log_block)?;
            if !self.is_data_sound(&bytes, copy) {
                return Err(corrupt(format!(
                    "the journal's copy of block {block} does not match its checksum"
                )));
            }
        }
        // As the kernel and e2fsck: the number of the transaction that did not come is not used again.
        let next_sequence = end.wrapping_add(1);
        Ok(Replay { blocks, transactions: end.wrapping_sub(self.sequence), next_sequence })
    }

    /// The bytes of a block that is to be laid down.
    pub(super) fn content(&self, store: &Store<'_>, copy: &LoggedBlock) -> Result<Vec<u8>, Error> {
        let mut bytes = self.read_block(store, copy.log_block)?;
        if copy.escaped {
            put(&mut bytes, 0, &MAGIC.to_be_bytes());
        }
        Ok(bytes)
    }

    /// The superblock of the emptied journal, and the block it goes to.
    pub(super) fn emptied(&self, next_sequence: u32) -> Result<(u64, Vec<u8>), Error> {
        let place = self.mapping.physical(0).ok_or_else(|| corrupt("the journal has no first block"))?;
        let mut superblock = self.superblock.clone();
        put(&mut superblock, 0x18, &next_sequence.to_be_bytes());
        put(&mut superblock, 0x1c, &[0; 4]);
        if self.has_checksums() {
            let checksum = superblock_checksum(&superblock);
            put(&mut superblock, 0xfc, &checksum.to_be_bytes());
        }
        Ok((place, superblock))
    }

    /// Versions 2 and 3 differ in the tags only.
    fn has_checksums(&self) -> bool {
        self.incompat & (INCOMPAT_CSUM_V2 | INCOMPAT_CSUM_V3) != 0
    }

    /// The seed of the checksums in the log: from the journal's own UUID.
    fn seed(&self) -> u32 {
        crc32c(!0, self.superblock.get(0x30..0x40).unwrap_or_default())
    }

    fn read_block(&self, store: &Store<'_>, log_block: u32) -> Result<Vec<u8>, Error> {
        let place = self.mapping.physical(u64::from(log_block));
        store.read_block(place.ok_or_else(|| corrupt(format!("the journal has no block {log_block}")))?)
    }

    /// A fast commit that goes on from transaction `end`, the first that is not in the log, says so in its head.
    fn refuse_fast_commits(&self, store: &Store<'_>, end: u32) -> Result<(), Error> {
        if self.incompat & INCOMPAT_FAST_COMMIT == 0 {
            return Ok(());
        }
        let block = self.read_block(store, self.end)?;
        let tid = u32_at(&block, 8);
        if block.starts_with(&FAST_COMMIT_HEAD) && tid == end {
            return Err(Error::Refused(Refusal::FastCommits));
        }
        Ok(())
    }
}
