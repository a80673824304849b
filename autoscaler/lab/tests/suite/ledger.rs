//! What goes in comes out: work, instances, money.

use crate::traces;
use autoscaler_core::Policy;
use autoscaler_lab::outcome::Change;
use autoscaler_lab::{Course, Outcome, Runner, Setting, Trace, backtest};
use proptest::prelude::*;

/// An instance with a life of its own, in seconds from the start of the trace.
struct Instance {
    asked: i64,
    serves: i64,
    ended: Option<i64>,
}

/// Lives through a course's changes of target, instance by instance.
///
/// * returns: units in service in each step, and unit-hours billed.
fn live(course: &Course, first: u32, boot: u32, steps: usize) -> (Vec<f32>, f64) {
    let mut instances: Vec<Instance> =
        (0..first).map(|_| Instance { asked: -3600, serves: -3600, ended: None }).collect();
    let (mut serving, end) = (Vec::new(), steps as i64 * 10);
    // What is changed at the very end serves nobody, and may be billed.
    for step in 0..=steps as i64 {
        let now = step * 10;
        for Change { from, to, .. } in course.decisions.iter().filter(|change| i64::from(change.at) == now) {
            for _ in *from..*to {
                instances.push(Instance { asked: now, serves: now + i64::from(boot), ended: None });
            }
            // What begins to serve at this very moment has not served yet.
            for _ in *to..*from {
                let alive = instances.iter_mut().filter(|i| i.ended.is_none());
                let victim =
                    alive.max_by_key(|i| (i.serves >= now, if i.serves >= now { i.asked } else { -i.asked }));
                victim.expect("somebody to go").ended = Some(now);
            }
        }
        if now == end {
            break;
        }
        serving.push(instances.iter().filter(|i| i.ended.is_none() && i.serves <= now).count() as f32);
    }
    let billed = |i: &Instance| match i.ended {
        Some(ended) => (ended - i.asked).max(60) - (-i.asked).max(0),
        None => end - i.asked.max(0),
    };
    (serving, instances.iter().map(billed).sum::<i64>() as f64 / 3600.0)
}

fn check(trace: &Trace, outcome: &Outcome, boot: u32) {
    let course = outcome.course.as_ref().expect("asked for");
    let (s, who) = (&outcome.scores, outcome.runner);
    let first = (trace.demand[0] / 0.75 - 1e-6).ceil().clamp(1.0, 20.0) as u32;
    let (serving, cost) = live(course, first, boot, trace.demand.len());
    assert_eq!(serving, course.capacity, "{who:?}");
    assert!((cost - s.cost_unit_hours).abs() < 1e-6, "{who:?}: lived {cost}, billed {}", s.cost_unit_hours);
    // Work in = served + waiting + dropped.
    let busy = course.utilization.iter().zip(&course.capacity);
    let served: f64 = busy.map(|(u, c)| f64::from(*u) * f64::from(*c) * 10.0).sum();
    let came: f64 = trace.demand.iter().sum::<f64>() * 10.0;
    let dropped = s.unserved_ratio * came;
    let waiting = came - served - dropped;
    let longest = f64::from(*course.capacity.last().unwrap()) * 30.0;
    assert!(
        waiting > -1e-3 * came && waiting < longest + 1e-3 * came,
        "{who:?}: {waiting} of {longest} wait"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn work_and_unit_hours_are_conserved(seed in 0..1000_u64, boot in 0..20_u32) {
        let (trace, policy) = (traces::wild(seed, 2000), Policy::default());
        let setting = Setting { boot: boot * 10, ..Setting::default() };
        for runner in Runner::ALL {
            check(&trace, &backtest(&trace, None, runner, &policy, &setting, true), setting.boot);
        }
    }
}

#[test]
fn an_instance_that_goes_at_once_is_billed_for_a_minute() {
    // The lag follows demand of one step: up at 190 s, down at 200 s.
    let mut trace = traces::of(vec![0.7; 120]);
    trace.demand[0] = 1.4;
    trace.demand[1] = 0.7;
    let policy = Policy::default();
    let outcome = backtest(&trace, None, Runner::Lag, &policy, &Setting::default(), true);
    let course = outcome.course.as_ref().unwrap();
    let moves: Vec<_> = course.decisions.iter().map(|c| (c.at, c.from, c.to)).collect();
    assert_eq!(moves, [(190, 2, 3), (200, 3, 2)]);
    let expected = (2.0 * 1200.0 + 60.0) / 3600.0;
    assert!((outcome.scores.cost_unit_hours - expected).abs() < 1e-9);
}

#[test]
fn a_fleet_without_enough_drops_what_exceeds_thirty_seconds() {
    let mut policy = Policy::default();
    policy.capacity.max = 4;
    let trace = traces::of(vec![6.0; 360]);
    let s = backtest(&trace, None, Runner::StaticPeak, &policy, &Setting::default(), false).scores;
    // An hour of 6 on 4 units: 4 are served, 120 unit-seconds wait, the rest is gone.
    assert!((s.unserved_ratio - (2.0 * 3600.0 - 120.0) / (6.0 * 3600.0)).abs() < 1e-9, "{s:?}");
    assert_eq!((s.breach80_ratio, s.saturated_ratio, s.mean_utilization), (1.0, 1.0, 1.0));
    assert!((s.queue_over_1s_ratio - 1.0).abs() < 1e-9, "20 unit-seconds wait after the first step");
}

#[test]
fn elasticity_is_counted_as_the_spec_group_does() {
    // Needs 4 for 30 steps, then 8 for 30; the fleet stays at 4 until the end, which is sooner than anybody decides.
    let trace = traces::stairs(&[(0, 3.0), (300, 6.0)], 600);
    let s = backtest(&trace, None, Runner::AwsTt, &Policy::default(), &Setting::default(), false).scores;
    assert_eq!((s.under_accuracy, s.under_timeshare), (25.0, 50.0), "half of the time half is missing");
    assert_eq!((s.over_accuracy, s.over_timeshare), (0.0, 0.0));
    assert!((s.instability - 100.0 / 59.0).abs() < 1e-9, "one of 59 moves is demand's alone");
    assert!((s.mean_abs_error_ratio - 0.125).abs() < 1e-9, "0.25 for half of the time");
}

#[test]
fn noise_has_its_deviation_and_leaves_the_mean() {
    let (trace, policy) = (traces::of(vec![5.0; 50_000]), Policy::default());
    let run = |noise, seed| {
        let setting = Setting { noise, seed, ..Setting::default() };
        backtest(&trace, None, Runner::StaticPeak, &policy, &setting, true).course.unwrap().demand
    };
    let noisy = run(0.1, 1);
    let mean = noisy.iter().sum::<f32>() / 50_000.0;
    let spread = (noisy.iter().map(|d| (d - mean).powi(2)).sum::<f32>() / 50_000.0).sqrt();
    assert!((mean - 5.0).abs() < 0.01 && (spread - 0.5).abs() < 0.01, "{mean} +- {spread}");
    assert_eq!(noisy, run(0.1, 1));
    assert_ne!(noisy, run(0.1, 2));
    assert!(run(0.0, 1).iter().all(|d| *d == 5.0));
}
