//! The files of whole profiles.

use std::io;
use std::path::{Path, PathBuf};

use uuid::Uuid;

use super::*;
use crate::base::Arch;
use crate::plan::profile::{Surroundings, load};
use crate::plan::{
    FirstBoot, FirstUser, NetworkStack, PartitionFact, PartitionUse, Release, Tree, host_keys,
};

const PROFILE: &str = r#"
schema = 1
[image]
path = "base.img"
[cluster]
name = "swarm"
domain = "lan"
subnet = ["192.0.2.0/24", "2001:db8::/64"]
gateway = "192.0.2.1"
ssh-between-nodes = true
[defaults.user.guest]
password = { file = "password" }
[defaults.user.ada]
ssh-keys = ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJd0aIeYmUpWpCrwV5VHP5ooJ+opZW9w9rgxGGHoHlzk <i>ada|x</i>"]
sudo = "nopasswd"
[defaults.wifi]
ssid = "net"
country = "GB"
passphrase = { file = "passphrase" }
[role.manager]
[role."slurm-compute"]
[[node]]
name = "one"
role = "manager"
address = "192.0.2.11"
[[node]]
name = "two"
role = "slurm-compute"
address = ["2001:db8::12", "192.0.2.12"]
[[node]]
name = "three"
role = "slurm-compute"
"#;

struct Files;

impl Surroundings for Files {
    fn names_in(&self, _: &Path) -> std::io::Result<Vec<(String, bool)>> {
        Err(std::io::ErrorKind::NotFound.into())
    }

