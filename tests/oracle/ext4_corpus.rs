//! Filesystems spoilt field by field: what our check says of each is what `e2fsck -fn` says, sound or not.
//!
//! Every field of every kind of structure gets several other values. With checksums this happens twice: as it is, and
//! with all checksums made right afterwards, so that the field itself has to be found. Where the two verdicts differ on
//! purpose, [`EXPLAINED`] says why.
//!
//! `CARDPRESS_CORPUS=all` runs all cases instead of a selection; `CARDPRESS_CORPUS=TEXT` those with the text in their
//! name, and prints what either side found.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use cardpress::block::{self, ReadAt};
use cardpress::image::ext4::{self, check};

use super::ext4_seal::{Map, Sealed, get, put, size};
use super::ext4_shapes::made;
use crate::support::tools::{Workspace, must, run, text};

/// One way to spoil a filesystem.
#[derive(Debug)]
struct Case {
    name: String,
    patches: Vec<(usize, Vec<u8>)>,
    is_sealed: bool,
}

/// What one side says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Sound,
    Unsound,
    /// We do not know a feature, and say so.
    Unjudged,
}

/// Where we differ from e2fsck on purpose: our verdict, why, and the cases by their names, in which `*` is anything.
const EXPLAINED: &[(Verdict, &str, &[&str])] = &[
    (
        Verdict::Unjudged,
        "of features, revisions and sizes that we do not know we say nothing, and say so",
        &[
            "superblock 0x018*",
            "superblock 0x048*",
            "superblock 0x04c*",
            "superblock 0x05c*",
            "superblock 0x060*",
            "superblock 0x064*",
        ],
    ),
    (
        Verdict::Unsound,
        "a filesystem that somebody has not finished with is not sound; with -n e2fsck says no word of its state",
        &["superblock 0x03a*", "superblock 0x060*", "superblock 0x0e8*", "journal 0x20*"],
    ),
    (
        Verdict::Unsound,
        "a journal of version 1 has no features; with -n e2fsck says that it clears them, and does not ask",
        &["journal 0x04*"],
    ),
    (
        Verdict::Sound,
        "the clock is not asked, so times in the future pass",
        &["superblock 0x02c*", "superblock 0x030*"],
    ),
    (
        Verdict::Unsound,
        "the copies of superblock and descriptors are compared, whose checksums depend on the UUID",
        &["superblock 0x068*", "superblock 0x06c*", "superblock 0x070*", "superblock 0x074*"],
    ),
    (
        Verdict::Unsound,
        "the copy of the journal inode's blocks in the superblock is compared; e2fsck even takes it in place of a journal \
         inode that has no link or another length, which the kernel does not",
        &[
            "superblock 0x10c*",
            "superblock 0x11*",
            "superblock 0x12*",
            "superblock 0x13*",
            "superblock 0x14*",
            "inode 8 *",
        ],
    ),
    (
        Verdict::Unsound,
        "e2fsck tells of an impossible attribute block where it finds a name for the inode, and these have none",
        &["reserved inode * 0x68*", "inode 7 0x68*", "inode 7 0x76*", "inode 12 0x68*", "inode 12 0x76*"],
    ),
    (
        Verdict::Unsound,
        "a block of the inode of bad blocks that is the filesystem's own; e2fsck calls it a programming error and goes on",
        &["reserved inode 1 0x28*"],
    ),
    (
        Verdict::Unsound,
        "e2fsck itself marks what groups without a bitmap keep in other groups, and so misses that these say it is free",
        &["block bitmap *"],
    ),
    (
        Verdict::Unsound,
        "an extent block must tell its depth, and an empty tree must have none, or the kernel does not read them",
        &["extent block of * 0x06 *", "inode * 0x2e *"],
    ),
];

/// Whether `name` is one that `pattern` means, where `*` is anything.
fn is_like(name: &str, pattern: &str) -> bool {
    let mut pieces = pattern.split('*');
    let Some(mut rest) = name.strip_prefix(pieces.next().unwrap_or_default()) else { return false };
    pieces.all(|piece| match rest.find(piece) {
        Some(at) => {
            rest = &rest[at + piece.len()..];
            true
        }
        None => false,
    })
}

