//! What is done about a notice: whoever is about to go is replaced once, and emptied in time.

use crate::support::ec2::{Ec2, Fate, Replaces};
use crate::support::scene::{NOON, Scene, seconds};
use autoscaler_core::{
    Action, Decision, DrainBy, DrainCause, FleetBuys, Hold, Memory, Pause, PoolTrouble, Rebalance, Remark,
    RemovalStep, ReplacementCause, ReplacementStep, TroubleKind,
};
use fleet::{ExcessCapacity, InstanceId, NoticeKind};
use std::collections::BTreeSet;

const WORLDS: [Replaces; 2] = [Replaces::AtMarking, Replaces::AtDeath];

fn ends_with_exactly(ec2: &Ec2, count: usize, what: &str) {
    assert_eq!(ec2.alive.len(), count, "{what}: target {}, memory {:?}", ec2.target, ec2.scene.memory);
    assert_eq!(ec2.target as usize, count, "{what}");
    let memory = &ec2.scene.memory;
    assert!(memory.removals.is_empty() && memory.replacements.is_empty(), "{what}: {memory:?}");
    assert_eq!(memory.foreign_writes, 0, "{what}");
}

fn fleet_of_eight(drain: DrainBy) -> Ec2 {
    if drain == DrainBy::Nomad { Ec2::with_nomad(8, 6, 4) } else { Ec2::of(8, 6) }
}

fn changes(actions: &[Action]) -> Vec<u32> {
    let targets = actions.iter().filter_map(|action| match action {
        Action::Modify { change, .. } => Some(change.target),
        _ => None,
    });
    targets.collect()
}

#[test]
fn whoever_is_interrupted_is_replaced_exactly_once_in_both_worlds() {
    for replaces in WORLDS {
        for drain in [DrainBy::Nobody, DrainBy::Nomad] {
            for (lag, slow) in [(0, 5), (0, 15), (0, 40)] {
                let what = format!("{replaces:?}, {drain:?}, lag {lag}, modifies in {slow}");
                let mut ec2 = fleet_of_eight(drain);
                (ec2.replaces, ec2.lag, ec2.modifying_for, ec2.learning) = (replaces, lag, slow, false);
                ec2.ticks(5);
                let victim = ec2.ids()[2].clone();
                ec2.interrupt(&victim);
                ec2.ticks(90);
                ends_with_exactly(&ec2, 8, &what);
                assert_eq!(ec2.launched, 9, "{what}: one for one");
                assert_eq!(ec2.undrained, [] as [InstanceId; 0], "{what}");
                assert!(ec2.highest <= 9, "{what}: {}", ec2.highest);
            }
        }
    }
}

#[test]
fn what_lags_may_be_bought_twice_and_is_given_back() {
    for replaces in WORLDS {
        for (lag, slow) in [(10, 15), (30, 15), (30, 60), (0, 300), (20, 90)] {
            let what = format!("{replaces:?}, lag {lag}, modifies in {slow}");
            let mut ec2 = fleet_of_eight(DrainBy::Nomad);
            (ec2.replaces, ec2.lag, ec2.modifying_for, ec2.learning) = (replaces, lag, slow, false);
            ec2.ticks(5);
            let victim = ec2.ids()[2].clone();
            ec2.interrupt(&victim);
            ec2.ticks(240);
            ends_with_exactly(&ec2, 8, &what);
            assert!(ec2.launched <= 10, "{what}: {}", ec2.launched);
            assert_eq!(ec2.undrained, [] as [InstanceId; 0], "{what}");
        }
    }
}

#[test]
fn what_was_seen_of_the_last_interruption_is_supposed_of_the_next() {
    for (replaces, counts, highest) in [(Replaces::AtMarking, false, 8), (Replaces::AtDeath, true, 9)] {
        for lag in [10, 20, 30] {
            let what = format!("{replaces:?}, lag {lag}");
            let mut ec2 = fleet_of_eight(DrainBy::Nomad);
            (ec2.replaces, ec2.lag, ec2.modifying_for, ec2.learning) = (replaces, lag, 5, false);
            ec2.ticks(5);
            let first = ec2.ids()[2].clone();
            ec2.interrupt(&first);
            ec2.ticks(150);
            ends_with_exactly(&ec2, 8, &what);
            assert_eq!(ec2.scene.memory.counts_marked, Some(counts), "{what}");
            let (launched, second) = (ec2.launched, ec2.ids()[3].clone());
            ec2.highest = 0;
            ec2.interrupt(&second);
            ec2.ticks(150);
            ends_with_exactly(&ec2, 8, &what);
            assert_eq!(ec2.launched, launched + 1, "{what}: one for one");
            assert_eq!(ec2.highest.max(8), highest, "{what}");
        }
    }
}

