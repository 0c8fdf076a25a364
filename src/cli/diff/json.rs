//! The same as one JSON object, written as it is found. `docs/diff.md` describes it.

use serde_json::{Map, Value, json};

use crate::base::hex;
use crate::build::diff::{Change, Changed, Content, Counts, Fact, Facts, Overview, What};

use super::super::fs::show::{facts_json, insert_bytes};
use super::attributes;
use crate::cli::edit::changed_lines;

/// Up to the list of files.
pub(super) fn head(overview: &Overview) -> String {
    let facts = |facts: &[Fact]| -> Value {
        let each = facts
            .iter()
            .map(|Fact { what, before, after }| json!({ "what": what, "before": before, "after": after }));
        each.collect()
    };
    let filesystems: Vec<Value> = overview
        .filesystems
        .iter()
        .map(|filesystem| json!({ "mounted_on": filesystem.mounted_on, "changes": facts(&filesystem.facts) }))
        .collect();
    let partitions: Vec<u32> = overview.partitions.iter().map(|partition| partition.number).collect();
    let (table, filesystems, partitions) = (facts(&overview.table), json!(filesystems), json!(partitions));
    format!(
        "{{\"schema\":1,\"table\":{table},\"filesystems\":{filesystems},\"partitions\":{partitions},\"files\":["
    )
}

/// From the end of that list on.
pub(super) fn tail(counts: &Counts, same: bool) -> String {
    let Counts { added, removed, changed, unread } = counts;
    let counts = json!({ "added": added, "removed": removed, "changed": changed, "unread": unread });
    format!("],\"counts\":{counts},\"same\":{same}}}\n")
}

/// One of the list.
pub(super) fn file(change: &Change, times: bool) -> String {
    let mut object = Map::new();
    insert_bytes(&mut object, "path", &change.path);
    let word = match &change.what {
        What::Added(facts) => {
            object.insert("after".to_owned(), of_facts(facts));
            "added"
        }
        What::Removed(facts) => {
            object.insert("before".to_owned(), of_facts(facts));
            "removed"
        }
        What::Changed(changed) => {
            of_changed(&mut object, changed, times);
            "changed"
        }
        What::Unread(reason) => {
            object.insert("reason".to_owned(), reason.as_str().into());
            "unread"
        }
    };
    object.insert("change".to_owned(), word.into());
    Value::Object(object).to_string()
}

fn of_facts(Facts { stat, target }: &Facts) -> Value {
    Value::Object(facts_json(stat, target.as_deref()))
}

fn of_changed(object: &mut Map<String, Value>, changed: &Changed, times: bool) {
    let mut differs: Vec<&str> = attributes(changed, times).iter().map(|attribute| attribute.what).collect();
    if !changed.xattrs.is_empty() {
        differs.push("xattrs");
        let xattrs = changed.xattrs.iter().map(|xattr| {
            let value = |value: &Option<Vec<u8>>| value.as_deref().map(|value| format!("0x{}", hex(value)));
            let mut object = Map::new();
            insert_bytes(&mut object, "name", &xattr.name);
            object.insert("before_hex".to_owned(), value(&xattr.before).into());
            object.insert("after_hex".to_owned(), value(&xattr.after).into());
            Value::Object(object)
        });
        object.insert("xattrs".to_owned(), xattrs.collect());
    }
    if let Some(content) = &changed.content {
        differs.push("content");
        match content {
            Content::Text { before, after } => {
                object.insert("diff".to_owned(), changed_lines(before, after).into());
            }
            Content::Bytes { before, after } => {
                let digests = json!({ "before": before.to_string(), "after": after.to_string() });
                object.insert("sha256".to_owned(), digests);
            }
            Content::Secret => {
                object.insert("secret".to_owned(), true.into());
            }
            Content::Differs => {}
        }
    }
    object.insert("differs".to_owned(), differs.into());
    object.insert("before".to_owned(), of_facts(&changed.before));
    object.insert("after".to_owned(), of_facts(&changed.after));
}
