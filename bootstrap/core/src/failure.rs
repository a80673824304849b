//! What went wrong with a step, and what that means for the node.

use fleet::ErrorClass;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::Duration;

/// Why a step is not done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// What to make of it.
    pub class: ErrorClass,
    /// What happened: fits after "vault: ". Never holds a secret.
    pub what: String,
    /// Whether trying again cannot help: the configuration is wrong, a job has failed for good.
    pub lasting: bool,
    /// Where more is to be found, such as the address of AWX's job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub see: Option<String>,
    /// The last lines of what failed, such as a playbook's output; oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tail: Vec<String>,
    /// Trying again sooner would only be a burden: the first pause is no shorter, as far as the step's longest one
    /// allows. Zero: as the step is configured.
    #[serde(skip)]
    pub pause: Duration,
}

impl Failure {
    /// A failure that may pass.
    pub fn new(class: ErrorClass, what: impl fmt::Display) -> Self {
        Self {
            class,
            what: what.to_string(),
            lasting: false,
            see: None,
            tail: Vec::new(),
            pause: Duration::ZERO,
        }
    }

    /// A failure that trying again does not help.
    pub fn lasting(class: ErrorClass, what: impl fmt::Display) -> Self {
        Self { lasting: true, ..Self::new(class, what) }
    }

    /// The same, with a first pause of its own; a half of it is by chance.
    #[must_use]
    pub fn with_pause(self, pause: Duration) -> Self {
        Self { pause, ..self }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { class: _, what, lasting: _, see, tail: _, pause: _ } = self;
        f.write_str(what)?;
        match see {
            Some(see) => write!(f, " (see {see})"),
            None => Ok(()),
        }
    }
}

/// What it means for the node that a step is not done within its deadline, or cannot be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnFailure {
    /// It is tried on, and those that need it wait.
    Retry,
    /// Those that need it go on without it; the node is degraded.
    Ignore,
    /// The node is kept, without work; it is tried on.
    Quarantine,
    /// As quarantine, and whoever asks is told that the node is unhealthy.
    Unhealthy,
    /// The node ends itself, so that the fleet buys another one, unless the breaker is open.
    Terminate,
}

impl OnFailure {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::Retry, Self::Ignore, Self::Quarantine, Self::Unhealthy, Self::Terminate];

    /// Its name in configuration and in metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Retry => "retry",
            Self::Ignore => "ignore",
            Self::Quarantine => "quarantine",
            Self::Unhealthy => "unhealthy",
            Self::Terminate => "terminate",
        }
    }

    /// The one of a name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|policy| policy.name() == name)
    }
}
