//! `manifest.json`: what was pressed, from what, by what. Holds no secret and no date.

use serde::{Deserialize, Serialize};

use crate::base::Sha256Digest;
use crate::plan::{Action, Cluster, Content, Edit, HostFile};

/// The version of the layout of this file.
const SCHEMA: u32 = 1;

/// One output folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// 1.
    pub schema: u32,
    /// `cardpress` and its version.
    pub tool: String,
    /// `cluster.name`.
    pub cluster: String,
    /// What every image was made from.
    pub base: BaseEntry,
    /// The images, in the order of the profile.
    pub nodes: Vec<NodeEntry>,
    /// The files beside them that are about the whole cluster.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<FileEntry>,
}

/// A file for the workstation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileEntry {
    /// Where, from the folder of the manifest on, with slashes.
    pub path: String,
    /// Its length.
    pub len_bytes: u64,
    /// Its SHA-256; never of a secret, which could be guessed from it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
}

/// The base image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BaseEntry {
    /// Its file name, without the folder.
    pub file: String,
    /// SHA-256 of that file, archive or not, where it was computed.
    pub sha256: Option<String>,
    /// Length of the raw image in bytes.
    pub len_bytes: u64,
    /// Digest of the raw image: see [`crate::base::ChunkDigests::root`].
    pub digest: String,
    /// `PRETTY_NAME` of the release.
    pub release: String,
    /// `armhf` or `arm64`.
    pub architecture: String,
    /// The date of the image by its own word.
    pub reference: Option<String>,
}

/// One pressed image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeEntry {
    /// The node.
    pub name: String,
    /// The file beside the manifest; `None` when none was written.
    pub image: Option<String>,
    /// The map of the image for bmaptool, beside it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bmap: Option<String>,
    /// The length of the raw image in bytes.
    pub len_bytes: u64,
    /// Its digest: see [`crate::base::ChunkDigests::root`].
    pub digest: String,
    /// SHA-256 of the file that is named, compressed or not, where asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// Does it hold passwords, keys or the like? Then its mode is 0600.
    pub secret: bool,
    /// What was done to the base.
    pub edits: Vec<EditEntry>,
    /// What the user should know.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// One edit. Fields that do not apply are left out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EditEntry {
    /// The profile's word for it.
    pub section: String,
    /// `write`, `directory`, `symlink`, `remove`, `rename`, `attributes`, `disk-id`, `root-uuid`, `boot-serial`,
    /// `grow`.
    pub action: String,
    /// Where.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// The target of a symlink, the new name of a rename, the new id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// Four octal digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
    /// `uid:gid`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// Length of what was written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub len_bytes: Option<u64>,
    /// SHA-256 of what was written; never of a secret, which could be guessed from it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
}

impl Manifest {
    /// A manifest without nodes.
    pub(super) fn new(cluster: &str, base: BaseEntry) -> Self {
        let tool = concat!("cardpress ", env!("CARGO_PKG_VERSION")).to_owned();
        Self { schema: SCHEMA, tool, cluster: cluster.to_owned(), base, nodes: Vec::new(), files: Vec::new() }
    }

    /// Takes over from an earlier manifest of the same base the nodes that were not pressed this time and are
    /// still in the profile, and puts all in the profile's order.
    pub(super) fn keep_from(&mut self, earlier: Self, cluster: &Cluster) {
        if earlier.is_akin_to(self) {
            let pressed: Vec<String> = self.nodes.iter().map(|node| node.name.clone()).collect();
            self.nodes.extend(earlier.nodes.into_iter().filter(|node| {
                let is_wanted = cluster.nodes.iter().any(|wanted| wanted.name == node.name);
                node.image.is_some() && !pressed.contains(&node.name) && is_wanted
            }));
        }
        self.sort(cluster);
    }

    /// Was it made from the same base by the same version?
    pub(super) fn is_akin_to(&self, other: &Self) -> bool {
        (self.schema, &self.base, &self.tool) == (other.schema, &other.base, &other.tool)
    }

    /// Puts the nodes in the order of the profile.
    pub(super) fn sort(&mut self, cluster: &Cluster) {
        self.nodes.sort_by_key(|node| cluster.nodes.iter().position(|wanted| wanted.name == node.name));
    }

    /// The text of the file.
    #[must_use]
    pub fn to_json(&self) -> String {
        // Strings, numbers and lists only, so this cannot fail.
        serde_json::to_string_pretty(self).unwrap_or_default() + "\n"
    }
}

/// Of what may be shown.
fn digest(content: &Content) -> Option<String> {
    match content {
        Content::Plain(bytes) => Some(Sha256Digest::of(bytes).to_string()),
        Content::Secret(_) => None,
    }
}

impl From<&HostFile> for FileEntry {
    fn from(file: &HostFile) -> Self {
        let len_bytes = file.content.bytes().len() as u64;
        Self { path: file.path.clone(), len_bytes, sha256: digest(&file.content) }
    }
}

impl From<&Edit> for EditEntry {
    fn from(edit: &Edit) -> Self {
        let entry = |action: &str| Self {
            section: edit.section.to_owned(),
            action: action.to_owned(),
            ..Self::default()
        };
        let octal = |mode: u16| format!("{mode:04o}");
        let numbers = |owner: crate::plan::Owner| format!("{}:{}", owner.uid, owner.gid);
        match &edit.action {
            Action::WriteFile { path, content, mode, owner } => Self {
                path: Some(path.to_string()),
                mode: mode.map(octal),
                owner: owner.map(numbers),
                len_bytes: Some(content.bytes().len() as u64),
                sha256: digest(content),
                ..entry("write")
            },
            Action::MakeDirectory { path, mode, owner } => Self {
                path: Some(path.to_string()),
                mode: Some(octal(*mode)),
                owner: Some(numbers(*owner)),
                ..entry("directory")
            },
            Action::Symlink { path, target } => {
                Self { path: Some(path.to_string()), to: Some(target.clone()), ..entry("symlink") }
            }
            Action::Remove { path } => Self { path: Some(path.to_string()), ..entry("remove") },
            Action::Rename { from, to } => {
                Self { path: Some(from.to_string()), to: Some(to.to_string()), ..entry("rename") }
            }
            Action::SetAttributes { path, mode, owner } => Self {
                path: Some(path.to_string()),
                mode: mode.map(octal),
                owner: owner.map(numbers),
                ..entry("attributes")
            },
            Action::SetDiskId(id) => Self { to: Some(format!("{id:08x}")), ..entry("disk-id") },
            Action::SetGuids { disk, .. } => Self { to: Some(disk.to_string()), ..entry("guids") },
            Action::SetRootUuid(uuid) => Self { to: Some(uuid.to_string()), ..entry("root-uuid") },
            Action::SetBootSerial(serial) => Self {
                to: Some(format!("{:04X}-{:04X}", serial >> 16, serial & 0xffff)),
                ..entry("boot-serial")
            },
            Action::GrowImage(len) => Self { len_bytes: Some(len.0), ..entry("grow") },
        }
    }
}
