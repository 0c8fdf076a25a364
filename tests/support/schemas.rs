//! The schemas of `docs/schema`, and what Debian's python3-jsonschema says of documents by them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::tools::{run, text};
use super::world::World;

/// The published schemas let keys pass that they do not name, as whoever reads the data should. Here none passes: each
/// object is closed first, so that a key which nobody wrote down is a fault.
const JUDGE: &str = r#"
import json, pathlib, sys, jsonschema
from jsonschema import Draft7Validator, validators

folder, documents = pathlib.Path(sys.argv[1]), json.load(open(sys.argv[2]))
seen = set()

def properties(validator, properties, instance, schema):
    faults = list(Draft7Validator.VALIDATORS["properties"](validator, properties, instance, schema))
    if not faults and validator.is_type(instance, "object"):
        seen.update((id(properties), key) for key in properties if key in instance)
    yield from faults

def objects(node, place):
    if isinstance(node, dict):
        if isinstance(node.get("properties"), dict):
            yield place, node
        for key, below in node.items():
            yield from objects(below, f"{place}/{key}")
    elif isinstance(node, list):
        for index, below in enumerate(node):
            yield from objects(below, f"{place}/{index}")

def leaves(fault):
    while fault.context:
        fault = jsonschema.exceptions.best_match(fault.context) or fault.context[0]
    return f"{list(fault.absolute_path)}: {fault.message}"[:600]

Judge = validators.extend(Draft7Validator, {"properties": properties})
told = {}
for name, list_of in documents.items():
    schema = json.loads((folder / f"{name}.json").read_text())
    Draft7Validator.check_schema(schema)
    for _, node in objects(schema, ""):
        node.setdefault("additionalProperties", False)
    judge = Judge(schema)
    faults = [f"{name}: document {nth}: {leaves(fault)}"
              for nth, document in enumerate(list_of) for fault in judge.iter_errors(document)]
    unseen = [[f"{name}.json{place}", key] for place, node in objects(schema, "") for key in node["properties"]
              if (id(node["properties"]), key) not in seen]
    told[name] = {"faults": faults, "unseen": unseen}
print(json.dumps(told))
"#;

/// What is said of the documents of one schema.
pub(crate) struct Verdict {
    /// Where one does not fit, and why.
    pub(crate) faults: Vec<String>,
    /// Keys that no document has: of which object of the schema, and which.
    pub(crate) unseen: Vec<(String, String)>,
}

/// Where the schemas are.
pub(crate) fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/schema")
}

/// All schemas, by the names of their files without the ending.
pub(crate) fn all() -> BTreeMap<String, Value> {
    let entries = fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path());
    let read = |path: PathBuf| {
        let name = path.file_stem()?.to_str()?.to_owned();
        Some((name, serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap()))
    };
    entries.filter(|path| path.extension().is_some_and(|ending| ending == "json")).filter_map(read).collect()
}

/// What the judge says of documents, by the names of their schemas. Asked once: it takes its time to start.
pub(crate) fn judge(world: &World, documents: &BTreeMap<&str, Vec<Value>>) -> BTreeMap<String, Verdict> {
    let file = world.write("documents.json", &json!(documents).to_string());
    let said = run("python3", ["-c", JUDGE, text(&folder()), text(&file)]);
    assert_eq!(said.status, 0, "Debian package python3-jsonschema? {}", said.text);
    let told: BTreeMap<String, Value> = serde_json::from_str(&said.out).unwrap();
    let verdict = |told: &Value| Verdict {
        faults: serde_json::from_value(told["faults"].clone()).unwrap(),
        unseen: serde_json::from_value(told["unseen"].clone()).unwrap(),
    };
    told.iter().map(|(name, told)| (name.clone(), verdict(told))).collect()
}
