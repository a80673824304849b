//! Many settings tried at once on the demand that came, to use the cheapest that keeps the promise.
//!
//! What comes does not depend on what we run. So each setting can be given a fleet of its own, on paper, with
//! launches that take as long as ours and releases at once, and its breach, saturation, flip-flops and cost
//! counted as if it had been in charge.

use super::prices::{Ladder, PRICES};
use super::promise::Seen;
use super::tempo::{RECENT, Tempo};
use crate::number::{few_units, real, short, signed, whole};
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// Savings that must have been missed before anything is given back, in unit-minutes, as they are tried with each
/// price: from what a launch and a drain cost to what a quarter of an hour of two idle units does.
pub(super) const PATIENCES: [f64; 3] = [1.0, 5.0, 20.0];
/// The more of the allowed flip-flops have been made, the warier a fleet is of another; at all of them, as wary as can
/// be.
pub(super) const WARINESS: [Wary; 5] = [
    Wary { rise_risk: 2.0, gain: 0.0 },
    Wary { rise_risk: 0.5, gain: 0.25 },
    Wary { rise_risk: 0.25, gain: 1.0 },
    Wary { rise_risk: 0.1, gain: 2.0 },
    Wary { rise_risk: 0.04, gain: 4.0 },
];
/// The share of the allowed flip-flops that leads to each step of wariness but the first, in steps.
const STEPS: [f32; WARINESS.len() - 1] = [1.0, 2.0, 3.0, 4.0];
/// How many settings are tried.
pub(super) const TRIALS: usize = PRICES.len() * PATIENCES.len();
/// The setting to begin with: dear enough to be safe on what nothing is known of.
const FIRST: usize = 2 * PATIENCES.len() + 1;
/// Days of experience that are assumed before there is any: the dearer, the better.
const ASSUMED: f64 = 0.15;
/// Breach and saturation in these days, at a price of one: the share falls with the price.
const ASSUMED_BREACH: f64 = 0.02;
const ASSUMED_SATURATED: f64 = 0.005;
/// Spans that the hold is divided into, and one more that is under way.
const PEAKS: usize = 5;
/// Saturation that the contract allows, as a share of time.
const SATURATED: f64 = 0.003;
/// So much of it is aimed at.
const AIM_SATURATED: f64 = 0.9;
/// However much breach, or saturation, was seen: at least this share of what is allowed is aimed at. Saturation may be
/// such as no setting prevents, because launches take their time.
const LEAST_OF_BREACH: f64 = 0.4;
const LEAST_OF_SATURATED: f64 = 0.7;
/// Flip-flops a day that the contract allows are 12; the margin is for the live fleet, which is not alone.
const FLIPS: f64 = 9.0;
/// What a flip-flop costs beside its units, in unit-minutes: a node drained and another made ready for nothing.
const FLIP_COST: f64 = 20.0;
/// The least price of breach while the fleet is surprised or saturated: there it is never sat out.
const URGENT: f64 = 12.0;
/// So much of the objective's breach is aimed at: the rest is for what the distributions do not know yet.
const AIM: f64 = 0.8;
/// The setting in use is looked over so often, and at once when it no longer keeps the promise.
const LOOKED_OVER_MILLIS: i64 = 600_000;
const DAY_MILLIS: f64 = 86_400_000.0;

/// How wary a fleet is of flip-flops.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wary {
    /// The risk that is taken that the coming minutes need again what is given back.
    pub rise_risk: f64,
    /// Shortly after a release, nothing is bought for a smaller gain than this, in units.
    gain: f64,
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

/// The settings that are tried, each with a fleet of its own on paper: by price, then by patience.
///
/// What is kept of each fleet lies side by side with the same of the others: a tick touches all of them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Trials {
    /// Targets at recent ticks: a row of all fleets for each, by number modulo [`RECENT`].
    targets: Vec<u16>,
    /// The most that would have been kept: a row for each span of a quarter of the hold.
    peaks: Vec<u16>,
    /// The row of the span that is under way.
    span: usize,
    /// Savings missed since less would have done, in unit-minutes.
    missed: Vec<f32>,
    /// For how many ticks less would have done.
    surplus: Vec<u16>,
    /// How many ticks ago it gave back; [`u16::MAX`] for long ago.
    gave_back: Vec<u16>,
    fared: Fared,
    ticks: usize,
    chosen: usize,
    looked_over: i64,
    /// The size that each price asks for now.
    needs: [u16; PRICES.len()],
}

