//! A fleet's state: what its records fold to.

use crate::InstanceSeen;
use fleet::{Power, Timestamp};
use serde::{Deserialize, Serialize};

/// An instance, and what is known beyond one describe.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Known {
    /// As it was last seen.
    pub seen: InstanceSeen,
    /// Since when it has been seen in its state.
    pub state_since: Timestamp,
    /// When it was first seen running.
    pub running_since: Option<Timestamp>,
    /// When its agent was first heard.
    pub serves_since: Option<Timestamp>,
    /// Since when describes do not show it any more.
    pub missing_since: Option<Timestamp>,
}

/// What served from a moment on, until the next.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Served {
    /// From when.
    pub from: Timestamp,
    /// The power that served.
    pub serving: Power,
    /// The power that ran, booting instances included.
    pub running: Power,
    /// How many instances served.
    pub instances: u32,
}
