//! Another version of the launch template reaches a fleet of either service, however often the process dies.

use autoscaler_core::{Halt, Stage};
use autoscaler_engine::{Alarm, CommandError, Order, RolloutOrder, RolloutStatus};
use fleet::{AlarmState, Backend, ErrorClass, FleetId, InstanceState};
use fleet_sim::{Action, Demand, Effect, Fault, FleetSpec, WorldSpec};
use muster_worlds::harness::{CALLER, Harness, ec2, fleet, minutes, secs, world};
use std::time::Duration;

const TEMPLATE: &str = "lt-0123456789abcdef0";
/// When the roll-out is ordered.
const BEGINS: Duration = minutes(6);

/// A fleet that stays of one size.
fn steady(spec: FleetSpec, faults: Vec<Fault>) -> Harness {
    let size = spec.initial.expect("a size");
    let mut spec = WorldSpec { faults, ..world(vec![spec]) };
    spec.timing.describe_lag = secs(3);
    let mut harness = Harness::new(spec, 5).policy(|policy| {
        (policy.capacity.min, policy.capacity.max) = (size, size);
        policy.rollout.canary_for = minutes(5);
    });
    harness.truth = muster_worlds::truth::Truth::replacing(2);
    harness
}

fn start() -> Order {
    Order::Rollout(RolloutOrder::Start { template: TEMPLATE.to_owned(), version: 2, image: None })
}

/// How many instances live, and how many of them are of a version.
fn running(harness: &mut Harness, version: u64) -> (usize, usize) {
    let id: FleetId = harness.id(0);
    let shown = harness.world.describe_instances("judge", &[id], &[]).expect("they are shown");
    let alive: Vec<_> = shown
        .into_iter()
        .filter(|i| matches!(i.state, InstanceState::Pending | InstanceState::Running))
        .collect();
    let of_it = |i: &&fleet::Instance| {
        i.tags.get("aws:ec2launchtemplate:version").is_some_and(|tag| *tag == version.to_string())
    };
    (alive.len(), alive.iter().filter(of_it).count())
}

fn rollout(harness: &Harness) -> RolloutStatus {
    harness.status(0).rollout.expect("a roll-out")
}

/// Every instance was replaced exactly once, and all is as it was.
fn all_new(harness: &mut Harness, size: usize, version: u64, what: &str) {
    assert_eq!(running(harness, version), (size, size), "{what}: {:?}", rollout(harness));
    let truth = harness.truth_of(0);
    assert_eq!(truth.target as usize, size, "{what}");
    assert_eq!(
        harness.world.instance_truths(&harness.id(0)).len(),
        2 * size,
        "{what}: bought more than once"
    );
    let memory = &harness.disk_state(0).memory;
    assert!(memory.removals.is_empty() && memory.replacements.is_empty(), "{what}: {memory:?}");
    assert_eq!(memory.foreign_writes, 0, "{what}");
    harness.conclude();
}

#[test]
fn every_instance_of_either_fleet_is_replaced_once_and_as_many_serve_all_the_while() {
    for (backend, spec) in [
        (Backend::SpotFleet, fleet(6, Demand::constant(3.9))),
        (Backend::Ec2Fleet, ec2(fleet(6, Demand::constant(3.9)))),
    ] {
        let mut harness = steady(spec, Vec::new());
        harness.run_until(BEGINS);
        assert_eq!(harness.status(0).backend, backend);
        assert_eq!(harness.status(0).launch.and_then(|launch| launch.version), Some(1));
        harness.order(0, start()).expect("it makes sense");
        let mut at = BEGINS;
        while !rollout(&harness).rollout.is_over() {
            at += secs(10);
            harness.run_until(at);
            assert!(harness.truth_of(0).in_service >= 6, "{backend} {at:?}: {:?}", harness.truth_of(0));
            assert!(at < minutes(120), "{backend}: {:?}", rollout(&harness));
        }
        all_new(&mut harness, 6, 2, &backend.to_string());
        assert_eq!(rollout(&harness).rollout.entered, 6);
    }
}

#[test]
fn whenever_the_process_dies_every_instance_is_replaced_exactly_once() {
    let lost = |action| Fault::lasting(Effect::LoseAnswer { action: Some(action), share: 1.0 });
    for faults in
        [Vec::new(), vec![lost(Action::MODIFY_SPOT_FLEET_REQUEST), lost(Action::TERMINATE_INSTANCES)]]
    {
        let run = |dies_at: Option<u64>| {
            let mut harness = steady(fleet(2, Demand::constant(1.2)), faults.clone())
                .policy(|policy| policy.rollout.canary = 0.0);
            harness.run_until(BEGINS);
            harness.order(0, start()).expect("it makes sense");
            let from = harness.effects;
            harness.dies_at = dies_at.map(|after| from + after);
            let mut at = BEGINS;
            while at < minutes(90) && !(harness.engine.is_some() && rollout(&harness).rollout.is_over()) {
                at += secs(10);
                harness.run_until(at);
            }
            all_new(&mut harness, 2, 2, &format!("died before effect {dies_at:?}"));
            harness.effects - from
        };
        let effects = run(None);
        assert!(effects > 100, "{effects}");
        for dies_at in (1..effects).step_by(5) {
            run(Some(dies_at));
        }
    }
}

