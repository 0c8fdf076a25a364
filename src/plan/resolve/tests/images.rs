//! Made-up images, one per generation, as planning sees them: shaped after pi-gen and Debian, not copied.

use uuid::Uuid;

use crate::base::{ImagePath, Sha256Digest};
use crate::plan::{
    Arch, FileFact, FirstBoot, FirstUser, Found, NetworkStack, OsFacts, Release, Tree, Variant,
};

pub(super) const DISK_ID: u32 = 0x0bad_cafe;
pub(super) const ROOT_UUID: Uuid = Uuid::from_u128(0x1111_2222_3333_4444_5555_6666_7777_8888);

const PASSWD: &str = "root:x:0:0:root:/root:/bin/bash\n\
daemon:x:1:1:daemon:/usr/sbin:/usr/sbin/nologin\n\
pi:x:1000:1000:,,,:/home/pi:/bin/bash\n";
const GROUP: &str = "root:x:0:\nadm:x:4:pi\nsudo:x:27:pi\naudio:x:29:pi\nvideo:x:44:pi\nusers:x:100:pi\n\
netdev:x:106:pi\ngpio:x:997:pi\npi:x:1000:\n";
const GSHADOW: &str = "root:*::\nadm:*::pi\nsudo:*::pi\naudio:*::pi\nvideo:*::pi\nusers:*::pi\nnetdev:!::pi\n\
gpio:!::pi\npi:!::\n";
const HOSTS: &str = "127.0.0.1\tlocalhost\n::1\t\tlocalhost ip6-localhost ip6-loopback\n\
ff02::1\t\tip6-allnodes\n\n127.0.1.1\t\traspberrypi\n";
const SSH_SERVICE: &str = "[Unit]\nDescription=OpenBSD Secure Shell server\n\n[Service]\nExecStart=/usr/sbin/sshd -D\n\n\
[Install]\nWantedBy=multi-user.target\nAlias=sshd.service\n";
const SSHD_CONFIG: &str =
    "Include /etc/ssh/sshd_config.d/*.conf\n\n#PasswordAuthentication yes\nUsePAM yes\n";
const GETTY: &str =
    "[Unit]\nDescription=Getty on %I\n\n[Install]\nWantedBy=getty.target\nDefaultInstance=tty1\n";
const REGENERATE: &str =
    "[Unit]\nDescription=Regenerate SSH host keys\n\n[Install]\nWantedBy=multi-user.target\n";
const WIZARD: &str =
    "[Unit]\nDescription=User configuration dialog\n\n[Install]\nWantedBy=multi-user.target\n";
pub(super) const DHCPCD: &str = "# A sample configuration for dhcpcd.\nhostname\nclientid\npersistent\n\
option domain_name_servers, domain_name, domain_search, host_name\nslaac private\n";
const CONFIG_TXT: &str =
    "# For more options see config.txt's page\ndtparam=audio=on\n\n[cm4]\notg_mode=1\n\n[all]\n";

pub(super) struct Image {
    pub(super) facts: OsFacts,
}

impl Image {
    fn new(codename: &str, version: u32, boot: &str) -> Self {
        let release = Release {
            id: String::from("debian"),
            version,
            codename: codename.to_owned(),
            pretty_name: format!("Debian GNU/Linux {version} ({codename})"),
            reference: Some(String::from("2026-06-18")),
            variant: Some(Variant::Lite),
        };
        let first_user = FirstUser {
            name: String::from("pi"),
            uid: 1000,
            gid: 1000,
            home: String::from("/home/pi"),
            shell: String::from("/bin/bash"),
        };
        let facts = OsFacts {
            release,
            arch: Arch::Arm64,
            boot_mount: boot.parse().unwrap(),
            network: NetworkStack::NetworkManager,
            first_user: Some(first_user),
            cloud_init: false,
            first_boot: FirstBoot::None,
            disk_id: Some(DISK_ID),
            partition_guids: Vec::new(),
            root_uuid: ROOT_UUID,
            boot_serial: 0x1234_abcd,
            image_len_bytes: 3_000_000_000,
            digest: Some(Sha256Digest([0xab; 32])),
            partitions: Vec::new(),
            tree: Tree::default(),
        };
        let fstab = format!(
            "proc            /proc           proc    defaults          0       0\n\
             PARTUUID=0badcafe-01  {boot}  vfat    defaults          0       2\n\
             PARTUUID=0badcafe-02  /               ext4    defaults,noatime  0       1\n"
        );
        Self { facts }
            .file("/etc/hostname", "raspberrypi\n")
            .file("/etc/hosts", HOSTS)
            .file("/etc/passwd", PASSWD)
            .file("/etc/group", GROUP)
            .file_as(
                "/etc/shadow",
                "root:*:19700:0:99999:7:::\ndaemon:*:19700:0:99999:7:::\npi:!:19700:0:99999:7:::\n",
                0o640,
                42,
            )
            .file_as("/etc/gshadow", GSHADOW, 0o640, 42)
            .file("/etc/subuid", "pi:100000:65536\n")
            .file("/etc/subgid", "pi:100000:65536\n")
            .file("/etc/fstab", &fstab)
            .file("/etc/machine-id", "")
            .file("/etc/ssh/sshd_config", SSHD_CONFIG)
            .file("/usr/sbin/sshd", "\u{7f}ELF")
            .file("/bin/bash", "\u{7f}ELF")
            .file("/etc/skel/.bashrc", "# bashrc\n")
            .file("/etc/skel/.profile", "# profile\n")
            .file("/usr/share/zoneinfo/Europe/London", "TZif2")
            .file("/etc/locale.gen", "# de_DE.UTF-8 UTF-8\nen_GB.UTF-8 UTF-8\n")
            .file(
                "/etc/default/keyboard",
                "XKBMODEL=\"pc105\"\nXKBLAYOUT=\"gb\"\nXKBVARIANT=\"\"\nXKBOPTIONS=\"\"\n",
            )
            .link("/etc/localtime", "/usr/share/zoneinfo/Etc/UTC")
            .directory("/home/pi", &[])
            .directory("/etc/ssh", &["sshd_config", "ssh_config"])
            .file(&format!("{boot}/config.txt"), CONFIG_TXT)
            .file("/lib/systemd/system/ssh.service", SSH_SERVICE)
            .file("/lib/systemd/system/getty@.service", GETTY)
            .directory(
                "/lib/systemd/system",
                &["getty@.service", "regenerate_ssh_host_keys.service", "ssh.service"],
            )
    }

