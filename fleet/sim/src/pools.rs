//! Pools at work: what they can give, and in which order a fleet's strategy asks them.

use crate::num::duration;
use crate::rng::Rng;
use crate::spec::PoolSpec;
use fleet::{AllocationStrategy, Market, Pool};
use std::cmp::Reverse;
use std::time::Duration;

/// A pool with what it has given out.
#[derive(Clone, Debug)]
pub(crate) struct PoolState {
    pub(crate) spec: PoolSpec,
    pub(crate) pool: Pool,
    /// Instances and open requests, of all fleets.
    pub(crate) used: u32,
    pub(crate) chance: Rng,
}

impl PoolState {
    /// How many instances the pool can have given out at a time.
    pub(crate) fn depth(&self, offset: Duration) -> u32 {
        let overlapping =
            self.spec.windows.iter().filter(|window| window.from <= offset && offset < window.until);
        overlapping.map(|window| window.depth).fold(self.spec.depth, u32::min)
    }
    /// How many more it can give.
    pub(crate) fn available(&self, offset: Duration) -> u32 {
        self.depth(offset).saturating_sub(self.used)
    }
    /// What an instance costs for each unit that it counts for, in whatever unit: only compared.
    pub(crate) fn price_per_unit(&self, weight: i64) -> u128 {
        u128::from(self.spec.price.micros()) * 1_000_000 / u128::try_from(weight.max(1)).unwrap_or(1)
    }
    /// Whether spot costs as much as on demand: `diversified` does not buy there.
    fn is_dear(&self) -> bool {
        self.spec.on_demand_price.is_some_and(|price| self.spec.price >= price)
    }
    /// The mean time between interruptions of one instance by its own hazard, or of the whole pool by its
    /// shared one: half of the risk each. `None`: never.
    pub(crate) fn mean_time_between(&self) -> Option<Duration> {
        let share = self.spec.monthly_interruptions;
        let spot = self.spec.market == Market::Spot;
        // A month has 730 hours; each of the two processes carries half of the hazard.
        (spot && share.is_finite() && share > 0.0)
            .then(|| crate::num::scaled(Duration::from_secs(730 * 3600), 2.0 / share))
    }
}

/// A line of a fleet's shopping list, for one pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Candidate {
    /// The pool's place in the world.
    pub(crate) pool: usize,
    /// What an instance of it counts for, in millionths.
    pub(crate) weight: i64,
    /// Its place on the list.
    pub(crate) place: usize,
}

/// The candidates of a market in the order in which a strategy asks them for the next instance.
///
/// * `held`: what the fleet has in each pool of the world, in millionths of its units.
///
/// EC2 does not say how it weighs price against depth. Here a pool is deep when it has at least half as much
/// left as the deepest: `priceCapacityOptimized` takes the cheapest of these, `capacityOptimizedPrioritized` the
/// first on the list.
pub(crate) fn rank(
    strategy: AllocationStrategy,
    market: Market,
    candidates: &[Candidate],
    pools: &[PoolState],
    held: &[i64],
    offset: Duration,
) -> Vec<Candidate> {
    let of_market = |candidate: &&Candidate| pools[candidate.pool].spec.market == market;
    let mut ranked: Vec<Candidate> = candidates.iter().filter(of_market).copied().collect();
    // "The on-demand part is bought by the lowest price" is EC2's default for it.
    let strategy = if market == Market::OnDemand { AllocationStrategy::LowestPrice } else { strategy };
    let left = |candidate: &Candidate| pools[candidate.pool].available(offset);
    let price = |candidate: &Candidate| pools[candidate.pool].price_per_unit(candidate.weight);
    let deepest = ranked.iter().map(left).max().unwrap_or(0);
    let shallow = |candidate: &Candidate| u64::from(left(candidate)) * 2 < u64::from(deepest);
    match strategy {
        AllocationStrategy::LowestPrice => ranked.sort_by_key(|c| (price(c), c.place)),
        AllocationStrategy::Diversified => {
            ranked.retain(|candidate| !pools[candidate.pool].is_dear());
            ranked.sort_by_key(|c| (held[c.pool], c.place));
        }
        AllocationStrategy::CapacityOptimized => ranked.sort_by_key(|c| (Reverse(left(c)), c.place)),
        AllocationStrategy::CapacityOptimizedPrioritized => {
            ranked.sort_by_key(|c| {
                (shallow(c), if shallow(c) { Reverse(left(c)) } else { Reverse(0) }, c.place)
            });
        }
        AllocationStrategy::PriceCapacityOptimized => ranked.sort_by_key(|c| {
            let depth = if shallow(c) { Reverse(left(c)) } else { Reverse(0) };
            (shallow(c), depth, price(c), c.place)
        }),
    }
    ranked
}

/// Which pool a fleet gives back from, when it comes down to a lowered target by itself.
///
/// * `held`: as for [`rank`], only pools with something to give back: (pool, weight of the instance).
/// * returns: the index into `choices` of the first to go; `None` when there are none.
///
/// lowestPrice: the highest price per unit. capacityOptimized: the least available. priceCapacityOptimized: the
/// highest-priced of the least available (here: no more left than twice the least). diversified: where the fleet
/// has most.
pub(crate) fn first_to_go(
    strategy: AllocationStrategy,
    choices: &[(usize, i64)],
    pools: &[PoolState],
    held: &[i64],
    offset: Duration,
) -> Option<usize> {
    let left = |pool: usize| pools[pool].available(offset);
    let price = |(pool, weight): (usize, i64)| pools[pool].price_per_unit(weight);
    let least = choices.iter().map(|(pool, _)| left(*pool)).min()?;
    let indices = 0..choices.len();
    match strategy {
        AllocationStrategy::LowestPrice => indices.min_by_key(|i| Reverse(price(choices[*i]))),
        AllocationStrategy::Diversified => indices.min_by_key(|i| Reverse(held[choices[*i].0])),
        AllocationStrategy::CapacityOptimized | AllocationStrategy::CapacityOptimizedPrioritized => {
            indices.min_by_key(|i| left(choices[*i].0))
        }
        AllocationStrategy::PriceCapacityOptimized => indices.min_by_key(|i| {
            let deep = u64::from(left(choices[*i].0)) > u64::from(least) * 2;
            (deep, Reverse(price(choices[*i])))
        }),
    }
}

/// Draws the time until the next event of a process with this mean time between events.
pub(crate) fn wait(mean: Duration, chance: &mut Rng) -> Duration {
    // At least a millisecond, so that two events of one process never coincide.
    crate::num::scaled(mean, chance.exponential()).max(duration(1))
}

impl PoolState {
    /// What an instance costs on demand.
    pub(crate) fn list_price(&self) -> Option<fleet::UsdPerHour> {
        match self.spec.market {
            Market::OnDemand => Some(self.spec.price),
            Market::Spot => self.spec.on_demand_price,
        }
    }
}
