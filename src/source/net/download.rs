//! A large file, until it is whole: resumed where the server agrees, begun again where it does not.
//!
//! ```text
//! nothing there ── GET ──────────────▶ 200 ─ begin ─▶ append … ─▶ whole
//! N bytes there ── GET Range: N- ──┬─▶ 206 ─────────▶ append … ─▶ whole
//!                  If-Range        ├─▶ 200 ─ begin ─▶ append … ─▶ whole      changed, or no ranges there
//!                                  └─▶ 416 ─ of N bytes ─────────▶ whole
//! ```
//!
//! Anything else between the two is a try in vain. What is there is given up only when an answer is at hand that
//! begins the file again: an error page, a wrong length or a dead server destroy nothing.

use std::path::Path;

use reqwest::StatusCode;
use reqwest::header::{HeaderName, IF_RANGE, RANGE};

use super::address::name_of;
use super::client::{Answer, Session};
use super::error::{Error, Failure, Trouble};
use super::header::{self, ContentRange};
use super::partial::{Known, Partial};
use super::retry::Retry;
use crate::base::Progress;
use crate::source::arrival::Arrival;

/// A file to fetch.
#[derive(Clone, Debug)]
pub(in crate::source) struct Wanted<'w> {
    /// Where it is.
    pub(in crate::source) url: &'w str,
    /// What the catalogue or the lock says; another length is an error.
    pub(in crate::source) len_bytes: Option<u64>,
    /// No more than this, whatever anyone says.
    pub(in crate::source) limit: u64,
}

/// A file that is whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::source) struct Downloaded {
    pub(in crate::source) len_bytes: u64,
    /// What came over the wire in this call, what was thrown away again included.
    pub(in crate::source) fetched_bytes: u64,
    pub(in crate::source) etag: Option<String>,
    pub(in crate::source) last_modified: Option<String>,
    /// How much of it an earlier call had fetched.
    pub(in crate::source) resumed_from: u64,
}

pub(super) fn fetch(
    session: &Session<'_>,
    wanted: &Wanted<'_>,
    path: &Path,
    arrival: &Arrival,
) -> Result<Downloaded, Error> {
    let partial = Partial::open(path, &session.shown)?;
    let resumed_from = partial.len_bytes();
    if resumed_from > 0 {
        arrival.reached(resumed_from);
    }
    let bar = Bar {
        progress: session.progress,
        what: format!("download {}", name_of(&session.url)),
        started: false,
    };
    let mut job = Job {
        session,
        wanted,
        arrival,
        bar,
        partial,
        fetched_bytes: 0,
        resumed_from,
        furthest: resumed_from,
        restarts: 0,
    };
    let mut retry = Retry::new(session.patience, &session.shown, session.progress, session.interrupt);
    loop {
        let (trouble, after) = match job.fetch_once() {
            Ok(()) => return Ok(job.downloaded()),
            Err(Failure::Final(error)) => return Err(error),
            Err(Failure::Again { trouble, after }) => (trouble, after),
        };
        // Bytes that were there before are no progress, or a server could keep us busy for ever.
        if job.partial.len_bytes() > job.furthest {
            job.furthest = job.partial.len_bytes();
            retry.advanced();
        }
        if job.restarts > session.patience.tries {
            return Err(retry.gave_up(trouble));
        }
        retry.wait(trouble, after)?;
    }
}

/// One file under way.
struct Job<'j> {
    session: &'j Session<'j>,
    wanted: &'j Wanted<'j>,
    arrival: &'j Arrival,
    bar: Bar<'j>,
    partial: Partial,
    fetched_bytes: u64,
    resumed_from: u64,
    /// As far as the file ever got.
    furthest: u64,
    /// How often bytes were thrown away.
    restarts: u32,
}

