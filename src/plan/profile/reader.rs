//! Reads values into what they mean, and writes down everything that is wrong on the way.
//!
//! Every method that meets a fault notes it and returns `None`, so that one run finds all of them. Nothing is a
//! cluster unless no fault was noted.

use std::ops::{Range, RangeInclusive};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use miette::Severity;

use super::super::cluster::Origin;
use super::Surroundings;
use super::fault::{Draft, Fault};
use super::lay::Filler;
use super::value::{At, Entry, Kind, Place, Value};
use super::word::Wrong;

/// What has been read, and what was wrong with it.
pub(super) struct Reader<'a> {
    pub(super) around: &'a dyn Surroundings,
    /// Fills in a `template` at once; without it, it is kept for [`super::lay()`].
    pub(super) filler: Option<Filler<'a>>,
    sources: Vec<Source>,
    faults: Vec<Draft>,
    warnings: Vec<Draft>,
    /// Every file asked for, in that order, once.
    pub(super) files: Vec<PathBuf>,
    /// A part of the profile could not be read, so what seems missing may be there.
    pub(super) incomplete: bool,
}

/// A TOML file that was read.
struct Source {
    file: PathBuf,
    text: String,
    /// Parts that must not be shown.
    secrets: Vec<Range<usize>>,
}

/// A list of one layer, and whether it takes the place of earlier layers' or adds to it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct List<T> {
    pub(super) replace: bool,
    pub(super) items: Vec<At<T>>,
}

impl<T> Default for List<T> {
    fn default() -> Self {
        Self { replace: false, items: Vec::new() }
    }
}

impl<T: PartialEq> List<T> {
    /// Each item once.
    pub(super) fn once_each(self) -> Self {
        let mut items: Vec<At<T>> = Vec::with_capacity(self.items.len());
        for item in self.items {
            if !items.contains(&item) {
                items.push(item);
            }
        }
        Self { items, ..self }
    }
}

impl<'a> Reader<'a> {
    pub(super) fn new(around: &'a dyn Surroundings) -> Self {
        Self {
            around,
            filler: None,
            sources: Vec::new(),
            faults: Vec::new(),
            warnings: Vec::new(),
            files: Vec::new(),
            incomplete: false,
        }
    }

    /// Goes on after the files of a profile that was read before.
    pub(super) fn after(around: &'a dyn Surroundings, origin: &Origin) -> Self {
        let source = |(file, text): &(PathBuf, Arc<str>)| Source {
            file: file.clone(),
            text: text.to_string(),
            // They were blotted out when it was read.
            secrets: Vec::new(),
        };
        Self { sources: origin.0.iter().map(source).collect(), ..Self::new(around) }
    }

    /// The files read so far, for [`Self::after`].
    pub(super) fn origin(&self) -> Origin {
        let shown = |source: &Source| (source.file.clone(), blot(&source.text, &source.secrets).into());
        Origin(self.sources.iter().map(shown).collect())
    }

    /// The folders of the files read so far, each once.
    pub(super) fn folders(&self) -> Vec<PathBuf> {
        let mut folders: Vec<PathBuf> = Vec::new();
        for folder in self.sources.iter().filter_map(|source| source.file.parent()) {
            if !folders.iter().any(|known| known == folder) {
                folders.push(folder.to_owned());
            }
        }
        folders
    }

    /// Takes in a TOML file; places in it carry the number returned.
    pub(super) fn add_source(&mut self, file: &Path, text: String) -> usize {
        self.sources.push(Source { file: file.to_owned(), text, secrets: Vec::new() });
        self.sources.len() - 1
    }

    pub(super) fn source_text(&self, source: usize) -> String {
        self.sources.get(source).map(|source| source.text.clone()).unwrap_or_default()
    }

    /// For a file that is no TOML: hides the value on each line whose key sounds like a secret.
    pub(super) fn hide_by_lines(&mut self, source: usize) {
        let text = self.source_text(source);
        let mut start = 0;
        for line in text.split_inclusive('\n') {
            let mut words = line.split(|c: char| !c.is_alphanumeric() && c != '-' && c != '_');
            if let (true, Some(equals)) = (words.any(sounds_secret), line.find('=')) {
                self.hide(&Place { file: source, span: start + equals + 1..start + line.len() });
            }
            start += line.len();
        }
    }

