//! EC2 does not answer for long: what is announced is emptied all the same, for that takes Nomad alone.

use crate::support::ec2::{Ec2, Fate, Replaces};
use crate::support::scene::seconds;
use autoscaler_core::{Action, Hold, Pause, Remark};
use fleet::{InstanceId, NoticeKind};

/// A fleet of eight that was last seen seven minutes ago, and one of its instances.
fn unseen() -> (Ec2, InstanceId) {
    let mut ec2 = Ec2::with_nomad(8, 6, 4);
    ec2.learning = false;
    ec2.ticks(3);
    ec2.away = true;
    ec2.ticks(42);
    let victim = ec2.ids()[2].clone();
    (ec2, victim)
}

#[test]
fn who_is_announced_while_the_fleet_is_not_seen_is_emptied_in_time_and_replaced_once() {
    for replaces in [Replaces::AtMarking, Replaces::AtDeath] {
        let (mut ec2, victim) = unseen();
        ec2.replaces = replaces;
        ec2.interrupt(&victim);
        let planned = ec2.tick(&mut |_| Fate::Works);
        let stale = |hold: &Hold| matches!(hold, Hold::FleetStale { .. });
        assert!(planned.report.holds.iter().any(stale), "{}", planned.report);
        assert!(!ec2.nodes.of(&victim).eligible, "{replaces:?}: no new work");
        assert!(ec2.nodes.has_work(&victim), "nobody knows what serves in its place: it works on");
        for _ in 0..20 {
            let planned = ec2.tick(&mut |_| Fate::Works);
            assert!(!planned.plan.actions.iter().any(Action::is_of_fleet), "{:?}", planned.plan);
        }
        assert!(!ec2.ids().contains(&victim));
        assert_eq!(ec2.undrained, [] as [InstanceId; 0], "{replaces:?}");
        ec2.away = false;
        ec2.ticks(40);
        let memory = &ec2.scene.memory;
        assert!(memory.removals.is_empty() && memory.replacements.is_empty(), "{replaces:?}: {memory:?}");
        assert_eq!((ec2.alive.len(), ec2.launched, ec2.target), (8, 9, 8), "{replaces:?}: by the fleet");
    }
}

/// What a leader knows of the instances that has the ledger of the one before it, and no answer of EC2.
#[derive(Clone, Copy, Debug)]
enum Knows {
    /// What it saw a while ago: all but the victim.
    Others,
    /// The fleet as it is now, and the instances as they were then.
    FleetNow,
    Nothing,
}

fn lead_anew(ec2: &mut Ec2, victim: &InstanceId, knows: Knows) {
    let now = ec2.scene.now;
    let seen = &mut ec2.scene.seen;
    seen.unseen = vec![victim.clone()];
    match knows {
        Knows::Nothing => (seen.fleet, seen.members) = (None, None),
        Knows::Others | Knows::FleetNow => {
            let members = seen.members.as_mut().expect("they were seen");
            members.what.retain(|member| member.id != *victim);
        }
    }
    if matches!(knows, Knows::FleetNow) {
        seen.fleet.as_mut().expect("it was seen").at = now;
    }
}

/// A tick in which nothing but the victim's node may be told anything. * returns: how often it was told to drain.
fn drains_of(ec2: &mut Ec2, victim: &InstanceId) -> usize {
    let mut drains = 0;
    let _ = ec2.tick(&mut |action| {
        let of_victim = matches!(action, Action::Drain { instance, .. } if instance == victim);
        assert!(of_victim, "{action:?}");
        drains += 1;
        Fate::Works
    });
    drains
}

#[test]
fn whom_the_leader_before_us_entered_is_emptied_in_time_by_one_that_has_never_seen_it() {
    for knows in [Knows::Others, Knows::FleetNow, Knows::Nothing] {
        let (mut ec2, victim) = unseen();
        ec2.interrupt(&victim);
        ec2.ticks(1);
        assert!(ec2.scene.memory.replacements.contains_key(&victim));
        lead_anew(&mut ec2, &victim, knows);
        for _ in 0..8 {
            assert_eq!(
                drains_of(&mut ec2, &victim),
                0,
                "{knows:?}: it works on until its latest safe moment"
            );
        }
        assert!(ec2.nodes.has_work(&victim), "{knows:?}");
        let drains: usize = (0..10).map(|_| drains_of(&mut ec2, &victim)).sum();
        assert!(!ec2.ids().contains(&victim) && drains > 0, "{knows:?}: {drains}");
        assert_eq!(ec2.undrained, [] as [InstanceId; 0], "{knows:?}");
    }
}

