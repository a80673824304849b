//! What the cloud does wrong, and what of it reaches the fleet: nothing but time.

use autoscaler_core::{Decision, Hold, Learned, Memory, Planned, Policy, Snapshot};
use autoscaler_engine::{Alarm, Event, Order, Withheld};
use autoscaler_policy::FleetPolicy;
use fleet::{Backend, ErrorClass, FleetId, FleetSelector, Region, Timestamp};
use fleet_sim::{Action, Demand, Effect, Fault, ModifyFleet, WorldSpec};
use muster_worlds::harness::{self, CALLER, Harness, ec2, fleet, minutes, secs, world};
use std::collections::BTreeSet;
use std::time::Duration;

/// Load that rises from 3 to 9 units, stays, and falls back to 3.
fn up_and_down() -> Demand {
    Demand::points([(minutes(20), 3.0), (minutes(30), 9.0), (minutes(60), 9.0), (minutes(70), 3.0)])
}

fn refuse(share: f64, class: ErrorClass, code: &'static str) -> Fault {
    Fault::lasting(Effect::Refuse { action: None, share, class, code: code.into() })
}

/// A world of one fleet whose load goes up and down, with faults. Runs it to its end, where the fleet must have
/// come up and down again.
fn goes_up_and_down(faults: Vec<Fault>, change: impl Fn(&mut WorldSpec)) -> Harness {
    let mut spec = WorldSpec { faults, ..world(vec![fleet(5, up_and_down())]) };
    change(&mut spec);
    let mut harness = Harness::new(spec, 11);
    harness.run_until(minutes(50));
    let up = harness.truth_of(0);
    assert!(up.in_service >= 12, "it did not come up: {up:?}");
    harness.run_until(minutes(300));
    let down = harness.truth_of(0);
    assert!(down.target <= 8 && down.billed == f64::from(down.target), "it did not come down: {down:?}");
    harness.conclude();
    harness
}

#[test]
fn without_faults_it_goes_up_and_down() {
    let harness = goes_up_and_down(Vec::new(), |_| {});
    assert!(!harness.terminated_twice());
    assert!(!harness.alarms.iter().any(|change| change.raised), "{:?}", harness.alarms);
}

#[test]
fn throttling_of_every_third_call_only_takes_time() {
    goes_up_and_down(vec![Fault::lasting(Effect::throttle(0.3))], |_| {});
}

#[test]
fn errors_of_the_service_only_take_time() {
    goes_up_and_down(vec![refuse(0.3, ErrorClass::Transient, "InternalError")], |_| {});
}

#[test]
fn writes_whose_answers_are_lost_are_reconciled_never_doubled() {
    let lost = |action| Fault::lasting(Effect::LoseAnswer { action: Some(action), share: 1.0 });
    let faults = vec![lost(Action::MODIFY_SPOT_FLEET_REQUEST), lost(Action::TERMINATE_INSTANCES)];
    let harness = goes_up_and_down(faults, |_| {});
    assert!(!harness.terminated_twice());
}

#[test]
fn answers_that_never_come_do_not_stop_the_loop() {
    goes_up_and_down(
        vec![Fault {
            from: minutes(25),
            until: Some(minutes(29)),
            effect: Effect::Slow { action: None, latency: minutes(10) },
        }],
        |_| {},
    );
}

#[test]
fn describes_that_lag_half_a_minute_are_waited_for() {
    let harness = goes_up_and_down(Vec::new(), |spec| spec.timing.describe_lag = secs(30));
    assert!(!harness.terminated_twice());
}

#[test]
fn an_ec2_fleet_is_held_like_a_spot_fleet() {
    let mut harness = Harness::new(world(vec![ec2(fleet(5, up_and_down()))]), 11);
    assert_eq!(harness.policies[0].backend, Backend::Ec2Fleet);
    harness.run_until(minutes(50));
    assert!(harness.truth_of(0).in_service >= 12);
    harness.run_until(minutes(150));
    assert!(harness.truth_of(0).target <= 8);
    harness.conclude();
}