    /// Hides whatever may be a secret in a file, well placed or not, before anything is said about the file.
    pub(super) fn hide_by_keys(&mut self, value: &Value) {
        match &value.kind {
            Kind::Array(items) => items.iter().for_each(|item| self.hide_by_keys(item)),
            Kind::Table(entries) => {
                let secret_file = matches!(value.get("secret"), Some(Value { kind: Kind::Flag(true), .. }));
                for Entry { key, value } in entries {
                    match key.value.as_str() {
                        "content" if secret_file => self.hide(&value.place),
                        // Field 6 of fstab.
                        "pass" if matches!(value.kind, Kind::Integer(_)) => {}
                        key if sounds_secret(key) => self.hide_strings(value),
                        _ => self.hide_by_keys(value),
                    }
                }
            }
            Kind::Text(text) if text.contains("PRIVATE KEY") => self.hide(&value.place),
            _ => {}
        }
    }

    pub(super) fn fault(&mut self, place: &Place, message: impl Into<String>) -> &mut Draft {
        note(&mut self.faults, place, message.into())
    }

    pub(super) fn warn(&mut self, place: &Place, message: impl Into<String>) -> &mut Draft {
        note(&mut self.warnings, place, message.into())
    }

    /// Whether something at this very place is wrong already: one fault for a range is enough.
    pub(super) fn has_fault_at(&self, place: &Place) -> bool {
        self.faults.iter().any(|draft| draft.place == *place)
    }

    /// Keeps `place` out of everything that is shown.
    fn hide(&mut self, place: &Place) {
        if let Some(source) = self.sources.get_mut(place.file) {
            source.secrets.push(place.span.clone());
        }
    }

    /// Hides every string in `value`, but for the names of files and variables.
    fn hide_strings(&mut self, value: &Value) {
        match &value.kind {
            Kind::Array(items) => items.iter().for_each(|item| self.hide_strings(item)),
            Kind::Table(entries) => entries
                .iter()
                .filter(|entry| !matches!(entry.key.value.as_str(), "file" | "env"))
                .for_each(|entry| self.hide_strings(&entry.value)),
            Kind::Flag(_) => {}
            _ => self.hide(&value.place),
        }
    }

    /// The faults and the warnings, in the order of files and lines, secrets blotted out.
    pub(super) fn finish(self) -> (Vec<Fault>, Vec<Fault>, Vec<PathBuf>) {
        let shown: Vec<(PathBuf, Arc<str>)> = self
            .sources
            .into_iter()
            .map(|source| (source.file, blot(&source.text, &source.secrets).into()))
            .collect();
        let written = |mut drafts: Vec<Draft>, severity| -> Vec<Fault> {
            drafts.sort_by_key(|draft| (draft.place.file, draft.place.span.start));
            drafts
                .into_iter()
                .filter_map(|draft| {
                    let (file, text) = shown.get(draft.place.file)?;
                    Some(draft.into_fault(severity, file, text))
                })
                .collect()
        };
        (written(self.faults, Severity::Error), written(self.warnings, Severity::Warning), self.files)
    }

    // Values of one kind.

    pub(super) fn wrong_kind(&mut self, value: &Value, wanted: &str) -> &mut Draft {
        let message = format!("found {} for `{}`, wanted {wanted}", value.noun(), value.key);
        self.fault(&value.place, message).label(value.noun())
    }

    pub(super) fn text(&mut self, value: &Value) -> Option<At<String>> {
        match &value.kind {
            Kind::Text(text) => Some(At { value: text.clone(), place: value.place.clone() }),
            _ => {
                self.wrong_kind(value, "a string");
                None
            }
        }
    }

    pub(super) fn flag(&mut self, value: &Value) -> Option<At<bool>> {
        match value.kind {
            Kind::Flag(flag) => Some(At { value: flag, place: value.place.clone() }),
            _ => {
                self.wrong_kind(value, "true or false");
                None
            }
        }
    }

    pub(super) fn integer(&mut self, value: &Value, allowed: RangeInclusive<i64>) -> Option<At<i64>> {
        let (least, most) = (allowed.start(), allowed.end());
        match value.kind {
            Kind::Integer(Some(number)) if allowed.contains(&number) => {
                Some(At { value: number, place: value.place.clone() })
            }
            Kind::Integer(Some(number)) => {
                let message = format!("found {number} for `{}`, wanted {least} to {most}", value.key);
                self.fault(&value.place, message);
                None
            }
            _ => {
                self.wrong_kind(value, &format!("an integer from {least} to {most}"));
                None
            }
        }
    }

