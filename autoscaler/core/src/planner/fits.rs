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
        let all = draft.nodes();
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
            for work in in_order(node.movable(true).collect()) {
                room.place(work);
            }
        }
        Some(room)
    }

    /// Lets an instance go if what would have to move from it finds a place: then the places are taken. Else nothing
    /// has changed.
    ///
    /// First the largest piece, each where it leaves least: O(work x nodes).
    pub fn let_go(&mut self, id: &InstanceId) -> bool {
        let Some(node) = self.all.get(id).copied() else { return true };
        let own = self.nodes.remove(id);
        let moved = own.iter().flat_map(|free| &free.moved).copied();
        // System jobs run everywhere already: they do not move.
        let work = in_order(node.movable(true).chain(moved).collect());
        let mut places = Vec::with_capacity(work.len());
        for work in work {
            let Some(place) = self.place(work) else {
                places.into_iter().rev().for_each(|place| self.give_up(place));
                self.nodes.extend(own.map(|free| (&node.instance, free)));
                return false;
            };
            places.push(place);
        }
        true
    }

    fn place(&mut self, work: &'a Work) -> Option<Place<'a>> {
        let fitting = self.nodes.iter_mut().filter(|(_, free)| free.holds(work));
        let (instance, free) = fitting.min_by_key(|(_, free)| {
            let Resources { cpu_mhz, memory_mib, disk_mib } = free.resources;
            (memory_mib, cpu_mhz, disk_mib)
        })?;
        let first_of_job = free.take(work);
        free.moved.push(work);
        Some(Place { instance, work, first_of_job })
    }

    /// Gives up the place that was taken last.
    fn give_up(&mut self, Place { instance, work, first_of_job }: Place<'a>) {
        if let Some(free) = self.nodes.get_mut(instance) {
            free.moved.pop();
            free.give_back(work, first_of_job);
        }
    }
}

/// Work that has taken a place.
struct Place<'a> {
    instance: &'a InstanceId,
    work: &'a Work,
    /// Whether nothing of its job was there before.
    first_of_job: bool,
}

/// First the largest piece.
fn in_order(mut work: Vec<&Work>) -> Vec<&Work> {
    work.sort_by_key(|work| (Reverse(work.needs), *work));
    work
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
        for work in node.work.iter() {
            free.take(work);
        }
        free
    }

    fn holds(&self, work: &Work) -> bool {
        work.needs.fit(self.resources)
            && work.ports.iter().all(|port| !self.ports.contains(port))
            && work.asks.iter().all(|asked| !self.refuses.contains(asked))
            && !(work.distinct_hosts && self.jobs.contains(&(&*work.namespace, &*work.job)))
    }

    /// * returns: whether it is the first of its job here.
    fn take(&mut self, work: &'a Work) -> bool {
        self.resources = self.resources.less(work.needs);
        self.ports.extend(&work.ports);
        self.jobs.insert((&work.namespace, &work.job))
    }

    /// Undoes [`Free::take`] of what it holds: what that needs was there, and its ports were free.
    fn give_back(&mut self, work: &'a Work, first_of_job: bool) {
        self.resources = self.resources.plus(work.needs);
        for port in &work.ports {
            self.ports.remove(port);
        }
        if first_of_job {
            self.jobs.remove(&(&*work.namespace, &*work.job));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fleet::WorkKind;
    use std::time::Duration;

    fn work(job: &str, cpu_mhz: u64) -> Work {
        Work {
            namespace: "default".to_owned(),
            job: job.to_owned(),
            group: "front".to_owned(),
            kind: WorkKind::Service,
            priority: 50,
            needs: Resources { cpu_mhz, ..Resources::default() },
            ports: Vec::new(),
            asks: Vec::new(),
            distinct_hosts: false,
            grace: Duration::ZERO,
            stopping: false,
        }
    }

    fn node(instance: &str, work: Vec<Work>) -> NodeView {
        NodeView {
            id: format!("n-{instance}").into(),
            instance: instance.into(),
            ready: true,
            eligible: true,
            unproved: false,
            draining: false,
            drain_until: None,
            capacity: Resources { cpu_mhz: 1000, ..Resources::default() },
            reserved_ports: Vec::new(),
            refuses: Vec::new(),
            work: work.into(),
        }
    }

    #[test]
    fn who_finds_no_place_leaves_every_place_as_it_was() {
        let web = || Work { ports: vec![80], distinct_hosts: true, ..work("web", 600) };
        let nodes = [
            node("stays", vec![work("db", 400)]),
            // The first of these would fit onto the one that stays, the second nowhere.
            node("two", vec![web(), work("batch", 300)]),
            node("full", vec![work("batch", 1000)]),
            node("one", vec![web()]),
        ];
        let all = || nodes.iter().map(|node| (&node.instance, node)).collect();
        let staying = nodes.iter().filter(|node| node.instance.as_str() != "one");
        let mut room =
            Room { nodes: staying.map(|node| (&node.instance, Free::on(node))).collect(), all: all() };
        assert!(!room.let_go(&"two".into()));
        assert!(room.nodes.contains_key(&InstanceId::from("two")), "it takes work as before");
        assert!(room.let_go(&"one".into()), "room, port and job are free again");
        assert!(!room.let_go(&"one".into()), "and now they are not");
    }
}
