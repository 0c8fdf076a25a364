//! One change of one node, small enough to show in a line and to check by reading it back.

use std::sync::Arc;

use uuid::Uuid;

use crate::base::{ByteLen, ImagePath, Secret};

/// Everything that makes a base image into one node, in the order it is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodePlan {
    /// The node's name.
    pub node: String,
    /// The changes. No two of them write the same path.
    pub edits: Vec<Edit>,
    /// What the user should know about this node: settings this image has no use for, and the like.
    pub warnings: Vec<String>,
}

impl NodePlan {
    /// Does the node hold passwords, keys or the like?
    #[must_use]
    pub fn is_secret(&self) -> bool {
        self.edits
            .iter()
            .any(|edit| matches!(&edit.action, Action::WriteFile { content, .. } if content.is_secret()))
    }
}

/// One change, and the part of the profile that asked for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edit {
    /// The profile's word for it: `hostname`, `user`, `cmdline`, …
    pub section: &'static str,
    /// What is done.
    pub action: Action,
}

/// What is done. Paths are as the running system sees them, so `/boot/firmware/…` is on the boot partition;
/// there modes and owners do not exist and are passed over. Symlinks on the way are followed inside the image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// The file holds exactly `content` afterwards; missing parents are made 0755 root:root. A symlink to a file
    /// is written through. `None` keeps what an existing file has, and means 0644 and root:root for a new one.
    WriteFile {
        /// Where.
        path: ImagePath,
        /// All of the file.
        content: Content,
        /// Permission bits.
        mode: Option<u16>,
        /// User and group.
        owner: Option<Owner>,
    },
    /// The directory exists afterwards with this mode and owner; missing parents are made 0755 root:root.
    MakeDirectory {
        /// Where.
        path: ImagePath,
        /// Permission bits.
        mode: u16,
        /// User and group.
        owner: Owner,
    },
    /// The path is a symlink to `target` afterwards; a file or link in its place goes, a directory is an error.
    Symlink {
        /// Where.
        path: ImagePath,
        /// The text of the link.
        target: String,
    },
    /// The path and everything below it is gone afterwards. Links are removed, not followed.
    Remove {
        /// What.
        path: ImagePath,
    },
    /// What was `from` is `to` afterwards, with everything below it.
    Rename {
        /// The old name.
        from: ImagePath,
        /// The new name, which must be free.
        to: ImagePath,
    },
    /// An existing file or directory gets another mode, another owner, or both.
    SetAttributes {
        /// What.
        path: ImagePath,
        /// Permission bits.
        mode: Option<u16>,
        /// User and group.
        owner: Option<Owner>,
    },
    /// The disk identifier in the partition table (MBR offset 440), from which `PARTUUID=` is made.
    SetDiskId(u32),
    /// The GUIDs of a GPT: the disk's, and by number those of its partitions, which `PARTUUID=` names.
    SetGuids {
        /// Of the disk.
        disk: Uuid,
        /// Of the partitions.
        partitions: Vec<(u32, Uuid)>,
    },
    /// The UUID of the root filesystem.
    SetRootUuid(Uuid),
    /// The volume serial number of the boot filesystem (`blkid` shows it as `UUID="XXXX-XXXX"`).
    SetBootSerial(u32),
    /// Partition and filesystem of the root grow until the image is this long.
    GrowImage(ByteLen),
}

/// Who owns a file, by number: names mean nothing outside the image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The user.
    pub uid: u32,
    /// The group.
    pub gid: u32,
}

impl Owner {
    /// root:root.
    pub const ROOT: Self = Self { uid: 0, gid: 0 };
}

/// What a file is to hold. Shared, because many nodes get the same file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// May be shown.
    Plain(Arc<[u8]>),
    /// Must never be shown, logged or put on the boot partition.
    Secret(Arc<Secret<Vec<u8>>>),
}

impl Content {
    /// Text that may be shown.
    pub fn text(text: impl Into<String>) -> Self {
        Self::Plain(text.into().into_bytes().into())
    }

    /// Bytes that must not be shown.
    pub fn secret(bytes: impl Into<Vec<u8>>) -> Self {
        Self::Secret(Arc::new(Secret::new(bytes.into())))
    }

    /// The bytes to write.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        match self {
            Self::Plain(bytes) => bytes,
            Self::Secret(secret) => secret.expose(),
        }
    }

    /// Whether it must not be shown.
    #[must_use]
    pub fn is_secret(&self) -> bool {
        matches!(self, Self::Secret(_))
    }
}

/// How long the image is to be after these edits, where they grow it.
#[must_use]
pub fn grown_len(edits: &[Edit]) -> Option<ByteLen> {
    edits.iter().find_map(|edit| match edit.action {
        Action::GrowImage(len) => Some(len),
        _ => None,
    })
}
