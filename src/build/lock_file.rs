//! `cardpress.lock`: which images the profiles of a folder are pressed from, to the byte.
//!
//! TOML, sorted by name, made to be kept in a repository: it changes only when an image does. Holds no secret: URLs are
//! without user name and password.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::Error;
use crate::base::Sha256Digest;
use crate::source::{BaseImage, RemoteImage};

const FILE: &str = "cardpress.lock";
/// The version of the layout of this file.
const VERSION: u32 = 1;
const LEN_MAX: u64 = 1 << 20;
const HEADER: &str = "\
# Which images the profiles in this folder are pressed from, to the byte. Written by cardpress; keep it with the profiles.
#   cardpress lock --update PROFILE    moves on to newer ones
#   cardpress build --locked PROFILE   takes no others

";

/// Where the lock of a profile is.
#[must_use]
pub fn beside(profile: &Path) -> PathBuf {
    profile.parent().unwrap_or_else(|| Path::new("")).join(FILE)
}

/// The images that were settled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockFile {
    version: u32,
    #[serde(default, rename = "image")]
    images: Vec<Pin>,
}

/// One image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Pin {
    /// What the profile calls it: the name in the catalogue, the URL, or the path, from the folder of the lock on.
    pub name: String,
    /// Where it is; `None` for a file of the user's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// `YYYY-MM-DD`, where the catalogue says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release_date: Option<String>,
    /// The digest of the archive.
    #[serde(with = "as_text")]
    pub archive_sha256: Sha256Digest,
    /// Its length.
    pub archive_bytes: u64,
    /// The digest of the raw image.
    #[serde(with = "as_text")]
    pub image_sha256: Sha256Digest,
    /// Its length.
    pub image_bytes: u64,
}

/// Digests as text.
mod as_text {
    use serde::{Deserialize as _, Deserializer, Serializer, de};

    use crate::base::Sha256Digest;

    pub(super) fn serialize<S: Serializer>(digest: &Sha256Digest, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(digest)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Sha256Digest, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

impl Pin {
    /// What an image proved to be; `None` where one of its digests was not taken.
    pub(super) fn of_base(
        name: &str,
        url: Option<String>,
        release_date: Option<String>,
        base: &BaseImage,
    ) -> Option<Self> {
        Some(Self {
            name: name.to_owned(),
            url,
            release_date,
            archive_sha256: base.archive_sha256?,
            archive_bytes: base.archive_len,
            image_sha256: base.image_sha256?,
            image_bytes: base.len_bytes,
        })
    }

    /// What an image is by the word of the catalogue; `None` where it says not enough.
    pub(super) fn of_remote(name: &str, release_date: Option<String>, remote: &RemoteImage) -> Option<Self> {
        Some(Self {
            name: name.to_owned(),
            url: Some(remote.url_without_secrets()),
            release_date,
            archive_sha256: remote.archive_sha256?,
            archive_bytes: remote.archive_len?,
            image_sha256: remote.image_sha256?,
            image_bytes: remote.image_len?,
        })
    }

    /// This image and no other, from `url`.
    pub(super) fn to_remote(&self, url: &str) -> RemoteImage {
        RemoteImage {
            archive_len: Some(self.archive_bytes),
            archive_sha256: Some(self.archive_sha256),
            image_len: Some(self.image_bytes),
            image_sha256: Some(self.image_sha256),
            ..RemoteImage::at(url)
        }
    }
}

impl Default for LockFile {
    fn default() -> Self {
        Self { version: VERSION, images: Vec::new() }
    }
}

impl LockFile {
    /// Reads the lock at `path`; where there is none, none is settled.
    ///
    /// # Errors
    /// [`Error::Host`], [`Error::BadLock`].
    pub fn read(path: &Path) -> Result<Self, Error> {
        let host = |source| Error::Host { verb: "read", path: path.to_owned(), source };
        let text = match fs::metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(host(error)),
            Ok(metadata) if metadata.len() > LEN_MAX => {
                return Err(bad(
                    path,
                    1,
                    &format!("found {} bytes, wanted {LEN_MAX} at most", metadata.len()),
                ));
            }
            Ok(_) => fs::read_to_string(path).map_err(host)?,
        };
        parse(path, &text)
    }

    /// The image that a profile calls so.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Pin> {
        self.images.iter().find(|pin| pin.name == name)
    }

    /// Settles an image in the lock at `path`; the others stay as they are there.
    ///
    /// # Errors
    /// [`Error::Host`], [`Error::BadLock`].
    pub fn set(path: &Path, pin: Pin) -> Result<(), Error> {
        let mut lock = Self::read(path)?;
        if lock.get(&pin.name) == Some(&pin) {
            return Ok(());
        }
        lock.images.retain(|other| other.name != pin.name);
        lock.images.push(pin);
        lock.images.sort_by(|a, b| a.name.cmp(&b.name));
        let host = |source| Error::Host { verb: "write", path: path.to_owned(), source };
        let text = toml::to_string(&lock).map_err(|error| host(io::Error::other(error)))?;
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let mut file = tempfile::Builder::new();
        let file = file.prefix(".cardpress-lock-").permissions_as_usual();
        let mut file = file.tempfile_in(folder.unwrap_or(Path::new("."))).map_err(host)?;
        file.write_all(format!("{HEADER}{text}").as_bytes()).map_err(host)?;
        file.as_file().sync_all().map_err(host)?;
        file.persist(path).map_err(|error| host(error.error))?;
        Ok(())
    }
}

