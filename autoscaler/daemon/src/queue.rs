//! What reaches the engine: two queues.
//!
//! Requests from outside wait in a bounded one, and are told "busy" when it is full: an autoscaler under a flood of
//! samples must still scale. What the daemon itself has under way comes back by an unbounded one that is always
//! served first; it can hold no more than what was begun.

use crate::idle::Busy;
use autoscaler_engine::{
    BatchId, Command, CommandError, Decided, EngineMetrics, FleetStatus, Rejection, Status,
};
use autoscaler_policy::FleetPolicy;
use fleet::wire::{SampleBatch, SamplesAccepted};
use fleet::{FleetName, MessageId, News, Region};
use std::net::IpAddr;
use tokio::sync::oneshot;

/// Something on its way, with the work that it is. The work ends when its consequences have been handed on.
#[derive(Debug)]
pub(crate) struct Envelope<T> {
    pub(crate) what: T,
    pub(crate) busy: Busy,
}

/// A request from outside. Nobody minds if whoever asked has gone before the answer.
#[derive(Debug)]
pub(crate) enum Ask {
    Samples { peer: IpAddr, batch: SampleBatch, reply: oneshot::Sender<Result<SamplesAccepted, Rejection>> },
    Operate { command: Command, reply: oneshot::Sender<Result<(), OrderError>> },
    Status { reply: oneshot::Sender<Status> },
    Counters { reply: oneshot::Sender<EngineMetrics> },
    Fleet { name: FleetName, reply: oneshot::Sender<Option<FleetStatus>> },
    Decisions { name: FleetName, reply: oneshot::Sender<Option<Vec<Decided>>> },
    Heard { region: Region, news: Vec<News> },
}

/// Why an operator's order is not in force for certain.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum OrderError {
    /// It was refused; nothing has changed.
    #[error(transparent)]
    Refused(#[from] CommandError),
    /// It is in force, and would not survive a restart.
    #[error("it is in force, but could not be journaled: {message}")]
    NotJournaled {
        /// Why not.
        message: String,
    },
}

/// Something that the daemon itself brought about.
#[derive(Debug)]
pub(crate) enum Happened {
    Recorded {
        batch: BatchId,
        result: Result<(), String>,
    },
    PoliciesLoaded(Vec<FleetPolicy>),
    PoliciesRejected {
        problems: String,
    },
    /// What a leader keeps for the next one is in Consul, or not.
    LedgersWritten {
        batch: BatchId,
        result: Result<(), String>,
    },
    /// A message of a queue.
    Heard {
        region: Region,
        message: MessageId,
        news: Vec<News>,
    },
    /// Something moved in Nomad.
    NodesMoved,
    Stop,
}
