//! The only module that reads the host's clock, and a clock that tests and simulations move by hand.

use fleet::Timestamp;
use fleet::ports::Clock;
use rustix::time::{ClockId, clock_gettime};
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::oneshot;

/// The host's clock.
///
/// Its monotonic time goes on while the host is suspended (`CLOCK_BOOTTIME`), which `std`'s does not: a lease must
/// have run out when a host wakes. Sleepers are late by the time of the suspension.
#[derive(Clone, Copy, Debug)]
pub struct SystemClock {
    started: Duration,
}

impl SystemClock {
    /// A clock whose monotonic time starts at zero now.
    pub fn new() -> Self {
        Self { started: since_boot() }
    }
}

/// Time since the host booted, suspensions included.
fn since_boot() -> Duration {
    // Never negative.
    clock_gettime(ClockId::Boottime).try_into().unwrap_or_default()
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the host's clock")]
    fn wall(&self) -> Timestamp {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Timestamp::EPOCH + since
    }
    fn monotonic(&self) -> Duration {
        since_boot().saturating_sub(self.started)
    }
    #[expect(clippy::disallowed_methods, reason = "this is the one place that sleeps by the host's clock")]
    fn sleep_until(&self, at: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(tokio::time::sleep(at.saturating_sub(self.monotonic())))
    }
}

/// A clock that stands still until it is moved. Clones share one time.
///
/// Wall time can be made to jump without monotonic time, as hosts' clocks do.
#[derive(Clone, Debug)]
pub struct SteppedClock {
    shared: Arc<Mutex<Stepped>>,
}

#[derive(Debug)]
struct Stepped {
    start: Timestamp,
    wall_offset_ms: i64,
    elapsed: Duration,
    sleepers: BTreeMap<(Duration, u64), oneshot::Sender<()>>,
    next_sleeper: u64,
}

impl SteppedClock {
    /// A clock that shows `start` and stands still.
    pub fn new(start: Timestamp) -> Self {
        let stepped = Stepped {
            start,
            wall_offset_ms: 0,
            elapsed: Duration::ZERO,
            sleepers: BTreeMap::new(),
            next_sleeper: 0,
        };
        Self { shared: Arc::new(Mutex::new(stepped)) }
    }
    fn locked(&self) -> MutexGuard<'_, Stepped> {
        // A panic elsewhere leaves nothing half done in here.
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
    /// Moves both times on to monotonic time `to`, and wakes who waited for it. Never goes back.
    pub fn advance_to(&self, to: Duration) {
        let mut stepped = self.locked();
        stepped.elapsed = stepped.elapsed.max(to);
        let now = stepped.elapsed;
        while let Some(entry) = stepped.sleepers.first_entry() {
            if entry.key().0 > now {
                break;
            }
            // Who no longer waits does not mind.
            let _ = entry.remove().send(());
        }
    }
    /// Makes wall time jump by `millis` (either way) without monotonic time.
    pub fn jump_wall(&self, millis: i64) {
        let mut stepped = self.locked();
        stepped.wall_offset_ms = stepped.wall_offset_ms.saturating_add(millis);
    }
    /// The monotonic time at which the next sleeper wants to wake, of those who still wait.
    pub fn next_wake(&self) -> Option<Duration> {
        let mut stepped = self.locked();
        stepped.sleepers.retain(|_, sender| !sender.is_closed());
        stepped.sleepers.first_key_value().map(|((at, _), _)| *at)
    }
}

impl Clock for SteppedClock {
    fn wall(&self) -> Timestamp {
        let stepped = self.locked();
        let now = stepped.start + stepped.elapsed;
        Timestamp::from_millis(now.millis().saturating_add(stepped.wall_offset_ms))
    }
    fn monotonic(&self) -> Duration {
        self.locked().elapsed
    }
    fn sleep_until(&self, at: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let mut stepped = self.locked();
        if at <= stepped.elapsed {
            return Box::pin(std::future::ready(()));
        }
        let (sender, receiver) = oneshot::channel();
        let number = stepped.next_sleeper;
        stepped.next_sleeper += 1;
        stepped.sleepers.insert((at, number), sender);
        Box::pin(async move {
            // An error means that the clock itself is gone: nobody is left to wait for.
            let _ = receiver.await;
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn sleepers_wake_in_their_order_and_only_when_time_has_come() {
        let clock = SteppedClock::new(Timestamp::from_secs(100));
        let late = tokio::spawn(clock.sleep_until(Duration::from_secs(20)));
        let early = tokio::spawn(clock.sleep_until(Duration::from_secs(10)));
        assert_eq!(clock.next_wake(), Some(Duration::from_secs(10)));
        clock.advance_to(Duration::from_secs(10));
        early.await.expect("the early sleeper wakes");
        assert!(!late.is_finished());
        assert_eq!(clock.next_wake(), Some(Duration::from_secs(20)));
        late.abort();
        assert!(late.await.is_err());
        assert_eq!(clock.next_wake(), None, "who no longer waits is forgotten");
    }

    #[tokio::test]
    async fn the_hosts_clock_starts_at_zero_and_sleepers_wake_when_their_time_has_come() {
        let clock = SystemClock::new();
        assert!(clock.monotonic() < Duration::from_secs(60));
        let at = clock.monotonic() + Duration::from_millis(20);
        clock.sleep_until(at).await;
        assert!(clock.monotonic() >= at);
        clock.sleep_until(Duration::ZERO).await;
    }

    #[test]
    fn wall_time_jumps_alone() {
        let clock = SteppedClock::new(Timestamp::from_secs(100));
        clock.advance_to(Duration::from_secs(5));
        clock.jump_wall(-60_000);
        assert_eq!(clock.wall(), Timestamp::from_secs(45));
        assert_eq!(clock.monotonic(), Duration::from_secs(5));
    }
}
