//! What is tried again, when, and how often.

use std::time::{Duration, Instant};

use reqwest::StatusCode;

use super::client::Patience;
use super::error::{Error, Trouble};
use crate::base::{Interrupt, Interrupted, Progress};

/// A server that wants to be left alone for longer is taken at its word: the user decides when to come back.
pub(super) const RETRY_AFTER_MAX: Duration = Duration::from_secs(600);
/// A host that cannot be found or reached at all is most often a typing error or a cable: no reason to keep the user
/// waiting for minutes before they hear of it.
const UNREACHABLE_TRIES: u32 = 3;
/// Between two looks at whether the user asked to stop.
const TICK: Duration = Duration::from_millis(50);

/// May the same question have another answer soon?
pub(super) fn is_passing(status: StatusCode) -> bool {
    matches!(status.as_u16(), 408 | 429 | 500 | 502 | 503 | 504)
}

/// Counts the tries in vain for one file.
pub(super) struct Retry<'r> {
    pub(super) patience: &'r Patience,
    pub(super) url: &'r str,
    pub(super) progress: &'r dyn Progress,
    pub(super) interrupt: &'r Interrupt,
    /// Tries in a row without progress.
    pub(super) vain: u32,
    /// Did the server ever answer?
    pub(super) answered: bool,
}

impl<'r> Retry<'r> {
    pub(super) fn new(
        patience: &'r Patience,
        url: &'r str,
        progress: &'r dyn Progress,
        interrupt: &'r Interrupt,
    ) -> Self {
        Self { patience, url, progress, interrupt, vain: 0, answered: false }
    }

    /// Something new came.
    pub(super) fn advanced(&mut self) {
        self.vain = 0;
    }

    /// Waits for the next try.
    ///
    /// # Errors
    /// [`Error::GaveUp`] when there is none, [`Error::Interrupted`].
    pub(super) fn wait(&mut self, trouble: Trouble, after: Option<Duration>) -> Result<(), Error> {
        self.answered |= !matches!(trouble, Trouble::Unreachable(_));
        self.vain += 1;
        let tries =
            if self.answered { self.patience.tries } else { self.patience.tries.min(UNREACHABLE_TRIES) };
        if self.vain >= tries {
            return Err(self.gave_up(trouble));
        }
        let random = getrandom::u32().unwrap_or_default();
        let wait = back_off(self.patience, self.vain, random).max(after.unwrap_or_default());
        self.progress.note(&format!("{}: {trouble}; trying again in {}", self.url, shown(wait)));
        sleep(wait, self.interrupt)?;
        Ok(())
    }

    pub(super) fn gave_up(&self, trouble: Trouble) -> Error {
        Error::GaveUp { url: self.url.to_owned(), tries: self.vain.max(1), trouble }
    }
}

/// How long to wait after the `vain`th try in vain, counted from one: twice as long each time, and up to a half more
/// by chance, so that the clients of a server that fell over do not come back all at once.
fn back_off(patience: &Patience, vain: u32, random: u32) -> Duration {
    let doublings = vain.saturating_sub(1).min(31);
    let wait = patience.first_wait.saturating_mul(1 << doublings).min(patience.longest_wait);
    wait.saturating_add(wait.mul_f64(f64::from(random) / f64::from(u32::MAX) / 2.0))
}

fn shown(wait: Duration) -> String {
    match wait.as_millis() {
        millis @ 0..1000 => format!("{millis} ms"),
        millis => format!("{} s", millis.div_ceil(1000)),
    }
}

fn sleep(wait: Duration, interrupt: &Interrupt) -> Result<(), Interrupted> {
    let begin = Instant::now();
    loop {
        interrupt.check()?;
        let left = wait.saturating_sub(begin.elapsed());
        if left.is_zero() {
            return Ok(());
        }
        std::thread::sleep(left.min(TICK));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Silent;

    fn patience() -> Patience {
        Patience {
            first_wait: Duration::from_secs(1),
            longest_wait: Duration::from_secs(60),
            ..Patience::default()
        }
    }

    #[test]
    fn waits_double_up_to_the_longest_and_chance_adds_half_at_most() {
        let secs = |vain, random| back_off(&patience(), vain, random).as_secs_f64();
        assert_eq!(
            [1, 2, 3, 6, 7, 8, 1000].map(|vain| secs(vain, 0)),
            [1.0, 2.0, 4.0, 32.0, 60.0, 60.0, 60.0]
        );
        assert_eq!([1, 2, 1000].map(|vain| secs(vain, u32::MAX)), [1.5, 3.0, 90.0]);
    }

    #[test]
    fn progress_gives_all_tries_back() {
        let patience = Patience { tries: 3, first_wait: Duration::ZERO, ..patience() };
        let interrupt = Interrupt::default();
        let mut retry = Retry::new(&patience, "http://a/", &Silent, &interrupt);
        for _ in 0..10 {
            retry.wait(Trouble::Changed, None).unwrap();
            retry.wait(Trouble::Changed, None).unwrap();
            retry.advanced();
        }
        retry.wait(Trouble::Changed, None).unwrap();
        retry.wait(Trouble::Changed, None).unwrap();
        assert!(matches!(retry.wait(Trouble::Changed, None), Err(Error::GaveUp { tries: 3, .. })));
    }

    #[test]
    fn a_host_that_never_answered_is_given_up_early() {
        let patience = Patience { tries: 8, first_wait: Duration::ZERO, ..patience() };
        let interrupt = Interrupt::default();
        let unreachable = || Trouble::Unreachable("no such host".to_owned());
        let mut retry = Retry::new(&patience, "http://a/", &Silent, &interrupt);
        retry.wait(unreachable(), None).unwrap();
        retry.wait(unreachable(), None).unwrap();
        assert!(matches!(retry.wait(unreachable(), None), Err(Error::GaveUp { tries: 3, .. })));

        let mut retry = Retry::new(&patience, "http://a/", &Silent, &interrupt);
        retry.wait(Trouble::Changed, None).unwrap();
        for _ in 0..6 {
            retry.wait(unreachable(), None).unwrap();
        }
        assert!(matches!(retry.wait(unreachable(), None), Err(Error::GaveUp { tries: 8, .. })));
    }

    #[test]
    fn a_wait_ends_when_the_user_asks_to_stop() {
        let patience = Patience { first_wait: Duration::from_secs(3600), ..patience() };
        let interrupt = Interrupt::default();
        interrupt.raise();
        let mut retry = Retry::new(&patience, "http://a/", &Silent, &interrupt);
        assert!(matches!(retry.wait(Trouble::Changed, None), Err(Error::Interrupted(_))));
    }
}
