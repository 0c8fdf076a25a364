//! Machines made by hand: the folders that the kernel would show, with the devices' bytes as files in `dev`.

use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::*;
use crate::block::host;
use crate::sink::disks::{Kind, Transport};

/// A way that leads to a card reader on USB.
const USB: &str = "pci0000:00/0000:00:14.0/usb1/1-2/1-2:1.0/host6/target6:0:0/6:0:0:0/block";
/// And to a disk on SATA.
const SATA: &str = "pci0000:00/0000:00:17.0/ata1/host0/target0:0:0/0:0:0:0/block";
const NVME: &str = "pci0000:00/0000:00:1d.0/0000:02:00.0/nvme/nvme0";
const MMC: &str = "platform/soc/3f300000.mmc/mmc_host/mmc0/mmc0:0001/block";
const VIRTUAL: &str = "virtual/block";
/// A root that stands on nothing of ours.
const NFS_ROOT: &str = "20 1 0:20 / / rw - nfs server:/root rw\n";

struct Machine {
    folder: TempDir,
    linux: Linux,
}

impl Machine {
    /// Devices, one a line: name, number, the way to it, length in MiB, then attributes; `slaves=` are what it is made of.
    /// The way of a partition is that of its disk and the disk.
    fn new(devices: &[&str], mountinfo: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let linux = Linux { sys: at("sys"), proc: at("proc"), dev: at("dev") };
        for dir in ["sys/class/block", "proc/self", "dev/mapper"] {
            fs::create_dir_all(at(dir)).unwrap();
        }
        fs::write(at("proc/self/mountinfo"), mountinfo).unwrap();
        let machine = Self { folder, linux };
        for device in devices {
            machine.add(device);
        }
        machine
    }

    fn add(&self, device: &str) {
        let words: Vec<&str> = device.split_whitespace().collect();
        let [name, number, way, mib, attributes @ ..] = words.as_slice() else { panic!("{device}") };
        let dir = self.linux.sys.join("devices").join(way).join(name);
        fs::create_dir_all(dir.join("holders")).unwrap();
        fs::create_dir_all(dir.join("slaves")).unwrap();
        symlink(&dir, self.linux.sys.join("class/block").join(name)).unwrap();
        let mib: u64 = mib.parse().unwrap();
        self.attribute(name, "dev", number);
        self.attribute(name, "size", &(mib * 2048).to_string());
        for attribute in attributes {
            let (key, value) = attribute.split_once('=').unwrap();
            match key {
                "slaves" => value.split(',').for_each(|slave| {
                    fs::write(dir.join("slaves").join(slave), "").unwrap();
                    fs::write(self.linux.sys.join("class/block").join(slave).join("holders").join(name), "")
                        .unwrap();
                }),
                _ => self.attribute(name, key, &value.replace('_', " ")),
            }
        }
        let node = self.linux.path_of(name);
        fs::create_dir_all(node.parent().unwrap()).unwrap();
        fs::File::create(node).unwrap().set_len(mib << 20).unwrap();
    }

    fn attribute(&self, name: &str, key: &str, value: &str) {
        let path = self.linux.sys.join("class/block").join(name).join(key);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, format!("{value}\n")).unwrap();
    }

    fn swaps(self, lines: &str) -> Self {
        fs::write(
            self.folder.path().join("proc/swaps"),
            format!("Filename Type Size Used Priority\n{lines}"),
        )
        .unwrap();
        self
    }

    fn link(self, name: &str, to: &str) -> Self {
        symlink(to, self.linux.dev.join(name)).unwrap();
        self
    }

    /// Bytes of a device.
    fn write(self, name: &str, at: u64, bytes: &[u8]) -> Self {
        let file = fs::OpenOptions::new().write(true).open(self.linux.path_of(name)).unwrap();
        host::write_all_at(&file, bytes, at).unwrap();
        self
    }

    fn list(&self) -> Vec<Disk> {
        self.linux.list(true).unwrap()
    }

    fn names(&self) -> Vec<String> {
        self.list().into_iter().map(|disk| disk.name).collect()
    }

    /// Any device, by its name in sysfs.
    fn device(&self, name: &str) -> Disk {
        let stack = Stack::read(&self.linux).unwrap();
        let node = stack.nodes().find(|node| node.name == name).unwrap_or_else(|| panic!("no {name}"));
        self.linux.disk(&stack, node, self.linux.path_of(name), true)
    }

    /// What is in the way, `/dev` written as on a real machine.
    fn obstacles(&self, name: &str) -> Vec<String> {
        let dev = self.linux.dev.to_str().unwrap().to_owned();
        self.device(name).obstacles(false).iter().map(|told| told.to_string().replace(&dev, "/dev")).collect()
    }

    fn candidates(&self) -> Vec<String> {
        self.list().into_iter().filter(Disk::is_candidate).map(|disk| disk.name).collect()
    }
}

