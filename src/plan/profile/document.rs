//! One file of a profile, and all it extends.

use std::net::IpAddr;
use std::path::{Component, Path, PathBuf};

use ipnet::IpNet;
use toml::de::DeTable;

use super::super::cluster::{Growth, ImageSource};
use super::layer::{self, Layer, words};
use super::merge::{appended, newer};
use super::network::{self, AddressWords, is_v4_net, one_per_family};
use super::reader::{List, Reader};
use super::value::{At, Kind, Place, Value};
use super::word::{self, Wrong};
use crate::base::{ByteLen, Sha256Digest};

/// How far `extends` may lead, and to how many files in all.
const MOST_DEEP: usize = 16;
const MOST_FILES: usize = 64;

/// What a file says, or a file and all it extends.
#[derive(Default)]
pub(super) struct Document {
    pub(super) image: ImageLayer,
    pub(super) cluster: ClusterLayer,
    pub(super) defaults: Layer,
    pub(super) roles: Vec<(At<String>, Layer)>,
    pub(super) nodes: Vec<NodeEntry>,
    /// There is a `node`, sound or not.
    pub(super) has_nodes: bool,
}

#[derive(Default)]
pub(super) struct ImageLayer {
    pub(super) source: Option<At<ImageSource>>,
    /// There is an `os`, `url` or `path`, sound or not.
    pub(super) is_named: bool,
    pub(super) sha256: Option<At<Sha256Digest>>,
    pub(super) signed_by: Option<At<PathBuf>>,
    pub(super) grow: Option<At<Growth>>,
    pub(super) place: Option<Place>,
}

#[derive(Default)]
pub(super) struct ClusterLayer {
    pub(super) name: Option<At<String>>,
    /// There is a `name`, sound or not.
    pub(super) is_named: bool,
    pub(super) domain: Option<At<String>>,
    pub(super) subnets: Option<Vec<At<IpNet>>>,
    pub(super) gateways: Option<Vec<At<IpAddr>>>,
    pub(super) dns: List<IpAddr>,
    pub(super) ssh_between_nodes: Option<At<bool>>,
    pub(super) place: Option<Place>,
}

/// A `[[node]]`, which a range makes several.
pub(super) struct NodeEntry {
    pub(super) name: Option<At<super::range::Pattern>>,
    pub(super) role: Option<At<String>>,
    pub(super) address: Option<AddressWords>,
    pub(super) settings: Layer,
}

impl Document {
    /// This file with `later` over it.
    fn under(self, later: Self) -> Self {
        let mut roles = self.roles;
        for (name, settings) in later.roles {
            match roles.iter_mut().find(|(known, _)| *known == name) {
                Some((_, under)) => *under = std::mem::take(under).under(&settings),
                None => roles.push((name, settings)),
            }
        }
        let mut nodes = self.nodes;
        nodes.extend(later.nodes);
        Self {
            image: self.image.under(later.image),
            cluster: self.cluster.under(later.cluster),
            defaults: self.defaults.under(&later.defaults),
            roles,
            nodes,
            has_nodes: self.has_nodes || later.has_nodes,
        }
    }
}

impl ImageLayer {
    /// The digest belongs to the image: a file that names another image forgets the earlier digest. The key belongs to
    /// who publishes it: once asked for, a signature is asked for until another key is named.
    fn under(self, later: Self) -> Self {
        let sha256 = if later.source.is_some() { later.sha256 } else { later.sha256.or(self.sha256) };
        Self {
            source: later.source.or(self.source),
            is_named: self.is_named || later.is_named,
            sha256,
            signed_by: later.signed_by.or(self.signed_by),
            grow: later.grow.or(self.grow),
            place: later.place.or(self.place),
        }
    }
}

impl ClusterLayer {
    fn under(self, later: Self) -> Self {
        Self {
            name: newer(self.name, &later.name),
            is_named: self.is_named || later.is_named,
            domain: newer(self.domain, &later.domain),
            subnets: newer(self.subnets, &later.subnets),
            gateways: newer(self.gateways, &later.gateways),
            dns: appended(self.dns, &later.dns),
            ssh_between_nodes: newer(self.ssh_between_nodes, &later.ssh_between_nodes),
            place: newer(self.place, &later.place),
        }
    }
}

/// The files read so far, and those on the way from the profile to the one being read.
#[derive(Default)]
struct Road {
    done: Vec<PathBuf>,
    open: Vec<PathBuf>,
}

/// Reads `path` and all it extends into one.
pub(super) fn read(reader: &mut Reader<'_>, path: &Path) -> Document {
    let source = match text_of(reader, path) {
        Ok(text) => reader.add_source(path, text),
        Err(reason) => {
            let source = reader.add_source(path, String::new());
            reader
                .fault(&Place { file: source, span: 0..0 }, format!("cannot read the profile: {reason}"))
                .help(format!(
                    "a profile is a text file (TOML); `cardpress init {}` writes one to begin with",
                    own_name(path)
                ));
            reader.incomplete = true;
            return Document::default();
        }
    };
    read_source(reader, path, source, &mut Road::default())
}

