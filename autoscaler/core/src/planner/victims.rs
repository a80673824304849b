//! Whom to let go.

use super::draft::Draft;
use super::fits::Room;
use super::herd::{ByMarket, Herd, LEEWAY};
use super::{drain, fallback, idle, pools, rollout};
use crate::number::millionths;
use crate::{Candidate, Choice, Diversification, DrainBy, Hold, Member, Phase};
use fleet::{Health, InstanceId, NoticeKind, Override, Pool, UsdPerHour, Weight, WorkKind, Zone};
use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

/// From so many instances up the spread is watched.
const SPREAD_FROM: usize = 4;
/// So many that were not chosen are told.
const RUNNERS_UP: usize = 3;

/// Chooses whom to let go, whole instances only and never more than is spare.
///
/// The spread comes first; then those that are no loss (empty already, unhealthy, doomed), those at risk, the pools that
/// most is held against, the fullest pools, the dearest, those with the least to move, those that do not serve yet, the
/// youngest. Protected ones never, nor those whose work has no place elsewhere; those whose node is hidden only where
/// nobody else can go. The choice is reported.
///
/// * `spare`: the units that may go, by market.
/// * returns: the victims, in the order of choice; their weights sum to at most `spare`.
pub(super) fn choose<'a>(draft: &mut Draft<'_>, herd: &Herd<'a>, mut spare: ByMarket) -> Vec<&'a Member> {
    let ranks = Ranks::of(draft, herd);
    let staying: Vec<&Member> = herd.staying(draft).collect();
    let mut pools = Spread::over(staying.iter().copied().filter(|m| ranks.counts(m)));
    let mut candidates: Vec<&Member> = staying.iter().copied().filter(|m| may_go(m)).collect();
    leave_batch_work(draft, &mut candidates);
    let (mut hidden, mut candidates): (Vec<&Member>, Vec<&Member>) =
        candidates.into_iter().partition(|m| drain::is_hidden(draft, m));
    // Most often nothing is spare, and nobody asks for room.
    let mut room = None;
    let mut chosen: Vec<&Member> = Vec::new();
    let mut without_room: Vec<&Member> = Vec::new();
    let before = pools.lack(&draft.policy.diversification);
    for candidates in [&mut candidates, &mut hidden] {
        while let Some(index) = best(draft, &ranks, &pools, candidates, spare) {
            let victim = candidates.remove(index);
            let room = room.get_or_insert_with(|| Room::of(draft, herd));
            if room.as_mut().is_some_and(|room| !room.let_go(&victim.id)) {
                without_room.push(victim);
                continue;
            }
            *spare.of_mut(victim.pool.market) -= victim.weight.get();
            pools.take(victim, ranks.counts(victim));
            chosen.push(victim);
        }
    }
    if !without_room.is_empty() {
        draft.hold(Hold::NoRoom { instances: without_room.len() });
    }
    // Whoever has no room beside the chosen may have it in place of one of them.
    candidates.extend(&without_room);
    swap_for_spread(draft, herd, &ranks, &mut pools, &mut chosen, &mut candidates, before);
    candidates.retain(|m| without_room.iter().all(|other| other.id != m.id));
    report(draft, &ranks, &pools, &chosen, candidates);
    chosen
}

/// The candidate that should go next, of those that fit into what is spare.
fn best(
    draft: &Draft<'_>,
    ranks: &Ranks<'_>,
    pools: &Spread<'_>,
    candidates: &[&Member],
    spare: ByMarket,
) -> Option<usize> {
    let rule = &draft.policy.diversification;
    let fits = |m: &Member| m.weight.get() <= spare.of(m.pool.market) + LEEWAY;
    let mut withouts = Withouts::of(pools, rule);
    candidates
        .iter()
        .enumerate()
        .filter(|(_, m)| fits(m))
        .map(|(index, m)| (index, withouts.get(m, ranks.counts(m)), *m))
        .min_by(|(_, lack_a, a), (_, lack_b, b)| {
            lack_a.lack.cmp(&lack_b.lack).then_with(|| ranks.compare(a, lack_a.largest, b, lack_b.largest))
        })
        .map(|(index, ..)| index)
}

