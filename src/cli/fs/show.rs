//! What commands print: for people, or as JSON, one object a line.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::io::IsTerminal as _;

use anyhow::anyhow;
use serde_json::{Map, Value, json};

use crate::base::{ByteLen, Civil, ImagePath, Interrupt};
use crate::build;
use crate::build::disk::{FileKind, Listed, Stat, Timestamp, Tree, Xattr};

use super::super::report::Failure;
use super::super::ui;

/// Standard output.
pub(super) struct Screen {
    pub(super) json: bool,
    /// Then nothing may be printed that would steer it.
    is_terminal: bool,
    interrupt: Interrupt,
}

impl Screen {
    pub(super) fn new(json: bool, interrupt: &Interrupt) -> Self {
        Self { json, is_terminal: std::io::stdout().is_terminal(), interrupt: interrupt.clone() }
    }

    pub(super) fn list(
        &self,
        tree: &Tree<'_>,
        path: &ImagePath,
        long: bool,
        recursive: bool,
        json: bool,
    ) -> Result<(), Failure> {
        let json = json || self.json;
        // As ls does: a link to a directory is listed, unless all is to be told of it.
        let mut stat = tree.stat(path, false)?;
        if stat.kind == FileKind::Symlink && !long {
            stat = tree.stat(path, true).unwrap_or(stat);
        }
        if stat.kind != FileKind::Directory {
            let target = match stat.kind {
                FileKind::Symlink => Some(tree.read_link(path)?),
                _ => None,
            };
            let one = Listed { name: path.as_str().as_bytes().to_vec(), stat, target };
            return self.print_entries(path, &[one], long, json, None);
        }
        let mut pending = vec![path.clone()];
        let mut seen = HashSet::new();
        let mut first = true;
        let mut skipped = None;
        while let Some(dir) = pending.pop() {
            self.interrupt.check().map_err(build::Error::from)?;
            let entries = tree.list(&dir)?;
            self.print_entries(&dir, &entries, long, json, recursive.then_some(first))?;
            first = false;
            if !recursive {
                break;
            }
            for entry in entries.iter().rev().filter(|entry| entry.stat.kind == FileKind::Directory) {
                let below = std::str::from_utf8(&entry.name).ok().and_then(|name| dir.join(name).ok());
                // A directory that is met twice would be one that is met for ever.
                let is_new = entry.stat.inode.is_none_or(|inode| seen.insert(inode));
                match below.filter(|_| is_new) {
                    Some(below) => pending.push(below),
                    None => skipped = Some(format!("{dir}/{}", entry.name.escape_ascii())),
                }
            }
        }
        match skipped {
            None => Ok(()),
            Some(found) => Err(Failure::Other(anyhow!(
                "{found} was not entered: its name is no usable path, or it has been listed before"
            ))),
        }
    }

    /// `heading`: whether it is the first of several.
    fn print_entries(
        &self,
        path: &ImagePath,
        entries: &[Listed],
        long: bool,
        json: bool,
        heading: Option<bool>,
    ) -> Result<(), Failure> {
        if json {
            let entries: Vec<Value> = entries.iter().map(entry_json).collect();
            return ui::print(&format!("{}\n", json!({ "path": path.as_str(), "entries": entries })));
        }
        let mut out = Vec::new();
        if let Some(first) = heading {
            out.extend_from_slice(if first { b"" } else { b"\n" });
            out.extend_from_slice(&self.name(path.as_str().as_bytes()));
            out.extend_from_slice(b":\n");
        }
        let columns = Columns::of(entries);
        for entry in entries {
            if long {
                out.extend_from_slice(columns.line(&entry.stat).as_bytes());
            }
            out.extend_from_slice(&self.name(&entry.name));
            if let Some(target) = entry.target.as_ref().filter(|_| long) {
                out.extend_from_slice(b" -> ");
                out.extend_from_slice(&self.name(target));
            }
            out.push(b'\n');
        }
        ui::print_bytes(&out)
    }

    /// A name as it is, or on a terminal so that it is only seen.
    pub(super) fn name(&self, name: &[u8]) -> Vec<u8> {
        if self.is_terminal { visible(name).into_bytes() } else { name.to_vec() }
    }

