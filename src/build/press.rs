//! Presses planned nodes, several at a time, and tells of them in a manifest.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::base::{ChunkDigests, Interrupt, Progress, Sha256Digest, Sha256Hasher};
use crate::block::{FileDevice, Overlay, ReadAt};
use crate::plan::{Action, Cluster, NodePlan};
use crate::sink;

use super::apply::apply;
use super::manifest::{BaseEntry, EditEntry, Manifest, NodeEntry};
use super::verify::verify;
use super::{Error, Opened};

/// Where images go, and how.
#[derive(Clone, Debug)]
pub struct Output {
    /// The folder of this cluster; made when missing. `None` presses in memory only: everything is done and
    /// checked, nothing is written.
    pub folder: Option<PathBuf>,
    /// How many nodes at a time; 0 counts as 1.
    pub jobs: usize,
    /// Read each image whole for its SHA-256.
    pub whole_sha256: bool,
    /// `SOURCE_DATE_EPOCH`: the time of every changed file. `None`: the base's own last write.
    pub epoch_seconds: Option<i64>,
}

/// One finished node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pressed {
    /// What the manifest says of it.
    pub entry: NodeEntry,
    /// Bytes that differ from the base, in whole blocks of 4 KiB.
    pub dirty_bytes: u64,
    /// Were the blocks of the base shared instead of copied?
    pub reflinked: bool,
}

/// Presses every node of `plans`, then writes the manifest. The results come in the order of `plans`.
///
/// # Errors
/// The first failure stops the others between two steps. Images under their final names are whole.
pub fn press(
    cluster: &Cluster,
    opened: &Opened,
    plans: &[NodePlan],
    output: &Output,
    progress: &dyn Progress,
    interrupt: &Interrupt,
) -> Result<(Manifest, Vec<Pressed>), Error> {
    let made = output.folder.as_deref().map(make_folder).transpose()?.unwrap_or_default();
    progress.start("pressing", None);
    let pressed = press_all(opened, plans, output, interrupt);
    progress.finish();
    let pressed = pressed.inspect_err(|_| {
        // Only those that are still empty go.
        for folder in made {
            let _ = std::fs::remove_dir(folder);
        }
    })?;
    let (release, arch, reference) = BaseEntry::release_of(&opened.facts);
    let base = BaseEntry {
        file: opened.name.clone(),
        sha256: opened.base.archive_sha256.map(|digest| digest.to_string()),
        len_bytes: opened.base.len_bytes,
        digest: opened.base.digests.root().to_string(),
        release,
        arch,
        reference,
    };
    let mut manifest = Manifest::new(&cluster.name, base);
    manifest.nodes = pressed.iter().map(|pressed| pressed.entry.clone()).collect();
    if let Some(folder) = &output.folder {
        let path = folder.join("manifest.json");
        let order: Vec<&str> = cluster.nodes.iter().map(|node| node.name.as_str()).collect();
        let earlier = std::fs::read(&path).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
        if let Some(earlier) = earlier {
            manifest.keep_from(earlier, &order);
        }
        sink::write_atomically(&path, manifest.to_json().as_bytes(), 0o644)
            .map_err(|source| Error::Sink { path, source: Box::new(source) })?;
    }
    Ok((manifest, pressed))
}

/// Makes the folder, and clears what killed processes left in it. The folders that were not there before, inner first.
fn make_folder(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let missing = |folder: &&Path| !folder.as_os_str().is_empty() && !folder.exists();
    let made = folder.ancestors().take_while(missing).map(Path::to_owned).collect();
    std::fs::create_dir_all(folder).map_err(|source| Error::Host {
        verb: "create",
        path: folder.to_owned(),
        source,
    })?;
    sink::remove_leftovers(folder)
        .map_err(|source| Error::Sink { path: folder.to_owned(), source: Box::new(source) })?;
    Ok(made)
}

