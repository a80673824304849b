//! Why, and why not.

use fleet::{CapacityUnits, Power, Source, Timestamp, Utilization};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// A reason not to act, or not to act fully.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Hold {
    /// No describe has shown the fleet yet.
    FleetUnseen,
    /// What was seen of the fleet is too old to act upon.
    FleetStale {
        /// How old.
        age: Duration,
    },
    /// The fleet is carrying out a modification.
    Modifying {
        /// Since when we wait.
        since: Timestamp,
    },
    /// No usable sample.
    NoSamples,
    /// The newest sample is too old for a scale-in.
    SamplesStale {
        /// How old.
        age: Duration,
    },
    /// An operator paused the fleet.
    Paused {
        /// Until when.
        until: Timestamp,
    },
    /// The policy says to observe only.
    ObserveOnly,
    /// Somebody else writes to this fleet: hands off until an operator resumes.
    Ceded {
        /// How often they were seen.
        foreign_writes: u32,
    },
    /// Capacity is superfluous, but not for long enough.
    ScaleInHeld {
        /// When it may be given back.
        until: Timestamp,
    },
    /// Need has not lasted for long enough.
    ScaleOutHeld {
        /// When it will be acted upon.
        until: Timestamp,
    },
    /// The policy forbids scale-in.
    ScaleInOff,
    /// Removals are under way.
    RemovalsInFlight {
        /// How many.
        count: usize,
    },
    /// The fleet cannot be held by us.
    NotHoldable {
        /// In words.
        why: String,
    },
    /// The independent checker refused the plan.
    Refused {
        /// The invariant's id.
        invariant: String,
    },
}

/// What kept the capacity from being just what was needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Bound {
    /// `capacity.min`.
    Min,
    /// `capacity.max`.
    Max,
    /// `scale_out.max_step`.
    ScaleOutStep,
    /// `scale_in.max_step`.
    ScaleInStep,
}

/// What was decided.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Decision {
    /// Nothing is to be done.
    #[default]
    Steady,
    /// Buy.
    ScaleOut {
        /// The target before.
        from: u32,
        /// The target after.
        to: u32,
    },
    /// Give back.
    ScaleIn {
        /// The target before.
        from: u32,
        /// The target after.
        to: u32,
    },
    /// Not now; the holds say why.
    Held,
}

/// The arithmetic of one decision.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// What was decided.
    pub decision: Decision,
    /// The newest utilisation.
    pub utilization: Option<Utilization>,
    /// Where it comes from.
    pub source: Option<Source>,
    /// How old it is.
    pub sample_age: Option<Duration>,
    /// The power that produced it.
    pub power: Option<Power>,
    /// Demand now, in power: what would be busy if nothing had to wait.
    pub demand: Option<Power>,
    /// Whether the fleet was saturated, so that demand is more than was measured.
    pub saturated: bool,
    /// Demand at the horizon.
    pub forecast: Option<Power>,
    /// How far ahead the horizon lies.
    pub horizon: Option<Duration>,
    /// What is kept above the forecast, as a share of it.
    pub headroom: f64,
    /// Power per fleet unit: turns demand into units.
    pub power_per_unit: Option<Power>,
    /// Units needed for the forecast with its headroom at the target, before bounds and holds.
    pub needed: Option<CapacityUnits>,
    /// Units asked for now (the target in force).
    pub target: Option<u32>,
    /// Units that serve.
    pub serving: CapacityUnits,
    /// Units on their way.
    pub coming: CapacityUnits,
    /// What bounded the decision.
    pub bounds: Vec<Bound>,
    /// Why not, or not fully.
    pub holds: Vec<Hold>,
    /// Facts worth an operator's attention.
    pub remarks: Vec<String>,
}
