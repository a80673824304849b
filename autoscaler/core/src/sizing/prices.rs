//! What each size of the fleet would cost: its units, and the risk that they are too few.

use super::errors::Outlook;
use super::ratios::{BINS, DOWN, EDGES, tail_above};

/// Prices of breach that are tried: what a minute above the level counts for, in multiples of a minute of the
/// whole fleet. Below the first, breach is cheaper than any capacity; at the last, one minute a week is dear.
pub(super) const PRICES: [f64; 7] = [1.1, 2.42, 5.3, 11.7, 25.8, 56.7, 125.0];
/// Saturation counts on top of breach, and so many times as much: the contract allows a third of it.
const SATURATION: f64 = 3.0;
/// A ladder has a rung for each upward edge of the distributions, and its lowest.
const RUNGS: usize = BINS - DOWN + 2;

/// Sizes that come into question, ascending, and how risky each is.
pub(super) struct Ladder {
    count: usize,
    units: [f64; RUNGS],
    /// The risk of breach, and thrice that of saturation, at the tick that was forecast.
    then: [f64; RUNGS],
    /// The same for the minutes after, at sizes that need not be whole: what is kept is rounded only in the end.
    parts: [f64; RUNGS],
    soon: [f64; RUNGS],
}

/// What a ladder is made of.
pub(super) struct Rungs<'a> {
    /// Demand that is forecast, in units.
    pub forecast: f64,
    /// What may come over it.
    pub outlook: &'a Outlook,
    /// The least units, whatever the risk: what demand needs now, and at the target.
    pub floor: f64,
    /// The least that is kept, whatever the risk: what demand has needed lately, too.
    pub keep_floor: f64,
    /// The policy's bounds.
    pub min: f64,
    pub max: f64,
    /// The level of the promise, 0..=1.
    pub level: f64,
}

impl Ladder {
    /// Sizes from the floor up to where no ratio on record would breach. O(bins).
    pub fn of(rungs: &Rungs<'_>) -> Self {
        let Rungs { forecast, outlook, floor, keep_floor, min, max, level } = rungs;
        let mut ladder = Self {
            count: 0,
            units: [0.0; RUNGS],
            then: [0.0; RUNGS],
            parts: [0.0; RUNGS],
            soon: [0.0; RUNGS],
        };
        let lowest = (floor - 1e-9).ceil().clamp(*min, *max);
        let lowest_kept = keep_floor.clamp(*min, *max);
        let (mut at, mut soon_at) = ((0, 0), (0, 0));
        let risk = |units: f64, tails, at: &mut (usize, usize)| {
            let full = units / forecast;
            tail_above(tails, full * level, &mut at.0) + SATURATION * tail_above(tails, full, &mut at.1)
        };
        for (index, edge) in std::iter::once(&0.0).chain(&EDGES[DOWN..]).enumerate() {
            let part = forecast * edge / level;
            let kept = part.clamp(lowest_kept, *max);
            ladder.parts[index] = kept;
            ladder.soon[index] = risk(kept, &outlook.soon, &mut soon_at);
            let units = (part - 1e-9).ceil().clamp(lowest, *max);
            if ladder.count == 0 || units > ladder.units[ladder.count - 1] {
                ladder.units[ladder.count] = units;
                ladder.then[ladder.count] = risk(units, &outlook.then, &mut at);
                ladder.count += 1;
            }
        }
        ladder
    }

    /// The cheapest size at a price of breach, and what it comes to; the smaller of equals.
    pub fn cheapest(&self, price: f64) -> (f64, f64) {
        Self::least(&self.units[..self.count], &self.then[..self.count], price)
    }

    /// The cheapest size, whole or not, that also covers the minutes in which a release would be bought back.
    pub fn cheapest_soon(&self, price: f64) -> f64 {
        Self::least(&self.parts, &self.soon, price).0
    }

    fn least(units: &[f64], risks: &[f64], price: f64) -> (f64, f64) {
        let mut best = (units[0], f64::INFINITY);
        for (units, risk) in units.iter().zip(risks) {
            let cost = units + price * risk;
            if cost < best.1 {
                best = (*units, cost);
            }
        }
        best
    }

    /// What a size comes to; infinite below the lowest rung.
    pub fn cost(&self, units: f64, price: f64) -> f64 {
        let rungs = &self.units[..self.count];
        let above = rungs.partition_point(|rung| *rung <= units);
        let Some(low) = above.checked_sub(1) else { return f64::INFINITY };
        let risk = if above == self.count {
            self.then[low]
        } else {
            let share = (units - rungs[low]) / (rungs[above] - rungs[low]);
            self.then[low] + (self.then[above] - self.then[low]) * share
        };
        units + price * risk
    }
}
