//! Accounts, the wizard, ssh and its keys.

use super::*;

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
fn a_shipped_user_of_another_name_is_renamed_with_its_home() {
    let passwd = "root:x:0:0:root:/root:/bin/bash\nadmin:x:1000:1000::/home/admin:/bin/bash\n";
    let mut image = trixie().file("/etc/passwd", passwd).directory("/home", &["admin"]);
    image.facts.first_user.as_mut().unwrap().name = String::from("admin");
    let plan = plan(&with(|settings| settings.users = vec![user("ada")]), &image);
    let (from, to) = ("/home/admin".parse().unwrap(), "/home/ada".parse().unwrap());
    assert!(plan.does(&Action::Rename { from, to }));
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
fn what_is_missing_on_the_way_into_a_home_belongs_to_its_user() {
    let file = |path: &str| FileSetting {
        path: path.parse().unwrap(),
        content: Content::text("x\n"),
        template: None,
        mode: None,
        owner: None,
    };
    let cluster = with(|settings| {
        settings.users = vec![user("ada")];
        settings.files = vec![
            file("/home/ada/.config/tool/one.toml"),
            file("/home/ada/.config/tool/two.toml"),
            file("/home/ada/.cache/three"),
            file("/srv/data/four"),
        ];
    });
    // What the shipped user has already keeps its owner and mode.
    let plan = plan(&cluster, &bookworm().directory("/home/pi/.cache", &[]));
    let made: Vec<(&str, u16, u32)> = plan
        .edits
        .iter()
        .filter_map(|edit| match &edit.action {
            Action::MakeDirectory { path, mode, owner } => Some((path.as_str(), *mode, owner.uid)),
            _ => None,
        })
        .collect();
    let wanted = [
        ("/home/ada/.config", 0o755, 1000),
        ("/home/ada/.config/tool", 0o755, 1000),
        ("/home/ada/.ssh", 0o700, 1000),
    ];
    assert_eq!(made, wanted);
}

#[test]
fn what_the_image_leads_to_is_asked_for_in_a_second_round() {
    let passwd = "root:x:0:0:root:/root:/bin/bash\nadmin:x:1000:1000::/data/admin:/bin/bash\n";
    let unit = "[Install]\nWantedBy=multi-user.target\nAlso=tool.socket\n";
    let image = trixie().file("/etc/passwd", passwd).file("/usr/lib/systemd/system/tool.service", unit);
    let cluster = with(|settings| settings.units_enable = vec![String::from("tool.service")]);
    let asked: Vec<String> = more_paths(&cluster, &image.facts).iter().map(ToString::to_string).collect();
    for path in ["/data/admin/.ssh/authorized_keys", "/usr/lib/systemd/system/tool.socket"] {
        assert!(asked.iter().any(|other| other == path), "{path} is not asked for: {asked:?}");
    }
}
