//! The JSON Schema of profiles, as Debian's python3-jsonschema understands it.

use std::fs;
use std::path::{Path, PathBuf};

use crate::support::tools::{run, text};
use crate::support::world::World;

/// Says of each file after the first, a TOML file, whether the schema in the first takes it; one line each.
const JUDGE: &str = r#"
import json, sys, tomllib, jsonschema
schema = json.load(open(sys.argv[1]))
jsonschema.Draft7Validator.check_schema(schema)
judge = jsonschema.Draft7Validator(schema)
for name in sys.argv[2:]:
    faults = list(judge.iter_errors(tomllib.load(open(name, "rb"))))
    print("; ".join(f"{list(f.absolute_path)}: {f.message}" for f in faults)[:500] or "fits")
"#;

/// A line for each file.
fn judged(world: &World, files: &[PathBuf]) -> Vec<String> {
    let schema = world.run(&["schema"]).succeeded().out;
    let schema = world.write("schema.json", &schema);
    let mut words = vec!["-c", JUDGE, text(&schema)];
    words.extend(files.iter().map(|file| text(file)));
    let said = run("python3", words);
    assert_eq!(said.status, 0, "{}", said.text);
    let lines: Vec<String> = said.out.lines().map(str::to_owned).collect();
    assert_eq!(lines.len(), files.len(), "{}", said.text);
    lines
}

