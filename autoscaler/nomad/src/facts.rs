//! What Nomad's answers come to, as plain values, and what follows from them. Pure: no I/O, no clock.
//!
//! Everything here can be kept in a journal: no value leans on how it is encoded.

mod asks;
mod departure;
mod read;

pub use asks::views;
pub use departure::DrainDeadline;
pub(crate) use read::named;
pub use read::{alloc, blocked, group_counts, node};

use fleet::{InstanceId, NodeId, NodeView, Resources, Timestamp, Work, WorkKind};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// The attribute in which Nomad's fingerprint keeps the EC2 instance.
pub const INSTANCE_ATTRIBUTE: &str = "unique.platform.aws.instance-id";

/// A client node and what is on it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeFact {
    /// Nomad's id of it.
    pub id: NodeId,
    /// The EC2 instance that it found itself on; `None` where it found none.
    pub instance: Option<InstanceId>,
    /// Its name.
    pub name: String,
    /// Its pool.
    pub pool: String,
    /// Its class; empty for none.
    pub class: String,
    /// Its datacenter.
    pub datacenter: String,
    /// Nomad's word for how it is.
    pub status: NodeStatus,
    /// Whether new work may be placed on it.
    pub eligible: bool,
    /// Whether muster's agent says that it has not proved it yet, or no longer.
    pub unproved: bool,
    /// The drain that is under way.
    pub drain: Option<DrainFact>,
    /// What was last said of a drain of it, under way or over.
    pub last_drain: Option<LastDrainFact>,
    /// What allocations may use of it: its resources less what is reserved.
    pub capacity: Resources,
    /// Ports that no allocation may have.
    pub reserved_ports: BTreeSet<u16>,
    /// What constraints name of it (`${attr.kernel.name}`), with its value; absent where it has none.
    pub properties: BTreeMap<String, String>,
    /// What is on it, by id: ended allocations are not among it.
    pub allocs: Vec<AllocFact>,
}

/// How a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NodeStatus {
    /// It registers.
    Initializing,
    /// It takes work.
    Ready,
    /// It missed its heartbeats: Nomad takes its work to be lost.
    Down,
    /// It missed its heartbeats, and its work may come back with it.
    Disconnected,
    /// A word that is not known here.
    Other,
}

/// A drain under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DrainFact {
    /// When what is left is told to stop; `None`: never.
    pub deadline: Option<Timestamp>,
    /// Whether system jobs stay.
    pub ignores_system_jobs: bool,
}

/// What a node keeps of its last drain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastDrainFact {
    /// `draining`, `complete` or `canceled`.
    pub status: String,
    /// What whoever began it wrote down: [`crate::Drain::reason`] among it, where that was us.
    pub meta: BTreeMap<String, String>,
}

/// An allocation that has not ended.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct AllocFact {
    /// Nomad's id of it.
    pub id: String,
    /// What it is, needs and takes to end.
    pub work: Work,
    /// Whether its client says that it runs; otherwise it is about to, or nobody knows.
    pub running: bool,
    /// Whether it has devices (GPUs) reserved, or nobody knows what its job asks for: then no other node is known to have room.
    pub devices: bool,
    /// Whether its job may run in any node pool; otherwise in that of its node alone.
    pub any_pool: bool,
    /// Where its job may run: names with `*` in them.
    pub datacenters: Vec<String>,
    /// What its job, group and tasks ask of a node.
    pub constraints: Vec<ConstraintFact>,
    /// How many of its group a drain moves at a time.
    pub max_parallel: u32,
    /// How long a moved one has to be healthy before the next is moved.
    pub min_healthy_time: Duration,
}

/// A constraint, in Nomad's words.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ConstraintFact {
    /// `${attr.kernel.name}`, or a literal.
    pub left: String,
    /// `=`, `version`, `distinct_hosts`, …
    pub operand: String,
    /// As `left`.
    pub right: String,
}

