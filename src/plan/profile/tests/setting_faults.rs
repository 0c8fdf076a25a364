//! Settings with faults, one section after the other.

use super::faults::node;

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
        &[("cannot read `/p/a.j2`: no such file", "\"a.j2\"")],
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
        r#"first-boot = [{ name = "a", template = "a.sh" }]"#,
        &[("`template` of a `first-boot` script is for recipes", "template")],
    );
    node(
        r#"first-boot = [{ name = "a", needs-network = 1 }]"#,
        &[
            (
                "found none of `script`, `file`, `template` in `first-boot`",
                "{ name = \"a\", needs-network = 1 }",
            ),
            ("found an integer for `needs-network`, wanted true or false", "1"),
        ],
    );
}

#[test]
fn needs_of_first_boot_scripts_are_steps_of_the_node() {
    node(
        r##"first-boot = [{ name = "a", script = "#!/bin/sh", needs = ["b", "pakages"] }]"##,
        &[
            ("`a` needs `b`, which is no step of this node", "\"a\""),
            ("`a` needs `pakages`, which is no step of this node; did you mean `packages`?", "\"a\""),
        ],
    );
    node(
        r##"first-boot = [{ name = "a", script = "#!/bin/sh", needs = "packages" }]"##,
        &[("found a string for `needs`, wanted an array of the names of steps", "\"packages\"")],
    );
    node(
        r##"first-boot = [{ name = "a", script = "#!/bin/sh", needs = ["b"] }, { name = "b", script = "#!/bin/sh" }]"##,
        &[("`a` needs `b`, which needs `a`", "\"a\"")],
    );
    node(
        r##"first-boot = [{ name = "packages", script = "#!/bin/sh" }]"##,
        &[("`packages` is the name of a step that is no script: wanted another", "\"packages\"")],
    );
}

#[test]
fn downloads_are_urls_with_a_digest_and_a_path() {
    node(
        r#"download = [{ url = "ftp://a/b", sha256 = "12", path = "b", mode = 644, arch = "arm64" }]"#,
        &[
            ("found `ftp://a/b`, wanted a URL that begins with `https://`", "\"ftp://a/b\""),
            ("found `12`, wanted 64 hexadecimal digits", "\"12\""),
            ("`b` is not absolute: a path inside the image begins with `/`", "\"b\""),
            ("found an integer for `mode`, wanted an octal string", "644"),
            ("unknown key `arch` in `download`", "arch"),
        ],
    );
    node(
        r#"download = [{ url = "https://a/b" }]"#,
        &[
            ("found no `sha256` in `download`", "{ url = \"https://a/b\" }"),
            ("found no `path` in `download`", "{ url = \"https://a/b\" }"),
        ],
    );
    let download = format!(r#"{{ url = "https://a/b", sha256 = "{}", path = "/b" }}"#, "0".repeat(64));
    node(
        &format!("download = [{download}]\nfile = [{{ path = \"/b\", content = \"\" }}]"),
        &[("`/b` is to be both a file and a download", "\"/b\"")],
    );
}

/// `[[apt]]` with this in it has exactly these faults.
#[track_caller]
fn apt(more: &str, expected: &[(&str, &str)]) {
    node(&format!("[[node.apt]]\nname = \"x\"\nurl = \"https://a/b\"\n{more}"), expected);
}

#[test]
fn package_sources_are_checked() {
    node(
        r#"apt = [{ name = "a b", url = "file:/x", suite = "a b", components = [""], architectures = "_", key = "gone" }]"#,
        &[
            ("found `a b`, wanted letters, digits, `-`, `_` and `.`, a letter or digit first", "\"a b\""),
            ("found `file:/x`, wanted a URL that begins with `https://`", "\"file:/x\""),
            ("found `a b`, wanted a suite such as `bookworm` or `stable/`, or `./`", "\"a b\""),
            ("found ``, wanted a component such as `main`", "\"\""),
            ("found `_`, wanted an architecture such as `arm64`", "\"_\""),
            ("cannot read `/p/gone`: no such file", "\"gone\""),
        ],
    );
    apt(
        "suite = \"trixie\"\nkey = \"key.asc\"",
        &[("found no `components` of suite `trixie`", "\"trixie\"")],
    );
    apt(
        "suite = \"./\"\nkey = \"key.asc\"\ncomponents = [\"main\"]",
        &[("found components of a suite that ends in `/`", "\"main\"")],
    );
    apt(
        "suite = \"./\"\nkey = \"key.asc\"\ntrusted = true",
        &[("unknown key `trusted` in `apt`", "trusted")],
    );
}

#[test]
fn package_sources_have_a_key_that_is_known() {
    let flat = |more: &str| format!("suite = \"./\"\n{more}");
    let digest = "0".repeat(64);
    apt(
        &flat("key = \"private.asc\""),
        &[("`private.asc` holds a private key, wanted the public one", "\"private.asc\"")],
    );
    apt(&flat("key = \"bin\""), &[("`bin` is no OpenPGP public key", "\"bin\"")]);
    apt(&flat("key-url = \"https://a/key\""), &[("found `key-url` without `key-sha256`", "key-url")]);
    apt(
        &flat(&format!("key = \"key.asc\"\nkey-sha256 = \"{digest}\"")),
        &[("found `key-sha256` beside `key`, which is a file on this machine", "key-sha256")],
    );
    apt(
        &flat(&format!("key = \"key.asc\"\nkey-url = \"https://a/key\"\nkey-sha256 = \"{digest}\"")),
        &[("found both `key` and `key-url` in `apt`, wanted one of `key`, `key-url`", "key-url")],
    );
}
