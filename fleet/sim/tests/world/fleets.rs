//! What a fleet does about its target.

use crate::bench::{Bench, ME, START, fleet_of, one_pool, over, pool, secs};
use fleet::{
    Activity, Backend, ErrorClass, ExcessCapacity, FleetKind, FleetState, InstanceId, InstanceState, Market,
    UsdPerHour,
};
use fleet_sim::{Deletion, FleetRequest, FleetSpec, InstancePhase, ModifyFleet, PoolSpec, World, WorldSpec};

const KEEP: ExcessCapacity = ExcessCapacity::NoTermination;
const CUT: ExcessCapacity = ExcessCapacity::Termination;

#[test]
fn a_fleet_begins_with_what_its_demand_needs_at_the_target() {
    let load = fleet_sim::Demand::constant(4.6);
    let bench = Bench::new(one_pool(), FleetSpec { load, ..FleetSpec::default() });
    assert_eq!(bench.sizes(), (0, 0, 7), "ceil(4.6 / 0.75)");
}

#[test]
fn an_instance_is_pending_then_runs_and_serves_after_the_whole_delay() {
    let mut bench = Bench::simple(1);
    bench.modify(2, KEEP);
    for (until, sizes, states) in [
        (4, (1, 0, 1), vec![InstanceState::Running]),
        (5, (0, 1, 1), vec![InstanceState::Running, InstanceState::Pending]),
        (10, (0, 1, 1), vec![InstanceState::Running, InstanceState::Running]),
        (119, (0, 1, 1), vec![InstanceState::Running, InstanceState::Running]),
        (120, (0, 0, 2), vec![InstanceState::Running, InstanceState::Running]),
    ] {
        bench.world.advance(START + secs(until));
        let shown: Vec<_> = bench.shown().into_iter().map(|instance| instance.state).collect();
        assert_eq!((bench.sizes(), shown), (sizes, states), "after {until} s");
    }
}

#[test]
fn a_modification_lasts_and_a_second_one_is_refused_meanwhile() {
    let mut bench = Bench::simple(1);
    bench.modify(2, KEEP);
    let view = bench.view();
    assert_eq!(
        (view.state, view.target, view.activity),
        (FleetState::Modifying, 2, Some(Activity::PendingFulfillment))
    );
    let fleet = bench.fleet.clone();
    let again = bench.world.modify_fleet(ME, Backend::SpotFleet, &fleet, ModifyFleet::default());
    let error = again.expect_err("it is being modified");
    assert_eq!(
        (error.class, error.code.as_deref()),
        (ErrorClass::Conflict, Some("FleetNotInModifiableState"))
    );
    bench.pass(10);
    let view = bench.view();
    assert_eq!((view.state, view.activity), (FleetState::Active, Some(Activity::Fulfilled)));
    bench.modify(3, KEEP);
}

#[test]
fn lowering_with_no_termination_leaves_the_fleet_at_its_size() {
    let mut bench = Bench::simple(5);
    bench.set(3, KEEP);
    bench.pass(3600);
    assert_eq!(bench.sizes(), (0, 0, 5));
    let view = bench.view();
    assert_eq!((view.target, view.fulfilled.get(), view.excess), (3, 5.0, KEEP));
}

#[test]
fn losses_above_the_target_are_not_replaced_and_losses_below_it_are() {
    let mut bench = Bench::simple(5);
    bench.set(4, KEEP);
    let serving = bench.serving();
    bench.terminate(&serving[..1]);
    bench.pass(300);
    assert_eq!(bench.sizes(), (0, 0, 4), "five were one too many");
    bench.terminate(&serving[1..2]);
    assert_eq!(bench.sizes(), (1, 0, 3), "asked for at once");
    bench.pass(120);
    assert_eq!(bench.sizes(), (0, 0, 4));
}

#[test]
fn terminating_before_lowering_buys_a_replacement_and_leaves_the_fleet_too_large() {
    let mut bench = Bench::simple(3);
    let victim = bench.serving()[0].clone();
    bench.terminate(&[victim]);
    bench.pass(5);
    bench.set(2, KEEP);
    bench.pass(600);
    assert_eq!(bench.sizes(), (0, 0, 3), "the replacement is there, and nothing takes it away");
}

