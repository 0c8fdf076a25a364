//! Recovery: logs that debugfs wrote, turned, torn and spoilt; orphans as a power cut leaves them.

use std::collections::BTreeMap;
use std::fs;

use super::support::{Image, Shape, path};
use crate::block::Memory;
use crate::image::ext4::bytes::u32_at;
use crate::image::ext4::{Error, Filesystem, Recovered, Refusal, recover};

const BLOCK: usize = 1024;
const PLAIN: &[&str] = &["-b1024", "-J", "size=4", "-O^metadata_csum,^64bit,^uninit_bg"];
const CHECKED: &[&str] = &["-b1024", "-J", "size=4", "-Ometadata_csum,64bit"];
/// Free blocks, which the log below changes.
const DATA: usize = 30_000;

/// A filesystem whose log holds three transactions: `[1 descriptor, 2 to 4 copies, 5 commit]`, the same from 6 on for
/// other blocks, `[11 revoke, 12 commit]`.
struct Logged {
    bytes: Vec<u8>,
    /// Where in `bytes` the journal's blocks lie.
    places: Vec<usize>,
}

impl Logged {
    fn new(arguments: &'static [&'static str], open: &str) -> Self {
        let image = Image::make(&Shape("logged", arguments, "40M"));
        let dir = tempfile::tempdir().unwrap();
        let content = dir.path().join("content");
        fs::write(&content, [0xab; 3 * BLOCK]).unwrap();
        let script = dir.path().join("script");
        let content = content.display();
        let commands = format!(
            "{open}\njw -b {DATA}-{} {content}\njw -b {}-{} {content}\njw -r {}\njc\n",
            DATA + 2,
            DATA + 10,
            DATA + 12,
            DATA + 1
        );
        fs::write(&script, commands).unwrap();
        super::support::run(
            std::process::Command::new("debugfs").args(["-w", "-f"]).arg(&script).arg(image.path()),
        );
        // "(0-4095):first-last": the journal lies in one piece in so small a filesystem.
        let blocks = image.debugfs("blocks <8>");
        let places: Vec<usize> =
            blocks.split_whitespace().map(|block| block.parse::<usize>().unwrap() * BLOCK).collect();
        Self { bytes: image.bytes(), places: places.into_iter().filter(|at| *at > 0).collect() }
    }

    /// A block of the journal.
    fn block(&mut self, number: usize) -> &mut [u8] {
        let at = self.places[number];
        &mut self.bytes[at..at + BLOCK]
    }

    fn put_be(&mut self, block: usize, at: usize, value: usize) {
        self.block(block)[at..at + 4].copy_from_slice(&u32::try_from(value).unwrap().to_be_bytes());
    }

    fn recover(&self) -> Result<(Recovered, Vec<u8>), Error> {
        let device = Memory::new(self.bytes.clone());
        let recovered = recover(&device);
        let bytes = device.into_bytes();
        if recovered.is_err() {
            assert!(bytes == self.bytes, "something was written before the fault was found");
        }
        Ok((recovered?, bytes))
    }

    fn corrupt(&self) -> String {
        match self.recover() {
            Err(Error::Corrupt(corrupt)) => corrupt.to_string(),
            Err(error) => panic!("{error}"),
            Ok((recovered, _)) => panic!("{recovered:?}"),
        }
    }
}

/// The first byte of each data block that is not zero, by number from [`DATA`].
fn data(bytes: &[u8]) -> BTreeMap<usize, u8> {
    let first = |number: &usize| (*number, bytes[(DATA + number) * BLOCK]);
    (0..16).collect::<Vec<_>>().iter().map(first).filter(|(_, byte)| *byte != 0).collect()
}

#[test]
fn a_log_is_replayed_to_its_last_whole_transaction() {
    let mut logged = Logged::new(PLAIN, "jo");
    let (recovered, bytes) = logged.recover().unwrap();
    assert_eq!(recovered, Recovered { transactions: 3, blocks: 5, orphans: 0 });
    assert_eq!(data(&bytes).into_keys().collect::<Vec<_>>(), [0, 2, 10, 11, 12]);
    // Without the commit of the revoke records nothing is revoked, without the second there is one transaction.
    for (commit, wanted) in [(12, vec![0, 1, 2, 10, 11, 12]), (10, vec![0, 1, 2]), (5, vec![])] {
        logged.block(commit).fill(0);
        let (recovered, bytes) = logged.recover().unwrap();
        assert_eq!(recovered.blocks, wanted.len() as u64);
        assert_eq!(data(&bytes).into_keys().collect::<Vec<_>>(), wanted);
    }
}

