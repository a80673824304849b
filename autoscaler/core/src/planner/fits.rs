//! Whether what runs on an instance has a place on those that stay.

use super::draft::Draft;
use super::herd::Herd;
use crate::DrainBy;
use fleet::{InstanceId, NodeView, Resources, Work};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

/// What is free on the nodes that stay.
pub(super) struct Room<'a> {
    /// By instance. Work is placed where it leaves least free, so that large pieces find a place, too.
    nodes: BTreeMap<&'a InstanceId, Free<'a>>,
    all: BTreeMap<&'a InstanceId, &'a NodeView>,
}

#[derive(Clone)]
struct Free<'a> {
    resources: Resources,
    ports: BTreeSet<u16>,
    /// What it does not give of what work asks for.
    refuses: &'a [String],
    /// Jobs that have work here: (namespace, job).
    jobs: BTreeSet<(&'a str, &'a str)>,
    /// What those who were let go before have moved here: it moves on when this one is let go, too.
    moved: Vec<&'a Work>,
}

impl<'a> Room<'a> {
    /// The room on the nodes of instances that nobody has told to go, once the work of those who go has taken its place
    /// there, as far as it finds one: it comes first, whoever is chosen. `None` where nodes are not known or nobody
    /// empties them: everything fits then.
    pub fn of(draft: &Draft<'a>, herd: &Herd<'_>) -> Option<Self> {
        if draft.policy.drain.by != DrainBy::Nomad {
            return None;
        }
        let all: BTreeMap<&InstanceId, &NodeView> = draft
            .seen
            .nodes
            .iter()
            .flat_map(|nodes| &nodes.what)
            .map(|node| (&node.instance, node))
            .collect();
        let stays = |node: &&NodeView| {
            let id = &node.instance;
            let goes = draft.memory.removals.contains_key(id) || draft.memory.replacements.contains_key(id);
            node.takes_work() && !goes && herd.get(id).is_some()
        };
        let nodes =
            all.values().copied().filter(stays).map(|node| (&node.instance, Free::on(node))).collect();
        let mut room = Self { nodes, all };
        let going = draft.memory.removals.keys().chain(draft.memory.replacements.keys());
        for node in going.filter_map(|id| room.all.get(id).copied()).collect::<Vec<_>>() {
            room.make_place(node.movable(true).collect());
        }
        Some(room)
    }

    /// Lets an instance go if what would have to move from it finds a place: then the places are taken. Else nothing
    /// has changed.
    ///
    /// First the largest piece, each where it leaves least: O(work x nodes).
    pub fn let_go(&mut self, id: &InstanceId) -> bool {
        let Some(node) = self.all.get(id).copied() else { return true };
        let before = self.nodes.clone();
        let moved = self.nodes.remove(id).map_or_else(Vec::new, |free| free.moved);
        // System jobs run everywhere already: they do not move.
        if self.make_place(node.movable(true).chain(moved).collect()) {
            return true;
        }
        self.nodes = before;
        false
    }

    /// Takes places for what finds one. * returns: whether all of it does.
    fn make_place(&mut self, mut work: Vec<&'a Work>) -> bool {
        work.sort_by_key(|work| (Reverse(work.needs), *work));
        work.into_iter().filter(|work| !self.place(work)).count() == 0
    }

    fn place(&mut self, work: &'a Work) -> bool {
        let best = self.nodes.values_mut().filter(|free| free.holds(work)).min_by_key(|free| {
            let Resources { cpu_mhz, memory_mib, disk_mib } = free.resources;
            (memory_mib, cpu_mhz, disk_mib)
        });
        let Some(free) = best else { return false };
        free.take(work);
        free.moved.push(work);
        true
    }
}

impl<'a> Free<'a> {
    fn on(node: &'a NodeView) -> Self {
        let mut free = Self {
            resources: node.capacity,
            ports: node.reserved_ports.iter().copied().collect(),
            refuses: &node.refuses,
            jobs: BTreeSet::new(),
            moved: Vec::new(),
        };
        node.work.iter().for_each(|work| free.take(work));
        free
    }

    fn holds(&self, work: &Work) -> bool {
        work.needs.fit(self.resources)
            && work.ports.iter().all(|port| !self.ports.contains(port))
            && work.asks.iter().all(|asked| !self.refuses.contains(asked))
            && !(work.distinct_hosts && self.jobs.contains(&(&*work.namespace, &*work.job)))
    }

    fn take(&mut self, work: &'a Work) {
        self.resources = self.resources.less(work.needs);
        self.ports.extend(&work.ports);
        self.jobs.insert((&work.namespace, &work.job));
    }
}
