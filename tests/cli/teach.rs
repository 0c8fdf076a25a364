//! What the program says of itself: completions and manual pages.

use std::collections::BTreeSet;
use std::fs;
use std::process::{Command, Stdio};

use crate::support::tools::{must, run, text};
use crate::support::world::World;

fn is_installed(program: &str) -> bool {
    Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok()
}

/// The words in the list of commands that `--help` shows.
fn verbs(world: &World) -> Vec<String> {
    let help = world.run(&["--help"]).succeeded().out;
    let list = help.split("Commands:\n").nth(1).unwrap().split("\n\nOptions:").next().unwrap();
    let names = list.lines().filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    let verbs: Vec<String> = names
        .map(|line| line.split_whitespace().next().unwrap().to_owned())
        .filter(|verb| verb != "help")
        .collect();
    assert!(verbs.len() > 10, "{help}");
    verbs
}

#[test]
fn every_shell_takes_its_completions_and_they_know_every_verb() {
    let world = World::new();
    let verbs = verbs(&world);
    for (shell, check) in [
        ("bash", Some(["bash", "-n"])),
        ("zsh", Some(["zsh", "-n"])),
        ("fish", Some(["fish", "-n"])),
        ("powershell", None),
    ] {
        let script = world.run(&["completions", shell]).succeeded().out;
        for verb in &verbs {
            assert!(script.contains(verb.as_str()), "{shell} knows no {verb}");
        }
        let file = world.write(shell, &script);
        if let Some([program, flag]) = check.filter(|[program, _]| is_installed(program)) {
            must(program, [flag, text(&file)]);
        }
    }
}

#[test]
fn bash_completes_a_verb_and_a_flag() {
    let world = World::new();
    let script = world.run(&["completions", "bash"]).succeeded().out;
    world.write("completions", &script);
    let asked = |words: &str, last: usize| {
        let program = format!(
            ". {}; COMP_WORDS=({words}); COMP_CWORD={last}; COMP_LINE='{words}'; \
             _cardpress cardpress \"${{COMP_WORDS[{last}]}}\" \"${{COMP_WORDS[{last}-1]}}\"; echo \"${{COMPREPLY[*]}}\"",
            world.path("completions").display()
        );
        must("bash", ["-c", &program])
    };
    assert_eq!(asked("cardpress imag", 1).trim(), "images");
    assert_eq!(asked("cardpress plan --no", 2).trim(), "--node");
}

#[test]
fn every_verb_has_a_manual_page_that_groff_takes_without_a_word() {
    let world = World::new();
    world.run(&["man", "man1"]).succeeded();
    let pages: BTreeSet<String> = fs::read_dir(world.path("man1"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    for verb in verbs(&world) {
        assert!(pages.contains(&format!("cardpress-{verb}.1")), "{verb} has no page: {pages:?}");
    }
    assert!(pages.contains("cardpress-cache-prune.1"), "{pages:?}");
    for page in &pages {
        let path = world.path("man1").join(page);
        if is_installed("groff") {
            let said = run("groff", ["-man", "-ww", "-Tutf8", "-z", text(&path)]);
            assert_eq!((said.status, said.text.as_str()), (0, ""), "{page}");
        }
        if is_installed("mandoc") {
            let said = run("mandoc", ["-Tlint", "-Werror", text(&path)]);
            assert_eq!(said.status, 0, "{page}: {}", said.text);
        }
    }
    // Without a folder: the first page alone, the same bytes.
    let shown = world.run(&["man"]).succeeded().out;
    assert_eq!(shown, fs::read_to_string(world.path("man1/cardpress.1")).unwrap());
    assert!(shown.starts_with(".ie") || shown.contains(".TH cardpress 1"), "{shown}");
}

#[test]
fn a_manual_that_cannot_be_written_leaves_nothing_half_written() {
    let world = World::new();
    world.write("man1", "a file, no folder\n");
    let run = world.run(&["man", "man1"]);
    assert_eq!(run.status, 1, "{}", run.err);
    assert_eq!(fs::read_to_string(world.path("man1")).unwrap(), "a file, no folder\n");
    fs::create_dir_all(world.path("other/cardpress.1")).unwrap();
    assert_eq!(world.run(&["man", "other"]).status, 1);
    let left: Vec<String> = fs::read_dir(world.path("other"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with('.'))
        .collect();
    assert!(left.is_empty(), "{left:?}");
}
