//! Why a signature does not count.

use std::io;
use std::path::PathBuf;

use super::Fingerprint;
use crate::base::{ByteLen, Interrupted};

/// Why a file is not known to be signed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The system failed on the file with the keys.
    #[error("cannot {action} `{}`", .path.display())]
    KeyFile {
        /// What was done.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Longer than the keys of many people.
    #[error("`{}` is longer than {}, wanted a few OpenPGP public keys", .path.display(), ByteLen(*.limit))]
    KeyFileTooLong {
        /// The file.
        path: PathBuf,
        /// The limit.
        limit: u64,
    },
    /// Something else than a key.
    #[error("`{}` is {found}, wanted an OpenPGP public key of version 4", .path.display())]
    NoKey {
        /// The file.
        path: PathBuf,
        /// What is in it.
        found: String,
    },
    /// What must not lie about, and is not needed.
    #[error(
        "`{}` holds a private key, wanted a public one (`gpg --export --armor`)", .path.display()
    )]
    PrivateKey {
        /// The file.
        path: PathBuf,
    },
    /// Damaged, cut short, or with something in it that we do not understand.
    #[error("the key file `{}` cannot be read: {reason}", .path.display())]
    BrokenKey {
        /// The file.
        path: PathBuf,
        /// What is wrong, and where.
        reason: String,
    },
    /// Longer than any signature.
    #[error("`{name}` is longer than {}, wanted a detached OpenPGP signature", ByteLen(*.limit))]
    TooLong {
        /// The signature.
        name: String,
        /// The limit.
        limit: u64,
    },
    /// Something else than a signature.
    #[error("`{name}` is {found}, wanted a detached OpenPGP signature")]
    NoSignature {
        /// The signature.
        name: String,
        /// What was sent.
        found: String,
    },
    /// Damaged or cut short.
    #[error("the signature `{name}` cannot be read: {reason}")]
    BrokenSignature {
        /// The signature.
        name: String,
        /// What is wrong, and where.
        reason: String,
    },
    /// Somebody else's signature.
    #[error("`{name}` was made with the key {found}, wanted one of `{}`: {wanted}", .path.display())]
    UnknownKey {
        /// The signature.
        name: String,
        /// The key, or keys, that it names: fingerprints, else key ids.
        found: String,
        /// The file with the keys.
        path: PathBuf,
        /// The fingerprints in it.
        wanted: String,
    },
    /// The right key, and yet not good enough.
    #[error("the signature `{name}` does not count: {refusal}")]
    Refused {
        /// The signature.
        name: String,
        /// Why.
        refusal: Refusal,
    },
    /// The file or the signature is not what the signer had.
    #[error("`{name}` is no signature of this file by the key {keys}: the file or the signature was changed")]
    Bad {
        /// The signature.
        name: String,
        /// The keys it says it was made with.
        keys: String,
    },
    /// The system failed on the file that is signed.
    #[error("cannot read the file that `{name}` signs")]
    Signed {
        /// The signature.
        name: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The user asked to stop.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
}

/// Why one signature does not count, whatever it says. Dates are UTC.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The key is not in the file.
    #[error("it was made with the key {0}")]
    UnknownKey(String),
    /// Another version of the format.
    #[error("it has version {0}, wanted 4")]
    Version(u8),
    /// A signature of a text, a key or the like.
    #[error("it has type {0:#04x}, wanted 0x00, the signature of a binary file")]
    Type(u8),
    /// A hash for which somebody could make two files.
    #[error("it uses the hash {0}, wanted SHA256, SHA384 or SHA512")]
    Hash(String),
    /// Something that must be understood, and is not; or parts that contradict each other.
    #[error("{0}")]
    Content(String),
    /// Dated in the future.
    #[error("it is dated {made}, and now is {now}")]
    Future {
        /// When it says it was made.
        made: String,
        /// Now.
        now: String,
    },
    /// No longer good.
    #[error("it was good until {0}")]
    Expired(String),
    /// Older than its key.
    #[error("it is dated {made}, before its key {key} of {created}")]
    BeforeKey {
        /// When it says it was made.
        made: String,
        /// The key or subkey.
        key: Fingerprint,
        /// When that was made.
        created: String,
    },
    /// Made with a key that was no longer good.
    #[error("it is dated {made}, and its key {key} was good until {until}")]
    AfterKey {
        /// When it says it was made.
        made: String,
        /// The key or subkey.
        key: Fingerprint,
        /// When that expired.
        until: String,
    },
    /// The owner has taken the key back.
    #[error("its key {0} is revoked")]
    Revoked(Fingerprint),
    /// Too short, or of a kind that nobody should use.
    #[error(
        "its key {0} is too weak or of an unsupported kind, wanted RSA of 2048 bits or more, EdDSA or ECDSA"
    )]
    WeakKey(Fingerprint),
    /// Nothing says what the key may do.
    #[error(
        "its key {0} has no self-signature that counts: undamaged, in force, with SHA256, SHA384 or SHA512"
    )]
    NoSelfSignature(Fingerprint),
    /// Nothing says that the subkey belongs to the key.
    #[error(
        "its subkey {0} is not bound to the key by signatures of both, in force, with SHA256, SHA384 or SHA512"
    )]
    Unbound(Fingerprint),
    /// A key for other purposes.
    #[error("its key {0} is not meant for signing files")]
    NotForSigning(Fingerprint),
}