#[test]
fn a_fleet_stuck_in_modifying_is_waited_for_and_announced() {
    let stuck = Fault { from: minutes(19), until: Some(minutes(45)), effect: Effect::StuckModifying };
    let mut harness =
        Harness::new(WorldSpec { faults: vec![stuck], ..world(vec![fleet(5, up_and_down())]) }, 11);
    harness.run_until(minutes(44));
    let during = harness.truth.modifications.len();
    assert!(harness.raised().iter().any(|alarm| matches!(alarm, Alarm::StuckModifying { .. })));
    let report = harness.status(0).decided.expect("it decides").report;
    assert!(report.holds.iter().any(|hold| matches!(hold, Hold::Modifying { .. })), "{report}");
    harness.run_until(minutes(60));
    assert!(harness.truth.modifications.len() > during, "it goes on afterwards");
    assert!(harness.truth_of(0).in_service >= 12);
    assert!(!harness.raised().iter().any(|alarm| matches!(alarm, Alarm::StuckModifying { .. })));
    harness.conclude();
}

#[test]
fn capacity_that_never_comes_does_not_make_the_target_climb() {
    let nothing = Fault::lasting(Effect::NoCapacity { pool: None });
    // Busy, but not saturated: how much is needed is plain to see.
    let load = Demand::points([(minutes(10), 3.0), (minutes(20), 4.5)]);
    let mut harness = Harness::new(WorldSpec { faults: vec![nothing], ..world(vec![fleet(5, load)]) }, 3);
    harness.policies[0].base.capacity.min = 5;
    harness.run_until(minutes(40));
    let target = harness.truth_of(0).target;
    assert!((6..=8).contains(&target), "{target}");
    harness.run_until(minutes(120));
    let later = harness.truth_of(0);
    assert!(later.target <= target + 1, "{target} became {}", later.target);
    assert_eq!(later.in_service, 5);
    let late = harness.raised().into_iter().find(|alarm| matches!(alarm, Alarm::CapacityLate { .. }));
    assert!(late.is_some());
    harness.conclude();
}

#[test]
fn pools_without_capacity_are_named_by_the_alarm() {
    let load = Demand::points([(minutes(10), 3.0), (minutes(11), 7.0)]);
    let mut spec = world(vec![fleet(5, load)]);
    spec.pools.iter_mut().for_each(|pool| pool.depth = 2);
    let mut harness = Harness::new(spec, 3);
    harness.run_until(minutes(30));
    let history = harness.raised().into_iter().find_map(|alarm| match alarm {
        Alarm::CapacityLate { history, .. } => Some(history),
        _ => None,
    });
    let history = history.expect("capacity is late");
    assert!(history.iter().any(|line| line.starts_with("no capacity in m5.large/eu-west-1")), "{history:?}");
}

#[test]
fn one_regions_slow_api_delays_nobody_else() {
    let mut harness = Harness::new(world(vec![fleet(5, up_and_down())]), 11);
    let mut elsewhere = FleetPolicy::of("elsewhere", "sfr-elsewhere");
    elsewhere.region = Some(Region::new("us-east-1"));
    harness.policies.push(elsewhere);
    harness.silent_region = Some(Region::new("us-east-1"));
    harness.run_until(minutes(50));
    assert!(harness.truth_of(0).in_service >= 12);
    let age = |harness: &Harness, fleet| {
        let decided = harness.status(fleet).decided.expect("it decides");
        harness.now().wall.since(decided.at)
    };
    assert!(age(&harness, 0) <= secs(10) && age(&harness, 1) <= secs(10));
    let report = harness.status(1).decided.expect("it decides").report;
    assert_eq!(report.holds, [Hold::FleetUnseen]);
    assert!(harness.raised().iter().any(|alarm| matches!(alarm, Alarm::Unreachable { .. })));
    harness.conclude();
}

