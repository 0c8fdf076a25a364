//! `cardpress diff`

mod json;

use std::path::{Path, PathBuf};

use anyhow::anyhow;
use clap::Args;

use crate::base::{Civil, ImagePath};
use crate::build::diff::{
    self, Change, Changed, Content, Counts, Fact, Facts, Listener, Options, Overview, What, XattrChange,
};
use crate::build::disk::{Disk, FileKind, Part, Timestamp};
use crate::source::Cache;

use super::args::Global;
use super::edit::{changed_lines, painted};
use super::fs::show::{kind_word, steers, visible};
use super::report::{Failure, plural};
use super::subject::cache_folder;
use super::ui::{self, Ui};

const HELP: &str = "\
Examples:
  cardpress diff raspios.img.xz out/swarm/worker1.img   what pressing did
  cardpress diff old.img new.img --path /etc            only below /etc
  cardpress diff old.img new.img --brief                only the names
  cardpress diff old.img new.img --json                 all of it, as data

A line begins with `+` for what only B has, `-` for what only A has, `~` for what both have and differs, `!` for what \
could not be read. Compared are kind, mode, owner, content, link target, device numbers and extended attributes; not what \
no file shows, such as free blocks, journals and the numbers of inodes.

Exit status, as of diff(1): 0 no difference; 1 there are differences; 2 no answer: usage, or something could not be \
read.";

#[derive(Clone, Debug, Args)]
#[command(after_help = HELP)]
pub(super) struct Diff {
    /// An image: .img, .img.xz, .img.gz, .img.zst, .zip, or a bare FAT or ext4 filesystem.
    #[arg(value_name = "A")]
    one: PathBuf,

    /// The image to compare it with.
    #[arg(value_name = "B")]
    other: PathBuf,

    /// Only this partition, whose root is then `/`: boot, root or a number [default: all, as the running system
    /// sees them].
    #[arg(long, value_name = "boot|root|N", value_parser = super::fs::part)]
    partition: Option<Part>,

    /// Compare only this file, or this directory and what is below.
    #[arg(long, value_name = "PATH")]
    path: Option<ImagePath>,

    /// Only say which paths differ.
    #[arg(long)]
    brief: bool,

    /// Compare when files were last changed, too.
    #[arg(long)]
    times: bool,

    /// Show content that looks secret, too: private keys, and files that not everybody may read.
    #[arg(long)]
    secrets: bool,

    /// Read every file of both, also where blocks tell that it is the same.
    #[arg(long, hide = true)]
    plain: bool,
}

pub(super) fn run(args: &Diff, global: &Global, ui: &Ui) -> Result<(), Failure> {
    // 1 means that they differ, so no failure may.
    match compare(args, global, ui) {
        Err(Failure::Other(error) | Failure::Refused(error)) => Err(Failure::Usage(error)),
        compared => compared,
    }
}

fn compare(args: &Diff, global: &Global, ui: &Ui) -> Result<(), Failure> {
    let cache = Cache::at(cache_folder(global)?);
    let part = args.partition.unwrap_or_default();
    let open = |path: &Path| Disk::open_to_read(path, part, &cache, ui, &ui.interrupt);
    let (one, other) = (open(&args.one)?, open(&args.other)?);
    let options = Options {
        below: args.path.as_ref(),
        times: args.times,
        secrets: args.secrets,
        brief: args.brief,
        plain: args.plain,
    };
    let mut printer = Printer { args, global, is_any: false, has_files: false, text: String::new() };
    let compared = diff::compare(&one, &other, &options, &mut printer, ui, &ui.interrupt);
    for (disk, path) in [(&one, &args.one), (&other, &args.other)] {
        disk.take_notes().iter().for_each(|note| ui.say(&format!("{}: {note}", path.display())));
    }
    let counts = compared?;
    printer.end(&counts)?;
    if counts.unread > 0 {
        let paths = plural(usize::try_from(counts.unread).unwrap_or(usize::MAX), "path");
        return Err(Failure::Usage(anyhow!("{} {paths} could not be compared", counts.unread)));
    }
    if !printer.is_any {
        return Ok(());
    }
    let Counts { added, removed, changed, .. } = counts;
    ui.say(&format!("{added} added, {removed} removed, {changed} changed"));
    Err(Failure::Unsound)
}

/// Lines, or JSON, gathered until it is worth a write.
struct Printer<'a> {
    args: &'a Diff,
    global: &'a Global,
    /// Was there any difference?
    is_any: bool,
    has_files: bool,
    text: String,
}

/// Printed at once.
const TEXT_LEN: usize = 64 << 10;

