//! `cardpress plan`

use clap::Args;
use serde_json::json;

use crate::build::EditEntry;

use super::args::Global;
use super::edit;
use super::report::Failure;
use super::subject::{Prepared, Subject, prepare};
use super::ui::{self, Ui};

#[derive(Clone, Debug, Args)]
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
            text += &edit::show(edit, &opened.facts.tree);
        }
        text.push('\n');
    }
    ui::print(&text)
}