/// How the settings fared, in ticks, the older counting less.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Fared {
    ticks: f32,
    cost: Vec<f32>,
    breach: Vec<f32>,
    saturated: Vec<f32>,
    flips: Vec<f32>,
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
        let none = || vec![0.0; TRIALS];
        Self {
            targets: vec![0; RECENT * TRIALS],
            peaks: vec![0; PEAKS * TRIALS],
            span: 0,
            missed: none(),
            surplus: vec![0; TRIALS],
            gave_back: vec![u16::MAX; TRIALS],
            fared: Fared { ticks: 0.0, cost: none(), breach: none(), saturated: none(), flips: none() },
            ticks: 0,
            chosen: FIRST,
            looked_over: 0,
            needs: [0; PRICES.len()],
        }
    }
}

/// Where the row of a tick lies.
fn row(tick: usize) -> Range<usize> {
    let from = tick % RECENT * TRIALS;
    from..from + TRIALS
}

impl Trials {
    /// Counts how each setting fared in the tick whose demand has become known, in units.
    pub fn account(&mut self, tempo: &Tempo, rules: &Rules, demand: f64, spread: f64) {
        if self.ticks <= tempo.lead {
            return;
        }
        let row_ago = |ago: usize| &self.targets[row(self.ticks + 1 + RECENT - ago)];
        // What serves is the least of the targets since what is bought now would have been bought: launches
        // take that long, releases no time.
        let mut serving = [u16::MAX; TRIALS];
        for ago in tempo.release..=tempo.lead {
            for (serving, target) in serving.iter_mut().zip(row_ago(ago)) {
                *serving = (*serving).min(*target);
            }
        }
        let keep = short(tempo.keep.trials);
        let thirds = [demand - spread, demand, demand + spread];
        let fared = &mut self.fared;
        fared.ticks = fared.ticks * keep + 1.0;
        for (cost, target) in fared.cost.iter_mut().zip(row_ago(1)) {
            *cost = *cost * keep + f32::from(*target);
        }
        let serving = serving.map(f32::from);
        for (count, level) in [(&mut fared.breach, rules.level), (&mut fared.saturated, 1.0)] {
            let [first, middle, last] = thirds.map(|demand| short(demand / level));
            for (count, serving) in count.iter_mut().zip(&serving) {
                let third = |limit: f32| if limit > *serving { 1.0 / 3.0 } else { 0.0 };
                *count = *count * keep + (third(first) + third(middle) + third(last));
            }
        }
        fared.flips.iter_mut().for_each(|flips| *flips *= keep);
    }

    /// Lets every setting decide upon what may come. O(settings x lead).
    ///
    /// * `rises`: how far needs may rise in the coming minutes, by wariness.
    /// * `urgent`: whether breach is dear just now, whatever the setting.
    pub fn decide(
        &mut self,
        tempo: &Tempo,
        rules: &Rules,
        ladder: &Ladder,
        rises: &[f64; WARINESS.len()],
        urgent: bool,
    ) {
        self.ticks += 1;
        let block = rules.hold.div_ceil(PEAKS - 1).max(1);
        let turns = self.ticks.is_multiple_of(block);
        self.span = (self.span + usize::from(turns)) % PEAKS;
        let now = Now {
            minutes: short(real(tempo.tick) / 60_000.0),
            flip: tempo.flip,
            hold: rules.hold,
            peaks: if block == 1 { rules.hold.clamp(1, PEAKS) } else { PEAKS },
        };
        self.targets.copy_within(row(self.ticks + RECENT - 1), row(self.ticks).start);
        for gave_back in &mut self.gave_back {
            *gave_back = gave_back.saturating_add(1);
        }
        let mut prices = PRICES;
        for price in &mut prices {
            *price = if urgent { price.max(URGENT) } else { *price } * rules.size;
        }
        let (needs, soon) = (ladder.cheapest(&prices), ladder.cheapest_soon(&prices));
        let mut risks = Risks { ladder, units: u16::MAX, risk: 0.0 };
        let wariness = self.wariness(tempo);
        let mut keeps = [0; TRIALS];
        for (number, keeps) in keeps.chunks_exact_mut(PATIENCES.len()).enumerate() {
            let need = needs[number].0;
            self.needs[number] = few_units(need);
            let most = rules.max.max(need);
            // Most of those that share a price are equally wary.
            let mut last = None;
            for (keep, wary) in keeps.iter_mut().zip(&wariness[number * PATIENCES.len()..]) {
                *keep = match last {
                    Some((same, keep)) if same == wary => keep,
                    _ => few_units(whole(soon[number].0 * rises[usize::from(*wary)]).clamp(need, most)),
                };
                last = Some((wary, *keep));
            }
        }
        let span = self.span * TRIALS;
        for (peak, keep) in self.peaks[span..span + TRIALS].iter_mut().zip(keeps) {
            *peak = if turns { keep } else { keep.max(*peak) };
        }
        let Self { targets, missed, surplus, gave_back, fared, peaks, .. } = self;
        let state = targets[row(self.ticks)].iter_mut().zip(missed).zip(surplus).zip(gave_back);
        for (number, (((target, missed), surplus), gave_back)) in state.enumerate() {
            let price = number / PATIENCES.len();
            let asks = Asks { need: self.needs[price], least: needs[price].1, price: prices[price] };
            let (patience, gain) =
                (PATIENCES[number % PATIENCES.len()], WARINESS[usize::from(wariness[number])].gain);
            let mut fleet = OnPaper { target, missed, surplus, gave_back };
            if asks.need >= *fleet.target {
                fared.flips[number] += f32::from(u8::from(fleet.buy(&now, &asks, gain, &mut risks)));
            } else if fleet.is_patient_no_more(&now, &asks, patience, &mut risks) {
                let peak_ago = |ago: usize| peaks[(self.span + PEAKS - ago) % PEAKS * TRIALS + number];
                fleet.give_back((0..now.peaks).map(peak_ago).max().unwrap_or(u16::MAX));
            }
        }
    }