fn usb_disk(name: &str, number: &str) -> String {
    format!("{name} {number} {USB} 64 removable=1")
}

#[test]
fn of_a_reader_with_two_slots_the_one_with_a_card_is_a_candidate() {
    let slot = |lun: u8| USB.replace("6:0:0:0", &format!("6:0:0:{lun}"));
    let machine = Machine::new(
        &[
            &format!(
                "sdb 8:16 {} 64 removable=1 diskseq=7 device/vendor=Generic device/model=SD/MMC",
                slot(0)
            ),
            &format!("sdb1 8:17 {}/sdb 16 partition=1 start=2048", slot(0)),
            &format!("sdc 8:32 {} 0 removable=1 device/vendor=Generic device/model=MicroSD", slot(1)),
        ],
        NFS_ROOT,
    );
    let reader = machine.linux.sys.join("devices/pci0000:00/0000:00:14.0/usb1/1-2");
    fs::write(reader.join("idVendor"), "058f\n").unwrap();
    fs::write(reader.join("serial"), "058F63666485\n").unwrap();

    assert_eq!(machine.names(), ["sdb", "sdc"]);
    assert_eq!(machine.candidates(), ["sdb"]);
    assert_eq!(machine.obstacles("sdc"), ["there is no medium in it"]);
    let card = machine.device("sdb");
    let told = card.to_string().replace(machine.linux.dev.to_str().unwrap(), "/dev");
    assert_eq!(
        told,
        "/dev/sdb: Generic SD/MMC, serial 058F63666485, 64 MiB, removable, usb; holds: partition 1"
    );
    assert_eq!((card.len_bytes, card.number, card.sequence), (64 << 20, (8, 16), Some(7)));
    assert_eq!(card.transport, Transport::Usb);
    let empty = machine.device("sdc").to_string();
    assert!(
        empty.ends_with("/dev/sdc: Generic MicroSD, serial 058F63666485, removable, usb; empty"),
        "{empty}"
    );
}

#[test]
fn the_disk_of_a_raspberry_pi_is_refused_on_that_pi() {
    let machine = Machine::new(
        &[
            &format!("mmcblk0 179:0 {MMC} 64 device/type=SD device/name=SC32G device/serial=0x1a2b3c4d"),
            &format!("mmcblk0p1 179:1 {MMC}/mmcblk0 16 partition=1 start=8192"),
            &format!("mmcblk0p2 179:2 {MMC}/mmcblk0 40 partition=2 start=40960"),
        ],
        "22 1 179:2 / / rw,noatime shared:1 - ext4 /dev/root rw\n\
         30 22 179:1 / /boot/firmware rw - vfat /dev/mmcblk0p1 rw\n\
         31 22 179:2 /home /srv/home rw - ext4 /dev/root rw\n",
    );
    assert_eq!(
        machine.obstacles("mmcblk0"),
        ["the running system is on it: /, /boot/firmware", "/dev/mmcblk0p2 is mounted on /srv/home"]
    );
    let disk = machine.device("mmcblk0");
    assert_eq!((disk.model.as_str(), disk.serial.as_str()), ("SC32G", "0x1a2b3c4d"));
    assert_eq!(disk.mounts.len(), 3);
}

#[test]
fn a_card_in_a_slot_is_a_candidate_although_it_says_that_it_cannot_be_taken_out() {
    let machine = Machine::new(&[&format!("mmcblk0 179:0 {MMC} 64 removable=0 device/type=SD")], NFS_ROOT);
    assert_eq!(machine.candidates(), ["mmcblk0"]);
}

