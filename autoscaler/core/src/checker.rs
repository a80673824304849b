//! An independently written check of every plan: refuses what breaks an invariant.

mod spread;

use crate::{
    Action, DrainBy, DrainCause, Member, Memory, Phase, Plan, Policy, RemovalStep, ReplacementCause,
    ReplacementStep, Rollout, Snapshot,
};
use fleet::ports::Change;
use fleet::{FleetState, InstanceId, Market, Resources, Timestamp, Work, WorkKind};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// The invariants that a plan can break.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Invariant {
    /// `min <= target <= max`, but for what replacements explain, within `surge`.
    Cap,
    /// No scale-in on missing, stale or contradictory data.
    Data,
    /// Nothing is terminated before it is drained or its drain deadline has passed.
    Drain,
    /// Nothing is terminated that is not in the fleet, nor the node that we run on.
    Own,
    /// One removal leads to exactly one instance less; an instance is replaced at most once.
    Once,
    /// Never two modifications of one fleet in flight.
    Modify,
    /// At least two families; removals do not worsen the spread over families, pools and zones.
    Spread,
    /// The call rate stays within its budget.
    Pace,
}

/// What calls have been made lately, for PACE.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Budget {
    /// Writes to this fleet in the last minute.
    pub writes_last_minute: u32,
    /// The most that is allowed.
    pub writes_per_minute: u32,
}

/// An invariant that a plan would break.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Breach {
    /// Which.
    pub invariant: Invariant,
    /// How, in words with the figures.
    pub how: String,
}

/// Checks a plan against every invariant, by rules of its own: it shares no code with the planner.
///
/// * `before`: the memory that the plan was made from; `after`: the memory it came with.
/// * returns: what would be broken, empty for a plan that may be carried out.
///
/// Pure and total. O(n^2) in the number of instances when something is removed, else O(n).
pub fn check(
    policy: &Policy,
    seen: &Snapshot,
    before: &Memory,
    after: &Memory,
    plan: &Plan,
    budget: Budget,
    now: Timestamp,
) -> Vec<Breach> {
    let mut court = Court { policy, seen, before, after, now, breaches: Vec::new() };
    let mut modifies = 0_u32;
    for action in &plan.actions {
        match action {
            Action::Modify { from, change, .. } => {
                modifies += 1;
                court.size(*change);
                court.modification(*from, *change);
            }
            Action::Terminate { instances, .. } => court.terminations(instances, modifies > 0),
            Action::Cordon { instance } => court.cordon(instance),
            Action::Drain { instance, .. } => court.drain(instance),
            Action::Restore { instance } => court.restore(instance),
            Action::ScaleGroup { .. } => {}
        }
    }
    court.books(modifies > 0);
    if modifies > 1 {
        court.object(Invariant::Modify, format!("{modifies} modifications in one plan"));
    }
    court.spread(plan);
    // Nodes are Nomad's: they cost nothing of EC2's budget.
    let writes = plan.actions.iter().filter(|action| action.is_of_fleet()).count();
    let writes = u32::try_from(writes).unwrap_or(u32::MAX);
    let total = budget.writes_last_minute.saturating_add(writes);
    if writes > 0 && total > budget.writes_per_minute {
        let allowed = budget.writes_per_minute;
        court.object(Invariant::Pace, format!("{total} writes within a minute where {allowed} are allowed"));
    }
    court.breaches
}

/// How old a look at fleet or instances may be for something to be given back upon it.
const FRESH: Duration = Duration::from_secs(30);
/// How old a look at the nodes may be for one of them to be taken for empty, ...
const NODES_FRESH: Duration = Duration::from_secs(60);
/// ... and for an instance to be taken to have none.
const NO_NODE_FRESH: Duration = Duration::from_secs(15);
/// For how long a write that has not shown blocks the next one.
const UNDER_WAY: Duration = Duration::from_secs(90);
/// Sums of weights are compared with this much leeway.
const EPSILON: f64 = 1e-6;

/// What the invariants are judged upon.
struct Court<'a> {
    policy: &'a Policy,
    seen: &'a Snapshot,
    before: &'a Memory,
    after: &'a Memory,
    now: Timestamp,
    breaches: Vec<Breach>,
}

impl<'a> Court<'a> {
    fn object(&mut self, invariant: Invariant, how: String) {
        self.breaches.push(Breach { invariant, how });
    }

