//! What a node becomes, per generation of image: exact outcomes of whole plans.

mod images;
mod oracle;
mod runner;

use std::collections::BTreeSet;

use images::{Image, bookworm, bullseye, buster, debian, trixie};

use super::*;
use crate::base::{ByteLen, Secret};
use crate::plan::*;

fn node(name: &str, address: Option<&str>) -> Node {
    Node {
        name: name.to_owned(),
        role: None,
        addresses: address.iter().map(|address| address.parse().unwrap()).collect(),
        settings: Settings::default(),
    }
}

fn user(name: &str) -> User {
    User {
        name: name.to_owned(),
        password: None,
        ssh_keys: vec![String::from("ssh-ed25519 AAAAuser me")],
        groups: Vec::new(),
        shell: None,
        sudo: None,
        uid: None,
        full_name: None,
    }
}

/// Two nodes with addresses and one on DHCP.
fn cluster() -> Cluster {
    Cluster {
        name: String::from("swarm"),
        domain: Some(String::from("lan")),
        subnets: vec!["192.0.2.0/24".parse().unwrap()],
        gateways: vec!["192.0.2.1".parse().unwrap()],
        dns: vec!["192.0.2.53".parse().unwrap()],
        ssh_between_nodes: false,
        image: ImageChoice { source: ImageSource::Path("base.img".into()), sha256: None, grow: None },
        nodes: vec![
            node("one", Some("192.0.2.11/24")),
            node("two", Some("192.0.2.12/24")),
            node("three", None),
        ],
    }
}

/// The same settings for every node.
fn with(edit: impl Fn(&mut Settings)) -> Cluster {
    let mut cluster = cluster();
    cluster.nodes.iter_mut().for_each(|node| edit(&mut node.settings));
    cluster
}

fn seed() -> Seed {
    Seed::new([42; 32])
}

fn plans(cluster: &Cluster, image: &Image) -> Vec<NodePlan> {
    let plans = resolve(cluster, &image.facts, &seed()).unwrap();
    for plan in &plans {
        let mut seen = BTreeSet::new();
        for edit in &plan.edits {
            let (Action::WriteFile { path, .. } | Action::Symlink { path, .. }) = &edit.action else {
                continue;
            };
            assert!(seen.insert(path.clone()), "{path} is written twice");
        }
    }
    plans
}

/// The first node's plan.
fn plan(cluster: &Cluster, image: &Image) -> NodePlan {
    plans(cluster, image).remove(0)
}

fn problems(cluster: &Cluster, image: &Image) -> Vec<Problem> {
    let faults = resolve(cluster, &image.facts, &seed()).unwrap_err();
    faults.0.into_iter().filter(|fault| fault.node == "one").map(|fault| fault.problem).collect()
}

impl NodePlan {
    fn write(&self, wanted: &str) -> Option<(&Content, Option<u16>, Option<Owner>)> {
        self.edits.iter().find_map(|edit| match &edit.action {
            Action::WriteFile { path, content, mode, owner } if path.as_str() == wanted => {
                Some((content, *mode, *owner))
            }
            _ => None,
        })
    }

    fn text(&self, path: &str) -> &str {
        let (content, ..) =
            self.write(path).unwrap_or_else(|| panic!("{path} is not written: {:#?}", self.edits));
        std::str::from_utf8(content.bytes()).unwrap()
    }

    fn line(&self, path: &str, start: &str) -> &str {
        self.text(path).lines().find(|line| line.starts_with(start)).unwrap_or_default()
    }

    fn link(&self, wanted: &str) -> Option<&str> {
        self.edits.iter().find_map(|edit| match &edit.action {
            Action::Symlink { path, target } if path.as_str() == wanted => Some(target.as_str()),
            _ => None,
        })
    }

    fn removes(&self, wanted: &str) -> bool {
        self.does(&Action::Remove { path: wanted.parse().unwrap() })
    }

    fn does(&self, wanted: &Action) -> bool {
        self.edits.iter().any(|edit| edit.action == *wanted)
    }
}

const GENERATIONS: [fn() -> Image; 5] = [buster, bullseye, bookworm, trixie, debian];