#[test]
fn a_soldered_emmc_is_a_fixed_disk_and_its_boot_areas_are_parts_of_it() {
    let machine = Machine::new(
        &[
            &format!("mmcblk0 179:0 {MMC} 64 device/type=MMC device/name=DG4016"),
            &format!("mmcblk0boot0 179:8 {MMC}/mmcblk0 4 ro=1"),
            &format!("mmcblk0boot1 179:16 {MMC}/mmcblk0 4 ro=1"),
            &format!("mmcblk0rpmb 179:24 {MMC}/mmcblk0 4"),
        ],
        NFS_ROOT,
    );
    assert_eq!(machine.names(), ["mmcblk0"]);
    assert_eq!(
        machine.obstacles("mmcblk0"),
        ["it is a fixed disk (emmc), which only --allow-fixed-disk takes"]
    );
    assert_eq!(machine.device("mmcblk0").obstacles(true), []);
    let boot = machine.obstacles("mmcblk0boot0");
    assert!(boot[0].ends_with("wanted a whole disk; its disk is /dev/mmcblk0"), "{boot:?}");
}

#[test]
fn a_disk_under_encryption_and_lvm_is_known_to_hold_the_running_system() {
    let machine = Machine::new(
        &[
            &format!("nvme0n1 259:0 {NVME} 64 device/model=Samsung_SSD device/serial=S4EV"),
            &format!("nvme0n1p1 259:1 {NVME}/nvme0n1 8 partition=1"),
            &format!("nvme0n1p3 259:3 {NVME}/nvme0n1 40 partition=3 start=20480"),
            &format!("dm-0 253:0 {VIRTUAL} 40 slaves=nvme0n1p3 dm/name=cryptroot dm/uuid=CRYPT-LUKS2-aa"),
            &format!("dm-1 253:1 {VIRTUAL} 20 slaves=dm-0 dm/name=vg-root dm/uuid=LVM-bb"),
            &format!("dm-2 253:2 {VIRTUAL} 4 slaves=dm-0 dm/name=vg-swap dm/uuid=LVM-cc"),
        ],
        "22 1 253:1 / / rw - ext4 /dev/mapper/vg-root rw\n23 22 259:1 / /boot/efi rw - vfat /dev/nvme0n1p1 rw\n",
    )
    .link("mapper/vg-swap", "../dm-2")
    .swaps("/dev/mapper/vg-swap partition 4194300 0 -2\n");
    assert_eq!(machine.names(), ["nvme0n1"]);
    assert_eq!(
        machine.obstacles("nvme0n1"),
        [
            "the running system is on it: /, /boot/efi",
            "/dev/nvme0n1p3 is in use by /dev/dm-0 (encrypted volume cryptroot)"
        ]
    );
    // Whoever names the volume is told the disk, through both layers.
    assert_eq!(
        machine.obstacles("dm-2"),
        [
            "it is LVM volume vg-swap, wanted a whole disk; its disk is /dev/nvme0n1",
            "/dev/dm-2 is in use as swap"
        ]
    );
    assert_eq!(machine.device("nvme0n1").serial, "S4EV");
}

#[test]
fn a_partition_is_refused_and_its_disk_named() {
    let machine = Machine::new(
        &[&usb_disk("sdb", "8:16"), &format!("sdb1 8:17 {USB}/sdb 16 partition=1 start=2048")],
        NFS_ROOT,
    );
    assert_eq!(
        machine.obstacles("sdb1"),
        ["it is partition 1 of a disk, wanted a whole disk; its disk is /dev/sdb"]
    );
}

#[test]
fn a_mounted_partition_forbids_its_disk() {
    let machine = Machine::new(
        &[&usb_disk("sdb", "8:16"), &format!("sdb1 8:17 {USB}/sdb 16 partition=1 start=2048")],
        &format!("{NFS_ROOT}40 20 8:17 / /media/ann/my\\040card\\011x rw - vfat /dev/sdb1 rw\n"),
    );
    assert_eq!(machine.obstacles("sdb"), ["/dev/sdb1 is mounted on /media/ann/my card?x"]);
}

