//! The syntax of single words: names, zones, units, modes. Each function says what was found and what is wanted.

use std::net::IpAddr;

use ipnet::IpNet;

use super::super::cluster::OwnerName;
use crate::base::{ImagePath, Sha256Digest};

/// Why a word will not do.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Wrong {
    pub(super) message: String,
    pub(super) help: Option<String>,
}

impl Wrong {
    pub(super) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), help: None }
    }

    pub(super) fn found(text: &str, wanted: &str) -> Self {
        Self::new(format!("found `{}`, wanted {wanted}", text.escape_debug()))
    }

    pub(super) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

type Verdict<T = String> = Result<T, Wrong>;

fn all_of(text: &str, also: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || also.contains(c))
}

fn starts_alphanumeric(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphanumeric())
}

/// Anything of one line; may be empty.
pub(super) fn line(text: &str) -> Verdict {
    if text.chars().any(char::is_control) {
        return Err(Wrong::found(text, "one line without control characters"));
    }
    Ok(text.to_owned())
}

/// One label of a host name: RFC 1123 §2.1, RFC 952.
pub(super) fn host_label(text: &str) -> Verdict {
    let fits = text.len() <= 63 && all_of(text, "-") && !text.starts_with('-') && !text.ends_with('-');
    if !fits {
        let wrong = Wrong::found(text, "1 to 63 letters, digits and hyphens, no hyphen first or last");
        return Err(match suggested_label(text) {
            Some(better) => wrong.help(format!("`{better}` would do")),
            None => wrong,
        });
    }
    if text.eq_ignore_ascii_case("localhost") {
        return Err(Wrong::new("found `localhost`, which every machine has already"));
    }
    Ok(text.to_owned())
}

fn suggested_label(text: &str) -> Option<String> {
    let swapped: String = text
        .to_lowercase()
        .chars()
        .map(|c| if matches!(c, '_' | ' ' | '.') { '-' } else { c })
        .filter(|c| c.is_ascii_alphanumeric() || *c == '-')
        .take(63)
        .collect();
    let better = swapped.trim_matches('-').to_owned();
    (!better.is_empty()).then_some(better)
}

/// Labels joined by dots.
pub(super) fn domain(text: &str) -> Verdict {
    let fits = text.len() <= 253
        && text.split('.').all(|label| {
            label.len() <= 63 && all_of(label, "-_") && !label.starts_with('-') && !label.ends_with('-')
        });
    if fits {
        Ok(text.to_owned())
    } else {
        Err(Wrong::found(text, "a domain name such as `lan` or `home.arpa`"))
    }
}

/// Names a folder: the cluster's.
pub(super) fn folder_name(text: &str) -> Verdict {
    if text.len() <= 64 && all_of(text, "-_.") && starts_alphanumeric(text) {
        return Ok(text.to_owned());
    }
    Err(Wrong::found(text, "up to 64 letters, digits, `-`, `_` and `.`, a letter or digit first"))
}

/// A role, or a first-boot script.
pub(super) fn plain_name(text: &str) -> Verdict {
    if text.len() <= 100 && all_of(text, "-_.") && starts_alphanumeric(text) {
        return Ok(text.to_owned());
    }
    Err(Wrong::found(text, "letters, digits, `-`, `_` and `.`, a letter or digit first"))
}

/// A name of the catalogue: a plain name, and perhaps `@` and a date.
pub(super) fn image_name(text: &str) -> Verdict {
    let (name, date) = text.split_once('@').map_or((text, None), |(name, date)| (name, Some(date)));
    let is_date = |date: &str| {
        let parts: Vec<&str> = date.split('-').collect();
        let lens: Vec<usize> = parts.iter().map(|part| part.len()).collect();
        lens == [4, 2, 2] && date.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-')
    };
    if plain_name(name).is_ok() && date.is_none_or(is_date) {
        return Ok(text.to_owned());
    }
    Err(Wrong::found(
        text,
        "a name such as `raspios-lite-arm64`, or of one release `raspios-lite-arm64@2026-06-18`",
    )
    .help("`cardpress images` shows the names"))
}

