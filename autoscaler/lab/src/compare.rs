//! Policies side by side: who is cheaper at the same breach, and the table of all of them.

use crate::number::length;
use crate::oracle::Point;
use crate::rivals::Rival;
use crate::suite::tally::days;
use crate::sweep::{Job, Progress, sweep};
use crate::{Bench, Outcome, Runner, Setting, Trace};
use autoscaler_core::Policy;
use serde::Serialize;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// The rivals that ours is held against at equal breach.
pub const TUNED: [Runner; 2] = [Runner::AwsTt, Runner::NomadTv];
/// The lowest and highest target of a front, and its step, in percent.
const TARGETS: std::ops::RangeInclusive<u32> = 5..=95;
/// Runs that are timed.
const TIMED: u32 = 5;
/// Breach below this share of time is compared as if it were this: a minute a week, which chance decides.
const LEAST_BREACH: f64 = 1e-4;

/// The whole table.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Table {
    /// One run a setting, trace and runner, in this order.
    pub outcomes: Vec<Outcome>,
    /// Our cost over the rivals' at the same breach, one entry a setting, trace and rival.
    pub at_equal_breach: Vec<EqualBreach>,
    /// Geometric means of it over the traces, one entry a setting and rival.
    pub means: Vec<MeanRatio>,
    /// How fast it went.
    pub speeds: Vec<Speed>,
}

/// Our cost over a rival's at the breach that we had.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct EqualBreach {
    /// The trace.
    pub trace: String,
    /// From request to serving, in seconds.
    pub boot: u32,
    /// The rival, tuned in hindsight by its target.
    pub rival: Runner,
    /// Our cost over its cost; `None` where it cannot have so little breach at any target.
    pub ratio: Option<f64>,
    /// The rival's front, by rising target.
    pub front: Vec<Point>,
}

/// A geometric mean over traces of cost at equal breach.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct MeanRatio {
    /// From request to serving, in seconds.
    pub boot: u32,
    /// The rival.
    pub rival: Runner,
    /// Our cost over its.
    pub ratio: f64,
    /// The traces that it is the mean of: those on which the rival can have our breach at all.
    pub traces: usize,
}

/// How many days a runner simulates in a second on one core: its scores included, the oracle, which is worked out once a
/// trace, apart.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Speed {
    /// The runner.
    pub runner: Runner,
    /// Days per second.
    pub days_per_second: f64,
}

/// A rival's front: what it costs and breaches at each target from 5 % to 95 %.
pub fn front(bench: &Bench<'_>, runner: Runner) -> Vec<Point> {
    let Some(rival) = Rival::of(runner, 1.0, bench.setting) else { return Vec::new() };
    let least = bench.oracle_unit_hours();
    let at = |percent: u32| {
        let target = f64::from(percent) / 100.0;
        let scores = bench.hold_rival(&rival.at(target)).scores();
        Point {
            setting: target,
            cost_unit_hours: scores.cost_unit_hours,
            cost_ratio: scores.cost_unit_hours / least,
            breach80_ratio: scores.breach80_ratio,
            above_ratio: scores.above_ratio,
            saturated_ratio: scores.saturated_ratio,
        }
    };
    TARGETS.map(at).collect()
}

/// What a rival would have cost at a breach: the least on its front, linear between neighbours in the logarithm of
/// breach.
///
/// * returns: `None` where it never has so little.
pub fn cost_at_breach(front: &[Point], breach80_ratio: f64) -> Option<f64> {
    let breach = |point: &Point| point.breach80_ratio.max(LEAST_BREACH).ln();
    let wanted = breach80_ratio.max(LEAST_BREACH).ln();
    let kept = front.iter().filter(|point| breach(point) <= wanted).map(|point| point.cost_unit_hours);
    let between = front.windows(2).filter_map(|pair| {
        let (a, b) = (breach(&pair[0]), breach(&pair[1]));
        let crosses = (a - wanted) * (b - wanted) < 0.0;
        let share = (wanted - a) / (b - a);
        let (from, to) = (pair[0].cost_unit_hours, pair[1].cost_unit_hours);
        crosses.then_some(from + (to - from) * share)
    });
    kept.chain(between).reduce(f64::min)
}

/// The geometric mean; `None` of nothing.
pub fn geometric_mean(ratios: &[f64]) -> Option<f64> {
    let sum: f64 = ratios.iter().map(|ratio| ratio.ln()).sum();
    (!ratios.is_empty()).then(|| (sum / length(ratios.len())).exp())
}

