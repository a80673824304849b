//! The oracles, against everything that could be tried one by one.

use crate::traces;
use autoscaler_core::Policy;
use autoscaler_lab::regret::regret;
use autoscaler_lab::{Bench, Runner, Setting, Trace, compare, oracle};
use fleet::Utilization;
use proptest::prelude::*;

fn policy(min: u32, max: u32) -> Policy {
    let mut policy = Policy::default();
    (policy.capacity.min, policy.capacity.max) = (min, max);
    policy
}

/// Every way of holding some minutes with `min..=max` units.
fn every_schedule(minutes: usize, min: u32, max: u32) -> Vec<Vec<u32>> {
    (0..minutes).fold(vec![Vec::new()], |begun, _| {
        let longer = |schedule: &Vec<u32>, units| schedule.iter().copied().chain([units]).collect();
        begun.iter().flat_map(|schedule| (min..=max).map(move |units| longer(schedule, units))).collect()
    })
}

/// What a schedule bills, in unit-hours: what serves, and a boot of each launch.
fn bill(schedule: &[u32], trace: &Trace, boot: u32) -> f64 {
    let lengths = trace.demand.chunks(6).map(|minute| minute.len() as u32 * 10);
    let serves: u32 = schedule.iter().zip(lengths).map(|(units, seconds)| units * seconds).sum();
    let launched: u32 = schedule.windows(2).map(|pair| pair[1].saturating_sub(pair[0])).sum();
    f64::from(serves + launched * boot) / 3600.0
}

/// Whether no minute's highest demand is above the target, as far as `max` units can help it.
fn holds(schedule: &[u32], trace: &Trace, policy: &Policy) -> bool {
    trace.demand.chunks(6).zip(schedule).all(|(minute, units)| {
        let fits = |demand: &f64| demand / policy.target.get() <= f64::from(*units) + 1e-6;
        *units == policy.capacity.max || minute.iter().all(fits)
    })
}

fn least(costs: impl Iterator<Item = f64>) -> f64 {
    costs.fold(f64::INFINITY, f64::min)
}

proptest! {
    #[test]
    fn the_hard_oracle_is_the_best_of_all_schedules(
        trace in traces::short(), min in 1..3_u32, more in 0..3_u32, boot in 0..19_u32,
    ) {
        let (policy, boot) = (policy(min, min + more), boot * 10);
        let minutes = trace.demand.len().div_ceil(6);
        let all = every_schedule(minutes, min, min + more);
        let best = least(all.iter().filter(|s| holds(s, &trace, &policy)).map(|s| bill(s, &trace, boot)));
        let setting = Setting { boot, ..Setting::default() };
        let bench = Bench::new(&trace, &policy, &setting);
        prop_assert!((bench.oracle_unit_hours() - best).abs() < 1e-9);
        let schedule = oracle::schedule(&bench);
        prop_assert!(holds(&schedule.units, &trace, &policy));
        prop_assert!((bill(&schedule.units, &trace, boot) - best).abs() < 1e-9);
        prop_assert!((schedule.unit_hours - best).abs() < 1e-9);
    }

    #[test]
    fn the_soft_oracle_is_the_best_of_all_schedules_at_its_price(
        trace in traces::short(), boot in 0..19_u32, price in 0..40_u32,
    ) {
        let (policy, boot, price) = (policy(1, 3), boot * 10, f64::from(price) / 6.0);
        let minutes = trace.demand.len().div_ceil(6);
        let missing = |schedule: &[u32]| -> f64 {
            let needs = trace.demand.chunks(6).map(|m| m.iter().copied().fold(0.0, f64::max) / 0.75);
            let needs = needs.map(|need| (need - 1e-6).ceil().clamp(1.0, 3.0));
            needs.zip(schedule).map(|(need, units)| (need - f64::from(*units)).max(0.0)).sum()
        };
        let loss = |schedule: &[u32]| bill(schedule, &trace, boot) + price * missing(schedule) / 60.0;
        let all = every_schedule(minutes, 1, 3);
        let best = least(all.iter().map(|s| loss(s)));
        let setting = Setting { boot, ..Setting::default() };
        let found = &oracle::front(&Bench::new(&trace, &policy, &setting), &[price])[0];
        // Of all that lose as little, one costs what was found.
        let same = all.iter().filter(|s| loss(s) < best + 1e-9);
        let costs: Vec<f64> = same.map(|s| bill(s, &trace, boot)).collect();
        prop_assert!(costs.iter().any(|cost| (cost - found.cost_unit_hours).abs() < 1e-9), "{found:?} {costs:?}");
    }
}

#[test]
fn the_front_goes_from_least_capacity_to_the_hard_oracle() {
    let (trace, policy) = (traces::wild(3, 8640), Policy::default());
    let setting = Setting::default();
    let bench = Bench::new(&trace, &policy, &setting);
    let front = oracle::front(&bench, &[0.0, 0.5, 1.0, 2.0, 5.0, 20.0, 1e6]);
    assert!(front.is_sorted_by(|a, b| a.cost_unit_hours <= b.cost_unit_hours), "{front:?}");
    assert!(front.is_sorted_by(|a, b| a.breach80_ratio >= b.breach80_ratio), "{front:?}");
    assert_eq!(front[0].cost_unit_hours, 24.0, "one unit for a day");
    assert!((front[6].cost_unit_hours - bench.oracle_unit_hours()).abs() < 1e-9);
    assert_eq!((front[6].cost_ratio, front[6].breach80_ratio), (1.0, 0.0));
}