#[test]
fn a_log_goes_on_at_the_front_of_the_ring_and_its_numbers_go_round() {
    let mut logged = Logged::new(PLAIN, "jo");
    let (_, wanted) = logged.recover().unwrap();
    let len = logged.places.len();
    let old: Vec<Vec<u8>> = (1..13).map(|number| logged.block(number).to_vec()).collect();
    (1..13).for_each(|number| logged.block(number).fill(0));
    let start = len - 4;
    let sequence = |block: &[u8]| {
        u32::from_be_bytes(block[8..12].try_into().unwrap()).wrapping_sub(2) // 1, 2, 3 become -1, 0, 1
    };
    for (nth, mut block) in old.into_iter().enumerate() {
        if block.starts_with(&0xc03b_3998_u32.to_be_bytes()) {
            let sequence = sequence(&block);
            block[8..12].copy_from_slice(&sequence.to_be_bytes());
        }
        let to = start + nth;
        logged.block(if to < len { to } else { to - len + 1 }).copy_from_slice(&block);
    }
    logged.put_be(0, 0x1c, start);
    logged.block(0)[0x18..0x1c].copy_from_slice(&u32::MAX.to_be_bytes());
    let (recovered, bytes) = logged.recover().unwrap();
    assert_eq!(recovered, Recovered { transactions: 3, blocks: 5, orphans: 0 });
    assert_eq!(data(&bytes), data(&wanted));
    // The next number after that of the transaction which did not come, and an empty log.
    let jsb = &bytes[logged.places[0]..];
    assert_eq!((&jsb[0x18..0x1c], &jsb[0x1c..0x20]), (&3_u32.to_be_bytes()[..], &[0; 4][..]));
}

#[test]
fn a_damaged_transaction_that_is_not_the_last_is_an_error_and_nothing_is_written() {
    let sound = Logged::new(CHECKED, "jo -c");
    assert_eq!(sound.recover().unwrap().0.transactions, 3);
    for (block, at, word) in [
        (1, 14, "transaction 1 of the journal"),   // a tag
        (5, 0x40, "transaction 1 of the journal"), // a commit
        (2, 700, "copy of block 30000"),
        (8, 700, "copy of block 30011"),
        (11, 20, "transaction 3 of the journal"), // a revoke record
        (0, 0x48, "journal superblock checksum"),
    ] {
        let mut logged = Logged { bytes: sound.bytes.clone(), places: sound.places.clone() };
        logged.block(block)[at] ^= 0x10;
        let said = logged.corrupt();
        assert!(said.contains(word), "block {block}: {said}");
    }
    // A revoked copy is of no interest.
    let mut logged = Logged { bytes: sound.bytes.clone(), places: sound.places.clone() };
    logged.block(3)[700] ^= 0x10;
    assert_eq!(logged.recover().unwrap().0.blocks, 5);
}

#[test]
fn under_asynchronous_commits_only_the_last_transaction_may_be_damaged() {
    let mut logged = Logged::new(PLAIN, "jo");
    // Checksums of version 1: a wrong one in the commit block says that blocks are missing.
    logged.put_be(0, 0x24, 1);
    logged.put_be(0, 0x28, 1 | 4);
    assert_eq!(logged.recover().unwrap().0.transactions, 3, "a commit may go without");
    logged.block(10)[0x0c..0x0e].copy_from_slice(&[1, 4]);
    let said = logged.corrupt();
    assert!(said.contains("transaction 2"), "{said}");
    logged.block(12).fill(0);
    assert_eq!(logged.recover().unwrap().0.transactions, 1);
}

#[test]
fn a_log_never_leads_outside_the_filesystem_nor_into_the_journal() {
    let mut logged = Logged::new(PLAIN, "jo");
    for block in [0, 40 * BLOCK, 0x7fff_ffff, logged.places[0] / BLOCK, logged.places[4000] / BLOCK] {
        logged.put_be(6, 12, block);
        let said = logged.corrupt();
        assert!(said.contains(&format!("changes block {block},")), "{said}");
    }
}

#[test]
fn a_ring_without_an_end_is_walked_once() {
    let mut logged = Logged::new(PLAIN, "jo");
    let revoke = logged.block(11).to_vec();
    for number in 1..logged.places.len() {
        logged.block(number).copy_from_slice(&revoke);
    }
    logged.put_be(0, 0x18, 3);
    assert_eq!(logged.recover().unwrap().0, Recovered::default());
}

