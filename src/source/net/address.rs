//! What may be asked for, and what is shown of it.

use reqwest::Url;

use super::error::Error;

/// What may be asked for: http or https, with a host.
pub(super) fn address(text: &str) -> Result<Url, Error> {
    let url = Url::parse(text).map_err(|error| {
        // What is no URL may still hold a password.
        let url = text.rsplit('@').next().unwrap_or_default().to_owned();
        Error::Address { url, reason: error.to_string() }
    })?;
    match url.scheme() {
        "http" | "https" => Ok(url),
        scheme => {
            let reason = format!("found `{scheme}`, wanted http or https");
            Err(Error::Address { url: shown(&url), reason })
        }
    }
}

pub(super) fn is_this_machine(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let literal = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || literal.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// A URL for people and records: no user name, no password.
pub(super) fn shown(url: &Url) -> String {
    if url.cannot_be_a_base() {
        // Such as `me:password@host`, which reads as something called `password@host` by a scheme called `me`.
        return format!("{}:…", url.scheme());
    }
    let mut url = url.clone();
    // Both fail only where there can be neither.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.set_fragment(None);
    url.into()
}

/// An address for people and records: no user name, no password.
#[must_use]
pub fn without_secrets(text: &str) -> String {
    Url::parse(text)
        .map_or_else(|_| text.rsplit('@').next().unwrap_or_default().to_owned(), |url| shown(&url))
}

/// The file beside the one at `url`, whose name is longer by `suffix`.
pub(in crate::source) fn beside(url: &str, suffix: &str) -> Result<String, Error> {
    let mut url = address(url)?;
    url.set_path(&format!("{}{suffix}", url.path()));
    Ok(url.into())
}

/// The last part of the path that is not empty, or the host.
pub(in crate::source) fn file_name(url: &str) -> String {
    Url::parse(url).map_or_else(|_| url.to_owned(), |url| name_of(&url).to_owned())
}

pub(super) fn name_of(url: &Url) -> &str {
    let last = url.path().rsplit('/').find(|part| !part.is_empty());
    last.or(url.host_str()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_beside_keeps_the_query() {
        let told = beside("https://me:secret@a.example/x/y.img.xz?token=1#top", ".sig").unwrap();
        assert_eq!(told, "https://me:secret@a.example/x/y.img.xz.sig?token=1#top");
        assert!(beside("ftp://a.example/x", ".sig").is_err());
    }

    #[test]
    fn nobody_sees_the_password() {
        assert_eq!(without_secrets("https://me:secret@a.example/x?y#z"), "https://a.example/x?y");
        assert_eq!(without_secrets("//me:secret@a.example"), "a.example");
        assert!(!format!("{:?}", address("me:secret@a.example")).contains("secret"));
        assert!(!format!("{:?}", address("https://me:secret@[/x")).contains("secret"));
    }

    #[test]
    fn a_file_is_called_by_the_end_of_its_path() {
        assert_eq!(file_name("https://a.example/x/y.img.xz?z=/1"), "y.img.xz");
        assert_eq!(file_name("https://a.example//"), "a.example");
    }
}
