//! Paths inside the image: symlinks are followed inside it only, `..` at the root stays there.

use std::collections::VecDeque;

use super::error::Error;
use super::inode::{FileKind, Inode, ROOT};
use super::store::Store;
use crate::base::ImagePath;

/// As many symlinks as Linux follows (`MAXSYMLINKS`).
const LINKS_LIMIT: usize = 40;

/// Where a path leads: what exists of it, and the names that do not.
pub(super) struct Place {
    /// From the root down, without it; no symlink but perhaps the last.
    found: Vec<(Vec<u8>, u32)>,
    missing: Vec<Vec<u8>>,
}

/// An existing directory, and a name in it that may exist.
pub(super) struct Slot {
    pub(super) directory: Inode,
    pub(super) name: Vec<u8>,
    /// What the name stands for.
    pub(super) inode: Option<Inode>,
}

impl Place {
    /// The inode, when all of the path exists.
    pub(super) fn inode(&self) -> Option<u32> {
        self.missing.is_empty().then(|| self.last())
    }

    /// Where it leads, as a path.
    pub(super) fn path(&self, asked: &ImagePath) -> Result<ImagePath, Error> {
        let names = self.found.iter().map(|(name, _)| name).chain(&self.missing);
        let bytes = names.fold(Vec::new(), |path: Vec<u8>, name| [&path[..], b"/", name].concat());
        let path = if bytes.is_empty() { Ok(ImagePath::root()) } else { parse(&bytes) };
        path.map_err(|()| unusable(asked, &bytes))
    }

    fn last(&self) -> u32 {
        self.found.last().map_or(ROOT, |(_, inode)| *inode)
    }
}

fn parse(bytes: &[u8]) -> Result<ImagePath, ()> {
    std::str::from_utf8(bytes).map_err(drop)?.parse().map_err(drop)
}

fn unusable(asked: &ImagePath, target: &[u8]) -> Error {
    Error::UnusablePath { path: asked.to_string(), target: target.escape_ascii().to_string() }
}

impl Store<'_> {
    /// Follows `path` as far as it exists. The last name is followed, when it is a symlink, if `follow_last` says so.
    pub(super) fn walk(&self, path: &ImagePath, follow_last: bool) -> Result<Place, Error> {
        let mut left: VecDeque<Vec<u8>> = path.names().map(|name| name.as_bytes().to_vec()).collect();
        let mut place = Place { found: Vec::new(), missing: Vec::new() };
        let mut links = 0;
        while let Some(name) = left.pop_front() {
            if name == b".." {
                if place.missing.pop().is_none() {
                    place.found.pop();
                }
                continue;
            }
            let Some(number) = self.step(&place, &name, path)? else {
                place.missing.push(name);
                continue;
            };
            let inode = self.inode(number)?;
            if inode.kind()? != FileKind::Symlink || (left.is_empty() && !follow_last) {
                place.found.push((name, number));
                continue;
            }
            links += 1;
            if links > LINKS_LIMIT {
                return Err(Error::SymlinkLoop { path: path.to_string(), limit: LINKS_LIMIT });
            }
            let target = self.read_link(&inode)?;
            if target.first() == Some(&b'/') {
                place.found.clear();
            }
            let names = target.split(|byte| *byte == b'/').filter(|name| !matches!(*name, b"" | b"."));
            for (at, name) in names.enumerate() {
                if name.len() > 255 {
                    return Err(unusable(path, &target));
                }
                left.insert(at, name.to_vec());
            }
        }
        Ok(place)
    }

    /// The inode of `name` below `place`; `None` when it does not exist.
    fn step(&self, place: &Place, name: &[u8], path: &ImagePath) -> Result<Option<u32>, Error> {
        if !place.missing.is_empty() {
            return Ok(None);
        }
        let inode = self.inode(place.last())?;
        if !inode.is_directory() {
            let path = place.path(path)?.to_string();
            return Err(Error::NotADirectory { path });
        }
        Ok(self.find_entry(&inode, name)?.map(|entry| entry.inode))
    }

    /// The inode at `path`.
    pub(super) fn locate(&self, path: &ImagePath, follow_last: bool) -> Result<Inode, Error> {
        match self.walk(path, follow_last)?.inode() {
            Some(number) => self.inode(number),
            None => Err(Error::NotFound { path: path.to_string() }),
        }
    }

    /// The directory that holds the last name of `path`, which must exist, and what that name stands for.
    pub(super) fn slot(&self, path: &ImagePath, follow_last: bool) -> Result<Slot, Error> {
        let mut place = self.walk(path, follow_last)?;
        let (name, inode) = match place.missing.pop() {
            Some(name) => (name, None),
            None => {
                let (name, number) = place.found.pop().ok_or(Error::IsRoot)?;
                (name, Some(self.inode(number)?))
            }
        };
        let Some(directory) = place.inode() else {
            return Err(Error::NotFound { path: place.path(path)?.to_string() });
        };
        let directory = self.inode(directory)?;
        if !directory.is_directory() {
            return Err(Error::NotADirectory { path: place.path(path)?.to_string() });
        }
        Ok(Slot { directory, name, inode })
    }
}
