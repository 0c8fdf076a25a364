//! `cardpress plan`

use std::cmp::Reverse;
use std::collections::HashMap;

use clap::Args;
use serde_json::json;

use crate::build::EditEntry;
use crate::plan::profile::fold;
use crate::plan::{Edit, NodePlan, Tree};

use super::args::Global;
use super::edit;
use super::report::{Failure, plural};
use super::style;
use super::subject::{Prepared, Subject, prepare};
use super::ui::{self, Ui};

const HELP: &str = "\
Examples:
  cardpress plan home.toml                       every node
  cardpress plan home.toml --node worker1        this one alone
  cardpress plan home.toml --image base.img.xz   against an image that is here
  cardpress plan home.toml --json | jq '.nodes[].edits[].path'

The base image is downloaded and unpacked first, where the cache does not have it yet. cardpress's
own programs for the first boot are the same everywhere, and shown with -v only.";

#[derive(Clone, Debug, Args)]
#[command(after_help = HELP)]
pub(super) struct Plan {
    #[command(flatten)]
    pub(super) subject: Subject,
}

pub(super) fn run(args: &Plan, global: &Global, ui: &Ui) -> Result<(), Failure> {
    let Prepared { laid, opened, plans, .. } = prepare(&args.subject, false, global, ui)?;
    if global.json {
        let nodes: Vec<_> = plans
            .iter()
            .map(|plan| {
                let edits: Vec<EditEntry> = plan.edits.iter().map(EditEntry::from).collect();
                json!({ "name": plan.node, "edits": edits, "warnings": plan.warnings })
            })
            .collect();
        return ui::print_object(json!({ "cluster": laid.cluster.name, "nodes": nodes }));
    }
    ui::print_painted(
        &groups(&plans)
            .iter()
            .map(|group| show(group, &plans, &opened.facts.tree, global.verbose > 0))
            .collect::<String>(),
    )
}

/// What some nodes have in common, and no others.
struct Group<'p> {
    /// Their indexes.
    nodes: Vec<usize>,
    warnings: Vec<&'p str>,
    edits: Vec<&'p Edit>,
}

/// What nodes share comes once, what the most share first; then what each has alone. Each keeps the order of its nodes.
fn groups(plans: &[NodePlan]) -> Vec<Group<'_>> {
    let edits = plans.iter().map(|plan| plan.edits.iter());
    let edits = shared(edits, |edit| format!("{} {}", edit.section, edit::heading(edit, false)));
    let warnings = shared(plans.iter().map(|plan| plan.warnings.iter()), String::clone);
    let mut groups: Vec<Group<'_>> = Vec::new();
    let mut at: HashMap<Vec<usize>, usize> = HashMap::new();
    let mut group = |groups: &mut Vec<Group<'_>>, nodes: Vec<usize>| {
        *at.entry(nodes.clone()).or_insert_with(|| {
            groups.push(Group { nodes, warnings: Vec::new(), edits: Vec::new() });
            groups.len() - 1
        })
    };
    for (edit, nodes) in edits {
        let index = group(&mut groups, nodes);
        groups.get_mut(index).into_iter().for_each(|group| group.edits.push(edit));
    }
    for (warning, nodes) in warnings {
        let index = group(&mut groups, nodes);
        groups.get_mut(index).into_iter().for_each(|group| group.warnings.push(warning));
    }
    groups.sort_by_key(|group| (Reverse(group.nodes.len()), group.nodes.clone()));
    groups
}

