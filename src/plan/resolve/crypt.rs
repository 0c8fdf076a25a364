//! A password's SHA-512 hash as crypt(3) writes it: `$6$salt$hash` (Drepper, *Unix crypt using SHA-256 and
//! SHA-512*). The library computes the digest; this is its spelling.

use sha_crypt::{Params, sha256_crypt, sha512_crypt};

const ALPHABET: &[u8; 64] = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// Whoever writes a hash says how many rounds it takes to compare it; past this nobody waits.
const ROUNDS_MAX: u32 = 100_000;

/// Is `hash` that of `password`? `None` when that is not known: another kind than `$5$` and `$6$`, or one that takes more
/// than 100,000 rounds.
#[must_use]
pub fn is_hash_of(hash: &str, password: &str) -> Option<bool> {
    let (kind, rest) = hash.strip_prefix('$')?.split_once('$')?;
    let (params, rest) = match rest.strip_prefix("rounds=").and_then(|rest| rest.split_once('$')) {
        // crypt(3) takes fewer than 1000 for 1000.
        Some((rounds, rest)) => {
            let rounds = rounds.parse::<u32>().ok().filter(|rounds| *rounds <= ROUNDS_MAX)?;
            (Params::new(rounds.max(Params::ROUNDS_MIN)).ok()?, rest)
        }
        None => (Params::RECOMMENDED, rest),
    };
    let (salt, found) = rest.split_once('$')?;
    let wanted = match kind {
        "5" => spell_256(&sha256_crypt(password.as_bytes(), salt.as_bytes(), params)),
        "6" => spell_512(&sha512_crypt(password.as_bytes(), salt.as_bytes(), params)),
        _ => return None,
    };
    Some(wanted == found)
}

/// With 5000 rounds, which crypt(3) assumes when none are spelled out; every release knows this kind.
pub(super) fn sha512(password: &str, salt: [u8; 12]) -> String {
    let salt: String = salt.chunks_exact(3).map(|three| encode(three, 4)).collect();
    spelled(password, &salt)
}

fn spelled(password: &str, salt: &str) -> String {
    let digest = sha512_crypt(password.as_bytes(), salt.as_bytes(), Params::RECOMMENDED);
    format!("$6${salt}${}", spell_512(&digest))
}

/// The bytes in the order of the specification, step 22.
fn spell_512(digest: &[u8]) -> String {
    let byte = |at: usize| digest.get(at).copied().unwrap_or_default();
    let mut text = String::new();
    let (mut a, mut b, mut c) = (0, 21, 42);
    for _ in 0..21 {
        text.push_str(&encode(&[byte(c), byte(b), byte(a)], 4));
        (a, b, c) = (b + 1, c + 1, a + 1);
    }
    text.push_str(&encode(&[byte(63)], 2));
    text
}

/// The same for SHA-256.
fn spell_256(digest: &[u8]) -> String {
    let byte = |at: usize| digest.get(at).copied().unwrap_or_default();
    let mut text = String::new();
    let (mut a, mut b, mut c) = (0, 10, 20);
    for _ in 0..10 {
        text.push_str(&encode(&[byte(c), byte(b), byte(a)], 4));
        (a, b, c) = (c + 1, a + 1, b + 1);
    }
    text + &encode(&[byte(30), byte(31)], 3)
}

/// Little-endian, six bits a character.
fn encode(bytes: &[u8], len: usize) -> String {
    let word = bytes.iter().rev().fold(0_u32, |word, byte| word << 8 | u32::from(*byte));
    let char_at = |at: usize| char::from(ALPHABET[(word >> (6 * at) & 63) as usize]);
    (0..len).map(char_at).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_is_known_again_and_one_that_would_take_long_is_not_tried() {
        // Test vectors of the specification.
        let sha256 = "$5$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5";
        let rounds = "$5$rounds=10000$saltstringsaltst$3xv.VbSHBb41AL9AvLeujZkZRBAwqFMz2.opqey6IcA";
        for (hash, password, wanted) in [
            (sha256, "Hello world!", Some(true)),
            (sha256, "hello world!", Some(false)),
            (&sha512("raspberry", *b"twelve bytes"), "raspberry", Some(true)),
            (&sha512("raspberry", *b"twelve bytes"), "strawberry", Some(false)),
            (&rounds.replace("10000", "999999999"), "Hello world!", None),
            ("$y$j9T$salt$hash", "raspberry", None),
            ("!", "raspberry", None),
        ] {
            assert_eq!(is_hash_of(hash, password), wanted, "{hash}");
        }
        assert_eq!(is_hash_of(rounds, "Hello world!"), Some(true));
        assert_eq!(is_hash_of(rounds, "Hello world"), Some(false));
    }

    #[test]
    fn a_hash_is_what_crypt_would_make() {
        // The first test vector of the specification.
        assert_eq!(
            spelled("Hello world!", "saltstring"),
            "$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEdFCoEOfaS35inz1"
        );
    }
}
