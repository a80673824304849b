//! What the journal keeps: everything that can change a plan, as small as it can be.
//!
//! All of it survives `postcard`: no untagged, flattened or skipped fields.

use crate::{Command, CompactSample, NotSent, State};
use autoscaler_core::{
    Action, FailingRead, GroupCount, Memory, Pause, Plan, Policy, PoolTrouble, WatchedAlarm,
};
use fleet::{
    Activity, CapacityUnits, ErrorClass, ExcessCapacity, FleetId, FleetName, FleetState, FleetView, Health,
    InstanceId, InstanceState, LaunchTemplate, NodeId, NodeView, Notice, Pool, Resources, Timestamp,
    UsdPerHour, Utilization,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::IpAddr;

/// What happened to one fleet since the entry before: usually one cycle. Entries of a fleet are in order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// Which fleet.
    pub fleet: FleetName,
    /// When it was written, wall time; may jump back.
    pub at: Timestamp,
    /// What happened, in order.
    pub records: Vec<Record>,
}

impl Entry {
    /// Whether everything that went before is contained in it: reading can begin here.
    pub fn is_checkpoint(&self) -> bool {
        self.records.iter().any(|record| matches!(record, Record::Checkpoint(_)))
    }
}

/// One thing that changes what the next plan sees or remembers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Record {
    /// Another policy is in force: files, schedules and overrides taken together.
    Policy(Box<Policy>),
    /// A describe showed the fleet.
    Fleet {
        /// When it was asked.
        at: Timestamp,
        /// What has changed.
        delta: FleetDelta,
    },
    /// A describe showed the fleet's instances.
    Instances {
        /// When it was asked.
        at: Timestamp,
        /// New ones, and those that changed.
        seen: Vec<InstanceSeen>,
        /// Known ones that it did not show, and that may be there nevertheless.
        missing: Vec<InstanceId>,
        /// Known ones that are no more.
        gone: Vec<InstanceId>,
    },
    /// An instance's agent was heard for the first time: it serves.
    Serves {
        /// Which.
        instance: InstanceId,
        /// Since when.
        since: Timestamp,
    },
    /// Utilisation of the fleet, oldest first.
    Samples(Vec<CompactSample>),
    /// An instance is about to go.
    Notice(Notice),
    /// Whether Application Auto Scaling scales the fleet, too.
    ScalableTarget(bool),
    /// An operator's order.
    Operator {
        /// When it was given.
        at: Timestamp,
        /// The order.
        command: Command,
    },
    /// Wall time jumped against monotonic time.
    ClockJumped {
        /// By how much, forward if positive.
        by_ms: i64,
    },
    /// A plan was made. What it intends is carried out only after this is on disk.
    Cycle(Cycle),
    /// A step of the last cycle's plan has ended.
    Outcome {
        /// When.
        at: Timestamp,
        /// Which step, from 0.
        step: u16,
        /// What the step was.
        operation: Operation,
        /// How.
        outcome: Outcome,
    },
    /// All that went before, taken together.
    Checkpoint(Box<Checkpoint>),
    /// The reads that fail now, where they are others than before; none: all of them work again.
    Failing(Vec<FailingRead>),
    /// A source told that an instance has entered a state, before a describe did.
    State {
        /// Which.
        instance: InstanceId,
        /// Its state.
        state: InstanceState,
        /// When it was entered, as far as the source says.
        at: Timestamp,
    },
    /// A look at Nomad showed the nodes of the fleet's instances.
    Nodes {
        /// When it was asked.
        at: Timestamp,
        /// New ones, and those that changed.
        seen: Vec<NodeView>,
        /// Known ones that are no more.
        gone: Vec<NodeId>,
        /// What could not be placed here, where that has changed.
        blocked: Option<Resources>,
        /// The counts of the groups that are scaled along, where they have changed.
        groups: Option<Vec<GroupCount>>,
    },
    /// The hook that empties an instance has ended well.
    Emptied {
        /// Which.
        instance: InstanceId,
        /// When.
        at: Timestamp,
    },
    /// What pools failed to give, or took back.
    Troubles(Vec<PoolTrouble>),
    /// What pools cost, where that has changed.
    Prices(Vec<(Pool, UsdPerHour)>),
    /// CloudWatch told how the alarms are that a roll-out watches.
    Alarms {
        /// When it was asked.
        at: Timestamp,
        /// How they are, where that has changed.
        seen: Option<Vec<WatchedAlarm>>,
    },
    /// What the leader before us knew.
    Ledger(Box<Ledger>),
    /// Whether we lead, from now on.
    Leads {
        /// When.
        at: Timestamp,
        /// Whether.
        leads: bool,
    },
    /// A scheduled event of an instance was called off, or is over.
    CalledOff {
        /// Whose.
        instance: InstanceId,
        /// When that was said: what is older and comes later is not true any more.
        at: Timestamp,
    },
}

/// What the next leader has to know of a fleet, beyond what it can see: small, and written with each change.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Ledger {
    /// Which fleet it is about, once one was found: about another one it says nothing.
    pub held: Option<FleetId>,
    /// What the planner remembers: removals and replacements under way, cooldowns, pools.
    pub memory: Memory,
    /// The notices that are known for its instances.
    pub notices: Vec<Notice>,
    /// An operator's pause.
    pub pause: Option<Pause>,
    /// An operator's override.
    pub bent: Option<Override>,
    /// When scheduled events of its instances were last called off. A leader of before this was kept left none.
    #[serde(default)]
    pub called_off: BTreeMap<InstanceId, Timestamp>,
}

