//! One layer of settings: what `[defaults]`, a `[role.NAME]` or a `[[node]]` says, before it is merged.

use std::net::IpAddr;

use super::super::cluster::{
    AptSource, DirectorySetting, Download, FileSetting, FirstBootScript, FstabLine, HostsLine, Keyboard,
    Password, Sudo, SymlinkSetting, WifiKey,
};
use super::account;
use super::apt;
use super::network::{self, AddressWords};
use super::reader::{Fields, List, Reader};
use super::recipe::{self, ParamLayer};
use super::tree;
use super::value::{At, Kind, Value};
use super::word::{self, Wrong};
use crate::base::ImagePath;

/// Settings of one layer. Absent means: as the earlier layers say.
#[derive(Clone, Debug, Default, PartialEq)]
pub(in super::super) struct Layer {
    pub(super) recipes: List<String>,
    pub(super) params: Vec<At<ParamLayer>>,
    pub(super) timezone: Option<At<String>>,
    pub(super) locale: Option<At<String>>,
    pub(super) keyboard: Option<At<Keyboard>>,
    pub(super) ssh_enable: Option<At<bool>>,
    pub(super) ssh_password_login: Option<At<bool>>,
    pub(super) cmdline_add: List<String>,
    pub(super) cmdline_remove: List<String>,
    pub(super) config_txt: Vec<At<ConfigSetting>>,
    pub(super) users: Vec<At<UserLayer>>,
    pub(super) interface: Option<At<String>>,
    pub(super) gateways: Option<Vec<At<IpAddr>>>,
    pub(super) dns: List<IpAddr>,
    pub(super) search: List<String>,
    pub(super) wifi: Option<At<WifiLayer>>,
    pub(super) hosts: List<HostsLine>,
    pub(super) files: List<FileSetting>,
    pub(super) directories: List<DirectorySetting>,
    pub(super) symlinks: List<SymlinkSetting>,
    pub(super) removals: List<ImagePath>,
    pub(super) fstab: List<FstabLine>,
    pub(super) units_enable: List<String>,
    pub(super) units_disable: List<String>,
    pub(super) units_mask: List<String>,
    pub(super) sysctl: Vec<At<(String, String)>>,
    pub(super) modules: List<String>,
    pub(super) downloads: List<Download>,
    pub(super) apt: List<AptSource>,
    pub(super) packages: List<String>,
    pub(super) first_boot: List<FirstBootScript>,
}

/// What a layer says of one key of config.txt under one filter.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct ConfigSetting {
    pub(super) filter: String,
    pub(super) key: String,
    pub(super) value: ConfigValue,
}

/// Its values.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum ConfigValue {
    /// `key = value`, or `{ replace = […] }`: takes the place of what earlier layers say.
    These(Vec<String>),
    /// `key = […]`: more lines with this key.
    More(Vec<String>),
    /// `{ remove = true }`: no line with this key, neither of the image nor of earlier layers.
    Remove,
}

/// `[user.NAME]` of one layer.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct UserLayer {
    pub(super) name: String,
    pub(super) password: Option<At<Password>>,
    pub(super) ssh_keys: List<String>,
    pub(super) groups: List<String>,
    pub(super) shell: Option<At<String>>,
    pub(super) sudo: Option<At<Sudo>>,
    pub(super) uid: Option<At<u32>>,
    pub(super) full_name: Option<At<String>>,
}

/// `[wifi]` of one layer.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct WifiLayer {
    pub(super) ssid: Option<At<String>>,
    pub(super) key: Option<At<WifiKey>>,
    pub(super) hidden: Option<At<bool>>,
    pub(super) country: Option<At<String>>,
    pub(super) address: Option<AddressWords>,
}

