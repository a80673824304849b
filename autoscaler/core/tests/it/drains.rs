//! Instances are given back without losing work: emptied first, kept when load comes back.

use crate::support::ec2::{Ec2, Fate};
use crate::support::nodes::{ROOM, node, service};
use crate::support::scene::{NOON, POOLS, Scene, seconds};
use crate::support::services::Chance;
use autoscaler_core::{
    Action, Decision, DrainBy, GroupCount, Hold, Memory, Observed, Phase, Planned, PoolMemory, Remark,
    RemovalStep, Replacement, ReplacementCause, ReplacementStep, ScaledGroup, Workload,
};
use fleet::{InstanceId, Market, NoticeKind, Resources, UsdPerHour, Weight, WorkKind};
use std::collections::BTreeMap;

fn ends_with_exactly(ec2: &Ec2, count: usize, what: &str) {
    assert_eq!(ec2.alive.len(), count, "{what}: target {}, memory {:?}", ec2.target, ec2.scene.memory);
    assert_eq!(ec2.target as usize, count, "{what}");
    assert!(ec2.scene.memory.removals.is_empty(), "{what}: {:?}", ec2.scene.memory);
}

/// A scene whose nodes are known, each with so many allocations.
fn scene(count: u32, demand: u32, allocations: usize) -> Scene {
    let mut scene = Scene::of(count, demand);
    scene.policy.drain.by = DrainBy::Nomad;
    let nodes = scene.members().iter().map(|m| node(&m.id, vec![service(); allocations])).collect();
    scene.seen.nodes = Some(Observed { at: NOON, what: nodes });
    scene
}