#[test]
fn what_the_policy_says_of_the_fleet_is_supposed_of_the_first_and_what_is_seen_goes_before_it() {
    // Said rightly, the first one is not bought twice.
    for lag in [10, 20, 30] {
        let mut ec2 = fleet_of_eight(DrainBy::Nomad);
        (ec2.replaces, ec2.lag, ec2.modifying_for, ec2.learning) = (Replaces::AtMarking, lag, 5, false);
        ec2.scene.policy.interruption.fleet_buys = FleetBuys::AtMarking;
        ec2.ticks(5);
        let victim = ec2.ids()[2].clone();
        ec2.interrupt(&victim);
        ec2.ticks(150);
        ends_with_exactly(&ec2, 8, "said rightly");
        assert_eq!((ec2.launched, ec2.highest), (9, 8), "one for one, and none was asked for: lag {lag}");
    }
    // Said wrongly, it is asked for once describes have shown that.
    let mut ec2 = fleet_of_eight(DrainBy::Nomad);
    (ec2.replaces, ec2.modifying_for, ec2.learning) = (Replaces::AtDeath, 5, false);
    ec2.scene.policy.interruption.fleet_buys = FleetBuys::AtMarking;
    ec2.ticks(5);
    let victim = ec2.ids()[2].clone();
    ec2.interrupt(&victim);
    ec2.ticks(90);
    ends_with_exactly(&ec2, 8, "said wrongly");
    assert_eq!(ec2.scene.memory.counts_marked, Some(true));
    assert_eq!((ec2.launched, ec2.highest, ec2.undrained.len()), (9, 9, 0), "asked for, if late");
}

/// Describes that lag count a young one still, and only that: the older one was bought for long ago.
#[test]
fn what_is_counted_of_a_young_interruption_is_not_taken_for_an_older_one_that_runs_still() {
    for lag in [10, 20, 30] {
        for ticks_between in 3..=11 {
            let what = format!("lag {lag}, {ticks_between} ticks between");
            let mut ec2 = fleet_of_eight(DrainBy::Nomad);
            (ec2.replaces, ec2.lag, ec2.modifying_for, ec2.learning) = (Replaces::AtMarking, lag, 5, false);
            ec2.scene.policy.interruption.fleet_buys = FleetBuys::AtMarking;
            ec2.ticks(5);
            let victims = [ec2.ids()[2].clone(), ec2.ids()[3].clone()];
            ec2.interrupt(&victims[0]);
            ec2.ticks(ticks_between);
            ec2.interrupt(&victims[1]);
            ec2.ticks(150);
            ends_with_exactly(&ec2, 8, &what);
            assert_eq!((ec2.launched, ec2.highest), (10, 8), "{what}: one for one, and none was asked for");
        }
    }
}

#[test]
fn a_world_that_changes_is_learned_again() {
    let mut ec2 = fleet_of_eight(DrainBy::Nomad);
    (ec2.replaces, ec2.modifying_for, ec2.learning) = (Replaces::AtDeath, 5, false);
    ec2.scene.memory.counts_marked = Some(false);
    ec2.ticks(5);
    let id = ec2.ids()[2].clone();
    ec2.interrupt(&id);
    ec2.ticks(90);
    ends_with_exactly(&ec2, 8, "in the end");
    assert_eq!(ec2.scene.memory.counts_marked, Some(true));
    assert_eq!((ec2.launched, ec2.highest, ec2.undrained.len()), (9, 9, 0), "asked for, if late");
}

/// AWS takes what it has marked; nobody ever takes what is at risk and only seemed to be the one that is not counted.
#[test]
fn one_at_risk_that_the_fleet_counts_after_all_is_replaced_by_us() {
    let mut ec2 = fleet_of_eight(DrainBy::Nomad);
    (ec2.replaces, ec2.modifying_for, ec2.learning) = (Replaces::AtMarking, 5, false);
    ec2.scene.policy.interruption.rebalance = Rebalance::Replace;
    ec2.ticks(5);
    let (at_risk, marked) = (ec2.ids()[2].clone(), ec2.ids()[3].clone());
    // Nobody has heard of the other yet.
    let deadline = ec2.scene.now + seconds(120);
    ec2.marked.insert(marked.clone(), deadline);
    ec2.capacity = false;
    ec2.ticks(1);
    ec2.hear(&at_risk, NoticeKind::RebalanceRecommendation, None);
    ec2.ticks(1);
    assert_eq!(ec2.scene.memory.replacements[&at_risk].step, ReplacementStep::BoughtByFleet);
    ec2.hear(&marked, NoticeKind::SpotInterruption, Some(deadline));
    ec2.capacity = true;
    ec2.ticks(120);
    assert!(!ec2.ids().contains(&at_risk), "{:?}", ec2.scene.memory.replacements);
    ends_with_exactly(&ec2, 8, "one for one");
}

