//! Which redirects are followed (RFC 9110 §15.4): at most ten, in no circle, and never from a safe connection to one
//! that anybody on the way can change.

use reqwest::Url;
use reqwest::redirect::Policy;

/// As curl's and every browser's limits, more than any honest mirror needs.
const REDIRECTS_MAX: usize = 10;

/// Why a redirect is not followed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    #[error("more than {REDIRECTS_MAX} redirects, the last to `{0}`")]
    TooMany(String),
    #[error("it is redirected in a circle, back to `{0}`")]
    Circle(String),
    #[error("a safe address is redirected to an unsafe one, `{0}`")]
    Downgrade(String),
    #[error("it is redirected to `{0}`, wanted http or https")]
    Scheme(String),
}

pub(super) fn policy() -> Policy {
    Policy::custom(|attempt| match judge(attempt.previous(), attempt.url()) {
        Ok(()) => attempt.follow(),
        Err(refusal) => attempt.error(refusal),
    })
}

/// May `next` follow on the addresses asked so far, of which the first is the one wanted?
fn judge(previous: &[Url], next: &Url) -> Result<(), Refusal> {
    let shown = super::address::shown(next);
    if !matches!(next.scheme(), "http" | "https") {
        return Err(Refusal::Scheme(shown));
    }
    if next.scheme() == "http" && previous.iter().any(|url| url.scheme() == "https") {
        return Err(Refusal::Downgrade(shown));
    }
    if previous.contains(next) {
        return Err(Refusal::Circle(shown));
    }
    if previous.len() > REDIRECTS_MAX {
        return Err(Refusal::TooMany(shown));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn urls(texts: &[&str]) -> Vec<Url> {
        texts.iter().map(|text| Url::parse(text).unwrap()).collect()
    }

    #[test]
    fn a_redirect_may_make_a_connection_safe_and_never_unsafe() {
        let next = |text| Url::parse(text).unwrap();
        assert_eq!(judge(&urls(&["http://a/"]), &next("https://a/")), Ok(()));
        assert_eq!(judge(&urls(&["http://a/"]), &next("http://b/")), Ok(()));
        assert_eq!(judge(&urls(&["https://a/"]), &next("https://b/")), Ok(()));
        assert_eq!(
            judge(&urls(&["https://a/"]), &next("http://b/")),
            Err(Refusal::Downgrade("http://b/".to_owned()))
        );
        assert_eq!(
            judge(&urls(&["http://a/", "https://a/"]), &next("http://u:pw@a/x")),
            Err(Refusal::Downgrade("http://a/x".to_owned()))
        );
    }

    #[test]
    fn a_redirect_leads_nowhere_but_to_http() {
        let shown = ["file:///etc/passwd", "ftp://a/b", "data:…"];
        for (text, shown) in ["file:///etc/passwd", "ftp://a/b", "data:text/plain,x"].iter().zip(shown) {
            assert_eq!(
                judge(&urls(&["https://a/"]), &Url::parse(text).unwrap()),
                Err(Refusal::Scheme(shown.to_owned()))
            );
        }
    }

    #[test]
    fn ten_redirects_are_followed_and_no_eleventh_and_no_circle() {
        let chain: Vec<Url> = (0..=10).map(|n| Url::parse(&format!("http://a/{n}")).unwrap()).collect();
        for n in 1..=10 {
            assert_eq!(judge(&chain[..n], &chain[n]), Ok(()));
        }
        let eleventh = Url::parse("http://a/11").unwrap();
        assert_eq!(judge(&chain, &eleventh), Err(Refusal::TooMany("http://a/11".to_owned())));
        assert_eq!(judge(&chain[..3], &chain[1]), Err(Refusal::Circle("http://a/1".to_owned())));
    }
}
