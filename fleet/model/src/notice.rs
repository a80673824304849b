//! Word from AWS that an instance is about to go.

use crate::{InstanceId, Timestamp};
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
