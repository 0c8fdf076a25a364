//! Which image a profile means, by the word of the lock, the catalogue or its own, and opening it.
//!
//! ```text
//! --image FILE ───────────────────────────────────▶ the file
//! image.path ─── as the lock says, where it does ──▶ the file
//! image.url ──┬─ in the lock ─▶ this very image ──▶ cache or web
//! image.os ───┴─ not in it ─▶ address, catalogue ─▶ cache or web ─▶ into the lock
//! ```

use std::path::Path;
use std::time::SystemTime;

use super::Error;
use super::lock_file::{LockFile, Pin};
use crate::base::Sha256Digest;
use crate::plan::{ImageChoice, ImageSource};
use crate::source::catalogue::{self, Catalogue, Online, Options, Place, Scope};
use crate::source::{self, BaseImage, LocalImage, RemoteImage, Tools};

/// Where base images come from.
#[derive(Clone, Copy)]
pub struct Bases<'b> {
    /// Takes the place of what the profile names.
    pub image: Option<&'b Path>,
    /// Cache, network and the like.
    pub tools: Tools<'b>,
    /// Where the catalogue is.
    pub catalogue: &'b Place,
    /// The lock of the profile.
    pub lock: &'b Path,
    /// Is what is not in the lock refused?
    pub is_locked: bool,
    /// Is the archive of an image of use, too, and not only what is in it?
    pub is_archive_wanted: bool,
}

/// An image, open, and what the profile calls it.
#[derive(Debug)]
pub struct Base {
    /// Its file name, without folder or address.
    pub name: String,
    /// The image.
    pub image: BaseImage,
}

/// What became of a lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Locked {
    /// What it said of the image.
    pub before: Option<Pin>,
    /// What it says now.
    pub now: Pin,
}

/// Opens the image that `choice` means; what the web has to give for it is in the lock afterwards.
///
/// # Errors
/// [`Error::Base`], [`Error::Catalogue`], [`Error::NotLocked`], [`Error::LockDiffers`], [`Error::BadLock`],
/// [`Error::Host`].
pub fn open(choice: &ImageChoice, bases: &Bases<'_>) -> Result<Base, Error> {
    match (bases.image, &choice.source) {
        (Some(path), _) => bases.open_file(choice, path, choice.sha256, false),
        (None, ImageSource::Path(path)) => bases.open_path(path, choice),
        (None, ImageSource::Url(_) | ImageSource::Os(_)) => bases.open_remote(choice),
    }
}

/// Settles the image that `choice` means in the lock. One that is settled stays, unless `is_update`. Downloads it only
/// where nobody says what it is.
///
/// # Errors
/// As for [`open`].
pub fn lock(choice: &ImageChoice, bases: &Bases<'_>, is_update: bool) -> Result<Locked, Error> {
    let (name, pinned) = bases.pinned(choice)?;
    if let Some(pin) = pinned.clone().filter(|_| !is_update) {
        return Ok(Locked { before: pinned, now: pin });
    }
    let no_digests = || Error::Unsettled { name: name.clone() };
    let now = match &choice.source {
        ImageSource::Path(path) => {
            let base = bases.open_file(choice, path, choice.sha256, true)?;
            Pin::of_base(&name, None, None, &base.image).ok_or_else(no_digests)?
        }
        _ => {
            let (remote, date) = bases.look_up(choice, is_update)?;
            match Pin::of_remote(&name, date.clone(), &remote) {
                // Who signed it can only be told with the image at hand.
                Some(pin) if choice.signed_by.is_none() => pin,
                _ => {
                    let base = bases.fetch(&remote)?;
                    let url = Some(remote.url_without_secrets());
                    Pin::of_base(&name, url, date, &base.image).ok_or_else(no_digests)?
                }
            }
        }
    };
    LockFile::set(bases.lock, now.clone())?;
    Ok(Locked { before: pinned, now })
}

/// An image by itself, with no profile around it: an address, or a name of the catalogue.
///
/// # Errors
/// [`Error::Base`], [`Error::Catalogue`].
pub fn fetch(source: &ImageSource, bases: &Bases<'_>) -> Result<Base, Error> {
    let choice = ImageChoice { source: source.clone(), sha256: None, signed_by: None, grow: None };
    let (remote, _) = bases.look_up(&choice, false)?;
    bases.fetch(&remote)
}

