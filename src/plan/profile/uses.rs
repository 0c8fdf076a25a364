//! Which recipes a node uses: those its layers name and those that these need, each with its parameters.

use super::super::recipe::{Count, Params, Part, Recipe, RecipeUse};
use super::layer::Layer;
use super::reader::{Reader, nearest};
use super::recipe::{ParamLayer, Shelf, fitting};
use super::value::{At, Place};

/// Reads what a node uses, with what that needs, each once and after what it needs.
struct Uses<'u, 'r> {
    reader: &'u mut Reader<'r>,
    shelf: &'u mut Shelf,
    params: &'u [At<ParamLayer>],
    /// What is being added, from the profile's word inwards.
    open: Vec<String>,
    all: Vec<(RecipeUse, Place)>,
}

/// The recipes of one node.
pub(super) fn of_layer(reader: &mut Reader<'_>, shelf: &mut Shelf, layer: &Layer) -> Vec<RecipeUse> {
    let mut uses = Uses { reader, shelf, params: &layer.params, open: Vec::new(), all: Vec::new() };
    for word in &layer.recipes.items {
        uses.add(&word.value, &word.place);
    }
    uses.check_conflicts();
    let Uses { reader, all, .. } = uses;
    for param in &layer.params {
        let used = all.iter().find(|(used, _)| used.recipe.name == param.value.recipe.value);
        let Some((used, _)) = used else { continue };
        let known = used.recipe.params.iter().map(|known| known.name.as_str());
        if !known.clone().any(|known| known == param.value.name) {
            let help = match nearest(&param.value.name, known.clone()) {
                Some(near) => format!("did you mean `{near}`?"),
                None if used.recipe.params.is_empty() => String::from("it has none"),
                None => format!("known here: {}", known.collect::<Vec<_>>().join(", ")),
            };
            let message =
                format!("the recipe `{}` has no parameter `{}`", used.recipe.name, param.value.name);
            reader.fault(&param.place, message).label("not known").help(help);
        }
    }
    all.into_iter().map(|(used, _)| used).collect()
}

impl Uses<'_, '_> {
    fn add(&mut self, word: &str, place: &Place) {
        if self.all.iter().any(|(used, _)| used.word() == word) {
            return;
        }
        if self.open.iter().any(|open| open == word) {
            let road = format!("{} → {word}", self.open.join(" → "));
            self.reader.fault(place, format!("recipes need each other in a circle: {road}"));
            return;
        }
        let (name, part) = word.split_once('/').map_or((word, None), |(name, part)| (name, Some(part)));
        let Some(recipe) = self.shelf.find(self.reader, name, place) else { return };
        let Some(part) = self.part(&recipe, part, place) else { return };
        let part_needs = part.map(|part| part.needs.clone()).unwrap_or_default();
        let part = part.map(|part| part.name.clone());
        self.open.push(word.to_owned());
        for need in recipe.needs.iter().chain(&part_needs) {
            self.add(need, place);
        }
        self.open.pop();
        let params = self.params_of(&recipe, place);
        self.all.push((RecipeUse { recipe, part, params }, place.clone()));
    }

    /// The part that is meant; `Some(None)` for a recipe without parts.
    fn part<'p>(
        &mut self,
        recipe: &'p Recipe,
        word: Option<&str>,
        place: &Place,
    ) -> Option<Option<&'p Part>> {
        let found = word.and_then(|word| recipe.parts.iter().find(|part| part.name == word));
        let known = || {
            let words: Vec<String> =
                recipe.parts.iter().map(|part| format!("`{}/{}`", recipe.name, part.name)).collect();
            words.join(", ")
        };
        let message = match (word, found) {
            (None, _) if recipe.parts.is_empty() => return Some(None),
            (Some(_), Some(part)) => return Some(Some(part)),
            (None, _) => format!("the recipe `{}` has parts, wanted one of {}", recipe.name, known()),
            (Some(word), None) if recipe.parts.is_empty() => {
                format!("the recipe `{}` has no parts, found `{word}`", recipe.name)
            }
            (Some(word), None) => {
                format!("the recipe `{}` has no part `{word}`, wanted one of {}", recipe.name, known())
            }
        };
        self.reader.fault(place, message);
        None
    }

    /// Every parameter of the recipe, as the profile says or by default.
    fn params_of(&mut self, recipe: &Recipe, place: &Place) -> Params {
        let mut params = Params::new();
        for param in &recipe.params {
            let set = self
                .params
                .iter()
                .find(|set| set.value.recipe.value == recipe.name && set.value.name == param.name);
            let value = match set {
                Some(set) => {
                    self.reader.judge(&set.place, fitting(param, &set.value.value)).map(|value| value.value)
                }
                None if param.default.is_some() => param.default.clone(),
                None => {
                    let message =
                        format!("the recipe `{}` needs `{}`: {}", recipe.name, param.name, param.help);
                    let help = format!("set it in `[defaults.recipe.{}]`", recipe.name);
                    self.reader.fault(place, message).help(help);
                    None
                }
            };
            params.extend(value.map(|value| (param.name.clone(), value)));
        }
        params
    }

    fn check_conflicts(&mut self) {
        let mut clashes = Vec::new();
        for (used, place) in &self.all {
            let part = used.part.as_ref().and_then(|name| used.recipe.parts.iter().find(|p| p.name == *name));
            let part_conflicts = part.map(|part| part.conflicts.as_slice()).unwrap_or_default();
            for conflict in used.recipe.conflicts.iter().chain(part_conflicts) {
                for (other, _) in self.all.iter().filter(|(other, _)| other.is(conflict)) {
                    let message =
                        format!("`{}` and `{}` do not go together on one node", used.word(), other.word());
                    clashes.push((place.clone(), message));
                }
            }
        }
        for (place, message) in clashes {
            self.reader.fault(&place, message);
        }
    }
}

/// What holds for the cluster as a whole: parts that some node must have, and parameters of recipes that none has.
pub(super) fn check_cluster<'n>(
    reader: &mut Reader<'_>,
    shelf: &Shelf,
    nodes: impl Iterator<Item = &'n [RecipeUse]> + Clone,
    layers: &[&Layer],
) {
    let places = |name: &str| {
        let is_of = |word: &&At<String>| word.value.split('/').next() == Some(name);
        layers.iter().flat_map(|layer| &layer.recipes.items).find(is_of).map(|word| word.place.clone())
    };
    for recipe in shelf.known.values().flatten() {
        for part in &recipe.parts {
            let word = format!("{}/{}", recipe.name, part.name);
            let count = nodes.clone().flatten().filter(|used| used.word() == word).count();
            let any = nodes.clone().flatten().any(|used| used.recipe.name == recipe.name);
            let wanted = match part.nodes {
                _ if !any => continue,
                Count::Some if count == 0 => "at least one",
                Count::One if count != 1 => "one",
                _ => continue,
            };
            let place = places(&recipe.name).unwrap_or(Place { file: 0, span: 0..0 });
            let message = format!("found {count} nodes with `{word}`, wanted {wanted}");
            reader.fault(&place, message).help(part.description.clone());
        }
    }
    for param in layers.iter().flat_map(|layer| &layer.params) {
        let At { value: name, place } = &param.value.recipe;
        if !nodes.clone().flatten().any(|used| used.recipe.name == *name) {
            let used: Vec<&str> = shelf.known.keys().map(String::as_str).collect();
            let help = nearest(name, used.into_iter()).map(|near| format!("did you mean `{near}`?"));
            reader.warn(place, format!("no node uses the recipe `{name}`")).help = help;
        }
    }
}
