//! `find`: which names below a path pass its tests.

use std::io::{self, BufWriter, Write as _};

use anyhow::Context as _;
use serde_json::Value;

use super::super::report::Failure;
use super::show::{Screen, insert_bytes, stat_json};
use crate::base::ImagePath;
use crate::build;
use crate::build::disk::{FileKind, Found, Job, Timestamp, Tree, Walk};

/// What must hold for a name to be printed, and how.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Tests {
    pub(super) names: Vec<Glob>,
    /// One of each.
    pub(super) kinds: Vec<Vec<FileKind>>,
    pub(super) newer: Vec<ImagePath>,
    pub(super) depth_max: Option<usize>,
    pub(super) print0: bool,
    pub(super) json: bool,
}

/// A pattern of fnmatch(3): `*`, `?`, `[…]`, and `\` before what stands for itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Glob(Vec<Piece>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    One(char),
    Any,
    Many,
    /// From and to, both included.
    Set {
        is_other: bool,
        ranges: Vec<(char, char)>,
    },
}

impl Glob {
    pub(super) fn new(pattern: &str) -> Self {
        let mut pieces = Vec::new();
        let mut rest = pattern.chars();
        while let Some(c) = rest.next() {
            pieces.push(match c {
                '*' => Piece::Many,
                '?' => Piece::Any,
                '\\' => Piece::One(rest.next().unwrap_or('\\')),
                '[' => match set(rest.as_str()) {
                    Some((piece, after)) => {
                        rest = after.chars();
                        piece
                    }
                    // Never closed: a bracket like any other character.
                    None => Piece::One('['),
                },
                c => Piece::One(c),
            });
        }
        Self(pieces)
    }

    /// Whether the whole name is as the pattern says. Bytes that are no UTF-8 are what only `?` and `*` stand for.
    pub(super) fn matches(&self, name: &[u8]) -> bool {
        let name: Vec<char> = String::from_utf8_lossy(name).chars().collect();
        let (mut piece, mut at) = (0, 0);
        // Where the last `*` is, and how far what it stands for reaches.
        let mut back: Option<(usize, usize)> = None;
        loop {
            let is_one = match (self.0.get(piece), name.get(at)) {
                (None, None) => return true,
                (Some(Piece::Many), _) => {
                    back = Some((piece, at));
                    piece += 1;
                    continue;
                }
                (Some(Piece::Any), Some(_)) => true,
                (Some(Piece::One(wanted)), Some(c)) => wanted == c,
                (Some(Piece::Set { is_other, ranges }), Some(c)) => {
                    ranges.iter().any(|(from, to)| (from..=to).contains(&c)) != *is_other
                }
                _ => false,
            };
            if is_one {
                (piece, at) = (piece + 1, at + 1);
                continue;
            }
            match back {
                Some((many, end)) if end < name.len() => {
                    back = Some((many, end + 1));
                    (piece, at) = (many + 1, end + 1);
                }
                _ => return false,
            }
        }
    }
}

/// What stands between `[` and `]`, and what follows them.
fn set(text: &str) -> Option<(Piece, &str)> {
    let other = text.strip_prefix(['!', '^']);
    let inside = other.unwrap_or(text);
    let mut chars = inside.chars();
    let mut ranges = Vec::new();
    loop {
        let mut from = chars.next()?;
        // As the first it stands for itself.
        if from == ']' && !ranges.is_empty() {
            return Some((Piece::Set { is_other: other.is_some(), ranges }, chars.as_str()));
        }
        if from == '\\' {
            from = chars.next()?;
        }
        let mut ahead = chars.clone();
        match (ahead.next(), ahead.next()) {
            (Some('-'), Some(to)) if to != ']' => {
                chars = ahead;
                ranges.push((from, to));
            }
            _ => ranges.push((from, from)),
        }
    }
}

