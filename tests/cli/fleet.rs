//! Many nodes: parts of a build, and what joins them.

use std::fs;

use crate::support::world::{World, profile};

const NODES: [(&str, &str); 5] = [
    ("n1", "192.168.7.11"),
    ("n2", "192.168.7.12"),
    ("n3", "192.168.7.13"),
    ("n4", "192.168.7.14"),
    ("n5", "192.168.7.15"),
];

#[test]
fn shards_give_the_bytes_of_the_whole_and_their_manifests_join_to_its_manifest() {
    let world = World::new();
    world.write("cluster.toml", &profile(&NODES, ""));
    world.run(&["build", "cluster.toml", "--out", "whole"]).succeeded();
    for shard in ["1/3", "2/3", "3/3"] {
        world.run(&["build", "cluster.toml", "--out", "parts", "--shard", shard]).succeeded();
    }
    assert!(!world.path("parts/test/manifest.json").exists(), "a part is not the whole");
    world.run(&["build", "cluster.toml", "--out", "parts", "--merge-manifests"]).succeeded();
    for file in
        ["n1.img", "n2.img", "n3.img", "n4.img", "n5.img", "manifest.json", "ssh_config", "cluster.html"]
    {
        let (whole, part) = (world.path("whole/test").join(file), world.path("parts/test").join(file));
        assert!(fs::read(whole).unwrap() == fs::read(part).unwrap(), "{file} differs");
    }
    let second = fs::read_to_string(world.path("parts/test/manifest-2-of-3.json")).unwrap();
    assert!(second.contains("\"n2\"") && second.contains("\"n5\"") && !second.contains("\"n3\""), "{second}");
}

#[test]
fn a_shard_without_nodes_is_done_at_once_and_counts_when_joining() {
    let world = World::new();
    world.write("cluster.toml", &profile(&NODES[..1], ""));
    for shard in ["1/2", "2/2"] {
        let run = world.run(&["build", "cluster.toml", "--shard", shard]).succeeded();
        assert!(run.err.contains(&format!("part {shard}: ")), "{}", run.err);
    }
    assert!(!world.path("out/test/manifest.json").exists());
    world.run(&["build", "cluster.toml", "--merge-manifests"]).succeeded();
}

#[test]
fn manifests_that_make_no_whole_are_refused_by_name_and_nothing_is_written() {
    let world = World::new();
    world.write("cluster.toml", &profile(&NODES, ""));
    let merge = || world.run(&["build", "cluster.toml", "--merge-manifests"]);
    let refused = |wanted: &str| {
        let run = merge();
        assert_eq!(run.status, 1, "{}", run.err);
        assert!(run.err.contains(wanted), "{}", run.err);
        assert!(!world.path("out/test/manifest.json").exists());
    };
    refused("cannot read out/test");
    world.run(&["build", "cluster.toml", "--shard", "1/2"]).succeeded();
    refused("1 of 2 manifests; `manifest-2-of-2.json` is missing");
    let first = fs::read_to_string(world.path("out/test/manifest-1-of-2.json")).unwrap();
    world.write("out/test/manifest-2-of-2.json", "{}");
    refused("manifest-2-of-2.json is no manifest of this version");
    world.write("out/test/manifest-2-of-2.json", &first);
    refused("node `n1` 2 times");
    world.write("out/test/manifest-2-of-2.json", &first.replace("cardpress 0", "cardpress 9"));
    refused("`manifest-2-of-2.json`, which was made from another base, by another version");
    world.write("out/test/manifest-2-of-2.json", &first);
    world.write("out/test/manifest-1-of-3.json", &first);
    refused("`manifest-1-of-2.json` and `manifest-1-of-3.json`");
}

#[test]
fn a_part_that_is_none_is_a_usage_error() {
    let world = World::new();
    world.write("cluster.toml", &profile(&NODES, ""));
    for words in [&["--shard", "4/3"][..], &["--shard", "1/2", "--node", "n1"]] {
        let run = world.run(&[&["build", "cluster.toml"], words].concat());
        assert_eq!(run.status, 2, "{}", run.err);
    }
}

#[test]
fn an_output_that_is_a_file_is_an_error_that_names_it() {
    let world = World::new();
    world.write("cluster.toml", &profile(&NODES, ""));
    world.write("out.img", "precious");
    let run = world.run(&["build", "cluster.toml", "--out", "out.img"]);
    assert_eq!(run.status, 1, "{}", run.err);
    assert!(run.err.contains("out.img") && run.err.contains("folder"), "{}", run.err);
    assert_eq!(fs::read_to_string(world.path("out.img")).unwrap(), "precious");
}

