//! Instances are given back without losing work: emptied first, kept when load comes back.

use crate::support::ec2::{Ec2, Fate};
use crate::support::nodes::{node, service};
use crate::support::scene::{NOON, POOLS, Scene, seconds};
use autoscaler_core::{
    Action, Decision, DrainBy, Hold, Observed, Phase, Planned, PoolMemory, Remark, RemovalStep,
};
use fleet::{InstanceId, NoticeKind, UsdPerHour, WorkKind};
use std::collections::BTreeMap;

pub fn ends_with_exactly(ec2: &Ec2, count: usize, what: &str) {
    assert_eq!(ec2.alive.len(), count, "{what}: target {}, memory {:?}", ec2.target, ec2.scene.memory);
    assert_eq!(ec2.target as usize, count, "{what}");
    assert!(ec2.scene.memory.removals.is_empty(), "{what}: {:?}", ec2.scene.memory);
}

/// A scene whose nodes are known, each with so many allocations.
pub fn scene(count: u32, demand: u32, allocations: usize) -> Scene {
    let mut scene = Scene::of(count, demand);
    scene.policy.drain.by = DrainBy::Nomad;
    let nodes = scene.members().iter().map(|m| node(&m.id, vec![service(); allocations])).collect();
    scene.seen.nodes = Some(Observed { at: NOON, what: nodes });
    scene
}

pub fn victims(planned: &Planned) -> Vec<&str> {
    planned.memory.removals.keys().map(InstanceId::as_str).collect()
}

#[test]
fn victims_are_emptied_then_taken_out_of_the_target_then_terminated() {
    let mut ec2 = Ec2::with_nomad(9, 6, 5);
    let mut order = Vec::new();
    for _ in 0..60 {
        let _ = ec2.tick(&mut |action| {
            order.push(match action {
                Action::Modify { .. } => "modify",
                Action::Terminate { .. } => "terminate",
                Action::Drain { .. } => "drain",
                other => unreachable!("{other:?}"),
            });
            Fate::Works
        });
    }
    assert_eq!(order, ["drain", "modify", "terminate"]);
    ends_with_exactly(&ec2, 8, "one less");
    assert_eq!((ec2.undrained.len(), ec2.nodes.work()), (0, 45));
}

#[test]
fn the_first_plan_says_whom_it_empties_and_why() {
    let planned = scene(9, 6, 5).plan();
    assert_eq!(planned.report.decision, Decision::Drain { instances: 1 });
    let Action::Drain { instance, deadline, .. } = &planned.plan.actions[0] else {
        panic!("{:?}", planned.plan)
    };
    assert_eq!((victims(&planned)[0], *deadline), (instance.as_str(), NOON + seconds(300)));
    let choice = planned.report.choice.as_ref().expect("a choice");
    assert_eq!((choice.victims.len(), choice.runners_up.len()), (1, 3));
}

#[test]
fn load_that_comes_back_keeps_who_is_being_emptied() {
    let mut ec2 = Ec2::with_nomad(10, 6, 5);
    ec2.learning = false;
    ec2.nodes.stubborn = true;
    ec2.ticks(2);
    let victim = ec2.victim_at(RemovalStep::Draining).expect("one drains");
    ec2.scene.learned = Ec2::of(10, 7).scene.learned;
    let mut decided = None;
    let mut restored = false;
    for _ in 0..20 {
        let planned = ec2.tick(&mut |action| {
            restored |= *action == Action::Restore { instance: victim.clone() };
            Fate::Works
        });
        decided = decided.or(Some(planned.report.decision).filter(|d| matches!(d, Decision::Keep { .. })));
    }
    assert_eq!((decided, restored), (Some(Decision::Keep { instances: 2 }), true));
    assert!(ec2.nodes.of(&victim).eligible && ec2.scene.memory.restoring.is_empty());
    assert_eq!((ec2.launched, ec2.highest, ec2.alive.len()), (10, 10, 10), "none is bought");
}

