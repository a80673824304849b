//! Somebody else at the same fleet.

use crate::bench::{Bench, ME};
use fleet::{Backend, FleetRef};
use fleet_sim::{Action, ModifyFleet};

#[test]
fn a_scalable_target_is_shown_once_it_is_registered() {
    let mut bench = Bench::simple(1);
    assert_eq!(bench.world.scalable_targets(ME), Ok(vec![]));
    bench.world.register_scalable_target(&bench.fleet.clone());
    let target = FleetRef { backend: Backend::SpotFleet, id: bench.fleet.clone() };
    assert_eq!(bench.world.scalable_targets(ME), Ok(vec![target]));
}

#[test]
fn calls_are_counted_by_who_made_them() {
    let mut bench = Bench::simple(1);
    bench.view();
    let fleet = bench.fleet.clone();
    let change = ModifyFleet { target: Some(4), ..ModifyFleet::default() };
    for _ in 0..2 {
        let _ = bench.world.modify_fleet("somebody", Backend::SpotFleet, &fleet, change);
    }
    let calls = bench.world.calls();
    assert_eq!((calls.total(ME), calls.total("somebody"), calls.total("nobody")), (1, 2, 0));
    let count = calls.of("somebody", Action::MODIFY_SPOT_FLEET_REQUEST);
    assert_eq!((count.calls, count.failed, count.throttled), (2, 1, 0));
    let all: Vec<_> = calls.iter().map(|(caller, action, count)| (caller, action.0, count.calls)).collect();
    assert_eq!(all, [(ME, "DescribeSpotFleetRequests", 1), ("somebody", "ModifySpotFleetRequest", 2)]);
}
