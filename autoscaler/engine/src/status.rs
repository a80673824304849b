//! What people and metrics are shown.

use crate::{Override, Withheld};
use autoscaler_core::{
    Breach, DrainCause, Halt, Observed, Pause, Phase, Plan, RemovalStep, ReplacementStep, Report, Rollout,
    TroubleKind, WatchedAlarm,
};
use fleet::{
    Backend, CapacityUnits, ErrorClass, FleetId, FleetName, FleetSelector, FleetState, Health, InstanceId,
    LaunchTemplate, Pool, Power, Region, Source, Timestamp, UsdPerHour, Weight,
};
use serde::{Deserialize, Serialize};
use std::fmt::{self, Display, Formatter};

/// Everything at a glance.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// When this was so.
    pub at: Timestamp,
    /// Every fleet that a policy names, by name.
    pub fleets: Vec<FleetStatus>,
    /// What is wrong with no fleet in particular.
    pub alarms: Vec<ActiveAlarm>,
    /// Operations that failed when they were last tried, whether that is worth an alarm yet or not.
    #[serde(default)]
    pub failing: Vec<FailingOperation>,
    /// The policies in force.
    pub policies: PolicyStatus,
    /// How the journal does.
    pub journal: JournalStatus,
    /// Whether the daemon changes nothing at all.
    pub dry_run: bool,
    /// Whether it is about to stop.
    pub stopping: bool,
    /// Whether it may change anything: of several, one leads.
    #[serde(default = "always")]
    pub leads: bool,
    /// What it is among several; `None` where it is the only one. Filled in by whoever holds the elector.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leadership: Option<Leadership>,
}

/// What a process is among several.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Leadership {
    /// Its role.
    pub role: LeaderRole,
    /// How long a write may still be begun, in seconds, without another proof; `None`: none may.
    pub lease_seconds: Option<f64>,
    /// What keeps failing with Consul, oldest first.
    pub troubles: Vec<ConsulTrouble>,
}

/// The role of a process among several.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub enum LeaderRole {
    /// It leads, and can prove it.
    Leader,
    /// Another one leads, or none yet: it watches, and is ready.
    Standby {
        /// What the leader says of itself, as far as that is known.
        leader: Option<String>,
    },
    /// It led and cannot prove that it still does: it begins no write.
    Lost {
        /// When its lease ended.
        since: Timestamp,
    },
    /// It gave leadership up, to stop.
    Resigned,
}

impl LeaderRole {
    /// The metric label.
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Leader => "leader",
            Self::Standby { .. } => "standby",
            Self::Lost { .. } => "lost",
            Self::Resigned => "resigned",
        }
    }
}

/// A call to Consul that keeps failing. It is tried again; a success ends this.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConsulTrouble {
    /// What is asked: `renew`, `acquire`, …
    pub operation: String,
    /// Since when.
    pub since: Timestamp,
    /// How often in a row.
    pub failures: u32,
    /// The last error.
    pub message: String,
}

impl Status {
    /// A process that leads, holds no fleet yet, and finds nothing wrong.
    pub fn empty(at: Timestamp) -> Self {
        Self {
            at,
            fleets: Vec::new(),
            alarms: Vec::new(),
            failing: Vec::new(),
            policies: PolicyStatus::default(),
            journal: JournalStatus::default(),
            dry_run: false,
            stopping: false,
            leads: true,
            leadership: None,
        }
    }
}

/// A process that says nothing of it leads.
const fn always() -> bool {
    true
}

/// An operation that failed when it was last tried. It is tried again; a success ends this.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FailingOperation {
    /// The metric label: `describe_fleets`, `modify`, …
    pub operation: String,
    /// Where.
    pub region: Region,
    /// Of which fleet, where it is about a single one: a write.
    pub fleet: Option<FleetName>,
    /// What distinguishes it from others of the same operation, where anything does: `custom` for operators' own
    /// metrics, the policy's name for its Prometheus.
    pub of: Option<String>,
    /// Since when it fails.
    pub since: Timestamp,
    /// How often in a row it has failed.
    pub failures: u32,
    /// What kind of failure the last one was.
    pub class: ErrorClass,
    /// The last error.
    pub message: String,
}

/// The policies in force.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PolicyStatus {
    /// When they were loaded.
    pub loaded: Option<Timestamp>,
    /// When newer ones were refused, while that is so.
    pub rejected: Option<Timestamp>,
    /// What was wrong with those.
    pub problems: Option<String>,
}