/// Leaves those alone that batch work runs on, where the policy waits for its end.
pub(super) fn leave_batch_work(draft: &mut Draft<'_>, candidates: &mut Vec<&Member>) {
    if draft.policy.drain.interrupt_batch || draft.policy.drain.by != DrainBy::Nomad {
        return;
    }
    let batch = |m: &&Member| {
        draft.node_of(&m.id).is_some_and(|node| node.work.iter().any(|work| work.kind == WorkKind::Batch))
    };
    let before = candidates.len();
    candidates.retain(|m| !batch(m));
    let instances = before - candidates.len();
    if instances > 0 {
        draft.hold(Hold::BatchRuns { instances });
    }
}

/// Writes down who was chosen, and who would have been next.
fn report(
    draft: &mut Draft<'_>,
    ranks: &Ranks<'_>,
    pools: &Spread<'_>,
    chosen: &[&Member],
    mut candidates: Vec<&Member>,
) {
    let seen = draft.seen;
    let plain = seen.prices.is_empty() && seen.nodes.is_none() && draft.memory.pools.is_empty();
    if chosen.is_empty() || plain {
        return;
    }
    let rule = &draft.policy.diversification;
    let mut runners_up = Vec::new();
    let mut withouts = Withouts::of(pools, rule);
    while runners_up.len() < RUNNERS_UP
        && let Some(index) = candidates
            .iter()
            .enumerate()
            .map(|(index, m)| (index, withouts.get(m, ranks.counts(m)), *m))
            .min_by(|(_, a, m), (_, b, n)| {
                a.lack.cmp(&b.lack).then_with(|| ranks.compare(m, a.largest, n, b.largest))
            })
            .map(|(index, ..)| index)
    {
        runners_up.push(ranks.candidate(candidates.remove(index)));
    }
    let victims = chosen.iter().map(|m| ranks.candidate(m)).collect();
    draft.report.choice = Some(Choice { victims, runners_up });
}

/// Somebody whose replacement may bring a fleet back that is out of its spread: of the fullest zone where one holds too
/// much, else of the fullest pool; who leaves the best spread, then of the fullest pool, then by the order of victims.
/// `None` where the spread is as the policy wants it, or cannot be helped.
pub(super) fn out_of_spread<'a>(draft: &mut Draft<'_>, herd: &Herd<'a>) -> Option<&'a Member> {
    let ranks = Ranks::of(draft, herd);
    let policy = draft.policy;
    let rule = &policy.diversification;
    let pools = Spread::over(herd.staying(draft).filter(|m| ranks.counts(m)));
    let Without { lack: now, largest } = pools.measure(None, rule);
    if now == (Lack { families: 0, share_millionths: 0 }) {
        return None;
    }
    let listed = &draft.seen.fleet.as_ref()?.what.overrides;
    let over = |share: f64, most: f64| millionths(share - most) > 0;
    let (zone, zone_share) = pools.fullest_zone()?;
    let elsewhere = |o: &Override| o.zone.as_ref().is_none_or(|other| other != zone);
    let of_zone = over(zone_share, rule.max_zone_share) && listed.iter().any(elsewhere);
    let pool = pools.fullest()?;
    let other = |o: &Override| {
        o.instance_type != pool.instance_type || o.zone.as_ref().is_some_and(|zone| *zone != pool.zone)
    };
    let of_pool = now.families > 0 || over(largest, rule.max_pool_share);
    let helps = of_zone || (of_pool && listed.iter().any(other));
    if !helps {
        return None;
    }
    let candidates = herd.staying(draft).filter(|m| {
        let crowded = if of_zone { m.pool.zone == *zone } else { m.pool == *pool };
        crowded && may_go(m) && !drain::is_hidden(draft, m) && !draft.memory.replaced.contains_key(&m.id)
    });
    let mut candidates: Vec<&Member> = candidates.collect();
    leave_batch_work(draft, &mut candidates);
    let mut withouts = Withouts::of(&pools, rule);
    candidates
        .into_iter()
        .map(|m| (withouts.get(m, ranks.counts(m)).lack, pools.units(&m.pool), m))
        .filter(|(lack, ..)| lack.families <= now.families)
        .min_by(|(lack_a, units_a, a), (lack_b, units_b, b)| {
            let spread = lack_a.cmp(lack_b).then_with(|| units_b.total_cmp(units_a));
            spread.then_with(|| ranks.compare(a, 0.0, b, 0.0))
        })
        .map(|(.., member)| member)
}

