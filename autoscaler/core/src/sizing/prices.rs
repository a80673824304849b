//! What each size of the fleet would cost: its units, and the risk that they are too few.

use super::errors::Outlook;
use super::ratios::{BINS, DOWN, Scale, Tails, UP, tail_above};
use crate::number::whole;

/// Prices of breach that are tried: what a minute above the level counts for, in multiples of a minute of the
/// whole fleet. Below the first, breach is cheaper than any capacity; at the last, one minute a week is dear.
pub(super) const PRICES: [f64; 13] =
    [1.1, 1.63, 2.42, 3.58, 5.3, 7.85, 11.7, 17.3, 25.8, 38.0, 56.7, 84.0, 125.0];
/// Saturation counts on top of breach, and so many times as much: more would buy the far end of the tail for services
/// whose breach is the tighter bound.
const SATURATION: f64 = 1.0;
/// There is a rung for each upward edge of the distributions, and the lowest.
const RUNGS: usize = UP + 2;

/// Sizes that come into question, ascending, and how risky each is.
pub(super) struct Ladder {
    /// Whole sizes, at the tick that was forecast.
    then: Rungs,
    /// Sizes that need not be whole, in the minutes after, too: what is kept is rounded only in the end.
    soon: Rungs,
}

/// What a ladder is made of.
pub(super) struct Wood<'a> {
    /// Demand that is forecast, in units.
    pub forecast: f64,
    /// What is added to demand and forecast before they are compared, in units.
    pub base: f64,
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

impl Wood<'_> {
    /// The size at which the level is reached when demand comes out at an edge.
    fn units(&self, edge: f64) -> f64 {
        ((self.forecast + self.base) * edge - self.base) / self.level
    }

    /// What would have to come, over what is forecast, to reach an amount.
    fn ratio(&self, demand: f64) -> f64 {
        (demand + self.base) / (self.forecast + self.base)
    }

    /// The sizes at the upward edges.
    fn sizes(&self, scale: Scale) -> Steps {
        let mut sizes = [0.0; UP + 1];
        for (size, edge) in sizes.iter_mut().zip(&scale.edges[DOWN..]) {
            *size = self.units(*edge);
        }
        sizes
    }

    /// The risks of the sizes at the upward edges.
    fn risks(&self, scale: Scale, tails: &Tails) -> Steps {
        let mut risks = [0.0; UP + 1];
        // The ratio of saturation is a straight line over the edges: two points of it are enough.
        let full = |edge: f64| self.ratio(self.units(edge));
        let (from, slope) = (full(1.0), full(2.0) - full(1.0));
        let mut bin = DOWN;
        for ((risk, tail), edge) in risks.iter_mut().zip(&tails[DOWN..]).zip(&scale.edges[DOWN..]) {
            let share = scale.into(from + slope * (edge - 1.0), &mut bin);
            let (low, high) = (tails[bin.min(BINS)], tails[(bin + 1).min(BINS)]);
            *risk = tail + SATURATION * (low + (high - low) * share);
        }
        risks
    }

    /// The risk of a size.
    fn risk(&self, scale: Scale, tails: &Tails, risks: &Steps, units: f64) -> f64 {
        let ratio = self.ratio(units * self.level);
        if ratio >= 1.0 {
            return risk_between(scale, risks, 0, ratio);
        }
        tail_above(tails, ratio) + SATURATION * tail_above(tails, self.ratio(units))
    }
}

/// The risk of a size that is so many times what the forecast needs, linear between the upward edges.
///
/// * `edge`: one at or below it.
fn risk_between(scale: Scale, risks: &Steps, edge: usize, ratio: f64) -> f64 {
    let mut bin = DOWN + edge;
    let share = scale.into(ratio, &mut bin);
    let low = bin - DOWN;
    risks[low] + (risks[(low + 1).min(UP)] - risks[low]) * share
}

