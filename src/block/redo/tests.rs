use std::fs;
use std::path::PathBuf;

use super::*;
use crate::base::Interrupt;
use crate::block::{Device as _, Extent, Overlay, ReadAt as _};

const LEN: usize = 40_000;

/// A folder with a file of 40,000 bytes, every one telling where it is.
struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("x.img"), old()).unwrap();
        Self { folder }
    }

    fn target(&self) -> PathBuf {
        self.folder.path().join("x.img")
    }

    fn log(&self) -> PathBuf {
        self.folder.path().join(".x.img.cardpress-redo")
    }

    /// A whole log, with the target as it was; and what it is to be.
    fn with_log(&self) -> Vec<u8> {
        let (target, _) = Target::open(&self.target()).unwrap();
        let overlay = edited(&target);
        // What is open for reading only cannot be written, so the log stays.
        let site = Host::new(fs::File::open(self.target()).unwrap(), self.target());
        let failed = commit(&site, &overlay, &[], &Interrupt::default());
        assert!(matches!(failed, Err(Error::Incomplete { .. })), "{failed:?}");
        assert_eq!(fs::read(self.target()).unwrap(), old());
        new()
    }
}

fn old() -> Vec<u8> {
    (0..LEN).map(|at| u8::try_from(at % 251).unwrap()).collect()
}

/// Longer, and changed in three places.
fn new() -> Vec<u8> {
    let mut bytes = old();
    bytes.resize(50_000, 0);
    bytes[5..10].fill(0xaa);
    bytes[8190..8200].fill(0xbb);
    bytes[44_000..44_100].fill(0xcc);
    bytes
}

fn edited(target: &Target) -> Overlay<crate::block::FileDevice> {
    let overlay = Overlay::new(target.device().unwrap());
    overlay.grow(50_000);
    overlay.write_at(5, &[0xaa; 5]).unwrap();
    overlay.write_at(8190, &[0xbb; 10]).unwrap();
    overlay.write_at(44_000, &[0xcc; 100]).unwrap();
    // Written, but as it was.
    overlay.write_at(20_000, &old()[20_000..20_100]).unwrap();
    overlay
}

#[test]
fn a_commit_changes_the_target_and_leaves_no_log() {
    let place = Place::new();
    let (target, settled) = Target::open(&place.target()).unwrap();
    assert_eq!(settled, Settled::Clean);
    assert!(target.commit(&edited(&target), &[], &Interrupt::default()).unwrap());
    assert!(fs::read(place.target()).unwrap() == new());
    assert!(!place.log().exists());
}

#[test]
fn without_a_change_nothing_is_touched() {
    let place = Place::new();
    let before = fs::metadata(place.target()).unwrap().modified().unwrap();
    let (target, _) = Target::open(&place.target()).unwrap();
    let overlay = Overlay::new(target.device().unwrap());
    overlay.write_at(100, &old()[100..9000]).unwrap();
    assert!(!target.commit(&overlay, &[], &Interrupt::default()).unwrap());
    assert_eq!(fs::metadata(place.target()).unwrap().modified().unwrap(), before);
    assert_eq!(fs::read_dir(place.folder.path()).unwrap().count(), 1);
}

#[test]
fn a_whole_log_is_read_through_and_finished_by_the_next_writer() {
    let place = Place::new();
    let new = place.with_log();
    let reader = open_to_read(&place.target()).unwrap();
    let mut bytes = vec![0; new.len()];
    reader.read_at(0, &mut bytes).unwrap();
    assert!(bytes == new && reader.is_unfinished());
    for (offset, len) in [(0, 7), (8000, 300), (39_990, 20), (43_990, 200), (49_999, 1)] {
        let mut piece = vec![0; len];
        reader.read_at(offset as u64, &mut piece).unwrap();
        assert_eq!(piece, new[offset..offset + len], "{len} bytes at {offset}");
    }
    assert_eq!(fs::read(place.target()).unwrap(), old());
    drop(reader);
    assert_eq!(Target::open(&place.target()).unwrap().1, Settled::Finished);
    assert!(fs::read(place.target()).unwrap() == new && !place.log().exists());
}

