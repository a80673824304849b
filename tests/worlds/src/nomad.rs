//! Nomad in virtual time: a node on each instance that serves, work that moves when it is asked to leave.

use autoscaler_engine::{NodesSeen, Write};
use fleet::{FleetId, InstanceId, NodeId, NodeView, Resources, Shared, Timestamp, Work, WorkKind};
use fleet_sim::{InstancePhase, World};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// How long work may take to end once it is told to.
pub const GRACE: Duration = Duration::from_secs(5);
/// Nodes are looked at every ten seconds while anybody drains, and such a look holds a while.
const KNOWN_AFTER: Duration = Duration::from_secs(16);
/// What is chosen upon was seen of the nodes no longer ago than this.
const NODES_SHOW: Duration = Duration::from_secs(60);
/// How long batch work takes.
const BATCH_TAKES: Duration = Duration::from_secs(900);
/// What a node can hold: ten allocations.
const ROOM: Resources = Resources { cpu_mhz: 1000, memory_mib: 1000, disk_mib: 1000 };

/// A node.
#[derive(Clone, Debug)]
struct Node {
    view: NodeView,
    /// When the next allocation has left, while it drains.
    next: Option<Timestamp>,
    /// When it joined.
    joined: Timestamp,
    /// When the batch work on it has ended, where there is any.
    batch_until: Option<Timestamp>,
    /// When it ended, if it has.
    batch_ended: Option<Timestamp>,
}

/// The nodes of all instances, and what went wrong with the work on them.
#[derive(Clone, Debug, Default)]
pub struct Nomad {
    nodes: BTreeMap<InstanceId, Node>,
    /// When the next allocation leaves a node that drains: asked for at every step of a world.
    next: Option<Timestamp>,
    /// How long each allocation takes to leave.
    pub leaves_in: Duration,
    /// Allocations a node begins with.
    pub work_each: usize,
    /// Whether every third node that comes has batch work on it, besides.
    pub batch: bool,
    /// Allocations whose instance went before they had left.
    pub lost: usize,
    /// The same by instance, since that was last asked.
    lost_on: Vec<(InstanceId, usize)>,
    /// When each instance was first ineligible.
    pub cordoned: BTreeMap<InstanceId, Timestamp>,
    /// Drains that were begun.
    pub drains: usize,
    /// While set, nobody answers.
    pub down: bool,
    /// While set, no token is good.
    pub denies: bool,
    /// All instances that there have ever been: the world forgets those that are long gone.
    pub ever: BTreeSet<InstanceId>,
    /// Instances whose node no look shows.
    pub hidden: BTreeSet<InstanceId>,
    /// Looks that were answered, in whatever way.
    pub looks: usize,
}

fn batch_work() -> Work {
    Work { job: "report".to_owned(), kind: WorkKind::Batch, ..work() }
}

fn work() -> Work {
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
        grace: GRACE,
        stopping: false,
    }
}

impl Nomad {
    pub fn new() -> Self {
        Self { leaves_in: Duration::from_secs(4), work_each: 3, ..Self::default() }
    }

    /// Catches up with the world: nodes of what serves come, nodes of what is gone go, drains go on.
    pub fn follow(&mut self, world: &World, fleets: &[FleetId]) {
        let now = world.now();
        for fleet in fleets {
            for (instance, phase) in world.phases(fleet) {
                // What was asked for and let be before it was launched never was one.
                let lives = !matches!(phase, InstancePhase::Requested | InstancePhase::Gone);
                if lives && !self.ever.contains(instance) {
                    self.ever.insert(instance.clone());
                }
                match phase {
                    InstancePhase::InService => self.join(instance, now),
                    InstancePhase::Gone => self.leave(instance),
                    _ => {}
                }
            }
        }
        if self.batch {
            self.end_batch(now);
        }
        let draining = self.nodes.iter().filter(|(_, node)| node.view.draining);
        let ids: Vec<InstanceId> = draining.map(|(id, _)| id.clone()).collect();
        for id in ids {
            self.drain_on(&id, now);
        }
        self.foresee();
    }

    fn join(&mut self, instance: &InstanceId, now: Timestamp) {
        if self.nodes.contains_key(instance) {
            return;
        }
        let mut all = vec![work(); self.work_each];
        let has_batch = self.batch && self.ever.len().is_multiple_of(3);
        if has_batch {
            all.insert(0, batch_work());
        }
        let work: Shared<Vec<Work>> = all.into();
        self.nodes.entry(instance.clone()).or_insert_with(|| Node {
            view: NodeView {
                id: NodeId::new(format!("n-{instance}")),
                instance: instance.clone(),
                ready: true,
                eligible: true,
                unproved: false,
                draining: false,
                drain_until: None,
                capacity: ROOM,
                reserved_ports: Vec::new(),
                refuses: Vec::new(),
                work,
            },
            next: None,
            joined: now,
            batch_until: has_batch.then(|| now + BATCH_TAKES),
            batch_ended: None,
        });
    }

