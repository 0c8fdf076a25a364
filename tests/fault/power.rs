//! The power goes at every single step of a change in place. What was not synced is lost, or comes through in part and
//! in any order. Whatever is left, opening the file again gives the old bytes or the new ones.

use std::cell::RefCell;
use std::io;
use std::ops::Range;
use std::path::Path;

use cardpress::base::{ImagePath, Interrupt};
use cardpress::block::redo::{Error, Site, commit, settle};
use cardpress::block::{Device as _, Extent, Memory, Overlay, ReadAt as _};
use cardpress::image::ext4::{Filesystem, NewAttributes, Timestamp};
use cardpress::image::fat::{Fat, FatTime};

use super::{are_same_but_for, free_bytes};
use crate::support::tools::{Workspace, must, run, text};

/// What comes through a power cut whole, or not at all.
const UNIT: usize = 2048;

/// One step, as small as a disk may tear it.
#[derive(Clone, Debug)]
enum Step {
    Target(usize, Vec<u8>),
    TargetLen(usize),
    SyncTarget,
    CreateLog,
    Log(usize, Vec<u8>),
    SyncLog,
    RemoveLog,
}

/// A target and its log as they are on the disk.
#[derive(Clone, Debug, Default)]
struct State {
    target: Vec<u8>,
    log: Option<Vec<u8>>,
}

impl State {
    fn apply(&mut self, step: &Step) {
        match step {
            Step::Target(offset, bytes) => put(&mut self.target, *offset, bytes),
            Step::TargetLen(len) => self.target.resize(*len, 0),
            Step::CreateLog => self.log = Some(Vec::new()),
            // Without its name on the disk what is written to it is gone.
            Step::Log(offset, bytes) => {
                if let Some(log) = &mut self.log {
                    put(log, *offset, bytes);
                }
            }
            Step::RemoveLog => self.log = None,
            Step::SyncTarget | Step::SyncLog => {}
        }
    }
}

fn put(file: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    file.resize(file.len().max(offset + bytes.len()), 0);
    file[offset..offset + bytes.len()].copy_from_slice(bytes);
}

/// A disk that remembers every step.
struct Disk {
    state: RefCell<State>,
    steps: RefCell<Vec<Step>>,
}

impl Disk {
    fn new(state: State) -> Self {
        Self { state: RefCell::new(state), steps: RefCell::default() }
    }

    fn step(&self, step: Step) {
        self.state.borrow_mut().apply(&step);
        self.steps.borrow_mut().push(step);
    }

    fn write(&self, offset: u64, bytes: &[u8], step: fn(usize, Vec<u8>) -> Step) {
        let mut at = usize::try_from(offset).unwrap();
        for unit in bytes.chunks(UNIT) {
            self.step(step(at, unit.to_vec()));
            at += unit.len();
        }
    }
}

fn read(file: &[u8], offset: u64, buf: &mut [u8]) -> io::Result<()> {
    let at = usize::try_from(offset).unwrap();
    buf.copy_from_slice(file.get(at..at + buf.len()).ok_or(io::ErrorKind::UnexpectedEof)?);
    Ok(())
}

impl Site for Disk {
    fn target_path(&self) -> &Path {
        Path::new("target")
    }
    fn log_path(&self) -> &Path {
        Path::new("log")
    }
    fn target_len(&self) -> io::Result<u64> {
        Ok(self.state.borrow().target.len() as u64)
    }
    fn read_target(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        read(&self.state.borrow().target, offset, buf)
    }
    fn write_target(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.write(offset, bytes, Step::Target);
        Ok(())
    }
    fn set_target_len(&self, len_bytes: u64) -> io::Result<()> {
        self.step(Step::TargetLen(usize::try_from(len_bytes).unwrap()));
        Ok(())
    }
    fn sync_target(&self) -> io::Result<()> {
        self.step(Step::SyncTarget);
        Ok(())
    }
    fn log_len(&self) -> io::Result<Option<u64>> {
        Ok(self.state.borrow().log.as_ref().map(|log| log.len() as u64))
    }
    fn read_log(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        read(self.state.borrow().log.as_deref().unwrap(), offset, buf)
    }
    fn create_log(&self) -> io::Result<()> {
        assert!(self.state.borrow().log.is_none(), "there is a log already");
        self.step(Step::CreateLog);
        Ok(())
    }
    fn write_log(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.write(offset, bytes, Step::Log);
        Ok(())
    }
    fn sync_log(&self) -> io::Result<()> {
        self.step(Step::SyncLog);
        Ok(())
    }
    fn remove_log(&self) -> io::Result<()> {
        self.step(Step::RemoveLog);
        Ok(())
    }
}

