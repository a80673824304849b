//! What people and files say, and clocks: in force at once, for as long as it was said, through a restart.

use autoscaler_core::{Expected, Hold};
use autoscaler_engine::{Alarm, Answer, CommandError, Event, Ledger, Order, Outcome, Record};
use autoscaler_policy::{FleetPolicy, Schedule};
use fleet::Utilization;
use fleet_sim::{Demand, FleetSpec};
use muster_worlds::harness::{Harness, fleet, minutes, secs, world};
use std::time::Duration;

fn growing() -> FleetSpec {
    fleet(5, Demand::points([(minutes(20), 3.0), (minutes(25), 8.0)]))
}

fn raise_min(min: u32, lasts: Duration) -> Order {
    Order::Override { min: Some(min), max: None, target: None, lasts }
}

#[test]
fn a_paused_fleet_is_left_alone_until_the_pause_ends_by_itself() {
    let mut harness = Harness::new(world(vec![growing()]), 1);
    harness.run_until(minutes(15));
    let before = harness.truth.modifications.len();
    harness.order(0, Order::Pause { lasts: minutes(30) }).expect("it may be paused");
    harness.run_until(minutes(20));
    harness.die();
    harness.run_until(minutes(44));
    assert_eq!(harness.truth.modifications.len(), before);
    let status = harness.status(0);
    let pause = status.pause.expect("it is paused");
    assert_eq!((pause.by.as_str(), pause.reason.as_str()), ("ann", "a test"));
    let holds = status.decided.expect("it decides").report.holds;
    assert!(holds.iter().any(|hold| matches!(hold, Hold::Paused { .. })), "{holds:?}");
    harness.run_until(minutes(50));
    assert!(harness.truth_of(0).target > 8);
    assert_eq!(harness.status(0).pause, None);
    harness.conclude();
}

#[test]
fn resume_ends_a_pause_at_once() {
    let mut harness = Harness::new(world(vec![growing()]), 1);
    harness.run_until(minutes(15));
    harness.order(0, Order::Pause { lasts: minutes(600) }).expect("it may be paused");
    harness.run_until(minutes(40));
    let before = harness.truth.modifications.len();
    harness.order(0, Order::Resume).expect("it may be resumed");
    harness.run_until(minutes(40) + secs(2));
    assert_eq!(harness.truth.modifications.len(), before + 1, "at once");
    harness.conclude();
}

#[test]
fn an_override_holds_for_its_time_through_a_restart_and_is_journaled_with_who_and_why() {
    let mut harness = Harness::new(world(vec![fleet(4, Demand::constant(2.5))]), 1);
    harness.run_until(minutes(10));
    harness.order(0, raise_min(9, minutes(60))).expect("it is sensible");
    harness.run_until(minutes(10) + secs(2));
    assert_eq!(harness.truth_of(0).target, 9, "at once");
    harness.die();
    harness.run_until(minutes(60));
    assert_eq!(harness.truth_of(0).target, 9);
    let bent = harness.status(0).bent.expect("it is in force");
    assert_eq!((bent.min, bent.by.as_str(), bent.reason.as_str()), (Some(9), "ann", "a test"));
    assert_eq!(harness.status(0).min, 9);
    let ordered = harness.disk.entries().flat_map(|entry| entry.records).any(|record| {
        matches!(record, Record::Operator { command, .. } if command.by == "ann" && command.reason == "a test")
    });
    assert!(ordered);
    harness.run_until(minutes(180));
    assert_eq!(harness.status(0).bent, None);
    assert!(harness.truth_of(0).target <= 6, "{:?}", harness.truth_of(0));
    harness.conclude();
}

#[test]
fn orders_that_make_no_sense_change_nothing() {
    let mut harness = Harness::new(world(vec![growing()]), 1);
    harness.run_until(minutes(5));
    let lasts = minutes(5);
    let order = |min, max, target: Option<f64>| Order::Override {
        min,
        max,
        target: target.map(Utilization::new),
        lasts,
    };
    for (wrong, error) in [
        (order(None, None, None), CommandError::Empty),
        (order(Some(0), None, None), CommandError::Zero { what: "min".to_owned() }),
        (order(None, None, Some(0.0)), CommandError::Zero { what: "target".to_owned() }),
        (
            order(Some(21), None, None),
            CommandError::MinAboveMax { fleet: "fleet-0".into(), min: 21, max: 20 },
        ),
        (
            order(Some(9), Some(8), None),
            CommandError::MinAboveMax { fleet: "fleet-0".into(), min: 9, max: 8 },
        ),
        (raise_min(3, Duration::ZERO), CommandError::Lasts),
        (Order::Pause { lasts: minutes(60 * 24 * 31) }, CommandError::Lasts),
    ] {
        assert_eq!(harness.order(0, wrong), Err(error));
    }
    harness.policies[0].name = "fleet-x".into();
    let unknown = CommandError::UnknownFleet { name: "fleet-x".into(), nearest: Some("fleet-0".into()) };
    assert_eq!(harness.order(0, Order::Resume), Err(unknown));
    harness.policies[0].name = "fleet-0".into();
    assert_eq!((harness.status(0).bent, harness.status(0).pause), (None, None));
}

