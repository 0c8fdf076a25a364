//! Why something was not fetched.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::base::{ByteLen, Interrupted};

/// Why there is no file. URLs are shown without user name and password.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The net is off by the user's wish.
    #[error("`{url}` would have to be fetched, and the network is off (`--offline`)")]
    Offline {
        /// What was asked for.
        url: String,
    },
    /// Nothing we can ask for.
    #[error("`{url}` is no address to fetch from: {reason}")]
    Address {
        /// What was asked for.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The system does not let us use the net at all.
    #[error("cannot prepare a connection: {reason}")]
    Setup {
        /// What was said.
        reason: String,
    },
    /// The other side is not who it should be, or speaks no TLS.
    #[error("no safe connection to `{url}`: {reason}")]
    Tls {
        /// What was asked for.
        url: String,
        /// What is wrong.
        reason: String,
    },
    /// A redirect that is not followed.
    #[error("`{url}` is not fetched: {reason}")]
    Redirect {
        /// What was asked for.
        url: String,
        /// Where it leads.
        reason: String,
    },
    /// An answer that another try will not change.
    #[error("`{url}`: the server answered {status}")]
    Status {
        /// What was asked for, after redirects.
        url: String,
        /// Number and meaning, such as `404 Not Found`.
        status: String,
    },
    /// The server is busy for longer than anyone will wait.
    #[error(
        "`{url}`: the server answered {status} and wants to be asked again in {} s, we wait {} s at most",
        .wait.as_secs(), .wait_max.as_secs()
    )]
    Later {
        /// What was asked for, after redirects.
        url: String,
        /// Number and meaning.
        status: String,
        /// For how long.
        wait: Duration,
        /// How long we wait.
        wait_max: Duration,
    },
    /// The same trouble again and again.
    #[error("`{url}` was tried {tries} times in vain")]
    GaveUp {
        /// What was asked for.
        url: String,
        /// How often, without progress.
        tries: u32,
        /// What happened last.
        #[source]
        trouble: Trouble,
    },
    /// Another length than the one announced.
    #[error("`{url}` is {found_bytes} bytes long{}, wanted {wanted_bytes}", if *.or_more { " or more" } else { "" })]
    Length {
        /// What was asked for.
        url: String,
        /// What the server has.
        found_bytes: u64,
        /// Only so much was looked at.
        or_more: bool,
        /// What the catalogue or the lock says.
        wanted_bytes: u64,
    },
    /// Longer than it may be, or than there is room for.
    #[error("`{url}` is longer than {}", ByteLen(*.limit))]
    TooLong {
        /// What was asked for.
        url: String,
        /// The limit.
        limit: u64,
    },
    /// A login page, a notice, an error in disguise.
    #[error("`{url}`: the server sent a web page, wanted a file")]
    WebPage {
        /// What was asked for, after redirects.
        url: String,
    },
    /// The system failed on the partial file or its record.
    #[error("cannot {action} `{}`", .path.display())]
    File {
        /// What was done.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The disk is full; what came so far is kept.
    #[error("no space left for `{}`", .path.display())]
    NoSpace {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The user asked to stop; what came so far is kept.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
}

impl Error {
    /// The system failed on a file: full is not broken.
    pub(super) fn of_file(action: &'static str, path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::NoSpace { path, source },
            _ => Self::File { action, path, source },
        }
    }
}

/// What went wrong in one try, and may go right in the next.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Trouble {
    /// There is no connection.
    #[error("cannot connect: {0}")]
    Unreachable(String),
    /// The connection broke.
    #[error("the connection broke: {0}")]
    Broken(String),
    /// Nothing came.
    #[error("no byte came for {} ms", .0.as_millis())]
    Stalled(Duration),
    /// The server cannot now.
    #[error("the server answered {0}")]
    Busy(String),
    /// The answer ended too early.
    #[error("the file ended after {found_bytes} bytes, wanted {wanted_bytes}")]
    Truncated {
        /// The length so far.
        found_bytes: u64,
        /// The length it should have.
        wanted_bytes: u64,
    },
    /// Another part of the file than the one asked for, or none at all.
    #[error("the server sent no rest from offset {offset}, but {found}")]
    Range {
        /// Where the rest begins.
        offset: u64,
        /// What was sent.
        found: String,
    },
    /// Another file than before.
    #[error("the file on the server changed")]
    Changed,
}

/// The outcome of one try that brought no whole file.
#[derive(Debug)]
pub(super) enum Failure {
    /// Another try may help, not before that long when the server said so.
    Again { trouble: Trouble, after: Option<Duration> },
    /// It will not.
    Final(Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Final(error)
    }
}

impl From<Trouble> for Failure {
    fn from(trouble: Trouble) -> Self {
        Self::Again { trouble, after: None }
    }
}

impl From<Interrupted> for Failure {
    fn from(interrupted: Interrupted) -> Self {
        Self::Final(interrupted.into())
    }
}
