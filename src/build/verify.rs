//! Reads a pressed image back and compares it with the plan.
//!
//! Shares no code with the writers: the root is read by `ext4-view`, the boot partition by a fresh `fatfs`, ids as
//! bytes at the offsets that their specifications name.

use std::collections::BTreeMap;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::rc::Rc;

use ext4_view::{Ext4, Ext4Read};

use crate::base::ImagePath;
use crate::block::ReadAt;
use crate::image::table::Partition;
use crate::plan::{Action, Edit, Owner};

use super::Error;
use super::layout::Layout;

/// What must be at a path in the end.
enum Expected<'p> {
    File { content: Option<&'p [u8]>, mode: Option<u16>, owner: Option<Owner> },
    Directory { mode: u16, owner: Owner },
    Symlink { target: &'p str },
    Present,
    Absent,
}

/// Compares the image on `device` with what `edits` say of it.
///
/// # Errors
/// [`Error::Verify`] names the first difference.
pub(super) fn verify(
    device: &Rc<dyn ReadAt>,
    layout: &Layout,
    boot_mount: &ImagePath,
    edits: &[Edit],
) -> Result<(), Error> {
    let root = Ext4::load(Box::new(Window::new(device, &layout.root)))
        .map_err(|error| fault(format!("the root filesystem cannot be read back: {error}")))?;
    let options = fatfs::FsOptions::new().update_accessed_date(false);
    let boot = fatfs::FileSystem::new(Window::new(device, &layout.boot), options)
        .map_err(|error| fault(format!("the boot filesystem cannot be read back: {error}")))?;
    let mut links = Links { root: &root, known: BTreeMap::new() };
    for (path, expected) in expectations(edits) {
        // What is said of a link is said of the link itself.
        let follow_last = matches!(expected, Expected::File { .. } | Expected::Directory { .. });
        match links.below_boot(&path, boot_mount, follow_last) {
            Some(below) => check_on_boot(&boot, &path, &below, &expected)?,
            None => check_on_root(&root, &path, &expected)?,
        }
    }
    edits.iter().try_for_each(|edit| check_ids(device.as_ref(), layout, &edit.action))
}

fn fault(found: String) -> Error {
    Error::Verify(found)
}

/// The last word on each path: edits are replayed in order, a removal takes with it what was expected below.
fn expectations(edits: &[Edit]) -> BTreeMap<ImagePath, Expected<'_>> {
    let mut all = BTreeMap::new();
    for edit in edits {
        match &edit.action {
            Action::WriteFile { path, content, mode, owner } => {
                let (content, mode, owner) = (Some(content.bytes()), *mode, *owner);
                all.insert(path.clone(), Expected::File { content, mode, owner });
            }
            Action::MakeDirectory { path, mode, owner } => {
                all.insert(path.clone(), Expected::Directory { mode: *mode, owner: *owner });
            }
            Action::Symlink { path, target } => {
                all.insert(path.clone(), Expected::Symlink { target });
            }
            Action::Remove { path } => {
                all.retain(|known: &ImagePath, _| known.below(path).is_none());
                all.insert(path.clone(), Expected::Absent);
            }
            Action::Rename { from, to } => {
                all.retain(|known, _| known.below(from).is_none());
                all.insert(from.clone(), Expected::Absent);
                all.insert(to.clone(), Expected::Present);
            }
            Action::SetAttributes { path, mode, owner } => match all.get_mut(path) {
                Some(Expected::File { mode: known_mode, owner: known_owner, .. }) => {
                    *known_mode = mode.or(*known_mode);
                    *known_owner = owner.or(*known_owner);
                }
                Some(Expected::Directory { mode: known_mode, owner: known_owner }) => {
                    *known_mode = mode.unwrap_or(*known_mode);
                    *known_owner = owner.unwrap_or(*known_owner);
                }
                _ => {
                    let expected = Expected::File { content: None, mode: *mode, owner: *owner };
                    all.insert(path.clone(), expected);
                }
            },
            Action::SetDiskId(_)
            | Action::SetGuids { .. }
            | Action::SetRootUuid(_)
            | Action::SetBootSerial(_)
            | Action::GrowImage(_) => {}
        }
    }
    all
}

