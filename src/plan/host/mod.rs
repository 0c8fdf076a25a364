//! What the workstation gets: the files that make a cluster usable from outside, beside its images.
//!
//! | file                    | for whom |
//! |-------------------------|----------|
//! | `known_hosts`           | ssh: every node's host key under all its names and addresses |
//! | `ssh_config`            | ssh: `ssh -F ssh_config NODE`, or `Include`d; stands alone |
//! | `inventory.yaml`        | Ansible: groups from roles and recipes; reads `known_hosts` beside it |
//! | `hosts`                 | lines for `/etc/hosts` |
//! | `prometheus/nodes.json` | Prometheus: targets for `file_sd_configs` |
//! | `README.md`             | people: who is who, how to log in, what to do first |
//! | `cluster.html`          | people: the same to look at, and labels for the cards |
//!
//! Everybody may read them: they hold names, addresses and public keys, and no secret. Recipes add files of their own, which
//! may be secret: passwords of web pages, a kubeconfig. Pure like the rest of `plan`,
//! so they are the same bytes wherever they are made, whatever part of the cluster is pressed there.

mod ansible;
mod hosts;
mod page;
mod prometheus;
mod readme;
mod ssh;
#[cfg(test)]
mod tests;
mod view;

use super::{Cluster, Content, OsFacts, Seed};
use view::View;

/// A file for the workstation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostFile {
    /// Where, below the output folder of the cluster; with slashes.
    pub path: String,
    /// All of it.
    pub content: Content,
    /// Permission bits.
    pub mode: u16,
}

impl HostFile {
    /// A file of a recipe: readable by its owner alone when it is a secret.
    pub(super) fn of_recipe(path: &str, content: Content) -> Self {
        let mode = if content.is_secret() { 0o600 } else { 0o644 };
        Self { path: path.to_owned(), content, mode }
    }

    /// A text that everybody may read.
    fn public(path: &str, text: String) -> Self {
        Self { path: path.to_owned(), content: Content::text(text), mode: 0o644 }
    }
}

/// Something that runs on a node, for those who look for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// The node it runs on.
    pub node: String,
    /// What it is called: `Grafana`.
    pub name: String,
    /// Where it answers: `http://192.168.1.200:3000`.
    pub url: Option<String>,
}

/// The paths of [`host_files`]: no recipe writes there.
pub(super) const PATHS: [&str; 7] = [
    "known_hosts",
    "ssh_config",
    "inventory.yaml",
    "hosts",
    "prometheus/nodes.json",
    "README.md",
    "cluster.html",
];

/// The files of a cluster, in the order of the table above, then those that its recipes add.
///
/// Without `facts`, of an image that nobody has looked into, the account is unknown where the profile names no user
/// (ssh then takes the name of whoever calls it), and release and partitions are left out.
#[must_use]
pub fn host_files(
    cluster: &Cluster,
    facts: Option<&OsFacts>,
    seed: &Seed,
    services: &[Service],
    of_recipes: &[HostFile],
) -> Vec<HostFile> {
    let view = View::new(cluster, facts, seed, services);
    let texts: [String; PATHS.len()] = [
        ssh::known_hosts(&view),
        ssh::config(&view),
        ansible::inventory(&view),
        hosts::lines(&view),
        prometheus::targets(&view),
        readme::text(&view, of_recipes),
        page::html(&view),
    ];
    let ours = PATHS.into_iter().zip(texts).map(|(path, text)| HostFile::public(path, text));
    ours.chain(of_recipes.iter().cloned()).collect()
}