#[test]
fn a_filesystem_that_hides_its_device_is_found_by_what_it_names() {
    for line in [
        "40 20 0:44 / /media/ntfs rw - fuseblk /dev/sdb1 rw",
        "40 20 0:45 / /media/b rw - bcachefs /dev/sda:/dev/sdb1 rw",
        "40 20 0:46 /@home /home rw - btrfs /dev/disk/by-label/home rw",
    ] {
        let machine = Machine::new(
            &[&usb_disk("sdb", "8:16"), &format!("sdb1 8:17 {USB}/sdb 16 partition=1 start=2048")],
            &format!("{NFS_ROOT}{line}\n"),
        );
        fs::create_dir_all(machine.linux.dev.join("disk/by-label")).unwrap();
        let machine = machine.link("disk/by-label/home", "../../sdb1");
        assert_eq!(machine.candidates(), [""; 0], "{line}");
        assert!(machine.obstacles("sdb")[0].starts_with("/dev/sdb1 is mounted on /"), "{line}");
    }
}

#[test]
fn every_device_of_a_mounted_btrfs_is_in_use_and_not_only_the_one_the_mount_names() {
    let devices = [&usb_disk("sdb", "8:16")[..], &usb_disk("sdc", "8:32"), &usb_disk("sdd", "8:48")];
    let machine = Machine::new(&devices, "22 1 0:33 /@ / rw - btrfs /dev/sdb rw\n");
    let group = machine.linux.sys.join("fs/btrfs/6a7c/devices");
    fs::create_dir_all(&group).unwrap();
    fs::write(group.join("sdb"), "").unwrap();
    fs::write(group.join("sdc"), "").unwrap();
    assert_eq!(machine.obstacles("sdc"), ["the running system is on it: /"]);
    assert_eq!(machine.candidates(), ["sdd"]);

    // Mounted where we do not see it.
    fs::write(machine.linux.proc.join("self/mountinfo"), NFS_ROOT).unwrap();
    assert_eq!(machine.obstacles("sdc"), ["/dev/sdc is mounted on a place not seen from here (btrfs)"]);
}

#[test]
fn a_live_system_stands_on_the_stick_behind_its_overlay_and_its_loop_device() {
    let machine = Machine::new(
        &[
            &usb_disk("sdb", "8:16"),
            &format!("sdb1 8:17 {USB}/sdb 16 partition=1 start=2048"),
            &format!("loop0 7:0 {VIRTUAL} 8 loop/backing_file=/run/live/medium/live/filesystem.squashfs"),
        ],
        "22 1 0:30 / / rw - overlay overlay rw,lowerdir=/run/live/rootfs/,upperdir=/run/live/overlay/rw\n\
         23 22 8:17 / /run/live/medium ro - iso9660 /dev/sdb1 ro\n\
         24 22 7:0 / /run/live/rootfs ro - squashfs /dev/loop0 ro\n\
         25 22 0:31 / /run/live/overlay rw - tmpfs tmpfs rw\n",
    );
    assert_eq!(
        machine.obstacles("sdb"),
        ["the running system is on it: /", "/dev/sdb1 is mounted on /run/live/medium"]
    );
    assert!(machine.obstacles("loop0").contains(&"the running system is on it: /".to_owned()));
    assert_eq!(machine.device("loop0").model, "file /run/live/medium/live/filesystem.squashfs");
}

#[test]
fn a_running_raid_is_in_use_and_a_stopped_one_is_still_a_raid() {
    let disk = format!("sda 8:0 {SATA} 64 removable=0");
    let other = usb_disk("sdb", "8:16");
    let raid = format!("md0 9:0 {VIRTUAL} 60 slaves=sda,sdb md/level=raid1");
    let machine = Machine::new(&[&disk, &other, &raid], NFS_ROOT);
    assert_eq!(machine.names(), ["sda", "sdb"]);
    assert_eq!(machine.obstacles("sdb"), ["/dev/sdb is in use by /dev/md0 (RAID, raid1)"]);
    assert_eq!(
        machine.obstacles("md0"),
        ["it is RAID, raid1, wanted a whole disk; its disks are /dev/sda, /dev/sdb"]
    );
    // The same disk and nothing running: version 1.2 has its superblock at 4 KiB.
    let stopped = Machine::new(&[&other], NFS_ROOT).write("sdb", 4096, &0xa92b_4efc_u32.to_le_bytes());
    assert_eq!(
        stopped.obstacles("sdb"),
        [
            "/dev/sdb belongs to a Linux RAID; if that is not needed any more, `wipefs --all /dev/sdb` frees it"
        ]
    );
}

