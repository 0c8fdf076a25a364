//! What each operation does to the model.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::ext4_acl::{ACCESS, Acl, DEFAULT};
use super::ext4_generate::{Bytes, Op};
use super::ext4_model::{Fault, Id, Kind, Model, Node, Place, Xattrs, join};
use super::ext4_shapes::big_name;

/// What a file with new content loses.
const CAPABILITY: &str = "security.capability";
/// What directories get that are made on the way.
pub(super) const ON_THE_WAY: (u16, u32, u32) = (0o751, 7, 70_000);

impl Op {
    /// The single steps of a bulk operation, each of which may fail by itself.
    pub(super) fn parts(&self) -> Vec<Op> {
        match self {
            Self::Fill { directory, prefix, count } => (0..*count)
                .map(|number| Self::Write {
                    path: join(directory, &format!("{prefix}{number}")),
                    bytes: Bytes { len: 0, seed: 0 },
                    mode: 0o644,
                    owner: (0, 0),
                })
                .collect(),
            Self::Drain { directory, start, count } => (*start..start + count)
                .map(|number| Self::Remove { path: join(directory, &big_name(number)) })
                .collect(),
            op => vec![op.clone()],
        }
    }
}

impl Model {
    /// Does `op`, or says why it cannot be done and changes nothing.
    pub(super) fn apply(&mut self, op: &Op) -> Result<(), Fault> {
        match op {
            Op::Write { path, bytes, mode, owner } => self.write(path, bytes.make(), *mode, *owner),
            Op::WriteFrom { path, bytes, mode, owner, ends_early } => {
                let mut after = self.clone();
                after.write(path, bytes.make(), *mode, *owner)?;
                if *ends_early {
                    return Err(Fault::Content);
                }
                *self = after;
                Ok(())
            }
            Op::Append { path, bytes } => self.change(path, |old| old.extend(bytes.make())),
            Op::WriteAt { path, offset, bytes } => self.change(path, |old| {
                let start = usize::try_from(*offset).expect("small");
                let new = bytes.make();
                if !new.is_empty() {
                    old.resize(old.len().max(start + new.len()), 0);
                    old[start..start + new.len()].copy_from_slice(&new);
                }
            }),
            Op::Truncate { path, len } => {
                self.change(path, |old| old.resize(usize::try_from(*len).expect("small"), 0))
            }
            Op::Mkdir { path, mode, owner } => {
                let place =
                    self.free_place(path).map_err(|f| if f == Fault::IsRoot { Fault::Exists } else { f })?;
                self.create(&place, directory(*mode, *owner));
                Ok(())
            }
            Op::MkdirAll { path } => self.mkdir_all(path),
            Op::Symlink { path, target } => {
                let place = self.free_place(path)?;
                let kind = Kind::Symlink(target.clone());
                self.create(&place, new(kind, 0o777, (0, 0)));
                Ok(())
            }
            Op::MakeNode { path, kind, device, mode } => {
                let place = self.free_place(path)?;
                self.create(&place, new(Kind::Node(*kind, *device), *mode, (0, 0)));
                Ok(())
            }
            Op::SetXattr { path, name, bytes } => {
                let id = self.find(path, true)?;
                if name.starts_with("user.") && matches!(self.node(id).kind, Kind::Node(..)) {
                    return Err(Fault::WrongKind);
                }
                self.xattrs_mut(id).insert(name.clone(), xattr_value(name, *bytes));
                Ok(())
            }
            Op::RemoveXattr { path, name } => {
                let id = self.find(path, true)?;
                self.xattrs_mut(id).remove(name).map(drop).ok_or(Fault::NoXattr)
            }
            Op::SetAcl { path, name, acl } => {
                let id = self.find(path, true)?;
                let node = self.node_mut(id);
                if *name == DEFAULT && !matches!(node.kind, Kind::Directory(_)) {
                    return Err(Fault::NotADirectory);
                }
                if acl.as_ref().is_some_and(|acl| !acl.is_sound()) {
                    return Err(Fault::BadAcl);
                }
                node.set_acl(name, acl.as_ref());
                Ok(())
            }
            Op::HardLink { from, to } => {
                let id = self.find(from, false)?;
                if matches!(self.node(id).kind, Kind::Directory(_)) {
                    return Err(Fault::IsADirectory);
                }
                let place = self.free_place(to)?;
                self.link(place.parent, &place.name, id);
                Ok(())
            }
            Op::Rename { from, to } => self.rename(from, to),
            Op::Remove { path } => {
                let (place, id) = self.taken_place(path)?;
                if matches!(&self.node(id).kind, Kind::Directory(children) if !children.is_empty()) {
                    return Err(Fault::NotEmpty);
                }
                self.unlink(place.parent, &place.name);
                Ok(())
            }
            Op::RemoveAll { path } => {
                let (place, id) = self.taken_place(path)?;
                self.empty(id);
                self.unlink(place.parent, &place.name);
                Ok(())
            }
            Op::SetMode { path, mode } => {
                let id = self.find(path, true)?;
                let node = self.node_mut(id);
                node.mode = *mode;
                if let Some(mut acl) = node.acl(ACCESS) {
                    acl.set_permissions(*mode);
                    node.set_acl(ACCESS, Some(&acl));
                }
                Ok(())
            }
            Op::SetOwner { path, uid, gid } => {
                let id = self.find(path, true)?;
                let node = self.node_mut(id);
                (node.uid, node.gid) = (*uid, *gid);
                Ok(())
            }
            Op::SetTimes { path, seconds, nanoseconds } => {
                let id = self.find(path, true)?;
                let small = (*seconds.min(&i64::from(i32::MAX)), 0);
                let time = if self.has_small_inodes { small } else { (*seconds, *nanoseconds) };
                self.node_mut(id).modified = Some(time);
                Ok(())
            }
            Op::SetUuid { .. } | Op::Commit => Ok(()),
            Op::Fill { .. } | Op::Drain { .. } => {
                // What happens after one of them fails does not depend on it.
                op.parts().iter().try_for_each(|part| self.apply(part))
            }
        }
    }

