//! A password's SHA-512 hash as crypt(3) writes it: `$6$salt$hash` (Drepper, *Unix crypt using SHA-256 and
//! SHA-512*). The library computes the digest; this is its spelling.

use sha_crypt::{Params, sha512_crypt};

const ALPHABET: &[u8; 64] = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// With 5000 rounds, which crypt(3) assumes when none are spelled out; every release knows this kind.
pub(super) fn sha512(password: &str, salt: [u8; 12]) -> String {
    let salt: String = salt.chunks_exact(3).map(|three| encode(three, 4)).collect();
    spelled(password, &salt)
}

fn spelled(password: &str, salt: &str) -> String {
    let digest = sha512_crypt(password.as_bytes(), salt.as_bytes(), Params::RECOMMENDED);
    let byte = |at: usize| digest.get(at).copied().unwrap_or_default();
    let mut text = String::new();
    let (mut a, mut b, mut c) = (0, 21, 42);
    for _ in 0..21 {
        text.push_str(&encode(&[byte(c), byte(b), byte(a)], 4));
        (a, b, c) = (b + 1, c + 1, a + 1);
    }
    text.push_str(&encode(&[byte(63)], 2));
    format!("$6${salt}${text}")
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
    fn a_hash_is_what_crypt_would_make() {
        // The first test vector of the specification.
        assert_eq!(
            spelled("Hello world!", "saltstring"),
            "$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEdFCoEOfaS35inz1"
        );
    }
}