/// Placements that Nomad cannot make.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct BlockedFact {
    /// The job's namespace.
    pub namespace: String,
    /// The job.
    pub job: String,
    /// The group.
    pub group: String,
    /// How many of it wait, at least 1.
    pub placements: u32,
    /// What each of them asks for; `None` where the job is gone.
    pub needs: Option<Resources>,
    /// What nodes ran out of: `memory`, `cpu`, … Empty where more nodes of the kind would not help: constraints
    /// that none meets, or a quota.
    pub exhausted: BTreeSet<String>,
    /// The node pool that its job asks for; `None`: any.
    pub pool: Option<String>,
    /// Where its job may run: names with `*` in them. Empty: anywhere.
    pub datacenters: Vec<String>,
    /// What its job, group and tasks ask of a node.
    pub constraints: Vec<ConstraintFact>,
}

/// How many of a group there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct GroupCount {
    /// Wanted.
    pub desired: u32,
    /// Placed on a node.
    pub placed: u32,
    /// Running.
    pub running: u32,
    /// Running and found healthy by their deployment.
    pub healthy: u32,
}

impl NodeFact {
    /// The planner's view of it, of it alone: what its work asks of other nodes is told by [`views`]. `None` where it is
    /// on no instance.
    pub fn view(&self) -> Option<NodeView> {
        Some(NodeView {
            id: self.id.clone(),
            instance: self.instance.clone()?,
            ready: self.status == NodeStatus::Ready,
            eligible: self.eligible,
            unproved: self.unproved,
            draining: self.drain.is_some(),
            drain_until: self.drain.and_then(|drain| drain.deadline),
            capacity: self.capacity,
            reserved_ports: self.reserved_ports.iter().copied().collect(),
            refuses: Vec::new(),
            work: self.allocs.iter().map(|alloc| alloc.work.clone()).collect(),
        })
    }

    /// Whether one more node like this, with nothing on it, could hold one of what waits: it is of its pool and datacenters,
    /// large enough, and meets its constraints as far as they can be worked out from what is known of the node.
    pub fn could_hold(&self, waiting: &BlockedFact) -> bool {
        let of_pool = waiting.pool.as_ref().is_none_or(|pool| *pool == self.pool);
        let mut places = waiting.datacenters.iter();
        let in_place =
            waiting.datacenters.is_empty() || places.any(|pattern| asks::matches(pattern, &self.datacenter));
        let large_enough = waiting.needs.is_some_and(|needs| needs.fit(self.capacity));
        of_pool && in_place && large_enough && waiting.constraints.iter().all(|asked| self.may_meet(asked))
    }

    /// Whether a constraint is met, or nobody can tell.
    fn may_meet(&self, constraint: &ConstraintFact) -> bool {
        let ConstraintFact { left, operand, right } = constraint;
        let own = |side: &str| match side {
            "${node.class}" => Some(self.class.clone()),
            "${node.datacenter}" => Some(self.datacenter.clone()),
            "${node.pool}" => Some(self.pool.clone()),
            _ => asks::value(self, side).map(str::to_owned),
        };
        match (own(left), &**operand, own(right)) {
            (Some(left), "=" | "==" | "is", Some(right)) => left == right,
            (Some(left), "!=" | "not", Some(right)) => left != right,
            _ => true,
        }
    }

    /// Whether new work can be placed on it.
    pub fn takes_work(&self) -> bool {
        self.status == NodeStatus::Ready && self.eligible && self.drain.is_none() && !self.unproved
    }

    /// What a drain moves or ends, and what has not ended yet.
    ///
    /// A drain is over for Nomad as soon as everything was told to stop at the deadline; what is still here then
    /// has its `kill_timeout` left. The node is empty when this is.
    pub fn movable(&self, ignore_system_jobs: bool) -> impl Iterator<Item = &AllocFact> {
        self.allocs.iter().filter(move |alloc| {
            !(ignore_system_jobs && matches!(alloc.work.kind, WorkKind::System | WorkKind::Sysbatch))
        })
    }
}
