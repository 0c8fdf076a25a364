//! Profiles with faults: what is said, and the text that is underlined.

use super::*;

/// A world where some things are amiss.
fn crowded(profile: &str) -> World {
    World::with(profile)
        .env("SHORT", "short")
        .env("LONG", &"a".repeat(64))
        .env("GOOD", "open sesame")
        .env("EMPTY", "")
        .file("/p/priv", "-----BEGIN OPENSSH PRIVATE KEY-----\n")
        .file("/p/keys", format!("{KEY}\nssh-ed25519 AAAA\n"))
        .file("/p/none", "# none\n")
        .file("/p/bin", [0xff])
        .file("/p/key.asc", "-----BEGIN PGP PUBLIC KEY BLOCK-----\n")
        .file("/p/private.asc", "-----BEGIN PGP PRIVATE KEY BLOCK-----\n")
        .file("/p/two", "a\nb\n")
}

/// `profile` has exactly these faults, each a message and the text under its span.
#[track_caller]
pub(super) fn whole(profile: &str, expected: &[(&str, &str)]) {
    let faults = crowded(profile).faults();
    let found: Vec<(&str, &str)> =
        faults.iter().map(|fault| (fault.message.as_str(), fault.under_span().unwrap_or_default())).collect();
    assert_eq!(found, expected);
}

/// The sound profile of one node has exactly these faults when `more` is added to it.
#[track_caller]
pub(super) fn node(more: &str, expected: &[(&str, &str)]) {
    assert!(crowded(&one_node("")).load().is_ok());
    whole(&one_node(more), expected);
}