fn victims(planned: &Planned) -> Vec<&str> {
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

#[test]
fn a_ledger_that_is_lost_at_any_moment_leaves_no_node_idle() {
    for crash in 0..12 {
        let mut ec2 = Ec2::with_nomad(9, 6, 3);
        ec2.learning = false;
        for tick in 0..150 {
            ec2.ticks(1);
            if tick == crash {
                ec2.scene.memory = Memory::default();
            }
        }
        ends_with_exactly(&ec2, 8, &crash.to_string());
        assert_eq!((ec2.launched, ec2.undrained.len()), (9, 0), "{crash}");
        assert!(ec2.nodes.seen().iter().all(|node| node.eligible), "{crash}");
    }
}

#[test]
fn an_idle_node_that_nobody_accounts_for_is_reused_where_it_is_wanted() {
    let mut ec2 = Ec2::with_nomad(8, 6, 3);
    ec2.learning = false;
    ec2.ticks(1);
    let id = ec2.ids()[4].clone();
    ec2.nodes.cordon(&id);
    ec2.ticks(5);
    assert!(!ec2.nodes.of(&id).eligible, "an ineligible node with work on it is somebody's");
    ec2.nodes.of(&id).work.clear();
    let planned = ec2.tick(&mut |_| Fate::Works);
    assert!(planned.report.remarks.iter().any(|r| matches!(r, Remark::Unaccounted { .. })));
    ec2.ticks(8);
    assert!(!ec2.nodes.of(&id).eligible, "whoever did it has two minutes to say so");
    ec2.ticks(8);
    assert!(ec2.nodes.of(&id).eligible);
    assert_eq!(ec2.alive.len(), 8);
}

#[test]
fn an_idle_node_that_nobody_accounts_for_is_the_first_to_go_where_less_is_enough() {
    let mut scene = scene(9, 6, 5);
    let nodes = &mut scene.seen.nodes.as_mut().expect("nodes").what;
    nodes[1].eligible = false;
    nodes[1].work.clear();
    let id = nodes[1].instance.clone();
    scene.memory.unaccounted.insert(id.clone(), NOON - seconds(200));
    assert_eq!(victims(&scene.plan()), [id.as_str()]);
}

#[test]
fn nobody_is_chosen_whose_work_has_no_place_elsewhere() {
    let planned = scene(9, 6, 9).plan();
    assert_eq!(planned.plan.actions, [], "{}", planned.report);
    assert!(planned.report.holds.contains(&Hold::NoRoom { instances: 9 }), "{}", planned.report);
    assert!(planned.report.holds.contains(&Hold::NoVictim));

    // There is room for the memory, but the one static port is taken everywhere else.
    let mut held = scene(9, 6, 1);
    let nodes = &mut held.seen.nodes.as_mut().expect("nodes").what;
    for node in nodes.iter_mut() {
        node.work[0].ports = vec![8080];
    }
    assert!(held.plan().report.holds.contains(&Hold::NoRoom { instances: 9 }));

    // Nor is it enough that there is room for all but the disk.
    let mut full = scene(9, 6, 1);
    let nodes = &mut full.seen.nodes.as_mut().expect("nodes").what;
    for node in nodes.iter_mut() {
        node.work[0].needs.disk_mib = ROOM.disk_mib / 2 + 1;
    }
    assert!(full.plan().report.holds.contains(&Hold::NoRoom { instances: 9 }));

    // Two pieces of three fifths do not fit where there are four fifths in all.
    let mut large = scene(9, 6, 6);
    let nodes = &mut large.seen.nodes.as_mut().expect("nodes").what;
    for node in nodes.iter_mut() {
        let mut work = service();
        work.needs = Resources { cpu_mhz: 600, memory_mib: 600, disk_mib: 600 };
        node.work = vec![work].into();
    }
    assert!(large.plan().report.holds.contains(&Hold::NoRoom { instances: 9 }));

    // System jobs are everywhere already.
    let mut system = scene(9, 6, 9);
    let nodes = &mut system.seen.nodes.as_mut().expect("nodes").what;
    for node in nodes.iter_mut() {
        node.work.iter_mut().for_each(|work| work.kind = WorkKind::System);
    }
    assert_eq!(system.plan().memory.removals.len(), 1);
}

#[test]
fn constrained_work_holds_its_node() {
    let only = vec!["pool gpu".to_owned()];
    let mut open = scene(9, 6, 2);
    // With the least to move it is the first to go.
    open.seen.nodes.as_mut().expect("nodes").what[8].work.truncate(1);
    assert_eq!(victims(&open.plan()), ["i-0008"]);
    let mut one_place = open.clone();
    let nodes = &mut one_place.seen.nodes.as_mut().expect("nodes").what;
    nodes[8].work[0].asks.clone_from(&only);
    nodes.iter_mut().skip(1).for_each(|node| node.refuses.clone_from(&only));
    assert_eq!(victims(&one_place.plan()), ["i-0008"], "one other node takes it");
    one_place.seen.nodes.as_mut().expect("nodes").what[0].refuses = only;
    let planned = one_place.plan();
    assert_ne!(victims(&planned), ["i-0008"], "{}", planned.report);

    // One of the same job on every other node.
    let mut apart = open.clone();
    let nodes = &mut apart.seen.nodes.as_mut().expect("nodes").what;
    for node in nodes.iter_mut() {
        node.work[0].distinct_hosts = true;
    }
    assert!(apart.plan().report.holds.contains(&Hold::NoRoom { instances: 9 }));

    // A port that no work may have.
    let mut reserved = open;
    let nodes = &mut reserved.seen.nodes.as_mut().expect("nodes").what;
    nodes[8].work[0].ports = vec![22];
    for node in nodes.iter_mut() {
        node.reserved_ports = vec![22];
    }
    assert_ne!(victims(&reserved.plan()), ["i-0008"]);
}

#[test]
fn work_of_interrupted_nodes_takes_room_first() {
    // Ten places are left on five nodes: enough for what moves from one of them.
    let mut scene = scene(10, 6, 8);
    for node in scene.seen.nodes.as_mut().expect("nodes").what.iter_mut().skip(6) {
        node.work.extend([service(), service()]);
    }
    // One that is taken goes first, where less is enough.
    let taken = Replacement {
        cause: ReplacementCause::Notice(NoticeKind::SpotInterruption),
        step: ReplacementStep::LeftToFleet,
        since: NOON - seconds(10),
        weight: Weight::new(1.0),
        market: Market::Spot,
        drain_until: Some(NOON + seconds(60)),
        deadline: Some(NOON + seconds(110)),
    };
    scene.memory.replacements.insert("i-0000".into(), taken);
    let mut idle = scene.clone();
    idle.seen.nodes.as_mut().expect("nodes").what[0].work.clear();
    assert_eq!(idle.plan().memory.removals.len(), 2, "{}", idle.plan().report);
    let planned = scene.plan();
    assert_eq!(victims(&planned), ["i-0000"], "{}", planned.report);
    assert!(
        planned.report.holds.iter().any(|hold| matches!(hold, Hold::NoRoom { .. })),
        "{}",
        planned.report
    );
}

#[test]
fn whose_node_is_hidden_is_told_and_goes_last() {
    let mut scene = scene(9, 6, 2);
    let hidden = InstanceId::from("i-0001");
    // It would be the first, for nothing seems to run there.
    scene.seen.nodes.as_mut().expect("nodes").what.retain(|node| node.instance != hidden);
    let planned = scene.plan();
    assert!(planned.report.remarks.contains(&Remark::NodeHidden { instance: hidden.clone() }));
    assert_eq!(planned.memory.removals.len(), 1, "{}", planned.report);
    assert!(!planned.memory.removals.contains_key(&hidden));
    // Nobody else can go.
    scene.members().iter_mut().filter(|m| m.id != hidden).for_each(|m| m.protected = true);
    assert_eq!(victims(&scene.plan()), ["i-0001"]);
}

#[test]
fn of_many_only_so_many_go_as_their_work_has_room_for() {
    // 12 nodes, 7 of 10 places taken on each: 84 pieces need 9 nodes, though load needs only 8.
    let planned = scene(12, 6, 7).plan();
    assert_eq!(planned.memory.removals.len(), 3, "{}", planned.report);
}

#[test]
fn what_moves_to_one_that_goes_too_moves_on() {
    // Those of one pool go first, however full they are: work moves to where least is free, which is to one of them.
    // The checker counts what moves, and what is free in the end.
    for seed in 0..100 {
        let mut chance = Chance::new(seed);
        let mut scene = scene(12, 1, 0);
        let pool = scene.members()[0].pool.clone();
        scene.memory.pools.push(PoolMemory {
            pool,
            interrupted: 5.0,
            refused: 0.0,
            at: NOON,
            told: BTreeMap::new(),
        });
        let nodes = &mut scene.seen.nodes.as_mut().expect("nodes").what;
        for node in nodes.iter_mut() {
            let allocations = (0..10).filter(|_| chance.share() < 0.4).count();
            node.work = vec![service(); allocations].into();
        }
        let planned = scene.plan();
        assert!(!planned.memory.removals.is_empty(), "seed {seed}: {}", planned.report);
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
fn groups_are_scaled_with_what_serves() {
    let mut scene = scene(9, 6, 2);
    let group = ScaledGroup {
        namespace: "default".to_owned(),
        job: "web".to_owned(),
        group: "front".to_owned(),
        per_unit: 2,
    };
    scene.policy.workload = Workload::Service(vec![group]);
    let counted = |count| GroupCount {
        namespace: "default".to_owned(),
        job: "web".to_owned(),
        group: "front".to_owned(),
        count,
    };
    scene.seen.groups = vec![counted(4)];
    let count = |planned: &Planned| {
        planned.plan.actions.iter().find_map(|action| match action {
            Action::ScaleGroup { count, .. } => Some(*count),
            _ => None,
        })
    };
    let planned = scene.plan();
    assert_eq!(count(&planned), Some(16), "without the one that is being emptied");
    // One serves already, and its agent has not proved its node; another has none yet.
    let nodes = &mut scene.seen.nodes.as_mut().expect("nodes").what;
    nodes[7].unproved = true;
    let last = nodes.pop().expect("nine");
    assert_eq!(count(&scene.plan()), Some(12), "what is counted before would land on the others");
    let nodes = &mut scene.seen.nodes.as_mut().expect("nodes").what;
    nodes[7].unproved = false;
    nodes.push(last);
    scene.seen.groups = vec![counted(16)];
    assert_eq!(count(&scene.plan()), None);
    scene.seen.groups.clear();
    assert_eq!(count(&scene.plan()), None, "what is not known is not set");
}

#[test]
fn nobody_is_emptied_while_a_group_that_becomes_smaller_has_not() {
    // Nine with two of a group each, one of them too many.
    let mut scene = scene(9, 6, 2);
    let nodes = &mut scene.seen.nodes.as_mut().expect("nodes").what;
    let of = nodes[0].work[0].clone();
    for node in &mut *nodes {
        node.work = vec![of.clone(), of.clone()].into();
    }
    let group = ScaledGroup {
        namespace: of.namespace.clone(),
        job: of.job.clone(),
        group: of.group.clone(),
        per_unit: 2,
    };
    scene.policy.workload = Workload::Service(vec![group]);
    let counted = |count| {
        let (namespace, job, group) = (of.namespace.clone(), of.job.clone(), of.group.clone());
        vec![GroupCount { namespace, job, group, count }]
    };
    scene.seen.groups = counted(18);
    let told = |planned: &Planned| -> Vec<&'static str> {
        let word = |action: &Action| match action {
            Action::Cordon { .. } => Some("cordon"),
            Action::Drain { .. } => Some("drain"),
            Action::ScaleGroup { count: 16, .. } => Some("scale to 16"),
            _ => None,
        };
        planned.plan.actions.iter().filter_map(word).collect()
    };
    let later = |scene: &Scene, count| {
        let mut scene = scene.clone().later(count);
        scene.seen.nodes.as_mut().expect("nodes").at = scene.now;
        scene
    };
    let planned = scene.plan();
    assert_eq!(told(&planned), ["cordon", "scale to 16"]);
    scene.remember(&planned);
    let victim = planned.memory.removals.keys().next().expect("one goes").clone();
    let nodes = &mut scene.seen.nodes.as_mut().expect("nodes").what;
    nodes.iter_mut().find(|node| node.instance == victim).expect("its node").eligible = false;

    scene = later(&scene, 10);
    assert_eq!(told(&scene.plan()), ["scale to 16"], "Nomad shows the count that was");
    scene.seen.groups = counted(16);
    assert_eq!(told(&scene.plan()), [""; 0], "nobody has been told to end");
    // Whom Nomad likes, and be it on nodes that stay.
    let nodes = &mut scene.seen.nodes.as_mut().expect("nodes").what;
    let mut staying = nodes.iter_mut().filter(|node| node.instance != victim);
    let stops = |node: &mut fleet::NodeView| node.work[0].stopping = true;
    staying.by_ref().take(2).for_each(stops);
    assert_eq!(told(&scene.plan()), ["drain"]);

    // Meanwhile it is no reserve for one that is at risk: nobody serves in that one's place yet.
    scene.seen.groups = counted(18);
    let mut other = scene.clone();
    let kept = other.members().iter().find(|m| m.id != victim).expect("eight").id.clone();
    other.policy.interruption.rebalance = autoscaler_core::Rebalance::Replace;
    let (kind, source) = (NoticeKind::RebalanceRecommendation, fleet::NoticeSource::EventBridge);
    other.seen.notices.push(fleet::Notice { instance: kept, kind, source, at: other.now, deadline: None });
    let drains = |planned: &Planned| planned.plan.actions.iter().any(|a| matches!(a, Action::Drain { .. }));
    assert!(!drains(&other.plan()), "{}", other.plan().report);

    // Who is protected by now stays, and takes work again.
    let mut other = scene.clone();
    let members = &mut other.seen.members.as_mut().expect("members").what;
    members.iter_mut().find(|m| m.id == victim).expect("it is there").protected = true;
    let planned = other.plan();
    assert!(planned.memory.removals.is_empty(), "{}", planned.report);
    let restores = |action: &Action| matches!(action, Action::Restore { instance } if *instance == victim);
    assert!(planned.plan.actions.iter().any(restores), "{:?}", planned.plan);

    // A count that is never as it should be is not waited for without end.
    scene = later(&scene, 49);
    assert_eq!(told(&scene.plan()), ["scale to 16"]);
    scene = later(&scene, 1);
    assert_eq!(told(&scene.plan()), ["drain", "scale to 16"]);
}

#[test]
fn work_that_waits_for_room_is_demand() {
    let mut scene = scene(8, 6, 10);
    scene.seen.blocked = Resources { cpu_mhz: 2 * ROOM.cpu_mhz, memory_mib: 100, disk_mib: 0 };
    let planned = scene.plan();
    assert_eq!(planned.report.decision, Decision::ScaleOut { from: 8, to: 10 });
    assert!(planned.report.remarks.iter().any(|r| matches!(r, Remark::Blocked { .. })));
    // Two boot already: nothing more is asked for.
    scene.view().target = 10;
    scene.memory = Memory::default();
    let planned = scene.plan();
    assert_eq!(planned.plan.actions, [], "{}", planned.report);
    // However much waits: within `max`.
    scene.seen.blocked = Resources { cpu_mhz: 1_000_000, memory_mib: 100, disk_mib: 0 };
    assert_eq!(scene.plan().report.decision, Decision::ScaleOut { from: 10, to: 20 });
}

#[test]
fn work_that_waits_for_a_node_that_was_just_given_back_is_no_demand_beside_it() {
    let mut scene = scene(8, 6, 10);
    scene.seen.blocked = Resources { cpu_mhz: ROOM.cpu_mhz, memory_mib: 100, disk_mib: 0 };
    let restored = scene.members()[2].id.clone();
    scene.memory.restoring.insert(restored, scene.now - seconds(1));
    let planned = scene.plan();
    assert_eq!(planned.plan.actions, [], "Nomad is about to place it there: {}", planned.report);
    scene.remember(&planned);
    let planned = scene.plan();
    assert_eq!(
        planned.report.decision,
        Decision::ScaleOut { from: 8, to: 9 },
        "it still waits: it has no room there"
    );
}

#[test]
fn groups_that_an_interruption_leaves_no_time_are_named() {
    let mut scene = scene(8, 6, 1);
    scene.seen.nodes.as_mut().expect("nodes").what[0].work[0].grace = seconds(600);
    let remark =
        Remark::SlowToLeave { job: "web".to_owned(), group: "front".to_owned(), grace: seconds(600) };
    assert!(scene.plan().report.remarks.contains(&remark));
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
fn on_demand_stands_in_for_spot_that_does_not_come_and_is_given_back() {
    let mut ec2 = Ec2::of(4, 6);
    ec2.learning = false;
    ec2.capacity = false;
    ec2.scene.policy.on_demand.fallback = 3;
    let mut shifted = Vec::new();
    let mut tick = |ec2: &mut Ec2| {
        let planned = ec2.tick(&mut |_| Fate::Works);
        if let Decision::Shift { from, to } = planned.report.decision {
            shifted.push((from, to));
        }
        planned
    };
    for _ in 0..40 {
        let _ = tick(&mut ec2);
    }
    let fallback = ec2.scene.memory.fallback.expect("stands in");
    assert_eq!((fallback.units, ec2.on_demand, ec2.target), (3, 3, 8), "within the limit");
    assert_eq!(ec2.alive.iter().filter(|m| m.pool.market == Market::OnDemand).count(), 3);
    let planned = tick(&mut ec2);
    assert!(planned.report.remarks.iter().any(|r| matches!(r, Remark::StandsIn { units: 3, .. })));
    // After half an hour spot is asked for, in vain: on demand is counted again.
    for _ in 0..240 {
        let _ = tick(&mut ec2);
    }
    assert_eq!((ec2.on_demand, ec2.terminated.len()), (3, 0), "none was let go before spot was there");
    ec2.capacity = true;
    for _ in 0..300 {
        let _ = tick(&mut ec2);
    }
    assert_eq!((ec2.on_demand, ec2.alive.len(), ec2.target), (0, 8, 8), "{:?}", ec2.scene.memory);
    assert!(ec2.scene.memory.fallback.is_none());
    assert_eq!(shifted.iter().map(|(from, to)| to > from).collect::<Vec<_>>(), [true, false, true, false]);
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