/// The path itself where a new profile could have it, else any.
fn own_name(path: &Path) -> std::borrow::Cow<'_, str> {
    let is_toml = path.extension().is_some_and(|extension| extension == "toml");
    if is_toml { path.to_string_lossy() } else { "FILE.toml".into() }
}

fn text_of(reader: &mut Reader<'_>, path: &Path) -> Result<String, String> {
    let bytes = reader.read(path).map_err(|error| error.to_string())?;
    String::from_utf8(bytes)
        .map_err(|error| format!("not UTF-8 text from byte {} on", error.utf8_error().valid_up_to()))
}

fn read_source(reader: &mut Reader<'_>, path: &Path, source: usize, road: &mut Road) -> Document {
    road.open.push(tidy(path));
    road.done.push(tidy(path));
    let document = match parse(reader, source) {
        Some(whole) => read_document(reader, &whole, road),
        None => {
            reader.incomplete = true;
            Document::default()
        }
    };
    road.open.pop();
    document
}

/// The TOML of a source; `None` after the faults of one that is none.
pub(super) fn parse(reader: &mut Reader<'_>, source: usize) -> Option<Value> {
    let text = reader.source_text(source);
    let (document, errors) = DeTable::parse_recoverable(&text);
    if errors.is_empty() {
        let whole = Value::of_document(source, document);
        reader.hide_by_keys(&whole);
        return Some(whole);
    }
    reader.hide_by_lines(source);
    for error in errors {
        let span = error.span().unwrap_or(0..0);
        let message = format!("not TOML: {}", error.message());
        reader.fault(&Place { file: source, span }, message);
    }
    None
}

fn read_document(reader: &mut Reader<'_>, whole: &Value, road: &mut Road) -> Document {
    let Some(mut fields) = reader.table(whole) else { return Document::default() };
    match fields.get("schema") {
        Some(Value { kind: Kind::Integer(Some(1)), .. }) => {}
        Some(Value { kind: Kind::Integer(Some(number)), place, .. }) => {
            reader
                .fault(place, format!("found schema {number}, wanted 1"))
                .help("a newer profile needs a newer cardpress");
            reader.incomplete = true;
            return Document::default();
        }
        Some(value) => {
            reader.wrong_kind(value, "1");
            reader.incomplete = true;
            return Document::default();
        }
        None => {
            reader
                .fault(&whole.place, "found no `schema`, wanted `schema = 1`")
                .help("begin the profile with `schema = 1`");
        }
    }
    let extended = fields.get("extends").map(|value| extends(reader, value, road)).unwrap_or_default();
    let own = Document {
        image: fields.get("image").map(|value| image(reader, value)).unwrap_or_default(),
        cluster: fields.get("cluster").map(|value| cluster(reader, value)).unwrap_or_default(),
        defaults: fields.get("defaults").map(|value| settings(reader, value)).unwrap_or_default(),
        roles: fields.get("role").map(|value| roles(reader, value)).unwrap_or_default(),
        nodes: fields.get("node").map(|value| nodes(reader, value)).unwrap_or_default(),
        has_nodes: whole
            .get("node")
            .is_some_and(|value| !matches!(&value.kind, Kind::Array(items) if items.is_empty())),
    };
    fields.finish(reader);
    extended.under(own)
}

fn extends(reader: &mut Reader<'_>, value: &Value, road: &mut Road) -> Document {
    let names = reader.one_or_many(value, |reader, item| reader.text(item));
    let mut all = Document::default();
    for name in names {
        if let Some(document) = extend(reader, &name, road) {
            all = all.under(document);
        }
    }
    all
}

fn extend(reader: &mut Reader<'_>, name: &At<String>, road: &mut Road) -> Option<Document> {
    let path = reader.local_path(name)?;
    let tidied = tidy(&path);
    if road.open.contains(&tidied) {
        reader
            .fault(&name.place, format!("`{}` extends itself", path.display()))
            .help("leave out one of the `extends` that make the circle");
        return None;
    }
    // Reached by two roads: it was laid down when it was met first.
    if road.done.contains(&tidied) {
        return None;
    }
    if road.open.len() >= MOST_DEEP || road.done.len() >= MOST_FILES {
        let message =
            format!("found too many `extends`, wanted at most {MOST_DEEP} deep and {MOST_FILES} files");
        reader.fault(&name.place, message);
        return None;
    }
    match text_of(reader, &path) {
        Ok(text) => {
            let source = reader.add_source(&path, text);
            Some(read_source(reader, &path, source, road))
        }
        Err(reason) => {
            reader.incomplete = true;
            reader
                .fault(&name.place, format!("cannot read `{}`: {reason}", path.display()))
                .help("a relative path begins at the folder of the file that names it");
            None
        }
    }
}