/// Bytes of a filesystem in memory.
struct Bytes<'a>(&'a [u8]);

impl ReadAt for Bytes<'_> {
    fn len_bytes(&self) -> u64 {
        self.0.len() as u64
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<(), block::Error> {
        block::Error::check_bounds(offset, buf.len(), self.len_bytes())?;
        let start = size(offset);
        buf.copy_from_slice(&self.0[start..start + buf.len()]);
        Ok(())
    }
}

macro_rules! spoilt {
    ($($name:ident = $index:literal,)*) => {
        $(
            #[test]
            fn $name() {
                judge_all($index);
            }
        )*
    };
}

spoilt! {
    spoilt_filesystems_of_today_are_judged_as_e2fsck_judges_them = 0,
    spoilt_big_directories_are_judged_as_e2fsck_judges_them = 3,
    spoilt_filesystems_from_before_2022_are_judged_as_e2fsck_judges_them = 5,
    spoilt_block_maps_are_judged_as_e2fsck_judges_them = 9,
}

/// A shape with what it lacks: devices, a pipe, a second name of a file, attributes that two files share.
fn base(index: usize) -> Vec<u8> {
    let workspace = Workspace::new();
    let image = workspace.path("image");
    std::fs::write(&image, made(index)).expect("room for an image");
    let script = workspace.path("script");
    let commands = "cd /etc\nmknod pipe p\nmknod tty c 4 64\nmknod disk b 8 1\nmkdir sub\n\
                    ln /etc/hostname /etc/second\nsif /etc/hostname links_count 2\n";
    std::fs::write(&script, commands).expect("room for a script");
    must("debugfs", ["-w", "-f", text(&script), text(&image)]);
    let said = run("e2fsck", ["-fn", text(&image)]);
    assert!(said.status == 0 && !said.text.contains("? no"), "{}", said.text);
    std::fs::read(&image).expect("an image")
}

#[expect(clippy::print_stdout, reason = "how many cases ran, and on demand what either side says")]
fn judge_all(index: usize) {
    let sound = base(index);
    let map = Map::of(&sound);
    let mut resealed = sound.clone();
    map.seal(&mut resealed);
    assert!(
        resealed == sound,
        "sealing a sound filesystem changes it at {:?}",
        differences(&sound, &resealed)
    );
    let report = check(&Bytes(&sound)).expect("a filesystem");
    assert!(report.is_sound(), "{:?}", report.findings.kept());

    let wanted = std::env::var("CARDPRESS_CORPUS").unwrap_or_default();
    let all = cases(&sound, &map);
    let count = all.len();
    let cases: Vec<Case> = match wanted.as_str() {
        "all" => all,
        "" => all.into_iter().enumerate().filter(|(nth, _)| nth % 23 == 0).map(|(_, case)| case).collect(),
        text => all.into_iter().filter(|case| case.name.contains(text)).collect(),
    };
    let is_told = !matches!(wanted.as_str(), "all" | "");
    let next = AtomicUsize::new(0);
    let faults = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(2, usize::from) {
            scope.spawn(|| {
                let mut bench = Bench::new(&sound, &map);
                while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if let Err(fault) = bench.judge(case, is_told) {
                        faults.lock().expect("no panic").push(fault);
                    }
                }
            });
        }
    });
    let faults = faults.into_inner().expect("no panic");
    println!("{} of {count} cases, {} faults", cases.len(), faults.len());
    assert!(faults.is_empty(), "{} of {}:\n{}", faults.len(), cases.len(), faults.join("\n"));
}

/// Many faults at once, without an oracle: whatever the bytes are, the check ends, and says something.
#[test]
fn rubbish_in_any_structure_makes_the_check_neither_panic_nor_hang() {
    for index in [0, 3, 9] {
        let sound = base(index);
        let map = Map::of(&sound);
        let mut state = 1_u64;
        let mut random = |below: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            size(state >> 33) % below
        };
        let places: Vec<usize> = map.sealed.iter().filter_map(|sealed| sealed.place()).collect();
        for round in 0..60 {
            let mut image = sound.clone();
            for _ in 0..1 + round {
                let at = places[random(places.len())] + random(map.block_len);
                if at < image.len() {
                    image[at] = u8::try_from(random(256)).expect("a byte");
                }
            }
            if round % 2 == 0 {
                map.seal(&mut image);
            }
            let verdict = check(&Bytes(&image));
            assert!(!verdict.is_ok_and(|report| report.is_sound()) || round < 5, "round {round}");
        }
    }
}