    /// A string that must mean something.
    pub(super) fn word<T>(
        &mut self,
        value: &Value,
        read: impl FnOnce(&str) -> Result<T, Wrong>,
    ) -> Option<At<T>> {
        let text = self.text(value)?;
        self.judge(&text.place, read(&text.value))
    }

    /// The verdict on something at `place`.
    pub(super) fn judge<T>(&mut self, place: &Place, verdict: Result<T, Wrong>) -> Option<At<T>> {
        match verdict {
            Ok(value) => Some(At { value, place: place.clone() }),
            Err(wrong) => {
                let fault = self.fault(place, wrong.message);
                fault.help = wrong.help;
                None
            }
        }
    }

    pub(super) fn table<'v>(&mut self, value: &'v Value) -> Option<Fields<'v>> {
        match &value.kind {
            Kind::Table(entries) => {
                Some(Fields { entries, place: &value.place, name: &value.key, known: Vec::new() })
            }
            _ => {
                self.wrong_kind(value, "a table");
                None
            }
        }
    }

    /// An array, or `{ replace = [...] }`. `item` may yield several, or none.
    pub(super) fn list<T, Items: IntoIterator<Item = At<T>>>(
        &mut self,
        value: &Value,
        mut item: impl FnMut(&mut Self, &Value) -> Items,
    ) -> List<T> {
        let (items, replace) = match (&value.kind, value.get("replace")) {
            (Kind::Array(items), _) => (items, false),
            (Kind::Table(entries), Some(Value { kind: Kind::Array(items), .. })) => {
                let others = entries.iter().filter(|entry| entry.key.value != "replace");
                for Entry { key, .. } in others {
                    self.fault(&key.place, format!("found `{}` beside `replace`", key.value))
                        .help("`replace` stands alone");
                }
                (items, true)
            }
            _ => {
                self.wrong_kind(value, "an array").help(format!(
                    "write `{0} = […]` to add to earlier layers, `{0} = {{ replace = […] }}` to forget them",
                    value.key
                ));
                return List::default();
            }
        };
        let items = items.iter().flat_map(|value| item(self, value)).collect();
        List { replace, items }
    }

    /// `"one"` or `["several", …]`; an empty array means none.
    pub(super) fn one_or_many<T>(
        &mut self,
        value: &Value,
        mut item: impl FnMut(&mut Self, &Value) -> Option<At<T>>,
    ) -> Vec<At<T>> {
        match &value.kind {
            Kind::Array(items) => items.iter().filter_map(|value| item(self, value)).collect(),
            _ => item(self, value).into_iter().collect(),
        }
    }

    // Files and the environment.

    /// `text` as a path: `~/` is the home folder, and a relative path begins at the file that names it.
    pub(super) fn local_path(&mut self, text: &At<String>) -> Option<PathBuf> {
        let folder = self.sources.get(text.place.file)?.file.parent().map(Path::to_owned);
        if text.value.is_empty() || text.value.contains('\0') {
            self.fault(&text.place, "found no usable path, wanted the path of a file on this machine");
            return None;
        }
        let Some(below_home) = text.value.strip_prefix("~/") else {
            return Some(folder.unwrap_or_default().join(&text.value));
        };
        let home = self.around.home();
        if home.is_none() {
            self.fault(&text.place, format!("cannot read `{}`: the home folder is not known", text.value))
                .help("set HOME, or write the whole path");
        }
        Some(home?.join(below_home))
    }

    /// The bytes of a file on this machine.
    pub(super) fn local_file(&mut self, path: &At<String>) -> Option<Vec<u8>> {
        let found = self.local_path(path)?;
        match self.read(&found) {
            Ok(bytes) => Some(bytes),
            Err(error) => {
                let message = format!("cannot read `{}`: {error}", found.display());
                let help = "a relative path begins at the folder of the file that names it, `~/` is your home folder";
                self.fault(&path.place, message.clone()).help(help).alone(message, None);
                None
            }
        }
    }

    pub(super) fn read(&mut self, path: &Path) -> std::io::Result<Vec<u8>> {
        if !self.files.iter().any(|file| file == path) {
            self.files.push(path.to_owned());
        }
        self.around.read_file(path)
    }
}

