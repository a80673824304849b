//! Keeps the calls of one region within their budget, and repeats those that may be repeated.
//!
//! The one retry policy there is: the SDK's own retries are off. Everything that waits here waits on the given
//! [`Clock`]; only an attempt on the wire is bounded in the host's time.

use crate::action::{ACTIONS, Action, Effect};
use crate::config::{AwsConfig, Budget, Guard, Timeouts};
use crate::errors;
use fleet::ports::Clock;
use fleet::{ApiError, ErrorClass, Region};
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tracing::Instrument as _;

/// Attempts of one call, the first included. Five with these pauses fill the deadline of a read; more would
/// only add load to a service that is in trouble.
const MAX_ATTEMPTS: u32 = 5;
/// The longest first pause after a failure that had nothing to do with load.
const TRANSIENT_PAUSE: Duration = Duration::from_millis(200);
/// The longest first pause after a refusal for rate: EC2's buckets refill by the second.
const THROTTLED_PAUSE: Duration = Duration::from_secs(1);
/// No pause grows beyond this.
const LONGEST_PAUSE: Duration = Duration::from_secs(8);

/// What a call takes besides its request: AWS counts these too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Toll {
    /// Nothing.
    None,
    /// Instances that are to be terminated: 1000, and 20 more a second.
    /// <https://docs.aws.amazon.com/ec2/latest/devguide/ec2-api-throttling.html>
    Instances(u32),
    /// Datapoints that CloudWatch has to read: 180,000 a second.
    /// <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/cloudwatch_limits.html>
    Datapoints(u32),
}

/// The budget of one account in one region, shared by all who call there.
pub(crate) struct Governor {
    clock: Arc<dyn Clock>,
    timeouts: Timeouts,
    guard: Guard,
    state: Mutex<State>,
}

struct State {
    actions: [Bucket; ACTIONS.len()],
    instances: Bucket,
    datapoints: Bucket,
    chance: Chance,
}

impl Governor {
    /// Full buckets, at the share of AWS's documented rates that the budget allows.
    pub(crate) fn new(config: &AwsConfig, region: &Region, clock: Arc<dyn Clock>) -> Self {
        let bucket = |size, refill| Bucket::new(size, refill, config.budget);
        let state = State {
            actions: ACTIONS.map(|facts| bucket(facts.bucket, facts.refill)),
            instances: bucket(1000, 20),
            datapoints: bucket(180_000, 180_000),
            chance: Chance::forked(config.seed, region.as_str()),
        };
        Self { clock, timeouts: config.timeouts, guard: config.guard.clone(), state: Mutex::new(state) }
    }

    /// Makes a call: waits until the budget allows it, bounds each attempt, repeats what is safe to repeat.
    ///
    /// * `wait`: how much longer than others the call may take, each attempt and the whole.
    /// * `attempt`: one request on the wire, its failure already classified.
    ///
    /// Repeated: `Throttled` (nothing was done) and `Transient` (nothing can have been done, or nothing is
    /// changed by it). All else is final, `Unclear` first of all. When the budget would keep the call waiting
    /// beyond its deadline, it is refused as `Throttled` at once, without being sent.
    pub(crate) async fn call<T, F, Sent>(
        &self,
        action: Action,
        toll: Toll,
        wait: Duration,
        attempt: F,
    ) -> Result<T, ApiError>
    where
        F: Fn() -> Sent,
        Sent: Future<Output = Result<T, ApiError>>,
    {
        let span = tracing::debug_span!("aws", operation = action.facts().name);
        self.repeat(action, toll, wait, attempt).instrument(span).await
    }