#[test]
fn lowering_cancels_open_requests_first_under_either_policy() {
    for excess in [KEEP, CUT] {
        let mut bench = Bench::simple(3);
        bench.set(8, KEEP);
        bench.pass(600);
        bench.modify(12, KEEP);
        assert_eq!(bench.sizes(), (4, 0, 8));
        // The fulfilment takes longer than the modification here, so that the requests are still open.
        let mut bench = Bench::new(slow_fulfilment(), fleet_of(3));
        bench.set(6, KEEP);
        assert_eq!(bench.sizes(), (3, 0, 3));
        bench.set(4, excess);
        assert_eq!(bench.sizes(), (1, 0, 3), "{excess:?}");
        assert_eq!(bench.warned(), [], "no instance had to go");
        let cost = bench.world.scores(&bench.fleet).expect("scores").cost_unit_hours;
        assert!((cost - 3.0 / 60.0).abs() < 1e-9, "what never came is not billed: {cost}");
    }
}

#[test]
fn an_open_request_that_is_needed_for_the_target_is_not_cancelled() {
    let request = over(&[("m5.large", 2.5)]);
    let mut bench = Bench::new(slow_fulfilment(), FleetSpec { request, ..fleet_of(0) });
    bench.set(7, KEEP);
    let requests = bench.in_phase(InstancePhase::Requested);
    bench.set(6, KEEP);
    assert_eq!(bench.in_phase(InstancePhase::Requested), requests, "two would be 5.0");
    bench.set(5, KEEP);
    assert_eq!(bench.in_phase(InstancePhase::Requested), requests[..2], "the newest goes first");
}

#[test]
fn fulfilment_is_part_of_the_whole_delay() {
    let mut spec = slow_fulfilment();
    spec.timing.boot = fleet_sim::Delay::Constant(secs(40));
    let mut bench = Bench::new(spec, fleet_of(1));
    bench.modify(2, KEEP);
    bench.pass(39);
    assert_eq!(bench.sizes(), (1, 0, 1));
    bench.pass(1);
    assert_eq!(bench.sizes(), (0, 0, 2), "the whole delay is the shorter one, and holds");
}

#[test]
fn a_request_is_no_instance_yet() {
    let mut bench = Bench::new(slow_fulfilment(), fleet_of(1));
    bench.modify(2, KEEP);
    let request = bench.in_phase(InstancePhase::Requested)[0].id.clone();
    let error = bench.world.terminate_instances(ME, &[request]).expect_err("there is nothing to end");
    assert_eq!(error.class, ErrorClass::NotFound);
}

fn slow_fulfilment() -> WorldSpec {
    let mut spec = one_pool();
    spec.timing.fulfilment = fleet_sim::Delay::Constant(secs(60));
    spec
}

#[test]
fn lowering_with_termination_gives_instances_back_with_a_notice_each() {
    let mut bench = Bench::simple(5);
    bench.modify(3, CUT);
    bench.pass(1);
    let warned = bench.warned();
    assert_eq!(warned.len(), 2);
    let notices = bench.world.notices(&warned[0]).expect("it runs still");
    assert_eq!(notices.terminate_at, Some(START + secs(120)));
    assert_eq!((bench.sizes(), bench.view().fulfilled.get()), ((0, 0, 5), 3.0));
    assert_eq!(bench.view().activity, Some(Activity::PendingTermination));
    let notified: Vec<_> =
        bench.history().into_iter().filter(|(kind, _)| *kind == "termination_notified").collect();
    assert_eq!(notified.len(), 2);
    bench.pass(600);
    assert_eq!(bench.sizes(), (0, 0, 3), "gone, and not replaced");
    assert_eq!(bench.view().activity, Some(Activity::Fulfilled));
    let ended: Vec<InstanceId> =
        bench.in_phase(InstancePhase::Gone).into_iter().map(|gone| gone.id).collect();
    assert!(warned.iter().all(|id| ended.contains(id)));
    let truths = bench.world.instance_truths(&bench.fleet);
    let by_fleet = |id: &InstanceId| {
        truths.iter().any(|i| i.id == *id && i.interruption.is_some_and(|end| end.by_fleet))
    };
    assert!(warned.iter().all(by_fleet));
}

#[test]
fn a_fleet_back_on_termination_gives_back_what_it_had_kept() {
    let mut bench = Bench::simple(5);
    bench.set(3, KEEP);
    bench.set(3, CUT);
    assert_eq!(bench.warned().len(), 2, "never leave the fleet on it with a target below its size");
}

