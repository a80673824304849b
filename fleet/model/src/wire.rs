//! What node agents send to the autoscaler, version 1. JSON; unknown fields are refused, so that a
//! misunderstanding shows at once.

use crate::{InstanceId, Timestamp};
use serde::{Deserialize, Serialize};

/// The version that this crate speaks, in every batch.
pub const VERSION: u32 = 1;
/// The most samples in one batch.
pub const MAX_SAMPLES: usize = 360;
/// The largest body of a batch, in bytes.
pub const MAX_BODY_BYTES: usize = 64 * 1024;

/// `POST /v1/samples`: one agent's samples since its last batch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SampleBatch {
    /// [`VERSION`].
    pub version: u32,
    /// Who speaks; must be the instance whose private address the call comes from.
    pub instance: InstanceId,
    /// Counts batches of this boot from 0, so that a gap shows.
    pub sequence: u64,
    /// Oldest first, at most [`MAX_SAMPLES`].
    pub samples: Vec<AgentSample>,
}

/// What one node did in one period.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AgentSample {
    /// The end of the period, in milliseconds since 1970.
    pub end_ms: Timestamp,
    /// Its length in milliseconds, 1000 to 300000; 10000 by default.
    pub period_ms: u32,
    /// Busy share of all cores, steal counted as busy, 0..=1.
    pub utilization: f64,
    /// Runnable tasks per core, mean over the period; 0 or more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub load_per_core: Option<f64>,
    /// PSI `cpu some` over the period, 0..=1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub psi: Option<f64>,
}

/// The answer to a batch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SamplesAccepted {
    /// How many samples were new and usable.
    pub accepted: usize,
}
