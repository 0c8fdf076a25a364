//! One node in memory: the base, and over it the blocks that make it this node.

use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::Arc;

use crate::base::{ChunkDigests, Interrupt, Sha256Digest};
use crate::block::{Extent, FileDevice, Overlay, ReadAt};
use crate::plan::NodePlan;

use super::apply::apply;
use super::layout::Layout;
use super::mapped::{self, mapped_chunks};
use super::verify::verify;
use super::{Error, Opened};

/// An image that is nowhere yet.
pub(super) struct Node<'n> {
    opened: &'n Opened,
    pub(super) plan: &'n NodePlan,
    pub(super) overlay: Rc<Overlay<Arc<FileDevice>>>,
    /// Where its partitions are.
    layout: Layout,
    pub(super) digests: ChunkDigests,
}

impl<'n> Node<'n> {
    /// Does all that the plan says. `epoch_seconds`: the time of every changed file.
    pub(super) fn make(
        opened: &'n Opened,
        plan: &'n NodePlan,
        epoch_seconds: Option<i64>,
        interrupt: &Interrupt,
    ) -> Result<Self, Error> {
        let overlay = Overlay::new(Arc::clone(&opened.device));
        let boot_mount = &opened.facts.boot_mount;
        let layout = apply(&overlay, &opened.layout, boot_mount, &plan.edits, epoch_seconds)?;
        let digests = digests(opened, &overlay, interrupt)?;
        Ok(Self { opened, plan, overlay: Rc::new(overlay), layout, digests })
    }

    /// Compares what is on `device` with the plan, through readers that share nothing with the writers.
    pub(super) fn verify(&self, device: &Rc<dyn ReadAt>) -> Result<(), Error> {
        verify(device, &self.layout, &self.opened.facts.boot_mount, &self.plan.edits)
    }

    /// The same for the image in memory.
    pub(super) fn verify_in_memory(&self) -> Result<(), Error> {
        let device: Rc<dyn ReadAt> = Rc::<Overlay<Arc<FileDevice>>>::clone(&self.overlay);
        self.verify(&device)
    }

    /// The chunks that must be on a card, with their digests.
    pub(super) fn mapped(&self) -> Result<Vec<(Extent, Sha256Digest)>, Error> {
        let chunks = mapped_chunks(self.overlay.as_ref(), &self.layout.table)?;
        let digest_of = |number: u64| {
            let (offset, len_bytes) = self.digests.range(number)?;
            let digest = *self.digests.chunks().get(usize::try_from(number).ok()?)?;
            Some((Extent { offset, len_bytes }, digest))
        };
        Ok(chunks.into_iter().filter_map(digest_of).collect())
    }

    /// The bytes of the same, in as few extents as may be.
    pub(super) fn mapped_extents(&self) -> Result<Vec<Extent>, Error> {
        let chunks = mapped_chunks(self.overlay.as_ref(), &self.layout.table)?;
        Ok(mapped::extents(&chunks, self.overlay.len_bytes()))
    }
}

/// The digests of the base, with the chunks hashed again that the node changed. Where a longer image was not written
/// it is zero, and that is known without reading.
fn digests(
    opened: &Opened,
    overlay: &Overlay<Arc<FileDevice>>,
    interrupt: &Interrupt,
) -> Result<ChunkDigests, Error> {
    let mut chunks = opened.base.digests.clone();
    let mut changed: BTreeSet<u64> = chunks.grow(overlay.len_bytes()).into_iter().collect();
    for extent in overlay.dirty_extents() {
        let end = (extent.offset + extent.len_bytes).div_ceil(ChunkDigests::CHUNK_LEN);
        changed.extend(extent.offset / ChunkDigests::CHUNK_LEN..end);
    }
    let mut buffer = Vec::new();
    for index in changed {
        interrupt.check()?;
        let Some((start, len)) = chunks.range(index) else { break };
        buffer.resize(usize::try_from(len).unwrap_or(0), 0);
        overlay.read_at(start, &mut buffer)?;
        chunks.set(index, Sha256Digest::of(&buffer));
    }
    Ok(chunks)
}
