//! Our own policy, by the very code that the daemon runs: what is learned, sizing, and the arithmetic of bounds, steps
//! and holds that `plan` wraps.

use crate::number::signed;
use crate::suite::metric::{Mean, Metric, Rhythm, Seen};
use crate::suite::tally::Rules;
use crate::suite::{Controller, hold};
use crate::{Channel, Setting, Trace};
use autoscaler_core::sizing::{self, Sizing};
use autoscaler_core::{Learned, Member, Memory, Phase, Policy, Way, step_target};
use autoscaler_policy::{Schedule, in_force, next_change};
use fleet::{Health, InstanceId, Pool, Power, Sample, Saturation, Source, Timestamp, Utilization, Weight};
use std::time::Duration;

/// A sample of agents speaks for the fleet when at least this share of it, in halves, has spoken.
const REPORTING_HALVES: u32 = 2;

/// Our policy at work in the suite.
pub(crate) struct Muster {
    wanted: Wanted,
    learned: Box<Learned>,
    channel: Channel,
    metric: Metric,
    start: Timestamp,
    newest: Option<Mean>,
    sizing: Option<Sizing>,
    /// Whether the next step may decide otherwise although no sample comes: a step or a hold ends.
    unfinished: bool,
}

impl Muster {
    /// Our policy with nothing learned.
    ///
    /// The time that boots take is taken as known: a fleet measures it within its first launches.
    pub fn new(policy: &Policy, setting: &Setting, start: Timestamp) -> Self {
        let boot = Duration::from_secs(u64::from(setting.boot));
        Self {
            wanted: Wanted::new(Policy { boot, ..policy.clone() }, &setting.schedules, start),
            learned: Box::default(),
            channel: setting.metric,
            metric: Metric::new(Rhythm::of(setting.metric)),
            start,
            newest: None,
            sizing: None,
            unfinished: false,
        }
    }

    /// Learns from what was recorded before, as a daemon that held the fleet meanwhile: of demand, and of how far it kept
    /// its promise.
    ///
    /// A history that does not end before the trace begins is taken as what came right before it.
    ///
    /// * `demand`: that of the history as it came, noise included.
    pub fn learn(&mut self, history: &Trace, demand: &[f64], rules: &Rules) {
        let length = signed(history.demand.len()) * i64::from(Trace::STEP) * 1000;
        let start = self.start;
        self.start = Timestamp::from_millis(history.start.millis().min(start.millis() - length));
        self.wanted.begin(self.start);
        let first = rules.need(demand.first().copied().unwrap_or(0.0));
        hold(rules, demand, first, self, None);
        self.start = start;
        self.wanted.begin(start);
        // What was under way is not carried over: the trace begins with a fleet of its own.
        self.metric = Metric::new(Rhythm::of(self.channel));
        (self.newest, self.sizing, self.unfinished) = (None, None, false);
    }

    fn sample(&self, mean: &Mean) -> Sample {
        let push = self.channel == Channel::Push;
        let seconds = |steps: usize| Duration::from_secs(crate::number::wide(steps) * u64::from(Trace::STEP));
        Sample {
            source: if push { Source::Push } else { Source::Cloudwatch },
            end: self.start + seconds(mean.end),
            period: seconds(Rhythm::of(self.channel).period),
            utilization: Utilization::new(mean.utilization),
            power: Power::new(mean.capacity),
            instances: if push { mean.serving } else { 0 },
            saturation: Saturation {
                load_per_core: push.then_some(mean.load),
                psi: push.then_some(mean.psi),
                saturated_share: None,
            },
        }
    }
}

/// What is wanted at the hour that it is.
struct Wanted {
    base: Policy,
    schedules: Vec<Schedule>,
    /// The policy in force, and until when nothing can change it.
    policy: Policy,
    until: Option<Timestamp>,
}

impl Wanted {
    fn new(base: Policy, schedules: &[Schedule], now: Timestamp) -> Self {
        let mut wanted = Self { policy: base.clone(), base, schedules: schedules.to_vec(), until: None };
        wanted.begin(now);
        wanted
    }

    /// Begins at a moment: what is wanted then is news.
    fn begin(&mut self, now: Timestamp) {
        self.put_in_force(now);
        self.until = self.until.map(|_| now);
    }

    /// Applies the schedules.
    fn put_in_force(&mut self, now: Timestamp) {
        if !self.schedules.is_empty() {
            self.policy = in_force(&self.base, &self.schedules, now).0;
            self.until = next_change(&self.schedules, now);
        }
    }

