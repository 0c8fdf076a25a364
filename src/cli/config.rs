//! `config.toml` of the user: what holds for every run and belongs in no profile.

use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use clap::ColorChoice;
use serde::{Deserialize, Deserializer};

use super::report::Failure;

/// Names another file than the one in the user's folder for settings.
const VARIABLE: &str = "CARDPRESS_CONFIG";

/// What the file says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Config {
    /// Where the catalogue is: a URL, or a file; a relative path begins at the folder of `config.toml`.
    pub(super) catalogue: Option<String>,
    /// Where images are kept: `~/` is the home folder, and a relative path begins at the folder of `config.toml`.
    cache: Option<PathBuf>,
    /// How many nodes are pressed at a time.
    #[serde(default, deserialize_with = "jobs")]
    pub(super) jobs: Option<u16>,
    #[serde(default, deserialize_with = "color")]
    pub(super) color: Option<ColorChoice>,
    /// The file, if there is one to read.
    #[serde(skip)]
    pub(super) path: PathBuf,
}

impl Config {
    /// A path as the file says it, from its folder on.
    pub(super) fn local(&self, path: &Path) -> PathBuf {
        let home = || directories::BaseDirs::new().map(|dirs| dirs.home_dir().to_owned());
        match (path.strip_prefix("~"), home()) {
            (Ok(below), Some(home)) => home.join(below),
            _ => self.path.parent().unwrap_or(Path::new("")).join(path),
        }
    }

    /// Where it says that images are kept.
    pub(super) fn cache(&self) -> Option<PathBuf> {
        self.cache.as_deref().map(|cache| self.local(cache))
    }
}

/// As `--jobs` has it.
fn jobs<'d, D: Deserializer<'d>>(deserializer: D) -> Result<Option<u16>, D::Error> {
    let jobs = i64::deserialize(deserializer)?;
    let fits = u16::try_from(jobs).ok().filter(|jobs| (1..=256).contains(jobs));
    fits.map(Some)
        .ok_or_else(|| serde::de::Error::custom(format!("found {jobs} for `jobs`, wanted 1 to 256")))
}

/// As `--color` has it.
fn color<'d, D: Deserializer<'d>>(deserializer: D) -> Result<Option<ColorChoice>, D::Error> {
    let word = String::deserialize(deserializer)?;
    let choice = word.parse().ok().map(Some);
    choice.ok_or_else(|| {
        serde::de::Error::custom(format!("found `{word}` for `color`, wanted `auto`, `always` or `never`"))
    })
}

/// Reads it. A missing one says nothing, unless the user named it.
pub(super) fn read() -> Result<Config, Failure> {
    let named = std::env::var_os(VARIABLE).filter(|name| !name.is_empty()).map(PathBuf::from);
    let is_named = named.is_some();
    let usual = || {
        directories::ProjectDirs::from("", "", "cardpress").map(|dirs| dirs.config_dir().join("config.toml"))
    };
    let Some(path) = named.or_else(usual) else { return Ok(Config::default()) };
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound && !is_named => return Ok(Config::default()),
        Err(error) => {
            let read = Err(error).with_context(|| format!("cannot read `{}`", path.display()));
            return read.map_err(Failure::Usage);
        }
    };
    parse(&path, &text).map_err(|message| Failure::Usage(anyhow!(message)))
}

fn parse(path: &Path, text: &str) -> Result<Config, String> {
    let config: Config = toml::from_str(text).map_err(|error| {
        let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
        let line = before.bytes().filter(|byte| *byte == b'\n').count() + 1;
        format!("{}:{line}: {}", path.display(), error.message())
    })?;
    Ok(Config { path: path.to_owned(), ..config })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(text: &str) -> Result<Config, String> {
        parse(Path::new("/c/config.toml"), text)
    }

    #[test]
    fn an_unknown_key_is_told_with_its_line() {
        assert_eq!(
            told("# mine\n\ncatalog = \"x\"\n").unwrap_err(),
            "/c/config.toml:3: unknown field `catalog`, expected one of `catalogue`, `cache`, `jobs`, `color`"
        );
        assert!(told("catalogue = 7").unwrap_err().starts_with("/c/config.toml:1: invalid type: integer"));
        assert!(told("catalogue = \"x\"\n=").unwrap_err().starts_with("/c/config.toml:2: "));
        assert_eq!(told("catalogue = \"x\"").unwrap().catalogue.as_deref(), Some("x"));
        assert_eq!(told("").unwrap(), Config { path: "/c/config.toml".into(), ..Config::default() });
    }

    #[test]
    fn every_setting_has_its_own_words() {
        let config = told("cache = \"../images\"\njobs = 3\ncolor = \"never\"\n").unwrap();
        assert_eq!(config.cache(), Some(PathBuf::from("/c/../images")));
        assert_eq!((config.jobs, config.color), (Some(3), Some(ColorChoice::Never)));
        assert_eq!(told("jobs = 0").unwrap_err(), "/c/config.toml:1: found 0 for `jobs`, wanted 1 to 256");
        assert_eq!(
            told("jobs = 1\ncolor = \"red\"").unwrap_err(),
            "/c/config.toml:2: found `red` for `color`, wanted `auto`, `always` or `never`"
        );
    }
}
