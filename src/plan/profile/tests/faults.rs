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
        .file("/p/two", "a\nb\n")
}

/// `profile` has exactly these faults, each a message and the text under its span.
#[track_caller]
fn whole(profile: &str, expected: &[(&str, &str)]) {
    let faults = crowded(profile).faults();
    let found: Vec<(&str, &str)> =
        faults.iter().map(|fault| (fault.message.as_str(), fault.under_span().unwrap_or_default())).collect();
    assert_eq!(found, expected);
}

/// The sound profile of one node has exactly these faults when `more` is added to it.
#[track_caller]
fn node(more: &str, expected: &[(&str, &str)]) {
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
fn words_of_a_node_have_a_shape() {
    node(
        r#"timezone = "Mars""#,
        &[("found `Mars`, wanted `Area/City` such as `Europe/London`, or `UTC`", "\"Mars\"")],
    );
    node(
        r#"locale = "english""#,
        &[("found `english`, wanted a locale such as `en_GB.UTF-8`", "\"english\"")],
    );
    node(r#"keyboard = "g b""#, &[("found `g b`, wanted an XKB word such as `gb`", "\"g b\"")]);
    node(
        r#"keyboard = { variant = "intl" }"#,
        &[("found no `layout` in `keyboard`", "{ variant = \"intl\" }")],
    );
    node(
        r#"interface = "a/b""#,
        &[("found `a/b`, wanted an interface such as `eth0`, 15 letters at most", "\"a/b\"")],
    );
    node(r#"gateway = "router""#, &[("found `router`, wanted an IP address", "\"router\"")]);
    node(
        r#"dns = ["one.one.one.one"]
search = ["a b"]"#,
        &[
            ("found `one.one.one.one`, wanted an IP address", "\"one.one.one.one\""),
            ("found `a b`, wanted a domain name such as `lan` or `home.arpa`", "\"a b\""),
        ],
    );
}

#[test]
fn cmdline_tokens_are_single_words_and_not_ours() {
    node(
        r#"cmdline.add = ["a b", "c\n"]"#,
        &[
            ("found `a b`, wanted one token without white space", "\"a b\""),
            ("found `c\\n`, wanted one token without white space", "\"c\\n\""),
        ],
    );
    node(r#"cmdline.add = [""]"#, &[("found ``, wanted one token without white space", "\"\"")]);
    node(
        r#"cmdline.add = ["root=/dev/sda2"]"#,
        &[(
            "found `root=/dev/sda2`, wanted any token but `root=`, which is set to the disk id of each node",
            "\"root=/dev/sda2\"",
        )],
    );
    node(
        r#"cmdline.remove = ["root"]"#,
        &[(
            "found `root`, wanted any token but `root=`, which is set to the disk id of each node",
            "\"root\"",
        )],
    );
    node(
        r#"cmdline = { add = ["a=1"], remove = ["a"] }"#,
        &[("`a=1` is both added and removed in one layer", "\"a=1\"")],
    );
    node(
        r#"cmdline = { add = ["quiet"], remove = ["quiet"] }"#,
        &[("`quiet` is both added and removed in one layer", "\"quiet\"")],
    );
}

#[test]
fn config_txt_has_filters_keys_and_simple_values() {
    node(
        "config-txt = { gpu_mem = 16 }",
        &[("found an integer for `gpu_mem`, wanted a table: the settings under this filter", "16")],
    );
    node(
        "config-txt = { all = { gpu_mem = 1.5 } }",
        &[("found a float for `gpu_mem`, wanted a string, an integer or a boolean", "1.5")],
    );
    node(
        "config-txt = { all = { gpu_mem = { remove = false } } }",
        &[("found `remove = false`, wanted `remove = true` or a value", "{ remove = false }")],
    );
    node(
        r#"config-txt = { "[pi5]" = { "gpu mem" = 16 } }"#,
        &[
            ("found `[pi5]`, wanted the filter without its brackets", "\"[pi5]\""),
            ("found `gpu mem`, wanted a key of config.txt such as `gpu_mem`", "\"gpu mem\""),
        ],
    );
    node(
        "config-txt.all.x = { y = 1 }",
        &[("found a table for `x`, wanted a string, an integer, a boolean, or a list of them", "{ y = 1 }")],
    );
    node(
        r#"config-txt.all.x = "a\nb""#,
        &[("found `a\\nb`, wanted one line without control characters", "\"a\\nb\"")],
    );
}

#[test]
fn users_are_checked() {
    node(
        "user.Pi = {}",
        &[(
            "found `Pi`, wanted up to 32 lower-case letters, digits, `-` and `_`, no digit or `-` first",
            "Pi",
        )],
    );
    node(
        r#"user.pi = { sudo = true, shell = "bash", uid = 70000, full-name = "a:b", groups = ["Video"] }"#,
        &[
            ("found a boolean for `sudo`, wanted \"password\", \"nopasswd\" or false", "true"),
            ("`bash` is not absolute: a path inside the image begins with `/`", "\"bash\""),
            ("found 70000 for `uid`, wanted 1 to 60000", "70000"),
            ("found `a:b`, wanted a name without `:` and `,`, which divide the fields of passwd", "\"a:b\""),
            (
                "found `Video`, wanted up to 32 lower-case letters, digits, `-` and `_`, no digit or `-` first",
                "\"Video\"",
            ),
        ],
    );
    node(
        r#"user.pi = { sudo = "always" }"#,
        &[("found `always`, wanted `password`, `nopasswd` or false", "\"always\"")],
    );
    node(
        r#"user.pi = { sudo = false, groups = ["sudo"] }"#,
        &[("`pi` is in group `sudo`, but `sudo = false`", "\"sudo\"")],
    );
    node(
        r#"[node.user]
a.uid = 1000
b.uid = 1000"#,
        &[("uid 1000 of `b` is that of `a` too", "1000")],
    );
}

#[test]
fn passwords_are_kept_elsewhere() {
    node(
        r#"user.pi = { password = "hunter2hunter2" }"#,
        &[("found a password written out for `password`, wanted where it is kept", "****************")],
    );
    node(
        r#"user.pi = { password = { plain = "hunter2hunter2" } }"#,
        &[
            ("found none of `hash`, `file`, `env`, `locked` in `password`", "{ plain = **************** }"),
            ("unknown key `plain` in `password`", "plain"),
        ],
    );
    node(
        "user.pi = { password = {} }",
        &[("found none of `hash`, `file`, `env`, `locked` in `password`", "{}")],
    );
    node(
        r#"user.pi = { password = { hash = "hunter2hunter2" } }"#,
        &[(
            "found no whole password hash, wanted one that begins with `$6$`, `$5$` or `$y$`",
            "****************",
        )],
    );
    node(
        r#"user.pi = { password = { hash = "$6$…" } }"#,
        &[("found no whole password hash, wanted one that begins with `$6$`, `$5$` or `$y$`", "********")],
    );
    node(
        r#"user.pi = { password = { file = "gone" } }"#,
        &[("cannot read `/p/gone`: no such file", "\"gone\"")],
    );
    node(
        r#"user.pi = { password = { file = "two" } }"#,
        &[("the secret in `two` has more than one line, or a control character", "\"two\"")],
    );
    node(r#"user.pi = { password = { file = "bin" } }"#, &[("`bin` is not UTF-8 text", "\"bin\"")]);
    node(
        r#"user.pi = { password = { env = "UNSET" } }"#,
        &[("environment variable `UNSET` is not set", "\"UNSET\"")],
    );
    node(r#"user.pi = { password = { env = "EMPTY" } }"#, &[("the secret in `EMPTY` is empty", "\"EMPTY\"")]);
    node(
        r#"user.pi = { password = { env = "hunter2!" } }"#,
        &[("found no name of an environment variable, wanted letters, digits and `_`", "\"hunter2!\"")],
    );
    node(
        "user.pi = { password = { locked = false } }",
        &[("found `locked = false`, wanted `locked = true`", "false")],
    );
    node(
        r#"user.pi = { password = { env = "SHORT", locked = true } }"#,
        &[(
            "found both `env` and `locked` in `password`, wanted one of `hash`, `file`, `env`, `locked`",
            "locked",
        )],
    );
}

#[test]
fn ssh_keys_are_public_and_whole() {
    node(
        r#"user.pi = { ssh-keys = ["ssh-ed25519 AAAA"] }"#,
        &[(
            "found no valid ssh public key: Base64 encoding error: invalid Base64 length",
            "\"ssh-ed25519 AAAA\"",
        )],
    );
    node(
        r#"user.pi = { ssh-keys = ["file:keys"] }"#,
        &[(
            "found no valid ssh public key in line 2 of `keys`: Base64 encoding error: invalid Base64 length",
            "\"file:keys\"",
        )],
    );
    node(
        r#"user.pi = { ssh-keys = ["file:priv"] }"#,
        &[("`priv` holds a private key, wanted a public one", "\"file:priv\"")],
    );
    node(
        r#"user.pi = { ssh-keys = ["file:none", "file:bin", "file:gone"] }"#,
        &[
            ("found no ssh key in `none`", "\"file:none\""),
            ("`bin` holds no ssh public key: it is not text", "\"file:bin\""),
            ("cannot read `/p/gone`: no such file", "\"file:gone\""),
        ],
    );
    node(
        r#"user.pi = { ssh-keys = ["-----BEGIN OPENSSH PRIVATE KEY-----"] }"#,
        &[("found a private key, wanted a public one", "*************************************")],
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
fn wifi_is_whole_and_its_key_is_kept_elsewhere() {
    node(r#"wifi = { ssid = "x" }"#, &[("found no `country` in `wifi`", "{ ssid = \"x\" }")]);
    node(r#"wifi = { country = "GB" }"#, &[("found no `ssid` in `wifi`", "{ country = \"GB\" }")]);
    node(
        r#"wifi = { ssid = "", country = "uk" }"#,
        &[
            ("found a name of 0 bytes, wanted 1 to 32 printable ones", "\"\""),
            ("found `uk`, wanted a country of two upper-case letters (ISO 3166-1)", "\"uk\""),
        ],
    );
    node(
        r#"wifi = { ssid = "123456789012345678901234567890123", country = "gb" }"#,
        &[
            (
                "found a name of 33 bytes, wanted 1 to 32 printable ones",
                "\"123456789012345678901234567890123\"",
            ),
            ("found `gb`, wanted a country of two upper-case letters (ISO 3166-1)", "\"gb\""),
        ],
    );
    node(
        r#"wifi = { ssid = "x", country = "GB", passphrase = { env = "SHORT" } }"#,
        &[(
            "found a passphrase of 5 characters, wanted 8 to 63 printable ASCII characters",
            "{ env = \"SHORT\" }",
        )],
    );
    node(
        r#"wifi = { ssid = "x", country = "GB", passphrase = { env = "LONG" } }"#,
        &[("found a passphrase of 64 characters, wanted 8 to 63", "{ env = \"LONG\" }")],
    );
    node(
        r#"wifi = { ssid = "x", country = "GB", psk = { env = "SHORT" } }"#,
        &[("found a key of 5 characters, wanted 64 hexadecimal digits", "{ env = \"SHORT\" }")],
    );
    node(
        r#"wifi = { ssid = "x", country = "GB", passphrase = "hunter2hunter2" }"#,
        &[("found a secret written out for `passphrase`, wanted where it is kept", "****************")],
    );
    node(
        r#"wifi = { ssid = "x", country = "GB", passphrase = { env = "GOOD" }, psk = { env = "LONG" } }"#,
        &[("found both `passphrase` and `psk` in `wifi`, wanted one of them", "psk")],
    );
    node(
        r#"wifi = { ssid = "x", country = "GB", address = "192.168.1.9" }
address = "192.168.1.9""#,
        &[("`pi1` has the address 192.168.1.9 twice", "\"192.168.1.9\"")],
    );
    node(
        r#"wifi = { ssid = "x", country = "GB", address = "192.168.1.[1-2]" }"#,
        &[("found 2 addresses for 1 node", "\"192.168.1.[1-2]\"")],
    );
}

#[test]
fn hosts_lines_have_an_address_and_names() {
    node(
        r#"hosts = [{ address = "x", names = ["a b"] }, { names = [] }]"#,
        &[
            ("found `x`, wanted an IP address", "\"x\""),
            ("found `a b`, wanted a domain name such as `lan` or `home.arpa`", "\"a b\""),
            ("found no `address` in `hosts`", "{ names = [] }"),
            ("found no name, wanted at least one", "[]"),
        ],
    );
}

#[test]
fn files_have_a_path_and_one_content() {
    node(
        r#"file = [{ path = "etc/motd", content = "" }]"#,
        &[("`etc/motd` is not absolute: a path inside the image begins with `/`", "\"etc/motd\"")],
    );
    node(
        r#"file = [{ path = "/" }]"#,
        &[
            ("found none of `content`, `source`, `template` in `file`", "{ path = \"/\" }"),
            ("found `/`, wanted a path below `/`", "\"/\""),
        ],
    );
    node(r#"file = [{ content = "" }]"#, &[("found no `path` in `file`", "{ content = \"\" }")]);
    node(
        r#"file = [{ path = "/a", content = "", source = "b" }]"#,
        &[(
            "found both `content` and `source` in `file`, wanted one of `content`, `source`, `template`",
            "source",
        )],
    );
    node(
        r#"file = [{ path = "/a", source = "gone" }]"#,
        &[("cannot read `/p/gone`: no such file", "\"gone\"")],
    );
    node(
        r#"file = [{ path = "/a", template = "a.j2" }]"#,
        &[("`template` is not available in this version", "template")],
    );
    node(
        r#"file = [{ path = "/a", content = "", mode = 644 }]"#,
        &[("found an integer for `mode`, wanted an octal string", "644")],
    );
    node(
        r#"file = [{ path = "/a", content = "", mode = "u+x", owner = "root" }]"#,
        &[
            ("found `u+x`, wanted an octal mode such as `0644`", "\"u+x\""),
            ("found `root`, wanted `user:group`", "\"root\""),
        ],
    );
    node(
        r#"file = [{ path = "/a", content = "1" }, { path = "/a/", content = "2" }]"#,
        &[("found `/a` a second time in one layer", "\"/a/\"")],
    );
}

#[test]
fn the_rest_of_the_tree_is_checked() {
    node(r#"directory = [{ path = "/a/../b" }]"#, &[("`/a/../b` has a `..` part", "\"/a/../b\"")]);
    node(
        r#"symlink = [{ path = "/a" }, { path = "/b", target = "" }]"#,
        &[
            ("found no `target` in `symlink`", "{ path = \"/a\" }"),
            ("found a target of 0 bytes, wanted 1 to 4095", "\"\""),
        ],
    );
    node(
        r#"remove = ["/a"]
file = [{ path = "/a", content = "" }]"#,
        &[("`/a` is to be both a file and removed", "\"/a\"")],
    );
    node(
        r#"file = [{ path = "/a", content = "" }]
symlink = [{ path = "/a", target = "b" }]"#,
        &[("`/a` is to be both a file and a symlink", "\"/a\"")],
    );
    node(
        r#"fstab = [{ device = "a b", mount = "mnt", type = "nfs", pass = 3 }, { device = "x", mount = "/", type = "ext4" }]"#,
        &[
            ("found `a b`, wanted one field of fstab", "\"a b\""),
            ("found `mnt`, wanted an absolute path, or `none` for swap", "\"mnt\""),
            ("found 3 for `pass`, wanted 0 to 2", "3"),
            ("found `/`, which the image mounts already", "\"/\""),
        ],
    );
    node(
        r#"fstab = [{ device = "a", mount = "/m", type = "nfs" }, { device = "b", mount = "/m/", type = "nfs" }]"#,
        &[("found `/m` a second time in one layer", "\"/m/\"")],
    );
}

#[test]
fn units_settings_modules_and_packages_are_checked() {
    node(
        r#"service = { enable = ["a b"] }"#,
        &[("found `a b`, wanted a systemd unit such as `docker` or `fstrim.timer`", "\"a b\"")],
    );
    node(
        r#"service = { enable = ["a", "b.service"], mask = ["a.service"], disable = ["b"] }"#,
        &[
            ("`a.service` is both enabled and masked in one layer", "\"a\""),
            ("`b.service` is both enabled and disabled in one layer", "\"b.service\""),
        ],
    );
    node(
        "sysctl = { vm.swappiness = true }",
        &[("found a boolean for `swappiness`, wanted a string or an integer", "true")],
    );
    node(
        r#"sysctl = { swappiness = 1, "vm.x" = [1] }"#,
        &[
            ("found `swappiness`, wanted a kernel setting such as `net.ipv4.ip_forward`", "swappiness"),
            ("found an array for `vm.x`, wanted a string or an integer", "[1]"),
        ],
    );
    node(
        r#"module = ["a b"]
package = ["Docker", "vim=9", "x"]"#,
        &[
            ("found `a b`, wanted a kernel module such as `br_netfilter`", "\"a b\""),
            (
                "found `Docker`, wanted a Debian package: lower-case letters, digits, `+`, `-` and `.`",
                "\"Docker\"",
            ),
            (
                "found `vim=9`, wanted a Debian package: lower-case letters, digits, `+`, `-` and `.`",
                "\"vim=9\"",
            ),
            ("found `x`, wanted a Debian package: lower-case letters, digits, `+`, `-` and `.`", "\"x\""),
        ],
    );
}

#[test]
fn first_boot_scripts_have_a_name_and_an_interpreter() {
    node(
        r#"first-boot = [{ name = "a b", script = "echo" }]"#,
        &[
            ("found `a b`, wanted letters, digits, `-`, `_` and `.`, a letter or digit first", "\"a b\""),
            ("found a script without interpreter, wanted `#!/…` as its first line", "\"echo\""),
        ],
    );
    node(
        r##"first-boot = [{ name = "a", script = "#!/bin/sh" }, { name = "a", script = "#!/bin/sh" }]"##,
        &[("found `a` a second time in one layer", "\"a\"")],
    );
    node(
        r#"first-boot = [{ name = "a", file = "gone" }]"#,
        &[("cannot read `/p/gone`: no such file", "\"gone\"")],
    );
    node(
        r#"first-boot = [{ name = "a", needs-network = 1 }]"#,
        &[
            ("found none of `script`, `file` in `first-boot`", "{ name = \"a\", needs-network = 1 }"),
            ("found an integer for `needs-network`, wanted true or false", "1"),
        ],
    );
}

#[test]
fn what_this_version_cannot_do_is_said() {
    node(r#"recipes = ["docker"]"#, &[("`recipes` are not available in this version", "recipes")]);
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
image = { os = "a", path = "b", sha256 = "12", grow = "card" }
cluster.name = "x"
node = [{ name = "a" }]"#,
        &[
            ("found both `os` and `path` in `image`, wanted one of `os`, `url`, `path`", "path"),
            ("found `12`, wanted 64 hexadecimal digits", "\"12\""),
            ("found `card`, which only flashing knows, wanted a size such as `8GiB`", "\"card\""),
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
                "found `Raspberry Pi OS`, wanted letters, digits, `-`, `_` and `.`, a letter or digit first",
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
