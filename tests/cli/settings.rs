//! What holds for every verb: the user's settings, colour, `-v`, and the events of `--json`.

use serde_json::Value;

use crate::support::world::{Run, World, profile};

const GREEN_OR_BOLD: &str = "\u{1b}[";

fn with(world: &World, words: &[&str], env: &[(&str, &str)]) -> Run {
    Run::of(world.command(words).envs(env.iter().copied()).output().unwrap())
}

/// Every line of standard error as an event of version 1.
#[track_caller]
fn events(run: &Run) -> Vec<Value> {
    let events: Vec<Value> = run
        .err
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect();
    for event in &events {
        assert_eq!(event["v"], 1, "{event}");
        let name = event["event"].as_str().unwrap();
        let known = ["error", "fault", "finish", "log", "note", "progress", "start"];
        assert!(known.contains(&name), "{event}");
    }
    events
}

fn count(events: &[Value], name: &str) -> usize {
    events.iter().filter(|event| event["event"] == name).count()
}

#[test]
fn a_build_with_json_says_nothing_but_events_of_version_1() {
    let world = World::new();
    world.write("cluster.toml", &profile(&[("n1", "192.168.7.11"), ("n2", "192.168.7.12")], ""));
    let quiet = world.run(&["build", "cluster.toml", "--json", "--format", "none"]).succeeded();
    let told = events(&quiet);
    assert!(count(&told, "start") >= 1 && count(&told, "start") == count(&told, "finish"), "{}", quiet.err);
    assert!(count(&told, "note") >= 1 && count(&told, "log") == 0, "{}", quiet.err);
    let manifest: Value = serde_json::from_str(&quiet.out).unwrap();
    assert_eq!(manifest["nodes"].as_array().map(Vec::len), Some(2));

    let loud = world.run(&["build", "cluster.toml", "--json", "--format", "none", "-vv"]).succeeded();
    assert!(count(&events(&loud), "log") > 3, "{}", loud.err);
    assert_eq!(quiet.out, loud.out);
}

#[test]
fn with_json_a_failure_is_an_event_too() {
    let world = World::new();
    world.write("cluster.toml", &profile(&[("n1", "192.168.7.11")], "timezon = \"UTC\"\nlocal = \"C\"\n"));
    let faulty = world.run(&["plan", "cluster.toml", "--json"]);
    let told = events(&faulty);
    assert_eq!((faulty.status, told.len()), (2, 2), "{}", faulty.err);
    assert_eq!(told[0]["text"], "unknown key `timezon` in `node`");
    assert_eq!(
        (&told[0]["file"], &told[0]["hint"]),
        (&"cluster.toml".into(), &"did you mean `timezone`?".into())
    );
    assert!(told[0]["line"].as_u64() > Some(1), "{}", told[0]);

    world.write("cluster.toml", &profile(&[("n1", "192.168.7.11")], ""));
    let failed = world.run(&["plan", "cluster.toml", "--json", "--image", "gone.img"]);
    let told = events(&failed);
    let error = told.last().unwrap();
    assert_eq!((failed.status, &error["event"]), (1, &"error".into()), "{}", failed.err);
    assert!(error["because"].as_array().is_some_and(|causes| !causes.is_empty()), "{error}");
}

#[test]
fn colour_is_asked_for_by_option_settings_and_environment_in_this_order() {
    let world = World::new();
    let always = world.write("always.toml", "color = \"always\"\n");
    let config = ("CARDPRESS_CONFIG", always.to_str().unwrap());
    for (words, env, is_painted) in [
        (&[][..], &[][..], false), // no terminal
        (&["--color", "always"], &[], true),
        (&["--color", "always"], &[("NO_COLOR", "1")], true),
        (&[], &[("CLICOLOR_FORCE", "1")], true),
        (&[], &[("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")], false),
        (&[], &[config], true),
        (&["--color", "never"], &[config, ("CLICOLOR_FORCE", "1")], false),
    ] {
        let run = with(&world, &[&["plan", "gone.toml"][..], words].concat(), env);
        assert_eq!(run.status, 2, "{}", run.err);
        assert_eq!(run.err.contains(GREEN_OR_BOLD), is_painted, "{words:?} {env:?}: {}", run.err);
    }
    // Data for programs is never painted.
    let json = with(&world, &["recipes", "docker", "--json"], &[config]).succeeded();
    assert!(!json.out.contains(GREEN_OR_BOLD), "{}", json.out);
}

#[test]
fn the_cache_and_the_jobs_of_the_settings_hold_where_nothing_else_is_said() {
    let world = World::new();
    let config = world.write("settings/config.toml", "cache = \"../images\"\njobs = 1\n");
    let path = |words: &[&str], config: &str| {
        let mut command = world.command(&[&["cache", "path"][..], words].concat());
        command.env_remove("CARDPRESS_CACHE").env("CARDPRESS_CONFIG", config);
        Run::of(command.output().unwrap())
    };
    let config = config.to_str().unwrap();
    assert!(path(&[], config).succeeded().out.ends_with("/settings/../images\n"));
    assert_eq!(path(&["--cache", "other"], config).succeeded().out, "other\n");
    let home = world.write("home.toml", "cache = \"~/images\"\n");
    assert_eq!(
        path(&[], home.to_str().unwrap()).succeeded().out,
        format!("{}\n", world.path("images").display())
    );
    let faulty = world.write("faulty.toml", "jobs = 1000\n");
    let run = path(&[], faulty.to_str().unwrap());
    assert_eq!(run.status, 2);
    assert!(run.err.contains("faulty.toml:1: found 1000 for `jobs`, wanted 1 to 256"), "{}", run.err);
}

#[test]
fn verbose_tells_what_was_opened_and_decided_and_no_secret() {
    let world = World::new();
    world.write("password", "correct horse battery staple\n");
    let more = "[defaults.wifi]\nssid = \"net\"\ncountry = \"GB\"\npassphrase = { file = \"password\" }\n";
    world.write("cluster.toml", &profile(&[("n1", "192.168.7.11")], more));
    let words = ["build", "cluster.toml", "--format", "none"];
    let plain = world.run(&words).succeeded();
    assert!(!plain.err.contains(" INFO "), "{}", plain.err);

    let info = world.run(&[&words[..], &["-v"]].concat()).succeeded();
    for said in [
        "small-base.img.xz`: Xz",
        "profile `cluster.toml`: 1 nodes",
        "base: Debian GNU/Linux 13 (trixie), Arm64",
        "n1: written and read back",
    ] {
        assert!(info.err.contains(said), "{said}: {}", info.err);
    }
    assert!(!info.err.contains("DEBUG"), "{}", info.err);

    for run in [world.run(&[&words[..], &["-vvv"]].concat()), with(&world, &words, &[("RUST_LOG", "trace")])]
    {
        let run = run.succeeded();
        assert!(run.err.contains("DEBUG"), "{}", run.err);
        let seed = std::fs::read_to_string(world.path(".cardpress/seed")).unwrap();
        for secret in ["correct horse", "PRIVATE KEY", "psk=", seed.trim()] {
            assert!(!run.err.contains(secret), "{secret} was told: {}", run.err);
        }
    }
    // RUST_LOG wins.
    let none = with(&world, &[&words[..], &["-vv"]].concat(), &[("RUST_LOG", "off")]).succeeded();
    assert!(!none.err.contains("DEBUG") && !none.err.contains("INFO"), "{}", none.err);
    assert_eq!(world.run(&[&words[..], &["-v", "-q"]].concat()).status, 2);
}
