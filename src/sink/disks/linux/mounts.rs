//! The kernel's lists of mounts and swaps. A line that cannot be read is an error: it could be the one that matters.

use std::ffi::OsString;
use std::io::{self, Read as _};
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};

use super::super::{Error, clean};

/// More than any machine has; a list that is longer is refused.
const LIST_MAX: u64 = 64 << 20;

/// A line of `mountinfo`.
#[derive(Clone, Debug)]
pub(super) struct Mount {
    /// The device; major 0 when the filesystem has none, or hides it as btrfs does.
    pub(super) number: (u32, u32),
    pub(super) on: PathBuf,
    pub(super) filesystem: String,
    pub(super) source: PathBuf,
    /// The folders that an overlay shows as one.
    pub(super) layers: Vec<PathBuf>,
}

/// Reads `mountinfo` of one process.
///
/// # Errors
/// [`Error::Io`], [`Error::Malformed`]
pub(super) fn mounts(path: &Path) -> Result<Vec<Mount>, Error> {
    let bytes = read(path).map_err(|source| Error::Io { action: "read", path: path.to_owned(), source })?;
    let wanted = "a mount, as in proc(5)";
    lines(&bytes)
        .map(|line| {
            parse(line).ok_or_else(|| Error::Malformed { path: path.to_owned(), line: clean(line), wanted })
        })
        .collect()
}

/// `36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue`
fn parse(line: &[u8]) -> Option<Mount> {
    let mut words = line.split(|byte| *byte == b' ');
    let number = std::str::from_utf8(words.by_ref().nth(2)?).ok()?;
    let (major, minor) = number.split_once(':')?;
    let on = path_of(words.by_ref().nth(1)?);
    words.by_ref().find(|word| *word == b"-")?;
    let filesystem = String::from_utf8_lossy(words.next()?).into_owned();
    let source = path_of(words.next()?);
    let options = words.next().unwrap_or_default();
    let layers = if filesystem == "overlay" { layers(options) } else { Vec::new() };
    Some(Mount { number: (major.parse().ok()?, minor.parse().ok()?), on, filesystem, source, layers })
}

/// `lowerdir=/a:/b,upperdir=/c`, and `lowerdir+=/a` since Linux 6.5.
fn layers(options: &[u8]) -> Vec<PathBuf> {
    const KEYS: [&[u8]; 4] = [b"lowerdir=", b"lowerdir+=", b"datadir+=", b"upperdir="];
    let values = options.split(|byte| *byte == b',');
    let values = values.filter_map(|option| KEYS.iter().find_map(|key| option.strip_prefix(*key)));
    values
        .flat_map(|value| value.split(|byte| *byte == b':'))
        .filter(|path| !path.is_empty())
        .map(path_of)
        .collect()
}

/// The devices and files that are swapped to; none where the kernel has no swap.
///
/// # Errors
/// [`Error::Io`]
pub(super) fn swaps(path: &Path) -> Result<Vec<PathBuf>, Error> {
    let bytes = match read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(|source| Error::Io { action: "read", path: path.to_owned(), source })?,
    };
    // Below a heading, the path and then other columns.
    let first = |line: &[u8]| line.split(|byte| matches!(byte, b' ' | b'\t')).next().map(path_of);
    Ok(lines(&bytes).skip(1).filter_map(first).collect())
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(LIST_MAX).read_to_end(&mut bytes)?;
    if bytes.len() as u64 == LIST_MAX {
        return Err(io::Error::other("it is longer than 64 MiB"));
    }
    Ok(bytes)
}

fn lines(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty())
}

/// The kernel writes blanks and the like as three octal digits: `\040`.
fn path_of(word: &[u8]) -> PathBuf {
    let mut bytes = Vec::with_capacity(word.len());
    let mut rest = word;
    while let Some((first, after)) = rest.split_first() {
        let octal = after.get(..3).and_then(|digits| std::str::from_utf8(digits).ok());
        let value = octal.and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match (first, value) {
            (b'\\', Some(value)) => {
                bytes.push(value);
                rest = after.get(3..).unwrap_or_default();
            }
            _ => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    PathBuf::from(OsString::from_vec(bytes))
}
