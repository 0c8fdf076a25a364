//! What answers say of themselves, read strictly: whatever is odd counts as not said.

use std::time::{Duration, SystemTime};

/// No page begins with more white space than this, as far as we look.
const HEAD_MAX: usize = 256;

/// A `Content-Range` (RFC 9110 §14.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ContentRange {
    /// `bytes FIRST-LAST/TOTAL`, the total perhaps `*`.
    Part { first: u64, last: u64, total_bytes: Option<u64> },
    /// `bytes */TOTAL`: nothing of it.
    None { total_bytes: u64 },
}

pub(super) fn content_range(text: &str) -> Option<ContentRange> {
    let (unit, rest) = text.trim().split_once(' ')?;
    if !unit.eq_ignore_ascii_case("bytes") {
        return None;
    }
    let (part, total) = rest.trim().split_once('/')?;
    let total_bytes = if total == "*" { None } else { Some(number(total)?) };
    if part == "*" {
        return total_bytes.map(|total_bytes| ContentRange::None { total_bytes });
    }
    let (first, last) = part.split_once('-')?;
    let (first, last) = (number(first)?, number(last)?);
    let sound = first <= last && total_bytes.is_none_or(|total| last < total);
    sound.then_some(ContentRange::Part { first, last, total_bytes })
}

/// Digits and nothing else; `parse` alone would take a sign.
fn number(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

/// What `If-Range` may carry (RFC 9110 §13.1.5): a strong entity tag, else a date that is old enough that the file
/// cannot have changed twice within its second.
pub(super) fn validator(
    etag: Option<&str>,
    last_modified: Option<&str>,
    date: Option<&str>,
) -> Option<String> {
    if let Some(etag) = etag.filter(|etag| is_strong(etag)) {
        return Some(etag.to_owned());
    }
    let modified = httpdate::parse_http_date(last_modified?).ok()?;
    let sent = date.and_then(|date| httpdate::parse_http_date(date).ok());
    let settled = sent.is_none_or(|sent| sent.duration_since(modified).is_ok_and(|age| age.as_secs() >= 1));
    settled.then(|| last_modified.map(str::to_owned)).flatten()
}

fn is_strong(etag: &str) -> bool {
    etag.len() >= 2 && etag.starts_with('"') && etag.ends_with('"')
}

/// How long a `Retry-After` (RFC 9110 §10.2.3), in seconds or as a date, asks to wait. The date is compared with the
/// server's own `Date`, since our clock may be anywhere.
pub(super) fn retry_after(text: &str, date: Option<&str>, now: SystemTime) -> Option<Duration> {
    let text = text.trim();
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some(Duration::from_secs(number(text).unwrap_or(u64::MAX)));
    }
    let then = httpdate::parse_http_date(text).ok()?;
    let now = date.and_then(|date| httpdate::parse_http_date(date).ok()).unwrap_or(now);
    Some(then.duration_since(now).unwrap_or_default())
}

/// Is the media type that of a web page?
pub(super) fn is_web_page_type(content_type: &str) -> bool {
    let media_type = content_type.split(';').next().unwrap_or_default().trim();
    ["text/html", "application/xhtml+xml"].iter().any(|page| media_type.eq_ignore_ascii_case(page))
}

