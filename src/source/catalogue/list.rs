//! The published list: JSON in the schema of Raspberry Pi Imager, versions 3 and 4, read leniently.
//!
//! ```text
//! { "imager": …, "os_list": [
//!     { "name", "url", "extract_size", … },          an image
//!     { "name", "subitems": [ … ] },                 a list within the list
//!     { "name", "subitems_url": "https://…" } ] }    a list elsewhere, of the same shape
//! ```
//!
//! Schema: raspberrypi/rpi-imager, `doc/json-schema/os-list-schema.json`. What is not known is passed over; a value of
//! the wrong type is as good as none; an item that is neither image nor list is left out. Only a text that has no
//! `os_list` array is refused.
//!
//! What is kept is bounded however large the text is: it is read in one pass, and nothing is kept of what is not used.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer as _, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::Arch;
use crate::base::Sha256Digest;

/// Lists within lists, remote ones counted: the published list has two.
pub(super) const DEPTH_MAX: usize = 8;
/// The published list, with all that it leads to, has some hundred images.
pub(super) const ENTRIES_MAX: usize = 10_000;
/// Longer texts are no names, descriptions or addresses.
const TEXT_LEN_MAX: usize = 2048;
const DEVICES_MAX: usize = 64;

/// What a document says.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Images in the order of the document.
    pub(super) images: Vec<Image>,
    /// Lists elsewhere, in that order.
    pub(super) remotes: Vec<Remote>,
    /// Something was left out because it stands too deep.
    pub(super) is_too_deep: bool,
    /// Something was left out because there is too much.
    pub(super) is_too_many: bool,
}

/// An item that is an image, less what could not be read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Image {
    pub(super) name: String,
    pub(super) description: String,
    /// An http or https URL.
    pub(super) url: String,
    /// `YYYY-MM-DD`
    pub(super) release_date: Option<String>,
    pub(super) archive_len: Option<u64>,
    pub(super) extract_len: Option<u64>,
    pub(super) archive_sha256: Option<Sha256Digest>,
    pub(super) image_sha256: Option<Sha256Digest>,
    pub(super) architecture: Option<Arch>,
    pub(super) devices: Vec<String>,
    pub(super) init_format: Option<String>,
}

/// An item that is a list elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Remote {
    /// An http or https URL.
    pub(super) url: String,
    /// The depth of the list that stands there.
    pub(super) depth: usize,
}

/// Reads a document whose list stands at `depth`, 1 for the first.
///
/// # Errors
/// What is wrong with a text that is no list.
pub(super) fn parse(bytes: &[u8], depth: usize) -> Result<Found, String> {
    let mut found = Found::default();
    let mut has_list = false;
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let document = Document { found: &mut found, has_list: &mut has_list, depth };
    deserializer.deserialize_any(document).and_then(|()| deserializer.end()).map_err(|error| match bytes
        .iter()
        .find(|byte| !byte.is_ascii_whitespace())
    {
        None => String::from("it is empty"),
        Some(b'<') => String::from("found a web page, wanted JSON"),
        _ => error.to_string(),
    })?;
    if has_list { Ok(found) } else { Err(String::from("found no `os_list` array")) }
}

/// `text` as a URL that can be fetched.
pub(super) fn web_url(text: &str) -> Option<reqwest::Url> {
    let plain = text.len() <= TEXT_LEN_MAX && text.bytes().all(|byte| byte.is_ascii_graphic());
    let url = reqwest::Url::parse(text).ok().filter(|_| plain)?;
    (matches!(url.scheme(), "http" | "https") && url.has_host()).then_some(url)
}

/// Is `text` a day, as `2026-06-18`?
pub(super) fn is_date(text: &str) -> bool {
    let mut parts = text.split('-');
    let mut part = |len: usize, least: u32, most: u32| {
        parts
            .next()
            .filter(|part| part.len() == len && part.bytes().all(|byte| byte.is_ascii_digit()))
            .and_then(|part| part.parse::<u32>().ok())
            .is_some_and(|number| (least..=most).contains(&number))
    };
    part(4, 1970, 9999) && part(2, 1, 12) && part(2, 1, 31) && parts.next().is_none()
}

