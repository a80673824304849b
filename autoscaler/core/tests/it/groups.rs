//! Groups of jobs that grow and shrink with their fleet, and work that waits for room.

use crate::drains::scene;
use crate::support::nodes::ROOM;
use crate::support::scene::{Scene, seconds};
use autoscaler_core::{
    Action, Decision, DrainCause, GroupCount, Memory, Planned, Remark, Removal, RemovalStep,
    ReplacementCause, ScaledGroup, Workload,
};
use fleet::{CapacityUnits, InstanceId, NoticeKind, Resources};

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
        placed: None,
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
        vec![GroupCount { namespace, job, group, count, placed: None }]
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
    // Four more run where the fleet has no node: whoever is too much may still be stopped on one that stays.
    scene.seen.groups[0].placed = Some(18);
    assert_eq!(told(&scene.plan()), [""; 0], "Nomad has told nobody to end");
    scene.seen.groups[0].placed = Some(16);
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

/// Nine with two of a group each, and what is told of it: drains and counts.
fn nine_with_two_each() -> (Scene, Vec<InstanceId>) {
    let mut scene = scene(9, 9, 2);
    let nodes = &mut scene.seen.nodes.as_mut().expect("nodes").what;
    let of = fleet::Work { grace: seconds(30), ..nodes[0].work[0].clone() };
    for node in nodes.iter_mut() {
        node.work = vec![of.clone(), of.clone()].into();
    }
    let (namespace, job, group) = (of.namespace.clone(), of.job.clone(), of.group);
    let counted = GroupCount {
        namespace: namespace.clone(),
        job: job.clone(),
        group: group.clone(),
        count: 18,
        placed: None,
    };
    scene.policy.workload = Workload::Service(vec![ScaledGroup { namespace, job, group, per_unit: 2 }]);
    scene.seen.groups = vec![counted];
    let victims = scene.members()[..3].iter().map(|m| m.id.clone()).collect();
    (scene, victims)
}

fn drains_and_counts(planned: &Planned) -> (usize, Option<u32>) {
    let drains = planned.plan.actions.iter().filter(|action| matches!(action, Action::Drain { .. })).count();
    let count = planned.plan.actions.iter().find_map(|action| match action {
        Action::ScaleGroup { count, .. } => Some(*count),
        _ => None,
    });
    (drains, count)
}

#[test]
fn a_group_does_not_become_smaller_while_interrupted_nodes_are_emptied() {
    let (mut scene, victims) = nine_with_two_each();
    for instance in &victims {
        let (kind, source) = (NoticeKind::SpotInterruption, fleet::NoticeSource::EventBridge);
        let (instance, at) = (instance.clone(), scene.now - seconds(80));
        let deadline = Some(at + seconds(120));
        scene.seen.notices.push(fleet::Notice { instance, kind, source, at, deadline });
    }
    let planned = scene.plan();
    assert_eq!(drains_and_counts(&planned), (3, None), "Nomad would stop two on nodes that stay, too");
    scene.remember(&planned);
    // Their work has left, and each that has is done without.
    let nodes = &mut scene.seen.nodes.as_mut().expect("nodes").what;
    for node in nodes.iter_mut().filter(|node| victims.contains(&node.instance)) {
        (node.eligible, node.draining) = (false, true);
        node.drain_until = Some(scene.now);
    }
    assert_eq!(drains_and_counts(&scene.plan()).1, None);
    let nodes = &mut scene.seen.nodes.as_mut().expect("nodes").what;
    for node in nodes.iter_mut().filter(|node| victims[..2].contains(&node.instance)) {
        (node.draining, node.work) = (false, Vec::new().into());
    }
    assert_eq!(drains_and_counts(&scene.plan()).1, Some(14), "one of the three has not let go");
}

#[test]
fn a_group_does_not_become_smaller_for_one_that_waits_for_its_successor() {
    let (mut scene, victims) = nine_with_two_each();
    let cause = DrainCause::Replaced(ReplacementCause::Rollout);
    let since = scene.now - seconds(20);
    let mut removal = Removal::of(&scene.members()[0], cause, since);
    removal.step = RemovalStep::Lowered;
    scene.memory.removals.insert(victims[0].clone(), removal);
    scene.view().target = 8;
    scene.view().fulfilled = CapacityUnits::new(9.0);
    assert_eq!(drains_and_counts(&scene.plan()).1, None);
    // Nothing is made larger for it either.
    scene.seen.groups[0].count = 16;
    assert_eq!(drains_and_counts(&scene.plan()).1, None);
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
