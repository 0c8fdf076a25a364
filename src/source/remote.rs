//! An image on the web: downloaded, verified and unpacked in one pass, into the cache.
//!
//! ```text
//! digest of the archive known? ─ in the cache ─▶ open
//!      └─▶ lock ─▶ download ─▶ partial file ─▶ digest, unpack while it grows ─▶ all as wanted? ─▶ cache
//! ```
//!
//! The digest comes from the catalogue, the profile or the lock, else from the `.sha256` file beside the image. With
//! none at all, the image is what the server says it is; what is in the cache serves while the server says that it is
//! still the same.
//!
//! What is downloaded in vain: an archive that is not as wanted is removed and fetched once more from the start; a
//! download that was cut off stays, and the next run goes on with it.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;
use std::{io, thread};

use super::arrival::{Arrival, Next};
use super::cache::{self, At, Held, Lock};
use super::decode::{self, Arriving, Job};
use super::error::Error;
use super::raw::{RawDigests, RawWriter};
use super::signature::{self, Detached, Keys, SIGNATURE_LEN_MAX, SIGNATURE_SUFFIX};
use super::{BaseImage, Format, IMAGE_LEN_MAX, Tools, Wanted, XzArchive, check_head, format, net, sums};
use crate::base::{ByteLen, Progress, Sha256Digest};

/// An image on the web, and what is known of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteImage {
    /// Where it is: http or https.
    pub url: String,
    /// Bytes to download.
    pub archive_len: Option<u64>,
    /// The digest of what is downloaded.
    pub archive_sha256: Option<Sha256Digest>,
    /// Bytes of the raw image.
    pub image_len: Option<u64>,
    /// The digest of the raw image.
    pub image_sha256: Option<Sha256Digest>,
    /// A file with OpenPGP keys, one of which must have signed what is downloaded: the signature is beside it, with
    /// `.sig` after its name.
    pub signed_by: Option<PathBuf>,
    /// Is the archive itself of use, too, and not only what is in it?
    pub is_archive_wanted: bool,
}

impl RemoteImage {
    /// The image at `url`, of which nothing is known.
    #[must_use]
    pub fn at(url: &str) -> Self {
        let url = url.to_owned();
        let (archive_len, archive_sha256, image_len, image_sha256) = (None, None, None, None);
        Self {
            url,
            archive_len,
            archive_sha256,
            image_len,
            image_sha256,
            signed_by: None,
            is_archive_wanted: false,
        }
    }

    /// The address without user name and password.
    #[must_use]
    pub fn url_without_secrets(&self) -> String {
        net::without_secrets(&self.url)
    }

    /// The name of the file at the address.
    #[must_use]
    pub fn file_name(&self) -> String {
        net::file_name(&self.url)
    }
}

/// Opens the image: from the cache where it is there, else from the web by way of the cache.
///
/// # Errors
/// Any [`Error`]. Then nothing of it is believed later; what was downloaded of it so far stays only where a later run can
/// go on with it.
pub fn open_remote(image: &RemoteImage, tools: Tools<'_>) -> Result<BaseImage, Error> {
    let keys = image.signed_by.as_deref().map(Keys::read).transpose()?;
    let mut fetch = Fetch { image, tools, archive_sha256: image.archive_sha256, keys: keys.as_ref() };
    if let Some(base) = fetch.open_cached()? {
        return Ok(base);
    }
    if tools.client.is_offline() {
        return Err(net::Error::Offline { url: fetch.shown() }.into());
    }
    if fetch.archive_sha256.is_none() {
        fetch.archive_sha256 = fetch.side_digest()?;
    }
    let key = cache::key_of_archive(fetch.archive_sha256, &image.url);
    let lock = tools.cache.lock(&key, tools.progress, tools.interrupt)?;
    // Another process may have done it while we waited.
    if let Some(base) = fetch.open_cached()? {
        return Ok(base);
    }
    log::info!("{}: not in the cache, {} bytes of it are here already", fetch.shown(), lock.archive_len());
    Ok(fetch.run(&lock)?.into_base())
}

/// One image on its way.
struct Fetch<'f> {
    image: &'f RemoteImage,
    tools: Tools<'f>,
    archive_sha256: Option<Sha256Digest>,
    /// One of which must have signed the archive.
    keys: Option<&'f Keys>,
}

