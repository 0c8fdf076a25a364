//! A whole tree, one name after another: a directory before what is in it, names in the order of their bytes, the second
//! filesystem where it is mounted. Links are met, never followed.
//!
//! What is found is kept by inode, or by path on FAT, and not by a path of the image: any name can be met that way. Of
//! every directory that the walk is in the names that are left are in memory, and a number for each that it has been in.

use std::collections::HashSet;

use super::stat::Stat;
use super::tree::Tree;
use super::volume::{Filesystem, Volume, on_ext4, on_fat, to_fat};
use super::{FileKind, Xattr};
use crate::base::ImagePath;
use crate::build::Error;
use crate::image::fat;

/// No path that a program could name is longer (`PATH_MAX`).
const PATH_LEN_MAX: usize = 4095;
/// Read at a time.
const PIECE: usize = 1 << 20;

/// What the walk met.
#[derive(Clone, Debug)]
pub struct Found {
    /// From where the walk began: names joined by `/`, any bytes; empty for the beginning itself.
    pub path: Vec<u8>,
    /// How many names that is.
    pub depth: usize,
    /// What it is.
    pub stat: Stat,
    /// The text of a symlink.
    pub target: Option<Vec<u8>>,
    /// On which filesystem: not the one at `/`?
    on_mounted: bool,
    id: Id,
}

impl Found {
    /// Is it on the filesystem that is mounted in the other?
    #[must_use]
    pub fn is_below_mount(&self) -> bool {
        self.on_mounted
    }
}

/// How a filesystem finds it again.
#[derive(Clone, Debug)]
pub(super) enum Id {
    Inode(u32),
    /// Without `/` at either end; empty for the root.
    Fat(String),
}

/// A name that is still to be looked at.
struct Left {
    name: Vec<u8>,
    on_mounted: bool,
    id: Id,
}

/// A directory on the way to where the walk is.
struct Level {
    path: Vec<u8>,
    /// The last is the next.
    left: Vec<Left>,
}

/// A walk that has begun.
pub struct Walk {
    /// Where it began, links followed.
    base: ImagePath,
    levels: Vec<Level>,
    seen: HashSet<(bool, u32)>,
    depth_max: usize,
}

impl Walk {
    /// Begins at `path`; a link there is followed if `follow` says so. Goes `depth_max` names deep.
    ///
    /// # Errors
    /// [`Error::NoSuchPath`], or what keeps it from being read.
    pub fn new(tree: &Tree<'_>, path: &ImagePath, follow: bool, depth_max: usize) -> Result<Self, Error> {
        let place = tree.place("read", path, follow)?;
        tree.found("read", path, &place)?;
        let id = tree.volume_at(place.on_mounted).id(&place.path)?;
        let base = tree.canonical(path, follow)?;
        let first = Left { name: Vec::new(), on_mounted: place.on_mounted, id };
        let top = Level { path: Vec::new(), left: vec![first] };
        Ok(Self { base, levels: vec![top], seen: HashSet::new(), depth_max })
    }

    /// The next name; `None` at the end.
    ///
    /// # Errors
    /// [`Error::Unwalkable`], or what keeps it from being read.
    pub fn next(&mut self, tree: &Tree<'_>) -> Result<Option<Found>, Error> {
        let (path, next) = loop {
            let Some(level) = self.levels.last_mut() else { return Ok(None) };
            match level.left.pop() {
                Some(next) if level.path.is_empty() => break (next.name.clone(), next),
                Some(next) => break ([&level.path[..], b"/", &next.name].concat(), next),
                None => drop(self.levels.pop()),
            }
        };
        let depth = self.levels.len() - 1;
        let unwalkable = |reason| Error::Unwalkable { path: self.shown(&path), reason };
        if path.len() > PATH_LEN_MAX {
            return Err(unwalkable("its path is longer than 4095 bytes"));
        }
        let Left { mut on_mounted, mut id, .. } = next;
        if !on_mounted && tree.is_mount(&self.base, &path) {
            (on_mounted, id) = (true, tree.volume_at(true).id(&ImagePath::root())?);
        }
        let volume = tree.volume_at(on_mounted);
        let (stat, target) = volume.describe(&id, &self.place(&path))?;
        let found = Found { path, depth, stat, target, on_mounted, id };
        if found.stat.kind == FileKind::Directory && depth < self.depth_max {
            // A directory that is met twice would be one that is met for ever.
            if let Id::Inode(number) = found.id
                && !self.seen.insert((on_mounted, number))
            {
                return Err(Error::Unwalkable {
                    path: self.shown(&found.path),
                    reason: "it has been met before under another name",
                });
            }
            let mut left = volume.names(&found.id, on_mounted, &self.place(&found.path))?;
            left.sort_by(|one, other| other.name.cmp(&one.name));
            self.levels.push(Level { path: found.path.clone(), left });
        }
        Ok(Some(found))
    }

