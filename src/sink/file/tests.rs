use std::os::unix::fs::{FileExt as _, MetadataExt as _, PermissionsExt as _};
use std::process::Command;

use super::*;
use crate::base::Silent;
use crate::block::{Device as _, FileDevice, Overlay};

const MIB: u64 = 1 << 20;

/// 64 MiB with data at 0, 20 MiB and the last 100 bytes, the rest holes.
fn base_in(dir: &Path) -> File {
    let path = dir.join("base.img");
    let file = File::options().create(true).truncate(true).read(true).write(true).open(&path).unwrap();
    file.set_len(64 * MIB + 100).unwrap();
    file.write_all_at(&[1; 8192], 0).unwrap();
    file.write_all_at(&vec![2; 3 << 20], 20 * MIB).unwrap();
    file.write_all_at(&[3; 100], 64 * MIB).unwrap();
    file
}

/// The base with edits over data, over a hole, and past its end.
fn edited(base: &File) -> Overlay<FileDevice> {
    let overlay = Overlay::new(FileDevice::new(base.try_clone().unwrap()).unwrap());
    overlay.grow(70 * MIB);
    overlay.write_at(4090, b"edited across two blocks").unwrap();
    overlay.write_at(40 * MIB, b"edited in a hole").unwrap();
    overlay.write_at(69 * MIB, b"edited past the end").unwrap();
    overlay
}

fn options(interrupt: &Interrupt) -> Options<'_> {
    Options { secret: false, reflink: true, interrupt, progress: &Silent }
}

/// Stages and gives the name at once.
fn press(
    base: &File,
    edited: &dyn ReadAt,
    dirty: &[Extent],
    target: &Path,
    options: Options<'_>,
) -> Result<Pressed, Error> {
    let staged = stage(base, edited, dirty, target, options)?;
    let pressed = staged.pressed();
    staged.commit()?;
    Ok(pressed)
}

fn press_in(dir: &Path, options: Options<'_>) -> Result<Pressed, Error> {
    let base = base_in(dir);
    let overlay = edited(&base);
    press(&base, &overlay, &overlay.dirty_extents(), &dir.join("node.img"), options)
}

fn check_pressed(dir: &Path) {
    let base = base_in(dir);
    let overlay = edited(&base);
    let mut wanted = vec![0; 70 << 20];
    overlay.read_at(0, &mut wanted).unwrap();
    assert!(std::fs::read(dir.join("node.img")).unwrap() == wanted, "the image is not the edited base");
}

fn names_in(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_pressed_image_is_the_edited_base_and_keeps_its_holes() {
    let dir = tempfile::tempdir().unwrap();
    for reflink in [true, false] {
        let interrupt = Interrupt::default();
        let pressed = press_in(dir.path(), Options { reflink, ..options(&interrupt) }).unwrap();
        assert_eq!((pressed.len_bytes, pressed.edited_bytes), (70 * MIB, 4 * 4096));
        check_pressed(dir.path());
        let metadata = std::fs::metadata(dir.path().join("node.img")).unwrap();
        assert!(metadata.blocks() * 512 < 8 * MIB, "{} blocks: the holes were filled", metadata.blocks());
        assert_eq!(metadata.permissions().mode() & 0o777, 0o644);
        assert_eq!(names_in(dir.path()), ["base.img", "node.img"]);
    }
}

#[test]
fn an_image_with_secrets_is_for_its_owner_only() {
    let dir = tempfile::tempdir().unwrap();
    let interrupt = Interrupt::default();
    press_in(dir.path(), Options { secret: true, ..options(&interrupt) }).unwrap();
    assert_eq!(std::fs::metadata(dir.path().join("node.img")).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn an_interrupted_press_leaves_the_target_as_it_was_and_nothing_beside_it() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("node.img"), b"before").unwrap();
    let interrupt = Interrupt::default();
    interrupt.raise();
    assert!(matches!(press_in(dir.path(), options(&interrupt)), Err(Error::Interrupted(_))));
    assert_eq!(std::fs::read(dir.path().join("node.img")).unwrap(), b"before");
    assert_eq!(names_in(dir.path()), ["base.img", "node.img"]);
}

#[test]
fn a_failing_read_leaves_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    let base = base_in(dir.path());
    let overlay = edited(&base);
    let past = [Extent { offset: 70 * MIB - 1, len_bytes: 2 }];
    let interrupt = Interrupt::default();
    let result = press(&base, &overlay, &past, &dir.path().join("node.img"), options(&interrupt));
    assert!(matches!(result, Err(Error::Edited(_))));
    assert_eq!(names_in(dir.path()), ["base.img"]);
}

#[test]
fn a_missing_folder_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let base = base_in(dir.path());
    let overlay = edited(&base);
    let interrupt = Interrupt::default();
    let result = press(&base, &overlay, &[], &dir.path().join("none/node.img"), options(&interrupt));
    assert!(matches!(result, Err(Error::Io { action: "create", .. })));
}

#[test]
fn small_files_are_written_whole_with_their_mode() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("manifest.json");
    write_atomically(&path, b"{}", 0o600).unwrap();
    write_atomically(&path, b"{\"a\":1}", 0o640).unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), b"{\"a\":1}");
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
    assert_eq!(names_in(dir.path()), ["manifest.json"]);
}

/// A filesystem mounted for one test; `None`, said aloud, where that cannot be done.
pub(in crate::sink) struct Mounted(pub(in crate::sink) tempfile::TempDir);

