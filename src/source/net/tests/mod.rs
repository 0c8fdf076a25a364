//! The client against a server that misbehaves.

mod documents;
mod downloads;
mod resumed;
mod spoilt;

use std::fs;
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Duration;

use super::download::Downloaded;
use super::partial::Known;
use super::*;
use crate::base::{Interrupt, Progress};
use crate::source::arrival::{Arrival, Next};
use crate::source::server::{self, Reply, Server};

const TAG: &str = "\"one\"";
const DATE: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
const FILE: &str = "/os/image.img.xz";
/// Odd, and more than one piece on any way.
const LEN: usize = 200_003;

/// Patient with a slow machine, impatient with waits.
pub(in crate::source) fn quick() -> Patience {
    Patience {
        connect: Duration::from_secs(20),
        stall: Duration::from_secs(20),
        tries: 4,
        first_wait: Duration::from_millis(1),
        longest_wait: Duration::from_millis(4),
    }
}

/// The same, for a server that falls silent.
fn hasty() -> Patience {
    Patience { stall: Duration::from_secs(1), ..quick() }
}

/// Bytes that look like nothing, another file for each seed.
fn data(len: usize, seed: u64) -> Vec<u8> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    (0..len).map(|_| next()).collect()
}

/// Writes down what the user sees.
#[derive(Default)]
struct Seen(Mutex<Vec<Event>>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Event {
    Start(String, Option<u64>),
    Advance(u64),
    Finish,
    Note(String),
}

impl Progress for Seen {
    fn start(&self, what: &str, total_bytes: Option<u64>) {
        self.0.lock().unwrap().push(Event::Start(what.to_owned(), total_bytes));
    }
    fn advance(&self, bytes: u64) {
        let mut events = self.0.lock().unwrap();
        match events.last_mut() {
            Some(Event::Advance(sum)) => *sum += bytes,
            _ => events.push(Event::Advance(bytes)),
        }
    }
    fn finish(&self) {
        self.0.lock().unwrap().push(Event::Finish);
    }
    fn note(&self, text: &str) {
        self.0.lock().unwrap().push(Event::Note(text.to_owned()));
    }
}

impl Seen {
    fn events(&self) -> Vec<Event> {
        self.0.lock().unwrap().clone()
    }

    fn notes(&self) -> Vec<String> {
        let events = self.events().into_iter();
        events.filter_map(|event| if let Event::Note(text) = event { Some(text) } else { None }).collect()
    }
}

/// A server, a client, and a place for the file.
struct World {
    server: Server,
    client: Client,
    dir: tempfile::TempDir,
    seen: Seen,
    arrival: Arrival,
    interrupt: Interrupt,
}

impl World {
    fn new() -> Self {
        Self::with(quick())
    }

    fn with(patience: Patience) -> Self {
        Self {
            server: Server::start(),
            client: Client::new(patience, false).unwrap(),
            dir: tempfile::tempdir().unwrap(),
            seen: Seen::default(),
            arrival: Arrival::default(),
            interrupt: Interrupt::default(),
        }
    }

    /// A world in which the first `len` bytes of `body`, of `tag`, are there already.
    fn with_left_behind(body: &[u8], len: usize, tag: &str) -> Self {
        let world = Self::new();
        let known = Known {
            url: world.server.url(FILE),
            etag: Some(tag.to_owned()),
            validator: Some(tag.to_owned()),
            total_bytes: Some(body.len() as u64),
            ..Known::default()
        };
        let mut partial = partial::Partial::open(&world.path(), &world.server.url(FILE)).unwrap();
        partial.begin(known).unwrap();
        partial.append(&body[..len]).unwrap();
        world
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("image.part")
    }

    fn fetch(&self) -> Result<Downloaded, Error> {
        self.fetch_from(&self.server.url(FILE), None, u64::MAX)
    }

    fn fetch_from(&self, url: &str, len_bytes: Option<u64>, limit: u64) -> Result<Downloaded, Error> {
        let wanted = Wanted { url, len_bytes, limit };
        self.client.download(&wanted, &self.path(), &self.arrival, &self.seen, &self.interrupt)
    }

    /// Fetches, and looks at what came, and at what the reader was told.
    fn fetch_right(&self, body: &[u8]) -> Downloaded {
        let downloaded = self.fetch().unwrap();
        self.assert_right(body);
        assert_eq!(downloaded.len_bytes, body.len() as u64);
        downloaded
    }

    fn assert_right(&self, body: &[u8]) {
        assert!(fs::read(self.path()).unwrap() == body, "other bytes than those of the server");
        let round = self.arrival.round();
        let len = body.len() as u64;
        let wait = |offset| self.arrival.wait(offset, round, &Interrupt::default()).unwrap();
        assert_eq!(wait(len), Next::End);
        if len > 0 {
            assert_eq!(wait(len - 1), Next::Until(len));
        }
    }

    fn requests(&self) -> Vec<server::Request> {
        self.server.requests(FILE)
    }

    /// What each request asked for.
    fn ranges(&self) -> Vec<Option<String>> {
        self.requests().into_iter().map(|request| request.range).collect()
    }

    fn left(&self) -> Vec<u8> {
        fs::read(self.path()).unwrap_or_default()
    }

    /// What is left of a file that could not be had is nothing, or the beginning of one of `files`, and its record
    /// says of which. And the reader waits no more.
    fn assert_sound(&self, files: &[(&str, &[u8])]) {
        self.assert_reader_failed();
        let left = self.left();
        if left.is_empty() {
            return;
        }
        let record: Known = serde_json::from_slice(&fs::read(record_path(&self.path())).unwrap()).unwrap();
        assert_eq!(record.url, self.server.url(FILE));
        let Some(validator) = record.validator else { return };
        let (_, body) = files.iter().find(|(tag, _)| *tag == validator).unwrap();
        assert!(body.starts_with(&left), "{} bytes are not the beginning of {validator}", left.len());
    }

    fn assert_reader_failed(&self) {
        let round = self.arrival.round();
        assert_eq!(self.arrival.wait(u64::MAX, round, &Interrupt::default()), Ok(Next::Failed));
    }

    /// Mends the server, and fetches the rest as the next run would.
    fn assert_heals(&self, body: &[u8], tag: &str) -> Downloaded {
        self.server.serve(FILE, Reply::file(body).tag(tag));
        let fresh = Arrival::default();
        let url = self.server.url(FILE);
        let wanted = Wanted { url: &url, len_bytes: Some(body.len() as u64), limit: u64::MAX };
        let downloaded =
            self.client.download(&wanted, &self.path(), &fresh, &self.seen, &Interrupt::default()).unwrap();
        assert!(self.left() == body, "other bytes than those of the server");
        downloaded
    }
}
