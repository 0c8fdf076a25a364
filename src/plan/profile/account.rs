//! `[user.NAME]`: accounts, their passwords and keys.

use super::super::cluster::{Password, Sudo};
use super::layer::{UserLayer, words};
use super::reader::{Fields, Reader};
use super::value::{At, Entry, Kind, Place, Value};
use super::word::{self, Wrong};
use crate::base::{ImagePath, Secret};

/// Highest uid handed out to people on Debian (`UID_MAX` of login.defs).
const UID_MAX: i64 = 60_000;

pub(super) fn users(reader: &mut Reader<'_>, value: &Value) -> Vec<At<UserLayer>> {
    let Some(fields) = reader.table(value) else { return Vec::new() };
    fields.all().iter().filter_map(|entry| user(reader, entry)).collect()
}

fn user(reader: &mut Reader<'_>, entry: &Entry) -> Option<At<UserLayer>> {
    let name = reader.judge(&entry.key.place, word::account(&entry.key.value));
    let mut fields = reader.table(&entry.value)?;
    let mut user = UserLayer {
        password: fields.get("password").and_then(|value| password(reader, value)),
        groups: words(reader, fields.get("groups"), word::account),
        shell: fields.get("shell").and_then(|value| reader.word(value, word::image_path)).map(path_text),
        sudo: fields.get("sudo").and_then(|value| sudo(reader, value)),
        full_name: fields.get("full-name").and_then(|value| reader.word(value, word::full_name)),
        ..UserLayer::default()
    };
    if let Some(value) = fields.get("ssh-keys") {
        user.ssh_keys = reader.list(value, ssh_keys).once_each();
    }
    if let Some(value) = fields.get("uid") {
        let uid = reader.integer(value, 1..=UID_MAX);
        user.uid = uid.and_then(|uid| Some(At { value: u32::try_from(uid.value).ok()?, place: uid.place }));
    }
    fields.finish(reader);
    name.map(|name| name.map(|name| UserLayer { name, ..user }))
}

fn path_text(path: At<ImagePath>) -> At<String> {
    path.map(|path| path.to_string())
}

fn sudo(reader: &mut Reader<'_>, value: &Value) -> Option<At<Sudo>> {
    let sudo = match &value.kind {
        Kind::Flag(false) => Sudo::No,
        Kind::Text(text) if text == "password" => Sudo::Password,
        Kind::Text(text) if text == "nopasswd" => Sudo::NoPassword,
        Kind::Text(text) => {
            let wrong = Wrong::found(text, "`password`, `nopasswd` or false");
            reader.judge::<()>(&value.place, Err(wrong));
            return None;
        }
        _ => {
            reader
                .wrong_kind(value, "\"password\", \"nopasswd\" or false")
                .help("\"password\" asks for the user's password, \"nopasswd\" asks nothing");
            return None;
        }
    };
    Some(At { value: sudo, place: value.place.clone() })
}

const SECRET_HELP: &str = "name where it is kept: `{ file = \"path\" }` or `{ env = \"NAME\" }`";

fn password(reader: &mut Reader<'_>, value: &Value) -> Option<At<Password>> {
    let mut fields = secret_table(reader, value, "a password")?;
    let password = match fields.need_one_of(reader, &["hash", "file", "env", "locked"]) {
        Some(entry) if entry.key.value == "hash" => {
            let hash = reader.text(&entry.value).map(|text| text.map(Secret::new));
            hash.and_then(|hash| {
                reader.judge(&hash.place, word::crypt_hash(hash.value.expose()))?;
                Some(Password::Hash(hash.value))
            })
        }
        Some(entry) if entry.key.value == "locked" => {
            let locked = reader.flag(&entry.value);
            if locked.as_ref().is_some_and(|locked| !locked.value) {
                reader
                    .fault(&entry.value.place, "found `locked = false`, wanted `locked = true`")
                    .help("leave `password` out to keep what the image has");
            }
            locked.map(|_| Password::Locked)
        }
        Some(entry) => secret_text(reader, entry).map(|text| {
            if word::crypt_hash(text.expose()).is_ok() {
                reader
                    .warn(
                        &entry.value.place,
                        "what is kept there looks like a hash, and is taken as the password",
                    )
                    .help("write a hash as `password = { hash = \"$6$…\" }`");
            }
            Password::Plain(text)
        }),
        None => None,
    };
    fields.finish(reader);
    Some(At { value: password?, place: value.place.clone() })
}

