//! What is counted, for whoever exports it.

use fleet::{NoticeKind, NoticeSource};
use std::collections::BTreeMap;

/// Counters of an engine's life; they only grow. What can be read off [`crate::Status`] is not repeated here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EngineMetrics {
    /// Plans that were made.
    pub cycles: u64,
    /// Plans whose steps were begun, by decision (`scale_out`, `scale_in`, …).
    pub decisions: BTreeMap<&'static str, u64>,
    /// Plans whose steps were not taken, by reason.
    pub withheld: BTreeMap<&'static str, u64>,
    /// Plans that panicked.
    pub panics: u64,
    /// Breaches that the checker found, by invariant.
    pub breaches: BTreeMap<&'static str, u64>,
    /// Calls that ended, by operation and class (`ok` where they succeeded).
    pub calls: BTreeMap<CallCount, u64>,
    /// Pushed samples that were folded.
    pub samples_accepted: u64,
    /// Pushed samples that came too late, twice, or for another time than now.
    pub samples_dropped: u64,
    /// Batches of samples that were refused, by reason.
    pub batches_rejected: BTreeMap<&'static str, u64>,
    /// Batches that never came, by the gaps in their numbers.
    pub batches_lost: u64,
    /// Fleet samples that were made, by source.
    pub fleet_samples: BTreeMap<&'static str, u64>,
    /// Batches of records that could not be written.
    pub journal_errors: u64,
    /// Notices that were news.
    pub notices: BTreeMap<NoticeCount, u64>,
    /// Notices that told nothing new: from another source, or once more from the same.
    pub notices_again: BTreeMap<NoticeCount, u64>,
    /// Messages about instances that a describe from after they came does not know.
    pub messages_foreign: u64,
    /// Jumps of wall time.
    pub clock_jumps: u64,
}

/// What notices are counted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NoticeCount {
    /// What was announced: `spot_interruption`, …
    pub kind: &'static str,
    /// Who told it: `agent`, `event_bridge`, `ec2`.
    pub source: &'static str,
}

impl NoticeCount {
    /// What a notice counts as.
    pub const fn of(kind: NoticeKind, source: NoticeSource) -> Self {
        let kind = match kind {
            NoticeKind::SpotInterruption => "spot_interruption",
            NoticeKind::RebalanceRecommendation => "rebalance_recommendation",
            NoticeKind::ScheduledEvent => "scheduled_event",
            NoticeKind::FleetScaleIn => "fleet_scale_in",
        };
        let source = match source {
            NoticeSource::Agent => "agent",
            NoticeSource::EventBridge => "event_bridge",
            NoticeSource::Ec2 => "ec2",
        };
        Self { kind, source }
    }
}

/// What calls are counted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallCount {
    /// `describe_fleets`, `modify`, …
    pub operation: &'static str,
    /// `ok`, or the error's class.
    pub class: &'static str,
}
