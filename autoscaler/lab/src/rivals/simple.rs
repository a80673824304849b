//! Rivals that nobody runs, to have something to measure by.

use crate::number::units;
use crate::suite::Controller;
use crate::suite::fleet::steps;
use crate::suite::metric::Seen;
use crate::suite::tally::Rules;
use std::collections::VecDeque;

/// What demand needed some time ago, and some units more.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Lag {
    /// Utilisation to hold, 0..=1.
    pub target: f64,
    /// How long ago, in seconds.
    pub ago: u32,
    /// How many units more.
    pub more: u32,
}

impl Lag {
    /// Three minutes and one unit.
    pub const fn new(target: f64) -> Self {
        Self { target, ago: 180, more: 1 }
    }

    pub(crate) fn begin(&self, rules: &Rules) -> Lagging {
        Lagging { rules: *self, bounds: (rules.min, rules.max), past: VecDeque::new(), need: rules.min }
    }
}

/// A lag at work.
#[derive(Clone, Debug)]
pub(crate) struct Lagging {
    rules: Lag,
    bounds: (u32, u32),
    past: VecDeque<f64>,
    need: u32,
}

impl Controller for Lagging {
    #[inline]
    fn decide(&mut self, seen: &Seen) -> u32 {
        self.past.push_back(seen.demand);
        if self.past.len() <= steps(self.rules.ago) {
            self.need = seen.target;
            return seen.target;
        }
        let then = self.past.pop_front().unwrap_or(seen.demand);
        let wanted = units(then / self.rules.target).saturating_add(self.rules.more);
        self.need = wanted.clamp(self.bounds.0, self.bounds.1);
        self.need
    }

    fn need(&self) -> u32 {
        self.need
    }

    fn reason(&self) -> String {
        format!("{} s ago demand needed {}", self.rules.ago, self.need.saturating_sub(self.rules.more))
    }
}

/// One size for ever.
#[derive(Clone, Debug)]
pub(crate) struct Fixed(u32);

impl Fixed {
    /// * `units`: enough for the highest demand.
    pub fn new(rules: &Rules, enough: f64) -> Self {
        Self(units(enough).clamp(rules.min, rules.max))
    }
}

impl Controller for Fixed {
    #[inline]
    fn decide(&mut self, _: &Seen) -> u32 {
        self.0
    }
    fn need(&self) -> u32 {
        self.0
    }
    fn reason(&self) -> String {
        "enough for the highest demand".to_owned()
    }
}
