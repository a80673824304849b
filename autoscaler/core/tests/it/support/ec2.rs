//! A fleet that behaves as EC2's does, in ticks of ten seconds, with faults on demand.

use super::nodes::Nodes;
use super::scene::{NOON, POOLS, Scene, member, sample, seconds, view};
use autoscaler_core::{Action, DrainBy, Member, Observed, Phase, Planned, RemovalStep};
use fleet::{
    CapacityUnits, ExcessCapacity, FleetState, InstanceId, LaunchTemplate, Market, Notice, NoticeKind,
    NoticeSource, Timestamp,
};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Whether AWS's fleet counts an instance that is marked for interruption: nobody says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replaces {
    /// Not any more: it buys another at once.
    AtMarking,
    /// As long as it lives: it buys another when it is gone.
    AtDeath,
}

/// What happens to a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It works, and says so.
    Works,
    /// Refused, for certain.
    Refused,
    /// It works, and nobody hears of it.
    WorksUnheard,
    /// It gets lost, and nobody knows.
    Lost,
}

/// What a describe would have shown at a time.
#[derive(Clone)]
struct Past {
    at: Timestamp,
    target: u32,
    on_demand: u32,
    excess: ExcessCapacity,
    modifying: bool,
    members: Vec<Member>,
    counted: f64,
    launches: u64,
}

/// The world: one fleet of weight-1 instances under constant demand, and muster's planner in a loop.
pub struct Ec2 {
    pub scene: Scene,
    pub target: u32,
    pub on_demand: u32,
    pub excess: ExcessCapacity,
    /// Until when the fleet carries a modification out.
    pub modifying_until: Timestamp,
    /// For how long it does.
    pub modifying_for: u64,
    /// How old the state is that describes show.
    pub lag: u64,
    /// Whether nobody answers describes.
    pub away: bool,
    /// Whether the market has anything to give.
    pub capacity: bool,
    pub alive: Vec<Member>,
    pub launched: usize,
    pub terminated: BTreeSet<InstanceId>,
    /// When the fleet replaces what is marked.
    pub replaces: Replaces,
    /// Instances that AWS takes, and when.
    pub marked: BTreeMap<InstanceId, Timestamp>,
    /// What Nomad runs.
    pub nodes: Nodes,
    /// Instances that went with work on them.
    pub undrained: Vec<InstanceId>,
    /// How long an instance boots before it serves.
    pub boot: u64,
    /// The highest target that was set.
    pub highest: u32,
    /// What describes would have shown, oldest first.
    past: Vec<Past>,
    pub demand: f64,
    /// Whether what is sampled is learned; else the need stays what it was.
    pub learning: bool,
    /// The version of its launch template that the fleet launches.
    pub launches: u64,
    /// A version whose instances run and never serve.
    pub broken: Option<u64>,
    /// Whether nobody tells how busy the fleet is.
    pub silent: bool,
}

impl Ec2 {
    pub fn of(count: u32, demand: u32) -> Self {
        let scene = Scene::of(count, demand);
        let alive = scene.seen.members.as_ref().expect("members").what.clone();
        Self {
            scene,
            target: count,
            on_demand: 0,
            excess: ExcessCapacity::NoTermination,
            modifying_until: NOON,
            modifying_for: 15,
            lag: 0,
            away: false,
            capacity: true,
            launched: alive.len(),
            alive,
            terminated: BTreeSet::new(),
            replaces: Replaces::AtDeath,
            marked: BTreeMap::new(),
            nodes: Nodes::default(),
            undrained: Vec::new(),
            boot: 120,
            highest: count,
            past: Vec::new(),
            demand: f64::from(demand),
            learning: true,
            launches: 1,
            broken: None,
            silent: false,
        }
    }

    /// A fleet whose nodes Nomad empties, each with so many allocations.
    pub fn with_nomad(count: u32, demand: u32, allocations: usize) -> Self {
        let mut ec2 = Self::of(count, demand);
        ec2.scene.policy.drain.by = DrainBy::Nomad;
        ec2.nodes.follow(&ec2.alive);
        ec2.nodes.fill(allocations);
        ec2
    }