/// Where one thread judges.
struct Bench<'a> {
    sound: &'a [u8],
    map: &'a Map,
    image: Vec<u8>,
    path: PathBuf,
    file: File,
    _workspace: Workspace,
}

impl<'a> Bench<'a> {
    fn new(sound: &'a [u8], map: &'a Map) -> Self {
        let workspace = Workspace::new();
        let path = workspace.path("image");
        std::fs::write(&path, sound).expect("room for an image");
        let file = File::options().write(true).open(&path).expect("an image");
        Self { sound, map, image: sound.to_vec(), path, file, _workspace: workspace }
    }

    #[expect(clippy::print_stdout, reason = "how many cases ran, and on demand what either side says")]
    fn judge(&mut self, case: &Case, is_told: bool) -> Result<(), String> {
        for (at, bytes) in &case.patches {
            put(&mut self.image, *at, bytes);
        }
        if case.is_sealed {
            self.map.seal(&mut self.image);
        }
        let changed = differences(self.sound, &self.image);
        for start in &changed {
            let chunk = &self.image[*start..self.image.len().min(start + CHUNK)];
            self.file.write_all_at(chunk, *start as u64).expect("room for an image");
        }
        let ours = catch_unwind(AssertUnwindSafe(|| check(&Bytes(&self.image))));
        let (theirs, said) = e2fsck(&self.path);
        for start in changed {
            let chunk = &self.sound[start..self.sound.len().min(start + CHUNK)];
            self.file.write_all_at(chunk, start as u64).expect("room for an image");
            self.image[start..start + chunk.len()].copy_from_slice(chunk);
        }
        let Ok(ours) = ours else { return Err(format!("{}: panic", case.name)) };
        let (verdict, told) = match &ours {
            Ok(report) if report.is_sound() => (Verdict::Sound, String::new()),
            Ok(report) => (Verdict::Unsound, format!("{}", report.findings.kept()[0])),
            Err(ext4::Error::Unsupported(names)) => (Verdict::Unjudged, names.to_string()),
            Err(ext4::Error::NotExt4 { .. }) => (Verdict::Unsound, String::from("not ext4")),
            Err(error) => return Err(format!("{}: {error}", case.name)),
        };
        if is_told {
            println!("{}: {verdict:?} ({told}), e2fsck {theirs:?}\n{said}", case.name);
        }
        let mut explained = EXPLAINED.iter().filter(|(wanted, ..)| *wanted == verdict);
        if verdict == theirs
            || explained.any(|(.., names)| names.iter().any(|like| is_like(&case.name, like)))
        {
            return Ok(());
        }
        let said: String =
            said.lines().filter(|line| !line.starts_with("Pass")).take(5).collect::<Vec<_>>().join(" | ");
        Err(format!("{}: we say {verdict:?} ({told}), e2fsck {theirs:?} ({said})", case.name))
    }
}

const CHUNK: usize = 1024;

/// The chunks that differ, by where they begin.
fn differences(a: &[u8], b: &[u8]) -> Vec<usize> {
    a.chunks(CHUNK)
        .zip(b.chunks(CHUNK))
        .enumerate()
        .filter(|(_, (a, b))| a != b)
        .map(|(nth, _)| nth * CHUNK)
        .collect()
}

