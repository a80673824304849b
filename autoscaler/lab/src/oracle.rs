//! The clairvoyant optimum: what could have been had at best by whoever knows demand in advance.
//!
//! Dynamic programming over minutes: `J_t(x) = x + min_y [ J_{t-1}(y) + beta (x - y)^+ ]`, `x >= r_t`, where `r_t`
//! holds the minute's highest demand at the target and `beta` is the boot, which is billed and serves nobody. The
//! minimum over `y` is one over `y >= x` (nothing to launch) and one over `y <= x` (launch the rest): a suffix and a
//! prefix minimum, so that a minute costs O(max). Costs are counted in whole unit-steps: sums are exact.

mod contract;

use crate::number::{index, length, real, small, whole, wide};
use crate::suite::service::Queue;
use crate::suite::tally::{Rules, Tally};
use crate::{Bench, Trace};
pub(crate) use contract::{delayed, share_above, within_contract};
use serde::Serialize;

/// Steps in a minute.
const MINUTE: usize = (60 / Trace::STEP) as usize;
/// Steps in an hour.
const HOUR: f64 = 3600.0 / Trace::STEP as f64;

/// Capacity by the minute.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Schedule {
    /// What it bills, launches included.
    pub unit_hours: f64,
    /// Units in service, by the minute from the start of the trace.
    pub units: Vec<u32>,
}

/// A point of a front of cost against breach.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Point {
    /// What is varied along the front: the price of a missing unit-minute, or a rival's target.
    pub setting: f64,
    /// Unit-hours billed.
    pub cost_unit_hours: f64,
    /// The same over the hard oracle's.
    pub cost_ratio: f64,
    /// Share of time with demand above 0.8 of the capacity in service.
    pub breach80_ratio: f64,
    /// Share of time with demand above the level of the objective.
    pub above_ratio: f64,
    /// Share of time with demand above the capacity in service.
    pub saturated_ratio: f64,
}

/// What [`Bench::oracle_unit_hours`] is the cost of: the cheapest schedule with which demand, noise included, stays at
/// or below the target in every minute, as far as `max` allows it. O(minutes x max), one row of memory a minute.
pub fn schedule(bench: &Bench<'_>) -> Schedule {
    let rules = &bench.rules;
    let keep = |row: &mut Row<'_>, _: usize, minute: &[f64]| row.forbid_below(rules.need(peak(minute)));
    let (cost, units) = Program::new(rules).schedule(&bench.demand, keep);
    Schedule { unit_hours: real(cost) / HOUR, units }
}

/// The soft oracle's front: the optimum when a unit that is missing for a minute costs so many unit-minutes, for
/// each of some penalties.
pub fn front(bench: &Bench<'_>, penalties: &[f64]) -> Vec<Point> {
    let (rules, demand) = (&bench.rules, &bench.demand);
    let least = bench.oracle_unit_hours();
    let soft = |penalty: &f64| {
        let price = whole(penalty.clamp(0.0, 1e6) * length(MINUTE));
        let charge =
            |row: &mut Row<'_>, _: usize, minute: &[f64]| row.charge_missing(rules.need(peak(minute)), price);
        let (_, units) = Program::new(rules).schedule(demand, charge);
        point(rules, demand, &units, *penalty, least)
    };
    penalties.iter().map(soft).collect()
}

/// What a schedule comes to.
fn point(rules: &Rules, demand: &[f64], units: &[u32], setting: f64, least: f64) -> Point {
    let tally = follow(rules, demand, units);
    let scores = tally.scores();
    Point {
        setting,
        cost_unit_hours: scores.cost_unit_hours,
        cost_ratio: scores.cost_unit_hours / least,
        breach80_ratio: scores.breach80_ratio,
        above_ratio: scores.above_ratio,
        saturated_ratio: scores.saturated_ratio,
    }
}

/// Carries a schedule out: launches a boot ahead, releases at once.
fn follow(rules: &Rules, demand: &[f64], units: &[u32]) -> Tally {
    let mut tally = Tally::default();
    let mut queue = Queue::default();
    let mut before = units.first().copied().unwrap_or(0);
    for (minute, (steps, units)) in demand.chunks(MINUTE).zip(units).enumerate() {
        let launched = u64::from(units.saturating_sub(before));
        tally.bill(launched * wide(rules.boot));
        if *units != before {
            // What serves from now on was asked for a boot ago.
            let ahead = if *units > before { rules.boot } else { 0 };
            tally.change(rules, (minute * MINUTE).saturating_sub(ahead), before, *units);
        }
        before = *units;
        let capacity = f64::from(*units);
        for demand in steps {
            let done = queue.serve(*demand, capacity);
            tally.step(rules, *demand, capacity, capacity, &done);
        }
    }
    tally
}

