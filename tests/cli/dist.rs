//! `packaging/dist.sh`: what a release archive holds, that it has the same bytes twice, and what it does not forgive.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use cardpress::base::Sha256Digest;

use crate::support::tools::{text, tool};
use crate::support::world::{Run, World};

/// In place of the program: one that writes a page and completions, or fails at what `$BROKEN` names. What the real one
/// writes is its own business.
const PROGRAM: &str = r#"#!/bin/sh
[ "$1" != "$BROKEN" ] || { echo "cannot $1" >&2; exit 1; }
case $1 in
    man) echo ".TH CARDPRESS 1" > "$2/cardpress.1" ;;
    completions) [ "$2" = "$SILENT" ] || echo "for $2" ;;
esac
"#;

fn pack(world: &World, out: &str, env: &[(&str, &str)]) -> Run {
    let program = world.write("program", PROGRAM);
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let mut script = Command::new("sh");
    script.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/dist.sh"));
    script.env("CARDPRESS", program).env("OUT", world.path(out)).env("TARGET", "x86_64-unknown-linux-gnu");
    script
        .env("BROKEN", "")
        .env("SILENT", "")
        .env("SOURCE_DATE_EPOCH", "1700000000")
        .envs(env.iter().copied());
    Run::of(script.output().expect("cannot run sh"))
}

#[test]
fn the_release_archive_has_the_same_bytes_twice_and_all_that_it_should_hold() {
    let world = World::new();
    pack(&world, "one", &[]).succeeded();
    pack(&world, "two", &[("TZ", "Asia/Tokyo"), ("LC_ALL", "C")]).succeeded();
    let name = format!("cardpress-{}-x86_64-unknown-linux-gnu", env!("CARGO_PKG_VERSION"));
    let archive = |out: &str| world.path(out).join(format!("{name}.tar.gz"));
    let bytes = fs::read(archive("one")).unwrap();
    assert!(bytes == fs::read(archive("two")).unwrap(), "the archives differ");
    let sums = fs::read_to_string(world.path("one/SHA256SUMS")).unwrap();
    assert_eq!(sums, format!("{}  {name}.tar.gz\n", Sha256Digest::of(&bytes)));

    let list =
        tool("tar", &["--list", "--verbose", "--utc", "--numeric-owner", "--file", text(&archive("one"))]);
    for line in list.lines() {
        let fields: Vec<&str> = line.split_whitespace().collect();
        assert_eq!((fields[1], fields[3], fields[4]), ("0/0", "2023-11-14", "22:13"), "{line}");
        assert!(fields[5].starts_with(&format!("{name}/")), "{line}");
        assert!(!fields[0].ends_with('w') && &fields[0][5..6] == "-", "others may write: {line}");
    }
    for file in [
        "cardpress",
        "man/man1/cardpress.1",
        "completions/cardpress.bash",
        "completions/_cardpress",
        "completions/cardpress.fish",
        "completions/_cardpress.ps1",
        "README.md",
        "CHANGELOG.md",
        "LICENSE-MIT",
        "LICENSE-APACHE",
        "THIRD-PARTY",
        "docs/README.md",
        "docs/img/build.svg",
        "profiles/cluster.toml",
        "profiles/recipes/docker/recipe.toml",
    ] {
        assert!(list.lines().any(|line| line.ends_with(&format!(" {name}/{file}"))), "no {file}: {list}");
    }
    assert!(!list.contains("/demo"), "{list}");
    let third_party = fs::read_to_string(world.path("one/share/THIRD-PARTY")).unwrap();
    assert!(third_party.contains("\nclap 4.") && third_party.contains("Permission is hereby granted"));
    assert!(!third_party.contains("\nproptest "), "what only tests use is not linked");
}

#[test]
fn a_program_that_writes_no_pages_or_completions_is_not_packed() {
    let world = World::new();
    for (name, value, word) in [
        ("BROKEN", "man", "cannot man"),
        ("BROKEN", "completions", "cannot completions"),
        ("SILENT", "zsh", "_cardpress is empty"),
    ] {
        let run = pack(&world, "out", &[(name, value)]);
        assert!(run.status != 0 && run.err.contains(word), "{value}: {}", run.err);
        assert_eq!(fs::read_dir(world.path("out")).unwrap().count(), 0, "{value}: something stays behind");
    }
}