/// How the journal does.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct JournalStatus {
    /// Since when it fails, while it does.
    pub failing_since: Option<Timestamp>,
    /// Its last error, while it fails.
    pub error: Option<String>,
    /// Batches that have been handed out and not answered.
    pub outstanding: usize,
}

/// One fleet at a glance.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FleetStatus {
    /// The operator's name.
    pub name: FleetName,
    /// Where it runs, where that is known.
    pub region: Option<Region>,
    /// Whose service.
    pub backend: Backend,
    /// How the policy names it.
    pub selector: FleetSelector,
    /// EC2's id, once it was found.
    pub id: Option<FleetId>,
    /// Its state, as last seen.
    pub state: Option<FleetState>,
    /// Its target, as last seen.
    pub target: Option<u32>,
    /// What it counts as fulfilled, as last seen.
    pub fulfilled: Option<CapacityUnits>,
    /// `capacity.min` in force.
    pub min: u32,
    /// `capacity.max` in force.
    pub max: u32,
    /// When the fleet was last seen.
    pub seen: Option<Timestamp>,
    /// When its instances were last seen.
    pub instances_seen: Option<Timestamp>,
    /// Its instances, by id.
    pub instances: Vec<InstanceStatus>,
    /// Where utilisation comes from now.
    pub source: Option<Source>,
    /// The schedules that are active.
    pub schedules: Vec<String>,
    /// A pause that is in force.
    pub pause: Option<Pause>,
    /// An override that is in force.
    pub bent: Option<Override>,
    /// Whether nothing is changed, by policy or globally.
    pub dry_run: bool,
    /// Whether the policy says to observe only.
    pub observe_only: bool,
    /// Whether it was left to somebody else who writes.
    pub ceded: bool,
    /// A write that is under way.
    pub writing: Option<WriteStatus>,
    /// Its instances on their way out, by id: those that are replaced, and those that are removed.
    #[serde(default)]
    pub going: Vec<Going>,
    /// What is held against pools now.
    #[serde(default)]
    pub pools: Vec<PoolStatus>,
    /// On-demand capacity that stands in for spot.
    #[serde(default)]
    pub fallback: Option<StandIn>,
    /// What it launches, where that is one launch template.
    #[serde(default)]
    pub launch: Option<LaunchTemplate>,
    /// The roll-out that is under way, or the last one.
    #[serde(default)]
    pub rollout: Option<RolloutStatus>,
    /// The alarms of CloudWatch that a roll-out watches.
    #[serde(default)]
    pub watches: Vec<String>,
    /// The last decision.
    pub decided: Option<Decided>,
    /// What is wrong.
    pub alarms: Vec<ActiveAlarm>,
}

impl FleetStatus {
    /// A fleet of which nobody has seen anything yet, with no bounds.
    pub fn unseen(name: FleetName, backend: Backend, selector: FleetSelector) -> Self {
        Self {
            name,
            region: None,
            backend,
            selector,
            id: None,
            state: None,
            target: None,
            fulfilled: None,
            min: 0,
            max: 0,
            seen: None,
            instances_seen: None,
            instances: Vec::new(),
            source: None,
            schedules: Vec::new(),
            pause: None,
            bent: None,
            dry_run: false,
            observe_only: false,
            ceded: false,
            writing: None,
            going: Vec::new(),
            pools: Vec::new(),
            fallback: None,
            launch: None,
            rollout: None,
            watches: Vec::new(),
            decided: None,
            alarms: Vec::new(),
        }
    }
}

/// A roll-out at a glance (docs/rollout.md).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RolloutStatus {
    /// Itself.
    pub rollout: Rollout,
    /// How many instances run the version that everything is to be of.
    pub done: usize,
    /// How many of these have been ready.
    pub ready: usize,
    /// How many instances there are.
    pub of: usize,
    /// How many stay as they are, because they are protected.
    pub protected: usize,
    /// The alarms that it watches, as they were last read.
    pub alarms: Option<Observed<Vec<WatchedAlarm>>>,
}

/// An instance on its way out (docs/removals.md).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Going {
    /// Which.
    pub instance: InstanceId,
    /// How far it has come.
    pub step: GoingStep,
    /// Since when.
    pub since: Timestamp,
    /// Why.
    pub cause: DrainCause,
    /// The deadline of its drain, once that was begun.
    pub drain_until: Option<Timestamp>,
    /// When it goes, whatever we do.
    pub deadline: Option<Timestamp>,
}

