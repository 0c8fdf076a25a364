//! Recipes: what a profile may say of them, what they yield, and what is wrong with them.

use super::super::{Laid, lay};
use super::*;
use crate::base::{Arch, ImagePath};
use crate::plan::{FirstBoot, FirstUser, NetworkStack, OsFacts, Release, Seed, Settings, Tree};

pub(super) fn facts(codename: &str, version: u32, arch: Arch) -> OsFacts {
    OsFacts {
        release: Release {
            id: String::from("debian"),
            version,
            codename: codename.to_owned(),
            pretty_name: format!("Debian GNU/Linux {version} ({codename})"),
            reference: None,
            variant: None,
        },
        arch,
        boot_mount: "/boot/firmware".parse().unwrap(),
        network: NetworkStack::NetworkManager,
        first_user: Some(FirstUser {
            name: String::from("pi"),
            uid: 1000,
            gid: 1000,
            home: String::from("/home/pi"),
            shell: String::from("/bin/bash"),
        }),
        cloud_init: false,
        first_boot: FirstBoot::None,
        disk_id: Some(1),
        partition_guids: Vec::new(),
        partitions: Vec::new(),
        root_uuid: uuid::Uuid::nil(),
        boot_serial: 1,
        image_len_bytes: 1 << 30,
        digest: None,
        tree: Tree::default(),
    }
}

const PROFILE: &str = r#"
schema = 1
[image]
path = "base.img"
[cluster]
name = "lab"
domain = "lan"
subnet = "192.168.1.0/24"
[[node]]
name = "head"
address = "192.168.1.10"
recipes = ["queue/server"]
[[node]]
name = "work[1-2]"
address = "192.168.1.[11-12]"
recipes = ["queue/worker"]
"#;

const QUEUE: &str = r#"
description = "A queue"
needs = ["base"]
[part.server]
description = "the one that hands out work"
nodes = "one"
[part.worker]
description = "those that do it"
[param.port]
type = "integer"
default = 7000
help = "where the server listens"
[param.spool-dir]
type = "path"
default = "/var/spool/queue"
help = "where work waits"
[[service]]
name = "Queue"
part = "server"
url = "http://{{ node.host }}:{{ param.port }}"
[[host-file]]
path = "queue/nodes.txt"
template = "nodes.txt"
"#;

const QUEUE_NODE: &str = r#"
package = ["queue"]
[[file]]
path = "/etc/queue.conf"
template = "queue.conf"
[[file]]
path = "/etc/queue.key"
template = "queue.key"
owner = "root:root"
[[directory]]
path = "{{ param.spool_dir }}"
"#;

/// The world with the profile, and recipes `queue` and `base` beside it.
fn world(profile: &str) -> World {
    let mut world = World::with(profile);
    for (path, text) in [
        ("base/recipe.toml", "description = \"What all need\"\n"),
        ("base/node.toml", "package = [\"jq\"]\ntimezone = \"Etc/UTC\"\n"),
        ("queue/recipe.toml", QUEUE),
        ("queue/node.toml", QUEUE_NODE),
        ("queue/server.toml", "service.enable = [\"queue-server\"]\n"),
        ("queue/worker.toml", "[[first-boot]]\nname = \"queue-join\"\ntemplate = \"join.sh\"\n"),
        (
            "queue/queue.conf",
            "{% for n in nodes_with(\"queue/worker\") %}\nworker {{ n.name }} {{ n.address }}\n{% endfor %}\n\
             port {{ param.port }} on {{ os.codename }} {{ os.arch }}\n",
        ),
        ("queue/queue.key", "{{ secret_hex(\"key\", 8) }}\n"),
        (
            "queue/join.sh",
            "#!/bin/sh\njoin {{ (nodes_with(\"queue/server\") | first).host }} as {{ node.name }}\n",
        ),
        ("queue/nodes.txt", "{% for n in nodes %}\n{{ n.fqdn }}\n{% endfor %}\n"),
    ] {
        world = world.file(&format!("/p/recipes/{path}"), text);
    }
    world
}

fn laid(world: &World) -> Laid {
    let cluster = world.loaded().cluster;
    lay(&cluster, &facts("trixie", 13, Arch::Arm64), &Seed::new([7; 32])).unwrap_or_else(|f| panic!("{f:#?}"))
}