#[test]
fn a_version_that_never_serves_is_halted_and_the_fleet_is_what_it_was() {
    let mut harness = steady(fleet(4, Demand::constant(2.6)), Vec::new());
    harness.world.break_version(2);
    harness.run_until(BEGINS);
    harness.order(0, start()).expect("it makes sense");
    harness.run_until(minutes(40));
    let halted = rollout(&harness).rollout.halted.expect("it is halted");
    assert!(matches!(halted.why, Halt::NotReady { .. }), "{halted:?}");
    assert_eq!(running(&mut harness, 1), (4, 4), "what was broken is gone");
    assert_eq!(harness.truth_of(0).in_service, 4);
    assert_eq!(harness.status(0).launch.and_then(|launch| launch.version), Some(1));
    let halts = |alarm: &Alarm| matches!(alarm, Alarm::RolloutHalted { version: 2, .. });
    assert!(harness.raised().iter().any(halts), "{:?}", harness.raised());
    // A restart knows of it.
    harness.die();
    harness.run_until(minutes(42));
    assert!(rollout(&harness).rollout.halted.is_some());
    harness.order(0, Order::Rollout(RolloutOrder::Abort)).expect("it can be taken back");
    harness.run_until(minutes(50));
    assert!(rollout(&harness).rollout.is_over(), "{:?}", rollout(&harness));
    assert!(!harness.raised().iter().any(halts));
    harness.conclude();
}

#[test]
fn one_that_has_ended_can_be_taken_back() {
    let mut harness = steady(fleet(3, Demand::constant(1.9)), Vec::new());
    harness.run_until(BEGINS);
    harness.order(0, start()).expect("it makes sense");
    harness.run_until(minutes(60));
    assert!(matches!(rollout(&harness).rollout.stage, Stage::Ended { .. }));
    assert_eq!(running(&mut harness, 2), (3, 3));
    harness.order(0, Order::Rollout(RolloutOrder::Abort)).expect("it can be taken back");
    harness.run_until(minutes(120));
    assert_eq!(running(&mut harness, 1), (3, 3));
    assert!(rollout(&harness).rollout.is_over());
    harness.conclude();
}

#[test]
fn interruptions_and_a_growing_load_in_the_middle_change_nothing_about_the_end() {
    let load = Demand::points([(minutes(14), 3.0), (minutes(15), 6.5)]);
    let spec = world(vec![fleet(5, load)]);
    let mut harness = Harness::new(spec, 7).policy(|policy| {
        policy.capacity.min = 5;
        policy.rollout.canary = 0.0;
        policy.rollout.surge = 2;
    });
    harness.truth = muster_worlds::truth::Truth::replacing(2);
    harness.run_until(BEGINS);
    harness.order(0, start()).expect("it makes sense");
    for at in [9, 13, 17, 23] {
        harness.run_until(minutes(at));
        let members = harness.world.instance_truths(&harness.id(0));
        let serving = members.iter().find(|m| m.phase == fleet_sim::InstancePhase::InService);
        let id = serving.expect("one serves").id.clone();
        harness.world.interrupt(&id);
    }
    harness.run_until(minutes(150));
    let (alive, new) = running(&mut harness, 2);
    assert_eq!(alive, new, "{:?}", rollout(&harness));
    assert!(alive >= 9, "{alive}");
    assert!(rollout(&harness).rollout.is_over());
    harness.truth.assert_clean();
}

#[test]
fn orders_that_make_no_sense_are_refused() {
    let mut harness = steady(fleet(3, Demand::constant(1.9)), Vec::new());
    harness.run_until(BEGINS);
    let rollout = |order| Order::Rollout(order);
    for order in [RolloutOrder::Pause, RolloutOrder::Resume, RolloutOrder::Abort] {
        assert_eq!(harness.order(0, rollout(order)), Err(CommandError::NothingRollsOut));
    }
    let other = RolloutOrder::Start { template: "lt-0".to_owned(), version: 2, image: None };
    let found = Some(TEMPLATE.to_owned());
    assert_eq!(harness.order(0, rollout(other)), Err(CommandError::OtherTemplate { found }));
    let same = RolloutOrder::Start { template: TEMPLATE.to_owned(), version: 1, image: None };
    assert_eq!(harness.order(0, rollout(same)), Err(CommandError::RunsAlready { version: 1 }));
    harness.order(0, start()).expect("it makes sense");
    let twice = CommandError::RollsOut { template: TEMPLATE.to_owned(), to: 2 };
    assert_eq!(harness.order(0, start()), Err(twice));
}

