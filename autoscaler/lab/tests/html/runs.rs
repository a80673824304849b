//! Runs that nobody made: a day's wave with bursts, followed badly in several ways.
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "made-up figures"
)]

use autoscaler_lab::html::Front;
use autoscaler_lab::outcome::{Change, Clause, Config, Seconds};
use autoscaler_lab::{Course, Outcome, Runner, Scores, Setting};
use fleet::Timestamp;
use std::f64::consts::TAU;

const RUNNERS: [Runner; 9] = [
    Runner::Muster,
    Runner::AwsTt,
    Runner::NomadTv,
    Runner::Hpa,
    Runner::AwsTt5m,
    Runner::AwsTt10s,
    Runner::AwsAsgTt,
    Runner::StaticPeak,
    Runner::Lag,
];

/// A report's worth of runs on one trace.
pub fn report(trace: &str, days: usize, runners: usize) -> (Vec<Outcome>, Vec<Front>) {
    let steps = (days * 8640).max(1);
    let outcomes = RUNNERS.iter().take(runners).enumerate().map(|(k, runner)| run(trace, *runner, k, steps));
    let points =
        (0..12).map(|i| (0.86 + 0.16 * f64::from(i) / 11.0, 0.12 * (1.0 - f64::from(i) / 11.0).powi(3)));
    (outcomes.collect(), vec![Front { trace: trace.to_owned(), points: points.collect() }])
}

/// Demand of a step: a wave, a ripple, and a burst now and then.
pub fn demand(step: usize) -> f64 {
    let day = step as f64 / 8640.0;
    let wave = 7.0 - 4.5 * (day * TAU).cos();
    let ripple = 0.5 * (day * TAU * 23.0).sin() + 0.2 * (day * TAU * 211.0).sin();
    let burst = if step % 6100 > 5800 { 5.0 } else { 0.0 };
    (wave + ripple + burst).max(0.2)
}

fn run(trace: &str, runner: Runner, k: usize, steps: usize) -> Outcome {
    let (delay, every) = (18 + 14 * k, 30 + 20 * k);
    let mut course = Course { start: Timestamp::from_secs(897_264_000 + 4 * 3600), ..Course::default() };
    let mut target = 5_u32;
    let mut pools = vec![Vec::new(); 8];
    for step in 0..steps {
        if step % every == 0 {
            let need = (demand(step.saturating_sub(12)) / 0.75).ceil() as u32;
            if need != target {
                let reason =
                    format!("scale {} as demand is {:.2} < \"need\" & more", need > target, demand(step));
                course.decisions.push(Change { at: step as u32 * 10, from: target, to: need, reason });
                target = need;
            }
        }
        let late = step.saturating_sub(delay);
        let serving = (demand(late - late % every) / 0.75).ceil();
        course.demand.push(demand(step) as f32);
        course.capacity.push(serving as f32);
        course.billed.push(f64::from(target).max(serving) as f32);
        course.utilization.push((demand(step) / serving).min(1.0) as f32);
        for (pool, values) in pools.iter_mut().enumerate() {
            let share = ((step as f64 / 8640.0 + pool as f64).sin() + 1.3) / 8.0 / 1.3;
            values.push((serving * share) as f32);
        }
    }
    if k % 2 == 1 {
        let name =
            |pool| format!("{}.large/eu-west-1{}", ["m5", "c5", "r5", "m6g"][pool % 4], ["a", "b"][pool / 4]);
        course.pools = pools.into_iter().enumerate().map(|(pool, values)| (name(pool), values)).collect();
    }
    outcome(trace, runner, k, course)
}

fn outcome(trace: &str, runner: Runner, k: usize, course: Course) -> Outcome {
    let steps = course.demand.len() as f64;
    let share = |above: f32| {
        let over = course.demand.iter().zip(&course.capacity).filter(|(d, c)| **d > above * **c).count();
        over as f64 / steps
    };
    let cost: f64 = course.billed.iter().map(|b| f64::from(*b)).sum::<f64>() / 360.0;
    let breach = share(0.8) / (1.0 + k as f64);
    let scores = Scores {
        cost_unit_hours: cost,
        oracle_unit_hours: cost / (1.04 - 0.02 * k as f64),
        cost_ratio: 1.04 - 0.02 * k as f64 + if runner == Runner::StaticPeak { 0.9 } else { 0.0 },
        soft_cost_ratio: (k != 2).then_some(1.11),
        breach80_ratio: breach,
        above_ratio: breach,
        saturated_ratio: share(1.0),
        unserved_ratio: 0.000_04,
        queue_over_1s_ratio: 0.002,
        actions_per_day: course.decisions.len() as f64 / steps * 8640.0,
        flips_per_day: 3.2,
        mean_utilization: 0.743,
        contract_kept: k == 0,
        contract_broken: if k == 0 { vec![] } else { vec![Clause::Breach, Clause::Flips] },
        ..Scores::default()
    };
    let config = Config {
        setting: Setting::default(),
        min: 1,
        max: 20,
        target: 0.75,
        objective_above: 0.8,
        objective_at_most: 0.01,
        ..Config::default()
    };
    let seconds = Seconds { simulated: steps as u64 * 10, scored: steps as u64 * 10 };
    Outcome { trace: trace.to_owned(), runner, seconds, scores, config, course: Some(course) }
}
