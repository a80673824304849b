//! A fleet that behaves as EC2's does, in ticks of ten seconds, with faults on demand.

use super::scene::{NOON, POOLS, Scene, member, sample, seconds, view};
use autoscaler_core::{Action, Member, Observed, Phase, Planned, RemovalStep};
use fleet::{ExcessCapacity, FleetState, InstanceId, Timestamp};
use std::collections::BTreeSet;

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

/// The world: one fleet of weight-1 instances under constant demand, and muster's planner in a loop.
pub struct Ec2 {
    pub scene: Scene,
    pub target: u32,
    pub excess: ExcessCapacity,
    /// Until when the fleet carries a modification out.
    pub modifying_until: Timestamp,
    /// For how long it does.
    pub modifying_for: u64,
    /// How old the state is that describes show.
    pub lag: u64,
    /// Whether the market has anything to give.
    pub capacity: bool,
    pub alive: Vec<Member>,
    pub launched: usize,
    pub terminated: BTreeSet<InstanceId>,
    /// What describes would have shown, oldest first.
    past: Vec<(Timestamp, u32, ExcessCapacity, bool, Vec<Member>)>,
    pub demand: f64,
    /// Whether what is sampled is learned; else the need stays what it was.
    pub learning: bool,
}

impl Ec2 {
    pub fn of(count: u32, demand: u32) -> Self {
        let scene = Scene::of(count, demand);
        let alive = scene.seen.members.as_ref().expect("members").what.clone();
        Self {
            scene,
            target: count,
            excess: ExcessCapacity::NoTermination,
            modifying_until: NOON,
            modifying_for: 15,
            lag: 0,
            capacity: true,
            launched: alive.len(),
            alive,
            terminated: BTreeSet::new(),
            past: Vec::new(),
            demand: f64::from(demand),
            learning: true,
        }
    }

    /// Ten seconds pass: what was asked for comes, what was described is planned upon.
    ///
    /// * `fate`: what happens to each call that the plan makes.
    pub fn tick(&mut self, fate: &mut dyn FnMut(&Action) -> Fate) -> Planned {
        let now = self.scene.now + seconds(10);
        self.scene.now = now;
        self.live(now);
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
        for member in &mut self.alive {
            let age = now.since(member.launched).as_secs();
            if member.phase == Phase::Requested && age >= 20 {
                (member.phase, member.since) = (Phase::Booting, now);
            }
            if member.phase == Phase::Booting && age >= 120 {
                (member.phase, member.since) = (Phase::InService, now);
            }
        }
        while self.capacity && (self.alive.len() as u32) < self.target {
            let mut new = member(self.launched, POOLS[self.launched % POOLS.len()], now);
            (new.phase, new.since) = (Phase::Requested, now);
            self.alive.push(new);
            self.launched += 1;
        }
        let modifying = now < self.modifying_until;
        self.past.push((now, self.target, self.excess, modifying, self.alive.clone()));
    }

    fn describe(&mut self, now: Timestamp) {
        let shown = self.past.iter().rev().find(|(at, ..)| *at + seconds(self.lag) <= now);
        let (_, target, excess, modifying, members) = shown.unwrap_or(&self.past[0]).clone();
        let mut what = view(target, members.len() as f64);
        what.excess = excess;
        what.state = if modifying { FleetState::Modifying } else { FleetState::Active };
        let serving = self.alive.iter().filter(|m| m.phase == Phase::InService).count().max(1) as f64;
        self.scene.seen.fleet = Some(Observed { at: now, what });
        self.scene.seen.members = Some(Observed { at: now, what: members });
        let latest = sample(now - seconds(1), self.demand / serving, serving);
        self.scene.seen.samples = vec![latest];
        self.scene.seen.latest = Some(latest);
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
                self.target = change.target;
                self.excess = ExcessCapacity::NoTermination;
                self.modifying_until = now + seconds(self.modifying_for);
            }
            Action::Terminate { instances, .. } => {
                self.alive.retain(|m| !instances.contains(&m.id));
                self.terminated.extend(instances.iter().cloned());
            }
            other => unreachable!("nobody empties nodes here: {other:?}"),
        }
    }

    /// An instance goes without anybody's doing.
    pub fn lose(&mut self, id: &InstanceId) {
        self.alive.retain(|m| m.id != *id);
    }

    /// The victim whose removal is at a step.
    pub fn victim_at(&self, step: RemovalStep) -> Option<InstanceId> {
        self.scene.memory.removals.iter().find(|(_, r)| r.step == step).map(|(id, _)| id.clone())
    }
}