#[track_caller]
fn lay_faults(world: &World, facts: &OsFacts) -> Vec<Fault> {
    let cluster = world.loaded().cluster;
    let faults = lay(&cluster, facts, &Seed::new([7; 32])).map(|_| ()).expect_err("the recipes were taken");
    faults.into_iter().collect()
}

pub(super) fn file<'s>(settings: &'s Settings, path: &str) -> (&'s str, bool) {
    let path: ImagePath = path.parse().unwrap();
    let file = settings.files.iter().find(|file| file.path == path).expect("no such file");
    (std::str::from_utf8(file.content.bytes()).unwrap(), file.content.is_secret())
}

#[test]
fn a_recipe_yields_what_a_profile_could_say_with_the_whole_cluster_in_sight() {
    let laid = laid(&world(PROFILE));
    let [head, work1, _] = &laid.cluster.nodes[..] else { panic!("{:?}", laid.cluster.nodes) };
    assert_eq!(
        file(&head.settings, "/etc/queue.conf"),
        ("worker work1 192.168.1.11\nworker work2 192.168.1.12\nport 7000 on trixie arm64\n", false)
    );
    assert_eq!(head.settings.packages, ["jq", "queue"]);
    assert_eq!(head.settings.units_enable, ["queue-server.service"]);
    assert_eq!(head.settings.directories[0].path.as_str(), "/var/spool/queue");
    assert!(head.settings.first_boot.is_empty());
    assert_eq!(work1.settings.first_boot[0].script.bytes(), b"#!/bin/sh\njoin head as work1\n");
    assert!(work1.settings.units_enable.is_empty());
}

#[test]
fn what_a_recipe_needs_is_laid_before_it() {
    let laid = laid(&world(PROFILE));
    let words: Vec<String> = laid.cluster.nodes[0].recipes.uses.iter().map(|used| used.word()).collect();
    assert_eq!(words, ["base", "queue/server"]);
}

#[test]
fn a_text_that_a_secret_went_into_is_a_secret_and_the_same_on_every_node() {
    let laid = laid(&world(PROFILE));
    let keys: Vec<(&str, bool)> =
        laid.cluster.nodes.iter().map(|node| file(&node.settings, "/etc/queue.key")).collect();
    assert_eq!(keys[0].0.trim().len(), 16);
    assert!(keys.iter().all(|key| *key == (keys[0].0, true)), "{keys:?}");
}

#[test]
fn the_profile_wins_over_its_recipes() {
    let profile = PROFILE.replace(
        "recipes = [\"queue/server\"]",
        "recipes = [\"queue/server\"]\ntimezone = \"Europe/Paris\"\n[[node.file]]\npath = \"/etc/queue.conf\"\ncontent = \"mine\"\n",
    );
    let laid = laid(&world(&profile));
    assert_eq!(file(&laid.cluster.nodes[0].settings, "/etc/queue.conf"), ("mine", false));
    assert_eq!(laid.cluster.nodes[0].settings.timezone.as_deref(), Some("Europe/Paris"));
    assert_eq!(laid.cluster.nodes[1].settings.timezone.as_deref(), Some("Etc/UTC"));
}

#[test]
fn parameters_come_from_every_layer_and_the_later_wins() {
    let profile = format!("{PROFILE}[defaults.recipe.queue]\nport = 1\nspool-dir = \"/srv\"\n")
        .replace("[[node]]\nname = \"work", "[node.recipe.queue]\nport = 2\n[[node]]\nname = \"work");
    let laid = laid(&world(&profile));
    assert!(file(&laid.cluster.nodes[0].settings, "/etc/queue.conf").0.contains("port 2"));
    assert!(file(&laid.cluster.nodes[1].settings, "/etc/queue.conf").0.contains("port 1"));
    assert_eq!(laid.cluster.nodes[1].settings.directories[0].path.as_str(), "/srv");
}

#[test]
fn services_and_files_for_the_workstation_are_told() {
    let laid = laid(&world(PROFILE));
    let told: Vec<_> =
        laid.services.iter().map(|s| (s.node.as_str(), s.name.as_str(), s.url.as_deref())).collect();
    assert_eq!(told, [("head", "Queue", Some("http://head:7000"))]);
    let files: Vec<_> = laid.host_files.iter().map(|f| (f.path.as_str(), f.content.bytes())).collect();
    assert_eq!(files, [("queue/nodes.txt", &b"head.lan\nwork1.lan\nwork2.lan\n"[..])]);
}

