//! The instances of a fleet, one by one.

use super::hazard::{Doom, Hazard};
use super::{Losses, steps};
use crate::bench::Bench;
use crate::market::{Market, MarketPool};
use crate::number::{index, short, small, wide};
use crate::{Interruptions, Trace};
use autoscaler_core::Policy;
use fleet_sim::Rng;
use std::sync::Arc;

/// What chance is forked for.
const HAZARD: u64 = 2;
const LIFE: u64 = 3;
/// Boots: the median, and the standard deviation of the logarithm with which one of twenty takes 150 s or more.
const BOOT_MEDIAN: f64 = 75.0;
const BOOT_DEVIATION: f64 = 0.4214;
/// Mean time for work to leave, in seconds.
const DRAIN: f64 = 45.0;
/// How long three of four drains take, in seconds: what is left for one when a notice has come.
const MOST_DRAINS: f64 = 62.0;
/// Instances of less than this age are billed as if they had it, in steps.
const LEAST_BILLED: usize = (60 / Trace::STEP) as usize;

/// An instance.
#[derive(Clone, Copy, Debug)]
struct Instance {
    pool: usize,
    /// The step at whose end it was asked for; `None`: long before the start.
    asked: Option<usize>,
    /// The first step that it serves in.
    ready: usize,
    /// Whether it stands for one that was lost.
    replacement: bool,
    /// The first step that it serves no more in, because it was told to leave.
    leaves: Option<usize>,
    /// The first step in which it is gone, having left.
    ends: Option<usize>,
    doom: Option<Doom>,
    /// Whether another is bought in its place.
    replaced: bool,
}

impl Instance {
    /// One that was asked for at the end of a step, to serve from another on.
    const fn new(pool: usize, asked: Option<usize>, ready: usize, replacement: bool) -> Self {
        Self { pool, asked, ready, replacement, leaves: None, ends: None, doom: None, replaced: false }
    }

    /// Whether its end is known.
    fn is_told(&self, step: usize) -> bool {
        self.doom.and_then(|doom| doom.told).is_some_and(|told| told <= step)
    }

    /// Whether it stands for a unit of the target.
    fn counts(&self) -> bool {
        self.leaves.is_none() && !self.replaced
    }
}

/// The instances at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Count {
    pub serving: u32,
    /// On their way, or asked for and not to be had.
    pub pending: u32,
    pub billed: u32,
    /// Capacity that would serve if nothing had been taken back.
    pub missing: u32,
}

/// A fleet's instances.
#[derive(Clone, Debug)]
pub(super) struct Herd {
    market: Arc<Market>,
    hazard: Hazard,
    chance: Rng,
    stochastic: bool,
    /// Whether what is noticed is replaced and drained.
    reacts: bool,
    /// In steps.
    boot: usize,
    margin: usize,
    avoid: usize,
    /// In seconds.
    drain_deadline: f64,
    /// The most that may be alive, replacements included.
    most: u32,
    instances: Vec<Instance>,
    /// Launches that were asked for because more was wanted, and that no pool has given yet.
    open: u32,
    /// Until when each pool is not asked.
    avoided: Vec<usize>,
    topped_up: u64,
}

impl Herd {
    /// `first` instances that have been serving for long, spread over the pools.
    pub fn new(bench: &Bench<'_>, policy: &Policy, reacts: bool, first: u32) -> Self {
        let setting = bench.setting;
        let made_up = || {
            Arc::new(match setting.interruptions {
                Interruptions::Stress => Market::shaken(setting.seed),
                Interruptions::None | Interruptions::Band if setting.stochastic => {
                    Market::failing(setting.seed)
                }
                Interruptions::None | Interruptions::Band => Market::made_up(),
            })
        };
        let market = setting.market.clone().filter(|market| !market.pools.is_empty()).unwrap_or_else(made_up);
        let chance = Rng::new(setting.seed);
        let pools = market.pools.len();
        Self {
            hazard: Hazard::new(setting, &market, chance.fork(HAZARD, 0)),
            chance: chance.fork(LIFE, 0),
            stochastic: setting.stochastic,
            reacts: reacts && policy.interruption.replace,
            boot: bench.rules.boot,
            margin: steps(policy.drain.margin.as_secs_f64()),
            avoid: steps(policy.interruption.avoid_pool.as_secs_f64()),
            drain_deadline: policy.drain.deadline.as_secs_f64(),
            most: bench.rules.max.saturating_add(policy.capacity.surge),
            instances: (0..first).map(|n| Instance::new(index(n) % pools, None, 0, false)).collect(),
            open: 0,
            avoided: vec![0; pools],
            topped_up: 0,
            market,
        }
    }

