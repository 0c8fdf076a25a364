//! The table as JSON Schema.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::table::{PARAM, PROFILE};
use super::{Key, Shape, Table};

/// The JSON Schema (draft-07) of a profile.
#[must_use]
pub fn schema() -> Value {
    let mut definitions = BTreeMap::new();
    let mut schema = table(&PROFILE, &mut definitions);
    if let Value::Object(map) = &mut schema {
        map.insert("$schema".to_owned(), json!("http://json-schema.org/draft-07/schema#"));
        map.insert("title".to_owned(), json!("Profile of cardpress"));
        let definitions = definitions.into_iter().map(|(name, value)| (name.to_owned(), value));
        map.insert("definitions".to_owned(), Value::Object(definitions.collect()));
    }
    schema
}

type Definitions = BTreeMap<&'static str, Value>;

fn table(table: &Table, definitions: &mut Definitions) -> Value {
    let mut properties = Map::new();
    for key in table.all_keys() {
        properties.insert(key.name.to_owned(), property(key, definitions));
    }
    let needed: Vec<&str> = table.all_keys().filter(|key| key.is_needed).map(|key| key.name).collect();
    let mut value = json!({
        "type": "object",
        "description": table.about,
        "properties": properties,
        "additionalProperties": false,
    });
    let mut set = |key: &str, found: Value| value[key] = found;
    if !needed.is_empty() {
        set("required", json!(needed));
    }
    if !table.one_of.is_empty() {
        set("oneOf", table.one_of.iter().map(|key| json!({ "required": [key] })).collect());
    }
    if !table.at_most_one_of.is_empty() {
        let keys = table.at_most_one_of;
        let pairs =
            keys.iter().enumerate().flat_map(|(index, a)| keys.iter().skip(index + 1).map(move |b| [a, b]));
        set("allOf", pairs.map(|pair| json!({ "not": { "required": pair } })).collect());
    }
    if let Some((key, other)) = table.with {
        set("dependencies", json!({ key: [other] }));
    }
    value
}

fn property(key: &Key, definitions: &mut Definitions) -> Value {
    let mut value = shape(&key.shape, definitions);
    // Draft-07 ignores what stands beside a `$ref`.
    if value.get("$ref").is_some() {
        value = json!({ "allOf": [value] });
    }
    value["description"] = json!(key.about);
    value["examples"] = json!([toml_value(key.example)]);
    if let Some(default) = key.default {
        value["default"] = toml_value(default);
    }
    value
}

/// The examples and defaults of the table are TOML; a test reads them all.
fn toml_value(text: &str) -> Value {
    let parsed: Option<BTreeMap<String, Value>> = toml::from_str(&format!("value = {text}")).ok();
    parsed.and_then(|mut parsed| parsed.remove("value")).unwrap_or_default()
}

fn shape(shape: &Shape, definitions: &mut Definitions) -> Value {
    match shape {
        Shape::Flag => json!({ "type": "boolean" }),
        Shape::Just(flag) => json!({ "const": flag }),
        Shape::Integer(i64::MIN, i64::MAX) => json!({ "type": "integer" }),
        Shape::Integer(least, most) if least == most => json!({ "const": least }),
        Shape::Integer(least, most) => json!({ "type": "integer", "minimum": least, "maximum": most }),
        Shape::Text => json!({ "type": "string" }),
        Shape::Word(word) => json!({ "type": "string", "pattern": word.pattern }),
        Shape::OneOf(words) => json!({ "enum": words }),
        Shape::Either(shapes) => any_of(shapes.iter().map(|one| self::shape(one, definitions)).collect()),
        Shape::List(item) => {
            let array = json!({ "type": "array", "items": self::shape(item, definitions) });
            let replace = json!({
                "type": "object",
                "description": "Forgets what earlier layers said.",
                "properties": { "replace": array.clone() },
                "required": ["replace"],
                "additionalProperties": false,
            });
            any_of(vec![array, replace])
        }
        Shape::Array(item) => json!({ "type": "array", "items": self::shape(item, definitions) }),
        Shape::OneOrMany(item) => {
            let item = self::shape(item, definitions);
            any_of(vec![item.clone(), json!({ "type": "array", "items": item })])
        }
        Shape::Table(of) => {
            if !definitions.contains_key(of.name) {
                // Holds the place while its own tables are written.
                definitions.insert(of.name, Value::Null);
                let value = table(of, definitions);
                definitions.insert(of.name, value);
            }
            json!({ "$ref": format!("#/definitions/{}", of.name) })
        }
        Shape::Names(word, value) => json!({
            "type": "object",
            "propertyNames": { "pattern": word.pattern },
            "additionalProperties": self::shape(value, definitions),
        }),
        Shape::Nested => {
            let to = json!({ "$ref": "#/definitions/kernel-settings" });
            let value = json!({
                "type": "object",
                "additionalProperties": any_of(vec![json!({ "type": "string" }), json!({ "type": "integer" }), to.clone()]),
            });
            definitions.insert("kernel-settings", value);
            to
        }
        Shape::Anything => {
            json!({ "type": "object", "additionalProperties": self::shape(&PARAM, definitions) })
        }
    }
}

/// Without a choice inside a choice.
fn any_of(choices: Vec<Value>) -> Value {
    let mut flat = Vec::new();
    for choice in choices {
        match choice.get("anyOf") {
            Some(Value::Array(inner)) => flat.extend(inner.iter().cloned()),
            _ => flat.push(choice),
        }
    }
    json!({ "anyOf": flat })
}
