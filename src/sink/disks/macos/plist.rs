//! Property lists in XML, as far as `diskutil` writes them.

use roxmltree::{Document, Node, ParsingOptions};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

/// A list of a hundred disks has some ten thousand.
const NODES_MAX: u32 = 200_000;
/// Dictionaries in arrays in dictionaries; `diskutil` has six.
const DEPTH_MAX: usize = 16;

/// What a property list says, as a value of ours.
///
/// # Errors
/// In words, when it is none, or not of that shape.
pub(super) fn parse<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    let options = ParsingOptions { allow_dtd: true, nodes_limit: NODES_MAX, ..ParsingOptions::default() };
    let document = Document::parse_with_options(text, options).map_err(|error| error.to_string())?;
    let root = document.root_element();
    let value = root.first_element_child().filter(|_| root.has_tag_name("plist"));
    let value = value.ok_or("found another document, wanted a property list")?;
    serde_json::from_value(to_json(value, DEPTH_MAX)?).map_err(|error| error.to_string())
}

fn to_json(node: Node<'_, '_>, depth: usize) -> Result<Value, String> {
    let Some(depth) = depth.checked_sub(1) else { return Err(format!("found more than {DEPTH_MAX} levels")) };
    let text = || node.text().unwrap_or_default();
    Ok(match node.tag_name().name() {
        "dict" => {
            let mut members = Map::new();
            let mut children = node.children().filter(Node::is_element);
            while let (Some(key), Some(value)) = (children.next(), children.next()) {
                if !key.has_tag_name("key") {
                    return Err(format!("found `{}`, wanted `key`", key.tag_name().name()));
                }
                members.insert(key.text().unwrap_or_default().to_owned(), to_json(value, depth)?);
            }
            Value::Object(members)
        }
        "array" => {
            let items = node.children().filter(Node::is_element).map(|item| to_json(item, depth));
            Value::Array(items.collect::<Result<_, _>>()?)
        }
        "true" => Value::Bool(true),
        "false" => Value::Bool(false),
        "integer" => {
            // What does not fit is null, and refused where a number is wanted.
            let text = text().trim();
            text.parse::<u64>()
                .map_or_else(|_| text.parse::<i64>().map_or(Value::Null, Into::into), Into::into)
        }
        // Reals, dates and data are of no interest here.
        _ => Value::String(text().to_owned()),
    })
}
