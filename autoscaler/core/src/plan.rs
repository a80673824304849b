//! What will be done: no choices left.

use crate::{Memory, Report};
use fleet::ports::Change;
use fleet::{FleetRef, InstanceId, Timestamp};
use serde::{Deserialize, Serialize};

/// One step, carried out as it stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Set the fleet's target, with NoTermination.
    Modify {
        /// The fleet.
        fleet: FleetRef,
        /// The target that the plan was made on.
        from: u32,
        /// What to set.
        change: Change,
    },
    /// Terminate instances whose weight the target no longer counts.
    Terminate {
        /// The fleet that they belong to.
        fleet: FleetRef,
        /// Them.
        instances: Vec<InstanceId>,
    },
    /// Let no new work onto an instance: its node becomes ineligible.
    Cordon {
        /// Which.
        instance: InstanceId,
    },
    /// Let the work of an instance go elsewhere: no new work, and what is there is asked to leave. Repeated with a
    /// nearer deadline, that one holds.
    Drain {
        /// Which.
        instance: InstanceId,
        /// When the last work is told to stop.
        deadline: Timestamp,
        /// Why, for whoever reads Nomad's record of the drain.
        cause: DrainCause,
    },
    /// Take a drain or a cordon back: the instance stays, and takes work again.
    Restore {
        /// Which.
        instance: InstanceId,
    },
    /// Set the count of a service group that grows and shrinks with the fleet.
    ScaleGroup {
        /// Its namespace.
        namespace: String,
        /// Its job's id.
        job: String,
        /// Its name.
        group: String,
        /// The count.
        count: u32,
    },
}

/// Why an instance is emptied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DrainCause {
    /// It is given back.
    ScaleIn,
    /// It is replaced, or about to go.
    Replaced(crate::ReplacementCause),
}

impl Action {
    /// Whether this is a change to the fleet, of which one plan holds few, in order. The others are about nodes:
    /// each may be carried out by itself, at any time, and again.
    pub const fn is_of_fleet(&self) -> bool {
        matches!(self, Self::Modify { .. } | Self::Terminate { .. })
    }
}

/// The steps of one cycle, in order; empty when nothing is to be done. At most one `Modify`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// The steps.
    pub actions: Vec<Action>,
}

/// A plan, why, and what to remember.
#[must_use = "an unread report explains nothing"]
#[derive(Clone, Debug, PartialEq)]
pub struct Planned {
    /// What will be done.
    pub plan: Plan,
    /// Why, and why not.
    pub report: Report,
    /// For the next cycle; journaled before the plan is carried out.
    pub memory: Memory,
    /// When something falls due that had better not wait for the cycle after: plan again then.
    pub due: Option<Timestamp>,
    /// Set when something is to be written, but what was seen of the fleet is too old for that: describe the
    /// fleet and its instances, and plan again at once.
    pub look: bool,
}