/// Where links lead, each asked for once: most paths share their first directories, and looking one up reads them through.
struct Links<'r> {
    root: &'r Ext4,
    known: BTreeMap<ImagePath, Option<String>>,
}

impl Links<'_> {
    /// The text of a symlink, if there is one.
    fn target(&mut self, path: &ImagePath) -> Option<String> {
        if let Some(known) = self.known.get(path) {
            return known.clone();
        }
        let link = self.root.read_link(path.as_str()).ok();
        let target = link.and_then(|link| link.to_str().ok().map(str::to_owned));
        self.known.insert(path.clone(), target.clone());
        target
    }

    /// The path inside the boot partition, when that is where `path` leads: by itself, or through a link such as
    /// `/boot/overlays -> firmware/overlays`.
    fn below_boot(&mut self, path: &ImagePath, boot_mount: &ImagePath, follow_last: bool) -> Option<String> {
        let mut left: Vec<String> = path.names().rev().map(str::to_owned).collect();
        let mut reached = ImagePath::root();
        let mut links = 0;
        while let Some(name) = left.pop() {
            match name.as_str() {
                "" | "." => continue,
                ".." => {
                    reached = reached.parent().unwrap_or_else(ImagePath::root);
                    continue;
                }
                _ => {}
            }
            let here = reached.join(&name).ok()?;
            let is_followed = follow_last || !left.is_empty();
            match is_followed.then(|| self.target(&here)).flatten() {
                // As many as Linux follows (path_resolution(7)).
                Some(target) if links < 40 => {
                    links += 1;
                    if target.starts_with('/') {
                        reached = ImagePath::root();
                    }
                    left.extend(target.split('/').rev().map(str::to_owned));
                }
                _ => reached = here,
            }
        }
        reached.below(boot_mount).filter(|below| !below.is_empty()).map(str::to_owned)
    }
}

fn check_on_root(root: &Ext4, path: &ImagePath, expected: &Expected<'_>) -> Result<(), Error> {
    match expected {
        Expected::Absent => match root.symlink_metadata(path.as_str()) {
            Ok(_) => Err(fault(format!("{path} is there, and was to be removed"))),
            Err(_) => Ok(()),
        },
        Expected::Symlink { target } => match root.read_link(path.as_str()) {
            Ok(found) if found.to_str() == Ok(*target) => Ok(()),
            Ok(found) => Err(fault(format!("{path} links to {}, wanted {target}", found.display()))),
            Err(error) => Err(fault(format!("{path} is no symlink: {error}"))),
        },
        Expected::Present => {
            let found = root.symlink_metadata(path.as_str());
            found.map(|_| ()).map_err(|error| fault(format!("{path} cannot be found: {error}")))
        }
        Expected::File { content: None, mode, owner } => {
            let found = root.metadata(path.as_str()).map_err(|error| fault(format!("{path}: {error}")))?;
            check_attributes(path, &found, *mode, *owner)
        }
        Expected::File { content: Some(wanted), mode, owner } => {
            let mut file = root.open(path.as_str()).map_err(|error| fault(format!("{path}: {error}")))?;
            check_attributes(path, file.metadata(), *mode, *owner)?;
            let (found_len, wanted_len) = (file.metadata().len(), wanted.len() as u64);
            if found_len != wanted_len {
                return Err(fault(format!("{path} has {found_len} bytes, wanted {wanted_len}")));
            }
            let mut found = Vec::new();
            file.read_to_end(&mut found).map_err(|error| fault(format!("{path}: {error}")))?;
            check_content(path, &found, wanted)
        }
        Expected::Directory { mode, owner } => {
            let found = root.metadata(path.as_str()).map_err(|error| fault(format!("{path}: {error}")))?;
            if !found.is_dir() {
                return Err(fault(format!("{path} is no directory")));
            }
            check_attributes(path, &found, Some(*mode), Some(*owner))
        }
    }
}

