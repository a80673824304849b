//! Loads that stay where they are, and loads that jump.

use autoscaler_core::Policy;
use autoscaler_lab::outcome::Change;
use autoscaler_lab::{Channel, Course, Runner, Setting, Trace, backtest};
use fleet::Timestamp;
use fleet_sim::Rng;
use serde_json::{Value, json};

const CHANNELS: [Channel; 2] = [Channel::Cloudwatch1m, Channel::Push];
/// Steps of two hours, and of a day.
const SETTLING: usize = 720;
const DAY: usize = 8640;

fn run(trace: &Trace, metric: Channel) -> (f64, Course) {
    let setting = Setting { metric, ..Setting::default() };
    let outcome = backtest(trace, None, Runner::Muster, &Policy::default(), &setting, true);
    (outcome.scores.breach80_ratio, outcome.course.expect("asked for"))
}

/// A load of so many units, within a share of them to either side.
///
/// * `wander`: whether it goes there slowly (a round takes three hours), in place of anew every ten seconds.
fn steady(units: f64, share: f64, wander: bool, seed: u64) -> Trace {
    let mut chance = Rng::new(seed);
    let round = 3.0 * 360.0 / std::f64::consts::TAU;
    let mut step = 0.0_f64;
    let mut next = || {
        step += 1.0;
        let off = if wander { (step / round).sin() } else { 2.0 * chance.share() - 1.0 };
        units * (1.0 + share * off)
    };
    let demand = (0..SETTLING + DAY).map(|_| next()).collect();
    Trace { name: format!("{units} units"), start: Timestamp::EPOCH, demand }
}

/// Actions in the 24 hours after two of settling, on loads of several sizes.
pub fn rest() -> Value {
    let cases = [(0.05, false), (0.10, false), (0.05, true), (0.10, true)];
    let each = CHANNELS.into_iter().flat_map(|metric| cases.map(|case| (metric, case)));
    let of = |(metric, (share, wander)): (Channel, (f64, bool))| {
        let mut actions = Vec::new();
        for units in [1.5, 3.0, 4.4, 6.0, 7.4, 9.0, 11.3, 13.0] {
            for seed in 0..if wander { 1 } else { 3 } {
                let (_, course) = run(&steady(units, share, wander, seed), metric);
                let settled = course.decisions.iter().filter(|change| change.at > 7200);
                actions.push(settled.count());
            }
        }
        json!({"metric": metric, "share": share, "wander": wander, "actions": actions})
    };
    each.map(of).collect()
}

/// What a four-fold step within a minute or two costs, and how much of the need its first action buys.
pub fn steps(traces: &[Trace]) -> Value {
    let each = traces.iter().flat_map(|trace| CHANNELS.map(|metric| (trace, metric)));
    each.map(|(trace, metric)| of_steps(trace, metric)).collect()
}

fn of_steps(trace: &Trace, metric: Channel) -> Value {
    let (breach, course) = run(trace, metric);
    // Where it has doubled within two minutes and had not done so before.
    let doubled = |step: usize| step >= 12 && trace.demand[step] > 2.0 * trace.demand[step - 12];
    let rises: Vec<usize> =
        (1..trace.demand.len()).filter(|step| doubled(*step) && !doubled(step - 1)).collect();
    let first = |rise: &usize| {
        let later = |change: &&Change| change.at > u32::try_from(*rise).expect("short") * Trace::STEP;
        let bought = course.decisions.iter().find(later).map_or(0, |change| change.to);
        let need = (trace.demand[(rise + 60).min(trace.demand.len() - 1)] / 0.75).ceil();
        f64::from(bought) / need
    };
    let shares: Vec<f64> = rises.iter().map(first).collect();
    let steps = f64::from(u32::try_from(trace.demand.len()).expect("short"));
    let minutes = breach * steps / 6.0 / f64::from(u32::try_from(rises.len().max(1)).expect("short"));
    json!({"trace": trace.name, "metric": metric, "rises": rises.len(), "minutes": minutes, "first_action": shares})
}
