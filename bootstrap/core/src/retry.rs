//! When a step is tried again, and how soon a server is looked at again in between.

use crate::Failure;
use fleet::ErrorClass;
use std::time::Duration;

/// The longest that a server's own wish is minded before it is asked again: whoever answers may be no such server.
const MOST_ASKED: Duration = Duration::from_secs(900);
/// The longest pause between two looks at a server that fails, and says nothing of when to come back: what is waited
/// for is to be seen soon.
const MOST_BETWEEN_LOOKS: Duration = Duration::from_secs(5);

/// How long a step may take, and how it is repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retry {
    /// The longest that one attempt may take; it is given up then.
    pub attempt: Duration,
    /// The pause after the first failure; each one after it is twice as long.
    pub first: Duration,
    /// The longest pause.
    pub most: Duration,
    /// From the step's beginning, the time within which it has to be done.
    pub deadline: Duration,
}

impl Retry {
    /// The pause after a number of failures in a row, at least one. A half of it is by chance, so that a fleet that
    /// failed together does not come back together.
    ///
    /// * `seed`: of this node and step; the same seed, the same pauses.
    pub fn pause(&self, failures: u32, seed: u64) -> Duration {
        let doubled = self.first.saturating_mul(1 << failures.saturating_sub(1).min(20));
        let whole = doubled.min(self.most);
        let half = whole / 2;
        half + spread(half, seed, u64::from(failures))
    }

    /// The pause after a failure: [`Retry::pause`], longer where the failure, or the server that it tells of, asks for
    /// it. What cannot be mended from here is looked at again all the same, seldom: somebody may mend it.
    pub fn pause_after(&self, failure: &Failure, failures: u32, seed: u64) -> Duration {
        if failure.lasting {
            return self.most;
        }
        let asked = match failure.class {
            ErrorClass::Throttled { retry_after } => retry_after.unwrap_or_default().min(MOST_ASKED),
            _ => Duration::ZERO,
        };
        let first = self.first.max(failure.pause);
        Self { first, ..*self }.pause(failures, seed).max(asked)
    }
}

/// How soon a server is looked at again, while a step waits for something to come about there.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    looks: Duration,
    failures: u32,
}

impl Pace {
    /// * `looks`: the pause after an answer that is well, and only not the one that is waited for.
    pub const fn new(looks: Duration) -> Self {
        Self { looks, failures: 0 }
    }

    /// The pause after a look that was answered.
    pub const fn answered(&mut self) -> Duration {
        self.failures = 0;
        self.looks
    }

    /// The pause after a look that came to a failure.
    ///
    /// A server that is overloaded, or fails, is left alone for twice as long each time, up to five seconds and half by
    /// chance; one that names a time, for so long at least. One that is not there yet, or has not what is waited for,
    /// is looked at as ever: that costs nobody anything.
    ///
    /// * `seed`: of this node and step.
    pub fn failed(&mut self, class: ErrorClass, seed: u64) -> Duration {
        let asked = match class {
            ErrorClass::Throttled { retry_after } => retry_after.unwrap_or_default().min(MOST_ASKED),
            ErrorClass::Unclear => Duration::ZERO,
            _ => return self.answered(),
        };
        self.failures += 1;
        let doubled = self.looks.saturating_mul(1 << self.failures.min(20));
        let whole = doubled.min(MOST_BETWEEN_LOOKS).max(self.looks);
        let half = whole / 2;
        (half + spread(half, seed, u64::from(self.failures))).max(asked)
    }
}

