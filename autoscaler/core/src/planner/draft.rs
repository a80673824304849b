//! The plan while it is being made.

use super::rollout;
use crate::{Action, Hold, Memory, Policy, Remark, Report, Snapshot};
use fleet::ports::Change;
use fleet::{FleetView, InstanceId, NodeView, Timestamp};
use std::collections::BTreeMap;
use std::time::Duration;

/// Everything that the steps of planning share: what they read, and what they fill in.
pub(super) struct Draft<'a> {
    pub policy: &'a Policy,
    pub seen: &'a Snapshot,
    /// Nomad's nodes by their instances, of several of one the one that is meant last.
    nodes: Vec<(&'a InstanceId, &'a NodeView)>,
    pub now: Timestamp,
    /// For the next cycle.
    pub memory: Memory,
    /// Why, and why not.
    pub report: Report,
    /// What will be done, in order.
    pub actions: Vec<Action>,
    /// When to plan again at the latest, where something falls due then.
    pub due: Option<Timestamp>,
    /// Whether the fleet must be looked at again before anything is written.
    pub look: bool,
}

impl<'a> Draft<'a> {
    pub fn new(policy: &'a Policy, seen: &'a Snapshot, memory: &Memory, now: Timestamp) -> Self {
        let nodes = seen.nodes.iter().flat_map(|nodes| &nodes.what);
        let mut nodes: Vec<_> = nodes.map(|node| (&node.instance, node)).collect();
        nodes.sort_by_key(|(instance, node)| (*instance, node.ready, &node.id));
        Self {
            policy,
            seen,
            nodes,
            now,
            memory: memory.clone(),
            report: Report::default(),
            actions: Vec::new(),
            due: None,
            look: false,
        }
    }

    /// Nomad's nodes, each as [`Self::node_of`] has it.
    pub fn nodes(&self) -> BTreeMap<&'a InstanceId, &'a NodeView> {
        // Of several of one the last stays, as they are sorted.
        self.nodes.iter().copied().collect()
    }

    /// Nomad's node on an instance: the one that is ready, where it has left several.
    pub fn node_of(&self, id: &InstanceId) -> Option<&'a NodeView> {
        let after = self.nodes.partition_point(|(instance, _)| *instance <= id);
        let (instance, node) = self.nodes.get(after.checked_sub(1)?)?;
        (*instance == id).then_some(*node)
    }

    /// Whether only the ledger knows of an instance: a leader before us has seen it, and we have not looked since.
    pub fn is_unseen(&self, id: &InstanceId) -> bool {
        self.seen.unseen.contains(id)
    }

    /// Notes a reason not to act; the same kind is noted once.
    pub fn hold(&mut self, hold: Hold) {
        if !self.report.holds.contains(&hold) {
            self.report.holds.push(hold);
        }
    }

    /// Notes a fact worth attention.
    pub fn remark(&mut self, remark: Remark) {
        self.report.remarks.push(remark);
    }

    /// Something falls due then.
    pub fn falls_due(&mut self, at: Timestamp) {
        if at > self.now {
            self.due = Some(self.due.map_or(at, |due| due.min(at)));
        }
    }

    /// How old something is that was seen then. What lies ahead of now is as far off as it lies ahead: a clock
    /// has jumped, and nobody knows how old it really is.
    pub fn age(&self, at: Timestamp) -> Duration {
        self.now.since(at).max(at.since(self.now))
    }

    /// Plans the one modification of this cycle, and remembers it as under way.
    pub fn modify(&mut self, view: &FleetView, change: Change) {
        // What is to be launched goes with whatever is written first.
        let launch = rollout::to_tell(self, view);
        if let Some(version) = launch {
            rollout::note_told(self, version);
        }
        let change = Change { launch, ..change };
        self.actions.push(Action::Modify { fleet: view.fleet_ref(), from: view.target, change });
        self.memory.expected = Some(crate::Expected {
            target: change.target,
            on_demand_target: change.on_demand_target,
            written: Some(self.now),
            shown: false,
            before: Some(Change::of_target(view.target, view.on_demand_target)),
        });
    }
}
