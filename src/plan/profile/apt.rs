//! What a node fetches by itself: `[[download]]`, and `[[apt]]`, the package sources besides the image's own.

use std::sync::Arc;

use super::super::cluster::{AptKey, AptSource, Download};
use super::layer::{Layer, distinct};
use super::reader::{Fields, Reader};
use super::tree::{mode, path};
use super::value::{At, Entry, Kind, Value};
use super::word::{self, Wrong};

/// `download` and `apt`.
pub(super) fn read(reader: &mut Reader<'_>, fields: &mut Fields<'_>, layer: &mut Layer) {
    if let Some(value) = fields.get("download") {
        layer.downloads = reader.list(value, download);
        distinct(reader, &layer.downloads.items, |download| download.path.to_string());
    }
    if let Some(value) = fields.get("apt") {
        layer.apt = reader.list(value, source);
        distinct(reader, &layer.apt.items, |source| source.name.clone());
    }
}

fn download(reader: &mut Reader<'_>, value: &Value) -> Option<At<Download>> {
    let mut fields = reader.table(value)?;
    let url = fields.need(reader, "url").and_then(|value| reader.word(value, word::url));
    let sha256 = fields.need(reader, "sha256").and_then(|value| reader.word(value, word::sha256));
    let path = path(reader, &mut fields);
    let mode = fields.get("mode").and_then(|value| mode(reader, value));
    fields.finish(reader);
    let (url, sha256, path) = (url?.value, sha256?.value, path?);
    Some(path.map(|path| Download { url, sha256, path, mode }))
}

fn source(reader: &mut Reader<'_>, value: &Value) -> Option<At<AptSource>> {
    let mut fields = reader.table(value)?;
    let name = fields.need(reader, "name").and_then(|value| reader.word(value, word::plain_name));
    let url = fields.need(reader, "url").and_then(|value| reader.word(value, word::url));
    let suite = fields.need(reader, "suite").and_then(|value| reader.word(value, suite));
    let listed = fields.get("components");
    let components = listed.map(|value| words(reader, value, component));
    let architectures = fields.get("architectures").map(|value| words(reader, value, architecture));
    let key = key(reader, &mut fields);
    fields.finish(reader);
    let (name, suite) = (name?, suite?);
    let components = components.unwrap_or_default();
    match (suite.value.ends_with('/'), components.first()) {
        (true, Some(component)) => {
            reader
                .fault(&component.place, "found components of a suite that ends in `/`")
                .help("such a repository is one flat folder: leave `components` out");
        }
        (false, None)
            if listed.is_none_or(|value| matches!(&value.kind, Kind::Array(items) if items.is_empty())) =>
        {
            reader
                .fault(&suite.place, format!("found no `components` of suite `{}`", suite.value))
                .help("such as `components = [\"main\"]`; only a suite that ends in `/` has none");
        }
        _ => {}
    }
    let plain = |words: Vec<At<String>>| words.into_iter().map(|word| word.value).collect();
    Some(At {
        value: AptSource {
            name: name.value,
            url: url?.value,
            suite: suite.value,
            components: plain(components),
            architectures: plain(architectures.unwrap_or_default()),
            key: key?,
        },
        place: name.place,
    })
}

fn words(reader: &mut Reader<'_>, value: &Value, read: fn(&str) -> Result<String, Wrong>) -> Vec<At<String>> {
    reader.one_or_many(value, |reader, item| reader.word(item, read))
}

/// The key that signs: a file on this machine, or an address and what is there.
fn key(reader: &mut Reader<'_>, fields: &mut Fields<'_>) -> Option<AptKey> {
    let digest = fields.entry("key-sha256");
    let entry = fields.need_one_of(reader, &["key", "key-url"])?;
    if entry.key.value == "key" {
        if let Some(Entry { key, .. }) = digest {
            reader.fault(&key.place, "found `key-sha256` beside `key`, which is a file on this machine");
        }
        return key_file(reader, &entry.value);
    }
    let url = reader.word(&entry.value, word::url);
    let Some(Entry { value, .. }) = digest else {
        reader
            .fault(&entry.key.place, "found `key-url` without `key-sha256`")
            .help("what `sha256sum` says of it: who has this key decides what is installed");
        return None;
    };
    let sha256 = reader.word(value, word::sha256);
    Some(AptKey::Download { url: url?.value, sha256: sha256?.value })
}

fn key_file(reader: &mut Reader<'_>, value: &Value) -> Option<AptKey> {
    let path = reader.text(value)?;
    let bytes = reader.local_file(&path)?;
    let text = String::from_utf8_lossy(&bytes);
    if text.contains("BEGIN PGP PRIVATE KEY") {
        reader.fault(&path.place, format!("`{}` holds a private key, wanted the public one", path.value));
        return None;
    }
    let is_armored = text.contains("-----BEGIN PGP PUBLIC KEY BLOCK-----");
    // A public key is the first packet: tag 6 in the new form, or in the old one with any length (RFC 9580 §4.2).
    let is_binary = matches!(bytes.first(), Some(0x98..=0x9a | 0xc6));
    if !is_armored && !is_binary {
        reader
            .fault(&path.place, format!("`{}` is no OpenPGP public key", path.value))
            .help("wanted what `gpg --export` writes, with `--armor` or without");
        return None;
    }
    let bytes = Arc::from(bytes);
    Some(if is_armored { AptKey::Armored(bytes) } else { AptKey::Binary(bytes) })
}

/// A suite of sources.list(5): a codename, or the folder of a flat repository.
fn suite(text: &str) -> Result<String, Wrong> {
    fits(text, "-_.~+/", "a suite such as `bookworm` or `stable/`, or `./`")
}

fn component(text: &str) -> Result<String, Wrong> {
    fits(text, "-_.~+/", "a component such as `main`")
}

fn architecture(text: &str) -> Result<String, Wrong> {
    fits(text, "-", "an architecture such as `arm64`")
}

fn fits(text: &str, also: &str, wanted: &str) -> Result<String, Wrong> {
    let sound = text.chars().all(|c| c.is_ascii_alphanumeric() || also.contains(c));
    if sound && !text.is_empty() && !text.starts_with('-') {
        return Ok(text.to_owned());
    }
    Err(Wrong::found(text, wanted))
}