#[test]
fn fast_commits_other_devices_and_unknown_journals_are_refused_by_name() {
    let sound = Logged::new(PLAIN, "jo");
    let with = |change: fn(&mut Logged)| {
        let mut logged = Logged { bytes: sound.bytes.clone(), places: sound.places.clone() };
        change(&mut logged);
        logged.recover()
    };
    let fast = |logged: &mut Logged| logged.put_be(0, 0x28, 1 | 0x20);
    let mut logged = Logged { bytes: sound.bytes.clone(), places: sound.places.clone() };
    fast(&mut logged);
    assert_eq!(logged.recover().unwrap().0.transactions, 3, "an empty area of fast commits");
    // Its head, for the transaction after the last.
    let area = logged.places.len() - 256;
    logged.block(area)[..12].copy_from_slice(&[9, 0, 8, 0, 0, 0, 0, 0, 4, 0, 0, 0]);
    assert!(matches!(logged.recover(), Err(Error::Refused(Refusal::FastCommits))));
    logged.block(area)[8] = 3;
    assert!(logged.recover().is_ok(), "an old fast commit");

    let external = with(|logged| logged.bytes[1024 + 0xe0] = 0);
    assert!(matches!(external, Err(Error::Refused(Refusal::ExternalJournal))));
    match with(|logged| logged.put_be(0, 0x28, 0x40)) {
        Err(Error::Unsupported(names)) => assert_eq!(names.to_string(), "journal incompat 0x40"),
        other => panic!("{other:?}"),
    }
    let noted = with(|logged| logged.put_be(0, 0x20, 5));
    assert!(matches!(noted, Err(Error::Refused(Refusal::HasErrors { .. }))));
    let marked = with(|logged| logged.bytes[1024 + 0x3a] = 3);
    assert!(matches!(marked, Err(Error::Refused(Refusal::HasErrors { state: 3 }))));
}

/// The inode of a path.
fn inode(image: &Image, name: &str) -> u32 {
    let device = Memory::new(image.bytes());
    Filesystem::open(&device).unwrap().stat(&path(name), false).unwrap().inode
}

#[test]
fn orphans_of_the_chain_are_cut_to_their_length_or_freed() {
    for arguments in [PLAIN, CHECKED, &["-b4096", "-O^extent,^64bit,metadata_csum"]] {
        let image = Image::make(&Shape("orphans", arguments, "40M"));
        let (big, gone) = (inode(&image, "/etc/big"), inode(&image, "/etc/hostname"));
        let free = || {
            let bytes = image.bytes();
            u32_at(&bytes, 1024 + 0x0c)
        };
        let before = free();
        for request in [
            format!("sif <{big}> size 5000"),
            format!("sif <{big}> dtime {gone}"),
            String::from("unlink /etc/hostname"),
            format!("sif <{gone}> links_count 0"),
            format!("sif <{gone}> dtime 0"),
            format!("ssv last_orphan {big}"),
        ] {
            image.spoil(&request);
        }
        let device = Memory::new(image.bytes());
        assert!(matches!(Filesystem::open(&device), Err(Error::Refused(Refusal::Orphans))));
        assert_eq!(recover(&device).unwrap(), Recovered { transactions: 0, blocks: 0, orphans: 2 });
        assert_eq!(
            Filesystem::open(&device).unwrap().stat(&path("/etc/big"), false).unwrap().len_bytes,
            5000
        );
        fs::write(image.path(), device.into_bytes()).unwrap();
        image.check("after clearing orphans");
        assert!(free() > before + 100, "{} and {}", free(), before);
    }
}

#[test]
fn a_chain_of_orphans_that_goes_round_or_astray_is_corrupt() {
    let image = Image::make(&Shape("orphans", PLAIN, "40M"));
    let (big, other) = (inode(&image, "/etc/big"), inode(&image, "/etc/hostname"));
    for (next, word) in [(other, "comes back to"), (7, "names inode 7"), (4_000_000, "names inode 4000000")] {
        image.spoil(&format!("sif <{big}> dtime {next}"));
        image.spoil(&format!("sif <{other}> dtime {big}"));
        image.spoil(&format!("ssv last_orphan {big}"));
        match recover(&Memory::new(image.bytes())) {
            Err(Error::Corrupt(said)) => assert!(said.to_string().contains(word), "{said}"),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn there_is_nothing_to_recover_in_a_clean_filesystem() {
    let image = Image::make(&Shape("clean", CHECKED, "40M"));
    let device = Memory::new(image.bytes());
    assert_eq!(recover(&device).unwrap(), Recovered::default());
    assert!(device.into_bytes() == image.bytes());
}
