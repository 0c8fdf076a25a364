//! Reading what may not be there, may be anything, and must not take long: every read has a bound.

use serde::Serialize;

use crate::base::ImagePath;
use crate::build::Error;
use crate::build::disk::{FileKind, Listed, Stat, Tree};
use crate::image::{ext4, fat};

/// Texts of a system are small; what is larger is none.
pub(super) const TEXT_LIMIT_BYTES: u64 = 1 << 20;
/// Names that are looked at in one directory.
const NAMES_MAX: usize = 4096;

/// A part that was read, or why it could not be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Told<T> {
    /// What was read.
    Known(T),
    /// It could not be.
    Unread {
        /// Why not, in one line.
        unread: String,
    },
}

impl<T> Told<T> {
    /// What was read, if it was.
    pub fn known(&self) -> Option<&T> {
        match self {
            Self::Known(known) => Some(known),
            Self::Unread { .. } => None,
        }
    }
}

impl<T> From<Result<T, Unread>> for Told<T> {
    fn from(read: Result<T, Unread>) -> Self {
        match read {
            Ok(known) => Self::Known(known),
            Err(Unread(unread)) => Self::Unread { unread },
        }
    }
}

/// Why a part could not be read: an error and its causes, in one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Unread(pub(super) String);

impl From<Error> for Unread {
    fn from(error: Error) -> Self {
        let chain = std::iter::successors(Some(&error as &dyn std::error::Error), |error| error.source());
        Self(chain.map(ToString::to_string).collect::<Vec<_>>().join(": "))
    }
}

/// One filesystem, looked into.
pub(super) struct Look<'t, 'd>(pub(super) &'t Tree<'d>);

impl Look<'_, '_> {
    fn path(path: &str) -> Result<ImagePath, Unread> {
        path.parse().map_err(|error: crate::base::ImagePathError| Unread(error.to_string()))
    }

    /// What is at `path`, links followed; `None` when nothing is.
    pub(super) fn stat(&self, path: &str) -> Result<Option<Stat>, Unread> {
        found(self.0.stat(&Self::path(path)?, true))
    }

    pub(super) fn exists(&self, path: &str) -> Result<bool, Unread> {
        Ok(self.stat(path)?.is_some())
    }

    /// Is there anything of this name, also a link that leads nowhere?
    pub(super) fn is_there(&self, path: &str) -> Result<bool, Unread> {
        Ok(found(self.0.stat(&Self::path(path)?, false))?.is_some())
    }

    /// The text of the link at `path`; `None` when there is none.
    pub(super) fn link(&self, path: &str) -> Result<Option<String>, Unread> {
        let path = Self::path(path)?;
        match found(self.0.stat(&path, false))? {
            Some(stat) if stat.kind == FileKind::Symlink => {
                let target = self.0.read_link(&path)?;
                Ok(Some(String::from_utf8_lossy(&target).into_owned()))
            }
            _ => Ok(None),
        }
    }

    /// The text of a file; `None` when there is no file. What is no UTF-8 in it is replaced.
    pub(super) fn text(&self, path: &str) -> Result<Option<String>, Unread> {
        match self.stat(path)? {
            Some(stat) if stat.kind == FileKind::Regular => {
                if stat.len_bytes > TEXT_LIMIT_BYTES {
                    let found = stat.len_bytes;
                    return Err(Unread(format!(
                        "{path} has {found} bytes, wanted {TEXT_LIMIT_BYTES} at most"
                    )));
                }
                let bytes = self.head(path, usize::try_from(TEXT_LIMIT_BYTES).unwrap_or(0))?;
                Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
            }
            _ => Ok(None),
        }
    }

    /// The first bytes of a file, `len` at most; none when there is no file.
    pub(super) fn head(&self, path: &str, len: usize) -> Result<Vec<u8>, Unread> {
        /// Enough was read.
        enum Stop {
            Enough,
            Failed(Error),
        }
        impl From<Error> for Stop {
            fn from(error: Error) -> Self {
                Self::Failed(error)
            }
        }
        match self.stat(path)? {
            Some(stat) if stat.kind == FileKind::Regular => {}
            _ => return Ok(Vec::new()),
        }
        let mut bytes = Vec::new();
        let mut take = |piece: &[u8]| {
            let wanted = len.saturating_sub(bytes.len()).min(piece.len());
            bytes.extend_from_slice(piece.get(..wanted).unwrap_or_default());
            if bytes.len() >= len { Err(Stop::Enough) } else { Ok(()) }
        };
        match self.0.read(&Self::path(path)?, &mut take) {
            Ok(()) | Err(Stop::Enough) => Ok(bytes),
            Err(Stop::Failed(error)) => Err(error.into()),
        }
    }

    /// What is in a directory, by name; nothing when there is none. Names that are no UTF-8 are left out.
    pub(super) fn list(&self, path: &str) -> Result<Vec<(String, Listed)>, Unread> {
        match self.stat(path)? {
            // A FAT does not tell, and has a bound of its own.
            Some(stat) if stat.kind == FileKind::Directory && stat.len_bytes <= TEXT_LIMIT_BYTES => {}
            Some(stat) if stat.kind == FileKind::Directory => {
                return Err(Unread(format!("{path} is a directory of {} bytes", stat.len_bytes)));
            }
            _ => return Ok(Vec::new()),
        }
        let listed = self.0.list(&Self::path(path)?)?;
        let named = listed.into_iter().filter_map(|listed| {
            let name = String::from_utf8(listed.name.clone()).ok()?;
            (!name.chars().any(char::is_control)).then_some((name, listed))
        });
        Ok(named.take(NAMES_MAX).collect())
    }

    /// The names in a directory that end so, with their whole paths.
    pub(super) fn paths(&self, directory: &str, suffix: &str) -> Result<Vec<String>, Unread> {
        let names = self.list(directory)?.into_iter().map(|(name, _)| name);
        Ok(names.filter(|name| name.ends_with(suffix)).map(|name| format!("{directory}/{name}")).collect())
    }
}

/// What is not there is no error here, nor is a way that leads through something else than directories.
fn found<T>(read: Result<T, Error>) -> Result<Option<T>, Unread> {
    match read {
        Ok(found) => Ok(Some(found)),
        Err(Error::NoSuchPath { .. }) => Ok(None),
        Err(Error::Ext4Path { source, .. })
            if matches!(
                *source,
                ext4::Error::NotADirectory { .. }
                    | ext4::Error::NotFound { .. }
                    | ext4::Error::SymlinkLoop { .. }
            ) =>
        {
            Ok(None)
        }
        Err(Error::FatPath { source, .. }) if matches!(*source, fat::Error::WrongKind { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}
