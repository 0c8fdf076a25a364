//! The sample is of a machine with a system disk (0), a data disk that is also swapped to (1), a card with a Raspberry Pi
//! OS (2), one without partitions (3), an empty reader (4), a file as a disk (5), and a write-protected card in a slot (6).

use super::*;

const TOLD: &str = include_str!("samples/told.json");

fn told(number: u32) -> Disk {
    disks(TOLD).unwrap().into_iter().find(|disk| disk.number == (0, number)).unwrap()
}

fn obstacles(number: u32) -> Vec<String> {
    told(number).obstacles(false).iter().map(Obstacle::to_string).collect()
}

#[test]
fn a_card_without_partitions_is_free() {
    let card = told(3);
    assert_eq!(card.obstacles(false), []);
    assert_eq!((card.block_len, card.len_bytes), (Some(512), 15_931_539_456));
    assert_eq!(
        card.to_string(),
        r"\\.\PhysicalDrive3: Generic STORAGE DEVICE, serial 000000001207, 14.8 GiB, removable, usb; holds: nothing known"
    );
    let numbers: Vec<u32> = disks(TOLD).unwrap().iter().map(|disk| disk.number.1).collect();
    assert_eq!(numbers, [0, 1, 2, 3, 4, 5, 6]);
}

#[test]
fn a_card_with_volumes_is_refused_with_the_command_that_empties_it() {
    let advice = "`Clear-Disk -Number 2 -RemoveData`, as an administrator, erases all of it, and then it can be flashed";
    assert_eq!(
        obstacles(2),
        [
            format!(r"\\.\PhysicalDrive2 partition 1 is mounted on E:\; {advice}"),
            format!(
                r"\\.\PhysicalDrive2 partition 2 is mounted on no letter, which Windows mounts all the same; {advice}"
            ),
        ]
    );
    assert_eq!(told(2).contents.to_string(), "MBR, bootfs (FAT32), partition 2");
}

#[test]
fn the_disk_that_windows_runs_from_is_refused_without_advice() {
    assert_eq!(obstacles(0), [r"the running system is on it: C:\"]);
}

#[test]
fn a_disk_that_does_not_say_whether_it_is_the_systems_is_taken_for_that() {
    let told = TOLD.replace(r#""IsBoot":false"#, r#""IsBoot":null"#);
    let card = disks(&told).unwrap().into_iter().find(|disk| disk.number == (0, 3)).unwrap();
    assert_eq!(card.obstacles(true), [Obstacle::System { mounts: Vec::new() }]);
}

#[test]
fn a_fixed_disk_in_use_is_refused_for_every_reason_and_nobody_is_told_to_erase_it() {
    assert_eq!(
        obstacles(1),
        [
            r"\\.\PhysicalDrive1 partition 2 is in use as swap",
            r"\\.\PhysicalDrive1 partition 2 is mounted on D:\, C:\mnt\data\",
            "it is a fixed disk (sata), which only --allow-fixed-disk takes",
        ]
    );
}

#[test]
fn empty_readers_virtual_disks_and_write_protected_cards_are_refused() {
    assert_eq!(told(4).obstacles(false), [Obstacle::NoMedium]);
    let dynamic =
        Obstacle::Member { device: r"\\.\PhysicalDrive5 partition 1".into(), kind: Kind::DynamicDisk };
    assert_eq!(told(5).obstacles(false), [dynamic, Obstacle::Fixed(Transport::Loop)]);
    assert_eq!(told(6).obstacles(false), [Obstacle::ReadOnly]);
    assert_eq!(told(6).transport, Transport::Mmc);
}

#[test]
fn numbers_that_powershell_did_not_name_are_understood() {
    let told = TOLD.replace(r#""BusType":"USB""#, r#""BusType":"7""#);
    assert_eq!(disks(&told).unwrap(), disks(TOLD).unwrap());
}

#[test]
fn what_is_no_answer_is_an_error() {
    for (text, what) in [
        ("", "EOF while parsing"),
        ("Get-Disk : Access denied", "expected value"),
        (r#"{"Disks":[]}"#, "missing field"),
        (
            r#"{"Disks":[],"Drives":[],"Partitions":[],"Volumes":[],"PageFiles":[]}"#,
            "names no disk that Windows runs from",
        ),
    ] {
        let error = disks(text).unwrap_err().to_string();
        assert!(error.starts_with("cannot list disks: `powershell` is not understood: "), "{error}");
        assert!(error.contains(what), "{text}: {error}");
    }
}

#[test]
fn a_drive_is_found_however_its_name_is_written() {
    for name in [r"\\.\PhysicalDrive3", r"\\.\PHYSICALDRIVE3", "//./PhysicalDrive3"] {
        assert_eq!(number(name), Some(3), "{name}");
    }
    for name in [r"\\.\PhysicalDrive", r"\\.\PhysicalDrive+3", r"\\.\PhysicalDrive3\x", r"\\.\E:", "E:", ""] {
        assert_eq!(number(name), None, "{name}");
    }
}

#[test]
fn the_script_has_nothing_that_a_command_line_would_change() {
    assert!(!SCRIPT.contains(['"', '\n', '%', '^']), "{SCRIPT}");
}
