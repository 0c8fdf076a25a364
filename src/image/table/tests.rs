use super::*;
use crate::block::Memory;

const MIB: u64 = 1 << 20;

/// 16 MiB with a FAT partition at 4 MiB and a Linux one at 8 MiB.
fn sound_mbr() -> Vec<u8> {
    let mut image = vec![0; 16 << 20];
    image[440..444].copy_from_slice(&0xdead_beef_u32.to_le_bytes());
    entry(&mut image, 0, 0x0c, 8192, 8192);
    entry(&mut image, 1, 0x83, 16384, 8192);
    image[510..512].copy_from_slice(&[0x55, 0xaa]);
    image
}

fn entry(image: &mut [u8], slot: usize, kind: u8, start: u32, count: u32) {
    let at = 446 + 16 * slot;
    image[at + 4] = kind;
    image[at + 8..at + 12].copy_from_slice(&start.to_le_bytes());
    image[at + 12..at + 16].copy_from_slice(&count.to_le_bytes());
}

fn open(image: Vec<u8>) -> Result<Table, Error> {
    Table::open(&Memory::new(image))
}

#[test]
fn a_table_of_raspberry_pi_os_is_read() {
    let table = open(sound_mbr()).unwrap();
    assert_eq!((table.label(), table.disk_id()), (Label::Mbr, Some(0xdead_beef)));
    let root = table.partition(2).unwrap();
    assert_eq!((root.start_bytes, root.len_bytes, root.kind), (8 * MIB, 4 * MIB, Kind::Linux));
    assert_eq!(root.partuuid, "deadbeef-02");
    assert_eq!(table.partition(1).unwrap().kind, Kind::Fat);
    assert!(matches!(table.partition(3), Err(Error::NoPartition { number: 3, .. })));
}

