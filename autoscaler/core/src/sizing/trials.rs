//! Many settings tried at once on the demand that came, to use the cheapest that keeps the promise.
//!
//! What comes does not depend on what we run. So each setting can be given a fleet of its own, on paper, with
//! launches that take as long as ours and releases at once, and its breach, saturation, flip-flops and cost
//! counted as if it had been in charge.

use super::prices::{Ladder, PRICES};
use super::tempo::{RECENT, Tempo};
use crate::number::{few_units, real, short};
use serde::{Deserialize, Serialize};

/// Ways of giving back that are tried with each price, from rash to patient.
pub(super) const PATIENCES: [Patience; 5] = [
    Patience { saving: 2.0, rise_risk: 2.0, gain: 0.0 },
    Patience { saving: 4.0, rise_risk: 0.5, gain: 0.25 },
    Patience { saving: 10.0, rise_risk: 0.25, gain: 1.0 },
    Patience { saving: 20.0, rise_risk: 0.1, gain: 2.0 },
    Patience { saving: 30.0, rise_risk: 0.04, gain: 4.0 },
];
/// How many settings are tried.
pub(super) const TRIALS: usize = PRICES.len() * PATIENCES.len();
/// The setting to begin with: dear enough to be safe on what nothing is known of.
const FIRST: usize = PATIENCES.len() + 1;
/// Days of experience that are assumed before there is any: the dearer, the better.
const ASSUMED: f64 = 0.15;
/// Breach and saturation in these days, at a price of one: the share falls with the price.
const ASSUMED_BREACH: f64 = 0.02;
const ASSUMED_SATURATED: f64 = 0.005;
/// Spans that the hold is divided into, and one more that is under way.
const PEAKS: usize = 5;
/// Saturation that the contract allows, as a share of time, less a margin for what has not come yet.
const SATURATED: f64 = 0.003 * 0.75;
/// Flip-flops a day that the contract allows are 12; the margin is for the live fleet, which is not alone.
const FLIPS: f64 = 9.0;
/// What a flip-flop costs beside its units, in unit-minutes: a node drained for nothing.
const FLIP_COST: f64 = 200.0;
/// The least price of breach while the fleet is surprised or saturated: there it is never sat out.
const URGENT: f64 = 12.0;
/// So much of the objective's breach is aimed at: the rest is for what the distributions do not know yet.
const AIM: f64 = 0.85;
/// The setting in use is looked over so often, and at once when it no longer keeps the promise.
const LOOKED_OVER_MILLIS: i64 = 600_000;
const DAY_MILLIS: f64 = 86_400_000.0;

/// When capacity is given back.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// Savings that must have been missed, in unit-minutes: what a launch and a drain cost, and more.
    saving: f64,
    /// The risk that is taken that the coming minutes need it again.
    pub rise_risk: f64,
    /// Shortly after a release, nothing is bought for a smaller gain than this, in units.
    gain: f64,
}

/// One setting's fleet on paper.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Trial {
    /// Its target at recent ticks, by number modulo [`RECENT`].
    targets: Vec<u16>,
    /// The most that it would have kept, by spans of a quarter of the hold, the running one first.
    peaks: [u16; PEAKS],
    /// Savings missed since less would have done, in unit-minutes.
    missed: f32,
    /// For how many ticks less would have done.
    surplus: u16,
    /// How many ticks ago it gave back; [`u16::MAX`] for long ago.
    gave_back: u16,
    fared: Fared,
}

/// How a setting fared, in ticks, the older counting less.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Fared {
    ticks: f32,
    cost: f32,
    breach: f32,
    saturated: f32,
    flips: f32,
}

/// How a setting fared, to be shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Tried {
    /// What a minute above the level counts for, in minutes of the whole fleet.
    pub price: f32,
    /// The savings that must have been missed before anything is given back, in unit-minutes.
    pub patience: f32,
    /// Days of experience.
    pub days: f32,
    /// The share of time above the level, 0..=1.
    pub breach: f32,
    /// The share of time saturated, 0..=1.
    pub saturated: f32,
    /// Flip-flops a day.
    pub flips_per_day: f32,
}

/// The settings that are tried.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Trials {
    /// One fleet on paper a setting: by price, then by patience.
    fleets: Vec<Trial>,
    ticks: usize,
    chosen: usize,
    looked_over: i64,
    /// The size that each price asks for now.
    needs: [u16; PRICES.len()],
}

/// What the trials are run by.
pub(super) struct Rules {
    /// The level of the promise.
    pub level: f64,
    /// What a minute above it is worth: the usual size of the fleet, in units.
    pub size: f64,
    /// The share of time that may lie above the level.
    pub at_most: f64,
    /// For how many ticks capacity must have been superfluous before it is given back.
    pub hold: usize,
    /// The largest size.
    pub max: f64,
}