    fn apart(&self, at: Timestamp) -> Duration {
        if at > self.now { at.since(self.now) } else { self.now.since(at) }
    }

    /// The instances that are capacity or will be, each once.
    fn living(&self) -> BTreeMap<&'a InstanceId, &'a Member> {
        let members = self.seen.members.iter().flat_map(|m| &m.what);
        members.filter(|m| m.phase != Phase::Leaving).map(|m| (&m.id, m)).collect()
    }

    /// CAP: the target within its bounds, above them only what replacements that are asked for explain; and the
    /// on-demand part within the target.
    fn size(&mut self, change: Change) {
        let Change { target, on_demand_target, launch: _ } = change;
        let (min, max) = (self.policy.capacity.min, self.policy.capacity.max);
        let surge = f64::from(self.policy.capacity.surge).min(asked_for(self.after).ceil());
        if target < min || f64::from(target) > f64::from(max.max(min)) + surge {
            let how = format!("target {target} outside {min}..={max}, {surge} of surge explained");
            self.object(Invariant::Cap, how);
        }
        if on_demand_target > target {
            self.object(Invariant::Cap, format!("on-demand target {on_demand_target} above {target}"));
        }
    }

    /// MODIFY, and DATA for a smaller target.
    fn modification(&mut self, from: u32, change: Change) {
        let Some(fleet) = &self.seen.fleet else {
            return self.object(Invariant::Modify, "the fleet has not been seen".to_owned());
        };
        if fleet.what.state == FleetState::Modifying {
            self.object(Invariant::Modify, "the fleet is being modified".to_owned());
        }
        if fleet.what.target != from {
            let seen = fleet.what.target;
            self.object(Invariant::Modify, format!("planned on target {from} where {seen} was seen"));
        }
        if let Some(version) = change.launch {
            let ordered =
                |rollout: &Rollout| [rollout.from, rollout.to].contains(&version) && !rollout.is_over();
            if !self.before.rollout.as_ref().is_some_and(ordered) {
                let how = format!("version {version} is to be launched, which nobody rolls out");
                self.object(Invariant::Modify, how);
            }
        }
        if let Some(expected) = self.before.expected
            && !expected.shown
            && let Some(written) = expected.written
        {
            let shows = fleet.what.target == expected.target
                && fleet.what.on_demand_target == expected.on_demand_target
                && fleet.at > written;
            if !shows && fleet.at < written + UNDER_WAY && written <= self.now {
                self.object(Invariant::Modify, format!("the write of {written} has not shown yet"));
            }
        }
        // What the ledger held of the target for a while may be taken back whatever is known of load.
        let taken_back = self.taken_back().ceil();
        let below = f64::from(change.target) + taken_back + EPSILON < f64::from(from);
        if below && change.target < self.policy.capacity.max {
            self.knowledge("lower the target");
        }
    }

    /// Units that the target held for replacements, or for victims whose work was leaving, and holds no more.
    fn taken_back(&self) -> f64 {
        (asked_for(self.before) - asked_for(self.after)).max(0.0) + self.lowered() + self.useless()
    }

    /// Units of victims that were counted while their work was leaving, and are no more. The target still counts
    /// those that a lost write would have taken out of it.
    fn lowered(&self) -> f64 {
        let was_counted =
            |step| step == RemovalStep::Draining || (step == RemovalStep::Lowering && self.write_was_lost());
        let is_counted = |id| self.after.removals.get(id).is_some_and(|r| r.step == RemovalStep::Draining);
        let all = self.before.removals.iter();
        let lowered = all.filter(|(id, r)| was_counted(r.step) && !is_counted(*id));
        lowered.map(|(_, r)| r.weight.get()).sum()
    }

    /// Units of those that a roll-out lets go now with nobody in their place: launched since it began, and never ready, they serve
    /// nobody.
    fn useless(&self) -> f64 {
        let Some(rollout) = &self.before.rollout else { return 0.0 };
        let living = self.living();
        let waits = |id| self.before.replacements.get(id).is_some_and(|r| r.step == ReplacementStep::Waiting);
        let goes = self.after.removals.iter().filter(|(id, r)| {
            let young = living.get(*id).is_some_and(|m| m.launched >= rollout.started);
            let lowered = r.step == RemovalStep::Lowering && waits(*id);
            lowered
                && young
                && r.cause == DrainCause::Replaced(ReplacementCause::Rollout)
                && !rollout.ready.contains(*id)
        });
        goes.map(|(_, r)| r.weight.get().ceil()).sum()
    }

