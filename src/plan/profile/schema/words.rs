//! The syntax of strings, as `word` next door has it, in patterns.

use super::Word;

const fn word(noun: &'static str, pattern: &'static str) -> Word {
    Word { noun, pattern }
}

pub(super) const ACCOUNT: Word =
    word("a login name: small letters, digits, `-` and `_`, up to 32", "^[a-z_][a-z0-9_-]{0,31}$");
pub(super) const ADDRESS: Word =
    word("an IP address", r"^([0-9]{1,3}(\.[0-9]{1,3}){3}|[0-9A-Fa-f.]*:[0-9A-Fa-f:.]*)$");
pub(super) const BASE_URL: Word = word("a URL", r"^https?://[^/\s]+(/\S*)?$");
pub(super) const CMDLINE: Word = word("a token of the kernel command line", r"^\S+$");
pub(super) const CONFIG_KEY: Word = word("a key of config.txt", "^[A-Za-z0-9_:.-]+$");
pub(super) const COUNTRY: Word = word("a country of two letters (ISO 3166-1)", "^[A-Z]{2}$");
pub(super) const DOMAIN: Word = word(
    "a domain name",
    r"^[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?(\.[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?)*$",
);
pub(super) const ENV_NAME: Word = word("the name of an environment variable", "^[A-Za-z_][A-Za-z0-9_]*$");
pub(super) const FILTER: Word = word("a filter of config.txt: `all`, `pi5`, `cm4`, …", r"^[^\s\[\]#]+$");
pub(super) const FOLDER: Word =
    word("up to 64 letters, digits, `-`, `_` and `.`", "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$");
pub(super) const FSTAB_FIELD: Word = word("a field of fstab(5), a space as `\\040`", r"^[^#\s]\S*$");
pub(super) const FSTAB_MOUNT: Word = word("a path, or `none` for swap", r"^(none|/\S*)$");
pub(super) const FULL_NAME: Word = word("a name without `:` and `,`", "^[^:,]*$");
pub(super) const GROW: Word =
    word("a size such as `8GiB` or `32GB`, or `card`", r"^(card|[0-9]+\s*([KMGT]i?B|B)?)$");
pub(super) const HASH: Word = word("a crypt(5) hash", r"^\$(6|5|y|gy)\$[A-Za-z0-9./$=,]+$");
pub(super) const HOST_ADDRESS: Word = word(
    "an IP address, with prefix or range: `192.168.1.[201-207]`",
    r"^([0-9A-Fa-f:.]|\[[0-9]{1,6}-[0-9]{1,6}\])+(/[0-9]{1,3})?$",
);
pub(super) const IMAGE_NAME: Word = word(
    "a name of `cardpress images`, perhaps with `@` and a date",
    "^[A-Za-z0-9][A-Za-z0-9._-]{0,99}(@[0-9]{4}-[0-9]{2}-[0-9]{2})?$",
);
pub(super) const IMAGE_PATH: Word = word("an absolute path in the image", "^/.*[^/]");
pub(super) const INTERFACE: Word = word("a network interface", "^[A-Za-z0-9_.-]{1,15}$");
pub(super) const LOCAL_PATH: Word =
    word("a path on this machine: from the folder of the profile, or `~/`", "^.+");
pub(super) const LOCALE: Word =
    word("a locale", r"^(C|POSIX|[a-z]{2,3})(_[A-Z]{2})?(\.[A-Za-z0-9-]+)?(@[A-Za-z0-9]+)?$");
pub(super) const MODE: Word = word("an octal mode, as a string", "^[0-7]{3,5}$");
pub(super) const MODULE: Word = word("a kernel module", "^[A-Za-z0-9_-]{1,63}$");
pub(super) const NAME: Word = word("letters, digits, `-`, `_` and `.`", "^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$");
pub(super) const NETWORK: Word = word("a network: `192.168.1.0/24`", "^[0-9A-Fa-f:.]+/[0-9]{1,3}$");
pub(super) const NODE: Word = word(
    "a host name, perhaps with a range: `worker[1-7]`",
    r"^([A-Za-z0-9]|\[[0-9]{1,6}-[0-9]{1,6}\])([A-Za-z0-9-]|\[[0-9]{1,6}-[0-9]{1,6}\])*$",
);
pub(super) const OWNER: Word = word(
    "`user:group`, names or numbers",
    "^([a-z_][a-z0-9_-]{0,31}|[0-9]+):([a-z_][a-z0-9_-]{0,31}|[0-9]+)$",
);
pub(super) const PACKAGE: Word = word("a Debian package", "^[a-z0-9][a-z0-9+.-]+$");
pub(super) const RECIPE: Word =
    word("a recipe, or `RECIPE/PART`", "^[a-z0-9][a-z0-9-]{0,63}(/[a-z0-9][a-z0-9-]{0,63})?$");
pub(super) const SHA256: Word = word("64 hexadecimal digits", "^[0-9A-Fa-f]{64}$");
pub(super) const SHELL_SCRIPT: Word = word("a script that begins with `#!/`", "^#!/");
pub(super) const SSH_KEY: Word = word(
    "a line of authorized_keys(5), or `file:` and the path of such a file",
    "^(file:.+|.*(ssh|ecdsa|sk)-.+ .+)$",
);
pub(super) const SSID: Word = word("a network name of 1 to 32 bytes", "^.{1,32}$");
pub(super) const SUITE: Word =
    word("a codename, or a folder that ends in `/`", "^[A-Za-z0-9_.~+/][A-Za-z0-9_.~+/-]*$");
pub(super) const TIMEZONE: Word =
    word("`Area/City`, or `UTC`", "^(UTC|[A-Z][A-Za-z0-9_+-]*(/[A-Z][A-Za-z0-9_+-]*){1,2})$");
pub(super) const UNIT: Word =
    word("a systemd unit; `.service` may be left out", r"^[A-Za-z0-9:_\\-][A-Za-z0-9:_.\\@-]*$");
pub(super) const URL: Word = word("a URL of a file", r"^https?://[^/\s]+/\S*$");
pub(super) const XKB: Word = word("a word of XKB", "^[A-Za-z0-9_,:()+-]*$");
