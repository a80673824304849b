//! What demand was: by the minute for a good day, by the quarter of an hour for two weeks.

use crate::number::{real, short, signed, slot};
use fleet::{Power, Timestamp};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Minutes that are kept one by one: a day, and an hour so that "yesterday, an hour from now" is still there.
const MINUTES: usize = 1500;
const MINUTE: i64 = 60_000;
/// Quarter-hour means that are kept: two weeks.
const QUARTERS: usize = 14 * 96;
const QUARTER: i64 = 15 * MINUTE;
/// What stands where nothing is known.
const UNKNOWN: f32 = -1.0;

/// Means over steps of one length, in a ring.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Ring {
    /// Length of a step in milliseconds.
    step: i64,
    /// The number since 1970 of the newest step that is (partly) filled.
    newest: Option<i64>,
    /// How much of the newest step is filled, in milliseconds.
    filled: i64,
    /// By number of the step modulo the ring's length.
    means: Vec<f32>,
}

impl Ring {
    fn new(step: i64, length: usize) -> Self {
        Self { step, newest: None, filled: 0, means: vec![UNKNOWN; length] }
    }

    fn slot(&self, number: i64) -> usize {
        slot(number, self.means.len())
    }

    /// Adds the mean of a period that lies within one step.
    fn add(&mut self, number: i64, millis: i64, mean: f64) {
        let length = signed(self.means.len());
        let newest = *self.newest.get_or_insert(number);
        if number > newest {
            for gap in (newest + 1).max(number - length + 1)..=number {
                let slot = self.slot(gap);
                self.means[slot] = UNKNOWN;
            }
            self.newest = Some(number);
            self.filled = 0;
        } else if number < newest {
            // Late: fills what is not known, changes nothing that is.
            let slot = self.slot(number);
            if newest - number < length && self.means[slot] < 0.0 {
                self.means[slot] = short(mean);
            }
            return;
        }
        let slot = self.slot(number);
        let before = f64::from(self.means[slot].max(0.0));
        let share = real(millis) / real((self.filled + millis).max(1));
        self.means[slot] = short(before + (mean - before) * share);
        self.filled += millis;
    }

    /// Forgets what lies behind a step.
    fn rewind(&mut self, number: i64) {
        let Some(newest) = self.newest.filter(|newest| *newest > number) else { return };
        for later in number + 1..=newest.min(number + signed(self.means.len())) {
            let slot = self.slot(later);
            self.means[slot] = UNKNOWN;
        }
        self.newest = Some(number);
    }

    fn at(&self, number: i64) -> Option<f64> {
        let newest = self.newest?;
        if number > newest || newest - number >= signed(self.means.len()) {
            return None;
        }
        let mean = self.means[self.slot(number)];
        (mean >= 0.0).then(|| f64::from(mean))
    }
}

/// Demand as it was. 11 KiB.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct History {
    minutes: Ring,
    quarters: Ring,
}

impl Default for History {
    fn default() -> Self {
        Self { minutes: Ring::new(MINUTE, MINUTES), quarters: Ring::new(QUARTER, QUARTERS) }
    }
}

impl History {
    /// Adds the mean demand of a period. Late ones fill gaps alone. O(period / 1 min).
    pub fn add(&mut self, end: Timestamp, period: Duration, demand: f64) {
        let period = i64::try_from(period.as_millis()).unwrap_or(i64::MAX).clamp(1, 60 * MINUTE);
        for ring in [&mut self.minutes, &mut self.quarters] {
            let (mut from, end) = (end.millis().saturating_sub(period), end.millis());
            while from < end {
                let number = from.div_euclid(ring.step);
                let to = end.min((number + 1) * ring.step);
                ring.add(number, to - from, demand);
                from = to;
            }
        }
    }

    /// Forgets what lies behind `now`: a clock has jumped back.
    pub fn rewind(&mut self, now: Timestamp) {
        for ring in [&mut self.minutes, &mut self.quarters] {
            ring.rewind(now.millis().div_euclid(ring.step));
        }
    }

    /// Mean demand of the minute that `at` lies in, as far as it is kept one by one.
    pub fn minute(&self, at: Timestamp) -> Option<f64> {
        self.minutes.at(at.millis().div_euclid(MINUTE))
    }

    /// Demand around `at`: quarter-hour means, linear between their middles.
    pub fn around(&self, at: Timestamp) -> Option<f64> {
        let from_middle = at.millis() - QUARTER / 2;
        let number = from_middle.div_euclid(QUARTER);
        let share = real(from_middle.rem_euclid(QUARTER)) / real(QUARTER);
        let (a, b) = (self.quarters.at(number)?, self.quarters.at(number + 1)?);
        Some(a + (b - a) * share)
    }

    /// What is kept by the minute, oldest first.
    pub fn minutes(&self) -> impl Iterator<Item = (Timestamp, Power)> + '_ {
        let newest = self.minutes.newest.unwrap_or(0);
        (newest - signed(MINUTES) + 1..=newest).filter_map(|number| {
            let mean = self.minutes.at(number)?;
            Some((Timestamp::from_millis(number * MINUTE), Power::new(mean)))
        })
    }
}
