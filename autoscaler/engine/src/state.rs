//! A fleet's state: what its records fold to, and all that a plan is made from.
//!
//! [`State::apply`] is the only way to change it. The engine turns what happens into records and applies them;
//! a restart and a replay apply the same records. That is why they cannot come to anything else.

use crate::timeline::{Served, Timeline};
use crate::{
    Command, CompactSample, Cycle, FleetDelta, InstanceSeen, Ledger, Operation, Order, Outcome, Override,
    Record, Withheld,
};
use autoscaler_core::{
    FailingRead, GroupCount, Learned, Member, Memory, Observed, Pause, Phase, Policy, PoolTrouble, Removal,
    RemovalStep, Snapshot, WatchedAlarm,
};
use fleet::{
    ErrorClass, FleetId, FleetView, InstanceId, InstanceState, NodeId, NodeView, Notice, NoticeKind, Pool,
    Power, Resources, Source, Timestamp, UsdPerHour, Weight, vcpus_by_size,
};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

/// How many boot times a silent instance among speaking ones is waited for: its agent alone may be broken.
const SILENT_BOOTS: u32 = 3;
/// ... and at least so long: a young fleet's boot time is a guess.
const SILENT_AT_LEAST: Duration = Duration::from_secs(300);

/// How long a notice is kept whose instance no describe has shown.
const NOTICE_WAITS: Duration = Duration::from_secs(600);
/// Troubles of pools that are kept, so that what is told twice is not counted twice.
const TROUBLES_KEPT: usize = 256;

/// Describes have been seen to lag by 30 s; what does not show after three times that did not happen.
const TOLD_SHOWS_WITHIN: Duration = Duration::from_secs(90);

/// A fleet's state. A plain value.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// The policy in force: files, schedules and overrides taken together.
    pub policy: Policy,
    /// What the planner remembers.
    pub memory: Memory,
    /// What was learned of demand.
    pub learned: Learned,
    /// Which fleet all this is about, once one was found.
    pub held: Option<FleetId>,
    /// The fleet, as it was last seen; `None` while it is not there.
    pub fleet: Option<Observed<FleetView>>,
    /// When its instances were last asked for.
    pub instances_at: Option<Timestamp>,
    /// Its instances, leaving ones included.
    pub instances: BTreeMap<InstanceId, Known>,
    /// Samples that no cycle has seen yet, oldest first.
    pub fresh: Vec<CompactSample>,
    /// The newest sample.
    pub latest: Option<CompactSample>,
    /// The end of the newest pushed sample.
    pub pushed: Option<Timestamp>,
    /// Notices that are known for its instances.
    pub notices: Vec<Notice>,
    /// When scheduled events of its instances were last called off: of an instance what is older and comes later is not
    /// true any more. One an instance, as long as that is known.
    pub called_off: BTreeMap<InstanceId, Timestamp>,
    /// A pause that an operator ordered.
    pub pause: Option<Pause>,
    /// An override that an operator ordered.
    pub bent: Option<Override>,
    /// Whether Application Auto Scaling scales it, too.
    pub scalable_target: bool,
    /// Reads about it that fail.
    pub failing: Vec<FailingRead>,
    /// What served lately: what samples that come late are paired with.
    pub timeline: Timeline,
    /// When Nomad's nodes were last looked at.
    pub nodes_at: Option<Timestamp>,
    /// The nodes of its instances.
    pub nodes: BTreeMap<NodeId, KnownNode>,
    /// Instances that the ledger of another leader says go by a deadline, and that no describe has shown us since.
    pub unseen: BTreeSet<InstanceId>,
    /// What Nomad could not place here for want of room.
    pub blocked: Resources,
    /// The counts of the groups that are scaled along.
    pub groups: Vec<GroupCount>,
    /// Instances whose drain hook has said that they are empty, as long as they are about to go.
    pub emptied: BTreeSet<InstanceId>,
    /// What speaks against pools and no plan has seen yet.
    pub troubles: Vec<PoolTrouble>,
    /// What spoke against pools lately: heard again, it is not counted again.
    pub troubles_told: Vec<PoolTrouble>,
    /// What pools cost.
    pub prices: Vec<(Pool, UsdPerHour)>,
    /// The alarms that its roll-out watches, as they were last read.
    pub alarms: Option<Observed<Vec<WatchedAlarm>>>,
}

