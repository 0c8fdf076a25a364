//! One of the two images: its files by inode, or on FAT by path, so that a name which no path can hold is compared too.

use std::ops::Range;

use super::Facts;
use crate::base::ImagePath;
use crate::build::Error;
use crate::build::disk::volume::{Filesystem, Volume};
use crate::build::disk::{FileKind, Stat, Tree, Xattr};
use crate::image::ext4::{self, Footprint};
use crate::image::fat::Content;

/// A filesystem of an image, and where on the device its partition is.
pub(super) struct Part<'t, 'd> {
    pub(super) volume: &'t Volume<'d>,
    pub(super) range: Range<u64>,
    /// Where it is mounted.
    pub(super) at: ImagePath,
}

/// What is asked of an image, whichever it is: the lifetimes of two opened ones are not the same.
pub(super) trait Image {
    /// What is at `/`.
    fn top(&self) -> Place;

    /// Where the other filesystem is mounted.
    fn mount(&self) -> Option<&ImagePath>;

    /// The root of the filesystem that is mounted at `path`.
    fn mounted_at(&self, path: &[u8]) -> Option<Place>;

    /// Where on the device a filesystem is.
    fn range(&self, on_mounted: bool) -> Option<Range<u64>>;

    /// A filesystem, if it is ext4.
    fn ext4(&self, on_mounted: bool) -> Option<&ext4::Filesystem<'_>>;

    /// `path` without links, as far as it exists.
    fn canonical(&self, path: &ImagePath) -> Result<ImagePath, Error>;

    /// What is at `path`, no link of which is followed.
    fn find(&self, path: &ImagePath) -> Result<Option<Place>, Reason>;

    /// What is in the directory at `place`, without what is mounted over it: names ascending.
    fn children(&self, place: &Place) -> Result<Vec<(Vec<u8>, Place)>, Reason>;

    fn facts(&self, place: &Place) -> Result<Facts, Reason>;

    fn xattrs(&self, place: &Place) -> Result<Vec<Xattr>, Reason>;

    /// The content of a regular file, from its beginning on.
    fn open(&self, place: &Place) -> Result<Box<dyn Reading + '_>, Reason>;

    /// Where an ext4 file lies on the device; `None` also where that cannot be told.
    fn footprint(&self, place: &Place) -> Option<Footprint>;

    /// Where the inode of an ext4 file lies on the device.
    fn slot(&self, place: &Place) -> Option<Range<u64>>;

    /// That inode.
    fn inode_bytes(&self, place: &Place) -> Option<Vec<u8>>;

    /// Where the content of a file on FAT lies on the device.
    fn clusters(&self, place: &Place) -> Option<Vec<Range<u64>>>;
}

/// A file that is being read.
pub(super) trait Reading {
    /// Fills `buf`; less only at the end.
    fn read(&mut self, buf: &mut [u8]) -> Result<usize, Reason>;

    /// Goes on at byte `offset`, which is not before where it is. Where nothing can be left out, nothing is.
    fn skip_to(&mut self, _offset: u64) {}
}

/// Both filesystems of one image.
pub(super) struct Side<'t, 'd> {
    pub(super) root: Part<'t, 'd>,
    pub(super) mounted: Option<Part<'t, 'd>>,
}

/// A file, as its filesystem finds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) on_mounted: bool,
    pub(super) node: Node,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Node {
    /// Of ext4.
    Inode(u32),
    /// Of FAT, from its root, without a leading `/`.
    Path(String),
}

/// Why something could not be read, in one line.
pub(super) type Reason = String;

impl<'t, 'd> Side<'t, 'd> {
    /// `range_of` says where a partition is.
    pub(super) fn new(tree: &'t Tree<'d>, range_of: impl Fn(Option<u32>) -> Range<u64>) -> Self {
        let part = |volume: &'t Volume<'d>, at| Part { volume, range: range_of(volume.number()), at };
        let (root, mounted) = tree.volumes();
        Self {
            root: part(root, ImagePath::root()),
            mounted: mounted.map(|(at, volume)| part(volume, at.clone())),
        }
    }

    pub(super) fn parts(&self) -> impl Iterator<Item = &Part<'t, 'd>> {
        std::iter::once(&self.root).chain(&self.mounted)
    }

