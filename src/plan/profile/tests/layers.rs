//! How layers and files merge.

use super::*;
use crate::base::{ByteLen, Sha256Digest};
use crate::plan::{AptKey, AptSource, Cluster, ConfigTxt, Growth, ImageSource, Settings};

/// One node with role `r`: what defaults, role and node say of it.
#[track_caller]
fn merged(defaults: &str, role: &str, node: &str) -> Settings {
    let profile = format!(
        "schema = 1\nimage.path = \"a\"\ncluster.name = \"x\"\n[defaults]\n{defaults}\n[role.r]\n{role}\n\
         [[node]]\nname = \"a\"\nrole = \"r\"\n{node}\n"
    );
    World::with(&profile).loaded().cluster.nodes.remove(0).settings
}

/// A profile that extends `base.toml`, which extends `root.toml`.
#[track_caller]
fn extended(root: &str, base: &str, profile: &str) -> Cluster {
    World::with(&format!("schema = 1\nextends = \"base/base.toml\"\n{profile}"))
        .file("/p/base/base.toml", format!("schema = 1\nextends = [\"../root.toml\"]\n{base}"))
        .file("/p/base/../root.toml", format!("schema = 1\n{root}"))
        .file("/p/base/motd", "from base")
        .loaded()
        .cluster
}

const SOUND: &str = "image.path = \"a\"\ncluster.name = \"x\"\nnode = [{ name = \"a\" }]\n";

#[test]
fn the_later_layer_wins() {
    let settings = merged(
        "timezone = \"UTC\"\nlocale = \"C\"\nssh.enable = true",
        "timezone = \"Europe/London\"\nssh.enable = false",
        "timezone = \"Europe/Berlin\"",
    );
    assert_eq!(settings.timezone.as_deref(), Some("Europe/Berlin"));
    assert_eq!((settings.locale.as_deref(), settings.ssh_enable), (Some("C"), Some(false)));
}

#[test]
fn lists_append_and_drop_what_is_there() {
    let settings =
        merged("package = [\"aa\", \"bb\", \"aa\"]", "package = [\"bb\", \"cc\"]", "package = [\"dd\"]");
    assert_eq!(settings.packages, ["aa", "bb", "cc", "dd"]);
}

#[test]
fn a_list_replaces_when_it_says_so() {
    let settings = merged("package = [\"aa\"]", "package = { replace = [\"bb\"] }", "package = [\"cc\"]");
    assert_eq!(settings.packages, ["bb", "cc"]);
    let settings = merged("package = [\"aa\"]", "package = [\"bb\"]", "package = { replace = [] }");
    assert!(settings.packages.is_empty());
    let settings = merged(
        "file = [{ path = \"/a\", content = \"a\" }]",
        "",
        "[[node.file.replace]]\npath = \"/b\"\ncontent = \"b\"",
    );
    assert_eq!(settings.files.len(), 1);
    assert_eq!(settings.files[0].path.as_str(), "/b");
}

#[test]
fn a_later_file_takes_the_place_of_an_earlier_one_at_its_path() {
    let settings = merged(
        "file = [{ path = \"/a\", content = \"old\" }, { path = \"/b\", content = \"b\" }]",
        "",
        "file = [{ path = \"/a\", content = \"new\" }]",
    );
    let files: Vec<(&str, &[u8])> =
        settings.files.iter().map(|file| (file.path.as_str(), file.content.bytes())).collect();
    assert_eq!(files, [("/a", &b"new"[..]), ("/b", &b"b"[..])]);
}

#[test]
fn a_later_layer_takes_back_tokens_and_units() {
    let settings = merged(
        "cmdline = { add = [\"isolcpus=3\", \"quiet\"], remove = [\"splash\"] }\n\
         service = { enable = [\"a\", \"b\"], mask = [\"c\"] }",
        "",
        "cmdline = { add = [\"splash\"], remove = [\"isolcpus\"] }\n\
         service = { enable = [\"c\"], disable = [\"a\"], mask = [\"b\"] }",
    );
    assert_eq!(
        (&settings.cmdline_add[..], &settings.cmdline_remove[..]),
        (&["quiet".to_owned(), "splash".to_owned()][..], &["isolcpus".to_owned()][..])
    );
    assert_eq!(settings.units_enable, ["c.service"]);
    assert_eq!(settings.units_disable, ["a.service"]);
    assert_eq!(settings.units_mask, ["b.service"]);
}

