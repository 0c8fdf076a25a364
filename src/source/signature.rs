//! Detached OpenPGP signatures (RFC 9580), as Raspberry Pi publishes one beside each image: is this file what the
//! owner of that key signed?
//!
//! The user names a file with the public keys that count; no other key does, and no web of trust is asked. A signature
//! may be binary or armored, and there may be several: one that is good suffices. One is good when
//!
//! - it is of version 4 and of type 0x00, a binary file. A signature of a text would ignore line ends;
//! - its hash is SHA-256, SHA-384 or SHA-512, and nothing in it that must be understood is not;
//! - it is dated neither in the future nor before its key, and has not expired;
//! - its key was in force at that date, as the newest self-signature puts it that is in force now. A key may expire
//!   later: what it signed before stays signed;
//! - its key may sign files: the primary key unless it says otherwise, a subkey only if it says so, in a signature of
//!   the primary key (0x18) that holds one of the subkey in turn (0x19);
//! - neither key nor subkey is revoked, at any time and for whatever reason, nor weak;
//! - and it verifies over the bytes of the file and its own.
//!
//! gpgv is kinder: its exit status is 0 for a key that had expired or is revoked (it only says so), for signatures of
//! a text or dated in the future, for SHA-1 (in self-signatures too), RIPEMD-160 and SHA-224, for DSA and short RSA
//! keys. What it refuses, we refuse, but for a wrong key id in the part that nobody signed.
//!
//! Left out: version 6 of keys and signatures, which no publisher uses yet; user ids, which prove nothing here.

mod certificate;
mod error;
mod packets;

use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use pgp::crypto::hash::HashAlgorithm;
use pgp::packet::{Packet, Signature, SignatureType};
use pgp::ser::Serialize as _;
use pgp::types::{Tag, VerifyingKey};
use sha2::{Digest as _, Sha256, Sha384, Sha512};

use self::certificate::{Certificate, Signer};
pub use self::error::{Error, Refusal};
use self::packets::{Raw, Trouble};
use crate::base::{Civil, Interrupt, Progress};
use crate::block::host;

/// A key with a thousand signatures of others has half of this.
const KEY_FILE_LEN_MAX: u64 = 1 << 20;
/// Fifty armored signatures of the largest kind.
pub(super) const SIGNATURE_LEN_MAX: usize = 64 << 10;
/// After the name of the file that is signed.
pub(super) const SIGNATURE_SUFFIX: &str = ".sig";
/// Each costs a verification. Nobody has more signers.
const SIGNATURES_MAX: usize = 16;
/// What is read at once.
const PIECE_LEN: usize = 1 << 20;

/// The name of a key that cannot be guessed twice: 40 upper-case hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fingerprint(String);

impl Fingerprint {
    fn of(key: &dyn VerifyingKey) -> Self {
        Self(format!("{:X}", key.fingerprint()))
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A detached signature, as it was fetched.
#[derive(Clone, Copy, Debug)]
pub(super) struct Detached<'s> {
    /// Its path or URL, for messages.
    pub(super) name: &'s str,
    /// Binary or armored. Not to be trusted.
    pub(super) bytes: &'s [u8],
}

/// The keys that count.
#[derive(Debug)]
pub(super) struct Keys {
    path: PathBuf,
    certificates: Vec<Certificate>,
}

impl Keys {
    /// Reads a file with one or more public keys, binary or armored.
    ///
    /// # Errors
    /// [`Error::KeyFile`], [`Error::KeyFileTooLong`], [`Error::NoKey`], [`Error::PrivateKey`], [`Error::BrokenKey`].
    pub(super) fn read(path: &Path) -> Result<Self, Error> {
        let failed =
            |action| move |source: io::Error| Error::KeyFile { action, path: path.to_owned(), source };
        // A pipe would wait for ever.
        if !path.metadata().map_err(failed("open"))?.is_file() {
            return Err(Error::NoKey { path: path.to_owned(), found: "no regular file".to_owned() });
        }
        let mut bytes = Vec::new();
        let file = File::open(path).map_err(failed("open"))?;
        file.take(KEY_FILE_LEN_MAX + 1).read_to_end(&mut bytes).map_err(failed("read"))?;
        if u64::try_from(bytes.len()).map_or(true, |len| len > KEY_FILE_LEN_MAX) {
            return Err(Error::KeyFileTooLong { path: path.to_owned(), limit: KEY_FILE_LEN_MAX });
        }
        Self::parse(path, &bytes)
    }

