//! Small images shaped like the generations of Raspberry Pi OS and Debian, made by the tools that make real ones.
//!
//! Nothing is mounted and nobody need be root: debugfs and mtools fill the filesystems. The texts are short and our
//! own; what they are shaped after is pi-gen's stages at the tags of each release.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::tools::tool;
use super::world::World;

/// pi-gen's order of features, `none` first so that the host's mke2fs.conf has no say.
pub(crate) const EXT4_2017: &str = "none,has_journal,ext_attr,resize_inode,dir_index,filetype,extent,flex_bg,\
sparse_super,large_file,dir_nlink,extra_isize";
pub(crate) const EXT4_JESSIE: &str = "none,has_journal,ext_attr,resize_inode,dir_index,filetype,extent,flex_bg,\
sparse_super,large_file,uninit_bg,dir_nlink,extra_isize";
pub(crate) const EXT4_2022: &str = "none,has_journal,ext_attr,resize_inode,dir_index,filetype,extent,flex_bg,\
sparse_super,large_file,dir_nlink,extra_isize,metadata_csum";

pub(crate) const GPT_BOOT: &str = "1f6d9f0a-52c5-4c54-9d3c-0a7b6e6f1c01";
pub(crate) const GPT_ROOT: &str = "1f6d9f0a-52c5-4c54-9d3c-0a7b6e6f1c02";

const SECTOR: u64 = 512;
/// 4 MiB, where pi-gen put the first partition up to bookworm.
const BOOT_START: u64 = 8192;
/// 32 MiB.
const ROOT_SECTORS: u64 = 65536;

/// A file: content, mode, user and group.
type Entry = (Vec<u8>, u32, u32);

/// What an image is to hold, changed as a test likes before it is made.
pub(crate) struct Shape {
    files: BTreeMap<String, Entry>,
    links: BTreeMap<String, String>,
    dirs: BTreeMap<String, (u32, u32)>,
    boot: BTreeMap<String, String>,
    pub(crate) boot_mount: &'static str,
    pub(crate) features: &'static str,
    pub(crate) block_len: u32,
    pub(crate) fat_bits: u32,
    /// `dos` or `gpt`.
    pub(crate) label: &'static str,
}

/// The least that says for which processor a program is: an ELF header without segments.
fn elf(arch: &str) -> Vec<u8> {
    let (class, machine): (u8, u16) = match arch {
        "armhf" => (1, 40),
        "arm64" => (2, 183),
        _ => (2, 62), // x86-64
    };
    let mut header = vec![0x7f, b'E', b'L', b'F', class, 1, 1];
    header.resize(16, 0);
    header.extend(3_u16.to_le_bytes());
    header.extend(machine.to_le_bytes());
    header.resize(64, 0);
    header
}

