//! One edit as a person reads it: a heading, and for text the lines that change.

use std::time::Duration;

use similar::TextDiff;

use crate::plan::{Action, Content, Edit, FileFact, Owner, Tree, is_own_program};

use super::style;

/// The edit, indented by two, against what the image holds now; cardpress's own programs only if it is to be whole.
pub(super) fn show(edit: &Edit, tree: &Tree, is_whole: bool) -> String {
    let (is_there, body) = match &edit.action {
        Action::WriteFile { path, content, .. } => {
            let before = tree.get(path.as_str()).and_then(|found| found.target.as_ref());
            let is_told = !is_whole && before.is_none() && is_own_program(content);
            (before.is_some(), if is_told { own(content) } else { body(before, content) })
        }
        _ => (false, String::new()),
    };
    format!("  [{}] {}\n{body}", edit.section, heading(edit, is_there))
}

/// What is done, in one line.
pub(super) fn heading(edit: &Edit, is_there: bool) -> String {
    match &edit.action {
        Action::WriteFile { path, mode, owner, .. } => {
            let verb = if is_there { "change" } else { "create" };
            format!("{verb} {path}{}", attributes(*mode, *owner))
        }
        Action::MakeDirectory { path, mode, owner } => {
            format!("directory {path}{}", attributes(Some(*mode), Some(*owner)))
        }
        Action::Symlink { path, target } => format!("symlink {path} -> {target}"),
        Action::Remove { path } => format!("remove {path}"),
        Action::Rename { from, to } => format!("rename {from} to {to}"),
        Action::SetAttributes { path, mode, owner } => {
            format!("attributes of {path}{}", attributes(*mode, *owner))
        }
        Action::SetDiskId(id) => format!("disk id {id:08x}"),
        Action::SetGuids { disk, partitions } => {
            let of = |(number, guid): &(u32, _)| format!(", partition {number} {guid}");
            format!("disk GUID {disk}{}", partitions.iter().map(of).collect::<String>())
        }
        Action::SetRootUuid(uuid) => format!("root UUID {uuid}"),
        Action::SetBootSerial(serial) => {
            format!("boot serial {:04X}-{:04X}", serial >> 16, serial & 0xffff)
        }
        Action::GrowImage(len) => format!("grow the image to {len}"),
    }
}

fn attributes(mode: Option<u16>, owner: Option<Owner>) -> String {
    let mode = mode.map(|mode| format!(" {mode:04o}")).unwrap_or_default();
    let owner = owner.map(|Owner { uid, gid }| format!(" {uid}:{gid}")).unwrap_or_default();
    mode + &owner
}

/// A reader of many plans knows them by heart.
fn own(program: &Content) -> String {
    let lines = program.bytes().split(|byte| *byte == b'\n').count() - 1;
    format!("    {}\n", painted(&format!("+… {lines} lines of cardpress's own (-v shows them)")))
}

fn body(before: Option<&FileFact>, content: &Content) -> String {
    let Content::Plain(after) = content else { return "    ***\n".to_owned() };
    let before = match before {
        Some(FileFact::File { content, .. }) => content.as_slice(),
        _ => &[],
    };
    let (Ok(before), Ok(after)) = (std::str::from_utf8(before), std::str::from_utf8(after)) else {
        return format!("    {} bytes\n", after.len());
    };
    changed_lines(before, after).iter().map(|line| format!("    {}\n", painted(line))).collect()
}

/// A line of [`changed_lines`] in the colour of what became of it.
pub(super) fn painted(line: &str) -> String {
    match line.as_bytes().first() {
        Some(b'+') => style::paint(style::ADDED, line),
        Some(b'-') => style::paint(style::REMOVED, line),
        _ => line.to_owned(),
    }
}

/// After this long what is left is shown as replaced: comparing two long files that have nothing in common has no end.
const PATIENCE: Duration = Duration::from_secs(1);

/// The lines that differ, each after `-`, `+`, or a blank for the one before and the one after them.
pub(super) fn changed_lines(before: &str, after: &str) -> Vec<String> {
    let diff = TextDiff::configure().timeout(PATIENCE).diff_lines(before, after);
    let mut lines = Vec::new();
    for hunk in diff.unified_diff().context_radius(1).iter_hunks() {
        for change in hunk.iter_changes() {
            let line = change.value();
            lines.push(format!("{}{}", change.tag(), line.strip_suffix('\n').unwrap_or(line)));
        }
    }
    lines
}