    fn parse(path: &Path, bytes: &[u8]) -> Result<Self, Error> {
        let owned = path.to_owned();
        let binary = match packets::unarmor(bytes, "PGP PUBLIC KEY BLOCK") {
            Ok(blocks) => blocks.concat(),
            Err(Trouble::Label(label)) if label == "PGP PRIVATE KEY BLOCK" => {
                return Err(Error::PrivateKey { path: owned });
            }
            Err(Trouble::Label(label)) => {
                return Err(Error::NoKey { path: owned, found: format!("a `{label}`") });
            }
            Err(Trouble::Other(found)) => return Err(Error::NoKey { path: owned, found }),
            Err(Trouble::Broken(reason)) => return Err(Error::BrokenKey { path: owned, reason }),
        };
        let packets =
            packets::split(&binary).map_err(|reason| Error::BrokenKey { path: path.to_owned(), reason })?;
        let certificates = certificate::gather(&packets, path)?;
        if certificates.is_empty() {
            return Err(Error::NoKey { path: owned, found: "an OpenPGP file without a key".to_owned() });
        }
        Ok(Self { path: owned, certificates })
    }

    /// Is this the fingerprint of one of them?
    pub(super) fn hold(&self, fingerprint: &str) -> bool {
        self.certificates.iter().any(|certificate| certificate.fingerprint().0 == fingerprint)
    }

    /// Which of the keys signed the whole file `signed`, by its primary key. Reads the file once, and not at all when
    /// no signature could count.
    ///
    /// # Errors
    /// Any other [`Error`].
    pub(super) fn verify(
        &self,
        signed: &File,
        signature: Detached<'_>,
        now: SystemTime,
        interrupt: &Interrupt,
        progress: &dyn Progress,
    ) -> Result<Fingerprint, Error> {
        let now = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let binary = signature.content()?;
        let candidates = self.candidates(&signature.packets(&binary)?, signature.name, now)?;
        let mut hashes = Hashes::for_all(&candidates);
        let failed = |source| Error::Signed { name: signature.name.to_owned(), source };
        let len_bytes = signed.metadata().map_err(failed)?.len();
        progress.start("check the signature", Some(len_bytes));
        let read = each_piece(signed, len_bytes, interrupt, |piece| {
            hashes.update(piece);
            progress.advance(piece.len() as u64);
        });
        progress.finish();
        interrupt.check()?;
        read.map_err(failed)?;
        match candidates.iter().find(|candidate| candidate.verifies(&hashes)) {
            Some(good) => Ok(good.certificate.fingerprint()),
            None => {
                let keys: Vec<String> =
                    candidates.iter().map(|candidate| Fingerprint::of(candidate.signer.key()).0).collect();
                Err(Error::Bad { name: signature.name.to_owned(), keys: keys.join(", ") })
            }
        }
    }

