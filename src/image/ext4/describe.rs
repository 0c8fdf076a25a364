//! What a superblock says of its filesystem, for people. Nothing is decided by it: neither its checksum nor its bounds
//! are looked at, so that also what [`super::Filesystem`] refuses can be told about.
//!
//! Spec: Linux `Documentation/filesystems/ext4/super.rst`.

use super::bytes::{field, u16_at, u32_at};
use super::error::{Error, corrupt};
use super::features::{Features, compat, incompat, ro_compat};
use super::superblock::{LEN, OFFSET};
use crate::block::ReadAt;

const MAGIC: u16 = 0xef53;
const STATE_CLEAN: u16 = 1;
const STATE_ERRORS: u16 = 2;

/// What a superblock says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Described {
    /// `ext2`, `ext3` or `ext4`, by its features.
    pub kind: &'static str,
    /// The label; what is not UTF-8 in it is replaced.
    pub label: String,
    /// The UUID.
    pub uuid: [u8; 16],
    /// The names of its features; `compat 0x80000000` for one without a name.
    pub features: Vec<String>,
    /// Whether somebody has finished with it.
    pub state: State,
    /// All of it.
    pub len_bytes: u64,
    /// What is free, what is kept for root included. While it is mounted, and after an unclean end, only roughly so.
    pub free_bytes: u64,
    /// How many inodes there are.
    pub inodes: u32,
    /// How many of them are free.
    pub free_inodes: u32,
    /// Mounts since it was last checked (`s_mnt_count`).
    pub mounts: u16,
    /// Where it was last mounted (`s_last_mounted`); empty when nobody noted it.
    pub last_mounted_on: String,
    /// When it was last written, in seconds since 1970.
    pub written_seconds: i64,
}

/// Whether somebody has finished with a filesystem.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Unmounted, and nothing is left to do.
    Clean,
    /// The journal holds what is not in place yet: it was not unmounted, or is mounted.
    NeedsRecovery,
    /// Files that were removed while in use are still to be freed; the next mount does that.
    Orphans,
    /// The kernel met errors in it.
    HasErrors,
    /// It was in use without a journal.
    Unclean,
}

impl State {
    /// `clean`, `needs recovery` …
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Clean => "clean",
            Self::NeedsRecovery => "needs recovery",
            Self::Orphans => "has orphans",
            Self::HasErrors => "has errors",
            Self::Unclean => "not unmounted cleanly",
        }
    }
}

/// Reads what the ext2, ext3 or ext4 filesystem on `device` says of itself.
///
/// # Errors
/// [`Error::NotExt4`], [`Error::Device`]; [`Error::Corrupt`] when its block length is none.
pub fn describe(device: &dyn ReadAt) -> Result<Described, Error> {
    let mut raw = vec![0; LEN];
    device.read_at(OFFSET, &mut raw).map_err(|source| Error::Device { block: 0, source })?;
    let magic = u16_at(&raw, 0x38);
    if magic != MAGIC {
        return Err(Error::NotExt4 { magic });
    }
    let features =
        Features { compat: u32_at(&raw, 0x5c), incompat: u32_at(&raw, 0x60), ro_compat: u32_at(&raw, 0x64) };
    let log_block_len = u32_at(&raw, 0x18);
    if log_block_len > 6 {
        return Err(corrupt(format!("log block size is {log_block_len}, wanted 0 to 6 (1 to 64 KiB)")));
    }
    let wide = |low: usize, high: usize| {
        let high = if features.has_incompat(incompat::BIT64) { u32_at(&raw, high) } else { 0 };
        let blocks = u64::from(high) << 32 | u64::from(u32_at(&raw, low));
        blocks.saturating_mul(1024 << log_block_len)
    };
    let cluster_blocks = match features.has_ro_compat(ro_compat::BIGALLOC) {
        true => 1_u64 << u32_at(&raw, 0x1c).saturating_sub(log_block_len).min(19),
        false => 1,
    };
    let text = |at: usize, len: usize| {
        let bytes = raw.get(at..at + len).unwrap_or_default();
        let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
        String::from_utf8_lossy(bytes.get(..end).unwrap_or_default()).into_owned()
    };
    let high_time = raw.get(0x274).copied().unwrap_or(0);
    Ok(Described {
        kind: kind(features),
        label: text(0x78, 16),
        uuid: field(&raw, 0x68).unwrap_or_default(),
        features: features.all().0,
        state: state(&raw, features),
        len_bytes: wide(0x04, 0x150),
        free_bytes: wide(0x0c, 0x158).saturating_mul(cluster_blocks),
        inodes: u32_at(&raw, 0x00),
        free_inodes: u32_at(&raw, 0x10),
        mounts: u16_at(&raw, 0x34),
        last_mounted_on: text(0x88, 64),
        written_seconds: i64::from(high_time) << 32 | i64::from(u32_at(&raw, 0x30)),
    })
}

