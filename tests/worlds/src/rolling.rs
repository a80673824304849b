//! Roll-outs by chance: one is ordered in the midst of all that goes wrong, perhaps of a version that never serves, perhaps
//! taken back; in the end it has ended or halted, and there is no mix that nobody sorts out.

use crate::cluster::Cluster;
use autoscaler_core::{Course, Rollout};
use autoscaler_engine::{Command, Event, Order, RolloutOrder};
use fleet::{FleetId, Instance, InstanceState};
use fleet_sim::InstanceTruth;
use std::collections::BTreeSet;
use std::time::Duration;

/// How long a roll-out may take beyond the peace of its world.
pub const PATIENCE: Duration = Duration::from_secs(3 * 3600);
/// When it halts, what was asked for in place of those that stay is beyond the target, and given back: within so long.
const TAKEN_BACK_WITHIN: Duration = Duration::from_secs(600);
/// What the world's fleets launch when it begins, and what is rolled out.
const TEMPLATE: &str = "lt-0123456789abcdef0";
const OLD: u64 = 1;
const NEW: u64 = 2;

/// A roll-out is ordered, of whoever leads; nothing where nobody does.
pub fn begins(cluster: &mut Cluster, broken: bool) {
    if broken {
        cluster.world.break_version(NEW);
    }
    let template = TEMPLATE.to_owned();
    order(cluster, &RolloutOrder::Start { template, version: NEW, image: None });
}

/// It is taken back.
pub fn is_taken_back(cluster: &mut Cluster) {
    order(cluster, &RolloutOrder::Abort);
}

fn order(cluster: &mut Cluster, order: &RolloutOrder) {
    let Some(leader) = cluster.leader() else { return };
    for index in 0..cluster.policies.len() {
        let command = Command {
            fleet: Some(cluster.policies[index].name.clone()),
            order: Order::Rollout(order.clone()),
            by: "ann".to_owned(),
            reason: "by chance".to_owned(),
        };
        cluster.happen(leader, Event::Operator(command));
    }
}

/// What the leader knows of a fleet's roll-out.
fn known(cluster: &mut Cluster, index: usize) -> Option<Rollout> {
    let leader = cluster.leader()?;
    let now = cluster.now(leader);
    let name = cluster.policies[index].name.clone();
    let engine = cluster.processes[leader].engine.as_ref()?;
    Some(engine.fleet_status(&name, now)?.rollout?.rollout)
}

/// Whether any goes on, or has halted lately, or has not got rid yet of what it was halted for: it may halt at any time, long after peace
/// began, if it had to wait till then.
pub fn goes_on(cluster: &mut Cluster) -> bool {
    let Some(now) = cluster.leader().map(|leader| cluster.now(leader).wall) else { return false };
    (0..cluster.policies.len()).any(|index| {
        let Some(rollout) = known(cluster, index) else { return false };
        let lately = rollout.halted.as_ref().is_none_or(|halted| now.since(halted.at) < TAKEN_BACK_WITHIN);
        (!rollout.is_over() && lately) || failed(cluster, index, &rollout) > 0
    })
}

/// How many there are still of what a roll-out was halted for.
fn failed(cluster: &mut Cluster, index: usize, rollout: &Rollout) -> usize {
    let halted = rollout.halted.as_ref().is_some_and(|halted| halted.why.is_failure());
    if !halted || rollout.course != Course::Forward {
        return 0;
    }
    let alive = alive(cluster, index);
    alive.iter().filter(|i| is_of(i, NEW) && !rollout.ready.contains(&i.id)).count()
}

/// After some peace: whoever has ended has one version, and whoever was halted for the new one's sake has none of it that
/// does not serve.
pub fn came_right(cluster: &mut Cluster, complaints: &mut Vec<String>) {
    for index in 0..cluster.policies.len() {
        let Some(rollout) = known(cluster, index) else { continue };
        let halted = rollout.halted.as_ref().map(|halted| halted.why.label());
        if !rollout.is_over() && halted.is_none() && !cannot_end(cluster, index, rollout.course) {
            complaints.push(format!("ROLLOUT: it does not end: {rollout:?}"));
        }
        let (of, old, new) = running(cluster, index);
        let wrong = match rollout.course {
            Course::Forward => of - new,
            Course::Back => of - old,
        };
        if rollout.is_over() && wrong > 0 {
            complaints.push(format!("ROLLOUT: {wrong} of {of} are of another version: {rollout:?}"));
        }
        let unready = failed(cluster, index, &rollout);
        if unready > 0 {
            complaints.push(format!("ROLLOUT: {unready} of what has failed are still there: {rollout:?}"));
        }
    }
}

/// Whether nobody could end it: at `max` those are left that weigh more than `surge`. With another beside it the fleet would ask for
/// more than it may, and without it less than is wanted would serve, of which `unavailable` allows none. So it waits for load to
/// fall, and says so.
fn cannot_end(cluster: &mut Cluster, index: usize, course: Course) -> bool {
    let surge = f64::from(cluster.policies[index].base.capacity.surge);
    let kept = match course {
        Course::Forward => NEW,
        Course::Back => OLD,
    };
    let alive = alive(cluster, index);
    let left: BTreeSet<_> = alive.iter().filter(|i| !is_of(i, kept)).map(|i| &i.id).collect();
    let is_heavy = |member: &InstanceTruth| !left.contains(&member.id) || member.weight.get() > surge;
    !left.is_empty() && cluster.lacks_surge() && cluster.members(index).iter().all(is_heavy)
}

/// How many live, and how many of them are of the old and of the new version.
fn running(cluster: &mut Cluster, index: usize) -> (usize, usize, usize) {
    let alive = alive(cluster, index);
    let of = |version| alive.iter().filter(|instance| is_of(instance, version)).count();
    (alive.len(), of(OLD), of(NEW))
}

fn is_of(instance: &Instance, version: u64) -> bool {
    instance.tags.get("aws:ec2launchtemplate:version").is_some_and(|tag| *tag == version.to_string())
}

fn alive(cluster: &mut Cluster, index: usize) -> Vec<Instance> {
    let id: FleetId = cluster.id(index);
    // Peace is over by now: nothing refuses the call.
    let shown = cluster.world.describe_instances("judge", &[id], &[]).unwrap_or_default();
    let lives = |i: &Instance| matches!(i.state, InstanceState::Pending | InstanceState::Running);
    shown.into_iter().filter(lives).collect()
}