impl Job<'_> {
    fn fetch_once(&mut self) -> Result<(), Failure> {
        let from = self.partial.len_bytes();
        let range = format!("bytes={from}-");
        let mut headers: Vec<(HeaderName, &str)> = Vec::new();
        if let Some(validator) = self.partial.known().validator.as_deref().filter(|_| from > 0) {
            headers.extend([(RANGE, range.as_str()), (IF_RANGE, validator)]);
        }
        let asked_for_rest = !headers.is_empty();
        let session = self.session;
        let answer = session.get(&headers)?;
        match answer.status() {
            StatusCode::OK => self.take_whole(answer),
            StatusCode::PARTIAL_CONTENT if asked_for_rest => self.take_rest(answer),
            StatusCode::RANGE_NOT_SATISFIABLE if asked_for_rest => self.take_nothing(&answer),
            _ => Err(answer.refused()),
        }
    }

    /// The file from its start.
    fn take_whole(&mut self, mut answer: Answer<'_>) -> Result<(), Failure> {
        if answer.is_web_page_type() {
            return Err(answer.web_page());
        }
        let total_bytes = answer.body_len();
        self.check_total(total_bytes)?;
        let head = self.take_head(&mut answer)?;
        if header::is_web_page(&head) == Some(true) {
            return Err(answer.web_page());
        }
        if self.partial.len_bytes() > 0 {
            self.restarts += 1;
            self.empty()?;
        }
        self.partial.begin(Known {
            url: self.session.shown.clone(),
            etag: answer.etag().map(str::to_owned),
            last_modified: answer.last_modified().map(str::to_owned),
            validator: answer.validator(),
            total_bytes,
        })?;
        self.bar.start(total_bytes.or(self.wanted.len_bytes), 0);
        self.append(&head)?;
        self.take_body(answer, total_bytes, None)
    }

    /// As much of the body as tells a web page from a file; that is the first piece, if it is not all white space.
    fn take_head(&mut self, answer: &mut Answer<'_>) -> Result<Vec<u8>, Failure> {
        let mut head = Vec::new();
        while header::is_web_page(&head).is_none() {
            let Some(piece) = answer.next()? else { break };
            self.fetched_bytes += piece.len() as u64;
            head.extend_from_slice(&piece);
        }
        Ok(head)
    }

    /// What is missing of the file.
    fn take_rest(&mut self, answer: Answer<'_>) -> Result<(), Failure> {
        let from = self.partial.len_bytes();
        let (end, total_bytes) = match self.check_rest(&answer, from) {
            Ok(range) => range,
            Err(trouble) => {
                self.partial.give_up_resuming();
                return Err(trouble.into());
            }
        };
        let total_bytes = total_bytes.or(self.partial.known().total_bytes);
        self.check_total(total_bytes)?;
        if let Some(total_bytes) = total_bytes {
            self.partial.set_total(total_bytes);
        }
        if !self.bar.started {
            self.bar.start(total_bytes.or(self.wanted.len_bytes), from);
        }
        self.take_body(answer, total_bytes, Some(end))
    }

    /// Is it the rest that was asked for, of the file that was asked for? Where it ends, and the whole file, if said.
    fn check_rest(&self, answer: &Answer<'_>, from: u64) -> Result<(u64, Option<u64>), Trouble> {
        let odd = |found: &str| Trouble::Range { offset: from, found: found.to_owned() };
        let Some(ContentRange::Part { first, last, total_bytes }) = answer.content_range() else {
            return Err(odd("a part that is not named"));
        };
        if first != from {
            return Err(odd(&format!("a part from offset {first}")));
        }
        let end = last.checked_add(1).ok_or_else(|| odd("a part without end"))?;
        if answer.body_len().is_some_and(|len| len != end - from) {
            return Err(odd("a part of another length than its name says"));
        }
        let known = self.partial.known();
        let totals = known.total_bytes.zip(total_bytes);
        if self.is_other_file(answer) || totals.is_some_and(|(known, found)| known != found) {
            return Err(Trouble::Changed);
        }
        Ok((end, total_bytes))
    }

    /// Some servers send the rest of whatever they have.
    fn is_other_file(&self, answer: &Answer<'_>) -> bool {
        let known = self.partial.known();
        match (
            known.etag.as_deref().zip(answer.etag()),
            known.last_modified.as_deref().zip(answer.last_modified()),
        ) {
            (Some((known, found)), _) | (None, Some((known, found))) => known != found,
            (None, None) => false,
        }
    }

    /// There is nothing behind what we have: either that is all, or it is another file.
    fn take_nothing(&mut self, answer: &Answer<'_>) -> Result<(), Failure> {
        let len_bytes = self.partial.len_bytes();
        let all = ContentRange::None { total_bytes: len_bytes };
        let is_known = self.partial.known().total_bytes.is_none_or(|total| total == len_bytes);
        if answer.content_range() == Some(all) && is_known && !self.is_other_file(answer) {
            self.check_total(Some(len_bytes))?;
            if !self.bar.started {
                self.bar.start(Some(len_bytes), len_bytes);
            }
            return Ok(());
        }
        self.partial.give_up_resuming();
        Err(Trouble::Changed.into())
    }

    /// Takes a body to its end, which is that of the file, or before it when only a part up to `end` was promised.
    fn take_body(
        &mut self,
        mut answer: Answer<'_>,
        total_bytes: Option<u64>,
        end: Option<u64>,
    ) -> Result<(), Failure> {
        while let Some(piece) = answer.next()? {
            let len = piece.len() as u64;
            self.fetched_bytes += len;
            let offset = self.partial.len_bytes();
            if end.is_some_and(|end| len > end.saturating_sub(offset)) {
                self.partial.give_up_resuming();
                return Err(Trouble::Range { offset, found: "more than it promised".to_owned() }.into());
            }
            self.append(&piece)?;
        }
        let found_bytes = self.partial.len_bytes();
        match total_bytes.or(end).or(self.wanted.len_bytes) {
            Some(wanted_bytes) if found_bytes < wanted_bytes => {
                if total_bytes.is_none() && answer.marks_end() {
                    return Err(self.wrong_length(found_bytes, false));
                }
                Err(Trouble::Truncated { found_bytes, wanted_bytes }.into())
            }
            _ => Ok(()),
        }
    }

    /// Takes some more bytes, unless they are too many.
    fn append(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        let len_bytes = self.partial.len_bytes().saturating_add(bytes.len() as u64);
        if let Err(error) = self.check_len(len_bytes, true) {
            // Nobody goes on with this one.
            self.empty()?;
            return Err(error);
        }
        self.partial.append(bytes)?;
        self.arrival.reached(len_bytes);
        self.bar.progress.advance(bytes.len() as u64);
        Ok(())
    }

    /// Compares what the server says of the whole length with what may be.
    fn check_total(&self, total_bytes: Option<u64>) -> Result<(), Failure> {
        let Some(found_bytes) = total_bytes else { return Ok(()) };
        self.check_len(found_bytes, false)?;
        match self.wanted.len_bytes {
            Some(wanted_bytes) if wanted_bytes != found_bytes => Err(self.wrong_length(found_bytes, false)),
            _ => Ok(()),
        }
    }

    fn check_len(&self, len_bytes: u64, or_more: bool) -> Result<(), Failure> {
        if self.wanted.len_bytes.is_some_and(|wanted_bytes| len_bytes > wanted_bytes) {
            return Err(self.wrong_length(len_bytes, or_more));
        }
        if len_bytes > self.wanted.limit {
            let url = self.session.shown.clone();
            return Err(Error::TooLong { url, limit: self.wanted.limit }.into());
        }
        Ok(())
    }

    fn wrong_length(&self, found_bytes: u64, or_more: bool) -> Failure {
        let wanted_bytes = self.wanted.len_bytes.unwrap_or_default();
        Error::Length { url: self.session.shown.clone(), found_bytes, or_more, wanted_bytes }.into()
    }

    /// Begins again: first the news, then the file, so that no reader takes the end of the emptied file for the end.
    fn empty(&mut self) -> Result<(), Error> {
        self.arrival.restarted();
        self.resumed_from = 0;
        self.partial.empty()
    }

    fn downloaded(self) -> Downloaded {
        let known = self.partial.known();
        Downloaded {
            len_bytes: self.partial.len_bytes(),
            fetched_bytes: self.fetched_bytes,
            etag: known.etag.clone(),
            last_modified: known.last_modified.clone(),
            resumed_from: self.resumed_from,
        }
    }
}

/// What the user sees of it; over when dropped.
struct Bar<'b> {
    progress: &'b dyn Progress,
    what: String,
    started: bool,
}

impl Bar<'_> {
    fn start(&mut self, total_bytes: Option<u64>, there_bytes: u64) {
        self.finish();
        self.progress.start(&self.what, total_bytes);
        self.progress.advance(there_bytes);
        self.started = true;
    }

    fn finish(&mut self) {
        if self.started {
            self.progress.finish();
        }
        self.started = false;
    }
}

impl Drop for Bar<'_> {
    fn drop(&mut self) {
        self.finish();
    }
}
