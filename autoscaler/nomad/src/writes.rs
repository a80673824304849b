//! What is changed in Nomad. Every write sets and never adds: repeating one is safe, and is how one that is
//! `Unclear` is settled.

use crate::client::{Nomad, Request};
use crate::error::NomadError;
use crate::facts::DrainDeadline;
use fleet::NodeId;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// A drain, and what is written down of it on the node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drain {
    /// When what is left is told to stop.
    pub deadline: DrainDeadline,
    /// Whether system jobs stay: they end with the instance.
    pub ignore_system_jobs: bool,
    /// Why, in a word, kept on the node under [`Drain::REASON`].
    pub reason: String,
}

impl Drain {
    /// The key of the reason in the node's `LastDrain.Meta`.
    pub const REASON: &str = "reason";
    /// The key of who began it.
    pub const BY: &str = "by";
    /// The value of [`Drain::BY`].
    pub const MUSTER: &str = "muster";

    /// The body of `POST /v1/node/:id/drain`.
    fn body(&self, node: &NodeId) -> Value {
        let meta = BTreeMap::from([(Self::BY, Self::MUSTER), (Self::REASON, &*self.reason)]);
        let spec = json!({ "Deadline": nanos(self.deadline), "IgnoreSystemJobs": self.ignore_system_jobs });
        json!({ "NodeID": node.as_str(), "DrainSpec": spec, "MarkEligible": false, "Meta": meta })
    }
}

/// Nomad's nanoseconds: -1 for at once, 0 for never.
fn nanos(deadline: DrainDeadline) -> i64 {
    match deadline {
        DrainDeadline::AtOnce => -1,
        DrainDeadline::Never => 0,
        DrainDeadline::Within(time) if time.as_millis() == 0 => -1,
        DrainDeadline::Within(time) => i64::try_from(time.as_nanos()).unwrap_or(i64::MAX),
    }
}

/// What Nomad answers to a change of a node. Nomad 1.10 leaves its `NodeModifyIndex` at 0.
#[derive(Deserialize)]
struct Changed {
    #[serde(rename = "Index")]
    index: u64,
}

impl Nomad {
    /// Makes a node ineligible and drains it, in one step.
    ///
    /// * returns: the index of the change: what is heard with a smaller one happened before.
    ///
    /// Idempotent but for the deadline, which counts from the last call: send what is left of it. A drain that
    /// is under way is replaced. Over for Nomad is not empty: see [`crate::facts::NodeFact::movable`].
    /// `Unclear`: may have happened; read the node, or repeat. `NotFound`: there is no such node. The token needs
    /// `node:write`.
    pub async fn drain(&self, node: &NodeId, drain: &Drain) -> Result<u64, NomadError> {
        let path = ["node", node.as_str(), "drain"];
        let changed: Changed = self.ask(&Request::write("drain node", &path, &drain.body(node))).await?;
        Ok(changed.index)
    }

    /// Ends a drain where it is, and makes the node eligible again. What was moved stays moved.
    ///
    /// Idempotent: without a drain, only eligible is set. Errors and index as for [`Nomad::drain`].
    pub async fn cancel_drain(&self, node: &NodeId) -> Result<u64, NomadError> {
        let path = ["node", node.as_str(), "drain"];
        let meta = json!({ Drain::BY: Drain::MUSTER });
        let body = json!({ "NodeID": node.as_str(), "DrainSpec": null, "MarkEligible": true, "Meta": meta });
        let changed: Changed = self.ask(&Request::write("cancel drain of node", &path, &body)).await?;
        Ok(changed.index)
    }

    /// Says whether new work may be placed on a node; what runs there stays.
    ///
    /// Idempotent. `Conflict`: it is drained, and cannot be made eligible before that is cancelled. Other errors
    /// and index as for [`Nomad::drain`].
    pub async fn set_eligible(&self, node: &NodeId, eligible: bool) -> Result<u64, NomadError> {
        let path = ["node", node.as_str(), "eligibility"];
        let word = if eligible { "eligible" } else { "ineligible" };
        let body = json!({ "NodeID": node.as_str(), "Eligibility": word });
        let changed: Changed = self.ask(&Request::write("set eligibility of node", &path, &body)).await?;
        Ok(changed.index)
    }

    /// Sets the count of a group; `message` is kept with it, for people.
    ///
    /// Idempotent, but that each call is noted as a scaling event of its own. `NotFound`: no such job.
    /// `Conflict`: a deployment of the job is under way; again when it is over. `Malformed`: no such group, or a
    /// count outside the job's own `scaling` block. `Unclear`: may have happened; read the counts, or repeat. The
    /// token needs `scale-job`.
    pub async fn scale(
        &self,
        namespace: &str,
        job: &str,
        group: &str,
        count: u32,
        message: &str,
    ) -> Result<(), NomadError> {
        let query = [("namespace", namespace)];
        let body = json!({ "Count": count, "Target": { "Group": group }, "Message": message });
        let path = ["job", job, "scale"];
        let request = Request { query: &query, ..Request::write("scale job", &path, &body) };
        self.ask::<serde::de::IgnoredAny>(&request).await.map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_deadline_of_nothing_is_at_once_and_not_never() {
        assert_eq!(nanos(DrainDeadline::Within(Duration::from_micros(3))), -1);
        assert_eq!(nanos(DrainDeadline::Within(Duration::from_secs(90))), 90_000_000_000);
        assert_eq!(nanos(DrainDeadline::Within(Duration::MAX)), i64::MAX);
        assert_eq!(nanos(DrainDeadline::Never), 0);
    }

    #[test]
    fn a_drain_says_who_and_why() {
        let drain = Drain {
            deadline: DrainDeadline::AtOnce,
            ignore_system_jobs: true,
            reason: "spot-interruption".to_owned(),
        };
        let meta = json!({ "by": "muster", "reason": "spot-interruption" });
        let spec = json!({ "Deadline": -1, "IgnoreSystemJobs": true });
        let body = json!({ "NodeID": "n", "DrainSpec": spec, "MarkEligible": false, "Meta": meta });
        assert_eq!(drain.body(&NodeId::from("n")), body);
    }
}
