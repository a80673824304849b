//! Which pools a fleet buys from, and which it gives back to.

use crate::bench::{Bench, ME, START, fleet_of, pool, secs};
use fleet::{Activity, AllocationStrategy, Backend, ExcessCapacity, HistoryKind, Pool, UsdPerHour};
use fleet_sim::{Delay, DepthWindow, EventKind, FleetRequest, FleetSpec, PoolSpec, RecordType, WorldSpec};

use AllocationStrategy::{
    CapacityOptimized, CapacityOptimizedPrioritized, Diversified, LowestPrice, PriceCapacityOptimized,
};

/// Cheap and shallow, dear and deep, and one in between of each.
fn three_pools() -> Vec<PoolSpec> {
    vec![
        PoolSpec { depth: 4, ..pool("m5.large", 30_000) },
        PoolSpec { depth: 60, ..pool("c5.large", 50_000) },
        PoolSpec { depth: 40, ..pool("r5.large", 40_000) },
    ]
}

fn names() -> [Pool; 3] {
    ["m5.large", "c5.large", "r5.large"].map(|kind| Pool::spot(kind, "eu-west-1a"))
}

fn bench(strategy: AllocationStrategy, initial: u32) -> Bench {
    let spec = WorldSpec { pools: three_pools(), ..WorldSpec::default() };
    let request = FleetRequest { strategy, ..FleetRequest::default() };
    Bench::new(spec, FleetSpec { request, ..fleet_of(initial) })
}

#[test]
fn each_strategy_buys_in_its_own_order() {
    for (strategy, spread) in [
        (LowestPrice, [4, 0, 2]),
        (Diversified, [2, 2, 2]),
        (CapacityOptimized, [0, 6, 0]),
        (CapacityOptimizedPrioritized, [0, 6, 0]),
        (PriceCapacityOptimized, [0, 0, 6]),
    ] {
        assert_eq!(bench(strategy, 6).spread(&names()), spread, "{strategy:?}");
    }
}

#[test]
fn each_strategy_gives_back_by_its_own_order() {
    // What each holds at first is above; three of the six go.
    for (strategy, spread) in [
        (LowestPrice, [3, 0, 0]),
        (Diversified, [1, 1, 1]),
        (CapacityOptimized, [0, 3, 0]),
        (PriceCapacityOptimized, [0, 0, 3]),
    ] {
        let mut bench = bench(strategy, 6);
        bench.set(3, ExcessCapacity::Termination);
        bench.pass(120);
        assert_eq!(bench.spread(&names()), spread, "{strategy:?}");
    }
    // Where a choice is left: capacityOptimized takes from the pool with the least left.
    let mut bench = bench(Diversified, 6);
    bench.world.set_depth(&names()[1], 2);
    bench.set(5, ExcessCapacity::Termination);
    bench.pass(120);
    assert_eq!(bench.spread(&names()), [1, 2, 2], "the first of the fullest pools");
}

#[test]
fn the_least_available_and_among_these_the_dearest_goes_first() {
    let spec = WorldSpec {
        pools: vec![
            PoolSpec { depth: 3, ..pool("m5.large", 30_000) },
            PoolSpec { depth: 4, ..pool("c5.large", 50_000) },
            PoolSpec { depth: 40, ..pool("r5.large", 90_000) },
        ],
        ..WorldSpec::default()
    };
    for (strategy, spread) in [(CapacityOptimized, [1, 2, 2]), (PriceCapacityOptimized, [2, 1, 2])] {
        // Spread evenly first; 1, 2 and 38 are left.
        let overrides = ["m5.large", "c5.large", "r5.large"].map(|kind| fleet_sim::override_of(kind, 1.0));
        let request = FleetRequest { strategy, overrides: overrides.into(), ..FleetRequest::default() };
        let mut bench = Bench::new(spec.clone(), FleetSpec { request, ..fleet_of(0) });
        for (kept, all) in [(0, 2), (1, 4), (2, 6)] {
            // Only one pool has anything to give at a time, so that the fleet holds two of each.
            for (place, name) in names().iter().enumerate() {
                bench.world.set_depth(name, if place == kept { 40 } else { 0 });
            }
            bench.set(all, ExcessCapacity::NoTermination);
        }
        for (name, depth) in names().iter().zip([3, 4, 40]) {
            bench.world.set_depth(name, depth);
        }
        assert_eq!(bench.spread(&names()), [2, 2, 2]);
        bench.set(5, ExcessCapacity::Termination);
        bench.pass(120);
        assert_eq!(bench.spread(&names()), spread, "{strategy:?}");
    }
}

#[test]
fn diversified_does_not_buy_where_spot_is_as_dear_as_on_demand() {
    let mut pools = three_pools();
    pools[2].on_demand_price = Some(UsdPerHour::from_micros(40_000));
    let spec = WorldSpec { pools, ..WorldSpec::default() };
    let request = FleetRequest { strategy: Diversified, ..FleetRequest::default() };
    let bench = Bench::new(spec, FleetSpec { request, ..fleet_of(6) });
    assert_eq!(bench.spread(&names()), [3, 3, 0]);
}

#[test]
fn price_counts_by_unit_of_weight() {
    let spec = WorldSpec { pools: three_pools(), ..WorldSpec::default() };
    let overrides = [("m5.large", 1.0), ("c5.large", 2.0), ("r5.large", 1.0)];
    let overrides = overrides.map(|(kind, weight)| fleet_sim::override_of(kind, weight)).into();
    let request = FleetRequest { strategy: LowestPrice, overrides, ..FleetRequest::default() };
    let bench = Bench::new(spec, FleetSpec { request, ..fleet_of(4) });
    assert_eq!(bench.spread(&names()), [0, 2, 0], "0.05 for two is less than 0.03 for one");
}