fn busy() -> Cluster {
    let mut cluster = with(|settings| {
        settings.ssh_enable = Some(true);
        settings.ssh_password_login = Some(false);
        settings.users = vec![User {
            password: Some(Password::Plain(Secret::new(String::from("hunter2hunter2")))),
            sudo: Some(Sudo::NoPassword),
            ..user("ada")
        }];
        settings.wifi = Some(Wifi {
            ssid: String::from("net"),
            passphrase: Some(WifiKey::Passphrase(Secret::new(String::from("correct horse")))),
            hidden: false,
            country: String::from("GB"),
            addresses: Vec::new(),
        });
        settings.timezone = Some(String::from("Europe/London"));
        settings.packages = vec![String::from("docker.io")];
    });
    cluster.ssh_between_nodes = true;
    cluster
}

#[test]
fn the_same_input_gives_the_same_plan_and_another_seed_another() {
    for image in GENERATIONS.map(|image| image()) {
        let first = resolve(&busy(), &image.facts, &seed()).unwrap();
        assert_eq!(first, resolve(&busy(), &image.facts, &seed()).unwrap());
        assert_ne!(first, resolve(&busy(), &image.facts, &Seed::new([43; 32])).unwrap());
    }
}

#[test]
fn nothing_secret_is_shown_by_a_plan() {
    for image in GENERATIONS.map(|image| image()) {
        let plans = plans(&busy(), &image);
        let shown = format!("{plans:?}");
        for secret in ["hunter2", "correct horse", "BEGIN OPENSSH", "$6$"] {
            let bytes = format!("{:?}", secret.as_bytes());
            assert!(
                !shown.contains(secret) && !shown.contains(bytes.trim_matches(['[', ']'])),
                "{secret} is shown"
            );
        }
        // Nor is any of them put where everybody can read it.
        for edit in plans.iter().flat_map(|plan| &plan.edits) {
            if let Action::WriteFile { path, content, mode, .. } = &edit.action
                && content.is_secret()
            {
                assert!(!path.as_str().starts_with("/boot"));
                assert!(mode.is_none_or(|mode| mode & 0o007 == 0), "{path}");
            }
        }
    }
}

#[test]
fn edits_come_in_their_order() {
    let rank = |edit: &Edit| match edit.action {
        Action::Rename { .. } => 0,
        Action::Remove { .. } => 1,
        Action::MakeDirectory { .. } => 2,
        Action::WriteFile { .. } => 3,
        Action::Symlink { .. } => 4,
        Action::SetAttributes { .. } => 5,
        _ => 6,
    };
    for image in GENERATIONS.map(|image| image()) {
        let ranks: Vec<u8> = plan(&busy(), &image).edits.iter().map(rank).collect();
        assert!(ranks.is_sorted(), "{ranks:?}");
    }
}

#[test]
fn everything_that_planning_reads_was_asked_for() {
    let wanted = wanted_paths(&busy());
    for path in
        ["/etc/passwd", "/boot/cmdline.txt", "/boot/firmware/cmdline.txt", "/home/ada/.ssh/authorized_keys"]
    {
        assert!(wanted.contains(&path.parse().unwrap()), "{path}");
    }
    // A tree of exactly these paths gives the same plan as the whole one.
    for image in GENERATIONS.map(|image| image()) {
        let mut facts = image.facts.clone();
        facts.tree = Tree::default();
        for path in &wanted {
            if let Some(found) = image.facts.tree.get(path.as_str()) {
                facts.tree.insert(path.clone(), found.clone());
            }
        }
        let whole = resolve(&busy(), &image.facts, &seed());
        assert!(resolve(&busy(), &facts, &seed()) == whole, "{}", facts.release.codename);
    }
}

#[test]
fn a_node_knows_its_name_and_every_node_with_an_address() {
    let plan = plan(&cluster(), &trixie());
    assert_eq!(plan.text("/etc/hostname"), "one\n");
    assert_eq!(
        plan.text("/etc/hosts"),
        "127.0.0.1\tlocalhost\n::1\t\tlocalhost ip6-localhost ip6-loopback\nff02::1\t\tip6-allnodes\n\n\
         127.0.1.1\tone.lan one\n\
         # cardpress begin\n\
         192.0.2.11\tone one.local one.lan\n\
         192.0.2.12\ttwo two.local two.lan\n\
         # cardpress end\n"
    );
}

#[test]
fn pressing_what_was_pressed_changes_no_hosts() {
    let first = plan(&cluster(), &trixie());
    let again = trixie().file("/etc/hosts", first.text("/etc/hosts"));
    assert!(plan(&cluster(), &again).write("/etc/hosts").is_none());
}

