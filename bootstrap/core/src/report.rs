//! How far a boot has come: for people, for `status` and for the metrics.

use crate::{Failure, OnFailure, Step};
use fleet::Timestamp;
use serde::{Deserialize, Serialize};
use std::fmt;

/// The whole boot in a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Condition {
    /// It is under way.
    Running,
    /// Everything stands.
    Done,
    /// It is as far as it comes, and something that was to be done is left out, or does not hold any more.
    Degraded,
    /// It has failed: the node takes no work.
    Failed,
}

impl Condition {
    /// What `status` exits with: cloud-init's codes, 0 while it runs.
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Running | Self::Done => 0,
            Self::Failed => 1,
            Self::Degraded => 2,
        }
    }
    /// Whether there is nothing to wait for.
    pub const fn is_final(self) -> bool {
        !matches!(self, Self::Running)
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Running => "running",
            Self::Done => "done",
            Self::Degraded => "degraded",
            Self::Failed => "failed",
        })
    }
}

/// Where a step is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Others are not done yet that it needs.
    Waiting,
    /// It is being done.
    Running,
    /// It failed and is tried again.
    Retrying,
    /// It stood, does not hold any more, and is being mended.
    Repairing,
    /// It stands.
    Done,
    /// The configuration does not ask for it.
    Skipped,
    /// It failed, and the node goes on without it.
    Ignored,
    /// It failed, and the node takes no work for it.
    Failed,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Waiting => "waiting",
            Self::Running => "running",
            Self::Retrying => "retrying",
            Self::Repairing => "repairing",
            Self::Done => "done",
            Self::Skipped => "skipped",
            Self::Ignored => "ignored",
            Self::Failed => "failed",
        })
    }
}

/// One step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StepReport {
    /// The step.
    pub step: Step,
    /// Where it is.
    pub state: State,
    /// When it was begun, in this run of the agent.
    pub began: Option<Timestamp>,
    /// When it first stood.
    pub ended: Option<Timestamp>,
    /// How long that took, or has taken so far.
    pub seconds: Option<f64>,
    /// In a row, up to now.
    pub failures: u32,
    /// The consequence that its failure had.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<OnFailure>,
    /// The last failure, until it stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
}

/// A boot.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// In a word.
    pub condition: Condition,
    /// In the order of the graph.
    pub steps: Vec<StepReport>,
}

impl Report {
    /// The word for its steps. * `booted`: whether it was ready once.
    pub(crate) fn judge(&self, booted: bool) -> Condition {
        let any = |state: State| self.steps.iter().any(|step| step.state == state);
        if any(State::Failed) {
            return Condition::Failed;
        }
        if !booted {
            return Condition::Running;
        }
        let whole = self.steps.iter().all(|step| matches!(step.state, State::Done | State::Skipped));
        if whole { Condition::Done } else { Condition::Degraded }
    }
}