#[test]
fn a_pool_that_is_out_of_capacity_is_reported_and_another_is_taken() {
    let mut pools = three_pools();
    pools[0].depth = 40;
    pools[0].windows = vec![DepthWindow { from: secs(100), until: secs(700), depth: 2 }];
    let spec = WorldSpec { pools, ..WorldSpec::default() };
    let request = FleetRequest { strategy: LowestPrice, ..FleetRequest::default() };
    let mut bench = Bench::new(spec, FleetSpec { request, ..fleet_of(2) });
    bench.pass(200);
    bench.set(4, ExcessCapacity::NoTermination);
    assert_eq!(bench.spread(&names()), [2, 0, 2], "the cheapest is out, the next cheapest is not");
    let fleet = bench.fleet.clone();
    let lines = bench.world.history(ME, Backend::SpotFleet, &fleet, START).expect("a history");
    let lines: Vec<_> = lines.into_iter().filter(|line| line.no_capacity.is_some()).collect();
    assert_eq!(lines.len(), 1, "said once for each time of asking");
    assert_eq!(
        (lines[0].record_type, lines[0].sub_type),
        (RecordType::Error, "spotFleetRequestConfigurationInvalid")
    );
    assert!(
        lines[0].description.contains("m5.large")
            && lines[0].description.contains("InsufficientInstanceCapacity")
    );
    let expected = HistoryKind::NoCapacity {
        instance_type: Some("m5.large".into()),
        zone: Some("eu-west-1a".into()),
        price: Some(UsdPerHour::from_micros(30_000)),
    };
    assert_eq!(lines[0].to_event().kind, expected);
    let carried = bench.world.events_since(0).any(|event| match &event.kind {
        EventKind::Fleet { record, .. } => *record == lines[0],
        _ => false,
    });
    assert!(carried, "EventBridge says it too");
    bench.pass(600);
    bench.set(5, ExcessCapacity::NoTermination);
    assert_eq!(bench.spread(&names()), [3, 0, 2], "the window is over");
}

#[test]
fn a_fleet_that_finds_nothing_asks_again_until_it_does() {
    let mut pools = three_pools();
    for pool in &mut pools {
        pool.windows = vec![DepthWindow { from: secs(0), until: secs(100), depth: 0 }];
    }
    let spec = WorldSpec { pools, ..WorldSpec::default() };
    let request = FleetRequest { target: 2, ..FleetRequest::default() };
    let mut bench = Bench::new(spec, FleetSpec { request, ..fleet_of(0) });
    bench.pass(100);
    assert_eq!((bench.sizes(), bench.view().activity), ((0, 0, 0), Some(Activity::Error)));
    bench.pass(20);
    assert_eq!(bench.sizes(), (2, 0, 0), "asked every 30 s");
    bench.pass(120);
    assert_eq!((bench.sizes(), bench.view().activity), ((0, 0, 2), Some(Activity::Fulfilled)));
    let errors = bench.history().into_iter().filter(|(kind, _)| kind.starts_with("spotFleetRequest")).count();
    assert_eq!(errors, 3 * 4, "three pools, asked at 0, 30, 60 and 90 s");
}

#[test]
fn a_request_fails_when_its_pool_runs_out_before_it_comes_through() {
    let mut spec = WorldSpec { pools: three_pools(), ..WorldSpec::default() };
    spec.timing.fulfilment = Delay::Constant(secs(60));
    spec.pools[2].windows = vec![DepthWindow { from: secs(30), until: secs(3600), depth: 0 }];
    let mut bench = Bench::new(spec, FleetSpec { request: FleetRequest::default(), ..fleet_of(0) });
    bench.set(2, ExcessCapacity::NoTermination);
    assert_eq!(bench.spread(&names()), [0, 0, 2]);
    bench.pass(50);
    assert_eq!((bench.spread(&names()), bench.sizes()), (vec![0, 2, 0], (2, 0, 0)), "asked elsewhere");
    bench.pass(120);
    assert_eq!(bench.sizes(), (0, 0, 2));
}

#[test]
fn of_windows_that_overlap_the_shallowest_holds() {
    let window = |from, until, depth| DepthWindow { from: secs(from), until: secs(until), depth };
    let mut spec = WorldSpec { pools: three_pools(), ..WorldSpec::default() };
    spec.pools.truncate(1);
    spec.pools[0].windows = vec![window(0, 500, 1), window(0, 1000, 3), window(0, 2000, 50)];
    let mut bench = Bench::new(spec, fleet_of(0));
    bench.set(9, ExcessCapacity::NoTermination);
    for (until, given) in [(400, 1), (900, 3), (1900, 4), (2500, 4)] {
        bench.world.advance(START + secs(until));
        assert_eq!(bench.spread(&names()[..1]), [given], "at {until} s");
    }
}

#[test]
fn fleets_share_the_depth_of_their_pools() {
    let mut spec =
        WorldSpec { pools: vec![PoolSpec { depth: 5, ..pool("m5.large", 30_000) }], ..WorldSpec::default() };
    spec.fleets = vec![fleet_of(3), fleet_of(4)];
    let world = fleet_sim::World::new(spec, 1, START);
    let sizes: Vec<_> =
        world.fleets().iter().filter_map(|f| world.truth(&f.id)).map(|t| t.in_service).collect();
    assert_eq!(sizes, [3, 2]);
}