#[test]
fn a_template_of_the_profile_sees_the_cluster_too() {
    let profile = format!("{PROFILE}[[defaults.file]]\npath = \"/etc/motd\"\ntemplate = \"motd.j2\"\n");
    let world = world(&profile).file("/p/motd.j2", "{{ node.name }} of {{ cluster.name }}\n");
    assert_eq!(file(&laid(&world).cluster.nodes[2].settings, "/etc/motd"), ("work2 of lab\n", false));
}

#[test]
fn an_undefined_name_is_an_error_with_its_place() {
    let world = world(PROFILE).file("/p/recipes/queue/queue.conf", "one\n{{ param.prot }}\n");
    let faults = lay_faults(&world, &facts("trixie", 13, Arch::Arm64));
    let shown: Vec<String> = faults.iter().map(ToString::to_string).collect();
    assert!(shown[0].contains("`queue/queue.conf` line 2: undefined value"), "{shown:?}");
}

#[test]
fn a_recipe_that_is_not_for_this_image_is_refused_where_it_is_named() {
    let world = world(PROFILE).file(
        "/p/recipes/base/recipe.toml",
        "description = \"x\"\nreleases = [\"trixie\"]\narch = [\"arm64\"]\n",
    );
    let faults = lay_faults(&world, &facts("bookworm", 12, Arch::Armhf));
    let shown: Vec<String> = faults.iter().map(ToString::to_string).collect();
    assert!(shown[0].starts_with("/p/cluster.toml:"), "{shown:?}");
    assert!(
        shown[0].contains("the recipe `base` is for trixie; the image is Debian GNU/Linux 12"),
        "{shown:?}"
    );
    assert!(shown.iter().any(|text| text.contains("is for arm64; the image is armhf")), "{shown:?}");
}

#[test]
fn secrets_stay_out_of_settings() {
    let world = world(PROFILE).file(
        "/p/recipes/queue/node.toml",
        "[[file]]\npath = \"/x\"\ncontent = \"{{ secret_hex(\"k\", 4) }}\"\n",
    );
    let faults = lay_faults(&world, &facts("trixie", 13, Arch::Arm64));
    assert!(faults[0].message.contains("`queue/node.toml` uses a secret"), "{faults:?}");
}

#[test]
fn two_recipes_that_write_one_file_are_told_of() {
    let world = world(PROFILE)
        .file("/p/recipes/base/node.toml", "[[file]]\npath = \"/etc/queue.conf\"\ncontent = \"x\"\n");
    let faults = lay_faults(&world, &facts("trixie", 13, Arch::Arm64));
    assert_eq!(faults[0].message, "the file `/etc/queue.conf` is that of the recipe `base` too");
}

#[test]
fn what_a_profile_may_not_say_of_recipes_is_told_with_its_place() {
    for (from, to, message, help) in [
        ("queue/server", "queu/server", "there is no recipe `queu`", ""),
        (
            "queue/server",
            "queue",
            "the recipe `queue` has parts, wanted one of `queue/server`, `queue/worker`",
            "",
        ),
        (
            "queue/server",
            "queue/sever",
            "the recipe `queue` has no part `sever`, wanted one of `queue/server`, `queue/worker`",
            "",
        ),
        ("queue/server", "base/x", "the recipe `base` has no parts, found `x`", ""),
        (
            "queue/server",
            "queue/worker",
            "found 0 nodes with `queue/server`, wanted one",
            "the one that hands out work",
        ),
        (
            "queue/server",
            "Queue",
            "found `Queue`, wanted the name of a recipe, or `RECIPE/PART`: small letters, digits and hyphens",
            "",
        ),
    ] {
        let faults = world(&PROFILE.replacen(from, to, 1)).faults();
        assert_eq!(faults[0].message, message);
        assert!(faults[0].help.as_deref().unwrap_or_default().contains(help), "{faults:?}");
    }
    for (more, message, help) in [
        (
            "[defaults.recipe.queue]\nprot = 1\n",
            "the recipe `queue` has no parameter `prot`",
            "did you mean `port`?",
        ),
        (
            "[defaults.recipe.queue]\nport = \"x\"\n",
            "found a string for `port`, wanted an integer",
            "where the server listens",
        ),
        (
            "[defaults.recipe.queue]\nspool-dir = \"srv\"\n",
            "`srv` is not absolute: a path inside the image begins with `/`",
            "",
        ),
    ] {
        let faults = world(&format!("{PROFILE}{more}")).faults();
        assert_eq!(faults[0].message, message);
        assert!(faults[0].help.as_deref().unwrap_or_default().contains(help), "{faults:?}");
    }
}

