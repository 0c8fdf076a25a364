//! An OpenPGP key as its owner publishes it, and what it may sign: RFC 9580 §10.1.1 (transferable public keys) and
//! §5.2 (signatures). The library computes; every rule is here.

use std::path::Path;

use pgp::packet::{Packet, PublicKey, PublicSubkey, Signature, SignatureType, SignatureVersion, UserId};
use pgp::packet::{Subpacket, SubpacketData};
use pgp::ser::Serialize as _;
use pgp::types::{EddsaLegacyPublicParams, KeyDetails, KeyVersion, PublicParams, Tag, VerifyingKey};

use super::packets::Raw;
use super::{Error, Fingerprint, Refusal, date, hash_of};

/// A shorter RSA key has been within reach of the rich since about 2010.
const RSA_BITS_MIN: u16 = 2048;

/// A public key with its subkeys, and everything that was signed about them.
#[derive(Debug)]
pub(super) struct Certificate {
    primary: PublicKey,
    /// Direct-key signatures and revocations.
    signatures: Vec<Signature>,
    users: Vec<(UserId, Vec<Signature>)>,
    subkeys: Vec<(PublicSubkey, Vec<Signature>)>,
}

/// One of the keys of a certificate.
#[derive(Clone, Copy, Debug)]
pub(super) enum Signer<'c> {
    Primary(&'c PublicKey),
    Subkey(&'c PublicSubkey, &'c [Signature]),
}

impl<'c> Signer<'c> {
    pub(super) fn key(self) -> &'c dyn VerifyingKey {
        match self {
            Self::Primary(key) => key,
            Self::Subkey(key, _) => key,
        }
    }
}

/// What the signatures that follow a packet are about.
enum About {
    Nothing,
    Primary,
    User,
    /// A photograph or the like: says nothing about keys.
    Attribute,
    Subkey(usize),
}

