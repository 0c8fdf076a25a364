//! Lengths in bytes, as people write them: `8GiB`, `512MiB`, `1024`.

use std::fmt;
use std::str::FromStr;

/// A length in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ByteLen(pub u64);

/// Why a text is no [`ByteLen`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("found `{0}`, wanted a size such as `8GiB`, `512MiB` or `32GB`")]
pub struct ByteLenError(String);

/// Binary units first: card sizes and partitions are thought of in them; `GB` as printed on cards is decimal.
const UNITS: [(&str, u64); 9] = [
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
    ("KB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
    ("B", 1),
];

impl FromStr for ByteLen {
    type Err = ByteLenError;

    fn from_str(text: &str) -> Result<Self, ByteLenError> {
        let (number, unit) = UNITS
            .iter()
            .find_map(|(name, unit)| Some((text.strip_suffix(name)?, *unit)))
            .unwrap_or((text, 1));
        number
            .trim_end()
            .parse::<u64>()
            .ok()
            .and_then(|number| number.checked_mul(unit))
            .map(Self)
            .ok_or_else(|| ByteLenError(text.to_owned()))
    }
}

impl fmt::Display for ByteLen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some((name, unit)) = UNITS[..4].iter().rev().find(|(_, unit)| self.0 >= *unit) else {
            return write!(f, "{} B", self.0);
        };
        let tenths = u128::from(self.0) * 10 / u128::from(*unit);
        match (tenths / 10, tenths % 10) {
            (whole, 0) => write!(f, "{whole} {name}"),
            (whole, tenth) => write!(f, "{whole}.{tenth} {name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_with_binary_and_decimal_units() {
        assert_eq!("8GiB".parse(), Ok(ByteLen(8 << 30)));
        assert_eq!("32 GB".parse(), Ok(ByteLen(32_000_000_000)));
        assert_eq!("1024".parse(), Ok(ByteLen(1024)));
    }

    #[test]
    fn a_size_with_a_foreign_unit_or_past_64_bits_is_refused() {
        for text in ["8G", "", "GiB", "-1", "1.5GiB", "99999999999TiB"] {
            assert!(text.parse::<ByteLen>().is_err(), "{text} was taken");
        }
    }

    #[test]
    fn sizes_print_in_the_largest_binary_unit() {
        assert_eq!(ByteLen(0).to_string(), "0 B");
        assert_eq!(ByteLen(1 << 20).to_string(), "1 MiB");
        assert_eq!(ByteLen(1_610_612_736).to_string(), "1.5 GiB");
    }
}