#[test]
fn a_drain_that_is_taken_back_is_taken_back_until_nomad_shows_it() {
    let mut ec2 = Ec2::with_nomad(10, 6, 5);
    (ec2.learning, ec2.nodes.stubborn) = (false, true);
    ec2.ticks(2);
    let victim = ec2.victim_at(RemovalStep::Draining).expect("one drains");
    ec2.scene.learned = Ec2::of(10, 7).scene.learned;
    let mut lost = 3;
    for _ in 0..20 {
        let _ = ec2.tick(&mut |action| match action {
            Action::Restore { .. } if lost > 0 => {
                lost -= 1;
                Fate::Lost
            }
            _ => Fate::Works,
        });
    }
    assert!(lost == 0 && ec2.nodes.of(&victim).eligible);
}

/// Whom AWS calls at risk gets no new work: to give it back and to take it again would go on for as long as nothing is remembered.
#[test]
fn one_that_stays_and_is_at_risk_is_not_drained_any_more_and_takes_no_work() {
    let mut scene = scene(8, 6, 2);
    let id = scene.members()[3].id.clone();
    let notice = fleet::Notice {
        instance: id.clone(),
        kind: NoticeKind::RebalanceRecommendation,
        source: fleet::NoticeSource::Agent,
        at: NOON,
        deadline: None,
    };
    scene.seen.notices.push(notice);
    scene.policy.interruption.rebalance = autoscaler_core::Rebalance::Cordon;
    scene.memory.restoring.insert(id.clone(), NOON - seconds(60));
    let told = |scene: &mut Scene, eligible: bool, draining: bool| {
        let nodes = &mut scene.seen.nodes.as_mut().expect("nodes").what;
        let node = nodes.iter_mut().find(|node| node.instance == id).expect("its node");
        (node.eligible, node.draining) = (eligible, draining);
        let planned = scene.plan();
        (planned.plan.actions, planned.memory.restoring.is_empty())
    };
    let (cordon, restore) =
        (Action::Cordon { instance: id.clone() }, Action::Restore { instance: id.clone() });
    assert_eq!(told(&mut scene, false, false), (vec![], true), "it is as it should be");
    assert_eq!(told(&mut scene, false, true), (vec![restore.clone()], false));
    assert_eq!(told(&mut scene, true, false), (vec![cordon], true));
    scene.members()[3].protected = true;
    assert_eq!(told(&mut scene, false, false), (vec![restore], false), "nobody keeps work from it");
}

#[test]
fn work_that_does_not_leave_is_waited_for_until_deadline_and_grace() {
    let mut ec2 = Ec2::with_nomad(9, 6, 5);
    (ec2.learning, ec2.nodes.stubborn) = (false, true);
    ec2.ticks(28);
    assert!(ec2.terminated.is_empty() && ec2.target == 9, "five minutes have not passed");
    ec2.ticks(30);
    ends_with_exactly(&ec2, 8, "after the deadline");
    assert!(ec2.undrained.is_empty());
}

#[test]
fn every_fate_of_every_call_ends_with_one_instance_less_and_nothing_undrained() {
    let fates = [Fate::Works, Fate::Refused, Fate::WorksUnheard, Fate::Lost];
    for n in 0..4_usize.pow(4) {
        let mut ec2 = Ec2::with_nomad(9, 6, 3);
        ec2.learning = false;
        let mut calls = [n % 4, n / 4 % 4, n / 16 % 4, n / 64 % 4].map(|fate| fates[fate]).into_iter();
        for _ in 0..120 {
            let _ = ec2.tick(&mut |_| calls.next().unwrap_or(Fate::Works));
        }
        ends_with_exactly(&ec2, 8, &n.to_string());
        assert_eq!((ec2.launched, ec2.undrained.len()), (9, 0), "{n}");
    }
}

/// A victim that has been asked to let go, and a moment in which its node shows that it has.
fn let_go() -> (Scene, InstanceId) {
    let mut ec2 = Ec2::with_nomad(9, 6, 2);
    (ec2.learning, ec2.nodes.stubborn) = (false, true);
    ec2.ticks(2);
    let mut scene = ec2.scene.clone().later(10);
    let id = ec2.victim_at(RemovalStep::Draining).expect("one drains");
    let nodes = scene.seen.nodes.as_mut().expect("nodes");
    nodes.at = scene.now;
    for node in nodes.what.iter_mut().filter(|node| node.instance == id) {
        (node.eligible, node.draining) = (false, false);
        node.work.clear();
    }
    (scene, id)
}

