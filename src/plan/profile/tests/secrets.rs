//! Secrets are read, and shown nowhere.

use super::*;
use crate::base::Secret;
use crate::plan::Password;

const SECRET: &str = "correct horse battery";

/// Everything that a run on this profile could print.
fn everything_said(world: &World) -> String {
    use std::fmt::Write as _;
    let mut said = String::new();
    let faults: Vec<Fault> = match world.load() {
        Ok(loaded) => {
            write!(said, "{loaded:?}").unwrap();
            loaded.warnings
        }
        Err(faults) => {
            write!(said, "{faults} {faults:?}").unwrap();
            faults.into_iter().collect()
        }
    };
    for fault in &faults {
        write!(said, "{fault} {fault:?} {:?} {:?} {}", fault.help, fault.label, fault.text()).unwrap();
        miette::GraphicalReportHandler::new().with_context_lines(9).render_report(&mut said, fault).unwrap();
        miette::NarratableReportHandler::new().render_report(&mut said, fault).unwrap();
    }
    said
}

#[track_caller]
fn keeps_quiet(world: &World) {
    let said = everything_said(world);
    assert!(!said.contains(SECRET), "{said}");
    assert!(!said.contains(HASH), "{said}");
}

#[test]
fn a_sound_profile_prints_stars() {
    let world = World::with(&one_node(&format!(
        "[node.user.a]\npassword = {{ env = \"PW\" }}\n[node.user.b]\npassword = {{ hash = \"{HASH}\" }}\n\
         [node.user.c]\npassword = {{ file = \"/pw\" }}\n\
         [node.wifi]\nssid = \"x\"\ncountry = \"GB\"\npassphrase = {{ env = \"PW\" }}\n\
         [[node.file]]\npath = \"/a\"\ncontent = \"{SECRET}\"\nsecret = true"
    )))
    .env("PW", SECRET)
    .file("/pw", SECRET);
    let users = world.loaded().cluster.nodes.remove(0).settings.users;
    assert_eq!(users[0].password, Some(Password::Plain(Secret::new(SECRET.into()))));
    keeps_quiet(&world);
}

#[test]
fn a_secret_in_the_wrong_place_is_blotted_out() {
    for more in [
        "user.a = { password = \"SECRET\" }",
        "user.a = { password = [\"SECRET\"] }",
        "user.a = { password = { plain = \"SECRET\" } }",
        "user.a = { password = { hash = \"SECRET\" } }",
        "user.a = { passwrd = \"SECRET\" }",
        "user.a = { Password = \"\"\"\nSECRET\n\"\"\" }",
        "wifi = { ssid = \"x\", psk = \"SECRET\" }",
        "wifi = { ssid = \"x\", passphrase = { value = \"SECRET\" } }",
        "file = [{ content = \"SECRET\", secret = true, mode = 1 }]",
        "[defualts.user.a]\npassword = { hash = \"SECRET\" }",
        "[defaults.user.a]\npassword = { hash = \"HASH\" }\nuid = 0",
    ] {
        let world = World::with(&one_node(&more.replace("SECRET", SECRET).replace("HASH", HASH)));
        assert!(world.load().is_err(), "{more} was taken");
        keeps_quiet(&world);
    }
}

#[test]
fn a_secret_that_is_kept_elsewhere_but_will_not_do_is_not_repeated() {
    let too_long = SECRET.repeat(4);
    let world = World::with(&one_node(
        "[node.wifi]\nssid = \"x\"\ncountry = \"GB\"\npsk = { env = \"KEY\" }\n\
         [node.user.a]\npassword = { file = \"/pw\" }\n[node.user.b]\nssh-keys = [\"file:/pw\"]",
    ))
    .env("KEY", &too_long)
    .file("/pw", format!("{SECRET}\n{SECRET}\n"));
    assert_eq!(world.faults().len(), 4); // the key, the password, and two lines that are no ssh keys
    keeps_quiet(&world);
}

#[test]
fn a_file_that_is_no_toml_or_of_another_schema_gives_no_secret_away() {
    let secrets = format!("user.a.password = {{ hash = \"{HASH}\" }}\nwifi.psk = \"{SECRET}\"\n");
    for broken in [format!("{secrets}wifi = {{"), format!("user.a.password = \"{SECRET}\n{secrets}")] {
        let world = World::with(&one_node(&broken));
        assert!(world.load().is_err());
        keeps_quiet(&world);
    }
    keeps_quiet(&World::with(&one_node(&secrets).replace("schema = 1", "schema = 2")));
}

#[test]
fn what_is_blotted_out_leaves_every_span_true() {
    let more = "user.é = 1\nuser.a = { password = \"pässword\", colour = 1 }";
    let faults = World::with(&one_node(&more.replace("user.é", "\"é\""))).faults();
    let colour = faults.iter().find(|fault| fault.message.contains("colour")).unwrap();
    assert_eq!(colour.under_span(), Some("colour"));
    assert!(colour.text().contains("***********, colour")); // `"pässword"` is 11 bytes
}
