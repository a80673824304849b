//! What node agents send to the autoscaler, version 1. JSON; unknown fields are refused, so that a
//! misunderstanding shows at once.

use crate::{InstanceId, NoticeKind, Timestamp};
use serde::{Deserialize, Serialize};
use std::fmt;

/// The version that this crate speaks, in every batch.
pub const VERSION: u32 = 1;
/// The most samples in one batch.
pub const MAX_SAMPLES: usize = 360;
/// The most notices in one batch.
pub const MAX_NOTICES: usize = 64;
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

/// `POST /v1/notices`: everything that one agent's metadata service announces at present. Sent when something changes
/// and again until it is confirmed; sending it again changes nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NoticeBatch {
    /// [`VERSION`].
    pub version: u32,
    /// Who speaks, and whom the notices concern.
    pub instance: InstanceId,
    /// Counts batches of this boot from 0; for people who read both journals, nothing depends on it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sequence: Option<u64>,
    /// In any order, at most [`MAX_NOTICES`].
    pub notices: Vec<AgentNotice>,
}

/// What an agent has heard of its own instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AgentNotice {
    /// What is announced: one of what the metadata service tells, which a fleet's own scale-in is not.
    pub kind: NoticeKind,
    /// When it was given, as far as the metadata service says, else when the agent saw it first; in milliseconds
    /// since 1970.
    pub at_ms: Timestamp,
    /// When the instance goes, in milliseconds since 1970; left out where there is no deadline.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline_ms: Option<Timestamp>,
}

/// The answer to a batch of notices, once they are on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NoticesAccepted {
    /// How many of them were news.
    pub accepted: usize,
    /// How many of them are on disk, whoever told of them first. An agent sends again what is not.
    pub confirmed: usize,
    /// Whether this process acts on them. A standby keeps them and says no: the leader has to hear, too. So does one that may
    /// not change the fleet (paused, ceded, a dry run), or does not empty nodes: the agent empties its own.
    pub leader: bool,
}

/// `POST /v1/identify`: a node says who it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Identify {
    /// [`VERSION`].
    pub version: u32,
    /// What the metadata service has at `dynamic/instance-identity/rsa2048`: base64 of PKCS #7, with or without line
    /// ends and PEM's armour.
    pub pkcs7: String,
}

/// The answer to [`Identify`]: a bearer token for that instance alone. Whoever holds it speaks for the instance, so
/// `Debug` does not print it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identified {
    /// To be sent as `Authorization: Bearer`.
    pub token: String,
    /// Until when it holds, in milliseconds since 1970. Identifying again gives a new one at any time.
    pub expires: Timestamp,
}

impl fmt::Debug for Identified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { token: _, expires } = self;
        f.debug_struct("Identified").field("expires", expires).finish_non_exhaustive()
    }
}
