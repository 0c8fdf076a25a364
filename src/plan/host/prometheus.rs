//! Targets for `file_sd_configs` of Prometheus: every node's node_exporter, one group for each role.

use serde::Serialize;

use super::view::{NodeView, View};

/// Where node_exporter listens (Prometheus' registry of default ports).
const NODE_EXPORTER_PORT: u16 = 9100;

#[derive(Serialize)]
struct Group<'g> {
    targets: Vec<String>,
    labels: Labels<'g>,
}

#[derive(Serialize)]
struct Labels<'g> {
    cluster: &'g str,
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<&'g str>,
}

pub(super) fn targets(view: &View) -> String {
    let groups = view.group_by(|node| vec![node.role]);
    let groups: Vec<Group> = groups
        .into_iter()
        .map(|(role, nodes)| Group {
            targets: nodes.into_iter().map(target).collect(),
            labels: Labels { cluster: &view.cluster.name, role },
        })
        .collect();
    // Strings and lists only, so this cannot fail.
    serde_json::to_string_pretty(&groups).unwrap_or_default() + "\n"
}

fn target(node: &NodeView) -> String {
    let host = match node.addresses.first() {
        Some(std::net::IpAddr::V6(address)) => format!("[{address}]"),
        _ => node.reached_at(),
    };
    format!("{host}:{NODE_EXPORTER_PORT}")
}