/// What a real program makes of a compressed file.
fn unpacked(program: &str, path: &std::path::Path) -> Vec<u8> {
    let output = std::process::Command::new(program).arg("-dc").arg(path).output();
    let output = output.unwrap_or_else(|error| panic!("cannot run `{program}`: {error}"));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

#[test]
fn compressed_images_unpack_to_the_raw_ones_and_are_the_same_whatever_the_jobs_and_shards() {
    let world = World::new();
    world.write("cluster.toml", &profile(&NODES[..3], ""));
    world.run(&["build", "cluster.toml", "--out", "raw"]).succeeded();
    for (format, program) in [("img.xz", "xz"), ("img.zst", "zstd"), ("img.gz", "gzip")] {
        let build = |out: &str, words: &[&str]| {
            let common = ["build", "cluster.toml", "--format", format, "--level", "1", "--out", out];
            world.run(&[&common[..], words].concat()).succeeded();
        };
        build(&format!("{format}-one"), &["--jobs", "1"]);
        build(&format!("{format}-eight"), &["--jobs", "8"]);
        for shard in ["1/2", "2/2"] {
            build(&format!("{format}-parts"), &["--shard", shard]);
        }
        for node in ["n1", "n2", "n3"] {
            let file = |out: &str| world.path(&format!("{format}-{out}/test/{node}.{format}"));
            let raw = fs::read(world.path(&format!("raw/test/{node}.img"))).unwrap();
            assert!(unpacked(program, &file("one")) == raw, "{program} makes something else of {node}");
            let bytes = fs::read(file("one")).unwrap();
            assert!(bytes == fs::read(file("eight")).unwrap(), "{node}.{format}: eight jobs");
            assert!(bytes == fs::read(file("parts")).unwrap(), "{node}.{format}: two shards");
            let bmap = |out: &str| fs::read(world.path(&format!("{out}/test/{node}.bmap"))).unwrap();
            assert!(bmap("raw") == bmap(&format!("{format}-one")), "{node}.bmap");
        }
    }
}

#[test]
fn a_map_names_all_that_is_not_free_with_its_digest() {
    let world = World::new();
    world.write("cluster.toml", &profile(&NODES[..1], ""));
    world.run(&["build", "cluster.toml"]).succeeded();
    let image = fs::read(world.path("out/test/n1.img")).unwrap();
    let map = fs::read_to_string(world.path("out/test/n1.bmap")).unwrap();
    let mut card = vec![0xa5; image.len()];
    let mut mapped = 0;
    for line in map.lines().filter(|line| line.contains("<Range")) {
        let (_, rest) = line.split_once("chksum=\"").unwrap();
        let (digest, rest) = rest.split_once("\">").unwrap();
        let blocks = rest.trim().trim_end_matches("</Range>").trim();
        let (first, last) = blocks.split_once('-').unwrap_or((blocks, blocks));
        let (first, last): (usize, usize) = (first.parse().unwrap(), last.parse().unwrap());
        let range = first * 4096..((last + 1) * 4096).min(image.len());
        assert_eq!(cardpress::base::Sha256Digest::of(&image[range.clone()]).to_string(), digest, "{blocks}");
        card[range.clone()].copy_from_slice(&image[range.clone()]);
        mapped += range.len();
    }
    assert!(mapped < image.len() * 3 / 4, "{mapped} of {} bytes: free blocks are not left out", image.len());
    // A card that held something else before is as sound as the image.
    fs::write(world.path("card.img"), &card).unwrap();
    world.run(&["check", "card.img"]).succeeded();
    let list = |file: &str| world.run(&["fs", file, "ls", "-l", "-R", "/"]).succeeded().out;
    assert_eq!(list("card.img"), list("out/test/n1.img"));
}

#[test]
fn a_level_without_compression_is_a_usage_error() {
    let world = World::new();
    world.write("cluster.toml", &profile(&NODES[..1], ""));
    let run = world.run(&["build", "cluster.toml", "--level", "3"]);
    assert_eq!(run.status, 2, "{}", run.err);
    assert!(run.err.contains("--format img.xz"), "{}", run.err);
}
