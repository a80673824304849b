//! An independently written check of every plan: refuses what breaks an invariant.

use crate::{Action, Diversification, Member, Memory, Phase, Plan, Policy, RemovalStep, Snapshot};
use fleet::ports::Change;
use fleet::{FleetState, Health, InstanceId, Market, NoticeKind, Pool, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// The invariants that a plan can break.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Invariant {
    /// `min <= target <= max`.
    Cap,
    /// No scale-in on missing, stale or contradictory data.
    Data,
    /// Nothing is terminated before it is drained or its drain deadline has passed.
    Drain,
    /// Nothing is terminated that is not in the fleet, nor the node that we run on.
    Own,
    /// One removal leads to exactly one instance less.
    Once,
    /// Never two modifications of one fleet in flight.
    Modify,
    /// At least two families; removals do not worsen the spread.
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
            Action::Cordon { .. }
            | Action::Drain { .. }
            | Action::Restore { .. }
            | Action::ScaleGroup { .. } => {}
        }
    }
    if modifies > 1 {
        court.object(Invariant::Modify, format!("{modifies} modifications in one plan"));
    }
    court.spread(plan);
    let writes = u32::try_from(plan.actions.len()).unwrap_or(u32::MAX);
    let total = budget.writes_last_minute.saturating_add(writes);
    if writes > 0 && total > budget.writes_per_minute {
        let allowed = budget.writes_per_minute;
        court.object(Invariant::Pace, format!("{total} writes within a minute where {allowed} are allowed"));
    }
    court.breaches
}

/// How old a look at fleet or instances may be for something to be given back upon it.
const FRESH: Duration = Duration::from_secs(30);
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

    /// CAP: the target within its bounds, and the on-demand part within the target.
    fn size(&mut self, change: Change) {
        let Change { target, on_demand_target } = change;
        let (min, max) = (self.policy.capacity.min, self.policy.capacity.max);
        if target < min || target > max.max(min) {
            self.object(Invariant::Cap, format!("target {target} outside {min}..={max}"));
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
        if change.target < from && change.target < self.policy.capacity.max {
            self.knowledge("lower the target");
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
                Some(member) if member.phase == Phase::Draining && !self.was_told(id) => {
                    self.object(Invariant::Drain, format!("{id} still drains"));
                }
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

    /// SPREAD: no exchange of a new victim for another instance would leave the fleet better spread, where it
    /// ends worse spread than it was.
    fn spread(&mut self, plan: &Plan) {
        let new_victims: BTreeSet<&InstanceId> =
            self.after.removals.keys().filter(|id| !self.before.removals.contains_key(*id)).collect();
        if new_victims.is_empty() || plan.actions.is_empty() {
            return;
        }
        let doomed: BTreeSet<&InstanceId> = self
            .seen
            .notices
            .iter()
            .filter(|n| n.kind == NoticeKind::SpotInterruption)
            .map(|n| &n.instance)
            .collect();
        let staying: Vec<&Member> = self
            .living()
            .into_values()
            .filter(|m| {
                let removal = self.before.removals.get(&m.id);
                removal.is_none_or(|r| r.step != RemovalStep::Terminating)
            })
            .collect();
        let sound = |m: &&Member| m.health == Health::Healthy && !doomed.contains(&m.id);
        if staying.iter().filter(|m| sound(m)).count() < 4 {
            return;
        }
        let rule = &self.policy.diversification;
        let left = |gone: &dyn Fn(&InstanceId) -> bool| {
            shortfall(staying.iter().copied().filter(|m| sound(m) && !gone(&m.id)), rule)
        };
        let was = left(&|_| false);
        let becomes = left(&|id| new_victims.contains(id));
        if !worse(becomes, was) {
            return;
        }
        let mut found = None;
        for victim in staying.iter().filter(|m| new_victims.contains(&m.id)) {
            let choices = staying.iter().filter(|m| {
                !new_victims.contains(&m.id)
                    && !m.protected
                    && m.phase != Phase::Draining
                    && m.weight.get() > 0.0
                    && m.pool.market == victim.pool.market
                    && m.weight.get() <= victim.weight.get() + EPSILON
            });
            for other in choices {
                let instead = left(&|id| *id == other.id || (new_victims.contains(id) && *id != victim.id));
                if worse(becomes, instead) {
                    found = Some((victim.id.clone(), other.id.clone()));
                }
            }
        }
        if let Some((victim, other)) = found {
            let how = format!("removing {other} in place of {victim} would leave the fleet better spread");
            self.object(Invariant::Spread, how);
        }
    }
}

/// How far instances fall short of the wanted spread: families missing, share of one pool beyond the largest.
fn shortfall<'m>(members: impl Iterator<Item = &'m Member>, rule: &Diversification) -> (u32, f64) {
    let mut by_pool: BTreeMap<&Pool, f64> = BTreeMap::new();
    let mut families = BTreeSet::new();
    for member in members {
        *by_pool.entry(&member.pool).or_default() += member.weight.get();
        families.insert(member.pool.family());
    }
    let total: f64 = by_pool.values().sum();
    let largest = by_pool.values().copied().fold(0.0, f64::max);
    let share = if total > 0.0 { largest / total } else { 0.0 };
    let families = u32::try_from(families.len()).unwrap_or(u32::MAX);
    (rule.families.saturating_sub(families), (share - rule.max_pool_share).max(0.0))
}

/// Whether a spread is worse than another, by more than rounding (a few millionths).
fn worse(a: (u32, f64), b: (u32, f64)) -> bool {
    a.0 > b.0 || (a.0 == b.0 && a.1 > b.1 + 3e-6)
}
