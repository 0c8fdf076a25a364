//! `README.md` of a cluster, in GitHub's Markdown.

use super::HostFile;
use super::view::{NodeView, View};

pub(super) fn text(view: &View, of_recipes: &[HostFile]) -> String {
    let parts =
        [head(view), nodes(view), first(view), log_in(view), services(view), keys(view), files(of_recipes)];
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("\n")
}

fn head(view: &View) -> String {
    let mut text = format!("# Cluster {}\n\n{}\n", escaped(&view.cluster.name), escaped(&summary(view)));
    text += "\nPressed by cardpress, which writes this page anew with every build: what you add belongs elsewhere. \
             There is no secret in it.\n";
    text
}

/// `4 nodes in 192.168.1.0/24, gateway 192.168.1.1, domain lan, Debian GNU/Linux 13 (trixie), arm64.`
pub(super) fn summary(view: &View) -> String {
    let cluster = view.cluster;
    let list = |items: Vec<String>| items.join(", ");
    let count = view.nodes.len();
    let mut text = format!("{count} {}", if count == 1 { "node" } else { "nodes" });
    if !cluster.subnets.is_empty() {
        text += &format!(" in {}", list(cluster.subnets.iter().map(ToString::to_string).collect()));
    }
    if !cluster.gateways.is_empty() {
        text += &format!(", gateway {}", list(cluster.gateways.iter().map(ToString::to_string).collect()));
    }
    if let Some(domain) = &cluster.domain {
        text += &format!(", domain {domain}");
    }
    if let Some(facts) = view.facts {
        text += &format!(", {}, {}", facts.release.pretty_name, facts.arch.name());
    }
    text + "."
}

fn nodes(view: &View) -> String {
    let has_recipes = view.nodes.iter().any(|node| !node.recipes.is_empty());
    let mut heads = vec!["Node", "Address", "Role", "Log in"];
    heads.extend(has_recipes.then_some("Recipes"));
    let rows = view.nodes.iter().map(|node| {
        let mut cells = vec![
            format!("**{}**", escaped(node.name)),
            escaped(&addresses(node)),
            escaped(node.role.unwrap_or("–")),
            code(&login(node)),
        ];
        cells.extend(has_recipes.then(|| escaped(&node.recipes.join(", "))));
        cells
    });
    format!("## Who is who\n\n{}", table(&heads, rows))
}

