//! Nomad Autoscaler's target-value strategy.

use crate::number::units;
use crate::suite::Controller;
use crate::suite::fleet::steps;
use crate::suite::metric::Seen;
use crate::suite::tally::Rules;
use std::collections::VecDeque;

/// The timings of Nomad Autoscaler with its target-value strategy.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TargetValue {
    /// Utilisation to hold, 0..=1.
    pub target: f64,
    /// How far metric over target may be off 1 without a change.
    pub threshold: f64,
    /// Time after an action was completed in which nothing is evaluated, in seconds.
    pub cooldown: u32,
    /// The span that the metric is the mean of, in seconds.
    pub window: u32,
    /// How old the metric is, in seconds.
    pub late: u32,
}

impl TargetValue {
    /// Its defaults, with a metric of the last minute that is ten seconds old.
    pub const fn new(target: f64) -> Self {
        Self { target, threshold: 0.01, cooldown: 300, window: 60, late: 10 }
    }

    pub(crate) fn begin(&self, rules: &Rules) -> Evaluator {
        let (window, late) = (steps(self.window).max(1), steps(self.late));
        Evaluator {
            rules: *self,
            bounds: (rules.min, rules.max),
            late,
            recent: VecDeque::from(vec![(0.0, 0.0); window + late]),
            served: 0.0,
            could: 0.0,
            acting: false,
            rest_until: 0,
            factor: 1.0,
            need: rules.min,
        }
    }
}

/// The strategy at work.
#[derive(Clone, Debug)]
pub(crate) struct Evaluator {
    rules: TargetValue,
    bounds: (u32, u32),
    late: usize,
    /// Work and capacity of recent steps, the newest last; as many as the window is long and late.
    recent: VecDeque<(f64, f64)>,
    /// Sums over the window.
    served: f64,
    could: f64,
    /// Whether an action waits for its instances.
    acting: bool,
    /// Nothing is evaluated before the end of this step.
    rest_until: usize,
    factor: f64,
    need: u32,
}

impl Evaluator {
    /// Moves the window on by a step.
    #[inline]
    fn slide(&mut self, seen: &Seen) {
        self.recent.push_back((seen.done.served, seen.capacity));
        if let Some((served, could)) = self.recent.pop_front() {
            self.served -= served;
            self.could -= could;
        }
        if let Some((served, could)) = self.recent.get(self.recent.len() - 1 - self.late) {
            self.served += served;
            self.could += could;
        }
    }
}

impl Controller for Evaluator {
    #[inline]
    fn decide(&mut self, seen: &Seen) -> u32 {
        self.slide(seen);
        if self.could <= 0.0 {
            return seen.target;
        }
        let busy = self.served / (self.could * f64::from(crate::Trace::STEP));
        self.factor = busy / self.rules.target;
        let steady = (self.factor - 1.0).abs() <= self.rules.threshold;
        let wanted = units(f64::from(seen.serving) * self.factor).clamp(self.bounds.0, self.bounds.1);
        self.need = if steady { seen.target } else { wanted };
        if seen.pending > 0 {
            return seen.target;
        }
        if self.acting {
            // The step before was the last in which anything was pending.
            self.acting = false;
            self.rest_until = seen.step - 1 + steps(self.rules.cooldown);
        }
        if seen.step < self.rest_until || steady || wanted == seen.target {
            return seen.target;
        }
        if wanted > seen.target {
            self.acting = true;
        } else {
            self.rest_until = seen.step + steps(self.rules.cooldown);
        }
        wanted
    }

    fn need(&self) -> u32 {
        self.need
    }

    fn reason(&self) -> String {
        format!("metric over target is {:.2}", self.factor)
    }
}
