//! Which bytes of a FAT filesystem are in use.

use super::Error;
use super::layout::Layout;
use crate::block::{Extent, ReadAt};

/// FAT read at a time; a multiple of both lengths of an entry.
const PIECE_LEN: u64 = 64 << 10;

/// Which bytes of the device the filesystem uses, from its beginning: ascending, apart from each other. Free clusters
/// are left out, and nothing else: what lies behind the last cluster counts as used.
///
/// Spec: Microsoft FAT 1.03 §4: an entry of 0 is a free cluster; of the 32 bits of FAT32, 28 count. Only the first FAT
/// is asked.
///
/// # Errors
/// [`Error::Corrupt`], [`Error::Unsupported`] for a boot sector; [`Error::Device`].
pub fn used_ranges(device: &dyn ReadAt) -> Result<Vec<Extent>, Error> {
    let layout = Layout::read(device)?;
    let (entry_len, mask) = if layout.is_fat32 { (4, 0x0fff_ffff) } else { (2, 0xffff) };
    let mut used = Used { ranges: vec![Extent { offset: 0, len_bytes: layout.data_start }] };
    // The first two entries stand for no cluster.
    let (mut at, end) = (2 * entry_len, (u64::from(layout.cluster_count) + 2) * entry_len);
    let mut cluster_at = layout.data_start;
    let mut buffer = vec![0; usize::try_from(PIECE_LEN).unwrap_or(0)];
    while at < end {
        let len = usize::try_from(PIECE_LEN.min(end - at)).unwrap_or(0);
        let piece = buffer.get_mut(..len).unwrap_or_default();
        device.read_at(layout.fat_start + at, piece)?;
        for entry in piece.chunks(usize::try_from(entry_len).unwrap_or(4)) {
            let value = entry.iter().rev().fold(0_u32, |value, byte| value << 8 | u32::from(*byte));
            if value & mask != 0 {
                used.add(cluster_at, layout.cluster_len);
            }
            cluster_at += layout.cluster_len;
        }
        at += len as u64;
    }
    used.add(cluster_at, device.len_bytes().saturating_sub(cluster_at));
    Ok(used.ranges)
}

/// Was the filesystem on `device` unmounted cleanly, by its own word?
///
/// # Errors
/// As for [`used_ranges`].
pub fn is_clean(device: &dyn ReadAt) -> Result<bool, Error> {
    let layout = Layout::read(device)?;
    let mut sector = [0; 512];
    device.read_at(0, &mut sector)?;
    let mut entry = [0; 4];
    let entry_len = usize::try_from(layout.entry_len()).unwrap_or(4);
    device.read_at(layout.fat_start + layout.entry_len(), entry.get_mut(..entry_len).unwrap_or_default())?;
    Ok(layout.is_clean(u32::from_le_bytes(entry), &sector))
}

struct Used {
    ranges: Vec<Extent>,
}

impl Used {
    fn add(&mut self, offset: u64, len_bytes: u64) {
        match self.ranges.last_mut() {
            Some(last) if last.offset + last.len_bytes == offset => last.len_bytes += len_bytes,
            _ if len_bytes > 0 => self.ranges.push(Extent { offset, len_bytes }),
            _ => {}
        }
    }
}