    fn regenerating(self) -> Self {
        let link = "/etc/systemd/system/multi-user.target.wants";
        self.file("/lib/systemd/system/regenerate_ssh_host_keys.service", REGENERATE)
            .directory(link, &["regenerate_ssh_host_keys.service", "userconfig.service"])
            .link(
                &format!("{link}/regenerate_ssh_host_keys.service"),
                "/lib/systemd/system/regenerate_ssh_host_keys.service",
            )
    }

    fn with_wizard(self) -> Self {
        self.file("/lib/systemd/system/userconfig.service", WIZARD)
            .link(
                "/etc/systemd/system/multi-user.target.wants/userconfig.service",
                "/lib/systemd/system/userconfig.service",
            )
            .file("/etc/ssh/sshd_config.d/rename_user.conf", "Banner /usr/share/userconf-pi/sshd_banner\n")
    }

    fn cmdline(self, text: &str) -> Self {
        let path = format!("{}/cmdline.txt", self.facts.boot_mount);
        self.file(&path, text)
    }

    pub(super) fn file(self, path: &str, text: &str) -> Self {
        self.file_as(path, text, 0o644, 0)
    }

    pub(super) fn file_as(mut self, path: &str, text: &str, mode: u16, gid: u32) -> Self {
        let target = FileFact::File { content: text.as_bytes().to_vec(), mode, uid: 0, gid };
        self.facts.tree.insert(path.parse().unwrap(), Found { link: None, target: Some(target) });
        self
    }

    pub(super) fn directory(mut self, path: &str, names: &[&str]) -> Self {
        let names = names.iter().map(|&name| name.to_owned()).collect();
        let target = FileFact::Directory { names, mode: 0o755, uid: 0, gid: 0 };
        self.facts.tree.insert(path.parse().unwrap(), Found { link: None, target: Some(target) });
        self
    }

    /// A link and what it leads to, if that is in the tree already.
    pub(super) fn link(mut self, path: &str, to: &str) -> Self {
        let target = self.facts.tree.get(to).and_then(|found| found.target.clone());
        let path: ImagePath = path.parse().unwrap();
        self.facts.tree.insert(path, Found { link: Some(to.to_owned()), target });
        self
    }
}

pub(super) fn buster() -> Image {
    let mut image = Image::new("buster", 10, "/boot")
        .regenerating()
        .file("/etc/dhcpcd.conf", DHCPCD)
        .file("/etc/ssh/sshd_config", "#PasswordAuthentication yes\nChallengeResponseAuthentication no\nUsePAM yes\n")
        .file("/etc/wpa_supplicant/wpa_supplicant.conf", "ctrl_interface=DIR=/var/run/wpa_supplicant GROUP=netdev\nupdate_config=1\n")
        .file("/var/lib/systemd/rfkill/platform-3f300000.mmcnr:wlan", "1")
        .directory("/var/lib/systemd/rfkill", &["platform-3f300000.mmcnr:bluetooth", "platform-3f300000.mmcnr:wlan"])
        .file_as("/etc/sudoers.d/010_pi-nopasswd", "pi ALL=(ALL) NOPASSWD: ALL\n", 0o440, 0)
        .cmdline("console=serial0,115200 console=tty1 root=PARTUUID=0badcafe-02 rootfstype=ext4 fsck.repair=yes rootwait quiet init=/usr/lib/raspi-config/init_resize.sh\n");
    image.facts.network = NetworkStack::Dhcpcd;
    image.facts.first_boot = FirstBoot::InitResize;
    image.facts.arch = Arch::Armhf;
    image
}

