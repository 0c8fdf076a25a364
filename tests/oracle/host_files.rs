//! The files for the workstation before the programs they are for.

use std::fs;
use std::process::Command;

use serde_json::Value;

use crate::support::tools::{run, text, tool};
use crate::support::world::{World, profile};

const NODES: [(&str, &str); 2] = [("n1", "192.168.7.11"), ("n2", "192.168.7.12")];
/// A node on DHCP, and words that Ansible would stumble over.
const MORE: &str = "[role.\"slurm-compute\"]\n[role.all]\n[[node]]\nname = \"n3\"\nrole = \"slurm-compute\"\n\
                    [[node]]\nname = \"4\"\nrole = \"all\"\naddress = \"192.168.7.14\"\n";

/// A world with all files in a folder that has a space in its name.
fn exported() -> World {
    let world = World::new();
    world.write("seed", &"5e".repeat(32));
    world.write("cluster.toml", &profile(&NODES, MORE));
    world.run(&["export", "cluster.toml", "--seed-file", "seed", "--all", "the files"]).succeeded();
    world
}

/// What ssh would do with these words: key and value of each line.
fn ssh(words: &[&str]) -> Vec<(String, String)> {
    let said = tool("ssh", &[&["-G"], words].concat());
    let pair = |line: &str| line.split_once(' ').map(|(key, value)| (key.to_owned(), value.to_owned()));
    said.lines().filter_map(pair).collect()
}

#[test]
fn ssh_takes_its_configuration_by_name_and_by_include_and_has_the_host_key_of_known_hosts() {
    let world = exported();
    let config = world.path("the files/ssh_config");
    let user = world.write("config", &format!("Include \"{}\"\nHost *\n    User nobody\n", text(&config)));
    let known_hosts = world.path("the files/known_hosts");
    for (name, node, at) in [
        ("n1", "n1", "192.168.7.11"),
        ("n2.lan", "n2", "192.168.7.12"),
        ("n3", "n3", "n3.local"),
        ("n3.local", "n3", "n3.local"),
        ("4", "4", "192.168.7.14"),
    ] {
        for file in [&config, &user] {
            let said = ssh(&["-F", text(file), name]);
            let value =
                |key: &str| said.iter().find(|(found, _)| found == key).map(|(_, value)| value.as_str());
            assert_eq!(value("hostname"), Some(at), "{name}");
            assert_eq!(value("user"), Some("ops"), "{name}");
            assert_eq!(value("hostkeyalias"), Some(node), "{name}");
            assert_eq!(value("stricthostkeychecking"), Some("true"), "{name}");
            // What the command prints is what known_hosts has.
            let command = value("knownhostscommand").unwrap();
            let printed = Command::new("/bin/sh").args(["-c", command]).output().unwrap();
            let printed = String::from_utf8(printed.stdout).unwrap();
            let (host, key) = printed.trim().split_once(' ').unwrap();
            assert_eq!(host, node);
            let found = tool("ssh-keygen", &["-F", host, "-f", text(&known_hosts)]);
            assert!(
                found.lines().any(|line| line == format!("{host} {key}") || line.ends_with(key)),
                "{found}"
            );
        }
    }
}

#[test]
fn ssh_keygen_finds_every_name_and_address_with_the_key_that_is_in_the_image() {
    let world = exported();
    world.run(&["build", "cluster.toml", "--seed-file", "seed", "--node", "n2"]).succeeded();
    let public =
        world.run(&["fs", "out/test/n2.img", "cat", "/etc/ssh/ssh_host_ed25519_key.pub"]).succeeded();
    let key = public.out.split_whitespace().take(2).collect::<Vec<_>>().join(" ");
    let known_hosts = world.path("the files/known_hosts");
    for name in ["n2", "n2.local", "n2.lan", "192.168.7.12"] {
        let found = tool("ssh-keygen", &["-F", name, "-f", text(&known_hosts)]);
        assert!(found.trim_end().ends_with(&key), "{name}: {found}");
    }
    // The fingerprints that people are shown are those that ssh shows.
    let shown = tool("ssh-keygen", &["-l", "-f", text(&known_hosts)]);
    let readme = fs::read_to_string(world.path("the files/README.md")).unwrap();
    let page = fs::read_to_string(world.path("the files/cluster.html")).unwrap();
    let fingerprints: Vec<&str> = shown.lines().filter_map(|line| line.split_whitespace().nth(1)).collect();
    assert_eq!(fingerprints.len(), 4, "{shown}");
    for fingerprint in fingerprints {
        assert!(readme.contains(fingerprint) && page.contains(fingerprint), "{fingerprint}");
    }
}

#[test]
fn ansible_reads_the_inventory_as_it_is_meant_and_without_a_warning() {
    let world = exported();
    let inventory = world.path("the files/inventory.yaml");
    let read = |words: &[&str]| {
        // It refuses to run in the C locale.
        let said = run("env", [&["LC_ALL=C.UTF-8"], words].concat());
        assert_eq!(said.status, 0, "{}", said.text);
        assert!(!said.text.contains("WARNING"), "{}", said.text);
        said.out
    };
    let list = read(&["ansible-inventory", "-i", text(&inventory), "--list"]);
    let list: Value = serde_json::from_str(&list).unwrap();
    let hosts = |group: &str| list[group]["hosts"].as_array().cloned().unwrap_or_default();
    assert_eq!(hosts("slurm_compute"), ["n3"]);
    assert_eq!(hosts("role_all"), ["4"]);
    assert_eq!(hosts("ungrouped"), ["n1", "n2"]);
    for (node, at) in
        [("n1", "192.168.7.11"), ("n2", "192.168.7.12"), ("n3", "n3.local"), ("4", "192.168.7.14")]
    {
        let found = &list["_meta"]["hostvars"][node];
        assert_eq!((&found["ansible_host"], &found["ansible_user"]), (&at.into(), &"ops".into()), "{node}");
    }
    // As it calls ssh: ssh must read these words to the same file.
    let words =
        ["ansible", "-i", text(&inventory), "n1", "-m", "debug", "-a", "msg={{ ansible_ssh_common_args }}"];
    let shown = read(&words);
    let (_, json) = shown.split_once("=> ").unwrap();
    let json: Value = serde_json::from_str(json).unwrap();
    let script = format!("ssh -G {} 192.168.7.11", json["msg"].as_str().unwrap());
    let said = tool("sh", &["-c", &script]);
    let known_hosts = format!("userknownhostsfile {}", text(&world.path("the files/known_hosts")));
    for line in [&known_hosts[..], "stricthostkeychecking true", "hostkeyalias n1"] {
        assert!(said.lines().any(|found| found == line), "{line}: {said}");
    }
}