/// By what each generation brought: ext3 the journal, ext4 everything beside that ext3 does not know.
fn kind(features: Features) -> &'static str {
    /// Filetype, needs recovery, a journal's own device, meta_bg.
    const INCOMPAT_EXT3: u32 = 0x2 | 0x4 | 0x8 | 0x10;
    /// Sparse copies, large files, trees of names.
    const RO_COMPAT_EXT3: u32 = 0x1 | 0x2 | 0x4;
    if features.incompat & !INCOMPAT_EXT3 != 0 || features.ro_compat & !RO_COMPAT_EXT3 != 0 {
        "ext4"
    } else if features.has_compat(compat::HAS_JOURNAL) {
        "ext3"
    } else {
        "ext2"
    }
}

fn state(raw: &[u8], features: Features) -> State {
    let state = u16_at(raw, 0x3a);
    if state & STATE_ERRORS != 0 {
        State::HasErrors
    } else if features.has_incompat(incompat::RECOVER) {
        State::NeedsRecovery
    } else if state & STATE_CLEAN == 0 {
        State::Unclean
    } else if u32_at(raw, 0xe8) != 0 || features.has_ro_compat(ro_compat::ORPHAN_PRESENT) {
        State::Orphans
    } else {
        State::Clean
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::block::{Device as _, Memory};
    use crate::image::ext4::{MakeOptions, make};

    fn made() -> Memory {
        let device = Memory::new(vec![0; 8 << 20]);
        make(&device, &MakeOptions { uuid: [7; 16], ..MakeOptions::default() }).unwrap();
        device
    }

    #[test]
    fn a_new_filesystem_is_clean_and_tells_its_features() {
        let described = describe(&made()).unwrap();
        assert_eq!((described.kind, described.state, described.uuid), ("ext4", State::Clean, [7; 16]));
        assert_eq!(described.len_bytes, 8 << 20);
        assert!(described.features.iter().any(|name| name == "metadata_csum"), "{:?}", described.features);
        assert!(described.free_bytes < described.len_bytes && described.free_inodes < described.inodes);
    }

    #[test]
    fn every_state_is_told_and_errors_come_first() {
        let device = made();
        for (at, bytes, wanted) in [
            (1024 + 0xe8, &[12][..], State::Orphans),
            (1024 + 0x3a, &[0, 0], State::Unclean),
            (1024 + 0x60, &[0x46], State::NeedsRecovery),
            (1024 + 0x3a, &[2, 0], State::HasErrors),
        ] {
            device.write_at(at, bytes).unwrap();
            assert_eq!(describe(&device).unwrap().state, wanted);
        }
    }

    #[test]
    fn what_the_editor_refuses_is_described_all_the_same() {
        let device = made();
        device.write_at(1024 + 0x60, &[0xd2]).unwrap(); // meta_bg, and the checksum is wrong
        let described = describe(&device).unwrap();
        assert!(described.features.iter().any(|name| name == "meta_bg"));
        device.write_at(1024 + 0x38, &[0]).unwrap();
        assert!(matches!(describe(&device), Err(Error::NotExt4 { .. })));
    }
}