    async fn repeat<T, F, Sent>(
        &self,
        action: Action,
        toll: Toll,
        wait: Duration,
        attempt: F,
    ) -> Result<T, ApiError>
    where
        F: Fn() -> Sent,
        Sent: Future<Output = Result<T, ApiError>>,
    {
        let (limit, deadline) = match action.effect() {
            Effect::Read => (self.timeouts.read_attempt, self.timeouts.read_deadline),
            Effect::Write => (self.timeouts.write_attempt, self.timeouts.write_deadline),
        };
        let (limit, deadline) = (limit + wait, self.clock.monotonic() + deadline + wait);
        let mut attempts = 0;
        loop {
            self.admit(action, toll, deadline).await?;
            // The last thing before each attempt: a lease may have run out while the budget or a retry was waited for.
            if action.effect() == Effect::Write && !self.guard.may_write() {
                let words = "leadership was lost before it was sent";
                return Err(ApiError::new(ErrorClass::Conflict, "muster", action.facts().name, None, words));
            }
            let left = deadline.saturating_sub(self.clock.monotonic());
            let error = match tokio::time::timeout(limit.min(left), attempt()).await {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(error)) => error,
                Err(_) => timed_out(action, limit.min(left)),
            };
            attempts += 1;
            let Some(pause) = self.pause_after(action, error.class, attempts) else { return Err(error) };
            let next = self.clock.monotonic() + pause;
            if attempts == MAX_ATTEMPTS || next >= deadline {
                return Err(error);
            }
            tracing::debug!(class = error.class.label(), attempts, "call failed, to be repeated");
            self.clock.sleep_until(next).await;
        }
    }

    /// Waits for the budget. Whoever waits has already taken its turn: later callers wait behind it.
    async fn admit(&self, action: Action, toll: Toll, deadline: Duration) -> Result<(), ApiError> {
        let now = self.clock.monotonic();
        let ready = {
            let mut state = self.locked();
            let State { actions, instances, datapoints, .. } = &mut *state;
            let request = &mut actions[action.index()];
            let tolled = match toll {
                Toll::None => None,
                Toll::Instances(count) => Some((instances, count)),
                Toll::Datapoints(count) => Some((datapoints, count)),
            };
            let mut ready = request.ready(1, now);
            if let Some((bucket, count)) = &tolled {
                ready = ready.max(bucket.ready(*count, now));
            }
            if ready < deadline {
                request.take(1, now);
                if let Some((bucket, count)) = tolled {
                    bucket.take(count, now);
                }
            }
            ready
        };
        if ready >= deadline {
            let class = ErrorClass::Throttled { retry_after: Some(ready.saturating_sub(now)) };
            return Err(errors::local(class, action, "not sent: the budget of calls is used up"));
        }
        if ready > now {
            self.clock.sleep_until(ready).await;
        }
        Ok(())
    }

    /// How long to wait before another attempt; `None` when there must not be one.
    fn pause_after(&self, action: Action, class: ErrorClass, attempts: u32) -> Option<Duration> {
        let mut state = self.locked();
        match class {
            ErrorClass::Throttled { retry_after } => {
                // AWS's bucket is empty, whatever ours says: others draw from it too.
                let now = self.clock.monotonic();
                state.actions[action.index()].empty(now);
                let jitter = state.chance.below(pause_limit(THROTTLED_PAUSE, attempts));
                Some(retry_after.unwrap_or_default() + jitter)
            }
            ErrorClass::Transient => Some(state.chance.below(pause_limit(TRANSIENT_PAUSE, attempts))),
            _ => None,
        }
    }

    fn locked(&self) -> MutexGuard<'_, State> {
        // A panic elsewhere leaves nothing half done in here.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn timed_out(action: Action, limit: Duration) -> ApiError {
    let message = format!("no whole answer within {}", fleet::DurationText(limit));
    errors::local(errors::unanswered(action.effect()), action, &message)
}

/// Doubles from attempt to attempt, up to [`LONGEST_PAUSE`].
fn pause_limit(first: Duration, attempts: u32) -> Duration {
    first.saturating_mul(1 << (attempts - 1).min(16)).min(LONGEST_PAUSE)
}

/// A token bucket, kept as the time at which it will be full again.
///
/// One number, exact in integer time: no drift, and nothing to refill. Takers may go into debt and wait for it,
/// which makes the queue fair.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    /// Tokens when full.
    size: u32,
    /// From one token to the next.
    interval: Duration,
    full_at: Duration,
}