    /// Adds a file with what it inherits from the directory's default access control list.
    fn create(&mut self, place: &Place, mut node: Node) {
        let default = self.node(place.parent).acl(DEFAULT);
        if let Some(default) = default.filter(|_| !matches!(node.kind, Kind::Symlink(_))) {
            node.set_acl(ACCESS, Some(&default.inherited(node.mode)));
            if matches!(node.kind, Kind::Directory(_)) {
                node.set_acl(DEFAULT, Some(&default));
            }
        }
        self.add(place.parent, &place.name, node);
    }

    fn write(&mut self, path: &str, content: Vec<u8>, mode: u16, owner: (u32, u32)) -> Result<(), Fault> {
        let place = self.place(path, true)?;
        let kind = Kind::File(Arc::new(content));
        let Some(id) = place.id else {
            self.create(&place, new(kind, mode, owner));
            return Ok(());
        };
        let node = self.node_mut(id);
        check_file(node)?;
        node.kind = kind;
        node.modified = None;
        self.xattrs_mut(id).remove(CAPABILITY);
        Ok(())
    }

    fn change(&mut self, path: &str, change: impl FnOnce(&mut Vec<u8>)) -> Result<(), Fault> {
        let id = self.find(path, true)?;
        let node = self.node_mut(id);
        check_file(node)?;
        if let Kind::File(content) = &mut node.kind {
            change(Arc::make_mut(content));
        }
        node.modified = None;
        self.xattrs_mut(id).remove(CAPABILITY);
        Ok(())
    }

    fn mkdir_all(&mut self, path: &str) -> Result<(), Fault> {
        let (mode, uid, gid) = ON_THE_WAY;
        let mut done = String::new();
        for name in self.canonical(path, true)?.split('/').filter(|name| !name.is_empty()) {
            done = format!("{done}/{name}");
            let place = self.place(&done, false)?;
            match place.id.map(|id| &self.node(id).kind) {
                Some(Kind::Directory(_)) => {}
                Some(_) => return Err(Fault::NotADirectory),
                None => {
                    self.create(&place, directory(mode, (uid, gid)));
                }
            }
        }
        Ok(())
    }