/// A node, and what is known beyond one look.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct KnownNode {
    /// As it was last seen.
    pub seen: NodeView,
    /// Since when it has been seen draining.
    pub drains_since: Option<Timestamp>,
}

/// An instance, and what is known beyond one describe.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Known {
    /// As it was last seen.
    pub seen: InstanceSeen,
    /// Since when it has been seen in its state.
    pub state_since: Timestamp,
    /// Since when it serves, by all evidence; once that is known it stays.
    pub serves_since: Option<Timestamp>,
    /// Since when describes do not show it any more.
    pub missing_since: Option<Timestamp>,
}

impl State {
    /// Folds one record.
    pub fn apply(&mut self, record: &Record) {
        match record {
            Record::Policy(policy) => self.apply_policy(policy),
            Record::Fleet { at, delta } => self.apply_fleet(*at, delta),
            Record::Instances { at, seen, missing, gone } => self.apply_instances(*at, seen, missing, gone),
            Record::Serves { instance, since } => {
                if let Some(known) = self.instances.get_mut(instance) {
                    known.serves_since.get_or_insert(*since);
                }
            }
            Record::Samples(samples) => self.apply_samples(samples),
            Record::Notice(notice) => self.apply_notice(notice),
            Record::CalledOff { instance, at } => self.apply_called_off(instance, *at),
            Record::ScalableTarget(is) => self.scalable_target = *is,
            Record::Failing(reads) => self.failing.clone_from(reads),
            Record::State { instance, state, at } => {
                if let Some(known) = self.instances.get_mut(instance) {
                    known.seen.state = *state;
                    known.state_since = *at;
                }
            }
            Record::Nodes { at, seen, gone, blocked, groups } => {
                self.apply_nodes(*at, seen, gone);
                self.blocked = blocked.unwrap_or(self.blocked);
                if let Some(groups) = groups {
                    self.groups.clone_from(groups);
                }
            }
            Record::Emptied { instance, at: _ } => _ = self.emptied.insert(instance.clone()),
            Record::Troubles(troubles) => self.apply_troubles(troubles),
            Record::Prices(prices) => self.prices.clone_from(prices),
            Record::Alarms { at, seen } => {
                let before = || self.alarms.take().map(|seen| seen.what).unwrap_or_default();
                let what = seen.clone().unwrap_or_else(before);
                self.alarms = Some(Observed { at: *at, what });
            }
            Record::Ledger(ledger) => self.apply_ledger(ledger),
            Record::Leads { .. } => {}
            Record::Operator { at, command } => self.apply_operator(*at, command),
            Record::ClockJumped { by_ms } => self.apply_jump(*by_ms),
            Record::Cycle(cycle) => {
                // What panicked when it was recorded panics again, at the same place.
                let _ = self.begin_cycle(cycle.at);
                self.end_cycle(cycle);
            }
            Record::Outcome { operation, outcome, .. } => self.apply_outcome(*operation, outcome),
            Record::Checkpoint(checkpoint) => *self = checkpoint.state.clone(),
        }
    }

    /// What a plan at this moment is made from; the samples since the last one are learned from, and removals
    /// whose outcome was unclear are compared with what was seen since.
    ///
    /// * returns: the words of the panic, where learning panicked.
    pub fn begin_cycle(&mut self, now: Timestamp) -> Result<Snapshot, String> {
        self.reconcile_victims();
        // Who was kept serves again, as far as anybody knows: chosen anew, it is emptied anew.
        let Memory { removals, replacements, .. } = &self.memory;
        self.emptied.retain(|id| removals.contains_key(id) || replacements.contains_key(id));
        let snapshot = self.snapshot(now);
        contained(|| self.learned.learn(&self.policy, &snapshot, &self.memory, now))?;
        Ok(snapshot)
    }