impl Shape {
    /// What every Debian on a Raspberry Pi has, whoever made the image.
    pub(crate) fn debian(version: u32, codename: &str, arch: &str, boot_mount: &'static str) -> Self {
        let mut shape = Self {
            files: BTreeMap::new(),
            links: BTreeMap::new(),
            dirs: BTreeMap::new(),
            boot: BTreeMap::new(),
            boot_mount,
            features: EXT4_2022,
            block_len: 4096,
            fat_bits: 32,
            label: "dos",
        };
        // /usr is merged from bullseye on; images before had both.
        let lib = if version >= 11 { "/usr/lib" } else { "/lib" };
        let bin = if version >= 11 { "/usr/bin" } else { "/bin" };
        if version >= 11 {
            shape.link("/lib", "usr/lib").link("/bin", "usr/bin").link("/sbin", "usr/sbin");
        }
        let id = if arch == "armhf" { "raspbian" } else { "debian" };
        shape
            .file("/usr/lib/os-release", &os_release(id, version, codename))
            .link("/etc/os-release", "../usr/lib/os-release")
            .file("/etc/debian_version", &format!("{version}.1\n"))
            .binary("/usr/bin/dpkg", arch)
            .binary(&format!("{bin}/bash"), arch)
            .binary("/usr/sbin/sshd", arch)
            .file("/etc/fstab", &fstab(boot_mount, "PARTUUID=0badcafe-01", "PARTUUID=0badcafe-02"))
            .file("/etc/hostname", "raspberrypi\n")
            .file("/etc/hosts", "127.0.0.1\tlocalhost\n::1\t\tlocalhost\n\n127.0.1.1\traspberrypi\n")
            .file("/etc/passwd", PASSWD)
            .file("/etc/group", GROUP)
            .file_as("/etc/shadow", "root:*:19000:0:99999:7:::\npi:!:19000:0:99999:7:::\n", 0o640, 0)
            .file_as("/etc/gshadow", "root:*::\nsudo:*::pi\nnetdev:!::pi\npi:!::\n", 0o640, 0)
            .file("/etc/subuid", "pi:100000:65536\n")
            .file("/etc/subgid", "pi:100000:65536\n")
            .file("/etc/machine-id", "")
            .file("/etc/ssh/sshd_config", "Include /etc/ssh/sshd_config.d/*.conf\nUsePAM yes\n")
            .file("/etc/skel/.bashrc", "# ~/.bashrc\n")
            .file("/etc/timezone", "Etc/UTC\n")
            .link("/etc/localtime", "/usr/share/zoneinfo/Etc/UTC")
            .file("/usr/share/zoneinfo/Europe/London", "TZif2 made up\n")
            .file("/usr/share/zoneinfo/Etc/UTC", "TZif2 made up\n")
            .file(&format!("{lib}/systemd/system/ssh.service"), SSH_SERVICE)
            .file(&format!("{lib}/systemd/system/getty@.service"), GETTY)
            .dir("/etc/systemd/system/multi-user.target.wants", 0o755, 0)
            .dir("/home/pi", 0o755, 1000)
            .file_as("/home/pi/.bashrc", "# pi's own\n", 0o644, 1000)
            .dir(boot_mount, 0o755, 0)
            .boot("cmdline.txt", &cmdline("PARTUUID=0badcafe-02", ""))
            .boot("config.txt", "dtparam=audio=on\n[all]\n");
        shape
    }

    /// What Raspberry Pi adds, by the date of the image.
    pub(crate) fn raspios(version: u32, codename: &str, arch: &str, date: &str, token: &str) -> Self {
        let boot_mount = if version >= 12 { "/boot/firmware" } else { "/boot" };
        let lib = if version >= 11 { "/usr/lib" } else { "/lib" };
        let mut shape = Self::debian(version, codename, arch, boot_mount);
        let issue = format!("Raspberry Pi reference {date}\nGenerated using pi-gen, made up, stage2\n");
        shape
            .file("/etc/rpi-issue", &issue)
            .boot("issue.txt", &issue)
            .boot("cmdline.txt", &cmdline("PARTUUID=0badcafe-02", token))
            .file_as("/etc/sudoers.d/010_pi-nopasswd", "pi ALL=(ALL) NOPASSWD: ALL\n", 0o440, 0)
            .file(&format!("{lib}/systemd/system/regenerate_ssh_host_keys.service"), REGENERATE_UNIT)
            .link(
                "/etc/systemd/system/multi-user.target.wants/regenerate_ssh_host_keys.service",
                &format!("{lib}/systemd/system/regenerate_ssh_host_keys.service"),
            );
        if version >= 11 && token.contains("firstboot") {
            shape
                .file_as(
                    "/usr/lib/raspberrypi-sys-mods/regenerate_ssh_host_keys",
                    "#!/bin/sh -e\nrm -f /etc/ssh/ssh_host_*_key*\nssh-keygen -A\n",
                    0o755,
                    0,
                )
                .file_as("/usr/lib/raspberrypi-sys-mods/firstboot", "#!/bin/bash\nmade up\n", 0o755, 0)
                .file("/usr/lib/systemd/system/userconfig.service", USERCONFIG)
                .link(
                    "/etc/systemd/system/multi-user.target.wants/userconfig.service",
                    "/usr/lib/systemd/system/userconfig.service",
                )
                .file(
                    "/etc/ssh/sshd_config.d/rename_user.conf",
                    "Banner /usr/share/userconf-pi/sshd_banner\n",
                );
        }
        if version <= 11 {
            shape
                .file_as("/etc/dhcpcd.conf", "hostname\nclientid\npersistent\nslaac private\n", 0o664, 0)
                .file_as("/etc/wpa_supplicant/wpa_supplicant.conf", WPA, 0o600, 0);
            let units = if version <= 10 { "/lib/systemd/system" } else { "/usr/lib/systemd/system" };
            shape.file(&format!("{units}/dhcpcd.service"), "[Unit]\nDescription=DHCP Client Daemon\n");
        } else {
            // cloud-init brings in dhcpcd-base: its settings, and no unit.
            shape.file("/etc/dhcpcd.conf", "hostname\n").network_manager(arch);
        }
        shape
    }

