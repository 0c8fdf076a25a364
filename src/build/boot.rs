//! What an emulator needs to start an image: the machine it can be, its kernel, and the kernel's command line.
//!
//! | the image has                                  | machine of QEMU             | network |
//! |------------------------------------------------|-----------------------------|---------|
//! | a kernel that knows `virtio_blk`, `virtio_pci` | `virt`                      | virtio  |
//! | `kernel8.img`, `bcm2710-rpi-3-b.dtb`           | `raspi3b`                   | on USB  |
//! | `kernel7.img`, `bcm2709-rpi-2-b.dtb`           | `raspi2b`                   | on USB  |
//! | `kernel.img`, `bcm2708-rpi-zero.dtb`           | `raspi0`                    | none    |
//!
//! A `virt` machine is faster and has all the memory one wants, but it is no Pi; Debian's kernels run on it, those of
//! Raspberry Pi OS do not. `raspi4b` has neither USB nor network and is taken only when asked for. Machines and what they
//! lack: QEMU, docs/system/arm/raspi.rst.

use std::fs::File;
use std::io::{self, Write as _};
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use super::disk::{Disk, FileKind, Tree};
use super::{Error, host_error};
use crate::base::ImagePath;

/// No kernel and no initramfs is longer than this.
const FILE_LIMIT_BYTES: u64 = 256 << 20;
/// What is read to find out what a kernel is.
const HEAD_LEN: usize = 64;

/// A machine of QEMU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Machine {
    /// No board that was ever built.
    Virt,
    /// Pi Zero.
    Raspi0,
    /// Pi 2B.
    Raspi2b,
    /// Pi 3B.
    Raspi3b,
    /// Pi 4B.
    Raspi4b,
}

/// The boards, the best emulated one first.
const BOARDS: [Machine; 4] = [Machine::Raspi3b, Machine::Raspi2b, Machine::Raspi0, Machine::Raspi4b];

impl Machine {
    /// As QEMU calls it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Virt => "virt",
            Self::Raspi0 => "raspi0",
            Self::Raspi2b => "raspi2b",
            Self::Raspi3b => "raspi3b",
            Self::Raspi4b => "raspi4b",
        }
    }

    /// Its kernel on the boot partition, its device tree there, its memory in MiB, its processors; none is free to choose.
    fn board(self) -> Option<(&'static str, &'static str, u32, u32)> {
        match self {
            Self::Virt => None,
            Self::Raspi0 => Some(("kernel.img", "bcm2708-rpi-zero.dtb", 512, 1)),
            Self::Raspi2b => Some(("kernel7.img", "bcm2709-rpi-2-b.dtb", 1024, 4)),
            Self::Raspi3b => Some(("kernel8.img", "bcm2710-rpi-3-b.dtb", 1024, 4)),
            Self::Raspi4b => Some(("kernel8.img", "bcm2711-rpi-4-b.dtb", 2048, 4)),
        }
    }

    /// What cannot be expected of it.
    #[must_use]
    pub fn lacks(self) -> &'static str {
        match self {
            Self::Virt => {
                "no board: nothing of GPIO, config.txt, overlays, Wi-Fi or Bluetooth is there to be seen"
            }
            Self::Raspi0 => "no network, no Wi-Fi, no Bluetooth; config.txt and overlays are not read",
            Self::Raspi2b | Self::Raspi3b => {
                "no Wi-Fi, no Bluetooth; config.txt and overlays are not read; slow"
            }
            Self::Raspi4b => {
                "no network, no USB, no Wi-Fi, no Bluetooth; config.txt and overlays are not read; slow"
            }
        }
    }

    fn has_usb_network(self) -> bool {
        matches!(self, Self::Raspi2b | Self::Raspi3b)
    }
}

/// What is started: files taken out of the image, and the words for its kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Start {
    /// Where.
    pub machine: Machine,
    /// Is the kernel for 64-bit processors?
    pub is_64_bit: bool,
    kernel: PathBuf,
    initramfs: Option<PathBuf>,
    device_tree: Option<PathBuf>,
    command_line: String,
}

