//! What goes wrong between a service and its client, on demand.

use fleet_sim::Rng;
use serde::{Deserialize, Serialize};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A fault: which requests it hits, how many of them, and what becomes of these.
///
/// As JSON (see the control endpoint): `{"actions": ["ModifyFleet"], "share": 0.3, "kind": {"type": "throttle"}}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HttpFault {
    /// What happens.
    pub kind: FaultKind,
    /// The actions that it hits, in the services' own words (`ModifyFleet`; IMDS is `imds`); empty: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub actions: Vec<String>,
    /// The callers that it hits, by application id or access key; empty: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub callers: Vec<String>,
    /// How many of these requests it hits, 0..=1.
    #[serde(default = "one")]
    pub share: f64,
    /// How many times more; `None`: until it is taken away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub times: Option<u32>,
}

fn one() -> f64 {
    1.0
}

impl HttpFault {
    /// A fault that hits every request of some actions (none named: of all) until it is taken away.
    pub fn new(kind: FaultKind, actions: &[&str]) -> Self {
        let actions = actions.iter().map(|action| (*action).to_owned()).collect();
        Self { kind, actions, callers: Vec::new(), share: 1.0, times: None }
    }
}

/// What becomes of a request that a fault hits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum FaultKind {
    /// It is carried out this much later, by the clock that the server waits on, whether or not the client still waits.
    Latency {
        /// How much.
        millis: u64,
    },
    /// Refused for its rate, in the service's own way. Nothing is done.
    Throttle,
    /// Refused for want of permission, in the service's own way. Nothing is done.
    Deny,
    /// Refused with a status and a code. Nothing is done.
    Refuse {
        /// The HTTP status, 400 to 599.
        status: u16,
        /// The error code.
        code: String,
    },
    /// The connection is closed; nothing is done.
    CloseBefore,
    /// It takes effect, and the connection is closed without an answer.
    CloseAfter,
    /// It takes effect, and is answered with a 500.
    FailAfter,
    /// It takes effect, and half of the answer arrives before the connection is closed.
    CutAnswer,
}

/// The faults in force.
#[derive(Debug)]
pub(crate) struct Faults {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    faults: Vec<HttpFault>,
    chance: Rng,
}

impl Faults {
    pub fn new(seed: u64) -> Self {
        Self { state: Mutex::new(State { faults: Vec::new(), chance: Rng::new(seed) }) }
    }

    fn locked(&self) -> MutexGuard<'_, State> {
        // A panic elsewhere leaves nothing half done in here.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The faults in force.
    pub fn list(&self) -> Vec<HttpFault> {
        self.locked().faults.clone()
    }

    /// Puts other faults in force.
    pub fn set(&self, faults: Vec<HttpFault>) {
        self.locked().faults = faults;
    }

    /// Which faults hit this request, in their order; each use counts.
    pub fn strike(&self, action: &str, caller: &str) -> Vec<FaultKind> {
        let mut state = self.locked();
        let State { faults, chance } = &mut *state;
        let mut hits = Vec::new();
        for fault in faults.iter_mut() {
            let named = |names: &[String], name: &str| names.is_empty() || names.iter().any(|n| n == name);
            if fault.times == Some(0) || !named(&fault.actions, action) || !named(&fault.callers, caller) {
                continue;
            }
            if fault.share < 1.0 && !chance.chance(fault.share) {
                continue;
            }
            if let Some(times) = &mut fault.times {
                *times -= 1;
            }
            hits.push(fault.kind.clone());
        }
        hits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_hits_about_as_many_and_a_count_exactly_as_many() {
        let faults = Faults::new(7);
        let share = HttpFault { share: 0.3, ..HttpFault::new(FaultKind::Throttle, &["ModifyFleet"]) };
        let twice = HttpFault {
            times: Some(2),
            callers: vec!["muster".into()],
            ..HttpFault::new(FaultKind::CloseAfter, &["TerminateInstances"])
        };
        faults.set(vec![share, twice]);
        let hits = (0..10_000).filter(|_| !faults.strike("ModifyFleet", "x").is_empty()).count();
        assert!((2800..3200).contains(&hits), "{hits} of 10000");
        assert!(faults.strike("DescribeFleets", "muster").is_empty());
        assert!(faults.strike("TerminateInstances", "other").is_empty());
        let hits = (0..10).map(|_| faults.strike("TerminateInstances", "muster").len()).sum::<usize>();
        assert_eq!(hits, 2);
    }

    #[test]
    fn faults_read_as_documented() {
        let text = r#"{"actions": ["ModifyFleet"], "share": 0.3, "kind": {"type": "latency", "millis": 50}}"#;
        let fault: HttpFault = serde_json::from_str(text).expect("a fault");
        let expected =
            HttpFault { share: 0.3, ..HttpFault::new(FaultKind::Latency { millis: 50 }, &["ModifyFleet"]) };
        assert_eq!(fault, expected);
        let readme = include_str!("../README.md");
        let example =
            readme.split("```json").nth(1).and_then(|rest| rest.split("```").next()).expect("an example");
        let faults: Vec<HttpFault> = serde_json::from_str(example).expect("faults");
        assert_eq!(
            faults[1],
            HttpFault { times: Some(1), ..HttpFault::new(FaultKind::CloseAfter, &["TerminateInstances"]) }
        );
        for wrong in [r#"{"kind": {"type": "nova"}}"#, r#"{"kind": {"type": "deny"}, "shares": 1}"#] {
            assert!(serde_json::from_str::<HttpFault>(wrong).is_err(), "{wrong}");
        }
    }
}
