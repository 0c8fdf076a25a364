//! What two regular files hold: whether it differs, and how much of it may be shown.

use std::ops::Range;

use super::Content;
use super::side::{Reading, Reason};
use crate::base::{Interrupt, Interrupted, Sha256Hasher};

/// Longer files are told by their digests.
pub(super) const TEXT_LIMIT_BYTES: u64 = 1 << 20;
/// Still longer ones, which may be a hole and nothing else, only by their lengths.
pub(super) const DIGEST_LIMIT_BYTES: u64 = 8 << 30;
/// Read at a time.
const PIECE_LEN: usize = 1 << 20;

/// Files on the boot partition, which knows no modes, that may hold a password or its hash.
const SECRET_NAMES: [&str; 8] = [
    "userconf",
    "userconf.txt",
    "wpa_supplicant.conf",
    "custom.toml",
    "firstrun.sh",
    "user-data",
    "network-config",
    "meta-data",
];
/// In every form of a private key that is text.
const KEY_MARK: &str = "PRIVATE KEY-----";

/// Why there is no answer.
pub(super) enum Halt {
    Interrupted(Interrupted),
    Unread(Reason),
}

impl From<Reason> for Halt {
    fn from(reason: Reason) -> Self {
        Self::Unread(reason)
    }
}

impl From<Interrupted> for Halt {
    fn from(interrupted: Interrupted) -> Self {
        Self::Interrupted(interrupted)
    }
}

/// Does a file of this name and mode look as if it held a secret? What others may not read should not be shown either.
pub(super) fn looks_secret(name: &[u8], mode: u16, is_on_fat: bool) -> bool {
    let is_known = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
    if is_on_fat { SECRET_NAMES.iter().any(|known| is_known(known)) } else { mode & 0o004 == 0 }
}

/// Do two files of the same length hold the same? Outside of `pieces`, which ascend, both read as zeros.
pub(super) fn are_same(
    one: &mut dyn Reading,
    other: &mut dyn Reading,
    pieces: &[Range<u64>],
    interrupt: &Interrupt,
) -> Result<bool, Halt> {
    let (mut here, mut there) = (vec![0; PIECE_LEN], vec![0; PIECE_LEN]);
    for piece in pieces {
        one.skip_to(piece.start);
        other.skip_to(piece.start);
        let mut left = piece.end.saturating_sub(piece.start);
        while left > 0 {
            interrupt.check()?;
            let len = usize::try_from(left).unwrap_or(PIECE_LEN).min(PIECE_LEN);
            let (here, there) = (&mut here[..len], &mut there[..len]);
            let counts = (one.read(here)?, other.read(there)?);
            if counts != (len, len) {
                return Err(Halt::Unread(format!("it ends {left} bytes too early")));
            }
            if here != there {
                return Ok(false);
            }
            left -= len as u64;
        }
    }
    Ok(true)
}

/// What is shown of two short files, which are not the same.
pub(super) fn of_short(
    one: &mut dyn Reading,
    other: &mut dyn Reading,
    secrets: bool,
) -> Result<Content, Halt> {
    let (before, after) = (read_short(one)?, read_short(other)?);
    let is_key = |bytes: &[u8]| bytes.windows(KEY_MARK.len()).any(|window| window == KEY_MARK.as_bytes());
    if !secrets && (is_key(&before) || is_key(&after)) {
        return Ok(Content::Secret);
    }
    Ok(match (to_text(before), to_text(after)) {
        (Ok(before), Ok(after)) => Content::Text { before, after },
        (before, after) => {
            let digest = |text: Result<String, Vec<u8>>| {
                let mut hasher = Sha256Hasher::default();
                hasher.update(text.as_ref().map_or_else(Vec::as_slice, String::as_bytes));
                hasher.finish()
            };
            Content::Bytes { before: digest(before), after: digest(after) }
        }
    })
}

/// The digests of two files.
pub(super) fn of_long(
    one: &mut dyn Reading,
    other: &mut dyn Reading,
    interrupt: &Interrupt,
) -> Result<Content, Halt> {
    let mut piece = vec![0; PIECE_LEN];
    let mut digest = |reader: &mut dyn Reading| {
        let mut hasher = Sha256Hasher::default();
        loop {
            interrupt.check()?;
            match reader.read(&mut piece)? {
                0 => return Ok::<_, Halt>(hasher.finish()),
                count => hasher.update(piece.get(..count).unwrap_or_default()),
            }
        }
    };
    Ok(Content::Bytes { before: digest(one)?, after: digest(other)? })
}

/// All of a file whose length was found to be within the limit.
fn read_short(reader: &mut dyn Reading) -> Result<Vec<u8>, Reason> {
    let mut bytes = vec![0; usize::try_from(TEXT_LIMIT_BYTES).unwrap_or(PIECE_LEN)];
    let count = reader.read(&mut bytes)?;
    bytes.truncate(count);
    Ok(bytes)
}

/// UTF-8 without NUL is text.
fn to_text(bytes: Vec<u8>) -> Result<String, Vec<u8>> {
    if bytes.contains(&0) {
        return Err(bytes);
    }
    String::from_utf8(bytes).map_err(std::string::FromUtf8Error::into_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_may_not_read_looks_secret() {
        for (name, mode, is_on_fat, is_secret) in [
            ("shadow", 0o640, false, true),
            ("hosts", 0o644, false, false),
            ("ssh_host_ed25519_key", 0o600, false, true),
            ("cmdline.txt", 0o755, true, false),
            ("UserConf.txt", 0o755, true, true),
            ("user-data", 0o644, false, false),
        ] {
            assert_eq!(looks_secret(name.as_bytes(), mode, is_on_fat), is_secret, "{name}");
        }
    }

    #[test]
    fn text_is_utf_8_without_nul() {
        assert_eq!(to_text(b"caf\xc3\xa9\n".to_vec()).unwrap(), "caf\u{e9}\n");
        assert!(to_text(b"a\0b".to_vec()).is_err());
        assert!(to_text(b"caf\xe9".to_vec()).is_err());
    }
}
