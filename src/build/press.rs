//! Presses planned nodes, several at a time, and tells of them in a manifest.

use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use crate::base::{Interrupt, Progress, Sha256Digest, Sha256Hasher};
use crate::block::{FileDevice, ReadAt};
use crate::plan::{Cluster, HostFile, NodePlan};
use crate::sink::{self, Archive, ArchiveBlock, Check, Packed, Packer, PackerOptions, Packing};
use crate::source::{XzArchive, XzBlock};

use super::host_files::write_host_files;
use super::manifest::{BaseEntry, EditEntry, FileEntry, Manifest, NodeEntry};
use super::node::Node;
use super::shard::Shard;
use super::{Error, Opened, host_error};

/// Where images go, and how.
#[derive(Clone, Debug)]
pub struct Output {
    /// The folder of this cluster; made when missing. `None` presses in memory only: everything is done and
    /// checked, nothing is written.
    pub folder: Option<PathBuf>,
    /// Compressed in this format, at this level; `None` writes raw images.
    pub packing: Option<(Packing, u32)>,
    /// What the image is called, where one node is pressed alone. `None`: `NODE.img`, with the ending of the packing.
    pub name: Option<String>,
    /// How many nodes at a time; 0 counts as 1.
    pub jobs: usize,
    /// The plans are this part of all nodes; its manifest is one of several then.
    pub shard: Option<Shard>,
    /// Read each image whole for its SHA-256.
    pub whole_sha256: bool,
    /// `SOURCE_DATE_EPOCH`: the time of every changed file. `None`: the base's own last write.
    pub epoch_seconds: Option<i64>,
    /// Written beside the images. They are about the whole cluster, whatever part of it is pressed: every shard writes
    /// the same.
    pub host_files: Vec<HostFile>,
}

/// One finished node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pressed {
    /// What the manifest says of it.
    pub entry: NodeEntry,
    /// Bytes that differ from the base, in whole blocks of 4 KiB.
    pub dirty_bytes: u64,
    /// What its file was made of.
    pub made: Made,
}

/// What an image was made of, beside its own blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Made {
    /// No file was written.
    Nothing,
    /// A raw image that shares the blocks of the base.
    Shared,
    /// A raw image with the data of the base copied.
    Copied,
    /// A compressed one.
    Packed(Packed),
}

/// Presses every node of `plans`, then writes the files for the workstation and the manifest. The results come in the order of `plans`.
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
        let all_bytes = plans.iter().map(|plan| opened.image_len(plan)).sum();
        progress.start("pressing", Some(all_bytes));
        let packer = packer(opened, output);
        let pressed =
            packer.and_then(|packer| press_all(opened, plans, packer.as_ref(), output, progress, interrupt));
        progress.finish();
        pressed
    });
    let pressed = pressed.inspect_err(|_| {
        // Only those that are still empty go.
        for folder in made {
            let _ = std::fs::remove_dir(folder);
        }
    })?;
    let facts = &opened.facts;
    let base = BaseEntry {
        file: opened.name.clone(),
        sha256: opened.base.archive_sha256.map(|digest| digest.to_string()),
        len_bytes: opened.base.len_bytes,
        digest: opened.base.digests.root().to_string(),
        release: facts.release.pretty_name.clone(),
        architecture: facts.arch.name().to_owned(),
        reference: facts.release.reference.clone(),
    };
    let mut manifest = Manifest::new(&cluster.name, base);
    manifest.nodes = pressed.iter().map(|pressed| pressed.entry.clone()).collect();
    if let Some(folder) = &output.folder {
        write_host_files(folder, &output.host_files)?;
        manifest.files = output.host_files.iter().map(FileEntry::from).collect();
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

/// One image under a name of the caller's.
#[derive(Clone, Copy, Debug)]
pub struct Alone<'a> {
    /// Its file; the folder must be there. A map goes beside it, as beside every image.
    pub file: &'a Path,
    /// As [`Output::packing`].
    pub packing: Option<(Packing, u32)>,
    /// How many threads compress.
    pub jobs: usize,
    /// As [`Output::epoch_seconds`].
    pub epoch_seconds: Option<i64>,
}

