//! Family 10, what holds the tree together: every directory is below the root, knows its parent, and every inode has as
//! many names as it counts.

use super::super::features::ro_compat;
use super::Checker;
use super::inodes::{INDEX, ROOT, RawInode};
use super::marks::Pages;
use crate::image::findings::Place;

/// More links than this are not counted: a directory with more has 1.
const LINKS_MAX: u16 = 65000;

const UNSEEN: u8 = 0;
const ON_THE_WAY: u8 = 1;
const SEEN: u8 = 2;

impl Checker<'_> {
    pub(super) fn check_connectivity(&mut self) {
        if !self.is_used(ROOT) || self.types.get(ROOT) != 2 {
            self.findings.add(Place::only("root directory"), "inode 2", "no directory in use", "one");
        }
        let mut state = Pages::<u8>::new(u64::from(self.fs.inodes_count) + 1);
        state.put(ROOT, SEEN);
        for directory in &self.directories {
            let place = Place::nth("directory", directory.inode);
            let mut way = Vec::new();
            let mut at = directory.inode;
            while state.get(at) == UNSEEN {
                state.put(at, ON_THE_WAY);
                way.push(at);
                at = self.parents.get(at);
                if at == 0 {
                    self.findings.add(place, "way to the root", "cut", "whole");
                    break;
                }
            }
            if state.get(at) == ON_THE_WAY {
                self.findings.add(place, "way to the root", format_args!("a circle through {at}"), "whole");
            }
            for inode in way {
                state.put(inode, SEEN);
            }
            let parent = if directory.inode == ROOT { ROOT } else { self.parents.get(directory.inode) };
            self.findings.compare(place, "inode of `..`", directory.dotdot, parent);
        }
    }

    pub(super) fn check_links(&mut self) -> Result<(), super::Error> {
        let has_many = self.fs.features.has_ro_compat(ro_compat::DIR_NLINK);
        let (orphans, quota) = (self.fs.orphan_inode(), self.fs.u32(0x26c));
        for inode in 1..=self.fs.inodes_count {
            let is_file = inode == ROOT || inode >= self.fs.first_inode;
            if !is_file || inode == orphans || inode == quota || !self.is_used(inode) {
                continue;
            }
            let place = Place::nth("inode", inode);
            let (stored, counted) = (self.stored_links.get(inode), self.counted_links.get(inode));
            if counted == 0 {
                self.findings.add(place, "number of names", 0, format_args!("{stored}, for it is in use"));
                continue;
            }
            let is_directory = self.types.get(inode) == 2;
            if is_directory && counted > LINKS_MAX {
                if !has_many {
                    self.findings.add(place, "number of links", counted, format_args!("at most {LINKS_MAX}"));
                }
                self.findings.compare(place, "number of links", stored, 1);
            } else if stored != counted && !(is_directory && stored == 1 && self.is_indexed(inode)?) {
                // A directory that had too many subdirectories keeps its 1.
                self.findings.compare(place, "number of links", stored, counted);
            }
        }
        Ok(())
    }

    fn is_indexed(&self, number: u32) -> Result<bool, super::Error> {
        let raw = self.read_inode(number)?;
        Ok(raw.is_some_and(|raw| RawInode { number, raw: &raw }.has(INDEX)))
    }
}
