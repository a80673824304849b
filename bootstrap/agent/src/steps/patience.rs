//! Waiting for what comes about by itself, without pressing whoever is asked for it.

use crate::node::Node;
use bootstrap_core::{Failure, Pace, Step};
use std::time::Duration;

/// The wait of a step: it looks again and again, until its time is over.
pub(super) struct Patience<'a> {
    node: &'a Node,
    step: Step,
    pace: Pace,
    until: Duration,
}

impl<'a> Patience<'a> {
    /// * `looks`: the pause between two looks, where nobody asks for more.
    /// * `within`: how long all of it may take.
    pub(super) fn new(node: &'a Node, step: Step, looks: Duration, within: Duration) -> Self {
        let until = node.clock.monotonic().saturating_add(within);
        Self { node, step, pace: Pace::new(looks), until }
    }

    /// Says what is waited for, and waits until the next look.
    pub(super) async fn for_more(&mut self, what: &str) {
        let pause = self.pace.answered();
        self.node.wait(self.step, what, pause).await;
    }

    /// Waits after a look that came to a failure, for as long as that asks for.
    ///
    /// Fails with it once the time is over; and at once where it will be before the server wants to be asked again: the
    /// step's next attempt minds that.
    pub(super) async fn after(&mut self, failure: Failure) -> Result<(), Failure> {
        let pause = self.pace.failed(failure.class, self.node.seed() ^ self.step as u64);
        let left = self.until.saturating_sub(self.node.clock.monotonic());
        let asked = matches!(failure.class, fleet::ErrorClass::Throttled { retry_after: Some(after) } if after > left);
        if left.is_zero() || asked {
            return Err(failure);
        }
        self.node.wait(self.step, &failure.to_string(), pause.min(left)).await;
        Ok(())
    }
}