    /// Ten seconds pass: what was asked for comes, what was described is planned upon. A plan that asks for a look is
    /// made again upon one.
    ///
    /// * `fate`: what happens to each call that the plan makes.
    pub fn tick(&mut self, fate: &mut dyn FnMut(&Action) -> Fate) -> Planned {
        let now = self.scene.now + seconds(10);
        self.live(now);
        let mut planned = self.cycle(now, fate);
        for round in 1..4 {
            if !planned.look {
                break;
            }
            planned = self.cycle(now + Duration::from_millis(200 * round), fate);
        }
        self.scene.now = now;
        planned
    }

    fn cycle(&mut self, now: Timestamp, fate: &mut dyn FnMut(&Action) -> Fate) -> Planned {
        self.scene.now = now;
        self.describe(now);
        let (policy, seen, memory) = (&self.scene.policy, &self.scene.seen, &self.scene.memory);
        if self.learning {
            self.scene.learned.learn(policy, seen, memory, now);
        }
        let planned = self.scene.plan();
        self.scene.remember(&planned);
        for action in &planned.plan.actions {
            self.carry_out(action, fate(action), now);
        }
        planned
    }

    /// Ticks with calls that work.
    pub fn ticks(&mut self, count: usize) {
        for _ in 0..count {
            let _ = self.tick(&mut |_| Fate::Works);
        }
    }

    fn live(&mut self, now: Timestamp) {
        self.nomad(now);
        let taken: Vec<InstanceId> =
            self.marked.iter().filter(|(_, at)| **at <= now).map(|(id, _)| id.clone()).collect();
        for id in &taken {
            self.lose(id);
        }
        for member in &mut self.alive {
            let age = now.since(member.launched).as_secs();
            if member.phase == Phase::Requested && age >= 20 {
                (member.phase, member.since) = (Phase::Booting, now);
            }
            let broken = self.broken.is_some_and(|version| runs(member, version));
            if member.phase == Phase::Booting && age >= self.boot && !broken {
                (member.phase, member.since) = (Phase::InService, now);
            }
        }
        while let Some(market) = self.buys() {
            let mut new = member(self.launched, POOLS[self.launched % POOLS.len()], now);
            new.pool.market = market;
            new.launch = Some(LaunchTemplate { id: "lt-1".to_owned(), version: Some(self.launches) });
            (new.phase, new.since) = (Phase::Requested, now);
            self.alive.push(new);
            self.launched += 1;
        }
        if self.scene.policy.drain.by == DrainBy::Nomad {
            self.nodes.follow(&self.alive);
        }
        self.keep_past(now);
    }

    /// Nodes come and go with their instances, and work moves.
    fn nomad(&mut self, now: Timestamp) {
        if self.scene.policy.drain.by == DrainBy::Nomad {
            self.nodes.follow(&self.alive);
            self.nodes.work_on(now);
        }
    }

    fn keep_past(&mut self, now: Timestamp) {
        let modifying = now < self.modifying_until;
        let counted = self.counted() as f64;
        self.past.push(Past {
            at: now,
            target: self.target,
            on_demand: self.on_demand,
            excess: self.excess,
            modifying,
            members: self.alive.clone(),
            counted,
            launches: self.launches,
        });
    }

    /// The instances that the fleet counts.
    fn counts(&self, market: Market) -> usize {
        let counts = |m: &&Member| self.replaces == Replaces::AtDeath || !self.marked.contains_key(&m.id);
        self.alive.iter().filter(counts).filter(|m| m.pool.market == market).count()
    }

    fn counted(&self) -> usize {
        self.counts(Market::Spot) + self.counts(Market::OnDemand)
    }

    /// What the fleet buys next, if anything: on demand there is always something to be had.
    fn buys(&self) -> Option<Market> {
        let lacks = |market, target: u32| (self.counts(market) as u32) < target;
        if lacks(Market::OnDemand, self.on_demand) {
            return Some(Market::OnDemand);
        }
        (self.capacity && lacks(Market::Spot, self.target - self.on_demand)).then_some(Market::Spot)
    }

    /// The units that serve.
    pub fn serving(&self) -> usize {
        self.alive.iter().filter(|m| m.phase == Phase::InService && self.nodes.takes_work(&m.id)).count()
    }

    /// AWS marks an instance and says so: it is taken in two minutes.
    pub fn interrupt(&mut self, id: &InstanceId) {
        let deadline = self.scene.now + seconds(120);
        self.marked.insert(id.clone(), deadline);
        self.hear(id, NoticeKind::SpotInterruption, Some(deadline));
    }