#[test]
fn a_torn_log_is_thrown_away_by_writers_and_ignored_by_readers() {
    let place = Place::new();
    place.with_log();
    let whole = fs::read(place.log()).unwrap();
    for len in (0..whole.len()).step_by(97).chain([whole.len() - 1]) {
        fs::write(place.log(), &whole[..len]).unwrap();
        let reader = open_to_read(&place.target()).unwrap();
        assert!(!reader.is_unfinished(), "{len}");
        assert!(place.log().exists());
        drop(reader);
        assert_eq!(Target::open(&place.target()).unwrap().1, Settled::Discarded, "{len}");
        assert!(!place.log().exists());
        assert!(fs::read(place.target()).unwrap() == old(), "{len}");
    }
    for at in (0..whole.len()).step_by(61) {
        let mut spoilt = whole.clone();
        spoilt[at] ^= 1;
        fs::write(place.log(), &spoilt).unwrap();
        assert_eq!(Target::open(&place.target()).unwrap().1, Settled::Discarded, "byte {at}");
        assert!(fs::read(place.target()).unwrap() == old(), "byte {at}");
    }
}

#[test]
fn a_log_is_not_done_to_a_file_that_it_does_not_belong_to() {
    let place = Place::new();
    place.with_log();
    let mut other = old();
    other[8195] ^= 1;
    for (content, word) in [(other, "sector at 8192"), (vec![0; 30_000], "30000 bytes")] {
        fs::write(place.target(), &content).unwrap();
        let refused = Target::open(&place.target()).unwrap_err();
        assert!(matches!(&refused, Error::Foreign { found, .. } if found.contains(word)), "{refused}");
        assert!(matches!(open_to_read(&place.target()), Err(Error::Foreign { .. })));
        assert!(fs::read(place.target()).unwrap() == content && place.log().exists());
    }
}

#[test]
fn a_writer_is_alone_and_readers_share() {
    let place = Place::new();
    let (target, _) = Target::open(&place.target()).unwrap();
    assert!(matches!(Target::open(&place.target()), Err(Error::InUse(_))));
    assert!(matches!(open_to_read(&place.target()), Err(Error::InUse(_))));
    drop(target);
    let one = open_to_read(&place.target()).unwrap();
    let two = open_to_read(&place.target()).unwrap();
    assert!(matches!(Target::open(&place.target()), Err(Error::InUse(_))));
    drop((one, two));
    assert!(Target::open(&place.target()).is_ok());
}

#[test]
fn an_interrupt_before_the_commit_changes_nothing() {
    let place = Place::new();
    let (target, _) = Target::open(&place.target()).unwrap();
    let interrupt = Interrupt::default();
    interrupt.raise();
    let stopped = target.commit(&edited(&target), &[], &interrupt);
    assert!(matches!(stopped, Err(Error::Interrupted(_))));
    assert!(fs::read(place.target()).unwrap() == old() && !place.log().exists());
}

/// Of whole blocks 2 and 9.
const SPARE: [Extent; 2] =
    [Extent { offset: 8000, len_bytes: 6000 }, Extent { offset: 36_864, len_bytes: 9000 }];

#[test]
fn without_a_change_outside_spare_room_nothing_is_touched() {
    let place = Place::new();
    let before = fs::metadata(place.target()).unwrap().modified().unwrap();
    let (target, _) = Target::open(&place.target()).unwrap();
    let overlay = Overlay::new(target.device().unwrap());
    overlay.write_at(9000, &[1; 1000]).unwrap();
    assert!(!target.commit(&overlay, &SPARE, &Interrupt::default()).unwrap());
    assert_eq!(fs::metadata(place.target()).unwrap().modified().unwrap(), before);
    assert!(fs::read(place.target()).unwrap() == old() && !place.log().exists());
    overlay.write_at(3, &[1]).unwrap();
    assert!(target.commit(&overlay, &SPARE, &Interrupt::default()).unwrap());
    let mut new = old();
    new[9000..10_000].fill(1);
    new[3] = 1;
    assert!(fs::read(place.target()).unwrap() == new && !place.log().exists());
}

