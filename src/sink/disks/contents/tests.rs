use super::*;
use crate::block::Memory;

/// A device of 2 MiB with these bytes at these places.
fn device(parts: &[(usize, &[u8])]) -> Memory {
    let mut bytes = vec![0; 2 << 20];
    for (at, part) in parts {
        bytes[*at..*at + part.len()].copy_from_slice(part);
    }
    Memory::new(bytes)
}

/// What `probe` says, as it is shown.
fn told(parts: &[(usize, &[u8])]) -> String {
    probe(&device(parts)).unwrap().map(|found| found.to_string()).unwrap_or_default()
}

const BOOT: (usize, &[u8]) = (510, &[0x55, 0xaa]);
const RAID: [u8; 4] = 0xa92b_4efc_u32.to_le_bytes();

#[test]
fn filesystems_are_known_by_their_magic_and_shown_with_their_label() {
    for (parts, wanted) in [
        (&[(1080, &[0x53_u8, 0xef][..])][..], "ext2"),
        (&[(1080, &[0x53, 0xef]), (1024 + 0x5c, &[4])], "ext3"),
        (
            &[(1080, &[0x53, 0xef]), (1024 + 0x60, &[0x40]), (1024 + 0x78, b"sixteen letters!")],
            "sixteen letters! (ext4)",
        ),
        (&[BOOT, (54, b"FAT12   "), (43, b"FLOPPY     ")], "FLOPPY (FAT12)"),
        (&[BOOT, (54, b"FAT16   "), (43, b"NO NAME    ")], "FAT16"),
        (&[BOOT, (82, b"FAT32   "), (71, b"boot\x1bfs    ")], "boot?fs (FAT32)"),
        (&[BOOT, (3, b"EXFAT   ")], "exFAT"),
        (&[BOOT, (3, b"NTFS    ")], "NTFS"),
        (&[(3, b"NTFS    ")], ""),
        (&[(4086, b"SWAPSPACE2"), (1052, b"pages")], "pages (swap)"),
        (&[(65526, b"SWAPSPACE2")], "swap"),
        (&[(65600, b"_BHRfS_M"), (65536 + 0x12b, b"pool")], "pool (btrfs)"),
        (&[(0, b"XFSB"), (108, b"data")], "data (XFS)"),
        (&[(1024, &[0x10, 0x20, 0xf5, 0xf2])], "F2FS"),
        (&[(0, b"hsqs")], "squashfs"),
        (&[(32769, b"CD001"), (32808, b"Debian 13")], "Debian 13 (ISO 9660)"),
        (&[], ""),
    ] {
        assert_eq!(told(parts), wanted);
    }
}

#[test]
fn members_of_something_larger_are_known_before_the_filesystem_that_shines_through() {
    // The places of version 1.1, 1.2, 1.0 and 0.90 on a device of 2 MiB.
    for at in [0, 4096, (2 << 20) - 8192, (2 << 20) - 65536] {
        assert_eq!(told(&[(1080, &[0x53, 0xef]), (at, &RAID)]), "a Linux RAID", "{at}");
    }
    let lvm: (usize, &[u8]) = (24, b"LVM2 001");
    assert_eq!(told(&[(0, b"LABELONE"), lvm]), "an LVM volume group");
    assert_eq!(told(&[(1536, b"LABELONE"), (1536 + lvm.0, lvm.1)]), "an LVM volume group");
    assert_eq!(told(&[(2048, b"LABELONE"), (2048 + lvm.0, lvm.1)]), "");
    assert_eq!(told(&[(0, b"LUKS\xba\xbe")]), "LUKS encryption");
    // An uberblock of a machine with the other byte order.
    assert_eq!(told(&[((255 << 10), &0x00ba_b10c_u64.to_be_bytes())]), "a ZFS pool");
    assert_eq!(told(&[(256 << 10, &0x00ba_b10c_u64.to_be_bytes())]), "");
}

#[test]
fn a_device_of_any_length_is_looked_at_without_reaching_past_its_end() {
    for len in [0, 1, 511, 512, 1026, 1082, 4096, 8191, 65536, 69632, 131_072] {
        assert_eq!(probe(&Memory::new(vec![0; len])).unwrap(), None, "{len}");
        let _ = probe(&Memory::new(vec![0xff; len])).unwrap();
    }
    // A superblock that is cut off.
    let mut bytes = vec![0; 1082];
    bytes[1080..].copy_from_slice(&[0x53, 0xef]);
    assert_eq!(probe(&Memory::new(bytes)).unwrap(), None);
}

#[test]
fn without_a_table_that_we_read_the_partitions_of_the_kernel_are_shown() {
    let kernel = Partition {
        path: "/dev/sdb5".into(),
        number: 5,
        start_bytes: 1 << 20,
        len_bytes: 1 << 20,
        holds: None,
    };
    let past_end = Partition { number: 6, start_bytes: 9 << 20, ..kernel.clone() };
    let disk = device(&[((1 << 20), b"XFSB")]);
    let found = look(&disk, Path::new("/dev/sdb"), &[kernel, past_end]).unwrap();
    assert_eq!(found.to_string(), "XFS, partition 6");
}

#[test]
fn a_filesystem_on_the_whole_disk_is_no_empty_table() {
    let disk = device(&[BOOT, (82, b"FAT32   "), (71, b"STICK      ")]);
    let found = look(&disk, Path::new("/dev/sdb"), &[]).unwrap();
    assert_eq!(found.to_string(), "STICK (FAT32)");
    let found = look(&device(&[]), Path::new("/dev/sdb"), &[]).unwrap();
    assert_eq!(found.to_string(), "nothing known");
}

#[test]
fn partitions_are_called_as_the_kernel_calls_them() {
    for (disk, partition) in
        [("/dev/sdb", "/dev/sdb2"), ("/dev/mmcblk0", "/dev/mmcblk0p2"), ("/dev/loop3", "/dev/loop3p2")]
    {
        assert_eq!(partition_path(Path::new(disk), 2), Path::new(partition));
    }
}
