//! Policies that are away for a moment, or name their fleet in another way: what is known outlasts it.

use autoscaler_core::{Remark, RemovalStep};
use autoscaler_engine::Order;
use fleet::FleetSelector;
use fleet_sim::{Action, Demand, Effect, Fault, FleetSpec, InstancePhase};
use muster_worlds::harness::{Harness, fleet, minutes, secs, world};
use std::time::Duration;

fn raise_min(min: u32) -> Order {
    Order::Override { min: Some(min), max: None, target: None, lasts: minutes(60) }
}

fn tagged() -> FleetSpec {
    let mut spec = fleet(4, Demand::constant(2.5));
    spec.request.tags.insert("service".to_owned(), "web".to_owned());
    spec
}

/// The policies go, and come back eight seconds later.
fn away_for_a_moment(harness: &mut Harness) {
    let policies = std::mem::take(&mut harness.policies);
    harness.reload();
    harness.run_until(harness.elapsed() + secs(8));
    harness.policies = policies;
    harness.reload();
}

/// Whether the last decisions took the fleet over as one that was never seen.
fn was_taken_over_again(harness: &Harness) -> bool {
    let engine = harness.engine.as_ref().expect("a process runs");
    let decisions = engine.decisions(&harness.name(0)).expect("it is held");
    let adopted = |remark: &Remark| matches!(remark, Remark::Adopted { .. });
    decisions.iter().any(|decided| decided.report.remarks.iter().any(adopted))
}

#[test]
fn an_override_outlasts_a_policy_that_is_away_for_a_moment() {
    let mut harness = Harness::new(world(vec![tagged()]), 1);
    harness.run_until(minutes(10));
    harness.order(0, raise_min(9)).expect("it is sensible");
    harness.run_until(minutes(11));
    away_for_a_moment(&mut harness);
    harness.run_until(minutes(12));
    assert_eq!(harness.status(0).bent.and_then(|bent| bent.min), Some(9));
    assert!(!was_taken_over_again(&harness));
    // What was kept is in the journal again, too.
    harness.die();
    harness.run_until(minutes(60));
    assert_eq!(harness.status(0).bent.and_then(|bent| bent.min), Some(9));
    assert_eq!(harness.truth_of(0).target, 9);
    harness.conclude();
}

#[test]
fn a_pause_outlasts_a_policy_that_is_away_for_a_moment_also_where_the_process_dies_meanwhile() {
    for dies in [false, true] {
        let mut harness = Harness::new(world(vec![fleet(5, Demand::constant(8.0))]), 1);
        harness.run_until(secs(1));
        harness.order(0, Order::Pause { lasts: minutes(60) }).expect("it may be paused");
        harness.run_until(minutes(10));
        let before = harness.truth.modifications.len();
        if dies {
            let policies = std::mem::take(&mut harness.policies);
            harness.reload();
            harness.run_until(harness.elapsed() + secs(8));
            harness.policies = policies;
            harness.die();
        } else {
            away_for_a_moment(&mut harness);
        }
        harness.run_until(minutes(55));
        assert!(harness.status(0).pause.is_some(), "dies: {dies}");
        assert_eq!(harness.truth.modifications.len(), before, "dies: {dies}");
        harness.conclude();
    }
}

#[test]
fn a_removal_outlasts_a_policy_that_is_away_between_lowering_and_terminating() {
    let mut spec = world(vec![fleet(6, Demand::constant(2.0))]);
    spec.timing.describe_lag = secs(3);
    let mut harness = Harness::new(spec, 2).policy(|policy| policy.capacity.min = 6);
    harness.run_until(minutes(10));
    for policy in &mut harness.policies {
        (policy.base.capacity.min, policy.base.capacity.max) = (5, 5);
    }
    harness.reload();
    let lowered = |harness: &Harness| harness.truth.modifications.last().is_some_and(|(_, to)| *to == 5);
    while !lowered(&harness) {
        harness.run_until(harness.elapsed() + secs(1));
    }
    assert!(harness.truth.terminations.is_empty());
    away_for_a_moment(&mut harness);
    harness.run_until(harness.elapsed() + secs(1));
    let report = harness.status(0).decided.expect("it decides").report;
    assert!(
        matches!(
            &report.removals[..],
            [(_, RemovalStep::Lowering | RemovalStep::Lowered | RemovalStep::Terminating)]
        ),
        "{report}"
    );
    harness.run_until(minutes(25));
    let members = harness.world.instance_truths(&harness.id(0));
    let alive = members.iter().filter(|member| member.phase != InstancePhase::Gone).count();
    assert_eq!((members.len(), alive, harness.truth.terminations.len()), (6, 5, 1));
    assert!(!was_taken_over_again(&harness));
    harness.conclude();
}

