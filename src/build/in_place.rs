//! A raw image that becomes a node where it is: the same plan as for a new image, laid down through a redo log, whole or
//! not at all.

use std::path::{Path, PathBuf};
use std::rc::Rc;

use crate::base::Interrupt;
use crate::block::redo::Target;
use crate::block::{FileDevice, Overlay, ReadAt};
use crate::plan::profile::Laid;
use crate::plan::{Cluster, NodePlan, OsFacts, Seed, resolve};

use super::apply::apply;
use super::disk::{commit_target, in_place, open_target};
use super::layout::Layout;
use super::verify::verify;
use super::{Error, survey};

/// A raw image, ours alone, asked what it is.
pub struct InPlace {
    path: PathBuf,
    target: Target,
    overlay: Rc<Overlay<FileDevice>>,
    layout: Layout,
    /// What it says of itself.
    pub facts: OsFacts,
    /// What the user should hear of earlier changes that had been cut off.
    pub notes: Vec<String>,
}

impl InPlace {
    /// Opens the raw image at `path`, and lays the recipes of `cluster` that depend on it. Changes nothing.
    ///
    /// # Errors
    /// [`Error::Packed`], [`Error::Host`], [`Error::InPlace`] while somebody else has it, and as for [`super::open`].
    pub fn open(path: &Path, cluster: &Cluster, seed: &Seed) -> Result<(Self, Laid), Error> {
        let (target, notes) = open_target(path)?;
        let overlay = Rc::new(Overlay::new(target.device().map_err(in_place(path))?));
        let layout = Layout::read(overlay.as_ref())?;
        let (facts, laid) = survey(overlay.as_ref(), &layout, cluster, seed)?;
        Ok((Self { path: path.to_owned(), target, overlay, layout, facts, notes }, laid))
    }

    /// Decides what it will be.
    ///
    /// # Errors
    /// [`Error::Plan`]
    pub fn plan(&self, cluster: &Cluster, seed: &Seed) -> Result<Vec<NodePlan>, Error> {
        resolve(cluster, &self.facts, seed).map_err(|faults| Error::Plan(Box::new(faults)))
    }

    /// Makes it what `plan` says; how many bytes that changed. It was read back as it will be and compared with the plan
    /// before the first byte of the file changes.
    ///
    /// # Errors
    /// Whatever keeps an edit from being done, [`Error::Verify`], and [`Error::InPlace`].
    pub fn press(
        self,
        plan: &NodePlan,
        epoch_seconds: Option<i64>,
        interrupt: &Interrupt,
    ) -> Result<u64, Error> {
        let Self { path, target, overlay, layout, facts, .. } = self;
        let layout = apply(&overlay, &layout, &facts.boot_mount, &plan.edits, epoch_seconds)?;
        let device: Rc<dyn ReadAt> = Rc::<Overlay<FileDevice>>::clone(&overlay);
        verify(&device, &layout, &facts.boot_mount, &plan.edits)?;
        let dirty_bytes = overlay.dirty_bytes();
        commit_target(&target, &path, &overlay, interrupt)?;
        Ok(dirty_bytes)
    }
}
