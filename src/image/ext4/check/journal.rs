//! Family 12, the journal's superblock and the orphan file. The log itself is not read: in a sound filesystem it is
//! empty. The journal is big-endian, as nothing else is.

use super::super::bytes::{field, u32_at};
use super::super::checksum::crc32c;
use super::super::error::Error;
use super::super::features::compat;
use super::Checker;
use super::blocks::Mapped;
use super::geometry::SUPERBLOCK;
use super::inodes::{ENCRYPTED, JOURNAL, RawInode};
use crate::base::is_zero;
use crate::image::findings::Place;

const MAGIC: u32 = 0xc03b_3998;
const BLOCKS_MIN: u64 = 1024;
const CHECKSUM_AT: usize = 0xfc;
/// `s_feature_incompat` of a journal.
const CSUM_V2: u32 = 0x8;
const CSUM_V3: u32 = 0x10;
const FAST_COMMIT: u32 = 0x20;
const KNOWN: u32 = 0x3f;
/// Blocks for fast commits where the superblock does not say how many.
const FAST_COMMIT_BLOCKS: u64 = 256;
/// The journal has another kind of checksum than CRC-32C (4) too, which nothing uses.
const CRC32C: u8 = 4;

const ORPHAN_MAGIC: u32 = 0x0b10_ca04;
const ORPHAN_TAIL_LEN: usize = 8;

/// A file that the filesystem keeps for itself.
pub(super) struct OwnFile {
    pub(super) mapped: Mapped,
    pub(super) end_run: usize,
    size: u64,
    links: u16,
    generation: u32,
    is_encrypted: bool,
    i_block: Vec<u8>,
}

impl OwnFile {
    pub(super) fn new(inode: &RawInode<'_>, mapped: Mapped, end_run: usize) -> Self {
        Self {
            mapped,
            end_run,
            size: inode.size(),
            links: inode.links(),
            generation: inode.generation(),
            is_encrypted: inode.has(ENCRYPTED),
            i_block: inode.i_block().to_vec(),
        }
    }
}

