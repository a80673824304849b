//! Nomad, as far as draining goes: nodes with work that moves.

use autoscaler_core::{Member, Phase};
use fleet::{InstanceId, NodeId, NodeView, Resources, Timestamp, Work, WorkKind};
use std::collections::BTreeMap;
use std::time::Duration;

/// What a node can hold: ten of [`service`].
pub const ROOM: Resources = Resources { cpu_mhz: 1000, memory_mib: 1000, disk_mib: 1000 };

/// An allocation of a service, a tenth of a node.
pub fn service() -> Work {
    Work {
        namespace: "default".to_owned(),
        job: "web".to_owned(),
        group: "front".to_owned(),
        kind: WorkKind::Service,
        priority: 50,
        needs: Resources { cpu_mhz: 100, memory_mib: 100, disk_mib: 100 },
        ports: Vec::new(),
        asks: Vec::new(),
        distinct_hosts: false,
        grace: Duration::from_secs(5),
        stopping: false,
    }
}

/// A node that takes work.
pub fn node(instance: &InstanceId, work: Vec<Work>) -> NodeView {
    NodeView {
        id: NodeId::new(format!("node-of-{instance}")),
        instance: instance.clone(),
        ready: true,
        eligible: true,
        unproved: false,
        draining: false,
        drain_until: None,
        capacity: ROOM,
        reserved_ports: Vec::new(),
        refuses: Vec::new(),
        work: work.into(),
    }
}

/// The nodes of a fleet.
#[derive(Clone, Debug, Default)]
pub struct Nodes {
    by_instance: BTreeMap<InstanceId, NodeView>,
    /// Whether work that is asked to leave stays until the deadline.
    pub stubborn: bool,
    /// Whether nodes are there before their instances serve.
    pub early: bool,
}

impl Nodes {
    /// Nodes of what serves; those of what is gone vanish.
    pub fn follow(&mut self, members: &[Member]) {
        self.by_instance.retain(|id, _| members.iter().any(|m| m.id == *id));
        let early = self.early;
        let has_node = |m: &&Member| m.phase == Phase::InService || (early && m.phase == Phase::Booting);
        for member in members.iter().filter(has_node) {
            self.by_instance.entry(member.id.clone()).or_insert_with(|| node(&member.id, Vec::new()));
        }
    }

    /// So much work for each.
    pub fn fill(&mut self, allocations: usize) {
        for node in self.by_instance.values_mut() {
            node.work = vec![service(); allocations].into();
        }
    }

    pub fn seen(&self) -> Vec<NodeView> {
        self.by_instance.values().cloned().collect()
    }

    pub fn of(&mut self, id: &InstanceId) -> &mut NodeView {
        self.by_instance.get_mut(id).expect("a node")
    }

    pub fn has_work(&self, id: &InstanceId) -> bool {
        self.by_instance.get(id).is_some_and(|node| !node.work.is_empty())
    }

    /// Whether an instance has no node, or one that takes work or has not been emptied yet.
    pub fn takes_work(&self, id: &InstanceId) -> bool {
        self.by_instance.get(id).is_none_or(|node| node.eligible || !node.work.is_empty())
    }

    pub fn work(&self) -> usize {
        self.by_instance.values().map(|node| node.work.len()).sum()
    }

    pub fn lose(&mut self, id: &InstanceId) {
        self.by_instance.remove(id);
    }

    pub fn cordon(&mut self, id: &InstanceId) {
        self.of(id).eligible = false;
    }

    pub fn drain(&mut self, id: &InstanceId, deadline: Timestamp) {
        let node = self.of(id);
        (node.eligible, node.draining, node.drain_until) = (false, true, Some(deadline));
    }

    pub fn restore(&mut self, id: &InstanceId) {
        let node = self.of(id);
        (node.eligible, node.draining, node.drain_until) = (true, false, None);
    }

    /// Work that is asked to leave goes to where most is free; at the deadline what is left is stopped, and started
    /// elsewhere, if it is anywhere.
    pub fn work_on(&mut self, now: Timestamp) {
        let draining: Vec<InstanceId> = self
            .by_instance
            .values()
            .filter(|node| node.draining)
            .map(|node| node.instance.clone())
            .collect();
        for id in draining {
            let over = self.of(&id).drain_until.is_some_and(|until| until <= now);
            let leaves = if over { usize::MAX } else { usize::from(!self.stubborn) * 2 };
            for _ in 0..leaves.min(self.of(&id).work.len()) {
                let Some(work) = self.of(&id).work.pop() else { break };
                let roomiest =
                    self.by_instance.values_mut().filter(|n| n.eligible).min_by_key(|n| n.work.len());
                if let Some(node) = roomiest {
                    node.work.push(work);
                }
            }
            let node = self.of(&id);
            if node.work.is_empty() {
                (node.draining, node.drain_until) = (false, None);
            }
        }
    }
}
