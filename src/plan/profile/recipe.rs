//! `recipes = […]` and `[recipe.NAME]` of a layer, and the `recipe.toml` of a recipe. What a node uses of them: `uses`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::super::recipe::{
    Count, Files, HostFileWords, Param, ParamKind, ParamValue, Part, Recipe, ServiceWords, built_in,
    built_in_names,
};
use super::account::{secret_table, secret_text};
use super::document::parse;
use super::layer::{Layer, distinct, words};
use super::reader::{Fields, Reader, nearest};
use super::value::{At, Kind, Place, Value};
use super::word::{self, Wrong};
use crate::base::{Arch, Sha256Digest};

/// A folder with more, or with larger ones, is no recipe.
const MOST_FILES: usize = 256;
const MOST_BYTES: usize = 16 << 20;
const MOST_DEEP: usize = 8;

/// A parameter that a layer sets.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct ParamLayer {
    pub(super) recipe: At<String>,
    pub(super) name: String,
    pub(super) value: ParamValue,
}

/// `NAME` or `NAME/PART`.
pub(super) fn recipe_word(text: &str) -> Result<String, Wrong> {
    let is_name = |name: &str| {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        !name.is_empty() && name.len() <= 64 && name.chars().all(plain) && !name.starts_with('-')
    };
    let (name, part) = text.split_once('/').map_or((text, None), |(name, part)| (name, Some(part)));
    if is_name(name) && part.is_none_or(is_name) {
        return Ok(text.to_owned());
    }
    Err(Wrong::found(text, "the name of a recipe, or `RECIPE/PART`: small letters, digits and hyphens"))
}

/// `recipes` and `recipe` of a layer.
pub(super) fn read(reader: &mut Reader<'_>, fields: &mut Fields<'_>, layer: &mut Layer) {
    layer.recipes = words(reader, fields.get("recipes"), recipe_word);
    let Some(tables) = fields.get("recipe").and_then(|value| reader.table(value)) else { return };
    for recipe in tables.all() {
        if reader.judge(&recipe.key.place, recipe_word(&recipe.key.value)).is_none() {
            continue;
        }
        let Some(params) = reader.table(&recipe.value) else { continue };
        for param in params.all() {
            let Some(value) = raw_value(reader, &param.value) else { continue };
            let set = ParamLayer { recipe: recipe.key.clone(), name: param.key.value.clone(), value };
            layer.params.push(At { value: set, place: param.key.place.clone() });
        }
    }
}

/// Any value a parameter may have; a table says where a secret is kept.
fn raw_value(reader: &mut Reader<'_>, value: &Value) -> Option<ParamValue> {
    match &value.kind {
        Kind::Text(_) => reader.word(value, word::line).map(|text| ParamValue::Text(text.value)),
        Kind::Integer(Some(number)) => Some(ParamValue::Integer(*number)),
        Kind::Flag(flag) => Some(ParamValue::Flag(*flag)),
        Kind::Array(items) => {
            let items: Vec<Option<At<String>>> =
                items.iter().map(|item| reader.word(item, word::line)).collect();
            items
                .into_iter()
                .map(|item| item.map(|item| item.value))
                .collect::<Option<_>>()
                .map(ParamValue::List)
        }
        Kind::Table(_) => {
            let mut fields = secret_table(reader, value, "a secret")?;
            let entry = fields.need_one_of(reader, &["file", "env"]);
            let secret = entry.and_then(|entry| secret_text(reader, entry));
            fields.finish(reader);
            secret.map(ParamValue::Secret)
        }
        _ => {
            reader.wrong_kind(value, "a string, an integer, a boolean or an array of strings");
            None
        }
    }
}

/// The recipes known to a profile: in the `recipes` folders beside its files, and those the program carries.
#[derive(Default)]
pub(super) struct Shelf {
    /// By name; `None` for one that is faulty, which was told.
    pub(super) known: BTreeMap<String, Option<Arc<Recipe>>>,
}

impl Shelf {
    pub(super) fn find(&mut self, reader: &mut Reader<'_>, name: &str, place: &Place) -> Option<Arc<Recipe>> {
        if let Some(known) = self.known.get(name) {
            return known.clone();
        }
        let found = find(reader, name, place).map(Arc::new);
        self.known.insert(name.to_owned(), found.clone());
        found
    }
}