/// A share of `over`, evenly from none of it to all of it, that is the same for the same seed and number.
///
/// For what a fleet should not do at once: no secret depends on it. SplitMix64's mixing of bits.
pub fn spread(over: Duration, seed: u64, number: u64) -> Duration {
    let mut bits = seed.wrapping_add(number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^= bits >> 31;
    // 32 bits are fine enough, and their product with a week in milliseconds fits.
    let millis = (u128::from(bits >> 32) * over.as_millis()) >> 32;
    Duration::from_millis(u64::try_from(millis).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    const RETRY: Retry = Retry {
        attempt: Duration::from_secs(10),
        first: Duration::from_secs(1),
        most: Duration::from_secs(30),
        deadline: Duration::from_secs(600),
    };

    #[test]
    fn pauses_double_up_to_the_most_and_half_of_each_is_chance() {
        for (failures, whole) in [(1, 1), (2, 2), (3, 4), (5, 16), (6, 30), (400, 30)] {
            let whole = Duration::from_secs(whole);
            for seed in 0..200 {
                let pause = RETRY.pause(failures, seed);
                assert!(pause >= whole / 2 && pause <= whole, "{pause:?} after {failures}");
            }
        }
    }

    #[test]
    fn a_failure_may_ask_for_longer_pauses_but_not_for_longer_than_the_step_allows() {
        let within = |failure: &Failure, failures, least, most| {
            let (least, most) = (Duration::from_secs(least), Duration::from_secs(most));
            for seed in 0..200 {
                let pause = RETRY.pause_after(failure, failures, seed);
                assert!(pause >= least && pause <= most, "{pause:?} after {failures}: {failure:?}");
            }
        };
        let plain = Failure::new(ErrorClass::NotFound, "not there");
        within(&plain, 1, 0, 1);
        let slow = plain.clone().with_pause(Duration::from_secs(10));
        within(&slow, 1, 5, 10);
        within(&slow, 2, 10, 20);
        within(&slow, 9, 15, 30);
        within(&plain.clone().with_pause(Duration::from_secs(3600)), 1, 15, 30);
        within(&Failure { lasting: true, ..slow }, 1, 30, 30);
        let retry_after = Some(Duration::from_secs(77));
        within(&Failure::new(ErrorClass::Throttled { retry_after }, "busy"), 1, 77, 77);
        let retry_after = Some(Duration::from_secs(1_000_000));
        within(&Failure::new(ErrorClass::Throttled { retry_after }, "busy"), 1, 900, 900);
    }

    #[test]
    fn a_server_that_fails_is_looked_at_less_and_less_and_one_that_names_a_time_not_before() {
        let looks = Duration::from_millis(250);
        let throttled =
            |after: Option<u64>| ErrorClass::Throttled { retry_after: after.map(Duration::from_secs) };
        for seed in 0..100 {
            let mut pace = Pace::new(looks);
            for whole in [500, 1000, 2000, 4000, 5000, 5000] {
                let whole = Duration::from_millis(whole);
                let pause = pace.failed(ErrorClass::Unclear, seed);
                assert!(pause >= whole / 2 && pause <= whole, "{pause:?}, not {whole:?}");
            }
            // The next one would be longer; what is only not so yet takes that back.
            assert_eq!(pace.failed(ErrorClass::Conflict, seed), looks);
            assert_eq!(pace.failed(ErrorClass::Transient, seed), looks);
            assert!(pace.failed(throttled(None), seed) <= looks * 2);
            assert_eq!(pace.failed(throttled(Some(7)), seed), Duration::from_secs(7));
            assert_eq!(pace.failed(throttled(Some(u64::MAX)), seed), MOST_ASKED);
            assert_eq!(pace.answered(), looks);
            // Looks that are far apart do not come closer.
            assert!(
                Pace::new(Duration::from_secs(60)).failed(ErrorClass::Unclear, seed)
                    >= Duration::from_secs(30)
            );
        }
    }

    #[test]
    fn a_fleet_is_spread_evenly() {
        let hour = Duration::from_secs(3600);
        let mut quarters = [0; 4];
        for seed in 0..4000 {
            let at = spread(hour, seed, 7).as_secs() / 900;
            quarters[usize::try_from(at).expect("small").min(3)] += 1;
        }
        assert!(quarters.iter().all(|&count| (900..1100).contains(&count)), "{quarters:?}");
        assert_eq!(spread(hour, 5, 1), spread(hour, 5, 1));
    }
}
