//! A filesystem as a value: what each operation should leave behind, decided in the simplest way there is.

use std::collections::BTreeMap;
use std::sync::Arc;

use cardpress::image::ext4::FileKind;

use super::ext4_acl::{ACCESS, Acl};

/// Why an operation should fail; the editor's errors without their words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    NotFound,
    Exists,
    NotADirectory,
    IsADirectory,
    NotEmpty,
    SymlinkLoop,
    IsRoot,
    IntoItself,
    FileTooLarge,
    WrongKind,
    NoXattr,
    BadAcl,
    /// The source of the content ended early.
    Content,
}

/// Identifies a file, whatever its names are.
pub(super) type Id = usize;

/// One file of any kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Node {
    pub(super) kind: Kind,
    /// Permission bits.
    pub(super) mode: u16,
    pub(super) uid: u32,
    pub(super) gid: u32,
    /// Seconds and nanoseconds; `None` once an operation left it to the editor.
    pub(super) modified: Option<(i64, u32)>,
    /// Extended attributes, access control lists in the form of system calls; `None` from a reader that does not tell.
    pub(super) xattrs: Option<Xattrs>,
}

impl Node {
    /// The access control list of this name.
    pub(super) fn acl(&self, name: &str) -> Option<Acl> {
        self.xattrs.as_ref()?.get(name).map(|value| Acl::from_value(value))
    }

    /// Gives it a list, which the mode follows; one of access that says no more than a mode is only that.
    pub(super) fn set_acl(&mut self, name: &str, acl: Option<&Acl>) {
        if let (ACCESS, Some(acl)) = (name, acl) {
            self.mode = self.mode & !0o777 | acl.permissions();
        }
        let xattrs = self.xattrs.get_or_insert_default();
        match acl.filter(|acl| name != ACCESS || !acl.is_mode()) {
            Some(acl) => xattrs.insert(name.to_owned(), acl.value()),
            None => xattrs.remove(name),
        };
    }
}

/// By name, prefix included.
pub(super) type Xattrs = BTreeMap<String, Vec<u8>>;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    File(Arc<Vec<u8>>),
    Symlink(String),
    Directory(BTreeMap<String, Id>),
    /// And of a device its number; `None` from a reader that does not tell.
    Node(FileKind, Option<(u32, u32)>),
}

/// The whole filesystem.
#[derive(Clone, Debug)]
pub(super) struct Model {
    nodes: BTreeMap<Id, Node>,
    /// How many names each has.
    names: BTreeMap<Id, usize>,
    next: Id,
    /// Inodes of 128 bytes hold whole seconds up to 2038.
    pub(super) has_small_inodes: bool,
}

/// What every path should be: its node, and the first path of the same file.
pub(super) type Flat = BTreeMap<String, (Node, String)>;

pub(super) const ROOT: Id = 0;
/// As many as Linux follows.
const MOST_SYMLINKS: usize = 40;

/// What of a path exists, from the root down, and the names that do not.
struct Walk {
    found: Vec<(String, Id)>,
    missing: Vec<String>,
}

impl Walk {
    fn last(&self) -> Id {
        self.found.last().map_or(ROOT, |(_, id)| *id)
    }
}

/// Where a path leads: the directory, the last name (none for the root), and what has it.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) parent: Id,
    pub(super) name: String,
    pub(super) id: Option<Id>,
}

impl Model {
    /// Only a root.
    pub(super) fn new(root: Node) -> Self {
        Self {
            nodes: BTreeMap::from([(ROOT, root)]),
            names: BTreeMap::new(),
            next: ROOT + 1,
            has_small_inodes: false,
        }
    }

    pub(super) fn node(&self, id: Id) -> &Node {
        &self.nodes[&id]
    }

    pub(super) fn node_mut(&mut self, id: Id) -> &mut Node {
        self.nodes.get_mut(&id).expect("a live node")
    }

    /// What differs from `before`, or was not there.
    pub(super) fn changed(&self, before: &Self) -> impl Iterator<Item = &Node> {
        self.nodes.iter().filter(|(id, node)| before.nodes.get(id) != Some(node)).map(|(_, node)| node)
    }

    fn children(&self, id: Id) -> Result<&BTreeMap<String, Id>, Fault> {
        match &self.node(id).kind {
            Kind::Directory(children) => Ok(children),
            _ => Err(Fault::NotADirectory),
        }
    }

    fn children_mut(&mut self, id: Id) -> &mut BTreeMap<String, Id> {
        match &mut self.node_mut(id).kind {
            Kind::Directory(children) => children,
            _ => panic!("not a directory"),
        }
    }

    /// Adds a file under a name that is free.
    pub(super) fn add(&mut self, parent: Id, name: &str, node: Node) -> Id {
        let id = self.next;
        self.next += 1;
        self.nodes.insert(id, node);
        self.link(parent, name, id);
        id
    }

    pub(super) fn link(&mut self, parent: Id, name: &str, id: Id) {
        let before = self.children_mut(parent).insert(name.to_owned(), id);
        assert!(before.is_none(), "`{name}` is taken");
        *self.names.entry(id).or_default() += 1;
        self.node_mut(parent).modified = None;
    }

