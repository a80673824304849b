//! Knowing when the daemon has nothing to do: what lets a simulation move time on.
//!
//! In a simulation the world's time stands still while the daemon works, so that figures never depend on how fast
//! the machine is. Everything the daemon does is therefore counted, by one of two things:
//!
//! * [`Busy`]: a piece of work. A message in a queue, a call under way, a batch on its way to the disk each hold
//!   one, from before they are handed over until after their consequences have been handed on.
//! * a sleeper: somebody who waits for the clock and for nothing else. A call that sleeps (a token bucket, a
//!   retry's back-off) lends its `Busy` back meanwhile.
//!
//! Idle is: no work, and no sleeper whose time has come. The second half closes the gap between the moment at
//! which time is moved and the moment at which the woken task is run. Both halves change under one lock, so that
//! there is no instant at which work is seen by neither.
//!
//! What this asks of ports: a call waits either for the world or for the clock it was given, not for both at once
//! (transport timeouts are on the host's time and do not count).

use fleet::Timestamp;
use fleet::ports::Clock;
use std::collections::BTreeSet;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::Notify;

tokio::task_local! {
    /// The call that the current task carries out.
    static CALL: Arc<Call>;
}

/// What is going on.
#[derive(Debug, Default)]
pub(crate) struct Activity {
    counts: Mutex<Counts>,
    /// Told whenever the last work ends or a sleeper goes.
    changed: Notify,
}

#[derive(Debug, Default)]
struct Counts {
    /// Signed: at the end of everything a call may be cut off in its sleep, its work already given up.
    work: isize,
    /// (when, a number that tells equal ones apart).
    sleepers: BTreeSet<(Duration, u64)>,
    next: u64,
}

/// A piece of work. Ends when it is dropped.
#[derive(Debug)]
pub(crate) struct Busy(Arc<Activity>);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.end();
    }
}

impl Activity {
    fn counts(&self) -> MutexGuard<'_, Counts> {
        // A panic elsewhere leaves nothing half done in here.
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a piece of work.
    pub(crate) fn begin(self: &Arc<Self>) -> Busy {
        self.counts().work += 1;
        Busy(Arc::clone(self))
    }

    fn end(&self) {
        let mut counts = self.counts();
        counts.work -= 1;
        if counts.work == 0 {
            self.changed.notify_waiters();
        }
    }

    fn add_sleeper(counts: &mut Counts, at: Duration) -> (Duration, u64) {
        let key = (at, counts.next);
        counts.next += 1;
        counts.sleepers.insert(key);
        key
    }

    /// Whether nothing can happen before the clock moves on.
    pub(crate) fn is_idle(&self, clock: &dyn Clock) -> bool {
        let counts = self.counts();
        let due = counts.sleepers.first().is_some_and(|(at, _)| *at <= clock.monotonic());
        counts.work == 0 && !due
    }

    /// Waits until nothing can happen before the clock moves on.
    pub(crate) async fn idle(&self, clock: &dyn Clock) {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            // Listening begins before looking: what changes in between is not missed.
            changed.as_mut().enable();
            if self.is_idle(clock) {
                return;
            }
            changed.await;
        }
    }

    /// Sleeps as a task of the daemon's own; wakes with work in hand.
    pub(crate) fn sleep(self: &Arc<Self>, clock: &dyn Clock, at: Duration) -> Sleep {
        let key = Self::add_sleeper(&mut self.counts(), at);
        Sleep { inner: clock.sleep_until(at), activity: Arc::clone(self), key: Some(key) }
    }
}

/// A sleep of a task of the daemon's own.
pub(crate) struct Sleep {
    inner: Pin<Box<dyn Future<Output = ()> + Send>>,
    activity: Arc<Activity>,
    key: Option<(Duration, u64)>,
}

impl Future for Sleep {
    type Output = Busy;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Busy> {
        std::task::ready!(self.inner.as_mut().poll(context));
        let key = self.key.take();
        let mut counts = self.activity.counts();
        counts.work += 1;
        if let Some(key) = key {
            counts.sleepers.remove(&key);
        }
        drop(counts);
        Poll::Ready(Busy(Arc::clone(&self.activity)))
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(key) = self.key.take() {
            self.activity.counts().sleepers.remove(&key);
            self.activity.changed.notify_waiters();
        }
    }
}

/// A call to a port: work, but for the time in which it sleeps on the clock.
#[derive(Debug)]
pub(crate) struct Call {
    activity: Arc<Activity>,
    /// How many sleeps it is in; changed under the activity's lock.
    sleeps: std::sync::atomic::AtomicUsize,
}

impl Call {
    /// A call that is about to begin. `_busy` is its work: whoever holds it ends it, after the call's end has
    /// been dealt with.
    pub(crate) fn new(busy: &Busy) -> Arc<Self> {
        Arc::new(Self { activity: Arc::clone(&busy.0), sleeps: std::sync::atomic::AtomicUsize::new(0) })
    }

    /// Runs the call; sleeps on a [`TrackedClock`] within it count as the call's.
    pub(crate) async fn run<T>(self: Arc<Self>, work: impl Future<Output = T>) -> T {
        CALL.scope(self, work).await
    }

