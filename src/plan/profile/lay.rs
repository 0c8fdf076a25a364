//! Lays recipes under what the profile says of each node, and fills in its templates.
//!
//! Comes after the base image has been asked what it is, because recipes may depend on that. Recipes are the lowest
//! layers, in their order: whatever the profile says wins over them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::super::cluster::{Cluster, FileSetting, Node, Settings};
use super::super::edit::Content;
use super::super::facts::OsFacts;
use super::super::host::{HostFile, PATHS, Service, host_files};
use super::super::recipe::{Files, RecipeUse};
use super::super::seed::Seed;
use super::super::template::{Rendered, Renderer, Scope, TemplateError};
use super::document::parse;
use super::layer::{self, Layer};
use super::reader::Reader;
use super::tree::mount_key;
use super::value::Place;
use super::{Faults, Surroundings, settings};

/// A cluster with its recipes laid and its templates filled in.
#[derive(Clone, Debug)]
pub struct Laid {
    /// The cluster; its nodes' settings are complete.
    pub cluster: Cluster,
    /// What runs where.
    pub services: Vec<Service>,
    /// What recipes write beside the images.
    pub host_files: Vec<HostFile>,
}

impl Laid {
    /// Everything that is written beside the images: what any cluster has, then what its recipes add.
    #[must_use]
    pub fn files(&self, facts: Option<&OsFacts>, seed: &Seed) -> Vec<HostFile> {
        host_files(&self.cluster, facts, seed, &self.services, &self.host_files)
    }
}

/// Fills in what a recipe's settings name: see [`Reader::filler`].
#[derive(Clone, Copy)]
pub(super) struct Filler<'a> {
    renderer: &'a Renderer,
    used: &'a RecipeUse,
    node: usize,
}

impl Filler<'_> {
    /// The template `name` of the recipe, filled in.
    pub(super) fn fill(&self, name: &str) -> Result<Content, String> {
        let Some(text) = self.used.recipe.files.text(name) else {
            return Err(format!("found no text `{name}` in the folder of the recipe"));
        };
        let shown = format!("{}/{name}", self.used.recipe.name);
        let rendered = self.renderer.render(text, &scope(&shown, self.used, Some(self.node)));
        rendered.map(Rendered::into_content).map_err(|error| error.to_string())
    }
}

fn scope<'s>(name: &'s str, used: &'s RecipeUse, node: Option<usize>) -> Scope<'s> {
    Scope {
        name,
        recipe: &used.recipe.name,
        part: used.part.as_deref(),
        params: Some(&used.params),
        files: Some(&used.recipe.files),
        node,
    }
}

/// The files of a recipe as the surroundings of its settings: `source = "x"` is `x` in its folder.
struct Shelved {
    root: PathBuf,
    files: Arc<Files>,
}

impl Surroundings for Shelved {
    fn read_file(&self, path: &Path) -> std::io::Result<Vec<u8>> {
        let inside = path.strip_prefix(&self.root).ok().and_then(Path::to_str);
        let found = inside.and_then(|inside| self.files.get(inside));
        found.map(<[u8]>::to_vec).ok_or_else(|| std::io::ErrorKind::NotFound.into())
    }

    fn names_in(&self, _: &Path) -> std::io::Result<Vec<(String, bool)>> {
        Err(std::io::ErrorKind::Unsupported.into())
    }

    fn env(&self, _: &str) -> Option<String> {
        None
    }

    fn home(&self) -> Option<PathBuf> {
        None
    }
}

fn root_of(used: &RecipeUse) -> PathBuf {
    Path::new("recipes").join(&used.recipe.name)
}

/// Lays the recipes of every node.
///
/// # Errors
/// Everything that is wrong with a recipe, what it is used for, or a template.
pub fn lay(cluster: &Cluster, facts: &OsFacts, seed: &Seed) -> Result<Laid, Faults> {
    let renderer = Renderer::new(cluster, Some(facts), seed);
    let shelved = |used: &RecipeUse| Shelved { root: root_of(used), files: Arc::clone(&used.recipe.files) };
    let shelves: Vec<Vec<Shelved>> =
        cluster.nodes.iter().map(|node| node.recipes.uses.iter().map(shelved).collect()).collect();
    let nowhere = Shelved { root: PathBuf::new(), files: Arc::default() };
    let mut laying = Laying { reader: Reader::after(&nowhere, &cluster.origin), renderer: &renderer };
    let mut laid = cluster.clone();
    for (index, (node, shelves)) in cluster.nodes.iter().zip(&shelves).enumerate() {
        let settings = laying.settings(facts, index, node, shelves);
        if let Some(node) = laid.nodes.get_mut(index) {
            node.settings = settings;
        }
    }
    laying.laid(laid)
}