fn find(reader: &mut Reader<'_>, name: &str, place: &Place) -> Option<Recipe> {
    for folder in reader.folders() {
        let folder = folder.join("recipes").join(name);
        if reader.around.read_file(&folder.join("recipe.toml")).is_err() {
            continue;
        }
        return match folder_files(reader, &folder) {
            Ok(files) => read_recipe(reader, &folder.join("recipe.toml"), name, files),
            Err(reason) => {
                reader.fault(place, format!("cannot read the recipe in `{}`: {reason}", folder.display()));
                None
            }
        };
    }
    if let Some(files) = built_in(name) {
        return read_recipe(reader, &Path::new("recipes").join(name).join("recipe.toml"), name, files);
    }
    let help = match nearest(name, built_in_names().into_iter()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!(
            "`cardpress recipes` lists those that come with cardpress; one of your own is a folder \
             `recipes/{name}` beside the profile, with a `recipe.toml`"
        ),
    };
    reader.fault(place, format!("there is no recipe `{name}`")).help(help);
    None
}

/// Everything in the folder of a recipe.
fn folder_files(reader: &mut Reader<'_>, folder: &Path) -> Result<Files, String> {
    let mut files = BTreeMap::new();
    let mut bytes = 0;
    let mut open = vec![(folder.to_owned(), String::new(), 0)];
    while let Some((path, prefix, depth)) = open.pop() {
        let names =
            reader.around.names_in(&path).map_err(|error| format!("`{}`: {error}", path.display()))?;
        for (name, is_folder) in names {
            if name.starts_with('.') {
                continue;
            }
            let (path, key) = (path.join(&name), format!("{prefix}{name}"));
            if is_folder {
                if depth == MOST_DEEP {
                    return Err(format!(
                        "`{}` lies too deep, wanted at most {MOST_DEEP} folders",
                        path.display()
                    ));
                }
                open.push((path, format!("{key}/"), depth + 1));
                continue;
            }
            let content = reader.read(&path).map_err(|error| format!("`{}`: {error}", path.display()))?;
            bytes += content.len();
            files.insert(key, content);
            if files.len() > MOST_FILES || bytes > MOST_BYTES {
                return Err(format!("found more than {MOST_FILES} files or {} MiB", MOST_BYTES >> 20));
            }
        }
    }
    Ok(Files(files))
}

/// A recipe out of its files; `path` is that of its `recipe.toml`, as faults show it.
pub(super) fn read_recipe(reader: &mut Reader<'_>, path: &Path, name: &str, files: Files) -> Option<Recipe> {
    let Some(text) = files.text("recipe.toml").map(str::to_owned) else {
        let source = reader.add_source(path, String::new());
        reader.fault(&Place { file: source, span: 0..0 }, "found no `recipe.toml` of UTF-8 text");
        return None;
    };
    let source = reader.add_source(path, text);
    let whole = parse(reader, source)?;
    let mut fields = reader.table(&whole)?;
    let mut recipe = Recipe {
        name: name.to_owned(),
        description: description(reader, &mut fields, source),
        about: fields.get("about").and_then(|value| reader.text(value)).map(|text| text.value),
        releases: plain_words(reader, fields.get("releases"), word::plain_name),
        archs: plain_words(reader, fields.get("arch"), arch),
        needs: plain_words(reader, fields.get("needs"), recipe_word),
        conflicts: plain_words(reader, fields.get("conflicts"), recipe_word),
        params: fields.get("param").map(|value| params(reader, value)).unwrap_or_default(),
        parts: fields.get("part").map(|value| parts(reader, value)).unwrap_or_default(),
        services: Vec::new(),
        host_files: Vec::new(),
        files: Arc::new(files),
    };
    if let Some(value) = fields.get("service") {
        let services = reader.list(value, service);
        recipe.services = services.items.into_iter().map(|service| service.value).collect();
    }
    if let Some(value) = fields.get("host-file") {
        let host_files = reader.list(value, host_file);
        distinct(reader, &host_files.items, |file| file.path.clone());
        recipe.host_files = host_files.items.into_iter().map(|file| file.value).collect();
    }
    fields.finish(reader);
    let whole_place = Place { file: source, span: 0..0 };
    for part in recipe.services.iter().filter_map(|service| service.part.as_ref()) {
        if !recipe.parts.iter().any(|known| known.name == *part) {
            reader.fault(
                &whole_place,
                format!("a service is of the part `{part}`, which is none of the recipe"),
            );
        }
    }
    for template in recipe.host_files.iter().map(|file| &file.template) {
        if recipe.files.text(template).is_none() {
            reader.fault(&whole_place, format!("found no text `{template}` in the folder of the recipe"));
        }
    }
    Some(recipe)
}

