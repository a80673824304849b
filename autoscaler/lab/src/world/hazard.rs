//! When AWS takes instances back, and when it says so.

use super::{second, steps};
use crate::market::Market;
use crate::{Interruptions, Setting, Trace};
use fleet_sim::Rng;

/// From a notice to the end, in seconds.
const NOTICE: f64 = 120.0;
/// The share of notices that never come, and of those that come so much later, in the stress setting.
const NEVER: f64 = 0.02;
const LATE: f64 = 0.02;
const LATE_BY: f64 = 60.0;
/// Hours in a month.
const MONTH: f64 = 730.0;

/// An end that was decided upon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Doom {
    /// The first step in which the instance is gone.
    pub end: usize,
    /// The step at whose beginning the notice is known; `None`: it never comes.
    pub told: Option<usize>,
}

/// What takes instances back.
#[derive(Clone, Debug)]
pub(super) struct Hazard {
    setting: Interruptions,
    /// Whether a pool that is down gives nothing: what it has given it takes back in the stress setting alone.
    fails: bool,
    chance: Rng,
    /// The step in which each pool is struck as a whole next.
    strikes: Vec<Option<usize>>,
}

/// The steps between notice and end.
fn notice() -> usize {
    steps(NOTICE)
}

impl Hazard {
    pub fn new(setting: &Setting, market: &Market, chance: Rng) -> Self {
        let fails = setting.stochastic || setting.interruptions == Interruptions::Stress;
        let strikes = vec![None; market.pools.len()];
        let mut hazard = Self { setting: setting.interruptions, fails, chance, strikes };
        for pool in 0..market.pools.len() {
            hazard.foresee(market, pool, 0);
        }
        hazard
    }

    /// The mean time between two strikes of a pool as a whole, and of one instance by itself: half of the hazard each.
    fn mean_steps(&self, market: &Market, pool: usize) -> Option<f64> {
        let share = market.pools[pool].monthly_interruptions;
        let per_hour = 3600.0 / f64::from(Trace::STEP);
        let banded = self.setting == Interruptions::Band && share.is_finite() && share > 0.0;
        banded.then(|| 2.0 * MONTH * per_hour / share)
    }

    fn foresee(&mut self, market: &Market, pool: usize, step: usize) {
        self.strikes[pool] = self.mean_steps(market, pool).map(|mean| {
            let wait = crate::number::whole(mean * self.chance.exponential());
            step.saturating_add(usize::try_from(wait).unwrap_or(usize::MAX)).saturating_add(1)
        });
    }

    /// How many of a pool's instances are doomed in this step.
    ///
    /// * `alive`: its instances that are not doomed yet.
    pub fn strikes(&mut self, market: &Market, pool: usize, step: usize, alive: u32) -> u32 {
        match self.setting {
            Interruptions::None => 0,
            Interruptions::Band => {
                if self.strikes[pool].is_some_and(|at| at <= step) {
                    self.foresee(market, pool, step);
                    return alive;
                }
                let Some(mean) = self.mean_steps(market, pool) else { return 0 };
                (0..alive).map(|_| u32::from(self.chance.chance(1.0 / mean))).sum()
            }
            // What the recording will not have in two minutes is given notice now.
            Interruptions::Stress => {
                let depth = market.pools[pool].recorded.depth(second(step + notice()));
                depth.map_or(0, |depth| alive.saturating_sub(depth))
            }
        }
    }

    /// When an instance that is struck now ends, and when that is known.
    pub fn doom(&mut self, step: usize) -> Doom {
        let end = step + notice();
        if self.setting != Interruptions::Stress {
            return Doom { end, told: Some(step) };
        }
        let drawn = self.chance.share();
        let told = if drawn < NEVER {
            None
        } else if drawn < NEVER + LATE {
            Some(step + steps(LATE_BY))
        } else {
            Some(step)
        };
        Doom { end, told }
    }

    /// The most instances that all pools can have serving in a step, for whoever knows what comes; `None`: no limit.
    ///
    /// * `boot`: in steps.
    pub fn possible(&self, market: &Market, step: usize, boot: usize) -> Option<u32> {
        if self.setting != Interruptions::Stress || step < notice() {
            return None;
        }
        let pools = market.pools.iter().map(|pool| {
            let depth = |step: usize| pool.recorded.depth(second(step)).unwrap_or(u32::MAX);
            let most = |from: usize, until: usize| (from..=until).map(depth).max().unwrap_or(0);
            // Who serves now was asked for when the pool had it, and the pool has it still: or it was taken back, and
            // asked for again before a gap that its notice spans.
            let asked =
                step.checked_sub(boot).map_or(u32::MAX, |last| most(last.saturating_sub(notice()), last));
            let spanning = if boot <= notice() { most(step - notice(), step - boot) } else { 0 };
            depth(step).min(asked).max(spanning)
        });
        let all = pools.fold(0, u32::saturating_add);
        (all < u32::MAX).then_some(all)
    }

    /// How many more instances a pool could give now.
    ///
    /// * `held`: its instances.
    pub fn room(&self, market: &Market, pool: usize, step: usize, held: u32) -> u32 {
        let depth = self.fails.then(|| market.pools[pool].recorded.depth(second(step))).flatten();
        depth.map_or(u32::MAX, |depth| depth.saturating_sub(held))
    }
}