#[test]
fn weights_overshoot_the_target_and_may_be_fractional() {
    let request = FleetRequest { target: 7, ..over(&[("m5.large", 2.5)]) };
    let mut bench = Bench::new(one_pool(), FleetSpec { request, initial: Some(0), ..FleetSpec::default() });
    bench.pass(120);
    assert_eq!((bench.sizes(), bench.view().fulfilled.get()), ((0, 0, 3), 7.5));
    // Never below the target: a lighter fleet of 5.0 would do for 5, but not for 6.
    bench.set(6, CUT);
    assert_eq!(bench.warned().len(), 0);
    bench.set(5, CUT);
    assert_eq!(bench.warned().len(), 1);
    assert_eq!(bench.view().fulfilled.get(), 5.0);
}

#[test]
fn the_on_demand_part_is_bought_and_kept_by_itself() {
    let mut spec = one_pool();
    let on_demand = PoolSpec { market: Market::OnDemand, ..pool("m5.large", 107_000) };
    spec.pools.push(on_demand);
    let request = FleetRequest { target: 6, on_demand_target: 2, ..FleetRequest::default() };
    let mut bench = Bench::new(spec, FleetSpec { request, initial: Some(6), ..FleetSpec::default() });
    let markets = |bench: &Bench| {
        let alive = bench.in_phase(InstancePhase::InService);
        let on_demand = alive.iter().filter(|i| i.pool.market == Market::OnDemand).count();
        (on_demand, alive.len() - on_demand)
    };
    assert_eq!(markets(&bench), (2, 4));
    let truths = bench.in_phase(InstancePhase::InService);
    let victim = truths.iter().find(|i| i.pool.market == Market::OnDemand).expect("one of two").id.clone();
    bench.terminate(&[victim]);
    bench.pass(120);
    assert_eq!(markets(&bench), (2, 4), "replaced in its own market");
    let fleet = bench.fleet.clone();
    let change = ModifyFleet { target: Some(5), on_demand_target: Some(1), excess: Some(CUT), launch: None };
    bench.world.modify_fleet(ME, Backend::SpotFleet, &fleet, change).expect("modified");
    bench.pass(600);
    assert_eq!(markets(&bench), (1, 4));
    assert_eq!(bench.warned(), [], "on-demand instances go without a notice");
}

#[test]
fn a_new_fleet_is_submitted_then_buys() {
    let mut world = World::new(one_pool(), 1, START);
    for backend in [Backend::SpotFleet, Backend::Ec2Fleet] {
        let request = FleetRequest { backend, target: 2, ..FleetRequest::default() };
        let fleet = world.create_fleet(ME, request).expect("created");
        let prefix = if backend == Backend::SpotFleet { "sfr-" } else { "fleet-" };
        assert!(fleet.as_str().starts_with(prefix) && fleet.as_str().len() == prefix.len() + 36, "{fleet}");
        let state = |world: &mut World| {
            world.describe_fleets(ME, backend, std::slice::from_ref(&fleet)).expect("described")[0].state
        };
        assert_eq!(state(&mut world), FleetState::Submitted);
        let change = ModifyFleet { target: Some(3), ..ModifyFleet::default() };
        let modified = world.modify_fleet(ME, backend, &fleet, change);
        assert_eq!(modified.is_ok(), backend == Backend::Ec2Fleet, "only EC2 Fleet can be modified already");
        world.advance(world.now() + secs(150));
        assert_eq!(state(&mut world), FleetState::Active);
        let serving = world.truth(&fleet).expect("known").in_service;
        assert_eq!(serving, if backend == Backend::Ec2Fleet { 3 } else { 2 });
    }
}

#[test]
fn a_request_fleet_asks_once_and_cannot_be_modified() {
    let request = FleetRequest { kind: FleetKind::Request, target: 2, ..FleetRequest::default() };
    let mut bench = Bench::new(one_pool(), FleetSpec { request, initial: Some(0), ..FleetSpec::default() });
    bench.pass(120);
    assert_eq!(bench.sizes(), (0, 0, 2));
    let serving = bench.serving();
    bench.terminate(&serving[..1]);
    bench.pass(600);
    assert_eq!(bench.sizes(), (0, 0, 1), "what is lost is lost");
    let fleet = bench.fleet.clone();
    let error = bench.world.modify_fleet(ME, Backend::SpotFleet, &fleet, ModifyFleet::default());
    assert_eq!(error.expect_err("not maintain").code.as_deref(), Some("FleetNotInModifiableState"));
}

