//! Where instances stand.

use crate::state::{KnownNode, silent_for};
use crate::{Known, State};
use autoscaler_core::{DrainBy, Phase};
use fleet::{InstanceId, InstanceState, Timestamp};
use std::time::Duration;

/// How old the newest pushed sample may be for the fleet to count as one whose agents speak: then a new instance
/// serves when its own agent is first heard, not when its boot time has passed.
const AGENTS_SPEAK: Duration = Duration::from_secs(120);
/// What says where instances stand: made once for all that are asked about.
#[derive(Debug)]
pub struct Phases<'a> {
    state: &'a State,
    now: Timestamp,
    /// Hardly any.
    draining: Vec<&'a KnownNode>,
}

impl Phases<'_> {
    /// Where an instance stands by all evidence, and since when.
    ///
    /// EC2's `running` says nothing about serving. Where agents speak, an instance serves when its own was first
    /// heard; where none does, when the policy's boot time has passed.
    pub fn of(&self, known: &Known) -> (Phase, Timestamp) {
        let launched = known.seen.launched;
        match known.seen.state {
            InstanceState::Pending => (Phase::Requested, launched),
            InstanceState::Running => {
                if let Some(since) = self.emptying_since(&known.seen.id) {
                    return (Phase::Draining, since);
                }
                if let Some(since) = known.serves_since {
                    return (Phase::InService, since);
                }
                let boot = self.state.policy.boot;
                let wait = if self.agents_speak() { silent_for(boot) } else { boot };
                let serves = launched + wait;
                let in_service = serves <= self.now;
                if in_service { (Phase::InService, serves) } else { (Phase::Booting, known.state_since) }
            }
            InstanceState::ShuttingDown
            | InstanceState::Terminated
            | InstanceState::Stopping
            | InstanceState::Stopped => (Phase::Leaving, known.state_since),
        }
    }

    /// Since when an instance is being emptied: its node drains, or the operator's hook is at it.
    fn emptying_since(&self, id: &InstanceId) -> Option<Timestamp> {
        let State { policy, memory, .. } = self.state;
        let node = self.draining.iter().find(|known| known.seen.instance == *id);
        let by_hook = || {
            let removals = (policy.drain.by == DrainBy::Hook).then_some(&memory.removals)?;
            removals.get(id).map(|removal| removal.since)
        };
        node.and_then(|known| known.drains_since).or_else(by_hook)
    }

    /// Whether agents push, so that silence means something.
    fn agents_speak(&self) -> bool {
        self.state.pushed.is_some_and(|pushed| self.now.since(pushed) <= AGENTS_SPEAK)
    }
}

impl State {
    /// Where an instance stands by all evidence, and since when; [`State::phases`] for more than one.
    pub fn phase(&self, known: &Known, now: Timestamp) -> (Phase, Timestamp) {
        self.phases(now).of(known)
    }

    /// What says where instances stand.
    pub fn phases(&self, now: Timestamp) -> Phases<'_> {
        let draining = self.nodes.values().filter(|known| known.drains_since.is_some());
        Phases { state: self, now, draining: draining.collect() }
    }
}
