//! What a policy's cost above the optimum is lost to.

use crate::bench::Bench;
use crate::number::{real, wide};
use crate::oracle;
use crate::rivals::Rival;
use crate::suite::metric::{Rhythm, Seen};
use crate::suite::tally::Rules;
use crate::suite::{Controller, fleet};
use crate::{Interruptions, Runner, Setting, Trace};
use autoscaler_core::Policy;
use serde::Serialize;
use std::collections::VecDeque;

/// Parts that a unit is divided into where whole instances shall not matter.
const PARTS: u32 = 16;
/// Steps in an hour.
const HOUR: f64 = 3600.0 / Trace::STEP as f64;

/// A policy's cost above the clairvoyant optimum, in unit-hours, and its parts, which add up to it.
///
/// A part is negative where the policy saved by it: whoever runs hotter than the optimum may forecasts too low.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Regret {
    /// What the policy billed.
    pub cost_unit_hours: f64,
    /// What the hard oracle bills.
    pub oracle_unit_hours: f64,
    /// The first less the second.
    pub regret_unit_hours: f64,
    /// Lost to seeing late what is no longer needed, and to deciding at the rhythm of the samples.
    pub delay_unit_hours: f64,
    /// Lost to whole instances, beyond what they cost the optimum.
    pub rounding_unit_hours: f64,
    /// Lost to not knowing what comes: wrong forecasts, and the headroom against them.
    pub forecast_error_unit_hours: f64,
    /// Lost to keeping what is not needed for a while.
    pub hold_down_unit_hours: f64,
    /// Lost to interruptions: what was bought again, and what ran twice meanwhile.
    pub interruptions_unit_hours: f64,
}

/// Splits a policy's regret by a chain of counterfactual policies, from the optimum to what was run:
///
/// 1. the hard oracle;
/// 2. whoever knows what will be needed when what is bought now serves, and no further, and gives back when the metric
///    shows that less is needed: `delay`, and `rounding` as far as whole instances cost it more than the oracle;
/// 3. whoever follows the policy's own need at every moment, up and down: `forecast_error`;
/// 4. the policy, in a world that takes nothing back: `hold_down`;
/// 5. the policy as it was run: `interruptions`.
///
/// Why so: docs/decisions/0030.
pub fn regret(
    trace: &Trace,
    history: Option<&Trace>,
    runner: Runner,
    policy: &Policy,
    setting: &Setting,
) -> Regret {
    let calm = Setting { interruptions: Interruptions::None, ..setting.clone() };
    let bench = Bench::new(trace, policy, &calm);
    let rules = &bench.rules;
    let (undisturbed, needs) = undisturbed(&bench, history, runner, policy);
    let cost = if setting.interruptions == Interruptions::None {
        undisturbed
    } else {
        crate::backtest(trace, history, runner, policy, setting, false).scores.cost_unit_hours
    };
    let followed = bench.hold_in_suite(&mut Following { needs: &needs }, None).unit_hours();
    let oracle = bench.oracle_unit_hours();
    let rhythm = rhythm(runner, setting);
    let foreseen = foreseeing(rules, &bench.demand, rhythm);
    let finer = Rules { min: rules.min * PARTS, max: rules.max.saturating_mul(PARTS), ..*rules };
    let parts: Vec<f64> = bench.demand.iter().map(|demand| demand * f64::from(PARTS)).collect();
    let foreseen_in_parts = foreseeing(&finer, &parts, rhythm) / f64::from(PARTS);
    let oracle_in_parts = oracle::hard(&finer, &parts) / f64::from(PARTS);
    Regret {
        cost_unit_hours: cost,
        oracle_unit_hours: oracle,
        regret_unit_hours: cost - oracle,
        delay_unit_hours: foreseen_in_parts - oracle_in_parts,
        rounding_unit_hours: (foreseen - foreseen_in_parts) - (oracle - oracle_in_parts),
        forecast_error_unit_hours: followed - foreseen,
        hold_down_unit_hours: undisturbed - followed,
        interruptions_unit_hours: cost - undisturbed,
    }
}