/// Sound is what gives rise to no question and needs no copy of the superblock in its place. That an extent tree could
/// be narrower is no fault.
fn e2fsck(image: &Path) -> (Verdict, String) {
    // Named by its path and with no PATH of its own, so that starting it copies nothing of this large process.
    let program = ["/usr/sbin/e2fsck", "/sbin/e2fsck", "/usr/local/sbin/e2fsck"];
    let program = program.into_iter().find(|path| Path::new(path).exists()).unwrap_or("e2fsck");
    let output =
        Command::new(program).args(["-fn", text(image)]).env("LC_ALL", "C").env("TZ", "UTC").output();
    let output = output.expect("e2fsck (Debian package e2fsprogs)");
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    let asks = said.lines().any(|line| line.contains("? no") && !line.contains("Optimize? no"));
    let is_sound = output.status.success() && !asks && !said.contains("trying backup blocks");
    (if is_sound { Verdict::Sound } else { Verdict::Unsound }, said)
}

/// The ways to spoil this filesystem.
fn cases(image: &[u8], map: &Map) -> Vec<Case> {
    let mut spoiler = Spoiler { image, cases: Vec::new() };
    spoiler.superblock();
    spoiler.descriptors(map);
    spoiler.bitmaps(map);
    spoiler.inodes(map);
    spoiler.directories(map);
    spoiler.blocks(map);
    let mut cases = spoiler.cases;
    if map.has_descriptor_checksums {
        let sealed: Vec<Case> = cases
            .iter()
            .map(|case| Case {
                name: format!("{}, sealed", case.name),
                patches: case.patches.clone(),
                is_sealed: true,
            })
            .collect();
        // Without seals each structure's checksum tells: one case in eight is enough.
        let plain = cases.into_iter().enumerate().filter(|(nth, _)| nth % 8 == 0).map(|(_, case)| case);
        cases = plain.chain(sealed).collect();
    }
    cases
}

struct Spoiler<'a> {
    image: &'a [u8],
    cases: Vec<Case>,
}

