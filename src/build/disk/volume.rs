//! One filesystem of an image, ext4 or FAT, with the same words for both.

use std::io::Read;

use super::stat::{Listed, Stat, Usage};
use super::{Kind, Timestamp};
use crate::base::ImagePath;
use crate::block::{Device, ReadAt};
use crate::build::Error;
use crate::build::layout::boot_mount_in;
use crate::image::ext4::{self, NewAttributes, Xattr};
use crate::image::fat::{self, Content, Fat, FatTime};

/// An fstab is smaller.
const FSTAB_LIMIT: u64 = 1 << 20;
/// Read and written at a time.
const PIECE: usize = 1 << 20;

pub(in crate::build) enum Filesystem<'d> {
    Ext4(Box<ext4::Filesystem<'d>>),
    Fat(Box<Fat<'d>>),
}

/// An opened filesystem.
pub(in crate::build) struct Volume<'d> {
    pub(super) filesystem: Filesystem<'d>,
    number: Option<u32>,
    now: Timestamp,
}

/// What fills `device`: `ext4` or `FAT`; `None` for anything else.
pub(in crate::build) fn probe(device: &dyn ReadAt) -> Result<Option<&'static str>, Error> {
    let mut magic = [0; 2];
    if device.len_bytes() >= 2048 {
        device.read_at(1080, &mut magic)?;
    }
    if magic == [0x53, 0xef] {
        return Ok(Some("ext4"));
    }
    let mut sector = [0; 512];
    if device.len_bytes() >= 512 {
        device.read_at(0, &mut sector)?;
    }
    let is_fat = sector[510..] == [0x55, 0xaa] && (&sector[54..57] == b"FAT" || &sector[82..85] == b"FAT");
    Ok(is_fat.then_some("FAT"))
}

pub(super) fn to_fat(path: &ImagePath) -> &str {
    path.as_str().trim_start_matches('/')
}

pub(super) fn fat_time(time: Timestamp) -> FatTime {
    FatTime::from_epoch_seconds(u64::try_from(time.seconds).unwrap_or(0))
}

impl<'d> Volume<'d> {
    /// Opens the filesystem that fills `device`, which is partition `number`; `time` is what changes get, and without
    /// one it is only read. What an unclean end left in a journal is replayed first, which `say` is told of.
    pub(super) fn open(
        device: &'d dyn Device,
        number: Option<u32>,
        time: Option<Timestamp>,
        say: &mut dyn FnMut(String),
    ) -> Result<Self, Error> {
        let fault = |source| ext4_fault(number, source);
        let now = time.unwrap_or_default();
        let filesystem = match probe(device)? {
            Some("ext4") => {
                let mut root = match (ext4::recover(device), time) {
                    (Ok(recovered), _) if recovered != ext4::Recovered::default() => {
                        say(recovery(number, &recovered));
                        ext4::Filesystem::open(device)
                    }
                    (Ok(_), Some(_)) => ext4::Filesystem::open(device),
                    // What can be neither recovered nor edited may still be readable, or says why not.
                    (_, None) => ext4::Filesystem::open_to_read(device),
                    (Err(error), Some(_)) => Err(error),
                }
                .map_err(fault)?;
                root.set_clock(now);
                Filesystem::Ext4(Box::new(root))
            }
            Some(_) => {
                let opened = Fat::open(device, fat_time(now));
                Filesystem::Fat(Box::new(opened.map_err(|source| fat_fault(number, source))?))
            }
            None => return Err(Error::UnknownFilesystem { place: place(number) }),
        };
        Ok(Self { filesystem, number, now })
    }

