//! Nomad's JSON, as far as it is read. Unknown fields are ignored; Nomad's `null` for an empty list or map is
//! that empty list or map. Pure.

use serde::{Deserialize, Deserializer};
use std::collections::BTreeMap;

/// Reads `null` as the default.
fn nullable<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(from: D) -> Result<T, D::Error> {
    Option::<T>::deserialize(from).map(Option::unwrap_or_default)
}

/// One line of `GET /v1/nodes`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct NodeStub {
    /// The node's id.
    #[serde(rename = "ID")]
    pub id: String,
    /// Its pool.
    #[serde(default)]
    pub node_pool: String,
    /// Its class; empty for none.
    #[serde(default)]
    pub node_class: String,
    /// `initializing`, `ready`, `down` or `disconnected`.
    pub status: String,
    /// Moves with every change of the node, but not with its heartbeats.
    pub modify_index: u64,
}

/// `GET /v1/node/:id`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Node {
    #[serde(rename = "ID")]
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) datacenter: String,
    #[serde(rename = "NodePool")]
    pub(crate) pool: String,
    #[serde(rename = "NodeClass")]
    pub(crate) class: String,
    pub(crate) status: String,
    pub(crate) scheduling_eligibility: String,
    #[serde(deserialize_with = "nullable")]
    pub(crate) attributes: BTreeMap<String, String>,
    #[serde(deserialize_with = "nullable")]
    pub(crate) meta: BTreeMap<String, String>,
    #[serde(rename = "NodeResources", deserialize_with = "nullable")]
    pub(crate) resources: NodeResources,
    #[serde(deserialize_with = "nullable")]
    pub(crate) reserved_resources: NodeResources,
    pub(crate) drain_strategy: Option<DrainStrategy>,
    pub(crate) last_drain: Option<LastDrain>,
    pub(crate) modify_index: u64,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct NodeResources {
    pub cpu: Cpu,
    pub memory: Memory,
    pub disk: Disk,
    pub networks: Option<ReservedPorts>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct Cpu {
    pub cpu_shares: i64,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct Memory {
    #[serde(rename = "MemoryMB")]
    pub memory_mb: i64,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct Disk {
    #[serde(rename = "DiskMB")]
    pub disk_mb: i64,
}

/// A list of networks on a node, an object with ports where they are reserved.
#[derive(Clone, Debug, Deserialize)]
#[serde(from = "serde_json::Value")]
pub(crate) struct ReservedPorts(pub String);

impl From<serde_json::Value> for ReservedPorts {
    fn from(value: serde_json::Value) -> Self {
        Self(value["ReservedHostPorts"].as_str().unwrap_or_default().to_owned())
    }
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct DrainStrategy {
    /// Nanoseconds; negative for a drain that is forced at once.
    pub deadline: i64,
    pub ignore_system_jobs: bool,
    #[serde(deserialize_with = "nullable")]
    pub force_deadline: String,
    #[serde(deserialize_with = "nullable")]
    pub started_at: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct LastDrain {
    pub status: String,
    #[serde(deserialize_with = "nullable")]
    pub meta: BTreeMap<String, String>,
}

/// An allocation: whole (`GET /v1/node/:id/allocations`, `GET /v1/allocation/:id`), or without its job
/// (`GET /v1/allocations?resources=true`).
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Alloc {
    #[serde(rename = "ID")]
    pub(crate) id: String,
    #[serde(rename = "NodeID")]
    pub(crate) node_id: String,
    pub(crate) namespace: String,
    #[serde(rename = "JobID")]
    pub(crate) job_id: String,
    pub(crate) job_version: Option<u64>,
    /// `service`, `batch`, …
    pub(crate) job_type: String,
    /// When it was made, as a Raft index; later than that of the job that it carries.
    pub(crate) create_index: u64,
    pub(crate) task_group: String,
    pub(crate) desired_status: String,
    pub(crate) client_status: String,
    #[serde(deserialize_with = "nullable")]
    pub(crate) allocated_resources: Allocated,
    pub(crate) job: Option<Job>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct Allocated {
    #[serde(deserialize_with = "nullable")]
    pub tasks: BTreeMap<String, AllocatedTask>,
    #[serde(deserialize_with = "nullable")]
    pub shared: Shared,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct AllocatedTask {
    pub cpu: Cpu,
    pub memory: Memory,
    #[serde(deserialize_with = "nullable")]
    pub devices: Vec<serde::de::IgnoredAny>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct Shared {
    #[serde(rename = "DiskMB")]
    pub disk_mb: i64,
}

/// A job: `GET /v1/job/:id`, or as an allocation carries it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Job {
    #[serde(rename = "ID")]
    pub(crate) id: String,
    pub(crate) namespace: String,
    #[serde(rename = "Type")]
    pub(crate) kind: String,
    pub(crate) priority: u32,
    pub(crate) version: u64,
    /// When it was first registered, as a Raft index: after a purge it is another one.
    pub(crate) create_index: u64,
    pub(crate) stop: bool,
    #[serde(deserialize_with = "nullable")]
    pub(crate) datacenters: Vec<String>,
    pub(crate) node_pool: String,
    #[serde(deserialize_with = "nullable")]
    pub(crate) constraints: Vec<Constraint>,
    #[serde(deserialize_with = "nullable")]
    pub(crate) task_groups: Vec<TaskGroup>,
}

impl Job {
    /// One of its groups.
    pub(crate) fn group(&self, name: &str) -> Option<&TaskGroup> {
        self.task_groups.iter().find(|group| group.name == name)
    }
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct TaskGroup {
    pub name: String,
    pub count: u32,
    /// Nanoseconds.
    pub shutdown_delay: Option<i64>,
    pub migrate: Option<Migrate>,
    #[serde(deserialize_with = "nullable")]
    pub constraints: Vec<Constraint>,
    #[serde(deserialize_with = "nullable")]
    pub networks: Vec<Network>,
    #[serde(deserialize_with = "nullable")]
    pub tasks: Vec<Task>,
    #[serde(deserialize_with = "nullable")]
    pub ephemeral_disk: EphemeralDisk,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct EphemeralDisk {
    #[serde(rename = "SizeMB")]
    pub size_mb: i64,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct Migrate {
    pub max_parallel: u32,
    /// Nanoseconds.
    pub min_healthy_time: i64,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct Constraint {
    #[serde(rename = "LTarget")]
    pub left: String,
    pub operand: String,
    #[serde(rename = "RTarget")]
    pub right: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct Network {
    #[serde(deserialize_with = "nullable")]
    pub reserved_ports: Vec<Port>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct Port {
    pub value: u16,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct Task {
    pub leader: bool,
    /// Nanoseconds.
    pub shutdown_delay: i64,
    /// Nanoseconds.
    pub kill_timeout: i64,
    #[serde(deserialize_with = "nullable")]
    pub constraints: Vec<Constraint>,
    #[serde(deserialize_with = "nullable")]
    pub resources: TaskResources,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct TaskResources {
    #[serde(rename = "CPU")]
    pub cpu: i64,
    #[serde(rename = "MemoryMB")]
    pub memory_mb: i64,
    #[serde(deserialize_with = "nullable")]
    pub networks: Vec<Network>,
}

/// One line of `GET /v1/evaluations`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Evaluation {
    pub(crate) namespace: String,
    #[serde(rename = "JobID")]
    pub(crate) job_id: String,
    pub(crate) status: String,
    #[serde(rename = "FailedTGAllocs", deserialize_with = "nullable")]
    pub(crate) failed: BTreeMap<String, Failed>,
    pub(crate) quota_limit_reached: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct Failed {
    pub nodes_exhausted: u32,
    #[serde(deserialize_with = "nullable")]
    pub dimension_exhausted: BTreeMap<String, u32>,
    pub coalesced_failures: u32,
}

/// `GET /v1/job/:id/scale`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ScaleStatus {
    #[serde(deserialize_with = "nullable")]
    pub(crate) task_groups: BTreeMap<String, GroupScale>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct GroupScale {
    pub desired: u32,
    pub placed: u32,
    pub running: u32,
    pub healthy: u32,
}