#[test]
fn the_shipped_user_is_renamed_with_all_it_has() {
    let plan = plan(&with(|settings| settings.users = vec![user("ada")]), &trixie());
    assert_eq!(plan.line("/etc/passwd", "ada:"), "ada:x:1000:1000:,,,:/home/ada:/bin/bash"); // nologin is gone
    assert_eq!(plan.line("/etc/passwd", "pi:"), "");
    assert_eq!(plan.line("/etc/group", "sudo:"), "sudo:x:27:ada");
    assert_eq!(plan.line("/etc/gshadow", "gpio:"), "gpio:!::ada");
    assert_eq!(plan.line("/etc/subuid", "ada:"), "ada:100000:65536");
    let (from, to) = ("/home/pi".parse().unwrap(), "/home/ada".parse().unwrap());
    assert!(plan.does(&Action::Rename { from, to }));
    let owner = Owner { uid: 1000, gid: 1000 };
    let (keys, mode, who) = plan.write("/home/ada/.ssh/authorized_keys").unwrap();
    assert_eq!((keys.bytes(), mode, who), (&b"ssh-ed25519 AAAAuser me\n"[..], Some(0o600), Some(owner)));
    let path = "/home/ada/.ssh".parse().unwrap();
    assert!(plan.does(&Action::MakeDirectory { path, mode: 0o700, owner }));
    // shadow keeps its mode and group, and is never shown.
    let (shadow, mode, who) = plan.write("/etc/shadow").unwrap();
    assert_eq!((shadow.is_secret(), mode, who), (true, None, None));
}

#[test]
fn the_shipped_user_stays_when_the_profile_names_it() {
    let plan = plan(&with(|settings| settings.users = vec![user("ada"), user("pi")]), &bookworm());
    assert_eq!(plan.line("/etc/passwd", "pi:"), "pi:x:1000:1000:,,,:/home/pi:/bin/bash");
    assert_eq!(plan.line("/etc/passwd", "ada:"), "ada:x:1001:1001::/home/ada:/bin/bash");
    assert_eq!(plan.text("/home/ada/.bashrc"), "# bashrc\n");
    let path = "/home/ada".parse().unwrap();
    let owner = Owner { uid: 1001, gid: 1001 };
    assert!(plan.does(&Action::MakeDirectory { path, mode: 0o700, owner })); // adduser's default since bookworm
}

#[test]
fn passwords_are_stored_as_the_release_can_read_them() {
    let hashed = |kind: &str| {
        let hash = format!("{kind}salt$hash");
        with(move |settings| {
            let password = Some(Password::Hash(Secret::new(hash.clone())));
            settings.users = vec![User { password, ..user("ada") }];
        })
    };
    assert_eq!(
        plan(&hashed("$y$j9T$"), &bookworm()).line("/etc/shadow", "ada:"),
        "ada:$y$j9T$salt$hash:19700:0:99999:7:::"
    );
    assert!(
        matches!(&problems(&hashed("$y$j9T$"), &buster())[..], [Problem::HashKind { kind, .. }] if kind == "$y$")
    );
    let plain = with(|settings| {
        let password = Some(Password::Plain(Secret::new(String::from("sesame"))));
        settings.users = vec![User { password, ..user("ada") }];
    });
    let all = plans(&plain, &buster());
    let hashes: BTreeSet<&str> = all.iter().map(|plan| plan.line("/etc/shadow", "ada:")).collect();
    assert!(hashes.iter().all(|line| line.starts_with("ada:$6$") && !line.contains("rounds")));
    assert_eq!(hashes.len(), 3); // another salt on every node
}

#[test]
fn sudo_is_what_was_asked_for() {
    let sudo = |sudo| with(move |settings| settings.users = vec![User { sudo, ..user("ada") }]);
    let shipped = "/etc/sudoers.d/010_pi-nopasswd";
    assert_eq!(plan(&sudo(None), &bookworm()).text(shipped), "ada ALL=(ALL) NOPASSWD: ALL\n");
    assert!(plan(&sudo(Some(Sudo::Password)), &bookworm()).removes(shipped));
    let no = plan(&sudo(Some(Sudo::No)), &bookworm());
    assert_eq!(no.line("/etc/group", "sudo:"), "sudo:x:27:");
    let (rule, mode, _) = plan(&sudo(Some(Sudo::NoPassword)), &trixie())
        .write("/etc/sudoers.d/010_ada-nopasswd")
        .map(|(c, m, o)| (c.clone(), m, o))
        .unwrap();
    assert_eq!((rule.bytes(), mode), (&b"ada ALL=(ALL) NOPASSWD: ALL\n"[..], Some(0o440)));
}

