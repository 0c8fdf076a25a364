//! An archive into a directory of an image, as root would unpack it.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

use super::place::{Ground, unfit};
use super::read::{Kind, Member, Reader};
use crate::base::ImagePath;
use crate::build::Error;
use crate::build::disk::tree::Place;
use crate::build::disk::volume::{Filesystem, NEW_FILE, Volume, fat_time, on_ext4, on_fat, to_fat};
use crate::build::disk::{FileKind, Job, Timestamp, Tree};
use crate::image::ext4::{self, NodeKind};
use crate::source;

/// Read at once from a pipe or file.
const BUFFER_LEN: usize = 256 << 10;

/// A tar archive, perhaps packed, that has not been read yet.
pub struct Archive {
    source: Box<dyn Read>,
    /// How long it is unpacked, where that is known.
    pub len_bytes: Option<u64>,
}

impl Archive {
    /// Opens a file: plain, gzip, xz or zstd.
    ///
    /// # Errors
    /// [`Error::Host`], [`Error::HostDirectory`], [`Error::BadArchive`] when it is packed in another way.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let host = |source| Error::Host { verb: "open", path: path.to_owned(), source };
        let file = File::open(path).map_err(host)?;
        let metadata = file.metadata().map_err(host)?;
        if metadata.is_dir() {
            return Err(Error::HostDirectory { verb: "read", path: path.to_owned() });
        }
        let len_bytes = metadata.is_file().then_some(metadata.len());
        Self::new(path, file, len_bytes)
    }

    /// The same from a stream; `name` is for messages.
    ///
    /// # Errors
    /// [`Error::BadArchive`], [`Error::Input`].
    pub fn of(name: &Path, source: impl Read + 'static) -> Result<Self, Error> {
        Self::new(name, source, None)
    }

    fn new(name: &Path, source: impl Read + 'static, len_bytes: Option<u64>) -> Result<Self, Error> {
        let input = BufReader::with_capacity(BUFFER_LEN, source);
        match source::unpacked(name, input) {
            Ok((source, is_packed)) => Ok(Self { source, len_bytes: len_bytes.filter(|_| !is_packed) }),
            Err(source::Error::Io { source, .. }) => Err(Error::Input(source)),
            Err(error) => {
                Err(Error::BadArchive { place: name.display().to_string(), reason: error.to_string() })
            }
        }
    }
}

impl Tree<'_> {
    /// Unpacks `archive` into the directory at `path`, links followed: with modes, owners as numbers, times, links, devices
    /// and extended attributes. Files replace what has their name and is no directory; directories that exist stay, with
    /// what is in them, and get the archive's attributes. Nothing goes elsewhere, whatever names and links say. Says
    /// what could not be kept.
    ///
    /// # Errors
    /// [`Error::BadArchive`]; [`Error::Unpack`] with what is wrong with a member, after which the tree is half
    /// unpacked and to be thrown away; [`Error::Interrupted`].
    pub fn unpack(
        &mut self,
        path: &ImagePath,
        mut archive: Archive,
        job: &mut Job<'_>,
    ) -> Result<Vec<String>, Error> {
        let ground = Ground::new(self, path)?;
        let mut reader = Reader::new(&mut archive.source);
        let (folders, on_fat, partial) = (HashMap::new(), 0, 0);
        let mut unpacker = Unpacker { tree: self, ground, made: None, folders, on_fat, partial };
        while let Some(member) = reader.next()? {
            let name = || member.name.escape_ascii().to_string();
            let unpacked = unpacker.add(&member, &mut Content { reader: &mut reader, job });
            // What a raised interrupt stops may look like a file that ends too early.
            job.advance(0)?;
            unpacked.map_err(|source| Error::Unpack { name: name(), source: Box::new(source) })?;
        }
        unpacker.end()
    }
}

/// The content of a member, with an eye on the time it takes.
struct Content<'c, 'r, 'j> {
    reader: &'c mut Reader<'r>,
    job: &'c mut Job<'j>,
}