/// Runs all of `runners` over all traces in all settings, and our policy against AWS target tracking and Nomad
/// Autoscaler, each tuned in hindsight.
///
/// * `traces`: each with what may be learned from before.
/// * `clock`: time since some moment, for the figures per core.
/// * `stop`, `progress`: as in [`sweep`]; when stopped, the table has what is finished.
#[expect(clippy::too_many_arguments, reason = "a table is asked for in one place")]
pub fn table(
    traces: &[(Trace, Option<Trace>)],
    runners: &[Runner],
    policy: &Policy,
    settings: &[Setting],
    threads: NonZeroUsize,
    stop: &AtomicBool,
    progress: &(dyn Fn(Progress) + Sync),
    clock: &dyn Fn() -> Duration,
) -> Table {
    let cases = || settings.iter().flat_map(|setting| traces.iter().map(move |case| (setting, case)));
    let mut jobs: Vec<Job<'_>> = Vec::new();
    for (setting, (trace, history)) in cases() {
        let history = history.as_ref();
        jobs.extend(runners.iter().map(|runner| Job {
            trace,
            history,
            runner: *runner,
            policy,
            setting,
            course: false,
        }));
    }
    let outcomes: Vec<_> = sweep(&jobs, threads, stop, progress).into_iter().flatten().collect();
    let mut at_equal_breach = Vec::new();
    for (setting, (trace, _)) in cases() {
        let ours = outcomes.iter().find(|outcome| {
            outcome.runner == Runner::Muster
                && outcome.trace == trace.name
                && outcome.config.setting == *setting
        });
        if let Some(ours) = ours.filter(|_| !stop.load(Ordering::Relaxed)) {
            at_equal_breach.extend(equal_breach(&Bench::new(trace, policy, setting), ours));
        }
    }
    let means = means(&at_equal_breach);
    let speeds =
        runners.iter().filter_map(|runner| speed(traces, *runner, policy, settings, clock)).collect();
    Table { outcomes, at_equal_breach, means, speeds }
}

/// Our cost over each tuned rival's at the breach that we had.
pub fn equal_breach(bench: &Bench<'_>, ours: &Outcome) -> Vec<EqualBreach> {
    let against = |rival: Runner| {
        let front = front(bench, rival);
        let theirs = cost_at_breach(&front, ours.scores.breach80_ratio);
        EqualBreach {
            trace: ours.trace.clone(),
            boot: bench.setting.boot,
            rival,
            ratio: theirs.map(|theirs| ours.scores.cost_unit_hours / theirs),
            front,
        }
    };
    TUNED.map(against).to_vec()
}

fn means(entries: &[EqualBreach]) -> Vec<MeanRatio> {
    let mut groups: Vec<(u32, Runner)> = entries.iter().map(|entry| (entry.boot, entry.rival)).collect();
    groups.sort_unstable();
    groups.dedup();
    let mean = |(boot, rival)| {
        let of = entries.iter().filter(|entry| (entry.boot, entry.rival) == (boot, rival));
        let ratios: Vec<f64> = of.filter_map(|entry| entry.ratio).collect();
        geometric_mean(&ratios).map(|ratio| MeanRatio { boot, rival, ratio, traces: ratios.len() })
    };
    groups.into_iter().filter_map(mean).collect()
}

/// How fast a runner is on one core, on the longest trace.
fn speed(
    traces: &[(Trace, Option<Trace>)],
    runner: Runner,
    policy: &Policy,
    settings: &[Setting],
    clock: &dyn Fn() -> Duration,
) -> Option<Speed> {
    let (trace, _) = traces.iter().max_by_key(|(trace, _)| trace.demand.len())?;
    let bench = Bench::new(trace, policy, settings.first()?);
    // The first run works out what all are compared with.
    let _ = bench.run(None, runner, policy, false);
    // The quickest of several: what else the machine does only ever slows it.
    let once = || {
        let begun = clock();
        let _ = bench.run(None, runner, policy, false);
        clock().saturating_sub(begun)
    };
    let took = (0..TIMED).map(|_| once()).min()?.as_secs_f64().max(f64::MIN_POSITIVE);
    Some(Speed { runner, days_per_second: days(trace.demand.len()) / took })
}
