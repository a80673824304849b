//! A thousand fleets in one engine.

use fleet_sim::Demand;
use muster_worlds::harness::{Harness, fleet, minutes, world};

#[test]
fn a_thousand_fleets_are_each_decided_upon_in_every_cycle() {
    let fleets = (0..1000_u32).map(|number| fleet(2, Demand::constant(1.0 + f64::from(number % 7) / 10.0)));
    let mut spec = world(fleets.collect());
    spec.pools.iter_mut().for_each(|pool| pool.depth = 5000);
    // The describes are few, but each agent speaks every ten seconds.
    spec.throttling = false;
    let mut harness = Harness::new(spec, 1);
    harness.run_until(minutes(10));
    let cycles = |harness: &Harness| harness.engine.as_ref().expect("a process runs").metrics().cycles;
    let before = cycles(&harness);
    harness.run_until(minutes(12));
    let made = cycles(&harness) - before;
    assert!((11_000..=14_500).contains(&made), "{made} cycles of 12 for each of 1000 fleets");
    let now = harness.now();
    let engine = harness.engine.as_ref().expect("a process runs");
    let status = engine.status(now);
    let old = status.fleets.iter().filter(|f| {
        f.decided
            .as_ref()
            .is_none_or(|decided| now.wall.since(decided.at) > std::time::Duration::from_secs(12))
    });
    assert_eq!(old.count(), 0);
    harness.conclude();
}
