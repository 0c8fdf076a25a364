//! One request: connects, waits with one eye on Ctrl-C, follows redirects, hands out the body piece by piece.

use std::future::Future;
use std::io;
use std::ops::Deref;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use reqwest::header::{
    ACCEPT_ENCODING, CONTENT_RANGE, CONTENT_TYPE, DATE, ETAG, HeaderMap, HeaderName, HeaderValue,
    LAST_MODIFIED, RETRY_AFTER, TRANSFER_ENCODING,
};
use reqwest::{StatusCode, Url};
use tokio::runtime::{Builder, Runtime};

use super::address::{address, is_this_machine, shown};
use super::document::{self, Document};
use super::download::{self, Downloaded, Wanted};
use super::error::{Error, Failure, Trouble};
use super::header::{self, ContentRange};
use super::redirect::{self, Refusal};
use super::retry;
use crate::base::{Interrupt, Progress};
use crate::source::arrival::Arrival;

/// Between two looks at whether the user asked to stop.
const TICK: Duration = Duration::from_millis(100);
/// Entity tags and dates are kept in a record; nobody's are longer.
const HEADER_LEN_MAX: usize = 1024;

/// How patient a client is; tests make it small.
#[derive(Clone, Debug)]
pub struct Patience {
    /// For a connection, name look-up and TLS included.
    pub connect: Duration,
    /// For the next byte.
    pub stall: Duration,
    /// Tries in a row without progress.
    pub tries: u32,
    /// After the first of them. Twice as long after each further one.
    pub first_wait: Duration,
    /// No wait of ours is longer; the server's `Retry-After` may be, up to ten minutes.
    pub longest_wait: Duration,
}

impl Default for Patience {
    /// About three minutes of silence in all, long enough for a router to come back.
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(30),
            stall: Duration::from_secs(30),
            tries: 8,
            first_wait: Duration::from_secs(1),
            longest_wait: Duration::from_secs(60),
        }
    }
}

/// Fetches things. The proxy variables (`HTTPS_PROXY`, `NO_PROXY`, …) and the system's certificates are respected;
/// this machine itself is never asked by way of a proxy.
#[derive(Debug)]
pub struct Client {
    pub(super) patience: Patience,
    /// `None` when the network is off.
    runtime: Option<Runtime>,
}

impl Client {
    /// A client; `offline`, every request is [`Error::Offline`].
    ///
    /// # Errors
    /// [`Error::Setup`].
    pub fn new(patience: Patience, offline: bool) -> Result<Self, Error> {
        // An error only says that there is one already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let runtime = if offline { None } else { Some(Builder::new_current_thread().enable_all().build()) };
        let runtime = runtime.transpose().map_err(|error| Error::Setup { reason: error.to_string() })?;
        Ok(Self { patience, runtime })
    }

    /// Is the network off?
    #[must_use]
    pub fn is_offline(&self) -> bool {
        self.runtime.is_none()
    }

    /// Does the file at `url` still have this entity tag? Of one that has not, no more than its head is waited for.
    ///
    /// # Errors
    /// Any but those of files and lengths.
    pub(in crate::source) fn is_unchanged(
        &self,
        url: &str,
        etag: &str,
        progress: &dyn Progress,
        interrupt: &Interrupt,
    ) -> Result<bool, Error> {
        document::is_unchanged(&self.session(url, progress, interrupt)?, etag)
    }

    /// Fetches a small document, whole in memory. With the `etag` it had, it may be [`Document::Unchanged`].
    ///
    /// # Errors
    /// [`Error::TooLong`] past `max_len_bytes`; any but those of files and of announced lengths.
    pub(in crate::source) fn document(
        &self,
        url: &str,
        etag: Option<&str>,
        max_len_bytes: u64,
        progress: &dyn Progress,
        interrupt: &Interrupt,
    ) -> Result<Document, Error> {
        document::fetch(&self.session(url, progress, interrupt)?, etag, max_len_bytes)
    }

