//! `config.toml` of the user: what holds for every run and belongs in no profile.

use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use serde::Deserialize;

use super::report::Failure;

/// Names another file than the one in the user's folder for settings.
const VARIABLE: &str = "CARDPRESS_CONFIG";

/// What the file says.
#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Config {
    /// Where the catalogue is: a URL, or a file; a relative path begins at the folder of `config.toml`.
    pub(super) catalogue: Option<String>,
}

/// Reads it, and says where it is. A missing one says nothing, unless the user named it.
pub(super) fn read() -> Result<(Config, PathBuf), Failure> {
    let named = std::env::var_os(VARIABLE).filter(|name| !name.is_empty()).map(PathBuf::from);
    let is_named = named.is_some();
    let usual = || {
        directories::ProjectDirs::from("", "", "cardpress").map(|dirs| dirs.config_dir().join("config.toml"))
    };
    let Some(path) = named.or_else(usual) else { return Ok((Config::default(), PathBuf::new())) };
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound && !is_named => String::new(),
        Err(error) => {
            let read = Err(error).with_context(|| format!("cannot read `{}`", path.display()));
            return read.map_err(Failure::Usage);
        }
    };
    let config = parse(&path, &text).map_err(|message| Failure::Usage(anyhow!(message)))?;
    Ok((config, path))
}

fn parse(path: &Path, text: &str) -> Result<Config, String> {
    toml::from_str(text).map_err(|error| {
        let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
        let line = before.bytes().filter(|byte| *byte == b'\n').count() + 1;
        format!("{}:{line}: {}", path.display(), error.message())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_key_is_told_with_its_line() {
        let told = |text| parse(Path::new("/c/config.toml"), text);
        assert_eq!(
            told("# mine\n\ncatalog = \"x\"\n").unwrap_err(),
            "/c/config.toml:3: unknown field `catalog`, expected `catalogue`"
        );
        assert!(told("catalogue = 7").unwrap_err().starts_with("/c/config.toml:1: invalid type: integer"));
        assert!(told("catalogue = \"x\"\n=").unwrap_err().starts_with("/c/config.toml:2: "));
        assert_eq!(told("catalogue = \"x\""), Ok(Config { catalogue: Some("x".into()) }));
        assert_eq!(told(""), Ok(Config::default()));
    }
}
