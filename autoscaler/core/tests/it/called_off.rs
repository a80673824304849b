//! Scheduled events that are called off, or put off: whoever was to go for one stays, and nobody is bought for it.

use crate::support::ec2::{Ec2, Fate};
use crate::support::scene::{NOON, seconds};
use autoscaler_core::{Action, DrainCause, Remark, Removal, ReplacementCause, ReplacementStep};
use fleet::{InstanceId, NoticeKind, Timestamp};

/// A fleet of eight whose nodes Nomad empties, and one of its instances.
fn fleet_of_eight() -> (Ec2, InstanceId) {
    let mut ec2 = Ec2::with_nomad(8, 6, 4);
    ec2.learning = false;
    ec2.ticks(3);
    let victim = ec2.ids()[2].clone();
    (ec2, victim)
}

fn schedule(ec2: &mut Ec2, id: &InstanceId, within: u64) -> Timestamp {
    let at = ec2.scene.now + seconds(within);
    ec2.hear(id, NoticeKind::ScheduledEvent, Some(at));
    at
}

/// What the engine makes of such news.
fn call_off(ec2: &mut Ec2, id: &InstanceId) {
    ec2.scene.seen.notices.retain(|notice| notice.instance != *id);
}

fn put_off(ec2: &mut Ec2, id: &InstanceId, within: u64) -> Timestamp {
    call_off(ec2, id);
    schedule(ec2, id, within)
}

/// It takes work, nobody is about to go, and the fleet is as large as it was.
fn nothing_has_come_of_it(ec2: &mut Ec2, id: &InstanceId, what: &str) {
    let memory = &ec2.scene.memory;
    assert!(memory.removals.is_empty() && memory.replacements.is_empty(), "{what}: {memory:?}");
    assert!(memory.restoring.is_empty() && memory.replaced.is_empty(), "{what}: {memory:?}");
    assert_eq!((ec2.target, ec2.alive.len(), memory.foreign_writes), (8, 8, 0), "{what}");
    assert_eq!(ec2.undrained, [] as [InstanceId; 0], "{what}");
    if ec2.ids().contains(id) {
        let node = ec2.nodes.of(id);
        assert!(node.eligible && !node.draining, "{what}: {node:?}");
    }
}

#[test]
fn one_that_waits_for_room_stays_and_its_node_takes_work_again() {
    for later in [None, Some(86_400)] {
        let (mut ec2, victim) = fleet_of_eight();
        (ec2.scene.policy.capacity.max, ec2.scene.policy.capacity.surge) = (8, 0);
        schedule(&mut ec2, &victim, 1800);
        ec2.ticks(3);
        assert_eq!(ec2.scene.memory.replacements[&victim].step, ReplacementStep::Waiting);
        assert!(!ec2.nodes.of(&victim).eligible, "no new work");
        match later {
            None => call_off(&mut ec2, &victim),
            Some(later) => drop(put_off(&mut ec2, &victim, later)),
        }
        let planned = ec2.tick(&mut |_| Fate::Works);
        let stays = Remark::EventCalledOff { instance: victim.clone() };
        assert!(planned.report.remarks.contains(&stays), "{}", planned.report);
        ec2.ticks(5);
        nothing_has_come_of_it(&mut ec2, &victim, &format!("{later:?}"));
        assert!(ec2.ids().contains(&victim));
        assert_eq!((ec2.launched, ec2.highest), (8, 8), "nobody was asked for");
    }
}

#[test]
fn a_node_that_was_drained_for_it_takes_work_again() {
    let (mut ec2, victim) = fleet_of_eight();
    (ec2.scene.policy.capacity.max, ec2.scene.policy.capacity.surge) = (8, 0);
    ec2.nodes.stubborn = true;
    schedule(&mut ec2, &victim, 60);
    ec2.ticks(4);
    let drains = ec2.nodes.of(&victim).draining;
    let entry = &ec2.scene.memory.replacements[&victim];
    assert!(drains && entry.step == ReplacementStep::LeftToFleet, "{entry:?}");
    call_off(&mut ec2, &victim);
    ec2.ticks(3);
    nothing_has_come_of_it(&mut ec2, &victim, "drained");
    assert_eq!(ec2.launched, 8);
}

#[test]
fn what_was_asked_for_already_is_given_back_at_each_moment() {
    for after in 1..40 {
        for slow in [5, 15, 40] {
            let what = format!("after {after} ticks, modifies in {slow}");
            let (mut ec2, victim) = fleet_of_eight();
            ec2.modifying_for = slow;
            schedule(&mut ec2, &victim, 1800);
            ec2.ticks(after);
            call_off(&mut ec2, &victim);
            ec2.ticks(120);
            ec2.scene.memory.replaced.remove(&victim);
            nothing_has_come_of_it(&mut ec2, &victim, &what);
            assert!(ec2.launched <= 9 && ec2.highest <= 9, "{what}: {} {}", ec2.launched, ec2.highest);
        }
    }
}

#[test]
fn while_the_target_is_raised_it_comes_down_in_the_same_cycle() {
    let (mut ec2, victim) = fleet_of_eight();
    (ec2.capacity, ec2.modifying_for) = (false, 5);
    schedule(&mut ec2, &victim, 1800);
    ec2.ticks(3);
    assert_eq!(ec2.scene.memory.replacements[&victim].step, ReplacementStep::Raised);
    assert_eq!(ec2.target, 9);
    call_off(&mut ec2, &victim);
    let mut told = Vec::new();
    let _ = ec2.tick(&mut |action| {
        told.push(action.clone());
        Fate::Works
    });
    let lowers = told.iter().any(|a| matches!(a, Action::Modify { change, .. } if change.target == 8));
    assert!(lowers && told.contains(&Action::Restore { instance: victim.clone() }), "{told:?}");
    ec2.capacity = true;
    ec2.ticks(30);
    nothing_has_come_of_it(&mut ec2, &victim, "raised");
    assert_eq!(ec2.launched, 8, "nobody was bought");
}

