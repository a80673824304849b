//! When a drain tells what is left to stop.

use serde::{Deserialize, Serialize};
use std::time::Duration;

/// When a drain tells what is left to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum DrainDeadline {
    /// At once: everything is told to stop now (Nomad's -1).
    AtOnce,
    /// This long after the drain began. What is shorter than a millisecond is sent as [`DrainDeadline::AtOnce`]:
    /// Nomad's 0 would mean never.
    Within(Duration),
    /// Never (Nomad's 0).
    Never,
}