/// Presses one node into one file, and tells of it nowhere.
///
/// # Errors
/// As for [`press`].
pub fn press_alone(
    opened: &Opened,
    plan: &NodePlan,
    how: Alone<'_>,
    progress: &dyn Progress,
    interrupt: &Interrupt,
) -> Result<Pressed, Error> {
    let Alone { file, packing, jobs, epoch_seconds } = how;
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let output = Output {
        folder: Some(folder.to_owned()),
        packing,
        name: Some(file.file_name().unwrap_or_default().to_string_lossy().into_owned()),
        jobs,
        shard: None,
        whole_sha256: false,
        epoch_seconds,
        host_files: Vec::new(),
    };
    check_room(opened, std::slice::from_ref(plan), &output)?;
    progress.start("pressing", Some(opened.image_len(plan)));
    let pressed = packer(opened, &output)
        .and_then(|packer| press_one(opened, plan, packer.as_ref(), &output, progress, interrupt));
    progress.finish();
    pressed
}

/// What compresses, for all nodes.
fn packer(opened: &Opened, output: &Output) -> Result<Option<Packer>, Error> {
    let (Some(folder), Some((packing, level))) = (&output.folder, output.packing) else { return Ok(None) };
    let archive = opened.base.archive.as_ref().filter(|_| packing == Packing::Xz);
    let archive = archive.map(|archive| to_splice(archive, &opened.base.path)).transpose()?.flatten();
    let options = PackerOptions { packing, level, jobs: output.jobs, archive, folder };
    let packer = Packer::new(Arc::clone(&opened.device), options);
    packer.map(Some).map_err(|source| Error::Sink { path: folder.clone(), source: Box::new(source) })
}

/// The archive of the base as the sink knows archives; `None` with a check that is not known here.
fn to_splice(archive: &XzArchive, path: &Path) -> Result<Option<Archive>, Error> {
    let Some(check) = Check::from_id(archive.index.check) else { return Ok(None) };
    let blocks = archive.index.blocks.iter().map(|block| {
        let XzBlock { archive_offset, unpadded_len, offset, len_bytes } = *block;
        ArchiveBlock { archive_offset, unpadded_len, offset, len_bytes }
    });
    let file = archive.file().try_clone().map_err(host_error("read", path))?;
    Ok(Some(Archive { file, check, blocks: blocks.collect() }))
}

/// Refuses a folder that all images together do not fit into, before the first is begun. An image that replaces one
/// may find room as that one goes, and counts as nothing here; it is checked when its turn comes.
fn check_room(opened: &Opened, plans: &[NodePlan], output: &Output) -> Result<(), Error> {
    let Some(folder) = &output.folder else { return Ok(()) };
    let new = plans.iter().filter(|plan| !folder.join(file_name(plan, output)).exists()).count();
    let all = |source| Error::Sink { path: folder.clone(), source: Box::new(source) };
    match (output.packing, &opened.base.archive) {
        (None, _) => sink::check_room_for(new, opened.device.file(), folder).map_err(all),
        (Some((Packing::Xz, _)), Some(archive)) => {
            let lens = archive.index.blocks.iter().map(|block| block.unpadded_len);
            let archive_bytes = lens.fold(0, u64::saturating_add);
            // Most blocks are taken over as they are; those that a node touches are compressed anew, perhaps better.
            sink::check_free(folder, (archive_bytes / 4 * 3).saturating_mul(new as u64)).map_err(all)
        }
        // How far the base can be compressed is known only once it was: each image is looked at when its turn comes.
        (Some(_), _) => Ok(()),
    }
}

