//! Secrets in plain text on the boot partition: whoever holds the card reads them, for FAT knows no rights.
//!
//! Known are the files by which Raspberry Pi OS is set up: wpa_supplicant.conf, Imager's firstrun.sh, custom.toml, the
//! user-data and network-config of cloud-init, userconf.txt. A hash of a password, and a key of 64 hexadecimal digits that
//! was made from a pass phrase, are no plain text. What stands behind `#` does not count.

use super::network::key_and_value;
use super::warning::Warning;

const PASSPHRASE: &str = "a Wi-Fi passphrase";
const PASSWORD: &str = "a password";

/// A line, counted from one, and what is in it.
type Found = (usize, &'static str);

type Parse = fn(&str) -> Vec<Found>;

/// The files that are looked at, and how.
const FILES: [(&str, Parse); 7] = [
    ("wpa_supplicant.conf", wpa_supplicant),
    ("firstrun.sh", script),
    ("custom.toml", custom),
    ("user-data", user_data),
    ("network-config", network_config),
    ("userconf.txt", userconf),
    ("userconf", userconf),
];

/// Looks into what `text` gives for the name of a file.
pub(super) fn find(mut text: impl FnMut(&str) -> Option<String>, warnings: &mut Vec<Warning>) {
    for (file, parse) in FILES {
        let Some(text) = text(file) else { continue };
        // One of each kind says enough.
        let mut told = Vec::new();
        for (line, what) in parse(&text) {
            if !told.contains(&what) {
                told.push(what);
                warnings.push(Warning::PlaintextSecret { file: file.to_owned(), line, what });
            }
        }
    }
}

/// Lines that are no comments, counted from one.
fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let numbered = (1..).zip(text.lines().map(str::trim));
    numbered.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
}

fn is_quoted(value: &str) -> bool {
    value.len() > 2 && (value.starts_with('"') && value.ends_with('"'))
}

fn unquoted(value: &str) -> &str {
    value.trim().trim_matches(['"', '\''])
}

