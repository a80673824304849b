//! What an engine wants done.

use crate::{AlarmChange, Answer, Entry, Ledger};
use autoscaler_core::{DrainBy, DrainCause, ScaledGroup};
use fleet::ports::{Change, MetricQuery};
use fleet::{
    ApiError, Backend, FleetName, FleetRef, InstanceId, InstanceType, MessageId, NodeId, Region, Timestamp,
};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// A call that was handed out, for its answer. Unique in an engine's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct CallId(pub u64);

/// A batch of records that was handed out. Unique in an engine's life; later batches have larger numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct BatchId(pub u64);

/// Something to be done by the shell. Effects of one answer are begun in order and end in any order.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Ask the world; answered by [`crate::Event::Answered`], always.
    Read {
        /// For the answer.
        call: CallId,
        /// Where.
        region: Region,
        /// What.
        read: Read,
    },
    /// Change the world; answered by [`crate::Event::Answered`], always. Its intent is on disk.
    Write {
        /// For the answer.
        call: CallId,
        /// Where.
        region: Region,
        /// What.
        write: Write,
        /// Until when it may be begun; checked immediately before it is sent.
        permit: Permit,
    },
    /// Write records, in order; answered by [`crate::Event::Recorded`], always.
    Record {
        /// For the answer.
        batch: BatchId,
        /// Whether they must have reached the disk before the answer. Others may be written when convenient,
        /// within seconds, but never after a later batch.
        durable: bool,
        /// The records, by fleet.
        entries: Vec<Entry>,
        /// What the next leader has to know, of the fleets of which that has changed: to be written where it looks
        /// before this is answered, also where the batch is not durable. Empty without
        /// [`crate::Config::shared_ledger`], and while we do not lead.
        ledgers: Vec<(FleetName, Box<Ledger>)>,
    },
    /// Messages whose every effect is on disk, or that concern nobody here: they need not come again.
    Acknowledge {
        /// Which.
        messages: Vec<MessageId>,
    },
    /// Send [`crate::Event::Timer`] when monotonic time reaches `at`. Replaces every earlier one.
    WakeAt {
        /// When.
        at: Duration,
    },
    /// Something is wrong, or no longer.
    Alarm(AlarmChange),
    /// The engine is done and wants nothing more.
    Stopped,
}

/// A question to the world.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Read {
    /// Every fleet of these backends: `Cloud::describe_fleets`.
    Fleets {
        /// Which services.
        backends: Vec<Backend>,
    },
    /// The instances of these fleets: `Cloud::describe_instances`.
    Instances {
        /// Of which fleets.
        fleets: Vec<FleetRef>,
    },
    /// The fleet's own list of its instances: `Cloud::fleet_instances`.
    FleetInstances {
        /// Of which fleet.
        fleet: FleetRef,
    },
    /// What happened to a fleet: `Cloud::history`.
    History {
        /// To which.
        fleet: FleetRef,
        /// Since when.
        since: Timestamp,
    },
    /// Which of these are scaled by somebody else: `Cloud::scalable_targets`.
    ScalableTargets {
        /// Of which fleets.
        fleets: Vec<FleetRef>,
    },
    /// Utilisation.
    Metrics(MetricsRequest),
    /// Nomad's nodes, what it could not place, and the counts of some groups. Its region means nothing.
    Nodes {
        /// Whose counts are wanted.
        groups: Vec<ScaledGroup>,
    },
    /// What EC2 itself says of instances that are to go: `Cloud::marks`.
    Marks,
    /// Spot prices now: `Cloud::spot_prices`.
    Prices {
        /// Of which types.
        types: Vec<InstanceType>,
    },
    /// Alarms by their names: `Metrics::alarms`.
    Alarms {
        /// Which.
        names: Vec<String>,
    },
    /// What the leader before us left of these fleets. Its region means nothing.
    Ledgers {
        /// Of which fleets.
        fleets: Vec<FleetName>,
    },
}

impl Read {
    /// The answer of a question that failed.
    pub const fn failed(&self, error: ApiError) -> Answer {
        match self {
            Self::Fleets { .. } => Answer::Fleets(Err(error)),
            Self::Instances { .. } => Answer::Instances(Err(error)),
            Self::FleetInstances { .. } => Answer::FleetInstances(Err(error)),
            Self::History { .. } => Answer::History(Err(error)),
            Self::ScalableTargets { .. } => Answer::ScalableTargets(Err(error)),
            Self::Metrics(_) => Answer::Metrics(Err(error)),
            Self::Nodes { .. } => Answer::Nodes(Err(error)),
            Self::Marks => Answer::Marks(Err(error)),
            Self::Prices { .. } => Answer::Prices(Err(error)),
            Self::Alarms { .. } => Answer::Alarms(Err(error)),
            Self::Ledgers { .. } => Answer::Ledgers(Err(error)),
        }
    }

