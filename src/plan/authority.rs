//! Certificate authorities made from the seed, so that what they will sign can be trusted before they run.
//!
//! ECDSA over P-256 (Kubernetes takes RSA or ECDSA for an authority, no Ed25519) with SHA-256. Keys, serial numbers and
//! signatures (RFC 6979) are derived: the same seed gives the same bytes. Certificates are valid from 2020 to 2049
//! whatever the clock says, because a Pi that has not asked a time server yet believes that it is in the past.

use p256::ecdsa::signature::Signer as _;
use p256::ecdsa::{Signature, SigningKey};
use p256::pkcs8::{EncodePrivateKey as _, LineEnding, der};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyIdMethod, KeyUsagePurpose, PublicKeyData, SignatureAlgorithm, date_time_ymd,
};
use sha2::{Digest as _, Sha256};
use thiserror::Error;

use super::Seed;
use crate::base::{Secret, Sha256Digest};

/// What a name in a certificate may be long, in characters (RFC 5280 appendix A, `ub-common-name`).
const LONGEST_NAME: usize = 64;
/// 2049-12-31 is the last day that certificates write with two digits of the year (RFC 5280 §4.1.2.5).
const FIRST_DAY: (i32, u8, u8) = (2020, 1, 1);
const LAST_DAY: (i32, u8, u8) = (2049, 12, 31);

