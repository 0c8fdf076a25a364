//! Where an image is cut: by the layout of the base and by the node's own edits, and nothing else, so that a node's
//! bytes do not depend on other nodes.

use std::fs::File;

use super::prefix::{self, Prefix};
use super::{Archive, ArchiveBlock};
use crate::block::Extent;

/// Edited parts are halved until they are this long. Against 256 KiB a node compresses a third less, and a Debian image
/// with a hundred edited blocks gets no longer.
const OWN_LEN_MAX: u64 = 128 << 10;
/// Cuts are at multiples of it.
const BORDER: u64 = 64 << 10;

/// Whose a part is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// As it stands in the archive.
    Spliced(ArchiveBlock),
    /// The start of a block of the archive as it stands there.
    Start(Prefix),
    /// Of all nodes: as in the base, or zero behind it.
    Common,
    /// Of this node.
    Own,
}

/// A part of the image that is compressed on its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) offset: u64,
    pub(super) len: u64,
    pub(super) kind: Kind,
}

/// What there is to cut.
#[derive(Clone, Copy)]
pub(super) struct Cut<'c> {
    pub(super) base_len: u64,
    /// Of the edited image.
    pub(super) len: u64,
    pub(super) archive: Option<&'c Archive>,
    /// The longest part but for spliced ones.
    pub(super) grid_len: u64,
    /// Ascending, apart from each other.
    pub(super) dirty: &'c [Extent],
}

impl Cut<'_> {
    /// The parts in order. An empty image is one empty part.
    pub(super) fn parts(&self) -> Vec<Part> {
        let mut parts = Vec::new();
        match self.archive {
            Some(archive) => {
                for block in &archive.blocks {
                    let (offset, len) = (block.offset, block.len_bytes);
                    if self.is_touched(offset, len) {
                        let first = parts.len();
                        self.halve(offset, len, &mut parts);
                        splice_start(&archive.file, block, &mut parts, first);
                    } else {
                        parts.push(Part { offset, len, kind: Kind::Spliced(*block) });
                    }
                }
            }
            None => self.grid(0, self.base_len, &mut parts),
        }
        // What was grown is cut apart from the base, as the base is the same for nodes of all lengths.
        self.grid(self.base_len, self.len, &mut parts);
        if parts.is_empty() {
            parts.push(Part { offset: 0, len: 0, kind: Kind::Common });
        }
        parts
    }

    fn grid(&self, start: u64, end: u64, parts: &mut Vec<Part>) {
        let mut offset = start;
        while offset < end {
            let len = self.grid_len.min(end - offset);
            self.halve(offset, len, parts);
            offset += len;
        }
    }

    fn halve(&self, offset: u64, len: u64, parts: &mut Vec<Part>) {
        let touched = self.is_touched(offset, len);
        if len <= if touched { OWN_LEN_MAX } else { self.grid_len } {
            let kind = if touched { Kind::Own } else { Kind::Common };
            parts.push(Part { offset, len, kind });
            return;
        }
        // Longer than two borders, so that there is one inside.
        let middle = (offset + len / 2) / BORDER * BORDER;
        self.halve(offset, middle - offset, parts);
        self.halve(middle, offset + len - middle, parts);
    }

    fn is_touched(&self, offset: u64, len: u64) -> bool {
        let before = self.dirty.partition_point(|dirty| dirty.offset + dirty.len_bytes <= offset);
        self.dirty.get(before).is_some_and(|dirty| dirty.offset < offset + len)
    }
}

/// Takes the place of the parts of `block`, from part number `first` on, that are before its first edit: with chunks
/// that need no compressing, and what is left between the last of them and the edited part. Parts behind the first edit
/// stay as they are, so that nodes whose first edits differ still share them.
fn splice_start(archive: &File, block: &ArchiveBlock, parts: &mut Vec<Part>, first: usize) {
    let Some(count) = parts[first..].iter().position(|part| part.kind == Kind::Own) else { return };
    let end = parts[first + count].offset;
    let Some(prefix) = prefix::find(archive, block, end - block.offset) else { return };
    let start = Part { offset: prefix.offset, len: prefix.len, kind: Kind::Start(prefix) };
    let offset = start.offset + start.len;
    let rest = Part { offset, len: end - offset, kind: Kind::Common };
    parts.splice(first..first + count, [start, rest].into_iter().filter(|part| part.len > 0));
}
