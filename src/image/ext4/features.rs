//! The three feature words, the name of every bit, and the gate: what this editor can write.
//!
//! Linux `Documentation/filesystems/ext4/super.rst`. A bit without a name here is refused by its number: even a
//! `compat` bit may stand for a structure that an offline writer would leave stale.

use std::fmt;

/// `s_feature_compat`, `s_feature_incompat`, `s_feature_ro_compat`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Features {
    pub(super) compat: u32,
    pub(super) incompat: u32,
    pub(super) ro_compat: u32,
}

/// The names of features that stand in the way, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeatureNames(pub Vec<String>);

impl fmt::Display for FeatureNames {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join(", "))
    }
}

pub(super) mod compat {
    pub(in super::super) const HAS_JOURNAL: u32 = 0x4;
    pub(in super::super) const EXT_ATTR: u32 = 0x8;
    pub(in super::super) const RESIZE_INODE: u32 = 0x10;
    pub(in super::super) const DIR_INDEX: u32 = 0x20;
    pub(in super::super) const SPARSE_SUPER2: u32 = 0x200;
    pub(in super::super) const STABLE_INODES: u32 = 0x800;
    pub(in super::super) const ORPHAN_FILE: u32 = 0x1000;
}

pub(super) mod incompat {
    pub(in super::super) const FILETYPE: u32 = 0x2;
    pub(in super::super) const RECOVER: u32 = 0x4;
    pub(in super::super) const EXTENTS: u32 = 0x40;
    pub(in super::super) const BIT64: u32 = 0x80;
    pub(in super::super) const FLEX_BG: u32 = 0x200;
    pub(in super::super) const CSUM_SEED: u32 = 0x2000;
}

pub(super) mod ro_compat {
    pub(in super::super) const SPARSE_SUPER: u32 = 0x1;
    pub(in super::super) const LARGE_FILE: u32 = 0x2;
    pub(in super::super) const HUGE_FILE: u32 = 0x8;
    pub(in super::super) const GDT_CSUM: u32 = 0x10;
    pub(in super::super) const DIR_NLINK: u32 = 0x20;
    pub(in super::super) const EXTRA_ISIZE: u32 = 0x40;
    pub(in super::super) const METADATA_CSUM: u32 = 0x400;
    pub(in super::super) const ORPHAN_PRESENT: u32 = 0x1_0000;
}

/// A bit, its name, and whether it may be set on what is written here.
type Bit = (u32, &'static str, bool);

const COMPAT: [Bit; 13] = [
    (0x1, "dir_prealloc", true),
    (0x2, "imagic_inodes", false),
    (compat::HAS_JOURNAL, "has_journal", true),
    (compat::EXT_ATTR, "ext_attr", true),
    (compat::RESIZE_INODE, "resize_inode", true),
    (compat::DIR_INDEX, "dir_index", true),
    (0x40, "lazy_bg", false),
    (0x80, "exclude_inode", false),
    (0x100, "exclude_bitmap", false),
    (compat::SPARSE_SUPER2, "sparse_super2", true),
    // The log of fast commits is part of the journal, and a clean journal is empty.
    (0x400, "fast_commit", true),
    (compat::STABLE_INODES, "stable_inodes", true),
    (compat::ORPHAN_FILE, "orphan_file", true),
];

const INCOMPAT: [Bit; 17] = [
    (0x1, "compression", false),
    (incompat::FILETYPE, "filetype", true),
    (incompat::RECOVER, "needs_recovery", true), // refused apart, as a state
    (0x8, "journal_dev", false),
    (0x10, "meta_bg", false),
    (incompat::EXTENTS, "extents", true),
    (incompat::BIT64, "64bit", true),
    (0x100, "mmp", false),
    (incompat::FLEX_BG, "flex_bg", true),
    (0x400, "ea_inode", false),
    (0x1000, "dirdata", false),
    (incompat::CSUM_SEED, "metadata_csum_seed", true),
    (0x4000, "large_dir", false),
    (0x8000, "inline_data", false),
    (0x1_0000, "encrypt", false),
    (0x2_0000, "casefold", false),
    (0x800, "snapshot", false),
];

const RO_COMPAT: [Bit; 17] = [
    (ro_compat::SPARSE_SUPER, "sparse_super", true),
    (ro_compat::LARGE_FILE, "large_file", true),
    (0x4, "btree_dir", false),
    (ro_compat::HUGE_FILE, "huge_file", true),
    (ro_compat::GDT_CSUM, "uninit_bg", true),
    (ro_compat::DIR_NLINK, "dir_nlink", true),
    (ro_compat::EXTRA_ISIZE, "extra_isize", true),
    (0x80, "has_snapshot", false),
    (0x100, "quota", false),
    (0x200, "bigalloc", false),
    (ro_compat::METADATA_CSUM, "metadata_csum", true),
    (0x800, "replica", false),
    (0x1000, "read-only", false),
    (0x2000, "project", false),
    (0x4000, "shared_blocks", false),
    (0x8000, "verity", false),
    (ro_compat::ORPHAN_PRESENT, "orphan_present", true), // refused apart, as a state
];

impl Features {
    pub(super) fn has_compat(self, bit: u32) -> bool {
        self.compat & bit != 0
    }

    pub(super) fn has_incompat(self, bit: u32) -> bool {
        self.incompat & bit != 0
    }

    pub(super) fn has_ro_compat(self, bit: u32) -> bool {
        self.ro_compat & bit != 0
    }

    /// The features that this editor cannot write; empty when the gate is open.
    pub(super) fn in_the_way(self) -> FeatureNames {
        let words = [
            ("compat", self.compat, &COMPAT[..]),
            ("incompat", self.incompat, &INCOMPAT[..]),
            ("ro_compat", self.ro_compat, &RO_COMPAT[..]),
        ];
        let mut names = Vec::new();
        for (word, set, known) in words {
            for bit in (0..32).map(|shift| 1_u32 << shift).filter(|bit| set & bit != 0) {
                match known.iter().find(|(known, ..)| *known == bit) {
                    Some((_, _, true)) => {}
                    Some((_, name, false)) => names.push((*name).to_owned()),
                    None => names.push(format!("{word} 0x{bit:x}")),
                }
            }
        }
        let both = ro_compat::GDT_CSUM | ro_compat::METADATA_CSUM;
        if self.ro_compat & both == both {
            names.push(String::from("uninit_bg together with metadata_csum"));
        }
        FeatureNames(names)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_features_of_raspberry_pi_os_are_let_through() {
        let features = Features { compat: 0x103c, incompat: 0x2242, ro_compat: 0x46b };
        assert_eq!(features.in_the_way(), FeatureNames(Vec::new()));
    }

    #[test]
    fn what_stands_in_the_way_is_named_and_the_unknown_numbered() {
        let features = Features { compat: 0x8000_0000, incompat: 0x1_0040, ro_compat: 0x200 };
        assert_eq!(features.in_the_way().to_string(), "compat 0x80000000, encrypt, bigalloc");
    }
}
