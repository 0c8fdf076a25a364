//! Both trees at once, in the order of the paths: what only one has, and what differs where both have something.

use std::cmp::Ordering;
use std::collections::HashSet;
use std::ops::Range;

use super::content::{self, DIGEST_LIMIT_BYTES, Halt, TEXT_LIMIT_BYTES};
use super::ranges::Ranges;
use super::side::{Image, Node, Place};
use super::{Change, Changed, Content, Counts, Facts, Options, What, XattrChange};
use crate::base::Interrupt;
use crate::build::Error;
use crate::build::disk::{FileKind, Xattr};
use crate::image::ext4::DataRun;

/// Linux takes no longer path (`PATH_MAX`, less its NUL): below, directories could go on for ever.
const PATH_LIMIT: usize = 4095;
/// Which image something is about, for people.
const NAMES: [&str; 2] = ["the first image", "the second image"];

/// A path, and what is there on each side.
struct Pair {
    path: Vec<u8>,
    places: [Option<Place>; 2],
}

/// What may be concluded from bytes that are the same, for two filesystems that take each other's place.
#[derive(Clone, Copy, Debug, Default)]
struct ShortCut {
    /// They lie at the same place, so where a byte is in one it is in the other.
    is_aligned: bool,
    /// No byte of them differs.
    is_same: bool,
    /// The same bytes in the same inode mean the same file.
    by_inode: bool,
}

pub(super) struct Walk<'w> {
    sides: [&'w dyn Image; 2],
    ranges: &'w Ranges,
    interrupt: &'w Interrupt,
    options: &'w Options<'w>,
    /// Of `/`, and of what is mounted.
    short_cuts: [ShortCut; 2],
    /// Directories that were entered on each side. One that is met twice would be one that is met for ever.
    entered: [HashSet<(bool, u32)>; 2],
    /// Was the place met where the other filesystem is mounted?
    met_mount: [bool; 2],
    pending: Vec<Pair>,
    pub(super) counts: Counts,
}

type Take<'k, E> = &'k mut dyn FnMut(&Change) -> Result<(), E>;