/// All static addresses, or how the node is found without one.
pub(super) fn addresses(node: &NodeView) -> String {
    if node.addresses.is_empty() {
        return format!("DHCP: {}", node.local_name());
    }
    node.addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// `ops@192.168.1.200`
pub(super) fn login(node: &NodeView) -> String {
    node.user.map_or_else(|| node.reached_at(), |user| format!("{user}@{}", node.reached_at()))
}

fn first(view: &View) -> String {
    let name = view.nodes.first().map_or("NODE", |node| node.name);
    format!(
        "## What to do first\n\n\
         1. Write the cards, each node its own: `cardpress flash PROFILE {name}=/dev/…` (`cardpress devices` shows which \
         cards there are), or the images beside this page with any imager. Labels to print and stick on them are in \
         [`cluster.html`](cluster.html).\n\
         2. Put them in, connect the network, switch the power on. The order does not matter.\n\
         3. Wait a few minutes, then in this folder: `ssh -F ssh_config {name}`. ssh asks nothing: it knows the host \
         keys beforehand. If it complains about one, that machine is another one.\n\
         4. `cardpress-status` on a node says how far its first boot is, where there is something to install or to run.\n"
    )
}

fn log_in(view: &View) -> String {
    let mut text = String::from("## Logging in\n\n");
    for ((user, keys), nodes) in view.group_by(|node| vec![(node.user, node.keys.clone())]) {
        let names = names_of(&nodes, view);
        let user = user.map_or_else(|| "the account of the image".to_owned(), code);
        let with = match &keys[..] {
            [] => "no key of the profile".to_owned(),
            keys => keys.iter().map(|key| escaped(key)).collect::<Vec<_>>().join(", "),
        };
        text += &format!("- {names}: {user}; lets in: {with}\n");
    }
    text + "\n```sh\n\
            ssh -F ssh_config NODE                    # in this folder; the file works from anywhere\n\
            ansible -i inventory.yaml all -m ping     # every node at once\n\
            ```\n\n\
            For a plain `ssh NODE`, `scp` and `rsync`, put `Include` and the full path of `ssh_config` at the top of \
            `~/.ssh/config`. For names in a browser, append `hosts` to `/etc/hosts`.\n"
}

/// `every node`, or their names.
fn names_of(nodes: &[&NodeView], view: &View) -> String {
    if nodes.len() == view.nodes.len() {
        return "every node".to_owned();
    }
    nodes.iter().map(|node| escaped(node.name)).collect::<Vec<_>>().join(", ")
}

fn services(view: &View) -> String {
    let services = || view.nodes.iter().flat_map(|node| &node.services);
    if services().next().is_none() {
        return String::new();
    }
    let rows = services().map(|service| {
        let place = service.url.as_deref().map_or_else(|| "–".to_owned(), escaped);
        vec![escaped(&service.name), escaped(&service.node), place]
    });
    format!("## What runs where\n\n{}", table(&["Service", "Node", "Address"], rows))
}

fn keys(view: &View) -> String {
    let rows = view.nodes.iter().map(|node| vec![escaped(node.name), code(&node.fingerprint())]);
    format!(
        "## Host keys\n\nThey come from the seed of the cluster: a card that is written anew has the same.\n\n{}",
        table(&["Node", "Ed25519 fingerprint"], rows)
    )
}

fn files(of_recipes: &[HostFile]) -> String {
    let rows = [
        ("ssh_config", "for ssh; the host keys are in it"),
        ("known_hosts", "the host keys, for what reads such a file"),
        ("inventory.yaml", "for Ansible, groups by role; with `known_hosts` beside it"),
        ("hosts", "lines for `/etc/hosts`"),
        ("prometheus/nodes.json", "for `file_sd_configs` of Prometheus: port 9100 of every node"),
        ("cluster.html", "this page to look at, and the labels"),
        ("manifest.json", "what was pressed from what; only beside images"),
    ];
    let rows = rows.into_iter().map(|(file, what)| vec![code(file), what.to_owned()]);
    let added = of_recipes.iter().map(|file| {
        let what = if file.content.is_secret() {
            "of a recipe; **secret**, keep it to yourself"
        } else {
            "of a recipe"
        };
        vec![code(&file.path), what.to_owned()]
    });
    let rows = rows.chain(added);
    format!("## The files here\n\n{}", table(&["File", "What it is"], rows))
}

fn table(heads: &[&str], rows: impl Iterator<Item = Vec<String>>) -> String {
    let mut text = format!("| {} |\n|{}\n", heads.join(" | "), "---|".repeat(heads.len()));
    for row in rows {
        text += &format!("| {} |\n", row.join(" | "));
    }
    text
}

/// Text that is shown as it is, whatever is in it: a backslash before all ASCII punctuation that Markdown or HTML in it
/// could take for its own (CommonMark §2.4).
fn escaped(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        if r"\`*_[]<>|~#&!{}".contains(c) {
            out.push('\\');
        }
        out.push(if c.is_control() { ' ' } else { c });
    }
    out
}

/// Text in code quotes: names and addresses, in which there is no backquote; one that has one is shown as text.
fn code(text: &str) -> String {
    if text.contains(['`', '|']) || text.is_empty() { escaped(text) } else { format!("`{text}`") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markdown_shows_text_as_it_is() {
        assert_eq!(escaped("a|b <i> `c` *d* [e](f)\nnode-1"), r"a\|b \<i\> \`c\` \*d\* \[e\](f) node-1");
        assert_eq!(code("ops@node-1"), "`ops@node-1`");
        assert_eq!(code("a`b"), r"a\`b");
    }
}