/// `Area/City`, or `UTC`.
pub(super) fn timezone(text: &str) -> Verdict {
    let parts: Vec<&str> = text.split('/').collect();
    let fits = text == "UTC"
        || ((2..=3).contains(&parts.len())
            && parts
                .iter()
                .all(|part| all_of(part, "_+-") && part.starts_with(|c: char| c.is_ascii_uppercase())));
    if fits {
        Ok(text.to_owned())
    } else {
        Err(Wrong::found(text, "`Area/City` such as `Europe/London`, or `UTC`"))
    }
}

/// `C`, `POSIX`, or `language[_COUNTRY][.charset][@modifier]`.
pub(super) fn locale(text: &str) -> Verdict {
    let (rest, modifier) = text.split_once('@').unwrap_or((text, "x"));
    let (rest, charset) = rest.split_once('.').unwrap_or((rest, "x"));
    let (language, country) = rest.split_once('_').unwrap_or((rest, "XX"));
    let language_fits = matches!(language, "C" | "POSIX")
        || ((2..=3).contains(&language.len()) && language.bytes().all(|b| b.is_ascii_lowercase()));
    let country_fits = country.len() == 2 && country.bytes().all(|b| b.is_ascii_uppercase());
    if language_fits && country_fits && all_of(charset, "-") && all_of(modifier, "") {
        return Ok(text.to_owned());
    }
    Err(Wrong::found(text, "a locale such as `en_GB.UTF-8`"))
}

/// A word of XKB: `gb`, `pc105`, `us,de`, `ctrl:nocaps`.
pub(super) fn xkb(text: &str) -> Verdict {
    if text.is_empty() || all_of(text, "-_,:()+") {
        return Ok(text.to_owned());
    }
    Err(Wrong::found(text, "an XKB word such as `gb`"))
}

/// ISO 3166-1 alpha-2, upper case.
pub(super) fn country(text: &str) -> Verdict {
    if text.len() == 2 && text.bytes().all(|b| b.is_ascii_uppercase()) {
        return Ok(text.to_owned());
    }
    let wrong = Wrong::found(text, "a country of two upper-case letters (ISO 3166-1)");
    Err(match text.to_ascii_uppercase().as_str() {
        "UK" => wrong.help("the United Kingdom is `GB`"),
        upper if upper.len() == 2 && upper.bytes().all(|b| b.is_ascii_uppercase()) => {
            wrong.help(format!("write `{upper}`"))
        }
        _ => wrong.help("such as `GB`, `DE` or `US`"),
    })
}

/// A Linux interface: 1 to 15 bytes (`IFNAMSIZ`), as `dev_valid_name` has it.
pub(super) fn interface(text: &str) -> Verdict {
    let fits = (1..=15).contains(&text.len()) && all_of(text, "-_.") && !matches!(text, "." | "..");
    if fits {
        Ok(text.to_owned())
    } else {
        Err(Wrong::found(text, "an interface such as `eth0`, 15 letters at most"))
    }
}

/// An 802.11 SSID: 1 to 32 bytes.
pub(super) fn ssid(text: &str) -> Verdict {
    if (1..=32).contains(&text.len()) && !text.chars().any(char::is_control) {
        return Ok(text.to_owned());
    }
    Err(Wrong::new(format!("found a name of {} bytes, wanted 1 to 32 printable ones", text.len())))
}

/// A login or group name, as Debian's `adduser` takes it.
pub(super) fn account(text: &str) -> Verdict {
    let fits = text.len() <= 32
        && text.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_".contains(&b));
    if fits {
        return Ok(text.to_owned());
    }
    let wrong = Wrong::found(text, "up to 32 lower-case letters, digits, `-` and `_`, no digit or `-` first");
    let lower = text.to_lowercase();
    Err(if lower != text && account(&lower).is_ok() {
        wrong.help(format!("`{lower}` would do"))
    } else {
        wrong
    })
}

/// The GECOS field of passwd(5).
pub(super) fn full_name(text: &str) -> Verdict {
    if text.chars().any(|c| c.is_control() || matches!(c, ':' | ',')) {
        return Err(Wrong::found(text, "a name without `:` and `,`, which divide the fields of passwd"));
    }
    Ok(text.to_owned())
}