    /// What a plan has changed.
    pub fn end_cycle(&mut self, cycle: &Cycle) {
        let now = cycle.at;
        let served = self.served(now);
        if self.timeline.is_empty() {
            self.seed_timeline(now);
        }
        self.timeline.push(served);
        let phases = self.phases(now);
        let serving: Vec<(InstanceId, Timestamp)> = self
            .instances
            .iter()
            .filter(|(_, known)| known.serves_since.is_none())
            .filter_map(|(id, known)| match phases.of(known) {
                (Phase::InService, since) => Some((id.clone(), since)),
                _ => None,
            })
            .collect();
        for (id, since) in serving {
            if let Some(known) = self.instances.get_mut(&id) {
                known.serves_since = Some(since);
            }
        }
        if let Some(memory) = &cycle.memory {
            self.memory = Memory::clone(memory);
        }
        self.fresh.clear();
        // Troubles are folded into the memory: where that stays as it was, they are told again.
        if cycle.withheld.as_ref().is_none_or(|why| *why == Withheld::DryRun) {
            self.troubles.clear();
        }
        self.pause.take_if(|pause| pause.until <= now);
        self.bent.take_if(|bent| bent.until <= now);
    }

    /// What a plan at this moment is made from.
    pub fn snapshot(&self, now: Timestamp) -> Snapshot {
        let members = self.instances_at.map(|at| Observed { at, what: self.members(now).collect() });
        Snapshot {
            fleet: self.fleet.clone(),
            members,
            unseen: self.unseen.iter().filter(|id| self.is_to_be_emptied_unseen(id)).cloned().collect(),
            samples: self.fresh.iter().map(CompactSample::sample).collect(),
            latest: self.latest.as_ref().map(CompactSample::sample),
            notices: self.notices.clone(),
            pause: self.pause.clone().filter(|pause| pause.until > now),
            scalable_target: self.scalable_target,
            failing: self.failing.clone(),
            nodes: self.nodes_at.map(|at| Observed {
                at,
                what: self.nodes.values().map(|known| known.seen.clone()).collect(),
            }),
            blocked: self.blocked,
            groups: self.groups.clone(),
            emptied: self.emptied.iter().cloned().collect(),
            troubles: self.troubles.clone(),
            prices: self.prices.clone(),
            alarms: self.alarms.clone(),
        }
    }

    /// Whether the ledger still says when an instance goes, and nobody protects it.
    fn is_to_be_emptied_unseen(&self, id: &InstanceId) -> bool {
        let is_protected = self.memory.protected.contains(id) || self.policy.protect.instances.contains(id);
        self.memory.deadline_of(id).is_some() && !is_protected
    }

    /// One instance as a plan sees it.
    pub fn member(&self, known: &Known, now: Timestamp) -> Member {
        self.member_in(known, self.phase(known, now))
    }

    /// All instances as a plan sees them, by id.
    pub fn members(&self, now: Timestamp) -> impl Iterator<Item = Member> {
        let phases = self.phases(now);
        self.instances.values().map(move |known| self.member_in(known, phases.of(known)))
    }

    fn member_in(&self, known: &Known, (phase, since): (Phase, Timestamp)) -> Member {
        let InstanceSeen { id, pool, health, launched, protected, launch, .. } = &known.seen;
        Member {
            id: id.clone(),
            pool: pool.clone(),
            weight: self.weight(known),
            power: self.power(known),
            phase,
            since,
            launched: *launched,
            health: *health,
            protected: *protected || self.policy.protect.instances.contains(id),
            launch: launch.clone(),
        }
    }

    /// Nomad's node on an instance: the one that is ready, where it has left several.
    pub fn node_of(&self, id: &InstanceId) -> Option<&NodeView> {
        let of_it = self.nodes.values().map(|known| &known.seen).filter(|seen| seen.instance == *id);
        of_it.max_by_key(|seen| seen.ready)
    }

    /// Whether any node is being drained, or is about to be: Nomad's answers change with every look.
    pub fn drains(&self) -> bool {
        !self.memory.removals.is_empty()
            || !self.memory.replacements.is_empty()
            || self.nodes.values().any(|known| known.seen.draining || !known.seen.eligible)
    }