#[test]
fn what_is_heard_of_one_that_was_never_seen_counts() {
    let (mut ec2, victim) = unseen();
    let event = ec2.scene.now + seconds(1800);
    ec2.hear(&victim, NoticeKind::ScheduledEvent, Some(event));
    ec2.ticks(1);
    assert_eq!(ec2.scene.memory.replacements[&victim].deadline, Some(event));
    lead_anew(&mut ec2, &victim, Knows::Others);
    // It is taken sooner than by its event.
    ec2.interrupt(&victim);
    let drains: usize = (0..20).map(|_| drains_of(&mut ec2, &victim)).sum();
    assert!(!ec2.ids().contains(&victim) && drains > 0);
    assert_eq!(ec2.undrained, [] as [InstanceId; 0]);
}

#[test]
fn an_event_of_one_that_was_never_seen_and_that_is_called_off_empties_nobody() {
    let (mut ec2, victim) = unseen();
    ec2.hear(&victim, NoticeKind::ScheduledEvent, Some(ec2.scene.now + seconds(300)));
    ec2.ticks(1);
    lead_anew(&mut ec2, &victim, Knows::Nothing);
    ec2.scene.seen.notices.clear();
    for _ in 0..35 {
        assert_eq!(drains_of(&mut ec2, &victim), 0);
    }
}

#[test]
fn one_of_a_fleet_that_nobody_held_or_that_is_paused_or_that_a_look_did_not_show_is_left_alone() {
    let nobody_held: fn(&mut Ec2, &InstanceId) = |ec2, _| ec2.scene.memory.expected = None;
    let is_paused: fn(&mut Ec2, &InstanceId) = |ec2, _| {
        let until = ec2.scene.now + seconds(900);
        ec2.scene.seen.pause = Some(Pause { until, by: "ada".to_owned(), reason: "a look".to_owned() });
    };
    let others_look: fn(&mut Ec2, &InstanceId) = |ec2, _| ec2.scene.seen.unseen.clear();
    for change in [nobody_held, is_paused, others_look] {
        let (mut ec2, victim) = unseen();
        ec2.interrupt(&victim);
        ec2.ticks(1);
        lead_anew(&mut ec2, &victim, Knows::Nothing);
        change(&mut ec2, &victim);
        for _ in 0..11 {
            let _ = ec2.tick(&mut |action| panic!("{action:?}"));
        }
    }
}

#[test]
fn the_ledger_says_who_of_those_that_go_is_protected() {
    let mut ec2 = Ec2::with_nomad(8, 6, 4);
    ec2.ticks(3);
    let victim = ec2.ids()[2].clone();
    ec2.alive.iter_mut().find(|member| member.id == victim).expect("it lives").protected = true;
    ec2.interrupt(&victim);
    ec2.ticks(2);
    assert!(ec2.scene.memory.protected.contains(&victim), "{:?}", ec2.scene.memory);
    ec2.ticks(30);
    assert!(ec2.scene.memory.protected.is_empty());
}

#[test]
fn whom_aws_calls_at_risk_takes_no_new_work_though_the_fleet_is_not_seen() {
    let (mut ec2, victim) = unseen();
    ec2.hear(&victim, NoticeKind::RebalanceRecommendation, None);
    ec2.ticks(1);
    assert!(!ec2.nodes.of(&victim).eligible);
}

#[test]
fn what_was_not_ours_when_it_was_seen_is_left_alone() {
    let (mut ec2, victim) = unseen();
    let until = ec2.scene.now + seconds(900);
    ec2.scene.seen.pause = Some(Pause { until, by: "ada".to_owned(), reason: "a look".to_owned() });
    ec2.interrupt(&victim);
    let planned = ec2.tick(&mut |_| Fate::Works);
    let unheeded = Remark::NoticeUnheeded { instance: victim.clone(), kind: NoticeKind::SpotInterruption };
    assert!(planned.plan.actions.is_empty() && planned.report.remarks.contains(&unheeded), "{planned:?}");
}

#[test]
fn a_dry_run_of_what_is_not_seen_remembers_nothing() {
    let (mut ec2, victim) = unseen();
    ec2.scene.policy.dry_run = true;
    ec2.interrupt(&victim);
    let before = ec2.scene.memory.clone();
    let planned = ec2.tick(&mut |_| Fate::Refused);
    assert!(planned.report.remarks.contains(&Remark::DryRun), "{}", planned.report);
    assert_eq!(ec2.scene.memory, before);
}