    /// Flip-flops of each fleet, as steps of wariness.
    fn wariness(&self, tempo: &Tempo) -> [u8; TRIALS] {
        let days = (f64::from(self.fared.ticks) * real(tempo.tick) / DAY_MILLIS) + ASSUMED;
        let steps = short(real(signed(WARINESS.len() - 1)) / (FLIPS * days));
        let mut wariness = [0; TRIALS];
        for (wary, flips) in wariness.iter_mut().zip(&self.fared.flips) {
            let used = flips * steps;
            *wary = STEPS.iter().map(|step| u8::from(used >= *step)).sum();
        }
        wariness
    }

    /// Looks the choice of setting over: the cheapest of those that keep the promise, else the one that comes
    /// nearest to it.
    ///
    /// * `seen`: the promise as it was really kept: more breach than promised asks for better than promised now.
    pub fn choose(&mut self, tempo: &Tempo, rules: &Rules, seen: Seen) {
        self.looked_over += tempo.tick;
        let per_day = DAY_MILLIS / real(tempo.tick);
        let at_most = rules.at_most.max(1e-6);
        let breach = corrected(at_most, seen.breach, LEAST_OF_BREACH);
        let saturated = corrected(SATURATED, seen.saturated, LEAST_OF_SATURATED);
        let aim = Aim {
            breach: breach * AIM,
            saturated: saturated * AIM_SATURATED,
            assumed: ASSUMED * per_day,
            per_day,
        };
        let excess = |number: usize| aim.excess(&self.fared, number);
        if self.looked_over < LOOKED_OVER_MILLIS && excess(self.chosen) <= 1.0 {
            return;
        }
        self.looked_over = 0;
        let flip_cost = short(FLIP_COST * 60_000.0 / real(tempo.tick));
        let mut cheapest: Option<(f32, usize)> = None;
        let mut nearest = (f64::INFINITY, self.chosen);
        let ticks = self.fared.ticks.max(1.0);
        for number in 0..TRIALS {
            let off = excess(number);
            let cost = (self.fared.cost[number] + self.fared.flips[number] * flip_cost) / ticks;
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
        let target = self.targets[row(self.ticks).start + self.chosen];
        let need = self.needs[self.chosen / PATIENCES.len()];
        (f64::from(need.min(target)), f64::from(need.max(target)))
    }

    /// How the setting in use has fared.
    pub fn tried(&self, tempo: &Tempo) -> Tried {
        let (fared, chosen) = (&self.fared, self.chosen);
        let ticks = fared.ticks.max(1.0);
        let days = short(f64::from(fared.ticks) * real(tempo.tick) / DAY_MILLIS);
        Tried {
            price: short(PRICES[self.chosen / PATIENCES.len()]),
            patience: short(PATIENCES[self.chosen % PATIENCES.len()]),
            days,
            breach: fared.breach[chosen] / ticks,
            saturated: fared.saturated[chosen] / ticks,
            flips_per_day: fared.flips[chosen] / days.max(f32::MIN_POSITIVE),
        }
    }

    /// Moves on by ticks that nothing is known of: the settings stay as they are.
    pub fn skip(&mut self, ticks: usize) {
        for _ in 0..ticks.min(RECENT) {
            self.ticks += 1;
            self.targets.copy_within(row(self.ticks + RECENT - 1), row(self.ticks).start);
        }
    }

    /// Turns targets into other units, when a unit's power has changed.
    pub fn rescale(&mut self, by: f64) {
        for units in self.targets.iter_mut().chain(&mut self.peaks) {
            *units = few_units((f64::from(*units) * by).ceil());
        }
    }
}

/// What is aimed at, so that what was really seen comes to what is allowed; at least a share of it.
fn corrected(allowed: f64, seen: f64, least: f64) -> f64 {
    allowed * (1.0 + (0.8 * allowed - seen) / allowed).clamp(least, 1.3)
}

/// What all trials share in one tick.
struct Now {
    minutes: f32,
    flip: usize,
    hold: usize,
    /// How many spans of peaks cover the hold.
    peaks: usize,
}

/// A setting's fleet.
struct OnPaper<'a> {
    target: &'a mut u16,
    missed: &'a mut f32,
    surplus: &'a mut u16,
    gave_back: &'a mut u16,
}