#[test]
fn members_of_lvm_zfs_and_encryption_are_refused_although_nothing_runs() {
    // (at, bytes): LVM's label in sector 1, a ZFS uberblock, a LUKS header.
    let lvm = [b"LABELONE".as_slice(), &[0; 16], b"LVM2 001"].concat();
    for (at, bytes, kind) in [
        (512, lvm.as_slice(), Kind::Lvm),
        ((128 << 10) + 4096, &0x00ba_b10c_u64.to_le_bytes(), Kind::Zfs),
        (0, b"LUKS\xba\xbe\x00\x02", Kind::Luks),
    ] {
        let device = "sdb1".to_owned();
        let machine = Machine::new(
            &[&usb_disk("sdb", "8:16"), &format!("sdb1 8:17 {USB}/sdb 16 partition=1 start=2048")],
            NFS_ROOT,
        )
        .write("sdb", (1 << 20) + at, bytes);
        let found = machine.device("sdb").obstacles(false);
        assert_eq!(found, [Obstacle::Member { device: machine.linux.dev.join(device), kind }]);
    }
}

#[test]
fn a_volume_that_runs_is_told_once() {
    let machine = Machine::new(
        &[
            &usb_disk("sdb", "8:16"),
            &format!("dm-0 253:0 {VIRTUAL} 40 slaves=sdb dm/name=luks-stick dm/uuid=CRYPT-LUKS2-aa"),
        ],
        NFS_ROOT,
    )
    .write("sdb", 0, b"LUKS\xba\xbe\x00\x02");
    assert_eq!(machine.obstacles("sdb"), ["/dev/sdb is in use by /dev/dm-0 (encrypted volume luks-stick)"]);
}

#[test]
fn a_partition_that_is_swapped_to_forbids_its_disk() {
    let devices = [&usb_disk("sdb", "8:16")[..], &format!("sdb2 8:18 {USB}/sdb 16 partition=2 start=2048")];
    let machine = Machine::new(&devices, NFS_ROOT)
        .swaps("/dev/sdb2\tpartition\t16380\t0\t-2\n/swap\\040file file 1 0 -3\n");
    assert_eq!(machine.obstacles("sdb"), ["/dev/sdb2 is in use as swap"]);
    assert_eq!(Machine::new(&devices, NFS_ROOT).candidates(), ["sdb"]);
}

#[test]
fn what_a_loop_device_shows_is_in_use() {
    let machine = Machine::new(
        &[
            &usb_disk("sdb", "8:16"),
            &format!("loop3 7:3 {VIRTUAL} 64 loop/backing_file=/dev/sdb"),
            &format!("loop4 7:4 {VIRTUAL} 64 loop/backing_file=/tmp/card.img_(deleted)"),
            &format!("loop5 7:5 {VIRTUAL} 0"),
        ],
        NFS_ROOT,
    );
    assert_eq!(machine.obstacles("sdb"), ["/dev/sdb is in use by /dev/loop3 (loop device)"]);
    assert_eq!(machine.names(), ["sdb", "loop3", "loop4"]);
    assert_eq!(machine.device("loop4").model, "file /tmp/card.img");
    let fixed = "it is a fixed disk (loop), which only --allow-fixed-disk takes";
    assert_eq!(machine.obstacles("loop4"), [fixed]);
}

#[test]
fn a_write_protected_card_is_refused() {
    let machine = Machine::new(&[&format!("sdb 8:16 {USB} 64 removable=1 ro=1")], NFS_ROOT);
    assert_eq!(machine.device("sdb").obstacles(false), [Obstacle::ReadOnly]);
}

#[test]
fn a_card_that_is_too_small_is_told_with_both_lengths() {
    let card = Machine::new(&[&usb_disk("sdb", "8:16")], NFS_ROOT).device("sdb");
    assert_eq!(card.too_small(64 << 20), None);
    assert_eq!(
        card.too_small((64 << 20) + 1),
        Some(Obstacle::TooSmall { len_bytes: 64 << 20, needed_bytes: (64 << 20) + 1 })
    );
}