/// The entries of one table, each to be asked for by name; those nobody asked for are unknown.
pub(super) struct Fields<'v> {
    entries: &'v [Entry],
    pub(super) place: &'v Place,
    /// The key of the table.
    pub(super) name: &'v str,
    known: Vec<&'static str>,
}

impl<'v> Fields<'v> {
    pub(super) fn get(&mut self, key: &'static str) -> Option<&'v Value> {
        Some(&self.entry(key)?.value)
    }

    pub(super) fn entry(&mut self, key: &'static str) -> Option<&'v Entry> {
        self.known.push(key);
        self.entries.iter().find(|entry| entry.key.value == key)
    }

    /// Every entry, for tables whose keys are names.
    pub(super) fn all(self) -> &'v [Entry] {
        self.entries
    }

    /// The value of `key`, whose absence is a fault.
    pub(super) fn need(&mut self, reader: &mut Reader<'_>, key: &'static str) -> Option<&'v Value> {
        let found = self.get(key);
        if found.is_none() {
            reader.fault(self.place, format!("found no `{key}` in `{}`", self.name));
        }
        found
    }

    /// The one of `keys` that is there; none and several are faults.
    pub(super) fn need_one_of(
        &mut self,
        reader: &mut Reader<'_>,
        keys: &[&'static str],
    ) -> Option<&'v Entry> {
        let found: Vec<&Entry> = keys.iter().filter_map(|key| self.entry(key)).collect();
        let wanted = keys.iter().map(|key| format!("`{key}`")).collect::<Vec<_>>().join(", ");
        match found.as_slice() {
            [one] => Some(one),
            [] => {
                reader.fault(self.place, format!("found none of {wanted} in `{}`", self.name));
                None
            }
            [first, .., last] => {
                let message = format!(
                    "found both `{}` and `{}` in `{}`, wanted one of {wanted}",
                    first.key.value, last.key.value, self.name
                );
                reader.fault(&last.key.place, message);
                None
            }
        }
    }

    /// Reports the keys that nobody asked for.
    pub(super) fn finish(self, reader: &mut Reader<'_>) {
        for Entry { key, .. } in self.entries {
            if self.known.contains(&key.value.as_str()) {
                continue;
            }
            let whose = if self.name.is_empty() { String::new() } else { format!(" in `{}`", self.name) };
            let help = match nearest(&key.value, self.known.iter().copied()) {
                _ if ["name", "role", "address"].contains(&key.value.as_str()) => {
                    format!("`{}` belongs to a `[[node]]`", key.value)
                }
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("known here: {}", self.known.join(", ")),
            };
            reader
                .fault(&key.place, format!("unknown key `{}`{whose}", key.value))
                .label("not known")
                .help(help);
        }
    }
}

/// Whether what stands under `key` may be a secret; a slip of the finger in the key does not give it away.
fn sounds_secret(key: &str) -> bool {
    let lower = key.to_lowercase();
    ["pass", "psk", "secret", "hash", "token", "private"].iter().any(|word| lower.contains(word))
        || nearest(key, ["password", "passphrase"].into_iter()).is_some()
}

/// The one of `known` that `word` may be a slip for: a third of its letters wrong at most.
#[must_use]
pub fn nearest<'k>(word: &str, known: impl Iterator<Item = &'k str>) -> Option<&'k str> {
    let lower = word.to_lowercase().replace('_', "-");
    known
        .map(|name| (strsim::damerau_levenshtein(&lower, &name.to_lowercase()), name))
        .filter(|(distance, name)| *distance <= (name.chars().count() / 3).max(1))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// Notes a fault once, however many nodes come across it.
fn note<'d>(drafts: &'d mut Vec<Draft>, place: &Place, message: String) -> &'d mut Draft {
    let known = drafts.iter().position(|draft| draft.place == *place && draft.message == message);
    let index = known.unwrap_or(drafts.len());
    if known.is_none() {
        drafts.push(Draft { place: place.clone(), message, label: None, help: None, alone: None });
    }
    &mut drafts[index]
}

/// `text` with the bytes of `secrets` as stars; line breaks stay, so every span stays true.
fn blot(text: &str, secrets: &[Range<usize>]) -> String {
    let mut shown = String::with_capacity(text.len());
    for (at, character) in text.char_indices() {
        if character != '\n' && secrets.iter().any(|secret| secret.contains(&at)) {
            shown.extend(std::iter::repeat_n('*', character.len_utf8()));
        } else {
            shown.push(character);
        }
    }
    shown
}