#[test]
fn every_shipped_profile_fits_the_schema() {
    let profiles = Path::new(env!("CARGO_MANIFEST_DIR")).join("profiles");
    let mut files: Vec<PathBuf> = [profiles.clone(), profiles.join("demo")]
        .iter()
        .flat_map(|folder| fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
        .collect();
    files.sort();
    assert!(files.len() >= 9, "{files:?}");
    for (file, verdict) in files.iter().zip(judged(&World::new(), &files)) {
        assert_eq!(verdict, "fits", "{}", file.display());
    }
}

/// A profile of one node with these settings.
fn node(settings: &str) -> String {
    format!(
        "schema = 1\n[image]\npath = \"a.img\"\n[cluster]\nname = \"c\"\nsubnet = \"10.0.0.0/24\"\n[[node]]\nname = \"n1\"\n\
         {settings}\n"
    )
}

const GOOD: &[&str] = &[
    "address = \"dhcp\"",
    "address = \"10.0.0.7/24\"",
    "address = [\"10.0.0.7\", \"fd00::7/64\"]",
    "timezone = \"America/Argentina/Buenos_Aires\"",
    "timezone = \"Etc/GMT+1\"",
    "locale = \"ca_ES.UTF-8@valencia\"",
    "locale = \"C.UTF-8\"",
    "keyboard = \"\"",
    "keyboard = { layout = \"us,de\", options = \"grp:alt_shift_toggle\" }",
    "interface = \"end0.5\"",
    "gateway = [\"10.0.0.1\", \"fe80::1\"]",
    "dns = { replace = [\"2001:db8::53\", \"::1\"] }",
    "search = [\"home.arpa\", \"_x.y\"]",
    "hosts = [{ address = \"::ffff:10.0.0.1\", names = \"nas\" }]",
    "cmdline.add = [\"console=serial0,115200\", \"dwc_otg.lpm_enable=0\"]",
    "module = [\"br_netfilter\", \"i2c-dev\"]",
    "sysctl = { \"net.ipv4.conf.eth0/1.rp_filter\" = 1, vm.swappiness = \"10\" }",
    "service.enable = [\"fstrim.timer\", \"dev-disk-by\\\\x2dlabel-a.swap\"]",
    "package = [\"g++\", \"0ad\"]",
    "file = [{ path = \"/a//b/\", content = \"\", owner = \"0:1000\", mode = \"4755\" }]",
    "directory = { replace = [{ path = \"/a b\" }] }",
    "symlink = [{ path = \"/a\", target = \"../b c\" }]",
    "fstab = [{ device = \"UUID=1\", mount = \"none\", type = \"swap\", pass = 0 }]",
    "config-txt = { \"gpio4=1\" = { dtoverlay = [\"a\", 1, true] }, cm4 = { x = { remove = true } } }",
    "first-boot = [{ name = \"a.b\", script = \"#!/usr/bin/env python3\\n\", needs = [] }]",
    "user.pi = { full-name = \"Ada L\u{f8}velace\", uid = 1001, sudo = false, groups = [\"gpio\"], shell = \"/bin/zsh\" }",
    "user.pi.ssh-keys = [\"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPCSDsp79iAmC2h/h1kfGBGO1a1VUgwQ31u7L6RC+9T7\"]",
    "download = [{ url = \"http://h:8080/a?b=c#d\", sha256 = \"ABCDEF0000000000000000000000000000000000000000000000000000000000\", path = \"/x\" }]",
];

const FAULTY: &[&str] = &[
    "timezon = \"UTC\"",
    "timezone = \"Mars\"",
    "timezone = \"europe/London\"",
    "locale = \"english\"",
    "locale = \"en-GB\"",
    "keyboard = \"g b\"",
    "keyboard = { variant = \"intl\" }",
    "interface = \"a/b\"",
    "gateway = \"router\"",
    "dns = \"9.9.9.9\"",
    "dns = [\"one.one.one.one\"]",
    "dns = { replace = [\"9.9.9.9\"], more = 1 }",
    "search = [\"a b\"]",
    "address = \"n1.lan\"",
    "role = 1",
    "cmdline.add = [\"a b\"]",
    "cmdline.add = [\"\"]",
    "ssh.enable = \"yes\"",
    "ssh.port = 22",
    "package = [\"Docker\"]",
    "package = [\"vim=9\"]",
    "module = [\"a b\"]",
    "service.enable = [\"a b\"]",
    "service.start = [\"a\"]",
    "sysctl = { \"vm.swappiness\" = true }",
    "recipes = [\"Docker\"]",
    "recipe.docker = 1",
    "remove = [\"etc/motd\"]",
    "file = [{ path = \"/a\" }]",
    "file = [{ path = \"/a\", content = \"\", source = \"b\" }]",
    "file = [{ path = \"a\", content = \"\" }]",
    "file = [{ path = \"/a\", content = \"\", mode = 644 }]",
    "file = [{ path = \"/a\", content = \"\", mode = \"u+x\" }]",
    "file = [{ path = \"/a\", content = \"\", owner = \"root\" }]",
    "directory = [{ mode = \"0755\" }]",
    "symlink = [{ path = \"/a\" }]",
    "fstab = [{ device = \"a b\", mount = \"/a\", type = \"nfs\" }]",
    "fstab = [{ device = \"a\", mount = \"a\", type = \"nfs\" }]",
    "fstab = [{ device = \"a\", mount = \"/a\", type = \"nfs\", pass = 3 }]",
    "hosts = [{ address = \"nas\", names = [\"nas\"] }]",
    "config-txt.gpu_mem = 16",
    "config-txt.\"[all]\" = { gpu_mem = 16 }",
    "config-txt.all = { \"gpu mem\" = 16 }",
    "first-boot = [{ name = \"a\" }]",
    "first-boot = [{ name = \"a\", script = \"echo hello\" }]",
    "first-boot = [{ name = \"a b\", script = \"#!/bin/sh\" }]",
    "wifi = { ssid = \"\", country = \"GB\" }",
    "wifi = { ssid = \"a\", country = \"gb\" }",
    "wifi = { ssid = \"a\", country = \"GB\", passphrase = \"hunter2hunter2\" }",
    "user.Pi = { sudo = false }",
    "user.pi.sudo = true",
    "user.pi.sudo = \"always\"",
    "user.pi.uid = 0",
    "user.pi.password = \"hunter2\"",
    "user.pi.password = { locked = false }",
    "user.pi.password = { hash = \"hunter2\" }",
    "user.pi.password = { file = \"a\", env = \"B\" }",
    "user.pi.ssh-keys = [\"hello\"]",
    "user.pi.shell = \"zsh\"",
    "download = [{ url = \"https://h/a\", path = \"/a\" }]",
    "download = [{ url = \"ftp://h/a\", sha256 = \"00\", path = \"/a\" }]",
    "apt = [{ name = \"a\", url = \"https://a\", suite = \"b\", components = [\"c\"], key-url = \"https://a/k\" }]",
];

#[test]
fn what_the_reader_takes_the_schema_takes_and_what_is_plainly_faulty_neither_does() {
    let world = World::new();
    let write = |kind: &str, list: &[&str]| -> Vec<(String, PathBuf)> {
        let write = |(index, settings): (usize, &&str)| {
            let name = format!("{kind}{index}.toml");
            let path = world.write(&name, &node(settings));
            (name, path)
        };
        list.iter().enumerate().map(write).collect()
    };
    let (good, faulty) = (write("good", GOOD), write("faulty", FAULTY));
    // The reader: `export` wants nothing but the profile.
    let is_read = |name: &str| world.run(&["export", name, "hosts"]).status == 0;
    for ((name, _), settings) in good.iter().zip(GOOD) {
        assert!(is_read(name), "{settings}");
    }
    for ((name, _), settings) in faulty.iter().zip(FAULTY) {
        assert!(!is_read(name), "{settings}");
    }
    let files: Vec<PathBuf> = good.into_iter().chain(faulty).map(|(_, path)| path).collect();
    let verdicts = judged(&world, &files);
    let (good, faulty) = verdicts.split_at(GOOD.len());
    for (verdict, settings) in good.iter().zip(GOOD) {
        assert_eq!(verdict, "fits", "{settings}");
    }
    for (verdict, settings) in faulty.iter().zip(FAULTY) {
        assert_ne!(verdict, "fits", "{settings}");
    }
}