/// Gathers the packets of a file to certificates. Nothing that may be a revocation is left out: what is not
/// understood is an error.
pub(super) fn gather(packets: &[Raw<'_>], path: &Path) -> Result<Vec<Certificate>, Error> {
    let broken = |reason| Error::BrokenKey { path: path.to_owned(), reason };
    let no_key = |found: &str| Error::NoKey { path: path.to_owned(), found: found.to_owned() };
    let mut certificates: Vec<Certificate> = Vec::new();
    let mut about = About::Nothing;
    for raw in packets {
        match (raw.tag(), certificates.last_mut()) {
            (Tag::Marker | Tag::Trust | Tag::Padding | Tag::UnassignedNonCritical(_), _) => {}
            (Tag::SecretKey | Tag::SecretSubkey, _) => {
                return Err(Error::PrivateKey { path: path.to_owned() });
            }
            (Tag::PublicKey, _) => {
                let Packet::PublicKey(primary) = raw.parse().map_err(broken)? else { continue };
                if primary.version() != KeyVersion::V4 {
                    let version = u8::from(primary.version());
                    return Err(no_key(&format!("an OpenPGP key of version {version}")));
                }
                let fingerprint = primary.fingerprint();
                if certificates.iter().any(|other| other.primary.fingerprint() == fingerprint) {
                    // One of the two may lack a revocation.
                    return Err(broken(raw.fault(&format!("the key {fingerprint:X} is there twice"))));
                }
                let (signatures, users, subkeys) = (Vec::new(), Vec::new(), Vec::new());
                certificates.push(Certificate { primary, signatures, users, subkeys });
                about = About::Primary;
            }
            (Tag::Signature, None) => return Err(no_key("an OpenPGP signature")),
            (_, None) => return Err(no_key("an OpenPGP file without a key")),
            (Tag::UserAttribute, Some(_)) => about = About::Attribute,
            (Tag::UserId | Tag::PublicSubkey | Tag::Signature, Some(certificate)) => {
                match raw.parse().map_err(broken)? {
                    Packet::UserId(user) => {
                        certificate.users.push((user, Vec::new()));
                        about = About::User;
                    }
                    Packet::PublicSubkey(subkey) => about = certificate.add_subkey(subkey),
                    Packet::Signature(signature) => certificate.add_signature(&about, signature),
                    _ => {}
                }
            }
            (_, Some(_)) => return Err(broken(raw.fault("does not belong into a key"))),
        }
    }
    Ok(certificates)
}

impl Certificate {
    fn add_subkey(&mut self, subkey: PublicSubkey) -> About {
        let fingerprint = subkey.fingerprint();
        let known = self.subkeys.iter().position(|(other, _)| other.fingerprint() == fingerprint);
        let index = known.unwrap_or(self.subkeys.len());
        if known.is_none() {
            self.subkeys.push((subkey, Vec::new()));
        }
        About::Subkey(index)
    }

    fn add_signature(&mut self, about: &About, signature: Signature) {
        let signatures = match about {
            About::Primary => Some(&mut self.signatures),
            About::User => self.users.last_mut().map(|(_, signatures)| signatures),
            About::Subkey(index) => self.subkeys.get_mut(*index).map(|(_, signatures)| signatures),
            About::Attribute | About::Nothing => None,
        };
        signatures.into_iter().for_each(|signatures| signatures.push(signature.clone()));
    }

    /// Of the primary key.
    pub(super) fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&self.primary)
    }

    /// The keys that `signature` may mean.
    pub(super) fn signers(&self, signature: &Signature) -> Vec<Signer<'_>> {
        let subkeys = self.subkeys.iter().map(|(key, signatures)| Signer::Subkey(key, signatures));
        std::iter::once(Signer::Primary(&self.primary))
            .chain(subkeys)
            .filter(|signer| issuer(signature, signer.key()) == Issuer::Named)
            .collect()
    }

    /// Whether one of our keys may have signed a file at `made`, as far as is known at `now`, both in seconds since
    /// 1970.
    pub(super) fn may_sign(&self, signer: Signer<'_>, made: u64, now: u64) -> Result<(), Refusal> {
        let selfs = self.check_primary(made, now)?;
        match signer {
            Signer::Primary(key) => {
                let newest = newest(selfs.into_iter().filter(|signature| flags(signature).is_some()));
                // What says nothing about its use has no other use: as gpg takes it.
                let signs = newest.and_then(flags).is_none_or(|signs| signs);
                if signs { Ok(()) } else { Err(Refusal::NotForSigning(Fingerprint::of(key))) }
            }
            Signer::Subkey(key, signatures) => self.check_subkey(key, signatures, made, now),
        }
    }

    /// Whether the primary key was in force; its self-signatures.
    fn check_primary(&self, made: u64, now: u64) -> Result<Vec<&Signature>, Refusal> {
        let fingerprint = self.fingerprint();
        let selfs = self.self_signatures(now);
        if self.revoked(&self.signatures, SignatureType::KeyRevocation, &selfs) {
            return Err(Refusal::Revoked(fingerprint));
        }
        check_strength(&self.primary)?;
        let word = newest(selfs.iter().copied().filter(|signature| speaks_of_life(signature)))
            .ok_or(Refusal::NoSelfSignature(fingerprint))?;
        check_life(&self.primary, word, made)?;
        Ok(selfs)
    }

    fn check_subkey(
        &self,
        key: &PublicSubkey,
        signatures: &[Signature],
        made: u64,
        now: u64,
    ) -> Result<(), Refusal> {
        let fingerprint = Fingerprint::of(key);
        if self.revoked(signatures, SignatureType::SubkeyRevocation, &self.self_signatures(now)) {
            return Err(Refusal::Revoked(fingerprint));
        }
        check_strength(key)?;
        let bindings = signatures
            .iter()
            .filter(|signature| signature.typ() == Some(SignatureType::SubkeyBinding))
            .filter(|signature| self.in_force(signature, now))
            .filter(|signature| signature.verify_subkey_binding(&self.primary, key).is_ok());
        let binding = newest(bindings).ok_or_else(|| Refusal::Unbound(fingerprint.clone()))?;
        if flags(binding) != Some(true) {
            return Err(Refusal::NotForSigning(fingerprint));
        }
        // Or somebody could adopt another's signing key, and with it what that has signed.
        let back = binding.embedded_signature().ok_or_else(|| Refusal::Unbound(fingerprint.clone()))?;
        let bound = sound(back, now).is_ok() && back.verify_primary_key_binding(key, &self.primary).is_ok();
        if !bound {
            return Err(Refusal::Unbound(fingerprint));
        }
        check_life(key, binding, made)
    }

    /// What the owner says of the primary key, with proof and in force.
    fn self_signatures(&self, now: u64) -> Vec<&Signature> {
        let direct =
            self.signatures.iter().filter(|signature| signature.typ() == Some(SignatureType::Key)).filter(
                |signature| self.in_force(signature, now) && signature.verify_key(&self.primary).is_ok(),
            );
        let users = self.users.iter().flat_map(|(user, signatures)| {
            signatures
                .iter()
                .filter(|signature| signature.is_certification())
                .filter(|signature| signature.typ() != Some(SignatureType::CertRevocation))
                .filter(|signature| self.in_force(signature, now))
                .filter(|signature| !self.withdrawn(signature, signatures))
                .filter(|signature| signature.verify_certification(&self.primary, Tag::UserId, user).is_ok())
        });
        direct.chain(users).collect()
    }

    /// Whether the owner has taken the user id back after `signature`, one of `signatures` about it.
    fn withdrawn(&self, signature: &Signature, signatures: &[Signature]) -> bool {
        signatures
            .iter()
            .filter(|other| other.typ() == Some(SignatureType::CertRevocation))
            .filter(|other| issuer(other, &self.primary) != Issuer::Other)
            .any(|other| other.created().is_none() || other.created() >= signature.created())
    }

    /// Whether a signature says that it is ours, and may be believed once it is verified.
    fn in_force(&self, signature: &Signature, now: u64) -> bool {
        let born = u64::from(self.primary.created_at().as_secs());
        issuer(signature, &self.primary) != Issuer::Other
            && signature.config().is_some_and(|config| config.pub_alg == self.primary.algorithm())
            && sound(signature, now).is_ok_and(|made| made >= born)
    }

    /// Whether the owner, or whom the owner named for it, has revoked a key. A revocation is believed without proof,
    /// whatever its date and its hash: a false one costs a refusal, a missed one everything.
    fn revoked(&self, signatures: &[Signature], kind: SignatureType, selfs: &[&Signature]) -> bool {
        let revokers: Vec<&[u8]> = selfs
            .iter()
            .filter_map(|signature| signature.config())
            .flat_map(|config| config.hashed_subpackets())
            .filter_map(|subpacket| match &subpacket.data {
                SubpacketData::RevocationKey(revoker) => Some(revoker.fingerprint.as_slice()),
                _ => None,
            })
            .collect();
        signatures.iter().filter(|signature| signature.typ() == Some(kind)).any(|signature| {
            issuer(signature, &self.primary) != Issuer::Other
                || revokers.iter().any(|revoker| {
                    signature.issuer_fingerprint().iter().any(|issuer| issuer.as_bytes() == *revoker)
                        || signature.issuer_key_id().iter().any(|issuer| revoker.ends_with(issuer.as_ref()))
                })
        })
    }
}

