//! What somebody should know before this image is used, and what he may want to know.

use serde::{Serialize, Serializer, ser::SerializeStruct as _};

/// Something that is wrong or dangerous. Each is a sentence of its own.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Warning {
    /// A partition leaves the disk.
    #[error(
        "partition {number} ends at byte {end_bytes}, behind the end of the disk at {len_bytes}: it was cut short"
    )]
    OutsideDisk {
        /// Which.
        number: u32,
        /// Where it ends.
        end_bytes: u64,
        /// Where the disk does.
        len_bytes: u64,
    },
    /// Two partitions share bytes.
    #[error("partitions {first} and {second} overlap: writing to one destroys the other")]
    Overlap {
        /// The one that begins first.
        first: u32,
        /// The other.
        second: u32,
    },
    /// Something else is wrong with the table.
    #[error("the partition table is not sound: {0}")]
    Table(String),
    /// Somebody has not finished with a filesystem.
    #[error("{place} is not clean: it {state}")]
    NotClean {
        /// `partition 2`
        place: String,
        /// `needs recovery`
        state: &'static str,
    },
    /// It says what it is, and cannot be read.
    #[error("{place} cannot be read: {why}")]
    Unreadable {
        /// `partition 2`
        place: String,
        /// What is wrong with it.
        why: String,
    },
    /// The boot partition is nearly full.
    #[error("the boot partition is nearly full: {free} free of {len}; a new kernel may not fit")]
    BootFull {
        /// What is free.
        free: crate::base::ByteLen,
        /// All of it.
        len: crate::base::ByteLen,
    },
    /// The root filesystem is nearly full.
    #[error("the root filesystem is nearly full: {free} free of {len}")]
    RootFull {
        /// What is free.
        free: crate::base::ByteLen,
        /// All of it.
        len: crate::base::ByteLen,
    },
    /// The firmware takes the first line only.
    #[error("cmdline.txt has {0} lines: only the first one counts")]
    CmdlineLines(usize),
    /// A secret that everybody can read who has the card in his hand: FAT knows no rights.
    #[error("{file} on the boot partition has {what} in plain text (line {line})")]
    PlaintextSecret {
        /// The name of the file.
        file: String,
        /// Where in it, counted from one.
        line: usize,
        /// `a Wi-Fi passphrase` or `a password`.
        what: &'static str,
    },
    /// A private key that every user of the system can read.
    #[error("the private key {path} is readable by everybody (mode {mode:04o})")]
    ReadableKey {
        /// Where.
        path: String,
        /// Its mode.
        mode: u16,
    },
    /// The password that all old images have.
    #[error("`{user}` has the well-known password `{password}`{}", through(.by_ssh))]
    DefaultPassword {
        /// Whose.
        user: String,
        /// Which.
        password: &'static str,
        /// Does ssh take it?
        by_ssh: bool,
    },
    /// No password is asked for.
    #[error("`{user}` can log in without a password")]
    EmptyPassword {
        /// Who.
        user: String,
    },
    /// A name of a partition or filesystem that is not on this disk.
    #[error("{file} names {name} for {what}, which is not on this disk: it will not start")]
    ForeignRoot {
        /// `cmdline.txt` or `/etc/fstab`.
        file: &'static str,
        /// `PARTUUID=1a2b3c4d-02`
        name: String,
        /// `/`, or another mount point.
        what: String,
    },
}

impl Warning {
    /// One word for programs: `overlap`.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::OutsideDisk { .. } => "outside-disk",
            Self::Overlap { .. } => "overlap",
            Self::Table(_) => "table",
            Self::NotClean { .. } => "not-clean",
            Self::Unreadable { .. } => "unreadable",
            Self::BootFull { .. } => "boot-full",
            Self::RootFull { .. } => "root-full",
            Self::CmdlineLines(_) => "cmdline-lines",
            Self::PlaintextSecret { .. } => "plaintext-secret",
            Self::ReadableKey { .. } => "readable-key",
            Self::DefaultPassword { .. } => "default-password",
            Self::EmptyPassword { .. } => "empty-password",
            Self::ForeignRoot { .. } => "foreign-root",
        }
    }
}

fn through(by_ssh: &bool) -> &'static str {
    if *by_ssh { ", and ssh takes it" } else { "" }
}

/// Something worth knowing that is no fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Note {
    /// Copies of the image would be one machine.
    #[error(
        "/etc/machine-id is set: every copy of this image has the same; right for one machine, not for many"
    )]
    MachineId,
    /// Copies of the image could pass for each other.
    #[error(
        "ssh host keys are in it: every copy of this image has the same; right for one machine, not for many"
    )]
    HostKeys,
    /// What was done to read it.
    #[error("{0}; for reading only, nothing was written")]
    Recovered(String),
    /// Changes of `cardpress fs` that were cut off, and are read as done.
    #[error("there are unfinished changes beside it: told with them")]
    Unfinished,
    /// Somebody may be writing.
    #[error("{device} is mounted on {on}: what is told may be changing")]
    Mounted {
        /// Which.
        device: String,
        /// Where.
        on: String,
    },
}

impl Note {
    /// One word for programs: `host-keys`.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::MachineId => "machine-id",
            Self::HostKeys => "host-keys",
            Self::Recovered(_) => "recovered",
            Self::Unfinished => "unfinished",
            Self::Mounted { .. } => "mounted",
        }
    }
}

fn as_object<S: Serializer>(serializer: S, name: &str, text: &str) -> Result<S::Ok, S::Error> {
    let mut object = serializer.serialize_struct("Remark", 2)?;
    object.serialize_field("name", name)?;
    object.serialize_field("text", text)?;
    object.end()
}

impl Serialize for Warning {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        as_object(serializer, self.name(), &self.to_string())
    }
}

impl Serialize for Note {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        as_object(serializer, self.name(), &self.to_string())
    }
}
