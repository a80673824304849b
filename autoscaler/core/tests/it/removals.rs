//! Every removal ends with exactly one instance less, or with its victim kept.

use crate::support::ec2::{Ec2, Fate};
use crate::support::scene::{Scene, seconds};
use autoscaler_core::{Action, DrainCause, Member, Phase, Planned, Remark, Removal, RemovalStep};
use fleet::ExcessCapacity;

/// A fleet of 12 where 8 are needed, run until nothing moves.
fn settle(ec2: &mut Ec2) {
    ec2.ticks(120);
}

fn ends_with_exactly(ec2: &mut Ec2, count: usize) {
    assert_eq!(ec2.alive.len(), count, "target {}, memory {:?}", ec2.target, ec2.scene.memory);
    assert_eq!(ec2.target as usize, count);
    assert!(ec2.scene.memory.removals.is_empty(), "{:?}", ec2.scene.memory);
    assert_eq!(ec2.scene.memory.foreign_writes, 0);
}

#[test]
fn superfluous_instances_are_removed_and_none_is_bought_for_them() {
    for lag in [0, 10, 30] {
        let mut ec2 = Ec2::of(12, 6);
        ec2.lag = lag;
        settle(&mut ec2);
        ends_with_exactly(&mut ec2, 8);
        assert_eq!((ec2.launched, ec2.terminated.len()), (12, 4), "lag {lag}");
    }
}

#[test]
fn the_target_is_lowered_and_has_shown_before_anybody_is_terminated() {
    let mut ec2 = Ec2::of(12, 6);
    let mut order = Vec::new();
    for _ in 0..40 {
        let _ = ec2.tick(&mut |action| {
            order.push(match action {
                Action::Modify { .. } => "modify",
                Action::Terminate { .. } => "terminate",
                other => unreachable!("nobody empties nodes here: {other:?}"),
            });
            Fate::Works
        });
    }
    assert_eq!(order, ["modify", "terminate"]);
}

#[test]
fn every_fate_of_every_call_converges_to_the_same_fleet() {
    let fates = [Fate::Works, Fate::Refused, Fate::WorksUnheard, Fate::Lost];
    for first in fates {
        for second in fates {
            for lag in [0, 30] {
                let mut ec2 = Ec2::of(12, 6);
                ec2.lag = lag;
                let mut calls = [first, second].into_iter();
                for _ in 0..160 {
                    let _ = ec2.tick(&mut |_| calls.next().unwrap_or(Fate::Works));
                }
                ends_with_exactly(&mut ec2, 8);
                assert_eq!(ec2.launched, 12, "{first:?}, {second:?}, lag {lag}: one was bought again");
            }
        }
    }
}

#[test]
fn a_crash_before_any_step_is_carried_out_ends_the_same() {
    // What was journaled is known, what was to be sent was not: as if the call got lost. And the other way round,
    // what was sent but not heard of.
    for step in 0..2 {
        for fate in [Fate::Lost, Fate::WorksUnheard] {
            let mut ec2 = Ec2::of(12, 6);
            let mut call = 0;
            for _ in 0..160 {
                let _ = ec2.tick(&mut |_| {
                    call += 1;
                    if call == step + 1 { fate } else { Fate::Works }
                });
            }
            ends_with_exactly(&mut ec2, 8);
            assert_eq!(ec2.launched, 12);
        }
    }
}

#[test]
fn a_victim_that_goes_by_itself_needs_no_other_in_its_place() {
    for step in [RemovalStep::Lowering, RemovalStep::Terminating] {
        let mut ec2 = Ec2::of(12, 6);
        let victim = loop {
            let _ = ec2.tick(&mut |action| match action {
                // Not told yet: it goes by itself first.
                Action::Terminate { .. } => Fate::Lost,
                _ => Fate::Works,
            });
            if let Some(victim) = ec2.victim_at(step) {
                break victim;
            }
        };
        ec2.lose(&victim);
        settle(&mut ec2);
        ends_with_exactly(&mut ec2, 8);
        assert_eq!(ec2.launched, 12, "{step:?}");
    }
}

#[test]
fn another_instance_that_is_lost_takes_a_victims_place() {
    let mut ec2 = Ec2::of(12, 6);
    // Lowered to 8, and before the victims are told, one that was to stay is gone.
    while ec2.victim_at(RemovalStep::Lowering).is_none() {
        ec2.ticks(1);
    }
    let mut ids = ec2.alive.iter().map(|m| m.id.clone());
    let stays = ids.rfind(|id| !ec2.scene.memory.removals.contains_key(id)).expect("somebody stays");
    ec2.lose(&stays);
    settle(&mut ec2);
    ends_with_exactly(&mut ec2, 8);
    assert_eq!((ec2.launched, ec2.terminated.len()), (12, 3), "a victim stayed in its place");
}

#[test]
fn demand_that_comes_back_keeps_the_victims() {
    let mut ec2 = Ec2::of(12, 6);
    while ec2.victim_at(RemovalStep::Lowering).is_none() {
        ec2.ticks(1);
    }
    ec2.scene.learned = Ec2::of(12, 9).scene.learned;
    ec2.demand = 9.0;
    let mut undone = false;
    for _ in 0..60 {
        let planned = ec2.tick(&mut |_| Fate::Works);
        undone |= planned.report.remarks.iter().any(|r| matches!(r, Remark::RemovalUndone { .. }));
    }
    ends_with_exactly(&mut ec2, 12);
    assert!(undone);
    assert_eq!((ec2.launched, ec2.terminated.len()), (12, 0));
}