    fn part(&self, place: &Place) -> &Part<'t, 'd> {
        match &self.mounted {
            Some(mounted) if place.on_mounted => mounted,
            _ => &self.root,
        }
    }

    fn filesystem(&self, place: &Place) -> &'t Filesystem<'d> {
        self.part(place).volume.filesystem()
    }

    fn root_of(&self, on_mounted: bool) -> Place {
        let part = self.mounted.as_ref().filter(|_| on_mounted).unwrap_or(&self.root);
        let node = match part.volume.filesystem() {
            Filesystem::Ext4(_) => Node::Inode(ext4::Filesystem::ROOT),
            Filesystem::Fat(_) => Node::Path(String::new()),
        };
        Place { on_mounted, node }
    }
}

impl Image for Side<'_, '_> {
    fn top(&self) -> Place {
        self.root_of(false)
    }

    fn mount(&self) -> Option<&ImagePath> {
        self.mounted.as_ref().map(|mounted| &mounted.at)
    }

    fn mounted_at(&self, path: &[u8]) -> Option<Place> {
        self.mount().filter(|at| at.as_str().as_bytes() == path).map(|_| self.root_of(true))
    }

    fn range(&self, on_mounted: bool) -> Option<Range<u64>> {
        let part = if on_mounted { self.mounted.as_ref() } else { Some(&self.root) };
        part.map(|part| part.range.clone())
    }