/// Sizes, ascending, each with its risk of breach and that of saturation.
struct Rungs {
    count: usize,
    units: [f64; RUNGS],
    risks: [f64; RUNGS],
}

/// Something of each of the sizes at which the level is reached when demand comes out at one of the upward edges.
type Steps = [f64; UP + 1];

impl Ladder {
    /// Sizes from the floor up to where no ratio on record would breach. O(bins).
    pub fn of(wood: &Wood<'_>) -> Self {
        let scale = Scale::get();
        let sizes = wood.sizes(scale);
        let then = wood.risks(scale, &wood.outlook.then);
        let soon = wood.outlook.soon.as_ref().map(|tails| wood.risks(scale, tails));
        let mut ladder = Self { then: Rungs::NONE, soon: Rungs::NONE };
        ladder.then.whole(wood, scale, &sizes, &then);
        ladder.soon.parts(wood, scale, &sizes, soon.as_ref().unwrap_or(&then));
        ladder
    }

    /// The cheapest whole size at each price of breach (ascending), and what it comes to; the smaller of equals.
    pub fn cheapest<const N: usize>(&self, prices: &[f64; N]) -> [(f64, f64); N] {
        self.then.cheapest(prices)
    }

    /// The cheapest size, whole or not, that also covers the minutes in which a release would be bought back;
    /// and what it comes to.
    pub fn cheapest_soon<const N: usize>(&self, prices: &[f64; N]) -> [(f64, f64); N] {
        self.soon.cheapest(prices)
    }

    /// The risk of a whole size: what a price of breach multiplies. Infinite below the lowest rung.
    pub fn risk(&self, units: f64) -> f64 {
        self.then.risk_of(units)
    }
}

impl Rungs {
    const NONE: Self = Self { count: 0, units: [0.0; RUNGS], risks: [0.0; RUNGS] };

    fn push(&mut self, units: f64, risk: f64) {
        self.units[self.count] = units;
        self.risks[self.count] = risk;
        self.count += 1;
    }

    /// Sizes rounded up.
    fn whole(&mut self, wood: &Wood<'_>, scale: Scale, sizes: &Steps, risks: &Steps) {
        let lowest = whole(wood.floor).clamp(wood.min, wood.max);
        self.push(lowest, wood.risk(scale, &wood.outlook.then, risks, lowest));
        let mut last = lowest;
        for (k, size) in sizes.iter().enumerate() {
            let units = whole(*size).min(wood.max);
            if units <= last {
                continue;
            }
            last = units;
            let risk = risk_between(scale, risks, k, wood.ratio(units * wood.level));
            self.push(units, risk);
            // More would cost more for nothing.
            if units >= wood.max || risk <= 0.0 {
                break;
            }
        }
    }

    /// Sizes as they are.
    fn parts(&mut self, wood: &Wood<'_>, scale: Scale, sizes: &Steps, risks: &Steps) {
        let lowest = wood.keep_floor.clamp(wood.min, wood.max);
        let tails = wood.outlook.soon.as_ref().unwrap_or(&wood.outlook.then);
        self.push(lowest, wood.risk(scale, tails, risks, lowest));
        for (units, risk) in sizes.iter().copied().zip(risks) {
            if units >= wood.max {
                if lowest < wood.max {
                    self.push(wood.max, wood.risk(scale, tails, risks, wood.max));
                }
                break;
            }
            if units > lowest {
                self.push(units, *risk);
            }
            if *risk <= 0.0 {
                break;
            }
        }
    }