#[test]
fn a_victim_whose_work_has_not_left_is_waited_for() {
    let mut ec2 = Ec2::of(9, 6);
    while ec2.victim_at(RemovalStep::Lowering).is_none() {
        ec2.ticks(1);
    }
    let victim = ec2.victim_at(RemovalStep::Lowering).expect("one");
    let place = |ec2: &Ec2| ec2.alive.iter().position(|m| m.id == victim).expect("it is still there");
    let index = place(&ec2);
    ec2.alive[index].phase = Phase::Draining;
    ec2.ticks(30);
    let index = place(&ec2);
    ec2.alive[index].phase = Phase::InService;
    settle(&mut ec2);
    ends_with_exactly(&mut ec2, 8);
}

#[test]
fn a_lowering_that_was_refused_is_back_where_it_began() {
    let mut memory = Ec2::of(12, 6).scene.plan().memory;
    assert!(memory.removals.values().all(|r| r.step == RemovalStep::Lowering) && memory.removals.len() == 4);
    memory.modify_refused();
    assert!(memory.removals.values().all(|r| r.step == RemovalStep::Draining));
    assert_eq!(memory.expected.map(|e| (e.target, e.shown)), Some((12, true)));
}

#[test]
fn a_victim_that_does_not_listen_is_told_again() {
    let mut ec2 = Ec2::of(12, 6);
    let mut deaf = 3;
    let mut told_again = false;
    for _ in 0..120 {
        let planned = ec2.tick(&mut |action| match action {
            Action::Terminate { .. } if deaf > 0 => {
                deaf -= 1;
                Fate::Lost
            }
            _ => Fate::Works,
        });
        told_again |= planned.report.remarks.iter().any(|r| matches!(r, Remark::TerminatedAgain { .. }));
    }
    assert!(told_again);
    ends_with_exactly(&mut ec2, 8);
}

#[test]
fn whoever_was_told_is_nobodys_reserve_when_others_are_told_again() {
    let mut scene = Scene::of(10, 4);
    let since = scene.now - seconds(100);
    let told: Vec<Member> = scene.members()[..3].to_vec();
    for victim in told {
        let removal = Removal::of(&victim, DrainCause::ScaleIn, since);
        scene.memory.removals.insert(victim.id, Removal { step: RemovalStep::Terminating, ..removal });
    }
    // Whether the three go, nobody knows; without them one is missing.
    scene.view().target = 8;
    scene.memory.expected = None;
    let Planned { plan, report, .. } = scene.plan();
    assert!(plan.actions.iter().all(|action| matches!(action, Action::Modify { .. })), "{report}");
    let undone = report.remarks.iter().filter(|remark| matches!(remark, Remark::RemovalUndone { .. }));
    assert_eq!(undone.count(), 3, "{report}");
}

#[test]
fn a_ledger_that_was_lost_leaves_one_instance_less_all_the_same() {
    let mut ec2 = Ec2::of(12, 6);
    while ec2.victim_at(RemovalStep::Lowering).is_none() {
        ec2.ticks(1);
    }
    // The journal is gone; the lowered target is not.
    ec2.scene.memory = autoscaler_core::Memory::default();
    settle(&mut ec2);
    ends_with_exactly(&mut ec2, 8);
    assert_eq!(ec2.launched, 12);
}

#[test]
fn a_target_that_somebody_raised_again_keeps_the_victims() {
    let mut ec2 = Ec2::of(12, 6);
    while ec2.victim_at(RemovalStep::Lowering).is_none() {
        ec2.ticks(1);
    }
    // After our write, and in one more operator's step, the fleet stands at 12 again.
    ec2.modifying_until = ec2.scene.now;
    ec2.target = 12;
    for _ in 0..8 {
        let planned = ec2.tick(&mut |_| Fate::Works);
        assert!(
            planned.plan.actions.iter().all(|a| matches!(a, Action::Modify { .. })),
            "nobody is terminated whom the fleet would replace: {}",
            planned.report
        );
    }
    assert_eq!((ec2.launched, ec2.terminated.len()), (12, 0));
}

#[test]
fn a_fleet_that_terminates_by_itself_is_set_right_first() {
    let mut ec2 = Ec2::of(8, 6);
    ec2.excess = ExcessCapacity::Termination;
    settle(&mut ec2);
    assert_eq!(ec2.excess, ExcessCapacity::NoTermination);
    assert_eq!((ec2.alive.len(), ec2.launched), (8, 8));
}

#[test]
fn lost_instances_are_replaced_by_the_fleet_alone() {
    let mut ec2 = Ec2::of(8, 6);
    let lost = ec2.alive[3].id.clone();
    ec2.ticks(5);
    ec2.lose(&lost);
    settle(&mut ec2);
    ends_with_exactly(&mut ec2, 8);
    assert_eq!(ec2.launched, 9, "one for one");
}

#[test]
fn a_market_without_capacity_does_not_make_the_target_climb() {
    let mut ec2 = Ec2::of(8, 6);
    ec2.capacity = false;
    ec2.demand = 8.0;
    ec2.scene.learned = Ec2::of(8, 12).scene.learned;
    let mut highest = 0;
    for _ in 0..180 {
        let _ = ec2.tick(&mut |_| Fate::Works);
        highest = highest.max(ec2.target);
    }
    assert!(highest <= 20, "{highest}");
    ec2.capacity = true;
    ec2.demand = 6.0;
    ec2.ticks(400);
    assert!(ec2.alive.len() <= 9, "{}", ec2.alive.len());
}