    /// bullseye has its binary too, and uses dhcpcd all the same.
    pub(crate) fn network_manager(&mut self, arch: &str) -> &mut Self {
        self.binary("/usr/sbin/NetworkManager", arch)
            .dir("/etc/NetworkManager/system-connections", 0o700, 0)
            .file("/etc/NetworkManager/NetworkManager.conf", "[main]\nplugins=ifupdown,keyfile\n")
            .file(
                "/var/lib/NetworkManager/NetworkManager.state",
                "[main]\nNetworkingEnabled=true\nWirelessEnabled=false\nWWANEnabled=true\n",
            )
    }

    pub(crate) fn file(&mut self, path: &str, text: &str) -> &mut Self {
        self.file_as(path, text, 0o644, 0)
    }

    pub(crate) fn file_as(&mut self, path: &str, text: &str, mode: u32, owner: u32) -> &mut Self {
        self.links.remove(path);
        self.files.insert(path.to_owned(), (text.as_bytes().to_vec(), mode, owner));
        self
    }

    pub(crate) fn binary(&mut self, path: &str, arch: &str) -> &mut Self {
        self.files.insert(path.to_owned(), (elf(arch), 0o755, 0));
        self
    }

    pub(crate) fn link(&mut self, path: &str, target: &str) -> &mut Self {
        self.files.remove(path);
        self.links.insert(path.to_owned(), target.to_owned());
        self
    }

    pub(crate) fn dir(&mut self, path: &str, mode: u32, owner: u32) -> &mut Self {
        self.dirs.insert(path.to_owned(), (mode, owner));
        self
    }

    pub(crate) fn boot(&mut self, name: &str, text: &str) -> &mut Self {
        self.boot.insert(name.to_owned(), text.to_owned());
        self
    }

    pub(crate) fn without(&mut self, path: &str) -> &mut Self {
        self.files.remove(path);
        self.links.remove(path);
        self
    }

    /// Names both partitions in fstab and cmdline.txt in another way than by the disk id.
    pub(crate) fn named(&mut self, boot: &str, root: &str, token: &str) -> &mut Self {
        let text = fstab(self.boot_mount, boot, root);
        self.file("/etc/fstab", &text).boot("cmdline.txt", &cmdline(root, token))
    }

    /// A GPT in place of the MBR, named by its partitions' own GUIDs.
    pub(crate) fn gpt(&mut self, token: &str) -> &mut Self {
        self.label = "gpt";
        self.named(&format!("PARTUUID={GPT_BOOT}"), &format!("PARTUUID={GPT_ROOT}"), token)
    }

    /// Makes the image as `name` in `world`.
    pub(crate) fn make(&self, world: &World, name: &str) -> PathBuf {
        self.make_spoilt(world, name, |_| {})
    }

