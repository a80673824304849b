//! What the machine is told, and what it has done.

use crate::{Entry, Failure, Inputs, OnFailure, Retry, Step};
use fleet::Timestamp;
use std::collections::BTreeMap;
use std::time::Duration;

/// The time, in both kinds: what is waited for is monotonic, what people read is wall time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// Wall time; it may jump.
    pub wall: Timestamp,
    /// Since the agent started.
    pub monotonic: Duration,
}

/// What the configuration says of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Whether it is done at all.
    pub wanted: bool,
    /// How long, and how often.
    pub retry: Retry,
    /// What it means when it cannot be done.
    pub on_failure: OnFailure,
}

/// What is done of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// It is looked at, and nothing is changed.
    Check,
    /// It is made so.
    Apply,
}

/// What a check found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checked {
    /// It is so already, of these inputs.
    Already,
    /// It is so, and is to be made so once more, as AWX's job is now and then: those that need it go on meanwhile.
    Again,
    /// It is not.
    Needed,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Time went by: something that was waited for may be due.
    Tick,
    /// The configuration is known, or is another one.
    Plans(BTreeMap<Step, Plan>),
    /// A check ended.
    Checked {
        /// Of this step.
        step: Step,
        /// As the [`Effect::Start`] said: an answer that comes late is nobody's.
        attempt: u32,
        /// What it found, and of what inputs.
        found: Result<(Checked, Inputs), Failure>,
    },
    /// An application ended; what it says is what [`Entry::note`] keeps.
    Applied {
        /// Of this step.
        step: Step,
        /// As the [`Effect::Start`] said.
        attempt: u32,
        /// Whether it came off.
        outcome: Result<Option<String>, Failure>,
    },
    /// An application that is under way has something that it must find again if it is cut short.
    Noted {
        /// Of this step.
        step: Step,
        /// As the [`Effect::Start`] said.
        attempt: u32,
        /// For [`Entry::note`]: never a secret.
        note: String,
    },
    /// Something that had to be on disk is not.
    Unrecorded {
        /// Of this step.
        step: Step,
        /// Why.
        failure: Failure,
    },
    /// Everything that stands is looked at again.
    Verify,
}

/// What is to be done, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Writes a line of the progress, durably. If that fails, [`Event::Unrecorded`] is said, and the effects after it
    /// of the same step are left out.
    Record(Entry),
    /// Begins a piece of work, unless [`super::Boot::awaits`] does not know of it any more. It ends with one event, after
    /// `within` at the latest.
    Start {
        /// Of this step.
        step: Step,
        /// What of it.
        work: Work,
        /// To be said with its end.
        attempt: u32,
        /// How long it may take.
        within: Duration,
        /// What is known of it from before: an intent that may or may not have been carried out, or that it was done.
        last: Option<Entry>,
    },
    /// What is under way of a step is cut off: nobody waits for its end any more.
    Stop {
        /// The step.
        step: Step,
    },
    /// A step could not be done: this is what it means for the node.
    Act {
        /// The step.
        step: Step,
        /// The consequence.
        policy: OnFailure,
        /// Why.
        failure: Failure,
    },
    /// A step that had a consequence stands after all.
    Recovered {
        /// The step.
        step: Step,
    },
}
