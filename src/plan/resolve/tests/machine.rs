//! Identity, growing, boot files, network, Wi-Fi, time zone, locale, keyboard.

use super::*;
use uuid::Uuid;

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
fn the_guids_of_a_gpt_are_new_and_the_texts_that_name_them_follow() {
    let (boot, root) = (Uuid::from_u128(0xb007), Uuid::from_u128(0x1007));
    let fstab =
        format!("PARTUUID={root} / ext4 defaults 0 1\nPARTUUID={boot} /boot/firmware vfat defaults 0 2\n");
    let mut image = debian().file("/etc/fstab", &fstab);
    image.facts.disk_id = None;
    image.facts.partition_guids = vec![(1, boot), (2, root)];
    let all = plans(&cluster(), &image);
    let guids = |plan: &NodePlan| {
        plan.edits.iter().find_map(|edit| match &edit.action {
            Action::SetGuids { disk, partitions } => Some((*disk, partitions.clone())),
            _ => None,
        })
    };
    let (disk, partitions) = guids(&all[0]).unwrap();
    let [(1, new_boot), (2, new_root)] = partitions[..] else { panic!("{partitions:?}") };
    let wanted = fstab.replace(&root.to_string(), &new_root.to_string());
    assert_eq!(all[0].text("/etc/fstab"), wanted.replace(&boot.to_string(), &new_boot.to_string()));
    let others = guids(&all[1]).unwrap();
    let ids = BTreeSet::from([disk, new_boot, new_root, others.0, others.1[0].1, others.1[1].1, boot, root]);
    assert_eq!(ids.len(), 8, "every node has its own, none is the image's");
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
    cluster.image.grow = Some(Growth::To(len));
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
fn an_image_for_a_card_not_known_yet_grows_when_it_first_boots() {
    for image in [trixie(), buster()] {
        let mut filling = cluster();
        filling.image.grow = Some(Growth::Card);
        assert_eq!(plan(&filling, &image).edits, plan(&cluster(), &image).edits);
    }
}

#[test]
fn growing_to_less_than_the_image_or_to_part_of_a_sector_is_a_fault() {
    let image = trixie().facts.image_len_bytes;
    for wanted in [image - 512, image + 1] {
        let mut cluster = cluster();
        cluster.image.grow = Some(Growth::To(ByteLen(wanted)));
        assert!(problems(&cluster, &trixie()).contains(&Problem::BadGrowth { image, wanted }), "{wanted}");
    }
}

const ZONE_TAB: &str =
    "# comment\nGB\t+513030-0000731\tEurope/London\nDE\t+5230+01322\tEurope/Berlin\tmost of Germany\n";
const ISO3166: &str = "# comment\nDE\tGermany\nES\tSpain\nGB\tBritain (UK)\nJM\tJamaica\nJP\tJapan\n";
const SUPPORTED: &str = "de_DE ISO-8859-1\nde_DE.UTF-8 UTF-8\nen_GB.UTF-8 UTF-8\nfr_FR.UTF-8 UTF-8\n";
const LAYOUTS: &str = "! model\n  pc105           Generic\n\n! layout\n  us              English (US)\n  \
    de              German\n  gb              English (UK)\n  latam           Spanish (Latin American)\n\n! variant\n  \
    intl            us: English\n";

fn knowing() -> Image {
    trixie()
        .file("/usr/share/zoneinfo/zone.tab", ZONE_TAB)
        .file("/usr/share/zoneinfo/iso3166.tab", ISO3166)
        .file("/usr/share/i18n/SUPPORTED", SUPPORTED)
        .file("/usr/share/X11/xkb/rules/base.lst", LAYOUTS)
        .file("/usr/share/X11/xkb/symbols/extra", "")
        .directory("/usr/share/zoneinfo/America", &["Argentina"])
        .directory("/usr/share/zoneinfo/America/Argentina", &["Salta"])
}

/// What was missing, and the nearest that there is.
#[track_caller]
fn missing(image: &Image, edit: impl Fn(&mut Settings)) -> Option<(&'static str, Option<String>)> {
    let faults = resolve(&with(edit), &image.facts, &seed()).err()?;
    match &faults.0[0].problem {
        Problem::Missing { what, nearest, .. } => Some((what, nearest.clone())),
        problem => panic!("{problem}"),
    }
}

#[test]
fn a_slip_in_a_time_zone_a_locale_a_layout_or_a_country_is_told_with_what_was_meant() {
    let set_zone = |zone: &'static str| move |settings: &mut Settings| settings.timezone = Some(zone.into());
    let set_locale =
        |locale: &'static str| move |settings: &mut Settings| settings.locale = Some(locale.into());
    let set_layout = |layout: &'static str| {
        move |settings: &mut Settings| {
            settings.keyboard = Some(Keyboard {
                layout: layout.into(),
                variant: String::new(),
                model: None,
                options: String::new(),
            });
        }
    };
    let set_country = |country: &'static str| {
        move |settings: &mut Settings| {
            settings.wifi =
                Some(Wifi { country: country.into(), ..busy().nodes[0].settings.wifi.clone().unwrap() });
        }
    };
    let image = knowing();
    let told = |nearest: &str| Some(nearest.to_owned()).filter(|near| !near.is_empty());
    for (zone, near) in [
        ("Europe/Londn", "Europe/London"),
        ("Amercia/Berlin", "Europe/Berlin"),
        ("America/Argentina/Slata", "America/Argentina/Salta"),
        ("America/Argentina", ""),
        ("Antarctica/Vostok", ""),
    ] {
        assert_eq!(missing(&image, set_zone(zone)), Some(("time zone", told(near))), "{zone}");
    }
    for (locale, near) in [
        ("en_GB.utf8", "en_GB.UTF-8"),
        ("ne_GB.UTF-8", "en_GB.UTF-8"),
        ("de_DE.UFT-8", "de_DE.UTF-8"),
        ("xx", ""),
    ] {
        assert_eq!(missing(&image, set_locale(locale)), Some(("locale", told(near))), "{locale}");
    }
    for (layout, near) in [("uk", "gb"), ("german", "de"), ("germn", "de"), ("us,latm", "latam"), ("qq", "")]
    {
        assert_eq!(missing(&image, set_layout(layout)), Some(("keyboard layout", told(near))), "{layout}");
    }
    for (country, near) in [("SP", "ES"), ("JA", ""), ("EN", "")] {
        assert_eq!(missing(&image, set_country(country)), Some(("country", told(near))), "{country}");
    }
    assert_eq!(missing(&image, set_zone("Europe/London")), None);
    for known in ["C.UTF-8", "de_DE", "en_GB.UTF-8"] {
        assert_eq!(missing(&image, set_locale(known)), None, "{known}");
    }
    for known in ["us,de", "extra"] {
        assert_eq!(missing(&image, set_layout(known)), None, "{known}");
    }
    assert_eq!(missing(&image, set_country("JP")), None);
    // An image without lists is believed to know them all, but for zones, which are files.
    for edit in [&set_locale("xx_XX.UTF-8") as &dyn Fn(&mut Settings), &set_layout("qq"), &set_country("EN")]
    {
        assert_eq!(missing(&trixie(), edit), None);
    }
}

