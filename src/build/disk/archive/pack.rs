//! A tree of an image as a tar stream, as `tar --format=pax --numeric-owner -C PATH -cf - .` would write it.

use std::collections::HashMap;
use std::io::{self, Write};
use std::rc::Rc;

use tar::EntryType;

use super::BLOCK_LEN;
use super::write::Member;
use crate::base::ImagePath;
use crate::build::Error;
use crate::build::disk::{FileKind, Found, Job, Tree, Walk};

/// GNU tar writes records of 20 blocks, and so does everybody since.
const RECORD_LEN: u64 = 20 * 512;
const PADDING: [u8; BLOCK_LEN] = [0; BLOCK_LEN];

/// A name that a file with more names was first met under: the folder, which many share, and the name in it.
type FirstName = (Rc<[u8]>, Box<[u8]>);

struct Packer<'p, 'j> {
    out: &'p mut dyn Write,
    job: &'p mut Job<'j>,
    written_bytes: u64,
    first_names: HashMap<(bool, u32), FirstName>,
    folder: Rc<[u8]>,
}

impl Tree<'_> {
    /// Writes the directory at `path` and everything below it to `out` as a tar archive in pax format, the same bytes
    /// for the same tree. Names begin with `./`; links are followed at `path` only; holes are zeros. Says what was left
    /// out: sockets, which tar does not know.
    ///
    /// # Errors
    /// [`Error::NoSuchPath`], [`Error::NotADirectory`], [`Error::Output`], [`Error::Interrupted`], or what keeps the
    /// tree from being read.
    pub fn pack(
        &self,
        path: &ImagePath,
        out: &mut dyn Write,
        job: &mut Job<'_>,
    ) -> Result<Vec<String>, Error> {
        if self.stat(path, true)?.kind != FileKind::Directory {
            return Err(Error::NotADirectory { verb: "pack", path: path.clone() });
        }
        let (first_names, folder) = (HashMap::new(), Rc::from(&b""[..]));
        let mut packer = Packer { out, job, written_bytes: 0, first_names, folder };
        let mut walk = Walk::new(self, path, true, usize::MAX)?;
        let mut notes = Vec::new();
        while let Some(found) = walk.next(self)? {
            if found.stat.kind == FileKind::Socket {
                notes.push(format!("{} is a socket and was left out", found.path.escape_ascii()));
            } else {
                packer.add(self, &found)?;
            }
        }
        packer.end()?;
        Ok(notes)
    }
}

impl Packer<'_, '_> {
    fn add(&mut self, tree: &Tree<'_>, found: &Found) -> Result<(), Error> {
        let stat = &found.stat;
        let mut name = [b"./", &found.path[..]].concat();
        if stat.kind == FileKind::Directory && !found.path.is_empty() {
            name.push(b'/');
        }
        let first_name = self.first_name(found);
        let xattrs = if first_name.is_some() { Vec::new() } else { tree.xattrs_found(found)? };
        let link = match &first_name {
            Some((folder, name)) => [&b"./"[..], folder, name].concat(),
            None => found.target.clone().unwrap_or_default(),
        };
        let kind = match stat.kind {
            _ if first_name.is_some() => EntryType::Link,
            FileKind::Regular | FileKind::Socket => EntryType::Regular,
            FileKind::Directory => EntryType::Directory,
            FileKind::Symlink => EntryType::Symlink,
            FileKind::CharacterDevice => EntryType::Char,
            FileKind::BlockDevice => EntryType::Block,
            FileKind::Fifo => EntryType::Fifo,
        };
        let member = Member {
            name: &name,
            kind,
            mode: stat.mode,
            uid: stat.uid,
            gid: stat.gid,
            modified: stat.modified,
            len_bytes: if kind == EntryType::Regular { stat.len_bytes } else { 0 },
            link: &link,
            device: stat.device,
            xattrs: &xattrs,
        };
        self.write(&member.to_bytes())?;
        if kind == EntryType::Regular {
            let mut left = stat.len_bytes;
            tree.read_found(found, &mut |piece| {
                left = left.saturating_sub(piece.len() as u64);
                self.write(piece)
            })?;
            if left > 0 {
                let reason = "it ends before its length";
                return Err(Error::Unwalkable { path: found.path.escape_ascii().to_string(), reason });
            }
        }
        self.pad(BLOCK_LEN as u64)
    }

    /// The name that this file was met under before. One that may be met again is remembered.
    fn first_name(&mut self, found: &Found) -> Option<FirstName> {
        let number =
            found.stat.inode.filter(|_| found.stat.links > 1 && found.stat.kind != FileKind::Directory)?;
        let key = (found.is_below_mount(), number);
        if let Some(first) = self.first_names.get(&key) {
            return Some(first.clone());
        }
        let at = found.path.iter().rposition(|byte| *byte == b'/').map_or(0, |at| at + 1);
        let (folder, name) = found.path.split_at(at);
        if *self.folder != *folder {
            self.folder = folder.into();
        }
        self.first_names.insert(key, (Rc::clone(&self.folder), name.into()));
        None
    }

    fn end(&mut self) -> Result<(), Error> {
        self.write(&[0; 2 * BLOCK_LEN])?;
        self.pad(RECORD_LEN)?;
        self.out.flush().map_err(Error::Output)
    }

    /// Zeros up to the next multiple of `unit`, which is one of a block or less than one.
    fn pad(&mut self, unit: u64) -> Result<(), Error> {
        let mut left = self.written_bytes.next_multiple_of(unit) - self.written_bytes;
        while left > 0 {
            let piece = usize::try_from(left).unwrap_or(BLOCK_LEN).min(BLOCK_LEN);
            self.write(PADDING.get(..piece).unwrap_or_default())?;
            left -= piece as u64;
        }
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.job.advance(bytes.len() as u64)?;
        self.written_bytes += bytes.len() as u64;
        self.out.write_all(bytes).map_err(|error: io::Error| Error::Output(error))
    }
}
