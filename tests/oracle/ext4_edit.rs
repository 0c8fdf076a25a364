//! The same operations, done by the editor.

use std::collections::BTreeMap;
use std::sync::Arc;

use cardpress::base::ImagePath;
use cardpress::image::ext4::{Error, FileKind, Filesystem, NewAttributes, NodeKind, Stat, Timestamp, Xattr};

use super::ext4_acl::Acl;
use super::ext4_apply::{ON_THE_WAY, xattr_value};
use super::ext4_generate::Op;
use super::ext4_model::{Fault, Id, Kind, Model, Node, ROOT, Xattrs, join};

/// What the editor made of an operation.
#[derive(Debug)]
pub(super) enum Verdict {
    Done,
    Fault(Fault),
    /// Blocks or inodes ran out.
    NoRoom(String),
    /// Extended attributes of one file have no room.
    Full,
    /// Nothing that a sound filesystem should give cause to.
    Broken(String),
}

fn path(text: &str) -> ImagePath {
    text.parse().expect("a path that the generator made")
}

/// Does one operation, which is no bulk one.
pub(super) fn edit(fs: &mut Filesystem<'_>, op: &Op) -> Verdict {
    let new = |mode: u16, (uid, gid): (u32, u32)| NewAttributes { mode, uid, gid };
    let done = match op {
        Op::Write { path: p, bytes, mode, owner } => {
            fs.write_file(&path(p), &bytes.make(), new(*mode, *owner))
        }
        Op::WriteFrom { path: p, bytes, mode, owner, ends_early } => {
            let content = bytes.make();
            let mut source = &content[..content.len() - usize::from(*ends_early)];
            fs.write_from(&path(p), &mut source, content.len() as u64, new(*mode, *owner))
        }
        Op::MakeNode { path: p, kind, device, mode } => {
            let kind = match (kind, device) {
                (FileKind::Fifo, _) => NodeKind::Fifo,
                (FileKind::Socket, _) => NodeKind::Socket,
                (FileKind::CharacterDevice, Some((major, minor))) => {
                    NodeKind::CharacterDevice { major: *major, minor: *minor }
                }
                (FileKind::BlockDevice, Some((major, minor))) => {
                    NodeKind::BlockDevice { major: *major, minor: *minor }
                }
                other => panic!("no node: {other:?}"),
            };
            fs.make_node(&path(p), kind, new(*mode, (0, 0)))
        }
        Op::SetXattr { path: p, name, bytes } => {
            fs.set_xattr(&path(p), name.as_bytes(), &xattr_value(name, *bytes))
        }
        Op::SetAcl { path: p, name, acl } => {
            let value = acl.clone().unwrap_or(Acl(Vec::new())).value();
            fs.set_xattr(&path(p), name.as_bytes(), &value)
        }
        Op::RemoveXattr { path: p, name } => fs.remove_xattr(&path(p), name.as_bytes()),
        Op::Append { path: p, bytes } => fs.append(&path(p), &bytes.make()),
        Op::WriteAt { path: p, offset, bytes } => fs.write_at(&path(p), *offset, &bytes.make()),
        Op::Truncate { path: p, len } => fs.truncate(&path(p), *len),
        Op::Mkdir { path: p, mode, owner } => fs.mkdir(&path(p), new(*mode, *owner)),
        Op::MkdirAll { path: p } => fs.mkdir_all(&path(p), new(ON_THE_WAY.0, (ON_THE_WAY.1, ON_THE_WAY.2))),
        Op::Symlink { path: p, target } => fs.symlink(&path(p), target.as_bytes(), 0, 0),
        Op::HardLink { from, to } => fs.hard_link(&path(from), &path(to)),
        Op::Rename { from, to } => fs.rename(&path(from), &path(to)),
        Op::Remove { path: p } => fs.remove(&path(p)),
        Op::RemoveAll { path: p } => fs.remove_all(&path(p)),
        Op::SetMode { path: p, mode } => fs.set_mode(&path(p), *mode),
        Op::SetOwner { path: p, uid, gid } => fs.set_owner(&path(p), *uid, *gid),
        Op::SetTimes { path: p, seconds, nanoseconds } => {
            let time = Timestamp { seconds: *seconds, nanoseconds: *nanoseconds };
            fs.set_times(&path(p), time, time)
        }
        Op::SetUuid { byte } => fs.set_uuid([*byte; 16]),
        Op::Fill { .. } | Op::Drain { .. } => panic!("to be done in parts"),
        Op::Commit => fs.commit(),
    };
    let Err(error) = done else { return Verdict::Done };
    match &error {
        Error::NotFound { .. } => Verdict::Fault(Fault::NotFound),
        Error::Exists { .. } => Verdict::Fault(Fault::Exists),
        Error::NotADirectory { .. } => Verdict::Fault(Fault::NotADirectory),
        Error::IsADirectory { .. } => Verdict::Fault(Fault::IsADirectory),
        Error::NotEmpty { .. } => Verdict::Fault(Fault::NotEmpty),
        Error::SymlinkLoop { .. } => Verdict::Fault(Fault::SymlinkLoop),
        Error::IsRoot => Verdict::Fault(Fault::IsRoot),
        Error::IntoItself { .. } => Verdict::Fault(Fault::IntoItself),
        Error::WrongKind { .. } => Verdict::Fault(Fault::WrongKind),
        Error::NoXattr { .. } => Verdict::Fault(Fault::NoXattr),
        Error::BadAcl { .. } => Verdict::Fault(Fault::BadAcl),
        Error::Content { .. } => Verdict::Fault(Fault::Content),
        Error::XattrRoom { .. } => Verdict::Full,
        Error::FileTooLarge { .. } => Verdict::Fault(Fault::FileTooLarge),
        // More was free than was asked for: then it was not for want of room.
        Error::NoSpace { needed_blocks, free_blocks } if needed_blocks > free_blocks => {
            Verdict::NoRoom(error.to_string())
        }
        Error::NoInodes { .. } => Verdict::NoRoom(error.to_string()),
        _ => Verdict::Broken(format!("{error} ({error:?})")),
    }
}

