//! SPREAD: how capacity lies over families, pools and zones.

use super::{Court, EPSILON, Invariant};
use crate::{
    Diversification, DrainBy, DrainCause, Member, Memory, Phase, Plan, RemovalStep, ReplacementCause,
};
use fleet::{Health, InstanceId, NoticeKind, Pool, Resources, WorkKind, Zone};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// From so many sound instances up the spread is judged.
const SPREAD_FROM: usize = 4;

impl<'a> Court<'a> {
    /// Those that are marked for interruption.
    fn doomed(&self) -> BTreeSet<&'a InstanceId> {
        let notices = self.seen.notices.iter();
        notices.filter(|n| n.kind == NoticeKind::SpotInterruption).map(|n| &n.instance).collect()
    }

    /// SPREAD: who is replaced for the spread's sake is replaced within the budget, and for a reason.
    pub(super) fn repairs(&mut self) {
        let is_new = |id: &InstanceId| {
            !self.before.replacements.contains_key(id) && !self.before.removals.contains_key(id)
        };
        let for_spread = self.after.replacements.iter().filter(|(_, r)| r.cause == ReplacementCause::Spread);
        let new: Vec<&InstanceId> = for_spread.map(|(id, _)| id).filter(|id| is_new(id)).collect();
        if new.is_empty() {
            return;
        }
        let hour = Duration::from_secs(3600);
        let lately = self.before.repairs.iter().filter(|at| self.now.since(**at) < hour).count() + new.len();
        let budget = self.policy.diversification.repairs_per_hour;
        if lately > usize::try_from(budget).unwrap_or(usize::MAX) {
            let how = format!("{lately} are replaced for the spread within an hour, where {budget} may be");
            self.object(Invariant::Spread, how);
        }
        let doomed = self.doomed();
        let living = self.living();
        let sound: Vec<_> =
            living.into_values().filter(|m| m.health == Health::Healthy && !doomed.contains(&m.id)).collect();
        let short = shortfall(sound.iter().copied(), &self.policy.diversification);
        if sound.len() < SPREAD_FROM || (short.0 == 0 && short.1 <= 0.0) {
            let how = format!("{} is replaced for a spread that falls short of nothing", new[0]);
            self.object(Invariant::Spread, how);
        }
    }

    /// SPREAD: no exchange of a new victim for another instance would leave the fleet better spread, and room for all
    /// that has to move, where it ends worse spread than it was.
    pub(super) fn spread(&mut self, plan: &Plan) {
        let removals = self.after.removals.iter();
        let chosen = removals
            .filter(|(id, r)| r.cause == DrainCause::ScaleIn && !self.before.removals.contains_key(*id));
        let mut new_victims: BTreeSet<&InstanceId> = chosen.map(|(id, _)| id).collect();
        if new_victims.is_empty() || plan.actions.is_empty() {
            return;
        }
        let doomed = self.doomed();
        let staying: Vec<&Member> = self
            .living()
            .into_values()
            .filter(|m| {
                // Who was on the way out before is judged no more: only what stays beside them is spread.
                let begun = self.before.removals.get(&m.id);
                let told = begun.is_some_and(|r| {
                    r.step == RemovalStep::Terminating || self.after.removals.contains_key(&m.id)
                });
                let given_up = self.after.removals.get(&m.id).is_some_and(|r| r.cause != DrainCause::ScaleIn);
                let replaced = |memory: &Memory| memory.replacements.contains_key(&m.id);
                let goes = given_up || replaced(self.before) || replaced(self.after);
                !told && !goes
            })
            .collect();
        // Those that were to be replaced go whoever is chosen.
        new_victims.retain(|id| staying.iter().any(|m| m.id == **id));
        let sound = |m: &&Member| m.health == Health::Healthy && !doomed.contains(&m.id);
        if staying.iter().filter(|m| sound(m)).count() < SPREAD_FROM {
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
                    && self.has_no_work(&m.id)
                    && !self.is_hidden(m)
                    && m.pool.market == victim.pool.market
                    && m.weight.get() <= victim.weight.get() + EPSILON
            });
            for other in choices {
                let instead = left(&|id| *id == other.id || (new_victims.contains(id) && *id != victim.id));
                if worse(becomes, instead) && self.has_places_without(&other.id, &victim.id) {
                    found = Some((victim.id.clone(), other.id.clone()));
                }
            }
        }
        if let Some((victim, other)) = found {
            let how = format!("removing {other} in place of {victim} would leave the fleet better spread");
            self.object(Invariant::Spread, how);
        }
    }

    /// Whether nothing would have to move from an instance: else it may be no choice, for want of room elsewhere.
    fn has_no_work(&self, id: &InstanceId) -> bool {
        let nodes = self.seen.nodes.iter().flat_map(|nodes| &nodes.what);
        let by_nomad = self.policy.drain.by == DrainBy::Nomad;
        !by_nomad || nodes.filter(|node| node.instance == *id).all(|node| node.work.is_empty())
    }

    /// Whether what runs on all who go certainly has a place elsewhere if one goes in another's place: a node without work
    /// may be the room that others' work needs. Piece by piece, the largest first, each on the first node that holds it; what
    /// asks for more than room is taken to find none.
    fn has_places_without(&self, goes: &InstanceId, stays: &InstanceId) -> bool {
        if self.policy.drain.by != DrainBy::Nomad {
            return true;
        }
        let Some(nodes) = &self.seen.nodes else { return false };
        let living = self.living();
        let parts = |of: Resources| [of.cpu_mhz, of.memory_mib, of.disk_mib];
        let (mut pieces, mut free): (Vec<[u64; 3]>, Vec<[u64; 3]>) = (Vec::new(), Vec::new());
        for node in &nodes.what {
            let id = &node.instance;
            if id == goes || (self.is_in_ledger(id) && id != stays) {
                let work = node.work.iter();
                for work in work.filter(|work| !matches!(work.kind, WorkKind::System | WorkKind::Sysbatch)) {
                    if !work.ports.is_empty() || !work.asks.is_empty() || work.distinct_hosts {
                        return false;
                    }
                    pieces.push(parts(work.needs));
                }
            } else if node.ready && node.eligible && !node.draining && living.contains_key(id) {
                let mut left = parts(node.capacity);
                for work in node.work.iter() {
                    for (left, uses) in left.iter_mut().zip(parts(work.needs)) {
                        *left = left.saturating_sub(uses);
                    }
                }
                free.push(left);
            }
        }
        pieces.sort_unstable_by(|a, b| b.cmp(a));
        pieces.into_iter().all(|piece| {
            let node = free.iter_mut().find(|free| piece.iter().zip(free.iter()).all(|(p, f)| p <= f));
            let Some(node) = node else { return false };
            node.iter_mut().zip(piece).for_each(|(left, uses)| *left -= uses);
            true
        })
    }

    /// Whether an instance serves and its node is not shown: it is chosen where nobody else can be.
    fn is_hidden(&self, member: &Member) -> bool {
        let Some(nodes) = self.seen.nodes.as_ref().filter(|_| self.policy.drain.by == DrainBy::Nomad) else {
            return false;
        };
        member.phase == Phase::InService && nodes.what.iter().all(|node| node.instance != member.id)
    }
}