impl Read for Content<'_, '_, '_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let len = self.reader.read(buf)?;
        // Not ErrorKind::Interrupted: who reads would try again.
        self.job.advance(len as u64).map_err(io::Error::other)?;
        Ok(len)
    }
}

struct Unpacker<'u, 'd> {
    tree: &'u mut Tree<'d>,
    ground: Ground,
    /// A directory that is there; none ever goes.
    made: Option<ImagePath>,
    /// Directories of ext4 by inode, and the time that each gets when nothing more goes into it.
    folders: HashMap<(bool, u32), Timestamp>,
    /// How many members have something that FAT cannot keep, and something that ext4 cannot.
    on_fat: u64,
    partial: u64,
}

impl Unpacker<'_, '_> {
    fn add(&mut self, member: &Member, content: &mut Content<'_, '_, '_>) -> Result<(), Error> {
        let path = self.ground.place(self.tree, &member.name)?;
        self.make_parents(&path)?;
        self.partial += u64::from(member.is_partial);
        match &member.kind {
            Kind::Directory => self.directory(path, member),
            Kind::HardLink(name) => self.hard_link(path, name),
            _ => {
                self.clear(&path)?;
                let place = self.tree.place_of(path);
                self.make(&place, member, content)?;
                self.restore(&place, member, true)
            }
        }
    }

    /// The directories above, which an archive need not have: 0755 and root's.
    fn make_parents(&mut self, path: &ImagePath) -> Result<(), Error> {
        let Some(parent) = path.parent().filter(|parent| self.made.as_ref() != Some(parent)) else {
            return Ok(());
        };
        let place = self.tree.place_of(parent.clone());
        match self.tree.volume_at(place.on_mounted).stat(&place.path)? {
            Some(stat) if stat.kind == FileKind::Directory => {}
            Some(_) => return Err(Error::NotADirectory { verb: "go through", path: parent }),
            None => self.tree.make_directory(&parent, true)?,
        }
        self.made = Some(parent);
        Ok(())
    }

    fn directory(&mut self, path: ImagePath, member: &Member) -> Result<(), Error> {
        let mut place = self.tree.place_of(path.clone());
        let mut found = self.stat(&place)?;
        if found == Some(FileKind::Symlink) {
            let leads = self.tree.place_of(self.ground.follow(self.tree, &path)?);
            if self.stat(&leads)? == Some(FileKind::Directory) {
                (place, found) = (leads, Some(FileKind::Directory));
            }
        }
        let is_new = found != Some(FileKind::Directory);
        if is_new {
            self.clear(&path)?;
            self.tree.volume_at_mut(place.on_mounted).make_directory(&place.path)?;
        }
        self.restore(&place, member, is_new)
    }

