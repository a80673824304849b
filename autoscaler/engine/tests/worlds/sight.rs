//! Who is there is seen soon, whoever bought them and however quickly.

use autoscaler_core::Phase;
use autoscaler_engine::{Answer, Order};
use fleet::{Backend, ErrorClass, InstanceId};
use fleet_sim::{Action, Demand, Effect, Fault, InstancePhase, ModifyFleet, WorldSpec};
use muster_worlds::harness::{Harness, fleet, minutes, secs, world};
use std::collections::BTreeSet;

/// A fleet of four whose modifications are over before the next look, read from CloudWatch alone: no agent's word
/// makes anybody look.
fn quick() -> Harness {
    let mut spec = world(vec![fleet(4, Demand::constant(2.5))]);
    spec.timing.modifying = secs(5);
    Harness::new(spec, 1).cloudwatch_only()
}

fn raise_min(min: u32) -> Order {
    Order::Override { min: Some(min), max: None, target: None, lasts: minutes(300) }
}

/// Every instance that lives is known, and no other is taken for one.
fn all_are_known(harness: &Harness) {
    let real = harness.world.instance_truths(&harness.id(0));
    let real = real.into_iter().filter(|member| member.phase != InstancePhase::Gone);
    let real: BTreeSet<InstanceId> = real.map(|member| member.id).collect();
    let shown = harness.status(0).instances.into_iter().filter(|member| member.phase != Phase::Leaving);
    let shown: BTreeSet<InstanceId> = shown.map(|member| member.id).collect();
    assert_eq!(shown, real);
}

#[test]
fn instances_of_a_modification_that_settles_at_once_are_known_within_a_minute() {
    let mut harness = quick();
    harness.run_until(minutes(20));
    harness.order(0, raise_min(harness.truth_of(0).target + 3)).expect("it is sensible");
    harness.run_until(minutes(21));
    all_are_known(&harness);
    harness.run_until(minutes(60));
    assert!(!harness.was_raised("capacity_late"), "{:?}", harness.alarms);
    harness.conclude();
}

#[test]
fn instances_that_somebody_else_asked_for_are_known_with_the_next_look() {
    let mut harness = quick();
    harness.truth.others_write = true;
    harness.run_until(minutes(20));
    let change = ModifyFleet { target: Some(9), ..ModifyFleet::default() };
    let id = harness.id(0);
    harness.world.modify_fleet("somebody", Backend::SpotFleet, &id, change).expect("they may");
    harness.run_until(minutes(23) + secs(20));
    all_are_known(&harness);
    harness.run_until(minutes(40));
    assert!(!harness.was_raised("capacity_late"), "{:?}", harness.alarms);
    harness.conclude();
}

#[test]
fn instances_that_the_fleet_counts_are_looked_for_until_describes_show_them() {
    let mut harness = quick();
    harness.run_until(minutes(20));
    let known: BTreeSet<InstanceId> = harness.status(0).instances.into_iter().map(|i| i.id).collect();
    let mut hidden = 3;
    harness.tamper_answer = Some(Box::new(move |answer| {
        if let Answer::Instances(Ok(shown)) = answer
            && hidden > 0
            && shown.iter().any(|instance| !known.contains(&instance.id))
        {
            hidden -= 1;
            shown.retain(|instance| known.contains(&instance.id));
        }
    }));
    harness.order(0, raise_min(harness.truth_of(0).target + 3)).expect("it is sensible");
    harness.run_until(minutes(22));
    all_are_known(&harness);
    harness.conclude();
}

#[test]
fn a_describe_that_fails_is_tried_again_before_the_fleet_counts_as_unknown() {
    // One of the windows meets the describe that a steady fleet has every three minutes.
    for offset in [0, 70, 140] {
        let refused = Effect::Refuse {
            action: Some(Action::DESCRIBE_SPOT_FLEET_REQUESTS),
            share: 1.0,
            class: ErrorClass::Transient,
            code: "Unavailable".into(),
        };
        let from = minutes(90) + secs(offset);
        let fault = Fault { from, until: Some(from + secs(80)), effect: refused };
        let spec = WorldSpec { faults: vec![fault], ..world(vec![fleet(8, Demand::constant(5.9))]) };
        // An observer writes nothing, so that nothing but the time makes anybody look.
        let mut harness = Harness::new(spec, 1).cloudwatch_only().policy(|policy| policy.observe_only = true);
        // At 300 s a look would be asked for anyway, and until then nothing would be known.
        while harness.elapsed() < minutes(102) {
            harness.run_until(harness.elapsed() + secs(1));
            let seen = harness.status(0).seen.expect("it was seen");
            let age = harness.now().wall.since(seen);
            assert!(age <= secs(290), "offset {offset}: seen {age:?} ago");
        }
        harness.conclude();
    }
}