    /// What an instance counts for in the target.
    pub fn weight(&self, known: &Known) -> Weight {
        let pool = &known.seen.pool;
        self.fleet.as_ref().map_or(Weight::new(1.0), |f| f.what.weight_of(&pool.instance_type, &pool.zone))
    }

    /// How much work an instance can do: what the policy says, else its vCPUs, else what its size says, else 1.
    pub fn power(&self, known: &Known) -> Power {
        let instance_type = &known.seen.pool.instance_type;
        self.policy.power.get(instance_type).copied().unwrap_or_else(|| {
            let vcpus = known.seen.vcpus.or_else(|| vcpus_by_size(instance_type)).filter(|vcpus| *vcpus > 0);
            Power::new(f64::from(vcpus.unwrap_or(1)))
        })
    }

    /// The instances that serve, with their power and since when; by id.
    pub fn serving(
        &self,
        now: Timestamp,
    ) -> impl DoubleEndedIterator<Item = (&InstanceId, Power, Timestamp)> {
        let phases = self.phases(now);
        self.instances.iter().filter_map(move |(id, known)| match phases.of(known) {
            (Phase::InService, since) => Some((id, self.power(known), since)),
            _ => None,
        })
    }

    /// The instances that served from `begin` to `end`, with their power: those that have left since then, too. A
    /// fleet that grows smaller while a window waits to be closed has not lost the load of that window.
    pub fn served_through(
        &self,
        begin: Timestamp,
        end: Timestamp,
        now: Timestamp,
    ) -> impl Iterator<Item = (&InstanceId, Power)> {
        let phases = self.phases(now);
        self.instances.iter().filter_map(move |(id, known)| {
            let served = match phases.of(known) {
                (Phase::InService, since) => since <= begin,
                (Phase::Draining | Phase::Leaving, left) => {
                    left >= end && known.serves_since.is_some_and(|since| since <= begin)
                }
                _ => false,
            };
            served.then(|| (id, self.power(known)))
        })
    }

    /// Whether an instance runs that has not been heard of: it may speak for the first time at any moment.
    pub fn boots(&self, now: Timestamp) -> bool {
        let phases = self.phases(now);
        self.instances.values().any(|known| phases.of(known).0 == Phase::Booting)
    }

    /// What serves and runs now.
    fn served(&self, now: Timestamp) -> Served {
        let mut served = Served { from: now, serving: Power::ZERO, running: Power::ZERO, instances: 0 };
        let phases = self.phases(now);
        for known in self.instances.values() {
            let power = self.power(known);
            match phases.of(known).0 {
                Phase::InService => {
                    served.serving = served.serving + power;
                    served.running = served.running + power;
                    served.instances += 1;
                }
                Phase::Booting => served.running = served.running + power,
                Phase::Requested | Phase::Draining | Phase::Leaving => {}
            }
        }
        served
    }

    /// Supposes that what serves now has served since each instance says, so that a fleet that is taken over can
    /// be judged by samples from before.
    fn seed_timeline(&mut self, now: Timestamp) {
        let mut starts: Vec<Timestamp> = self.serving(now).map(|(_, _, since)| since).collect();
        starts.extend(self.instances.values().map(|known| known.seen.launched));
        starts.retain(|start| *start < now);
        starts.sort_unstable();
        starts.dedup();
        for start in starts {
            let phases = self.phases(now);
            let mut served = Served { from: start, ..Served::default() };
            for known in self.instances.values() {
                let power = self.power(known);
                match phases.of(known) {
                    (Phase::InService, since) if since <= start => {
                        served.serving = served.serving + power;
                        served.running = served.running + power;
                        served.instances += 1;
                    }
                    (Phase::InService | Phase::Booting, _) if known.seen.launched <= start => {
                        served.running = served.running + power;
                    }
                    _ => {}
                }
            }
            self.timeline.push(served);
        }
    }

    /// Whom another policy's tags protect is not known of those that were seen before: they are looked at again before
    /// anybody is chosen among them.
    fn apply_policy(&mut self, policy: &Policy) {
        if self.policy.protect.tags != policy.protect.tags {
            self.instances_at = None;
        }
        self.policy = policy.clone();
    }