impl Mounted {
    pub(in crate::sink) fn tmpfs(options: &str) -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        Self::mount(dir, &["-t", "tmpfs", "-o", options, "tmpfs"])
    }

    fn with_reflinks() -> Option<(Self, tempfile::TempDir)> {
        let store = tempfile::tempdir().unwrap();
        let image = store.path().join("fs.img");
        File::create(&image).unwrap().set_len(512 * MIB).unwrap();
        let made = ["mkfs.xfs", "mkfs.btrfs"].iter().any(|mkfs| {
            Command::new(mkfs).arg("-q").arg(&image).output().is_ok_and(|out| out.status.success())
        });
        if !made {
            return skipped("neither mkfs.xfs nor mkfs.btrfs is installed");
        }
        let mounted = Self::mount(tempfile::tempdir().unwrap(), &["-o", "loop", image.to_str().unwrap()])?;
        Some((mounted, store))
    }

    fn mount(dir: tempfile::TempDir, args: &[&str]) -> Option<Self> {
        let output = Command::new("mount").args(args).arg(dir.path()).output();
        if output.as_ref().is_ok_and(|output| output.status.success()) {
            return Some(Self(dir));
        }
        skipped(&format!("mount {args:?} needs root and a kernel that can: {output:?}"))
    }
}

/// Where the judges are required, nothing is skipped.
fn skipped<T>(why: &str) -> Option<T> {
    println!("SKIPPED: {why}");
    assert!(std::env::var("CARDPRESS_ORACLES").as_deref() != Ok("require"), "{why}");
    None
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0.path()).status();
    }
}

#[test]
fn a_disk_that_is_too_full_is_refused_before_writing_and_says_how_much_is_missing() {
    let Some(mounted) = Mounted::tmpfs("size=2m") else { return };
    let dir = tempfile::tempdir().unwrap();
    let base = base_in(dir.path());
    let overlay = edited(&base);
    let interrupt = Interrupt::default();
    let target = mounted.0.path().join("node.img");
    match press(&base, &overlay, &overlay.dirty_extents(), &target, options(&interrupt)) {
        Err(Error::NoSpace { needed_bytes, free_bytes, .. }) => {
            assert!(needed_bytes > 3 * MIB && free_bytes <= 2 * MIB, "{needed_bytes} {free_bytes}");
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(names_in(mounted.0.path()), Vec::<String>::new());
}

#[test]
fn blocks_are_shared_where_the_filesystem_can() {
    let Some((mounted, _store)) = Mounted::with_reflinks() else { return };
    let dir = mounted.0.path();
    let interrupt = Interrupt::default();
    let pressed = press_in(dir, options(&interrupt)).unwrap();
    assert_eq!((pressed.how, pressed.base_bytes), (Copy::Reflink, 0));
    check_pressed(dir);
    let pressed = press_in(dir, Options { reflink: false, ..options(&interrupt) }).unwrap();
    assert_eq!(pressed.how, Copy::Sparse);
    check_pressed(dir);
}

#[test]
fn leftovers_of_the_dead_are_removed_and_the_parts_of_the_living_stay() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join(".node.img.dead00.part"), "half").unwrap();
    std::fs::write(dir.path().join(".keep"), "not ours").unwrap();
    let base = base_in(dir.path());
    let overlay = edited(&base);
    let interrupt = Interrupt::default();
    let target = dir.path().join("node.img");
    let staged = stage(&base, &overlay, &overlay.dirty_extents(), &target, options(&interrupt)).unwrap();
    remove_leftovers(dir.path()).unwrap();
    assert!(staged.path().exists());
    staged.commit().unwrap();
    assert_eq!(names_in(dir.path()), [".keep", "base.img", "node.img"]);
}

#[test]
fn zeros_over_a_hole_leave_a_hole_and_over_data_are_written() {
    let dir = tempfile::tempdir().unwrap();
    let base = base_in(dir.path());
    let overlay = Overlay::new(FileDevice::new(base.try_clone().unwrap()).unwrap());
    let zeros = vec![0; 8 << 20];
    overlay.write_at(40 * MIB, &zeros).unwrap();
    overlay.write_at(20 * MIB, &zeros[..1 << 20]).unwrap();
    let interrupt = Interrupt::default();
    let target = dir.path().join("node.img");
    let options = Options { reflink: false, ..options(&interrupt) };
    press(&base, &overlay, &overlay.dirty_extents(), &target, options).unwrap();
    let mut wanted = vec![0; (64 << 20) + 100];
    overlay.read_at(0, &mut wanted).unwrap();
    assert!(std::fs::read(&target).unwrap() == wanted);
    let held = std::fs::metadata(&target).unwrap().blocks() * 512;
    assert!(held < 5 * MIB, "{held} bytes held: the hole was filled");
}

#[test]
fn room_for_all_images_is_asked_for_before_the_first() {
    let Some(mounted) = Mounted::tmpfs("size=8m") else { return };
    let dir = tempfile::tempdir().unwrap();
    let base = base_in(dir.path());
    // Some 3 MiB of data each.
    check_room_for(2, &base, mounted.0.path()).unwrap();
    match check_room_for(3, &base, mounted.0.path()) {
        Err(Error::NoSpace { needed_bytes, free_bytes, .. }) => {
            assert!(needed_bytes > 9 * MIB && free_bytes <= 8 * MIB, "{needed_bytes} {free_bytes}");
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(names_in(mounted.0.path()), Vec::<String>::new());
    check_free(mounted.0.path(), 8 * MIB).unwrap();
    assert!(matches!(check_free(mounted.0.path(), 9 * MIB), Err(Error::NoSpace { .. })));
}
