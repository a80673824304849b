//! Nodes: seen through Nomad, emptied by Nomad or by an operator's hook.

use crate::hooks::{Hooks, Order};
use crate::idle::Activity;
use crate::queue::{Envelope, Happened};
use autoscaler_core::{DrainBy, DrainCause, GroupCount, ReplacementCause, ScaledGroup};
use autoscaler_engine::{Blocked, NodeRef, NodesSeen, Write};
use autoscaler_nomad::facts::{BlockedFact, DrainDeadline, NodeFact};
use autoscaler_nomad::{Drain, Heard, Nomad};
use fleet::ports::{Clock, MayWrite};
use fleet::{ApiError, ErrorClass, InstanceId, NodeId, NoticeKind, Timestamp};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;
use tokio::sync::mpsc::UnboundedSender;

/// What moves within so short a time is looked at together.
const BURST: Duration = Duration::from_millis(200);

/// What nodes are seen and emptied with.
#[derive(Clone)]
pub(crate) struct Nodes {
    nomad: Option<Nomad>,
    hooks: Hooks,
    skew: Skew,
}

/// How far our wall clock is ahead of Nomad's. A deadline that Nomad shows is by its clock, and is compared with ours: a host
/// whose clock is wrong would take its own drains for somebody else's.
#[derive(Clone, Debug, Default)]
struct Skew(Arc<AtomicI64>);

impl Skew {
    /// Answers tell whole seconds, and take a while: what differs by less is taken for the same, so that what is seen of a
    /// node stays as it is from look to look.
    const NOISE: i64 = 2500;

    /// It was `theirs` there when it was `ours` here.
    fn note(&self, theirs: Timestamp, ours: Timestamp) {
        let found = ours.millis().saturating_sub(theirs.millis());
        if found.abs_diff(self.0.load(Ordering::Relaxed)) > Self::NOISE.unsigned_abs() {
            let skew = if found.abs() <= Self::NOISE { 0 } else { found };
            self.0.store(skew, Ordering::Relaxed);
        }
    }

    /// What our clock shows when theirs shows this.
    fn ours(&self, theirs: Timestamp) -> Timestamp {
        Timestamp::from_millis(theirs.millis().saturating_add(self.0.load(Ordering::Relaxed)))
    }
}

impl Nodes {
    pub(crate) fn new(nomad: Option<Nomad>, hooks: Hooks) -> Self {
        Self { nomad, hooks, skew: Skew::default() }
    }

    /// Asks `may_write` before each request that changes something, also of a hook that goes on asking (FENCE).
    pub(crate) fn guard(&self, may_write: MayWrite) {
        if let Some(nomad) = &self.nomad {
            nomad.guard(Arc::clone(&may_write));
        }
        self.hooks.guard(may_write);
    }

    fn nomad(&self) -> Result<&Nomad, ApiError> {
        let missing = || {
            let words = "a policy drains by Nomad, and this process was told of none";
            ApiError::new(ErrorClass::Denied, "nomad", "reach", None, words)
        };
        self.nomad.as_ref().ok_or_else(missing)
    }

    /// One look at everything in Nomad that concerns fleets; its times are by our clock.
    pub(crate) async fn look(
        &self,
        groups: &[ScaledGroup],
        clock: &dyn Clock,
    ) -> Result<NodesSeen, ApiError> {
        let nomad = self.nomad()?;
        let facts = nomad.survey().await.map_err(|error| ApiError::from(&error))?;
        if let Some(theirs) = nomad.told_time() {
            self.skew.note(theirs, clock.wall());
        }
        let blocked = nomad.blocked().await.map_err(|error| ApiError::from(&error))?;
        let groups = count(nomad, groups).await?;
        let mut seen = nodes(&facts);
        for node in &mut seen {
            node.drain_until = node.drain_until.map(|until| self.skew.ours(until));
        }
        Ok(NodesSeen { nodes: seen, blocked: blocked_by_room(&blocked, &facts), groups })
    }

    /// Carries one write about a node out, or about a group.
    ///
    /// * returns: for a hook that empties, when it has ended; for everything else, when it was told.
    pub(crate) async fn write(&self, write: &Write, clock: &dyn Clock) -> Result<(), ApiError> {
        match write {
            Write::Cordon(node) if node.by == DrainBy::Nomad => self.set_eligible(node, false).await,
            // Nobody else knows what it is.
            Write::Cordon(_) => Ok(()),
            Write::Restore(node) if node.by == DrainBy::Nomad => self.restore(node).await,
            Write::Restore(node) => {
                self.hooks.end(&node.instance);
                Ok(())
            }
            Write::Drain { node, deadline, ignore_system_jobs, cause } => match node.by {
                DrainBy::Nomad => {
                    self.drain(node, *deadline, *ignore_system_jobs, *cause, clock.wall()).await
                }
                DrainBy::Hook => {
                    let order = Order {
                        fleet: node.fleet.clone(),
                        instance: node.instance.clone(),
                        deadline: *deadline,
                        cause: reason(*cause),
                    };
                    self.hooks.run(order, clock).await
                }
                DrainBy::Nobody => Ok(()),
            },
            Write::ScaleGroup { namespace, job, group, count } => {
                let scaled = self.nomad()?.scale(namespace, job, group, *count, "follows its fleet").await;
                scaled.map_err(|error| ApiError::from(&error))
            }
            Write::Modify { .. } | Write::Terminate { .. } => Err(ApiError::new(
                ErrorClass::Malformed,
                "muster",
                write.label(),
                None,
                "told to the wrong service",
            )),
        }
    }

