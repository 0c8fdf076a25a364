//! Recipes: folders of data that say what a piece of software needs on a node, so that a profile need not.
//!
//! A recipe is a `recipe.toml` (what it is, its parameters, what it needs and what it does not go with) and `node.toml`:
//! a template that becomes settings as a `[[node]]` could have them. A recipe with parts (`slurm/controller`,
//! `slurm/compute`) has `PART.toml` for each besides. All other files of the folder are templates or plain files that
//! these name. How to write one: `docs/recipes.md`.
//!
//! Reading them is [`super::profile`]'s, which knows the profile's words; here is what they are.

use std::collections::BTreeMap;
use std::sync::Arc;

use include_dir::{Dir, include_dir};

use crate::base::{Arch, Secret};

/// The recipes that the program carries, by the names of their folders.
static BUILT_IN: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/profiles/recipes");

/// The names of the recipes that the program carries, sorted.
#[must_use]
pub(super) fn built_in_names() -> Vec<&'static str> {
    let mut names: Vec<&str> = BUILT_IN.dirs().filter_map(|dir| dir.path().to_str()).collect();
    names.sort_unstable();
    names
}

/// The files of a recipe that the program carries.
pub(super) fn built_in(name: &str) -> Option<Files> {
    let dir = BUILT_IN.get_dir(name)?;
    let mut files = BTreeMap::new();
    let mut folders = vec![dir];
    while let Some(folder) = folders.pop() {
        folders.extend(folder.dirs());
        for file in folder.files() {
            let path = file.path().strip_prefix(name).ok()?.to_str()?;
            files.insert(path.to_owned(), file.contents().to_vec());
        }
    }
    Some(Files(files))
}

/// A recipe's files by their paths in its folder, parts divided by `/`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Files(pub(super) BTreeMap<String, Vec<u8>>);

impl Files {
    pub(super) fn get(&self, path: &str) -> Option<&[u8]> {
        self.0.get(path).map(Vec::as_slice)
    }

    pub(super) fn text(&self, path: &str) -> Option<&str> {
        std::str::from_utf8(self.get(path)?).ok()
    }
}

/// A recipe, read and checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recipe {
    /// The name of its folder.
    pub name: String,
    /// One line.
    pub description: String,
    /// More than one line, where that is not enough.
    pub about: Option<String>,
    /// Codenames of the releases it is for; empty: any.
    pub releases: Vec<String>,
    /// The architectures it is for; empty: any.
    pub archs: Vec<Arch>,
    /// Its parameters.
    pub params: Vec<Param>,
    /// Recipes (`NAME` or `NAME/PART`) that are laid before it on the same node.
    pub needs: Vec<String>,
    /// Recipes that the same node must not have.
    pub conflicts: Vec<String>,
    /// Its parts; none: it is used by its own name.
    pub parts: Vec<Part>,
    /// What runs on a node that has it.
    pub(super) services: Vec<ServiceWords>,
    /// What it writes beside the images.
    pub(super) host_files: Vec<HostFileWords>,
    pub(super) files: Arc<Files>,
}

/// A part of a recipe: what one kind of node has of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// As in `recipes = ["NAME/PART"]`.
    pub name: String,
    /// One line.
    pub description: String,
    /// As [`Recipe::needs`].
    pub needs: Vec<String>,
    /// As [`Recipe::conflicts`].
    pub conflicts: Vec<String>,
    /// How many nodes must have this part in a cluster that uses any part of the recipe.
    pub nodes: Count,
}

/// How many nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Count {
    /// As many as there may be, none too.
    Any,
    /// One at least.
    Some,
    /// One and no more.
    One,
}

/// A parameter of a recipe: `[param.NAME]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Param {
    /// As in `[defaults.recipe.RECIPE]`; templates write `_` for `-`.
    pub name: String,
    /// What values it takes.
    pub kind: ParamKind,
    /// The words it is one of; empty: any.
    pub one_of: Vec<String>,
    /// What it is when the profile does not say; `None`: the profile must.
    pub default: Option<ParamValue>,
    /// One line.
    pub help: String,
}

/// The type of a parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParamKind {
    /// One line of text.
    String,
    /// A list of them.
    Strings,
    /// A whole number.
    Integer,
    /// `true` or `false`.
    Boolean,
    /// An absolute path on the node.
    Path,
    /// 64 hexadecimal digits.
    Sha256,
    /// `{ file = "…" }` or `{ env = "…" }`.
    Secret,
}

impl ParamKind {
    /// Every kind, by the word in `type = "…"`.
    pub const ALL: [(&'static str, Self); 7] = [
        ("string", Self::String),
        ("strings", Self::Strings),
        ("integer", Self::Integer),
        ("boolean", Self::Boolean),
        ("path", Self::Path),
        ("sha256", Self::Sha256),
        ("secret", Self::Secret),
    ];

    /// The word in `type = "…"`.
    #[must_use]
    pub fn word(self) -> &'static str {
        Self::ALL.iter().find(|(_, kind)| *kind == self).map_or("", |(word, _)| word)
    }
}

/// The value of a parameter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ParamValue {
    /// Text, a path, a digest.
    Text(String),
    /// A list.
    List(Vec<String>),
    /// A number.
    Integer(i64),
    /// A flag.
    Flag(bool),
    /// A secret.
    Secret(Secret<String>),
}

/// The parameters of one recipe on one node, all of them.
pub type Params = BTreeMap<String, ParamValue>;

/// A recipe that a node uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecipeUse {
    /// Which.
    pub recipe: Arc<Recipe>,
    /// Which part of it, where it has parts.
    pub part: Option<String>,
    /// With what.
    pub params: Params,
}

impl RecipeUse {
    /// `NAME` or `NAME/PART`.
    #[must_use]
    pub fn word(&self) -> String {
        match &self.part {
            Some(part) => format!("{}/{part}", self.recipe.name),
            None => self.recipe.name.clone(),
        }
    }

    /// Is this meant by `word`: `NAME/PART`, or `NAME` for any part?
    #[must_use]
    pub fn is(&self, word: &str) -> bool {
        word == self.recipe.name || word == self.word()
    }
}

/// `[[service]]` of a recipe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ServiceWords {
    pub(super) name: String,
    pub(super) part: Option<String>,
    /// A template.
    pub(super) url: Option<String>,
}

/// `[[host-file]]` of a recipe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct HostFileWords {
    /// Relative, below the folder of the images.
    pub(super) path: String,
    /// The file of the recipe.
    pub(super) template: String,
}
