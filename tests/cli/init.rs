//! `cardpress init`: what is written builds, is never written over, and points to its schema.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::support::tools::text;
use crate::support::world::{PUBLIC_KEY, World, small_base};

/// A world with a key to log in with.
fn world() -> World {
    let world = World::new();
    world.write(".ssh/id_ed25519.pub", &format!("{PUBLIC_KEY}\n"));
    world
}

#[test]
fn without_a_terminal_it_takes_what_it_proposes_and_the_profile_builds() {
    let world = world();
    let run = world.run(&["init", "--subnet", "10.1.2.0/24", "--name", "test"]).succeeded();
    assert!(run.err.contains("wrote cluster.toml"), "{}", run.err);
    let profile = fs::read_to_string(world.path("cluster.toml")).unwrap();
    for line in [
        "name = \"test\"",
        "subnet = \"10.1.2.0/24\"",
        "name = \"node[1-4]\"",
        "ssh-keys = [\"file:~/.ssh/id_ed25519.pub\"]",
    ] {
        assert!(profile.contains(line), "{line}: {profile}");
    }
    let base = small_base();
    let plan = world.run(&["plan", "cluster.toml", "--image", text(&base)]).succeeded();
    assert!(plan.out.contains("nodes node[1-4] (4 nodes, every node; "), "{}", plan.out);
    let words = ["build", "cluster.toml", "--image", text(&base), "--format", "none"];
    world.run(&words).succeeded();
}

#[test]
fn every_template_is_accepted_on_another_network() {
    let world = world();
    world.write("pi.password", "correct horse battery staple\n");
    world.write("root.password", "correct horse battery staple\n");
    world.write("key.pub", &format!("{PUBLIC_KEY}\n"));
    let base = small_base();
    let help = world.run(&["init", "--help"]).succeeded().out;
    let names =
        help.split("[possible values: ").nth(1).unwrap().split(']').next().unwrap().replace('\n', " ");
    let names: Vec<&str> = names.split(',').map(str::trim).collect();
    assert!(names.len() >= 8, "{names:?}");
    for name in names {
        let file = format!("{name}.toml");
        world
            .run(&[
                "init",
                "--template",
                name,
                &file,
                "--subnet",
                "10.77.0.0/16",
                "--gateway",
                "10.77.0.254",
                "--name",
                "mine",
            ])
            .succeeded();
        let profile = fs::read_to_string(world.path(&file)).unwrap();
        assert!(!profile.contains("192.168.1."), "{profile}");
        // Nor do its remarks speak of another file or folder.
        assert!(!profile.contains("profiles/"), "{profile}");
        assert_eq!(profile.matches("out/").count(), profile.matches("out/mine/").count(), "{profile}");
        assert!(
            profile.contains("gateway = \"10.77.0.254\"") && profile.contains("name = \"mine\""),
            "{profile}"
        );
        let plan = world.run(&["plan", &file, "--image", text(&base)]).succeeded();
        assert!(plan.out.contains("10.77.0.254"), "{}", plan.out);
    }
}

#[test]
fn every_template_takes_other_nodes_addresses_and_another_user() {
    let world = world();
    world.write("pi.password", "correct horse battery staple\n");
    world.write("root.password", "correct horse battery staple\n");
    let base = small_base();
    for entry in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("profiles")).unwrap() {
        let file = entry.unwrap().file_name().into_string().unwrap();
        let Some(name) = file.strip_suffix(".toml") else { continue };
        let words = ["init", "--template", name, &file, "--subnet", "10.77.3.0/24", "--user", "ada"];
        world.run(&[&words[..], &["--nodes", "6", "--address-from", "10.77.3.60"]].concat()).succeeded();
        let plan = world.run(&["plan", &file, "--image", text(&base), "--json"]).succeeded();
        let plan: serde_json::Value = serde_json::from_str(&plan.out).unwrap();
        assert_eq!(plan["nodes"].as_array().unwrap().len(), 6, "{name}");
        let profile = fs::read_to_string(world.path(&file)).unwrap();
        assert!(profile.contains("address = \"10.77.3.60\"") && profile.contains(".[61-65]\""), "{profile}");
        assert!(profile.contains("[defaults.user.ada]") && !profile.contains("\"pi\""), "{profile}");
        let words = ["init", "--template", name, &file, "--force", "--nodes", "red,green,blue"];
        world.run(&words).succeeded();
        let plan = world.run(&["plan", &file, "--image", text(&base), "--json"]).succeeded();
        let plan: serde_json::Value = serde_json::from_str(&plan.out).unwrap();
        let names: Vec<_> = plan["nodes"].as_array().unwrap().iter().map(|node| &node["name"]).collect();
        assert_eq!(names, ["red", "green", "blue"], "{name}");
    }
}