#[test]
fn a_unit_is_kept_through_a_lull_that_is_shorter_than_its_boot() {
    let (policy, setting) = (Policy::default(), Setting { boot: 180, ..Setting::default() });
    let lull = |minutes: u32| {
        let trace = traces::stairs(&[(0, 1.5), (600, 0.75), (600 + minutes * 60, 1.5)], 3600);
        oracle::schedule(&Bench::new(&trace, &policy, &setting)).units[11]
    };
    assert_eq!((lull(2), lull(4)), (2, 1));
}

#[test]
fn the_schedule_and_the_front_are_of_the_demand_that_policies_meet() {
    let (trace, policy) = (traces::sample("taxi"), Policy::default());
    let setting = Setting { noise: 0.1, seed: 3, ..Setting::default() };
    let bench = Bench::new(&trace, &policy, &setting);
    let schedule = oracle::schedule(&bench);
    let regret = regret(&trace, None, Runner::Muster, &policy, &setting);
    assert!((schedule.unit_hours - regret.oracle_unit_hours).abs() < 1e-9, "{regret:?}");
    let dear = &oracle::front(&bench, &[1e6])[0];
    assert!((dear.cost_unit_hours - regret.oracle_unit_hours).abs() < 1e-9, "{dear:?}");
    let calm = Setting::default();
    assert!(
        schedule.unit_hours > Bench::new(&trace, &policy, &calm).oracle_unit_hours(),
        "noise is to cost something"
    );
}

#[test]
fn the_optimum_under_the_contract_keeps_it_and_runs_hotter_than_the_hard_one() {
    let policy = Policy::default();
    for name in ["wiki", "taxi", "nasa"] {
        let (trace, setting) = (traces::sample(name), Setting::default());
        let bench = Bench::new(&trace, &policy, &setting);
        let soft = bench.soft_unit_hours(policy.objective.at_most).expect("can be kept");
        let hard = bench.oracle_unit_hours();
        assert!(soft < hard, "{name}: {soft} {hard}");
        // No schedule serves the work at less than the highest mean that is allowed.
        let work: f64 = trace.demand.iter().sum::<f64>() / 360.0;
        assert!(soft >= work / 0.755 - 1e-9 || name == "nasa", "{name}: {soft} {work}");
        assert!(soft >= work / 0.8, "{name}");
    }
}

#[test]
fn no_schedule_that_keeps_the_contract_is_cheaper_than_what_is_found() {
    let mut ratios = Vec::new();
    let mut policy = policy(1, 3);
    policy.objective.at_most = 0.15;
    policy.target = Utilization::new(0.75);
    for seed in 0..20 {
        let mut trace = traces::wild(seed, 48);
        trace.demand.iter_mut().for_each(|demand| *demand = (*demand / 5.0).min(2.4));
        let setting = Setting::default();
        let bench = Bench::new(&trace, &policy, &setting);
        let Some(soft) = bench.soft_unit_hours(policy.objective.at_most) else { continue };
        let keeps = |schedule: &Vec<u32>| {
            let steps = || trace.demand.iter().zip(schedule.iter().flat_map(|units| [f64::from(*units); 6]));
            let above = steps().filter(|(demand, units)| **demand > 0.8 * units).count();
            let saturated = steps().filter(|(demand, units)| **demand > *units).count();
            let work: f64 = trace.demand.iter().sum();
            let serves: f64 = steps().map(|(_, units)| units).sum();
            // One flip in eight minutes is more than twelve a day.
            let fell = schedule.windows(2).position(|pair| pair[1] < pair[0]).unwrap_or(8);
            let flips = schedule.windows(2).skip(fell).any(|pair| pair[1] > pair[0]);
            !flips && above as f64 <= 0.15 * 48.0 && saturated == 0 && work / serves <= 0.755
        };
        let best = least(every_schedule(8, 1, 3).iter().filter(|s| keeps(s)).map(|s| bill(s, &trace, 120)));
        assert!(soft >= best - 1e-9, "{seed}: {soft} {best}");
        ratios.push(soft / best);
    }
    // On loads of minutes, prices leave gaps that they do not leave on days.
    assert!(ratios.len() >= 10 && compare::geometric_mean(&ratios).unwrap() < 1.1, "{ratios:?}");
}

#[test]
fn a_policy_that_knows_no_more_than_the_oracle_is_never_cheaper_at_its_promise() {
    let (trace, policy, setting) = (traces::wild(9, 8640), Policy::default(), Setting::default());
    let bench = Bench::new(&trace, &policy, &setting);
    let peak = bench.run(None, Runner::StaticPeak, &policy, false).scores;
    assert!(peak.cost_ratio > 1.0 && peak.breach80_ratio < 0.1, "{peak:?}");
}
