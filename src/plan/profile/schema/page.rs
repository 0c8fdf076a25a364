//! The table as a page to read.

use super::table::PROFILE;
use super::{Shape, Table};

/// The reference of all keys, in Markdown.
#[must_use]
pub fn reference() -> String {
    let mut page = String::from(
        "<!-- Written by `cardpress schema --markdown`. Change src/plan/profile/schema/table.rs instead. -->\n\n\
         # What a profile can say\n\n\
         Every key, in one place; [`profiles/cluster.toml`](../profiles/cluster.toml) shows most of them at work, and\n\
         [settings.md](settings.md) says which files on a node each one ends up in. Which layer wins, and how lists add up, is\n\
         said with the settings below.\n\n\
         ## Completion in an editor\n\n\
         `cardpress schema` prints the JSON Schema (draft-07) of this page. Put it beside the profile, and say so in the first\n\
         line; editors with [Taplo](https://taplo.tamasfe.dev) (VS Code: *Even Better TOML*) then complete keys, show what they\n\
         mean and underline what does not fit. `cardpress init --schema` does both.\n\n\
         ```console\n$ cardpress schema > cardpress.schema.json\n$ sed -i '1i #:schema ./cardpress.schema.json' swarm.toml\n```\n\n\
         The schema knows shapes, not the world: whether a file is there, an address is free or a unit exists is for\n\
         `cardpress plan` to say.\n",
    );
    let mut done: Vec<&str> = Vec::new();
    let mut open = vec![&PROFILE];
    while !open.is_empty() {
        let table = open.remove(0);
        if done.contains(&table.name) {
            continue;
        }
        done.push(table.name);
        page += &section(table);
        for key in table.keys {
            tables(&key.shape, &mut open);
        }
        open.extend(table.also);
    }
    page
}

fn section(table: &Table) -> String {
    let mut text = format!("\n## {}\n\n{}\n\n", table.heading, table.about);
    text += "| Key | Value | Example | Meaning |\n|---|---|---|---|\n";
    for key in table.keys {
        let mut about = key.about.to_owned();
        if key.is_needed {
            about += " Needed.";
        }
        if let Some(default) = key.default {
            about += &format!(" Default: `{default}`.");
        }
        let example = match &key.shape {
            Shape::Table(_) | Shape::Flag | Shape::Just(_) | Shape::Integer(1, 1) => String::new(),
            shape if has_table(shape) => String::new(),
            _ => format!("`{}`", key.example),
        };
        let row =
            format!("| `{}` | {} | {example} | {about} |\n", key.name, noun(&key.shape).replace('|', "\\|"));
        text += &row;
    }
    text
}

fn has_table(shape: &Shape) -> bool {
    let mut found = Vec::new();
    tables(shape, &mut found);
    !found.is_empty()
}

fn noun(shape: &Shape) -> String {
    match shape {
        Shape::Flag => "`true` or `false`".to_owned(),
        Shape::Just(flag) => format!("`{flag}`"),
        Shape::Integer(i64::MIN, i64::MAX) => "an integer".to_owned(),
        Shape::Integer(least, most) if least == most => format!("`{least}`"),
        Shape::Integer(least, most) => format!("{least} to {most}"),
        Shape::Text => "a string".to_owned(),
        Shape::Word(word) => word.noun.to_owned(),
        Shape::OneOf(words) => {
            words.iter().map(|word| format!("`\"{word}\"`")).collect::<Vec<_>>().join(" or ")
        }
        Shape::Either(shapes) => shapes.iter().map(noun).collect::<Vec<_>>().join("; or "),
        Shape::List(item) => match item {
            Shape::Table(_) => "tables".to_owned(),
            _ => format!("a list, each {}", noun(item)),
        },
        Shape::Array(item) => match item {
            Shape::Table(_) => "tables".to_owned(),
            _ => format!("a list that replaces earlier ones, each {}", noun(item)),
        },
        Shape::OneOrMany(item) => format!("{}; or a list", noun(item)),
        Shape::Table(_) => "a table".to_owned(),
        Shape::Names(_, value) => match value {
            Shape::Names(..) => "tables of tables".to_owned(),
            _ => "tables by name".to_owned(),
        },
        Shape::Nested => "strings and integers by name".to_owned(),
        Shape::Anything => "a table".to_owned(),
    }
}

/// The tables in a shape.
fn tables(shape: &Shape, found: &mut Vec<&'static Table>) {
    match shape {
        Shape::Table(table) => found.push(table),
        Shape::List(inner) | Shape::Array(inner) | Shape::OneOrMany(inner) | Shape::Names(_, inner) => {
            tables(inner, found);
        }
        Shape::Either(shapes) => shapes.iter().for_each(|shape| tables(shape, found)),
        _ => {}
    }
}