    fn read_file(&self, path: &Path) -> io::Result<Vec<u8>> {
        match path.file_name().and_then(|name| name.to_str()) {
            Some("cluster.toml") => Ok(PROFILE.into()),
            Some("password") => Ok(b"hunter2hunter2\n".to_vec()),
            Some("passphrase") => Ok(b"correct horse battery\n".to_vec()),
            _ => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn env(&self, _: &str) -> Option<String> {
        None
    }

    fn home(&self) -> Option<PathBuf> {
        None
    }
}

fn cluster() -> Cluster {
    load(Path::new("/p/cluster.toml"), &Files).unwrap_or_else(|faults| panic!("{faults:#?}")).cluster
}

fn seed() -> Seed {
    Seed::new([42; 32])
}

fn facts() -> OsFacts {
    let partition = |number, used_for, start: u64, len: u64| {
        let (start_bytes, len_bytes) = (start << 20, len << 20);
        PartitionFact { number, used_for, start_bytes, len_bytes }
    };
    OsFacts {
        release: Release {
            id: "debian".to_owned(),
            version: 13,
            codename: "trixie".to_owned(),
            pretty_name: "Debian <13>".to_owned(),
            reference: None,
            variant: None,
        },
        arch: Arch::Arm64,
        boot_mount: "/boot/firmware".parse().unwrap(),
        network: NetworkStack::NetworkManager,
        first_user: Some(FirstUser {
            name: "pi".to_owned(),
            uid: 1000,
            gid: 1000,
            home: "/home/pi".to_owned(),
            shell: "/bin/bash".to_owned(),
        }),
        cloud_init: false,
        first_boot: FirstBoot::None,
        disk_id: None,
        partition_guids: Vec::new(),
        root_uuid: Uuid::nil(),
        boot_serial: 0,
        image_len_bytes: 3 << 30,
        digest: None,
        partitions: vec![
            partition(1, PartitionUse::Boot, 8, 512),
            partition(2, PartitionUse::Root, 520, 2552),
        ],
        tree: Tree::default(),
    }
}

fn service(node: &str, name: &str, url: Option<&str>) -> Service {
    Service { node: node.to_owned(), name: name.to_owned(), url: url.map(str::to_owned) }
}

fn text(files: &[HostFile], path: &str) -> String {
    let file = files.iter().find(|file| file.path == path).unwrap_or_else(|| panic!("no {path}"));
    String::from_utf8(file.content.bytes().to_vec()).unwrap()
}

fn file(path: &str) -> String {
    text(&host_files(&cluster(), Some(&facts()), &seed(), &[], &[]), path)
}

fn keys() -> Vec<String> {
    host_keys(&cluster(), &seed()).into_iter().map(|(_, key)| key).collect()
}

#[test]
fn known_hosts_has_every_name_and_address_with_its_derived_key() {
    let [one, two, three] = &keys()[..] else { panic!("three nodes") };
    assert_eq!(
        file("known_hosts"),
        format!(
            "# The nodes of cluster swarm, by cardpress.\n\
             one,one.local,one.lan,192.0.2.11 {one}\n\
             two,two.local,two.lan,2001:db8::12,192.0.2.12 {two}\n\
             three,three.local,three.lan {three}\n"
        )
    );
}

#[test]
fn ssh_config_says_where_who_and_which_key_and_needs_no_other_file() {
    let config = file("ssh_config");
    let (_, blocks) = config.split_once("IgnoreUnknown KnownHostsCommand\n").unwrap();
    let block = |name: &str, at: &str, key: &str| {
        format!(
            "\nHost {name} {name}.local {name}.lan\n    HostName {at}\n    User ada\n    HostKeyAlias {name}\n    \
             StrictHostKeyChecking yes\n    UserKnownHostsFile /dev/null\n    \
             KnownHostsCommand /bin/sh -c \"echo {name} {key}\"\n"
        )
    };
    let places = [("one", "192.0.2.11"), ("two", "2001:db8::12"), ("three", "three.local")];
    let wanted: String = places.iter().zip(keys()).map(|((name, at), key)| block(name, at, &key)).collect();
    assert_eq!(blocks, wanted);
}

#[test]
fn the_inventory_has_a_group_for_each_role_and_recipe() {
    let (cluster, seed) = (cluster(), seed());
    let recipes = ["docker-swarm/worker".to_owned()];
    let mut view = View::new(&cluster, None, &seed, &[]);
    view.nodes[2].recipes = recipes.to_vec();
    let inventory = ansible::inventory(&view);
    let (_, hosts) = inventory.split_once("  hosts:\n").unwrap();
    assert_eq!(
        hosts,
        "    \"one\":\n      ansible_host: \"192.0.2.11\"\n      ansible_user: \"ada\"\n\
         \x20   \"two\":\n      ansible_host: \"2001:db8::12\"\n      ansible_user: \"ada\"\n\
         \x20   \"three\":\n      ansible_host: \"three.local\"\n      ansible_user: \"ada\"\n\
         \x20 children:\n\
         \x20   \"manager\":\n      hosts:\n        \"one\": {}\n\
         \x20   \"slurm_compute\":\n      hosts:\n        \"two\": {}\n        \"three\": {}\n\
         \x20   \"recipe_docker_swarm_worker\":\n      hosts:\n        \"three\": {}\n"
    );
}

#[test]
fn hosts_has_every_static_address_and_says_who_has_none() {
    assert_eq!(
        file("hosts"),
        "# cardpress begin swarm\n\
         192.0.2.11\tone one.local one.lan\n\
         2001:db8::12\ttwo two.local two.lan\n\
         192.0.2.12\ttwo two.local two.lan\n\
         # three has its address by DHCP: ask for three.local\n\
         # cardpress end swarm\n"
    );
}

#[test]
fn prometheus_gets_a_group_for_each_role() {
    let json: serde_json::Value = serde_json::from_str(&file("prometheus/nodes.json")).unwrap();
    assert_eq!(
        json,
        serde_json::json!([
            { "targets": ["192.0.2.11:9100"], "labels": { "cluster": "swarm", "role": "manager" } },
            {
                "targets": ["[2001:db8::12]:9100", "three.local:9100"],
                "labels": { "cluster": "swarm", "role": "slurm-compute" }
            },
        ])
    );
}

#[test]
fn who_logs_in_is_the_first_with_a_key_who_may_become_root_then_the_images_own() {
    let user = |edit: fn(&mut Cluster), facts: Option<&OsFacts>| {
        let mut cluster = cluster();
        edit(&mut cluster);
        View::new(&cluster, facts, &seed(), &[]).nodes[0].user.map(str::to_owned)
    };
    let facts = facts();
    assert_eq!(user(|_| (), None).as_deref(), Some("ada"));
    let keyless = |cluster: &mut Cluster| cluster.nodes[0].settings.users[1].ssh_keys.clear();
    assert_eq!(user(keyless, Some(&facts)).as_deref(), Some("guest"));
    let nobody = |cluster: &mut Cluster| cluster.nodes[0].settings.users.clear();
    assert_eq!(user(nobody, Some(&facts)).as_deref(), Some("pi"));
    assert_eq!(user(nobody, None), None);
}

#[test]
fn the_readme_tells_who_is_who_and_what_runs_where_and_shows_text_as_it_is() {
    let services =
        [service("two", "Gra|fana", Some("http://192.0.2.12:3000/")), service("one", "munge", None)];
    let of_recipes = [
        HostFile::of_recipe("kubeconfig", Content::secret(*b"key")),
        HostFile::of_recipe("queue/nodes.txt", Content::text("one")),
    ];
    let files = host_files(&cluster(), Some(&facts()), &seed(), &services, &of_recipes);
    assert_eq!(files.iter().rev().take(2).map(|file| file.mode).collect::<Vec<_>>(), [0o644, 0o600]);
    let readme = text(&files, "README.md");
    for line in [
        "3 nodes in 192.0.2.0/24, 2001:db8::/64, gateway 192.0.2.1, domain lan, Debian \\<13\\>, arm64.",
        "| **one** | 192.0.2.11 | manager | `ada@192.0.2.11` |",
        "| **three** | DHCP: three.local | slurm-compute | `ada@three.local` |",
        "- every node: `ada`; lets in: \\<i\\>ada\\|x\\</i\\>",
        "| munge | one | – |",
        "| Gra\\|fana | two | http://192.0.2.12:3000/ |",
        "| `kubeconfig` | of a recipe; **secret**, keep it to yourself |",
        "| `queue/nodes.txt` | of a recipe |",
    ] {
        assert!(readme.lines().any(|found| found == line), "{line} is missing:\n{readme}");
    }
    assert!(!file("README.md").contains("What runs where"), "a table of nothing");
}

#[test]
fn the_page_shows_text_as_it_is_and_fetches_nothing() {
    let page = file("cluster.html");
    for word in ["://", "src=", "url(", "<script", "<link", "@import", "onload"] {
        assert!(!page.contains(word), "{word}:\n{page}");
    }
    assert!(page.contains("default-src 'none'; style-src 'unsafe-inline'\""));
    assert!(page.contains("Debian &lt;13&gt;") && !page.contains("<13>"), "{page}");

    let services = [
        service("one", "<script>alert(1)</script>", Some("javascript:alert(1)")),
        service("one", "Grafana", Some("http://192.0.2.11:3000/?a=\"b\"&c")),
    ];
    let page = text(&host_files(&cluster(), Some(&facts()), &seed(), &services, &[]), "cluster.html");
    assert!(page.contains("&lt;script&gt;alert(1)") && !page.contains("<script"), "{page}");
    assert!(!page.contains("href=\"javascript"), "{page}");
    let link = "<a href=\"http://192.0.2.11:3000/?a=&quot;b&quot;&amp;c\" rel=\"noreferrer\">";
    assert!(page.contains(link), "{page}");
}

#[test]
fn every_node_has_its_label_and_the_bar_its_partitions() {
    let page = file("cluster.html");
    assert_eq!(page.matches("<div class=\"label").count(), 1 + 3, "the sheet and three labels");
    assert!(page.contains("<b class=\"big\">one</b><span class=\"at\">192.0.2.11</span>"), "{page}");
    assert!(page.contains("<b class=\"big\">three</b><span class=\"at\">DHCP</span>"), "{page}");
    assert!(
        page.contains("boot (FAT, /boot/firmware) 512 MiB") && page.contains("root (ext4) 2.4 GiB"),
        "{page}"
    );

    let without = text(&host_files(&cluster(), None, &seed(), &[], &[]), "cluster.html");
    assert!(!without.contains("class=\"bar\""), "partitions of an image that nobody has seen");
}

#[test]
fn a_grown_root_is_as_long_as_it_will_be() {
    use crate::base::ByteLen;
    use crate::plan::Growth;
    let page = |grow| {
        let mut cluster = cluster();
        cluster.image.grow = Some(grow);
        text(&host_files(&cluster, Some(&facts()), &seed(), &[], &[]), "cluster.html")
    };
    let to = page(Growth::To(ByteLen(8 << 30)));
    assert!(to.contains("root (ext4) 7.4 GiB, 2.4 GiB in the base image"), "{to}");
    assert!(to.contains("<i class=\"root\" style=\"flex-grow: 7672\"></i>"), "{to}");
    let card = page(Growth::Card);
    assert!(card.contains("class=\"grown\"") && card.contains("the rest of the card"), "{card}");
}

#[test]
fn nothing_secret_is_in_any_of_them() {
    let (cluster, seed) = (cluster(), seed());
    for file in host_files(&cluster, Some(&facts()), &seed, &[], &[]) {
        assert!(!file.content.is_secret() && file.mode == 0o644, "{}", file.path);
        let text = String::from_utf8(file.content.bytes().to_vec()).unwrap();
        for secret in ["hunter2", "correct horse", "PRIVATE", "$6$", "$y$", "psk", &"2a".repeat(16)] {
            assert!(!text.contains(secret), "{secret} is in {}", file.path);
        }
        // Whatever is long and random in them is a public host key or its fingerprint.
        let public: Vec<String> = View::new(&cluster, None, &seed, &[])
            .nodes
            .iter()
            .flat_map(|node| [node.host_key.clone(), node.fingerprint()])
            .collect();
        let rest = public.iter().fold(text, |text, known| text.replace(known, ""));
        let is_random = |word: &&str| {
            word.len() >= 32
                && word.chars().any(|c| c.is_ascii_digit())
                && word.chars().all(|c| c.is_ascii_alphanumeric() || "+/=".contains(c))
        };
        let random: Vec<&str> = rest.split([' ', '\n', '"', '`', '<', '>', ';']).filter(is_random).collect();
        assert!(random.is_empty(), "{random:?} in {}", file.path);
    }
}

#[test]
fn the_same_input_gives_the_same_files_and_another_seed_other_keys() {
    let files = |seed: &Seed| host_files(&cluster(), Some(&facts()), seed, &[], &[]);
    assert_eq!(files(&seed()), files(&seed()));
    assert_ne!(text(&files(&seed()), "known_hosts"), text(&files(&Seed::new([43; 32])), "known_hosts"));
}
