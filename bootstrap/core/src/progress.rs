//! What of the boot survives a crash.

use crate::Step;
use fleet::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// A digest of everything that a step's outcome depends on. Another one means that what was done no longer counts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Inputs(String);

impl Inputs {
    /// Of nothing: the same always.
    pub const fn none() -> Self {
        Self(String::new())
    }
    /// Of a digest in hexadecimal.
    pub fn new(digest: impl Into<String>) -> Self {
        Self(digest.into())
    }
}

impl fmt::Display for Inputs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How far a step has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// It was about to be done: it may have been, in whole, in part or not at all.
    Intent,
    /// It was done, and seen to be.
    Done,
}

/// A step's line in the progress of an instance: on disk before what it announces is begun.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// The step.
    pub step: Step,
    /// How far it has come.
    pub phase: Phase,
    /// Of what.
    pub inputs: Inputs,
    /// When it was written.
    pub at: Timestamp,
    /// What the step itself wants to find again, such as the job that it waits for. Never a secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// The progress of one instance.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    entries: BTreeMap<Step, Entry>,
}

impl Progress {
    /// What was found on disk; of several entries of a step the last one counts.
    pub fn of(entries: impl IntoIterator<Item = Entry>) -> Self {
        Self { entries: entries.into_iter().map(|entry| (entry.step, entry)).collect() }
    }

    /// A step's line, if it has one.
    pub fn get(&self, step: Step) -> Option<&Entry> {
        self.entries.get(&step)
    }

    /// Takes a line in place of the one before.
    pub fn set(&mut self, entry: Entry) {
        self.entries.insert(entry.step, entry);
    }

    /// A step's line may not be on disk as it is here: it is an intent, until it is written again.
    pub(crate) fn doubt(&mut self, step: Step) {
        if let Some(entry) = self.entries.get_mut(&step) {
            entry.phase = Phase::Intent;
        }
    }
}