#[test]
fn tokens_with_one_key_stand_side_by_side() {
    let settings = merged(
        "cmdline.add = [\"console=tty1\", \"console=serial0\"]",
        "",
        "cmdline.add = [\"console=tty1\"]",
    );
    assert_eq!(settings.cmdline_add, ["console=tty1", "console=serial0"]);
}

#[test]
fn config_txt_values_replace_and_lists_add() {
    let all = |value: &str| format!("config-txt = {{ all = {{ {value} }} }}");
    let line = |key: &str, value: Option<&str>| ConfigTxt {
        filter: "all".into(),
        key: key.into(),
        value: value.map(String::from),
    };
    let lines = |defaults: &str, node: &str| merged(&all(defaults), "", &all(node)).config_txt;
    assert_eq!(lines("a = 1", "a = 2"), [line("a", Some("2"))]);
    assert_eq!(lines("a = [1]", "a = [2]"), [line("a", Some("1")), line("a", Some("2"))]);
    assert_eq!(lines("a = [1]", "a = { replace = [2, 3] }"), [line("a", Some("2")), line("a", Some("3"))]);
    assert_eq!(lines("a = [1]", "a = { remove = true }"), [line("a", None)]);
    assert_eq!(lines("a = { remove = true }", "a = [2]"), [line("a", None), line("a", Some("2"))]);
    assert_eq!(lines("a = { remove = true }", "a = 2"), [line("a", Some("2"))]);
}

#[test]
fn users_and_wifi_merge_key_by_key() {
    let settings = merged(
        "[defaults.user.pi]\ngroups = [\"video\"]\nsudo = \"password\"\n[defaults.wifi]\nssid = \"x\"\ncountry = \"GB\"",
        "[role.r.user.eve]\n[role.r.user.pi]\ngroups = [\"gpio\"]",
        "user.pi.sudo = \"nopasswd\"\nwifi.hidden = true",
    );
    assert_eq!(settings.users[0].name, "pi");
    assert_eq!(settings.users[0].groups, ["video", "gpio"]);
    assert_eq!(settings.users[0].sudo, Some(crate::plan::Sudo::NoPassword));
    assert_eq!(settings.users[1].name, "eve");
    let wifi = settings.wifi.unwrap();
    assert_eq!((&wifi.ssid[..], &wifi.country[..], wifi.hidden), ("x", "GB", true));
}

#[test]
fn another_net_forgets_the_earlier_key() {
    let profile = "schema = 1\nimage.path = \"a\"\ncluster.name = \"x\"\n\
        [defaults.wifi]\nssid = \"x\"\ncountry = \"GB\"\npassphrase = { env = \"KEY\" }\n\
        [[node]]\nname = \"a\"\nwifi.ssid = \"open\"\n[[node]]\nname = \"b\"\n";
    let nodes = World::with(profile).env("KEY", "open sesame").loaded().cluster.nodes;
    assert!(nodes[0].settings.wifi.as_ref().unwrap().passphrase.is_none());
    assert!(nodes[1].settings.wifi.as_ref().unwrap().passphrase.is_some());
}

#[test]
fn a_file_is_laid_over_those_it_extends() {
    let cluster = extended(
        "image = { path = \"root.img\", grow = \"4GiB\" }\ndefaults.timezone = \"UTC\"\ndefaults.locale = \"C\"\n",
        "image = { path = \"base.img\" }\ncluster = { name = \"base\", dns = [\"1.1.1.1\"] }\n\
         defaults.locale = \"en_GB.UTF-8\"\ndefaults.file = [{ path = \"/etc/motd\", source = \"motd\" }]\n\
         role.r.package = [\"from-base\"]\nnode = [{ name = \"first\" }]\n",
        "cluster = { name = \"top\", dns = [\"2.2.2.2\"] }\nrole.r.package = [\"from-top\"]\n\
         node = [{ name = \"second\", role = \"r\" }]\n",
    );
    assert_eq!(cluster.name, "top");
    assert_eq!(cluster.dns.len(), 2);
    assert_eq!(cluster.image.source, ImageSource::Path("/p/base/base.img".into()));
    assert_eq!(cluster.image.grow, Some(Growth::To(ByteLen(4 << 30))));
    assert_eq!(cluster.nodes[0].name, "first");
    let second = &cluster.nodes[1].settings;
    assert_eq!((second.timezone.as_deref(), second.locale.as_deref()), (Some("UTC"), Some("en_GB.UTF-8")));
    assert_eq!(second.packages, ["from-base", "from-top"]);
    assert_eq!(second.files[0].content.bytes(), b"from base");
}