impl Bases<'_> {
    fn open_file(
        &self,
        choice: &ImageChoice,
        path: &Path,
        sha256: Option<Sha256Digest>,
        is_hashed: bool,
    ) -> Result<Base, Error> {
        let Tools { cache, progress, interrupt, .. } = self.tools;
        let local = LocalImage { path, sha256, signed_by: choice.signed_by.as_deref(), is_hashed };
        let image = source::open_base(&local, cache, progress, interrupt)
            .map_err(|source| Error::Base { path: path.to_owned(), source: Box::new(source) })?;
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Ok(Base { name, image })
    }

    /// A file of the user's: it is what it is, and the lock may say what it was.
    fn open_path(&self, path: &Path, choice: &ImageChoice) -> Result<Base, Error> {
        let (name, pinned) = self.pinned(choice)?;
        let Some(pin) = pinned else { return self.open_file(choice, path, choice.sha256, false) };
        if self.is_locked {
            return self.open_file(choice, path, Some(pin.archive_sha256), false);
        }
        let base = self.open_file(choice, path, choice.sha256, true)?;
        if base.image.archive_sha256 != Some(pin.archive_sha256) {
            self.tools.progress.note(&format!(
                "warning: `{name}` is not the image in `{}`: `cardpress lock --update` moves on to it",
                self.lock.display()
            ));
        }
        Ok(base)
    }

    fn open_remote(&self, choice: &ImageChoice) -> Result<Base, Error> {
        let (name, pinned) = self.pinned(choice)?;
        if let Some(pin) = pinned {
            let url = match (&choice.source, &pin.url) {
                // It may hold a password, which the lock does not.
                (ImageSource::Url(url), _) => url,
                (_, Some(url)) => url,
                (_, None) => return Err(self.not_locked(&name)),
            };
            return self.fetch(&RemoteImage { signed_by: choice.signed_by.clone(), ..pin.to_remote(url) });
        }
        let (remote, date) = self.look_up(choice, false)?;
        let base = self.fetch(&remote)?;
        let pin = Pin::of_base(&name, Some(remote.url_without_secrets()), date, &base.image);
        if let Some(pin) = pin {
            LockFile::set(self.lock, pin)?;
            self.tools.progress.note(&format!("settled `{name}` in `{}`", self.lock.display()));
        }
        Ok(base)
    }

    /// What the lock calls the image, and what it says of it. One that the profile contradicts is as good as none.
    fn pinned(&self, choice: &ImageChoice) -> Result<(String, Option<Pin>), Error> {
        let name = match &choice.source {
            ImageSource::Os(name) => name.clone(),
            ImageSource::Url(url) => source::without_secrets(url),
            ImageSource::Path(path) => relative(path, self.lock),
        };
        let pin = LockFile::read(self.lock)?.get(&name).cloned();
        let known = pin.as_ref().map(|pin| pin.archive_sha256);
        log::debug!("`{}`: `{name}` is pinned to {known:?}", self.lock.display());
        match (&pin, choice.sha256) {
            (None, _) if self.is_locked => Err(self.not_locked(&name)),
            (Some(pin), Some(wanted)) if wanted != pin.archive_sha256 && self.is_locked => {
                let (path, found) = (self.lock.to_owned(), pin.archive_sha256);
                Err(Error::LockDiffers { name, path, found, wanted })
            }
            (Some(pin), Some(wanted)) if wanted != pin.archive_sha256 => Ok((name, None)),
            _ => Ok((name, pin)),
        }
    }

    fn not_locked(&self, name: &str) -> Error {
        Error::NotLocked { name: name.to_owned(), path: self.lock.to_owned() }
    }

    /// What address and catalogue say of an image, and the date of its release.
    fn look_up(
        &self,
        choice: &ImageChoice,
        is_refreshed: bool,
    ) -> Result<(RemoteImage, Option<String>), Error> {
        let (sha256, signed_by) = (choice.sha256, choice.signed_by.clone());
        let name = match &choice.source {
            ImageSource::Os(name) => name,
            ImageSource::Url(url) => {
                return Ok((RemoteImage { archive_sha256: sha256, signed_by, ..RemoteImage::at(url) }, None));
            }
            ImageSource::Path(path) => {
                return Err(Error::Unsettled { name: path.display().to_string() });
            }
        };
        let catalogue = self.load_catalogue(Scope::to_find(name), is_refreshed)?;
        let entry = catalogue.find(name).map_err(|error| Error::Catalogue(Box::new(error)))?;
        let date = entry.release_date.clone();
        if sha256.is_some() && sha256 != entry.archive_sha256 {
            // Then nothing else of what the catalogue says need hold.
            let remote = RemoteImage { archive_sha256: sha256, signed_by, ..RemoteImage::at(&entry.url) };
            return Ok((remote, date));
        }
        let remote = RemoteImage {
            url: entry.url.clone(),
            archive_len: entry.archive_len,
            archive_sha256: entry.archive_sha256,
            image_len: entry.extract_len,
            image_sha256: entry.image_sha256,
            signed_by,
            is_archive_wanted: false,
        };
        Ok((remote, date))
    }

    fn load_catalogue(&self, scope: Scope, refresh: bool) -> Result<Catalogue, Error> {
        let Tools { cache, client, progress, interrupt } = self.tools;
        let offline = client.is_offline();
        let (place, cache_dir) = (self.catalogue, cache.dir());
        let refresh = refresh && !offline;
        let options = Options { place, cache_dir, scope, refresh, offline, now: SystemTime::now() };
        let loaded = catalogue::load(&options, &Online { client, progress, interrupt }, interrupt);
        let catalogue = loaded.map_err(|error| Error::Catalogue(Box::new(error)))?;
        for note in &catalogue.notes {
            progress.note(&format!("warning: {note}"));
        }
        Ok(catalogue)
    }

    fn fetch(&self, remote: &RemoteImage) -> Result<Base, Error> {
        let remote = &RemoteImage { is_archive_wanted: self.is_archive_wanted, ..remote.clone() };
        let image = source::open_remote(remote, self.tools).map_err(|source| Error::Base {
            path: remote.url_without_secrets().into(),
            source: Box::new(source),
        })?;
        Ok(Base { name: remote.file_name(), image })
    }
}

/// The path from the folder of the lock on, where it leads down from there; with slashes on every system.
fn relative(path: &Path, lock: &Path) -> String {
    let folder = lock.parent().unwrap_or(Path::new(""));
    let inside = path.strip_prefix(folder).unwrap_or(path);
    let parts: Vec<_> = inside.components().map(|part| part.as_os_str().to_string_lossy()).collect();
    if inside.is_absolute() { inside.display().to_string() } else { parts.join("/") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_named_from_the_folder_of_the_lock_on() {
        let told = |path, lock| relative(Path::new(path), Path::new(lock));
        assert_eq!(told("/p/images/base.img", "/p/cardpress.lock"), "images/base.img");
        assert_eq!(told("/q/base.img", "/p/cardpress.lock"), "/q/base.img");
        assert_eq!(told("/p/base.img", "cardpress.lock"), "/p/base.img");
    }
}