/// A lock is for everybody who may read the profile; temporary files are for their owner alone.
trait PermissionsAsUsual {
    fn permissions_as_usual(&mut self) -> &mut Self;
}

impl PermissionsAsUsual for tempfile::Builder<'_, '_> {
    fn permissions_as_usual(&mut self) -> &mut Self {
        #[cfg(unix)]
        self.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
        self
    }
}

fn parse(path: &Path, text: &str) -> Result<LockFile, Error> {
    let lock: LockFile = toml::from_str(text).map_err(|error| {
        let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
        bad(path, before.matches('\n').count() + 1, error.message())
    })?;
    if lock.version != VERSION {
        let reason = format!("found version {}, wanted {VERSION}: a newer cardpress wrote it", lock.version);
        return Err(bad(path, 1, &reason));
    }
    let mut names: Vec<&str> = lock.images.iter().map(|pin| pin.name.as_str()).collect();
    names.sort_unstable();
    if let Some([name, _]) = names.windows(2).find(|pair| pair.first() == pair.last()) {
        return Err(bad(path, 1, &format!("found `{name}` twice, wanted each image once")));
    }
    Ok(lock)
}

fn bad(path: &Path, line: usize, reason: &str) -> Error {
    Error::BadLock { path: path.to_owned(), line, reason: reason.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pin(name: &str, url: Option<&str>) -> Pin {
        Pin {
            name: name.to_owned(),
            url: url.map(str::to_owned),
            release_date: url.map(|_| String::from("2026-06-18")),
            archive_sha256: Sha256Digest::of(b"archive"),
            archive_bytes: 500,
            image_sha256: Sha256Digest::of(b"image"),
            image_bytes: 3000,
        }
    }

    #[test]
    fn a_lock_is_sorted_commented_and_read_back_as_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let path = beside(&dir.path().join("swarm.toml"));
        assert_eq!(LockFile::read(&path).unwrap(), LockFile::default());
        let (lite, mine) =
            (pin("raspios-lite-arm64", Some("https://a.example/x.img.xz")), pin("base.img", None));
        LockFile::set(&path, lite.clone()).unwrap();
        LockFile::set(&path, mine.clone()).unwrap();
        let (a, i) = (lite.archive_sha256, lite.image_sha256);
        let expected = format!(
            "{HEADER}version = 1\n\n\
             [[image]]\nname = \"base.img\"\narchive-sha256 = \"{a}\"\narchive-bytes = 500\n\
             image-sha256 = \"{i}\"\nimage-bytes = 3000\n\n\
             [[image]]\nname = \"raspios-lite-arm64\"\nurl = \"https://a.example/x.img.xz\"\n\
             release-date = \"2026-06-18\"\narchive-sha256 = \"{a}\"\narchive-bytes = 500\n\
             image-sha256 = \"{i}\"\nimage-bytes = 3000\n"
        );
        assert_eq!(fs::read_to_string(&path).unwrap(), expected);
        let lock = LockFile::read(&path).unwrap();
        assert_eq!((lock.get("base.img"), lock.get("raspios-lite-arm64")), (Some(&mine), Some(&lite)));
        let newer = Pin { image_bytes: 4000, ..mine };
        LockFile::set(&path, newer.clone()).unwrap();
        assert_eq!(LockFile::read(&path).unwrap().images, [newer, lite]);
    }

    #[test]
    fn a_faulty_lock_is_told_with_its_line() {
        let sound = toml::to_string(&LockFile { version: 1, images: vec![pin("a", None)] }).unwrap();
        let twice = format!("{sound}{}", &sound[sound.find("[[").unwrap()..]);
        for (text, line, wanted) in [
            ("version = 2\n".to_owned(), 1, "found version 2, wanted 1"),
            ("version = 1\nimages = []\n".to_owned(), 2, "unknown field `images`"),
            ("# x\n\nversion = 1\n=\n".to_owned(), 4, ""),
            (sound.replace("archive-bytes = 500", "archive-bytes = -1"), 6, "-1"),
            (sound.replace("image-sha256 = \"", "image-sha256 = \"x"), 7, "64 hexadecimal digits"),
            (twice, 1, "found `a` twice"),
        ] {
            match parse(Path::new("cardpress.lock"), &text) {
                Err(Error::BadLock { line: found, reason, .. }) => {
                    assert!(reason.contains(wanted), "{text}: {reason}");
                    assert_eq!(found, line, "{text}: {reason}");
                }
                other => panic!("{text}: {other:?}"),
            }
        }
    }
}
