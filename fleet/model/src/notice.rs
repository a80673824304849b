//! Word from AWS that an instance is about to go.

use crate::{FleetId, InstanceId, InstanceState, InstanceType, Timestamp, Zone};
use serde::{Deserialize, Serialize};

/// What AWS announces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NoticeKind {
    /// The instance will be reclaimed at its deadline, two minutes from the notice.
    SpotInterruption,
    /// The instance is at elevated risk; no deadline.
    RebalanceRecommendation,
    /// Maintenance: reboot, stop or retirement.
    ScheduledEvent,
    /// The fleet itself gives the instance back, because its target was lowered without NoTermination
    /// (`termination_notified`): its victims hear a spot interruption, too, and nobody is to replace them.
    FleetScaleIn,
}

/// Where a notice was heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NoticeSource {
    /// The instance's own agent, from IMDS.
    Agent,
    /// EventBridge, through SQS.
    EventBridge,
    /// EC2's own describe calls.
    Ec2,
}

/// One notice. De-duplicated by (instance, kind) for the life of the instance: IMDS carries the time of the
/// action, EventBridge only that of the message, so the times cannot be compared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notice {
    /// Whom it concerns.
    pub instance: InstanceId,
    /// What is announced.
    pub kind: NoticeKind,
    /// Where it was heard.
    pub source: NoticeSource,
    /// When it was given, as far as the source says.
    pub at: Timestamp,
    /// When the instance goes; `None` where there is no deadline.
    pub deadline: Option<Timestamp>,
}

/// What one message of AWS says, in the model's words. A message may say several things, or nothing that
/// matters here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum News {
    /// An instance is about to go.
    Notice(Notice),
    /// A scheduled event of an instance was called off, or is over.
    CalledOff {
        /// Whose.
        instance: InstanceId,
        /// When.
        at: Timestamp,
    },
    /// An instance has entered a state.
    State {
        /// Whom it concerns.
        instance: InstanceId,
        /// Its state.
        state: InstanceState,
        /// When it was entered.
        at: Timestamp,
    },
    /// A fleet has launched an instance.
    Launched {
        /// Which fleet.
        fleet: FleetId,
        /// Which instance.
        instance: InstanceId,
        /// When.
        at: Timestamp,
    },
    /// A fleet has changed (its state, its target), or says that something is wrong with it: worth a look.
    FleetChanged {
        /// Which fleet.
        fleet: FleetId,
        /// When.
        at: Timestamp,
    },
    /// A pool had nothing to give to a fleet.
    NoCapacity {
        /// Which fleet.
        fleet: FleetId,
        /// The type asked for, where AWS says.
        instance_type: Option<InstanceType>,
        /// The zone asked for, where AWS says.
        zone: Option<Zone>,
        /// When.
        at: Timestamp,
    },
    /// A fleet could not launch a type, and not for want of capacity.
    LaunchFailed {
        /// Which fleet.
        fleet: FleetId,
        /// The type.
        instance_type: InstanceType,
        /// The zone, where AWS says.
        zone: Option<Zone>,
        /// When.
        at: Timestamp,
    },
}

impl News {
    /// The instance that it is about; `None` where it is about a fleet alone.
    pub const fn instance(&self) -> Option<&InstanceId> {
        match self {
            Self::Notice(notice) => Some(&notice.instance),
            Self::CalledOff { instance, .. }
            | Self::State { instance, .. }
            | Self::Launched { instance, .. } => Some(instance),
            Self::FleetChanged { .. } | Self::NoCapacity { .. } | Self::LaunchFailed { .. } => None,
        }
    }
    /// The fleet that it names; instances' news do not always name theirs.
    pub const fn fleet(&self) -> Option<&FleetId> {
        match self {
            Self::Launched { fleet, .. }
            | Self::FleetChanged { fleet, .. }
            | Self::NoCapacity { fleet, .. }
            | Self::LaunchFailed { fleet, .. } => Some(fleet),
            Self::Notice(_) | Self::CalledOff { .. } | Self::State { .. } => None,
        }
    }
    /// When it happened, as far as the source says.
    pub const fn at(&self) -> Timestamp {
        match self {
            Self::Notice(notice) => notice.at,
            Self::CalledOff { at, .. }
            | Self::State { at, .. }
            | Self::Launched { at, .. }
            | Self::FleetChanged { at, .. }
            | Self::NoCapacity { at, .. }
            | Self::LaunchFailed { at, .. } => *at,
        }
    }
}