impl Default for Trials {
    fn default() -> Self {
        let trial = Trial {
            targets: vec![0; RECENT],
            peaks: [0; PEAKS],
            missed: 0.0,
            surplus: 0,
            gave_back: u16::MAX,
            fared: Fared::default(),
        };
        Self {
            fleets: vec![trial; TRIALS],
            ticks: 0,
            chosen: FIRST,
            looked_over: 0,
            needs: [0; PRICES.len()],
        }
    }
}

impl Trials {
    /// Counts how each setting fared in the tick whose demand has become known, in units.
    pub fn account(&mut self, tempo: &Tempo, rules: &Rules, demand: f64) {
        if self.ticks <= tempo.lead {
            return;
        }
        let keep = short(tempo.keep.trials);
        let (breach, saturation) = (demand / rules.level, demand);
        let newest = self.ticks;
        for trial in &mut self.fleets {
            let target = |ago: usize| trial.targets[(newest + 1 + RECENT - ago) % RECENT];
            // What serves is the least of the targets since what is bought now would have been bought: launches
            // take that long, releases no time.
            let serving = (tempo.release..=tempo.lead).map(target).fold(u16::MAX, u16::min);
            let cost = f32::from(target(1));
            let fared = &mut trial.fared;
            fared.ticks = fared.ticks * keep + 1.0;
            fared.cost = fared.cost * keep + cost;
            fared.breach = fared.breach * keep + f32::from(u8::from(breach > f64::from(serving)));
            fared.saturated = fared.saturated * keep + f32::from(u8::from(saturation > f64::from(serving)));
            fared.flips *= keep;
        }
    }

    /// Lets every setting decide upon what may come. O(settings x lead).
    ///
    /// * `rises`: how far needs may rise in the coming minutes, by patience.
    /// * `urgent`: whether breach is dear just now, whatever the setting.
    pub fn decide(
        &mut self,
        tempo: &Tempo,
        rules: &Rules,
        ladder: &Ladder,
        rises: &[f64; PATIENCES.len()],
        urgent: bool,
    ) {
        self.ticks += 1;
        let block = rules.hold.div_ceil(PEAKS - 1).max(1);
        let now = Now {
            tick: self.ticks,
            minutes: short(real(tempo.tick) / 60_000.0),
            flip: tempo.flip,
            hold: rules.hold,
            turns: self.ticks.is_multiple_of(block),
            peaks: if block == 1 { rules.hold.clamp(1, PEAKS) } else { PEAKS },
        };
        let mut trials = self.fleets.iter_mut();
        for (price, need_now) in PRICES.iter().zip(&mut self.needs) {
            let price = if urgent { price.max(URGENT) } else { *price } * rules.size;
            let (need, least) = ladder.cheapest(price);
            let soon = ladder.cheapest_soon(price);
            *need_now = few_units(need);
            for ((patience, rise), trial) in PATIENCES.iter().zip(rises).zip(&mut trials) {
                let keep = few_units((soon * rise - 1e-6).ceil().clamp(need, rules.max.max(need)));
                let gain = |units: u16| ladder.cost(f64::from(units), price) - least;
                trial.decide(&now, (few_units(need), keep), patience, gain);
            }
        }
    }

    /// Looks the choice of setting over: the cheapest of those that keep the promise, else the one that comes
    /// nearest to it.
    ///
    /// * `seen`: the share of time above the level as it really was: more of it than promised asks for better
    ///   than promised now.
    pub fn choose(&mut self, tempo: &Tempo, rules: &Rules, seen: f64) {
        self.looked_over += tempo.tick;
        let per_day = DAY_MILLIS / real(tempo.tick);
        let at_most = rules.at_most.max(1e-6);
        let correction = (1.0 + (0.8 * at_most - seen) / at_most).clamp(0.4, 1.3);
        let aim = Aim { breach: at_most * AIM * correction, assumed: ASSUMED * per_day, per_day };
        let excess = |number: usize| aim.excess(&self.fleets[number].fared, number);
        if self.looked_over < LOOKED_OVER_MILLIS && excess(self.chosen) <= 1.0 {
            return;
        }
        self.looked_over = 0;
        let flip_cost = short(FLIP_COST * 60_000.0 / real(tempo.tick));
        let mut cheapest: Option<(f32, usize)> = None;
        let mut nearest = (f64::INFINITY, self.chosen);
        for (number, trial) in self.fleets.iter().enumerate() {
            let off = excess(number);
            let ticks = trial.fared.ticks.max(1.0);
            let cost = (trial.fared.cost + trial.fared.flips * flip_cost) / ticks;
            if off <= 1.0 && cheapest.is_none_or(|(least, _)| cost < least) {
                cheapest = Some((cost, number));
            }
            if off < nearest.0 {
                nearest = (off, number);
            }
        }
        self.chosen = cheapest.map_or(nearest.1, |(_, number)| number);
    }

