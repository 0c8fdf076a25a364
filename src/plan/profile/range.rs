//! `worker[1-7]` is seven words.

use super::word::Wrong;

/// More nodes than this in one range is a slip of the finger.
const MOST: u32 = 1000;

/// A word with at most one range in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Pattern {
    /// No brackets.
    One(String),
    /// `before[first-last]after`.
    Many { before: String, first: u32, last: u32, width: usize, after: String },
}

impl Pattern {
    /// # Errors
    /// More than one range, or one that does not count upwards.
    pub(super) fn parse(text: &str) -> Result<Self, Wrong> {
        let brackets = text.matches(['[', ']']).count();
        let Some((before, inner, after)) = split(text) else {
            return match brackets {
                0 => Ok(Self::One(text.to_owned())),
                _ => Err(Wrong::found(text, "a range such as `[1-7]`")),
            };
        };
        if brackets > 2 {
            return Err(Wrong::found(text, "one range at most").help("write a `[[node]]` for each"));
        }
        let number = |digits: &str| -> Option<u32> {
            let fits = (1..=6).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
            if fits { digits.parse().ok() } else { None }
        };
        let ends = inner.split_once('-').and_then(|(a, b)| Some((a, number(a)?, b, number(b)?)));
        let Some((first_text, first, last_text, last)) = ends else {
            return Err(Wrong::found(text, "a range such as `[1-7]`"));
        };
        let padded = |text: &str| text.len() > 1 && text.starts_with('0');
        if (padded(first_text) || padded(last_text)) && first_text.len() != last_text.len() {
            let wrong = Wrong::found(text, "as many digits at both ends of a range that begins with 0");
            let width = first_text.len().max(last_text.len());
            return Err(wrong.help(format!("write `[{first:0width$}-{last:0width$}]`")));
        }
        if first > last {
            return Err(
                Wrong::found(text, "a range that counts upwards").help(format!("write `[{last}-{first}]`"))
            );
        }
        if last - first >= MOST {
            return Err(Wrong::found(text, &format!("at most {MOST} in one range")));
        }
        let width = if padded(first_text) { first_text.len() } else { 0 };
        Ok(Self::Many { before: before.to_owned(), first, last, width, after: after.to_owned() })
    }

    /// How many words it is; `None` without a range.
    pub(super) fn count(&self) -> Option<u32> {
        match self {
            Self::One(_) => None,
            Self::Many { first, last, .. } => Some(last - first + 1),
        }
    }

    /// The word of this index, from 0; without a range the word itself.
    pub(super) fn word(&self, index: u32) -> String {
        match self {
            Self::One(word) => word.clone(),
            Self::Many { before, first, width, after, .. } => {
                let number = first.saturating_add(index);
                format!("{before}{number:0width$}{after}", width = *width)
            }
        }
    }
}

fn split(text: &str) -> Option<(&str, &str, &str)> {
    let (before, rest) = text.split_once('[')?;
    let (inner, after) = rest.split_once(']')?;
    Some((before, inner, after))
}

/// The other way round: `worker1`, `worker2`, `worker3` as a profile writes them, `worker[1-3]`; others behind commas.
#[must_use]
pub fn fold(names: &[&str]) -> String {
    let mut folded: Vec<String> = Vec::new();
    let mut rest = names.iter().peekable();
    while let Some(first) = rest.next() {
        let stem = first.trim_end_matches(|c: char| c.is_ascii_digit());
        let digits = first.get(stem.len()..).unwrap_or_default();
        let width = if digits.starts_with('0') { digits.len() } else { 0 };
        let mut last = digits.parse::<u32>().ok();
        let mut count = 1;
        while let Some(next) = last.and_then(|last| last.checked_add(1)) {
            if rest.next_if(|name| ***name == format!("{stem}{next:0width$}")).is_none() {
                break;
            }
            last = Some(next);
            count += 1;
        }
        folded.push(match last {
            Some(last) if count > 1 => format!("{stem}[{digits}-{last:0width$}]"),
            _ => (*first).to_owned(),
        });
    }
    folded.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        let pattern = Pattern::parse(text).unwrap();
        (0..pattern.count().unwrap_or(1)).map(|index| pattern.word(index)).collect()
    }

    #[test]
    fn a_range_is_spelled_out() {
        assert_eq!(words("worker[1-3]"), ["worker1", "worker2", "worker3"]);
        assert_eq!(words("192.168.1.[9-10]/24"), ["192.168.1.9/24", "192.168.1.10/24"]);
        assert_eq!(words("[7-7]"), ["7"]);
        assert_eq!(words("alone"), ["alone"]);
    }

    #[test]
    fn a_zero_in_front_pads_the_whole_range() {
        assert_eq!(words("w[08-10]"), ["w08", "w09", "w10"]);
        assert_eq!(words("w[0-1]"), ["w0", "w1"]);
        assert_eq!(words("w[9-10]"), ["w9", "w10"]);
    }

    #[test]
    fn what_does_not_count_upwards_is_refused() {
        for text in ["w[3-1]", "w[1]", "w[]", "w[a-c]", "w[1-2", "w1-2]", "w]1-2[", "w[1--2]", "w[-1-2]"] {
            assert!(Pattern::parse(text).is_err(), "`{text}` was taken");
        }
        assert!(Pattern::parse("w[1-1000]").is_ok());
        assert!(Pattern::parse("w[1-1001]").is_err());
        assert!(Pattern::parse("w[0-4294967296]").is_err());
    }

    #[test]
    fn two_ranges_in_one_word_are_refused() {
        let wrong = Pattern::parse("r[1-2]n[1-4]").unwrap_err();
        assert_eq!(wrong.message, "found `r[1-2]n[1-4]`, wanted one range at most");
    }

    #[test]
    fn padding_must_agree() {
        let wrong = Pattern::parse("w[01-100]").unwrap_err();
        assert_eq!(wrong.help.as_deref(), Some("write `[001-100]`"));
    }

    #[test]
    fn names_fold_into_the_ranges_they_came_from() {
        for (names, folded) in [
            (&["worker1", "worker2", "worker3", "manager1"][..], "worker[1-3], manager1"),
            (&["w08", "w09", "w10"], "w[08-10]"),
            (&["w9", "w10"], "w[9-10]"),
            (&["w1", "w3", "w02"], "w1, w3, w02"),
            (&["blue", "green"], "blue, green"),
            (&["7", "8"], "[7-8]"),
            (&[], ""),
        ] {
            assert_eq!(fold(names), folded);
        }
    }
}