    async fn set_eligible(&self, node: &NodeRef, eligible: bool) -> Result<(), ApiError> {
        let (nomad, id) = (self.nomad()?, known(node)?);
        nomad.set_eligible(id, eligible).await.map(drop).map_err(|error| ApiError::from(&error))
    }

    async fn restore(&self, node: &NodeRef) -> Result<(), ApiError> {
        let (nomad, id) = (self.nomad()?, known(node)?);
        nomad.cancel_drain(id).await.map(drop).map_err(|error| ApiError::from(&error))
    }

    async fn drain(
        &self,
        node: &NodeRef,
        deadline: Timestamp,
        ignore_system_jobs: bool,
        cause: DrainCause,
        now: Timestamp,
    ) -> Result<(), ApiError> {
        let (nomad, id) = (self.nomad()?, known(node)?);
        let left = deadline.since(now);
        let deadline = if left.is_zero() { DrainDeadline::AtOnce } else { DrainDeadline::Within(left) };
        let drain = Drain { deadline, ignore_system_jobs, reason: reason(cause).to_owned() };
        nomad.drain(id, &drain).await.map(drop).map_err(|error| ApiError::from(&error))
    }
}

/// Tells the engine whenever something moves in Nomad. Never ends.
///
/// A burst is told once: by the time that it has been looked at, it is over.
pub(crate) async fn follow(
    mut follower: autoscaler_nomad::Follower,
    happened: UnboundedSender<Envelope<Happened>>,
    activity: Arc<Activity>,
) {
    loop {
        match follower.next().await {
            Heard::Began | Heard::Node(_) | Heard::Alloc(_) => {}
            Heard::Ended(error) => {
                tracing::debug!(%error, "lost nomad's event stream, and takes it up again");
                continue;
            }
        }
        let burst = async {
            loop {
                follower.next().await;
            }
        };
        let _ = tokio::time::timeout(BURST, burst).await;
        if happened.send(Envelope { what: Happened::NodesMoved, busy: activity.begin() }).is_err() {
            return;
        }
    }
}

/// The node, where a look has shown it.
fn known(node: &NodeRef) -> Result<&NodeId, ApiError> {
    let unknown = || {
        let words = format!("no node of {} has been seen", node.instance);
        ApiError::new(ErrorClass::NotFound, "nomad", "find node", None, &words)
    };
    node.node.as_ref().ok_or_else(unknown)
}

/// Why a node is emptied, in the words that Nomad keeps and hooks are told.
const fn reason(cause: DrainCause) -> &'static str {
    match cause {
        DrainCause::ScaleIn => "scale-in",
        DrainCause::Replaced(ReplacementCause::Spread) => "spread",
        DrainCause::Replaced(ReplacementCause::Rollout) => "rollout",
        DrainCause::Replaced(ReplacementCause::Notice(kind)) => match kind {
            NoticeKind::SpotInterruption => "spot-interruption",
            NoticeKind::RebalanceRecommendation => "rebalance-recommendation",
            NoticeKind::ScheduledEvent => "scheduled-event",
            NoticeKind::FleetScaleIn => "fleet-scale-in",
        },
    }
}

/// The nodes of instances that can be told apart. Of several on one instance none is shown: a copied `data_dir`, or
/// somebody who says to be what they are not.
fn nodes(facts: &[NodeFact]) -> Vec<fleet::NodeView> {
    let mut by_instance: BTreeMap<InstanceId, Vec<fleet::NodeView>> = BTreeMap::new();
    for view in autoscaler_nomad::facts::views(facts) {
        by_instance.entry(view.instance.clone()).or_default().push(view);
    }
    let one = |(instance, mut views): (InstanceId, Vec<fleet::NodeView>)| {
        let view = views.pop()?;
        if !views.is_empty() {
            tracing::warn!(%instance, nodes = views.len() + 1, "found several nodes on one instance");
            return None;
        }
        Some(view)
    };
    by_instance.into_iter().filter_map(one).collect()
}