/// A roll-out without a canary, on a fleet of four, that watches an alarm.
fn watching(faults: Vec<Fault>) -> Harness {
    let mut harness = steady(fleet(4, Demand::constant(2.6)), faults).policy(|policy| {
        policy.rollout.canary = 0.0;
        policy.rollout.alarms = vec!["web-5xx".to_owned()];
    });
    harness.world.set_alarm("web-5xx", AlarmState::Ok, false);
    harness.run_until(BEGINS);
    assert_eq!(asked(&harness), 0, "nobody asks without a roll-out");
    harness
}

/// How often CloudWatch was asked how alarms are.
fn asked(harness: &Harness) -> u64 {
    harness.world.calls().of(CALLER, Action::DESCRIBE_ALARMS).calls
}

#[test]
fn an_alarm_that_goes_off_in_the_middle_halts_it_within_a_minute_and_a_restart_knows() {
    let mut harness = watching(Vec::new());
    harness.order(0, start()).expect("it makes sense");
    let mut at = BEGINS;
    while running(&mut harness, 2).1 < 2 {
        at += secs(10);
        harness.run_until(at);
        assert!(at < minutes(60), "{:?}", rollout(&harness));
    }
    let reads = asked(&harness);
    let elapsed = at.saturating_sub(BEGINS).as_secs();
    assert!((elapsed / 40..=elapsed / 30 + 1).contains(&reads), "{reads} in {elapsed} s");
    let shown = rollout(&harness).alarms.expect("they were read");
    assert_eq!(shown.what[0].state, Some(AlarmState::Ok));

    harness.world.set_alarm("web-5xx", AlarmState::Alarm, false);
    harness.run_until(at + secs(60));
    let halted = rollout(&harness).rollout.halted.expect("it is halted");
    assert!(matches!(&halted.why, Halt::Alarm { name, since: Some(_) } if name == "web-5xx"), "{halted:?}");
    let halts = |alarm: &Alarm| matches!(alarm, Alarm::RolloutHalted { why: Halt::Alarm { .. }, .. });
    assert!(harness.raised().iter().any(halts), "{:?}", harness.raised());
    harness.die();
    harness.run_until(at + minutes(10));
    assert_eq!(rollout(&harness).rollout.halted, Some(halted));
    assert_eq!(harness.status(0).launch.and_then(|launch| launch.version), Some(1));
    let (reads, entered) = (asked(&harness), rollout(&harness).rollout.entered);
    harness.run_until(at + minutes(20));
    assert_eq!(asked(&harness), reads, "nobody asks while it is halted");

    harness.world.set_alarm("web-5xx", AlarmState::Ok, false);
    harness.order(0, Order::Rollout(RolloutOrder::Resume)).expect("it makes sense");
    harness.run_until(at + minutes(90));
    assert!(rollout(&harness).rollout.is_over(), "{:?}", rollout(&harness));
    assert!(rollout(&harness).rollout.entered > entered);
    assert_eq!(running(&mut harness, 2), (4, 4));
    harness.conclude();
}

#[test]
fn alarms_that_are_not_there_or_cannot_be_read_hold_it_and_are_told_of() {
    let refused = Fault::lasting(Effect::Refuse {
        action: Some(Action::DESCRIBE_ALARMS),
        class: ErrorClass::Denied,
        code: "AccessDenied".into(),
        share: 1.0,
    });
    for (faults, gone) in [(Vec::new(), true), (vec![refused], false)] {
        let mut harness = watching(faults);
        if gone {
            harness.world.delete_alarm("web-5xx");
        }
        harness.order(0, start()).expect("it makes sense");
        harness.run_until(BEGINS + minutes(20));
        assert_eq!((rollout(&harness).rollout.entered, running(&mut harness, 2).1), (0, 0));
        assert!(rollout(&harness).rollout.halted.is_none());
        let tells = |alarm: &Alarm| match alarm {
            Alarm::AlarmsMissing { names } => gone && names[0] == "web-5xx",
            Alarm::Denied { operation, .. } => !gone && operation.contains("alarms"),
            _ => false,
        };
        assert!(harness.raised().iter().any(tells), "{:?}", harness.raised());
        harness.order(0, Order::Rollout(RolloutOrder::Abort)).expect("it can be taken back");
        harness.run_until(BEGINS + minutes(30));
        assert!(!harness.raised().iter().any(|alarm| matches!(alarm, Alarm::AlarmsMissing { .. })));
        assert!(rollout(&harness).rollout.is_over(), "on the way back nobody asks");
    }
}