#[test]
fn the_last_error_of_what_fails_is_in_the_status_at_once_and_until_it_works() {
    let refuse = |action, class, code: &str| Effect::Refuse {
        action: Some(action),
        share: 1.0,
        class,
        code: code.to_owned().into(),
    };
    let reads = refuse(Action::DESCRIBE_INSTANCES, ErrorClass::Transient, "Unavailable");
    let writes = refuse(Action::MODIFY_SPOT_FLEET_REQUEST, ErrorClass::Transient, "InternalError");
    let within = |from, until, effect| Fault { from: minutes(from), until: Some(minutes(until)), effect };
    let faults = vec![within(0, 1, reads), within(10, 12, writes)];
    let mut harness = Harness::new(WorldSpec { faults, ..world(vec![fleet(5, Demand::constant(3.0))]) }, 1);
    harness.run_until(secs(2));
    let failing = harness.failing();
    let [read] = &failing[..] else { panic!("{failing:?}") };
    assert_eq!((read.operation.as_str(), read.failures), ("describe_instances", 1));
    assert_eq!((read.class, &read.fleet, &read.of), (ErrorClass::Transient, &None, &None));
    assert!(read.message.contains("Unavailable"), "{}", read.message);
    assert_eq!(harness.raised(), [], "it is not worth an alarm yet");
    harness.run_until(minutes(10));
    assert_eq!(harness.failing(), []);
    harness.order(0, raise_min(9)).expect("it is sensible");
    harness.run_until(minutes(10) + secs(30));
    let failing = harness.failing();
    let [write] = &failing[..] else { panic!("{failing:?}") };
    assert_eq!((write.operation.as_str(), &write.fleet), ("modify", &Some(harness.name(0))));
    assert!(write.failures > 1 && write.since < harness.now().wall - secs(10), "{write:?}");
    assert!(write.message.contains("InternalError"), "{}", write.message);
    harness.truth.bounds = Some((1, 20));
    harness.run_until(minutes(15));
    assert_eq!(harness.failing(), []);
    // What nobody asks for any more is no concern of anybody's.
    harness.world.inject(Fault::lasting(refuse(Action::DESCRIBE_INSTANCES, ErrorClass::Denied, "No")));
    harness.run_until(minutes(40));
    assert!(!harness.failing().is_empty() && !harness.raised().is_empty());
    harness.policies.clear();
    harness.happen(Event::PoliciesLoaded(Vec::new()));
    assert_eq!((harness.failing(), harness.raised()), (vec![], vec![]));
}

fn raise_min(min: u32) -> Order {
    Order::Override { min: Some(min), max: None, target: None, lasts: minutes(60) }
}

#[test]
fn what_is_denied_is_an_alarm_and_is_tried_again_now_and_then() {
    let denied = Effect::Refuse {
        action: Some(Action::MODIFY_SPOT_FLEET_REQUEST),
        share: 1.0,
        class: ErrorClass::Denied,
        code: "UnauthorizedOperation".into(),
    };
    let fault = Fault { from: Duration::ZERO, until: Some(minutes(40)), effect: denied };
    let mut harness =
        Harness::new(WorldSpec { faults: vec![fault], ..world(vec![fleet(5, up_and_down())]) }, 11);
    harness.run_until(minutes(39));
    assert!(harness.raised().iter().any(|alarm| matches!(alarm, Alarm::Denied { .. })));
    assert!(harness.truth.modifications.len() <= 8, "{} tries", harness.truth.modifications.len());
    harness.run_until(minutes(55));
    assert!(harness.truth_of(0).in_service >= 12, "{:?}", harness.truth_of(0));
    assert!(!harness.raised().iter().any(|alarm| matches!(alarm, Alarm::Denied { .. })));
    harness.conclude();
}

#[test]
fn who_else_writes_is_left_alone_after_the_second_time() {
    let mut harness = Harness::new(world(vec![fleet(5, Demand::constant(3.5))]), 1);
    harness.truth.others_write = true;
    for (minute, target) in [(20, 7), (40, 9)] {
        harness.run_until(minutes(minute));
        let change = ModifyFleet { target: Some(target), ..ModifyFleet::default() };
        let id = harness.id(0);
        harness.world.modify_fleet("somebody", Backend::SpotFleet, &id, change).expect("they may");
    }
    harness.run_until(minutes(50));
    assert!(harness.raised().iter().any(|alarm| matches!(alarm, Alarm::Ceded { foreign_writes: 2 })));
    assert!(!harness.raised().iter().any(Alarm::is_warning), "one word for it is enough");
    let before = harness.truth.modifications.len();
    harness.run_until(minutes(120));
    assert_eq!(harness.truth.modifications.len(), before, "hands off");
    assert_eq!(harness.truth_of(0).target, 9);
    harness.order(0, Order::Resume).expect("it may be resumed");
    harness.run_until(minutes(150));
    assert!(harness.truth_of(0).target < 9, "taken over again");
    assert!(!harness.raised().iter().any(|alarm| matches!(alarm, Alarm::Ceded { .. })));
    harness.conclude();
}

