//! The log of a journal, walked block by block from its start to the first that does not belong to it.

use std::collections::BTreeMap;

use super::super::checksum::crc32c;
use super::super::error::{Error, corrupt};
use super::super::store::Store;
use super::{
    COMPAT_CHECKSUM, INCOMPAT_64BIT, INCOMPAT_ASYNC_COMMIT, INCOMPAT_CSUM_V2, INCOMPAT_CSUM_V3, Journal,
    LoggedBlock, MAGIC, u32_be, u64_be,
};

/// Every block of the log but the copies begins with magic number, type and sequence number.
const HEADER_LEN: usize = 12;
/// The checksum at the end of a descriptor or revoke block, with checksums of version 2 or 3.
const TAIL_LEN: usize = 4;
/// Where records of a revoke block begin.
const REVOKES_AT: usize = 16;

const FLAG_ESCAPED: u32 = 1;
const FLAG_SAME_UUID: u32 = 2;
const FLAG_LAST: u32 = 8;

/// A block of the log that says something.
enum Part {
    /// Blocks of the filesystem and their copies, which follow.
    Descriptor(Vec<(u64, LoggedBlock)>),
    Commit,
    Revoke,
}

/// The way through a log.
struct Walk<'j> {
    journal: &'j Journal,
    at: u32,
    /// Of the present transaction.
    sequence: u32,
    /// How many blocks are left of the ring: no log is longer.
    left: u32,
}

impl Walk<'_> {
    /// The next part and its block; `None` where the log ends. A commit block counts its transaction.
    fn next(&mut self, store: &Store<'_>) -> Result<Option<(Part, Vec<u8>)>, Error> {
        let Some(at) = self.take() else { return Ok(None) };
        let block = self.journal.read_block(store, at)?;
        if u32_be(&block, 0) != MAGIC || u32_be(&block, 8) != self.sequence {
            return Ok(None);
        }
        let part = match u32_be(&block, 4) {
            1 => match self.tags(&block) {
                Some(tags) => Part::Descriptor(tags),
                None => return Ok(None),
            },
            2 => {
                self.sequence = self.sequence.wrapping_add(1);
                Part::Commit
            }
            5 => Part::Revoke,
            _ => return Ok(None),
        };
        Ok(Some((part, block)))
    }

    fn take(&mut self) -> Option<u32> {
        self.left = self.left.checked_sub(1)?;
        let at = self.at;
        self.at = if at + 1 < self.journal.end { at + 1 } else { self.journal.first };
        Some(at)
    }

    /// The tags of a descriptor block; `None` when there are more than blocks left.
    fn tags(&mut self, block: &[u8]) -> Option<Vec<(u64, LoggedBlock)>> {
        let journal = self.journal;
        let end = journal.body_end();
        let tag_len = journal.tag_len();
        let is_v3 = journal.incompat & INCOMPAT_CSUM_V3 != 0;
        let mut tags = Vec::new();
        let mut at = HEADER_LEN;
        while at + tag_len <= end {
            let word = u32_be(block, at + 4);
            // Version 3 has 32 bits of flags; all others 16, and 16 of a checksum before them.
            let (flags, checksum) =
                if is_v3 { (word, u32_be(block, at + 12)) } else { (word & 0xffff, word >> 16) };
            let is_wide = journal.incompat & INCOMPAT_64BIT != 0;
            let high = if is_wide { u32_be(block, at + 8) } else { 0 };
            let number = u64::from(high) << 32 | u64::from(u32_be(block, at));
            let copy = LoggedBlock {
                log_block: self.take()?,
                sequence: self.sequence,
                checksum,
                escaped: flags & FLAG_ESCAPED != 0,
            };
            tags.push((number, copy));
            at += if flags & FLAG_SAME_UUID == 0 { tag_len + 16 } else { tag_len };
            if flags & FLAG_LAST != 0 {
                break;
            }
        }
        Some(tags)
    }
}

