//! What reaches the engine: two queues.
//!
//! Requests from outside wait in a bounded one, and are told "busy" when it is full: an autoscaler under a flood of
//! samples must still scale. What the daemon itself has under way comes back by an unbounded one that is always
//! served first; it can hold no more than what was begun.

use crate::idle::Busy;
use autoscaler_engine::{
    BatchId, Command, CommandError, Decided, EngineMetrics, FleetStatus, InstanceSeen, Rejection, Status,
};
use autoscaler_policy::FleetPolicy;
use fleet::wire::{NoticeBatch, NoticesAccepted, SampleBatch, SamplesAccepted};
use fleet::{FleetName, InstanceId, MessageId, News, Region};
use std::collections::BTreeSet;
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
    Notices { peer: IpAddr, batch: NoticeBatch, reply: oneshot::Sender<Result<NoticesAccepted, NoticeError>> },
    Instance { id: InstanceId, reply: oneshot::Sender<Option<InstanceSeen>> },
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

/// Why an agent's notices are not safe with us.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NoticeError {
    /// They were refused; nothing has changed.
    #[error(transparent)]
    Refused(#[from] Rejection),
    /// They are known, and would not survive a restart.
    #[error("they are known, but could not be journaled: {message}")]
    NotJournaled {
        /// Why not.
        message: String,
    },
}

/// Who is answered once a batch of records is on disk.
#[derive(Debug)]
pub(crate) enum Waiting {
    Order(oneshot::Sender<Result<(), OrderError>>),
    Notices(NoticesAccepted, oneshot::Sender<Result<NoticesAccepted, NoticeError>>),
}

impl Waiting {
    /// Answers; nobody minds if whoever asked has gone.
    pub(crate) fn answer(self, recorded: &Result<(), String>) {
        let failed = recorded.as_ref().err().cloned();
        match self {
            Self::Order(reply) => {
                let not_journaled = |message| Err(OrderError::NotJournaled { message });
                let _ = reply.send(failed.map_or(Ok(()), not_journaled));
            }
            Self::Notices(accepted, reply) => {
                let not_journaled = |message| Err(NoticeError::NotJournaled { message });
                let _ = reply.send(failed.map_or(Ok(accepted), not_journaled));
            }
        }
    }
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
    /// Where the autoscalers run has changed.
    Peers(BTreeSet<InstanceId>),
    Stop,
}
