//! Both filesystems of an image, as the running system sees them: one tree, with the boot partition in its place.

use crate::base::ImagePath;
use crate::block::Device;
use crate::image::ext4::{self, FileKind, NewAttributes, Stat, Timestamp};
use crate::image::fat::{Fat, FatTime};
use crate::plan::Owner;

use super::Error;
use super::layout::Layout;

/// An opened image.
pub(super) struct System<'d> {
    root: ext4::Filesystem<'d>,
    boot: Fat<'d>,
    /// `None` until fstab has been read: then no path is on the boot partition.
    boot_mount: Option<ImagePath>,
    boot_number: u32,
    root_number: u32,
}

/// Where a path leads once links have been followed.
enum Place {
    Root(ImagePath),
    /// The path inside the boot partition, without a leading `/`.
    Boot(String),
}

/// What a path is.
pub(super) enum Kind {
    File,
    Directory,
    Symlink,
    Other,
}

/// Adds the path and the partition to an error of the root filesystem.
fn on_root(verb: &'static str, path: &ImagePath) -> impl FnOnce(ext4::Error) -> Error {
    let path = path.clone();
    move |source| Error::RootPath { verb, path, source: Box::new(source) }
}

/// Adds the path and the partition to an error of the boot filesystem.
fn on_boot(verb: &'static str, path: &ImagePath) -> impl FnOnce(crate::image::fat::Error) -> Error {
    let path = path.clone();
    move |source| Error::BootPath { verb, path, source: Box::new(source) }
}

impl<'d> System<'d> {
    /// Opens both filesystems. `epoch_seconds` is the time that changed files get; `None`: the time of the
    /// base's own last write, so that bytes never depend on the day.
    pub(super) fn open(
        layout: &Layout,
        boot: &'d dyn Device,
        root: &'d dyn Device,
        epoch_seconds: Option<i64>,
    ) -> Result<Self, Error> {
        let root_number = layout.root.number;
        let boot_number = layout.boot.number;
        let mut root = ext4::Filesystem::open(root)
            .map_err(|source| Error::Root { partition: root_number, source: Box::new(source) })?;
        let seconds = epoch_seconds.unwrap_or_else(|| root.write_time());
        root.set_clock(Timestamp { seconds, nanoseconds: 0 });
        let time = FatTime::from_epoch_seconds(u64::try_from(seconds).unwrap_or(0));
        let boot = Fat::open(boot, time)
            .map_err(|source| Error::Boot { partition: boot_number, source: Box::new(source) })?;
        Ok(Self { root, boot, boot_mount: None, boot_number, root_number })
    }

    /// Puts the boot partition in its place.
    pub(super) fn mount_boot(&mut self, at: ImagePath) {
        self.boot_mount = Some(at);
    }

    pub(super) fn root_uuid(&self) -> [u8; 16] {
        self.root.uuid()
    }

    pub(super) fn boot_serial(&self) -> u32 {
        self.boot.volume_id()
    }

    pub(super) fn root_free_bytes(&self) -> u64 {
        self.root.free_blocks().saturating_mul(u64::from(self.root.block_len()))
    }

    pub(super) fn root_block_len(&self) -> u64 {
        u64::from(self.root.block_len())
    }

    fn place(&self, verb: &'static str, path: &ImagePath, follow_last: bool) -> Result<Place, Error> {
        let path = self.root.canonical(path, follow_last).map_err(on_root(verb, path))?;
        Ok(match self.boot_mount.as_ref().and_then(|mount| path.below(mount)) {
            // The mount point itself is a directory of the root as far as we need to know.
            None | Some("") => Place::Root(path),
            Some(below) => Place::Boot(below.to_owned()),
        })
    }

    pub(super) fn is_on_boot(&self, path: &ImagePath) -> Result<bool, Error> {
        Ok(matches!(self.place("read", path, true)?, Place::Boot(_)))
    }

    fn stat_root(&self, path: &ImagePath, follow_last: bool) -> Result<Option<Stat>, Error> {
        match self.root.stat(path, follow_last) {
            Ok(stat) => Ok(Some(stat)),
            Err(ext4::Error::NotFound { .. } | ext4::Error::NotADirectory { .. }) => Ok(None),
            Err(error) => Err(on_root("read", path)(error)),
        }
    }

