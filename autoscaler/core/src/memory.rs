//! What is remembered from cycle to cycle, and survives a crash: small, and journaled.

use fleet::{CapacityUnits, InstanceId, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A fleet's memory. A plain value: the same memory, snapshot and policy give the same plan.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Memory {
    /// What we last set, or found when we took the fleet over: anything else was written by somebody else.
    pub expected: Option<Expected>,
    /// How often somebody else was seen to write.
    pub foreign_writes: u32,
    /// Set from the second foreign write on, until an operator resumes: hands off.
    pub ceded: bool,
    /// Removals in flight, by victim.
    pub removals: BTreeMap<InstanceId, Removal>,
    /// When the target was last raised by us.
    pub last_scale_out: Option<Timestamp>,
    /// When the target was last lowered by us.
    pub last_scale_in: Option<Timestamp>,
    /// Since when more than is needed has been running, without a break.
    pub surplus_since: Option<Timestamp>,
    /// The most that was needed since then: what may not be given back yet.
    pub surplus_peak: CapacityUnits,
    /// Since when less than is needed has been asked for, without a break.
    pub shortage_since: Option<Timestamp>,
}

/// A target that is ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Expected {
    /// The total target.
    pub target: u32,
    /// The on-demand part of it.
    pub on_demand_target: u32,
    /// When the write was sent; `None` once a describe from after that has shown it.
    pub written: Option<Timestamp>,
    /// The target before the write, while it has not been shown: seeing that one is lag, not somebody else.
    pub before: Option<u32>,
}

/// One removal: lower the target, wait until the fleet shows it, terminate, see it gone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Removal {
    /// The step that is under way.
    pub step: RemovalStep,
    /// Since when.
    pub since: Timestamp,
    /// What the victim counts for in the target.
    pub weight: fleet::Weight,
}

/// The steps of a removal, in order. Each is journaled before it is begun; none is skipped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RemovalStep {
    /// Its work is asked to leave (nothing to wait for where there is no drain).
    Draining,
    /// The target is being lowered by its weight; the fleet has not shown that yet.
    Lowering,
    /// The target is lowered; it is being terminated.
    Terminating,
}