/// Reads every setting of a layer out of `fields`; keys that are no settings stay unasked.
pub(super) fn read(reader: &mut Reader<'_>, fields: &mut Fields<'_>) -> Layer {
    let mut layer = Layer {
        timezone: fields.get("timezone").and_then(|value| reader.word(value, word::timezone)),
        locale: fields.get("locale").and_then(|value| reader.word(value, word::locale)),
        keyboard: fields.get("keyboard").and_then(|value| keyboard(reader, value)),
        ..Layer::default()
    };
    if let Some(value) = fields.get("ssh") {
        ssh(reader, value, &mut layer);
    }
    if let Some(value) = fields.get("cmdline") {
        cmdline(reader, value, &mut layer);
    }
    if let Some(value) = fields.get("config-txt") {
        layer.config_txt = config_txt(reader, value);
    }
    if let Some(value) = fields.get("user") {
        layer.users = account::users(reader, value);
    }
    network::read(reader, fields, &mut layer);
    tree::read(reader, fields, &mut layer);
    if let Some(value) = fields.get("service") {
        service(reader, value, &mut layer);
    }
    if let Some(value) = fields.get("sysctl") {
        sysctl(reader, value, "", &mut layer.sysctl);
    }
    layer.modules = words(reader, fields.get("module"), word::module);
    apt::read(reader, fields, &mut layer);
    layer.packages = words(reader, fields.get("package"), word::package);
    if let Some(value) = fields.get("first-boot") {
        layer.first_boot = reader.list(value, tree::first_boot);
        distinct(reader, &layer.first_boot.items, |script| script.name.clone());
    }
    recipe::read(reader, fields, &mut layer);
    layer
}

/// A list of words.
pub(super) fn words<T: PartialEq>(
    reader: &mut Reader<'_>,
    value: Option<&Value>,
    read: fn(&str) -> Result<T, Wrong>,
) -> List<T> {
    value.map_or_else(List::default, |value| {
        reader.list(value, |reader, item| reader.word(item, read)).once_each()
    })
}

/// Within one layer nothing is said twice: the second time would silently win.
pub(super) fn distinct<T>(reader: &mut Reader<'_>, items: &[At<T>], name: impl Fn(&T) -> String) {
    let mut seen = std::collections::BTreeSet::new();
    for item in items {
        let name = name(&item.value);
        if seen.contains(&name) {
            reader.fault(&item.place, format!("found `{name}` a second time in one layer"));
        }
        seen.insert(name);
    }
}

fn keyboard(reader: &mut Reader<'_>, value: &Value) -> Option<At<Keyboard>> {
    if !matches!(value.kind, Kind::Table(_)) {
        let layout = reader.word(value, word::xkb)?;
        let keyboard =
            |layout| Keyboard { layout, model: None, variant: String::new(), options: String::new() };
        return Some(layout.map(keyboard));
    }
    let mut fields = reader.table(value)?;
    let layout = fields.need(reader, "layout").and_then(|value| reader.word(value, word::xkb));
    let mut other = |reader: &mut Reader<'_>, key| {
        fields.get(key).and_then(|value| reader.word(value, word::xkb)).map(|word| word.value)
    };
    let model = other(reader, "model");
    let variant = other(reader, "variant").unwrap_or_default();
    let options = other(reader, "options").unwrap_or_default();
    fields.finish(reader);
    Some(At {
        value: Keyboard { layout: layout?.value, model, variant, options },
        place: value.place.clone(),
    })
}

fn ssh(reader: &mut Reader<'_>, value: &Value, layer: &mut Layer) {
    let Some(mut fields) = reader.table(value) else { return };
    layer.ssh_enable = fields.get("enable").and_then(|value| reader.flag(value));
    layer.ssh_password_login = fields.get("password-login").and_then(|value| reader.flag(value));
    fields.finish(reader);
}

fn cmdline(reader: &mut Reader<'_>, value: &Value, layer: &mut Layer) {
    let Some(mut fields) = reader.table(value) else { return };
    layer.cmdline_add = words(reader, fields.get("add"), word::cmdline_token);
    layer.cmdline_remove = words(reader, fields.get("remove"), word::cmdline_token);
    fields.finish(reader);
    for token in &layer.cmdline_add.items {
        if layer.cmdline_remove.items.iter().any(|removed| removes(&removed.value, &token.value)) {
            reader
                .fault(&token.place, format!("`{}` is both added and removed in one layer", token.value))
                .help("leave it out of `cmdline.add` or of `cmdline.remove`");
        }
    }
}

/// Whether removing `removed` takes `token` away: the same token, or its bare key.
pub(super) fn removes(removed: &str, token: &str) -> bool {
    removed == token || token.split_once('=').is_some_and(|(key, _)| key == removed)
}

