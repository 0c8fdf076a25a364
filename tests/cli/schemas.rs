//! The schemas of `docs/schema` themselves: complete, alike, told of by the page, and no rubber stamp.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::support::docs::pages;
use crate::support::schemas::{all, judge};
use crate::support::world::World;

/// What a schema says of objects, at its top: of one, of those in an array, of either.
fn top_keys(schema: &Value) -> BTreeSet<String> {
    let mut keys = BTreeSet::new();
    keys.extend(schema["properties"].as_object().into_iter().flat_map(|all| all.keys().cloned()));
    keys.extend(schema.get("items").into_iter().flat_map(top_keys));
    let ways = ["oneOf", "anyOf"].iter().filter_map(|word| schema[*word].as_array()).flatten();
    keys.extend(ways.flat_map(top_keys));
    keys
}

/// Every object in a schema: where it is, and what is said of it.
fn objects<'s>(schema: &'s Value, place: &str, all: &mut Vec<(String, &'s Value)>) {
    if schema["properties"].is_object() {
        all.push((place.to_owned(), schema));
    }
    let below: Vec<(String, &Value)> = match schema {
        Value::Object(map) => map.iter().map(|(key, value)| (key.clone(), value)).collect(),
        Value::Array(list) => list.iter().enumerate().map(|(nth, value)| (nth.to_string(), value)).collect(),
        _ => Vec::new(),
    };
    below.into_iter().for_each(|(key, value)| objects(value, &format!("{place}/{key}"), all));
}

/// The words between backquotes that could be keys.
fn words(text: &str) -> BTreeSet<String> {
    let is_key = |word: &&str| {
        !word.is_empty() && word.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
    };
    text.split('`').skip(1).step_by(2).filter(is_key).map(str::to_owned).collect()
}

#[test]
fn the_page_names_the_keys_of_the_schemas() {
    let schemas = all();
    let page = pages().into_iter().find(|page| page.name == "docs/json.md").unwrap();
    let rows: Vec<Vec<&str>> =
        page.text.lines().map(|line| line.split('|').map(str::trim).collect()).collect();
    let rows = || rows.iter().filter(|row| row.len() == 5);

    let mut found = BTreeSet::new();
    for row in rows() {
        let Some((_, name)) = row[2].split_once("](schema/") else { continue };
        let name = name.strip_suffix(".json)").unwrap_or_else(|| panic!("{}", row[2]));
        let verb = row[1].trim_matches('`').replace(" IMAGE ", "-").replace(" DIR", "").replace(' ', "-");
        assert_eq!((name, row[2]), (verb.as_str(), format!("[{name}](schema/{name}.json)").as_str()));
        let schema = schemas.get(name).unwrap_or_else(|| panic!("no schema {name}"));
        let (named, top) = (words(row[3]), top_keys(schema));
        assert!(top.is_subset(&named), "{name}: the page leaves out {:?}", top.difference(&named));
        let mut everywhere = Vec::new();
        objects(schema, "", &mut everywhere);
        let known: BTreeSet<String> = everywhere.iter().flat_map(|(_, object)| top_keys(object)).collect();
        assert!(named.is_subset(&known), "{name}: the schema has no {:?}", named.difference(&known));
        found.insert(name.to_owned());
    }
    found.insert("events".to_owned());
    assert_eq!(found, schemas.keys().cloned().collect());

    for event in schemas["events"]["oneOf"].as_array().unwrap() {
        let name = event["properties"]["event"]["const"].as_str().unwrap();
        let row =
            rows().find(|row| words(row[1]).contains(name)).unwrap_or_else(|| panic!("no row of {name}"));
        let mut keys = top_keys(event);
        keys.retain(|key| key != "v" && key != "event");
        let named = words(row[3]);
        assert_eq!(named, keys, "{name}");
    }
}

#[test]
fn the_schemas_are_complete_alike_and_open() {
    let mut definitions: BTreeMap<String, (String, Value)> = BTreeMap::new();
    for (name, schema) in all() {
        assert_eq!(schema["$schema"], "http://json-schema.org/draft-07/schema#", "{name}");
        assert!(schema["title"].is_string(), "{name}");
        // In its own words, or in those of the definition that it names, perhaps beside null.
        let described = |told: &Value| {
            let named = told["$ref"].as_str().or(told["anyOf"][0]["$ref"].as_str());
            let named = named.and_then(|place| schema.pointer(place.strip_prefix('#')?));
            told["description"].is_string() || named.is_some_and(|told| told["description"].is_string())
        };
        let mut everywhere = Vec::new();
        objects(&schema, "", &mut everywhere);
        for (place, object) in everywhere {
            let place = format!("{name}.json#{place}");
            assert!(object.get("additionalProperties").is_none(), "{place} is closed to what may come");
            assert_eq!(object["type"], "object", "{place}");
            let required =
                object["required"].as_array().unwrap_or_else(|| panic!("{place} requires nothing"));
            for key in required {
                assert!(object["properties"].get(key.as_str().unwrap()).is_some(), "{place}: {key}");
            }
            for (key, told) in object["properties"].as_object().unwrap() {
                assert!(described(told), "{place}: nobody knows what `{key}` is");
            }
        }
        // An object that is all there is has its version.
        if schema["type"] == "object" && !name.starts_with("fs-") {
            assert_eq!(schema["properties"]["schema"]["const"], 1, "{name}");
        }
        for (word, told) in schema["definitions"].as_object().into_iter().flatten() {
            let first = definitions.entry(word.clone()).or_insert_with(|| (name.clone(), told.clone()));
            let is_event = name == "events" || first.0 == "events";
            assert!(is_event || first.1 == *told, "`{word}` is not the same in {name} and {}", first.0);
        }
    }
}

#[test]
fn a_key_too_many_a_key_too_few_and_a_number_as_text_do_not_fit() {
    let good = json!({ "schema": 1, "images": [], "leftovers": 2, "disk_bytes": 3 });
    let spoilt = |key: &str, value: Option<Value>| {
        let mut document = good.clone();
        match value {
            Some(value) => drop(document.as_object_mut().unwrap().insert(key.to_owned(), value)),
            None => drop(document.as_object_mut().unwrap().remove(key)),
        }
        document
    };
    let documents = vec![
        good.clone(),
        spoilt("more", Some(1.into())),
        spoilt("leftovers", None),
        spoilt("disk_bytes", Some("3".into())),
        spoilt("images", Some(json!([{ "origin": "x" }]))),
    ];
    let verdicts = judge(&World::new(), &[("cache-prune", documents)].into());
    let faults = &verdicts["cache-prune"].faults;
    for (nth, wanted) in
        [(1, "'more' was unexpected"), (2, "'leftovers' is a required"), (3, "'3' is not of type")]
    {
        let said = faults.iter().filter(|fault| fault.starts_with(&format!("cache-prune: document {nth}: ")));
        assert!(said.clone().count() == 1 && said.clone().all(|fault| fault.contains(wanted)), "{faults:?}");
    }
    assert!(!faults.iter().any(|fault| fault.contains("document 0")), "{faults:?}");
    assert_eq!(faults.iter().filter(|fault| fault.contains("document 4")).count(), 8, "{faults:?}");
    assert!(verdicts["cache-prune"].unseen.iter().any(|(_, key)| key == "signed_by"));
}
