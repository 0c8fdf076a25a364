//! Commands for whole trees: what they take, and how they travel.

use std::collections::HashSet;
use std::io::{self, BufWriter, IsTerminal as _, Write as _};
use std::path::Path;

use anyhow::anyhow;
use serde_json::{Map, Value};

use super::super::report::Failure;
use super::Session;
use super::find::{whole, written};
use super::show::{Screen, insert_bytes};
use crate::base::ImagePath;
use crate::build::disk::{Archive, FileKind, Job, Tree, Walk, write_local};
use crate::build::{self, Error};

/// What an archive of an image holds is not for everybody: `/etc/shadow`, keys.
const ARCHIVE_MODE: u32 = 0o600;
/// Written at once.
const BUFFER_LEN: usize = 256 << 10;

/// How `du` tells its sums.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SumForm {
    /// Of the path alone, not of the directories below.
    pub(super) only_sum: bool,
    pub(super) human: bool,
    pub(super) json: bool,
}

/// A directory that is being added up.
struct Sum {
    path: Vec<u8>,
    depth: usize,
    allocated_bytes: u64,
}

impl Screen {
    pub(super) fn du(
        &self,
        tree: &Tree<'_>,
        path: &ImagePath,
        form: SumForm,
        job: &mut Job<'_>,
    ) -> Result<(), Failure> {
        let form = SumForm { json: form.json || self.json, ..form };
        let mut out = Sums { screen: self, out: BufWriter::new(io::stdout().lock()), form, lines: 0 };
        let mut walk = Walk::new(tree, path, false, usize::MAX)?;
        let mut counted = HashSet::new();
        let mut open: Vec<Sum> = Vec::new();
        loop {
            let found = walk.next(tree)?;
            job.advance(0).map_err(build::Error::from)?;
            let depth = found.as_ref().map_or(0, |found| found.depth);
            while let Some(sum) = open.pop_if(|sum| sum.depth >= depth) {
                if let Some(above) = open.last_mut() {
                    above.allocated_bytes = above.allocated_bytes.saturating_add(sum.allocated_bytes);
                }
                if (!form.only_sum || sum.depth == 0)
                    && !out.print(&whole(path, &sum.path), sum.allocated_bytes)?
                {
                    return Ok(());
                }
            }
            let Some(found) = found else { break };
            let is_directory = found.stat.kind == FileKind::Directory;
            let is_shared = !is_directory && found.stat.links > 1;
            let key = found.stat.inode.map(|inode| (found.is_below_mount(), inode));
            // Once, whatever its names.
            let is_new = key.is_none_or(|key| !is_shared || counted.insert(key));
            let allocated_bytes = if is_new { found.stat.allocated_bytes } else { 0 };
            if is_directory || found.depth == 0 {
                open.push(Sum { path: found.path, depth: found.depth, allocated_bytes });
            } else if let Some(above) = open.last_mut() {
                above.allocated_bytes = above.allocated_bytes.saturating_add(allocated_bytes);
            }
        }
        out.end()
    }
}

/// What has been added up, as it is printed.
struct Sums<'s> {
    screen: &'s Screen,
    out: BufWriter<io::StdoutLock<'s>>,
    form: SumForm,
    lines: usize,
}

impl Sums<'_> {
    /// Whether somebody still reads.
    fn print(&mut self, path: &[u8], allocated_bytes: u64) -> Result<bool, Failure> {
        let line = if self.form.json {
            let mut object = Map::new();
            insert_bytes(&mut object, "path", path);
            object.insert("allocated_bytes".to_owned(), allocated_bytes.into());
            let begin = if self.lines == 0 { "[" } else { "," };
            format!("{begin}\n{}", Value::Object(object)).into_bytes()
        } else {
            let size = if self.form.human {
                human_size(allocated_bytes)
            } else {
                allocated_bytes.div_ceil(1024).to_string()
            };
            [size.as_bytes(), b"\t", &self.screen.name(path), b"\n"].concat()
        };
        self.lines += 1;
        written(self.out.write_all(&line))
    }

    fn end(mut self) -> Result<(), Failure> {
        if self.form.json {
            written(self.out.write_all(if self.lines == 0 { b"[]\n" } else { b"\n]\n" }))?;
        }
        written(self.out.flush()).map(drop)
    }
}

/// As `du -h` has it: rounded up, one digit after the point below ten.
fn human_size(bytes: u64) -> String {
    let (mut unit, mut letters) = (1_u64, ["K", "M", "G", "T", "P", "E"].iter());
    let mut letter = "";
    while bytes.div_ceil(unit) >= 1024 {
        let Some(next) = letters.next() else { break };
        (unit, letter) = (unit << 10, next);
    }
    let tenths = u128::from(bytes) * 10;
    let tenths = tenths.div_ceil(u128::from(unit));
    if tenths < 100 && unit > 1 {
        return format!("{}.{}{letter}", tenths / 10, tenths % 10);
    }
    format!("{}{letter}", bytes.div_ceil(unit))
}

impl Session<'_> {
    pub(super) fn job(&self, what: &str) -> Job<'_> {
        Job::new(what, self.ui, self.interrupt)
    }

    pub(super) fn tar_out(
        &self,
        tree: &Tree<'_>,
        path: &ImagePath,
        local: Option<&Path>,
    ) -> Result<(), Failure> {
        let mut job = self.job("pack");
        let notes = match local {
            Some(local) => write_local(local, ARCHIVE_MODE, |out| {
                tree.pack(path, &mut BufWriter::with_capacity(BUFFER_LEN, out), &mut job)
            })?,
            None if io::stdout().is_terminal() => {
                return Err(Failure::Usage(anyhow!(
                    "standard output is a terminal, and an archive is no text: `> x.tar`, or name a file"
                )));
            }
            None => {
                let mut out = BufWriter::with_capacity(BUFFER_LEN, io::stdout().lock());
                match tree.pack(path, &mut out, &mut job) {
                    // Whoever reads has enough.
                    Err(Error::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
                        // What is left would only fail again.
                        let _ = out.into_parts();
                        Vec::new()
                    }
                    packed => packed?,
                }
            }
        };
        drop(job);
        notes.iter().for_each(|note| self.ui.say(note));
        Ok(())
    }

    pub(super) fn tar_in(
        &self,
        tree: &mut Tree<'_>,
        local: Option<&Path>,
        path: &ImagePath,
    ) -> Result<(), Failure> {
        let archive = match local {
            Some(local) => Archive::open(local)?,
            None => Archive::of(Path::new("standard input"), io::stdin())?,
        };
        let mut job = self.job("unpack").of_bytes(archive.len_bytes);
        let notes = tree.unpack(path, archive, &mut job)?;
        drop(job);
        notes.iter().for_each(|note| self.ui.say(note));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `du -h --apparent-size` says of files of these lengths.
    #[test]
    fn sizes_for_people_are_those_of_du() {
        for (bytes, text) in [
            (0, "0"),
            (1023, "1023"),
            (1024, "1.0K"),
            (1025, "1.1K"),
            (4096, "4.0K"),
            (10 << 10, "10K"),
            ((10 << 10) - 1, "10K"),
            ((9 << 10) + 1000, "10K"),
            ((1 << 20) - 1, "1.0M"),
            (1 << 20, "1.0M"),
            (u64::MAX, "16E"),
        ] {
            assert_eq!(human_size(bytes), text, "{bytes}");
        }
    }
}