#[test]
fn an_unknown_group_is_a_fault_unless_packages_may_bring_it() {
    let mut cluster = with(|settings| {
        settings.users = vec![User { groups: vec![String::from("vidio")], ..user("ada") }];
    });
    let [Problem::Missing { nearest, .. }] = &problems(&cluster, &trixie())[..] else { panic!() };
    assert_eq!(nearest.as_deref(), Some("video"));
    cluster.nodes.iter_mut().for_each(|node| node.settings.packages = vec![String::from("docker.io")]);
    let plan = plan(&cluster, &trixie());
    assert_eq!(plan.line("/etc/group", "vidio:"), "vidio:x:999:ada");
    assert!(plan.warnings.iter().any(|warning| warning.contains("vidio")));
}

#[test]
fn the_wizard_ends_once_a_user_is_set_and_only_then() {
    let unit = "/etc/systemd/system/userconfig.service";
    let ended = plan(&with(|settings| settings.users = vec![user("ada")]), &bullseye());
    assert_eq!(ended.link(unit), Some("/dev/null"));
    assert!(ended.removes("/etc/systemd/system/multi-user.target.wants/userconfig.service"));
    assert!(ended.removes("/etc/ssh/sshd_config.d/rename_user.conf"));
    let getty = "/etc/systemd/system/getty.target.wants/getty@tty1.service";
    assert_eq!(ended.link(getty), Some("/lib/systemd/system/getty@.service"));
    let left = plan(&cluster(), &bullseye());
    assert_eq!(left.link(unit), None);
    assert!(left.warnings.iter().any(|warning| warning.contains("wizard")));
}

#[test]
fn ssh_is_enabled_by_links_and_disabled_without_them() {
    let on = plan(&with(|settings| settings.ssh_enable = Some(true)), &trixie());
    let wants = "/etc/systemd/system/multi-user.target.wants/ssh.service";
    assert_eq!(on.link(wants), Some("/lib/systemd/system/ssh.service"));
    assert_eq!(on.link("/etc/systemd/system/sshd.service"), Some("/lib/systemd/system/ssh.service"));
    let enabled = trixie()
        .directory("/etc/systemd/system", &["sshd.service"])
        .link("/etc/systemd/system/sshd.service", "/lib/systemd/system/ssh.service")
        .directory("/etc/systemd/system/multi-user.target.wants", &["ssh.service"])
        .link(wants, "/lib/systemd/system/ssh.service");
    let off = plan(&with(|settings| settings.ssh_enable = Some(false)), &enabled);
    assert!(off.removes(wants) && off.removes("/etc/systemd/system/sshd.service"));
    assert!(off.text(units::PRESET).contains("disable ssh.service\n"));
}

#[test]
fn password_login_is_set_where_sshd_looks_first() {
    let off = with(|settings| settings.ssh_password_login = Some(false));
    assert_eq!(
        plan(&off, &trixie()).text("/etc/ssh/sshd_config.d/10-cardpress.conf"),
        "PasswordAuthentication no\nKbdInteractiveAuthentication no\n"
    );
    assert_eq!(
        plan(&off, &buster()).text("/etc/ssh/sshd_config"),
        "PasswordAuthentication no\nChallengeResponseAuthentication no\nUsePAM yes\n"
    );
}

#[test]
fn host_keys_are_known_beforehand_and_stay() {
    for image in [buster(), bullseye(), bookworm(), trixie()] {
        let plan = plan(&cluster(), &image);
        let (key, mode, owner) = plan.write("/etc/ssh/ssh_host_ed25519_key").unwrap();
        assert_eq!((key.is_secret(), mode, owner), (true, Some(0o600), Some(Owner::ROOT)));
        let key = ssh_key::PrivateKey::from_openssh(key.bytes()).unwrap();
        let (name, public) = &host_keys(&cluster(), &seed())[0];
        assert_eq!((name.as_str(), key.comment()), ("one", "root@one"));
        assert_eq!(plan.text("/etc/ssh/ssh_host_ed25519_key.pub"), format!("{public} root@one\n"));
        assert!(key.public_key().to_openssh().unwrap().starts_with(public.as_str()));
        let line = plan.line("/etc/ssh/ssh_known_hosts", "one,");
        assert_eq!(line, format!("one,one.local,one.lan,192.0.2.11 {public}"));
        assert_eq!(plan.link("/etc/systemd/system/regenerate_ssh_host_keys.service"), Some("/dev/null"));
        let helper = plan.write(ssh::REGENERATE).map(|(text, mode, _)| (text.bytes().to_vec(), mode));
        match image.facts.first_boot {
            FirstBoot::SysModsFirstboot => {
                let (text, mode) = helper.unwrap();
                assert!(!String::from_utf8(text).unwrap().contains("rm "));
                assert_eq!(mode, None); // stays 0755
                assert!(plan.text(&format!("{}/cmdline.txt", image.facts.boot_mount)).contains("init="));
            }
            _ => assert_eq!(helper, None),
        }
    }
}