/// `user:group`, each a name or a number.
pub(super) fn owner(text: &str) -> Verdict<OwnerName> {
    let part = |text: &str| account(text).is_ok() || (all_of(text, "") && text.parse::<u32>().is_ok());
    match text.split_once(':') {
        Some((user, group)) if part(user) && part(group) => {
            Ok(OwnerName { user: user.to_owned(), group: group.to_owned() })
        }
        None if part(text) => Err(Wrong::found(text, "`user:group`")
            .help(format!("write `{text}:{text}` for the user's own group"))),
        _ => {
            Err(Wrong::found(text, "`user:group`, names or numbers")
                .help("such as `root:root` or `1000:1000`"))
        }
    }
}

/// Octal permission bits, up to `7777`.
pub(super) fn mode(text: &str) -> Verdict<u16> {
    let fits = (3..=5).contains(&text.len()) && text.bytes().all(|b| (b'0'..=b'7').contains(&b));
    match u16::from_str_radix(text, 8) {
        Ok(mode) if fits && mode <= 0o7777 => Ok(mode),
        _ => Err(Wrong::found(text, "an octal mode such as `0644`")),
    }
}

/// A path inside the image other than `/`.
pub(super) fn image_path(text: &str) -> Verdict<ImagePath> {
    let path: ImagePath = text.parse().map_err(|error| Wrong::new(format!("{error}")))?;
    if path == ImagePath::root() {
        return Err(Wrong::found(text, "a path below `/`"));
    }
    Ok(path)
}

/// Unit types of systemd.unit(5).
const UNIT_TYPES: [&str; 11] = [
    "service",
    "socket",
    "device",
    "mount",
    "automount",
    "swap",
    "target",
    "path",
    "timer",
    "slice",
    "scope",
];

/// A systemd unit; `.service` is added to a name without type, as systemctl does.
pub(super) fn unit(text: &str) -> Verdict {
    let has_type = text.rsplit_once('.').is_some_and(|(_, suffix)| UNIT_TYPES.contains(&suffix));
    let whole = if has_type { text.to_owned() } else { format!("{text}.service") };
    let stem = whole.rsplit_once('.').map_or("", |(stem, _)| stem);
    if whole.len() <= 255 && all_of(stem, ":-_.\\@") && !stem.starts_with(['@', '.']) {
        return Ok(whole);
    }
    Err(Wrong::found(text, "a systemd unit such as `docker` or `fstrim.timer`"))
}

/// A Debian package: policy §5.6.1.
pub(super) fn package(text: &str) -> Verdict {
    let fits = |text: &str| {
        text.len() >= 2
            && text.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
            && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"+-.".contains(&b))
    };
    if fits(text) {
        return Ok(text.to_owned());
    }
    let wrong = Wrong::found(text, "a Debian package: lower-case letters, digits, `+`, `-` and `.`");
    let lower = text.to_lowercase();
    Err(match text.split_once(['=', ':']) {
        Some((name, _)) if fits(name) => {
            wrong.help(format!("versions and architectures cannot be chosen: write `{name}`"))
        }
        _ if fits(&lower) => wrong.help(format!("`{lower}` would do")),
        _ => wrong,
    })
}

/// A kernel module.
pub(super) fn module(text: &str) -> Verdict {
    if text.len() <= 63 && all_of(text, "-_") {
        return Ok(text.to_owned());
    }
    Err(Wrong::found(text, "a kernel module such as `br_netfilter`"))
}

/// A key of sysctl.d(5).
pub(super) fn sysctl_key(text: &str) -> Verdict {
    let parts: Vec<&str> = text.split(['.', '/']).collect();
    if parts.len() >= 2 && parts.iter().all(|part| all_of(part, "-_*:")) {
        return Ok(text.to_owned());
    }
    Err(Wrong::found(text, "a kernel setting such as `net.ipv4.ip_forward`"))
}

/// One token of the kernel command line.
pub(super) fn cmdline_token(text: &str) -> Verdict {
    if text.is_empty() || text.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Err(
            Wrong::found(text, "one token without white space").help("each token is an item of the list")
        );
    }
    if text == "root" || text.starts_with("root=") {
        return Err(Wrong::found(text, "any token but `root=`, which is set to the disk id of each node"));
    }
    Ok(text.to_owned())
}