impl<'w> Walk<'w> {
    pub(super) fn new(
        sides: [&'w dyn Image; 2],
        ranges: &'w Ranges,
        options: &'w Options<'w>,
        interrupt: &'w Interrupt,
    ) -> Self {
        let short_cut = |on_mounted| match sides.map(|side| side.range(on_mounted)) {
            [Some(one), Some(other)] if !options.plain => ShortCut {
                is_aligned: one.start == other.start,
                is_same: one == other && !ranges.touch(&one),
                by_inode: one.start == other.start
                    && matches!(sides.map(|side| side.ext4(on_mounted)), [Some(one), Some(other)] if one.reads_like(other)),
            },
            _ => ShortCut::default(),
        };
        Self {
            sides,
            ranges,
            interrupt,
            options,
            short_cuts: [short_cut(false), short_cut(true)],
            entered: Default::default(),
            met_mount: [false; 2],
            pending: Vec::new(),
            counts: Counts::default(),
        }
    }

    /// Hands every difference to `take`.
    pub(super) fn all<E: From<Error>>(&mut self, take: Take<'_, E>) -> Result<(), E> {
        self.begin()?;
        self.run(take)?;
        if self.options.below.is_none() {
            // Nothing of the system is there to mount it on; it is compared all the same.
            let [one, other] =
                [0, 1].map(|side| self.sides[side].mount().filter(|_| !self.met_mount[side]).cloned());
            for at in [one.clone(), other.filter(|other| one.as_ref() != Some(other))].into_iter().flatten() {
                let path = at.as_str().as_bytes().to_vec();
                let places =
                    [0, 1].map(|side| self.sides[side].mounted_at(&path).filter(|_| !self.met_mount[side]));
                self.pending.push(Pair { path, places });
            }
            self.run(take)?;
        }
        Ok(())
    }

    fn begin(&mut self) -> Result<(), Error> {
        let Some(below) = self.options.below else {
            if self.short_cuts[0].is_same {
                // The same fstab; what it mounts is not the same yet, and `all` comes to that.
                return Ok(());
            }
            self.pending.push(Pair { path: b"/".to_vec(), places: self.sides.map(|side| Some(side.top())) });
            return Ok(());
        };
        let path = self.sides[0].canonical(below)?;
        let unreadable = |reason| Error::Uncomparable { path: path.clone(), reason };
        let places =
            [self.sides[0].find(&path).map_err(unreadable)?, self.sides[1].find(&path).map_err(unreadable)?];
        if places.iter().all(Option::is_none) {
            return Err(Error::NoSuchPath { verb: "compare", path: below.clone() });
        }
        self.pending.push(Pair { path: path.as_str().as_bytes().to_vec(), places });
        Ok(())
    }

    fn run<E: From<Error>>(&mut self, take: Take<'_, E>) -> Result<(), E> {
        while let Some(Pair { path, places }) = self.pending.pop() {
            self.interrupt.check().map_err(Error::from)?;
            let what = if path.len() > PATH_LIMIT {
                Some(What::Unread(format!("its path is longer than {PATH_LIMIT} bytes")))
            } else {
                self.step(&path, &places).or_else(|halt| match halt {
                    Halt::Interrupted(interrupted) => Err(Error::from(interrupted)),
                    Halt::Unread(reason) => Ok(Some(What::Unread(reason))),
                })?
            };
            let Some(what) = what else { continue };
            let count = match &what {
                What::Added(_) => &mut self.counts.added,
                What::Removed(_) => &mut self.counts.removed,
                What::Changed(_) => &mut self.counts.changed,
                What::Unread(_) => &mut self.counts.unread,
            };
            *count += 1;
            take(&Change { path, what })?;
        }
        Ok(())
    }

    /// Compares what is at a path, and remembers what is below it.
    fn step(&mut self, path: &[u8], places: &[Option<Place>; 2]) -> Result<Option<What>, Halt> {
        match places {
            [Some(one), Some(other)] => self.both(path, one, other),
            [Some(one), None] => self.alone(path, 0, one).map(|facts| Some(What::Removed(facts))),
            [None, Some(other)] => self.alone(path, 1, other).map(|facts| Some(What::Added(facts))),
            [None, None] => Ok(None),
        }
    }

    fn alone(&mut self, path: &[u8], side: usize, place: &Place) -> Result<Facts, Halt> {
        let facts = self.facts(side, place)?;
        if facts.stat.kind == FileKind::Directory {
            for (name, place) in self.children(side, place)?.into_iter().rev() {
                let mut places = [None, None];
                places[side] = Some(place);
                self.push(path, &name, places);
            }
        }
        Ok(facts)
    }

    fn both(&mut self, path: &[u8], one: &Place, other: &Place) -> Result<Option<What>, Halt> {
        // Nothing is mounted in what is mounted.
        if one == other && one.on_mounted && self.short_cuts[1].is_same {
            return Ok(None);
        }
        if let Some(kind) = self.same_bytes(one, other) {
            if kind == FileKind::Directory {
                let children = self.children(0, one)?;
                self.enter(1, other)?;
                for (name, place) in children.into_iter().rev() {
                    self.push(path, &name, [Some(place.clone()), Some(place)]);
                }
            }
            return Ok(None);
        }
        let (before, after) = (self.facts(0, one)?, self.facts(1, other)?);
        let is_directory = [&before, &after].map(|facts| facts.stat.kind == FileKind::Directory);
        let ones = if is_directory[0] { self.children(0, one)? } else { Vec::new() };
        let others = if is_directory[1] { self.children(1, other)? } else { Vec::new() };
        for (name, places) in merged(ones, others).into_iter().rev() {
            self.push(path, &name, places);
        }
        let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
        let changed = self.changed(name, [one, other], before, after)?;
        Ok(changed.map(|changed| What::Changed(Box::new(changed))))
    }

    /// Remembers what is to be compared later: not what is known to be the same.
    fn push(&mut self, above: &[u8], name: &[u8], mut places: [Option<Place>; 2]) {
        let mut path = if above == b"/" { Vec::new() } else { above.to_vec() };
        path.push(b'/');
        path.extend_from_slice(name);
        for (side, place) in places.iter_mut().enumerate() {
            if place.is_some()
                && let Some(mounted) = self.sides[side].mounted_at(&path)
            {
                *place = Some(mounted);
                self.met_mount[side] = true;
            }
        }
        if let [Some(one), Some(other)] = &places
            && self.same_bytes(one, other).is_some_and(|kind| kind != FileKind::Directory)
        {
            return;
        }
        self.pending.push(Pair { path, places });
    }

    /// What is in a directory that was not entered before.
    fn children(&mut self, side: usize, place: &Place) -> Result<Vec<(Vec<u8>, Place)>, Halt> {
        self.enter(side, place)?;
        self.sides[side].children(place).map_err(|reason| unread(side, &reason))
    }

    fn enter(&mut self, side: usize, place: &Place) -> Result<(), Halt> {
        match place.node {
            Node::Inode(number) if !self.entered[side].insert((place.on_mounted, number)) => {
                Err(unread(side, "the directory was met before under another name"))
            }
            // A FAT is looked through for such rings when it is opened.
            _ => Ok(()),
        }
    }

    fn facts(&self, side: usize, place: &Place) -> Result<Facts, Halt> {
        self.sides[side].facts(place).map_err(|reason| unread(side, &reason))
    }

    /// What a file is, when both images have it in the same inode, and no byte of it and of what it names differs.
    fn same_bytes(&self, one: &Place, other: &Place) -> Option<FileKind> {
        if one != other || !self.short_cuts[usize::from(one.on_mounted)].by_inode {
            return None;
        }
        let slot = self.sides[0].slot(one)?;
        if self.sides[1].slot(other)? != slot {
            return None;
        }
        if self.ranges.touch(&slot) && self.sides[0].inode_bytes(one)? != self.sides[1].inode_bytes(other)? {
            return None;
        }
        let footprint = self.sides[0].footprint(one)?;
        let rest = footprint.extra.iter().chain(footprint.data.iter().map(|run| &run.range));
        (!self.touch(rest)).then_some(footprint.kind)
    }

    /// May a byte of any of these differ?
    fn touch<'r>(&self, ranges: impl IntoIterator<Item = &'r Range<u64>>) -> bool {
        ranges.into_iter().any(|range| self.ranges.touch(range))
    }