/// What the user wants of the machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wishes {
    /// In MiB; boards have what they have.
    pub memory_mib: u32,
    /// Processors; the same.
    pub processors: u32,
    /// The port of this machine that leads to the ssh of the other.
    pub ssh_port: Option<u16>,
    /// The node's own address and its router, where it does not ask for one.
    pub network: Option<(ipnet::IpNet, Option<IpAddr>)>,
}

impl Start {
    /// Takes what `machine`, or the first that will do, needs out of the image into `folder`.
    ///
    /// # Errors
    /// [`Error::NotBootable`] with what was looked for, or what keeps the image from being read.
    pub fn take(disk: &Disk, machine: Option<Machine>, folder: &Path) -> Result<Self, Error> {
        disk.with_tree(|tree| {
            let boot = boot_folder(tree)?;
            let command_line = command_line(tree, &boot)?;
            let mut tried = Vec::new();
            if machine.is_none_or(|machine| machine == Machine::Virt) {
                if let Some((kernel, initramfs)) = virtio_kernel(tree, &boot)? {
                    let kernel = copy(tree, &kernel, folder, "kernel")?;
                    let initramfs = initramfs.map(|path| copy(tree, &path, folder, "initramfs")).transpose()?;
                    let is_64_bit = !is_arm_zimage(&kernel)?;
                    let command_line = format!("{command_line} console=ttyAMA0,115200");
                    let device_tree = None;
                    return Ok(Self { machine: Machine::Virt, is_64_bit, kernel, initramfs, device_tree, command_line });
                }
                tried.push(String::from("a kernel in /lib/modules that knows virtio_blk and virtio_pci"));
            }
            let boards = BOARDS.into_iter().filter(|board| match machine {
                Some(machine) => machine == *board,
                None => *board != Machine::Raspi4b,
            });
            for board in boards {
                let Some((kernel, device_tree, ..)) = board.board() else { continue };
                let [kernel_path, device_tree_path] = [kernel, device_tree].map(|name| below(&boot, name));
                if !is_file(tree, &kernel_path) || !is_file(tree, &device_tree_path) {
                    tried.push(format!("{kernel_path} and {device_tree_path}"));
                    continue;
                }
                let kernel = copy(tree, &kernel_path, folder, "kernel")?;
                let device_tree = Some(copy(tree, &device_tree_path, folder, "device-tree")?);
                let initramfs = below(&boot, &kernel_path.file_name().unwrap_or_default().replace("kernel", "initramfs").replace(".img", ""));
                let initramfs =
                    is_file(tree, &initramfs).then(|| copy(tree, &initramfs, folder, "initramfs")).transpose()?;
                let is_64_bit = !is_arm_zimage(&kernel)?;
                // Which of the two the first serial port is called depends on the kernel.
                let command_line = format!(
                    "{command_line} console=ttyAMA1,115200 console=ttyAMA0,115200 dwc_otg.lpm_enable=0 dwc_otg.fiq_enable=0 dwc_otg.fiq_fsm_enable=0"
                );
                return Ok(Self { machine: board, is_64_bit, kernel, initramfs, device_tree, command_line });
            }
            Err(Error::NotBootable { tried })
        })
    }