/// The table that says where a secret is kept. A secret written out is a fault.
pub(super) fn secret_table<'v>(reader: &mut Reader<'_>, value: &'v Value, what: &str) -> Option<Fields<'v>> {
    let Kind::Table(_) = &value.kind else {
        let message = format!("found {what} written out for `{}`, wanted where it is kept", value.key);
        reader.fault(&value.place, message).help(SECRET_HELP);
        return None;
    };
    reader.table(value)
}

/// What a `file` holds, without the line break at its end, or an `env`ironment variable.
pub(super) fn secret_text(reader: &mut Reader<'_>, entry: &Entry) -> Option<Secret<String>> {
    let name = reader.text(&entry.value)?;
    let secret = if entry.key.value == "env" {
        reader.judge(&name.place, word::env_name(&name.value))?;
        match reader.around.env(&name.value) {
            Some(text) => Secret::new(text),
            None => {
                let message = format!("environment variable `{}` is not set", name.value);
                reader.fault(&name.place, message).help("set it, or keep the secret in a file");
                return None;
            }
        }
    } else {
        let bytes = Secret::new(reader.local_file(&name)?);
        let Ok(text) = std::str::from_utf8(bytes.expose()) else {
            reader.fault(&name.place, format!("`{}` is not UTF-8 text", name.value));
            return None;
        };
        let text = text.strip_suffix('\n').unwrap_or(text);
        Secret::new(text.strip_suffix('\r').unwrap_or(text).to_owned())
    };
    let fault = match secret.expose() {
        text if text.is_empty() => "is empty",
        text if text.chars().any(char::is_control) => "has more than one line, or a control character",
        _ => return Some(secret),
    };
    reader.fault(&name.place, format!("the secret in `{}` {fault}", name.value));
    None
}

/// A key, or `file:PATH` with one key a line.
fn ssh_keys(reader: &mut Reader<'_>, value: &Value) -> Vec<At<String>> {
    let Some(text) = reader.text(value) else { return Vec::new() };
    let Some(path) = text.value.strip_prefix("file:") else {
        if text.value.contains("PRIVATE KEY") {
            reader
                .fault(&text.place, "found a private key, wanted a public one")
                .help("take the line in the `.pub` file beside it");
            return Vec::new();
        }
        let key = ssh_key(reader, &text.place, &text.value, "");
        return key.map(|value| At { value, place: text.place }).into_iter().collect();
    };
    let path = At { value: path.to_owned(), place: text.place };
    let Some(bytes) = reader.local_file(&path) else { return Vec::new() };
    let Ok(lines) = String::from_utf8(bytes) else {
        reader.fault(&path.place, format!("`{}` holds no ssh public key: it is not text", path.value));
        return Vec::new();
    };
    if lines.contains("PRIVATE KEY-----") {
        reader
            .fault(&path.place, format!("`{}` holds a private key, wanted a public one", path.value))
            .help(format!("name `file:{}.pub`", path.value));
        return Vec::new();
    }
    let mut keys = Vec::new();
    let mut any = false;
    for (index, line) in lines.lines().enumerate() {
        if line.trim().is_empty() || line.trim_start().starts_with('#') {
            continue;
        }
        any = true;
        let whence = format!(" in line {} of `{}`", index + 1, path.value);
        if let Some(key) = ssh_key(reader, &path.place, line, &whence) {
            keys.push(At { value: key, place: path.place.clone() });
        }
    }
    if !any {
        reader.fault(&path.place, format!("found no ssh key in `{}`", path.value));
    }
    keys
}

/// One line of authorized_keys(5). The line itself is not repeated: it may be anything.
fn ssh_key(reader: &mut Reader<'_>, place: &Place, line: &str, whence: &str) -> Option<String> {
    let line = line.trim();
    let entry = if line.chars().any(char::is_control) {
        None
    } else {
        Some(line.parse::<ssh_key::authorized_keys::Entry>())
    };
    match entry {
        Some(Ok(_)) => return Some(line.to_owned()),
        Some(Err(error)) => reader.fault(place, format!("found no valid ssh public key{whence}: {error}")),
        None => reader.fault(place, format!("found no valid ssh public key{whence}: more than one line")),
    }
    .help("wanted a line such as `ssh-ed25519 AAAA… name`, or `file:~/.ssh/id_ed25519.pub`");
    None
}
