//! Where the members of an archive may go: below one directory of the image, whatever their names and the links on the way
//! say.

use crate::base::ImagePath;
use crate::build::Error;
use crate::build::disk::{FileKind, Tree};

/// The directory that an archive is unpacked into.
pub(super) struct Ground {
    /// No link is left to follow in it.
    base: ImagePath,
    /// The directory of the last member, as it was written and where it leads: most members are in the same as the one
    /// before.
    last: Option<(ImagePath, ImagePath)>,
}

impl Ground {
    /// # Errors
    /// [`Error::NoSuchPath`], [`Error::NotADirectory`].
    pub(super) fn new(tree: &Tree<'_>, path: &ImagePath) -> Result<Self, Error> {
        if tree.stat(path, true)?.kind != FileKind::Directory {
            return Err(Error::NotADirectory { verb: "unpack into", path: path.clone() });
        }
        Ok(Self { base: tree.canonical(path, true)?, last: None })
    }

    /// Where the member of this name goes: no link is left to follow in it but perhaps the last name.
    ///
    /// # Errors
    /// [`Error::UnfitMember`] for what would be elsewhere.
    pub(super) fn place(&mut self, tree: &Tree<'_>, name: &[u8]) -> Result<ImagePath, Error> {
        let path = self.written(name)?;
        let Some((parent, last)) = path.parent().zip(path.file_name()).filter(|_| path != self.base) else {
            return Ok(self.base.clone());
        };
        let inside = match &self.last {
            Some((written, leads)) if *written == parent => leads.clone(),
            _ => {
                let leads = tree.canonical(&parent, true)?;
                self.check_inside(&leads)?;
                self.last = Some((parent, leads.clone()));
                leads
            }
        };
        inside.join(last).map_err(|error| unfit(error.to_string()))
    }

    /// Where the link at `place` leads, which must be inside too.
    pub(super) fn follow(&self, tree: &Tree<'_>, place: &ImagePath) -> Result<ImagePath, Error> {
        let leads = tree.canonical(place, true)?;
        self.check_inside(&leads)?;
        Ok(leads)
    }

    /// A link was made, or something went: paths may lead elsewhere now.
    pub(super) fn forget(&mut self) {
        self.last = None;
    }

    /// The name as a path, before links are looked at.
    fn written(&self, name: &[u8]) -> Result<ImagePath, Error> {
        let text = std::str::from_utf8(name).map_err(|_| unfit("its name is not UTF-8"))?;
        if text.starts_with('/') {
            return Err(unfit("its name begins with `/`: names in an archive are below the directory"));
        }
        if text.is_empty() {
            return Err(unfit("it has no name"));
        }
        self.base.join(text).map_err(|error| unfit(error.to_string()))
    }

    fn check_inside(&self, leads: &ImagePath) -> Result<(), Error> {
        if leads.below(&self.base).is_some() {
            return Ok(());
        }
        Err(unfit(format!("a symlink leads it to {leads}, which is not below {}", self.base)))
    }
}

pub(super) fn unfit(reason: impl Into<String>) -> Error {
    Error::UnfitMember(reason.into())
}