    /// The same, with the bytes of the root filesystem changed first.
    pub(crate) fn make_spoilt(&self, world: &World, name: &str, spoil: impl FnOnce(&mut [u8])) -> PathBuf {
        let boot_sectors: u64 = if self.fat_bits == 32 { 73728 } else { 32768 };
        let (boot, root) = (world.path("shape-boot"), world.path("shape-root"));
        self.make_boot(world, &boot, boot_sectors * SECTOR);
        self.make_root(world, &root);
        let mut bytes = fs::read(&root).unwrap();
        spoil(&mut bytes);

        let image = world.path(name);
        let root_start = BOOT_START + boot_sectors;
        let mut file = File::create(&image).unwrap();
        // A GPT has its second copy behind the last partition.
        let tail = if self.label == "gpt" { 2048 } else { 0 };
        file.set_len((root_start + ROOT_SECTORS + tail) * SECTOR).unwrap();
        let (boot_type, root_type, ids) = match self.label {
            "gpt" => (
                "EBD0A0A2-B9E5-4433-87C0-68B6B72699C7",
                "0FC63DAF-8483-4772-8E79-3D69D8477DE4",
                [format!(", uuid={GPT_BOOT}"), format!(", uuid={GPT_ROOT}")],
            ),
            _ => ("c", "83", [String::new(), String::new()]),
        };
        let label_id = if self.label == "dos" { "label-id: 0x0badcafe\n" } else { "" };
        let script = format!(
            "label: {}\n{label_id}unit: sectors\nstart={BOOT_START}, size={boot_sectors}, type={boot_type}{}\n\
             start={root_start}, size={ROOT_SECTORS}, type={root_type}{}\n",
            self.label, ids[0], ids[1]
        );
        let script = world.write("shape.sfdisk", &script);
        tool("sh", &["-c", &format!("sfdisk -q '{}' < '{}'", text(&image), text(&script))]);
        let mut put = |at: u64, bytes: &[u8]| {
            file.seek(SeekFrom::Start(at * SECTOR)).unwrap();
            file.write_all(bytes).unwrap();
        };
        put(BOOT_START, &fs::read(&boot).unwrap());
        put(root_start, &bytes);
        image
    }

    fn make_boot(&self, world: &World, part: &Path, len_bytes: u64) {
        File::create(part).unwrap().set_len(len_bytes).unwrap();
        let (bits, cluster) = if self.fat_bits == 32 { ("32", "1") } else { ("16", "4") };
        tool(
            "mkfs.fat",
            &["-F", bits, "-s", cluster, "-S", "512", "-i", "2b7f41c9", "-n", "BOOT", text(part)],
        );
        for (name, content) in &self.boot {
            let local = world.write("shape-file", content);
            tool("mcopy", &["-i", text(part), text(&local), &format!("::{name}")]);
        }
    }

    fn make_root(&self, world: &World, part: &Path) {
        let _ = fs::remove_file(part);
        File::create(part).unwrap().set_len(ROOT_SECTORS * SECTOR).unwrap();
        let block_len = self.block_len.to_string();
        let words =
            ["-q", "-F", "-t", "ext4", "-O", self.features, "-b", &block_len, "-I", "256", "-L", "rootfs"];
        tool("mke2fs", &[&words[..], &[text(part)]].concat());
        let script = world.write("shape.debugfs", &self.script(world));
        tool("debugfs", &["-w", "-f", text(&script), text(part)]);
        let said = tool("e2fsck", &["-fn", text(part)]);
        assert!(!said.contains("Fix?"), "the shape itself is not sound: {said}");
    }

    /// Commands for debugfs, whose `write` and `mkdir` work in the current directory.
    fn script(&self, world: &World) -> String {
        let mut dirs = self.dirs.clone();
        for path in self.files.keys().chain(self.links.keys()).chain(self.dirs.keys()) {
            let mut parent = Path::new(path).parent();
            while let Some(dir) = parent.filter(|dir| *dir != Path::new("/")) {
                dirs.entry(text(dir).to_owned()).or_insert((0o755, 0));
                parent = dir.parent();
            }
        }
        let mut script = String::new();
        let attributes = |path: &str, mode: u32, owner: u32| {
            format!("sif {path} mode 0{mode:o}\nsif {path} uid {owner}\nsif {path} gid {owner}\n")
        };
        let place = |path: &str| {
            let path = Path::new(path);
            (text(path.parent().unwrap()).to_owned(), text(Path::new(path.file_name().unwrap())).to_owned())
        };
        for (path, (mode, owner)) in &dirs {
            let (parent, name) = place(path);
            script += &format!("cd {parent}\nmkdir {name}\n{}", attributes(path, 0o40000 | mode, *owner));
        }
        for (number, (path, (content, mode, owner))) in self.files.iter().enumerate() {
            let local = world.write(&format!("shape-files/{number}"), "");
            fs::write(&local, content).unwrap();
            let (parent, name) = place(path);
            script += &format!("cd {parent}\nwrite {} {name}\n", text(&local));
            script += &attributes(path, 0o100_000 | mode, *owner);
        }
        for (path, target) in &self.links {
            let (parent, name) = place(path);
            script += &format!("cd {parent}\nsymlink {name} {target}\n");
        }
        script
    }
}

