//! What is counted of a run, and the scores that come of it.

use super::service::Work;
use crate::Trace;
use crate::number::{real, units};
use crate::outcome::Scores;
use std::cmp::Ordering;

/// The level that `breach80_ratio` is about.
pub(crate) const BREACH: f64 = 0.8;
/// Steps in an hour, and in a day.
const HOUR: f64 = 3600.0 / Trace::STEP as f64;
const DAY: f64 = 24.0 * HOUR;
/// A scale-out within boot and this much of a scale-in takes back what was drained for nothing, in steps.
const FLIP: usize = (300 / Trace::STEP) as usize;

/// The rules that a run is scored by.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Rules {
    pub min: u32,
    pub max: u32,
    /// Utilisation to hold.
    pub target: f64,
    /// The level of the objective.
    pub above: f64,
    /// Steps from request to serving.
    pub boot: usize,
}

impl Rules {
    /// Whole units that hold a demand at the target, within bounds.
    #[inline]
    pub fn need(&self, demand: f64) -> u32 {
        units(demand / self.target).clamp(self.min, self.max)
    }
}

/// Sums over a run.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    steps: u64,
    billed: f64,
    capacity: f64,
    offered: f64,
    served: f64,
    dropped: f64,
    breach: u64,
    above: u64,
    saturated: u64,
    waiting: u64,
    off_target: f64,
    under: f64,
    over: f64,
    under_steps: u64,
    over_steps: u64,
    apart: u64,
    last: Option<(u32, f64)>,
    actions: u64,
    flips: u64,
    gave_back: Option<usize>,
}

impl Tally {
    /// Counts a step.
    ///
    /// * `capacity`: units in service; `billed`: units that are paid for.
    #[inline]
    pub fn step(&mut self, rules: &Rules, demand: f64, capacity: f64, billed: f64, done: &Work) {
        self.steps += 1;
        self.billed += billed;
        self.capacity += capacity;
        self.offered += demand;
        self.served += done.served;
        self.dropped += done.dropped;
        self.breach += u64::from(demand > BREACH * capacity);
        self.above += u64::from(demand > rules.above * capacity);
        self.saturated += u64::from(demand > capacity);
        self.waiting += u64::from(done.queue > capacity);
        let busy = if capacity > 0.0 { done.served / (capacity * f64::from(Trace::STEP)) } else { 0.0 };
        self.off_target += (busy - rules.target).abs();
        let need = rules.need(demand);
        let wanted = f64::from(need);
        let gap = capacity - wanted;
        if gap < 0.0 {
            self.under -= gap / wanted;
            self.under_steps += 1;
        } else if gap > 0.0 {
            self.over += gap / wanted;
            self.over_steps += 1;
        }
        if let Some((need_before, capacity_before)) = self.last {
            let supply = capacity.partial_cmp(&capacity_before).unwrap_or(Ordering::Equal);
            self.apart += u64::from(need.cmp(&need_before) != supply);
        }
        self.last = Some((need, capacity));
    }

    /// Counts a change of the target at the end of a step.
    pub fn change(&mut self, rules: &Rules, step: usize, from: u32, to: u32) {
        self.actions += 1;
        if to < from {
            self.gave_back = Some(step);
        } else if self.gave_back.take().is_some_and(|at| step.saturating_sub(at) <= rules.boot + FLIP) {
            self.flips += 1;
        }
    }

    /// Bills unit-steps beyond those that were counted step by step.
    pub fn bill(&mut self, unit_steps: u64) {
        self.billed += real(unit_steps);
    }

    /// Days that were counted.
    pub fn days(&self) -> f64 {
        real(self.steps) / DAY
    }

    /// Unit-hours billed so far.
    pub fn unit_hours(&self) -> f64 {
        self.billed / HOUR
    }

    /// Unit-hours in service that are missing for utilisation to be no higher than this in the mean, in whole
    /// unit-minutes.
    pub fn idle_missing(&self, mean: f64) -> f64 {
        let missing = (self.served / f64::from(Trace::STEP) / mean - self.capacity).max(0.0) / HOUR;
        (missing * 60.0 - 1e-6).ceil() / 60.0
    }

    fn share(&self, count: u64) -> f64 {
        real(count) / real(self.steps.max(1))
    }

    /// The scores, but for those that need an oracle or a contract.
    pub fn scores(&self) -> Scores {
        let seconds = f64::from(Trace::STEP);
        let percent = |sum: f64| 100.0 * sum / real(self.steps.max(1));
        let over = |part: f64, whole: f64| if whole > 0.0 { part / whole } else { 0.0 };
        Scores {
            cost_unit_hours: self.unit_hours(),
            breach80_ratio: self.share(self.breach),
            above_ratio: self.share(self.above),
            saturated_ratio: self.share(self.saturated),
            unserved_ratio: over(self.dropped, self.offered * seconds),
            queue_over_1s_ratio: self.share(self.waiting),
            actions_per_day: real(self.actions) / self.days(),
            flips_per_day: real(self.flips) / self.days(),
            under_accuracy: percent(self.under),
            over_accuracy: percent(self.over),
            under_timeshare: 100.0 * self.share(self.under_steps),
            over_timeshare: 100.0 * self.share(self.over_steps),
            // The first step has none before it to differ from.
            instability: 100.0 * real(self.apart) / real(self.steps.saturating_sub(1).max(1)),
            mean_utilization: over(self.served, self.capacity * seconds),
            mean_abs_error_ratio: self.off_target / real(self.steps.max(1)),
            ..Scores::default()
        }
    }
}

/// Days in so many steps.
pub(crate) fn days(steps: usize) -> f64 {
    crate::number::length(steps) / DAY
}
