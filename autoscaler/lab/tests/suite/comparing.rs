//! What compares policies: contract, equal breach, regret.

use crate::traces;
use autoscaler_core::Policy;
use autoscaler_lab::oracle::Point;
use autoscaler_lab::outcome::Clause;
use autoscaler_lab::regret::{Regret, regret};
use autoscaler_lab::{Bench, Runner, Setting, backtest, compare};
use fleet::Utilization;
use std::time::Duration;

fn point(cost: f64, breach: f64) -> Point {
    Point { cost_unit_hours: cost, breach80_ratio: breach, ..Point::default() }
}

#[test]
fn a_front_is_read_between_its_points() {
    let front = [point(400.0, 0.0001), point(300.0, 0.001), point(200.0, 0.1)];
    for (breach, cost) in [(0.001, 300.0), (0.01, 250.0), (0.1, 200.0), (0.5, 200.0), (0.0, 400.0)] {
        let found = compare::cost_at_breach(&front, breach).expect("on the front");
        assert!((found - cost).abs() < 1e-9, "{breach}: {found}");
    }
    assert_eq!(compare::cost_at_breach(&front[1..], 0.0001), None, "never so little");
    assert_eq!(
        compare::cost_at_breach(&[point(500.0, 0.001), front[0]], 0.01),
        Some(400.0),
        "the cheapest of all"
    );
}

#[test]
fn a_rival_tuned_in_hindsight_is_as_good_as_itself() {
    let (trace, policy, setting) = (traces::sample("nasa"), Policy::default(), Setting::default());
    let bench = Bench::new(&trace, &policy, &setting);
    let itself = bench.run(None, Runner::AwsTt, &policy, false);
    let against = compare::equal_breach(&bench, &itself);
    let ratio = against.iter().find(|entry| entry.rival == Runner::AwsTt).and_then(|entry| entry.ratio);
    let ratio = ratio.expect("its own breach is on its front");
    assert!((1.0 - 1e-9..1.05).contains(&ratio), "{ratio}");
    assert_eq!(compare::geometric_mean(&[0.5, 2.0]), Some(1.0));
    assert_eq!(compare::geometric_mean(&[]), None);
}

#[test]
fn each_clause_of_the_contract_is_broken_by_what_it_is_about() {
    let policy = Policy::default();
    let broken = |trace: &_, runner, target: f64| {
        let policy = Policy { target: Utilization::new(target), ..policy.clone() };
        backtest(trace, None, runner, &policy, &Setting::default(), false).scores.contract_broken
    };
    let steady = traces::of(vec![7.9; 8640]);
    assert_eq!(broken(&steady, Runner::AwsTt, 0.75), []);
    // Ten units at 79 %: above the target of 75 % by four points, below the level of 80 %.
    let warming = traces::stairs(&[(0, 7.4), (60, 7.9)], 86_400);
    let hot = {
        let setting = Setting::default();
        let bench = Bench::new(&warming, &policy, &setting);
        let rival = autoscaler_lab::rivals::Rival::of(Runner::AwsTt, 0.79, &setting).expect("a rival");
        bench.run_rival(Runner::AwsTt, &rival, &policy, false).scores
    };
    assert_eq!(hot.contract_broken, [Clause::MeanUtilization], "{hot:?}");
    let step = traces::stairs(&[(0, 3.0), (40_000, 12.0)], 86_400);
    assert_eq!(broken(&step, Runner::AwsTt, 0.75), [Clause::Breach, Clause::Saturated]);
    let waves: Vec<(u32, f64)> = (0..216).flat_map(|n| [(n * 400, 3.1), (n * 400 + 100, 2.9)]).collect();
    assert_eq!(broken(&traces::stairs(&waves, 86_400), Runner::Lag, 0.75), [Clause::Flips]);
}

#[test]
fn what_nobody_can_foresee_breaks_no_contract() {
    // A fourfold step a day: four minutes on 4 of 12 units, five with slower boots.
    let trace = traces::stairs(&[(0, 3.0), (40_000, 12.0), (50_000, 3.0)], 86_400);
    let policy = Policy::default();
    for boot in [120, 180] {
        let setting = Setting { boot, ..Setting::default() };
        let floor = Bench::new(&trace, &policy, &setting).delay_floor();
        let minutes = floor * 1440.0;
        assert!((minutes - f64::from(boot) / 60.0 - 2.0).abs() <= 1.0, "{boot}: {minutes}");
    }
    // One that jumps every ten minutes surprises once.
    let jumps: Vec<(u32, f64)> = (0..72).flat_map(|n| [(n * 1200, 3.0), (n * 1200 + 600, 12.0)]).collect();
    let setting = Setting::default();
    let jumpy = traces::stairs(&jumps, 86_400);
    assert!(Bench::new(&jumpy, &policy, &setting).delay_floor() * 1440.0 <= 5.0);
    let same = traces::of(vec![3.0; 8640]);
    assert_eq!(Bench::new(&same, &policy, &Setting::default()).delay_floor(), 0.0);
}

fn parts(r: &Regret) -> f64 {
    r.delay_unit_hours
        + r.rounding_unit_hours
        + r.forecast_error_unit_hours
        + r.hold_down_unit_hours
        + r.interruptions_unit_hours
}

#[test]
fn the_parts_of_regret_add_up_to_it() {
    let (policy, setting) = (Policy::default(), Setting::default());
    for name in ["nasa", "elb", "wiki"] {
        let trace = traces::sample(name);
        for runner in
            [Runner::Muster, Runner::AwsTt, Runner::AwsTt5m, Runner::NomadTv, Runner::Hpa, Runner::Lag]
        {
            let r = regret(&trace, None, runner, &policy, &setting);
            let run = backtest(&trace, None, runner, &policy, &setting, false).scores;
            assert_eq!(
                (r.cost_unit_hours, r.oracle_unit_hours),
                (run.cost_unit_hours, run.oracle_unit_hours)
            );
            assert!((parts(&r) - r.regret_unit_hours).abs() < 1e-6, "{name} {runner:?}: {r:?}");
            assert!(r.delay_unit_hours > 0.0, "{name} {runner:?}: {r:?}");
            assert_eq!(r.interruptions_unit_hours, 0.0);
        }
    }
}

#[test]
fn regret_is_put_down_to_what_causes_it() {
    let trace = traces::sample("nasa");
    let of = |policy: &Policy, setting: &Setting| regret(&trace, None, Runner::Muster, policy, setting);
    let base = of(&Policy::default(), &Setting::default());
    assert!(base.delay_unit_hours > 0.01 * base.oracle_unit_hours, "falls show late: {base:?}");
    let mut patient = Policy::default();
    patient.scale_in.hold = Duration::from_secs(3600);
    assert!(of(&patient, &Setting::default()).hold_down_unit_hours > base.hold_down_unit_hours);
    let late = Setting { metric: autoscaler_lab::Channel::Cloudwatch5m, ..Setting::default() };
    assert!(of(&Policy::default(), &late).delay_unit_hours > 2.0 * base.delay_unit_hours);
    // A load that stands still where whole units hold it exactly loses nothing to anything.
    let flat = traces::of(vec![3.0; 8640]);
    let nothing = regret(&flat, None, Runner::AwsTt, &Policy::default(), &Setting::default());
    assert!(nothing.regret_unit_hours.abs() < 1e-9 && nothing.delay_unit_hours.abs() < 1e-9, "{nothing:?}");
}
