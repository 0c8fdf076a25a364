//! The table against the reader: it knows the same keys, and takes every example.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use serde_json::{Map, Value};

use super::table::{PARAM, PROFILE, SETTINGS};
use super::{Key, Shape, Table, schema};
use crate::plan::profile::{Loaded, Surroundings, load};

/// Does the schema take this value? Everything but patterns, which an independent validator judges in `tests/oracle`.
pub(in super::super) fn judge(value: &Value) -> Result<(), String> {
    static SCHEMA: OnceLock<Value> = OnceLock::new();
    fits(SCHEMA.get_or_init(schema), value, "")
}

fn fits(schema: &Value, value: &Value, at: &str) -> Result<(), String> {
    static ROOT: OnceLock<Value> = OnceLock::new();
    let fault = |why: &str| Err(format!("{at}: {why}: {value}"));
    if let Some(to) = schema["$ref"].as_str() {
        return fits(ROOT.get_or_init(super::schema).pointer(&to[1..]).expect("a definition"), value, at);
    }
    let kind = match value {
        Value::Object(_) => "object",
        Value::Array(_) => "array",
        Value::String(_) => "string",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_i64() => "integer",
        _ => "other",
    };
    if schema["type"].as_str().is_some_and(|wanted| wanted != kind) {
        return fault("wrong type");
    }
    if schema.get("const").is_some_and(|only| only != value) {
        return fault("not the constant");
    }
    if schema["enum"].as_array().is_some_and(|words| !words.contains(value)) {
        return fault("not one of the words");
    }
    let (least, most) = (schema["minimum"].as_i64(), schema["maximum"].as_i64());
    if value
        .as_i64()
        .is_some_and(|number| least.is_some_and(|l| number < l) || most.is_some_and(|m| number > m))
    {
        return fault("out of range");
    }
    let passing = |name: &str| {
        let all = schema[name].as_array();
        all.map(|all| all.iter().filter(|one| fits(one, value, at).is_ok()).count())
    };
    if passing("anyOf") == Some(0) || passing("oneOf").is_some_and(|count| count != 1) {
        return fault("none of the choices");
    }
    for one in schema["allOf"].as_array().into_iter().flatten() {
        fits(one, value, at)?;
    }
    if schema.get("not").is_some_and(|not| fits(not, value, at).is_ok()) {
        return fault("forbidden together");
    }
    for item in value.as_array().into_iter().flatten() {
        schema.get("items").map_or(Ok(()), |items| fits(items, item, at))?;
    }
    let Value::Object(map) = value else { return Ok(()) };
    let has = |key: &Value| key.as_str().is_some_and(|key| map.contains_key(key));
    if schema["required"].as_array().is_some_and(|keys| !keys.iter().all(has)) {
        return fault("a key is missing");
    }
    let empty = Map::new();
    let dependencies = schema["dependencies"].as_object().unwrap_or(&empty);
    if dependencies
        .iter()
        .any(|(key, others)| map.contains_key(key) && !others.as_array().unwrap().iter().all(has))
    {
        return fault("a key lacks another");
    }
    for (key, inner) in map {
        let at = format!("{at}/{key}");
        match (schema["properties"].get(key), schema.get("additionalProperties")) {
            (Some(property), _) => fits(property, inner, &at)?,
            (None, Some(Value::Bool(false))) => return Err(format!("{at}: no such key")),
            (None, Some(other)) => fits(other, inner, &at)?,
            (None, None) => {}
        }
    }
    Ok(())
}

/// Everything the examples name.
struct World(String);

impl Surroundings for World {
    fn read_file(&self, path: &Path) -> io::Result<Vec<u8>> {
        let text = match path.to_str().unwrap_or_default() {
            "/p/cluster.toml" => &self.0,
            "/p/common.toml" => "schema = 1\n",
            "/p/docker.asc" => "-----BEGIN PGP PUBLIC KEY BLOCK-----\n",
            "/p/hello.sh" => "#!/bin/sh\n",
            "/home/me/.ssh/id_ed25519.pub" => {
                "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJd0aIeYmUpWpCrwV5VHP5ooJ+opZW9w9rgxGGHoHlzk me\n"
            }
            "/p/wifi.password" | "/p/pi.password" | "/p/motd" | "/p/motd.j2" => "correct horse\n",
            _ => return Err(io::ErrorKind::NotFound.into()),
        };
        Ok(text.as_bytes().to_vec())
    }

