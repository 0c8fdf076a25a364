//! What somebody mistypes who sees the program for the first time: the answer names it, and what to do instead.

use crate::support::world::{World, small_base};

#[test]
fn the_first_mistakes_are_answered_with_what_to_do_instead() {
    let world = World::new();
    let base = small_base();
    let base = base.to_str().unwrap();
    world.write("notes.txt", "no image\n");
    for (words, status, wanted) in [
        (&["plan", "gone.toml"][..], 2, "`cardpress init gone.toml`"),
        (&["plan", base], 2, "a profile is a text file"),
        (&["fs", base], 2, "such as `ls /`, or --script FILE"),
        (&["fs", "notes.txt", "ls", "/"], 1, "wanted an image"),
        (&["fs", base, "--partition", "7", "ls", "/"], 2, "found no partition 7, only [1, 2]"),
        (&["check", base, "--partition", "7"], 2, "found no partition 7, only [1, 2]"),
        (&["recipes", "--profile", "gone.toml"], 2, "--profile: `gone.toml` is no file"),
        (&["init", "--subnet", "ten"], 2, "wanted a network such as `192.168.1.0/24`"),
        (&["init", "--nodes", "0"], 2, "--nodes: found `0`"),
        (&["flash", "--image", base, "notes.txt"], 1, "`cardpress devices`"),
        (&["flash", "home.toml"], 2, "worker1=/dev/sdb"),
        (&["export", "hosts"], 2, "<PROFILE> <WHAT>"),
        (
            &["customize", base, "--output", "pi.img", "--address", "10.0.0.4"],
            2,
            "write the prefix: `10.0.0.4/24`",
        ),
    ] {
        let run = world.run(words);
        assert_eq!(run.status, status, "{words:?}: {}", run.err);
        assert!(run.err.contains(wanted), "{words:?}: {}", run.err);
    }
    let run = world.run(&["customize", base, "--output", "pi.img", "--address", "10.0.0.4"]);
    assert!(!run.err.contains("cluster.subnet"), "no flag sets it: {}", run.err);
    let run = world.run(&["boot", "gone.img"]);
    assert!(!run.err.contains("image.path"), "there is no profile: {}", run.err);
}