#[test]
fn keys_of_an_image_that_has_run_are_shared_and_go() {
    let used = debian()
        .directory("/etc/ssh", &["ssh_host_rsa_key", "ssh_host_rsa_key.pub", "sshd_config"])
        .file("/etc/ssh/ssh_host_rsa_key", "x");
    let used = Image { facts: used.facts }.file("/etc/ssh/ssh_host_rsa_key.pub", "y");
    let plan = plan(&cluster(), &used);
    assert!(plan.removes("/etc/ssh/ssh_host_rsa_key") && plan.removes("/etc/ssh/ssh_host_rsa_key.pub"));
}

#[test]
fn nodes_can_log_in_to_one_another() {
    let mut cluster = with(|settings| settings.users = vec![user("ada")]);
    cluster.ssh_between_nodes = true;
    let plans = plans(&cluster, &trixie());
    let own = plans[0].text("/home/ada/.ssh/id_ed25519.pub");
    assert!(plans[0].write("/home/ada/.ssh/id_ed25519").unwrap().0.is_secret());
    assert!(plans[1].text("/home/ada/.ssh/authorized_keys").contains(own));
    assert!(!plans[0].text("/home/ada/.ssh/authorized_keys").contains(own));
    assert_eq!(plans[0].text("/home/ada/.ssh/authorized_keys").lines().count(), 3); // the profile's and two nodes'
    cluster.nodes.iter_mut().for_each(|node| node.settings.users.clear());
    assert_eq!(problems(&cluster, &debian()), [Problem::NobodyToLogIn]);
}

#[test]
fn ids_are_new_and_fstab_and_cmdline_follow() {
    let all = plans(&cluster(), &trixie());
    let Some(id) = all[0].edits.iter().find_map(|edit| match edit.action {
        Action::SetDiskId(id) => Some(id),
        _ => None,
    }) else {
        panic!("no disk id")
    };
    assert_ne!(id, images::DISK_ID);
    let fstab = all[0].text("/etc/fstab");
    assert!(
        fstab.contains(&format!("PARTUUID={id:08x}-01  /boot/firmware  vfat")) && !fstab.contains("0badcafe")
    );
    let cmdline = all[0].text("/boot/firmware/cmdline.txt");
    assert!(
        cmdline.contains(&format!("root=PARTUUID={id:08x}-02 ")) && cmdline.ends_with("rootwait resize\n")
    );
    let ids: BTreeSet<&str> = all.iter().map(|plan| plan.text("/etc/machine-id")).collect();
    assert!(ids.len() == 3 && ids.iter().all(|id| id.len() == 33));
}

#[test]
fn roots_by_label_or_device_stay_and_uuids_follow() {
    let serial = |plan: &NodePlan| {
        plan.edits.iter().find_map(|edit| match edit.action {
            Action::SetBootSerial(serial) => Some(serial),
            _ => None,
        })
    };
    let fstab = format!(
        "UUID={} / ext4 defaults 0 1\nUUID=1234-abcd /boot/firmware vfat defaults 0 2\n",
        images::ROOT_UUID
    );
    let plan = plan(&cluster(), &debian().file("/etc/fstab", &fstab));
    let serial = serial(&plan).unwrap();
    assert!(plan.text("/etc/fstab").contains(&format!(
        "UUID={:04X}-{:04X} /boot",
        serial >> 16,
        serial & 0xffff
    )));
    assert!(!plan.text("/etc/fstab").contains(&images::ROOT_UUID.to_string()));
    assert!(plan.write("/boot/firmware/cmdline.txt").is_none());
}

#[test]
fn trixie_goes_on_growing_without_a_first_boot() {
    let plan = plan(&cluster(), &trixie());
    let link = "/etc/systemd/system/local-fs.target.wants/systemd-growfs-root.service";
    assert_eq!(plan.link(link), Some("/usr/lib/systemd/system/systemd-growfs-root.service"));
    assert_eq!(plan.link("/etc/systemd/system/rpi-resize.service"), Some("/dev/null"));
}

