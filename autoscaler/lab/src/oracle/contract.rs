//! What a clairvoyant could have had under the contract, and what delay costs whoever is none.

use super::{MINUTE, Program, Row, follow, peak};
use crate::bench::Bench;
use crate::number::{length, real, units, wide};
use crate::suite::tally::{Rules, Tally};
use std::collections::VecDeque;

/// The span over which the delay floor's fleet keeps what was needed, in minutes.
const REMEMBERED: usize = 60;
/// Prices are counted in so many parts of what a unit costs for a step.
const PARTS: u64 = 1000;
/// Halvings in the search for a price: a thousandth of the range that it is looked for in.
const HALVINGS: usize = 10;

/// The share of time in saturation that nobody who does not know the future can be blamed for.
///
/// It is that of a fleet which holds at every moment what the highest demand of an hour needed, the hour having ended
/// a delay ago: who forecasts nothing, forgets nothing for an hour, and cannot be faster than its metric and its boots.
///
/// * `delay`: from the end of a sample to serving by it, in steps.
pub(crate) fn delay_floor(rules: &Rules, demand: &[f64], delay: usize) -> f64 {
    let delay = delay.div_ceil(MINUTE);
    let peaks: Vec<f64> = demand.chunks(MINUTE).map(peak).collect();
    // Minutes of the window that no later one has exceeded: the first is the highest.
    let mut window: VecDeque<usize> = VecDeque::new();
    let mut saturated = 0_u64;
    let first = demand.first().copied().unwrap_or(0.0);
    for (minute, steps) in demand.chunks(MINUTE).enumerate() {
        if let Some(newest) = (minute + 1).checked_sub(delay + 1) {
            while window.back().is_some_and(|older| peaks[*older] <= peaks[newest]) {
                window.pop_back();
            }
            window.push_back(newest);
            while window.front().is_some_and(|oldest| oldest + REMEMBERED <= newest) {
                window.pop_front();
            }
        }
        let known = window.front().map_or(first, |highest| peaks[*highest]);
        let capacity = f64::from(rules.need(known));
        saturated += wide(steps.iter().filter(|demand| **demand > capacity).count());
    }
    real(saturated) / length(demand.len())
}

/// What a clairvoyant pays for each thing that the contract bounds, in parts of a unit-step.
#[derive(Clone, Copy, Debug, Default)]
struct Prices {
    /// A step above the level of the objective; one in saturation counts five times.
    breach: u64,
    /// What a unit in service earns for lowering mean utilisation.
    idle: u64,
    /// A launch, besides what it bills.
    launch: u64,
}

/// Searches prices under which the clairvoyant's cheapest schedule keeps the contract.
struct Search<'a> {
    bench: &'a Bench<'a>,
    at_most: f64,
    /// Units below which each step is above the level, and saturated.
    thresholds: Vec<(u32, u32)>,
}

/// Unit-hours of the cheapest schedule found that keeps the contract: `None` where none does at any price.
///
/// The contract's bounds are given prices (of breach, of mean utilisation, of launches, by which flips are avoided),
/// under which the optimum is one of dynamic programming again; each price is the least that keeps its bound. Between
/// two schedules that this can find there may be cheaper ones: the true optimum lies between the schedule's cost and
/// what the next lower price would come to, which on a trace of days is within a part in a thousand.
pub(crate) fn within_contract(bench: &Bench<'_>, at_most: f64) -> Option<f64> {
    let rules = &bench.rules;
    let threshold = |demand: &f64| (units(demand / rules.above), units(*demand));
    let search = Search { bench, at_most, thresholds: bench.demand.iter().map(threshold).collect() };
    search.run()
}

impl Search<'_> {
    fn run(&self) -> Option<f64> {
        let size = u64::from(self.bench.rules.max) * PARTS;
        let mut prices = Prices::default();
        // Breach depends on idle capacity and the other way round: twice is enough in practice, and what is returned
        // keeps the contract or is not returned.
        for _ in 0..2 {
            prices.breach = least(size * 20, |breach| {
                let tally = self.follow(Prices { breach, ..prices });
                self.breach_kept(&tally)
            });
            prices.idle = least(PARTS - 1, |idle| {
                let tally = self.follow(Prices { idle, ..prices });
                tally.scores().mean_utilization <= self.bench.mean_allowed()
            });
        }
        prices.launch = least(size * 20, |launch| self.flips_kept(&self.follow(Prices { launch, ..prices })));
        let tally = self.follow(prices);
        let kept = self.breach_kept(&tally)
            && self.flips_kept(&tally)
            && tally.scores().mean_utilization <= self.bench.mean_allowed();
        kept.then(|| tally.unit_hours())
    }

    fn breach_kept(&self, tally: &Tally) -> bool {
        let saturated = tally.scores().saturated_ratio;
        tally.above_ratio() <= self.at_most && saturated <= self.bench.saturation_allowed()
    }

    fn flips_kept(&self, tally: &Tally) -> bool {
        tally.scores().flips_per_day <= self.bench.flips_allowed()
    }

    /// The cheapest schedule under some prices.
    fn follow(&self, prices: Prices) -> Tally {
        let rules = &self.bench.rules;
        let launch = wide(rules.boot) * PARTS + prices.launch;
        let program = Program::priced(rules, PARTS - prices.idle, launch);
        let charge = |row: &mut Row<'_>, number: usize, minute: &[f64]| {
            for (level, saturated) in &self.thresholds[number * MINUTE..][..minute.len()] {
                row.charge_below(*level, prices.breach);
                row.charge_below(*saturated, prices.breach * 4);
            }
        };
        let (_, units) = program.schedule(&self.bench.demand, charge);
        follow(rules, &self.bench.demand, &units)
    }
}

/// The least price up to `most` that keeps a bound, to within a thousandth of the range; 0 where nothing need be paid.
fn least(most: u64, keeps: impl Fn(u64) -> bool) -> u64 {
    if keeps(0) {
        return 0;
    }
    let (mut too_low, mut enough) = (0, most);
    for _ in 0..HALVINGS {
        // By ratio while the range is wide, since prices matter by their ratio.
        let between = (too_low.max(most >> HALVINGS) * enough).isqrt().clamp(too_low + 1, enough);
        if keeps(between) { enough = between } else { too_low = between }
    }
    enough
}