pub(super) fn bullseye() -> Image {
    let mut image = Image::new("bullseye", 11, "/boot")
        .regenerating()
        .with_wizard()
        .file("/etc/dhcpcd.conf", DHCPCD)
        .file_as("/usr/lib/raspberrypi-sys-mods/regenerate_ssh_host_keys", "#!/bin/sh -e\n\nrm -f /etc/ssh/ssh_host_*_key*\nssh-keygen -A > /dev/null\n", 0o755, 0)
        .file_as("/etc/sudoers.d/010_pi-nopasswd", "pi ALL=(ALL) NOPASSWD: ALL\n", 0o440, 0)
        .cmdline("console=serial0,115200 console=tty1 root=PARTUUID=0badcafe-02 rootfstype=ext4 fsck.repair=yes rootwait quiet init=/usr/lib/raspberrypi-sys-mods/firstboot\n");
    image.facts.network = NetworkStack::Dhcpcd;
    image.facts.first_boot = FirstBoot::SysModsFirstboot;
    image
}

pub(super) fn bookworm() -> Image {
    let mut image = Image::new("bookworm", 12, "/boot/firmware")
        .regenerating()
        .with_wizard()
        .directory("/etc/NetworkManager/system-connections", &[])
        .file_as("/usr/lib/raspberrypi-sys-mods/regenerate_ssh_host_keys", "#!/bin/sh -e\n\nrm -f /etc/ssh/ssh_host_*_key*\nssh-keygen -A > /dev/null\n", 0o755, 0)
        .file("/var/lib/NetworkManager/NetworkManager.state", "[main]\nNetworkingEnabled=true\nWirelessEnabled=false\n")
        .file_as("/etc/sudoers.d/010_pi-nopasswd", "pi ALL=(ALL) NOPASSWD: ALL\n", 0o440, 0)
        .cmdline("console=serial0,115200 console=tty1 root=PARTUUID=0badcafe-02 rootfstype=ext4 fsck.repair=yes rootwait quiet init=/usr/lib/raspberrypi-sys-mods/firstboot\n");
    image.facts.first_boot = FirstBoot::SysModsFirstboot;
    image
}

pub(super) fn trixie() -> Image {
    let growfs = "[Unit]\nDescription=Grow Root File System\n";
    let resize = "[Unit]\nConditionFirstBoot=yes\nWants=systemd-growfs-root.service\n\n[Install]\nWantedBy=sysinit.target\n";
    let mut image = Image::new("trixie", 13, "/boot/firmware")
        .regenerating()
        .with_wizard()
        .directory("/etc/NetworkManager/system-connections", &[])
        .file("/etc/machine-id", "uninitialized\n")
        .file("/etc/locale.conf", "LANG=en_GB.UTF-8\n")
        .link("/etc/default/locale", "../locale.conf")
        .file("/usr/lib/systemd/system/systemd-growfs-root.service", growfs)
        .file("/usr/lib/systemd/system/rpi-resize.service", resize)
        .directory("/etc/systemd/system/sysinit.target.wants", &["rpi-resize.service"])
        .link("/etc/systemd/system/sysinit.target.wants/rpi-resize.service", "/usr/lib/systemd/system/rpi-resize.service")
        .file("/etc/passwd", &PASSWD.replace("/home/pi:/bin/bash", "/home/pi:/usr/sbin/nologin"))
        .cmdline("console=serial0,115200 console=tty1 root=PARTUUID=0badcafe-02 rootfstype=ext4 fsck.repair=yes rootwait resize\n");
    let content = image.facts.tree.get("/etc/locale.conf").unwrap().target.clone();
    let found = Found { link: Some(String::from("../locale.conf")), target: content };
    image.facts.tree.insert("/etc/default/locale".parse().unwrap(), found);
    image.facts.cloud_init = true;
    image.facts.first_boot = FirstBoot::ResizeWord;
    image
}

/// Debian as debootstrap leaves it: none of Raspberry Pi's own pieces, nobody with uid 1000.
pub(super) fn debian() -> Image {
    let mut image = Image::new("trixie", 13, "/boot/firmware")
        .file("/etc/passwd", "root:x:0:0:root:/root:/bin/bash\n")
        .file("/etc/group", "root:x:0:\nsudo:x:27:\n")
        .file_as("/etc/shadow", "root:*:20000:0:99999:7:::\n", 0o640, 42)
        .file_as("/etc/gshadow", "root:*::\nsudo:*::\n", 0o640, 42)
        .file("/etc/subuid", "")
        .file("/etc/subgid", "")
        .cmdline("root=LABEL=rootfs rootwait\n");
    image.facts.first_user = None;
    image.facts.network = NetworkStack::Netplan;
    image.facts.release.reference = None;
    image.facts.release.variant = None;
    image
}