    /// What is at `path`, and its mode and owner (0755 root:root on the boot partition); `None` when nothing is.
    pub(super) fn stat(
        &self,
        path: &ImagePath,
        follow_last: bool,
    ) -> Result<Option<(Kind, u16, Owner, u64)>, Error> {
        match self.place("read", path, follow_last)? {
            Place::Root(canonical) => Ok(self.stat_root(&canonical, follow_last)?.map(|stat| {
                let kind = match stat.kind {
                    FileKind::Regular => Kind::File,
                    FileKind::Directory => Kind::Directory,
                    FileKind::Symlink => Kind::Symlink,
                    _ => Kind::Other,
                };
                (kind, stat.mode, Owner { uid: stat.uid, gid: stat.gid }, stat.len_bytes)
            })),
            Place::Boot(below) => {
                let found = self.boot.stat(&below).map_err(on_boot("read", path))?;
                Ok(found.map(|found| {
                    let kind = if found.is_dir { Kind::Directory } else { Kind::File };
                    (kind, 0o755, Owner::ROOT, found.len_bytes)
                }))
            }
        }
    }

    /// The whole file, which may have at most `limit_bytes`.
    pub(super) fn read_file(&mut self, path: &ImagePath, limit_bytes: u64) -> Result<Vec<u8>, Error> {
        match self.place("read", path, true)? {
            Place::Root(canonical) => {
                self.root.read_file(&canonical, limit_bytes).map_err(on_root("read", path))
            }
            Place::Boot(below) => self.boot.read_file(&below, limit_bytes).map_err(on_boot("read", path)),
        }
    }

    /// The first bytes of a file of the root partition, up to `N`.
    pub(super) fn read_head<const N: usize>(&mut self, path: &ImagePath) -> Result<Vec<u8>, Error> {
        let Place::Root(canonical) = self.place("read", path, true)? else { return Ok(Vec::new()) };
        let mut head = vec![0; N];
        let len = self.root.read_at(&canonical, 0, &mut head).map_err(on_root("read", path))?;
        head.truncate(len);
        Ok(head)
    }

    /// A file of the boot partition, wherever that is mounted.
    pub(super) fn read_boot_file(&mut self, name: &str, limit_bytes: u64) -> Result<Option<Vec<u8>>, Error> {
        let boot = |source| Error::Boot { partition: self.boot_number, source: Box::new(source) };
        match self.boot.stat(name).map_err(boot)? {
            Some(found) if !found.is_dir => self
                .boot
                .read_file(name, limit_bytes)
                .map(Some)
                .map_err(|source| Error::Boot { partition: self.boot_number, source: Box::new(source) }),
            _ => Ok(None),
        }
    }

    /// The text of a symlink; `None` when the path is none.
    pub(super) fn read_link(&self, path: &ImagePath) -> Result<Option<String>, Error> {
        let Place::Root(canonical) = self.place("read", path, false)? else { return Ok(None) };
        match self.stat_root(&canonical, false)? {
            Some(stat) if stat.kind == FileKind::Symlink => {
                let target = self.root.read_link(&canonical).map_err(on_root("read", path))?;
                Ok(Some(String::from_utf8_lossy(&target).into_owned()))
            }
            _ => Ok(None),
        }
    }

    /// The names in a directory, sorted; those that are not UTF-8 are left out, for no setting could name them.
    pub(super) fn read_dir(&self, path: &ImagePath) -> Result<Vec<String>, Error> {
        let mut names: Vec<String> = match self.place("read", path, true)? {
            Place::Root(canonical) => {
                let entries = self.root.read_dir(&canonical).map_err(on_root("read", path))?;
                entries.into_iter().filter_map(|entry| String::from_utf8(entry.name).ok()).collect()
            }
            Place::Boot(below) => {
                let entries = self.boot.read_dir(&below).map_err(on_boot("read", path))?;
                entries.into_iter().map(|entry| entry.name).collect()
            }
        };
        names.sort_unstable();
        Ok(names)
    }

    pub(super) fn write_file(
        &mut self,
        path: &ImagePath,
        content: &[u8],
        mode: Option<u16>,
        owner: Option<Owner>,
    ) -> Result<(), Error> {
        match self.place("write", path, true)? {
            Place::Boot(below) => self.boot.write_file(&below, content).map_err(on_boot("write", path)),
            Place::Root(canonical) => {
                self.make_parents(&canonical)?;
                let existed = self.stat_root(&canonical, false)?.is_some();
                let attributes = attributes(mode.unwrap_or(0o644), owner.unwrap_or(Owner::ROOT));
                self.root.write_file(&canonical, content, attributes).map_err(on_root("write", path))?;
                if existed { self.set_attributes(&canonical, mode, owner) } else { Ok(()) }
            }
        }
    }

    fn make_parents(&mut self, path: &ImagePath) -> Result<(), Error> {
        let Some(parent) = path.parent() else { return Ok(()) };
        if self.stat_root(&parent, true)?.is_some() {
            return Ok(());
        }
        self.root.mkdir_all(&parent, attributes(0o755, Owner::ROOT)).map_err(on_root("create", &parent))
    }

