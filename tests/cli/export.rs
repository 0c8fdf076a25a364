use std::fs;

use crate::support::world::{World, profile, small_base};

const NODES: [(&str, &str); 2] = [("n1", "192.168.7.11"), ("n2", "192.168.7.12")];
const MORE: &str = "[role.worker]\n[[node]]\nname = \"n3\"\nrole = \"worker\"\n";
const FILES: [&str; 7] = [
    "known_hosts",
    "ssh_config",
    "inventory.yaml",
    "hosts",
    "prometheus/nodes.json",
    "README.md",
    "cluster.html",
];

#[test]
fn build_writes_the_files_of_the_whole_cluster_and_lists_them_whatever_part_it_presses() {
    let world = World::new();
    world.write("cluster.toml", &profile(&NODES, MORE));
    let listed = |out: &str, words: &[&str]| {
        let run =
            world.run(&[&["build", "cluster.toml", "--json", "--out", out], words].concat()).succeeded();
        let manifest: serde_json::Value = serde_json::from_str(&run.out).unwrap();
        manifest["files"].as_array().cloned().unwrap_or_default()
    };
    let whole = listed("whole", &[]);
    assert_eq!(whole.len(), FILES.len());
    for (file, wanted) in whole.iter().zip(FILES) {
        assert_eq!(file["path"], wanted);
        let bytes = fs::read(world.path("whole/test").join(wanted)).unwrap();
        assert_eq!(file["len_bytes"], bytes.len() as u64);
        assert_eq!(file["sha256"], cardpress::base::Sha256Digest::of(&bytes).to_string());
    }
    for (out, words) in [("one", ["--node", "n2"]), ("part", ["--shard", "2/3"])] {
        assert_eq!(listed(out, &words), whole);
        for file in FILES {
            let [whole, part] = ["whole", out].map(|out| fs::read(world.path(out).join("test").join(file)));
            assert!(whole.unwrap() == part.unwrap(), "{file} differs with {words:?}");
        }
    }
    assert!(listed("nothing", &["--format", "none"]).is_empty());
    assert!(!world.path("nothing").exists());
}

#[test]
fn export_with_the_base_writes_what_build_writes_and_without_it_opens_no_image() {
    let world = World::new();
    world.write("cluster.toml", &profile(&NODES, MORE));
    world.run(&["build", "cluster.toml", "--node", "n1"]).succeeded();
    world.run(&["export", "cluster.toml", "--all", "with", "--with-base"]).succeeded();
    // An image that is not there is not missed.
    let text = profile(&NODES, MORE).replace(small_base().to_str().unwrap(), "gone.img");
    world.write("cluster.toml", &text);
    let run = world.run(&["export", "cluster.toml", "--all", "without", "--json"]).succeeded();
    let json: serde_json::Value = serde_json::from_str(&run.out).unwrap();
    assert_eq!(json["files"].as_array().unwrap().len(), FILES.len());
    let read = |folder: &str, file: &str| fs::read_to_string(world.path(folder).join(file)).unwrap();
    for file in FILES {
        assert_eq!(read("out/test", file), read("with", file), "{file}");
        let knows_the_image = ["README.md", "cluster.html"].contains(&file);
        assert_eq!(read("with", file) == read("without", file), !knows_the_image, "{file}");
    }
    let run = world.run(&["export", "cluster.toml", "readme", "--with-base"]);
    assert_eq!(run.status, 1, "{}", run.err);
    assert!(run.err.contains("gone.img"), "{}", run.err);
}

#[test]
fn every_word_of_export_is_one_of_the_files() {
    let world = World::new();
    world.write("cluster.toml", &profile(&NODES, MORE));
    world.run(&["export", "cluster.toml", "--all", "all"]).succeeded();
    let words = ["known-hosts", "ssh-config", "ansible", "hosts", "prometheus", "readme", "html"];
    for (word, file) in words.into_iter().zip(FILES) {
        let wanted = fs::read_to_string(world.path("all").join(file)).unwrap();
        assert_eq!(world.run(&["export", "cluster.toml", word]).succeeded().out, wanted, "{word}");
        world.run(&["export", "cluster.toml", word, "--output", "one"]).succeeded();
        assert_eq!(fs::read_to_string(world.path("one")).unwrap(), wanted, "{word}");
        let run = world.run(&["export", "cluster.toml", word, "--json"]).succeeded();
        let json: serde_json::Value = serde_json::from_str(&run.out).unwrap();
        assert_eq!((json["path"].as_str(), json["content"].as_str()), (Some(file), Some(&wanted[..])));
    }
    for words in [&[][..], &["recipes"], &["hosts", "--all", "all"], &["--all", "all", "--output", "one"]] {
        assert_eq!(world.run(&[&["export", "cluster.toml"], words].concat()).status, 2, "{words:?}");
    }
}

#[test]
fn an_account_that_only_the_image_knows_is_asked_for_or_left_out_and_said() {
    let world = World::new();
    let text = profile(&NODES[..1], "").replace("[defaults.user.ops]", "[role.r.user.ops]");
    world.write("cluster.toml", &text);
    let run = world.run(&["export", "cluster.toml", "ssh-config"]).succeeded();
    assert!(!run.out.contains("User "), "{}", run.out);
    assert!(run.err.contains("warning: n1: ") && run.err.contains("--with-base"), "{}", run.err);
    let run = world.run(&["export", "cluster.toml", "ssh-config", "--with-base"]).succeeded();
    assert!(run.out.contains("    User pi\n"), "{}", run.out);
}