#[test]
fn an_image_without_a_table_says_what_it_seems_to_be() {
    let spoilt = |at: usize, bytes: &[u8]| {
        let mut image = vec![0; 64 << 10];
        image[at..at + bytes.len()].copy_from_slice(bytes);
        match open(image) {
            Err(Error::Missing { offset, found }) => (offset, found),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(spoilt(0, b""), (0, "512 zero bytes".into()));
    assert!(spoilt(0, b"\n<!DOCTYPE html>").1.contains("web page"));
    assert_eq!(spoilt(1080, &[0x53, 0xef]).0, 1080);
    assert_eq!(spoilt(32_769, b"CD001").0, 32_769);
    assert_eq!(spoilt(510, &[0x55, 0xab]), (510, "55 ab".into()));
    assert_eq!(spoilt(510, &[0x55, 0xaa]), (446, "four empty slots".into()));
    assert!(matches!(open(vec![0; 100]), Err(Error::Missing { .. })));
}

#[test]
fn a_bare_fat_filesystem_is_no_table() {
    let mut image = sound_mbr();
    image[82..90].copy_from_slice(b"FAT32   ");
    assert!(matches!(open(image), Err(Error::Missing { offset: 0, .. })));
}

#[test]
fn partitions_that_leave_the_image_or_overlap_are_refused() {
    let mut image = sound_mbr();
    image.truncate((12 << 20) - 512);
    assert!(matches!(open(image), Err(Error::PastEnd { number: 2, .. })));
    let mut image = sound_mbr();
    entry(&mut image, 1, 0x83, 16383, 8192);
    assert!(matches!(open(image), Err(Error::Overlap { first: 1, second: 2 })));
    let mut image = sound_mbr();
    entry(&mut image, 1, 0x83, u32::MAX, u32::MAX);
    assert!(matches!(open(image), Err(Error::PastEnd { number: 2, .. })));
}

#[test]
fn extended_and_hybrid_tables_are_refused() {
    let mut image = sound_mbr();
    entry(&mut image, 2, 0x05, 24576, 8192);
    assert!(matches!(open(image), Err(Error::Unsupported(_))));
    let mut image = sound_mbr();
    entry(&mut image, 2, 0xee, 1, 8191);
    assert!(matches!(open(image), Err(Error::Unsupported(_))));
}

#[test]
fn disk_id_and_length_are_written_in_place() {
    let device = Memory::new(sound_mbr());
    write_disk_id(&device, 0x0102_0304).unwrap();
    set_partition_len(&device, 2, 8 * MIB).unwrap();
    let table = Table::open(&device).unwrap();
    assert_eq!(table.disk_id(), Some(0x0102_0304));
    assert_eq!(table.partition(2).unwrap().len_bytes, 8 * MIB);
    assert!(matches!(set_partition_len(&device, 2, 8 * MIB + 512), Err(Error::Length { .. })));
    assert!(matches!(set_partition_len(&device, 1, 4 * MIB + 512), Err(Error::Length { .. })));
    assert!(matches!(set_partition_len(&device, 1, 1000), Err(Error::Length { .. })));
}

/// A GPT from `sfdisk`, with a gap in the numbers, on `len` bytes.
fn gpt_by_sfdisk(len: u64) -> Vec<u8> {
    use std::io::Write as _;
    let file = tempfile::NamedTempFile::new().unwrap();
    file.as_file().set_len(len).unwrap();
    let script = "label: gpt\n\
        1 : start=2048, size=2048, type=EBD0A0A2-B9E5-4433-87C0-68B6B72699C7\n\
        5 : start=4096, size=2048, type=linux, uuid=11111111-2222-3333-4444-555555555555\n";
    let mut sfdisk = std::process::Command::new("sfdisk")
        .args(["--quiet", "--no-reread", "--no-tell-kernel"])
        .arg(file.path())
        .stdin(std::process::Stdio::piped())
        .spawn()
        .expect("sfdisk (package fdisk) makes the table");
    sfdisk.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
    assert!(sfdisk.wait().unwrap().success());
    std::fs::read(file.path()).unwrap()
}

/// What `sfdisk --verify` has to say against the table.
fn verify_by_sfdisk(image: &[u8]) -> String {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), image).unwrap();
    let output = std::process::Command::new("sfdisk")
        .env("LC_ALL", "C")
        .args(["--verify"])
        .arg(file.path())
        .output()
        .unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[test]
fn a_gpt_grows_keeps_its_numbers_and_satisfies_sfdisk() {
    let mut image = gpt_by_sfdisk(8 * MIB);
    let table = open(image.clone()).unwrap();
    assert_eq!((table.label(), table.disk_id()), (Label::Gpt, None));
    let root = table.partition(5).unwrap();
    assert_eq!((root.start_bytes, root.len_bytes, root.kind), (2 * MIB, MIB, Kind::Linux));
    assert_eq!(root.partuuid, "11111111-2222-3333-4444-555555555555");

    image.resize(16 << 20, 0);
    let device = Memory::new(image);
    set_partition_len(&device, 5, 13 * MIB).unwrap();
    assert!(matches!(set_partition_len(&device, 5, 14 * MIB), Err(Error::Length { .. })));
    assert!(matches!(write_disk_id(&device, 1), Err(Error::Unsupported(_))));
    assert_eq!(Table::open(&device).unwrap().partition(5).unwrap().len_bytes, 13 * MIB);
    // 128 entries of 128 bytes and the header.
    let end = usable_end(&device).unwrap();
    assert_eq!(end, 16 * MIB - 33 * 512);
    assert!(set_partition_len(&device, 5, end - 2 * MIB + 512).is_err());
    set_partition_len(&device, 5, end - 2 * MIB).unwrap();
    let verdict = verify_by_sfdisk(&device.into_bytes());
    assert!(verdict.contains("No errors detected"), "{verdict}");
    assert!(!verdict.contains("corrupt") && !verdict.contains("mismatch"), "{verdict}");
}

#[test]
fn a_gpt_gets_other_guids_where_it_has_partitions_and_an_mbr_none() {
    let device = Memory::new(gpt_by_sfdisk(8 * MIB));
    let (disk, root) = (Uuid::from_u128(0xd15c), Uuid::from_u128(0x1234_5678_9abc_def0_0000));
    assert!(matches!(write_guids(&device, disk, &[(2, root)]), Err(Error::NoPartition { number: 2, .. })));
    let before = Table::open(&device).unwrap();
    write_guids(&device, disk, &[(5, root)]).unwrap();
    let table = Table::open(&device).unwrap();
    assert_eq!(table.partition(5).unwrap().partuuid, root.to_string());
    assert_eq!(table.partition(1).unwrap(), before.partition(1).unwrap());
    let image = device.into_bytes();
    let verdict = verify_by_sfdisk(&image);
    assert!(verdict.contains("No errors detected"), "{verdict}");
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), &image).unwrap();
    let dump = std::process::Command::new("sfdisk").arg("--dump").arg(file.path()).output().unwrap().stdout;
    let dump = String::from_utf8(dump).unwrap().to_lowercase();
    assert!(dump.contains(&format!("label-id: {disk}")) && dump.contains(&format!("uuid={root}")), "{dump}");
    let mbr = Memory::new(sound_mbr());
    assert!(matches!(write_guids(&mbr, disk, &[]), Err(Error::Unsupported(_))));
}

#[test]
fn a_spoilt_gpt_is_refused_and_never_panics() {
    let sound = gpt_by_sfdisk(4 * MIB);
    assert!(open(sound.clone()).is_ok()); // the bytes below are the only faults
    for at in (512..604).chain(1024..1280) {
        let mut image = sound.clone();
        image[at] ^= 0x41;
        assert!(open(image).is_err(), "byte {at} was not missed");
    }
}

#[test]
fn a_header_that_asks_for_too_much_is_refused_though_its_checksum_is_right() {
    for (at, value) in [(80, u32::MAX), (84, 256), (80, 0)] {
        let mut image = gpt_by_sfdisk(4 * MIB);
        image[512 + at..512 + at + 4].copy_from_slice(&u32::to_le_bytes(value));
        image[512 + 16..512 + 20].fill(0);
        let mut crc = flate2::Crc::new();
        crc.update(&image[512..604]);
        image[512 + 16..512 + 20].copy_from_slice(&crc.sum().to_le_bytes());
        assert!(matches!(open(image), Err(Error::Unsupported(_))), "{value} at {at}");
    }
}
