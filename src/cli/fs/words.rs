//! Lines of a script into words, quoted as in a POSIX shell (XCU 2.2), which expands nothing here.
//!
//! | written     | means                                                                    |
//! |-------------|--------------------------------------------------------------------------|
//! | `\c`        | `c`; before a line break: the line goes on                               |
//! | `'…'`       | what is between                                                          |
//! | `"…"`       | the same, but `\` before `$`, `` ` ``, `"`, `\` and a line break escapes |
//! | `#`         | where a word could begin: the rest of the line is a comment              |

use std::iter::Peekable;
use std::str::Chars;

/// A command as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cli) struct Line {
    /// Where it begins, from 1.
    pub(in crate::cli) number: usize,
    /// At least one.
    pub(in crate::cli) words: Vec<String>,
}

/// What is wrong with a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cli) struct Fault {
    pub(in crate::cli) number: usize,
    pub(in crate::cli) reason: &'static str,
}

/// All commands of a script.
pub(in crate::cli) fn split(script: &str) -> Result<Vec<Line>, Fault> {
    let mut reader = Reader { chars: script.chars().peekable(), number: 1 };
    let mut lines = Vec::new();
    while reader.chars.peek().is_some() {
        let number = reader.number;
        let words = reader.line()?;
        if !words.is_empty() {
            lines.push(Line { number, words });
        }
    }
    Ok(lines)
}

struct Reader<'s> {
    chars: Peekable<Chars<'s>>,
    number: usize,
}

impl Reader<'_> {
    fn next(&mut self) -> Option<char> {
        let next = self.chars.next();
        self.number += usize::from(next == Some('\n'));
        next
    }

    /// The words up to the end of a line, which is taken too.
    fn line(&mut self) -> Result<Vec<String>, Fault> {
        let mut words = Vec::new();
        // `Some` inside a word: also an empty one that was quoted.
        let mut word: Option<String> = None;
        loop {
            let began = self.number;
            let fault = |reason| Err(Fault { number: began, reason });
            let next = self.next();
            match next {
                None | Some('\n') => {
                    words.extend(word.take());
                    return Ok(words);
                }
                Some(' ' | '\t') => words.extend(word.take()),
                // The end of a line as Windows writes it.
                Some('\r') if matches!(self.chars.peek(), None | Some('\n')) => words.extend(word.take()),
                Some('#') if word.is_none() => {
                    while !matches!(self.chars.peek(), None | Some('\n')) {
                        self.next();
                    }
                }
                Some('\\') => match self.next() {
                    None => return fault("nothing follows the `\\`"),
                    Some('\n') => {}
                    Some(c) => word.get_or_insert_default().push(c),
                },
                Some('\'') => self.single(word.get_or_insert_default(), began)?,
                Some('"') => self.double(word.get_or_insert_default(), began)?,
                Some('\0') => return fault("there is a NUL byte"),
                Some(c) => word.get_or_insert_default().push(c),
            }
        }
    }

    fn single(&mut self, word: &mut String, began: usize) -> Result<(), Fault> {
        loop {
            match self.next() {
                None => return Err(Fault { number: began, reason: "the `'` is never closed" }),
                Some('\'') => return Ok(()),
                Some(c) => word.push(c),
            }
        }
    }

    fn double(&mut self, word: &mut String, began: usize) -> Result<(), Fault> {
        loop {
            match self.next() {
                None => return Err(Fault { number: began, reason: "the `\"` is never closed" }),
                Some('"') => return Ok(()),
                Some('\\') => match self.next() {
                    Some('\n') => {}
                    Some(c @ ('$' | '`' | '"' | '\\')) => word.push(c),
                    Some(c) => word.extend(['\\', c]),
                    None => word.push('\\'),
                },
                Some(c) => word.push(c),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(script: &str) -> Vec<Vec<String>> {
        split(script).unwrap().into_iter().map(|line| line.words).collect()
    }

    /// What `sh` makes of each line (`printf '[%s]' …`), asked for and written down here.
    #[test]
    fn quoting_is_that_of_a_shell() {
        for (script, wanted) in [
            ("a b\tc", &["a", "b", "c"][..]),
            ("  a   b  ", &["a", "b"]),
            ("a\\ b", &["a b"]),
            ("'a b' \"c d\"", &["a b", "c d"]),
            ("a'b'\"c\"d", &["abcd"]),
            ("'' \"\"", &["", ""]),
            ("'a\\nb'", &["a\\nb"]),
            ("\"a\\nb\\$c\\\"d\\\\e\\`f\"", &["a\\nb$c\"d\\e`f"]),
            ("\"it's\" 'say \"hi\"'", &["it's", "say \"hi\""]),
            ("a#b #c", &["a#b"]),
            ("'#' \\#", &["#", "#"]),
            ("a \\\n b", &["a", "b"]),
            ("a\\\nb", &["ab"]),
            ("\"a\\\nb\"", &["ab"]),
            ("'a\nb'", &["a\nb"]),
            ("'a'#b", &["a#b"]),
        ] {
            assert_eq!(words(script), [wanted], "{script:?}");
        }
    }

    #[test]
    fn lines_are_counted_and_empty_ones_are_none() {
        let script = "# first\n\nls /\r\n  \n  # more\ncat 'a\nb' # c\nrm x\\\ny\ndf";
        let lines = split(script).unwrap();
        let numbers: Vec<usize> = lines.iter().map(|line| line.number).collect();
        assert_eq!(numbers, [3, 6, 8, 10]);
        assert_eq!(lines[0].words, ["ls", "/"]);
        assert_eq!(lines[1].words, ["cat", "a\nb"]);
        assert_eq!(lines[2].words, ["rm", "xy"]);
    }

    #[test]
    fn what_is_never_closed_names_the_line_where_it_was_opened() {
        for (script, number, word) in
            [("ls /\ncat 'a\nb\n", 2, "'"), ("cat \"a", 1, "\""), ("a\nb\\", 2, "\\"), ("a\0", 1, "NUL")]
        {
            let fault = split(script).unwrap_err();
            assert!(fault.number == number && fault.reason.contains(word), "{script:?} {fault:?}");
        }
    }
}
