//! FENCE: whether a write may be begun, for those who begin it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Says whether a write may be begun now. Cheap to clone and to ask; clones share what they say.
///
/// The elector moves it; whoever sends a write asks it immediately before each attempt, retries included, whatever
/// waited in between. It needs no elector that runs: where the deciding loop hangs or the process was frozen, the
/// lease in here runs out by itself.
#[derive(Clone, Debug, Default)]
pub struct Fence {
    /// Microseconds of monotonic time; 0: closed.
    until: Arc<AtomicU64>,
}

impl Fence {
    /// A fence that is always open: for who runs alone.
    pub fn open() -> Self {
        Self { until: Arc::new(AtomicU64::new(u64::MAX)) }
    }

    /// Whether a write may be begun at monotonic time `now`.
    pub fn may_write(&self, now: Duration) -> bool {
        micros(now) < self.until.load(Ordering::Acquire)
    }

    /// The monotonic time before which a write may be begun; `None`: none may, [`Duration::MAX`]: always.
    pub fn until(&self) -> Option<Duration> {
        match self.until.load(Ordering::Acquire) {
            0 => None,
            u64::MAX => Some(Duration::MAX),
            micros => Some(Duration::from_micros(micros)),
        }
    }

    /// Moves the end of the lease. Rounds down, never up.
    pub(crate) fn set(&self, until: Option<Duration>) {
        self.until.store(until.map_or(0, micros), Ordering::Release);
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fence_is_closed_from_the_end_of_the_lease_on() {
        let fence = Fence::default();
        let shared = fence.clone();
        let at = Duration::from_millis;
        assert!(!shared.may_write(at(0)));
        fence.set(Some(at(4000)));
        assert!(shared.may_write(at(3999)));
        assert!(!shared.may_write(at(4000)), "the end is no part of it");
        assert_eq!(shared.until(), Some(at(4000)));
        fence.set(None);
        assert!(!shared.may_write(at(0)));
        assert!(Fence::open().may_write(at(u64::MAX / 2000)));
    }
}