/// How far an instance has come on its way out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GoingStep {
    /// Another is bought in its place.
    Replacement(ReplacementStep),
    /// It is let go.
    Removal(RemovalStep),
}

impl Display for GoingStep {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Replacement(step) => Display::fmt(step, f),
            Self::Removal(step) => Display::fmt(step, f),
        }
    }
}

/// What is held against a pool now: counts that halve with every `interruption.avoid_pool`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PoolStatus {
    /// Which.
    pub pool: Pool,
    /// How often it took instances back, decayed.
    pub interrupted: f64,
    /// How often it had nothing to give or could not launch, decayed.
    pub refused: f64,
    /// When it was last heard of so.
    pub last_at: Timestamp,
    /// What it did then, where that is still known.
    pub last: Option<TroubleKind>,
}

/// On-demand capacity that stands in for spot.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StandIn {
    /// Units.
    pub units: u32,
    /// Since when.
    pub since: Timestamp,
    /// When spot was last asked for again in its place.
    pub tried: Option<Timestamp>,
    /// What it costs, where prices are known.
    pub cost: Option<UsdPerHour>,
    /// What that is more than spot would cost, where those prices are known, too.
    pub extra: Option<UsdPerHour>,
}

/// A write that is under way.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WriteStatus {
    /// `modify` or `terminate`.
    pub operation: String,
    /// Since when.
    pub since: Timestamp,
}

/// One instance at a glance.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct InstanceStatus {
    /// EC2's id.
    pub id: InstanceId,
    /// Where its capacity comes from.
    pub pool: Pool,
    /// What it counts for in the target.
    pub weight: Weight,
    /// How much work it can do.
    pub power: Power,
    /// Where it stands.
    pub phase: Phase,
    /// Since when.
    pub since: Timestamp,
    /// EC2's opinion of its health.
    pub health: Health,
    /// Never given back or replaced by choice: by tag, by policy, or because we run on it.
    #[serde(default)]
    pub protected: bool,
    /// What it was launched from.
    #[serde(default)]
    pub launch: Option<LaunchTemplate>,
    /// Its node in Nomad; `None` where none is known.
    #[serde(default)]
    pub node: Option<NodeStatus>,
}

/// An instance's node at a glance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeStatus {
    /// Whether new work may be placed on it.
    pub eligible: bool,
    /// Whether it is being drained.
    pub draining: bool,
    /// How many allocations run on it or are about to.
    pub allocations: usize,
}

/// One decision: what was planned, and why.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Decided {
    /// When.
    pub at: Timestamp,
    /// The steps.
    pub plan: Plan,
    /// Why they were not taken, if they were not.
    pub withheld: Option<Withheld>,
    /// The arithmetic.
    pub report: Report,
}

