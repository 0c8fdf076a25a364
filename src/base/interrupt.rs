//! A wish to stop, seen by every loop that can take longer than a moment.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Raised once by Ctrl-C, looked at between two pieces of work; clones share one flag.
#[derive(Clone, Debug, Default)]
pub struct Interrupt {
    raised: Arc<AtomicBool>,
    parent: Option<Arc<Self>>,
}

/// The user asked to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("interrupted")]
pub struct Interrupted;

impl Interrupt {
    /// One that is raised together with this one, and can be raised alone: for a part of the work that is no use any
    /// more while the rest goes on.
    #[must_use]
    pub fn child(&self) -> Self {
        Self { raised: Arc::default(), parent: Some(Arc::new(self.clone())) }
    }

    /// Asks every holder of this flag to stop.
    pub fn raise(&self) {
        self.raised.store(true, Ordering::Relaxed);
    }

    /// # Errors
    /// [`Interrupted`] once the flag has been raised.
    pub fn check(&self) -> Result<(), Interrupted> {
        if self.raised.load(Ordering::Relaxed) {
            return Err(Interrupted);
        }
        self.parent.as_ref().map_or(Ok(()), |parent| parent.check())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_stops_with_its_parent_and_not_the_other_way_round() {
        let parent = Interrupt::default();
        let (one, two) = (parent.child(), parent.child());
        one.raise();
        assert_eq!((one.check(), two.check(), parent.check()), (Err(Interrupted), Ok(()), Ok(())));
        parent.raise();
        assert_eq!(two.clone().check(), Err(Interrupted));
    }
}
