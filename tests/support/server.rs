//! A web server on this machine that misbehaves on demand, and keeps a log.
//!
//! For each path there is a function from the number of the request, counted from zero, and the request to a
//! [`Reply`]. One thread and one request per connection. Also part of the unit tests of `source::net`, by its path.
//!
//! ```text
//! let server = Server::start();
//! server.script("/a.img.xz", [Reply::file(&bytes).tag("\"1\"").resets_after(1000), Reply::file(&bytes).tag("\"1\"")]);
//! … ask for server.url("/a.img.xz") …
//! assert_eq!(server.requests("/a.img.xz")[1].range.as_deref(), Some("bytes=1000-"));
//! ```
#![allow(dead_code, reason = "the two crates that include it use different halves")]

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// No client of ours asks in more bytes.
const REQUEST_LEN_MAX: usize = 16 << 10;
/// No connection lives longer, whatever a test forgot.
const LIFE_MAX: Duration = Duration::from_secs(60);
/// What is handed to the system at once.
const PIECE_LEN: usize = 64 << 10;

/// A request, as it was logged.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) path: String,
    pub(crate) range: Option<String>,
    pub(crate) if_range: Option<String>,
    pub(crate) if_none_match: Option<String>,
    /// All header fields, names in small letters.
    pub(crate) headers: Vec<(String, String)>,
    /// How many bytes of a body were handed to the system in answer; after a reset not all of them arrive.
    pub(crate) sent_bytes: u64,
}

impl Request {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }
}

/// How the end of a body is marked.
#[derive(Clone, Copy, Debug)]
enum Framing {
    /// By a `Content-Length`, true or not.
    Length(Option<u64>),
    /// By chunks.
    Chunked,
    /// By the end of the connection.
    Close,
}

/// What happens after some bytes of the body.
#[derive(Clone, Copy, Debug)]
enum Accident {
    /// The connection is reset.
    Reset,
    /// It is closed in good order.
    Close,
    /// Nothing ever comes again.
    Silence,
}

/// An answer. Made by [`Reply::file`] and the like, spoilt by the methods.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    status: u16,
    body: Arc<[u8]>,
    tag: Option<String>,
    modified: Option<String>,
    headers: Vec<(String, String)>,
    takes_ranges: bool,
    takes_if_range: bool,
    content_range: Option<String>,
    framing: Framing,
    accident: Option<(usize, Accident)>,
    drip: Option<(usize, Duration)>,
    before_head: Option<Accident>,
}

impl Reply {
    /// A file, served as it should be, ranges included.
    pub(crate) fn file(body: &[u8]) -> Self {
        Self { takes_ranges: true, takes_if_range: true, ..Self::status(200).body(body) }
    }

    /// A number and a word of explanation.
    pub(crate) fn status(status: u16) -> Self {
        Self {
            status,
            body: Arc::from(format!("this is {status}\n").into_bytes()),
            tag: None,
            modified: None,
            headers: Vec::new(),
            takes_ranges: false,
            takes_if_range: false,
            content_range: None,
            framing: Framing::Length(None),
            accident: None,
            drip: None,
            before_head: None,
        }
    }

    /// Go elsewhere.
    pub(crate) fn redirect(location: &str) -> Self {
        Self::status(302).header("Location", location)
    }

    /// A web page where a file should be, and no sign of trouble.
    pub(crate) fn page() -> Self {
        Self::status(200)
            .body(b"<!DOCTYPE html>\n<html><body>Please log in</body></html>\n")
            .header("Content-Type", "text/html; charset=utf-8")
    }

    /// No answer at all: the connection is reset.
    pub(crate) fn nothing() -> Self {
        Self { before_head: Some(Accident::Reset), ..Self::status(200) }
    }

    /// No answer for ever.
    pub(crate) fn silence() -> Self {
        Self { before_head: Some(Accident::Silence), ..Self::status(200) }
    }

    pub(crate) fn body(mut self, body: &[u8]) -> Self {
        self.body = Arc::from(body);
        self
    }

    /// The entity tag, with its quotes.
    pub(crate) fn tag(mut self, tag: &str) -> Self {
        self.tag = Some(tag.to_owned());
        self
    }

