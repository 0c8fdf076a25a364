//! A cluster as it is seen from outside: under which names a node answers, and who may log in there.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::Service;
use crate::plan::resolve::{host_names, static_addresses};
use crate::plan::{Cluster, Node, OsFacts, RecipeUse, Seed, Sudo, host_keys};

/// Everything that the files are written from.
pub(super) struct View<'v> {
    pub(super) cluster: &'v Cluster,
    pub(super) facts: Option<&'v OsFacts>,
    pub(super) nodes: Vec<NodeView<'v>>,
}

/// One node.
pub(super) struct NodeView<'v> {
    pub(super) name: &'v str,
    /// Short, `.local` and domain name.
    pub(super) names: Vec<String>,
    /// Its static addresses, wired before wireless.
    pub(super) addresses: Vec<IpAddr>,
    /// The account to log in as; `None` when only the image knows it.
    pub(super) user: Option<&'v str>,
    /// What people know the public keys by that this account lets in.
    pub(super) keys: Vec<&'v str>,
    pub(super) role: Option<&'v str>,
    /// The recipes it follows: `docker`, `docker-swarm/worker`.
    pub(super) recipes: Vec<String>,
    pub(super) services: Vec<&'v Service>,
    /// `ssh-ed25519 AAAA…`
    pub(super) host_key: String,
}

impl<'v> View<'v> {
    pub(super) fn new(
        cluster: &'v Cluster,
        facts: Option<&'v OsFacts>,
        seed: &Seed,
        services: &'v [Service],
    ) -> Self {
        let mut host_keys: BTreeMap<String, String> = host_keys(cluster, seed).into_iter().collect();
        let mut nodes = Vec::new();
        for node in &cluster.nodes {
            let Some(host_key) = host_keys.remove(&node.name) else { continue };
            let services = services.iter().filter(|service| service.node == node.name).collect();
            nodes.push(NodeView::new(node, cluster, facts, services, host_key));
        }
        Self { cluster, facts, nodes }
    }

    /// The words that `word` gives for the nodes, in the order of first mention, each with its nodes.
    pub(super) fn group_by<K: PartialEq>(
        &self,
        words: impl Fn(&NodeView<'v>) -> Vec<K>,
    ) -> Vec<(K, Vec<&NodeView<'v>>)> {
        let mut groups: Vec<(K, Vec<&NodeView<'v>>)> = Vec::new();
        for node in &self.nodes {
            for word in words(node) {
                match groups.iter_mut().find(|(known, _)| *known == word) {
                    Some((_, nodes)) => nodes.push(node),
                    None => groups.push((word, vec![node])),
                }
            }
        }
        groups
    }
}

impl<'v> NodeView<'v> {
    fn new(
        node: &'v Node,
        cluster: &'v Cluster,
        facts: Option<&'v OsFacts>,
        services: Vec<&'v Service>,
        host_key: String,
    ) -> Self {
        let user = login(node, facts);
        let account = node.settings.users.iter().find(|known| Some(known.name.as_str()) == user);
        Self {
            name: &node.name,
            names: host_names(node, cluster),
            addresses: static_addresses(node).collect(),
            user,
            keys: account
                .map(|user| user.ssh_keys.iter().map(|key| key_name(key)).collect())
                .unwrap_or_default(),
            role: node.role.as_deref(),
            recipes: node.recipes.uses.iter().map(RecipeUse::word).collect(),
            services,
            host_key,
        }
    }

    /// Under what it is reached: its first static address, else its name in multicast DNS, which needs no server.
    pub(super) fn reached_at(&self) -> String {
        self.addresses.first().map_or_else(|| self.local_name(), ToString::to_string)
    }

    pub(super) fn local_name(&self) -> String {
        format!("{}.local", self.name)
    }

    /// `SHA256:…`, as ssh shows it.
    pub(super) fn fingerprint(&self) -> String {
        let key = ssh_key::PublicKey::from_openssh(&self.host_key);
        key.map(|key| key.fingerprint(ssh_key::HashAlg::Sha256).to_string()).unwrap_or_default()
    }
}

/// The first user of the profile that can log in with a key and become root; else the first with a key, else the first
/// of all, else the one that the image has.
fn login<'v>(node: &'v Node, facts: Option<&'v OsFacts>) -> Option<&'v str> {
    let users = &node.settings.users;
    let is_admin = |user: &&crate::plan::User| match user.sudo {
        Some(sudo) => sudo != Sudo::No,
        None => user.groups.iter().any(|group| group == "sudo"),
    };
    let with_key = || users.iter().filter(|user| !user.ssh_keys.is_empty());
    let user = with_key().find(is_admin).or_else(|| with_key().next()).or_else(|| users.first());
    let shipped = || facts.and_then(|facts| facts.first_user.as_ref()).map(|first| first.name.as_str());
    user.map(|user| user.name.as_str()).or_else(shipped)
}

/// What people know a public key by: its comment, else its type.
fn key_name(line: &str) -> &str {
    let mut words = line.splitn(3, ' ');
    let kind = words.next().unwrap_or_default();
    words.nth(1).map(str::trim).filter(|comment| !comment.is_empty()).unwrap_or(kind)
}