/// The steps of `steps` that a cut behind the last of them may lose.
fn unsynced(steps: &[Step]) -> Vec<usize> {
    let last = |wanted: fn(&Step) -> bool| steps.iter().rposition(wanted).map_or(0, |at| at + 1);
    let target_synced = last(|step| matches!(step, Step::SyncTarget));
    let log_synced = last(|step| matches!(step, Step::SyncLog));
    let is_lost = |(at, step): (usize, &Step)| match step {
        Step::Target(..) | Step::TargetLen(_) => at >= target_synced,
        Step::CreateLog | Step::Log(..) => at >= log_synced,
        Step::RemoveLog => at + 1 == steps.len(),
        Step::SyncTarget | Step::SyncLog => false,
    };
    steps.iter().enumerate().filter(|step| is_lost(*step)).map(|(at, _)| at).collect()
}

/// What is on the disk when of the steps that may be lost only those are done that `keeps` (the how-manieth) says.
fn left(before: &State, steps: &[Step], keeps: impl Fn(usize) -> bool) -> State {
    let unsynced = unsynced(steps);
    let mut state = before.clone();
    for (at, step) in steps.iter().enumerate() {
        match unsynced.binary_search(&at) {
            Ok(number) if !keeps(number) => {}
            _ => state.apply(step),
        }
    }
    state
}

/// Every way for the power to cut `steps` that is looked at.
fn cuts(before: &State, steps: &[Step], mut look: impl FnMut(usize, State)) {
    for cut in 0..=steps.len() {
        let done = &steps[..cut];
        let count = unsynced(done).len();
        look(cut, left(before, done, |_| false));
        look(cut, left(before, done, |_| true));
        look(cut, left(before, done, |number| number % 2 == 0));
        look(cut, left(before, done, |number| number % 2 == 1));
        // Each alone where most is at stake: just before a sync.
        if matches!(steps.get(cut), Some(Step::SyncLog | Step::SyncTarget)) {
            for alone in 0..count {
                look(cut, left(before, done, |number| number == alone));
                look(cut, left(before, done, |number| number != alone));
            }
        }
    }
}

/// What came of a commit that was cut everywhere.
struct Cut {
    /// How many states there were.
    states: usize,
    /// How many pieces went straight into the target.
    direct: usize,
    /// The bytes before, but with all of those.
    worst: Vec<u8>,
    /// The bytes after.
    new: Vec<u8>,
}