#[test]
fn a_first_foreign_write_is_told_for_as_long_as_it_is_respected() {
    let mut harness = Harness::new(world(vec![fleet(5, Demand::constant(3.5))]), 1);
    harness.truth.others_write = true;
    harness.run_until(minutes(20));
    let was = harness.truth_of(0).target;
    let change = ModifyFleet { target: Some(9), ..ModifyFleet::default() };
    let id = harness.id(0);
    harness.world.modify_fleet("somebody", Backend::SpotFleet, &id, change).expect("they may");
    harness.run_until(minutes(24));
    let raised = harness.raised();
    let [alarm @ Alarm::ForeignWrite { was: left, found: 9, at }] = &raised[..] else { panic!("{raised:?}") };
    assert!(alarm.is_warning() && *left == was && *at > harness::start() + minutes(20));
    harness.run_until(minutes(34));
    assert_eq!(harness.raised(), raised, "its facts stay what they were");
    harness.run_until(minutes(45));
    assert_eq!(harness.raised(), []);
    harness.conclude();
}

#[test]
fn whatever_keeps_it_from_acting_can_be_read() {
    let told = |faults: Vec<Fault>, lag: Duration, act: fn(&mut Harness)| {
        let mut spec = WorldSpec { faults, ..world(vec![fleet(5, Demand::constant(3.0))]) };
        spec.timing.describe_lag = lag;
        let mut harness = Harness::new(spec, 1);
        harness.truth.bounds = Some((1, 20));
        harness.run_until(minutes(20));
        act(&mut harness);
        let mut reasons = BTreeSet::new();
        while harness.elapsed() < minutes(25) {
            harness.run_until(harness.elapsed() + secs(5));
            let decided = harness.status(0).decided.expect("it decides");
            reasons.extend(decided.report.to_string().lines().map(str::to_owned));
            if let Some(Withheld::BackingOff { class }) = decided.withheld {
                reasons.insert(format!("backing off: {}", class.label()));
            }
        }
        reasons.into_iter().collect::<Vec<_>>().join("\n")
    };
    let from = |effect| vec![Fault { from: minutes(20), until: None, effect }];
    let refuse = |action, class, code: &'static str| {
        from(Effect::Refuse { action: Some(action), share: 1.0, class, code: code.into() })
    };
    let (fleets, instances) = (Action::DESCRIBE_SPOT_FLEET_REQUESTS, Action::DESCRIBE_INSTANCES);
    let modify = Action::MODIFY_SPOT_FLEET_REQUEST;
    let throttled = ErrorClass::Throttled { retry_after: Some(secs(3)) };
    let buys = |harness: &mut Harness| {
        harness.order(0, raise_min(harness.truth_of(0).target + 3)).expect("it is sensible");
    };
    for (faults, lag, reason) in [
        (refuse(fleets, throttled, "RequestLimitExceeded"), 0, "remark: describe_fleets fails (throttled)"),
        (
            refuse(instances, ErrorClass::Transient, "Unavailable"),
            0,
            "remark: describe_instances fails (transient)",
        ),
        (refuse(modify, throttled, "RequestLimitExceeded"), 0, "backing off: throttled"),
        (refuse(modify, ErrorClass::Transient, "InternalError"), 0, "backing off: transient"),
        (refuse(modify, ErrorClass::Unclear, "RequestTimeout"), 0, "has not shown yet"),
        (Vec::new(), 30, "has not shown yet"),
    ] {
        let told = told(faults, secs(lag), buys);
        assert!(told.contains(reason), "no {reason:?} in:\n{told}");
    }
    let works = told(Vec::new(), Duration::ZERO, buys);
    assert!(!works.contains("fails (") && !works.contains("backing off"), "{works}");
}

#[test]
fn a_scalable_target_of_application_auto_scaling_is_not_touched() {
    let mut harness = Harness::new(world(vec![fleet(9, Demand::constant(3.0))]), 1);
    let id = harness.id(0);
    harness.world.register_scalable_target(&id);
    harness.run_until(minutes(60));
    assert!(harness.truth.modifications.is_empty() && harness.truth.terminations.is_empty());
    assert!(harness.raised().iter().any(|alarm| matches!(alarm, Alarm::NotHoldable { .. })));
}