fn description(reader: &mut Reader<'_>, fields: &mut Fields<'_>, source: usize) -> String {
    match fields.get("description") {
        Some(value) => reader.word(value, word::line).map(|text| text.value).unwrap_or_default(),
        None => {
            reader.fault(&Place { file: source, span: 0..0 }, "found no `description`");
            String::new()
        }
    }
}

fn plain_words<T: PartialEq>(
    reader: &mut Reader<'_>,
    value: Option<&Value>,
    read: fn(&str) -> Result<T, Wrong>,
) -> Vec<T> {
    words(reader, value, read).items.into_iter().map(|item| item.value).collect()
}

fn arch(text: &str) -> Result<Arch, Wrong> {
    let all = [Arch::Armhf, Arch::Arm64];
    all.into_iter().find(|arch| arch.name() == text).ok_or_else(|| Wrong::found(text, "`arm64` or `armhf`"))
}

fn params(reader: &mut Reader<'_>, value: &Value) -> Vec<Param> {
    let Some(fields) = reader.table(value) else { return Vec::new() };
    fields.all().iter().filter_map(|entry| param(reader, &entry.key, &entry.value)).collect()
}

fn param(reader: &mut Reader<'_>, name: &At<String>, value: &Value) -> Option<Param> {
    reader.judge(&name.place, recipe_word(&name.value))?;
    let mut fields = reader.table(value)?;
    let kind = fields.need(reader, "type").and_then(|value| reader.word(value, kind));
    let help = fields.need(reader, "help").and_then(|value| reader.word(value, word::line));
    let one_of = plain_words(reader, fields.get("one-of"), word::line);
    let default = fields.get("default");
    fields.finish(reader);
    let (kind, help) = (kind?.value, help?.value);
    let mut param = Param { name: name.value.clone(), kind, one_of, default: None, help };
    if let Some(value) = default {
        let raw = raw_value(reader, value)?;
        param.default = Some(reader.judge(&value.place, fitting(&param, &raw))?.value);
    }
    Some(param)
}

fn kind(text: &str) -> Result<ParamKind, Wrong> {
    let all = ParamKind::ALL.iter();
    all.clone().find(|(word, _)| *word == text).map(|(_, kind)| *kind).ok_or_else(|| {
        let known: Vec<String> = all.map(|(word, _)| format!("`{word}`")).collect();
        Wrong::found(text, &format!("one of {}", known.join(", ")))
    })
}

/// The value, if it is one of the parameter's type.
pub(super) fn fitting(param: &Param, value: &ParamValue) -> Result<ParamValue, Wrong> {
    let wrong = |found: &str| {
        let wanted = match param.kind {
            ParamKind::String => "a string",
            ParamKind::Strings => "an array of strings",
            ParamKind::Integer => "an integer",
            ParamKind::Boolean => "true or false",
            ParamKind::Path => "an absolute path",
            ParamKind::Sha256 => "a SHA-256, 64 hexadecimal digits",
            ParamKind::Secret => "`{ file = \"path\" }` or `{ env = \"NAME\" }`",
        };
        Err(Wrong::new(format!("found {found} for `{}`, wanted {wanted}", param.name))
            .help(param.help.clone()))
    };
    let is_allowed = |text: &String| param.one_of.is_empty() || param.one_of.contains(text);
    match (param.kind, value) {
        (ParamKind::String, ParamValue::Text(text)) | (ParamKind::Path, ParamValue::Text(text))
            if !is_allowed(text) =>
        {
            Err(Wrong::found(text, &format!("one of {}", param.one_of.join(", "))))
        }
        (ParamKind::Path, ParamValue::Text(text)) if !text.is_empty() => {
            word::image_path(text).map(|path| ParamValue::Text(path.to_string()))
        }
        (ParamKind::Sha256, ParamValue::Text(text)) if !text.is_empty() => {
            text.parse::<Sha256Digest>().map_err(Wrong::new)?;
            Ok(value.clone())
        }
        (ParamKind::Strings, ParamValue::List(list)) => match list.iter().find(|text| !is_allowed(text)) {
            Some(text) => Err(Wrong::found(text, &format!("words out of {}", param.one_of.join(", ")))),
            None => Ok(value.clone()),
        },
        (ParamKind::String | ParamKind::Path | ParamKind::Sha256, ParamValue::Text(_))
        | (ParamKind::Integer, ParamValue::Integer(_))
        | (ParamKind::Boolean, ParamValue::Flag(_))
        | (ParamKind::Secret, ParamValue::Secret(_)) => Ok(value.clone()),
        // Written out: not repeated.
        (ParamKind::Secret, _) => wrong("a secret written out"),
        (_, ParamValue::Text(_)) => wrong("a string"),
        (_, ParamValue::List(_)) => wrong("an array"),
        (_, ParamValue::Integer(_)) => wrong("an integer"),
        (_, ParamValue::Flag(_)) => wrong("a boolean"),
        (_, ParamValue::Secret(_)) => wrong("a secret"),
    }
}

