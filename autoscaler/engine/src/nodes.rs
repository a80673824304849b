//! What Nomad says of the instances' nodes: asked for every cycle while something drains, else now and then, and at
//! once when its event stream hints at something.

use crate::calls::CallKind;
use crate::held::Held;
use crate::region::RegionState;
use crate::{Blocked, CallCount, CallId, Engine, NodesSeen, Now, Read, Record, State};
use autoscaler_core::{DrainBy, ScaledGroup, Workload};
use fleet::{ApiError, FleetName, NodeId, NodeView, Resources, Timestamp};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// What is asked of no region.
#[derive(Debug, Default)]
pub(crate) struct Services {
    /// Nomad's nodes.
    pub nodes: Poll,
    /// What leaders leave.
    pub ledgers: Poll,
    /// Reads that fail, as of a region.
    pub failing: RegionState,
}

/// A question that is asked again and again.
#[derive(Debug, Default)]
pub(crate) struct Poll {
    /// The call that is under way.
    pub call: Option<CallId>,
    /// When it was last asked.
    pub asked: Option<Duration>,
    /// Something happened that makes the last answer old.
    pub look: bool,
}

/// Whether anything about a fleet is asked of Nomad.
pub(crate) fn uses_nomad(held: &Held) -> bool {
    let base = &held.policy.base;
    let in_force = &held.state.policy;
    let of = |policy: &autoscaler_core::Policy| {
        policy.drain.by == DrainBy::Nomad
            || matches!(policy.workload, Workload::System | Workload::Service(_))
    };
    of(base) || of(in_force)
}

/// Our own servers' calls are nobody's budget: whatever they fail with, the next cycle tries again, and a token that is put right
/// works within seconds.
const AGAIN_AT_LEAST: Duration = Duration::from_secs(5);
/// A look at the nodes that has failed is made again upon a hint so long after it was begun, and not sooner: hints come
/// in storms.
const AGAIN_UPON_HINT: Duration = Duration::from_secs(1);

impl Engine {
    /// Nomad's event stream hints at a change. It hears of one only while its token is good: what was denied before may
    /// not be now.
    pub(crate) fn nodes_moved(&mut self, now: Now) {
        let Services { nodes, failing, .. } = &mut self.services;
        nodes.look = true;
        failing.hasten("nodes", nodes.asked.map_or(now.monotonic, |asked| asked + AGAIN_UPON_HINT));
        self.ask_nodes(now);
    }

    /// Asks for the nodes, where that is due.
    pub(crate) fn ask_nodes(&mut self, now: Now) {
        if !self.config.nomad || self.stopping.is_some() || self.services.nodes.call.is_some() {
            return;
        }
        let using: Vec<&Held> = self.fleets.values().filter(|held| uses_nomad(held)).collect();
        if using.is_empty() || !self.services.failing.may("nodes", now.monotonic) {
            return;
        }
        let busy =
            |held: &&Held| held.state.drains() || held.lane_is_busy() || !held.state.notices.is_empty();
        let every = if using.iter().any(busy) { self.config.cycle } else { self.config.nodes_every };
        if !(self.services.nodes.look || self.is_due(self.services.nodes.asked, every, now)) {
            return;
        }
        let mut groups: Vec<ScaledGroup> =
            using.iter().flat_map(|held| groups_of(&held.state)).cloned().collect();
        groups.sort();
        groups.dedup();
        let names: Vec<FleetName> = using.iter().map(|held| held.name.clone()).collect();
        let kind = CallKind::Nodes { fleets: names.clone() };
        let call = self.ask_service(kind, Read::Nodes { groups }, &names, now);
        let nodes = &mut self.services.nodes;
        nodes.call = Some(call);
        nodes.asked = Some(now.monotonic);
        nodes.look = false;
    }