    /// The signatures that may count; at least one.
    fn candidates(&self, packets: &[Raw<'_>], name: &str, now: u64) -> Result<Vec<Candidate<'_>>, Error> {
        let mut candidates = Vec::new();
        let mut unknown = Vec::new();
        let mut refused = None;
        for raw in packets {
            match self.judge(raw, now) {
                Ok(found) => candidates.extend(found),
                Err(Refusal::UnknownKey(key)) => unknown.push(key),
                Err(refusal) => refused = refused.or(Some(refusal)),
            }
        }
        if !candidates.is_empty() {
            return Ok(candidates);
        }
        let name = name.to_owned();
        if let Some(refusal) = refused {
            return Err(Error::Refused { name, refusal });
        }
        let wanted: Vec<String> =
            self.certificates.iter().map(|certificate| certificate.fingerprint().0).collect();
        let (found, wanted) = (unknown.join(", "), wanted.join(", "));
        Err(Error::UnknownKey { name, found, path: self.path.clone(), wanted })
    }

    /// Everything about one signature but the file.
    fn judge(&self, raw: &Raw<'_>, now: u64) -> Result<Vec<Candidate<'_>>, Refusal> {
        let signature = match raw.parse() {
            Ok(Packet::Signature(signature)) => signature,
            Ok(_) => return Err(Refusal::Content(raw.fault("is no signature"))),
            Err(reason) => return Err(Refusal::Content(reason)),
        };
        let signers: Vec<_> = self
            .certificates
            .iter()
            .flat_map(|certificate| {
                certificate.signers(&signature).into_iter().map(move |signer| (certificate, signer))
            })
            .collect();
        if signers.is_empty() {
            return Err(Refusal::UnknownKey(issuers(&signature)));
        }
        let made = certificate::sound(&signature, now)?;
        let typ = signature.typ().map_or(0xff, u8::from);
        if signature.typ() != Some(SignatureType::Binary) {
            return Err(Refusal::Type(typ));
        }
        let (hash, tail) = signed_part(&signature, raw.body)
            .ok_or_else(|| Refusal::Content(raw.fault("is not encoded as it should be")))?;
        let mut candidates = Vec::new();
        let mut refused = None;
        for (certificate, signer) in signers {
            match certificate.may_sign(signer, made, now) {
                Ok(()) => {
                    let (signature, tail) = (signature.clone(), tail.clone());
                    candidates.push(Candidate { certificate, signer, signature, hash, tail });
                }
                Err(refusal) => refused = refused.or(Some(refusal)),
            }
        }
        match refused {
            Some(refusal) if candidates.is_empty() => Err(refusal),
            _ => Ok(candidates),
        }
    }
}

impl Detached<'_> {
    fn content(&self) -> Result<Vec<u8>, Error> {
        let name = self.name.to_owned();
        if self.bytes.len() > SIGNATURE_LEN_MAX {
            return Err(Error::TooLong { name, limit: SIGNATURE_LEN_MAX as u64 });
        }
        match packets::unarmor(self.bytes, "PGP SIGNATURE") {
            Ok(blocks) => Ok(blocks.concat()),
            Err(Trouble::Label(label)) => Err(Error::NoSignature { name, found: format!("a `{label}`") }),
            Err(Trouble::Other(found)) => Err(Error::NoSignature { name, found }),
            Err(Trouble::Broken(reason)) => Err(Error::BrokenSignature { name, reason }),
        }
    }

    /// The packets of the signatures; one or more.
    fn packets<'b>(&self, content: &'b [u8]) -> Result<Vec<Raw<'b>>, Error> {
        let broken = |reason| Error::BrokenSignature { name: self.name.to_owned(), reason };
        let packets = packets::split(content).map_err(broken)?;
        let (signatures, others): (Vec<_>, Vec<_>) = packets
            .into_iter()
            .filter(|raw| !matches!(raw.tag(), Tag::Marker | Tag::Padding | Tag::UnassignedNonCritical(_)))
            .partition(|raw| raw.tag() == Tag::Signature);
        if let Some(other) = others.first() {
            let found = format!("an OpenPGP file with a packet of type {:?}", other.tag());
            return Err(Error::NoSignature { name: self.name.to_owned(), found });
        }
        if signatures.is_empty() {
            let found = "an OpenPGP file without a signature".to_owned();
            return Err(Error::NoSignature { name: self.name.to_owned(), found });
        }
        if signatures.len() > SIGNATURES_MAX {
            let count = signatures.len();
            return Err(broken(format!("found {count} signatures in it, wanted {SIGNATURES_MAX} at most")));
        }
        Ok(signatures)
    }
}

/// A signature that counts if it verifies.
#[derive(Debug)]
struct Candidate<'k> {
    certificate: &'k Certificate,
    signer: Signer<'k>,
    signature: Signature,
    hash: HashAlgorithm,
    /// What is hashed after the file.
    tail: Vec<u8>,
}

impl Candidate<'_> {
    fn verifies(&self, hashes: &Hashes) -> bool {
        let (Some(digest), Some(parts)) = (hashes.digest(self.hash, &self.tail), self.signature.signature())
        else {
            return false;
        };
        let left = self.signature.signed_hash_value();
        digest.first_chunk() == left.as_ref() && self.signer.key().verify(self.hash, &digest, parts).is_ok()
    }
}

