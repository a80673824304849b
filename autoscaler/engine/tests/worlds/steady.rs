//! When nothing happens, nothing is done; and little is asked.

use fleet_sim::{Action, Demand, FleetSpec};
use muster_worlds::chance::Chance;
use muster_worlds::harness::{CALLER, Harness, fleet, minutes, secs, world};
use std::time::Duration;

/// `units` +-5 %, another value every ten seconds.
fn nearly_constant(units: f64, hours: u64, seed: u64) -> Demand {
    let mut chance = Chance::new(seed);
    Demand::points((0..=hours * 360).map(|step| (secs(step * 10), units * chance.within(0.95, 1.05))))
}

/// EC2's and CloudWatch's calls between two times, a minute.
fn calls_a_minute(harness: &mut Harness, from: Duration, until: Duration) -> f64 {
    let count = |harness: &Harness| {
        let calls = harness.world.calls();
        let others = calls.of(CALLER, Action::DESCRIBE_SCALABLE_TARGETS).calls;
        calls.total(CALLER) - others
    };
    harness.run_until(from);
    let before = count(harness);
    harness.run_until(until);
    let calls = u32::try_from(count(harness) - before).expect("few calls");
    f64::from(calls) * 60.0 / until.saturating_sub(from).as_secs_f64()
}

#[test]
fn a_day_of_nearly_constant_load_needs_no_action() {
    for (seed, units) in [(0, 6.0), (1, 3.3), (2, 8.6)] {
        let mut harness = Harness::new(world(vec![fleet(8, nearly_constant(units, 27, seed))]), seed);
        harness.run_until(minutes(120));
        let settled = harness.truth.modifications.len();
        harness.run_until(minutes(26 * 60));
        let actions = &harness.truth.modifications[settled..];
        assert!(actions.is_empty(), "{units} units: {actions:?}");
        harness.conclude();
    }
}

#[test]
fn one_steady_fleet_costs_less_than_three_calls_in_two_minutes() {
    let spec = || world(vec![fleet(8, Demand::constant(5.9))]);
    let mut read = Harness::new(spec(), 1).cloudwatch_only();
    let rate = calls_a_minute(&mut read, minutes(60), minutes(240));
    assert!(rate <= 1.5, "{rate} calls a minute where CloudWatch is read");
    let mut pushed = Harness::new(spec(), 1);
    let rate = calls_a_minute(&mut pushed, minutes(60), minutes(240));
    assert!(rate <= 0.5, "{rate} calls a minute where agents push");
}

#[test]
fn a_hundred_steady_fleets_share_their_calls() {
    let fleets: Vec<FleetSpec> = (0..100).map(|_| fleet(2, Demand::constant(1.4))).collect();
    let mut spec = world(fleets);
    spec.pools.iter_mut().for_each(|pool| pool.depth = 1000);
    let mut harness = Harness::new(spec, 1).cloudwatch_only();
    let rate = calls_a_minute(&mut harness, minutes(20), minutes(60)) / 100.0;
    assert!(rate <= 0.2, "{rate} calls a fleet-minute");
}

#[test]
fn the_first_decision_waits_neither_for_history_nor_for_a_tick() {
    let mut harness = Harness::new(world(vec![fleet(4, Demand::constant(3.0))]), 1);
    harness.run_until(Duration::from_millis(200));
    let decided = harness.status(0).decided.expect("it has decided");
    assert_eq!(decided.at, muster_worlds::harness::start() + Duration::from_millis(80));
    assert_eq!(decided.report.target, Some(4));
}

#[test]
fn a_steady_fleet_day_fits_into_two_megabytes() {
    let mut harness = Harness::new(world(vec![fleet(8, nearly_constant(5.9, 13, 7))]), 7);
    harness.run_until(minutes(12 * 60));
    let (cycles, checkpoints) = (harness.disk.bytes * 2, harness.disk.checkpoint_bytes * 2);
    let a_cycle = cycles / (8640);
    assert!(cycles + checkpoints <= 2_000_000, "{cycles} + {checkpoints} bytes a day");
    assert!(a_cycle <= 80, "{a_cycle} bytes a cycle");
}

#[test]
fn a_step_of_load_is_met_within_minutes() {
    let load = Demand::points([(minutes(30), 2.0), (minutes(31), 8.0)]);
    let mut harness = Harness::new(world(vec![fleet(3, load)]), 1);
    harness.run_until(minutes(40));
    harness.world.reset_scores();
    harness.run_until(minutes(60));
    let scores = harness.world.scores(&harness.id(0)).expect("it was scored");
    assert!(scores.breach80_ratio < 0.02, "{scores:?}");
    assert!(harness.truth_of(0).in_service >= 11, "{:?}", harness.truth_of(0));
    harness.conclude();
}
