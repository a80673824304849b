//! As Kubernetes' horizontal pod autoscaler.

use crate::Trace;
use crate::number::{index, units};
use crate::suite::Controller;
use crate::suite::metric::Seen;
use crate::suite::tally::Rules;
use std::collections::VecDeque;

/// Seconds of a step.
const SECONDS: f64 = Trace::STEP as f64;

/// The timings of the horizontal pod autoscaler, its pods being instances.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Hpa {
    /// Utilisation to hold, 0..=1.
    pub target: f64,
    /// Time between two syncs, in seconds. What a sync decides is done at the end of the step that it lies in; it knows
    /// the newest mean of a step that can be seen by then, a second after its end: that of the step before.
    pub sync: u32,
    /// How far metric over target may be off 1 without a change.
    pub tolerance: f64,
    /// Scale-in goes to the highest recommendation of this span, in seconds; one that is just as old still counts.
    pub stabilization: u32,
}

impl Hpa {
    /// Its defaults.
    pub const fn new(target: f64) -> Self {
        Self { target, sync: 15, tolerance: 0.1, stabilization: 300 }
    }

    pub(crate) fn begin(&self, rules: &Rules) -> Syncer {
        Syncer {
            rules: *self,
            bounds: (rules.min, rules.max),
            next_sync: self.sync,
            recommended: VecDeque::with_capacity(index(self.stabilization / self.sync.max(1)) + 2),
            busy: None,
            ratio: 1.0,
            need: rules.min,
        }
    }
}

/// The autoscaler at work.
#[derive(Clone, Debug)]
pub(crate) struct Syncer {
    rules: Hpa,
    bounds: (u32, u32),
    /// In seconds from the start.
    next_sync: u32,
    /// (second, recommendation) of the stabilization window: those that a later one has not exceeded, so that the
    /// first is the highest.
    recommended: VecDeque<(u32, u32)>,
    /// Utilisation of the newest step that a sync in the running one can see; `None` where nobody served.
    busy: Option<f64>,
    ratio: f64,
    need: u32,
}

impl Syncer {
    /// The highest recommendation of the window, this one included.
    fn stabilized(&mut self, at: u32, recommendation: u32) -> u32 {
        while self.recommended.back().is_some_and(|(_, older)| *older <= recommendation) {
            self.recommended.pop_back();
        }
        self.recommended.push_back((at, recommendation));
        let window = self.rules.stabilization;
        while self.recommended.front().is_some_and(|(then, _)| then + window < at) {
            self.recommended.pop_front();
        }
        self.recommended.front().map_or(recommendation, |(_, highest)| *highest)
    }
}

impl Controller for Syncer {
    #[inline]
    fn decide(&mut self, seen: &Seen) -> u32 {
        let shown = (seen.capacity > 0.0).then(|| seen.done.served / (seen.capacity * SECONDS));
        let known = std::mem::replace(&mut self.busy, shown);
        let now = (crate::number::small(seen.step) + 1) * Trace::STEP;
        if now < self.next_sync {
            return seen.target;
        }
        let sync = self.next_sync;
        self.next_sync += self.rules.sync.max(1);
        let Some(busy) = known else { return seen.target };
        self.ratio = busy / self.rules.target;
        let recommendation = if (self.ratio - 1.0).abs() <= self.rules.tolerance {
            seen.target
        } else {
            units(f64::from(seen.serving) * self.ratio).clamp(self.bounds.0, self.bounds.1)
        };
        self.need = recommendation;
        let highest = self.stabilized(sync, recommendation);
        if recommendation > seen.target { recommendation } else { highest.min(seen.target) }
    }

    fn need(&self) -> u32 {
        self.need
    }

    fn reason(&self) -> String {
        format!("metric over target is {:.2}", self.ratio)
    }
}
