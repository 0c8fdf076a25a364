//! The one seed of a cluster, from which everything generated is derived.
//!
//! HKDF-SHA-256 (RFC 5869) without salt over the 32 seed bytes, with `info` = `cardpress 1 <label>`. The labels:
//!
//! | label                          | bytes | what it becomes |
//! |--------------------------------|-------|-----------------|
//! | `host-key ed25519 <node>`      | 32    | seed of the ssh host key |
//! | `user-key ed25519 <node>`      | 32    | seed of the key between nodes (`ssh-between-nodes`) |
//! | `machine-id <node>`            | 16    | `/etc/machine-id`, as a version 4 UUID |
//! | `disk-id <node>`               | 4     | disk identifier in the partition table, little-endian |
//! | `root-uuid <node>`             | 16    | UUID of the root filesystem, version 4 |
//! | `boot-serial <node>`           | 4     | volume serial of the boot filesystem, little-endian |
//! | `password-salt <node> <user>`  | 12    | salt of a password that came as plain text |
//! | `connection <node> <interface>`| 16    | `uuid=` of a NetworkManager profile, version 4 |
//! | `recipe …`                     | any   | whatever a recipe generates, such as join tokens and certificate authorities |
//!
//! A label is never given a second meaning: that would change what existing clusters are.

use hkdf::Hkdf;
use sha2::Sha256;
use uuid::Uuid;

use crate::base::Secret;

/// 32 random bytes, kept beside the profile. Same seed and same label: same bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seed(Secret<[u8; 32]>);

impl Seed {
    /// Takes charge of the bytes.
    #[must_use]
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(Secret::new(bytes))
    }

    /// The bytes that belong to `label`. `N` is at most 255 × 32 (RFC 5869 §2.3); nothing here comes near.
    #[must_use]
    pub fn derive<const N: usize>(&self, label: &str) -> [u8; N] {
        const { assert!(N <= 255 * 32, "HKDF-SHA-256 yields at most 8160 bytes") };
        let mut bytes = [0; N];
        let info = format!("cardpress 1 {label}");
        // Fails only for more than 8160 bytes, which the line above rules out.
        let done = Hkdf::<Sha256>::new(None, self.0.expose()).expand(info.as_bytes(), &mut bytes);
        debug_assert!(done.is_ok());
        bytes
    }

    /// A version 4 UUID (RFC 9562 §5.4) made of the bytes of `label`.
    #[must_use]
    pub fn derive_uuid(&self, label: &str) -> Uuid {
        uuid::Builder::from_random_bytes(self.derive(label)).into_uuid()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_and_label_give_the_same_bytes_and_any_other_do_not() {
        let seed = Seed::new([7; 32]);
        assert_eq!(seed.derive::<32>("machine-id a"), Seed::new([7; 32]).derive::<32>("machine-id a"));
        assert_ne!(seed.derive::<32>("machine-id a"), seed.derive::<32>("machine-id b"));
        assert_ne!(seed.derive::<32>("machine-id a"), Seed::new([8; 32]).derive::<32>("machine-id a"));
    }

    #[test]
    fn derivation_is_hkdf_sha256_and_stays_so() {
        // Computed with Python's hmac module: PRK = HMAC(32 zero bytes, seed), T1 = HMAC(PRK, info || 01).
        let bytes: [u8; 8] = Seed::new([0; 32]).derive("machine-id node1");
        assert_eq!(bytes, [0xa8, 0xad, 0xd0, 0x2b, 0xe2, 0xc4, 0x27, 0x30]);
    }

    #[test]
    fn a_derived_uuid_says_that_it_is_random() {
        let uuid = Seed::new([1; 32]).derive_uuid("root-uuid node1");
        assert_eq!((uuid.get_version_num(), uuid.get_variant()), (4, uuid::Variant::RFC4122));
    }

    #[test]
    fn a_seed_is_never_shown() {
        assert_eq!(format!("{:?}", Seed::new([0x41; 32])), "Seed(***)");
    }
}