/// A filter of config.txt, without its brackets.
pub(super) fn config_filter(text: &str) -> Verdict {
    if let Some(inner) = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')) {
        return Err(Wrong::found(text, "the filter without its brackets").help(format!("write `{inner}`")));
    }
    if text.is_empty() || text.chars().any(|c| c.is_control() || c.is_whitespace() || "[]#".contains(c)) {
        return Err(Wrong::found(text, "a filter of config.txt such as `all`, `pi5` or `cm4`"));
    }
    Ok(text.to_owned())
}

/// A key of config.txt.
pub(super) fn config_key(text: &str) -> Verdict {
    if all_of(text, "-_:.") {
        return Ok(text.to_owned());
    }
    Err(Wrong::found(text, "a key of config.txt such as `gpu_mem`"))
}

/// A field of fstab(5).
pub(super) fn fstab_field(text: &str) -> Verdict {
    if text.is_empty() || text.starts_with('#') || text.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Err(Wrong::found(text, "one field of fstab").help("a space is written `\\\\040` there"));
    }
    Ok(text.to_owned())
}

/// Where fstab mounts: an absolute path, or `none` for swap.
pub(super) fn fstab_mount(text: &str) -> Verdict {
    let text = fstab_field(text)?;
    if text == "none" {
        return Ok(text);
    }
    match text.parse::<ImagePath>() {
        Ok(path) => Ok(path.to_string()),
        Err(_) => Err(Wrong::found(&text, "an absolute path, or `none` for swap")),
    }
}

/// A name of an environment variable (POSIX.1-2017 §8.1).
pub(super) fn env_name(text: &str) -> Verdict {
    if all_of(text, "_") && !text.starts_with(|c: char| c.is_ascii_digit()) {
        return Ok(text.to_owned());
    }
    // Not repeated: it may be the secret itself.
    Err(Wrong::new("found no name of an environment variable, wanted letters, digits and `_`"))
}

/// A crypt(5) hash that libxcrypt still takes for new passwords.
pub(super) fn crypt_hash(text: &str) -> Verdict<()> {
    let tail = |length: usize| text.rsplit('$').next().is_some_and(|hash| hash.len() == length);
    let fits = match text.split('$').nth(1) {
        _ if !text.starts_with('$') => false,
        Some("6") => tail(86),
        Some("5") | Some("y") | Some("gy") => tail(43),
        _ => false,
    };
    if fits && text.split('$').count() >= 4 && all_of(text, "$./=,") {
        return Ok(());
    }
    // Never repeated: it may be a password.
    Err(Wrong::new("found no whole password hash, wanted one that begins with `$6$`, `$5$` or `$y$`")
        .help("make one with `openssl passwd -6` or `mkpasswd`"))
}

/// An address of a machine.
pub(super) fn address(text: &str) -> Verdict<IpAddr> {
    text.parse().map_err(|_| Wrong::found(text, "an IP address"))
}

/// A network: an address with prefix and no host bits.
pub(super) fn network(text: &str) -> Verdict<IpNet> {
    let net: IpNet = text.parse().map_err(|_| Wrong::found(text, "a network such as `192.168.1.0/24`"))?;
    if net.trunc() != net {
        return Err(
            Wrong::found(text, "a network, no address in it").help(format!("write `{}`", net.trunc()))
        );
    }
    Ok(net)
}

/// A URL that is fetched.
pub(super) fn url(text: &str) -> Verdict {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let bare = text.chars().all(|c| c.is_ascii_graphic());
    match rest {
        Some(rest) if bare && rest.contains('/') && !rest.starts_with('/') => Ok(text.to_owned()),
        _ => Err(Wrong::found(text, "a URL that begins with `https://`")),
    }
}

