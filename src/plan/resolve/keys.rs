//! The ssh keys of the cluster: derived once, because every node must know all of them.

use std::collections::BTreeMap;

use ssh_key::private::{Ed25519Keypair, KeypairData};
use ssh_key::{LineEnding, PrivateKey};

use super::Problem;
use crate::base::Secret;
use crate::plan::{Cluster, Node, Seed};

/// A key pair in the form OpenSSH stores it.
pub(in crate::plan) struct Key {
    /// `-----BEGIN OPENSSH PRIVATE KEY-----` …
    pub(in crate::plan) private: Secret<String>,
    /// `ssh-ed25519 AAAA…`, without a comment.
    pub(in crate::plan) public: String,
}

impl Key {
    pub(in crate::plan) fn derive(seed: &Seed, label: &str, comment: &str) -> Result<Self, ssh_key::Error> {
        let pair = Ed25519Keypair::from_seed(&seed.derive(label));
        let key = PrivateKey::new(KeypairData::from(pair), comment)?;
        let mut bare = key.public_key().clone();
        bare.set_comment("");
        let public = bare.to_openssh()?.trim_end().to_owned();
        Ok(Self { private: Secret::new(key.to_openssh(LineEnding::LF)?.to_string()), public })
    }
}

/// Host keys, and keys between nodes where they are wanted, by node.
pub(super) struct ClusterKeys {
    pub(super) host: BTreeMap<String, Key>,
    pub(super) user: BTreeMap<String, Key>,
    pub(super) problem: Option<Problem>,
}

impl ClusterKeys {
    pub(super) fn derive(cluster: &Cluster, seed: &Seed) -> Self {
        let mut keys = Self { host: BTreeMap::new(), user: BTreeMap::new(), problem: None };
        for Node { name, .. } in &cluster.nodes {
            keys.note(|keys| &mut keys.host, name, host_key(seed, name));
            if cluster.ssh_between_nodes {
                let user =
                    Key::derive(seed, &format!("user-key ed25519 {name}"), &format!("cardpress@{name}"));
                keys.note(|keys| &mut keys.user, name, user);
            }
        }
        keys
    }

    fn note(
        &mut self,
        map: impl Fn(&mut Self) -> &mut BTreeMap<String, Key>,
        node: &str,
        key: Result<Key, ssh_key::Error>,
    ) {
        match key {
            Ok(key) => {
                map(self).insert(node.to_owned(), key);
            }
            Err(error) => self.problem = Some(Problem::Derive { what: "an ssh key", why: error.to_string() }),
        }
    }
}

/// The public host key of every node in the order of the cluster: its name and `ssh-ed25519 AAAA…`.
#[must_use]
pub fn host_keys(cluster: &Cluster, seed: &Seed) -> Vec<(String, String)> {
    let key = |node: &Node| Some((node.name.clone(), host_key(seed, &node.name).ok()?.public));
    cluster.nodes.iter().filter_map(key).collect()
}

fn host_key(seed: &Seed, node: &str) -> Result<Key, ssh_key::Error> {
    Key::derive(seed, &format!("host-key ed25519 {node}"), &format!("root@{node}"))
}