/// Two at risk, the second of which is asked for when the first has gone: it does not let go in the place of the first.
#[test]
fn one_at_risk_that_waits_for_its_turn_keeps_its_work_until_the_one_before_has_gone() {
    let mut ec2 = fleet_of_eight(DrainBy::Nomad);
    ec2.learning = false;
    ec2.scene.policy.interruption.rebalance = Rebalance::Replace;
    ec2.ticks(5);
    let (first, second) = (ec2.ids()[5].clone(), ec2.ids()[2].clone());
    ec2.hear(&first, NoticeKind::RebalanceRecommendation, None);
    ec2.ticks(1);
    // The fleet is being modified.
    ec2.hear(&second, NoticeKind::RebalanceRecommendation, None);
    ec2.ticks(120);
    assert!(!ec2.ids().contains(&first) && !ec2.ids().contains(&second), "{:?}", ec2.scene.memory);
    ends_with_exactly(&ec2, 8, "one after the other");
    assert_eq!(ec2.launched, 10);
}

/// The second is heard of when more was asked for in place of the first and no describe shows it yet: all eight are wanted, and it
/// lets go in nobody's place. Else the first would wait for it, and it for the first.
#[test]
fn one_at_risk_does_not_let_go_for_what_was_asked_for_and_is_not_shown_yet() {
    let mut ec2 = fleet_of_eight(DrainBy::Nomad);
    ec2.learning = false;
    ec2.scene.policy.interruption.rebalance = Rebalance::Replace;
    ec2.ticks(5);
    ec2.lag = 30;
    let (first, second) = (ec2.ids()[5].clone(), ec2.ids()[2].clone());
    ec2.hear(&first, NoticeKind::RebalanceRecommendation, None);
    ec2.ticks(1);
    let step = |ec2: &Ec2, id: &InstanceId| ec2.scene.memory.replacements.get(id).map(|r| r.step);
    assert_eq!(step(&ec2, &first), Some(ReplacementStep::Raising));
    ec2.hear(&second, NoticeKind::RebalanceRecommendation, None);
    ec2.ticks(1);
    assert_eq!(step(&ec2, &first), Some(ReplacementStep::Raising), "it does not show yet");
    assert_eq!(ec2.scene.memory.replacements[&second].drain_until, None);
    ec2.ticks(200);
    assert!(!ec2.ids().contains(&first) && !ec2.ids().contains(&second), "{:?}", ec2.scene.memory);
    ends_with_exactly(&ec2, 8, "one after the other");
}

#[test]
fn a_fleet_that_buys_by_itself_is_left_to_it_though_the_market_has_nothing() {
    let mut ec2 = fleet_of_eight(DrainBy::Nomad);
    (ec2.replaces, ec2.learning, ec2.capacity) = (Replaces::AtMarking, false, false);
    ec2.ticks(3);
    let id = ec2.ids()[2].clone();
    ec2.interrupt(&id);
    ec2.ticks(3);
    assert_eq!(ec2.scene.memory.replacements[&id].step, ReplacementStep::BoughtByFleet);
    ec2.ticks(60);
    ec2.capacity = true;
    ec2.ticks(60);
    ends_with_exactly(&ec2, 8, "by the fleet");
    assert_eq!((ec2.launched, ec2.highest), (9, 8));
}

#[test]
fn the_node_is_cordoned_and_the_target_raised_in_the_cycle_of_the_notice() {
    let mut ec2 = fleet_of_eight(DrainBy::Nomad);
    ec2.ticks(3);
    let victim = ec2.ids()[2].clone();
    ec2.interrupt(&victim);
    let mut told = Vec::new();
    let planned = ec2.tick(&mut |action| {
        told.push(action.clone());
        Fate::Works
    });
    assert!(told.contains(&Action::Cordon { instance: victim.clone() }), "{told:?}");
    assert_eq!(changes(&told), [9], "after one look");
    assert_eq!(planned.report.decision, Decision::Replace { from: 8, to: 9 });
    assert!(planned.due.is_some(), "the latest safe moment to drain");
    let replacement = &planned.memory.replacements[&victim];
    assert_eq!(replacement.cause, ReplacementCause::Notice(NoticeKind::SpotInterruption));
}

#[test]
fn a_raise_that_was_refused_is_back_where_it_began() {
    let mut ec2 = fleet_of_eight(DrainBy::Nomad);
    ec2.ticks(3);
    let victim = ec2.ids()[2].clone();
    ec2.interrupt(&victim);
    ec2.ticks(1);
    let memory = &mut ec2.scene.memory;
    assert_eq!(memory.replacements[&victim].step, ReplacementStep::Raising);
    memory.modify_refused();
    assert_eq!(memory.replacements[&victim].step, ReplacementStep::Waiting);
    assert_eq!(memory.expected.map(|e| (e.target, e.shown)), Some((8, true)));
}

#[test]
fn a_notice_is_not_looked_up_for_longer_than_two_seconds() {
    let mut scene = Scene::of(8, 6);
    let victim = scene.members()[2].id.clone();
    let mut ec2 = Ec2::of(8, 6);
    ec2.hear(&victim, NoticeKind::SpotInterruption, None);
    scene.seen.notices = ec2.scene.seen.notices.clone();
    // Fleet and instances were seen a moment before, and no look comes.
    scene.now = NOON + seconds(1);
    let planned = scene.plan();
    assert!(planned.look && planned.plan.actions.is_empty(), "{}", planned.report);
    scene.remember(&planned);
    scene.now = NOON + seconds(3);
    assert_eq!(changes(&scene.plan().plan.actions), [9]);
}