#[test]
fn new_policies_are_in_force_at_once_and_bad_ones_change_nothing() {
    let mut harness =
        Harness::new(world(vec![fleet(4, Demand::constant(2.5)), fleet(4, Demand::constant(2.5))]), 1);
    let both = harness.policies.clone();
    harness.policies.truncate(1);
    harness.run_until(minutes(10));
    harness.happen(Event::PoliciesRejected { problems: "web.hcl:1:1: no".to_owned() });
    let alarm = Alarm::PoliciesRejected { problems: "web.hcl:1:1: no".to_owned() };
    assert_eq!(harness.raised(), [alarm]);
    harness.policies = both;
    harness.policies[0].base.capacity.min = 7;
    harness.policies[1].base.capacity.min = 8;
    harness.happen(Event::PoliciesLoaded(harness.policies.clone()));
    harness.run_until(minutes(10) + secs(3));
    assert_eq!((harness.truth_of(0).target, harness.truth_of(1).target), (7, 8));
    assert_eq!(harness.raised(), []);
    // The second is let go: whatever it needs, it is not ours any more.
    let second = harness.policies.pop();
    harness.happen(Event::PoliciesLoaded(harness.policies.clone()));
    let before = harness.truth.modifications.len();
    harness.world.set_load(&harness.id(1).clone(), Demand::constant(9.0));
    harness.run_until(minutes(40));
    assert_eq!(harness.truth.modifications.len(), before);
    let now = harness.now();
    let engine = harness.engine.as_ref().expect("a process runs");
    assert_eq!(engine.fleet_status(&second.expect("it was there").name, now), None);
    assert_eq!(engine.status(now).fleets.len(), 1);
    harness.conclude();
}

#[test]
fn a_policy_that_points_to_another_fleet_starts_afresh() {
    let mut harness =
        Harness::new(world(vec![fleet(4, Demand::constant(2.5)), fleet(4, Demand::constant(2.5))]), 1);
    let other = harness.id(1);
    harness.policies.truncate(1);
    harness.run_until(minutes(10));
    harness.policies = vec![FleetPolicy::of("fleet-0", other.clone())];
    harness.policies[0].base.capacity.min = 6;
    harness.happen(Event::PoliciesLoaded(harness.policies.clone()));
    harness.run_until(minutes(10) + secs(3));
    assert_eq!(harness.status(0).id, Some(other));
    assert_eq!(harness.truth_of(1).target, 6);
    assert!(harness.truth_of(0).target < 6);
    harness.conclude();
}

/// A fleet that was made anew is found by the same policy: what the leader before us left tells of the old one.
#[test]
fn a_ledger_of_another_fleet_that_is_read_before_any_is_found_is_not_this_ones() {
    let mut harness = Harness::new(world(vec![growing()]), 1);
    harness.config.shared_ledger = true;
    let mut left = Ledger { held: Some("sfr-1".into()), ..Ledger::default() };
    left.memory.foreign_writes = 1;
    left.memory.expected =
        Some(Expected { target: 9, on_demand_target: 0, written: None, shown: true, before: None });
    let mut told = false;
    harness.tamper_answer = Some(Box::new(move |answer| match answer {
        Answer::Ledgers(ledgers) => {
            *ledgers = Ok(vec![Ok(Some(Box::new(left.clone())))]);
            told = true;
        }
        Answer::Fleets(found) if !told => *found = Ok(Vec::new()),
        _ => {}
    }));
    harness.run_until(minutes(5));
    let records: Vec<Record> = harness.disk.entries().flat_map(|entry| entry.records).collect();
    let first = |is: fn(&Record) -> bool| records.iter().position(is).expect("there is one");
    assert!(first(|r| matches!(r, Record::Ledger(_))) < first(|r| matches!(r, Record::Fleet { .. })));
    let state = harness.disk_state(0);
    assert_eq!((state.held, state.memory.ceded), (Some(harness.id(0)), false));
    assert_eq!((state.memory.foreign_writes, state.memory.foreign_write_at), (0, None));
    harness.run_until(minutes(50));
    assert!(harness.truth_of(0).target > 8, "{:?}", harness.truth_of(0));
    harness.conclude();
}

#[test]
fn schedules_begin_and_end_by_themselves() {
    let mut harness = Harness::new(world(vec![fleet(4, Demand::constant(2.5))]), 1);
    let morning =
        Schedule::new("morning", "30 0 * * *", "UTC", minutes(60), Some(8), None).expect("a schedule");
    harness.policies[0].schedules = vec![morning];
    harness.run_until(minutes(29));
    assert!(harness.truth_of(0).target < 8);
    harness.run_until(minutes(30) + secs(15));
    assert_eq!(harness.truth_of(0).target, 8);
    assert_eq!(harness.status(0).schedules, ["morning"]);
    harness.run_until(minutes(240));
    assert!(harness.truth_of(0).target <= 6, "{:?}", harness.truth_of(0));
    assert!(harness.status(0).schedules.is_empty());
    harness.conclude();
}