/// Puts those first who are to be replaced first, by the order of victims.
pub(super) fn sort(draft: &Draft<'_>, herd: &Herd<'_>, members: &mut [&Member]) {
    let ranks = Ranks::of(draft, herd);
    members.sort_by(|a, b| ranks.compare(a, 0.0, b, 0.0));
}

/// Whether an instance may be chosen at all. One that drains is somebody else's victim.
fn may_go(member: &Member) -> bool {
    !member.protected && member.weight.get() > 0.0 && member.phase != Phase::Draining
}

/// So many exchanges are looked at for room, each as dear as placing all that moves. Most often the first one has it.
const MOST_LOOKS: usize = 64;

/// One victim after the other may end in a worse spread than the best exchange of one for another: makes those
/// exchanges, as long as they help and all that has to move still finds a place.
fn swap_for_spread<'a>(
    draft: &Draft<'_>,
    herd: &Herd<'_>,
    ranks: &Ranks<'_>,
    pools: &mut Spread<'a>,
    chosen: &mut [&'a Member],
    candidates: &mut [&'a Member],
    before: Lack,
) {
    let mut looks = MOST_LOOKS;
    // Each exchange strictly improves a finite measure, so that this ends; the bound is for the reader.
    for _ in 0..10_000 {
        if pools.lack(&draft.policy.diversification) <= before {
            return;
        }
        let mut has_room = |chosen: &[&Member]| {
            looks = looks.saturating_sub(1);
            looks > 0 && all_fit(draft, herd, chosen)
        };
        let Some((i, j)) = exchange(draft, ranks, pools, chosen, candidates, &mut has_room) else { return };
        pools.give_back(chosen[i], ranks.counts(chosen[i]));
        pools.take(candidates[j], ranks.counts(candidates[j]));
        std::mem::swap(&mut chosen[i], &mut candidates[j]);
    }
}

/// The first exchange that leaves the fleet better spread, as places in `chosen` and `candidates`.
fn exchange<'a>(
    draft: &Draft<'_>,
    ranks: &Ranks<'_>,
    pools: &mut Spread<'a>,
    chosen: &[&'a Member],
    candidates: &[&'a Member],
    has_room: &mut dyn FnMut(&[&Member]) -> bool,
) -> Option<(usize, usize)> {
    let rule = &draft.policy.diversification;
    let now = pools.lack(rule);
    for (i, victim) in chosen.iter().enumerate() {
        pools.give_back(victim, ranks.counts(victim));
        let found = candidates.iter().position(|other| {
            let same =
                other.pool.market == victim.pool.market && other.weight.get() <= victim.weight.get() + LEEWAY;
            let better = same && pools.without(other, ranks.counts(other), rule).lack < now;
            better && {
                let mut instead = chosen.to_vec();
                instead[i] = *other;
                has_room(&instead)
            }
        });
        pools.take(victim, ranks.counts(victim));
        if let Some(j) = found {
            return Some((i, j));
        }
    }
    None
}

/// Whether the work of all of them finds a place elsewhere, one after the other.
fn all_fit(draft: &Draft<'_>, herd: &Herd<'_>, chosen: &[&Member]) -> bool {
    Room::of(draft, herd).is_none_or(|mut room| chosen.iter().all(|m| room.let_go(&m.id)))
}

/// What decides among victims beside the spread.
struct Ranks<'a> {
    doomed: BTreeSet<&'a InstanceId>,
    at_risk: BTreeSet<&'a InstanceId>,
    facts: BTreeMap<&'a InstanceId, Facts>,
}

/// What is known of an instance.
#[derive(Clone, Copy, Default)]
struct Facts {
    /// Drained, with nobody to account for it.
    idle: bool,
    /// What is held against its pool.
    held: f64,
    /// What a unit of it costs.
    price: Option<UsdPerHour>,
    /// How many allocations would have to move.
    allocations: usize,
    /// How much these matter: the sum of their priorities.
    importance: u64,
    /// A roll-out would replace it before long.
    outdated: bool,
}

impl<'a> Ranks<'a> {
    fn of(draft: &Draft<'a>, herd: &Herd<'a>) -> Self {
        let of_kind = |interruption: bool| {
            let notices = draft.seen.notices.iter();
            notices
                .filter(|n| (n.kind == NoticeKind::SpotInterruption) == interruption)
                .map(|n| &n.instance)
                .collect()
        };
        let facts = herd.alive.iter().map(|m| (&m.id, Facts::of(draft, m))).collect();
        Self { doomed: of_kind(true), at_risk: of_kind(false), facts }
    }

    /// Whether an instance counts for the spread: what is broken or about to go does not.
    fn counts(&self, member: &Member) -> bool {
        member.health == Health::Healthy && !self.doomed.contains(&member.id)
    }

    fn facts(&self, member: &Member) -> Facts {
        self.facts.get(&member.id).copied().unwrap_or_default()
    }

    fn candidate(&self, member: &Member) -> Candidate {
        let Facts { idle: _, held, price, allocations, importance: _, outdated: _ } = self.facts(member);
        Candidate {
            instance: member.id.clone(),
            pool: member.pool.clone(),
            held_against_pool: held,
            price,
            allocations,
            launched: member.launched,
        }
    }

    fn compare(&self, a: &Member, largest_a: f64, b: &Member, largest_b: f64) -> Ordering {
        let (x, y) = (self.facts(a), self.facts(b));
        let class = |m: &Member, facts: Facts| {
            (
                !facts.idle,
                m.health == Health::Healthy,
                !self.doomed.contains(&m.id),
                !self.at_risk.contains(&m.id),
                !facts.outdated,
            )
        };
        let readiness = |m: &Member| match m.phase {
            Phase::Requested | Phase::Leaving => 0,
            Phase::Booting => 1,
            Phase::InService | Phase::Draining => 2,
        };
        class(a, x)
            .cmp(&class(b, y))
            .then_with(|| y.held.total_cmp(&x.held))
            .then_with(|| largest_a.total_cmp(&largest_b))
            .then_with(|| y.price.cmp(&x.price))
            .then_with(|| (x.allocations, x.importance).cmp(&(y.allocations, y.importance)))
            .then_with(|| readiness(a).cmp(&readiness(b)))
            .then_with(|| b.launched.cmp(&a.launched))
            .then_with(|| a.id.cmp(&b.id))
    }
}

impl Facts {
    fn of(draft: &Draft<'_>, member: &Member) -> Self {
        let work = || draft.node_of(&member.id).into_iter().flat_map(|node| node.movable(true));
        Self {
            idle: idle::is_idle(draft, &member.id),
            held: pools::held_against(draft, &member.pool),
            price: fallback::price_of(draft, member),
            allocations: work().count(),
            importance: work().map(|work| u64::from(work.priority)).sum(),
            outdated: rollout::goes_anyway(draft, member),
        }
    }
}

/// How much a spread falls short of the policy, worst first: families missing, then the share of the largest pool beyond
/// what a pool may hold and that of the largest zone beyond what a zone may, together, in millionths.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Lack {
    families: usize,
    share_millionths: u64,
}