/// What recipes tell of a cluster whose image nobody has looked into: services, and files for the workstation. The settings
/// of the nodes stay as the profile has them.
///
/// # Errors
/// As for [`lay`].
pub fn lay_outside(cluster: &Cluster, seed: &Seed) -> Result<Laid, Faults> {
    let renderer = Renderer::new(cluster, None, seed);
    let nowhere = Shelved { root: PathBuf::new(), files: Arc::default() };
    let laying = Laying { reader: Reader::after(&nowhere, &cluster.origin), renderer: &renderer };
    laying.laid(cluster.clone())
}

struct Laying<'a> {
    reader: Reader<'a>,
    renderer: &'a Renderer,
}

impl<'a> Laying<'a> {
    /// With what is told of the whole cluster.
    fn laid(mut self, cluster: Cluster) -> Result<Laid, Faults> {
        let services = self.services(&cluster);
        let host_files = self.host_files(&cluster);
        let (faults, _, _) = self.reader.finish();
        if faults.is_empty() { Ok(Laid { cluster, services, host_files }) } else { Err(Faults(faults)) }
    }

    /// The settings of a node with its recipes under them, and its templates filled in.
    fn settings(
        &mut self,
        facts: &OsFacts,
        index: usize,
        node: &'a Node,
        shelves: &'a [Shelved],
    ) -> Settings {
        let mut settings = node.settings.clone();
        if let Some(own) = node.recipes.layer.as_deref().filter(|_| !node.recipes.uses.is_empty()) {
            let mut under = Layer::default();
            let mut taken = BTreeMap::new();
            for (used, shelf) in node.recipes.uses.iter().zip(shelves) {
                self.check_image(facts, used, own);
                let filler = Filler { renderer: self.renderer, used, node: index };
                self.reader.around = shelf;
                self.reader.filler = Some(filler);
                let part = used.part.as_ref().map(|part| format!("{part}.toml"));
                for file in std::iter::once(String::from("node.toml")).chain(part) {
                    let Some(layer) = self.layer(&file, used, index, node) else { continue };
                    self.take(&layer, &used.recipe.name, &mut taken);
                    under = under.under(&layer);
                }
                self.reader.filler = None;
            }
            let mut merged = under.under(own);
            // The first user of the profile takes over the shipped account, not the first of a recipe.
            let is_own = |name: &str| own.users.iter().any(|user| user.value.name == name);
            merged.users.sort_by_key(|user| !is_own(&user.value.name));
            settings::every_need_can_be_met(&mut self.reader, &merged);
            settings = settings::of_layer(&mut self.reader, merged, node.settings.wifi.clone());
        }
        for file in &mut settings.files {
            self.fill_own(file, index, node);
        }
        settings
    }

    /// What one file of a recipe says of a node.
    fn layer(&mut self, file: &str, used: &RecipeUse, index: usize, node: &Node) -> Option<Layer> {
        let text = used.recipe.files.text(file)?;
        let shown = format!("{}/{file}", used.recipe.name);
        let path = root_of(used).join(file);
        let rendered = match self.renderer.render(text, &scope(&shown, used, Some(index))) {
            Ok(rendered) => rendered,
            Err(error) => {
                self.fault_in(&path, text, &error);
                return None;
            }
        };
        if rendered.is_secret {
            let source = self.reader.add_source(&path, String::new());
            let message = format!("`{shown}` uses a secret");
            self.reader
                .fault(&Place { file: source, span: 0..0 }, message)
                .help("secrets go into a file or a script that is a `template` of its own");
            return None;
        }
        // Named as it is written for this node: what is at fault may be what was filled in.
        let path = path.with_file_name(format!("{file} (for {})", node.name));
        let source = self.reader.add_source(&path, rendered.text);
        let whole = parse(&mut self.reader, source)?;
        let mut fields = self.reader.table(&whole)?;
        let layer = layer::read(&mut self.reader, &mut fields);
        fields.finish(&mut self.reader);
        for (place, what) in [
            layer.wifi.as_ref().map(|wifi| (&wifi.place, "`wifi`")),
            layer
                .recipes
                .items
                .first()
                .map(|word| (&word.place, "`recipes`; what a recipe needs is in its recipe.toml")),
        ]
        .into_iter()
        .flatten()
        {
            self.reader.fault(place, format!("a recipe does not set {what}"));
        }
        Some(layer)
    }

    /// Draws the line of a template that is at fault.
    fn fault_in(&mut self, path: &Path, text: &str, error: &TemplateError) {
        let line = error.line.filter(|_| path.ends_with(&error.name)).unwrap_or(1);
        let start: usize = text.split_inclusive('\n').take(line.saturating_sub(1)).map(str::len).sum();
        let len = text.get(start..).and_then(|rest| rest.lines().next()).map_or(0, str::len);
        let source = self.reader.add_source(path, text.to_owned());
        let message = if path.ends_with(&error.name) { error.what.clone() } else { error.to_string() };
        self.reader.fault(&Place { file: source, span: start..start + len }, message);
    }