    /// Batch work ends by itself.
    fn end_batch(&mut self, now: Timestamp) {
        let ended = |node: &&mut Node| node.batch_until.is_some_and(|until| until <= now);
        for node in self.nodes.values_mut().filter(ended) {
            (node.batch_until, node.batch_ended) = (None, Some(now));
            node.view.work.retain(|work| work.kind != WorkKind::Batch);
        }
    }

    /// On whose nodes batch work runs, or ran by the last look that anybody can have had.
    pub fn with_batch_work(&self, now: Timestamp) -> BTreeSet<InstanceId> {
        let lately = |node: &Node| node.batch_ended.is_some_and(|at| now.since(at) < NODES_SHOW);
        let runs = |node: &Node| node.view.work.iter().any(|work| work.kind == WorkKind::Batch);
        let nodes = self.nodes.iter().filter(|(_, node)| runs(node) || lately(node));
        nodes.map(|(id, _)| id.clone()).collect()
    }

    fn leave(&mut self, instance: &InstanceId) {
        if let Some(node) = self.nodes.remove(instance) {
            self.lost += node.view.work.len();
            if !node.view.work.is_empty() {
                self.lost_on.push((instance.clone(), node.view.work.len()));
            }
            for _ in 0..node.view.work.len() {
                self.place();
            }
        }
    }

    /// An allocation starts where most is free; where nothing is, it waits (and is not modelled further).
    fn place(&mut self) {
        let open = self.nodes.values_mut().filter(|node| node.view.eligible && node.view.work.len() < 10);
        if let Some(node) = open.min_by_key(|node| node.view.work.len()) {
            node.view.work.push(work());
        }
    }

    fn drain_on(&mut self, id: &InstanceId, now: Timestamp) {
        loop {
            let Some(node) = self.nodes.get_mut(id).filter(|node| node.view.draining) else { return };
            let over = node.view.drain_until.is_some_and(|until| until + GRACE <= now);
            let due = node.next.is_some_and(|next| next <= now);
            if node.view.work.is_empty() {
                (node.view.draining, node.view.drain_until, node.next) = (false, None, None);
                return;
            }
            if !(over || due) {
                return;
            }
            node.next = node.next.map(|next| next + self.leaves_in);
            node.view.work.pop();
            self.place();
        }
    }

    /// When something happens next.
    pub const fn next(&self) -> Option<Timestamp> {
        self.next
    }

    fn foresee(&mut self) {
        let draining = self.nodes.values().filter(|node| node.view.draining);
        let over = |node: &Node| node.view.drain_until.map(|until| until + GRACE);
        self.next = draining.flat_map(|node| [node.next, over(node)]).flatten().min();
    }

    pub fn seen(&self) -> NodesSeen {
        let shown = self.nodes.iter().filter(|(id, _)| !self.hidden.contains(*id));
        let nodes = shown.map(|(_, node)| node.view.clone()).collect();
        NodesSeen { nodes, ..NodesSeen::default() }
    }

    /// Work that a drain would move and that is still on an instance's node; none on one that nobody can know of.
    pub fn work_on(&self, instance: &InstanceId, now: Timestamp) -> usize {
        let known = self.nodes.get(instance).filter(|node| now.since(node.joined) >= KNOWN_AFTER);
        known.map_or(0, |node| node.view.work.len())
    }

    /// Whose work went with them, since that was last asked, and how much of it.
    pub fn take_lost(&mut self) -> Vec<(InstanceId, usize)> {
        std::mem::take(&mut self.lost_on)
    }

    /// An agent has its own client drain: what is there moves, and nothing comes.
    pub fn leaves_by_itself(&mut self, instance: &InstanceId, now: Timestamp) {
        if let Some(node) = self.nodes.get_mut(instance).filter(|node| !node.view.draining) {
            (node.view.eligible, node.view.draining) = (false, true);
            node.next = Some(now + self.leaves_in);
        }
        self.foresee();
    }

    /// Nodes that live and take no work.
    pub fn ineligible(&self) -> impl Iterator<Item = &InstanceId> {
        self.nodes.iter().filter(|(_, node)| !node.view.eligible).map(|(id, _)| id)
    }

    /// Carries a write out. * returns: whether there is such a node.
    pub fn write(&mut self, write: &Write, now: Timestamp) -> bool {
        let (Write::Cordon(node) | Write::Drain { node, .. } | Write::Restore(node)) = write else {
            return false;
        };
        let Some(known) = self.nodes.get_mut(&node.instance) else { return false };
        let view = &mut known.view;
        match write {
            Write::Drain { deadline, .. } => {
                view.eligible = false;
                view.drain_until = Some(*deadline);
                if !view.draining {
                    view.draining = true;
                    known.next = Some(now + self.leaves_in);
                    self.drains += 1;
                }
            }
            Write::Restore(_) => {
                (view.eligible, view.draining, view.drain_until) = (true, false, None);
                known.next = None;
            }
            _ => view.eligible = false,
        }
        if !matches!(write, Write::Restore(_)) {
            self.cordoned.entry(node.instance.clone()).or_insert(now);
        }
        self.foresee();
        true
    }
}
