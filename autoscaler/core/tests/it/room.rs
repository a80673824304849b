//! Whose work has no place elsewhere stays.

use crate::drains::{scene, victims};
use crate::support::nodes::{ROOM, service};
use crate::support::scene::{NOON, seconds};
use crate::support::services::Chance;
use autoscaler_core::{Hold, PoolMemory, Remark, Replacement, ReplacementCause, ReplacementStep};
use fleet::{InstanceId, Market, NoticeKind, Resources, Weight, WorkKind};
use std::collections::BTreeMap;

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
fn of_several_nodes_of_an_instance_the_one_that_is_ready_has_the_work_that_must_move() {
    let mut scene = scene(9, 6, 9);
    assert!(scene.plan().report.holds.contains(&Hold::NoRoom { instances: 9 }));
    // What a client that was set up anew leaves behind, of each of them and later in the list: nothing runs there.
    let nodes = &mut scene.seen.nodes.as_mut().expect("nodes").what;
    let left: Vec<_> = nodes
        .iter()
        .map(|node| {
            let mut left = node.clone();
            left.id = format!("left-{}", node.id).into();
            left.ready = false;
            left.work = Vec::new().into();
            left
        })
        .collect();
    nodes.extend(left);
    let planned = scene.plan();
    assert!(planned.report.holds.contains(&Hold::NoRoom { instances: 9 }), "{}", planned.report);
    assert!(planned.memory.removals.is_empty(), "{:?}", planned.memory.removals);
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