    /// The date of the last change.
    pub(crate) fn modified(mut self, date: &str) -> Self {
        self.modified = Some(date.to_owned());
        self
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Always the whole file.
    pub(crate) fn ignores_range(mut self) -> Self {
        self.takes_ranges = false;
        self
    }

    /// The rest of the file there is, asked for or not.
    pub(crate) fn ignores_if_range(mut self) -> Self {
        self.takes_if_range = false;
        self
    }

    /// Another `Content-Range` than the true one.
    pub(crate) fn content_range(mut self, text: &str) -> Self {
        self.content_range = Some(text.to_owned());
        self
    }

    /// Another `Content-Length` than the true one. A longer body is not cut to it.
    pub(crate) fn claims(mut self, len_bytes: u64) -> Self {
        self.framing = Framing::Length(Some(len_bytes));
        self
    }

    pub(crate) fn chunked(mut self) -> Self {
        self.framing = Framing::Chunked;
        self
    }

    /// Neither length nor chunks: the end of the connection is the end of the body.
    pub(crate) fn until_close(mut self) -> Self {
        self.framing = Framing::Close;
        self
    }

    pub(crate) fn resets_after(mut self, len_bytes: usize) -> Self {
        self.accident = Some((len_bytes, Accident::Reset));
        self
    }

    pub(crate) fn closes_after(mut self, len_bytes: usize) -> Self {
        self.accident = Some((len_bytes, Accident::Close));
        self
    }

    pub(crate) fn falls_silent_after(mut self, len_bytes: usize) -> Self {
        self.accident = Some((len_bytes, Accident::Silence));
        self
    }

    /// A few bytes at a time, and a pause after each.
    pub(crate) fn drips(mut self, piece_bytes: usize, pause: Duration) -> Self {
        self.drip = Some((piece_bytes.max(1), pause));
        self
    }

    /// The part that answers this request, and the status and fields that go with it.
    fn cut_for(&self, request: &Request) -> (u16, usize, Vec<(String, String)>) {
        let total = self.body.len();
        let tags = request.if_none_match.as_deref();
        if self.status == 200 && tags.is_some() && tags == self.tag.as_deref() {
            return (304, total, Vec::new());
        }
        let valid = match request.if_range.as_deref().filter(|_| self.takes_if_range) {
            None => true,
            Some(validator) => [&self.tag, &self.modified].iter().any(|v| v.as_deref() == Some(validator)),
        };
        let from = request.range.as_deref().and_then(|range| range.strip_prefix("bytes="));
        let from = from.and_then(|range| range.strip_suffix('-')).and_then(|from| from.parse::<usize>().ok());
        let field = |truth: String| {
            let text = self.content_range.clone().unwrap_or(truth);
            vec![("Content-Range".to_owned(), text)]
        };
        match from.filter(|_| self.status == 200 && self.takes_ranges && valid) {
            None => (self.status, 0, Vec::new()),
            Some(from) if from >= total => (416, total, field(format!("bytes */{total}"))),
            Some(from) => (206, from, field(format!("bytes {from}-{}/{total}", total - 1))),
        }
    }
}

type Route = Box<dyn Fn(usize, &Request) -> Reply + Send>;

#[derive(Default)]
struct State {
    routes: Mutex<HashMap<String, Route>>,
    log: Mutex<Vec<Request>>,
    stopped: AtomicBool,
}

impl State {
    fn log(&self) -> MutexGuard<'_, Vec<Request>> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn routes(&self) -> MutexGuard<'_, HashMap<String, Route>> {
        self.routes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A running server; stopped when dropped.
pub(crate) struct Server {
    address: SocketAddr,
    state: Arc<State>,
    listener: Option<JoinHandle<()>>,
}

impl Server {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State::default());
        let shared = Arc::clone(&state);
        let listener = std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if shared.stopped.load(Ordering::Relaxed) {
                    return;
                }
                let state = Arc::clone(&shared);
                // The client may be gone at any time; that is its good right.
                std::thread::spawn(move || serve(stream, &state));
            }
        });
        Self { address, state, listener: Some(listener) }
    }

    /// The address of a path that begins with a slash; of all, for `""`.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// From now on answers requests for `path` by what `route` makes of the number of the request and the request.
    pub(crate) fn route(&self, path: &str, route: impl Fn(usize, &Request) -> Reply + Send + 'static) {
        self.state.routes().insert(path.to_owned(), Box::new(route));
    }

    /// From now on answers requests for `path` always so.
    pub(crate) fn serve(&self, path: &str, reply: Reply) {
        self.route(path, move |_, _| reply.clone());
    }

    /// Answers the first request for `path` by the first reply and so on, the last one again and again.
    pub(crate) fn script<const N: usize>(&self, path: &str, replies: [Reply; N]) {
        self.route(path, move |nth, _| replies[nth.min(N - 1)].clone());
    }

    /// The requests for `path` so far, in the order in which they came.
    pub(crate) fn requests(&self, path: &str) -> Vec<Request> {
        self.state.log().iter().filter(|request| request.path == path).cloned().collect()
    }

    /// All requests so far.
    pub(crate) fn all_requests(&self) -> Vec<Request> {
        self.state.log().clone()
    }

    /// The bytes of bodies sent for `path`.
    pub(crate) fn sent_bytes(&self, path: &str) -> u64 {
        self.requests(path).iter().map(|request| request.sent_bytes).sum()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.state.stopped.store(true, Ordering::Relaxed);
        // Wakes the listener.
        let _ = TcpStream::connect(self.address);
        if let Some(listener) = self.listener.take() {
            let _ = listener.join();
        }
    }
}