/// Commits `overlay` over `old`, of which `free` are spare, and cuts everywhere.
fn cut_everywhere(name: &str, old: &[u8], overlay: &Overlay<Memory>, free: &[Range<usize>]) -> Cut {
    let before = State { target: old.to_vec(), log: None };
    let disk = Disk::new(before.clone());
    assert!(
        commit(&disk, overlay, &extents(free), &Interrupt::default()).unwrap(),
        "{name}: nothing changed"
    );
    let new = disk.state.borrow().target.clone();
    let mut wanted = vec![0; usize::try_from(overlay.len_bytes()).unwrap()];
    overlay.read_at(0, &mut wanted).unwrap();
    assert!(new == wanted, "{name}: the target is not what the overlay says");
    let steps = disk.steps.into_inner();
    let committed = steps.iter().position(|step| matches!(step, Step::SyncLog)).unwrap() + 1;

    let (mut direct, mut worst) = (0, before.clone());
    for step in &steps[..committed] {
        if let Step::Target(at, bytes) = step {
            let is_free = free.iter().any(|range| range.start <= *at && at + bytes.len() <= range.end);
            assert!(is_free, "{name}: {} bytes at {at} were in use", bytes.len());
            direct += 1;
            worst.apply(step);
        }
    }
    assert!(are_same_but_for(free, old, &worst.target), "{name}: bytes in use were changed");

    let mut states = 0;
    cuts(&before, &steps, |cut, state| {
        states += 1;
        let opened = Disk::new(state.clone());
        settle(&opened).unwrap_or_else(|error| panic!("{name}, cut {cut}: {error}"));
        let after = opened.state.into_inner();
        assert!(after.log.is_none(), "{name}, cut {cut}: a log stays");
        assert!(
            after.target == new || (cut < committed && are_same_but_for(free, &after.target, old)),
            "{name}, cut {cut}: neither"
        );
        // The power goes again while the first cut is repaired.
        if cut >= committed && cut % 13 == 0 {
            let again = opened.steps.into_inner();
            for second in (0..=again.len()).step_by(17).chain([again.len()]) {
                for parity in 0..2 {
                    let state = left(&state, &again[..second], |number| number % 2 == parity);
                    let opened = Disk::new(state);
                    settle(&opened).unwrap();
                    assert!(opened.state.into_inner().target == new, "{name}, cuts {cut} and {second}");
                    states += 1;
                }
            }
        }
    });
    Cut { states, direct, worst: worst.target, new }
}

fn extents(ranges: &[Range<usize>]) -> Vec<Extent> {
    let extent = |range: &Range<usize>| Extent { offset: range.start as u64, len_bytes: range.len() as u64 };
    ranges.iter().map(extent).collect()
}

/// Deterministic and good enough to choose with.
struct Dice(u64);

impl Dice {
    fn next(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % below
    }
}

fn path(text: &str) -> ImagePath {
    text.parse().unwrap()
}

fn edit_ext4(fs: &mut Filesystem<'_>, dice: &mut Dice) {
    let new = NewAttributes { mode: 0o644, uid: 0, gid: 0 };
    for number in 0..6 + dice.next(10) {
        let name = |number: u64| {
            path(&format!("/{}/f{}", ["etc", "d0", "d1"][usize::try_from(number % 3).unwrap()], number % 7))
        };
        let (one, other) = (name(dice.next(99)), name(dice.next(99)));
        let len = usize::try_from(dice.next(9000)).unwrap();
        let bytes = vec![u8::try_from(number % 251).unwrap(); len];
        // Some fail, as they should: the names are drawn blindly.
        let _ = match dice.next(10) {
            0 | 1 => fs.write_file(&one, &bytes, new),
            2 => fs.append(&one, &bytes),
            3 => fs.truncate(&one, len as u64),
            4 => fs.rename(&one, &other),
            5 => fs.remove(&one),
            6 => fs.mkdir_all(&path(["/d0", "/d1", "/d1/x"][usize::try_from(dice.next(3)).unwrap()]), new),
            7 => fs.symlink(&one, b"../somewhere", 0, 0),
            8 => fs.hard_link(&one, &other),
            _ => fs.set_owner(&one, 1000, 1000),
        };
    }
    fs.write_file(&path("/always"), b"something changes", new).unwrap();
    fs.commit().unwrap();
}

fn edit_fat(fat: &Fat<'_>, dice: &mut Dice) {
    for number in 0..6 + dice.next(10) {
        let name = |number: u64| {
            format!("{}/Name {}.txt", ["a", "b"][usize::try_from(number % 2).unwrap()], number % 5)
        };
        let (one, other) = (name(dice.next(99)), name(dice.next(99)));
        let bytes = vec![u8::try_from(number % 251).unwrap(); usize::try_from(dice.next(5000)).unwrap()];
        let _ = match dice.next(5) {
            0 | 1 => fat.write_file(&one, &bytes),
            2 => fat.truncate(&one, dice.next(3000)),
            3 => fat.rename(&one, &other),
            _ => fat.remove(&one),
        };
    }
    fat.write_file("always", b"something changes").unwrap();
}