/// Why a download came to nothing.
enum Fault {
    /// What came so far is worth going on with.
    Stopped(Error),
    /// It is not what was wanted; `again`: from the start it may be.
    Bad { error: Error, again: bool },
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self::Stopped(error)
    }
}

/// An archive that was unpacked.
struct Unpacked {
    archive_sha256: Sha256Digest,
    image: RawDigests,
}

impl Fetch<'_> {
    /// The image in the cache, when it is the one wanted.
    fn open_cached(&self) -> Result<Option<BaseImage>, Error> {
        let Tools { cache, progress, interrupt, .. } = self.tools;
        let archive = match self.archive_sha256 {
            Some(archive) => Some(archive),
            None => self.last_seen()?,
        };
        let Some(archive) = archive else { return Ok(None) };
        let Some(held) = cache.find(archive, progress, interrupt)? else { return Ok(None) };
        if self.image.is_archive_wanted && held.has_blocks && held.kept.is_none() {
            let shown = self.shown();
            progress.note(&format!("`{shown}` is in the cache without its archive: fetching it again"));
            return Ok(None);
        }
        let signer = held.signed_by.as_deref();
        if self.keys.is_some_and(|keys| !signer.is_some_and(|fingerprint| keys.hold(fingerprint))) {
            // The signature is one of the archive, which is gone.
            let shown = self.shown();
            progress
                .note(&format!("`{shown}` is in the cache, with no signature checked: fetching it again"));
            return Ok(None);
        }
        self.check_image(&held.image)?;
        Ok(Some(held.into_base()))
    }

    /// The archive that was at the address when it was last asked, if it still is.
    fn last_seen(&self) -> Result<Option<Sha256Digest>, Error> {
        let Tools { cache, client, progress, interrupt } = self.tools;
        let shown = self.shown();
        let Some(at) = cache.archive_at(&shown) else { return Ok(None) };
        let archive = at.archive_sha256.parse().ok();
        if client.is_offline() {
            progress.note(&format!("offline: taking `{shown}` for what it was when it was last fetched"));
            return Ok(archive);
        }
        let Some(etag) = at.etag else { return Ok(None) };
        match client.is_unchanged(&self.image.url, &etag, progress, interrupt) {
            Ok(is_unchanged) => Ok(archive.filter(|_| is_unchanged)),
            Err(net::Error::Interrupted(interrupted)) => Err(interrupted.into()),
            Err(error) => {
                progress.note(&format!("{error}: taking it for what it was when it was last fetched"));
                Ok(archive)
            }
        }
    }

    /// The digest in the `.sha256` file beside the image, where there is one.
    fn side_digest(&self) -> Result<Option<Sha256Digest>, Error> {
        let Tools { client, progress, interrupt, .. } = self.tools;
        let url = net::beside(&self.image.url, ".sha256")?;
        match client.document(&url, None, sums::LEN_MAX, progress, interrupt) {
            Ok(net::Document::Fresh { bytes, .. }) => {
                let text = String::from_utf8_lossy(&bytes);
                Ok(sums::digest_of(&text, &self.image.file_name()))
            }
            // Not every server has one; what they say instead differs.
            Ok(net::Document::Unchanged) | Err(net::Error::Status { .. } | net::Error::WebPage { .. }) => {
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// The signature beside the image, and its address, where one is wanted.
    fn signature(&self) -> Result<Option<(String, Vec<u8>)>, Error> {
        let Tools { client, progress, interrupt, .. } = self.tools;
        if self.keys.is_none() {
            return Ok(None);
        }
        let url = net::beside(&self.image.url, SIGNATURE_SUFFIX)?;
        let shown = net::without_secrets(&url);
        match client.document(&url, None, SIGNATURE_LEN_MAX as u64, progress, interrupt) {
            Ok(net::Document::Fresh { bytes, .. }) => Ok(Some((shown, bytes))),
            Ok(net::Document::Unchanged) => {
                Err(Error::NoSignature { url: shown, status: "304, unasked".to_owned() })
            }
            Err(net::Error::Status { status, .. }) => Err(Error::NoSignature { url: shown, status }),
            Err(error) => Err(error.into()),
        }
    }

    fn run(&self, lock: &Lock) -> Result<Held, Error> {
        let signature = self.signature()?;
        let mut is_second = false;
        loop {
            let (error, again) = match self.run_once(lock, signature.as_ref()) {
                Ok(held) => return Ok(held),
                Err(Fault::Stopped(error)) => {
                    if lock.archive_len() == 0 {
                        lock.remove_archive()?;
                    }
                    return Err(error);
                }
                Err(Fault::Bad { error, again }) => (error, again),
            };
            lock.remove_archive()?;
            if is_second || !again {
                return Err(error);
            }
            self.tools.progress.note(&format!("{error}: fetching it once more, from the start"));
            is_second = true;
        }
    }

    fn run_once(&self, lock: &Lock, signature: Option<&(String, Vec<u8>)>) -> Result<Held, Fault> {
        let Tools { cache, client, progress, interrupt } = self.tools;
        let limit = self.check_space(lock)?;
        let part = lock.image_part()?;
        let path = lock.archive_path();
        let wanted =
            net::Wanted { url: &self.image.url, len_bytes: self.image.archive_len, limit: IMAGE_LEN_MAX };
        let arrival = Arrival::default();
        let late = Late::new(progress);
        // Stops the download when nobody wants the rest any more.
        let stop = interrupt.child();
        let (downloaded, unpacked) = thread::scope(|scope| {
            let unpacking = scope.spawn(|| {
                let unpacked = self.unpack(&path, &arrival, part.file(), limit, &late);
                if unpacked.as_ref().is_err_and(|error| !self.may_be_other_bytes(error)) {
                    stop.raise();
                }
                unpacked
            });
            let downloaded = client.download(&wanted, &path, &arrival, progress, &stop);
            if let Ok(downloaded) = &downloaded {
                late.show(&format!("unpack {}", self.image.file_name()), downloaded.len_bytes);
            }
            let unpacked = unpacking.join();
            late.hide();
            (downloaded, unpacked)
        });
        interrupt.check().map_err(Error::from)?;
        let unpacked = unpacked
            .unwrap_or_else(|_| Err(self.unpack_failed(io::Error::other("the unpacking thread failed"))));
        let downloaded = match (downloaded, &unpacked) {
            (Ok(downloaded), _) => Some(downloaded),
            // We stopped it ourselves, because of what was unpacked.
            (Err(net::Error::Interrupted(_)), Err(_)) => None,
            (Err(error), _) => return Err(Error::from(error).into()),
        };
        let unpacked = self.judge(unpacked, &path, downloaded.is_some())?;
        if let Err(error) = self.check_image(&unpacked.image) {
            return Err(Fault::Bad { error, again: self.archive_sha256.is_none() });
        }
        let signed_by = match (self.keys, signature) {
            (Some(keys), Some(signature)) => Some(self.check_signature(keys, signature, &path)?),
            _ => None,
        };
        let has_blocks = File::open(&path).is_ok_and(|file| XzArchive::of(&file).is_some());
        let entry = cache::Entry {
            archive: unpacked.archive_sha256,
            archive_len: lock.archive_len(),
            image: unpacked.image,
            has_blocks,
            origin: self.shown(),
            signed_by,
        };
        let held = cache.install(part, entry, has_blocks.then_some(&*path))?;
        let etag = downloaded.and_then(|downloaded| downloaded.etag);
        let archive_sha256 = unpacked.archive_sha256.to_string();
        cache.note_archive_at(&At { url: self.shown(), etag, archive_sha256 })?;
        lock.remove_archive()?;
        Ok(held)
    }

    /// Whose signature the archive bears.
    fn check_signature(
        &self,
        keys: &Keys,
        signature: &(String, Vec<u8>),
        path: &Path,
    ) -> Result<String, Fault> {
        let Tools { progress, interrupt, .. } = self.tools;
        let file =
            File::open(path).map_err(|source| Error::Io { action: "read", path: path.to_owned(), source })?;
        let (name, bytes) = signature;
        match keys.verify(&file, Detached { name, bytes }, SystemTime::now(), interrupt, progress) {
            Ok(signer) => Ok(signer.to_string()),
            // With nothing else to go by, it may be the archive that was garbled.
            Err(error @ signature::Error::Bad { .. }) => {
                Err(Fault::Bad { error: error.into(), again: self.archive_sha256.is_none() })
            }
            Err(error) => Err(Fault::Stopped(error.into())),
        }
    }

    /// What came is worth what its digest is; where none is known, what could be unpacked of it.
    fn judge(
        &self,
        unpacked: Result<Option<Unpacked>, Error>,
        path: &Path,
        is_downloaded: bool,
    ) -> Result<Unpacked, Fault> {
        let unpacked = match unpacked {
            Ok(Some(unpacked)) => Ok(unpacked),
            Ok(None) => return Err(Error::Changed(path.to_owned()).into()),
            Err(error) => Err(error),
        };
        let found = match &unpacked {
            Ok(unpacked) => Some(unpacked.archive_sha256),
            Err(error) if is_downloaded && is_of_content(error) => Some(self.hash(path)?),
            Err(_) => None,
        };
        if let (Some(wanted), Some(found)) = (self.archive_sha256, found)
            && wanted != found
        {
            let error = Error::Digest { path: self.shown().into(), found, wanted };
            return Err(Fault::Bad { error, again: true });
        }
        unpacked.map_err(|error| match is_of_content(&error) {
            true => Fault::Bad { again: self.archive_sha256.is_none() && is_garbled(&error), error },
            false => Fault::Stopped(error),
        })
    }

    /// Is there an image with the digest and length that are wanted of it?
    fn check_image(&self, image: &RawDigests) -> Result<(), Error> {
        let (found_bytes, found) = (image.chunks.len_bytes(), image.sha256);
        let path = || self.shown().into();
        match (self.image.image_len, self.image.image_sha256) {
            (_, Some(wanted)) if wanted != found => Err(Error::ImageDigest { path: path(), found, wanted }),
            (Some(wanted_bytes), _) if wanted_bytes != found_bytes => {
                Err(Error::ImageLen { path: path(), found_bytes, wanted_bytes })
            }
            _ => Ok(()),
        }
    }

    /// How long the image may get; refuses early what will not fit, and says what it will take.
    fn check_space(&self, lock: &Lock) -> Result<u64, Error> {
        let cache = self.tools.cache;
        let free_bytes = cache.free_bytes().unwrap_or(u64::MAX);
        let (archive, image) = (self.image.archive_len, self.image.image_len);
        if let Some(limit) = image.filter(|len| *len > IMAGE_LEN_MAX).and(Some(IMAGE_LEN_MAX)) {
            return Err(Error::TooLong { path: self.shown().into(), limit });
        }
        let missing_bytes = archive.map(|len| len.saturating_sub(lock.archive_len()));
        let needed_bytes = missing_bytes.unwrap_or_default().saturating_add(image.unwrap_or_default());
        if needed_bytes > free_bytes {
            let (path, dir) = (self.shown().into(), cache.dir().to_owned());
            return Err(Error::NoSpace { path, dir, needed_bytes, free_bytes });
        }
        if let (Some(missing_bytes), Some(image)) = (missing_bytes, image) {
            self.tools.progress.note(&format!(
                "{}: {} to download, {} unpacked; `{}` has {} free",
                self.image.file_name(),
                ByteLen(missing_bytes),
                ByteLen(image),
                cache.dir().display(),
                ByteLen(free_bytes)
            ));
        }
        Ok(image.unwrap_or(IMAGE_LEN_MAX).min(free_bytes))
    }

    /// Unpacks the archive while it comes, from the start again whenever it begins again. `None`: it did not come.
    fn unpack(
        &self,
        path: &Path,
        arrival: &Arrival,
        part: &File,
        limit: u64,
        progress: &dyn Progress,
    ) -> Result<Option<Unpacked>, Error> {
        let interrupt = self.tools.interrupt;
        loop {
            let round = arrival.round();
            let unpacked = self.unpack_round(path, Arriving { arrival, round }, part, limit, progress);
            if arrival.round() != round {
                continue;
            }
            match unpacked {
                Err(_) if arrival.has_failed() => return Ok(None),
                // The bytes may still turn out to be worth nothing, and others come.
                Err(error) if self.may_be_other_bytes(&error) => {
                    if arrival.wait(u64::MAX, round, interrupt)? != Next::Restarted {
                        return Err(error);
                    }
                }
                unpacked => return unpacked,
            }
        }
    }

    fn unpack_round(
        &self,
        path: &Path,
        arriving: Arriving<'_>,
        part: &File,
        limit: u64,
        progress: &dyn Progress,
    ) -> Result<Option<Unpacked>, Error> {
        let Arriving { arrival, round } = arriving;
        let interrupt = self.tools.interrupt;
        let mut there_bytes = 0;
        while there_bytes < 512 {
            match arrival.wait(there_bytes, round, interrupt)? {
                Next::Until(len_bytes) => there_bytes = len_bytes,
                Next::End => break,
                Next::Restarted | Next::Failed => return Ok(None),
            }
        }
        let shown = self.shown();
        let name = Path::new(&shown);
        let failed = |source| Error::Io { action: "read", path: path.to_owned(), source };
        let file = File::open(path).map_err(failed)?;
        let head = format::read_head(&file).map_err(failed)?;
        let format = format::of_head(&head)
            .map_err(|found| Error::Unsupported { path: name.to_owned(), found: found.to_owned() })?;
        if format == Format::Raw {
            check_head(name, format, Wanted::Disk, &head)?;
        }
        // The directory of a zip archive is at its end.
        let is_whole = format == Format::Zip;
        if is_whole && arrival.wait(u64::MAX, round, interrupt)? != Next::End {
            return Ok(None);
        }
        part.set_len(0).map_err(|source| self.unpack_failed(source))?;
        let mut out = RawWriter::new(part);
        let arriving = (!is_whole).then_some(arriving);
        let wanted = Wanted::Disk;
        let job = Job { path: name, file: &file, arriving, format, limit, wanted, progress, interrupt };
        let archive_sha256 = job.unpack(&mut out).map_err(|error| match self.image.image_len {
            None => error.or_full(self.tools.cache.dir()),
            Some(_) => error,
        })?;
        check_head(name, format, Wanted::Disk, out.head())?;
        let image = out.finish().map_err(|source| self.unpack_failed(source))?;
        Ok(Some(Unpacked { archive_sha256, image }))
    }

    /// The digest of the archive, read on its own.
    fn hash(&self, path: &Path) -> Result<Sha256Digest, Error> {
        let Tools { progress, interrupt, .. } = self.tools;
        let failed = |source| Error::Io { action: "read", path: path.to_owned(), source };
        let file = File::open(path).map_err(failed)?;
        progress.start("hash the file", file.metadata().ok().map(|metadata| metadata.len()));
        let digest = decode::hash_file(path, &file, progress, interrupt);
        progress.finish();
        digest
    }

    /// With a digest to come, an archive that makes no sense may just be another one.
    fn may_be_other_bytes(&self, error: &Error) -> bool {
        self.archive_sha256.is_some() && is_of_content(error)
    }

    fn unpack_failed(&self, source: io::Error) -> Error {
        Error::Unpack { path: self.shown().into(), source }
    }

    fn shown(&self) -> String {
        self.image.url_without_secrets()
    }
}

/// Does it lie in the bytes of the archive, and in nothing of ours?
fn is_of_content(error: &Error) -> bool {
    is_garbled(error)
        || matches!(error, Error::NotAnImage { .. } | Error::Unsupported { .. } | Error::TooLong { .. })
}

fn is_garbled(error: &Error) -> bool {
    matches!(error, Error::Corrupt { .. } | Error::Truncated { .. } | Error::Trailing { .. })
}

/// Keeps quiet about the unpacking while the download is shown, which goes at the same pace, and shows what is left of
/// it after.
struct Late<'p> {
    progress: &'p dyn Progress,
    state: Mutex<LateState>,
}

#[derive(Default)]
struct LateState {
    done_bytes: u64,
    is_shown: bool,
}

impl<'p> Late<'p> {
    fn new(progress: &'p dyn Progress) -> Self {
        Self { progress, state: Mutex::default() }
    }

    fn show(&self, what: &str, total_bytes: u64) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.done_bytes < total_bytes {
            self.progress.start(what, Some(total_bytes));
            self.progress.advance(state.done_bytes);
            state.is_shown = true;
        }
    }

    fn hide(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if std::mem::take(&mut state.is_shown) {
            self.progress.finish();
        }
    }
}

impl Progress for Late<'_> {
    fn start(&self, _what: &str, _total_bytes: Option<u64>) {}

    fn advance(&self, bytes: u64) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.done_bytes = state.done_bytes.saturating_add(bytes);
        if state.is_shown {
            self.progress.advance(bytes);
        }
    }

    fn finish(&self) {}
}

#[cfg(test)]
mod tests;