    /// The program of QEMU for this machine.
    #[must_use]
    pub fn program(&self) -> &'static str {
        if self.is_64_bit { "qemu-system-aarch64" } else { "qemu-system-arm" }
    }

    /// Its words. `card` is an overlay that may be written to.
    #[must_use]
    pub fn words(&self, card: &Path, wishes: &Wishes) -> Vec<String> {
        let Self { machine, is_64_bit, .. } = self;
        let mut words: Vec<String> = Vec::new();
        let mut say = |of: &[&str]| words.extend(of.iter().map(|word| (*word).to_owned()));
        let (memory, processors) = match machine.board() {
            Some((.., memory, processors)) => (memory, processors),
            None => (wishes.memory_mib, wishes.processors),
        };
        match (machine, is_64_bit) {
            // A Pi's processor, or the host's own where it is one of these.
            (Machine::Virt, true) if cfg!(target_arch = "aarch64") => {
                say(&["-M", "virt", "-cpu", "max", "-accel", "kvm", "-accel", "hvf", "-accel", "tcg"]);
            }
            (Machine::Virt, true) => {
                say(&["-M", "virt,gic-version=3", "-cpu", "cortex-a72", "-accel", "tcg,thread=multi"])
            }
            (Machine::Virt, false) => {
                say(&["-M", "virt,highmem=off", "-cpu", "cortex-a15", "-accel", "tcg,thread=multi"])
            }
            (board, _) => say(&["-M", board.name()]),
        }
        say(&["-m", &memory.to_string(), "-smp", &processors.to_string()]);
        // The console in this terminal; Ctrl-A X ends it.
        say(&["-display", "none", "-serial", "mon:stdio"]);
        say(&["-kernel", &text(&self.kernel), "-append", &self.command_line]);
        if let Some(initramfs) = &self.initramfs {
            say(&["-initrd", &text(initramfs)]);
        }
        if let Some(device_tree) = &self.device_tree {
            say(&["-dtb", &text(device_tree)]);
        }
        let card = text(card).replace(',', ",,");
        let network = network(wishes);
        if *machine == Machine::Virt {
            say(&["-drive", &format!("if=none,id=card,format=qcow2,cache=unsafe,file={card}")]);
            say(&["-device", "virtio-blk-pci,drive=card", "-device", "virtio-rng-pci"]);
            say(&["-netdev", &network, "-device", "virtio-net-pci,netdev=net,romfile="]);
        } else {
            say(&["-drive", &format!("if=sd,format=qcow2,cache=unsafe,file={card}")]);
            if machine.has_usb_network() {
                say(&["-netdev", &network, "-device", "usb-net,netdev=net"]);
            }
        }
        words
    }

    /// Can ssh get there?
    #[must_use]
    pub fn has_network(&self) -> bool {
        self.machine == Machine::Virt || self.machine.has_usb_network()
    }
}

/// The card as the machine wants it: cards of the boards have a power of two of bytes (QEMU, hw/sd/sd.c).
#[must_use]
pub fn card_len(machine: Machine, image_len_bytes: u64) -> u64 {
    if machine == Machine::Virt { image_len_bytes } else { image_len_bytes.next_power_of_two() }
}

