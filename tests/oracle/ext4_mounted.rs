//! A tree as the kernel sees it.

use std::collections::BTreeMap;
use std::fs::{self, Metadata};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::Path;
use std::sync::Arc;

use cardpress::image::ext4::FileKind;

use super::ext4_model::{Id, Kind, Model, Node, ROOT, Xattrs, join};

/// Everything below `root`, where an image is mounted.
pub(super) fn view(root: &Path) -> Result<Model, String> {
    let metadata = fs::symlink_metadata(root).map_err(|error| format!("the kernel: {error}"))?;
    let mut model = Model::new(node(root, &metadata, Kind::Directory(BTreeMap::new()))?);
    let mut seen = BTreeMap::from([(metadata.ino(), ROOT)]);
    view_directory(root, ROOT, &mut model, &mut seen)?;
    Ok(model)
}

fn view_directory(
    path: &Path,
    id: Id,
    model: &mut Model,
    seen: &mut BTreeMap<u64, Id>,
) -> Result<(), String> {
    let told = |path: &Path| {
        let path = path.display().to_string();
        move |error: std::io::Error| format!("the kernel: {path}: {error}")
    };
    for entry in fs::read_dir(path).map_err(told(path))? {
        let entry = entry.map_err(told(path))?;
        let child = entry.path();
        let name =
            entry.file_name().into_string().map_err(|name| format!("{} is not UTF-8", name.display()))?;
        let metadata = entry.metadata().map_err(told(&child))?;
        if let Some(known) = seen.get(&metadata.ino()) {
            model.link(id, &name, *known);
            continue;
        }
        let file_type = metadata.file_type();
        let kind = if file_type.is_dir() {
            Kind::Directory(BTreeMap::new())
        } else if file_type.is_symlink() {
            let target = fs::read_link(&child).map_err(told(&child))?;
            Kind::Symlink(target.to_str().ok_or_else(|| join("a target is not UTF-8: ", &name))?.to_owned())
        } else if file_type.is_file() {
            Kind::File(Arc::new(fs::read(&child).map_err(told(&child))?))
        } else {
            let device = (rustix::fs::major(metadata.rdev()), rustix::fs::minor(metadata.rdev()));
            if file_type.is_fifo() {
                Kind::Node(FileKind::Fifo, None)
            } else if file_type.is_socket() {
                Kind::Node(FileKind::Socket, None)
            } else if file_type.is_char_device() {
                Kind::Node(FileKind::CharacterDevice, Some(device))
            } else {
                Kind::Node(FileKind::BlockDevice, Some(device))
            }
        };
        let child_id = model.add(id, &name, node(&child, &metadata, kind)?);
        seen.insert(metadata.ino(), child_id);
        if file_type.is_dir() {
            view_directory(&child, child_id, model, seen)?;
        }
        if !file_type.is_dir() && metadata.nlink() == 0 {
            return Err(format!("the kernel: {}: no links", child.display()));
        }
    }
    // Adding children has forgotten it.
    let metadata = fs::symlink_metadata(path).map_err(told(path))?;
    model.set_modified(id, modified(&metadata));
    Ok(())
}

fn node(path: &Path, metadata: &Metadata, kind: Kind) -> Result<Node, String> {
    let mode = u16::try_from(metadata.mode() & 0o7777).expect("12 bits");
    let xattrs = match kind {
        Kind::Symlink(_) => None,
        _ => Some(xattrs(path).map_err(|error| format!("the kernel: {}: {error}", path.display()))?),
    };
    let (uid, gid) = (metadata.uid(), metadata.gid());
    Ok(Node { kind, mode, uid, gid, modified: modified(metadata), xattrs })
}

fn modified(metadata: &Metadata) -> Option<(i64, u32)> {
    Some((metadata.mtime(), u32::try_from(metadata.mtime_nsec()).expect("below 2^30")))
}

fn xattrs(path: &Path) -> Result<Xattrs, rustix::io::Errno> {
    let mut names = vec![0; 1 << 16];
    let len = rustix::fs::llistxattr(path, &mut names[..])?;
    let mut xattrs = Xattrs::new();
    for name in names[..len].split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        let mut value = vec![0; 1 << 16];
        let len = rustix::fs::lgetxattr(path, name, &mut value[..])?;
        value.truncate(len);
        xattrs.insert(String::from_utf8_lossy(name).into_owned(), value);
    }
    Ok(xattrs)
}
