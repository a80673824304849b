//! A trace made ready for many runs: what they share is worked out once.

use crate::muster::Muster;
use crate::number::{length, real, wide};
use crate::oracle;
use crate::outcome::{Clause, Config, Seconds};
use crate::rivals::{Rival, with_controller};
use crate::suite::fleet::steps;
use crate::suite::metric::Rhythm;
use crate::suite::tally::{Rules, Tally};
use crate::suite::{Controller, hold};
use crate::world::{self, Losses};
use crate::{Course, Interruptions, Outcome, Runner, Scores, Setting, Trace};
use autoscaler_core::Policy;
use fleet_sim::Rng;
use std::borrow::Cow;
use std::sync::OnceLock;

/// Saturation that the contract allows, as a share of time.
const SATURATED: f64 = 0.003;
/// Flips that the contract allows, a day.
const FLIPS: f64 = 12.0;
/// How far above the target the contract lets mean utilisation be.
const MEAN_ABOVE: f64 = 0.005;
/// What noise is drawn for: on the trace, and on what came before it.
const NOISE: u64 = 1;
const TRACE: u64 = 0;
const HISTORY: u64 = 1;

/// A trace in a world, between bounds and at a target.
///
/// What is compared with (the oracles, the delay floor, target tracking's flips) is worked out when it is first asked
/// for, and once.
#[derive(Debug)]
pub struct Bench<'a> {
    pub(crate) trace: &'a Trace,
    pub(crate) setting: &'a Setting,
    pub(crate) rules: Rules,
    /// Demand as it comes, noise included.
    pub(crate) demand: Cow<'a, [f64]>,
    oracle: OnceLock<f64>,
    soft: OnceLock<Option<f64>>,
    floor: OnceLock<f64>,
    tracking_flips: OnceLock<f64>,
}

impl<'a> Bench<'a> {
    /// Makes a trace ready.
    ///
    /// * `policy`: its bounds, target and objective count; runs may differ in everything else.
    pub fn new(trace: &'a Trace, policy: &Policy, setting: &'a Setting) -> Self {
        Self {
            trace,
            setting,
            rules: rules(policy, setting),
            demand: noisy(&trace.demand, setting, TRACE),
            oracle: OnceLock::new(),
            soft: OnceLock::new(),
            floor: OnceLock::new(),
            tracking_flips: OnceLock::new(),
        }
    }

    /// Runs one of the runners.
    pub fn run(&self, history: Option<&Trace>, runner: Runner, policy: &Policy, course: bool) -> Outcome {
        if let Some(rival) = Rival::of(runner, self.rules.target, self.setting) {
            return self.run_rival(runner, &rival, policy, course);
        }
        let mut kept = course.then(Course::default);
        let run = self.hold(policy, true, &mut self.muster(history, policy), kept.as_mut());
        self.outcome(runner, history, policy, &run, kept)
    }

    /// Runs a rival with parameters of its own.
    pub fn run_rival(&self, runner: Runner, rival: &Rival, policy: &Policy, course: bool) -> Outcome {
        let mut kept = course.then(Course::default);
        let mut deciding = rival.begin(&self.rules, self.peak());
        let run = with_controller!(&mut deciding, controller => {
            self.hold(policy, false, controller, kept.as_mut())
        });
        self.outcome(runner, None, policy, &run, kept)
    }

    /// A rival's run in the suite, without interruptions.
    pub(crate) fn hold_rival(&self, rival: &Rival) -> Tally {
        let mut deciding = rival.begin(&self.rules, self.peak());
        with_controller!(&mut deciding, controller => self.hold_in_suite(controller, None))
    }

    /// Our policy, with what it may have learned from before.
    pub(crate) fn muster(&self, history: Option<&Trace>, policy: &Policy) -> Muster {
        let mut muster = Muster::new(policy, self.setting, self.trace.start);
        if let Some(history) = history {
            muster.learn(history, &noisy(&history.demand, self.setting, HISTORY), &self.rules);
        }
        muster
    }

    /// Lets a controller hold a fleet in the world of the setting.
    ///
    /// * `reacts`: whether it heeds notices.
    pub(crate) fn hold(
        &self,
        policy: &Policy,
        reacts: bool,
        controller: &mut impl Controller,
        course: Option<&mut Course>,
    ) -> (Tally, Option<Losses>) {
        if !world::is_needed(self.setting) {
            return (self.hold_in_suite(controller, course), None);
        }
        let (tally, losses) = world::hold(self, policy, reacts, controller, course);
        (tally, Some(losses).filter(|_| self.setting.interruptions != Interruptions::None))
    }

    /// Lets a controller hold a fleet in the suite, whatever the setting says of chance and interruptions.
    pub(crate) fn hold_in_suite(
        &self,
        controller: &mut impl Controller,
        course: Option<&mut Course>,
    ) -> Tally {
        hold(&self.rules, &self.demand, self.first(), controller, course)
    }

    /// The highest demand.
    pub(crate) fn peak(&self) -> f64 {
        self.demand.iter().copied().fold(0.0, f64::max)
    }

    /// Instances in service at the start.
    pub(crate) fn first(&self) -> u32 {
        self.rules.need(self.demand.first().copied().unwrap_or(0.0))
    }

    /// Unit-hours of the clairvoyant optimum.
    pub fn oracle_unit_hours(&self) -> f64 {
        *self.oracle.get_or_init(|| oracle::hard(&self.rules, &self.demand))
    }

    /// Unit-hours of the clairvoyant optimum under the contract; `None` where not even a clairvoyant can keep it.
    pub fn soft_unit_hours(&self, at_most: f64) -> Option<f64> {
        *self.soft.get_or_init(|| oracle::within_contract(self, at_most))
    }