/// Cuts both partitions out, where sfdisk says they are: the FAT and the root.
pub(crate) fn cut(image: &Path, world: &World) -> (PathBuf, PathBuf) {
    let table: Value = serde_json::from_str(&tool("sfdisk", &["--json", text(image)])).unwrap();
    let stem = image.file_stem().unwrap().to_str().unwrap();
    let part = |index: usize, kind: &str| {
        let partition = &table["partitiontable"]["partitions"][index];
        let path = world.path(&format!("{stem}.{kind}"));
        let mut source = File::open(image).unwrap();
        source.seek(SeekFrom::Start(partition["start"].as_u64().unwrap() * SECTOR)).unwrap();
        let mut target = File::create(&path).unwrap();
        let len_bytes = partition["size"].as_u64().unwrap() * SECTOR;
        std::io::copy(&mut source.take(len_bytes), &mut target).unwrap();
        path
    };
    (part(0, "fat"), part(1, "ext4"))
}

pub(crate) fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn os_release(id: &str, version: u32, codename: &str) -> String {
    // jessie's has no codename of its own.
    let named = if version > 8 { format!("VERSION_CODENAME={codename}\n") } else { String::new() };
    format!(
        "PRETTY_NAME=\"{id} GNU/Linux {version} ({codename})\"\nVERSION_ID=\"{version}\"\n\
         VERSION=\"{version} ({codename})\"\n{named}ID={id}\n"
    )
}

fn fstab(boot_mount: &str, boot: &str, root: &str) -> String {
    format!(
        "proc            /proc           proc    defaults          0       0\n\
         {boot}  {boot_mount}           vfat    defaults          0       2\n\
         {root}  /               ext4    defaults,noatime  0       1\n"
    )
}

pub(crate) fn cmdline(root: &str, token: &str) -> String {
    let token = if token.is_empty() { String::new() } else { format!(" {token}") };
    format!(
        "console=serial0,115200 console=tty1 root={root} rootfstype=ext4 fsck.repair=yes rootwait{token}\n"
    )
}

const PASSWD: &str = "root:x:0:0:root:/root:/bin/bash\ndaemon:x:1:1:daemon:/usr/sbin:/usr/sbin/nologin\n\
pi:x:1000:1000:,,,:/home/pi:/bin/bash\n";
const GROUP: &str = "root:x:0:\nsudo:x:27:pi\nnetdev:x:106:pi\npi:x:1000:\n";
const SSH_SERVICE: &str = "[Unit]\nDescription=OpenBSD Secure Shell server\n[Service]\nExecStart=/usr/sbin/sshd -D\n\
[Install]\nWantedBy=multi-user.target\nAlias=sshd.service\n";
const GETTY: &str =
    "[Unit]\nDescription=Getty on %I\n[Install]\nWantedBy=getty.target\nDefaultInstance=tty1\n";
/// Deletes the keys there are, makes new ones, and itself.
pub(crate) const REGENERATE_UNIT: &str = "[Unit]\nDescription=Regenerate SSH host keys\n[Service]\nType=oneshot\n\
ExecStartPre=/bin/sh -c \"rm -f /etc/ssh/ssh_host_*_key*\"\nExecStart=/usr/bin/ssh-keygen -A\n\
ExecStartPost=/bin/sh -c \"systemctl disable regenerate_ssh_host_keys\"\n[Install]\nWantedBy=multi-user.target\n";
const USERCONFIG: &str = "[Unit]\nDescription=User configuration dialog\n[Service]\nType=oneshot\n[Install]\nWantedBy=multi-user.target\n";
const WPA: &str = "ctrl_interface=DIR=/var/run/wpa_supplicant GROUP=netdev\nupdate_config=1\n";
