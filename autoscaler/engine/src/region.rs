//! One region: what was asked there, what may be asked again when, and what is under way.

use crate::CallId;
use fleet::{ApiError, ErrorClass, FleetName, Timestamp};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Fleets are asked for at least so far apart because of what they say by themselves. DescribeSpotFleetRequests is EC2's
/// scarcest read (50 at once, 3 a second), and who is interrupted must not wait for its turn behind those.
const LOOKS_APART: Duration = Duration::from_secs(1);

/// A region, as far as calls go.
#[derive(Clone, Debug, Default)]
pub(crate) struct RegionState {
    /// The fleets that policies place here.
    pub fleets: BTreeSet<FleetName>,
    /// The DescribeFleets that is under way.
    pub fleets_call: Option<CallId>,
    /// When fleets were last asked for.
    pub fleets_asked: Option<Duration>,
    /// Something happened that makes the picture of fleets old, however young it is.
    pub look: bool,
    /// The same, but it can wait until fleets have not been asked for lately: a fleet says much while it moves.
    pub look_soon: bool,
    /// When EC2's own marks were last asked for.
    pub marks_asked: Option<Duration>,
    /// When prices were last asked for.
    pub prices_asked: Option<Duration>,
    /// When it was last asked who else scales.
    pub scalable_asked: Option<Duration>,
    /// When CloudWatch was last read.
    pub cloudwatch_asked: Option<Duration>,
    /// Whether metrics of operators' own are read one by one, because one of them spoils a call for all.
    pub custom_apart: bool,
    /// The reading of history that is under way.
    pub backfill_call: Option<CallId>,
    /// Writes that are under way.
    pub writes_in_flight: usize,
    /// Operations that fail, by label and by what they are about, where that matters.
    pub failing: BTreeMap<(&'static str, String), Streak>,
}

/// Failures of one operation without a success between.
#[derive(Clone, Debug)]
pub(crate) struct Streak {
    /// How many.
    pub failures: u32,
    /// Since when.
    pub since: Timestamp,
    /// When it began, monotonic.
    pub began: Duration,
    /// Not again before.
    pub next: Duration,
    /// The last error.
    pub error: ApiError,
}

impl RegionState {
    /// When fleets are looked at because of what they said, if that is wanted.
    pub fn looks_at(&self) -> Option<Duration> {
        let waits = self.look_soon && self.fleets_call.is_none() && !self.fleets.is_empty();
        let failing = || self.failing.get(&("describe_fleets", String::new())).map(|streak| streak.next);
        waits.then(|| self.fleets_asked.map(|asked| asked + LOOKS_APART).max(failing()).unwrap_or_default())
    }

    /// Whether an operation may be tried.
    pub fn may(&self, operation: &'static str, now: Duration) -> bool {
        self.may_of(operation, "", now)
    }

    /// Whether an operation about something may be tried.
    pub fn may_of(&self, operation: &'static str, of: &str, now: Duration) -> bool {
        self.failing.is_empty()
            || self.failing.get(&(operation, of.to_owned())).is_none_or(|streak| now >= streak.next)
    }

    /// Since when an operation has failed for reasons that may be ours alone, if it did when it was last tried: nobody answers, or we
    /// are denied. Who asks too much, and what is out of order at AWS, is refused whoever asks.
    pub fn fails_us_since(&self, operation: &'static str) -> Option<Duration> {
        let streak = self.failing.get(&(operation, String::new()))?;
        let perhaps_ours = match streak.error.class() {
            ErrorClass::Unclear | ErrorClass::Denied => true,
            // With a code it was answered.
            ErrorClass::Transient => streak.error.code.is_none(),
            _ => false,
        };
        (perhaps_ours && streak.failures > 1).then_some(streak.began)
    }

    /// Whether an operation failed when it was last tried.
    pub fn fails(&self, operation: &'static str) -> bool {
        self.failing.contains_key(&(operation, String::new()))
    }

    /// Notes a failure; the next try waits, longer with each.
    pub fn failed(
        &mut self,
        operation: &'static str,
        of: &str,
        error: ApiError,
        wall: Timestamp,
        now: Duration,
    ) -> &Streak {
        let class = error.class();
        let streak = self.failing.entry((operation, of.to_owned())).or_insert(Streak {
            failures: 0,
            since: wall,
            began: now,
            next: now,
            error: error.clone(),
        });
        streak.error = error;
        streak.failures = streak.failures.saturating_add(1);
        streak.next = now + read_pause(class, streak.failures);
        streak
    }