/// A spread with one instance less.
#[derive(Clone, Copy)]
struct Without {
    lack: Lack,
    /// The share of the largest pool, 0..=1.
    largest: f64,
}

/// What a spread comes to with one instance less: the same for all instances of a pool that weigh the same.
struct Withouts<'a> {
    spread: &'a Spread<'a>,
    rule: &'a Diversification,
    /// Of those who count; ...
    known: Vec<(&'a Pool, Weight, Without)>,
    /// ... and of those who do not.
    all: Option<Without>,
}

impl<'a> Withouts<'a> {
    fn of(spread: &'a Spread<'a>, rule: &'a Diversification) -> Self {
        Self { spread, rule, known: Vec::new(), all: None }
    }

    fn get(&mut self, member: &'a Member, counts: bool) -> Without {
        if !counts {
            return *self.all.get_or_insert_with(|| self.spread.measure(None, self.rule));
        }
        let like =
            |(pool, weight, _): &&(&Pool, Weight, Without)| **pool == member.pool && *weight == member.weight;
        if let Some((.., without)) = self.known.iter().find(like) {
            return *without;
        }
        let without = self.spread.measure(Some(member), self.rule);
        self.known.push((&member.pool, member.weight, without));
        without
    }
}

/// How instances are spread over pools and families.
struct Spread<'a> {
    /// Units and instances by pool.
    pools: BTreeMap<&'a Pool, (f64, usize)>,
    /// Whether there are instances enough, before anything goes, to speak of a spread.
    watched: bool,
}

