//! A fleet as the cloud describes it.

use crate::{CapacityUnits, FleetId, InstanceId, InstanceType, Timestamp, UsdPerHour, Weight, Zone};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// Which of EC2's two fleet services a fleet belongs to. Only adapters know that they spell things differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Backend {
    /// Spot Fleet (`sfr-…`): what the operators run today; AWS calls it legacy.
    SpotFleet,
    /// EC2 Fleet (`fleet-…`).
    Ec2Fleet,
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::SpotFleet => "spot_fleet",
            Self::Ec2Fleet => "ec2_fleet",
        })
    }
}

/// How a policy names its fleet.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FleetSelector {
    /// By EC2's id.
    Id(FleetId),
    /// By a tag of the fleet itself; exactly one living fleet must carry it.
    Tag {
        /// The tag's key.
        key: String,
        /// The tag's value.
        value: String,
    },
}

impl fmt::Display for FleetSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(id) => write!(f, "{id}"),
            Self::Tag { key, value } => write!(f, "tag {key}={value}"),
        }
    }
}

impl FleetSelector {
    /// Whether this is the fleet that is meant.
    pub fn matches(&self, view: &FleetView) -> bool {
        match self {
            Self::Id(id) => *id == view.id,
            Self::Tag { key, value } => view.tags.get(key) == Some(value),
        }
    }
}

/// A fleet that was found: what calls about it need.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct FleetRef {
    /// Whose service.
    pub backend: Backend,
    /// EC2's id.
    pub id: FleetId,
}

/// Where a fleet stands in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FleetState {
    /// Accepted, not yet working (EC2 Fleet can be modified in it, Spot Fleet cannot).
    Submitted,
    /// At work; may be modified.
    Active,
    /// Carrying out a modification: another may not be sent.
    Modifying,
    /// Being deleted or gone, whatever EC2's exact word.
    Deleted,
    /// Failed, or a state that we do not know.
    Failed,
}

/// What a fleet does about its target over time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FleetKind {
    /// Keeps its target: the only kind that can be held.
    Maintain,
    /// Asks once.
    Request,
    /// Launches once, synchronously (EC2 Fleet).
    Instant,
}

/// What a fleet does with instances above a lowered target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExcessCapacity {
    /// Nothing; and it does not replace what is lost above the target. What muster sets.
    NoTermination,
    /// Terminates its own choice, undrained. EC2's default.
    Termination,
}

/// How EC2 spreads a fleet over its pools.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AllocationStrategy {
    /// Cheapest pools first: still the API's default.
    LowestPrice,
    /// Evenly over all pools.
    Diversified,
    /// Deepest pools first.
    CapacityOptimized,
    /// Deepest pools first, priorities honoured where that costs nothing.
    CapacityOptimizedPrioritized,
    /// Deepest pools, and the cheapest of these: what AWS recommends.
    PriceCapacityOptimized,
}

/// How a fleet is doing by its own account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Activity {
    /// Everything that was asked for is there.
    Fulfilled,
    /// Still buying.
    PendingFulfillment,
    /// Still giving back.
    PendingTermination,
    /// It reports an error (its history says which).
    Error,
}

/// One line of a fleet's shopping list.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Override {
    /// The type.
    pub instance_type: InstanceType,
    /// The zone, where the override (or its subnet) pins one.
    pub zone: Option<Zone>,
    /// What one such instance counts for in the target; 1 where the fleet gives no weights.
    pub weight: Weight,
}

/// A launch template and a version of it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct LaunchTemplate {
    /// EC2's id: `lt-…`.
    pub id: String,
    /// The version's number; `None` where a fleet names it `$Latest` or `$Default`.
    pub version: Option<u64>,
}

impl LaunchTemplate {
    /// What an instance was launched from, by the tags that EC2 puts on it; `None` without a template.
    pub fn of_tags(tags: &BTreeMap<String, String>) -> Option<Self> {
        let id = tags.get("aws:ec2launchtemplate:id")?.clone();
        let version = tags.get("aws:ec2launchtemplate:version").and_then(|version| version.parse().ok());
        Some(Self { id, version })
    }

    /// Whether this is that version of that template.
    pub fn is(&self, id: &str, version: u64) -> bool {
        self.id == id && self.version == Some(version)
    }
}

/// A fleet, as one describe call showed it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FleetView {
    /// EC2's id.
    pub id: FleetId,
    /// Whose service.
    pub backend: Backend,
    /// Where it stands.
    pub state: FleetState,
    /// Its own account of how it is doing, where it gives one.
    pub activity: Option<Activity>,
    /// What it does about its target.
    pub kind: FleetKind,
    /// Total target, in the fleet's units.
    pub target: u32,
    /// The on-demand part of the target.
    pub on_demand_target: u32,
    /// What it counts as fulfilled, in the fleet's units; may be fractional and above the target.
    pub fulfilled: CapacityUnits,
    /// What it does with capacity above the target.
    pub excess: ExcessCapacity,
    /// How it spreads; `None` when EC2 names one that we do not know.
    pub strategy: Option<AllocationStrategy>,
    /// Whether EC2's capacity rebalancing is on (best off while muster replaces instances itself).
    pub capacity_rebalance: bool,
    /// Its shopping list; never empty for a fleet that can launch.
    pub overrides: Vec<Override>,
    /// What it launches from, where that is one launch template; `None` for launch specifications and for several.
    pub launch: Option<LaunchTemplate>,
    /// The fleet's own tags.
    pub tags: BTreeMap<String, String>,
    /// When it was made.
    pub created: Timestamp,
    /// When it ends by itself, if it does (Terraform's default is a day).
    pub valid_until: Option<Timestamp>,
}

impl FleetView {
    /// The fleet, for calls about it.
    pub fn fleet_ref(&self) -> FleetRef {
        FleetRef { backend: self.backend, id: self.id.clone() }
    }
    /// What an instance of this type in this zone counts for; 1 where the fleet has no override for it.
    pub fn weight_of(&self, instance_type: &InstanceType, zone: &Zone) -> Weight {
        let of_type = || self.overrides.iter().filter(|o| o.instance_type == *instance_type);
        of_type()
            .find(|o| o.zone.as_ref() == Some(zone))
            .or_else(|| of_type().next())
            .map_or(Weight::new(1.0), |o| o.weight)
    }
}

/// Something that happened to a fleet, by its own history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryEvent {
    /// When.
    pub at: Timestamp,
    /// What.
    pub kind: HistoryKind,
    /// Whom it concerns, where one instance is named.
    pub instance: Option<InstanceId>,
    /// EC2's words (bounded to 1 KiB).
    pub description: String,
}

/// Kinds of history events that muster acts upon or shows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HistoryKind {
    /// An instance was launched.
    Launched,
    /// An instance was told to go, or went.
    Terminated,
    /// A pool had nothing to give (`InsufficientInstanceCapacity` and its kin).
    NoCapacity {
        /// The type asked for, where EC2 says.
        instance_type: Option<InstanceType>,
        /// The zone asked for, where EC2 says.
        zone: Option<Zone>,
        /// The price at the time, where EC2 says.
        price: Option<UsdPerHour>,
    },
    /// A type could not be launched, and not for want of capacity.
    LaunchFailed {
        /// The type.
        instance_type: InstanceType,
        /// The zone, where EC2 says.
        zone: Option<Zone>,
    },
    /// The fleet changed its state or its target.
    FleetChange,
    /// An error of another kind.
    Error,
    /// Anything else.
    Other,
}
