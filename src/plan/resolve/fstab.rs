//! `[[fstab]]`: a line for the same mount point is replaced, others are added (fstab(5)).

use super::Context;
use super::draft::Draft;
use crate::plan::{FstabLine, Owner};

pub(super) fn apply(context: &Context, draft: &mut Draft) {
    let wanted = &context.settings().fstab;
    if wanted.is_empty() {
        return;
    }
    let mut lines: Vec<String> =
        draft.text("/etc/fstab").unwrap_or_default().lines().map(str::to_owned).collect();
    for entry in wanted {
        let line = text_of(entry);
        let same = |other: &String| {
            let mut fields = other.split_whitespace();
            let (device, mount) = (fields.next().unwrap_or_default(), fields.next().unwrap_or_default());
            // `none` is no place: swap areas are told apart by their device.
            !device.starts_with('#')
                && mount == escape(&entry.mount)
                && (entry.mount != "none" || device == escape(&entry.device))
        };
        let at = lines.iter().position(same).unwrap_or(lines.len());
        lines.retain(|other| !same(other));
        lines.insert(at.min(lines.len()), line);
        if entry.mount.starts_with('/') && !draft.exists(&entry.mount) {
            draft.make_directory(&entry.mount, 0o755, Owner::ROOT);
        }
    }
    draft.write("/etc/fstab", format!("{}\n", lines.join("\n")));
}

fn text_of(entry: &FstabLine) -> String {
    let FstabLine { device, mount, fs_type, options, dump, pass } = entry;
    let fields = [device, mount, fs_type, options].map(|field| escape(field));
    format!("{}\t{dump}\t{pass}", fields.join("\t"))
}

/// Blanks as octal, as getmntent(3) reads them back.
fn escape(field: &str) -> String {
    let mut out = String::new();
    for c in field.chars() {
        match c {
            ' ' | '\t' | '\n' | '\\' => out.push_str(&format!("\\{:03o}", u32::from(c))),
            c => out.push(c),
        }
    }
    out
}
