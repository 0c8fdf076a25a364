//! Where a filesystem of one shape is judged: by e2fsck, and through ext4-view and the kernel, which share no code with
//! us.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;

use cardpress::block::{Overlay, ReadAt};
use cardpress::image::ext4::FileKind;
use ext4_view::{Ext4, Ext4Read, FileType};

use super::ext4_model::{Id, Kind, Model, Node, ROOT, join};
use super::ext4_mounted;
use crate::support::tools::{Workspace, mounted, run, text};

/// A filesystem that never changes, in memory.
#[derive(Clone, Copy, Debug)]
pub(super) struct Base(pub(super) &'static [u8]);

impl ReadAt for Base {
    fn len_bytes(&self) -> u64 {
        self.0.len() as u64
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<(), cardpress::block::Error> {
        cardpress::block::Error::check_bounds(offset, buf.len(), self.len_bytes())?;
        let start = usize::try_from(offset).expect("inside");
        buf.copy_from_slice(&self.0[start..start + buf.len()]);
        Ok(())
    }
}

/// A filesystem under edit.
pub(super) type Image = Rc<Overlay<Base>>;

/// The base as a file, for programs that want one.
pub(super) struct Bench {
    base: &'static [u8],
    path: PathBuf,
    file: File,
    _workspace: Workspace,
}

impl Bench {
    pub(super) fn new(base: &'static [u8]) -> Self {
        let workspace = Workspace::new();
        let path = workspace.path("image");
        std::fs::write(&path, base).expect("room for an image");
        let file = File::options().write(true).open(&path).expect("an image");
        Self { base, path, file, _workspace: workspace }
    }

    /// What e2fsck has against `image`; only what differs from the base is written, and then taken back.
    pub(super) fn e2fsck(&self, image: &Overlay<Base>) -> Result<(), String> {
        self.laid_down(image, || self.run_e2fsck())
    }

    /// The image as the kernel sees it; needs root.
    pub(super) fn mounted(&self, image: &Overlay<Base>) -> Result<Model, String> {
        self.laid_down(image, || mounted(&self.path, ext4_mounted::view))
    }

    fn run_e2fsck(&self) -> Result<(), String> {
        let said = run("e2fsck", ["-fn", text(&self.path)]);
        // Every problem is put as a question, which -n answers with no.
        if said.status == 0 && !said.text.contains('?') {
            return Ok(());
        }
        let kept = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("faulty.img");
        std::fs::copy(&self.path, &kept).expect("room for an image");
        let (status, kept) = (said.status, kept.display());
        Err(format!("e2fsck -fn: status {status}; image kept as {kept}\n{}", said.text))
    }

    /// Lets the file be `image` while `look` looks at it.
    fn laid_down<T>(&self, image: &Overlay<Base>, look: impl FnOnce() -> T) -> T {
        let dirty = image.dirty_extents();
        for extent in &dirty {
            let mut bytes = vec![0; usize::try_from(extent.len_bytes).expect("small")];
            image.read_at(extent.offset, &mut bytes).expect("inside");
            self.file.write_all_at(&bytes, extent.offset).expect("room for an image");
        }
        let seen = look();
        for extent in &dirty {
            let start = usize::try_from(extent.offset).expect("inside");
            let len = usize::try_from(extent.len_bytes).expect("small");
            self.file.write_all_at(&self.base[start..start + len], extent.offset).expect("room for an image");
        }
        seen
    }
}

/// Lets ext4-view read an image.
struct Through(Image);

impl Ext4Read for Through {
    fn read(
        &mut self,
        start_byte: u64,
        dst: &mut [u8],
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        Ok(self.0.read_at(start_byte, dst)?)
    }
}

/// The image as ext4-view sees it. Every name is a file of its own: ext4-view tells no inode numbers.
pub(super) fn view(image: &Image) -> Result<(Model, [u8; 16]), String> {
    let fs =
        Ext4::load(Box::new(Through(image.clone()))).map_err(|e| format!("ext4-view cannot open it: {e}"))?;
    let uuid = *fs.uuid().as_bytes();
    let root = fs.symlink_metadata("/").map_err(|e| format!("ext4-view: /: {e}"))?;
    let mut model = Model::new(node(&root, Kind::Directory(BTreeMap::new())));
    view_directory(&fs, &mut model, ROOT, "/")?;
    Ok((model, uuid))
}

fn view_directory(fs: &Ext4, model: &mut Model, id: Id, path: &str) -> Result<(), String> {
    let told = |path: &str| {
        let path = path.to_owned();
        move |error| format!("ext4-view: {path}: {error}")
    };
    for entry in fs.read_dir(path).map_err(told(path))? {
        let entry = entry.map_err(told(path))?;
        let name = entry.file_name().as_str().map_err(|e| format!("{path}: {e}"))?.to_owned();
        if name == "." || name == ".." {
            continue;
        }
        let path = join(path, &name);
        let metadata = entry.metadata().map_err(told(&path))?;
        let kind = match metadata.file_type() {
            FileType::Directory => Kind::Directory(BTreeMap::new()),
            FileType::Symlink => {
                let target = fs.read_link(&path).map_err(told(&path))?;
                Kind::Symlink(target.to_str().map_err(|e| format!("{path}: {e}"))?.to_owned())
            }
            FileType::Regular => Kind::File(Arc::new(fs.read(&path).map_err(told(&path))?)),
            FileType::Fifo => Kind::Node(FileKind::Fifo, None),
            FileType::Socket => Kind::Node(FileKind::Socket, None),
            FileType::CharacterDevice => Kind::Node(FileKind::CharacterDevice, None),
            FileType::BlockDevice => Kind::Node(FileKind::BlockDevice, None),
        };
        let is_directory = matches!(kind, Kind::Directory(_));
        let child = model.add(id, &name, node(&metadata, kind));
        if is_directory {
            view_directory(fs, model, child, &path)?;
        }
    }
    // Adding children has forgotten it.
    let metadata = fs.symlink_metadata(path).map_err(told(path))?;
    model.set_modified(id, modified(&metadata));
    Ok(())
}

fn node(metadata: &ext4_view::Metadata, kind: Kind) -> Node {
    let (uid, gid) = (metadata.uid(), metadata.gid());
    let modified = modified(metadata);
    Node { kind, mode: metadata.mode() & 0o7777, uid, gid, modified, xattrs: None }
}

fn modified(metadata: &ext4_view::Metadata) -> Option<(i64, u32)> {
    let time = metadata.modified();
    Some((time.seconds(), time.nanoseconds()))
}