/// The filesystem as the editor reads it, and what is wrong with what it says of itself.
pub(super) fn read(fs: &Filesystem<'_>) -> Result<Model, String> {
    let told = |path: &ImagePath| {
        let path = path.to_string();
        move |error: Error| format!("our reader: {path}: {error} ({error:?})")
    };
    let root = ImagePath::root();
    let stat = fs.stat(&root, false).map_err(told(&root))?;
    let mut model = Model::new(node(&stat, Kind::Directory(BTreeMap::new()), Some(xattrs(fs, &root)?)));
    // By inode: the file, and how many links it says it has.
    let mut seen: BTreeMap<u32, (Id, u16)> = BTreeMap::from([(stat.inode, (ROOT, stat.links))]);
    let mut left = vec![(ROOT, root)];
    while let Some((parent, parent_path)) = left.pop() {
        for entry in fs.read_dir(&parent_path).map_err(told(&parent_path))? {
            let name = String::from_utf8(entry.name).map_err(|e| e.to_string())?;
            let child_path = path(&join(parent_path.as_str(), &name));
            let stat = fs.stat(&child_path, false).map_err(told(&child_path))?;
            if (stat.inode, stat.kind) != (entry.inode, entry.kind) {
                return Err(format!(
                    "our reader: {child_path}: the entry says {}, {}: {stat:?}",
                    entry.inode, entry.kind
                ));
            }
            if let Some((id, _)) = seen.get(&stat.inode) {
                model.link(parent, &name, *id);
                continue;
            }
            let kind = match stat.kind {
                FileKind::Directory => Kind::Directory(BTreeMap::new()),
                FileKind::Symlink => {
                    let target = fs.read_link(&child_path).map_err(told(&child_path))?;
                    Kind::Symlink(String::from_utf8(target).map_err(|e| e.to_string())?)
                }
                FileKind::Regular => {
                    let content = fs.read_file(&child_path, u64::MAX).map_err(told(&child_path))?;
                    Kind::File(Arc::new(content))
                }
                other => Kind::Node(other, stat.device),
            };
            let len_bytes = match &kind {
                Kind::File(content) => Some(content.len()),
                Kind::Symlink(target) => Some(target.len()),
                Kind::Directory(_) => None,
                Kind::Node(..) => Some(0),
            };
            if len_bytes.is_some_and(|len| len as u64 != stat.len_bytes) {
                return Err(format!("our reader: {child_path}: found {len_bytes:?} bytes: {stat:?}"));
            }
            let is_link = stat.kind == FileKind::Symlink;
            let xattrs = if is_link { None } else { Some(xattrs(fs, &child_path)?) };
            let id = model.add(parent, &name, node(&stat, kind, xattrs));
            seen.insert(stat.inode, (id, stat.links));
            if stat.kind == FileKind::Directory {
                left.push((id, child_path));
            }
        }
        // Adding children has forgotten it.
        let stat = fs.stat(&parent_path, false).map_err(told(&parent_path))?;
        model.set_modified(parent, modified(&stat));
    }
    for (inode, (id, links)) in seen {
        if model.links(id) != usize::from(links) {
            return Err(format!(
                "our reader: inode {inode} has {} names and says {links} links",
                model.links(id)
            ));
        }
    }
    Ok(model)
}

fn node(stat: &Stat, kind: Kind, xattrs: Option<Xattrs>) -> Node {
    Node { kind, mode: stat.mode, uid: stat.uid, gid: stat.gid, modified: modified(stat), xattrs }
}

fn xattrs(fs: &Filesystem<'_>, path: &ImagePath) -> Result<Xattrs, String> {
    let xattrs = fs.xattrs(path).map_err(|error| format!("our reader: {path}: {error} ({error:?})"))?;
    let named = |xattr: Xattr| Some((String::from_utf8(xattr.name).ok()?, xattr.value));
    xattrs.into_iter().map(named).collect::<Option<_>>().ok_or_else(|| format!("{path}: a name is not UTF-8"))
}

fn modified(stat: &Stat) -> Option<(i64, u32)> {
    Some((stat.modified.seconds, stat.modified.nanoseconds))
}