/// The whole: an object with an `os_list`.
struct Document<'f> {
    found: &'f mut Found,
    has_list: &'f mut bool,
    depth: usize,
}

impl<'de> Visitor<'de> for Document<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with an `os_list` array")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(Key(key)) = map.next_key()? {
            if key == Some(Field::OsList) {
                *self.has_list |= map.next_value_seed(List { found: self.found, depth: self.depth })?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(())
    }
}

/// An array of items; says whether it was one.
struct List<'f> {
    found: &'f mut Found,
    depth: usize,
}

impl<'de> DeserializeSeed<'de> for List<'_> {
    type Value = bool;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_any(self)
    }
}

/// What every reader of one kind does with values of the other kinds.
macro_rules! scalars_are {
    ($value:expr) => {
        fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
            Ok($value)
        }
        fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
            Ok($value)
        }
        fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
            Ok($value)
        }
        fn visit_unit<E>(self) -> Result<Self::Value, E> {
            Ok($value)
        }
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("any JSON value")
        }
    };
}

impl<'de> Visitor<'de> for List<'_> {
    type Value = bool;

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<bool, A::Error> {
        if self.depth > DEPTH_MAX {
            self.found.is_too_deep = true;
            while seq.next_element::<IgnoredAny>()?.is_some() {}
            return Ok(true);
        }
        while seq.next_element_seed(Item { found: &mut *self.found, depth: self.depth })?.is_some() {}
        Ok(true)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<bool, A::Error> {
        skip_map(map)?;
        Ok(false)
    }

    fn visit_str<E>(self, _: &str) -> Result<bool, E> {
        Ok(false)
    }

    fn visit_u64<E>(self, _: u64) -> Result<bool, E> {
        Ok(false)
    }

    scalars_are!(false);
}

/// One element of a list.
struct Item<'f> {
    found: &'f mut Found,
    depth: usize,
}

impl<'de> DeserializeSeed<'de> for Item<'_> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Item<'_> {
    type Value = ();

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut image = Image::default();
        let mut remote = None;
        while let Some(Key(key)) = map.next_key()? {
            let Some(field) = key else {
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            if field == Field::Subitems {
                map.next_value_seed(List { found: &mut *self.found, depth: self.depth + 1 })?;
                continue;
            }
            let value: Value = map.next_value()?;
            match field {
                Field::SubitemsUrl => remote = value.text().filter(|text| web_url(text).is_some()),
                field => image.set(field, value),
            }
        }
        if let Some(url) = remote {
            self.found.keep_remote(Remote { url, depth: self.depth + 1 });
        }
        if !image.name.is_empty() && !image.url.is_empty() {
            self.found.keep_image(image);
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    scalars_are!(());
}

impl Found {
    fn keep_image(&mut self, image: Image) {
        if self.images.len() < ENTRIES_MAX {
            self.images.push(image);
        } else {
            self.is_too_many = true;
        }
    }

    fn keep_remote(&mut self, remote: Remote) {
        if remote.depth > DEPTH_MAX {
            self.is_too_deep = true;
        } else if self.remotes.len() < ENTRIES_MAX {
            self.remotes.push(remote);
        }
    }
}

impl Image {
    fn set(&mut self, field: Field, value: Value) {
        match field {
            Field::Name => self.name = value.line().unwrap_or_default(),
            Field::Description => self.description = value.line().unwrap_or_default(),
            Field::Url => self.url = value.text().filter(|text| web_url(text).is_some()).unwrap_or_default(),
            Field::ReleaseDate => self.release_date = value.text().filter(|text| is_date(text)),
            Field::ArchiveLen => self.archive_len = value.number(),
            Field::ExtractLen => self.extract_len = value.number(),
            Field::ArchiveSha256 => self.archive_sha256 = value.text().and_then(|text| text.parse().ok()),
            Field::ImageSha256 => self.image_sha256 = value.text().and_then(|text| text.parse().ok()),
            Field::Architecture => {
                self.architecture = value.text().and_then(|text| match text.as_str() {
                    "armhf" => Some(Arch::Armhf),
                    "armv8" | "arm64" | "aarch64" => Some(Arch::Arm64),
                    _ => None,
                });
            }
            Field::Devices => {
                let words = value.texts().into_iter();
                self.devices = words.filter(|text| is_word(text)).take(DEVICES_MAX).collect();
            }
            Field::InitFormat => self.init_format = value.text().filter(|text| is_word(text)),
            Field::OsList | Field::Subitems | Field::SubitemsUrl => {}
        }
    }
}

/// A tag or the name of a format.
fn is_word(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'+');
    (1..=64).contains(&text.len()) && text.bytes().all(plain)
}

/// The keys that mean something to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    OsList,
    Subitems,
    SubitemsUrl,
    Name,
    Description,
    Url,
    ReleaseDate,
    ArchiveLen,
    ExtractLen,
    ArchiveSha256,
    ImageSha256,
    Architecture,
    Devices,
    InitFormat,
}