impl Listener for Printer<'_> {
    type Error = Failure;

    fn overview(&mut self, overview: &Overview) -> Result<(), Failure> {
        self.is_any |= !overview.is_empty();
        if self.global.json {
            self.text += &json::head(overview);
            return Ok(());
        }
        let brief = self.args.brief;
        let mut section = |what: &str, facts: &[Fact]| {
            if !facts.is_empty() {
                self.text += &format!("~ {what}\n");
                self.text +=
                    &if brief { String::new() } else { facts.iter().map(fact_line).collect::<String>() };
            }
        };
        section("partition table", &overview.table);
        for filesystem in &overview.filesystems {
            section(&format!("filesystem {}", filesystem.mounted_on), &filesystem.facts);
        }
        for partition in &overview.partitions {
            self.text += &format!("~ partition {}\n", partition.number);
            self.text += if brief { "" } else { "    its bytes differ; its files are not compared\n" };
        }
        Ok(())
    }

    fn change(&mut self, change: &Change) -> Result<(), Failure> {
        self.is_any |= !matches!(change.what, What::Unread(_));
        if self.global.json {
            self.text += if self.has_files { "," } else { "" };
            self.text += &json::file(change, self.args.times);
        } else {
            self.text += &lines(change, self.args);
        }
        self.has_files = true;
        if self.text.len() >= TEXT_LEN { self.print() } else { Ok(()) }
    }
}

impl Printer<'_> {
    fn print(&mut self) -> Result<(), Failure> {
        ui::print_painted(&std::mem::take(&mut self.text))
    }

    fn end(&mut self, counts: &Counts) -> Result<(), Failure> {
        if self.global.json {
            self.text += &json::tail(counts, !self.is_any && counts.unread == 0);
        }
        if self.text.is_empty() { Ok(()) } else { self.print() }
    }
}

/// `    disk id 0badcafe -> 1a2b3c4d`
fn fact_line(Fact { what, before, after }: &Fact) -> String {
    let shown = |value: &Option<String>| value.clone().unwrap_or_else(|| "none".to_owned());
    format!("    {what} {} -> {}\n", shown(before), shown(after))
}

/// What is said of a path.
fn lines(change: &Change, args: &Diff) -> String {
    let path = visible(&change.path);
    match &change.what {
        What::Added(_) if args.brief => format!("+ {path}\n"),
        What::Removed(_) if args.brief => format!("- {path}\n"),
        What::Added(facts) => format!("+ {}\n", one_line(&path, facts)),
        What::Removed(facts) => format!("- {}\n", one_line(&path, facts)),
        What::Unread(reason) => format!("! {path}: {}\n", harmless(reason)),
        What::Changed(_) if args.brief => format!("~ {path}\n"),
        What::Changed(changed) => {
            let mut text = format!("~ {path}\n");
            for Attribute { what, before, after } in attributes(changed, args.times) {
                text += &format!("    {what} {before} -> {after}\n");
            }
            for XattrChange { name, before, after } in &changed.xattrs {
                let how = match (before, after) {
                    (None, _) => "added",
                    (_, None) => "removed",
                    _ => "changed",
                };
                text += &format!("    xattr {} {how}\n", visible(name));
            }
            text + &content_lines(changed)
        }
    }
}

/// `file /etc/motd 0644 0:0 12 bytes`
fn one_line(path: &str, Facts { stat, target }: &Facts) -> String {
    let mut text = format!("{} {path}", kind_word(stat.kind));
    if let Some(target) = target {
        text += &format!(" -> {}", visible(target));
    }
    text += &format!(" {:04o} {}:{}", stat.mode, stat.uid, stat.gid);
    match (stat.kind, stat.device) {
        (_, Some((major, minor))) => text + &format!(" {major},{minor}"),
        (FileKind::Regular, _) => text + &format!(" {} bytes", stat.len_bytes),
        _ => text,
    }
}

/// Something of a file that differs, as text.
struct Attribute {
    what: &'static str,
    before: String,
    after: String,
}

/// What differs of a file, but for content and extended attributes.
fn attributes(changed: &Changed, times: bool) -> Vec<Attribute> {
    let number = |device: Option<(u32, u32)>| device.map(|(major, minor)| format!("{major},{minor}"));
    let told = |facts: &Facts| {
        let stat = &facts.stat;
        let Timestamp { seconds, nanoseconds } = stat.modified;
        [
            ("kind", Some(kind_word(stat.kind).to_owned())),
            ("mode", Some(format!("{:04o}", stat.mode))),
            ("owner", Some(format!("{}:{}", stat.uid, stat.gid))),
            ("target", facts.target.as_deref().map(visible)),
            ("device", number(stat.device)),
            (
                "modified",
                times.then(|| format!("{}.{nanoseconds:09} UTC", Civil::from_epoch_seconds(seconds))),
            ),
        ]
    };
    let none = || "none".to_owned();
    let pairs = told(&changed.before).into_iter().zip(told(&changed.after));
    pairs
        .filter(|((_, before), (_, after))| before != after)
        .map(|((what, before), (_, after))| Attribute {
            what,
            before: before.unwrap_or_else(none),
            after: after.unwrap_or_else(none),
        })
        .collect()
}

