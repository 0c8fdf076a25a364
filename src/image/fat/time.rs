//! The time that changed files get. It is given, never asked of a clock: bytes must not depend on the day.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use fatfs::{Date, DateTime, Time, TimeProvider};

use crate::base::Civil;

/// 1980-01-01, the first day FAT can write.
const FIRST: u64 = 315_532_800;
/// 2107-12-31 23:59:58, the last moment.
const LAST: u64 = 4_354_819_198;

/// A moment as FAT writes it: no zone (UTC here), two seconds apart, from 1980 to 2107.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FatTime(u64);

impl FatTime {
    /// The nearest moment that FAT can write.
    #[must_use]
    pub fn from_epoch_seconds(seconds: u64) -> Self {
        Self(seconds.clamp(FIRST, LAST) & !1)
    }

    /// A clock that stands still, as `fatfs` wants it: for ever. A run knows one or two, so they are kept.
    pub(super) fn provider(self) -> &'static Self {
        static KEPT: Mutex<BTreeMap<u64, &'static FatTime>> = Mutex::new(BTreeMap::new());
        let mut kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
        kept.entry(self.0).or_insert_with(|| Box::leak(Box::new(self)))
    }
}

impl FatTime {
    /// The date and the time as an entry holds them.
    pub(super) fn words(self) -> (u16, u16) {
        let DateTime { date, time } = self.get_current_date_time();
        let date = date.year.saturating_sub(1980) << 9 | date.month << 5 | date.day;
        (date, time.hour << 11 | time.min << 5 | (time.sec / 2))
    }
}

/// Seconds since 1970. What is no date (an entry may hold any bits) counts on from the month before.
pub(super) fn epoch_seconds(moment: DateTime) -> i64 {
    let DateTime { date, time } = moment;
    // Days from civil (H. Hinnant, chrono-compatible dates).
    let [year, month, day] = [date.year, date.month, date.day].map(i64::from);
    let (year, month_from_march) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let day_of_year = (153 * month_from_march + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    let days = era * 146_097 + day_of_era - 719_468;
    days * 86_400 + i64::from(time.hour) * 3600 + i64::from(time.min) * 60 + i64::from(time.sec)
}

impl TimeProvider for FatTime {
    fn get_current_date(&self) -> Date {
        self.get_current_date_time().date
    }

    fn get_current_date_time(&self) -> DateTime {
        let civil = Civil::from_epoch_seconds(i64::try_from(self.0).unwrap_or(0));
        let year = u16::try_from(civil.year).unwrap_or(0);
        DateTime {
            date: Date { year, month: civil.month, day: civil.day },
            time: Time { hour: civil.hour, min: civil.minute, sec: civil.second, millis: 0 },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn date(seconds: u64) -> (u16, u16, u16) {
        let date = FatTime::from_epoch_seconds(seconds).get_current_date();
        (date.year, date.month, date.day)
    }

    #[test]
    fn moments_come_back_as_seconds() {
        for seconds in [FIRST, 951_782_400, 951_868_798, 1_795_219_200, 4_107_542_398, LAST] {
            let moment = FatTime::from_epoch_seconds(seconds).get_current_date_time();
            assert_eq!(epoch_seconds(moment), i64::try_from(seconds).unwrap());
        }
    }

    #[test]
    fn seconds_become_dates_and_stay_in_the_range_of_fat() {
        assert_eq!(date(0), (1980, 1, 1));
        assert_eq!(date(951_782_400), (2000, 2, 29));
        assert_eq!(date(1_795_219_200), (2026, 11, 21)); // `date --utc --date=@1795219200`
        assert_eq!(date(u64::MAX), (2107, 12, 31));
    }
}