impl Checker<'_> {
    pub(super) fn check_journal(&mut self) -> Result<(), Error> {
        let number = self.fs.u32(0xe0);
        let is_external = self.fs.bytes::<16>(0xd0) != [0; 16];
        if !self.fs.features.has_compat(compat::HAS_JOURNAL) {
            if number != 0 || is_external {
                self.findings.add(SUPERBLOCK, "journal", "named", "none without the feature has_journal");
            }
            return Ok(());
        }
        if is_external {
            self.findings.add(SUPERBLOCK, "journal", "on another device", "in inode 8");
            return Ok(());
        }
        self.findings.compare(SUPERBLOCK, "inode of the journal", number, JOURNAL);
        let Some(file) = self.journal.take() else { return Ok(()) };
        let block_len = self.fs.block_len as u64;
        let mapped = &file.mapped;
        let is_whole = mapped.content == mapped.len_blocks && mapped.len_blocks * block_len >= file.size;
        let place = Place::nth("inode", JOURNAL);
        let is_usable = file.links > 0 && file.size / block_len >= BLOCKS_MIN && !file.is_encrypted;
        if !is_usable || !is_whole {
            let found = "too short, with holes, encrypted, or without a link";
            self.findings.add(place, "journal", found, "a whole file");
        }
        if self.fs.u8(0xfd) == 1 {
            let backup: Vec<u8> =
                (0..15).flat_map(|nth| self.fs.u32(0x10c + 4 * nth).to_le_bytes()).collect();
            let size = u64::from(self.fs.u32(0x148)) << 32 | u64::from(self.fs.u32(0x14c));
            if backup != file.i_block || size != file.size {
                self.findings.add(SUPERBLOCK, "copy of the journal's blocks", "another", "that of inode 8");
            }
        }
        let Some(block) = mapped.first_block else { return Ok(()) };
        let bytes = self.read_block(block)?;
        self.check_journal_superblock(&bytes, file.size / block_len);
        Ok(())
    }

    fn check_journal_superblock(&mut self, bytes: &[u8], len_blocks: u64) {
        let place = Place::only("journal superblock");
        let word = |at: usize| field(bytes, at).map_or(0, u32::from_be_bytes);
        let findings = &mut self.findings;
        let [magic, kind] = [word(0x00), word(0x04)];
        if magic != MAGIC || !(kind == 3 || kind == 4) {
            let found = format!("{magic:#010x} and {kind}");
            findings.add(place, "magic number and kind", found, format_args!("{MAGIC:#010x} and 3 or 4"));
            return;
        }
        let [compat, incompat, ro_compat, users] = [word(0x24), word(0x28), word(0x2c), word(0x40)];
        if kind == 3 && (compat | incompat | ro_compat | users) != 0 {
            findings.add(place, "features of version 1", "some", "none");
        }
        if kind == 4 {
            let sums = incompat & (CSUM_V2 | CSUM_V3);
            let is_known = incompat & !KNOWN == 0
                && ro_compat == 0
                && sums != CSUM_V2 | CSUM_V3
                && (sums == 0 || compat & 1 == 0);
            if !is_known {
                let found = format!("{compat:#x}, {incompat:#x}, {ro_compat:#x}");
                findings.add(place, "set of features", found, "known ones, with one kind of checksum");
            }
            if users > 1 {
                findings.add(place, "number of users", users, "at most 1");
            }
            if sums != 0 {
                let sealed = bytes.get(..1024).unwrap_or_default();
                let head = crc32c(!0, sealed.get(..CHECKSUM_AT).unwrap_or_default());
                let computed =
                    crc32c(crc32c(head, &[0; 4]), sealed.get(CHECKSUM_AT + 4..).unwrap_or_default());
                let stored = word(CHECKSUM_AT);
                if stored != computed {
                    let found = format!("{stored:#010x}");
                    findings.add(place, "checksum", found, format_args!("{computed:#010x}"));
                }
                findings.compare(place, "kind of checksums", bytes.get(0x50).copied().unwrap_or(0), CRC32C);
            }
        }
        findings.compare(place, "block size", u64::from(word(0x0c)), self.fs.block_len as u64);
        let most = u64::from(word(0x10));
        if most > len_blocks {
            findings.add(place, "length", most, format_args!("at most {len_blocks}"));
        }
        let fast = match word(0x54) {
            0 => FAST_COMMIT_BLOCKS,
            blocks => u64::from(blocks),
        };
        if kind == 4 && incompat & FAST_COMMIT != 0 && most.saturating_sub(fast) < BLOCKS_MIN {
            findings.add(place, "blocks for fast commits", fast, "what leaves 1024 of the journal");
        }
        findings.compare(place, "start of the log", word(0x1c), 0);
        findings.compare(place, "error number", word(0x20), 0);
    }

    /// The orphan file holds nothing but zeroes and the tail of each block.
    pub(super) fn check_orphan_file(&mut self) -> Result<(), Error> {
        if !self.fs.features.has_compat(compat::ORPHAN_FILE) {
            return Ok(());
        }
        let number = self.fs.orphan_inode();
        let place = Place::nth("orphan file", number);
        let Some(file) = self.orphan_file.take() else {
            self.findings.add(place, "inode", "not in use", "a file");
            return Ok(());
        };
        let block_len = self.fs.block_len as u64;
        let blocks = file.size / block_len;
        let is_whole = file.mapped.content == file.mapped.len_blocks && file.mapped.len_blocks >= blocks;
        if !file.size.is_multiple_of(block_len) || !is_whole {
            self.findings.add(place, "size", file.size, "whole blocks without holes");
        }
        let seed = self.fs.checksums.inode_seed(number, file.generation);
        let runs = self.runs.get(file.mapped.first_run..file.end_run).unwrap_or_default();
        let runs: Vec<(u64, u64)> = runs.iter().map(|run| (run.start, run.len)).collect();
        for block in runs.iter().flat_map(|(start, len)| *start..start + len) {
            let bytes = self.read_block(block)?;
            let entries = bytes.len() - ORPHAN_TAIL_LEN;
            let body = bytes.get(..entries).unwrap_or_default();
            let place = Place::nth("orphan file block", block);
            if !is_zero(body) {
                self.findings.add(place, "list of orphaned inodes", "not empty", "empty");
            }
            let magic = u32_at(&bytes, entries);
            if magic != ORPHAN_MAGIC {
                let found = format!("{magic:#010x}");
                self.findings.add(place, "magic number", found, format_args!("{ORPHAN_MAGIC:#010x}"));
            }
            let computed = seed.map_or(0, |seed| crc32c(crc32c(seed, &block.to_le_bytes()), body));
            let stored = u32_at(&bytes, entries + 4);
            if stored != computed {
                let found = format!("{stored:#010x}");
                self.findings.add(place, "checksum", found, format_args!("{computed:#010x}"));
            }
        }
        Ok(())
    }
}