#[test]
fn recipes_that_do_not_go_together_or_need_each_other_in_a_circle_are_told_of() {
    let clash =
        world(PROFILE).file("/p/recipes/base/recipe.toml", "description = \"x\"\nconflicts = [\"queue\"]\n");
    assert_eq!(clash.faults()[0].message, "`base` and `queue/server` do not go together on one node");
    let circle = world(PROFILE)
        .file("/p/recipes/base/recipe.toml", "description = \"x\"\nneeds = [\"queue/server\"]\n");
    assert_eq!(
        circle.faults()[0].message,
        "recipes need each other in a circle: queue/server → base → queue/server"
    );
}

#[test]
fn a_secret_parameter_is_named_by_where_it_is_kept_and_marks_what_it_goes_into() {
    let recipe = "description = \"x\"\n[param.auth-key]\ntype = \"secret\"\nhelp = \"from the console\"\n";
    let base = world(&format!("{PROFILE}[defaults.recipe.base]\nauth-key = {{ file = \"key\" }}\n"))
        .file("/p/recipes/base/recipe.toml", recipe)
        .file("/p/recipes/base/node.toml", "[[file]]\npath = \"/etc/auth\"\ntemplate = \"auth\"\n")
        .file("/p/recipes/base/auth", "{{ param.auth_key }}")
        .file("/p/key", "tskey-1\n");
    assert_eq!(file(&laid(&base).cluster.nodes[0].settings, "/etc/auth"), ("tskey-1", true));
    let written = world(&format!("{PROFILE}[defaults.recipe.base]\nauth-key = \"tskey-1\"\n"))
        .file("/p/recipes/base/recipe.toml", recipe);
    let faults = written.faults();
    assert!(faults[0].message.starts_with("found a secret written out for `auth-key`"), "{faults:?}");
    assert!(!format!("{faults:?}").contains("tskey-1"));
    let none = world(PROFILE).file("/p/recipes/base/recipe.toml", recipe);
    assert_eq!(none.faults()[0].message, "the recipe `base` needs `auth-key`: from the console");
}

#[test]
fn an_authority_is_public_until_its_key_is_asked_for_and_knows_its_clients() {
    let node = "[[file]]\npath = \"/ca.crt\"\ntemplate = \"ca.crt\"\n\
        [[file]]\npath = \"/ca.key\"\ntemplate = \"ca.key\"\nowner = \"root:root\"\n\
        [[file]]\npath = \"/join\"\ncontent = '{{ ca(\"main\", \"lab\").hash }} {{ \"a\" | sha256 }}'\n";
    let world = world(PROFILE)
        .file("/p/recipes/queue/node.toml", node)
        .file("/p/recipes/queue/ca.crt", "{{ ca(\"main\", \"lab\").cert }}")
        .file("/p/recipes/queue/ca.key", "{{ ca(\"main\", \"lab\").key }}")
        .file(
            "/p/recipes/queue/nodes.txt",
            "{{ ca(\"main\", \"lab\").client(\"me\", \"admin\", \"ops\").key }}",
        );
    let laid = laid(&world);
    let settings = &laid.cluster.nodes[0].settings;
    let (cert, is_secret) = file(settings, "/ca.crt");
    assert!(cert.starts_with("-----BEGIN CERTIFICATE-----\n") && !is_secret);
    let (key, is_secret) = file(settings, "/ca.key");
    assert!(key.starts_with("-----BEGIN PRIVATE KEY-----\n") && is_secret);
    let (join, is_secret) = file(settings, "/join");
    // What sha256sum says of "a".
    let digest = "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb";
    let hash = join.strip_prefix("sha256:").and_then(|rest| rest.strip_suffix(digest)).map(str::trim);
    assert!(hash.is_some_and(|hash| hash.len() == 64) && !is_secret, "{join}");
    let client = &laid.host_files[0].content;
    assert!(client.is_secret() && client.bytes() != key.as_bytes());
}

#[test]
fn every_recipe_that_comes_with_the_program_is_well_written() {
    let recipes =
        super::super::recipes(None, &World::with("")).unwrap_or_else(|faults| panic!("{faults:#?}"));
    assert!(recipes.iter().any(|recipe| recipe.name == "time-sync"));
    for recipe in &recipes {
        assert!(!recipe.description.ends_with('.') && recipe.description.len() < 100, "{}", recipe.name);
    }
}