    fn rename(&mut self, from: &str, to: &str) -> Result<(), Fault> {
        let (source, target) = (self.canonical(from, false)?, self.canonical(to, false)?);
        let (old, id) = self.taken_place(from)?;
        if source == target {
            return Ok(());
        }
        if target.starts_with(&join(&source, "")) {
            return Err(Fault::IntoItself);
        }
        let new = self.place(to, false)?;
        if new.name.is_empty() {
            return Err(Fault::IsRoot);
        }
        if let Some(replaced) = new.id {
            if replaced == id {
                return Ok(());
            }
            match (&self.node(id).kind, &self.node(replaced).kind) {
                (Kind::Directory(_), Kind::Directory(children)) if children.is_empty() => {}
                (Kind::Directory(_), Kind::Directory(_)) => return Err(Fault::NotEmpty),
                (Kind::Directory(_), _) => return Err(Fault::NotADirectory),
                (_, Kind::Directory(_)) => return Err(Fault::IsADirectory),
                _ => {}
            }
            self.unlink(new.parent, &new.name);
        }
        self.link(new.parent, &new.name, id);
        self.unlink(old.parent, &old.name);
        Ok(())
    }

    fn xattrs_mut(&mut self, id: Id) -> &mut Xattrs {
        self.node_mut(id).xattrs.get_or_insert_default()
    }

    /// Whether the attributes of each file that `op` changes or makes fit a block: then they must have fitted the inode
    /// and a block.
    pub(super) fn has_room(&self, op: &Op, block_len: usize) -> bool {
        let mut after = self.clone();
        let len = |(name, value): (&String, &Vec<u8>)| match name.as_str() {
            ACCESS | DEFAULT => 16 + Acl::from_value(value).disk_len(),
            name => {
                let name = name.split_once('.').map_or(0, |(_, rest)| rest.len());
                16 + name.next_multiple_of(4) + value.len().next_multiple_of(4)
            }
        };
        let fits = |node: &Node| node.xattrs.iter().flatten().map(len).sum::<usize>() <= block_len - 36;
        after.apply(op).is_ok() && after.changed(self).all(fits)
    }

    fn empty(&mut self, id: Id) {
        let Kind::Directory(children) = &self.node(id).kind else { return };
        for (name, child) in children.clone() {
            self.empty(child);
            self.unlink(id, &name);
        }
    }

    /// A name that nothing has.
    fn free_place(&self, path: &str) -> Result<Place, Fault> {
        let place = self.place(path, false)?;
        if place.name.is_empty() {
            return Err(Fault::IsRoot);
        }
        if place.id.is_some() { Err(Fault::Exists) } else { Ok(place) }
    }

    /// A name that something has.
    fn taken_place(&self, path: &str) -> Result<(Place, Id), Fault> {
        let place = self.place(path, false)?;
        if place.name.is_empty() {
            return Err(Fault::IsRoot);
        }
        let id = place.id.ok_or(Fault::NotFound)?;
        Ok((place, id))
    }
}

fn directory(mode: u16, owner: (u32, u32)) -> Node {
    new(Kind::Directory(BTreeMap::new()), mode, owner)
}

fn new(kind: Kind, mode: u16, (uid, gid): (u32, u32)) -> Node {
    Node { kind, mode, uid, gid, modified: None, xattrs: Some(Xattrs::new()) }
}

/// What an attribute is set to: the kernel reads capabilities, so they are some (`struct vfs_cap_data` of version 2).
pub(super) fn xattr_value(name: &str, bytes: Bytes) -> Vec<u8> {
    if name != CAPABILITY {
        return bytes.make();
    }
    [&0x0200_0000_u32.to_le_bytes()[..], &Bytes { len: 16, ..bytes }.make()].concat()
}

/// Refuses what has no content.
fn check_file(node: &Node) -> Result<(), Fault> {
    match node.kind {
        Kind::File(_) => Ok(()),
        Kind::Node(..) => Err(Fault::WrongKind),
        _ => Err(Fault::IsADirectory),
    }
}