    fn ext4(&self, on_mounted: bool) -> Option<&ext4::Filesystem<'_>> {
        let part = if on_mounted { self.mounted.as_ref() } else { Some(&self.root) };
        match part?.volume.filesystem() {
            Filesystem::Ext4(fs) => Some(fs),
            Filesystem::Fat(_) => None,
        }
    }

    fn canonical(&self, path: &ImagePath) -> Result<ImagePath, Error> {
        self.root.volume.canonical("compare", path, true)
    }

    fn children(&self, place: &Place) -> Result<Vec<(Vec<u8>, Place)>, Reason> {
        let on_mounted = place.on_mounted;
        let mut children: Vec<(Vec<u8>, Place)> = match (self.filesystem(place), &place.node) {
            (Filesystem::Ext4(fs), Node::Inode(number)) => {
                let entries = fs.read_dir_of(*number).map_err(|error| reason(&error))?.into_iter();
                entries
                    .map(|entry| (entry.name, Place { on_mounted, node: Node::Inode(entry.inode) }))
                    .collect()
            }
            (Filesystem::Fat(fat), Node::Path(path)) => {
                let entries = fat.read_dir(path).map_err(|error| reason(&error))?.into_iter();
                let below =
                    |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}/{name}") };
                let place = |name: &str| Place { on_mounted, node: Node::Path(below(name)) };
                entries.map(|entry| (entry.name.clone().into_bytes(), place(&entry.name))).collect()
            }
            _ => return Err(mixed()),
        };
        // Such a name would lead back to where we are.
        if let Some((name, _)) = children.iter().find(|(name, _)| name.is_empty() || name.contains(&b'/')) {
            return Err(format!("it has an entry named `{}`", name.escape_ascii()));
        }
        children.sort_unstable_by(|one, other| one.0.cmp(&other.0));
        Ok(children)
    }

    fn facts(&self, place: &Place) -> Result<Facts, Reason> {
        let (stat, target) = match (self.filesystem(place), &place.node) {
            (Filesystem::Ext4(fs), Node::Inode(number)) => {
                let (stat, target) = fs.describe(*number).map_err(|error| reason(&error))?;
                (Stat::of_ext4(&stat), target)
            }
            (Filesystem::Fat(fat), Node::Path(path)) => {
                let entry = fat.stat(path).map_err(|error| reason(&error))?;
                let entry = entry.ok_or("it is gone")?;
                let allocated = fat.allocated_bytes(path, &entry).map_err(|error| reason(&error))?;
                (Stat::of_fat(&entry, allocated), None)
            }
            _ => return Err(mixed()),
        };
        Ok(Facts { stat, target })
    }

    fn xattrs(&self, place: &Place) -> Result<Vec<Xattr>, Reason> {
        match (self.filesystem(place), &place.node) {
            (Filesystem::Ext4(fs), Node::Inode(number)) => {
                fs.xattrs_of(*number).map_err(|error| reason(&error))
            }
            _ => Ok(Vec::new()),
        }
    }

    fn footprint(&self, place: &Place) -> Option<Footprint> {
        let (Filesystem::Ext4(fs), Node::Inode(number)) = (self.filesystem(place), &place.node) else {
            return None;
        };
        // What cannot be told has to be compared; that will say why.
        let mut footprint = fs.footprint(*number).ok()?;
        let start = self.part(place).range.start;
        let data = footprint.data.iter_mut().map(|run| &mut run.range);
        let all = footprint.extra.iter_mut().chain(data).chain([&mut footprint.slot]);
        all.for_each(|range| *range = moved(range, start));
        Some(footprint)
    }

    fn slot(&self, place: &Place) -> Option<Range<u64>> {
        let (Filesystem::Ext4(fs), Node::Inode(number)) = (self.filesystem(place), &place.node) else {
            return None;
        };
        Some(moved(&fs.slot(*number).ok()?, self.part(place).range.start))
    }

    fn inode_bytes(&self, place: &Place) -> Option<Vec<u8>> {
        let (Filesystem::Ext4(fs), Node::Inode(number)) = (self.filesystem(place), &place.node) else {
            return None;
        };
        fs.inode_bytes(*number).ok()
    }

    fn clusters(&self, place: &Place) -> Option<Vec<Range<u64>>> {
        let (Filesystem::Fat(fat), Node::Path(path)) = (self.filesystem(place), &place.node) else {
            return None;
        };
        let start = self.part(place).range.start;
        Some(fat.extents(path).ok()?.iter().map(|range| moved(range, start)).collect())
    }

    fn open(&self, place: &Place) -> Result<Box<dyn Reading + '_>, Reason> {
        match (self.filesystem(place), &place.node) {
            (Filesystem::Ext4(fs), Node::Inode(number)) => {
                Ok(Box::new(Streamed { fs, number: *number, offset: 0 }))
            }
            (Filesystem::Fat(fat), Node::Path(path)) => {
                Ok(Box::new(fat.content(path).map_err(|error| reason(&error))?))
            }
            _ => Err(mixed()),
        }
    }

    fn find(&self, path: &ImagePath) -> Result<Option<Place>, Reason> {
        let mut place = self.top();
        let mut so_far = String::new();
        for name in path.names() {
            so_far = format!("{so_far}/{name}");
            let mounted = self.mounted_at(so_far.as_bytes());
            if mounted.is_none() && self.facts(&place)?.stat.kind != FileKind::Directory {
                return Ok(None);
            }
            let below = |children: Vec<(Vec<u8>, Place)>| {
                children.into_iter().find(|(known, _)| known == name.as_bytes()).map(|(_, place)| place)
            };
            place = match mounted {
                Some(mounted) => mounted,
                None => match below(self.children(&place)?) {
                    Some(place) => place,
                    None => return Ok(None),
                },
            };
        }
        Ok(Some(place))
    }
}

/// A file of ext4 that is being read.
struct Streamed<'f, 'd> {
    fs: &'f ext4::Filesystem<'d>,
    number: u32,
    offset: u64,
}

impl Reading for Streamed<'_, '_> {
    fn read(&mut self, buf: &mut [u8]) -> Result<usize, Reason> {
        let count = self.fs.read_inode_at(self.number, self.offset, buf).map_err(|error| reason(&error))?;
        self.offset += count as u64;
        Ok(count)
    }

    fn skip_to(&mut self, offset: u64) {
        self.offset = offset;
    }
}

impl Reading for Content<'_, '_> {
    fn read(&mut self, buf: &mut [u8]) -> Result<usize, Reason> {
        Content::read(self, buf).map_err(|error| reason(&error))
    }
}

fn moved(range: &Range<u64>, by: u64) -> Range<u64> {
    range.start.saturating_add(by)..range.end.saturating_add(by)
}

/// An error and its causes.
fn reason(error: &(dyn std::error::Error + 'static)) -> Reason {
    let chain = std::iter::successors(Some(error), |error| error.source());
    chain.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

fn mixed() -> Reason {
    "it is looked for in another filesystem".to_owned()
}