/// A SHA-256 in hexadecimal.
pub(super) fn sha256(text: &str) -> Verdict<Sha256Digest> {
    text.parse().map_err(|error: String| Wrong::new(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sorted_out(read: fn(&str) -> Verdict, good: &[&str], bad: &[&str]) {
        good.iter().for_each(|word| assert!(read(word).is_ok(), "`{word}` was refused"));
        bad.iter().for_each(|word| assert!(read(word).is_err(), "`{word}` was taken"));
    }

    #[test]
    fn host_names_follow_rfc_1123() {
        let longest = "a".repeat(63);
        let too_long = "a".repeat(64);
        sorted_out(
            host_label,
            &["a", "worker1", "3com", "a-b", &longest],
            &["", "-a", "a-", "a_b", "a.b", "ä", "localhost", &too_long],
        );
        assert_eq!(host_label("Big_Pi").unwrap_err().help.as_deref(), Some("`big-pi` would do"));
    }

    #[test]
    fn zones_locales_and_countries_have_a_shape() {
        sorted_out(
            timezone,
            &["UTC", "Etc/UTC", "Europe/London", "America/Argentina/Buenos_Aires", "Etc/GMT+1"],
            &["", "London", "Europe/", "/London", "../etc/passwd", "Europe/../x", "europe/London"],
        );
        sorted_out(
            locale,
            &["C", "C.UTF-8", "en_GB.UTF-8", "en_GB", "ca_ES.UTF-8@valencia", "fil_PH.UTF-8"],
            &["", "english", "en-GB", "en_gb.UTF-8", "en_GB.", "en_GB.UTF-8\n"],
        );
        sorted_out(country, &["GB", "DE"], &["", "gb", "GBR", "12"]);
        assert_eq!(country("uk").unwrap_err().help.as_deref(), Some("the United Kingdom is `GB`"));
    }

    #[test]
    fn units_get_their_type() {
        assert_eq!(unit("docker").as_deref(), Ok("docker.service"));
        assert_eq!(unit("fstrim.timer").as_deref(), Ok("fstrim.timer"));
        assert_eq!(unit("getty@tty1").as_deref(), Ok("getty@tty1.service"));
        assert_eq!(unit("a.b").as_deref(), Ok("a.b.service"));
        sorted_out(unit, &["systemd-networkd"], &["", "a b", "a/b", ".service", "../x.service", "é"]);
    }

    #[test]
    fn modes_are_octal() {
        assert_eq!(mode("0644"), Ok(0o644));
        assert_eq!(mode("755"), Ok(0o755));
        assert_eq!(mode("4755"), Ok(0o4755));
        for text in ["", "7", "0o644", "888", "+644", "10000", "u+x"] {
            assert!(mode(text).is_err(), "`{text}` was taken");
        }
    }

    #[test]
    fn owners_are_two_names_or_numbers() {
        assert_eq!(owner("root:1000"), Ok(OwnerName { user: "root".into(), group: "1000".into() }));
        for text in ["root", "root:", ":root", "a:b:c", "Root:root", "+1:1", "4294967296:0"] {
            assert!(owner(text).is_err(), "`{text}` was taken");
        }
    }

    #[test]
    fn packages_modules_and_settings_have_a_shape() {
        sorted_out(package, &["g++", "nfs-common", "0ad"], &["", "a", "Docker", "a_b", "vim=9", "-x", "a b"]);
        sorted_out(module, &["br_netfilter", "overlay"], &["", "a b", "../x"]);
        sorted_out(
            sysctl_key,
            &["vm.swappiness", "net.ipv4.conf.eth0/1.rp_filter", "net/ipv4/ip_forward"],
            &["", "vm", "vm.", "vm swap.x", "a=b.c"],
        );
        sorted_out(account, &["pi", "_apt", "a-b1"], &["", "Pi", "1a", "-a", "a b", "a:b", "root\n"]);
        sorted_out(interface, &["eth0", "end0.5"], &["", "a/b", "eth 0", "sixteen-letters-", ".."]);
    }

    #[test]
    fn hashes_are_whole_and_are_never_repeated() {
        let sha512 = format!("$6$salt${}", "a".repeat(86));
        let rounds = format!("$5$rounds=5000$salt${}", "a".repeat(43));
        let yescrypt = format!("$y$j9T$salt${}", "a".repeat(43));
        for hash in [&sha512, &rounds, &yescrypt] {
            assert_eq!(crypt_hash(hash), Ok(()));
        }
        for text in ["hunter2", "$6$…", "$6$salt$abc", "$1$salt$abcdefghijklmnopqrstuv", "", "$", "$6$"] {
            let wrong = crypt_hash(text).unwrap_err();
            assert!(text.len() < 5 || !wrong.message.contains(text), "{}", wrong.message);
        }
    }

    #[test]
    fn a_network_has_no_host_bits() {
        assert!(network("192.168.1.0/24").is_ok());
        assert_eq!(network("192.168.1.7/24").unwrap_err().help.as_deref(), Some("write `192.168.1.0/24`"));
    }
}