#[test]
fn the_target_is_lowered_before_the_instance_goes_and_its_node_is_empty_by_then() {
    let mut ec2 = fleet_of_eight(DrainBy::Nomad);
    ec2.ticks(3);
    let victim = ec2.ids()[2].clone();
    ec2.interrupt(&victim);
    while ec2.ids().contains(&victim) {
        ec2.ticks(1);
    }
    assert_eq!(ec2.target, 8);
    assert!(ec2.undrained.is_empty());
    assert!(ec2.terminated.is_empty(), "what AWS takes is left to AWS");
    assert_eq!(ec2.nodes.work(), 32, "all of it runs elsewhere");
}

#[test]
fn a_replacement_that_boots_in_ninety_seconds_leaves_no_dip() {
    for replaces in WORLDS {
        let mut ec2 = fleet_of_eight(DrainBy::Nomad);
        (ec2.boot, ec2.replaces, ec2.modifying_for) = (90, replaces, 5);
        ec2.ticks(3);
        let victim = ec2.ids()[2].clone();
        ec2.interrupt(&victim);
        for _ in 0..60 {
            ec2.ticks(1);
            assert!(ec2.serving() >= 8, "{replaces:?}: {}", ec2.serving());
        }
    }
}

#[test]
fn half_of_the_fleet_within_a_minute_is_replaced_within_max_and_surge_in_order_of_deadline() {
    for replaces in WORLDS {
        let mut ec2 = Ec2::with_nomad(20, 15, 2);
        (ec2.replaces, ec2.modifying_for, ec2.learning) = (replaces, 5, false);
        ec2.ticks(5);
        let doomed: Vec<InstanceId> = ec2.ids().into_iter().step_by(2).collect();
        let mut raised: Vec<InstanceId> = Vec::new();
        for (n, id) in doomed.iter().enumerate() {
            ec2.interrupt(id);
            if n % 2 == 1 {
                ec2.ticks(1);
            }
            raised.extend(newly_raised(&ec2, &raised));
        }
        for _ in 0..120 {
            ec2.ticks(1);
            raised.extend(newly_raised(&ec2, &raised));
        }
        ends_with_exactly(&ec2, 20, &format!("{replaces:?}"));
        assert!(ec2.highest <= 22, "max and surge: {}", ec2.highest);
        assert_eq!(ec2.undrained, [] as [InstanceId; 0], "{replaces:?}");
        assert_eq!(ec2.launched, 30, "{replaces:?}: one for one");
        assert!(raised.is_sorted_by_key(|id| doomed.iter().position(|d| d == id)), "{raised:?}");
    }
}

fn newly_raised(ec2: &Ec2, known: &[InstanceId]) -> Vec<InstanceId> {
    let raised = |step| matches!(step, ReplacementStep::Raising | ReplacementStep::Raised);
    let all = ec2.scene.memory.replacements.iter().filter(|(_, r)| raised(r.step));
    all.map(|(id, _)| id.clone()).filter(|id| !known.contains(id)).collect()
}

#[test]
fn what_has_no_place_under_max_and_surge_waits_and_says_so() {
    let mut ec2 = Ec2::of(20, 15);
    (ec2.learning, ec2.capacity) = (false, false);
    ec2.ticks(3);
    for id in &ec2.ids()[..4] {
        ec2.interrupt(id);
    }
    let planned = ec2.tick(&mut |_| Fate::Works);
    assert_eq!(ec2.target, 22);
    assert!(planned.report.holds.contains(&Hold::SurgeFull { waiting: 2 }), "{}", planned.report);
}

#[test]
fn duplicates_and_other_sources_change_nothing() {
    let mut ec2 = fleet_of_eight(DrainBy::Nomad);
    ec2.learning = false;
    ec2.ticks(3);
    let victim = ec2.ids()[2].clone();
    ec2.hear(&victim, NoticeKind::RebalanceRecommendation, None);
    ec2.interrupt(&victim);
    let deadline = ec2.marked[&victim];
    for n in 0..12 {
        ec2.hear(&victim, NoticeKind::SpotInterruption, Some(deadline + seconds(n)));
        ec2.ticks(1);
    }
    ec2.ticks(80);
    ends_with_exactly(&ec2, 8, "told again and again");
    assert_eq!(ec2.launched, 9);
}

#[test]
fn a_replaced_instance_that_is_heard_of_again_is_not_replaced_again() {
    let mut scene = Scene::of(8, 6);
    let id = scene.members()[2].id.clone();
    scene.memory.replaced.insert(id.clone(), NOON - seconds(600));
    let mut ec2 = Ec2::of(8, 6);
    ec2.hear(&id, NoticeKind::SpotInterruption, None);
    scene.seen.notices = ec2.scene.seen.notices.clone();
    let planned = scene.later(5).plan();
    assert_eq!(changes(&planned.plan.actions), [] as [u32; 0], "{}", planned.report);
    assert_eq!(planned.memory.replacements[&id].step, ReplacementStep::LeftToFleet, "but it is emptied");
}

