//! Answers to facts.

use super::{
    AllocFact, BlockedFact, ConstraintFact, DrainFact, GroupCount, INSTANCE_ATTRIBUTE, LastDrainFact,
    NodeFact, NodeStatus,
};
use crate::wire;
use fleet::{InstanceId, NodeId, Resources, Timestamp, Work, WorkKind};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// What muster's agent says in a node's metadata: `true` once it has proved the node.
const READY_META: &str = "muster_ready";

/// What Nomad gives a job that names none.
const USUAL_PRIORITY: u32 = 50;

/// What a client grants where nobody set its `max_kill_timeout`.
const GRACE_AT_MOST: Duration = Duration::from_secs(30);

/// The node pool that every node is in, whatever other it is in.
const ANY_POOL: &str = "all";

/// A node with what is on it, in any order.
pub fn node(node: &wire::Node, mut allocs: Vec<AllocFact>, named: &BTreeSet<String>) -> NodeFact {
    allocs.sort();
    let instance = node.attributes.get(INSTANCE_ATTRIBUTE).filter(|text| !text.is_empty());
    let (all, reserved) = (&node.resources, &node.reserved_resources);
    let left = |all: i64, reserved: i64| u64::try_from(all.saturating_sub(reserved)).unwrap_or_default();
    let value = |target: &String| Some((target.clone(), property(node, target)?));
    NodeFact {
        id: NodeId::from(&*node.id),
        instance: instance.map(|text| InstanceId::from(&**text)),
        name: node.name.clone(),
        pool: node.pool.clone(),
        class: node.class.clone(),
        datacenter: node.datacenter.clone(),
        status: match &*node.status {
            "initializing" => NodeStatus::Initializing,
            "ready" => NodeStatus::Ready,
            "down" => NodeStatus::Down,
            "disconnected" => NodeStatus::Disconnected,
            _ => NodeStatus::Other,
        },
        eligible: node.scheduling_eligibility == "eligible",
        unproved: node.meta.get(READY_META).is_some_and(|proved| proved == "false"),
        drain: node.drain_strategy.as_ref().map(drain),
        last_drain: node
            .last_drain
            .as_ref()
            .map(|last| LastDrainFact { status: last.status.clone(), meta: last.meta.clone() }),
        capacity: Resources {
            cpu_mhz: left(all.cpu.cpu_shares, reserved.cpu.cpu_shares),
            memory_mib: left(all.memory.memory_mb, reserved.memory.memory_mb),
            disk_mib: left(all.disk.disk_mb, reserved.disk.disk_mb),
        },
        reserved_ports: reserved.networks.as_ref().map(|networks| ports(&networks.0)).unwrap_or_default(),
        properties: named.iter().filter_map(value).collect(),
        allocs,
    }
}