#[test]
fn unknown_keys_are_named_with_the_nearest_known_one() {
    node(r#"timezon = "UTC""#, &[("unknown key `timezon` in `node`", "timezon")]);
    node("ssh.pasword-login = false", &[("unknown key `pasword-login` in `ssh`", "pasword-login")]);
    node("first_boot = []", &[("unknown key `first_boot` in `node`", "first_boot")]);
    node("colour = 1", &[("unknown key `colour` in `node`", "colour")]);
    node("user.pi = { passwords = 1 }", &[("unknown key `passwords` in `pi`", "passwords")]);
    node(
        r#"[defaults]
address = "192.168.1.9""#,
        &[("unknown key `address` in `defaults`", "address")],
    );
    node("[image.x]", &[("unknown key `x` in `image`", "x")]);
    node("[cluster.x]", &[("unknown key `x` in `cluster`", "x")]);
    node("[defualts]", &[("unknown key `defualts`", "defualts")]);
    node(
        r#"file = [{ path = "/a", content = "", mod = "0644" }]"#,
        &[("unknown key `mod` in `file`", "mod")],
    );
}

#[test]
fn values_of_the_wrong_kind_are_refused() {
    node("timezone = 1", &[("found an integer for `timezone`, wanted a string", "1")]);
    node(r#"locale = ["C"]"#, &[("found an array for `locale`, wanted a string", "[\"C\"]")]);
    node(r#"keyboard = ["gb"]"#, &[("found an array for `keyboard`, wanted a string", "[\"gb\"]")]);
    node("ssh = true", &[("found a boolean for `ssh`, wanted a table", "true")]);
    node(r#"ssh.enable = "yes""#, &[("found a string for `enable`, wanted true or false", "\"yes\"")]);
    node(r#"cmdline.add = "quiet""#, &[("found a string for `add`, wanted an array", "\"quiet\"")]);
    node("cmdline.add = [1.5]", &[("found a float for `add`, wanted a string", "1.5")]);
    node(r#"cmdline.add = { replace = ["a"], also = 1 }"#, &[("found `also` beside `replace`", "also")]);
    node(
        r#"user.pi = { uid = "x" }"#,
        &[("found a string for `uid`, wanted an integer from 1 to 60000", "\"x\"")],
    );
    node(
        r#"user.pi = { ssh-keys = "file:keys" }"#,
        &[("found a string for `ssh-keys`, wanted an array", "\"file:keys\"")],
    );
    node("role = 1979-05-27", &[("found a date for `role`, wanted a string", "1979-05-27")]);
    node(
        r#"[node.file]
path = "/a"
content = "1""#,
        &[("found a table for `file`, wanted an array", "[node.file]")],
    );
    node(
        "interface = 99999999999999999999999",
        &[("found an integer for `interface`, wanted a string", "99999999999999999999999")],
    );
}

#[test]
fn addresses_fit_the_subnet() {
    node(
        r#"address = "192.168.2.9""#,
        &[("address 192.168.2.9 is outside the subnet 192.168.1.0/24", "\"192.168.2.9\"")],
    );
    node(
        r#"address = "192.168.1.0""#,
        &[("192.168.1.0 is the network itself, 192.168.1.0/24", "\"192.168.1.0\"")],
    );
    node(
        r#"address = "192.168.1.255""#,
        &[("192.168.1.255 is the broadcast address of 192.168.1.0/24", "\"192.168.1.255\"")],
    );
    node(
        r#"address = "192.168.1.300""#,
        &[("found `192.168.1.300`, wanted an IP address, one with prefix, or `dhcp`", "\"192.168.1.300\"")],
    );
    node(
        r#"address = ["192.168.1.9", "192.168.1.10"]"#,
        &[("found a second one for IPv4, wanted one at most", "\"192.168.1.10\"")],
    );
    node(
        r#"address = "fd00::1""#,
        &[("found fd00::1 without prefix, and no IPv6 `cluster.subnet`", "\"fd00::1\"")],
    );
    node(
        r#"address = "fd00::1/64"
[[node]]
name = "pi2"
address = "fd00:0::1/64""#,
        &[("address fd00::1 of `pi2` is that of `pi1` too", "\"fd00:0::1/64\"")],
    );
    node(
        r#"address = "127.0.0.1/8""#,
        &[("address 127.0.0.1 is outside the subnet 192.168.1.0/24", "\"127.0.0.1/8\"")],
    );
    node(r#"address = "ff02::1/64""#, &[("ff02::1 is the address of no single machine", "\"ff02::1/64\"")]);
    node(
        r#"address = "192.168.1.9"
[[node]]
name = "pi2"
address = "192.168.1.9""#,
        &[("address 192.168.1.9 of `pi2` is that of `pi1` too", "\"192.168.1.9\"")],
    );
}

#[test]
fn gateways_fit_the_net() {
    node(
        r#"gateway = "192.168.2.1"
address = "192.168.1.9""#,
        &[("gateway 192.168.2.1 is outside 192.168.1.0/24, the net of the node", "\"192.168.2.1\"")],
    );
    node(
        r#"gateway = ["192.168.1.1", "192.168.1.2"]"#,
        &[("found a second one for IPv4, wanted one at most", "\"192.168.1.2\"")],
    );
    node(
        r#"address = "192.168.1.1"
gateway = "192.168.1.1""#,
        &[("192.168.1.1 is the address of the gateway", "\"192.168.1.1\"")],
    );
    whole(
        r#"schema = 1
image.path = "a"
cluster = { name = "x", gateway = "192.168.1.1" }
node = [{ name = "a", address = "192.168.2.9/24" }]"#,
        &[("address 192.168.2.9/24 does not reach the gateway 192.168.1.1", "\"192.168.2.9/24\"")],
    );
    whole(
        r#"schema = 1
image.path = "a"
cluster = { name = "x", subnet = "192.168.1.0/24", gateway = "192.168.3.1" }
node = [{ name = "a" }]"#,
        &[("gateway 192.168.3.1 is outside the subnet 192.168.1.0/24", "\"192.168.3.1\"")],
    );
    whole(
        r#"schema = 1
image.path = "a"
cluster = { name = "x", subnet = "192.168.1.0/24", gateway = "192.168.1.1" }
node = [{ name = "w[1-3]", address = "192.168.1.[1-3]" }]"#,
        &[("192.168.1.1 is the address of the gateway", "\"192.168.1.[1-3]\"")],
    );
}

#[test]
fn recipes_are_those_that_there_are() {
    node(r#"recipes = ["dokcer-7"]"#, &[("there is no recipe `dokcer-7`", "\"dokcer-7\"")]);
}

#[test]
fn roles_are_defined() {
    node(r#"role = "worker""#, &[("role `worker` is not defined", "\"worker\"")]);
    node(
        r#"role = "workr"
[role.worker]"#,
        &[("role `workr` is not defined", "\"workr\"")],
    );
}

#[test]
fn names_are_host_names_and_unique() {
    node(
        r#"[[node]]
name = "PI1""#,
        &[("found a second node `PI1`, beside `pi1`", "\"PI1\"")],
    );
    node(
        r#"[[node]]
name = "pi1""#,
        &[("found a second node `pi1`", "\"pi1\"")],
    );
    node(
        r#"[[node]]
name = "pi_2""#,
        &[("found `pi_2`, wanted 1 to 63 letters, digits and hyphens, no hyphen first or last", "\"pi_2\"")],
    );
    node(
        r#"[[node]]
name = "pi_[1-9]""#,
        &[(
            "found `pi_1`, wanted 1 to 63 letters, digits and hyphens, no hyphen first or last",
            "\"pi_[1-9]\"",
        )],
    );
    node(
        r#"[[node]]
name = "localhost""#,
        &[("found `localhost`, which every machine has already", "\"localhost\"")],
    );
    node(
        r#"[[node]]
address = "dhcp""#,
        &[("found no `name` in `node`", "[[node]]")],
    );
    node(
        r#"[[node]]
name = "pi[0-3]""#,
        &[("found a second node `pi1`", "\"pi[0-3]\"")],
    );
}

#[test]
fn ranges_count_alike() {
    node(r#"address = "192.168.1.[1-3]""#, &[("found 3 addresses for 1 node", "\"192.168.1.[1-3]\"")]);
    node(
        r#"[[node]]
name = "w[1-2]"
address = "192.168.1.9""#,
        &[("found 1 address for 2 nodes", "\"192.168.1.9\"")],
    );
    node(
        r#"[[node]]
name = "w[1-2]"
address = "192.168.1.[2-9]""#,
        &[("found 8 addresses for 2 nodes", "\"192.168.1.[2-9]\"")],
    );
    node(
        r#"[[node]]
name = "pi[2-1]""#,
        &[("found `pi[2-1]`, wanted a range that counts upwards", "\"pi[2-1]\"")],
    );
    node(
        r#"[[node]]
name = "r[1-2]n[1-4]""#,
        &[("found `r[1-2]n[1-4]`, wanted one range at most", "\"r[1-2]n[1-4]\"")],
    );
    node(
        r#"[[node]]
name = "w[253-256]"
address = "192.168.1.[253-256]""#,
        &[("192.168.1.255 is the broadcast address of 192.168.1.0/24", "\"192.168.1.[253-256]\"")],
    );
}

#[test]
fn a_profile_says_its_schema() {
    whole("schema = 2", &[("found schema 2, wanted 1", "2")]);
    whole(r#"schema = "1""#, &[("found a string for `schema`, wanted 1", "\"1\"")]);
    whole(
        r#"image.path = "a"
cluster.name = "x"
node = [{ name = "a" }]"#,
        &[("found no `schema`, wanted `schema = 1`", "")],
    );
}

#[test]
fn a_profile_has_an_image_a_name_and_a_node() {
    whole(
        "schema = 1",
        &[
            ("found no image, wanted one of `os`, `url`, `path` in `[image]`", ""),
            ("found no name of the cluster", ""),
            ("found no node, wanted at least one `[[node]]`", ""),
        ],
    );
    whole(
        r#"schema = 1
[image]
[cluster]
[[node]]
name = "a""#,
        &[
            ("found no image, wanted one of `os`, `url`, `path` in `[image]`", "[image]"),
            ("found no name of the cluster", "[cluster]"),
        ],
    );
    whole(
        r#"schema = 1
image.path = "a"
cluster.name = "x"
node = []"#,
        &[("found no node, wanted at least one `[[node]]`", "")],
    );
}

#[test]
fn the_image_is_named_once() {
    whole(
        r#"schema = 1
image = { os = "a", path = "b", sha256 = "12", grow = "cart" }
cluster.name = "x"
node = [{ name = "a" }]"#,
        &[
            ("found both `os` and `path` in `image`, wanted one of `os`, `url`, `path`", "path"),
            ("found `12`, wanted 64 hexadecimal digits", "\"12\""),
            ("found `cart`, wanted a size such as `8GiB`, `512MiB` or `32GB`", "\"cart\""),
        ],
    );
    whole(
        r#"schema = 1
image = { url = "raspios.org", grow = "8 gigs" }
cluster.name = "x"
node = [{ name = "a" }]"#,
        &[
            ("found `raspios.org`, wanted a URL that begins with `https://`", "\"raspios.org\""),
            ("found `8 gigs`, wanted a size such as `8GiB`, `512MiB` or `32GB`", "\"8 gigs\""),
        ],
    );
    whole(
        r#"schema = 1
image = { os = "Raspberry Pi OS", grow = "0" }
cluster.name = "x"
node = [{ name = "a" }]"#,
        &[
            (
                "found `Raspberry Pi OS`, wanted a name such as `raspios-lite-arm64`, or of one release \
                 `raspios-lite-arm64@2026-06-18`",
                "\"Raspberry Pi OS\"",
            ),
            ("found `0`, wanted a size above 0", "\"0\""),
        ],
    );
}

#[test]
fn the_cluster_is_checked() {
    whole(
        r#"schema = 1
image.path = "a"
cluster = { name = "../x", domain = "a..b", subnet = "192.168.1.9/24", dns = "9.9.9.9" }
[node]
name = "a""#,
        &[
            (
                "found `../x`, wanted up to 64 letters, digits, `-`, `_` and `.`, a letter or digit first",
                "\"../x\"",
            ),
            ("found `a..b`, wanted a domain name such as `lan` or `home.arpa`", "\"a..b\""),
            ("found `192.168.1.9/24`, wanted a network, no address in it", "\"192.168.1.9/24\""),
            ("found a string for `dns`, wanted an array", "\"9.9.9.9\""),
            ("found a table for `node`, wanted an array of tables", "[node]"),
        ],
    );
    whole(
        r#"schema = 1
image.path = "a"
cluster = { name = "x", subnet = ["192.168.1.0/24", "192.168.2.0/24"] }
node = [{ name = "a" }]"#,
        &[("found a second one for IPv4, wanted one at most", "\"192.168.2.0/24\"")],
    );
}

#[test]
fn what_is_no_toml_is_said_for_every_line() {
    whole(
        r#"schema = 1
[image
path = 
[[node]]
name = "a
password = "hunter2"#,
        &[
            ("not TOML: unclosed table, expected `]`", ""),
            ("not TOML: invalid basic string, expected `\"`", ""),
            ("not TOML: invalid basic string, expected `\"`", ""),
        ],
    );
    whole(
        r#"schema = 1
schema = 1"#,
        &[("not TOML: duplicate key", "schema")],
    );
}

#[test]
fn extended_files_are_there_and_make_no_circle() {
    whole(
        r#"schema = 1
extends = ["gone.toml", "cluster.toml", "./x/../cluster.toml"]"#,
        &[
            ("cannot read `/p/gone.toml`: no such file", "\"gone.toml\""),
            ("`/p/cluster.toml` extends itself", "\"cluster.toml\""),
            ("`/p/./x/../cluster.toml` extends itself", "\"./x/../cluster.toml\""),
        ],
    );
}
#[test]
fn every_fault_is_found_in_one_run_in_the_order_of_files_and_lines() {
    let world = World::with(
        "schema = 1\nextends = [\"base.toml\"]\n[cluster]\nsubnet = \"10.0.0.0/24\"\n[defaults]\ntimezon = 1\n\
         locale = 1\n[[node]]\nname = \"a\"\naddress = \"10.0.1.1\"\n[[node]]\nname = \"A\"\nrole = \"x\"\n",
    )
    .file("/p/base.toml", "schema = 1\n[defaults]\nkeyboard = 1\nfile = [{ path = \"a\", source = \"gone\" }]\n");
    let faults: Vec<String> = world.faults().iter().map(ToString::to_string).collect();
    assert_eq!(
        faults,
        [
            "/p/cluster.toml:1:1: found no image, wanted one of `os`, `url`, `path` in `[image]`",
            "/p/cluster.toml:3:1: found no name of the cluster",
            "/p/cluster.toml:6:1: unknown key `timezon` in `defaults`",
            "/p/cluster.toml:7:10: found an integer for `locale`, wanted a string",
            "/p/cluster.toml:10:11: address 10.0.1.1 is outside the subnet 10.0.0.0/24",
            "/p/cluster.toml:12:8: found a second node `A`, beside `a`",
            "/p/cluster.toml:13:8: role `x` is not defined",
            "/p/base.toml:3:12: found an integer for `keyboard`, wanted a string",
            "/p/base.toml:4:18: `a` is not absolute: a path inside the image begins with `/`",
            "/p/base.toml:4:32: cannot read `/p/gone`: no such file",
        ]
    );
}

#[test]
fn a_fault_is_drawn_with_its_line_and_its_help() {
    use miette::Diagnostic as _;
    let fault = World::with(&one_node("timezon = \"UTC\"")).faults().remove(0);
    assert_eq!(fault.help().unwrap().to_string(), "did you mean `timezone`?");
    let label = fault.labels().unwrap().next().unwrap();
    assert_eq!((label.offset(), label.len()), (fault.span.clone().unwrap().start, 7));
    let mut drawn = String::new();
    miette::GraphicalReportHandler::new_themed(miette::GraphicalTheme::unicode_nocolor())
        .render_report(&mut drawn, &fault)
        .unwrap();
    assert!(drawn.contains("/p/cluster.toml:9:1") && drawn.contains("timezon = \"UTC\""), "{drawn}");
}

#[test]
fn help_says_what_to_do() {
    let help = |more: &str| World::with(&one_node(more)).faults().remove(0).help.unwrap();
    assert_eq!(help("file = [{ path = \"/a\", content = \"\", mode = 755 }]"), "write `mode = \"0755\"`");
    assert_eq!(help("[defaults]\naddress = \"dhcp\""), "`address` belongs to a `[[node]]`");
    assert_eq!(help("wifi = { ssid = \"x\", country = \"uk\" }"), "the United Kingdom is `GB`");
    assert_eq!(help("[[node]]\nname = \"pi_2\""), "`pi-2` would do");
    assert_eq!(help("role = \"workr\"\n[role.worker]"), "did you mean `worker`?");
    assert_eq!(help("role = \"worker\""), "define it with `[role.worker]`");
    assert_eq!(
        help("cmdline.add = \"quiet\""),
        "write `add = […]` to add to earlier layers, `add = { replace = […] }` to forget them"
    );
}

#[test]
fn a_profile_that_is_not_there_or_no_text_is_one_fault_without_span() {
    let missing = World::default().faults();
    assert_eq!(missing[0].to_string(), "/p/cluster.toml: cannot read the profile: no such file");
    assert_eq!((missing.len(), &missing[0].span), (1, &None));
    let binary = World::default().file("/p/cluster.toml", [b'a', 0xff]).faults();
    assert_eq!(
        binary[0].to_string(),
        "/p/cluster.toml: cannot read the profile: not UTF-8 text from byte 1 on"
    );
}