#[test]
fn a_deleted_fleet_keeps_or_ends_its_instances_and_buys_no_more() {
    for (terminate, deletion, left) in [(false, Deletion::Running, 3), (true, Deletion::Terminating, 0)] {
        let mut bench = Bench::new(slow_fulfilment(), fleet_of(3));
        bench.set(5, KEEP);
        let fleet = bench.fleet.clone();
        let deleted = bench.world.delete_fleet(ME, Backend::SpotFleet, &fleet, terminate);
        assert_eq!(deleted, Ok(deletion));
        assert_eq!(bench.sizes(), (0, 0, left), "its open requests are closed");
        assert_eq!(bench.view().state, FleetState::Deleted);
        let serving = bench.serving();
        bench.terminate(&serving);
        bench.pass(29);
        assert_eq!(bench.world.deletion(&fleet), Some(deletion), "they are shutting down");
        bench.pass(1);
        assert_eq!((bench.sizes(), bench.world.deletion(&fleet)), ((0, 0, 0), Some(Deletion::Gone)));
        let again = bench.world.delete_fleet(ME, Backend::SpotFleet, &fleet, terminate);
        assert_eq!(again.expect_err("deleted already").class, ErrorClass::Conflict);
        bench.pass(49 * 3600);
        let all = bench.world.describe_fleets(ME, Backend::SpotFleet, &[]).expect("described");
        assert_eq!(all, [], "shown for two days");
    }
}

#[test]
fn a_fleet_ends_by_itself_when_its_time_is_over() {
    let request = FleetRequest {
        valid_until: Some(START + secs(3600)),
        terminate_on_expiry: true,
        ..FleetRequest::default()
    };
    let mut bench = Bench::new(one_pool(), FleetSpec { request, ..fleet_of(2) });
    bench.pass(3599);
    assert_eq!(bench.view().state, FleetState::Active);
    bench.pass(1);
    assert_eq!((bench.view().state, bench.sizes()), (FleetState::Deleted, (0, 0, 0)));
    assert!(bench.history().iter().any(|(kind, _)| *kind == "expired"));
}

#[test]
fn terminating_is_all_or_none_and_may_be_repeated() {
    let mut bench = Bench::simple(2);
    let mut ids = bench.serving();
    ids.push("i-00000000000000000".into());
    let error = bench.world.terminate_instances(ME, &ids).expect_err("one is unknown");
    assert_eq!(
        (error.class, error.code.as_deref()),
        (ErrorClass::NotFound, Some("InvalidInstanceID.NotFound"))
    );
    assert_eq!(bench.sizes(), (0, 0, 2), "none was touched");
    let ended = bench.world.terminate_instances(ME, &ids[..1]).expect("terminated");
    assert_eq!((ended[0].previous, ended[0].current), (InstanceState::Running, InstanceState::ShuttingDown));
    let again = bench.world.terminate_instances(ME, &ids[..1]).expect("terminated already");
    assert_eq!(again[0].previous, InstanceState::ShuttingDown);
    bench.pass(120);
    assert_eq!(bench.sizes(), (0, 0, 2), "replaced once");
}

#[test]
fn what_has_ended_is_shown_for_a_while() {
    let mut bench = Bench::simple(1);
    let id = bench.serving()[0].clone();
    bench.terminate(std::slice::from_ref(&id));
    for (passed, state) in [
        (0, Some(InstanceState::ShuttingDown)),
        (29, Some(InstanceState::ShuttingDown)),
        (1, Some(InstanceState::Terminated)),
        (3599, Some(InstanceState::Terminated)),
        (1, None),
    ] {
        bench.pass(passed);
        assert_eq!(bench.state_of(&id), state);
    }
    let error = bench.world.describe_instances(ME, &[], &[id]).expect_err("forgotten");
    assert_eq!(error.code.as_deref(), Some("InvalidInstanceID.NotFound"));
}

#[test]
fn describes_lag_and_show_one_moment_of_the_past() {
    let mut bench = Bench::simple(2);
    bench.pass(100);
    bench.world.set_describe_lag(secs(30));
    let victim = bench.serving()[0].clone();
    let lines = bench.history().len();
    bench.set(1, KEEP);
    bench.terminate(std::slice::from_ref(&victim));
    bench.pass(19);
    assert_eq!(bench.history().len(), lines, "its history lags alike");
    let view = bench.view();
    assert_eq!((view.target, view.state, view.fulfilled.get()), (2, FleetState::Active, 2.0), "29 s ago");
    assert_eq!(bench.state_of(&victim), Some(InstanceState::Running));
    bench.pass(1);
    assert_eq!((bench.view().target, bench.view().state), (1, FleetState::Modifying), "30 s ago");
    assert_eq!(bench.state_of(&victim), Some(InstanceState::Running));
    bench.pass(10);
    assert_eq!((bench.view().state, bench.view().fulfilled.get()), (FleetState::Active, 1.0));
    assert_eq!(bench.state_of(&victim), Some(InstanceState::ShuttingDown));
    // A new instance is not found by its id before it is shown, although it is there.
    bench.set(2, KEEP);
    let newest = bench.in_phase(InstancePhase::Booting)[0].id.clone();
    let error =
        bench.world.describe_instances(ME, &[], std::slice::from_ref(&newest)).expect_err("not shown yet");
    assert_eq!(error.class, ErrorClass::NotFound);
    assert!(bench.world.terminate_instances(ME, &[newest]).is_ok());
}

