//! `cluster.html`: one page that needs nothing else, no script and no network, and says so to the browser
//! (Content-Security-Policy). Light and dark, wide and narrow; printed, the labels for the cards begin a page.

use super::readme::{addresses, login, summary};
use super::view::{NodeView, View};
use crate::base::ByteLen;
use crate::plan::{Growth, OsFacts, PartitionFact, PartitionUse};

const STYLE: &str = include_str!("page.css");

pub(super) fn html(view: &View) -> String {
    let name = escaped(&view.cluster.name);
    let parts = [nodes(view), services(view), partitions(view), log_in(view), labels(view)];
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{name}: a cluster</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n\
         <header>\n<h1>{name}</h1>\n<p class=\"lead\">{}</p>\n</header>\n<main>\n{}</main>\n</body>\n</html>\n",
        escaped(&summary(view)),
        parts.concat()
    )
}

fn nodes(view: &View) -> String {
    let has_recipes = view.nodes.iter().any(|node| !node.recipes.is_empty());
    let mut heads = vec!["Node", "Address", "Role", "Log in"];
    heads.extend(has_recipes.then_some("Recipes"));
    let rows = view.nodes.iter().map(|node| {
        let mut cells = vec![
            cell("Address", &mono(&addresses(node))),
            cell("Role", &role(node, view)),
            cell("Log in", &mono(&login(node))),
        ];
        cells.extend(has_recipes.then(|| cell("Recipes", &escaped(&node.recipes.join(", ")))));
        row(node.name, &cells)
    });
    section("Nodes", &table(&heads, rows))
}

fn role(node: &NodeView, view: &View) -> String {
    match node.role {
        None => "<span class=\"plain\">–</span>".to_owned(),
        Some(role) => format!("<span class=\"chip\"{}>{}</span>", hue(node, view), escaped(role)),
    }
}

/// Each role its colour, as far from the others as they go; none without a role.
fn hue(node: &NodeView, view: &View) -> String {
    let roles = view.group_by(|node| node.role.into_iter().collect());
    match roles.iter().position(|(role, _)| Some(*role) == node.role) {
        // The golden angle: however many there are, neighbours differ.
        Some(index) => format!(" style=\"--hue: {}\"", (index * 137 + 210) % 360),
        None => String::new(),
    }
}

fn services(view: &View) -> String {
    let rows: Vec<String> = view
        .nodes
        .iter()
        .flat_map(|node| &node.services)
        .map(|service| {
            let place = service.url.as_deref().map_or_else(|| "–".to_owned(), link);
            row(&service.name, &[cell("Node", &escaped(&service.node)), cell("Address", &place)])
        })
        .collect();
    if rows.is_empty() {
        return String::new();
    }
    section("What runs where", &table(&["Service", "Node", "Address"], rows.into_iter()))
}

/// A link where it is one of the web, else the text of it.
fn link(url: &str) -> String {
    let text = escaped(url);
    let is_web = ["http://", "https://"].iter().any(|scheme| url.starts_with(scheme));
    if is_web { format!("<a href=\"{text}\" rel=\"noreferrer\">{text}</a>") } else { text }
}

fn partitions(view: &View) -> String {
    let Some(facts) = view.facts.filter(|facts| !facts.partitions.is_empty()) else { return String::new() };
    let pieces = pieces(facts, view.cluster.image.grow);
    // In MiB, so that the numbers stay those of people.
    let bar: Vec<String> = pieces
        .iter()
        .map(|piece| {
            format!("<i class=\"{}\" style=\"flex-grow: {}\"></i>", piece.class, piece.len_bytes >> 20)
        })
        .collect();
    let legend: Vec<String> = pieces
        .iter()
        .map(|piece| format!("<li><i class=\"{}\"></i>{}</li>\n", piece.class, escaped(&piece.text)))
        .collect();
    let grow = match view.cluster.image.grow {
        Some(Growth::Card) => "The root partition fills its card when the card is flashed.".to_owned(),
        Some(Growth::To(len)) => format!("Every image is {len} long."),
        None => format!(
            "Every image is {} long; the first boot grows the root partition to the card, where the image does that.",
            ByteLen(facts.image_len_bytes)
        ),
    };
    let body = format!(
        "<div class=\"bar\" role=\"img\" aria-label=\"partitions\">{}</div>\n<ul class=\"legend\">\n{}</ul>\n\
         <p class=\"note\">{grow}</p>\n",
        bar.concat(),
        legend.concat()
    );
    section("Every card", &body)
}

/// A part of the bar.
struct Piece {
    class: &'static str,
    text: String,
    len_bytes: u64,
}