#[test]
fn the_instances_are_looked_at_before_the_target_follows_a_victim() {
    let (mut scene, _) = let_go();
    scene.seen.members.as_mut().expect("members").at = scene.now - seconds(31);
    let planned = scene.plan();
    assert_eq!(planned.plan.actions, [], "{}", planned.report);
    assert!(planned.look && planned.report.holds.contains(&Hold::LookFirst { age: seconds(31) }));
}

#[test]
fn who_could_not_be_asked_is_given_its_time_anew() {
    let (mut scene, id) = let_go();
    let until = scene.memory.removals[&id].drain_until.expect("a drain");
    let mut scene = {
        let past = until.since(scene.now).as_secs() + 60;
        let nodes = scene.seen.nodes.as_mut().expect("nodes");
        nodes.what.iter_mut().for_each(|node| (node.eligible, node.draining) = (true, false));
        scene.later(past)
    };
    for at in [
        &mut scene.seen.nodes.as_mut().expect("nodes").at,
        &mut scene.seen.members.as_mut().expect("members").at,
    ] {
        *at = scene.now;
    }
    let planned = scene.plan();
    let again = scene.now + seconds(300);
    let drains = |action: &Action| matches!(action, Action::Drain { deadline, .. } if *deadline == again);
    assert!(
        planned.plan.actions.iter().all(drains) && !planned.plan.actions.is_empty(),
        "{:?}",
        planned.plan
    );
}

#[test]
fn work_that_has_been_told_to_end_and_never_does_keeps_nobody_beyond_deadline_and_grace() {
    let (scene, id) = let_go();
    let until = scene.memory.removals[&id].drain_until.expect("a drain");
    let after = |seconds_over: u64, told: bool| {
        let past = until.since(scene.now).as_secs() + seconds_over;
        let mut scene = scene.clone();
        let nodes = scene.seen.nodes.as_mut().expect("nodes");
        let node = nodes.what.iter_mut().find(|node| node.instance == id).expect("a node");
        // Nomad takes a drain for ended once it has told everybody to stop.
        (node.eligible, node.draining, node.drain_until) = (false, false, None);
        node.work = vec![service(), service()].into();
        node.work.iter_mut().for_each(|work| work.stopping = true);
        node.work[0].stopping = told;
        let mut scene = scene.later(past);
        scene.seen.nodes.as_mut().expect("nodes").at = scene.now;
        scene.seen.members.as_mut().expect("members").at = scene.now;
        scene.plan()
    };
    let in_time = after(4, true);
    assert_eq!((in_time.plan.actions, in_time.memory.removals[&id].drain_until), (vec![], Some(until)));
    let over = after(6, true);
    assert_eq!(over.report.decision, Decision::LowerBack { from: 9, to: 8 }, "{}", over.report);
    assert!(
        over.report.remarks.contains(&Remark::NeverEnds { instance: id.clone(), work: 2 }),
        "{}",
        over.report
    );
    // One of the two was never told.
    let unasked = after(6, false);
    assert_eq!(unasked.report.decision, Decision::Steady, "{}", unasked.report);
    assert!(matches!(&unasked.plan.actions[..], [Action::Drain { .. }]), "{:?}", unasked.plan);
}

#[test]
fn who_has_no_node_may_get_one_at_any_moment() {
    let (mut scene, id) = let_go();
    let now = scene.now;
    scene.seen.nodes.as_mut().expect("nodes").what.retain(|node| node.instance != id);
    let planned = scene.plan();
    assert_eq!(planned.plan.actions, [], "it serves, on a node that is not shown: {}", planned.report);
    scene.members().iter_mut().filter(|m| m.id == id).for_each(|m| m.phase = Phase::Booting);
    for (age, decision) in [(15, Decision::LowerBack { from: 9, to: 8 }), (16, Decision::Steady)] {
        scene.seen.nodes.as_mut().expect("nodes").at = now - seconds(age);
        assert_eq!(scene.plan().report.decision, decision, "{age} s");
    }
}

