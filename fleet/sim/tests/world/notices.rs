//! What can be heard of an instance's end: on EventBridge, well or badly delivered, and from EC2 itself.

use crate::bench::{Bench, ME, START, fleet_of, one_pool, secs};
use fleet::{ExcessCapacity, InstanceState, Notice, NoticeKind, NoticeSource, Timestamp};
use fleet_sim::{Delivery, Effect, EventKind, Fault, Notices, ScheduledCode, World, WorldSpec};

/// A fleet of ten under a way to deliver, all of them interrupted one after the other.
fn delivered(delivery: Delivery) -> World {
    let spec = WorldSpec { faults: vec![Fault::lasting(Effect::Events(delivery))], ..one_pool() };
    let mut bench = Bench::new(spec, fleet_of(10));
    for instance in bench.serving() {
        bench.world.interrupt(&instance);
        bench.pass(10);
    }
    bench.pass(3600);
    bench.world
}

/// (id, when it happened, when it came) of every interruption that was heard, in the order of hearing.
fn heard(world: &World) -> Vec<(u64, Timestamp, Timestamp)> {
    let warnings =
        world.events_since(0).filter(|event| matches!(event.kind, EventKind::InterruptionWarning { .. }));
    warnings.map(|event| (event.id, event.at, event.delivered)).collect()
}

#[test]
fn well_delivered_events_come_once_at_once_and_in_order() {
    let heard = heard(&delivered(Delivery::default()));
    assert_eq!(heard.len(), 10);
    assert!(heard.iter().all(|(_, at, delivered)| at == delivered));
    assert!(heard.is_sorted());
}

#[test]
fn badly_delivered_events_are_lost_doubled_and_out_of_order() {
    let heard_with = |delivery| heard(&delivered(delivery));
    assert!(heard_with(Delivery { lost: 1.0, ..Delivery::default() }).is_empty());
    let doubled = heard_with(Delivery { doubled: 1.0, ..Delivery::default() });
    assert_eq!(doubled.len(), 20);
    assert!(doubled.chunks(2).all(|pair| pair[0] == pair[1]), "both deliveries are of one event");
    let late = heard_with(Delivery { late: 1.0, by: secs(60), ..Delivery::default() });
    assert_eq!(late.len(), 10);
    assert!(late.iter().all(|(_, at, delivered)| delivered.since(*at) <= secs(60) && delivered >= at));
    assert!(!late.iter().map(|(id, ..)| id).is_sorted(), "in another order: {late:?}");
    let all = Delivery { lost: 0.3, doubled: 0.3, late: 0.3, by: secs(60) };
    assert_eq!(heard_with(all), heard_with(all), "and the same again");
}

#[test]
fn places_in_the_queue_count_deliveries() {
    let world = delivered(Delivery { doubled: 0.5, late: 0.5, by: secs(30), ..Delivery::default() });
    let places: Vec<u64> = world.events_since(0).map(|event| event.sequence).collect();
    assert!(places.iter().zip(0..).all(|(place, count)| *place == count), "{places:?}");
}

#[test]
fn ec2_shows_who_is_marked_and_whom_it_took_back() {
    let mut bench = Bench::simple(3);
    let instances = bench.serving();
    assert_eq!(bench.world.marks(ME), Ok(vec![]));
    bench.world.interrupt(&instances[0]);
    let notice = |at: Timestamp, deadline| Notice {
        instance: instances[0].clone(),
        kind: NoticeKind::SpotInterruption,
        source: NoticeSource::Ec2,
        at,
        deadline: Some(deadline),
    };
    let dies = START + secs(120);
    assert_eq!(bench.world.marks(ME), Ok(vec![notice(START, dies)]));
    bench.pass(120);
    assert_eq!(bench.world.marks(ME), Ok(vec![notice(dies, dies)]), "taken back");
    bench.terminate(&instances[1..2]);
    assert_eq!(
        bench.world.marks(ME).map(|marks| marks.len()),
        Ok(1),
        "an end that was asked for is no notice"
    );
}

#[test]
fn a_marked_instance_that_is_terminated_first_was_not_taken_back() {
    let mut bench = Bench::simple(2);
    let victim = bench.serving()[0].clone();
    bench.world.interrupt(&victim);
    bench.pass(60);
    bench.terminate(&[victim]);
    assert_eq!(bench.world.marks(ME), Ok(vec![]));
}

#[test]
fn the_mark_of_a_fleets_own_scale_in_looks_like_any_other() {
    let mut bench = Bench::simple(2);
    bench.set(1, ExcessCapacity::Termination);
    assert_eq!(bench.world.marks(ME).map(|marks| marks.len()), Ok(1));
    let notified = |event: &EventKind| matches!(event, EventKind::Fleet { record, .. } if record.sub_type == "termination_notified");
    assert!(bench.world.events_since(0).any(|event| notified(&event.kind)), "its fleet tells them apart");
    bench.pass(120);
    assert_eq!(bench.world.marks(ME), Ok(vec![]));
}

#[test]
fn marks_lag_like_every_describe() {
    let mut bench = Bench::simple(1);
    bench.world.set_describe_lag(secs(30));
    let victim = bench.serving()[0].clone();
    bench.pass(60);
    bench.world.interrupt(&victim);
    bench.pass(29);
    assert_eq!(bench.world.marks(ME), Ok(vec![]));
    bench.pass(1);
    assert_eq!(bench.world.marks(ME).map(|marks| marks.len()), Ok(1));
}

#[test]
fn a_retirement_is_announced_everywhere_and_ends_the_instance() {
    let mut bench = Bench::simple(2);
    let victim = bench.serving()[0].clone();
    assert!(bench.world.schedule(&victim, ScheduledCode::InstanceRetirement, secs(3600)));
    let planned = bench.world.notices(&victim).and_then(|notices| notices.scheduled).expect("in IMDS");
    assert_eq!((planned.announced, planned.not_before), (START, START + secs(3600)));
    let told = |event: &EventKind| matches!(event, EventKind::Scheduled { instance, event } if *instance == victim && *event == planned);
    assert!(bench.world.events_since(0).any(|event| told(&event.kind)));
    let marks = bench.world.marks(ME).expect("marks");
    assert_eq!((marks[0].kind, marks[0].deadline), (NoticeKind::ScheduledEvent, Some(planned.not_before)));
    bench.pass(3599);
    assert_eq!(bench.state_of(&victim), Some(InstanceState::Running));
    bench.pass(1);
    assert_eq!(bench.state_of(&victim), Some(InstanceState::ShuttingDown));
    assert_eq!(bench.world.marks(ME), Ok(vec![]));
    bench.pass(300);
    assert_eq!(bench.serving().len(), 2, "its fleet replaced it");
    assert!(!bench.world.schedule(&victim, ScheduledCode::InstanceStop, secs(1)), "it is gone");
}

#[test]
fn a_reboot_is_over_at_once_and_a_newer_plan_takes_the_place_of_an_older() {
    let mut bench = Bench::simple(1);
    let instance = bench.serving()[0].clone();
    bench.world.schedule(&instance, ScheduledCode::InstanceStop, secs(60));
    bench.world.schedule(&instance, ScheduledCode::SystemReboot, secs(120));
    bench.pass(60);
    assert_eq!(bench.state_of(&instance), Some(InstanceState::Running), "the stop was replaced");
    bench.pass(60);
    assert_eq!(bench.state_of(&instance), Some(InstanceState::Running));
    assert_eq!(bench.world.notices(&instance), Some(Notices::default()));
}