/// The mark of one plan.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Cycle {
    /// The `now` that it was made for.
    pub at: Timestamp,
    /// The steps; a steady cycle has none.
    pub plan: Plan,
    /// Why the steps were not taken, if they were not. The memory stays as it was then.
    pub withheld: Option<Withheld>,
    /// The memory afterwards, where it changed.
    pub memory: Option<Box<Memory>>,
    /// A digest of the report, so that a replay knows that it explains the same.
    pub report_digest: u32,
}

/// Why a plan's steps were not taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Withheld {
    /// The policy or the daemon says to change nothing.
    DryRun,
    /// The independent checker refused it.
    Refused {
        /// The ids of the invariants.
        invariants: Vec<String>,
    },
    /// A write before it has not ended yet.
    Busy,
    /// The last write failed; not before a while has passed.
    BackingOff {
        /// As what it failed.
        class: ErrorClass,
    },
    /// Too many writes are in flight.
    Budget,
    /// The journal fails, and this would begin a removal.
    JournalFailing,
    /// The daemon is stopping.
    Stopping,
    /// Another process leads, or what the one before us left is not known yet.
    Standby,
    /// We lead, know what the one before us left, and have not looked at the fleet since we do: what goes anyway is emptied, which
    /// takes Nomad alone.
    NotLooked,
    /// The planner panicked; there is no plan.
    Panicked,
}

impl Withheld {
    /// The metric label.
    pub const fn label(&self) -> &'static str {
        match self {
            Self::DryRun => "dry_run",
            Self::Refused { .. } => "refused",
            Self::Busy => "busy",
            Self::BackingOff { .. } => "backing_off",
            Self::Budget => "budget",
            Self::JournalFailing => "journal_failing",
            Self::Stopping => "stopping",
            Self::Standby => "standby",
            Self::NotLooked => "not_looked",
            Self::Panicked => "panicked",
        }
    }
}

/// What a step does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Operation {
    /// Sets the target.
    Modify,
    /// Terminates instances.
    Terminate,
    /// Makes a node ineligible.
    Cordon,
    /// Empties a node.
    Drain,
    /// Takes a drain or a cordon back.
    Restore,
    /// Sets a service group's count.
    ScaleGroup,
}

impl Operation {
    /// What an action does.
    pub const fn of(action: &Action) -> Self {
        match action {
            Action::Modify { .. } => Self::Modify,
            Action::Terminate { .. } => Self::Terminate,
            Action::Cordon { .. } => Self::Cordon,
            Action::Drain { .. } => Self::Drain,
            Action::Restore { .. } => Self::Restore,
            Action::ScaleGroup { .. } => Self::ScaleGroup,
        }
    }
    /// The metric label.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Modify => "modify",
            Self::Terminate => "terminate",
            Self::Cordon => "cordon",
            Self::Drain => "drain",
            Self::Restore => "restore",
            Self::ScaleGroup => "scale_group",
        }
    }
}

/// How a step ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Done, as the cloud says.
    Done,
    /// Not done, or unclear.
    Failed {
        /// As what.
        class: ErrorClass,
        /// The error in words.
        message: String,
    },
    /// Not begun.
    NotSent(NotSent),
    /// Not begun, because a step before it failed.
    Skipped,
    /// Not begun: its intent could not be journaled, and it would begin a removal.
    NotJournaled,
}

/// What has changed about a fleet since the describe before.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum FleetDelta {
    /// Nothing.
    Same,
    /// What moves with every modification.
    Moved {
        /// [`FleetView::state`].
        state: FleetState,
        /// [`FleetView::activity`].
        activity: Option<Activity>,
        /// [`FleetView::target`].
        target: u32,
        /// [`FleetView::on_demand_target`].
        on_demand_target: u32,
        /// [`FleetView::fulfilled`].
        fulfilled: CapacityUnits,
        /// [`FleetView::excess`].
        excess: ExcessCapacity,
    },
    /// More than that, or it was not known.
    Whole(Box<FleetView>),
    /// It is not there (any more).
    Lost,
}

/// What is kept of an instance.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct InstanceSeen {
    /// EC2's id.
    pub id: InstanceId,
    /// Where its capacity comes from.
    pub pool: Pool,
    /// EC2's state.
    pub state: InstanceState,
    /// EC2's opinion of its health.
    pub health: Health,
    /// When it was launched.
    pub launched: Timestamp,
    /// vCPUs, where EC2 says.
    pub vcpus: Option<u32>,
    /// Where its agent's calls come from.
    pub private_ip: Option<IpAddr>,
    /// Never to be removed by us: by its tags, or because we run on it. Whom the policy names is not told here.
    pub protected: bool,
    /// What it was launched from.
    pub launch: Option<LaunchTemplate>,
}

/// Why a checkpoint was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// Its time had come. Equal to what the records before it fold to.
    Periodic,
    /// The demand history was filled from a metrics service.
    Backfilled,
    /// Records before it were lost: the journal failed, or this is the first.
    Gap,
}

/// What all records up to here fold to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// Why it was written.
    pub cause: Cause,
    /// The fleet's state.
    pub state: State,
}

/// An operator's word that bends a policy for a while.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Override {
    /// `capacity.min` meanwhile.
    pub min: Option<u32>,
    /// `capacity.max` meanwhile.
    pub max: Option<u32>,
    /// The utilisation to hold meanwhile.
    pub target: Option<Utilization>,
    /// When it ends by itself.
    pub until: Timestamp,
    /// Who said so.
    pub by: String,
    /// Why.
    pub reason: String,
}
