//! The world behind the ports.

use crate::bench::{Bench, START, fleet_of, one_pool, secs};
use fleet::ports::{Answer, Change, Cloud, MetricQuery, Metrics};
use fleet::{Backend, ExcessCapacity, FleetRef, InstanceState, Utilization};
use fleet_sim::port::SimCloud;
use fleet_sim::{Action, Demand, FleetSpec};
use std::task::{Context, Poll, Waker};

/// The ports of a world without HTTP are always ready.
fn now<T>(mut answer: Answer<'_, T>) -> T {
    match answer.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(answer) => answer.expect("an answer"),
        Poll::Pending => unreachable!("the world answers at once"),
    }
}

fn cloud() -> (SimCloud, FleetRef) {
    let load = Demand::constant(2.25);
    let bench = Bench::new(one_pool(), FleetSpec { load, ..fleet_of(3) });
    (SimCloud::new(bench.world, "engine"), FleetRef { backend: Backend::SpotFleet, id: bench.fleet })
}

fn pass(cloud: &SimCloud, seconds: u64) {
    let mut world = cloud.world();
    let to = world.now() + secs(seconds);
    world.advance(to);
}

#[test]
fn a_change_through_the_port_never_lets_the_fleet_terminate() {
    let (cloud, fleet) = cloud();
    now(cloud.modify(&fleet, Change::of_target(2, 0)));
    let views = now(cloud.describe_fleets(&[Backend::SpotFleet, Backend::Ec2Fleet]));
    assert_eq!((views.len(), views[0].target, views[0].excess), (1, 2, ExcessCapacity::NoTermination));
    pass(&cloud, 300);
    assert_eq!(now(cloud.fleet_instances(&fleet)).len(), 3);
}

#[test]
fn a_removal_through_the_port_ends_with_one_instance_less() {
    let (cloud, fleet) = cloud();
    now(cloud.modify(&fleet, Change::of_target(2, 0)));
    pass(&cloud, 10);
    let fleets = [fleet.clone()];
    let victim = now(cloud.describe_instances(&fleets))[1].id.clone();
    let ended = now(cloud.terminate(std::slice::from_ref(&victim)));
    assert_eq!(ended, [(victim.clone(), InstanceState::ShuttingDown)]);
    pass(&cloud, 300);
    let left = now(cloud.describe_instances(&fleets));
    assert!(
        left.len() == 2 && left.iter().all(|instance| instance.id != victim),
        "terminated ones are left out"
    );
    let history = now(cloud.history(&fleet, START));
    assert!(history.iter().any(|event| event.instance.as_ref() == Some(&victim)));
    assert_eq!(cloud.world().calls().of("engine", Action::TERMINATE_INSTANCES).calls, 1);
}

#[test]
fn metrics_come_as_shares_with_their_real_period() {
    let (cloud, fleet) = cloud();
    pass(&cloud, 240);
    let custom = MetricQuery::Custom {
        namespace: "web".to_owned(),
        metric: "busy".to_owned(),
        statistic: "Average".to_owned(),
        dimensions: Vec::new(),
    };
    let to = cloud.world().now();
    let series = now(cloud.read(&[custom, MetricQuery::FleetCpu(fleet)], START, to));
    assert_eq!(
        (series[0].period, series[0].points.len()),
        (None, 0),
        "the operator's own are not measured here"
    );
    assert_eq!(series[1].period, Some(secs(60)));
    assert_eq!(series[1].points[0], (START, Utilization::new(0.75)));
}

#[test]
fn everybody_calls_under_their_own_name() {
    let (cloud, fleet) = cloud();
    let other = cloud.caller("somebody");
    cloud.world().register_scalable_target(&fleet.id);
    assert_eq!(now(other.scalable_targets(std::slice::from_ref(&fleet))), [fleet]);
    assert_eq!(now(other.spot_prices(&[])).len(), 1);
    let calls = cloud.world().calls().clone();
    assert_eq!((calls.total("engine"), calls.total("somebody")), (0, 2));
}