/// Does a file that begins so begin as a web page? `None`: too little to tell.
pub(super) fn is_web_page(head: &[u8]) -> Option<bool> {
    let text = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head).trim_ascii_start();
    let mut undecided = text.is_empty();
    for mark in [b"<!doctype html".as_slice(), b"<html"] {
        let len = mark.len().min(text.len());
        if text.iter().zip(mark).all(|(found, wanted)| found.eq_ignore_ascii_case(wanted)) {
            if len == mark.len() {
                return Some(true);
            }
            undecided = true;
        }
    }
    if undecided && head.len() < HEAD_MAX { None } else { Some(false) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_content_range_is_read_to_the_letter() {
        let part = |first, last, total_bytes| Some(ContentRange::Part { first, last, total_bytes });
        assert_eq!(content_range("bytes 5-9/10"), part(5, 9, Some(10)));
        assert_eq!(content_range("Bytes 0-0/1"), part(0, 0, Some(1)));
        assert_eq!(content_range("bytes 5-9/*"), part(5, 9, None));
        assert_eq!(content_range("bytes */10"), Some(ContentRange::None { total_bytes: 10 }));
        for text in [
            "",
            "bytes",
            "bytes 5-9",
            "bytes */*",
            "bytes 9-5/10",
            "bytes 5-10/10",
            "bytes +5-9/10",
            "bytes -5/10",
            "bytes 5-/10",
            "bytes 5-9/99999999999999999999",
            "lines 5-9/10",
            "bytes 5-9/10/11",
            "5-9/10",
        ] {
            assert_eq!(content_range(text), None, "{text}");
        }
    }

    #[test]
    fn only_what_names_one_file_for_certain_is_a_validator() {
        let (old, new) = ("Sun, 06 Nov 1994 08:49:37 GMT", "Sun, 06 Nov 1994 08:49:38 GMT");
        assert_eq!(validator(Some("\"a\""), Some(old), None).as_deref(), Some("\"a\""));
        assert_eq!(validator(Some("W/\"a\""), Some(old), None).as_deref(), Some(old));
        assert_eq!(validator(None, Some(old), Some(new)).as_deref(), Some(old));
        assert_eq!(validator(None, Some(old), Some(old)), None);
        assert_eq!(validator(None, Some("yesterday"), None), None);
        assert_eq!(validator(Some("W/\"a\""), None, None), None);
        assert_eq!(validator(Some("\""), None, None), None);
    }

    #[test]
    fn a_server_asks_for_patience_in_seconds_or_by_date() {
        let now = httpdate::parse_http_date("Sun, 06 Nov 1994 08:49:37 GMT").unwrap();
        let secs = |text, date| retry_after(text, date, now).map(|wait| wait.as_secs());
        assert_eq!(secs("120", None), Some(120));
        assert_eq!(secs("99999999999999999999999", None), Some(u64::MAX));
        assert_eq!(secs("Sun, 06 Nov 1994 08:50:37 GMT", None), Some(60));
        assert_eq!(secs("Sun, 06 Nov 1994 08:50:37 GMT", Some("Sun, 06 Nov 1994 08:50:30 GMT")), Some(7));
        assert_eq!(secs("Sun, 06 Nov 1994 08:00:00 GMT", None), Some(0));
        for text in ["", "-1", "soon", "1.5"] {
            assert_eq!(secs(text, None), None, "{text}");
        }
    }

    #[test]
    fn a_web_page_is_known_by_its_first_bytes() {
        for page in ["<!DOCTYPE html>", " \r\n<!doctype HTML PUBLIC", "<html>", "\u{feff}<HTML lang=en>"] {
            assert_eq!(is_web_page(page.as_bytes()), Some(true), "{page}");
        }
        for file in
            [b"\xfd7zXZ\0".as_slice(), b"PK\x03\x04", b"{\"os_list\":", b"<?xml", b"\0\0\0", b"<!doctype x"]
        {
            assert_eq!(is_web_page(file), Some(false), "{file:?}");
        }
        for too_little in ["", " \n", "<", "<!doc", "<h"] {
            assert_eq!(is_web_page(too_little.as_bytes()), None, "{too_little}");
        }
        assert_eq!(is_web_page(&[b' '; HEAD_MAX]), Some(false));
    }

    #[test]
    fn a_media_type_may_have_parameters() {
        assert!(is_web_page_type("Text/HTML; charset=utf-8"));
        assert!(!is_web_page_type("application/octet-stream"));
        assert!(!is_web_page_type("text/html-template"));
    }
}
