//! Every path of an image: one filesystem, and perhaps another mounted in it.

use std::io::Read;

use super::stat::{Listed, Stat, Usage};
use super::volume::Volume;
use super::{FileKind, Timestamp, Xattr};
use crate::base::ImagePath;
use crate::build::Error;

/// The second filesystem, and where it is.
pub(super) struct Mounted<'d> {
    pub(super) at: ImagePath,
    pub(super) volume: Volume<'d>,
}

/// The paths of an image. Links are followed as the running system would follow them, never out of the image.
pub struct Tree<'d> {
    root: Volume<'d>,
    mounted: Option<Mounted<'d>>,
}

/// Where a path leads once links have been followed.
pub(super) struct Place {
    pub(super) on_mounted: bool,
    /// From the root of that filesystem.
    pub(super) path: ImagePath,
}

impl<'d> Tree<'d> {
    pub(super) fn new(root: Volume<'d>, mounted: Option<Mounted<'d>>) -> Self {
        Self { root, mounted }
    }

    /// The filesystem at `/`, and the one that is mounted in it.
    pub(in crate::build) fn volumes(&self) -> (&Volume<'d>, Option<(&ImagePath, &Volume<'d>)>) {
        (&self.root, self.mounted.as_ref().map(|mounted| (&mounted.at, &mounted.volume)))
    }

    pub(super) fn flush(self) -> Result<(), Error> {
        self.root.flush()?;
        self.mounted.map_or(Ok(()), |mounted| mounted.volume.flush())
    }

    pub(super) fn place(
        &self,
        verb: &'static str,
        path: &ImagePath,
        follow_last: bool,
    ) -> Result<Place, Error> {
        Ok(self.place_of(self.root.canonical(verb, path, follow_last)?))
    }

    /// Where `path` is, in which no link is left to follow.
    pub(super) fn place_of(&self, path: ImagePath) -> Place {
        match self.mounted.as_ref().and_then(|mounted| path.below(&mounted.at)) {
            None => Place { on_mounted: false, path },
            Some(below) => {
                // A part of a path is one.
                let path = ImagePath::root().join(below).unwrap_or_else(|_| ImagePath::root());
                Place { on_mounted: true, path }
            }
        }
    }

    /// `path` with every link followed, the last one too if `follow_last` says so, as the running system would call it.
    pub(super) fn canonical(&self, path: &ImagePath, follow_last: bool) -> Result<ImagePath, Error> {
        self.root.canonical("read", path, follow_last)
    }

    /// Whether the other filesystem is mounted at `path` below `base`.
    pub(super) fn is_mount(&self, base: &ImagePath, path: &[u8]) -> bool {
        let below = self.mounted.as_ref().and_then(|mounted| mounted.at.below(base));
        below.is_some_and(|below| below.as_bytes() == path)
    }

    fn volume(&self, place: &Place) -> &Volume<'d> {
        self.volume_at(place.on_mounted)
    }

    pub(super) fn volume_at(&self, on_mounted: bool) -> &Volume<'d> {
        match &self.mounted {
            Some(mounted) if on_mounted => &mounted.volume,
            _ => &self.root,
        }
    }

    fn volume_mut(&mut self, place: &Place) -> &mut Volume<'d> {
        self.volume_at_mut(place.on_mounted)
    }

    pub(super) fn volume_at_mut(&mut self, on_mounted: bool) -> &mut Volume<'d> {
        match &mut self.mounted {
            Some(mounted) if on_mounted => &mut mounted.volume,
            _ => &mut self.root,
        }
    }

    /// Refuses to take away or replace what another filesystem is mounted on or below.
    fn check_not_mounted(&self, path: &ImagePath, place: &Place) -> Result<(), Error> {
        let busy = match &self.mounted {
            Some(_) if place.on_mounted => place.path.file_name().is_none(),
            Some(mounted) => mounted.at.below(&place.path).is_some(),
            None => false,
        };
        if busy { Err(Error::Mounted { path: path.clone() }) } else { Ok(()) }
    }

    pub(super) fn found(&self, verb: &'static str, path: &ImagePath, place: &Place) -> Result<Stat, Error> {
        let missing = || Error::NoSuchPath { verb, path: path.clone() };
        self.volume(place).stat(&place.path)?.ok_or_else(missing)
    }

    /// What is at `path`; a link as the last name is followed if `follow_last` says so.
    ///
    /// # Errors
    /// [`Error::NoSuchPath`], or what keeps it from being read.
    pub fn stat(&self, path: &ImagePath, follow_last: bool) -> Result<Stat, Error> {
        let place = self.place("read", path, follow_last)?;
        self.found("read", path, &place)
    }

    /// The text of the symlink at `path`.
    ///
    /// # Errors
    /// When there is none.
    pub fn read_link(&self, path: &ImagePath) -> Result<Vec<u8>, Error> {
        let place = self.place("read", path, false)?;
        self.volume(&place).read_link(&place.path)
    }

    /// The names in the directory at `path`, in the order of their bytes; links are followed.
    ///
    /// # Errors
    /// [`Error::NoSuchPath`], or when it is no directory.
    pub fn list(&self, path: &ImagePath) -> Result<Vec<Listed>, Error> {
        let place = self.place("read", path, true)?;
        self.found("read", path, &place)?;
        self.volume(&place).list(&place.path)
    }

    /// Hands the content of the file at `path` to `take`, piece by piece; links are followed.
    ///
    /// # Errors
    /// [`Error::NoSuchPath`], when it is no file, or what `take` says.
    pub fn read<E: From<Error>>(
        &self,
        path: &ImagePath,
        take: &mut dyn FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let place = self.place("read", path, true)?;
        self.found("read", path, &place)?;
        self.volume(&place).read(&place.path, take)
    }

    /// The file at `path` holds the `len_bytes` that `source` gives. One that exists keeps its mode, owner and extended
    /// attributes but `security.capability`; a new one has mode 0644 and belongs to root. Links are followed.
    ///
    /// # Errors
    /// [`Error::NoSuchPath`] for the directory, or what keeps it from being written.
    pub fn put(&mut self, path: &ImagePath, source: &mut dyn Read, len_bytes: u64) -> Result<(), Error> {
        let place = self.place("write", path, true)?;
        self.check_parent("write", path, &place)?;
        self.volume_mut(&place).write(&place.path, source, len_bytes)
    }

    /// Puts the `len_bytes` that `source` gives at `offset` of the file at `path`, or at its end; links are followed.
    ///
    /// # Errors
    /// [`Error::NoSuchPath`], or what keeps it from being written.
    pub fn write_at(
        &mut self,
        path: &ImagePath,
        offset: Option<u64>,
        source: &mut dyn Read,
        len_bytes: u64,
    ) -> Result<(), Error> {
        let place = self.place("write", path, true)?;
        let end = self.found("write", path, &place)?.len_bytes;
        self.volume_mut(&place).write_at(&place.path, offset.unwrap_or(end), source, len_bytes)
    }

    /// Cuts the file at `path`, or makes it longer with zeros; links are followed.
    ///
    /// # Errors
    /// [`Error::NoSuchPath`], or what keeps it from being written.
    pub fn truncate(&mut self, path: &ImagePath, len_bytes: u64) -> Result<(), Error> {
        let place = self.place("write", path, true)?;
        self.found("write", path, &place)?;
        self.volume_mut(&place).truncate(&place.path, len_bytes)
    }

    /// Makes a directory, mode 0755 and root's. With `parents` those above it too, and it may exist.
    ///
    /// # Errors
    /// [`Error::NoSuchPath`] for the parent, [`Error::PathExists`], or what keeps it from being made.
    pub fn make_directory(&mut self, path: &ImagePath, parents: bool) -> Result<(), Error> {
        let place = self.place("create", path, parents)?;
        match self.volume(&place).stat(&place.path)? {
            Some(stat) if parents && stat.kind == FileKind::Directory => return Ok(()),
            Some(_) => return Err(Error::PathExists { verb: "create", path: path.clone() }),
            None => {}
        }
        if parents && let Some(parent) = path.parent() {
            self.make_directory(&parent, true)?;
        }
        self.check_parent("create", path, &place)?;
        self.volume_mut(&place).make_directory(&place.path)
    }

    /// Removes what is at `path`: a directory only with `recursive`, and then with all that is in it. A link itself is
    /// removed.
    ///
    /// # Errors
    /// [`Error::NoSuchPath`], [`Error::IsDirectory`], [`Error::Mounted`], or what keeps it from being removed.
    pub fn remove(&mut self, path: &ImagePath, recursive: bool) -> Result<(), Error> {
        let place = self.place("remove", path, false)?;
        let stat = self.found("remove", path, &place)?;
        if stat.kind == FileKind::Directory && !recursive {
            return Err(Error::IsDirectory { path: path.clone() });
        }
        self.check_not_mounted(path, &place)?;
        self.volume_mut(&place).remove(&place.path)
    }

    /// What was `from` is `to` afterwards, and replaces what was there as rename(2) does.
    ///
    /// # Errors
    /// [`Error::NoSuchPath`], [`Error::AcrossPartitions`], [`Error::Mounted`], or what keeps it from being renamed.
    pub fn rename(&mut self, from: &ImagePath, to: &ImagePath) -> Result<(), Error> {
        let old = self.place("rename", from, false)?;
        let new = self.place("rename", to, false)?;
        self.found("rename", from, &old)?;
        self.check_not_mounted(from, &old)?;
        self.check_not_mounted(to, &new)?;
        if old.on_mounted != new.on_mounted {
            return Err(Error::AcrossPartitions { from: from.clone(), to: to.clone() });
        }
        self.check_parent("rename", to, &new)?;
        self.volume_mut(&old).rename(&old.path, &new.path)
    }

    /// Gives the file at `existing`, which is no directory, the further name `new`.
    ///
    /// # Errors
    /// [`Error::NoSuchPath`], [`Error::AcrossPartitions`], [`Error::PathExists`], or what keeps it from being linked.
    pub fn hard_link(&mut self, existing: &ImagePath, new: &ImagePath) -> Result<(), Error> {
        let old = self.place("link", existing, false)?;
        let place = self.place("link", new, false)?;
        self.found("link", existing, &old)?;
        if old.on_mounted != place.on_mounted {
            return Err(Error::AcrossPartitions { from: existing.clone(), to: new.clone() });
        }
        self.check_new("link", new, &place)?;
        self.volume_mut(&place).hard_link(&old.path, &place.path)
    }

    /// Makes a symlink with the text `target`.
    ///
    /// # Errors
    /// [`Error::PathExists`], or what keeps it from being made.
    pub fn symlink(&mut self, path: &ImagePath, target: &str) -> Result<(), Error> {
        let place = self.place("link", path, false)?;
        self.check_new("link", path, &place)?;
        self.volume_mut(&place).symlink(&place.path, target)
    }

    /// Sets the 12 permission bits; links are followed.
    ///
    /// # Errors
    /// [`Error::NoSuchPath`], [`Error::FatHasNo`].
    pub fn set_mode(&mut self, path: &ImagePath, mode: u16) -> Result<(), Error> {
        let place = self.place("change", path, true)?;
        self.found("change", path, &place)?;
        self.volume_mut(&place).set_mode(&place.path, mode)
    }

    /// Sets user and group; links are followed.
    ///
    /// # Errors
    /// [`Error::NoSuchPath`], [`Error::FatHasNo`].
    pub fn set_owner(&mut self, path: &ImagePath, uid: u32, gid: u32) -> Result<(), Error> {
        let place = self.place("change", path, true)?;
        self.found("change", path, &place)?;
        self.volume_mut(&place).set_owner(&place.path, uid, gid)
    }

    /// The extended attributes of what is at `path`, by name: FAT has none. Links are followed.
    ///
    /// # Errors
    /// [`Error::NoSuchPath`], or what keeps them from being read.
    pub fn xattrs(&self, path: &ImagePath) -> Result<Vec<Xattr>, Error> {
        let place = self.place("read", path, true)?;
        self.found("read", path, &place)?;
        self.volume(&place).xattrs(&place.path)
    }

    /// The value of an extended attribute; links are followed.
    ///
    /// # Errors
    /// [`Error::NoSuchPath`], [`Error::NoAttribute`], [`Error::FatHasNo`].
    pub fn xattr(&self, path: &ImagePath, name: &str) -> Result<Vec<u8>, Error> {
        let place = self.place("read", path, true)?;
        self.found("read", path, &place)?;
        self.volume(&place).xattr(&place.path, name)
    }

    /// Sets an extended attribute; links are followed.
    ///
    /// # Errors
    /// [`Error::NoSuchPath`], [`Error::FatHasNo`], or what keeps it from being set.
    pub fn set_xattr(&mut self, path: &ImagePath, name: &str, value: &[u8]) -> Result<(), Error> {
        let place = self.place("change", path, true)?;
        self.found("change", path, &place)?;
        self.volume_mut(&place).set_xattr(&place.path, name, value)
    }

    /// Takes an extended attribute away; links are followed.
    ///
    /// # Errors
    /// [`Error::NoSuchPath`], [`Error::NoAttribute`], [`Error::FatHasNo`].
    pub fn remove_xattr(&mut self, path: &ImagePath, name: &str) -> Result<(), Error> {
        let place = self.place("change", path, true)?;
        self.found("change", path, &place)?;
        self.volume_mut(&place).remove_xattr(&place.path, name)
    }

    /// Sets when the file was last read and changed, to now when no time is given; makes an empty one when there is
    /// none. Links are followed.
    ///
    /// # Errors
    /// What keeps it from being changed or made.
    pub fn touch(&mut self, path: &ImagePath, time: Option<Timestamp>) -> Result<(), Error> {
        let place = self.place("change", path, true)?;
        if self.volume(&place).stat(&place.path)?.is_none() {
            self.put(path, &mut std::io::empty(), 0)?;
        }
        let volume = self.volume_mut(&place);
        let time = time.unwrap_or(volume.now());
        volume.set_times(&place.path, time)
    }

    /// How full each filesystem is, the root first.
    ///
    /// # Errors
    /// When it cannot be told.
    pub fn usage(&self) -> Result<Vec<Usage>, Error> {
        let mut all = vec![self.root.usage("/".to_owned())?];
        if let Some(mounted) = &self.mounted {
            all.push(mounted.volume.usage(mounted.at.to_string())?);
        }
        Ok(all)
    }

    /// Gives the filesystem at `/` another UUID, or serial.
    ///
    /// # Errors
    /// [`Error::BadWord`], or what keeps it from being set.
    pub fn set_uuid(&mut self, text: &str) -> Result<(), Error> {
        self.root.set_uuid(text)
    }

    /// Gives the filesystem at `/` another label.
    ///
    /// # Errors
    /// When it does not fit.
    pub fn set_label(&mut self, label: &str) -> Result<(), Error> {
        self.root.set_label(label)
    }

    fn check_new(&self, verb: &'static str, path: &ImagePath, place: &Place) -> Result<(), Error> {
        match self.volume(place).stat(&place.path)? {
            Some(_) => Err(Error::PathExists { verb, path: path.clone() }),
            None => self.check_parent(verb, path, place),
        }
    }

    /// The directory that a name is to be in must be there.
    fn check_parent(&self, verb: &'static str, path: &ImagePath, place: &Place) -> Result<(), Error> {
        let Some(parent) = place.path.parent() else { return Ok(()) };
        match self.volume(place).stat(&parent)? {
            Some(stat) if stat.kind == FileKind::Directory => Ok(()),
            Some(_) => Err(Error::NoDirectory { verb, path: path.clone(), found: "no directory" }),
            None => Err(Error::NoDirectory { verb, path: path.clone(), found: "missing" }),
        }
    }
}
