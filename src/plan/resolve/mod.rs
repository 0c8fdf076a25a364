//! From what each node shall be and what the image is to the list of edits that makes one into the other.
//!
//! Every section of the profile is one small function over a [`draft::Draft`]; [`SECTIONS`] is their order. What
//! lands where on which release is in `docs/settings.md`; the facts behind it were read from the sources of the
//! packages concerned.

mod accounts;
mod apt;
mod cloud_init;
mod cmdline;
mod config_txt;
pub(in crate::plan) mod crypt;
mod draft;
mod fault;
mod files;
pub(in crate::plan) mod first_boot;
mod fstab;
mod growth;
mod hostname;
pub(in crate::plan) mod hosts;
mod identity;
mod kernel;
mod keys;
mod known;
mod locale;
mod marker;
mod network;
mod ssh;
mod sudo;
#[cfg(test)]
mod tests;
mod units;
mod users;
mod wanted;
mod wifi;
mod wizard;

use super::{Cluster, FirstUser, Node, NodePlan, OsFacts, Seed, Settings};
use draft::Draft;
use keys::ClusterKeys;

pub(super) use hosts::{addresses as static_addresses, names as host_names};

pub use fault::{Fault, Faults, Problem};
pub(super) use keys::Key;
pub use keys::host_keys;
pub use marker::Marker;
pub use wanted::{more_paths, wanted_paths};

/// What every section may look at.
struct Context<'a> {
    node: &'a Node,
    cluster: &'a Cluster,
    facts: &'a OsFacts,
    seed: &'a Seed,
    keys: &'a ClusterKeys,
}

impl<'a> Context<'a> {
    fn settings(&self) -> &'a Settings {
        &self.node.settings
    }

    /// Where `name` on the boot partition is in the running system.
    fn boot_path(&self, name: &str) -> String {
        format!("{}/{name}", self.facts.boot_mount)
    }

    fn first_user(&self) -> Option<&'a FirstUser> {
        self.facts.first_user.as_ref()
    }

    /// Will `package` be installed at first boot?
    fn installs_packages(&self) -> bool {
        !self.settings().packages.is_empty()
    }
}

type Apply = fn(&Context, &mut Draft);

/// The sections in the order they are applied, each by the word that its edits, warnings and faults carry.
const SECTIONS: &[(&str, Apply)] = &[
    // Accounts first: others ask them for numbers and homes.
    ("user", users::apply),
    ("wizard", wizard::apply),
    ("hostname", hostname::apply),
    ("hosts", hosts::apply),
    ("ssh", ssh::apply),
    ("identity", identity::apply),
    ("grow", growth::apply),
    ("cmdline", cmdline::apply),
    ("config-txt", config_txt::apply),
    ("network", network::apply),
    ("wifi", wifi::apply),
    ("timezone", locale::timezone),
    ("locale", locale::apply),
    ("keyboard", locale::keyboard),
    ("sysctl", kernel::sysctl),
    ("module", kernel::modules),
    ("fstab", fstab::apply),
    ("cloud-init", cloud_init::apply),
    ("marker", marker::apply),
    // What the profile says of single paths has the last word over what the sections above made of them.
    ("remove", files::removals),
    ("directory", files::directories),
    ("file", files::files),
    ("symlink", files::symlinks),
    ("apt", apt::apply),
    // Units may be files of the profile.
    ("service", units::apply),
    ("first-boot", first_boot::apply),
];

/// The edits of every node, in the order of the cluster.
///
/// Pure: the same cluster, facts and seed give the same plans. `facts.tree` must hold [`wanted_paths`] and
/// [`more_paths`].
///
/// # Errors
/// Everything that is wrong with any node, at once.
pub fn resolve(cluster: &Cluster, facts: &OsFacts, seed: &Seed) -> Result<Vec<NodePlan>, Faults> {
    let keys = ClusterKeys::derive(cluster, seed);
    let mut plans = Vec::new();
    let mut faults = Vec::new();
    for node in &cluster.nodes {
        let context = Context { node, cluster, facts, seed, keys: &keys };
        let mut draft = Draft::new(&facts.tree);
        draft.enter("user");
        draft.accounts = accounts::Accounts::read(&mut draft);
        for (section, apply) in SECTIONS {
            draft.enter(section);
            apply(&context, &mut draft);
        }
        draft.enter("user");
        std::mem::take(&mut draft.accounts).write(&mut draft);
        let (edits, warnings, problems) = draft.finish();
        let fault = |(section, problem)| Fault { node: node.name.clone(), section, problem };
        faults.extend(problems.into_iter().map(fault));
        plans.push(NodePlan { node: node.name.clone(), edits, warnings });
    }
    if faults.is_empty() { Ok(plans) } else { Err(Faults(faults)) }
}