    /// Something is heard of an instance, and known as long as it lives.
    pub fn hear(&mut self, id: &InstanceId, kind: NoticeKind, deadline: Option<Timestamp>) {
        let at = self.scene.now;
        let notice = Notice { instance: id.clone(), kind, source: NoticeSource::EventBridge, at, deadline };
        self.scene.seen.notices.push(notice);
    }

    /// How many instances run a version.
    pub fn running(&self, version: u64) -> usize {
        self.alive.iter().filter(|m| runs(m, version)).count()
    }

    /// The instances, oldest first.
    pub fn ids(&self) -> Vec<InstanceId> {
        self.alive.iter().map(|m| m.id.clone()).collect()
    }

    fn describe(&mut self, now: Timestamp) {
        let shown = self.past.iter().rev().find(|past| past.at + seconds(self.lag) <= now);
        let Past { at: _, target, on_demand, excess, modifying, members, counted, launches } =
            shown.unwrap_or(&self.past[0]).clone();
        let mut what = view(target, members.len() as f64);
        what.fulfilled = CapacityUnits::new(counted);
        what.on_demand_target = on_demand;
        what.excess = excess;
        what.launch = Some(LaunchTemplate { id: "lt-1".to_owned(), version: Some(launches) });
        what.state = if modifying { FleetState::Modifying } else { FleetState::Active };
        let serving = self.alive.iter().filter(|m| m.phase == Phase::InService).count().max(1) as f64;
        if !self.away {
            self.scene.seen.fleet = Some(Observed { at: now, what });
            self.scene.seen.members = Some(Observed { at: now, what: members });
        }
        let latest = sample(now - seconds(1), self.demand / serving, serving);
        if self.scene.policy.drain.by == DrainBy::Nomad {
            self.scene.seen.nodes = Some(Observed { at: now, what: self.nodes.seen() });
        }
        let alive = |id: &InstanceId| self.alive.iter().any(|m| m.id == *id);
        self.scene.seen.notices.retain(|notice| alive(&notice.instance));
        let latest = (!self.silent).then_some(latest);
        self.scene.seen.samples = latest.into_iter().collect();
        self.scene.seen.latest = latest;
    }

    fn carry_out(&mut self, action: &Action, fate: Fate, now: Timestamp) {
        let modify = matches!(action, Action::Modify { .. });
        if fate == Fate::Refused && modify {
            self.scene.memory.modify_refused();
        }
        if matches!(fate, Fate::Refused | Fate::Lost) {
            return;
        }
        match action {
            Action::Modify { change, .. } => {
                assert!(now >= self.modifying_until, "a modification in a modification");
                (self.target, self.on_demand) = (change.target, change.on_demand_target);
                self.highest = self.highest.max(change.target);
                self.launches = change.launch.unwrap_or(self.launches);
                self.excess = ExcessCapacity::NoTermination;
                self.modifying_until = now + seconds(self.modifying_for);
            }
            Action::Terminate { instances, .. } => {
                for id in instances {
                    self.lose(id);
                }
                self.terminated.extend(instances.iter().cloned());
            }
            Action::Cordon { instance } => self.nodes.cordon(instance),
            Action::Drain { instance, deadline, .. } => self.nodes.drain(instance, *deadline),
            Action::Restore { instance } => self.nodes.restore(instance),
            Action::ScaleGroup { .. } => {}
        }
    }

    /// An instance goes without anybody's doing.
    pub fn lose(&mut self, id: &InstanceId) {
        if self.nodes.has_work(id) {
            self.undrained.push(id.clone());
        }
        self.nodes.lose(id);
        self.marked.remove(id);
        self.alive.retain(|m| m.id != *id);
    }

    /// The victim whose removal is at a step.
    pub fn victim_at(&self, step: RemovalStep) -> Option<InstanceId> {
        self.scene.memory.removals.iter().find(|(_, r)| r.step == step).map(|(id, _)| id.clone())
    }
}

/// Whether an instance was launched from a version.
pub fn runs(member: &Member, version: u64) -> bool {
    member.launch.as_ref().is_some_and(|launch| launch.is("lt-1", version))
}