#[test]
fn a_policy_that_names_the_same_fleet_by_tag_goes_on_where_it_was() {
    let mut harness = Harness::new(world(vec![tagged()]), 1);
    harness.run_until(minutes(10));
    harness.order(0, raise_min(7)).expect("it is sensible");
    harness.run_until(minutes(11));
    let id = harness.status(0).id;
    harness.policies[0].selector = FleetSelector::Tag { key: "service".into(), value: "web".into() };
    harness.reload();
    harness.run_until(minutes(12));
    let status = harness.status(0);
    assert_eq!((status.id, status.bent.and_then(|bent| bent.min)), (id, Some(7)));
    assert!(!was_taken_over_again(&harness));
    harness.run_until(minutes(30));
    harness.conclude_replay();
}

#[test]
fn nothing_is_written_to_a_fleet_that_the_policy_does_not_mean_any_more() {
    let mut spec = world(vec![tagged(), fleet(4, Demand::constant(2.5))]);
    spec.timing.modifying = Duration::ZERO;
    let mut harness = Harness::new(spec, 1);
    let other = harness.id(1);
    harness.policies.truncate(1);
    harness.run_until(minutes(10));
    // What is written is looked at: the picture is young enough to write upon.
    harness.order(0, raise_min(harness.truth_of(0).target + 1)).expect("it is sensible");
    harness.run_until(minutes(10) + secs(2));
    harness.order(0, Order::EndOverride).expect("it may end");
    let before = harness.truth.modifications.len();
    // No describe tells for a while which fleet the other one is.
    let slow = Effect::Slow { action: None, latency: secs(25) };
    harness.world.inject(Fault::lasting(slow));
    harness.policies[0].selector = FleetSelector::Id(other);
    harness.policies[0].base.capacity.min = 9;
    harness.reload();
    harness.run_until(harness.elapsed() + secs(20));
    assert_eq!(harness.truth.modifications.len(), before);
    harness.run_until(minutes(15));
    assert_eq!(harness.truth_of(1).target, 9);
    assert!(harness.truth_of(0).target < 9);
}

#[test]
fn an_answer_to_what_was_written_before_is_not_taken_for_that_of_a_later_write() {
    let mut harness = Harness::new(world(vec![tagged()]), 1);
    let slow = Effect::Slow { action: Some(Action::MODIFY_SPOT_FLEET_REQUEST), latency: secs(70) };
    harness.run_until(minutes(10));
    harness.world.inject(Fault::lasting(slow));
    harness.truth.bounds = Some((1, 20));
    let order_and_wait = |harness: &mut Harness, min| {
        harness.order(0, raise_min(min)).expect("it is sensible");
        let written = harness.truth.modifications.len();
        while harness.truth.modifications.len() == written {
            harness.run_until(harness.elapsed() + Duration::from_millis(100));
        }
        harness.elapsed()
    };
    let first = order_and_wait(&mut harness, 9);
    away_for_a_moment(&mut harness);
    let second = order_and_wait(&mut harness, 12);
    assert!(second < first + secs(60), "the second is begun before the first is answered");
    harness.run_until(first + secs(72));
    assert!(harness.is_writing(0), "the second has not been answered");
    harness.run_until(second + secs(72));
    assert!(!harness.is_writing(0));
    harness.run_until(minutes(30));
    harness.conclude();
}
