use crate::support::world::{World, profile};

#[test]
fn plan_shows_the_new_hostname_as_a_diff_and_writes_no_image() {
    let world = World::new();
    world.write("cluster.toml", &profile(&[("n1", "192.168.7.11")], ""));
    let run = world.run(&["plan", "cluster.toml"]).succeeded();
    assert!(run.out.contains("node n1"), "{}", run.out);
    assert!(run.out.contains("    -raspberrypi\n    +n1\n"), "{}", run.out);
    assert!(!world.path("out").exists());
}

#[test]
fn plan_shows_no_secret() {
    let world = World::new();
    world.write("password", "correct horse battery staple\n");
    let more = "[defaults.wifi]\nssid = \"net\"\ncountry = \"GB\"\npassphrase = { file = \"password\" }\n";
    world.write("cluster.toml", &profile(&[("n1", "192.168.7.11")], more));
    let run = world.run(&["plan", "cluster.toml"]).succeeded();
    assert!(run.out.contains("***"), "{}", run.out);
    for secret in ["correct horse", "PRIVATE KEY", "psk="] {
        assert!(!run.out.contains(secret), "{secret} was shown: {}", run.out);
    }
}

#[test]
fn plan_as_json_names_every_edit_and_its_section() {
    let world = World::new();
    world.write("cluster.toml", &profile(&[("n1", "192.168.7.11"), ("n2", "192.168.7.12")], ""));
    let run = world.run(&["plan", "cluster.toml", "--json", "--node", "n2"]).succeeded();
    let json: serde_json::Value = serde_json::from_str(&run.out).unwrap();
    assert_eq!(json["nodes"].as_array().unwrap().len(), 1);
    assert_eq!(json["nodes"][0]["name"], "n2");
    let edits = json["nodes"][0]["edits"].as_array().unwrap();
    assert!(
        edits.iter().any(|edit| edit["path"] == "/etc/hostname" && edit["action"] == "write"),
        "{edits:?}"
    );
}

#[test]
fn a_faulty_profile_is_drawn_with_every_fault_and_nothing_is_opened() {
    let world = World::new();
    let text = profile(&[("n1", "192.168.7.11"), ("n2", "10.0.0.1")], "[defaults.wiffi]\nssid = \"x\"\n")
        .replace("timezone =", "timezon =");
    world.write("cluster.toml", &text);
    let run = world.run(&["plan", "cluster.toml", "--image", "no-such-file"]);
    assert_eq!(run.status, 2, "{}", run.err);
    for word in ["timezon", "timezone", "wiffi", "10.0.0.1", "192.168.7.0/24"] {
        assert!(run.err.contains(word), "{word} is missing: {}", run.err);
    }
    assert!(!run.err.contains("no-such-file"), "the image was looked at: {}", run.err);
    assert!(!world.path(".cardpress").exists(), "a seed was made");
}

#[test]
fn a_plan_tells_of_cardpress_s_own_programs_in_a_line_and_shows_them_when_asked_to_say_more() {
    let world = World::new();
    let more = "[[defaults.first-boot]]\nname = \"hello\"\nscript = \"#!/bin/sh\\necho hello\\n\"\n";
    world.write("cluster.toml", &profile(&[("n1", "192.168.7.11")], more));
    let short = world.run(&["plan", "cluster.toml"]).succeeded().out;
    let whole = world.run(&["plan", "cluster.toml", "-v"]).succeeded().out;
    let own = "create /usr/local/lib/cardpress/first-boot 0755 0:0\n    +… ";
    assert!(short.contains(own), "{short}");
    assert!(short.contains("lines of cardpress's own (-v shows them)"), "{short}");
    assert!(short.contains("    +echo hello\n"), "what the profile says is shown: {short}");
    assert!(!short.contains("CARDPRESS_LIB"), "{short}");
    assert!(whole.contains("    +lib=${CARDPRESS_LIB:-/usr/local/lib/cardpress}\n"), "{whole}");
    assert!(!whole.contains("-v shows them"), "{whole}");
}