    /// Applies the schedules where one may have begun or ended.
    ///
    /// * returns: whether that was so.
    #[inline]
    fn heed(&mut self, now: Timestamp) -> bool {
        let due = self.until.is_some_and(|until| until <= now);
        if due {
            self.put_in_force(now);
        }
        due
    }
}

/// An instance as far as the time that it took to serve is concerned.
fn member(since: Timestamp, launched: Timestamp) -> Member {
    Member {
        id: InstanceId::new("i-0"),
        pool: Pool::spot("m5.large", "eu-west-1a"),
        weight: Weight::new(1.0),
        power: Power::new(1.0),
        phase: Phase::InService,
        since,
        launched,
        health: Health::Healthy,
        protected: false,
        launch: None,
    }
}

impl Controller for Muster {
    fn decide(&mut self, seen: &Seen) -> u32 {
        let past = (crate::number::wide(seen.step) + 1) * u64::from(Trace::STEP);
        let now = self.start + Duration::from_secs(past);
        let other_hours = self.wanted.heed(now);
        if let Some(mean) = self.metric.take(seen) {
            let sample = self.sample(&mean);
            self.learned.observe(&self.wanted.policy, &sample);
            self.newest = Some(mean);
        } else if !self.unfinished && !other_hours {
            return seen.target;
        }
        let policy = &self.wanted.policy;
        self.sizing = sizing::size(policy, &self.learned, Power::new(1.0), now);
        let Some(sizing) = &self.sizing else {
            let capacity = policy.capacity;
            return seen.target.clamp(capacity.min, capacity.max);
        };
        let (push, newest) = (self.channel == Channel::Push, self.newest);
        // Samples are never stale here; the first one after a scale-out may know less than half of the fleet.
        let load_is_known = || {
            newest.is_some_and(|mean| !push || mean.serving.saturating_mul(REPORTING_HALVES) >= seen.serving)
        };
        let step = step_target(policy, sizing, seen.target, load_is_known);
        self.unfinished = matches!(step.way, Way::UpAStep | Way::DownAStep | Way::Held | Way::LoadUnknown);
        step.target
    }

    fn need(&self) -> u32 {
        let capacity = self.wanted.policy.capacity;
        let needed = self.sizing.as_ref().map_or(0.0, |sizing| sizing.needed.get());
        crate::number::units(needed).clamp(capacity.min, capacity.max)
    }

    fn began_to_serve(&mut self, step: usize, asked: usize) {
        let seconds = |steps: usize| Duration::from_secs(crate::number::wide(steps) * u64::from(Trace::STEP));
        let since = self.start + seconds(step);
        self.learned.observe_members(&[member(since, since - seconds(asked))], &Memory::default());
    }

    fn reason(&self) -> String {
        let Some(sizing) = &self.sizing else { return "bounds".to_owned() };
        let saturated = if sizing.saturated { ", saturated" } else { "" };
        format!(
            "demand {:.2}{saturated}; {:.2} in {} s and {:.0} % above it: needs {:.2}",
            sizing.demand.get(),
            sizing.forecast.get(),
            sizing.horizon.as_secs(),
            sizing.headroom.share * 100.0,
            sizing.needed.get(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Bench;

    #[test]
    fn the_past_is_as_noisy_as_what_is_scored_and_not_by_the_same_noise() {
        let flat = |start: i64| Trace {
            name: "flat".to_owned(),
            start: Timestamp::from_secs(start),
            demand: vec![3.0; 8640],
        };
        let (past, trace, policy) = (flat(0), flat(86_400), Policy::default());
        // Of the minutes that were learned, the mean square of their distance from three units.
        let strays = |noise: f64| {
            let setting = Setting { noise, seed: 5, ..Setting::default() };
            let bench = Bench::new(&trace, &policy, &setting);
            let learned = bench.muster(Some(&past), &policy).learned;
            let minutes: Vec<f64> = learned.history().map(|(_, demand)| demand.get()).collect();
            assert!(minutes.len() > 1400, "{}", minutes.len());
            let first = bench.demand[..6].iter().sum::<f64>() / 6.0;
            assert!(noise == 0.0 || (minutes[0] - first).abs() > 1e-3, "the same noise twice");
            minutes.iter().map(|demand| (demand - 3.0).powi(2)).sum::<f64>() / 1400.0
        };
        assert!(strays(0.0) < 1e-6, "{}", strays(0.0));
        // A tenth of three units, in the mean of six steps each.
        let expected = 0.09 / 6.0;
        assert!((strays(0.1) / expected - 1.0).abs() < 0.2, "{} of {expected}", strays(0.1));
    }
}
