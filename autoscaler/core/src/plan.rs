//! What will be done: no choices left.

use crate::{Memory, Report};
use fleet::ports::Change;
use fleet::{FleetRef, InstanceId};
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
    /// Set when something is to be written, but what was seen of the fleet is too old for that: describe the
    /// fleet and its instances, and plan again at once.
    pub look: bool,
}