    /// A look at the nodes has ended.
    pub(crate) fn nodes_told(
        &mut self,
        fleets: &[FleetName],
        answer: Result<NodesSeen, ApiError>,
        at: Timestamp,
        now: Now,
    ) {
        self.services.nodes.call = None;
        let Some(NodesSeen { nodes, blocked, groups }) = self.service_ended("nodes", answer, now) else {
            self.services.nodes.look = true;
            return;
        };
        let mut by_fleet: BTreeMap<FleetName, Vec<NodeView>> = BTreeMap::new();
        let told = self.owners_by_ledger();
        for node in nodes {
            let shown = self.owners.get(&node.instance);
            if let Some(name) = shown.or_else(|| told.get(&node.instance).copied()) {
                by_fleet.entry(name.clone()).or_default().push(node);
            }
        }
        let mut wanting: BTreeMap<FleetName, Resources> = BTreeMap::new();
        for Blocked { needs, fits } in &blocked {
            let Some(name) = fits.iter().find_map(|instance| self.owners.get(instance)) else { continue };
            let all = wanting.entry(name.clone()).or_default();
            *all = all.plus(*needs);
        }
        for name in fleets {
            let Some(held) = self.fleets.get_mut(name) else { continue };
            if held.state.nodes_at.is_some_and(|seen| seen > at) {
                continue;
            }
            let first = held.state.nodes_at.is_none();
            let shown = by_fleet.remove(name).unwrap_or_default();
            let (seen, gone) = between(&held.state, shown);
            let blocked = wanting.remove(name).unwrap_or_default();
            let of_fleet: Vec<_> = groups
                .iter()
                .filter(|count| {
                    groups_of(&held.state).any(|group| {
                        (&group.namespace, &group.job, &group.group)
                            == (&count.namespace, &count.job, &count.group)
                    })
                })
                .cloned()
                .collect();
            let blocked = (blocked != held.state.blocked).then_some(blocked);
            let groups = (of_fleet != held.state.groups).then_some(of_fleet);
            let changed =
                first || !seen.is_empty() || !gone.is_empty() || blocked.is_some() || groups.is_some();
            held.record(Record::Nodes { at, seen, gone, blocked, groups });
            let waits = held.settle_lane(at, now);
            if changed || waits {
                self.make_due(name, now);
            }
        }
        if self.services.nodes.look {
            self.ask_nodes(now);
        }
    }

    /// Keeps account of how a question to no region ended.
    pub(crate) fn service_ended<T>(
        &mut self,
        operation: &'static str,
        answer: Result<T, ApiError>,
        now: Now,
    ) -> Option<T> {
        let class = answer.as_ref().err().map_or("ok", |error| error.class().label());
        *self.metrics.calls.entry(CallCount { operation, class }).or_default() += 1;
        match answer {
            Ok(answer) => {
                if self.services.failing.succeeded(operation, "") {
                    self.read_recovered(operation, now);
                }
                Some(answer)
            }
            Err(error) => {
                let streak = self.services.failing.failed(operation, "", error, now.wall, now.monotonic);
                let alarm = crate::answers::alarm_of(operation, streak, now);
                self.services.failing.hasten(operation, now.monotonic + AGAIN_AT_LEAST);
                if let Some(alarm) = alarm {
                    self.raise(None, operation, alarm, now);
                }
                None
            }
        }
    }
}

/// The groups that are scaled along with a fleet.
fn groups_of(state: &State) -> impl Iterator<Item = &ScaledGroup> {
    let groups = match &state.policy.workload {
        Workload::Service(groups) => groups.as_slice(),
        Workload::Unknown | Workload::System | Workload::Spreads => &[],
    };
    groups.iter()
}

/// What a look has changed: nodes that are new or differ, and those that are no more.
fn between(state: &State, shown: Vec<NodeView>) -> (Vec<NodeView>, Vec<NodeId>) {
    let ids: BTreeSet<&NodeId> = shown.iter().map(|node| &node.id).collect();
    let gone = state.nodes.keys().filter(|id| !ids.contains(id)).cloned().collect();
    let differs = |node: &NodeView| state.nodes.get(&node.id).is_none_or(|known| known.seen != *node);
    (shown.into_iter().filter(differs).collect(), gone)
}