/// A network in user space, of the node's own addresses where it has any.
fn network(wishes: &Wishes) -> String {
    let mut words = String::from("user,id=net");
    let mut guest = String::new();
    if let Some((ipnet::IpNet::V4(own), router)) = &wishes.network {
        let router = match router {
            Some(IpAddr::V4(router)) if own.contains(router) && *router != own.addr() => Some(*router),
            _ => own.hosts().find(|host| *host != own.addr()),
        };
        if let Some(router) = router {
            words += &format!(",net={},host={router}", own.trunc());
            let dns = own.hosts().rev().find(|host| *host != own.addr() && *host != router);
            words += &dns.map_or_else(String::new, |dns| format!(",dns={dns}"));
            guest = own.addr().to_string();
        }
    }
    if let Some(port) = wishes.ssh_port {
        words += &format!(",hostfwd=tcp:127.0.0.1:{port}-{guest}:22");
    }
    words
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

fn path(text: &str) -> ImagePath {
    text.parse().unwrap_or_else(|_| ImagePath::root())
}

fn below(folder: &ImagePath, name: &str) -> ImagePath {
    folder.join(name).unwrap_or_else(|_| folder.clone())
}

fn is_file(tree: &Tree<'_>, path: &ImagePath) -> bool {
    tree.stat(path, true).is_ok_and(|stat| stat.kind == FileKind::Regular)
}

/// Where the boot partition is: the folder with a cmdline.txt that is no mere hint, as bookworm leaves one in /boot.
fn boot_folder(tree: &Tree<'_>) -> Result<ImagePath, Error> {
    let folders = ["/boot/firmware", "/boot"].map(path);
    let found = folders.into_iter().find(|folder| is_file(tree, &below(folder, "cmdline.txt")));
    found.ok_or_else(|| Error::NotBootable {
        tried: vec![String::from("/boot/firmware/cmdline.txt"), String::from("/boot/cmdline.txt")],
    })
}

fn command_line(tree: &Tree<'_>, boot: &ImagePath) -> Result<String, Error> {
    let text = read_text(tree, &below(boot, "cmdline.txt"))?;
    // The firmware reads the first line only.
    let line = text.lines().next().unwrap_or_default();
    Ok(without_first_boot(&line.chars().filter(|c| !c.is_control()).collect::<String>()))
}

/// Without the program that is to run before the first boot and then reboots: it makes room that there is not, and the
/// words for the kernel stay what they are over a reboot, so that it would come again and again.
fn without_first_boot(line: &str) -> String {
    let is_first_boot = |word: &str| {
        word.strip_prefix("init=")
            .is_some_and(|init| init.ends_with("/firstboot") || init.ends_with("/init_resize.sh"))
    };
    line.split_whitespace().filter(|word| !is_first_boot(word)).collect::<Vec<_>>().join(" ")
}

/// A kernel that a `virt` machine can start, and its initramfs: the newest one by name.
fn virtio_kernel(tree: &Tree<'_>, boot: &ImagePath) -> Result<Option<(ImagePath, Option<ImagePath>)>, Error> {
    // /lib is a link to /usr/lib since bullseye.
    let Ok(listed) = tree.list(&path("/lib/modules")) else { return Ok(None) };
    let names = listed.iter().rev().filter_map(|entry| std::str::from_utf8(&entry.name).ok());
    for version in names.filter(|name| !name.starts_with('.')) {
        let folder = below(&path("/lib/modules"), version);
        let knows = |list: &str| -> Result<[bool; 2], Error> {
            let list = below(&folder, list);
            let text = if is_file(tree, &list) { read_text(tree, &list)? } else { String::new() };
            Ok(["/virtio_blk.ko", "/virtio_pci.ko"].map(|module| text.contains(module)))
        };
        let [is_built_in, is_module] = [knows("modules.builtin")?, knows("modules.dep")?];
        if !is_built_in.iter().zip(is_module).all(|(built_in, module)| *built_in || module) {
            continue;
        }
        let is_built_in = is_built_in == [true, true];
        let own = below(&path("/boot"), &format!("vmlinuz-{version}"));
        let initramfs = below(&path("/boot"), &format!("initrd.img-{version}"));
        let shared = ["kernel8.img", "kernel7.img"].map(|name| below(boot, name));
        let kernel = std::iter::once(own).chain(shared).find(|path| is_file(tree, path));
        let Some(kernel) = kernel else { continue };
        match is_file(tree, &initramfs) {
            true => return Ok(Some((kernel, Some(initramfs)))),
            false if is_built_in => return Ok(Some((kernel, None))),
            false => {}
        }
    }
    Ok(None)
}

fn read_text(tree: &Tree<'_>, path: &ImagePath) -> Result<String, Error> {
    /// Lists of modules have some hundred KiB.
    const LIMIT: usize = 4 << 20;
    let mut bytes = Vec::new();
    tree.read::<Error>(path, &mut |piece| {
        let room = LIMIT.saturating_sub(bytes.len()).min(piece.len());
        bytes.extend_from_slice(&piece[..room]);
        Ok(())
    })?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn copy(tree: &Tree<'_>, path: &ImagePath, folder: &Path, name: &str) -> Result<PathBuf, Error> {
    let target = folder.join(name);
    let failed = host_error("write", &target);
    let len_bytes = tree.stat(path, true)?.len_bytes;
    if len_bytes > FILE_LIMIT_BYTES {
        return Err(Error::NotBootable { tried: vec![format!("{path}, which has {len_bytes} bytes")] });
    }
    let mut file = File::create(&target).map_err(&failed)?;
    tree.read::<Error>(path, &mut |piece| file.write_all(piece).map_err(&failed))?;
    Ok(target.clone())
}

/// A kernel for 32-bit processors: `0x016f2818` at byte 0x24 (Linux, Documentation/arch/arm/booting.rst; head.S).
fn is_arm_zimage(kernel: &Path) -> Result<bool, Error> {
    let failed = host_error("read", kernel);
    let mut head = Vec::new();
    let file = File::open(kernel).map_err(&failed)?;
    io::Read::read_to_end(&mut io::Read::take(file, HEAD_LEN as u64), &mut head).map_err(&failed)?;
    Ok(head.get(0x24..0x28) == Some(&0x016f_2818_u32.to_le_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start(machine: Machine) -> Start {
        let file = |name: &str| PathBuf::from(format!("/t/{name}"));
        Start {
            machine,
            is_64_bit: machine != Machine::Raspi2b,
            kernel: file("kernel"),
            initramfs: Some(file("initramfs")),
            device_tree: (machine != Machine::Virt).then(|| file("device-tree")),
            command_line: String::from("root=PARTUUID=1-02 rootwait"),
        }
    }

    fn wishes(network: Option<(&str, Option<&str>)>) -> Wishes {
        let network =
            network.map(|(own, router)| (own.parse().unwrap(), router.map(|router| router.parse().unwrap())));
        Wishes { memory_mib: 1024, processors: 2, ssh_port: Some(2222), network }
    }

    #[test]
    fn the_words_for_a_machine_name_its_kernel_card_and_network() {
        let words = start(Machine::Virt).words(Path::new("/t/a,b"), &wishes(None)).join(" ");
        for wanted in [
            "-M virt,gic-version=3 -cpu cortex-a72",
            "-m 1024 -smp 2",
            "-kernel /t/kernel -append root=PARTUUID=1-02 rootwait -initrd /t/initramfs",
            "file=/t/a,,b",
            "-netdev user,id=net,hostfwd=tcp:127.0.0.1:2222-:22",
        ] {
            assert!(words.contains(wanted), "{wanted} is not in {words}");
        }
        let words = start(Machine::Raspi3b).words(Path::new("/t/card"), &wishes(None)).join(" ");
        for wanted in ["-M raspi3b -m 1024 -smp 4", "-dtb /t/device-tree", "if=sd,", "usb-net,netdev=net"] {
            assert!(words.contains(wanted), "{wanted} is not in {words}");
        }
        assert_eq!(start(Machine::Raspi2b).program(), "qemu-system-arm");
    }

    #[test]
    fn a_static_address_is_where_the_network_is_made() {
        for (own, router, wanted) in [
            ("192.168.1.20/24", Some("192.168.1.1"), "net=192.168.1.0/24,host=192.168.1.1,dns=192.168.1.254"),
            // A router that is elsewhere, or the node itself, is none.
            ("192.168.1.20/24", Some("10.0.0.1"), "net=192.168.1.0/24,host=192.168.1.1,"),
            ("192.168.1.1/24", Some("192.168.1.1"), "net=192.168.1.0/24,host=192.168.1.2,"),
            ("10.1.2.3/8", None, "net=10.0.0.0/8,host=10.0.0.1,"),
        ] {
            let found = network(&wishes(Some((own, router))));
            assert!(found.contains(wanted) && found.ends_with(":22"), "{own}: {found}");
        }
    }

    #[test]
    fn the_program_before_the_first_boot_is_left_out() {
        let line =
            "console=tty1 root=PARTUUID=1-02 quiet init=/usr/lib/raspberrypi-sys-mods/firstboot splash";
        assert_eq!(without_first_boot(line), "console=tty1 root=PARTUUID=1-02 quiet splash");
        assert_eq!(without_first_boot("init=/usr/lib/raspi-config/init_resize.sh a"), "a");
        assert_eq!(without_first_boot("a init=/bin/sh"), "a init=/bin/sh");
    }

    #[test]
    fn cards_of_boards_have_a_power_of_two_of_bytes() {
        let len = 2_663_383_040;
        assert_eq!(card_len(Machine::Raspi3b, len), 4 << 30);
        assert_eq!(card_len(Machine::Raspi3b, 4 << 30), 4 << 30);
        assert_eq!(card_len(Machine::Virt, len), len);
    }
}