    fn names_in(&self, _: &Path) -> io::Result<Vec<(String, bool)>> {
        Err(io::ErrorKind::NotFound.into())
    }

    fn env(&self, name: &str) -> Option<String> {
        Some(if name.ends_with("PSK") { "a".repeat(64) } else { "correct horse".to_owned() })
    }

    fn home(&self) -> Option<PathBuf> {
        Some(PathBuf::from("/home/me"))
    }
}

fn read(profile: &str) -> Result<Loaded, BTreeMap<String, Option<String>>> {
    load(Path::new("/p/cluster.toml"), &World(profile.to_owned())).map_err(|faults| {
        faults
            .into_iter()
            .map(|fault| (fault.to_string(), miette::Diagnostic::help(&fault).map(|help| help.to_string())))
            .collect()
    })
}

/// The tables of the profile, each with a way to write a whole profile around a value of it.
fn each_table(visit: Visit<'_>) {
    let mut done = BTreeSet::new();
    walk_table(&PROFILE, &|value| value.to_owned(), &mut done, visit);
}

type Visit<'v> = &'v mut dyn FnMut(&'static Table, &dyn Fn(&str) -> String);

fn walk_table(
    table: &'static Table,
    wrap: &dyn Fn(&str) -> String,
    done: &mut BTreeSet<&'static str>,
    visit: Visit<'_>,
) {
    if !done.insert(table.name) {
        return;
    }
    visit(table, wrap);
    for key in table.all_keys() {
        let inside = |value: &str| wrap(&filled(table, Some((key, value))));
        walk(&key.shape, &inside, done, visit);
    }
}

fn walk(
    shape: &'static Shape,
    wrap: &dyn Fn(&str) -> String,
    done: &mut BTreeSet<&'static str>,
    visit: Visit<'_>,
) {
    match shape {
        Shape::Table(table) => walk_table(table, wrap, done, visit),
        Shape::List(item) | Shape::Array(item) | Shape::OneOrMany(item) => {
            walk(item, &|value| wrap(&format!("[{value}]")), done, visit);
        }
        // Every name in the table is also one of a recipe.
        Shape::Names(_, inner) => walk(inner, &|value| wrap(&format!("{{ docker = {value} }}")), done, visit),
        Shape::Either(shapes) => shapes.iter().for_each(|shape| walk(shape, wrap, done, visit)),
        Shape::Anything => walk(&PARAM, &|value| wrap(&format!("{{ a = {value} }}")), done, visit),
        _ => {}
    }
}

/// A value of the table that is sound: `chosen`, and what it cannot be without.
fn filled(table: &Table, chosen: Option<(&Key, &str)>) -> String {
    let name = chosen.map(|(key, _)| key.name);
    let is_needed = |key: &Key| match table.name {
        // What the reader wants when all layers are together.
        "profile" => ["schema", "image", "cluster", "node", "role"].contains(&key.name),
        "image" => key.name == "os",
        "cluster" => ["name", "subnet"].contains(&key.name),
        "wifi" => ["ssid", "country"].contains(&key.name),
        "node" => key.is_needed,
        // Only a suite that is a folder has none.
        "apt" if key.name == "components" => true,
        _ => key.is_needed || table.one_of.first() == Some(&key.name),
    };
    let alternatives = if table.one_of.is_empty() { table.at_most_one_of } else { table.one_of };
    // A key that needs another brings it along, and the other way round.
    let partner = table.with.and_then(|(from, to)| match name {
        Some(name) if name == from => Some(to),
        Some(name) if name == to => Some(from),
        _ => None,
    });
    let is_chosen = |key: &str| Some(key) == name || Some(key) == partner;
    let is_settled = alternatives.iter().any(|key| is_chosen(key));
    let mut pairs = Vec::new();
    for key in table.all_keys() {
        let partner = partner == Some(key.name);
        let replaced = is_settled && alternatives.contains(&key.name);
        match chosen {
            Some((one, value)) if one.name == key.name => pairs.push(format!("{} = {value}", key.name)),
            _ if partner || (is_needed(key) && !replaced) => {
                pairs.push(format!("{} = {}", key.name, key.example))
            }
            _ => {}
        }
    }
    if table.name == "profile" { pairs.join("\n") } else { format!("{{ {} }}", pairs.join(", ")) }
}

#[test]
fn the_reader_asks_for_the_keys_of_the_table_and_for_no_others() {
    let mut count = 0;
    each_table(&mut |table, wrap| {
        let mut value = filled(table, None);
        value = match value.strip_suffix('}') {
            Some(open) if open.len() > 3 => format!("{open}, zzzzzzzz = 1 }}"),
            Some(_) => "{ zzzzzzzz = 1 }".to_owned(),
            None => format!("zzzzzzzz = 1\n{value}"),
        };
        let faults = read(&wrap(&value)).expect_err("a key that nobody knows");
        let unknown = faults.iter().find(|(fault, _)| fault.contains("unknown key `zzzzzzzz`"));
        let help = unknown
            .and_then(|(_, help)| help.clone())
            .unwrap_or_else(|| panic!("{}: {faults:?}", table.name));
        let known: BTreeSet<&str> = help.strip_prefix("known here: ").unwrap().split(", ").collect();
        let mut described: BTreeSet<&str> = table.all_keys().map(|key| key.name).collect();
        if table.name == "first-boot" {
            // For recipes alone: in a profile it is a fault.
            described.insert("template");
        }
        assert_eq!(known, described, "{}", table.name);
        count += 1;
    });
    assert_eq!(count, 22, "tables");
}

#[test]
fn every_example_is_read_and_fits_the_schema() {
    let mut count = 0;
    each_table(&mut |table, wrap| {
        for key in table.all_keys() {
            // Those of `[defaults]`; a role takes the same.
            if table.name == "node" && SETTINGS.keys.iter().any(|other| other.name == key.name) {
                continue;
            }
            let profile = wrap(&filled(table, Some((key, key.example))));
            assert!(
                read(&profile).is_ok(),
                "{}.{}: {:?}\n{profile}",
                table.name,
                key.name,
                read(&profile).err()
            );
            assert_eq!(judge(&toml::from_str(&profile).unwrap()), Ok(()), "{profile}");
            if let Some(default) = key.default {
                let profile = wrap(&filled(table, Some((key, default))));
                assert!(read(&profile).is_ok(), "{}.{}: {:?}", table.name, key.name, read(&profile).err());
            }
            count += 1;
        }
    });
    assert!(count > 100, "{count}");
}

#[test]
fn what_keys_mean_together_is_in_the_schema_where_it_can_be() {
    let refused = |settings: &str| {
        let text = format!("schema = 1\n[defaults]\n{settings}");
        judge(&toml::from_str(&text).unwrap()).is_err()
    };
    assert!(!refused("file = [{ path = '/a', content = '' }]"));
    assert!(refused("file = [{ path = '/a' }]"));
    assert!(refused("file = [{ path = '/a', content = '', source = 'b' }]"));
    assert!(refused("wifi = { passphrase = { env = 'A' }, psk = { env = 'B' } }"));
    assert!(refused("user.pi.password = { locked = false }"));
    assert!(refused("user.pi.password = 'hunter2'"));
    assert!(refused("apt = [{ name = 'a', url = 'https://a', suite = './', key-url = 'https://a/k' }]"));
    assert!(refused("cmdline.add = { replace = ['a'], more = 1 }"));
    assert!(!refused("cmdline.add = { replace = ['a'] }"));
    assert!(!refused("config-txt.all = { a = 1, b = true, c = ['d', 1], e = { remove = true } }"));
    assert!(refused("config-txt.a = 1"));
    assert!(!refused("sysctl = { net.ipv4.ip_forward = 1, 'vm.swappiness' = '1' }"));
    assert!(refused("sysctl = { vm.swappiness = true }"));
    assert!(refused("recipe.docker.users = [1]"));
}

#[test]
fn the_page_that_is_committed_is_the_one_of_the_table() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/profile.md");
    if std::env::var("CARDPRESS_SNAPSHOTS").as_deref() == Ok("write") {
        std::fs::write(&path, super::reference()).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == super::reference(),
        "docs/profile.md is old; `cardpress schema --markdown > docs/profile.md` writes it anew"
    );
}