#[test]
fn an_image_grown_offline_tells_its_machinery() {
    let mut cluster = cluster();
    let len: ByteLen = "8GiB".parse().unwrap();
    cluster.image.grow = Some(len);
    let new = plan(&cluster, &trixie());
    assert!(new.does(&Action::GrowImage(len)));
    assert!(new.text("/boot/firmware/cmdline.txt").ends_with("fsck.repair=yes rootwait\n"));
    assert_eq!(new.link("/etc/systemd/system/rpi-resize.service"), Some("/dev/null"));
    assert!(new.removes("/etc/systemd/system/sysinit.target.wants/rpi-resize.service"));
    for image in [buster(), bullseye()] {
        assert!(plan(&cluster, &image).text("/boot/cmdline.txt").ends_with("fsck.repair=yes rootwait\n"));
    }
}

#[test]
fn the_kernel_command_line_is_edited_token_by_token() {
    let cluster = with(|settings| {
        settings.cmdline_add = vec![String::from("cgroup_enable=memory"), String::from("fsck.repair=no")];
        settings.cmdline_remove = vec![String::from("console")];
    });
    let plan = plan(&cluster, &bookworm());
    let line = plan.text("/boot/firmware/cmdline.txt");
    assert!(line.starts_with("root=PARTUUID=") && line.contains(" fsck.repair=no rootwait quiet init="));
    assert!(line.ends_with("/firstboot cgroup_enable=memory\n"));
}

#[test]
fn a_static_address_is_written_as_the_stack_reads_it() {
    assert_eq!(
        plan(&cluster(), &buster()).text("/etc/dhcpcd.conf"),
        format!(
            "{}# cardpress begin eth0\ninterface eth0\nstatic ip_address=192.0.2.11/24\nstatic routers=192.0.2.1\n\
             static domain_name_servers=192.0.2.53\nstatic domain_search=lan\n# cardpress end\n",
            images::DHCPCD
        )
    );
    let plan_nm = plan(&cluster(), &trixie());
    let path = "/etc/NetworkManager/system-connections/cardpress-eth0.nmconnection";
    let (text, mode, owner) = plan_nm.write(path).unwrap();
    assert_eq!((mode, owner), (Some(0o600), Some(Owner::ROOT)));
    let text = std::str::from_utf8(text.bytes()).unwrap();
    let (head, tail) = text.split_once("\n[ipv4]").unwrap();
    assert!(head.contains("\ntype=ethernet\ninterface-name=eth0\n"));
    assert_eq!(
        tail,
        "\nmethod=manual\naddress1=192.0.2.11/24\ngateway=192.0.2.1\ndns=192.0.2.53;\ndns-search=lan;\n\n\
         [ipv6]\nmethod=auto\ndns-search=lan;\naddr-gen-mode=default\n\n[proxy]\n"
    );
    assert_eq!(
        plan(&cluster(), &debian()).text("/etc/netplan/90-cardpress.yaml"),
        "network:\n  version: 2\n  ethernets:\n    eth0:\n      dhcp4: false\n      dhcp6: false\n      \
         addresses: [\"192.0.2.11/24\"]\n      routes:\n        - to: default\n          via: \"192.0.2.1\"\n      \
         nameservers:\n        addresses: [\"192.0.2.53\"]\n        search: [\"lan\"]\n      optional: true\n"
    );
    let mut nobody = trixie();
    nobody.facts.network = NetworkStack::Unknown;
    assert!(matches!(&problems(&cluster(), &nobody)[..], [Problem::NoNetworkStack { .. }]));
}

#[test]
fn a_node_on_dhcp_gets_no_network_file() {
    let all = plans(&cluster(), &trixie());
    assert!(all[2].write("/etc/NetworkManager/system-connections/cardpress-eth0.nmconnection").is_none());
}