impl Tests {
    fn hold(&self, path: &ImagePath, found: &Found, newer: &[Timestamp]) -> bool {
        let name = match found.path.rsplit(|byte| *byte == b'/').next() {
            Some(name) if !name.is_empty() => name,
            // As find has it, `/` has the name `/`.
            _ => path.file_name().unwrap_or("/").as_bytes(),
        };
        self.names.iter().all(|glob| glob.matches(name))
            && self.kinds.iter().all(|kinds| kinds.contains(&found.stat.kind))
            && newer.iter().all(|time| found.stat.modified > *time)
    }
}

impl Screen {
    pub(super) fn find(
        &self,
        tree: &Tree<'_>,
        path: &ImagePath,
        tests: &Tests,
        job: &mut Job<'_>,
    ) -> Result<(), Failure> {
        let newer = tests.newer.iter().map(|path| Ok(tree.stat(path, false)?.modified));
        let newer: Vec<Timestamp> = newer.collect::<Result<_, build::Error>>()?;
        let json = tests.json || self.json;
        let mut out = BufWriter::new(io::stdout().lock());
        let mut walk = Walk::new(tree, path, false, tests.depth_max.unwrap_or(usize::MAX))?;
        let mut is_first = true;
        while let Some(found) = walk.next(tree)? {
            job.advance(0).map_err(build::Error::from)?;
            if !tests.hold(path, &found, &newer) {
                continue;
            }
            let whole = whole(path, &found.path);
            let line = if json {
                let begin = if is_first { "[" } else { "," };
                format!("{begin}\n{}", found_json(&whole, &found)).into_bytes()
            } else if tests.print0 {
                [&whole[..], &b"\0"[..]].concat()
            } else {
                [&self.name(&whole)[..], &b"\n"[..]].concat()
            };
            is_first = false;
            if !written(out.write_all(&line))? {
                return Ok(());
            }
        }
        if json {
            written(out.write_all(if is_first { b"[]\n" } else { b"\n]\n" }))?;
        }
        written(out.flush()).map(drop)
    }
}

/// Whether somebody still reads: a closed pipe is a clean end.
pub(super) fn written(result: io::Result<()>) -> Result<bool, Failure> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        result => Ok(result.context("cannot write to standard output").map(|()| true)?),
    }
}

/// A path below another.
pub(super) fn whole(base: &ImagePath, below: &[u8]) -> Vec<u8> {
    let base = base.as_str();
    match (base, below) {
        (base, b"") => base.as_bytes().to_vec(),
        ("/", below) => [b"/", below].concat(),
        (base, below) => [base.as_bytes(), b"/", below].concat(),
    }
}

fn found_json(path: &[u8], found: &Found) -> Value {
    let mut object = stat_json(&found.stat, found.target.as_deref());
    insert_bytes(&mut object, "path", path);
    Value::Object(object)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `find -name` says of each pattern and name, asked for and written down here.
    #[test]
    fn patterns_are_those_of_find() {
        for (pattern, name, is_match) in [
            ("*", "x", true),
            ("*.conf", "a.conf", true),
            ("*.conf", "a.conf.d", false),
            ("*.conf", ".conf", true),
            ("a*b*c", "axxbxbxc", true),
            ("a*b*c", "axxcxb", false),
            ("**", "", true),
            ("?", "\u{e9}", true),
            ("?", "ab", false),
            ("[a-c]x", "bx", true),
            ("[!a-c]x", "bx", false),
            ("[^a-c]x", "dx", true),
            ("[]]", "]", true),
            ("[a-]", "-", true),
            ("[", "[", true),
            ("[a", "[a", true),
            ("\\*", "*", true),
            ("\\*", "x", false),
            ("[\\]]", "]", true),
            ("A*", "a", false),
        ] {
            assert_eq!(Glob::new(pattern).matches(name.as_bytes()), is_match, "{pattern} {name}");
        }
    }

    #[test]
    fn a_pattern_of_many_stars_is_no_work_for_hours() {
        let glob = Glob::new(&"*a".repeat(60));
        assert!(!glob.matches("a".repeat(59).as_bytes()));
        assert!(glob.matches("a".repeat(255).as_bytes()));
        assert!(!glob.matches(["a".repeat(254), "b".to_owned()].concat().as_bytes()));
    }
}
