//! Work that may take long, or may not: progress is told from the first second on, and Ctrl-C is obeyed throughout.

use std::time::{Duration, Instant};

use crate::base::{Interrupt, Interrupted, Progress};

/// What is over sooner needs no talk.
const PATIENCE: Duration = Duration::from_secs(1);

/// One piece of work, over when dropped.
pub struct Job<'p> {
    what: String,
    total_bytes: Option<u64>,
    done_bytes: u64,
    began: Instant,
    is_told: bool,
    progress: &'p dyn Progress,
    interrupt: &'p Interrupt,
}

impl<'p> Job<'p> {
    /// Begins: what it does, in a few words.
    #[must_use]
    pub fn new(what: &str, progress: &'p dyn Progress, interrupt: &'p Interrupt) -> Self {
        let (what, began) = (what.to_owned(), Instant::now());
        Self { what, total_bytes: None, done_bytes: 0, began, is_told: false, progress, interrupt }
    }

    /// How much there is to do, where that is known.
    #[must_use]
    pub fn of_bytes(mut self, total_bytes: Option<u64>) -> Self {
        self.total_bytes = total_bytes;
        self
    }

    /// That many more bytes are done.
    ///
    /// # Errors
    /// [`Interrupted`]
    pub fn advance(&mut self, bytes: u64) -> Result<(), Interrupted> {
        self.interrupt.check()?;
        if self.is_told {
            self.progress.advance(bytes);
            return Ok(());
        }
        self.done_bytes += bytes;
        if self.began.elapsed() >= PATIENCE {
            self.is_told = true;
            self.progress.start(&self.what, self.total_bytes);
            self.progress.advance(self.done_bytes);
        }
        Ok(())
    }
}

impl Drop for Job<'_> {
    fn drop(&mut self) {
        if self.is_told {
            self.progress.finish();
        }
    }
}