    pub(super) fn unlink(&mut self, parent: Id, name: &str) {
        let id = self.children_mut(parent).remove(name).expect("a name in use");
        self.node_mut(parent).modified = None;
        let names = self.names.get_mut(&id).expect("a name in use");
        *names -= 1;
        if *names == 0 {
            self.nodes.remove(&id);
            self.names.remove(&id);
        }
    }

    /// How many links a file should say it has.
    pub(super) fn links(&self, id: Id) -> usize {
        match &self.node(id).kind {
            Kind::Directory(children) => {
                let is_directory = |id: &&Id| matches!(self.node(**id).kind, Kind::Directory(_));
                2 + children.values().filter(is_directory).count()
            }
            _ => self.names[&id],
        }
    }

    pub(super) fn set_modified(&mut self, id: Id, modified: Option<(i64, u32)>) {
        self.node_mut(id).modified = modified;
    }

    /// Follows `path` as far as it exists. Symlinks on the way are followed; one at the end only if `follow`.
    fn walk(&self, path: &str, follow: bool) -> Result<Walk, Fault> {
        let mut rest: Vec<String> = names(path);
        rest.reverse();
        let mut walk = Walk { found: Vec::new(), missing: Vec::new() };
        let mut followed = 0;
        while let Some(name) = rest.pop() {
            if name == ".." {
                if walk.missing.pop().is_none() {
                    walk.found.pop();
                }
                continue;
            }
            if !walk.missing.is_empty() {
                walk.missing.push(name);
                continue;
            }
            match self.children(walk.last())?.get(&name).map(|id| (*id, &self.node(*id).kind)) {
                None => walk.missing.push(name),
                Some((_, Kind::Symlink(target))) if !rest.is_empty() || follow => {
                    followed += 1;
                    if followed > MOST_SYMLINKS {
                        return Err(Fault::SymlinkLoop);
                    }
                    if target.starts_with('/') {
                        walk.found.clear();
                    }
                    rest.extend(names(target).into_iter().rev());
                }
                Some((id, _)) => walk.found.push((name, id)),
            }
        }
        Ok(walk)
    }

    /// `path` without symlinks.
    pub(super) fn canonical(&self, path: &str, follow: bool) -> Result<String, Fault> {
        let walk = self.walk(path, follow)?;
        let names = walk.found.iter().map(|(name, _)| name).chain(&walk.missing);
        Ok(names.fold(String::from("/"), |path, name| join(&path, name)))
    }

    /// The directory that holds the last name of `path`, which must exist, and what the name stands for.
    pub(super) fn place(&self, path: &str, follow: bool) -> Result<Place, Fault> {
        let mut walk = self.walk(path, follow)?;
        let (name, id) = match (walk.missing.pop(), walk.found.len()) {
            (Some(name), _) => (name, None),
            (None, 0) => return Ok(Place { parent: ROOT, name: String::new(), id: Some(ROOT) }),
            (None, _) => walk.found.pop().map(|(name, id)| (name, Some(id))).expect("not empty"),
        };
        if !walk.missing.is_empty() {
            return Err(Fault::NotFound);
        }
        let parent = walk.last();
        self.children(parent)?;
        Ok(Place { parent, name, id })
    }

    /// What `path` stands for.
    pub(super) fn find(&self, path: &str, follow: bool) -> Result<Id, Fault> {
        self.place(path, follow)?.id.ok_or(Fault::NotFound)
    }

    /// All paths, for comparing; directories without their children.
    pub(super) fn flat(&self) -> Flat {
        let mut paths = Vec::new();
        self.list(ROOT, "/", &mut paths);
        let mut first: BTreeMap<Id, &str> = BTreeMap::new();
        for (path, id) in &paths {
            let least = first.entry(*id).or_insert(path);
            *least = (*least).min(path);
        }
        paths.iter().map(|(path, id)| (path.clone(), (self.bare(*id), first[id].to_owned()))).collect()
    }

    fn list(&self, id: Id, path: &str, paths: &mut Vec<(String, Id)>) {
        paths.push((path.to_owned(), id));
        if let Kind::Directory(children) = &self.node(id).kind {
            for (name, child) in children {
                self.list(*child, &join(path, name), paths);
            }
        }
    }

    fn bare(&self, id: Id) -> Node {
        let node = self.node(id);
        match node.kind {
            Kind::Directory(_) => {
                let Node { mode, uid, gid, modified, .. } = *node;
                let (kind, xattrs) = (Kind::Directory(BTreeMap::new()), node.xattrs.clone());
                Node { kind, mode, uid, gid, modified, xattrs }
            }
            _ => node.clone(),
        }
    }
}

/// The names of a path or of a symlink's target.
fn names(path: &str) -> Vec<String> {
    path.split('/').filter(|name| !matches!(*name, "" | ".")).map(str::to_owned).collect()
}

/// `name` in the directory `path`.
pub(super) fn join(path: &str, name: &str) -> String {
    if path == "/" { format!("/{name}") } else { format!("{path}/{name}") }
}