#[test]
fn a_node_that_still_drains_is_not_empty_whatever_is_seen_on_it() {
    let (mut scene, id) = let_go();
    let nodes = scene.seen.nodes.as_mut().expect("nodes");
    let node = nodes.what.iter_mut().find(|node| node.instance == id).expect("a node");
    (node.draining, node.drain_until) = (true, Some(scene.now + seconds(60)));
    let planned = scene.plan();
    assert_eq!(planned.report.decision, Decision::Steady, "{}", planned.report);
}

#[test]
fn an_endless_drain_is_replaced_by_one_with_a_deadline() {
    let (mut scene, id) = let_go();
    let until = scene.memory.removals[&id].drain_until.expect("it was asked");
    let mut drained = |drain_until| {
        let nodes = scene.seen.nodes.as_mut().expect("nodes");
        let node = nodes.what.iter_mut().find(|node| node.instance == id).expect("a node");
        (node.draining, node.drain_until, node.work) = (true, drain_until, vec![service()].into());
        scene.plan().plan.actions
    };
    let ours = |actions: &[Action]| matches!(actions, [Action::Drain { instance, deadline, .. }] if *instance == id && *deadline == until);
    let endless = drained(None);
    assert!(ours(&endless), "{endless:?}");
    let longer = drained(Some(until + seconds(600)));
    assert!(ours(&longer), "{longer:?}");
    // Nomad counts from when it hears of it.
    assert_eq!(drained(Some(until + seconds(3))), []);
}

#[test]
fn a_drain_whose_time_is_over_is_not_begun_again() {
    let (mut scene, id) = let_go();
    let now = scene.now;
    scene.memory.removals.get_mut(&id).expect("it drains").drain_until = Some(now - seconds(30));
    let nodes = scene.seen.nodes.as_mut().expect("nodes");
    let node = nodes.what.iter_mut().find(|node| node.instance == id).expect("a node");
    // It was told late, and at once.
    (node.draining, node.drain_until) = (true, Some(now - seconds(10)));
    let mut slow = service();
    slow.grace = seconds(120);
    node.work = vec![slow].into();
    assert_eq!(scene.plan().plan.actions, []);
}

#[test]
fn a_victim_that_has_gone_is_bought_again_where_nobody_can_tell_that_less_is_enough() {
    let (mut scene, id) = let_go();
    scene.members().retain(|member| member.id != id);
    assert_eq!(scene.plan().report.decision, Decision::LowerBack { from: 9, to: 8 });
    scene.seen.latest = None;
    let planned = scene.plan();
    assert_eq!(planned.plan.actions, [], "{}", planned.report);
    assert!(planned.memory.removals.is_empty(), "{:?}", planned.memory.removals);
}

#[test]
fn who_was_told_to_go_and_was_not_heard_is_emptied_again_of_what_has_come() {
    let mut ec2 = Ec2::with_nomad(9, 6, 2);
    let mut told = Vec::new();
    let mut deaf = true;
    for _ in 0..80 {
        let planned = ec2.tick(&mut |action| {
            let lost = matches!(action, Action::Terminate { .. }) && deaf;
            deaf = deaf && !lost;
            if lost { Fate::Lost } else { Fate::Works }
        });
        for action in planned.plan.actions {
            told.push(match action {
                Action::Drain { .. } => "drain",
                Action::Terminate { instances, .. } => {
                    // The one that was not heard takes work again, as one does that has just joined.
                    if !told.contains(&"terminate") {
                        ec2.nodes.restore(&instances[0]);
                        ec2.nodes.of(&instances[0]).work.push(service());
                    }
                    "terminate"
                }
                _ => continue,
            });
        }
    }
    assert_eq!(told, ["drain", "terminate", "drain", "terminate"]);
    ends_with_exactly(&ec2, 8, "one less");
    assert_eq!(ec2.undrained, [] as [InstanceId; 0]);
}

