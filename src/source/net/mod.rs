//! Fetches over HTTP and HTTPS: small documents into memory, large files into a partial file that any later run can
//! go on with.
//!
//! | part       | does                                                                       |
//! |------------|----------------------------------------------------------------------------|
//! | `address`  | what may be asked for, and what is shown of it                              |
//! | `client`   | one request: connects, waits with one eye on Ctrl-C, follows redirects      |
//! | `redirect` | which redirects are followed                                               |
//! | `header`   | what answers say of themselves                                             |
//! | `retry`    | what is tried again, when, and how often                                   |
//! | `partial`  | the file that grows, and the record beside it                              |
//! | `download` | the file until it is whole: resumes, begins again, gives up                |
//! | `document` | the small document                                                         |
//!
//! The rules are those of RFC 9110: §13.1.5 (If-Range), §14 (ranges), §15.4 (redirects), §10.2.3 (Retry-After). Bytes
//! are never decoded on the way: what is hashed is what was sent. HTTP/1.1 only; one request per connection, since
//! a large file wants no second one.
//!
//! Verifies no digest: a server that sends other bytes under the same length and entity tag is found out by whoever
//! hashes the file.

mod address;
mod client;
mod document;
mod download;
mod error;
mod header;
mod partial;
mod redirect;
mod retry;

pub use self::address::without_secrets;
pub(in crate::source) use self::address::{beside, file_name};
pub use self::client::{Client, Patience};
pub use self::document::Document;
pub(in crate::source) use self::download::Wanted;
pub use self::error::{Error, Trouble};
pub(in crate::source) use self::partial::record_path;

#[cfg(test)]
pub(in crate::source) mod tests;