    /// What the setting in use decides: the least that the target may be, and the most that it need be.
    pub fn decision(&self) -> (f64, f64) {
        let target = self.fleets[self.chosen].targets[self.ticks % RECENT];
        let need = self.needs[self.chosen / PATIENCES.len()];
        (f64::from(need.min(target)), f64::from(need.max(target)))
    }

    /// How the setting in use has fared.
    pub fn tried(&self, tempo: &Tempo) -> Tried {
        let fared = &self.fleets[self.chosen].fared;
        let ticks = fared.ticks.max(1.0);
        let days = short(f64::from(fared.ticks) * real(tempo.tick) / DAY_MILLIS);
        Tried {
            price: short(PRICES[self.chosen / PATIENCES.len()]),
            patience: short(PATIENCES[self.chosen % PATIENCES.len()].saving),
            days,
            breach: fared.breach / ticks,
            saturated: fared.saturated / ticks,
            flips_per_day: fared.flips / days.max(f32::MIN_POSITIVE),
        }
    }

    /// Moves on by ticks that nothing is known of: the settings stay as they are.
    pub fn skip(&mut self, ticks: usize) {
        for _ in 0..ticks.min(RECENT) {
            let last = self.ticks % RECENT;
            self.ticks += 1;
            let next = self.ticks % RECENT;
            for trial in &mut self.fleets {
                trial.targets[next] = trial.targets[last];
            }
        }
    }

    /// Turns targets into other units, when a unit's power has changed.
    pub fn rescale(&mut self, by: f64) {
        for trial in &mut self.fleets {
            for target in &mut trial.targets {
                *target = few_units((f64::from(*target) * by).ceil());
            }
            for peak in &mut trial.peaks {
                *peak = few_units((f64::from(*peak) * by).ceil());
            }
        }
    }
}

/// What all trials share in one tick.
struct Now {
    tick: usize,
    minutes: f32,
    flip: usize,
    hold: usize,
    /// Whether a new span of peaks begins, and how many of them cover the hold.
    turns: bool,
    peaks: usize,
}

impl Trial {
    /// Sets the target of this tick.
    ///
    /// * `asks`: what is needed, and what would be kept.
    /// * `gain`: what the size that is needed would save over another, in units.
    fn decide(&mut self, now: &Now, asks: (u16, u16), patience: &Patience, gain: impl Fn(u16) -> f64) {
        let (need, keep) = asks;
        let before = self.targets[(now.tick + RECENT - 1) % RECENT];
        self.gave_back = self.gave_back.saturating_add(1);
        if now.turns {
            self.peaks.rotate_right(1);
            self.peaks[0] = keep;
        } else {
            self.peaks[0] = self.peaks[0].max(keep);
        }
        let mut target = before;
        let lately = usize::from(self.gave_back) <= now.flip;
        if before == 0 || need > before {
            if before == 0 || !lately || gain(before) >= patience.gain {
                target = need;
                if lately && before > 0 {
                    self.fared.flips += 1.0;
                    self.gave_back = u16::MAX;
                }
            }
            (self.missed, self.surplus) = (0.0, 0);
        } else if need == before {
            (self.missed, self.surplus) = (0.0, 0);
        } else {
            self.surplus = self.surplus.saturating_add(1);
            let saving = short(gain(before).clamp(0.0, 1e6));
            self.missed += saving * now.minutes;
            let peak = self.peaks[..now.peaks].iter().copied().max().unwrap_or(before);
            let lasted = usize::from(self.surplus) >= now.hold;
            if lasted && f64::from(self.missed) > patience.saving && peak < before {
                target = peak;
                (self.missed, self.surplus, self.gave_back) = (0.0, 0, 0);
            }
        }
        self.targets[now.tick % RECENT] = target;
    }
}

/// What a setting must reach.
struct Aim {
    breach: f64,
    /// Ticks of experience that are assumed before there is any.
    assumed: f64,
    per_day: f64,
}

impl Aim {
    /// How much a setting exceeds what is allowed, as a multiple of it: 1 and below keeps the promise.
    fn excess(&self, fared: &Fared, number: usize) -> f64 {
        let price = PRICES[number / PATIENCES.len()];
        let ticks = f64::from(fared.ticks) + self.assumed;
        let share = |seen: f32, at_price_one: f64| {
            (f64::from(seen) + self.assumed * (at_price_one / price).min(1.0)) / ticks
        };
        let breach = share(fared.breach, ASSUMED_BREACH) / self.breach;
        let saturated = share(fared.saturated, ASSUMED_SATURATED) / SATURATED;
        let flips = f64::from(fared.flips) / (ticks / self.per_day) / FLIPS;
        breach.max(saturated).max(flips)
    }
}