fn config_txt(reader: &mut Reader<'_>, value: &Value) -> Vec<At<ConfigSetting>> {
    let mut settings = Vec::new();
    let Some(filters) = reader.table(value) else { return settings };
    for filter in filters.all() {
        let name = reader.judge(&filter.key.place, word::config_filter(&filter.key.value));
        if !matches!(filter.value.kind, Kind::Table(_)) {
            reader
                .wrong_kind(&filter.value, "a table: the settings under this filter")
                .help(format!("write `all = {{ {} = … }}` for every model", filter.key.value));
            continue;
        }
        let Some(keys) = reader.table(&filter.value) else { continue };
        for entry in keys.all() {
            let key = reader.judge(&entry.key.place, word::config_key(&entry.key.value));
            let value = config_value(reader, &entry.value);
            if let (Some(filter), Some(key), Some(value)) = (&name, key, value) {
                let setting = ConfigSetting { filter: filter.value.clone(), key: key.value, value };
                settings.push(At { value: setting, place: entry.key.place.clone() });
            }
        }
    }
    settings
}

fn config_value(reader: &mut Reader<'_>, value: &Value) -> Option<ConfigValue> {
    match &value.kind {
        Kind::Array(_) => {
            let list = reader.list(value, config_line);
            Some(ConfigValue::More(list.items.into_iter().map(|item| item.value).collect()))
        }
        Kind::Table(_) if value.get("remove").is_some() => {
            let mut fields = reader.table(value)?;
            let remove = fields.get("remove").and_then(|value| reader.flag(value));
            fields.finish(reader);
            if remove.as_ref().is_some_and(|remove| !remove.value) {
                reader.fault(&value.place, "found `remove = false`, wanted `remove = true` or a value");
            }
            Some(ConfigValue::Remove)
        }
        Kind::Table(_) if value.get("replace").is_some() => {
            let list = reader.list(value, config_line);
            Some(ConfigValue::These(list.items.into_iter().map(|item| item.value).collect()))
        }
        Kind::Table(_) => {
            reader
                .wrong_kind(value, "a string, an integer, a boolean, or a list of them")
                .help("or `{ remove = true }`, which takes every line of the key out");
            None
        }
        _ => config_line(reader, value).map(|line| ConfigValue::These(vec![line.value])),
    }
}

fn config_line(reader: &mut Reader<'_>, value: &Value) -> Option<At<String>> {
    let text = match &value.kind {
        Kind::Text(_) => return reader.word(value, word::line),
        Kind::Integer(Some(number)) => number.to_string(),
        Kind::Flag(flag) => u8::from(*flag).to_string(),
        _ => {
            reader.wrong_kind(value, "a string, an integer or a boolean");
            return None;
        }
    };
    Some(At { value: text, place: value.place.clone() })
}

fn service(reader: &mut Reader<'_>, value: &Value, layer: &mut Layer) {
    let Some(mut fields) = reader.table(value) else { return };
    layer.units_enable = words(reader, fields.get("enable"), word::unit);
    layer.units_disable = words(reader, fields.get("disable"), word::unit);
    layer.units_mask = words(reader, fields.get("mask"), word::unit);
    fields.finish(reader);
    for unit in &layer.units_enable.items {
        for (others, verb) in [(&layer.units_disable, "disabled"), (&layer.units_mask, "masked")] {
            if others.items.contains(unit) {
                let message = format!("`{}` is both enabled and {verb} in one layer", unit.value);
                reader.fault(&unit.place, message);
            }
        }
    }
}

/// `"net.ipv4.ip_forward" = 1`, or the same without quotes, which TOML reads as nested tables.
fn sysctl(reader: &mut Reader<'_>, value: &Value, before: &str, found: &mut Vec<At<(String, String)>>) {
    let Some(fields) = reader.table(value) else { return };
    for entry in fields.all() {
        let key = format!("{before}{}", entry.key.value);
        let text = match &entry.value.kind {
            Kind::Table(_) => {
                sysctl(reader, &entry.value, &format!("{key}."), found);
                continue;
            }
            Kind::Integer(Some(number)) => Some(number.to_string()),
            Kind::Text(_) => reader.word(&entry.value, word::line).map(|line| line.value),
            Kind::Flag(flag) => {
                let help = format!("write {}", u8::from(*flag));
                reader.wrong_kind(&entry.value, "a string or an integer").help(help);
                None
            }
            _ => {
                reader.wrong_kind(&entry.value, "a string or an integer");
                None
            }
        };
        let key = reader.judge(&entry.key.place, word::sysctl_key(&key));
        if let (Some(key), Some(text)) = (key, text) {
            found.push(key.map(|key| (key, text)));
        }
    }
}