impl Journal {
    fn walk(&self) -> Walk<'_> {
        Walk { journal: self, at: self.start, sequence: self.sequence, left: self.end - self.first }
    }

    /// The sequence number of the first transaction that is not whole.
    pub(super) fn find_end(&self, store: &Store<'_>) -> Result<u32, Error> {
        let mut walk = self.walk();
        // When the last sound transaction was committed, in seconds since 1970.
        let mut last_time = 0;
        let mut is_damaged = false;
        let mut crc = !0;
        // The first transaction whose checksum is wrong, under asynchronous commits.
        let mut torn = None;
        loop {
            let sequence = walk.sequence;
            let Some((part, block)) = walk.next(store)? else {
                return Ok(torn.unwrap_or(sequence));
            };
            match part {
                Part::Descriptor(tags) => {
                    is_damaged |= !self.is_tail_sound(&block);
                    if self.compat & COMPAT_CHECKSUM != 0 {
                        crc = crc32_be(crc, &block);
                        for (_, copy) in &tags {
                            crc = crc32_be(crc, &self.read_block(store, copy.log_block)?);
                        }
                    }
                }
                Part::Revoke => is_damaged |= !self.is_tail_sound(&block),
                Part::Commit => {
                    let time = u64_be(&block, 0x30);
                    if !is_damaged && self.is_commit_sound(&block, crc) && torn.is_none() {
                        last_time = time;
                        crc = !0;
                        continue;
                    }
                    if time < last_time {
                        // Left over from an earlier round of the ring.
                        return Ok(torn.unwrap_or(sequence));
                    }
                    if is_damaged || torn.is_some() || self.incompat & INCOMPAT_ASYNC_COMMIT == 0 {
                        let sequence = torn.unwrap_or(sequence);
                        return Err(corrupt(format!(
                            "transaction {sequence} of the journal does not match its checksum"
                        )));
                    }
                    // Its commit block was written before its blocks: it may be the one that was cut.
                    torn = Some(sequence);
                }
            }
        }
    }

    /// Every block that transactions before `end` changed, and its newest copy.
    pub(super) fn newest_copies(
        &self,
        store: &Store<'_>,
        end: u32,
    ) -> Result<BTreeMap<u64, LoggedBlock>, Error> {
        let first = store.superblock.first_data_block;
        let mut blocks = BTreeMap::new();
        let mut walk = self.walk();
        while walk.sequence != end {
            let Some((part, _)) = walk.next(store)? else { break };
            let Part::Descriptor(tags) = part else { continue };
            for (block, copy) in tags {
                if block < first || block >= store.superblock.blocks_count || self.holds(block) {
                    return Err(corrupt(format!(
                        "transaction {} of the journal changes block {block}, wanted one from {first} to {} \
                         outside of it",
                        copy.sequence, store.superblock.blocks_count
                    )));
                }
                blocks.insert(block, copy);
            }
        }
        Ok(blocks)
    }

    /// Takes out what a transaction before `end` revoked, not later than it was written.
    pub(super) fn drop_revoked(
        &self,
        store: &Store<'_>,
        end: u32,
        blocks: &mut BTreeMap<u64, LoggedBlock>,
    ) -> Result<(), Error> {
        let record_len = if self.incompat & INCOMPAT_64BIT == 0 { 4 } else { 8 };
        let mut walk = self.walk();
        while walk.sequence != end {
            let sequence = walk.sequence;
            let Some((part, block)) = walk.next(store)? else { break };
            let Part::Revoke = part else { continue };
            let used = usize::try_from(u32_be(&block, HEADER_LEN)).unwrap_or(usize::MAX);
            if used > self.body_end() {
                return Err(corrupt(format!("a revoke block of transaction {sequence} has {used} bytes")));
            }
            for record in block.get(REVOKES_AT..used).unwrap_or_default().chunks_exact(record_len) {
                let number = if record_len == 4 { u64::from(u32_be(record, 0)) } else { u64_be(record, 0) };
                // Sequence numbers go round; the log is shorter than half of them.
                let is_revoked = |copy: &LoggedBlock| copy.sequence.wrapping_sub(sequence).cast_signed() <= 0;
                if blocks.get(&number).is_some_and(is_revoked) {
                    blocks.remove(&number);
                }
            }
        }
        Ok(())
    }

    /// Whether `block` of the filesystem is one of the journal's own.
    fn holds(&self, block: u64) -> bool {
        let next = self.own.partition_point(|run| run.1 <= block);
        self.own.get(next).is_some_and(|run| run.0 <= block)
    }

    /// Where tags and records end in a block.
    fn body_end(&self) -> usize {
        if self.has_checksums() { self.block_len - TAIL_LEN } else { self.block_len }
    }

    /// `journal_tag_bytes` of Linux.
    fn tag_len(&self) -> usize {
        let is_wide = self.incompat & INCOMPAT_64BIT != 0;
        match (self.incompat & INCOMPAT_CSUM_V3 != 0, self.incompat & INCOMPAT_CSUM_V2 != 0) {
            (true, _) => 16,
            (false, true) => 10 + if is_wide { 4 } else { 0 },
            (false, false) => 8 + if is_wide { 4 } else { 0 },
        }
    }

    fn is_tail_sound(&self, block: &[u8]) -> bool {
        !self.has_checksums() || self.checksum_without(block, self.block_len - TAIL_LEN)
    }

    fn is_commit_sound(&self, block: &[u8], crc: u32) -> bool {
        let stored = u32_be(block, 0x10);
        if self.compat & COMPAT_CHECKSUM != 0 {
            let kind = block.get(0x0c..0x0e).unwrap_or_default();
            return (kind == [1, 4] && stored == crc) || (kind == [0, 0] && stored == 0);
        }
        !self.has_checksums() || self.checksum_without(block, 0x10)
    }

    /// Whether the checksum at byte `at` is that of the block without it.
    fn checksum_without(&self, block: &[u8], at: usize) -> bool {
        let before = crc32c(self.seed(), block.get(..at).unwrap_or_default());
        let computed = crc32c(crc32c(before, &[0; 4]), block.get(at + 4..).unwrap_or_default());
        u32_be(block, at) == computed
    }

    pub(super) fn is_data_sound(&self, block: &[u8], copy: &LoggedBlock) -> bool {
        if !self.has_checksums() {
            return true;
        }
        let computed = crc32c(crc32c(self.seed(), &copy.sequence.to_be_bytes()), block);
        let mask = if self.incompat & INCOMPAT_CSUM_V3 != 0 { !0 } else { 0xffff };
        copy.checksum == computed & mask
    }
}

/// CRC-32 with its polynomial 0x04C11DB7 as it is, most significant bit first, going on from `seed`: the checksum of
/// a transaction in version 1 (`crc32_be` of Linux).
fn crc32_be(seed: u32, data: &[u8]) -> u32 {
    data.iter().fold(seed, |crc, byte| {
        let [high, ..] = crc.to_be_bytes();
        crc << 8 ^ CRC32_TABLE[usize::from(high ^ byte)]
    })
}

const CRC32_TABLE: [u32; 256] = {
    let mut table = [0; 256];
    let mut index = 0;
    let mut crc: u32 = 0;
    while index < 256 {
        table[index] = crc_of_byte(crc);
        crc += 1;
        index += 1;
    }
    table
};

const fn crc_of_byte(byte: u32) -> u32 {
    let mut crc = byte << 24;
    let mut bit = 0;
    while bit < 8 {
        crc = if crc >> 31 == 1 { crc << 1 ^ 0x04c1_1db7 } else { crc << 1 };
        bit += 1;
    }
    crc
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crc32_be_is_the_one_of_the_check_string() {
        // CRC-32/MPEG-2 of "123456789".
        assert_eq!(crc32_be(!0, b"123456789"), 0x0376_e6e7);
    }
}
