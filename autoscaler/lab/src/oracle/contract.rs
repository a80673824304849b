//! What a clairvoyant could have had under the contract, and what delay costs whoever is none.

use super::{MINUTE, Program, Row, follow, peak};
use crate::bench::Bench;
use crate::number::{length, real, units, wide};
use crate::suite::tally::Rules;
use std::collections::VecDeque;
use std::ops::Range;

/// The span over which the delay floor's fleet keeps what was needed, in minutes: long enough that what keeps coming
/// is held against, short enough that one step yesterday is no reason to be large for ever.
const REMEMBERED: usize = 360;
/// Prices are counted in so many parts of what a unit costs for a step.
const PARTS: u64 = 100;
/// Halvings in the search for a price, by ratio: to a twentieth of it.
const HALVINGS: usize = 7;
/// The range that a price is looked for in, by ratio, in powers of two.
const RANGE: usize = 10;
/// Prices of a launch that are tried, each twice the one before, from a unit-minute up.
const LAUNCH_PRICES: u32 = 8;

/// Units of the fleet that nobody who does not know the future can be blamed for, by the minute.
///
/// It holds at every moment what the highest demand of six hours needed, these having ended a delay ago: who forecasts
/// nothing, forgets nothing for that long, and cannot be faster than its metric and its boots.
///
/// * `delay`: from the beginning of a sample's period to serving by it, in steps.
pub(crate) fn delayed(rules: &Rules, demand: &[f64], delay: usize) -> Vec<u32> {
    let delay = delay.div_ceil(MINUTE);
    let peaks: Vec<f64> = demand.chunks(MINUTE).map(peak).collect();
    // Minutes of the window that no later one has exceeded: the first is the highest.
    let mut window: VecDeque<usize> = VecDeque::new();
    let first = demand.first().copied().unwrap_or(0.0);
    let mut units = Vec::with_capacity(peaks.len());
    for minute in 0..peaks.len() {
        if let Some(newest) = (minute + 1).checked_sub(delay + 1) {
            while window.back().is_some_and(|older| peaks[*older] <= peaks[newest]) {
                window.pop_back();
            }
            window.push_back(newest);
            while window.front().is_some_and(|oldest| oldest + REMEMBERED <= newest) {
                window.pop_front();
            }
        }
        units.push(rules.need(window.front().map_or(first, |highest| peaks[*highest])));
    }
    units
}

/// The share of some steps in which demand is above a level of such a fleet.
///
/// * `level`: 1 for saturation.
pub(crate) fn share_above(units: &[u32], demand: &[f64], level: f64, steps: Range<usize>) -> f64 {
    let above = |step: &usize| demand[*step] > level * f64::from(units[step / MINUTE]);
    real(wide(steps.clone().filter(above).count())) / length(steps.len().max(1))
}

/// What a clairvoyant pays for what the contract bounds, in parts of a unit-step.
#[derive(Clone, Copy, Debug, Default)]
struct Prices {
    /// A step above the level of the objective; one in saturation counts five times.
    breach: u64,
    /// A launch, besides what it bills.
    launch: u64,
}

/// Searches prices under which the clairvoyant's cheapest schedule keeps the contract.
struct Search<'a> {
    bench: &'a Bench<'a>,
    at_most: f64,
    saturation_allowed: f64,
    /// Units below which each step is above the level, and saturated.
    thresholds: Vec<(u32, u32)>,
}

/// Unit-hours of the cheapest schedule found that keeps the contract: `None` where none does at any price.
///
/// Breach and launches (by which flips are avoided) are given prices, under which the optimum is one of dynamic
/// programming again; each is the least that keeps its bound. Mean utilisation needs no price: where it is too high,
/// what is missing to hold it is added, and costs what it serves. A price that lies between two schedules can leave a
/// little on the table: the cost is that of a schedule that keeps the contract, so never below the optimum.
pub(crate) fn within_contract(bench: &Bench<'_>, at_most: f64) -> Option<f64> {
    let rules = &bench.rules;
    let threshold = |demand: &f64| (units(demand / rules.above), units(*demand));
    let search = Search {
        bench,
        at_most,
        saturation_allowed: bench.saturation_allowed(),
        thresholds: bench.demand.iter().map(threshold).collect(),
    };
    let minute = wide(MINUTE) * PARTS;
    let prices = std::iter::once(0).chain((0..LAUNCH_PRICES).map(|doubled| minute << doubled));
    prices.into_iter().find_map(|launch| search.at(launch))
}

impl Search<'_> {
    /// The cost at the least price of breach that keeps the objective; `None` where some bound is not kept.
    fn at(&self, launch: u64) -> Option<f64> {
        let most = u64::from(self.bench.rules.max) * PARTS * 20;
        let breach = least(most, |breach| self.breach_kept(&self.schedule(Prices { breach, launch })));
        let units = self.schedule(Prices { breach, launch });
        if !self.breach_kept(&units) {
            return None;
        }
        let tally = follow(&self.bench.rules, &self.bench.demand, &units);
        let flips_kept = tally.scores().flips_per_day <= self.bench.flips_allowed();
        flips_kept.then(|| tally.unit_hours() + tally.idle_missing(self.bench.mean_allowed()))
    }

    /// Whether a schedule keeps what is asked of breach and saturation.
    fn breach_kept(&self, units: &[u32]) -> bool {
        let (mut above, mut saturated) = (0_u64, 0_u64);
        for (minute, units) in self.thresholds.chunks(MINUTE).zip(units) {
            for (level, whole) in minute {
                above += u64::from(units < level);
                saturated += u64::from(units < whole);
            }
        }
        let share = |count| real(count) / length(self.thresholds.len());
        share(above) <= self.at_most && share(saturated) <= self.saturation_allowed
    }

    /// The cheapest schedule under some prices.
    fn schedule(&self, prices: Prices) -> Vec<u32> {
        let rules = &self.bench.rules;
        let program = Program::priced(rules, PARTS, wide(rules.boot) * PARTS + prices.launch);
        let charge = |row: &mut Row<'_>, number: usize, minute: &[f64]| {
            for (level, saturated) in &self.thresholds[number * MINUTE..][..minute.len()] {
                row.charge_below(*level, prices.breach);
                row.charge_below(*saturated, prices.breach * 4);
            }
        };
        program.schedule(&self.bench.demand, charge).1
    }
}

/// The least price up to `most` that keeps a bound, nearly; 0 where nothing need be paid.
fn least(most: u64, keeps: impl Fn(u64) -> bool) -> u64 {
    if keeps(0) {
        return 0;
    }
    let (mut too_low, mut enough) = ((most >> RANGE).max(1), most);
    for _ in 0..HALVINGS {
        // Prices matter by their ratio.
        let between = (too_low * enough).isqrt();
        if keeps(between) { enough = between } else { too_low = between }
    }
    enough
}