#[test]
fn wifi_is_stored_hashed_and_its_radio_is_on() {
    let cluster = busy();
    // PBKDF2-HMAC-SHA1("correct horse", "net", 4096, 32), by Python's hashlib.
    let psk = "f9c2c85db57e2f8cbd1b7cdcd36c2ed9d74c3e80fa003fa1283c4cfa6e393bfe";
    let old = plan(&cluster, &buster());
    let supplicant = old.text("/etc/wpa_supplicant/wpa_supplicant.conf");
    assert_eq!(
        supplicant,
        format!(
            "ctrl_interface=DIR=/var/run/wpa_supplicant GROUP=netdev\nupdate_config=1\ncountry=GB\n\
             # cardpress begin\nnetwork={{\n\
             \tssid=\"net\"\n\tpsk={psk}\n\tkey_mgmt=WPA-PSK\n}}\n# cardpress end\n"
        )
    );
    assert_eq!(old.text("/var/lib/systemd/rfkill/platform-3f300000.mmcnr:wlan"), "0\n");
    let new = plan(&cluster, &bookworm());
    let keyfile = new.text("/etc/NetworkManager/system-connections/cardpress-wlan0.nmconnection");
    assert!(keyfile.contains(&format!("\n[wifi-security]\nkey-mgmt=wpa-psk\npsk={psk}\n")));
    assert!(new.text("/var/lib/NetworkManager/NetworkManager.state").contains("WirelessEnabled=true"));
    assert!(new.text("/boot/firmware/cmdline.txt").contains("cfg80211.ieee80211_regdom=GB"));
    let netplan = plan(&cluster, &debian());
    assert!(netplan.text("/etc/netplan/90-cardpress.yaml").contains(&format!("password: \"{psk}\"")));
}

#[test]
fn time_zone_locale_and_keyboard_land_in_their_files() {
    let cluster = with(|settings| {
        settings.timezone = Some(String::from("Europe/London"));
        settings.locale = Some(String::from("de_DE.UTF-8"));
        settings.keyboard = Some(Keyboard {
            layout: "de".into(),
            model: None,
            variant: String::new(),
            options: String::new(),
        });
    });
    let plan = plan(&cluster, &trixie());
    assert_eq!(plan.link("/etc/localtime"), Some("/usr/share/zoneinfo/Europe/London"));
    assert_eq!(plan.text("/etc/timezone"), "Europe/London\n");
    assert_eq!(plan.text("/etc/locale.conf"), "LANG=de_DE.UTF-8\n");
    assert!(plan.write("/etc/default/locale").is_none()); // a link to the former
    assert_eq!(plan.text("/etc/locale.gen"), "de_DE.UTF-8 UTF-8\nen_GB.UTF-8 UTF-8\n");
    assert!(plan.text("/usr/local/lib/cardpress/first-boot.d/01-locale").contains("locale-gen"));
    assert!(plan.text("/etc/default/keyboard").contains("XKBLAYOUT=\"de\""));
    let nowhere = with(|settings| settings.timezone = Some(String::from("Europe/Londn")));
    assert!(matches!(&problems(&nowhere, &trixie())[..], [Problem::Missing { what: "time zone", .. }]));
}

#[test]
fn files_of_the_profile_have_the_last_word_and_their_owners() {
    let cluster = with(|settings| {
        settings.users = vec![user("ada")];
        settings.files = vec![FileSetting {
            path: "/etc/hosts".parse().unwrap(),
            content: Content::text("mine\n"),
            mode: Some(0o640),
            owner: Some(OwnerName { user: "ada".into(), group: "video".into() }),
        }];
        settings.removals = vec!["/etc/fstab".parse().unwrap()];
    });
    let plan = plan(&cluster, &trixie());
    let (content, mode, owner) = plan.write("/etc/hosts").unwrap();
    assert_eq!(
        (content.bytes(), mode, owner),
        (&b"mine\n"[..], Some(0o640), Some(Owner { uid: 1000, gid: 44 }))
    );
    assert!(plan.removes("/etc/fstab") && plan.write("/etc/fstab").is_none());
}

#[test]
fn a_secret_on_the_boot_partition_is_refused() {
    let cluster = with(|settings| {
        settings.files = vec![FileSetting {
            path: "/boot/firmware/token".parse().unwrap(),
            content: Content::secret(*b"s"),
            mode: None,
            owner: None,
        }];
    });
    assert!(matches!(&problems(&cluster, &trixie())[..], [Problem::SecretOnBoot { .. }]));
}

#[test]
fn fstab_lines_replace_those_of_the_same_place() {
    let cluster = with(|settings| {
        let line = |device: &str, mount: &str| FstabLine {
            device: device.into(),
            mount: mount.into(),
            fs_type: "nfs".into(),
            options: "defaults".into(),
            dump: 0,
            pass: 0,
        };
        settings.fstab = vec![line("nas:/a", "/srv/a b"), line("proc", "/proc")];
    });
    let plan = plan(&cluster, &trixie());
    let fstab = plan.text("/etc/fstab");
    assert!(fstab.starts_with("proc\t/proc\tnfs\tdefaults\t0\t0\nPARTUUID="));
    assert!(fstab.ends_with("nas:/a\t/srv/a\\040b\tnfs\tdefaults\t0\t0\n"));
    let path = "/srv/a b".parse().unwrap();
    assert!(plan.does(&Action::MakeDirectory { path, mode: 0o755, owner: Owner::ROOT }));
}

