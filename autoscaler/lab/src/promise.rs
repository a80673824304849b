//! Whether the promise was kept in every week, not only in the mean of all of them.

use crate::oracle::share_above;
use crate::{Bench, Outcome, Runner, Trace};
use autoscaler_core::Policy;
use serde::Serialize;
use std::ops::Range;

/// Steps of a week.
const WEEK: usize = 7 * (86_400 / Trace::STEP) as usize;

/// A week of a run.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Week {
    /// Share of its time with demand above the level of the objective of the capacity in service.
    pub above_ratio: f64,
    /// The same of a fleet that forecasts nothing and forgets nothing for six hours: what metric and boot come too late
    /// for, whoever decides.
    pub floor: f64,
}

impl Week {
    /// Whether an objective was kept, where the delay allows it.
    pub fn kept(&self, at_most: f64) -> bool {
        self.above_ratio <= at_most.max(self.floor)
    }
}

/// Runs our policy, and looks at each week of it.
///
/// * returns: weeks from the start, the last one ending with the trace, so that it may overlap the one before; a trace
///   of less than a week is one.
pub fn weeks(bench: &Bench<'_>, policy: &Policy) -> (Outcome, Vec<Week>) {
    let level = bench.rules.above;
    let run = bench.run(None, Runner::Muster, policy, true);
    let breach: Vec<bool> = run.course.as_ref().map_or_else(Vec::new, |course| {
        let both = bench.demand.iter().zip(&course.capacity);
        both.map(|(demand, capacity)| *demand > level * f64::from(*capacity)).collect()
    });
    let delayed = bench.delayed();
    let week = |steps: Range<usize>| {
        let count = breach[steps.clone()].iter().filter(|breach| **breach).count();
        Week {
            above_ratio: crate::number::length(count) / crate::number::length(steps.len().max(1)),
            floor: share_above(&delayed, &bench.demand, level, steps),
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
    fn weeks_are_judged_at_the_level_of_the_policy() {
        let trace = Trace {
            name: "x".to_owned(),
            start: fleet::Timestamp::EPOCH,
            // Four units in service: for half of the time 85 % busy, for a sixth 95 %.
            demand: [3.0, 3.4, 3.8]
                .into_iter()
                .zip([2000, 3000, 1000])
                .flat_map(|(d, n)| [d].repeat(n))
                .collect(),
        };
        let mut policy = Policy::default();
        (policy.capacity.min, policy.capacity.max) = (4, 4);
        let of = |above: f64| {
            let objective =
                autoscaler_core::Objective { above: fleet::Utilization::new(above), ..policy.objective };
            let policy = Policy { objective, ..policy.clone() };
            let setting = crate::Setting::default();
            let (run, weeks) = weeks(&Bench::new(&trace, &policy, &setting), &policy);
            assert!((run.scores.breach80_ratio - 4.0 / 6.0).abs() < 1e-12, "{:?}", run.scores);
            assert_eq!(weeks.len(), 1);
            assert!((weeks[0].above_ratio - run.scores.above_ratio).abs() < 1e-12, "{weeks:?}");
            (weeks[0].above_ratio, weeks[0].floor)
        };
        assert_eq!((of(0.8), of(0.9)), ((4.0 / 6.0, 4.0 / 6.0), (1.0 / 6.0, 1.0 / 6.0)));
    }

    #[test]
    fn the_last_seven_days_are_a_week_too() {
        assert_eq!(of(2 * WEEK), [0..WEEK, WEEK..2 * WEEK]);
        assert_eq!(of(WEEK + 5), [0..WEEK, 5..WEEK + 5]);
        assert_eq!(of(7), std::iter::once(0..7).collect::<Vec<_>>());
        assert_eq!(of(0), []);
    }
}
