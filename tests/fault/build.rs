//! The real program, killed at many moments while it presses nodes.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use cardpress::base::Sha256Digest;

use crate::support::world::{World, profile};

/// Moments at which the program is killed.
const ROUNDS: u32 = 200;
const NODES: [(&str, &str); 2] = [("n1", "192.168.7.11"), ("n2", "192.168.7.12")];

/// Digests of files that did not change since, by inode, length and time.
type Known = BTreeMap<(u64, u64, i64, i64), Sha256Digest>;

/// Every file that has a name of its own, also in folders, by its digest.
#[cfg(unix)]
fn files(folder: &Path, known: &mut Known) -> BTreeMap<String, Sha256Digest> {
    use std::os::unix::fs::MetadataExt as _;
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).into_iter().flatten().map(|entry| entry.unwrap()) {
        let (name, path) = (entry.file_name().into_string().unwrap(), entry.path());
        let data = fs::metadata(&path).unwrap();
        if data.is_dir() {
            let below = files(&path, known).into_iter();
            found.extend(below.map(|(below, digest)| (format!("{name}/{below}"), digest)));
        } else if !name.starts_with('.') {
            let key = (data.ino(), data.len(), data.mtime(), data.mtime_nsec());
            let hash = || Sha256Digest::of(&fs::read(path).unwrap());
            found.insert(name, *known.entry(key).or_insert_with(hash));
        }
    }
    found
}

#[cfg(unix)]
#[test]
fn no_file_has_its_final_name_before_it_is_whole_whenever_a_build_is_killed() {
    let world = World::in_memory();
    world.write("cluster.toml", &profile(&NODES, ""));
    let build = |seed: &str, format: &str| {
        world.write("seed", seed);
        let words = ["build", "cluster.toml", "--seed-file", "seed", "--format", format, "--level", "1"];
        world.command(if format == "img" { &words[..6] } else { &words })
    };
    let out = world.path("out/test");
    let mut known = Known::new();
    // Compressing takes longer, and there is less to find: it ends in the same renaming.
    for (format, rounds) in [("img", ROUNDS * 3 / 4), ("img.xz", ROUNDS / 4)] {
        // Two generations: what is there is one or the other, file by file.
        let mut whole = Vec::new();
        let mut took = Duration::ZERO;
        for seed in ["11".repeat(32), "22".repeat(32)] {
            let _ = fs::remove_dir_all(&out);
            let began = Instant::now();
            assert!(build(&seed, format).output().unwrap().status.success());
            took = began.elapsed();
            whole.push((seed, files(&out, &mut known)));
        }
        let names: Vec<&String> = whole[0].1.keys().collect();
        assert_eq!(names.len(), 5 + 7, "{names:?}");
        let mut mixed = 0;
        for round in 0..rounds {
            let (seed, _) = &whole[usize::try_from(round % 2).unwrap()];
            let mut child = build(seed, format).stderr(std::process::Stdio::null()).spawn().unwrap();
            // Not evenly: 61 shares no divisor with the number of rounds.
            std::thread::sleep(took.min(Duration::from_secs(5)) * (round * 61 % rounds) * 11 / (rounds * 10));
            let _ = child.kill();
            child.wait().unwrap();
            let found = files(&out, &mut known);
            for (name, digest) in &found {
                let known = whole.iter().any(|(_, files)| files.get(name) == Some(digest));
                assert!(known, "{format}, round {round}: {name} is neither the old nor the new one");
            }
            for node in ["n1", "n2"] {
                // A map goes with its image or is not there.
                let of = |name: &str| {
                    let digest = found.get(name)?;
                    whole.iter().position(|(_, files)| files.get(name) == Some(digest))
                };
                let (image, map) = (of(&format!("{node}.{format}")), of(&format!("{node}.bmap")));
                assert!(map.is_none() || map == image, "{format}, round {round}: the map of another image");
                mixed += u32::from(map.is_none());
            }
        }
        // The next build clears up what was left.
        assert!(build(&whole[0].0, format).output().unwrap().status.success());
        assert_eq!(files(&out, &mut known), whole[0].1);
        let hidden = [out.clone(), out.join("prometheus")]
            .into_iter()
            .flat_map(|folder| fs::read_dir(folder).unwrap())
            .filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().starts_with('.'));
        assert_eq!(hidden.count(), 0);
        println!("{format}: {rounds} kills, {took:?} a build, {mixed} images met without a map");
        let _ = fs::remove_dir_all(&out);
    }
}