    /// The metric label.
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Fleets { .. } => "describe_fleets",
            Self::Instances { .. } => "describe_instances",
            Self::FleetInstances { .. } => "fleet_instances",
            Self::History { .. } => "history",
            Self::ScalableTargets { .. } => "scalable_targets",
            Self::Metrics(MetricsRequest::Cloudwatch { .. }) => "cloudwatch",
            Self::Metrics(MetricsRequest::Prometheus { .. }) => "prometheus",
            Self::Nodes { .. } => "nodes",
            Self::Marks => "marks",
            Self::Prices { .. } => "spot_prices",
            Self::Alarms { .. } => "alarms",
            Self::Ledgers { .. } => "ledgers",
        }
    }
}

/// A question to a metrics service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MetricsRequest {
    /// CloudWatch of the call's region: `Metrics::read`. At most 500 queries.
    Cloudwatch {
        /// What, a series each in the answer.
        queries: Vec<MetricQuery>,
        /// From when.
        from: Timestamp,
        /// Until when.
        to: Timestamp,
    },
    /// One Prometheus server.
    Prometheus {
        /// The server, as the policy names it.
        address: String,
        /// A file that holds a bearer token.
        token_file: Option<String>,
        /// What, a series each in the answer.
        queries: Vec<PrometheusQuery>,
        /// From when.
        from: Timestamp,
        /// Until when.
        to: Timestamp,
        /// The distance of the points.
        step: Duration,
    },
}

/// A PromQL expression that gives one series in percent, 0 to 100.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PrometheusQuery(pub String);

/// A change to the world.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Write {
    /// `Cloud::modify`.
    Modify {
        /// Which fleet.
        fleet: FleetRef,
        /// To what.
        change: Change,
    },
    /// `Cloud::terminate`.
    Terminate {
        /// Of which fleet.
        fleet: FleetRef,
        /// Whom.
        instances: Vec<InstanceId>,
    },
    /// Make an instance's node ineligible for new work. Idempotent.
    Cordon(NodeRef),
    /// Let the work on an instance go elsewhere, by Nomad's drain or by the operator's hook. Idempotent: a drain that
    /// is under way gets this deadline.
    Drain {
        /// Which.
        node: NodeRef,
        /// When the last work is told to stop.
        deadline: Timestamp,
        /// Whether system jobs stay.
        ignore_system_jobs: bool,
        /// Why.
        cause: DrainCause,
    },
    /// Take a drain or a cordon back: the node takes work again. Idempotent. A hook that drains is ended.
    Restore(NodeRef),
    /// Set a service group's count. Idempotent.
    ScaleGroup {
        /// Its namespace.
        namespace: String,
        /// Its job's id.
        job: String,
        /// Its name.
        group: String,
        /// The count.
        count: u32,
    },
}

/// An instance, as whoever empties it knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeRef {
    /// Whose it is.
    pub fleet: FleetName,
    /// Which.
    pub instance: InstanceId,
    /// Nomad's node on it, where a look has shown one.
    pub node: Option<NodeId>,
    /// Who empties it.
    pub by: DrainBy,
}

impl Write {
    /// The answer of a change that failed.
    pub const fn failed(&self, error: ApiError) -> Answer {
        match self {
            Self::Modify { .. } => Answer::Modified(Err(error)),
            Self::Terminate { .. } => Answer::Terminated(Err(error)),
            Self::Cordon(_) | Self::Drain { .. } | Self::Restore(_) | Self::ScaleGroup { .. } => {
                Answer::Done(Err(error))
            }
        }
    }

    /// The metric label.
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Modify { .. } => "modify",
            Self::Terminate { .. } => "terminate",
            Self::Cordon(_) => "cordon",
            Self::Drain { .. } => "drain",
            Self::Restore(_) => "restore",
            Self::ScaleGroup { .. } => "scale_group",
        }
    }
}

/// What a write needs to be allowed: checked by the shell immediately before it is sent (FENCE).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Permit {
    /// The monotonic time after which it must not be begun; answer [`crate::Answer::NotSent`] then. Never later than
    /// the lease.
    pub not_after: Duration,
    /// The batch that holds its intent; `None` where the journal fails and the write is one that goes on anyway.
    pub intent: Option<BatchId>,
}