impl Bucket {
    fn new(size: u32, refill: u32, budget: Budget) -> Self {
        // A share of nothing would never call again; NaN falls to the lower bound, too.
        let share = if budget.share >= 0.01 { budget.share.min(1.0) } else { 0.01 };
        // Rounded down, so that the share is a bound, but never to no token at all.
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a share of at most 1 of a u32 is a u32"
        )]
        let size = ((f64::from(size) * share) as u32).max(1);
        let interval = Duration::from_secs_f64(1.0 / (f64::from(refill) * share));
        Self { size, interval, full_at: Duration::ZERO }
    }
    /// When `count` tokens will be there.
    fn ready(&self, count: u32, now: Duration) -> Duration {
        let full_at = self.full_at.max(now) + self.interval.saturating_mul(count);
        full_at.saturating_sub(self.interval.saturating_mul(self.size)).max(now)
    }
    fn take(&mut self, count: u32, now: Duration) {
        self.full_at = self.full_at.max(now) + self.interval.saturating_mul(count);
    }
    fn empty(&mut self, now: Duration) {
        self.full_at = self.full_at.max(now + self.interval.saturating_mul(self.size));
    }
}

/// A small seeded generator (SplitMix64): jitter needs spread, not secrecy, and a simulated run must repeat.
#[derive(Clone, Copy, Debug)]
struct Chance(u64);