    fn apply_fleet(&mut self, at: Timestamp, delta: &FleetDelta) {
        match delta {
            FleetDelta::Lost => self.fleet = None,
            FleetDelta::Whole(view) => {
                if self.held.as_ref().is_some_and(|held| *held != view.id) {
                    // What was remembered was about another fleet; what was learned is about the service.
                    self.memory = Memory::default();
                    self.instances.clear();
                    self.instances_at = None;
                    self.notices.clear();
                    self.called_off.clear();
                    self.unseen.clear();
                    self.nodes.clear();
                    self.nodes_at = None;
                    self.emptied.clear();
                    self.troubles.clear();
                    // Nor does what the other one did say how busy this one is.
                    self.fresh.clear();
                    self.latest = None;
                    self.pushed = None;
                    self.scalable_target = false;
                    self.timeline = Timeline::default();
                }
                self.held = Some(view.id.clone());
                self.fleet = Some(Observed { at, what: FleetView::clone(view) });
            }
            FleetDelta::Same => {
                if let Some(seen) = &mut self.fleet {
                    seen.at = at;
                }
            }
            FleetDelta::Moved { state, activity, target, on_demand_target, fulfilled, excess } => {
                if let Some(seen) = &mut self.fleet {
                    seen.at = at;
                    let view = &mut seen.what;
                    view.state = *state;
                    view.activity = *activity;
                    view.target = *target;
                    view.on_demand_target = *on_demand_target;
                    view.fulfilled = *fulfilled;
                    view.excess = *excess;
                }
            }
        }
    }

    fn apply_instances(
        &mut self,
        at: Timestamp,
        seen: &[InstanceSeen],
        missing: &[InstanceId],
        gone: &[InstanceId],
    ) {
        // What is changed about the last look is no other one.
        if self.instances_at.is_none_or(|looked| at > looked) {
            self.unseen.clear();
        }
        self.instances_at = Some(at);
        for instance in seen {
            let known = self.instances.entry(instance.id.clone()).or_insert_with(|| Known {
                seen: instance.clone(),
                state_since: at,
                serves_since: None,
                missing_since: None,
            });
            if known.seen.state != instance.state {
                known.state_since = at;
            }
            known.seen = instance.clone();
            known.missing_since = None;
        }
        for id in missing {
            if let Some(known) = self.instances.get_mut(id) {
                known.missing_since.get_or_insert(at);
            }
        }
        for id in gone {
            self.instances.remove(id);
            self.notices.retain(|notice| notice.instance != *id);
            self.emptied.remove(id);
            // Nomad shows a node that is down for a day.
            self.nodes.retain(|_, known| known.seen.instance != *id);
        }
        // A ledger may tell of instances that no describe has shown us yet, or never will.
        let known = &self.instances;
        self.notices.retain(|n| known.contains_key(&n.instance) || at.since(n.at) < NOTICE_WAITS);
        self.called_off.retain(|id, _| known.contains_key(id));
    }

    fn apply_nodes(&mut self, at: Timestamp, seen: &[NodeView], gone: &[NodeId]) {
        self.nodes_at = Some(at);
        for view in seen {
            let before = self.nodes.get(&view.id).and_then(|known| known.drains_since);
            let drains_since = view.draining.then(|| before.unwrap_or(at));
            self.nodes.insert(view.id.clone(), KnownNode { seen: view.clone(), drains_since });
        }
        for id in gone {
            self.nodes.remove(id);
        }
    }

    /// Takes what speaks against pools, each trouble once, however often it is told.
    fn apply_troubles(&mut self, troubles: &[PoolTrouble]) {
        for trouble in troubles {
            if self.troubles_told.contains(trouble) {
                continue;
            }
            if self.troubles_told.len() >= TROUBLES_KEPT {
                self.troubles_told.remove(0);
            }
            self.troubles_told.push(trouble.clone());
            if self.troubles.len() < TROUBLES_KEPT {
                self.troubles.push(trouble.clone());
            }
        }
    }