    /// Fetches a file: appends to the partial file at `path` until it is whole, going on with what is there when the
    /// server says that it is still the same file. Beside it, at [`super::record_path`], is what is known of it.
    ///
    /// `arrival` hears how much is there, from the first on what an earlier run left; that it is whole; and, when
    /// this fails for any reason, that no more will come: the caller need not tell.
    ///
    /// No other process may use `path` meanwhile. Both files stay when it is done, not synced, and when it failed:
    /// then for the next run. A file that proved too long is emptied.
    ///
    /// # Errors
    /// Any [`Error`].
    pub(in crate::source) fn download(
        &self,
        wanted: &Wanted<'_>,
        path: &Path,
        arrival: &Arrival,
        progress: &dyn Progress,
        interrupt: &Interrupt,
    ) -> Result<Downloaded, Error> {
        let mut ending = Ending { arrival, is_whole: false };
        let session = self.session(wanted.url, progress, interrupt)?;
        let downloaded = download::fetch(&session, wanted, path, arrival)?;
        ending.is_whole = true;
        Ok(downloaded)
    }

    fn session<'s>(
        &'s self,
        url: &str,
        progress: &'s dyn Progress,
        interrupt: &'s Interrupt,
    ) -> Result<Session<'s>, Error> {
        let url = address(url)?;
        let Some(runtime) = &self.runtime else { return Err(Error::Offline { url: shown(&url) }) };
        let mut agent = reqwest::Client::builder()
            .user_agent(concat!("cardpress/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(self.patience.connect)
            .redirect(redirect::policy())
            .referer(false)
            .retry(reqwest::retry::never())
            .pool_max_idle_per_host(0);
        if is_this_machine(&url) {
            agent = agent.no_proxy();
        }
        let agent = agent.build().map_err(|error| Error::Setup { reason: root_cause(&error) })?;
        Ok(Session { shown: shown(&url), url, agent, runtime, patience: &self.patience, progress, interrupt })
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        // A look-up of a name cannot be called back. Nobody waits for it.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Tells the reader when a download is over, however that comes about.
struct Ending<'a> {
    arrival: &'a Arrival,
    is_whole: bool,
}

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        if self.is_whole { self.arrival.ended() } else { self.arrival.failed() }
    }
}

/// What is below an error. An I/O error would pass over the one it wraps.
fn cause<'e>(error: &'e (dyn std::error::Error + 'static)) -> Option<&'e (dyn std::error::Error + 'static)> {
    match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
        Some(wrapped) => Some(wrapped),
        None => error.source(),
    }
}

fn causes(error: &reqwest::Error) -> impl Iterator<Item = &(dyn std::error::Error + 'static)> {
    std::iter::successors(Some(error as &(dyn std::error::Error + 'static)), |&error| cause(error))
}

/// The bottom of the chain: the layers above say only who was told.
fn root_cause(error: &reqwest::Error) -> String {
    causes(error).last().map(ToString::to_string).unwrap_or_default()
}

/// All requests for one address.
pub(super) struct Session<'s> {
    pub(super) url: Url,
    pub(super) shown: String,
    pub(super) patience: &'s Patience,
    pub(super) progress: &'s dyn Progress,
    pub(super) interrupt: &'s Interrupt,
    agent: reqwest::Client,
    runtime: &'s Runtime,
}

impl Session<'_> {
    /// Asks once, and waits for the head of the answer.
    pub(super) fn get(&self, headers: &[(HeaderName, &str)]) -> Result<Answer<'_>, Failure> {
        let mut all = HeaderMap::new();
        all.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        for (name, value) in headers {
            let value = HeaderValue::from_str(value);
            all.insert(name, value.map_err(|error| Error::Setup { reason: error.to_string() })?);
        }
        let request = self.agent.get(self.url.clone()).headers(all).send();
        let patience = self.patience.connect.saturating_add(self.patience.stall);
        let began = Instant::now();
        match self.wait(request, patience)? {
            Ok(response) => {
                let status = response.status();
                log::debug!("GET {}: {status} after {:?}", self.shown, began.elapsed());
                Ok(Answer { session: self, response })
            }
            Err(error) => Err(self.judge(&error)),
        }
    }

    /// Runs until there is an outcome, for so long at most, and not past Ctrl-C.
    fn wait<F: Future>(&self, future: F, patience: Duration) -> Result<F::Output, Failure> {
        let begin = Instant::now();
        self.runtime.block_on(async {
            let mut future = std::pin::pin!(future);
            loop {
                self.interrupt.check()?;
                if let Ok(outcome) = tokio::time::timeout(TICK.min(patience), &mut future).await {
                    return Ok(outcome);
                }
                if begin.elapsed() >= patience {
                    return Err(Trouble::Stalled(patience).into());
                }
            }
        })
    }

    /// What it means that there was no answer.
    fn judge(&self, error: &reqwest::Error) -> Failure {
        let url = self.shown.clone();
        let reason = root_cause(error);
        if causes(error).any(|cause| cause.is::<Refusal>()) {
            return Error::Redirect { url, reason }.into();
        }
        if error.is_builder() {
            return Error::Address { url, reason }.into();
        }
        if !error.is_connect() {
            return Trouble::Broken(reason).into();
        }
        // This is how rustls says that it did not like what it was told.
        let is_tls = causes(error).any(|cause| {
            cause.downcast_ref::<io::Error>().is_some_and(|cause| cause.kind() == io::ErrorKind::InvalidData)
        });
        if is_tls { Error::Tls { url, reason }.into() } else { Trouble::Unreachable(reason).into() }
    }
}