    /// Whether the fleet shows what was before the last write, which has not shown.
    fn write_was_lost(&self) -> bool {
        let before =
            self.before.expected.filter(|expected| !expected.shown).and_then(|expected| expected.before);
        let fleet = self.seen.fleet.as_ref().map(|fleet| &fleet.what);
        before
            .zip(fleet)
            .is_some_and(|(before, fleet)| before == Change::of_target(fleet.target, fleet.on_demand_target))
    }

    /// DRAIN, ONCE: what the ledger may do from one cycle to the next, whatever is written.
    fn books(&mut self, modifies: bool) {
        let (before, after) = (self.before, self.after);
        for (id, replacement) in &after.replacements {
            if after.removals.contains_key(id) {
                self.object(Invariant::Once, format!("{id} is replaced and removed at once"));
            }
            let raises = replacement.step == ReplacementStep::Raising
                && before.replacements.get(id).is_none_or(|r| r.step != ReplacementStep::Raising);
            if raises && (before.replaced.contains_key(id) || before.removals.contains_key(id)) {
                self.object(Invariant::Once, format!("{id} is replaced a second time"));
            }
        }
        self.repairs();
        let (was, is) = (rolled_out(before), rolled_out(after));
        let most = usize::try_from(self.policy.rollout.surge).unwrap_or(usize::MAX);
        if is.len() > most && is.iter().any(|id| !was.contains(id)) {
            let how = format!("{} are replaced at once for a roll-out, where {most} may be", is.len());
            self.object(Invariant::Cap, how);
        }
        // What the target holds for one may be passed on to another.
        if !modifies && asked_for(after) > asked_for(before) + self.lowered() + EPSILON {
            self.object(Invariant::Once, "the target is not raised for what is asked for".to_owned());
        }
        let new =
            |id: &&InstanceId| !before.removals.contains_key(*id) && !before.replacements.contains_key(*id);
        let chosen: Vec<&InstanceId> = after
            .removals
            .iter()
            .filter(|(id, r)| new(id) && r.cause == DrainCause::ScaleIn)
            .map(|(id, _)| id)
            .collect();
        if !chosen.is_empty() {
            self.knowledge("choose a victim");
            self.room(&chosen);
        }
    }

    /// DRAIN: what runs on the chosen has room, all in all, on the nodes that stay.
    fn room(&mut self, chosen: &[&InstanceId]) {
        if self.policy.drain.by != DrainBy::Nomad {
            return;
        }
        let Some(nodes) = &self.seen.nodes else {
            return self
                .object(Invariant::Drain, "a victim is chosen where the nodes are not known".to_owned());
        };
        let (mut needs, mut free) = ([0_u64; 3], [0_u64; 3]);
        let parts = |of: Resources| [of.cpu_mhz, of.memory_mib, of.disk_mib];
        for node in &nodes.what {
            let mut uses = [0_u64; 3];
            for work in node.work.iter() {
                let moves = !matches!(work.kind, WorkKind::System | WorkKind::Sysbatch);
                for (part, amount) in parts(work.needs).into_iter().enumerate() {
                    uses[part] = uses[part].saturating_add(amount);
                    if moves && chosen.contains(&&node.instance) {
                        needs[part] = needs[part].saturating_add(amount);
                    }
                }
            }
            if !self.after.removals.contains_key(&node.instance) && node.eligible {
                for (part, amount) in parts(node.capacity).into_iter().enumerate() {
                    free[part] = free[part].saturating_add(amount.saturating_sub(uses[part]));
                }
            }
        }
        if needs.iter().zip(free).any(|(needs, free)| *needs > free) {
            let how =
                format!("work of {needs:?} MHz, MiB and MiB of disk would move to nodes with {free:?} free");
            self.object(Invariant::Drain, how);
        }
    }

