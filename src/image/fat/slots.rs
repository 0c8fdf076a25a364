//! Directory entries as they lie on the disk, for what `fatfs` does not do: times, `..`, the label,
//! what a directory takes.
//!
//! | bytes  | an entry of 32 (FAT 1.03 §6) |
//! |--------|------------------------------|
//! | 0..11  | `DIR_Name`                   |
//! | 11     | `DIR_Attr`                   |
//! | 18..20 | `DIR_LstAccDate`             |
//! | 20, 26 | `DIR_FstClusHI`, `LO`        |
//! | 22..26 | `DIR_WrtTime`, `DIR_WrtDate` |
//! | 28..32 | `DIR_FileSize`               |

use std::ops::Range;

use super::layout::{Next, u32_le};
use super::{Entry, Error, Fat, FatTime, find_in, names};

const SLOT_LEN: usize = 32;
const ATTR_LONG_NAME: u8 = 0x0f;
const ATTR_VOLUME: u8 = 0x08;

type Slot = [u8; SLOT_LEN];

impl Fat<'_> {
    /// Sets when a file or directory was last changed and read; the root has no such times.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Name`] for the root, [`Error::Device`], [`Error::Corrupt`].
    pub fn set_modified(&self, path: &str, time: FatTime) -> Result<(), Error> {
        let (at, _) = self.slot_of(path)?.ok_or_else(|| Error::Name {
            path: path.to_owned(),
            reason: "the root of a FAT filesystem has no times",
        })?;
        let (date, clock) = time.words();
        self.pages.write(at + 18, &date.to_le_bytes())?;
        self.pages.write(at + 22, &clock.to_le_bytes())?;
        Ok(self.pages.write(at + 24, &date.to_le_bytes())?)
    }

    /// Sets the volume label, in the root directory, the boot sector and its backup; the empty one takes it away.
    ///
    /// # Errors
    /// [`Error::Label`] unless it has up to 11 characters that FAT allows; [`Error::Device`], [`Error::Corrupt`].
    pub fn set_label(&mut self, label: &str) -> Result<(), Error> {
        let name = label_bytes(label)?;
        let volume = self.each_slot(0, |at, slot| (is_used(slot) && is_volume(slot)).then_some(at))?;
        let free = self.each_slot(0, |at, slot| matches!(slot[0], 0 | 0xe5).then_some(at))?;
        match (volume, free) {
            (Some(at), _) if label.is_empty() => self.pages.write(at, &[0xe5])?,
            (Some(at), _) => self.pages.write(at, &name)?,
            (None, _) if label.is_empty() => {}
            (None, Some(at)) => {
                let (date, clock) = self.time.words();
                let mut slot = [0; SLOT_LEN];
                slot[..11].copy_from_slice(&name);
                slot[11] = ATTR_VOLUME;
                slot[22..24].copy_from_slice(&clock.to_le_bytes());
                slot[24..26].copy_from_slice(&date.to_le_bytes());
                self.pages.write(at, &slot)?;
            }
            (None, None) => {
                let reason = "the root directory has no free entry for it";
                return Err(Error::Label { label: label.to_owned(), reason });
            }
        }
        let in_boot_sector = if label.is_empty() { *b"NO NAME    " } else { name };
        // BS_VolLab follows BS_VolID.
        let field_at = self.layout.volume_id_at() + 4;
        for sector_at in [Some(0), self.layout.backup_at].into_iter().flatten() {
            let mut mark = [0; 2];
            self.pages.read(sector_at + 510, &mut mark)?;
            if mark == [0x55, 0xaa] {
                self.pages.write(sector_at + field_at, &in_boot_sector)?;
            }
        }
        self.label = (!label.is_empty()).then(|| label.to_uppercase());
        Ok(())
    }

    /// Where the content of a file lies, in the order of its bytes: whole clusters, and of the last as much as belongs
    /// to it.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Corrupt`] when its clusters end before its length, [`Error::Device`].
    pub fn extents(&self, path: &str) -> Result<Vec<Range<u64>>, Error> {
        let Some((_, slot)) = self.slot_of(path)? else { return Ok(Vec::new()) };
        let mut left = u64::from(u32_le(&slot, 28));
        let mut next = Next::Cluster(self.first_cluster(&slot));
        let mut extents: Vec<Range<u64>> = Vec::new();
        while left > 0 {
            // `tree` has seen to the first one, the layout to the others.
            let Next::Cluster(cluster) = next else {
                return Err(Error::Corrupt(format!("`{path}` ends {left} bytes too early")));
            };
            if !self.layout.is_cluster(cluster) {
                return Err(Error::Corrupt(format!(
                    "`{path}` begins at cluster {cluster:#x}, which is none"
                )));
            }
            let at = self.layout.cluster_at(cluster);
            let len = left.min(self.layout.cluster_len);
            match extents.last_mut() {
                Some(last) if last.end == at => last.end += len,
                _ => extents.push(at..at + len),
            }
            left -= len;
            if left > 0 {
                next = self.pages.next(cluster)?;
            }
        }
        Ok(extents)
    }

    /// The bytes of the clusters that what is at `path` takes, which `entry` describes: for a directory those of its
    /// entries, as Linux counts them.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Corrupt`], [`Error::Device`].
    pub fn allocated_bytes(&self, path: &str, entry: &Entry) -> Result<u64, Error> {
        let cluster_len = self.layout.cluster_len;
        if !entry.is_dir {
            return Ok(entry.len_bytes.next_multiple_of(cluster_len));
        }
        let first = match self.slot_of(path)? {
            Some((_, slot)) => self.first_cluster(&slot),
            None if self.layout.is_fat32 => self.layout.root_cluster,
            None => return Ok(self.layout.root_len.next_multiple_of(cluster_len)),
        };
        let mut next = self.pages.next(first)?;
        let mut count = 1;
        while let Next::Cluster(cluster) = next {
            count += 1;
            if count > u64::from(self.layout.cluster_count) {
                return Err(Error::Corrupt(format!("`{path}` is a directory that never ends")));
            }
            next = self.pages.next(cluster)?;
        }
        Ok(count * cluster_len)
    }

    /// Lets `..` of a directory that was moved name the directory it is in now; `fatfs` forgets to.
    pub(super) fn set_parent(&self, path: &str) -> Result<(), Error> {
        let Some((_, slot)) = self.slot_of(path)? else { return Ok(()) };
        let (parent, _) = path.rsplit_once('/').unwrap_or(("", path));
        // 0 for the root, also of FAT32 (FAT 1.03 §6.5).
        let parent = self.slot_of(parent)?.map_or(0, |(_, slot)| self.first_cluster(&slot));
        let first = self.first_cluster(&slot);
        let dots = self.each_slot(first, |at, slot| (slot[..11] == *b"..         ").then_some(at))?;
        let at = dots.ok_or_else(|| Error::Corrupt(format!("directory `{path}` has no `..`")))?;
        let [low, high] = [parent & 0xffff, parent >> 16].map(|half| u16::try_from(half).unwrap_or(0));
        self.pages.write(at + 20, &high.to_le_bytes())?;
        Ok(self.pages.write(at + 26, &low.to_le_bytes())?)
    }

    /// The entry of `path` and where it is; `None` for the root.
    fn slot_of(&self, path: &str) -> Result<Option<(u64, Slot)>, Error> {
        let missing = || Error::NotFound(path.to_owned());
        let mut dir = self.fs.root_dir();
        let mut found: Option<(u64, Slot)> = None;
        self.pages.begin();
        for name in names(path) {
            let entry = find_in(&dir, name, path)?.ok_or_else(missing)?;
            // The short name is the one thing that is the same here and there.
            let short = raw_short_name(entry.short_file_name_as_bytes());
            let first = found.map_or(0, |(_, slot)| self.first_cluster(&slot));
            let slot = self.each_slot(first, |at, slot| {
                (is_used(slot) && !is_volume(slot) && slot[..11] == short).then_some((at, *slot))
            })?;
            found = Some(slot.ok_or_else(missing)?);
            if entry.is_dir() {
                dir = entry.to_dir();
            }
        }
        Ok(found)
    }

    fn first_cluster(&self, slot: &Slot) -> u32 {
        let high = if self.layout.is_fat32 { u16::from_le_bytes([slot[20], slot[21]]) } else { 0 };
        u32::from(high) << 16 | u32::from(u16::from_le_bytes([slot[26], slot[27]]))
    }

    /// Looks at the slots of the directory that begins at a cluster, 0 for the root, up to the end mark, until `look`
    /// has seen enough.
    fn each_slot<T>(
        &self,
        first: u32,
        mut look: impl FnMut(u64, &Slot) -> Option<T>,
    ) -> Result<Option<T>, Error> {
        if first == 0 && !self.layout.is_fat32 {
            return Ok(self.slots_in(self.layout.root_start, self.layout.root_len, &mut look)?.flatten());
        }
        let mut next = Next::Cluster(if first == 0 { self.layout.root_cluster } else { first });
        for _ in 0..self.layout.cluster_count {
            let Next::Cluster(cluster) = next else { return Ok(None) };
            let at = self.layout.cluster_at(cluster);
            if let Some(found) = self.slots_in(at, self.layout.cluster_len, &mut look)? {
                return Ok(found);
            }
            next = self.pages.next(cluster)?;
        }
        Err(Error::Corrupt("a directory that never ends".to_owned()))
    }

    /// The same for a part of the directory; `None` when it goes on behind that.
    fn slots_in<T>(
        &self,
        start: u64,
        len: u64,
        look: &mut impl FnMut(u64, &Slot) -> Option<T>,
    ) -> Result<Option<Option<T>>, Error> {
        for at in (start..start + len).step_by(SLOT_LEN) {
            let mut slot = [0; SLOT_LEN];
            self.pages.read(at, &mut slot)?;
            let found = look(at, &slot);
            if found.is_some() || slot[0] == 0 {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }
}

/// Neither free nor deleted nor part of a long name; what follows the end mark is zero.
fn is_used(slot: &Slot) -> bool {
    !matches!(slot[0], 0 | 0xe5) && slot[11] & 0x3f != ATTR_LONG_NAME
}

fn is_volume(slot: &Slot) -> bool {
    slot[11] & ATTR_VOLUME != 0
}

/// `NAME.EXT` as the disk has it: 8 and 3 bytes, padded with spaces; a first byte of 0xe5 is written 0x05.
fn raw_short_name(name: &[u8]) -> [u8; 11] {
    let mut raw = [b' '; 11];
    let dot = name.iter().rposition(|byte| *byte == b'.').filter(|at| *at > 0);
    let (base, extension) = match dot {
        Some(at) => (&name[..at], &name[at + 1..]),
        None => (name, &name[..0]),
    };
    for (byte, from) in raw[..8].iter_mut().zip(base) {
        *byte = *from;
    }
    for (byte, from) in raw[8..].iter_mut().zip(extension) {
        *byte = *from;
    }
    if raw[0] == 0xe5 {
        raw[0] = 0x05;
    }
    raw
}

fn label_bytes(label: &str) -> Result<[u8; 11], Error> {
    let refuse = |reason| Err(Error::Label { label: label.to_owned(), reason });
    let upper = label.to_uppercase();
    if upper.len() > 11 {
        return refuse("it has more than 11 bytes");
    }
    if upper.bytes().any(|byte| !(0x20..0x7f).contains(&byte) || b"\"*+,./:;<=>?[\\]|".contains(&byte)) {
        return refuse("it has one of \" * + , . / : ; < = > ? [ \\ ] | or a character that is not ASCII");
    }
    if upper.starts_with(' ') {
        return refuse("it begins with a space");
    }
    let mut bytes = [b' '; 11];
    bytes[..upper.len()].copy_from_slice(upper.as_bytes());
    Ok(bytes)
}