fn content_lines(changed: &Changed) -> String {
    let [len, other_len] = [&changed.before, &changed.after].map(|facts| facts.stat.len_bytes);
    match &changed.content {
        None => String::new(),
        Some(Content::Differs) => "    content differs\n".to_owned(),
        Some(Content::Secret) => "    content differs (it looks secret: --secrets shows it)\n".to_owned(),
        Some(Content::Bytes { before, after }) => {
            format!(
                "    content {len} bytes, SHA-256 {before}\n         -> {other_len} bytes, SHA-256 {after}\n"
            )
        }
        Some(Content::Text { before, after }) => {
            let lines = changed_lines(before, after);
            let mut text: String =
                lines.iter().map(|line| format!("    {}\n", painted(&harmless(line)))).collect();
            match (before.ends_with('\n') || before.is_empty(), after.ends_with('\n') || after.is_empty()) {
                (true, false) => text += "    (without a newline at the end in B)\n",
                (false, true) => text += "    (without a newline at the end in A)\n",
                _ => {}
            }
            text
        }
    }
}

/// A line in which nothing steers a terminal.
fn harmless(line: &str) -> String {
    let mut shown = String::with_capacity(line.len());
    for c in line.chars() {
        if steers(c) && c != '\t' { shown.extend(c.escape_default()) } else { shown.push(c) }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::build::disk::Stat;

    fn facts(kind: FileKind, mode: u16, target: Option<&str>) -> Facts {
        let time = Timestamp::default();
        let stat = Stat {
            kind,
            mode,
            uid: 0,
            gid: 0,
            len_bytes: 12,
            allocated_bytes: 0,
            device: None,
            links: 1,
            inode: Some(12),
            accessed: time,
            modified: time,
            changed: time,
        };
        Facts { stat, target: target.map(|target| target.as_bytes().to_vec()) }
    }

    fn changed(before: Facts, after: Facts, content: Option<Content>) -> Changed {
        Changed { before, after, content, xattrs: Vec::new() }
    }

    #[test]
    fn a_file_alone_is_a_line() {
        assert_eq!(one_line("/x", &facts(FileKind::Regular, 0o644, None)), "file /x 0644 0:0 12 bytes");
        assert_eq!(one_line("/x", &facts(FileKind::Directory, 0o755, None)), "directory /x 0755 0:0");
        assert_eq!(one_line("/x", &facts(FileKind::Symlink, 0o777, Some("y"))), "symlink /x -> y 0777 0:0");
    }

    #[test]
    fn only_what_differs_is_told_of_a_file() {
        let before = facts(FileKind::Regular, 0o644, None);
        let mut after = facts(FileKind::Symlink, 0o644, Some("y"));
        after.stat.uid = 7;
        after.stat.modified = Timestamp { seconds: 1, nanoseconds: 5 };
        let changed = changed(before, after, None);
        let told = |times| {
            let attributes = attributes(&changed, times).into_iter();
            attributes
                .map(|told| format!("{} {} -> {}", told.what, told.before, told.after))
                .collect::<Vec<_>>()
        };
        assert_eq!(told(false), ["kind file -> symlink", "owner 0:0 -> 7:0", "target none -> y"]);
        assert_eq!(
            told(true)[3],
            "modified 1970-01-01 00:00:00.000000000 UTC -> 1970-01-01 00:00:01.000000005 UTC"
        );
    }

    #[test]
    fn text_is_shown_line_by_line_and_steers_nothing() {
        let file = || facts(FileKind::Regular, 0o644, None);
        let text = |before: &str, after: &str| {
            let content = Content::Text { before: before.to_owned(), after: after.to_owned() };
            // What steers a terminal is told by its colours alone.
            anstream::adapter::strip_str(&content_lines(&changed(file(), file(), Some(content)))).to_string()
        };
        assert_eq!(text("a\nb\n", "a\n\tc\u{1b}[31m\n"), "     a\n    -b\n    +\tc\\u{1b}[31m\n");
        assert_eq!(text("a\n", "a"), "    -a\n    +a\n    (without a newline at the end in B)\n");
    }
}
