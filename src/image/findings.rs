//! What a check found wrong: where, what, what is there and what was wanted.

use std::fmt;

/// How many findings are kept word for word; the rest are counted.
const KEPT: usize = 200;

/// A structure on disk: `inode 12`, `block 99`, `directory 2 at byte 24`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// What it is called.
    pub structure: &'static str,
    /// Which one, where there are several: the number of the inode, group, block, partition, …
    pub number: Option<u64>,
    /// A byte in it.
    pub offset: Option<u64>,
}

impl Place {
    /// The only structure of its kind.
    #[must_use]
    pub const fn only(structure: &'static str) -> Self {
        Self { structure, number: None, offset: None }
    }

    /// One of many.
    #[must_use]
    pub fn nth(structure: &'static str, number: impl Into<u64>) -> Self {
        Self { structure, number: Some(number.into()), offset: None }
    }

    /// A byte in it.
    #[must_use]
    pub fn byte(self, offset: impl Into<u64>) -> Self {
        Self { offset: Some(offset.into()), ..self }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.structure)?;
        if let Some(number) = self.number {
            write!(f, " {number}")?;
        }
        match self.offset {
            Some(offset) => write!(f, " at byte {offset}"),
            None => Ok(()),
        }
    }
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Where.
    pub place: Place,
    /// Which part of it.
    pub what: String,
    /// What is there.
    pub found: String,
    /// What should be.
    pub wanted: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { place, what, found, wanted } = self;
        write!(f, "{place}: {what} is {found}, wanted {wanted}")
    }
}

/// Everything that is wrong: some hundred findings, and how many more there were.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    kept: Vec<Finding>,
    count: u64,
}

impl Findings {
    /// Nothing is wrong.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The findings that were kept, in the order in which they were made.
    #[must_use]
    pub fn kept(&self) -> &[Finding] {
        &self.kept
    }

    /// How many there were, kept or not.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Notes one more. What is not kept is not even put into words, so that an image full of faults costs no more
    /// than another.
    pub(super) fn add(
        &mut self,
        place: Place,
        what: impl fmt::Display,
        found: impl fmt::Display,
        wanted: impl fmt::Display,
    ) {
        self.count = self.count.saturating_add(1);
        if self.kept.len() < KEPT {
            let (what, found, wanted) = (what.to_string(), found.to_string(), wanted.to_string());
            self.kept.push(Finding { place, what, found, wanted });
        }
    }

    /// Notes one unless `found` is `wanted`.
    pub(super) fn compare<T: PartialEq + fmt::Display>(
        &mut self,
        place: Place,
        what: impl fmt::Display,
        found: T,
        wanted: T,
    ) {
        if found != wanted {
            self.add(place, what, found, wanted);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_says_where_what_found_and_wanted() {
        let mut findings = Findings::default();
        findings.compare(Place::nth("inode", 12_u32), "i_blocks", 8, 8);
        assert!(findings.is_empty());
        findings.compare(Place::nth("inode", 12_u32).byte(28_u64), "i_blocks", 8, 16);
        findings.add(Place::only("superblock"), "magic number", "0x0", "0xef53");
        let told: Vec<String> = findings.kept().iter().map(ToString::to_string).collect();
        assert_eq!(
            told,
            [
                "inode 12 at byte 28: i_blocks is 8, wanted 16",
                "superblock: magic number is 0x0, wanted 0xef53"
            ]
        );
    }

    #[test]
    fn what_is_not_kept_is_counted() {
        let mut findings = Findings::default();
        for _ in 0..KEPT + 5 {
            findings.add(Place::only("superblock"), "it", 1, 2);
        }
        assert_eq!((findings.kept().len(), findings.count()), (KEPT, KEPT as u64 + 5));
    }
}