/// Hands the plans to `output.jobs` threads, one after another.
fn press_all(
    opened: &Opened,
    plans: &[NodePlan],
    output: &Output,
    interrupt: &Interrupt,
) -> Result<Vec<Pressed>, Error> {
    let next = AtomicUsize::new(0);
    let done: Mutex<Vec<(usize, Result<Pressed, Error>)>> = Mutex::default();
    let stop = Interrupt::default();
    let work = || {
        while stop.check().is_ok() {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(plan) = plans.get(index) else { break };
            let result = press_one(opened, plan, output, interrupt);
            if result.is_err() {
                stop.raise();
            }
            done.lock().unwrap_or_else(PoisonError::into_inner).push((index, result));
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..output.jobs.clamp(1, plans.len().max(1)) {
            scope.spawn(work);
        }
    });
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    // By index, so that of several failures the same one is told every time.
    done.sort_by_key(|(index, _)| *index);
    done.into_iter()
        .map(|(index, result)| match result {
            Err(Error::Interrupted(interrupted)) => Err(Error::Interrupted(interrupted)),
            Err(source) => Err(Error::Node { node: plans[index].node.clone(), source: Box::new(source) }),
            Ok(pressed) => Ok(pressed),
        })
        .collect()
}

fn press_one(
    opened: &Opened,
    plan: &NodePlan,
    output: &Output,
    interrupt: &Interrupt,
) -> Result<Pressed, Error> {
    interrupt.check()?;
    let overlay = Overlay::new(Arc::clone(&opened.device));
    let layout =
        apply(&overlay, &opened.layout, &opened.facts.boot_mount, &plan.edits, output.epoch_seconds)?;
    let digest = digest(opened, &overlay, interrupt)?;
    let overlay = Rc::new(overlay);
    let secret = holds_secrets(plan);
    let file_name = format!("{}.img", plan.node);
    let mut reflinked = false;
    let mut sha256 = None;
    match &output.folder {
        None => {
            let device: Rc<dyn ReadAt> = Rc::<Overlay<Arc<FileDevice>>>::clone(&overlay);
            verify(&device, &layout, &opened.facts.boot_mount, &plan.edits)?;
        }
        Some(folder) => {
            let target = folder.join(&file_name);
            let sink_error = |source| Error::Sink { path: target.clone(), source: Box::new(source) };
            let options = sink::Options { secret, reflink: true, interrupt };
            let base = opened.device.file();
            let staged = sink::stage(base, overlay.as_ref(), &overlay.dirty_extents(), &target, options)
                .map_err(sink_error)?;
            // Read back what was written before it gets its name.
            let device: Rc<dyn ReadAt> = Rc::new(reopen(staged.path())?);
            verify(&device, &layout, &opened.facts.boot_mount, &plan.edits)?;
            if output.whole_sha256 {
                sha256 = Some(whole_sha256(device.as_ref(), interrupt)?.to_string());
            }
            reflinked = staged.pressed().how == sink::Copy::Reflink;
            staged.commit().map_err(sink_error)?;
        }
    }
    let entry = NodeEntry {
        name: plan.node.clone(),
        image: output.folder.is_some().then_some(file_name),
        len_bytes: overlay.len_bytes(),
        digest: digest.root().to_string(),
        sha256,
        secret,
        edits: plan.edits.iter().map(EditEntry::from).collect(),
        warnings: plan.warnings.clone(),
    };
    Ok(Pressed { entry, dirty_bytes: overlay.dirty_bytes(), reflinked })
}

fn holds_secrets(plan: &NodePlan) -> bool {
    plan.edits
        .iter()
        .any(|edit| matches!(&edit.action, Action::WriteFile { content, .. } if content.is_secret()))
}

fn reopen(path: &Path) -> Result<FileDevice, Error> {
    let host = |source| Error::Host { verb: "read", path: path.to_owned(), source };
    FileDevice::new(std::fs::File::open(path).map_err(host)?).map_err(host)
}

/// The digest of the node: the base's, with the chunks hashed again that the node changed. Where a longer image was
/// not written it is zero, and that is known without reading.
fn digest(
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

fn whole_sha256(device: &dyn ReadAt, interrupt: &Interrupt) -> Result<Sha256Digest, Error> {
    let mut hasher = Sha256Hasher::default();
    let mut buffer = vec![0; 1 << 20];
    let mut offset = 0;
    while offset < device.len_bytes() {
        interrupt.check()?;
        let len = usize::try_from(device.len_bytes() - offset).unwrap_or(usize::MAX).min(buffer.len());
        device.read_at(offset, &mut buffer[..len])?;
        hasher.update(&buffer[..len]);
        offset += len as u64;
    }
    Ok(hasher.finish())
}
