//! What has been learned of a fleet's demand.

use super::errors::{Errors, Situation};
use super::estimator::{Estimate, estimate};
use super::forecaster::{ALL, Forecast, Forecaster};
use super::grain::Grain;
use super::history::History;
use super::prices::{Ladder, Wood};
use super::promise::{BAND, Promise, WorkingPoint};
use super::rest::{Rest, Settled};
use super::rises::Rises;
use super::tempo::{Delays, LEAD_MAX, RECENT, Tempo};
use super::trials::{Rules, Trials, WARINESS};
use super::{Headroom, Sizing};
use crate::number::{few_units, real, units};
use crate::{Member, Memory, Opinion, Phase, Policy, Snapshot};
use fleet::{CapacityUnits, Power, Sample, Timestamp};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// A request and the launch that followed it are taken for one thing within this span.
const SAME_PURCHASE: Duration = Duration::from_secs(600);
/// Beyond this, samples are not late: they lie in the future, because a clock has jumped back.
const AHEAD: Duration = Duration::from_secs(120);
/// Demand is sized for at least this share of a unit.
const LEAST_UNITS: f64 = 0.02;
/// What has been learned of a fleet's demand: bounded (32 KiB serialised), folded from samples, rebuilt from
/// the journal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Learned {
    history: History,
    delays: Delays,
    tempo: Tempo,
    /// The number since 1970 of the newest tick, and what it has of samples shorter than itself.
    tick: i64,
    part: Part,
    newest: Option<Timestamp>,
    /// Since when demand has been followed without a longer break.
    followed_since: Option<Timestamp>,
    /// Until when instances have been looked over for how long they took to serve.
    served_until: Option<Timestamp>,
    power_per_unit: f64,
    forecaster: Forecaster,
    errors: Errors,
    rises: Rises,
    trials: Trials,
    usual_demand: f64,
    /// The forecast without its jitter: mean utilisation is a matter of ten minutes, not of one.
    steady: f64,
    grain: Grain,
    rest: Rest,
    promise: Promise,
    working_point: WorkingPoint,
    /// What the newest tick led to.
    outcome: Outcome,
    /// Needs of recent ticks in units, by number modulo their count: what `scale_out.hold` waits upon.
    needs: Vec<u16>,
    needs_at: usize,
}

/// A tick whose samples are still coming.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Part {
    millis: f64,
    demand: f64,
    served: f64,
    power: f64,
    saturated: bool,
    by_load: bool,
}

/// The arithmetic of the newest tick.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Outcome {
    estimate: Estimate,
    forecast: Forecast,
    situation: Situation,
}

impl Default for Learned {
    fn default() -> Self {
        Self {
            history: History::default(),
            delays: Delays::default(),
            tempo: Tempo::default(),
            tick: 0,
            part: Part::default(),
            newest: None,
            followed_since: None,
            served_until: None,
            power_per_unit: 1.0,
            forecaster: Forecaster::default(),
            errors: Errors::default(),
            rises: Rises::default(),
            trials: Trials::default(),
            usual_demand: 0.0,
            steady: 0.0,
            grain: Grain::default(),
            rest: Rest::default(),
            promise: Promise::default(),
            working_point: WorkingPoint::default(),
            outcome: Outcome::default(),
            needs: vec![0; RECENT],
            needs_at: 0,
        }
    }
}

impl Learned {
    /// Folds what one cycle has seen: its samples, and how long its instances took to serve. To be called once
    /// a cycle, before [`crate::plan`].
    pub fn learn(&mut self, policy: &Policy, seen: &Snapshot, memory: &Memory, now: Timestamp) {
        self.forget_the_future(now);
        if let Some(members) = &seen.members {
            self.observe_members(&members.what, memory);
        }
        for sample in seen.samples.iter().filter(|s| s.end <= now + AHEAD) {
            self.observe(policy, sample);
        }
    }

