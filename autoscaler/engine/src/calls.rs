//! Calls that were handed out and have not been answered.

use crate::{Answer, CallId};
use fleet::{ApiError, ErrorClass, FleetName, FleetRef, InstanceId, Region, Timestamp};
use std::collections::BTreeMap;
use std::time::Duration;

/// A call that was not answered for so long never will be: adapters bound theirs at well below a minute.
const LOST_AFTER: Duration = Duration::from_secs(120);

/// A call that is under way.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub region: Region,
    pub kind: CallKind,
    /// When it was begun, wall time: an answer is as old as its question.
    pub at: Timestamp,
    /// On the monotonic clock; for a hook that may take long, when it should have ended.
    pub begun: Duration,
}

/// What was asked, and for whom.
#[derive(Clone, Debug)]
pub(crate) enum CallKind {
    Fleets,
    Instances {
        fleets: Vec<(FleetName, FleetRef)>,
    },
    FleetInstances {
        name: FleetName,
    },
    History {
        name: FleetName,
    },
    ScalableTargets {
        fleets: Vec<(FleetName, FleetRef)>,
    },
    /// `of`: what distinguishes this reading from others of the same service; mostly nothing.
    Metrics {
        source: fleet::Source,
        wanted: Vec<Wanted>,
        of: String,
    },
    Backfill {
        fleets: Vec<FleetName>,
    },
    Modify {
        name: FleetName,
    },
    Terminate {
        name: FleetName,
    },
    /// A write of the node lane.
    Lane {
        name: FleetName,
        operation: crate::Operation,
        key: crate::lane::LaneKey,
    },
    Nodes {
        fleets: Vec<FleetName>,
    },
    Marks,
    Prices,
    /// Alarms that roll-outs of these fleets watch.
    Alarms {
        fleets: Vec<FleetName>,
        names: Vec<String>,
    },
    Ledgers {
        fleets: Vec<FleetName>,
    },
}

/// Whose series it is that was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub fleet: FleetName,
    pub of: WantedOf,
}

/// What a series is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum WantedOf {
    /// The whole fleet.
    Fleet(crate::series::MeanOf),
    /// One instance.
    Instance(InstanceId),
}

impl CallKind {
    /// The metric label.
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Fleets => "describe_fleets",
            Self::Instances { .. } => "describe_instances",
            Self::FleetInstances { .. } => "fleet_instances",
            Self::History { .. } => "history",
            Self::ScalableTargets { .. } => "scalable_targets",
            Self::Metrics { source: fleet::Source::Prometheus, .. } => "prometheus",
            Self::Metrics { .. } | Self::Backfill { .. } => "cloudwatch",
            Self::Modify { .. } => "modify",
            Self::Terminate { .. } => "terminate",
            Self::Lane { operation, .. } => operation.label(),
            Self::Nodes { .. } => "nodes",
            Self::Marks => "marks",
            Self::Prices => "spot_prices",
            Self::Alarms { .. } => "alarms",
            Self::Ledgers { .. } => "ledgers",
        }
    }
}

impl CallKind {
    /// What distinguishes this call from others of the same operation, where one that fails must not keep the
    /// others from being made.
    pub fn of(&self) -> &str {
        match self {
            Self::Metrics { of, .. } => of,
            _ => "",
        }
    }
}

impl Call {
    /// The answer of a call that nobody answered: for a write it is not clear what came of it.
    pub fn lost(kind: &CallKind) -> Answer {
        let class = match kind {
            CallKind::Modify { .. } | CallKind::Terminate { .. } | CallKind::Lane { .. } => {
                ErrorClass::Unclear
            }
            _ => ErrorClass::Transient,
        };
        let error = ApiError::new(class, "muster", kind.label(), None, "the call was never answered");
        match kind {
            CallKind::Fleets => Answer::Fleets(Err(error)),
            CallKind::Instances { .. } => Answer::Instances(Err(error)),
            CallKind::FleetInstances { .. } => Answer::FleetInstances(Err(error)),
            CallKind::History { .. } => Answer::History(Err(error)),
            CallKind::ScalableTargets { .. } => Answer::ScalableTargets(Err(error)),
            CallKind::Metrics { .. } | CallKind::Backfill { .. } => Answer::Metrics(Err(error)),
            CallKind::Modify { .. } => Answer::Modified(Err(error)),
            CallKind::Terminate { .. } => Answer::Terminated(Err(error)),
            CallKind::Lane { .. } => Answer::Done(Err(error)),
            CallKind::Nodes { .. } => Answer::Nodes(Err(error)),
            CallKind::Marks => Answer::Marks(Err(error)),
            CallKind::Prices => Answer::Prices(Err(error)),
            CallKind::Alarms { .. } => Answer::Alarms(Err(error)),
            CallKind::Ledgers { .. } => Answer::Ledgers(Err(error)),
        }
    }
}

/// All of them.
#[derive(Debug, Default)]
pub(crate) struct Calls {
    next: u64,
    open: BTreeMap<CallId, Call>,
}

impl Calls {
    /// Notes a call.
    pub fn open(&mut self, call: Call) -> CallId {
        let id = CallId(self.next);
        self.next += 1;
        self.open.insert(id, call);
        id
    }
    /// When a call that is under way was begun.
    pub fn asked_at(&self, id: CallId) -> Option<Timestamp> {
        self.open.get(&id).map(|call| call.at)
    }
    /// Takes a call that was answered; `None` for one that was given up.
    pub fn take(&mut self, id: CallId) -> Option<Call> {
        self.open.remove(&id)
    }
    /// Takes a call that was not answered for too long.
    pub fn pop_lost(&mut self, now: Duration) -> Option<(CallId, Call)> {
        let lost = |call: &Call| call.begun + LOST_AFTER <= now;
        let id = *self.open.iter().find(|(_, call)| lost(call))?.0;
        self.open.remove_entry(&id)
    }
    /// When the oldest call is given up.
    pub fn next_lost(&self) -> Option<Duration> {
        self.open.values().map(|call| call.begun + LOST_AFTER).min()
    }
    /// Moves the times at which calls were begun, when the clock that stamped them has jumped.
    pub fn shift(&mut self, by_ms: i64) {
        for call in self.open.values_mut() {
            call.at = Timestamp::from_millis(call.at.millis().saturating_add(by_ms));
        }
    }
}
