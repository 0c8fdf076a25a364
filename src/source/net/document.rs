//! A small document, whole in memory.

use reqwest::StatusCode;
use reqwest::header::{HeaderName, IF_NONE_MATCH};

use super::client::Session;
use super::error::{Error, Failure};
use super::header;
use super::retry::Retry;

/// What became of a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Document {
    /// It has the entity tag that was given.
    Unchanged,
    /// It is this.
    Fresh {
        /// All of it.
        bytes: Vec<u8>,
        /// Its entity tag, for the next time.
        etag: Option<String>,
    },
}

pub(super) fn fetch(
    session: &Session<'_>,
    etag: Option<&str>,
    max_len_bytes: u64,
) -> Result<Document, Error> {
    until_settled(session, || fetch_once(session, etag, max_len_bytes))
}

/// Asks for the file only if it is another one by now, and hangs up after the head of the answer.
pub(super) fn is_unchanged(session: &Session<'_>, etag: &str) -> Result<bool, Error> {
    until_settled(session, || {
        let answer = session.get(&[(IF_NONE_MATCH, etag)])?;
        match answer.status() {
            StatusCode::NOT_MODIFIED => Ok(true),
            StatusCode::OK => Ok(answer.etag() == Some(etag)),
            _ => Err(answer.refused()),
        }
    })
}

/// Asks until there is an answer that another try would not change.
fn until_settled<T>(session: &Session<'_>, mut ask: impl FnMut() -> Result<T, Failure>) -> Result<T, Error> {
    let mut retry = Retry::new(session.patience, &session.shown, session.progress, session.interrupt);
    loop {
        match ask() {
            Ok(answer) => return Ok(answer),
            Err(Failure::Final(error)) => return Err(error),
            Err(Failure::Again { trouble, after }) => retry.wait(trouble, after)?,
        }
    }
}

fn fetch_once(session: &Session<'_>, etag: Option<&str>, max_len_bytes: u64) -> Result<Document, Failure> {
    let headers: Vec<(HeaderName, &str)> = etag.map(|etag| (IF_NONE_MATCH, etag)).into_iter().collect();
    let mut answer = session.get(&headers)?;
    match answer.status() {
        StatusCode::OK => {}
        StatusCode::NOT_MODIFIED if etag.is_some() => return Ok(Document::Unchanged),
        _ => return Err(answer.refused()),
    }
    let too_long = || Failure::from(Error::TooLong { url: session.shown.clone(), limit: max_len_bytes });
    if answer.body_len().is_some_and(|len| len > max_len_bytes) {
        return Err(too_long());
    }
    let mut bytes = Vec::new();
    while let Some(piece) = answer.next()? {
        if bytes.len().saturating_add(piece.len()) as u64 > max_len_bytes {
            return Err(too_long());
        }
        bytes.extend_from_slice(&piece);
    }
    if header::is_web_page(&bytes) == Some(true) {
        return Err(answer.web_page());
    }
    Ok(Document::Fresh { bytes, etag: answer.etag().map(str::to_owned) })
}