    pub(super) fn stat(&self, tree: &Tree<'_>, path: &ImagePath, json: bool) -> Result<(), Failure> {
        let stat = tree.stat(path, false)?;
        let target = match stat.kind {
            FileKind::Symlink => Some(tree.read_link(path)?),
            _ => None,
        };
        if json || self.json {
            let mut object = stat_json(&stat, target.as_deref());
            object.insert("path".to_owned(), path.as_str().into());
            if target.is_none() {
                let xattrs = tree.xattrs(path)?;
                let shown = xattrs.iter().map(|Xattr { name, value }| {
                    let mut xattr = Map::new();
                    insert_bytes(&mut xattr, "name", name);
                    xattr.insert("value_hex".to_owned(), hex(value).into());
                    Value::Object(xattr)
                });
                object.insert("xattrs".to_owned(), shown.collect());
            }
            return ui::print(&format!("{}\n", Value::Object(object)));
        }
        let mut text = format!("path: {path}\nkind: {}\nmode: {:04o}\n", stat.kind, stat.mode);
        let _ = writeln!(text, "owner: {}:{}", stat.uid, stat.gid);
        match stat.device {
            Some((major, minor)) => drop(writeln!(text, "device: {major}, {minor}")),
            None => drop(writeln!(text, "length: {} bytes", stat.len_bytes)),
        }
        let _ = writeln!(text, "links: {}", stat.links);
        if let Some(inode) = stat.inode {
            let _ = writeln!(text, "inode: {inode}");
        }
        for (what, time) in
            [("accessed", stat.accessed), ("modified", stat.modified), ("changed", stat.changed)]
        {
            let Timestamp { seconds, nanoseconds } = time;
            let _ = writeln!(text, "{what}: {}.{nanoseconds:09} UTC", Civil::from_epoch_seconds(seconds));
        }
        match target {
            Some(target) => {
                let _ = writeln!(text, "target: {}", visible(&target));
            }
            None => {
                for Xattr { name, value } in tree.xattrs(path)? {
                    let _ = writeln!(text, "xattr: {}={}", visible(&name), value_text(&value));
                }
            }
        }
        ui::print(&text)
    }

    /// The value of an attribute: text as it is, anything else in hexadecimal, so that `xattr set` takes it again.
    pub(super) fn attribute(&self, value: &[u8]) -> Result<(), Failure> {
        ui::print(&format!("{}\n", value_text(value)))
    }

    pub(super) fn usage(&self, tree: &Tree<'_>, json: bool) -> Result<(), Failure> {
        let all = tree.usage()?;
        if json || self.json {
            return ui::print(&format!("{}\n", json!({ "filesystems": all })));
        }
        let heading = ["partition", "type", "size", "used", "free", "inodes", "free", "mounted on"];
        let mut rows = vec![heading.map(str::to_owned)];
        for usage in &all {
            let number = |number: Option<u32>| number.map_or_else(|| "-".to_owned(), |n| n.to_string());
            rows.push([
                number(usage.partition),
                usage.kind.to_owned(),
                ByteLen(usage.len_bytes).to_string(),
                ByteLen(usage.used_bytes).to_string(),
                ByteLen(usage.free_bytes).to_string(),
                number(usage.inodes),
                number(usage.free_inodes),
                usage.mounted_on.clone(),
            ]);
        }
        let mut text = String::new();
        for row in &rows {
            let padded: Vec<String> = row
                .iter()
                .enumerate()
                .map(|(column, cell)| {
                    let width = rows.iter().map(|row| row[column].len()).max().unwrap_or(0);
                    match column {
                        7 => cell.clone(),
                        0 | 1 => format!("{cell:<width$}"),
                        _ => format!("{cell:>width$}"),
                    }
                })
                .collect();
            let _ = writeln!(text, "{}", padded.join("  "));
        }
        ui::print(&text)
    }
}

/// How wide the numbers of a listing are.
struct Columns {
    links: usize,
    uid: usize,
    gid: usize,
    len: usize,
}

impl Columns {
    fn of(entries: &[Listed]) -> Self {
        let widest = |number: fn(&Stat) -> u64| {
            entries.iter().map(|entry| number(&entry.stat).to_string().len()).max().unwrap_or(0)
        };
        Self {
            links: widest(|stat| stat.links.into()),
            uid: widest(|stat| stat.uid.into()),
            gid: widest(|stat| stat.gid.into()),
            len: entries.iter().map(|entry| size(&entry.stat).len()).max().unwrap_or(0),
        }
    }

    /// As `ls -ln --time-style=long-iso` has it, in UTC.
    fn line(&self, stat: &Stat) -> String {
        let Self { links, uid, gid, len } = *self;
        let time = Civil::from_epoch_seconds(stat.modified.seconds).to_string();
        let minutes = time.rsplit_once(':').map_or(time.as_str(), |(minutes, _)| minutes);
        format!(
            "{}{} {:>links$} {:<uid$} {:<gid$} {:>len$} {minutes} ",
            kind_letter(stat.kind),
            mode_letters(stat.mode),
            stat.links,
            stat.uid,
            stat.gid,
            size(stat),
        )
    }
}

/// The length, or the numbers of a device.
fn size(stat: &Stat) -> String {
    match stat.device {
        Some((major, minor)) => format!("{major}, {minor}"),
        None => stat.len_bytes.to_string(),
    }
}

fn kind_letter(kind: FileKind) -> char {
    match kind {
        FileKind::Regular => '-',
        FileKind::Directory => 'd',
        FileKind::Symlink => 'l',
        FileKind::CharacterDevice => 'c',
        FileKind::BlockDevice => 'b',
        FileKind::Fifo => 'p',
        FileKind::Socket => 's',
    }
}

