//! The real program, ended by a signal at many moments while it edits an image.

use std::fs;
use std::time::{Duration, Instant};

use cardpress::base::Sha256Digest;

use super::{are_same_but_for, free_bytes};
use crate::support::tools::{must, run, text};
use crate::support::world::World;

/// Moments at which the program is ended.
const ROUNDS: u32 = 36;

#[cfg(unix)]
#[test]
fn an_image_is_the_old_or_the_new_one_whenever_its_editor_is_killed() {
    let world = World::in_memory();
    let base = world.path("base.img");
    must("mke2fs", ["-q", "-t", "ext4", "-b", "1024", text(&base), "24M"]);
    fs::write(world.path("big"), vec![7; 3 << 20]).unwrap();
    world.write(
        "script",
        "mkdir /d\nput big /d/one\nput big /d/two\nln -s one /d/link\nmv /d/two /two\ngrow 26MiB\n",
    );
    let image = world.path("x.img");
    let edit = || {
        fs::copy(&base, &image).unwrap();
        let mut command = world.command(&["fs", "x.img", "--script", "script"]);
        command.env("SOURCE_DATE_EPOCH", "1700000000");
        command
    };
    let digest = || Sha256Digest::of(&fs::read(&image).unwrap());
    let (old_bytes, free) = (fs::read(&base).unwrap(), free_bytes(&base));
    let old = Sha256Digest::of(&old_bytes);
    let mut whole = edit();
    let began = Instant::now();
    assert!(whole.status().unwrap().success());
    let (took, new) = (began.elapsed(), digest());
    assert_ne!(old, new);
    let said = run("e2fsck", ["-fn", text(&image)]);
    assert_eq!(said.status, 0, "{}", said.text);

    let mut seen = (0, 0);
    for round in 0..ROUNDS {
        let signal = if round % 4 == 3 { "-INT" } else { "-KILL" };
        let mut child = edit().spawn().unwrap();
        std::thread::sleep(Duration::min(took, Duration::from_secs(5)) * round / ROUNDS);
        let kill = std::process::Command::new("kill").args([signal, &child.id().to_string()]).output();
        assert!(kill.is_ok());
        child.wait().unwrap();
        // A reader sees the one or the other, and touches neither the image nor a log.
        let before = (digest(), fs::metadata(&image).unwrap().modified().unwrap());
        world.run(&["fs", "x.img", "ls", "-R", "/"]).succeeded();
        assert_eq!((digest(), fs::metadata(&image).unwrap().modified().unwrap()), before);
        // A writer that changes nothing finishes what was begun.
        world.run(&["fs", "x.img", "mkdir", "-p", "/"]).succeeded();
        if digest() == new {
            seen.1 += 1;
        } else {
            // What was free may hold what was to come.
            let is_old = are_same_but_for(&free, &old_bytes, &fs::read(&image).unwrap());
            assert!(is_old, "round {round}: neither the old nor the new image");
            seen.0 += 1;
        }
        let left: Vec<_> = fs::read_dir(world.path(".")).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert!(!left.iter().any(|name| name.to_string_lossy().starts_with(".x.img")), "{left:?}");
    }
    println!("{} old, {} new", seen.0, seen.1);
}
