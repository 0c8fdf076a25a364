//! `remove`, `[[directory]]`, `[[file]]` and `[[symlink]]`: what the profile says of single paths.

use super::draft::Draft;
use super::fault::nearest;
use super::{Context, Problem, users};
use crate::base::ImagePath;
use crate::plan::{Owner, OwnerName};

pub(super) fn removals(context: &Context, draft: &mut Draft) {
    for path in &context.settings().removals {
        if draft.exists(path.as_str()) {
            draft.remove(path.as_str());
        } else if !draft.in_image(path.as_str()) {
            draft.warn(format!("`{path}` is not in the image"));
        }
    }
}

pub(super) fn directories(context: &Context, draft: &mut Draft) {
    for directory in &context.settings().directories {
        own_parents(&directory.path, context, draft);
        let owner = owner(directory.owner.as_ref(), draft).unwrap_or(Owner::ROOT);
        draft.make_directory(directory.path.as_str(), directory.mode.unwrap_or(0o755), owner);
    }
}

pub(super) fn files(context: &Context, draft: &mut Draft) {
    for file in &context.settings().files {
        if file.content.is_secret() && on_boot(&file.path, context) {
            draft.fault(Problem::SecretOnBoot { path: file.path.to_string() });
            continue;
        }
        if !on_boot(&file.path, context) {
            own_parents(&file.path, context, draft);
        }
        let owner = owner(file.owner.as_ref(), draft);
        // A new file is 0644 unless told otherwise: too open for a secret.
        let closed = (file.content.is_secret() && !draft.exists(file.path.as_str())).then_some(0o600);
        draft.write_with(file.path.as_str(), file.content.clone(), file.mode.or(closed), owner);
    }
}

pub(super) fn symlinks(context: &Context, draft: &mut Draft) {
    for link in &context.settings().symlinks {
        if on_boot(&link.path, context) {
            let why = "FAT has no symbolic links";
            let value = link.path.to_string();
            draft.fault(Problem::BadValue { value, place: "the boot partition", why });
            continue;
        }
        let path = link.path.as_str();
        if draft.is_directory(path) && draft.link_text(path).is_none() {
            let by = String::from(
                "the image has a directory there; `remove` it first if the link is to replace it",
            );
            draft.fault(Problem::Taken { what: "path", name: path.to_owned(), by });
            continue;
        }
        own_parents(&link.path, context, draft);
        draft.symlink(link.path.as_str(), link.target.clone());
    }
}

/// What has to be made on the way to a path in somebody's home is theirs: root's `~/.config` would lock them out.
fn own_parents(path: &ImagePath, context: &Context, draft: &mut Draft) {
    let Some((home, owner)) = draft.accounts.home_around(path) else { return };
    let mut missing = Vec::new();
    let mut next = path.parent();
    while let Some(dir) = next.filter(|dir| dir.below(&home).is_some() && !draft.exists(dir.as_str())) {
        next = dir.parent();
        missing.push(dir);
    }
    for dir in missing.iter().rev() {
        let mode = match dir.below(&home) {
            Some("") => users::home_mode(context, draft),
            Some(".ssh") => 0o700,
            _ => 0o755,
        };
        draft.make_directory(dir.as_str(), mode, owner);
    }
}

fn on_boot(path: &ImagePath, context: &Context) -> bool {
    path.below(&context.facts.boot_mount).is_some()
}

/// Names are looked up in the accounts as they will be on the node.
fn owner(name: Option<&OwnerName>, draft: &mut Draft) -> Option<Owner> {
    let OwnerName { user, group } = name?;
    let uid = user.parse().ok().or_else(|| Some(draft.accounts.user(user)?.owner.uid));
    let gid = group.parse().ok().or_else(|| draft.accounts.group_id(group));
    if uid.is_none() {
        let names = draft.accounts.user_names();
        let nearest = nearest(user, names.iter().map(String::as_str));
        draft.fault(Problem::Missing { what: "user", name: user.clone(), nearest });
    }
    if gid.is_none() {
        let names = draft.accounts.group_names();
        let nearest = nearest(group, names.iter().map(String::as_str));
        draft.fault(Problem::Missing { what: "group", name: group.clone(), nearest });
    }
    Some(Owner { uid: uid?, gid: gid? })
}