fn parts(reader: &mut Reader<'_>, value: &Value) -> Vec<Part> {
    let Some(fields) = reader.table(value) else { return Vec::new() };
    let mut parts = Vec::new();
    for entry in fields.all() {
        let name = reader.judge(&entry.key.place, recipe_word(&entry.key.value));
        let Some(mut fields) = reader.table(&entry.value) else { continue };
        let description = description(reader, &mut fields, entry.key.place.file);
        let part = Part {
            name: entry.key.value.clone(),
            description,
            needs: plain_words(reader, fields.get("needs"), recipe_word),
            conflicts: plain_words(reader, fields.get("conflicts"), recipe_word),
            nodes: fields
                .get("nodes")
                .and_then(|value| reader.word(value, count))
                .map_or(Count::Any, |count| count.value),
        };
        fields.finish(reader);
        parts.extend(name.map(|_| part));
    }
    parts
}

fn count(text: &str) -> Result<Count, Wrong> {
    match text {
        "any" => Ok(Count::Any),
        "some" => Ok(Count::Some),
        "one" => Ok(Count::One),
        _ => Err(Wrong::found(text, "`any`, `some` or `one`")),
    }
}

fn service(reader: &mut Reader<'_>, value: &Value) -> Option<At<ServiceWords>> {
    let mut fields = reader.table(value)?;
    let name = fields.need(reader, "name").and_then(|value| reader.word(value, word::line));
    let part = fields.get("part").and_then(|value| reader.text(value)).map(|part| part.value);
    let url = fields.get("url").and_then(|value| reader.word(value, word::line)).map(|url| url.value);
    fields.finish(reader);
    name.map(|name| name.map(|name| ServiceWords { name, part, url }))
}

fn host_file(reader: &mut Reader<'_>, value: &Value) -> Option<At<HostFileWords>> {
    let mut fields = reader.table(value)?;
    let path = fields.need(reader, "path").and_then(|value| reader.word(value, relative_path));
    let template = fields.need(reader, "template").and_then(|value| reader.text(value));
    fields.finish(reader);
    let template = template?.value;
    path.map(|path| path.map(|path| HostFileWords { path, template }))
}

/// A path that stays below the folder it is written to, on any system.
fn relative_path(text: &str) -> Result<String, Wrong> {
    let is_name = |name: &str| word::plain_name(name).is_ok() && name != "." && name != "..";
    match text.split('/').all(is_name) {
        true => Ok(text.to_owned()),
        false => Err(Wrong::found(text, "a relative path of letters, digits, `-`, `_` and `.`")),
    }
}

/// The recipes that the program carries, and those in folders `recipes` beside `beside`, for those who list them.
pub(super) fn all(reader: &mut Reader<'_>, folder: Option<&Path>) -> Vec<Recipe> {
    let mut recipes = BTreeMap::new();
    for name in built_in_names() {
        let path = PathBuf::from("recipes").join(name).join("recipe.toml");
        let recipe = built_in(name).and_then(|files| read_recipe(reader, &path, name, files));
        recipes.extend(recipe.map(|recipe| (name.to_owned(), recipe)));
    }
    let own = folder.map(|folder| folder.join("recipes"));
    let names = own.as_ref().and_then(|own| reader.around.names_in(own).ok()).unwrap_or_default();
    for (name, _) in names.into_iter().filter(|(name, is_folder)| *is_folder && recipe_word(name).is_ok()) {
        let folder = own.clone().unwrap_or_default().join(&name);
        let Ok(files) = folder_files(reader, &folder) else { continue };
        let recipe = read_recipe(reader, &folder.join("recipe.toml"), &name, files);
        recipes.extend(recipe.map(|recipe| (name, recipe)));
    }
    recipes.into_values().collect()
}
