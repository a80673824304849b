//! What can happen to an engine.

use crate::{BatchId, CallId, Ledger};
use autoscaler_core::GroupCount;
use autoscaler_policy::FleetPolicy;
use fleet::ports::Series;
use fleet::{
    AlarmView, ApiError, FleetName, FleetRef, FleetView, Health, HistoryEvent, ImageId, Instance, InstanceId,
    InstanceState, MessageId, News, NodeView, Notice, Offering, Region, Resources, Utilization,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::time::Duration;

/// Something that happened.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// The time of the last [`crate::Effect::WakeAt`] has come. Harmless at any other time.
    Timer,
    /// Policies were read and found valid: they replace the ones in force. The first event of an engine's life.
    PoliciesLoaded(Vec<FleetPolicy>),
    /// Policies were read and refused: what is in force stays.
    PoliciesRejected {
        /// Everything that is wrong, rendered for people.
        problems: String,
    },
    /// A [`crate::Effect::Read`] or [`crate::Effect::Write`] has ended.
    Answered {
        /// Which.
        call: CallId,
        /// How.
        answer: Answer,
    },
    /// A [`crate::Effect::Record`] has been written, or not.
    Recorded {
        /// Which.
        batch: BatchId,
        /// Why not, in words.
        result: Result<(), String>,
    },
    /// A source told something: a message of a queue, mostly.
    Heard {
        /// Where it happened.
        region: Region,
        /// The message that told it, to be acknowledged by [`crate::Effect::Acknowledge`]; `None` where nobody waits
        /// for that. The same message may come again, at any time.
        message: Option<MessageId>,
        /// What it told. Empty is fine: then there is nothing to be done, and it is acknowledged.
        news: Vec<News>,
    },
    /// Something moved in Nomad: its nodes are looked at now, not when their time has come. Hints may be many, and
    /// may be missing.
    NodesMoved,
    /// Whether we lead, where a lease is needed ([`crate::Config::lease_needed`]): writes may be begun until then, in
    /// monotonic time. `None`: we do not lead (any more). To be told with every proof of leadership.
    Lease {
        /// Until when.
        until: Option<Duration>,
    },
    /// The instances on which autoscalers run: all of them, ours or not. Like our own they are never removed by choice.
    /// To be told when they change; until then, the last ones count.
    Peers(BTreeSet<InstanceId>),
    /// An operator's order, where nobody waits for what [`crate::Engine::operate`] says.
    Operator(Command),
    /// Finish or journal what is in flight, then [`crate::Effect::Stopped`].
    Stop,
}

/// What one look at Nomad showed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodesSeen {
    /// Every node that runs on an instance of EC2, in any order; strangers' too.
    pub nodes: Vec<NodeView>,
    /// What could not be placed for want of room.
    pub blocked: Vec<Blocked>,
    /// The groups that were asked about, those that exist.
    pub groups: Vec<GroupCount>,
}

/// An allocation that Nomad could not place for want of room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blocked {
    /// What it needs.
    pub needs: Resources,
    /// Instances on whose nodes it could run if they had room. It counts for the fleet of the first that is known;
    /// for nobody when none is.
    pub fits: Vec<InstanceId>,
}

/// What a leader left of one fleet: `None` where nobody has left anything, an error where what stands there cannot be read.
pub type LedgerLeft = Result<Option<Box<Ledger>>, ApiError>;

/// How a call ended. Must be of the kind that was asked for; [`Answer::NotSent`] fits every write.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// To [`crate::Read::Fleets`].
    Fleets(Result<Vec<FleetView>, ApiError>),
    /// To [`crate::Read::Instances`].
    Instances(Result<Vec<Instance>, ApiError>),
    /// To [`crate::Read::FleetInstances`].
    FleetInstances(Result<Vec<(InstanceId, Health)>, ApiError>),
    /// To [`crate::Read::History`].
    History(Result<Vec<HistoryEvent>, ApiError>),
    /// To [`crate::Read::ScalableTargets`].
    ScalableTargets(Result<Vec<FleetRef>, ApiError>),
    /// To [`crate::Read::Metrics`]: one series a query, in order.
    Metrics(Result<Vec<Series>, ApiError>),
    /// To [`crate::Read::Nodes`].
    Nodes(Result<NodesSeen, ApiError>),
    /// To [`crate::Read::Marks`]: of instances that are not ours, too.
    Marks(Result<Vec<Notice>, ApiError>),
    /// To [`crate::Read::Prices`].
    Prices(Result<Vec<Offering>, ApiError>),
    /// To [`crate::Read::Alarms`]: those that exist, in any order.
    Alarms(Result<Vec<AlarmView>, ApiError>),
    /// To [`crate::Read::Ledgers`]: one a fleet, in order.
    Ledgers(Result<Vec<LedgerLeft>, ApiError>),
    /// To [`crate::Write::Modify`].
    Modified(Result<(), ApiError>),
    /// To [`crate::Write::Terminate`].
    Terminated(Result<Vec<(InstanceId, InstanceState)>, ApiError>),
    /// To [`crate::Write::Cordon`], [`crate::Write::Restore`] and [`crate::Write::ScaleGroup`]; to
    /// [`crate::Write::Drain`] by Nomad when the drain has been begun, by a hook when the hook has ended: with
    /// success, the instance is empty.
    Done(Result<(), ApiError>),
    /// A write that was not begun: nothing happened.
    NotSent(NotSent),
}