    /// OWN: only nodes of the fleet's own instances are touched, and none that is protected.
    fn touch(&mut self, id: &InstanceId, what: &str) {
        match self.living().get(id) {
            None if self.is_of_an_earlier_leader(id) => {}
            None => self.object(Invariant::Own, format!("{what} {id}, which is not in the fleet")),
            Some(member) if member.protected => {
                self.object(Invariant::Own, format!("{what} {id}, which is protected"));
            }
            Some(_) => {}
        }
    }

    /// Whether a leader before us has seen an instance and entered it with the time of its end, and we have not looked since.
    fn is_of_an_earlier_leader(&self, id: &InstanceId) -> bool {
        let goes = self.before.deadline_of(id).is_some();
        let is_protected = self.policy.protect.instances.contains(id) || self.before.protected.contains(id);
        let is_listed = self.seen.members.iter().flat_map(|members| &members.what).any(|m| m.id == *id);
        self.seen.unseen.contains(id) && goes && !is_protected && !is_listed
    }

    fn is_in_ledger(&self, id: &InstanceId) -> bool {
        self.after.removals.contains_key(id) || self.after.replacements.contains_key(id)
    }

    fn cordon(&mut self, id: &InstanceId) {
        self.touch(id, "cordon");
        if !self.is_in_ledger(id) && !self.seen.notices.iter().any(|notice| notice.instance == *id) {
            self.object(Invariant::Own, format!("cordon {id}, which is not about to go"));
        }
    }

    fn drain(&mut self, id: &InstanceId) {
        self.touch(id, "drain");
        if !self.is_in_ledger(id) {
            self.object(Invariant::Own, format!("drain {id}, which is not in the ledger"));
        }
    }

    /// What stays takes work again, and be it that somebody has protected it since it was chosen.
    fn restore(&mut self, id: &InstanceId) {
        if !self.living().contains_key(id) {
            self.object(Invariant::Own, format!("restore {id}, which is not in the fleet"));
        }
        if self.is_in_ledger(id) {
            self.object(Invariant::Once, format!("restore {id}, which is about to go"));
        }
    }

    /// DATA: fleet, instances and load were seen lately, and do not contradict each other.
    fn knowledge(&mut self, what: &str) {
        let fleet_age = self.seen.fleet.as_ref().map(|f| self.apart(f.at));
        let members_age = self.seen.members.as_ref().map(|m| self.apart(m.at));
        for (whom, age) in [("fleet", fleet_age), ("instances", members_age)] {
            match age {
                None => self.object(Invariant::Data, format!("{what}: the {whom} have not been seen")),
                Some(age) if age > FRESH => {
                    self.object(Invariant::Data, format!("{what}: the {whom} were seen {age:?} ago"));
                }
                Some(_) => {}
            }
        }
        match self.seen.latest {
            None => self.object(Invariant::Data, format!("{what}: no sample")),
            Some(latest) => {
                let age = self.apart(latest.end);
                if age > latest.period.saturating_mul(3).saturating_add(Duration::from_secs(60)) {
                    self.object(Invariant::Data, format!("{what}: the newest sample is {age:?} old"));
                }
            }
        }
        let fulfilled = self.seen.fleet.as_ref().map_or(0.0, |f| f.what.fulfilled.get());
        let living = self.living();
        let seen: f64 = living.values().map(|m| m.weight.get()).sum();
        let least = living.values().map(|m| m.weight.get()).fold(1.0, f64::min);
        if fulfilled > seen + least / 2.0 + EPSILON {
            self.object(Invariant::Data, format!("{what}: {fulfilled} units counted, {seen} seen"));
        }
    }

    /// OWN, DRAIN and ONCE: every victim is ours, drained, in the ledger, and not counted by the target.
    fn terminations(&mut self, instances: &[InstanceId], modifies: bool) {
        let living = self.living();
        let mut told = BTreeSet::new();
        for id in instances {
            if !told.insert(id) {
                self.object(Invariant::Once, format!("{id} twice in one plan"));
            }
            match living.get(id) {
                None => self.object(Invariant::Own, format!("{id} is not in the fleet")),
                Some(member) if member.protected => {
                    self.object(Invariant::Own, format!("{id} is protected"));
                }
                Some(member) if !self.was_told(id) => self.undrained(id, member),
                Some(_) => {}
            }
            if self.after.removals.get(id).is_none_or(|r| r.step != RemovalStep::Terminating) {
                self.object(Invariant::Once, format!("{id} is not in the ledger"));
            }
        }
        if modifies {
            self.object(Invariant::Once, "a target changes while instances are terminated".to_owned());
        }
        self.balance(&told, &living);
        if told.iter().any(|id| !self.before.removals.contains_key(*id)) {
            self.knowledge("terminate an instance");
        }
    }

