//! Nodes and finished images onto cards: each card its own image, all from one open base, several at once.
//!
//! No image is made in between: a node is the base and its own few blocks, and goes to the card from there.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use crate::base::{ByteLen, ChunkDigests, Interrupt, Progress};
use crate::block::{Extent, Overlay, ReadAt, Slice};
use crate::image::ext4;
use crate::image::table::{Kind, Table};
use crate::plan::{Cluster, Growth, NodePlan, Seed};
use crate::sink::Medium;
use crate::sink::flash::{self, Failed, Flashed, REWRITES};
use crate::source::Cache;

use super::disk::device_to_read;
use super::mapped::{self, mapped_chunks};
use super::node::Node;
use super::{Error, Opened};

/// Files told of a bad range.
const NAMES_MAX: usize = 5;

/// How cards are written.
#[derive(Clone, Copy, Debug)]
pub struct Onto<'o> {
    /// Read every card back.
    pub verify: bool,
    /// Leave what is right already.
    pub resume: bool,
    /// `SOURCE_DATE_EPOCH`: the time of every changed file. `None`: the base's own last write.
    pub epoch_seconds: Option<i64>,
    /// Looked at between pieces.
    pub interrupt: &'o Interrupt,
}

/// What goes onto a card.
#[derive(Clone, Copy)]
pub enum What<'w> {
    /// A node of a base.
    Node(&'w Opened, &'w NodePlan),
    /// An image as it is.
    Image(&'w Finished),
}

/// One card, and what it becomes.
pub struct Job<'j> {
    /// Taken for us alone.
    pub medium: &'j (dyn Medium + Send),
    /// What goes onto it.
    pub what: What<'j>,
    /// Hears how far this card is.
    pub progress: &'j dyn Progress,
}

/// An image from a file, which is only to be written.
pub struct Finished {
    device: Arc<dyn ReadAt + Send + Sync>,
    mapped: Vec<Extent>,
}

impl Finished {
    /// Opens the image at `path`, raw or packed, and looks what of it must be on a card: all, but for the free blocks of
    /// filesystems that are known here.
    ///
    /// # Errors
    /// [`Error::Host`], [`Error::Image`], [`Error::InPlace`] while somebody changes it.
    pub fn open(
        path: &Path,
        cache: &Cache,
        progress: &dyn Progress,
        interrupt: &Interrupt,
    ) -> Result<Self, Error> {
        let (device, _) = device_to_read(path, cache, progress, interrupt)?;
        let overlay = Overlay::new(Arc::clone(&device));
        let len_bytes = overlay.len_bytes();
        let chunks = match Table::open(&overlay) {
            Ok(table) => mapped_chunks(&overlay, &table)?,
            Err(_) => (0..len_bytes.div_ceil(ChunkDigests::CHUNK_LEN)).collect(),
        };
        Ok(Self { device, mapped: mapped::extents(&chunks, len_bytes) })
    }

    /// The length of the raw image.
    #[must_use]
    pub fn len_bytes(&self) -> u64 {
        self.device.len_bytes()
    }
}

impl fmt::Debug for Finished {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Finished {{ {} bytes, {} ranges }}", self.len_bytes(), self.mapped.len())
    }
}

/// The plans of these nodes for cards so many bytes long: with `image.grow = "card"` each root filesystem fills its card.
///
/// # Errors
/// As for [`super::plan`]; [`Error::NoSuchNode`].
pub fn plan_for_cards(
    cluster: &Cluster,
    opened: &Opened,
    seed: &Seed,
    cards: &[(&str, u64)],
) -> Result<Vec<NodePlan>, Error> {
    // One plan of the cluster serves all cards of one length, and every card where none is filled.
    let mut planned: BTreeMap<Option<u64>, Vec<NodePlan>> = BTreeMap::new();
    let mut chosen = Vec::new();
    for (node, card_bytes) in cards {
        // A card that is too small for the image is refused as such, not as too little to grow to.
        let is_filled = cluster.image.grow == Some(Growth::Card) && *card_bytes >= opened.base.len_bytes;
        let filled = is_filled.then_some(*card_bytes);
        let plans = match planned.entry(filled) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(none) => {
                let mut cluster = cluster.clone();
                if let Some(len) = filled {
                    cluster.image.grow = Some(Growth::To(ByteLen(len)));
                }
                none.insert(super::plan(&cluster, opened, seed)?)
            }
        };
        chosen.extend(super::choose(plans.clone(), &[(*node).to_owned()])?);
    }
    Ok(chosen)
}

/// Writes all cards at once. One that fails does not stop the others. The results come in the order of `jobs`.
pub fn flash_all(jobs: &[Job<'_>], onto: Onto<'_>) -> Vec<Result<Flashed, Error>> {
    std::thread::scope(|scope| {
        let threads: Vec<_> = jobs.iter().map(|job| scope.spawn(move || flash_one(job, onto))).collect();
        let results = threads.into_iter().map(|thread| thread.join());
        results.map(|result| result.unwrap_or_else(|panic| std::panic::resume_unwind(panic))).collect()
    })
}

fn flash_one(job: &Job<'_>, onto: Onto<'_>) -> Result<Flashed, Error> {
    match job.what {
        What::Node(opened, plan) => {
            let node = Node::make(opened, plan, onto.epoch_seconds, onto.interrupt)?;
            node.verify_in_memory()?;
            let mapped = node.mapped_extents()?;
            write(job, node.overlay.as_ref(), &mapped, onto)
        }
        What::Image(image) => write(job, &Overlay::new(Arc::clone(&image.device)), &image.mapped, onto),
    }
}

fn write<B: ReadAt>(
    job: &Job<'_>,
    image: &Overlay<B>,
    mapped: &[Extent],
    onto: Onto<'_>,
) -> Result<Flashed, Error> {
    let Onto { verify, resume, interrupt, .. } = onto;
    let options = flash::Options { verify, resume, rewrites: REWRITES, interrupt, progress: job.progress };
    flash::flash(job.medium, image, mapped, options).map_err(|failed| {
        let names = bad_ranges(&failed).map_or_else(Vec::new, |bad| names_on(image, bad));
        Error::Flash { names, source: Box::new(failed) }
    })
}

fn bad_ranges(failed: &Failed) -> Option<&[Extent]> {
    match &failed.error {
        flash::Error::Unverified { extents, .. } | flash::Error::Broken { extents } => Some(extents),
        _ => None,
    }
}

/// The files of the ext4 filesystems of the image that lie in these ranges, as far as they can be told.
fn names_on<B: ReadAt>(image: &Overlay<B>, ranges: &[Extent]) -> Vec<String> {
    let Ok(table) = Table::open(image) else { return Vec::new() };
    let linux = table.partitions().iter().filter(|partition| partition.kind == Kind::Linux);
    let mut names = Vec::new();
    for partition in linux {
        let inside: Vec<Extent> = ranges
            .iter()
            .filter_map(|range| {
                let from = range.offset.max(partition.start_bytes);
                let to = (range.offset + range.len_bytes).min(partition.start_bytes + partition.len_bytes);
                (from < to).then(|| Extent { offset: from - partition.start_bytes, len_bytes: to - from })
            })
            .collect();
        let Ok(slice) = Slice::new(image, partition.start_bytes, partition.len_bytes) else { continue };
        let found = ext4::Filesystem::open_to_read(&slice)
            .and_then(|filesystem| filesystem.names_on(&inside, NAMES_MAX));
        names.extend(found.unwrap_or_default());
    }
    names
}

#[cfg(test)]
mod tests;