/// 64 hexadecimal digits: not the phrase, but what was made from it.
fn is_psk(value: &str) -> bool {
    value.len() == 64 && value.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn is_phrase(value: &str) -> bool {
    !value.is_empty() && !is_psk(value) && value != "null"
}

/// Not a hash, nor a field that takes no password.
fn is_plain_password(value: &str) -> bool {
    !value.is_empty() && !value.starts_with(['$', '!', '*']) && value != "null"
}

fn wpa_supplicant(text: &str) -> Vec<Found> {
    let found = lines(text).filter(|(_, line)| {
        line.split_once('=').is_some_and(|(key, value)| match key.trim() {
            "psk" | "sae_password" | "wep_key0" => is_quoted(value.trim()),
            "password" => !value.trim().starts_with("hash:"),
            _ => false,
        })
    });
    found.map(|(number, _)| (number, PASSPHRASE)).collect()
}

/// Imager writes the same settings twice: for its helper, and for systems without it.
fn script(text: &str) -> Vec<Found> {
    let mut found = Vec::new();
    for (number, line) in lines(text) {
        if let Some((_, value)) = line.split_once("psk=").filter(|(key, _)| key.trim_end().is_empty()) {
            found.extend((is_quoted(value) || is_keyfile_phrase(value)).then_some((number, PASSPHRASE)));
        }
        // set_wlan [-h] SSID PSK COUNTRY
        if line.contains("imager_custom set_wlan") {
            let words: Vec<&str> = shell_words(line);
            let phrase = words.iter().rev().nth(1).filter(|_| words.len() >= 5);
            found.extend(phrase.filter(|word| is_phrase(word)).map(|_| (number, PASSPHRASE)));
        }
        let (pipe, encrypted) = (line.contains("chpasswd"), line.contains("chpasswd -e"));
        if pipe && !encrypted && !line.contains("chpasswd --encrypted") {
            found.push((number, PASSWORD));
        }
    }
    found
}

/// In a NetworkManager profile the phrase stands without quotes.
fn is_keyfile_phrase(value: &str) -> bool {
    (8..64).contains(&value.len()) && !value.starts_with(['$', '"'])
}

/// Words apart by blanks, but for those within single quotes.
fn shell_words(line: &str) -> Vec<&str> {
    let mut words = Vec::new();
    for (nth, piece) in line.split('\'').enumerate() {
        if nth % 2 == 1 {
            words.push(piece);
        } else {
            words.extend(piece.split_ascii_whitespace());
        }
    }
    words
}

fn custom(text: &str) -> Vec<Found> {
    let mut found = Vec::new();
    let (mut section, mut password) = ("", None);
    // `password_encrypted = false` may stand before or behind the password of its section.
    let (mut plain, mut end) = (false, lines(text).collect::<Vec<_>>());
    end.push((0, "[end]"));
    for (number, line) in end {
        if line.starts_with('[') && line.ends_with(']') {
            let what = if section == "[wlan]" { PASSPHRASE } else { PASSWORD };
            found.extend(password.take().filter(|_| plain).map(|number| (number, what)));
            (section, plain) = (line, false);
            continue;
        }
        match line.split_once('=').map(|(key, value)| (key.trim(), value.trim())) {
            Some(("password_encrypted", value)) => plain = value.starts_with("false"),
            Some(("password", value)) if !unquoted(value).is_empty() => password = Some(number),
            _ => {}
        }
    }
    found
}

/// cloud-config: `password`, `plain_text_passwd`, and the lists of `chpasswd`.
fn user_data(text: &str) -> Vec<Found> {
    let mut found = Vec::new();
    // How far `chpasswd:` is set in.
    let mut list_at = None;
    for (number, line) in (1..).zip(text.lines()) {
        let inner = line.trim_start();
        if inner.is_empty() || inner.starts_with('#') {
            continue;
        }
        let indent = line.len() - inner.len();
        if list_at.is_some_and(|at| indent <= at && !inner.starts_with("- ")) {
            list_at = None;
        }
        let inner = inner.strip_prefix("- ").unwrap_or(inner).trim();
        let Some((key, value)) = key_and_value(inner) else { continue };
        let value = unquoted(value.split(" #").next().unwrap_or_default());
        let is_secret = match key.as_str() {
            "chpasswd" => {
                list_at = Some(indent);
                false
            }
            "plain_text_passwd" => !value.is_empty() && value != "null",
            "password" | "passwd" | "hashed_passwd" => is_plain_password(value),
            // `ann:secret`, a line of the list.
            "expire" | "list" | "users" | "name" | "type" => false,
            _ => list_at.is_some() && is_plain_password(value) && !inner.contains(": ") && value != "RANDOM",
        };
        found.extend(is_secret.then_some((number, PASSWORD)));
    }
    found
}

/// netplan's YAML: the password of an access point.
fn network_config(text: &str) -> Vec<Found> {
    let is_secret = |line: &str| {
        let pair = key_and_value(line);
        pair.is_some_and(|(key, value)| key == "password" && is_phrase(unquoted(value)))
    };
    lines(text).filter(|(_, line)| is_secret(line)).map(|(number, _)| (number, PASSPHRASE)).collect()
}

/// `name:hash`; whoever writes the password itself has it on the card, and no account.
fn userconf(text: &str) -> Vec<Found> {
    let first = text.lines().next().and_then(|line| line.trim().split(':').nth(1));
    first.filter(|hash| is_plain_password(hash)).map(|_| (1, PASSWORD)).into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEX: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    fn check(parse: fn(&str) -> Vec<Found>, cases: &[(&str, &[Found])]) {
        for (text, wanted) in cases {
            let text = text.replace("HEX", HEX);
            assert_eq!(parse(&text), *wanted, "{text}");
        }
    }

    #[test]
    fn wpa_supplicant_has_a_phrase_in_quotes_and_a_key_without() {
        check(
            wpa_supplicant,
            &[
                ("network={\n ssid=\"n\"\n psk=HEX\n}", &[]),
                ("network={\n ssid=\"n\"\n #psk=\"secret phrase\"\n key_mgmt=NONE\n}", &[]),
                ("network={\n ssid=\"n\"\n psk=\"secret phrase\"\n}", &[(3, PASSPHRASE)]),
            ],
        );
    }

    #[test]
    fn a_first_run_script_has_phrases_and_passwords() {
        check(
            script,
            &[
                ("echo \"$FIRSTUSER:\"'$5$hash' | chpasswd -e\n psk=HEX\n", &[]),
                ("/usr/lib/raspberrypi-sys-mods/imager_custom set_wlan 'my net' 'HEX' 'GB'\n", &[]),
                (
                    "/usr/lib/raspberrypi-sys-mods/imager_custom set_wlan 'my net' 'a phrase' 'GB'\n",
                    &[(1, PASSPHRASE)],
                ),
                ("\tpsk=\"a phrase\"\n", &[(1, PASSPHRASE)]),
                ("[wifi-security]\npsk=aphrase8\n", &[(2, PASSPHRASE)]),
                ("echo 'pi:secret' | chpasswd\n", &[(1, PASSWORD)]),
            ],
        );
    }

    #[test]
    fn custom_toml_says_itself_that_a_password_is_plain() {
        check(
            custom,
            &[
                ("[user]\npassword = \"$6$x\"\n[wlan]\npassword = \"HEX\"\npassword_encrypted = true\n", &[]),
                (
                    "[user]\npassword_encrypted = false\npassword = \"secret\"\n[wlan]\npassword = \"HEX\"\n",
                    &[(3, PASSWORD)],
                ),
                ("[wlan]\npassword = \"phrase\"\npassword_encrypted = false\n", &[(2, PASSPHRASE)]),
            ],
        );
    }

    #[test]
    fn cloud_config_has_passwords_in_three_places() {
        check(
            user_data,
            &[
                ("#cloud-config\n#password: secret\nhostname: a\n", &[]),
                ("user:\n  name: ann\n  passwd: \"$6$salt$hash\"\n", &[]),
                ("password: secret\n", &[(1, PASSWORD)]),
                ("users:\n- name: ann\n  plain_text_passwd: secret\n", &[(3, PASSWORD)]),
                ("chpasswd:\n  expire: false\n  list: |\n    ann:secret\n", &[(4, PASSWORD)]),
                ("chpasswd:\n  expire: false\n  list:\n  - ann:$6$salt$hash\nruncmd:\n  - echo a:b\n", &[]),
                ("chpasswd:\n  users:\n  - name: ann\n    password: secret\n", &[(4, PASSWORD)]),
            ],
        );
    }

    #[test]
    fn network_config_and_userconf_have_theirs() {
        let net = "wifis:\n  wlan0:\n    access-points:\n      \"n\":\n        password: ";
        check(
            network_config,
            &[
                (&format!("{net}\"HEX\"\n"), &[]),
                (&format!("{net}\"a phrase\"\n"), &[(5, PASSPHRASE)]),
                ("#  password: \"a phrase\"\n", &[]),
            ],
        );
        check(userconf, &[("ann:$6$salt$hash\n", &[]), ("ann:secret\n", &[(1, PASSWORD)])]);
    }
}
