use std::fs;
use std::path::Path;

use crate::support::world::{Run, World, profile};

const NODES: [(&str, &str); 3] = [("n1", "192.168.7.11"), ("n2", "192.168.7.12"), ("n3", "192.168.7.13")];

/// The files of a folder and of the folders in it, sorted, with slashes; none when there is no such folder.
fn files_below(folder: &Path, above: &str) -> Vec<String> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let entry = entry.unwrap();
        let name = format!("{above}{}", entry.file_name().into_string().unwrap());
        if entry.file_type().unwrap().is_dir() {
            names.extend(files_below(&entry.path(), &format!("{name}/")));
        } else {
            names.push(name);
        }
    }
    names.sort();
    names
}

#[test]
fn build_writes_an_image_for_each_node_and_a_manifest_without_secrets() {
    let world = World::new();
    world.write("password", "correct horse battery staple\n");
    let more = "[defaults.user.root2]\npassword = { file = \"password\" }\n";
    world.write("cluster.toml", &profile(&NODES, more));
    let run = world.run(&["build", "cluster.toml", "--sha256", "--json"]).succeeded();
    let manifest: serde_json::Value = serde_json::from_str(&run.out).unwrap();
    assert_eq!(manifest["cluster"], "test");
    for (node, (name, _)) in manifest["nodes"].as_array().unwrap().iter().zip(NODES) {
        assert_eq!(node["name"], name);
        let image = fs::read(world.path("out/test").join(node["image"].as_str().unwrap())).unwrap();
        assert_eq!(node["len_bytes"], image.len() as u64);
        assert_eq!(node["sha256"], cardpress::base::Sha256Digest::of(&image).to_string());
        assert_eq!(node["secret"], true);
    }
    let text = fs::read_to_string(world.path("out/test/manifest.json")).unwrap();
    assert_eq!(text, run.out);
    assert!(!text.contains("$6$") && !text.contains("PRIVATE"), "{text}");
}

#[test]
fn building_twice_gives_the_same_bytes_whatever_the_jobs() {
    let world = World::new();
    world.write("cluster.toml", &profile(&NODES, ""));
    world.run(&["build", "cluster.toml", "--out", "a", "--jobs", "1"]).succeeded();
    world.run(&["build", "cluster.toml", "--out", "b", "--jobs", "3"]).succeeded();
    for file in ["n1.img", "n2.img", "n3.img", "manifest.json"] {
        let (a, b) = (world.path("a/test").join(file), world.path("b/test").join(file));
        assert!(fs::read(a).unwrap() == fs::read(b).unwrap(), "{file} differs");
    }
}

#[test]
fn another_seed_gives_another_image() {
    let world = World::new();
    world.write("cluster.toml", &profile(&NODES[..1], ""));
    let digest = |seed: &str| {
        world.write("seed", seed);
        let words = ["build", "cluster.toml", "--format", "none", "--json", "--seed-file", "seed"];
        let run = world.run(&words).succeeded();
        serde_json::from_str::<serde_json::Value>(&run.out).unwrap()["nodes"][0]["digest"].to_string()
    };
    let (first, other) = (digest(&"11".repeat(32)), digest(&"22".repeat(32)));
    assert_ne!(first, other);
    assert_eq!(first, digest(&"11".repeat(32)));
    assert!(!world.path("out").exists());
}