#[test]
fn a_fleet_that_is_not_there_or_not_the_only_one_is_an_alarm() {
    let tagged = || {
        let mut spec = fleet(3, Demand::constant(2.0));
        spec.request.tags.insert("service".to_owned(), "web".to_owned());
        spec
    };
    let mut harness = Harness::new(world(vec![tagged(), tagged()]), 1);
    let by_tag = |value: &str| FleetSelector::Tag { key: "service".to_owned(), value: value.to_owned() };
    let ids = [harness.id(0), harness.id(1)];
    harness.policies[0].selector = by_tag("web");
    harness.policies[1].selector = by_tag("api");
    let twice = FleetPolicy::of("fleet-2", ids[0].clone());
    let again = FleetPolicy::of("fleet-3", ids[0].clone());
    harness.policies.extend([twice, again]);
    harness.run_until(minutes(1));
    let alarms = |fleet: usize| -> Vec<Alarm> {
        harness.status(fleet).alarms.into_iter().map(|active| active.alarm).collect()
    };
    assert!(matches!(&alarms(0)[..], [Alarm::FleetAmbiguous { ids }] if ids.len() == 2));
    assert_eq!(alarms(1), [Alarm::FleetNotFound { selector: by_tag("api") }]);
    assert_eq!(alarms(2), []);
    assert_eq!(alarms(3), [Alarm::FleetHeldTwice { by: "fleet-2".into() }]);
    let untouched = |id: &FleetId| harness.truth.modifications.iter().all(|(of, _)| of != id.as_str());
    assert!(untouched(&ids[1]), "nobody knows which is meant");
}

#[test]
fn a_write_that_was_refused_for_certain_is_tried_again_soon() {
    let refused = Effect::Refuse {
        action: Some(Action::MODIFY_SPOT_FLEET_REQUEST),
        share: 1.0,
        class: ErrorClass::Transient,
        code: "InternalError".into(),
    };
    let fault = Fault { from: minutes(9), until: Some(minutes(10) + secs(12)), effect: refused };
    let mut harness =
        Harness::new(WorldSpec { faults: vec![fault], ..world(vec![fleet(5, Demand::constant(3.0))]) }, 1);
    harness.policies[0].base.capacity.min = 5;
    harness.policies[0].base.capacity.max = 5;
    harness.run_until(minutes(10));
    let before = harness.truth.modifications.len();
    harness
        .order(0, Order::Override { min: Some(9), max: Some(9), target: None, lasts: minutes(60) })
        .expect("it is sensible");
    harness.truth.bounds = Some((1, 9));
    harness.run_until(minutes(10) + secs(45));
    let tries = harness.truth.modifications.len() - before;
    assert!((2..=5).contains(&tries), "{tries}");
    assert_eq!(harness.truth_of(0).target, 9, "not after it would have been given up as lost");
    harness.conclude();
}

/// Writes in every cycle, whatever it sees.
fn restless(policy: &Policy, seen: &Snapshot, memory: &Memory, learned: &Learned, now: Timestamp) -> Planned {
    let mut planned = autoscaler_core::plan(policy, seen, memory, learned, now);
    if let Some(fleet) = &seen.fleet {
        let (from, on_demand_target) = (fleet.what.target, fleet.what.on_demand_target);
        let change = fleet::ports::Change::of_target(from, on_demand_target);
        let modify = autoscaler_core::Action::Modify { fleet: fleet.what.fleet_ref(), from, change };
        planned.plan.actions = vec![modify];
        planned.memory = memory.clone();
    }
    planned
}

#[test]
fn one_write_at_a_time_and_no_more_than_the_budget_allows() {
    let quick = |faults| {
        let mut spec = WorldSpec { faults, ..world(vec![fleet(5, Demand::constant(3.5))]) };
        spec.timing.modifying = Duration::ZERO;
        let mut harness = Harness::new(spec, 1);
        harness.config.planner = restless;
        harness
    };
    let mut harness = quick(Vec::new());
    harness.run_until(minutes(20));
    let writes = harness.truth.modifications.len();
    assert!((60..=6 * 20).contains(&writes), "{writes} writes in 20 minutes");
    let engine = harness.engine.as_ref().expect("a process runs");
    assert!(engine.metrics().withheld["budget"] > 10);
    assert!(engine.metrics().breaches.is_empty(), "a budget that is used up is no breach");
    // An answer that takes a minute: nothing else is sent meanwhile.
    let slow = Effect::Slow { action: Some(Action::MODIFY_SPOT_FLEET_REQUEST), latency: secs(60) };
    let mut harness = quick(vec![Fault::lasting(slow)]);
    harness.run_until(minutes(20));
    assert!((15..=20).contains(&harness.truth.modifications.len()), "{}", harness.truth.modifications.len());
    let engine = harness.engine.as_ref().expect("a process runs");
    assert!(engine.metrics().withheld["busy"] > 50);
}