    /// What the leader before us left of this fleet replaces what we remember of it.
    fn apply_ledger(&mut self, ledger: &Ledger) {
        let Ledger { held, memory, notices, pause, bent, called_off } = ledger;
        if held.is_some() && self.held.is_some() && *held != self.held {
            return;
        }
        if self.held.is_none() {
            // Whether that is the fleet which is held now, a describe has to show.
            self.held.clone_from(held);
        }
        self.memory = memory.clone();
        let going = memory.removals.keys().chain(memory.replacements.keys());
        let unseen = going.filter(|id| memory.deadline_of(id).is_some() && !self.instances.contains_key(*id));
        self.unseen = unseen.cloned().collect();
        // Scheduled events alone are called off. One that only we have heard of is told again.
        let scheduled = |n: &Notice| n.kind == NoticeKind::ScheduledEvent;
        let told = |known: &Notice| notices.iter().any(|n| scheduled(n) && n.instance == known.instance);
        self.notices.retain(|known| !scheduled(known) || told(known));
        for notice in notices.iter().filter(|notice| !self.is_called_off(notice)).collect::<Vec<_>>() {
            self.apply_notice(notice);
        }
        for (instance, at) in called_off {
            self.apply_called_off(instance, *at);
        }
        self.pause.clone_from(pause);
        self.bent.clone_from(bent);
    }

    /// Whether a ledger says what this state says.
    pub fn is_told_by(&self, ledger: &Ledger) -> bool {
        let Ledger { held, memory, notices, pause, bent, called_off } = ledger;
        *held == self.held
            && *memory == self.memory
            && *notices == self.notices
            && *pause == self.pause
            && *bent == self.bent
            && *called_off == self.called_off
    }

    /// What the next leader has to know.
    pub fn ledger(&self) -> Ledger {
        Ledger {
            held: self.held.clone(),
            memory: self.memory.clone(),
            notices: self.notices.clone(),
            pause: self.pause.clone(),
            bent: self.bent.clone(),
            called_off: self.called_off.clone(),
        }
    }

    /// Whether a notice is about a scheduled event that was called off since. Messages may overtake each other.
    pub fn is_called_off(&self, notice: &Notice) -> bool {
        notice.kind == NoticeKind::ScheduledEvent
            && self.called_off.get(&notice.instance).is_some_and(|at| notice.at <= *at)
    }

    fn apply_called_off(&mut self, instance: &InstanceId, at: Timestamp) {
        let last = self.called_off.entry(instance.clone()).or_insert(at);
        *last = at.max(*last);
        let known = std::mem::take(&mut self.notices);
        self.notices = known.into_iter().filter(|notice| !self.is_called_off(notice)).collect();
    }

    fn apply_samples(&mut self, samples: &[CompactSample]) {
        for sample in samples {
            self.fresh.push(*sample);
            if self.latest.is_none_or(|latest| latest.end <= sample.end) {
                self.latest = Some(*sample);
            }
            if sample.source == Source::Push {
                self.pushed = self.pushed.max(Some(sample.end));
            }
        }
    }

    fn apply_notice(&mut self, notice: &Notice) {
        let same = |known: &&mut Notice| known.instance == notice.instance && known.kind == notice.kind;
        match self.notices.iter_mut().find(same) {
            // Scheduled events alone can be put off: the newest word counts.
            Some(known) if notice.kind == NoticeKind::ScheduledEvent && notice.at != known.at => {
                if notice.at > known.at {
                    known.clone_from(notice);
                }
            }
            Some(known) => {
                known.deadline = match (known.deadline, notice.deadline) {
                    (Some(a), Some(b)) => Some(a.min(b)),
                    (a, b) => a.or(b),
                };
            }
            None => self.notices.push(notice.clone()),
        }
    }

