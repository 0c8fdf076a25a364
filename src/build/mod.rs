//! The conductor: one cluster and one base image in, one pressed image per node out.
//!
//! ```text
//! open ──▶ Opened (base, layout, facts) ──▶ plan ──▶ Vec<NodePlan> ──▶ press ──▶ images + Manifest
//! ```
//!
//! Only this layer sees all the others. Each node is pressed alone, from the same read-only base, in an overlay of
//! its own, so the order and the number of threads cannot show in the bytes.

mod apply;
pub mod base;
pub mod boot;
pub mod check;
pub mod diff;
pub mod disk;
mod error;
mod facts;
pub mod flash;
mod host_files;
pub mod in_place;
pub mod inspect;
mod layout;
pub mod lock_file;
mod manifest;
mod mapped;
mod node;
mod press;
pub mod seed_file;
mod shard;
mod system;
mod verify;

use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::sync::Arc;

use crate::block::{FileDevice, Overlay, ReadAt};
use crate::plan::profile::{Laid, lay};
use crate::plan::{Cluster, NodePlan, OsFacts, Seed, grown_len, more_paths, resolve, wanted_paths};
use crate::source::BaseImage;

pub use base::Bases;
pub use error::Error;
pub use host_files::{write_host_bytes, write_host_file, write_host_files};
pub use manifest::{EditEntry, FileEntry, Manifest, NodeEntry};
pub use press::{Alone, Made, Output, Pressed, press, press_alone};
pub use shard::{Shard, merge_manifests};

use layout::{Layout, slice};
use system::System;

/// How often what was read may lead to more that must be read.
const FACT_ROUNDS: usize = 8;

/// The host failed at `path`.
fn host_error<'p>(verb: &'static str, path: &'p Path) -> impl Fn(io::Error) -> Error + use<'p> {
    move |source| Error::Host { verb, path: path.to_owned(), source }
}

/// A base image, opened, unpacked if need be, and asked what it is.
pub struct Opened {
    /// The name of its file, without folder or address.
    name: String,
    base: BaseImage,
    device: Arc<FileDevice>,
    layout: Layout,
    /// What it says of itself.
    pub facts: OsFacts,
}

impl Opened {
    /// How long the image of a node will be, in bytes.
    #[must_use]
    pub fn image_len(&self, plan: &NodePlan) -> u64 {
        grown_len(&plan.edits).map_or(self.base.len_bytes, |len| len.0)
    }
}

/// Opens the base of `cluster`, and lays the recipes that depend on it.
///
/// # Errors
/// As for [`base::open`], when the image holds no system known here, and [`Error::Recipes`].
pub fn open(cluster: &Cluster, seed: &Seed, bases: &Bases<'_>) -> Result<(Opened, Laid), Error> {
    let base::Base { name, image: base } = base::open(&cluster.image, bases)?;
    let host = |source| Error::Host { verb: "read", path: base.path.clone(), source };
    let device = FileDevice::new(base.file.try_clone().map_err(host)?).map_err(host)?;
    let device = Arc::new(device);
    let layout = Layout::read(&device)?;
    let (mut facts, laid) = survey(&device, &layout, cluster, seed)?;
    facts.digest = Some(base.digests.root());
    Ok((Opened { name, base, device, layout, facts }, laid))
}

/// Asks the image on `device` what it is, and lays the recipes of `cluster` that depend on it.
fn survey<B: ReadAt>(
    device: B,
    layout: &Layout,
    cluster: &Cluster,
    seed: &Seed,
) -> Result<(OsFacts, Laid), Error> {
    // Reading facts writes nothing, but both filesystems open for writing: what could not be pressed later is
    // refused here, before any node is begun.
    let overlay = Overlay::new(device);
    let boot = slice(&overlay, &layout.boot)?;
    let root = slice(&overlay, &layout.root)?;
    let mut system = System::open(layout, &boot, &root, None)?;
    let paths = wanted_paths(cluster);
    let mut facts = facts::read(&mut system, layout, overlay.len_bytes(), &paths)?;
    log::info!("base: {}, {:?}, {:?}", facts.release.pretty_name, facts.arch, facts.network);
    let laid = lay(cluster, &facts, seed).map_err(|faults| Error::Recipes(Box::new(faults)))?;
    // Recipes may look at more; a unit may take along another, which takes along a third.
    let mut asked: BTreeSet<_> = paths.into_iter().collect();
    for round in 0..FACT_ROUNDS {
        let paths = if round == 0 { wanted_paths(&laid.cluster) } else { more_paths(&laid.cluster, &facts) };
        let more: Vec<_> = paths.into_iter().filter(|path| asked.insert(path.clone())).collect();
        if more.is_empty() && round > 0 {
            break;
        }
        facts::read_more(&mut system, &mut facts.tree, &more)?;
    }
    Ok((facts, laid))
}

/// Decides what every node will be.
///
/// # Errors
/// [`Error::Plan`] with everything in the profile that does not go with this image.
pub fn plan(cluster: &Cluster, opened: &Opened, seed: &Seed) -> Result<Vec<NodePlan>, Error> {
    let plans = resolve(cluster, &opened.facts, seed).map_err(|faults| Error::Plan(Box::new(faults)))?;
    for plan in &plans {
        log::debug!("plan of {}: {} edits, {} warnings", plan.node, plan.edits.len(), plan.warnings.len());
    }
    Ok(plans)
}

/// Is there a node of this name? Asked before a base image is fetched for nothing.
///
/// # Errors
/// [`Error::NoSuchNode`]
pub fn check_name(cluster: &Cluster, name: &str) -> Result<(), Error> {
    let known = cluster.nodes.iter().map(|node| node.name.as_str());
    if known.clone().any(|known| known == name) { Ok(()) } else { Err(Error::no_such_node(name, known)) }
}

/// Keeps the plans of the nodes named, all when none is.
///
/// # Errors
/// [`Error::NoSuchNode`]
pub fn choose(plans: Vec<NodePlan>, names: &[String]) -> Result<Vec<NodePlan>, Error> {
    if let Some(name) = names.iter().find(|name| !plans.iter().any(|plan| plan.node == **name)) {
        return Err(Error::no_such_node(name, plans.iter().map(|plan| plan.node.as_str())));
    }
    Ok(plans.into_iter().filter(|plan| names.is_empty() || names.contains(&plan.node)).collect())
}