fn check_attributes(
    path: &ImagePath,
    found: &ext4_view::Metadata,
    mode: Option<u16>,
    owner: Option<Owner>,
) -> Result<(), Error> {
    if let Some(wanted) = mode.filter(|wanted| *wanted != found.mode()) {
        return Err(fault(format!("{path} has mode {:04o}, wanted {wanted:04o}", found.mode())));
    }
    match owner {
        Some(Owner { uid, gid }) if (uid, gid) != (found.uid(), found.gid()) => {
            let found = format!("{path} belongs to {}:{}", found.uid(), found.gid());
            Err(fault(format!("{found}, wanted {uid}:{gid}")))
        }
        _ => Ok(()),
    }
}

/// Tells where the first difference is, never what the bytes are: they may be secret.
fn check_content(path: &ImagePath, found: &[u8], wanted: &[u8]) -> Result<(), Error> {
    if found == wanted {
        return Ok(());
    }
    let at = found.iter().zip(wanted).take_while(|(found, wanted)| found == wanted).count();
    Err(fault(format!(
        "{path} differs from byte {at} on ({} bytes found, {} wanted)",
        found.len(),
        wanted.len()
    )))
}

fn check_on_boot(
    boot: &fatfs::FileSystem<Window>,
    path: &ImagePath,
    below: &str,
    expected: &Expected<'_>,
) -> Result<(), Error> {
    let dir = boot.root_dir();
    match expected {
        Expected::File { content: Some(wanted), .. } => {
            let mut found = Vec::new();
            dir.open_file(below)
                .and_then(|mut file| file.read_to_end(&mut found))
                .map_err(|error| fault(format!("{path}: {error}")))?;
            check_content(path, &found, wanted)
        }
        Expected::Absent => match (dir.open_file(below).is_ok(), dir.open_dir(below).is_ok()) {
            (false, false) => Ok(()),
            _ => Err(fault(format!("{path} is there, and was to be removed"))),
        },
        Expected::Directory { .. } => {
            dir.open_dir(below).map(|_| ()).map_err(|error| fault(format!("{path} is no directory: {error}")))
        }
        Expected::File { content: None, .. } | Expected::Present => Ok(()),
        Expected::Symlink { .. } => Err(fault(format!("{path} was to be a symlink, and is on FAT"))),
    }
}

fn check_ids(device: &dyn ReadAt, layout: &Layout, action: &Action) -> Result<(), Error> {
    let compare = |what: &str, offset: u64, wanted: &[u8]| -> Result<(), Error> {
        let mut found = vec![0; wanted.len()];
        device.read_at(offset, &mut found)?;
        if found == wanted {
            return Ok(());
        }
        Err(fault(format!("{what} at offset {offset} is {found:02x?}, wanted {wanted:02x?}")))
    };
    match action {
        // UEFI 2.10 §5.2.1: UniqueMBRDiskSignature at 440.
        Action::SetDiskId(id) => compare("the disk id", 440, &id.to_le_bytes()),
        // UEFI 2.10 §5.3: DiskGUID at 56 of the header in sector 1, the entries at the sector that byte 72 names, 128
        // bytes each, UniquePartitionGUID at 16.
        Action::SetGuids { disk, partitions } => {
            compare("the GUID of the disk", 512 + 56, &disk.to_bytes_le())?;
            let mut sector = [0; 8];
            device.read_at(512 + 72, &mut sector)?;
            let entries = u64::from_le_bytes(sector).saturating_mul(512);
            partitions.iter().try_for_each(|(number, guid)| {
                let offset = entries.saturating_add(u64::from(number.saturating_sub(1)) * 128 + 16);
                compare(&format!("the GUID of partition {number}"), offset, &guid.to_bytes_le())
            })
        }
        // Linux fs/ext4/ext4.h: the superblock begins at 1024, s_uuid is at 0x68 in it.
        Action::SetRootUuid(uuid) => {
            compare("the root UUID", layout.root.start_bytes + 1024 + 0x68, uuid.as_bytes())
        }
        // FAT specification 1.03: BS_VolID is at 39 in FAT16, at 67 in FAT32, where BPB_FATSz16 (at 22) is 0.
        Action::SetBootSerial(serial) => {
            let mut fat_size_16 = [0; 2];
            device.read_at(layout.boot.start_bytes + 22, &mut fat_size_16)?;
            let offset = if fat_size_16 == [0, 0] { 67 } else { 39 };
            compare("the boot serial number", layout.boot.start_bytes + offset, &serial.to_le_bytes())
        }
        Action::GrowImage(len) => check_length(device, layout, len.0),
        _ => Ok(()),
    }
}