    /// As the running system would call it, as far as that can be written: for messages.
    fn place(&self, path: &[u8]) -> ImagePath {
        let below = std::str::from_utf8(path).ok().and_then(|path| self.base.join(path).ok());
        below.unwrap_or_else(|| self.base.clone())
    }

    fn shown(&self, path: &[u8]) -> String {
        format!("{}/{}", self.base.as_str().trim_end_matches('/'), path.escape_ascii())
    }
}

impl Tree<'_> {
    /// Hands the content of a file that a walk met to `take`, piece by piece.
    ///
    /// # Errors
    /// What keeps it from being read, or what `take` says.
    pub fn read_found<E: From<Error>>(
        &self,
        found: &Found,
        take: &mut dyn FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        self.volume_at(found.on_mounted).read_of(&found.id, found.stat.len_bytes, take)
    }

    /// The extended attributes of what a walk met; of a link its own.
    ///
    /// # Errors
    /// What keeps them from being read.
    pub fn xattrs_found(&self, found: &Found) -> Result<Vec<Xattr>, Error> {
        match (&self.volume_at(found.on_mounted).filesystem, &found.id) {
            (Filesystem::Ext4(root), Id::Inode(number)) => {
                root.xattrs_of(*number).map_err(on_ext4("read", &lossy(&found.path)))
            }
            _ => Ok(Vec::new()),
        }
    }

    /// Sets the 12 permission bits of what is at `path` and of all below it; links that are met are left out.
    ///
    /// # Errors
    /// As for [`Self::set_mode`].
    pub fn set_mode_below(&mut self, path: &ImagePath, mode: u16) -> Result<(), Error> {
        for (on_mounted, number) in self.numbers(path, "modes", false)? {
            self.volume_at_mut(on_mounted)
                .ext4(path, "modes")?
                .set_mode_of(number, mode)
                .map_err(on_ext4("change", path))?;
        }
        Ok(())
    }

    /// Sets user and group of what is at `path` and of all below it; of links that are met their own.
    ///
    /// # Errors
    /// As for [`Self::set_owner`].
    pub fn set_owner_below(&mut self, path: &ImagePath, uid: u32, gid: u32) -> Result<(), Error> {
        for (on_mounted, number) in self.numbers(path, "owners", true)? {
            let root = self.volume_at_mut(on_mounted).ext4(path, "owners")?;
            root.set_owner_of(number, uid, gid).map_err(on_ext4("change", path))?;
        }
        Ok(())
    }

    /// The inodes at `path` and below, which must be able to have `what`.
    fn numbers(
        &self,
        path: &ImagePath,
        what: &'static str,
        with_links: bool,
    ) -> Result<Vec<(bool, u32)>, Error> {
        let mut walk = Walk::new(self, path, true, usize::MAX)?;
        let mut numbers = Vec::new();
        while let Some(found) = walk.next(self)? {
            match found.id {
                Id::Inode(_) if found.stat.kind == FileKind::Symlink && !with_links => {}
                Id::Inode(number) => numbers.push((found.on_mounted, number)),
                Id::Fat(_) => return Err(Error::FatHasNo { path: walk.place(&found.path), what }),
            }
        }
        Ok(numbers)
    }
}

