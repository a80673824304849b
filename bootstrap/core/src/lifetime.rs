//! When what lapses is renewed: tokens, leases, certificates.

use crate::spread;
use std::time::Duration;

/// How long something lives from the moment that it was given, in monotonic time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetime {
    /// When it was asked for: the server counts from a moment after that, never before.
    pub from: Duration,
    /// How long it lives.
    pub lasts: Duration,
    /// Whether the server will lengthen it.
    pub renewable: bool,
}

/// What is to be done about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Renewal {
    /// Nothing before this time.
    At(Duration),
    /// It is asked to be lengthened now.
    Renew,
    /// Lengthening no longer helps: another one is fetched.
    Replace,
}

impl Lifetime {
    /// What to do at a time.
    ///
    /// * `failures`: of the renewals since the last one that came off: each one doubles the pause to the next try.
    /// * `seed`: of this node, so that a fleet's renewals spread.
    ///
    /// It is renewed when two thirds of what remains have gone by and a third of the grace; the grace, a tenth to a
    /// fifth of the whole, is kept for fetching another one. As Vault's own client does.
    pub fn next(&self, now: Duration, failures: u32, seed: u64) -> Renewal {
        let grace = self.grace(seed);
        let ends = self.from + self.lasts;
        if ends.saturating_sub(now) <= grace {
            return Renewal::Replace;
        }
        let due = if self.renewable {
            let due = self.from + self.lasts * 2 / 3 + grace / 3;
            let pause = if failures == 0 { Duration::ZERO } else { pause(failures) };
            due + pause
        } else {
            ends.saturating_sub(grace)
        };
        if now < due {
            // Never so late that there is no time left for another one.
            return Renewal::At(due.min(ends.saturating_sub(grace)));
        }
        if self.renewable { Renewal::Renew } else { Renewal::Replace }
    }

    /// How long before its end it counts as gone.
    fn grace(&self, seed: u64) -> Duration {
        let tenth = self.lasts / 10;
        tenth + spread(tenth, seed, 0)
    }
}

/// The time that failures so far have cost: one second, and twice as long each time, five minutes at most each.
fn pause(failures: u32) -> Duration {
    let most: u64 = 300;
    (0..failures.min(64)).map(|n| Duration::from_secs((1u64 << n.min(16)).min(most))).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn secs(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn it_is_renewed_after_two_thirds_and_replaced_within_the_grace() {
        let token = Lifetime { from: secs(100), lasts: secs(60), renewable: true };
        for seed in 0..100 {
            let Renewal::At(due) = token.next(secs(100), 0, seed) else { panic!("not at once") };
            assert!(due >= secs(142) && due <= secs(144), "{due:?}");
            assert_eq!(token.next(due, 0, seed), Renewal::Renew);
            assert_eq!(token.next(secs(155), 0, seed), Renewal::Replace, "a tenth is left");
        }
    }

    #[test]
    fn what_cannot_be_lengthened_is_replaced_in_time() {
        let token = Lifetime { from: secs(0), lasts: secs(100), renewable: false };
        let Renewal::At(due) = token.next(secs(1), 0, 3) else { panic!("not at once") };
        assert!(due >= secs(80) && due <= secs(90));
        assert_eq!(token.next(due, 0, 3), Renewal::Replace);
    }

    #[test]
    fn failed_renewals_come_less_often_and_end_in_another_one() {
        let token = Lifetime { from: secs(0), lasts: secs(3600), renewable: true };
        let Renewal::At(first) = token.next(secs(0), 0, 1) else { panic!("not at once") };
        let Renewal::At(second) = token.next(first, 1, 1) else { panic!("pauses") };
        assert_eq!(second, first + secs(1));
        let Renewal::At(third) = token.next(second, 2, 1) else { panic!("pauses") };
        assert_eq!(third, second + secs(2));
        let Renewal::At(last) = token.next(second, 60, 1) else { panic!("pauses") };
        assert_eq!(token.next(last, 60, 1), Renewal::Replace, "the last word is another one");
    }
}
