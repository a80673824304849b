//! Waiting for what comes about by itself, without pressing whoever is asked for it.

use crate::node::Node;
use bootstrap_core::{Failure, Pace, Step};
use fleet::ErrorClass;
use std::time::Duration;

/// Of a program of this node, which is ready when it is: so much of what it has taken may be waited for in vain.
const IN_VAIN: u32 = 10;
/// The shortest pause between two looks at it.
const SHORTEST: Duration = Duration::from_millis(20);

/// The wait of a step: it looks again and again, until its time is over.
pub(super) struct Patience<'a> {
    node: &'a Node,
    step: Step,
    pace: Pace,
    until: Duration,
    /// Since when a program of this node is waited for.
    begun: Option<Duration>,
}

impl<'a> Patience<'a> {
    /// * `looks`: the pause between two looks, where nobody asks for more.
    /// * `within`: how long all of it may take.
    pub(super) fn new(node: &'a Node, step: Step, looks: Duration, within: Duration) -> Self {
        let until = node.clock.monotonic().saturating_add(within);
        Self { node, step, pace: Pace::new(looks), until, begun: None }
    }

    /// The same for what has been started on this node: at first it is looked at more often than after `looks`. That presses nobody
    /// else, and of a boot that takes a second, pauses of a quarter would be half.
    pub(super) fn here(node: &'a Node, step: Step, looks: Duration, within: Duration) -> Self {
        Self { begun: Some(node.clock.monotonic()), ..Self::new(node, step, looks, within) }
    }

    fn shortened(&self, pause: Duration) -> Duration {
        let Some(begun) = self.begun else { return pause };
        pause.min(SHORTEST.max(self.node.clock.monotonic().saturating_sub(begun) / IN_VAIN))
    }

    /// Says what is waited for, and waits until the next look.
    pub(super) async fn for_more(&mut self, what: &str) {
        let pause = self.pace.answered();
        let pause = self.shortened(pause);
        self.node.wait(self.step, what, pause).await;
    }

    /// Waits after a look that came to a failure, for as long as that asks for.
    ///
    /// Fails with it once the time is over; and at once where it will be before the server wants to be asked again: the
    /// step's next attempt minds that.
    pub(super) async fn after(&mut self, failure: Failure) -> Result<(), Failure> {
        let mut pause = self.pace.failed(failure.class, self.node.seed() ^ self.step as u64);
        if !matches!(failure.class, ErrorClass::Throttled { .. } | ErrorClass::Unclear) {
            pause = self.shortened(pause);
        }
        let left = self.until.saturating_sub(self.node.clock.monotonic());
        let asked =
            matches!(failure.class, ErrorClass::Throttled { retry_after: Some(after) } if after > left);
        if left.is_zero() || asked {
            return Err(failure);
        }
        self.node.wait(self.step, &failure.to_string(), pause.min(left)).await;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::watch::tests::Bench;
    use std::sync::{Arc, Mutex};

    /// The pauses of twenty seconds, in milliseconds. * `here`: of a program of this node.
    async fn pauses(here: bool, class: ErrorClass) -> Vec<u128> {
        let bench = Bench::new(|_| {});
        let (node, looks) = (Arc::clone(&bench.node), Arc::<Mutex<Vec<_>>>::default());
        let noted = Arc::clone(&looks);
        let waits = tokio::spawn(async move {
            let of = if here { Patience::here } else { Patience::new };
            let mut patience = of(&node, Step::Nomad, Duration::from_millis(250), Duration::from_secs(600));
            loop {
                noted.lock().expect("whole").push(node.clock.monotonic().as_millis());
                patience.after(Failure::new(class, "not yet")).await.expect("there is time");
            }
        });
        bench.seconds(20).await;
        waits.abort();
        let looks = looks.lock().expect("whole");
        looks.windows(2).map(|pair| pair[1] - pair[0]).collect()
    }

    #[tokio::test]
    async fn what_is_started_here_is_looked_at_sooner_and_who_is_pressed_is_not() {
        let soon = pauses(true, ErrorClass::Conflict).await;
        assert_eq!(soon[..3], [20, 20, 20]);
        assert!(soon.is_sorted() && soon.last() == Some(&250), "{soon:?}");
        let mut passed = 0;
        for pause in soon {
            assert!(pause <= 20.max(passed / 10 + 1), "{pause} ms after {passed} ms");
            passed += pause;
        }
        assert!(pauses(false, ErrorClass::Conflict).await.iter().all(|pause| *pause == 250));
        assert!(pauses(true, ErrorClass::Unclear).await.iter().all(|pause| *pause >= 250));
    }
}