/// Why there is no such certificate.
#[derive(Debug, Error)]
pub(super) enum AuthorityError {
    #[error("the name `{0}` in a certificate, wanted 1 to {LONGEST_NAME} characters")]
    Name(String),
    #[error("the seed gives no key")]
    NoKey,
    #[error("cannot write a key")]
    Key(#[source] p256::pkcs8::Error),
    #[error("cannot write a certificate as PEM")]
    Pem(#[source] der::pem::Error),
    #[error("cannot make a certificate")]
    Certificate(#[source] rcgen::Error),
}

/// A certificate and the key that belongs to it.
#[derive(Clone, Debug)]
pub(super) struct Identity {
    /// PEM, `CERTIFICATE`.
    pub(super) cert: String,
    /// PEM, `PRIVATE KEY` (PKCS#8).
    pub(super) key: Secret<String>,
}

/// A certificate authority that has signed itself.
pub(super) struct Authority {
    /// Its certificate and key.
    pub(super) identity: Identity,
    /// SHA-256 of its public key (DER, `SubjectPublicKeyInfo`), as `sha256:` and hexadecimal digits: what
    /// `kubeadm join` knows an authority by.
    pub(super) hash: String,
    issuer: Issuer<'static, DerivedKey>,
}

impl Authority {
    /// The authority that belongs to `label`; `name` is its common name.
    pub(super) fn derive(seed: &Seed, label: &str, name: &str) -> Result<Self, AuthorityError> {
        let key = DerivedKey::derive(seed, &format!("{label} key"))?;
        let mut params = params(seed, label, &[(DnType::CommonName, name)], &key)?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages =
            vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let cert = params.self_signed(&key).map_err(AuthorityError::Certificate)?;
        Ok(Self {
            identity: Identity { cert: pem(cert.der())?, key: key.pem()? },
            hash: format!("sha256:{}", Sha256Digest::of(&key.subject_public_key_info())),
            issuer: Issuer::new(params, key),
        })
    }

    /// A client of the services that trust this authority, known to them by `name` and, as its group, `organization`.
    pub(super) fn client(
        &self,
        seed: &Seed,
        label: &str,
        name: &str,
        organization: &str,
    ) -> Result<Identity, AuthorityError> {
        let key = DerivedKey::derive(seed, &format!("{label} key"))?;
        let subject = [(DnType::OrganizationName, organization), (DnType::CommonName, name)];
        let mut params = params(seed, label, &subject, &key)?;
        params.is_ca = IsCa::ExplicitNoCa;
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let cert = params.signed_by(&key, &self.issuer).map_err(AuthorityError::Certificate)?;
        Ok(Identity { cert: pem(cert.der())?, key: key.pem()? })
    }
}

/// What all certificates have. The serial number is that of this label and subject: a certificate for another subject is
/// another one.
fn params(
    seed: &Seed,
    label: &str,
    subject: &[(DnType, &str)],
    key: &DerivedKey,
) -> Result<CertificateParams, AuthorityError> {
    let mut distinguished_name = DistinguishedName::new();
    let mut names = String::new();
    for (kind, name) in subject {
        if !(1..=LONGEST_NAME).contains(&name.chars().count()) {
            return Err(AuthorityError::Name((*name).to_owned()));
        }
        distinguished_name.push(kind.clone(), *name);
        names = format!("{names} {name}");
    }
    let mut serial: [u8; 16] = seed.derive(&format!("{label} serial{names}"));
    // Positive, and of full length (RFC 5280 §4.1.2.2).
    serial[0] = serial[0] & 0x7f | 0x40;
    // RFC 7093 §2, method 1.
    let key_id = Sha256::digest(key.der_bytes()).iter().take(20).copied().collect();
    let mut params = CertificateParams::default();
    params.not_before = date_time_ymd(FIRST_DAY.0, FIRST_DAY.1, FIRST_DAY.2);
    params.not_after = date_time_ymd(LAST_DAY.0, LAST_DAY.1, LAST_DAY.2);
    params.serial_number = Some(serial.to_vec().into());
    params.distinguished_name = distinguished_name;
    params.key_identifier_method = KeyIdMethod::PreSpecified(key_id);
    Ok(params)
}

fn pem(der: &[u8]) -> Result<String, AuthorityError> {
    der::pem::encode_string("CERTIFICATE", LineEnding::LF, der).map_err(AuthorityError::Pem)
}

/// A key for ECDSA over P-256.
struct DerivedKey {
    key: SigningKey,
    /// Uncompressed (SEC 1 §2.3.3).
    point: Vec<u8>,
}

impl DerivedKey {
    /// The first 32 bytes that are a number from 1 to the order of the curve (FIPS 186-5 A.2.2): all but one in 2³² are.
    fn derive(seed: &Seed, label: &str) -> Result<Self, AuthorityError> {
        let bytes = Secret::new(seed.derive::<128>(label));
        let key = bytes.expose().chunks(32).find_map(|bytes| SigningKey::from_slice(bytes).ok());
        let key = key.ok_or(AuthorityError::NoKey)?;
        let point = key.verifying_key().to_encoded_point(false).as_bytes().to_vec();
        Ok(Self { key, point })
    }

    fn pem(&self) -> Result<Secret<String>, AuthorityError> {
        let pem = self.key.to_pkcs8_pem(LineEnding::LF).map_err(AuthorityError::Key)?;
        Ok(Secret::new(pem.as_str().to_owned()))
    }
}

impl PublicKeyData for DerivedKey {
    fn der_bytes(&self) -> &[u8] {
        &self.point
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &rcgen::PKCS_ECDSA_P256_SHA256
    }
}

impl rcgen::SigningKey for DerivedKey {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        let signature: Signature = self.key.try_sign(message).map_err(|_| rcgen::Error::RemoteKeyError)?;
        Ok(signature.to_der().as_bytes().to_vec())
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    fn authority(seed: u8) -> Authority {
        Authority::derive(&Seed::new([seed; 32]), "recipe test ca kubernetes", "kubernetes").unwrap()
    }

    fn client(authority: &Authority) -> Identity {
        let seed = Seed::new([1; 32]);
        authority.client(&seed, "recipe test client admin", "kubernetes-admin", "system:masters").unwrap()
    }

    /// What openssl says; `None`, announced, where there is none. Missing is a failure where oracles are required.
    fn openssl(files: &[(&str, &str)], line: &str) -> Option<String> {
        let folder = tempfile::tempdir().unwrap();
        for (name, content) in files {
            std::fs::write(folder.path().join(name), content).unwrap();
        }
        match Command::new("sh").args(["-e", "-c", line]).current_dir(folder.path()).output() {
            Ok(output) if output.status.code() != Some(127) => {
                assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
                Some(String::from_utf8(output.stdout).unwrap())
            }
            _ => {
                assert!(std::env::var("CARDPRESS_ORACLES").as_deref() != Ok("require"), "no openssl");
                println!("openssl is not here: not checked");
                None
            }
        }
    }

    #[test]
    fn the_same_seed_makes_the_same_authority_and_another_another() {
        let (one, same, other) = (authority(1), authority(1), authority(2));
        assert_eq!(one.identity.cert, same.identity.cert);
        assert_eq!(one.identity.key.expose(), same.identity.key.expose());
        assert_eq!(client(&one).cert, client(&same).cert);
        assert_ne!(one.identity.cert, other.identity.cert);
        assert_ne!(one.hash, other.hash);
        assert_eq!(one.identity.cert.lines().next(), Some("-----BEGIN CERTIFICATE-----"));
        assert_eq!(one.identity.key.expose().lines().next(), Some("-----BEGIN PRIVATE KEY-----"));
    }

    #[test]
    fn openssl_reads_an_authority_its_key_and_its_hash() {
        let one = authority(1);
        let files = [("ca.crt", one.identity.cert.as_str()), ("ca.key", one.identity.key.expose())];
        let Some(text) = openssl(&files, "openssl x509 -in ca.crt -noout -text -nameopt RFC2253") else {
            return;
        };
        for wanted in [
            "Issuer: CN=kubernetes",
            "Subject: CN=kubernetes",
            "Not Before: Jan  1 00:00:00 2020 GMT",
            "Not After : Dec 31 00:00:00 2049 GMT",
            "CA:TRUE",
            "Digital Signature, Certificate Sign, CRL Sign",
            "ASN1 OID: prime256v1",
            "Signature Algorithm: ecdsa-with-SHA256",
        ] {
            assert!(text.contains(wanted), "no `{wanted}` in {text}");
        }
        let keys = openssl(
            &files,
            "openssl pkey -in ca.key -check -noout >&2; openssl pkey -in ca.key -pubout -outform der | sha256sum; \
             openssl x509 -in ca.crt -noout -pubkey | openssl pkey -pubin -outform der | sha256sum",
        );
        let hash = one.hash.strip_prefix("sha256:").unwrap();
        assert_eq!(keys.unwrap(), format!("{hash}  -\n{hash}  -\n"));
    }

    #[test]
    fn openssl_trusts_a_client_of_the_authority_and_of_no_other() {
        let (one, other) = (authority(1), authority(2));
        let client = client(&one);
        let files = [
            ("ca.crt", one.identity.cert.as_str()),
            ("other.crt", other.identity.cert.as_str()),
            ("client.crt", client.cert.as_str()),
            ("client.key", client.key.expose()),
        ];
        let verified = openssl(
            &files,
            "openssl verify -x509_strict -purpose sslclient -CAfile ca.crt client.crt; \
             ! openssl verify -purpose sslclient -CAfile other.crt client.crt 2>&- >&-; \
             ! openssl verify -purpose sslserver -CAfile ca.crt client.crt 2>&- >&-; \
             openssl x509 -in client.crt -noout -subject -nameopt RFC2253; \
             openssl x509 -in client.crt -noout -pubkey > pub1; openssl pkey -in client.key -pubout > pub2; cmp pub1 pub2",
        );
        let Some(verified) = verified else { return };
        assert_eq!(verified, "client.crt: OK\nsubject=CN=kubernetes-admin,O=system:masters\n");
    }

    #[test]
    fn a_name_that_no_certificate_can_hold_is_refused() {
        for name in [String::new(), "n".repeat(65)] {
            let made = Authority::derive(&Seed::new([1; 32]), "ca", &name);
            assert!(matches!(made, Err(AuthorityError::Name(wrong)) if wrong == name));
        }
    }
}