    /// The pools that instances come from.
    pub fn pools(&self) -> &[MarketPool] {
        &self.market.pools
    }

    /// Steps billed without having been lived: the 60 s minimum.
    pub fn topped_up(&self) -> u64 {
        self.topped_up
    }

    /// Begins a step: who is gone is gone, who is struck is doomed, and what is missing is asked for.
    pub fn begin(&mut self, step: usize, target: u32, losses: &mut Losses) {
        self.bury(step, losses);
        self.strike(step);
        self.request(step, target);
        self.drain_doomed(step, target);
    }

    /// Takes away whose end has come.
    fn bury(&mut self, step: usize, losses: &mut Losses) {
        let Self { instances, margin, stochastic, reacts, topped_up, .. } = self;
        instances.retain(|instance| {
            if instance.ends.is_some_and(|ends| ends <= step) {
                let lived = instance.asked.map_or(LEAST_BILLED, |asked| step - 1 - asked);
                *topped_up += wide(LEAST_BILLED.saturating_sub(lived));
                // Empty before its time came: taken back all the same.
                losses.interruptions += u64::from(instance.doom.is_some());
                losses.drained += u64::from(instance.doom.is_some());
                return false;
            }
            let Some(doom) = instance.doom.filter(|doom| doom.end <= step) else { return true };
            losses.interruptions += 1;
            // Where work leaves at once, it only needs to be known in time.
            let in_time = doom.told.is_some_and(|told| told + *margin <= doom.end);
            losses.drained += u64::from(*reacts && !*stochastic && in_time);
            false
        });
    }

    /// Dooms those whom a hazard strikes. What was struck is a shallow pool: the fleet asks others for a while.
    fn strike(&mut self, step: usize) {
        for pool in 0..self.market.pools.len() {
            let may = |i: &&mut Instance| i.pool == pool && i.doom.is_none() && i.leaves.is_none();
            let alive = small(self.instances.iter_mut().filter(may).count());
            let struck = self.hazard.strikes(&self.market, pool, step, alive);
            if struck > 0 {
                self.avoided[pool] = step + self.avoid;
            }
            for instance in self.instances.iter_mut().filter(may).take(index(struck)) {
                instance.doom = Some(self.hazard.doom(step));
            }
        }
    }

    /// Lets the work of those that are known to be doomed leave: when what replaces them serves, or when it must.
    ///
    /// Where work takes no time to leave, it stays until the end.
    fn drain_doomed(&mut self, step: usize, target: u32) {
        if !self.reacts || !self.stochastic {
            return;
        }
        let must = self.margin + steps(MOST_DRAINS);
        let mut relieved = self.relieved(step, target);
        let Self { instances, chance, .. } = self;
        for instance in instances.iter_mut().filter(|i| i.leaves.is_none() && i.replaced) {
            let Some(doom) = instance.doom else { continue };
            let is_relieved = relieved > 0;
            relieved = relieved.saturating_sub(1);
            if is_relieved || step + must >= doom.end {
                instance.leaves = Some(step);
                let empty = step + steps(DRAIN * chance.exponential());
                // Who is not empty by then is cut off by the end itself.
                instance.ends = (empty < doom.end).then_some(empty);
            }
        }
    }

    /// How many of the doomed have somebody who serves in their place: those whose replacement is neither on its way
    /// nor still asked for.
    fn relieved(&self, step: usize, target: u32) -> u32 {
        let number = |of: &dyn Fn(&Instance) -> bool| small(self.instances.iter().filter(|i| of(i)).count());
        let doomed = number(&|i| i.leaves.is_none() && i.replaced);
        let coming = number(&|i| i.leaves.is_none() && i.replacement && i.ready > step);
        let asked_for = target.saturating_sub(number(&Instance::counts)).saturating_sub(self.open);
        doomed.saturating_sub(coming + asked_for)
    }