/// The path without `.` and `..`, by its text alone.
#[must_use]
pub fn tidy(path: &Path) -> PathBuf {
    let mut tidied = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir if matches!(tidied.components().next_back(), Some(Component::Normal(_))) => {
                tidied.pop();
            }
            part => tidied.push(part),
        }
    }
    tidied
}

fn image(reader: &mut Reader<'_>, value: &Value) -> ImageLayer {
    let mut image = ImageLayer { place: Some(value.place.clone()), ..ImageLayer::default() };
    let Some(mut fields) = reader.table(value) else { return image };
    let named = ["os", "url", "path"].iter().filter(|key| value.get(key).is_some()).count();
    image.is_named = named > 0;
    if image.is_named {
        let entry = fields.need_one_of(reader, &["os", "url", "path"]);
        image.source = entry.and_then(|entry| image_source(reader, &entry.key.value, &entry.value));
    } else {
        // An extended file may name it.
        for key in ["os", "url", "path"] {
            fields.get(key);
        }
    }
    image.sha256 = fields.get("sha256").and_then(|value| reader.word(value, word::sha256));
    image.signed_by = fields.get("signed-by").and_then(|value| local_path(reader, value));
    image.grow = fields.get("grow").and_then(|value| reader.word(value, grow));
    fields.finish(reader);
    image
}

fn image_source(reader: &mut Reader<'_>, key: &str, value: &Value) -> Option<At<ImageSource>> {
    match key {
        "os" => Some(reader.word(value, word::image_name)?.map(ImageSource::Os)),
        "url" => Some(reader.word(value, url)?.map(ImageSource::Url)),
        _ => Some(local_path(reader, value)?.map(ImageSource::Path)),
    }
}

fn local_path(reader: &mut Reader<'_>, value: &Value) -> Option<At<PathBuf>> {
    let text = reader.text(value)?;
    let path = reader.local_path(&text)?;
    Some(At { value: path, place: text.place })
}

fn url(text: &str) -> Result<String, Wrong> {
    word::url(text).map_err(|wrong| wrong.help("a file on this machine goes under `path`"))
}

fn grow(text: &str) -> Result<Growth, Wrong> {
    if text == "card" {
        return Ok(Growth::Card);
    }
    match text.parse::<ByteLen>() {
        Ok(ByteLen(0)) => Err(Wrong::found(text, "a size above 0")),
        Ok(len) => Ok(Growth::To(len)),
        Err(error) => Err(Wrong::new(error.to_string())
            .help("a size of the image, or `card` to fill the card when flashing")),
    }
}

fn cluster(reader: &mut Reader<'_>, value: &Value) -> ClusterLayer {
    let mut cluster = ClusterLayer { place: Some(value.place.clone()), ..ClusterLayer::default() };
    let Some(mut fields) = reader.table(value) else { return cluster };
    cluster.is_named = value.get("name").is_some();
    cluster.name = fields.get("name").and_then(|value| reader.word(value, word::folder_name));
    cluster.domain = fields.get("domain").and_then(|value| reader.word(value, word::domain));
    cluster.subnets =
        fields.get("subnet").map(|value| one_per_family(reader, value, word::network, is_v4_net));
    cluster.gateways = fields
        .get("gateway")
        .map(|value| one_per_family(reader, value, word::address, |address: &IpAddr| address.is_ipv4()));
    cluster.dns = words(reader, fields.get("dns"), word::address);
    cluster.ssh_between_nodes = fields.get("ssh-between-nodes").and_then(|value| reader.flag(value));
    fields.finish(reader);
    cluster
}

fn settings(reader: &mut Reader<'_>, value: &Value) -> Layer {
    let Some(mut fields) = reader.table(value) else { return Layer::default() };
    let layer = layer::read(reader, &mut fields);
    fields.finish(reader);
    layer
}

fn roles(reader: &mut Reader<'_>, value: &Value) -> Vec<(At<String>, Layer)> {
    let Some(fields) = reader.table(value) else { return Vec::new() };
    let mut roles = Vec::new();
    for entry in fields.all() {
        reader.judge(&entry.key.place, word::plain_name(&entry.key.value));
        roles.push((entry.key.clone(), settings(reader, &entry.value)));
    }
    roles
}

fn nodes(reader: &mut Reader<'_>, value: &Value) -> Vec<NodeEntry> {
    let Kind::Array(items) = &value.kind else {
        reader.wrong_kind(value, "an array of tables").help("write `[[node]]` with two brackets");
        return Vec::new();
    };
    items.iter().filter_map(|item| node(reader, item)).collect()
}

fn node(reader: &mut Reader<'_>, value: &Value) -> Option<NodeEntry> {
    let mut fields = reader.table(value)?;
    let node = NodeEntry {
        name: fields.need(reader, "name").and_then(|value| reader.word(value, super::range::Pattern::parse)),
        role: fields.get("role").and_then(|value| reader.text(value)),
        address: fields.get("address").and_then(|value| network::address_words(reader, value)),
        settings: layer::read(reader, &mut fields),
    };
    fields.finish(reader);
    Some(node)
}