#[test]
fn batch_work_is_interrupted_only_where_the_policy_allows_it() {
    for (interrupt, chosen) in [(true, 1), (false, 0)] {
        let mut scene = scene(9, 6, 1);
        scene.policy.drain.interrupt_batch = interrupt;
        for node in &mut scene.seen.nodes.as_mut().expect("nodes").what {
            node.work[0].kind = WorkKind::Batch;
        }
        let planned = scene.plan();
        assert_eq!(planned.memory.removals.len(), chosen, "{interrupt}");
        let held = planned.report.holds.contains(&Hold::BatchRuns { instances: 9 });
        assert_eq!(held, !interrupt, "{}", planned.report);
    }
}

#[test]
fn for_the_spread_nobody_is_replaced_whose_batch_work_is_waited_for() {
    for (interrupt, replaced) in [(true, 1), (false, 0)] {
        let mut scene = scene(8, 6, 1);
        scene.policy.drain.interrupt_batch = interrupt;
        scene.policy.diversification.repairs_per_hour = 2;
        for member in scene.members() {
            member.pool = fleet::Pool::spot(POOLS[0].0, POOLS[0].1);
        }
        for node in &mut scene.seen.nodes.as_mut().expect("nodes").what {
            node.work[0].kind = WorkKind::Batch;
        }
        let planned = scene.plan();
        assert_eq!(planned.memory.replacements.len(), replaced, "{interrupt}: {}", planned.report);
        let held = planned.report.holds.contains(&Hold::BatchRuns { instances: 8 });
        assert_eq!(held, !interrupt, "{}", planned.report);
    }
}

#[test]
fn victims_are_at_risk_before_they_are_new_and_of_the_dearest_before_that() {
    let mut at_risk = scene(12, 8, 2);
    at_risk.members()[6].phase = Phase::Booting;
    let (instance, at) = (at_risk.members()[3].id.clone(), NOON);
    let (kind, source) = (NoticeKind::RebalanceRecommendation, fleet::NoticeSource::EventBridge);
    let notice = fleet::Notice { instance, kind, source, at, deadline: None };
    at_risk.seen.notices.push(notice);
    assert_eq!(victims(&at_risk.plan()), ["i-0003"]);
    let mut new = scene(12, 8, 2);
    new.members()[6].phase = Phase::Booting;
    assert_eq!(victims(&new.plan()), ["i-0006"], "of equals, whoever does not serve yet");
    let price =
        |pool: (&str, &str), micros| (fleet::Pool::spot(pool.0, pool.1), UsdPerHour::from_micros(micros));
    new.seen.prices = POOLS.iter().zip([40_000, 50_000, 40_000, 40_000]).map(|(p, m)| price(*p, m)).collect();
    assert_ne!(victims(&new.plan()), ["i-0006"]);
}

#[test]
fn nothing_is_given_back_where_nomad_has_not_been_seen_lately() {
    let mut unseen = scene(9, 6, 1);
    unseen.seen.nodes = None;
    let planned = unseen.plan();
    assert!(planned.report.holds.contains(&Hold::NodesUnseen) && planned.memory.removals.is_empty());
    let mut stale = scene(9, 6, 1);
    stale.seen.nodes.as_mut().expect("nodes").at = NOON - seconds(61);
    let planned = stale.plan();
    assert!(planned.report.holds.contains(&Hold::NodesStale { age: seconds(61) }));
    assert!(planned.memory.removals.is_empty());
}

#[test]
fn what_nomad_has_not_shown_lately_is_not_taken_for_empty() {
    let mut ec2 = Ec2::with_nomad(9, 6, 2);
    ec2.learning = false;
    ec2.ticks(1);
    assert!(ec2.victim_at(RemovalStep::Draining).is_some());
    let mut scene = ec2.scene.clone();
    for node in &mut scene.seen.nodes.as_mut().expect("nodes").what {
        (node.eligible, node.draining) = (false, false);
        node.work.clear();
    }
    let later = scene.later(600);
    assert_eq!(later.plan().plan.actions.iter().filter(|a| a.is_of_fleet()).count(), 0);
}

