//! What there is to download: the list that Raspberry Pi publishes for its own imager, under names of ours.
//!
//! ```text
//! published list ─▶ store (cache, ETag, 24 hours) ─▶ list (JSON) ─▶ names ─▶ Catalogue
//!      └─ sublists elsewhere, by the same road
//! ```
//!
//! Whoever publishes a sublist need not be Raspberry Pi: only the list itself, and sublists of its origin, can say what
//! `raspios-lite-arm64` is. So those elsewhere need not be fetched to find it: [`Scope`].

mod list;
mod names;
mod store;

use std::collections::{BTreeSet, VecDeque};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use self::list::{DEPTH_MAX, ENTRIES_MAX, Found, Remote};
use self::names::Listed;
use self::store::Store;
use super::net::{Client, Document};
use crate::base::{Interrupt, Interrupted, Progress, Sha256Digest};

pub use crate::base::{Arch, Variant};

/// Where Raspberry Pi publishes the list: version 4 for Imager 2.x, version 3 for 1.7 to 1.9, which is tried second.
const PUBLISHED: [&str; 2] = [
    "https://downloads.raspberrypi.com/os_list_imagingutility_v4.json",
    "https://downloads.raspberrypi.org/os_list_imagingutility_v3.json",
];
/// The published list has some 100 KiB.
const DOCUMENT_LEN_MAX: u64 = 16 << 20;
const REMOTES_MAX: usize = 32;
/// How long a list is used without asking for a newer one.
const FRESH: Duration = Duration::from_secs(24 * 60 * 60);

/// Whatever went wrong on the way.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// What the catalogue is read through.
pub trait Web {
    /// Fetches a document of at most `max_len_bytes`; with `etag`, only if it is another one by now.
    ///
    /// # Errors
    /// What stands in the way for good: whatever is worth another try has been tried again.
    fn document(&self, url: &str, etag: Option<&str>, max_len_bytes: u64) -> Result<Document, BoxError>;
}

/// The real one.
#[derive(Clone, Copy)]
pub struct Online<'o> {
    /// Fetches.
    pub client: &'o Client,
    /// Hears of each try in vain.
    pub progress: &'o dyn Progress,
    /// Stops it.
    pub interrupt: &'o Interrupt,
}

impl Web for Online<'_> {
    fn document(&self, url: &str, etag: Option<&str>, max_len_bytes: u64) -> Result<Document, BoxError> {
        Ok(self.client.document(url, etag, max_len_bytes, self.progress, self.interrupt)?)
    }
}

/// Where a catalogue is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Place {
    /// Where Raspberry Pi publishes it.
    #[default]
    Published,
    /// Elsewhere on the web, by http or https.
    Url(String),
    /// On this machine.
    File(PathBuf),
}

impl Place {
    /// `text` as an http, https or file URL, or else as a path.
    ///
    /// # Errors
    /// [`Error::BadPlace`]
    pub fn parse(text: &str) -> Result<Self, Error> {
        let bad = || Error::BadPlace(text.to_owned());
        let is_url = text.contains("://") || text.starts_with("file:");
        match (text, is_url) {
            ("", _) => Err(bad()),
            (path, false) => Ok(Self::File(path.into())),
            (text, true) => match reqwest::Url::parse(text) {
                Ok(url) if url.scheme() == "file" => url.to_file_path().map(Self::File).map_err(|()| bad()),
                Ok(_) => list::web_url(text).map(|_| Self::Url(text.to_owned())).ok_or_else(bad),
                Err(_) => Err(bad()),
            },
        }
    }
}

/// How much of a catalogue is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// At least Raspberry Pi OS: sublists of others are not fetched.
    RaspiOs,
    /// All of it.
    All,
}

impl Scope {
    /// What it takes to find `name`.
    #[must_use]
    pub fn to_find(name: &str) -> Self {
        if name.starts_with(names::RESERVED) { Self::RaspiOs } else { Self::All }
    }
}

/// How a catalogue is to be loaded.
#[derive(Clone, Debug)]
pub struct Options<'o> {
    /// Where it is.
    pub place: &'o Place,
    /// Where lists are kept, beside whatever else is there.
    pub cache_dir: &'o Path,
    /// How much of it is wanted.
    pub scope: Scope,
    /// Ask for a newer one, however new the kept one is.
    pub refresh: bool,
    /// Ask nobody: what is kept must do.
    pub offline: bool,
    /// The present.
    pub now: SystemTime,
}

/// What can be downloaded.
#[derive(Clone, Debug)]
pub struct Catalogue {
    /// Raspberry Pi OS first, and newest first within a name; each id once.
    pub entries: Vec<Entry>,
    /// What the user should hear: how old it is, what could not be read.
    pub notes: Vec<String>,
    /// The URL or file it came from.
    pub origin: String,
}

