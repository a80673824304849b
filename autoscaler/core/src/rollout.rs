//! A roll-out: another version of the launch template reaches a fleet that runs, node by node.
//!
//! It is no machinery of its own: it says which version the fleet launches, and enters nodes of another one into the
//! ledger as one more reason to be replaced. docs/rollout.md is its state machine.

use fleet::{ImageId, InstanceId, Pool, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// A roll-out, from its order on; the last one is remembered when it has ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rollout {
    /// EC2's id of the launch template.
    pub template: String,
    /// The version that was launched before: what is gone back to.
    pub from: u64,
    /// The version that everything is to be of.
    pub to: u64,
    /// The image that `to` was made for; `None` where it was named by its number.
    pub image: Option<ImageId>,
    /// Which way it goes.
    pub course: Course,
    /// How far it is.
    pub stage: Stage,
    /// Why it does not go on, if it does not.
    pub halted: Option<Halted>,
    /// The version that the fleet was last told to launch.
    pub asked: Option<Asked>,
    /// Instances of `to`, or launched since it was ordered, that have been ready once: they are not judged by how long
    /// they take any more.
    pub ready: BTreeSet<InstanceId>,
    /// Since when nothing is left to be replaced.
    pub clean_since: Option<Timestamp>,
    /// How many instances it has entered to be replaced.
    pub entered: u32,
    /// When it was ordered.
    pub started: Timestamp,
    /// Since when it goes on without a halt: what is new has so long had its time.
    pub since: Timestamp,
    /// Who ordered it.
    pub by: String,
    /// Why.
    pub reason: String,
}

/// Which way a roll-out goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Course {
    /// To the new version.
    Forward,
    /// Back to the old one.
    Back,
}

/// How far a roll-out is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// The first share is replaced.
    Canary,
    /// The first share runs, and is watched.
    Watched {
        /// Since when.
        since: Timestamp,
    },
    /// All the others are replaced.
    Rest,
    /// Nothing is left to be replaced.
    Ended {
        /// When.
        at: Timestamp,
    },
}

impl Stage {
    /// The metric label.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Canary => "canary",
            Self::Watched { .. } => "watched",
            Self::Rest => "rest",
            Self::Ended { .. } => "ended",
        }
    }
}

/// A halt: nothing more is entered until somebody resumes it, or takes it back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Halted {
    /// When.
    pub at: Timestamp,
    /// Why.
    pub why: Halt,
}

/// Why a roll-out was halted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Halt {
    /// An operator said so. What has been begun ends, and the fleet launches what it launches.
    Ordered {
        /// Who.
        by: String,
        /// Why.
        reason: String,
    },
    /// An instance of the new version was not ready in time.
    NotReady {
        /// Which.
        instance: InstanceId,
    },
    /// An instance of the new version fails EC2's status checks.
    Unhealthy {
        /// Which.
        instance: InstanceId,
    },
    /// Nothing of the new version could be launched.
    LaunchFailed {
        /// Where that was tried.
        pool: Pool,
    },
    /// Somebody else has set what the fleet launches: hands off.
    Foreign {
        /// The version that was found; `None` for another template, several, or one by name.
        found: Option<u64>,
    },
    /// An alarm of CloudWatch that the roll-out watches is off.
    Alarm {
        /// Which.
        name: String,
        /// Since when, where CloudWatch says so.
        since: Option<Timestamp>,
    },
}

impl Halt {
    /// Whether the new version itself is to blame: the fleet launches the old one meanwhile.
    pub const fn is_failure(&self) -> bool {
        match self {
            Self::NotReady { .. }
            | Self::Unhealthy { .. }
            | Self::LaunchFailed { .. }
            | Self::Alarm { .. } => true,
            Self::Ordered { .. } | Self::Foreign { .. } => false,
        }
    }
    /// The metric label.
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Ordered { .. } => "ordered",
            Self::NotReady { .. } => "not_ready",
            Self::Unhealthy { .. } => "unhealthy",
            Self::LaunchFailed { .. } => "launch_failed",
            Self::Foreign { .. } => "foreign",
            Self::Alarm { .. } => "alarm",
        }
    }
}

/// A version that the fleet was told to launch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    /// Which.
    pub version: u64,
    /// When.
    pub at: Timestamp,
    /// Whether the fleet has shown it since.
    pub shown: bool,
}

/// What halts a roll-out by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RolloutTrouble {
    /// A new instance is not ready in time.
    NotReady,
    /// A new instance fails EC2's status checks.
    Unhealthy,
    /// Nothing new can be launched.
    LaunchFailed,
    /// An alarm that is watched is off.
    Alarm,
}

impl Rollout {
    /// A roll-out that begins now.
    pub fn begin(
        template: String,
        (from, to): (u64, u64),
        image: Option<ImageId>,
        (by, reason): (String, String),
        now: Timestamp,
    ) -> Self {
        Self {
            template,
            from,
            to,
            image,
            course: Course::Forward,
            stage: Stage::Canary,
            halted: None,
            asked: None,
            ready: BTreeSet::new(),
            clean_since: None,
            entered: 0,
            started: now,
            since: now,
            by,
            reason,
        }
    }

    /// Whether nothing more is done about it.
    pub const fn is_over(&self) -> bool {
        matches!(self.stage, Stage::Ended { .. })
    }

    /// Whether it goes forward and nothing halts it: its alarms are watched.
    pub fn advances(&self) -> bool {
        self.course == Course::Forward && !self.is_over() && self.halted.is_none()
    }

    /// The version that every instance is to be of in the end.
    pub const fn goal(&self) -> u64 {
        match self.course {
            Course::Forward => self.to,
            Course::Back => self.from,
        }
    }

    /// The version that the fleet is to launch now; `None`: whatever it launches.
    pub fn launches(&self) -> Option<u64> {
        match &self.halted {
            _ if self.is_over() => None,
            None => Some(self.goal()),
            Some(halted) => halted.why.is_failure().then_some(self.from),
        }
    }

    /// An operator's `pause`: what has been begun ends, nothing more is begun.
    pub fn pause(&mut self, by: String, reason: String, now: Timestamp) {
        self.halted = Some(Halted { at: now, why: Halt::Ordered { by, reason } });
    }

    /// An operator's `resume`: what is new has its time afresh.
    pub fn resume(&mut self, now: Timestamp) {
        self.halted = None;
        // What it was told a moment ago may not show yet: what shows meanwhile is from before.
        self.asked.take_if(|asked| asked.shown);
        self.since = now;
    }

    /// An operator's `abort`: everything is to be of the old version again. One that has ended can be taken back, too.
    pub fn take_back(&mut self, now: Timestamp) {
        self.resume(now);
        self.course = Course::Back;
        self.stage = Stage::Rest;
        self.clean_since = None;
    }

    pub(crate) fn visit_times(&mut self, mut past: impl FnMut(&mut Timestamp)) {
        let Self { stage, halted, asked, clean_since, started, since, .. } = self;
        match stage {
            Stage::Watched { since } => past(since),
            Stage::Ended { at } => past(at),
            Stage::Canary | Stage::Rest => {}
        }
        if let Some(Halted { at, why }) = halted {
            past(at);
            if let Halt::Alarm { since: Some(since), .. } = why {
                past(since);
            }
        }
        asked.iter_mut().map(|asked| &mut asked.at).for_each(&mut past);
        clean_since.iter_mut().chain([started, since]).for_each(past);
    }
}