    /// The share of time in saturation that nobody who does not know the future can be blamed for.
    pub fn delay_floor(&self) -> f64 {
        *self
            .floor
            .get_or_init(|| oracle::share_above(&self.delayed(), &self.demand, 1.0, 0..self.demand.len()))
    }

    /// The fleet of whoever does not know the future, by the minute.
    pub(crate) fn delayed(&self) -> Vec<u32> {
        let Rhythm { period, late } = Rhythm::of(self.setting.metric);
        oracle::delayed(&self.rules, &self.demand, period + late + self.rules.boot)
    }

    /// Saturation that the contract allows, as a share of time.
    pub(crate) fn saturation_allowed(&self) -> f64 {
        SATURATED.max(self.delay_floor())
    }

    /// Flips that the contract allows, a day.
    pub(crate) fn flips_allowed(&self) -> f64 {
        FLIPS.max(*self.tracking_flips.get_or_init(|| {
            let rival = Rival::of(Runner::AwsTt, self.rules.target, self.setting);
            rival.map_or(0.0, |rival| self.hold_rival(&rival).scores().flips_per_day)
        }))
    }

    /// Mean utilisation that the contract allows.
    pub(crate) fn mean_allowed(&self) -> f64 {
        self.rules.target + MEAN_ABOVE
    }

    /// The clauses of the contract that a run did not keep. Asks for what is dear to know only where it decides.
    fn broken(&self, scores: &Scores, at_most: f64) -> Vec<Clause> {
        let saturated = scores.saturated_ratio;
        let flips = scores.flips_per_day;
        [
            (Clause::MeanUtilization, scores.mean_utilization > self.mean_allowed()),
            (Clause::Breach, scores.above_ratio > at_most),
            (Clause::Saturated, saturated > SATURATED && saturated > self.saturation_allowed()),
            (Clause::Flips, flips > FLIPS && flips > self.flips_allowed()),
        ]
        .into_iter()
        .filter_map(|(clause, broken)| broken.then_some(clause))
        .collect()
    }

    pub(crate) fn outcome(
        &self,
        runner: Runner,
        history: Option<&Trace>,
        policy: &Policy,
        (tally, losses): &(Tally, Option<Losses>),
        course: Option<Course>,
    ) -> Outcome {
        let mut scores = tally.scores();
        if let Some(losses) = losses {
            let Losses { interruptions, drained, gap, lowest_share, lowest_possible, short, possibly_short } =
                *losses;
            let share = |steps| Some(real(steps) / length(self.demand.len()));
            scores.interruptions = Some(interruptions);
            scores.drained_in_time_ratio = (interruptions > 0).then(|| real(drained) / real(interruptions));
            scores.capacity_gap_unit_seconds = Some(real(gap) * f64::from(Trace::STEP));
            scores.lowest_serving_ratio = Some(lowest_share);
            scores.lowest_possible_ratio = Some(lowest_possible);
            scores.serving_below_60_ratio = share(short);
            scores.possible_below_60_ratio = share(possibly_short);
        }
        let at_most = policy.objective.at_most;
        scores.oracle_unit_hours = self.oracle_unit_hours();
        scores.cost_ratio = scores.cost_unit_hours / scores.oracle_unit_hours;
        scores.contract_broken = self.broken(&scores, at_most);
        scores.contract_kept = scores.contract_broken.is_empty();
        let seconds = |trace: &Trace| wide(trace.demand.len()) * u64::from(Trace::STEP);
        let scored = seconds(self.trace);
        Outcome {
            trace: self.trace.name.clone(),
            runner,
            seconds: Seconds { simulated: scored + history.map_or(0, seconds), scored },
            scores,
            config: config(policy, self.setting, runner, history),
            course,
        }
    }
}

fn config(policy: &Policy, setting: &Setting, runner: Runner, history: Option<&Trace>) -> Config {
    let schedules = if runner == Runner::Muster { setting.schedules.clone() } else { Vec::new() };
    Config {
        setting: setting.clone(),
        min: policy.capacity.min,
        max: policy.capacity.max,
        target: policy.target.get(),
        objective_above: policy.objective.above.get(),
        objective_at_most: policy.objective.at_most,
        surge: policy.capacity.surge,
        scale_out_hold: policy.scale_out.hold.as_secs(),
        scale_out_max_step: policy.scale_out.max_step,
        scale_in_enabled: policy.scale_in.enabled,
        scale_in_hold: policy.scale_in.hold.as_secs(),
        scale_in_max_step: policy.scale_in.max_step,
        schedules,
        history: history.map(|history| history.name.clone()),
    }
}

/// The rules that a policy is scored by. A target of nothing is taken as a hundredth.
fn rules(policy: &Policy, setting: &Setting) -> Rules {
    Rules {
        min: policy.capacity.min.max(1),
        max: policy.capacity.max.max(policy.capacity.min).max(1),
        target: policy.target.get().max(0.01),
        above: policy.objective.above.get(),
        boot: steps(setting.boot),
    }
}

/// Demand with noise: a lognormal factor of mean 1 on each step.
///
/// * `which`: [`TRACE`] or [`HISTORY`], which are noisy each by itself.
fn noisy<'a>(demand: &'a [f64], setting: &Setting, which: u64) -> Cow<'a, [f64]> {
    if !(setting.noise.is_finite() && setting.noise > 0.0) {
        return Cow::Borrowed(demand);
    }
    let mut chance = Rng::new(setting.seed).fork(NOISE, which);
    let variance = libm::log(1.0 + setting.noise * setting.noise);
    let deviation = libm::sqrt(variance);
    demand.iter().map(|d| d * libm::exp(deviation * chance.normal() - 0.5 * variance)).collect()
}
