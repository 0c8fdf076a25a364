//! `cardpress plan`

use serde_json::json;

use crate::build::EditEntry;

use super::args::{Global, Plan};
use super::diff;
use super::report::Failure;
use super::subject::{Prepared, prepare};
use super::ui::{self, Ui};

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
        let text = json!({ "schema": 1, "cluster": laid.cluster.name, "nodes": nodes }).to_string();
        return ui::print(&(text + "\n"));
    }
    let mut text = String::new();
    for plan in &plans {
        text += &format!("node {} ({} edits)\n", plan.node, plan.edits.len());
        for warning in &plan.warnings {
            text += &format!("  warning: {warning}\n");
        }
        for edit in &plan.edits {
            text += &diff::show(edit, &opened.facts.tree);
        }
        text.push('\n');
    }
    ui::print(&text)
}