fn peak(minute: &[f64]) -> f64 {
    minute.iter().copied().fold(0.0, f64::max)
}

/// The hard oracle's unit-hours: the least with which demand stays at or below the target in every minute, as far as `max`
/// allows it. O(minutes x max), one row of memory.
pub(crate) fn hard(rules: &Rules, demand: &[f64]) -> f64 {
    let mut program = Program::new(rules);
    for minute in demand.chunks(MINUTE) {
        program.advance(minute.len());
        program.row().forbid_below(rules.need(peak(minute)));
    }
    real(program.least()) / HOUR
}

/// What no schedule can cost.
const NEVER: u64 = u64::MAX / 4;

/// The dynamic program: the least cost by units in service, `min..=max`.
struct Program {
    min: u32,
    /// What a unit costs for each step that it serves: 1, where costs are counted in unit-steps.
    unit: u64,
    /// What a launch costs: what it bills before it serves.
    launch: u64,
    costs: Vec<u64>,
}

/// The costs of a minute, to be added to.
struct Row<'a> {
    min: u32,
    costs: &'a mut [u64],
}

impl Program {
    fn new(rules: &Rules) -> Self {
        Self::priced(rules, 1, wide(rules.boot))
    }

    fn priced(rules: &Rules, unit: u64, launch: u64) -> Self {
        let sizes = index(rules.max - rules.min) + 1;
        Self { min: rules.min, unit, launch, costs: vec![0; sizes] }
    }

    /// Moves on by a step or more in which size does not change: launches first, then what they and the others bill.
    #[inline]
    fn advance(&mut self, steps: usize) {
        let (launch, bill) = (self.launch, self.unit * wide(steps));
        // Whoever had more gives the rest back for nothing.
        let mut least = NEVER;
        for cost in self.costs.iter_mut().rev() {
            least = least.min(*cost);
            *cost = least;
        }
        // Whoever had less launches the rest.
        let mut least = NEVER;
        let mut billed = u64::from(self.min) * bill;
        for cost in &mut self.costs {
            least = (least + launch).min(*cost);
            *cost = least + billed;
            billed += bill;
        }
    }

    fn row(&mut self) -> Row<'_> {
        Row { min: self.min, costs: &mut self.costs }
    }

    fn least(&self) -> u64 {
        self.costs.iter().copied().min().unwrap_or(0)
    }

    /// The cheapest schedule, each minute being charged as `charge` says, and its cost.
    fn schedule(mut self, demand: &[f64], charge: impl Fn(&mut Row<'_>, usize, &[f64])) -> (u64, Vec<u32>) {
        let sizes = self.costs.len();
        let minutes = demand.len().div_ceil(MINUTE);
        let mut rows = Vec::with_capacity(minutes * sizes);
        for (number, minute) in demand.chunks(MINUTE).enumerate() {
            self.advance(minute.len());
            charge(&mut self.row(), number, minute);
            rows.extend_from_slice(&self.costs);
        }
        let mut after: Option<usize> = None;
        let mut units: Vec<u32> = Vec::with_capacity(minutes);
        for row in rows.chunks_exact(sizes).rev() {
            // What it costs to get from here to where the schedule goes on; of several, the largest: the fewest moves.
            let onward = |x: usize| after.map_or(0, |next| self.launch * wide(next.saturating_sub(x)));
            let best = (0..sizes).rev().min_by_key(|x| row[*x] + onward(*x)).unwrap_or(0);
            units.push(self.min + small(best));
            after = Some(best);
        }
        units.reverse();
        (self.least(), units)
    }
}

impl Row<'_> {
    /// Any fewer units than this cost so much.
    #[inline]
    fn charge_below(&mut self, enough: u32, price: u64) {
        let below = index(enough.saturating_sub(self.min)).min(self.costs.len());
        for cost in &mut self.costs[..below] {
            *cost += price;
        }
    }

    /// Fewer units than this must not be.
    #[inline]
    fn forbid_below(&mut self, need: u32) {
        let below = index(need.saturating_sub(self.min)).min(self.costs.len() - 1);
        self.costs[..below].fill(NEVER);
    }

    /// A unit that is missing costs so much.
    fn charge_missing(&mut self, need: u32, price: u64) {
        for (units, cost) in (self.min..need).zip(self.costs.iter_mut()) {
            *cost += u64::from(need - units) * price;
        }
    }
}