/// What a policy bills where nothing is taken back, and what it would have wanted after each step.
fn undisturbed(
    bench: &Bench<'_>,
    history: Option<&Trace>,
    runner: Runner,
    policy: &Policy,
) -> (f64, Vec<u32>) {
    let needs = Vec::with_capacity(bench.demand.len());
    let Some(rival) = Rival::of(runner, bench.rules.target, bench.setting) else {
        let mut noting = Noting { inner: bench.muster(history, policy), needs };
        let (tally, _) = bench.hold(policy, true, &mut noting, None);
        return (tally.unit_hours(), noting.needs);
    };
    let mut noting = Noting { inner: rival.begin(&bench.rules, bench.peak()), needs };
    let (tally, _) = bench.hold(policy, false, &mut noting, None);
    (tally.unit_hours(), noting.needs)
}

/// A controller whose needs are written down.
struct Noting<C> {
    inner: C,
    needs: Vec<u32>,
}

impl<C: Controller> Controller for Noting<C> {
    fn decide(&mut self, seen: &Seen) -> u32 {
        let target = self.inner.decide(seen);
        self.needs.push(self.inner.need());
        target
    }
    fn need(&self) -> u32 {
        self.inner.need()
    }
    fn began_to_serve(&mut self, step: usize, asked: usize) {
        self.inner.began_to_serve(step, asked);
    }
    fn reason(&self) -> String {
        self.inner.reason()
    }
}

/// Whoever follows needs that were written down.
struct Following<'a> {
    needs: &'a [u32],
}

impl Controller for Following<'_> {
    fn decide(&mut self, seen: &Seen) -> u32 {
        self.needs.get(seen.step).copied().unwrap_or(seen.target)
    }
    fn need(&self) -> u32 {
        0
    }
    fn reason(&self) -> String {
        "needed".to_owned()
    }
}

/// How often a runner decides, as far as the oracle does: by the minute at the most. And how old its newest sample is
/// then.
fn rhythm(runner: Runner, setting: &Setting) -> Rhythm {
    let seconds = |period, late| Rhythm { period: fleet::steps(period), late: fleet::steps(late) };
    let Rhythm { period, late } = match runner {
        Runner::Muster => Rhythm::of(setting.metric),
        Runner::AwsTt | Runner::AwsAsgTt => seconds(60, 60),
        Runner::AwsTt5m => seconds(300, 300),
        Runner::AwsTt10s => seconds(10, 20),
        Runner::NomadTv => seconds(10, 10),
        Runner::Hpa | Runner::StaticPeak => seconds(10, 0),
        Runner::Lag => seconds(10, 180),
    };
    Rhythm { period: period.max(fleet::steps(60)), late }
}

/// Unit-hours of whoever knows demand until the end of the period in which a launch made now begins to serve, and keeps
/// what was needed until the metric shows that it no longer is.
///
/// What it holds is what it bills: launches are asked for a boot before they are needed.
fn foreseeing(rules: &Rules, demand: &[f64], rhythm: Rhythm) -> f64 {
    let Rhythm { period, late } = rhythm;
    let mut billed = 0_u64;
    // Steps of the span that no later one exceeds: the first is the highest.
    let mut window: VecDeque<usize> = VecDeque::new();
    let mut known = 0;
    for (number, steps) in demand.chunks(period).enumerate() {
        let now = number * period;
        let until = (now + rules.boot + period).min(demand.len());
        for step in known..until {
            while window.back().is_some_and(|older| demand[*older] <= demand[step]) {
                window.pop_back();
            }
            window.push_back(step);
        }
        known = until;
        while window.front().is_some_and(|oldest| oldest + late + period < now) {
            window.pop_front();
        }
        let highest = window.front().map_or(0.0, |highest| demand[*highest]);
        billed += u64::from(rules.need(highest)) * wide(steps.len());
    }
    real(billed) / HOUR
}
