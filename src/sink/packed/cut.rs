//! Where an image is cut: by the layout of the base and by the node's own edits, and nothing else, so that a node's
//! bytes do not depend on other nodes.

use super::{Archive, ArchiveBlock};
use crate::block::Extent;

/// Edited parts are halved until they are this long. Shorter would compress worse, longer would compress more bytes
/// for each node.
const OWN_LEN_MAX: u64 = 256 << 10;
/// Cuts are at multiples of it.
const BORDER: u64 = 64 << 10;

/// Whose a part is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// As it stands in the archive.
    Spliced(ArchiveBlock),
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
                        self.halve(offset, len, &mut parts);
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
        // Longer than four borders, so that both halves have something.
        let middle = (offset + len / 2) / BORDER * BORDER;
        self.halve(offset, middle - offset, parts);
        self.halve(middle, offset + len - middle, parts);
    }

    fn is_touched(&self, offset: u64, len: u64) -> bool {
        let before = self.dirty.partition_point(|dirty| dirty.offset + dirty.len_bytes <= offset);
        self.dirty.get(before).is_some_and(|dirty| dirty.offset < offset + len)
    }
}