    /// The filesystem behind the words.
    pub(in crate::build) fn filesystem(&self) -> &Filesystem<'d> {
        &self.filesystem
    }

    /// The partition it is on; `None` for a bare one.
    pub(in crate::build) fn number(&self) -> Option<u32> {
        self.number
    }

    /// Lays what was changed down on the device.
    pub(super) fn flush(self) -> Result<(), Error> {
        let number = self.number;
        match self.filesystem {
            Filesystem::Ext4(mut root) => root.commit().map_err(|source| ext4_fault(number, source)),
            Filesystem::Fat(fat) => fat.close().map_err(|source| fat_fault(number, source)),
        }
    }

    /// Where this filesystem's fstab says that the boot partition belongs, links followed.
    pub(super) fn boot_mount(&self) -> Result<Option<ImagePath>, Error> {
        let Filesystem::Ext4(root) = &self.filesystem else { return Ok(None) };
        let fstab = ImagePath::root().join("etc/fstab").map_err(|error| Error::NotAnOs(error.to_string()))?;
        let bytes = match root.read_file(&fstab, FSTAB_LIMIT) {
            Ok(bytes) => bytes,
            Err(
                ext4::Error::NotFound { .. }
                | ext4::Error::NotADirectory { .. }
                | ext4::Error::IsADirectory { .. }
                | ext4::Error::WrongKind { .. },
            ) => return Ok(None),
            Err(error) => return Err(on_ext4("read", &fstab)(error)),
        };
        let text = String::from_utf8_lossy(&bytes).into_owned();
        match boot_mount_in(&text).map(str::parse::<ImagePath>) {
            Some(Ok(at)) => root.canonical(&at, true).map(Some).map_err(on_ext4("read", &at)),
            _ => Ok(None),
        }
    }

    /// `path` with every link followed, the last one too if `follow_last` says so.
    pub(in crate::build) fn canonical(
        &self,
        verb: &'static str,
        path: &ImagePath,
        follow_last: bool,
    ) -> Result<ImagePath, Error> {
        match &self.filesystem {
            Filesystem::Ext4(root) => root.canonical(path, follow_last).map_err(on_ext4(verb, path)),
            Filesystem::Fat(_) => Ok(path.clone()),
        }
    }

    pub(super) fn stat(&self, path: &ImagePath) -> Result<Option<Stat>, Error> {
        match &self.filesystem {
            Filesystem::Ext4(root) => match root.stat(path, false) {
                Ok(stat) => Ok(Some(Stat::of_ext4(&stat))),
                Err(ext4::Error::NotFound { .. }) => Ok(None),
                Err(error) => Err(on_ext4("read", path)(error)),
            },
            Filesystem::Fat(fat) => {
                let found = fat.stat(to_fat(path)).map_err(on_fat("read", path))?;
                found.map(|entry| self.fat_stat(fat, to_fat(path), &entry)).transpose()
            }
        }
    }

    /// `at` has no `/` at either end.
    pub(super) fn fat_stat(&self, fat: &Fat<'_>, at: &str, entry: &fat::Entry) -> Result<Stat, Error> {
        let allocated = fat.allocated_bytes(at, entry);
        Ok(Stat::of_fat(entry, allocated.map_err(|source| fat_fault(self.number, source))?))
    }

    pub(super) fn read_link(&self, path: &ImagePath) -> Result<Vec<u8>, Error> {
        match &self.filesystem {
            Filesystem::Ext4(root) => root.read_link(path).map_err(on_ext4("read", path)),
            Filesystem::Fat(_) => Err(fat_cannot(path, "symlinks")),
        }
    }

    /// The names in a directory, in the order of their bytes.
    pub(super) fn list(&self, path: &ImagePath) -> Result<Vec<Listed>, Error> {
        let mut names: Vec<Listed> = match &self.filesystem {
            Filesystem::Ext4(root) => {
                let on = on_ext4("read", path);
                let listed = root.read_dir(path).and_then(|entries| {
                    let described = entries.into_iter().map(|entry| {
                        let (stat, target) = root.describe(entry.inode)?;
                        Ok(Listed { name: entry.name, stat: Stat::of_ext4(&stat), target })
                    });
                    described.collect::<Result<Vec<_>, _>>()
                });
                listed.map_err(on)?
            }
            Filesystem::Fat(fat) => {
                let entries = fat.read_dir(to_fat(path)).map_err(on_fat("read", path))?;
                let listed = entries.into_iter().map(|entry| {
                    let stat = self.fat_stat(fat, &format!("{}/{}", to_fat(path), entry.name), &entry)?;
                    Ok(Listed { name: entry.name.into_bytes(), stat, target: None })
                });
                listed.collect::<Result<_, Error>>()?
            }
        };
        names.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(names)
    }

    /// Hands the content of a file to `take`, piece by piece.
    pub(super) fn read<E: From<Error>>(
        &self,
        path: &ImagePath,
        take: &mut dyn FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut buf = vec![0; PIECE];
        let mut offset = 0;
        let mut content: Option<Content<'_, 'd>> = None;
        loop {
            let count = match &self.filesystem {
                Filesystem::Ext4(root) => {
                    root.read_at(path, offset, &mut buf).map_err(on_ext4("read", path))?
                }
                Filesystem::Fat(fat) => {
                    let content = match &mut content {
                        Some(content) => content,
                        none => none.insert(fat.content(to_fat(path)).map_err(on_fat("read", path))?),
                    };
                    content.read(&mut buf).map_err(on_fat("read", path))?
                }
            };
            if count == 0 {
                return Ok(());
            }
            take(buf.get(..count).unwrap_or_default())?;
            offset += count as u64;
        }
    }

    pub(super) fn write(
        &mut self,
        path: &ImagePath,
        source: &mut dyn Read,
        len_bytes: u64,
    ) -> Result<(), Error> {
        match &mut self.filesystem {
            Filesystem::Ext4(root) => {
                let mut written = root.write_from(path, source, len_bytes, NEW_FILE);
                // What the file holds is kept until all has been read; where there is no room for both, it has to
                // go first.
                if matches!(written, Err(ext4::Error::NoSpace { .. }))
                    && root.exists(path, true).unwrap_or(false)
                {
                    root.truncate(path, 0).map_err(on_ext4("write", path))?;
                    written = root.write_from(path, source, len_bytes, NEW_FILE);
                }
                written.map_err(on_ext4("write", path))
            }
            Filesystem::Fat(fat) => {
                fat.write_from(to_fat(path), source, len_bytes).map_err(on_fat("write", path))
            }
        }
    }

    /// Puts what `source` gives at `offset` of a file that exists.
    pub(super) fn write_at(
        &mut self,
        path: &ImagePath,
        offset: u64,
        source: &mut dyn Read,
        len_bytes: u64,
    ) -> Result<(), Error> {
        let root = match &mut self.filesystem {
            Filesystem::Ext4(root) => root,
            Filesystem::Fat(fat) => {
                let written = fat.write_at(to_fat(path), offset, source, len_bytes);
                return written.map_err(on_fat("write", path));
            }
        };
        // An empty piece too: it sees that the file is there.
        let mut at = offset;
        let mut left = len_bytes;
        loop {
            let mut piece = vec![0; usize::try_from(left).unwrap_or(usize::MAX).min(4 * PIECE)];
            source.read_exact(&mut piece).map_err(Error::Input)?;
            root.write_at(path, at, &piece).map_err(on_ext4("write", path))?;
            at += piece.len() as u64;
            left -= piece.len() as u64;
            if left == 0 {
                return Ok(());
            }
        }
    }

    pub(super) fn truncate(&mut self, path: &ImagePath, len_bytes: u64) -> Result<(), Error> {
        match &mut self.filesystem {
            Filesystem::Ext4(root) => root.truncate(path, len_bytes).map_err(on_ext4("write", path)),
            Filesystem::Fat(fat) => fat.truncate(to_fat(path), len_bytes).map_err(on_fat("write", path)),
        }
    }

    /// Makes a directory whose parent exists, and which does not.
    pub(super) fn make_directory(&mut self, path: &ImagePath) -> Result<(), Error> {
        match &mut self.filesystem {
            Filesystem::Ext4(root) => root.mkdir(path, NEW_DIRECTORY).map_err(on_ext4("create", path)),
            Filesystem::Fat(fat) => fat.make_dir(to_fat(path)).map_err(on_fat("create", path)),
        }
    }

    /// Removes what is there, and all below it.
    pub(super) fn remove(&mut self, path: &ImagePath) -> Result<(), Error> {
        match &mut self.filesystem {
            Filesystem::Ext4(root) => root.remove_all(path).map_err(on_ext4("remove", path)),
            Filesystem::Fat(fat) => fat.remove(to_fat(path)).map_err(on_fat("remove", path)),
        }
    }

    pub(super) fn rename(&mut self, from: &ImagePath, to: &ImagePath) -> Result<(), Error> {
        match &mut self.filesystem {
            Filesystem::Ext4(root) => root.rename(from, to).map_err(on_ext4("rename", from)),
            Filesystem::Fat(fat) => fat.rename(to_fat(from), to_fat(to)).map_err(on_fat("rename", from)),
        }
    }

    pub(super) fn hard_link(&mut self, existing: &ImagePath, new: &ImagePath) -> Result<(), Error> {
        self.ext4(new, "hard links")?.hard_link(existing, new).map_err(on_ext4("link", new))
    }

    pub(super) fn symlink(&mut self, path: &ImagePath, target: &str) -> Result<(), Error> {
        self.ext4(path, "symlinks")?.symlink(path, target.as_bytes(), 0, 0).map_err(on_ext4("link", path))
    }

    pub(super) fn set_mode(&mut self, path: &ImagePath, mode: u16) -> Result<(), Error> {
        self.ext4(path, "modes")?.set_mode(path, mode).map_err(on_ext4("change", path))
    }

    pub(super) fn set_owner(&mut self, path: &ImagePath, uid: u32, gid: u32) -> Result<(), Error> {
        self.ext4(path, "owners")?.set_owner(path, uid, gid).map_err(on_ext4("change", path))
    }

    pub(super) fn set_times(&mut self, path: &ImagePath, time: Timestamp) -> Result<(), Error> {
        match &mut self.filesystem {
            Filesystem::Ext4(root) => root.set_times(path, time, time).map_err(on_ext4("change", path)),
            Filesystem::Fat(fat) => {
                fat.set_modified(to_fat(path), fat_time(time)).map_err(on_fat("change", path))
            }
        }
    }

    pub(super) fn xattrs(&self, path: &ImagePath) -> Result<Vec<Xattr>, Error> {
        match &self.filesystem {
            Filesystem::Ext4(root) => root.xattrs(path).map_err(on_ext4("read", path)),
            Filesystem::Fat(_) => Ok(Vec::new()),
        }
    }

    pub(super) fn xattr(&self, path: &ImagePath, name: &str) -> Result<Vec<u8>, Error> {
        let Filesystem::Ext4(root) = &self.filesystem else { return Err(fat_cannot(path, XATTRS)) };
        let value = root.xattr(path, name.as_bytes()).map_err(on_ext4("read", path))?;
        value.ok_or_else(|| Error::NoAttribute { path: path.clone(), name: name.to_owned() })
    }

    pub(super) fn set_xattr(&mut self, path: &ImagePath, name: &str, value: &[u8]) -> Result<(), Error> {
        let set = self.ext4(path, XATTRS)?.set_xattr(path, name.as_bytes(), value);
        set.map_err(on_ext4("change", path))
    }

    pub(super) fn remove_xattr(&mut self, path: &ImagePath, name: &str) -> Result<(), Error> {
        let root = self.ext4(path, XATTRS)?;
        if root.xattr(path, name.as_bytes()).map_err(on_ext4("read", path))?.is_none() {
            return Err(Error::NoAttribute { path: path.clone(), name: name.to_owned() });
        }
        root.remove_xattr(path, name.as_bytes()).map_err(on_ext4("change", path))
    }

    pub(super) fn now(&self) -> Timestamp {
        self.now
    }

    pub(super) fn ext4(
        &mut self,
        path: &ImagePath,
        what: &'static str,
    ) -> Result<&mut ext4::Filesystem<'d>, Error> {
        match &mut self.filesystem {
            Filesystem::Ext4(root) => Ok(root),
            Filesystem::Fat(_) => Err(fat_cannot(path, what)),
        }
    }

    pub(in crate::build) fn usage(&self, mounted_on: String) -> Result<Usage, Error> {
        let partition = self.number;
        match &self.filesystem {
            Filesystem::Ext4(root) => {
                let block_len = u64::from(root.block_len());
                let len_bytes = root.len_blocks().saturating_mul(block_len);
                let free_bytes = root.free_blocks().saturating_mul(block_len);
                Ok(Usage {
                    partition,
                    kind: "ext4",
                    mounted_on,
                    label: root.label(),
                    uuid: uuid::Uuid::from_bytes(root.uuid()).to_string(),
                    len_bytes,
                    used_bytes: len_bytes.saturating_sub(free_bytes),
                    free_bytes,
                    inodes: Some(root.inodes()),
                    free_inodes: Some(root.free_inodes()),
                })
            }
            Filesystem::Fat(fat) => {
                let free_bytes = fat.free_bytes().map_err(|source| fat_fault(self.number, source))?;
                let serial = fat.volume_id();
                Ok(Usage {
                    partition,
                    kind: if fat.is_fat32() { "FAT32" } else { "FAT16" },
                    mounted_on,
                    label: fat.label().unwrap_or_default().to_owned(),
                    uuid: format!("{:04X}-{:04X}", serial >> 16, serial & 0xffff),
                    len_bytes: fat.data_bytes(),
                    used_bytes: fat.data_bytes().saturating_sub(free_bytes),
                    free_bytes,
                    inodes: None,
                    free_inodes: None,
                })
            }
        }
    }

    /// Sets the UUID of ext4, or the serial of a FAT, written `1A2B-3C4D`.
    pub(super) fn set_uuid(&mut self, text: &str) -> Result<(), Error> {
        let number = self.number;
        match &mut self.filesystem {
            Filesystem::Ext4(root) => {
                let wanted = "a UUID such as 6a1c9d3e-0f42-4a57-9c0e-2b7d8f5e1a90, for this is ext4";
                let uuid = uuid::Uuid::try_parse(text)
                    .map_err(|_| Error::BadWord { found: text.to_owned(), wanted })?;
                root.set_uuid(*uuid.as_bytes()).map_err(|source| ext4_fault(number, source))
            }
            Filesystem::Fat(fat) => {
                let wanted = "a serial such as 1A2B-3C4D, for this is FAT";
                let serial = serial(text).ok_or_else(|| Error::BadWord { found: text.to_owned(), wanted })?;
                fat.set_volume_id(serial).map_err(|source| fat_fault(number, source))
            }
        }
    }

    pub(super) fn set_label(&mut self, label: &str) -> Result<(), Error> {
        let number = self.number;
        match &mut self.filesystem {
            Filesystem::Ext4(root) => root.set_label(label).map_err(|source| ext4_fault(number, source)),
            Filesystem::Fat(fat) => fat.set_label(label).map_err(|source| fat_fault(number, source)),
        }
    }

    /// Grows the filesystem to its device of `len_bytes`, which holds zero bytes from `zero_from` on.
    pub(super) fn grow(&mut self, len_bytes: u64, zero_from: u64) -> Result<(), Error> {
        match &mut self.filesystem {
            Filesystem::Ext4(root) => {
                let block_len = u64::from(root.block_len());
                let grown = root.grow(len_bytes / block_len, zero_from.div_ceil(block_len));
                grown.map(drop).map_err(|source| ext4_fault(self.number, source))
            }
            Filesystem::Fat(_) => Err(Error::CannotGrow { place: place(self.number) }),
        }
    }
}