fn serve(mut stream: TcpStream, state: &State) {
    let born = Instant::now();
    let _ = stream.set_read_timeout(Some(Duration::from_secs(10)));
    let _ = stream.set_write_timeout(Some(Duration::from_secs(10)));
    let _ = stream.set_nodelay(true);
    let Ok(Some(request)) = read_request(&mut stream) else { return };
    let (place, nth) = {
        let mut log = state.log();
        let nth = log.iter().filter(|earlier| earlier.path == request.path).count();
        log.push(request.clone());
        (log.len() - 1, nth)
    };
    let reply = match state.routes().get(&request.path) {
        Some(route) => route(nth, &request),
        None => Reply::status(404),
    };
    let mut sending = Sending { stream, state, place, born };
    if let Ok(accident) = sending.send(&reply, &request) {
        sending.end(accident);
    }
}

/// Reads a request but for its last byte: a connection that is closed with a byte unread is reset, one that was read
/// to the end is closed in order.
fn read_request(stream: &mut TcpStream) -> io::Result<Option<Request>> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r") {
        if head.len() > REQUEST_LEN_MAX || stream.read(&mut byte)? == 0 {
            return Ok(None);
        }
        head.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let mut lines = head.split("\r\n");
    let path = lines.next().and_then(|line| line.split(' ').nth(1)).unwrap_or_default().to_owned();
    let fields = lines.filter_map(|line| line.split_once(':'));
    let headers = fields.map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned())).collect();
    let mut request = Request { path, headers, ..Request::default() };
    request.range = request.header("range").map(str::to_owned);
    request.if_range = request.header("if-range").map(str::to_owned);
    request.if_none_match = request.header("if-none-match").map(str::to_owned);
    Ok(Some(request))
}

/// An answer on its way.
struct Sending<'s> {
    stream: TcpStream,
    state: &'s State,
    /// Of the request, in the log.
    place: usize,
    born: Instant,
}

impl Sending<'_> {
    /// Sends all of it, or until the accident.
    fn send(&mut self, reply: &Reply, request: &Request) -> io::Result<Accident> {
        if let Some(accident) = reply.before_head {
            return Ok(accident);
        }
        let (status, from, mut fields) = reply.cut_for(request);
        let body = &reply.body[from..];
        fields.extend(reply.tag.iter().map(|tag| ("ETag".to_owned(), tag.clone())));
        fields.extend(reply.modified.iter().map(|date| ("Last-Modified".to_owned(), date.clone())));
        fields.extend(reply.headers.iter().cloned());
        fields.push(("Connection".to_owned(), "close".to_owned()));
        match reply.framing {
            _ if status == 304 => {}
            Framing::Length(claim) => {
                fields.push(("Content-Length".to_owned(), claim.unwrap_or(body.len() as u64).to_string()));
            }
            Framing::Chunked => fields.push(("Transfer-Encoding".to_owned(), "chunked".to_owned())),
            Framing::Close => {}
        }
        let mut head = format!("HTTP/1.1 {status} So\r\n");
        for (name, value) in fields {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        self.stream.write_all(head.as_bytes())?;

        let len = reply.accident.map_or(body.len(), |(len, _)| len.min(body.len()));
        let (piece_len, pause) = reply.drip.unwrap_or((PIECE_LEN, Duration::ZERO));
        for piece in body[..len].chunks(piece_len) {
            if self.born.elapsed() > LIFE_MAX || self.state.stopped.load(Ordering::Relaxed) {
                return Ok(Accident::Reset);
            }
            self.send_piece(piece, reply.framing)?;
            std::thread::sleep(pause);
        }
        match reply.accident {
            Some((_, accident)) => Ok(accident),
            None => {
                if matches!(reply.framing, Framing::Chunked) {
                    self.stream.write_all(b"0\r\n\r\n")?;
                }
                Ok(Accident::Close)
            }
        }
    }

    fn send_piece(&mut self, piece: &[u8], framing: Framing) -> io::Result<()> {
        let len = piece.len() as u64;
        // Counted first: who has the bytes finds them in the log.
        self.state.log()[self.place].sent_bytes += len;
        let sent = match framing {
            Framing::Chunked => {
                let mut chunk = format!("{len:x}\r\n").into_bytes();
                chunk.extend_from_slice(piece);
                chunk.extend_from_slice(b"\r\n");
                self.stream.write_all(&chunk)
            }
            _ => self.stream.write_all(piece),
        };
        if sent.is_err() {
            self.state.log()[self.place].sent_bytes -= len;
        }
        sent
    }

    fn end(mut self, accident: Accident) {
        match accident {
            // One byte of the request was left unread.
            Accident::Reset => {}
            Accident::Close => {
                let _ = self.stream.shutdown(Shutdown::Write);
                self.wait_for_client();
            }
            Accident::Silence => self.wait_for_client(),
        }
    }

    /// Reads, in vain, until the client hangs up.
    fn wait_for_client(&mut self) {
        let _ = self.stream.set_read_timeout(Some(Duration::from_millis(100)));
        let mut nowhere = [0; 512];
        while self.born.elapsed() < LIFE_MAX && !self.state.stopped.load(Ordering::Relaxed) {
            match self.stream.read(&mut nowhere) {
                Ok(0) => return,
                Ok(_) => {}
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                }
                Err(_) => return,
            }
        }
    }
}
