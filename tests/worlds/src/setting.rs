//! What a world is like before anything goes wrong in it, and what its policy says: data, so that it can be kept as it is, whatever
//! is drawn otherwise later.

use crate::chance::Chance;
use crate::harness::{ec2, fleet, secs, world};
use autoscaler_core::{Policy, Rebalance};
use fleet::{Market, UsdPerHour};
use fleet_sim::{Delay, Demand, DepthWindow, FleetRequest, PoolSpec, Replaced, WorldSpec, override_of};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// A fleet and its world.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Setting {
    /// Units that serve at the beginning.
    pub count: u32,
    /// What it has to serve: from when on how many units, straight lines between.
    pub load: Vec<(Duration, f64)>,
    /// Whether it is an EC2 Fleet.
    pub ec2: bool,
    /// Whether the fleet buys at the marking, in place of what is about to go.
    pub at_marking: bool,
    /// Whether some boot for long.
    pub boots_vary: bool,
    /// Whether what is measured is noisy.
    pub noisy: bool,
    /// What is not as usual.
    pub habits: Habits,
}

/// What of the policy, and of the fleet, is not as usual.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Habits {
    /// What is done about a rebalance recommendation.
    pub rebalance: Rebalance,
    /// Units on demand in place of spot that does not come.
    pub fallback: u32,
    /// Replacements an hour for the sake of the spread.
    pub repairs: u32,
    /// How far replacements reach above the bounds.
    pub surge: u32,
    /// How many a roll-out replaces at once.
    pub rolls: u32,
    /// Whether nodes with batch work may be emptied by choice, where there is any.
    pub interrupt_batch: bool,
    /// Whether some of the work is batch work.
    pub batch: bool,
    /// Whether a type counts as two.
    pub weighted: bool,
    /// The fleet's on-demand part, in units.
    pub on_demand: u32,
    /// When no spot pool has anything to give.
    pub droughts: Vec<(Duration, Duration)>,
}

impl Default for Habits {
    fn default() -> Self {
        Self {
            rebalance: Rebalance::Cordon,
            fallback: 0,
            repairs: 0,
            surge: 2,
            // Several at once, so that it ends with its world.
            rolls: 3,
            interrupt_batch: true,
            batch: false,
            weighted: false,
            on_demand: 0,
            droughts: Vec::new(),
        }
    }
}

impl Habits {
    /// Others, by chance.
    ///
    /// * `within`: as long as things go wrong.
    pub fn of(seed: u64, within: Duration) -> Self {
        let mut chance = Chance::new(seed).fork("habits");
        let modes = [Rebalance::Ignore, Rebalance::Cordon, Rebalance::Replace, Rebalance::ByRisk];
        let place = usize::try_from(chance.between(0, 4)).expect("small");
        let mut small = |share, from, to| {
            let (happens, drawn) = (chance.happens(share), chance.between(from, to));
            if happens { u32::try_from(drawn).expect("small") } else { 0 }
        };
        let (fallback, repairs, on_demand) = (small(0.6, 1, 7), small(0.5, 1, 13), small(0.3, 1, 4));
        // No policy can say that nothing may be above its bounds: at `max` nobody could be replaced then.
        let (surge, rolls) = (small(0.85, 1, 6).max(1), 1 + small(0.85, 1, 4));
        let droughts = (0..chance.between(0, 3)).map(|_| {
            let from = secs(chance.between(0, within.as_secs()));
            (from, (from + secs(chance.between(300, 2400))).min(within))
        });
        let droughts = droughts.collect();
        let (interrupt_batch, batch, weighted) =
            (chance.happens(0.5), chance.happens(0.5), chance.happens(0.3));
        let rebalance = modes[place];
        Self {
            rebalance,
            fallback,
            repairs,
            surge,
            rolls,
            interrupt_batch,
            batch,
            weighted,
            on_demand,
            droughts,
        }
    }