#[test]
fn when_less_is_enough_what_goes_anyway_is_not_replaced() {
    let mut ec2 = Ec2::of(12, 6);
    ec2.learning = false;
    let doomed: Vec<InstanceId> = ec2.ids()[..2].to_vec();
    for id in &doomed {
        ec2.interrupt(id);
    }
    ec2.ticks(90);
    ends_with_exactly(&ec2, 8, "four less");
    assert_eq!((ec2.launched, ec2.highest), (12, 12));
    assert_eq!(ec2.terminated.len(), 2, "two went by themselves");
}

#[test]
fn what_a_fleet_gives_back_by_itself_is_never_replaced() {
    // By its own word, and by its policy alone.
    for (kind, excess) in [
        (NoticeKind::FleetScaleIn, ExcessCapacity::NoTermination),
        (NoticeKind::SpotInterruption, ExcessCapacity::Termination),
    ] {
        let mut scene = Scene::of(9, 6);
        let id = scene.members()[3].id.clone();
        scene.view().target = 8;
        scene.view().excess = excess;
        scene.memory = Memory::default();
        let mut ec2 = Ec2::of(9, 6);
        ec2.hear(&id, kind, None);
        scene.seen.notices = ec2.scene.seen.notices.clone();
        for by in [0, 5, 5] {
            scene = scene.later(by);
            let planned = scene.plan();
            assert!(changes(&planned.plan.actions).iter().all(|target| *target <= 8), "{}", planned.report);
            scene.remember(&planned);
            assert!(scene.memory.replacements.is_empty());
            let removal = &scene.memory.removals[&id];
            let cause = DrainCause::Replaced(ReplacementCause::Notice(NoticeKind::FleetScaleIn));
            assert_eq!((removal.step, removal.cause), (RemovalStep::Lowered, cause));
        }
    }
}

#[test]
fn a_victim_of_ours_that_is_interrupted_only_has_less_time() {
    let mut ec2 = Ec2::with_nomad(12, 6, 4);
    (ec2.learning, ec2.nodes.stubborn) = (false, true);
    ec2.ticks(1);
    let victim = ec2.victim_at(RemovalStep::Draining).expect("one drains");
    ec2.interrupt(&victim);
    let deadline = ec2.marked[&victim];
    ec2.ticks(2);
    let removal = &ec2.scene.memory.removals[&victim];
    assert_eq!(removal.deadline, Some(deadline));
    assert!(removal.drain_until <= Some(deadline - seconds(15)), "{removal:?}");
    assert_eq!(ec2.target, 11, "it is taken out of the target at once");
    assert!(ec2.nodes.of(&victim).drain_until <= Some(deadline - seconds(15)), "Nomad hears of it");
    ec2.ticks(120);
    ends_with_exactly(&ec2, 8, "as planned");
    assert_eq!(ec2.launched, 12);
}

#[test]
fn a_rebalance_recommendation_is_met_as_the_policy_says() {
    for (rebalance, launched) in [(Rebalance::Ignore, 8), (Rebalance::Cordon, 8), (Rebalance::Replace, 9)] {
        let mut ec2 = fleet_of_eight(DrainBy::Nomad);
        ec2.learning = false;
        ec2.scene.policy.interruption.rebalance = rebalance;
        ec2.ticks(3);
        let id = ec2.ids()[2].clone();
        ec2.hear(&id, NoticeKind::RebalanceRecommendation, None);
        ec2.ticks(90);
        ends_with_exactly(&ec2, 8, &format!("{rebalance:?}"));
        assert_eq!(ec2.launched, launched, "{rebalance:?}");
        assert_eq!(ec2.ids().contains(&id), rebalance != Rebalance::Replace);
        if ec2.ids().contains(&id) {
            assert_eq!(ec2.nodes.of(&id).eligible, rebalance == Rebalance::Ignore);
        } else {
            assert!(ec2.undrained.is_empty() && ec2.terminated.contains(&id));
        }
    }
}

