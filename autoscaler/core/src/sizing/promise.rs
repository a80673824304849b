//! The promise as it was really kept: the breach that was seen, and the point at which utilisation comes out at the target.

use super::estimator::Estimate;
use super::tempo::Tempo;
use crate::Policy;
use crate::number::{real, whole};
use fleet::Sample;
use serde::{Deserialize, Serialize};

/// Half a day that is taken as kept, so that the first breach of a new fleet does not look like the rule.
const GRACE_MILLIS: f64 = 43_200_000.0;
/// Working points that are tried, as parts of the way from the target to just below the level.
const POINTS: usize = 7;
/// The one to begin with.
const FIRST: usize = 0;
/// Just below the level: at the level itself every accident breaches.
const BELOW_LEVEL: f64 = 0.003;
/// So much above the target may mean utilisation be: the contract allows half a point, this is aimed at.
const MEAN_ABOVE: f64 = 0.0025;
/// Another working point must save this share to be worth the move: on a load that stands still none does.
const WORTH: f64 = 0.005;
/// The working point is a matter of the mean: nothing is bought before it is exceeded by this share, so that a
/// load on the brink between two sizes does not move the fleet.
pub(super) const BAND: f64 = 0.015;
/// How often working points are compared, in milliseconds.
const COMPARED: i64 = 600_000;

/// How the promise was kept.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Promise {
    /// Ticks, and those of them above the level: parts of ticks where samples are shorter.
    ticks: f64,
    above: f64,
    saturated: f64,
}

/// Shares of time as they really were.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    /// Above the level.
    pub breach: f64,
    /// Saturated.
    pub saturated: f64,
}

impl Promise {
    /// Takes a sample in.
    pub fn see(&mut self, tempo: &Tempo, policy: &Policy, sample: &Sample, estimate: &Estimate) {
        let power = sample.power.get();
        // A tick may be longer than a sample, as with slow boots, or shorter.
        let (period, tick) =
            (i64::try_from(sample.period.as_millis()).unwrap_or(tempo.tick), tempo.tick.max(1));
        let ticks = real(period) / real(tick);
        let keep = if period == tick { tempo.keep.promise } else { tempo.keep.promise.powf(ticks) };
        let above = estimate.demand > policy.objective.above.get() * power;
        for (count, seen) in
            [(&mut self.ticks, true), (&mut self.above, above), (&mut self.saturated, estimate.is_full())]
        {
            *count = *count * keep + ticks * f64::from(u8::from(seen));
        }
    }

    /// The shares of time over what is remembered and half a day of grace.
    pub fn seen(&self, tempo: &Tempo) -> Seen {
        let ticks = self.ticks + GRACE_MILLIS / real(tempo.tick.max(1));
        Seen { breach: self.above / ticks, saturated: self.saturated / ticks }
    }
}

/// The utilisation at which the forecast alone would run the fleet.
///
/// Whole instances are rounded up, so that a fleet sized at the target runs below it: by how much depends on the
/// load. Several points are tried on paper, and the highest is used whose mean does not exceed the target.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct WorkingPoint {
    /// Units that each point would have asked for, and units that were busy, in units x ticks.
    asked: [f64; POINTS],
    busy: f64,
    chosen: usize,
    since_compared: i64,
}

impl Default for WorkingPoint {
    fn default() -> Self {
        Self { asked: [0.0; POINTS], busy: 0.0, chosen: FIRST, since_compared: 0 }
    }
}

impl WorkingPoint {
    /// The point in use.
    ///
    /// * `at_most`: where what means hide breaks the promise.
    pub fn get(&self, policy: &Policy, at_most: f64) -> f64 {
        point(policy, self.chosen).min(at_most)
    }

    /// Takes a tick in.
    ///
    /// * `forecast`: demand that is sized for, in units; `need`: the units that it came to.
    pub fn see(&mut self, tempo: &Tempo, policy: &Policy, at_most: f64, forecast: f64, need: f64) {
        let units =
            |index: usize| whole(forecast / point(policy, index).min(at_most) / (1.0 + BAND / 2.0) - 1e-6);
        // Where risk asks for more than the working point does, it does so at any of them.
        let risk = if need > units(self.chosen) { need } else { 0.0 };
        let least = f64::from(policy.capacity.min);
        self.busy = self.busy * tempo.keep.usual + forecast;
        for index in 0..POINTS {
            let asked = units(index).max(risk).max(least);
            self.asked[index] = self.asked[index] * tempo.keep.usual + asked;
        }
        self.since_compared += tempo.tick;
        if self.since_compared >= COMPARED {
            self.since_compared = 0;
            self.compare(policy);
        }
    }

    fn compare(&mut self, policy: &Policy) {
        let on_paper = |index: usize| self.busy / self.asked[index].max(f64::MIN_POSITIVE);
        let allowed = policy.target.get() + MEAN_ABOVE;
        let keeps = |index: usize| on_paper(index) <= allowed;
        if !keeps(self.chosen) {
            self.chosen = (0..self.chosen).rev().find(|index| keeps(*index)).unwrap_or(0);
            return;
        }
        let best = (self.chosen + 1..POINTS).rev().find(|index| keeps(*index));
        if let Some(best) = best.filter(|b| self.asked[*b] < self.asked[self.chosen] * (1.0 - WORTH)) {
            self.chosen = best;
        }
    }
}

/// A working point by its number: from the target up to just below the level.
fn point(policy: &Policy, index: usize) -> f64 {
    let goal = policy.target.get().max(0.01);
    let highest = (policy.objective.above.get() - BELOW_LEVEL).max(goal);
    let share =
        f64::from(u8::try_from(index).unwrap_or(0)) / f64::from(u8::try_from(POINTS - 1).unwrap_or(1));
    goal + (highest - goal) * share
}

#[cfg(test)]
mod tests {
    use super::super::estimator::estimate;
    use super::*;
    use fleet::{Power, Saturation, Source, Timestamp, Utilization};
    use std::time::Duration;

    #[test]
    fn the_promise_is_remembered_for_as_long_however_long_ticks_are() {
        let policy = Policy::default();
        let sample = |utilization: f64| Sample {
            source: Source::Push,
            end: Timestamp::EPOCH,
            period: Duration::from_secs(10),
            utilization: Utilization::new(utilization),
            power: Power::new(4.0),
            instances: 4,
            saturation: Saturation::default(),
        };
        // An hour above the level, and three quiet days after it.
        let seen = |boot: u64| {
            let tempo = Tempo::of(&sample(0.5), Duration::from_secs(boot));
            let mut promise = Promise::default();
            for step in 0..360 + 3 * 8640 {
                let sample = sample(if step < 360 { 0.9 } else { 0.5 });
                promise.see(&tempo, &policy, &sample, &estimate(&sample).expect("usable"));
            }
            (tempo.tick, promise.seen(&tempo).breach)
        };
        let ((tick, breach), (slow_tick, slow_breach)) = (seen(120), seen(600));
        assert_eq!((tick, slow_tick), (10_000, 30_000));
        assert!(breach > 0.005, "{breach}");
        assert!((slow_breach / breach - 1.0).abs() < 1e-3, "{slow_breach} of {breach}");
    }
}