/// An image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// `raspios-lite-arm64` for the newest of that name, `raspios-lite-arm64@2026-06-18` for others; likewise with a
    /// name made from [`Entry::name`] where it is not Raspberry Pi OS. At most 60 characters before the `@`.
    pub id: String,
    /// The name it is shown under. One line.
    pub name: String,
    /// What it is, in a sentence. One line.
    pub description: String,
    /// Where it is: http or https.
    pub url: String,
    /// `YYYY-MM-DD`. That of the file where the name of the file has one, as the image says of itself.
    pub release_date: Option<String>,
    /// Bytes to download.
    pub archive_len: Option<u64>,
    /// Bytes of the raw image.
    pub extract_len: Option<u64>,
    /// The digest of what is downloaded.
    pub archive_sha256: Option<Sha256Digest>,
    /// The digest of the raw image.
    pub image_sha256: Option<Sha256Digest>,
    /// What it runs on.
    pub architecture: Option<Arch>,
    /// Which Raspberry Pi OS.
    pub variant: Option<Variant>,
    /// Is it Raspberry Pi OS, by word of its publisher?
    pub is_raspios: bool,
    /// Is it the release before the current one?
    pub is_oldstable: bool,
    /// The codename, as `trixie`, where the file name says.
    pub release: Option<String>,
    /// Tags of boards, as `pi5-64bit`.
    pub devices: Vec<String>,
    /// How the image wants to be customised on first boot, as `cloudinit-rpi`.
    pub init_format: Option<String>,
}

impl Entry {
    /// The id without the date.
    #[must_use]
    pub fn plain_id(&self) -> &str {
        self.id.split_once('@').map_or(&self.id, |(plain, _)| plain)
    }

    /// The id with the date, where there is one: the name of this very release.
    #[must_use]
    pub fn dated_id(&self) -> String {
        match &self.release_date {
            Some(date) => format!("{}@{date}", self.plain_id()),
            None => self.id.clone(),
        }
    }
}

/// Why there is no catalogue, or no image of that name in it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Neither URL nor path.
    #[error("found `{}` for the catalogue, wanted an http or https URL, or a file", .0.escape_debug())]
    BadPlace(String),
    /// The system failed on the file that was named.
    #[error("cannot read the catalogue `{}`", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The system failed on the cache.
    #[error("cannot keep the catalogue in `{}`", .path.display())]
    Keep {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Not a catalogue.
    #[error("`{origin}` is no catalogue: {reason}")]
    NotAList {
        /// The file or URL.
        origin: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Not a sane one.
    #[error("the catalogue `{origin}` is longer than {DOCUMENT_LEN_MAX} bytes")]
    TooLong {
        /// The file or URL.
        origin: String,
    },
    /// Fetching failed, and none was kept.
    #[error("cannot fetch the catalogue `{url}`, and no earlier one is kept")]
    Fetch {
        /// The first address.
        url: String,
        /// What stood in the way.
        #[source]
        source: BoxError,
    },
    /// Fetching is forbidden, and none was kept.
    #[error("offline, and no catalogue of `{url}` is kept in `{}`", .dir.display())]
    Offline {
        /// The first address.
        url: String,
        /// The folder.
        dir: PathBuf,
    },
    /// A name that means nothing.
    #[error("no image `{}` in the catalogue{}", .name.escape_debug(), nearest(.near))]
    NoSuchImage {
        /// The name.
        name: String,
        /// Names that are like it.
        near: Vec<String>,
    },
    /// A release that is not listed any more.
    #[error(
        "no `{id}` of {} in the catalogue, which has {}", .date.escape_debug(),
        if .has.is_empty() { String::from("none with a date") } else { .has.join(", ") }
    )]
    NoSuchDate {
        /// The name without the date.
        id: String,
        /// The date asked for.
        date: String,
        /// The dates there are, newest first.
        has: Vec<String>,
    },
    /// The user asked to stop.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
}

fn nearest(near: &[String]) -> String {
    match near {
        [] => String::new(),
        near => format!("; the nearest: {}", near.join(", ")),
    }
}

impl Catalogue {
    /// The image called `name`: the newest of a plain name, the one of that day of a dated one.
    ///
    /// # Errors
    /// [`Error::NoSuchImage`], [`Error::NoSuchDate`].
    pub fn find(&self, name: &str) -> Result<&Entry, Error> {
        if let Some(entry) = self.entries.iter().find(|entry| entry.id == name) {
            return Ok(entry);
        }
        let (plain, date) = name.split_once('@').map_or((name, None), |(plain, date)| (plain, Some(date)));
        let group: Vec<&Entry> = self.entries.iter().filter(|entry| entry.plain_id() == plain).collect();
        let Some(date) = date.filter(|_| !group.is_empty()) else {
            return Err(Error::NoSuchImage { name: name.to_owned(), near: self.near(plain) });
        };
        let of_day = |entry: &&Entry| entry.release_date.as_deref() == Some(date);
        group.iter().copied().find(of_day).ok_or_else(|| Error::NoSuchDate {
            id: plain.to_owned(),
            date: date.to_owned(),
            has: group.iter().filter_map(|entry| entry.release_date.clone()).collect(),
        })
    }