    pub(super) fn make_directory(&mut self, path: &ImagePath, mode: u16, owner: Owner) -> Result<(), Error> {
        match self.place("create", path, true)? {
            Place::Boot(below) => self.boot.make_dir(&below).map_err(on_boot("create", path)),
            Place::Root(canonical) => {
                if self.stat_root(&canonical, true)?.is_none() {
                    self.make_parents(&canonical)?;
                    self.root.mkdir(&canonical, attributes(mode, owner)).map_err(on_root("create", path))?;
                }
                self.set_attributes(&canonical, Some(mode), Some(owner))
            }
        }
    }

    pub(super) fn symlink(&mut self, path: &ImagePath, target: &str) -> Result<(), Error> {
        match self.place("link", path, false)? {
            Place::Boot(_) => Err(Error::NotOnFat { path: path.clone(), what: "a symlink" }),
            Place::Root(canonical) => {
                self.make_parents(&canonical)?;
                if self.stat_root(&canonical, false)?.is_some_and(|stat| stat.kind != FileKind::Directory) {
                    self.root.remove(&canonical).map_err(on_root("remove", path))?;
                }
                self.root.symlink(&canonical, target.as_bytes(), 0, 0).map_err(on_root("link", path))
            }
        }
    }

    pub(super) fn remove(&mut self, path: &ImagePath) -> Result<(), Error> {
        match self.place("remove", path, false)? {
            Place::Boot(below) => {
                if self.boot.exists(&below).map_err(on_boot("read", path))? {
                    self.boot.remove(&below).map_err(on_boot("remove", path))?;
                }
                Ok(())
            }
            Place::Root(canonical) => match self.stat_root(&canonical, false)? {
                None => Ok(()),
                Some(_) => self.root.remove_all(&canonical).map_err(on_root("remove", path)),
            },
        }
    }

    pub(super) fn rename(&mut self, from: &ImagePath, to: &ImagePath) -> Result<(), Error> {
        match (self.place("rename", from, false)?, self.place("rename", to, false)?) {
            (Place::Root(from), Place::Root(to)) => {
                self.make_parents(&to)?;
                self.root.rename(&from, &to).map_err(on_root("rename", &from))
            }
            _ => Err(Error::AcrossPartitions { from: from.clone(), to: to.clone() }),
        }
    }

    pub(super) fn set_attributes(
        &mut self,
        path: &ImagePath,
        mode: Option<u16>,
        owner: Option<Owner>,
    ) -> Result<(), Error> {
        let Place::Root(canonical) = self.place("change", path, true)? else { return Ok(()) };
        if let Some(Owner { uid, gid }) = owner {
            self.root.set_owner(&canonical, uid, gid).map_err(on_root("change", path))?;
        }
        // After the owner: changing that clears the set-user-ID bit, as chown(2) does.
        if let Some(mode) = mode {
            self.root.set_mode(&canonical, mode).map_err(on_root("change", path))?;
        }
        Ok(())
    }

    /// Grows the root filesystem to its partition of `len_bytes`, which holds zero bytes from `zero_from` on.
    pub(super) fn grow_root(&mut self, len_bytes: u64, zero_from: u64) -> Result<(), Error> {
        let block_len = self.root_block_len();
        let grown = self.root.grow(len_bytes / block_len, zero_from.div_ceil(block_len));
        let partition = self.root_number;
        grown.map(|_| ()).map_err(|source| Error::Root { partition, source: Box::new(source) })
    }

    pub(super) fn set_root_uuid(&mut self, uuid: [u8; 16]) -> Result<(), Error> {
        let partition = self.root_number;
        self.root.set_uuid(uuid).map_err(|source| Error::Root { partition, source: Box::new(source) })
    }

    pub(super) fn set_boot_serial(&mut self, serial: u32) -> Result<(), Error> {
        let partition = self.boot_number;
        self.boot.set_volume_id(serial).map_err(|source| Error::Boot { partition, source: Box::new(source) })
    }

    /// Lays everything down. Until now a failure has changed nothing that lasts; after it both filesystems are
    /// whole.
    pub(super) fn commit(mut self) -> Result<(), Error> {
        let Self { root_number, boot_number, .. } = self;
        self.root
            .commit()
            .map_err(|source| Error::Root { partition: root_number, source: Box::new(source) })?;
        self.boot.close().map_err(|source| Error::Boot { partition: boot_number, source: Box::new(source) })
    }
}

fn attributes(mode: u16, owner: Owner) -> NewAttributes {
    NewAttributes { mode, uid: owner.uid, gid: owner.gid }
}
