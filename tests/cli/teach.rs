//! What the program says of itself: completions and manual pages.

use std::collections::BTreeSet;
use std::fs;

use crate::support::tools::{must, run, text};
use crate::support::world::World;

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
    for (shell, check) in
        [("bash", Some("bash")), ("zsh", Some("zsh")), ("fish", Some("fish")), ("powershell", None)]
    {
        let script = world.run(&["completions", shell]).succeeded().out;
        for verb in &verbs {
            assert!(script.contains(verb.as_str()), "{shell} knows no {verb}");
        }
        let file = world.write(shell, &script);
        if let Some(program) = check {
            must(program, ["-n", text(&file)]);
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
fn fish_completes_a_verb_and_a_flag() {
    let world = World::new();
    let script = world.run(&["completions", "fish"]).succeeded().out;
    let file = world.write("completions", &script);
    let asked = |words: &str| {
        let program = format!("source {}; complete --do-complete '{words}'", text(&file));
        must("fish", ["--no-config", "--command", &program])
    };
    assert!(asked("cardpress imag").starts_with("images\t"), "{}", asked("cardpress imag"));
    assert!(asked("cardpress plan --no").starts_with("--node\t"), "{}", asked("cardpress plan --no"));
}

#[test]
fn zsh_finds_its_completions_in_a_folder_of_its_path() {
    let world = World::new();
    let script = world.run(&["completions", "zsh"]).succeeded().out;
    world.write("site/_cardpress", &script);
    let program = format!(
        "fpath=({} $fpath); autoload -Uz compinit; compinit -u -D; print $_comps[cardpress]; autoload +X _cardpress",
        text(&world.path("site"))
    );
    assert_eq!(must("zsh", ["-f", "-c", &program]).trim(), "_cardpress");
}

#[test]
fn every_verb_has_a_manual_page_that_groff_and_mandoc_take_without_a_word() {
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
        let said = run("groff", ["-man", "-ww", "-Tutf8", "-z", text(&path)]);
        assert_eq!((said.status, said.text.as_str()), (0, ""), "{page}");
        let said = run("mandoc", ["-Tlint", "-Werror", text(&path)]);
        assert_eq!(said.status, 0, "{page}: {}", said.text);
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
