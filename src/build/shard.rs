//! Every Nth node, so that N machines share the work and need not talk to each other.

use std::fmt;
use std::fs;
use std::path::Path;
use std::str::FromStr;

use super::manifest::Manifest;
use super::press::write_manifest;
use super::{Error, host_error};
use crate::plan::{Cluster, NodePlan};

/// Part `index` of `count`; the first is 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shard {
    index: usize,
    count: usize,
}

/// More machines than anybody has.
const COUNT_MAX: usize = 100_000;

impl Shard {
    /// Its nodes, by their place in the profile: those at `index`, `index + count`, and so on. There may be none.
    #[must_use]
    pub fn choose(self, plans: Vec<NodePlan>) -> Vec<NodePlan> {
        plans.into_iter().skip(self.index - 1).step_by(self.count).collect()
    }

    /// What it writes beside its images, where an undivided build writes `manifest.json`.
    pub(super) fn manifest_name(self) -> String {
        format!("manifest-{}-of-{}.json", self.index, self.count)
    }
}

impl FromStr for Shard {
    type Err = String;

    /// `2/5`: the second of five.
    fn from_str(text: &str) -> Result<Self, String> {
        let parsed = text
            .split_once('/')
            .and_then(|(index, count)| Some(Self { index: index.parse().ok()?, count: count.parse().ok()? }));
        parsed
            .filter(|shard| (1..=shard.count).contains(&shard.index) && shard.count <= COUNT_MAX)
            .ok_or_else(|| {
                format!("found `{text}`, wanted I/N: part I of N, from 1/N to N/N, with N up to {COUNT_MAX}")
            })
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.index, self.count)
    }
}

/// Joins the manifests of all shards in `folder` to the `manifest.json` that an undivided build writes.
///
/// # Errors
/// [`Error::Shards`] when one is missing, there twice, or made from something else; [`Error::Host`],
/// [`Error::BadManifest`], [`Error::Sink`]. Then nothing was written.
pub fn merge_manifests(cluster: &Cluster, folder: &Path) -> Result<Manifest, Error> {
    let refuse = |found: String| Err(Error::Shards { folder: folder.to_owned(), found });
    let mut shards = Vec::new();
    for entry in fs::read_dir(folder).map_err(host_error("read", folder))? {
        let path = entry.map_err(host_error("read", folder))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let Some(shard) = shard_named(&name) else { continue };
        let bytes = fs::read(&path).map_err(host_error("read", &path))?;
        let manifest: Manifest = serde_json::from_slice(&bytes)
            .map_err(|source| Error::BadManifest { path: path.clone(), source })?;
        shards.push((shard, name, manifest));
    }
    shards.sort_by_key(|(shard, ..)| (shard.count, shard.index));
    let Some((first, first_name, first_manifest)) = shards.first() else {
        return refuse("no manifest-I-of-N.json, which `build --shard I/N` writes".to_owned());
    };
    let mut whole = Manifest { nodes: Vec::new(), ..first_manifest.clone() };
    for (shard, name, manifest) in &shards {
        if shard.count != first.count {
            return refuse(format!("`{first_name}` and `{name}`: remove those of the older build"));
        }
        if !manifest.is_akin_to(first_manifest) || manifest.cluster != cluster.name {
            return refuse(format!(
                "`{name}`, which was made from another base, by another version, or of another cluster"
            ));
        }
        whole.nodes.extend(manifest.nodes.iter().cloned());
    }
    if let Some(missing) =
        (1..=first.count).find(|index| shards.iter().all(|(shard, ..)| shard.index != *index))
    {
        let missing = Shard { index: missing, ..*first }.manifest_name();
        return refuse(format!("{} of {} manifests; `{missing}` is missing", shards.len(), first.count));
    }
    for node in &cluster.nodes {
        let count = whole.nodes.iter().filter(|entry| entry.name == node.name).count();
        if count != 1 {
            return refuse(format!("node `{}` {count} times: the profile has changed since", node.name));
        }
    }
    if let Some(stranger) =
        whole.nodes.iter().find(|entry| cluster.nodes.iter().all(|node| node.name != entry.name))
    {
        return refuse(format!("node `{}`, which is not in the profile any more", stranger.name));
    }
    whole.sort(cluster);
    write_manifest(&folder.join("manifest.json"), &whole)?;
    Ok(whole)
}

fn shard_named(name: &str) -> Option<Shard> {
    let (index, count) = name.strip_prefix("manifest-")?.strip_suffix(".json")?.split_once("-of-")?;
    format!("{index}/{count}").parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_take_every_node_once_whatever_their_number() {
        let plans: Vec<NodePlan> = (0..7)
            .map(|number| NodePlan { node: format!("n{number}"), edits: Vec::new(), warnings: Vec::new() })
            .collect();
        for count in 1..10 {
            let mut taken: Vec<String> = Vec::new();
            for index in 1..=count {
                let shard: Shard = format!("{index}/{count}").parse().unwrap();
                assert_eq!(shard_named(&shard.manifest_name()), Some(shard));
                taken.extend(shard.choose(plans.clone()).into_iter().map(|plan| plan.node));
            }
            taken.sort();
            assert!(taken.iter().eq(plans.iter().map(|plan| &plan.node)), "{count} shards: {taken:?}");
        }
        let second: Shard = "2/3".parse().unwrap();
        let names: Vec<String> = second.choose(plans).into_iter().map(|plan| plan.node).collect();
        assert_eq!(names, ["n1", "n4"]);
    }

    #[test]
    fn what_is_no_shard_says_what_is() {
        for text in ["", "1", "0/3", "4/3", "1/0", "-1/3", "1/3/5", "a/b", "1/100001"] {
            let error = text.parse::<Shard>().unwrap_err();
            assert!(error.starts_with(&format!("found `{text}`, wanted I/N")), "{error}");
        }
    }
}