    /// Folds one sample, from history (oldest first) or just come in.
    ///
    /// One that says nothing is left out; one that is late fills gaps of the history, and one that is known
    /// already changes nothing.
    ///
    /// O(settings x lead), no allocation.
    pub fn observe(&mut self, policy: &Policy, sample: &Sample) {
        let Some(estimate) = estimate(sample) else { return };
        self.history.add(sample.end, sample.period, estimate.demand);
        if self.newest.is_some_and(|newest| sample.end <= newest) {
            return;
        }
        self.newest = Some(sample.end);
        self.followed_since = self.followed_since.or(Some(sample.end));
        self.set_tempo(policy, sample);
        self.promise.see(&self.tempo, policy, sample, &estimate);
        if let Some((number, estimate)) = self.gather(sample, &estimate) {
            self.advance_to(number, sample.end);
            self.step(policy, sample.end, estimate);
        }
    }

    /// Takes note of how long instances took from request to serving, and of the power that a unit buys.
    ///
    /// * `memory`: says when we last asked for more: a launch soon after that was asked for then.
    pub fn observe_members(&mut self, members: &[Member], memory: &Memory) {
        let alive = members.iter().filter(|m| m.phase != Phase::Leaving);
        let (power, weight) = alive.fold((0.0, 0.0), |(p, w), m| (p + m.power.get(), w + m.weight.get()));
        if power > 0.0 && weight > 0.0 {
            let now = power / weight;
            // A little more or less comes and goes with every instance.
            if (now / self.power_per_unit - 1.0).abs() > 0.05 {
                self.trials.rescale(self.power_per_unit / now);
                self.power_per_unit = now;
            }
        }
        let until = self.served_until;
        let serving = members.iter().filter(|m| m.phase == Phase::InService);
        for member in serving.filter(|m| until.is_some_and(|until| m.since > until)) {
            let asked = memory
                .last_scale_out
                .filter(|asked| *asked <= member.launched && member.launched.since(*asked) < SAME_PURCHASE);
            self.delays.served_after(member.since.since(asked.unwrap_or(member.launched)));
        }
        // Those that serve when a fleet is seen first have been serving for nobody knows how long.
        let newest = members.iter().filter(|m| m.phase == Phase::InService).map(|m| m.since).max();
        self.served_until = until.max(newest);
    }

