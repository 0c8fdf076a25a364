//! An image that becomes a node where it is: the same plan as for a new image.
//!
//! A file is changed through a redo log, whole or not at all. On a card only what changes is written, and its partition
//! table last.

use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

use crate::base::{ByteLen, Interrupt, Progress};
use crate::block::redo::Target;
use crate::block::{Overlay, ReadAt};
use crate::plan::profile::Laid;
use crate::plan::{Cluster, Growth, NodePlan, OsFacts, Seed, resolve};
use crate::sink::Card;
use crate::sink::flash::{self, REWRITES, Reader};

use super::apply::apply;
use super::disk::{commit_target, in_place, open_target};
use super::layout::Layout;
use super::verify::verify;
use super::{Error, survey};

/// An image that is ours alone, asked what it is.
pub struct InPlace {
    place: Place,
    overlay: Rc<Overlay<Rc<dyn ReadAt>>>,
    layout: Layout,
    /// What it says of itself.
    pub facts: OsFacts,
    /// What the user should hear of earlier changes that had been cut off.
    pub notes: Vec<String>,
}

enum Place {
    File(Target, PathBuf),
    Card(Arc<Card>),
}

/// How an image is changed.
#[derive(Clone, Copy)]
pub struct How<'h> {
    /// `SOURCE_DATE_EPOCH`: the time of every changed file. `None`: the image's own last write.
    pub epoch_seconds: Option<i64>,
    /// Read what was written to a card back.
    pub verify: bool,
    /// Hears how far a card is.
    pub progress: &'h dyn Progress,
    /// Looked at until the first byte is written.
    pub interrupt: &'h Interrupt,
}

impl InPlace {
    /// Opens the raw image at `path`, and lays the recipes of `cluster` that depend on it. Changes nothing.
    ///
    /// # Errors
    /// [`Error::Packed`], [`Error::Host`], [`Error::InPlace`] while somebody else has it, and as for [`super::open`].
    pub fn open_file(path: &Path, cluster: &Cluster, seed: &Seed) -> Result<(Self, Laid), Error> {
        let (target, notes) = open_target(path)?;
        let device = Rc::new(target.device().map_err(in_place(path))?);
        Self::open(Place::File(target, path.to_owned()), device, notes, cluster, seed)
    }

    /// The same for what is on a card.
    ///
    /// # Errors
    /// As for [`super::open`].
    pub fn open_card(card: Card, cluster: &Cluster, seed: &Seed) -> Result<(Self, Laid), Error> {
        let card = Arc::new(card);
        let device = Rc::new(Reader::new(Arc::clone(&card)));
        Self::open(Place::Card(card), device, Vec::new(), cluster, seed)
    }

    fn open(
        place: Place,
        device: Rc<dyn ReadAt>,
        notes: Vec<String>,
        cluster: &Cluster,
        seed: &Seed,
    ) -> Result<(Self, Laid), Error> {
        let overlay = Rc::new(Overlay::new(device));
        let layout = Layout::read(overlay.as_ref())?;
        let (facts, laid) = survey(overlay.as_ref(), &layout, cluster, seed)?;
        Ok((Self { place, overlay, layout, facts, notes }, laid))
    }

    /// Decides what it will be. With `image.grow = "card"` the root filesystem fills the card.
    ///
    /// # Errors
    /// [`Error::Plan`]
    pub fn plan(&self, cluster: &Cluster, seed: &Seed) -> Result<Vec<NodePlan>, Error> {
        let mut cluster = cluster.clone();
        if matches!(self.place, Place::Card(_)) && cluster.image.grow == Some(Growth::Card) {
            cluster.image.grow = Some(Growth::To(ByteLen(self.overlay.len_bytes())));
        }
        resolve(&cluster, &self.facts, seed).map_err(|faults| Error::Plan(Box::new(faults)))
    }

    /// Makes it what `plan` says; how many bytes that changed. It was read back as it will be and compared with the plan
    /// before the first byte changes.
    ///
    /// # Errors
    /// Whatever keeps an edit from being done, [`Error::Verify`]; [`Error::InPlace`] or [`Error::Flash`].
    pub fn press(self, plan: &NodePlan, how: How<'_>) -> Result<u64, Error> {
        let Self { place, overlay, layout, facts, .. } = self;
        let layout = apply(&overlay, &layout, &facts.boot_mount, &plan.edits, how.epoch_seconds)?;
        let device: Rc<dyn ReadAt> = Rc::<Overlay<Rc<dyn ReadAt>>>::clone(&overlay);
        verify(&device, &layout, &facts.boot_mount, &plan.edits)?;
        let dirty_bytes = overlay.dirty_bytes();
        match &place {
            Place::File(target, path) => {
                commit_target(target, path, &overlay, how.interrupt)?;
            }
            Place::Card(card) => {
                let How { verify, progress, interrupt, .. } = how;
                let options =
                    flash::Options { verify, resume: false, rewrites: REWRITES, interrupt, progress };
                flash::patch(card, overlay.as_ref(), &overlay.dirty_extents(), options)
                    .map_err(|failed| Error::Flash { names: Vec::new(), source: Box::new(failed) })?;
            }
        }
        Ok(dirty_bytes)
    }
}