/// How far instances fall short of the wanted spread: families missing, then the shares of one pool and of one zone
/// beyond the largest, added.
fn shortfall<'m>(members: impl Iterator<Item = &'m Member>, rule: &Diversification) -> (u32, f64) {
    let mut by_pool: BTreeMap<&Pool, f64> = BTreeMap::new();
    let mut by_zone: BTreeMap<&Zone, f64> = BTreeMap::new();
    let mut families = BTreeSet::new();
    for member in members {
        *by_pool.entry(&member.pool).or_default() += member.weight.get();
        *by_zone.entry(&member.pool.zone).or_default() += member.weight.get();
        families.insert(member.pool.family());
    }
    let total: f64 = by_pool.values().sum();
    let beyond = |largest: f64, most: f64| {
        let share = if total > 0.0 { largest / total } else { 0.0 };
        (share - most).max(0.0)
    };
    let of_pool = beyond(by_pool.values().copied().fold(0.0, f64::max), rule.max_pool_share);
    let of_zone = beyond(by_zone.values().copied().fold(0.0, f64::max), rule.max_zone_share);
    let families = u32::try_from(families.len()).unwrap_or(u32::MAX);
    (rule.families.saturating_sub(families), of_pool + of_zone)
}

/// Whether a spread is worse than another, by more than rounding (a few millionths).
fn worse(a: (u32, f64), b: (u32, f64)) -> bool {
    a.0 > b.0 || (a.0 == b.0 && a.1 > b.1 + 3e-6)
}