#[test]
fn another_image_forgets_the_earlier_digest() {
    let digest = "a".repeat(64);
    let root = format!("image = {{ path = \"a\", sha256 = \"{digest}\" }}\n");
    let kept = extended(&root, "", "cluster.name = \"x\"\nnode = [{ name = \"a\" }]\n");
    assert!(kept.image.sha256.is_some());
    assert!(extended(&root, "", SOUND).image.sha256.is_none());
}

#[test]
fn a_signature_once_asked_for_is_asked_for_whatever_the_image() {
    let root = "image = { url = \"https://example.invalid/a\", signed-by = \"keys/a.asc\" }\n";
    let key = |text: &str| extended(root, "", text).image.signed_by;
    assert_eq!(key(SOUND), Some("/p/base/../keys/a.asc".into()));
    assert_eq!(key(&format!("image.signed-by = \"b.asc\"\n{SOUND}")), Some("/p/b.asc".into()));
}

#[test]
fn a_file_reached_by_two_roads_counts_once() {
    let world = World::with(&format!("schema = 1\nextends = [\"a.toml\", \"b.toml\"]\n{SOUND}"))
        .file("/p/a.toml", "schema = 1\nextends = [\"c.toml\"]\n")
        .file("/p/b.toml", "schema = 1\nextends = [\"c.toml\"]\n")
        .file("/p/c.toml", "schema = 1\nnode = [{ name = \"shared\" }]\n");
    let names: Vec<String> = world.loaded().cluster.nodes.into_iter().map(|node| node.name).collect();
    assert_eq!(names, ["shared", "a"]);
}

#[test]
fn circles_and_endless_roads_of_extends_end() {
    let circle = World::with(&format!("schema = 1\nextends = \"a.toml\"\n{SOUND}"))
        .file("/p/a.toml", "schema = 1\nextends = \"b.toml\"\n")
        .file("/p/b.toml", "schema = 1\nextends = \"a.toml\"\n");
    assert_eq!(circle.faults()[0].to_string(), "/p/b.toml:2:11: `/p/a.toml` extends itself");

    let mut deep = World::with(&format!("schema = 1\nextends = \"0.toml\"\n{SOUND}"));
    for number in 0..20 {
        let text = format!("schema = 1\nextends = \"{}.toml\"\n", number + 1);
        deep = deep.file(&format!("/p/{number}.toml"), text);
    }
    assert_eq!(deep.faults()[0].message, "found too many `extends`, wanted at most 16 deep and 64 files");
}

#[test]
fn package_sources_and_downloads_are_replaced_by_name_and_by_path() {
    let source = |layer: &str, url: &str| {
        format!(
            "[[{layer}.apt]]\nname = \"x\"\nurl = \"{url}\"\nsuite = \"s\"\ncomponents = \"main\"\nkey = \"x.gpg\"\n"
        )
    };
    let download = |layer: &str, url: &str, path: &str| {
        let digest = "AB".repeat(32);
        format!(
            "[[{layer}.download]]\nurl = \"{url}\"\nsha256 = \"{digest}\"\npath = \"{path}\"\nmode = \"0755\"\n"
        )
    };
    let profile = [
        one_node(""),
        source("node", "https://node/x"),
        download("node", "https://node/a", "/a"),
        source("defaults", "http://defaults/x"),
        download("defaults", "https://defaults/a", "/a"),
        download("defaults", "https://defaults/b", "/b"),
    ];
    let world = World::with(&profile.concat()).file("/p/x.gpg", [0x98, 0x33]);
    let settings = &world.loaded().cluster.nodes[0].settings;
    let key: &[u8] = &[0x98, 0x33];
    assert_eq!(
        settings.apt,
        [AptSource {
            name: "x".into(),
            url: "https://node/x".into(),
            suite: "s".into(),
            components: vec!["main".into()],
            architectures: Vec::new(),
            key: AptKey::Binary(key.into()),
        }]
    );
    let found: Vec<_> =
        settings.downloads.iter().map(|d| (d.url.as_str(), d.path.as_str(), d.mode)).collect();
    assert_eq!(found, [("https://node/a", "/a", Some(0o755)), ("https://defaults/b", "/b", Some(0o755))]);
    assert_eq!(settings.downloads[0].sha256, Sha256Digest([0xab; 32]));
}
