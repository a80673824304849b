//! What can go wrong with a call, as a class that decides what is done about it.

use serde::{Deserialize, Serialize};
use std::error::Error;
use std::time::Duration;

/// What to make of a failed call. Retries, metric labels and the cooling-off of pools read only this.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorClass {
    /// Refused for its rate; nothing was done. Again later.
    Throttled {
        /// When the server said to come back, if it did.
        retry_after: Option<Duration>,
    },
    /// A pool has nothing to give; nothing was done. Another pool, or later.
    NoCapacity,
    /// Not allowed; nothing was done. An operator has to act.
    Denied,
    /// The thing is not there (or not visible yet: EC2 is eventually consistent).
    NotFound,
    /// The thing is in a state that does not allow this now.
    Conflict,
    /// Failed before it could take effect. Safe to repeat.
    Transient,
    /// May have happened. Look before repeating.
    Unclear,
    /// We or they do not speak the protocol: repeating will not help.
    Malformed,
}

impl ErrorClass {
    /// The metric label.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Throttled { .. } => "throttled",
            Self::NoCapacity => "no_capacity",
            Self::Denied => "denied",
            Self::NotFound => "not_found",
            Self::Conflict => "conflict",
            Self::Transient => "transient",
            Self::Unclear => "unclear",
            Self::Malformed => "malformed",
        }
    }
}

/// An error with its causes in one line, without what a cause repeats: an adapter's own words often end before the reason.
///
/// Linear in the length of the words and the number of causes.
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        let words = next.to_string();
        if !text.contains(&words) {
            text.push_str(": ");
            text.push_str(&words);
        }
        cause = next.source();
    }
    text
}

/// A failed call of a service: fits after "failed to describe fleets: ".
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{service} {operation} answered {}: {message}", code.as_deref().unwrap_or("nothing usable"))]
pub struct ApiError {
    /// What to make of it.
    pub class: ErrorClass,
    /// `ec2`, `cloudwatch`, …
    pub service: String,
    /// The action, in the service's words.
    pub operation: String,
    /// The service's error code, where it gave one.
    pub code: Option<String>,
    /// The service's words, or the transport's (bounded to 1 KiB).
    pub message: String,
    /// The service's id of the request: what its support asks for.
    pub request_id: Option<String>,
}

impl ApiError {
    /// An error without a request id; adapters add it where they have one.
    pub fn new(class: ErrorClass, service: &str, operation: &str, code: Option<&str>, message: &str) -> Self {
        let message = message.chars().take(1024).collect();
        Self {
            class,
            service: service.to_owned(),
            operation: operation.to_owned(),
            code: code.map(str::to_owned),
            message,
            request_id: None,
        }
    }
    /// What to make of it.
    pub const fn class(&self) -> ErrorClass {
        self.class
    }
}
