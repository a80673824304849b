//! What can happen to an engine.

use crate::{BatchId, CallId};
use autoscaler_policy::FleetPolicy;
use fleet::ports::Series;
use fleet::{
    ApiError, FleetName, FleetRef, FleetView, Health, HistoryEvent, Instance, InstanceId, InstanceState,
    Notice, Utilization,
};
use serde::{Deserialize, Serialize};
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
    /// Somebody announced that an instance is about to go.
    Notice(Notice),
    /// An operator's order, where nobody waits for what [`crate::Engine::operate`] says.
    Operator(Command),
    /// Finish or journal what is in flight, then [`crate::Effect::Stopped`].
    Stop,
}

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
    /// To [`crate::Write::Modify`].
    Modified(Result<(), ApiError>),
    /// To [`crate::Write::Terminate`].
    Terminated(Result<Vec<(InstanceId, InstanceState)>, ApiError>),
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
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
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
        }
    }
}