#[cfg(unix)]
#[test]
fn an_image_with_secrets_is_private_and_no_temporary_file_stays() {
    use std::os::unix::fs::PermissionsExt as _;
    let world = World::new();
    world.write("cluster.toml", &profile(&NODES[..1], ""));
    world.run(&["build", "cluster.toml"]).succeeded();
    let mode = fs::metadata(world.path("out/test/n1.img")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let names = files_below(&world.path("out/test"), "");
    let shared = [
        "README.md",
        "cluster.html",
        "hosts",
        "inventory.yaml",
        "known_hosts",
        "manifest.json",
        "prometheus/nodes.json",
        "ssh_config",
    ];
    assert_eq!(names, [&shared[..6], &["n1.bmap", "n1.img"], &shared[6..]].concat());
    for name in shared {
        let mode = fs::metadata(world.path("out/test").join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o644, "{name}");
    }
    let mode = fs::metadata(world.path("out/test/n1.bmap")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn one_node_can_be_built_again_and_the_manifest_keeps_the_others() {
    let world = World::new();
    world.write("cluster.toml", &profile(&NODES, ""));
    world.run(&["build", "cluster.toml"]).succeeded();
    let before = fs::read_to_string(world.path("out/test/manifest.json")).unwrap();
    world.run(&["build", "cluster.toml", "--node", "n2"]).succeeded();
    assert_eq!(fs::read_to_string(world.path("out/test/manifest.json")).unwrap(), before);
}

#[test]
fn an_unknown_node_is_a_usage_error_that_lists_the_known_ones() {
    let world = World::new();
    world.write("cluster.toml", &profile(&NODES, ""));
    // Before the base is looked for: it may be a long download.
    let run = world.run(&["build", "cluster.toml", "--node", "n9", "--image", "gone.img"]);
    assert_eq!(run.status, 2);
    assert!(run.err.contains("`n9`") && run.err.contains("n1, n2, n3"), "{}", run.err);
}

#[test]
fn a_base_that_is_not_there_or_no_image_is_an_error_and_nothing_is_written() {
    let world = World::new();
    world.write("cluster.toml", &profile(&NODES, ""));
    world.write("page.img", "<!doctype html><title>404</title>");
    for (image, word) in [("gone.img", "--image FILE at the current one"), ("page.img", "is a web page")] {
        let run = world.run(&["build", "cluster.toml", "--image", image]);
        assert_eq!(run.status, 1, "{}", run.err);
        assert!(run.err.contains(word), "{}", run.err);
        assert!(!world.path("out").exists());
    }
}

#[test]
fn a_pinned_digest_that_does_not_match_names_both() {
    let world = World::new();
    let wanted = "0".repeat(64);
    let text = profile(&NODES, "").replace("[cluster]", &format!("sha256 = \"{wanted}\"\n[cluster]"));
    world.write("cluster.toml", &text);
    let run = world.run(&["build", "cluster.toml"]);
    let found = cardpress::base::Sha256Digest::of(&fs::read(crate::support::world::small_base()).unwrap());
    assert_eq!(run.status, 1, "{}", run.err);
    assert!(run.err.contains(&wanted) && run.err.contains(&found.to_string()), "{}", run.err);
}

#[test]
fn a_file_too_large_for_the_root_says_how_much_is_missing_and_writes_nothing() {
    let world = World::new();
    fs::File::create(world.path("big")).unwrap().set_len(700 << 20).unwrap();
    let more = "[[defaults.file]]\npath = \"/opt/big\"\nsource = \"big\"\n";
    world.write("cluster.toml", &profile(&NODES[..1], more));
    let run = world.run(&["build", "cluster.toml"]);
    assert_eq!(run.status, 1, "{}", run.err);
    assert!(run.err.contains("too small") && run.err.contains("are missing"), "{}", run.err);
    assert!(!world.path("out").exists(), "an empty folder is left behind");
}

/// Ctrl-C at many moments of a build, then kill -9 at as many: whatever has its final name is whole.
#[cfg(unix)]
#[test]
fn a_build_that_is_cut_off_leaves_nothing_half_made_under_a_final_name() {
    use std::time::Duration;
    let world = World::new();
    world.write("cluster.toml", &profile(&NODES, ""));
    world.run(&["build", "cluster.toml", "--out", "whole"]).succeeded();
    for step in 0..12_u64 {
        for signal in ["-INT", "-KILL"] {
            let _ = fs::remove_dir_all(world.path("out"));
            let mut child = world.command(&["build", "cluster.toml", "--quiet"]).spawn().unwrap();
            std::thread::sleep(Duration::from_millis(10 + step * 25));
            let kill = std::process::Command::new("kill").args([signal, &child.id().to_string()]).output();
            assert!(kill.is_ok());
            child.wait().unwrap();
            for name in files_below(&world.path("out/test"), "") {
                if name.rsplit('/').next().unwrap().starts_with('.') {
                    assert_ne!(signal, "-INT", "{name} was left behind after Ctrl-C");
                    continue;
                }
                let (found, wanted) =
                    (world.path("out/test").join(&name), world.path("whole/test").join(&name));
                assert!(fs::read(found).unwrap() == fs::read(wanted).unwrap(), "{name} is not whole");
            }
        }
    }
    // What a killed build left behind goes with the next one.
    world.run(&["build", "cluster.toml"]).succeeded();
    let left = files_below(&world.path("out/test"), "");
    assert!(left.iter().all(|name| !name.contains("/.") && !name.starts_with('.')), "{left:?}");
}

#[test]
fn help_teaches_and_a_wrong_word_is_a_usage_error() {
    let world = World::new();
    let Run { status, out, .. } = world.run(&["build", "--help"]);
    assert_eq!(status, 0);
    assert!(out.contains("--node") && out.contains("manifest.json"), "{out}");
    assert_eq!(world.run(&["bild"]).status, 2);
}
