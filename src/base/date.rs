//! Moments as people write them, in UTC: the one zone that is the same everywhere.

use std::fmt;

/// A second of the proleptic Gregorian calendar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Civil {
    /// The year.
    pub year: i64,
    /// 1 to 12.
    pub month: u16,
    /// 1 to 31.
    pub day: u16,
    /// 0 to 23.
    pub hour: u16,
    /// 0 to 59.
    pub minute: u16,
    /// 0 to 59.
    pub second: u16,
}

impl Civil {
    /// The second that begins `seconds` after 1970-01-01 00:00.
    #[must_use]
    pub fn from_epoch_seconds(seconds: i64) -> Self {
        // Years counted from March, in eras of 400 (H. Hinnant, chrono-compatible dates).
        let days = seconds.div_euclid(86_400) + 719_468;
        let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
        let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month_from_march = (5 * day_of_year + 2) / 153;
        let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
        let second_of_day = seconds.rem_euclid(86_400);
        // All of them are small.
        let small = |value: i64| u16::try_from(value).unwrap_or(0);
        Self {
            year: era * 400 + year_of_era + i64::from(month <= 2),
            month: small(month),
            day: small(day_of_year - (153 * month_from_march + 2) / 5 + 1),
            hour: small(second_of_day / 3600),
            minute: small(second_of_day / 60 % 60),
            second: small(second_of_day % 60),
        }
    }
}

/// `2026-11-21 09:30:05`
impl fmt::Display for Civil {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { year, month, day, hour, minute, second } = self;
        write!(f, "{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By `date --utc --date=@N '+%F %T'`.
    #[test]
    fn seconds_become_the_dates_that_date_shows() {
        for (seconds, text) in [
            (0, "1970-01-01 00:00:00"),
            (-1, "1969-12-31 23:59:59"),
            (951_782_400, "2000-02-29 00:00:00"),
            (4_107_542_399, "2100-02-28 23:59:59"),
            (-2_147_483_648, "1901-12-13 20:45:52"),
            (15_032_385_535, "2446-05-10 22:38:55"),
        ] {
            assert_eq!(Civil::from_epoch_seconds(seconds).to_string(), text);
        }
    }
}
