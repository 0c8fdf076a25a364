//! The seed beside the profile: `.cardpress/seed`, 64 hex digits, mode 0600, made at the first build.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::base::Secret;
use crate::plan::Seed;

use super::Error;

/// Where the seed of a profile is kept when nobody hands one in.
#[must_use]
pub fn beside(profile: &Path) -> PathBuf {
    let folder = profile.parent().unwrap_or_else(|| Path::new(""));
    folder.join(".cardpress").join("seed")
}

/// Reads a seed that must be there.
///
/// # Errors
/// [`Error::Host`] when it cannot be read, [`Error::BadSeed`] when it is no seed.
pub fn read(path: &Path) -> Result<Seed, Error> {
    let text = fs::read_to_string(path).map_err(|source| Error::Host {
        verb: "read",
        path: path.to_owned(),
        source,
    })?;
    parse(path, Secret::new(text))
}

/// Reads the seed at `path`, or makes a new one there from the system's random numbers.
///
/// # Errors
/// As for [`read`], and [`Error::Host`] when it cannot be made.
pub fn read_or_make(path: &Path) -> Result<Seed, Error> {
    let host = |verb| move |source| Error::Host { verb, path: path.to_owned(), source };
    match fs::read_to_string(path) {
        Ok(text) => return parse(path, Secret::new(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(host("read")(error)),
    }
    let folder = path.parent().unwrap_or_else(|| Path::new("."));
    fs::create_dir_all(folder).map_err(host("create"))?;
    // Nothing in this folder belongs in a repository, this file itself included.
    fs::write(folder.join(".gitignore"), "*\n").map_err(host("create"))?;
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(|error| host("create")(io::Error::other(error)))?;
    let text = Secret::new(bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>() + "\n");
    let mut file = tempfile::NamedTempFile::new_in(folder).map_err(host("create"))?;
    file.write_all(text.expose().as_bytes()).map_err(host("create"))?;
    file.as_file().sync_all().map_err(host("create"))?;
    match file.persist_noclobber(path) {
        Ok(_) => Ok(Seed::new(bytes)),
        // Another build was first: its seed is the seed.
        Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => read(path),
        Err(error) => Err(host("create")(error.error)),
    }
}

fn parse(path: &Path, text: Secret<String>) -> Result<Seed, Error> {
    let digits = text.expose().trim();
    let fault = || Error::BadSeed { path: path.to_owned(), found: format!("{} characters", digits.len()) };
    if digits.len() != 64 || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(fault());
    }
    let mut bytes = [0; 32];
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&digits[2 * at..2 * at + 2], 16).map_err(|_| fault())?;
    }
    Ok(Seed::new(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_is_made_once_private_and_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = beside(&folder.path().join("cluster.toml"));
        let made = read_or_make(&path).unwrap();
        let again = read_or_make(&path).unwrap();
        assert_eq!(made.derive::<32>("test"), again.derive::<32>("test"));
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        }
        assert_eq!(fs::read_to_string(path.with_file_name(".gitignore")).unwrap(), "*\n");
    }

    #[test]
    fn a_spoilt_seed_is_refused_without_showing_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("seed");
        fs::write(&path, "hunter2").unwrap();
        let error = read_or_make(&path).unwrap_err().to_string();
        assert!(error.ends_with("holds 7 characters, wanted 64 hexadecimal digits"), "{error}");
    }
}