/// The keys that a signature says it was made with.
fn issuers(signature: &Signature) -> String {
    let mut keys: Vec<String> =
        signature.issuer_fingerprint().iter().map(|fingerprint| format!("{fingerprint:X}")).collect();
    if keys.is_empty() {
        keys = signature.issuer_key_id().iter().map(|id| id.to_string().to_uppercase()).collect();
    }
    keys.dedup();
    // One signature can name hundreds.
    keys.truncate(4);
    if keys.is_empty() { "that it does not name".to_owned() } else { keys.join(" or ") }
}

/// What a version 4 signature hashes after the file, from the very bytes that were sent (RFC 9580 §5.2.4). `None`
/// where those are not how the signature would be written again: two forms of one thing are one too many.
fn signed_part(signature: &Signature, body: &[u8]) -> Option<(HashAlgorithm, Vec<u8>)> {
    let mut canonical = Vec::new();
    signature.to_writer(&mut canonical).ok()?;
    let hash = signature.hash_alg().filter(|_| canonical == body)?;
    // Version, type, two algorithms; the length of the hashed part.
    let hashed_len = u16::from_be_bytes([*body.get(4)?, *body.get(5)?]);
    let hashed = body.get(..6 + usize::from(hashed_len))?;
    let mut tail = hashed.to_vec();
    tail.extend([4, 0xff]);
    tail.extend(u32::try_from(hashed.len()).ok()?.to_be_bytes());
    Some((hash, tail))
}

/// `Some` for a hash that counts.
fn hash_of(hash: HashAlgorithm) -> Option<HashAlgorithm> {
    matches!(hash, HashAlgorithm::Sha256 | HashAlgorithm::Sha384 | HashAlgorithm::Sha512).then_some(hash)
}

/// A file hashed in every way that its signatures want.
#[derive(Debug, Default)]
struct Hashes {
    sha256: Option<Sha256>,
    sha384: Option<Sha384>,
    sha512: Option<Sha512>,
}

impl Hashes {
    fn for_all(candidates: &[Candidate<'_>]) -> Self {
        let wanted = |hash| candidates.iter().any(|candidate| candidate.hash == hash);
        Self {
            sha256: wanted(HashAlgorithm::Sha256).then(Sha256::new),
            sha384: wanted(HashAlgorithm::Sha384).then(Sha384::new),
            sha512: wanted(HashAlgorithm::Sha512).then(Sha512::new),
        }
    }

    fn update(&mut self, piece: &[u8]) {
        self.sha256.iter_mut().for_each(|hash| hash.update(piece));
        self.sha384.iter_mut().for_each(|hash| hash.update(piece));
        self.sha512.iter_mut().for_each(|hash| hash.update(piece));
    }

    /// Of the file and `tail`.
    fn digest(&self, hash: HashAlgorithm, tail: &[u8]) -> Option<Vec<u8>> {
        match hash {
            HashAlgorithm::Sha256 => Some(self.sha256.clone()?.chain_update(tail).finalize().to_vec()),
            HashAlgorithm::Sha384 => Some(self.sha384.clone()?.chain_update(tail).finalize().to_vec()),
            HashAlgorithm::Sha512 => Some(self.sha512.clone()?.chain_update(tail).finalize().to_vec()),
            _ => None,
        }
    }
}

/// Reads a file from its start, wherever its cursor is. Stops early when asked to.
fn each_piece(
    file: &File,
    len_bytes: u64,
    interrupt: &Interrupt,
    mut take: impl FnMut(&[u8]),
) -> io::Result<()> {
    let mut buffer = vec![0; PIECE_LEN];
    let mut offset = 0;
    while offset < len_bytes && interrupt.check().is_ok() {
        let left = usize::try_from(len_bytes - offset).unwrap_or(PIECE_LEN);
        let piece = buffer.get_mut(..left.min(PIECE_LEN)).unwrap_or_default();
        host::read_exact_at(file, piece, offset)?;
        take(piece);
        offset += piece.len() as u64;
    }
    Ok(())
}

/// A moment for messages, from seconds since 1970.
fn date(seconds: u64) -> String {
    Civil::from_epoch_seconds(i64::try_from(seconds).unwrap_or(i64::MAX)).to_string()
}

#[cfg(test)]
mod tests;
