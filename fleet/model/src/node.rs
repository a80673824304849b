//! A Nomad client node and the work on it, as far as it matters for letting the node go.

use crate::{InstanceId, NodeId, Shared, Timestamp};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// A node, as one look at Nomad showed it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeView {
    /// Nomad's id of the node.
    pub id: NodeId,
    /// The instance that it runs on (`unique.platform.aws.instance-id`).
    pub instance: InstanceId,
    /// Whether Nomad's status of it is `ready`.
    pub ready: bool,
    /// Whether new work may be placed on it.
    pub eligible: bool,
    /// Whether its agent has not proved it yet, or no longer: it is in a pool where no work is placed (its metadata
    /// `muster_ready` is `false`).
    pub unproved: bool,
    /// Whether a drain is under way.
    pub draining: bool,
    /// When that drain tells the last work to stop; `None` where it has no deadline, or none is known.
    pub drain_until: Option<Timestamp>,
    /// What allocations may use of it: its resources less what is reserved.
    pub capacity: Resources,
    /// Ports that no work may have.
    pub reserved_ports: Vec<u16>,
    /// What it does not give of what the fleet's work asks for ([`Work::asks`]), in order.
    pub refuses: Vec<String>,
    /// What runs on it or is about to, an allocation each.
    pub work: Shared<Vec<Work>>,
}

/// What work needs, or a node has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Resources {
    /// MHz, all cores together.
    pub cpu_mhz: u64,
    /// MiB.
    pub memory_mib: u64,
    /// MiB of disk.
    pub disk_mib: u64,
}

impl Resources {
    /// Whether there is as much of each in `free`.
    pub const fn fit(self, free: Self) -> bool {
        let Self { cpu_mhz, memory_mib, disk_mib } = self;
        cpu_mhz <= free.cpu_mhz && memory_mib <= free.memory_mib && disk_mib <= free.disk_mib
    }
    /// As much of each as both have.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        let Self { cpu_mhz, memory_mib, disk_mib } = self;
        Self {
            cpu_mhz: cpu_mhz.saturating_add(other.cpu_mhz),
            memory_mib: memory_mib.saturating_add(other.memory_mib),
            disk_mib: disk_mib.saturating_add(other.disk_mib),
        }
    }
    /// What is left of each; nothing where more is taken than there is.
    #[must_use]
    pub const fn less(self, taken: Self) -> Self {
        let Self { cpu_mhz, memory_mib, disk_mib } = self;
        Self {
            cpu_mhz: cpu_mhz.saturating_sub(taken.cpu_mhz),
            memory_mib: memory_mib.saturating_sub(taken.memory_mib),
            disk_mib: disk_mib.saturating_sub(taken.disk_mib),
        }
    }
}

/// One allocation.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Work {
    /// Its namespace.
    pub namespace: String,
    /// Its job's id.
    pub job: String,
    /// Its task group.
    pub group: String,
    /// What kind of job it belongs to.
    pub kind: WorkKind,
    /// Its job's priority, 1 to 100.
    pub priority: u32,
    /// What it has reserved.
    pub needs: Resources,
    /// Static ports that it holds: at most one node can hold each of them once.
    pub ports: Vec<u16>,
    /// What else it asks of a node, in order: only what some node refuses. The words mean nothing but themselves.
    pub asks: Vec<String>,
    /// Whether it goes to no node that has another of its job.
    pub distinct_hosts: bool,
    /// How long it may take to end once it is told to: the longest `shutdown_delay` and `kill_timeout` of its tasks.
    pub grace: Duration,
    /// Whether it has been told to end, and has not yet.
    pub stopping: bool,
}

/// Nomad's types of jobs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WorkKind {
    /// Runs until it is stopped; moves when its node is drained.
    Service,
    /// Runs to its end; a drain waits for that up to its deadline.
    Batch,
    /// Runs on every node.
    System,
    /// Runs to its end on every node.
    Sysbatch,
}

impl NodeView {
    /// Whether Nomad places new work on it.
    pub fn takes_work(&self) -> bool {
        self.eligible && self.is_up()
    }

    /// Whether nothing but its eligibility could keep Nomad from placing new work on it.
    pub fn is_up(&self) -> bool {
        self.ready && !self.draining && !self.unproved
    }

    /// The allocations that a drain moves: all but those of system jobs, where these are left alone.
    pub fn movable(&self, ignore_system_jobs: bool) -> impl Iterator<Item = &Work> {
        self.work.iter().filter(move |work| {
            !(ignore_system_jobs && matches!(work.kind, WorkKind::System | WorkKind::Sysbatch))
        })
    }

    /// How long what runs here may take to end once it is told to: the longest of all. Groups that move one by
    /// one (`max_parallel = 1`) are told one by one; what is told last at the drain's deadline is what counts.
    pub fn grace(&self, ignore_system_jobs: bool) -> Duration {
        self.movable(ignore_system_jobs).map(|work| work.grace).max().unwrap_or_default()
    }
}
