//! What the scripts of a first boot need: names of each other and of the steps before them.
//!
//! The steps in [`BUILT_IN`] come first and need no script. A script that says nothing needs every step before it.

use std::collections::{BTreeMap, BTreeSet};

use super::cluster::FirstBootScript;

/// The steps besides scripts that a script may need, whether or not a node has them. No script may bear their names.
pub(super) const BUILT_IN: [&str; 4] = ["locale", "downloads", "packages", "services"];

/// Why a script could never run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadNeeds {
    /// A need that no step meets.
    #[error("`{script}` needs `{need}`, which is no step of this node{}", nearest.as_ref().map(|n| format!("; did you mean `{n}`?")).unwrap_or_default())]
    Unknown {
        /// The script.
        script: String,
        /// What it names.
        need: String,
        /// The step whose name is nearest.
        nearest: Option<String>,
    },
    /// A script that waits for itself.
    #[error("`{0}` needs itself")]
    Itself(String),
    /// Scripts that wait for each other: each needs the next, the last needs the first.
    #[error("`{}` needs `{}`", .0.first().map_or("", String::as_str), .0.iter().skip(1).chain(.0.first()).map(String::as_str).collect::<Vec<_>>().join("`, which needs `"))]
    Circle(Vec<String>),
    /// A script with the name of another step.
    #[error("`{0}` is the name of a step that is no script: wanted another")]
    BuiltIn(String),
}

/// What is wrong with the scripts of one node, each with the name of the script to blame.
pub(super) fn bad_needs(scripts: &[FirstBootScript]) -> Vec<(&str, BadNeeds)> {
    let mut bad = Vec::new();
    let names: Vec<&str> = scripts.iter().map(|script| script.name.as_str()).collect();
    for script in scripts {
        let name = script.name.as_str();
        if BUILT_IN.contains(&name) {
            bad.push((name, BadNeeds::BuiltIn(name.to_owned())));
        }
        for need in script.needs.iter().flatten() {
            if need == name {
                bad.push((name, BadNeeds::Itself(name.to_owned())));
            } else if !names.contains(&need.as_str()) && !BUILT_IN.contains(&need.as_str()) {
                let others = names.iter().copied().filter(|other| *other != name).chain(BUILT_IN);
                let nearest = nearest(need, others).map(str::to_owned);
                bad.push((name, BadNeeds::Unknown { script: name.to_owned(), need: need.clone(), nearest }));
            }
        }
    }
    if let Some(circle) = circle(scripts) {
        let owned = circle.iter().map(|&name| name.to_owned()).collect();
        bad.extend(circle.first().map(|&first| (first, BadNeeds::Circle(owned))));
    }
    bad
}

/// Some scripts that wait for each other, if there are any.
fn circle(scripts: &[FirstBootScript]) -> Option<Vec<&str>> {
    let names: Vec<&str> = scripts.iter().map(|script| script.name.as_str()).collect();
    let mut needs: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (index, script) in scripts.iter().enumerate() {
        let needed = match &script.needs {
            None => names.iter().copied().take(index).collect(),
            Some(list) => names
                .iter()
                .copied()
                .filter(|other| *other != script.name && list.iter().any(|need| need == other))
                .collect(),
        };
        needs.insert(&script.name, needed);
    }
    // Whatever can run, runs. What is left waits for something that is left.
    let mut done: BTreeSet<&str> = BTreeSet::new();
    loop {
        let before = done.len();
        for &name in &names {
            if needs.get(name).is_some_and(|needs| needs.iter().all(|need| done.contains(need))) {
                done.insert(name);
            }
        }
        if done.len() == before {
            break;
        }
    }
    let mut way: Vec<&str> = names.iter().copied().filter(|name| !done.contains(name)).take(1).collect();
    loop {
        let last = way.last()?;
        let next = needs.get(last)?.iter().copied().find(|need| !done.contains(need))?;
        if let Some(start) = way.iter().position(|name| *name == next) {
            return Some(way.split_off(start));
        }
        way.push(next);
    }
}

/// The one of `names` that `word` may be a slip for.
fn nearest<'n>(word: &str, names: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    names
        .map(|name| (strsim::damerau_levenshtein(word, name), name))
        .filter(|(distance, name)| *distance <= name.len() / 3 + 1)
        .min()
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn script(name: &str, needs: Option<&[&str]>) -> FirstBootScript {
        FirstBootScript {
            name: name.to_owned(),
            script: crate::plan::Content::text("#!/bin/sh\n"),
            needs_network: false,
            needs: needs.map(|needs| needs.iter().map(|&need| need.to_owned()).collect()),
        }
    }

    fn said(scripts: &[FirstBootScript]) -> Vec<String> {
        bad_needs(scripts).into_iter().map(|(name, bad)| format!("{name}: {bad}")).collect()
    }

    #[test]
    fn scripts_may_need_steps_and_each_other_in_any_order() {
        let scripts = [
            script("a", Some(&["b", "packages"])),
            script("b", Some(&[])),
            script("c", None),
            script("d", Some(&["downloads", "services", "a", "a"])),
        ];
        assert!(said(&scripts).is_empty());
    }

    #[test]
    fn what_is_not_there_is_told_with_the_nearest_name() {
        let scripts =
            [script("join", Some(&["pakages", "nothing-like-it"])), script("packages", Some(&["joim"]))];
        assert_eq!(
            said(&scripts),
            [
                "join: `join` needs `pakages`, which is no step of this node; did you mean `packages`?",
                "join: `join` needs `nothing-like-it`, which is no step of this node",
                "packages: `packages` is the name of a step that is no script: wanted another",
                "packages: `packages` needs `joim`, which is no step of this node; did you mean `join`?",
            ]
        );
    }

    #[test]
    fn circles_are_told_once_by_those_in_them() {
        assert_eq!(said(&[script("a", Some(&["a"]))]), ["a: `a` needs itself"]);
        let behind = [
            script("x", Some(&["a"])),
            script("a", Some(&["b"])),
            script("b", Some(&["c"])),
            script("c", Some(&["a"])),
        ];
        assert_eq!(said(&behind), ["a: `a` needs `b`, which needs `c`, which needs `a`"]);
        // The second says nothing, so it needs the first.
        let silent = [script("a", Some(&["b"])), script("b", None)];
        assert_eq!(said(&silent), ["a: `a` needs `b`, which needs `a`"]);
    }
}