    fn fall_asleep(&self, at: Duration) -> (Duration, u64) {
        let mut counts = self.activity.counts();
        if self.sleeps.fetch_add(1, std::sync::atomic::Ordering::Relaxed) == 0 {
            counts.work -= 1;
        }
        let key = Activity::add_sleeper(&mut counts, at);
        if counts.work == 0 {
            self.activity.changed.notify_waiters();
        }
        key
    }

    fn wake_up(&self, key: (Duration, u64)) {
        let mut counts = self.activity.counts();
        counts.sleepers.remove(&key);
        if self.sleeps.fetch_sub(1, std::sync::atomic::Ordering::Relaxed) == 1 {
            counts.work += 1;
        }
    }
}

/// The clock that ports are given: the daemon's own, which notices when a call does nothing but wait for it.
pub(crate) struct TrackedClock(pub(crate) Arc<dyn Clock>);

impl Clock for TrackedClock {
    fn wall(&self) -> Timestamp {
        self.0.wall()
    }
    fn monotonic(&self) -> Duration {
        self.0.monotonic()
    }
    fn sleep_until(&self, at: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(CallSleep { inner: self.0.sleep_until(at), at, asleep: None })
    }
}

struct CallSleep {
    inner: Pin<Box<dyn Future<Output = ()> + Send>>,
    at: Duration,
    asleep: Option<(Arc<Call>, (Duration, u64))>,
}

impl CallSleep {
    fn wake_up(&mut self) {
        if let Some((call, key)) = self.asleep.take() {
            call.wake_up(key);
        }
    }
}

impl Future for CallSleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let poll = self.inner.as_mut().poll(context);
        if poll.is_ready() {
            self.wake_up();
        } else if self.asleep.is_none()
            // Sleeps outside of calls (a connection pool's, say) are nobody's work.
            && let Ok(call) = CALL.try_with(Arc::clone)
        {
            let key = call.fall_asleep(self.at);
            self.asleep = Some((call, key));
        }
        poll
    }
}

impl Drop for CallSleep {
    fn drop(&mut self) {
        self.wake_up();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fleet_clock::SteppedClock;
    use std::task::Waker;

    const SECOND: Duration = Duration::from_secs(1);

    fn stepped() -> (SteppedClock, Arc<Activity>) {
        (SteppedClock::new(Timestamp::EPOCH), Arc::default())
    }

    fn poll<T>(future: &mut Pin<Box<impl Future<Output = T> + ?Sized>>) -> Poll<T> {
        future.as_mut().poll(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn idle_waits_for_the_end_of_all_work() {
        let (clock, activity) = stepped();
        let (one, two) = (activity.begin(), activity.begin());
        let mut idle = Box::pin(activity.idle(&clock));
        assert!(poll(&mut idle).is_pending());
        drop(one);
        assert!(poll(&mut idle).is_pending());
        drop(two);
        assert!(poll(&mut idle).is_ready());
    }

    #[test]
    fn a_sleeper_whose_time_has_come_is_work_before_it_has_run() {
        let (clock, activity) = stepped();
        let mut sleep = Box::pin(activity.sleep(&clock, SECOND));
        assert!(poll(&mut sleep).is_pending());
        assert!(activity.is_idle(&clock));
        clock.advance_to(SECOND);
        assert!(!activity.is_idle(&clock), "woken, but nobody has run it yet");
        let Poll::Ready(busy) = poll(&mut sleep) else { panic!("its time has come") };
        assert!(!activity.is_idle(&clock), "it runs");
        drop(busy);
        assert!(activity.is_idle(&clock));
        let abandoned = activity.sleep(&clock, 2 * SECOND);
        clock.advance_to(3 * SECOND);
        assert!(!activity.is_idle(&clock));
        drop(abandoned);
        assert!(activity.is_idle(&clock), "nobody waits any more");
    }

    #[test]
    fn a_call_is_work_but_for_its_sleeps() {
        let (clock, activity) = stepped();
        let tracked = TrackedClock(Arc::new(clock.clone()));
        let busy = activity.begin();
        let (answer, world) = tokio::sync::oneshot::channel::<()>();
        let mut call = Box::pin(Call::new(&busy).run(async move {
            tracked.sleep_until(SECOND).await;
            let _ = world.await;
            tracked.sleep_until(3 * SECOND).await;
        }));
        assert!(!activity.is_idle(&clock), "about to begin");
        assert!(poll(&mut call).is_pending());
        assert!(activity.is_idle(&clock), "asleep");
        clock.advance_to(SECOND);
        assert!(!activity.is_idle(&clock), "woken");
        assert!(poll(&mut call).is_pending());
        assert!(!activity.is_idle(&clock), "waits for the world");
        answer.send(()).expect("it waits");
        assert!(poll(&mut call).is_pending());
        assert!(activity.is_idle(&clock), "asleep again");
        drop(call);
        assert!(!activity.is_idle(&clock), "cut off in its sleep, its end not dealt with");
        drop(busy);
        assert!(activity.is_idle(&clock));
    }
}