/// An allocation with the version of its job that it runs. `None`: it has ended.
///
/// Where the job is not known, or has no such group, the allocation is on its node all the same: nobody knows what it asks of
/// another one, so none is thought to have room for it.
pub fn alloc(alloc: &wire::Alloc, job: Option<&wire::Job>) -> Option<AllocFact> {
    if matches!(&*alloc.client_status, "complete" | "failed" | "lost") {
        return None;
    }
    let unknown =
        wire::Job { kind: alloc.job_type.clone(), priority: USUAL_PRIORITY, ..wire::Job::default() };
    let group = job.and_then(|job| job.group(&alloc.task_group));
    let known = group.is_some();
    let job = job.filter(|_| known).unwrap_or(&unknown);
    let no_group = wire::TaskGroup::default();
    let grace = group.map_or(GRACE_AT_MOST, grace);
    let group = group.unwrap_or(&no_group);
    let tasks = || alloc.allocated_resources.tasks.values();
    let total = |part: fn(&wire::AllocatedTask) -> i64| {
        tasks().map(|task| u64::try_from(part(task)).unwrap_or_default()).fold(0, u64::saturating_add)
    };
    let networks = group.tasks.iter().flat_map(|task| &task.resources.networks).chain(&group.networks);
    let ports: BTreeSet<u16> =
        networks.flat_map(|network| &network.reserved_ports).map(|port| port.value).collect();
    let migrate = group.migrate.unwrap_or(wire::Migrate { max_parallel: 1, min_healthy_time: 0 });
    Some(AllocFact {
        id: alloc.id.clone(),
        work: Work {
            namespace: alloc.namespace.clone(),
            job: alloc.job_id.clone(),
            group: alloc.task_group.clone(),
            kind: kind(&job.kind),
            priority: job.priority,
            needs: Resources {
                cpu_mhz: total(|task| task.cpu.cpu_shares),
                memory_mib: total(|task| task.memory.memory_mb),
                disk_mib: u64::try_from(alloc.allocated_resources.shared.disk_mb).unwrap_or_default(),
            },
            ports: ports.into_iter().filter(|port| *port > 0).collect(),
            asks: Vec::new(),
            distinct_hosts: false,
            grace,
            stopping: alloc.desired_status != "run",
        },
        running: alloc.client_status == "running",
        devices: !known || tasks().any(|task| !task.devices.is_empty()),
        any_pool: job.node_pool == ANY_POOL,
        datacenters: job.datacenters.clone(),
        constraints: asked_of(job, group),
        max_parallel: migrate.max_parallel,
        min_healthy_time: nanos(migrate.min_healthy_time),
    })
}

/// What blocked evaluations ask for, a fact a group, in order. `jobs`: by namespace and id.
///
/// A job has one blocked evaluation at most; where there are more all the same, the larger count holds.
pub fn blocked(
    evaluations: &[wire::Evaluation],
    jobs: &BTreeMap<(String, String), wire::Job>,
) -> Vec<BlockedFact> {
    let mut found: BTreeMap<(&str, &str, &str), BlockedFact> = BTreeMap::new();
    for evaluation in evaluations.iter().filter(|evaluation| evaluation.status == "blocked") {
        let job = jobs.get(&(evaluation.namespace.clone(), evaluation.job_id.clone()));
        for (name, failed) in &evaluation.failed {
            let group = job.and_then(|job| job.group(name));
            let quota = !evaluation.quota_limit_reached.is_empty();
            let helped = failed.nodes_exhausted > 0 && !quota;
            let fact = BlockedFact {
                namespace: evaluation.namespace.clone(),
                job: evaluation.job_id.clone(),
                group: name.clone(),
                placements: failed.coalesced_failures.saturating_add(1),
                needs: group.map(asked),
                exhausted: if helped {
                    failed.dimension_exhausted.keys().cloned().collect()
                } else {
                    BTreeSet::new()
                },
                pool: job.map(|job| job.node_pool.clone()).filter(|pool| !matches!(&**pool, "" | ANY_POOL)),
                datacenters: job.map(|job| job.datacenters.clone()).unwrap_or_default(),
                constraints: job.zip(group).map(|(job, group)| asked_of(job, group)).unwrap_or_default(),
            };
            let key = (&*evaluation.namespace, &*evaluation.job_id, &**name);
            let known = found.entry(key).or_insert_with(|| fact.clone());
            if known.placements < fact.placements {
                *known = fact;
            }
        }
    }
    found.into_values().collect()
}

/// What a job, one of its groups and its tasks ask of a node.
fn asked_of(job: &wire::Job, group: &wire::TaskGroup) -> Vec<ConstraintFact> {
    let tasks = group.tasks.iter().flat_map(|task| &task.constraints);
    job.constraints.iter().chain(&group.constraints).chain(tasks).map(constraint).collect()
}