    /// DRAIN: nothing runs there any more, or the time for it has passed.
    fn undrained(&mut self, id: &InstanceId, member: &Member) {
        let until = self.after.removals.get(id).and_then(|removal| removal.drain_until);
        let nodes = self.seen.nodes.iter().flat_map(|nodes| &nodes.what);
        let node = nodes.filter(|node| node.instance == *id).max_by_key(|node| (node.ready, &node.id));
        let ignores = self.policy.drain.ignore_system_jobs;
        let stays = |work: &&Work| ignores && matches!(work.kind, WorkKind::System | WorkKind::Sysbatch);
        let work = || node.into_iter().flat_map(|node| node.work.iter()).filter(|work| !stays(work));
        let grace = work().map(|work| work.grace).max().unwrap_or_default();
        // A node that answers, and drains no more or not yet, has never been asked to let go of what it has, unless all of
        // that has been told to end.
        let unasked = self.policy.drain.by == DrainBy::Nomad
            && node.is_some_and(|node| {
                node.eligible || (node.ready && !node.draining && work().any(|work| !work.stopping))
            });
        if until.is_some_and(|until| self.now >= until + grace) && !unasked {
            return;
        }
        let told = self.seen.emptied.contains(id);
        let at = self.seen.nodes.as_ref().map(|nodes| nodes.at);
        let most = if node.is_some() { NODES_FRESH } else { NO_NODE_FRESH };
        // What serves has a node, shown or not.
        let hidden = node.is_none() && member.phase == Phase::InService;
        let unknown = hidden || at.is_none_or(|at| self.apart(at) > most);
        let holds = match self.policy.drain.by {
            DrainBy::Nobody => member.phase == Phase::Draining,
            DrainBy::Hook => !told,
            DrainBy::Nomad => {
                unknown || work().next().is_some() || node.is_some_and(|node| node.eligible || node.draining)
            }
        };
        if holds {
            self.object(Invariant::Drain, format!("{id} still drains"));
        }
    }

    fn was_told(&self, id: &InstanceId) -> bool {
        self.before.removals.get(id).is_some_and(|r| r.step == RemovalStep::Terminating)
    }

    /// ONCE: what remains fills the target, of each market, or the fleet would buy replacements.
    fn balance(&mut self, told: &BTreeSet<&InstanceId>, living: &BTreeMap<&InstanceId, &Member>) {
        let Some(fleet) = &self.seen.fleet else { return };
        let on_demand = f64::from(fleet.what.on_demand_target.min(fleet.what.target));
        let spot = f64::from(fleet.what.target) - on_demand;
        for (market, target) in [(Market::Spot, spot), (Market::OnDemand, on_demand)] {
            let of_market = || living.values().filter(|m| m.pool.market == market);
            let goes = of_market().any(|m| told.contains(&m.id));
            let remains: f64 = of_market()
                .filter(|m| !told.contains(&m.id) && !self.was_told(&m.id))
                .map(|m| m.weight.get())
                .sum();
            if goes && remains + EPSILON < target {
                let how = format!("{remains} {market:?} units would remain where {target} are asked for");
                self.object(Invariant::Once, how);
            }
        }
    }
}

/// Those that are on their way out for a roll-out.
fn rolled_out(memory: &Memory) -> BTreeSet<&InstanceId> {
    let replaced = memory.replacements.iter().filter(|(_, r)| r.cause == ReplacementCause::Rollout);
    let removed = DrainCause::Replaced(ReplacementCause::Rollout);
    let removals = memory.removals.iter().filter(|(_, r)| r.cause == removed);
    replaced.map(|(id, _)| id).chain(removals.map(|(id, _)| id)).collect()
}

/// Units that are asked for in place of what is about to go.
fn asked_for(memory: &Memory) -> f64 {
    let steps = [ReplacementStep::Raising, ReplacementStep::Raised];
    memory.replacements.values().filter(|r| steps.contains(&r.step)).fold(0.0, |sum, r| sum + r.weight.get())
}
