//! What goes over HTTP besides [`fleet::wire`]: JSON, UTF-8. Times in answers are milliseconds since 1970, in
//! requests RFC 3339; durations in requests are texts such as `1h30m`.
//!
//! | request | answer |
//! |---|---|
//! | `POST /v1/samples` | [`fleet::wire::SampleBatch`] in, [`fleet::wire::SamplesAccepted`] out |
//! | `GET /v1/health` | [`Health`]: the process is alive |
//! | `GET /v1/ready` | [`Ready`]: 503 while it is not |
//! | `GET /v1/fleets` | [`Status`] |
//! | `GET /v1/fleets/{name}` | [`FleetStatus`] |
//! | `GET /v1/fleets/{name}/decisions?at=&limit=` | [`Decisions`] |
//! | `POST /v1/fleets/{name}/pause` | [`PauseOrder`] in, [`Ordered`] out |
//! | `POST /v1/fleets/{name}/resume` | [`ResumeOrder`] in, [`Ordered`] out |
//! | `POST /v1/fleets/{name}/override` | [`OverrideOrder`] in, [`Ordered`] out |
//! | `POST /v1/fleets/{name}/end-override` | [`ResumeOrder`] in, [`Ordered`] out |
//! | `POST /v1/fleets/{name}/rollout-start` | [`RolloutStart`] in, [`RolloutOrdered`] out |
//! | `POST /v1/fleets/{name}/rollout-pause`, `rollout-resume`, `rollout-abort` | [`ResumeOrder`] in, [`RolloutOrdered`] out |
//! | `POST /v1/all/pause`, `POST /v1/all/resume` | the same for every fleet |
//! | `GET /metrics` | OpenMetrics |
//!
//! What is refused is answered with [`ErrorBody`] and a status: 400 not understood, 401 no or a wrong token, 403
//! not for this caller, 404 no such fleet, instance or route, 408 too slow, 413 too large, 422 understood and
//! impossible, 429 and 503 again in a second.

use fleet::{FleetName, Timestamp};
use serde::{Deserialize, Serialize};

pub use autoscaler_core::Rollout;
pub use autoscaler_engine::{Decided, FleetStatus, Status};

/// Why a request was refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorBody {
    /// In words.
    pub error: String,
}

/// `GET /v1/health`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// Always true: who is not alive does not answer.
    pub alive: bool,
    /// The version of the program.
    pub version: String,
}

/// `GET /v1/ready`: whether policies are loaded and every fleet has had its first decision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ready {
    /// Whether nothing is missing.
    pub ready: bool,
    /// What is missing.
    pub reasons: Vec<String>,
}

/// `GET /v1/fleets/{name}/decisions`.
///
/// Without `at`: the last decisions that are worth reading (a steady hour is one of them), the newest last. With
/// `at`: the one decision that was in force then, made again from the journal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Decisions {
    /// The fleet.
    pub fleet: FleetName,
    /// The decisions, oldest first.
    pub decisions: Vec<Decided>,
}

/// The query of `GET /v1/fleets/{name}/decisions`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DecisionsQuery {
    /// A time in RFC 3339: the decision that was in force then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<String>,
    /// The most decisions to answer with; the newest are kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
}

/// Leave the fleet alone for a while.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PauseOrder {
    /// For how long, such as `1h`.
    #[serde(rename = "for")]
    pub lasts: String,
    /// Who says so.
    pub by: String,
    /// Why.
    pub reason: String,
}

/// End a pause, take a ceded fleet over again, or end an override.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResumeOrder {
    /// Who says so.
    pub by: String,
    /// Why.
    pub reason: String,
}

/// Bend the policy for a while; at least one of `min`, `max` and `target`. Replaces an override that is in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OverrideOrder {
    /// `capacity.min` meanwhile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<u32>,
    /// `capacity.max` meanwhile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<u32>,
    /// The utilisation to hold meanwhile, such as `60%`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// For how long, such as `1h`.
    #[serde(rename = "for")]
    pub lasts: String,
    /// Who says so.
    pub by: String,
    /// Why.
    pub reason: String,
}

/// Roll an image out, or a version of the launch template: exactly one of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RolloutStart {
    /// The image, such as `ami-0123456789abcdef0`: a version is made that is like the one that is launched now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// The number of a version that is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<u64>,
    /// Who says so.
    pub by: String,
    /// Why.
    pub reason: String,
}

/// An order about a roll-out was taken, and is on disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RolloutOrdered {
    /// For which fleet.
    pub fleet: FleetName,
    /// The roll-out, as it is with the order.
    pub rollout: Rollout,
}

/// An order was taken, and is on disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ordered {
    /// For which fleet; `None`: for all of them.
    pub fleet: Option<FleetName>,
    /// When it ends by itself, if it does.
    pub until: Option<Timestamp>,
    /// Whether it was to end something, and there was nothing of that kind.
    #[serde(default)]
    pub nothing_to_end: bool,
}