#[test]
fn drives_and_memory_are_no_disks_to_flash() {
    let machine = Machine::new(
        &[
            &format!("sr0 11:0 {SATA} 700 removable=1 device/type=5"),
            &format!("fd0 2:0 {VIRTUAL} 1 removable=1"),
            &format!("zram0 252:0 {VIRTUAL} 8"),
            &format!("ram0 1:0 {VIRTUAL} 8"),
            &format!("nbd0 43:0 {VIRTUAL} 0"),
        ],
        NFS_ROOT,
    );
    assert_eq!(machine.names(), ["fd0", "sr0"]);
    assert_eq!(machine.obstacles("sr0"), ["it is an optical drive"]);
    assert_eq!(machine.obstacles("fd0"), ["it is a floppy drive"]);
    assert_eq!(machine.obstacles("zram0"), ["it is memory of this machine"]);
}

#[test]
fn names_models_and_serial_numbers_come_from_where_each_kind_of_disk_keeps_them() {
    let machine = Machine::new(
        &[
            &format!("sda 8:0 {SATA} 64 device/vendor=ATA device/model=WDC_WD40EFRX"),
            "vda 254:0 pci0000:00/virtio1/block 64 serial=disk0 device/vendor=0x1af4",
            "cciss!c0d0 104:0 pci0000:00/block 64",
        ],
        NFS_ROOT,
    );
    let page = machine.linux.sys.join("class/block/sda/device/vpd_pg80");
    fs::write(page, b"\x00\x80\x00\x0f   WD-WCC4E1234567\x00junk").unwrap();
    let told = |name| {
        let disk = machine.device(name);
        (disk.model, disk.serial, disk.transport)
    };
    assert_eq!(told("sda"), ("WDC WD40EFRX".into(), "WD-WCC4E1234567".into(), Transport::Sata));
    assert_eq!(told("vda"), ("virtual disk".into(), "disk0".into(), Transport::Virtio));
    assert_eq!(machine.device("cciss!c0d0").path, machine.linux.dev.join("cciss/c0d0"));
}

#[test]
fn what_cannot_be_read_is_no_reason_to_believe_that_nothing_is_in_use() {
    let card = usb_disk("sdb", "8:16");
    let machine = Machine::new(&[&card], &format!("{NFS_ROOT}40 20 8:16 /\n"));
    let error = machine.linux.list(false).unwrap_err();
    assert!(matches!(&error, Error::Malformed { line, .. } if line == "40 20 8:16 /"), "{error:?}");

    fs::remove_file(machine.linux.proc.join("self/mountinfo")).unwrap();
    assert!(matches!(machine.linux.list(false), Err(Error::Io { action: "read", .. })));

    // A directory in place of the swaps is an error, none at all is a kernel without swap.
    let machine = Machine::new(&[&card], NFS_ROOT);
    assert_eq!(machine.candidates(), ["sdb"]);
    fs::create_dir(machine.linux.proc.join("swaps")).unwrap();
    assert!(matches!(machine.linux.list(false), Err(Error::Io { .. })));

    fs::remove_dir_all(machine.linux.sys.join("class")).unwrap();
    assert!(matches!(machine.linux.list(false), Err(Error::Io { .. })));
}

