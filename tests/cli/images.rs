//! `cardpress images`: the table, what selects its lines, and where the catalogue comes from.

use crate::support::world::{Run, World};

const LIST: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/os-list.json");

fn images(words: &[&str]) -> Run {
    World::new().run(&[&["images", "--catalogue", LIST][..], words].concat())
}

/// The first word of every line below the heading.
fn ids(run: &Run) -> Vec<&str> {
    run.out.lines().skip(1).filter_map(|line| line.split(' ').next()).collect()
}

#[test]
fn images_shows_raspberry_pi_os_as_a_table() {
    let run = images(&[]).succeeded();
    assert_eq!(
        run.out,
        "\
IMAGE                          RELEASE   DATE         DOWNLOAD  UNPACKED  BOARDS
raspios-lite-arm64             trixie    2030-01-02    510 MiB   2.7 GiB  Pi 3 4 5
raspios-lite-arm64@2029-06-01  trixie    2029-06-01  488.2 MiB   2.7 GiB  Pi 3 4 5
raspios-lite-armhf             trixie    2030-01-02    496 MiB   2.6 GiB  Pi 1 2 3 4 5
raspios-arm64                  trixie    2030-01-02    1.2 GiB     6 GiB  Pi 3 4 5
raspios-full-arm64             trixie    2030-01-02    2.9 GiB  11.8 GiB  Pi 3 4 5
raspios-oldstable-lite-arm64   bookworm  2030-01-02    480 MiB   2.6 GiB  Pi 3 4 5
"
    );
    assert_eq!(run.err, "");
}

#[test]
fn images_shows_only_what_was_asked_for() {
    for (words, wanted) in [
        (&["--arch", "armhf"][..], &["raspios-lite-armhf"][..]),
        (&["--variant", "desktop"], &["raspios-arm64"]),
        (&["--arch", "arm64", "--variant", "full"], &["raspios-full-arm64"]),
        (&["--arch", "armhf", "--variant", "full"], &[]),
        (&["--all", "--variant", "full"], &["raspios-full-arm64"]),
    ] {
        assert_eq!(ids(&images(words).succeeded()), wanted, "{words:?}");
    }
    let none = images(&["--arch", "armhf", "--variant", "full"]);
    assert!(none.out.is_empty() && none.err.contains("no such image in "), "{}", none.err);
}

#[test]
fn images_of_others_are_shown_on_demand_and_lists_that_fail_are_told() {
    let run = images(&["--all", "--offline"]).succeeded();
    let line = run.out.lines().last().unwrap();
    assert_eq!(line.split_whitespace().collect::<Vec<_>>(), ["demo-os", "-", "-", "-", "4", "GiB", "-"]);
    assert!(run.err.contains("https://demo.example.invalid/list.json"), "{}", run.err);
    assert_eq!(images(&["--all", "--offline", "--quiet"]).succeeded().err, "");
}

#[test]
fn images_as_json_tells_all_that_is_known() {
    let run = images(&["--json", "--arch", "arm64", "--variant", "lite"]).succeeded();
    let told: serde_json::Value = serde_json::from_str(&run.out).unwrap();
    let ids: Vec<&str> = told.as_array().unwrap().iter().filter_map(|image| image["id"].as_str()).collect();
    assert_eq!(ids, ["raspios-lite-arm64", "raspios-lite-arm64@2029-06-01", "raspios-oldstable-lite-arm64"]);
    let file = "raspios_lite_arm64-2030-01-03/2030-01-02-raspios-trixie-arm64-lite.img.xz";
    let expected = serde_json::json!({
        "id": "raspios-lite-arm64",
        "dated_id": "raspios-lite-arm64@2030-01-02",
        "name": "Raspberry Pi OS Lite (64-bit)",
        "description": "made up",
        "url": format!("https://downloads.example.invalid/raspios_lite_arm64/images/{file}"),
        "release": "trixie",
        "release_date": "2030-01-02",
        "archive_len": 534_773_760,
        "image_len": 2_977_955_840_u64,
        "archive_sha256": format!("{:064x}", 4),
        "image_sha256": format!("{:064x}", 3),
        "architecture": "arm64",
        "variant": "lite",
        "is_raspios": true,
        "is_oldstable": false,
        "devices": ["pi5-64bit", "pi4-64bit", "pi3-64bit"],
        "init_format": "cloudinit-rpi",
    });
    assert_eq!(told[0], expected);
    assert_eq!(images(&["--json", "--arch", "armhf", "--variant", "full"]).succeeded().out, "[]\n");
}