/// How many there are of each group of a job.
pub fn group_counts(status: &wire::ScaleStatus) -> BTreeMap<String, GroupCount> {
    let count = |group: &wire::GroupScale| GroupCount {
        desired: group.desired,
        placed: group.placed,
        running: group.running,
        healthy: group.healthy,
    };
    status.task_groups.iter().map(|(name, group)| (name.clone(), count(group))).collect()
}

/// What constraints name of nodes: `${…}`, each once.
pub(crate) fn named<'a>(allocs: impl IntoIterator<Item = &'a AllocFact>) -> BTreeSet<String> {
    let constraints = allocs.into_iter().flat_map(|alloc| &alloc.constraints);
    let sides = constraints.flat_map(|constraint| [&constraint.left, &constraint.right]);
    sides.filter(|side| side.starts_with("${")).cloned().collect()
}

fn drain(drain: &wire::DrainStrategy) -> DrainFact {
    // A forced one has no deadline of its own. Go's zero time, in the year 1, says that there is none.
    let told_at = if drain.deadline < 0 { &drain.started_at } else { &drain.force_deadline };
    let deadline = Timestamp::parse(told_at).ok().filter(|at| *at > Timestamp::EPOCH);
    DrainFact { deadline, ignores_system_jobs: drain.ignore_system_jobs }
}

/// The value of `${…}` on a node, as Nomad interpolates it in constraints.
fn property(node: &wire::Node, target: &str) -> Option<String> {
    let inner = target.strip_prefix("${")?.strip_suffix('}')?;
    match inner {
        "node.unique.id" => Some(node.id.clone()),
        "node.unique.name" => Some(node.name.clone()),
        "node.datacenter" => Some(node.datacenter.clone()),
        "node.class" => Some(node.class.clone()),
        "node.pool" => Some(node.pool.clone()),
        _ => {
            let attribute = inner.strip_prefix("attr.").and_then(|name| node.attributes.get(name));
            attribute.or_else(|| node.meta.get(inner.strip_prefix("meta.")?)).cloned()
        }
    }
}

fn kind(text: &str) -> WorkKind {
    match text {
        "batch" => WorkKind::Batch,
        "system" => WorkKind::System,
        "sysbatch" => WorkKind::Sysbatch,
        _ => WorkKind::Service,
    }
}

fn constraint(wire: &wire::Constraint) -> ConstraintFact {
    let wire::Constraint { left, operand, right } = wire.clone();
    ConstraintFact { left, operand, right }
}

/// How long one of a group takes to end once it is told to; see [`NodeFact::grace`].
fn grace(group: &wire::TaskGroup) -> Duration {
    let one = |task: &wire::Task| nanos(task.shutdown_delay).saturating_add(nanos(task.kill_timeout));
    let longest = |leader: bool| group.tasks.iter().filter(|task| task.leader == leader).map(one).max();
    let delay = nanos(group.shutdown_delay.unwrap_or_default());
    [longest(true), longest(false)].into_iter().flatten().fold(delay, Duration::saturating_add)
}

/// What one of a group asks for.
fn asked(group: &wire::TaskGroup) -> Resources {
    let total = |part: fn(&wire::TaskResources) -> i64| {
        let parts = group.tasks.iter().map(|task| u64::try_from(part(&task.resources)).unwrap_or_default());
        parts.fold(0, u64::saturating_add)
    };
    Resources {
        cpu_mhz: total(|task| task.cpu),
        memory_mib: total(|task| task.memory_mb),
        disk_mib: u64::try_from(group.ephemeral_disk.size_mb).unwrap_or_default(),
    }
}

fn nanos(nanos: i64) -> Duration {
    Duration::from_nanos(u64::try_from(nanos).unwrap_or_default())
}

/// Nomad's list of ports: `22,80,8000-8100`. What is no port is left out.
fn ports(text: &str) -> BTreeSet<u16> {
    let range = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        Some(first.trim().parse::<u16>().ok()?..=last.trim().parse().ok()?)
    };
    text.split(',').filter_map(range).flatten().collect()
}