/// For messages alone.
fn lossy(path: &[u8]) -> ImagePath {
    let path = ImagePath::root().join(&String::from_utf8_lossy(path));
    path.unwrap_or_else(|_| ImagePath::root())
}

impl Volume<'_> {
    fn id(&self, path: &ImagePath) -> Result<Id, Error> {
        match &self.filesystem {
            Filesystem::Ext4(root) => {
                Ok(Id::Inode(root.stat(path, false).map_err(on_ext4("read", path))?.inode))
            }
            Filesystem::Fat(_) => Ok(Id::Fat(to_fat(path).to_owned())),
        }
    }

    /// `path` is for messages.
    fn describe(&self, id: &Id, path: &ImagePath) -> Result<(Stat, Option<Vec<u8>>), Error> {
        match (&self.filesystem, id) {
            (Filesystem::Ext4(root), Id::Inode(number)) => {
                let (stat, target) = root.describe(*number).map_err(on_ext4("read", path))?;
                Ok((Stat::of_ext4(&stat), target))
            }
            (Filesystem::Fat(fat), Id::Fat(at)) => {
                let entry = fat.stat(at).map_err(on_fat("read", path))?;
                let missing = || Error::NoSuchPath { verb: "read", path: path.clone() };
                Ok((self.fat_stat(fat, at, &entry.ok_or_else(missing)?)?, None))
            }
            _ => Err(Error::NoSuchPath { verb: "read", path: path.clone() }),
        }
    }

    fn names(&self, id: &Id, on_mounted: bool, path: &ImagePath) -> Result<Vec<Left>, Error> {
        match (&self.filesystem, id) {
            (Filesystem::Ext4(root), Id::Inode(number)) => {
                let entries = root.read_dir_of(*number).map_err(on_ext4("read", path))?.into_iter();
                let left = |entry: crate::image::ext4::DirEntry| Left {
                    name: entry.name,
                    on_mounted,
                    id: Id::Inode(entry.inode),
                };
                Ok(entries.map(left).collect())
            }
            (Filesystem::Fat(fat), Id::Fat(at)) => {
                let entries = fat.read_dir(at).map_err(on_fat("read", path))?.into_iter();
                let left = |entry: fat::Entry| {
                    // Such a name would lead back to where we are.
                    if entry.name.is_empty() || entry.name.contains('/') {
                        let reason = "it has an entry whose name is no name";
                        return Err(Error::Unwalkable { path: path.to_string(), reason });
                    }
                    let below =
                        if at.is_empty() { entry.name.clone() } else { format!("{at}/{}", entry.name) };
                    Ok(Left { name: entry.name.into_bytes(), on_mounted, id: Id::Fat(below) })
                };
                entries.map(left).collect()
            }
            _ => Ok(Vec::new()),
        }
    }

    fn read_of<E: From<Error>>(
        &self,
        id: &Id,
        len_bytes: u64,
        take: &mut dyn FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut buf = vec![0; usize::try_from(len_bytes).unwrap_or(PIECE).min(PIECE)];
        let mut ext4_content = None;
        let mut fat_content = None;
        let path = match id {
            Id::Inode(_) => ImagePath::root(),
            Id::Fat(at) => lossy(at.as_bytes()),
        };
        match (&self.filesystem, id) {
            (Filesystem::Ext4(root), Id::Inode(number)) => {
                ext4_content = Some(root.content_of(*number).map_err(on_ext4("read", &path))?);
            }
            (Filesystem::Fat(fat), Id::Fat(at)) => {
                fat_content = Some(fat.content(at).map_err(on_fat("read", &path))?);
            }
            _ => {}
        }
        let mut left = len_bytes;
        while left > 0 {
            let count = match (&mut ext4_content, &mut fat_content) {
                (Some(content), _) => content.read(&mut buf).map_err(on_ext4("read", &path))?,
                (_, Some(content)) => content.read(&mut buf).map_err(on_fat("read", &path))?,
                _ => 0,
            };
            if count == 0 {
                return Ok(());
            }
            take(buf.get(..count).unwrap_or_default())?;
            left = left.saturating_sub(count as u64);
        }
        Ok(())
    }
}
