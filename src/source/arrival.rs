//! A file that is being written by one thread and read by another: how much of it has come.
//!
//! The download appends to a partial file and tells; the decoder reads what is there and waits for more. When the
//! download begins again from the start, because the server has another file by now, what was read is worth nothing:
//! the reader is told, and begins again too.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::base::{Interrupt, Interrupted};

/// Between two looks at whether the user asked to stop.
const PATIENCE: Duration = Duration::from_millis(100);

/// How much of a file has come.
#[derive(Debug, Default)]
pub(super) struct Arrival {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    len_bytes: u64,
    /// How often the file began again.
    round: u64,
    end: Option<End>,
}

#[derive(Clone, Copy, Debug)]
enum End {
    Whole,
    Failed,
}

/// What a reader finds behind what it has read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// The file reaches to here, behind the reader.
    Until(u64),
    /// The reader has all of it.
    End,
    /// The file began again.
    Restarted,
    /// The rest will not come; the writer has the reason.
    Failed,
}

impl Arrival {
    /// The file is this long now.
    pub(super) fn reached(&self, len_bytes: u64) {
        self.change(|state| state.len_bytes = len_bytes);
    }

    /// The file is empty again.
    pub(super) fn restarted(&self) {
        self.change(|state| *state = State { round: state.round + 1, ..State::default() });
    }

    /// All of it is there.
    pub(super) fn ended(&self) {
        self.change(|state| state.end = Some(End::Whole));
    }

    /// No more will come.
    pub(super) fn failed(&self) {
        self.change(|state| state.end = Some(End::Failed));
    }

    /// Will the rest not come?
    pub(super) fn has_failed(&self) -> bool {
        matches!(self.lock().end, Some(End::Failed))
    }

    /// The round that a reader which begins now belongs to.
    pub(super) fn round(&self) -> u64 {
        self.lock().round
    }

    /// Waits until there is something behind `offset`.
    pub(super) fn wait(&self, offset: u64, round: u64, interrupt: &Interrupt) -> Result<Next, Interrupted> {
        let mut state = self.lock();
        loop {
            interrupt.check()?;
            if state.round != round {
                return Ok(Next::Restarted);
            }
            if state.len_bytes > offset {
                return Ok(Next::Until(state.len_bytes));
            }
            match state.end {
                Some(End::Whole) => return Ok(Next::End),
                Some(End::Failed) => return Ok(Next::Failed),
                None => {}
            }
            state = self.changed.wait_timeout(state, PATIENCE).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn change(&self, how: impl FnOnce(&mut State)) {
        how(&mut self.lock());
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
