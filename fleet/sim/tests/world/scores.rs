//! What a run cost and how it went, against sums made by hand.

use crate::bench::{Bench, fleet_of, one_pool, secs, step};
use fleet::{ExcessCapacity, UsdPerHour};
use fleet_sim::{Demand, FleetSpec, Scores};

const KEEP: ExcessCapacity = ExcessCapacity::NoTermination;

fn scores(bench: &Bench) -> Scores {
    bench.world.scores(&bench.fleet).expect("scores")
}

fn near(value: f64, expected: f64) -> bool {
    (value - expected).abs() < 1e-9
}

#[test]
fn a_steady_hour_costs_what_its_instances_cost() {
    let mut spec = one_pool();
    spec.pools[0].on_demand_price = Some(UsdPerHour::from_micros(100_000));
    let mut bench = Bench::new(spec, FleetSpec { load: Demand::constant(2.9), ..fleet_of(4) });
    bench.pass(3600);
    let scores = scores(&bench);
    assert!(
        near(scores.hours, 1.0) && near(scores.cost_unit_hours, 4.0) && near(scores.ideal_unit_hours, 4.0)
    );
    assert!(near(scores.cost_usd, 0.16) && scores.on_demand_usd.is_some_and(|usd| near(usd, 0.4)));
    assert!(near(scores.mean_utilization, 0.725) && near(scores.mean_abs_error_ratio, 0.025));
    assert_eq!((scores.breach80_ratio, scores.saturated_ratio, scores.unserved_ratio), (0.0, 0.0, 0.0));
    assert_eq!((scores.actions, scores.flips), (0, 0));
}

#[test]
fn breach_and_saturation_are_shares_of_time() {
    let mut bench = Bench::new(one_pool(), FleetSpec { load: step(3.0, 1800, 3.3), ..fleet_of(4) });
    bench.pass(3600);
    let calm = scores(&bench);
    assert!(near(calm.breach80_ratio, 0.5) && near(calm.saturated_ratio, 0.0), "{calm:?}");
    let mut bench = Bench::new(one_pool(), FleetSpec { load: Demand::constant(3.2), ..fleet_of(4) });
    bench.pass(3600);
    assert_eq!(scores(&bench).breach80_ratio, 0.0, "just 80 % is not above it");
    let mut bench = Bench::new(one_pool(), FleetSpec { load: step(3.0, 2700, 6.0), ..fleet_of(4) });
    bench.pass(3600);
    let scores = scores(&bench);
    assert!(near(scores.breach80_ratio, 0.25) && near(scores.saturated_ratio, 0.25));
    // 20 unit-seconds more than can be served come every step; 120 wait, the rest is dropped.
    let came = 2700.0 * 3.0 + 900.0 * 6.0;
    assert!((scores.unserved_ratio - (900.0 * 2.0 - 120.0) / came).abs() < 1e-5, "{scores:?}");
    assert!((scores.queue_over_1s_ratio - 0.25).abs() < 0.003);
    assert!(near(scores.static_peak_unit_hours, 8.0));
}

#[test]
fn an_instance_is_billed_from_its_request_and_for_a_minute_at_least() {
    let mut bench = Bench::simple(1);
    bench.pass(600);
    bench.modify(2, KEEP);
    bench.pass(10);
    let newest = bench.world.instance_truths(&bench.fleet)[1].id.clone();
    bench.modify(1, KEEP);
    bench.terminate(&[newest]);
    bench.pass(590);
    let cost = scores(&bench).cost_unit_hours;
    assert!(near(cost, (1200.0 + 60.0) / 3600.0), "{cost}");
}

#[test]
fn a_scale_out_soon_after_a_scale_in_is_a_flip() {
    for (pause, flips) in [(410, 1), (430, 0)] {
        let mut bench = Bench::simple(3);
        bench.set(2, KEEP);
        // Boot (120 s) and 5 min count from the scale-in, 10 s ago.
        bench.pass(pause - 10);
        bench.set(3, KEEP);
        bench.set(4, KEEP);
        let scores = scores(&bench);
        assert_eq!((scores.actions, scores.flips), (3, flips), "after {pause} s");
    }
    let mut bench = Bench::simple(3);
    bench.set(3, ExcessCapacity::Termination);
    assert_eq!(scores(&bench).actions, 0, "the target did not change");
}

#[test]
fn scores_can_begin_anew() {
    let mut bench = Bench::new(one_pool(), FleetSpec { load: step(6.0, 3600, 2.0), ..fleet_of(4) });
    bench.pass(3600);
    bench.world.reset_scores();
    bench.pass(1800);
    let scores = scores(&bench);
    assert!(near(scores.hours, 0.5) && near(scores.cost_unit_hours, 2.0));
    assert!(near(scores.saturated_ratio, 0.0) && scores.unserved_ratio == 0.0, "{scores:?}");
}

#[test]
fn power_may_differ_from_weight() {
    let mut spec = one_pool();
    spec.pools[0].power = Some(2.0);
    let mut bench = Bench::new(spec, FleetSpec { load: Demand::constant(6.0), ..fleet_of(4) });
    bench.world.advance(bench.world.now() + secs(3600));
    assert!(near(scores(&bench).mean_utilization, 0.75) && near(scores(&bench).cost_unit_hours, 4.0));
}