#[test]
fn kernel_settings_get_files_of_their_own() {
    let cluster = with(|settings| {
        settings.sysctl = vec![("net.ipv4.ip_forward".into(), "1".into())];
        settings.modules = vec!["overlay".into(), "br_netfilter".into()];
    });
    let plan = plan(&cluster, &trixie());
    assert_eq!(plan.text("/etc/sysctl.d/90-cardpress.conf"), "net.ipv4.ip_forward = 1\n");
    assert_eq!(plan.text("/etc/modules-load.d/cardpress.conf"), "overlay\nbr_netfilter\n");
}

#[test]
fn cloud_init_is_switched_off_where_it_is() {
    assert!(plan(&cluster(), &trixie()).write("/etc/cloud/cloud-init.disabled").is_some());
    assert!(plan(&cluster(), &bookworm()).write("/etc/cloud/cloud-init.disabled").is_none());
}

#[test]
fn a_unit_that_is_not_there_is_a_fault_unless_a_package_may_bring_it() {
    let mut cluster = with(|settings| settings.units_enable = vec![String::from("shh.service")]);
    let [Problem::Missing { what: "unit", nearest, .. }] = &problems(&cluster, &trixie())[..] else {
        panic!()
    };
    assert_eq!(nearest.as_deref(), Some("ssh.service"));
    cluster.nodes.iter_mut().for_each(|node| node.settings.packages = vec![String::from("some")]);
    let plan = plan(&cluster, &trixie());
    assert!(
        plan.text("/usr/local/lib/cardpress/first-boot.d/02-services")
            .contains("systemctl enable --now shh.service")
    );
}

#[test]
fn a_unit_of_the_profile_can_be_enabled() {
    let cluster = with(|settings| {
        settings.files = vec![FileSetting {
            path: "/etc/systemd/system/mine.timer".parse().unwrap(),
            content: Content::text("[Install]\nWantedBy=timers.target\n"),
            mode: None,
            owner: None,
        }];
        settings.units_enable = vec![String::from("mine.timer")];
    });
    let plan = plan(&cluster, &trixie());
    let link = "/etc/systemd/system/timers.target.wants/mine.timer";
    assert_eq!(plan.link(link), Some("/etc/systemd/system/mine.timer"));
}

#[test]
fn the_runner_is_there_only_when_there_is_something_to_run() {
    let none = plan(&cluster(), &trixie());
    assert!(none.write("/usr/local/lib/cardpress/first-boot").is_none());
    let some = plan(
        &with(|settings| {
            settings.packages = vec!["docker.io".into(), "nfs-common".into()];
            settings.first_boot = vec![FirstBootScript {
                name: "join".into(),
                script: (*b"#!/bin/sh\ntrue\n").into(),
                needs_network: true,
            }];
        }),
        &trixie(),
    );
    let lib = "/usr/local/lib/cardpress";
    assert_eq!(some.text(&format!("{lib}/needs-network")), "01-packages\n02-join\n");
    assert!(
        some.text(&format!("{lib}/first-boot.d/01-packages")).contains("\nset -- docker.io nfs-common\n")
    );
    assert_eq!(some.write(&format!("{lib}/first-boot.d/02-join")).unwrap().1, Some(0o700));
    let unit = "/etc/systemd/system/cardpress-first-boot.service";
    assert_eq!(
        some.link("/etc/systemd/system/multi-user.target.wants/cardpress-first-boot.service"),
        Some(unit)
    );
}

#[test]
fn every_fault_of_every_node_is_told_at_once() {
    let mut cluster = with(|settings| settings.timezone = Some(String::from("No/Where")));
    cluster.nodes[1].settings.units_enable = vec![String::from("nope.service")];
    let faults = resolve(&cluster, &trixie().facts, &seed()).unwrap_err();
    let said: Vec<(&str, &str)> = faults.0.iter().map(|fault| (fault.node.as_str(), fault.section)).collect();
    assert_eq!(said, [("one", "timezone"), ("two", "timezone"), ("two", "service"), ("three", "timezone")]);
    assert!(faults.to_string().starts_with("node `one`, timezone: the image has no time zone `No/Where`\n"));
}