impl Chance {
    /// A stream of its own for every name (FNV-1a of it).
    fn forked(seed: u64, name: &str) -> Self {
        let fold = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        Self(name.bytes().fold(seed ^ 0xcbf2_9ce4_8422_2325, fold))
    }
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
    /// Evenly between nothing and `limit` ("full jitter"), in milliseconds.
    fn below(&mut self, limit: Duration) -> Duration {
        let limit = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX).saturating_add(1);
        Duration::from_millis(self.next() % limit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fleet::Timestamp;
    use fleet_clock::SteppedClock;
    use std::sync::atomic::{AtomicU32, Ordering};

    const READ: Action = Action::DescribeSpotFleetRequests;
    const WRITE: Action = Action::ModifyFleet;

    fn governor(clock: &SteppedClock) -> Arc<Governor> {
        let config = AwsConfig::new("eu-west-1".into());
        Arc::new(Governor::new(&config, &config.region, Arc::new(clock.clone())))
    }

    fn clock() -> SteppedClock {
        SteppedClock::new(Timestamp::from_secs(1_700_000_000))
    }

    /// Runs a call to its end, moving the clock whenever somebody waits on it.
    ///
    /// * returns: the outcome, how many attempts were made and how much time passed.
    async fn run(
        action: Action,
        outcomes: &'static [ErrorClass],
    ) -> (Result<u32, ErrorClass>, u32, Duration) {
        let clock = clock();
        let governor = governor(&clock);
        let sent = Arc::new(AtomicU32::new(0));
        let counter = Arc::clone(&sent);
        let mut call = tokio::spawn(async move {
            let attempt = || {
                let number = counter.fetch_add(1, Ordering::Relaxed);
                let failure = usize::try_from(number).ok().and_then(|index| outcomes.get(index));
                let failure = failure.map(|class| errors::local(*class, action, "scripted"));
                async move { failure.map_or(Ok(number), Err) }
            };
            governor.call(action, Toll::None, Duration::ZERO, attempt).await
        });
        let outcome = loop {
            tokio::select! {
                biased;
                outcome = &mut call => break outcome.expect("the call does not panic"),
                () = tokio::task::yield_now() => {
                    if let Some(next) = clock.next_wake() {
                        clock.advance_to(next);
                    }
                }
            }
        };
        (outcome.map_err(|error| error.class), sent.load(Ordering::Relaxed), clock.monotonic())
    }

    #[tokio::test]
    async fn a_write_that_waits_for_its_next_attempt_asks_again_whether_it_may_be_sent() {
        for (action, sent_in_all) in [(WRITE, 1), (READ, 2)] {
            let clock = clock();
            // The lease ends within the first pause.
            let lease = clock.clone();
            let may_write: fleet::ports::MayWrite = Arc::new(move || lease.monotonic() == Duration::ZERO);
            let config = AwsConfig { guard: Guard(Some(may_write)), ..AwsConfig::new("eu-west-1".into()) };
            let governor = Arc::new(Governor::new(&config, &config.region, Arc::new(clock.clone())));
            let sent = Arc::new(AtomicU32::new(0));
            let counter = Arc::clone(&sent);
            let mut call = tokio::spawn(async move {
                let attempt = || {
                    let first = counter.fetch_add(1, Ordering::Relaxed) == 0;
                    let failure = first.then(|| errors::local(THROTTLED, action, "scripted"));
                    async move { failure.map_or(Ok(()), Err) }
                };
                governor.call(action, Toll::None, Duration::ZERO, attempt).await
            });
            let outcome = loop {
                tokio::select! {
                    biased;
                    outcome = &mut call => break outcome.expect("the call does not panic"),
                    () = tokio::task::yield_now() => {
                        if let Some(next) = clock.next_wake() {
                            clock.advance_to(next.max(clock.monotonic() + Duration::from_millis(1)));
                        }
                    }
                }
            };
            assert_eq!(sent.load(Ordering::Relaxed), sent_in_all, "{outcome:?}");
            let refused = outcome.err().map(|error| error.class());
            assert_eq!(refused, (action == WRITE).then_some(ErrorClass::Conflict));
        }
    }

    const THROTTLED: ErrorClass = ErrorClass::Throttled { retry_after: None };
    const MUCH_LATER: ErrorClass = ErrorClass::Throttled { retry_after: Some(Duration::from_secs(60)) };

    #[tokio::test]
    async fn what_is_safe_to_repeat_is_repeated_within_the_deadline() {
        let (outcome, sent, took) = run(READ, &[ErrorClass::Transient, THROTTLED]).await;
        assert_eq!((outcome, sent), (Ok(2), 3));
        assert!(took > Duration::ZERO && took < Duration::from_secs(30), "{took:?}");
        let (outcome, sent, _) = run(WRITE, &[ErrorClass::Transient, THROTTLED]).await;
        assert_eq!((outcome, sent), (Ok(2), 3));
    }

    #[tokio::test]
    async fn a_write_whose_fate_is_unclear_is_never_repeated() {
        let (outcome, sent, _) = run(WRITE, &[ErrorClass::Unclear]).await;
        assert_eq!((outcome, sent), (Err(ErrorClass::Unclear), 1));
    }

    #[tokio::test]
    async fn what_repeating_cannot_cure_is_final() {
        for class in [
            &[ErrorClass::Denied],
            &[ErrorClass::Conflict],
            &[ErrorClass::NotFound],
            &[ErrorClass::Malformed],
        ] {
            let (outcome, sent, took) = run(READ, class).await;
            assert_eq!((outcome, sent, took), (Err(class[0]), 1, Duration::ZERO));
        }
    }

    #[tokio::test]
    async fn a_call_that_keeps_failing_ends() {
        let (outcome, sent, took) = run(READ, &[ErrorClass::Transient; 10]).await;
        assert_eq!((outcome, sent), (Err(ErrorClass::Transient), MAX_ATTEMPTS));
        assert!(took < Duration::from_secs(30), "{took:?}");
    }

    #[tokio::test]
    async fn the_server_s_own_word_on_when_to_return_is_kept() {
        const LATER: ErrorClass = ErrorClass::Throttled { retry_after: Some(Duration::from_secs(7)) };
        let (outcome, sent, took) = run(READ, &[LATER]).await;
        assert_eq!((outcome, sent), (Ok(1), 2));
        assert!(took >= Duration::from_secs(7), "came back after {took:?}");
        let (outcome, sent, _) = run(WRITE, &[MUCH_LATER]).await;
        assert!(matches!(outcome, Err(ErrorClass::Throttled { .. })), "{outcome:?}");
        assert_eq!(sent, 1, "a write does not wait beyond its deadline");
    }

    #[tokio::test]
    async fn an_answer_that_never_comes_leaves_a_write_unclear() {
        let clock = clock();
        let mut config = AwsConfig::new("eu-west-1".into());
        config.timeouts.write_attempt = Duration::from_millis(20);
        let governor = Governor::new(&config, &config.region, Arc::new(clock.clone()));
        let never = || std::future::pending::<Result<(), ApiError>>();
        let error =
            governor.call(WRITE, Toll::None, Duration::ZERO, never).await.expect_err("nobody answers");
        assert_eq!(error.class, ErrorClass::Unclear);
        assert_eq!(error.message, "no whole answer within 20ms");
    }

    #[tokio::test]
    async fn half_of_the_documented_rate_is_never_exceeded() {
        let clock = clock();
        let governor = governor(&clock);
        let mut admitted = Vec::new();
        // DescribeSpotFleetRequests: 50 and 3 a second, so 25 at once and then 1.5 a second.
        for _ in 0..60 {
            let governor = Arc::clone(&governor);
            admitted.push(tokio::spawn(async move {
                governor
                    .admit(READ, Toll::None, Duration::from_secs(3600))
                    .await
                    .map(|()| governor.clock.monotonic())
            }));
        }
        let mut times = Vec::new();
        for task in &mut admitted {
            let time = loop {
                tokio::select! {
                    biased;
                    done = &mut *task => break done.expect("no panic").expect("an hour is enough"),
                    () = tokio::task::yield_now() => {
                        if let Some(next) = clock.next_wake() {
                            clock.advance_to(next);
                        }
                    }
                }
            };
            times.push(time);
        }
        times.sort_unstable();
        assert_eq!(times.iter().filter(|time| time.is_zero()).count(), 25);
        let last = times[59];
        assert!((23.3..23.4).contains(&last.as_secs_f64()), "35 calls at 1.5 a second took {last:?}");
        for (index, window) in times.windows(26).enumerate() {
            assert!(window[25] > window[0], "26 calls at one instant, from call {index}");
        }
    }

    #[tokio::test]
    async fn a_call_that_would_wait_too_long_for_the_budget_is_not_sent() {
        let clock = clock();
        let governor = governor(&clock);
        let answer = || async { Ok::<_, ApiError>(()) };
        governor
            .call(Action::TerminateInstances, Toll::Instances(500), Duration::ZERO, answer)
            .await
            .expect("the bucket is full");
        // 10 a second come back, and a write may take 8 s.
        let refused =
            governor.call(Action::TerminateInstances, Toll::Instances(100), Duration::ZERO, answer).await;
        let class = refused.expect_err("the budget is used up").class;
        assert_eq!(class, ErrorClass::Throttled { retry_after: Some(Duration::from_secs(10)) });
        clock.advance_to(Duration::from_secs(10));
        governor
            .call(Action::TerminateInstances, Toll::Instances(100), Duration::ZERO, answer)
            .await
            .expect("it has come back");
    }

    #[tokio::test]
    async fn a_refusal_for_rate_empties_our_bucket_too() {
        let governor = governor(&clock());
        let ready = || governor.locked().actions[READ.index()].ready(1, Duration::ZERO);
        assert_eq!(ready(), Duration::ZERO);
        let refused = || async { Err::<(), _>(errors::local(MUCH_LATER, READ, "scripted")) };
        governor
            .call(READ, Toll::None, Duration::ZERO, refused)
            .await
            .expect_err("refused beyond the deadline");
        assert_eq!(ready().as_millis(), 666, "the next caller waits for AWS's bucket to refill");
    }

    #[test]
    fn a_share_that_is_no_number_still_leaves_one_call() {
        let bucket = Bucket::new(50, 3, Budget { share: f64::NAN });
        assert_eq!((bucket.size, bucket.ready(1, Duration::ZERO)), (1, Duration::ZERO));
    }

    #[test]
    fn jitter_repeats_with_its_seed_and_spreads_over_the_whole_pause() {
        let limit = Duration::from_millis(1000);
        let draw = |seed, region: &str| {
            let mut chance = Chance::forked(seed, region);
            (0..1000).map(|_| chance.below(limit)).collect::<Vec<_>>()
        };
        assert_eq!(draw(1, "eu-west-1"), draw(1, "eu-west-1"));
        assert_ne!(draw(1, "eu-west-1"), draw(2, "eu-west-1"));
        assert_ne!(draw(1, "eu-west-1"), draw(1, "eu-west-2"));
        let drawn = draw(1, "eu-west-1");
        let mean = drawn.iter().sum::<Duration>() / 1000;
        assert!(drawn.iter().all(|pause| *pause <= limit));
        assert!((400..600).contains(&mean.as_millis()), "{mean:?}");
        assert_eq!(pause_limit(TRANSIENT_PAUSE, 1), TRANSIENT_PAUSE);
        assert_eq!(pause_limit(TRANSIENT_PAUSE, 40), LONGEST_PAUSE);
    }
}