    /// Puts them into a policy.
    pub fn bend(&self, policy: &mut Policy) {
        policy.interruption.rebalance = self.rebalance;
        policy.on_demand.fallback = self.fallback;
        policy.diversification.repairs_per_hour = self.repairs;
        policy.capacity.surge = self.surge;
        policy.drain.interrupt_batch = self.interrupt_batch;
    }
}

/// Demand that wanders and jumps, and comes to rest with the peace.
fn demand(chance: &mut Chance, trouble: Duration) -> Vec<(Duration, f64)> {
    let mut at = Duration::ZERO;
    let mut units = chance.within(1.0, 8.0);
    let mut points = vec![(at, units)];
    loop {
        at += secs(chance.between(60, 1200));
        if at >= trouble {
            return points;
        }
        units =
            if chance.happens(0.25) { chance.within(0.5, 12.0) } else { units * chance.within(0.8, 1.25) };
        units = units.clamp(0.5, 12.0);
        points.push((at, units));
    }
}

impl Setting {
    /// One by chance, with the usual habits.
    ///
    /// * `trouble`: how long things go wrong.
    pub fn of(seed: u64, trouble: Duration) -> Self {
        let mut chance = Chance::new(seed).fork("world");
        let load = demand(&mut chance, trouble);
        let count = u32::try_from(chance.between(3, 11)).expect("small");
        Self {
            count,
            load,
            ec2: chance.happens(0.3),
            at_marking: chance.happens(0.5),
            boots_vary: chance.happens(0.5),
            noisy: chance.happens(0.5),
            habits: Habits::default(),
        }
    }

    /// Its world, in which nothing goes wrong.
    pub fn world(&self) -> WorldSpec {
        let Self { count, load, ec2: is_ec2, at_marking, boots_vary, noisy, habits } = self;
        let mut spec = fleet(*count, Demand::points(load.iter().copied()));
        let FleetRequest { on_demand_target, overrides, .. } = &mut spec.request;
        *on_demand_target = habits.on_demand.min(*count);
        if habits.weighted {
            let types = [("m5.large", 1.0), ("c5.large", 1.0), ("r5.large", 1.0), ("c5.xlarge", 2.0)];
            overrides.extend(types.map(|(instance_type, weight)| override_of(instance_type, weight)));
        }
        let mut spec = world(vec![if *is_ec2 { ec2(spec) } else { spec }]);
        let price = UsdPerHour::from_micros(80_000);
        spec.pools.push(PoolSpec { depth: 20, ..PoolSpec::spot("c5.xlarge", "eu-west-1a", price) });
        habits.dry_out(&mut spec);
        spec.interruptions.replaced = if *at_marking { Replaced::AtMarking } else { Replaced::AtDeath };
        if *boots_vary {
            spec.timing.boot = Delay::Lognormal { median: secs(75), p95: secs(150) };
        }
        spec.service.noise = if *noisy { 0.05 } else { 0.0 };
        spec
    }
}

impl Habits {
    /// Spot has nothing to give in droughts; on demand there is always something, where anybody may buy it.
    fn dry_out(&self, spec: &mut WorldSpec) {
        for pool in &mut spec.pools {
            let dry = |&(from, until): &(Duration, Duration)| DepthWindow { from, until, depth: 0 };
            pool.windows.extend(self.droughts.iter().map(dry));
        }
        if self.fallback > 0 || self.on_demand > 0 {
            let on_demand = |pool: &PoolSpec| PoolSpec {
                market: Market::OnDemand,
                price: UsdPerHour::from_micros(120_000),
                depth: 100,
                windows: Vec::new(),
                ..pool.clone()
            };
            let pools: Vec<PoolSpec> = spec.pools.iter().map(on_demand).collect();
            spec.pools.extend(pools);
        }
    }
}

/// The load of a fleet whose size never changes.
pub fn constant_load(count: u32) -> Vec<(Duration, f64)> {
    vec![(Duration::ZERO, 0.6 * f64::from(count))]
}
