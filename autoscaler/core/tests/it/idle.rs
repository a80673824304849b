//! Nodes that are drained and ineligible with nobody to account for it.

use crate::drains::{ends_with_exactly, scene, victims};
use crate::support::ec2::{Ec2, Fate};
use crate::support::scene::{NOON, seconds};
use autoscaler_core::{Memory, Rebalance, Remark};
use fleet::{InstanceId, NoticeKind};

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

/// An empty node that takes no work, after a minute.
fn found_idle(hear: impl Fn(&mut Ec2, &InstanceId)) -> bool {
    let mut ec2 = Ec2::with_nomad(8, 6, 3);
    ec2.learning = false;
    ec2.ticks(1);
    let id = ec2.ids()[4].clone();
    hear(&mut ec2, &id);
    ec2.nodes.cordon(&id);
    ec2.nodes.of(&id).work.clear();
    ec2.ticks(6);
    ec2.scene.memory.unaccounted.contains_key(&id)
}

#[test]
fn what_was_heard_of_an_instance_explains_its_idle_node_only_where_the_policy_keeps_work_from_it() {
    let recommended = |rebalance| {
        found_idle(|ec2, id| {
            ec2.scene.policy.interruption.rebalance = rebalance;
            ec2.hear(id, NoticeKind::RebalanceRecommendation, None);
        })
    };
    let found = [Rebalance::Ignore, Rebalance::Cordon, Rebalance::ByRisk].map(recommended);
    assert_eq!(found, [true, false, false]);
    let far_ahead = found_idle(|ec2, id| {
        ec2.hear(id, NoticeKind::ScheduledEvent, Some(ec2.scene.now + seconds(30 * 86_400)));
    });
    assert!(far_ahead);
    // AWS was to take it, and has left it to us.
    let outlived = found_idle(|ec2, id| {
        let deadline = ec2.scene.now - seconds(3600);
        ec2.hear(id, NoticeKind::SpotInterruption, Some(deadline));
        ec2.scene.memory.replaced.insert(id.clone(), deadline);
    });
    assert!(outlived);
}