#[test]
fn by_risk_a_recommendation_is_believed_where_the_pool_is_known_for_trouble() {
    let half_life = 1800;
    for (trouble, replaced) in [
        (None, false),
        (Some((TroubleKind::Interrupted, 0, half_life - 60)), true),
        (Some((TroubleKind::NoCapacity, 0, half_life - 60)), true),
        (Some((TroubleKind::Interrupted, 0, half_life + 60)), false),
        (Some((TroubleKind::Interrupted, 1, 60)), false),
    ] {
        let mut ec2 = fleet_of_eight(DrainBy::Nomad);
        ec2.learning = false;
        ec2.scene.policy.interruption.rebalance = Rebalance::ByRisk;
        ec2.ticks(3);
        let id = ec2.ids()[2].clone();
        if let Some((kind, offset, ago)) = trouble {
            let pool = ec2.alive[2 + offset].pool.clone();
            let at = ec2.scene.now - seconds(ago);
            ec2.scene.seen.troubles = vec![PoolTrouble { pool, at, kind, instance: None }];
        }
        ec2.hear(&id, NoticeKind::RebalanceRecommendation, None);
        ec2.ticks(90);
        ends_with_exactly(&ec2, 8, &format!("{trouble:?}"));
        assert_eq!(ec2.ids().contains(&id), !replaced, "{trouble:?}");
        assert!(replaced || !ec2.nodes.of(&id).eligible, "no new work all the same: {trouble:?}");
    }
}

#[test]
fn a_scheduled_event_is_met_in_time_and_not_days_ahead() {
    let mut ec2 = fleet_of_eight(DrainBy::Nomad);
    ec2.learning = false;
    let id = ec2.ids()[2].clone();
    let at = ec2.scene.now + seconds(6 * 3600);
    ec2.hear(&id, NoticeKind::ScheduledEvent, Some(at));
    ec2.ticks(60);
    assert!(ec2.scene.memory.replacements.is_empty(), "hours are left");
    let at = ec2.scene.now + seconds(1800);
    ec2.hear(&id, NoticeKind::ScheduledEvent, Some(at));
    ec2.ticks(100);
    ends_with_exactly(&ec2, 8, "replaced in time");
    assert_eq!((ec2.launched, ec2.undrained.len()), (9, 0));
    assert!(ec2.terminated.contains(&id));
}

#[test]
fn a_late_notice_is_left_to_the_fleet_and_the_node_emptied_at_once() {
    for replaces in WORLDS {
        let mut ec2 = fleet_of_eight(DrainBy::Nomad);
        (ec2.replaces, ec2.learning) = (replaces, false);
        ec2.ticks(3);
        let id = ec2.ids()[2].clone();
        let deadline = ec2.scene.now + seconds(40);
        ec2.marked.insert(id.clone(), deadline);
        ec2.hear(&id, NoticeKind::SpotInterruption, Some(deadline));
        ec2.ticks(80);
        ends_with_exactly(&ec2, 8, &format!("{replaces:?}"));
        assert_eq!((ec2.launched, ec2.highest), (9, 8), "{replaces:?}");
        assert!(ec2.undrained.is_empty(), "{replaces:?}");
    }
}

#[test]
fn whoever_wants_no_replacements_ahead_has_nodes_emptied_all_the_same() {
    let mut ec2 = fleet_of_eight(DrainBy::Nomad);
    ec2.learning = false;
    ec2.scene.policy.interruption.replace = false;
    let id = ec2.ids()[2].clone();
    ec2.interrupt(&id);
    ec2.ticks(60);
    ends_with_exactly(&ec2, 8, "by the fleet");
    assert_eq!((ec2.highest, ec2.launched, ec2.undrained.len()), (8, 9, 0));
}

#[test]
fn an_interruption_that_never_comes_leaves_the_instance_at_work() {
    let mut ec2 = fleet_of_eight(DrainBy::Nomad);
    ec2.learning = false;
    let id = ec2.ids()[2].clone();
    let deadline = ec2.scene.now + seconds(120);
    ec2.hear(&id, NoticeKind::SpotInterruption, Some(deadline));
    ec2.ticks(120);
    ends_with_exactly(&ec2, 8, "one of nine went");
    assert_eq!((ec2.launched, ec2.undrained.len()), (9, 0));
}

#[test]
fn a_protected_instance_that_is_taken_is_replaced_and_its_node_not_touched() {
    let mut ec2 = fleet_of_eight(DrainBy::Nomad);
    ec2.alive[2].protected = true;
    let id = ec2.ids()[2].clone();
    ec2.interrupt(&id);
    let planned = ec2.tick(&mut |_| Fate::Works);
    assert!(planned.report.remarks.contains(&Remark::ProtectedGoes { instance: id.clone() }));
    ec2.ticks(8);
    assert!(ec2.nodes.of(&id).eligible);
    assert_eq!(ec2.launched, 9);
}

#[test]
fn a_fleet_that_is_not_ours_to_change_is_left_alone_and_says_so() {
    let spoil: [fn(&mut Scene); 3] = [
        |s| s.policy.observe_only = true,
        |s| {
            let (until, by) = (NOON + seconds(900), "ada".to_owned());
            s.seen.pause = Some(Pause { until, by, reason: "rollout".to_owned() });
        },
        |s| s.memory.ceded = true,
    ];
    for spoil in spoil {
        let mut ec2 = fleet_of_eight(DrainBy::Nomad);
        ec2.ticks(2);
        let id = ec2.ids()[2].clone();
        ec2.interrupt(&id);
        spoil(&mut ec2.scene);
        let planned = ec2.tick(&mut |_| Fate::Works);
        assert_eq!(planned.plan.actions, [], "{}", planned.report);
        let remark = Remark::NoticeUnheeded { instance: id, kind: NoticeKind::SpotInterruption };
        assert!(planned.report.remarks.contains(&remark), "{}", planned.report);
    }
}