/// Each thing once, with the indexes of all lists it is in. Only things of one name are compared: there may be many.
fn shared<'t, T: PartialEq>(
    lists: impl Iterator<Item = impl Iterator<Item = &'t T>>,
    name: impl Fn(&T) -> String,
) -> Vec<(&'t T, Vec<usize>)> {
    let mut all: Vec<(&T, Vec<usize>)> = Vec::new();
    let mut by_name: HashMap<String, Vec<usize>> = HashMap::new();
    for (node, list) in lists.enumerate() {
        for thing in list {
            let namesakes = by_name.entry(name(thing)).or_default();
            // What a node has twice is twice.
            let is_it = |index: &&usize| {
                all.get(**index).is_some_and(|(known, nodes)| *known == thing && nodes.last() != Some(&node))
            };
            let found = namesakes.iter().find(is_it).copied();
            match found.and_then(|index| all.get_mut(index)) {
                Some((_, nodes)) => nodes.push(node),
                None => {
                    namesakes.push(all.len());
                    all.push((thing, vec![node]));
                }
            }
        }
    }
    all
}

fn show(group: &Group<'_>, plans: &[NodePlan], tree: &Tree, is_whole: bool) -> String {
    let names: Vec<&str> =
        group.nodes.iter().filter_map(|node| Some(plans.get(*node)?.node.as_str())).collect();
    let edits = format!("{} {}", group.edits.len(), plural(group.edits.len(), "edit"));
    let heading = match (names.len(), plans.len()) {
        (1, 1) => format!("node {} ({edits})", names.concat()),
        (1, _) => format!("node {} ({edits} of its own)", names.concat()),
        (count, all) => {
            let every = if count == all { ", every node" } else { "" };
            format!("nodes {} ({count} nodes{every}; {edits} in common)", fold(&names))
        }
    };
    let mut text = style::paint(style::HEADING, &heading) + "\n";
    for warning in &group.warnings {
        text += &format!("  {} {warning}\n", style::paint(style::WARNING, "warning:"));
    }
    for edit in &group.edits {
        text += &edit::show(edit, tree, is_whole);
    }
    text + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Action, Content};

    fn edit(path: &str, text: &str) -> Edit {
        let path = path.parse().unwrap();
        Edit {
            section: "file",
            action: Action::WriteFile { path, content: Content::text(text), mode: None, owner: None },
        }
    }

    fn plan(node: &str, edits: &[Edit], warnings: &[&str]) -> NodePlan {
        NodePlan {
            node: node.to_owned(),
            edits: edits.to_vec(),
            warnings: warnings.iter().map(|text| (*text).to_owned()).collect(),
        }
    }

    #[test]
    fn what_nodes_share_is_shown_once_and_then_what_each_has_alone() {
        let (all, pair) = (edit("/all", "a\n"), edit("/pair", "p\n"));
        let plans = [
            plan("n1", &[edit("/own", "1\n"), all.clone(), pair.clone()], &["x"]),
            plan("n2", &[edit("/own", "2\n"), all.clone(), pair], &["x"]),
            plan("n3", &[all, edit("/own", "3\n")], &["y"]),
        ];
        let text: String =
            groups(&plans).iter().map(|group| show(group, &plans, &Tree::default(), false)).collect();
        let text = anstream::adapter::strip_str(&text).to_string();
        assert_eq!(
            text,
            "nodes n[1-3] (3 nodes, every node; 1 edit in common)\n  [file] create /all\n    +a\n\n\
             nodes n[1-2] (2 nodes; 1 edit in common)\n  warning: x\n  [file] create /pair\n    +p\n\n\
             node n1 (1 edit of its own)\n  [file] create /own\n    +1\n\n\
             node n2 (1 edit of its own)\n  [file] create /own\n    +2\n\n\
             node n3 (1 edit of its own)\n  warning: y\n  [file] create /own\n    +3\n\n"
        );
    }

    #[test]
    fn secrets_that_differ_are_not_taken_for_one() {
        let secret = |text: &str| {
            let mut edit = edit("/key", "");
            if let Action::WriteFile { content, .. } = &mut edit.action {
                *content = Content::secret(text.as_bytes().to_vec());
            }
            edit
        };
        let plans = [plan("n1", &[secret("a")], &[]), plan("n2", &[secret("b")], &[])];
        assert_eq!(groups(&plans).len(), 2);
        let plans = [plan("n1", &[secret("a")], &[]), plan("n2", &[secret("a")], &[])];
        assert_eq!(groups(&plans).len(), 1);
    }
}
