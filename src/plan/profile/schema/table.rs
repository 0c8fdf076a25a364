//! Every table and key of a profile. The order is that of the reference page.

use super::Shape::{
    Anything, Array, Either, Flag, Integer, Just, List, Names, Nested, OneOf, OneOrMany, Text, Word,
};
use super::words::*;
use super::{Key, Shape, Table, key};

pub(super) const PROFILE: Table = Table::new(
    "profile",
    "The file",
    "One TOML file for a cluster. Only `schema`, `[image]`, `[cluster]` with a name and one `[[node]]` are needed, and all \
     but `schema` may come from a file it extends.",
    &[
        key("schema", Integer(1, 1), "1", "The form of the file. Always first, always 1.").needed(),
        key(
            "extends",
            OneOrMany(&Word(&LOCAL_PATH)),
            r#"["common.toml"]"#,
            "Profiles to begin with; this file is laid over them, section by section.",
        ),
        key("image", Shape::Table(&IMAGE), r#"{ os = "raspios-lite-arm64" }"#, "The base image."),
        key(
            "cluster",
            Shape::Table(&CLUSTER),
            r#"{ name = "swarm", subnet = "192.168.1.0/24" }"#,
            "What the nodes share as a cluster.",
        ),
        key(
            "defaults",
            Shape::Table(&SETTINGS),
            r#"{ timezone = "Europe/London" }"#,
            "Settings of every node.",
        ),
        key(
            "role",
            Names(&NAME, &Shape::Table(&SETTINGS)),
            r#"{ worker = { package = ["nfs-common"] } }"#,
            "Settings of the nodes with this role, over `[defaults]`.",
        ),
        key("node", Array(&Shape::Table(&NODES)), r#"[{ name = "worker[1-7]" }]"#, "The nodes."),
    ],
);

const IMAGE: Table = Table {
    at_most_one_of: &["os", "url", "path"],
    ..Table::new(
        "image",
        "[image]",
        "The image that every node begins as: exactly one of `os`, `url` and `path`. It is downloaded once, pinned in \
         `cardpress.lock`, kept in the cache and never written to.",
        &[
            key(
                "os",
                Word(&IMAGE_NAME),
                r#""raspios-lite-arm64""#,
                "A name of the catalogue: the newest, or with a date that release.",
            ),
            key(
                "url",
                Word(&URL),
                r#""https://images.example/raspios.img.xz""#,
                "Where it is downloaded from.",
            ),
            key(
                "path",
                Word(&LOCAL_PATH),
                r#""raspios.img.xz""#,
                "A file: raw, or .xz, .gz, .zst or .zip with one image inside.",
            ),
            key(
                "sha256",
                Word(&SHA256),
                r#""0000000000000000000000000000000000000000000000000000000000000000""#,
                "What it must hash to, packed as it is.",
            ),
            key(
                "signed-by",
                Word(&LOCAL_PATH),
                r#""raspios.asc""#,
                "The OpenPGP key that must have signed it.",
            ),
            key(
                "grow",
                Word(&GROW),
                r#""8GiB""#,
                "The image gets this length, and the root filesystem fills it; `card` fills the card when flashing.",
            ),
        ],
    )
};

const CLUSTER: Table = Table::new(
    "cluster",
    "[cluster]",
    "The cluster and its network.",
    &[
        key("name", Word(&FOLDER), r#""swarm""#, "Names the output folder."),
        key("domain", Word(&DOMAIN), r#""lan""#, "Nodes are reached as `NODE.DOMAIN`, too."),
        key(
            "subnet",
            OneOrMany(&Word(&NETWORK)),
            r#""192.168.1.0/24""#,
            "The network of the nodes; one for IPv4 and one for IPv6 at most. Addresses take its prefix and must lie in it.",
        ),
        key(
            "gateway",
            OneOrMany(&Word(&ADDRESS)),
            r#""192.168.1.1""#,
            "The router; one for each family at most.",
        ),
        key("dns", List(&Word(&ADDRESS)), r#"["192.168.1.1", "9.9.9.9"]"#, "Name servers."),
        key(
            "ssh-between-nodes",
            Flag,
            "true",
            "Every node may log in to every other one, with a key of its own.",
        )
        .default("false"),
    ],
);

const NODES: Table = Table {
    also: Some(&SETTINGS),
    ..Table::new(
        "node",
        "[[node]]",
        "A node, or several alike: `name = \"worker[1-7]\"` is seven, and each `address` with a range counts as many. `[01-10]` \
         pads with zeros. A node takes every key of the settings, too.",
        &[
            key("name", Word(&NODE), r#""worker[1-7]""#, "Its host name.").needed(),
            key("role", Word(&NAME), r#""worker""#, "Whose settings it takes: those of `[role.NAME]`."),
            key(
                "address",
                Either(&[OneOf(&["dhcp"]), OneOrMany(&Word(&HOST_ADDRESS))]),
                r#""192.168.1.[201-207]""#,
                "Its address on the wire, or `dhcp`. Without a prefix it takes that of `cluster.subnet`.",
            )
            .default(r#""dhcp""#),
        ],
    )
};

/// What `[defaults]`, a role and a node may say.
pub(super) const SETTINGS: Table = Table::new(
    "settings",
    "Settings: [defaults], [role.NAME], [[node]]",
    "Later layers win: extended files, `[defaults]`, `[role.NAME]`, `[[node]]`. Lists add up; `key = { replace = […] }` forgets \
     what earlier layers said. Without a key, things stay as the image has them.",
    &[
        key(
            "recipes",
            List(&Word(&RECIPE)),
            r#"["docker", "nfs-client"]"#,
            "What the node is for; `cardpress recipes` lists them.",
        ),
        key(
            "recipe",
            Names(&RECIPE, &Anything),
            r#"{ docker = { users = ["pi"] } }"#,
            "Parameters of recipes: `[defaults.recipe.NAME]`. `cardpress recipes NAME` explains them.",
        ),
        key("timezone", Word(&TIMEZONE), r#""Europe/London""#, "The time zone."),
        key(
            "locale",
            Word(&LOCALE),
            r#""en_GB.UTF-8""#,
            "The language of messages; compiled at first boot if need be.",
        ),
        key(
            "keyboard",
            Either(&[Word(&XKB), Shape::Table(&KEYBOARD)]),
            r#""gb""#,
            "The layout of a keyboard plugged in, or a table of layout, model, variant and options.",
        ),
        key("ssh", Shape::Table(&SSH), "{ enable = true, password-login = false }", "The ssh server."),
        key(
            "user",
            Names(&ACCOUNT, &Shape::Table(&USER)),
            r#"{ pi = { sudo = "nopasswd" } }"#,
            "Accounts: `[defaults.user.NAME]`.",
        ),
        key("interface", Word(&INTERFACE), r#""eth0""#, "The wired interface that has the address.")
            .default(r#""eth0""#),
        key(
            "gateway",
            OneOrMany(&Word(&ADDRESS)),
            r#""192.168.1.1""#,
            "Another router than `cluster.gateway`.",
        ),
        key(
            "dns",
            List(&Word(&ADDRESS)),
            r#"["9.9.9.9"]"#,
            "More name servers than `cluster.dns`, or with `replace` others.",
        ),
        key("search", List(&Word(&DOMAIN)), r#"["lan"]"#, "Search domains."),
        key(
            "wifi",
            Shape::Table(&WIFI),
            r#"{ ssid = "home", country = "GB", passphrase = { file = "wifi.password" } }"#,
            "The Wi-Fi network.",
        ),
        key(
            "hosts",
            List(&Shape::Table(&HOSTS)),
            r#"[{ address = "192.168.1.10", names = ["nas"] }]"#,
            "More lines of `/etc/hosts`: `[[defaults.hosts]]`.",
        ),
        key(
            "cmdline",
            Shape::Table(&CMDLINE_TABLE),
            r#"{ add = ["cgroup_enable=memory"] }"#,
            "The kernel command line.",
        ),
        key(
            "config-txt",
            Names(&FILTER, &Names(&CONFIG_KEY, &CONFIG_VALUE)),
            "{ all = { gpu_mem = 16 }, pi5 = { dtparam = [\"pciex1\"] } }",
            "config.txt: filters, and in them keys. A list adds lines with this key, another value takes the place of earlier \
             ones, `{ remove = true }` takes every line of the key out.",
        ),
        key("module", List(&Word(&MODULE)), r#"["br_netfilter"]"#, "Kernel modules to load at boot."),
        key("sysctl", Nested, r#"{ "net.ipv4.ip_forward" = 1 }"#, "Kernel settings."),
        key("service", Shape::Table(&SERVICE), r#"{ enable = ["fstrim.timer"] }"#, "Systemd units."),
        key(
            "package",
            List(&Word(&PACKAGE)),
            r#"["nfs-common", "jq"]"#,
            "Debian packages, installed when the node first boots and has found the network.",
        ),
        key(
            "apt",
            List(&Shape::Table(&APT)),
            APT_EXAMPLE,
            "Package sources besides the image's own: `[[defaults.apt]]`.",
        ),
        key(
            "download",
            List(&Shape::Table(&DOWNLOAD)),
            DOWNLOAD_EXAMPLE,
            "Files the node fetches at first boot, before packages: `[[defaults.download]]`.",
        ),
        key("remove", List(&Word(&IMAGE_PATH)), r#"["/etc/motd"]"#, "Paths to remove."),
        key(
            "directory",
            List(&Shape::Table(&DIRECTORY)),
            r#"[{ path = "/srv/data" }]"#,
            "Directories to make: `[[defaults.directory]]`.",
        ),
        key(
            "file",
            List(&Shape::Table(&FILE)),
            r#"[{ path = "/etc/motd", content = "hello\n" }]"#,
            "Files to write: `[[defaults.file]]`.",
        ),
        key(
            "symlink",
            List(&Shape::Table(&SYMLINK)),
            r#"[{ path = "/opt/a", target = "/srv/a" }]"#,
            "Links to make: `[[defaults.symlink]]`.",
        ),
        key(
            "fstab",
            List(&Shape::Table(&FSTAB)),
            r#"[{ device = "nas:/media", mount = "/mnt/media", type = "nfs" }]"#,
            "Lines of `/etc/fstab`: `[[defaults.fstab]]`. A line for the same place is replaced.",
        ),
        key(
            "first-boot",
            List(&Shape::Table(&FIRST_BOOT)),
            r##"[{ name = "hello", script = "#!/bin/sh\nlogger hello\n" }]"##,
            "Scripts that run once, in this order: `[[defaults.first-boot]]`.",
        ),
    ],
);

const APT_EXAMPLE: &str = r#"[{ name = "docker", url = "https://download.docker.com/linux/debian", suite = "trixie", components = ["stable"], key = "docker.asc" }]"#;
const DOWNLOAD_EXAMPLE: &str = r#"[{ url = "https://files.example/tool", sha256 = "0000000000000000000000000000000000000000000000000000000000000000", path = "/usr/local/bin/tool", mode = "0755" }]"#;

const CONFIG_LINE: Shape = Either(&[Text, Integer(i64::MIN, i64::MAX), Flag]);
const CONFIG_VALUE: Shape =
    Either(&[Text, Integer(i64::MIN, i64::MAX), Flag, List(&CONFIG_LINE), Shape::Table(&CONFIG_REMOVE)]);
const CONFIG_REMOVE: Table = Table::new(
    "config-remove",
    "A key of config.txt to take out",
    "In the place of a value in `[defaults.config-txt]`.",
    &[key("remove", Just(true), "true", "Takes every line of the key out, the image's too.").needed()],
);

const KEYBOARD: Table = Table::new(
    "keyboard",
    "keyboard, as a table",
    "Words of XKB, as in `/etc/default/keyboard`.",
    &[
        key("layout", Word(&XKB), r#""us""#, "XKBLAYOUT.").needed(),
        key("model", Word(&XKB), r#""pc105""#, "XKBMODEL."),
        key("variant", Word(&XKB), r#""intl""#, "XKBVARIANT."),
        key("options", Word(&XKB), r#""ctrl:nocaps""#, "XKBOPTIONS."),
    ],
);

const SSH: Table = Table::new(
    "ssh",
    "ssh",
    "The ssh server. Its host keys come from the cluster's seed.",
    &[
        key("enable", Flag, "true", "Whether it runs."),
        key("password-login", Flag, "false", "Whether a password opens the door."),
    ],
);

const USER: Table = Table::new(
    "user",
    "[defaults.user.NAME]",
    "An account. The first one takes over that of the image with uid 1000; more are made. Layers merge key by key.",
    &[
        key("full-name", Word(&FULL_NAME), r#""Cluster admin""#, "Who it is."),
        key(
            "ssh-keys",
            List(&Word(&SSH_KEY)),
            r#"["file:~/.ssh/id_ed25519.pub"]"#,
            "Public keys that may log in.",
        ),
        key(
            "password",
            Shape::Table(&PASSWORD),
            "{ locked = true }",
            "Its password: a hash, or where it is kept. Never written out.",
        ),
        key("groups", List(&Word(&ACCOUNT)), r#"["video", "gpio"]"#, "Groups besides its own."),
        key("shell", Word(&IMAGE_PATH), r#""/bin/bash""#, "Its login shell."),
        key(
            "sudo",
            Either(&[OneOf(&["password", "nopasswd"]), Just(false)]),
            r#""nopasswd""#,
            "Whether it may become root, and whether that asks for its password.",
        ),
        key("uid", Integer(1, 60_000), "1001", "Its number, of a new account."),
    ],
);

const PASSWORD: Table = Table {
    one_of: &["hash", "file", "env", "locked"],
    ..Table::new(
        "password",
        "password",
        "Exactly one of these.",
        &[
            key(
                "hash",
                Word(&HASH),
                r#""$6$saltsalt$8iYtNHxjWRl.NF6oNZ5tF.iKFlQREaXBLlSmZKP6dy9l5z3vsooWNW0/GZ6Nej73/TFug6pIPSqbJoCT6dfnj.""#,
                "What `openssl passwd -6` or `mkpasswd` says.",
            ),
            key("file", Word(&LOCAL_PATH), r#""pi.password""#, "A file whose one line is the password."),
            key(
                "env",
                Word(&ENV_NAME),
                r#""PI_PASSWORD""#,
                "An environment variable that holds the password.",
            ),
            key("locked", Just(true), "true", "No password opens it; keys still do."),
        ],
    )
};

const SECRET: Table = Table {
    one_of: &["file", "env"],
    ..Table::new(
        "secret",
        "Where a secret is kept",
        "A secret is never written out in a profile. Exactly one of these.",
        &[
            key("file", Word(&LOCAL_PATH), r#""wifi.password""#, "A file whose one line it is."),
            key("env", Word(&ENV_NAME), r#""WIFI_PASSWORD""#, "An environment variable that holds it."),
        ],
    )
};

/// A parameter of a recipe.
pub(super) const PARAM: Shape =
    Either(&[Text, Integer(i64::MIN, i64::MAX), Flag, Array(&Text), Shape::Table(&SECRET)]);

const WIFI: Table = Table {
    at_most_one_of: &["passphrase", "psk"],
    ..Table::new(
        "wifi",
        "[defaults.wifi]",
        "The Wi-Fi network. Layers merge key by key; a later `ssid` forgets the earlier key. An open network has no key.",
        &[
            key("ssid", Word(&SSID), r#""home""#, "Its name."),
            key("country", Word(&COUNTRY), r#""GB""#, "Whose radio rules hold."),
            key(
                "passphrase",
                Shape::Table(&SECRET),
                r#"{ file = "wifi.password" }"#,
                "8 to 63 characters. What is written is its hash.",
            ),
            key(
                "psk",
                Shape::Table(&SECRET),
                r#"{ env = "WIFI_PSK" }"#,
                "The hash itself: 64 hexadecimal digits.",
            ),
            key("hidden", Flag, "true", "Whether the network does not say its name.").default("false"),
            key(
                "address",
                Either(&[OneOf(&["dhcp"]), OneOrMany(&Word(&HOST_ADDRESS))]),
                r#""dhcp""#,
                "The address on Wi-Fi, as that of a node.",
            )
            .default(r#""dhcp""#),
        ],
    )
};

const HOSTS: Table = Table::new(
    "hosts",
    "[[defaults.hosts]]",
    "A line of `/etc/hosts` for a machine that is no node.",
    &[
        key("address", Word(&ADDRESS), r#""192.168.1.10""#, "Its address.").needed(),
        key("names", OneOrMany(&Word(&DOMAIN)), r#"["nas.lan", "nas"]"#, "Its names.").needed(),
    ],
);

const CMDLINE_TABLE: Table = Table::new(
    "cmdline",
    "cmdline",
    "Tokens of `cmdline.txt`. `root=` is set for each node.",
    &[
        key(
            "add",
            List(&Word(&CMDLINE)),
            r#"["cgroup_enable=memory"]"#,
            "Added, or in the place of the same key.",
        ),
        key(
            "remove",
            List(&Word(&CMDLINE)),
            r#"["quiet", "splash"]"#,
            "Whole tokens, or bare keys, which take every `key=…` along.",
        ),
    ],
);

const SERVICE: Table = Table::new(
    "service",
    "service",
    "Systemd units. A later layer may take back what an earlier one said.",
    &[
        key(
            "enable",
            List(&Word(&UNIT)),
            r#"["fstrim.timer"]"#,
            "Started at boot, as the unit's `[Install]` says.",
        ),
        key("disable", List(&Word(&UNIT)), r#"["bluetooth"]"#, "Not started at boot."),
        key("mask", List(&Word(&UNIT)), r#"["dphys-swapfile"]"#, "Cannot be started at all."),
    ],
);

const DIRECTORY: Table =
    Table::new("directory", "[[defaults.directory]]", "A directory to make.", &[PATH, MODE_KEY, OWNER_KEY]);

const PATH: Key = key("path", Word(&IMAGE_PATH), r#""/srv/data""#, "Where in the image.").needed();
const MODE_KEY: Key = key("mode", Word(&MODE), r#""0755""#, "Its permission bits.");
const OWNER_KEY: Key = key("owner", Word(&OWNER), r#""root:root""#, "Its owner and group.");

const FILE: Table = Table {
    one_of: &["content", "source", "template"],
    ..Table::new(
        "file",
        "[[defaults.file]]",
        "A file to write; exactly one of `content`, `source` and `template`.",
        &[
            PATH,
            key("content", Text, r#""hello\n""#, "All of it."),
            key("source", Word(&LOCAL_PATH), r#""motd""#, "A file on this machine."),
            key(
                "template",
                Word(&LOCAL_PATH),
                r#""motd.j2""#,
                "A file on this machine that is filled in for each node; `docs/recipes.md` says with what.",
            ),
            MODE_KEY,
            OWNER_KEY,
            key("secret", Flag, "true", "Its content is never shown, and a new file is its owner's alone.")
                .default("false"),
        ],
    )
};

const SYMLINK: Table = Table::new(
    "symlink",
    "[[defaults.symlink]]",
    "A symbolic link to make.",
    &[PATH, key("target", Text, r#""/srv/a""#, "What it points to; need not be there.").needed()],
);

const FSTAB: Table = Table::new(
    "fstab",
    "[[defaults.fstab]]",
    "A line of fstab(5). The mount point is made if missing.",
    &[
        key("device", Word(&FSTAB_FIELD), r#""nas:/media""#, "What is mounted.").needed(),
        key("mount", Word(&FSTAB_MOUNT), r#""/mnt/media""#, "Where.").needed(),
        key("type", Word(&FSTAB_FIELD), r#""nfs""#, "The filesystem.").needed(),
        key("options", Word(&FSTAB_FIELD), r#""ro,noauto,x-systemd.automount""#, "Mount options.")
            .default(r#""defaults""#),
        key("dump", Integer(0, 1), "0", "Field 5.").default("0"),
        key("pass", Integer(0, 2), "2", "Field 6: when fsck looks at it.").default("0"),
    ],
);

const DOWNLOAD: Table = Table::new(
    "download",
    "[[defaults.download]]",
    "A file that the node fetches at first boot.",
    &[
        key("url", Word(&URL), r#""https://files.example/tool""#, "From where.").needed(),
        key(
            "sha256",
            Word(&SHA256),
            r#""0000000000000000000000000000000000000000000000000000000000000000""#,
            "What it must hash to.",
        )
        .needed(),
        PATH,
        MODE_KEY,
    ],
);

const APT: Table = Table {
    one_of: &["key", "key-url"],
    with: Some(("key-url", "key-sha256")),
    ..Table::new(
        "apt",
        "[[defaults.apt]]",
        "A package source, good for what its key has signed: a file, or an address with a digest.",
        &[
            key("name", Word(&NAME), r#""docker""#, "Names its files.").needed(),
            key("url", Word(&BASE_URL), r#""https://download.docker.com/linux/debian""#, "Where it is.")
                .needed(),
            key("suite", Word(&SUITE), r#""trixie""#, "The suite.").needed(),
            key(
                "components",
                OneOrMany(&Word(&SUITE)),
                r#"["stable"]"#,
                "Its components; none when the suite ends in `/`.",
            ),
            key(
                "architectures",
                OneOrMany(&Word(&SUITE)),
                r#"["arm64"]"#,
                "For which architectures it is asked.",
            ),
            key("key", Word(&LOCAL_PATH), r#""docker.asc""#, "The OpenPGP key, a file on this machine."),
            key(
                "key-url",
                Word(&URL),
                r#""https://download.docker.com/linux/debian/gpg""#,
                "Or where the node fetches it.",
            ),
            key(
                "key-sha256",
                Word(&SHA256),
                r#""0000000000000000000000000000000000000000000000000000000000000000""#,
                "What that must hash to.",
            ),
        ],
    )
};

const FIRST_BOOT: Table = Table {
    one_of: &["script", "file"],
    ..Table::new(
        "first-boot",
        "[[defaults.first-boot]]",
        "A script that runs once. One that fails is tried again; one that exits with 75 says \"not yet\", and is asked again \
         every 15 seconds.",
        &[
            key("name", Word(&NAME), r#""hello""#, "Names the step.").needed(),
            key("script", Word(&SHELL_SCRIPT), r##""#!/bin/sh\nlogger hello\n""##, "The script."),
            key("file", Word(&LOCAL_PATH), r#""hello.sh""#, "Or a file on this machine that holds it."),
            key("needs-network", Flag, "true", "Whether it waits for the network.").default("false"),
            key(
                "needs",
                Array(&Word(&NAME)),
                r#"["packages"]"#,
                "Steps that must be done before: names, or `downloads`, `packages`, `services`. Without it: all before this one.",
            ),
        ],
    )
};