#[test]
fn a_dry_run_shows_what_would_be_done_and_remembers_nothing_of_it() {
    let mut ec2 = fleet_of_eight(DrainBy::Nomad);
    ec2.ticks(2);
    ec2.scene.policy.dry_run = true;
    let id = ec2.ids()[2].clone();
    ec2.interrupt(&id);
    let before = ec2.scene.memory.clone();
    let planned = ec2.tick(&mut |_| Fate::Lost);
    assert!(planned.plan.actions.contains(&Action::Cordon { instance: id }), "{:?}", planned.plan);
    assert_eq!(planned.memory, before);
}

#[test]
fn node_actions_do_not_wait_for_a_modification() {
    let mut ec2 = fleet_of_eight(DrainBy::Nomad);
    (ec2.learning, ec2.modifying_for) = (false, 600);
    ec2.ticks(2);
    let ids = ec2.ids();
    ec2.interrupt(&ids[2]);
    ec2.ticks(2);
    // The fleet is modifying now, and stays so.
    ec2.interrupt(&ids[3]);
    let mut told = Vec::new();
    let _ = ec2.tick(&mut |action| {
        told.push(action.clone());
        Fate::Works
    });
    assert_eq!(told, [Action::Cordon { instance: ids[3].clone() }]);
    ec2.ticks(12);
    assert!(ec2.undrained.is_empty());
    ec2.ticks(300);
    ends_with_exactly(&ec2, 8, "once the modification has ended");
}

#[test]
fn an_instance_lost_without_a_word_is_told_with_how_late_we_learned() {
    let mut scene = Scene::of(8, 6);
    let (instance, pool) = (scene.members()[0].id.clone(), scene.members()[0].pool.clone());
    let at = NOON - seconds(45);
    let kind = TroubleKind::Interrupted;
    scene.seen.troubles =
        vec![PoolTrouble { pool: pool.clone(), at, kind, instance: Some(instance.clone()) }];
    let planned = scene.plan();
    let remark = Remark::LostUnannounced { instance, pool, late: seconds(45) };
    assert!(planned.report.remarks.contains(&remark), "{}", planned.report);
    assert_eq!(planned.plan.actions, [], "the fleet replaces it");
    scene.remember(&planned);
    assert_eq!(scene.plan().memory, scene.memory, "told twice, it counts once");
}

#[test]
fn what_is_told_late_of_another_kind_is_held_against_a_pool_and_the_same_twice_is_not() {
    let mut scene = Scene::of(8, 6);
    let pool = scene.members()[0].pool.clone();
    let half_life = scene.policy.interruption.avoid_pool;
    let trouble = |kind, ago| PoolTrouble { pool: pool.clone(), at: NOON - ago, kind, instance: None };
    let first = trouble(TroubleKind::Interrupted, seconds(0));
    let older = trouble(TroubleKind::NoCapacity, half_life);
    for (told, refused) in [(&first, 0.0), (&older, 0.5), (&older, 0.5), (&first, 0.5)] {
        scene.seen.troubles = vec![told.clone()];
        let planned = scene.plan();
        scene.remember(&planned);
        let [known] = &scene.memory.pools[..] else { panic!("one pool: {:?}", scene.memory.pools) };
        assert!((known.interrupted - 1.0).abs() < 1e-9, "{known:?}");
        assert!((known.refused - refused).abs() < 1e-9, "{known:?}");
    }
}

#[test]
fn every_fate_of_every_call_ends_with_one_replaced_and_nothing_undrained() {
    let fates = [Fate::Works, Fate::Refused, Fate::WorksUnheard, Fate::Lost];
    for replaces in WORLDS {
        for n in 0..4_usize.pow(3) {
            let mut ec2 = fleet_of_eight(DrainBy::Nomad);
            (ec2.replaces, ec2.learning, ec2.modifying_for) = (replaces, false, 5);
            ec2.ticks(2);
            let id = ec2.ids()[2].clone();
            ec2.interrupt(&id);
            let mut calls = [n % 4, n / 4 % 4, n / 16 % 4].map(|fate| fates[fate]).into_iter();
            for _ in 0..150 {
                let _ = ec2.tick(&mut |action| {
                    if action.is_of_fleet() { calls.next().unwrap_or(Fate::Works) } else { Fate::Works }
                });
            }
            let what = format!("{replaces:?}, {n}");
            ends_with_exactly(&ec2, 8, &what);
            assert_eq!(ec2.undrained, [] as [InstanceId; 0], "{what}");
        }
    }
}