#[test]
fn lists_of_a_hostile_image_are_bounded_and_steer_no_terminal() {
    let long = format!("GB\t0\tEurope/{}\n", "x".repeat(1 << 20));
    let steering = "GB\t0\tEurope/Lond\u{1b}n\n";
    let many = "GB\t0\tEurope/Paris\n".repeat(20_000);
    for list in [long, steering.to_owned(), many + "GB\t0\tEurope/Lond\n"] {
        let image = trixie().file("/usr/share/zoneinfo/zone.tab", &list);
        let found = missing(&image, |settings| settings.timezone = Some(String::from("Europe/Londxn")));
        assert_eq!(found, Some(("time zone", None)));
    }
}

#[test]
fn lists_are_asked_for_only_where_something_is_missing() {
    let cluster = with(|settings| {
        settings.timezone = Some(String::from("Europe/London"));
        settings.locale = Some(String::from("de_DE.UTF-8"));
    });
    let lists = |cluster: &Cluster| {
        let more = more_paths(cluster, &trixie().facts).into_iter().map(|path| path.to_string());
        more.filter(|path| path.starts_with("/usr/share/")).collect::<Vec<_>>()
    };
    assert_eq!(lists(&cluster), [""; 0]);
    let slips = with(|settings| {
        settings.timezone = Some(String::from("Europe/Londn"));
        settings.locale = Some(String::from("de_ED.UTF-8"));
    });
    assert_eq!(
        lists(&slips),
        ["/usr/share/i18n/SUPPORTED", "/usr/share/zoneinfo/Europe", "/usr/share/zoneinfo/zone.tab"]
    );
}

const MARKER: &str = "/etc/cardpress-release";

#[test]
fn every_image_says_what_it_is() {
    let digest = "ab".repeat(32);
    let wanted = format!(
        "# Pressed by cardpress; `cardpress inspect` tells it.\nCARDPRESS_NODE=\"one\"\nCARDPRESS_CLUSTER=\"swarm\"\n\
         CARDPRESS_BASE=\"base.img\"\nCARDPRESS_BASE_DIGEST=\"{digest}\"\n"
    );
    for image in GENERATIONS {
        let plan = plan(&cluster(), &image());
        let (content, mode, owner) = plan.write(MARKER).unwrap();
        assert_eq!(std::str::from_utf8(content.bytes()), Ok(wanted.as_str()));
        assert_eq!((mode, owner, content.is_secret()), (Some(0o644), Some(Owner::ROOT), false));
    }
    let mut alone = cluster();
    alone.nodes.truncate(1);
    alone.name = String::from("one");
    assert_eq!(plan(&alone, &trixie()).line(MARKER, "CARDPRESS_CLUSTER"), "");
}