#[test]
fn the_catalogue_is_named_by_an_option_the_environment_or_the_users_settings() {
    let world = World::new();
    std::fs::copy(LIST, world.path("list.json")).unwrap();
    let config = world.write(".config/cardpress/config.toml", "catalogue = \"../../list.json\"\n");
    let named = world.write("other.toml", "# nothing here\n\ncatalog = \"x\"\n");
    let run = |words: &[&str], env: &[(&str, &str)]| {
        let mut command = world.command(&[&["images"][..], words].concat());
        Run::of(command.envs(env.iter().copied()).output().unwrap())
    };
    // The folder for settings is elsewhere on other systems.
    let usual = [("CARDPRESS_CONFIG", config.to_str().unwrap())];
    assert_eq!(ids(&run(&[], &usual).succeeded()).len(), 6);
    if cfg!(target_os = "linux") {
        assert_eq!(ids(&run(&[], &[]).succeeded()).len(), 6);
    }

    let gone = run(&[], &[usual[0], ("CARDPRESS_CATALOGUE", "gone.json")]);
    assert_eq!(gone.status, 1);
    assert!(gone.err.starts_with("error: cannot read the catalogue `gone.json`\nbecause: "), "{}", gone.err);
    let option = run(&["--catalogue", "list.json"], &[("CARDPRESS_CATALOGUE", "gone.json")]).succeeded();
    assert_eq!(ids(&option).len(), 6);

    let faulty = run(&[], &[("CARDPRESS_CONFIG", named.to_str().unwrap())]);
    assert_eq!(faulty.status, 2);
    assert!(
        faulty.err.contains(
            "other.toml:3: unknown field `catalog`, expected one of `catalogue`, `cache`, `jobs`, `color`"
        ),
        "{}",
        faulty.err
    );
    let missing = run(&[], &[("CARDPRESS_CONFIG", "gone.toml")]);
    assert_eq!(missing.status, 2);
    assert!(missing.err.contains("cannot read `gone.toml`"), "{}", missing.err);
}

#[test]
fn offline_without_a_kept_catalogue_is_an_error_that_says_so() {
    let world = World::new();
    for (words, env) in [(&["images", "--offline"][..], ""), (&["images"], "1")] {
        let run = world.command(words).arg("--cache=cache").env("CARDPRESS_OFFLINE", env).output();
        let run = Run::of(run.unwrap());
        assert_eq!(run.status, 1, "{}", run.err);
        assert!(run.err.contains("offline, and no catalogue of `https://downloads."), "{}", run.err);
        assert!(run.err.contains("hint: "), "{}", run.err);
    }
}

#[test]
fn what_is_no_catalogue_is_refused() {
    let world = World::new();
    world.write("page.html", "<html></html>");
    let run = world.run(&["images", "--catalogue", "page.html"]);
    assert_eq!(run.status, 1);
    assert!(run.err.contains("`page.html` is no catalogue: found a web page, wanted JSON"), "{}", run.err);
    for words in [
        &["--catalogue", "ftp://example.invalid/list.json"][..],
        &["--arch", "riscv64"],
        &["--variant", "huge"],
        &["--refresh", "--offline"],
    ] {
        assert_eq!(world.run(&[&["images"][..], words].concat()).status, 2, "{words:?}");
    }
}

#[test]
fn help_shows_the_verbs_in_the_order_they_are_met() {
    let help = World::new().run(&["--help"]).succeeded().out;
    let at = |verb: &str| help.find(&format!("\n  {verb} ")).unwrap_or_else(|| panic!("no {verb}: {help}"));
    let places = ["images", "plan", "build", "fs", "check"].map(at);
    assert!(places.is_sorted(), "{help}");
    let help = World::new().run(&["images", "--help"]).succeeded().out;
    assert!(help.contains("cardpress images --arch arm64 --variant lite"), "{help}");
}