/// Why a write was not begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum NotSent {
    /// Its permit had run out (the process was frozen, or the queue was long).
    #[error("its permit had run out")]
    Expired,
    /// We are not the leader any more (FENCE).
    #[error("leadership was lost")]
    Fenced,
}

/// An operator's order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Command {
    /// Which fleet; `None`: all of them.
    pub fleet: Option<FleetName>,
    /// What is to be.
    pub order: Order,
    /// Who says so.
    pub by: String,
    /// Why.
    pub reason: String,
}

/// What an operator can order. Everything expires.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// Leave the fleet alone for a while.
    Pause {
        /// For how long.
        lasts: Duration,
    },
    /// End a pause; take a ceded fleet over again as it is found. Overrides stay.
    Resume,
    /// Bend the policy for a while; replaces an override that is in force.
    Override {
        /// `capacity.min` meanwhile.
        min: Option<u32>,
        /// `capacity.max` meanwhile.
        max: Option<u32>,
        /// The utilisation to hold meanwhile.
        target: Option<Utilization>,
        /// For how long.
        lasts: Duration,
    },
    /// End an override.
    EndOverride,
    /// Begin a roll-out, halt it, let it go on, or take it back.
    Rollout(RolloutOrder),
}

/// What can be ordered of a roll-out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RolloutOrder {
    /// Every instance is to run this version of the fleet's launch template.
    Start {
        /// EC2's id of the template.
        template: String,
        /// The version's number.
        version: u64,
        /// The image that the version was made for, where it was.
        image: Option<ImageId>,
    },
    /// What has been begun ends, nothing more is begun.
    Pause,
    /// Go on.
    Resume,
    /// Every instance is to run the version from before again.
    Abort,
}

/// Why an order was refused. Nothing has changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum CommandError {
    /// No policy has such a fleet.
    #[error("no fleet is called {name}{}", nearest.as_ref().map(|n| format!("; did you mean {n}?")).unwrap_or_default())]
    UnknownFleet {
        /// The name.
        name: FleetName,
        /// The nearest that is known.
        nearest: Option<FleetName>,
    },
    /// It would last for no time at all, or too long to be forgotten safely.
    #[error("it must last between 1s and 30d")]
    Lasts,
    /// It changes nothing.
    #[error("it names neither min nor max nor target")]
    Empty,
    /// The bounds contradict each other or the policy.
    #[error("min {min} is above max {max} of fleet {fleet}")]
    MinAboveMax {
        /// The fleet.
        fleet: FleetName,
        /// Its min, overridden or not.
        min: u32,
        /// Its max, overridden or not.
        max: u32,
    },
    /// A roll-out is under way already.
    #[error("version {to} of {template} is being rolled out already: wait for its end, or abort it")]
    RollsOut {
        /// Of which template.
        template: String,
        /// Which version.
        to: u64,
    },
    /// There is no roll-out to which that could be done.
    #[error("nothing is being rolled out")]
    NothingRollsOut,
    /// The fleet does not launch from that template.
    #[error("the fleet launches from {}", found.as_ref().map_or_else(|| "no launch template that could be changed".to_owned(), Clone::clone))]
    OtherTemplate {
        /// The template that it does launch from, where it is one.
        found: Option<String>,
    },
    /// Every instance runs that version.
    #[error("every instance runs version {version}, and it is launched")]
    RunsAlready {
        /// Which.
        version: u64,
    },
    /// A bound or target that no fleet can have.
    #[error("{what} must be more than 0")]
    Zero {
        /// Which.
        what: String,
    },
}

/// Why a batch of samples was refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum Rejection {
    /// A version that we do not speak.
    #[error("version {version} is not spoken here, {} is", fleet::wire::VERSION)]
    Version {
        /// The batch's.
        version: u32,
    },
    /// More samples than one batch may hold.
    #[error("{count} samples are more than {}", fleet::wire::MAX_SAMPLES)]
    TooMany {
        /// How many.
        count: usize,
    },
    /// A sample that cannot be: not a number, out of range, of no length. None of the batch was taken.
    #[error("sample {index}: {what}")]
    Malformed {
        /// Which, from 0.
        index: usize,
        /// What is wrong with it.
        what: String,
    },
    /// The call did not come from the claimed instance's private address.
    #[error("the call did not come from the private address of {instance}")]
    WrongPeer {
        /// The claimed instance.
        instance: InstanceId,
    },
    /// Nobody has shown us this instance yet; a describe is on its way. Again later.
    #[error("{instance} is not known yet")]
    UnknownYet {
        /// The claimed instance.
        instance: InstanceId,
    },
    /// A batch that came before.
    #[error("batch {sequence} has come before")]
    Duplicate {
        /// Its number.
        sequence: u64,
    },
    /// The engine is stopping.
    #[error("stopping")]
    Stopping,
    /// An agent cannot know of this: the metadata service does not tell it.
    #[error("an agent cannot announce {kind:?}")]
    NotAnAgents {
        /// What it claims to have heard.
        kind: fleet::NoticeKind,
    },
}

impl Rejection {
    /// The metric label.
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Version { .. } => "version",
            Self::TooMany { .. } => "too_many",
            Self::Malformed { .. } => "malformed",
            Self::WrongPeer { .. } => "wrong_peer",
            Self::UnknownYet { .. } => "unknown_yet",
            Self::Duplicate { .. } => "duplicate",
            Self::Stopping => "stopping",
            Self::NotAnAgents { .. } => "not_an_agents",
        }
    }
}
