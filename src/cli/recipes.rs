//! `cardpress recipes`

use std::path::{Path, PathBuf};

use anyhow::anyhow;
use clap::Args;
use serde_json::{Value, json};

use crate::plan::profile;
use crate::plan::{Count, ParamValue, Recipe};

use super::args::Global;
use super::report::Failure;
use super::subject::Host;
use super::ui::{self};

const HELP: &str = "\
Examples:
  cardpress recipes                          every recipe, with one line
  cardpress recipes slurm                    parts and parameters, to be copied
  cardpress recipes --profile my/rack.toml   with those in my/recipes/";

/// `cardpress recipes`
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(super) struct Recipes {
    /// The one to explain.
    pub(super) name: Option<String>,

    /// The profile whose own recipes are listed, too [default: those in ./recipes].
    #[arg(long, value_name = "PROFILE")]
    pub(super) profile: Option<PathBuf>,
}

pub(super) fn run(args: &Recipes, global: &Global) -> Result<(), Failure> {
    if let Some(profile) = args.profile.as_deref().filter(|profile| !profile.is_file()) {
        return Err(Failure::Usage(anyhow!("--profile: `{}` is no file", profile.display())));
    }
    let folder =
        args.profile.as_deref().map_or(Path::new(""), |profile| profile.parent().unwrap_or(Path::new("")));
    let all = profile::recipes(Some(folder), &Host).map_err(Failure::Profile)?;
    let Some(name) = &args.name else {
        if global.json {
            let all: Vec<Value> = all.iter().map(to_json).collect();
            return ui::print(&format!("{}\n", Value::Array(all)));
        }
        return ui::print(&list(&all));
    };
    let family = name.split('/').next().unwrap_or(name);
    let Some(recipe) = all.iter().find(|recipe| recipe.name == family) else {
        let known: Vec<&str> = all.iter().map(|recipe| recipe.name.as_str()).collect();
        let help = match profile::nearest(family, known.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("there are {}", known.join(", ")),
        };
        return Err(Failure::Usage(anyhow!("there is no recipe `{name}`; {help}")));
    };
    if global.json {
        return ui::print_object(to_json(recipe));
    }
    ui::print(&explain(recipe))
}

/// Each word that a profile may use, with its line.
fn list(all: &[Recipe]) -> String {
    let mut rows: Vec<(String, &str)> = Vec::new();
    for recipe in all {
        if recipe.parts.is_empty() {
            rows.push((recipe.name.clone(), &recipe.description));
        }
        let part = |part: &crate::plan::Part| format!("{}/{}", recipe.name, part.name);
        rows.extend(recipe.parts.iter().map(|p| (part(p), p.description.as_str())));
    }
    let width = rows.iter().map(|(word, _)| word.len()).max().unwrap_or(0);
    rows.iter().map(|(word, description)| format!("{word:<width$}  {description}\n")).collect()
}

fn explain(recipe: &Recipe) -> String {
    let mut text = format!("{}: {}\n", recipe.name, recipe.description);
    if let Some(about) = &recipe.about {
        text += &format!("\n{}\n", about.trim());
    }
    let words = |title: &str, words: &[String]| match words.is_empty() {
        true => String::new(),
        false => format!("{title}: {}\n", words.join(", ")),
    };
    let archs: Vec<String> = recipe.archs.iter().map(|arch| arch.name().to_owned()).collect();
    let facts = words("releases", &recipe.releases)
        + &words("architectures", &archs)
        + &words("brings along", &recipe.needs)
        + &words("not beside", &recipe.conflicts);
    if !facts.is_empty() {
        text += &format!("\n{facts}");
    }
    if !recipe.parts.is_empty() {
        text += "\nParts:\n";
    }
    for part in &recipe.parts {
        let count = match part.nodes {
            Count::Any => "any number of nodes",
            Count::Some => "at least one node",
            Count::One => "one node",
        };
        text += &format!("  {}/{}  {} ({count})\n", recipe.name, part.name, part.description);
        text += &words("    brings along", &part.needs);
        text += &words("    not beside", &part.conflicts);
    }
    text += "\nIn a profile:\n";
    let word = recipe
        .parts
        .first()
        .map_or_else(|| recipe.name.clone(), |part| format!("{}/{}", recipe.name, part.name));
    text += &format!("  recipes = [\"{word}\"]\n");
    if !recipe.params.is_empty() {
        text += &format!("\n  [defaults.recipe.{}]\n", recipe.name);
    }
    for param in &recipe.params {
        let one_of = match param.one_of.is_empty() {
            true => String::new(),
            false => format!("; one of {}", param.one_of.join(", ")),
        };
        text += &format!("  # {} ({}{one_of})\n", param.help, param.kind.word());
        text += &match &param.default {
            Some(value) => format!("  # {} = {}\n", param.name, json_of(value)),
            None => format!("  {} = …\n", param.name),
        };
    }
    text
}

/// The value as JSON, and so as TOML, too; a secret has no default.
fn json_of(value: &ParamValue) -> Value {
    match value {
        ParamValue::Text(text) => json!(text),
        ParamValue::List(list) => json!(list),
        ParamValue::Integer(number) => json!(number),
        ParamValue::Flag(flag) => json!(flag),
        ParamValue::Secret(_) => Value::Null,
    }
}

fn to_json(recipe: &Recipe) -> Value {
    let part = |part: &crate::plan::Part| {
        json!({
            "name": part.name,
            "description": part.description,
            "needs": part.needs,
            "conflicts": part.conflicts,
            "nodes": match part.nodes { Count::Any => "any", Count::Some => "some", Count::One => "one" },
        })
    };
    let param = |param: &crate::plan::Param| {
        json!({
            "name": param.name,
            "type": param.kind.word(),
            "one_of": param.one_of,
            "default": param.default.as_ref().map(json_of),
            "help": param.help,
        })
    };
    json!({
        "name": recipe.name,
        "description": recipe.description,
        "about": recipe.about,
        "releases": recipe.releases,
        "architectures": recipe.archs.iter().map(|arch| arch.name()).collect::<Vec<_>>(),
        "needs": recipe.needs,
        "conflicts": recipe.conflicts,
        "parts": recipe.parts.iter().map(part).collect::<Vec<_>>(),
        "params": recipe.params.iter().map(param).collect::<Vec<_>>(),
    })
}
