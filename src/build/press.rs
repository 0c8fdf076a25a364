//! Presses planned nodes, several at a time, and tells of them in a manifest.

use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::base::{Interrupt, Progress, Sha256Digest, Sha256Hasher};
use crate::block::{FileDevice, ReadAt};
use crate::plan::{Cluster, NodePlan};
use crate::sink;

use super::manifest::{BaseEntry, EditEntry, Manifest, NodeEntry};
use super::node::Node;
use super::shard::Shard;
use super::{Error, Opened, host_error};

/// Where images go, and how.
#[derive(Clone, Debug)]
pub struct Output {
    /// The folder of this cluster; made when missing. `None` presses in memory only: everything is done and
    /// checked, nothing is written.
    pub folder: Option<PathBuf>,
    /// How many nodes at a time; 0 counts as 1.
    pub jobs: usize,
    /// The plans are this part of all nodes; its manifest is one of several then.
    pub shard: Option<Shard>,
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
    let pressed = check_room(opened, plans, output).and_then(|()| {
        progress.start("pressing", None);
        let pressed = press_all(opened, plans, output, interrupt);
        progress.finish();
        pressed
    });
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
        let path = match output.shard {
            None => folder.join("manifest.json"),
            Some(shard) => folder.join(shard.manifest_name()),
        };
        let earlier = std::fs::read(&path).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
        if let Some(earlier) = earlier.filter(|_| output.shard.is_none()) {
            manifest.keep_from(earlier, cluster);
        }
        write_manifest(&path, &manifest)?;
    }
    Ok((manifest, pressed))
}

/// Refuses a folder that all images together do not fit into, before the first is begun. An image that replaces one
/// may find room as that one goes, and counts as nothing here; it is checked when its turn comes.
fn check_room(opened: &Opened, plans: &[NodePlan], output: &Output) -> Result<(), Error> {
    let Some(folder) = &output.folder else { return Ok(()) };
    let new = plans.iter().filter(|plan| !folder.join(file_name(plan)).exists()).count();
    let all = |source| Error::Sink { path: folder.clone(), source: Box::new(source) };
    sink::check_room_for(new, opened.device.file(), folder).map_err(all)
}

fn file_name(plan: &NodePlan) -> String {
    format!("{}.img", plan.node)
}

pub(super) fn write_manifest(path: &Path, manifest: &Manifest) -> Result<(), Error> {
    sink::write_atomically(path, manifest.to_json().as_bytes(), 0o644)
        .map_err(|source| Error::Sink { path: path.to_owned(), source: Box::new(source) })
}

/// Makes the folder, and clears what killed processes left in it. The folders that were not there before, inner first.
fn make_folder(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let missing = |folder: &&Path| !folder.as_os_str().is_empty() && !folder.exists();
    let made = folder.ancestors().take_while(missing).map(Path::to_owned).collect();
    std::fs::create_dir_all(folder).map_err(host_error("create the folder", folder))?;
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
    let node = Node::make(opened, plan, output.epoch_seconds, interrupt)?;
    let file_name = file_name(plan);
    let mut reflinked = false;
    let mut sha256 = None;
    match &output.folder {
        None => node.verify_in_memory()?,
        Some(folder) => {
            let target = folder.join(&file_name);
            let sink_error = |source| Error::Sink { path: target.clone(), source: Box::new(source) };
            let options = sink::Options { secret: node.is_secret(), reflink: true, interrupt };
            let dirty = node.overlay.dirty_extents();
            let staged = sink::stage(opened.device.file(), node.overlay.as_ref(), &dirty, &target, options)
                .map_err(sink_error)?;
            // Read back what was written before it gets its name.
            let device: Rc<dyn ReadAt> = Rc::new(reopen(staged.path())?);
            node.verify(&device)?;
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
        len_bytes: node.overlay.len_bytes(),
        digest: node.digests.root().to_string(),
        sha256,
        secret: node.is_secret(),
        edits: plan.edits.iter().map(EditEntry::from).collect(),
        warnings: plan.warnings.clone(),
    };
    Ok(Pressed { entry, dirty_bytes: node.overlay.dirty_bytes(), reflinked })
}

fn reopen(path: &Path) -> Result<FileDevice, Error> {
    let host = |source| Error::Host { verb: "read", path: path.to_owned(), source };
    FileDevice::new(std::fs::File::open(path).map_err(host)?).map_err(host)
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
