//! FAT filesystems spoilt field by field: what our check says of each is what `fsck.fat -n` says by having nothing to say.
//!
//! `CARDPRESS_CORPUS=all` runs all cases instead of a selection; `CARDPRESS_CORPUS=TEXT` those with the text in their
//! name, and prints what either side found.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::process::Command;

use cardpress::block::{Device as _, Memory};
use cardpress::image::fat::{self, check};

use crate::support::tools::{Workspace, text, tool};

/// Where we differ from fsck.fat on purpose: why, and the cases by the beginnings of their names.
const EXPLAINED: &[(&str, &[&str])] = &[
    ("the first entry of the FAT repeats the media byte", &["boot 0x015"]),
    (
        "a count of sectors in 16 bits and another in 32",
        &["boot 0x020", "boot 0x021", "boot 0x022", "boot 0x023"],
    ),
    ("fsck.fat reads on behind the end of a directory; no other reader does", &["slot 2 byte 0 = 00"]),
    ("without its mark no firmware reads the boot sector", &["boot 0x1fe", "boot 0x1ff"]),
];

fn sound(bits: &str) -> Vec<u8> {
    let workspace = Workspace::new();
    let image = workspace.path("image");
    let sectors = if bits == "32" { 67_000 } else { 9_000 };
    File::create(&image).expect("room").set_len(sectors * 512).expect("room");
    tool("mkfs.fat", &["-F", bits, "-s", "1", "-i", "2b7f41c9", "-n", "BOOT", text(&image)]);
    let put = |name: &str, len: usize| {
        let local = workspace.path("local");
        std::fs::write(&local, vec![b'x'; len]).expect("room");
        tool("mcopy", &["-i", text(&image), text(&local), &format!("::{name}")]);
    };
    put("config.txt", 700);
    put("EMPTY", 0);
    put("a file with a long name, in pieces.txt", 5_000);
    for folder in ["overlays", "overlays/deeper"] {
        tool("mmd", &["-i", text(&image), &format!("::{folder}")]);
    }
    put("overlays/disable-bt.dtbo", 1_024);
    put("overlays/deeper/x", 1);
    put("kernel8.img", 3_000);
    std::fs::read(&image).expect("an image")
}

#[test]
fn spoilt_fat32_is_judged_as_fsck_judges_it() {
    judge_all("32");
}

#[test]
fn spoilt_fat16_is_judged_as_fsck_judges_it() {
    judge_all("16");
}

#[expect(clippy::print_stdout, reason = "how many cases ran, and on demand what either side says")]
fn judge_all(bits: &str) {
    let image = sound(bits);
    let report = check(&Memory::new(image.clone())).expect("a filesystem");
    assert!(report.is_sound(), "{:?}", report.findings.kept());
    assert_eq!(report.bits.to_string(), bits);

    let wanted = std::env::var("CARDPRESS_CORPUS").unwrap_or_default();
    let all = cases(&image, bits == "32");
    let count = all.len();
    let chosen: Vec<_> = match wanted.as_str() {
        "all" => all,
        "" => all.into_iter().enumerate().filter(|(nth, _)| nth % 23 == 0).map(|(_, case)| case).collect(),
        text => all.into_iter().filter(|(name, ..)| name.contains(text)).collect(),
    };
    let is_told = !matches!(wanted.as_str(), "all" | "");
    let workspace = Workspace::new();
    let path = workspace.path("image");
    std::fs::write(&path, &image).expect("room for an image");
    let file = File::options().write(true).open(&path).expect("an image");
    let device = Memory::new(image.clone());
    let (mut faults, mut agreed) = (Vec::new(), 0);
    for (name, at, bytes) in &chosen {
        file.write_all_at(bytes, *at as u64).expect("room");
        let (is_silent, said) = fsck(&path);
        file.write_all_at(&image[*at..at + bytes.len()], *at as u64).expect("room");
        device.write_at(*at as u64, bytes).expect("inside");
        let report = check(&device);
        device.write_at(*at as u64, &image[*at..at + bytes.len()]).expect("inside");
        let (is_sound, told) = match report {
            Ok(report) => (
                report.is_sound(),
                report.findings.kept().first().map_or_else(String::new, ToString::to_string),
            ),
            Err(fat::Error::Unsupported(what)) => (false, what),
            Err(error) => panic!("{name}: {error}"),
        };
        if is_told {
            println!("{name}: sound {is_sound} ({told}), fsck.fat {is_silent}\n{said}");
        }
        let is_explained =
            EXPLAINED.iter().any(|(_, names)| names.iter().any(|start| name.starts_with(start)));
        if is_sound == is_silent {
            agreed += 1;
        } else if !is_explained {
            let said: Vec<&str> = said.lines().skip(1).take(4).collect();
            faults.push(format!(
                "{name}: we say sound {is_sound} ({told}), fsck.fat {is_silent} ({})",
                said.join(" | ")
            ));
        }
    }
    println!("{} of {count} cases, {agreed} agree, {} faults", chosen.len(), faults.len());
    assert!(faults.is_empty(), "{} of {}:\n{}", faults.len(), chosen.len(), faults.join("\n"));
}

