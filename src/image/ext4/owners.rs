//! Whose blocks these are: for telling what a bad place of a card spoils.

use std::collections::BTreeSet;

use super::Filesystem;
use super::error::Error;
use super::inode::{self, FileKind};
use super::mapping::Mapping;
use crate::block::Extent;

impl Filesystem<'_> {
    /// The paths of files and directories that have a byte in one of `ranges` of the device, at most `limit`, in the
    /// order of the directories. Names that are not UTF-8 are shown as far as they are. What
    /// cannot be read is passed over: this serves a message about something worse.
    ///
    /// # Errors
    /// [`Error::Device`], [`Error::Corrupt`] for the root directory.
    pub fn names_on(&self, ranges: &[Extent], limit: usize) -> Result<Vec<String>, Error> {
        let block_len = self.store.block_len() as u64;
        let mut found = Vec::new();
        // Each directory once: a ring of them ends.
        let mut seen = BTreeSet::from([inode::ROOT]);
        let mut left = vec![(self.store.inode(inode::ROOT)?, String::new())];
        while let Some((directory, path)) = left.pop() {
            let Ok(mut entries) = self.store.entries(&directory) else { continue };
            entries.sort_by(|a, b| a.name.cmp(&b.name));
            for entry in entries {
                if found.len() == limit {
                    return Ok(found);
                }
                let Ok(inode) = self.store.inode(entry.inode) else { continue };
                let name = format!("{path}/{}", String::from_utf8_lossy(&entry.name));
                let has_one = Mapping::read(&self.store, &inode).is_ok_and(|mapping| {
                    let runs = mapping.runs.iter().map(|run| (run.physical, run.len));
                    let tree = mapping.tree.iter().map(|block| (*block, 1));
                    let mut blocks = runs.chain(tree);
                    blocks.any(|(start, len)| touches(ranges, start * block_len, len * block_len))
                });
                if has_one {
                    found.push(name.clone());
                }
                if inode.kind().is_ok_and(|kind| kind == FileKind::Directory) && seen.insert(entry.inode) {
                    left.push((inode, name));
                }
            }
        }
        Ok(found)
    }
}

fn touches(ranges: &[Extent], offset: u64, len_bytes: u64) -> bool {
    ranges.iter().any(|range| range.offset < offset + len_bytes && offset < range.offset + range.len_bytes)
}