/// An answer, its head read and its body to come.
pub(super) struct Answer<'s> {
    session: &'s Session<'s>,
    response: reqwest::Response,
}

impl Answer<'_> {
    pub(super) fn status(&self) -> StatusCode {
        self.response.status()
    }

    /// Who answered, after redirects.
    pub(super) fn url(&self) -> String {
        shown(self.response.url())
    }

    /// The length of the body, where it was said.
    pub(super) fn body_len(&self) -> Option<u64> {
        self.response.content_length()
    }

    /// Does the body mark its own end? The end of the connection may be an accident.
    pub(super) fn marks_end(&self) -> bool {
        self.body_len().is_some() || self.response.headers().contains_key(TRANSFER_ENCODING)
    }

    pub(super) fn etag(&self) -> Option<&str> {
        self.header(&ETAG)
    }

    pub(super) fn last_modified(&self) -> Option<&str> {
        self.header(&LAST_MODIFIED)
    }

    /// What says for certain that the file is still the same.
    pub(super) fn validator(&self) -> Option<String> {
        header::validator(self.etag(), self.last_modified(), self.header(&DATE))
    }

    pub(super) fn content_range(&self) -> Option<ContentRange> {
        self.header(&CONTENT_RANGE).and_then(header::content_range)
    }

    pub(super) fn is_web_page_type(&self) -> bool {
        self.header(&CONTENT_TYPE).is_some_and(header::is_web_page_type)
    }

    fn header(&self, name: &HeaderName) -> Option<&str> {
        let value = self.response.headers().get(name)?.to_str().ok()?;
        (value.len() <= HEADER_LEN_MAX).then_some(value)
    }

    /// The next piece of the body; `None` at its end.
    pub(super) fn next(&mut self) -> Result<Option<impl Deref<Target = [u8]> + use<>>, Failure> {
        let session = self.session;
        let piece = session.wait(self.response.chunk(), session.patience.stall)?;
        piece.map_err(|error| Trouble::Broken(root_cause(&error)).into())
    }

    /// An answer that brings nothing: is it worth asking again?
    pub(super) fn refused(&self) -> Failure {
        let (url, status) = (self.url(), self.status().to_string());
        if !retry::is_passing(self.status()) {
            return Error::Status { url, status }.into();
        }
        let after = self
            .header(&RETRY_AFTER)
            .and_then(|text| header::retry_after(text, self.header(&DATE), SystemTime::now()));
        match after {
            Some(wait) if wait > retry::RETRY_AFTER_MAX => {
                Error::Later { url, status, wait, wait_max: retry::RETRY_AFTER_MAX }.into()
            }
            after => Failure::Again { trouble: Trouble::Busy(status), after },
        }
    }

    pub(super) fn web_page(&self) -> Failure {
        Error::WebPage { url: self.url() }.into()
    }
}
