//! On-demand capacity in place of spot that does not come: what it costs is shown.

use fleet::{Market, UsdPerHour};
use fleet_sim::{Demand, PoolSpec};
use muster_worlds::harness::{Harness, fleet, minutes, secs, world};

#[test]
fn what_stands_in_for_spot_is_shown_with_its_cost_by_the_policys_prices() {
    let load = Demand::points([(minutes(20), 2.8), (minutes(21), 5.6)]);
    let mut spec = world(vec![fleet(4, load)]);
    // Spot has what runs, and no more.
    spec.pools.iter_mut().for_each(|pool| pool.depth = 1);
    let price = UsdPerHour::from_micros(107_000);
    let of_list = PoolSpec::spot("m5.large", "eu-west-1a", price);
    spec.pools.push(PoolSpec { market: Market::OnDemand, depth: 20, ..of_list });
    let mut harness = Harness::new(spec, 1).policy(|policy| {
        policy.on_demand.fallback = 3;
        policy.on_demand.after = secs(60);
    });
    harness.policies[0].base.on_demand.prices = [("m5.large".into(), price)].into();
    harness.run_until(minutes(60));
    let fallback = harness.status(0).fallback.expect("something stands in");
    let each = |units: u32| u64::from(units) * 107_000;
    assert_eq!(fallback.cost, Some(UsdPerHour::from_micros(each(fallback.units))), "{fallback:?}");
    let extra = fallback.extra.expect("spot's prices are read").micros();
    let cheapest = u64::from(fallback.units) * 37_500;
    assert!(extra > 0 && extra < each(fallback.units) - cheapest, "{fallback:?}");
    harness.policies[0].base.on_demand.prices.clear();
    harness.reload();
    harness.run_until(minutes(62));
    let unpriced = harness.status(0).fallback.expect("it still does");
    assert_eq!((unpriced.cost, unpriced.extra), (None, None), "nobody says what it costs");
    harness.conclude();
}