    /// Demand by the minute, oldest first, as far as it is kept: for charts.
    pub fn history(&self) -> impl Iterator<Item = (Timestamp, Power)> + '_ {
        self.history.minutes()
    }

    /// The time from request to serving that is reckoned with.
    pub fn boot(&self, policy: &Policy) -> Duration {
        self.delays.boot(policy.boot)
    }

    pub(super) fn size(&self, policy: &Policy, power_per_unit: Power, now: Timestamp) -> Option<Sizing> {
        self.newest.filter(|_| self.usual_demand > 0.0)?;
        let Outcome { estimate, forecast, situation } = &self.outcome;
        // Learned in units of then, asked for in units of now.
        let scale = self.power_per_unit / power_per_unit.get().max(f64::MIN_POSITIVE);
        let settled = self.settled(policy);
        let (least, most) =
            settled.map_or_else(|| self.trials.decision(), |Settled { least, most }| (least, most));
        let situation = settled.map_or(*situation, |_| Situation::AtRest);
        let held = self.held_need(policy).min(least);
        let buy = units(held * scale);
        let needed = least * scale;
        let level = policy.objective.above.get().max(f64::MIN_POSITIVE);
        let share = needed * power_per_unit.get() * level / forecast.demand.max(f64::MIN_POSITIVE) - 1.0;
        let opinions = std::array::from_fn(|k| Opinion {
            expert: ALL[k],
            forecast: Power::new(forecast.said[k]),
            weight: forecast.weights[k],
        });
        Some(Sizing {
            demand: Power::new(estimate.demand),
            saturated: estimate.saturated,
            opinions,
            forecast: Power::new(forecast.demand),
            horizon: self.tempo.horizon,
            headroom: Headroom {
                share: share.max(0.0),
                situation,
                tried: self.trials.tried(&self.tempo),
                seen: self.promise.seen(&self.tempo).breach,
            },
            needed: CapacityUnits::new(needed),
            buy,
            keep: units(most * scale).max(buy),
            followed: self.followed_since.map_or(Duration::ZERO, |since| now.since(since)),
        })
    }

    /// The sizes between which a load at rest leaves the fleet alone, as long as the promise is kept by it.
    fn settled(&self, policy: &Policy) -> Option<Settled> {
        let kept = self.promise.seen(&self.tempo).breach < policy.objective.at_most / 2.0;
        self.rest.settled(policy, self.power_per_unit).filter(|_| kept)
    }

    /// The need that has lasted for `scale_out.hold`.
    fn held_need(&self, policy: &Policy) -> f64 {
        if policy.scale_out.hold.is_zero() || self.tempo.tick == 0 {
            return f64::INFINITY;
        }
        let ticks = self.tempo.ticks(policy.scale_out.hold).min(self.needs.len() - 1);
        let count = self.needs.len();
        let at = |ago: usize| self.needs[(self.needs_at + count - ago) % count];
        f64::from((0..=ticks).map(at).min().unwrap_or(0))
    }

    /// After a clock has jumped back, what was learned of times that have not come yet is in the way.
    fn forget_the_future(&mut self, now: Timestamp) {
        if self.newest.is_some_and(|newest| newest > now + AHEAD) {
            self.newest = Some(now);
            self.followed_since = Some(now);
            self.history.rewind(now);
            self.restart(now);
        }
        self.served_until = self.served_until.map(|until| until.min(now));
    }

    fn restart(&mut self, now: Timestamp) {
        self.tick = now.millis().div_euclid(self.tempo.tick.max(1));
        self.part = Part::default();
        self.forecaster.restart();
        self.grain.skip();
        self.rest.forget();
        self.errors.skip(RECENT);
        self.rises.skip(RECENT);
    }

    /// Follows the rhythm of the samples, and the time that instances take to serve.
    fn set_tempo(&mut self, policy: &Policy, sample: &Sample) {
        let boot = self.delays.boot(policy.boot);
        if self.tempo.fits(sample, boot) {
            return;
        }
        let tempo = Tempo::of(sample, boot);
        let other_tick = tempo.tick != self.tempo.tick;
        self.tempo = tempo;
        if other_tick {
            self.restart(sample.end - self.tempo.span(1));
        }
    }

    /// Gathers samples that are shorter than a tick.
    ///
    /// * returns: the tick's number and its demand, when it is complete.
    fn gather(&mut self, sample: &Sample, estimate: &Estimate) -> Option<(i64, Estimate)> {
        let tick = self.tempo.tick;
        // Where samples are not aligned, a tick ends with the sample that ends nearest to it.
        let number = (sample.end.millis() + tick / 2).div_euclid(tick);
        let period = i64::try_from(sample.period.as_millis()).unwrap_or(i64::MAX);
        if period >= tick {
            return (number > self.tick).then_some((number, *estimate));
        }
        let number = (sample.end.millis() - 1).div_euclid(tick) + 1;
        if number <= self.tick {
            return None;
        }
        let part = &mut self.part;
        part.millis += real(period);
        part.demand += estimate.demand * real(period);
        part.served += estimate.served * real(period);
        part.power += estimate.power * real(period);
        part.saturated |= estimate.saturated;
        part.by_load |= estimate.by_load;
        if sample.end.millis() < number * tick {
            return None;
        }
        let Part { millis, demand, served, power, saturated, by_load } = std::mem::take(part);
        let (demand, served, power) = (demand / millis, served / millis, power / millis);
        let mean = Estimate { demand, served, power, saturated, by_load };
        Some((number, mean))
    }

    /// Moves on to a tick, over those that no sample came for.
    fn advance_to(&mut self, number: i64, end: Timestamp) {
        let missing = usize::try_from(number.saturating_sub(self.tick + 1)).unwrap_or(usize::MAX);
        self.tick = number;
        if missing > LEAD_MAX {
            self.followed_since = Some(end);
            self.restart(end);
            return;
        }
        self.forecaster.skip(missing);
        if missing > 0 {
            self.grain.skip();
        }
        self.errors.skip(missing);
        self.rises.skip(missing);
        self.trials.skip(missing);
    }

    /// One tick: learn from what came, forecast, decide.
    fn step(&mut self, policy: &Policy, end: Timestamp, estimate: Estimate) {
        let tempo = &self.tempo;
        let unit = self.power_per_unit;
        let demand = estimate.demand.max(LEAST_UNITS * unit);
        if self.usual_demand <= 0.0 {
            self.usual_demand = demand;
        }
        self.usual_demand = demand + (self.usual_demand - demand) * tempo.keep.day;
        let rules = self.rules(policy);
        let hidden = self.grain.deviation(tempo);
        let spread = self.grain.spread(tempo, demand);
        self.trials.account(tempo, &rules, estimate.at_least().max(demand) / unit, spread / unit);
        self.grain.see(demand);
        self.rest.see(tempo, demand, hidden);
        let origin = self.forecaster.learn(tempo, &self.history, end, demand);
        let mut surprise = 0.0;
        if let Some(origin) = origin {
            let forecast = f64::from(origin.forecast).max(f64::MIN_POSITIVE);
            surprise = (demand - forecast) / f64::from(origin.scale).max(f64::MIN_POSITIVE);
            // What comes on top of a load has a size of its own, and is no share of what there was.
            let base = self.usual_demand;
            self.errors.learn(tempo, (demand + base) / (forecast + base), surprise);
        }
        let forecast = self.forecaster.forecast(tempo, &self.history, end, surprise);
        self.decide(policy, &rules, end, estimate, forecast);
    }

    /// Prices what may come, and lets every setting decide.
    fn decide(
        &mut self,
        policy: &Policy,
        rules: &Rules,
        end: Timestamp,
        estimate: Estimate,
        forecast: Forecast,
    ) {
        let (tempo, unit, level) = (&self.tempo, self.power_per_unit, rules.level);
        let (context, outlook) = self.errors.outlook(tempo, end, &estimate, &forecast);
        self.rises.learn(tempo, forecast.demand, context.situation);
        self.steady = if self.steady <= 0.0 {
            forecast.demand
        } else {
            forecast.demand + (self.steady - forecast.demand) * tempo.keep.mean
        };
        // What is certain: what is served now, at the level; what is forecast, at the working point.
        let at_most = self.grain.level_for_means(tempo, level, policy.objective.at_most);
        let point = self.working_point.get(policy, at_most);
        let steady = self.steady.min(forecast.demand) / point / unit;
        let mut floor = (estimate.served / level / unit).max(steady / (1.0 + BAND));
        if context.situation.is_urgent() {
            // Whether the rest of a jump is worth its price is no question while the fleet is behind: at least what is
            // forecast is bought, however few the sizes are that `max` leaves to choose from.
            floor = floor.max(forecast.demand / level / unit);
        }
        let ladder = Ladder::of(&Wood {
            forecast: (forecast.demand / unit).max(LEAST_UNITS),
            base: self.usual_demand / unit,
            outlook: &outlook,
            floor,
            keep_floor: floor.max(steady).max(forecast.lately / point / unit),
            min: f64::from(policy.capacity.min),
            max: rules.max,
            level,
        });
        let risks = WARINESS.map(|w| w.rise_risk);
        let rises = self.rises.exceeded(context.situation, &risks);
        self.trials.decide(tempo, rules, &ladder, &rises, context.situation.is_urgent());
        self.trials.choose(tempo, rules, self.promise.seen(tempo));
        let (need, _) = self.trials.decision();
        let sized = self.steady.min(forecast.demand) / unit;
        self.working_point.see(tempo, policy, at_most, sized, need);
        self.needs_at = (self.needs_at + 1) % self.needs.len();
        self.needs[self.needs_at] = few_units(need);
        self.outcome = Outcome { estimate, forecast, situation: context.situation };
    }

    fn rules(&self, policy: &Policy) -> Rules {
        Rules {
            level: policy.objective.above.get().max(0.01),
            size: (self.usual_demand / self.power_per_unit).max(0.3),
            at_most: policy.objective.at_most,
            hold: self.tempo.ticks(policy.scale_in.hold).min(RECENT - 1),
            max: f64::from(policy.capacity.max.max(policy.capacity.min)),
        }
    }
}