    /// Do two files of the same length hold the same, for they lie in the same bytes?
    fn same_data(&self, one: &Place, other: &Place) -> bool {
        let short_cut = self.short_cuts[usize::from(one.on_mounted)];
        if one.on_mounted != other.on_mounted || !short_cut.is_aligned {
            return false;
        }
        if short_cut.by_inode {
            return match [(0, one), (1, other)].map(|(side, place)| self.sides[side].footprint(place)) {
                [Some(one), Some(other)] => {
                    one.data == other.data && !self.touch(one.data.iter().map(|run| &run.range))
                }
                _ => false,
            };
        }
        match [(0, one), (1, other)].map(|(side, place)| self.sides[side].clusters(place)) {
            [Some(one), Some(other)] => one == other && !self.touch(&one),
            _ => false,
        }
    }

    /// Where two files of `len_bytes` may hold anything but zeros.
    fn pieces(&self, places: [&Place; 2], len_bytes: u64) -> Vec<Range<u64>> {
        match [0, 1].map(|side| self.sides[side].footprint(places[side])) {
            [Some(one), Some(other)] => {
                let runs = one.data.iter().chain(&other.data);
                let range = |run: &DataRun| {
                    let end = run.at.saturating_add(run.range.end.saturating_sub(run.range.start));
                    run.at..end.min(len_bytes)
                };
                Ranges::of(runs.map(range).collect()).into_list()
            }
            _ => std::iter::once(0..len_bytes).collect(),
        }
    }

