//! The side file that Raspberry Pi publishes beside each image: `IMAGE.img.xz.sha256`, a line as of `sha256sum`.

use crate::base::Sha256Digest;

/// Far more than one line, and the list of a whole folder still fits.
pub(super) const LEN_MAX: u64 = 1 << 20;

/// The digest of the file called `name`: that of its line, or of the only line there is, with or without a name.
pub(super) fn digest_of(text: &str, name: &str) -> Option<Sha256Digest> {
    let lines: Vec<(Sha256Digest, &str)> = text
        .lines()
        .filter_map(|line| {
            let line = line.trim();
            let (digest, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
            // A star stands for binary mode; a path may come before the name.
            let of = rest.trim_start().trim_start_matches('*');
            Some((digest.to_ascii_lowercase().parse().ok()?, of.rsplit('/').next().unwrap_or(of)))
        })
        .collect();
    match lines.as_slice() {
        [(digest, of)] if of.is_empty() || *of == name => Some(*digest),
        lines => lines.iter().find(|(_, of)| *of == name).map(|(digest, _)| *digest),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_of_the_file_counts() {
        let (a, b) = (Sha256Digest::of(b"a"), Sha256Digest::of(b"b"));
        assert_eq!(digest_of(&format!("{a}  x.img.xz\n"), "x.img.xz"), Some(a));
        assert_eq!(digest_of(&format!("{a} *out/x.img.xz\r\n"), "x.img.xz"), Some(a));
        assert_eq!(digest_of(&format!("{}\n", a.to_string().to_uppercase()), "x.img.xz"), Some(a));
        assert_eq!(digest_of(&format!("{a}  y.img.xz\n{b}  x.img.xz\n"), "x.img.xz"), Some(b));
    }

    #[test]
    fn a_line_of_another_file_says_nothing() {
        let a = Sha256Digest::of(b"a");
        for text in [
            String::new(),
            "not found".to_owned(),
            format!("{a}  y.img.xz\n"),
            format!("{a}\n{a}\n"),
            "d41d8cd98f00b204e9800998ecf8427e  x.img.xz\n".to_owned(),
            format!("{a}x.img.xz"),
        ] {
            assert_eq!(digest_of(&text, "x.img.xz"), None, "{text}");
        }
    }
}