/// Whom a signature says it is from. Only a hint: often it is not even signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Issuer {
    Named,
    Other,
    Unsaid,
}

fn issuer(signature: &Signature, key: &dyn VerifyingKey) -> Issuer {
    let (fingerprints, ids) = (signature.issuer_fingerprint(), signature.issuer_key_id());
    if fingerprints.is_empty() && ids.is_empty() {
        return Issuer::Unsaid;
    }
    let named = if fingerprints.is_empty() {
        ids.contains(&&key.legacy_key_id())
    } else {
        fingerprints.contains(&&key.fingerprint())
    };
    if named { Issuer::Named } else { Issuer::Other }
}

fn newest<'s>(signatures: impl Iterator<Item = &'s Signature>) -> Option<&'s Signature> {
    signatures.max_by_key(|signature| signature.created())
}

/// Whether a self-signature says how long the primary key lives, be it for ever. One on a user id does. One on the
/// key itself may be about something else: gpg names revokers in one that says neither use nor life.
fn speaks_of_life(signature: &Signature) -> bool {
    signature.is_certification() || flags(signature).is_some() || signature.key_expiration_time().is_some()
}

/// Whether a self-signature says that its key may sign files; `None` where it has no say.
fn flags(signature: &Signature) -> Option<bool> {
    signature.config()?.hashed_subpackets().find_map(|subpacket| match &subpacket.data {
        SubpacketData::KeyFlags(flags) => Some(flags.sign()),
        _ => None,
    })
}

