//! Sizing: estimate demand, forecast it, decide how much capacity keeps the promise.

use serde::{Deserialize, Serialize};

/// What has been learned of a fleet's demand: bounded, folded from samples, rebuilt from the journal.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Learned {}