/// Something that an operator should know of. The facts may change while it is raised.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Alarm {
    /// The policy names no region and the daemon was given none.
    NoRegion,
    /// No living fleet is what the policy names.
    FleetNotFound {
        /// How it is named.
        selector: FleetSelector,
    },
    /// More than one fleet is what the policy names: none is touched.
    FleetAmbiguous {
        /// Them.
        ids: Vec<FleetId>,
    },
    /// Two policies name the same fleet: the other one, first by name, holds it.
    FleetHeldTwice {
        /// The policy that holds it.
        by: FleetName,
    },
    /// The fleet cannot be held (of type `request`, being deleted, a scalable target, …).
    NotHoldable {
        /// Why not.
        why: autoscaler_core::Unholdable,
    },
    /// Somebody else wrote to the fleet, for the first time: what they set stands for a while. A second time, and
    /// the fleet is theirs.
    ForeignWrite {
        /// The target that we had left.
        was: u32,
        /// The target that was found.
        found: u32,
        /// When.
        at: Timestamp,
    },
    /// Somebody else writes to the fleet: hands off until an operator resumes.
    Ceded {
        /// How often they were seen.
        foreign_writes: u32,
    },
    /// Capacity that was asked for does not come.
    CapacityLate {
        /// Units that are missing.
        missing: CapacityUnits,
        /// Since when.
        since: Timestamp,
        /// What the fleet's history says of it, newest last.
        history: Vec<String>,
    },
    /// A roll-out was halted by itself: an operator resumes it, or takes it back.
    RolloutHalted {
        /// The version that was to be rolled out.
        version: u64,
        /// Why.
        why: Halt,
    },
    /// A roll-out replaces nobody more, because alarms that it watches do not exist.
    AlarmsMissing {
        /// Which.
        names: Vec<String>,
    },
    /// The fleet has been carrying out a modification for uncommonly long.
    StuckModifying {
        /// Since when.
        since: Timestamp,
    },
    /// No source tells the fleet's utilisation: nothing is given back.
    NoSamples {
        /// Since when, if it ever was told.
        since: Option<Timestamp>,
    },
    /// Most agents are silent: what the others say is not taken for the whole.
    AgentsSilent {
        /// How many instances spoke.
        heard: u32,
        /// How many serve.
        serving: u32,
    },
    /// A call is not allowed.
    Denied {
        /// Which.
        operation: String,
        /// The error.
        message: String,
    },
    /// A call failed in a way that repeating does not help.
    Malformed {
        /// Which.
        operation: String,
        /// The error.
        message: String,
    },
    /// Reads of a region or a metrics service keep failing.
    Unreachable {
        /// Which.
        operation: String,
        /// Since when.
        since: Timestamp,
        /// The last error.
        message: String,
    },
    /// The planner panicked: the fleet is left as it is.
    Panicked {
        /// The panic's words.
        message: String,
    },
    /// The independent checker refused a plan: the fleet is left as it is.
    Refused {
        /// What would have been broken.
        breaches: Vec<Breach>,
    },
    /// The journal fails: scale-out goes on, removals do not begin.
    JournalFailing {
        /// Its error.
        message: String,
    },
    /// Newer policies were refused: the old ones stay in force.
    PoliciesRejected {
        /// What is wrong with them.
        problems: String,
    },
}

impl Alarm {
    /// The metric label; at most one alarm of a label is raised per fleet.
    pub const fn label(&self) -> &'static str {
        match self {
            Self::NoRegion => "no_region",
            Self::FleetNotFound { .. } => "fleet_not_found",
            Self::FleetAmbiguous { .. } => "fleet_ambiguous",
            Self::FleetHeldTwice { .. } => "fleet_held_twice",
            Self::NotHoldable { .. } => "not_holdable",
            Self::ForeignWrite { .. } => "foreign_write",
            Self::Ceded { .. } => "ceded",
            Self::CapacityLate { .. } => "capacity_late",
            Self::RolloutHalted { .. } => "rollout_halted",
            Self::AlarmsMissing { .. } => "alarms_missing",
            Self::StuckModifying { .. } => "stuck_modifying",
            Self::NoSamples { .. } => "no_samples",
            Self::AgentsSilent { .. } => "agents_silent",
            Self::Denied { .. } => "denied",
            Self::Malformed { .. } => "malformed",
            Self::Unreachable { .. } => "unreachable",
            Self::Panicked { .. } => "panicked",
            Self::Refused { .. } => "refused",
            Self::JournalFailing { .. } => "journal_failing",
            Self::PoliciesRejected { .. } => "policies_rejected",
        }
    }
    /// Whether an operator need not act: it was coped with, and they should know.
    pub const fn is_warning(&self) -> bool {
        matches!(self, Self::ForeignWrite { .. })
    }
    /// Every label there is.
    pub const LABELS: [&'static str; 20] = [
        "no_region",
        "fleet_not_found",
        "fleet_ambiguous",
        "fleet_held_twice",
        "not_holdable",
        "foreign_write",
        "ceded",
        "capacity_late",
        "rollout_halted",
        "alarms_missing",
        "stuck_modifying",
        "no_samples",
        "agents_silent",
        "denied",
        "malformed",
        "unreachable",
        "panicked",
        "refused",
        "journal_failing",
        "policies_rejected",
    ];
}

/// An alarm that is raised.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ActiveAlarm {
    /// Since when.
    pub since: Timestamp,
    /// What.
    pub alarm: Alarm,
}

/// An alarm that was raised just now, or cleared.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AlarmChange {
    /// When.
    pub at: Timestamp,
    /// Which fleet; `None`: no fleet in particular.
    pub fleet: Option<FleetName>,
    /// Raised, or cleared.
    pub raised: bool,
    /// What.
    pub alarm: Alarm,
}
