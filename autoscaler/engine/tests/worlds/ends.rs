//! Instances that end and nobody announced it: by AWS, which speaks against their pool, or by somebody's hand, which
//! does not.

use autoscaler_engine::{Answer, Event};
use fleet::{InstanceId, InstanceState, MessageId, News};
use fleet_sim::{Demand, InstancePhase};
use muster_worlds::cluster::Cluster;
use muster_worlds::harness::{Harness, fleet, minutes, world};
use std::time::Duration;

/// When AWS marks what it takes, ...
const MARKED: Duration = minutes(8);
/// ... and when something ends.
const ENDS: Duration = minutes(10);

/// A fleet of six of which neither agents nor the queue tell anything.
fn deaf() -> Cluster {
    let mut cluster = Cluster::new(world(vec![fleet(6, Demand::constant(3.8))]), 3, 1)
        .policy(|policy| policy.capacity.min = 6);
    (cluster.agents_tell, cluster.queue_tells) = (false, false);
    cluster
}

fn serving(cluster: &Cluster) -> InstanceId {
    let mut members = cluster.members(0).into_iter().filter(|m| m.phase == InstancePhase::InService);
    members.next().expect("somebody serves").id
}

/// EventBridge tells of the end alone.
fn tell_end(cluster: &mut Cluster, instance: &InstanceId) {
    let (region, at) = (cluster.config.region.clone().expect("a region"), cluster.world.now());
    let news = vec![News::State { instance: instance.clone(), state: InstanceState::ShuttingDown, at }];
    cluster.happen(0, Event::Heard { region, message: Some(MessageId::new("end")), news });
}

/// How many instances are held against pools.
fn held_against_pools(cluster: &Cluster) -> f64 {
    let engine = cluster.processes[0].engine.as_ref().expect("it runs");
    let status = engine.fleet_status(&cluster.policies[0].name, cluster.now(0)).expect("the fleet is held");
    status.pools.iter().map(|pool| pool.interrupted).sum()
}

fn alive(cluster: &Cluster) -> usize {
    cluster.members(0).iter().filter(|member| member.phase != InstancePhase::Gone).count()
}

#[test]
fn what_somebody_terminates_by_hand_speaks_against_no_pool_and_what_aws_takes_does() {
    for by_hand in [true, false] {
        for told in [true, false] {
            let mut cluster = deaf();
            cluster.run_until(MARKED);
            let victim = serving(&cluster);
            if !by_hand {
                cluster.world.interrupt(&victim);
            }
            cluster.run_until(ENDS);
            if by_hand {
                cluster
                    .world
                    .terminate_instances("somebody", std::slice::from_ref(&victim))
                    .expect("it lives");
            }
            if told {
                tell_end(&mut cluster, &victim);
            }
            cluster.run_until(ENDS + minutes(10));
            let what = format!("by hand {by_hand}, told {told}: {}", cluster.story());
            let held = held_against_pools(&cluster);
            assert_eq!(held > 0.5, !by_hand, "{held}, {what}");
            assert_eq!(alive(&cluster), 6, "the fleet replaces it: {what}");
        }
    }
}

#[test]
fn what_ended_without_a_trace_is_held_against_its_pool() {
    let mut harness = Harness::new(world(vec![fleet(6, Demand::constant(3.8))]), 3);
    harness.run_until(ENDS);
    let members = harness.world.instance_truths(&harness.id(0));
    let victim =
        members.into_iter().find(|m| m.phase == InstancePhase::InService).expect("somebody serves").id;
    harness.world.terminate_instances("somebody", std::slice::from_ref(&victim)).expect("it lives");
    harness.tamper_answer = Some(Box::new(move |answer| {
        if let Answer::Instances(Ok(instances)) = answer {
            instances.retain(|instance| instance.id != victim);
        }
    }));
    harness.run_until(ENDS + minutes(10));
    let held: f64 = harness.status(0).pools.iter().map(|pool| pool.interrupted).sum();
    assert!(held > 0.5, "nobody says why: {held}");
}