    fn changed(
        &self,
        name: &[u8],
        places: [&Place; 2],
        before: Facts,
        after: Facts,
    ) -> Result<Option<Changed>, Halt> {
        let told = |facts: &Facts| {
            let stat = &facts.stat;
            let modified = self.options.times.then_some(stat.modified);
            (stat.kind, stat.mode, stat.uid, stat.gid, stat.device, facts.target.clone(), modified)
        };
        let xattrs = |side: usize| {
            let xattrs = self.sides[side].xattrs(places[side]);
            xattrs.map_err(|reason| unread(side, &reason))
        };
        let xattrs = xattr_changes(xattrs(0)?, xattrs(1)?);
        let content = match (before.stat.kind, after.stat.kind) {
            (FileKind::Regular, FileKind::Regular) => self.content(name, places, [&before, &after])?,
            _ => None,
        };
        let is_same = told(&before) == told(&after) && xattrs.is_empty() && content.is_none();
        Ok((!is_same).then_some(Changed { before, after, content, xattrs }))
    }

    /// How the content of two regular files differs, if it does.
    fn content(&self, name: &[u8], places: [&Place; 2], facts: [&Facts; 2]) -> Result<Option<Content>, Halt> {
        let [len, other_len] = facts.map(|facts| facts.stat.len_bytes);
        let open = |side: usize| self.sides[side].open(places[side]).map_err(|reason| unread(side, &reason));
        if len == other_len {
            if len == 0 || self.same_data(places[0], places[1]) {
                return Ok(None);
            }
            let pieces = self.pieces(places, len);
            if content::are_same(&mut *open(0)?, &mut *open(1)?, &pieces, self.interrupt)? {
                return Ok(None);
            }
        }
        if self.options.brief || len.max(other_len) > DIGEST_LIMIT_BYTES {
            return Ok(Some(Content::Differs));
        }
        let is_secret = |side: usize| {
            let is_on_fat = self.sides[side].ext4(places[side].on_mounted).is_none();
            content::looks_secret(name, facts[side].stat.mode, is_on_fat)
        };
        if !self.options.secrets && (is_secret(0) || is_secret(1)) {
            return Ok(Some(Content::Secret));
        }
        let (mut one, mut other) = (open(0)?, open(1)?);
        if len.max(other_len) <= TEXT_LIMIT_BYTES {
            content::of_short(&mut *one, &mut *other, self.options.secrets).map(Some)
        } else {
            content::of_long(&mut *one, &mut *other, self.interrupt).map(Some)
        }
    }
}

fn unread(side: usize, reason: &str) -> Halt {
    Halt::Unread(format!("{}: {reason}", NAMES[side]))
}

/// Names of one, the other, or both: ascending.
fn merged(ones: Vec<(Vec<u8>, Place)>, others: Vec<(Vec<u8>, Place)>) -> Vec<(Vec<u8>, [Option<Place>; 2])> {
    let mut all = Vec::with_capacity(ones.len().max(others.len()));
    let (mut ones, mut others) = (ones.into_iter().peekable(), others.into_iter().peekable());
    loop {
        let order = match (ones.peek(), others.peek()) {
            (None, None) => return all,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some((one, _)), Some((other, _))) => one.cmp(other),
        };
        let one = if order.is_le() { ones.next() } else { None };
        let other = if order.is_ge() { others.next() } else { None };
        let (name, one) = one.map_or((None, None), |(name, place)| (Some(name), Some(place)));
        let (other_name, other) = other.map_or((None, None), |(name, place)| (Some(name), Some(place)));
        all.push((name.or(other_name).unwrap_or_default(), [one, other]));
    }
}

/// Both lists are sorted by name.
fn xattr_changes(ones: Vec<Xattr>, others: Vec<Xattr>) -> Vec<XattrChange> {
    let mut changes: Vec<XattrChange> = Vec::new();
    for Xattr { name, value } in ones {
        changes.push(XattrChange { name, before: Some(value), after: None });
    }
    for Xattr { name, value } in others {
        match changes.iter_mut().find(|change| change.name == name) {
            Some(change) => change.after = Some(value),
            None => changes.push(XattrChange { name, before: None, after: Some(value) }),
        }
    }
    changes.retain(|change| change.before != change.after);
    changes.sort_unstable_by(|one, other| one.name.cmp(&other.name));
    changes
}