impl Spoiler<'_> {
    fn case(&mut self, name: String, at: usize, bytes: &[u8]) {
        if self.image[at..at + bytes.len()] != *bytes {
            self.cases.push(Case { name, patches: vec![(at, bytes.to_vec())], is_sealed: false });
        }
    }

    /// A little-endian field of `N` bytes gets other values.
    fn field<const N: usize>(&mut self, what: &str, at: usize) {
        let old = get::<N>(self.image, at);
        let top = 1_u64 << (8 * N - 1);
        let most = top | (top - 1);
        let values = [0, 1, old.wrapping_add(1), old.wrapping_sub(1), old ^ top, old ^ 0x10, old ^ 4, most];
        let mut seen = vec![old];
        for value in values.map(|value| value & most) {
            if !seen.contains(&value) {
                seen.push(value);
                self.case(format!("{what} = {value:#x}"), at, &value.to_le_bytes()[..N]);
            }
        }
    }

    fn superblock(&mut self) {
        for at in (0x00..0x34)
            .chain(0x40..0x58)
            .chain(0x5c..0x68)
            .chain(0xe0..0xfc)
            .step_by(1)
            .filter(|at| at % 4 == 0)
        {
            self.field::<4>(&format!("superblock {at:#05x}"), 1024 + at);
        }
        for at in [0x34, 0x36, 0x38, 0x3a, 0x3c, 0x3e, 0x58, 0x5a, 0xcc, 0xce, 0xfe, 0x15c, 0x15e] {
            self.field::<2>(&format!("superblock {at:#05x}"), 1024 + at);
        }
        for at in [0xfc, 0xfd, 0x174, 0x175] {
            self.field::<1>(&format!("superblock {at:#05x}"), 1024 + at);
        }
        for at in (0x68..0x78)
            .chain(0xc8..0xcc)
            .chain(0xd0..0xe0)
            .chain(0x100..0x15c)
            .chain(0x160..0x174)
            .chain(0x178..0x290)
            .filter(|at| at % 4 == 0)
        {
            self.field::<4>(&format!("superblock {at:#05x}"), 1024 + at);
        }
        // An inode that nothing has, but in the table of group 0.
        for number in [60_u32, 100] {
            self.case(format!("superblock 0x26c = {number}"), 1024 + 0x26c, &number.to_le_bytes());
        }
    }

    fn descriptors(&mut self, map: &Map) {
        for group in [0, map.groups - 1] {
            let at = map.descriptor_at(group);
            for offset in [0x00, 0x04, 0x08] {
                self.field::<4>(&format!("descriptor {group} {offset:#04x}"), at + offset);
            }
            for offset in (0x0c..map.descriptor_len).step_by(2) {
                self.field::<2>(&format!("descriptor {group} {offset:#04x}"), at + offset);
            }
        }
    }

    fn bitmaps(&mut self, map: &Map) {
        for group in 0..map.groups {
            for (what, pointer) in [("block", 0), ("inode", 4)] {
                let place = size(get::<4>(self.image, map.descriptor_at(group) + pointer)) * map.block_len;
                for byte in [0, 1, 2, 5, 100, 127, 128, 200, map.block_len / 2, map.block_len - 1] {
                    for bit in [0x01, 0x80] {
                        let spoilt = self.image[place + byte] ^ bit;
                        let name = format!("{what} bitmap {group} byte {byte} bit {bit:#x}");
                        self.case(name, place + byte, &[spoilt]);
                    }
                }
            }
        }
    }

    /// One inode of each kind, and all that have a duty.
    fn inodes(&mut self, map: &Map) {
        let mut seen = Vec::new();
        for (inode, kind) in &map.files {
            let at = map.inode_at(self.image, *inode);
            let flags = get::<4>(self.image, at + 0x20) & 0x8_1000;
            let depth = if flags & 0x8_0000 != 0 { get::<2>(self.image, at + 0x28 + 6) } else { 0 };
            let has_block = get::<4>(self.image, at + 0x68) != 0;
            let has_xattrs = map.inode_len > 128
                && get::<4>(self.image, at + 128 + size(get::<2>(self.image, at + 128))) == 0xea02_0000;
            let is_short = *kind == 0xa000 && get::<4>(self.image, at + 4) < 60;
            let duty = if *inode < 11 { *inode } else { 0 };
            let key = (*kind, flags, depth, has_block, has_xattrs, is_short, duty);
            if !seen.contains(&key) {
                seen.push(key);
                self.inode(map, *inode, at, has_xattrs);
            }
        }
        for inode in [1, 3, 4, 5, 6, 9, 10] {
            let at = map.inode_at(self.image, inode);
            for offset in [0x00, 0x14, 0x1a, 0x1c, 0x20, 0x28, 0x68] {
                self.field::<2>(&format!("reserved inode {inode} {offset:#04x}"), at + offset);
            }
        }
        let last = map.files.last().map_or(11, |(inode, _)| *inode) + 1;
        let at = map.inode_at(self.image, last);
        for offset in [0x00, 0x14, 0x1a] {
            self.field::<2>(&format!("free inode {offset:#04x}"), at + offset);
        }
    }

    fn inode(&mut self, map: &Map, inode: u32, at: usize, has_xattrs: bool) {
        let what = format!("inode {inode}");
        for offset in [0x00, 0x02, 0x18, 0x1a, 0x74, 0x76, 0x7c, 0x7e] {
            self.field::<2>(&format!("{what} {offset:#04x}"), at + offset);
        }
        for offset in [0x04, 0x08, 0x0c, 0x10, 0x14, 0x1c, 0x20, 0x24, 0x64, 0x68, 0x6c, 0x70] {
            self.field::<4>(&format!("{what} {offset:#04x}"), at + offset);
        }
        for bit in 0..32 {
            let flags = get::<4>(self.image, at + 0x20) ^ 1 << bit;
            self.case(format!("{what} flag {bit}"), at + 0x20, &flags.to_le_bytes()[..4]);
        }
        for offset in (0x28..0x64).step_by(2) {
            self.field::<2>(&format!("{what} {offset:#04x}"), at + offset);
        }
        if map.inode_len > 128 {
            for offset in (0x80..0xa0).step_by(2) {
                self.field::<2>(&format!("{what} {offset:#04x}"), at + offset);
            }
        }
        if has_xattrs {
            let start = 128 + size(get::<2>(self.image, at + 128));
            for offset in (start..map.inode_len).step_by(2) {
                self.field::<2>(&format!("{what} attributes {offset:#04x}"), at + offset);
            }
        }
    }

    /// Entries of directories, and the indexes.
    fn directories(&mut self, map: &Map) {
        let mut blocks: Vec<(usize, Sealed)> = Vec::new();
        for (inode, logical, at) in &map.directory_blocks {
            let kind = map.sealed.iter().find(|sealed| {
                matches!(sealed, Sealed::Leaf(place, _) | Sealed::IndexNode(place, ..) if place == at)
            });
            let Some(kind) = kind else { continue };
            let is_wanted = *logical < 3 || matches!(kind, Sealed::IndexNode(..));
            if is_wanted && blocks.len() < 12 {
                blocks.push((*at, *kind));
                self.directory_block(map, &format!("directory {inode} block {logical}"), *at, *kind);
            }
        }
    }

    fn directory_block(&mut self, map: &Map, what: &str, start: usize, kind: Sealed) {
        let end = start + map.block_len;
        let mut at = start;
        let mut nth = 0;
        while at + 12 <= end && nth < 5 {
            let len = size(get::<2>(self.image, at + 4));
            self.field::<4>(&format!("{what} entry {nth} inode"), at);
            self.field::<2>(&format!("{what} entry {nth} rec_len"), at + 4);
            self.field::<1>(&format!("{what} entry {nth} name_len"), at + 6);
            self.field::<1>(&format!("{what} entry {nth} type"), at + 7);
            self.case(format!("{what} entry {nth} slash"), at + 8, b"/");
            self.field::<1>(&format!("{what} entry {nth} name"), at + 8);
            self.field::<1>(&format!("{what} entry {nth} name end"), at + 9);
            self.field::<1>(&format!("{what} entry {nth} name end+1"), at + 10);
            at += len.max(12);
            nth += 1;
        }
        match kind {
            Sealed::IndexNode(_, _, counts) => {
                for offset in 24..32 {
                    self.field::<1>(&format!("{what} index info {offset}"), start + offset);
                }
                self.field::<2>(&format!("{what} index limit"), start + counts);
                self.field::<2>(&format!("{what} index count"), start + counts + 2);
                for entry in 0..3 {
                    let at = start + counts + 8 * entry;
                    if entry > 0 {
                        self.field::<4>(&format!("{what} index entry {entry} hash"), at);
                    }
                    self.field::<4>(&format!("{what} index entry {entry} block"), at + 4);
                }
            }
            _ => {
                for offset in 1..=12 {
                    self.field::<1>(&format!("{what} tail {offset}"), end - offset);
                }
            }
        }
    }

    /// Blocks of extents, attributes, orphans, the journal; copies of the superblock.
    fn blocks(&mut self, map: &Map) {
        let (mut extents, mut attributes) = (0, 0);
        for sealed in &map.sealed {
            match *sealed {
                Sealed::ExtentBlock(at, inode) if extents < 3 => {
                    extents += 1;
                    let entries = size(get::<2>(self.image, at + 2));
                    let last = 12 + 12 * (entries - 1);
                    for offset in
                        (0..36).chain(last..last + 12).chain(map.block_len - 4..map.block_len).step_by(2)
                    {
                        self.field::<2>(&format!("extent block of {inode} {offset:#04x}"), at + offset);
                    }
                }
                Sealed::XattrBlock(at) if attributes < 2 => {
                    attributes += 1;
                    for offset in (0..0x48).chain(map.block_len - 8..map.block_len).step_by(2) {
                        self.field::<2>(&format!("attribute block {offset:#04x}"), at + offset);
                    }
                }
                Sealed::OrphanBlock(at, _) => {
                    for offset in [0, 4, map.block_len - 12, map.block_len - 8, map.block_len - 4] {
                        self.field::<4>(&format!("orphan block {offset:#04x}"), at + offset);
                    }
                }
                Sealed::Journal(at) => {
                    for offset in (0..0x60).step_by(4).chain([0xfc, 0x100, 0x104]) {
                        let name = format!("journal {offset:#04x}");
                        self.field::<4>(&name, at + offset);
                        // Big-endian: small values are at the other end.
                        for value in [1_u8, 2, 3, 4, 8, 16, 32, 64, 128] {
                            self.case(format!("{name} low {value:#x}"), at + offset + 3, &[value]);
                        }
                    }
                }
                _ => {}
            }
        }
    }
}
