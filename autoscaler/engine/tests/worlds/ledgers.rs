//! What a leader left in Consul, where it cannot be read.

use autoscaler_engine::{Alarm, FleetStatus};
use fleet::InstanceId;
use fleet_sim::{Demand, InstancePhase};
use muster_worlds::cluster::Cluster;
use muster_worlds::harness::{fleet, minutes, secs, world};
use std::time::Duration;

fn status(cluster: &Cluster, who: usize, fleet: usize) -> FleetStatus {
    let engine = cluster.processes[who].engine.as_ref().expect("it runs");
    engine.fleet_status(&cluster.policies[fleet].name, cluster.now(who)).expect("the fleet is held")
}

fn unreadable(cluster: &Cluster, who: usize, fleet: usize) -> bool {
    let is_it = |alarm: &Alarm| matches!(alarm, Alarm::Malformed { operation, .. } if operation == "ledgers");
    status(cluster, who, fleet).alarms.iter().any(|active| is_it(&active.alarm))
}

fn interrupt(cluster: &mut Cluster, fleet: usize) -> InstanceId {
    let serves = cluster.members(fleet).into_iter().find(|m| m.phase == InstancePhase::InService);
    let victim = serves.expect("somebody serves").id;
    assert!(cluster.world.interrupt(&victim));
    victim
}

fn ledgers_read(cluster: &Cluster, who: usize) -> u64 {
    let engine = cluster.processes[who].engine.as_ref().expect("it runs");
    let calls = engine.metrics().calls.iter();
    calls.filter(|(call, _)| call.operation == "ledgers").map(|(_, count)| count).sum()
}

#[test]
fn a_ledger_that_cannot_be_read_keeps_its_own_fleet_alone_from_being_written_to() {
    let load = Demand::points([(minutes(20), 3.0), (minutes(21), 6.0)]);
    let mut cluster = Cluster::new(world(vec![fleet(5, load.clone()), fleet(5, load)]), 5, 2);
    cluster.stays_dead = true;
    cluster.run_until(minutes(15));
    let begun = [cluster.truth_of(0).target, cluster.truth_of(1).target];
    let leader = cluster.leader().expect("somebody leads");
    let spoilt = cluster.policies[1].name.clone();
    cluster.consul.edit_ledger(spoilt.as_str(), b"\xff");
    cluster.die(leader);
    cluster.run_until(minutes(18));
    let next = cluster.leader().expect("the other one leads");
    assert_ne!(next, leader);
    assert_eq!([unreadable(&cluster, next, 0), unreadable(&cluster, next, 1)], [false, true]);

    let victims = [interrupt(&mut cluster, 0), interrupt(&mut cluster, 1)];
    let before = ledgers_read(&cluster, next);
    cluster.run_until(minutes(19));
    let asked = ledgers_read(&cluster, next) - before;
    assert!((3..20).contains(&asked), "it is asked for with each cycle: {asked}");
    let told = victims.map(|victim| cluster.nomad.cordoned.contains_key(&victim));
    assert_eq!(told, [true, false], "who is interrupted is emptied, by whom its ledger lets");
    cluster.run_until(minutes(35));
    let grown = |cluster: &Cluster, fleet: usize| cluster.truth_of(fleet).target > begun[fleet];
    assert!(grown(&cluster, 0), "{:?}", cluster.truth_of(0));
    assert_eq!(cluster.truth_of(1).target, begun[1]);

    cluster.consul.edit_ledger(spoilt.as_str(), b"");
    cluster.run_until(minutes(45));
    assert!(!unreadable(&cluster, next, 1), "the key was deleted");
    assert!(grown(&cluster, 1), "{:?}", cluster.truth_of(1));
}

/// A drain of ten minutes, of work that stays till the end, is begun by a leader who then dies, and whose clock is so far off by then.
/// * returns: when it was begun, and when its instance had gone.
fn drained_by_two_leaders(off: i64) -> (Duration, Duration) {
    let load = Demand::points([(minutes(20), 6.0), (minutes(21), 2.0)]);
    let mut cluster =
        Cluster::new(world(vec![fleet(8, load)]), 5, 2).policy(|policy| policy.drain.deadline = minutes(10));
    cluster.nomad.leaves_in = minutes(60);
    cluster.stays_dead = true;
    let on = |cluster: &mut Cluster| {
        let next = cluster.elapsed() + secs(1);
        cluster.run_until(next);
        assert!(next < minutes(120), "nothing happens:\n{}", cluster.story());
    };
    while cluster.nomad.drains == 0 {
        on(&mut cluster);
    }
    let (begun, before) = (cluster.elapsed(), cluster.truth.termination_calls);
    let leader = cluster.leader().expect("somebody leads");
    cluster.processes[leader].wall_off = off;
    // It has told the ledger when the drain ends by its clock.
    cluster.run_until(begun + secs(20));
    cluster.die(leader);
    while cluster.truth.termination_calls == before {
        on(&mut cluster);
    }
    assert_eq!(cluster.all_complaints(), [] as [String; 0], "{off}:\n{}", cluster.story());
    (begun, cluster.elapsed())
}

#[test]
fn what_drains_has_its_time_under_the_next_leader_by_whose_clock_it_was_over_or_never_would_be() {
    for off in [0, -35 * 60_000, 35 * 60_000] {
        let (begun, gone) = drained_by_two_leaders(off);
        let took = gone.saturating_sub(begun);
        assert!((minutes(10)..minutes(14)).contains(&took), "{off}: {took:?}");
    }
}
