//! Whether the promise was kept in every week, not only in the mean of all of them.

use crate::oracle::share_above;
use crate::suite::tally::BREACH;
use crate::{Bench, Outcome, Runner, Trace};
use autoscaler_core::Policy;
use serde::Serialize;
use std::ops::Range;

/// Steps of a week.
const WEEK: usize = 7 * (86_400 / Trace::STEP) as usize;

/// A week of a run.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Week {
    /// Share of its time with demand above 0.8 of the capacity in service.
    pub breach80_ratio: f64,
    /// The same of a fleet that forecasts nothing and forgets nothing for six hours: what metric and boot come too late
    /// for, whoever decides.
    pub floor: f64,
}

impl Week {
    /// Whether an objective was kept, where the delay allows it.
    pub fn kept(&self, at_most: f64) -> bool {
        self.breach80_ratio <= at_most.max(self.floor)
    }
}

/// Runs our policy, and looks at each week of it.
///
/// * returns: weeks from the start, the last one ending with the trace, so that it may overlap the one before; a trace
///   of less than a week is one.
pub fn weeks(bench: &Bench<'_>, policy: &Policy) -> (Outcome, Vec<Week>) {
    let run = bench.run(None, Runner::Muster, policy, true);
    let breach: Vec<bool> = run.course.as_ref().map_or_else(Vec::new, |course| {
        let both = bench.demand.iter().zip(&course.capacity);
        both.map(|(demand, capacity)| *demand > BREACH * f64::from(*capacity)).collect()
    });
    let delayed = bench.delayed();
    let week = |steps: Range<usize>| {
        let count = breach[steps.clone()].iter().filter(|breach| **breach).count();
        Week {
            breach80_ratio: crate::number::length(count) / crate::number::length(steps.len().max(1)),
            floor: share_above(&delayed, &bench.demand, BREACH, steps),
        }
    };
    let weeks = of(breach.len()).into_iter().map(week).collect();
    (run, weeks)
}

/// The steps of each week.
fn of(steps: usize) -> Vec<Range<usize>> {
    let whole = (0..steps / WEEK).map(|week| week * WEEK..(week + 1) * WEEK);
    let last = (!steps.is_multiple_of(WEEK)).then(|| steps.saturating_sub(WEEK)..steps);
    whole.chain(last).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_seven_days_are_a_week_too() {
        assert_eq!(of(2 * WEEK), [0..WEEK, WEEK..2 * WEEK]);
        assert_eq!(of(WEEK + 5), [0..WEEK, 5..WEEK + 5]);
        assert_eq!(of(7), std::iter::once(0..7).collect::<Vec<_>>());
        assert_eq!(of(0), []);
    }
}