#[test]
fn a_crash_at_any_moment_with_a_ledger_kept_or_lost_ends_with_one_replaced_and_nothing_undrained() {
    for n in 0..2 * 30 * 2 * 2 {
        let (replaces, crash, lost, lasts) = (WORLDS[n % 2], n / 2 % 30, n / 60 % 2 == 1, [1, 3][n / 120]);
        let mut ec2 = fleet_of_eight(DrainBy::Nomad);
        (ec2.replaces, ec2.learning, ec2.modifying_for) = (replaces, false, 5);
        ec2.ticks(2);
        let id = ec2.ids()[2].clone();
        ec2.interrupt(&id);
        for tick in 0..200 {
            // The process ends between its intent and the call, and is back some cycles later.
            let down = (crash..crash + lasts).contains(&tick);
            let _ = ec2.tick(&mut |_| if down { Fate::Lost } else { Fate::Works });
            if tick == crash && lost {
                ec2.scene.memory = Memory::default();
            }
        }
        let what = format!("{replaces:?}, down at {crash} for {lasts}, ledger lost: {lost}");
        ends_with_exactly(&ec2, 8, &what);
        // Whoever is away for the last half minute has nobody to tell.
        assert!(ec2.undrained.is_empty() || lasts > 1, "{what}");
    }
}

#[test]
fn no_instance_is_asked_for_twice_whatever_is_heard_in_whatever_order() {
    for seed in 0..60_usize {
        let mut ec2 = fleet_of_eight(DrainBy::Nomad);
        (ec2.learning, ec2.replaces) = (false, WORLDS[seed % 2]);
        ec2.scene.policy.interruption.rebalance = Rebalance::Replace;
        let ids = ec2.ids();
        let kinds =
            [NoticeKind::SpotInterruption, NoticeKind::RebalanceRecommendation, NoticeKind::ScheduledEvent];
        let (mut before, mut times, mut allowed) = (BTreeSet::new(), Vec::new(), Vec::new());
        for tick in 0..160_usize {
            let chance = (seed * 7919 + tick * 104_729) % 101;
            if tick < 40 && chance < 30 {
                let id = &ids[chance % 3];
                match kinds[(chance / 3) % 3] {
                    NoticeKind::SpotInterruption
                        if !ec2.marked.contains_key(id) && ec2.ids().contains(id) =>
                    {
                        ec2.interrupt(id);
                    }
                    kind => ec2.hear(id, kind, Some(ec2.scene.now + seconds(900))),
                }
                ec2.scene.seen.notices.reverse();
            }
            let victims: Vec<InstanceId> = ec2.scene.memory.removals.keys().cloned().collect();
            ec2.ticks(1);
            // One whose event lies ahead, and that the target counted in place of what was bought for it, is asked for anew.
            let anew = |id: &InstanceId| {
                let entry = ec2.scene.memory.replacements.get(id);
                let scheduled = ReplacementCause::Notice(NoticeKind::ScheduledEvent);
                victims.contains(id) && entry.is_some_and(|r| r.cause == scheduled)
            };
            allowed.extend(ids.iter().filter(|id| anew(id)).cloned());
            let raising: BTreeSet<InstanceId> = newly_raised(&ec2, &[]).into_iter().collect();
            times.extend(raising.difference(&before).cloned());
            before = raising;
        }
        for id in &ids {
            let [asked, anew] = [&times, &allowed].map(|all| all.iter().filter(|other| *other == id).count());
            assert!(asked <= 1 + anew, "seed {seed}: {id} in {times:?}, anew {allowed:?}");
        }
        ends_with_exactly(&ec2, 8, &format!("seed {seed}"));
        assert_eq!(ec2.undrained, [] as [InstanceId; 0], "seed {seed}");
    }
}

#[test]
fn by_a_clock_that_is_wrong_nobody_has_outlived_an_interruption() {
    let mut ec2 = fleet_of_eight(DrainBy::Nomad);
    (ec2.learning, ec2.nodes.stubborn) = (false, true);
    ec2.ticks(5);
    let victim = ec2.ids()[2].clone();
    let long_ago = ec2.scene.now - seconds(1600);
    ec2.hear(&victim, NoticeKind::SpotInterruption, Some(long_ago));
    let mut told = Vec::new();
    for tick in 0..60 {
        let planned = ec2.tick(&mut |_| Fate::Works);
        told.extend(planned.plan.actions.into_iter().map(|action| (tick, action)));
    }
    let drained = |(tick, action): &(u32, Action)| *tick < 2 && matches!(action, Action::Drain { .. });
    assert!(told.iter().any(drained), "its work is asked to leave at once: {told:?}");
    let early = told.iter().filter(|(tick, _)| *tick < 12);
    assert!(
        early.clone().all(|(_, action)| !matches!(action, Action::Terminate { .. } | Action::Restore { .. }))
    );
    // AWS has left it to us: it takes work again, and is not taken again by the same word.
    let restored =
        told.iter().position(|(_, action)| matches!(action, Action::Restore { .. })).expect("kept");
    let later = &told[restored..];
    assert!(later.iter().all(|(_, action)| matches!(action, Action::Restore { .. })), "{later:?}");
    assert_eq!(ec2.alive.len(), 8);
}
