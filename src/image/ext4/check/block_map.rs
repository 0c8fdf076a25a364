//! Family 7, block maps: twelve pointers, and one each through one, two and three blocks of pointers.

use super::super::bytes::u32_at;
use super::super::error::Error;
use super::blocks::Mapped;
use super::inodes::{RESIZE, RawInode, Type};
use super::{Checker, Run};
use crate::image::findings::Place;

/// What is being walked.
struct Walk<'i> {
    inode: &'i RawInode<'i>,
    /// The logical block of the next pointer.
    logical: u64,
    /// Content that follows each other, not noted yet.
    run: Option<Run>,
}

impl Checker<'_> {
    pub(super) fn walk_map(&mut self, inode: &RawInode<'_>, mapped: &mut Mapped) -> Result<(), Error> {
        let mut walk = Walk { inode, logical: 0, run: None };
        for index in 0..15 {
            let pointer = u64::from(inode.pointer(index));
            let place = inode.place().byte(0x28 + 4 * index as u64);
            match index {
                12..=14 => self.walk_pointers(&mut walk, pointer, index - 11, place, mapped)?,
                _ => self.map_block(&mut walk, pointer, place, mapped),
            }
        }
        self.note_run(&mut walk, mapped);
        Ok(())
    }

    /// A block of pointers and those below, `levels` deep; 0 is a hole. Recursion is three deep.
    fn walk_pointers(
        &mut self,
        walk: &mut Walk<'_>,
        block: u64,
        levels: usize,
        place: Place,
        mapped: &mut Mapped,
    ) -> Result<(), Error> {
        let pointers = self.fs.block_len / 4;
        if block == 0 {
            walk.logical += (pointers as u64).pow(u32::try_from(levels).unwrap_or(0));
            return Ok(());
        }
        if !self.fs.holds(block) {
            self.findings.add(place, "block of pointers", block, "one of the filesystem's");
            return Ok(());
        }
        mapped.count += 1;
        // What the resize inode points to is claimed with the descriptors, but for its first block.
        let is_reserved = walk.inode.number == RESIZE && levels == 1;
        if !is_reserved && !self.claim(block, 1, "block of pointers", place) {
            return Ok(());
        }
        let bytes = self.read_block(block)?;
        for index in 0..pointers {
            let pointer = u64::from(u32_at(&bytes, index * 4));
            let place = Place::nth("block of pointers", block).byte(4 * index as u64);
            if levels > 1 {
                self.walk_pointers(walk, pointer, levels - 1, place, mapped)?;
            } else {
                self.map_block(walk, pointer, place, mapped);
            }
        }
        Ok(())
    }

    /// One pointer to content; 0 is a hole.
    fn map_block(&mut self, walk: &mut Walk<'_>, block: u64, place: Place, mapped: &mut Mapped) {
        let logical = walk.logical;
        walk.logical += 1;
        if block == 0 {
            return;
        }
        let is_too_far = match walk.inode.kind() {
            Some(Type::Directory) => logical > 1 << (21 - self.fs.log_block_len),
            Some(Type::Symlink) => logical > 0,
            _ => false,
        };
        if !self.fs.holds(block) {
            self.findings.add(place, "block", block, "one of the filesystem's");
        } else if is_too_far {
            self.findings.add(place, "logical block", logical, "one that such a file can have");
        } else if walk.inode.number == RESIZE {
            mapped.count += 1;
            mapped.last_written = Some(logical);
        } else {
            match &mut walk.run {
                Some(run) if run.logical + run.len == logical && run.start + run.len == block => run.len += 1,
                _ => {
                    self.note_run(walk, mapped);
                    walk.run = Some(Run { logical, start: block, len: 1 });
                }
            }
        }
    }

    /// Notes the run that has ended.
    fn note_run(&mut self, walk: &mut Walk<'_>, mapped: &mut Mapped) {
        let Some(run) = walk.run.take() else { return };
        if walk.inode.kind() == Some(Type::Directory) && mapped.len_blocks < run.logical {
            self.findings.add(
                walk.inode.place(),
                "directory",
                format_args!("without block {}", mapped.len_blocks),
                "one without holes",
            );
        }
        mapped.last_written = Some(run.logical + run.len - 1);
        self.map_run(walk.inode, run, mapped);
    }
}