    fn hard_link(&mut self, path: ImagePath, name: &[u8]) -> Result<(), Error> {
        let existing = self.ground.place(self.tree, name).map_err(|error| match error {
            Error::UnfitMember(reason) => {
                unfit(format!("it is a hard link to `{}`, which cannot be: {reason}", name.escape_ascii()))
            }
            error => error,
        })?;
        let inode = |tree: &Tree<'_>, path: &ImagePath| {
            let place = tree.place_of(path.clone());
            Ok::<_, Error>(tree.volume_at(place.on_mounted).stat(&place.path)?.and_then(|stat| stat.inode))
        };
        if inode(self.tree, &path)?
            .is_some_and(|number| inode(self.tree, &existing).ok() == Some(Some(number)))
            && self.tree.place_of(path.clone()).on_mounted == self.tree.place_of(existing.clone()).on_mounted
        {
            return Ok(());
        }
        self.clear(&path)?;
        self.ground.forget();
        self.tree.hard_link(&existing, &path)
    }

    fn stat(&self, place: &Place) -> Result<Option<FileKind>, Error> {
        Ok(self.tree.volume_at(place.on_mounted).stat(&place.path)?.map(|stat| stat.kind))
    }

    /// Makes room: what is there goes, unless it is a directory.
    fn clear(&mut self, path: &ImagePath) -> Result<(), Error> {
        let place = self.tree.place_of(path.clone());
        match self.stat(&place)? {
            None => Ok(()),
            Some(FileKind::Directory) => Err(unfit(format!("{path} is a directory, and this is none"))),
            Some(_) => {
                self.ground.forget();
                self.tree.volume_at_mut(place.on_mounted).remove(&place.path)
            }
        }
    }

    /// What is new, without its attributes.
    fn make(
        &mut self,
        place: &Place,
        member: &Member,
        content: &mut Content<'_, '_, '_>,
    ) -> Result<(), Error> {
        let path = &place.path;
        let volume = self.tree.volume_at_mut(place.on_mounted);
        let node = match &member.kind {
            Kind::File => {
                let len_bytes = content.reader.left();
                return volume.write(path, content, len_bytes);
            }
            Kind::Symlink(target) => {
                self.ground.forget();
                let root = volume.ext4(path, "symlinks")?;
                return root.symlink(path, target, member.uid, member.gid).map_err(on_ext4("link", path));
            }
            Kind::CharacterDevice { major, minor } => {
                NodeKind::CharacterDevice { major: *major, minor: *minor }
            }
            Kind::BlockDevice { major, minor } => NodeKind::BlockDevice { major: *major, minor: *minor },
            Kind::Fifo => NodeKind::Fifo,
            Kind::Directory | Kind::HardLink(_) => return Ok(()),
        };
        volume.ext4(path, "devices")?.make_node(path, node, NEW_FILE).map_err(on_ext4("create", path))
    }

    fn restore(&mut self, place: &Place, member: &Member, is_new: bool) -> Result<(), Error> {
        let Place { on_mounted, path } = place;
        match &mut self.tree.volume_at_mut(*on_mounted).filesystem {
            Filesystem::Ext4(root) => {
                let number = root.stat(path, false).map_err(on_ext4("read", path))?.inode;
                let Member { mode, uid, gid, modified, xattrs, .. } = member;
                let attributes = ext4::Attributes {
                    mode: *mode,
                    uid: *uid,
                    gid: *gid,
                    modified: *modified,
                    xattrs,
                    is_all: is_new,
                };
                root.restore_of(number, &attributes).map_err(on_ext4("change", path))?;
                if member.kind == Kind::Directory {
                    self.folders.insert((*on_mounted, number), *modified);
                }
            }
            Filesystem::Fat(fat) => {
                let is_kept =
                    (member.uid, member.gid) == (0, 0) && member.mode == 0o755 && member.xattrs.is_empty();
                self.on_fat += u64::from(!is_kept);
                // The root has no time.
                if path.file_name().is_some() {
                    let time = fat_time(member.modified);
                    fat.set_modified(to_fat(path), time).map_err(on_fat("change", path))?;
                }
            }
        }
        Ok(())
    }

    /// Gives directories their times, and says what could not be kept.
    fn end(self) -> Result<Vec<String>, Error> {
        for ((on_mounted, number), time) in self.folders {
            if let Volume { filesystem: Filesystem::Ext4(root), .. } = self.tree.volume_at_mut(on_mounted) {
                root.set_times_of(number, time).map_err(on_ext4("change", &ImagePath::root()))?;
            }
        }
        let mut notes = Vec::new();
        let Self { on_fat, partial, .. } = self;
        if on_fat > 0 {
            notes.push(format!("{on_fat} members went to FAT, which keeps no owners, modes and attributes"));
        }
        if partial > 0 {
            notes.push(format!(
                "{partial} members have attributes that were left out: access control lists as text (wanted \
                 --xattrs --xattrs-include='*'), or others that ext4 does not know"
            ));
        }
        Ok(notes)
    }
}
