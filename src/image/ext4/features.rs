//! The three feature words, the name of every bit, and the gate: what this editor can write, and what it can read.
//!
//! Linux `Documentation/filesystems/ext4/super.rst`. A bit without a name here is refused by its number for writing:
//! even a `compat` bit may stand for a structure that an offline writer would leave stale. For reading only an unknown
//! `incompat` bit is.

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
    pub(in super::super) const MMP: u32 = 0x100;
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
    pub(in super::super) const BIGALLOC: u32 = 0x200;
    pub(in super::super) const METADATA_CSUM: u32 = 0x400;
    pub(in super::super) const ORPHAN_PRESENT: u32 = 0x1_0000;
}

/// A bit, its name, and what can be done where it is set.
type Bit = (u32, &'static str, Use);

/// What can be done with a filesystem that has a feature.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Use {
    Write,
    /// What has the feature is refused where it is met; all else can be read.
    Read,
    /// Nothing can be relied on.
    Nothing,
}

const COMPAT: [Bit; 13] = [
    (0x1, "dir_prealloc", Use::Write),
    (0x2, "imagic_inodes", Use::Read),
    (compat::HAS_JOURNAL, "has_journal", Use::Write),
    (compat::EXT_ATTR, "ext_attr", Use::Write),
    (compat::RESIZE_INODE, "resize_inode", Use::Write),
    (compat::DIR_INDEX, "dir_index", Use::Write),
    (0x40, "lazy_bg", Use::Read),
    (0x80, "exclude_inode", Use::Read),
    (0x100, "exclude_bitmap", Use::Read),
    (compat::SPARSE_SUPER2, "sparse_super2", Use::Write),
    // The log of fast commits is part of the journal, and a clean journal is empty.
    (0x400, "fast_commit", Use::Write),
    (compat::STABLE_INODES, "stable_inodes", Use::Write),
    (compat::ORPHAN_FILE, "orphan_file", Use::Write),
];

const INCOMPAT: [Bit; 17] = [
    (0x1, "compression", Use::Read),
    (incompat::FILETYPE, "filetype", Use::Write),
    (incompat::RECOVER, "needs_recovery", Use::Write), // refused apart, as a state
    (0x8, "journal_dev", Use::Nothing),
    (0x10, "meta_bg", Use::Nothing),
    (incompat::EXTENTS, "extents", Use::Write),
    (incompat::BIT64, "64bit", Use::Write),
    (incompat::MMP, "mmp", Use::Read),
    (incompat::FLEX_BG, "flex_bg", Use::Write),
    (0x400, "ea_inode", Use::Read),
    (0x1000, "dirdata", Use::Nothing),
    (incompat::CSUM_SEED, "metadata_csum_seed", Use::Write),
    (0x4000, "large_dir", Use::Nothing),
    (0x8000, "inline_data", Use::Read),
    (0x1_0000, "encrypt", Use::Read),
    (0x2_0000, "casefold", Use::Read),
    (0x800, "snapshot", Use::Nothing),
];

const RO_COMPAT: [Bit; 17] = [
    (ro_compat::SPARSE_SUPER, "sparse_super", Use::Write),
    (ro_compat::LARGE_FILE, "large_file", Use::Write),
    (0x4, "btree_dir", Use::Read),
    (ro_compat::HUGE_FILE, "huge_file", Use::Write),
    (ro_compat::GDT_CSUM, "uninit_bg", Use::Write),
    (ro_compat::DIR_NLINK, "dir_nlink", Use::Write),
    (ro_compat::EXTRA_ISIZE, "extra_isize", Use::Write),
    (0x80, "has_snapshot", Use::Read),
    (0x100, "quota", Use::Read),
    (ro_compat::BIGALLOC, "bigalloc", Use::Read),
    (ro_compat::METADATA_CSUM, "metadata_csum", Use::Write),
    (0x800, "replica", Use::Read),
    (0x1000, "read-only", Use::Read),
    (0x2000, "project", Use::Read),
    (0x4000, "shared_blocks", Use::Read),
    (0x8000, "verity", Use::Read),
    (ro_compat::ORPHAN_PRESENT, "orphan_present", Use::Write), // refused apart, as a state
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

    /// Every feature, known or not.
    pub(super) fn all(self) -> FeatureNames {
        self.names(|_| true)
    }

    /// The features that this editor cannot write; empty when the gate is open.
    pub(super) fn in_the_way(self) -> FeatureNames {
        let mut names = self.names(|grade| grade != Use::Write);
        let both = ro_compat::GDT_CSUM | ro_compat::METADATA_CSUM;
        if self.ro_compat & both == both {
            names.0.push(String::from("uninit_bg together with metadata_csum"));
        }
        names
    }

    /// The features that cannot even be read past. An unknown bit is one only where it says so: `incompat`.
    pub(super) fn in_the_way_of_reading(self) -> FeatureNames {
        self.names(|grade| grade == Use::Nothing)
    }

    /// The names of the bits that are set and where `wanted` is true of what can be done with them.
    fn names(self, wanted: impl Fn(Use) -> bool) -> FeatureNames {
        let words = [
            ("compat", self.compat, &COMPAT[..], Use::Read),
            ("incompat", self.incompat, &INCOMPAT[..], Use::Nothing),
            ("ro_compat", self.ro_compat, &RO_COMPAT[..], Use::Read),
        ];
        let mut names = Vec::new();
        for (word, set, known, unknown) in words {
            for bit in (0..32).map(|shift| 1_u32 << shift).filter(|bit| set & bit != 0) {
                match known.iter().find(|(known, ..)| *known == bit) {
                    Some((_, name, grade)) if wanted(*grade) => names.push((*name).to_owned()),
                    None if wanted(unknown) => names.push(format!("{word} 0x{bit:x}")),
                    _ => {}
                }
            }
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
        assert_eq!(features.in_the_way_of_reading(), FeatureNames(Vec::new()));
    }

    #[test]
    fn what_cannot_be_read_past_is_in_the_way_of_reading() {
        let features = Features { compat: 0x8000_0000, incompat: 0x8000_0010, ro_compat: 0x8000_0000 };
        assert_eq!(features.in_the_way_of_reading().to_string(), "meta_bg, incompat 0x80000000");
    }
}
