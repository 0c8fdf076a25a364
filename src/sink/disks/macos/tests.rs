//! The samples are of a Mac with a system disk (0, container 3), a card in its slot (4), a disk image (5), an unmounted
//! card on USB (6), and a backup disk on USB (7, container 8); put together after answers that people have published.

use super::*;

const LIST: &str = include_str!("samples/list.plist");

fn infos() -> Vec<(String, String)> {
    [
        ("disk0", include_str!("samples/disk0.plist")),
        ("disk3", include_str!("samples/disk3.plist")),
        ("disk4", include_str!("samples/disk4.plist")),
        ("disk5", include_str!("samples/disk5.plist")),
        ("disk6", include_str!("samples/disk6.plist")),
        ("disk7", include_str!("samples/disk7.plist")),
        ("disk8", include_str!("samples/disk8.plist")),
    ]
    .map(|(name, info)| (name.to_owned(), info.to_owned()))
    .to_vec()
}

fn mac() -> Vec<Disk> {
    disks(LIST, &infos()).unwrap()
}

fn told(name: &str) -> Disk {
    pick(mac(), name).unwrap()
}

fn obstacles(name: &str) -> Vec<String> {
    told(name).obstacles(false).iter().map(Obstacle::to_string).collect()
}

#[test]
fn all_disks_of_the_list_are_asked_for_and_told_in_their_order() {
    let names = names(LIST).unwrap();
    assert_eq!(names, ["disk0", "disk3", "disk4", "disk5", "disk6", "disk7", "disk8"]);
    let mut infos = infos();
    infos.reverse();
    let told: Vec<String> = disks(LIST, &infos).unwrap().into_iter().map(|disk| disk.name).collect();
    assert_eq!(told, names);
}

#[test]
fn a_card_on_usb_that_is_not_mounted_is_free() {
    let card = told("disk6");
    assert_eq!(card.obstacles(false), []);
    assert_eq!((card.block_len, card.len_bytes), (Some(512), 15_931_539_456));
    assert_eq!(
        card.to_string(),
        "/dev/disk6: Generic STORAGE DEVICE, 14.8 GiB, removable, usb; holds: MBR, boot & more (FAT32), partition 2"
    );
}

#[test]
fn a_mounted_card_is_refused_with_the_command_that_unmounts_it() {
    let advice = "`diskutil unmountDisk /dev/disk4` unmounts all of it";
    assert_eq!(obstacles("disk4"), [format!("/dev/disk4s1 is mounted on /Volumes/bootfs; {advice}")]);
    assert!(told("disk4").is_card_like());
}

#[test]
fn the_disk_below_the_container_that_the_system_runs_from_is_the_systems() {
    assert_eq!(
        obstacles("disk0"),
        ["the running system is on it: /, /System/Volumes/Preboot, /System/Volumes/Data, /System/Volumes/VM"]
    );
    // Nor is that a disk to be written to.
    let container = obstacles("disk3");
    assert_eq!(container[0], "it is an APFS container, wanted a whole disk; its disk is /dev/disk0");
}

#[test]
fn a_disk_on_usb_is_mounted_when_a_container_on_it_is() {
    let advice = "`diskutil unmountDisk /dev/disk7` unmounts all of it";
    assert_eq!(obstacles("disk7"), [format!("/dev/disk8s1 is mounted on /Volumes/Backup; {advice}")]);
}

#[test]
fn a_disk_image_that_is_attached_is_no_card() {
    let image = told("disk5");
    assert!(!image.is_card_like());
    assert!(image.obstacles(true).contains(&Obstacle::ReadOnly));
    assert!(image.obstacles(false).contains(&Obstacle::Fixed(Transport::Loop)));
}

#[test]
fn parts_are_told_with_the_disk_they_are_of_and_raw_nodes_are_the_disk() {
    assert_eq!(obstacles("disk6s2"), ["it is a partition, wanted a whole disk; its disk is /dev/disk6"]);
    assert_eq!(obstacles("disk3s1s1"), ["it is an APFS volume, wanted a whole disk; its disk is /dev/disk3"]);
    assert_eq!(told("rdisk6"), told("disk6"));
    assert_eq!(pick(mac(), "disk66"), None);
    assert_eq!(pick(mac(), "tty"), None);
}

#[test]
fn a_disk_that_says_nothing_of_itself_is_no_card() {
    let mut infos = infos();
    infos[4].1 = r#"<plist version="1.0"><dict><key>Size</key><integer>15931539456</integer></dict></plist>"#
        .to_owned();
    let disk = pick(disks(LIST, &infos).unwrap(), "disk6").unwrap();
    assert_eq!(disk.obstacles(false), [Obstacle::Fixed(Transport::Other)]);
}

#[test]
fn members_of_larger_things_are_refused() {
    let list = LIST.replace("<string>Linux</string>", "<string>Linux_LVM</string>");
    let disk = pick(disks(&list, &infos()).unwrap(), "disk6").unwrap();
    assert_eq!(disk.obstacles(true), [Obstacle::Member { device: "/dev/disk6s2".into(), kind: Kind::Lvm }]);
}

#[test]
fn nothing_is_told_when_it_is_not_known_which_disk_is_the_systems() {
    let list =
        LIST.replace("<string>/</string>", "<string>/elsewhere</string>").replace("/System/", "/Other/");
    let error = disks(&list, &infos()).unwrap_err().to_string();
    assert!(error.ends_with("is not understood (diskutil list): no disk has `/`"), "{error}");
}

#[test]
fn what_is_no_property_list_is_an_error() {
    let deep = format!("<plist>{}{}</plist>", "<array>".repeat(40), "</array>".repeat(40));
    for (text, what) in [
        ("", "the document does not have a root node"),
        ("{}", "unknown token at 1:1"),
        ("<html><body/></html>", "found another document, wanted a property list"),
        ("<plist/>", "found another document, wanted a property list"),
        ("<plist><dict><string>a</string><true/></dict></plist>", "found `string`, wanted `key`"),
        ("<plist><dict/></plist>", "missing field `AllDisksAndPartitions`"),
        (&deep, "found more than 16 levels"),
    ] {
        let error = names(text).unwrap_err().to_string();
        assert!(error.contains(what), "{text:.50}: {error}");
    }
}