    fn check_image(&mut self, facts: &OsFacts, used: &RecipeUse, own: &Layer) {
        let release = &facts.release;
        let named = own.recipes.items.iter();
        let place = named.clone().find(|word| used.is(&word.value)).or(named.clone().next());
        let Some(place) = place.map(|word| word.place.clone()) else { return };
        let recipe = &used.recipe;
        if !recipe.releases.is_empty() && !recipe.releases.contains(&release.codename) {
            let message = format!("the recipe `{}` is for {}", recipe.name, recipe.releases.join(", "));
            self.reader.fault(&place, format!("{message}; the image is {}", release.pretty_name));
        }
        if !recipe.archs.is_empty() && !recipe.archs.contains(&facts.arch) {
            let archs: Vec<&str> = recipe.archs.iter().map(|arch| arch.name()).collect();
            let message = format!("the recipe `{}` is for {}", recipe.name, archs.join(", "));
            self.reader.fault(&place, format!("{message}; the image is {}", facts.arch.name()));
        }
    }

    /// Two recipes that write the same thing do not know of each other: the profile must say which one it wants.
    fn take(&mut self, layer: &Layer, recipe: &str, taken: &mut BTreeMap<(&'static str, String), String>) {
        let files = layer.files.items.iter().map(|at| ("file", at.value.path.to_string(), &at.place));
        let mounts = layer.fstab.items.iter().map(|at| ("mount", mount_key(&at.value), &at.place));
        let scripts =
            layer.first_boot.items.iter().map(|at| ("first-boot script", at.value.name.clone(), &at.place));
        for (what, name, place) in files.chain(mounts).chain(scripts) {
            let key = (what, name);
            match taken.get(&key) {
                Some(other) if other != recipe => {
                    let message = format!("the {what} `{}` is that of the recipe `{other}` too", key.1);
                    self.reader.fault(place, message);
                }
                _ => {
                    taken.insert(key, recipe.to_owned());
                }
            }
        }
    }

    /// A template of the profile itself.
    fn fill_own(&mut self, file: &mut FileSetting, index: usize, node: &Node) {
        let Some(template) = file.template.take() else { return };
        let name = template.path.display().to_string();
        let scope =
            Scope { name: &name, recipe: "", part: None, params: None, files: None, node: Some(index) };
        match self.renderer.render(&template.text, &scope) {
            Ok(rendered) => {
                let is_secret = rendered.is_secret || file.content.is_secret();
                file.content = Rendered { is_secret, ..rendered }.into_content();
            }
            Err(error) => {
                let error = TemplateError { what: format!("{} (for {})", error.what, node.name), ..error };
                self.fault_in(&template.path, &template.text, &error);
            }
        }
    }

    fn services(&mut self, cluster: &Cluster) -> Vec<Service> {
        let mut services = Vec::new();
        for (index, node) in cluster.nodes.iter().enumerate() {
            for used in &node.recipes.uses {
                for words in &used.recipe.services {
                    if words.part.is_some() && words.part != used.part {
                        continue;
                    }
                    let url = words.url.as_ref().and_then(|url| self.text(url, used, Some(index)));
                    services.push(Service { node: node.name.clone(), name: words.name.clone(), url });
                }
            }
        }
        services
    }

    fn text(&mut self, text: &str, used: &RecipeUse, node: Option<usize>) -> Option<String> {
        let shown = format!("{}/recipe.toml", used.recipe.name);
        match self.renderer.render(text, &scope(&shown, used, node)) {
            Ok(rendered) if !rendered.is_secret => Some(rendered.text),
            Ok(_) => None,
            Err(error) => {
                self.fault_in(&root_of(used).join("recipe.toml"), text, &error);
                None
            }
        }
    }

    /// Once for each recipe, with the parameters of the first node that uses it.
    fn host_files(&mut self, cluster: &Cluster) -> Vec<HostFile> {
        let mut done: Vec<&str> = Vec::new();
        let mut files: Vec<HostFile> = Vec::new();
        for used in cluster.nodes.iter().flat_map(|node| &node.recipes.uses) {
            if done.contains(&used.recipe.name.as_str()) {
                continue;
            }
            done.push(&used.recipe.name);
            for words in &used.recipe.host_files {
                let shown = format!("{}/{}", used.recipe.name, words.template);
                let Some(text) = used.recipe.files.text(&words.template) else { continue };
                match self.renderer.render(text, &scope(&shown, used, None)) {
                    // A file that a recipe leaves empty is not meant to be there.
                    Ok(rendered) if rendered.text.trim().is_empty() => {}
                    Ok(rendered) => {
                        let taken = PATHS.contains(&words.path.as_str())
                            || words.path.ends_with(".img")
                            || files.iter().any(|file| file.path == words.path);
                        if taken {
                            let what = format!("the file `{}` is written by others, too", words.path);
                            let error = TemplateError { name: shown.clone(), line: None, what };
                            self.fault_in(&root_of(used).join("recipe.toml"), "", &error);
                        }
                        files.push(HostFile::of_recipe(&words.path, rendered.into_content()));
                    }
                    Err(error) => self.fault_in(&root_of(used).join(&words.template), text, &error),
                }
            }
        }
        files
    }
}