#[test]
fn a_profile_that_is_there_stays_unless_force_is_given() {
    let world = world();
    world.write("cluster.toml", "mine\n");
    let run = world.run(&["init"]);
    assert_eq!(run.status, 2, "{}", run.err);
    assert!(run.err.contains("`cluster.toml` is there already"), "{}", run.err);
    assert_eq!(fs::read_to_string(world.path("cluster.toml")).unwrap(), "mine\n");
    world.run(&["init", "--force"]).succeeded();
    assert!(fs::read_to_string(world.path("cluster.toml")).unwrap().contains("schema = 1"));
}

#[test]
fn what_makes_no_profile_is_a_usage_error_and_nothing_is_written() {
    let world = world();
    for (words, wanted) in [
        (&["--nodes", "a,a"][..], "found a second node `a`"),
        (&["--nodes", "a_b"], "`a-b` would do"),
        (&["--user", "Ada"], "Ada"),
        (&["--nodes", "0"], "wanted 1 to 253"),
        (&["--subnet", "10.0.0.0/24", "--gateway", "10.0.1.1"], "wanted an address in 10.0.0.0/24"),
        (&["--ssh-key", "gone.pub"], "cannot read `gone.pub`"),
        (&["--template", "swarm"], "docker-swarm"),
        (&["--template", "k3s", "--nodes", "1"], "the template has `server` and then `agent[1-3]`"),
        (
            &["--template", "k3s", "--subnet", "192.168.1.0/24", "--address-from", "192.168.1.252"],
            "wanted 4 addresses in a row in 192.168.1.0/24",
        ),
        (&["--template", "k3s", "--subnet", "10.0.0.0/28"], "wanted one of 256 addresses"),
        (
            &["--template", "docker-swarm", "--subnet", "192.168.1.0/24", "--address-from", "192.168.1.5"],
            "gives 192.168.1.10 to something else",
        ),
    ] {
        let run = world.run(&[&["init"][..], words].concat());
        assert_eq!(run.status, 2, "{words:?}: {}", run.err);
        assert!(run.err.contains(wanted), "{words:?}: {}", run.err);
        assert!(!world.path("cluster.toml").exists(), "{words:?}");
    }
}

#[test]
fn with_schema_editors_find_it_beside_the_profile() {
    let world = world();
    let run = world.run(&["init", "--schema", "--json", "rack/p.toml"]);
    assert_eq!(run.status, 1, "the folder was made: {}", run.err);
    fs::create_dir(world.path("rack")).unwrap();
    let run = world.run(&["init", "--schema", "--json", "rack/p.toml"]).succeeded();
    let told: serde_json::Value = serde_json::from_str(&run.out).unwrap();
    assert_eq!(told["schema_file"], "rack/cardpress.schema.json");
    let profile = fs::read_to_string(world.path("rack/p.toml")).unwrap();
    assert!(profile.starts_with("#:schema ./cardpress.schema.json\n"), "{profile}");
    let schema = fs::read_to_string(world.path("rack/cardpress.schema.json")).unwrap();
    assert_eq!(schema, world.run(&["schema"]).succeeded().out);
}

/// On a terminal it asks; `script` of util-linux makes one.
#[test]
fn on_a_terminal_it_asks() {
    let world = world();
    let program = Path::new(env!("CARGO_BIN_EXE_cardpress"));
    let words = format!(
        "{} init --name asked --os x --user ada --subnet 10.1.2.0/24 --gateway 10.1.2.1",
        text(program)
    );
    let mut command = Command::new("script");
    command
        .args(["--quiet", "--return", "--command", &words, "/dev/null"])
        .current_dir(world.path(""))
        .env_clear();
    command.env("HOME", world.path("")).env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command.env("LC_ALL", "C").env("TERM", "dumb").env("SHELL", "/bin/sh");
    let mut running =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // How many nodes, the first address, the key: one answered wrongly, then rightly; the rest as proposed.
    std::io::Write::write_all(running.stdin.as_mut().unwrap(), b"0\n2\n\n\n").unwrap();
    let output = running.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}");
    assert_eq!(said.matches("How many nodes, or their names [4]:").count(), 2, "{said}");
    let profile = fs::read_to_string(world.path("cluster.toml")).unwrap();
    assert!(profile.contains("name = \"node[1-2]\"") && profile.contains("[defaults.user.ada]"), "{profile}");
}
