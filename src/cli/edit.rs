//! One edit as a person reads it: a heading, and for text the lines that change.

use std::time::Duration;

use similar::TextDiff;

use crate::plan::{Action, Content, Edit, FileFact, Owner, Tree};

/// The edit, indented by two, against what the image holds now.
pub(super) fn show(edit: &Edit, tree: &Tree) -> String {
    let heading = |text: String| format!("  [{}] {text}\n", edit.section);
    match &edit.action {
        Action::WriteFile { path, content, mode, owner } => {
            let before = tree.get(path.as_str()).and_then(|found| found.target.as_ref());
            let verb = if before.is_some() { "change" } else { "create" };
            heading(format!("{verb} {path}{}", attributes(*mode, *owner))) + &body(before, content)
        }
        Action::MakeDirectory { path, mode, owner } => {
            heading(format!("directory {path}{}", attributes(Some(*mode), Some(*owner))))
        }
        Action::Symlink { path, target } => heading(format!("symlink {path} -> {target}")),
        Action::Remove { path } => heading(format!("remove {path}")),
        Action::Rename { from, to } => heading(format!("rename {from} to {to}")),
        Action::SetAttributes { path, mode, owner } => {
            heading(format!("attributes of {path}{}", attributes(*mode, *owner)))
        }
        Action::SetDiskId(id) => heading(format!("disk id {id:08x}")),
        Action::SetGuids { disk, partitions } => {
            let of = |(number, guid): &(u32, _)| format!(", partition {number} {guid}");
            heading(format!("disk GUID {disk}{}", partitions.iter().map(of).collect::<String>()))
        }
        Action::SetRootUuid(uuid) => heading(format!("root UUID {uuid}")),
        Action::SetBootSerial(serial) => {
            heading(format!("boot serial {:04X}-{:04X}", serial >> 16, serial & 0xffff))
        }
        Action::GrowImage(len) => heading(format!("grow the image to {len}")),
    }
}

fn attributes(mode: Option<u16>, owner: Option<Owner>) -> String {
    let mode = mode.map(|mode| format!(" {mode:04o}")).unwrap_or_default();
    let owner = owner.map(|Owner { uid, gid }| format!(" {uid}:{gid}")).unwrap_or_default();
    mode + &owner
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
    changed_lines(before, after).iter().map(|line| format!("    {line}\n")).collect()
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