/// A checker finds nothing, not even something to repair.
fn judge(work: &Workspace, name: &str, bytes: &[u8], is_ext4: bool) {
    let file = work.path("judged");
    std::fs::write(&file, bytes).unwrap();
    if is_ext4 {
        let said = run("e2fsck", ["-fn", text(&file)]);
        assert!(said.status == 0, "{name}: {}", said.text);
    } else {
        let said = run("fsck.fat", ["-n", text(&file)]);
        assert!(said.status == 0 && !said.text.contains("irty"), "{name}: {}", said.text);
    }
}

fn ext4(work: &Workspace, options: &[&str], len: &str) -> Vec<u8> {
    let file = work.path("made");
    let _ = std::fs::remove_file(&file);
    must("mke2fs", [&["-q", "-t", "ext4"], options, &[text(&file), len]].concat());
    std::fs::read(&file).unwrap()
}

#[test]
fn an_ext4_filesystem_is_the_old_or_the_new_one_wherever_the_power_goes() {
    let work = Workspace::new();
    let shapes: [(&str, &[&str]); 4] = [
        ("1k", &["-b1024", "-O^has_journal,metadata_csum"]),
        ("4k", &["-b4096", "-O^has_journal,metadata_csum"]),
        ("none", &["-b1024", "-O^has_journal,^metadata_csum,^64bit"]),
        ("maps", &["-b1024", "-O^has_journal,^extent,^metadata_csum,^64bit"]),
    ];
    let (mut mixes, mut states, mut direct) = (0, 0, 0);
    for (shape, options) in shapes {
        let mut old = ext4(&work, options, "1M");
        for seed in 0..7 {
            let name = format!("{shape} {seed}");
            let overlay = Overlay::new(Memory::new(old.clone()));
            let grows = seed == 5;
            if grows {
                overlay.grow(overlay.len_bytes() + (700 << 10));
            }
            let mut fs = Filesystem::open(&overlay).unwrap();
            fs.set_clock(Timestamp { seconds: 1_700_000_000 + seed, nanoseconds: 0 });
            let block_len = u64::from(fs.block_len());
            if grows {
                fs.grow(overlay.len_bytes() / block_len, (1 << 20) / block_len).unwrap();
            }
            let _ = fs.mkdir(&path("/etc"), NewAttributes { mode: 0o755, uid: 0, gid: 0 });
            let fill = vec![u8::try_from(seed + 1).unwrap(); 20_000];
            let new = NewAttributes { mode: 0o644, uid: 0, gid: 0 };
            fs.write_file(&path(&format!("/new{seed}")), &fill, new).unwrap();
            edit_ext4(&mut fs, &mut Dice(seed.unsigned_abs() * 77 + shape.len() as u64));
            drop(fs);
            // The free blocks before the edits, by the editor itself and by dumpe2fs.
            let held = Overlay::new(Memory::new(old.clone()));
            let spare = Filesystem::open(&held).unwrap().free_ranges().unwrap();
            let file = work.path("before");
            std::fs::write(&file, &old).unwrap();
            let free = free_bytes(&file);
            assert_eq!(spare, extents(&free), "{name}");
            let cut = cut_everywhere(&name, &old, &overlay, &free);
            judge(&work, &name, &cut.worst, true);
            judge(&work, &name, &cut.new, true);
            (mixes, states, direct) = (mixes + 1, states + cut.states, direct + cut.direct);
            // The next mix begins where this one ended.
            old = cut.new;
        }
    }
    println!("{mixes} mixes, {states} states, {direct} pieces of 2 KiB written straight");
    assert!(direct > 200, "{direct}");
}

#[test]
fn a_fat_filesystem_is_the_old_or_the_new_one_wherever_the_power_goes() {
    let work = Workspace::new();
    let file = work.path("made");
    std::fs::File::create(&file).unwrap().set_len(3 << 20).unwrap();
    must("mkfs.fat", ["--invariant", "-F", "16", "-s", "1", text(&file)]);
    let mut old = std::fs::read(&file).unwrap();
    let mut states = 0;
    for seed in 0..12 {
        let overlay = Overlay::new(Memory::new(old.clone()));
        let fat = Fat::open(&overlay, FatTime::from_epoch_seconds(1_700_000_000 + seed * 2)).unwrap();
        edit_fat(&fat, &mut Dice(seed));
        fat.close().unwrap();
        let cut = cut_everywhere(&format!("fat {seed}"), &old, &overlay, &[]);
        judge(&work, &format!("fat {seed}"), &cut.new, false);
        states += cut.states;
        old = cut.new;
    }
    println!("12 mixes, {states} states");
}