/// Every filesystem there is has its mark before this byte; the last is that of Btrfs, at 64 KiB.
const MARKS_LEN: u64 = 128 << 10;

/// Makes a filesystem that fills `device`; `seed` is where its numbers come from.
pub(super) fn make(device: &dyn Device, kind: Kind, now: Timestamp, seed: &[u8; 32]) -> Result<(), Error> {
    // The marks of what was there before: two at once would make everybody guess.
    let marks = device.len_bytes().min(MARKS_LEN);
    device.write_at(0, &vec![0; usize::try_from(marks).unwrap_or(0)])?;
    let mut uuid = [0; 16];
    let mut hash_seed = [0; 16];
    uuid.copy_from_slice(&seed[..16]);
    hash_seed.copy_from_slice(&seed[16..]);
    match kind {
        Kind::Ext4 => {
            let uuid = uuid::Builder::from_random_bytes(uuid).into_uuid().into_bytes();
            let options = ext4::MakeOptions { uuid, hash_seed, time: now, ..ext4::MakeOptions::default() };
            ext4::make(device, &options).map_err(|source| ext4_fault(None, source))
        }
        Kind::Fat32 => {
            let [a, b, c, d, ..] = uuid;
            let volume_id = u32::from_le_bytes([a, b, c, d]);
            let options = fat::MakeOptions { label: String::new(), volume_id, time: fat_time(now) };
            fat::make(device, &options).map_err(|source| fat_fault(None, source))
        }
    }
}