    /// At most three names that `name` may be a slip for.
    fn near(&self, name: &str) -> Vec<String> {
        // Comparing takes the product of both lengths.
        let name: String = name.to_lowercase().chars().take(100).collect();
        let plain: BTreeSet<&str> = self.entries.iter().map(Entry::plain_id).collect();
        let mut near: Vec<(usize, &str)> = plain
            .into_iter()
            .map(|known| (strsim::damerau_levenshtein(&name, known), known))
            .filter(|(distance, known)| *distance <= known.len() / 2)
            .collect();
        near.sort_unstable();
        near.into_iter().take(3).map(|(_, known)| known.to_owned()).collect()
    }
}

/// Loads the catalogue: the kept one while it is new, else the published one, else the kept one with a word on its age.
///
/// # Errors
/// Any [`Error`] but those of names.
pub fn load(options: &Options<'_>, web: &dyn Web, interrupt: &Interrupt) -> Result<Catalogue, Error> {
    let store = Store::new(options, web, interrupt);
    let mut notes = Vec::new();
    let (origin, found) = match options.place {
        Place::File(path) => (path.display().to_string(), store::read_file(path)?),
        Place::Url(url) => store.first_of(&[url.as_str()], &mut notes)?,
        Place::Published => store.first_of(&PUBLISHED, &mut notes)?,
    };
    let mut visited: BTreeSet<String> = PUBLISHED.map(str::to_owned).into();
    visited.insert(origin.clone());
    let mut loading = Loading {
        scope: options.scope,
        homes: match options.place {
            Place::Published => PUBLISHED.into_iter().filter_map(home).collect(),
            _ => home(&origin).into_iter().collect(),
        },
        visited,
        listed: Vec::new(),
        remotes: VecDeque::new(),
        notes,
        is_cut_short: false,
    };
    loading.take(found, true);
    loading.take_remotes(&store)?;
    let Loading { listed, mut notes, is_cut_short, .. } = loading;
    if is_cut_short {
        notes.push(format!(
            "the catalogue `{origin}` is too large: left out what is beyond {ENTRIES_MAX} images, {REMOTES_MAX} \
             remote lists or {DEPTH_MAX} levels"
        ));
    }
    Ok(Catalogue { entries: names::name(listed), notes, origin })
}

/// Scheme, host and port of a list on the web: where its publisher is at home.
fn home(url: &str) -> Option<String> {
    list::web_url(url).map(|url| url.origin().ascii_serialization())
}

/// What has been read so far.
struct Loading {
    scope: Scope,
    /// Whose lists may speak for Raspberry Pi OS.
    homes: BTreeSet<String>,
    visited: BTreeSet<String>,
    listed: Vec<Listed>,
    /// Still to be read, and whether they may speak for Raspberry Pi OS.
    remotes: VecDeque<(Remote, bool)>,
    notes: Vec<String>,
    is_cut_short: bool,
}

impl Loading {
    fn take(&mut self, found: Found, is_trusted: bool) {
        self.is_cut_short |= found.is_too_deep || found.is_too_many;
        for image in found.images {
            if self.listed.len() >= ENTRIES_MAX {
                self.is_cut_short = true;
                break;
            }
            self.listed.push(Listed { image, is_trusted });
        }
        for remote in found.remotes {
            let is_trusted = home(&remote.url).is_some_and(|home| self.homes.contains(&home));
            if (is_trusted || self.scope == Scope::All) && self.visited.insert(remote.url.clone()) {
                self.remotes.push_back((remote, is_trusted));
            }
        }
    }

    fn take_remotes(&mut self, store: &Store<'_>) -> Result<(), Error> {
        for _ in 0..REMOTES_MAX {
            let Some((remote, is_trusted)) = self.remotes.pop_front() else { return Ok(()) };
            match store.document(&remote.url, remote.depth, &mut self.notes) {
                Ok(found) => self.take(found, is_trusted),
                Err(Error::Interrupted(interrupted)) => return Err(interrupted.into()),
                Err(error) => self.notes.push(format!("left out a list of others: {}", chain(&error))),
            }
        }
        self.is_cut_short |= !self.remotes.is_empty();
        Ok(())
    }
}

/// The error and its causes in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

#[cfg(test)]
mod tests;