    /// O(rungs + prices): the dearer breach is, the higher the cheapest rung, and only those on the lower convex
    /// hull of risk over units are ever cheapest.
    fn cheapest<const N: usize>(&self, prices: &[f64; N]) -> [(f64, f64); N] {
        let (units, risks) = (&self.units, &self.risks);
        let mut hull = [0_usize; RUNGS];
        let mut top = 0;
        // What the dearest price comes to so far: a rung of more units than that is too dear at any.
        let dearest = prices.last().copied().unwrap_or(0.0);
        let mut least = units[0] + dearest * risks[0];
        for rung in 1..self.count.min(RUNGS) {
            if units[rung] > least {
                break;
            }
            least = least.min(units[rung] + dearest * risks[rung]);
            while top > 0 {
                let (a, b) = (hull[top - 1], hull[top]);
                let bends = (risks[a] - risks[b]) * (units[rung] - units[b])
                    > (risks[b] - risks[rung]) * (units[b] - units[a]);
                if bends {
                    break;
                }
                top -= 1;
            }
            top += 1;
            hull[top] = rung;
        }
        let mut cheapest = [(0.0, 0.0); N];
        let mut at = 0;
        for (cheapest, price) in cheapest.iter_mut().zip(prices) {
            while at < top {
                let (a, b) = (hull[at], hull[at + 1]);
                if units[b] - units[a] >= price * (risks[a] - risks[b]) {
                    break;
                }
                at += 1;
            }
            let rung = hull[at];
            *cheapest = (units[rung], units[rung] + price * risks[rung]);
        }
        cheapest
    }

    /// The risk of a size, linear between rungs; infinite below the lowest.
    fn risk_of(&self, units: f64) -> f64 {
        let rungs = &self.units[..self.count];
        let above = rungs.partition_point(|rung| *rung <= units);
        let Some(low) = above.checked_sub(1) else { return f64::INFINITY };
        if above == self.count {
            return self.risks[low];
        }
        let share = (units - rungs[low]) / (rungs[above] - rungs[low]);
        self.risks[low] + (self.risks[above] - self.risks[low]) * share
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sizing::ratios::{Ratios, bin_of};

    fn ladder(forecast: f64, max: f64) -> Ladder {
        let mut ratios = Ratios::default();
        for k in 0..1000_u32 {
            // Long tails: one in a hundred doubles it.
            let ratio = if k % 100 == 7 { 2.0 } else { 0.8 + f64::from(k % 40) / 100.0 };
            ratios.add(bin_of(ratio), 1.0, 1.0);
        }
        let outlook = Outlook { then: ratios.tails(), soon: None };
        let floor = forecast / 0.9;
        let (base, keep_floor, min, level) = (0.5, floor, 1.0, 0.8);
        Ladder::of(&Wood { forecast, base, outlook: &outlook, floor, keep_floor, min, max, level })
    }

    #[test]
    fn the_cheapest_is_what_a_look_at_every_rung_finds() {
        for (forecast, max) in [(0.3, 20.0), (3.0, 20.0), (9.7, 20.0), (9.7, 7.0), (140.0, 1000.0)] {
            let ladder = ladder(forecast, max);
            for price in [0.5, 1.1, 3.0, 9.0, 40.0, 200.0].map(|price| price * forecast) {
                let [(units, cost)] = ladder.cheapest(&[price]);
                let rungs = ladder.then.units.iter().zip(&ladder.then.risks).take(ladder.then.count);
                let best = rungs.map(|(u, r)| u + price * r).fold(f64::INFINITY, f64::min);
                assert!((cost - best).abs() < 1e-9, "{forecast} at {price}: {units} for {cost}, not {best}");
                assert!((units + price * ladder.risk(units) - cost).abs() < 1e-9);
            }
        }
    }

    #[test]
    fn a_dearer_breach_never_asks_for_less() {
        let ladder = ladder(9.7, 20.0);
        let needs = ladder.cheapest(&[1.0, 10.0, 30.0, 100.0, 1000.0]).map(|(units, _)| units);
        assert!(needs.is_sorted(), "{needs:?}");
        assert_eq!((needs[0], needs[4]), (11.0, 20.0), "within the fleet's bounds");
        assert_eq!(ladder.risk(1.0), f64::INFINITY, "below what is certain");
    }
}