/// The partitions, the last of them as long as the profile makes it.
fn pieces(facts: &OsFacts, grow: Option<Growth>) -> Vec<Piece> {
    let mut pieces: Vec<Piece> = facts.partitions.iter().map(|partition| piece(partition, facts)).collect();
    let last = facts.partitions.last().filter(|last| last.used_for == PartitionUse::Root);
    if let (Some(last), Some(Growth::To(len)), Some(piece)) = (last, grow, pieces.last_mut()) {
        let grown = len.0.saturating_sub(last.start_bytes).max(last.len_bytes);
        piece.len_bytes = grown;
        piece.text = format!("root (ext4) {}, {} in the base image", ByteLen(grown), ByteLen(last.len_bytes));
    }
    if let (Some(last), Some(Growth::Card)) = (last, grow) {
        let (class, len_bytes) = ("grown", last.len_bytes);
        pieces.push(Piece { class, len_bytes, text: "the rest of the card: root, too".to_owned() });
    }
    pieces
}

fn piece(partition: &PartitionFact, facts: &OsFacts) -> Piece {
    let len_bytes = partition.len_bytes;
    let (class, name) = match partition.used_for {
        PartitionUse::Boot => ("boot", format!("boot (FAT, {})", facts.boot_mount)),
        PartitionUse::Root => ("root", "root (ext4)".to_owned()),
        PartitionUse::Other => ("other", format!("partition {}", partition.number)),
    };
    Piece { class, text: format!("{name} {}", ByteLen(len_bytes)), len_bytes }
}

fn log_in(view: &View) -> String {
    let name = view.nodes.first().map_or("NODE", |node| node.name);
    let rows = view.nodes.iter().map(|node| row(node.name, &[cell("Ed25519", &mono(&node.fingerprint()))]));
    let body = format!(
        "<ul class=\"steps\">\n\
         <li><code>ssh -F ssh_config {name}</code> in this folder. ssh asks nothing: it knows the host keys.</li>\n\
         <li><code>ansible -i inventory.yaml all -m ping</code> reaches every node.</li>\n\
         <li><code>hosts</code> has the lines for <code>/etc/hosts</code>; the rest is in <code>README.md</code>.</li>\n\
         </ul>\n<p class=\"note\">Host keys come from the seed of the cluster: a card that is written anew has the \
         same.</p>\n{}",
        table(&["Node", "Host key (Ed25519)"], rows)
    );
    section("Logging in", &body)
}

fn labels(view: &View) -> String {
    let cluster = escaped(&view.cluster.name);
    let mut text = String::from(
        "<section class=\"cards\">\n<h2>Labels</h2>\n<p class=\"note\">28 × 20 mm, for a card adapter or the case of a \
         card; print at 100 % and cut along the dashes.</p>\n<div class=\"labels\">\n",
    );
    for node in &view.nodes {
        let size = match node.name.len() {
            0..=7 => "big",
            8..=10 => "middle",
            11..=45 => "small",
            _ => "tiny",
        };
        let bare = if node.role.is_none() { " bare" } else { "" };
        text += &format!(
            "<div class=\"label{bare}\"{}><span><i>{cluster}</i><em>{}</em></span><b class=\"{size}\">{}</b>\
             <span class=\"at\">{}</span></div>\n",
            hue(node, view),
            escaped(node.role.unwrap_or_default()),
            escaped(node.name),
            escaped(&label_address(node)),
        );
    }
    text + "</div>\n</section>\n"
}

fn label_address(node: &NodeView) -> String {
    node.addresses.first().map_or_else(|| "DHCP".to_owned(), ToString::to_string)
}

fn section(title: &str, body: &str) -> String {
    format!("<section>\n<h2>{title}</h2>\n{body}</section>\n")
}

fn table(heads: &[&str], rows: impl Iterator<Item = String>) -> String {
    let heads: Vec<String> = heads.iter().map(|head| format!("<th scope=\"col\">{head}</th>")).collect();
    let rows: Vec<String> = rows.collect();
    format!(
        "<div class=\"sheet\">\n<table>\n<thead><tr>{}</tr></thead>\n<tbody>\n{}</tbody>\n</table>\n</div>\n",
        heads.concat(),
        rows.concat()
    )
}

fn row(name: &str, cells: &[String]) -> String {
    format!("<tr><th scope=\"row\"><span>{}</span></th>{}</tr>\n", escaped(name), cells.concat())
}

/// `head` is what stands beside it on a narrow page, `html` is shown as it is.
fn cell(head: &str, html: &str) -> String {
    format!("<td data-head=\"{head}\"><span>{html}</span></td>")
}

fn mono(text: &str) -> String {
    format!("<code>{}</code>", escaped(text))
}

/// Text that is shown as it is, in an element or an attribute with double quotes.
fn escaped(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c {
            '&' => out += "&amp;",
            '<' => out += "&lt;",
            '>' => out += "&gt;",
            '"' => out += "&quot;",
            '\'' => out += "&#39;",
            _ => out.push(c),
        }
    }
    out
}
