//! Single paths, fstab, kernel settings, units, first boot: what the profile says in so many words.

use super::*;

#[test]
fn files_of_the_profile_have_the_last_word_and_their_owners() {
    let cluster = with(|settings| {
        settings.users = vec![user("ada")];
        settings.files = vec![FileSetting {
            path: "/etc/hosts".parse().unwrap(),
            content: Content::text("mine\n"),
            template: None,
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
            template: None,
            mode: None,
            owner: None,
        }];
    });
    assert!(matches!(&problems(&cluster, &trixie())[..], [Problem::SecretOnBoot { .. }]));
}

#[test]
fn a_link_takes_the_place_of_a_directory_only_after_its_removal() {
    let link = |removals: &[&str]| {
        with(|settings| {
            let path = "/srv/data".parse().unwrap();
            settings.symlinks = vec![SymlinkSetting { path, target: "/mnt/data".into() }];
            settings.removals = removals.iter().map(|path| path.parse().unwrap()).collect();
        })
    };
    let image = trixie().directory("/srv/data", &["old"]);
    let found = problems(&link(&[]), &image);
    assert!(matches!(&found[..], [Problem::Taken { what: "path", .. }]), "{found:?}");
    assert_eq!(plan(&link(&["/srv/data"]), &image).link("/srv/data"), Some("/mnt/data"));
}

#[test]
fn a_new_secret_file_is_its_owners_alone() {
    let cluster = with(|settings| {
        let path = "/etc/token".parse().unwrap();
        settings.files = vec![FileSetting {
            path,
            content: Content::secret(*b"s"),
            template: None,
            mode: None,
            owner: None,
        }];
    });
    assert_eq!(plan(&cluster, &trixie()).write("/etc/token").unwrap().1, Some(0o600));
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
            template: None,
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
                script: Content::text("#!/bin/sh\ntrue\n"),
                needs_network: true,
                needs: None,
            }];
        }),
        &trixie(),
    );
    let lib = "/usr/local/lib/cardpress";
    assert_eq!(some.text(&format!("{lib}/needs-network")), "01-packages\n02-join\n");
    assert_eq!(some.text(&format!("{lib}/needs")), "01-packages\n");
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

fn script(name: &str, needs: &[&str]) -> FirstBootScript {
    FirstBootScript {
        name: name.into(),
        script: crate::plan::Content::text("#!/bin/sh\n"),
        needs_network: false,
        needs: Some(needs.iter().map(|&need| need.into()).collect()),
    }
}

#[test]
fn what_steps_need_is_said_by_their_numbered_names() {
    let cluster = with(|settings| {
        settings.packages = vec!["docker.io".into()];
        settings.units_enable = vec![String::from("docker.service")];
        let silent = FirstBootScript { needs: None, ..script("silent", &[]) };
        // There is nothing to download, so nothing is waited for.
        settings.first_boot = vec![
            script("free", &[]),
            silent,
            script("join", &["services", "late", "downloads"]),
            script("late", &["free"]),
        ];
    });
    let plan = plan(&cluster, &trixie());
    assert_eq!(
        plan.text("/usr/local/lib/cardpress/needs"),
        "01-packages\n02-services 01-packages\n03-free\n05-join 02-services 06-late\n06-late 03-free\n"
    );
}

#[test]
fn a_script_that_could_never_run_is_a_fault() {
    let cluster = with(|settings| {
        settings.first_boot = vec![script("a", &["b"]), script("b", &["a", "pakages"])];
    });
    let said: Vec<String> = problems(&cluster, &trixie()).iter().map(ToString::to_string).collect();
    assert_eq!(
        said,
        [
            "`b` needs `pakages`, which is no step of this node; did you mean `packages`?",
            "`a` needs `b`, which needs `a`",
        ]
    );
}
