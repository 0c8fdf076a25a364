//! What is refused, and by which name.

use super::support::{FILE, Image, SHAPES, Shape, path};
use crate::block::Memory;
use crate::image::ext4::{Error, Filesystem, Refusal};

fn refusal(bytes: Vec<u8>) -> Error {
    let device = Memory::new(bytes);
    match Filesystem::open(&device) {
        Ok(_) => panic!("it was let through"),
        Err(error) => error,
    }
}

#[test]
fn features_that_cannot_be_written_are_refused_by_name() {
    for (feature, name) in [
        ("bigalloc", "bigalloc"),
        ("meta_bg,^resize_inode", "meta_bg"),
        ("inline_data", "inline_data"),
        ("ea_inode", "ea_inode"),
        ("quota", "quota"),
        ("mmp", "mmp"),
        ("encrypt", "encrypt"),
        ("casefold", "casefold"),
        ("large_dir", "large_dir"),
    ] {
        let device = tempfile::NamedTempFile::new().unwrap();
        let output = std::process::Command::new("mke2fs")
            .args(["-q", "-t", "ext4", "-F", "-O", feature])
            .arg(device.path())
            .arg("16M")
            .output()
            .unwrap();
        assert!(output.status.success(), "{feature}: {output:?}");
        match refusal(std::fs::read(device.path()).unwrap()) {
            Error::Unsupported(names) => assert!(names.0.iter().any(|n| n == name), "{feature}: {names}"),
            error => panic!("{feature}: {error}"),
        }
    }
}

#[test]
fn a_filesystem_that_is_still_in_use_is_refused() {
    let plain = Shape("plain", &["-b1024", "-O^metadata_csum"], "16M");
    for (request, wanted) in [
        ("ssv state 0", Refusal::Unclean { state: 0 }),
        ("ssv state 3", Refusal::HasErrors { state: 3 }),
        ("ssv last_orphan 12", Refusal::Orphans),
        ("feature needs_recovery", Refusal::NeedsRecovery),
    ] {
        let image = Image::make(&plain);
        image.spoil(request);
        match refusal(image.bytes()) {
            Error::Refused(found) => assert_eq!(found, wanted),
            error => panic!("{request}: {error}"),
        }
    }
}

#[test]
fn a_flipped_bit_in_checksummed_metadata_is_corrupt() {
    let image = Image::make(&SHAPES[1]);
    // In the superblock (free inodes), and in the first group descriptor.
    for at in [1024 + 0x10, 4096 + 0x0c] {
        let mut bytes = image.bytes();
        bytes[at] ^= 1;
        assert!(matches!(refusal(bytes), Error::Corrupt(_)), "{at}");
    }
}

#[test]
fn a_filesystem_longer_than_its_device_is_corrupt() {
    let mut bytes = Image::make(&SHAPES[1]).bytes();
    bytes.truncate(bytes.len() - 4096);
    assert!(matches!(refusal(bytes), Error::Corrupt(_)));
}

#[test]
fn an_immutable_file_is_left_alone() {
    let image = Image::make(&SHAPES[3]);
    image.spoil("sif /etc/hostname flags 0x80010");
    image.edit(|fs| {
        let error = fs.write_file(&path("/etc/hostname"), b"x", FILE).unwrap_err();
        assert!(matches!(error, Error::Refused(Refusal::InodeFlag { flag: "immutable", .. })), "{error}");
        assert!(fs.remove(&path("/etc/hostname")).is_err());
    });
}