    fn apply_operator(&mut self, at: Timestamp, command: &Command) {
        let Command { fleet: _, order, by, reason } = command;
        let (by, reason) = (by.clone(), reason.clone());
        match *order {
            Order::Rollout(ref order) => self.apply_rollout(at, order, by, reason),
            Order::Pause { lasts } => self.pause = Some(Pause { until: at + lasts, by, reason }),
            Order::Resume => {
                self.pause = None;
                // While we kept our hands off, others were free to write. A write of our own that has not shown
                // yet is not theirs, though.
                let ours = self.memory.expected.is_some_and(|expected| !expected.shown);
                if self.memory.ceded || !ours {
                    self.memory.resume();
                }
            }
            Order::Override { min, max, target, lasts } => {
                self.bent = Some(Override { min, max, target, until: at + lasts, by, reason });
            }
            Order::EndOverride => self.bent = None,
        }
    }

    fn apply_outcome(&mut self, operation: Operation, outcome: &Outcome) {
        let nothing_happened = match outcome {
            Outcome::Done | Outcome::Failed { class: ErrorClass::Unclear, .. } => false,
            Outcome::Failed { .. } | Outcome::NotSent(_) | Outcome::Skipped | Outcome::NotJournaled => true,
        };
        if nothing_happened {
            match operation {
                Operation::Modify => self.memory.modify_refused(),
                Operation::Terminate => self.terminate_refused(),
                Operation::Cordon | Operation::Drain | Operation::Restore | Operation::ScaleGroup => {}
            }
        }
    }

    /// Takes back that victims were told to go: those of the last plan, who all carry its time.
    fn terminate_refused(&mut self) {
        let told = |removal: &&mut Removal| removal.step == RemovalStep::Terminating;
        let last = self.memory.removals.values_mut().filter(told).map(|removal| removal.since).max();
        for removal in self.memory.removals.values_mut().filter(told) {
            if Some(removal.since) == last {
                removal.step = RemovalStep::Lowered;
            }
        }
    }

    /// A victim that runs on, as a describe from well after it was told shows, was not told: the call that nobody
    /// knows the outcome of did not happen. What becomes of the victim is decided afresh.
    fn reconcile_victims(&mut self) {
        let Some(at) = self.instances_at else { return };
        for (id, removal) in &mut self.memory.removals {
            let runs = self.instances.get(id).is_some_and(|known| {
                known.seen.state == InstanceState::Running && known.missing_since.is_none()
            });
            if runs && removal.step == RemovalStep::Terminating && at > removal.since + TOLD_SHOWS_WITHIN {
                removal.step = RemovalStep::Lowered;
            }
        }
    }

    /// Moves what our own clock stamped along with it: ages stay what they are. What others stamped (samples,
    /// launches, notices) is left alone, but a newest sample that would lie ahead is not the newest any more.
    fn apply_jump(&mut self, by_ms: i64) {
        let shift = |at: &mut Timestamp| *at = Timestamp::from_millis(at.millis().saturating_add(by_ms));
        if let Some(seen) = &mut self.fleet {
            shift(&mut seen.at);
        }
        self.instances_at.iter_mut().for_each(shift);
        self.alarms.iter_mut().map(|seen| &mut seen.at).for_each(shift);
        for known in self.instances.values_mut() {
            shift(&mut known.state_since);
            known.missing_since.iter_mut().for_each(shift);
        }
        self.pause.iter_mut().for_each(|pause| shift(&mut pause.until));
        self.bent.iter_mut().for_each(|bent| shift(&mut bent.until));
        self.nodes_at.iter_mut().for_each(shift);
        self.nodes.values_mut().flat_map(|known| &mut known.drains_since).for_each(shift);
        self.timeline.shift(by_ms);
        self.memory.visit_times(shift, shift);
        if by_ms < 0 {
            self.latest = None;
            self.pushed.iter_mut().for_each(shift);
        }
    }
}

/// Runs what may panic, and takes its words if it does.
pub(crate) fn contained<T>(run: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(run)).map_err(|payload| {
        let words = payload.downcast_ref::<&str>().map(|words| (*words).to_owned());
        words.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_else(|| "panicked".to_owned())
    })
}

/// How long a running instance may be silent where agents speak, from its launch.
pub(crate) fn silent_for(boot: Duration) -> Duration {
    (boot * SILENT_BOOTS).max(SILENT_AT_LEAST)
}
