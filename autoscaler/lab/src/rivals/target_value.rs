//! Nomad Autoscaler's target-value strategy.

use crate::number::units;
use crate::suite::Controller;
use crate::suite::fleet::steps;
use crate::suite::metric::Seen;
use crate::suite::tally::Rules;

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
            recent: vec![(0.0, 0.0); window + late + 1],
            place: 0,
            served: 0.0,
            could: 0.0,
            acting: false,
            rest_until: 0,
            serving: rules.min,
            target: rules.min,
        }
    }
}

/// The strategy at work.
#[derive(Clone, Debug)]
pub(crate) struct Evaluator {
    rules: TargetValue,
    bounds: (u32, u32),
    late: usize,
    /// Work and capacity of recent steps, in a ring: as many as the window is long and late, and the newest.
    recent: Vec<(f64, f64)>,
    place: usize,
    /// Sums over the window.
    served: f64,
    could: f64,
    /// Whether an action waits for its instances.
    acting: bool,
    /// Nothing is evaluated before the end of this step.
    rest_until: usize,
    /// What was seen last.
    serving: u32,
    target: u32,
}

impl Evaluator {
    /// Moves the window on by a step.
    #[inline]
    fn slide(&mut self, seen: &Seen) {
        let length = self.recent.len();
        self.recent[self.place] = (seen.done.served, seen.capacity);
        let entering = if self.place >= self.late { self.place } else { self.place + length } - self.late;
        self.place = if self.place + 1 == length { 0 } else { self.place + 1 };
        let ((came, could_then), (went, could_before)) = (self.recent[entering], self.recent[self.place]);
        self.served += came - went;
        self.could += could_then - could_before;
    }

    /// Metric over target; `None` where nobody served.
    fn factor(&self) -> Option<f64> {
        let busy = self.served / (self.could * f64::from(crate::Trace::STEP));
        (self.could > 0.0).then_some(busy / self.rules.target)
    }

    /// The count that holds the target by the metric; the one in force where that is near enough.
    fn wanted(&self) -> u32 {
        let off = self.factor().filter(|factor| (factor - 1.0).abs() > self.rules.threshold);
        let count = |factor| units(f64::from(self.serving) * factor).clamp(self.bounds.0, self.bounds.1);
        off.map_or(self.target, count)
    }
}

impl Controller for Evaluator {
    #[inline]
    fn decide(&mut self, seen: &Seen) -> u32 {
        self.slide(seen);
        (self.serving, self.target) = (seen.serving, seen.target);
        if seen.pending > 0 {
            return seen.target;
        }
        if self.acting {
            // The step before was the last in which anything was pending.
            self.acting = false;
            self.rest_until = seen.step - 1 + steps(self.rules.cooldown);
        }
        if seen.step < self.rest_until {
            return seen.target;
        }
        let wanted = self.wanted();
        if wanted > seen.target {
            self.acting = true;
        } else if wanted < seen.target {
            self.rest_until = seen.step + steps(self.rules.cooldown);
        }
        wanted
    }

    fn need(&self) -> u32 {
        self.wanted()
    }

    fn reason(&self) -> String {
        format!("metric over target is {:.2}", self.factor().unwrap_or(1.0))
    }
}
