//! TOML values that know where they were written.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Where something was written: which of the files read, and which bytes of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) file: usize,
    pub(super) span: Range<usize>,
}

/// A value and where it was written. Equal when the values are.
#[derive(Clone, Debug)]
pub(super) struct At<T> {
    pub(super) value: T,
    pub(super) place: Place,
}

impl<T: PartialEq> PartialEq for At<T> {
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value
    }
}

impl<T> At<T> {
    pub(super) fn map<U>(self, change: impl FnOnce(T) -> U) -> At<U> {
        At { value: change(self.value), place: self.place }
    }
}

/// A TOML value. Has no `Debug`: it may hold a secret.
pub(super) struct Value {
    /// The key it stands under; items of an array have the array's.
    pub(super) key: String,
    pub(super) place: Place,
    pub(super) kind: Kind,
}

pub(super) enum Kind {
    Text(String),
    /// `None`: more than 64 bits.
    Integer(Option<i64>),
    Float,
    Flag(bool),
    Datetime,
    Array(Vec<Value>),
    /// In the order of the file.
    Table(Vec<Entry>),
}

pub(super) struct Entry {
    pub(super) key: At<String>,
    pub(super) value: Value,
}

impl Value {
    /// The whole of a parsed file.
    pub(super) fn of_document(file: usize, document: Spanned<DeTable<'_>>) -> Self {
        let place = Place { file, span: 0..0 };
        Self { key: String::new(), place, kind: Kind::Table(entries(file, document.into_inner())) }
    }

    fn of(file: usize, key: &str, value: Spanned<DeValue<'_>>) -> Self {
        let place = Place { file, span: value.span() };
        let kind = match value.into_inner() {
            DeValue::String(text) => Kind::Text(text.into_owned()),
            DeValue::Integer(digits) => {
                Kind::Integer(i64::from_str_radix(digits.as_str(), digits.radix()).ok())
            }
            DeValue::Float(_) => Kind::Float,
            DeValue::Boolean(flag) => Kind::Flag(flag),
            DeValue::Datetime(_) => Kind::Datetime,
            DeValue::Array(items) => {
                Kind::Array(items.into_iter().map(|item| Self::of(file, key, item)).collect())
            }
            DeValue::Table(table) => Kind::Table(entries(file, table)),
        };
        Self { key: key.to_owned(), place, kind }
    }

    /// What it is, with its article.
    pub(super) fn noun(&self) -> &'static str {
        match self.kind {
            Kind::Text(_) => "a string",
            Kind::Integer(_) => "an integer",
            Kind::Float => "a float",
            Kind::Flag(_) => "a boolean",
            Kind::Datetime => "a date",
            Kind::Array(_) => "an array",
            Kind::Table(_) => "a table",
        }
    }

    /// The value under `key`, when this is a table that has one.
    pub(super) fn get(&self, key: &str) -> Option<&Self> {
        match &self.kind {
            Kind::Table(entries) => {
                entries.iter().find(|entry| entry.key.value == key).map(|entry| &entry.value)
            }
            _ => None,
        }
    }
}

fn entries(file: usize, table: DeTable<'_>) -> Vec<Entry> {
    let mut entries: Vec<Entry> = table
        .into_iter()
        .map(|(key, value)| {
            let place = Place { file, span: key.span() };
            let value = Value::of(file, key.get_ref(), value);
            Entry { key: At { value: key.into_inner().into_owned(), place }, value }
        })
        .collect();
    entries.sort_by_key(|entry| entry.key.place.span.start);
    entries
}