impl<'a> Spread<'a> {
    fn over(members: impl Iterator<Item = &'a Member>) -> Self {
        let mut spread = Self { pools: BTreeMap::new(), watched: false };
        members.for_each(|m| spread.give_back(m, true));
        spread.watched = spread.pools.values().map(|(_, count)| count).sum::<usize>() >= SPREAD_FROM;
        spread
    }

    /// The pool with the most units; of equal ones the first.
    fn fullest(&self) -> Option<&'a Pool> {
        let fuller = |a: &(&&'a Pool, &(f64, usize)), b: &(&&'a Pool, &(f64, usize))| {
            a.1.0.total_cmp(&b.1.0).then_with(|| b.0.cmp(a.0))
        };
        self.pools.iter().max_by(fuller).map(|(pool, _)| *pool)
    }

    /// The zone with the most units, and its share, 0..=1; of equal ones the first.
    fn fullest_zone(&self) -> Option<(&'a Zone, f64)> {
        let mut zones: BTreeMap<&'a Zone, f64> = BTreeMap::new();
        for (pool, (units, _)) in &self.pools {
            *zones.entry(&pool.zone).or_default() += units;
        }
        let total: f64 = zones.values().sum();
        let fuller =
            |a: &(&'a Zone, f64), b: &(&'a Zone, f64)| a.1.total_cmp(&b.1).then_with(|| b.0.cmp(a.0));
        let (zone, units) = zones.into_iter().max_by(fuller)?;
        Some((zone, if total > 0.0 { units / total } else { 0.0 }))
    }

    /// The units of a pool.
    fn units(&self, pool: &Pool) -> f64 {
        self.pools.get(pool).map_or(0.0, |(units, _)| *units)
    }

    fn give_back(&mut self, member: &'a Member, counts: bool) {
        if counts {
            let pool = self.pools.entry(&member.pool).or_default();
            *pool = (pool.0 + member.weight.get(), pool.1 + 1);
        }
    }

    fn take(&mut self, member: &Member, counts: bool) {
        if let Some(pool) = self.pools.get_mut(&member.pool).filter(|_| counts) {
            *pool = (pool.0 - member.weight.get(), pool.1.saturating_sub(1));
        }
    }

    fn lack(&self, rule: &Diversification) -> Lack {
        self.measure(None, rule).lack
    }

    fn without(&self, member: &Member, counts: bool, rule: &Diversification) -> Without {
        self.measure(Some(member).filter(|_| counts), rule)
    }

    /// Measures the spread, with one instance left out.
    fn measure(&self, left_out: Option<&Member>, rule: &Diversification) -> Without {
        let mut families: Vec<&str> = Vec::with_capacity(self.pools.len());
        let mut zones: Vec<(&Zone, f64)> = Vec::new();
        let (mut largest, mut total) = (0.0_f64, 0.0_f64);
        for (pool, (weight, count)) in &self.pools {
            let less = left_out.filter(|m| m.pool == **pool);
            let weight = weight - less.map_or(0.0, |m| m.weight.get());
            if count - usize::from(less.is_some()) == 0 {
                continue;
            }
            let name = pool.instance_type.as_str();
            families.push(name.split_once('.').map_or(name, |(family, _)| family));
            largest = largest.max(weight);
            total += weight;
            match zones.iter_mut().find(|(zone, _)| **zone == pool.zone) {
                Some((_, units)) => *units += weight,
                None => zones.push((&pool.zone, weight)),
            }
        }
        families.sort_unstable();
        families.dedup();
        let share = |units: f64| if total > 0.0 { units / total } else { 0.0 };
        let largest = share(largest);
        if !self.watched {
            return Without { lack: Lack { families: 0, share_millionths: 0 }, largest };
        }
        let wanted = usize::try_from(rule.families).unwrap_or(usize::MAX);
        let zone = share(zones.iter().map(|(_, units)| *units).fold(0.0, f64::max));
        Without {
            lack: Lack {
                families: wanted.saturating_sub(families.len()),
                share_millionths: millionths(largest - rule.max_pool_share)
                    + millionths(zone - rule.max_zone_share),
            },
            largest,
        }
    }
}