#[test]
fn the_marker_of_the_base_gives_way_whatever_it_is() {
    let old = "CARDPRESS_NODE=old\nCARDPRESS_CLUSTER=gone\nCARDPRESS_BASE=first.img\nMORE=x\n";
    for image in [
        trixie().file(MARKER, old),
        trixie().link(MARKER, "/etc/passwd"),
        trixie().link(MARKER, "/nowhere"),
        trixie().directory(MARKER, &["x"]),
    ] {
        assert_eq!(plan(&cluster(), &image).text(MARKER), plan(&cluster(), &trixie()).text(MARKER));
        let is_plain = image.facts.tree.text(MARKER) == Some(old);
        assert_eq!(plan(&cluster(), &image).removes(MARKER), !is_plain);
    }
}

#[test]
fn an_image_changed_where_it_is_keeps_the_base_that_its_marker_names() {
    let digest = "0f".repeat(32);
    let old = format!("CARDPRESS_NODE=old\nCARDPRESS_BASE=first.img\nCARDPRESS_BASE_DIGEST={digest}\n");
    let mut image = trixie().file(MARKER, &old);
    image.facts.digest = None;
    let plan = plan(&cluster(), &image);
    assert_eq!(plan.line(MARKER, "CARDPRESS_NODE"), "CARDPRESS_NODE=\"one\"");
    assert_eq!(plan.line(MARKER, "CARDPRESS_BASE="), "CARDPRESS_BASE=\"first.img\"");
    assert_eq!(plan.line(MARKER, "CARDPRESS_BASE_DIGEST"), format!("CARDPRESS_BASE_DIGEST=\"{digest}\""));
    let mut unknown = trixie();
    unknown.facts.digest = None;
    assert_eq!(self::plan(&cluster(), &unknown).line(MARKER, "CARDPRESS_BASE"), "");
}

#[test]
fn who_wants_no_marker_removes_it() {
    let cluster = with(|settings| settings.removals = vec![MARKER.parse().unwrap()]);
    let plan = plan(&cluster, &trixie());
    assert!(plan.write(MARKER).is_none() && !plan.removes(MARKER));
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
fn a_new_keyboard_map_is_made_once_tmp_has_been_cleaned() {
    let cluster = with(|settings| {
        settings.keyboard = Some(Keyboard {
            layout: "de".into(),
            model: None,
            variant: String::new(),
            options: String::new(),
        });
    });
    let cache = "/etc/console-setup/cached_setup_terminal.sh";
    let drop_in = "/etc/systemd/system/console-setup.service.d/cardpress.conf";
    let image =
        bookworm().directory("/etc/console-setup", &["cached_setup_terminal.sh"]).file(cache, "#!/bin/sh\n");
    let cached = plan(&cluster, &image);
    assert!(cached.removes(cache));
    assert_eq!(cached.text(drop_in), "[Unit]\nAfter=systemd-tmpfiles-setup.service\n");
    assert!(plan(&cluster, &bookworm()).write(drop_in).is_none()); // an image without console-setup
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
fn a_file_of_the_profile_takes_the_place_of_a_link_that_a_section_makes() {
    let cluster = with(|settings| {
        settings.timezone = Some(String::from("Europe/London"));
        settings.files = vec![FileSetting {
            path: "/etc/localtime".parse().unwrap(),
            content: Content::text("TZif2 of our own"),
            template: None,
            mode: None,
            owner: None,
        }];
    });
    // The image's link leads to a file that must not be written through.
    let image = trixie()
        .file("/usr/share/zoneinfo/Etc/UTC", "TZif2")
        .link("/etc/localtime", "/usr/share/zoneinfo/Etc/UTC");
    let plan = plan(&cluster, &image);
    assert!(plan.removes("/etc/localtime"));
    assert_eq!(plan.link("/etc/localtime"), None);
    assert_eq!(plan.text("/etc/localtime"), "TZif2 of our own");
    assert!(plan.write("/usr/share/zoneinfo/Etc/UTC").is_none());
}

#[test]
fn two_spellings_of_one_place_are_one_edit_where_usr_is_merged() {
    let helper = "raspberrypi-sys-mods/regenerate_ssh_host_keys";
    let cluster = with(|settings| {
        settings.files = vec![FileSetting {
            path: format!("/lib/{helper}").parse().unwrap(),
            content: Content::text("#!/bin/sh\n"),
            template: None,
            mode: None,
            owner: None,
        }];
    });
    let merged = bookworm().link("/lib", "usr/lib");
    let texts = |plan: &NodePlan| {
        plan.edits.iter().filter(|edit| matches!(&edit.action, Action::WriteFile { path, .. } if path.as_str().ends_with(helper))).count()
    };
    let plan = plan(&cluster, &merged);
    assert_eq!((texts(&plan), plan.text(&format!("/usr/lib/{helper}"))), (1, "#!/bin/sh\n"));
    // buster's are two directories.
    let split = plans(&cluster, &bookworm()).remove(0);
    assert_eq!(texts(&split), 2);
}