#[test]
fn a_change_of_several_pieces_survives_too() {
    let old: Vec<u8> = (0..3 << 20).map(|at: u32| u8::try_from(at % 251).unwrap()).collect();
    let overlay = Overlay::new(Memory::new(old.clone()));
    overlay.grow((3 << 20) + 5000);
    // More than is logged at a time, with a hole in it, and an end that is no whole block.
    overlay.write_at(4000, &vec![1; 1_200_000]).unwrap();
    overlay.write_at(2 << 20, &[2; 10]).unwrap();
    overlay.write_at((3 << 20) + 4990, &[3; 10]).unwrap();
    let before = State { target: old.clone(), log: None };
    // Nothing spare, and room that begins and ends inside a block.
    for free in [vec![], vec![100_000..1_100_001, 2_000_000..3_100_000]] {
        let disk = Disk::new(before.clone());
        assert!(commit(&disk, &overlay, &extents(&free), &Interrupt::default()).unwrap());
        let new = disk.state.borrow().target.clone();
        let mut wanted = vec![0; new.len()];
        overlay.read_at(0, &mut wanted).unwrap();
        assert!(new == wanted);
        let steps = disk.steps.into_inner();
        for cut in (0..=steps.len()).step_by(11) {
            for modulus in [1, 2, 3, usize::MAX] {
                let opened = Disk::new(left(&before, &steps[..cut], |number| number % modulus == 0));
                settle(&opened).unwrap();
                let after = opened.state.into_inner().target;
                let is_old = after.len() == old.len() && are_same_but_for(&free, &old, &after);
                assert!(after == new || is_old, "cut {cut}, every {modulus}");
            }
        }
    }
}

#[test]
fn a_log_is_not_done_where_what_was_written_before_it_is_missing() {
    let before = State { target: vec![1; 60_000], log: None };
    let overlay = Overlay::new(Memory::new(before.target.clone()));
    overlay.write_at(0, &[2; 10]).unwrap();
    overlay.write_at(20_000, &[3; 20_000]).unwrap();
    let spare = [Extent { offset: 16_384, len_bytes: 40_000 }];
    let disk = Disk::new(before.clone());
    assert!(commit(&disk, &overlay, &spare, &Interrupt::default()).unwrap());
    let steps = disk.steps.into_inner();
    let committed = steps.iter().position(|step| matches!(step, Step::SyncLog)).unwrap() + 1;
    let sealed = left(&before, &steps[..committed], |_| false);
    let opened = Disk::new(sealed.clone());
    settle(&opened).unwrap();
    assert!(opened.state.into_inner().target == disk.state.into_inner().target);

    // The image as it was before, put in place of the one that the log was made for.
    let mut replaced = sealed.clone();
    replaced.target = before.target;
    let mut spoilt = sealed.clone();
    spoilt.target[39_999] ^= 1;
    for state in [replaced, spoilt] {
        let opened = Disk::new(state.clone());
        let refused = settle(&opened).unwrap_err();
        assert!(matches!(&refused, Error::Foreign { found, .. } if found.contains("at 16384")), "{refused}");
        let after = opened.state.into_inner();
        assert!(after.target == state.target && after.log == state.log);
    }
    // One bit wrong anywhere in the log: it never became whole.
    let whole = sealed.log.clone().unwrap();
    for at in 0..whole.len() {
        let mut torn = sealed.clone();
        torn.log.as_mut().unwrap()[at] ^= 1;
        let opened = Disk::new(torn);
        settle(&opened).unwrap();
        let after = opened.state.into_inner();
        assert!(after.target == sealed.target && after.log.is_none(), "byte {at}");
    }
}