#[test]
fn no_more_writes_are_in_flight_in_a_region_than_allowed() {
    let fleets = (0..10).map(|_| fleet(5, Demand::constant(3.5))).collect();
    let slow = Effect::Slow { action: Some(Action::MODIFY_SPOT_FLEET_REQUEST), latency: secs(25) };
    let mut spec = WorldSpec { faults: vec![Fault::lasting(slow)], ..world(fleets) };
    spec.timing.modifying = Duration::ZERO;
    spec.pools.iter_mut().for_each(|pool| pool.depth = 100);
    let mut harness = Harness::new(spec, 1);
    harness.config.planner = restless;
    harness.config.writes_in_flight = 3;
    harness.run_until(secs(20));
    let writing = (0..10).filter(|fleet| harness.is_writing(*fleet)).count();
    assert_eq!(writing, 3);
}

/// Panics for the fleet whose policy has a maximum of 13.
fn panics_for_thirteen(
    policy: &Policy,
    seen: &Snapshot,
    memory: &Memory,
    learned: &Learned,
    now: Timestamp,
) -> Planned {
    assert!(policy.capacity.max != 13, "thirteen");
    autoscaler_core::plan(policy, seen, memory, learned, now)
}

#[test]
fn a_panic_in_one_plan_holds_that_fleet_and_no_other() {
    let mut harness = Harness::new(world(vec![fleet(5, up_and_down()), fleet(5, up_and_down())]), 11);
    harness.config.planner = panics_for_thirteen;
    harness.policies[1].base.capacity.max = 13;
    harness.run_until(minutes(50));
    assert!(harness.truth_of(0).in_service >= 12);
    assert_eq!(harness.truth_of(1).target, 5);
    let alarms = harness.raised();
    assert!(matches!(&alarms[..], [Alarm::Panicked { message }] if message == "thirteen"), "{alarms:?}");
    assert!(harness.replayed().divergences.is_empty(), "a panic replays as a panic");
    harness.truth.assert_clean();
}

/// Wants more than the policy allows.
fn wants_too_much(
    policy: &Policy,
    seen: &Snapshot,
    memory: &Memory,
    learned: &Learned,
    now: Timestamp,
) -> Planned {
    let mut planned = autoscaler_core::plan(policy, seen, memory, learned, now);
    if let Some(autoscaler_core::Action::Modify { change, .. }) = planned.plan.actions.first_mut() {
        change.target = policy.capacity.max + 1;
    }
    planned
}

#[test]
fn a_plan_that_the_checker_refuses_is_not_carried_out() {
    let mut harness = Harness::new(world(vec![fleet(5, up_and_down())]), 11);
    harness.config.planner = wants_too_much;
    harness.run_until(minutes(50));
    assert!(harness.truth.modifications.is_empty());
    let report = harness.status(0).decided.expect("it decides").report;
    assert!(report.holds.contains(&Hold::Refused { invariant: "CAP".to_owned() }), "{report}");
    assert_eq!(report.decision, Decision::Held);
    assert!(harness.raised().iter().any(|alarm| matches!(alarm, Alarm::Refused { .. })));
    assert!(harness.replayed().divergences.is_empty());
}

#[test]
fn a_dry_run_and_an_observer_say_what_they_would_do_and_do_nothing() {
    for global in [true, false] {
        let mut harness = Harness::new(world(vec![fleet(5, up_and_down())]), 11);
        harness.config.dry_run = global;
        let mut harness = harness.policy(|policy| policy.dry_run = !global);
        harness.run_until(minutes(40));
        assert!(harness.truth.modifications.is_empty());
        let decided = harness.status(0).decided.expect("it decides");
        assert!(matches!(decided.report.decision, Decision::ScaleOut { .. }), "{}", decided.report);
        assert_eq!(decided.plan.actions.len(), 1);
        harness.conclude();
    }
    let mut harness =
        Harness::new(world(vec![fleet(5, up_and_down())]), 11).policy(|p| p.observe_only = true);
    harness.run_until(minutes(40));
    assert!(harness.truth.modifications.is_empty());
    harness.conclude();
}

#[test]
fn a_fleet_that_is_deleted_is_let_be() {
    let mut harness = Harness::new(world(vec![fleet(5, up_and_down())]), 11);
    harness.run_until(minutes(18));
    let id: FleetId = harness.id(0);
    let before = harness.truth.modifications.len();
    harness.world.delete_fleet("somebody", Backend::SpotFleet, &id, false).expect("they may");
    harness.run_until(minutes(60));
    assert_eq!(harness.truth.modifications.len(), before);
    assert!(harness.raised().iter().any(|alarm| matches!(alarm, Alarm::NotHoldable { .. })));
    assert!(harness.world.calls().total(CALLER) < 200);
}