#[test]
fn a_stop_finishes_what_is_in_flight_and_begins_nothing() {
    let mut harness = Harness::new(world(vec![growing()]), 1);
    harness.run_until(minutes(21));
    while !harness.is_writing(0) {
        harness.run_until(harness.elapsed() + Duration::from_millis(5));
    }
    harness.happen(Event::Stop);
    let written = harness.truth.modifications.len();
    assert!(written > 0 && !harness.stopped, "an answer is on its way");
    harness.run_until(harness.elapsed() + secs(9));
    assert!(harness.stopped, "within ten seconds");
    let last = harness.disk.entries().flat_map(|entry| entry.records).last();
    let done = matches!(last, Some(Record::Outcome { outcome: Outcome::Done, .. }));
    assert!(done, "what came of it is the last word in the journal: {last:?}");
    harness.run_until(minutes(60));
    assert_eq!(harness.truth.modifications.len(), written, "nothing was begun");
    harness.conclude();
    // The next process goes on where this one stopped.
    harness.stopped = false;
    harness.die();
    harness.run_until(minutes(90));
    assert!(harness.truth_of(0).utilization < 0.8);
    harness.conclude();
}

#[test]
fn a_stop_does_not_wait_for_an_answer_that_does_not_come() {
    let mut harness = Harness::new(world(vec![growing()]), 1);
    let slow = fleet_sim::Effect::Slow { action: None, latency: minutes(5) };
    harness.run_until(minutes(21));
    harness.world.inject(fleet_sim::Fault::lasting(slow));
    while !harness.is_writing(0) && harness.elapsed() < minutes(30) {
        harness.run_until(harness.elapsed() + Duration::from_millis(5));
    }
    harness.happen(Event::Stop);
    harness.run_until(harness.elapsed() + secs(10));
    assert!(harness.stopped);
}

#[test]
fn a_wall_clock_that_jumps_breaks_nothing_and_the_fleet_is_held() {
    for jump in [-86_400_000, -3_600_000, -45_000, 45_000, 3_600_000, 86_400_000_i64] {
        let load = Demand::points([
            (minutes(30), 3.0),
            (minutes(34), 7.0),
            (minutes(90), 7.0),
            (minutes(94), 3.0),
            (minutes(150), 3.0),
            (minutes(154), 7.0),
        ]);
        let mut harness = Harness::new(world(vec![fleet(5, load)]), 6);
        // In the midst of buying, and of giving back; and back again.
        harness.run_until(minutes(32));
        harness.wall_off += jump;
        harness.run_until(minutes(60));
        harness.wall_off -= jump;
        harness.run_until(minutes(94));
        harness.wall_off += jump;
        harness.run_until(minutes(110));
        harness.wall_off -= jump;
        harness.run_until(minutes(200));
        let truth = harness.truth_of(0);
        let report = harness.status(0).decided.expect("it decides").report;
        assert!(truth.in_service >= 9 && truth.utilization < 0.8, "jump {jump} ms: {truth:?}\n{report:?}");
        let engine = harness.engine.as_ref().expect("a process runs");
        assert_eq!(engine.metrics().clock_jumps, 4);
        harness.conclude();
    }
}

#[test]
fn explain_makes_the_report_of_any_past_cycle_again() {
    let mut harness = Harness::new(world(vec![growing()]), 1);
    let mut shown = Vec::new();
    for minute in [5, 21, 22, 24, 30, 45] {
        harness.run_until(minutes(minute));
        shown.push((harness.now().wall, harness.status(0).decided.expect("it decides")));
    }
    harness.run_until(minutes(60));
    for (at, decided) in shown {
        let again = autoscaler_engine::explain_at(harness.disk.entries(), at, autoscaler_core::plan);
        assert_eq!(again.as_ref(), Some(&decided));
        assert!(!decided.report.to_string().is_empty());
    }
    let before = muster_worlds::harness::start() - secs(1);
    assert_eq!(autoscaler_engine::explain_at(harness.disk.entries(), before, autoscaler_core::plan), None);
}

#[test]
fn a_replay_by_another_planner_differs_and_says_where() {
    let mut harness = Harness::new(world(vec![growing()]), 1);
    harness.run_until(minutes(40));
    let lazy: autoscaler_engine::Planner = |policy, seen, memory, learned, now| {
        let mut planned = autoscaler_core::plan(policy, seen, memory, learned, now);
        planned.plan.actions.clear();
        planned
    };
    let replayed = autoscaler_engine::replay(harness.disk.entries(), lazy);
    let plans = replayed.divergences.iter().filter(|d| d.what == autoscaler_engine::Differs::Plan);
    assert_eq!(plans.count(), harness.truth.modifications.len() + harness.truth_terminations());
    assert!(replayed.cycles > 200 && replayed.skipped == 0, "{replayed:?}");
}