#[test]
fn a_commit_that_fails_before_the_log_is_whole_changes_spare_room_at_most() {
    let place = Place::new();
    let (target, _) = Target::open(&place.target()).unwrap();
    let overlay = edited(&target);
    overlay.write_at(36_000, &[0xdd; 3000]).unwrap();
    let site = Host::new(fs::File::open(place.target()).unwrap(), place.target());
    let failed = commit(&site, &overlay, &SPARE, &Interrupt::default());
    assert!(matches!(failed, Err(Error::Io { action: "write", .. })), "{failed:?}");
    assert!(fs::read(place.target()).unwrap() == old() && !place.log().exists());
}

#[cfg(unix)]
#[test]
fn zeros_for_spare_room_leave_holes() {
    use std::os::unix::fs::MetadataExt as _;
    let place = Place::new();
    let file = fs::File::create(place.target()).unwrap();
    file.set_len(8 << 20).unwrap();
    let (target, _) = Target::open(&place.target()).unwrap();
    let overlay = Overlay::new(target.device().unwrap());
    overlay.write_at(0, &[1; 10]).unwrap();
    overlay.write_at(1 << 20, &vec![0; 6 << 20]).unwrap();
    overlay.write_at(5 << 20, &[2; 5000]).unwrap();
    let spare = [Extent { offset: 1 << 20, len_bytes: 6 << 20 }];
    assert!(target.commit(&overlay, &spare, &Interrupt::default()).unwrap());
    let bytes = fs::read(place.target()).unwrap();
    assert!(
        bytes[5 << 20..(5 << 20) + 5000] == [2; 5000] && bytes.iter().filter(|b| **b != 0).count() == 5010
    );
    assert!(fs::metadata(place.target()).unwrap().blocks() * 512 < 1 << 20);
}

#[test]
fn what_is_no_file_is_refused() {
    let place = Place::new();
    assert!(matches!(Target::open(place.folder.path()), Err(Error::NotAFile(_))));
    assert!(matches!(open_to_read(&place.folder.path().join("gone")), Err(Error::Io { .. })));
}

#[cfg(unix)]
#[test]
fn a_symlink_leads_to_the_log_of_its_target() {
    let place = Place::new();
    let new = place.with_log();
    let link = place.folder.path().join("link");
    std::os::unix::fs::symlink("x.img", &link).unwrap();
    assert_eq!(Target::open(&link).unwrap().1, Settled::Finished);
    assert!(fs::read(place.target()).unwrap() == new);
}

#[cfg(unix)]
#[test]
fn a_log_that_is_a_symlink_is_not_followed() {
    let place = Place::new();
    place.with_log();
    let elsewhere = place.folder.path().join("elsewhere");
    fs::rename(place.log(), &elsewhere).unwrap();
    std::os::unix::fs::symlink(&elsewhere, place.log()).unwrap();
    assert!(matches!(open_to_read(&place.target()), Err(Error::Io { .. })));
    assert!(matches!(Target::open(&place.target()), Err(Error::Io { .. })));
    assert_eq!(fs::read(place.target()).unwrap(), old());
}

/// Only root can give a file away, so only root can see this.
#[cfg(unix)]
#[test]
fn a_log_of_another_user_is_not_done() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let place = Place::new();
    place.with_log();
    std::os::unix::fs::chown(place.log(), Some(4242), None).unwrap();
    let refused = Target::open(&place.target()).unwrap_err();
    assert!(matches!(&refused, Error::Io { source, .. } if source.to_string().contains("another user")));
    assert!(open_to_read(&place.target()).is_err());
    // The owner of the image may leave one.
    std::os::unix::fs::chown(place.target(), Some(4242), None).unwrap();
    assert_eq!(Target::open(&place.target()).unwrap().1, Settled::Finished);
}