/// The image has its length, the root partition goes to its end, and the filesystem to the partition's.
fn check_length(device: &dyn ReadAt, layout: &Layout, wanted: u64) -> Result<(), Error> {
    let number = |offset: u64, len: usize| -> Result<u64, Error> {
        let mut bytes = [0; 8];
        device.read_at(offset, &mut bytes[..len])?;
        Ok(u64::from_le_bytes(bytes))
    };
    if device.len_bytes() != wanted {
        return Err(fault(format!("the image has {} bytes, wanted {wanted}", device.len_bytes())));
    }
    let slot = u64::from(layout.root.number.saturating_sub(1));
    let (start, end, wanted) = if number(512, 8)? == u64::from_le_bytes(*b"EFI PART") {
        // UEFI 2.10 §5.3: entries at the sector that byte 72 of the header names, 128 bytes each, with the first
        // sector at 32 and the last at 40. A copy of them, and of the header in one sector, ends the disk.
        let entry = number(512 + 72, 8)?.saturating_mul(512).saturating_add(slot * 128);
        let copied = 1 + (number(512 + 80, 4)? * 128).div_ceil(512);
        let start = number(entry.saturating_add(32), 8)?;
        let last = number(entry.saturating_add(40), 8)?;
        (start, last.saturating_add(1), (wanted / 512).saturating_sub(copied))
    } else {
        // UEFI 2.10 §5.2.1: 16 bytes each from 446 on, the first sector at 8 and the number of sectors at 12.
        let entry = 446 + slot * 16;
        let start = number(entry + 8, 4)?;
        (start, start + number(entry + 12, 4)?, wanted / 512)
    };
    if end != wanted || start.saturating_mul(512) != layout.root.start_bytes {
        let found = format!("the root partition goes from sector {start} to {end}");
        return Err(fault(format!("{found}, wanted {wanted} as its end")));
    }
    // Linux fs/ext4/ext4.h: s_blocks_count_lo at 4, s_log_block_size at 0x18, s_blocks_per_group at 0x20. Only the
    // beginning of a last group can be missing.
    let superblock = layout.root.start_bytes + 1024;
    let block_len = 1024_u64 << number(superblock + 0x18, 4)?.min(6);
    let held = end.saturating_sub(start).saturating_mul(512) / block_len;
    let (found, group) = (number(superblock + 4, 4)?, number(superblock + 0x20, 4)?);
    if found > held || held - found >= group {
        return Err(fault(format!("the root filesystem has {found} blocks, wanted {held} or a little less")));
    }
    Ok(())
}

/// A read-only stream over one partition.
struct Window {
    device: Rc<dyn ReadAt>,
    start: u64,
    len_bytes: u64,
    position: u64,
}

impl Window {
    fn new(device: &Rc<dyn ReadAt>, partition: &Partition) -> Self {
        let (start, len_bytes) = (partition.start_bytes, partition.len_bytes);
        Self { device: Rc::clone(device), start, len_bytes, position: 0 }
    }
}

impl Ext4Read for Window {
    fn read(
        &mut self,
        start_byte: u64,
        dst: &mut [u8],
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync + 'static>> {
        crate::block::Error::check_bounds(start_byte, dst.len(), self.len_bytes)?;
        Ok(self.device.read_at(self.start + start_byte, dst)?)
    }
}

impl Read for Window {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.len_bytes.saturating_sub(self.position)).unwrap_or(usize::MAX);
        let len = buf.len().min(left);
        self.device.read_at(self.start + self.position, &mut buf[..len]).map_err(io::Error::other)?;
        self.position += len as u64;
        Ok(len)
    }
}

impl Seek for Window {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let position = match to {
            SeekFrom::Start(position) => Some(position),
            SeekFrom::Current(by) => self.position.checked_add_signed(by),
            SeekFrom::End(by) => self.len_bytes.checked_add_signed(by),
        };
        self.position = position.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.position)
    }
}

impl Write for Window {
    fn write(&mut self, _buf: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
