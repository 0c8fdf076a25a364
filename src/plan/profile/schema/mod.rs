//! What a profile may say, as a table: from it come the JSON Schema and the reference page.
//!
//! The reader next door decides; this describes it. Tests ask the reader for every key of every table and compare. A
//! schema is never stricter than the reader: what two keys mean together, or whether a file is there, it cannot know.
//!
//! Spec: JSON Schema draft-07, which Taplo's validator (the crate `jsonschema`, 0.17) takes without any feature, and with
//! it VS Code's Even Better TOML.

mod json;
mod page;
mod table;
mod words;

#[cfg(test)]
pub(super) mod tests;

pub use json::schema;
pub use page::reference;

/// A table of TOML.
#[derive(Clone, Copy, Debug)]
struct Table {
    /// As the definition is called.
    name: &'static str,
    /// As it is written in a profile: `[cluster]`.
    heading: &'static str,
    about: &'static str,
    keys: &'static [Key],
    /// A table whose keys are taken, too.
    also: Option<&'static Table>,
    /// Sets of keys of which exactly one must be there.
    one_of: &'static [&'static str],
    /// Sets of keys of which one may be there.
    at_most_one_of: &'static [&'static str],
    /// A key, and one that it needs beside it.
    with: Option<(&'static str, &'static str)>,
}

impl Table {
    const fn new(
        name: &'static str,
        heading: &'static str,
        about: &'static str,
        keys: &'static [Key],
    ) -> Self {
        Self { name, heading, about, keys, also: None, one_of: &[], at_most_one_of: &[], with: None }
    }

    fn all_keys(&self) -> impl Iterator<Item = &'static Key> {
        self.keys.iter().chain(self.also.into_iter().flat_map(|table| table.keys))
    }
}

#[derive(Clone, Copy, Debug)]
struct Key {
    name: &'static str,
    shape: Shape,
    /// A value, as TOML.
    example: &'static str,
    about: &'static str,
    is_needed: bool,
    /// What holds without it, as TOML; of most keys that is what the image has.
    default: Option<&'static str>,
}

impl Key {
    const fn needed(mut self) -> Self {
        self.is_needed = true;
        self
    }

    const fn default(mut self, value: &'static str) -> Self {
        self.default = Some(value);
        self
    }
}

const fn key(name: &'static str, shape: Shape, example: &'static str, about: &'static str) -> Key {
    Key { name, shape, example, about, is_needed: false, default: None }
}

/// A string with a syntax.
#[derive(Clone, Copy, Debug)]
struct Word {
    /// With its article: `an IP address`.
    noun: &'static str,
    /// In the part of ECMA 262 that other dialects read alike; wider than the reader where it cannot be the same.
    pattern: &'static str,
}

#[derive(Clone, Copy, Debug)]
enum Shape {
    Flag,
    /// The only flag that means something.
    Just(bool),
    /// From, to.
    Integer(i64, i64),
    Text,
    Word(&'static Word),
    OneOf(&'static [&'static str]),
    /// Any of these.
    Either(&'static [Shape]),
    /// An array that adds to those of earlier layers, or `{ replace = […] }`.
    List(&'static Shape),
    /// An array that is a value of its own.
    Array(&'static Shape),
    OneOrMany(&'static Shape),
    Table(&'static Table),
    /// A table whose keys are names of this syntax.
    Names(&'static Word, &'static Shape),
    /// Kernel settings: keys with dots are nested tables to TOML.
    Nested,
    /// A table of parameters, whose names the recipe decides.
    Anything,
}
