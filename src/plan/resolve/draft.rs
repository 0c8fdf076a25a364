//! A node while it is being decided: the image's tree with changes on top, turned into edits at the end.
//!
//! Sections read what a path holds *now* (the image's text, or what an earlier section made of it) and set it. So
//! every file is written at most once however many sections touch it, and a file that ends as it began not at all.

use std::collections::BTreeMap;

use super::Problem;
use super::accounts::Accounts;
use crate::base::ImagePath;
use crate::plan::{Action, Content, Edit, FileFact, Owner, Tree};

/// What one node has become so far.
pub(super) struct Draft<'a> {
    tree: &'a Tree,
    section: &'static str,
    /// The account files; written back by [`Draft::finish`].
    pub(super) accounts: Accounts,
    files: BTreeMap<ImagePath, FileDraft>,
    directories: BTreeMap<ImagePath, (&'static str, u16, Owner)>,
    links: BTreeMap<ImagePath, (&'static str, String)>,
    removals: BTreeMap<ImagePath, &'static str>,
    renames: Vec<(&'static str, ImagePath, ImagePath)>,
    last: Vec<Edit>,
    /// Commands for the first boot that sections need done on the node itself: name and shell lines.
    pub(super) first_boot_steps: Vec<(&'static str, String)>,
    /// Units to enable once the packages are there.
    pub(super) late_units: Vec<String>,
    pub(super) warnings: Vec<String>,
    pub(super) faults: Vec<(&'static str, Problem)>,
}

struct FileDraft {
    section: &'static str,
    content: Content,
    mode: Option<u16>,
    owner: Option<Owner>,
}

impl<'a> Draft<'a> {
    pub(super) fn new(tree: &'a Tree) -> Self {
        Self {
            tree,
            section: "",
            accounts: Accounts::default(),
            files: BTreeMap::new(),
            directories: BTreeMap::new(),
            links: BTreeMap::new(),
            removals: BTreeMap::new(),
            renames: Vec::new(),
            last: Vec::new(),
            first_boot_steps: Vec::new(),
            late_units: Vec::new(),
            warnings: Vec::new(),
            faults: Vec::new(),
        }
    }

    /// Says who makes the changes that follow.
    pub(super) fn enter(&mut self, section: &'static str) {
        self.section = section;
    }

    pub(super) fn fault(&mut self, problem: Problem) {
        self.faults.push((self.section, problem));
    }

    pub(super) fn warn(&mut self, text: impl Into<String>) {
        let text = format!("{}: {}", self.section, text.into());
        if !self.warnings.contains(&text) {
            self.warnings.push(text);
        }
    }

    /// The path of `text`; a fault when it is none.
    pub(super) fn path(&mut self, text: &str) -> Option<ImagePath> {
        match text.parse() {
            Ok(path) => Some(self.spelled(path)),
            Err(error) => {
                self.fault(Problem::Path(error));
                None
            }
        }
    }

    /// One spelling for one place: where /usr is merged, `/lib/x` is `/usr/lib/x`.
    fn spelled(&self, path: ImagePath) -> ImagePath {
        let Some(top) = path.names().next().map(|name| format!("/{name}")) else { return path };
        let merged = format!("/usr{top}");
        match self.tree.get(&top).and_then(|found| found.link.as_deref()) {
            Some(link) if link == merged || link == &merged[1..] => {
                format!("/usr{path}").parse().unwrap_or(path)
            }
            _ => path,
        }
    }

    fn parsed(&self, text: &str) -> Option<ImagePath> {
        Some(self.spelled(text.parse().ok()?))
    }

    /// Where in the image's own tree `path` comes from: renames undone. `None` when something took it away.
    fn origin(&self, path: &ImagePath) -> Option<ImagePath> {
        let gone = |dir: &ImagePath| path.below(dir).is_some();
        if self.removals.keys().any(gone) {
            return None;
        }
        for (_, from, to) in &self.renames {
            if let Some(rest) = path.below(to) {
                return if rest.is_empty() { Some(from.clone()) } else { from.join(rest).ok() };
            }
            if gone(from) {
                return None;
            }
        }
        Some(path.clone())
    }

    /// Follows a link that leads to a file, one step at a time, so that both names of a file are one draft.
    fn canonical(&self, path: ImagePath) -> ImagePath {
        let mut path = path;
        for _ in 0..8 {
            // A link of ours does not lead where the image's own did.
            if self.links.contains_key(&path) {
                break;
            }
            let Some(found) = self.origin(&path).and_then(|origin| self.tree.get(origin.as_str())) else {
                break;
            };
            let (Some(link), Some(FileFact::File { .. })) = (&found.link, &found.target) else { break };
            let Some(next) = follow(&path, link).map(|next| self.spelled(next)) else { break };
            // A link into a part of the tree that was not read: the writer follows it as well as we do.
            if self.tree.get(next.as_str()).is_none() {
                break;
            }
            path = next;
        }
        path
    }

    fn found(&self, path: &str) -> Option<&'a FileFact> {
        let path = self.parsed(path)?;
        self.tree.get(self.origin(&path)?.as_str())?.target.as_ref()
    }

    /// The text of the link at `path` as it is now, if it is one.
    pub(super) fn link_text(&self, path: &str) -> Option<String> {
        let path = self.parsed(path)?;
        if let Some((_, target)) = self.links.get(&path) {
            return Some(target.clone());
        }
        self.tree.get(self.origin(&path)?.as_str())?.link.clone()
    }

    /// Is anything at `path` now?
    pub(super) fn exists(&self, path: &str) -> bool {
        let Some(path) = self.parsed(path) else { return false };
        self.files.contains_key(&path)
            || self.links.contains_key(&path)
            || self.directories.contains_key(&path)
            || self.origin(&path).is_some_and(|origin| self.tree_has(&origin))
    }

    /// Is it there in the image itself, whatever the draft did?
    pub(super) fn in_image(&self, path: &str) -> bool {
        self.parsed(path).is_some_and(|path| self.tree_has(&path))
    }

    /// In the tree by itself, or named by the directory that holds it.
    fn tree_has(&self, path: &ImagePath) -> bool {
        let named = || {
            let (dir, name) = (path.parent()?, path.file_name()?);
            Some(self.tree.names(dir.as_str()).iter().any(|other| other == name))
        };
        self.tree.exists(path.as_str()) || named() == Some(true)
    }

    fn tree_has_link(&self, path: &ImagePath) -> bool {
        let found = self.origin(path).and_then(|origin| self.tree.get(origin.as_str()));
        found.is_some_and(|found| found.link.is_some())
    }

    /// What the file holds now; `None` when there is none.
    pub(super) fn bytes(&self, path: &str) -> Option<Vec<u8>> {
        let path = self.canonical(self.parsed(path)?);
        if let Some(file) = self.files.get(&path) {
            return Some(file.content.bytes().to_vec());
        }
        match self.found(path.as_str())? {
            FileFact::File { content, .. } => Some(content.clone()),
            _ => None,
        }
    }

    /// The same as text; bytes that are no UTF-8 are a fault, because rewriting them would spoil them.
    pub(super) fn text(&mut self, path: &str) -> Option<String> {
        match String::from_utf8(self.bytes(path)?) {
            Ok(text) => Some(text),
            Err(_) => {
                self.fault(Problem::NotText { path: path.to_owned() });
                None
            }
        }
    }

    /// Mode of a file or directory of the image.
    pub(super) fn mode(&self, path: &str) -> Option<u16> {
        match self.found(path)? {
            FileFact::File { mode, .. } | FileFact::Directory { mode, .. } => Some(*mode),
            FileFact::Other => None,
        }
    }

    pub(super) fn is_directory(&self, path: &str) -> bool {
        matches!(self.found(path), Some(FileFact::Directory { .. }))
    }

    /// The names in a directory of the image, sorted.
    pub(super) fn names(&self, path: &str) -> Vec<String> {
        match self.found(path) {
            Some(FileFact::Directory { names, .. }) => names.clone(),
            _ => Vec::new(),
        }
    }

    /// Sets the whole file; mode and owner stay as they are, or become 0644 root:root.
    pub(super) fn write(&mut self, path: &str, text: impl Into<String>) {
        self.write_with(path, Content::text(text), None, None);
    }

    /// Sets the whole file, its mode and its owner; `None` keeps.
    pub(super) fn write_with(
        &mut self,
        path: &str,
        content: Content,
        mode: Option<u16>,
        owner: Option<Owner>,
    ) {
        let Some(path) = self.path(path) else { return };
        let path = self.canonical(path);
        if self.links.remove(&path).is_some() && self.tree_has_link(&path) {
            // What a section made a link of is a file now: not written through the image's own link.
            self.removals.insert(path.clone(), self.section);
        }
        let before = self.files.get(&path).map(|file| (file.mode, file.owner));
        let (old_mode, old_owner) = before.unwrap_or_default();
        let mode = mode.or(old_mode);
        let owner = owner.or(old_owner);
        self.files.insert(path, FileDraft { section: self.section, content, mode, owner });
    }

    pub(super) fn make_directory(&mut self, path: &str, mode: u16, owner: Owner) {
        let Some(path) = self.path(path) else { return };
        self.directories.insert(path, (self.section, mode, owner));
    }

    pub(super) fn symlink(&mut self, path: &str, target: impl Into<String>) {
        let Some(path) = self.path(path) else { return };
        self.files.remove(&path);
        self.directories.remove(&path);
        self.links.insert(path, (self.section, target.into()));
    }

    /// Takes the path away, with whatever earlier sections put at or below it.
    pub(super) fn remove(&mut self, path: &str) {
        let Some(path) = self.path(path) else { return };
        let stays = |other: &ImagePath| other.below(&path).is_none();
        self.files.retain(|other, _| stays(other));
        self.links.retain(|other, _| stays(other));
        self.directories.retain(|other, _| stays(other));
        let in_tree = self.origin(&path).is_some_and(|origin| self.tree_has(&origin));
        if in_tree {
            self.removals.insert(path, self.section);
        }
    }

    pub(super) fn rename(&mut self, from: &str, to: &str) {
        let (Some(from), Some(to)) = (self.path(from), self.path(to)) else { return };
        self.renames.push((self.section, from, to));
    }

    /// Changes that are no file: done after all others, in this order.
    pub(super) fn finally(&mut self, action: Action) {
        self.last.push(Edit { section: self.section, action });
    }

    /// The edits, in the order they are to be done.
    pub(super) fn finish(mut self) -> (Vec<Edit>, Vec<String>, Vec<(&'static str, Problem)>) {
        let mut edits = Vec::new();
        let mut attributes = Vec::new();
        // Renames before removals: a removal speaks of the new names.
        for (section, from, to) in self.renames.clone() {
            edits.push(Edit { section, action: Action::Rename { from, to } });
        }
        for (path, section) in self.removals.clone() {
            if !self.replaces(&path) {
                edits.push(Edit { section, action: Action::Remove { path } });
            }
        }
        for (path, (section, mode, owner)) in std::mem::take(&mut self.directories) {
            if !self.has_directory(&path, mode, owner) {
                edits.push(Edit { section, action: Action::MakeDirectory { path, mode, owner } });
            }
        }
        for (path, mut file) in std::mem::take(&mut self.files) {
            if self.removals.contains_key(&path) {
                // A new file in the old one's place, not the old one rewritten.
                file.mode = file.mode.or(Some(0o644));
                file.owner = file.owner.or(Some(Owner::ROOT));
            }
            let FileDraft { section, content, mode, owner } = file;
            match self.change_of(&path, &content, mode, owner) {
                Change::None => {}
                Change::Attributes => {
                    attributes.push(Edit { section, action: Action::SetAttributes { path, mode, owner } });
                }
                Change::Content => {
                    edits.push(Edit { section, action: Action::WriteFile { path, content, mode, owner } });
                }
            }
        }
        for (path, (section, target)) in std::mem::take(&mut self.links) {
            let same = self.tree.get(path.as_str()).is_some_and(|found| found.link.as_ref() == Some(&target));
            if !same {
                edits.push(Edit { section, action: Action::Symlink { path, target } });
            }
        }
        edits.extend(attributes);
        edits.append(&mut self.last);
        (edits, self.warnings, self.faults)
    }

    /// Does a file or link of ours take the place of what was removed at `path`? A file is written through a
    /// link, so a link must go first; a directory gives way to neither.
    fn replaces(&self, path: &ImagePath) -> bool {
        let Some(old) = self.tree.get(path.as_str()) else { return false };
        let is_file = matches!(old.target, Some(FileFact::File { .. }));
        let plain_file = old.link.is_none() && is_file;
        (self.files.contains_key(path) && plain_file)
            || (self.links.contains_key(path) && (plain_file || old.link.is_some()))
    }

    fn has_directory(&self, path: &ImagePath, wanted_mode: u16, wanted: Owner) -> bool {
        match self.found(path.as_str()) {
            Some(FileFact::Directory { mode, uid, gid, .. }) => {
                *mode == wanted_mode && Owner { uid: *uid, gid: *gid } == wanted
            }
            _ => false,
        }
    }

    fn change_of(
        &self,
        path: &ImagePath,
        wanted: &Content,
        wanted_mode: Option<u16>,
        wanted_owner: Option<Owner>,
    ) -> Change {
        let Some(FileFact::File { content, mode, uid, gid }) = self.found(path.as_str()) else {
            return Change::Content;
        };
        if content != wanted.bytes() {
            return Change::Content;
        }
        let same_mode = wanted_mode.is_none_or(|wanted| wanted == *mode);
        let same_owner = wanted_owner.is_none_or(|wanted| wanted == Owner { uid: *uid, gid: *gid });
        if same_mode && same_owner { Change::None } else { Change::Attributes }
    }
}

/// What a file's draft comes to.
enum Change {
    None,
    Attributes,
    Content,
}

/// Where the link at `path` leads, `..` taken off name by name. Good for links whose way has no links itself.
fn follow(path: &ImagePath, link: &str) -> Option<ImagePath> {
    let mut names: Vec<&str> = Vec::new();
    let parent = path.parent()?;
    if !link.starts_with('/') {
        names.extend(parent.names());
    }
    for name in link.split('/') {
        match name {
            "" | "." => {}
            ".." => {
                names.pop();
            }
            name => names.push(name),
        }
    }
    format!("/{}", names.join("/")).parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Found;

    fn file(text: &str) -> Found {
        let content = text.as_bytes().to_vec();
        Found { link: None, target: Some(FileFact::File { content, mode: 0o644, uid: 0, gid: 0 }) }
    }

    fn tree() -> Tree {
        let mut tree = Tree::default();
        tree.insert("/etc/locale.conf".parse().unwrap(), file("LANG=C\n"));
        let link = Found { link: Some(String::from("../locale.conf")), ..file("LANG=C\n") };
        tree.insert("/etc/default/locale".parse().unwrap(), link);
        tree.insert("/home/pi/.ssh/authorized_keys".parse().unwrap(), file("old\n"));
        tree
    }

    #[test]
    fn two_names_of_one_file_are_one_write() {
        let tree = tree();
        let mut draft = Draft::new(&tree);
        draft.write("/etc/default/locale", "LANG=a\n");
        assert_eq!(draft.text("/etc/locale.conf").as_deref(), Some("LANG=a\n"));
        draft.write("/etc/locale.conf", "LANG=b\n");
        let (edits, _, _) = draft.finish();
        assert_eq!(edits.len(), 1);
        assert!(
            matches!(&edits[0].action, Action::WriteFile { path, .. } if path.as_str() == "/etc/locale.conf")
        );
    }

    #[test]
    fn a_file_that_ends_as_it_began_is_no_edit() {
        let tree = tree();
        let mut draft = Draft::new(&tree);
        draft.write("/etc/locale.conf", "LANG=other\n");
        draft.write("/etc/locale.conf", "LANG=C\n");
        assert_eq!(draft.finish().0, []);
    }

    #[test]
    fn a_renamed_directory_is_read_under_its_new_name() {
        let tree = tree();
        let mut draft = Draft::new(&tree);
        draft.rename("/home/pi", "/home/me");
        assert_eq!(draft.text("/home/me/.ssh/authorized_keys").as_deref(), Some("old\n"));
        assert_eq!(draft.text("/home/pi/.ssh/authorized_keys"), None);
    }

    #[test]
    fn what_was_removed_is_gone_until_it_is_written_again() {
        let tree = tree();
        let mut draft = Draft::new(&tree);
        draft.write("/etc/locale.conf", "LANG=x\n");
        draft.remove("/etc/locale.conf");
        assert!(!draft.exists("/etc/locale.conf"));
        let (edits, _, _) = draft.finish();
        assert!(matches!(&edits[..], [Edit { action: Action::Remove { .. }, .. }]));
    }
}