    /// What fails may work now, for a reason: it is tried again from then on, whatever its pause. Who asks for time is
    /// given it.
    pub fn hasten(&mut self, operation: &'static str, from: Duration) {
        if let Some(streak) = self.failing.get_mut(&(operation, String::new()))
            && !matches!(streak.error.class(), ErrorClass::Throttled { .. })
        {
            streak.next = streak.next.min(from);
        }
    }

    /// Notes a success.
    pub fn succeeded(&mut self, operation: &'static str, of: &str) -> bool {
        !self.failing.is_empty() && self.failing.remove(&(operation, of.to_owned())).is_some()
    }
}

/// Doubles from `first` with every failure, up to `most`.
pub(crate) fn doubling(first: Duration, failures: u32, most: Duration) -> Duration {
    first.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(most)
}

/// How long a read that failed is not tried again. The adapter has already retried within its own deadline, and
/// the next cycle is the first retry here.
fn read_pause(class: ErrorClass, failures: u32) -> Duration {
    match class {
        ErrorClass::Throttled { retry_after } => retry_after
            .unwrap_or_default()
            .min(Duration::from_secs(120))
            .max(doubling(Duration::from_secs(5), failures, Duration::from_secs(60))),
        ErrorClass::Transient | ErrorClass::Unclear | ErrorClass::NoCapacity => {
            doubling(Duration::from_secs(5), failures, Duration::from_secs(30))
        }
        // What an operator has to set right is tried now and then.
        ErrorClass::Denied | ErrorClass::NotFound | ErrorClass::Conflict | ErrorClass::Malformed => {
            Duration::from_secs(60)
        }
    }
}

/// How long a write that failed is not tried again; zero where describes decide.
pub(crate) fn write_pause(class: ErrorClass, failures: u32) -> Duration {
    match class {
        ErrorClass::Throttled { retry_after } => retry_after
            .unwrap_or_default()
            .min(Duration::from_secs(300))
            .max(doubling(Duration::from_secs(10), failures, Duration::from_secs(120))),
        ErrorClass::Transient => doubling(Duration::from_secs(5), failures, Duration::from_secs(120)),
        // The planner waits until describes have told what came of it.
        ErrorClass::Unclear => Duration::ZERO,
        ErrorClass::Conflict => Duration::from_secs(20),
        ErrorClass::NotFound | ErrorClass::NoCapacity => Duration::from_secs(30),
        ErrorClass::Denied => Duration::from_secs(300),
        ErrorClass::Malformed => Duration::from_secs(600),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Since when a region's describes fail for reasons that may be ours, after so many failures from the fifth second on.
    fn fails_us(failures: u64, class: ErrorClass, code: Option<&str>) -> Option<Duration> {
        let mut region = RegionState::default();
        for n in 0..failures {
            let error = ApiError::new(class, "ec2", "describe_fleets", code, "words");
            let now = Duration::from_secs(5 + n);
            region.failed("describe_fleets", "", error, Timestamp::from_millis(0), now);
        }
        region.fails_us_since("describe_fleets")
    }

    #[test]
    fn who_is_not_answered_or_denied_may_be_alone_with_it_and_who_is_refused_is_not() {
        let since = Some(Duration::from_secs(5));
        assert_eq!(fails_us(2, ErrorClass::Transient, None), since, "no way to AWS");
        assert_eq!(fails_us(2, ErrorClass::Unclear, None), since);
        assert_eq!(fails_us(2, ErrorClass::Denied, Some("AuthFailure")), since, "a role of its own");
        assert_eq!(fails_us(1, ErrorClass::Unclear, None), None, "once is chance");
        assert_eq!(fails_us(9, ErrorClass::Transient, Some("InternalError")), None, "AWS has answered");
        let throttled = ErrorClass::Throttled { retry_after: None };
        assert_eq!(fails_us(9, throttled, Some("RequestLimitExceeded")), None);
        assert_eq!(fails_us(9, ErrorClass::Malformed, None), None);
        assert_eq!(fails_us(0, ErrorClass::Unclear, None), None);
    }
}
