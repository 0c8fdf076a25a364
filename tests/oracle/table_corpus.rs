//! Partition tables spoilt byte by byte: whatever `sfdisk --verify` finds wrong, our check finds too. What we find besides
//! is listed with its reason.

use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use cardpress::block::{Device as _, Memory};
use cardpress::image::table::{Error, check};

use crate::support::tools::{Workspace, text};

const LEN: usize = 8 << 20;
/// Words of sfdisk that mean a fault.
const FAULTS: [&str; 6] = ["corrupt", "mismatch", "not correct", "outside", "overlap", "invalid"];

/// Bytes that sfdisk does not look at, or not in an image: why, and where they are in each of the four entries.
const EXPLAINED_MBR: &[(&str, std::ops::Range<usize>)] = &[
    ("a flag is 00 or 80, else the sector is no table to the firmware", 0..1),
    ("a partition begins and ends inside the image, and has sectors", 4..16),
];
const EXPLAINED_GPT: &[(&str, std::ops::Range<usize>)] =
    &[("the protective entry says that it is one, and covers the disk from sector 1 on", 450..462)];

fn sfdisk(words: &[&str], input: &str) -> (bool, String) {
    let program = ["/usr/sbin/sfdisk", "/sbin/sfdisk"];
    let program = program.into_iter().find(|path| Path::new(path).exists()).unwrap_or("sfdisk");
    let mut child = Command::new(program)
        .args(words)
        .env("LC_ALL", "C")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("sfdisk (Debian package fdisk)");
    child.stdin.take().expect("a pipe").write_all(input.as_bytes()).expect("sfdisk reads");
    let output = child.wait_with_output().expect("sfdisk ends");
    (output.status.success(), String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
}

/// Spoils the bytes at `places`, two ways each; gives what we say and sfdisk does not, by where.
fn judge(script: &str, places: &[usize]) -> Vec<usize> {
    let workspace = Workspace::new();
    let path = workspace.path("image");
    let file = File::create(&path).expect("room");
    file.set_len(LEN as u64).expect("room");
    let (is_made, said) = sfdisk(&["-q", text(&path)], script);
    assert!(is_made, "{said}");
    let image = std::fs::read(&path).expect("an image");
    let device = Memory::new(image.clone());
    let report = check(&device).expect("a table");
    assert!(report.findings.is_empty() && report.partitions.len() == 2, "{:?}", report.findings.kept());
    let mut besides = Vec::new();
    for at in places {
        for byte in [image[*at] ^ 1, image[*at] ^ 0x80] {
            file.write_all_at(&[byte], *at as u64).expect("room");
            device.write_at(*at as u64, &[byte]).expect("inside");
            let (is_done, said) = sfdisk(&["--verify", text(&path)], "");
            let lower = said.to_lowercase();
            let has_fault = !is_done
                || !lower.contains("no errors detected")
                || FAULTS.iter().any(|word| lower.contains(word));
            let is_sound = match check(&device) {
                Ok(report) => report.findings.is_empty(),
                Err(Error::Missing { .. } | Error::Unsupported(_)) => false,
                Err(error) => panic!("byte {at}: {error}"),
            };
            assert!(!(has_fault && is_sound), "byte {at} is {byte:#04x}: we say sound, sfdisk: {said}");
            if !has_fault && !is_sound {
                besides.push(*at);
            }
        }
        file.write_all_at(&[image[*at]], *at as u64).expect("room");
        device.write_at(*at as u64, &[image[*at]]).expect("inside");
    }
    besides
}

#[test]
fn what_sfdisk_finds_in_a_spoilt_mbr_is_found() {
    let script = "label: dos\nlabel-id: 0x0badcafe\nunit: sectors\nstart=2048, size=4096, type=c\n\
                  start=6144, size=4096, type=83\n";
    let places: Vec<usize> = (440..444).chain(446..478).chain([478, 482, 510, 511]).collect();
    for at in judge(script, &places) {
        let in_entry = at.checked_sub(446).map(|at| at % 16);
        let is_explained = |range: &std::ops::Range<usize>| in_entry.is_some_and(|at| range.contains(&at));
        assert!(
            EXPLAINED_MBR.iter().any(|(_, range)| is_explained(range)),
            "byte {at}: only we find it wrong"
        );
    }
}

#[test]
fn what_sfdisk_finds_in_a_spoilt_gpt_is_found() {
    let script = "label: gpt\nunit: sectors\nstart=2048, size=4096, type=U\nstart=6144, size=4096, type=L\n";
    let backup = LEN - 512;
    let places: Vec<usize> = (446..462)
        .chain((512..512 + 92).step_by(2))
        .chain((1024..1024 + 56).step_by(4))
        .chain((backup..backup + 92).step_by(2))
        .chain((backup - 16_384..backup - 16_384 + 56).step_by(4))
        .collect();
    for at in judge(script, &places) {
        assert!(
            EXPLAINED_GPT.iter().any(|(_, range)| range.contains(&at)),
            "byte {at}: only we find it wrong"
        );
    }
}