impl OnPaper<'_> {
    /// Buys what is needed and not there.
    ///
    /// * `least_gain`: what is gained at least by what is bought shortly after a release.
    /// * returns: whether that made a flip-flop.
    #[inline]
    fn buy(&mut self, now: &Now, asks: &Asks, least_gain: f64, risks: &mut Risks<'_>) -> bool {
        let before = *self.target;
        (*self.missed, *self.surplus) = (0.0, 0);
        if asks.need == before {
            return false;
        }
        let lately = usize::from(*self.gave_back) <= now.flip && before > 0;
        if lately && asks.gain(before, risks) < least_gain {
            return false;
        }
        *self.target = asks.need;
        if lately {
            *self.gave_back = u16::MAX;
        }
        lately
    }

    /// Counts what is missed because less would do, and says whether it has been enough, for long enough.
    ///
    /// * `patience`: savings that must have been missed before anything is given back.
    #[inline]
    fn is_patient_no_more(&mut self, now: &Now, asks: &Asks, patience: f64, risks: &mut Risks<'_>) -> bool {
        *self.surplus = self.surplus.saturating_add(1);
        *self.missed += short(asks.gain(*self.target, risks).clamp(0.0, 1e6)) * now.minutes;
        usize::from(*self.surplus) >= now.hold && f64::from(*self.missed) > patience
    }

    /// Gives back what has not been needed, if that is any.
    fn give_back(&mut self, peak: u16) {
        if peak < *self.target {
            *self.target = peak;
            *self.gave_back = 0;
            (*self.missed, *self.surplus) = (0.0, 0);
        }
    }
}

/// What a price asks for.
struct Asks {
    need: u16,
    /// What the need comes to, risk and all.
    least: f64,
    price: f64,
}

impl Asks {
    /// What the size that is needed would save over another, in units.
    fn gain(&self, units: u16, risks: &mut Risks<'_>) -> f64 {
        f64::from(units) + self.price * risks.of(units) - self.least
    }
}

/// The risk of the size that was asked for last: most settings have the same.
struct Risks<'a> {
    ladder: &'a Ladder,
    units: u16,
    risk: f64,
}

impl Risks<'_> {
    fn of(&mut self, units: u16) -> f64 {
        if units != self.units {
            *self = Self { units, risk: self.ladder.risk(f64::from(units)), ..*self };
        }
        self.risk
    }
}

/// What a setting must reach.
struct Aim {
    breach: f64,
    saturated: f64,
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
        let breach = share(fared.breach[number], ASSUMED_BREACH) / self.breach;
        let saturated = share(fared.saturated[number], ASSUMED_SATURATED) / self.saturated;
        let flips = f64::from(fared.flips[number]) / (ticks / self.per_day) / FLIPS;
        breach.max(saturated).max(flips)
    }
}
