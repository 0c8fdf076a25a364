//! Lays the edits of one node into its overlay.

use crate::base::ByteLen;
use crate::block::{Device, Overlay, ReadAt};
use crate::image::table;
use crate::plan::{Action, Edit, Owner, grown_len};

use super::Error;
use super::layout::{Layout, grow_last, slice};
use super::system::{Kind, System};

/// Does every edit, in order, but growing first, so that the others have the room. Returns where the partitions
/// are afterwards. On an error the overlay is worthless and must be dropped; nothing else was touched.
pub(super) fn apply<B: ReadAt>(
    overlay: &Overlay<B>,
    layout: &Layout,
    boot_mount: &crate::base::ImagePath,
    edits: &[Edit],
    epoch_seconds: Option<i64>,
) -> Result<Layout, Error> {
    let wanted = grown_len(edits);
    // Past this byte there was no image, so there is nothing yet.
    let zero_from = overlay.len_bytes().saturating_sub(layout.root.start_bytes);
    let layout = match wanted {
        // pi-gen's root ends with the image too.
        Some(len) => {
            grow_last(overlay, &layout.table, &layout.root, len)?;
            Layout::read(overlay)?
        }
        None => layout.clone(),
    };
    let boot = slice(overlay, &layout.boot)?;
    let root = slice(overlay, &layout.root)?;
    let mut system = System::open(&layout, &boot, &root, epoch_seconds)?;
    system.mount_boot(boot_mount.clone());
    if wanted.is_some() {
        system.grow_root(layout.root.len_bytes, zero_from)?;
    }
    check_room(&mut system, edits)?;
    for edit in edits {
        apply_one(&mut system, overlay, &edit.action)?;
    }
    system.commit()?;
    Ok(layout)
}

fn apply_one(system: &mut System<'_>, device: &dyn Device, action: &Action) -> Result<(), Error> {
    match action {
        // The plan refuses such paths as far as it knows the tree; only here are all links followed.
        Action::WriteFile { path, content, .. } if content.is_secret() && system.is_on_boot(path)? => {
            Err(Error::SecretOnBoot { path: path.clone() })
        }
        Action::WriteFile { path, content, mode, owner } => {
            system.write_file(path, content.bytes(), *mode, *owner)
        }
        Action::MakeDirectory { path, mode, owner } => system.make_directory(path, *mode, *owner),
        Action::Symlink { path, target } => system.symlink(path, target),
        Action::Remove { path } => system.remove(path),
        Action::Rename { from, to } => system.rename(from, to),
        Action::SetAttributes { path, mode, owner } => system.set_attributes(path, *mode, *owner),
        Action::SetGuids { disk, partitions } => Ok(table::write_guids(device, *disk, partitions)?),
        Action::SetDiskId(id) => Ok(table::write_disk_id(device, *id)?),
        Action::SetRootUuid(uuid) => system.set_root_uuid(*uuid.as_bytes()),
        Action::SetBootSerial(serial) => system.set_boot_serial(*serial),
        // Done before the first edit.
        Action::GrowImage(_) => Ok(()),
    }
}

/// Sums up what the edits need on the root filesystem before the first is done, so that the message can tell all
/// that is missing. Counts whole blocks of content; directories that grow are met by the allocator itself.
fn check_room(system: &mut System<'_>, edits: &[Edit]) -> Result<(), Error> {
    let block_len = system.root_block_len();
    let whole = |len: u64| len.div_ceil(block_len).saturating_mul(block_len);
    let (mut needed, mut given_back) = (0_u64, 0_u64);
    for edit in edits {
        match &edit.action {
            Action::WriteFile { path, content, .. } if !system.is_on_boot(path)? => {
                needed = needed.saturating_add(whole(content.bytes().len() as u64));
                if let Some((Kind::File, _, Owner { .. }, len_bytes)) = system.stat(path, true)? {
                    given_back = given_back.saturating_add(whole(len_bytes));
                }
            }
            Action::MakeDirectory { path, .. } if system.stat(path, true)?.is_none() => {
                needed = needed.saturating_add(block_len);
            }
            _ => {}
        }
    }
    let free = system.root_free_bytes().saturating_add(given_back);
    if needed > free {
        return Err(Error::RootFull { needed: ByteLen(needed), free: ByteLen(free) });
    }
    Ok(())
}
