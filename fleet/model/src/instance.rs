//! An instance as the cloud describes it.

use crate::{FleetId, InstanceId, Pool, Shared, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::IpAddr;

/// EC2's states of an instance that is part of a fleet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum InstanceState {
    /// Being started; billed from `running` on.
    Pending,
    /// Runs; whether it serves is another question.
    Running,
    /// On its way out.
    ShuttingDown,
    /// Gone.
    Terminated,
    /// Stopping.
    Stopping,
    /// Stopped.
    Stopped,
}

/// Who ended an instance, by EC2's reason for its state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EndedBy {
    /// AWS: it took a spot instance back, or lost it.
    Aws,
    /// Somebody who uses the account: by TerminateInstances, or from within.
    Client,
}

/// EC2's opinion of an instance's health, as its fleet has it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Health {
    /// Passes its status checks, or nobody has looked yet.
    #[default]
    Healthy,
    /// Fails them.
    Unhealthy,
}

/// An instance, as one describe call showed it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Instance {
    /// EC2's id.
    pub id: InstanceId,
    /// The fleet that launched it, by its tag.
    pub fleet: FleetId,
    /// Where its capacity comes from.
    pub pool: Pool,
    /// Its state.
    pub state: InstanceState,
    /// Who ended it; `None` while it lives, and where EC2 gives no reason.
    pub ended_by: Option<EndedBy>,
    /// EC2's opinion of its health.
    pub health: Health,
    /// When it was launched.
    pub launched: Timestamp,
    /// vCPUs (cores x threads), where EC2 says.
    pub vcpus: Option<u32>,
    /// Its private address: what its agent's calls must come from.
    pub private_ip: Option<IpAddr>,
    /// Its tags.
    pub tags: Shared<BTreeMap<String, String>>,
}
