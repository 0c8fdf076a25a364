//! A look at every directory before `fatfs` sees it: each entry begins at a cluster of this filesystem, no directory
//! shares a cluster with another or with itself, and `.` and `..` are where they belong. Under another name, or with a
//! long one before them, they would lead a walk round in circles.

use std::collections::HashSet;

use super::Error;
use super::layout::{Layout, Next};
use super::pages::Pages;

/// The directory itself, and the one above.
const DOTS: [&[u8]; 2] = [b".          ", b"..         "];
const ENTRY_LEN: usize = 32;
const ATTR_LONG_NAME: u8 = 0x0f;
const ATTR_VOLUME: u8 = 0x08;
const ATTR_DIRECTORY: u8 = 0x10;
/// More than any boot partition has, and still looked at within a second.
const DIRECTORY_CLUSTERS_MAX: usize = 65_536;

/// Checks every directory; gives the volume label of the root, trimmed, when there is one.
pub(super) fn check(pages: &Pages<'_>, layout: &Layout) -> Result<Option<String>, Error> {
    let mut walk = Walk { layout, pending: Vec::new(), label: None };
    let mut seen = HashSet::new();
    if layout.is_fat32 {
        walk.pending.push(layout.root_cluster);
    } else {
        // At most 65535 entries.
        let mut root = vec![0; usize::try_from(layout.root_len).unwrap_or(0)];
        pages.read(layout.root_start, &mut root)?;
        walk.entries(&root, true, false)?;
    }
    let mut in_root = layout.is_fat32;
    let mut cluster_bytes = vec![0; usize::try_from(layout.cluster_len).unwrap_or(0)];
    while let Some(first) = walk.pending.pop() {
        let mut next = Next::Cluster(first);
        while let Next::Cluster(cluster) = next {
            if !seen.insert(cluster) {
                return Err(Error::Corrupt(format!(
                    "two directories, or one twice, use cluster {cluster:#x}"
                )));
            }
            if seen.len() > DIRECTORY_CLUSTERS_MAX {
                return Err(Error::Unsupported(format!(
                    "more than {DIRECTORY_CLUSTERS_MAX} clusters of directories"
                )));
            }
            pages.read(layout.cluster_at(cluster), &mut cluster_bytes)?;
            walk.entries(&cluster_bytes, in_root, !in_root && cluster == first)?;
            next = pages.next(cluster)?;
        }
        if let Next::Outside(next) = next {
            let message =
                format!("the directory at cluster {first:#x} continues at {next:#x}, which is none");
            return Err(Error::Corrupt(message));
        }
        in_root = false;
    }
    Ok(walk.label)
}

struct Walk<'l> {
    layout: &'l Layout,
    pending: Vec<u32>,
    label: Option<String>,
}

impl Walk<'_> {
    /// With `has_dots` the first two entries are `.` and `..`.
    fn entries(&mut self, bytes: &[u8], in_root: bool, has_dots: bool) -> Result<(), Error> {
        for (nth, entry) in bytes.chunks_exact(ENTRY_LEN).enumerate() {
            let attributes = entry[11];
            let name = &entry[..11];
            if matches!(name[0], 0 | 0xe5) || attributes & ATTR_LONG_NAME == ATTR_LONG_NAME {
                continue;
            }
            if attributes & ATTR_VOLUME != 0 {
                if in_root && self.label.is_none() {
                    self.label = Some(String::from_utf8_lossy(name).trim_end().to_owned());
                }
                continue;
            }
            let high = if self.layout.is_fat32 { u16::from_le_bytes([entry[20], entry[21]]) } else { 0 };
            let first = u32::from(high) << 16 | u32::from(u16::from_le_bytes([entry[26], entry[27]]));
            if first != 0 && !self.layout.is_cluster(first) {
                let message =
                    format!("`{}` begins at cluster {first:#x}, which is none", name.escape_ascii());
                return Err(Error::Corrupt(message));
            }
            if name[0] == b'.' {
                if has_dots && DOTS.get(nth).is_some_and(|dots| *dots == name) {
                    continue;
                }
                let message = format!("`{}` is entry {nth} of a directory", name.escape_ascii());
                return Err(Error::Corrupt(message));
            }
            if attributes & ATTR_DIRECTORY != 0 {
                if first == 0 {
                    return Err(Error::Corrupt(format!(
                        "directory `{}` has no clusters",
                        name.escape_ascii()
                    )));
                }
                self.pending.push(first);
            }
        }
        Ok(())
    }
}