const XATTRS: &str = "extended attributes";
pub(super) const NEW_FILE: NewAttributes = NewAttributes { mode: 0o644, uid: 0, gid: 0 };
const NEW_DIRECTORY: NewAttributes = NewAttributes { mode: 0o755, uid: 0, gid: 0 };

fn serial(text: &str) -> Option<u32> {
    let (high, low) = text.split_once('-')?;
    let is_hex = |half: &str| half.len() == 4 && half.bytes().all(|byte| byte.is_ascii_hexdigit());
    let half = |half: &str| u32::from_str_radix(half, 16).ok();
    (is_hex(high) && is_hex(low)).then_some(half(high)? << 16 | half(low)?)
}

fn place(number: Option<u32>) -> String {
    number.map_or_else(|| "the image".to_owned(), |number| format!("partition {number}"))
}

fn recovery(number: Option<u32>, recovered: &ext4::Recovered) -> String {
    let ext4::Recovered { transactions, blocks, orphans } = recovered;
    format!(
        "{} was not unmounted cleanly: recovered its journal ({transactions} transactions, {blocks} blocks, \
         {orphans} orphans)",
        place(number)
    )
}

fn ext4_fault(number: Option<u32>, source: ext4::Error) -> Error {
    Error::Ext4 { place: place(number), source: Box::new(source) }
}

fn fat_fault(number: Option<u32>, source: fat::Error) -> Error {
    Error::Fat { place: place(number), source: Box::new(source) }
}

pub(super) fn on_ext4(verb: &'static str, path: &ImagePath) -> impl Fn(ext4::Error) -> Error {
    let path = path.clone();
    move |source| Error::Ext4Path { verb, path: path.clone(), source: Box::new(source) }
}

pub(super) fn on_fat(verb: &'static str, path: &ImagePath) -> impl Fn(fat::Error) -> Error {
    let path = path.clone();
    move |source| Error::FatPath { verb, path: path.clone(), source: Box::new(source) }
}

fn fat_cannot(path: &ImagePath, what: &'static str) -> Error {
    Error::FatHasNo { path: path.clone(), what }
}