#[test]
fn a_hostile_sysfs_neither_hangs_nor_breaks_the_list() {
    let machine = Machine::new(
        &[
            &usb_disk("sdb", "8:16"),
            &format!("dm-0 253:0 {VIRTUAL} 40 dm/name=a"),
            // Each made of the other.
            &format!("dm-1 253:1 {VIRTUAL} 40 slaves=dm-0"),
            &format!("loop0 7:0 {VIRTUAL} 40 loop/backing_file=/dev/loop1"),
            &format!("loop1 7:1 {VIRTUAL} 40 loop/backing_file=/dev/loop0"),
            &format!("sdx 8:99999999999 {SATA} 1"),
            &format!("sdy nonsense {SATA} 1"),
        ],
        "22 1 253:1 / / rw - ext4 /dev/dm-1 rw\n23 1 0:9 / /usr rw - overlay o rw,lowerdir=/usr/x:/\n",
    );
    let class = machine.linux.sys.join("class/block");
    fs::write(class.join("dm-0/slaves/dm-1"), "").unwrap();
    fs::write(class.join("sdb/holders").join(std::ffi::OsStr::from_bytes(b"\xff\xfe")), "").unwrap();
    fs::write(class.join("sdb/holders/gone"), "").unwrap();
    symlink("loopy", class.join("loopy")).unwrap();
    symlink("../../nowhere", class.join("dangling")).unwrap();
    symlink("/", class.join("..!..!etc")).unwrap();
    fs::write(class.join("file"), "").unwrap();
    fs::create_dir_all(class.join("sdb/device")).unwrap();
    fs::write(class.join("sdb/device/model"), b"\xff\xfe\x1b[31mred\x07\r\nnext\x00hidden").unwrap();
    fs::write(class.join("sdb/size"), "99999999999999999999999\n").unwrap();
    fs::create_dir_all(class.join("sdb/diskseq")).unwrap();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        class.join("sdb/device/vendor"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RUSR,
        0,
    )
    .unwrap();

    assert_eq!(machine.names(), ["sdb", "loop0", "loop1"]);
    let disk = machine.device("sdb");
    assert_eq!(disk.model, "???[31mred? next");
    assert_eq!((disk.len_bytes, disk.sequence), (0, None));
    assert_eq!(
        machine.obstacles("sdb"),
        ["there is no medium in it", "/dev/sdb is in use by /dev/gone (another device)"]
    );
    assert!(matches!(machine.device("dm-0").found[0], Obstacle::NotWhole { .. }));
}

#[test]
fn a_path_that_is_no_block_device_is_named_as_what_it_is() {
    let machine = Machine::new(&[&usb_disk("sdb", "8:16")], NFS_ROOT);
    let told = |path: &Path| machine.linux.find(path).unwrap_err().to_string();
    let folder = machine.folder.path();
    assert!(told(folder).ends_with("is a folder, wanted a block device such as `/dev/sdb`"));
    assert!(told(&folder.join("proc/self/mountinfo")).contains("is a file, wanted"));
    assert_eq!(
        told(Path::new("/dev/null")),
        "`/dev/null` is a character device, wanted a block device such as `/dev/sdb`"
    );
    assert!(told(&folder.join("sdz")).starts_with("cannot find `"));
}

#[test]
fn contents_are_shown_by_table_and_label() {
    // An MBR with a FAT32 partition at 1 MiB and an ext4 one at 17 MiB.
    let mut sector = [0; 512];
    for (at, kind, start, count) in [(446, 0x0c, 2048_u32, 32768_u32), (462, 0x83, 34816, 65536)] {
        sector[at + 4] = kind;
        sector[at + 8..at + 12].copy_from_slice(&start.to_le_bytes());
        sector[at + 12..at + 16].copy_from_slice(&count.to_le_bytes());
    }
    sector[510..].copy_from_slice(&[0x55, 0xaa]);
    let mut fat = [0; 512];
    fat[71..90].copy_from_slice(b"bootfs     FAT32   ");
    fat[510..].copy_from_slice(&[0x55, 0xaa]);
    let mut ext4 = [0; 1024];
    ext4[0x38..0x3a].copy_from_slice(&[0x53, 0xef]);
    ext4[0x60] = 0xc2; // filetype, extents, 64bit
    ext4[0x78..0x7e].copy_from_slice(b"rootfs");
    let machine = Machine::new(&[&usb_disk("sdb", "8:16")], NFS_ROOT)
        .write("sdb", 0, &sector)
        .write("sdb", 1 << 20, &fat)
        .write("sdb", (17 << 20) + 1024, &ext4);
    let card = machine.device("sdb");
    assert_eq!(card.contents.to_string(), "MBR, bootfs (FAT32), rootfs (ext4)");
    let Contents::Read { partitions, .. } = card.contents else { panic!("{:?}", card.contents) };
    let paths: Vec<&PathBuf> = partitions.iter().map(|partition| &partition.path).collect();
    assert_eq!(paths, [&machine.linux.dev.join("sdb1"), &machine.linux.dev.join("sdb2")]);
}

#[test]
fn a_disk_that_cannot_be_read_is_listed_with_the_reason() {
    let machine = Machine::new(&[&usb_disk("sdb", "8:16")], NFS_ROOT);
    fs::remove_file(machine.linux.dev.join("sdb")).unwrap();
    let card = machine.device("sdb");
    assert_eq!(card.contents, Contents::Unread("No such file or directory (os error 2)".into()));
    assert!(card.is_candidate());
}