/// Sound is what fsck.fat says nothing of but its name and a summary.
fn fsck(image: &Path) -> (bool, String) {
    let program = ["/usr/sbin/fsck.fat", "/sbin/fsck.fat"];
    let program = program.into_iter().find(|path| Path::new(path).exists()).unwrap_or("fsck.fat");
    let output = Command::new(program).args(["-n", text(image)]).env("LC_ALL", "C").output();
    let output = output.expect("fsck.fat (Debian package dosfstools)");
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    (output.status.success() && said.lines().count() == 2, said)
}

type Case = (String, usize, Vec<u8>);

/// The ways to spoil this filesystem: what, where, with which bytes.
fn cases(image: &[u8], is_fat32: bool) -> Vec<Case> {
    let mut cases = Vec::new();
    let mut byte = |what: &str, at: usize| {
        let old = image[at];
        let mut seen = vec![old];
        for value in [0, 1, old.wrapping_add(1), old ^ 0x80, old ^ 0x10, b' ', 0xe5, 0xff] {
            if !seen.contains(&value) {
                seen.push(value);
                cases.push((format!("{what} = {value:02x}"), at, vec![value]));
            }
        }
    };
    let u16_at = |at: usize| usize::from(u16::from_le_bytes([image[at], image[at + 1]]));
    for at in (0..96).chain([510, 511]) {
        byte(&format!("boot {at:#05x}"), at);
    }
    if is_fat32 {
        for at in [0, 3, 484, 487, 488, 489, 490, 491, 492, 508, 510, 511] {
            byte(&format!("FSInfo {at:#05x}"), 512 + at);
        }
        for at in [0, 3, 11, 13, 82, 510] {
            byte(&format!("copy of the boot sector {at:#05x}"), 6 * 512 + at);
        }
    }
    let reserved = u16_at(14);
    let fat_len = if is_fat32 { u16_at(36) } else { u16_at(22) };
    let entry_len = if is_fat32 { 4 } else { 2 };
    for entry in (0..34).chain([200, 4_000]) {
        for copy in 0..2 {
            for nth in 0..entry_len {
                let at = (reserved + copy * fat_len) * 512 + entry * entry_len + nth;
                byte(&format!("FAT entry {entry} byte {nth} copy {copy}"), at);
            }
        }
    }
    // The same in both copies: then the link itself has to be found.
    let directories = (reserved + 2 * fat_len) * 512;
    let slots = if is_fat32 { 40 * 16 } else { (512 * 32) / 32 + 40 * 16 };
    for slot in 0..slots {
        let at = directories + slot * 32;
        let entry = &image[at..at + 32];
        let is_entry = (entry[0] != 0 && entry[0] != b'x') || slot == 15;
        if is_entry {
            for nth in 0..32 {
                byte(&format!("slot {slot} byte {nth}"), at + nth);
            }
        }
    }
    cases
}