    /// Asks for what is missing: those that are known to be doomed do not count any more where notices are heeded,
    /// those that are gone never.
    fn request(&mut self, step: usize, target: u32) {
        let reacts = self.reacts;
        for instance in &mut self.instances {
            instance.replaced |= reacts && instance.is_told(step);
        }
        let alive = small(self.instances.iter().filter(|i| i.leaves.is_none()).count());
        let counted = small(self.instances.iter().filter(|i| i.counts()).count());
        let missing = target.saturating_sub(counted).min(self.most.saturating_sub(alive));
        self.open = self.open.min(missing);
        for _ in 0..missing {
            self.launch(step);
        }
    }

    /// Asks the pool that the fleet holds least of, of those that are not avoided. One that has nothing to give is
    /// avoided for a while: the next is asked in the next step.
    fn launch(&mut self, step: usize) {
        let held = |pool: usize| small(self.instances.iter().filter(|i| i.pool == pool).count());
        let pools = 0..self.market.pools.len();
        let asked = pools.clone().filter(|pool| self.avoided[*pool] <= step).min_by_key(|pool| held(*pool));
        // Where all are avoided, the one that has been for longest is tried.
        let Some(pool) = asked.or_else(|| pools.min_by_key(|pool| self.avoided[*pool])) else { return };
        if self.hazard.room(&self.market, pool, step, held(pool)) == 0 {
            self.avoided[pool] = step + self.avoid;
            return;
        }
        let boot = if self.stochastic {
            steps(BOOT_MEDIAN * libm::exp(BOOT_DEVIATION * self.chance.normal()))
        } else {
            self.boot
        };
        let replacement = self.open == 0;
        self.open = self.open.saturating_sub(1);
        // The end of the step before is the beginning of this one.
        self.instances.push(Instance::new(pool, step.checked_sub(1), step + boot, replacement));
    }

    /// Tells of each instance that begins to serve in this step how many steps ago it was asked for.
    pub fn each_that_began_to_serve(&self, step: usize, tell: impl FnMut(usize)) {
        let began = self.instances.iter().filter(|i| i.ready == step && i.leaves.is_none());
        began.filter_map(|i| i.asked).map(|asked| step - 1 - asked).for_each(tell);
    }

    /// Counts the instances.
    pub fn count(&self, step: usize, target: u32) -> Count {
        let mut count = Count { billed: small(self.instances.len()), ..Count::default() };
        let mut coming = self.open;
        for instance in self.instances.iter().filter(|i| i.leaves.is_none()) {
            if instance.ready <= step {
                count.serving += 1;
            } else {
                count.pending += 1;
                coming += u32::from(!instance.replacement);
            }
        }
        count.missing = target.saturating_sub(count.serving + coming);
        count.pending += self.open;
        count
    }

    /// The most instances that could serve in a step, for whoever knows what comes; `None`: no limit.
    pub fn possible(&self, step: usize) -> Option<u32> {
        self.hazard.possible(&self.market, step, self.boot)
    }

    /// Adds what serves to the course of each pool.
    pub fn note_pools(&self, step: usize, pools: &mut [(String, Vec<f32>)]) {
        for (number, (_, capacity)) in pools.iter_mut().enumerate() {
            let serves = |i: &&Instance| i.pool == number && i.ready <= step && i.leaves.is_none();
            capacity.push(short(f64::from(small(self.instances.iter().filter(serves).count()))));
        }
    }

    /// Brings the fleet to another size at the end of a step. What does not serve yet goes first, the youngest first;
    /// then those of the fullest pool. The doomed go by themselves.
    pub fn resize(&mut self, step: usize, from: u32, to: u32) {
        if to > from {
            self.open += to - from;
            return;
        }
        let counted = small(self.instances.iter().filter(|i| i.counts()).count());
        for _ in to..counted {
            let mut held = vec![0_u32; self.market.pools.len()];
            self.instances.iter().filter(|i| i.counts()).for_each(|i| held[i.pool] += 1);
            let rank = |i: &Instance| (i.ready > step, i.asked.filter(|_| i.ready > step), held[i.pool]);
            let victim = self.instances.iter_mut().filter(|i| i.counts()).max_by_key(|i| rank(i));
            let Some(victim) = victim else { return };
            let drain = if self.stochastic && victim.ready <= step {
                steps((DRAIN * self.chance.exponential()).min(self.drain_deadline))
            } else {
                0
            };
            // Whatever AWS was about to do with it, it went before.
            victim.doom = None;
            victim.leaves = Some(step + 1);
            victim.ends = Some(step + 1 + drain);
        }
    }
}
