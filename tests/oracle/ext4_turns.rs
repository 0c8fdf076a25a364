//! The kernel and we take turns on one filesystem: each edits what the other left, and each reads the other's tree.
//! Needs root.
//!
//! The kernel gets canonical paths only, so that no symlink of the image leads it out of the mount.

use std::collections::BTreeSet;
use std::fs::{self, DirBuilder, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{
    DirBuilderExt as _, FileExt as _, OpenOptionsExt as _, PermissionsExt as _, chown, lchown, symlink,
};
use std::path::{Path, PathBuf};

use cardpress::block::Memory;
use cardpress::image::ext4::{FileKind, Filesystem};
use rustix::fs::{AtFlags, CWD, FileType, Mode, Timespec, Timestamps, XattrFlags};

use super::ext4_acl::{Acl, DEFAULT};
use super::ext4_apply::{ON_THE_WAY, xattr_value};
use super::ext4_edit::{Verdict, edit, read};
use super::ext4_generate::{Generator, Op, Random};
use super::ext4_model::{Fault, Model};
use super::ext4_mounted::view;
use super::ext4_property::{compare, number_from, start};
use super::ext4_shapes::{SHAPES, made};
use crate::support::tools::{Mount, Workspace, may_attach, run, text};

/// Each of a sequence's turns, ours and the kernel's.
const TURNS: u32 = 2;
const OPS: u32 = 15;

/// One test for the shapes of even number and one for the others, so that cores share the work.
#[test]
fn the_kernel_and_we_edit_the_same_filesystem_by_turns() {
    every_other_shape(0);
}

#[test]
fn the_kernel_and_we_edit_filesystems_of_the_other_shapes_by_turns() {
    every_other_shape(1);
}

fn every_other_shape(first: usize) {
    if !may_attach() {
        return;
    }
    let seeds = number_from("CARDPRESS_TORTURE_SEQUENCES", 0).div_ceil(400).max(1);
    let first_seed = number_from("CARDPRESS_TORTURE_SEED", 1);
    for (index, shape) in
        SHAPES.iter().enumerate().skip(first).step_by(2).filter(|(_, shape)| !shape.is_tight)
    {
        for seed in first_seed..first_seed + seeds {
            if let Err(fault) = take_turns(index, seed) {
                panic!("{}: CARDPRESS_TORTURE_SEED={seed}: {fault}", shape.name);
            }
        }
    }
}

fn take_turns(index: usize, seed: u64) -> Result<(), String> {
    let workspace = Workspace::new();
    let image = workspace.path("image");
    fs::write(&image, made(index)).expect("room for an image");
    let mut model = start(&SHAPES[index], index);
    let random = Random(seed.wrapping_mul(7_000) + index as u64);
    let block_len = 1024 << made(index)[1024 + 0x18];
    let mut generator = Generator { random, block_len, is_viewable: true };
    let mut done = Vec::new();
    for _ in 0..TURNS {
        let told = |done: &[Op]| {
            let list: String = done.iter().map(|op| format!("    {op:?},\n")).collect();
            move |fault: String| format!("[\n{list}]\n{fault}")
        };
        its_turn(&image, &mut generator, &mut model, &mut done).map_err(told(&done))?;
        if made(index)[1024 + 0x60] & 2 == 0 {
            // Where entries tell no types, the kernel leaves in new directories what their block held before.
            let said = run("e2fsck", ["-fy", text(&image)]);
            assert!(said.status <= 1, "{}: {}", SHAPES[index].name, said.text);
        }
        our_turn(&image, &mut generator, &mut model, &mut done).map_err(told(&done))?;
    }
    let mount = Mount::new(&image, "ro,loop");
    let seen = view(mount.path());
    mount.unmount();
    compare("the kernel, at the end", &seen?.flat(), &model.flat(), true)
}

/// The kernel checks what we left, and does what the model says can be done.
fn its_turn(
    image: &Path,
    generator: &mut Generator,
    model: &mut Model,
    done: &mut Vec<Op>,
) -> Result<(), String> {
    let mount = Mount::new(image, "loop");
    let seen = compare("the kernel", &view(mount.path())?.flat(), &model.flat(), true);
    let worked = seen.and_then(|()| {
        for _ in 0..OPS {
            let op = generator.op(model);
            for part in op.parts() {
                let mut after = model.clone();
                let wanted = after.apply(&part);
                if !is_for_both(&part, model) || !matches!(wanted, Ok(()) | Err(Fault::BadAcl)) {
                    continue;
                }
                if makes_a_file(&part) && !model.has_room(&part, generator.block_len) {
                    continue;
                }
                done.push(part.clone());
                match (kernel_edit(mount.path(), model, &after, &part), wanted) {
                    (Ok(()), Ok(())) => *model = after,
                    (Err(error), Err(_)) if error.kind() == io::ErrorKind::InvalidInput => {}
                    (Err(error), Ok(())) if is_full(&part, &error) => {}
                    (found, wanted) => {
                        return Err(format!("the kernel: {part:?}: found {found:?}, wanted {wanted:?}"));
                    }
                }
            }
        }
        compare("the kernel, having edited", &view(mount.path())?.flat(), &model.flat(), true)
    });
    mount.unmount();
    worked
}

fn our_turn(
    image: &Path,
    generator: &mut Generator,
    model: &mut Model,
    done: &mut Vec<Op>,
) -> Result<(), String> {
    let before = complaints(image)?;
    let device = Memory::new(fs::read(image).expect("an image"));
    let mut fs = Filesystem::open(&device).map_err(|error| format!("cannot open: {error}"))?;
    compare("our reader", &read(&fs)?.flat(), &model.flat(), true)?;
    for _ in 0..OPS {
        for part in generator.op(model).parts() {
            done.push(part.clone());
            match edit(&mut fs, &part) {
                Verdict::Done => model.apply(&part).map_err(|fault| format!("{part:?}: wanted {fault:?}"))?,
                Verdict::Fault(_) if model.clone().apply(&part).is_err() => {}
                Verdict::Full if !model.has_room(&part, generator.block_len) => {}
                verdict => return Err(format!("{part:?}: found {verdict:?}")),
            }
        }
    }
    fs.commit().map_err(|error| format!("commit: {error}"))?;
    drop(fs);
    fs::write(image, device.into_bytes()).expect("room for an image");
    let found: Vec<String> = complaints(image)?.difference(&before).cloned().collect();
    if found.is_empty() { Ok(()) } else { Err(found.join("\n")) }
}

/// What e2fsck would ask. Of what the kernel leaves it thinks that it could be better: extent trees that lost their
/// leaves stay as deep as they were.
fn complaints(image: &Path) -> Result<BTreeSet<String>, String> {
    let said = run("e2fsck", ["-fn", text(image)]);
    let found: BTreeSet<String> =
        said.text.lines().filter(|line| line.contains('?')).map(str::to_owned).collect();
    if said.status == 0 || !found.is_empty() { Ok(found) } else { Err(said.text) }
}

/// What the kernel does in another way, or not at all, is left to us.
fn is_for_both(op: &Op, model: &Model) -> bool {
    match op {
        // It changes nothing then, not even the time.
        Op::Append { bytes, .. } | Op::WriteAt { bytes, .. } => bytes.len > 0,
        // It takes the capabilities away with the owner.
        Op::SetOwner { path, .. } => model.find(path, true).is_ok_and(|id| {
            let xattrs = model.node(id).xattrs.as_ref();
            xattrs.is_none_or(|xattrs| !xattrs.contains_key("security.capability"))
        }),
        Op::SetUuid { .. } | Op::Commit => false,
        _ => true,
    }
}

/// Then it inherits what may have no room, and the kernel, which takes one step after the other, stops half-way.
fn makes_a_file(op: &Op) -> bool {
    use Op::{MakeNode, Mkdir, MkdirAll, Write, WriteFrom};
    matches!(op, Write { .. } | WriteFrom { .. } | Mkdir { .. } | MkdirAll { .. } | MakeNode { .. })
}

fn is_full(op: &Op, error: &io::Error) -> bool {
    matches!(op, Op::SetXattr { .. } | Op::SetAcl { .. }) && error.kind() == io::ErrorKind::StorageFull
}

/// Does one operation, which leads from `model` to `after`.
fn kernel_edit(root: &Path, model: &Model, after: &Model, op: &Op) -> io::Result<()> {
    let at = |path: &str, follow: bool| -> PathBuf {
        let path = model.canonical(path, follow).expect("a path that leads somewhere");
        root.join(path.trim_start_matches('/'))
    };
    match op {
        Op::Write { path, bytes, mode, owner } | Op::WriteFrom { path, bytes, mode, owner, .. } => {
            let to = at(path, true);
            let is_new = !to.exists();
            let mut file =
                OpenOptions::new().write(true).create(true).truncate(true).mode((*mode).into()).open(&to)?;
            file.write_all(&bytes.make())?;
            if is_new { give_new(root, &to, after, *owner) } else { Ok(()) }
        }
        Op::Append { path, bytes } => {
            let file = OpenOptions::new().append(true).open(at(path, true))?;
            (&file).write_all(&bytes.make())
        }
        Op::WriteAt { path, offset, bytes } => {
            OpenOptions::new().write(true).open(at(path, true))?.write_all_at(&bytes.make(), *offset)
        }
        Op::Truncate { path, len } => OpenOptions::new().write(true).open(at(path, true))?.set_len(*len),
        Op::Mkdir { path, mode, owner } => {
            let path = at(path, false);
            DirBuilder::new().mode((*mode).into()).create(&path)?;
            give_new(root, &path, after, *owner)
        }
        Op::MkdirAll { path } => {
            let mut so_far = root.to_owned();
            let whole = at(path, true);
            for name in whole.strip_prefix(root).expect("below the root").components() {
                so_far.push(name);
                if !so_far.exists() {
                    let (mode, uid, gid) = ON_THE_WAY;
                    DirBuilder::new().mode(mode.into()).create(&so_far)?;
                    give_new(root, &so_far, after, (uid, gid))?;
                }
            }
            Ok(())
        }
        Op::Symlink { path, target } => {
            symlink(target, at(path, false))?;
            lchown(at(path, false), Some(0), Some(0))
        }
        Op::MakeNode { path, kind, device, mode } => {
            let path = at(path, false);
            let kind = match kind {
                FileKind::Fifo => FileType::Fifo,
                FileKind::Socket => FileType::Socket,
                FileKind::CharacterDevice => FileType::CharacterDevice,
                _ => FileType::BlockDevice,
            };
            let (major, minor) = device.unwrap_or_default();
            let device = rustix::fs::makedev(major, minor);
            rustix::fs::mknodat(CWD, &path, kind, Mode::from_raw_mode((*mode).into()), device)?;
            give_new(root, &path, after, (0, 0))
        }
        Op::HardLink { from, to } => fs::hard_link(at(from, false), at(to, false)),
        Op::Rename { from, to } => fs::rename(at(from, false), at(to, false)),
        Op::Remove { path } => {
            let path = at(path, false);
            if is_directory(&path) { fs::remove_dir(path) } else { fs::remove_file(path) }
        }
        Op::RemoveAll { path } => {
            let path = at(path, false);
            if is_directory(&path) { fs::remove_dir_all(path) } else { fs::remove_file(path) }
        }
        Op::SetMode { path, mode } => {
            fs::set_permissions(at(path, true), Permissions::from_mode(u32::from(*mode)))
        }
        Op::SetOwner { path, uid, gid } => {
            let mode = model.node(model.find(path, true).expect("a file")).mode;
            give(&at(path, true), mode, (*uid, *gid))
        }
        Op::SetTimes { path, seconds, nanoseconds } => {
            let time = Timespec { tv_sec: *seconds, tv_nsec: i64::from(*nanoseconds) };
            let times = Timestamps { last_access: time, last_modification: time };
            Ok(rustix::fs::utimensat(CWD, at(path, true), &times, AtFlags::empty())?)
        }
        Op::SetXattr { path, name, bytes } => {
            let value = xattr_value(name, *bytes);
            Ok(rustix::fs::setxattr(at(path, true), name.as_str(), &value, XattrFlags::empty())?)
        }
        Op::SetAcl { path, name, acl } => {
            let value = acl.clone().unwrap_or(Acl(Vec::new())).value();
            Ok(rustix::fs::setxattr(at(path, true), *name, &value, XattrFlags::empty())?)
        }
        Op::RemoveXattr { path, name } => Ok(rustix::fs::removexattr(at(path, true), name.as_str())?),
        Op::SetUuid { .. } | Op::Commit | Op::Fill { .. } | Op::Drain { .. } => {
            panic!("not for the kernel: {op:?}")
        }
    }
}

/// Gives a new file what `after` says. Only where it inherits its permissions has the kernel decided on them, and not
/// the umask of this process; then they must be right as they are.
fn give_new(root: &Path, path: &Path, after: &Model, owner: (u32, u32)) -> io::Result<()> {
    let name = text(path.strip_prefix(root).expect("below the root"));
    let place = after.place(&format!("/{name}"), false).expect("what was just made");
    let wanted = after.node(place.id.expect("what was just made")).mode;
    let found = fs::symlink_metadata(path)?.permissions().mode();
    if after.node(place.parent).acl(DEFAULT).is_some() && (found ^ u32::from(wanted)) & 0o777 != 0 {
        return Err(io::Error::other(format!("{name}: found the mode {found:o}, wanted {wanted:o}")));
    }
    give(path, wanted, owner)
}

/// The owner first: giving a file away takes its set-user-id bit.
fn give(path: &Path, mode: u16, (uid, gid): (u32, u32)) -> io::Result<()> {
    chown(path, Some(uid), Some(gid))?;
    fs::set_permissions(path, Permissions::from_mode(u32::from(mode)))
}

fn is_directory(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_dir())
}
