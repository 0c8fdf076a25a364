//! Paths inside an image, as the running system would spell them.

use std::fmt;
use std::str::FromStr;

/// An absolute path inside the image, normalised: starts with `/`, no empty, `.` or `..` part, no trailing `/`
/// (except for `/` itself), no NUL, every name at most 255 bytes and the whole at most 4095 (Linux `NAME_MAX`,
/// `PATH_MAX` less the NUL). Orders like its text.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ImagePath(String);

/// Why a text is no [`ImagePath`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ImagePathError {
    /// Does not begin with `/`.
    #[error("`{0}` is not absolute: a path inside the image begins with `/`")]
    Relative(String),
    /// Has a `..` part.
    #[error("`{0}` has a `..` part")]
    Parent(String),
    /// Has a NUL byte or a line break.
    #[error("`{}` has a control character", .0.escape_debug())]
    Control(String),
    /// A name or the whole is too long for Linux.
    #[error("`{0}` is too long: a name may have 255 bytes, a path 4095")]
    TooLong(String),
}

impl ImagePath {
    /// The root directory, `/`.
    #[must_use]
    pub fn root() -> Self {
        Self(String::from("/"))
    }

    /// The text, beginning with `/`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The names from the root down; none for `/`.
    pub fn names(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.0.split('/').filter(|name| !name.is_empty())
    }

    /// The last name; `None` for `/`.
    #[must_use]
    pub fn file_name(&self) -> Option<&str> {
        self.names().next_back()
    }

    /// The directory that holds this path; `None` for `/`.
    #[must_use]
    pub fn parent(&self) -> Option<Self> {
        let (parent, name) = self.0.rsplit_once('/')?;
        match (parent, name) {
            (_, "") => None,
            ("", _) => Some(Self::root()),
            (parent, _) => Some(Self(parent.to_owned())),
        }
    }

    /// `relative` (names joined by `/`) below this path.
    ///
    /// # Errors
    /// As for parsing.
    pub fn join(&self, relative: &str) -> Result<Self, ImagePathError> {
        format!("{}/{relative}", self.0).parse()
    }

    /// The part below `dir`, without a leading `/`; empty when they are the same; `None` when not below.
    #[must_use]
    pub fn below(&self, dir: &Self) -> Option<&str> {
        if dir.0 == "/" {
            return Some(&self.0[1..]);
        }
        let rest = self.0.strip_prefix(&dir.0)?;
        if rest.is_empty() { Some(rest) } else { rest.strip_prefix('/') }
    }
}

impl FromStr for ImagePath {
    type Err = ImagePathError;

    fn from_str(text: &str) -> Result<Self, ImagePathError> {
        if !text.starts_with('/') {
            return Err(ImagePathError::Relative(text.to_owned()));
        }
        if text.chars().any(char::is_control) {
            return Err(ImagePathError::Control(text.to_owned()));
        }
        let names: Vec<&str> = text.split('/').filter(|name| !matches!(*name, "" | ".")).collect();
        if names.contains(&"..") {
            return Err(ImagePathError::Parent(text.to_owned()));
        }
        let path = format!("/{}", names.join("/"));
        if path.len() > 4095 || names.iter().any(|name| name.len() > 255) {
            return Err(ImagePathError::TooLong(text.to_owned()));
        }
        Ok(Self(path))
    }
}

impl fmt::Display for ImagePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> ImagePath {
        text.parse().unwrap()
    }

    #[test]
    fn a_path_is_normalised() {
        assert_eq!(path("//etc/./hosts/").as_str(), "/etc/hosts");
        assert_eq!(path("/"), ImagePath::root());
    }

    #[test]
    fn a_path_that_could_leave_the_image_is_refused() {
        assert!(matches!("etc/hosts".parse::<ImagePath>(), Err(ImagePathError::Relative(_))));
        assert!(matches!("/etc/../../x".parse::<ImagePath>(), Err(ImagePathError::Parent(_))));
        assert!(matches!("/etc/a\0b".parse::<ImagePath>(), Err(ImagePathError::Control(_))));
        assert!(matches!(path("/etc").join("../x"), Err(ImagePathError::Parent(_))));
    }

    #[test]
    fn names_are_bounded_as_linux_bounds_them() {
        assert!(format!("/{}", "n".repeat(255)).parse::<ImagePath>().is_ok());
        assert!(format!("/{}", "n".repeat(256)).parse::<ImagePath>().is_err());
    }

    #[test]
    fn parent_name_and_below_agree() {
        let hosts = path("/etc/hosts");
        assert_eq!(hosts.parent(), Some(path("/etc")));
        assert_eq!(path("/etc").parent(), Some(ImagePath::root()));
        assert_eq!(ImagePath::root().parent(), None);
        assert_eq!(hosts.file_name(), Some("hosts"));
        assert_eq!(hosts.below(&path("/etc")), Some("hosts"));
        assert_eq!(hosts.below(&path("/et")), None);
        assert_eq!(hosts.below(&ImagePath::root()), Some("etc/hosts"));
        assert_eq!(hosts.below(&hosts), Some(""));
    }
}