/// What any signature must fulfil to count at `now`, whatever it is about and whoever made it; when it was made.
pub(super) fn sound(signature: &Signature, now: u64) -> Result<u64, Refusal> {
    let version = u8::from(signature.version());
    let config = signature
        .config()
        .filter(|_| signature.version() == SignatureVersion::V4)
        .ok_or(Refusal::Version(version))?;
    if hash_of(config.hash_alg).is_none() {
        return Err(Refusal::Hash(config.hash_alg.to_string()));
    }
    if let Some(subpacket) = config.hashed_subpackets().find(|subpacket| !understood(subpacket)) {
        let kind = subpacket.typ();
        return Err(Refusal::Content(format!("it says {kind:?} must be understood, and it is not")));
    }
    let mut dates = config.hashed_subpackets().filter_map(|subpacket| match &subpacket.data {
        SubpacketData::SignatureCreationTime(date) => Some(u64::from(date.as_secs())),
        _ => None,
    });
    let (Some(made), None) = (dates.next(), dates.next()) else {
        return Err(Refusal::Content("it does not say once when it was made".to_owned()));
    };
    if made > now {
        return Err(Refusal::Future { made: date(made), now: date(now) });
    }
    for subpacket in config.hashed_subpackets() {
        if let SubpacketData::SignatureExpirationTime(life) = &subpacket.data {
            // 0 is for ever.
            let end = made + u64::from(life.as_secs());
            if end != made && end <= now {
                return Err(Refusal::Expired(date(end)));
            }
        }
    }
    Ok(made)
}

/// Whether a part of a signature means something to us, or may mean nothing. Of what is critical, we know what
/// follows; restrictions to a domain or a recipient, notations and the like are none of it.
fn understood(subpacket: &Subpacket) -> bool {
    use SubpacketData as Data;
    !subpacket.is_critical
        || matches!(
            subpacket.data,
            Data::SignatureCreationTime(_)
                | Data::SignatureExpirationTime(_)
                | Data::KeyExpirationTime(_)
                | Data::IssuerKeyId(_)
                | Data::IssuerFingerprint(_)
                | Data::SignersUserID(_)
                | Data::KeyFlags(_)
                | Data::Features(_)
                | Data::IsPrimary(_)
                | Data::Revocable(_)
                | Data::RevocationKey(_)
                | Data::RevocationReason(..)
                | Data::ExportableCertification(_)
                | Data::EmbeddedSignature(_)
                | Data::PolicyURI(_)
                | Data::PreferredSymmetricAlgorithms(_)
                | Data::PreferredHashAlgorithms(_)
                | Data::PreferredCompressionAlgorithms(_)
                | Data::PreferredAeadAlgorithms(_)
                | Data::PreferredEncryptionModes(_)
                | Data::PreferredKeyServer(_)
                | Data::KeyServerPreferences(_)
        )
}

/// Whether a key was alive at `made`, by the signature that says how long it lives.
fn check_life(key: &dyn VerifyingKey, word: &Signature, made: u64) -> Result<(), Refusal> {
    let born = u64::from(key.created_at().as_secs());
    let fingerprint = Fingerprint::of(key);
    if made < born {
        return Err(Refusal::BeforeKey { made: date(made), key: fingerprint, created: date(born) });
    }
    // 0 is for ever.
    let life = word.key_expiration_time().map_or(0, |life| u64::from(life.as_secs()));
    if life != 0 && made >= born + life {
        return Err(Refusal::AfterKey { made: date(made), key: fingerprint, until: date(born + life) });
    }
    Ok(())
}

fn check_strength(key: &dyn VerifyingKey) -> Result<(), Refusal> {
    let strong = match key.public_params() {
        PublicParams::RSA(params) => {
            // The modulus comes first, behind its length in bits.
            let mut bytes = Vec::new();
            let written = params.to_writer(&mut bytes).is_ok();
            let bits = bytes.first_chunk().map_or(0, |bits| u16::from_be_bytes(*bits));
            written && bits >= RSA_BITS_MIN
        }
        PublicParams::EdDSALegacy(EddsaLegacyPublicParams::Ed25519 { .. })
        | PublicParams::Ed25519(_)
        | PublicParams::Ed448(_) => true,
        PublicParams::ECDSA(params) => params.is_supported(),
        _ => false,
    };
    if strong { Ok(()) } else { Err(Refusal::WeakKey(Fingerprint::of(key))) }
}