/// What waits for room, an allocation each, with where it could run: on nodes like those that could hold it, first of all
/// where its group runs already. What no node here could hold is nobody's: another one like them would not help.
fn blocked_by_room(blocked: &[BlockedFact], facts: &[NodeFact]) -> Vec<Blocked> {
    /// Beyond so many of one group more say nothing new: a fleet has bounds.
    const MOST: u32 = 1000;
    let of = |node: &NodeFact, fact: &BlockedFact| {
        node.allocs.iter().any(|alloc| {
            let work = &alloc.work;
            (&work.namespace, &work.job, &work.group) == (&fact.namespace, &fact.job, &fact.group)
        })
    };
    let mut waiting = Vec::new();
    for fact in blocked.iter().filter(|fact| !fact.exhausted.is_empty()) {
        let Some(needs) = fact.needs else { continue };
        let instances = |keep: &dyn Fn(&NodeFact) -> bool| -> BTreeSet<InstanceId> {
            facts.iter().filter(|node| keep(node)).filter_map(|node| node.instance.clone()).collect()
        };
        let beside = instances(&|node| of(node, fact) && node.could_hold(fact));
        let fits = if beside.is_empty() { instances(&|node| node.could_hold(fact)) } else { beside };
        if fits.is_empty() {
            continue;
        }
        let one = Blocked { needs, fits: fits.into_iter().collect() };
        waiting.extend(std::iter::repeat_n(one, fact.placements.min(MOST) as usize));
    }
    waiting
}

/// The counts of groups, those that exist; one call a job.
async fn count(nomad: &Nomad, groups: &[ScaledGroup]) -> Result<Vec<GroupCount>, ApiError> {
    let jobs: BTreeSet<(&str, &str)> =
        groups.iter().map(|group| (group.namespace.as_str(), group.job.as_str())).collect();
    let mut counts = Vec::new();
    for (namespace, job) in jobs {
        let found = match nomad.group_counts(namespace, job).await {
            Ok(found) => found,
            Err(error) if error.class() == ErrorClass::NotFound => continue,
            Err(error) => return Err(ApiError::from(&error)),
        };
        let wanted = groups.iter().filter(|group| group.namespace == namespace && group.job == job);
        counts.extend(wanted.filter_map(|ScaledGroup { group, .. }| {
            let found = found.get(group)?;
            Some(GroupCount {
                namespace: namespace.to_owned(),
                job: job.to_owned(),
                group: group.clone(),
                count: found.desired,
                placed: Some(found.placed),
            })
        }));
    }
    Ok(counts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_that_nomad_tells_are_read_by_our_clock() {
        let at = |seconds: i64| Timestamp::from_secs(1_800_000_000 + seconds);
        let skew = Skew::default();
        skew.note(at(0), at(2));
        assert_eq!(skew.ours(at(60)), at(60), "whole seconds, and the way here");
        skew.note(at(10), at(-2930));
        assert_eq!(skew.ours(at(70)), at(-2870), "our clock is 49 minutes behind");
        skew.note(at(20), at(-2919));
        assert_eq!(skew.ours(at(70)), at(-2870), "a second more or less is none");
        skew.note(at(30), at(31));
        assert_eq!(skew.ours(at(70)), at(70), "it was set right");
    }

    fn node(id: &str, pool: &str) -> NodeFact {
        NodeFact {
            id: NodeId::from(id),
            instance: Some(InstanceId::new(format!("i-{id}"))),
            name: id.to_owned(),
            pool: pool.to_owned(),
            class: String::new(),
            datacenter: "dc1".to_owned(),
            status: autoscaler_nomad::facts::NodeStatus::Ready,
            eligible: true,
            unproved: false,
            drain: None,
            last_drain: None,
            capacity: fleet::Resources { cpu_mhz: 2000, memory_mib: 4096, disk_mib: 10_000 },
            reserved_ports: BTreeSet::new(),
            properties: BTreeMap::new(),
            allocs: Vec::new(),
        }
    }

    #[test]
    fn what_no_node_here_could_hold_is_no_fleet_s_demand() {
        let facts = [node("a", "batch"), node("b", "default"), node("c", "default")];
        let waiting = |pool: &str, memory_mib| BlockedFact {
            namespace: "default".to_owned(),
            job: "shop".to_owned(),
            group: "web".to_owned(),
            placements: 2,
            needs: Some(fleet::Resources { cpu_mhz: 500, memory_mib, disk_mib: 300 }),
            exhausted: BTreeSet::from(["memory".to_owned()]),
            pool: Some(pool.to_owned()),
            datacenters: vec!["*".to_owned()],
            constraints: Vec::new(),
        };
        let found = blocked_by_room(&[waiting("default", 1024)], &facts);
        let fits: Vec<&str> = found[0].fits.iter().map(InstanceId::as_str).collect();
        assert_eq!((found.len(), fits), (2, vec!["i-b", "i-c"]), "it is of their pool");
        assert!(blocked_by_room(&[waiting("gpu", 1024)], &facts).is_empty(), "another pool's");
        assert!(blocked_by_room(&[waiting("default", 8192)], &facts).is_empty(), "larger than any");
    }
}