#[test]
fn unknown_fleets_have_their_backends_own_error() {
    let mut bench = Bench::simple(1);
    let fleet = bench.fleet.clone();
    for (backend, id, code) in [
        (Backend::SpotFleet, "sfr-nope".into(), "InvalidSpotFleetRequestId.NotFound"),
        (Backend::Ec2Fleet, fleet, "InvalidFleetId.NotFound"),
    ] {
        let error = bench.world.describe_fleets(ME, backend, &[id]).expect_err("not there");
        assert_eq!((error.class, error.code.as_deref()), (ErrorClass::NotFound, Some(code)));
    }
}

#[test]
fn impossible_targets_are_refused() {
    let mut bench = Bench::simple(1);
    let fleet = bench.fleet.clone();
    for (target, on_demand_target) in [(10_001, 0), (3, 4)] {
        let change = ModifyFleet {
            target: Some(target),
            on_demand_target: Some(on_demand_target),
            excess: None,
            launch: None,
        };
        let error = bench.world.modify_fleet(ME, Backend::SpotFleet, &fleet, change).expect_err("impossible");
        assert_eq!(error.class, ErrorClass::Malformed);
    }
    assert_eq!((bench.view().target, bench.view().state), (1, FleetState::Active));
}

#[test]
fn instances_carry_their_fleets_tags_and_their_own_addresses() {
    for (backend, key) in
        [(Backend::SpotFleet, "aws:ec2spot:fleet-request-id"), (Backend::Ec2Fleet, "aws:ec2:fleet-id")]
    {
        let request = FleetRequest {
            backend,
            instance_tags: [("Name".to_owned(), "web".to_owned())].into(),
            ..FleetRequest::default()
        };
        let mut bench = Bench::new(one_pool(), FleetSpec { request, ..fleet_of(3) });
        let shown = bench.shown();
        let addresses: std::collections::BTreeSet<_> = shown.iter().map(|i| i.private_ip).collect();
        assert_eq!(addresses.len(), 3);
        for instance in &shown {
            assert_eq!(bench.world.private_address(&instance.id), instance.private_ip);
            assert_eq!(instance.tags.get(key).map(String::as_str), Some(bench.fleet.as_str()));
            assert_eq!(instance.tags.get("Name").map(String::as_str), Some("web"));
            assert_eq!(instance.vcpus, Some(2));
        }
    }
}

#[test]
fn tags_can_be_added_to_fleets_and_instances() {
    let mut bench = Bench::simple(1);
    let (fleet, instance) = (bench.fleet.to_string(), bench.serving()[0].to_string());
    let tags = [("team".to_owned(), "search".to_owned())].into();
    bench.world.create_tags(ME, &[&fleet, &instance], &tags).expect("tagged");
    assert_eq!(bench.view().tags.get("team").map(String::as_str), Some("search"));
    assert_eq!(bench.shown()[0].tags.get("team").map(String::as_str), Some("search"));
    let error = bench.world.create_tags(ME, &[&fleet, "i-nope"], &tags).expect_err("unknown");
    assert_eq!(error.class, ErrorClass::NotFound);
}

#[test]
fn prices_are_those_of_the_spot_pools() {
    let mut world = World::new(WorldSpec::default(), 1, START);
    let offers = world.spot_prices(ME, &["m5.large".into()]).expect("prices");
    let prices: Vec<_> = offers.iter().map(|offer| (offer.pool.zone.to_string(), offer.price)).collect();
    let price = |micros| Some(UsdPerHour::from_micros(micros));
    assert_eq!(prices, [("eu-west-1a".to_owned(), price(41_000)), ("eu-west-1b".to_owned(), price(40_200))]);
    assert_eq!(world.spot_prices(ME, &[]).expect("prices").len(), 4);
}