fn file_name(plan: &NodePlan, output: &Output) -> String {
    if let Some(name) = &output.name {
        return name.clone();
    }
    let suffix = match output.packing {
        None => "",
        Some((Packing::Xz, _)) => ".xz",
        Some((Packing::Zstd, _)) => ".zst",
        Some((Packing::Gzip, _)) => ".gz",
    };
    format!("{}.img{suffix}", plan.node)
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
    packer: Option<&Packer>,
    output: &Output,
    progress: &dyn Progress,
    interrupt: &Interrupt,
) -> Result<Vec<Pressed>, Error> {
    let next = AtomicUsize::new(0);
    let done: Mutex<Vec<(usize, Result<Pressed, Error>)>> = Mutex::default();
    let stop = Interrupt::default();
    let work = || {
        while stop.check().is_ok() {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(plan) = plans.get(index) else { break };
            let result = press_one(opened, plan, packer, output, progress, interrupt);
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
    packer: Option<&Packer>,
    output: &Output,
    progress: &dyn Progress,
    interrupt: &Interrupt,
) -> Result<Pressed, Error> {
    interrupt.check()?;
    let began = Instant::now();
    let node = Node::make(opened, plan, output.epoch_seconds, interrupt)?;
    log::debug!("{}: edited in memory after {:?}", plan.node, began.elapsed());
    let image = file_name(plan, output);
    let stem = image.rsplit_once(".img").map_or(image.as_str(), |(stem, _)| stem);
    let names = [image.clone(), format!("{stem}.bmap")];
    let mut written = None;
    match &output.folder {
        None => {
            node.verify_in_memory()?;
            progress.advance(node.overlay.len_bytes());
        }
        Some(folder) => {
            let [image, bmap] = names.each_ref().map(|name| folder.join(name));
            let target =
                Target { image: &image, bmap: &bmap, whole_sha256: output.whole_sha256, progress, interrupt };
            written = Some(match packer {
                None => target.write_raw(opened, &node)?,
                Some(packer) => target.write_packed(opened, &node, packer)?,
            });
        }
    }
    log::info!("{}: written and read back after {:?}", plan.node, began.elapsed());
    let [image, bmap] = names.map(|name| written.is_some().then_some(name));
    let (made, sha256) = written.unwrap_or((Made::Nothing, None));
    let entry = NodeEntry {
        name: plan.node.clone(),
        image,
        bmap,
        len_bytes: node.overlay.len_bytes(),
        digest: node.digests.root().to_string(),
        sha256: sha256.map(|digest| digest.to_string()),
        secret: node.plan.is_secret(),
        edits: plan.edits.iter().map(EditEntry::from).collect(),
        warnings: plan.warnings.clone(),
    };
    Ok(Pressed { entry, dirty_bytes: node.overlay.dirty_bytes(), made })
}

/// The files of one node.
struct Target<'t> {
    image: &'t Path,
    bmap: &'t Path,
    whole_sha256: bool,
    progress: &'t dyn Progress,
    interrupt: &'t Interrupt,
}

impl Target<'_> {
    fn write_raw(&self, opened: &Opened, node: &Node<'_>) -> Result<(Made, Option<Sha256Digest>), Error> {
        let (base, dirty) = (opened.device.file(), node.overlay.dirty_extents());
        let staged = sink::stage(base, node.overlay.as_ref(), &dirty, self.image, self.options(node));
        let staged = staged.map_err(self.failed())?;
        // Read back what was written before it gets its name.
        let device: Rc<dyn ReadAt> = Rc::new(reopen(staged.path())?);
        node.verify(&device)?;
        let sha256 = self.sha256(device.as_ref())?;
        let made = match staged.pressed().how {
            sink::Copy::Reflink => Made::Shared,
            sink::Copy::Sparse => Made::Copied,
        };
        self.name(node, || staged.commit())?;
        Ok((made, sha256))
    }

    /// What goes into the file is compared with the plan, and every piece of the file with what went in as it is
    /// compressed.
    fn write_packed(
        &self,
        opened: &Opened,
        node: &Node<'_>,
        packer: &Packer,
    ) -> Result<(Made, Option<Sha256Digest>), Error> {
        node.verify_in_memory()?;
        let dirty = node.overlay.dirty_extents();
        let staged = packer.stage(node.overlay.as_ref(), &dirty, self.image, self.options(node));
        let staged = staged.map_err(self.failed())?;
        // Blocks of it may be in the file now.
        if opened.base.archive.as_ref().is_some_and(|archive| !archive.is_unchanged()) {
            return Err(Error::BaseChanged(opened.name.clone()));
        }
        let sha256 = self.sha256(&reopen(staged.path())?)?;
        let made = Made::Packed(staged.packed());
        self.name(node, || staged.commit())?;
        Ok((made, sha256))
    }

    fn options(&self, node: &Node<'_>) -> sink::Options<'_> {
        sink::Options {
            secret: node.plan.is_secret(),
            reflink: true,
            interrupt: self.interrupt,
            progress: self.progress,
        }
    }

    /// Gives the image its name. There is never a map of one image beside another.
    fn name(&self, node: &Node<'_>, commit: impl FnOnce() -> Result<(), sink::Error>) -> Result<(), Error> {
        let bmap = sink::bmap(node.overlay.len_bytes(), &node.mapped()?)?;
        match std::fs::remove_file(self.bmap) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(host_error("remove", self.bmap)(error));
            }
            _ => {}
        }
        commit().map_err(self.failed())?;
        let mode = if node.plan.is_secret() { 0o600 } else { 0o644 };
        let failed = |source| Error::Sink { path: self.bmap.to_owned(), source: Box::new(source) };
        sink::write_atomically(self.bmap, bmap.as_bytes(), mode).map_err(failed)
    }

    fn sha256(&self, device: &dyn ReadAt) -> Result<Option<Sha256Digest>, Error> {
        self.whole_sha256.then(|| whole_sha256(device, self.interrupt)).transpose()
    }

    fn failed(&self) -> impl Fn(sink::Error) -> Error + '_ {
        |source| Error::Sink { path: self.image.to_owned(), source: Box::new(source) }
    }
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