#[test]
fn a_hook_empties_whom_nomad_does_not() {
    let mut scene = Scene::of(9, 6);
    scene.policy.drain.by = DrainBy::Hook;
    let planned = scene.plan();
    let id = planned.memory.removals.keys().next().expect("one").clone();
    assert!(matches!(&planned.plan.actions[..], [Action::Drain { instance, .. }] if *instance == id));
    scene.remember(&planned);
    let mut scene = scene.later(10);
    assert!(matches!(&scene.plan().plan.actions[..], [Action::Drain { .. }]), "until it has ended");
    scene.seen.emptied = vec![id];
    let planned = scene.plan();
    assert_eq!(planned.report.decision, Decision::LowerBack { from: 9, to: 8 });
}

#[test]
fn a_kept_hook_victim_is_emptied_anew() {
    let mut scene = Scene::of(9, 6);
    scene.policy.drain.by = DrainBy::Hook;
    let planned = scene.plan();
    let id = planned.memory.removals.keys().next().expect("one").clone();
    scene.remember(&planned);
    // Its hook runs, or has ended well; the target does not count it any more, and then does again.
    let removal = scene.memory.removals.get_mut(&id).expect("it goes");
    removal.step = RemovalStep::Lowered;
    for emptied in [vec![], vec![id.clone()]] {
        let mut scene = scene.clone().later(10);
        scene.seen.emptied = emptied;
        let planned = scene.plan();
        assert!(planned.memory.removals.is_empty(), "{}", planned.report);
        assert_eq!(planned.plan.actions, [Action::Restore { instance: id.clone() }]);
        scene.remember(&planned);
        // Once: whoever shows a hook's end?
        let mut scene = scene.later(10);
        scene.seen.emptied.clear();
        let planned = scene.plan();
        let drains = |action: &Action| matches!(action, Action::Drain { instance, .. } if *instance == id);
        assert!(matches!(&planned.plan.actions[..], [action] if drains(action)), "{:?}", planned.plan);
    }
}

#[test]
fn missing_samples_stop_a_removal_before_the_target_is_lowered() {
    let mut ec2 = Ec2::with_nomad(9, 6, 2);
    (ec2.learning, ec2.nodes.stubborn) = (false, true);
    ec2.ticks(2);
    let mut scene = ec2.scene.clone().later(10);
    let id = ec2.victim_at(RemovalStep::Draining).expect("one drains");
    for node in &mut scene.seen.nodes.as_mut().expect("nodes").what {
        if node.instance == id {
            (node.eligible, node.draining) = (false, false);
            node.work.clear();
        }
    }
    scene.seen.nodes.as_mut().expect("nodes").at = scene.now;
    assert_eq!(scene.plan().report.decision, Decision::LowerBack { from: 9, to: 8 });
    scene.seen.latest = None;
    let planned = scene.plan();
    assert_eq!(planned.plan.actions, [], "{}", planned.report);
}

#[test]
fn a_lowered_max_brings_the_target_down_at_once_and_empties_afterwards() {
    let mut ec2 = Ec2::with_nomad(12, 9, 3);
    (ec2.learning, ec2.nodes.stubborn) = (false, true);
    ec2.ticks(1);
    ec2.scene.policy.capacity.max = 8;
    ec2.ticks(1);
    assert_eq!((ec2.target, ec2.alive.len(), ec2.terminated.len()), (8, 12, 0));
    ec2.ticks(60);
    ends_with_exactly(&ec2, 8, "in the end");
    assert!(ec2.undrained.is_empty());
}

#[test]
fn victims_are_of_the_pools_that_most_is_held_against() {
    let mut scene = scene(12, 8, 2);
    let pool = scene.members()[1].pool.clone();
    scene.memory.pools = vec![PoolMemory {
        pool: pool.clone(),
        interrupted: 1.0,
        refused: 0.0,
        at: NOON,
        told: BTreeMap::new(),
    }];
    let planned = scene.plan();
    let choice = planned.report.choice.as_ref().expect("a choice");
    assert_eq!(choice.victims[0].pool, pool);
    assert!(planned.report.to_string().contains("1.0 held against its pool"), "{}", planned.report);
    // Three hours later nearly nothing is left of it.
    scene.memory.pools[0].at = NOON - seconds(3 * 3600);
    assert!(scene.plan().memory.pools.is_empty());
}