/// `rwxr-xr-x`, with `s`, `S`, `t` and `T` for the upper three bits.
fn mode_letters(mode: u16) -> String {
    let mut letters = String::new();
    for (shift, special, set, unset) in [(6, 0o4000, 's', 'S'), (3, 0o2000, 's', 'S'), (0, 0o1000, 't', 'T')]
    {
        let bits = mode >> shift;
        letters.push(if bits & 4 != 0 { 'r' } else { '-' });
        letters.push(if bits & 2 != 0 { 'w' } else { '-' });
        letters.push(match (mode & special != 0, bits & 1 != 0) {
            (true, true) => set,
            (true, false) => unset,
            (false, true) => 'x',
            (false, false) => '-',
        });
    }
    letters
}

/// Does a character do something to a terminal, other than being seen?
pub(in crate::cli) fn steers(c: char) -> bool {
    // Characters that change the order of what follows are no control characters.
    c.is_control() || matches!(c, '\u{200e}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// A name in which nothing can steer a terminal, and which cannot be mistaken for another.
pub(in crate::cli) fn visible(name: &[u8]) -> String {
    let mut shown = String::new();
    for chunk in name.utf8_chunks() {
        for c in chunk.valid().chars() {
            if steers(c) || c == '\\' { shown.extend(c.escape_default()) } else { shown.push(c) }
        }
        for byte in chunk.invalid() {
            let _ = write!(shown, "\\x{byte:02x}");
        }
    }
    shown
}

fn value_text(value: &[u8]) -> String {
    std::str::from_utf8(value)
        .ok()
        .filter(|text| !text.starts_with("0x") && !text.chars().any(char::is_control))
        .map_or_else(|| hex(value), str::to_owned)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::from("0x"), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Text under `key`; where the bytes are none, also as they are under `key_hex`.
pub(in crate::cli) fn insert_bytes(object: &mut Map<String, Value>, key: &str, bytes: &[u8]) {
    object.insert(key.to_owned(), String::from_utf8_lossy(bytes).into());
    if std::str::from_utf8(bytes).is_err() {
        object.insert(format!("{key}_hex"), hex(bytes).into());
    }
}

pub(in crate::cli) fn kind_word(kind: FileKind) -> &'static str {
    match kind {
        FileKind::Regular => "file",
        FileKind::Directory => "directory",
        FileKind::Symlink => "symlink",
        FileKind::CharacterDevice => "character-device",
        FileKind::BlockDevice => "block-device",
        FileKind::Fifo => "fifo",
        FileKind::Socket => "socket",
    }
}

/// What a file is, as long as nobody looks at it or moves it.
pub(in crate::cli) fn facts_json(stat: &Stat, target: Option<&[u8]>) -> Map<String, Value> {
    let mut object = Map::new();
    let mut insert = |key: &str, value: Value| object.insert(key.to_owned(), value);
    insert("kind", kind_word(stat.kind).into());
    insert("mode", format!("{:04o}", stat.mode).into());
    insert("uid", stat.uid.into());
    insert("gid", stat.gid.into());
    insert("len_bytes", stat.len_bytes.into());
    insert("device", stat.device.map(|(major, minor)| json!({ "major": major, "minor": minor })).into());
    insert("modified", time_json(stat.modified));
    if let Some(target) = target {
        insert_bytes(&mut object, "target", target);
    }
    object
}

pub(super) fn stat_json(stat: &Stat, target: Option<&[u8]>) -> Map<String, Value> {
    let mut object = facts_json(stat, target);
    let mut insert = |key: &str, value: Value| object.insert(key.to_owned(), value);
    insert("allocated_bytes", stat.allocated_bytes.into());
    insert("links", stat.links.into());
    insert("inode", stat.inode.into());
    insert("accessed", time_json(stat.accessed));
    insert("changed", time_json(stat.changed));
    object
}

fn time_json(time: Timestamp) -> Value {
    json!({ "seconds": time.seconds, "nanoseconds": time.nanoseconds })
}

fn entry_json(entry: &Listed) -> Value {
    let mut object = stat_json(&entry.stat, entry.target.as_deref());
    insert_bytes(&mut object, "name", &entry.name);
    Value::Object(object)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_written_as_ls_writes_them() {
        for (mode, letters) in [
            (0o755, "rwxr-xr-x"),
            (0o640, "rw-r-----"),
            (0o4755, "rwsr-xr-x"),
            (0o2644, "rw-r-Sr--"),
            (0o1777, "rwxrwxrwt"),
            (0o1776, "rwxrwxrwT"),
            (0, "---------"),
        ] {
            assert_eq!(mode_letters(mode), letters);
        }
    }

    #[test]
    fn a_name_on_a_terminal_steers_nothing() {
        for (name, shown) in [
            (&b"caf\xc3\xa9"[..], "caf\u{e9}"),
            (b"a\x1b[31mb", "a\\u{1b}[31mb"),
            (b"a\nb", "a\\nb"),
            (b"a\\nb", "a\\\\nb"),
            (b"\xff\xfe", "\\xff\\xfe"),
            ("x\u{202e}gpj".as_bytes(), "x\\u{202e}gpj"),
        ] {
            assert_eq!(visible(name), shown);
        }
    }
}