/// A key, `None` when it is none of them.
struct Key(Option<Field>);

impl<'de> serde::Deserialize<'de> for Key {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Keys;
        impl Visitor<'_> for Keys {
            type Value = Key;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a key")
            }

            fn visit_str<E>(self, key: &str) -> Result<Key, E> {
                Ok(Key(Some(match key {
                    "os_list" => Field::OsList,
                    "subitems" => Field::Subitems,
                    "subitems_url" => Field::SubitemsUrl,
                    "name" => Field::Name,
                    "description" => Field::Description,
                    "url" => Field::Url,
                    "release_date" => Field::ReleaseDate,
                    "image_download_size" => Field::ArchiveLen,
                    "extract_size" => Field::ExtractLen,
                    "image_download_sha256" => Field::ArchiveSha256,
                    "extract_sha256" => Field::ImageSha256,
                    "architecture" => Field::Architecture,
                    "devices" => Field::Devices,
                    "init_format" => Field::InitFormat,
                    _ => return Ok(Key(None)),
                })))
            }
        }
        deserializer.deserialize_str(Keys)
    }
}

/// A value of any type; only what can be of use is kept.
enum Value {
    Text(String),
    Number(u64),
    Texts(Vec<String>),
    Other,
}

impl Value {
    fn text(self) -> Option<String> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// A text that can be shown: no line breaks, nothing that a terminal obeys.
    fn line(self) -> Option<String> {
        let text = self.text()?;
        let shown: String = text.chars().map(|c| if is_shown(c) { c } else { ' ' }).collect();
        Some(shown.trim().to_owned())
    }

    fn number(self) -> Option<u64> {
        match self {
            Self::Number(number) => Some(number),
            _ => None,
        }
    }

    fn texts(self) -> Vec<String> {
        match self {
            Self::Texts(texts) => texts,
            _ => Vec::new(),
        }
    }
}

/// Neither a control character nor one that turns the direction of writing (UAX #9).
fn is_shown(c: char) -> bool {
    !c.is_control()
        && !matches!(c, '\u{200e}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

impl<'de> serde::Deserialize<'de> for Value {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Values { is_inside: false })
    }
}

/// Reads a value; `is_inside` an array, arrays are not kept.
struct Values {
    is_inside: bool,
}

impl<'de> DeserializeSeed<'de> for Values {
    type Value = Value;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Values {
    type Value = Value;

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(if text.len() <= TEXT_LEN_MAX { Value::Text(text.to_owned()) } else { Value::Other })
    }

    fn visit_u64<E>(self, number: u64) -> Result<Value, E> {
        Ok(Value::Number(number))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut texts = Vec::new();
        if self.is_inside {
            while seq.next_element::<IgnoredAny>()?.is_some() {}
            return Ok(Value::Other);
        }
        while let Some(value) = seq.next_element_seed(Values { is_inside: true })? {
            if let Value::Text(text) = value
                && texts.len() < DEVICES_MAX
            {
                texts.push(text);
            }
        }
        Ok(Value::Texts(texts))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Value, A::Error> {
        skip_map(map)?;
        Ok(Value::Other)
    }

    scalars_are!(Value::Other);
}

fn skip_map<'de, A: MapAccess<'de>>(mut map: A) -> Result<(), A::Error> {
    while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
    Ok(())
}

#[cfg(test)]
mod tests;