#[test]
fn victims_are_the_dearest_then_those_with_the_least_to_move() {
    let mut dear = scene(12, 8, 2);
    let price =
        |pool: (&str, &str), micros| (fleet::Pool::spot(pool.0, pool.1), UsdPerHour::from_micros(micros));
    dear.seen.prices =
        POOLS.iter().zip([40_000, 50_000, 40_000, 40_000]).map(|(p, m)| price(*p, m)).collect();
    let choice = dear.plan().report.choice.expect("a choice");
    assert_eq!(choice.victims[0].pool, fleet::Pool::spot(POOLS[1].0, POOLS[1].1));
    assert_eq!(choice.victims[0].price, Some(UsdPerHour::from_micros(50_000)));

    let mut light = scene(12, 8, 2);
    light.seen.nodes.as_mut().expect("nodes").what[6].work.truncate(1);
    assert_eq!(victims(&light.plan()), ["i-0006"]);
    let mut unimportant = scene(12, 8, 2);
    unimportant.seen.nodes.as_mut().expect("nodes").what[7].work[0].priority = 10;
    assert_eq!(victims(&unimportant.plan()), ["i-0007"]);
}

#[test]
fn protected_instances_are_not_emptied() {
    let mut scene = scene(9, 6, 1);
    for member in scene.members() {
        member.protected = true;
    }
    let planned = scene.plan();
    assert_eq!(planned.plan.actions, [], "{}", planned.report);
}

#[test]
fn a_fleet_out_of_its_spread_is_brought_back_within_a_budget() {
    let mut ec2 = Ec2::with_nomad(8, 6, 2);
    ec2.learning = false;
    for member in &mut ec2.alive {
        member.pool = fleet::Pool::spot(POOLS[0].0, POOLS[0].1);
    }
    ec2.ticks(30);
    assert_eq!(ec2.launched, 8, "not by default");
    ec2.scene.policy.diversification.repairs_per_hour = 2;
    ec2.ticks(340);
    assert_eq!(ec2.launched, 10, "two in the first hour");
    assert_eq!((ec2.alive.len(), ec2.undrained.len()), (8, 0));
    ec2.ticks(400);
    let pools = ec2.alive.iter().filter(|m| m.pool == fleet::Pool::spot(POOLS[0].0, POOLS[0].1)).count();
    assert!(pools <= 5, "{pools}");
    // Two of the new ones came into the fullest pool again.
    assert_eq!(ec2.launched, 14, "no more than is needed");
}

#[test]
fn a_fleet_that_drifted_into_one_zone_is_brought_back_though_no_pool_holds_too_much() {
    let in_one_zone = |ec2: &Ec2| {
        let a = |m: &&autoscaler_core::Member| m.pool.zone.as_str() == "eu-west-1a";
        ec2.alive.iter().filter(a).count()
    };
    let drifted = || {
        let mut ec2 = Ec2::with_nomad(8, 6, 2);
        ec2.learning = false;
        for (n, member) in ec2.alive.iter_mut().enumerate() {
            let name = ["m5.large", "c5.large"][n % 2];
            member.pool = fleet::Pool::spot(name, "eu-west-1a");
        }
        ec2.scene.policy.diversification.repairs_per_hour = 2;
        ec2
    };
    let mut ec2 = drifted();
    ec2.ticks(800);
    assert_eq!((in_one_zone(&ec2), ec2.alive.len(), ec2.undrained.len()), (6, 8, 0), "three quarters");
    let mut kept = drifted();
    kept.scene.policy.diversification.max_zone_share = 1.0;
    kept.ticks(800);
    assert_eq!((in_one_zone(&kept), kept.launched), (8, 8), "one zone is allowed");
}

#[test]
fn nobody_is_replaced_for_a_zone_that_the_shopping_list_does_not_leave() {
    let mut scene = scene(8, 6, 1);
    scene.policy.diversification.repairs_per_hour = 2;
    for member in scene.members() {
        member.pool.zone = "eu-west-1a".into();
    }
    assert_eq!(scene.plan().memory.replacements.len(), 1, "there is another zone on it");
    for line in &mut scene.view().overrides {
        line.zone = Some("eu-west-1a".into());
    }
    assert_eq!(scene.plan().memory.replacements.len(), 0);
}