#[test]
fn one_that_is_put_off_by_little_is_replaced_for_its_new_time() {
    let (mut ec2, victim) = fleet_of_eight();
    (ec2.scene.policy.capacity.max, ec2.scene.policy.capacity.surge) = (8, 0);
    schedule(&mut ec2, &victim, 600);
    ec2.ticks(3);
    let later = put_off(&mut ec2, &victim, 1800);
    ec2.ticks(1);
    let entry = &ec2.scene.memory.replacements[&victim];
    assert_eq!((entry.step, entry.deadline), (ReplacementStep::Waiting, Some(later)));
    let earlier = put_off(&mut ec2, &victim, 300);
    ec2.ticks(1);
    assert_eq!(ec2.scene.memory.replacements[&victim].deadline, Some(earlier), "nearer, too");
}

#[test]
fn a_victim_that_was_spare_is_spare_again() {
    let (mut ec2, victim) = fleet_of_eight();
    ec2.nodes.stubborn = true;
    let member = ec2.alive.iter().find(|m| m.id == victim).expect("alive").clone();
    let mut removal = Removal::of(&member, DrainCause::ScaleIn, NOON);
    removal.drain_until = Some(ec2.scene.now + seconds(600));
    ec2.scene.memory.removals.insert(victim.clone(), removal);
    schedule(&mut ec2, &victim, 900);
    let planned = ec2.scene.plan();
    let entry = planned.memory.removals.get(&victim).map(|r| (r.cause, r.deadline.is_some()));
    let scheduled = DrainCause::Replaced(ReplacementCause::Notice(NoticeKind::ScheduledEvent));
    assert_eq!(entry, Some((scheduled, true)), "it goes, whatever load does");
    ec2.scene.remember(&planned);
    call_off(&mut ec2, &victim);
    let entry = ec2.scene.plan().memory.removals.get(&victim).map(|r| (r.cause, r.deadline));
    assert_eq!(entry, Some((DrainCause::ScaleIn, None)));
}

/// Long before the last event comes, both have gone, one was bought for each, and no work was lost.
fn both_are_replaced(mut ec2: Ec2, both: [&InstanceId; 2], comes: Timestamp, what: &str) {
    while ec2.scene.now + seconds(600) < comes {
        ec2.ticks(1);
    }
    let left = both.map(|id| ec2.ids().contains(id));
    assert_eq!(left, [false, false], "{what}: {:?}", ec2.scene.memory);
    assert_eq!((ec2.alive.len(), ec2.launched, ec2.target), (8, 10, 8), "{what}");
    assert_eq!(ec2.undrained, [] as [InstanceId; 0], "{what}");
}

#[test]
fn events_of_several_are_each_replaced_before_they_come() {
    for apart in [0, 1, 4, 12, 40] {
        let (mut ec2, first) = fleet_of_eight();
        let second = ec2.ids()[5].clone();
        schedule(&mut ec2, &first, 3600);
        ec2.ticks(apart);
        let comes = schedule(&mut ec2, &second, 3600);
        both_are_replaced(ec2, [&first, &second], comes, &format!("{apart} cycles apart"));
    }
}

#[test]
fn one_whose_place_was_counted_for_an_interrupted_one_is_replaced_all_the_same() {
    for after in 1..30 {
        let (mut ec2, scheduled) = fleet_of_eight();
        let taken = ec2.ids()[5].clone();
        let comes = schedule(&mut ec2, &scheduled, 3600);
        ec2.ticks(after);
        ec2.interrupt(&taken);
        both_are_replaced(ec2, [&scheduled, &taken], comes, &format!("after {after} cycles"));
    }
}

#[test]
fn one_that_was_left_to_the_fleet_and_has_time_after_all_is_asked_for() {
    // It was put off; or the clock by which it came so soon has been set right.
    let (mut ec2, victim) = fleet_of_eight();
    schedule(&mut ec2, &victim, 30);
    ec2.ticks(1);
    assert_eq!(ec2.scene.memory.replacements[&victim].step, ReplacementStep::LeftToFleet);
    put_off(&mut ec2, &victim, 3500);
    ec2.ticks(120);
    assert!(!ec2.ids().contains(&victim), "{:?}", ec2.scene.memory);
    assert_eq!((ec2.alive.len(), ec2.launched, ec2.target), (8, 9, 8));
}

#[test]
fn an_event_that_was_survived_takes_no_time_from_an_interruption() {
    // While its entry still waits for the end, and long after it has stayed; EC2 lists the event all the while.
    for after in [9, 40] {
        let (mut ec2, victim) = fleet_of_eight();
        (ec2.scene.policy.capacity.max, ec2.scene.policy.capacity.surge) = (8, 0);
        schedule(&mut ec2, &victim, 60);
        ec2.ticks(after);
        let entered = ec2.scene.memory.replacements.contains_key(&victim);
        assert_eq!((ec2.ids().contains(&victim), entered), (true, after == 9));
        ec2.scene.policy.capacity.surge = 1;
        ec2.interrupt(&victim);
        ec2.ticks(2);
        let entry = &ec2.scene.memory.replacements[&victim];
        let asked = matches!(entry.step, ReplacementStep::Raising | ReplacementStep::Raised);
        assert!(asked && entry.deadline == Some(ec2.marked[&victim]), "after {after}: {entry:?}");
        ec2.ticks(60);
        assert_eq!((ec2.alive.len(), ec2.launched, ec2.target), (8, 9, 8), "after {after}");
        assert_eq!(ec2.undrained, [] as [InstanceId; 0], "after {after}");
    }
}
